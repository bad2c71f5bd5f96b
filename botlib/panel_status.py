"""What a panel shows of a session: one frozen status, read from the ledger by whoever may read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.calendars import INTERVAL_MINUTES
from botlib.errors import InputError, RepositoryError

if TYPE_CHECKING:
    from botlib.repository import Repository
    from botlib.repository.rows import LeaseRow, LedgerRow, RequestRow, SafetyRow, SessionRow

MARKS, SIGNALS, EVENTS, ORDERS = 240, 5, 8, 40
"""Newest rows that are read."""

_SILENT = ("decision", "intent", "order")  # what signals and orders tell already
_LEGS = ("stop_loss", "take_profit")  # one ends with the other: that is no news


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A position and what it is worth at its last final bar, or at its fill while no bar has ended since; NaN and None
    where the ledger does not say."""

    symbol: str
    shares: float
    """Below 0 when short."""
    entry_price: float = math.nan
    """Average price of what is held, dollars a share."""
    last_price: float = math.nan
    time: pd.Timestamp | None = None
    """When the newest final bar ended, of which that is the close if it has one; or when the fill was."""
    filled: bool = False
    """Whether it is the fill's price."""

    @property
    def value(self) -> float:
        """Dollars, below 0 when short."""
        return self.shares * self.last_price

    @property
    def profit(self) -> float:
        """Dollars, before the costs of selling."""
        return self.shares * (self.last_price - self.entry_price)

    @property
    def profit_pct(self) -> float:
        """Percent of what was paid (short: received)."""
        paid = abs(self.shares * self.entry_price)
        return 100.0 * self.profit / paid if paid else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A session as its ledger has it.

    Attributes
    ----------
    marks : DataFrame
        Newest equity marks: time, equity, drawdown_pct, daily_loss_pct, peak, day_start, positions.
    signals, orders, events : DataFrame
        Newest intents but protection, working orders, newest events (a fill by its own time, and orders that were
        cancelled among them).
    holdings : tuple of Holding
        Positions, by symbol.
    waiting : tuple
        Requests that the session has not answered yet.
    gone : bool
        The session is said to run, and its process is not there.
    """

    ledger: LedgerRow
    session: SessionRow
    safety: SafetyRow | None
    marks: pd.DataFrame
    signals: pd.DataFrame
    orders: pd.DataFrame
    events: pd.DataFrame
    waiting: tuple[RequestRow, ...]
    gone: bool
    holdings: tuple[Holding, ...] = ()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.session.status == "running"

    @property
    def positions(self) -> Mapping[str, float]:
        """Signed shares, by symbol."""
        return self.marks["positions"].iloc[-1] or {} if len(self.marks) else {}


def find_session(repository: Repository, account: str | None = None, session_id: str | None = None) -> str:
    """The id of a session: the one that is named, or the newest of an account, or the newest of all; one that runs
    comes before those that ended.

    Raises
    ------
    InputError
        There is none.
    """
    found = repository.sessions()
    if account is not None:
        ids = [one.id for one in repository.ledgers() if one.account_id == account]
        found = found[found["ledger_id"].isin(ids)]
    if session_id is not None:
        found = found[found["id"].str.startswith(session_id)] if session_id else found.iloc[:0]
    if found.empty:
        what = f"session_id = {session_id!r}" if session_id is not None else \
            f"account = {account!r}" if account is not None else f"db = {repository.shown}"
        raise InputError(f"{what}: no session is recorded in {repository.shown}.")
    if session_id is not None and found["id"].nunique() > 1:
        raise InputError(f"session_id = {session_id!r}: {len(found)} sessions begin so; give more of it.")
    # A session on the local exchange tells its time, not ours: the rows' order says which one is the newest.
    running = found[found["status"] == "running"]
    newest = running if len(running) else found
    ledger = newest["ledger_id"].max()
    return str(newest[newest["ledger_id"] == ledger]["id"].iloc[-1])


def read(repository: Repository, session_id: str) -> Status:
    """The status of a session.

    Raises
    ------
    InputError
        The ledger has no such session.
    RepositoryError
    """
    session = repository.session(session_id)
    if session is None:
        raise InputError(f"session_id = {session_id!r}: no such session is recorded in {repository.shown}.")
    ledger = next(one for one in repository.ledgers() if one.id == session.ledger_id)
    signals = repository.intents(ledger.id, limit=4 * SIGNALS)
    events = repository.events(ledger.id, limit=6 * EVENTS)
    marks = repository.equity(ledger.id, limit=MARKS)
    return Status(
        ledger=ledger, session=session, safety=repository.safety(ledger.id), marks=marks,
        signals=signals[signals["purpose"] != "protect"].tail(SIGNALS),
        orders=repository.orders(ledger.id, working=True, limit=ORDERS),
        events=_told(events, repository.orders(ledger.id, limit=6 * EVENTS)).tail(EVENTS),
        waiting=repository.requests(ledger.account_id),
        gone=gone(session, repository.lease(ledger.account_id)),
        holdings=_holdings(repository, ledger.id, session, marks))


def _told(events: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """Events that people are told, by the time at which they happened."""
    told = events.loc[~events["kind"].isin(_SILENT), ["time", "kind", "level", "data"]].copy()
    told["time"] = [happened(*one) for one in zip(told["kind"], told["data"], told["time"], strict=True)]
    over = orders[(orders["status"] == "canceled") & ~orders["role"].isin(_LEGS)]
    if len(over):
        rows = [(o.updated, "cancelled", "info", {"side": o.side, "qty": o.qty, "symbol": o.symbol,
                                                  "filled_qty": o.filled_qty}) for o in over.itertuples()]
        cancelled = pd.DataFrame(rows, columns=list(told.columns))
        told = pd.concat([told, cancelled], ignore_index=True) if len(told) else cancelled
    return told.sort_values("time", kind="stable", ignore_index=True)


def happened(kind: str, data: Mapping[str, Any], booked: pd.Timestamp) -> pd.Timestamp:
    """When it happened: of a fill its own time, at the venue, and not the one at which it was booked."""
    own = pd.Timestamp(data["time"]) if kind == "fill" and data.get("time") else None
    return booked if own is None or own.tzinfo is None else own.tz_convert("UTC")


def _holdings(repository: Repository, ledger_id: int, session: SessionRow,
              marks: pd.DataFrame) -> tuple[Holding, ...]:
    """What is held by the last mark, with entry and last close as they stand in the checkpoint written with it."""
    held = dict(marks["positions"].iloc[-1] or {}) if len(marks) else {}
    try:
        state = repository.checkpoint(ledger_id) if held else None
    except RepositoryError:  # what is held is known all the same
        state = None
    if state is None:
        return tuple(Holding(symbol=symbol, shares=shares) for symbol, shares in sorted(held.items()))
    minutes = INTERVAL_MINUTES.get(str((session.params or {}).get("interval")))
    ended = pd.Timestamp(state["core"]["bar"]) + pd.Timedelta(minutes=minutes or 16 * 60)
    return tuple(_holding(symbol, shares, state["core"], ended) for symbol, shares in sorted(held.items()))


def _holding(symbol: str, shares: float, core: Mapping[str, Any], ended: pd.Timestamp) -> Holding:
    """From the session's state (`SessionCore.state`). ``ended``: when its newest bar did."""
    known = core["book"]["symbols"].get(symbol)
    if known is None or known["position"] != shares:  # more has happened since the mark
        return Holding(symbol=symbol, shares=shares)
    lots = [lot for lot in core["book"]["lots"] if lot["symbol"] == symbol]
    total = sum(lot["quantity"] for lot in lots)
    entry = sum(lot["quantity"] * lot["entry_price"] for lot in lots) / total if total else math.nan
    last = math.nan if known["last_close"] is None else float(known["last_close"])
    since = [pd.Timestamp(core["entered"][str(lot["entry"])]) for lot in lots if str(lot["entry"]) in core["entered"]]
    bought = min(since) if since and len(since) == len(lots) else ended
    return Holding(symbol=symbol, shares=shares, entry_price=entry, last_price=last,
                   time=None if last != last else max(bought, ended), filled=bought > ended)


def gone(session: SessionRow, lease: LeaseRow | None) -> bool:
    """Whether a session is said to run and its process has ended. Of one on another host that has the account nobody
    here can tell."""
    from botlib.repository.hosts import here, process_mark
    from botlib.repository.lives import life_of

    me = here()
    if session.status != "running" or (lease is None and session.host != me.host):
        return False
    return life_of(lease, session, me, process_mark) == "died"


def event_words(kind: str, data: Mapping[str, Any]) -> str:
    """An event in a short line."""
    if kind == "fill":
        return f"{data['side']} {data['qty']:,g} {data['symbol']} @ ${data['price']:,.2f} ({data['purpose']})"
    if kind in ("cancelled", "expired"):
        done = data.get("filled_qty") or 0.0
        filled = f"{done:,g} of {data['qty']:,g} filled" if done else "nothing of it filled"
        return f"{data['side']} {data['qty']:,g} {data['symbol']}, {filled}"
    if kind == "session-started":
        return f"{data['strategy']} on {data['venue']}"
    if kind == "session-ended":
        return f"{data['status']}: {data['reason']}" if data.get("reason") else str(data["status"])
    if kind == "activity":
        amount = data.get("net_amount")
        paid = "" if amount is None else f": {'-' if amount < 0 else ''}${abs(amount):,.2f}"
        return f"{data.get('type', '')} {data.get('symbol') or ''}".rstrip() + paid
    if kind == "missed-bar":
        return f"bar of {str(data['bar'])[:16].replace('T', ' ')}"
    for name in ("text", "what", "reason"):
        if data.get(name):
            return str(data[name])
    return ", ".join(f"{name} {value}" for name, value in data.items() if isinstance(value, (str, int, float)))
