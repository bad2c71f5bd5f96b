"""From a data frame to checked panels: what stands behind `Bars.from_frame`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from botlib import bar_checks, bar_jumps
from botlib.bar_checks import FIELDS, Findings, Located
from botlib.bar_times import daily_labels, interval_of, timestamps
from botlib.calendars import INTERVAL_MINUTES, NS_A_MINUTE, Schedule, days_of, final_times
from botlib.errors import DataError, InputError, nearest

# Adjusted closes contain splits and dividends of the future.
_LOOK_AHEAD = {"adj close", "adj_close", "adjclose", "adjusted close", "adjusted_close"}
_TWO_DAYS = 2 * 24 * 60 * NS_A_MINUTE


@dataclass
class Rows:
    """R rows of a frame.

    symbols : N names; times : (T,) labels, strictly rising; n, t : (R,) symbol and time number of each row, None when
    the rows are a full grid, symbol by symbol in time order; values : (R,) float64 of each numeric column.
    """

    symbols: list[str]
    times: pd.DatetimeIndex
    n: np.ndarray | None
    t: np.ndarray | None
    values: dict[str, np.ndarray]

    def locate(self, rows: np.ndarray) -> Located:
        """Symbol, time and OHLCV of some rows."""
        n, t = (rows // len(self.times), rows % len(self.times)) if self.n is None or self.t is None \
            else (self.n[rows], self.t[rows])
        return Located(n, t, {f: self.values[f][rows] for f in FIELDS})

    def keep(self, mask: np.ndarray) -> Rows:
        """Only the rows where ``mask`` (R,) is True, with the times and symbols that are left."""
        at = self.locate(np.flatnonzero(mask))
        n, symbols = _compact(at.symbol, len(self.symbols))
        t, times = _compact(at.time, len(self.times))
        return replace(self, symbols=[self.symbols[i] for i in symbols], times=self.times[times], n=n, t=t,
                       values={name: column[mask] for name, column in self.values.items()})

    def keep_times(self, mask: np.ndarray) -> Rows:
        """Only the rows at the times where ``mask`` (T,) is True."""
        return self.keep(np.tile(mask, len(self.symbols)) if self.t is None else mask[self.t])

    def panel(self, name: str) -> np.ndarray:
        """(T, N) C-contiguous float64, NaN where a symbol has no row; always a copy, never the caller's memory."""
        shape = (len(self.times), len(self.symbols))
        column = self.values[name]
        if self.n is None or self.t is None:
            return column.reshape(shape[1], shape[0]).T.copy(order="C")
        panel = np.full(shape, np.nan)
        panel[self.t, self.n] = column
        return panel


def _compact(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``codes`` renumbered without gaps, and the old number of each new one."""
    used = np.flatnonzero(np.bincount(codes, minlength=size))
    renumber = np.zeros(size, dtype=np.intp)
    renumber[used] = np.arange(len(used))
    return renumber[codes], used


# --- reading ----------------------------------------------------------------------------------------------------------


def columns(frame: pd.DataFrame, found: Findings) -> dict[str, np.ndarray]:
    """The numeric columns as float64: open, high, low, close, volume in any case, then others under their own names."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError("the frame has two rows of column names; Bars.from_frame needs columns open, high, low, close, "
                        "volume and an index (symbol, timestamp): move the symbols there with frame.stack(level=...).")
    values: dict[str, np.ndarray] = {}
    extra: dict[str, np.ndarray] = {}
    for place, label in enumerate(frame.columns):
        name, column = str(label), frame.iloc[:, place]
        field = name.strip().lower()
        if field in _LOOK_AHEAD:
            found.add("warning", "look-ahead-column", f"column {name!r} is left out: it contains later splits and "
                      "dividends. Use bars.adjusted() instead.")
        elif field in FIELDS:
            if field in values:
                raise DataError(f"the frame has two columns named {field!r} (column {name!r} is the second); keep one.")
            values[field] = _numbers(column, name)
        elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
            extra[name] = _numbers(column, name)
        else:
            found.add("warning", "ignored-column", f"column {name!r} is left out: it is not numeric ({column.dtype}).")
    for field in FIELDS:
        if field not in values:
            near = nearest(field, frame.columns)
            unknown = " Prices whose volume nobody knows: frame['volume'] = 0.0." * (field == "volume" and not near)
            raise DataError(f"the frame has no column {field!r}{near or '.'} It needs {', '.join(FIELDS)}; "
                            f"it has {', '.join(map(str, frame.columns))}.{unknown}")
    return {f: values[f] for f in FIELDS} | extra


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise DataError(f"column {name!r} is not numeric ({column.dtype}); convert it with pandas.to_numeric first.")
    if isinstance(column.dtype, np.dtype):
        return column.to_numpy(dtype=np.float64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


@dataclass
class Axes:
    """Symbol and time of each row: level values, and (R,) codes into them."""

    symbols: list[str]
    symbol_codes: np.ndarray
    times: pd.DatetimeIndex
    time_codes: np.ndarray


def axes(frame: pd.DataFrame, symbol: str | None) -> Axes:
    """The frame's index taken apart. Raises `DataError` when it is not (symbol, timestamp), or a timestamp is naive."""
    index = frame.index
    if frame.empty:
        raise DataError("the frame has no rows; check symbols, period and interval of the request.")
    if not isinstance(index, pd.MultiIndex):
        if symbol is None:
            raise DataError("the frame has no symbols in its index; pass symbol=, or index it by (symbol, timestamp).")
        made = Axes([str(symbol)], np.zeros(len(frame), np.int8), timestamps(index), np.arange(len(frame)))
        if made.times.hasnans:
            raise DataError(f"rows without a timestamp: {int(made.times.isna().sum())}; drop them.")
        return made
    if index.nlevels != 2:
        raise DataError(f"the frame's index has {index.nlevels} levels; it must have two, (symbol, timestamp).")
    if symbol is not None:
        raise InputError(f"symbol = {symbol!r}: only for a frame without symbols in its index.")
    swapped = isinstance(index.levels[0], pd.DatetimeIndex) and not isinstance(index.levels[1], pd.DatetimeIndex)
    first, second = (1, 0) if swapped else (0, 1)
    names, stamps = index.levels[first], timestamps(index.levels[second])
    symbol_codes, time_codes = np.asarray(index.codes[first]), np.asarray(index.codes[second])
    for codes, what in ((symbol_codes, "symbol"), (time_codes, "timestamp")):
        if codes.min() < 0:
            raise DataError(f"rows without a {what}: {int((codes < 0).sum())}; drop them.")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"symbol {name!r} is a {type(name).__name__}; symbols must be text (in YAML: quote it).")
    return Axes(list(names), symbol_codes, stamps, time_codes)


def rows_of(made: Axes, values: dict[str, np.ndarray], found: Findings, timezone: str | None,
            interval: str | None) -> tuple[Rows, str]:
    """Sorted axes; duplicates are errors, a wrong order is a warning."""
    t, used = _used(made.time_codes, len(made.times))
    n, known = _used(made.symbol_codes, len(made.symbols))
    times = made.times if used is None else made.times[used]
    symbols = made.symbols if known is None else [made.symbols[i] for i in known]
    interval = interval_of(times.sort_values(), interval, timezone, found)
    found.daily = interval == "1d"
    times = daily_labels(times, timezone, found) if found.daily else times.tz_convert(timezone or times.tz)
    rising = bool((np.diff(times.asi8) > 0).all())
    R, N, T = len(t), len(symbols), len(times)
    if rising and R == N * T and _is_grid(n, t, N, T):
        return Rows([symbols[i] for i in n[::T]], times, None, None, values), interval
    labels, position = np.unique(times.asi8, return_inverse=True)
    t = position[t]
    order = pd.unique(n)
    renumber = np.empty(N, dtype=np.intp)
    renumber[order] = np.arange(N)
    times = pd.DatetimeIndex(labels, tz="UTC").tz_convert(times.tz)
    rows = Rows([symbols[i] for i in order], times, renumber[n], t, values)
    _check_order(rows, found)
    return rows, interval


def _used(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes without the level values that no row uses (a slice of a frame keeps them)."""
    if np.bincount(codes, minlength=size).all():
        return codes, None
    return _compact(codes, size)


def _is_grid(n: np.ndarray, t: np.ndarray, N: int, T: int) -> bool:
    blocks = n.reshape(N, T)
    return len(np.unique(blocks[:, 0])) == N and bool((blocks == blocks[:, :1]).all()) \
        and bool((t.reshape(N, T) == np.arange(T, dtype=t.dtype)).all())


def _check_order(rows: Rows, found: Findings) -> None:
    assert rows.n is not None and rows.t is not None
    order = np.argsort(rows.n, kind="stable")
    step, same = np.diff(rows.t[order]), np.diff(rows.n[order]) == 0
    back = order[1:][same & (step < 0)]
    if len(back):
        _group(rows, back, found, "warning", "unsorted-bars", "comes after a later bar", "Sorted here.")
    flat = rows.t * len(rows.symbols) + rows.n
    seen = np.zeros(len(rows.times) * len(rows.symbols), dtype=bool)
    seen[flat] = True
    if np.count_nonzero(seen) < len(flat):
        again = np.flatnonzero(pd.Series(flat).duplicated().to_numpy())
        _group(rows, again, found, "error", "duplicate-bars", "there are two bars with this timestamp",
               "Keep one: frame[~frame.index.duplicated()].")


def _group(rows: Rows, bad: np.ndarray, found: Findings, severity: str, check: str, what: str, remedy: str) -> None:
    bar_checks.group(found, np.arange(len(bad)), rows.locate(bad), rows.symbols, rows.times, severity, check,
                     lambda i: what, remedy)


# --- checking ---------------------------------------------------------------------------------------------------------


def clean(rows: Rows, found: Findings, schedule: Schedule | None, interval: str, now: pd.Timestamp,
          regular_hours: bool) -> Rows:
    """Row checks; without the rows that are no bars, not finished, or (when asked) outside regular hours."""
    suspects = bar_checks.suspects(rows.values)
    if len(suspects):
        empty = bar_checks.check_rows(found, rows.locate(suspects), rows.symbols, rows.times)
        if empty.any():
            mask = np.ones(len(rows.values["close"]), dtype=bool)
            mask[suspects[empty]] = False
            rows = rows.keep(mask)
    if len(rows.times):
        rows = _only_final(rows, found, schedule, interval, now)
    if regular_hours and schedule is not None and interval != "1d" and len(rows.times):
        position, is_session = schedule.locate(days_of(rows.times))
        start = rows.times.asi8
        inside = is_session & (start >= schedule.opens[position]) & (start < schedule.closes[position])
        rows = rows if inside.all() else rows.keep_times(inside)
    if len(rows.times) == 0:
        found.raise_errors()
        raise DataError("no bars are left: all rows are empty, unfinished or outside regular hours.")
    return rows


def _only_final(rows: Rows, found: Findings, schedule: Schedule | None, interval: str, now: pd.Timestamp) -> Rows:
    start, limit = rows.times.asi8, now.as_unit("ns").value
    mask = np.ones(len(start), dtype=bool)
    recent = np.searchsorted(start, limit - _TWO_DAYS)
    if recent == len(start):
        return rows
    final = final_times(start[recent:], days_of(rows.times[recent:]), INTERVAL_MINUTES[interval], schedule)
    mask[recent:] = final <= limit
    if mask.all():
        return rows
    t = np.tile(np.arange(len(start)), len(rows.symbols)) if rows.t is None else rows.t
    future = np.flatnonzero(start[t] > limit)
    _group(rows, future, found, "error", "future-bars", f"later than now ({now:%Y-%m-%d %H:%M %Z})",
           "A wrong time zone, or a wrong clock?")
    if len(future) == 0:
        _group(rows, np.flatnonzero(~mask[t]), found, "warning", "unfinished-bars",
               f"not final yet at {now:%Y-%m-%d %H:%M %Z}", "Left out.")
    return rows.keep_times(mask)


def check_panels(found: Findings, rows: Rows, panels: dict[str, np.ndarray], sessions: np.ndarray,
                 schedule: Schedule | None, interval: str, actions: pd.DataFrame | None) -> None:
    """Sessions against the calendar, and jumps against the recorded splits."""
    close = panels["close"]
    valid = ~np.isnan(close)
    minutes = INTERVAL_MINUTES[interval]
    if schedule is not None:
        bar_checks.check_sessions(found, rows.symbols, rows.times, sessions, valid, minutes, schedule)
    bar_jumps.check_splits(found, rows.symbols, rows.times, panels, sessions, actions)
