"""Carrying out a plan: cancels, the wait for their end, new orders, and what the broker answers. The only place of a
session that changes anything at the broker."""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from botlib.brokers.base import Fill, OpenOrder, OrderRejection, OrderResult, UnknownOrder
from botlib.errors import BrokerError
from botlib.session.core import SessionCore
from botlib.session.links import Intent, Link

CANCEL_SECONDS = 10.0
"""How long an iteration waits for its cancels; what is still pending then counts as exposure."""


@dataclass(slots=True)
class Answer:
    """What the broker said to one intent."""

    intent: Intent
    state: str
    """"working", "filled", "rejected" or "unknown"."""
    text: str = ""
    order: OpenOrder | None = None


@dataclass(slots=True)
class Sent:
    """What came of one round."""

    answers: list[Answer] = field(default_factory=list)
    orders: list[OpenOrder] = field(default_factory=list)
    """Orders as they were read last."""
    problems: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    """Cancels that had not ended in time."""
    missed: set[str] = field(default_factory=set)
    """Client order ids whose cancel was not taken: it may be asked for again."""
    turned_away: bool = False
    """Whether the broker had too many requests: nothing more was sent."""


class Sender:
    """Sends for a session.

    Parameters
    ----------
    broker : Broker
    sends : bool
        False: nothing is cancelled or sent, whatever is asked for.
    clock, sleep : functions
        Monotonic seconds, and waiting; for the cancels' end.
    """

    def __init__(self, broker: Any, *, sends: bool = True, clock: Callable[[], float] = clocks.monotonic,
                 sleep: Callable[[float], None] = clocks.sleep) -> None:
        self.broker, self.sends, self._clock, self._sleep = broker, sends, clock, sleep

    def cancel(self, core: SessionCore, links: Sequence[Link]) -> Sent:
        """Ask for the end of these orders and those that go with them, and wait for it."""
        sent = Sent()
        if not self.sends:
            return sent
        groups = set()
        for link in links:
            answer = self.broker.cancel(link.order_id)
            if answer is None:
                groups.add(link.client_order_id)
                continue
            sent.missed.add(link.client_order_id)  # nobody has taken it: whoever looks next asks again
            if isinstance(answer, UnknownOrder):
                sent.problems.append(str(answer))
            else:  # refused: it has ended, perhaps
                self._read(core, link, sent)
        waiting = [link for link in core.links.values() if link.client_order_id in groups and not link.over]
        for link in waiting:
            link.cancel_asked = True
        until = self._clock() + CANCEL_SECONDS
        pause = 0.0
        while waiting:
            if pause:
                self._sleep(pause)
            pause = min(0.5, max(0.02, 2.0 * pause))
            for link in list(waiting):
                if link not in waiting:
                    continue
                found = self._read(core, link, sent)
                if link.over or (found is not None and not found.working):
                    waiting.remove(link)
                if found is not None and link.role == "entry" and found.status == "filled":  # its legs act now
                    for leg in [one for one in waiting if one.client_order_id == link.client_order_id]:
                        leg.cancel_asked = False
                        waiting.remove(leg)
            if self._clock() >= until:
                break
        for link in waiting:
            intent = core.intents.get(link.client_order_id)
            what = f"{link.role} order {link.order_id}" + (f" in {intent.symbol}" if intent else "")
            sent.alarms.append(f"the cancel of the {what} was asked for {CANCEL_SECONDS:g} s ago and is not confirmed: "
                               "it counts as working, and nothing else is sent in this symbol")
        return sent

    def _read(self, core: SessionCore, link: Link, sent: Sent) -> OpenOrder | None:
        try:
            found: OpenOrder | None = self.broker.get_order(link.order_id)
        except BrokerError as error:
            sent.problems.append(str(error))
            return None
        if found is not None:
            sent.orders.append(found)
            core.order(found)
        return found

    def submit(self, core: SessionCore, intents: Sequence[Intent],
               still: Callable[[Intent], bool] = lambda intent: True) -> Sent:
        """Send new orders one after the other, in this order; each intent is written down before.

        ``still`` is asked before each: one that may not go any more stays unsent.
        """
        sent = Sent()
        for intent in intents if self.sends else ():
            if not still(intent):
                continue
            intent.state = "sent"
            result = self.broker.submit_order(intent.request)
            if isinstance(result, OrderRejection) and result.rule == "rate-limit":  # it has not seen the order
                intent.state, sent.turned_away = "recorded", True
                sent.problems.append(str(result))
                break
            sent.answers.append(self.take(core, intent, result))
        return sent

    def take(self, core: SessionCore, intent: Intent, result: OrderResult) -> Answer:
        """Book what the broker answered."""
        if isinstance(result, OrderRejection):
            core.refused(intent, result)
            return Answer(intent, "rejected", str(result))
        if isinstance(result, UnknownOrder):
            intent.state = "unknown"
            return Answer(intent, "unknown", str(result))
        order = result if isinstance(result, OpenOrder) else self._whole(intent, result)
        if order is None:  # it has ended with shares already, and could not be read: found at the next reading
            intent.state = "unknown"
            return Answer(intent, "unknown", "the order was accepted; it could not be read again")
        core.acknowledged(intent, order)
        return Answer(intent, "working" if order.working else "filled", "", order)

    def _whole(self, intent: Intent, fill: Fill) -> OpenOrder | None:
        """An order that has ended with shares, with its legs."""
        try:
            found: OpenOrder | None = self.broker.get_order(fill.order_id)
        except BrokerError:
            return None
        return found

    def resolve(self, core: SessionCore, intent: Intent) -> Answer | None:
        """Look an intent up whose fate is not known; None when that cannot be told now.

        An "absent" answer means that the broker knows no such order now.
        """
        try:
            found = self.broker.order_by_client_id(intent.client_order_id)
        except BrokerError:
            return None
        if found is None:
            return Answer(intent, "absent")
        whole = found
        if not found.legs:
            try:
                whole = self.broker.get_order(found.order_id) or found
            except BrokerError:
                return None
        core.acknowledged(intent, whole)
        return Answer(intent, "working" if whole.working else "filled", "", whole)
