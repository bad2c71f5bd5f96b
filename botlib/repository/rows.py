"""Rows as they are handed out one by one: frozen. Times are UTC Timestamps, None where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from sqlalchemy import Column, Row, Table
from sqlalchemy.engine import Result

from botlib.repository import schema
from botlib.repository.values import moment

Time: TypeAlias = pd.Timestamp
R = TypeVar("R")
_NOT_A_TIME = np.iinfo(np.int64).min  # how numpy writes NaT


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One account in one epoch: what all else belongs to."""

    id: int
    venue: str
    account_id: str
    epoch: str
    capital: float | None
    created: Time
    events: int
    """Length of its chain of events."""
    head: str
    """Hash of the last event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One session, from its start to its end (``ended`` is None while it runs, or after a crash)."""

    id: str
    ledger_id: int
    kind: str
    orders: str
    strategy: str
    strategy_hash: str
    params: Any
    params_hash: str
    limits: Any
    feed: str
    version: str
    host: str
    pid: int | None
    run_folder: str
    started: Time
    ended: Time | None
    status: str
    reason: str
    iterations: int | None
    total_trades: int | None
    total_pnl: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """What was decided on one bar (labelled by its start)."""

    id: int
    ledger_id: int
    session_id: str
    bar_time: Time
    interval: str
    decided: Time
    known: Time | None
    status: str
    bars_hash: str
    bars_file: str
    feed: str
    strategy_hash: str
    targets: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRow:
    """An order that was meant, and what became of it."""

    client_order_id: str
    ledger_id: int
    session_id: str
    decision_id: int | None
    uid: int | None
    symbol: str
    side: str
    purpose: str
    request: Any
    qty: float | None
    attempt: int
    adds_risk: bool
    state: str
    reason: str
    order_id: str
    filled_qty: float
    created: Time
    sent: Time | None
    updated: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRow:
    """The state of safety, which survives restarts. ``day`` is the exchange's date, ISO."""

    ledger_id: int
    state: str
    latched: bool
    reason: str
    peak: float | None
    day: str
    day_start: float | None
    orders_today: int
    exits_today: Any
    updated: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """What a person asked a session to do."""

    id: int
    account_id: str
    kind: str
    by: str
    note: str
    created: Time
    handled: Time | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """What a person typed beforehand: so many live sessions of this, until then."""

    id: int
    account_id: str
    strategy: str
    strategy_hash: str
    params_hash: str
    limits: Any
    sessions: int
    used: int
    until: Time
    version: str
    waived: Any
    typed: Time
    host: str
    revoked: Time | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalRow:
    """Shares (``symbol`` "cash": dollars) that a person said are not the ledger's."""

    id: int
    symbol: str
    qty: float
    reason: str
    accepted_by: str
    time: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """Who has an account, or had it last (``released`` is set)."""

    account_id: str
    session_id: str
    host: str
    pid: int
    boot_id: str
    process: str
    lock: str
    takes: int
    taken: Time
    renewed: Time
    released: Time | None


Reader = Callable[[Any], Any]


def _reader(column: Column[Any]) -> Reader | None:
    kind = column.info.get("kind")
    if kind == "time":
        return lambda value: None if value is None else moment(value)
    if kind == "json":
        return lambda value: None if value is None else json.loads(value)
    return None


def columns_of(table: Table, *without: str) -> list[Column[Any]]:
    """A table's columns, in order."""
    return [column for column in table.columns if column.key not in without]


_TABLES = {LedgerRow: schema.ledgers, SessionRow: schema.sessions, DecisionRow: schema.decisions,
           IntentRow: schema.intents, SafetyRow: schema.safety, RequestRow: schema.requests, ArmRow: schema.arms,
           ExternalRow: schema.externals, LeaseRow: schema.leases}
_PLANS = {cls: [(f.name, _reader(table.c[f.name])) for f in fields(cls)] for cls, table in _TABLES.items()}


def row_columns(cls: type) -> list[Column[Any]]:
    """The columns to select for rows of ``cls``, in the order of its fields."""
    return [_TABLES[cls].c[name] for name, _ in _PLANS[cls]]


def make_row(cls: type[R], values: Row[Any] | Sequence[Any]) -> R:
    """A row from the values of `row_columns`."""
    return cls(**{name: value if read is None else read(value)
                  for (name, read), value in zip(_PLANS[cls], values, strict=True)})


def table(result: Result[Any], columns: Sequence[Column[Any]]) -> pd.DataFrame:
    """What was selected as a table: times tz-aware UTC (NaT where there is none), JSON as it was given, numbers float64
    or int64 (float64 with NaN where some are missing)."""
    found = result.fetchall()
    lists: Sequence[Sequence[Any]] = list(zip(*found, strict=True)) if found else [()] * len(columns)
    arrays = {column.key: _array(column, list(values)) for column, values in zip(columns, lists)}
    return pd.DataFrame(arrays, copy=False)


def _array(column: Column[Any], values: list[Any]) -> Any:
    kind = column.info.get("kind")
    if kind == "time":
        numbers = np.array([_NOT_A_TIME if v is None else v for v in values], dtype="int64")
        return pd.DatetimeIndex(numbers.view("datetime64[ns]"), tz="UTC").array
    if kind == "json":
        found = np.empty(len(values), dtype="object")
        for i, value in enumerate(values):
            found[i] = None if value is None else json.loads(value)
        return found
    python = column.type.python_type
    if python is bool:
        return np.array(values, dtype="bool")
    if python is float or (python is int and None in values):
        return np.array(values, dtype="float64")
    if python is int:
        return np.array(values, dtype="int64")
    return np.array(values, dtype="object") if None in values else pd.array(values, dtype="str")
