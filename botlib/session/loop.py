"""`TradingSession.step`: one pass of the loop. Read, book, check, decide, write down, send, write down.

Synchronous and without threads: who calls it decides when. What it holds in memory is in the repository too. Safety is
in `watching`, sending in `rounds`.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from botlib.calendars import INTERVAL_MINUTES, schedule
from botlib.errors import BrokerRefusal, DataError, ProviderError, RepositoryError
from botlib.safety import SafetyControls
from botlib.session.checking import session_at
from botlib.session.core import SessionCore
from botlib.session.deciding import Decider
from botlib.session.feed import BarFeed
from botlib.session.guarding import Jumps
from botlib.session.memory import Memory, Options, Unwritten
from botlib.session.observing import Facts, adopt, observe
from botlib.session.recording import Recorder
from botlib.session.report import Report
from botlib.session.rounds import ROUNDS, Rounds
from botlib.session.sending import Sender
from botlib.session.sizing import Wishes
from botlib.session.timeline import book, splits_on
from botlib.watch import Mark, changes

__all__ = ["ROUNDS", "Memory", "Options", "TradingSession", "Unwritten"]


class TradingSession(Rounds):
    """A strategy on an account; `step` is one pass.

    Parameters
    ----------
    core, decider, feed, broker, recorder, memory, controls, options
        See their classes.
    since : pandas.Timestamp
        From where the broker's activities count while there is no cursor.
    now : pandas.Timestamp, optional
        The broker's time, before the first pass has read it; default: ``since``.
    here : function, optional
        This machine's time; None where the venue has its own, which no clock here can tell.
    bars_seen : function, optional
        Keeps the bars of a decision: (bars, now) → (file, hash).
    unchanged : function, optional
        "" while the strategy is the one that was loaded, else why it is not.
    clock, sleep, wall : functions
        Monotonic seconds, waiting, and seconds of the wall clock (the two differ when a machine has slept).
    """

    def __init__(self, *, core: SessionCore, decider: Decider, feed: BarFeed, broker: Any, recorder: Recorder,
                 memory: Memory, controls: SafetyControls, options: Options, since: pd.Timestamp,
                 now: pd.Timestamp | None = None, here: Callable[[], pd.Timestamp] | None = None,
                 bars_seen: Callable[[Any, pd.Timestamp], tuple[str, str]] | None = None,
                 unchanged: Callable[[], str] = lambda: "", clock: Callable[[], float] = clocks.monotonic,
                 sleep: Callable[[float], None] = clocks.sleep, wall: Callable[[], float] = clocks.time) -> None:
        self.core, self.decider, self.feed, self.broker = core, decider, feed, broker
        self.recorder, self.memory, self.controls, self.options = recorder, memory, controls, options
        self.jumps = Jumps(decider.warmup)
        self.sender = Sender(broker, sends=options.send, clock=clock, sleep=sleep)
        self.iteration = 0
        self.report: Report | None = None
        """Of the pass under way, or of the last one."""
        self.facts: Facts | None = None
        self.time = since if now is None else now
        """The broker's, as read last."""
        self.flows = self.flows_written = 0.0
        """Dollars paid in, less those paid out, in this session."""
        self.hurry: Callable[[], bool] = lambda: False
        """Whether somebody waits for the pass to end."""
        self.complete: pd.Timestamp | None = None
        """Up to this end of a bar all symbols' bars are known to be there."""
        self._since, self._here, self._bars_seen, self._unchanged = since, here, bars_seen, unchanged
        self._clock, self._sleep, self._wall = clock, sleep, wall
        self._read_at = clock(), wall()
        self._unknown_since: dict[str, float] = {}
        self._decided_on: dict[int, str] = {}
        self._unwritten = Unwritten()
        self._panels: list[Any] = []  # bars that have come and are not booked yet
        self._prices: dict[str, tuple[float, pd.Timestamp]] = {}
        self._behind: dict[str, None] = {}
        self._above = set[int]()

    def prime(self) -> None:
        """Let safety see the last closes before the session: the first orders have a price to be compared with."""
        bars, watch = self.core.bars, self.memory.watch
        finals = bars.final_times(self.options.daily_delay)
        for t in range(max(0, len(bars) - 2), len(bars)):
            for symbol, ratio in splits_on(bars.actions, int(bars.sessions[t - 1]), int(bars.sessions[t])) if t else ():
                watch = watch.split(symbol, ratio)
            closes = {s: (float(p), finals[t]) for s, p in zip(bars.symbols, bars.close[t], strict=True) if p > 0.0}
            watch = watch.closed(self.controls, Mark(cash=watch.equity, positions={}, prices=closes), watch.day,
                                 watch.equity)
        self.memory.watch = watch

    def go_on(self, decided: str) -> None:
        """After a restart: entries that were decided before it belong to that bar."""
        self._decided_on = {uid: decided for uid in self.core.uids if uid not in self.core.working}

    def follows(self, before: TradingSession) -> None:
        """Take over what is not in the ledger from the session that this one was made anew for."""
        self.iteration, self.facts, self.hurry = before.iteration, before.facts, before.hurry
        self.flows = self.flows_written = before.flows_written
        self.recorder.counts, self.recorder.sent = before.recorder.counts, before.recorder.sent
        self._unknown_since = dict(before._unknown_since)
        self._behind, self._above = dict(before._behind), set(before._above)

    # --- the pass -----------------------------------------------------------------------------------------------------

    def step(self, asked: Sequence[Any] = ()) -> Report:
        """One pass. ``asked``: what persons want (rows of the repository's requests).

        Raises
        ------
        BrokerError
            The broker cannot be read: nothing was decided or sent. What was asked to stop risk counts all the same.
        RepositoryError
            Nothing more was sent once something could not be written down; go on with a session made anew from the
            ledger.
        StrategyError
            The strategy failed; what is held stays protected.
        """
        self.report = report = Report(iteration=self.iteration + 1)
        report.changes = latched = self.obey(asked)
        facts = self._gather(report)
        self.iteration += 1  # a pass that could not read the broker is none
        before = self.memory.watch
        self._checks(facts, report)
        self._follow_watch()
        self._carry_out(asked, report)
        self._unwritten.changes += changes(before, self.memory.watch)
        report.take(facts, self._unwritten)
        report.changes = [*latched, *report.changes]
        decision, problem = self._decide(facts, report)
        self._rounds(facts, decision, report)  # after a failure, too: what is held gets its protection
        report.finish(self.core, self.memory.watch, facts, self.memory.externals)
        self.core.tidy()
        if problem is not None:
            raise problem
        return report

    def finish(self, at_end: str) -> list[str]:
        """The orderly end: "keep" leaves all as it is, "cancel-entries" ends working entries, "flatten" sells, too."""
        if (at_end == "keep" and not self.memory.flatten) or self.facts is None:
            return []
        self.report = report = Report(iteration=self.iteration)
        facts = self._gather(report)
        self._checks(facts, report)
        self._follow_watch()
        (self.flatten if at_end == "flatten" or self.memory.flatten else self.cancel_entries)()
        self.memory.flatten = False
        with self.recorder.commit(facts.time) as tx:
            self._flush(tx, facts.orders, facts.time)
        self._flushed()
        self._rounds(facts, None, report)
        self.core.tidy()
        return [f"[END] {answer.intent.request.side} {answer.intent.request.qty:g} {answer.intent.symbol}: "
                f"{answer.state}" for answer in report.answers]

    # --- reading ------------------------------------------------------------------------------------------------------

    def _gather(self, report: Report) -> Facts:
        """Read, and book what is new. What one pass has read and could not book is left to the next."""
        facts = self._observe()
        self._poll(facts, report)
        self._book(facts, report)
        if self._differences(facts):
            ended = {one.order_id: one for one in facts.orders if not one.working}
            facts = self._observe()  # something may have happened between two reads: look once more
            ended |= {one.order_id: one for one in facts.orders}  # what is over is not read again
            facts = replace(facts, orders=tuple(ended.values()))
            self._book(facts, report)
        self.facts = facts = self._ended(facts)
        return facts

    def _ended(self, facts: Facts) -> Facts:
        """With how orders ended whose executions came after they had been read as open: all is booked, and nobody would
        ask for them again."""
        told = [found.flat() for link in self.core.links.values() if link.over and not link.ended
                and (found := self.broker.get_order(link.order_id)) is not None]
        orders = {one.order_id: one for one in facts.orders}
        for one in (one for group in told for one in group):
            if self.core.order(one) is not None:
                orders[one.order_id] = one
        return replace(facts, orders=tuple(orders.values()))

    def _observe(self) -> Facts:
        read_at = self._clock(), self._wall()
        facts = observe(self.broker, self.core, self.memory.cursor, self._since)
        if facts.account.account_id != self.core.identity.account_id:
            raise AccountChanged(self.core.identity.account_id, facts.account.account_id)
        self._read_at, self.time = read_at, facts.time
        return facts

    def _poll(self, facts: Facts, report: Report) -> None:
        """Splits, dividends, and bars that have become final. Without any the pass goes on: exits and stops are sent,
        and what no split can change is booked."""
        try:
            self.feed.read_actions(facts.time)
        except (ProviderError, DataError) as error:
            report.no_bars = str(error)
        if not self._settled(facts.time):
            return
        try:
            self._panels += self.feed.poll(facts.time)
        except ProviderError as error:
            report.no_bars = str(error)

    def _settled(self, now: pd.Timestamp) -> bool:
        """Whether bars that ended a moment ago may be asked for: those of slow symbols come a little later."""
        settle = self.options.settle_seconds
        minutes = INTERVAL_MINUTES[self.core.bars.interval]
        if not settle or minutes is None:
            return True
        timetable = schedule(self.core.bars.calendar or "XNYS")
        on = session_at(timetable, now - pd.Timedelta(seconds=settle))
        if on is None:
            return True
        step = pd.Timedelta(minutes=minutes)
        ended = min(on[0] + ((now - on[0]) // step) * step, on[1]) if now < on[1] else on[1]
        if self.complete is not None and self.complete >= ended:
            return True
        return bool(now - ended >= pd.Timedelta(seconds=settle))

    def _book(self, facts: Facts, report: Report) -> None:
        others = adopt(self.broker, self.core, facts)
        for one in facts.orders:
            link = self.core.links.get(one.order_id)
            before_it = "" if link is None else link.status
            if self.core.order(one) is not None and one.status == "expired" != before_it:
                self._unwritten.expired.append(one)
        self._hold_back(facts, self.feed.known)
        self._note_others(others, report)
        before, panels = self.memory.watch, self._panels
        booked = book(self.core, facts.time, panels, facts.fills, facts.activities, self.feed.actions,
                      delay=self.options.daily_delay, listener=self, known=self._known)
        later = self._later
        self._panels = [] if later is None else [
            bars for bars in panels if bars.final_times(self.options.daily_delay)[-1].value >= later]
        self._unwritten.booked.add(booked)
        if not booked.closed:
            self._between_bars(facts)
        self._unwritten.changes += changes(before, self.memory.watch)

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _decide(self, facts: Facts, report: Report) -> tuple[int | None, Exception | None]:
        """Decide on the last bar, if it is new and in time; write down what happened and what was decided.

        Returns the decision's number, and what the strategy raised.
        """
        core, options, now = self.core, self.options, facts.time
        label = core.bars.index[-1].isoformat()
        status, targets, opening, problem = "", None, None, None
        if label != self.memory.decided:
            report.missed = self._skipped()
            self.memory.decided, report.bar = label, core.bars.index[-1]
            if self.decider.ready(core.bars):
                status = "decided" if self._in_time(self._now(facts)) else "missed"
        if status == "decided":
            opening, wishes = self.recorder.keeper.opening(core), Wishes(core, self._above)
            try:
                made = core.decide(lambda book_, t: report.targets_are(self.decider.decide(core.bars, book_, core.ids)))
                targets, report.unmet, report.wanted = report.targets, wishes.unmet(report.targets), len(made)
                if report.flattened:
                    self.flatten()  # entries wait for the next decision
                self._decided_on.update(dict.fromkeys(made, label))
            except Exception as error:  # written down first; nothing of half a decision is sent
                status, problem = "discarded", error
                core.back_to(self.recorder.keeper.state(opening))
        report.status = status
        decision = None
        with self.recorder.commit(now) as tx:
            if self._later is None:  # else what was not booked is read again
                self.memory.cursor = facts.cursor
            self.recorder.mark(tx, core, self.memory.watch, core.equity(), now, self.iteration)
            self._flush(tx, facts.orders, now)
            for text in report.unexplained:
                level = "alarm" if "unexplained" in self.memory.watch.holds else "warning"
                self.recorder.event(tx, "unexplained", now, level=level, what=text)
            common: dict[str, Any] = {"feed": options.feed, "strategy_hash": options.strategy_hash}
            for bar in report.missed:
                self.recorder.decision(tx, core, None, now, known=now, status="missed", bar=bar, **common)
            if status:
                file, digest = self._keep_bars(now)
                decision = self.recorder.decision(tx, core, targets, now, known=self._final(), status=status,
                                                  opening=opening, bars_hash=digest, bars_file=file, **common)
            self.recorder.unmet(tx, report.unmet, now)
        self._flushed()
        self._decided_on = {uid: bar for uid, bar in self._decided_on.items() if self._works(uid)}
        return decision, problem

    def _skipped(self) -> list[pd.Timestamp]:
        """Bars between the last that was looked at and the new one: they came together and are too late."""
        if not self.memory.decided:
            return []
        bars, warmup = self.core.bars, self.decider.warmup
        first = int(bars.index.searchsorted(pd.Timestamp(self.memory.decided), side="right"))
        return [bars.index[t] for t in range(max(first, warmup), len(bars) - 1)]

    def _keep_bars(self, now: pd.Timestamp) -> tuple[str, str]:
        if self._bars_seen is None:
            return "", ""
        try:
            return self._bars_seen(self.core.bars, now)
        except OSError as error:
            raise RepositoryError(f"the bars of the decision cannot be kept in the run's folder ({error.strerror}): "
                                  "nothing was sent for it.") from None


class AccountChanged(BrokerRefusal):
    """The keys lead to another account than before: a paper account was reset."""

    def __init__(self, before: str, now: str) -> None:
        super().__init__(f"the broker's account is another one now ({now}, it was {before}): a paper account that was "
                         "reset gets a new id. Nothing more is sent; start anew: it begins a ledger of its own.",
                         status=200)
