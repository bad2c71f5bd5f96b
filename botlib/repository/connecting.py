"""Connections: where the database is, how durable a commit is, and what its errors mean to a person."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError, TimeoutError

from botlib.errors import InputError, RepositoryError
from botlib.project import resolve

BUSY_SECONDS = 5.0
"""How long a transaction waits for another one, by default."""

_MAGIC = b"SQLite format 3\0"  # how each of its files begins
_PRAGMAS = (
    "PRAGMA foreign_keys=ON",
    "PRAGMA synchronous=FULL",            # a commit returns when the disk has it
    "PRAGMA fullfsync=ON",                # ... on macOS too
    "PRAGMA checkpoint_fullfsync=ON",
    "PRAGMA cell_size_check=ON",          # damaged pages are noticed early
    "PRAGMA trusted_schema=OFF",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA cache_size=-4096",            # kB of each connection, which a long session fills
)


@dataclass(frozen=True)
class Place:
    """Where a database is. ``shown`` is for people: no password, a path as it is."""

    url: URL
    shown: str
    path: Path | None = None
    """The SQLite file; None on PostgreSQL."""


def place(db: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> Place:
    """What ``db`` names: a path (a relative one starts at the project's root) or a URL.

    Raises
    ------
    InputError
        Neither a path nor a URL of SQLite or PostgreSQL.
    """
    given = os.fspath(db)
    if not given.strip() or given == ":memory:":
        raise InputError(f"db = {given!r}: a ledger needs a file that lasts; give a path such as trades.sqlite, or "
                         "postgresql://user@host/name.")
    if "://" not in given:
        return _file(resolve(given, root))
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise InputError("db is no URL that can be read (not shown, it may hold a password): give a path such as "
                         "trades.sqlite, or postgresql://user@host/name.") from None
    kind = url.drivername
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return _file(resolve(url.database, root))
    if kind in {"postgres", "postgresql", "postgresql+psycopg"} and url.database:
        url = url.set(drivername="postgresql+psycopg")
        return Place(url, url.render_as_string(hide_password=True).replace("postgresql+psycopg", "postgresql", 1))
    raise InputError(f"db = {url.render_as_string(hide_password=True)!r}: give the path of an SQLite file such as "
                     "trades.sqlite, or postgresql://user@host/name.")


def _file(path: Path) -> Place:
    return Place(URL.create("sqlite", database=str(path)), str(path), path)


def make_file(path: Path, create: bool) -> None:
    """See that the SQLite file is there, nobody else's to read (mode 0600; its -wal and -shm inherit that).

    Raises
    ------
    InputError
        It is not there and must not be made, cannot be made, or is a folder or another kind of file, which is left as
        it is.
    """
    if path.is_dir():
        raise InputError(f"db = {path}: this is a folder; name a file in it, e.g. {path / 'trades.sqlite'}.")
    try:
        if create and not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size and not _is_sqlite(path):
            raise InputError(f"db = {path}: this is not an SQLite file; name another one, e.g. "
                             f"{path.with_name('trades.sqlite')}.")
        if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.getuid():
            path.chmod(0o600)
    except FileNotFoundError:
        missing = f"there is no folder {path.parent}" if not path.parent.is_dir() else "there is no such database"
        raise InputError(f"db = {path}: {missing}; check the path (a relative one starts at the project).") from None
    except OSError as error:
        raise InputError(f"db = {path}: it cannot be opened for writing ({error.strerror}).") from None
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        raise InputError(f"db = {path}: the file and its folder must be writable (SQLite keeps its log beside it).")


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def make_engine(where: Place, busy_seconds: float) -> Engine:
    """An engine whose transactions wait ``busy_seconds`` at most and whose commits are on disk when they return.

    Raises
    ------
    InputError
        PostgreSQL, and its driver is not installed.
    """
    if where.path is not None:
        # The driver begins nothing by itself: `begin` does, and a single read needs no transaction.
        engine = create_engine(where.url, hide_parameters=True,
                               connect_args={"timeout": busy_seconds, "isolation_level": None})
        event.listen(engine, "connect", _pragmas)
        return engine
    wait, query = int(busy_seconds * 1000), where.url.query
    options = {"connect_timeout": "10", "application_name": "botlib", "keepalives_idle": "30",
               "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "15000",
               "options": f"-c lock_timeout={wait} -c synchronous_commit=on -c timezone=UTC "
                          "-c idle_in_transaction_session_timeout=60000 " + str(query.get("options", ""))}
    try:
        return create_engine(where.url, hide_parameters=True, pool_pre_ping=True,
                             connect_args={k: v for k, v in options.items() if k == "options" or k not in query})
    except ImportError:
        raise InputError(f"db = {where.shown}: PostgreSQL needs a driver; install it with: "
                         "pip install 'botlib[postgres]'.") from None


def _pragmas(connection: Any, _record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def begin(connection: Connection) -> int | None:
    """Begin a writing transaction. On PostgreSQL: its number, by which its fate can be asked after a lost answer."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return None
    return int(connection.exec_driver_sql("SELECT txid_current()").scalar_one())


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see the database as it was at the first."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        try:
            yield connection
        finally:
            connection.rollback()


_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk failed, or a limit on file sizes was met: check the disk and its free space",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup, or move it away and start a new one; the "
                            "session then reconciles with the broker",
    sqlite3.SQLITE_NOTADB: "this is not an SQLite file: name another one",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the permissions of the file and of its folder",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check the path, its permissions and the number of open files",
}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_LOCK_STATES = {"55P03", "40P01", "40001"}  # lock_not_available, deadlock_detected, serialization_failure


def sentence(error: BaseException, where: Place, busy_seconds: float, *, writing: bool) -> RepositoryError:
    """What a database's error means; ``writing``: and that nothing was written."""
    if isinstance(error, TimeoutError):
        return RepositoryError(f"Database {where.shown}: all its connections are in use; close readers that are done.")
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", None)
    state = getattr(cause, "sqlstate", None) or ""
    primary = None if code is None else code & 0xFF
    if primary in _LOCKED or state in _LOCK_STATES:
        why = f"another process has kept it locked for {busy_seconds:g} s: wait for it, or stop it, and try again"
    elif primary in _SENTENCES:
        why = _SENTENCES[primary]
    elif state.startswith("53"):
        why = f"the server is out of resources ({_first_line(cause)})"
    elif isinstance(error, IntegrityError):
        why = f"this contradicts what is recorded ({_first_line(cause)})"
    elif isinstance(error, DBAPIError) and (error.connection_invalidated or state.startswith(("57", "08"))
                                            or (not state and where.path is None)):
        why = f"no connection to the server ({_first_line(cause)})"
    else:
        why = _first_line(cause)
    return RepositoryError(f"Database {where.shown}: {why}." + (" Nothing of this transaction was written." if writing
                                                                else ""))


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def said(where: Place, busy_seconds: float, *, writing: bool = False) -> Iterator[None]:
    """Errors of the database become a `RepositoryError`; all others pass. ``writing``: in a transaction that writes."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise sentence(error, where, busy_seconds, writing=writing) from None
