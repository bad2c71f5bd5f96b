"""The report of a paper or live session: tables of text and one figure, from its record in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import blotter, style
from botlib.calendars import EXCHANGE_TZ
from botlib.panel_status import event_words
from botlib.report import _model_rows, _strategy_rows
from botlib.style import BLUE, MUTED, ORANGE, VERMILLION, TimeAxis, heading, new_figure, note, styled
from botlib.tables import TextTable
from botlib.wording import DOT, interval_label, money, percent, plural, typeset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from botlib.session_config import SessionParams
    from botlib.session_record import SessionRecord

_STILL_RUNS = "; what stands here is of its last pass, and no record: run these cells again when it has ended"
_SHOWN = 60
"""Rows of a table; of more, the newest are shown."""
_MEANS = {"period": "history to load; a longer one when it has fewer bars than the strategy's warm-up"}


def settings_table(params: SessionParams) -> TextTable:
    """What trades: data, strategy, account, risk, costs and limits, with the names that parameter files use.

    Raises `InputError` when the strategy cannot be loaded.
    """
    fields = type(params).model_fields
    names = {"data": ("provider", "symbols", "period", "interval", "calendar", "signal_adjustment"),
             "session": ("venue", "account", "feed", "orders", "capital", "iterations", "poll_seconds", "at_end",
                         "replay_start", "speed", "db")}
    rows = [(section, name, _text(getattr(params, name)), _MEANS.get(name) or fields[name].description or "")
            for section, wanted in names.items() for name in wanted]
    rows += [("strategy", "name", params.strategy["name"], "")]
    rows += [("strategy", *row) for row in _strategy_rows(params.load_strategy())]
    for section in ("risk", "costs", "safety"):
        model = getattr(params, section)
        found = [("limits", "none", "")] if model is None else _model_rows(model)
        rows += [(section, *row) for row in found]
    return TextTable(rows, columns=["Section", "Setting", "Value", "Meaning"]).set_index(["Section", "Setting"])


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else f"{value:,.10g}" if isinstance(value, float) \
        else str(value)


def summary(record: SessionRecord) -> TextTable:
    """How it went, a row a figure."""
    s, marks = record.session, record.equity
    start = record.ledger.capital or (float(marks["equity"].iloc[0]) if len(marks) else float("nan"))
    end = float(marks["equity"].iloc[-1]) if len(marks) else start
    held = marks["positions"].iloc[-1] if len(marks) else {}
    limits = s.limits or {}
    passes = int(marks["iteration"].max()) if record.running and marks["iteration"].notna().any() else s.iterations or 0
    rows = [
        ("Status", s.status + (f": {s.reason}" if s.reason else "") + (_STILL_RUNS if record.running else "")),
        ("Strategy", f"{s.strategy} ({s.strategy_hash[:12]})"),
        ("From", f"{_when(s.started)} New York"),
        ("To", f"{_when(s.ended)} New York" if s.ended is not None else
         "it still runs" if record.running else "it has not ended in order"),
        ("Passes", f"{passes:,}"),
        ("Fills, round trips", f"{len(record.fills):,}, {len(record.round_trips):,}"),
        ("Equity at its last pass" if record.running else "Equity at the end", money(end, digits=2)),
        ("Profit of the session", "known at its end" if record.running else
         money(s.total_pnl or 0.0, sign=True, digits=2)),
        ("Since the ledger's beginning", f"{money(end - start, sign=True, digits=2)}, "
                                         f"{percent(100.0 * (end / start - 1.0), sign=True, digits=2)}"),
        ("Largest drawdown", _worst(marks, "drawdown_pct", limits.get("max_drawdown_pct"))),
        ("Largest loss of a day", _worst(marks, "daily_loss_pct", limits.get("max_daily_loss_pct"))),
        ("Holds", ", ".join(f"{q:,g} {name}" for name, q in sorted((held or {}).items())) or "nothing"),
        ("Not explained", "known at its end" if record.running else "; ".join(record.unexplained) or "nothing"),
    ]
    table = TextTable(rows, columns=["", "Session"]).set_index("")
    return TextTable(table.map(typeset))


def _worst(marks: pd.DataFrame, name: str, limit: float | None) -> str:
    found = marks[name].max() if len(marks) else float("nan")
    worst = max(0.0, float(found)) if found == found else float("nan")
    return percent(worst, digits=2) + (f", limit {limit:g} %" if limit else ", no limit")


def fills_table(record: SessionRecord) -> TextTable:
    """Every fill, what each moved in cash, and the totals; of many, the newest."""
    made = blotter.fills(record.fills.tail(_SHOWN).itertuples())
    return _captioned(made, record, len(record.fills), "fill")


def round_trips_table(record: SessionRecord) -> TextTable:
    """Round trips in order of exit."""
    rows = [(t.symbol, t.side, f"{t.qty:,.10g}", _when(t.entry_time), _when(t.exit_time),
             money(t.entry_price, digits=2), money(t.exit_price, digits=2), money(t.pnl, sign=True, digits=2),
             t.exit_reason) for t in record.round_trips.tail(_SHOWN).itertuples()]
    names = ["Symbol", "Side", "Shares", "Entry", "Exit", "Entry price", "Exit price", "P&L", "Exit by"]
    made = TextTable(rows, columns=names, dtype=object)
    made.attrs["empty"] = "No round trip was closed."
    return _captioned(made, record, len(record.round_trips), "round trip")


def profit_table(record: SessionRecord) -> TextTable:
    """Profit of closed round trips by symbol, and their sum."""
    every = record.round_trips
    rows = [_profits(str(symbol), trips) for symbol, trips in every.groupby("symbol")]
    if rows:
        rows.append(_profits("Total", every))
    made = TextTable(rows, columns=["Symbol", "Round trips", "Won", "Best", "Worst", "Costs", "P&L"], dtype=object)
    made.attrs["empty"] = "No round trip was closed."
    return _as_it_stands(made, record)


def _profits(name: str, trips: pd.DataFrame) -> tuple[str, ...]:
    gains = [money(float(value), sign=True, digits=2)
             for value in (trips["pnl"].max(), trips["pnl"].min(), trips["pnl"].sum())]
    won = int((trips["pnl"] > 0).sum())
    return (name, f"{len(trips):,}", f"{won:,}", *gains[:2], money(float(trips["costs"].sum()), digits=2), gains[2])


def notes_table(record: SessionRecord) -> TextTable:
    """What was out of the ordinary: warnings and alarms of the session's events."""
    odd = record.events[record.events["level"] != "info"] if len(record.events) else record.events
    rows = [(_when(e.time), e.level, e.kind.replace("-", " "), typeset(event_words(e.kind, e.data)))
            for e in odd.tail(_SHOWN).itertuples()]
    made = TextTable(rows, columns=["Time", "Level", "Event", "What"], dtype=object)
    made.attrs["empty"] = "Nothing out of the ordinary."
    return _captioned(made, record, len(odd), "note")


def _captioned(made: TextTable, record: SessionRecord, count: int, what: str) -> TextTable:
    if count > _SHOWN:
        made.attrs["caption"] = f"The newest {_SHOWN} of {plural(count, what)}; the ledger has all"
    return _as_it_stands(made, record)


def _as_it_stands(made: TextTable, record: SessionRecord) -> TextTable:
    """A table of a session that runs says that there is more to come."""
    if record.running:
        so_far = "So far: the session still runs"
        made.attrs["caption"] = f"{made.attrs['caption']}. {so_far}" if made.attrs.get("caption") else so_far
        if made.attrs.get("empty"):
            made.attrs["empty"] = f"{made.attrs['empty'].rstrip('.')} so far: the session still runs."
    return made


def _when(time: pd.Timestamp) -> str:
    return f"{time.tz_convert(EXCHANGE_TZ):%Y-%m-%d %H:%M}"


@styled
def equity_figure(record: SessionRecord) -> Figure:
    """Equity in dollars with the lines at which limits act, and under it the drawdown in percent with its limit.

    The drawdown line follows the peak, the line of the day its start.
    """
    marks, s = record.equity, record.session
    title = f"{s.strategy}, {s.kind} session" + (" so far" if record.running else "")
    if len(marks) < 2:
        return style.empty_figure(title, "", "Too few marks to draw.")
    index = pd.DatetimeIndex(marks["time"]).tz_convert(EXCHANGE_TZ)
    daily = record.params.interval == "1d" and index.normalize().is_unique
    time = TimeAxis(index.normalize() if daily else index)
    equity, limits = marks["equity"].to_numpy(dtype=float), s.limits or {}
    figure = new_figure(5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1.0))
    above.plot(time.x, equity, color=BLUE, linewidth=1.8, zorder=4)
    _limit(above, time, marks["peak"], limits.get("max_drawdown_pct"), VERMILLION, "Halts", (0, (4, 3)))
    _limit(above, time, marks["day_start"], limits.get("max_daily_loss_pct"), ORANGE, "Only exits\ntoday", (0, (1, 2)))
    note(above, "Equity", (1.0, equity[-1]), (4, 0), xycoords=("axes fraction", "data"), color=BLUE, va="center",
         fontweight="bold")
    style.value_scale(above, equity)
    above.set_ylabel("Equity ($)")
    above.tick_params(axis="x", length=0)
    _drawdown(below, time, marks, limits.get("max_drawdown_pct"))
    time.dress(below)
    if not daily:
        below.set_xlabel("Time, New York; nights left out")
    change = money(equity[-1] - equity[0], sign=True, digits=2)
    heading(above, f"{title}: {change}",
            DOT.join([interval_label(record.params.interval), f"{index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}",
                      plural(len(record.fills), "fill")]))
    return figure


def _limit(ax: Any, time: TimeAxis, reference: pd.Series, limit: float | None, colour: str, name: str,
           dashes: Any) -> None:
    values = reference.to_numpy(dtype=float)
    if not limit or not np.isfinite(values).any():
        return
    line = values * (1.0 - limit / 100.0)
    ax.step(time.x, line, where="post", color=colour, linewidth=1.1, linestyle=dashes, zorder=3)
    note(ax, name, (1.0, line[-1]), (4, 0), xycoords=("axes fraction", "data"), color=colour, va="center", fontsize=8.5)


def _drawdown(ax: Any, time: TimeAxis, marks: pd.DataFrame, limit: float | None) -> None:
    fall = -np.nan_to_num(marks["drawdown_pct"].to_numpy(dtype=float)).clip(min=0.0)
    ax.fill_between(time.x, fall, 0.0, color=BLUE, alpha=0.22, linewidth=0)
    ax.plot(time.x, fall, color=BLUE, linewidth=0.9)
    low = float(fall.min())
    if limit:
        low = min(low, -limit)
        ax.axhline(-limit, color=VERMILLION, linewidth=1.0, linestyle=(0, (4, 3)))
        note(ax, f"Limit\n{typeset(f'{-limit:g}')} %", (1.0, -limit), (4, 0), xycoords=("axes fraction", "data"),
             color=VERMILLION, va="center", fontsize=8.5)
    ax.set_ylim(min(low, -0.1) * 1.12, 0.0)
    ax.set_ylabel("Drawdown (%)", color=MUTED)
    style.percent_axis(ax.yaxis)
