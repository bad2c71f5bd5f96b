"""What can be wrong with bars, each check by its name.

Errors (`DataError`): duplicate-bars, future-bars, nan-prices, infinite-values, non-positive-prices, high-below-low,
negative-volume, not-a-session.

Warnings (`BotlibWarning` of that name): unsorted-bars, empty-rows, open-close-outside-range, missing-sessions,
ends-early, thin-sessions, outside-session, unfinished-bars, unadjusted-split, split-already-applied, daily-labels,
ignored-column, look-ahead-column, overlapping-bars, incomplete-bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from botlib.calendars import NS_A_MINUTE, Schedule, in_session, session_starts
from botlib.errors import DataError, warn

FIELDS = ("open", "high", "low", "close", "volume")
COLUMNS = ("symbol", "time", "check", "severity", "message")
_RANGE_TOLERANCE = 1e-6  # relative; vendors round adjusted prices


class Finding(NamedTuple):
    """One row of the findings table; ``symbol`` is "" and ``time`` NaT when it is about the whole frame."""

    symbol: str
    time: pd.Timestamp
    check: str
    severity: str
    message: str


class Findings:
    """Collects findings; `settle` makes them one error, or one warning a check."""

    def __init__(self, daily: bool = True) -> None:
        self.rows: list[Finding] = []
        self.daily = daily

    def stamp(self, time: pd.Timestamp) -> str:
        """A time as messages write it."""
        return f"{time:%Y-%m-%d}" if self.daily else f"{time:%Y-%m-%d %H:%M}"

    def add(self, severity: str, check: str, message: str, symbol: str = "", time: object = pd.NaT) -> None:
        """Add one finding."""
        self.rows.append(Finding(symbol, pd.Timestamp(time), check, severity, message))  # type: ignore[arg-type]

    def raise_errors(self) -> None:
        """Raise the first error found, naming the others."""
        errors = [f for f in self.rows if f.severity == "error"]
        if errors:
            first = errors[0]
            others = sorted({f.check for f in errors} - {first.check})
            also = f" Also found: {', '.join(others)}." if others else ""
            raise DataError(f"{told(errors)[0][1]}{also}")

    def settle(self, stacklevel: int = 3) -> None:
        """Raise the first error, or warn once a check. ``stacklevel`` as `warnings.warn` would take it here."""
        self.raise_errors()
        for check, text in told(self.rows):
            warn(check, text, stacklevel=stacklevel + 1)


def told(rows: Sequence[Finding]) -> list[tuple[str, str]]:
    """One (check, sentence) a check: its first finding, and in how many more symbols it is so."""
    said = []
    for check in dict.fromkeys(f.check for f in rows):
        found = [f for f in rows if f.check == check]
        others = len({f.symbol for f in found}) - 1
        more = f" The same in {others} more symbol{'s' * (others > 1)}." if others > 0 else ""
        said.append((check, found[0].message + more))
    return said


def table(rows: Sequence[Finding], timezone: object = None) -> pd.DataFrame:
    """The findings as a frame with COLUMNS; time in the exchange's zone, NaT where a finding has none."""
    times = pd.to_datetime([f.time for f in rows], utc=True).as_unit("ns").tz_convert(timezone or "UTC")
    columns = {name: pd.Series([getattr(f, name) for f in rows], dtype="str") for name in COLUMNS if name != "time"}
    return pd.DataFrame({"symbol": columns["symbol"], "time": times, "check": columns["check"],
                         "severity": columns["severity"], "message": columns["message"]})


# --- rows -------------------------------------------------------------------------------------------------------------


class Located(NamedTuple):
    """Some rows of the frame: symbol number, time number and OHLCV of each, all (K,)."""

    symbol: np.ndarray
    time: np.ndarray
    values: dict[str, np.ndarray]


def suspects(values: dict[str, np.ndarray]) -> np.ndarray:
    """Positions of the rows that are not plainly right; on good data one pass and nothing more."""
    o, h, lo, c, v = (values[f] for f in ("open", "high", "low", "close", "volume"))
    right = lo > 0
    for condition in (lo <= o, o <= h, lo <= c, c <= h, h < np.inf, v >= 0, v < np.inf):
        right &= condition
    return np.flatnonzero(~right)


class RowFaults(NamedTuple):
    """What is wrong with rows of OHLCV, (K,) bool each; ``nothing``: no bar in the row, which is no error."""

    nothing: np.ndarray
    nan: np.ndarray
    infinite: np.ndarray
    non_positive: np.ndarray
    high_below_low: np.ndarray
    negative_volume: np.ndarray


def row_faults(values: Mapping[str, np.ndarray]) -> RowFaults:
    """The faults of some rows; ``values`` are (K,) float64, by the names in FIELDS."""
    o, h, lo, c, volume = (values[f] for f in FIELDS)
    prices = np.column_stack([o, h, lo, c])
    nothing = np.isnan(prices).all(axis=1) & (np.isnan(volume) | (volume == 0))
    nan = (np.isnan(prices).any(axis=1) | np.isnan(volume)) & ~nothing
    infinite = np.isinf(prices).any(axis=1) | np.isinf(volume)
    return RowFaults(nothing, nan, infinite, np.asarray((prices <= 0).any(axis=1)), h < lo, volume < 0)


def check_rows(found: Findings, rows: Located, symbols: Sequence[str], times: pd.DatetimeIndex) -> np.ndarray:
    """Check suspect rows; returns (K,) bool, True where a row is empty (no bar) and to be left out."""
    v = rows.values
    o, h, lo, c, volume = (v[f] for f in ("open", "high", "low", "close", "volume"))
    faults = row_faults(v)
    slack = _RANGE_TOLERANCE * np.abs(h)
    outside = ((o > h + slack) | (o < lo - slack) | (c > h + slack) | (c < lo - slack)) & (h >= lo)

    def numbers(i: int) -> str:
        return f"open {o[i]:g}, high {h[i]:g}, low {lo[i]:g}, close {c[i]:g}, volume {volume[i]:g}"

    def each(mask: np.ndarray, severity: str, check: str, text: Callable[[int], str], remedy: str) -> None:
        group(found, np.flatnonzero(mask), rows, symbols, times, severity, check, text, remedy)

    fix = "Correct the source, or drop these rows before Bars.from_frame."
    each(faults.nothing, "warning", "empty-rows", lambda i: "a row without prices", "Taken as no bar.")
    each(faults.nan, "error", "nan-prices", lambda i: f"NaN among {numbers(i)}", fix)
    each(faults.infinite, "error", "infinite-values", lambda i: f"infinite value among {numbers(i)}", fix)
    each(faults.non_positive, "error", "non-positive-prices",
         lambda i: f"a price that is not above 0: {numbers(i)}", fix)
    each(faults.high_below_low, "error", "high-below-low", lambda i: f"high {h[i]:g} is below low {lo[i]:g}", fix)
    each(faults.negative_volume, "error", "negative-volume", lambda i: f"volume {volume[i]:g} is below 0", fix)
    each(outside, "warning", "open-close-outside-range",
         lambda i: f"open or close lies outside low to high: {numbers(i)}",
         "Fills use these prices as they are; correct the source if you can.")
    return faults.nothing


def group(found: Findings, bad: np.ndarray, rows: Located, symbols: Sequence[str], times: pd.DatetimeIndex,
          severity: str, check: str, text: Callable[[int], str], remedy: str) -> None:
    """One finding a symbol: its earliest bad row, and how many there are."""
    if len(bad) == 0:
        return
    bad = bad[np.lexsort((rows.time[bad], rows.symbol[bad]))]
    which, first, count = np.unique(rows.symbol[bad], return_index=True, return_counts=True)
    for n, k, many in zip(which, first, count, strict=True):
        i = int(bad[k])
        time = times[rows.time[i]]
        more = f" ({many} such bars)" if many > 1 else ""
        found.add(severity, check, f"{symbols[n]} {found.stamp(time)}: {text(i)}{more}. {remedy}", symbols[n], time)


# --- sessions ---------------------------------------------------------------------------------------------------------


def check_sessions(found: Findings, symbols: Sequence[str], index: pd.DatetimeIndex, sessions: np.ndarray,
                   valid: np.ndarray, minutes: int | None, schedule: Schedule) -> None:
    """Bars against the exchange's timetable.

    valid : (T, N) bool, where a symbol has a bar; minutes : length of a bar, None for daily.
    """
    calendar = schedule.days[schedule.between(int(sessions[0]), int(sessions[-1]))]
    inside = in_session(index.as_unit("ns").asi8, sessions, minutes, schedule)
    if minutes is None:
        if not inside.all():
            _report_bars(found, symbols, index, valid & ~inside[:, None], "error", "not-a-session",
                         f"a daily bar on a day when {schedule.name} is closed",
                         "Drop it, or use calendar=None for a market without this calendar.")
    elif not inside.all():
        _report_bars(found, symbols, index, valid & ~inside[:, None], "warning", "outside-session",
                     f"a bar outside the regular session of {schedule.name}",
                     "Orders wait there for the next regular bar; the parameter regular_hours = true (in Python "
                     "Bars.from_frame(..., regular_hours=True)) leaves such bars out.")
    here = np.flatnonzero(inside)
    if len(here) == 0:
        return
    starts = session_starts(sessions[here])
    days = sessions[here][starts]
    bars = valid if len(here) == len(valid) else valid[here]
    counts = bars.astype(np.int32) if minutes is None else np.add.reduceat(bars.astype(np.int32), starts, axis=0)
    _missing(found, symbols, index.tz, days, counts, calendar, schedule.name)
    if minutes is not None:
        k, _ = schedule.locate(days)
        length = -((schedule.opens[k] - schedule.closes[k]) // (minutes * NS_A_MINUTE))  # a last short bar counts
        _thin(found, symbols, index[here][starts], counts, length)


def _report_bars(found: Findings, symbols: Sequence[str], index: pd.DatetimeIndex, bad: np.ndarray, severity: str,
                 check: str, what: str, remedy: str) -> None:
    t, n = np.nonzero(bad)
    group(found, np.arange(len(t)), Located(n, t, {}), symbols, index, severity, check, lambda i: what, remedy)


def _missing(found: Findings, symbols: Sequence[str], timezone: object, days: np.ndarray, counts: np.ndarray,
             calendar: np.ndarray, name: str) -> None:
    """Sessions without a bar between a symbol's first and last (before the first it was not listed yet)."""
    present = counts > 0
    any_bar = present.any(axis=0)
    first = days[present.argmax(axis=0)]
    last = days[len(days) - 1 - present[::-1].argmax(axis=0)]
    expected = np.searchsorted(calendar, last, side="right") - np.searchsorted(calendar, first)
    missing = np.where(any_bar, expected - present.sum(axis=0), 0)
    for n in np.flatnonzero(missing).tolist():
        span = calendar[(calendar >= first[n]) & (calendar <= last[n])]
        gone = np.setdiff1d(span, days[present[:, n]])
        listed = ", ".join(str(np.datetime64(int(d), "D")) for d in gone[:3]) + (", ..." if len(gone) > 3 else "")
        found.add("warning", "missing-sessions",
                  f"{symbols[n]} has no bar on {len(gone)} of {len(span)} sessions of {name} between its first and "
                  f"last: {listed}. It cannot trade there.", symbols[n], _midnight(gone[0], timezone))
    for n in np.flatnonzero(any_bar & (last < days[-1])).tolist():
        found.add("warning", "ends-early",
                  f"{symbols[n]} has its last bar on {np.datetime64(int(last[n]), 'D')}, the data go on to "
                  f"{np.datetime64(int(days[-1]), 'D')}. Delisted, renamed, or a gap in the source?",
                  symbols[n], _midnight(last[n], timezone))


def _midnight(day: int, timezone: object) -> pd.Timestamp:
    return pd.Timestamp(np.datetime64(int(day), "D")).tz_localize(timezone, nonexistent="shift_forward", ambiguous=True)


def _thin(found: Findings, symbols: Sequence[str], first_bars: pd.DatetimeIndex, counts: np.ndarray,
          expected: np.ndarray) -> None:
    """Sessions with less than half of their bars; the first and the last may be cut by the period."""
    thin = (counts > 0) & (2 * counts < expected[:, None])
    thin[[0, -1]] = False
    for n in np.flatnonzero(thin.any(axis=0)).tolist():
        k = np.flatnonzero(thin[:, n])
        time = first_bars[k[0]]
        found.add("warning", "thin-sessions",
                  f"{symbols[n]} {time:%Y-%m-%d} has {counts[k[0], n]} of {expected[k[0]]} bars ({len(k)} such "
                  "sessions). A thinly traded symbol, or a gap in the source.", symbols[n], time)
