"""Intraday bars made up within daily bars: for trying an intraday bot, never for judging one.

Each session is a random path from the daily open by way of its low and its high to the close, on ticks, so that the
session's bars put together again are the daily bar: open, high, low, close and volume. The order of low and high is
drawn; on a day that closed up the low comes first three times of four. The bars carry the column ``synthetic`` in
``extra``, which stays with them wherever they are cut, resampled or shown.
"""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.calendars import INTERVAL_MINUTES, NS_A_MINUTE, check_interval, schedule
from botlib.errors import InputError

LABEL = "synthetic"
_POINTS = 4  # of the path in a bar
_LOW_FIRST_ON_UP_DAYS = 0.75
_ROUGHNESS = 0.6  # of the day's range: standard deviation of the free path at its end


def intraday(bars: Bars, interval: str, *, seed: int = 0) -> Bars:
    """Bars of ``interval`` within daily ``bars``; the same seed makes the same bars, a session's whatever the others.

    Parameters
    ----------
    bars : Bars, (T, N)
        Daily, with a calendar; actions and adjustment stay as they are.
    interval : str
        "1m", "5m", "15m", "30m" or "1h".
    seed : int
        0 or more.

    Returns
    -------
    Bars
        One for each interval of each session, NaN where a symbol has no daily bar; ``extra["synthetic"]`` is 1.

    Raises
    ------
    InputError
        Bars that are not daily or have no calendar, an interval that is not intraday, a negative seed.
    """
    check_interval(interval)
    minutes = INTERVAL_MINUTES[interval]
    if minutes is None:
        raise InputError("interval = '1d': synthetic bars are made within daily bars. Valid: 1m, 5m, 15m, 30m, 1h.")
    if bars.interval != "1d" or bars.calendar is None:
        raise InputError("synthetic bars are made within daily bars with a calendar; these have the interval "
                         f"{bars.interval!r} and the calendar {bars.calendar!r}.")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed = {seed!r}: it must be a whole number, 0 or more.")
    labels, first = _labels(bars, minutes)
    panels = {name: np.full((len(labels), len(bars.symbols)), np.nan)
              for name in ("open", "high", "low", "close", "volume")}
    for column, symbol in enumerate(bars.symbols):
        name = zlib.crc32(symbol.encode())
        for t, day in enumerate(bars.sessions):
            if not bars.close[t, column] > 0.0:
                continue
            rng = np.random.default_rng([seed, name, int(day)])
            count = first[t + 1] - first[t]
            open_, high, low, close = (float(p[t, column]) for p in (bars.open, bars.high, bars.low, bars.close))
            path = _path(open_, high, low, close, count * _POINTS, rng)
            inside = path[:-1].reshape(count, _POINTS)
            ends = path[_POINTS::_POINTS]
            rows = slice(first[t], first[t + 1])
            panels["open"][rows, column] = inside[:, 0]
            panels["high"][rows, column] = np.maximum(inside.max(axis=1), ends)
            panels["low"][rows, column] = np.minimum(inside.min(axis=1), ends)
            panels["close"][rows, column] = ends
            panels["volume"][rows, column] = _volumes(float(bars.volume[t, column]), count, rng)
    label = np.where(np.isnan(panels["close"]), np.nan, 1.0)
    return Bars(labels, bars.symbols, **panels, interval=interval, calendar=bars.calendar, adjustment=bars.adjustment,
                actions=bars.actions, extra={LABEL: label})


def is_synthetic(bars: Bars) -> bool:
    """Whether any of these bars was made up by `intraday`."""
    return LABEL in bars.extra


def _labels(bars: Bars, minutes: int) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Starts of all bars, and the row of each session's first (T + 1)."""
    assert bars.calendar is not None
    timetable = schedule(bars.calendar)
    position, known = timetable.locate(bars.sessions)
    if not known.all():
        raise InputError(f"{bars.index[int(np.argmin(known))]:%Y-%m-%d} is no session of {bars.calendar}.")
    opens, closes = timetable.opens[position], timetable.closes[position]
    step = minutes * NS_A_MINUTE
    counts = -(-(closes - opens) // step)
    first = np.concatenate([[0], np.cumsum(counts)])
    number = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    times = np.repeat(opens, counts) + number * step
    return pd.DatetimeIndex(times, tz="UTC").as_unit("ns").tz_convert(timetable.timezone), first


def _path(open_: float, high: float, low: float, close: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n + 1,) prices from open to close that reach high and low and never leave them."""
    one, two = sorted(rng.integers(1, n, size=2).tolist())
    if one == two:
        one, two = (one, two + 1) if two < n - 1 else (one - 1, two)
    up = close >= open_
    low_first = rng.random() < (_LOW_FIRST_ON_UP_DAYS if up else 1.0 - _LOW_FIRST_ON_UP_DAYS)
    noise = np.concatenate([[0.0], np.cumsum(rng.standard_normal(n))]) * _ROUGHNESS * (high - low) / np.sqrt(n)
    anchors = np.array([0, one, two, n])
    prices = np.array([open_, low if low_first else high, high if low_first else low, close])
    x = np.arange(n + 1)
    path = np.interp(x, anchors, prices) + noise - np.interp(x, anchors, noise[anchors])
    path = _on_ticks(_folded(path, low, high), low, high)
    path[anchors] = prices
    return path


def _folded(path: np.ndarray, low: float, high: float) -> np.ndarray:
    """A path that turns back at low and high instead of staying there."""
    span = high - low
    if not span > 0.0:
        return np.full(len(path), low)
    return low + span - np.abs((path - low) % (2.0 * span) - span)


def _on_ticks(path: np.ndarray, low: float, high: float) -> np.ndarray:
    """Whole cents at or above $1, hundredths of a cent below, within the day's range."""
    per_dollar = np.where(path >= 1.0, 100.0, 10_000.0)
    rounded = np.round(path * per_dollar) / per_dollar
    return np.where((rounded >= low) & (rounded <= high), rounded, path if high > low else low)


def _volumes(volume: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Whole shares, more at the open and the close; they sum to the day's volume."""
    if not volume > 0.0:
        return np.zeros(count)
    x = (np.arange(count) + 0.5) / count
    weights = (1.0 + 3.0 * (2.0 * x - 1.0) ** 2) * np.exp(0.3 * rng.standard_normal(count))
    reached = np.floor(np.cumsum(weights) / weights.sum() * volume)
    reached[-1] = volume
    return np.diff(reached, prepend=0.0)
