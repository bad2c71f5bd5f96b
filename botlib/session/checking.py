"""What must be in order before new risk is taken. Pure; each check that fails says why, and exits go on regardless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from botlib.session.core import SessionCore
from botlib.session.observing import Facts

MAX_SKEW_SECONDS = 30.0
"""Between the broker's clock and this machine's."""

_DUST = 1e-6
_CENT = 0.015


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What broker and ledger do not agree on."""

    what: str
    """A symbol, or "cash"."""
    broker: float
    ledger: float

    def __str__(self) -> str:
        if self.what == "cash":
            return (f"cash: the broker has ${self.broker:,.2f}, the ledger explains ${self.ledger:,.2f} "
                    f"(difference ${self.broker - self.ledger:+,.2f})")
        return (f"{self.what}: the broker has {self.broker:,.9g} shares, the ledger explains {self.ledger:,.9g} "
                f"(difference {self.broker - self.ledger:+,.9g})")


@dataclass(slots=True)
class Externals:
    """What is in the account and not the ledger's: shares by symbol (signed), and cash.

    ``cash`` is the broker's cash less the ledger's: what the account holds beside the ledger's capital.
    """

    shares: dict[str, float] = field(default_factory=dict)
    cash: float = 0.0

    def add(self, symbol: str, qty: float) -> None:
        """Shares that came (or went) without us."""
        held = round(self.shares.get(symbol, 0.0) + qty, 9)
        if abs(held) < _DUST:
            self.shares.pop(symbol, None)
        else:
            self.shares[symbol] = held


def differences(core: SessionCore, facts: Facts, externals: Externals) -> list[Difference]:
    """Positions, then cash, that ledger, externals and broker do not agree on."""
    ours, found = core.positions(), []
    for symbol in sorted({*ours, *facts.positions, *externals.shares}):
        expected = ours.get(symbol, 0.0) + externals.shares.get(symbol, 0.0)
        at_broker = facts.positions.get(symbol, 0.0)
        if abs(at_broker - expected) > _DUST:
            found.append(Difference(what=symbol, broker=at_broker, ledger=expected))
    expected_cash = float(core.book["cash"]) + externals.cash
    if abs(facts.account.cash - expected_cash) > _CENT:
        found.append(Difference(what="cash", broker=facts.account.cash, ledger=expected_cash))
    return found


def problems(facts: Facts, found: list[Difference], here: pd.Timestamp | None) -> Mapping[str, str]:
    """Why only exits are allowed now: reasons by name; empty when all is in order.

    ``here`` is this machine's time, None where the venue has a time of its own.
    """
    held: dict[str, str] = {}
    if facts.account.blocked:
        held["account-blocked"] = facts.account.blocked
    shares = [str(one) for one in found if one.what != "cash"]
    if shares:
        held["unexplained"] = "; ".join(shares)
    if here is not None:
        skew = abs((facts.time - here).total_seconds())
        if not skew <= MAX_SKEW_SECONDS:
            held["clock-skew"] = (f"this machine's clock and the broker's differ by {skew:,.0f} s; "
                                  f"{MAX_SKEW_SECONDS:g} are allowed. Set the clock.")
    return held
