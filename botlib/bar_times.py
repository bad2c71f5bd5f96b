"""Labels of bars: are they timestamps, how far apart, and on which session."""

from __future__ import annotations

import numpy as np
import pandas as pd

from botlib.bar_checks import Findings
from botlib.calendars import INTERVAL_MINUTES, NS_A_MINUTE, check_interval
from botlib.errors import DataError, InputError


def timestamps(level: pd.Index) -> pd.DatetimeIndex:
    """Index values as tz-aware timestamps (ns). Raises `DataError` on values that are none, and on naive ones."""
    if not isinstance(level, pd.DatetimeIndex):
        try:
            if pd.api.types.is_numeric_dtype(level.dtype):
                raise TypeError("pandas would count nanoseconds since 1970")
            level = pd.DatetimeIndex(level)
        except (ValueError, TypeError):
            raise DataError(f"the frame's index holds {level.dtype} where timestamps should be, such as "
                            f"{level[0]!r}; convert it with pandas.to_datetime(..., utc=True).") from None
    if level.tz is None:
        raise DataError(f"timestamps are naive (first {level[0]}): no time zone, so nobody knows when they were. Use "
                        'tz_localize("America/New_York") for exchange time or tz_localize("UTC").')
    return level.as_unit("ns")


def interval_of(times: pd.DatetimeIndex, given: str | None, timezone: str | None, found: Findings) -> str:
    """The interval of sorted labels: the one given if the labels allow it, else their most frequent distance.

    Raises `InputError` when the labels are closer than the given interval, or their distance is none botlib has.
    """
    if given is not None:
        check_interval(given)
    gaps = np.diff(times.asi8)
    gaps = gaps[gaps > 0]
    within = gaps[gaps < 20 * 60 * NS_A_MINUTE]
    if len(within) == 0 or len(within) < 0.1 * len(gaps):  # a stray label does not make daily bars intraday
        dates = _at_midnight(times) or (timezone is not None and _at_midnight(times.tz_convert(timezone)))
        if given not in (None, "1d") and dates:
            raise InputError(f"interval = {given!r}, but the bars are daily: all labels are at 00:00.")
        if given is None and len(gaps) == 0 and not dates:
            raise InputError("one bar only: pass interval=, it cannot be inferred.")
        return given or "1d"
    usual = int(np.bincount(within // NS_A_MINUTE).argmax())
    if given is None:
        named = [name for name, minutes in INTERVAL_MINUTES.items() if minutes == usual]
        if not named:
            raise InputError(f"the bars are {usual} min apart, which is none of {', '.join(INTERVAL_MINUTES)}.")
        given = named[0]
    minutes = INTERVAL_MINUTES[given]
    if minutes is None or usual < minutes:
        raise InputError(f"interval = {given!r}, but the bars are {usual} min apart; leave interval= out, and use "
                         "bars.resample() for longer bars.")
    close = np.flatnonzero(np.diff(times.asi8) < minutes * NS_A_MINUTE)
    close = close[np.diff(times.asi8)[close] > 0]
    if len(close):
        found.add("warning", "overlapping-bars", f"{times[close[0] + 1]} is less than {given} after the label before "
                  f"it ({len(close)} such labels): bars overlap.", time=times[close[0] + 1])
    return given


def daily_labels(times: pd.DatetimeIndex, timezone: str | None, found: Findings) -> pd.DatetimeIndex:
    """Daily labels at 00:00 of their session in exchange time."""
    if timezone is None:
        return times
    local = times.tz_convert(timezone)
    if _at_midnight(local):
        return local
    if _at_midnight(times):  # dates that somebody called UTC
        days, how = times, f"are 00:00 in {times.tz}; each is taken as the session of that date"
    else:
        days, how = local, "are not at 00:00; each is taken as the session of its date in exchange time"
    found.add("warning", "daily-labels", f"the labels of the daily bars, such as {times[0]}, {how}.")
    return days.tz_localize(None).normalize().tz_localize(timezone, nonexistent="shift_forward", ambiguous=True)


def _at_midnight(times: pd.DatetimeIndex) -> bool:
    return bool((times.tz_localize(None).asi8 % (24 * 60 * NS_A_MINUTE) == 0).all())
