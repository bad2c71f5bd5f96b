"""The thin runtime around a session: one worker thread, the only waiting, and what people ask for."""

from __future__ import annotations

import gc
import queue
import threading
import time as clocks
from collections.abc import Callable
from typing import Any

from botlib.calendars import schedule
from botlib.errors import BotlibError, BrokerError, LeaseLost, ProviderError, RepositoryError
from botlib.session.asking import Asking
from botlib.session.console import first_lines, lines
from botlib.session.course import Course
from botlib.session.ending import parity_of, summary_of, write_end
from botlib.session.loop import AccountChanged, TradingSession
from botlib.session.memory import why
from botlib.session.report import Report
from botlib.session.sizing import told
from botlib.session.starting import Started
from botlib.session.summary import LiveTradingSummary, Status
from botlib.session.waiting import (
    QUIET_SECONDS,
    REBUILDS,
    RETRY_SECONDS,
    SETTLE_SECONDS,
    Hours,
    came,
    day_over,
    next_pass,
    no_session,
    quiet_until,
)
from botlib.session_config import SessionParams


class Runtime:
    """Runs a session until it is over; one for each session, used once.

    Parameters
    ----------
    started : Started
        From `botlib.session.starting.start`.
    params : SessionParams
    tell : function of (kind, text), optional
        Alerts: "start", "kill", "crash", "end", "alarm", "refusal".
    clock, sleep : functions
        Monotonic seconds, and waiting.
    """

    def __init__(self, started: Started, params: SessionParams, *, tell: Callable[[str, str], None] | None = None,
                 clock: Callable[[], float] = clocks.monotonic, sleep: Callable[[float], None] = clocks.sleep) -> None:
        self.started, self.params = started, params
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        """What the session has to say; whoever shows it takes it from here. The session never prints."""
        self.report: Report | None = None
        self.summary: LiveTradingSummary | None = None
        self.error: BaseException | None = None
        self._tell, self._clock, self._sleep = tell or (lambda kind, text: None), clock, sleep
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._stop: tuple[Status, str] | None = None
        self._at_end: str = params.at_end
        self._failures = self._rebuilds = 0
        self._passed = float("-inf")
        self._quiet = ""
        self._course = Course()
        self._asking = Asking(lambda: started.repository.requests(started.lease.account_id, unhandled=True), clock)
        self._hours = Hours(timetable=schedule(params.calendar or "XNYS"), interval=params.interval,
                            poll=params.poll_seconds, delay=params.daily_delay_minutes,
                            settle=0.0 if started.venue.here is None else SETTLE_SECONDS)

    # --- outside ------------------------------------------------------------------------------------------------------

    def start(self) -> Runtime:
        """Run in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="botlib session", daemon=True)
            self._thread.start()
        return self

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until it has ended, at most ``seconds``; whether it has."""
        return self._over.wait(seconds)

    def stop(self, reason: str = "asked to stop") -> None:
        """End it after the pass under way; safe from any thread and from a signal's handler."""
        if self._stop is None:
            self._stop = "user-cancelled", reason

    # --- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> LiveTradingSummary:
        """The same in this thread; returns the summary. Raises nothing: a failure is a status."""
        self._run()
        assert self.summary is not None
        return self.summary

    def _run(self) -> None:
        status, reason = "success", ""
        begun = self.started.session.core.equity()
        gc.freeze()  # what is there stays: looking through all of it for garbage would cost a pass its time
        try:
            self._say_start()
            if self.started.venue.waker is not None:
                self.started.venue.waker.start()
            status, reason = self._loop()
        except BotlibError as error:
            status, reason = "error", str(error)
        except BaseException as error:  # a bug of ours: the ledger keeps what happened, and the positions their stops
            self.error = error
            status, reason = "error", _named(error)
        finally:
            try:
                self._end(status, reason, begun)  # type: ignore[arg-type]
            except BaseException as error:
                self.error = self.error or error
                self.summary = self.summary or summary_of(self.started, "error", _named(error), begun)
            finally:
                gc.unfreeze()
                self._over.set()

    def _loop(self) -> tuple[str, str]:
        closed = no_session(self._hours.timetable, self.started.session.time) if self.params.until == "close" else ""
        if closed:
            return "success", closed
        while True:
            session = self.started.session
            session.hurry = self._wanted
            try:
                asked = self._requests()
                if self._stop is not None and all(one.kind == "stop" for one in asked):
                    session.obey(asked)
                    return self._stop
                self._pass(session, asked)
                ended = self._ended(session)
                if ended is not None:
                    return ended
                if session.report is not None and session.report.no_bars:  # the pause was the wait
                    continue
                if not self._wait(session):
                    return ("halted", session.watch.reason) if session.watch.latched else (
                        "success", "the market data ended")
            except (AccountChanged, LeaseLost):
                raise
            except RepositoryError as error:
                self._rebuild(error)
            except (BrokerError, ProviderError) as error:
                if self._stop is not None:  # what else was asked for stays asked for
                    return self._stop
                self._retry(str(error), "")

    def _pass(self, session: TradingSession, asked: list[Any]) -> None:
        if self.started.venue.waker is not None:
            self.started.venue.waker.listen()  # before anything is read: what comes meanwhile wakes the next pass
        try:
            session.step(asked)
        finally:
            self.report = session.report
            self._passed = self._clock()
            if session.report is not None:
                for line in lines(session.report, self.params.safety):
                    self.lines.put(line)
                self._course.took(session.report)
                self._alerts(session.report)
        self._rebuilds = 0
        if session.report is not None and session.report.no_bars:
            self._retry(session.report.no_bars, " Positions and orders are looked after.")
        else:
            self._failures = 0

    def _ended(self, session: TradingSession) -> tuple[str, str] | None:
        """Status and reason when the session is done."""
        if self._stop is not None:
            return self._stop
        watch, status, reason = session.watch, "", ""
        if self.params.iterations and session.iteration >= self.params.iterations:
            status, reason = "success", "the iterations asked for are done"
        elif self.params.until == "close" and (session.iteration > 1 or self.started.venue.exchange is None):
            # a replay begins at the close before its first day
            last = session.core.bars.index[-1]
            status, reason = day_over(self._hours, session.time, last)
            if status and not came(self._hours, session.time, last) and self._at_end == "keep":
                self._at_end = "cancel-entries"  # what that bar's close would have done
        if watch.latched and (status == "success" or not (session.core.positions() or session.core.working)):
            return "halted", watch.reason
        return (status, reason) if status else None

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _wait(self, session: TradingSession) -> bool:
        """Until the next pass is due, or somebody wants something, or a stream has news. False: nothing will come."""
        venue, seconds = self.started.venue, self.params.poll_seconds
        waker = venue.waker
        if venue.here is not None:
            now = session.now()
            due = next_pass(self._hours, now, awaited=self.params.until == "close")
            seconds = max(0.0, (due - now).total_seconds())
            quiet = quiet_until(self._hours, now, due)
            if quiet and quiet != self._quiet:
                self.lines.put(f"[WAIT] {quiet}")
            self._quiet = quiet
        alive = venue.wait(seconds, self._awake)
        if waker is not None:
            session.complete = waker.complete
        return alive

    def _awake(self) -> bool:
        waker = self.started.venue.waker
        if waker is not None and waker.heard() and self._clock() - self._passed >= QUIET_SECONDS:
            return True
        return self._wanted()

    def _wanted(self) -> bool:
        """Whether somebody wants something that no pass has seen yet."""
        return self._stop is not None or self._asking.new()

    def _pause(self, seconds: float) -> None:
        """Until somebody wants something new: what could not be carried out is no reason to hurry."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0.0 and self._stop is None and not self._asking.news():
            self._sleep(min(0.2, left))

    def _retry(self, problem: str, beside: str) -> None:
        """A pass could not read the broker, or the bars: wait longer each time."""
        wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
        self.lines.put(f"[PROBLEM] {problem} Nothing was decided; next try in {wait:g} s.{beside}")
        if self._failures == len(RETRY_SECONDS):
            self._tell("alarm", problem)
        self._pause(wait)

    def _rebuild(self, error: RepositoryError) -> None:
        """Something could not be written down: what is true stands in the ledger, so the session is made anew from it.
        Nothing was sent after the failure. Raises ``error`` when that was tried often enough."""
        while True:
            self._rebuilds += 1
            if self._rebuilds > REBUILDS:
                raise error
            self.lines.put(f"[PROBLEM] {error} Nothing more was sent; the session begins again from the ledger "
                           f"({self._rebuilds} of {REBUILDS}).")
            self._tell("alarm", str(error))
            self._pause(RETRY_SECONDS[self._rebuilds - 1])
            try:
                self.started.rebuild()
                return
            except RepositoryError as again:
                error = again
            except BrokerError as again:
                self.lines.put(f"[PROBLEM] {again}")

    # --- requests -----------------------------------------------------------------------------------------------------

    def _requests(self) -> list[Any]:
        """What is asked for now, stops noted."""
        asked = self._asking.take()
        for one in asked:
            if one.kind == "stop":
                self.stop(why(one))
        return asked

    # --- words --------------------------------------------------------------------------------------------------------

    def _say_start(self) -> None:
        started = self.started
        live = "LIVE" if self.params.kind == "live" else "paper"
        for line in first_lines(started.venue.title, live, self.params.orders, started.notes):
            self.lines.put(line)
        self._tell("start", f"{live} session of {self.params.strategy['name']} on {started.venue.title}")

    def _alerts(self, report: Report) -> None:
        for change in report.changes:
            if change.kind == "kill":
                self._tell("kill", change.text)
        for text in [*report.alarms, *(report.unexplained if report.state != "active" else ())]:
            self._tell("alarm", text)
        for _, reason in report.refused:
            self._tell("refusal", reason)
        if refused := " ".join(text for what, text in told(report.unmet) if what == "refused"):
            self._tell("refusal", refused)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, status: Status, reason: str, begun: float) -> None:
        started, session = self.started, self.started.session
        parity = None
        try:
            if status != "error" or self._at_end != self.params.at_end:
                for line in session.finish(self._at_end):
                    self.lines.put(line)
        except Exception as error:  # whatever it is, the end is written down and the account given back
            self.error = self.error or (None if isinstance(error, BotlibError) else error)
            status, reason = "error", f"the orderly end failed: {error}"
        try:
            parity = parity_of(started, self.params) if status != "error" else None
        except Exception as error:
            self.lines.put(f"[PARITY] could not be compared: {error}")
        if parity is not None:
            self.lines.put(str(parity))
        self.summary = summary = summary_of(started, status, reason, begun, parity)
        problem = write_end(started, summary)
        if problem:
            self.lines.put(f"[PROBLEM] {problem}")
        if why_not := self._course.nothing_traded(summary, self.params):
            self.lines.put(f"[NOTE] {why_not}")
        self.lines.put(f"[END] {summary}")
        self._tell("crash" if status == "error" else "end", str(summary))


def _named(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory ({error})" if str(error) else "out of memory"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
