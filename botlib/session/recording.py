"""What a session writes down, in one commit before it sends and one after: the ledger is the truth, not a process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import safety
from botlib.brokers.base import OpenOrder
from botlib.session.core import SessionCore
from botlib.session.keeping import Keeper
from botlib.session.links import Intent
from botlib.session.memory import Memory
from botlib.session.sizing import Unmet, told
from botlib.session.timeline import Booked
from botlib.watch import Change, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from botlib.repository import Repository, Transaction

_STATES = {"filled": "filled", "canceled": "cancelled", "expired": "expired", "rejected": "rejected",
           "replaced": "replaced"}

_SAID = ("halted", "reduce-only")


class Recorder:
    """Writes for one session of one ledger."""

    def __init__(self, repository: Repository, ledger_id: int, session_id: str, lease: Any = None) -> None:
        self.repository, self.ledger_id, self.session_id, self.lease = repository, ledger_id, session_id, lease
        self._told: dict[str, tuple[str, float]] = {}  # order id → what was written of it last
        self._recorded: dict[str, None] = {}  # intents that stand in the ledger
        self.keeper = Keeper()
        self.counts = (0, 0)
        """Fills and round trips written down by this session."""
        self.sent = 0
        """Orders that the broker has been sent."""

    @contextmanager
    def commit(self, now: pd.Timestamp) -> Iterator[Transaction]:
        """One transaction; the lease is renewed in it, so that a session that lost its account writes nothing."""
        before = dict(self._told), dict(self._recorded), self.counts, self.sent
        try:
            with self.repository.writing() as tx:
                if self.lease is not None:
                    self.lease.renew(now, tx)
                yield tx
        except BaseException:  # nothing was written: what is remembered of it goes, too
            self._told, self._recorded, self.counts, self.sent = before
            raise

    def knows(self, intents: Iterable[Intent]) -> None:
        """These intents stand in the ledger: those of a checkpoint."""
        self._recorded.update((one.client_order_id, None) for one in intents)

    def event(self, tx: Transaction, what: str, now: pd.Timestamp, /, level: str = "info", **data: Any) -> None:
        """An event of the session's chain."""
        tx.event(self.ledger_id, what, _plain(data), time=now, session_id=self.session_id, level=level)

    # --- facts --------------------------------------------------------------------------------------------------------

    def facts(self, tx: Transaction, core: SessionCore, booked: Booked, orders: Sequence[OpenOrder],
              now: pd.Timestamp) -> None:
        """Orders as they are, executions, money, round trips."""
        for one in orders:
            link = core.links.get(one.order_id)
            if link is None or self._told.get(one.order_id) == (one.status, one.filled_qty):
                continue
            self._told[one.order_id] = one.status, one.filled_qty
            uid = link.uid if link.uid >= 0 else None
            tx.order(self.ledger_id, one, time=now, intent=link.client_order_id, role=link.role, uid=uid)
            intent = core.intents.get(link.client_order_id)
            if intent is not None and one.order_id == intent.order_id:
                tx.intent_state(intent.client_order_id, _STATES.get(one.status, "working"), time=now,
                                order_id=one.order_id, filled_qty=one.filled_qty)
        tx.expect_fills(self.ledger_id, [fill.order_id for fill, _ in booked.fills])
        for fill, uid in booked.fills:
            purpose = core.purpose(uid)
            if tx.fill(self.ledger_id, fill, purpose=purpose, uid=uid, bar_time=core.bars.index[-1],
                       session_id=self.session_id):
                self.counts = self.counts[0] + 1, self.counts[1]
                self.event(tx, "fill", now, symbol=fill.symbol, side=fill.side, qty=fill.qty, price=fill.price,
                           purpose=purpose, order_id=fill.order_id, cum_qty=fill.cum_qty, time=fill.time)
        for activity, kind in booked.activities:
            if tx.activity(self.ledger_id, activity):
                self.event(tx, "activity", now, type=activity.type, kind=kind, symbol=activity.symbol,
                           net_amount=activity.net_amount, activity_id=activity.activity_id)
        for words in booked.actions:
            self.event(tx, "corporate-action", now, what=words)
        self.counts = self.counts[0], self.counts[1] + len(core.trips)
        for trip in core.trips:
            tx.round_trip(self.ledger_id, symbol=trip.symbol, side=trip.side, qty=trip.qty, entry_time=trip.entry_time,
                          entry_price=trip.entry_price, exit_time=trip.exit_time, exit_price=trip.exit_price,
                          pnl=trip.pnl, costs=trip.costs, exit_reason=trip.exit_reason, entry_uid=trip.entry_uid,
                          exit_uid=trip.exit_uid, session_id=self.session_id)

    def mark(self, tx: Transaction, core: SessionCore, watch: Watch, equity: float, now: pd.Timestamp,
             iteration: int) -> None:
        """Equity, as safety sees it."""
        tx.equity(self.ledger_id, time=now, equity=equity, cash=float(core.book["cash"]),
                  gross=float(core.book["gross"]), peak=watch.peak, day_start=watch.day_start,
                  drawdown_pct=_fall(equity, watch.peak), daily_loss_pct=_fall(equity, watch.day_start),
                  state=safety.STATE_NAMES[watch.state], positions=core.positions(), session_id=self.session_id,
                  iteration=iteration)

    def safety(self, tx: Transaction, watch: Watch, now: pd.Timestamp, *, clear: bool = False) -> None:
        """The state of safety; ``clear``: a person has lifted a kill."""
        tx.safety(self.ledger_id, state=safety.STATE_NAMES[watch.state], latched=watch.latched, time=now,
                  reason=watch.reason, peak=watch.peak, day=watch.day.isoformat(), day_start=watch.day_start,
                  orders_today=watch.orders_today, exits_today=dict(watch.exits_today), clear=clear)

    def changes(self, tx: Transaction, changes: Sequence[Change], now: pd.Timestamp) -> None:
        """What changed in safety."""
        for change in changes:
            self.event(tx, change.kind, now, level=change.level, text=change.text, state=change.state)

    # --- decisions and intents ----------------------------------------------------------------------------------------

    def decision(self, tx: Transaction, core: SessionCore, targets: np.ndarray | None, now: pd.Timestamp, *,
                 known: pd.Timestamp, status: str, feed: str, strategy_hash: str, bars_hash: str = "",
                 bars_file: str = "", opening: Sequence[str] | None = None,
                 bar: pd.Timestamp | None = None) -> int:
        """The decision on a bar, the last one unless it is named. ``opening``: as `Keeper.opening` gives it."""
        label = core.bars.index[-1] if bar is None else bar
        row = None if targets is None else {
            symbol: float(value) for symbol, value in zip(core.bars.symbols, targets, strict=True)
            if not math.isnan(value)}
        number = tx.decision(self.ledger_id, bar_time=label, interval=core.bars.interval, time=now,
                             session_id=self.session_id, known=known, status=status, bars_hash=bars_hash,
                             bars_file=bars_file, feed=feed, strategy_hash=strategy_hash, targets=row,
                             opening=None if opening is None else self.keeper.packed(opening))
        self.event(tx, "decision" if status == "decided" else "missed-bar", now, bar=label,
                   decision=number, status=status, targets=row or {}, bars_hash=bars_hash)
        return number

    def unmet(self, tx: Transaction, unmet: Sequence[Unmet], now: pd.Timestamp) -> None:
        """What a decision wanted and the book did not take whole: one event a decision."""
        if unmet:
            self.event(tx, "sizing", now, level="warning", text=" ".join(text for _, text in told(unmet)),
                       orders=[[one.what, one.symbol, one.side, one.qty, one.reason] for one in unmet])

    def intent(self, tx: Transaction, intent: Intent, now: pd.Timestamp, decision: int | None, *,
               state: str = "recorded", reason: str = "", text: str = "") -> None:
        """An order, before any request for it leaves (or one that will not leave, and why: ``text`` for a person)."""
        request = intent.plain()["request"]
        if intent.client_order_id in self._recorded:
            tx.intent_state(intent.client_order_id, state, time=now, reason=reason)
        else:
            tx.intent(intent.client_order_id, self.ledger_id, symbol=intent.symbol, side=intent.request.side,
                      purpose=intent.purpose, qty=intent.request.qty, adds_risk=intent.adds_risk, time=now,
                      request=request, session_id=self.session_id, decision_id=decision, uid=intent.uids[0],
                      attempt=intent.attempt, state=state, reason=reason)
        self._recorded[intent.client_order_id] = None
        odd = state == "rejected" and reason not in _SAID  # a halt says so itself
        more = {"text": text} if text else {}
        self.event(tx, "intent", now, level="warning" if odd else "info", client_order_id=intent.client_order_id,
                   state=state, reason=reason, purpose=intent.purpose, request=request, **more)

    def answer(self, tx: Transaction, intent: Intent, state: str, now: pd.Timestamp, reason: str = "",
               sent: pd.Timestamp | None = None) -> None:
        """What became of an intent that was sent."""
        self.sent += 1
        tx.intent_state(intent.client_order_id, state, time=now, reason=reason or None,
                        order_id=intent.order_id or None, sent=sent)
        self.event(tx, "order", now, level="warning" if state in ("rejected", "unknown") else "info",
                   client_order_id=intent.client_order_id, state=state, order_id=intent.order_id, reason=reason)

    def checkpoint(self, tx: Transaction, core: SessionCore, memory: Memory, now: pd.Timestamp) -> None:
        """Where a restart goes on."""
        for name in [n for n in self._recorded if n not in core.intents]:
            del self._recorded[name]
        for order_id in [n for n in self._told if n not in core.links]:  # over: nothing more is written of it
            del self._told[order_id]
        tx.checkpoint(self.ledger_id, self.keeper.checkpoint(core, memory), time=now)


def _fall(value: float, reference: float) -> float | None:
    fall = safety.fall_pct(float(value), float(reference))
    return fall if math.isfinite(fall) else None


def _plain(value: Any) -> Any:
    """As JSON takes it: times as ISO text, numbers that are none as null."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
