"""Is it the timing? The same decisions at other times, on the same market. Pure: chance comes in as a seed.

Sources
-------
- Phipson, Smyth (2010), Permutation P-values Should Never Be Zero, Statistical Applications in Genetics and Molecular
  Biology 9(1): ``p = (1 + number at least as good) / (1 + number drawn)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from botlib import backtesting, engine
from botlib.backtesting import Adjustment, Convention, account_book, strategy_targets
from botlib.bars import Bars
from botlib.errors import DataError, InputError, nearest
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.tables import TextTable
from botlib.tuning.checks import whole
from botlib.tuning.result import METRICS, figures_of
from botlib.wording import NOTHING, percent, typeset

_DEFAULT_RISK, _DEFAULT_COSTS, _DEFAULT_SAFETY = Risk(), Costs(), SafetyControls()
_TIE = 1e-9  # figures closer than this, of their size, are the same: a sum in another order


@dataclass(frozen=True, eq=False, kw_only=True)
class Permutation:
    """A figure of a strategy, and the same of its decisions at other times.

    Attributes
    ----------
    metric : str
    actual : float
        As `backtest` gives it.
    rotated : (n,) float64
        Of each rotation; NaN where the metric is not defined.
    offsets : (n,) int64
        Bars by which the decisions came later, those past the end first.
    p : float
        Probability of a figure at least as good when the timing means nothing: from 1 / (1 + n) to 1.
    seed : int
    """

    metric: str
    actual: float
    rotated: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    p: float
    seed: int

    def __repr__(self) -> str:
        return (f"<Permutation {self.metric} {self.actual:.2f} against {len(self.rotated):,} rotations, seed "
                f"{self.seed}: p = {self.p:.4f}>")

    def _repr_html_(self) -> str:
        known = self.rotated[~np.isnan(self.rotated)]
        levels = np.quantile(known, (0.05, 0.5, 0.95)) if len(known) else np.full(3, math.nan)

        def told(value: float) -> str:
            if math.isnan(value):
                return NOTHING
            return percent(value) if self.metric.endswith("_pct") else typeset(f"{value:.2f}")

        table = TextTable({"actual": [told(self.actual)], "5 %": [told(levels[0])], "50 %": [told(levels[1])],
                           "95 %": [told(levels[2])], "p": [f"{self.p:.4f}"]}, index=[self.metric])
        table.attrs["caption"] = repr(self).strip("<>")
        return table._repr_html_()


def permutation_test(bars: Bars, strategy: Any, *, n: int = 999, seed: int = 0, metric: str = "sharpe",
                     decide_from: int = 0, cash: float = 100_000.0, risk: Risk = _DEFAULT_RISK,
                     costs: Costs = _DEFAULT_COSTS, safety: SafetyControls | None = _DEFAULT_SAFETY,
                     convention: Convention = "broker", signal_adjustment: Adjustment = "split") -> Permutation:
    """Rotate the strategy's targets in time against the bars, and trade each rotation as a backtest would.

    A rotation keeps what the decisions have to do with each other (how often they change, how long they hold, on how
    many symbols at once) and the market's own path; it takes away when they came. So a drift that any holding would
    have earned is no evidence, and a strategy that always holds gets p = 1.

    Parameters
    ----------
    bars, strategy, cash, risk, costs, safety, convention, signal_adjustment, decide_from
        As for `backtest`; the strategy must have ``targets(bars)``. Only bars from ``decide_from`` and the warm-up on
        are rotated, and measured.
    n : int
        Rotations, all different; where there are no more, all of them.
    seed : int
        At least 0; picks the rotations.
    metric : str
        One of `METRICS`, higher is better. A rotation in which it is not defined counts as at least as good.

    Raises
    ------
    InputError
        A parameter that cannot be, a strategy that is asked bar by bar, too few bars.
    DataError
        The strategy's own figure is not defined.
    StrategyError
        The strategy raises, or returns something else than targets.
    """
    backtesting._check_inputs(bars, strategy, cash, risk, costs, safety, convention, signal_adjustment)
    if hasattr(strategy, "on_bar"):
        raise InputError(f"{type(strategy).__name__} decides bar by bar, on_bar(view), from the positions it has: such "
                         "decisions cannot be moved in time; permutation_test takes strategies with targets(bars).")
    whole("n", n, 1)
    whole("seed", seed, 0)
    whole("decide_from", decide_from, 0)
    if metric not in METRICS:
        raise InputError(f"metric = {metric!r} is unknown; valid: {', '.join(METRICS)}{nearest(metric, METRICS)}")
    first = max(decide_from, backtesting.warmup_bars(strategy))
    count = len(bars) - first
    if count < 3:
        raise InputError(f"bars: {len(bars):,} are too few to decide from bar {first:,} on and rotate what is decided; "
                         f"at least {first + 3:,} are needed.")
    if convention == "broker":
        bars = backtesting._in_name_order(bars)
    targets = strategy_targets(strategy, bars, signal_adjustment)

    def figure(offset: int) -> float:
        moved = targets.copy()
        moved[first:] = np.roll(targets[first:], offset, axis=0)
        moved.flags.writeable = False  # as all targets are: numba compiles once
        book = account_book(bars, strategy, float(cash), risk, costs, safety, convention)
        book.world["first_decision"] = first
        engine.run_targets(book, moved)
        found = figures_of(book.equity_curve[first:], bars.periods_per_year, book["n_trades"])
        return found[METRICS.index(metric)]

    actual = figure(0)
    if math.isnan(actual):
        raise DataError(f"{metric} of {type(strategy).__name__} is not defined from bar {first:,} on: nothing was "
                        "traded, perhaps.")
    rng = np.random.default_rng(seed)
    offsets = 1 + rng.choice(count - 1, min(n, count - 1), replace=False)
    rotated = np.array([figure(int(offset)) for offset in offsets])
    as_good = int(np.count_nonzero(~(rotated < actual - _TIE * max(1.0, abs(actual)))))
    return Permutation(metric=metric, actual=actual, rotated=rotated, offsets=offsets,
                       p=(1 + as_good) / (1 + len(offsets)), seed=seed)
