"""What an iteration of a session costs beside the broker's and the provider's calls.

    python tests/bench/session.py [SYMBOLS ...] [--passes 40]

In process, on a local exchange; the ledger is SQLite in a temporary folder, fsync included and shown by itself. Times
by the clock and of the processor (this thread's): the latter hardly depend on what else the machine does. "Decision to
request" is from the strategy's answer to the first new order's POST, without broker calls and COMMITs between.
"""

from __future__ import annotations

import argparse
import gc
import json
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
from botlib.repository import store
from botlib.sandbox.transport import SandboxAdapter


class Every:
    """A third of the symbols change their target at each bar."""

    unit, warmup, rebalance_tolerance_pct = "weight", 5, None

    def targets(self, bars: Any) -> np.ndarray:
        t, n = np.mgrid[: len(bars), : len(bars.symbols)]
        return np.where((t + n) % 3 == 0, np.where((t + n) % 2 == 0, 0.9 / len(bars.symbols), 0.0), np.nan)


def now() -> np.ndarray:
    """Seconds by the clock, and of the processor for this thread."""
    return np.array([time.perf_counter(), time.thread_time()])


def spent_in(thing: Any, total: np.ndarray) -> None:
    """Add up the time of all public calls of an object."""
    depth = [0]

    def timed(call: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            depth[0] += 1
            begun = now()
            try:
                return call(*args, **options)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    total[:] += now() - begun
        return run

    for name in dir(thing):
        if not name.startswith("_") and callable(getattr(type(thing), name, None)):
            setattr(thing, name, timed(getattr(thing, name)))


class Sending:
    """From the strategy's answer to the first POST of a new order, pass by pass; ``beside`` does not count."""

    def __init__(self, session: Any, *beside: np.ndarray) -> None:
        self.took: list[np.ndarray] = []
        self._since: np.ndarray | None = None
        self._beside = beside
        decide, send = session.decider.decide, SandboxAdapter.send

        def decided(*args: Any, **options: Any) -> Any:
            answer = decide(*args, **options)
            self._since = now() - sum(self._beside)
            return answer

        def sent(adapter: Any, request: Any, *args: Any, **options: Any) -> Any:
            if self._since is not None and request.method == "POST" and request.path_url.startswith("/v2/orders"):
                self.took.append(now() - sum(self._beside) - self._since)
                self._since = None
            return send(adapter, request, *args, **options)

        session.decider.decide, SandboxAdapter.send, self._send = decided, sent, send

    def close(self) -> None:
        """The adapter as it was."""
        SandboxAdapter.send = self._send  # type: ignore[method-assign]


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
        away, commits, synced, inside = np.zeros(2), np.zeros(2), np.zeros(2), []
        spent_in(session.broker, away)
        spent_in(session.feed.provider, away)
        writing, commit = session.recorder.repository.writing, store.commit
        session.recorder.repository.writing = lambda *a, **k: _Timed(writing(*a, **k), commits)
        store.commit = _timed(commit, synced)
        sending = Sending(session, away, synced)
        gc.freeze()  # as the runtime does
        for _ in range(passes):
            stage.exchange.advance()
            away[:] = 0.0
            begun = now()
            session.step()
            inside.append((now() - begun - away) * 1000.0)
        sending.close()
        store.commit = commit
        first = time.perf_counter()
        state = session.core.state()
        state_ms = (time.perf_counter() - first) * 1000.0
        ms, cpu = np.median(inside[3:], axis=0)
        to_request = np.median(np.array(sending.took[3:]) * 1000.0, axis=0)
        ends, syncs = commits * 1000.0 / passes, synced * 1000.0 / passes
        print(f"{symbols} symbols: {ms:.1f} ms an iteration beside broker and provider (worst "
              f"{max(one[0] for one in inside[3:]):.1f}), {cpu:.1f} ms of processor; of it ends of transactions "
              f"{ends[0]:.1f} ms ({ends[1]:.1f}), COMMITs {syncs[0]:.1f} ms ({syncs[1]:.1f}); decision to request "
              f"{to_request[0]:.1f} ms ({to_request[1]:.1f}); start {started:.2f} s; state() {state_ms:.1f} ms, "
              f"{len(json.dumps(state)) / 1e3:.0f} kB, {len(session.core.positions())} positions, "
              f"{len(session.core.working)} orders")
        stage.close()


class _Timed:
    """A transaction, its end timed: that is where the disk is waited for."""

    def __init__(self, inner: Any, total: np.ndarray) -> None:
        self.inner, self.total = inner, total

    def __enter__(self) -> Any:
        return self.inner.__enter__()

    def __exit__(self, *what: Any) -> Any:
        begun = now()
        try:
            return self.inner.__exit__(*what)
        finally:
            self.total += now() - begun


def _timed(call: Any, total: np.ndarray) -> Any:
    def run(*args: Any) -> Any:
        begun = now()
        try:
            return call(*args)
        finally:
            total[:] += now() - begun
    return run


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
