"""What a panel shows of a session: one frozen status, read from the ledger by whoever may read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.errors import InputError

if TYPE_CHECKING:
    from botlib.repository import Repository
    from botlib.repository.rows import LeaseRow, LedgerRow, RequestRow, SafetyRow, SessionRow

MARKS, SIGNALS, EVENTS, ORDERS = 240, 5, 8, 40
"""Newest rows that are read."""

_SILENT = ("decision", "intent", "order")  # what signals and orders tell already


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A session as its ledger has it.

    Attributes
    ----------
    marks : DataFrame
        Newest equity marks: time, equity, drawdown_pct, daily_loss_pct, peak, day_start, positions.
    signals, orders, events : DataFrame
        Newest intents but protection, working orders, newest events.
    waiting : tuple
        Requests that the session has not answered yet.
    gone : bool
        The session is said to run, and its process is not there.
    """

    ledger: LedgerRow
    session: SessionRow
    safety: SafetyRow | None
    marks: pd.DataFrame
    signals: pd.DataFrame
    orders: pd.DataFrame
    events: pd.DataFrame
    waiting: tuple[RequestRow, ...]
    gone: bool

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.session.status == "running"

    @property
    def positions(self) -> Mapping[str, float]:
        """Signed shares, by symbol."""
        return self.marks["positions"].iloc[-1] or {} if len(self.marks) else {}


def find_session(repository: Repository, account: str | None = None, session_id: str | None = None) -> str:
    """The id of a session: the one that is named, or the newest of an account, or the newest of all; one that runs
    comes before those that ended.

    Raises
    ------
    InputError
        There is none.
    """
    found = repository.sessions()
    if account is not None:
        ids = [one.id for one in repository.ledgers() if one.account_id == account]
        found = found[found["ledger_id"].isin(ids)]
    if session_id is not None:
        found = found[found["id"].str.startswith(session_id)] if session_id else found.iloc[:0]
    if found.empty:
        what = f"session_id = {session_id!r}" if session_id is not None else \
            f"account = {account!r}" if account is not None else f"db = {repository.shown}"
        raise InputError(f"{what}: no session is recorded in {repository.shown}.")
    if session_id is not None and found["id"].nunique() > 1:
        raise InputError(f"session_id = {session_id!r}: {len(found)} sessions begin so; give more of it.")
    # A session on the local exchange tells its time, not ours: the rows' order says which one is the newest.
    running = found[found["status"] == "running"]
    newest = running if len(running) else found
    ledger = newest["ledger_id"].max()
    return str(newest[newest["ledger_id"] == ledger]["id"].iloc[-1])


def read(repository: Repository, session_id: str) -> Status:
    """The status of a session.

    Raises
    ------
    InputError
        The ledger has no such session.
    RepositoryError
    """
    session = repository.session(session_id)
    if session is None:
        raise InputError(f"session_id = {session_id!r}: no such session is recorded in {repository.shown}.")
    ledger = next(one for one in repository.ledgers() if one.id == session.ledger_id)
    signals = repository.intents(ledger.id, limit=4 * SIGNALS)
    events = repository.events(ledger.id, limit=6 * EVENTS)
    return Status(
        ledger=ledger, session=session, safety=repository.safety(ledger.id),
        marks=repository.equity(ledger.id, limit=MARKS),
        signals=signals[signals["purpose"] != "protect"].tail(SIGNALS),
        orders=repository.orders(ledger.id, working=True, limit=ORDERS),
        events=events[~events["kind"].isin(_SILENT)].tail(EVENTS),
        waiting=repository.requests(ledger.account_id),
        gone=session.status == "running" and _gone(session, repository.lease(ledger.account_id)))


def _gone(session: SessionRow, lease: LeaseRow | None) -> bool:
    """Whether the process of a session has ended. Of one on another host that has the account nobody here can tell."""
    from botlib.repository.hosts import here, process_mark
    from botlib.repository.lives import life_of

    me = here()
    if lease is None and session.host != me.host:
        return False
    return life_of(lease, session, me, process_mark) == "died"


def event_words(kind: str, data: Mapping[str, Any]) -> str:
    """An event in a short line."""
    if kind == "fill":
        return f"{data['side']} {data['qty']:,g} {data['symbol']} @ ${data['price']:,.2f} ({data['purpose']})"
    if kind == "session-started":
        return f"{data['strategy']} on {data['venue']}"
    if kind == "session-ended":
        return f"{data['status']}: {data['reason']}" if data.get("reason") else str(data["status"])
    if kind == "activity":
        amount = data.get("net_amount")
        paid = "" if amount is None else f": {'-' if amount < 0 else ''}${abs(amount):,.2f}"
        return f"{data.get('type', '')} {data.get('symbol') or ''}".rstrip() + paid
    if kind == "missed-bar":
        return f"bar of {str(data['bar'])[:16].replace('T', ' ')}"
    for name in ("text", "what", "reason"):
        if data.get(name):
            return str(data[name])
    return ", ".join(f"{name} {value}" for name, value in data.items() if isinstance(value, (str, int, float)))
