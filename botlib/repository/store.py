"""The repository: one database, opened, asked and written to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, insert, select

from botlib.errors import InputError, RepositoryError
from botlib.repository import schema
from botlib.repository.chain import EVENT_COLUMNS, FILL_SEAL, TRIP_SEAL, Verification, check_events, genesis, seal
from botlib.repository.commits import commit
from botlib.repository.connecting import BUSY_SECONDS, Place, begin, make_engine, make_file, place, said, snapshot
from botlib.repository.opening import check, check_file, prepare
from botlib.repository.reading import Reading
from botlib.repository.rows import LedgerRow, make_row, row_columns
from botlib.repository.statements import statements
from botlib.repository.values import ns, number, text, unpack
from botlib.repository.writing_control import Transaction

_VENUES = ("sandbox", "alpaca-paper", "alpaca-live")
_BATCH = 10_000


class Repository(Reading):
    """Everything durable: ledgers, sessions, intents, fills, events.

    One thread writes (a session's); any number of threads and processes read. Made by `open`; a context manager.
    """

    def __init__(self, engine: Engine, where: Place, busy_seconds: float) -> None:
        self._engine, self._place, self._busy = engine, where, busy_seconds
        # Reads see one statement's snapshot; PostgreSQL needs no transaction around that, SQLite begins none.
        self._reads = engine if where.path else engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statements = statements(engine.dialect.name)
        self._writer = threading.Lock()
        self._owner: int | None = None

    @classmethod
    def open(cls, db: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, create: bool = True,
             checked: bool = True, busy_seconds: float = BUSY_SECONDS) -> Repository:
        """Open a database; made when it is new, migrated when it is of an earlier version.

        Parameters
        ----------
        db : path of an SQLite file (relative to the project's root; mode 0600), or postgresql://user@host/name
        root : the project's folder, where it is not found from the working folder
        create : False: refuse a database that is not there
        checked : check the file and the end of each chain of events; False for readers that open often
        busy_seconds : how long a transaction waits for another process's, then it fails

        Raises
        ------
        InputError
            The path or URL is wrong, or the database is not botlib's, or of a newer botlib.
        RepositoryError
            It is damaged, locked or out of reach.
        """
        where = place(db, root)
        if where.path is not None:
            make_file(where.path, create)
        engine = make_engine(where, busy_seconds)
        try:
            with said(where, busy_seconds):
                prepare(engine, where, may_create=create)
                if checked:
                    check(engine, where)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, where, busy_seconds)

    @property
    def shown(self) -> str:
        """Where it is, for people: the path, or the URL without its password."""
        return self._place.shown

    def close(self) -> None:
        """Give connections back; idempotent."""
        self._engine.dispose()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Repository({self.shown!r})"

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction: what is written in this block is on disk when it ends, or, after any exception, not at all.

        Raises
        ------
        RepositoryError
            Locked for longer than ``busy_seconds``, disk full, no connection, a contradiction to what is recorded. Its
            ``written`` is None when the connection broke during the commit and nobody can say what became of it.
        """
        self._take_turn()
        try:
            with said(self._place, self._busy, writing=True), self._engine.connect() as connection:
                number = begin(connection)
                transaction = Transaction(connection, self._statements)
                yield transaction
                transaction.finish()
                commit(connection, self._engine, self._place, number)
        finally:
            self._owner = None
            self._writer.release()

    def _take_turn(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise RepositoryError("writing() within writing(): use the transaction that is open.")
        if not self._writer.acquire(timeout=self._busy):
            raise RepositoryError(f"Database {self.shown}: another thread has written for {self._busy:g} s. Nothing of "
                                  "this transaction was written.")
        self._owner = me

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with said(self._place, self._busy), self._reads.connect() as connection:
            yield connection

    def ledger(self, account_id: str, epoch: str, *, venue: str, capital: float | None,
               time: pd.Timestamp) -> LedgerRow:
        """The ledger of an account in an epoch, made when there is none; an existing one keeps its venue and capital.

        Raises
        ------
        InputError
            An unknown venue, or the ledger is another venue's.
        """
        if venue not in _VENUES:
            raise InputError(f"venue = {venue!r}: it must be one of {', '.join(_VENUES)}.")
        t = schema.ledgers
        query = select(*row_columns(LedgerRow)).where(t.c.account_id == account_id, t.c.epoch == epoch)
        with self._reading() as connection:
            found = connection.execute(query).first()
        if found is None:
            values = {"venue": venue, "account_id": text(account_id), "epoch": text(epoch), "created": ns(time),
                      "capital": None if capital is None else number(capital, "capital"), "events": 0, "head": ""}
            with self.writing() as tx:
                found = tx.connection.execute(query).first()
                if found is None:
                    tx.connection.execute(insert(t), values)
                    found = tx.connection.execute(query).one()
        row = make_row(LedgerRow, found)
        if row.venue != venue:
            raise InputError(f"venue = {venue!r}: account {account_id} is recorded as one of {row.venue!r}.")
        return row

    def verify(self, ledger_id: int) -> Verification:
        """Check everything that can be checked of a ledger: the file, its chain of events from the first one on, the
        seals of fills and round trips, the checkpoint. Takes seconds for a million rows."""
        try:
            with said(self._place, self._busy), snapshot(self._engine) as connection:
                return self._verify(connection, ledger_id)
        except RepositoryError as error:
            return Verification(False, 0, None, str(error))

    def _verify(self, connection: Connection, ledger_id: int) -> Verification:
        check_file(connection, self._place, whole=True)
        ledger = connection.execute(select(schema.ledgers).where(schema.ledgers.c.id == ledger_id)).first()
        if ledger is None:
            raise InputError(f"ledger_id = {ledger_id}: there is no such ledger in {self.shown}.")
        e = schema.events.c
        query = select(*(e[name] for name in EVENT_COLUMNS)).where(e.ledger_id == ledger_id).order_by(e.seq)
        start = genesis(ledger.venue, ledger.account_id, ledger.epoch)
        after, head, found = check_events(_stream(connection, query), start, 1)
        if not found.ok:
            return found
        if after - 1 != ledger.events or (ledger.events and head != ledger.head):
            return Verification(False, found.events, min(after, ledger.events + 1),
                                f"the chain ends with event {after - 1:,}, the ledger says {ledger.events:,}")
        rows = 0
        for table, names in ((schema.fills, FILL_SEAL), (schema.round_trips, TRIP_SEAL)):
            c = table.c
            sealed = select(c.id, c.seal, *(c[name] for name in names)).where(c.ledger_id == ledger_id)
            for number_, mark, *values in _stream(connection, sealed):
                if seal(values) != mark:
                    what = f"row {number_} of {table.name} is not as it was written"
                    return Verification(False, found.events, None, what, rows)
                rows += 1
        c = schema.checkpoints.c
        packed = connection.execute(select(c.state).where(c.ledger_id == ledger_id)).scalar()
        if packed is not None:
            unpack(packed, "the checkpoint")
        return Verification(True, found.events, None, "", rows)


def _stream(connection: Connection, query: Any) -> Iterator[Any]:
    """Rows, a batch at a time: a long history does not fit into memory."""
    result = connection.execution_options(yield_per=_BATCH).execute(query)
    try:
        for part in result.partitions():
            yield from part
    finally:
        result.close()
