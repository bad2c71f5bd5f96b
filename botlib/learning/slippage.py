"""What market and stop orders of sessions really paid, against the price that a backtest would have asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.calendars import INTERVAL_MINUTES

if TYPE_CHECKING:
    from botlib.repository import Repository

ENOUGH = 20
"""Fills below which what they say is no more than an anecdote."""


@dataclass(frozen=True)
class Slippage:
    """What fills say of slippage.

    Attributes
    ----------
    configured_bps : float
        What the parameters assume.
    bps : (K,) float64
        Of each fill, against us above 0.
    left_out : int
        Market and stop fills for which there is no reference: outside of these bars, or asked for by a person.
    venue : str
        Where they were made; "sandbox": the local exchange, whose slippage is what its parameters say.
    ledger, last_session : str
        "" where there is none.
    """

    configured_bps: float
    bps: np.ndarray
    left_out: int = 0
    venue: str = ""
    ledger: str = ""
    last_session: str = ""

    @property
    def fills(self) -> int:
        return len(self.bps)

    @property
    def median_bps(self) -> float:
        """NaN without a fill."""
        return float(np.median(self.bps)) if len(self.bps) else math.nan

    @property
    def used_bps(self) -> float:
        """The worse of configured and measured; what is configured while there are few fills."""
        return self.configured_bps if self.fills < ENOUGH else max(self.configured_bps, round(self.median_bps, 2))

    @property
    def sentence(self) -> str:
        """For a person."""
        assumed, used = f"{self.configured_bps:g} bps assumed", f"costs use {self.used_bps:g} bps"
        if not self.ledger:
            return f"Slippage: no ledger was read, so {used}, as the parameters assume."
        if not self.last_session:
            return f"Slippage: the ledger {self.ledger} holds no session that sent orders, so {used}, as assumed."
        count = f"{self.fills} market and stop fill" + ("" if self.fills == 1 else "s")
        if self.fills < ENOUGH:
            return (f"Slippage: {count} with a reference price in the ledger, fewer than {ENOUGH}, so {used}, as "
                    "assumed.")
        low, high = np.quantile(self.bps, [0.25, 0.75])
        where = ", all on the local exchange, which charges what its parameters say" if self.venue == "sandbox" else ""
        return (f"Slippage: median {self.median_bps:.1f} bps over {count} (middle half {low:.1f} to {high:.1f})"
                f"{where}; {assumed}; {used}.")


def measured(repository: Repository, bars: Bars, configured_bps: float, ledger: str) -> Slippage:
    """Slippage of the sessions' fills of these bars' symbols, of all ledgers of a database.

    The reference of a market order is the open of the first bar after its decision, that of a stop its price, or the
    open of a bar that opened beyond it: what a backtest fills at before slippage. Fills of a broker count, those of the
    local exchange only where there are no others. Orders that no decision made (a person's) have no reference.

    Parameters
    ----------
    bars : Bars
        Raw prices; adjusted ones give no reference.
    ledger : str
        How the database is called in what is written.
    """
    found: dict[str, list[float]] = {}
    left: dict[str, int] = {}
    last: dict[str, str] = {}
    for one in repository.ledgers():
        sessions = repository.sessions(one.id)
        sent = sessions[sessions["orders"] == "send"]
        venue = "sandbox" if one.venue == "sandbox" else "broker"
        if len(sent):
            last[venue] = str(sent["id"].iloc[-1])
        bps, without = _of_ledger(repository, one.id, bars, set(sent["id"]))
        found.setdefault(venue, []).extend(bps)
        left[venue] = left.get(venue, 0) + without
    venue = next((name for name in ("broker", "sandbox") if found.get(name)), "")
    return Slippage(configured_bps, np.array(found.get(venue, []), dtype=np.float64), left.get(venue, 0), venue, ledger,
                    last.get(venue) or last.get("broker") or last.get("sandbox") or "")


def _of_ledger(repository: Repository, ledger_id: int, bars: Bars, sessions: set[str]) -> tuple[list[float], int]:
    fills = repository.fills(ledger_id)
    fills = fills[fills["session_id"].isin(sessions) & fills["symbol"].isin(bars.symbols)]
    if not len(fills):
        return [], 0
    orders = repository.orders(ledger_id).set_index("order_id")
    intents = repository.intents(ledger_id).set_index("client_order_id")
    decided = repository.decisions(ledger_id).set_index("id")["bar_time"]
    bps: list[float] = []
    left_out = 0
    for fill in fills.itertuples():
        order = orders.loc[fill.order_id] if fill.order_id in orders.index else None
        if order is None or order["type"] not in ("market", "stop"):
            continue
        asked = _asked(fill, order, _decision(order, intents, decided), bars)
        if math.isnan(asked):
            left_out += 1
        else:
            side = 1.0 if fill.side == "buy" else -1.0
            bps.append(side * (float(fill.price) / asked - 1.0) * 10_000.0)  # type: ignore[arg-type]
    return bps, left_out


def _decision(order: pd.Series, intents: pd.DataFrame, decided: pd.Series) -> pd.Timestamp | None:
    """The bar whose decision made an order."""
    if order["intent"] not in intents.index:
        return None
    number = intents.loc[order["intent"], "decision_id"]
    return decided[int(number)] if pd.notna(number) and int(number) in decided.index else None


def _asked(fill: Any, order: pd.Series, decision: pd.Timestamp | None, bars: Bars) -> float:
    """The price before slippage; NaN where there is none."""
    row = row_of(bars, fill.time)
    if row is None or bars.adjustment != "raw":
        return math.nan
    opened = float(bars.open[row, bars.symbols.index(fill.symbol)])
    if order["type"] == "stop":
        stop = float(order["stop_price"])
        beyond = opened >= stop if fill.side == "buy" else opened <= stop
        return opened if beyond else stop
    if decision is None:
        return math.nan
    after = int(bars.index.searchsorted(decision, side="right"))
    return opened if after == row else math.nan


def row_of(bars: Bars, time: pd.Timestamp) -> int | None:
    """The bar in which a time lies; None where there is none."""
    row = int(bars.index.searchsorted(time, side="right")) - 1
    if row < 0:
        return None
    if bars.interval == "1d":
        return row if time.tz_convert(bars.index.tz).date() == bars.index[row].date() else None
    return row if time - bars.index[row] < pd.Timedelta(minutes=INTERVAL_MINUTES[bars.interval]) else None
