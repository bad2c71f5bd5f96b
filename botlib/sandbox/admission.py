"""What becomes an order, and what is refused for the account's sake: quantity held, wash trades, buying power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botlib import alpaca_rules, rules
from botlib.alpaca_rules import OrderRequest, Violation
from botlib.sandbox import matching
from botlib.sandbox.orders import Order, Refusal

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange


def refused(found: Violation | None) -> None:
    """Raise what a rule found."""
    if found is not None:
        raise Refusal.of(found)


def check_client_id(x: Exchange, client_id: str | None) -> None:
    """An id is used once, whatever became of its order."""
    if client_id is not None and client_id in x.book.by_client_id:
        raise Refusal(422, 40010001, "client_order_id must be unique", "duplicate-client-order-id")


# --- Making -----------------------------------------------------------------------------------------------------------


def make(x: Exchange, request: OrderRequest) -> Order:
    """The order of a request, with its legs held."""
    side = 1 if request.side == "buy" else -1
    group = x.journal.new_id() if request.order_class != "simple" else None
    oco = request.order_class == "oco"
    order = new_order(x, request, side, client_order_id=request.client_order_id or x.journal.new_id(),
                      type=request.type, limit_price=request.limit_price, stop_price=request.stop_price,
                      notional=request.notional, trail_price=request.trail_price, trail_percent=request.trail_percent,
                      extended_hours=request.extended_hours, group_id=group,
                      group_role="" if group is None else "take_profit" if oco else "entry")
    order.expires_at = expiry(x, order)
    if oco:
        order.limit_price = request.take_profit if request.take_profit is not None else request.limit_price
    elif request.take_profit is not None:
        add_leg(x, order, request, "take_profit", type="limit", limit_price=request.take_profit)
    if request.stop_loss is not None:
        limit = request.stop_loss_limit
        add_leg(x, order, request, "stop_loss", type="stop" if limit is None else "stop_limit",
                stop_price=request.stop_loss, limit_price=limit)
    if order.type == "trailing_stop":
        matching.trail(order, x.price(order.symbol) or 0.0)
    return order


def new_order(x: Exchange, request: OrderRequest, side: int, **fields: Any) -> Order:
    """One order of a request; what differs between an entry and its legs comes as ``fields``."""
    time = x.journal.stamp()
    order = Order(id=x.journal.new_id(), symbol=request.symbol, side=side, qty=request.qty, seq=x.journal.count(),
                  time_in_force=request.time_in_force, order_class=request.order_class,
                  position_intent=alpaca_rules.implied_intent(request.side, x.account.qty(request.symbol)),
                  created_at=time, submitted_at=time, updated_at=time, first_bar=x.tape.next_bar, **fields)
    set_cap(order)
    return order


def set_cap(order: Order) -> None:
    """The limit that a stop order has on top."""
    if order.type == "stop":
        order.cap = rules.stop_cap(order.side, order.stop_price or 0.0)
    elif order.type == "stop_limit":
        order.cap = order.limit_price or 0.0


def add_leg(x: Exchange, parent: Order, request: OrderRequest, role: Any, **fields: Any) -> None:
    """A leg, held by its parent."""
    side = parent.side if request.order_class == "oco" else -parent.side
    leg = new_order(x, request, side, client_order_id=x.journal.new_id(), group_id=parent.group_id, group_role=role,
                    **fields)
    leg.position_intent = "sell_to_close" if side < 0 else "buy_to_close"
    leg.parent, leg.status, leg.expires_at = parent, "held", parent.expires_at
    parent.legs.append(leg)


def expiry(x: Exchange, order: Order) -> int:
    """When an order ends by itself, UTC ns."""
    if order.time_in_force == "gtc":
        return x.tape.aged
    return x.tape.next_extended_close if order.extended_hours else x.tape.next_close


# --- Admitting --------------------------------------------------------------------------------------------------------


def admit(x: Exchange, order: Order) -> None:
    """Wash trades, shares held for other orders, shorts, buying power. Reserves what an entry needs."""
    check_wash(x, order)
    price = x.price(order.symbol)
    if price is None:
        raise Refusal(422, 42210000, f"no price for {order.symbol} yet", "no-price")
    if order.closes:
        check_quantity(x, order, order.shares(price), abs(x.book.available(order.symbol)))
        return
    if order.side < 0 and not x.shorting_enabled:
        raise Refusal(403, 40310000, "account is not allowed to short", "shorting-disabled")
    check_opposite(x, order)
    order.reserved = needed(order, price)
    check_buying_power(x, order.reserved)


def needed(order: Order, price: float) -> float:
    """Buying power that an entry reserves, dollars."""
    kind = rules.MARKET if order.type == "market" else rules.LIMIT if order.type == "limit" else rules.STOP
    limit = order.limit_price if order.type == "limit" else order.cap or order.stop_price
    return float(rules.reserve(order.side, order.shares(price), kind, price, limit or 0.0))


def check_buying_power(x: Exchange, cost: float, freed: float = 0.0) -> None:
    """``cost`` must fit into what is left, and into what the order itself ``freed``."""
    free = x.buying_power
    if cost > freed and not rules.fits(cost - freed, free):
        raise Refusal(403, 40310000, "insufficient buying power", "insufficient-buying-power",
                      buying_power=f"{max(0.0, free):.2f}", cost_basis=f"{cost:.2f}")


def check_quantity(x: Exchange, order: Order, wanted: float, free: float) -> None:
    """An exit may have no more than is held and free."""
    if wanted > free * (1.0 + 1e-12):
        held = abs(x.account.qty(order.symbol))
        raise Refusal(403, 40310000, f"insufficient qty available for order (requested: {wanted:.9g}, "
                      f"available: {free:.9g})", "insufficient-quantity", available=f"{free:.9g}",
                      existing_qty=f"{held:.9g}", held_for_orders=f"{held - free:.9g}", symbol=order.symbol)


def check_opposite(x: Exchange, order: Order) -> None:
    """Entries of both sides at once could carry a position through zero."""
    for other in x.book.working:
        if other.symbol == order.symbol and other.side == -order.side and other.open and not other.closes:
            words = ("short sell", "long buy") if order.side < 0 else ("long buy", "short sell")
            raise Refusal(403, 40310000, f"cannot open a {words[0]} while a {words[1]} order is open",
                          "opposite-entry", existing_order_id=other.id)


def check_wash(x: Exchange, order: Order, besides: Order | None = None) -> None:
    """An order of the other side that could trade with this one; bracket, OCO and OTO orders are let through."""
    if order.order_class != "simple":
        return
    for other in x.book.working + [o for p in x.book.pairs for o in p.members]:
        if other is besides or other.symbol != order.symbol or other.side == order.side or not other.open:
            continue
        if other.type != "limit" or order.type != "limit":
            kind = "limit" if other.type == "limit" else "market/stop"
        elif order.side * ((order.limit_price or 0.0) - (other.limit_price or 0.0)) >= 0.0:
            kind = "limit"
        else:
            continue
        raise Refusal(403, 40310000, "potential wash trade detected. use complex orders", "wash-trade",
                      existing_order_id=other.id, reject_reason=f"opposite side {kind} order exists")

