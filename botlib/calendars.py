"""Exchange sessions: when a market opens and closes, half days, holidays and daylight saving included.

A thin wrapper of `exchange_calendars`. Building a calendar takes about a third of a second, so its timetable is kept in
the user's cache folder, under the version of exchange_calendars that made it; without a writable folder it is built in
each process.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from botlib.errors import DataError, InputError, nearest

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

# Fixed, so that nothing here depends on today's date.
FIRST_DAY, LAST_DAY = "1970-01-01", "2040-12-31"
EXCHANGE_TZ = "America/New_York"  # of the US exchanges: their dates are the sessions', Alpaca's and an arm's
NS_A_MINUTE = 60_000_000_000
_EPOCH = dt.date(1970, 1, 1).toordinal()
# Minutes of a bar; None: one bar a session.
INTERVAL_MINUTES: dict[str, int | None] = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "1d": None}


@dataclass(frozen=True, eq=False)
class Schedule:
    """The timetable of an exchange: S sessions, for XNYS from 1970 to 2040.

    Attributes
    ----------
    name, timezone : str
        The exchange_calendars name, and the exchange's IANA time zone.
    days : numpy.ndarray, (S,) int32
        Session dates as days since 1970-01-01, strictly rising.
    opens, closes : numpy.ndarray, (S,) int64
        Regular open and close, UTC nanoseconds since 1970-01-01.
    """

    name: str
    timezone: str
    days: np.ndarray
    opens: np.ndarray
    closes: np.ndarray

    def locate(self, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where ``days`` (days since 1970) stand in the timetable.

        Returns ``position`` (clipped into range, usable as an index) and ``is_session`` (False on closed days).
        """
        position = np.minimum(np.searchsorted(self.days, days), len(self.days) - 1)
        return position, self.days[position] == days

    def between(self, first: int, last: int) -> slice:
        """The sessions from day ``first`` to day ``last``, both included. Raises `DataError` beyond the timetable."""
        if first < self.days[0] - 10 or last > self.days[-1] + 10:
            have, know = (" to ".join(str(np.datetime64(int(d), "D")) for d in pair)
                          for pair in ((first, last), (self.days[0], self.days[-1])))
            raise DataError(f"bars from {have} reach beyond the calendar {self.name} ({know}); use calendar=None to "
                            "skip its checks.")
        return slice(int(np.searchsorted(self.days, first)), int(np.searchsorted(self.days, last, side="right")))

    @property
    def minutes(self) -> int:
        """Length of an ordinary session in minutes (XNYS: 390)."""
        return int(np.median(self.closes - self.opens)) // NS_A_MINUTE


def check_interval(interval: str) -> None:
    """Raise `InputError` when ``interval`` is none that botlib has."""
    if interval not in INTERVAL_MINUTES:
        raise InputError(f"interval = {interval!r} is unknown{nearest(interval, INTERVAL_MINUTES) or '.'} "
                         f"Valid: {', '.join(INTERVAL_MINUTES)}.")


def days_of(index: pd.DatetimeIndex) -> np.ndarray:
    """(T,) int32 date of each label, in the index's own zone, as days since 1970-01-01."""
    return index.tz_localize(None).values.astype("datetime64[D]").astype(np.int32)


def day_of(time: pd.Timestamp, timezone: str = EXCHANGE_TZ) -> int:
    """Date of a moment in a zone, the US exchanges' by default, as days since 1970-01-01."""
    return int(time.tz_convert(timezone).toordinal()) - _EPOCH


def midnight(day: int, timezone: str = EXCHANGE_TZ) -> pd.Timestamp:
    """When a date (days since 1970-01-01) begins in a zone."""
    return pd.Timestamp(day, unit="D").tz_localize(timezone)


def session_starts(sessions: np.ndarray) -> np.ndarray:
    """(S,) row of each session's first bar; ``sessions`` (T,) int32, rising."""
    return np.append(np.zeros(min(1, len(sessions)), dtype=np.intp), np.flatnonzero(np.diff(sessions)) + 1)


def final_times(start: np.ndarray, sessions: np.ndarray, minutes: int | None, timetable: Schedule | None,
                delay_minutes: float = 20.0) -> np.ndarray:
    """When bars are final, (T,) UTC ns: an intraday bar at its end, at the latest at the close of the session it is in;
    a daily bar at the close + ``delay_minutes``. Without a timetable (or on a closed day) a daily bar ends after 24 h.

    start : (T,) int64 UTC ns; sessions : (T,) int32; minutes : length of a bar, None for daily.
    """
    end = start + (minutes or 24 * 60) * NS_A_MINUTE
    if timetable is None:
        return end
    position, is_session = timetable.locate(sessions)
    close = timetable.closes[position]
    if minutes is None:
        return np.where(is_session, close + int(delay_minutes * NS_A_MINUTE), end)
    return np.where(in_session(start, sessions, minutes, timetable), np.minimum(end, close), end)


def in_session(start: np.ndarray, sessions: np.ndarray, minutes: int | None, timetable: Schedule | None) -> np.ndarray:
    """(T,) bool, the bars that start in a regular session; arguments as `final_times`. Without a timetable all do."""
    if timetable is None:
        return np.ones(len(start), bool)
    position, is_session = timetable.locate(sessions)
    if minutes is None:
        return is_session
    return is_session & (start >= timetable.opens[position]) & (start < timetable.closes[position])


def last_of_session(start: np.ndarray, sessions: np.ndarray, minutes: int | None,
                    timetable: Schedule | None) -> np.ndarray:
    """(T,) bool, the last bar of each regular session; arguments as `final_times`. Daily bars all are.

    Without a timetable (or on a closed day) it is the last bar of the date.
    """
    last = np.append(np.diff(sessions) != 0, True)
    if minutes is None or timetable is None:
        return last
    position, is_session = timetable.locate(sessions)
    close = timetable.closes[position]
    before_close = is_session & (start < close)
    last[:-1] |= before_close[:-1] & ~before_close[1:]
    last[-1] = not is_session[-1] or start[-1] + minutes * NS_A_MINUTE >= close[-1]
    return last & (before_close | ~is_session)


@lru_cache(maxsize=8)
def calendar(name: str) -> ExchangeCalendar:
    """The `exchange_calendars` object itself. Raises `InputError` on an unknown name."""
    import exchange_calendars

    valid = exchange_calendars.get_calendar_names()
    if name not in valid:
        raise InputError(f"calendar = {name!r} is unknown{nearest(name.upper(), valid) or '.'} It must be a name of "
                         "exchange_calendars, such as 'XNYS', or None.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its use of pandas is not the caller's to mend
        try:
            return exchange_calendars.get_calendar(name, start=FIRST_DAY, end=LAST_DAY)
        except (ValueError, NotImplementedError):  # some know fewer years: then all that they know by themselves
            try:
                return exchange_calendars.get_calendar(name)
            except (ValueError, NotImplementedError):
                raise InputError(f"calendar = {name!r} cannot be built by exchange_calendars "
                                 f"{version('exchange_calendars')}; use another, or None for no checks.") from None


@lru_cache(maxsize=8)
def schedule(name: str) -> Schedule:
    """The timetable of an exchange, e.g. ``schedule("XNYS")``. Raises `InputError` on an unknown name."""
    if not isinstance(name, str) or not name:
        raise InputError(f"calendar = {name!r}: it must be the name of an exchange calendar, such as 'XNYS', or None.")
    path = _cache_file(name)
    stored = _load(path, name)
    if stored is not None:
        return stored
    source = calendar(name)
    fresh = Schedule(
        name, str(source.tz),
        days=source.sessions.values.astype("datetime64[D]").astype(np.int32),
        opens=source.opens.dt.as_unit("ns").astype("int64").to_numpy(),
        closes=source.closes.dt.as_unit("ns").astype("int64").to_numpy(),
    )
    _store(path, fresh)
    return fresh


def _cache_file(name: str) -> Path | None:
    if not name.replace("_", "").replace("/", "").isalnum():
        return None
    from platformdirs import user_cache_path

    made_by = f"{version('exchange_calendars')}-{FIRST_DAY[:4]}-{LAST_DAY[:4]}"
    return user_cache_path("botlib") / "calendars" / f"{name.replace('/', '_')}-{made_by}.npz"


def _load(path: Path | None, name: str) -> Schedule | None:
    """The stored timetable; None when there is none or it is torn (it is then built again)."""
    if path is None:
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            days, opens, closes = stored["days"], stored["opens"], stored["closes"]
            timezone = str(stored["timezone"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
    whole = 0 < len(days) == len(opens) == len(closes) and bool((np.diff(days) > 0).all() and (closes > opens).all())
    return Schedule(name, timezone, days, opens, closes) if whole else None


def _store(path: Path | None, made: Schedule) -> None:
    """Write whole or not at all: two processes may do it at once."""
    if path is None:
        return
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, timezone=np.array(made.timezone), days=made.days, opens=made.opens,
                                closes=made.closes)
        Path(temporary).replace(path)
    except OSError:  # no room or no right to write: the next process builds it again
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
