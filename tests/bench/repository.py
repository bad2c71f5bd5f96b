"""What the repository costs, with a million fills in it.

    python tests/bench/repository.py [sqlite postgresql] [--fills 1000000]

An iteration is what a session writes in one: before sending (decision, intents, an event each, safety, checkpoint, one
commit) and after (states, orders, fills, an event each, a mark, one commit). Commits are durable: what a sync of
the disk alone takes stands beside them. Absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from botlib.brokers.base import Fill, OpenOrder
from botlib.repository import Repository

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
START = pd.Timestamp("2024-01-02 14:30", tz="UTC")
SYMBOLS = [f"S{n:03d}" for n in range(500)]


def measured(call: Callable[[], object], repeats: int = 7) -> float:
    """Median milliseconds, after one call that is not counted."""
    call()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(found)


def once(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def disk_sync(folder: Path) -> float:
    """Median milliseconds of writing 4 kB and waiting for the disk."""
    with (folder / "sync").open("wb") as file:
        def write() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return measured(write, 50)


def fill_up(repository: Repository, ledger: int, count: int) -> None:
    """Fills, a round trip for every second one, an event for every tenth."""
    rng = np.random.default_rng(1)
    prices, names = 100.0 + rng.random(count), rng.integers(0, 500, count)
    for begin in range(0, count, 20_000):
        with repository.writing() as tx:
            tx.expect_fills(ledger, [f"order-{n}" for n in range(begin, min(begin + 20_000, count))])
            for n in range(begin, min(begin + 20_000, count)):
                now, symbol = START + pd.Timedelta(n, "s"), SYMBOLS[names[n]]
                tx.fill(ledger, Fill(order_id=f"order-{n}", symbol=symbol, side="buy" if n % 2 else "sell", qty=10.0,
                                     price=prices[n], cum_qty=10.0, time=now), purpose="entry", uid=n)
                if n % 2:
                    tx.round_trip(ledger, symbol=symbol, side="long", qty=10.0, entry_time=START, entry_price=100.0,
                                  exit_time=now, exit_price=prices[n], pnl=10.0 * (prices[n] - 100.5), costs=0.01,
                                  slippage=0.02, exit_reason="signal")
                if n % 10 == 0:
                    tx.event(ledger, "fill", {"symbol": symbol, "qty": 10.0, "price": prices[n]}, time=now)


class Session:
    """Iterations of ``n`` symbols that all trade."""

    def __init__(self, repository: Repository, ledger: int, n: int, name: str) -> None:
        self.repository, self.ledger, self.n, self.name, self.bar = repository, ledger, n, name, 0
        self.state = {"positions": {s: [10.0, 101.5, 95.0, 120.0] for s in SYMBOLS[:n]}, "cash": 1e5}

    def before(self) -> None:
        self.bar += 1
        now = START + pd.Timedelta(self.bar, "D")
        with self.repository.writing() as tx:
            decision = tx.decision(self.ledger, bar_time=now, interval=self.name, time=now, opening=self.state,
                                   targets=dict.fromkeys(SYMBOLS[:self.n], 0.01))
            for uid, symbol in enumerate(SYMBOLS[:self.n]):
                request = {"symbol": symbol, "side": "buy", "type": "market", "qty": 10.0, "time_in_force": "day"}
                tx.intent(f"{self.name}-{self.bar}-{uid}", self.ledger, symbol=symbol, side="buy", purpose="entry",
                          qty=10.0, adds_risk=True, time=now, request=request, decision_id=decision, uid=uid)
                tx.event(self.ledger, "intent", {**request, "id": f"{self.name}-{self.bar}-{uid}"}, time=now)
            tx.safety(self.ledger, state="active", latched=False, time=now, peak=1e5, orders_today=self.n)
            tx.checkpoint(self.ledger, self.state, time=now)

    def after(self) -> None:
        now = START + pd.Timedelta(self.bar, "D")
        with self.repository.writing() as tx:
            ids = [f"{self.name}-{self.bar}-{uid}" for uid in range(self.n)]
            tx.expect_fills(self.ledger, [f"o-{i}" for i in ids])
            for uid, symbol in enumerate(SYMBOLS[:self.n]):
                order = OpenOrder(order_id=f"o-{ids[uid]}", client_order_id=ids[uid], symbol=symbol, side="buy",
                                  type="market", time_in_force="day", status="filled", qty=10.0, filled_qty=10.0,
                                  filled_avg_price=100.0, submitted_at=now)
                tx.intent_state(ids[uid], "filled", time=now, order_id=order.order_id, filled_qty=10.0, sent=now)
                tx.order(self.ledger, order, time=now, intent=ids[uid], role="entry", uid=uid)
                tx.fill(self.ledger, Fill(order_id=order.order_id, symbol=symbol, side="buy", qty=10.0, price=100.0,
                                          cum_qty=10.0, time=now), purpose="entry", uid=uid)
                tx.event(self.ledger, "fill", {"symbol": symbol, "qty": 10.0, "price": 100.0}, time=now)
            tx.equity(self.ledger, time=now, equity=1e5, cash=5e4, positions=dict.fromkeys(SYMBOLS[:self.n], 10.0))

    def quiet(self) -> None:
        """An iteration without a new bar: a mark."""
        self.bar += 1
        now = START + pd.Timedelta(self.bar, "h") + pd.Timedelta(7, "s")
        with self.repository.writing() as tx:
            tx.equity(self.ledger, time=now, equity=1e5, cash=5e4, positions=dict.fromkeys(SYMBOLS[:self.n], 10.0))


@contextlib.contextmanager
def places(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield str(folder / "bench.sqlite")
        return
    from postgres_helpers import running

    with running(durable=True) as server:
        yield server.url(server.database())


def say(what: str, figure: str) -> None:
    print(f"  {what:<58} {figure:>14}", flush=True)


def run(kind: str, fills: int, folder: Path) -> None:
    with places(kind, folder) as db:
        print(f"{kind}, {fills:,} fills; the disk syncs 4 kB in {disk_sync(folder):.2f} ms")
        say("open, new", f"{1e3 * once(lambda: Repository.open(db).close()):.0f} ms")
        repository = Repository.open(db)
        ledger = repository.ledger("account", "1", venue="sandbox", capital=1e5, time=START).id
        for n in (5, 500):
            session = Session(repository, ledger, n, f"{n}s")
            before, after = [], []
            for _ in range(31):
                before.append(1e3 * once(session.before))
                after.append(1e3 * once(session.after))
            say(f"{n} symbols: before sending, one commit", f"{statistics.median(before):.2f} ms")
            say(f"{n} symbols: after sending, one commit", f"{statistics.median(after):.2f} ms")
        quiet = Session(repository, ledger, 5, "quiet")
        say("a mark of 5 positions, one commit", f"{measured(quiet.quiet, 51):.2f} ms")
        seconds = once(lambda: fill_up(repository, ledger, fills))
        say("filling up, rows a second", f"{1.6 * fills / seconds:,.0f}")
        last = START + pd.Timedelta(fills, "s")
        page = repository.fills(ledger, limit=100)
        middle = int(page["id"].iloc[0]) - fills // 2
        for what, call in {
            "the last 100 fills": lambda: repository.fills(ledger, limit=100),
            "a page of 100 fills from the middle": lambda: repository.fills(ledger, limit=100, before=middle),
            "the last 100 fills of a symbol": lambda: repository.fills(ledger, "S007", limit=100),
            "fills of a day (60 minutes of them)": lambda: repository.fills(ledger, since=last - pd.Timedelta("1h")),
            "all fills of a symbol": lambda: repository.fills(ledger, "S007"),
            "the last 100 round trips": lambda: repository.round_trips(ledger, limit=100),
            "round trips of a symbol": lambda: repository.round_trips(ledger, "S007"),
            "profit by symbol": lambda: repository.profit_by_symbol(ledger),
            "the last 100 events": lambda: repository.events(ledger, limit=100),
            "open intents": lambda: repository.open_intents(ledger),
            "working orders": lambda: repository.orders(ledger, working=True),
            "requests (asked every second)": lambda: repository.requests("account"),
            "checkpoint": lambda: repository.checkpoint(ledger),
            "one intent": lambda: repository.intent("5s-3-1"),
        }.items():
            say(what, f"{measured(call):.2f} ms")
        say("a mark of 5 positions, one commit, now", f"{measured(quiet.quiet, 51):.2f} ms")
        say("all fills as a table", f"{once(lambda: repository.fills(ledger)):.2f} s")
        say("verify", f"{once(lambda: repository.verify(ledger)):.2f} s")
        repository.close()
        say("open, checked", f"{1e3 * once(lambda: Repository.open(db).close()):.0f} ms")
        say("open, unchecked", f"{1e3 * once(lambda: Repository.open(db, checked=False).close()):.0f} ms")
        if kind == "sqlite":
            say("file", f"{Path(db).stat().st_size / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help="sqlite, postgresql or both")
    parser.add_argument("--fills", type=int, default=1_000_000)
    arguments = parser.parse_args()
    for kind in arguments.kinds or ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as folder:
            run(kind, arguments.fills, Path(folder))


if __name__ == "__main__":
    main()
