"""Jumps between sessions that look like a split nobody recorded, and recorded splits that the prices do not show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import adjust, resample
from botlib.bar_checks import Findings
from botlib.calendars import session_starts

if TYPE_CHECKING:
    from botlib.bars import Bars

UNADJUSTED = "unadjusted-split"
# Ratios that companies split by; the reverse splits are their inverses.
_SPLITS = np.array([5 / 4, 4 / 3, 3 / 2, 2, 5 / 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100])
_SPLIT_RATIOS = np.concatenate([_SPLITS, 1 / _SPLITS[3:]])
_USUAL_SESSIONS = 20  # by which a day's traded value is judged


def check_splits(found: Findings, symbols: Sequence[str], times: pd.DatetimeIndex, panels: Mapping[str, np.ndarray],
                 sessions: np.ndarray, actions: pd.DataFrame | None) -> None:
    """Add the findings unadjusted-split and split-already-applied.

    A jump counts when the last close over the next session's open is within 6 % of a usual ratio (3 % below 2:1), and
    the value traded that day is at most 3 times its median of the 20 sessions before: a real fall brings a rush, a
    split does not (AAPL 2000-09-29, -51.9 % on bad news: 10 times).

    times : (T,) the bars' labels; panels : (T, N) by name, NaN where a symbol has no bar; sessions : (T,) days since
    1970-01-01; actions : splits among them are explanations, None: none is known.
    """
    close = panels["close"]
    valid = ~np.isnan(close)
    starts = session_starts(sessions)
    some = None if valid.all() else valid
    daily = len(starts) == len(sessions)
    first = panels["open"] if daily else resample.first_of(panels["open"], some, starts)
    last = close if daily else resample.last_of(close, some, starts)

    def traded(n: int) -> np.ndarray:
        value = close[:, n] * panels["volume"][:, n]
        return value if daily else np.add.reduceat(np.nan_to_num(value), starts)

    _check(found, symbols, times[starts], first, last, traded, _recorded(actions, symbols, sessions[starts]))


def unexplained(bars: Bars, count: int) -> frozenset[str]:
    """Symbols of which one of the last ``count`` sessions opened with a jump like a split that ``bars.actions`` does
    not have; the sessions before them only tell what is usual."""
    days = bars.sessions
    starts = session_starts(days)
    new = starts[max(1, len(starts) - count):]
    if len(new) == 0:
        return frozenset()
    begin = int(starts[max(0, len(starts) - count - _USUAL_SESSIONS)])
    found = Findings()
    panels = {name: getattr(bars, name)[begin:] for name in ("open", "close", "volume")}
    check_splits(found, bars.symbols, bars.index[begin:], panels, days[begin:], bars.actions)
    return frozenset(one.symbol for one in found.rows if one.check == UNADJUSTED and one.time >= bars.index[new[0]])


def _check(found: Findings, symbols: Sequence[str], index: pd.DatetimeIndex, first_open: np.ndarray,
           last_close: np.ndarray, traded: Callable[[int], np.ndarray],
           recorded: dict[tuple[int, int], float]) -> None:
    """index : (S,) the time of each session's first bar; first_open, last_close : (S, N), NaN where a symbol has no
    bar; traded(n) : (S,) close * volume of a symbol; recorded : ratio by (session number, symbol number)."""
    before = _forward_filled(last_close)
    with np.errstate(invalid="ignore"):
        ratio = before[:-1] / first_open[1:]
        large = (ratio > 1.17) | (ratio < 0.6)
    for k, n in np.argwhere(large):
        s, jump = int(k) + 1, float(ratio[k, n])
        split = float(_SPLIT_RATIOS[np.abs(np.log(jump / _SPLIT_RATIOS)).argmin()])
        near = abs(jump / split - 1.0) <= (0.03 if 0.5 < split < 2 else 0.06)
        if near and (s, int(n)) not in recorded and _ordinary(traded(int(n)), s):
            text = f"{split:g}:1" if split > 1 else f"1:{1 / split:g}"
            found.add("warning", UNADJUSTED,
                      f"{symbols[n]} {found.stamp(index[s])}: opens at {first_open[s, n]:g} after a close of "
                      f"{before[k, n]:g}, like a {text} split, and no split is recorded there. Pass actions=, or "
                      "adjusted bars; otherwise this is a loss or a gain that nobody had.", symbols[n], index[s])
    for (s, n), split in recorded.items():
        if 0 < s < len(index) and abs(np.log(ratio[s - 1, n])) < 0.4 * abs(np.log(split)):
            found.add("warning", "split-already-applied",
                      f"{symbols[n]} {found.stamp(index[s])}: a {split:g}:1 split is recorded, and prices do not jump "
                      f"there (close {before[s - 1, n]:g}, next open {first_open[s, n]:g}). If they are adjusted "
                      'already, say adjustment="split" and pass no actions.', symbols[n], index[s])


def _ordinary(traded: np.ndarray, s: int) -> bool:
    """Whether session ``s`` traded about as much value as those before; True where too little is known."""
    earlier = traded[max(0, s - _USUAL_SESSIONS):s]
    known = earlier[~np.isnan(earlier)]
    return len(known) < 5 or not np.median(known) > 0 or bool(traded[s] <= 3.0 * np.median(known))


def _forward_filled(values: np.ndarray) -> np.ndarray:
    """NaN replaced by the last number above it in its column."""
    gaps = np.flatnonzero(np.isnan(values).any(axis=0))
    if len(gaps) == 0:
        return values
    filled = values.copy()
    some = values[:, gaps]
    row = np.where(np.isnan(some), 0, np.arange(len(some))[:, None])
    filled[:, gaps] = np.take_along_axis(some, np.maximum.accumulate(row, axis=0), axis=0)
    return filled


def _recorded(actions: pd.DataFrame | None, symbols: Sequence[str], days: np.ndarray) -> dict[tuple[int, int], float]:
    if actions is None or actions.empty:
        return {}
    splits = actions[(actions["type"] == "split").to_numpy() & actions["symbol"].isin(symbols).to_numpy()]
    place: dict[Any, int] = {s: n for n, s in enumerate(symbols)}
    at = np.searchsorted(days, adjust.ex_days(splits))
    recorded: dict[tuple[int, int], float] = {}
    for s, symbol, ratio in zip(at, splits["symbol"], splits["value"], strict=True):
        key = (int(s), place[symbol])
        recorded[key] = recorded.get(key, 1.0) * float(ratio)
    return recorded
