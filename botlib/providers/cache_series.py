"""One cached series, and what a new answer of the source does to it. Pure: no files, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from botlib.errors import DataError
from botlib.providers.cache_spans import BEGINNING, SETTLED, Span, cover, missing
from botlib.providers.frames import COLUMNS
from botlib.providers.periods import period_start
from botlib.providers.sessions import Sessions

_RESCALED = 1e-6  # relative; a one-cent dividend on a $500 share moves adjusted prices by 2e-5


@dataclass(frozen=True)
class Moment:
    """What a moment means for bars of one interval; all UTC ns.

    Attributes
    ----------
    limit : int
        No bar with this label or a later one is final.
    latest : int
        The last instant before ``limit`` that belongs to a session's day.
    asof : int
        Label of the last final session.
    settled : int
        Answers about labels before this one can no longer change.
    """

    limit: int
    latest: int
    asof: int
    settled: int

    @classmethod
    def at(cls, now: pd.Timestamp, interval: str, sessions: Sessions, recheck: int) -> Moment:
        """``recheck``: how many of the last sessions may still be corrected."""
        limit = sessions.limit(interval, now)
        settled = sessions.last_final(now, back=recheck - 1) if recheck else sessions.limit("1d", now)
        latest = min(limit, sessions.day_end(sessions.last_before(limit))) - 1
        return cls(limit, latest, sessions.last_final(now), settled)


@dataclass(frozen=True)
class Series:
    """One symbol's cached bars, or its actions.

    Attributes
    ----------
    frame : pandas.DataFrame
        Bars on a UTC DatetimeIndex (ns), or an actions table.
    spans : list of Span
        Ranges of labels that were asked for (bars).
    asof : list of int
        Last final session and exchange date at which the table was asked for, UTC ns (actions).
    basis : str
        Fingerprint of the actions that the prices are adjusted for; "" for raw bars.
    """

    frame: pd.DataFrame
    spans: list[Span] = field(default_factory=list)
    asof: list[int] = field(default_factory=list)
    basis: str = ""

    @classmethod
    def empty(cls, basis: str = "") -> Series:
        """No bars, nothing asked for."""
        index = pd.DatetimeIndex([], tz="UTC", name="timestamp").as_unit("ns")
        return cls(pd.DataFrame(columns=list(COLUMNS), index=index, dtype="float64"), basis=basis)

    @property
    def last(self) -> int | None:
        """Label of the last bar, UTC ns; None without bars."""
        return int(self.frame.index.asi8[-1]) if len(self.frame) else None

    def between(self, first: int, last: int) -> pd.DataFrame:
        """The bars with labels in [first, last)."""
        start, end = np.searchsorted(self.frame.index.asi8, [first, last])
        return self.frame.iloc[start:end]

    def gaps(self, first: int, last: int, interval: str, sessions: Sessions, asof: int) -> list[tuple[int, int]]:
        """The parts of [first, last) that must be asked for, leaving out times when the exchange was closed."""
        return [gap for gap in missing(self.spans, first, last, asof) if sessions.any_between(*gap, interval)]


def merged(series: Series, answer: pd.DataFrame, first: int, last: int, moment: Moment, sessions: Sessions,
           *, raw: bool) -> Series:
    """The series after the source answered ``answer`` (as `normal` gives it) for the labels in [first, last).

    ``last`` is at most ``moment.limit``, so a bar that is not final falls away with all else outside the range. A
    non-empty answer settles its range up to the day of its last bar, as far as nothing can be corrected any more; all
    else counts until the next session is final. An empty answer removes nothing. When prices that are not ``raw``
    disagree with bars already held, the old ones are dropped.
    """
    labels = answer.index.asi8
    new = answer[(labels >= first) & (labels < last)]
    if new.empty:
        return replace(series, spans=cover(series.spans, first, last, moment.asof))
    if not raw and _rescaled(series.frame, new):
        series = Series.empty(series.basis)
    old = series.frame.index.asi8
    parts = [series.frame[old < first], new, series.frame[old >= last]]
    frame = pd.concat([part for part in parts if len(part)])
    settled = max(first, min(last, moment.settled, sessions.day_end(int(new.index.asi8[-1]))))
    spans = cover(cover(series.spans, settled, last, moment.asof), first, settled, SETTLED)
    return replace(series, frame=frame, spans=spans)


def reaches(frames: dict[str, pd.DataFrame], period: str | None, guess: int, sessions: Sessions) -> dict[str, int]:
    """From which label on a source's answer to a period speaks for each symbol; ``period`` None: from the beginning.

    ``guess`` stands in when nothing came.
    """
    if period is None:
        return dict.fromkeys(frames, BEGINNING)
    came = {name: frame.index for name, frame in frames.items() if len(frame)}
    if not came:
        return dict.fromkeys(frames, guess)
    last = max(index[-1].value for index in came.values())  # an unfinished bar counts: the source counted from it
    first = period_start(pd.Timestamp(last, tz="UTC").tz_convert(sessions.tz), period, calendar=sessions.calendar).value
    starts = {name: max(first, sessions.day_start(index[0].value)) for name, index in came.items()}
    if not sessions.any_between(first, min(starts.values()), "1d"):
        return dict.fromkeys(frames, first)
    # No bar stands at the period's start: the source may have counted from a later bar, so believe only what came.
    return {name: starts.get(name, max(guess, first)) for name in frames}


def _rescaled(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Whether the source has changed the close of a bar that both frames hold."""
    both = old.index.intersection(new.index)
    before, after = old.loc[both, "close"].to_numpy(), new.loc[both, "close"].to_numpy()
    return bool((np.abs(after - before) > _RESCALED * np.abs(before)).any())  # NaN compares False


def normal(frame: pd.DataFrame, symbol: str, provider: str) -> pd.DataFrame:
    """A source's answer on a UTC index, float64. Raises `DataError` for what would poison a cache."""
    if frame.empty:
        return Series.empty().frame
    index: Any = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise DataError(f"{provider} returned bars of {symbol} without tz-aware timestamps.")
    if not index.is_monotonic_increasing or not index.is_unique:
        raise DataError(f"{provider} returned bars of {symbol} that are not in strictly rising order of time.")
    absent = [column for column in COLUMNS if column not in frame]
    if absent:
        raise DataError(f"{provider} returned bars of {symbol} without the column {absent[0]}.")
    numeric = frame.select_dtypes("number").astype("float64")
    return numeric.set_axis(index.tz_convert("UTC").as_unit("ns").rename("timestamp"))


def fingerprint(actions: pd.DataFrame, types: Collection[str]) -> str:
    """A short hash of the dates, types and values of an actions table's rows of these types."""
    dates = actions["ex_date"].to_numpy().astype("datetime64[D]").tolist()
    rows = zip(dates, actions["type"].tolist(), actions["value"].tolist())
    text = "\n".join(f"{date},{kind},{value:.12g}" for date, kind, value in rows if kind in types)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
