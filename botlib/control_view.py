"""The ledger as lines: what `status`, `trades` and `verify` print. It reads the repository and nothing else."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.calendars import EXCHANGE_TZ
from botlib.control import Subject, who
from botlib.panel_status import event_words
from botlib.safety import SafetyControls
from botlib.session.console import portfolio
from botlib.session.report import Report
from botlib.wording import money, plural

if TYPE_CHECKING:
    from botlib.repository import Repository, Verification

EVENTS = 5
"""How many of the last events `status` shows."""

def status(repository: Repository, subject: Subject) -> list[str]:
    """Session, portfolio, positions, orders, safety and the last events of a ledger."""
    ledger = subject.ledger.id
    said = [f"[LEDGER] account {subject}, capital {_dollars(subject.ledger.capital)}, database {repository.shown}",
            f"[SESSION] {_session(subject)}"]
    report = _last(repository, subject)
    if report is None:
        return [*said, "[PORTFOLIO] nothing recorded yet"]
    said.append(portfolio(report, _controls(subject)))
    said += [f"[POSITION] {shares:g} {symbol}" for symbol, shares in sorted(report.positions.items())]
    said += [order(row) for row in repository.orders(ledger, working=True).itertuples()]
    said.append(_safety(repository, subject))
    waiting = repository.requests(subject.ledger.account_id, unhandled=True)
    said += [f"[REQUEST] {one.kind} asked for by {one.by} at {one.created:%Y-%m-%d %H:%M:%S} UTC: not answered yet"
             for one in waiting]
    return said + [_event(row) for row in repository.events(ledger, limit=EVENTS).itertuples()]


def _session(subject: Subject) -> str:
    session = subject.session
    if session is None:
        return "none was ever started"
    symbols = " ".join((session.params or {}).get("symbols", []))
    shadow = ", shadow: nothing is sent" if session.orders == "shadow" else ""
    what = f"{session.kind}{shadow}, {session.strategy} on {symbols} ({(session.params or {}).get('interval', '')})"
    if subject.life == "running":
        return f"{what}: running, {who(subject)}"
    if subject.life == "elsewhere":
        return f"{what}: held by {who(subject)}; from here nobody can tell whether it lives"
    if subject.life == "died":
        at_broker = ("its exchange is gone with it. A new start begins a ledger of its own" if subject.embedded else
                     "stops and targets rest at the broker. Start it again and it goes on")
        return f"{what}: NO PROCESS, it crashed or was ended by force; {at_broker}"
    why = f" ({session.reason})" if session.reason else ""
    return f"{what}: ended, {session.status}{why}"


def _last(repository: Repository, subject: Subject) -> Report | None:
    """The last mark as the report of a pass."""
    marks, safety = repository.equity(subject.ledger.id, limit=1), repository.safety(subject.ledger.id)
    if marks.empty or safety is None:
        return None
    mark = marks.iloc[-1]
    return Report(iteration=0 if pd.isna(mark["iteration"]) else int(mark["iteration"]), time=mark["time"],
                  cash=float(mark["cash"]), equity=float(mark["equity"]), positions=dict(mark["positions"] or {}),
                  open_orders=len(repository.orders(subject.ledger.id, working=True)), state=safety.state,
                  reason=safety.reason, drawdown_pct=_number(mark["drawdown_pct"]),
                  daily_loss_pct=_number(mark["daily_loss_pct"]))


def _controls(subject: Subject) -> SafetyControls | None:
    limits = None if subject.session is None else subject.session.limits
    return None if not limits else SafetyControls(**limits)


def _safety(repository: Repository, subject: Subject) -> str:
    found = repository.safety(subject.ledger.id)
    if found is None:
        return "[SAFETY] nothing recorded yet"
    controls = _controls(subject)
    limit = "" if controls is None else f" of {controls.max_orders_per_day}"
    latched = " KILLED, until python -m botlib kill --clear" if found.latched else ""
    return (f"[SAFETY] {found.state}{latched} | Peak: {_dollars(found.peak)} | Day's start: "
            f"{_dollars(found.day_start)} ({found.day}) | Orders today: {found.orders_today}{limit}")


def order(row: Any) -> str:
    """An order of the ledger in a line."""
    price = next((f" {word} {value:,.2f}" for word, value in (("limit", row.limit_price), ("stop", row.stop_price))
                  if value is not None and not math.isnan(value)), "")
    return f"[ORDER] {row.side.upper()} {row.qty:g} {row.symbol}{price} ({row.role or row.type}, {row.status})"


def _event(row: Any) -> str:
    data = row.data or {}
    if row.kind == "decision":
        text = f"bar of {str(data['bar'])[:16].replace('T', ' ')}, {plural(len(data.get('targets') or {}), 'target')}"
    elif row.kind == "intent":
        request = data["request"]
        text = f"{request['side']} {request['qty']:g} {request['symbol']} ({data['purpose']}) {data['state']}"
    elif row.kind == "order":
        text = " ".join(filter(None, (data["state"], data.get("reason"))))
    else:
        text = event_words(row.kind, data)
    return f"[EVENT] {row.time.tz_convert(EXCHANGE_TZ):%Y-%m-%d %H:%M:%S} {row.kind}{': ' * bool(text)}{text}"


def trades(repository: Repository, subject: Subject, *, symbol: str | None, limit: int) -> list[str]:
    """The last executions, and profit by symbol over all round trips."""
    fills = repository.fills(subject.ledger.id, symbol=symbol, limit=limit)
    said = [f"[LEDGER] account {subject}, database {repository.shown}"]
    for row in fills.itertuples():
        said.append(f"[TRADE] {row.time.tz_convert(EXCHANGE_TZ):%Y-%m-%d %H:%M:%S} {row.side.upper()} {row.qty:g} "
                    f"{row.symbol} @ ${row.price:,.4f} ({row.purpose})")
    profit = repository.profit_by_symbol(subject.ledger.id)
    if symbol is not None:
        profit = profit[profit.index == symbol]
    said += [f"[PROFIT] {row.Index}: {plural(int(row.trips), 'round trip')}, {int(row.won)} won, "
             f"{_dollars(row.pnl, sign=True)}" for row in profit.itertuples()]
    if len(profit):
        said.append(f"[PROFIT] all: {plural(int(profit['trips'].sum()), 'round trip')}, "
                    f"{_dollars(float(profit['pnl'].sum()), sign=True)} after costs")
    return said if len(said) > 1 else [*said, "[TRADE] none yet"]


def verified(subject: Subject, found: Verification) -> str:
    """What a check of the ledger says."""
    if found.ok:
        return (f"[VERIFY] account {subject}: {plural(found.events, 'event')} in an unbroken chain, "
                f"{plural(found.rows, 'fill or round trip', 'fills and round trips')} as written")
    return f"[VERIFY] account {subject}: NOT as it was written: {found.problem}"


def stamp() -> str:
    """The present, for the head of a status that repeats."""
    return f"{dt.datetime.now(dt.UTC):%H:%M:%S} UTC"


def _dollars(value: float | None, *, sign: bool = False) -> str:
    if value is None or math.isnan(value):
        return "unknown"
    return money(value, sign=sign, digits=2)


def _number(value: Any) -> float:
    return 0.0 if value is None or pd.isna(value) else float(value)
