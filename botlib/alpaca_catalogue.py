"""What Alpaca answers when it refuses an order: one entry a rule, by name.

HTTP status and numeric code are Alpaca's stable contract; it says that message strings can change. ``wording`` tells
how well each message is known:

- ``documented``: in Alpaca's documentation ("Placing Orders", "Fractional Trading", "Options Trading Overview: error
  responses", "How to fix common trading API errors") or in its OpenAPI document.
- ``recorded``: a body that a real account received, published by its owner.
- ``ours``: the refusal is documented, its words are not; ours are close to how Alpaca speaks.

``{name}`` in a message or in an advice is filled in by `botlib.alpaca_refusals.refuse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    general: str = ""
    """The advice where a value of ``advice`` is not known, as when only Alpaca's words are; "" when it needs none."""


RULES: dict[str, Rule] = {
    # --- The body
    "body-format": Rule(
        MALFORMED, "request body format is invalid",
        "{what}; give plain numbers (no NaN, no infinity), names as texts, and True or False.", "recorded",
        "A value of the order has the wrong type: give plain numbers (no NaN, no infinity), texts, True or False."),
    "advanced-instructions": Rule(
        FORBIDDEN, "account not allowed to use advanced_instructions",
        "Leave advanced_instructions out: smart routing needs an arrangement with Alpaca.", "recorded"),
    # --- Words
    "symbol-missing": Rule(INVALID, "symbol is required", "Name the symbol of a US stock, e.g. 'SPY'.", "ours"),
    "unknown-symbol": Rule(
        REFUSED, 'asset "{symbol}" not found',
        "'{symbol}' is not the symbol of a US stock that trades here; Alpaca writes them in capitals, a share class "
        "with a dot: 'SPY', 'BRK.B'.",
        "recorded"),
    "invalid-side": Rule(INVALID, "invalid side", "side = {value!r} must be 'buy' or 'sell'.", "recorded",
                         "side must be 'buy' or 'sell'."),
    "invalid-type": Rule(
        INVALID, "invalid order type",
        "type = {value!r} must be market, limit, stop, stop_limit or trailing_stop{hint}", "documented",
        "type must be market, limit, stop, stop_limit or trailing_stop."),
    "invalid-time-in-force": Rule(
        INVALID, "invalid time_in_force",
        "time_in_force = {value!r} must be day, gtc, opg, cls, ioc or fok{hint}", "documented",
        "time_in_force must be day, gtc, opg, cls, ioc or fok, and stops and trailing stops take day and gtc only."),
    "invalid-order-class": Rule(
        INVALID, "invalid order class",
        "order_class = {value!r} must be simple, bracket, oco or oto (mleg is for options only){hint}", "ours",
        "order_class must be simple, bracket, oco or oto (mleg is for options only)."),
    "invalid-position-intent": Rule(
        INVALID, "invalid position_intent",
        "position_intent = {value!r} must be buy_to_open, buy_to_close, sell_to_open or sell_to_close{hint}", "ours",
        "position_intent must be buy_to_open, buy_to_close, sell_to_open or sell_to_close."),
    "client-order-id-length": Rule(
        INVALID, "client_order_id must be no more than 128 characters",
        "client_order_id has {length} characters, and 128 are the most: shorten it.", "recorded",
        "client_order_id has more than 128 characters: shorten it."),
    # --- Size
    "quantity-missing": Rule(
        INVALID, "qty or notional is required", "Give qty (shares) or notional (dollars).", "documented"),
    "quantity-and-notional": Rule(
        INVALID, "only one of qty or notional is accepted", "Give qty or notional, not both.", "recorded"),
    "quantity-positive": Rule(
        INVALID, "qty must be > 0", "qty = {value!r} must be a number of shares above 0.", "recorded",
        "qty must be a number of shares above 0."),
    "quantity-precision": Rule(
        REFUSED, "qty must be limited to 9 decimal places",
        "qty = {value!r} has more than 9 decimals, which Alpaca would cut off without a word; round it down first.",
        "ours", "qty has more than 9 decimals: round it down first."),
    "notional-positive": Rule(
        INVALID, "notional must be > 0", "notional = {value!r} must be an amount of dollars above 0.",
        "ours", "notional must be an amount of dollars above 0."),
    "notional-precision": Rule(
        REFUSED, "notional must be limited to 9 decimal places",
        "notional = {value!r} has more than 9 decimals; round it to cents.", "ours",
        "notional has more than 9 decimals; round it to cents."),
    "notional-minimum": Rule(
        REFUSED, "notional amount must be >= 1.00",
        "notional = ${value} is below Alpaca's minimum of $1.00: give more.", "recorded",
        "Alpaca's least amount is $1.00: give more."),
    "cost-minimum": Rule(
        FORBIDDEN, "cost basis must be >= minimal amount of order 1",
        "{qty} shares at about ${price} cost less than Alpaca's minimum of $1; buy more.", "recorded",
        "The shares cost less than Alpaca's minimum of $1; buy more."),
    "fractional-needs-day": Rule(
        REFUSED, "fractional orders must be DAY orders",
        "A fraction of a share, or a dollar amount, takes time_in_force 'day' only; use whole shares for '{tif}'.",
        "documented", "A fraction of a share, or a dollar amount, takes time_in_force 'day' only; use whole shares."),
    "fractional-needs-simple": Rule(
        REFUSED, "fractional orders must be simple orders",
        "A {order_class} order takes whole shares only: round the quantity down, or send a simple order.", "recorded",
        "Orders with legs take whole shares only: round the quantity down, or send a simple order."),
    "fractional-type": Rule(
        REFUSED, "fractional orders must be market, limit, stop or stop_limit orders",
        "A {type} order takes whole shares only: round the quantity down.", "ours",
        "This type of order takes whole shares only: round the quantity down."),
    "notional-needs-market": Rule(
        REFUSED, "notional orders must be market orders",
        "A dollar amount takes a market order; give qty (shares) for a {type} order.", "ours",
        "A dollar amount takes a market order; give qty (shares) for other types."),
    # --- Prices by type
    "price-positive": Rule(
        INVALID, "{words} must be > 0", "{name} = {value!r} must be {measure} above 0.", "recorded",
        "Prices must be above 0; leave out those that the order does not need."),
    "sub-penny-price": Rule(
        REFUSED, "invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria",
        "{name} = {price} is finer than the tick: at most {decimals} decimals {where}; round it first.", "documented",
        "A price may have 2 decimals at or above $1 and 4 below: round it first."),
    "limit-price-missing": Rule(
        INVALID, "limit orders require a limit price",
        "A limit order needs limit_price, the worst price that it may fill at.", "documented"),
    "stop-price-missing": Rule(INVALID, "stop orders require a stop price",
        "A stop order needs stop_price, the price that sets it off.", "documented"),
    "stop-limit-prices-missing": Rule(
        INVALID, "stop limit orders require both stop and limit price",
        "A stop-limit order needs stop_price, which sets it off, and limit_price, the worst price it may then fill at.",
        "documented"),
    "market-takes-no-price": Rule(
        INVALID, "market orders require no stop or limit price",
        "A market order takes no {name}: leave it out, or give the type that does (limit, stop, stop_limit).",
        "documented", "A market order takes no price: leave it out, or give the type that does."),
    "price-not-of-type": Rule(
        INVALID, "{type} orders must not have {name}",
        "A {type} order takes no {name}: leave it out, or give the type that does.", "documented"),
    "trail-missing": Rule(
        INVALID, "trailing stop orders must specify one of trail_price or trail_percent",
        "Give either trail_price (dollars) or trail_percent, not both.", "documented"),
    "trail-percent-minimum": Rule(
        INVALID, "trail_percent must be greater than or equal to 0.1",
        "trail_percent = {value} must be at least 0.1 (percent).", "recorded",
        "trail_percent must be at least 0.1 (percent)."),
    "trailing-needs-simple": Rule(
        REFUSED, "trailing stop orders are only supported as simple orders",
        "A trailing stop is a single order and no part of a {order_class}: send it when the entry has filled.", "ours",
        "A trailing stop is a single order and no part of another: send it when the entry has filled."),
    # --- Classes
    "legs-need-class": Rule(
        INVALID, "simple orders must not have take_profit or stop_loss",
        "take_profit and stop_loss need order_class 'bracket' (both), 'oto' (one) or 'oco' (an exit).", "ours"),
    "take-profit-missing": Rule(
        INVALID, "{order_class} orders require take_profit.limit_price",
        "A {order_class} order needs take_profit, a limit price; with a stop-loss alone use 'oto' to enter, and a "
        "simple stop order to protect what is held.", "recorded"),
    "stop-loss-missing": Rule(
        INVALID, "{order_class} orders require stop_loss.stop_price",
        "A {order_class} order needs stop_loss, a stop price.", "recorded"),
    "oto-one-leg": Rule(
        INVALID, "oto orders require either take_profit or stop_loss",
        "An oto order has exactly one of take_profit and stop_loss; with both use 'bracket'.", "recorded"),
    "oco-needs-limit": Rule(
        INVALID, "oco orders must be limit orders",
        "Give an oco order type 'limit': its first order is the take-profit.", "recorded"),
    "class-time-in-force": Rule(
        INVALID, '{order_class} orders support only "day" or "gtc" time_in_force',
        "A {order_class} order takes time_in_force 'day' or 'gtc', not '{tif}'.", "recorded",
        "Orders with legs take time_in_force 'day' or 'gtc'."),
    "class-extended-hours": Rule(
        FORBIDDEN, "{order_class} orders do not support extended hours trading",
        "Leave extended_hours out of a {order_class} order.", "recorded"),
    "legs-crossed": Rule(
        REFUSED, "take_profit.limit_price must be {sign} stop_loss.stop_price",
        "The take-profit at {take_profit} must lie {word} the stop-loss at {stop_loss}.", "recorded",
        "The take-profit must lie above the stop-loss for shares that are bought, below it for a short sale."),
    "bracket-wrong-side": Rule(
        REFUSED, "{name} must be {sign} base_price {step}",
        "{name} = {price} must lie at least $0.01 {word} the {base}.", "recorded",
        "For shares that are bought the take-profit must lie at least $0.01 above the entry's price and the stop-loss "
        "below it and below the last price; for a short sale the other way round."),
    "bracket-not-entry": Rule(
        REFUSED, "{order_class} orders must be entry orders",
        "A {order_class} order opens or adds to a position, and this side would close one; to protect what is held, "
        "send an 'oco' exit.",
        "recorded"),
    "oco-not-exit": Rule(
        REFUSED, "oco orders must be exit orders",
        "An oco order closes a position: its side is 'sell' for shares held, 'buy' for a short; to enter with both "
        "legs, send a 'bracket'.", "recorded"),
    # --- Times
    "time-in-force-type": Rule(
        INVALID, "invalid time_in_force",
        "time_in_force '{tif}' does not go with a {type} order, which takes {valid}.", "ours",
        "This type of order takes time_in_force day and gtc only."),
    "extended-hours-type": Rule(
        REFUSED, "extended hours order must be DAY limit orders",
        "Outside the regular session only limit orders with time_in_force 'day' trade: change the order, or leave "
        "extended_hours out.", "recorded"),
    "opg-window": Rule(
        FORBIDDEN, "opg orders must be submitted after 7:00pm and before 9:28am",
        "Orders for the opening auction are taken from 19:00 to 09:28 New York time; it is {time}.", "recorded",
        "Orders for the opening auction are taken from 19:00 to 09:28 New York time: send it then, or as a day order."),
    "cls-window": Rule(
        FORBIDDEN, "cls orders must be submitted after 7:00pm and before 3:50pm",
        "Orders for the closing auction are taken from 19:00 to 15:50 New York time; it is {time}.", "ours",
        "Orders for the closing auction are taken from 19:00 to 15:50 New York time: send it then, or as a day order."),
    # --- The asset, the market, the position
    "not-tradable": Rule(
        REFUSED, 'asset "{symbol}" is not tradable', "Alpaca does not trade {symbol}; pick another symbol.",
        "recorded"),
    "not-fractionable": Rule(
        FORBIDDEN, "requested asset is not fractionable",
        "{symbol} trades in whole shares only: round the quantity down.", "documented",
        "This asset trades in whole shares only: round the quantity down."),
    "fractional-short": Rule(
        REFUSED, "fractional orders cannot be sold short",
        "A short sale takes whole shares only: round the quantity down.", "documented"),
    "not-shortable": Rule(
        REFUSED, 'asset "{symbol}" cannot be sold short',
        "{symbol} cannot be borrowed at Alpaca now, so it cannot be sold short.", "recorded"),
    "hard-to-borrow": Rule(
        REFUSED, 'only day orders are allowed for hard-to-borrow asset "{symbol}"',
        "{symbol} is hard to borrow, and only what is easy to borrow can be sold short at Alpaca: pick another symbol.",
        "recorded"),
    "stop-wrong-side": Rule(
        REFUSED, "stop price must be {word} than current price",
        "The stop of a {side} must be {where} {market_price}, the price in the market, and {stop_price} is not; to "
        "{side} {other} the market send a limit order.", "recorded",
        "The stop of a buy must be above the market, that of a sell below it; on the other side send a limit order."),
    "position-intent-mismatch": Rule(
        REFUSED, "position intent mismatch, inferred: {inferred}, specified: {specified}",
        "With the position held this order is {inferred}, not {specified}; look at the position again.", "documented"),
    # --- Replacing
    "replace-state": Rule(
        REFUSED, "cannot replace order in {status} status",
        "An order that is {status} cannot be replaced: wait until it is new (an accepted one when the market opens), "
        "or cancel it and send another.", "documented"),
    "replace-replaced": Rule(
        REFUSED, "order already replaced",
        "Replace the order that took its place: get_order(…).replaced_by names it.", "documented"),
    "replace-done": Rule(
        REFUSED, "unable to replace order, order is not open",
        "The order is {status} and cannot be changed any more; send a new one.", "recorded",
        "The order has ended (filled, canceled or expired) and cannot be changed any more; send a new one."),
    "replace-notional": Rule(
        REFUSED, "notional orders cannot be replaced",
        "Cancel an order for a dollar amount and send another; give qty for one that can be changed.", "ours"),
    "replace-quantity-whole": Rule(
        INVALID, "qty must be integer", "qty = {value!r} must be whole: only whole shares can be replaced.",
        "recorded", "qty must be whole: only whole shares can be replaced."),
    "replace-quantity-fractional": Rule(
        REFUSED, "qty cannot be changed for fractional orders",
        "Cancel the fractional order and send another with the new quantity.", "ours"),
    "replace-quantity-advanced": Rule(
        REFUSED, "qty cannot be changed for advanced orders",
        "The quantity of a {order_class} order stands; cancel the group and send another.", "recorded",
        "The quantity of an order with legs stands; cancel the group and send another."),
    "replace-quantity-filled": Rule(
        REFUSED, "qty must be > filled_qty",
        "qty = {value} must exceed the {filled} shares that are filled; to stop here, cancel the order.", "documented",
        "qty must exceed the shares that are filled already; to stop here, cancel the order."),
    "replace-unchanged": Rule(
        REFUSED, "order parameters are not changed",
        "Give at least one value that differs from the order's.", "documented"),
}
"""Every refusal that needs no account, by name."""
