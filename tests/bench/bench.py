"""botlib's own entry: ``python bench.py [--convention C] [--tables | --from-frame] WORKLOAD REPS``.

Calls what any user calls: `Bars`, `backtest` and a strategy of ten lines around the shipped one. Timed from `Bars` in
memory to array-backed equity, trades and all metrics; ``--tables`` builds every table too, ``--from-frame`` times the
checked way in from a data frame instead. A sweep is timed from the files' arrays to the figures of every account.
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
COSTS = botlib.Costs(commission_bps=1e4 * contest.COMMISSION, slippage_bps=1e4 * contest.SLIPPAGE,
                     regulatory_fees=False)


def bars_of(name: str) -> botlib.Bars:
    """The workload's panels as `Bars`, unchecked and without a copy."""
    arrays = contest.load_arrays(name)
    index = pd.DatetimeIndex(arrays["ts"].astype("datetime64[ns]")).tz_localize("America/New_York")
    fields = {field: arrays[field] for field in ("open", "high", "low", "close", "volume")}
    interval = "1m" if name.endswith("-m") else "1d"
    return botlib.Bars(index, [str(s) for s in arrays["syms"]], **fields, interval=interval)


def long_frame(name: str) -> pd.DataFrame:
    """The workload as ``download_bars`` returns it: MultiIndex (symbol, timestamp)."""
    workload = contest.load(name)
    index = workload.index.tz_localize("America/New_York")
    return pd.concat({s: workload.stock(s).set_axis(index).rename(columns=str.lower) for s in workload.symbols},
                     names=["symbol", "timestamp"])


STRATEGY = Contestant()


def run(bars: botlib.Bars, convention: str, tables: bool) -> contest.Outcome:
    result = botlib.backtest(bars, STRATEGY, cash=contest.CASH, risk=RISK, costs=COSTS, safety=None,
                             convention=convention, quiet=True)
    metrics = result.metrics
    if tables:
        result.equity, result.trades, result.orders, result.fills, result.halts, result.exposure  # noqa: B018
    return int(metrics["trades"]), metrics["final_equity"]


def search(bars: botlib.Bars, convention: str) -> contest.Outcome:
    """Every combination on every symbol, by itself."""
    grid = {"rsi_period": contest.PERIODS, "oversold": contest.OVERSOLDS, "overbought": contest.OVERBOUGHTS,
            "stop_loss_pct": [100 * stop for stop in contest.STOPS]}
    result = botlib.sweep(bars, Contestant, grid, cash=contest.CASH, risk=RISK, costs=COSTS, safety=None,
                          convention=convention, by="symbol")
    figures = result.figures.reshape(-1, 4)
    return contest.outcome(figures / [100.0, 1.0, 100.0, 1.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convention", choices=["textbook", "broker"], default="textbook")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--from-frame", action="store_true")
    options, rest = parser.parse_known_args()

    def prepare(name: str) -> Callable[[], contest.Outcome]:
        if options.from_frame:
            frame = long_frame(name)
            return lambda: (0, float(botlib.Bars.from_frame(frame, calendar=None).close[-1].sum()))
        if contest.is_sweep(name):
            return lambda: search(bars_of(name), options.convention)
        bars = bars_of(name)
        return lambda: run(bars, options.convention, options.tables)

    label = "from_frame" if options.from_frame else options.convention + (" tables" if options.tables else "")
    contest.compete(f"botlib {label}", prepare, tuple(contest.DATA_SETS), rest, load=str)


if __name__ == "__main__":
    main()
