"""One transaction: what a session writes, gathered and sent to the database in batches, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Connection, insert

from botlib.errors import InputError, RepositoryError, nearest
from botlib.repository import schema
from botlib.repository.chain import FILL_SEAL, TRIP_SEAL, event_hash, genesis, sealed
from botlib.repository.covers import Span, new_parts
from botlib.repository.statements import FLUSH_ORDER, Statements
from botlib.repository.values import canonical, ns, ns_or_none, number, number_or_none, pack, text

if TYPE_CHECKING:
    from botlib.brokers.base import Activity, Fill, OpenOrder

INTENT_STATES = ("recorded", "sent", "working", "unknown", "filled", "cancelled", "expired", "rejected", "replaced",
                 "missed", "shadow", "abandoned")
DECISION_STATES = ("decided", "missed", "discarded")
PURPOSES = ("entry", "exit", "reduce", "stop", "target", "protect", "flatten")
LEVELS = ("info", "warning", "alarm")


def one_of(value: str, valid: tuple[str, ...], name: str) -> str:
    """``value``, when it is a valid one; else `InputError`."""
    if value not in valid:
        raise InputError(f"{name} = {value!r}: it must be one of {', '.join(valid)}{nearest(value, valid)}")
    return value


class Batches:
    """Rows that wait to be written, by statement."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self.connection, self.statements = connection, statements
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Have a row written before the transaction ends."""
        self._waiting.setdefault(name, []).append(row)

    def flush(self) -> None:
        """Write what waits."""
        for name in FLUSH_ORDER:
            rows = self._waiting.pop(name, None)
            if not rows:
                continue
            done = self.statements.batch(name, self.connection, rows)
            if name in {"intent_state", "session_ended"} and 0 <= done < len(rows):
                what = ("intent", "b_client_order_id") if name == "intent_state" else ("session", "b_id")
                asked = ", ".join(str(row[what[1]]) for row in rows[:5])
                raise RepositoryError(f"no such {what[0]} is recorded (one of {asked}). Nothing of this transaction "
                                      "was written.")


class TradingWrites:
    """Events, decisions, intents, orders, fills, round trips and activities."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self.connection = connection
        self._batches = Batches(connection, statements)
        self._statements = statements
        self._chains: dict[int, tuple[int, str]] = {}
        self._spans: dict[tuple[int, str], list[Span]] = {}

    def event(self, ledger_id: int, kind: str, data: Mapping[str, Any] | None = None, *, time: pd.Timestamp,
              session_id: str | None = None, level: str = "info") -> int:
        """Append an event to the ledger's chain; its number."""
        if ledger_id not in self._chains:
            self._chains[ledger_id] = self._chain(ledger_id)
        count, previous = self._chains[ledger_id]
        session = None if session_id is None else text(session_id)
        row: dict[str, Any] = {"seq": count + 1, "session_id": session, "time": ns(time), "kind": text(kind),
               "level": one_of(level, LEVELS, "level"), "data": canonical(dict(data or {}))}
        hashed = event_hash(previous, **row)
        self._batches.add("event", {**row, "ledger_id": ledger_id, "previous": previous, "hash": hashed})
        self._chains[ledger_id] = count + 1, hashed
        return count + 1

    def _chain(self, ledger_id: int) -> tuple[int, str]:
        found = self.connection.execute(self._statements.chain, {"ledger_id": ledger_id}).first()
        if found is None:
            raise RepositoryError(f"there is no ledger {ledger_id} in this database.")
        if found.head:
            return int(found.events), str(found.head)
        t = schema.ledgers
        row = self.connection.execute(t.select().where(t.c.id == ledger_id)).one()
        return 0, genesis(row.venue, row.account_id, row.epoch)

    def decision(self, ledger_id: int, *, bar_time: pd.Timestamp, interval: str, time: pd.Timestamp,
                 session_id: str = "", known: pd.Timestamp | None = None, status: str = "decided", bars_hash: str = "",
                 bars_file: str = "", feed: str = "", strategy_hash: str = "",
                 targets: Mapping[str, float | None] | None = None,
                 opening: Mapping[str, Any] | bytes | None = None) -> int:
        """Record the decision on a bar, once; its id. ``opening`` is the state before it; bytes are packed already."""
        row = {"ledger_id": ledger_id, "session_id": text(session_id), "bar_time": ns(bar_time, "bar_time"),
               "interval": text(interval), "decided": ns(time), "known": ns_or_none(known, "known"),
               "status": one_of(status, DECISION_STATES, "status"), "bars_hash": text(bars_hash),
               "bars_file": text(bars_file), "feed": text(feed), "strategy_hash": text(strategy_hash),
               "targets": None if targets is None else canonical(targets, "targets"),
               "opening": opening if opening is None or isinstance(opening, bytes) else pack(opening, "opening")}
        self._batches.flush()
        return int(self.connection.execute(insert(schema.decisions), row).inserted_primary_key[0])  # type: ignore[index]

    def intent(self, client_order_id: str, ledger_id: int, *, symbol: str, side: str, purpose: str,
               qty: float | None, adds_risk: bool, time: pd.Timestamp, request: Mapping[str, Any] | None = None,
               session_id: str = "", decision_id: int | None = None, uid: int | None = None, attempt: int = 0,
               state: str = "recorded", reason: str = "") -> None:
        """Record an order that is meant. An id that is recorded already fails the transaction."""
        if not client_order_id:
            raise InputError("client_order_id is empty; an intent is known by it.")
        self._batches.add("intent", {
            "client_order_id": text(client_order_id), "ledger_id": ledger_id, "session_id": text(session_id),
            "decision_id": decision_id, "uid": None if uid is None else int(uid), "symbol": text(symbol),
            "side": text(side), "purpose": one_of(purpose, PURPOSES, "purpose"),
            "request": None if request is None else canonical(request, "request"), "qty": number_or_none(qty, "qty"),
            "attempt": int(attempt), "adds_risk": bool(adds_risk), "state": one_of(state, INTENT_STATES, "state"),
            "reason": text(reason), "order_id": "", "filled_qty": 0.0, "created": ns(time), "sent": None,
            "updated": ns(time)})

    def intent_state(self, client_order_id: str, state: str, *, time: pd.Timestamp, reason: str | None = None,
                     order_id: str | None = None, filled_qty: float | None = None,
                     sent: pd.Timestamp | None = None) -> None:
        """Change an intent's state. What is None stays; filled shares never become fewer, and an intent that is
        filled, cancelled, expired or replaced does not open again."""
        self._batches.add("intent_state", {
            "b_client_order_id": client_order_id, "b_state": one_of(state, INTENT_STATES, "state"),
            "b_reason": None if reason is None else text(reason), "b_sent": ns_or_none(sent, "sent"),
            "b_order_id": None if order_id is None else text(order_id),
            "b_filled_qty": number_or_none(filled_qty, "filled_qty"), "b_updated": ns(time)})

    def order(self, ledger_id: int, order: OpenOrder, *, time: pd.Timestamp, intent: str = "", role: str = "",
              uid: int | None = None) -> None:
        """Record an order as the broker has it (not its legs). Late messages neither open it again nor take filled
        shares away; ``intent``, ``role`` and ``uid`` stay when they are not given."""
        numbers = {name: number_or_none(getattr(order, name), name)
                   for name in ("qty", "limit_price", "stop_price", "filled_avg_price")}
        self._batches.add("order", {
            "ledger_id": ledger_id, "order_id": text(order.order_id), "client_order_id": text(order.client_order_id),
            "intent": text(intent), "role": text(role), "uid": None if uid is None else int(uid),
            "symbol": text(order.symbol), "side": text(order.side), "type": text(order.type),
            "status": text(order.status), "filled_qty": number(order.filled_qty, "filled_qty"),
            "submitted": ns_or_none(order.submitted_at, "submitted_at"), "updated": ns(time), **numbers})

    def expect_fills(self, ledger_id: int, order_ids: Iterable[str]) -> None:
        """Read what is filled of these orders at once, where many fills follow."""
        missing = [i for i in dict.fromkeys(order_ids) if (ledger_id, i) not in self._spans]
        for start in range(0, len(missing), 500):
            part = missing[start:start + 500]
            self._spans |= {(ledger_id, i): [] for i in part}
            known = {"ledger_id": ledger_id, "order_ids": part}
            for order_id, upto, qty, price in self.connection.execute(self._statements.spans, known):
                self._spans[ledger_id, order_id].append(Span(round(upto - qty, 9), upto, price))

    def fill(self, ledger_id: int, fill: Fill, *, purpose: str = "", uid: int | None = None,
             bar_time: pd.Timestamp | None = None, session_id: str = "") -> bool:
        """Record shares that changed hands; False when all of them are recorded already.

        Of a fill that covers recorded shares only the rest is recorded (`botlib.repository.covers.new_parts`).
        """
        number(fill.price, "price"), number(fill.cum_qty, "cum_qty")
        if number(fill.qty, "qty") <= 0.0 or fill.side not in ("buy", "sell"):
            raise InputError(f"fill of order {fill.order_id}: {fill.side!r} {fill.qty} shares; a fill buys or sells "
                             "more than 0 shares.")
        self.expect_fills(ledger_id, (fill.order_id,))
        known = self._spans[ledger_id, fill.order_id]
        parts = new_parts(known, fill)
        for part in parts:
            row = {"ledger_id": ledger_id, "order_id": text(part.order_id), "cum_qty": part.cum_qty,
                   "symbol": text(part.symbol), "side": part.side, "qty": part.qty, "price": part.price,
                   "time": ns(part.time), "purpose": text(purpose), "uid": None if uid is None else int(uid),
                   "client_order_id": text(part.client_order_id), "bar_time": ns_or_none(bar_time, "bar_time"),
                   "session_id": text(session_id), "activity_id": text(part.activity_id)}
            self._batches.add("fill", sealed(row, FILL_SEAL))
            known.append(Span(*part.covers, part.price))
        return bool(parts)

    def round_trip(self, ledger_id: int, *, symbol: str, side: str, qty: float, entry_time: pd.Timestamp,
                   entry_price: float, exit_time: pd.Timestamp, exit_price: float, pnl: float, costs: float = 0.0,
                   slippage: float = 0.0, exit_reason: str = "", entry_uid: int | None = None,
                   exit_uid: int | None = None, session_id: str = "") -> None:
        """Record shares bought and sold again (or the reverse): dollars, ``pnl`` after costs."""
        numbers = {"qty": qty, "entry_price": entry_price, "exit_price": exit_price, "pnl": pnl, "costs": costs,
                   "slippage": slippage}
        row = {"ledger_id": ledger_id, "symbol": text(symbol), "side": text(side),
               "entry_time": ns(entry_time, "entry_time"), "exit_time": ns(exit_time, "exit_time"),
               "exit_reason": text(exit_reason), "entry_uid": None if entry_uid is None else int(entry_uid),
               "exit_uid": None if exit_uid is None else int(exit_uid), "session_id": text(session_id),
               **{name: number(value, name) for name, value in numbers.items()}}
        self._batches.add("round_trip", sealed(row, TRIP_SEAL))

    def activity(self, ledger_id: int, activity: Activity, *, booked: bool = True) -> bool:
        """Record what moved cash or shares beside fills; False when it is recorded already (``booked`` then may only
        become true)."""
        row = {"ledger_id": ledger_id, "activity_id": text(activity.activity_id), "type": text(activity.type),
               "time": ns(activity.time), "symbol": text(activity.symbol), "booked": bool(booked),
               "description": text(activity.description),
               **{name: number_or_none(getattr(activity, name), name) for name in ("qty", "price", "net_amount")}}
        new = self.connection.execute(self._statements.activity, row).first() is not None
        if booked and not new:
            self.connection.execute(self._statements.activity_booked,
                                    {"b_ledger_id": ledger_id, "b_activity_id": row["activity_id"]})
        return new

    def finish(self) -> None:
        """Write what waits, and where each chain of events ends now."""
        for ledger_id, (count, head) in self._chains.items():
            self._batches.add("chain", {"b_id": ledger_id, "b_events": count, "b_head": head})
        self._batches.flush()
