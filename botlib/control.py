"""What a person asks of a session from another shell: which ledger is meant, who trades it now, and the asking.

A live session carries requests out itself: they are written where it looks twice a second. Without one
`botlib.control_actions` acts on the broker. What is decided here is decided by pure functions of rows.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.errors import InputError
from botlib.repository.hosts import here, person, process_mark
from botlib.repository.lives import Life, life_of

if TYPE_CHECKING:
    from botlib.repository import Repository
    from botlib.repository.rows import LeaseRow, LedgerRow, RequestRow, SessionRow

WAIT_SECONDS = 10.0
"""How long an answer of a live session is waited for."""

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A ledger, its last session and who trades it."""

    ledger: LedgerRow
    session: SessionRow | None
    lease: LeaseRow | None
    life: Life

    @property
    def alive(self) -> bool:
        """Whether a process may be trading it: then nobody else acts on its account."""
        return self.life in ("running", "elsewhere")

    @property
    def embedded(self) -> bool:
        """Whether its exchange lived in the session's own process."""
        return self.session is not None and (self.session.params or {}).get("venue") == "sandbox"

    @property
    def name(self) -> str:
        """The account as it was named for its keys, "" for the unnamed one."""
        return "" if self.session is None else str((self.session.params or {}).get("account") or "")

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"{self.ledger.account_id}{name} on {self.ledger.venue}"


# --- pure -------------------------------------------------------------------------------------------------------------


def choose(found: Sequence[Subject], wanted: str | None, database: str) -> Subject:
    """The ledger that is meant: the only account there is, or the one that is named; of several ledgers of an account
    (a local exchange begins one with each run) the latest. Of accounts that are gone with the session whose exchange
    they were on, only the latest counts, and none while a session runs.

    Parameters
    ----------
    wanted : str or None
        Account id, the beginning of one, or the name of its keys.
    database : str
        For messages.

    Raises
    ------
    InputError
        There is none, or several and none is named: it lists what there is.
    """
    latest = {one.ledger.account_id: one for one in sorted(found, key=lambda s: s.ledger.id)}
    accounts = list(latest.values())
    if not accounts:
        raise InputError(f"db = {database}: no session has been recorded there yet; name the sessions' database with "
                         "--db.")
    gone = [one for one in accounts if one.embedded and not one.alive]
    there = [one for one in accounts if one not in gone]
    likely = there if any(one.alive for one in there) else there + gone[-1:]
    listed = "; ".join(f"{one} ({_WORDS[one.life]})" for one in likely)
    if wanted is None:
        if len(likely) > 1:
            raise InputError(f"db = {database} has {len(likely)} accounts; name one with --account: {listed}.")
        return likely[0]
    meant = ([one for one in accounts if wanted in (one.ledger.account_id, one.name)]
             or [one for one in accounts if one.ledger.account_id.startswith(wanted)])
    if len(meant) != 1:
        what = "is none of" if not meant else "could be several of"
        raise InputError(f"--account {wanted}: it {what} the accounts in {database}: {listed}.")
    return meant[0]


_WORDS = {"running": "session running", "elsewhere": "session on another host", "over": "no session",
          "died": "its last session died"}


def who(subject: Subject) -> str:
    """The process of a session, for people."""
    lease = subject.lease
    return "" if lease is None else f"process {lease.pid} on {lease.host.partition('/')[0]}"


def unanswered(subject: Subject, kind: str, seconds: float) -> str:
    """What to say when a session does not answer."""
    stays = "The request stands and is carried out as soon as it looks"
    if subject.life == "elsewhere":
        return (f"no answer within {seconds:g} s from {who(subject)}. {stays}. When you know that it is dead: "
                f"python -m botlib {kind} --take-over acts on the broker from here.")
    return (f"no answer within {seconds:g} s from {who(subject)}; it lives and may be waiting for the broker. {stays}. "
            f"To act without it, end that process (kill -9 {subject.lease.pid if subject.lease else '?'}) and repeat: "
            f"python -m botlib {kind}")


# --- reading and asking -----------------------------------------------------------------------------------------------


def subjects(repository: Repository) -> list[Subject]:
    """All ledgers with their last sessions."""
    me, found = here(), []
    for ledger in repository.ledgers():
        last = repository.sessions(ledger.id, limit=1)
        session = None if last.empty else repository.session(str(last["id"].iloc[-1]))
        lease = repository.lease(ledger.account_id)
        found.append(Subject(ledger=ledger, session=session, lease=lease,
                             life=life_of(lease, session, me, process_mark)))
    return found


def again(repository: Repository, subject: Subject) -> Subject:
    """The same ledger as it is now."""
    return next(one for one in subjects(repository) if one.ledger.id == subject.ledger.id)


def ask(repository: Repository, subject: Subject, kind: str, *, note: str = "", seconds: float = WAIT_SECONDS,
        clock: Callable[[], float] = clocks.monotonic, sleep: Callable[[float], None] = clocks.sleep,
        gone: Callable[[], bool] = lambda: False) -> RequestRow | None:
    """Write a request for a live session and wait for its answer; None when none came in time, or it ended before."""
    account = subject.ledger.account_id
    with repository.writing() as tx:
        number = tx.request(account, kind, by=person(), time=pd.Timestamp.now("UTC"), note=note)
    until = clock() + seconds
    while True:
        last = clock() >= until or gone()  # before it is read: a session may answer and end in between
        found = next(one for one in repository.requests(account, unhandled=False) if one.id == number)
        if found.handled is not None:
            return found
        if last:
            return None
        sleep(_LOOK_SECONDS)


def withdraw(repository: Repository, subject: Subject, why: str) -> int:
    """Answer requests that nobody will carry out, so that the account's next session does not; how many there were."""
    waiting = repository.requests(subject.ledger.account_id, unhandled=True)
    if waiting:
        with repository.writing() as tx:
            for one in waiting:
                tx.request_handled(one.id, outcome=why, time=pd.Timestamp.now("UTC"))
    return len(waiting)


def wait_for_end(repository: Repository, subject: Subject, *, seconds: float = WAIT_SECONDS,
                 clock: Callable[[], float] = clocks.monotonic,
                 sleep: Callable[[float], None] = clocks.sleep) -> Any:
    """The session's row once it has ended; None when it has not in time."""
    until = clock() + seconds
    while subject.session is not None:
        row = repository.session(subject.session.id)
        if row is not None and row.ended is not None:
            return row
        if clock() >= until:
            return None
        sleep(_LOOK_SECONDS)
    return None
