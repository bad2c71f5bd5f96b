"""Alpaca's order matrix for US equities, one function a rule: what a new order may be without asking the account.

`check` walks them in order and returns the first one that is broken. `botlib.alpaca_form` has the rules that need
nothing but the order; here are those about prices, the asset and the hour. See `botlib.alpaca_rules` for the sources
and for what is done where they disagree.
"""

from __future__ import annotations

from collections.abc import Callable

from botlib import alpaca_form as form
from botlib.alpaca_case import AssetFacts, Case, MarketFacts
from botlib.alpaca_refusals import Violation, refuse
from botlib.order_request import OrderRequest, plain

LEG_STEP = 0.01
"""A leg keeps this distance, in dollars, from its base price, also below $1."""

_OPG_FROM, _OPG_UNTIL = 19 * 60, 9 * 60 + 28
_CLS_FROM, _CLS_UNTIL = 19 * 60, 15 * 60 + 50


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
    case = Case(request, asset, market, extended_gtc)
    for rule in _MATRIX:
        if broken := rule(case):
            return broken
    return None


# --- Sides of the legs ------------------------------------------------------------------------------------------------


def _leg_sides(case: Case) -> Violation | None:
    """"Threshold on stop price of stop-loss orders": the base is the entry's (an OCO's take-profit's) limit price, and
    for the stop the last price too. The take-profit keeps the same distance from the entry's base (reported)."""
    order = case.order
    if order.order_class == "simple":
        return None
    up = 1.0 if form.exit_side(order) == "sell" else -1.0
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
                  step=step, word=word, base=f"{base} of {plain(base_price)}")


# --- The hour ---------------------------------------------------------------------------------------------------------


def _windows(case: Case) -> Violation | None:
    if case.market is None:
        return None
    minute = case.market.minute_of_day_et
    time = f"{minute // 60:02d}:{minute % 60:02d}"
    if case.order.time_in_force == "opg" and _OPG_UNTIL <= minute < _OPG_FROM:
        return refuse("opg-window", time=time)
    if case.order.time_in_force == "cls" and _CLS_UNTIL <= minute < _CLS_FROM:
        return refuse("cls-window", time=time)
    return None


# --- Asset and last price ---------------------------------------------------------------------------------------------


def _asset(case: Case) -> Violation | None:
    order, asset = case.order, case.asset
    if asset is not None:
        if not asset.tradable:
            return refuse("not-tradable", symbol=order.symbol)
        if form.is_fractional(order) and not asset.fractionable:
            return refuse("not-fractionable", symbol=order.symbol)
    return check_short(order, asset) if order.position_intent == "sell_to_open" else None


def check_short(order: OrderRequest, asset: AssetFacts | None) -> Violation | None:
    """What a sale that opens a short position breaks ("Margin and Short Selling": easy to borrow, whole shares)."""
    if form.is_fractional(order):
        return refuse("fractional-short")
    if asset is not None:
        if not asset.shortable:
            return refuse("not-shortable", symbol=order.symbol)
        if not asset.easy_to_borrow:
            rule = "not-shortable" if order.time_in_force == "day" else "hard-to-borrow"
            return refuse(rule, symbol=order.symbol, tif=order.time_in_force)
    return None


def _stop_side(case: Case) -> Violation | None:
    order = case.order
    if order.type not in ("stop", "stop_limit") or order.stop_price is None or case.last is None:
        return None
    if order.stop_price < case.last if order.side == "sell" else order.stop_price > case.last:
        return None
    price, stop = plain(case.last), plain(order.stop_price)
    return refuse("stop-wrong-side", {"market_price": price, "stop_price": stop},
                  word="less" if order.side == "sell" else "greater")


def _cost(case: Case) -> Violation | None:
    """A fractional buy costs $1 at least; a rest that is sold may be worth less."""
    order, price = case.order, case.order.limit_price or case.last
    if order.side == "sell" or order.qty is None or not form.is_fractional(order) or not price:
        return None
    return refuse("cost-minimum", qty=plain(order.qty), price=plain(price)) if order.qty * price < 1.0 else None


_MATRIX: tuple[Callable[[Case], Violation | None], ...] = (
    form.words, form.size, form.numbers, form.type_prices, form.class_shape, form.trailing, form.fractions,
    form.class_limits, form.time_in_force, form.extended_hours, _windows, form.ticks, _asset, _leg_sides, _stop_side,
    _cost)
