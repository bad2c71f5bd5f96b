"""How a database of an earlier version becomes one of this version: forward only, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Table, bindparam, select, text, update

from botlib.repository import schema
from botlib.repository.chain import FILL_SEAL, TRIP_SEAL, seal

_APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER events_no_update BEFORE UPDATE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
        "CREATE TRIGGER events_no_delete BEFORE DELETE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION botlib_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$",
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events "
        "FOR EACH ROW EXECUTE FUNCTION botlib_append_only()",
        "CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION botlib_append_only()",
    ),
}


def create(connection: Connection) -> None:
    """Make all tables in an empty database."""
    schema.metadata.create_all(connection, checkfirst=False)  # it is empty
    for statement in _APPEND_ONLY[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.execute(schema.meta.insert(), [
        {"key": "application", "value": "botlib"}, {"key": "schema", "value": str(schema.VERSION)}])


def migrate(connection: Connection, version: int) -> None:
    """Bring the tables from ``version`` to the current one."""
    for step in range(version + 1, schema.VERSION + 1):
        _STEPS[step](connection)
    connection.execute(update(schema.meta).where(schema.meta.c.key == "schema").values(value=str(schema.VERSION)))


def _to_2(connection: Connection) -> None:
    """Seals on fills and round trips; a ledger knows the length and the end of its chain of events."""
    number, words = "BIGINT NOT NULL DEFAULT 0", "TEXT NOT NULL DEFAULT ''"
    for table, column in (("fills", f"seal {number}"), ("round_trips", f"seal {number}"),
                          ("ledgers", f"events {number}"), ("ledgers", f"head {words}")):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column}"))
    connection.execute(text(
        "UPDATE ledgers SET events = (SELECT COUNT(*) FROM events WHERE ledger_id = ledgers.id), head = COALESCE("
        "(SELECT hash FROM events WHERE ledger_id = ledgers.id ORDER BY seq DESC LIMIT 1), '')"))
    _seal(connection, schema.fills, FILL_SEAL)
    _seal(connection, schema.round_trips, TRIP_SEAL)


def _seal(connection: Connection, table: Table, columns: Sequence[str]) -> None:
    set_seal = update(table).where(table.c.id == bindparam("b_id")).values(seal=bindparam("b_seal"))
    query = select(table.c.id, *(table.c[name] for name in columns)).where(table.c.id > bindparam("last"))
    last = -1
    while rows := connection.execute(query.order_by(table.c.id).limit(10_000), {"last": last}).fetchall():
        connection.execute(set_seal, [{"b_id": row[0], "b_seal": seal(row[1:])} for row in rows])
        last = rows[-1][0]


def _to_3(connection: Connection) -> None:
    """Trials of parameter searches."""
    schema.metadata.create_all(connection, [schema.studies, schema.trials], checkfirst=False)


_STEPS: dict[int, Callable[[Connection], None]] = {2: _to_2, 3: _to_3}
