"""Every order of a plan meets the gates: what is known of it and of the account, as the gates want it. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from botlib import rules
from botlib.bar_jumps import unexplained
from botlib.bars import Bars
from botlib.calendars import session_starts
from botlib.engine.state import ENTRY, WORKING
from botlib.gates import Gate, validate
from botlib.order_state import OrderState, average_volume
from botlib.safety import SafetyControls
from botlib.session.checking import usual_age
from botlib.session.core import LEGS, SessionCore
from botlib.session.links import Intent
from botlib.session.observing import Facts
from botlib.watch import Watch

_JUMP_SESSIONS = 20
_VOLUME_DAYS = 40  # looked at for an average daily volume


class Jumps:
    """Symbols of which a price that the strategy may still look at jumped like a split that nobody recorded.

    Parameters
    ----------
    warmup : int
        Bars that the strategy looks back on; 20 sessions count at least.
    """

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self._asked: tuple[int, int] = (0, 0)
        self._found: frozenset[str] = frozenset()

    def of(self, bars: Bars) -> frozenset[str]:
        """As the bars and their corporate actions have it now."""
        asked = len(bars), 0 if bars.actions is None else len(bars.actions)
        if asked != self._asked:
            looked_at = session_starts(bars.sessions[-min(self.warmup + 1, len(bars)):])
            self._asked, self._found = asked, unexplained(bars, max(_JUMP_SESSIONS, len(looked_at)))
        return self._found


class Guard:
    """The gates of one round's orders: what is the same for all of them is looked up once. It holds as long as the
    book, the broker's facts and the time do.

    Parameters
    ----------
    final : pandas.Timestamp
        When the bar of the decision became final.
    session_seconds : float, optional
        From one session's close to the next one's, for the usual age of daily bars.
    externals : mapping
        Shares by symbol that are not the ledger's; they count in gross exposure.
    jumped : collection of str
        Symbols whose prices jumped like a split that no corporate action explains.
    """

    def __init__(self, core: SessionCore, facts: Facts, controls: SafetyControls, *, final: pd.Timestamp,
                 session_seconds: float | None, externals: Mapping[str, float], jumped: Collection[str]) -> None:
        self.core, self.controls, self._jumped = core, controls, jumped
        self._blocked, self._account_equity = bool(facts.account.blocked), facts.account.equity
        self._equity = float(core.book["equity"] - core.book["receivable"])
        self._age = max(0.0, (facts.time - final).total_seconds())
        self._usual_age = usual_age(controls, core.bars.interval, session_seconds)
        self._gross = _gross(core, facts, externals)
        self._working = _working(core)
        rows, self._entry_values = _entry_values(core)
        self._entry_at = {row: n for n, row in enumerate(rows)}
        self._volumes = _daily_volumes(core)

    def gate(self, intent: Intent, watch: Watch, *, counted: bool = False) -> Gate:
        """Whether an intent may be sent now. ``counted``: the order counts among the day's already."""
        before = max(0, watch.orders_today - 1) if counted and intent.adds_risk else watch.orders_today
        core, request, i = self.core, intent.request, self.core.column[intent.symbol]
        side = 1 if request.side == "buy" else -1
        position = float(core.book.position[i])
        close = float(core.book.last_close[i]) if position else float(core.bars.close[-1, i])
        own = {core.rows[uid] for uid in intent.uids if uid in core.rows}
        others = [one for one in self._working.get(i, ()) if one.row not in own]
        state = OrderState(
            symbol=intent.symbol, adds_risk=intent.adds_risk, side=request.side, qty=request.qty,
            price=request.limit_price or request.stop_price or close,
            last_good_price=watch.last_good(intent.symbol) if intent.adds_risk else close, position=position,
            working_same_side_qty=math.fsum(one.left for one in others if one.purpose == ENTRY and one.side == side),
            working_exits_qty=_working_exits(core, others, own if intent.purpose == "protect" else ()),
            state=watch.state, latched=watch.latched, account_blocked=self._blocked, orders_today=before,
            unexplained_jump=intent.symbol in self._jumped,
            exits_today=watch.exits_today.get(intent.symbol, 0), equity=self._equity, data_age_seconds=self._age,
            usual_data_age_seconds=self._usual_age, gross=self._gross, working_gross=self._working_gross(own),
            account_equity=self._account_equity, adv=_adv(self._volumes[:, i]))
        return validate(self.controls, state)

    def _working_gross(self, own: set[int]) -> float:
        """What working entries but these may still add."""
        others = np.ones(len(self._entry_values), bool)
        others[[self._entry_at[row] for row in own if row in self._entry_at]] = False
        return float(self._entry_values[others].sum())


class _Working(NamedTuple):
    """An order of the book at work."""

    row: int
    purpose: int
    side: int
    left: float
    lot: int


def _working(core: SessionCore) -> dict[int, list[_Working]]:
    """The book's working orders by column of their symbol."""
    orders = core.book.rows("orders")
    rows = np.flatnonzero(orders["status"] == WORKING)
    found = orders[rows]
    left = (found["quantity"] - found["filled"]).tolist()
    made: dict[int, list[_Working]] = {}
    for symbol, *one in zip(found["symbol"].tolist(), rows.tolist(), found["purpose"].tolist(),
                            found["side"].tolist(), left, found["lot"].tolist(), strict=True):
        made.setdefault(symbol, []).append(_Working(*one))
    return made


def _working_exits(core: SessionCore, others: list[_Working], own: Collection[int]) -> float:
    """Shares on their way out by other orders: exits, and each other lot's legs once. ``own``: rows of legs whose lots
    do not count."""
    total = math.fsum(one.left for one in others if one.purpose != ENTRY and one.purpose not in LEGS)
    mine = {int(core.book.orders["lot"][row]) for row in own}
    lots = {one.lot for one in others if one.purpose in LEGS} - mine
    return total + math.fsum(float(core.book.lots["quantity"][lot]) for lot in lots)


def _gross(core: SessionCore, facts: Facts, externals: Mapping[str, float]) -> float | None:
    total = float(core.book["gross"])
    for symbol, shares in externals.items():
        price = facts.prices.get(symbol)
        if price is None:
            return None
        total += abs(shares) * price
    return total


def _entry_values(core: SessionCore) -> tuple[list[int], np.ndarray]:
    """Rows of the working entries, and what each may still add in dollars."""
    orders = core.book.rows("orders")
    rows = np.flatnonzero((orders["status"] == WORKING) & (orders["purpose"] == ENTRY))
    entries = orders[rows]
    symbols = entries["symbol"]
    close = core.bars.close[-1, symbols]
    prices = np.where(entries["kind"] == rules.LIMIT, entries["limit"], close)
    for n in np.flatnonzero(~(prices > 0.0)):
        prices[n] = _last_close(core, int(symbols[n]))
    return rows.tolist(), (entries["quantity"] - entries["filled"]) * prices


def _last_close(core: SessionCore, i: int) -> float:
    """The latest close there is: a symbol may have no bar now."""
    close = core.bars.close[:, i]
    if close[-1] > 0.0:
        return float(close[-1])
    known = np.flatnonzero(close > 0.0)
    return float(close[known[-1]]) if len(known) else float("nan")


def _daily_volumes(core: SessionCore) -> np.ndarray:
    """(days, N): the latest daily volumes; intraday bars are added up by session, the running one left out."""
    volume: Any = core.bars.volume
    if core.bars.interval != "1d":
        first = np.append(0, np.flatnonzero(np.diff(core.bars.sessions)) + 1)[-_VOLUME_DAYS - 1:]
        sums = np.add.reduceat(np.nan_to_num(volume[first[0]:]), first - first[0], axis=0)
        volume = sums[:-1] if len(sums) > 1 else sums
    return np.asarray(volume[-_VOLUME_DAYS:])


def _adv(volumes: np.ndarray) -> float | None:
    """Average daily volume."""
    return average_volume(volumes[~np.isnan(volumes)])
