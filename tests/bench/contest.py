"""What every contender of the benchmark shares: the rules, the data, the signals, and the one line of JSON it prints.

A contender is a script called as ``script WORKLOAD REPS``. It is timed from data in memory to trades, equity and
metrics. Needs numpy and pandas only, because it runs in each peer's own environment.

The strategy, long only: Wilder's RSI below 35 while the close is above that of 200 bars ago buys 10 % of equity; RSI
above 65 sells; nothing is decided before bar 200. Stop 5 % and target 10 % from the slipped entry fill, from the bar
after the entry on. Signals fill at the next open, 2 bps slippage and 5 bps commission on each fill, whole shares, cash
100,000.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RSI_PERIOD = 14
OVERSOLD = 35.0
OVERBOUGHT = 65.0
LOOKBACK = 200
STOP = 0.05
TARGET = 0.10
CASH = 100_000.0
POSITION = 0.10
COMMISSION = 0.0005
SLIPPAGE = 0.0002

# A sweep is each of these combinations on each symbol, an account of its own every time; the last changes fastest.
PERIODS = (6, 8, 10, 12, 14, 16, 18, 20, 22, 24)
OVERSOLDS = (20.0, 25.0, 30.0, 35.0, 40.0)
OVERBOUGHTS = (60.0, 65.0, 70.0, 75.0)
STOPS = (0.02, 0.03, 0.05, 0.08, 0.10)
GRID = tuple(itertools.product(PERIODS, OVERSOLDS, OVERBOUGHTS, STOPS))

DATA_SETS = {"w1-d": "d1", "w1-real": "real", "w1-m": "m1", "w2-d": "d5", "w2-m": "m1", "w3": "d500"}

Outcome = tuple[int, float]  # closed trades, equity at the last close; of a sweep their sum and their mean


def is_sweep(name: str) -> bool:
    return name.startswith("w2")


def outcome(figures: np.ndarray) -> Outcome:
    """Of a sweep: (accounts, 4), total return as a fraction first and closed trades last."""
    return int(figures[:, 3].sum()), CASH * (1.0 + float(figures[:, 0].mean()))


@dataclass(frozen=True)
class Workload:
    """Data of one workload; each panel is a (T, N) frame, columns are symbols."""

    name: str
    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    open: pd.DataFrame
    high: pd.DataFrame
    low: pd.DataFrame
    close: pd.DataFrame
    volume: pd.DataFrame

    @property
    def intraday(self) -> bool:
        return self.name.endswith("-m")

    @property
    def bars_a_year(self) -> int:
        return 252 * (390 if self.intraday else 1)

    def stock(self, symbol: str | None = None) -> pd.DataFrame:
        """One symbol's bars (the first by default): Open High Low Close Volume."""
        symbol = symbol or self.symbols[0]
        panels = {"Open": self.open, "High": self.high, "Low": self.low, "Close": self.close, "Volume": self.volume}
        columns = {name: panel[symbol].to_numpy(copy=True) for name, panel in panels.items()}
        return pd.DataFrame(columns, index=self.index)


def load_arrays(name: str) -> dict[str, np.ndarray]:
    """A workload's arrays from the folder that the variable BENCH_DATA names (``python data.py FOLDER`` makes it)."""
    path = Path(os.environ.get("BENCH_DATA", ".bench/data")) / f"{DATA_SETS[name]}.npz"
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def load(name: str) -> Workload:
    """A workload's data as wide frames."""
    arrays = load_arrays(name)
    index = pd.DatetimeIndex(arrays["ts"].astype("datetime64[ns]"))
    symbols = tuple(str(symbol) for symbol in arrays["syms"])
    panels = {field: pd.DataFrame(arrays[field], index=index, columns=list(symbols))
              for field in ("open", "high", "low", "close", "volume")}
    return Workload(name, index, symbols, **panels)


def wilder_rsi(close: np.ndarray, period: int = RSI_PERIOD) -> np.ndarray:
    """RSI of one price series: exponential means with alpha = 1 / period, seeded with the first change."""
    change = pd.Series(close).diff()
    gain = change.clip(lower=0).ewm(alpha=1 / period, adjust=False).mean()
    loss = change.clip(upper=0).abs().ewm(alpha=1 / period, adjust=False).mean()
    return (100 * gain / (gain + loss)).to_numpy()


def signals(close: np.ndarray, rsi: np.ndarray, oversold: float | np.ndarray = OVERSOLD,
            overbought: float | np.ndarray = OVERBOUGHT) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit conditions at each close; works along the first axis of (T,) or (T, N)."""
    rising = np.zeros(close.shape, bool)
    rising[LOOKBACK:] = close[LOOKBACK:] > close[:-LOOKBACK]
    leave = rsi > overbought
    leave[:LOOKBACK] = False
    return (rsi < oversold) & rising, leave


def peak_memory_mb() -> float:
    """Largest resident size of this process and of its largest child, in MB; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 2**20 if platform.system() == "Darwin" else 2**10  # bytes there, kilobytes elsewhere
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit


def compete(peer: str, prepare: Callable[[Any], Callable[[], Outcome]], workloads: tuple[str, ...],
            arguments: list[str] | None = None, load: Callable[[str], Any] = load) -> None:
    """Time one contender and print its line.

    ``prepare(load(WORKLOAD))`` is not timed and gives the function that is: once to warm up, then REPS times. REPS 0
    reports the first, cold call alone.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 2 or arguments[0] not in workloads or not arguments[1].isdigit():
        sys.exit(f"usage: {Path(sys.argv[0]).name} {'|'.join(workloads)} REPS")
    name, reps = arguments[0], int(arguments[1])
    run = prepare(load(name))
    seconds = []
    for _ in range(1 + reps):
        start = time.perf_counter()
        trades, equity = run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({
        "peer": peer, "workload": name, "seconds": seconds[1:] or seconds, "first_s": seconds[0], "scaled_by": 1,
        "peak_rss_mb": round(peak_memory_mb(), 1), "n_trades": int(trades), "final_equity": float(equity),
    }))
