"""From parameters to a session that can take its first pass: account, lease, ledger, bars, recovery."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import botlib
from botlib import backtesting
from botlib.engine.book import Book, MarketArrays
from botlib.engine.carrying import NO_ACTIONS
from botlib.errors import InputError
from botlib.project import project_root
from botlib.repository import Lease, Repository
from botlib.repository.hosts import here, state_folder
from botlib.safety import SafetyControls
from botlib.session.checking import Externals
from botlib.session.core import SessionCore
from botlib.session.deciding import Decider
from botlib.session.feed import BarFeed
from botlib.session.identity import Identity, is_ours
from botlib.session.loop import Memory, Options, TradingSession
from botlib.session.recording import Recorder
from botlib.session.timeline import ZONE
from botlib.session.venues import Venue
from botlib.session_config import SessionParams
from botlib.strategies.loading import strategy_hash
from botlib.watch import Watch

NO_LIMITS = SafetyControls(max_drawdown_pct=90.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0,
                           max_orders_per_day=10_000, price_collar_pct=90.0)
"""What stands for ``safety: null``: the gates that need limits have the widest there are."""

_FEES_AHEAD = 400  # days for which fee rates are read at the start


@dataclass(slots=True)
class Started:
    """A session and what it holds; `close` gives it back."""

    session: TradingSession
    venue: Venue
    repository: Repository
    lease: Lease
    ledger_id: int
    session_id: str
    strategy: Any
    capital: float
    recovered: bool
    notes: list[str]

    def close(self, now: pd.Timestamp) -> None:
        """Lease, database and venue are given back."""
        self.lease.release(now)
        self.repository.close()
        self.venue.close()


def market_of(bars: Any) -> MarketArrays:
    """The engine's arrays of bars, as a backtest has them."""
    return backtesting.market_of(bars)


def start(params: SessionParams, venue: Venue, *, root: str | Path | None = None, run_folder: str = "",
          environ: Mapping[str, str], state: str | Path | None = None, take_over: bool = False,
          confirm: Callable[[str], str] | None = None, options: Mapping[str, Any] | None = None) -> Started:
    """Open the ledger, take the account, recover or begin.

    Parameters
    ----------
    state : path, optional
        Folder of the account locks; default: the user's.
    take_over : bool
        A person's word that a session on another host is dead.
    confirm : function, optional
        Live: shows a banner and gives the line that a person typed.
    options : mapping, optional
        Over those that follow from the parameters, for tests.

    Raises
    ------
    InputError, LeaseRefused
        Nothing was sent; what to do stands in it.
    BrokerError, ProviderError, RepositoryError
    """
    base = project_root(root)
    strategy = params.load_strategy(base)
    hashed = strategy_hash(strategy)
    broker, now = venue.broker, venue.broker.clock().time
    account = broker.get_account_info()
    if account.blocked and not account.account_id:
        raise InputError(f"the account cannot be used: {account.blocked}.")
    repository = Repository.open(params.database(environ), root=base)
    lease = None
    try:
        session_id, me = uuid.uuid4().hex, here()
        lease = Lease.take(repository, account.account_id, session_id, state_folder=state or state_folder(), now=now,
                           host=me.host, pid=me.pid, boot_id=me.boot_id, take_over=take_over)
        capital = params.capital or account.equity
        ledger = repository.ledger(account.account_id, venue.epoch, venue=venue.kind, capital=capital, time=now)
        made = _session(params, venue, strategy, hashed, repository, ledger, lease, session_id, account, now,
                        dict(options or {}))
        session, recovered, notes = made
        _check_strangers(session, broker)
        with repository.writing() as tx:
            tx.session(session_id, ledger.id, kind=params.kind, orders=params.orders, time=now,
                       strategy=str(params.strategy["name"]), strategy_hash=hashed, params=params.plain(),
                       params_hash=_digest(params.plain()), limits=None if params.safety is None else
                       params.safety.model_dump(), feed=params.feed, version=botlib.__version__, host=me.host,
                       pid=me.pid, run_folder=run_folder)
            session.recorder.event(tx, "session-started", now, venue=venue.title, strategy=params.strategy["name"],
                                   strategy_hash=hashed, recovered=recovered, capital=float(ledger.capital or capital))
            if lease.took_over:
                session.recorder.event(tx, "recovered", now, level="warning", what=lease.took_over)
        if lease.took_over:
            notes.append(lease.took_over)
        return Started(session, venue, repository, lease, ledger.id, session_id, strategy,
                       float(ledger.capital or capital), recovered, notes)
    except BaseException:
        if lease is not None:
            lease.release(now)
        repository.close()
        raise


def _session(params: SessionParams, venue: Venue, strategy: Any, hashed: str, repository: Repository, ledger: Any,
             lease: Lease, session_id: str, account: Any, now: pd.Timestamp,
             overrides: dict[str, Any]) -> tuple[TradingSession, bool, list[str]]:
    checkpoint = repository.checkpoint(ledger.id)
    held = [] if checkpoint is None else list(checkpoint["core"]["book"]["symbols"])
    symbols = sorted({*params.symbols, *held})
    decider = Decider(strategy, params.signal_adjustment)
    feed = BarFeed(venue.provider, symbols, interval=params.interval, period=params.period,
                   calendar=params.calendar or "XNYS", delay=params.daily_delay_minutes, warmup=decider.warmup)
    bars = feed.start(now)
    notes = [f"{len(bars)} bars of history from {bars.index[0].date()} to {bars.index[-1].date()} (period "
             f"{params.period}, warm-up {decider.warmup})"]
    if feed.missing:
        notes.append(f"no bars yet of {', '.join(feed.missing)}: they join when their first bar comes")
    dropped = [s for s in held if s not in params.symbols]
    if dropped:
        notes.append(f"held but not among symbols: {', '.join(dropped)}; protected and not decided on any more")
    controls = params.safety or NO_LIMITS
    settings = backtesting.engine_settings(params.risk, params.costs, params.safety, strategy)
    fees = backtesting.fee_table(int(bars.sessions[0]), int(bars.sessions[-1]) + _FEES_AHEAD, params.costs)
    identity = Identity(account.account_id, ledger.epoch, hashed)
    if checkpoint is None:
        core, memory = _begin(bars, settings, fees, identity, account, ledger, venue, now)
    else:
        core, memory = _recover(checkpoint, bars, settings, fees, identity, feed)
        notes.append(f"goes on from {memory.decided or core.bars.index[-1].isoformat()}: "
                     f"{len(core.positions())} positions, {len(core.working)} orders")
    made = Options(**{
        "send": params.orders == "send", "trade_late": params.trade_late, "feed": params.feed,
        "grace_seconds": params.late_grace_seconds * venue.speed, "daily_delay": params.daily_delay_minutes,
        "strategy_hash": hashed, **overrides})
    recorder = Recorder(repository, ledger.id, session_id, lease)
    session = TradingSession(core=core, decider=decider, feed=feed, broker=venue.broker, recorder=recorder,
                             memory=memory, controls=controls, options=made, since=ledger.created, here=venue.here)
    if checkpoint is None:
        session.prime()
    return session, checkpoint is not None, notes


def _begin(bars: Any, settings: tuple[Any, ...], fees: Any, identity: Identity, account: Any, ledger: Any,
           venue: Venue, now: pd.Timestamp) -> tuple[SessionCore, Memory]:
    """A new ledger: its capital, and all else in the account as the user's own."""
    capital = float(ledger.capital or account.equity)
    core = SessionCore(bars, market_of, settings, Book(settings, market_of(bars), NO_ACTIONS, fees, capital), identity)
    core.close_bar()
    externals = Externals({p.symbol: p.qty for p in venue.broker.get_positions()}, account.cash - capital)
    return core, Memory(Watch.start(capital, now.tz_convert(ZONE).date()), externals)


def _recover(checkpoint: Mapping[str, Any], bars: Any, settings: tuple[Any, ...], fees: Any, identity: Identity,
             feed: BarFeed) -> tuple[SessionCore, Memory]:
    """Where the ledger stood. What may have been sent since is found out in the first pass."""
    label = pd.Timestamp(checkpoint["core"]["bar"])
    at = int(bars.index.searchsorted(label, side="right")) - 1
    if at < 0:
        raise InputError(f"period: the history begins on {bars.index[0].date()}, after the last bar this ledger has "
                         f"seen ({label.date()}); load more history.")
    core = SessionCore.restored(checkpoint["core"], bars.upto(at), market_of, settings, fees, identity)
    feed.rewind(at + 1)
    for intent in core.intents.values():
        if intent.state == "recorded":
            intent.state = "sent"
    return core, Memory.of(checkpoint)


def _check_strangers(session: TradingSession, broker: Any) -> None:
    known = {link.order_id for link in session.core.links.values()} | set(session.core.intents)
    foreign = [o for o in broker.open_orders() if is_ours(o.client_order_id) and o.client_order_id not in known
               and o.order_id not in known]
    if foreign:
        raise InputError(
            f"the account has open orders of another session of botlib that this database does not know, e.g. "
            f"{foreign[0].client_order_id}: open the database that sent them (--db), or cancel them at the broker.")


def _digest(values: Mapping[str, Any]) -> str:
    import json

    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()

