"""From parameters to a session that can take its first pass: account, lease, ledger, bars, recovery."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import botlib
from botlib import going_live
from botlib.arming import NOT_PERMITTED
from botlib.calendars import schedule
from botlib.errors import InputError, RepositoryError
from botlib.project import project_root
from botlib.repository import Lease, Repository
from botlib.repository.hosts import here, state_folder
from botlib.session.loop import TradingSession
from botlib.session.making import Maker, check_strangers, end_stale
from botlib.session.venues import Venue
from botlib.session.waiting import no_session
from botlib.session_config import SessionParams
from botlib.strategies.loading import strategy_hash
from botlib.terms import params_hash


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
    remake: Callable[[], TradingSession]

    def rebuild(self) -> TradingSession:
        """The session anew from what is written down, on the same venue and with the same lease: for one that could
        not write something down, and so does not know what is true.

        Raises `RepositoryError`, `BrokerError`: nothing has changed then.
        """
        before, made = self.session, self.remake()
        made.follows(before)
        why = before.watch.holds.get(NOT_PERMITTED)
        watch = made.memory.watch
        made.memory.watch = (watch.released(NOT_PERMITTED) if why is None
                             else watch.held(NOT_PERMITTED, why))
        self.session = made
        return made

    def close(self, now: pd.Timestamp) -> None:
        """Lease, database and venue are given back."""
        try:
            self.lease.release(now, gone=self.venue.passing)
        finally:
            self.repository.close()
            self.venue.close()


def start(params: SessionParams, venue: Venue, *, root: str | Path | None = None, run_folder: str = "",
          environ: Mapping[str, str], state: str | Path | None = None, take_over: bool = False,
          confirm: Callable[[str], str] | None = None, waive: str | Sequence[str] = (),
          options: Mapping[str, Any] | None = None) -> Started:
    """Open the ledger, take the account, recover or begin.

    Parameters
    ----------
    state : path, optional
        Folder of the account locks; default: the user's.
    take_over : bool
        A person's word that a session on another host is dead.
    confirm : function, optional
        Live: shows a banner and gives the line that a person typed; None: nobody is there, an arm is needed.
    waive : str or sequence of str
        Live: names of evidence that the person who types does without, see `botlib.arming.WAIVABLE`.
    options : mapping, optional
        Over those that follow from the parameters, for tests.

    Raises
    ------
    InputError, LeaseRefused
        Nothing was sent; what to do stands in it.
    BrokerError, ProviderError, RepositoryError
    """
    params.require_enabled()
    going_live.check_venue(params, venue.kind)
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
        maker = Maker(params, venue, strategy, hashed, repository, ledger, lease, session_id, run_folder,
                      dict(options or {}))
        session, recovered, notes = maker.first(account, now), maker.recovered, maker.notes
        check_strangers(session, repository, broker)
        closed = params.until == "close" and bool(no_session(schedule(params.calendar or "XNYS"), now))
        # On a day without trading the session ends before its first pass: that takes no permission, and spends none.
        allowed = None if closed else going_live.for_session(
            params, venue, repository, session, ledger, account, hashed=hashed, base=base, confirm=confirm,
            waived=waive)
        at = going_live.moment(venue)
        with repository.writing() as tx:
            tx.session(session_id, ledger.id, kind=params.kind, orders=params.orders, time=now,
                       strategy=str(params.strategy["name"]), strategy_hash=hashed, params=params.plain(),
                       params_hash=params_hash(params), limits=None if params.safety is None else
                       params.safety.model_dump(), feed=params.feed, version=botlib.__version__, host=me.host,
                       pid=me.pid, run_folder=run_folder)
            session.recorder.event(tx, "session-started", now, venue=venue.title, strategy=params.strategy["name"],
                                   strategy_hash=hashed, recovered=recovered, capital=float(ledger.capital or capital))
            if allowed is not None:
                going_live.spend(tx, allowed, at)
                session.recorder.event(tx, "session-permitted", now, level="info" if allowed.trades else "warning",
                                       **allowed.event)
            if lease.took_over:
                session.recorder.event(tx, "recovered", now, level="warning", what=lease.took_over)
            notes += end_stale(repository, session_id, tx, session, now)
        if allowed is not None:
            notes.append(f"permission: {allowed.text}")
        if lease.took_over:
            notes.append(lease.took_over)
        return Started(session, venue, repository, lease, ledger.id, session_id, strategy,
                       float(ledger.capital or capital), recovered, notes, maker.again)
    except BaseException:
        try:
            if lease is not None:
                lease.release(now, gone=venue.passing)
        except RepositoryError:
            pass  # what went wrong before it is what is told
        finally:
            repository.close()
        raise
