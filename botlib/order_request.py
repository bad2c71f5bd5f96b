"""An order as Alpaca takes it: the JSON of POST and PATCH /v2/orders, and the records it becomes.

Reading is strict about shapes and leaves sense to `botlib.alpaca_rules`. Numbers come as JSON numbers or as strings
("Takes in string/number values", OpenAPI). Keys that Alpaca does not know it ignores, and so does this: a
``trail_percent`` inside ``stop_loss`` vanishes without a word (observed on a paper account). A value of the wrong type
is 400 40010000.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any, Literal, get_args

from botlib.alpaca_refusals import Violation, refuse
from botlib.errors import by_name, nearest

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
OrderClass = Literal["simple", "bracket", "oco", "oto"]
PositionIntent = Literal["buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"]


@by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A new order. Prices in dollars, ``qty`` in shares, ``trail_percent`` in percent (1.5 = 1.5 %)."""

    symbol: str
    side: Side
    type: OrderType = "market"
    qty: float | None = None
    """Shares, up to 9 decimals; either this or ``notional``."""
    notional: float | None = None
    """Dollars."""
    time_in_force: TimeInForce = "day"
    order_class: OrderClass = "simple"
    limit_price: float | None = None
    stop_price: float | None = None
    trail_price: float | None = None
    trail_percent: float | None = None
    take_profit: float | None = None
    """Limit price of the take-profit leg."""
    stop_loss: float | None = None
    """Stop price of the stop-loss leg."""
    stop_loss_limit: float | None = None
    """Its limit price: the leg is then a stop-limit order."""
    extended_hours: bool = False
    client_order_id: str | None = None
    position_intent: PositionIntent | None = None


@by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRequest:
    """New values for a working order; None leaves a value as it is. ``trail`` is dollars or percent, as the order's."""

    qty: float | None = None
    time_in_force: TimeInForce | None = None
    limit_price: float | None = None
    stop_price: float | None = None
    trail: float | None = None
    client_order_id: str | None = None


# --- Reading ----------------------------------------------------------------------------------------------------------


def parse(body: object) -> OrderRequest | Violation:
    """Read the JSON body of POST /v2/orders; never raises.

    An absent, null or empty ``order_class`` is "simple"; so with ``client_order_id`` and ``position_intent``, which are
    then None. ``type``, ``time_in_force`` and ``side`` have no defaults at Alpaca.
    """
    try:
        fields = _mapping(body, "the body")
        if fields.get("advanced_instructions") is not None:
            return refuse("advanced-instructions")
        words = {
            "side": _text(fields, "side") or "", "type": _text(fields, "type") or "",
            "time_in_force": _text(fields, "time_in_force") or "",
            "order_class": _text(fields, "order_class") or "simple",
            "position_intent": _text(fields, "position_intent") or None,
        }
        profit, loss = _leg(fields, "take_profit"), _leg(fields, "stop_loss")
        numbers = {name: _number(fields, name) for name in
                   ("qty", "notional", "limit_price", "stop_price", "trail_price", "trail_percent")}
        legs = {"take_profit": _number(profit or {}, "limit_price"), "stop_loss": _number(loss or {}, "stop_price"),
                "stop_loss_limit": _number(loss or {}, "limit_price")}
        rest = {"symbol": _text(fields, "symbol") or "", "extended_hours": _flag(fields, "extended_hours"),
                "client_order_id": _text(fields, "client_order_id") or None}
    except _WrongShape as wrong:
        return refuse("body-format", what=str(wrong))
    if broken := check_words(words):
        return broken
    if words["order_class"] != "simple":  # a leg without its price is not the same as no leg
        for leg, rule in ((profit, "take-profit-missing"), (loss, "stop-loss-missing")):
            if leg is not None and legs["take_profit" if leg is profit else "stop_loss"] is None:
                return refuse(rule, order_class=words["order_class"])
    return OrderRequest(**words, **numbers, **legs, **rest)  # type: ignore[arg-type]


def parse_replace(body: object) -> ReplaceRequest | Violation:
    """Read the JSON body of PATCH /v2/orders/{id}; never raises. ``notional`` is for IPO orders only: refused."""
    try:
        fields = _mapping(body, "the body")
        word = _text(fields, "time_in_force") or None
        numbers = {name: _number(fields, name) for name in ("qty", "limit_price", "stop_price", "trail")}
        notional, client_id = _number(fields, "notional"), _text(fields, "client_order_id") or None
    except _WrongShape as wrong:
        return refuse("body-format", what=str(wrong))
    if notional is not None:
        return refuse("replace-notional")
    if word is not None and (broken := check_words({"time_in_force": word})):
        return broken
    return ReplaceRequest(**numbers, time_in_force=word, client_order_id=client_id)  # type: ignore[arg-type]


_WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "side": ("invalid-side", get_args(Side)),
    "type": ("invalid-type", get_args(OrderType)),
    "time_in_force": ("invalid-time-in-force", get_args(TimeInForce)),
    "order_class": ("invalid-order-class", get_args(OrderClass)),
    "position_intent": ("invalid-position-intent", get_args(PositionIntent)),
}


def check_words(words: Mapping[str, object]) -> Violation | None:
    """The first of the given fields whose value is not one of Alpaca's words."""
    for name, (rule, valid) in _WORDS.items():
        if name not in words or (name == "position_intent" and words[name] is None):
            continue
        if words[name] not in valid:
            return refuse(rule, value=words[name], hint=nearest(words[name], valid) or ".")
    return None


class _WrongShape(Exception):
    """A value of a JSON type that Alpaca cannot read."""


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _WrongShape(f"{name} is {_kind(value)}, not an object")
    return value


def _leg(fields: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return None if fields.get(name) is None else _mapping(fields[name], name)


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise _WrongShape(f"{name} is {_kind(value)}, not a string")
    return value


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise _WrongShape(f"{name} is {_kind(value)}, not true or false")
    return bool(value)


_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    else:
        raise _WrongShape(f"{name} is {_kind(value)}, not a number")
    if not math.isfinite(number):
        raise _WrongShape(f"{name} is not a finite number")
    return number


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    names = {"bool": "true or false", "int": "a number", "float": "a number", "list": "a list", "dict": "an object",
             "NoneType": "null"}
    return names.get(type(value).__name__, type(value).__name__)


# --- Writing ----------------------------------------------------------------------------------------------------------


def render(request: OrderRequest) -> dict[str, Any]:
    """The JSON body of POST /v2/orders, without what is not set. `parse` reads it back to an equal request."""
    body: dict[str, Any] = {"symbol": request.symbol, "side": request.side, "type": request.type,
                            "time_in_force": request.time_in_force}
    for name in ("qty", "notional", "limit_price", "stop_price", "trail_price", "trail_percent"):
        if (number := getattr(request, name)) is not None:
            body[name] = plain(number)
    if request.order_class != "simple":
        body["order_class"] = request.order_class
    if request.take_profit is not None:
        body["take_profit"] = {"limit_price": plain(request.take_profit)}
    loss = {"stop_price": request.stop_loss, "limit_price": request.stop_loss_limit}
    if any(price is not None for price in loss.values()):
        body["stop_loss"] = {name: plain(price) for name, price in loss.items() if price is not None}
    if request.extended_hours:
        body["extended_hours"] = True
    for name in ("client_order_id", "position_intent"):
        if word := getattr(request, name):
            body[name] = word
    return body


def replaced(request: OrderRequest, changes: ReplaceRequest) -> OrderRequest:
    """The order as it will be. An OCO's limit price is its take-profit's; the client order id is the new one's."""
    new: dict[str, Any] = {name: value for name in ("qty", "time_in_force", "limit_price", "stop_price")
                           if (value := getattr(changes, name)) is not None}
    if changes.trail is not None:
        new["trail_price" if request.trail_price is not None else "trail_percent"] = changes.trail
    if request.order_class == "oco" and changes.limit_price is not None:
        new["take_profit"] = changes.limit_price
    return replace(request, **new, client_order_id=changes.client_order_id)


# --- Numbers ----------------------------------------------------------------------------------------------------------


def plain(number: float) -> str:
    """A number as Alpaca writes it: decimal digits, no exponent, no trailing zeros (``"162.6"``, ``"100"``).

    What is not finite stays "inf" or "nan"; zero has no sign.
    """
    text = repr(float(number))
    if "e" in text:
        text = format(Decimal(text), "f")
    if text.endswith(".0"):
        text = text[:-2]
    return "0" if text == "-0" else text


def decimals(number: float) -> int:
    """Digits after the point in the shortest way to write it, which is what goes over the wire."""
    return max(0, -int(Decimal(repr(float(number))).normalize().as_tuple().exponent))


def positive(value: object) -> bool:
    """Whether it is a finite number above 0, numpy's included; of any other type, no."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return float(value) > 0.0 and math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False
