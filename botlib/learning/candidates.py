"""Which points are tried: a few values on either side of those that are set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botlib.errors import InputError, nearest
from botlib.params import Risk
from botlib.strategies.base import parameters
from botlib.tuning.choices import RISK, Choice, choices_of

MOST_NAMES, MOST_POINTS = 4, 2_000
_SIZE = "weight"
_SLACK = 1.0 + 1e-9


@dataclass(frozen=True)
class Candidates:
    """The points that are tried.

    Attributes
    ----------
    current : dict
        The point that is set: what is estimated, and whatever else is not a default.
    values : dict of tuple
        By parameter that is estimated, in order, the current value among them.
    ladders : dict of tuple
        All values of these parameters: what is next to which.
    """

    current: Mapping[str, Any]
    values: Mapping[str, tuple[Any, ...]]
    ladders: Mapping[str, tuple[Any, ...]]

    @property
    def points(self) -> int:
        return math.prod(len(values) for values in self.values.values())

    def grid(self) -> dict[str, list[Any]]:
        """For `botlib.sweep`: what is not estimated has its one value."""
        return {**self.only(self.current), **{name: list(values) for name, values in self.values.items()}}

    def only(self, point: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The grid of one point."""
        return {name: [value] for name, value in {**self.current, **point}.items()}

    def beside(self, point: Mapping[str, Any], name: str) -> list[Any]:
        """The values of a parameter next to a point's own on its ladder."""
        ladder = self.ladders[name]
        at = ladder.index(point[name])
        return [ladder[n] for n in (at - 1, at + 1) if 0 <= n < len(ladder)]


def candidates(strategy: Any, risk: Risk, *, estimate: Iterable[str] | None = None,
               values: Mapping[str, Iterable[Any]] | None = None, steps: int = 16, reach: int = 1,
               max_change_pct: float = 50.0) -> Candidates:
    """The points around a strategy's parameters.

    Parameters
    ----------
    strategy : object
        With the parameters that are set.
    risk : Risk
        Its stop and target are parameters like others where ``estimate`` names them.
    estimate : iterable of str, optional
        None: the strategy's first `MOST_NAMES` numbers with a declared range; sizes are no question of when to trade.
    values : mapping, optional
        Values of a person's own, by name: all of them are tried, whatever they change.
    steps, reach, max_change_pct
        As `botlib.learn_config.LearnParams` has them.

    Raises
    ------
    InputError
        A name that cannot be estimated, none that can, or too many points.
    """
    given = {name: list(v) for name, v in (values or {}).items()}
    known = {c.name: c for c in choices_of(strategy, risk, given, steps) if _is_number(c.value)}
    names = list(dict.fromkeys([*(_usual(strategy, known) if estimate is None else estimate), *given]))
    for name in names:
        if name not in known:
            raise InputError(f"estimate: {name!r} is no number of {type(strategy).__name__} with a range, or it is not "
                             f"set{nearest(name, known) or '.'} Valid: {', '.join(known) or 'none'}.")
    if not names:
        raise InputError(f"strategy {type(strategy).__name__} has no number with a declared range, so there is nothing "
                         "to learn; declare ranges with botlib.param(…, low=…, high=…), or name some in estimate.")
    ladders = {name: tuple(v for v in known[name].values if v is not None) for name in names}
    ladders |= {name: _apart(known[name].value, ladders[name]) for name in names if name not in given}
    tried = {name: ladders[name] if name in given else _around(known[name].value, ladders[name], reach, max_change_pct)
             for name in names}
    own = {f.name: f for f in parameters(strategy) if f.init}
    fixed = {name: getattr(strategy, name) for name, f in own.items()
             if name not in names and getattr(strategy, name) != f.default}
    found = Candidates({**fixed, **{name: known[name].value for name in names}}, tried, ladders)
    if found.points > MOST_POINTS:
        raise InputError(f"estimate: {' x '.join(str(len(v)) for v in tried.values())} = {found.points:,} points are "
                         f"more than {MOST_POINTS:,}; name fewer parameters, or take a smaller reach.")
    return found


def bounded(current: Any, proposed: Any, ladder: tuple[Any, ...], max_change_pct: float) -> bool:
    """Whether a change is at most so many percent of the current value, or one step of the ladder."""
    near = abs(proposed - current) <= abs(current) * max_change_pct / 100.0 * _SLACK
    return near or (current in ladder and proposed in ladder
                    and abs(ladder.index(proposed) - ladder.index(current)) <= 1)


def _usual(strategy: Any, known: Mapping[str, Choice]) -> list[str]:
    ranged = [f.name for f in parameters(strategy)
              if f.metadata.get("low") is not None and f.metadata.get("high") is not None]
    return [name for name in ranged if name in known and name not in RISK and _SIZE not in name][:MOST_NAMES]


def _apart(value: Any, ladder: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without a rung that the current value, put between two, all but stands on: a step that is none shows nothing."""
    at = ladder.index(value)
    if not 0 < at < len(ladder) - 1:
        return ladder
    gap = ladder[at + 1] - ladder[at - 1]
    close = {n for n in (at - 1, at + 1) if abs(ladder[n] - value) < gap / 3.0}
    return tuple(v for n, v in enumerate(ladder) if n not in close)


def _around(value: Any, ladder: tuple[Any, ...], reach: int, max_change_pct: float) -> tuple[Any, ...]:
    at = ladder.index(value)
    near = ladder[max(0, at - reach):at + reach + 1]
    return tuple(v for v in near if bounded(value, v, ladder, max_change_pct))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
