"""Make the benchmark's data sets: ``python data.py FOLDER``.

One ``.npz`` a data set, each with ``ts`` (int64 nanoseconds), ``syms`` and open, high, low, close, volume
as (bars, symbols) float64:

    d1     one synthetic stock, 2,500 daily bars
    m1     one synthetic stock, 200,000 one-minute bars of regular sessions
    d5     AAPL, IBM and MSFT of that package and two synthetic stocks, 2,500 daily bars
    d500   500 synthetic stocks that share a market factor, 2,500 daily bars
    real   AAPL, adjusted, its last 2,500 daily bars in the package bokeh_sampledata (left out where that is missing)

Prices are geometric Brownian motion walked in small steps inside each bar, so that high and low are those of a path.
Every data set has its own seed: the same numbers on every machine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FIELDS = ("open", "high", "low", "close", "volume")
DAYS = 2_500
MINUTES = 200_000
SESSION = 390  # minutes of a regular session
YEAR = 252
SETS = ("d1", "m1", "d5", "d500", "real")


@dataclass(frozen=True)
class Walk:
    """How one kind of bar is walked.

    ``steps`` inside a bar; ``gap``: overnight jump as a fraction of the bar's volatility (0: none);
    ``log_volume``: mean of the log of a bar's volume.
    """

    steps: int
    gap: float
    log_volume: float


DAILY = Walk(steps=26, gap=0.3, log_volume=12.0)
MINUTE = Walk(steps=6, gap=0.0, log_volume=8.0)


def walk_bars(rng: np.random.Generator, walk: Walk, volatility: np.ndarray, drift: float, start: float,
              market: np.ndarray | None = None, beta: float = 0.0) -> np.ndarray:
    """(T, 5) bars from a log-price path; ``volatility`` (T,) and ``drift`` are per bar.

    ``market``: (T, steps) standard normal shocks shared by all stocks, mixed in with correlation ``beta``.
    """
    bars = volatility.size
    sigma = volatility[:, None] / np.sqrt(walk.steps)
    shocks = rng.standard_normal((bars, walk.steps))
    if market is not None:
        shocks = beta * market + np.sqrt(1 - beta**2) * shocks
    moves = (drift / walk.steps - 0.5 * sigma**2) + sigma * shocks
    jump = np.zeros(bars)
    if walk.gap:
        jump = walk.gap * sigma[:, 0] * np.sqrt(walk.steps) * rng.standard_normal(bars)
    moves[:, 0] += jump

    path = np.log(start) + np.cumsum(moves).reshape(bars, walk.steps)
    before = np.concatenate([[np.log(start)], path[:-1, -1]])
    path = np.exp(np.column_stack([before + jump, path]))
    prices = np.column_stack([path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]])
    volume = np.round(rng.lognormal(walk.log_volume, 0.6, bars))
    return np.column_stack([np.maximum(np.round(prices, 2), 0.01), volume])


def daily_stock(rng: np.random.Generator, market: np.ndarray | None = None) -> np.ndarray:
    """A stock with 18-55 % yearly volatility and 0-15 % drift, at 20-300 dollars (drawn in this order)."""
    volatility = rng.uniform(0.18, 0.55) / np.sqrt(YEAR)
    drift = rng.uniform(0.0, 0.15) / YEAR
    start = rng.uniform(20, 300)
    return walk_bars(rng, DAILY, np.full(DAYS, volatility), drift, start, market, beta=0.5)


def minute_stock(rng: np.random.Generator) -> np.ndarray:
    """30 % yearly volatility in a U over the session, 8 % drift, at 100 dollars."""
    u_shape = 0.6 + 1.2 * np.linspace(-1, 1, SESSION) ** 2
    u_shape /= np.sqrt((u_shape**2).mean())
    sessions = MINUTES // SESSION + 1
    volatility = 0.30 / np.sqrt(YEAR * SESSION) * np.tile(u_shape, sessions)[:MINUTES]
    return walk_bars(rng, MINUTE, volatility, 0.08 / (YEAR * SESSION), 100.0)


def weekdays(count: int) -> np.ndarray:
    return np.busday_offset("2014-01-02", np.arange(count), roll="forward").astype("datetime64[ns]")


def session_minutes(count: int) -> np.ndarray:
    """Bar starts from 09:30 on, 390 a weekday."""
    opens = weekdays(count // SESSION + 1)[:, None] + np.timedelta64(9 * 60 + 30, "m")
    return (opens + np.arange(SESSION) * np.timedelta64(1, "m")).ravel()[:count]


def real_stock(symbol: str) -> tuple[np.ndarray, np.ndarray]:
    """A stock adjusted by its adjusted close, rounded to 4 decimals; high and low widened where rounding crossed
    them."""
    from bokeh_sampledata import stocks

    found = getattr(stocks, symbol)
    raw = {name: np.array(found[name], float) for name in (*FIELDS, "adj_close")}
    factor = raw["adj_close"] / raw["close"]
    prices = {name: np.round(raw[name] * factor, 4)[-DAYS:] for name in FIELDS[:4]}
    body = (prices["open"], prices["close"])
    prices["high"] = np.maximum.reduce([prices["high"], *body])
    prices["low"] = np.minimum.reduce([prices["low"], *body])
    stamps = np.array(found["date"], "datetime64[ns]")[-DAYS:]
    return stamps, np.column_stack([*(prices[name] for name in FIELDS[:4]), raw["volume"][-DAYS:]])


def data_set(name: str) -> dict[str, np.ndarray]:
    """The arrays of one data set. Raises ImportError for "real" and "d5" without bokeh_sampledata."""
    if name == "d1":
        stamps, symbols, stocks = weekdays(DAYS), ["SYN0"], [daily_stock(np.random.default_rng(7))]
    elif name == "m1":
        stamps, symbols, stocks = session_minutes(MINUTES), ["SYNM"], [minute_stock(np.random.default_rng(11))]
    elif name == "d500":
        rng = np.random.default_rng(13)
        market = rng.standard_normal((DAYS, DAILY.steps))
        stamps, symbols = weekdays(DAYS), [f"S{i:03d}" for i in range(500)]
        stocks = [daily_stock(rng, market) for _ in symbols]
    elif name == "real":
        stamps, aapl = real_stock("AAPL")
        symbols, stocks = ["AAPL"], [aapl]
    elif name == "d5":
        rng = np.random.default_rng(7)
        stamps, symbols = weekdays(DAYS), ["AAPL", "IBM", "MSFT", "SYN0", "SYN1"]
        stocks = [*(real_stock(symbol)[1] for symbol in symbols[:3]), daily_stock(rng), daily_stock(rng)]
    else:
        raise ValueError(f"no data set {name!r}; there are {', '.join(SETS)}")
    panels = np.stack(stocks, axis=2)  # (T, fields, N)
    columns = {field: np.ascontiguousarray(panels[:, i]) for i, field in enumerate(FIELDS)}
    return {"ts": stamps.astype("int64"), "syms": np.array(symbols), **columns}


def write(folder: Path) -> list[str]:
    """Write what is missing in ``folder``; the names written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in SETS:
        path = folder / f"{name}.npz"
        if path.exists():
            continue
        try:
            arrays = data_set(name)
        except ImportError:
            print(f"{name}: left out, it needs the package bokeh_sampledata", file=sys.stderr)
            continue
        part = path.with_suffix(".part.npz")
        np.savez(part, **arrays)
        part.replace(path)
        written.append(name)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
