"""What a sweep found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.errors import DataError, InputError, nearest
from botlib.metrics import curve_statistics
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.tuning.grid import Grid

METRICS = ("total_return_pct", "sharpe", "max_drawdown_pct", "trades")
"""Figures of each account at each point, as `botlib.metrics` defines them."""


def figures_of(equity: np.ndarray, periods_per_year: float, trades: int) -> tuple[float, float, float, float]:
    """`METRICS` of one account: of its equity at each close (T,), C-contiguous, and its number of trades."""
    curve = curve_statistics(equity, periods_per_year)
    return 100.0 * curve.total_return, curve.sharpe, 100.0 * curve.max_drawdown, float(trades)


@dataclass(frozen=True, eq=False)
class SweepResult:
    """Figures of every account at every point.

    Attributes
    ----------
    strategy : class
    grid : Grid
        The points.
    impossible : tuple of (int, str)
        Points that the strategy refuses, and its words; their figures are NaN.
    accounts : tuple of str
        Symbols, or "portfolio".
    figures : (accounts, M, 4) float64
        In the order of `METRICS`; a Sharpe ratio that is not defined, e.g. without a trade, is NaN, and so is all of
        a symbol that has no bars yet.
    equity : (accounts, M, T) float64 or None
        Dollars at each close, if it was asked for; NaN before a symbol's first bar.
    """

    strategy: type
    grid: Grid
    impossible: tuple[tuple[int, str], ...]
    accounts: tuple[str, ...]
    figures: np.ndarray
    equity: np.ndarray | None
    bars: Bars
    cash: float
    risk: Risk
    costs: Costs
    safety: SafetyControls | None
    convention: str
    signal_adjustment: str
    by: str
    decide_from: int = 0

    @property
    def table(self) -> pd.DataFrame:
        """(M, parameters): the points, by number (``combo``), in the order of the grid."""
        return self.grid.table

    def __len__(self) -> int:
        return len(self.grid)

    def together(self) -> np.ndarray:
        """(M, T) equity of the mean account, where equity was kept: as if the cash were divided among the accounts."""
        if self.equity is None:
            raise InputError("the sweep kept no equity: sweep(..., equity=True).")
        if len(self.accounts) == 1 and not np.isnan(self.equity[0, :, 0]).any():
            return self.equity[0]
        total = np.zeros(self.equity.shape[1:])
        for account in self.equity:
            known = ~np.isnan(account[0])  # the same bars at every point that is possible
            if not known.any():
                total += self.cash
            elif known.all():
                total += account
            else:  # before the first bar its cash, between two bars what it was
                last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
                total += np.where(last < 0, self.cash, account[:, np.maximum(last, 0)])
        return total / len(self.accounts)

    def metric(self, name: str) -> np.ndarray:
        """(accounts, M) of one figure."""
        if name not in METRICS:
            raise InputError(f"metric = {name!r} is unknown; valid: {', '.join(METRICS)}{nearest(name, METRICS)}")
        return self.figures[:, :, METRICS.index(name)]

    def frame(self, account: str | None = None) -> pd.DataFrame:
        """A row a point (and account, where there are several): parameters and figures."""
        names = self.accounts if account is None else (account,)
        parts = []
        for name in names:
            part = self.table.assign(**dict(zip(METRICS, self.figures[self._number(name)].T, strict=True)))
            if len(self.accounts) > 1:
                part.insert(0, "account", name)
            parts.append(part)
        return pd.concat(parts)

    def best(self, metric: str = "sharpe", account: str | None = None) -> dict[str, Any]:
        """The parameters with the highest figure, mean over accounts unless one is named; undefined ones never win.

        Raises
        ------
        DataError
            The figure is defined nowhere: nothing was traded, for example.
        """
        row = self.best_row(metric, account)
        if row is None:
            raise DataError(f"{metric} is defined at none of the {len(self):,} points: nothing was traded, perhaps.")
        return self.grid.at(row)[2]

    def best_row(self, metric: str = "sharpe", account: str | None = None) -> int | None:
        """The number of the point that `best` names; None where the figure is defined nowhere."""
        values = self.metric(metric)
        if account is not None:
            values = values[[self._number(account)]]
        values = values[~np.isnan(values).all(axis=1)]  # an account that is defined nowhere says nothing
        mean = values.sum(axis=0)  # NaN where any of the others has none
        return None if not len(values) or np.isnan(mean).all() else int(np.nanargmax(mean))

    def _number(self, account: str) -> int:
        if account not in self.accounts:
            raise InputError(f"account = {account!r} is unknown; valid: {', '.join(self.accounts)}"
                             f"{nearest(account, self.accounts)}")
        return self.accounts.index(account)

    def __repr__(self) -> str:
        return (f"SweepResult({self.strategy.__name__}, {len(self):,} points of {', '.join(self.grid.values)}, "
                f"{len(self.accounts)} accounts)")
