"""The report of a backtest: tables as frames of text, ready to be read, and the figures.

    summary(result)             every figure beside buy and hold
    settings_table(result)      what was run, with the meaning of each parameter
    halts_table(result)         when which safety limit acted
    trades_table(result)        the trades with the largest gains and losses
    profit_table(result)        what the account's gain or loss is made of
    warnings_table(result)      what the data and the run gave cause to say
    findings_table(bars), actions_table(bars), quantiles_table(table)    for research
    equity_figure, monthly_figure, trades_figure, trade_distribution_figure
    show(result)                all of it, in a notebook

Tables hold text and not numbers, so that they look the same in a notebook, a terminal and an executed copy; the
numbers are in ``result.metrics`` and ``result.trades``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from pydantic import BaseModel

from botlib.errors import InputError, checked
from botlib.figures import equity_figure, monthly_figure, monthly_returns
from botlib.research_figures import cost_figure, indicator_figure, quantile_figure
from botlib.research_tables import actions_table, findings_table, quantiles_table
from botlib.tables import TextTable
from botlib.trade_figures import trade_distribution_figure, trades_figure
from botlib.wording import (
    NOTHING,
    interval_label,
    limit_label,
    money,
    percent,
    plural,
    prices_label,
    state_label,
    strategy_name,
    typeset,
    when,
)

__all__ = ["actions_table", "cost_figure", "equity_figure", "findings_table", "halts_table", "indicator_figure",
           "monthly_figure", "monthly_returns", "profit_table", "quantile_figure", "quantiles_table",
           "settings_table", "show", "summary", "trade_distribution_figure", "trades_figure", "trades_table",
           "warnings_table"]


def _ratio(value: float) -> str:
    return typeset(f"{value:.2f}") if math.isfinite(value) else NOTHING


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else NOTHING


def _days(value: float) -> str:
    return plural(int(value), "day") if math.isfinite(value) else NOTHING


def _cents(value: float) -> str:
    return money(value, digits=2)


# Metric: what a person reads, and how its value is written. The order is the report's.
_LABELS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "final_equity": ("Final account value", _cents),
    "total_return_pct": ("Total return", percent),
    "cagr_pct": ("Return a year (CAGR)", percent),
    "volatility_pct": ("Volatility a year", percent),
    "sharpe": ("Sharpe ratio", _ratio),
    "sortino": ("Sortino ratio", _ratio),
    "calmar": ("Calmar ratio", _ratio),
    "max_drawdown_pct": ("Maximum drawdown", percent),
    "max_drawdown_days": ("Maximum drawdown, length", _days),
    "exposure_pct": ("Exposure, mean", percent),
    "turnover_pct": ("Turnover a year", percent),
    "trades": ("Closed trades", _count),
    "win_rate_pct": ("Winning trades", percent),
    "profit_factor": ("Profit factor", _ratio),
    "average_trade": ("Average trade", _cents),
    "costs_paid": ("Costs paid", _cents),
}


@checked
def summary(result: Any) -> pd.DataFrame:
    """The figures of a backtest beside those of buy and hold.

    Parameters
    ----------
    result : BacktestResult

    Returns
    -------
    pandas.DataFrame, (16, 2) of str
        A row a figure, with its unit; an en dash where a figure has no meaning.
    """
    columns = {"Strategy": result.metrics}
    if result.benchmark is not None:
        columns["Buy and hold"] = result.benchmark.metrics
    return TextTable({
        name: {label: write(float(values.get(key, math.nan))) for key, (label, write) in _LABELS.items()}
        for name, values in columns.items()
    })


@checked
def settings_table(result: Any) -> pd.DataFrame:
    """What was run: data, strategy, account, risk, costs and safety.

    Returns
    -------
    pandas.DataFrame of str
        Index (section, setting), with the names that parameter files use; columns "Value" and "Meaning".
    """
    bars = result.bars
    rows = [
        ("data", "symbols", ", ".join(bars.symbols) if len(bars.symbols) <= 12 else f"{len(bars.symbols):,}", ""),
        ("data", "bars", f"{len(bars.index):,} {interval_label(bars.interval)}",
         f"{when(bars.index[0], bars.interval)} to {when(bars.index[-1], bars.interval)}, {bars.index.tz}"),
        ("data", "adjustment", bars.adjustment, prices_label(bars.adjustment)),
        ("data", "signal_adjustment", result.signal_adjustment, "prices that the strategy sees"),
        ("data", "calendar", bars.calendar or "none", "sessions checked" if bars.calendar else "sessions not checked"),
        ("account", "cash", money(result.cash), "at the start"),
        ("account", "convention", result.convention, {"broker": "fills as the broker would make them",
                                                      "textbook": "fills as other engines make them, to compare"}
         .get(result.convention, "")),
        ("strategy", "name", strategy_name(result), ""),
        *(("strategy", *row) for row in _strategy_rows(result.strategy)),
        *(("risk", *row) for row in _model_rows(result.risk)),
        *(("costs", *row) for row in _model_rows(result.costs)),
    ]
    if result.safety is None:
        rows.append(("safety", "limits", "none", "run without safety limits, by explicit choice"))
    else:
        rows.extend(("safety", *row) for row in _model_rows(result.safety))
    table = TextTable(rows, columns=["Section", "Setting", "Value", "Meaning"])
    return table.set_index(["Section", "Setting"])


def _strategy_rows(strategy: Any) -> list[tuple[str, str, str]]:
    if not dataclasses.is_dataclass(strategy):
        return []
    rows = []
    for f in dataclasses.fields(strategy):
        value, meaning = getattr(strategy, f.name), str(f.metadata.get("help", ""))
        if isinstance(value, tuple) and any(hasattr(one, "targets") for one in value):  # strategies: a row each
            rows += [(f"{f.name}, number {n}", _value(one), meaning) for n, one in enumerate(value, 1)]
        else:
            rows.append((f.name, _value(value), meaning))
    return rows


def _model_rows(model: BaseModel) -> list[tuple[str, str, str]]:
    rows = []
    for name, field in type(model).model_fields.items():
        unit = " %" if name.endswith("_pct") else " bps" if name.endswith("_bps") else ""
        rows.append((name, _value(getattr(model, name), unit), field.description or ""))
    return rows


def _value(value: Any, unit: str = "") -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return typeset(f"{value:,.10g}{unit}") if isinstance(value, (int, float)) else str(value)


@checked
def halts_table(result: Any) -> pd.DataFrame:
    """When which safety limit acted.

    Returns
    -------
    pandas.DataFrame of str
        A row a halt; no rows when no limit acted.
    """
    interval = result.bars.interval
    rows = [(when(h.time, interval), limit_label(h.limit), percent(abs(h.value_pct), digits=2),
             percent(abs(h.limit_pct), digits=2), state_label(h.state)) for h in result.halts.itertuples()]
    return _table(rows, ["When", "What", "Reached", "Limit", "Then"], empty="No safety limit acted.")


@checked
def warnings_table(result: Any) -> pd.DataFrame:
    """The named warnings of a backtest and of its bars.

    Returns
    -------
    pandas.DataFrame of str
        Columns "Warning" and "Finding"; no rows when there is none.
    """
    said = [text.partition(": ")[::2] for text in result.warnings]
    found = [(f.check, f.message) for f in result.bars.findings.itertuples() if f.severity == "warning"]
    return _table([*said, *found], ["Warning", "Finding"], empty="No warnings.")


@checked
def trades_table(result: Any, n: int = 10) -> pd.DataFrame:
    """The ``n`` trades with the largest gain or loss in dollars, in order of exit.

    Returns
    -------
    pandas.DataFrame of str
        A row a trade; no rows when none was closed.

    Raises
    ------
    InputError
        When ``n`` is below 1.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n = {n!r} is out of range: valid is a whole number of at least 1.")
    trades, interval = result.trades, result.bars.interval
    largest = trades["pnl"].abs().sort_values(ascending=False, kind="stable").index[:n]
    rows = [(t.symbol, t.side, f"{t.quantity:,.10g}", when(t.entry_time, interval), when(t.exit_time, interval),
             money(t.entry_price, digits=2), money(t.exit_price, digits=2), money(t.pnl, sign=True, digits=2),
             percent(t.return_pct, sign=True, digits=2), _count(t.bars_held), t.exit_reason)
            for t in trades.loc[trades.index.isin(largest)].sort_values("exit_bar", kind="stable").itertuples()]
    columns = ["Symbol", "Side", "Shares", "Entry", "Exit", "Entry price", "Exit price", "P&L", "Return", "Bars held"]
    caption = "" if len(rows) == len(trades) else (
        f"The {len(rows)} of {plural(len(trades), 'trade')} with the largest gain or loss, in order of exit")
    return _table(rows, [*columns, "Exit by"], empty="No closed trade.", caption=caption)


@checked
def profit_table(result: Any) -> pd.DataFrame:
    """What the account's gain or loss is made of, so that trades and total return add up.

    Returns
    -------
    pandas.DataFrame of str
        A row a source and one for the sum, in dollars; sources of nothing are left out, closed trades never.
    """
    parts, held = result.profit, int((result.positions != 0).sum())
    labels = {"closed_trades": f"{plural(result.n_trades, 'closed trade')}, after costs",
              "open_positions": f"{plural(held, 'open position')}, at the last close", "dividends": "Dividends",
              "interest": "Interest", "split_cash": "Parts of shares, paid out at splits"}
    rows = [(label, money(parts[name], sign=True, digits=2)) for name, label in labels.items()
            if name == "closed_trades" or abs(parts[name]) >= 0.005]
    change = percent(result.metrics["total_return_pct"], sign=True, digits=2)
    rows.append((f"In all: {change} of {money(result.cash)}", money(parts["total"], sign=True, digits=2)))
    return _table(rows, ["From", "Gain or loss"], empty="", caption="What the total return is made of; slippage is in "
                                                                  "the prices")


def _table(rows: list[Any], columns: list[str], *, empty: str, caption: str = "") -> pd.DataFrame:
    table = TextTable(rows, columns=columns, dtype=object)
    table.attrs["empty"] = empty
    if caption:
        table.attrs["caption"] = caption
    return table


@checked
def show(result: Any, symbol: str | None = None) -> None:
    """Display the whole report in a notebook; ``symbol`` is the one whose trades are drawn (None: the most traded)."""
    from IPython.display import Markdown, display

    display(summary(result))
    for text in result.warnings:
        display(Markdown(f"**Warning:** {text}"))
    display(equity_figure(result))
    if len(result.halts):
        display(halts_table(result))
    for figure in (monthly_figure(result), trades_figure(result, symbol), trade_distribution_figure(result)):
        display(figure)
    display(profit_table(result))
    if len(result.trades):
        display(trades_table(result))
