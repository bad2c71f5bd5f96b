"""Alpaca's order rules, walked one by one.

Expected answers are literals: bodies that Alpaca gave to real paper accounts or prints in its documentation ("Placing
Orders", "Fractional Trading", error pages), and the tables of that documentation. Where only the refusal is documented
and not its words, the words are ours (`Rule.wording`).
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from alpaca.trading import requests as sdk
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from hypothesis import given, settings
from hypothesis import strategies as st

from botlib import alpaca_rules as ar
from botlib.alpaca_rules import AssetFacts, MarketFacts, OrderFacts, OrderRequest, ReplaceRequest, Violation

NOON = 12 * 60


def order(**fields: Any) -> OrderRequest:
    """A market order for 10 SPY, but for what is given; ``qty`` goes where ``notional`` comes."""
    size = {} if "notional" in fields else {"qty": 10.0}
    return OrderRequest(**{"symbol": "SPY", "side": "buy", **size, **fields})


def at(last: float | None = 100.0, minute: int = NOON, is_open: bool = True) -> MarketFacts:
    return MarketFacts(is_open=is_open, minute_of_day_et=minute, extended_open=False, last_price=last)


def bracket(**fields: Any) -> OrderRequest:
    return order(**{"order_class": "bracket", "take_profit": 110.0, "stop_loss": 95.0, **fields})


def oto(**fields: Any) -> OrderRequest:
    return order(**{"order_class": "oto", "stop_loss": 95.0, **fields})


def oco(**fields: Any) -> OrderRequest:
    return order(**{"side": "sell", "type": "limit", "order_class": "oco", "take_profit": 110.0, "stop_loss": 95.0,
                    **fields})


# --- What is refused: rule, order, surroundings, HTTP status and body -------------------------------------------------


INVALID, REFUSED, FORBIDDEN = 40010001, 42210000, 40310000


def says(code: int, message: str, **fields: str) -> tuple[int, dict[str, Any]]:
    return (403 if code == FORBIDDEN else 422), {"code": code, "message": message, **fields}


CHECKED: list[tuple[str, OrderRequest, dict[str, Any], tuple[int, dict[str, Any]]]] = [
    # Words
    ("symbol-missing", order(symbol=""), {}, says(INVALID, "symbol is required")),
    ("unknown-symbol", order(symbol="spy"), {}, says(REFUSED, 'asset "spy" not found')),
    ("unknown-symbol", order(symbol="BTC/USD"), {}, says(REFUSED, 'asset "BTC/USD" not found')),
    ("unknown-symbol", order(symbol="AAPL250620C00100000"), {},
     says(REFUSED, 'asset "AAPL250620C00100000" not found')),
    ("unknown-symbol", order(symbol="SPY\n"), {}, says(REFUSED, 'asset "SPY\n" not found')),
    ("invalid-side", order(side="long"), {}, says(INVALID, "invalid side")),
    ("invalid-type", order(type="stoplimit"), {}, says(INVALID, "invalid order type")),
    ("invalid-time-in-force", order(time_in_force="gtd"), {}, says(INVALID, "invalid time_in_force")),
    ("invalid-order-class", order(order_class="mleg"), {}, says(INVALID, "invalid order class")),
    ("invalid-position-intent", order(position_intent="open"), {}, says(INVALID, "invalid position_intent")),
    ("client-order-id-length", order(client_order_id="x" * 129), {},
     says(INVALID, "client_order_id must be no more than 128 characters")),
    # Size
    ("quantity-missing", order(qty=None), {}, says(INVALID, "qty or notional is required")),
    ("quantity-and-notional", OrderRequest(symbol="SPY", side="buy", qty=1.0, notional=1.0), {},
     says(INVALID, "only one of qty or notional is accepted")),
    *[("quantity-positive", order(qty=qty), {}, says(INVALID, "qty must be > 0"))
      for qty in (0.0, -5.0, math.nan, math.inf, -math.inf, "10", True, 10**400)],
    *[("quantity-precision", order(qty=qty), {}, says(REFUSED, "qty must be limited to 9 decimal places"))
      for qty in (0.123456789012, 0.1 + 0.2, 1e-10)],
    *[("notional-positive", order(notional=notional), {}, says(INVALID, "notional must be > 0"))
      for notional in (0.0, -100.0, math.nan, math.inf)],
    ("notional-precision", order(notional=100.0000000001), {},
     says(REFUSED, "notional must be limited to 9 decimal places")),
    ("notional-minimum", order(notional=0.5), {}, says(REFUSED, "notional amount must be >= 1.00")),
    ("notional-minimum", order(notional=0.99, side="sell"), {}, says(REFUSED, "notional amount must be >= 1.00")),
    # 0.001 of a $310 share is $0.31; 0.003 of a $305 share is $0.92 (both refused on a paper account).
    ("cost-minimum", order(qty=0.001), {"market": at(310.0)},
     says(FORBIDDEN, "cost basis must be >= minimal amount of order 1")),
    ("cost-minimum", order(qty=0.003, type="limit", limit_price=305.0), {},
     says(FORBIDDEN, "cost basis must be >= minimal amount of order 1")),
    # Fractions: each of these was sent to a paper account.
    ("fractional-needs-day", order(qty=1.5, time_in_force="gtc"), {},
     says(REFUSED, "fractional orders must be DAY orders")),
    ("fractional-needs-day", bracket(qty=1.5, time_in_force="gtc"), {},
     says(REFUSED, "fractional orders must be DAY orders")),
    ("fractional-needs-simple", bracket(qty=1.5), {}, says(REFUSED, "fractional orders must be simple orders")),
    ("fractional-needs-simple", bracket(notional=10.0), {}, says(REFUSED, "fractional orders must be simple orders")),
    ("fractional-needs-simple", oto(qty=1.5), {}, says(REFUSED, "fractional orders must be simple orders")),
    ("fractional-type", order(qty=1.5, type="trailing_stop", trail_price=1.0), {},
     says(REFUSED, "fractional orders must be market, limit, stop or stop_limit orders")),
    ("notional-needs-market", order(notional=100.0, type="limit", limit_price=99.0), {},
     says(REFUSED, "notional orders must be market orders")),
    # Prices by type
    *[("price-positive", order(type="limit", limit_price=price), {}, says(INVALID, "limit price must be > 0"))
      for price in (0.0, -1.0, math.nan, math.inf, "99")],
    ("price-positive", order(side="sell", type="stop", stop_price=math.nan), {},
     says(INVALID, "stop price must be > 0")),
    ("price-positive", bracket(stop_loss=-95.0), {}, says(INVALID, "stop_loss.stop_price must be > 0")),
    ("sub-penny-price", order(type="limit", limit_price=290.123), {},
     says(REFUSED, "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria")),
    ("sub-penny-price", order(type="stop", stop_price=290.123), {},
     says(REFUSED, "invalid stop_price 290.123. sub-penny increment does not fulfill minimum pricing criteria")),
    ("sub-penny-price", order(type="limit", limit_price=0.12345), {},
     says(REFUSED, "invalid limit_price 0.12345. sub-penny increment does not fulfill minimum pricing criteria")),
    ("sub-penny-price", bracket(take_profit=746.96416125), {},
     says(REFUSED, "invalid take_profit.limit_price 746.96416125. sub-penny increment does not fulfill minimum pricing "
                   "criteria")),
    ("sub-penny-price", bracket(stop_loss_limit=94.999), {},
     says(REFUSED, "invalid stop_loss.limit_price 94.999. sub-penny increment does not fulfill minimum pricing "
                   "criteria")),
    ("sub-penny-price", order(type="limit", limit_price=104.49999999999999), {},  # as floats go over the wire
     says(REFUSED, "invalid limit_price 104.49999999999999. sub-penny increment does not fulfill minimum pricing "
                   "criteria")),
    ("limit-price-missing", order(type="limit"), {}, says(INVALID, "limit orders require a limit price")),
    ("stop-price-missing", order(type="stop"), {}, says(INVALID, "stop orders require a stop price")),
    ("stop-limit-prices-missing", order(type="stop_limit"), {},
     says(INVALID, "stop limit orders require both stop and limit price")),
    ("stop-limit-prices-missing", order(type="stop_limit", stop_price=99.0), {},
     says(INVALID, "stop limit orders require both stop and limit price")),
    ("market-takes-no-price", order(limit_price=99.0), {},
     says(INVALID, "market orders require no stop or limit price")),
    ("market-takes-no-price", order(stop_price=99.0), {},
     says(INVALID, "market orders require no stop or limit price")),
    ("price-not-of-type", order(trail_price=1.0), {}, says(INVALID, "market orders must not have trail_price")),
    ("price-not-of-type", order(trail_percent=1.0), {}, says(INVALID, "market orders must not have trail_percent")),
    ("price-not-of-type", order(type="stop", stop_price=99.0, limit_price=98.0), {},
     says(INVALID, "stop orders must not have limit_price")),
    ("trail-missing", order(type="trailing_stop"), {},
     says(INVALID, "trailing stop orders must specify one of trail_price or trail_percent")),
    ("trail-missing", order(type="trailing_stop", trail_price=1.0, trail_percent=1.0), {},
     says(INVALID, "trailing stop orders must specify one of trail_price or trail_percent")),
    ("trail-percent-minimum", order(type="trailing_stop", trail_percent=0.09), {},
     says(INVALID, "trail_percent must be greater than or equal to 0.1")),
    ("trailing-needs-simple", bracket(type="trailing_stop", trail_price=1.0), {},
     says(REFUSED, "trailing stop orders are only supported as simple orders")),
    # Classes
    ("legs-need-class", order(take_profit=110.0, stop_loss=95.0), {},
     says(INVALID, "simple orders must not have take_profit or stop_loss")),
    ("take-profit-missing", bracket(take_profit=None), {},
     says(INVALID, "bracket orders require take_profit.limit_price")),
    ("take-profit-missing", oco(take_profit=None, limit_price=110.0), {},
     says(INVALID, "oco orders require take_profit.limit_price")),
    ("stop-loss-missing", bracket(stop_loss=None), {}, says(INVALID, "bracket orders require stop_loss.stop_price")),
    ("stop-loss-missing", oto(stop_loss=None, stop_loss_limit=94.0), {},
     says(INVALID, "oto orders require stop_loss.stop_price")),
    ("oto-one-leg", oto(stop_loss=None), {}, says(INVALID, "oto orders require either take_profit or stop_loss")),
    ("oto-one-leg", oto(take_profit=110.0), {}, says(INVALID, "oto orders require either take_profit or stop_loss")),
    ("oco-needs-limit", oco(type="market"), {}, says(INVALID, "oco orders must be limit orders")),
    *[("class-time-in-force", oto(time_in_force=tif), {},
       says(INVALID, 'oto orders support only "day" or "gtc" time_in_force')) for tif in ("ioc", "opg", "cls", "fok")],
    ("class-time-in-force", bracket(time_in_force="ioc"), {},
     says(INVALID, 'bracket orders support only "day" or "gtc" time_in_force')),
    ("class-extended-hours", oto(extended_hours=True), {},
     says(FORBIDDEN, "oto orders do not support extended hours trading")),
    ("class-extended-hours", bracket(type="limit", limit_price=100.0, extended_hours=True), {},
     says(FORBIDDEN, "bracket orders do not support extended hours trading")),
    # Legs: the base price is the last price, or the entry's limit price.
    ("legs-crossed", bracket(take_profit=95.0), {},
     says(REFUSED, "take_profit.limit_price must be > stop_loss.stop_price")),
    ("legs-crossed", oco(side="buy", take_profit=110.0, stop_loss=95.0), {},
     says(REFUSED, "take_profit.limit_price must be < stop_loss.stop_price")),
    ("bracket-wrong-side", bracket(take_profit=267.5, stop_loss=250.0), {"market": at(268.69)},
     says(REFUSED, "take_profit.limit_price must be >= base_price + 0.01", base_price="268.69")),
    ("bracket-wrong-side", bracket(take_profit=100.0), {"market": at(100.0)},
     says(REFUSED, "take_profit.limit_price must be >= base_price + 0.01", base_price="100")),
    ("bracket-wrong-side", bracket(take_profit=120.0, stop_loss=99.2), {"market": at(99.10)},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="99.1")),
    ("bracket-wrong-side", bracket(stop_loss=100.0), {"market": at(100.0)},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="100")),
    ("bracket-wrong-side", bracket(side="sell", take_profit=180.0, stop_loss=199.5), {"market": at(199.50)},
     says(REFUSED, "stop_loss.stop_price must be >= base_price + 0.01", base_price="199.5")),
    ("bracket-wrong-side", bracket(side="sell", take_profit=200.0, stop_loss=210.0), {"market": at(199.50)},
     says(REFUSED, "take_profit.limit_price must be <= base_price - 0.01", base_price="199.5")),
    ("bracket-wrong-side", oto(type="limit", limit_price=10.0, stop_loss=10.0), {"market": at(13.98)},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="10")),
    ("bracket-wrong-side", bracket(type="limit", limit_price=104.0, stop_loss=102.0), {"market": at(100.0)},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="100")),
    ("bracket-wrong-side", oto(symbol="DCX", stop_loss=0.0545), {"market": at(0.0553)},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="0.0553")),
    ("bracket-wrong-side", oco(stop_loss=100.0), {"market": at(100.0)},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="100")),
    ("bracket-wrong-side", oco(take_profit=0.5, stop_loss=0.4999), {},
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="0.5")),
    # Times
    *[("time-in-force-type", order(type="stop", stop_price=101.0, time_in_force=tif), {"market": at(minute=9 * 60)},
       says(INVALID, "invalid time_in_force")) for tif in ("opg", "cls", "ioc", "fok")],
    ("time-in-force-type", order(type="trailing_stop", trail_price=1.0, time_in_force="ioc"), {},
     says(INVALID, "invalid time_in_force")),
    ("extended-hours-type", order(extended_hours=True), {},
     says(REFUSED, "extended hours order must be DAY limit orders")),
    ("extended-hours-type", order(type="limit", limit_price=99.0, time_in_force="gtc", extended_hours=True), {},
     says(REFUSED, "extended hours order must be DAY limit orders")),
    ("extended-hours-type", order(extended_hours=True), {"extended_gtc": True},
     says(REFUSED, "extended hours order must be DAY limit orders")),
    ("extended-hours-type", order(type="limit", limit_price=99.0, time_in_force="ioc", extended_hours=True),
     {"extended_gtc": True}, says(REFUSED, "extended hours order must be DAY limit orders")),
    *[("opg-window", order(time_in_force="opg"), {"market": at(minute=minute)},
       says(FORBIDDEN, "opg orders must be submitted after 7:00pm and before 9:28am"))
      for minute in (9 * 60 + 28, NOON, 18 * 60 + 59)],
    *[("cls-window", order(time_in_force="cls"), {"market": at(minute=minute)},
       says(FORBIDDEN, "cls orders must be submitted after 7:00pm and before 3:50pm"))
      for minute in (15 * 60 + 50, 18 * 60 + 59)],
    # Asset and market
    ("not-tradable", order(symbol="RGC"), {"asset": AssetFacts(tradable=False)},
     says(REFUSED, 'asset "RGC" is not tradable')),
    ("not-fractionable", order(qty=1.5), {"asset": AssetFacts(fractionable=False)},
     says(FORBIDDEN, "requested asset is not fractionable")),
    ("not-fractionable", order(notional=50.0), {"asset": AssetFacts(fractionable=False)},
     says(FORBIDDEN, "requested asset is not fractionable")),
    ("fractional-short", order(side="sell", qty=1.5, position_intent="sell_to_open"), {},
     says(REFUSED, "fractional orders cannot be sold short")),
    ("not-shortable", order(side="sell", symbol="NBIL", position_intent="sell_to_open"),
     {"asset": AssetFacts(shortable=False)}, says(REFUSED, 'asset "NBIL" cannot be sold short')),
    ("not-shortable", order(side="sell", symbol="NBIL", position_intent="sell_to_open"),
     {"asset": AssetFacts(easy_to_borrow=False)}, says(REFUSED, 'asset "NBIL" cannot be sold short')),
    ("hard-to-borrow", order(side="sell", symbol="GVH", time_in_force="gtc", position_intent="sell_to_open"),
     {"asset": AssetFacts(easy_to_borrow=False)},
     says(REFUSED, 'only day orders are allowed for hard-to-borrow asset "GVH"')),
    ("stop-wrong-side", order(side="sell", type="stop", stop_price=167.01), {"market": at(162.6)},
     says(REFUSED, "stop price must be less than current price", market_price="162.6", stop_price="167.01")),
    ("stop-wrong-side", order(type="stop", stop_price=23.9), {"market": at(24.11)},
     says(REFUSED, "stop price must be greater than current price", market_price="24.11", stop_price="23.9")),
    ("stop-wrong-side", order(type="stop_limit", stop_price=100.0, limit_price=101.0), {"market": at(100.0)},
     says(REFUSED, "stop price must be greater than current price", market_price="100", stop_price="100")),
]


@pytest.mark.parametrize("rule, request_, around, answer", CHECKED,
                         ids=[f"{c[0]}-{i}" for i, c in enumerate(CHECKED)])
def test_refused(rule, request_, around, answer):
    broken = ar.check(request_, **around)
    assert broken is not None
    assert (broken.rule, broken.status, broken.body()) == (rule, *answer)


# --- What is accepted -------------------------------------------------------------------------------------------------


ACCEPTED: dict[str, tuple[OrderRequest, dict[str, Any]]] = {
    # The examples of "Placing Orders"
    "page: bracket": (bracket(qty=100.0, time_in_force="gtc", take_profit=301.0, stop_loss=299.0,
                              stop_loss_limit=298.5), {"market": at(300.0)}),
    "page: oco sell": (oco(qty=100.0, time_in_force="gtc", take_profit=301.0, stop_loss=299.0, stop_loss_limit=298.5),
                       {"market": at(300.0)}),
    "page: oco buy": (oco(side="buy", qty=100.0, time_in_force="gtc", take_profit=298.0, stop_loss=299.0,
                          stop_loss_limit=300.0), {"market": at(298.5)}),
    "page: oto": (oto(qty=100.0, time_in_force="gtc", stop_loss=299.0, stop_loss_limit=298.5), {"market": at(300.0)}),
    "page: trailing": (order(side="sell", qty=100.0, type="trailing_stop", trail_price=6.15), {}),
    "page: buy stop at 210": (order(symbol="TSLA", qty=100.0, type="stop", stop_price=210.0), {"market": at(200.0)}),
    "page: stop limit": (order(symbol="TSLA", qty=50.0, type="stop_limit", stop_price=210.0, limit_price=215.0),
                         {"market": at(200.0)}),
    # OpenAPI's examples
    "openapi: equity": (order(symbol="AAPL", qty=2.0, type="limit", limit_price=150.0, time_in_force="gtc"), {}),
    # Sizes
    "nine decimals": (order(qty=0.123456789), {}),
    "notional": (order(notional=500.75), {"market": at()}),
    "least notional": (order(notional=1.0), {}),
    "least cost": (order(qty=0.003278689), {"market": at(305.0)}),  # $1.0000001: accepted on a paper account
    "a rest worth less than $1 is sold": (order(side="sell", qty=0.001), {"market": at(310.0)}),
    "a whole share under $1": (order(symbol="DCX", qty=1.0), {"market": at(0.0553)}),
    "many shares": (order(qty=1e12), {"market": at()}),
    # Ticks
    "cents": (order(type="limit", limit_price=290.12), {}),
    "four decimals below $1": (order(type="limit", limit_price=0.1234), {}),
    "exactly $1": (order(type="limit", limit_price=1.0), {}),
    # Words
    "128 characters": (order(client_order_id="x" * 128), {}),
    "class of shares": (order(symbol="BRK.B"), {}),
    "preferred": (order(symbol="BAC-PL"), {}),
    "asset id": (order(symbol="b0b6dd9d-8b9b-48a9-ba46-b9d54906e415"), {}),
    # Trailing stops
    "least trail": (order(side="sell", type="trailing_stop", trail_percent=0.1, time_in_force="gtc"), {}),
    # Legs at exactly the least distance
    "a cent above and below": (bracket(take_profit=100.01, stop_loss=99.99), {"market": at(100.0)}),
    "a cent that is not a cent in binary": (bracket(take_profit=8.42, stop_loss=8.40), {"market": at(8.41)}),
    "short": (bracket(side="sell", take_profit=99.99, stop_loss=100.01), {"market": at(100.0)}),
    "dip: target under the market": (bracket(type="limit", limit_price=90.0, take_profit=95.0, stop_loss=85.0),
                                     {"market": at(100.0)}),
    "oto with a target": (order(order_class="oto", take_profit=110.0), {"market": at(100.0)}),
    "nothing known of the market": (bracket(take_profit=10.0, stop_loss=9.0), {"market": at(None)}),
    "a last price that is no number": (bracket(take_profit=10.0, stop_loss=9.0), {"market": at(math.nan)}),
    "no facts": (bracket(take_profit=10.0, stop_loss=9.0), {}),
    # Sessions
    "extended": (order(type="limit", limit_price=99.0, extended_hours=True), {}),
    "extended gtc": (order(type="limit", limit_price=99.0, time_in_force="gtc", extended_hours=True),
                     {"extended_gtc": True}),
    "extended fraction": (order(type="limit", qty=1.5, limit_price=99.0, extended_hours=True), {}),
    "queued at night": (bracket(time_in_force="gtc"), {"market": at(100.0, minute=20 * 60, is_open=False)}),
    "opg in the morning": (order(time_in_force="opg"), {"market": at(minute=9 * 60 + 27)}),
    "opg in the evening": (order(time_in_force="opg"), {"market": at(minute=19 * 60)}),
    "cls before its deadline": (order(time_in_force="cls"), {"market": at(minute=15 * 60 + 49)}),
    "cls in the evening": (order(time_in_force="cls"), {"market": at(minute=19 * 60)}),
    # Assets
    "whole shares of what has no fractions": (order(), {"asset": AssetFacts(fractionable=False)}),
    "long of what cannot be shorted": (order(), {"asset": AssetFacts(shortable=False, easy_to_borrow=False)}),
    "short what is easy to borrow": (order(side="sell", position_intent="sell_to_open"), {"asset": AssetFacts()}),
    "sell stop below": (order(side="sell", type="stop", stop_price=162.59), {"market": at(162.6)}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case):
    request, around = ACCEPTED[case]
    assert ar.check(request, **around) is None


# "Placing Orders": "Order Types vs Supported Time in Force", and "Some notes on trailing stop orders".
TIMES = ["day", "gtc", "opg", "cls", "ioc", "fok"]
WHOLE = {"market": TIMES, "limit": TIMES, "stop": ["day", "gtc"], "stop_limit": ["day", "gtc"],
         "trailing_stop": ["day", "gtc"]}
FRACTION = {"market": ["day"], "limit": ["day"], "stop": ["day"], "stop_limit": ["day"], "trailing_stop": []}
EXTENDED = {"limit": ["day"]}
PRICES = {"market": {}, "limit": {"limit_price": 101.0}, "stop": {"stop_price": 101.0},
          "stop_limit": {"stop_price": 101.0, "limit_price": 102.0}, "trailing_stop": {"trail_percent": 1.0}}


@pytest.mark.parametrize("table, fields", [(WHOLE, {}), (FRACTION, {"qty": 1.5}), (EXTENDED, {"extended_hours": True})],
                         ids=["whole", "fraction", "extended"])
@pytest.mark.parametrize("kind", PRICES)
@pytest.mark.parametrize("tif", TIMES)
def test_the_table_of_types_and_times_in_force(table, fields, kind, tif):
    request = order(type=kind, time_in_force=tif, **PRICES[kind], **fields)
    accepted = ar.check(request, asset=AssetFacts(), market=at(100.0, minute=9 * 60)) is None
    assert accepted == (tif in table.get(kind, []))


@pytest.mark.parametrize("side, base, stop, ok", [
    ("buy", 50.0, 49.99, True), ("buy", 50.0, 50.0, False), ("sell", 50.0, 50.01, True), ("sell", 50.0, 50.0, False)])
def test_the_threshold_of_a_stop_leg_is_one_cent(side, base, stop, ok):
    profit = 60.0 if side == "buy" else 40.0
    broken = ar.check(bracket(side=side, take_profit=profit, stop_loss=stop), market=at(base))
    assert (broken is None) == ok


# --- With the position held -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side, position, intent", [
    ("buy", 0.0, "buy_to_open"), ("buy", 5.0, "buy_to_open"), ("buy", -5.0, "buy_to_close"),
    ("sell", 0.0, "sell_to_open"), ("sell", 5.0, "sell_to_close"), ("sell", -5.0, "sell_to_open")])
def test_the_intent_follows_from_the_position(side, position, intent):
    assert ar.implied_intent(side, position) == intent


POSITIONS: list[tuple[str, OrderRequest, float, AssetFacts | None, tuple[int, dict[str, Any]]]] = [
    ("position-intent-mismatch", order(side="sell", position_intent="sell_to_close"), 0.0, None,
     says(REFUSED, "position intent mismatch, inferred: sell_to_open, specified: sell_to_close")),
    ("position-intent-mismatch", order(position_intent="buy_to_close"), 5.0, None,
     says(REFUSED, "position intent mismatch, inferred: buy_to_open, specified: buy_to_close")),
    ("bracket-not-entry", bracket(side="sell", take_profit=90.0, stop_loss=110.0), 10.0, None,
     says(REFUSED, "bracket orders must be entry orders")),
    ("bracket-not-entry", bracket(), -10.0, None, says(REFUSED, "bracket orders must be entry orders")),
    ("oco-not-exit", oco(), 0.0, None, says(REFUSED, "oco orders must be exit orders")),
    ("oco-not-exit", oco(), -10.0, None, says(REFUSED, "oco orders must be exit orders")),
    ("fractional-short", order(side="sell", qty=37.27), 0.0, None,
     says(REFUSED, "fractional orders cannot be sold short")),
    ("fractional-short", order(side="sell", notional=100.0), -1.0, None,
     says(REFUSED, "fractional orders cannot be sold short")),
    ("not-shortable", order(side="sell", symbol="TXN"), 0.0, AssetFacts(shortable=False),
     says(REFUSED, 'asset "TXN" cannot be sold short')),
]


@pytest.mark.parametrize("rule, request_, position, asset, answer", POSITIONS)
def test_refused_with_the_position(rule, request_, position, asset, answer):
    broken = ar.check_position(request_, position, asset=asset)
    assert broken is not None
    assert (broken.rule, broken.status, broken.body()) == (rule, *answer)


@pytest.mark.parametrize("request_, position", [
    (bracket(), 0.0), (bracket(), 10.0), (bracket(side="sell"), 0.0), (oco(), 10.0), (oco(side="buy"), -10.0),
    (order(side="sell", qty=1.5), 3.0), (order(side="sell", position_intent="sell_to_close"), 10.0)])
def test_accepted_with_the_position(request_, position):
    assert ar.check_position(request_, position, asset=AssetFacts()) is None


@pytest.mark.parametrize("request_, cap", [
    (order(type="stop", stop_price=210.0), 215.25),  # the page's example
    (order(type="stop", stop_price=40.0), 41.6), (order(type="stop", stop_price=49.99), 51.98),
    (order(type="stop", stop_price=50.0), 51.25),
    (order(side="sell", type="stop", stop_price=40.0), 0.0),
    (order(type="stop_limit", stop_price=40.0, limit_price=41.0), 0.0), (order(), 0.0)])
def test_a_buy_stop_is_capped(request_, cap):
    assert ar.stop_cap(request_) == cap


# --- Replacing --------------------------------------------------------------------------------------------------------


LIMIT = order(type="limit", limit_price=99.0)
TRAILING = order(side="sell", type="trailing_stop", trail_percent=1.0, time_in_force="gtc")
STOP_LEG = OrderFacts(request=order(side="sell", type="stop", stop_price=95.0, order_class="bracket",
                                    time_in_force="gtc"), status="held", group_role="stop_loss")
TARGET_LEG = OrderFacts(request=order(side="sell", type="limit", limit_price=110.0, order_class="bracket",
                                      time_in_force="gtc"), group_role="take_profit")
OCO = OrderFacts(request=oco(time_in_force="gtc", limit_price=110.0), group_role="take_profit")


def facts(request: OrderRequest = LIMIT, **fields: Any) -> OrderFacts:
    return OrderFacts(request=request, **fields)


def new(**fields: Any) -> ReplaceRequest:
    return ReplaceRequest(**fields)


REPLACED: list[tuple[str, OrderFacts, ReplaceRequest, tuple[int, dict[str, Any]]]] = [
    *[("replace-state", facts(status=status), new(qty=5.0),
       says(REFUSED, f"cannot replace order in {status} status"))
      for status in ("accepted", "pending_new", "pending_cancel", "pending_replace")],
    ("replace-replaced", facts(status="replaced"), new(qty=5.0), says(REFUSED, "order already replaced")),
    *[("replace-done", facts(status=status), new(qty=5.0),
       says(REFUSED, "unable to replace order, order is not open")) for status in ("filled", "canceled", "expired")],
    ("replace-notional", facts(order(notional=100.0)), new(qty=5.0),
     says(REFUSED, "notional orders cannot be replaced")),
    ("replace-unchanged", facts(), new(qty=10.0, limit_price=99.0), says(REFUSED, "order parameters are not changed")),
    ("replace-unchanged", facts(), new(), says(REFUSED, "order parameters are not changed")),
    ("replace-unchanged", facts(), new(client_order_id="x"), says(REFUSED, "order parameters are not changed")),
    ("replace-quantity-whole", facts(), new(qty=1.5), says(INVALID, "qty must be integer")),
    ("replace-quantity-fractional", facts(order(qty=1.5)), new(qty=2.0),
     says(REFUSED, "qty cannot be changed for fractional orders")),
    ("replace-quantity-advanced", facts(bracket(), status="new"), new(qty=5.0),
     says(REFUSED, "qty cannot be changed for advanced orders")),
    ("replace-quantity-advanced", STOP_LEG, new(qty=5.0), says(REFUSED, "qty cannot be changed for advanced orders")),
    ("replace-quantity-filled", facts(filled_qty=4.0), new(qty=4.0), says(REFUSED, "qty must be > filled_qty")),
    *[("quantity-positive", facts(), new(qty=qty), says(INVALID, "qty must be > 0"))
      for qty in (0.0, -1.0, math.nan, math.inf)],
    ("price-positive", facts(), new(limit_price=math.nan), says(INVALID, "limit price must be > 0")),
    ("price-positive", facts(TRAILING), new(trail=0.0), says(INVALID, "trail must be > 0")),
    ("price-not-of-type", facts(), new(stop_price=98.0), says(INVALID, "limit orders must not have stop_price")),
    ("price-not-of-type", facts(), new(trail=1.0), says(INVALID, "limit orders must not have trail")),
    ("market-takes-no-price", facts(order()), new(limit_price=98.0),
     says(INVALID, "market orders require no stop or limit price")),
    ("trail-percent-minimum", facts(TRAILING), new(trail=0.05),
     says(INVALID, "trail_percent must be greater than or equal to 0.1")),
    ("invalid-time-in-force", facts(), new(time_in_force="gtd"), says(INVALID, "invalid time_in_force")),
    ("client-order-id-length", facts(), new(qty=5.0, client_order_id="x" * 129),
     says(INVALID, "client_order_id must be no more than 128 characters")),
    ("sub-penny-price", facts(), new(limit_price=98.765),
     says(REFUSED, "invalid limit_price 98.765. sub-penny increment does not fulfill minimum pricing criteria")),
    ("fractional-needs-day", facts(replace(LIMIT, qty=1.5)), new(time_in_force="gtc"),
     says(REFUSED, "fractional orders must be DAY orders")),
    ("stop-wrong-side", STOP_LEG, new(stop_price=101.0),
     says(REFUSED, "stop price must be less than current price", market_price="100", stop_price="101")),
    ("class-time-in-force", STOP_LEG, new(time_in_force="ioc"),
     says(INVALID, 'bracket orders support only "day" or "gtc" time_in_force')),
    ("legs-crossed", OCO, new(limit_price=94.0),
     says(REFUSED, "take_profit.limit_price must be > stop_loss.stop_price")),
    ("bracket-wrong-side", facts(bracket(type="limit", limit_price=99.0), group_role="entry"), new(limit_price=95.0),
     says(REFUSED, "stop_loss.stop_price must be <= base_price - 0.01", base_price="95")),
]


@pytest.mark.parametrize("rule, order_, changes, answer", REPLACED,
                         ids=[f"{c[0]}-{i}" for i, c in enumerate(REPLACED)])
def test_refused_replacement(rule, order_, changes, answer):
    broken = ar.check_replace(order_, changes, market=at(100.0))
    assert broken is not None
    assert (broken.rule, broken.status, broken.body()) == (rule, *answer)


@pytest.mark.parametrize("order_, changes", [
    (facts(), new(qty=4.0, limit_price=155.0, time_in_force="gtc")),  # OpenAPI's example
    (facts(filled_qty=4.0, status="partially_filled"), new(qty=5.0)),
    (facts(TRAILING), new(trail=2.0)), (STOP_LEG, new(stop_price=96.0)), (TARGET_LEG, new(limit_price=120.0)),
    (TARGET_LEG, new(qty=10.0, limit_price=120.0)),  # the quantity it has
    (OCO, new(limit_price=111.0)), (facts(order()), new(time_in_force="gtc")),
    (facts(replace(LIMIT, qty=1.5)), new(limit_price=98.0))])
def test_accepted_replacement(order_, changes):
    assert ar.check_replace(order_, changes, market=at(100.0)) is None


def test_replaced_gives_the_new_order():
    old = order(type="limit", limit_price=99.0, client_order_id="old")
    assert ar.replaced(old, new(qty=4.0, limit_price=98.0)) == order(qty=4.0, type="limit", limit_price=98.0)
    assert ar.replaced(TRAILING, new(trail=2.0, client_order_id="n")) == replace(TRAILING, trail_percent=2.0,
                                                                                client_order_id="n")
    dollars = order(side="sell", type="trailing_stop", trail_price=3.0)
    assert ar.replaced(dollars, new(trail=2.0)).trail_price == 2.0
    assert ar.replaced(OCO.request, new(limit_price=111.0)).take_profit == 111.0


# --- Reading and writing ----------------------------------------------------------------------------------------------


WIRE = {"symbol": "SPY", "side": "buy", "type": "market", "time_in_force": "day", "qty": "10"}


@pytest.mark.parametrize("body, request_", [
    (WIRE, order()),
    ({**WIRE, "qty": 10}, order()), ({**WIRE, "qty": 10.0}, order()), ({**WIRE, "qty": "1e1"}, order()),
    ({**WIRE, "qty": ".5"}, order(qty=0.5)), ({**WIRE, "qty": "+10."}, order()),
    ({**WIRE, "order_class": ""}, order()), ({**WIRE, "order_class": None}, order()),
    ({**WIRE, "order_class": "simple"}, order()),
    ({**WIRE, "limit_price": None, "take_profit": None, "stop_loss": None, "client_order_id": None,
      "extended_hours": None, "position_intent": None}, order()),
    ({**WIRE, "client_order_id": "", "position_intent": ""}, order()),
    ({**WIRE, "extended_hours": True, "client_order_id": "a", "position_intent": "buy_to_open"},
     order(extended_hours=True, client_order_id="a", position_intent="buy_to_open")),
    # Keys that Alpaca does not know are ignored, in legs too (seen on a paper account: the trail vanishes).
    ({**WIRE, "commission": "1", "legs": [], "note": {"a": 1}}, order()),
    ({**WIRE, "order_class": "oto", "stop_loss": {"stop_price": "12.58", "trail_percent": "10"}},
     oto(stop_loss=12.58)),
    # The page's bracket and the wire of a sell with numbers.
    ({**WIRE, "time_in_force": "gtc", "order_class": "bracket", "take_profit": {"limit_price": "301"},
      "stop_loss": {"stop_price": "299", "limit_price": "298.5"}},
     bracket(time_in_force="gtc", take_profit=301.0, stop_loss=299.0, stop_loss_limit=298.5)),
    ({**WIRE, "type": "trailing_stop", "side": "sell", "trail_price": 6.15},
     order(type="trailing_stop", side="sell", trail_price=6.15)),
    ({k: v for k, v in WIRE.items() if k != "qty"} | {"notional": "500.75"}, order(notional=500.75)),
])
def test_parse_takes_all_spellings(body, request_):
    assert ar.parse(body) == request_


MALFORMED = (400, {"code": 40010000, "message": "request body format is invalid"})
READ: list[tuple[str, object, tuple[int, dict[str, Any]]]] = [
    *[("body-format", body, MALFORMED) for body in (None, [], [WIRE], "SPY", 7, True)],
    *[("body-format", {**WIRE, "qty": qty}, MALFORMED)
      for qty in ("ten", "", " 10", "1,000", "1_000", "nan", "Infinity", "0x10", "١", math.nan, math.inf, 10**400,
                  "1e999", True, [10], {"a": 1})],
    ("body-format", {**WIRE, "symbol": 7}, MALFORMED), ("body-format", {**WIRE, "side": ["buy"]}, MALFORMED),
    ("body-format", {**WIRE, "extended_hours": "true"}, MALFORMED),  # 400 Bad Request on a live account
    ("body-format", {**WIRE, "take_profit": "301"}, MALFORMED), ("body-format", {**WIRE, "stop_loss": []}, MALFORMED),
    ("body-format", {**WIRE, "take_profit": {"limit_price": "x"}}, MALFORMED),
    ("invalid-side", {}, says(INVALID, "invalid side")),
    ("invalid-side", {**WIRE, "side": None}, says(INVALID, "invalid side")),
    ("invalid-side", {**WIRE, "side": "Buy"}, says(INVALID, "invalid side")),
    ("invalid-type", {k: v for k, v in WIRE.items() if k != "type"}, says(INVALID, "invalid order type")),
    ("invalid-time-in-force", {k: v for k, v in WIRE.items() if k != "time_in_force"},
     says(INVALID, "invalid time_in_force")),
    ("invalid-order-class", {**WIRE, "order_class": "mleg"}, says(INVALID, "invalid order class")),
    # Sent to a paper account: a leg without its price.
    ("stop-loss-missing", {**WIRE, "order_class": "oto", "stop_loss": {"trail_percent": "10"}},
     says(INVALID, "oto orders require stop_loss.stop_price")),
    ("stop-loss-missing", {**WIRE, "order_class": "bracket", "take_profit": {"limit_price": "20.00"},
                           "stop_loss": {"trail_percent": "10"}},
     says(INVALID, "bracket orders require stop_loss.stop_price")),
    ("take-profit-missing", {**WIRE, "order_class": "oco", "type": "limit", "take_profit": {}},
     says(INVALID, "oco orders require take_profit.limit_price")),
    ("advanced-instructions", {**WIRE, "advanced_instructions": {"algorithm": "VWAP"}},
     says(FORBIDDEN, "account not allowed to use advanced_instructions")),
]


@pytest.mark.parametrize("rule, body, answer", READ)
def test_parse_refuses(rule, body, answer):
    broken = ar.parse(body)
    assert isinstance(broken, Violation)
    assert (broken.rule, broken.status, broken.body()) == (rule, *answer)


@pytest.mark.parametrize("body", [{"limit_price": "nan"}, {"qty": True}, [], {"time_in_force": 1},
                                  {"client_order_id": 7}])
def test_parse_replace_refuses_what_it_cannot_read(body):
    broken = ar.parse_replace(body)
    assert isinstance(broken, Violation) and (broken.status, broken.body()) == MALFORMED


def test_parse_replace():
    assert ar.parse_replace({"limit_price": "155", "qty": "4", "time_in_force": "gtc"}) == new(
        limit_price=155.0, qty=4.0, time_in_force="gtc")
    assert ar.parse_replace({"trail": 3.14, "stop_price": None, "client_order_id": "", "else": 1}) == new(trail=3.14)
    assert ar.parse_replace({}) == new()
    broken = ar.parse_replace({"notional": "750"})
    assert isinstance(broken, Violation) and broken.rule == "replace-notional"


LEGS = {"take_profit": sdk.TakeProfitRequest(limit_price=110), "stop_loss": sdk.StopLossRequest(stop_price=95)}
SPY = {"symbol": "SPY", "qty": 10}


@pytest.mark.parametrize("sent, request_", [
    (sdk.MarketOrderRequest(**SPY, side=OrderSide.BUY, time_in_force=TimeInForce.DAY), order()),
    (sdk.MarketOrderRequest(symbol="SPY", notional=100.5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY,
                            client_order_id="a"), order(notional=100.5, client_order_id="a")),
    (sdk.LimitOrderRequest(**SPY, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, limit_price=99.5,
                           extended_hours=True),
     order(side="sell", type="limit", time_in_force="gtc", limit_price=99.5, extended_hours=True)),
    (sdk.StopLimitOrderRequest(**SPY, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, stop_price=101,
                               limit_price=102), order(type="stop_limit", stop_price=101.0, limit_price=102.0)),
    (sdk.TrailingStopOrderRequest(**SPY, side=OrderSide.SELL, time_in_force=TimeInForce.DAY, trail_percent=1.5),
     order(side="sell", type="trailing_stop", trail_percent=1.5)),
    (sdk.MarketOrderRequest(**SPY, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, order_class=OrderClass.BRACKET,
                            **LEGS), bracket(time_in_force="gtc")),
    (sdk.LimitOrderRequest(**SPY, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, order_class=OrderClass.OCO,
                           **LEGS), oco(time_in_force="gtc")),
    (sdk.MarketOrderRequest(**SPY, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, order_class=OrderClass.OTO,
                            stop_loss=LEGS["stop_loss"]), oto()),
])
def test_parse_reads_what_the_real_client_sends(sent, request_):
    assert ar.parse(json.loads(json.dumps(sent.to_request_fields()))) == request_


def test_render():
    assert ar.render(bracket(time_in_force="gtc", stop_loss_limit=94.5, client_order_id="a")) == {
        "symbol": "SPY", "side": "buy", "type": "market", "time_in_force": "gtc", "qty": "10", "order_class": "bracket",
        "take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "95", "limit_price": "94.5"},
        "client_order_id": "a"}
    assert ar.render(order(qty=1e-9))["qty"] == "0.000000001"


@pytest.mark.parametrize("number, text", [
    (162.6, "162.6"), (100.0, "100"), (1e22, "1" + "0" * 22), (1e-9, "0.000000001"), (0.0, "0"), (-0.0, "0"),
    (math.nan, "nan")])
def test_numbers_are_written_without_exponents(number, text):
    assert ar.plain(number) == text


# --- The catalogue ----------------------------------------------------------------------------------------------------


def test_every_rule_is_walked():
    walked = ({c[0] for c in CHECKED} | {c[0] for c in POSITIONS} | {c[0] for c in REPLACED}
              | {c[0] for c in READ})
    assert walked == set(ar.RULES)


def test_every_refusal_has_a_sentence_of_ours():
    for rule, request, around, _ in CHECKED:
        broken = ar.check(request, **around)
        assert broken is not None
        assert "{" not in broken.advice + broken.message and broken.advice.endswith((".", "?")), rule
    hint = ar.check(order(type="stoplimit"))
    assert hint is not None and hint.advice == (
        "type = 'stoplimit' must be market, limit, stop, stop_limit or trailing_stop; did you mean 'stop_limit'?")


def test_facts_may_be_missing_but_not_mistaken():
    """No facts: only what needs none; the same order is refused once the facts are there."""
    request = bracket(symbol="RGC", stop_loss=101.0)
    assert ar.check(request) is None
    assert ar.check(request, asset=AssetFacts(tradable=False)).rule == "not-tradable"
    assert ar.check(request, market=at(100.0)).rule == "bracket-wrong-side"


# --- Properties -------------------------------------------------------------------------------------------------------


FIELDS = """symbol side type time_in_force qty notional limit_price stop_price trail_price trail_percent order_class
    take_profit stop_loss extended_hours client_order_id position_intent advanced_instructions trail""".split()
WORDS = [*TIMES, *PRICES, "buy", "sell", "bracket", "oco", "oto", "simple", "", "SPY", "10", "1e400", "nan", "-1"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["limit_price", "stop_price", "x"]),
                                                                inner, max_size=3), max_leaves=6)
BODIES = VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES)


@given(BODIES)
@settings(max_examples=100, deadline=None)
def test_parse_answers_any_json(body):
    read = ar.parse(body)
    assert isinstance(read, (OrderRequest, Violation))
    if isinstance(read, OrderRequest):
        assert all(math.isfinite(n) for n in (read.qty, read.limit_price, read.take_profit) if n is not None)
        ar.check(read, asset=AssetFacts(), market=at())
    assert isinstance(ar.parse_replace(body), (ReplaceRequest, Violation))


NUMBERS = st.none() | st.floats(min_value=0.0001, max_value=1e6) | st.decimals("0.01", "1000", places=2).map(float)


@st.composite
def readable_requests(draw):
    """Requests that the wire can carry: no class without the price of a leg that it names."""
    kind = draw(st.sampled_from(["simple", "bracket", "oco", "oto"]))
    loss = draw(NUMBERS)
    return OrderRequest(
        symbol=draw(st.text(max_size=6)), side=draw(st.sampled_from(["buy", "sell"])),
        type=draw(st.sampled_from([*PRICES])), time_in_force=draw(st.sampled_from(TIMES)), order_class=kind,
        qty=draw(NUMBERS), notional=draw(NUMBERS), limit_price=draw(NUMBERS), stop_price=draw(NUMBERS),
        trail_price=draw(NUMBERS), trail_percent=draw(NUMBERS),
        take_profit=draw(NUMBERS), stop_loss=loss, stop_loss_limit=draw(NUMBERS) if loss is not None else None,
        extended_hours=draw(st.booleans()), client_order_id=draw(st.none() | st.text(min_size=1, max_size=130)),
        position_intent=draw(st.sampled_from([None, "buy_to_open", "sell_to_close"])))


@given(readable_requests())
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back(request):
    assert ar.parse(json.loads(json.dumps(ar.render(request)))) == request


ODD = st.none() | st.floats() | st.integers() | st.sampled_from([0.0, -1.0, 100.0, 99.99, 1e-12])


@given(st.sampled_from([*PRICES, "?"]), st.sampled_from([*TIMES, 7]),
       st.sampled_from(["simple", "bracket", "oco", "oto"]), st.lists(ODD, min_size=9, max_size=9), ODD)
@settings(max_examples=100, deadline=None)
def test_check_answers_any_numbers(kind, tif, group, numbers, last):
    names = """qty notional limit_price stop_price trail_price trail_percent take_profit stop_loss
        stop_loss_limit""".split()
    request = OrderRequest(symbol="SPY", side="sell", type=kind, time_in_force=tif, order_class=group,
                           **dict(zip(names, numbers)))
    if ar.check(request, asset=AssetFacts(), market=at(last)) is None:
        given_ = [n for n in numbers if n is not None]
        assert given_ and all(math.isfinite(n) and n > 0 for n in given_)
    changes = new(qty=numbers[0], limit_price=numbers[2], stop_price=numbers[3], trail=numbers[4])
    answer = ar.check_replace(facts(), changes, market=at(last))
    assert answer is None or isinstance(answer, Violation)
