"""What can be asked of a repository: rows one by one as frozen records, tables as DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import pandas as pd
from sqlalchemy import Column, Connection, Table, bindparam, func, select, tuple_
from sqlalchemy.sql import Select
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from botlib.repository import schema
from botlib.repository.rows import (
    ArmRow,
    DecisionRow,
    ExternalRow,
    IntentRow,
    LeaseRow,
    LedgerRow,
    RequestRow,
    SafetyRow,
    SessionRow,
    columns_of,
    make_row,
    row_columns,
    table,
)
from botlib.repository.values import ns, unpack

R = TypeVar("R")

_t = schema
_ID: BindParameter[Any] = bindparam("id")


def _rows(cls: type, *where: ColumnElement[bool]) -> Select[Any]:
    return select(*row_columns(cls)).where(*where)


# Those asked for again and again are made once.
_SAFETY = _rows(SafetyRow, _t.safety.c.ledger_id == _ID)
_CHECKPOINT = select(_t.checkpoints.c.state).where(_t.checkpoints.c.ledger_id == _ID)
_REQUESTS = _rows(RequestRow, _t.requests.c.account_id == _ID).order_by(_t.requests.c.id)
_UNHANDLED = _REQUESTS.where(_t.requests.c.handled.is_(None))
_INTENT = _rows(IntentRow, _t.intents.c.client_order_id == _ID)
_OPEN = _rows(IntentRow, _t.intents.c.ledger_id == _ID, _t.intents.c.state.in_(_t.OPEN_STATES)).order_by(
    _t.intents.c.created, _t.intents.c.client_order_id)
_EXTERNALS = _rows(ExternalRow, _t.externals.c.ledger_id == _ID, _t.externals.c.id > bindparam("after")).order_by(
    _t.externals.c.id)
_LEASE = _rows(LeaseRow, _t.leases.c.account_id == _ID)
_p = _t.round_trips.c
_PROFIT: list[Any] = [
    _p.symbol, func.count().label("trips"), func.sum(_p.pnl).label("pnl"), func.sum(_p.costs).label("costs"),
    func.sum(_p.slippage).label("slippage"), func.count().filter(_p.pnl > 0.0).label("won"),
    func.max(_p.pnl).label("best"), func.min(_p.pnl).label("worst")]


class Reading:
    """The questions. `Repository` says how a connection is had."""

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        raise NotImplementedError
        yield

    def _one(self, cls: type[R], query: Select[Any], key: Any) -> R | None:
        with self._reading() as connection:
            found = connection.execute(query, {"id": key}).first()
        return None if found is None else make_row(cls, found)

    def _all(self, cls: type[R], query: Select[Any], key: Any = None) -> tuple[R, ...]:
        with self._reading() as connection:
            return tuple(make_row(cls, row) for row in connection.execute(query, {"id": key}))

    def _table(self, query: Select[Any], columns: list[Column[Any]], *, backwards: bool = False) -> pd.DataFrame:
        with self._reading() as connection:
            found = table(connection.execute(query), columns)
        return found.iloc[::-1].reset_index(drop=True) if backwards else found

    # --- Rows

    def ledgers(self) -> tuple[LedgerRow, ...]:
        """All ledgers, oldest first."""
        return self._all(LedgerRow, _rows(LedgerRow).order_by(_t.ledgers.c.id))

    def session(self, session_id: str) -> SessionRow | None:
        """One session."""
        return self._one(SessionRow, _rows(SessionRow, _t.sessions.c.id == _ID), session_id)

    def checkpoint(self, ledger_id: int) -> dict[str, Any] | None:
        """The state written last; None before the first. Raises `RepositoryError` when it is damaged."""
        with self._reading() as connection:
            packed = connection.execute(_CHECKPOINT, {"id": ledger_id}).scalar()
        return None if packed is None else unpack(packed, f"the checkpoint of ledger {ledger_id}")

    def safety(self, ledger_id: int) -> SafetyRow | None:
        """The state of safety; None before the first session."""
        return self._one(SafetyRow, _SAFETY, ledger_id)

    def intent(self, client_order_id: str) -> IntentRow | None:
        """One intent, by its id."""
        return self._one(IntentRow, _INTENT, client_order_id)

    def open_intents(self, ledger_id: int) -> tuple[IntentRow, ...]:
        """Intents that may still trade or be sent (recorded, sent, working, unknown), oldest first."""
        return self._all(IntentRow, _OPEN, ledger_id)

    def known_intents(self, client_order_ids: Iterable[str]) -> frozenset[str]:
        """Those of these ids that are recorded, in any ledger of this database."""
        ids, c = list(dict.fromkeys(client_order_ids)), _t.intents.c.client_order_id
        with self._reading() as connection:
            found = [connection.execute(select(c).where(c.in_(ids[i:i + 500]))).scalars().all()
                     for i in range(0, len(ids), 500)]
        return frozenset(name for part in found for name in part)

    def requests(self, account_id: str, *, unhandled: bool = True) -> tuple[RequestRow, ...]:
        """What persons asked for, oldest first; by default what nobody has answered yet."""
        return self._all(RequestRow, _UNHANDLED if unhandled else _REQUESTS, account_id)

    def arms(self, account_id: str | None = None) -> tuple[ArmRow, ...]:
        """What persons typed for live sessions of an account, or of all, oldest first."""
        where = [] if account_id is None else [_t.arms.c.account_id == _ID]
        return self._all(ArmRow, _rows(ArmRow, *where).order_by(_t.arms.c.id), account_id)

    def lease(self, account_id: str) -> LeaseRow | None:
        """Who has the account, or had it last."""
        return self._one(LeaseRow, _LEASE, account_id)

    def decision(self, ledger_id: int, interval: str, bar_time: pd.Timestamp) -> DecisionRow | None:
        """The decision on a bar (labelled by its start); None when there was none."""
        d = _t.decisions.c
        return self._one(DecisionRow, _rows(DecisionRow, d.ledger_id == _ID, d.interval == interval,
                                            d.bar_time == ns(bar_time, "bar_time")), ledger_id)

    def opening(self, decision_id: int) -> dict[str, Any] | None:
        """The session's state before a decision; without what only tells executions apart that were told before."""
        d = _t.decisions.c
        with self._reading() as connection:
            packed = connection.execute(select(d.opening).where(d.id == decision_id)).scalar()
        return None if packed is None else unpack(packed, f"the opening state of decision {decision_id}")

    # --- Tables: the newest ``limit`` rows, in order of time; ``before`` is the id of a row: those older than it

    def fills(self, ledger_id: int, symbol: str | None = None, since: pd.Timestamp | None = None,
              until: pd.Timestamp | None = None, limit: int | None = None, *,
              before: int | None = None) -> pd.DataFrame:
        """Fills from ``since`` to before ``until``."""
        return self._history(_t.fills, "time", ledger_id, symbol, since, until, limit, before)

    def round_trips(self, ledger_id: int, symbol: str | None = None, since: pd.Timestamp | None = None,
                    until: pd.Timestamp | None = None, limit: int | None = None, *,
                    before: int | None = None) -> pd.DataFrame:
        """Round trips by the time of their exit, from ``since`` to before ``until``."""
        return self._history(_t.round_trips, "exit_time", ledger_id, symbol, since, until, limit, before)

    def profit_by_symbol(self, ledger_id: int) -> pd.DataFrame:
        """Sums over round trips, a row a symbol: trips, won, pnl, costs, slippage, best, worst (dollars)."""
        query = select(*_PROFIT).where(_p.ledger_id == ledger_id).group_by(_p.symbol).order_by(_p.symbol)
        with self._reading() as connection:
            rows = connection.execute(query).fetchall()
        names = [column.key if isinstance(column, Column) else column.name for column in _PROFIT]
        numbers = {name: "int64" if name in {"trips", "won"} else "float64" for name in names[1:]}
        found = pd.DataFrame([tuple(row) for row in rows], columns=names)
        return found.astype({"symbol": "str", **numbers}).set_index("symbol")

    def equity(self, ledger_id: int, since: pd.Timestamp | None = None, until: pd.Timestamp | None = None,
               limit: int | None = None) -> pd.DataFrame:
        """Marks of the ledger."""
        return self._history(_t.equity, "time", ledger_id, None, since, until, limit)

    def events(self, ledger_id: int, kind: str | None = None, since: pd.Timestamp | None = None,
               until: pd.Timestamp | None = None, limit: int | None = None, *,
               after: int | None = None) -> pd.DataFrame:
        """Events in order; ``after`` is a number (``seq``): those later."""
        e = _t.events.c
        where = [e.ledger_id == ledger_id, *_span(e.time, since, until)]
        where += [e.kind == kind] if kind is not None else []
        where += [e.seq > after] if after is not None else []
        columns = columns_of(_t.events, "ledger_id")
        return self._newest(select(*columns).where(*where), [e.seq], limit, columns)

    def orders(self, ledger_id: int, symbol: str | None = None, *, working: bool = False,
               limit: int | None = None) -> pd.DataFrame:
        """Orders by the time they changed last; ``working``: those that may still trade."""
        o = _t.orders.c
        where = [o.ledger_id == ledger_id]
        where += [o.symbol == symbol] if symbol is not None else []
        where += [cast("ColumnElement[bool]", _t.WORKING)] if working else []
        columns = columns_of(_t.orders, "ledger_id")
        return self._newest(select(*columns).where(*where), [o.updated, o.order_id], limit, columns)

    def intents(self, ledger_id: int, symbol: str | None = None, since: pd.Timestamp | None = None,
                until: pd.Timestamp | None = None, limit: int | None = None) -> pd.DataFrame:
        """Intents by the time they were recorded."""
        return self._history(_t.intents, "created", ledger_id, symbol, since, until, limit)

    def decisions(self, ledger_id: int, since: pd.Timestamp | None = None, until: pd.Timestamp | None = None,
                  limit: int | None = None) -> pd.DataFrame:
        """Decisions by their bar, without their opening states (see `opening`)."""
        return self._history(_t.decisions, "bar_time", ledger_id, None, since, until, limit)

    def activities(self, ledger_id: int, since: pd.Timestamp | None = None, until: pd.Timestamp | None = None,
                   limit: int | None = None) -> pd.DataFrame:
        """What moved cash or shares beside fills."""
        return self._history(_t.activities, "time", ledger_id, None, since, until, limit)

    def externals(self, ledger_id: int, after: int = 0) -> tuple[ExternalRow, ...]:
        """Shares that persons said are not the ledger's, oldest first; those with a number above ``after``."""
        with self._reading() as connection:
            found = connection.execute(_EXTERNALS, {"id": ledger_id, "after": after})
            return tuple(make_row(ExternalRow, row) for row in found)

    def trials(self, strategy: str, data_key: str) -> pd.DataFrame:
        """Every point that was tried of a strategy on a data set, oldest first: source, point, sharpe (a bar),
        observations, created."""
        s, t = _t.studies.c, _t.trials.c
        columns: list[Any] = [s.source, t.point, t.sharpe, t.observations, t.created]
        query = select(*columns).join_from(_t.trials, _t.studies).where(s.strategy == strategy, s.data_key == data_key)
        return self._table(query.order_by(t.created, t.point), columns)

    def sessions(self, ledger_id: int | None = None, limit: int | None = None) -> pd.DataFrame:
        """Sessions by their start, of one ledger or of all."""
        s, columns = _t.sessions.c, columns_of(_t.sessions)
        query = select(*columns).where(*([s.ledger_id == ledger_id] if ledger_id is not None else []))
        return self._newest(query, [s.started, s.id], limit, columns)

    def _history(self, source: Table, time: str, ledger_id: int, symbol: str | None, since: pd.Timestamp | None,
                 until: pd.Timestamp | None, limit: int | None, before: int | None = None) -> pd.DataFrame:
        c = source.c
        where = [c.ledger_id == ledger_id, *_span(c[time], since, until)]
        where += [c.symbol == symbol] if symbol is not None else []
        key = [c[time], *(k for k in source.primary_key.columns if k.key not in {"ledger_id", time})]
        if before is not None:
            with self._reading() as connection:
                found = connection.execute(select(c[time]).where(c.id == before)).scalar()
            where.append(tuple_(*key) < tuple_(*(bindparam(None, v, type_=c.id.type) for v in (found, before))))
        columns = columns_of(source, "ledger_id", "seal", "opening")
        return self._newest(select(*columns).where(*where), key, limit, columns)

    def _newest(self, query: Select[Any], key: list[Column[Any]], limit: int | None,
                columns: list[Column[Any]]) -> pd.DataFrame:
        if limit is None:
            return self._table(query.order_by(*key), columns)
        return self._table(query.order_by(*(k.desc() for k in key)).limit(int(limit)), columns, backwards=True)


def _span(column: Column[Any], since: pd.Timestamp | None, until: pd.Timestamp | None) -> list[ColumnElement[bool]]:
    found = [column >= ns(since, "since")] if since is not None else []
    return found + ([column < ns(until, "until")] if until is not None else [])
