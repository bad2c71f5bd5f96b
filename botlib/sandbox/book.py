"""`Book`: the orders of one account and what becomes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from botlib.sandbox.account import Account
from botlib.sandbox.journal import Journal
from botlib.sandbox.orders import Order, Status


@dataclass(slots=True)
class Pair:
    """Protective orders of which one ends the other; either may be missing.

    ``place`` rises as orders come to work: an OCO with its submission, a bracket's legs with the entry's fill.
    """

    target: Order | None
    stop: Order | None
    first_bar: int
    place: int

    @property
    def order(self) -> Order:
        """The one that tells symbol, side and quantity."""
        order = self.target or self.stop
        assert order is not None
        return order

    @property
    def members(self) -> list[Order]:
        """Those there are, the target first."""
        return [o for o in (self.target, self.stop) if o is not None]

    @property
    def open(self) -> bool:
        """Whether either may still trade."""
        return any(o.open for o in self.members)


class Book:
    """Orders by id, in order of submission, legs included.

    Attributes
    ----------
    orders, by_client_id : dict of str to Order
        All there ever were.
    working : list of Order
        Those that meet bars by themselves, in order of submission.
    pairs : list of Pair
        Protective orders: OCOs, and the legs of entries that are filled whole.
    """

    def __init__(self, journal: Journal, account: Account) -> None:
        self.journal, self.account = journal, account
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[str, Order] = {}
        self.working: list[Order] = []
        self.pairs: list[Pair] = []
        self._live: list[Order] = []
        self._pending: list[Order] = []
        self._places: dict[str, int] = {}
        self._next_place = 0

    def place(self, order: Order) -> int:
        """Where one of `working` stands among all that works; see `Pair`. A replacement keeps the old order's place."""
        return self._places[order.id]

    def _new_place(self) -> int:
        self._next_place += 1
        return self._next_place

    def live(self) -> list[Order]:
        """Orders that are open, legs included, in order of submission."""
        self._live = [o for o in self._live if o.open]
        return list(self._live)

    def tops(self) -> list[Order]:
        """Open orders that stand for themselves: not the legs of an open parent."""
        return [o for o in self.live() if o.parent is None or not o.parent.open]

    def held(self, symbol: str) -> float:
        """Shares that working exits may still trade; a protective pair counts once, dollars at the last print."""
        position, price = self.account.qty(symbol), self.account.tape.price(symbol) or math.nan
        side = 1 if position < 0.0 else -1
        held = sum((o.shares(price) for o in self.working if o.symbol == symbol and o.side == side and o.open), 0.0)
        for pair in self.pairs:
            if pair.open and pair.order.symbol == symbol and pair.order.side == side:
                held += max(o.left for o in pair.members if o.open)
        return min(held, abs(position))

    def available(self, symbol: str) -> float:
        """Shares that no order holds, signed like the position."""
        qty = self.account.qty(symbol)
        left = abs(qty) - self.held(symbol)
        return left if qty >= 0.0 else -left

    # --- coming -------------------------------------------------------------------------------------------------------

    def add(self, order: Order, waits: bool) -> None:
        """Put an admitted order to work; ``waits``: for a session, else it is new at the next call."""
        self._register(order)
        if order.order_class == "oco":
            self.pairs.append(Pair(order, order.legs[0] if order.legs else None, order.first_bar, self._new_place()))
        else:
            self.working.append(order)
            self._places[order.id] = self._new_place()
        self._reserve()
        order.status = "accepted" if waits else "pending_new"
        self.journal.say(order, order.status)
        if not waits:
            self._pending.append(order)

    def _register(self, order: Order) -> None:
        for one in (order, *order.legs):
            if one.id not in self.orders:
                self._live.append(one)
            self.orders[one.id] = one
            self.by_client_id[one.client_order_id] = one

    def replace(self, old: Order, new: Order) -> None:
        """The new order takes the old one's place."""
        old.replaced_by, old.replaced_at, old.reserved = new.id, self.journal.stamp(), 0.0
        new.created_at = new.submitted_at = new.updated_at = old.replaced_at
        self.working = [new if o is old else o for o in self.working]
        if old.id in self._places:
            self._places[new.id] = self._places.pop(old.id)
        for pair in self.pairs:
            pair.target = new if pair.target is old else pair.target
            pair.stop = new if pair.stop is old else pair.stop
        for leg in new.legs:
            leg.parent = new
        if old.parent is not None:
            old.parent.legs = [new if o is old else o for o in old.parent.legs]
        self.become(old, "replaced")
        self._register(new)
        self._reserve()
        self.journal.say(new, "held" if new.status == "held" else "new", self.journal.stamp())

    def open_session(self, extended: bool) -> None:
        """Accepted orders are new; before the regular open only those for extended hours."""
        for order in self.live():
            if order.status == "accepted" and (order.extended_hours or not extended):
                self.become(order, "new")

    def settle(self, stuck_cancels: bool) -> None:
        """What is pending becomes so: submitted orders new, cancelled ones gone."""
        pending, self._pending = self._pending, []
        for order in pending:
            if order.status == "pending_new":
                self.become(order, "new")
            elif order.status == "pending_cancel":
                if stuck_cancels:
                    self._pending.append(order)
                else:
                    self.end_group(order, "canceled")

    # --- trading ------------------------------------------------------------------------------------------------------

    def fill(self, order: Order, quantity: float, price: float, asked: float, time: int) -> Pair | None:
        """Book an execution and tell it; returns the pair that a complete entry puts to work."""
        left = order.left
        self.account.book(order, quantity, price, asked, time)
        complete = order.left <= 1e-9
        order.reserved = 0.0 if complete else order.reserved * order.left / left
        self._reserve()
        if complete:
            order.status, order.filled_at = "filled", time
        elif order.status != "pending_cancel":
            order.status = "partially_filled"
        order.updated_at = time
        self.journal.say(order, "fill" if complete else "partial_fill", time, price=price, qty=quantity,
                         position_qty=self.account.qty(order.symbol))
        if not complete or order.order_class not in ("bracket", "oto") or not order.legs or order.parent is not None:
            return None
        return self._protect(order)

    def _protect(self, entry: Order) -> Pair | None:
        """The legs act from the entry's fill on: the target new, a stop beside it held. Shares that other exits took
        while the entry was partly filled are not theirs any more."""
        by_role = {leg.group_role: leg for leg in entry.legs if leg.open}
        pair = Pair(by_role.get("take_profit"), by_role.get("stop_loss"), entry.first_bar, self._new_place())
        free = abs(self.available(entry.symbol))
        for leg in pair.members:
            leg.qty = min(leg.left, free)
            if free <= 0.0:
                self.end(leg, "canceled")
        if not pair.open:
            return None
        if pair.order.status == "held":
            self.become(pair.order, "new")
        self.pairs.append(pair)
        return pair

    # --- ending -------------------------------------------------------------------------------------------------------

    def ask_cancel(self, order: Order) -> None:
        """It is pending until the next call; an order may still trade in between."""
        order.cancel_requested_at = self.journal.stamp()
        self.become(order, "pending_cancel")
        self._pending.append(order)

    def become(self, order: Order, status: Status) -> None:
        """A change of status, told by the event of its name."""
        if order.status == status:
            return
        order.status, order.updated_at = status, self.journal.stamp()
        self.journal.say(order, status)

    def end(self, order: Order, status: Status, *, silent: bool = False) -> None:
        """An order becomes canceled or expired; what it reserved is free again."""
        if not order.open:
            return
        time = self.journal.stamp()
        order.reserved = 0.0
        self._reserve()
        order.status, order.updated_at = status, time
        if status == "canceled":
            order.canceled_at = time
        else:
            order.expired_at = time
        if not silent:
            self.journal.say(order, status, time)
        if order.order_class in ("bracket", "oto"):  # an entry that is not filled whole leaves no legs
            for leg in order.legs:
                self.end(leg, status, silent=silent)

    def end_group(self, order: Order, status: Status) -> None:
        """Ending one of a group ends those that depend on it, or share its fate."""
        for pair in self.pairs:
            if order is pair.target or order is pair.stop:
                for other in pair.members:
                    self.end(other, status)
        if order.parent is not None and order.parent.open:  # a leg that waits takes its entry with it
            self.end(order.parent, status)
        self.end(order, status)
        self.tidy()

    def end_session(self, t: int, now: int) -> None:
        """The close of bar ``t`` ends what was good for the regular session."""
        for order in self.tops():
            if order.time_in_force == "gtc" or order.extended_hours:
                continue
            if order.first_bar <= t or order.expires_at <= now:
                self.end_group(order, "expired" if order.time_in_force == "day" else "canceled")

    def expire(self, now: int) -> None:
        """Orders good till cancelled, and those for extended hours, end by the clock."""
        for order in self.tops():
            if order.expires_at <= now and (order.time_in_force == "gtc" or order.extended_hours):
                self.end_group(order, "canceled" if order.time_in_force == "gtc" else "expired")

    def tidy(self) -> None:
        """Forget, as far as bars go, what has ended."""
        self.working = [o for o in self.working if o.open]
        self.pairs = [p for p in self.pairs if p.open]

    def _reserve(self) -> None:
        self.account.reserved = sum((o.reserved for o in self.working), 0.0)
