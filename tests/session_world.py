"""A session against a local exchange in this process, with scripted faults and a virtual clock, and what must hold."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sandbox_helpers import market, sessions

import botlib
from botlib.bars import Bars
from botlib.brokers import AlpacaBroker, AlpacaConfig
from botlib.providers.alpaca import AlpacaProvider
from botlib.repository import Repository
from botlib.safety import SafetyControls
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.faults import Fault, Faults
from botlib.sandbox.host import Host
from botlib.sandbox.transport import SandboxAdapter
from botlib.session.runtime import Runtime
from botlib.session.starting import Started, start
from botlib.session.summary import LiveTradingSummary
from botlib.session.venues import Venue
from botlib.session_config import SessionParams

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
KEYS = ("local", "local-secret")
SYMBOLS = ("AAPL", "KO", "TSLA")
WIDE = SafetyControls(max_drawdown_pct=90.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0,
                      max_orders_per_day=10_000, price_collar_pct=90.0)
STRATEGY = '''
from dataclasses import dataclass

import numpy as np

from botlib.strategies.base import Strategy, param


@dataclass(frozen=True)
class Turns(Strategy):
    """Buys each symbol every sixth bar, one after the other, and sells it four bars later."""

    weight: float = param(0.1, low=0.01, high=1.0, help="fraction of equity")
    unit = "weight"
    warmup = 0

    def targets(self, bars):
        turn = (np.arange(len(bars))[:, None] + 2 * np.arange(len(bars.symbols))) % 6
        return np.where(turn == 0, self.weight, np.where(turn == 4, 0.0, np.nan))
'''


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be had: a ledger waits for the disk at every commit."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def clean() -> Iterator[World]:
    """What a session does when nothing goes wrong."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        world = World(Path(name))
        summary = world.run()
        world.check()
        assert summary.status == "success" and summary.parity is not None and summary.parity.equal
        assert summary.parity.stops >= 2 and summary.parity.signal_exits >= 5 and summary.parity.targets >= 1
        yield world


def walk(count: int = 22, seed: int = 3, volatility: float = 0.012, symbols: tuple[str, ...] = SYMBOLS) -> Bars:
    """Daily bars: a random walk on cents."""
    random = np.random.default_rng(seed)
    cells = {}
    for n, symbol in enumerate(symbols):
        price, column = 100.0 * (n + 1), []
        for _ in range(count):
            opened = price * (1.0 + random.normal(0.0, volatility / 3))
            price = opened * (1.0 + random.normal(0.0, volatility))
            high, low = max(opened, price) * 1.004, min(opened, price) * 0.996
            column.append(tuple(round(p, 2) for p in (opened, high, low, price)))
        cells[symbol] = column
    return market(cells, sessions(count))


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


class World:
    """One account; sessions come and go. Times are virtual: nothing here waits."""

    def __init__(self, folder: Path, *faults: Fault, bars: Bars | None = None, first: int = 4, seed: int = 0,
                 options: dict[str, Any] | None = None, epoch: str = "e1", **values: Any) -> None:
        self.folder, self.time, self.requests = folder, Time(), Counter()
        self.bars = walk() if bars is None else bars
        self.faults = Faults(list(faults), seed=seed)
        self.exchange = Exchange(self.bars, first=first)
        self.host = Host(self.exchange, self.faults, keys=KEYS)
        self.options, self.epoch = options or {}, epoch
        if not (folder / "turns.py").exists():
            (folder / "turns.py").write_text(STRATEGY)
        self.params = SessionParams(**({
            "symbols": list(self.bars.symbols), "interval": self.bars.interval, "period": "max", "db": "t.sqlite",
            "ping_env": None, "safety": WIDE, "costs": botlib.Costs.none(), "strategy": {"name": "turns.py:Turns"},
            "risk": botlib.Risk(max_position_pct=100.0, stop_loss_pct=3.0, take_profit_pct=4.0)} | values))
        self.said: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.after: Callable[[World], Any] | None = None
        self.here: Callable[[], pd.Timestamp] | None = None
        self.started: Started | None = None
        self.runtime: Runtime | None = None

    def venue(self) -> Venue:
        config = AlpacaConfig.from_env(environ={"APCA_API_KEY_ID": KEYS[0], "APCA_API_SECRET_KEY": KEYS[1],
                                                "APCA_API_BASE_URL": "http://127.0.0.1:1"}, env_file=None)
        adapter = SandboxAdapter(self.host.api, self.faults, sleep=self.time.sleep)
        send = adapter.send

        def counted(request: Any, **kwargs: Any) -> Any:
            self.requests[request.method] += 1
            self.tick()
            return send(request, **kwargs)

        adapter.send = counted  # type: ignore[method-assign]
        broker = AlpacaBroker(config, adapter=adapter, clock=self.time, sleep=self.time.sleep, chance=lambda: 0.0,
                              timeout=1.0, now=self.here)
        return Venue(kind="sandbox", title="local exchange", broker=broker, epoch=self.epoch, here=self.here,
                     provider=AlpacaProvider(connection=broker.connection), wait=self.wait, close=broker.close,
                     stepped=self.here is None)

    def tick(self) -> None:
        """Time goes on before a request arrives."""

    def wait(self, seconds: float, awake: Callable[[], bool]) -> bool:
        """The next bar happens."""
        if self.after is not None:
            self.after(self)
        return self.host.step(1) > 0

    def begin(self, **more: Any) -> Started:
        """A session from the ledger."""
        options = {"clock": self.time, "sleep": self.time.sleep, "wall": self.time} | self.options
        self.started = start(self.params, self.venue(), root=self.folder, environ={}, state=self.folder / "state",
                             options=options, **more)
        return self.started

    def run(self) -> LiveTradingSummary:
        """A session from its start to its end."""
        started = self.begin()
        self.runtime = Runtime(started, self.params, clock=self.time, sleep=self.time.sleep,
                               tell=lambda kind, text: self.told.append((kind, text)))
        summary = self.runtime.run()
        while not self.runtime.lines.empty():
            self.said.append(self.runtime.lines.get())
        if self.runtime.error is not None:
            raise self.runtime.error
        return summary

    @property
    def session(self) -> Any:
        assert self.started is not None
        return self.started.session

    def ask(self, kind: str, note: str = "") -> None:
        """What another process writes into the ledger."""
        with self.ledger() as repository, repository.writing() as tx:
            tx.request(self.exchange.account_id, kind, by="somebody", note=note,
                       time=pd.Timestamp("2024-03-04", tz="UTC"))

    def ledger(self, **options: Any) -> Repository:
        return Repository.open(self.folder / "t.sqlite", **options)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def ours(self) -> list[Any]:
        """Orders at the exchange that a session sent, without their legs."""
        return [o for o in self.exchange.orders.values() if o.client_order_id.startswith("botlib1-")]

    def fills(self) -> list[tuple[Any, ...]]:
        """What the exchange executed."""
        return [(a.time, a.symbol, a.side, a.qty, a.price) for a in self.exchange.activities if a.type == "FILL"]

    def check(self, *, protected: bool = True, cash: bool = True, split: bool = False) -> None:
        """One order an intent, the intent first; the ledger agrees with the exchange; what is held is protected."""
        with self.ledger() as repository:
            ledger = repository.ledgers()[0].id
            assert repository.verify(ledger).ok, repository.verify(ledger)
            ids = [o.client_order_id for o in self.ours()]
            assert len(ids) == len(set(ids))
            intents = repository.intents(ledger).set_index("client_order_id")
            assert set(ids) <= set(intents.index)
            never = intents["state"].isin(["missed", "shadow", "abandoned"])
            assert not set(intents.index[never]) & set(ids)
            fills = repository.fills(ledger)
            signed = np.where(fills["side"] == "buy", fills["qty"], -fills["qty"])
            held = pd.Series(signed, index=fills["symbol"]).groupby(level=0).sum().round(6)
            held = {s: q for s, q in held.items() if q}
            told = repository.equity(ledger).iloc[-1]["positions"]
            assert split or held == told
            held = told
            theirs = dict(repository.checkpoint(ledger)["externals"]["shares"])
            wanted = {s: p.qty for s, p in self.exchange.positions.items()}
            assert {s: held.get(s, 0.0) + theirs.get(s, 0.0) for s in {*held, *theirs}} == wanted
            if cash:
                own = repository.equity(ledger).iloc[-1]["cash"]
                beside = repository.checkpoint(ledger)["externals"]["cash"]
                np.testing.assert_allclose(own + beside, self.exchange.cash, atol=0.01)
        if protected:
            self.check_protected(held)

    def check_protected(self, held: dict[str, float]) -> None:
        """Every share of a position has one stop that works, or waits beside a target."""
        stops: Counter[str] = Counter()
        for o in self.exchange.orders.values():
            if o.open and o.side < 0 and o.type in ("stop", "stop_limit") and (o.parent is None or not o.parent.open
                                                                               or o.parent.closes):
                stops[o.symbol] += o.qty - o.filled_qty
        leaving: Counter[str] = Counter()
        for o in self.ours():
            if o.open and o.side < 0 and o.type == "market":
                leaving[o.symbol] += o.qty
        assert {s: max(stops[s], leaving[s]) for s in held} == held


class Flowing(World):
    """A world whose time flows as this machine's does: only waiting and asking move it, the market follows.

    ``begin``: when it begins, New York. ``error``: seconds by which the clock here is wrong. ``slept``: seconds that
    the monotonic clock has not noticed.
    """

    def __init__(self, folder: Path, *faults: Fault, start: str, until: str = "", **more: Any) -> None:
        super().__init__(folder, *faults, **more)
        self.origin = pd.Timestamp(start, tz="America/New_York").value
        self.end = pd.Timestamp(until, tz="America/New_York") if until else None
        self.error = self.slept = 0.0
        self.here = lambda: self.now() + pd.Timedelta(seconds=self.error)
        self.waits: list[tuple[pd.Timestamp, float]] = []
        self.on_wait: Callable[[pd.Timestamp], Any] = lambda now: None
        self.options = {"wall": lambda: self.time.now + self.slept} | self.options
        self.host.catch_up(self.origin)

    def now(self) -> pd.Timestamp:
        """At the broker."""
        return pd.Timestamp(self.origin + int((self.time.now + self.slept - 1000.0) * 1e9), tz="America/New_York")

    def tick(self) -> None:
        self.host.catch_up(self.now().value)

    def wait(self, seconds: float, awake: Callable[[], bool]) -> bool:
        if self.after is not None:
            self.after(self)
        self.waits.append((self.now(), seconds))
        self.on_wait(self.now())
        if not awake():
            self.time.sleep(seconds)
        return self.end is None or self.now() < self.end

    def passes(self) -> list[pd.Timestamp]:
        """When passes were made, New York."""
        with self.ledger() as repository:
            return [t.tz_convert("America/New_York") for t in repository.equity(1)["time"]]
