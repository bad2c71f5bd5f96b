"""Buy and hold: what the strategy has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from botlib import rules
from botlib.backtesting import warmup_bars
from botlib.metrics import metrics
from botlib.result import figures_page

if TYPE_CHECKING:
    from botlib.result import BacktestResult


@dataclass(frozen=True)
class Benchmark:
    """Equity (T,) in dollars and its `botlib.metrics.METRICS`; no trade is ever closed, so those of trades are NaN."""

    equity: pd.Series = field(repr=False)
    metrics: Mapping[str, float]

    def __repr__(self) -> str:
        first, last = self.equity.index[0].date(), self.equity.index[-1].date()
        return f"<Benchmark buy and hold, {first} to {last}: {self.metrics['total_return_pct']:.2f} %>"

    def _repr_html_(self) -> str:
        return figures_page(repr(self), {"Buy and hold": self.metrics})


def buy_and_hold(result: BacktestResult) -> Benchmark:
    """Equal dollars in each symbol, bought at the first open at which the strategy could have traded, held to the end.

    A symbol that begins later is bought at its first open; until then its part is cash. Fractional shares, the run's
    commission and slippage, splits applied, dividends kept as cash; a symbol whose bars end keeps its last close.
    """
    bars, costs = result.bars, result.costs
    n_bars, n_symbols = bars.shape
    share, paid, traded = result.cash / n_symbols, 0.0, 0.0
    equity, gross = np.full(n_bars, float(result.cash)), np.zeros(n_bars)
    for i in range(n_symbols):
        tradable = np.flatnonzero(bars.open[:, i] > 0.0)
        tradable = tradable[tradable > warmup_bars(result.strategy)]
        if not len(tradable):
            continue
        first = int(tradable[0])
        price = rules.slipped(rules.BUY, bars.open[first, i], costs.slippage_bps, 0.0, 0.0, 0.0)
        quantity = share / (price * (1.0 + costs.commission_bps / 10_000.0) + costs.commission_per_share)
        held, income = _held(result, i, first, quantity)
        close = pd.Series(bars.close[first:, i]).ffill().to_numpy()
        equity[first:] += held * close + income - share
        gross[first:] += held * close
        paid += share - quantity * bars.open[first, i]
        traded += share
    figures = metrics(equity, bars.index, periods_per_year=bars.periods_per_year, pnl=np.empty(0),
                      exposure=gross / equity, traded_value=traded, costs_paid=paid, sessions=bars.sessions)
    return Benchmark(pd.Series(equity, index=bars.index, name="buy and hold"), figures)


def _held(result: BacktestResult, i: int, first: int, quantity: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares held and dividends received so far, each (T - first,)."""
    n = len(result.bars) - first
    held, income = np.full(n, quantity), np.zeros(n)
    for action in result.book.given_actions:
        bar = int(action["bar"]) - first
        if int(action["symbol"]) != i or bar <= 0 or bar >= n:
            continue  # an ex-date on the day of the purchase is not ours
        if action["kind"] == 0:
            held[bar:] *= action["value"]
        else:
            income[bar:] += held[bar] * action["value"]
    return held, income
