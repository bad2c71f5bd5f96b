"""A session's safety: what follows from days, money, closes and prices, what is checked, and what a person asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from botlib import safety
from botlib.arming import NOT_PERMITTED
from botlib.calendars import EXCHANGE_TZ, schedule
from botlib.engine import closing
from botlib.safety import SafetyControls
from botlib.session.checking import HELD, problems, taken, usual_age
from botlib.session.core import SessionCore
from botlib.session.memory import Memory, Options, Unwritten, why
from botlib.session.observing import Facts, Others
from botlib.session.recording import Recorder
from botlib.session.report import Report
from botlib.session.sending import Sender
from botlib.session.sharing import NOT_KNOWN, Sharing
from botlib.watch import ASKED, PRICES, Mark, Watch, changes

LATCHES = ("kill", "reduce-only")
"""Requests that are durable before anything else is read or done."""


class Watching(Sharing):
    """The part of `TradingSession` that keeps it safe."""

    core: SessionCore
    broker: Any
    recorder: Recorder
    memory: Memory
    controls: SafetyControls
    options: Options
    sender: Sender
    facts: Facts | None
    time: pd.Timestamp
    flows: float
    hurry: Callable[[], bool]
    _since: pd.Timestamp
    _here: Callable[[], pd.Timestamp] | None
    _clock: Callable[[], float]
    _sleep: Callable[[float], None]
    _wall: Callable[[], float]
    _read_at: tuple[float, float]
    _unwritten: Unwritten
    _prices: dict[str, tuple[float, pd.Timestamp]]
    _behind: dict[str, None]
    _unchanged: Callable[[], str]

    @property
    def watch(self) -> Watch:
        """Safety's state."""
        return self.memory.watch

    def _elapsed(self) -> float:
        """Seconds since the broker's clock was read, by whichever clock here says more: a machine that slept shows it
        on one of them only."""
        return max(self._clock() - self._read_at[0], self._wall() - self._read_at[1], 0.0)

    def now(self) -> pd.Timestamp:
        """The broker's time, as far as it can be told without asking."""
        return self.time + pd.Timedelta(seconds=self._elapsed())

    def _checkpoint(self, tx: Any, now: pd.Timestamp) -> None:
        self.recorder.checkpoint(tx, self.core, self.memory, now)

    def _session_seconds(self, final: pd.Timestamp) -> float | None:
        """From the close before ``final`` to the next one."""
        closes = schedule(self.core.bars.calendar or "XNYS").closes
        n = int(closes.searchsorted(final.value, side="right"))
        return None if not 0 < n < len(closes) else float(closes[n] - closes[n - 1]) / 1e9

    # --- what is booked -----------------------------------------------------------------------------------------------

    def began(self, day: int, splits: Mapping[str, float]) -> None:
        """Safety on a new exchange date."""
        watch = self.memory.watch.on_day(pd.Timestamp(day, unit="D").date())
        for symbol, ratio in splits.items():
            watch = watch.split(symbol, ratio)
        self.memory.watch = watch
        self.core.book.world["day_start"] = watch.day_start

    def closed(self, bars: Any) -> None:
        """Safety at a bar's close. Judged as in the book, unless a holding's close is out of line: a single wrong price
        neither halts nor makes a peak."""
        world, day = self.core.book.world, bars.index[-1].tz_convert(EXCHANGE_TZ).date()
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
        doubtful = self._doubtful(facts)
        for symbol, price in facts.prices.items():
            if symbol in positions and symbol not in doubtful and self._prices.get(symbol, (None,))[0] != price:
                self._prices[symbol] = price, facts.time
        prices = {s: self._prices[s] for s in positions if s in self._prices}
        mark = Mark(cash=float(self.core.book["cash"] + self.core.book["receivable"]), positions=positions,
                    prices=prices)
        self.memory.watch = self.memory.watch.marked(self.controls, mark)

    def _note_others(self, others: Others, report: Report) -> None:
        """Orders and executions that are not the session's. The user's own count in the account's exposure and are left
        alone; those of a session of botlib that this ledger does not know mean that it is behind."""
        self._strange = [fill for fill in others.fills if self._later is None or fill.time.value < self._later]
        for fill in self._strange:
            key = f"{fill.order_id} {fill.cum_qty:.9g}"
            if key in self.memory.foreign:
                continue
            self.memory.foreign.append(key)
            signed = fill.qty if fill.side == "buy" else -fill.qty
            self.memory.externals.add(fill.symbol, signed)
            self.memory.externals.cash -= signed * fill.price
            self._unwritten.externals.append(fill)
            gone = taken(fill, self.core.positions(), self.memory.externals)
            if gone:
                self._alarm(f"{gone} {self.options.accept}".rstrip(), report)
        known = self.recorder.repository.known_intents(others.unknown) if others.unknown else frozenset()
        for name in others.unknown:
            if name not in known and name not in self._behind:
                self._behind[name] = None
        report.strangers = self._end_given_up(others, report)

    def _end_given_up(self, others: Others, report: Report) -> list[Any]:
        """Open orders with our prefix: one that this ledger has given up and that arrived after all is cancelled; the
        rest are strangers."""
        found = others.strangers
        if not found:
            return []
        ours = self.recorder.repository.known_intents(one.client_order_id for one in found)
        for one in found:
            if one.client_order_id in ours and self.options.send:
                text = f"the order {one.client_order_id} arrived after it had been given up: it is cancelled"
                self._alarm(text, report)
                self.broker.cancel(one.order_id)
        return [one for one in found if one.client_order_id not in ours]

    def _alarm(self, text: str, report: Report) -> None:
        """Tell it, and write it down."""
        if text not in self._unwritten.alarms:
            self._unwritten.alarms.append(text)
            report.alarms.append(text)

    # --- checks -------------------------------------------------------------------------------------------------------

    def _checks(self, facts: Facts, report: Report) -> None:
        """What allows only exits, and lifts itself when it is in order again."""
        for text in self._accept(facts):
            self._alarm(text, report)
        found = self._differences(facts)
        timetable = schedule(self.core.bars.calendar or "XNYS")
        final = self.core.bars.final_times(self.options.daily_delay)[-1]
        held = problems(facts, found, here=self._here is not None, timetable=timetable, final=final,
                        usual_age=usual_age(self.controls, self.core.bars.interval, self._session_seconds(final)))
        if self._behind:
            held["unexplained"] = ("orders of a session of botlib that this ledger does not know were executed on this "
                                   f"account ({', '.join(list(self._behind)[:3])})")
        if report.strangers:
            ids = ", ".join(one.client_order_id for one in report.strangers[:3])
            held["unexplained"] = f"orders of another session of botlib are open on this account ({ids})"
        if self._later is not None:
            held["actions"] = NOT_KNOWN
        changed = self._unchanged()
        if changed:
            held["strategy-changed"] = changed
        for name in HELD:
            self.memory.watch = (self.memory.watch.held(name, held[name]) if name in held
                                 else self.memory.watch.released(name))
        report.differences = found
        todo = f". {self.options.accept}" if self.options.accept else ""
        report.unexplained = [f"{one}{todo}" for one in found if one.key not in self.memory.unexplained]
        self.memory.unexplained = [one.key for one in found]

    def _follow_watch(self) -> None:
        """The book follows a kill, whoever found it; without permission no entry goes on working."""
        core, world = self.core, self.core.book.world
        if NOT_PERMITTED in self.memory.watch.holds:
            self.cancel_entries()
        if self.memory.watch.latched and int(core.book["state"]) != safety.HALTED:
            core.room()
            closing.kill(world, core.t, 0.0, self.controls.max_drawdown_pct)
            core.number_orders()
            if self.controls.on_kill == "flatten":
                self.memory.flatten = True

    # --- what a person asks -------------------------------------------------------------------------------------------

    def obey(self, asked: Sequence[Any]) -> list[Any]:
        """Latch what latches, and write it down before anything else is read or done: a kill counts from here on, also
        when the broker cannot be reached, and after a crash. What ends at the broker for it ends in the next pass.

        Returns what changed in safety.
        """
        before = self.memory.watch
        for one in asked:
            if one.kind == "kill":
                self.kill(why(one))
            elif one.kind == "reduce-only":
                self.reduce_only(why(one))
            elif one.kind != "stop":
                continue
            self._unwritten.requests.append((one.id, why(one)))
        if not any(one.kind in (*LATCHES, "stop") for one in asked):
            return []
        changed = list(changes(before, self.memory.watch))
        self._unwritten.changes += changed
        with self.recorder.commit(self.time) as tx:
            self._flush(tx, (), self.time)
        self._flushed()
        return changed

    def _carry_out(self, asked: Sequence[Any], report: Report) -> None:
        """The rest, once it is known how things stand; written down with the decision."""
        for one in asked:
            report.requests.append(why(one))
            if one.kind == "flatten":
                self.memory.flatten = True
            elif one.kind == "clear":
                report.said += self.clear()
            else:
                continue
            self._unwritten.requests.append((one.id, why(one)))
            self._unwritten.outcomes[one.id] = self._selling() if one.kind == "flatten" else "carried out"
        if any(one.kind == "flatten" for one in asked) or (self.memory.flatten and self.core.positions()):
            self.flatten()
            # It holds until nothing is left: an order may expire, and a fill may not be booked yet.
            report.flattened = True
        self.memory.flatten = self.memory.flatten and bool(
            self._later is not None or self.core.positions() or self.core.working)

    def _selling(self) -> str:
        held = ", ".join(f"{shares:g} {symbol}" for symbol, shares in self.core.positions().items())
        return f"on its way out: {held}" if held else "nothing is held"

    def kill(self, reason: str) -> None:
        """Halt for good; entries end, legs stay, positions go when ``on_kill`` says flatten."""
        self.memory.watch = self.memory.watch.kill(reason)
        self._follow_watch()

    def reduce_only(self, reason: str) -> None:
        """Only exits from now on, until a person clears it."""
        self.memory.watch = self.memory.watch.held(ASKED, reason)
        self.cancel_entries()

    def cancel_entries(self) -> None:
        """Working entries end."""
        self.core.end_entries()

    def flatten(self) -> None:
        """Everything held is sold at the market; legs go first."""
        self.core.flatten()

    def clear(self) -> list[str]:
        """A person lifts the kill, and what a person asked for before; a sentence for each thing that resets."""
        killed = self.memory.watch.latched
        watch, said = self.memory.watch.cleared(self.core.equity())
        self.memory.watch, self.memory.flatten = watch, False
        if killed:
            world = self.core.book.world
            world["state"], world["peak"] = safety.ACTIVE, watch.peak
            self._unwritten.cleared = True
        return list(said)

    # --- writing down -------------------------------------------------------------------------------------------------

    def _flush(self, tx: Any, orders: Any, now: pd.Timestamp) -> None:
        """All that has happened since the last time, and where a restart goes on: in one transaction."""
        unwritten, recorder = self._unwritten, self.recorder
        recorder.facts(tx, self.core, unwritten.booked, orders, now)
        recorder.changes(tx, unwritten.changes, now)
        for fill in unwritten.externals:
            recorder.event(tx, "external", now, level="warning", symbol=fill.symbol, side=fill.side, qty=fill.qty,
                           price=fill.price, order_id=fill.order_id)
        for number, text in unwritten.requests:
            tx.request_handled(number, outcome=unwritten.outcomes.get(number, "carried out"), time=now)
            recorder.event(tx, "request", now, level="warning", text=text)
        for one in unwritten.expired:
            recorder.event(tx, "expired", now, level="warning", symbol=one.symbol, side=one.side, qty=one.qty,
                           filled_qty=one.filled_qty, order_id=one.order_id)
        for text in unwritten.alarms:
            recorder.event(tx, "alarm", now, level="alarm", text=text)
        recorder.safety(tx, self.memory.watch, now, clear=unwritten.cleared)
        self._checkpoint(tx, now)

    def _flushed(self) -> None:
        """It is on disk."""
        self._unwritten, self.core.trips, self.flows_written = Unwritten(), [], self.flows
