"""`BacktestResult`: arrays from the engine, tables when asked for."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.engine.book import Book
from botlib.engine.state import HALT_LIMITS, KINDS, PURPOSES, REASONS, SPLIT, STATES, STATUSES
from botlib.errors import InputError
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.tables import TextTable
from botlib.wording import NOTHING, money, percent, plural, total_return, typeset

if TYPE_CHECKING:
    from botlib.backtesting import Adjustment, Convention

EXIT_REASONS = ("split", "signal", "reduce", "stop", "target", "order")
"""What closed a trade; "order": one the strategy named itself; "split": shares a reverse split paid out in cash."""


class BacktestResult:
    """What a backtest did.

    Attributes
    ----------
    equity : pandas.Series (T,)
        Account value at each bar's close, dollars: cash, dividends due and positions at their last close.
    trades : pandas.DataFrame
        One row a round trip (an entry's shares, or the part of them, that one exit closed), in order of exit: symbol,
        side ("long", "short"), quantity (shares), entry_time, exit_time (label of the bar), entry_bar, exit_bar
        (its number), entry_price, exit_price (dollars, slippage in), pnl (dollars, after costs, without dividends),
        costs (dollars: commissions and fees of both fills), slippage (dollars lost to it, already in the prices),
        return_pct (of the entry's value), bars_held, exit_reason (see `EXIT_REASONS`). What is still held is no trade
        yet: ``metrics["costs_paid"]`` also has the costs of open positions, and interest.
    orders : pandas.DataFrame
        Every order with its fate, in order of submission: symbol, side ("buy", "sell"), type ("market", "limit",
        "stop"), purpose ("entry", "exit", "reduce"; "stop", "target" are protective legs), quantity, limit_price,
        stop_price (dollars, NaN when it has none), decided_time (label of the bar at whose close it was submitted),
        status, filled (shares), reason (why it was cancelled, expired or rejected; else "").
    fills : pandas.DataFrame
        Every execution, in order: order (row of ``orders``), symbol, side, time (label of the bar), quantity, price,
        commission, fees, slippage (dollars), at_open (at the opening print or within the bar).
    halts : pandas.DataFrame
        When and by which limit the safety controls stopped trading: time, limit (the control's name), value_pct,
        limit_pct, state ("reduce-only" until the next session, or "halted").
    metrics : mapping of str to float
        See `botlib.metrics.METRICS`; NaN where undefined.
    exposure : pandas.Series (T,)
        Longs plus shorts at the close, fraction of equity.
    profit : mapping of str to float
        What adds up to the account's gain or loss, dollars.
    warnings : list of str
        ``"name: sentence"``.
    book : Book
        The engine's arrays behind all of the above.
    """

    def __init__(self, *, bars: Bars, strategy: Any, cash: float, risk: Risk, costs: Costs,
                 safety: SafetyControls | None, convention: Convention, signal_adjustment: Adjustment, book: Book,
                 warnings: list[str], given: Any = None) -> None:
        self.bars: Bars
        self.strategy: Any
        self.cash: float
        self.risk: Risk
        self.costs: Costs
        self.safety: SafetyControls | None
        self.convention: Convention
        self.signal_adjustment: Adjustment
        self.book: Book
        self.warnings: list[str]
        self._given: Any
        self.__dict__.update(
            bars=bars, strategy=strategy, cash=cash, risk=risk, costs=costs, safety=safety, convention=convention,
            signal_adjustment=signal_adjustment, book=book, warnings=warnings,
            _given=strategy if given is None else given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise InputError(f"result.{name} cannot be set: a result says what a run did; run botlib.backtest again.")

    def __repr__(self) -> str:
        first, last = self.bars.index[0].date(), self.bars.index[-1].date()
        return (f"<BacktestResult {type(self.strategy).__name__} on {plural(len(self.bars.symbols), 'symbol')}, "
                f"{first} to {last}: {total_return(self.metrics)}, {plural(self.n_trades, 'trade')}"
                f"{self._halts_told()}>")

    def _halts_told(self) -> str:
        """``; trading halted on 2010-05-20 by max_drawdown_pct``: no figure of the line shows it."""
        rows = self.book.rows("halts")
        if not len(rows):
            return ""
        kills = np.flatnonzero(rows["state"] == STATES.index("halted"))
        first = rows[int(kills[0]) if len(kills) else 0]
        what = "trading halted" if len(kills) else "only exits"
        others = f" and {plural(len(rows) - 1, 'other halt')}" if len(rows) > 1 else ""
        return (f"; {what} on {self.bars.index[int(first['bar'])].date()} by {HALT_LIMITS[int(first['limit'])]}"
                f"{others}")

    def _repr_html_(self) -> str:
        return figures_page(repr(self), {"Strategy": self.metrics, "Buy and hold": self.benchmark.metrics})

    @property
    def n_trades(self) -> int:
        """Closed round trips."""
        return self.book["n_trades"]

    @cached_property
    def equity(self) -> pd.Series:
        return pd.Series(self.book.equity_curve, index=self.bars.index, name="equity", copy=False)

    @cached_property
    def exposure(self) -> pd.Series:
        share = self.book.gross_curve / self.book.equity_curve
        return pd.Series(share, index=self.bars.index, name="exposure", copy=False)

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        from botlib.metrics import metrics

        a = self.book.world[0]
        return metrics(
            self.book.equity_curve, self.bars.index, periods_per_year=self.bars.periods_per_year,
            sessions=self.bars.sessions,
            pnl=self.book.rows("trades")["pnl"], exposure=self.book.gross_curve / self.book.equity_curve,
            traded_value=float(a["traded"]),
            costs_paid=float(a["commissions"] + a["fees_paid"] + a["slippage"] + a["interest"]),
        )

    @cached_property
    def profit(self) -> Mapping[str, float]:
        """Where ``final equity - cash`` comes from, dollars, slippage in the prices of all.

        closed_trades (as in ``trades``), open_positions (at their last close, less the costs of their entries),
        dividends, interest (at most 0), split_cash (gain on parts of a share paid out at splits), total.
        """
        book, a = self.book, self.book.world[0]
        open_positions = 0.0
        for i in np.flatnonzero(book.position):
            lot_id = int(book.head[i])
            while lot_id >= 0:
                lot = book.lots[lot_id]
                gain = float(lot["side"]) * (float(book.last_close[i]) - float(lot["entry_price"]))
                open_positions += float(lot["quantity"]) * (gain - float(lot["cost_per_share"]))
                lot_id = int(lot["next"])
        closed, total = float(book.rows("trades")["pnl"].sum()), float(book.equity_curve[-1]) - self.cash
        dividends, interest = float(a["dividends"]), -float(a["interest"])
        rest = total - closed - open_positions - dividends - interest
        return {"closed_trades": closed, "open_positions": open_positions, "dividends": dividends,
                "interest": interest, "split_cash": rest, "total": total}

    @cached_property
    def trades(self) -> pd.DataFrame:
        rows = self.book.rows("trades")
        times, entry, exit_ = self.bars.index.array, rows["entry_bar"], rows["exit_bar"]
        paid = rows["entry_price"] * rows["quantity"]
        return _frame({
            "symbol": _labels(rows["symbol"], self.bars.symbols),
            "side": _labels((rows["side"] < 0).astype(np.int8), ("long", "short")),
            "quantity": rows["quantity"],
            "entry_time": times[entry],
            "exit_time": times[exit_],
            "entry_bar": entry,
            "exit_bar": exit_,
            "entry_price": rows["entry_price"],
            "exit_price": rows["exit_price"],
            "pnl": rows["pnl"],
            "costs": rows["costs"],
            "slippage": rows["slippage"],
            "return_pct": np.divide(rows["pnl"] * 100.0, paid, out=np.zeros(len(rows)), where=paid != 0.0),
            "bars_held": exit_ - entry,
            "exit_reason": _labels(rows["purpose"], EXIT_REASONS),
        })

    @cached_property
    def orders(self) -> pd.DataFrame:
        rows = self.book.rows("orders")
        return _frame({
            "symbol": _labels(rows["symbol"], self.bars.symbols),
            "side": _labels((rows["side"] < 0).astype(np.int8), ("buy", "sell")),
            "type": _labels(rows["kind"], KINDS),
            "purpose": _labels(rows["purpose"], PURPOSES),
            "quantity": rows["quantity"],
            "limit_price": np.where(rows["limit"] > 0.0, rows["limit"], np.nan),
            "stop_price": np.where(rows["stop"] > 0.0, rows["stop"], np.nan),
            "decided_time": self.bars.index.array[rows["decided"]],
            "status": _labels(rows["status"], STATUSES),
            "filled": rows["filled"],
            "reason": _labels(rows["reason"], REASONS),
        })

    @cached_property
    def fills(self) -> pd.DataFrame:
        rows = self.book.rows("fills")
        return _frame({
            "order": rows["order"],
            "symbol": _labels(rows["symbol"], self.bars.symbols),
            "side": _labels((rows["side"] < 0).astype(np.int8), ("buy", "sell")),
            "time": self.bars.index.array[rows["bar"]],
            "quantity": rows["quantity"],
            "price": rows["price"],
            "commission": rows["commission"],
            "fees": rows["fees"],
            "slippage": rows["slippage"],
            "at_open": rows["at_open"],
        })

    @cached_property
    def halts(self) -> pd.DataFrame:
        rows = self.book.rows("halts")
        if not len(rows):
            return _no_halts(self.bars.index.dtype).copy(deep=False)
        return _frame({
            "time": self.bars.index.array[rows["bar"]],
            "limit": _labels(rows["limit"], HALT_LIMITS),
            "value_pct": rows["value_pct"],
            "limit_pct": rows["limit_pct"],
            "state": _labels(rows["state"], STATES),
        })

    @cached_property
    def positions(self) -> pd.Series:
        """Signed shares still held at the end."""
        return pd.Series(self.book.position, index=list(self.bars.symbols), name="position")

    def fresh_strategy(self) -> Any:
        """The strategy as it was given, with nothing remembered from this run."""
        if dataclasses.is_dataclass(self._given):
            return dataclasses.replace(self._given)  # type: ignore[type-var]
        return copy.copy(self._given)

    @cached_property
    def actions(self) -> pd.DataFrame:
        """Splits and dividends that acted in the run: symbol, time and bar (the first one that trades without), type
        ("split", "cash_dividend"), value (ratio, or dollars a share) and pay_date (the ex-date where none is known; NaT
        for a split)."""
        rows = self.book.given_actions
        split = rows["kind"] == SPLIT
        paid = rows["pay_session"].astype("M8[D]").astype("M8[ns]")
        return _frame({
            "symbol": _labels(rows["symbol"], self.bars.symbols),
            "time": self.bars.index.array[rows["bar"]],
            "bar": rows["bar"],
            "type": _labels((~split).astype(np.int8), ("split", "cash_dividend")),
            "value": rows["value"],
            "pay_date": np.where(split, np.datetime64("NaT", "ns"), paid),
        })

    @cached_property
    def benchmark(self) -> Any:
        """Buy and hold of the same symbols with the same cash and costs."""
        from botlib.benchmark import buy_and_hold

        return buy_and_hold(self)


_FIGURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "final_equity": ("Final account value", money),
    "total_return_pct": ("Total return", percent),
    "sharpe": ("Sharpe ratio", lambda value: typeset(f"{value:.2f}") if math.isfinite(value) else NOTHING),
    "max_drawdown_pct": ("Maximum drawdown", percent),
    "trades": ("Closed trades", lambda value: f"{value:,.0f}" if math.isfinite(value) else NOTHING),
}


def figures_page(title: str, columns: Mapping[str, Mapping[str, float]]) -> str:
    """HTML: a line and the figures that come first, by column of metrics. `botlib.report.summary` has all of them."""
    table = TextTable({name: {label: write(float(figures[key])) for key, (label, write) in _FIGURES.items()}
                       for name, figures in columns.items()})
    return f"<p>{escape(title.strip('<>'))}</p>{table._repr_html_()}"


def _labels(codes: np.ndarray, names: tuple[str, ...]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, dtype=_label_type(names), validate=False)


@lru_cache(maxsize=64)
def _label_type(names: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(names))


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A frame of these columns. Naming them afterwards, from a cached index, halves the time pandas takes."""
    frame = pd.DataFrame(dict(enumerate(columns.values())), copy=False)
    frame.columns = _column_names(tuple(columns))
    return frame


@lru_cache(maxsize=16)
def _no_halts(times: Any) -> pd.DataFrame:
    """The usual case, made once."""
    none = np.zeros(0)
    return _frame({"time": pd.DatetimeIndex([], dtype=times), "limit": _labels(none.astype(np.int8), HALT_LIMITS),
                   "value_pct": none, "limit_pct": none, "state": _labels(none.astype(np.int8), STATES)})


@lru_cache(maxsize=16)
def _column_names(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)
