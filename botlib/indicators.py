"""Technical indicators: causal, compiled, on (T,) series or (T, N) panels (bars, symbols).

Every function takes numbers (anything `numpy.asarray` makes float64; read-only arrays too) and returns a new float64
array of the same shape. Row t depends on rows up to t only, and each column on itself only (`rank` alone compares
columns). `InputError` is raised for a shape that does not fit or a period that is not a whole number of at least 1.

NaN policy, one for all: the result is NaN during the warm-up; bars on which an input is NaN are left out, as if the
symbol had not had them. So a symbol that is listed later starts its warm-up then, and a hole is NaN on its own bars
while the state goes on behind it.

Seeding of recursive averages, the ``seed`` argument:

- "sma": the first value is the mean of the first ``period`` inputs (TA-Lib, Wilder 1978);
- "first": the first input itself (pandas ``ewm(adjust=False)``): a number from the first input on, long before the
  start is forgotten. Leave a warm-up: of Wilder's average 1/e of the seed is left after ``period`` bars, nothing
  that matters after 20 times that.

Sources: J. W. Wilder, New Concepts in Technical Trading Systems (1978) for RSI, ATR and ADX; TA-Lib for the rest.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from botlib import _indicators as loops
from botlib.errors import InputError, nearest
from botlib.sharing import key_of

__all__ = ["Bollinger", "Macd", "adx", "atr", "bollinger", "crossed_above", "crossed_below", "ema", "highest", "lowest",
           "macd", "momentum", "rank", "risen", "roc", "rsi", "sma", "stddev", "true_range", "zscore"]

SEEDS = ("sma", "first")


class Bollinger(NamedTuple):
    """Bands of `bollinger`, each of the input's shape."""

    upper: np.ndarray
    middle: np.ndarray
    lower: np.ndarray


class Macd(NamedTuple):
    """Lines of `macd`, each of the input's shape."""

    macd: np.ndarray
    signal: np.ndarray
    histogram: np.ndarray


# --- averages ------------------------------------------------------------------------------------------------------


def sma(values: ArrayLike, period: int) -> np.ndarray:
    """Simple moving average of the last ``period`` bars; NaN before ``period`` of them.

    It depends on its window only (no running sum that drifts): the average of equal values is exactly that value.
    """
    return _by_bar("sma", loops.sma, {"values": values}, _whole("sma", "period", period))


def ema(values: ArrayLike, period: int, *, seed: str = "sma") -> np.ndarray:
    """Exponential moving average, ``alpha = 2 / (period + 1)``.

    ``seed`` "sma": NaN before ``period`` bars, equals TA-Lib's EMA; "first": pandas ``ewm(span=period, adjust=False)``.
    """
    n = _whole("ema", "period", period)
    return _by_bar("ema", loops.smooth, {"values": values}, n, 2.0 / (n + 1), _sma_seed("ema", seed))


def macd(close: ArrayLike, fast: int = 12, slow: int = 26, signal: int = 9, *, seed: str = "sma") -> Macd:
    """MACD: ``ema(fast) - ema(slow)``, its ``signal``-period EMA and their difference (G. Appel).

    Both averages are seeded on their own first bars. TA-Lib seeds the fast one later, on the slow one's bars: the two
    agree once the seeds are forgotten.
    """
    f, s = _whole("macd", "fast", fast), _whole("macd", "slow", slow)
    if f >= s:
        raise InputError(f"macd: fast = {f} must be below slow = {s}.")
    line = ema(close, f, seed=seed) - ema(close, s, seed=seed)
    average = ema(line, _whole("macd", "signal", signal), seed=seed)
    return Macd(line, average, line - average)


# --- momentum and oscillators --------------------------------------------------------------------------------------


def rsi(close: ArrayLike, period: int = 14, *, seed: str = "sma") -> np.ndarray:
    """Relative strength index, 0 to 100 (Wilder 1978): ``100 * up / (up + down)``.

    ``up`` and ``down`` are Wilder averages (alpha = 1 / period) of the rises and falls of close from bar to bar. NaN
    where the price has not moved at all (TA-Lib says 0 there, which would read as oversold).

    ``seed`` "sma": NaN for the first ``period`` bars, equals TA-Lib's RSI; "first": NaN for one bar, equals pandas
    ``ewm(alpha=1/period, adjust=False)`` of the rises and falls.
    """
    return _by_bar("rsi", loops.rsi, {"close": close}, _whole("rsi", "period", period), _sma_seed("rsi", seed))


def momentum(values: ArrayLike, period: int, *, lag: int = 0) -> np.ndarray:
    """Change over ``period`` bars, ``values[t - lag] - values[t - lag - period]``; above 0 means risen."""
    n, skip = _whole("momentum", "period", period), _whole("momentum", "lag", lag, least=0)
    return _by_bar("momentum", loops.change, {"values": values}, n, skip, False)


def roc(values: ArrayLike, period: int, *, lag: int = 0) -> np.ndarray:
    """Rate of change over ``period`` bars in percent; ``lag`` leaves out the latest bars.

    ``roc(close, 252 - 21, lag=21)`` is the 12-1 momentum of the literature (Jegadeesh and Titman 1993).
    """
    n, skip = _whole("roc", "period", period), _whole("roc", "lag", lag, least=0)
    return _by_bar("roc", loops.change, {"values": values}, n, skip, True)


def zscore(values: ArrayLike, period: int) -> np.ndarray:
    """Distance from the ``period``-bar mean in population standard deviations; NaN where the deviation is 0."""
    n = _whole("zscore", "period", period)
    deviation = stddev(values, n)
    return (np.asarray(values, dtype=np.float64) - sma(values, n)) / np.where(deviation == 0.0, np.nan, deviation)


def risen(values: ArrayLike, period: int) -> np.ndarray:
    """bool: `momentum` above 0, i.e. higher than ``period`` bars ago; False in the warm-up and in holes."""
    return _by_bar("risen", loops.risen, {"values": values}, _whole("risen", "period", period), dtype=np.bool_)


def crossed_above(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """bool: ``a > b`` on this bar and ``a <= b`` on the symbol's bar before; False in the warm-up and in holes."""
    return _by_bar("crossed_above", loops.crossed, {"a": a, "b": b}, dtype=np.bool_)


def crossed_below(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """bool: ``a < b`` on this bar and ``a >= b`` on the symbol's bar before; False in the warm-up and in holes."""
    return _by_bar("crossed_below", loops.crossed, {"b": b, "a": a}, dtype=np.bool_)


# --- range and volatility ------------------------------------------------------------------------------------------


def true_range(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> np.ndarray:
    """``max(high - low, |high - close before|, |low - close before|)`` (Wilder); NaN on the first bar, as TA-Lib."""
    return _by_bar("true_range", loops.atr, {"high": high, "low": low, "close": close}, 1, True)


def atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, period: int = 14, *, seed: str = "sma") -> np.ndarray:
    """Average true range: Wilder's average (alpha = 1 / period) of `true_range`, in price units.

    ``seed`` "sma": NaN for the first ``period`` bars, equals TA-Lib's ATR; "first": NaN for one bar.
    """
    n = _whole("atr", "period", period)
    return _by_bar("atr", loops.atr, {"high": high, "low": low, "close": close}, n, _sma_seed("atr", seed))


def adx(high: ArrayLike, low: ArrayLike, close: ArrayLike, period: int = 14) -> np.ndarray:
    """Average directional index, 0 to 100 (Wilder 1978); NaN for the first ``2 * period - 1`` bars.

    Seeded as TA-Lib: sums of the first ``period - 1`` moves, then the mean of the first ``period`` DX.
    """
    return _by_bar("adx", loops.adx, {"high": high, "low": low, "close": close}, _whole("adx", "period", period))


def stddev(values: ArrayLike, period: int, *, ddof: int = 0) -> np.ndarray:
    """Standard deviation of the last ``period`` bars; ``ddof`` 0: population (as TA-Lib), 1: sample (as pandas)."""
    n, lost = _whole("stddev", "period", period), _whole("stddev", "ddof", ddof, least=0)
    if lost >= n:
        raise InputError(f"stddev: ddof = {lost} must be below period = {n}.")
    return _by_bar("stddev", loops.stddev, {"values": values}, n, lost)


def bollinger(close: ArrayLike, period: int = 20, width: float = 2.0) -> Bollinger:
    """Bollinger bands: `sma` plus and minus ``width`` population standard deviations, as TA-Lib's BBANDS."""
    if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width < np.inf:
        raise InputError(f"bollinger: width = {width!r}: it must be a number above 0, in standard deviations.")
    middle = sma(close, _whole("bollinger", "period", period))
    reach = stddev(close, period) * width
    return Bollinger(middle + reach, middle, middle - reach)


def highest(values: ArrayLike, period: int, *, lag: int = 0) -> np.ndarray:
    """Highest of the last ``period`` bars; ``lag=1`` leaves out the current bar, so that a breakout can exceed it."""
    n, skip = _whole("highest", "period", period), _whole("highest", "lag", lag, least=0)
    return _by_bar("highest", loops.extreme, {"values": values}, n, skip, 1.0)


def lowest(values: ArrayLike, period: int, *, lag: int = 0) -> np.ndarray:
    """Lowest of the last ``period`` bars; ``lag=1`` leaves out the current bar."""
    n, skip = _whole("lowest", "period", period), _whole("lowest", "lag", lag, least=0)
    return _by_bar("lowest", loops.extreme, {"values": values}, n, skip, -1.0)


# --- across symbols ------------------------------------------------------------------------------------------------


def rank(values: ArrayLike) -> np.ndarray:
    """Rank of each symbol on each bar: 1 is the lowest; ties share their mean rank; NaN stays NaN.

    Equals pandas ``frame.rank(axis=1)``; the order of the columns does not matter.
    """
    panels, shape = _panels("rank", {"values": values})
    out = np.empty(panels[0].shape)
    loops.rank(out, panels[0])
    return out.reshape(shape)


# --- arguments, and the NaN policy, once ---------------------------------------------------------------------------


def _whole(function: str, name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int of at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, (bool, np.bool_)):
        raise InputError(f"{function}: {name} = {value!r}: it must be a whole number of at least {least}.")
    return number


def _sma_seed(function: str, seed: str) -> bool:
    if seed not in SEEDS:
        hint = nearest(seed, SEEDS) or "."
        raise InputError(f"{function}: seed = {seed!r} is unknown{hint} Valid: {', '.join(SEEDS)}.")
    return seed == "sma"


def _panels(function: str, inputs: dict[str, ArrayLike]) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """The inputs as (T, N) read-only float64 panels of one shape, and the shape to give back."""
    panels: list[np.ndarray] = []
    shape: tuple[int, ...] | None = None
    for name, values in inputs.items():
        try:
            panel = np.asarray(values, dtype=np.float64, order="C")
        except (TypeError, ValueError):
            raise InputError(f"{function}: {name} must hold numbers; it is {_described(values)}.") from None
        if shape is None:
            shape = panel.shape
        if panel.ndim not in (1, 2):
            raise InputError(f"{function}: {name} has shape {panel.shape}; it must be (bars,) or (bars, symbols).")
        if panel.shape != shape:
            raise InputError(f"{function}: {name} has shape {panel.shape}, but {next(iter(inputs))} has {shape}; "
                             "all inputs must have one shape.")
        panels.append(_read_only(panel.reshape(-1, 1) if panel.ndim == 1 else panel.view()))
    assert shape is not None
    return panels, shape


def _read_only(panel: np.ndarray) -> np.ndarray:
    panel.flags.writeable = False  # numba compiles once, for the kind of array that Bars holds
    return panel


def _described(values: Any) -> str:
    return f"{type(values).__name__} of {values.dtype}" if hasattr(values, "dtype") else type(values).__name__


def _by_bar(function: str, kernel: Any, inputs: dict[str, ArrayLike], *arguments: Any,
            dtype: type[np.generic] = np.float64) -> np.ndarray:
    """Run ``kernel(out, *panels, *arguments)``, which knows nothing of NaN, on the bars that each symbol has.

    ``out`` is NaN (False, if bool) on other bars.
    """
    key = key_of(inputs.values())
    if key is not None:
        memo, names = key
        plain: dict[str, ArrayLike] = {name: np.asarray(values) for name, values in inputs.items()}
        return memo.get((function, names, arguments), lambda: _by_bar(function, kernel, plain, *arguments, dtype=dtype))
    panels, shape = _panels(function, inputs)
    out = np.empty(panels[0].shape, dtype)
    unknown = False if dtype is np.bool_ else np.nan
    start = 0
    for panel in panels:
        first = loops.first_full(panel)
        start = first if first < 0 or start < 0 else max(start, first)
    if start == 0:
        kernel(out, *panels, *arguments)
    elif start > 0:
        out[:start] = unknown
        kernel(out[start:], *(p[start:] for p in panels), *arguments)
    else:
        known = np.logical_and.reduce([p == p for p in panels])
        packed = np.empty_like(out)
        out[:] = unknown
        kernel(packed, *(_read_only(loops.pack(p, known)) for p in panels), *arguments)
        loops.unpack(out, packed, known)
    return out.reshape(shape)
