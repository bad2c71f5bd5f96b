"""What a session and a person write beside trades: sessions, marks, safety, requests, arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import Table, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Update
from sqlalchemy.sql.elements import BindParameter

from botlib.errors import InputError
from botlib.repository import schema
from botlib.repository.values import canonical, ns, number, number_or_none, pack, text
from botlib.repository.writing import TradingWrites, one_of

SESSION_STATES = ("running", "success", "error", "user-cancelled", "halted", "refused")
TRADING_STATES = ("active", "reduce-only", "halted")
REQUESTS = ("stop", "reduce-only", "kill", "flatten", "clear")

_BY_ID: BindParameter[Any] = bindparam("b_id")
_TIME: BindParameter[Any] = bindparam("b_time")
_r, _a = schema.requests, schema.arms
_HANDLED: Update = update(_r).where(_r.c.id == _BY_ID, _r.c.handled.is_(None)).values(
    {_r.c.handled: _TIME, _r.c.outcome: bindparam("b_outcome")})
_USED: Update = update(_a).where(_a.c.id == _BY_ID, _a.c.used < _a.c.sessions, _a.c.revoked.is_(None),
                                 _a.c.until >= _TIME).values({_a.c.used: _a.c.used + 1})
_REVOKED: Update = update(_a).where(_a.c.id == _BY_ID, _a.c.revoked.is_(None)).values({_a.c.revoked: _TIME})


class Transaction(TradingWrites):
    """What `Repository.writing` hands out. Rows are checked when given, written in batches when the block ends."""

    def session(self, session_id: str, ledger_id: int, *, kind: str, time: pd.Timestamp, orders: str = "send",
                strategy: str = "", strategy_hash: str = "", params: Mapping[str, Any] | None = None,
                params_hash: str = "", limits: Mapping[str, Any] | None = None, feed: str = "", version: str = "",
                host: str = "", pid: int | None = None, run_folder: str = "") -> None:
        """Record the start of a session, status "running"."""
        self._batches.add("session", {
            "id": text(session_id), "ledger_id": ledger_id, "kind": one_of(kind, ("paper", "live"), "kind"),
            "orders": one_of(orders, ("send", "shadow"), "orders"), "strategy": text(strategy),
            "strategy_hash": text(strategy_hash), "params": _json(params, "params"), "params_hash": text(params_hash),
            "limits": _json(limits, "limits"), "feed": text(feed), "version": text(version), "host": text(host),
            "pid": pid, "run_folder": text(run_folder), "started": ns(time), "status": "running", "reason": ""})

    def session_ended(self, session_id: str, *, status: str, time: pd.Timestamp, reason: str = "",
                      iterations: int | None = None, total_trades: int | None = None,
                      total_pnl: float | None = None) -> None:
        """Record how a session ended. A session that crashed is ended by the one that recovers."""
        self._batches.add("session_ended", {
            "b_id": session_id, "b_ended": ns(time), "b_status": one_of(status, SESSION_STATES, "status"),
            "b_reason": text(reason), "b_iterations": iterations, "b_total_trades": total_trades,
            "b_total_pnl": number_or_none(total_pnl, "total_pnl")})

    def equity(self, ledger_id: int, *, time: pd.Timestamp, equity: float, cash: float | None = None,
               gross: float | None = None, peak: float | None = None, day_start: float | None = None,
               drawdown_pct: float | None = None, daily_loss_pct: float | None = None, state: str = "active",
               positions: Mapping[str, Any] | None = None, session_id: str = "", iteration: int | None = None) -> None:
        """Record a mark of the ledger, dollars; another one at the same time takes its place."""
        numbers = {"cash": cash, "gross": gross, "peak": peak, "day_start": day_start, "drawdown_pct": drawdown_pct,
                   "daily_loss_pct": daily_loss_pct}
        self._batches.add("equity", {
            "ledger_id": ledger_id, "time": ns(time), "session_id": text(session_id), "iteration": iteration,
            "equity": number(equity, "equity"), "state": one_of(state, TRADING_STATES, "state"),
            "positions": _json(positions, "positions"),
            **{name: number_or_none(value, name) for name, value in numbers.items()}})

    def safety(self, ledger_id: int, *, state: str, latched: bool, time: pd.Timestamp, reason: str = "",
               peak: float | None = None, day: str = "", day_start: float | None = None, orders_today: int = 0,
               exits_today: Any = None, clear: bool = False) -> None:
        """Record the state of safety. What is latched stays so, with its state and reason, unless ``clear``."""
        self._batches.add("safety_cleared" if clear else "safety", {
            "ledger_id": ledger_id, "state": one_of(state, TRADING_STATES, "state"), "latched": bool(latched),
            "reason": text(reason), "peak": number_or_none(peak, "peak"), "day": text(day),
            "day_start": number_or_none(day_start, "day_start"), "orders_today": int(orders_today),
            "exits_today": _json(exits_today, "exits_today"), "updated": ns(time)})

    def checkpoint(self, ledger_id: int, state: Mapping[str, Any] | bytes, *, time: pd.Timestamp) -> None:
        """Record where the ledger's session stands, in the place of the checkpoint before. ``state``: bytes are packed
        already."""
        packed = state if isinstance(state, bytes) else pack(state)
        self._batches.add("checkpoint", {"ledger_id": ledger_id, "state": packed, "updated": ns(time)})

    def external(self, ledger_id: int, symbol: str, qty: float, *, reason: str, accepted_by: str,
                 time: pd.Timestamp) -> int:
        """Record shares (signed) that a person says are not the ledger's; its id."""
        return self._insert(schema.externals, {
            "ledger_id": ledger_id, "symbol": text(symbol), "qty": number(qty, "qty"), "reason": text(reason),
            "accepted_by": text(accepted_by), "time": ns(time)})

    def request(self, account_id: str, kind: str, *, by: str, time: pd.Timestamp, note: str = "") -> int:
        """Ask the account's session for something; its id."""
        return self._insert(schema.requests, {
            "account_id": text(account_id), "kind": one_of(kind, REQUESTS, "kind"), "by": text(by), "note": text(note),
            "created": ns(time), "outcome": ""})

    def request_handled(self, request_id: int, *, outcome: str, time: pd.Timestamp) -> bool:
        """Record what became of a request; False when that is recorded already."""
        return self._changed(_HANDLED, {"b_id": request_id, "b_outcome": text(outcome), "b_time": ns(time)})

    def arm(self, account_id: str, *, strategy: str, strategy_hash: str, params_hash: str, limits: Mapping[str, Any],
            sessions: int, until: pd.Timestamp, time: pd.Timestamp, version: str = "", waived: Any = None,
            host: str = "") -> int:
        """Record what a person typed: ``sessions`` live sessions of exactly this until then; its id."""
        if not 1 <= int(sessions) <= 5:
            raise InputError(f"sessions = {sessions}: an arm is for 1 to 5 sessions.")
        return self._insert(schema.arms, {
            "account_id": text(account_id), "strategy": text(strategy), "strategy_hash": text(strategy_hash),
            "params_hash": text(params_hash), "limits": canonical(limits, "limits"), "sessions": int(sessions),
            "used": 0, "until": ns(until, "until"), "version": text(version), "waived": _json(waived, "waived"),
            "typed": ns(time), "host": text(host)})

    def arm_used(self, arm_id: int, *, time: pd.Timestamp) -> bool:
        """Spend one session of an arm; False when none is left, it is over or was revoked."""
        return self._changed(_USED, {"b_id": arm_id, "b_time": ns(time)})

    def arm_revoked(self, arm_id: int, *, time: pd.Timestamp) -> bool:
        """Take an arm back; False when it was."""
        return self._changed(_REVOKED, {"b_id": arm_id, "b_time": ns(time)})

    def trials(self, study_id: str, *, strategy: str, source: str, data_key: str, data: Mapping[str, Any],
               terms: Mapping[str, Any], points: Sequence[tuple[str, float | None, int]], time: pd.Timestamp) -> int:
        """Record points that a search has tried, (point, Sharpe ratio a bar, bars); how many were new. One that is
        there already stays as it is."""
        upsert: Any = sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert
        self._batches.flush()
        self.connection.execute(upsert(schema.studies).on_conflict_do_nothing(), {
            "id": text(study_id), "strategy": text(strategy), "source": text(source), "data_key": text(data_key),
            "data": canonical(data), "terms": canonical(terms), "created": ns(time)})
        count = select(func.count()).where(schema.trials.c.study_id == study_id)
        before = self.connection.execute(count).scalar_one()
        rows = [{"study_id": study_id, "point": text(point), "sharpe": number_or_none(sharpe, "sharpe"),
                 "observations": int(bars), "created": ns(time)} for point, sharpe, bars in points]
        if rows:
            self.connection.execute(upsert(schema.trials).on_conflict_do_nothing(), rows)
        return int(self.connection.execute(count).scalar_one() - before)

    def _insert(self, table: Table, row: dict[str, Any]) -> int:
        self._batches.flush()
        return int(self.connection.execute(insert(table), row).inserted_primary_key[0])  # type: ignore[index]

    def _changed(self, statement: Update, values: dict[str, Any]) -> bool:
        return self.connection.execute(statement, values).rowcount == 1


def _json(value: Any, name: str) -> str | None:
    return None if value is None else canonical(value, name)
