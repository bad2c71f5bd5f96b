"""Alpaca's order rules for US equities: type × class × time in force × session × fraction × tick × side of legs.

Pure. The broker asks before the network does, the local exchange answers with it. `check` says what needs no account;
`check_position` what needs the position held; `check_replace` is the matrix of PATCH. What needs the rest of the
account (buying power, held quantities, wash trades, duplicate ids) is the exchange's. The first rule that is broken is
the answer; names, codes and words are in `RULES`.

Sources: Alpaca's documentation, pages "Placing Orders" (types, classes, thresholds of leg prices, sub-penny
increments, "Order Types vs Supported Time in Force"), "Fractional Trading", "Margin and Short Selling" and "Options
Trading Overview" (errors of replace); the OpenAPI document of the Trading API 2.0.1 (CreateOrderRequest,
PatchOrderRequest, TimeInForce); bodies recorded on paper accounts.

Where sources disagree, the stricter reading holds: a dollar amount takes a market order (OpenAPI; a page also allows
limit orders), an order for the closing auction goes in before 15:50 (page; a recorded message says 15:55), and
extended hours take day orders unless ``extended_gtc`` (the OpenAPI document allows gtc, the page does not). A quantity
of more than 9 decimals is refused here; a paper account was seen to cut it off silently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from botlib import rules
from botlib.alpaca_case import AssetFacts, MarketFacts
from botlib.alpaca_catalogue import RULES, Rule
from botlib.alpaca_form import TAKES, check_client_id, exit_side, is_fractional, not_positive, unknown_symbol
from botlib.alpaca_matrix import check, check_short
from botlib.alpaca_refusals import Violation, advise, recognised, refuse
from botlib.order_request import (
    OrderRequest,
    PositionIntent,
    ReplaceRequest,
    check_words,
    parse,
    parse_replace,
    plain,
    positive,
    render,
    replaced,
)

__all__ = [
    "RULES", "AssetFacts", "MarketFacts", "OrderFacts", "OrderRequest", "ReplaceRequest", "Rule", "Violation", "advise",
    "check", "check_position", "check_replace", "check_shape", "exit_side", "implied_intent", "is_fractional", "parse",
    "parse_replace", "plain", "recognised", "refuse", "render", "replaced", "stop_cap", "unknown_symbol",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFacts:
    """A working order, as far as a replacement needs it."""

    request: OrderRequest
    """The order as it stands; a leg's own type and prices, with its group's ``order_class``."""
    status: str = "new"
    filled_qty: float = 0.0
    group_role: str = ""
    """"entry", "take_profit", "stop_loss" or none."""


# --- The position -----------------------------------------------------------------------------------------------------


def implied_intent(side: str, position: float) -> PositionIntent:
    """What an order does to ``position`` (signed shares of its symbol); Alpaca fills it in where it is not given."""
    if side == "buy":
        return "buy_to_close" if position < 0.0 else "buy_to_open"
    return "sell_to_close" if position > 0.0 else "sell_to_open"


def check_position(request: OrderRequest, position: float, *, asset: AssetFacts | None = None) -> Violation | None:
    """What an order breaks given the signed shares held: its intent, entry and exit classes, short sales.

    For an order that `check` accepts. A sale that exceeds a long position is the exchange's: insufficient quantity.
    """
    implied = implied_intent(request.side, position)
    if request.position_intent is not None and request.position_intent != implied:
        return refuse("position-intent-mismatch", inferred=implied, specified=request.position_intent)
    opens = implied.endswith("_open")
    if request.order_class in ("bracket", "oto") and not opens:
        return refuse("bracket-not-entry", order_class=request.order_class)
    if request.order_class == "oco" and opens:
        return refuse("oco-not-exit")
    return check_short(request, asset) if implied == "sell_to_open" else None


def stop_cap(request: OrderRequest) -> float:
    """The limit Alpaca adds to a buy stop ("Stop Orders": +4 % under $50, else +2.5 %); 0 where there is none."""
    if request.type != "stop" or request.stop_price is None:
        return 0.0
    return float(rules.stop_cap(rules.BUY if request.side == "buy" else rules.SELL, float(request.stop_price)))


# --- Replacing --------------------------------------------------------------------------------------------------------


def check_replace(order: OrderFacts, changes: ReplaceRequest, *, market: MarketFacts | None = None,
                  extended_gtc: bool = False) -> Violation | None:
    """The first rule that a replacement breaks, or None; `replaced` then gives the new order.

    The new order is checked like any other; a leg on its own, an entry and an OCO with their legs.
    """
    old = order.request
    if broken := (_replace_state(order) or check_shape(changes) or _replace_quantity(order, changes)):
        return broken
    for name in ("limit_price", "stop_price"):  # a price that the type does not take
        if getattr(changes, name) is not None and name not in TAKES[old.type]:
            if old.type == "market":
                return refuse("market-takes-no-price", name=name)
            return refuse("price-not-of-type", type=old.type.replace("_", " "), name=name)
    if changes.trail is not None and old.type != "trailing_stop":
        return refuse("price-not-of-type", type=old.type.replace("_", " "), name="trail")
    new = replaced(old, changes)
    if replace(new, client_order_id=None) == replace(old, client_order_id=None):
        return refuse("replace-unchanged")
    if order.group_role == "stop_loss" or (order.group_role == "take_profit" and old.order_class != "oco"):
        if new.time_in_force not in ("day", "gtc"):
            return refuse("class-time-in-force", order_class=old.order_class, tif=new.time_in_force)
        new = replace(new, order_class="simple", take_profit=None, stop_loss=None, stop_loss_limit=None)
    return check(new, market=market, extended_gtc=extended_gtc)


def _replace_state(order: OrderFacts) -> Violation | None:
    if order.status in ("accepted", "pending_new", "pending_cancel", "pending_replace"):
        return refuse("replace-state", status=order.status)
    if order.status == "replaced":
        return refuse("replace-replaced")
    if order.status in ("filled", "canceled", "expired", "rejected", "done_for_day", "suspended", "stopped"):
        return refuse("replace-done", status=order.status)
    return refuse("replace-notional") if order.request.notional is not None else None


def check_shape(changes: ReplaceRequest) -> Violation | None:
    """What is wrong with a replacement whatever the order."""
    if changes.time_in_force is not None and (broken := check_words({"time_in_force": changes.time_in_force})):
        return broken
    if changes.qty is not None and not positive(changes.qty):
        return refuse("quantity-positive", value=changes.qty)
    for name in ("limit_price", "stop_price", "trail"):
        value = getattr(changes, name)
        if value is not None and not positive(value):
            return not_positive(name, value)
    return check_client_id(changes.client_order_id)


def _replace_quantity(order: OrderFacts, changes: ReplaceRequest) -> Violation | None:
    old = order.request
    if changes.qty is None or changes.qty == old.qty:
        return None
    if is_fractional(old):
        return refuse("replace-quantity-fractional")
    if not float(changes.qty).is_integer():
        return refuse("replace-quantity-whole", value=changes.qty)
    if old.order_class != "simple":
        return refuse("replace-quantity-advanced", order_class=old.order_class)
    if changes.qty <= order.filled_qty:
        return refuse("replace-quantity-filled", value=plain(changes.qty), filled=plain(order.filled_qty))
    return None
