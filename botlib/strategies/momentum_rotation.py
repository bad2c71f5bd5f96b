"""Hold the strongest symbols, chosen once a month."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError
from botlib.indicators import roc
from botlib.strategies.base import Strategy, param


@dataclass(frozen=True)
class MomentumRotation(Strategy):
    """Cross-sectional 12-1 momentum: the ``top_n`` symbols by the return from ``lookback`` to ``skip`` bars ago.

    Decided at the close of the first bar of each month: whether a bar is a month's last is known only after it. The
    latest month is skipped because short-term returns tend to revert (Jegadeesh and Titman 1993).
    """

    lookback: int = param(252, low=2, high=2000, help="bars back where the return starts")
    skip: int = param(21, low=0, high=500, help="latest bars left out of the return")
    top_n: int = param(2, low=1, high=1000, help="symbols to hold")
    max_weight: float = param(0.10, low=0.001, high=1.0, help="largest weight of a symbol; less if 1 / top_n is less")
    rebalance_tolerance_pct: float = param(1.0, low=0.0, high=100.0,
                                           help="distance from the target that is left alone, percent of equity")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skip >= self.lookback:
            raise InputError(f"skip = {self.skip} must be below lookback = {self.lookback}.")

    @property
    def warmup(self) -> int:
        """The first bar whose return has its start in the history."""
        return self.lookback

    def targets(self, bars: Bars) -> np.ndarray:
        """(T, N) target weights on the first bar of each month, 0 for the rest; NaN (keep) on all other bars."""
        score = roc(bars.close, self.lookback - self.skip, lag=self.skip)
        months = bars.sessions.astype("datetime64[D]").astype("datetime64[M]")
        first_of_month = np.zeros(len(bars), dtype=bool)
        first_of_month[1:] = months[1:] != months[:-1]
        first_of_month[: self.lookback] = False

        out = np.full(bars.shape, np.nan)
        out[first_of_month] = self._weights(score[first_of_month], bars.symbols)
        return out

    def _weights(self, score: np.ndarray, symbols: tuple[str, ...]) -> np.ndarray:
        """Equal weights for the best known scores of each row; a tie goes to the symbol that sorts first by name."""
        by_name = np.argsort(symbols)
        best_first = by_name[np.argsort(-score[:, by_name], axis=1, kind="stable")]  # NaN sorts last
        held = best_first[:, : self.top_n]
        known = ~np.isnan(np.take_along_axis(score, held, axis=1))
        weights = np.zeros(score.shape)
        np.put_along_axis(weights, held, np.where(known, min(1.0 / self.top_n, self.max_weight), 0.0), axis=1)
        return weights
