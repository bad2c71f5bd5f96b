"""Strategies: the base, the shipped ones, and how they are loaded by name.

    load("mean_reversion_momentum", {"rsi_period": 10})
    load("notebooks/my_idea.py:MyIdea")
    load("my_package.ideas:MyIdea")
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from botlib.strategies.base import Strategy, StrategyLike, param

if TYPE_CHECKING:
    from botlib.strategies.blend import Blend
    from botlib.strategies.loading import describe, load, strategy_hash
    from botlib.strategies.mean_reversion_momentum import MeanReversionMomentum
    from botlib.strategies.momentum_rotation import MomentumRotation
    from botlib.strategies.moving_average_cross import MovingAverageCross
    from botlib.strategies.targets import check_targets, targets_from_signals

__all__ = ["SHIPPED", "Blend", "MeanReversionMomentum", "MomentumRotation", "MovingAverageCross", "Strategy",
           "StrategyLike", "check_targets", "describe", "load", "param", "strategy_hash", "targets_from_signals"]

# The strategies that ship, by the name that parameter files use.
SHIPPED = MappingProxyType({
    "blend": "botlib.strategies.blend:Blend",
    "mean_reversion_momentum": "botlib.strategies.mean_reversion_momentum:MeanReversionMomentum",
    "momentum_rotation": "botlib.strategies.momentum_rotation:MomentumRotation",
    "moving_average_cross": "botlib.strategies.moving_average_cross:MovingAverageCross",
})

# Loaded when first asked for: they bring numba along, and the shipped strategies need only one of them.
_LAZY = {
    **{spec.split(":")[1]: spec.split(":")[0] for spec in SHIPPED.values()},
    **dict.fromkeys(("describe", "load", "strategy_hash"), "botlib.strategies.loading"),
    **dict.fromkeys(("check_targets", "targets_from_signals"), "botlib.strategies.targets"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'botlib.strategies' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
