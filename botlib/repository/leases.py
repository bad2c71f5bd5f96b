"""The lease of an account: one session at a time, whatever the database, the kernel or the host.

Two locks: a row in the database (for all hosts that share it) and a lock file in the user's state folder (for all
databases of one host). Who holds a lease on this host and has died is found at once and replaced; on another host
nobody can tell, so a person decides.
"""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from botlib.errors import LeaseLost, LeaseRefused
from botlib.repository import schema
from botlib.repository.hosts import AccountLock, process_mark
from botlib.repository.rows import LeaseRow, make_row, row_columns
from botlib.repository.store import Repository
from botlib.repository.values import ns
from botlib.repository.writing import TradingWrites

_t = schema.leases
_RENEW = update(_t).where(_t.c.account_id == bindparam("b_account"), _t.c.session_id == bindparam("b_session"),
                          _t.c.takes == bindparam("b_takes"), _t.c.released.is_(None)).values({
                              _t.c.renewed: bindparam("b_now")})
_RELEASE = update(_t).where(_t.c.account_id == bindparam("b_account"), _t.c.session_id == bindparam("b_session"),
                            _t.c.takes == bindparam("b_takes"), _t.c.released.is_(None)).values({
                                _t.c.released: bindparam("b_now")})


class Lease:
    """A session's right to trade an account. Made by `take`; `renew` it in the transactions that precede requests."""

    def __init__(self, repository: Repository, account_id: str, session_id: str, takes: int, lock: AccountLock,
                 holder: dict[str, Any], took_over: str) -> None:
        self.account_id, self.session_id = account_id, session_id
        self.took_over = took_over
        """Whose lease this was and why it no longer counts, in a sentence; "" when it was free."""
        self._repository, self._takes, self._lock, self._holder = repository, takes, lock, holder

    @classmethod
    def take(cls, repository: Repository, account_id: str, session_id: str, *,
             state_folder: str | os.PathLike[str], now: pd.Timestamp, host: str, pid: int, boot_id: str,
             take_over: bool = False) -> Lease:
        """Take the lease of an account.

        Parameters
        ----------
        state_folder : `botlib.repository.hosts.state_folder()`
        host, pid, boot_id : this process, from `botlib.repository.hosts.here()`
        take_over : a person's word that the session on another host is dead; it never ends one that lives on this host

        Raises
        ------
        LeaseRefused
            Another session has it: who, where, since when, and what to do.
        """
        lock = AccountLock(state_folder, account_id)
        holder = {"session_id": session_id, "host": host, "pid": pid, "database": repository.shown,
                  "since": now.isoformat(timespec="seconds")}
        if not lock.take(holder):
            raise LeaseRefused(_held_here(account_id, lock.holder()))
        try:
            row = {"account_id": account_id, "session_id": session_id, "host": host, "pid": pid, "boot_id": boot_id,
                   "process": process_mark(pid), "lock": lock.identity(), "taken": ns(now, "now"),
                   "renewed": ns(now, "now"), "released": None}
            takes, took_over = _take_row(repository, row, take_over)
        except BaseException:
            lock.free()
            raise
        return cls(repository, account_id, session_id, takes, lock, holder, took_over)

    def renew(self, now: pd.Timestamp, tx: TradingWrites | None = None) -> None:
        """Say that the session lives. Within ``tx`` it costs no commit of its own, and a lease that is lost takes that
        whole transaction with it.

        Raises
        ------
        LeaseLost
            Another session has the account now, or a person has taken the lease away.
        """
        if not self._lock.keep(self._holder):
            raise LeaseLost(f"Account {self.account_id}: its lock {self._lock.path} on this host is another session's "
                            "now. This session must not send anything; stop it.")
        values = {"b_account": self.account_id, "b_session": self.session_id, "b_takes": self._takes, "b_now": ns(now)}
        if tx is None:
            with self._repository.writing() as own:
                renewed = own.connection.execute(_RENEW, values).rowcount
        else:
            renewed = tx.connection.execute(_RENEW, values).rowcount
        if renewed != 1:
            found = self._repository.lease(self.account_id)
            who = "nobody" if found is None or found.released is not None else _who(found)
            raise LeaseLost(f"Account {self.account_id}: the lease now belongs to {who}. This session must not send "
                            "anything; stop it.")

    def release(self, now: pd.Timestamp, *, gone: bool = False) -> None:
        """Give the account back; idempotent. A lease that was lost stays the other session's. ``gone``: nobody has this
        account any more, so that its lock's file goes, too."""
        try:
            with self._repository.writing() as tx:
                tx.connection.execute(_RELEASE, {"b_account": self.account_id, "b_session": self.session_id,
                                                 "b_takes": self._takes, "b_now": ns(now)})
        finally:
            self._lock.free(remove=gone)


def _take_row(repository: Repository, row: dict[str, Any], take_over: bool) -> tuple[int, str]:
    """(how often this account's lease was taken, whose it was)."""
    free = {**row, "session_id": "", "takes": 0, "released": row["taken"]}
    with repository.writing() as tx:
        insert: Any = sqlite.insert if tx.connection.dialect.name == "sqlite" else postgresql.insert
        tx.connection.execute(insert(_t).values(free).on_conflict_do_nothing())
        query = select(*row_columns(LeaseRow)).where(_t.c.account_id == row["account_id"]).with_for_update()
        found = make_row(LeaseRow, tx.connection.execute(query).one())
        took_over = ""
        if found.released is None:
            took_over = _why_dead(found, row) or (_by_person(found, row) if take_over else "")
            if not took_over:
                raise LeaseRefused(_refusal(found, row))
        takes = found.takes + 1
        tx.connection.execute(update(_t).where(_t.c.account_id == row["account_id"]).values({**row, "takes": takes}))
    return takes, took_over


def _why_dead(found: LeaseRow, row: dict[str, Any]) -> str:
    """Why the holder cannot be alive, "" when it may be. We have this host's lock file already."""
    if found.host != row["host"]:
        return ""
    if found.boot_id != row["boot_id"]:
        why = "that machine has been started anew since"
    elif found.lock == row["lock"]:
        why = "it has ended"  # it would hold the lock that we took
    elif process_mark(found.pid) != found.process or not found.process:
        why = "its process has ended"
    else:
        return ""
    return f"The lease of {_who(found)} is taken over: {why}."


def _by_person(found: LeaseRow, row: dict[str, Any]) -> str:
    if found.host == row["host"]:
        return ""
    return f"The lease of {_who(found)} is taken over on a person's word."


def _who(row: LeaseRow) -> str:
    return (f"session {row.session_id} (process {row.pid} on {row.host}, since {row.taken:%Y-%m-%d %H:%M:%S} UTC, last "
            f"seen {row.renewed:%Y-%m-%d %H:%M:%S} UTC)")


def _refusal(found: LeaseRow, row: dict[str, Any]) -> str:
    if found.host == row["host"]:
        what = "Stop it first: python -m botlib stop"
    else:
        what = ("Stop it there: python -m botlib stop. Only when you know that it is dead: start here with "
                "--take-over")
    return f"Account {row['account_id']} is being traded by {_who(found)}. One account, one session. {what}."


def _held_here(account_id: str, holder: dict[str, Any]) -> str:
    who = "another session on this host"
    if holder:
        who = (f"session {holder.get('session_id')} (process {holder.get('pid')} on this host, since "
               f"{holder.get('since')}, database {holder.get('database')})")
    return (f"Account {account_id} is being traded by {who}. One account, one session. Stop it first: python -m botlib "
            "stop.")
