"""What is in the account beside the ledger: whose shares a split changes, whose money moved, and what has to wait until
a date's splits are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from botlib import rules
from botlib.brokers.base import Activity, Fill
from botlib.calendars import midnight
from botlib.session.checking import Difference, Externals, differences
from botlib.session.core import SessionCore
from botlib.session.memory import Memory, Unwritten
from botlib.session.observing import Facts
from botlib.session.recording import Recorder
from botlib.session.timeline import begins_later

NOT_KNOWN = "today's splits and dividends could not be read yet, and sizes may depend on them"


class Sharing:
    """The part of `TradingSession` that tells the ledger's from the person's own."""

    core: SessionCore
    recorder: Recorder
    memory: Memory
    flows: float
    _unwritten: Unwritten
    _later: int | None = None
    """From when on nothing is booked yet, since that date's splits are not known (UTC ns); None: all is booked."""
    _known: int | None = None
    """Up to this exchange date dates may begin; None: up to today."""
    _waiting: Sequence[Fill | Activity] = ()
    """Read, and not booked yet for that reason."""
    _strange: Sequence[Fill] = ()
    """Executions of this pass that are the person's own."""

    # --- what has to wait ---------------------------------------------------------------------------------------------

    def _hold_back(self, facts: Facts, known: int | None) -> None:
        """Find out what cannot be booked yet. In market hours the broker has carried splits out: where it has the
        shares that the ledger explains there was none, and the date may begin without its actions."""
        self._known, self._later = known, begins_later(self.core, facts.time, known)
        later, self._waiting = self._later, ()
        if later is None:
            return
        told: list[Fill | Activity] = [*{fill.key: fill for fill in facts.fills}.values(), *facts.activities]
        self._waiting = [one for one in told if one.time.value >= later]
        if facts.clock.is_open and not self._doubtful(facts):
            self._known, self._later, self._waiting = None, None, ()

    def _differences(self, facts: Facts) -> list[Difference]:
        """What ledger, externals and broker do not agree on, with what waits."""
        return differences(self.core, facts, self.memory.externals, self._waiting)

    def _doubtful(self, facts: Facts) -> set[str]:
        """Symbols whose shares may have been split without the ledger knowing."""
        return set() if self._later is None else {one.what for one in self._differences(facts) if one.what != "cash"}

    def _accept(self, facts: Facts) -> list[str]:
        """Differences that a person has accepted are the person's own from now on (``cash``: dollars). An answer that
        does not fit what differs now counts for nothing, and never later; sentences about those."""
        said, memory = [], self.memory
        for row in self.recorder.repository.externals(self.recorder.ledger_id, after=memory.accepted):
            memory.accepted, what, qty = row.id, row.symbol, row.qty
            now = {one.what: one.broker - one.ledger for one in self._differences(facts)}.get(what, 0.0)
            if abs(now - qty) >= abs(now):
                said.append(f"what {row.accepted_by} accepted ({what}: {qty:+,.9g}) is not what differs now "
                            f"({now:+,.9g}): it counts for nothing. Look at it again.")
            elif what == "cash":
                memory.externals.cash += qty
            else:
                memory.externals.add(what, qty)
        return said

    # --- what is booked -----------------------------------------------------------------------------------------------

    def acted(self, held: Mapping[str, float], splits: Mapping[str, float],
              dividends: Sequence[tuple[str, float]]) -> None:
        """The person's own shares of the symbols are split, too, and have their part of a dividend."""
        externals, core = self.memory.externals, self.core
        begun = midnight(int(core.book["session"]))

        def since(symbol: str) -> float:
            """Shares of the person's own that came on this date, and are noted already."""
            return sum(fill.qty if fill.side == "buy" else -fill.qty for fill in self._strange
                       if fill.symbol == symbol and fill.time >= begun)

        for symbol, ratio in splits.items():
            split(externals, core, symbol, ratio, held.get(symbol, 0.0), since(symbol))
        for symbol, rate in dividends:
            own = round(externals.shares.get(symbol, 0.0) - since(symbol), 9)
            mine = core.positions().get(symbol, 0.0)
            if not own:
                continue
            beside = {"whole": float(np.floor((mine + own) * rate * 100.0 + 0.5) / 100.0), "held": mine, "theirs": own}
            due = [d for d in core.due if d["symbol"] == symbol and "whole" not in d]
            if mine and due:
                due[-1].update(beside)
            else:
                core.due.append({"symbol": symbol, "amount": 0.0, **beside})

    def theirs(self, activity: Activity) -> float:
        """Dollars of money that moved which are not the ledger's."""
        return theirs(activity, self.core, self.memory.externals)

    def moved(self, activity: Activity, kind: str, theirs: float) -> None:
        """Deposits and withdrawals move peak and day start; what is not the ledger's stays beside it."""
        self.memory.externals.cash += theirs
        if kind == "transfer":
            amount = (activity.net_amount or 0.0) - theirs
            self.flows += amount
            self.memory.watch = self.memory.watch.flow(amount)


def theirs(told: Activity, core: SessionCore, externals: Externals) -> float:
    """Dollars of money that moved which are not the ledger's. Pure.

    A dividend is shared as the shares were held on its ex-date; where that is not known, as they are now. With a
    capital of its own the ledger has no part in deposits, withdrawals and interest that is paid, and pays interest
    where it may have caused it.
    """
    amount, symbol = told.net_amount or 0.0, told.symbol
    if told.kind == "transfer":
        return amount if externals.apart else 0.0
    if symbol and symbol not in core.column:
        return amount
    if told.kind in ("split", "reorganization", "fee"):
        return 0.0
    positions = core.positions()
    if told.kind == "dividend" and symbol:
        due = core.due_of(told)
        own, mine = externals.shares.get(symbol, 0.0), positions.get(symbol, 0.0)
        if due is not None:
            own, mine = float(due.get("theirs", 0.0)), float(due.get("held", 1.0))
        if not own:
            return 0.0
        if due is None and mine * own < 0.0:  # what each has to get cannot be told any more
            return amount
        return amount - round(amount * mine / (mine + own), 2) if mine + own else amount
    if not externals.apart:
        return 0.0
    if told.kind == "interest" and amount < 0.0:
        alone = externals.cash >= 0.0 and not any(shares < 0.0 for shares in externals.shares.values())
        owes = float(core.book["cash"]) < 0.0 or any(shares < 0.0 for shares in positions.values())
        return 0.0 if alone or owes else amount
    return amount


def split(externals: Externals, core: SessionCore, symbol: str, ratio: float, held: float, since: float) -> None:
    """A split, as the broker carries it out on all shares of the account: what the ledger's part leaves is the person's
    own. ``held``: the ledger's shares just before; ``since``: the person's own that came after it."""
    own = externals.shares.get(symbol, 0.0) - since
    if not own:
        return
    i, whole = core.column[symbol], round(held + own, 9)
    price, fractions = float(core.book.last_close[i]) * ratio, bool(core.book["fractional"])

    def after(shares: float) -> tuple[float, float]:
        sign, parts = (1.0 if shares > 0.0 else -1.0), shares > 0.0 and (fractions or shares != np.floor(shares))
        return (sign * float(rules.split_quantity(abs(shares), ratio, parts)),
                sign * float(rules.split_cash_in_lieu(abs(shares), ratio, price, parts)))

    shares, cash = after(whole)
    externals.add(symbol, shares - core.positions().get(symbol, 0.0) - own)
    paid = cash - (after(held)[1] if held else 0.0)
    if np.isfinite(paid):
        externals.cash += paid
