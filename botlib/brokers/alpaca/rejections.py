"""A no as an `OrderRejection`: Alpaca's own, the pre-flight check's, or one of ours. Pure."""

from __future__ import annotations

from botlib.alpaca_rules import OrderRequest, Violation
from botlib.brokers.alpaca.advice import described, explain
from botlib.brokers.order_records import OrderRejection
from botlib.errors import BrokerError, BrokerRefusal, BrokerUnavailable


def refused(refusal: BrokerRefusal, order: OrderRequest) -> OrderRejection:
    """Alpaca's no to a new order."""
    rule, advice = explain(refusal, order)
    return OrderRejection(symbol=order.symbol, client_order_id=order.client_order_id or "", rule=rule, advice=advice,
                          message=refusal.message, status=refusal.status, code=refusal.code, what=described(order),
                          fields=refusal.fields)


def refused_change(refusal: BrokerRefusal, what: str, *, client_order_id: str = "",
                   order_id: str = "") -> OrderRejection:
    """Alpaca's no to a replacement or a cancel."""
    rule, advice = explain(refusal)
    return OrderRejection(symbol=str(refusal.fields.get("symbol", "")), client_order_id=client_order_id, rule=rule,
                          advice=advice, message=refusal.message, status=refusal.status, code=refusal.code, what=what,
                          order_id=order_id, fields=refusal.fields)


def violated(broken: Violation, symbol: str, client_order_id: str, what: str) -> OrderRejection:
    """A rule that the pre-flight check found broken: nothing was sent."""
    return OrderRejection(symbol=symbol, client_order_id=client_order_id, rule=broken.rule, status=broken.status,
                          code=broken.code, message=broken.message, advice=broken.advice, what=what, by="preflight",
                          fields=broken.fields)


def turned_away(failure: BrokerUnavailable, symbol: str, client_order_id: str, what: str) -> OrderRejection:
    """Too many requests: turned away at the door."""
    return OrderRejection(symbol=symbol, client_order_id=client_order_id, rule="rate-limit", status=failure.status,
                          code=42910000, message=str(failure), what=what,
                          advice="Nothing was accepted. Wait, and see whether a second program uses this account.")


def no_such_order(order_id: object, client_order_id: str, what: str) -> OrderRejection:
    """What is no order id at all is not sent."""
    return OrderRejection(symbol="", client_order_id=client_order_id, rule="order-not-found", status=404, code=40410000,
                          what=what, message=f"order not found for {order_id}", by="preflight", order_id=str(order_id),
                          advice="An order id is a UUID, as `OpenOrder.order_id`; order_by_client_id takes a client "
                          "order id.")


def position_unknown(symbol: object, client_order_id: str, what: str, error: BrokerError) -> OrderRejection:
    """The position to close could not be read."""
    return OrderRejection(symbol=str(symbol), client_order_id=client_order_id, rule="position-unknown", by="client",
                          message=f"the position could not be read: {error}", what=what,
                          advice="Try again.")


def no_position(symbol: object, client_order_id: str, what: str) -> OrderRejection:
    """There is nothing to close."""
    return OrderRejection(symbol=str(symbol), client_order_id=client_order_id, rule="no-position", by="client",
                          message="position does not exist", what=what, advice="There is no position in this symbol.")


def beyond_position(symbol: str, client_order_id: str, what: str, qty: object, held: float) -> OrderRejection:
    """More was to be closed than is held, or no number of shares."""
    return OrderRejection(symbol=symbol, client_order_id=client_order_id, rule="quantity-beyond-position", by="client",
                          message=f"qty = {qty!r} must be above 0 and at most the {held:g} shares held", what=what,
                          advice=f"Leave qty out to close all {held:g}.")
