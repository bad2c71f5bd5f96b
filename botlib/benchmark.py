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
from botlib.wording import total_return

if TYPE_CHECKING:
    from botlib.result import BacktestResult

_PRECISION = 1e-10  # of a purchase: a hundred-thousandth of a dollar in 100,000


@dataclass(frozen=True)
class Benchmark:
    """Equity (T,) in dollars and its `botlib.metrics.METRICS`; no trade is ever closed, so those of trades are NaN."""

    equity: pd.Series = field(repr=False)
    metrics: Mapping[str, float]

    def __repr__(self) -> str:
        first, last = self.equity.index[0].date(), self.equity.index[-1].date()
        return f"<Benchmark buy and hold, {first} to {last}: {total_return(self.metrics)}>"

    def _repr_html_(self) -> str:
        return figures_page(repr(self), {"Buy and hold": self.metrics})


def buy_and_hold(result: BacktestResult) -> Benchmark:
    """Equal dollars in each symbol, bought at the first open at which the strategy could have traded, held to the end.

    That open is the first after the warm-up, of a regular bar: outside of the session orders wait. (In the textbook
    convention, of any bar.) A symbol that begins later is bought at its first such open; until then its part is cash.

    Each purchase costs what `botlib.rules` makes the strategy's own market order cost: slippage, volume impact, the
    commission with its minimum and, on the days that have one, the CAT fee, rounded as there. Nothing is sold, so no
    SEC fee and no TAF fall due, and nothing is borrowed. A part that does not pay for its commission stays cash.

    Not the strategy's: shares are fractional, and no volume cap, stop, target, size or safety limit holds it back.
    Splits are applied, dividends are cash from the ex-date on; a symbol whose bars end keeps its last close.
    """
    bars = result.bars
    n_bars, n_symbols = bars.shape
    share, paid, traded = result.cash / n_symbols, 0.0, 0.0
    equity, gross = np.full(n_bars, float(result.cash)), np.zeros(n_bars)
    open_to_us = np.arange(n_bars) > warmup_bars(result.strategy)
    if result.convention == "broker":
        open_to_us &= bars.in_session
    for i in range(n_symbols):
        tradable = np.flatnonzero(open_to_us & (bars.open[:, i] > 0.0))
        if not len(tradable):
            continue
        first = int(tradable[0])
        quantity = _affordable(result, i, first, share)
        if not quantity > 0.0:
            continue
        price, cost = _purchase(result, i, first, quantity)
        held, income = _held(result, i, first, quantity)
        close = pd.Series(bars.close[first:, i]).ffill().to_numpy()
        equity[first:] += held * close + income - (quantity * price + cost)
        gross[first:] += held * close
        paid += quantity * (price - bars.open[first, i]) + cost
        traded += quantity * price
    figures = metrics(equity, bars.index, periods_per_year=bars.periods_per_year, pnl=np.empty(0),
                      exposure=gross / equity, traded_value=traded, costs_paid=paid, sessions=bars.sessions)
    return Benchmark(pd.Series(equity, index=bars.index, name="buy and hold"), figures)


def _purchase(result: BacktestResult, i: int, bar: int, quantity: float) -> tuple[float, float]:
    """Price, and commission and fees, of a market order to buy at a bar's open."""
    bars, costs, textbook = result.bars, result.costs, result.convention == "textbook"
    price = float(rules.slipped(rules.BUY, float(bars.open[bar, i]), costs.slippage_bps, costs.volume_impact_bps,
                                quantity, float(bars.volume[bar, i])))
    price = price if textbook else float(rules.round_fill(price))
    cost = float(rules.commission(quantity, price, costs.commission_bps, costs.commission_per_share,
                                  costs.commission_min))
    if textbook:  # nothing is rounded, and there are no fees
        return price, cost
    cost = float(rules.cents_up(cost))
    if costs.regulatory_fees:
        rates = result.book.given_fees
        row = rates[max(0, int(np.searchsorted(rates["session"], bars.sessions[bar], side="right")) - 1)]
        cost += float(rules.regulatory_fees(rules.BUY, quantity, price, float(row["sec_rate"]),
                                            float(row["taf_per_share"]), float(row["taf_max"]),
                                            float(row["cat_per_share"])))
    return price, cost


def _affordable(result: BacktestResult, i: int, bar: int, dollars: float) -> float:
    """The most shares these dollars pay for, costs in; 0.0 when they do not pay for the costs."""
    def fits(quantity: float) -> bool:
        price, cost = _purchase(result, i, bar, quantity)
        return quantity * price + cost <= dollars

    low, high = 0.0, dollars / float(result.bars.open[bar, i])
    if fits(high):
        return high
    nearly, precise = 0.99 * high, _PRECISION * high
    if fits(nearly):
        low = nearly
    while high - low > precise:  # impact and minimum leave no closed form
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


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
