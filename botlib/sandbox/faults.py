"""Faults on order: what can go wrong between a bot and its broker, as data, repeatable from a seed.

One `Faults` object stands in front of one exchange. The server and the in-process adapter both ask it, so a script
means the same on either. Three kinds of fault:

- of a **request**: `Faults.around` carries the request out, or not, and says in an `Outcome` what the client gets;
- of a **stream**: `Faults.events` turns an event into those that are sent, `Faults.socket` drops or mutes a connection;
- of the **world**: `Faults.world` does to the exchange what somebody else would have done (a halt, a block, an order of
  a stranger's, …); `Faults.prepare` puts a corporate action into the bars before the exchange gets them.

``Fault(kind="no_reply", method="POST", path="/v2/orders", nth=2, accepted=True)`` says: the second POST of an order is
carried out and never answered. `KINDS` lists all kinds with what each takes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from botlib import alpaca_rules
from botlib.bars import Bars
from botlib.errors import InputError, nearest
from botlib.sandbox.fault_kinds import KINDS, LASTING, OVERNIGHT, Fault
from botlib.sandbox.messages import Request, Response
from botlib.sandbox.orders import Refusal
from botlib.sandbox.outcomes import Outcome, outcome
from botlib.sandbox.overnight import with_action
from botlib.sandbox.stale import Stale

__all__ = ["KINDS", "Fault", "Faults", "Outcome"]


@dataclass(slots=True)
class _Armed:
    """A fault with what it has seen."""

    fault: Fault
    rng: random.Random
    seen: int = 0
    fired: int = 0
    begun: bool = False
    ended: bool = False
    stale: Stale | None = None
    held: dict[int, Any] = field(default_factory=dict)

    def within(self, bar: int) -> bool:
        span = self.fault.bars
        return span is None or span[0] <= bar <= span[1]

    def fires(self) -> bool:
        """Count a match; whether the fault happens to this one."""
        self.seen += 1
        drawn = self.fault.probability >= 1.0 or self.rng.random() < self.fault.probability
        if self.fault.nth is not None and self.seen != self.fault.nth:
            return False
        if not drawn or (self.fault.times is not None and self.fired >= self.fault.times):
            return False
        self.fired += 1
        return True


class Faults:
    """A script of faults and what has come of it.

    Parameters
    ----------
    script : iterable of Fault or mapping
        In order: of several that match a request, the first that fires happens.
    seed : int
        Of the probabilities; the same calls meet the same faults.

    Attributes
    ----------
    log : list of (bar, kind, what)
        Every fault that happened.
    """

    def __init__(self, script: Iterable[Fault | Mapping[str, Any]] = (), *, seed: int = 0) -> None:
        self.seed = seed
        self.log: list[tuple[int, str, str]] = []
        self._armed: list[_Armed] = []
        self._count = 0
        self.add(*script)

    @classmethod
    def of(cls, given: Faults | Iterable[Fault | Mapping[str, Any]] | None, *, seed: int = 0) -> Faults:
        """``given`` itself, or made of a script."""
        if isinstance(given, (str, Fault, Mapping)) or not isinstance(given or (), (Faults, Iterable)):
            raise InputError(f"faults = {given!r}: give a list of Fault, such as [Fault(kind='delay', seconds=2)].")
        return given if isinstance(given, Faults) else cls(given or (), seed=seed)

    def add(self, *script: Fault | Mapping[str, Any]) -> None:
        """Append faults to the script."""
        made = [Fault.of(f) for f in script]
        for fault in made:
            self._armed.append(_Armed(fault, random.Random(f"{self.seed}:{self._count}")))
            self._count += 1

    def fit(self, bars: Bars, *script: Fault | Mapping[str, Any], running: bool = True) -> list[Fault]:
        """The faults, if they can happen on these bars. Raises `InputError` on a symbol there is not, and, while the
        exchange is ``running``, on what must be in the bars before it opens."""
        made = [Fault.of(f) for f in script]
        for fault in made:
            if not any(fnmatchcase(symbol, fault.symbol) for symbol in bars.symbols):
                raise InputError(f"{fault.kind}: symbol = {fault.symbol!r} is not among the bars"
                                 f"{nearest(fault.symbol, bars.symbols) or '.'} There are: "
                                 f"{', '.join(bars.symbols[:20])}{', ...' * (len(bars.symbols) > 20)}.")
            if running and fault.kind in OVERNIGHT:
                raise InputError(f"{fault.kind}: it must be in the bars before the exchange opens: give it in "
                                 "running(bars, faults=[...]).")
        return made

    def clear(self) -> None:
        """End the script; what lasts in the world ends at the next `world`."""
        for a in self._armed:
            a.ended = True
        self._armed = [a for a in self._armed if a.begun and a.fault.kind in LASTING]

    @property
    def script(self) -> list[Fault]:
        """The faults in force, in order."""
        return [a.fault for a in self._armed if not a.ended]

    def state(self) -> list[dict[str, Any]]:
        """The script with how often each fault matched and happened, for JSON."""
        return [{**a.fault.as_mapping(), "seen": a.seen, "fired": a.fired} for a in self._armed if not a.ended]

    def _note(self, bar: int, a: _Armed, what: str) -> None:
        self.log.append((bar, a.fault.kind, what))

    # --- requests -----------------------------------------------------------------------------------------------------

    def around(self, request: Request, handle: Callable[[Request], Response], exchange: Any) -> Outcome:
        """Carry a request out under the script.

        ``handle`` is called at most once, now or by ``Outcome.later``. Paths under /sandbox/ meet no faults.
        """
        if not self._armed or request.path.startswith("/sandbox/"):
            return Outcome(handle(request))
        self.world(exchange)
        bar = int(exchange.bar)
        chosen = None
        for a in self._armed:
            f = a.fault
            if KINDS[f.kind].about == "request" and not a.ended and a.within(bar) and f.method in (
                    "*", request.method.upper()) and fnmatchcase(request.path, f.path) and a.fires():
                chosen = chosen or a
        if chosen is None:
            return Outcome(handle(request))
        self._note(bar, chosen, f"{request.method} {request.path}")
        if chosen.stale is not None:
            return Outcome(chosen.stale.answer(request, handle))
        return outcome(chosen.fault, request, handle)

    # --- streams ------------------------------------------------------------------------------------------------------

    def events(self, stream: str, name: str, symbol: str, event: Any, *, connection: int, bar: int) -> list[Any]:
        """The events to send instead of ``event``: none, itself, twice, or this one after the one that was held back.

        ``connection`` tells connections apart: an event that is reordered waits for the next one on the same.
        """
        out = [event]
        for a in self._armed:
            f = a.fault
            if f.kind not in ("missing", "duplicated", "reordered"):
                continue
            held = a.held.pop(connection, None)
            if held is not None:
                out = [*out, held]
            elif self._meets(a, stream, name, symbol, bar):
                if f.kind == "missing":
                    return []
                if f.kind == "duplicated":
                    out = [*out, out[-1]]
                else:
                    a.held[connection] = out.pop()
            if not out:
                break
        return out

    def socket(self, stream: str, name: str, symbol: str, *, bar: int) -> tuple[str, float] | None:
        """("mute", 0) or ("dropped", seconds) when the connection breaks at this event, which is then not sent."""
        for a in self._armed:
            if a.fault.kind in ("mute", "dropped") and self._meets(a, stream, name, symbol, bar):
                return a.fault.kind, a.fault.seconds
        return None

    def forget(self, connection: int) -> None:
        """A connection is gone, and what was held back for it."""
        for a in self._armed:
            a.held.pop(connection, None)

    def _meets(self, a: _Armed, stream: str, name: str, symbol: str, bar: int) -> bool:
        f = a.fault
        if a.ended or not a.within(bar) or f.stream not in ("*", stream) or not fnmatchcase(name, f.event) or \
                not fnmatchcase(symbol, f.symbol) or not a.fires():
            return False
        self._note(bar, a, f"{stream} {name} {symbol}".rstrip())
        return True

    # --- the world ----------------------------------------------------------------------------------------------------

    def world(self, exchange: Any) -> None:
        """Begin and end what somebody else does to the account; call it after each bar. Twice is the same as once."""
        bar = int(exchange.bar)
        for a in list(self._armed):
            if a.fault.kind == "stale" and a.stale is None and a.within(bar):
                a.stale = Stale(exchange)
            if KINDS[a.fault.kind].about != "world" or a.fault.kind in OVERNIGHT:
                continue
            lasting = a.fault.kind in LASTING
            if not a.begun and not a.ended and (a.within(bar) or (not lasting and a.fault.bars is not None
                                                                   and bar >= a.fault.bars[0])):
                a.begun, a.fired = True, 1
                self._note(bar, a, a.fault.symbol if a.fault.kind == "halt" else "begins" if lasting else "")
                _begin(a.fault, exchange)
            elif lasting and a.begun and (a.ended or not a.within(bar)):
                self._armed.remove(a)
                self._note(bar, a, "ends")
                _end(a.fault, exchange)

    def prepare(self, bars: Any) -> Any:
        """Bars with the script's splits and dividends in them: prices from the ex-date on, and the actions.

        Raises `InputError` when a fault names a symbol or a bar that there is not.
        """
        for a in self._armed:
            if a.fault.kind in OVERNIGHT and not a.begun:
                a.begun = True
                bars = with_action(bars, a.fault)
        return bars


# --- What others do to the account ------------------------------------------------------------------------------------


def _begin(f: Fault, exchange: Any) -> None:
    if f.kind == "account_blocked":
        exchange.block()
    elif f.kind == "halt":
        for symbol in _symbols(f, exchange):
            exchange.halt(symbol)
    elif f.kind == "partial_fills":
        exchange.partial_fill_pct = f.percent
    elif f.kind == "stuck_cancel":
        exchange.stuck_cancels = True
    elif f.kind == "foreign_order":
        request = alpaca_rules.parse(dict(f.order or {}))
        if not isinstance(request, alpaca_rules.Violation):
            try:
                exchange.foreign_order(request)
            except Refusal:
                pass  # a stranger's order may be refused like any other
    elif f.kind == "deposit":
        exchange.deposit(f.amount)
    elif f.kind == "paper_reset":
        exchange.reset(f.amount)


def _end(f: Fault, exchange: Any) -> None:
    if f.kind == "account_blocked":
        exchange.block(False)
    elif f.kind == "halt":
        for symbol in _symbols(f, exchange):
            exchange.resume(symbol)
    elif f.kind == "partial_fills":
        exchange.partial_fill_pct = 0.0
    elif f.kind == "stuck_cancel":
        exchange.stuck_cancels = False


def _symbols(f: Fault, exchange: Any) -> Sequence[str]:
    return [s for s in exchange.bars.symbols if fnmatchcase(s, f.symbol)]
