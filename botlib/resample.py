"""Bars of a longer interval, inside each session and anchored at its open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from botlib.bar_checks import FIELDS, Findings
from botlib.calendars import INTERVAL_MINUTES, NS_A_MINUTE, Schedule, check_interval, schedule, session_starts
from botlib.errors import DataError, InputError

if TYPE_CHECKING:
    from botlib.bars import Bars


def first_of(values: np.ndarray, valid: np.ndarray | None, starts: np.ndarray) -> np.ndarray:
    """(G, N) first valid value of each group of rows; NaN where a group has none. ``valid`` None: all are.

    values, valid : (T, N); starts : (G,) first row of each group, rising from 0.
    """
    if valid is None:
        return values[starts]
    rows = np.where(valid, np.arange(len(values), dtype=np.int32)[:, None], len(values))
    picked = np.minimum.reduceat(rows, starts, axis=0)
    return _pick(values, picked, picked < len(values))


def last_of(values: np.ndarray, valid: np.ndarray | None, starts: np.ndarray) -> np.ndarray:
    """(G, N) last valid value of each group of rows, as `first_of`."""
    if valid is None:
        return values[np.append(starts[1:], len(values)) - 1]
    rows = np.where(valid, np.arange(len(values), dtype=np.int32)[:, None], -1)
    picked = np.maximum.reduceat(rows, starts, axis=0)
    return _pick(values, picked, picked >= 0)


def _pick(values: np.ndarray, rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    picked = np.take_along_axis(values, np.where(known, rows, 0), axis=0)
    picked[~known] = np.nan
    return picked


class Bins(NamedTuple):
    """Which source rows make which longer bar.

    rows : (K,) source rows used; starts : (G,) first of them in each bin; labels, ends : (G,) UTC ns.
    """

    rows: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    ends: np.ndarray


def bins(start: np.ndarray, sessions: np.ndarray, midnight: np.ndarray, source: int, target: int | None,
         schedule: Schedule | None) -> Bins:
    """Group bars into longer ones that never cross a session.

    Parameters
    ----------
    start, midnight : (T,) int64, start of each bar and of its day in exchange time, UTC ns
    sessions : (T,) int32
    source, target : minutes of a bar; target None: one bar a session
    schedule : with it, bins start at the session's open and end at its close, and bars outside are left out; without,
        they start at midnight, and a day ends at the latest time of day that any bar reaches
    """
    reach = start + source * NS_A_MINUTE
    if schedule is None:
        rows = np.arange(len(start))
        opens = midnight
        closes = midnight + int((reach - midnight).max())
    else:
        position, is_session = schedule.locate(sessions)
        opens, closes = schedule.opens[position], schedule.closes[position]
        rows = np.flatnonzero(is_session & (start >= opens) & (start < closes))
    start, opens, closes, sessions = start[rows], opens[rows], closes[rows], sessions[rows]
    if target is None:
        number, labels, ends = np.zeros(len(rows), np.int64), midnight[rows], closes
    else:
        step = target * NS_A_MINUTE
        number = (start - opens) // step
        labels = opens + number * step
        ends = np.minimum(labels + step, closes)
    new = np.diff(number, prepend=-1) != 0
    new[session_starts(sessions)] = True
    starts = np.flatnonzero(new)
    return Bins(rows, starts, labels[starts], ends[starts])


def combine(panels: dict[str, np.ndarray], made: Bins) -> dict[str, np.ndarray]:
    """OHLCV (and any other panel: its last value) of the longer bars, each (G, N); NaN where a bin has no bar."""
    everything = len(made.rows) == len(panels["close"])
    used = panels if everything else {name: panel[made.rows] for name, panel in panels.items()}
    has_bar = ~np.isnan(used["close"])
    valid = None if has_bar.all() else has_bar
    volume = used["volume"] if valid is None else np.where(valid, used["volume"], 0.0)
    out = {
        "open": first_of(used["open"], valid, made.starts),
        "high": np.fmax.reduceat(used["high"], made.starts, axis=0),
        "low": np.fmin.reduceat(used["low"], made.starts, axis=0),
        "close": last_of(used["close"], valid, made.starts),
        "volume": np.add.reduceat(volume, made.starts, axis=0),
    }
    out["volume"][np.isnan(out["close"])] = np.nan
    for name in [n for n in panels if n not in out]:
        known = ~np.isnan(used[name])
        out[name] = last_of(used[name], None if known.all() else known, made.starts)
    return out


def drop_incomplete(found: Findings, made: Bins, last_end: int, timezone: object, interval: str) -> Bins:
    """Without the last bin when the source's last bar does not reach its end: later bars may still change it."""
    if len(made.starts) == 0 or last_end >= made.ends[-1]:
        return made
    label = pd.Timestamp(made.labels[-1], unit="ns", tz="UTC").tz_convert(timezone)
    found.add("warning", "incomplete-bar", f"the last {interval} bar, {found.stamp(label)}, is left out: the bars "
              "it is made of do not reach its end.", time=label)
    return Bins(made.rows[:made.starts[-1]], made.starts[:-1], made.labels[:-1], made.ends[:-1])


def longer(bars: Bars, interval: str) -> Bars:
    """What `Bars.resample` does."""
    check_interval(interval)
    if interval == bars.interval:
        return bars
    source, target = INTERVAL_MINUTES[bars.interval], INTERVAL_MINUTES[interval]
    if source is None or (target is not None and target < source):
        raise InputError(f"interval = {interval!r} is shorter than that of the bars ({bars.interval!r}).")
    found = Findings(daily=target is None)
    start, zone = bars.index.as_unit("ns").asi8, bars.index.tz
    midnight = bars.index.normalize().as_unit("ns").asi8
    timetable = None if bars.calendar is None else schedule(bars.calendar)
    made = bins(start, bars.sessions, midnight, source, target, timetable)
    if len(made.rows) < len(bars):
        found.add("warning", "outside-session", f"{len(bars) - len(made.rows)} of {len(bars)} bars are outside regular "
                  "hours and left out.")
    if len(made.rows):
        made = drop_incomplete(found, made, int(start[made.rows[-1]]) + source * NS_A_MINUTE, zone, interval)
    if len(made.starts) == 0:
        raise DataError(f"no complete bar of {interval} can be made of {len(bars)} bars of {bars.interval}.")
    found.settle(stacklevel=4)
    panels = combine({f: getattr(bars, f) for f in FIELDS} | bars.extra, made)
    result = type(bars)(pd.DatetimeIndex(made.labels, tz="UTC").tz_convert(zone), bars.symbols,
                        **{f: panels.pop(f) for f in FIELDS}, extra=panels, interval=interval, calendar=bars.calendar,
                        adjustment=bars.adjustment, actions=bars.actions)
    result._findings = (*bars._findings, *found.rows)
    return result
