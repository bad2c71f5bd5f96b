"""vectorbt (open source) with its Rust engine, the fastest it has.

Its work differs: in w3 a position is 10 % of the free cash, not of equity, so it makes more and smaller trades.
"""

from __future__ import annotations

from collections.abc import Callable

import contest
import numpy as np
import vectorbt as vbt
from contest import Outcome, Workload


def delayed(condition: np.ndarray) -> np.ndarray:
    """A condition known at a close acts at the next bar."""
    return np.concatenate([np.zeros_like(condition[:1]), condition[:-1]])


def prepare(workload: Workload) -> Callable[[], Outcome]:
    year = f"{workload.bars_a_year} {'min' if workload.intraday else 'days'}"
    vbt.settings.returns["year_freq"] = year  # its default year has 365 days
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
    contest.compete("vectorbt", prepare, ("w1-d", "w1-real", "w1-m", "w3"))
