"""A new order in an old one's place, and what a split does to resting orders."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from botlib import rules
from botlib.alpaca_rules import OrderRequest, ReplaceRequest
from botlib.sandbox import admission, matching
from botlib.sandbox.orders import Order

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange


def as_request(order: Order) -> OrderRequest:
    """What would place an order as it stands, a leg by itself."""
    legs = {leg.group_role: leg for leg in order.legs}
    target, stop = legs.get("take_profit"), legs.get("stop_loss")
    oco = order.order_class == "oco" and order.parent is None
    return OrderRequest(
        symbol=order.symbol, side="buy" if order.side > 0 else "sell", type=order.type, qty=order.qty,
        notional=order.notional, time_in_force=order.time_in_force, order_class=order.order_class,
        limit_price=order.limit_price, trail_price=order.trail_price,
        stop_price=None if order.type == "trailing_stop" else order.stop_price,  # a trailing stop's moves by itself
        trail_percent=order.trail_percent, extended_hours=order.extended_hours,
        take_profit=order.limit_price if oco else None if target is None else target.limit_price,
        stop_loss=None if stop is None else stop.stop_price, stop_loss_limit=None if stop is None else stop.limit_price)


def successor(x: Exchange, old: Order, changes: ReplaceRequest) -> Order:
    """The new order, not yet in its place."""
    new = copy.copy(old)
    new.legs = list(old.legs)
    new.id, new.seq, new.replaces = x.journal.new_id(), x.journal.count(), old.id
    new.client_order_id = changes.client_order_id or x.journal.new_id()
    new.first_bar = max(old.first_bar, x.tape.next_bar)
    for name in ("qty", "time_in_force", "limit_price", "stop_price"):
        if getattr(changes, name) is not None:
            setattr(new, name, getattr(changes, name))
    new.expires_at = admission.expiry(x, new)
    if changes.trail is not None:
        setattr(new, "trail_price" if new.trail_price is not None else "trail_percent", changes.trail)
        new.hwm = None
        matching.trail(new, x.price(new.symbol) or 0.0)
    admission.set_cap(new)
    return new


def admit(x: Exchange, old: Order, new: Order) -> None:
    """What is refused for the account's sake; the old order gives what it held, and "buying power is reduced by the
    larger of the two orders" (OpenAPI) until the new one has its place."""
    admission.check_wash(x, new, besides=old)
    if old.closes:
        if new.left > old.left:
            admission.check_quantity(x, new, new.left, abs(x.book.available(old.symbol)) + old.left)
        return
    new.reserved = admission.needed(new, x.price(new.symbol) or 0.0)
    admission.check_buying_power(x, new.reserved, freed=old.reserved)


# --- Splits -----------------------------------------------------------------------------------------------------------


def split_orders(x: Exchange, symbol: str, ratio: float) -> None:
    """Resting orders after a split: quantities times the ratio, prices by it, the way `rules` rounds them."""
    exits: list[tuple[int, list[Order]]] = [(p.place, [o for o in p.members if o.open]) for p in x.book.pairs]
    for order in [o for o in x.book.working if o.symbol == symbol and o.open]:
        if order.closes:
            exits.append((x.book.place(order), [order]))
            continue
        split_order(order, ratio, order.side)
        for leg in order.legs:
            split_order(leg, ratio, order.side)
    old = new = 0.0  # shares of the exits so far: odd parts of a share are those of the position, not of each
    for _, members in sorted(exits, key=lambda exit_: exit_[0]):
        if not members or members[0].symbol != symbol:
            continue
        left = max(o.left for o in members)
        old, before = rules.exact_quantity(old + left), new
        new = rules.split_quantity(old, ratio, not x.whole_splits and members[0].side < 0)
        for one in members:
            split_order(one, ratio, -one.side)
            if one.qty is not None:
                one.qty = rules.exact_quantity(one.filled_qty + new - before)


def split_order(order: Order, ratio: float, position_side: int) -> None:
    """One of them; ``position_side`` is that of the position it opens or closes."""
    if order.qty is not None:
        order.qty = order.filled_qty + rules.split_quantity(order.left, ratio, not float(order.left).is_integer())
    if order.limit_price is not None:
        order.limit_price = rules.split_price(position_side, order.limit_price, ratio, order.side == position_side)
    if order.stop_price is not None:
        order.stop_price = rules.split_price(position_side, order.stop_price, ratio, order.side != position_side)
    if order.hwm is not None:
        order.hwm /= ratio
    if order.trail_price is not None:
        order.trail_price /= ratio
    admission.set_cap(order)


def drop_empty(x: Exchange, symbol: str) -> None:
    """Orders of which a split has left less than a share, or no position to close, are cancelled."""
    for order in x.book.tops():
        if order.symbol == symbol and order.open:
            nothing = order.qty is not None and order.left <= 1e-9
            if nothing or (order.closes and order.side * x.account.qty(symbol) >= 0.0):
                x.book.end_group(order, "canceled")
