"""Alpaca's order matrix for US equities, one function a rule: what a new order may be without asking the account.

`check` walks them in order and returns the first one that is broken. See `botlib.alpaca_rules` for the sources and for
what is done where they disagree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from botlib import rules
from botlib.alpaca_refusals import Violation, refuse
from botlib.order_request import OrderRequest, check_words, decimals, plain, positive

MAX_CLIENT_ORDER_ID = 128
LEG_STEP = 0.01
"""A leg keeps this distance, in dollars, from its base price, also below $1."""

TAKES: dict[str, tuple[str, ...]] = {
    "market": (), "limit": ("limit_price",), "stop": ("stop_price",), "stop_limit": ("limit_price", "stop_price"),
    "trailing_stop": ("trail_price", "trail_percent")}
"""The price fields that a type takes."""

_PRICES = ("limit_price", "stop_price", "trail_price", "trail_percent")
_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}([.-][A-Z0-9]{1,4})?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_OPG_FROM, _OPG_UNTIL = 19 * 60, 9 * 60 + 28
_CLS_FROM, _CLS_UNTIL = 19 * 60, 15 * 60 + 50


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What Alpaca says of an asset."""

    tradable: bool = True
    fractionable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    marginable: bool = True


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """What the moment says: sessions, the clock in New York and the last price (None: unknown)."""

    is_open: bool
    minute_of_day_et: int
    """Minutes since midnight in New York, for the auctions' windows."""
    extended_open: bool = False
    last_price: float | None = None
    """The base of stops and legs; Alpaca takes the quote's far side, here there is one price."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One order and what is known around it."""

    order: OrderRequest
    asset: AssetFacts | None
    market: MarketFacts | None
    extended_gtc: bool

    @property
    def last(self) -> float | None:
        price = None if self.market is None else self.market.last_price
        return price if positive(price) else None


def check(request: OrderRequest, *, asset: AssetFacts | None = None, market: MarketFacts | None = None,
          extended_gtc: bool = False) -> Violation | None:
    """The first rule that a new order breaks, or None.

    Parameters
    ----------
    asset, market
        None skips the rules that need them; so does an unknown last price. An unknown symbol is `unknown_symbol`.
    extended_gtc
        Whether gtc orders may trade outside the regular session; the sources disagree.
    """
    case = _Case(request, asset, market, extended_gtc)
    for rule in _MATRIX:
        if broken := rule(case):
            return broken
    return None


# --- Words and size ---------------------------------------------------------------------------------------------------


def _words(case: _Case) -> Violation | None:
    order = case.order
    if not order.symbol:
        return refuse("symbol-missing")
    if not (isinstance(order.symbol, str) and _STOCK.fullmatch(order.symbol)):
        return unknown_symbol(order.symbol)
    if broken := check_words({name: getattr(order, name) for name in
                              ("side", "type", "time_in_force", "order_class", "position_intent")}):
        return broken
    return check_client_id(order.client_order_id)


def check_client_id(name: str | None) -> Violation | None:
    """Its length; that it is new in the account, the exchange knows."""
    if name is not None and len(str(name)) > MAX_CLIENT_ORDER_ID:
        return refuse("client-order-id-length", length=len(str(name)))
    return None


def _size(case: _Case) -> Violation | None:
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


def _numbers(case: _Case) -> Violation | None:
    names = {"take_profit": "take_profit.limit_price", "stop_loss": "stop_loss.stop_price",
             "stop_loss_limit": "stop_loss.limit_price"}
    for field in (*_PRICES, *names):
        value = getattr(case.order, field)
        if value is not None and not positive(value):
            name = names.get(field, field)
            words = name if "." in name else name.replace("_", " ")
            return refuse("price-positive", words=words, name=name, value=value)
    return None


def _type_prices(case: _Case) -> Violation | None:
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


def _trailing(case: _Case) -> Violation | None:
    order = case.order
    if order.type == "trailing_stop":
        if order.trail_percent is not None and order.trail_percent < 0.1:
            return refuse("trail-percent-minimum", value=plain(order.trail_percent))
        if order.order_class != "simple":
            return refuse("trailing-needs-simple", order_class=order.order_class)
    return None


def _ticks(case: _Case) -> Violation | None:
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


def _fractions(case: _Case) -> Violation | None:
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


def _cost(case: _Case) -> Violation | None:
    """A fractional buy costs $1 at least; a rest that is sold may be worth less."""
    order, price = case.order, case.order.limit_price or case.last
    if order.side == "buy" and order.qty is not None and is_fractional(order) and price and order.qty * price < 1.0:
        return refuse("cost-minimum", qty=plain(order.qty), price=plain(price))
    return None


# --- Classes and their legs -------------------------------------------------------------------------------------------


def exit_side(request: OrderRequest) -> str:
    """The side of the legs: opposite to the entry; an OCO is itself the exit."""
    if request.order_class == "oco":
        return request.side
    return "sell" if request.side == "buy" else "buy"


def _class_shape(case: _Case) -> Violation | None:
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


def _class_limits(case: _Case) -> Violation | None:
    order = case.order
    if order.order_class != "simple":
        if order.time_in_force not in ("day", "gtc"):
            return refuse("class-time-in-force", order_class=order.order_class, tif=order.time_in_force)
        if order.extended_hours:
            return refuse("class-extended-hours", order_class=order.order_class)
    return None


def _leg_sides(case: _Case) -> Violation | None:
    """"Threshold on stop price of stop-loss orders": the base is the entry's (an OCO's take-profit's) limit price, and
    for the stop the last price too. The take-profit keeps the same distance from the entry's base (reported)."""
    order = case.order
    if order.order_class == "simple":
        return None
    up = 1.0 if exit_side(order) == "sell" else -1.0
    profit, loss = order.take_profit, order.stop_loss
    if profit is not None and loss is not None and not up * (profit - loss) > 0.0:
        sign, word = (">", "above") if up > 0.0 else ("<", "below")
        return refuse("legs-crossed", sign=sign, word=word, take_profit=plain(profit), stop_loss=plain(loss))
    limit = profit if order.order_class == "oco" else order.limit_price if order.type == "limit" else None
    name = "take-profit's limit price" if order.order_class == "oco" else "entry's limit price"
    bases = [(name, limit), ("last price", case.last)]
    known = [(base, price) for base, price in bases if price is not None]
    if profit is not None and order.order_class != "oco":
        for base, price in known[:1]:
            if up * (profit - price) < LEG_STEP - 1e-9:
                return _leg_refusal("take_profit.limit_price", profit, up, base, price)
    if loss is not None:
        for base, price in known:
            if up * (price - loss) < LEG_STEP - 1e-9:
                return _leg_refusal("stop_loss.stop_price", loss, -up, base, price)
    return None


def _leg_refusal(name: str, price: float, up: float, base: str, base_price: float) -> Violation:
    sign, step, word = (">=", "+ 0.01", "above") if up > 0.0 else ("<=", "- 0.01", "below")
    return refuse("bracket-wrong-side", {"base_price": plain(base_price)}, name=name, price=plain(price), sign=sign,
                  step=step, word=word, base=base, base_price=plain(base_price))


# --- Times ------------------------------------------------------------------------------------------------------------


def _time_in_force(case: _Case) -> Violation | None:
    """"Order Types vs Supported Time in Force": opg, cls, ioc and fok go with market and limit orders only."""
    order = case.order
    if order.time_in_force not in ("day", "gtc") and order.type not in ("market", "limit"):
        return refuse("time-in-force-type", tif=order.time_in_force, type=order.type, valid="day and gtc")
    return None


def _extended_hours(case: _Case) -> Violation | None:
    order = case.order
    valid = ["day", "gtc"] if case.extended_gtc else ["day"]
    if order.extended_hours and not (order.type == "limit" and order.time_in_force in valid):
        return refuse("extended-hours-type", valid=" or ".join(map(str.upper, valid)), words=" or ".join(valid))
    return None


def _windows(case: _Case) -> Violation | None:
    if case.market is None:
        return None
    minute = case.market.minute_of_day_et
    time = f"{minute // 60:02d}:{minute % 60:02d}"
    if case.order.time_in_force == "opg" and _OPG_UNTIL <= minute < _OPG_FROM:
        return refuse("opg-window", time=time)
    if case.order.time_in_force == "cls" and _CLS_UNTIL <= minute < _CLS_FROM:
        return refuse("cls-window", time=time)
    return None


# --- Asset, market, position ------------------------------------------------------------------------------------------


def unknown_symbol(symbol: str) -> Violation:
    """The refusal of a symbol that Alpaca, or this exchange, does not know."""
    return refuse("unknown-symbol", symbol=symbol)


def _asset(case: _Case) -> Violation | None:
    order, asset = case.order, case.asset
    if asset is not None:
        if not asset.tradable:
            return refuse("not-tradable", symbol=order.symbol)
        if is_fractional(order) and not asset.fractionable:
            return refuse("not-fractionable", symbol=order.symbol)
    return check_short(order, asset) if order.position_intent == "sell_to_open" else None


def check_short(order: OrderRequest, asset: AssetFacts | None) -> Violation | None:
    """What a sale that opens a short position breaks ("Margin and Short Selling": easy to borrow, whole shares)."""
    if is_fractional(order):
        return refuse("fractional-short")
    if asset is not None:
        if not asset.shortable:
            return refuse("not-shortable", symbol=order.symbol)
        if not asset.easy_to_borrow:
            rule = "not-shortable" if order.time_in_force == "day" else "hard-to-borrow"
            return refuse(rule, symbol=order.symbol, tif=order.time_in_force)
    return None


def _stop_side(case: _Case) -> Violation | None:
    order = case.order
    if order.type not in ("stop", "stop_limit") or order.stop_price is None or case.last is None:
        return None
    if order.stop_price < case.last if order.side == "sell" else order.stop_price > case.last:
        return None
    word, where = ("less", "below") if order.side == "sell" else ("greater", "above")
    price, stop = plain(case.last), plain(order.stop_price)
    return refuse("stop-wrong-side", {"market_price": price, "stop_price": stop}, word=word, where=where,
                  side=order.side, price=price, stop=stop)


_MATRIX: tuple[Callable[[_Case], Violation | None], ...] = (
    _words, _size, _numbers, _type_prices, _class_shape, _trailing, _fractions, _class_limits, _time_in_force,
    _extended_hours, _windows, _ticks, _asset, _leg_sides, _stop_side, _cost)
