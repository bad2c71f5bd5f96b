"""Periods counted back from a provider's last bar: "5d" is five sessions, "1y" is a year up to that day.

- Nd: N sessions of the exchange, the last bar's own included, as traders and yfinance count (five days: a week).
- Nmo, Ny: up to the last bar's date, from the day after the same date N months or years earlier, so that "1y" from
  2013-03-01 is 2012-03-02 to 2013-03-01 and two periods in a row never share a day.
- max: everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from botlib.calendars import schedule
from botlib.providers import frames
from botlib.providers.frames import check_period as check_period

_BEGINNING = pd.Timestamp("1900-01-01")


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


def asked_from(period: str, now: Callable[[], pd.Timestamp]) -> pd.Timestamp | None:
    """From when a service is asked for a period whose last bar is not known yet; None: from its first bar.

    Ten days more than the period: no share that trades has an older last bar. `of_period` takes off what is too much.
    """
    if period == "max":
        return None
    return period_start(now().tz_convert(frames.EXCHANGE_TZ).normalize() - pd.Timedelta(days=10), period)


def of_period(parts: Mapping[str, pd.DataFrame], *, provider: str, interval: str, period: str,
              causes: str) -> pd.DataFrame:
    """Bars cut to the period that ends with the last bar of all these symbols.

    Parameters
    ----------
    parts : mapping
        Symbol → its final bars in exchange time, at least those of the period; empty frames where there are none.
    provider, interval, period, causes : str
        For the messages; ``causes`` are the provider's likely ones of an empty answer.

    Returns one frame, MultiIndex (symbol, timestamp). Raises `DataError` when no symbol has a bar; some without any are
    a named warning, attributed to the caller of the function that calls this.
    """
    if all(part.empty for part in parts.values()):
        raise frames.no_data(provider, parts, interval, f"period {period}", causes)
    if period != "max":
        first = period_start(max(part.index[-1] for part in parts.values() if len(part)), period)
        parts = {name: part[part.index >= first] for name, part in parts.items()}
    without = [name for name, part in parts.items() if part.empty]  # none at all, or all before the period
    if without:
        frames.warn_without(provider, without, interval, period, stacklevel=5)
    return frames.stack(parts)


def _sessions_back(day: pd.Timestamp, count: int, calendar: str | None) -> pd.Timestamp:
    if calendar is None:
        return day - pd.Timedelta(days=count - 1)
    days = schedule(calendar).days
    stop = int(np.searchsorted(days, day.to_datetime64().astype("datetime64[D]").astype(np.int64), side="right"))
    if stop <= count:
        return _BEGINNING
    return pd.Timestamp(days[stop - count].astype("datetime64[D]"))
