"""What Alpaca's refusals mean and what to do about them. Pure. Codes are Alpaca's contract, its words can change: the
words only pick the sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botlib.alpaca_rules import RULES, OrderRequest
from botlib.errors import BrokerRefusal

LIKELY = ("Likely causes: not enough buying power, the market's hours (what this order needs them to be), or the "
          "symbol cannot be traded now.")

# (piece of the message, rule, advice); the first that fits.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    ("insufficient buying power", "buying-power",
     "Likely cause: not enough buying power; open buy and short orders reserve it. Ask for less or free some."),
    ("insufficient qty", "held-for-orders",
     "Likely cause: other orders (a bracket's legs) hold the shares; cancel them and wait until they have ended."),
    ("wash trade", "wash-trade",
     "Likely cause: an order of yours on the other side works in this symbol; cancel it first, or use a bracket."),
    ("must be unique", "duplicate-client-order-id",
     "An order with this client order id exists already and differs from this one."),
    ("not found for", "order-not-found", "No order has this id on this account."),
    ("order not found", "order-not-found", "No order has this id on this account."),
    ("position does not exist", "no-position", "There is no position in this symbol."),
    ("already in", "order-ended", "The order has ended; nothing is left to change."),
    ("market is closed", "market-closed", "Likely cause: the market's hours; look at clock()."),
    ("market hours", "market-closed", "Likely cause: the market's hours; look at clock()."),
    ("halted", "halted", "Trading in this symbol is halted; wait until it resumes."),
    ("not allowed to short", "shorting-disabled", "The account may not sell short: less than $2,000 of equity, or the "
                                                  "setting no_shorting."),
    ("account is restricted", "account-blocked", "The account is blocked; see get_account_info().blocked."),
    ("trading is blocked", "account-blocked", "The account is blocked; see get_account_info().blocked."),
    ("account_blocked", "account-blocked", "The account is blocked; see get_account_info().blocked."),
    ("blocked", "account-blocked", "The account is blocked; see get_account_info().blocked."),
)
_BY_CODE = {40310000: "forbidden", 40410000: "not-found", 42210000: "invalid", 40010001: "invalid",
            40110000: "unauthorized", 42910000: "rate-limit"}


def explain(refusal: BrokerRefusal, order: OrderRequest | None = None) -> tuple[str, str]:
    """(rule, advice) of a refusal."""
    message = refusal.message.lower()
    if refusal.status == 401:
        return "unauthorized", str(refusal)
    for piece, rule, advice in _KNOWN:
        if piece in message:
            return rule, _with_facts(advice, refusal.fields)
    for name, known in RULES.items():  # one of the matrix that needed facts the pre-flight check did not have
        if "{" not in known.message and known.message.lower() in message:
            return name, LIKELY if "{" in known.advice else known.advice
    for name, pieces in (("not-tradable", ("not tradable",)), ("not-shortable", ("cannot be sold short",)),
                         ("unknown-symbol", ("asset", "not found")), ("bracket-wrong-side", ("base_price",)),
                         ("stop-wrong-side", ("than current price",)), ("sub-penny-price", ("sub-penny",))):
        if all(piece in message for piece in pieces):
            return name, _with_facts(LIKELY, refusal.fields)
    return _BY_CODE.get(refusal.code or 0, "refused"), _with_facts(LIKELY, refusal.fields)


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
