"""Parity: what a session on the local exchange did, fill by fill, beside the backtest on the very bars it saw.

It proves that our code paths agree. It says nothing about what a market would have filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.backtesting import backtest
from botlib.bars import Bars
from botlib.calendars import days_of
from botlib.engine.state import EXIT, PURPOSES, REDUCE, STOP_LEG, TARGET_LEG
from botlib.wording import plural

if TYPE_CHECKING:
    from botlib.session_config import SessionParams

_EQUITY = 1e-9  # relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The comparison.

    Attributes
    ----------
    fills, orders : int
        Executions of the session, and the orders they belong to.
    entries, stops, targets, signal_exits : int
        Executions by what they were for.
    closes : int
        Bars' closes at which equity was compared.
    equity_difference : float
        The largest, relative.
    difference : str
        The first difference in a sentence; "" when there is none.
    """

    fills: int
    orders: int
    entries: int
    stops: int
    targets: int
    signal_exits: int
    closes: int
    equity_difference: float
    difference: str = ""

    @property
    def equal(self) -> bool:
        """Whether every execution has its equal, and equity agrees to 1e-9."""
        return not self.difference

    def __str__(self) -> str:
        counts = (f"{plural(self.orders, 'order')}, {plural(self.fills, 'fill')}: "
                  f"{plural(self.entries, 'entry', 'entries')}, {plural(self.stops, 'stop')}, "
                  f"{plural(self.targets, 'target')}, {plural(self.signal_exits, 'signal exit')}")
        if not self.equal:
            return f"[PARITY] NOT equal to the backtest ({counts}). First difference: {self.difference}"
        if not self.orders and not self.fills:
            return "[PARITY] nothing to compare: no orders, here or in the backtest"
        return (f"[PARITY] {counts}; each equal in price and quantity to the backtest, equity within "
                f"{self.equity_difference:.0e} at {plural(self.closes, 'close')}")


def compare(bars: Bars, strategy: Any, params: SessionParams, capital: float, fills: pd.DataFrame,
            equity: pd.DataFrame, *, decided: pd.Timestamp, decisions: int) -> Parity:
    """Compare a session's executions with the backtest on its bars.

    Parameters
    ----------
    bars : Bars
        What the session had seen at its end.
    fills, equity : DataFrame
        The ledger's, of this session.
    decided : pandas.Timestamp
        Label of the first bar it decided on.
    decisions : int
        How many orders it sent.
    """
    first = int(bars.index.searchsorted(decided))
    result = backtest(bars, strategy, cash=capital, risk=params.risk, costs=params.costs, safety=params.safety,
                      signal_adjustment=params.signal_adjustment, decide_from=first, quiet=True)
    bars = result.bars
    orders = result.book.rows("orders")
    expected = [(int(f["bar"]), bars.symbols[f["symbol"]], "buy" if f["side"] > 0 else "sell", float(f["quantity"]),
                 float(f["price"]), PURPOSES[orders["purpose"][f["order"]]]) for f in result.book.rows("fills")]
    at = _bar_numbers(bars, fills["time"])
    got = [(int(t), str(row.symbol), str(row.side), float(row.qty), float(row.price), str(row.purpose))
           for t, row in zip(at, fills.itertuples(), strict=True)]
    difference = _first_difference(sorted(expected), sorted(got), bars)
    closes, worst, said = _equity(result, bars, equity, params.daily_delay_minutes)
    purposes = [g[5] for g in got]
    return Parity(fills=len(got), orders=decisions, entries=purposes.count("entry"),
                  stops=purposes.count(PURPOSES[STOP_LEG]), targets=purposes.count(PURPOSES[TARGET_LEG]),
                  signal_exits=purposes.count(PURPOSES[EXIT]) + purposes.count(PURPOSES[REDUCE]), closes=closes,
                  equity_difference=worst, difference=difference or said)


def _bar_numbers(bars: Bars, times: pd.Series) -> np.ndarray:
    """The bar in which each execution fell."""
    stamps = pd.DatetimeIndex(times).tz_convert(bars.index.tz)
    if bars.interval == "1d":
        return np.searchsorted(bars.sessions, days_of(stamps))
    return np.asarray(bars.index.searchsorted(stamps, side="right")) - 1


def _first_difference(expected: list[Any], got: list[Any], bars: Bars) -> str:
    for wanted, have in zip(expected, got, strict=False):
        if wanted[:3] != have[:3] or abs(wanted[3] - have[3]) > 1e-9 or wanted[4] != have[4]:
            return f"the backtest has {_words(wanted, bars)}, the session {_words(have, bars)}"
    if len(expected) > len(got):
        return f"the backtest has {_words(expected[len(got)], bars)}, the session has no more"
    if len(got) > len(expected):
        return f"the session has {_words(got[len(expected)], bars)}, the backtest has no more"
    return ""


def _words(fill: tuple[Any, ...], bars: Bars) -> str:
    t, symbol, side, qty, price, purpose = fill
    when = bars.index[t] if 0 <= t < len(bars) else "an unknown bar"
    return f"{side} {qty:g} {symbol} @ {price:.4f} ({purpose}) in the bar of {when:%Y-%m-%d %H:%M}"


def _equity(result: Any, bars: Bars, equity: pd.DataFrame, delay: float) -> tuple[int, float, str]:
    finals = bars.final_times(delay).tz_convert("UTC")
    at = finals.get_indexer(pd.DatetimeIndex(equity["time"]))
    rows = at >= 0
    if not rows.any():
        return 0, 0.0, ""
    expected = result.equity.to_numpy()[at[rows]]
    apart = np.abs(equity["equity"].to_numpy()[rows] / expected - 1.0)
    worst = int(apart.argmax())
    said = ""
    if apart[worst] > _EQUITY:
        n = int(np.flatnonzero(apart > _EQUITY)[0])
        said = (f"equity at the close of {bars.index[at[rows][n]]:%Y-%m-%d %H:%M} is "
                f"${equity['equity'].to_numpy()[rows][n]:,.4f}, in the backtest ${expected[n]:,.4f}")
    return int(rows.sum()), float(apart[worst]), said
