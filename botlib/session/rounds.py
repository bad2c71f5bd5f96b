"""Carrying a pass out: rounds of finding out, cancels, gates, writing down, sending, writing down what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from botlib.calendars import schedule
from botlib.engine.state import ENTRY, WORKING
from botlib.session.checking import gone
from botlib.session.feed import BarFeed
from botlib.session.guarding import Guard, Jumps
from botlib.session.links import DUST, Intent
from botlib.session.memory import Unwritten
from botlib.session.observing import Facts
from botlib.session.planning import Plan, plan
from botlib.session.report import Report
from botlib.session.sending import Answer, Sent
from botlib.session.timeline import Booked, book, next_print, splits_on
from botlib.session.watching import Watching

ROUNDS = 6
"""Rounds of cancels and orders in one pass; what is left goes on in the next."""

_moment = lru_cache(maxsize=64)(pd.Timestamp)  # labels of bars: many orders have the same


class Rounds(Watching):
    """The part of `TradingSession` that sends."""

    feed: BarFeed
    jumps: Jumps
    _unknown_since: dict[str, float]
    _decided_on: dict[int, str]
    """Entries by number: the label of the bar that decided them; those of before a restart are not in it."""
    _ends: tuple[Any, float, pd.Timestamp, pd.Timestamp] | None = None
    """The bars that `_moments` was asked about last, the delay, and its answer."""

    def _rounds(self, facts: Facts, decision: int | None, report: Report) -> None:
        self.core.turned_down.clear()  # of a pass that broke off
        for link in self.core.links.values():
            if link.cancel_asked and link.status != "pending_cancel":  # lost, or overtaken: it is asked for again
                link.cancel_asked = False
        missed, lost = set[str](), self._gone(facts)
        for _ in range(ROUNDS):
            self._resolve(facts, report)
            asked = plan(self.core, facts.time, {one.what for one in report.differences}, lost)
            asked.cancels = [link for link in asked.cancels
                             if self.options.send and link.client_order_id not in missed]
            report.stuck = [self.core.purpose(uid) for uid in asked.stuck]
            ready = self._recorded(facts, report)
            if not asked and not ready:
                if self._absent(facts):  # everything else is done: now there is time to be sure
                    continue
                break
            ready += self._allowed(asked, facts, decision, report)
            sent = self.sender.cancel(self.core, asked.cancels) if asked.cancels else Sent()
            missed |= sent.missed
            done = self.sender.submit(self.core, ready, lambda intent: self._still(intent, facts))
            self._written(sent, done, facts, report)
            if asked.cancels:
                self._after_cancels(facts, report)
            if done.turned_away or not (asked.cancels or ready):
                break
        self._check_protection(facts, report, lost)

    def _gone(self, facts: Facts) -> dict[str, float]:
        """Shares that are not there any more. On the date of a split the broker may only be behind."""
        missing, day = gone(self.core.positions(), facts.positions), int(self.core.book["session"])
        split = splits_on(self.feed.actions, day - 1, day) if missing else ()
        return {symbol: shares for symbol, shares in missing.items() if symbol not in dict(split)}

    # --- in time ------------------------------------------------------------------------------------------------------

    def _final(self) -> pd.Timestamp:
        return self._moments()[0]

    def _moments(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """When the last bar became final, and when what is sent then can trade first; every order asks, so once a
        bar."""
        bars, delay = self.core.bars, self.options.daily_delay
        if self._ends is None or self._ends[0] is not bars or self._ends[1] != delay:
            final = bars.final_times(delay)[-1]
            self._ends = bars, delay, final, next_print(schedule(bars.calendar or "XNYS"), final)
        return self._ends[2], self._ends[3]

    def _in_time(self, now: pd.Timestamp) -> bool:
        """Whether a decision on the last bar can still meet the next print."""
        if self.options.trade_late:
            return True
        return bool(now <= self._moments()[1] + pd.Timedelta(seconds=self.options.grace_seconds))

    def _late(self, intent: Intent, facts: Facts) -> bool:
        """An entry whose bar is not the last any more, or that cannot meet the next print. What reduces risk is never
        too late, as long as the book wants it."""
        if not intent.adds_risk or self.options.trade_late:
            return False
        last = self.core.bars.index[-1]
        label = self._decided_on.get(intent.uids[0], intent.bar)
        return _moment(label) != last or not self._in_time(self._now(facts))

    def _still(self, intent: Intent, facts: Facts) -> bool:
        """Whether an order that is about to leave may: nothing that adds risk while somebody wants something, which
        may be a kill. It stays recorded, and meets the gates again."""
        return not self._late(intent, facts) and not (intent.adds_risk and self.hurry())

    def _now(self, facts: Facts) -> pd.Timestamp:
        """The broker's time, as far as this machine can tell without asking again. A machine that slept since the
        reading notices here."""
        if self._here is None:
            return facts.time
        return facts.time + pd.Timedelta(seconds=self._elapsed())

    # --- what is sent -------------------------------------------------------------------------------------------------

    def _wanted(self, intent: Intent) -> bool:
        """Whether the book still wants what an intent carries out."""
        return any(self._works(uid) for uid in intent.uids)

    def _works(self, uid: int) -> bool:
        record = self.core.order_row(uid)
        return record is not None and bool(record["status"] == WORKING)

    def _recorded(self, facts: Facts, report: Report) -> list[Intent]:
        """Intents that a crash left unsent, or that never arrived: they meet the gates again, and the clock."""
        recorded = [i for i in self.core.intents.values() if i.state == "recorded"]
        if not recorded:
            return []
        guard, ready, over = self._guard(facts), [], []
        for intent in recorded:
            if not self._wanted(intent):
                over.append((intent, "abandoned", "not wanted any more", ""))
            elif not self.options.send:
                over.append((intent, "shadow", "shadow", ""))
            elif self._late(intent, facts):
                over.append((intent, "missed", "later than the next open", ""))
            elif not (gate := guard.gate(intent, self.memory.watch, counted=True)).ok:
                over.append((intent, "rejected", gate.rule, gate.reason))
                report.refused.append((intent, gate.reason))
            else:
                ready.append(intent)
        if over:
            with self.recorder.commit(facts.time) as tx:
                for intent, state, reason, text in over:
                    self.recorder.intent(tx, intent, facts.time, None, state=state, reason=reason, text=text)
                    self.core.dropped(intent, reason)
                self._checkpoint(tx, facts.time)
        return ready

    def _guard(self, facts: Facts) -> Guard:
        """The gates, as long as the book stays as it is."""
        final = self._final()
        return Guard(self.core, facts, self.controls, final=final, session_seconds=self._session_seconds(final),
                     externals=self.memory.externals.shares, jumped=self.jumps.of(self.core.bars))

    def _allowed(self, asked: Plan, facts: Facts, decision: int | None, report: Report) -> list[Intent]:
        """The new orders that may go, written down with those that may not."""
        if not asked.submits:
            return []
        core, now = self.core, facts.time
        guard, allowed, refused, alarms = self._guard(facts), [], [], []
        for intent in asked.submits:
            core.record(intent)
            gate = guard.gate(intent, self.memory.watch)
            if self._late(intent, facts):  # decided before a crash or an outage
                refused.append((intent, "missed", "later than the next open", ""))
            elif not gate.ok:
                refused.append((intent, "rejected", gate.rule, gate.reason))
            elif not self.options.send:
                refused.append((intent, "shadow", "shadow", "orders: shadow"))
            else:
                allowed.append(intent)
                self.memory.watch = self.memory.watch.sent(intent.symbol, intent.adds_risk)
                if gate.alarm:
                    alarms.append(gate.alarm)
        report.alarms += alarms
        with self.recorder.commit(now) as tx:
            for intent in allowed:
                self.recorder.intent(tx, intent, now, decision)
            for intent, state, rule, reason in refused:
                self.recorder.intent(tx, intent, now, decision, state=state, reason=rule,
                                     text=reason if state == "rejected" else "")
                core.dropped(intent, rule)
                if reason:
                    report.refused.append((intent, reason))
            for text in alarms:
                self.recorder.event(tx, "alarm", now, level="alarm", text=text)
            self._checkpoint(tx, now)
        return allowed

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _written(self, sent: Sent, done: Sent, facts: Facts, report: Report) -> None:
        """What the broker answered goes into the ledger."""
        now = facts.time
        report.answers += done.answers
        report.problems += sent.problems + done.problems
        report.alarms += sent.alarms
        if not (done.answers or sent.orders or sent.problems or sent.alarms):
            return
        with self.recorder.commit(now) as tx:
            for answer in done.answers:
                self._answered(tx, answer, now)
            self.recorder.facts(tx, self.core, Booked(), sent.orders, now)
            for text in sent.problems:
                self.recorder.event(tx, "alarm", now, level="warning", text=text)
            for text in sent.alarms:
                self.recorder.event(tx, "alarm", now, level="alarm", text=text)
            self._checkpoint(tx, now)

    def _answered(self, tx: Any, answer: Answer, now: pd.Timestamp) -> None:
        self.recorder.answer(tx, answer.intent, answer.state, now, answer.text, sent=now)
        if answer.order is not None:
            self.recorder.facts(tx, self.core, Booked(), answer.order.flat(), now)
        if answer.state == "unknown":
            self._unknown_since.setdefault(answer.intent.client_order_id, self._clock())

    def _after_cancels(self, facts: Facts, report: Report) -> None:
        """Executions that came in while cancels were under way are booked before anything new is sent."""
        if not any(link.reported > link.filled + 1e-9 for link in self.core.links.values()):
            return
        page = self.broker.activity_page(self.memory.cursor, since=None if self.memory.cursor else self._since)
        self._unwritten.booked.add(book(self.core, facts.time, [], page.fills, page.activities, None, listener=self,
                                        known=self._known))
        with self.recorder.commit(facts.time) as tx:
            self.recorder.facts(tx, self.core, self._unwritten.booked, (), facts.time)
            self._checkpoint(tx, facts.time)
        report.fills += self._unwritten.booked.fills
        self._unwritten, self.core.trips = Unwritten(), []

    # --- orders whose fate is not known -------------------------------------------------------------------------------

    def _resolve(self, facts: Facts, report: Report) -> None:
        """Look them up by their id. One that the broker surely has not may go out again under the same id."""
        for intent in self._in_flight():
            since = self._unknown_since.setdefault(intent.client_order_id, self._clock())
            answer = self.sender.resolve(self.core, intent)
            if answer is None:
                text = f"what became of {intent.client_order_id} cannot be told yet: it counts as working"
                if text not in report.problems:
                    report.problems.append(text)
                continue
            absent = answer.state == "absent"
            if absent and self._clock() - since < self.options.unknown_seconds:
                continue
            self._unknown_since.pop(intent.client_order_id, None)
            with self.recorder.commit(facts.time) as tx:
                if absent:
                    intent.state = "recorded"  # it never arrived
                    self.recorder.event(tx, "recovered", facts.time, client_order_id=intent.client_order_id,
                                        what="the broker does not have it")
                else:
                    self._answered(tx, answer, facts.time)
                self._checkpoint(tx, facts.time)

    def _in_flight(self) -> Sequence[Intent]:
        return [i for i in self.core.intents.values() if i.in_flight]

    def _absent(self, facts: Facts) -> bool:
        """Wait until orders that the broker does not know have been unknown for long enough; whether that is so now.
        Not when somebody wants something: then it goes on in the next pass."""
        since = [self._unknown_since[i.client_order_id] for i in self._in_flight()
                 if i.client_order_id in self._unknown_since]
        if not since:
            return False
        until = min(since) + self.options.unknown_seconds
        if until <= self._clock():  # it was asked about after that already, and could not be told
            return False
        while (left := until - self._clock()) > 0.0:
            if self.hurry():
                return False
            self._sleep(min(0.25, left))
        return True

    # --- protection ---------------------------------------------------------------------------------------------------

    def _check_protection(self, facts: Facts, report: Report, lost: Mapping[str, float]) -> None:
        """Tell of positions whose protection, or way out, is not at the broker: when it begins and when it ends."""
        if not self.options.send:
            return
        core, orders = self.core, self.core.book.rows("orders")
        rows = np.flatnonzero((orders["status"] == WORKING) & (orders["purpose"] != ENTRY))
        held = core.positions()
        missing = {core.bars.symbols[orders["symbol"][row]] for row in rows.tolist()
                   if core.uids[row] not in core.working}
        left = {s: abs(held[s]) - lost.get(s, 0.0) for s in missing & set(held)}
        bare = sorted(s for s in left if left[s] > DUST)
        if bare == self.memory.bare:
            return
        now = facts.time
        texts = [(s, f"{left[s]:g} shares of {s} are not fully protected at the broker: look at the account", "alarm")
                 for s in bare if s not in self.memory.bare]
        texts += [(s, f"{s} is protected again", "info") for s in self.memory.bare if s not in bare]
        self.memory.bare = bare
        report.alarms += [text for _, text, level in texts if level == "alarm"]
        with self.recorder.commit(now) as tx:
            for symbol, text, level in texts:
                self.recorder.event(tx, "protection", now, level=level, symbol=symbol, text=text)
            self._checkpoint(tx, now)
