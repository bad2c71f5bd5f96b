"""Opening a database: made when it is new, migrated when it is old, checked before anybody trusts it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.exc import DBAPIError

from botlib.errors import InputError, RepositoryError
from botlib.repository import schema
from botlib.repository.chain import EVENT_COLUMNS, check_events
from botlib.repository.connecting import Place, begin, snapshot
from botlib.repository.migrations import create, migrate

TAIL = 1_000
"""How many events at the end of each chain are checked at every opening."""

_ONE_AT_A_TIME = 0x626F746C6962  # the advisory lock of opening on PostgreSQL


def prepare(engine: Engine, where: Place, *, may_create: bool) -> None:
    """See that all tables are there and of this version.

    Raises
    ------
    InputError
        The database is somebody else's, or of a newer botlib, or empty and must not be made.
    """
    with engine.connect() as connection:
        if where.path is not None:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        if _version(connection, where) == schema.VERSION:
            return
    if not may_create:
        with engine.connect() as connection:
            if _version(connection, where) is None:
                raise InputError(f"db = {where.shown}: nothing has been recorded there yet.")
    with engine.connect() as connection:
        begin(connection)
        if where.path is None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})")
        version = _version(connection, where)  # another process may have been faster
        if version is None:
            create(connection)
        elif version < schema.VERSION:
            migrate(connection, version)
        connection.commit()


def _version(connection: Connection, where: Place) -> int | None:
    """The version of the tables; None when there are none."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    found: dict[str, str] = {}
    if "meta" in tables:
        try:
            found = {row.key: row.value for row in connection.execute(select(schema.meta))}
        except DBAPIError:
            if where.path is None:
                connection.rollback()
    if found.get("application") != "botlib" or not found.get("schema", "").isdigit():
        held = ", ".join(sorted(tables)[:3])
        raise InputError(f"db = {where.shown}: this database is not botlib's (it holds {held}); name another file, or "
                         "an empty database.")
    version = int(found["schema"])
    if version > schema.VERSION:
        raise InputError(f"db = {where.shown}: it was written by a newer botlib (tables of version {version}; this one "
                         f"knows up to {schema.VERSION}). Upgrade botlib, or name another database.")
    return version


def check(engine: Engine, where: Place, *, whole: bool = False) -> None:
    """Check the file's structure and the end of each chain of events.

    Parameters
    ----------
    whole : also compare each index with its table

    Raises
    ------
    RepositoryError
        Something is damaged or was changed.
    """
    with snapshot(engine) as connection:
        check_file(connection, where, whole=whole)
        for ledger in connection.execute(select(schema.ledgers)).fetchall():
            _check_tail(connection, ledger, where)


def check_file(connection: Connection, where: Place, *, whole: bool) -> None:
    """SQLite's own check of its file; PostgreSQL looks after its own."""
    if where.path is None:
        return
    found = connection.exec_driver_sql(f"PRAGMA {'integrity_check' if whole else 'quick_check'}(1)").scalar_one()
    if found != "ok":
        what = str(found).replace("*** in database main ***", "").strip().splitlines()[0]
        raise RepositoryError(f"Database {where.shown}: the file is damaged ({what}): restore it from a backup, or "
                              "move it away and start a new one; the session then reconciles with the broker.")


def _check_tail(connection: Connection, ledger: Any, where: Place) -> None:
    e = schema.events
    query = select(*(e.c[name] for name in EVENT_COLUMNS)).where(e.c.ledger_id == ledger.id)
    rows = connection.execute(query.order_by(e.c.seq.desc()).limit(TAIL)).fetchall()[::-1]
    first = rows[0].seq if rows else 1
    after, head, found = check_events(rows, None, first)
    if found.ok and (after - 1, head) != (ledger.events, ledger.head):
        raise RepositoryError(f"Database {where.shown}: the ledger of account {ledger.account_id} should end with "
                              f"event {ledger.events:,}, but ends with event {after - 1:,}: events were removed or "
                              "added by hand, or the file is damaged. Restore a backup.")
    if not found.ok:
        raise RepositoryError(f"Database {where.shown}: in the ledger of account {ledger.account_id} {found.problem}: "
                              "it was changed by hand, or the file is damaged. Restore a backup.")
