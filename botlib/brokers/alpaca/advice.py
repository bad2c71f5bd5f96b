"""What Alpaca's refusals mean and what to do about them. Pure. Codes are Alpaca's contract, its words can change: the
words only pick the sentence.

Rules of `alpaca_rules` are found by their words and explained from the order and what the answer carries; below stands
what only the account knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botlib.alpaca_rules import MarketFacts, OrderRequest, advise, check, recognised
from botlib.errors import BrokerRefusal

LIKELY = ("Likely causes: not enough buying power, the market's hours (what this order needs them to be), or the "
          "symbol cannot be traded now.")

# (piece of the message, rule, advice); the first that fits.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    ("insufficient buying power", "buying-power",
     "Likely cause: not enough buying power; open buy and short orders reserve it. Ask for less or free some."),
    ("wash trade", "wash-trade",
     "Likely cause: an order of yours on the other side works in this symbol; cancel it first, or use a bracket."),
    ("must be unique", "duplicate-client-order-id",
     "Another order has this client order id already; an order needs one of its own."),
    ("not found for", "order-not-found", "No order has this id on this account."),
    ("order not found", "order-not-found", "No order has this id on this account."),
    ("position does not exist", "no-position", "There is no position in this symbol."),
    ("already in", "order-ended", "The order has ended; nothing is left to change."),
    ("order is open", "opposite-entry", "An entry of yours on the other side works in this symbol; wait until it has "
                                        "ended, or cancel it, so that the position cannot go through zero."),
    ("no price for", "no-price", "Nothing has traded in this symbol yet; wait for its first bar."),
    ("market is closed", "market-closed", "Likely cause: the market's hours; look at clock()."),
    ("market hours", "market-closed", "Likely cause: the market's hours; look at clock()."),
    ("halted", "halted", "Trading in this symbol is halted; wait until it resumes."),
    ("not allowed to short", "shorting-disabled", "The account may not sell short: less than $2,000 of equity, or the "
                                                  "setting no_shorting."),
    ("rejected by user request", "trading-suspended",
     "The account's own setting suspends trading (suspend_trade); switch it off to send orders."),
    ("account is restricted", "account-blocked", "The account is blocked; see get_account_info().blocked."),
    ("blocked", "account-blocked", "The account is blocked; see get_account_info().blocked."),
)
# Of rules that are known by less than the whole of their words.
_PIECES = (("not-tradable", ("not tradable",)), ("not-shortable", ("cannot be sold short",)),
           ("unknown-symbol", ("asset", "not found")), ("bracket-wrong-side", ("base_price",)),
           ("stop-wrong-side", ("than current price",)), ("sub-penny-price", ("sub-penny",)))
_BY_CODE = {
    40310000: ("forbidden", LIKELY),
    40410000: ("not-found", "Alpaca has nothing under the name or the id that was given."),
    42210000: ("invalid", "A value of the order does not fit the others, the asset or the hour; Alpaca's words say "
                          "which."),
    40010001: ("invalid", "A value of the order is missing or is none that Alpaca knows; its words say which."),
    40110000: ("unauthorized", ""), 42910000: ("rate-limit", "Wait, and send less at once.")}


def explain(refusal: BrokerRefusal, order: OrderRequest | None = None) -> tuple[str, str]:
    """(rule, advice) of a refusal."""
    message = refusal.message.lower()
    if refusal.status == 401:
        return "unauthorized", str(refusal)
    if "insufficient qty" in message:
        return _insufficient(refusal, order)
    for piece, rule, advice in _KNOWN:
        if piece in message:
            return rule, _with_facts(advice, refusal.fields)
    if found := _of_the_matrix(refusal, order):
        return found
    for rule, pieces in _PIECES:
        if all(piece in message for piece in pieces):
            return rule, _with_facts(advise(rule, _named(refusal, order)), refusal.fields)
    rule, advice = _BY_CODE.get(refusal.code or 0, ("refused", LIKELY))
    return rule, _with_facts(advice, refusal.fields)


def _of_the_matrix(refusal: BrokerRefusal, order: OrderRequest | None) -> tuple[str, str] | None:
    """A rule that the pre-flight check knows and had not the facts for, or that was not asked."""
    if order is not None:
        last = _number(refusal.fields.get("base_price", refusal.fields.get("market_price")))
        broken = check(order, market=MarketFacts(is_open=True, minute_of_day_et=0, last_price=last))
        if broken is not None and broken.message.lower() == refusal.message.lower():
            return broken.rule, broken.advice
    found = recognised(refusal.message)
    if found is None:
        return None
    rule, values = found
    said = advise(rule, {**_named(refusal, order), **values})
    return rule, said if any(str(value) in said for value in refusal.fields.values()) else \
        _with_facts(said, refusal.fields)


def _named(refusal: BrokerRefusal, order: OrderRequest | None) -> dict[str, object]:
    """What is known beside the words."""
    asked: dict[str, object] = {} if order is None else {"symbol": order.symbol}
    return {**asked, **refusal.fields}


def _insufficient(refusal: BrokerRefusal, order: OrderRequest | None) -> tuple[str, str]:
    """More than is free: because other orders hold shares, or because there are no more."""
    fields = refusal.fields
    held, elsewhere = _number(fields.get("existing_qty")), _number(fields.get("held_for_orders"))
    said = re.search(r"requested: ([0-9.]+)", refusal.message)
    asked = order.qty if order is not None and order.qty is not None else _number(said[1] if said else None)
    held = None if held is None else abs(held)
    if elsewhere == 0.0 or (held is not None and asked is not None and asked > held):
        have = "fewer shares" if held is None else f"{held:.9g} shares" if held != 1.0 else "1 share"
        most = "close the position first" if held is None else f"ask for {held:.9g} at most"
        advice = (f"The position has only {have}, and an order that closes it may not carry it through zero: {most}; "
                  "the other side is opened by an order of its own.")
        if elsewhere:
            advice += f" Other orders hold {elsewhere:.9g} of them."
        return "quantity-beyond-position", advice
    return "held-for-orders", _with_facts("Likely cause: other orders (a bracket's legs) hold the shares; cancel them "
                                          "and wait until they have ended.", fields)


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _with_facts(advice: str, fields: Mapping[str, Any]) -> str:
    shown = {name: fields[name] for name in ("buying_power", "cost_basis", "available", "held_for_orders", "base_price",
                                             "market_price", "existing_order_id") if name in fields}
    return f"{advice} Alpaca says: {', '.join(f'{k} {v}' for k, v in shown.items())}." if shown else advice


def described(order: OrderRequest) -> str:
    """"buy 10 AAPL limit 170.0" for a message; takes any values."""
    size = f"${order.notional} of" if order.qty is None and order.notional is not None else f"{order.qty}"
    kind = "" if order.order_class == "simple" else f" {order.order_class}"
    price = order.limit_price if order.limit_price is not None else order.stop_price
    return f"{order.side} {size} {order.symbol}{kind} {order.type}{'' if price is None else f' {price}'}"
