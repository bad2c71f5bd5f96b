"""What a strategy wanted and the book did not take, or not whole: told once a decision and symbol. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from botlib import rules
from botlib.engine.state import ENTRY, EXIT, R_HALTED, R_REDUCE_ONLY, REASONS, REDUCE, REJECTED
from botlib.session.core import SessionCore, side_word

_NAMED = 4
"""So many of one kind get a sentence each, and so many names a sentence for more of them."""

_WHY = {"position limit": "safety.max_position_size_pct is {max_position_size_pct:g}",
        "buying power": "buying power is less (risk.max_gross_exposure_pct is {max_gross_pct:g}; what is held and "
                        "orders under way count)"}
_LOOKED_AT = ("symbol", "status", "purpose", "reason")


class Unmet(NamedTuple):
    """A wish: ``qty`` in the strategy's unit where it was cut, else in shares; ``reason`` in kebab-case."""

    what: Literal["refused", "cut"]
    symbol: str
    side: str
    qty: float
    reason: str
    text: str


class Wishes:
    """Made before a decision, asked after it; what it looks at are the decision's own orders.

    Parameters
    ----------
    core : SessionCore
    above : set of int
        Columns whose targets were above the position limit before; kept up to date. What is held at the limit and still
        wanted above it is not said again.
    """

    def __init__(self, core: SessionCore, above: set[int]) -> None:
        self.core, self.above, self._first = core, above, core.book["n_orders"]

    def unmet(self, targets: np.ndarray | None) -> list[Unmet]:
        """Orders that the book refused, and targets (N,) above the position limit, which it cut. What a halt refuses is
        left out: the halt says so itself."""
        if targets is None:
            return []
        new = self.core.book.rows("orders")[self._first:]
        found: dict[int, Unmet] = {}
        entries, stopped = set[int](), set[int]()
        for row, i, status, purpose, reason in zip(range(len(new)), *(new[name].tolist() for name in _LOOKED_AT),
                                                   strict=True):
            if reason in (R_HALTED, R_REDUCE_ONLY):
                stopped.add(i)
            elif status != REJECTED and purpose == ENTRY:
                entries.add(i)
            elif status == REJECTED and purpose in (ENTRY, EXIT, REDUCE):
                found[i] = self._refused(new[row])
        cut = self._above(targets)
        for i, most in cut.items():
            if i not in found and i not in stopped and (i not in self.above or i in entries):
                found[i] = self._cut(i, float(targets[i]), most)
        self.above.difference_update(np.flatnonzero(~np.isnan(targets)).tolist())
        self.above.update(cut)
        return [found[i] for i in sorted(found)]

    def _above(self, targets: np.ndarray) -> dict[int, float]:
        """Columns of targets above the position limit, and that in the strategy's unit. Less than a share above it is
        rounded away, and no cut."""
        book, close = self.core.book, self.core.bars.close[-1]
        limit, equity = book["max_position_pct"] / 100.0, book["equity"] - book["receivable"]
        if not book["shares"]:
            return dict.fromkeys(np.flatnonzero((np.abs(targets) > limit * (1.0 + 1e-12)) & (close > 0.0)).tolist(),
                                 limit)
        found = {}
        for i in np.flatnonzero(np.abs(targets) * close > limit * equity * (1.0 - 1e-9)).tolist():
            target, fractional = float(targets[i]), book["fractional"]
            most = float(rules.target_quantity(math.copysign(limit, target), equity, float(close[i]), fractional))
            if rules.round_quantity(abs(target), fractional and target > 0.0) > most:
                found[i] = most
        return found

    def _cut(self, i: int, target: float, most: float) -> Unmet:
        book, symbol, side = self.core.book, self.core.bars.symbols[i], side_word(1 if target > 0.0 else -1)
        what = f"{_shares(abs(target))} shares" if book["shares"] else f"a weight of {abs(target):.6g}"
        left = f"{_shares(most)} shares" if book["shares"] else f"{most:.6g}"
        return Unmet("cut", symbol, side, abs(target), "position-limit",
                     f"{side} {symbol}: {what} wanted, cut to {left}: risk.max_position_pct is "
                     f"{book['max_position_pct']:g}.")

    def _refused(self, row: np.void) -> Unmet:
        core, i, quantity = self.core, int(row["symbol"]), float(row["quantity"])
        symbol, side, reason = core.bars.symbols[i], side_word(int(row["side"])), REASONS[row["reason"]]
        named = [float(row[name]) for name in ("limit", "stop") if row[name] > 0.0]
        price = named[0] if named else float(core.bars.close[-1, i])
        why = f": worth ${quantity * price:,.2f}, {self._of_book(_WHY[reason])}" if reason in _WHY else ""
        shares = f"{_shares(quantity)} " if quantity > 0.0 else ""
        return Unmet("refused", symbol, side, quantity, reason.replace(" ", "-"),
                     f"{side} {shares}{symbol} refused, {reason}{why}.")

    def _of_book(self, text: str) -> str:
        return text.format(**{name: self.core.book[name] for name in ("max_position_size_pct", "max_gross_pct")})


def _shares(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity == math.floor(quantity) else f"{quantity:,.9g}"


def told(unmet: Sequence[Unmet]) -> list[tuple[str, str]]:
    """In sentences, ("refused" or "cut", sentence): of many with one reason, one for all."""
    groups: dict[tuple[str, str], list[Unmet]] = {}
    for one in unmet:
        groups.setdefault((one.what, one.reason), []).append(one)
    said = []
    for (what, rule), found in groups.items():
        if len(found) <= _NAMED:
            said += [(what, one.text) for one in found]
        else:
            names, more = ", ".join(one.symbol for one in found[:_NAMED]), len(found) - _NAMED
            said.append((what, f"{len(found):,} orders {what}, {rule.replace('-', ' ')}: {names} and {more:,} more."))
    return said
