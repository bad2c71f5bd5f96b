"""What must be in order before new risk is taken. Pure; each check that fails says why, and exits go on regardless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from botlib.brokers.base import Activity, Fill
from botlib.calendars import INTERVAL_MINUTES, Schedule
from botlib.order_state import usual_data_age
from botlib.safety import SafetyControls
from botlib.session.core import SessionCore
from botlib.session.observing import Facts
from botlib.wording import utc

MAX_SKEW_SECONDS = 30.0
"""Between the broker's clock and this machine's."""

HELD = ("account-blocked", "actions", "clock-skew", "hours", "stale-data", "strategy-changed", "unexplained")
"""Holds that lift themselves when all is in order again."""

_DUST = 1e-6
_CENT = 0.015


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What broker and ledger do not agree on."""

    what: str
    """A symbol, or "cash"."""
    broker: float
    ledger: float

    @property
    def key(self) -> str:
        """What it is, whatever else is traded meanwhile: it is told once, and again when this changes."""
        return f"{self.what} {self.broker - self.ledger:+.{2 if self.what == 'cash' else 6}f}"

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
    apart: bool = False
    """The ledger has a capital of its own: what is paid into the account and out of it is the person's."""

    def add(self, symbol: str, qty: float) -> None:
        """Shares that came (or went) without us."""
        held = round(self.shares.get(symbol, 0.0) + qty, 9)
        if abs(held) < _DUST:
            self.shares.pop(symbol, None)
        else:
            self.shares[symbol] = held


def taken(fill: Fill, ours: Mapping[str, float], externals: Externals) -> str:
    """What an execution that is not the session's took of its shares; "" for one that did not. ``externals`` has it."""
    held = ours.get(fill.symbol, 0.0)
    signed = fill.qty if fill.side == "buy" else -fill.qty
    if held * signed >= 0.0 or held * externals.shares.get(fill.symbol, 0.0) >= 0.0:
        return ""
    gone = min(fill.qty, abs(held), abs(externals.shares[fill.symbol]))
    return (f"{fill.symbol}: {gone:g} of the session's {abs(held):g} shares are gone by an order that is not its own; "
            "the broker refuses stops and exits for them.")


def gone(ours: Mapping[str, float], at_broker: Mapping[str, float]) -> dict[str, float]:
    """Shares that the ledger holds and the account does not, by symbol, unsigned: sold by hand, or taken back."""
    missing = {symbol: abs(held) - max(0.0, np.sign(held) * at_broker.get(symbol, 0.0))
               for symbol, held in ours.items()}
    return {symbol: round(float(shares), 9) for symbol, shares in missing.items() if shares > _DUST}


def differences(core: SessionCore, facts: Facts, externals: Externals,
                waiting: Sequence[Fill | Activity] = ()) -> list[Difference]:
    """Positions, then cash, that ledger, externals and broker do not agree on; ``waiting`` will be booked later."""
    ours, found, cash = core.positions(), [], 0.0
    for one in waiting:
        if isinstance(one, Fill):
            signed = one.qty if one.side == "buy" else -one.qty
            ours[one.symbol] = round(ours.get(one.symbol, 0.0) + signed, 9)
            cash -= signed * one.price
        else:
            cash += one.net_amount or 0.0
    for symbol in sorted({*ours, *facts.positions, *externals.shares}):
        expected = ours.get(symbol, 0.0) + externals.shares.get(symbol, 0.0)
        at_broker = facts.positions.get(symbol, 0.0)
        if abs(at_broker - expected) > _DUST:
            found.append(Difference(what=symbol, broker=at_broker, ledger=expected))
    expected_cash = float(core.book["cash"]) + externals.cash + cash
    if abs(facts.account.cash - expected_cash) > _CENT:
        found.append(Difference(what="cash", broker=facts.account.cash, ledger=expected_cash))
    return found


def problems(facts: Facts, found: list[Difference], *, here: bool, timetable: Schedule, final: pd.Timestamp,
             usual_age: float) -> dict[str, str]:
    """Why only exits are allowed now: reasons by name (`HELD`); empty when all is in order.

    Parameters
    ----------
    here : bool
        Whether the venue's time is this machine's: then clocks and hours must agree.
    timetable : Schedule
        The exchange's hours.
    final : pandas.Timestamp
        When the last bar became final.
    usual_age : float
        Seconds of open market after which a bar is stale.
    """
    held: dict[str, str] = {}
    if facts.account.blocked:
        held["account-blocked"] = facts.account.blocked
    shares = [str(one) for one in found if one.what != "cash"]
    if shares:
        held["unexplained"] = "; ".join(shares)
    stale = _stale(facts, timetable, final, usual_age)
    if stale:
        held["stale-data"] = stale
    if here:
        skew = facts.clock.skew_seconds
        if skew is None or not abs(skew) <= MAX_SKEW_SECONDS + (facts.clock.skew_error_seconds or 0.0):
            by = "an unknown time" if skew is None else f"{abs(skew):,.0f} s"
            held["clock-skew"] = (f"this machine's clock and the broker's differ by {by}; "
                                  f"{MAX_SKEW_SECONDS:g} s are allowed. Set the clock.")
        wrong = _other_hours(facts, timetable)
        if wrong:
            held["hours"] = wrong
    return held


def usual_age(controls: SafetyControls, interval: str, session_seconds: float | None) -> float:
    """Seconds after which the last bar is too old to enter on: since it was final, for an order's gate, and of open
    market, for the hold "stale-data". ``session_seconds``: from its session's close to the next one's."""
    if controls.max_data_age_seconds is not None:
        return controls.max_data_age_seconds
    return usual_data_age(60.0 * (INTERVAL_MINUTES[interval] or 1440), session_seconds)


def _stale(facts: Facts, timetable: Schedule, final: pd.Timestamp, usual_age: float) -> str:
    """The market is open and no bar has come for too long."""
    opened = session_at(timetable, facts.time)
    if opened is None or not facts.clock.is_open:
        return ""
    n = int(np.searchsorted(timetable.opens, opened[0].value))
    if n and final.value < timetable.closes[n - 1]:
        return (f"the last bar became final at {utc(final)}: the session of "
                f"{pd.Timestamp(int(timetable.days[n - 1]), unit='D'):%Y-%m-%d} has brought none, or not its last")
    age = (facts.time - max(final, opened[0])).total_seconds()
    if age <= usual_age:
        return ""
    return (f"the last bar became final at {utc(final)}, and the market has been open for {age:,.0f} s "
            "since")


def _other_hours(facts: Facts, timetable: Schedule) -> str:
    """The broker says that the market is open, the calendar that it is closed, or the reverse; a minute around open and
    close says nothing."""
    edge = pd.Timedelta(seconds=60)
    before, after = (session_at(timetable, facts.time + gap) is not None for gap in (-edge, edge))
    if before != after or before == facts.clock.is_open:
        return ""
    says = "closed" if before else "open"
    return (f"the broker says that the market is {says}, the calendar {timetable.name} that it is not: a sudden "
            "closure, or a calendar that is out of date")


def session_at(timetable: Schedule, now: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Open and close of the session that is on; None when none is."""
    n = int(np.searchsorted(timetable.closes, now.value, side="right"))
    if n >= len(timetable.opens) or now.value < timetable.opens[n]:
        return None
    return pd.Timestamp(int(timetable.opens[n]), tz="UTC"), pd.Timestamp(int(timetable.closes[n]), tz="UTC")
