"""Windows of a walk-forward, and what came of them. Pure: no strategy is run here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.errors import InputError
from botlib.metrics import curve_statistics, metrics
from botlib.result import figures_page
from botlib.tuning.checks import whole
from botlib.tuning.result import METRICS
from botlib.wording import percent, plural, total_return, typeset

MIN_TRAIN = 3
"""Bars of training: two returns make a Sharpe ratio."""


@dataclass(frozen=True)
class Split:
    """Numbers of the bars that are trained on, and of those that come after and are traded."""

    train: range
    test: range


def splits(bars: int, train: int, test: int, *, anchored: bool = False, embargo: int = 0) -> list[Split]:
    """Windows from the first bar on; their tests follow one another without a gap or an overlap, and the last ends with
    the bars, however few it has.

    Parameters
    ----------
    bars : int
        How many there are.
    train, test : int
        Bars of training, at least `MIN_TRAIN`, and of each test, at least 1.
    anchored : bool
        Training always begins with the first bar, and grows; else it has ``train`` bars and rolls.
    embargo : int
        Bars between training and test that neither uses.

    Raises
    ------
    InputError
        A length that cannot be, or too few bars for one window.
    """
    whole("train", train, MIN_TRAIN)
    whole("test", test, 1)
    whole("embargo", embargo, 0)
    if not isinstance(anchored, bool):
        raise InputError(f"anchored = {anchored!r} must be True or False.")
    needed = train + embargo + test
    if bars < needed:
        most = bars - embargo - test
        fits = (f"with this test, a train of up to {most:,} fits" if most >= MIN_TRAIN else
                f"take shorter windows: train + embargo + test of at most {bars:,}" if bars > MIN_TRAIN else
                f"no window fits into fewer than {MIN_TRAIN + 1}")
        gap = f" + embargo = {embargo:,}" if embargo else ""
        raise InputError(f"bars: {bars:,} are too few for train = {train:,}{gap} + test = {test:,}, which take "
                         f"{needed:,}; {fits}.")
    return [Split(range(0 if anchored else first - embargo - train, first - embargo),
                  range(first, min(first + test, bars))) for first in range(train + embargo, bars, test)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Traded:
    """An account over a window: fresh cash, and what is open at the end at its last close.

    Attributes
    ----------
    equity : (n + 1,) float64
        Dollars at each close, from the bar at which the first decision may fall.
    exposure : (n + 1,) float64
        Fraction of equity.
    pnl : (K,) float64
        Dollars of each closed trade.
    value, costs : float
        Dollars bought and sold, and paid.
    figures : tuple of float
        In the order of `METRICS`.
    """

    equity: np.ndarray
    exposure: np.ndarray
    pnl: np.ndarray
    value: float
    costs: float
    figures: tuple[float, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """One window: what training chose (None: the metric was defined at no point, and nothing was traded), and how that
    did in training and in the test."""

    split: Split
    chosen: Mapping[str, Any] | None
    trained: Traded | None
    tested: Traded | None


@dataclass(frozen=True, eq=False, kw_only=True)
class WalkForward:
    """A strategy whose parameters were chosen again and again, and traded on bars that the choice had not seen.

    Attributes
    ----------
    strategy : class
    metric : str
        What the best point has most of.
    steps : tuple of Window
    bars : Bars
    cash : float
        Dollars at the start.
    anchored : bool
    points : int
        Of the grid.
    windows : DataFrame
        A row a window: train_from, train_to, test_from, test_to (labels of first and last bar), the chosen parameters
        (None: nothing was chosen), in_sample and out_of_sample (the metric; NaN where undefined), trades (closed ones
        of the test), note.
    returns : Series (R,)
        Simple return of each bar of all tests.
    equity : Series (R + 1,)
        Dollars: each window goes on with what the one before has left. It begins at the close before the first test.
    metrics : mapping of str to float
        `botlib.metrics.METRICS` of ``equity``; dollars of trades and costs are those of the account as it then stood.
    """

    strategy: type
    metric: str
    steps: tuple[Window, ...]
    bars: Bars
    cash: float
    anchored: bool
    points: int

    @cached_property
    def windows(self) -> pd.DataFrame:
        times, rows = self.bars.index, []
        names = next(iter(s.chosen for s in self.steps if s.chosen is not None), {})
        at = METRICS.index(self.metric)
        for s in self.steps:
            rows.append({
                "train_from": times[s.split.train[0]], "train_to": times[s.split.train[-1]],
                "test_from": times[s.split.test[0]], "test_to": times[s.split.test[-1]],
                **{name: None if s.chosen is None else s.chosen[name] for name in names},
                "in_sample": s.trained.figures[at] if s.trained else math.nan,
                "out_of_sample": s.tested.figures[at] if s.tested else math.nan,
                "trades": len(s.tested.pnl) if s.tested else 0,
                "note": "" if s.chosen is not None else f"{self.metric} is defined at no point: nothing was traded",
            })
        return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="window"))

    @property
    def idle(self) -> tuple[int, ...]:
        """Numbers of the windows in which nothing could be chosen."""
        return tuple(n for n, s in enumerate(self.steps) if s.chosen is None)

    @property
    def _rows(self) -> slice:
        """Bars of ``equity``."""
        return slice(self.steps[0].split.test[0] - 1, self.steps[-1].split.test[-1] + 1)

    @cached_property
    def equity(self) -> pd.Series:
        curve = _chained(self.cash, [(s.tested.equity if s.tested else np.ones(len(s.split.test) + 1))
                                     for s in self.steps])
        return pd.Series(curve, index=self.bars.index[self._rows], name="equity")

    @cached_property
    def returns(self) -> pd.Series:
        return _returns(self.equity.to_numpy(), self.equity.index)

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        curve, at = self.equity.to_numpy(), self._rows.start
        exposure, pnl, value, costs = [np.zeros(1)], [np.empty(0)], 0.0, 0.0
        for s in self.steps:
            if s.tested is None:
                exposure.append(np.zeros(len(s.split.test)))
                continue
            scale = curve[s.split.test[0] - 1 - at] / s.tested.equity[0]
            exposure.append(s.tested.exposure[1:])
            pnl.append(s.tested.pnl * scale)
            value, costs = value + s.tested.value * scale, costs + s.tested.costs * scale
        return metrics(curve, self.equity.index, periods_per_year=self.bars.periods_per_year,
                       pnl=np.concatenate(pnl), exposure=np.concatenate(exposure), traded_value=float(value),
                       costs_paid=float(costs), sessions=self.bars.sessions[self._rows])

    @property
    def _chosen(self) -> list[tuple[Mapping[str, Any], Traded, Traded]]:
        return [(s.chosen, s.trained, s.tested) for s in self.steps
                if s.chosen is not None and s.trained is not None and s.tested is not None]

    @property
    def efficiency(self) -> float:
        """Walk-forward efficiency (Pardo 2008): annual return out of sample over annual return in sample, both of the
        windows in which something was chosen, put one after the other. NaN unless the return in sample is above 0.
        """
        year = self.bars.periods_per_year
        inside, outside = (_annual(curves, year) for curves in (
            [trained.equity for _, trained, _ in self._chosen], [tested.equity for _, _, tested in self._chosen]))
        return outside / inside if inside > 0.0 else math.nan

    @property
    def decay(self) -> float:
        """``1 - Sharpe ratio out of sample / mean Sharpe ratio in sample``: 0: nothing was lost, 1: everything, of the
        windows in which something was chosen. NaN unless the mean (of those that are defined) is above 0, or when there
        is no Sharpe ratio out of sample."""
        inside = [trained.figures[METRICS.index("sharpe")] for _, trained, _ in self._chosen]
        known = [one for one in inside if not math.isnan(one)]
        mean = sum(known) / len(known) if known else math.nan
        outside = curve_statistics(_chained(1.0, [tested.equity for _, _, tested in self._chosen]),
                                   self.bars.periods_per_year).sharpe
        return 1.0 - outside / mean if mean > 0.0 else math.nan

    @property
    def stability(self) -> pd.Series:
        """By parameter, the share of windows that chose its most frequent value, of those that chose any."""
        chosen = [one for one, _, _ in self._chosen]
        share = {name: max(sum(other[name] == one[name] for other in chosen) for one in chosen) / len(chosen)
                 for name in (chosen[0] if chosen else ())}
        return pd.Series(share, name="stability", dtype=np.float64)

    def __repr__(self) -> str:
        first, last = self.equity.index[1].date(), self.equity.index[-1].date()
        idle = f"; nothing chosen in {plural(len(self.idle), 'window')}" if self.idle else ""
        return (f"<WalkForward {self.strategy.__name__}, {plural(len(self.steps), 'window')} "
                f"({'anchored' if self.anchored else 'rolling'}) of {plural(self.points, 'point')}, out of sample "
                f"{first} to {last}: {total_return(self.metrics)}, {plural(int(self.metrics['trades']), 'trade')}"
                f"{idle}>")

    def _repr_html_(self) -> str:
        shares = ", ".join(f"{name} {percent(100.0 * share, digits=0)}" for name, share in self.stability.items())
        decay = typeset(f"{self.decay:.2f}") if math.isfinite(self.decay) else "undefined"
        kept = typeset(f"{self.efficiency:.2f}") if math.isfinite(self.efficiency) else "undefined"
        return (figures_page(repr(self), {"Out of sample": self.metrics})
                + f"<p>Walk-forward efficiency {kept}, decay of the Sharpe ratio {decay}. Windows that chose the most "
                  f"frequent value: {shares}.</p>")


def _chained(cash: float, curves: list[np.ndarray]) -> np.ndarray:
    """One account that goes through all curves (n + 1,) in turn; once at 0 or below it stays there."""
    parts = [np.array([cash])]
    for curve in curves:
        level = parts[-1][-1]
        parts.append(level * (curve[1:] / curve[0]) if level > 0.0 else np.full(len(curve) - 1, level))
    return np.concatenate(parts)


def _returns(equity: np.ndarray, index: pd.DatetimeIndex) -> pd.Series:
    """Of each bar but the first; NaN once the account has stood at 0 or below."""
    before = equity[:-1]
    found = np.divide(equity[1:], before, out=np.full(len(before), np.nan), where=before > 0.0) - 1.0
    return pd.Series(found, index=index[1:], name="return")


def _annual(curves: list[np.ndarray], periods_per_year: float) -> float:
    """Growth a year of the curves put one after the other, less 1; NaN without any, -1 once one has lost everything."""
    count = sum(len(curve) - 1 for curve in curves)
    if count == 0:
        return math.nan
    growth = [curve[-1] / curve[0] for curve in curves]
    if min(growth) <= 0.0:
        return -1.0
    return math.expm1(sum(math.log(g) for g in growth) * periods_per_year / count)
