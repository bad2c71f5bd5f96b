"""The thin runtime around a session: one worker thread, the only waiting, and what people ask for."""

from __future__ import annotations

import queue
import threading
import time as clocks
from collections.abc import Callable
from typing import Any

import pandas as pd

from botlib.errors import BotlibError, BrokerError, LeaseLost, ProviderError, RepositoryError, StrategyError
from botlib.session.console import lines
from botlib.session.loop import TradingSession
from botlib.session.parity import Parity, compare
from botlib.session.report import Report
from botlib.session.starting import Started
from botlib.session.summary import LiveTradingSummary, Status
from botlib.session_config import SessionParams

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits between passes that could not read the broker or the bars."""

class Runtime:
    """Runs a session until it is over; one for each session, used once.

    Parameters
    ----------
    started : Started
        From `botlib.session.starting.start`.
    params : SessionParams
    tell : function of (kind, text), optional
        Alerts: "start", "kill", "crash", "end", "alarm".
    clock : function
        Monotonic seconds.
    """

    def __init__(self, started: Started, params: SessionParams, *, tell: Callable[[str, str], None] | None = None,
                 clock: Callable[[], float] = clocks.monotonic) -> None:
        self.started, self.params = started, params
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        """What the session has to say; whoever shows it takes it from here. The session never prints."""
        self.report: Report | None = None
        self.summary: LiveTradingSummary | None = None
        self.error: BaseException | None = None
        self._tell, self._clock = tell or (lambda kind, text: None), clock
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._stop: tuple[Status, str] | None = None
        self._failures = 0
        self._looked = 0.0
        self._handled: set[int] = set()

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
        session, status, reason = self.started.session, "success", ""
        self._say_start()
        begun = session.core.equity()
        try:
            status, reason = self._loop(session)
        except LeaseLost as lost:
            status, reason = "error", str(lost)
        except StrategyError as error:
            status, reason = "error", str(error)
        except BotlibError as error:
            status, reason = "error", str(error)
        except BaseException as error:  # a bug of ours: the ledger keeps what happened, and the positions their stops
            self.error = error
            status, reason = "error", f"{type(error).__name__}: {error}"
        finally:
            self._end(session, status, reason, begun)  # type: ignore[arg-type]
            self._over.set()

    def _loop(self, session: TradingSession) -> tuple[str, str]:
        while True:
            try:
                self.report = report = session.step(self._asked)
                self._failures = 0
                for line in lines(report, self.params.safety):
                    self.lines.put(line)
                self._alerts(report)
            except (BrokerError, ProviderError) as error:
                wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
                self._failures += 1
                self.lines.put(f"[PROBLEM] {error} Nothing was decided; next try in {wait:g} s.")
                if self._failures == len(RETRY_SECONDS):
                    self._tell("alarm", str(error))
                if not self._pause(wait) and self._stop is not None:
                    return self._stop
                continue
            if self._stop is not None:
                return self._stop
            if self.params.iterations and session.iteration >= self.params.iterations:
                return "success", "the iterations asked for are done"
            if session.watch.latched and not session.core.positions() and not session.core.working:
                return "halted", session.watch.reason
            if not self.started.venue.wait(self.params.poll_seconds, self._awake):
                return ("halted", session.watch.reason) if session.watch.latched else (
                    "success", "the market data ended")

    def _pause(self, seconds: float) -> bool:
        until = self._clock() + seconds
        while self._clock() < until:
            if self._awake():
                return False
            clocks.sleep(min(0.5, max(0.0, until - self._clock())))
        return True

    def _awake(self) -> bool:
        """Whether somebody wants something; the ledger is asked at most twice a second."""
        if self._stop is not None:
            return True
        now = self._clock()
        if now - self._looked < 0.4:
            return False
        self._looked = now
        return bool(self._requests())

    def _requests(self) -> list[Any]:
        found = self.started.repository.requests(self.started.lease.account_id, unhandled=True)
        return [one for one in found if one.id not in self._handled]

    def _asked(self, session: TradingSession) -> None:
        """Carry out what was asked for, within the pass."""
        done = []
        for one in self._requests():
            self._handled.add(one.id)
            why = f"{one.kind} asked for by {one.by}" + (f": {one.note}" if one.note else "")
            if one.kind == "stop":
                self.stop(why)
            elif one.kind == "reduce-only":
                session.reduce_only(why)
            elif one.kind == "kill":
                session.kill(why)
            elif one.kind == "flatten":
                session.flatten()
            elif one.kind == "clear":
                for sentence in session.clear():
                    self.lines.put(f"[SAFETY] {sentence}")
            done.append((one.id, why))
            self.lines.put(f"[REQUEST] {why}")
        if done:
            now = session.facts.time if session.facts is not None else pd.Timestamp.now("UTC")
            with session.recorder.commit(now) as tx:
                for number, why in done:
                    tx.request_handled(number, outcome="carried out", time=now)
                    session.recorder.event(tx, "request", now, level="warning", text=why)

    # --- words --------------------------------------------------------------------------------------------------------

    def _say_start(self) -> None:
        started = self.started
        live = "LIVE" if self.params.kind == "live" else "paper"
        mode = ", shadow: nothing is sent" if self.params.orders == "shadow" else ""
        self.lines.put(f"[VENUE] {started.venue.title} ({live} session{mode})")
        for note in started.notes:
            self.lines.put(f"[START] {note}")
        self._tell("start", f"{live} session of {self.params.strategy['name']} on {started.venue.title}")

    def _alerts(self, report: Report) -> None:
        for change in report.changes:
            if change.kind == "kill":
                self._tell("kill", change.text)
        for text in [*report.alarms, *(str(d) for d in report.differences if "unexplained" in report.reason)]:
            self._tell("alarm", text)
        for _, reason in report.refused:
            self._tell("refusal", reason)

    def _parity(self, session: TradingSession) -> Parity | None:
        """Only of a session that had the local exchange to itself, a bar a pass, from its ledger's beginning."""
        started = self.started
        if not started.venue.stepped or started.recovered or self.params.orders != "send":
            return None
        decisions = started.repository.decisions(started.ledger_id)
        decided = decisions[decisions["status"] == "decided"]
        if decided.empty or (decisions["status"] != "decided").any():
            return None
        try:
            return compare(session.core.bars, started.strategy, self.params, started.capital,
                           started.repository.fills(started.ledger_id), started.repository.equity(started.ledger_id),
                           decided=decided["bar_time"].iloc[0], decisions=session.recorder.sent)
        except BotlibError as error:
            self.lines.put(f"[PARITY] could not be compared: {error}")
            return None

    def _end(self, session: TradingSession, status: Status, reason: str, begun: float) -> None:
        started = self.started
        now = session.facts.time if session.facts is not None else pd.Timestamp.now("UTC")
        try:
            if status != "error":
                for line in session.finish(self.params.at_end):
                    self.lines.put(line)
        except BotlibError as error:
            status, reason = "error", f"the orderly end failed: {error}"
        parity = self._parity(session) if status != "error" else None
        if parity is not None:
            self.lines.put(str(parity))
        fills, trips = session.recorder.counts
        summary = LiveTradingSummary(
            iterations=session.iteration, total_trades=trips, total_fills=fills,
            total_pnl=session.core.equity() - begun - session.flows, status=status, reason=reason,
            equity=session.core.equity(), cash=float(session.core.book["cash"]), positions=session.core.positions(),
            unexplained=[str(d) for d in (self.report.differences if self.report else [])],
            session_id=started.session_id, parity=parity)
        try:
            with session.recorder.commit(now) as tx:
                tx.session_ended(started.session_id, status=status, time=now, reason=reason,
                                 iterations=summary.iterations, total_trades=trips, total_pnl=summary.total_pnl)
                session.recorder.event(tx, "session-ended", now, level="alarm" if status == "error" else "info",
                                       status=status, reason=reason, iterations=summary.iterations)
        except (RepositoryError, LeaseLost) as error:
            self.lines.put(f"[PROBLEM] the end could not be written down: {error}")
        self.summary = summary
        self.lines.put(f"[END] {summary}")
        self._tell("crash" if status == "error" else "end", str(summary))
        try:
            started.close(now)
        except BotlibError as error:
            self.lines.put(f"[PROBLEM] {error}")
