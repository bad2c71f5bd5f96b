"""Follow the trend: long while the fast average is above the slow one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError
from botlib.indicators import crossed_above, crossed_below, sma
from botlib.strategies.base import Strategy, param
from botlib.strategies.targets import targets_from_signals


@dataclass(frozen=True)
class MovingAverageCross(Strategy):
    """Enters when the fast simple average crosses above the slow one, exits (or goes short) when it crosses below.

    Only the cross itself is a signal, not the state after it: a target that stood for the whole trend would buy back on
    the bar after every stop-out and make the stop worthless. So a trend that is stopped out, or already under way when
    the strategy starts, is left alone until the next cross.
    """

    fast: int = param(50, low=1, high=500, help="bars of the fast average")
    slow: int = param(200, low=2, high=1000, help="bars of the slow average")
    weight: float = param(0.10, low=0.001, high=1.0, help="fraction of equity in each position")
    allow_short: bool = param(False, help="sell short on a cross below")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise InputError(f"fast = {self.fast} must be below slow = {self.slow}.")

    @property
    def warmup(self) -> int:
        """The slow average on this bar and on the one before."""
        return self.slow

    def targets(self, bars: Bars) -> np.ndarray:
        """(T, N) target weights at crosses, NaN (keep) on all other bars."""
        fast, slow = sma(bars.close, self.fast), sma(bars.close, self.slow)
        up, down = crossed_above(fast, slow), crossed_below(fast, slow)
        if self.allow_short:
            return targets_from_signals(up, down, self.weight, short_entries=down, short_exits=up)
        return targets_from_signals(up, down, self.weight)
