"""backtesting.py: one stock, an event loop in Python.

Its spread is paid on entries only, so exits carry no slippage and its equity differs a little; the trades are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import contest
from backtesting import Backtest, Strategy
from contest import Outcome, Workload


class MeanReversion(Strategy):
    def init(self) -> None:
        self.rsi = self.I(contest.wilder_rsi, self.data.Close, plot=False)

    def next(self) -> None:
        close = self.data.Close
        ready = len(close) > contest.LOOKBACK
        if not self.trades:
            if ready and self.rsi[-1] < contest.OVERSOLD and close[-1] > close[-1 - contest.LOOKBACK]:
                self.buy(size=contest.POSITION)
            return
        trade = self.trades[0]
        if ready and self.rsi[-1] > contest.OVERBOUGHT:
            trade.sl = trade.tp = None  # the exit at the next open comes before any level inside that bar
            trade.close()
        elif trade.sl is None:  # first seen at the entry bar's close: the levels work from the next bar on
            trade.tp = trade.entry_price * (1 + contest.TARGET)
            trade.sl = trade.entry_price * (1 - contest.STOP)  # the one set last is looked at first


def prepare(workload: Workload) -> Callable[[], Outcome]:
    bars = workload.stock()

    def run() -> Outcome:
        stats = Backtest(bars, MeanReversion, cash=contest.CASH, spread=contest.SLIPPAGE,
                         commission=contest.COMMISSION, finalize_trades=False).run()
        return stats["# Trades"], stats["_equity_curve"]["Equity"].iloc[-1]

    return run


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="backtesting")
    contest.compete("backtesting.py", prepare, ("w1-d", "w1-real", "w1-m"))
