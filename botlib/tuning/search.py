"""`search`: parameters in spaces too large for a grid, by Optuna. Each figure is a backtest's, as in a sweep.

Optuna keeps its own storage: a search that was interrupted goes on where it was. Its trials are trials: what is found
has been looked for that many times, and `botlib.trials.log` takes the result as it takes a sweep's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from botlib import backtesting
from botlib.bars import Bars
from botlib.errors import BotlibError, InputError, nearest
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.strategies.base import allowed_kinds, parameters
from botlib.tuning.grid import Grid, Point, risk_with
from botlib.tuning.result import METRICS, SweepResult
from botlib.tuning.running import By, Run, Terms, cores_here

_DEFAULT_RISK, _DEFAULT_COSTS, _DEFAULT_SAFETY = Risk(), Costs(), SafetyControls()
BATCH = 16
"""Points that are asked for at once: they share indicators and cores."""


@dataclass(frozen=True)
class Listed(Grid):
    """Points one by one instead of all combinations; ``listed``: strategy (None where it is refused), risk, values."""

    listed: tuple[tuple[Any, Risk, dict[str, Any]], ...] = ()

    def __len__(self) -> int:
        return len(self.listed)

    def at(self, row: int) -> tuple[Any, Risk, dict[str, Any]]:
        """Strategy, risk and values of one point. Raises `KeyError` for one that the strategy refuses."""
        if self.listed[row][0] is None:
            raise KeyError(row)
        return self.listed[row]

    def at_all(self) -> Iterator[dict[str, Any]]:
        """The parameters of each point, in their order."""
        return (dict(values) for _, _, values in self.listed)

    @cached_property
    def table(self) -> pd.DataFrame:
        """(M, parameters): a row a point."""
        return pd.DataFrame([values for _, _, values in self.listed], index=pd.RangeIndex(len(self), name="combo"),
                            columns=list(self.values))


def search(bars: Bars, strategy: type, space: Mapping[str, Any] | None = None, *, n_trials: int = 200,
           metric: str = "sharpe", seed: int = 0, storage: str | None = None, study_name: str | None = None,
           cash: float = 100_000.0, risk: Risk = _DEFAULT_RISK, costs: Costs = _DEFAULT_COSTS,
           safety: SafetyControls | None = _DEFAULT_SAFETY, convention: backtesting.Convention = "broker",
           signal_adjustment: backtesting.Adjustment = "split", by: By = "portfolio", decide_from: int = 0,
           threads: int | None = None, progress: Callable[[int, int], Any] | None = None) -> SweepResult:
    """Look for the parameters with the best figure (Optuna's TPE sampler).

    Parameters
    ----------
    space : mapping, optional
        By name (of the strategy's parameters, or fields of `Risk`): ``(low, high)``, ``(low, high, step)`` or ``(low,
        high, "log")``, ends included; or a list of values. Default: every parameter of the strategy that declares a
        range (`botlib.param`), within it.
    n_trials : int
        Points in all, those of an earlier part of the same search included.
    metric : str
        One of `METRICS`: the mean over the accounts. Where it is not defined (nothing was traded) a point counts as
        the worst.
    seed : int
        The same seed and data give the same points, in a search that was not interrupted.
    storage, study_name : str, optional
        Optuna's storage by URL, e.g. ``"sqlite:///outputs/optuna.db"``, and the name of the search in it; without, it
        is kept in memory.
    cash, risk, costs, safety, convention, signal_adjustment, by, decide_from, threads, progress
        As for `botlib.sweep`.

    Returns
    -------
    SweepResult
        Every point that was looked at, in that order; ``best()`` names the best.

    Raises
    ------
    InputError
        A parameter or a space that cannot be, Optuna missing, or a storage whose search was of something else.
    """
    sampled = _space(strategy, space)
    if metric not in METRICS:
        raise InputError(f"metric = {metric!r} is unknown; valid: {', '.join(METRICS)}{nearest(metric, METRICS)}")
    for name, value in (("n_trials", n_trials), *((("threads", threads),) if threads is not None else ())):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} = {value!r} must be a whole number of at least 1.")
    if (storage is None) != (study_name is None):
        raise InputError("storage and study_name belong together: where the search is kept, and under which name.")
    backtesting._check_inputs(bars, strategy(), cash, risk, costs, safety, convention, signal_adjustment)
    if convention == "broker":
        bars = backtesting._in_name_order(bars)
    terms = Terms(float(cash), costs, safety, convention, signal_adjustment,
                  "symbol" if len(bars.symbols) == 1 else by, decide_from, False)
    study = _study(seed, storage, study_name, _about(bars, strategy, risk, terms, metric))
    made = [_point(strategy, trial.params, sampled, risk) for trial in study.trials if trial.state.is_finished()]
    figures = [_figures(bars, strategy, made, terms, threads or cores_here(), sampled)]
    while len(made) < n_trials:
        asked = [study.ask() for _ in range(min(BATCH, n_trials - len(made)))]
        some = [_point(strategy, {n: _suggest(trial, n, one) for n, one in sampled.items()}, sampled, risk)
                for trial in asked]
        found = _figures(bars, strategy, some, terms, threads or cores_here(), sampled)
        for trial, value in zip(asked, found[:, :, METRICS.index(metric)].mean(axis=0).tolist(), strict=True):
            _tell(study, trial, value)
        made += some
        figures.append(found)
        if progress is not None:
            progress(len(made), n_trials)
    return SweepResult(strategy=strategy, grid=_listed(made, sampled), figures=np.concatenate(figures, axis=1),
                       impossible=tuple((n, words) for n, (_, words) in enumerate(made) if words),
                       accounts=bars.symbols if terms.by == "symbol" else ("portfolio",), equity=None, bars=bars,
                       cash=float(cash), risk=risk, costs=costs, safety=safety, convention=convention,
                       signal_adjustment=signal_adjustment, by=terms.by, decide_from=decide_from)


Made = tuple[tuple[Any, Risk, dict[str, Any]], str]
"""A point, and why the strategy refuses it."""


# --- what is looked for -----------------------------------------------------------------------------------------------


def _space(strategy: type, space: Mapping[str, Any] | None) -> dict[str, Any]:
    """By name (low, high, step or "log" or None, whole) or a list of values."""
    if not isinstance(strategy, type):
        raise InputError(f"strategy is a {type(strategy).__name__}; give the class, not an instance.")
    own = {f.name: f for f in parameters(strategy) if f.init}
    whole = {name: int in (kinds := allowed_kinds(f, strategy)) and float not in kinds for name, f in own.items()}
    if space is None:
        space = {name: (f.metadata["low"], f.metadata["high"]) for name, f in own.items()
                 if f.metadata.get("low") is not None and f.metadata.get("high") is not None}
    if not isinstance(space, Mapping) or not space:
        raise InputError(f"space is {space!r}; it must name parameters and their ranges, e.g. "
                         '{"rsi_period": (5, 30), "stop_loss_pct": [None, 3.0, 5.0]}.')
    made: dict[str, Any] = {}
    for name, given in space.items():
        if name not in own and name not in Risk.model_fields:
            valid = [*own, *Risk.model_fields]
            raise InputError(f"space: {name!r} is no parameter of {strategy.__name__} or Risk; valid: "
                             f"{', '.join(valid)}{nearest(name, valid)}")
        made[name] = _one(name, given, whole.get(name, False))
    return made


def _one(name: str, given: Any, whole: bool) -> Any:
    if isinstance(given, list) and given:
        return given
    numbers = given if isinstance(given, tuple) and len(given) in (2, 3) else ()
    ends, more = numbers[:2], numbers[2] if len(numbers) == 3 else None
    good = bool(numbers) and all(_number(v) for v in ends) and ends[0] < ends[1] and (
        more is None or (more == "log" and ends[0] > 0) or (_number(more) and more > 0))
    if not good or (whole and not all(float(v).is_integer() for v in numbers if v is not None and v != "log")):
        numbers_only = ", in whole numbers" if whole else ""
        raise InputError(f"space: {name} = {given!r} must be (low, high), (low, high, step) or (low, high, \"log\") "
                         f"with low below high{numbers_only}, or a list of values.")
    return (*ends, more, whole)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _suggest(trial: Any, name: str, one: Any) -> Any:
    if isinstance(one, list):
        return trial.suggest_categorical(name, one)
    low, high, more, whole = one
    step, log = (None, True) if more == "log" else (more, False)
    if whole:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(name, float(low), float(high), step=step, log=log)


def _point(strategy: type, values: Mapping[str, Any], sampled: Mapping[str, Any], risk: Risk) -> Made:
    values = {name: values[name] for name in sampled if name in values}
    own = {f.name for f in parameters(strategy) if f.init}
    try:
        limits = risk_with(risk, {n: v for n, v in values.items() if n not in own})
        return (strategy(**{n: v for n, v in values.items() if n in own}), limits, values), ""
    except InputError as error:
        return (None, risk, values), str(error)


def _listed(made: Sequence[Made], sampled: Mapping[str, Any]) -> Listed:
    points = [Point(one[0], np.array([n])) for n, (one, _) in enumerate(made) if one[0] is not None]
    return Listed(values={name: [] for name in sampled}, points=points, risks=[],
                  impossible=[(n, words) for n, (_, words) in enumerate(made) if words],
                  listed=tuple(one for one, _ in made))


def _figures(bars: Bars, strategy: type, made: Sequence[Made], terms: Terms, cores: int,
             sampled: Mapping[str, Any]) -> np.ndarray:
    """(accounts, points, 4); those with one risk in one run."""
    accounts = len(bars.symbols) if terms.by == "symbol" else 1
    figures = np.full((accounts, len(made), len(METRICS)), np.nan)
    by_risk: dict[str, list[int]] = {}
    for n, ((one, risk, _), _) in enumerate(made):
        if one is not None:
            by_risk.setdefault(risk.model_dump_json(), []).append(n)
    for rows in by_risk.values():
        points = [Point(made[n][0][0], np.array([k])) for k, n in enumerate(rows)]
        run = Run(bars, Grid({"point": rows}, points, [made[rows[0]][0][1]], []), terms)
        run.carry_out(cores)
        figures[:, rows] = run.figures
    return figures


# --- Optuna -----------------------------------------------------------------------------------------------------------


def _study(seed: int, storage: str | None, name: str | None, about: str) -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError("search needs Optuna: pip install 'botlib[optuna]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True,
            direction="maximize",  # drawdowns are at most 0
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
    except Exception as error:  # SQLAlchemy's, of a URL or a file that cannot be used
        raise InputError(f"storage cannot be used ({type(error).__name__}): it must be a URL such as "
                         "\"sqlite:///outputs/optuna.db\".") from None
    if study.user_attrs.get("about", about) != about:
        raise InputError(f"study_name = {name!r} is the name of a search with other bars, another version of the "
                         "strategy, or other costs, risk or metric: take another name.")
    study.set_user_attr("about", about)
    return study


def _about(bars: Bars, strategy: type, risk: Risk, terms: Terms, metric: str) -> str:
    from botlib.strategies.loading import source_hash

    safety = None if terms.safety is None else terms.safety.model_dump(mode="json")
    return json.dumps({"bars": bars.data_hash, "strategy": source_hash(strategy), "risk": risk.model_dump(mode="json"),
                       "costs": terms.costs.model_dump(mode="json"), "safety": safety, "cash": terms.cash,
                       "convention": terms.convention, "signal_adjustment": terms.signal_adjustment, "by": terms.by,
                       "decide_from": terms.decide_from, "metric": metric}, sort_keys=True, default=str)


def _tell(study: Any, trial: Any, value: float) -> None:
    from optuna.trial import TrialState

    if math.isnan(value):  # the sampler takes what was pruned for worse than all else
        study.tell(trial, state=TrialState.PRUNED)
        return
    try:
        study.tell(trial, value)
    except ValueError as error:
        raise BotlibError(f"Optuna does not take the figure {value!r}: {error}") from None
