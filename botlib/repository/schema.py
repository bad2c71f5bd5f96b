"""The tables. Times are integer UTC nanoseconds (``…_ns``), money and shares float64, JSON canonical text."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from botlib.brokers.base import ENDED

VERSION = 3
"""Version of the tables. 2: fills and round trips carry a seal, a ledger knows the head of its chain of events. 3:
trials of parameter searches are kept."""

OPEN_STATES = ("recorded", "sent", "working", "unknown")
"""States of an intent that may still trade or be sent."""

WORKING = text("status NOT IN ({})".format(", ".join(f"'{status}'" for status in sorted(ENDED))))
"""Orders that may still trade, as a few among many: a query finds their index by these very words."""

metadata = MetaData()


def _time(name: str, **options: Any) -> Column[int]:
    """A time: "created" here, ``created_ns`` in the database."""
    return Column(f"{name}_ns", BigInteger, key=name, info={"kind": "time"}, **options)


def _key(name: str = "id") -> Column[int]:
    """A number that the database gives. SQLite numbers only what it calls INTEGER."""
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="", **options)


def _json(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, info={"kind": "json"}, **options)


def _ledger(**options: Any) -> Column[int]:
    return Column("ledger_id", ForeignKey("ledgers.id"), nullable=False, **options)


def _real(name: str, **options: Any) -> Column[float]:
    return Column(name, Double, **options)


meta = Table("meta", metadata, Column("key", String(40), primary_key=True), Column("value", Text, nullable=False))

ledgers = Table(
    "ledgers", metadata, _key(), _text("venue"), Column("account_id", Text, nullable=False),
    Column("epoch", Text, nullable=False), _real("capital"), _time("created", nullable=False),
    # Length and last hash of its chain of events.
    Column("events", BigInteger, nullable=False, server_default="0"), _text("head"),
    UniqueConstraint("account_id", "epoch"))

sessions = Table(
    "sessions", metadata, Column("id", Text, primary_key=True), _ledger(), _text("kind"), _text("orders"),
    _text("strategy"), _text("strategy_hash"), _json("params"), _text("params_hash"), _json("limits"), _text("feed"),
    _text("version"), _text("host"), Column("pid", BigInteger), _text("run_folder"), _time("started", nullable=False),
    _time("ended"), _text("status"), _text("reason"), Column("iterations", BigInteger),
    Column("total_trades", BigInteger), _real("total_pnl"),
    Index("sessions_by_time", "ledger_id", "started"))

leases = Table(
    "leases", metadata, Column("account_id", Text, primary_key=True), _text("session_id"), _text("host"),
    Column("pid", BigInteger, nullable=False), _text("boot_id"), _text("process"), _text("lock"),
    Column("takes", BigInteger, nullable=False, server_default="0"), _time("taken", nullable=False),
    _time("renewed", nullable=False), _time("released"))

decisions = Table(
    "decisions", metadata, _key(), _ledger(), _text("session_id"), _time("bar_time", nullable=False),
    _text("interval"), _time("decided", nullable=False), _time("known"), _text("status"), _text("bars_hash"),
    _text("bars_file"), _text("feed"), _text("strategy_hash"), _json("targets"), Column("opening", LargeBinary),
    Index("decisions_by_bar", "ledger_id", "interval", "bar_time", unique=True))

intents = Table(
    "intents", metadata, Column("client_order_id", Text, primary_key=True), _ledger(), _text("session_id"),
    Column("decision_id", ForeignKey("decisions.id")), Column("uid", BigInteger), _text("symbol"), _text("side"),
    _text("purpose"), _json("request"), _real("qty"), Column("attempt", Integer, nullable=False, server_default="0"),
    Column("adds_risk", Boolean, nullable=False), _text("state"), _text("reason"), _text("order_id"),
    _real("filled_qty", nullable=False, server_default="0"), _time("created", nullable=False), _time("sent"),
    _time("updated", nullable=False),
    Index("intents_by_state", "ledger_id", "state"), Index("intents_by_time", "ledger_id", "created"),
    Index("intents_by_uid", "ledger_id", "uid"))

orders = Table(
    "orders", metadata, _ledger(primary_key=True), Column("order_id", Text, primary_key=True),
    _text("client_order_id"), _text("intent"), _text("role"), Column("uid", BigInteger), _text("symbol"),
    _text("side"), _text("type"), _real("qty"), _real("limit_price"), _real("stop_price"), _text("status"),
    _real("filled_qty", nullable=False, server_default="0"), _real("filled_avg_price"), _time("submitted"),
    _time("updated", nullable=False),
    Index("orders_by_client", "client_order_id"), Index("orders_by_time", "ledger_id", "updated"),
    Index("orders_working", "ledger_id", "updated", sqlite_where=WORKING, postgresql_where=WORKING))

fills = Table(
    "fills", metadata, _key(), _ledger(), Column("order_id", Text, nullable=False),
    _real("cum_qty", nullable=False), _text("symbol"), _text("side"), _real("qty", nullable=False),
    _real("price", nullable=False), _time("time", nullable=False), _text("purpose"), Column("uid", BigInteger),
    _text("client_order_id"), _time("bar_time"), _text("session_id"), _text("activity_id"),
    Column("seal", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("ledger_id", "order_id", "cum_qty", name="fills_by_order"),
    Index("fills_by_time", "ledger_id", "time", "id"), Index("fills_by_symbol", "ledger_id", "symbol", "time", "id"))

round_trips = Table(
    "round_trips", metadata, _key(), _ledger(), _text("symbol"), _text("side"), _real("qty", nullable=False),
    _time("entry_time", nullable=False), _real("entry_price", nullable=False), _time("exit_time", nullable=False),
    _real("exit_price", nullable=False), _real("pnl", nullable=False),
    _real("costs", nullable=False, server_default="0"), _real("slippage", nullable=False, server_default="0"),
    _text("exit_reason"), Column("entry_uid", BigInteger), Column("exit_uid", BigInteger), _text("session_id"),
    Column("seal", BigInteger, nullable=False, server_default="0"),
    Index("round_trips_by_time", "ledger_id", "exit_time", "id"),
    Index("round_trips_by_symbol", "ledger_id", "symbol", "exit_time", "id"),
    Index("round_trips_profit", "ledger_id", "symbol", "pnl", "costs", "slippage"))  # holds all the sums need

activities = Table(
    "activities", metadata, _ledger(primary_key=True), Column("activity_id", Text, primary_key=True), _text("type"),
    _time("time", nullable=False), _text("symbol"), _real("qty"), _real("price"), _real("net_amount"),
    _text("description"), Column("booked", Boolean, nullable=False),
    Index("activities_by_time", "ledger_id", "time"))

equity = Table(
    "equity", metadata, _ledger(primary_key=True), _time("time", primary_key=True, autoincrement=False),
    _text("session_id"), Column("iteration", BigInteger), _real("cash"), _real("equity"), _real("gross"),
    _real("peak"), _real("day_start"), _real("drawdown_pct"), _real("daily_loss_pct"), _text("state"),
    _json("positions"))

safety = Table(
    "safety", metadata, _ledger(primary_key=True, autoincrement=False), _text("state"),
    Column("latched", Boolean, nullable=False), _text("reason"), _real("peak"), _text("day"), _real("day_start"),
    Column("orders_today", BigInteger, nullable=False), _json("exits_today"), _time("updated", nullable=False))

checkpoints = Table(
    "checkpoints", metadata, _ledger(primary_key=True, autoincrement=False),
    Column("state", LargeBinary, nullable=False), _time("updated", nullable=False))

events = Table(
    "events", metadata, _ledger(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False), Column("session_id", Text),
    _time("time", nullable=False), _text("kind"), _text("level"), _json("data", nullable=False), _text("previous"),
    _text("hash"),
    Index("events_by_kind", "ledger_id", "kind", "seq"), Index("events_by_time", "ledger_id", "time", "seq"))

requests = Table(
    "requests", metadata, _key(), Column("account_id", Text, nullable=False), _text("kind"), _text("by"),
    _text("note"), _time("created", nullable=False), _time("handled"), _text("outcome"),
    Index("requests_by_account", "account_id", "handled", "id"))

arms = Table(
    "arms", metadata, _key(), Column("account_id", Text, nullable=False), _text("strategy"), _text("strategy_hash"),
    _text("params_hash"), _json("limits"), Column("sessions", Integer, nullable=False),
    Column("used", Integer, nullable=False, server_default="0"), _time("until", nullable=False), _text("version"),
    _json("waived"), _time("typed", nullable=False), _text("host"), _time("revoked"),
    Index("arms_by_account", "account_id"))

externals = Table(
    "externals", metadata, _key(), _ledger(), _text("symbol"), _real("qty", nullable=False), _text("reason"),
    _text("accepted_by"), _time("time", nullable=False), Index("externals_by_ledger", "ledger_id", "time"))

# Searches for parameters: what a strategy was tried on, and every point of it once.
studies = Table(
    "studies", metadata, Column("id", String(64), primary_key=True), _text("strategy"), _text("source"),
    _text("data_key"), _json("data"), _json("terms"), _time("created", nullable=False),
    Index("studies_by_data", "strategy", "data_key"))

trials = Table(
    "trials", metadata, Column("study_id", ForeignKey("studies.id"), primary_key=True),
    Column("point", Text, primary_key=True), _real("sharpe"), Column("observations", BigInteger),
    _time("created", nullable=False))
