"""Every trial counts: what a strategy was tried on is written down once, however often it is shown.

A trial is a distinct (source of the strategy, point, data set, costs and rules). The data set is named by where its
bars come from, not by the bars: new ones do not make the count begin again. Trials of earlier versions of a strategy of
the same name count too, since the same eyes have seen them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.strategies.loading import source_hash

if TYPE_CHECKING:
    from botlib.repository import Repository
    from botlib.tuning.result import SweepResult


@dataclass(frozen=True, slots=True)
class Tried:
    """What has been tried of a strategy on a data set.

    Attributes
    ----------
    trials : int
        Distinct ones.
    sharpe_variance : float
        Of their Sharpe ratios a bar (ddof 1, `botlib.overfit.deflated_sharpe` takes it); NaN for fewer than two that
        are defined.
    best : float
        The highest of these ratios; NaN when none is defined.
    """

    trials: int
    sharpe_variance: float
    best: float


def data_set(bars: Any, provider: str) -> dict[str, Any]:
    """The name of a data set: where its bars come from, which symbols, how long a bar is."""
    return {"provider": provider, "symbols": sorted(bars.symbols), "interval": bars.interval}


def log(repository: Repository, result: SweepResult, data: Mapping[str, Any], *, time: pd.Timestamp,
        environ: Mapping[str, str] | None = None) -> int:
    """Write the points of a sweep down; how many were new.

    Nothing is written while tests run (``PYTEST_CURRENT_TEST``): they try nothing out.

    Parameters
    ----------
    data : mapping
        From `data_set`.
    time : pandas.Timestamp
        When they were first seen.
    """
    if "PYTEST_CURRENT_TEST" in (os.environ if environ is None else environ):
        return 0
    risk = {name: value for name, value in result.risk.model_dump(mode="json").items()
            if name not in result.grid.values}
    terms = {"cash": result.cash, "risk": risk, "costs": result.costs.model_dump(mode="json"),
             "convention": result.convention, "by": result.by,
             "safety": None if result.safety is None else result.safety.model_dump(mode="json"),
             "signal_adjustment": result.signal_adjustment}
    source, name = source_hash(result.strategy), result.strategy.__qualname__
    study = _key({"source": source, "strategy": name, "data": dict(data), "terms": terms})
    ratios = result.metric("sharpe").mean(axis=0) / math.sqrt(result.bars.periods_per_year)
    bars = len(result.bars) - 1 - result.decide_from
    left_out = {row for row, _ in result.impossible}
    defaults = _defaults(result.strategy)
    points = [(_text(defaults | point), None if math.isnan(ratio) else float(ratio), bars)
              for row, (point, ratio) in enumerate(zip(result.grid.at_all(), ratios, strict=True))
              if row not in left_out]
    with repository.writing() as tx:
        return tx.trials(study, strategy=name, source=source, data_key=_key(data), data=data, terms=terms,
                         points=points, time=time)


def tried(repository: Repository, strategy: type, data: Mapping[str, Any]) -> Tried:
    """All that has been tried of a strategy on a data set, by whatever version of it, with whatever costs."""
    found = repository.trials(strategy.__qualname__, _key(data))
    ratios = found["sharpe"].dropna().to_numpy(dtype=np.float64)
    return Tried(len(found), float(np.var(ratios, ddof=1)) if len(ratios) > 1 else math.nan,
                 float(ratios.max()) if len(ratios) else math.nan)


def _defaults(strategy: type) -> dict[str, Any]:
    """A parameter that a grid leaves out has its default: named, it is the same trial."""
    made = strategy()
    return {name: getattr(made, name) for name in getattr(strategy, "__dataclass_fields__", {})}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _key(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()
