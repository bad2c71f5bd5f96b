"""The statements that a session uses at every iteration: made and compiled once for a dialect."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, case, func, insert, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Select
from sqlalchemy.sql.dml import Insert, Update
from sqlalchemy.sql.elements import ColumnElement

from botlib.brokers.base import ENDED
from botlib.repository import schema

FINAL_STATES = ("filled", "cancelled", "expired", "replaced")
"""States of an intent that the broker has said are over: a message that comes late does not open it again."""

FLUSH_ORDER = ("session", "session_ended", "intent", "order", "intent_state", "fill", "round_trip", "equity", "safety",
               "safety_cleared", "checkpoint", "event", "chain")
"""In which order what a transaction has gathered is written: what others refer to first."""


class Statements:
    """SQL for one dialect, by name."""

    def __init__(self, dialect: str) -> None:
        upsert: Any = sqlite.insert if dialect == "sqlite" else postgresql.insert
        t = schema
        self._compiled: dict[str, tuple[str, list[str] | None]] = {}
        self.batches: dict[str, Insert | Update] = {
            "session": insert(t.sessions),
            "session_ended": _session_ended(),
            "intent": insert(t.intents),
            "intent_state": _intent_state(),
            "order": _order(upsert),
            "fill": insert(t.fills),
            "round_trip": insert(t.round_trips),
            "equity": _replace(upsert, t.equity, "ledger_id", "time"),
            "safety": _safety(upsert),
            "safety_cleared": _replace(upsert, t.safety, "ledger_id"),
            "checkpoint": _replace(upsert, t.checkpoints, "ledger_id"),
            "event": insert(t.events),
            "chain": update(t.ledgers).where(t.ledgers.c.id == bindparam("b_id")).values(
                events=bindparam("b_events"), head=bindparam("b_head")),
        }
        self.activity = upsert(t.activities).on_conflict_do_nothing().returning(t.activities.c.activity_id)
        self.activity_booked = update(t.activities).values(booked=True).where(
            t.activities.c.ledger_id == bindparam("b_ledger_id"),
            t.activities.c.activity_id == bindparam("b_activity_id"))
        self.chain: Select[Any] = select(t.ledgers.c.events, t.ledgers.c.head).where(
            t.ledgers.c.id == bindparam("ledger_id")).with_for_update()
        self.spans: Select[Any] = select(t.fills.c.order_id, t.fills.c.cum_qty, t.fills.c.qty, t.fills.c.price).where(
            t.fills.c.ledger_id == bindparam("ledger_id"),
            t.fills.c.order_id.in_(bindparam("order_ids", expanding=True)))


    def batch(self, name: str, connection: Connection, rows: list[dict[str, Any]]) -> int:
        """Write rows by one compiled statement; how many were written, below 0 where the driver does not tell.

        SQLAlchemy would go through each value of each row; ours are what a driver takes as they are.
        """
        if name not in self._compiled:
            columns = list(rows[0]) if isinstance(self.batches[name], Insert) else None
            found = self.batches[name].compile(dialect=connection.dialect, column_keys=columns)
            self._compiled[name] = str(found), getattr(found, "positiontup", None)
        words, order = self._compiled[name]
        values: Any = rows if order is None else [tuple(map(row.__getitem__, order)) for row in rows]
        return connection.exec_driver_sql(words, values).rowcount


@cache
def statements(dialect: str) -> Statements:
    """The statements of a dialect ("sqlite" or "postgresql")."""
    return Statements(dialect)


def _among(value: ColumnElement[str], words: Iterable[str]) -> ColumnElement[bool]:
    """``value IN (words)``, in words that a batch can be sent with."""
    return or_(*(value == literal_column(f"'{word}'") for word in sorted(words)))


def _replace(upsert: Any, table: Table, *key: str) -> Insert:
    """Insert a row, or put its values in the place of those there are."""
    new = upsert(table)
    changed = {c.key: new.excluded[c.key] for c in table.columns if c.key not in key}
    return new.on_conflict_do_update(index_elements=[table.c[k] for k in key], set_=changed)


def _session_ended() -> Update:
    t = schema.sessions
    names = ("ended", "status", "reason", "iterations", "total_trades", "total_pnl")
    return update(t).where(t.c.id == bindparam("b_id")).values({t.c[n]: bindparam(f"b_{n}") for n in names})


def _intent_state() -> Update:
    t = schema.intents
    state, filled = bindparam("b_state", type_=t.c.state.type), bindparam("b_filled_qty", type_=t.c.filled_qty.type)
    late = _among(t.c.state, FINAL_STATES) & _among(state, schema.OPEN_STATES)

    def given(name: str) -> Any:
        return func.coalesce(bindparam(f"b_{name}", type_=t.c[name].type), t.c[name])

    return update(t).where(t.c.client_order_id == bindparam("b_client_order_id")).values({
        t.c.state: case((late, t.c.state), else_=state),
        t.c.reason: given("reason"), t.c.order_id: given("order_id"), t.c.sent: given("sent"),
        t.c.filled_qty: case((filled > t.c.filled_qty, filled), else_=t.c.filled_qty),
        t.c.updated: bindparam("b_updated")})


def _order(upsert: Any) -> Insert:
    """What is known of an order only grows: messages that come late neither open it again nor take shares away."""
    t = schema.orders
    new = upsert(t)
    fresh = new.excluded
    late = _among(t.c.status, ENDED) & ~_among(fresh.status, ENDED)
    changed: dict[Any, Any] = {c.key: fresh[c.key] for c in t.columns if c.key not in {"ledger_id", "order_id"}}
    changed |= {name: case((fresh[name] != literal_column("''"), fresh[name]), else_=t.c[name])
                for name in ("intent", "role", "client_order_id")}
    changed |= {name: func.coalesce(fresh[name], t.c[name]) for name in ("uid", "qty", "submitted")}
    more = fresh.filled_qty >= t.c.filled_qty
    changed |= {"status": case((late, t.c.status), else_=fresh.status),
                "filled_qty": case((more, fresh.filled_qty), else_=t.c.filled_qty),
                "filled_avg_price": case((more, func.coalesce(fresh.filled_avg_price, t.c.filled_avg_price)),
                                         else_=t.c.filled_avg_price)}
    return new.on_conflict_do_update(index_elements=[t.c.ledger_id, t.c.order_id], set_=changed)


def _safety(upsert: Any) -> Insert:
    """A latched state stays latched, with its state and its reason, until it is cleared."""
    t = schema.safety
    new = upsert(t)
    fresh = new.excluded
    kept = t.c.latched & ~fresh.latched
    changed: dict[Any, Any] = {c.key: fresh[c.key] for c in t.columns if c.key != "ledger_id"}
    changed |= {name: case((kept, t.c[name]), else_=fresh[name]) for name in ("state", "reason")}
    changed["latched"] = or_(t.c.latched, fresh.latched)
    return new.on_conflict_do_update(index_elements=[t.c.ledger_id], set_=changed)
