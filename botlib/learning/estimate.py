"""Parameters estimated anew, walk-forward, beside those that are set: what both would have earned on bars that the
choice had not seen, and what is chosen now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import trials
from botlib.bars import Bars
from botlib.errors import InputError
from botlib.learning import gates
from botlib.learning.candidates import Candidates, candidates
from botlib.learning.gates import Gate, Record
from botlib.learning.slippage import Slippage, measured
from botlib.metrics import curve_statistics
from botlib.params import Costs, Risk
from botlib.strategies.base import parameters
from botlib.tuning.grid import risk_with
from botlib.tuning.judging import Honesty, facts_of, judged
from botlib.tuning.result import SweepResult
from botlib.tuning.sweep import sweep
from botlib.tuning.walkforward import walk_forward
from botlib.tuning.windows import WalkForward

if TYPE_CHECKING:
    from botlib.learn_config import LearnParams
    from botlib.repository import Repository

MIN_WINDOWS = 4
"""Out-of-sample windows below which nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was found.

    Attributes
    ----------
    tried : Candidates
    proposed : dict
        The point that the latest training bars choose; names as in ``tried.current``.
    current_windows, learned_windows : WalkForward
        The same tests, with the parameters that are set and with those that each window's training chose.
    honesty : Honesty
        Of the proposed point over all bars.
    gates : tuple of Gate
    slippage : Slippage
    """

    settings: LearnParams
    bars: Bars
    strategy: Any
    tried: Candidates
    proposed: Mapping[str, Any]
    current_windows: WalkForward
    learned_windows: WalkForward
    honesty: Honesty
    slippage: Slippage
    gates: tuple[Gate, ...]

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """By parameter that would change: current, proposed."""
        return {name: (self.tried.current[name], value) for name, value in self.proposed.items()
                if value != self.tried.current[name]}

    @property
    def recommendation(self) -> str:
        """"accept" or "keep"."""
        return gates.advice(self.gates, len(self.changes))[0]

    @property
    def sentence(self) -> str:
        """Why."""
        return gates.advice(self.gates, len(self.changes))[1]

    @cached_property
    def records(self) -> tuple[Record, Record]:
        """Current and learned, out of sample."""
        return record(self.current_windows), record(self.learned_windows)


def slippage_of(settings: LearnParams, bars: Bars, repository: Repository | None) -> Slippage:
    """What the ledger says of slippage; without one what is configured."""
    configured = settings.costs.slippage_bps
    if repository is None:
        return Slippage(configured, np.empty(0))
    return measured(repository, bars, configured, str(settings.db))


def learn(settings: LearnParams, bars: Bars, strategy: Any, slippage: Slippage, *, repository: Repository | None = None,
          time: pd.Timestamp | None = None) -> Learned:
    """Estimate parameters anew.

    Limits that halt for good stay out of it: they would hide what follows a halt. Each window trades one account with
    all symbols, at the worse of configured and measured slippage.

    Parameters
    ----------
    strategy : object
        With the parameters that are set.
    repository : Repository, optional
        Where trials are counted; every one once.
    time : pandas.Timestamp, optional
        When: needed with a repository.

    Raises
    ------
    InputError
        Too few bars, or nothing that can be estimated.
    DataError
        Nothing was traded anywhere.
    """
    s = settings
    tried = candidates(strategy, s.risk, estimate=s.estimate, values=s.values, steps=s.steps, reach=s.reach,
                       max_change_pct=s.max_change_pct)
    needed = s.train_bars + MIN_WINDOWS * s.test_bars
    if len(bars) < needed:
        raise InputError(f"bars: {len(bars):,} are too few to learn from: train_bars = {s.train_bars:,} and "
                         f"{MIN_WINDOWS} windows of test_bars = {s.test_bars:,} take {needed:,}; load more history "
                         "(period), or take fewer. Nothing was written.")
    costs: Costs = s.costs.model_copy(update={"slippage_bps": slippage.used_bps})
    terms: dict[str, Any] = {"cash": s.cash, "risk": s.risk, "costs": costs, "safety": None,
                             "signal_adjustment": s.signal_adjustment}
    cls = type(strategy)
    learned = walk_forward(bars, cls, tried.grid(), train=s.train_bars, test=s.test_bars, **terms)
    # A point without a trade in training has no Sharpe ratio, but it is what is set, and it trades on.
    current = walk_forward(bars, cls, tried.only({}), train=s.train_bars, test=s.test_bars, metric="trades", **terms)
    latest = len(bars) - s.train_bars
    chosen = sweep(bars, cls, tried.grid(), decide_from=latest, **terms).best()
    beside = _beside(bars, cls, tried, chosen, terms, latest)
    whole = sweep(bars, cls, tried.grid(), equity=True, **terms)
    honesty = _honesty(whole, beside, chosen, _count(s, bars, cls, [whole, *beside], repository, time))
    around = [float(one.metric("sharpe")[0, row]) for one in beside for row, point in enumerate(one.grid.at_all())
              if point != chosen]
    own = next((float(one.metric("sharpe")[0, row]) for one in beside for row, point in enumerate(one.grid.at_all())
                if point == chosen), float("nan"))
    was, now = record(current), record(learned)
    days = learned.windows["test_from"].iloc[0], learned.windows["test_to"].iloc[-1]
    checked = (gates.better(was, now, *(f"{day:%Y-%m-%d}" for day in days)),
               gates.deflated(honesty, s.min_deflated_sharpe), gates.plateau(own, around, s.max_plateau_drop_pct),
               gates.change(tried, chosen, s.max_change_pct))
    return Learned(settings=s, bars=bars, strategy=strategy, tried=tried, proposed=chosen, current_windows=current,
                   learned_windows=learned, honesty=honesty, slippage=slippage, gates=checked)


def made(found: Learned, point: Mapping[str, Any]) -> tuple[Any, Risk]:
    """Strategy and risk at a point."""
    own = {f.name for f in parameters(found.strategy)}
    strategy = type(found.strategy)(**{name: value for name, value in point.items() if name in own})
    return strategy, risk_with(found.settings.risk, {name: v for name, v in point.items() if name not in own})


def record(windows: WalkForward) -> Record:
    """The account of all windows, one after the other."""
    curve = windows.equity.to_numpy()
    found = curve_statistics(np.ascontiguousarray(curve), windows.bars.periods_per_year)
    return Record(found.sharpe, 100.0 * found.total_return, 100.0 * found.max_drawdown,
                  sum(len(step.tested.pnl) for step in windows.steps if step.tested is not None),
                  tuple(step.tested.figures[0] if step.tested is not None else 0.0 for step in windows.steps))


def _beside(bars: Bars, cls: type, tried: Candidates, chosen: Mapping[str, Any], terms: Mapping[str, Any],
            latest: int) -> list[SweepResult]:
    """The chosen point and its neighbours along each parameter, on the bars that chose it; with equity."""
    found, own = [], {f.name for f in parameters(cls)}
    for name in tried.values:
        near = []
        for value in tried.beside(chosen, name):
            try:
                cls(**{key: v for key, v in {**chosen, name: value}.items() if key in own})
            except InputError:  # the strategy does not take it together with the others
                continue
            near.append(value)
        found.append(sweep(bars, cls, {**tried.only(chosen), name: [chosen[name], *near]}, decide_from=latest, **terms))
    return found


def _count(s: LearnParams, bars: Bars, cls: type, results: list[SweepResult], repository: Repository | None,
           time: pd.Timestamp | None) -> int:
    """Trials of this strategy on these data, these points among them, each counted once."""
    points = {tuple(sorted(point.items())) for one in results for row, point in enumerate(one.grid.at_all())
              if row not in {n for n, _ in one.impossible}}
    if repository is None or time is None:
        return len(points)
    data = trials.data_set(bars, s.provider)
    for one in results:
        trials.log(repository, one, data, time=time)
    return max(len(points), trials.tried(repository, cls, data).trials)


def _honesty(whole: SweepResult, beside: list[SweepResult], chosen: Mapping[str, Any], count: int) -> Honesty:
    refused = {row for row, _ in whole.impossible}
    rows = [row for row in range(len(whole)) if row not in refused]
    equity = whole.together()
    own = next(row for row, point in enumerate(whole.grid.at_all()) if point == chosen)
    return judged(facts_of(equity[rows]), equity[own], float(whole.metric("sharpe")[0, own]),
                  whole.bars.periods_per_year, count)
