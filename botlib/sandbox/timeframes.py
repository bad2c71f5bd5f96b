"""Alpaca's timeframes: how they are spelled, and which bars of a tape make one bar of each.

Minutes and hours are counted from midnight in New York, so that hourly bars start on the full hour and the first of a
session (9:00) reaches back before its open; weeks are labelled by their Monday, months by their first day. Shorter than
a day they hold every bar there is, extended hours included; from a day on the regular sessions' only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from botlib.bars import INTERVAL_MINUTES
from botlib.calendars import NS_A_MINUTE
from botlib.resample import Bins

if TYPE_CHECKING:
    from botlib.sandbox.tape import Tape

_SPELLED = re.compile(r"(\d{1,2})(Minute|Min|T|Hour|H|Day|D|Week|W|Month|M)", re.ASCII | re.IGNORECASE)
_UNITS = {"minute": "Min", "min": "Min", "t": "Min", "hour": "Hour", "h": "Hour", "day": "Day", "d": "Day",
          "week": "Week", "w": "Week", "month": "Month"}
_AMOUNTS = {"Min": range(1, 60), "Hour": range(1, 24), "Day": (1,), "Week": (1,), "Month": (1, 2, 3, 4, 6, 12)}
_MONDAY = 4  # 1970-01-01 was a Thursday: day 4 is a Monday


class Timeframe(NamedTuple):
    """``amount`` of a ``unit``: Min, Hour, Day, Week, Month."""

    amount: int
    unit: str

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}"

    @property
    def minutes(self) -> int | None:
        """Its length; None from a day on."""
        return {"Min": 1, "Hour": 60}[self.unit] * self.amount if self.unit in ("Min", "Hour") else None

    @property
    def longer_than_a_day(self) -> bool:
        """Week or month: corporate actions may fall within one bar."""
        return self.unit in ("Week", "Month")


DAY = Timeframe(1, "Day")
USUAL = (*(Timeframe(n, "Min") for n in (1, 5, 15, 30)), Timeframe(1, "Hour"), DAY, Timeframe(1, "Week"),
         Timeframe(1, "Month"))


def read(text: str) -> Timeframe | None:
    """A timeframe as Alpaca spells it: [1-59]Min or T, [1-23]Hour or H, 1Day or D, 1Week or W, [1,2,3,4,6,12]Month or
    M; None when it is none."""
    found = _SPELLED.fullmatch(text)
    if found is None:
        return None
    unit = "Month" if found[2] == "M" else _UNITS.get(found[2].lower())
    if unit is None or int(found[1]) not in _AMOUNTS[unit]:
        return None
    return Timeframe(int(found[1]), unit)


def of(interval: str) -> Timeframe:
    """Of botlib's bars: "5m", "1h", "1d"."""
    minutes = INTERVAL_MINUTES[interval]
    return DAY if minutes is None else Timeframe(1, "Hour") if minutes == 60 else Timeframe(minutes, "Min")


def fits(tape: Tape, timeframe: Timeframe) -> bool:
    """Whether a tape's bars can make such bars: none of them reaches over an edge."""
    if timeframe == of(tape.bars.interval) or timeframe.minutes is None:
        return True
    source = INTERVAL_MINUTES[tape.bars.interval]
    if source is None or timeframe.minutes < source:
        return False
    step = timeframe.minutes * NS_A_MINUTE
    start = tape.bars.index.as_unit("ns").asi8
    since = start - tape.bars.index.normalize().as_unit("ns").asi8
    length = np.minimum(source * NS_A_MINUTE, np.maximum(tape.ends - start, 1))  # the last of a session may be shorter
    return bool((since // step == (since + length - 1) // step).all())


def bins(tape: Tape, timeframe: Timeframe) -> Bins:
    """The tape's bars grouped; longer than the tape's own."""
    bars = tape.bars
    start = bars.index.as_unit("ns").asi8
    if timeframe.minutes is not None:
        step = timeframe.minutes * NS_A_MINUTE
        midnight = bars.index.normalize().as_unit("ns").asi8
        labels = midnight + (start - midnight) // step * step
        starts = np.flatnonzero(np.append(True, np.diff(labels) != 0))
        return Bins(np.arange(len(start)), starts, labels[starts], labels[starts] + step)
    rows = np.flatnonzero(bars.in_session)
    first, beyond = _spans(bars.sessions[rows].astype(np.int64), timeframe)
    starts = np.flatnonzero(np.append(True, np.diff(first) != 0)) if len(rows) else rows
    last = tape.schedule.days.searchsorted(beyond[starts]) - 1
    days = pd.DatetimeIndex(first[starts].astype("M8[D]").astype("M8[ns]"))
    labels = days.tz_localize(bars.index.tz).as_unit("ns").asi8
    return Bins(rows, starts, labels, tape.schedule.closes[last])


def _spans(days: np.ndarray, timeframe: Timeframe) -> tuple[np.ndarray, np.ndarray]:
    """The first day of the bar that each day is in, and the first day after it; days since 1970-01-01."""
    if timeframe.unit == "Day":
        return days, days + 1
    if timeframe.unit == "Week":
        first = days - (days - _MONDAY) % 7
        return first, first + 7
    months = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    months -= months % timeframe.amount  # 1970 began with a January: the same as from each year's
    first, beyond = (m.astype("M8[M]").astype("M8[D]").astype(np.int64) for m in (months, months + timeframe.amount))
    return first, beyond
