"""Buy weakness in a rising market: RSI mean reversion behind a momentum filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError
from botlib.indicators import risen, rsi
from botlib.strategies.base import Strategy, param
from botlib.strategies.targets import targets_from_signals


@dataclass(frozen=True)
class MeanReversionMomentum(Strategy):
    """Long only: enters when RSI is below ``oversold`` while price has risen over ``momentum_lookback`` bars.

    Exits when RSI is above ``overbought``. Both conditions are levels: while the first one holds, a position that was
    stopped out is entered again.
    """

    rsi_period: int = param(14, low=2, high=200, help="bars of Wilder's RSI")
    oversold: float = param(30.0, low=1.0, high=99.0, help="RSI below this enters")
    overbought: float = param(70.0, low=1.0, high=99.0, help="RSI above this exits")
    momentum_lookback: int = param(200, low=1, high=1000, help="bars over which price must have risen")
    weight: float = param(0.10, low=0.001, high=1.0, help="fraction of equity in each position")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oversold >= self.overbought:
            raise InputError(f"oversold = {self.oversold:g} must be below overbought = {self.overbought:g}.")

    @property
    def warmup(self) -> int:
        """Wilder's averages need 20 periods to forget how they were seeded (exp(-20) of the seed is left)."""
        return max(self.momentum_lookback, 20 * self.rsi_period)

    def generate_signals(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """(entries, exits), each (T, N) bool, known at the bar's close; no entry before bar ``momentum_lookback``."""
        strength = rsi(bars.close, self.rsi_period, seed="first")
        rising = risen(bars.close, self.momentum_lookback)
        return (strength < self.oversold) & rising, strength > self.overbought

    def targets(self, bars: Bars) -> np.ndarray:
        """(T, N) target weights: ``weight`` on an entry, 0 on an exit, NaN (keep) otherwise."""
        entries, exits = self.generate_signals(bars)
        return targets_from_signals(entries, exits, self.weight)
