"""What Alpaca answers when it refuses an order: one entry a rule, by name.

HTTP status and numeric code are Alpaca's stable contract; it says that message strings can change. ``wording`` tells
how well each message is known:

- ``documented``: in Alpaca's documentation ("Placing Orders", "Fractional Trading", "Options Trading Overview: error
  responses", "How to fix common trading API errors") or in its OpenAPI document.
- ``recorded``: a body that a real account received, published by its owner.
- ``ours``: the refusal is documented, its words are not; ours are close to how Alpaca speaks.

``{name}`` in a message or in an advice is filled in by `refuse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MALFORMED = (400, 40010000)
INVALID = (422, 40010001)
REFUSED = (422, 42210000)
FORBIDDEN = (403, 40310000)


@dataclass(frozen=True, slots=True)
class Rule:
    """A refusal of Alpaca's: its answer, and a sentence of ours that says what to do."""

    answer: tuple[int, int]
    """HTTP status and numeric code."""
    message: str
    advice: str
    wording: Literal["documented", "recorded", "ours"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that an order breaks."""

    rule: str
    """Its name in `RULES`."""
    status: int
    code: int | None
    message: str
    """Alpaca's words."""
    advice: str
    """Ours: one sentence that says what to do."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What the body carries beside code and message, e.g. ``base_price``."""

    def body(self) -> dict[str, Any]:
        """The JSON body of Alpaca's answer, its keys in order of the alphabet as Alpaca's are."""
        known: dict[str, Any] = {**self.fields, "message": self.message}
        if self.code is not None:
            known["code"] = self.code
        return dict(sorted(known.items()))


def refuse(rule: str, fields: Mapping[str, str] | None = None, **values: object) -> Violation:
    """The `Violation` of a rule of `RULES`, with ``values`` put into its message and its advice."""
    known = RULES[rule]
    status, code = known.answer
    return Violation(rule, status, code, known.message.format(**values), known.advice.format(**values), fields or {})


RULES: dict[str, Rule] = {
    # --- The body
    "body-format": Rule(
        MALFORMED, "request body format is invalid",
        "{what}; send a JSON object with numbers as plain numbers or strings (no NaN, no infinity).", "recorded"),
    "advanced-instructions": Rule(
        FORBIDDEN, "account not allowed to use advanced_instructions",
        "Leave advanced_instructions out: smart routing needs an arrangement with Alpaca.", "recorded"),
    # --- Words
    "symbol-missing": Rule(INVALID, "symbol is required", "Name the symbol of a US stock, e.g. 'SPY'.", "ours"),
    "unknown-symbol": Rule(
        REFUSED, 'asset "{symbol}" not found',
        "'{symbol}' is not the symbol of a US stock that trades here: capital letters, e.g. 'SPY' or 'BRK.B'.",
        "recorded"),
    "invalid-side": Rule(INVALID, "invalid side", "side = {value!r} must be 'buy' or 'sell'.", "recorded"),
    "invalid-type": Rule(
        INVALID, "invalid order type",
        "type = {value!r} must be market, limit, stop, stop_limit or trailing_stop{hint}", "documented"),
    "invalid-time-in-force": Rule(
        INVALID, "invalid time_in_force",
        "time_in_force = {value!r} must be day, gtc, opg, cls, ioc or fok{hint}", "documented"),
    "invalid-order-class": Rule(
        INVALID, "invalid order class",
        "order_class = {value!r} must be simple, bracket, oco or oto (mleg is for options only){hint}", "ours"),
    "invalid-position-intent": Rule(
        INVALID, "invalid position_intent",
        "position_intent = {value!r} must be buy_to_open, buy_to_close, sell_to_open or sell_to_close{hint}", "ours"),
    "client-order-id-length": Rule(
        INVALID, "client_order_id must be no more than 128 characters",
        "client_order_id has {length} characters and may have 128.", "recorded"),
    # --- Size
    "quantity-missing": Rule(
        INVALID, "qty or notional is required", "Give qty (shares) or notional (dollars).", "documented"),
    "quantity-and-notional": Rule(
        INVALID, "only one of qty or notional is accepted", "Give qty or notional, not both.", "recorded"),
    "quantity-positive": Rule(
        INVALID, "qty must be > 0", "qty = {value!r} must be a number of shares above 0.", "recorded"),
    "quantity-precision": Rule(
        REFUSED, "qty must be limited to 9 decimal places",
        "qty = {value!r} has more than 9 decimals, which Alpaca would cut off without a word; round it down first.",
        "ours"),
    "notional-positive": Rule(
        INVALID, "notional must be > 0", "notional = {value!r} must be an amount of dollars above 0.", "ours"),
    "notional-precision": Rule(
        REFUSED, "notional must be limited to 9 decimal places",
        "notional = {value!r} has more than 9 decimals; round it to cents.", "ours"),
    "notional-minimum": Rule(
        REFUSED, "notional amount must be >= 1.00",
        "notional = ${value} is below Alpaca's minimum of $1.00.", "recorded"),
    "cost-minimum": Rule(
        FORBIDDEN, "cost basis must be >= minimal amount of order 1",
        "{qty} shares at about ${price} cost less than Alpaca's minimum of $1; buy more.", "recorded"),
    "fractional-needs-day": Rule(
        REFUSED, "fractional orders must be DAY orders",
        "A fraction of a share, or a dollar amount, takes time_in_force 'day' only; use whole shares for '{tif}'.",
        "documented"),
    "fractional-needs-simple": Rule(
        REFUSED, "fractional orders must be simple orders",
        "A {order_class} order takes whole shares only: round the quantity down, or send a simple order.", "recorded"),
    "fractional-type": Rule(
        REFUSED, "fractional orders must be market, limit, stop or stop_limit orders",
        "A {type} order takes whole shares only.", "ours"),
    "notional-needs-market": Rule(
        REFUSED, "notional orders must be market orders",
        "A dollar amount takes a market order; give qty for a {type} order.", "ours"),
    # --- Prices by type
    "price-positive": Rule(
        INVALID, "{words} must be > 0", "{name} = {value!r} must be a price above 0.", "recorded"),
    "sub-penny-price": Rule(
        REFUSED, "invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria",
        "{name} = {price} is finer than the tick: at most {decimals} decimals {where}; round it first.", "documented"),
    "limit-price-missing": Rule(
        INVALID, "limit orders require a limit price", "Give limit_price.", "documented"),
    "stop-price-missing": Rule(INVALID, "stop orders require a stop price", "Give stop_price.", "documented"),
    "stop-limit-prices-missing": Rule(
        INVALID, "stop limit orders require both stop and limit price", "Give stop_price and limit_price.",
        "documented"),
    "market-takes-no-price": Rule(
        INVALID, "market orders require no stop or limit price",
        "Leave {name} out, or choose the type that takes it.", "documented"),
    "price-not-of-type": Rule(
        INVALID, "{type} orders must not have {name}",
        "Leave {name} out, or choose the type that takes it.", "documented"),
    "trail-missing": Rule(
        INVALID, "trailing stop orders must specify one of trail_price or trail_percent",
        "Give either trail_price (dollars) or trail_percent, not both.", "documented"),
    "trail-percent-minimum": Rule(
        INVALID, "trail_percent must be greater than or equal to 0.1",
        "trail_percent = {value} must be at least 0.1 (percent).", "recorded"),
    "trailing-needs-simple": Rule(
        REFUSED, "trailing stop orders are only supported as simple orders",
        "A trailing stop is a single order: it cannot be part of a {order_class}.", "ours"),
    # --- Classes
    "legs-need-class": Rule(
        INVALID, "simple orders must not have take_profit or stop_loss",
        "take_profit and stop_loss need order_class 'bracket' (both), 'oto' (one) or 'oco' (an exit).", "ours"),
    "take-profit-missing": Rule(
        INVALID, "{order_class} orders require take_profit.limit_price",
        "A {order_class} order needs take_profit with its limit_price; with a stop alone use 'oto'.", "recorded"),
    "stop-loss-missing": Rule(
        INVALID, "{order_class} orders require stop_loss.stop_price",
        "A {order_class} order needs stop_loss with its stop_price.", "recorded"),
    "oto-one-leg": Rule(
        INVALID, "oto orders require either take_profit or stop_loss",
        "An oto order has exactly one of take_profit and stop_loss; with both use 'bracket'.", "recorded"),
    "oco-needs-limit": Rule(
        INVALID, "oco orders must be limit orders",
        "Give an oco order type 'limit': its first order is the take-profit.", "recorded"),
    "class-time-in-force": Rule(
        INVALID, '{order_class} orders support only "day" or "gtc" time_in_force',
        "A {order_class} order takes time_in_force 'day' or 'gtc', not '{tif}'.", "recorded"),
    "class-extended-hours": Rule(
        FORBIDDEN, "{order_class} orders do not support extended hours trading",
        "Leave extended_hours out of a {order_class} order.", "recorded"),
    "legs-crossed": Rule(
        REFUSED, "take_profit.limit_price must be {sign} stop_loss.stop_price",
        "The take-profit at {take_profit} must lie {word} the stop-loss at {stop_loss}.", "recorded"),
    "bracket-wrong-side": Rule(
        REFUSED, "{name} must be {sign} base_price {step}",
        "{name} = {price} must lie at least $0.01 {word} the {base} of {base_price}.", "recorded"),
    "bracket-not-entry": Rule(
        REFUSED, "{order_class} orders must be entry orders",
        "A {order_class} order opens or adds to a position; to protect one that is held, send an 'oco' exit.",
        "recorded"),
    "oco-not-exit": Rule(
        REFUSED, "oco orders must be exit orders",
        "An oco order closes a position that is held; to enter with both legs, send a 'bracket'.", "recorded"),
    # --- Times
    "time-in-force-type": Rule(
        INVALID, "invalid time_in_force",
        "time_in_force '{tif}' does not go with a {type} order, which takes {valid}.", "ours"),
    "extended-hours-type": Rule(
        REFUSED, "extended hours order must be {valid} limit orders",
        "Outside the regular session only limit orders trade, with time_in_force {words}.", "recorded"),
    "opg-window": Rule(
        FORBIDDEN, "opg orders must be submitted after 7:00pm and before 9:28am",
        "Orders for the opening auction are taken from 19:00 to 09:28 New York time; it is {time}.", "recorded"),
    "cls-window": Rule(
        FORBIDDEN, "cls orders must be submitted after 7:00pm and before 3:50pm",
        "Orders for the closing auction are taken from 19:00 to 15:50 New York time; it is {time}.", "ours"),
    # --- The asset, the market, the position
    "not-tradable": Rule(
        REFUSED, 'asset "{symbol}" is not tradable', "Alpaca does not trade {symbol}; pick another symbol.",
        "recorded"),
    "not-fractionable": Rule(
        FORBIDDEN, "requested asset is not fractionable",
        "{symbol} trades in whole shares only: round the quantity down.", "documented"),
    "fractional-short": Rule(
        REFUSED, "fractional orders cannot be sold short",
        "A short sale takes whole shares only: round the quantity down.", "documented"),
    "not-shortable": Rule(
        REFUSED, 'asset "{symbol}" cannot be sold short',
        "{symbol} cannot be borrowed at Alpaca now, so it cannot be sold short.", "recorded"),
    "hard-to-borrow": Rule(
        REFUSED, 'only day orders are allowed for hard-to-borrow asset "{symbol}"',
        "{symbol} is hard to borrow: it cannot be sold short here, least of all with time_in_force '{tif}'.",
        "recorded"),
    "stop-wrong-side": Rule(
        REFUSED, "stop price must be {word} than current price",
        "A {side} stop at {stop} must lie {where} the last price of {price}.", "recorded"),
    "position-intent-mismatch": Rule(
        REFUSED, "position intent mismatch, inferred: {inferred}, specified: {specified}",
        "With the position held this order is {inferred}, not {specified}; look at the position again.", "documented"),
    # --- Replacing
    "replace-state": Rule(
        REFUSED, "cannot replace order in {status} status",
        "Wait until the order is new, or cancel it and send another.", "documented"),
    "replace-replaced": Rule(
        REFUSED, "order already replaced", "Replace the order that took its place.", "documented"),
    "replace-done": Rule(
        REFUSED, "unable to replace order, order is not open",
        "The order is {status} and cannot be changed any more.", "recorded"),
    "replace-notional": Rule(
        REFUSED, "notional orders cannot be replaced",
        "Cancel an order for a dollar amount and send another; give qty for one that can be changed.", "ours"),
    "replace-quantity-whole": Rule(
        INVALID, "qty must be integer", "qty = {value!r} must be whole: only whole shares can be replaced.",
        "recorded"),
    "replace-quantity-fractional": Rule(
        REFUSED, "qty cannot be changed for fractional orders",
        "Cancel the fractional order and send another with the new quantity.", "ours"),
    "replace-quantity-advanced": Rule(
        REFUSED, "qty cannot be changed for advanced orders",
        "The quantity of a {order_class} order stands; cancel the group and send another.", "recorded"),
    "replace-quantity-filled": Rule(
        REFUSED, "qty must be > filled_qty",
        "qty = {value} must exceed the {filled} shares that are filled; to stop here, cancel.", "documented"),
    "replace-unchanged": Rule(
        REFUSED, "order parameters are not changed",
        "Give at least one value that differs from the order's.", "documented"),
}
"""Every refusal that needs no account, by name."""
