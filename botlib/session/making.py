"""A session made from its ledger: at the start, after a crash, and in place when something could not be written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from botlib import backtesting
from botlib.backtesting import market_of
from botlib.calendars import EXCHANGE_TZ
from botlib.engine.book import Book
from botlib.engine.carrying import NO_ACTIONS
from botlib.errors import InputError
from botlib.repository import Lease, Repository
from botlib.safety import SafetyControls
from botlib.session.bar_journal import BarJournal
from botlib.session.checking import Externals
from botlib.session.core import SessionCore
from botlib.session.deciding import Decider
from botlib.session.feed import BarFeed
from botlib.session.identity import PREFIX, Identity, is_ours
from botlib.session.loop import Memory, Options, TradingSession
from botlib.session.recording import Recorder
from botlib.session.strategy_files import StrategyFiles
from botlib.session.venues import Venue
from botlib.session.waiting import SETTLE_SECONDS
from botlib.session_config import SessionParams
from botlib.watch import Watch
from botlib.wording import plural, utc

NO_LIMITS = SafetyControls(max_drawdown_pct=90.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0,
                           max_orders_per_day=10_000, price_collar_pct=90.0)
"""What stands for ``safety: null``: the gates that need limits have the widest there are."""

_FEES_AHEAD = 400  # days for which fee rates are read at the start
_BACK = pd.Timedelta(hours=1)  # clocks differ, and an order's time is when it was submitted
_HOOKS = ("clock", "sleep", "wall")


class Maker:
    """Makes the session: `first` at the start, `again` from the ledger when its memory cannot be trusted.

    ``overrides``: options over those that follow from the parameters, and the session's clock, sleep and wall.
    """

    def __init__(self, params: SessionParams, venue: Venue, strategy: Any, hashed: str, repository: Repository,
                 ledger: Any, lease: Lease, session_id: str, run_folder: str, overrides: dict[str, Any]) -> None:
        self.params, self.venue, self.repository, self.ledger = params, venue, repository, ledger
        self.notes: list[str] = []
        self.recovered = False
        self._hashed, self._lease, self._session_id, self._strategy = hashed, lease, session_id, strategy
        self._hooks = {name: overrides.pop(name) for name in _HOOKS if name in overrides}
        self._decider = Decider(strategy, params.signal_adjustment)
        self._files = StrategyFiles(strategy)
        self._journal = BarJournal(Path(run_folder) if run_folder else None, params.feed)
        self.options = Options(**{
            "send": params.orders == "send", "trade_late": params.trade_late, "feed": params.feed,
            "grace_seconds": params.late_grace_seconds * venue.speed, "daily_delay": params.daily_delay_minutes,
            "settle_seconds": 0.0 if venue.here is None else SETTLE_SECONDS, "strategy_hash": hashed,
            "accept": accepting(params, self.several()), **overrides})

    def several(self) -> str:
        """The account as the commands take it, where the database has others, too."""
        others = {one.account_id for one in self.repository.ledgers()} - {self.ledger.account_id}
        return self.params.account or (self.ledger.account_id[:8] if others else "")

    def first(self, account: Any, now: pd.Timestamp) -> TradingSession:
        """At the start: bars are loaded."""
        checkpoint = self.repository.checkpoint(self.ledger.id)
        params, held = self.params, [] if checkpoint is None else list(checkpoint["core"]["book"]["symbols"])
        self._feed = BarFeed(self.venue.provider, sorted({*params.symbols, *held}), interval=params.interval,
                             period=params.period, calendar=params.calendar or "XNYS",
                             delay=params.daily_delay_minutes, warmup=self._decider.warmup)
        self._feed.start(now)
        self._identity = Identity(account.account_id, self.ledger.epoch, self._hashed)
        self.recovered = checkpoint is not None
        session = self._made(checkpoint, account, now)
        self._check_shadow(session)
        self.notes += self._told(session, [s for s in held if s not in params.symbols])
        return session

    def _check_shadow(self, session: TradingSession) -> None:
        """Who sends nothing cannot look after what is at the broker."""
        core = session.core
        if self.params.orders != "shadow" or not (core.positions() or core.working):
            return
        held = ", ".join(f"{shares:g} {symbol}" for symbol, shares in core.positions().items()) or "no shares"
        raise InputError(f"orders = 'shadow': this ledger holds {held} and {plural(len(core.working), 'order')} at the "
                         "broker, and a shadow session sends nothing that would look after them. Sell them first "
                         "(python -m botlib flatten), or give the shadow session a database of its own (--db).")

    def again(self) -> TradingSession:
        """From what is written down, with the bars there are. Raises `RepositoryError`, `BrokerError`."""
        broker = self.venue.broker
        return self._made(self.repository.checkpoint(self.ledger.id), broker.get_account_info(), broker.clock().time)

    def _told(self, session: TradingSession, dropped: list[str]) -> list[str]:
        """What a person should know at the start."""
        feed, bars, core, memory = self._feed, self._feed.bars, session.core, session.memory
        assert bars is not None
        notes = [f"{len(bars)} bars of history from {bars.index[0].date()} to {bars.index[-1].date()} (period "
                 f"{self.params.period}, warm-up {self._decider.warmup})"]
        if feed.missing:
            notes.append(f"no bars yet of {', '.join(feed.missing)}: they join when their first bar comes")
        if dropped:
            notes.append(f"held but not among symbols: {', '.join(dropped)}; protected and not decided on any more")
        if self.recovered:
            notes.append(f"goes on from {memory.decided or core.bars.index[-1].isoformat()}: "
                         f"{len(core.positions())} positions, {len(core.working)} orders")
        if memory.watch.latched:
            notes.append(f"a kill stands, only exits are allowed: {memory.watch.reason} (python -m botlib kill --clear "
                         "lifts it)")
        if memory.externals.shares:
            theirs = ", ".join(f"{qty:g} {symbol}" for symbol, qty in sorted(memory.externals.shares.items()))
            notes.append(f"also in the account, not this ledger's and left alone: {theirs}")
        return notes

    def _made(self, checkpoint: Any, account: Any, now: pd.Timestamp) -> TradingSession:
        params, bars = self.params, self._feed.bars
        assert bars is not None
        settings = backtesting.engine_settings(params.risk, params.costs, params.safety, self._strategy)
        fees = backtesting.fee_table(int(bars.sessions[0]), int(bars.sessions[-1]) + _FEES_AHEAD, params.costs)
        if checkpoint is None:
            core, memory = _begin(bars, settings, fees, self._identity, account, self.ledger, self.venue, now)
        else:
            core, memory = _recover(checkpoint, bars, settings, fees, self._identity, self._feed)
        if checkpoint is None or "apart" not in checkpoint["externals"]:
            memory.externals.apart = params.capital is not None
        row = self.repository.safety(self.ledger.id)
        if row is not None and row.latched:
            memory.watch = memory.watch.kill(row.reason)
        recorder = Recorder(self.repository, self.ledger.id, self._session_id, self._lease)
        recorder.knows(core.intents.values())
        session = TradingSession(
            core=core, decider=self._decider, feed=self._feed, broker=self.venue.broker, recorder=recorder,
            memory=memory, controls=params.safety or NO_LIMITS, options=self.options, since=self.ledger.created,
            now=now, here=self.venue.here, bars_seen=self._journal, unchanged=self._files.changed, **self._hooks)
        if checkpoint is None:
            session.prime()
        else:
            session.go_on(memory.decided)
        return session


def accepting(params: SessionParams, account: str) -> str:
    """What a person types about shares that came or went by hand; "" where nothing outside reaches the exchange.

    ``account``: as ``--account`` takes it, "" where there is only one.
    """
    if params.venue == "sandbox":
        return ""
    where = "".join(f" --{name} {shlex.quote(value)}" for name, value in (("db", params.db), ("account", account))
                    if value not in ("", "trades.sqlite"))
    return (f"If that was you: python -m botlib stop{where}, then python -m botlib reconcile --accept --reason "
            f"\"by hand\"{where}, then start it again.")


def _begin(bars: Any, settings: tuple[Any, ...], fees: Any, identity: Identity, account: Any, ledger: Any,
           venue: Venue, now: pd.Timestamp) -> tuple[SessionCore, Memory]:
    """A new ledger: its capital, and all else in the account as the user's own."""
    capital = float(ledger.capital or account.equity)
    core = SessionCore(bars, market_of, settings, Book(settings, market_of(bars), NO_ACTIONS, fees, capital), identity)
    core.close_bar()
    externals = Externals({p.symbol: p.qty for p in venue.broker.get_positions()}, account.cash - capital)
    return core, Memory(Watch.start(capital, now.tz_convert(EXCHANGE_TZ).date()), externals)


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


def check_strangers(session: TradingSession, repository: Repository, broker: Any) -> None:
    """Refuse orders with our prefix that this database does not know: open ones, and any since it was written last.

    Raises `InputError`, `BrokerError`.
    """
    mine = [o for o in broker.open_orders() if is_ours(o.client_order_id)]
    row = repository.safety(session.recorder.ledger_id)
    if row is not None:
        mine += [o for o in broker.orders(row.updated - _BACK, prefix=f"{PREFIX}-") if is_ours(o.client_order_id)]
    known = repository.known_intents(o.client_order_id for o in mine)
    unknown = [o for o in mine if o.client_order_id not in known]
    working = [o for o in unknown if o.working]
    if working:
        raise InputError(
            f"the account has open orders of another session of botlib that this database does not know, e.g. "
            f"{working[0].client_order_id}: open the database that sent them (--db), or cancel them at the broker.")
    if unknown:
        raise InputError(
            f"the broker is ahead of this database: it has orders of botlib that are not in it, e.g. "
            f"{unknown[0].client_order_id} of {utc(unknown[0].submitted_at)}. This is an old copy, or "
            "another database was used since: open the latest (--db). To go on without it, name a new database; what "
            "is held is then left alone.")


def end_stale(repository: Repository, session_id: str, tx: Any, session: TradingSession,
              now: pd.Timestamp) -> list[str]:
    """A stop that was asked for while no session ran stops none; a session that never said its end has crashed."""
    notes = []
    for one in repository.requests(session.core.identity.account_id, unhandled=True):
        if one.kind == "stop":
            tx.request_handled(one.id, outcome="no session was running", time=now)
            notes.append(f"a stop that {one.by} asked for while no session ran does not count any more")
    before = repository.sessions(session.recorder.ledger_id)
    for old in before[(before["status"] == "running") & (before["id"] != session_id)].itertuples():
        tx.session_ended(old.id, status="error", time=now, reason="it ended without a word: a crash")
        session.recorder.event(tx, "recovered", now, level="warning", what=f"session {old.id} had crashed")
        notes.append(f"the session before, of {utc(old.started)}, had crashed")
    return notes
