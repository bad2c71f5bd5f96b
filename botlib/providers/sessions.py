"""Which bars are final: an exchange calendar and a moment, no clock of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from botlib.calendars import schedule
from botlib.providers.frames import STEPS

_GRID = pd.Timedelta(minutes=30)  # bars start on multiples of min(interval, 30 min): hourly ones at 9:30 too


def _midnights(days: pd.DatetimeIndex, tz: str) -> np.ndarray:
    # Some zones change their clocks at midnight.
    local = days.tz_localize(tz, nonexistent="shift_forward", ambiguous=np.ones(len(days), dtype=bool))
    return local.as_unit("ns").asi8


class Sessions:
    """The sessions of an exchange, to tell final bars from unfinished ones. Times are UTC nanoseconds.

    Parameters
    ----------
    calendar : str
        exchange_calendars name.
    delay : pandas.Timedelta
        A daily bar is final this long after the session's close (RULES: 20 min).
    """

    def __init__(self, calendar: str = "XNYS", delay: pd.Timedelta | None = None) -> None:
        timetable = schedule(calendar)
        self.calendar, self.tz = calendar, timetable.timezone
        # A session's label is the midnight of its date in exchange time, which daylight saving moves.
        days = pd.DatetimeIndex(timetable.days.astype("datetime64[D]").astype("datetime64[ns]"))
        self._labels, self._closes = _midnights(days, self.tz), timetable.closes
        self._delay = pd.Timedelta(minutes=20) if delay is None else delay

    def final_sessions(self, now: pd.Timestamp) -> int:
        """How many sessions of the calendar are final at ``now``."""
        return int(np.searchsorted(self._closes + self._delay.value, now.value, side="right"))

    def last_final(self, now: pd.Timestamp, back: int = 0) -> int:
        """Label (UTC ns) of the last final session at ``now``, or of the one ``back`` sessions before it."""
        return int(self._labels[max(self.final_sessions(now) - 1 - back, 0)])

    def last_before(self, label: int) -> int:
        """Label of the last session that starts before ``label``."""
        return int(self._labels[max(int(np.searchsorted(self._labels, label)) - 1, 0)])

    def limit(self, interval: str, now: pd.Timestamp) -> int:
        """The label (UTC ns) from which on no bar is final at ``now``; every bar with an earlier label is."""
        if interval == "1d":
            return self.day_end(self.last_final(now))
        step = STEPS[interval]
        grid = min(step, _GRID)
        closed = int(self._closes[max(int(np.searchsorted(self._closes, now.value, side="right")) - 1, 0)])
        return max(((now - step).floor(grid) + grid).value, closed)  # the session's last bar ends with it

    def day_start(self, label: int) -> int:
        """The midnight (UTC ns, exchange time) that begins the day of a label."""
        return pd.Timestamp(label, tz="UTC").tz_convert(self.tz).normalize().value

    def day_end(self, label: int) -> int:
        """The midnight (UTC ns, exchange time) that ends the day of a label."""
        day = pd.Timestamp(self.day_start(label), tz="UTC").tz_convert(self.tz)
        return (day + pd.DateOffset(days=1)).normalize().value

    def any_between(self, start: int, end: int, interval: str) -> bool:
        """Whether a bar label can lie in [start, end): a session starts there or, for intraday, reaches in.

        Outside the calendar's years the answer is yes: unknown is not empty.
        """
        if start >= end:
            return False
        if start < self._labels[0] or end > self._labels[-1]:
            return True
        if interval != "1d":
            start = self.day_start(start)
        return bool(np.searchsorted(self._labels, start) < np.searchsorted(self._labels, end))
