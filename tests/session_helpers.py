"""Whole sessions on a local exchange in this process: real parameters, real alpaca-py, a real ledger, no socket."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import botlib
from botlib import backtesting, engine, sandbox
from botlib.bars import Bars
from botlib.brokers import AlpacaBroker, AlpacaConfig
from botlib.brokers.base import Fill, OpenOrder
from botlib.engine.book import Book
from botlib.engine.carrying import NO_ACTIONS
from botlib.errors import BotlibWarning
from botlib.providers.alpaca import AlpacaProvider
from botlib.safety import SafetyControls
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.transport import SandboxAdapter
from botlib.session.core import SessionCore
from botlib.session.identity import Identity
from botlib.session.links import Intent
from botlib.session.loop import TradingSession
from botlib.session.parity import Parity, compare
from botlib.session.planning import plan
from botlib.session.report import Report
from botlib.session.starting import Started, start
from botlib.session.venues import Venue
from botlib.session_config import SessionParams

WIDE = SafetyControls(max_drawdown_pct=90.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0,
                      max_orders_per_day=10_000, price_collar_pct=90.0)
"""Limits that do not trip, in any world of these tests."""

_KEYS = {"APCA_API_KEY_ID": "local", "APCA_API_SECRET_KEY": "local-secret",
         "APCA_API_BASE_URL": "http://127.0.0.1:1"}
EXIT_KINDS = ("stop", "target", "exit", "reduce")


def params_of(strategy: Any, bars: Bars, db: Path, **values: Any) -> SessionParams:
    """A session's parameters, with a strategy that is at hand."""

    class Params(SessionParams):
        def load_strategy(self, root: Any = None) -> Any:
            return strategy

    given = {"symbols": list(bars.symbols), "interval": bars.interval, "period": "max", "db": str(db),
             "calendar": "XNYS", "safety": WIDE, "risk": botlib.Risk(max_position_pct=100.0), "ping_env": None,
             "strategy": {"name": type(strategy).__name__}} | values
    return Params(**given)


@dataclass
class Stage:
    """An account on a local exchange, and the sessions that trade it one after the other.

    ``first``: the first bar that happens. ``partial``: percent of fills that come in two parts. ``whole``: after these
    bars the session is started anew from the ledger, ``rebuilt``: its core from its own state. ``halves``: a pass after
    every bar's opening prints, too. ``http``: over a socket, else in process. ``look``: called after every pass.
    """

    bars: Bars
    strategy: Any
    folder: Path
    first: int = 1
    cash: float = 100_000.0
    partial: float = 0.0
    seed: int = 0
    whole: Collection[int] = ()
    rebuilt: Collection[int] = ()
    halves: bool = False
    http: bool = False
    look: Callable[[Stage, Report], None] | None = None
    values: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params = params_of(self.strategy, self.bars, self.folder / "trades.sqlite", **self.values)
        risk, costs = self.params.risk, self.params.costs
        multiplier = 1.0 if risk.account == "cash" else 4.0
        self.server = None
        if self.http:
            self.server = sandbox.running(self.bars, cash=self.cash, costs=costs, seed=self.seed, first=self.first,
                                          multiplier=multiplier).start()
            self.exchange = self.server.exchange
        else:
            self.exchange = Exchange(self.bars, cash=self.cash, costs=costs, seed=self.seed, first=self.first,
                                     multiplier=multiplier, whole_splits=not risk.fractional,
                                     partial_fill_pct=self.partial)
        self.reports: list[Report] = []
        self.equity: dict[int, float] = {}
        self.started: Started | None = None
        self.starts = 0

    @property
    def session(self) -> TradingSession:
        """The one that runs."""
        assert self.started is not None
        return self.started.session

    @property
    def core(self) -> SessionCore:
        """Of the session that runs."""
        return self.session.core

    def begin(self) -> Started:
        """A session from the ledger, as after a crash of the one before."""
        if self.server is None:
            config = AlpacaConfig.from_env(environ=_KEYS, env_file=None)
            broker = AlpacaBroker(config, adapter=SandboxAdapter(Api(self.exchange)))
        else:
            broker = AlpacaBroker(AlpacaConfig.from_env(environ=self.server.environ, env_file=None))
        venue = Venue(kind="sandbox", title="local exchange", broker=broker, stepped=True, epoch="e1", here=None,
                      provider=AlpacaProvider(connection=broker.connection), wait=lambda seconds, awake: True,
                      close=broker.close, exchange=self.exchange)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BotlibWarning)  # symbols that are listed later
            self.started = start(self.params, venue, root=self.folder, environ={}, state=self.folder / "state",
                                 options={"unknown_seconds": 0.0} | self.options)
        self.starts += 1
        return self.started

    def end(self) -> None:
        """Lease, ledger and connection are given back."""
        if self.started is not None:
            self.started.close(self.session.time)
            self.started = None

    def close(self) -> None:
        """The end of all."""
        try:
            self.end()
        finally:
            if self.server is not None:
                self.server.stop()

    def rebuild(self) -> None:
        """The core from its own state, as JSON has it."""
        self.session.core = again(self.core)

    def step(self) -> Report:
        """One pass."""
        report = self.session.step()
        self.reports.append(report)
        if self.look is not None:
            self.look(self, report)
        return report

    def passes(self) -> Iterator[int]:
        """Play all bars; yields after each one's pass. The first yield is the bar of history that is last."""
        x = self.exchange
        if self.started is None:
            self.begin()
        while True:
            self.equity[x.bar] = self.step().equity
            yield x.bar
            if x.done:
                return
            if x.bar in self.rebuilt:
                self.rebuild()
            if x.bar in self.whole:
                self.end()
                self.begin()
            if self.halves:
                x.open_bar()
                self.step()
                x.close_bar()
            elif self.server is not None:
                self.server.step()
            else:
                x.advance()

    def play(self) -> Stage:
        """All of it."""
        for _ in self.passes():
            pass
        return self

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def first_decided(self) -> int:
        """The number of the first bar it could decide on."""
        return self.first - 1

    def backtest(self, **options: Any) -> botlib.BacktestResult:
        """The same in the compiled engine."""
        p = self.params
        capital = self.cash if p.capital is None else p.capital
        return botlib.backtest(self.bars, self.strategy, **{
            "cash": capital, "risk": p.risk, "costs": p.costs, "safety": p.safety, "quiet": True,
            "signal_adjustment": p.signal_adjustment, "decide_from": self.first_decided} | options)

    def parity(self) -> Parity:
        """The room's own comparison."""
        s, ledger = self.started, self.started.ledger_id
        decisions = s.repository.decisions(ledger)
        decided = decisions[decisions["status"] == "decided"]
        return compare(self.core.bars, self.strategy, self.params, s.capital, s.repository.fills(ledger),
                       s.repository.equity(ledger), decided=decided["bar_time"].iloc[0],
                       decisions=self.session.recorder.sent)


def whole_fills(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """(bar, symbol, side, price) → quantity: executions in parts added up, since a backtest fills at once."""
    total: dict[tuple[Any, ...], float] = {}
    for bar, symbol, side, quantity, price in rows:
        total[bar, symbol, side, price] = round(total.get((bar, symbol, side, price), 0.0) + quantity, 9)
    return sorted((*key, quantity) for key, quantity in total.items())


def trouble(stage: Stage) -> list[str]:
    """What the passes complained of."""
    found = []
    for r in stage.reports:
        found += [str(x) for x in [*(reason for _, reason in r.refused), *r.problems, *r.alarms, *r.stuck,
                                   *r.differences, *r.strangers]]
        found += [f"{a.intent.purpose} {a.intent.request}: {a.state} {a.text}" for a in r.answers
                  if a.state in ("unknown", "rejected")]
    return found


def core_of(bars: Bars, *, cash: float = 100_000.0, risk: botlib.Risk | None = None, costs: botlib.Costs | None = None,
            safety: SafetyControls | None = None, unit: str = "weight", epoch: str = "e1") -> SessionCore:
    """A core alone, at the close of the last of these bars."""

    class Anything:
        warmup = 0

    Anything.unit = unit
    settings = backtesting.engine_settings(
        risk or botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None),
        costs or botlib.Costs.none(), safety, Anything)
    fees = backtesting.fee_table(int(bars.sessions[0]), int(bars.sessions[-1]) + 400, costs or botlib.Costs.none())
    book = Book(settings, backtesting.market_of(bars), NO_ACTIONS, fees, cash)
    core = SessionCore(bars, backtesting.market_of, settings, book, Identity("acct", epoch, "hash"))
    core.begin_day(int(bars.sessions[-1]), {}, [])
    core.close_bar()
    return core


def at(text: str) -> pd.Timestamp:
    """A moment in New York."""
    return pd.Timestamp(text, tz="America/New_York").tz_convert("UTC")


def decide(core: SessionCore, **targets: float) -> list[int]:
    """Targets by symbol become orders; returns their numbers."""
    row = np.full(len(core.column), np.nan)
    for symbol, value in targets.items():
        row[core.column[symbol]] = value
    return core.decide(lambda book, t: engine.decide_row(book.world, t, row))


# --- A core without a broker: what one would answer, by hand ----------------------------------------------------------


def opened(intent: Intent, **changes: Any) -> OpenOrder:
    """A broker's answer to an intent: its order is named after it, its legs "…/tp" and "…/sl"."""
    r = intent.request
    base = {"symbol": r.symbol, "time_in_force": r.time_in_force, "submitted_at": at("2024-03-05 16:20")}
    name = f"{intent.purpose}{intent.uids[0]}"
    legs = []
    if intent.purpose == "protect" and r.order_class == "oco":
        stop = OpenOrder(order_id=f"{name}/sl", client_order_id=f"{name}/sl", side=r.side, type="stop", status="held",
                         qty=r.qty, stop_price=r.stop_loss, group_role="stop_loss", **base)
        return OpenOrder(**{"order_id": f"{name}/tp", "client_order_id": r.client_order_id, "side": r.side,
                            "type": "limit", "status": "new", "qty": r.qty, "limit_price": r.take_profit,
                            "legs": (stop,), "order_class": "oco"} | base | changes)
    out = "sell" if r.side == "buy" else "buy"
    if r.take_profit is not None:
        legs.append(OpenOrder(order_id=f"{name}/tp", client_order_id=f"{name}/tp", side=out, type="limit",
                              status="held", qty=r.qty, limit_price=r.take_profit, group_role="take_profit", **base))
    if r.stop_loss is not None:
        legs.append(OpenOrder(order_id=f"{name}/sl", client_order_id=f"{name}/sl", side=out, type="stop",
                              status="held", qty=r.qty, stop_price=r.stop_loss, group_role="stop_loss", **base))
    return OpenOrder(**{"order_id": name, "client_order_id": r.client_order_id, "side": r.side, "type": r.type,
                        "status": "accepted", "qty": r.qty, "limit_price": r.limit_price, "stop_price": r.stop_price,
                        "order_class": r.order_class, "legs": tuple(legs)} | base | changes)


def send(core: SessionCore, now: pd.Timestamp | None = None) -> list[Intent]:
    """Plan, and have a broker accept all of it; returns what was sent."""
    made = plan(core, now or at("2024-03-05 16:20"))
    for intent in made.submits:
        core.record(intent)
        core.acknowledged(intent, opened(intent))
    return made.submits


def says(core: SessionCore, order_id: str, status: str, **changes: Any) -> None:
    """What the broker says of an order now."""
    link = core.links[order_id]
    intent = core.intents[link.client_order_id]
    one = next(o for o in opened(intent).flat() if o.order_id == order_id)
    core.order(dataclasses.replace(one, **({"status": status, "qty": link.qty, "filled_qty": link.reported} | changes)))


def filled(order_id: str, qty: float, price: float, cum: float | None = None, *, side: str = "buy",
           symbol: str = "AAA", time: str = "2024-03-06 09:30") -> Fill:
    """An execution."""
    return Fill(order_id=order_id, symbol=symbol, side=side, qty=qty, price=price,  # type: ignore[arg-type]
                cum_qty=qty if cum is None else cum, time=at(time))


def grow(core: SessionCore, bars: Bars, t: int) -> None:
    """The next exchange date begins and its daily bar closes."""
    core.begin_day(int(bars.sessions[t]), {}, [])
    core.extend(bars.upto(t))
    core.close_bar()
    core.settle()


def again(core: SessionCore) -> SessionCore:
    """The core from its own state, as JSON has it."""
    state = json.loads(json.dumps(core.state(), allow_nan=False))
    made = SessionCore.restored(state, core.bars, core._market, core._settings, core.book.given_fees, core.identity)
    assert json.loads(json.dumps(made.state(), allow_nan=False)) == state
    return made
