"""Rules of Alpaca's that need nothing but the order: words, size, prices by type, classes, fractions, time in force."""

from __future__ import annotations

import re

from botlib import rules
from botlib.alpaca_case import Case
from botlib.alpaca_refusals import Violation, refuse
from botlib.order_request import OrderRequest, check_words, decimals, plain, positive

MAX_CLIENT_ORDER_ID = 128

TAKES: dict[str, tuple[str, ...]] = {
    "market": (), "limit": ("limit_price",), "stop": ("stop_price",), "stop_limit": ("limit_price", "stop_price"),
    "trailing_stop": ("trail_price", "trail_percent")}
"""The price fields that a type takes."""

_PRICES = ("limit_price", "stop_price", "trail_price", "trail_percent")
_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}([.-][A-Z0-9]{1,4})?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def unknown_symbol(symbol: str) -> Violation:
    """The refusal of a symbol that Alpaca, or this exchange, does not know."""
    return refuse("unknown-symbol", symbol=symbol)


# --- Words and size ---------------------------------------------------------------------------------------------------


def words(case: Case) -> Violation | None:
    order = case.order
    if not order.symbol:
        return refuse("symbol-missing")
    if not (isinstance(order.symbol, str) and _STOCK.fullmatch(order.symbol)):
        return unknown_symbol(order.symbol)
    if broken := check_words({name: getattr(order, name) for name in
                              ("side", "type", "time_in_force", "order_class", "position_intent")}):
        return broken
    if not isinstance(order.extended_hours, bool):  # a text such as "no" would count as yes
        return refuse("body-format", what=f"extended_hours is {order.extended_hours!r}, not True or False")
    return check_client_id(order.client_order_id)


def check_client_id(name: str | None) -> Violation | None:
    """Its type and length; that it is new in the account, the exchange knows."""
    if name is not None and not isinstance(name, str):
        return refuse("body-format", what=f"client_order_id is {name!r}, not a text")
    if name is not None and len(name) > MAX_CLIENT_ORDER_ID:
        return refuse("client-order-id-length", length=len(name))
    return None


def size(case: Case) -> Violation | None:
    qty, notional = case.order.qty, case.order.notional
    if qty is None and notional is None:
        return refuse("quantity-missing")
    if qty is not None and notional is not None:
        return refuse("quantity-and-notional")
    if qty is not None:
        if not positive(qty):
            return refuse("quantity-positive", value=qty)
        return refuse("quantity-precision", value=qty) if decimals(qty) > 9 else None
    assert notional is not None
    if not positive(notional):
        return refuse("notional-positive", value=notional)
    if decimals(notional) > 9:
        return refuse("notional-precision", value=notional)
    return refuse("notional-minimum", value=plain(notional)) if notional < 1.0 else None


# --- Prices by type ---------------------------------------------------------------------------------------------------


def numbers(case: Case) -> Violation | None:
    names = {"take_profit": "take_profit.limit_price", "stop_loss": "stop_loss.stop_price",
             "stop_loss_limit": "stop_loss.limit_price"}
    for field in (*_PRICES, *names):
        value = getattr(case.order, field)
        if value is not None and not positive(value):
            return not_positive(names.get(field, field), value)
    return None


_MEASURES = {"trail_price": "an amount of dollars", "trail_percent": "a number of percent",
             "trail": "an amount of dollars, or of percent where the order trails by percent,"}


def not_positive(name: str, value: object) -> Violation:
    """The refusal of a price or a distance that is no finite number above 0."""
    return refuse("price-positive", words=name if "." in name else name.replace("_", " "), name=name, value=value,
                  measure=_MEASURES.get(name, "a price"))


def type_prices(case: Case) -> Violation | None:
    order = case.order
    given = [name for name in _PRICES if getattr(order, name) is not None]
    for name in given:
        if name in TAKES[order.type]:
            continue
        if order.type == "market" and name in ("limit_price", "stop_price"):
            return refuse("market-takes-no-price", name=name)
        return refuse("price-not-of-type", type=order.type.replace("_", " "), name=name)
    if order.type == "trailing_stop" and len(given) != 1:
        return refuse("trail-missing")
    if order.type == "stop_limit" and len(given) != 2:
        return refuse("stop-limit-prices-missing")
    if order.type == "stop" and not given:
        return refuse("stop-price-missing")
    if order.type == "limit" and not given and order.order_class != "oco":  # an OCO's limit is its take-profit's
        return refuse("limit-price-missing")
    return None


def trailing(case: Case) -> Violation | None:
    order = case.order
    if order.type == "trailing_stop":
        if order.trail_percent is not None and order.trail_percent < 0.1:
            return refuse("trail-percent-minimum", value=plain(order.trail_percent))
        if order.order_class != "simple":
            return refuse("trailing-needs-simple", order_class=order.order_class)
    return None


def ticks(case: Case) -> Violation | None:
    order = case.order
    prices = {"limit_price": order.limit_price, "stop_price": order.stop_price,
              "take_profit.limit_price": order.take_profit, "stop_loss.stop_price": order.stop_loss,
              "stop_loss.limit_price": order.stop_loss_limit}
    for name, price in prices.items():
        if price is None:
            continue
        allowed = 2 if rules.ticks_per_dollar(float(price)) == 100.0 else 4
        if decimals(price) > allowed:
            return refuse("sub-penny-price", name=name, price=plain(price), decimals=allowed,
                          where="at or above $1" if allowed == 2 else "below $1")
    return None


# --- Fractions --------------------------------------------------------------------------------------------------------


def is_fractional(request: OrderRequest) -> bool:
    """Whether it is for a fraction of a share or for an amount of dollars."""
    return request.notional is not None or (request.qty is not None and not float(request.qty).is_integer())


def fractions(case: Case) -> Violation | None:
    order = case.order
    if not is_fractional(order):
        return None
    if order.time_in_force != "day":
        return refuse("fractional-needs-day", tif=order.time_in_force)
    if order.order_class != "simple":
        return refuse("fractional-needs-simple", order_class=order.order_class)
    if order.notional is not None and order.type != "market":
        return refuse("notional-needs-market", type=order.type)
    if order.type == "trailing_stop":
        return refuse("fractional-type", type=order.type)
    return None


# --- Classes and their legs -------------------------------------------------------------------------------------------


def exit_side(request: OrderRequest) -> str:
    """The side of the legs: opposite to the entry; an OCO is itself the exit."""
    if request.order_class == "oco":
        return request.side
    return "sell" if request.side == "buy" else "buy"


def class_shape(case: Case) -> Violation | None:
    order = case.order
    profit, loss = order.take_profit is not None, order.stop_loss is not None
    if order.order_class == "simple":
        legs = profit or loss or order.stop_loss_limit is not None
        return refuse("legs-need-class") if legs else None
    if order.stop_loss_limit is not None and not loss:
        return refuse("stop-loss-missing", order_class=order.order_class)
    if order.order_class == "oto":
        return refuse("oto-one-leg") if profit == loss else None
    if order.order_class == "oco" and order.type != "limit":
        return refuse("oco-needs-limit")
    if not profit:
        return refuse("take-profit-missing", order_class=order.order_class)
    return None if loss else refuse("stop-loss-missing", order_class=order.order_class)


def class_limits(case: Case) -> Violation | None:
    order = case.order
    if order.order_class != "simple":
        if order.time_in_force not in ("day", "gtc"):
            return refuse("class-time-in-force", order_class=order.order_class, tif=order.time_in_force)
        if order.extended_hours:
            return refuse("class-extended-hours", order_class=order.order_class)
    return None


# --- Times ------------------------------------------------------------------------------------------------------------


def time_in_force(case: Case) -> Violation | None:
    """"Order Types vs Supported Time in Force": opg, cls, ioc and fok go with market and limit orders only."""
    order = case.order
    if order.time_in_force not in ("day", "gtc") and order.type not in ("market", "limit"):
        return refuse("time-in-force-type", tif=order.time_in_force, type=order.type, valid="day and gtc")
    return None


def extended_hours(case: Case) -> Violation | None:
    order = case.order
    valid = ("day", "gtc") if case.extended_gtc else ("day",)
    if order.extended_hours and not (order.type == "limit" and order.time_in_force in valid):
        return refuse("extended-hours-type")
    return None
