"""`TradingSession.step`: one pass of the loop. Read, book, check, decide, write down, send, write down.

Synchronous and without threads: who calls it decides when. What it holds in memory is in the repository too.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from botlib import safety
from botlib.brokers.base import Activity
from botlib.calendars import schedule
from botlib.engine import booking
from botlib.safety import SafetyControls
from botlib.session.checking import Externals, differences, problems
from botlib.session.core import SessionCore
from botlib.session.deciding import Decider
from botlib.session.feed import BarFeed
from botlib.session.guarding import guard
from botlib.session.links import Intent
from botlib.session.observing import Facts, adopt, observe, strangers
from botlib.session.planning import Plan, plan
from botlib.session.recording import Recorder
from botlib.session.report import Report
from botlib.session.sending import Answer, Sender, Sent
from botlib.session.timeline import ZONE, Booked, book, next_print
from botlib.watch import PRICES, Mark, Watch, changes

ROUNDS = 6
"""Rounds of cancels and orders in one pass; what is left goes on in the next."""

_CHECKS = ("account-blocked", "unexplained", "clock-skew")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a pass needs to know beside the account.

    Attributes
    ----------
    send : bool
        False: record what would be sent, and send nothing.
    trade_late : bool
        Send decisions that come after the next bar's open, too.
    grace_seconds : float
        How much later than that open a decision is still in time.
    daily_delay : float
        Minutes after the close at which daily bars are final.
    unknown_seconds : float
        How long an order that the broker does not know must have been unknown before its id is sent again.
    feed, strategy_hash : str
        For the record.
    """

    send: bool = True
    trade_late: bool = False
    grace_seconds: float = 60.0
    daily_delay: float = 20.0
    unknown_seconds: float = 10.0
    feed: str = ""
    strategy_hash: str = ""


@dataclass(slots=True)
class Memory:
    """What goes into a checkpoint beside the core."""

    watch: Watch
    externals: Externals
    cursor: str = ""
    decided: str = ""
    """Label of the last bar that was looked at: a bar is decided once, whoever restarts."""
    foreign: list[str] = field(default_factory=list)
    """Keys of the latest executions that were not ours."""

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"watch": self.watch.record(), "cursor": self.cursor, "decided": self.decided,
                "externals": {"shares": self.externals.shares, "cash": self.externals.cash},
                "foreign": self.foreign[-500:]}

    @classmethod
    def of(cls, values: Any) -> Memory:
        """What `plain` gave."""
        return cls(Watch.from_record(values["watch"]), Externals(**values["externals"]), values["cursor"],
                   values["decided"], list(values["foreign"]))


@dataclass(slots=True)
class Unwritten:
    """What has been booked and not yet written down: a pass that breaks off leaves it to the next."""

    booked: Booked = field(default_factory=Booked)
    externals: list[Any] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)


class TradingSession:
    """A strategy on an account; `step` is one pass.

    Parameters
    ----------
    core, decider, feed, broker, recorder, memory, controls, options
        See their classes.
    since : pandas.Timestamp
        From where the broker's activities count while there is no cursor.
    here : function, optional
        This machine's time, to compare the broker's with; None where the venue has its own.
    bars_seen : function, optional
        Keeps the bars of a decision: (bars, now) → (file, hash).
    clock, sleep : functions
        Monotonic seconds, and waiting.
    """

    def __init__(self, *, core: SessionCore, decider: Decider, feed: BarFeed, broker: Any, recorder: Recorder,
                 memory: Memory, controls: SafetyControls, options: Options, since: pd.Timestamp,
                 here: Callable[[], pd.Timestamp] | None = None,
                 bars_seen: Callable[[Any, pd.Timestamp], tuple[str, str]] | None = None,
                 clock: Callable[[], float] = clocks.monotonic,
                 sleep: Callable[[float], None] = clocks.sleep) -> None:
        self.core, self.decider, self.feed, self.broker = core, decider, feed, broker
        self.recorder, self.memory, self.controls, self.options = recorder, memory, controls, options
        self.sender = Sender(broker, clock=clock, sleep=sleep)
        self.iteration = 0
        self.facts: Facts | None = None
        self.flows = 0.0
        """Dollars paid in, less those paid out, in this session."""
        self._since, self._here, self._bars_seen = since, here, bars_seen
        self._clock, self._sleep = clock, sleep
        self._unknown_since: dict[str, float] = {}
        self._unwritten = Unwritten()
        self._prices: dict[str, tuple[float, pd.Timestamp]] = {}

    def prime(self) -> None:
        """Let safety see the last closes before the session: the first orders have a price to be compared with."""
        bars, watch = self.core.bars, self.memory.watch
        finals = bars.final_times(self.options.daily_delay)
        for t in range(max(0, len(bars) - 2), len(bars)):
            closes = {s: (float(p), finals[t]) for s, p in zip(bars.symbols, bars.close[t], strict=True) if p > 0.0}
            watch = watch.closed(self.controls, Mark(cash=watch.equity, positions={}, prices=closes), watch.day,
                                 watch.equity)
        self.memory.watch = watch

    @property
    def watch(self) -> Watch:
        """Safety's state."""
        return self.memory.watch

    # --- the pass -----------------------------------------------------------------------------------------------------

    def step(self, ask: Callable[[TradingSession], None] | None = None) -> Report:
        """One pass. ``ask`` may kill, flatten or reduce before anything is decided.

        Raises
        ------
        BrokerError, ProviderError
            The broker or the bars cannot be read: nothing was decided or sent.
        RepositoryError
            Nothing more was sent once something could not be written down.
        StrategyError
            The strategy failed; what is held stays protected.
        """
        self.iteration += 1
        report = Report(iteration=self.iteration)
        facts = self._gather(report)
        before = self.memory.watch
        self._checks(facts, report)
        if ask is not None:
            ask(self)
        self._follow_watch()
        self._unwritten.changes += changes(before, self.memory.watch)
        report.take(facts, self._unwritten)
        decision = self._decide(facts, report)
        self._rounds(facts, decision, report)
        self.core.tidy()
        report.finish(self.core, self.memory.watch, facts, self.memory.externals)
        return report

    def _gather(self, report: Report) -> Facts:
        """Read, and book what is new."""
        facts = observe(self.broker, self.core, self.memory.cursor, self._since)
        self._book(facts, self.feed.poll(facts.time), report)
        if self._differs(facts):  # something may have happened between two reads: look once more
            facts = observe(self.broker, self.core, self.memory.cursor, self._since)
            self._book(facts, [], report)
        self.facts = facts
        return facts

    def _book(self, facts: Facts, panels: list[Any], report: Report) -> None:
        others, foreign = adopt(self.broker, self.core, facts)
        for one in facts.orders:
            self.core.order(one)
        report.strangers = strangers(others)
        self._note_foreign(foreign)
        before = self.memory.watch
        booked = book(self.core, facts.time, panels, facts.fills, facts.activities, self.feed.actions,
                      delay=self.options.daily_delay, listener=self)
        self._unwritten.booked.add(booked)
        if not panels:
            self._between_bars(facts)
        self._unwritten.changes += changes(before, self.memory.watch)

    def _note_foreign(self, fills: list[Any]) -> None:
        """Executions that are not ours: the user's own; they count in the account's exposure and are left alone."""
        for fill in fills:
            key = f"{fill.order_id} {fill.cum_qty:.9g}"
            if key in self.memory.foreign:
                continue
            self.memory.foreign.append(key)
            signed = fill.qty if fill.side == "buy" else -fill.qty
            self.memory.externals.add(fill.symbol, signed)
            self.memory.externals.cash -= signed * fill.price
            self._unwritten.externals.append(fill)

    def began(self, day: int, splits: Mapping[str, float]) -> None:
        """Safety on a new exchange date."""
        watch = self.memory.watch.on_day(pd.Timestamp(day, unit="D").date())
        for symbol, ratio in splits.items():
            watch = watch.split(symbol, ratio)
        self.memory.watch = watch
        self.core.book.world["day_start"] = watch.day_start

    def moved(self, activity: Activity, kind: str) -> None:
        """Deposits and withdrawals move peak and day start."""
        if kind == "transfer":
            self.flows += activity.net_amount or 0.0
            self.memory.watch = self.memory.watch.flow(activity.net_amount or 0.0)

    def closed(self, bars: Any) -> None:
        """Safety at a bar's close. Judged as in the book, unless a holding's close is out of line: a single wrong price
        neither halts nor makes a peak."""
        world, day = self.core.book.world, bars.index[-1].tz_convert(ZONE).date()
        final = bars.final_times(self.options.daily_delay)[-1]
        closes = {s: (float(p), final) for s, p in zip(bars.symbols, bars.close[-1], strict=True) if p > 0.0}
        mark = Mark(cash=float(world["cash"][0] + world["receivable"][0]), positions=self.core.positions(),
                    prices=closes)
        watch = self.memory.watch.closed(self.controls, mark, day, float(world["equity"][0]))
        found = int(world["state"][0])
        if PRICES not in watch.holds:
            if found == safety.HALTED:
                watch = watch.kill("the book was halted at a bar's close")
        elif found == safety.HALTED and not watch.latched:
            world["state"] = safety.REDUCE_ONLY
        world["peak"] = watch.peak
        self.memory.watch = watch

    def _between_bars(self, facts: Facts) -> None:
        """Safety between bars, with the prices that the broker tells. A price that did not change is one print."""
        positions = self.core.positions()
        if not positions:
            return
        for symbol, price in facts.prices.items():
            if symbol in positions and self._prices.get(symbol, (None,))[0] != price:
                self._prices[symbol] = price, facts.time
        prices = {s: self._prices[s] for s in positions if s in self._prices}
        mark = Mark(cash=float(self.core.book["cash"] + self.core.book["receivable"]), positions=positions,
                    prices=prices)
        self.memory.watch = self.memory.watch.marked(self.controls, mark)

    # --- checks -------------------------------------------------------------------------------------------------------

    def _differs(self, facts: Facts) -> bool:
        return bool(differences(self.core, facts, self.memory.externals))

    def _checks(self, facts: Facts, report: Report) -> None:
        """What allows only exits, and lifts itself when it is in order again."""
        found = differences(self.core, facts, self.memory.externals)
        report.differences = found
        here = None if self._here is None else self._here()
        held = dict(problems(facts, found, here))
        if report.strangers:
            ids = ", ".join(one.client_order_id for one in report.strangers[:3])
            held["unexplained"] = f"orders of another session of botlib are open on this account ({ids})"
        for name in _CHECKS:
            self.memory.watch = (self.memory.watch.held(name, held[name]) if name in held
                                 else self.memory.watch.released(name))

    def _follow_watch(self) -> None:
        """The book follows a kill, whoever found it."""
        core, world = self.core, self.core.book.world
        if self.memory.watch.latched and int(core.book["state"]) != safety.HALTED:
            core.room()
            booking.kill(world, core.t, 0.0, self.controls.max_drawdown_pct)
            core.number_orders()

    # --- what a person asks -------------------------------------------------------------------------------------------

    def kill(self, reason: str) -> None:
        """Halt for good; entries end in this pass, legs stay, positions go when ``on_kill`` says flatten."""
        self.memory.watch = self.memory.watch.kill(reason)
        self._follow_watch()
        if self.controls.on_kill == "flatten":
            self.flatten()

    def reduce_only(self, reason: str) -> None:
        """Only exits from now on."""
        self.memory.watch = self.memory.watch.held("asked", reason)
        self.cancel_entries()

    def cancel_entries(self) -> None:
        """Working entries end."""
        self.core.end_entries()

    def flatten(self) -> None:
        """Everything held is sold at the market; legs go first."""
        self.core.flatten()

    def clear(self) -> tuple[str, ...]:
        """A person lifts the kill; a sentence for each thing that resets."""
        self.memory.watch, said = self.memory.watch.cleared(self.core.equity())
        world = self.core.book.world
        world["state"], world["peak"] = safety.ACTIVE, self.memory.watch.peak
        return said

    def finish(self, at_end: str) -> list[str]:
        """The orderly end: "keep" leaves all as it is, "cancel-entries" ends working entries, "flatten" sells, too."""
        if at_end == "keep" or self.facts is None:
            return []
        (self.flatten if at_end == "flatten" else self.cancel_entries)()
        report = Report(iteration=self.iteration)
        self._rounds(self.facts, None, report)
        return [f"[END] {answer.intent.request.side} {answer.intent.request.qty:g} {answer.intent.symbol}: "
                f"{answer.state}" for answer in report.answers]

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _decide(self, facts: Facts, report: Report) -> int | None:
        """Decide on the last bar, if it is new and in time; write down what happened and what was decided."""
        core, options, now = self.core, self.options, facts.time
        label = core.bars.index[-1].isoformat()
        status, targets, opening, problem = "", None, None, None
        final = core.bars.final_times(options.daily_delay)[-1]
        if label != self.memory.decided:
            self.memory.decided, report.bar = label, core.bars.index[-1]
            if self.decider.ready(core.bars):
                status = "decided" if self._in_time(now, final) else "missed"
        if status == "decided":
            opening = core.state()
            try:
                core.decide(lambda book_, t: report.targets_are(self.decider.decide(core.bars, book_)))
                targets = report.targets
            except Exception as error:  # written down first; nothing of half a decision is sent
                status, problem = "discarded", error
                core.back_to(opening)
        report.status = status
        unwritten, decision = self._unwritten, None
        with self.recorder.commit(now) as tx:
            self.recorder.facts(tx, core, unwritten.booked, facts.orders, now)
            self.recorder.mark(tx, core, self.memory.watch, core.equity(), now, self.iteration)
            self.recorder.changes(tx, unwritten.changes, now)
            for fill in unwritten.externals:
                self.recorder.event(tx, "external", now, level="warning", symbol=fill.symbol, side=fill.side,
                                    qty=fill.qty, price=fill.price, order_id=fill.order_id)
            for one in report.differences if "unexplained" in self.memory.watch.holds else ():
                self.recorder.event(tx, "unexplained", now, level="alarm", what=str(one))
            if status:
                file, digest = ("", "") if self._bars_seen is None else self._bars_seen(core.bars, now)
                decision = self.recorder.decision(
                    tx, core, targets, now, known=final, status=status, feed=options.feed, opening=opening,
                    strategy_hash=options.strategy_hash, bars_hash=digest, bars_file=file)
            self.memory.cursor = facts.cursor
            self.recorder.checkpoint(tx, core, self.memory.plain(), now)
        self._unwritten, core.trips = Unwritten(), []
        if problem is not None:
            raise problem
        return decision

    def _in_time(self, now: pd.Timestamp, final: pd.Timestamp) -> bool:
        """Whether a decision on a bar that became final then can still meet the next print."""
        if self.options.trade_late:
            return True
        first = next_print(schedule(self.core.bars.calendar or "XNYS"), final)
        return bool(now <= first + pd.Timedelta(seconds=self.options.grace_seconds))

    # --- sending ------------------------------------------------------------------------------------------------------

    def _rounds(self, facts: Facts, decision: int | None, report: Report) -> None:
        for _ in range(ROUNDS):
            self._resolve(facts, report)
            asked = plan(self.core, facts.time)
            report.stuck = [self.core.purpose(uid) for uid in asked.stuck]
            ready = self._recorded(facts)
            if not asked and not ready:
                return
            ready += self._allowed(asked, facts, decision, report)
            sent = self.sender.cancel(self.core, asked.cancels) if asked.cancels else Sent()
            done = self.sender.submit(self.core, ready)
            self._written(sent, done, facts, report)
            if asked.cancels:
                self._after_cancels(facts, report)
            if not (asked.cancels or ready):
                return

    def _recorded(self, facts: Facts) -> list[Intent]:
        """Intents that a crash left unsent: still in time, or not any more."""
        left = [i for i in self.core.intents.values() if i.state == "recorded"]
        if not left:
            return []
        final = self.core.bars.final_times(self.options.daily_delay)[-1]
        in_time, bar = self._in_time(facts.time, final), self.core.bars.index[-1]
        late = [i for i in left if i.purpose != "protect" and not self.options.trade_late
                and (not in_time or pd.Timestamp(i.bar) != bar)]
        if late:
            with self.recorder.commit(facts.time) as tx:
                for intent in late:
                    self.core.dropped(intent, "missed")
                    self.recorder.intent(tx, intent, facts.time, None, state="missed", reason="later than the next open")
        return [i for i in left if i not in late]

    def _allowed(self, asked: Plan, facts: Facts, decision: int | None, report: Report) -> list[Intent]:
        """The new orders that may go, written down with those that may not."""
        if not asked.submits:
            return []
        core, now = self.core, facts.time
        final = core.bars.final_times(self.options.daily_delay)[-1]
        gap = self._session_seconds(final)
        allowed, refused = [], []
        for intent in asked.submits:
            core.record(intent)
            gate = guard(core, intent, facts, self.memory.watch, self.controls, final=final, session_seconds=gap,
                         externals=self.memory.externals.shares)
            if not gate.ok:
                refused.append((intent, "rejected", gate.rule, gate.reason))
            elif not self.options.send:
                refused.append((intent, "shadow", "shadow", "orders: shadow"))
            else:
                allowed.append(intent)
                self.memory.watch = self.memory.watch.sent(intent.symbol, intent.adds_risk)
                if gate.alarm:
                    report.alarms.append(gate.alarm)
        with self.recorder.commit(now) as tx:
            for intent in allowed:
                self.recorder.intent(tx, intent, now, decision)
            for intent, state, rule, reason in refused:
                self.recorder.intent(tx, intent, now, decision, state=state, reason=rule)
                core.dropped(intent, rule)
                report.refused.append((intent, reason))
            for text in report.alarms:
                self.recorder.event(tx, "alarm", now, level="alarm", text=text)
            self.recorder.checkpoint(tx, core, self.memory.plain(), now)
        return allowed

    def _session_seconds(self, final: pd.Timestamp) -> float | None:
        """From the close before ``final`` to the next one."""
        closes = schedule(self.core.bars.calendar or "XNYS").closes
        n = int(closes.searchsorted(final.value, side="right"))
        return None if not 0 < n < len(closes) else float(closes[n] - closes[n - 1]) / 1e9

    def _written(self, sent: Sent, done: Sent, facts: Facts, report: Report) -> None:
        """What the broker answered goes into the ledger."""
        now = facts.time
        report.answers += done.answers
        report.problems += sent.problems + done.problems
        if not (done.answers or sent.orders or sent.problems):
            return
        with self.recorder.commit(now) as tx:
            for answer in done.answers:
                self._answered(tx, answer, now)
            self.recorder.facts(tx, self.core, Booked(), sent.orders, now)
            for text in sent.problems:
                self.recorder.event(tx, "alarm", now, level="warning", text=text)
            self.recorder.checkpoint(tx, self.core, self.memory.plain(), now)

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
        self._unwritten.booked.add(book(self.core, facts.time, [], page.fills, page.activities, None, listener=self))
        with self.recorder.commit(facts.time) as tx:
            self.recorder.facts(tx, self.core, self._unwritten.booked, (), facts.time)
            self.recorder.checkpoint(tx, self.core, self.memory.plain(), facts.time)
        report.fills += self._unwritten.booked.fills
        self._unwritten, self.core.trips = Unwritten(), []

    def _resolve(self, facts: Facts, report: Report) -> None:
        """Orders whose fate is unknown are looked up by their id; one that the broker surely has not is sent again
        under the same id, or given up when it is too late for it."""
        for intent in [i for i in self.core.intents.values() if i.in_flight]:
            since = self._unknown_since.setdefault(intent.client_order_id, self._clock())
            while True:
                answer = self.sender.resolve(self.core, intent)
                absent = answer is not None and answer.state == "absent"
                waited = self._clock() - since
                if not absent or waited >= self.options.unknown_seconds:
                    break
                self._sleep(min(1.0, max(0.01, self.options.unknown_seconds - waited)))
            if answer is None:
                report.problems.append(f"what became of {intent.client_order_id} cannot be told yet")
                continue
            self._unknown_since.pop(intent.client_order_id, None)
            with self.recorder.commit(facts.time) as tx:
                if absent:
                    intent.state = "recorded"  # it never arrived: the same id may go out again
                    self.recorder.event(tx, "recovered", facts.time, client_order_id=intent.client_order_id,
                                        what="the broker does not have it")
                else:
                    self._answered(tx, answer, facts.time)
                self.recorder.checkpoint(tx, self.core, self.memory.plain(), facts.time)
