"""From signals to targets, and the check of what a strategy returned."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from botlib._jit import compiled
from botlib.bars import Bars
from botlib.errors import InputError, StrategyError, nearest
from botlib.sharing import Shared, Signals


def targets_from_signals(entries: ArrayLike, exits: ArrayLike, weight: float = 0.10, *,
                         short_entries: ArrayLike | None = None,
                         short_exits: ArrayLike | None = None) -> np.ndarray:
    """Targets from bool signals: ``weight`` on an entry, 0 on an exit, NaN (keep) on every other bar.

    An exit wins over an entry of the same side on the same bar: when in doubt, out.

    With short signals, -``weight`` on a short entry, and exits speak only for their own side: a long exit never closes
    what a short entry opened. A long and a short entry on one bar contradict each other: 0.

    Parameters
    ----------
    entries, exits, short_entries, short_exits : (T, N) or (T,) bool
        Signals known at each bar's close; the short ones come together or not at all.
    weight : float
        Size of an entry in the strategy's unit, above 0 (0.10 = 10 % of equity).

    Returns
    -------
    numpy.ndarray
        float64 targets of the same shape.

    Raises
    ------
    InputError
        Signals that are not bool or differ in shape; a weight that is not a number above 0.
    """
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not 0.0 < weight < np.inf:
        raise InputError(f"targets_from_signals: weight = {weight!r}: it must be a number above 0 (0.10 = 10 %).")
    if (short_entries is None) != (short_exits is None):
        raise InputError("targets_from_signals: give short_entries and short_exits together.")
    if isinstance(entries, Shared) and isinstance(exits, Shared) and short_entries is None:
        return Signals(entries, exits, float(weight))  # type: ignore[return-value]  # of a sweep, which takes it as it is
    shape = np.shape(entries)
    buy, sell = _signals("entries", entries, shape), _signals("exits", exits, shape)
    out = np.empty(shape)
    panel = out.reshape(buy.shape)
    if short_entries is None or short_exits is None:
        _long_only(panel, buy, sell, float(weight))
    else:
        short, cover = _signals("short_entries", short_entries, shape), _signals("short_exits", short_exits, shape)
        _long_and_short(panel, buy, sell, short, cover, float(weight))
    return out


def check_targets(targets: Any, bars: Bars, strategy: Any) -> np.ndarray:
    """What ``strategy.targets(bars)`` returned as a (T, N) float64 C-contiguous, read-only panel.

    Takes an array of the bars' shape, (T,) for one symbol, or a frame labelled with ``bars.index`` and ``bars.symbols``
    in any order (a Series for one symbol). Raises `StrategyError` for any other shape or label, for infinite values and
    for values that are not numbers. NaN is "keep" and welcome.
    """
    name = type(strategy).__name__
    if type(targets) is not np.ndarray or targets.dtype != np.float64 or targets.shape != bars.shape:
        targets = _as_array(targets, bars, name)
    panel = np.ascontiguousarray(targets).view()
    panel.flags.writeable = False
    if _has_infinite(panel):
        t, j = np.argwhere(np.isinf(panel))[0]
        raise StrategyError(f"{name}.targets returned {panel[t, j]} for {bars.symbols[j]} at {bars.index[t]}; targets "
                            "are finite numbers, or NaN to keep.")
    return panel


def _signals(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """``values`` as a read-only (T, N) bool panel."""
    panel = np.asarray(values, order="C")
    if panel.dtype != np.bool_:
        raise InputError(f"targets_from_signals: {name} is {panel.dtype}; it must be bool, e.g. bars.close > average.")
    if panel.shape != shape or len(shape) not in (1, 2):
        raise InputError(f"targets_from_signals: {name} has shape {panel.shape}, but entries {shape}; all signals "
                         "must have one shape, (bars,) or (bars, symbols).")
    panel = panel.reshape(-1, 1) if len(shape) == 1 else panel.view()
    panel.flags.writeable = False
    return panel


def _as_array(targets: Any, bars: Bars, name: str) -> np.ndarray:
    expected = f"expected {bars.shape} (bars, symbols)"
    if isinstance(targets, pd.Series) and len(bars.symbols) == 1:
        targets = targets.to_frame(bars.symbols[0])
    if isinstance(targets, pd.DataFrame):
        targets = _aligned(targets, bars, name)
    elif isinstance(targets, pd.Series):
        raise StrategyError(f"{name}.targets returned a Series for {len(bars.symbols)} symbols; {expected}: return an "
                            "array or a DataFrame with a column for each symbol.")
    if targets is None:
        raise StrategyError(f"{name}.targets returned None; {expected}: is a 'return' missing?")
    values = np.asarray(targets)
    described = f"{type(targets).__name__} of {values.dtype}"
    if values.dtype == np.bool_:
        raise StrategyError(f"{name}.targets returned true and false; it must return numbers: use targets_from_signals("
                            "entries, exits, weight).")
    try:
        if values.dtype.kind not in "fiuO":
            raise TypeError
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise StrategyError(f"{name}.targets returned {described}; it must return numbers.") from None
    if values.ndim == 1 and len(bars.symbols) == 1:
        values = values.reshape(-1, 1)
    if values.shape != bars.shape:
        hint = " (transposed?)" if values.shape == bars.shape[::-1] else ""
        raise StrategyError(f"{name}.targets returned shape {values.shape}{hint}; {expected}.")
    return values


def _aligned(frame: pd.DataFrame, bars: Bars, name: str) -> pd.DataFrame:
    """``frame`` in the bars' order of rows and columns."""
    for what, got, expected in (("column", frame.columns, pd.Index(bars.symbols)), ("row", frame.index, bars.index)):
        if not got.is_unique:
            raise StrategyError(f"{name}.targets returned a frame with the {what} {got[got.duplicated()][0]} twice.")
        unknown, missing = got.difference(expected), expected.difference(got)
        if len(unknown):
            near = nearest(unknown[0], expected) if what == "column" else ""
            raise StrategyError(f"{name}.targets returned a frame with the {what} {unknown[0]!r}, which the bars do "
                                f"not have{near or '.'} Label it with bars.index and bars.symbols, or return an array.")
        if len(missing):
            raise StrategyError(f"{name}.targets returned a frame without {len(missing)} of {len(expected)} {what}s, "
                                f"e.g. {missing[0]}; NaN keeps, 0 closes: say which.")
    return frame.reindex(index=bars.index, columns=list(bars.symbols))


@compiled()
def _long_only(out: np.ndarray, entries: np.ndarray, exits: np.ndarray, weight: float) -> None:
    flat, buy, sell = out.reshape(out.size), entries.reshape(out.size), exits.reshape(out.size)
    for i in range(flat.size):
        flat[i] = 0.0 if sell[i] else (weight if buy[i] else np.nan)


@compiled()
def _long_and_short(out: np.ndarray, entries: np.ndarray, exits: np.ndarray, short_entries: np.ndarray,
                    short_exits: np.ndarray, weight: float) -> None:
    for j in range(out.shape[1]):
        side = 0  # that the signals hold
        for t in range(out.shape[0]):
            buy = entries[t, j] and not exits[t, j]
            sell = short_entries[t, j] and not short_exits[t, j]
            if buy != sell:
                side = 1 if buy else -1
                out[t, j] = side * weight
            elif (exits[t, j] and side >= 0) or (short_exits[t, j] and side <= 0) or (buy and sell):
                side = 0
                out[t, j] = 0.0
            else:
                out[t, j] = np.nan


@compiled()
def _has_infinite(x: np.ndarray) -> bool:
    flat = x.reshape(x.size)
    found = False
    for i in range(flat.size):
        found |= abs(flat[i]) == np.inf
    return found
