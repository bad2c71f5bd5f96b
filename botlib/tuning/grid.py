"""Parameter points of a sweep: what a grid means, which of its points are possible, and how many is too many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from botlib.errors import InputError, nearest
from botlib.params import Risk
from botlib.strategies.base import parameters

MAX_COMBOS = 100_000
"""Points that a sweep takes without being told to."""


@dataclass(frozen=True)
class Point:
    """One strategy with its parameters.

    Attributes
    ----------
    strategy : object
    rows : (K,) int64
        Numbers in the grid of the points that use it, one with each of the grid's risks.
    """

    strategy: Any
    rows: np.ndarray


@dataclass(frozen=True)
class Grid:
    """The points of a sweep.

    Attributes
    ----------
    values : dict of list
        By name; a point is a combination of them, the last name changing fastest.
    points : list of Point
        The possible ones, by strategy.
    risks : list of Risk
        K of them.
    impossible : list of (int, str)
        Numbers of points that the strategy itself refuses, and its words.
    """

    values: dict[str, list[Any]]
    points: list[Point]
    risks: list[Risk]
    impossible: list[tuple[int, str]]

    def __len__(self) -> int:
        return math.prod(len(v) for v in self.values.values())

    def at(self, row: int) -> tuple[Any, Risk, dict[str, Any]]:
        """Strategy, risk and values of one point. Raises `KeyError` for one that the strategy refuses."""
        for point in self.points:
            found = np.flatnonzero(point.rows == row)
            if len(found):
                values = _at(self.values, row)
                return point.strategy, self.risks[int(found[0])], {name: values[name] for name in self.values}
        raise KeyError(row)

    def at_all(self) -> Iterator[dict[str, Any]]:
        """The parameters of each point, in their order."""
        names = list(self.values)
        return (dict(zip(names, combo, strict=True)) for combo in itertools.product(*self.values.values()))

    @cached_property
    def table(self) -> pd.DataFrame:
        """(M, parameters): a row a point."""
        columns, every = {}, len(self)
        for name, given in self.values.items():
            every //= len(given)
            column = pd.Series(given, dtype=object).infer_objects()
            columns[name] = column.array.take(np.arange(len(self)) // every % len(given))
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self), name="combo"))


def grid_of(strategy: type, grid: Mapping[str, Iterable[Any]], risk: Risk, max_combos: int) -> Grid:
    """All combinations of values, the last name changing fastest.

    Parameters
    ----------
    strategy : class
    grid : mapping
        Values by name: parameters of the strategy, or fields of `Risk` (e.g. ``stop_loss_pct``; None: no such leg).
    risk : Risk
        What the grid leaves open.
    max_combos : int

    Raises
    ------
    InputError
        An unknown name, no value, a value out of its range, no possible point, or more points than ``max_combos``.
    """
    values = {str(name): _values(str(name), given) for name, given in _mapping(grid).items()}
    own = {f.name for f in parameters(strategy) if f.init}
    for name in values:
        if name not in own and name not in Risk.model_fields:
            valid = [*sorted(own), *Risk.model_fields]
            raise InputError(f"grid: {name!r} is no parameter of {strategy.__name__} or Risk; valid: {', '.join(valid)}"
                             f"{nearest(name, valid)}")
    count = math.prod(len(v) for v in values.values())
    if count > max_combos:
        sizes = " x ".join(f"{len(v)} {name}" for name, v in values.items())
        raise InputError(f"grid: {count:,} combinations ({sizes}) are more than max_combos = {max_combos:,}; take "
                         f"fewer values, or say max_combos={count} if you can wait for them.")
    _check_alone(strategy, values, own, risk)
    return Grid(values, *_points(strategy, values, own, risk))


def _mapping(grid: Any) -> Mapping[str, Iterable[Any]]:
    if not isinstance(grid, Mapping) or not grid:
        raise InputError(f"grid is {grid!r}; it must name parameters and their values, e.g. "
                         '{"rsi_period": [10, 14, 20], "stop_loss_pct": [3.0, 5.0]}.')
    return grid


def _values(name: str, given: Any) -> list[Any]:
    """Values of one parameter as Python's own, none twice."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InputError(f"grid: {name} = {given!r} must be a list of values, e.g. [{given!r}].")
    values: list[Any] = [v.item() if isinstance(v, np.generic) else v for v in given]
    if not values:
        raise InputError(f"grid: {name} has no values; give at least one, or leave it out.")
    try:
        twice = len(set(values)) < len(values)
    except TypeError:
        raise InputError(f"grid: {name} holds values that are neither numbers nor words.") from None
    if twice:
        again = next(v for n, v in enumerate(values) if v in values[:n])
        raise InputError(f"grid: {name} holds {again!r} twice.")
    return values


def _check_alone(strategy: type, values: Mapping[str, Sequence[Any]], own: set[str], risk: Risk) -> None:
    """Each value of `Risk` must be possible by itself; of the strategy's parameters, at least in one combination."""
    for name in values:
        if name not in own:
            for value in values[name]:
                risk_with(risk, {name: value})


def risk_with(risk: Risk, changes: Mapping[str, Any]) -> Risk:
    """``risk`` with other values; whole numbers are taken for floats."""
    if not changes:
        return risk
    known = risk.model_dump()
    return Risk(**known | {n: float(v) if isinstance(v, int) and isinstance(known[n], float | None) and not
                           isinstance(v, bool) else v for n, v in changes.items()})


def _points(strategy: type, values: Mapping[str, Sequence[Any]], own: set[str],
            risk: Risk) -> tuple[list[Point], list[Risk], list[tuple[int, str]]]:
    mine, others = [n for n in values if n in own], [n for n in values if n not in own]
    numbers = np.arange(math.prod(len(v) for v in values.values())).reshape([len(v) for v in values.values()])
    names = list(values)
    numbers = numbers.transpose([names.index(name) for name in (*mine, *others)])
    numbers = numbers.reshape(math.prod(len(values[name]) for name in mine), -1)
    risks = [risk_with(risk, dict(zip(others, combo, strict=True)))
             for combo in itertools.product(*(values[name] for name in others))]
    points, impossible, alive = [], [], {name: set[Any]() for name in mine}
    for combo, rows in zip(itertools.product(*(values[name] for name in mine)), numbers, strict=True):
        try:
            points.append(Point(strategy(**dict(zip(mine, combo, strict=True))), rows))
        except InputError as error:
            impossible += [(int(row), str(error)) for row in rows]
            continue
        for name, value in zip(mine, combo, strict=True):
            alive[name].add(value)
    impossible.sort()
    if not points:
        raise InputError(f"grid: none of the {len(impossible):,} combinations is possible; the first: "
                         f"{impossible[0][1]}")
    for name in mine:  # a value that no point can have is a slip, not a corner of the grid
        for value in values[name]:
            if value not in alive[name]:
                words = next(text for row, text in impossible if _at(values, row)[name] == value)
                raise InputError(f"grid: {name} = {value!r} is not possible in any combination: {words}")
    return points, risks, impossible


def _at(values: Mapping[str, Sequence[Any]], row: int) -> dict[str, Any]:
    """The values of one point."""
    found: dict[str, Any] = {}
    for name in reversed(list(values)):
        row, n = divmod(row, len(values[name]))
        found[name] = values[name][n]
    return found
