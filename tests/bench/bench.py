"""botlib's own entry: ``python bench.py [--convention C] [--tables | --from-frame] WORKLOAD REPS``.

Calls what any user calls: `Bars`, `backtest` and a strategy of ten lines around the shipped one. Timed from `Bars` in
memory to array-backed equity, trades and all metrics; ``--tables`` builds every table too, ``--from-frame`` times the
checked way in from a data frame instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import contest
import pandas as pd

import botlib
from botlib.strategies import MeanReversionMomentum


@dataclass(frozen=True)
class Contestant(MeanReversionMomentum):
    """The shipped strategy with the contest's thresholds; the contest decides from bar 200 on, warmed up or not."""

    oversold: float = contest.OVERSOLD
    overbought: float = contest.OVERBOUGHT
    warmup = contest.LOOKBACK


RISK = botlib.Risk(max_position_pct=100 * contest.POSITION, stop_loss_pct=100 * contest.STOP,
                   take_profit_pct=100 * contest.TARGET)
COSTS = botlib.Costs(commission_bps=1e4 * contest.COMMISSION, slippage_bps=1e4 * contest.SLIPPAGE, regulatory_fees=False)


def bars_of(workload: contest.Workload) -> botlib.Bars:
    """The workload's panels as `Bars`, unchecked."""
    fields = {name: getattr(workload, name).to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return botlib.Bars(workload.index.tz_localize("America/New_York"), workload.symbols, **fields,
                       interval="1m" if workload.intraday else "1d")


def long_frame(workload: contest.Workload) -> pd.DataFrame:
    """The workload as ``download_bars`` returns it: MultiIndex (symbol, timestamp)."""
    index = workload.index.tz_localize("America/New_York")
    return pd.concat({s: workload.stock(s).set_axis(index).rename(columns=str.lower) for s in workload.symbols},
                     names=["symbol", "timestamp"])


def run(bars: botlib.Bars, convention: str, tables: bool) -> contest.Outcome:
    result = botlib.backtest(bars, Contestant(), cash=contest.CASH, risk=RISK, costs=COSTS, safety=None,
                             convention=convention, quiet=True)
    metrics = result.metrics
    if tables:
        result.equity, result.trades, result.orders, result.fills, result.halts, result.exposure  # noqa: B018
    return int(metrics["trades"]), metrics["final_equity"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convention", choices=["textbook", "broker"], default="textbook")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--from-frame", action="store_true")
    options, rest = parser.parse_known_args()

    def prepare(workload: contest.Workload) -> Callable[[], contest.Outcome]:
        if options.from_frame:
            frame = long_frame(workload)
            return lambda: (0, float(botlib.Bars.from_frame(frame, calendar=None).close[-1].sum()))
        bars = bars_of(workload)
        return lambda: run(bars, options.convention, options.tables)

    label = "from_frame" if options.from_frame else options.convention + (" tables" if options.tables else "")
    contest.compete(f"botlib {label}", prepare, tuple(contest.DATA_SETS), rest)


if __name__ == "__main__":
    main()
