"""Periods counted back from a provider's last bar: "5d" is five sessions, "1y" is a year up to that day.

- Nd: N sessions of the exchange, the last bar's own included, as traders and yfinance count (five days: a week).
- Nmo, Ny: up to the last bar's date, from the day after the same date N months or years earlier, so that "1y" from
  2013-03-01 is 2012-03-02 to 2013-03-01 and two periods in a row never share a day.
- max: everything.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from botlib.calendars import schedule
from botlib.errors import InputError, nearest
from botlib.providers.base import PERIODS

_BEGINNING = pd.Timestamp("1900-01-01")


def check_period(period: object) -> None:
    """Raise `InputError` unless the period is one of `botlib.providers.base.PERIODS`."""
    if period not in PERIODS:
        raise InputError(f"period = {period!r} is not one of {', '.join(PERIODS)}{nearest(period, PERIODS) or '.'}")


def period_start(last: pd.Timestamp, period: str, *, calendar: str | None = "XNYS") -> pd.Timestamp:
    """The first midnight of a period: bars with a label at or after it belong to it.

    Parameters
    ----------
    last : Timestamp
        Label of the provider's last bar, in exchange time. The result has the same time zone.
    period : str
        One of `botlib.providers.base.PERIODS`.
    calendar : str or None
        Exchange whose sessions "Nd" counts; None counts calendar days.

    Raises
    ------
    InputError
        Unknown period.
    """
    check_period(period)
    day = last.tz_localize(None).normalize()
    if period == "max":
        first = _BEGINNING
    else:
        found = re.fullmatch(r"(\d+)(d|mo|y)", period)
        assert found is not None
        count, unit = int(found[1]), found[2]
        if unit == "d":
            first = _sessions_back(day, count, calendar)
        else:
            first = day - pd.DateOffset(months=count * (12 if unit == "y" else 1)) + pd.Timedelta(days=1)
    return first if last.tz is None else first.tz_localize(last.tz, nonexistent="shift_forward", ambiguous=True)


def _sessions_back(day: pd.Timestamp, count: int, calendar: str | None) -> pd.Timestamp:
    if calendar is None:
        return day - pd.Timedelta(days=count - 1)
    days = schedule(calendar).days
    stop = int(np.searchsorted(days, day.to_datetime64().astype("datetime64[D]").astype(np.int64), side="right"))
    if stop <= count:
        return _BEGINNING
    return pd.Timestamp(days[stop - count].astype("datetime64[D]"))
