"""One strategy on one data set, looked at from all sides: the curve of a point, the surface around it, and how much of
it is luck.

The surface is searched in sample only. What comes after the split is shown for the point that is looked at and never
chosen from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError, nearest
from botlib.metrics import curve_statistics
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.strategies.base import parameters
from botlib.tuning.judging import Honesty, facts_of, judged
from botlib.tuning.result import METRICS, SweepResult
from botlib.tuning.sweep import sweep

MIN_BARS = 60
"""Bars on either side of the split, at least."""


@dataclass(frozen=True)
class Curve:
    """A point's account: the mean of the accounts where each symbol has its own.

    Attributes
    ----------
    equity : (T,) float64
        Dollars at each close.
    sharpe_in, sharpe_out : float
        Annualised Sharpe ratios before the split and from it on; NaN where nothing moved.
    return_in_pct, return_out_pct, drawdown_pct : float
    trades : int
    """

    equity: np.ndarray
    sharpe_in: float
    sharpe_out: float
    return_in_pct: float
    return_out_pct: float
    drawdown_pct: float
    trades: int

    @property
    def decay(self) -> float:
        """The part of the Sharpe ratio that is gone out of sample; NaN unless it was above 0 in sample."""
        return 1.0 - self.sharpe_out / self.sharpe_in if self.sharpe_in > 0.0 else math.nan


@dataclass(frozen=True)
class Surface:
    """A figure over two parameters, in sample; the others are those of the point.

    Attributes
    ----------
    x, y : str
    xs, ys : tuple
        Their values.
    values : (len(ys), len(xs)) float64
        Mean over the accounts; NaN where the strategy refuses the point, or nothing was traded.
    """

    x: str
    y: str
    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    metric: str
    values: np.ndarray

    def at(self, point: Mapping[str, Any]) -> tuple[int, int]:
        """(row, column) of a point, or of the nearest there is."""
        return _nearest(self.ys, point[self.y]), _nearest(self.xs, point[self.x])

    def plateau(self, row: int, column: int, radius: int = 1) -> Plateau:
        """What is around a cell, itself included: a point on a plateau is worth more than the same figure on a peak."""
        part = self.values[max(0, row - radius):row + radius + 1, max(0, column - radius):column + radius + 1]
        known = part[~np.isnan(part)]
        if not len(known):
            return Plateau(math.nan, math.nan, 0.0, 0)
        return Plateau(float(np.median(known)), float(known.min()), float((known > 0.0).mean()), len(known))


@dataclass(frozen=True)
class Plateau:
    """The cells around one: median, lowest, the part of them above 0, and how many there are."""

    median: float
    lowest: float
    positive: float
    cells: int


@dataclass(frozen=True)
class Study:
    """What is searched and how. `split` is the first bar that is out of sample."""

    bars: Bars
    strategy: type
    split: int
    cash: float = 100_000.0
    risk: Risk = field(default_factory=Risk)
    costs: Costs = field(default_factory=Costs)
    safety: SafetyControls | None = field(default_factory=SafetyControls)
    convention: str = "broker"
    signal_adjustment: str = "split"
    by: str = "symbol"

    def __post_init__(self) -> None:
        if not MIN_BARS <= self.split <= len(self.bars) - MIN_BARS:
            raise InputError(f"split = bar {self.split} of {len(self.bars):,}: at least {MIN_BARS} bars are needed in "
                             "sample and out of sample; load more history, or move the split.")

    @cached_property
    def inside(self) -> Bars:
        """The bars in sample."""
        return self.bars.upto(self.split - 1)

    def made(self, point: Mapping[str, Any]) -> Any:
        """The strategy of a point. Raises `InputError` when it refuses these values."""
        own = {f.name for f in parameters(self.strategy)}
        return self.strategy(**{name: value for name, value in point.items() if name in own})

    def risk_of(self, point: Mapping[str, Any]) -> Risk:
        """The risk of a point."""
        own = {f.name for f in parameters(self.strategy)}
        changes = {name: value for name, value in point.items() if name not in own}
        return Risk(**self.risk.model_dump() | changes)

    def curve(self, point: Mapping[str, Any]) -> Curve:
        """The account of one point, over all bars."""
        result = self._sweep(self.bars, {name: [value] for name, value in point.items()}, equity=True)
        equity = np.ascontiguousarray(result.together()[0])
        year = self.bars.periods_per_year
        inside, outside = (curve_statistics(np.ascontiguousarray(part), year)
                           for part in (equity[:self.split], equity[self.split - 1:]))
        return Curve(equity, inside.sharpe, outside.sharpe, 100.0 * inside.total_return, 100.0 * outside.total_return,
                     100.0 * curve_statistics(equity, year).max_drawdown, int(np.nansum(result.metric("trades")[:, 0])))

    def search(self, point: Mapping[str, Any], x: str, xs: Sequence[Any], y: str, ys: Sequence[Any], *,
               progress: Callable[[int, int], Any] | None = None) -> SweepResult:
        """All of ``xs`` with all of ``ys``, in sample; the rest is the point's."""
        if x == y:
            raise InputError(f"x = y = {x!r}: take two different parameters.")
        grid = {name: [value] for name, value in point.items() if name not in (x, y)} | {y: list(ys), x: list(xs)}
        return self._sweep(self.inside, grid, equity=True, progress=progress)

    def surface(self, result: SweepResult, x: str, y: str, metric: str = "sharpe") -> Surface:
        """One figure of a search, of the mean account."""
        if metric not in METRICS:
            raise InputError(f"metric = {metric!r} is unknown; valid: {', '.join(METRICS)}{nearest(metric, METRICS)}")
        if metric == "trades":
            values = np.nansum(result.metric("trades"), axis=0)
        else:
            values = account_figures(result.together(), self.bars.periods_per_year)[metric]
        values = values.astype(np.float64)
        values[[row for row, _ in result.impossible]] = np.nan
        xs, ys = tuple(result.grid.values[x]), tuple(result.grid.values[y])
        return Surface(x, y, xs, ys, metric, values.reshape(len(ys), len(xs)))

    def honesty(self, searched: SweepResult, curve: Curve, trials: int) -> Honesty:
        """What a search (with ``equity``) and the trials before it make of a curve.

        Parameters
        ----------
        trials : int
            Distinct trials so far; the search's own points count at least.
        """
        refused = {row for row, _ in searched.impossible}
        rows = [n for n in range(len(searched)) if n not in refused]
        return judged(facts_of(searched.together()[rows]), curve.equity[:self.split], curve.sharpe_in,
                      self.bars.periods_per_year, trials)

    def _sweep(self, bars: Bars, grid: Mapping[str, Sequence[Any]], **options: Any) -> SweepResult:
        return sweep(bars, self.strategy, grid, cash=self.cash, risk=self.risk, costs=self.costs, safety=self.safety,
                     convention=self.convention, signal_adjustment=self.signal_adjustment,  # type: ignore[arg-type]
                     by=self.by, **options)  # type: ignore[arg-type]


def account_figures(equity: np.ndarray, periods_per_year: float) -> dict[str, np.ndarray]:
    """Sharpe ratio (NaN without dispersion), total return and maximum drawdown in percent of many curves (M, T), as
    `botlib.metrics.curve_statistics` defines them."""
    returns = equity[:, 1:] / equity[:, :-1] - 1.0
    spread = returns.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = np.where(spread > 0.0, returns.mean(axis=1) / spread * math.sqrt(periods_per_year), np.nan)
    fall = (equity / np.maximum.accumulate(equity, axis=1) - 1.0).min(axis=1)
    return {"sharpe": sharpe, "total_return_pct": 100.0 * (equity[:, -1] / equity[:, 0] - 1.0),
            "max_drawdown_pct": 100.0 * fall}


def _nearest(values: Sequence[Any], value: Any) -> int:
    if value in values:
        return list(values).index(value)
    known = [(abs(v - value), n) for n, v in enumerate(values) if isinstance(v, int | float) and isinstance(
        value, int | float)]
    return min(known)[1] if known else 0
