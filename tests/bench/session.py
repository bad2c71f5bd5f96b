"""What an iteration of a session costs beside the broker's and the provider's calls.

    python tests/bench/session.py [SYMBOLS ...] [--passes 40]

In process, on a local exchange; the ledger is SQLite in a temporary folder, fsync included and shown by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine_helpers import make_bars
from exchange_helpers import sessions
from session_helpers import Stage

import botlib


class Every:
    """A third of the symbols change their target at each bar."""

    unit, warmup, rebalance_tolerance_pct = "weight", 5, None

    def targets(self, bars: Any) -> np.ndarray:
        t, n = np.mgrid[: len(bars), : len(bars.symbols)]
        return np.where((t + n) % 3 == 0, np.where((t + n) % 2 == 0, 0.9 / len(bars.symbols), 0.0), np.nan)


def spent_in(thing: Any, totals: list[float]) -> None:
    """Add up the time of all public calls of an object: seconds by the clock, and of the processor."""
    depth = [0]

    def timed(call: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            depth[0] += 1
            begun, cpu = time.perf_counter(), time.process_time()
            try:
                return call(*args, **options)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    totals[0] += time.perf_counter() - begun
                    totals[1] += time.process_time() - cpu
        return run

    for name in dir(thing):
        if not name.startswith("_") and callable(getattr(type(thing), name, None)):
            setattr(thing, name, timed(getattr(thing, name)))


def measure(symbols: int, passes: int) -> None:
    rng = np.random.default_rng(1)
    names = [f"S{i:03d}" for i in range(symbols)]
    closes = 50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, (passes + 260, symbols)), axis=0)
    bars = make_bars({s: [tuple(np.round([p, p * 1.01, p * 0.99, p], 2)) for p in closes[:, n]]
                      for n, s in enumerate(names)}, sessions(passes + 260, "2020-01-02"), calendar="XNYS")
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(bars, Every(), Path(folder), first=255, cash=1e7, values={
            "risk": botlib.Risk(max_position_pct=50.0, stop_loss_pct=5.0, take_profit_pct=10.0)})
        begun = time.perf_counter()
        session = stage.begin().session
        started = time.perf_counter() - begun
        away, inside, busy, commits = [0.0, 0.0], [], [], [0.0]
        spent_in(session.broker, away)
        spent_in(session.feed.provider, away)
        writing = session.recorder.repository.writing
        session.recorder.repository.writing = lambda *a, **k: _Timed(writing(*a, **k), commits)
        for _ in range(passes):
            stage.exchange.advance()
            away[:] = 0.0, 0.0
            begun, cpu = time.perf_counter(), time.process_time()
            session.step()
            inside.append((time.perf_counter() - begun - away[0]) * 1000.0)
            busy.append((time.process_time() - cpu - away[1]) * 1000.0)
        begun = time.perf_counter()
        state = session.core.state()
        state_ms = (time.perf_counter() - begun) * 1000.0
        print(f"{symbols} symbols: {statistics.median(inside[3:]):.1f} ms an iteration beside broker and provider "
              f"(worst {max(inside[3:]):.1f}; {statistics.median(busy[3:]):.1f} ms of processor), "
              f"of it commits {commits[0] * 1000.0 / passes:.1f} ms; start {started:.2f} s; "
              f"state() {state_ms:.1f} ms, {len(json.dumps(state)) / 1e3:.0f} kB, "
              f"{len(session.core.positions())} positions, {len(session.core.working)} orders")
        stage.close()


class _Timed:
    """A transaction, its end timed: that is where the disk is waited for."""

    def __init__(self, inner: Any, total: list[float]) -> None:
        self.inner, self.total = inner, total

    def __enter__(self) -> Any:
        return self.inner.__enter__()

    def __exit__(self, *what: Any) -> Any:
        begun = time.perf_counter()
        try:
            return self.inner.__exit__(*what)
        finally:
            self.total[0] += time.perf_counter() - begun


def memory(passes: int) -> None:
    """Bytes that a session's core grows by, over so many round trips."""
    from session_helpers import at, plan
    from test_booking import LIST, begun, daily, filled, says

    from botlib import engine

    core = begun(bars=daily(*LIST))
    core.fill(filled("entry1", 100.0, 100.0))
    says(core, "entry1", "filled", filled_qty=100.0)
    tracemalloc.start()
    first = 0
    for n in range(passes):
        engine.submit_order(core.book.world, core.t, 0, 1, 5.0, 1, 99.0, 0.0)
        core.number_orders()
        for intent in plan(core, at("2024-03-05 16:20")).submits:
            core.record(intent)
            core.dropped(intent, "test")
        core.tidy()
        if n == passes // 10:
            first = tracemalloc.get_traced_memory()[0]
    grown = (tracemalloc.get_traced_memory()[0] - first) / 1e6
    print(f"core: {grown:+.2f} MB from iteration {passes // 10} to {passes}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("symbols", nargs="*", type=int, default=[5, 500])
    parser.add_argument("--passes", type=int, default=30)
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="instead: memory over N iterations")
    given = parser.parse_args()
    if given.memory:
        memory(given.memory)
    else:
        for count in given.symbols:
            measure(count, given.passes)
