"""Several strategies on one account."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError, StrategyError
from botlib.strategies.base import MEMBERS, Strategy, own_warmup, param
from botlib.strategies.mean_reversion_momentum import MeanReversionMomentum
from botlib.strategies.momentum_rotation import MomentumRotation
from botlib.strategies.targets import check_targets

_NO_MORE = 1e-12  # a sum that differs from 0 by less is rounding


@dataclass(frozen=True)
class Blend(Strategy):
    """The weighted sum of several strategies' targets.

    ``Blend([MeanReversionMomentum(), MomentumRotation()], [0.6, 0.4])``, in a parameter file ``strategy: {name: blend,
    members: [{name: …, parameters …}, …], weights: [0.6, 0.4]}``. Members give ``targets(bars)``, all in one unit.

    NaN keeps: a member's last target counts until its next, one that has said nothing yet counts 0. The sum is a target
    on bars on which a member speaks, else NaN; a member that only repeats its 0 does not speak for the others. No
    member knows its fills: when a stop has closed what one of them holds, the next target of another opens it again.

    A target may so stand for ever, and what it was is known only from its bar on: whoever starts later, as a session
    that starts again does, sees less. ``memory`` bounds that: a target counts for so many bars, then 0, and belongs to
    the warm-up. Without it (None) the warm-up is that of the slowest member, which is too short, as
    `botlib.check_honesty` will say, when a member speaks rarely.
    """

    members: tuple[Any, ...] = dataclasses.field(
        default=(MeanReversionMomentum(), MomentumRotation()),
        metadata={MEMBERS: True, "help": "strategies; in a file each a map of name and parameters"})
    weights: tuple[float, ...] | None = param(None, help="of the members, above 0 to 1; None: equal, 1 in all")
    memory: int | None = param(None, low=1, high=100_000, help="bars a member's target counts; None: until its next")
    rebalance_tolerance_pct: float | None = param(
        None, low=0.0, high=100.0, help="distance from the target that is left alone, percent of equity; None: any")

    def __post_init__(self) -> None:
        members, weights = _checked_members(self.members), self.weights
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "weights", _checked_weights(weights, len(members)))
        object.__setattr__(self, "unit", members[0].unit)
        super().__post_init__()

    @property
    def warmup(self) -> int:
        """The longest of the members', and ``memory``."""
        return max(int(member.warmup) for member in self.members) + (self.memory or 0)

    def targets(self, bars: Bars) -> np.ndarray:
        """(T, N) sums of the members' targets; NaN (keep) on bars on which none speaks."""
        assert self.weights is not None
        total, speaks = np.zeros(bars.shape), np.zeros(bars.shape, dtype=bool)
        repeats = np.zeros(bars.shape, dtype=bool)  # a 0 that stood already
        for member, weight in zip(self.members, self.weights, strict=True):
            said = _said(member, bars, self.memory)
            stands = _carried(said)
            before = np.vstack([np.zeros((1, bars.shape[1])), stands[:-1]]) if len(bars) else stands
            news = ~np.isnan(said)
            silent = news & (stands == 0.0) & (before == 0.0)
            speaks |= news & ~silent
            repeats |= silent
            total += weight * stands
        total[np.abs(total) < _NO_MORE] = 0.0
        return np.where(speaks | (repeats & (total == 0.0)), total, np.nan)


def _said(member: Any, bars: Bars, memory: int | None) -> np.ndarray:
    """(T, N) targets of a member from its warm-up on, each symbol's own included; what is past ``memory`` becomes 0."""
    said = np.array(check_targets(member.targets(bars), bars, member))
    said[: int(member.warmup)] = np.nan
    for column, first in own_warmup(bars, int(member.warmup)).items():
        said[:first, column] = np.nan
    if memory is not None:
        rows = np.arange(len(said))[:, None]
        last = np.maximum.accumulate(np.where(np.isnan(said), -1, rows), axis=0)
        said[(last >= 0) & (rows - last == memory)] = 0.0
    return said


def _carried(said: np.ndarray) -> np.ndarray:
    """(T, N) the last target known at each bar, 0 before the first."""
    rows = np.arange(len(said))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(said), -1, rows), axis=0)
    stands: np.ndarray = np.where(last >= 0, np.take_along_axis(said, np.maximum(last, 0), axis=0), 0.0)
    return stands


def _checked_members(members: Any) -> tuple[Any, ...]:
    if not isinstance(members, Sequence) or isinstance(members, str) or not members:
        raise InputError(f"Blend.members = {members!r}: give a list of strategies, e.g. [MeanReversionMomentum(), "
                         "MomentumRotation()].")
    for number, member in enumerate(members, 1):
        name = getattr(member, "__name__", type(member).__name__)
        if isinstance(member, type):
            raise InputError(f"Blend.members, number {number}, is the class {name}; give an instance: {name}().")
        if hasattr(member, "on_bar"):
            raise StrategyError(f"Blend.members, number {number}: {name} decides in on_bar(view), which looks at its "
                                "own positions, and in a blend there is but one account; take strategies that define "
                                "targets(bars).")
        if not hasattr(member, "targets") or not hasattr(member, "warmup"):
            raise InputError(f"Blend.members, number {number} = {member!r}: it is no strategy; it needs targets(bars), "
                             "unit and warmup.")
    units = {getattr(member, "unit", None) for member in members}
    if len(units) > 1:
        said = ", ".join(f"{type(m).__name__} {getattr(m, 'unit', None)!r}" for m in members)
        raise StrategyError(f"Blend.members have different units: {said}. Blend strategies of one unit.")
    return tuple(members)


def _checked_weights(weights: Any, count: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0 / count,) * count
    if not isinstance(weights, Sequence) or isinstance(weights, str):
        raise InputError(f"Blend.weights = {weights!r}: give a list of numbers, one for each member.")
    if len(weights) != count:
        raise InputError(f"Blend.weights = {list(weights)!r} has {len(weights)} values for {count} members; give one "
                         "for each.")
    for number, weight in enumerate(weights, 1):
        real = isinstance(weight, numbers.Real) and not isinstance(weight, bool) and math.isfinite(weight)
        if not real or not 0.0 < weight <= 1.0:
            raise InputError(f"Blend.weights = {list(weights)!r}: number {number} is out of range: valid is above 0, "
                             "to 1 (0.5 is half of what the member asks for).")
    return tuple(float(weight) for weight in weights)
