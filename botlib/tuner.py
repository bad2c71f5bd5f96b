"""The tuner's thinking, without a screen: what there is to turn, and what is known of each position.

`botlib.tuner_view.show` puts sliders and pictures on it; a headless run asks it directly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import trials
from botlib.backtesting import backtest, warmup_bars
from botlib.bars import Bars
from botlib.benchmark import buy_and_hold
from botlib.errors import InputError, nearest
from botlib.params import Risk
from botlib.strategies import SHIPPED, load
from botlib.strategies.base import parameters
from botlib.strategies.members import spelled_out
from botlib.tuning.choices import Choice, choices_of
from botlib.tuning.ground import Ground
from botlib.tuning.judging import Facts, Honesty, judged
from botlib.tuning.study import Curve, Study
from botlib.tuning.verdicts import plateau_words, verdicts

if TYPE_CHECKING:
    from botlib.config import TuneParams
    from botlib.repository import Repository

PORTFOLIO, DIVIDED = "portfolio", "divided"
"""One account for all symbols; the mean of an account for each."""

_GROUNDS, _CURVES = 12, 256


@dataclass(frozen=True)
class Position:
    """Where all sliders and menus stand.

    Attributes
    ----------
    strategy : str
        As parameter files name it.
    account : str
        `PORTFOLIO`, `DIVIDED` or a symbol.
    x, y, metric : str
        What the surface spans and shows.
    point : dict
        Values by parameter, stop and target among them.
    """

    strategy: str
    account: str
    x: str
    y: str
    metric: str
    point: Mapping[str, Any] = field(default_factory=dict)

    def moved(self, **point: Any) -> Position:
        return replace(self, point={**self.point, **point})

    @property
    def ground(self) -> tuple[Any, ...]:
        """What the surface depends on; the metric is only how it is looked at."""
        rest = tuple((name, value) for name, value in self.point.items() if name not in (self.x, self.y))
        return self.strategy, self.account, self.x, self.y, rest


class Tuner:
    """What there is to turn, and what is known of it. Results are kept, the newest ones."""

    def __init__(self, settings: TuneParams, bars: Bars, *, clock: Callable[[], pd.Timestamp],
                 root: str | Path | None = None) -> None:
        self.settings, self.bars, self.clock, self.root = settings, bars, clock, root
        self.split = len(bars) - round(len(bars) * settings.out_of_sample_pct / 100.0)
        self.strategies = tuple(dict.fromkeys([settings.strategy["name"], *SHIPPED]))
        self.accounts = (PORTFOLIO, DIVIDED, *bars.symbols) if len(bars.symbols) > 1 else bars.symbols
        self._loaded: dict[str, Any] = {}
        self._choices: dict[str, tuple[Choice, ...]] = {}
        self._studies: dict[tuple[str, str], Study] = {}
        self._held: dict[tuple[str, int], np.ndarray] = {}
        self._curves: OrderedDict[Any, Curve] = OrderedDict()
        self._grounds: OrderedDict[Any, Ground] = OrderedDict()
        self._facts: dict[Any, Facts] = {}
        self._quick: set[tuple[str, str]] = set()
        self._tried: dict[tuple[str, str], int] = {}
        self.start = self.at = self._start()

    # --- what there is to turn ----------------------------------------------------------------------------------------

    def loaded(self, name: str) -> Any:
        """A strategy with the values to begin with: the settings' own, or its defaults."""
        if name not in self._loaded:
            mine = self.settings.strategy["name"] == name
            self._loaded[name] = self.settings.load_strategy(self.root) if mine else load(name)
        return self._loaded[name]

    def choices(self, name: str) -> tuple[Choice, ...]:
        """What can be turned of a strategy."""
        if name not in self._choices:
            mine = self.settings.values if name == self.settings.strategy["name"] else {}
            self._choices[name] = choices_of(self.loaded(name), self.settings.risk, mine, self.settings.steps)
        return self._choices[name]

    def axes(self, name: str) -> tuple[str, ...]:
        """Parameters that a surface can span."""
        return tuple(choice.name for choice in self.choices(name) if len(choice.values) > 1)

    def beginning(self, name: str, account: str, metric: str, x: str | None = None, y: str | None = None) -> Position:
        """A strategy as it begins. Raises `InputError` when ``x`` or ``y`` is none of its parameters."""
        axes = self.axes(name)
        for label, given in (("x", x), ("y", y)):
            if given is not None and given not in axes:
                raise InputError(f"{label} = {given!r}{nearest(given, axes) or '.'} Valid: {', '.join(axes)}.")
        if len(axes) < 2:
            raise InputError(f"strategy {name}: a surface needs two parameters that can be turned; it has "
                             f"{', '.join(axes) or 'none'}. Declare ranges with botlib.param(…, low=…, high=…).")
        if x is not None and x == y:
            raise InputError(f"x = y = {x!r}: take two different parameters.")
        x = x or next(one for one in axes if one != y)
        y = y or next(one for one in axes if one != x)
        return Position(name, account, x, y, metric, {one.name: one.value for one in self.choices(name)})

    def _start(self) -> Position:
        account = self.settings.account or self.accounts[0]
        if account not in self.accounts:
            raise InputError(f"account = {account!r}{nearest(account, self.accounts) or '.'} Valid: "
                             f"{', '.join(self.accounts)}.")
        return self.beginning(self.settings.strategy["name"], account, self.settings.metric, self.settings.x,
                              self.settings.y)

    # --- what is known ------------------------------------------------------------------------------------------------

    def study(self, at: Position) -> Study:
        """The study of a strategy on an account. Raises `InputError` with too few bars on a side of the split."""
        key = at.strategy, at.account
        if key not in self._studies:
            s, alone = self.settings, at.account not in (PORTFOLIO, DIVIDED)
            bars = self.bars.select(at.account) if alone and len(self.bars.symbols) > 1 else self.bars
            split = int(bars.index.searchsorted(self.bars.index[self.split])) if alone else self.split
            self._studies[key] = Study(
                bars, type(self.loaded(at.strategy)), split, cash=s.cash, risk=s.risk, costs=s.costs, safety=s.safety,
                convention=s.convention, signal_adjustment=s.signal_adjustment,
                by="portfolio" if at.account == PORTFOLIO else "symbol")
        return self._studies[key]

    def whole(self, at: Position) -> dict[str, Any]:
        """The point with what cannot be turned and is not the default."""
        strategy = self.loaded(at.strategy)
        fixed = {f.name: getattr(strategy, f.name) for f in parameters(strategy) if f.init and f.name not in at.point}
        usual = {f.name: f.default for f in parameters(strategy)}
        return {name: value for name, value in fixed.items() if value != usual[name]} | dict(at.point)

    def curve(self, at: Position) -> Curve:
        """The account of the point. Raises `InputError` in the strategy's own words when it refuses the values."""
        key = at.strategy, at.account, tuple(at.point.items())
        if key not in self._curves:
            study, point = self.study(at), self.whole(at)
            study.made(point)
            study.risk_of(point)
            self._curves[key] = study.curve(point)
            if len(self._curves) > _CURVES:
                self._curves.popitem(last=False)
        return self._curves[key]

    def held(self, at: Position) -> np.ndarray:
        """(T,) dollars of buy and hold, from the first bar on which the strategy could trade."""
        study = self.study(at)
        made = study.made(self.whole(at))
        key = at.account, warmup_bars(made)
        if key not in self._held:
            result = backtest(study.bars, made, cash=study.cash, risk=study.risk_of(self.whole(at)), costs=study.costs,
                              safety=study.safety, convention=study.convention,  # type: ignore[arg-type]
                              signal_adjustment=study.signal_adjustment, quiet=True)  # type: ignore[arg-type]
            self._held[key] = buy_and_hold(result).equity.to_numpy()
        return self._held[key]

    def ground(self, at: Position) -> Ground:
        """The surface under a point, searched or not."""
        if at.ground not in self._grounds:
            values = {choice.name: choice.values for choice in self.choices(at.strategy)}
            self._grounds[at.ground] = Ground(self.study(at), self.whole(at), at.x, at.y, values[at.x], values[at.y],
                                              quick=(at.strategy, at.account) in self._quick)
            if len(self._grounds) > _GROUNDS:
                self._grounds.popitem(last=False)
        ground = self._grounds[at.ground]
        self._grounds.move_to_end(at.ground)
        if ground.done and ground.quick:
            self._quick.add((at.strategy, at.account))
        return ground

    def after(self, before: Position, at: Position) -> Position | None:
        """Where the next move leads if it goes on like the last one; None where that needs no other surface."""
        moved = [name for name, value in at.point.items() if before.point.get(name, value) != value]
        if len(moved) != 1 or moved[0] in (at.x, at.y) or before.strategy != at.strategy:
            return None
        values = next(choice.values for choice in self.choices(at.strategy) if choice.name == moved[0])
        if at.point[moved[0]] not in values or before.point[moved[0]] not in values:
            return None
        here = values.index(at.point[moved[0]])
        coming = here + (1 if here > values.index(before.point[moved[0]]) else -1)
        return at.moved(**{moved[0]: values[coming]}) if 0 <= coming < len(values) else None

    def honesty(self, at: Position) -> Honesty | None:
        """What is known of the honesty of a point; None while nothing is searched."""
        curve, ground, study = self.curve(at), self.ground(at), self.study(at)
        facts = self._facts.get(at.ground) or Facts(ground.points)
        if not ground.rows:
            return None
        return judged(facts, curve.equity[:study.split], curve.sharpe_in, study.bars.periods_per_year,
                      self._tried.get((at.strategy, at.account), 0))

    def words(self) -> str:
        """Where it stands, in words: the point, its plateau, and how honest its figures are."""
        at = self.at
        if not self.settled(at):
            return "The meter says it while you move; run this cell again to have it in words."
        found, curve, surface = self.honesty(at), self.curve(at), self.ground(at).surface(at.metric)
        assert found is not None
        around = surface.plateau(*surface.at(at.point))
        lines = [f"{at.strategy}: " + ", ".join(f"{name} = {value}" for name, value in at.point.items()),
                 f"Plateau, {at.metric}: {plateau_words(around.median, around.lowest, around.cells)}"]
        lines += [f"{one.name}: {one.figure} ({one.word}). {one.meaning}" for one in verdicts(found, curve.sharpe_out)]
        return "\n".join(lines)

    def settled(self, at: Position) -> bool:
        """Whether all is known."""
        return at.ground in self._facts

    def work_out(self, at: Position, ground: Ground, repository: Repository | None = None) -> None:
        """Log what was searched and see what the searching says of itself; takes about a second."""
        if repository is not None:
            self.log(at, ground, repository)
        if ground.done and at.ground not in self._facts:
            self._facts[at.ground] = ground.facts()

    def log(self, at: Position, ground: Ground, repository: Repository) -> None:
        """Write the trials of a surface, and of the point where it lies beside it, into the repository; once."""
        study, point = self.study(at), self.whole(at)
        data = trials.data_set(study.bars, self.settings.provider)
        while ground.results:
            trials.log(repository, ground.results[0], data, time=self.clock())
            ground.results.pop(0)
        if not ground.holds(point):
            alone = study.search(point, at.x, [point[at.x]], at.y, [point[at.y]])
            trials.log(repository, alone, data, time=self.clock())
        self._tried[at.strategy, at.account] = trials.tried(repository, study.strategy, data).trials

    # --- what is kept -------------------------------------------------------------------------------------------------

    def strategy_of(self, at: Position) -> Any:
        """The strategy at a point."""
        return self.study(at).made(self.whole(at))

    def spelled(self, at: Position) -> dict[str, Any]:
        """The strategy's section of a parameter file."""
        strategy = self.strategy_of(at)
        own = {f.name: at.point[f.name] for f in parameters(strategy) if f.name in at.point}
        mine = self.settings.strategy if at.strategy == self.settings.strategy["name"] else {"name": at.strategy}
        return spelled_out({**mine, **own}, strategy)

    def risk(self, at: Position) -> Risk:
        """The risk at a point."""
        return self.study(at).risk_of(at.point)
