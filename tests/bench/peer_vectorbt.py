"""vectorbt (open source) with its Rust engine, the fastest it has.

Its work differs: in w3 a position is 10 % of the free cash, not of equity, so it makes more and smaller trades.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context

import contest
import numpy as np
import pandas as pd
import vectorbt as vbt
from contest import Outcome, Workload


def delayed(condition: np.ndarray) -> np.ndarray:
    """A condition known at a close acts at the next bar."""
    return np.concatenate([np.zeros_like(condition[:1]), condition[:-1]])


CELLS = 250_000  # bars times combinations of a part: more costs memory, fewer time
GRID = np.array(contest.GRID)


def part_of(given: tuple[pd.DataFrame, np.ndarray, np.ndarray, bool]) -> np.ndarray:
    """Figures of some combinations on one stock: (combinations, 4)."""
    bars, strengths, grid, intraday = given
    strength = strengths[:, np.searchsorted(contest.PERIODS, grid[:, 0])]
    enter, leave = contest.signals(bars["Close"].to_numpy()[:, None], strength, grid[:, 1], grid[:, 2])
    portfolio = vbt.Portfolio.from_signals(
        bars["Close"], delayed(enter), delayed(leave), open=bars["Open"], high=bars["High"], low=bars["Low"],
        price=bars["Open"], size=contest.POSITION, size_type="percent", size_granularity=1.0, init_cash=contest.CASH,
        fees=contest.COMMISSION, slippage=contest.SLIPPAGE, sl_stop=grid[None, :, 3], tp_stop=contest.TARGET,
        stop_entry_price="fillprice", stop_exit_price="stopmarket", freq="1min" if intraday else "1D")
    figures = np.column_stack([portfolio.total_return(), portfolio.sharpe_ratio(), portfolio.max_drawdown(),
                               portfolio.trades.closed.count()])
    if len(bars) * len(grid) > CELLS // 2 and intraday:
        del portfolio
        gc.collect()  # a portfolio refers to itself, so that many of them wait to be collected
    return figures


def search(workload: Workload, processes: int) -> Callable[[], Outcome]:
    frames = [workload.stock(symbol) for symbol in workload.symbols]
    step = max(10, min(len(GRID), CELLS // len(workload.index)))

    def run() -> Outcome:
        parts = []
        for bars in frames:
            strengths = vbt.RSI.run(bars["Close"], window=[2 * p - 1 for p in contest.PERIODS], ewm=True).rsi.to_numpy()
            parts += [(bars, strengths, GRID[n:n + step], workload.intraday) for n in range(0, len(GRID), step)]
        if processes == 1:
            return contest.outcome(np.concatenate([part_of(one) for one in parts]))
        with get_context("fork").Pool(processes) as pool:
            return contest.outcome(np.concatenate(pool.map(part_of, parts, chunksize=1)))

    return run


def prepare(workload: Workload, processes: int = 1) -> Callable[[], Outcome]:
    year = f"{workload.bars_a_year} {'min' if workload.intraday else 'days'}"
    vbt.settings.returns["year_freq"] = year  # its default year has 365 days
    if contest.is_sweep(workload.name):
        return search(workload, processes)
    alone = len(workload.symbols) == 1
    panels = [panel.iloc[:, 0] if alone else panel
              for panel in (workload.open, workload.high, workload.low, workload.close)]
    sharing = {} if alone else {"group_by": True, "cash_sharing": True, "call_seq": "auto"}

    def run() -> Outcome:
        open_, high, low, close = panels
        # Wilder's mean of n is an exponential mean of span 2n - 1.
        rsi = vbt.RSI.run(close, window=2 * contest.RSI_PERIOD - 1, ewm=True).rsi
        enter, leave = contest.signals(close.to_numpy(), rsi.to_numpy().reshape(close.shape))
        portfolio = vbt.Portfolio.from_signals(
            close, delayed(enter), delayed(leave), open=open_, high=high, low=low, price=open_,
            size=contest.POSITION, size_type="percent", size_granularity=1.0, init_cash=contest.CASH,
            fees=contest.COMMISSION, slippage=contest.SLIPPAGE, sl_stop=contest.STOP, tp_stop=contest.TARGET,
            stop_entry_price="fillprice", stop_exit_price="stopmarket",
            freq="1min" if workload.intraday else "1D", **sharing)
        # Its readable table walks the whole index twice; this one is as complete and far cheaper.
        trades = portfolio.trades.records
        trades["entry_time"] = workload.index[trades["entry_idx"].to_numpy()]
        trades["exit_time"] = workload.index[trades["exit_idx"].to_numpy()]
        equity = portfolio.value()
        portfolio.total_return(), portfolio.sharpe_ratio(), portfolio.max_drawdown()
        return int((trades["status"] == 1).sum()), float(equity.iloc[-1])

    return run


if __name__ == "__main__":
    vbt.settings["engine"] = "auto"  # Rust where it is installed
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    options, rest = parser.parse_known_args()
    contest.compete("vectorbt", partial(prepare, processes=options.processes),
                    ("w1-d", "w1-real", "w1-m", "w2-d", "w2-m", "w3"), rest)
