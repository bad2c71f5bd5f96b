"""Days, the broker's facts and bars in the order in which they happened, booked one after the other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import pandas as pd

from botlib import adjust
from botlib.bars import Bars
from botlib.brokers.base import Activity, Fill
from botlib.calendars import day_of, midnight, schedule
from botlib.engine.state import WORKING
from botlib.session.core import SessionCore

_DAY, _FACT, _BAR = range(3)  # at one moment: a day begins before its facts, and a bar is final after them


class Listener(Protocol):
    """Who follows what is booked, in its order."""

    def began(self, day: int, splits: Mapping[str, float]) -> None:
        """An exchange date began, with these splits."""

    def acted(self, held: Mapping[str, float], splits: Mapping[str, float],
              dividends: Sequence[tuple[str, float]]) -> None:
        """Splits and dividends of the date that begins are booked; ``held``: shares just before."""

    def theirs(self, activity: Activity) -> float:
        """Dollars of money that moved which are not the ledger's."""

    def moved(self, activity: Activity, kind: str, theirs: float) -> None:
        """Money moved beside fills, ``theirs`` of it not the ledger's."""

    def closed(self, bars: Bars) -> None:
        """The last of these bars is final, its close booked."""


@dataclass(slots=True)
class Booked:
    """What was new.

    Attributes
    ----------
    fills : list of (Fill, uid)
    activities : list of (Activity, what it was)
    days : list of int
        Exchange dates that began, days since 1970-01-01.
    actions : list of str
        Splits and dividends that took effect, in words.
    closed : list of pandas.Timestamp
        Labels of bars that became final.
    """

    fills: list[tuple[Fill, int]] = field(default_factory=list)
    activities: list[tuple[Activity, str]] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    closed: list[pd.Timestamp] = field(default_factory=list)

    def add(self, other: Booked) -> None:
        """What happened after this."""
        for one in fields(self):
            getattr(self, one.name).extend(getattr(other, one.name))


def book(core: SessionCore, now: pd.Timestamp, panels: Sequence[Bars], fills: Sequence[Fill],
         activities: Sequence[Activity], actions: pd.DataFrame | None, *, delay: float = 20.0,
         listener: Listener | None = None, known: int | None = None) -> Booked:
    """Book everything that has happened up to ``now``, before the first session whose actions are not known.

    Parameters
    ----------
    panels : sequence of Bars
        The panels after each bar that has become final, oldest first.
    fills, activities
        Those already booked do no harm.
    actions : DataFrame or None
        Splits and dividends, see `botlib.adjust`.
    delay : float
        Minutes after the close at which daily bars are final.
    listener : Listener, optional
        Told of each thing as it is booked.
    known : int, optional
        The last exchange date whose actions are known: no later one begins, see `begins_later`. Default: today.
    """
    made = Booked()
    timetable = schedule(core.bars.calendar or "XNYS")
    happened: list[tuple[int, int, int, Any]] = []
    last = int(core.book["session"])
    today = day_of(now)
    later = begins_later(core, now, known)
    for day in _session_days(timetable, last, today, core):
        if later is None or _midnight(day) < later:
            happened.append((_midnight(day), _DAY, len(happened), day))
    facts: list[Fill | Activity] = [*fills, *activities]
    for one in facts:
        happened.append((one.time.value, _FACT, len(happened), one))
    for bars in panels:
        happened.append((int(bars.final_times(delay)[-1].value), _BAR, len(happened), bars))
    for time, kind, _, what in sorted(happened, key=lambda item: item[:3]):
        if later is not None and time >= later:
            break
        if kind == _DAY:
            _begin_day(core, what, actions, made, listener)
        elif kind == _BAR:
            core.extend(what)
            core.close_bar()
            made.closed.append(what.index[-1])
            if listener is not None:
                listener.closed(what)
        elif isinstance(what, Fill):
            made.fills += core.fill(what)
        else:
            theirs = 0.0 if listener is None else listener.theirs(what)
            told = core.activity(what, theirs)
            if told:
                made.activities.append((what, told))
                if listener is not None:
                    listener.moved(what, told, theirs)
    core.settle()
    return made


def begins_later(core: SessionCore, now: pd.Timestamp, known: int | None) -> int | None:
    """When the first session begins that waits for its splits and dividends, UTC ns; None when none does.

    What happens from then on is booked once they are known: a date begins once, and its splits change shares that it
    begins with.
    """
    if known is None:
        return None
    timetable = schedule(core.bars.calendar or "XNYS")
    return next((_midnight(day) for day in _session_days(timetable, int(core.book["session"]), day_of(now), core)
                 if day > known), None)


def _session_days(timetable: Any, last: int, today: int, core: SessionCore) -> list[int]:
    """Session dates after the one reached, up to today; of a new ledger that of its last bar, and later ones."""
    first = int(core.bars.sessions[-1]) - 1 if last < -(2**30) else last
    days = timetable.days
    return [int(d) for d in days[np.searchsorted(days, first, side="right"):np.searchsorted(days, today, side="right")]]


def _begin_day(core: SessionCore, day: int, actions: pd.DataFrame | None, made: Booked,
               listener: Listener | None) -> None:
    splits: dict[str, float] = {}
    dividends: list[tuple[str, float]] = []
    last = int(core.book["session"])
    if actions is not None and len(actions) and last > -(2**30):
        ex = adjust.ex_days(actions)
        for row in actions[(ex > last) & (ex <= day)].itertuples():
            if row.symbol not in core.column:
                continue
            if row.type == "split":
                splits[row.symbol] = splits.get(row.symbol, 1.0) * float(row.value)
            else:
                dividends.append((row.symbol, float(row.value)))
                if not _concerns(core, row.symbol):
                    continue
            made.actions.append(f"{row.symbol}: " + (f"split {row.value:g} for 1" if row.type == "split" else
                                                     f"dividend of ${row.value:g} a share"))
    held = core.positions()
    if core.begin_day(day, splits, dividends):
        made.days.append(day)
        if listener is not None and (splits or dividends):
            listener.acted(held, splits, dividends)
        if listener is not None:
            listener.began(day, splits)


def _concerns(core: SessionCore, symbol: str) -> bool:
    """Whether the ledger holds a symbol or has an order in it."""
    i, orders = core.column[symbol], core.book.rows("orders")
    return bool(core.book.position[i] or ((orders["symbol"] == i) & (orders["status"] == WORKING)).any())


def splits_on(actions: pd.DataFrame | None, after: int, upto: int) -> list[tuple[str, float]]:
    """Splits with an ex-date after one exchange date and up to another: (symbol, ratio)."""
    if actions is None or not len(actions):
        return []
    ex = adjust.ex_days(actions)
    found = actions[(ex > after) & (ex <= upto) & (actions["type"] == "split").to_numpy()]
    return [(str(row.symbol), float(row.value)) for row in found.itertuples()]


def _midnight(day: int) -> int:
    return int(midnight(day).value)


def next_print(timetable: Any, final: pd.Timestamp) -> pd.Timestamp:
    """When an order sent at ``final`` can trade first: at once in regular hours, else at the next open."""
    at = final.value
    n = int(np.searchsorted(timetable.closes, at, side="right"))
    if n >= len(timetable.opens):
        return final
    return pd.Timestamp(max(at, int(timetable.opens[n])), tz="UTC")
