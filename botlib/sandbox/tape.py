"""`Tape`: the replayed market, bar by bar, with the exchange's hours. It knows every bar and tells only the past."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.calendars import NS_A_MINUTE, Schedule, schedule
from botlib.errors import InputError

BEFORE_OPEN_NS = 330 * NS_A_MINUTE  # extended hours: 4:00 to 20:00 New York
AFTER_CLOSE_NS = 240 * NS_A_MINUTE
_EPOCH = pd.Timestamp(0).toordinal()
GTC_DAYS = 90
GTC_END = pd.Timedelta(hours=16, minutes=15)  # "good till cancelled" ends at 16:15 New York ("Placing Orders")


def is_number(value: object) -> bool:
    """Whether a parameter is a number; True and False are none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def is_whole(value: object) -> bool:
    """Whether a parameter is a whole number."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


class Tape:
    """Bars in replay.

    Parameters
    ----------
    bars : Bars
        Raw prices of T bars and N symbols, with a calendar.
    first : int
        The first bar that will happen; those before it are history. 1 to T - 1.

    Attributes
    ----------
    bar : int
        The last bar that happened, whole. At the beginning ``first - 1``.
    in_progress : bool
        Bar ``bar + 1`` has opened and not yet closed.
    now : int
        UTC nanoseconds; moves forward only.
    last : (N,) float64
        The last print of each symbol; NaN before its first.

    Raises
    ------
    InputError
        No calendar, adjusted prices, too few bars, ``first`` out of range.
    """

    def __init__(self, bars: Bars, first: int = 1) -> None:
        if bars.calendar is None:
            raise InputError("the local exchange needs bars with a calendar, for its opening hours: "
                             "Bars.from_frame(..., calendar='XNYS').")
        if bars.adjustment != "raw":
            raise InputError(f"the local exchange trades raw prices; these bars are adjusted ({bars.adjustment!r}). "
                             "Pass the raw bars with their actions.")
        if len(bars) < 2:
            raise InputError("one bar is too few for a replay, which needs one before it begins and one that "
                             "happens: take a longer period.")
        if not is_whole(first) or not 1 <= first < len(bars):
            raise InputError(f"first = {first!r}: the replay begins at bar 1 to {len(bars) - 1} of these {len(bars)} "
                             "bars, so that there is a price before it.")
        self.bars, self.first = bars, first
        self.schedule: Schedule = schedule(bars.calendar)
        self.bar, self.in_progress = first - 1, False
        position, _ = self.schedule.locate(bars.sessions)
        self._opens, self._closes = self.schedule.opens[position], self.schedule.closes[position]
        labels = bars.index.as_unit("ns").asi8
        self.starts = self._opens if bars.interval == "1d" else labels
        self.finals = bars.known_at.as_unit("ns").asi8
        self.ends = self._closes if bars.interval == "1d" else self.finals
        self.column = {symbol: n for n, symbol in enumerate(bars.symbols)}
        self.now = int(self.finals[self.bar])
        self.last = np.full(len(bars.symbols), np.nan)
        self._told: tuple[int, pd.Timestamp] = (-1, pd.Timestamp(0))
        self._aged: dict[pd.Timestamp, int] = {}
        for t in range(first):
            self.mark(t)

    def mark(self, t: int, panel: str = "close") -> None:
        """Take the closes, or the opens, of bar ``t`` as last prints."""
        prices = getattr(self.bars, panel)[t]
        printed = prices > 0.0
        self.last[printed] = prices[printed]

    def tell(self, now: int) -> None:
        """Time goes on; it never goes back."""
        self.now = max(self.now, int(now))

    @property
    def done(self) -> bool:
        """Whether every bar has happened."""
        return self.bar >= len(self.bars) - 1

    def price(self, symbol: str) -> float | None:
        """The last print; None when the symbol is unknown or has not traded yet."""
        column = self.column.get(symbol)
        if column is None or math.isnan(self.last[column]):
            return None
        return float(self.last[column])

    @property
    def next_bar(self) -> int:
        """The first bar that an order sent now can meet: one that is not yet open."""
        return self.bar + 1 + self.in_progress

    def begins_session(self, t: int) -> bool:
        """Whether bar ``t`` is the first of its session date."""
        return t == 0 or self.bars.sessions[t] != self.bars.sessions[t - 1]

    def opens_session(self, t: int) -> bool:
        """Whether bar ``t`` is the first regular one of its session."""
        return self.regular(t) and (self.begins_session(t) or not self.regular(t - 1))

    def ends_session(self, t: int) -> bool:
        """Whether day orders expire at the end of bar ``t``."""
        return bool(self.bars.last_session_bar[t])

    def regular(self, t: int) -> bool:
        """Whether bar ``t`` lies in regular hours."""
        return bool(self.bars.in_session[t])

    # --- hours --------------------------------------------------------------------------------------------------------

    def _next(self, times: np.ndarray, now: int) -> int:
        return int(times[min(int(np.searchsorted(times, now, side="right")), len(times) - 1)])

    @property
    def is_open(self) -> bool:
        """Regular hours, now."""
        n = int(np.searchsorted(self.schedule.opens, self.now, side="right")) - 1
        return n >= 0 and self.now < int(self.schedule.closes[n])

    @property
    def next_open(self) -> int:
        """UTC ns of the next regular open."""
        return self._next(self.schedule.opens, self.now)

    @property
    def next_close(self) -> int:
        """UTC ns of the next regular close."""
        return self._next(self.schedule.closes, self.now)

    @property
    def next_extended_close(self) -> int:
        """UTC ns of the next end of extended hours."""
        return self._next(self.schedule.closes + AFTER_CLOSE_NS, self.now)

    @property
    def aged(self) -> int:
        """When an order good till cancelled ends that is sent now, UTC ns."""
        day = self._local.tz_localize(None).normalize()
        if day not in self._aged:
            end = (day + pd.Timedelta(days=GTC_DAYS) + GTC_END).tz_localize(self.schedule.timezone)
            self._aged[day] = int(end.as_unit("ns").value)
        return self._aged[day]

    @property
    def is_extended(self) -> bool:
        """Before the open from 4:00, or after the close to 20:00, of a session day."""
        n = int(np.searchsorted(self.schedule.opens, self.now + BEFORE_OPEN_NS, side="right")) - 1
        if n < 0 or self.is_open:
            return False
        return self.now < int(self.schedule.closes[n]) + AFTER_CLOSE_NS

    @property
    def _local(self) -> pd.Timestamp:
        if self._told[0] != self.now:
            self._told = (self.now, pd.Timestamp(self.now, tz="UTC").tz_convert(self.schedule.timezone))
        return self._told[1]

    @property
    def day(self) -> int:
        """The exchange's date now, days since 1970-01-01."""
        return self._local.toordinal() - _EPOCH

    @property
    def minute_of_day(self) -> int:
        """Minutes since midnight, exchange time, now."""
        return self._local.hour * 60 + self._local.minute
