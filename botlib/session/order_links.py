"""`OrderLinks`: the account's orders at the broker. What was sent for which order of the book, and what came of it.

Pure: no I/O, no clock, no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.brokers.base import Fill, OpenOrder, OrderRejection
from botlib.engine import booking, carrying, closing
from botlib.engine.book import Book
from botlib.engine.state import (
    CANCELLED,
    ENTRY,
    EXPIRED,
    KINDS,
    R_BROKER,
    R_SESSION_CLOSE,
    REJECTED,
    STOP_LEG,
    TARGET_LEG,
    WORKING,
)
from botlib.repository.covers import Span, new_parts
from botlib.session.account import LEGS, REMEMBERED, Account
from botlib.session.identity import Identity
from botlib.session.links import DUST, Intent, Link

PASSED = ("bracket-wrong-side", "stop-wrong-side", "leg-wrong-side")
"""Refusals that say: the price has passed this leg."""

GTC_DAYS = 90
"""After which the broker ends an order that is good till cancelled."""

_ROLE = {STOP_LEG: "stop_loss", TARGET_LEG: "take_profit"}
_WAITS = ("held", "pending_new", "pending_cancel")


class OrderLinks(Account):
    """An account, and what is at the broker for it."""

    def __init__(self, bars: Bars, market: Callable[[Bars], Any], settings: tuple[Any, ...], book: Book,
                 identity: Identity) -> None:
        super().__init__(bars, market, settings, book, identity)
        self.intents: dict[str, Intent] = {}
        """By client order id: all that have not ended, and those of open links."""
        self.links: dict[str, Link] = {}
        """By order id: all that are not over."""
        self.working: dict[int, str] = {}
        """uid → order id of what carries it out at the broker now."""
        self.finished: dict[str, None] = {}
        """Order ids that are over, the latest last: their executions may be told again."""
        self.early: list[Fill] = []
        """Executions of a bracket's legs that were told before their entry's."""
        self.turned_down: set[int] = set()
        """Legs that the broker refused in this pass; they are tried again in the next."""
        self._attempts: dict[int, int] = {}
        self._tries: dict[int, tuple[int, int]] = {}  # uid → exchange date, attempts on it

    # --- executions ---------------------------------------------------------------------------------------------------

    def fill(self, fill: Fill) -> list[tuple[Fill, int]]:
        """Book an execution; returns what was new of it with the order's number, and what it let follow.

        What a fill covers decides, not how often or in which order it is told. Empty when the order is none of ours,
        or all of it is booked already.
        """
        link = self.links.get(fill.order_id)
        parts = () if link is None else new_parts([Span(*part) for part in link.parts], fill)
        if link is None or not parts:
            return []
        if link.uid < 0 and not self._loose(link):
            if all(fill.key != other.key for other in self.early):
                self.early.append(fill)
            return []
        made = [(part, link.uid) for part in parts]
        for part in parts:
            self._execute(link, part)
        if int(self.book.orders["purpose"][self.rows[link.uid]]) == ENTRY:
            self._adopt_legs(link)
        if self.early:
            waiting, self.early = self.early, []
            for other in waiting:
                made += self.fill(other)
        return made

    def _execute(self, link: Link, part: Fill) -> None:
        self.room()
        row, world = self.rows[link.uid], self.book.world
        purpose = int(self.book.orders["purpose"][row])
        before = self.book["n_trades"]
        if purpose == ENTRY:
            booking.entry_filled(world, self.t, row, part.qty, part.price)
            self.entered.setdefault(link.uid, part.time.isoformat())
        elif purpose in LEGS:
            booking.leg_filled(world, self.t, row, part.qty, part.price)
        else:
            booking.exit_filled(world, self.t, row, part.qty, part.price)
        self._note_trips(before, part.time)
        self.number_orders()
        link.parts.append([*part.covers, part.price])
        link.filled = round(link.filled + part.qty, 9)
        link.reported = max(link.reported, link.filled)
        self._look(link)

    def _adopt_legs(self, link: Link) -> None:
        """A bracket's legs act from the entry's complete fill on: they carry out those of the book, where these are
        one pair for all of it. Otherwise they are not wanted, and the plan cancels them."""
        intent, entry = self.intents.get(link.client_order_id), self.rows[link.uid]
        orders, lots, after = self.book.orders, self.book.lots, self.book.rows("orders")[self.rows[link.uid] + 1:]
        if intent is None or not intent.legs or orders["filled"][entry] < orders["quantity"][entry] - DUST:
            return
        near = np.flatnonzero((after["status"] == WORKING) & (after["symbol"] == orders["symbol"][entry])) + entry + 1
        legs = [n for n in near.tolist() if orders["purpose"][n] in LEGS and carrying.entry_of(self.book, n) == entry]
        for row in legs:
            purpose = int(orders["purpose"][row])
            held = self.links.get(intent.legs.get(_ROLE[purpose], ""))
            kind = "stop" if purpose == STOP_LEG else "limit"
            if held is not None and not held.over and held.uid < 0 and KINDS[orders["kind"][row]] == kind and (
                    abs(lots["quantity"][orders["lot"][row]] - orders["filled"][entry]) < DUST):
                held.uid, held.cancel_asked = self.uids[row], False  # whoever cancelled the entry came too late
                self.working[held.uid] = held.order_id

    def _loose(self, link: Link) -> bool:
        """A bracket's leg executes that is no leg of the book: it gets a record there, once its entry is filled."""
        intent = self.intents.get(link.client_order_id)
        entry = None if intent is None else self.order_row(intent.uids[0])
        if intent is not None and entry is not None and entry["filled"] < entry["quantity"] - DUST:
            return False
        if entry is None:
            return False
        self.room()
        purpose = TARGET_LEG if link.role == "take_profit" else STOP_LEG
        row = booking.loose_leg(self.book.world, self.t, int(entry["symbol"]), -int(entry["side"]), purpose)
        self.number_orders()
        link.uid = self.uids[row]
        return True

    # --- what the broker says of orders -------------------------------------------------------------------------------

    def order(self, found: OpenOrder) -> Link | None:
        """What the broker says of an order that is linked; None when it is not. `settle` draws the conclusions."""
        link = self.links.get(found.order_id)
        if link is None:
            return None
        link.status, link.qty, link.type = found.status, found.qty, found.type
        link.price = found.limit_price if found.type == "limit" else found.stop_price
        link.reported = max(link.reported, found.filled_qty)
        ends = found.expires_at
        if ends is None and found.time_in_force == "gtc" and found.submitted_at is not None:
            ends = found.submitted_at + pd.Timedelta(days=GTC_DAYS)
        link.expires = "" if ends is None else ends.tz_convert("UTC").isoformat()
        self._look(link)
        return link

    def _look(self, link: Link) -> None:
        """An order is over when the broker has ended it and its fills are booked."""
        if link.over or link.filled < link.reported - DUST:
            return
        link.over = link.ended or (link.qty is not None and link.filled >= link.qty - DUST)
        if link.over and self.working.get(link.uid) == link.order_id:
            del self.working[link.uid]

    def settle(self) -> None:
        """The book follows what the broker has ended or set off; bars and fills up to now are booked before."""
        self.room()
        for link in self.links.values():
            if link.uid < 0:
                continue
            if link.over:
                record = self.order_row(link.uid)
                if record is not None and record["status"] == WORKING and record["purpose"] not in LEGS:
                    status, reason = (EXPIRED, R_SESSION_CLOSE) if link.status == "expired" else (CANCELLED, R_BROKER)
                    closing.ended(self.book.world, self.t, self.rows[link.uid], status, reason)
            elif link.paired and not link.cancel_asked and link.role == "stop_loss" and link.status not in _WAITS:
                lot = self.lot_of_leg(link.uid)
                target = -1 if lot is None else int(lot["target_order"])
                if target >= 0 and self.book.orders["status"][target] == WORKING and \
                        self.uids[target] not in self.working:  # its sibling is gone: the stop has triggered
                    closing.triggered(self.book.world, self.t, self.rows[link.uid])
        self.number_orders()

    def unplaced(self) -> list[int]:
        """Lots whose legs have not been sent to anybody."""
        book, found = self.book, []
        for i in np.flatnonzero(book.head >= 0):
            lot_id = int(book.head[i])
            while lot_id >= 0:
                lot = book.lots[lot_id]
                legs = [self.uids[row] for row in (lot["stop_order"], lot["target_order"]) if row >= 0]
                if lot["legs"] and not any(uid in self.working or uid in self._attempts for uid in legs):
                    found.append(lot_id)
                lot_id = int(lot["next"])
        return found

    # --- what was sent ------------------------------------------------------------------------------------------------

    def attempt(self, uid: int) -> int:
        """The number of the next try of an order: it rises with each that has ended."""
        return self._attempts.get(uid, 0) + 1

    def tries(self, uid: int) -> int:
        """How often it was tried on this exchange date."""
        day, count = self._tries.get(uid, (0, 0))
        return count if day == self.book["session"] else 0

    def record(self, intent: Intent) -> None:
        """An intent is written down."""
        self.intents[intent.client_order_id] = intent
        for uid in intent.uids:
            self._attempts[uid] = intent.attempt
            self._tries[uid] = self.book["session"], self.tries(uid) + 1
            self.working[uid] = intent.client_order_id

    def acknowledged(self, intent: Intent, order: OpenOrder) -> None:
        """The broker has an intent's order, and its legs."""
        intent.state, intent.order_id = "working", order.order_id
        for uid in intent.uids:
            if self.working.get(uid) == intent.client_order_id:
                del self.working[uid]
        parts = [(order, intent.uids[0], str(intent.purpose))]
        if intent.purpose == "protect":
            by_purpose = {int(self.book.orders["purpose"][self.rows[uid]]): uid for uid in intent.uids
                          if uid in self.rows}
            parts = [(one, *self._leg(one, by_purpose)) for one in order.flat()]
        else:
            for leg in order.legs:
                role = leg.group_role or ("take_profit" if leg.type == "limit" else "stop_loss")
                intent.legs[role] = leg.order_id
                parts.append((leg, -1, role))
        paired = {role for _, _, role in parts} >= set(_ROLE.values())
        for one, uid, role in parts:
            self.links[one.order_id] = Link(one.order_id, intent.client_order_id, uid, role, paired=paired)
            if uid >= 0:
                self.working[uid] = one.order_id
            self.order(one)

    @staticmethod
    def _leg(order: OpenOrder, by_purpose: Mapping[int, int]) -> tuple[int, str]:
        """Which leg of the book a protective order is."""
        purpose = TARGET_LEG if order.type == "limit" and TARGET_LEG in by_purpose else STOP_LEG
        if purpose not in by_purpose:
            purpose = next(iter(by_purpose), STOP_LEG)
        return by_purpose.get(purpose, -1), _ROLE[purpose]

    def refused(self, intent: Intent, rejection: OrderRejection) -> None:
        """The broker does not take an order: the book goes on without it."""
        intent.state, intent.reason = "ended", rejection.rule
        self.room()
        for uid in intent.uids:
            self.working.pop(uid, None)
        record = self.order_row(intent.uids[0])
        if record is None or record["status"] != WORKING:
            return
        row = self.rows[intent.uids[0]]
        if intent.purpose != "protect":
            closing.ended(self.book.world, self.t, row, REJECTED, R_BROKER)
        elif rejection.rule in PASSED:
            closing.leg_refused(self.book.world, self.t, row)
        else:
            self.turned_down.update(intent.uids)
            if rejection.rule == "wash-trade":
                closing.end_opposite(self.book.world, self.t, self.column[intent.symbol])
        self.number_orders()

    def dropped(self, intent: Intent, reason: str) -> None:
        """An intent is not sent and never will be: too late, shadowed, or not allowed any more."""
        intent.state, intent.reason = "ended", reason
        self.room()
        for uid in intent.uids:
            self.working.pop(uid, None)
            record = self.order_row(uid)
            if record is None or record["status"] != WORKING:
                continue
            if record["purpose"] in LEGS:
                self.turned_down.add(uid)
            else:
                closing.ended(self.book.world, self.t, self.rows[uid], CANCELLED, R_BROKER)
        self.number_orders()

    def tidy(self) -> None:
        """The end of a pass: forget links that are over and intents that have none left."""
        self.settle()
        self.turned_down.clear()
        over = [order_id for order_id, link in self.links.items() if link.over]
        ended = {self.links.pop(order_id).client_order_id for order_id in over}
        self.finished.update(dict.fromkeys(over))
        for name in ended - {link.client_order_id for link in self.links.values()}:
            if name in self.intents:
                self.intents[name].state = "ended"
        for order_id in list(self.finished)[:-REMEMBERED]:
            del self.finished[order_id]
        for name in [n for n, intent in self.intents.items() if intent.state == "ended"]:
            del self.intents[name]
