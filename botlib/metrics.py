"""Performance figures of an equity curve and of closed trades.

Pure. One compiled function walks the curve (`curve_statistics`), one the trades (`trade_statistics`); `metrics` puts
their figures under the names that reports and parameter files use.

A figure that has no meaning (no dispersion, no drawdown, no losing trade, one bar) is NaN, never infinite.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from botlib._jit import compiled
from botlib.errors import DataError

# A bar return is a ratio near 1 less 1, so its rounding error is about one eps of float64: a standard deviation below a
# few of them is rounding, and a ratio over it would be a huge number without meaning.
_NO_DISPERSION = 8.0 * float(np.finfo(np.float64).eps)


# The names and the order of what `metrics` gives.
METRICS = (
    "total_return_pct", "cagr_pct", "volatility_pct", "sharpe", "sortino", "calmar", "max_drawdown_pct",
    "max_drawdown_days", "exposure_pct", "turnover_pct", "trades", "win_rate_pct", "profit_factor", "average_trade",
    "costs_paid", "final_equity",
)


class CurveStatistics(NamedTuple):
    """What `curve_statistics` returns: fractions (0.05 = 5 %), not percent; indices are -1 without a drawdown."""

    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    peak: int
    trough: int
    recovery: int


class TradeStatistics(NamedTuple):
    """What `trade_statistics` returns; ``win_rate`` is a fraction, ``average`` is in account currency."""

    trades: int
    win_rate: float
    profit_factor: float
    average: float


# error_model="numpy": a division by zero gives inf or NaN, which the NaN policy deals with, instead of a check a bar.
@compiled(error_model="numpy")
def _undefined(total_return: float, drawdown: float, peak: int, trough: int, recovery: int) -> CurveStatistics:
    """A curve without meaningful ratios."""
    nan = math.nan
    return CurveStatistics(total_return, nan, nan, nan, nan, nan, drawdown, peak, trough, recovery)


@compiled(error_model="numpy")
def curve_statistics(equity: np.ndarray, periods_per_year: float) -> CurveStatistics:
    """The figures of one equity curve.

    With simple bar returns ``r = equity[1:] / equity[:-1] - 1`` (all T - 1 of them) and a risk-free rate of 0:

    - total_return: ``equity[-1] / equity[0] - 1``
    - cagr: ``(1 + total_return) ** (1 / years) - 1`` with ``years = (T - 1) / periods_per_year``
    - volatility: ``std(r, ddof=1) * sqrt(periods_per_year)``
    - sharpe: ``mean(r) / std(r, ddof=1) * sqrt(periods_per_year)`` (Sharpe 1994)
    - sortino: ``mean(r) / sqrt(mean(min(r, 0) ** 2)) * sqrt(periods_per_year)`` (Sortino and Price 1994, target 0)
    - max_drawdown: ``min(equity / running peak - 1)``, at most 0
    - calmar: ``cagr / |max_drawdown|`` (Young 1991, over the whole curve)
    - peak, trough, recovery: bars of the maximum drawdown: the last one at the peak, the lowest, and the first one back
      at the peak, which is T - 1 when the curve never came back

    Parameters
    ----------
    equity : (T,) float64, C-contiguous
        Account value at each bar's close.
    periods_per_year : float
        Bars a year, as `Bars.periods_per_year` gives it: 252 times the bars of a session (Lo 2002: with independent
        returns, ratios scale by the square root of the bars a year). With bars outside regular hours it counts the bars
        that are there, so that ``years`` are sessions / 252 and the squares of T - 1 returns are a year's variance.

    Returns
    -------
    CurveStatistics
        NaN policy: every figure needs T >= 2, and volatility, sharpe and sortino T >= 3; sharpe needs some dispersion,
        sortino a losing bar, calmar a drawdown. Once an account has stood at 0 or below, later returns have no base:
        all but total_return and max_drawdown (then -1 or less) are NaN. A curve that only ends there keeps its ratios;
        its cagr is -1 at 0 and NaN below. A value that is not finite, or a first value that is not above 0, makes every
        figure NaN.
    """
    bars = equity.size
    if bars == 0 or not (equity[0] > 0.0 and math.isfinite(equity[-1])):
        return _undefined(math.nan, math.nan, -1, -1, -1)
    count = bars - 1
    growth = equity[-1] / equity[0]

    # One pass. Moments are taken about the geometric mean return, which is known beforehand and within variance / 2 of
    # the arithmetic mean, so nothing is lost in rounding; `worst * high` spares a division a bar to find the drawdown.
    center = growth ** (1.0 / count) - 1.0 if count > 0 and growth > 0.0 else 0.0
    first = squares = below = 0.0
    high = last = equity[0]
    high_at, worst, peak, trough, has_base = 0, 1.0, -1, -1, True
    for i in range(1, bars):
        value = equity[i]
        r = value / last - 1.0
        off = r - center
        first += off
        squares += off * off
        loss = min(0.0, r)
        below += loss * loss
        has_base &= last > 0.0
        last = value
        if value >= high:
            high, high_at = value, i
        elif value < worst * high:
            worst, peak, trough = value / high, high_at, i
    if count == 0 or (not math.isfinite(first) and not np.isfinite(equity).all()):
        return _undefined(math.nan, math.nan, -1, -1, -1)

    recovery = trough
    while trough >= 0 and recovery < count and equity[recovery] < equity[peak]:
        recovery += 1
    if not has_base:
        return _undefined(growth - 1.0, worst - 1.0, peak, trough, recovery)

    volatility = sharpe = sortino = calmar = cagr = math.nan
    scale = math.sqrt(periods_per_year)
    mean = center + first / count
    if growth >= 0.0:
        cagr = growth ** (periods_per_year / count) - 1.0
    if count > 1:
        std = math.sqrt(max(squares - first * first / count, 0.0) / (count - 1))
        volatility = std * scale
        if std > _NO_DISPERSION:
            sharpe = mean / std * scale
        downside = math.sqrt(below / count)
        if downside > _NO_DISPERSION:
            sortino = mean / downside * scale
    if worst < 1.0:
        calmar = cagr / (1.0 - worst)
    return CurveStatistics(growth - 1.0, cagr, volatility, sharpe, sortino, calmar, worst - 1.0, peak, trough, recovery)


@compiled(error_model="numpy")
def trade_statistics(pnl: np.ndarray) -> TradeStatistics:
    """The figures of closed trades.

    Parameters
    ----------
    pnl : (K,) float64
        Profit or loss of each trade, net of its costs.

    Returns
    -------
    TradeStatistics
        A trade wins when its pnl is above 0; one at exactly 0 neither wins nor loses but counts as a trade. The profit
        factor is gross profit / gross loss. NaN policy: all but ``trades`` are NaN without trades; the profit factor is
        NaN without a losing trade (as in backtesting.py; others print infinity, which no table can average or sort
        by). A NaN pnl makes all but ``trades`` NaN.
    """
    won, profit, loss = 0, 0.0, 0.0
    for value in pnl:
        if value > 0.0:
            won += 1
            profit += value
        else:
            loss -= value
    count = pnl.size
    if count == 0 or math.isnan(loss):
        return TradeStatistics(count, math.nan, math.nan, math.nan)
    factor = profit / loss if loss > 0.0 else math.nan
    return TradeStatistics(count, won / count, factor, (profit - loss) / count)


def metrics(equity: np.ndarray, index: pd.DatetimeIndex, *, periods_per_year: float, pnl: np.ndarray,
            exposure: np.ndarray, traded_value: float, costs_paid: float,
            sessions: np.ndarray | None = None) -> dict[str, float]:
    """Every figure of a backtest by name, in the order of `METRICS`.

    Parameters
    ----------
    equity : (T,) float64
        Account value at each bar's close.
    index : pandas.DatetimeIndex, (T,)
        Labels of the bars, in exchange time.
    periods_per_year : float
        Bars a year, as `Bars.periods_per_year` gives it.
    pnl : (K,) float64
        Profit or loss of each closed trade, net of its costs, in account currency.
    exposure : (T,) float64
        Gross market value / equity at each bar's close (1.0 = all of the equity at work).
    traded_value : float
        Buys plus sells over the whole time, in account currency.
    costs_paid : float
        Commissions, fees and slippage, in account currency.
    sessions : (T,) int, optional
        The exchange date of each bar as a day number, when it is known already; else it is taken from ``index``.

    Returns
    -------
    dict of str to float
        ``_pct`` in percent (5.0 = 5 %); ``max_drawdown_days`` in calendar days from the peak before the maximum
        drawdown to the first bar back at it, or to the last bar (0 without a drawdown); ``exposure_pct`` the mean of
        ``exposure``; ``turnover_pct`` half the traded value / mean equity / years; ``average_trade``, ``costs_paid``
        and ``final_equity`` in account currency. NaN where undefined: see `curve_statistics`, `trade_statistics`.

    Raises
    ------
    DataError
        When an equity value is not finite or the first one is not above 0.
    """
    equity = np.ascontiguousarray(equity, dtype=np.float64)
    curve = curve_statistics(equity, periods_per_year)
    if math.isnan(curve.total_return):
        _refuse(equity, index)
    count, win_rate, profit_factor, average = trade_statistics(np.ascontiguousarray(pnl, dtype=np.float64))
    days = math.nan if math.isnan(curve.total_return) else 0.0
    if curve.peak >= 0:
        if sessions is not None:
            days = float(sessions[curve.recovery] - sessions[curve.peak])
        else:
            days = float((_date(index, curve.recovery) - _date(index, curve.peak)).days)
    years = (equity.size - 1) / periods_per_year
    mean_equity = float(np.add.reduce(equity)) / equity.size
    turnover = 50.0 * traded_value / mean_equity / years if years > 0.0 and mean_equity > 0.0 else math.nan
    mean_exposure = float(np.add.reduce(exposure)) / len(exposure)
    values = (100.0 * curve.total_return, 100.0 * curve.cagr, 100.0 * curve.volatility, curve.sharpe, curve.sortino,
              curve.calmar, 100.0 * curve.max_drawdown, days, 100.0 * mean_exposure, turnover, float(count),
              100.0 * win_rate, profit_factor, average, float(costs_paid), float(equity[-1]))
    return dict(zip(METRICS, values, strict=True))


_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _date(index: pd.DatetimeIndex, bar: int) -> dt.date:
    """The exchange date of a bar (`index[bar].date()` is twenty times slower when the index has a frequency)."""
    return dt.datetime.fromtimestamp(int(index.asi8[bar]) // _TICKS[index.unit], tz=index.tz or dt.UTC).date()


def _refuse(equity: np.ndarray, index: pd.DatetimeIndex) -> None:
    """Say why a curve has no figures; one of a single good bar just has none yet."""
    if equity.size == 0:
        raise DataError("equity is empty: a backtest needs at least one bar.")
    bad = np.flatnonzero(~np.isfinite(equity))
    if bad.size:
        raise DataError(f"equity is {equity[bad[0]]} at {index[bad[0]]}: every value must be a finite number of "
                        "dollars. Check the bars for missing closes.")
    if equity[0] <= 0.0:
        raise DataError(f"equity starts at {equity[0]:g}: it must be above 0. Start with positive cash.")
