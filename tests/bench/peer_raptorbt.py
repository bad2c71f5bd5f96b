"""raptorbt: a Rust engine fed with signal arrays, here from one DataFrame a symbol.

Its work differs from the others': its trades and equity stay arrays of its own (no table is built); on daily data it
enters again only on a fresh signal, so it makes fewer trades; its RSI is seeded with a simple mean (equal after the
warm-up). In w3 it divides the cash among at most ten positions, and its equity does not follow from its trades: compare
speed only.
"""

from __future__ import annotations

from collections.abc import Callable

import contest
import numpy as np
import pandas as pd
import raptorbt
from contest import Outcome, Workload

LONG = 1


def settings(workload: Workload, stop: float = contest.STOP, **more: int) -> raptorbt.BacktestConfig:
    config = raptorbt.BacktestConfig(
        initial_capital=contest.CASH, fees=contest.COMMISSION, slippage=contest.SLIPPAGE,
        fill_timing="next_bar_open", periods_per_year=float(workload.bars_a_year), **more)
    config.set_fixed_stop(stop)
    config.set_fixed_target(contest.TARGET)
    return config


def inputs(bars: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """Nanoseconds, OHLCV, entries and exits of one symbol."""
    prices = [bars[name].to_numpy() for name in ("Open", "High", "Low", "Close", "Volume")]
    close = prices[3]
    return bars.index.asi8, *prices, *contest.signals(close, raptorbt.rsi(close, contest.RSI_PERIOD))


def whole_shares() -> raptorbt.InstrumentConfig:
    return raptorbt.InstrumentConfig(lot_size=1.0)


def read(result: raptorbt.BacktestResult) -> Outcome:
    """Ask for everything that the others deliver."""
    equity, metrics = result.equity_curve(), result.metrics
    result.trades()
    _ = metrics.total_return_pct, metrics.sharpe_ratio, metrics.max_drawdown_pct
    return metrics.total_closed_trades, equity[-1]


def one_stock(workload: Workload) -> Callable[[], Outcome]:
    bars, symbol = workload.stock(), workload.symbols[0]

    def run() -> Outcome:
        result = raptorbt.run_single_backtest(
            *inputs(bars), direction=LONG, symbol=symbol, config=settings(workload),
            position_sizes=np.full(len(bars), contest.POSITION), instrument_config=whole_shares())
        return read(result)

    return run


def shared_cash(workload: Workload) -> Callable[[], Outcome]:
    frames = {symbol: workload.stock(symbol) for symbol in workload.symbols}

    def run() -> Outcome:
        stocks = [(*inputs(bars), LONG, contest.POSITION, symbol) for symbol, bars in frames.items()]
        lots = {symbol: whole_shares() for symbol in frames}
        config = settings(workload, max_positions=round(1 / contest.POSITION))
        return read(raptorbt.run_portfolio_backtest(stocks, config, "equal_weight", lots).result)

    return run


def search(workload: Workload) -> Callable[[], Outcome]:
    """Its own batches, which share bars and run on all cores; conditions are made once for each threshold."""
    frames = [workload.stock(symbol) for symbol in workload.symbols]
    configs = {stop: settings(workload, stop=stop) for stop in contest.STOPS}
    batch = max(10, min(len(contest.GRID), 10_000_000 // len(workload.index)))  # its results keep their curves

    def run() -> Outcome:
        figures = []
        for bars in frames:
            prices = [bars[name].to_numpy() for name in ("Open", "High", "Low", "Close", "Volume")]
            close, sizes = prices[3], np.full(len(bars), contest.POSITION)
            strengths = {period: raptorbt.rsi(close, period) for period in contest.PERIODS}
            enter = {(p, x): contest.signals(close, strengths[p], oversold=x)[0]
                     for p in contest.PERIODS for x in contest.OVERSOLDS}
            leave = {(p, x): contest.signals(close, strengths[p], overbought=x)[1]
                     for p in contest.PERIODS for x in contest.OVERBOUGHTS}
            for first in range(0, len(contest.GRID), batch):
                items = [raptorbt.BatchSingleItem(f"{n}", enter[p, low], leave[p, high], LONG, 1.0, "X", configs[stop],
                                                  sizes, whole_shares())
                         for n, (p, low, high, stop) in enumerate(contest.GRID[first:first + batch])]
                for _, result in raptorbt.batch_single_backtest(bars.index.asi8, *prices, items, configs[contest.STOP]):
                    m = result.metrics
                    figures.append((m.total_return_pct / 100, m.sharpe_ratio, m.max_drawdown_pct,
                                    m.total_closed_trades))
        return contest.outcome(np.array(figures))

    return run


def prepare(workload: Workload) -> Callable[[], Outcome]:
    if contest.is_sweep(workload.name):
        return search(workload)
    return one_stock(workload) if len(workload.symbols) == 1 else shared_cash(workload)


if __name__ == "__main__":
    contest.compete("raptorbt", prepare, ("w1-d", "w1-real", "w1-m", "w2-d", "w2-m", "w3"))
