"""The trading side of the sandbox's API: every order state, every error body, lists, pages, hours, the account."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from alpaca_documents import check
from sandbox_helpers import KEYS, Desk, market, minutes, steady

from botlib import alpaca_rules
from botlib.sandbox.messages import Request
from botlib.sandbox.orders import OPEN, Refusal

BRACKET = {"qty": 10, "time_in_force": "gtc", "order_class": "bracket", "take_profit": {"limit_price": "110"},
           "stop_loss": {"stop_price": "90"}}


def ids(orders: Any) -> list[str]:
    return [order["client_order_id"] for order in orders]


# --- Orders: what becomes of them -------------------------------------------------------------------------------------

def in_hours() -> Desk:
    """Half past ten, in the middle of a session."""
    return Desk(minutes(2, 5), first=12)


def state_of(desk: Desk, order: Any) -> str:
    found = desk.get(f"/v2/orders/{order['id']}")
    check("GET", f"/v2/orders/{order['id']}", 200, found)
    state: str = found["status"]
    return state


def test_every_order_state_is_reached_and_told():
    """A walk through each state, every answer held against Alpaca's document."""
    seen = {}
    desk = in_hours()
    limit = {"type": "limit", "limit_price": "50"}
    order = desk.order(**limit)
    seen[order["status"]] = "submitted in market hours"
    seen[state_of(desk, order)] = "a call later"
    assert desk.ask("DELETE", f"/v2/orders/{order['id']}").status == 204
    seen[desk.exchange.orders[order["id"]].status] = "asked to be cancelled"
    seen[state_of(desk, order)] = "cancelled, a call later"

    market_order = desk.order(qty=2)
    resting = desk.order("KO", **limit)
    desk.exchange.advance()
    seen[state_of(desk, market_order)] = "at the next print"
    replaced = desk.ask("PATCH", f"/v2/orders/{resting['id']}", {"limit_price": "51"})
    check("PATCH", f"/v2/orders/{resting['id']}", 200, replaced.json())
    seen[state_of(desk, resting)] = "replaced"
    assert replaced.json()["replaces"] == resting["id"]
    for _ in range(80):
        desk.exchange.advance()
    seen[state_of(desk, replaced.json())] = "a day order at the close"

    closed = Desk(steady(), partial_fill_pct=100.0)
    order = closed.order(qty=100, time_in_force="gtc")
    seen[order["status"]] = "submitted when the market is closed"
    group = closed.order("KO", **{**BRACKET, "take_profit": {"limit_price": "60"}, "stop_loss": {"stop_price": "40"}})
    seen[state_of(closed, group["legs"][0])] = "a leg before its entry is filled"
    closed.exchange.advance()
    seen[state_of(closed, order)] = "partly filled"

    assert set(seen) == {"pending_new", "new", "pending_cancel", "canceled", "filled", "replaced", "expired",
                         "accepted", "held", "partially_filled"}
    assert {s for s in seen if s not in OPEN} == {"canceled", "filled", "replaced", "expired"}


# --- Errors -----------------------------------------------------------------------------------------------------------

NOBODY = "00000000-0000-4000-8000-000000000000"


def error(desk: Desk, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
    response = desk.ask(method, path, body, **query)
    found = response.json()
    check(method, path, response.status, found)
    return response.status, found


def order_error(desk: Desk, **order: Any) -> tuple[int, Any]:
    body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day", **order}
    return error(desk, "POST", "/v2/orders", {name: value for name, value in body.items() if value is not None})


def held() -> Desk:
    """106 shares of AAPL at 100, all of them promised to a limit order."""
    desk = Desk(steady(20, AAPL=100.0, KO=50.0))
    desk.order(qty=106)
    desk.exchange.advance()
    desk.order(qty=106, side="sell", type="limit", limit_price="120", time_in_force="gtc")
    return desk


def test_buying_power():
    status, body = order_error(Desk(), qty="313190")
    assert (status, body["code"], body["message"]) == (403, 40310000, "insufficient buying power")
    assert (body["buying_power"], float(body["cost_basis"]) >= 31_319_000) == ("400000.00", True)


def test_shares_that_are_promised():
    status, body = order_error(held(), qty="106", side="sell")
    assert (status, body) == (403, {
        "available": "0", "code": 40310000, "existing_qty": "106", "held_for_orders": "106", "symbol": "AAPL",
        "message": "insufficient qty available for order (requested: 106, available: 0)"})


def test_a_wash_trade():
    desk = Desk(steady(20, AAPL=100.0))
    desk.order(qty=10)
    desk.exchange.advance()
    stop = desk.order(qty=10, side="sell", type="stop", stop_price="90", time_in_force="gtc")
    status, body = order_error(desk, qty="5")
    assert (status, body) == (403, {
        "code": 40310000, "existing_order_id": stop["id"],
        "message": "potential wash trade detected. use complex orders",
        "reject_reason": "opposite side market/stop order exists"})


def test_no_shorts():
    desk = Desk()
    assert desk.ask("PATCH", "/v2/account/configurations", {"no_shorting": True}).status == 200
    status, body = order_error(desk, side="sell")
    assert (status, body) == (403, {"code": 40310000, "message": "account is not allowed to short"})


@pytest.mark.parametrize(("method", "path", "message"), [
    ("GET", "/v2/positions/AAPL", "position does not exist"),
    ("DELETE", "/v2/positions/AAPL", "position does not exist"),
    ("GET", f"/v2/orders/{NOBODY}", f"order not found for {NOBODY}"),
    ("DELETE", f"/v2/orders/{NOBODY}", f"order not found for {NOBODY}"),
    ("PATCH", f"/v2/orders/{NOBODY}", f"order not found for {NOBODY}"),
    ("GET", "/v2/assets/NOPE", "asset not found for NOPE"), ("GET", "/v2/positions/NOPE", "symbol not found: NOPE"),
])
def test_what_there_is_not(method, path, message):
    body = {"limit_price": "1"} if method == "PATCH" else None
    assert error(Desk(), method, path, body) == (404, {"code": 40410000, "message": message})


def test_a_client_order_id_is_used_once():
    desk = Desk()
    desk.order(client_order_id="mine")
    desk.exchange.advance()
    assert order_error(desk, client_order_id="mine") == (
        422, {"code": 40010001, "message": "client_order_id must be unique"})


def test_a_filled_order_is_not_cancelled():
    desk = Desk()
    order = desk.order()
    desk.exchange.advance()
    assert error(desk, "DELETE", f"/v2/orders/{order['id']}") == (
        422, {"code": 42210000, "message": 'order is already in "filled" state'})


def test_a_cancelled_order_is_cancelled_again():
    desk = in_hours()
    order = desk.order(type="limit", limit_price="50")
    for _ in range(3):
        assert desk.ask("DELETE", f"/v2/orders/{order['id']}").status == 204


@pytest.mark.parametrize(("order", "code", "words"), [
    ({"type": "limit", "limit_price": "290.123"}, 42210000,
     "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria"),
    ({"qty": "0.5", "time_in_force": "gtc"}, 42210000, "fractional orders must be DAY orders"),
    ({**BRACKET, "take_profit": {"limit_price": "100"}}, 42210000,
     "take_profit.limit_price must be >= base_price + 0.01"),
    ({"symbol": "NOPE"}, 42210000, 'asset "NOPE" not found'), ({"qty": "0"}, 40010001, "qty must be > 0"),
    ({"side": "hold"}, 40010001, "invalid side"), ({"order_class": "mleg"}, 40010001, "invalid order class"),
])
def test_orders_that_make_no_sense(order, code, words):
    status, body = order_error(Desk(), **order)
    assert (status, body["code"], body["message"]) == (422, code, words)


def test_a_refusal_names_its_rule_and_says_what_to_do():
    body = {"symbol": "AAPL", "qty": "1", "side": "hold", "type": "market", "time_in_force": "day"}
    response = Desk().ask("POST", "/v2/orders", body)
    assert response.headers["X-Sandbox-Rule"] == "invalid-side"
    assert "'buy' or 'sell'" in response.headers["X-Sandbox-Advice"]
    silent = Desk().ask("GET", "/v2/positions/AAPL")  # a refusal that has nothing to advise
    assert (silent.status, silent.headers["X-Sandbox-Rule"]) == (404, "no-position")
    assert "X-Sandbox-Advice" not in silent.headers


def test_a_broken_rule_as_a_refusal():
    broken = alpaca_rules.refuse("stop-wrong-side", {"market_price": "162.6", "stop_price": "170"}, word="less")
    made = Refusal.of(broken)
    assert (made.status, made.code, made.message) == (422, 42210000, "stop price must be less than current price")
    assert (made.rule, made.fields) == ("stop-wrong-side", {"market_price": "162.6", "stop_price": "170"})
    assert made.advice.startswith("The stop of a sell must be below 162.6, the price in the market, and 170 is not")
    assert Refusal(404, None, "no").advice == ""


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"qty": NaN}', b"\xff", b"[" * 100_000, b'"x"'])
def test_a_body_that_is_none(body):
    response = Desk().ask("POST", "/v2/orders", body)
    assert response.status in (400, 422)
    if body:
        assert (response.status, response.json()) == (400, {"code": 40010000,
                                                            "message": "request body format is invalid"})


def test_a_replacement_while_accepted():
    desk = Desk()
    order = desk.order(type="limit", limit_price="90")
    status, body = error(desk, "PATCH", f"/v2/orders/{order['id']}", {"limit_price": "91"})
    assert (status, body["code"]) == (422, 42210000)
    assert "accepted" in body["message"]


@pytest.mark.parametrize("name", ["x", "1", "not-a-uuid", NOBODY[:-1]])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_an_order_id_that_is_none(method, name):
    assert error(Desk(), method, f"/v2/orders/{name}") == (422, {"code": 40010001, "message": "order_id is missing"})


@pytest.mark.parametrize(("path", "query", "words"), [
    ("/v2/orders", {"status": "some"}, "invalid status"), ("/v2/orders", {"limit": 501}, "limit must be"),
    ("/v2/orders", {"limit": "-1"}, "limit must be"), ("/v2/orders", {"direction": "up"}, "invalid direction"),
    ("/v2/orders", {"after": "yesterday"}, "invalid after"), ("/v2/orders", {"nested": "maybe"}, "nested must be"),
    ("/v2/orders", {"side": "both"}, "invalid side"),
    ("/v2/orders", {"before_order_id": NOBODY, "after_order_id": NOBODY}, "only one of"),
    ("/v2/orders", {"before_order_id": NOBODY, "after": "2024-01-01"}, "do not go with"),
    ("/v2/orders:by_client_order_id", {}, "client_order_id is required"),
    ("/v2/account/activities", {"page_size": 101}, "page_size must be"),
    ("/v2/account/activities", {"activity_types": "FILL,LUNCH"}, "invalid activity type: LUNCH"),
    ("/v2/account/activities", {"category": "trade_activity", "activity_types": "FILL"}, "category does not go"),
    ("/v2/account/activities", {"page_token": "x"}, "page_token x"),
    ("/v2/account/activities/LUNCH", {}, "invalid activity type: LUNCH"),
    ("/v2/account/portfolio/history", {"period": "5X"}, "invalid period"),
    ("/v2/account/portfolio/history", {"period": "9999A"}, "invalid period"),
    ("/v2/account/portfolio/history", {"timeframe": "1W"}, "invalid timeframe"),
    ("/v2/account/portfolio/history", {"timeframe": "5Min", "period": "1D"}, "replays bars of 1d"),
    ("/v2/account/portfolio/history", {"timeframe": "5Min", "period": "1A"}, "longer than 30 days"),
    ("/v2/account/portfolio/history", {"intraday_reporting": "continuous"}, "continuous"),
    ("/v2/account/portfolio/history", {"period": "1D", "start": "2024-01-01", "end": "2024-01-02"}, "does not go with"),
    ("/v2/account/portfolio/history", {"start": "2024-01-02", "end": "2024-01-01"}, "end should not be before start"),
    ("/v2/account/portfolio/history", {"cashflow_types": "LUNCH"}, "invalid cashflow_types"),
])
def test_parameters_that_make_no_sense(path, query, words):
    status, body = error(Desk(), "GET", path, **query)
    assert status == 422
    assert words in body["message"]


@pytest.mark.parametrize("query", [{"start": "2024-13-01"}, {"date_type": "BIRTHDAY"},
                                   {"start": "2024-02-02", "end": "2024-02-01"}])
def test_a_calendar_that_makes_no_sense(query):
    assert error(Desk(), "GET", "/v2/calendar", **query)[0] == 400


@pytest.mark.parametrize(("qty", "percentage"), [
    ("nan", None), ("-1", None), ("0", None), ("1e", None), ("inf", None), (None, "101"), (None, "0"), (None, "x"),
    ("1", "10"), ("1.1e99", None)])
def test_a_part_of_a_position_that_makes_no_sense(qty, percentage):
    desk = Desk()
    desk.order(qty=10)
    desk.exchange.advance()
    status, body = error(desk, "DELETE", "/v2/positions/AAPL", qty=qty, percentage=percentage)
    assert status in (403, 422)
    assert desk.get("/v2/positions/AAPL")["qty"] == "10"


@pytest.mark.parametrize("body", [{"no_such": 1}, {"no_shorting": "yes"}, {"max_margin_multiplier": "3"},
                                  {"max_margin_multiplier": ["4"]}, {"trade_confirm_email": True},
                                  {"max_options_trading_level": 2}, {"disable_overnight_trading": False},
                                  {"max_options_trading_level": True}])
def test_a_configuration_that_makes_no_sense_changes_nothing(body):
    desk = Desk()
    before = desk.get("/v2/account/configurations")
    assert error(desk, "PATCH", "/v2/account/configurations", {"suspend_trade": True, **body})[0] == 422
    assert desk.get("/v2/account/configurations") == before


# --- Who asks, and how often ------------------------------------------------------------------------------------------

WRONG = [{}, {"APCA-API-KEY-ID": "local"}, {**KEYS, "APCA-API-SECRET-KEY": "guess"}, {**KEYS, "APCA-API-KEY-ID": "é"},
         {"Authorization": "Bearer token"}, {"Authorization": "Basic !!!"},
         {"Authorization": "Basic " + base64.b64encode(b"local:wrong").decode()}]


@pytest.mark.parametrize("headers", WRONG)
def test_wrong_keys(headers):
    trading = Desk().ask("GET", "/v2/account", headers=headers)
    assert (trading.status, trading.json()) == (401, {"message": "unauthorized."})
    data = Desk().ask("GET", "/v2/stocks/bars", headers=headers)
    assert (data.status, data.headers["Content-Type"]) == (401, "text/html")
    assert b"<center><h1>401 Authorization Required</h1></center>" in data.body
    assert Desk().ask("GET", "/v2/nothing", headers=headers).status == 401


@pytest.mark.parametrize("headers", [KEYS, {name.lower(): value for name, value in KEYS.items()},
                                     {"Authorization": "Basic " + base64.b64encode(b"local:local-secret").decode()}])
def test_right_keys(headers):
    assert Desk().ask("GET", "/v2/account", headers=headers).status == 200


def test_the_rate_limit_of_each_host():
    seconds = [30.0]
    desk = Desk(rate_limit=3, clock=lambda: seconds[0])
    trading = [desk.ask("GET", "/v2/clock") for _ in range(4)]
    assert [r.status for r in trading] == [200, 200, 200, 429]
    assert [r.headers.get("X-RateLimit-Remaining") for r in trading] == ["2", "1", "0", "0"]
    assert (trading[0].headers["X-RateLimit-Limit"], trading[0].headers["X-RateLimit-Reset"]) == ("3", "60")
    assert trading[3].json() == {"code": 42910000, "message": "rate limit exceeded"}
    data = [desk.ask("GET", "/v2/stocks/bars/latest", symbols="AAPL") for _ in range(4)]
    assert [r.status for r in data] == [200, 200, 200, 429]
    assert data[3].json() == {"message": "too many requests."}
    assert "Retry-After" not in data[3].headers
    assert "X-RateLimit-Limit" not in Desk().ask("GET", "/v2/clock").headers  # without a limit there is none to tell
    seconds[0] = 60.0
    assert desk.ask("GET", "/v2/clock").status == 200


def test_every_answer_has_an_id_of_its_own():
    desk = Desk()
    answers = [desk.ask("GET", path) for path in ("/v2/clock", "/v2/nothing", "/v2/account") for _ in range(2)]
    names = {r.headers["X-Request-ID"] for r in answers}
    assert len(names) == 6
    assert {r.headers["X-Request-ID"] for r in [Desk().ask("GET", "/v2/clock")]} < names | {"x"}


@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/v2/account"), ("PUT", "/v2/orders"), ("PATCH", "/v2/positions"), ("DELETE", "/v2/account"),
    ("HEAD", "/v2/clock")])
def test_methods_there_are_not(method, path):
    status, code, message = Desk().refused(method, path)
    assert (status, code) == (405, 40510000)
    assert "allowed: " in message


@pytest.mark.parametrize("path", ["/", "/v2", "/v3/clock", "/v2/watchlists", "/v2/options/contracts",
                                  "/v2/stocks/auctions", "/v2/stocks/AAPL/auctions", "/v2/stocks/AAPL",
                                  "/v2/stocks/bars/x", "/v2/stocks/meta/exchanges", "/v1beta1/news",
                                  "/v1beta3/crypto/us/bars", "/v2/wallets",
                                  "/v2/corporate_actions/announcements", "/v2/stocks/snapshot"])
def test_what_is_not_served_is_refused_with_a_sentence(path):
    status, _, message = Desk().refused("GET", path)
    assert status == 404
    assert "does not serve" in message


def test_a_bug_is_answered_not_raised(monkeypatch):
    desk = Desk()
    desk.api.raise_bugs = False
    monkeypatch.setattr(type(desk.exchange), "buying_power", property(lambda self: 1 / 0))
    response = desk.ask("GET", "/v2/account")
    assert (response.status, response.json()) == (500, {"code": 50010000, "message": "internal server error"})
    assert [type(bug) for bug in desk.api.bugs] == [ZeroDivisionError]
    desk.api.raise_bugs = True
    with pytest.raises(ZeroDivisionError):
        desk.ask("GET", "/v2/account")


# --- Lists ------------------------------------------------------------------------------------------------------------

def busy() -> Desk:
    """Orders a to e: filled, open bracket (its entry filled), open limit of KO, cancelled, expired."""
    desk = Desk(steady(20, AAPL=100.0, KO=50.0))
    desk.order(client_order_id="a")
    desk.order(client_order_id="b", **BRACKET)
    desk.order("KO", side="buy", type="limit", limit_price="40", time_in_force="gtc", client_order_id="c")
    cancelled = desk.order("KO", type="limit", limit_price="41", client_order_id="d")
    desk.order("KO", type="limit", limit_price="42", client_order_id="e")
    desk.ask("DELETE", f"/v2/orders/{cancelled['id']}")
    desk.exchange.advance()
    return desk


def test_orders_are_listed_newest_first():
    desk = busy()
    every = desk.get("/v2/orders", status="all")
    legs = {leg.client_order_id for order in desk.exchange.orders.values() for leg in order.legs}
    assert [name for name in ids(every) if name not in legs] == ["e", "d", "c", "b", "a"]
    assert len(every) == 7
    assert all(order["legs"] is None for order in every)
    up = desk.get("/v2/orders", status="all", direction="asc")
    assert ids(up) == ids(every)[::-1]


def test_open_orders_leave_out_held_legs():
    desk = busy()
    found = desk.get("/v2/orders")
    assert [(o["symbol"], o["type"], o["status"]) for o in found] == [("KO", "limit", "new"), ("AAPL", "limit", "new")]
    assert ids(desk.get("/v2/orders", status="closed")) == ["e", "d", "b", "a"]


def test_nested_orders_stand_under_their_parent():
    desk = busy()
    found = desk.get("/v2/orders", status="all", nested=True)
    assert ids(found) == ["e", "d", "c", "b", "a"]
    assert [leg["group_role"] for leg in found[3]["legs"]] == ["take_profit", "stop_loss"]
    alone = desk.get("/v2/orders", status="open", nested=True)  # the parent is closed: the leg stands for itself
    assert [o["group_role"] for o in alone if "group_role" in o] == ["take_profit"]
    one = desk.get(f"/v2/orders/{found[3]['id']}")
    assert one["legs"] is None
    assert len(desk.get(f"/v2/orders/{found[3]['id']}", nested="true")["legs"]) == 2
    assert len(desk.get("/v2/orders:by_client_order_id", client_order_id="b")["legs"]) == 2


@pytest.mark.parametrize(("query", "expected"), [
    ({"symbols": "KO"}, ["e", "d", "c"]), ({"symbols": "KO,ZZZZ"}, ["e", "d", "c"]), ({"symbols": "ZZZZ"}, []),
    ({"side": "buy"}, ["e", "d", "c", "b", "a"]), ({"limit": 2}, ["e", "d"]),
    ({"asset_class": "crypto"}, []), ({"asset_class": "us_equity,crypto"}, ["e", "d", "c", "b", "a"]),
    ({"limit": 2, "direction": "asc"}, ["a", "b"]), ({"after": "2030-01-01"}, []), ({"until": "2020-01-01"}, []),
])
def test_orders_are_filtered(query, expected):
    assert ids(busy().get("/v2/orders", status="all", nested=True, **query)) == expected


def test_orders_are_filtered_by_side_leg_by_leg():
    desk = busy()
    assert [o["group_role"] for o in desk.get("/v2/orders", status="all", side="sell")] == ["stop_loss", "take_profit"]


def test_after_and_until_leave_the_moment_out():
    desk = busy()
    every = desk.get("/v2/orders", status="all", nested=True)
    third = every[2]["submitted_at"]
    assert ids(desk.get("/v2/orders", status="all", nested=True, after=third)) == ["e", "d"]
    assert ids(desk.get("/v2/orders", status="all", nested=True, until=third)) == ["b", "a"]


def test_orders_beyond_a_page():
    """1,203 orders, 500 a page, in both directions, by id and by time."""
    desk = Desk(steady(4, AAPL=100.0))
    for n in range(1203):
        desk.order(type="limit", limit_price="1", client_order_id=f"n{n}")
    names = [f"n{n}" for n in range(1203)]
    for direction, cursor, expected in (("asc", "after_order_id", names), ("desc", "before_order_id", names[::-1])):
        found: list[Any] = []
        while True:
            page = desk.get("/v2/orders", status="all", limit=500, direction=direction,
                            **({cursor: found[-1]["id"]} if found else {}))
            found += page
            if len(page) < 500:
                break
        assert ids(found) == expected
    found, until = [], None
    while True:
        page = desk.get("/v2/orders", status="all", limit=500, until=until)
        found += page
        if len(page) < 500:
            break
        until = page[-1]["submitted_at"]
    assert ids(found) == names[::-1]
    assert len(desk.get("/v2/orders", status="all")) == 50


def test_an_order_by_asset_id():
    desk = Desk()
    name = desk.get("/v2/assets/AAPL")["id"]
    assert desk.order(name)["symbol"] == "AAPL"
    desk.exchange.advance()
    assert desk.get(f"/v2/positions/{name}")["symbol"] == "AAPL"
    assert desk.get(f"/v2/assets/{name}")["symbol"] == "AAPL"


# --- Positions, assets ------------------------------------------------------------------------------------------------

def test_a_position_is_closed_in_parts():
    desk = Desk(steady(20))
    desk.order(qty=10)
    desk.exchange.advance()
    part = desk.ask("DELETE", "/v2/positions/AAPL", qty="3").json()
    assert (part["side"], part["qty"], part["type"]) == ("sell", "3", "market")
    assert part["position_intent"] == "sell_to_close"
    desk.exchange.advance()
    half = desk.ask("DELETE", "/v2/positions/AAPL", percentage="50").json()
    assert half["qty"] == "3.5"
    desk.exchange.advance()
    assert desk.ask("DELETE", "/v2/positions/AAPL").json()["qty"] == "3.5"
    desk.exchange.advance()
    assert desk.get("/v2/positions") == []


def test_all_positions_are_closed_and_what_cannot_be_is_told():
    desk = held()
    desk.order("KO", qty=4)
    desk.exchange.advance()
    response = desk.ask("DELETE", "/v2/positions")
    check("DELETE", "/v2/positions", response.status, response.json())
    assert response.status == 207
    assert [(row["symbol"], row["status"]) for row in response.json()] == [("AAPL", 403), ("KO", 200)]
    assert response.json()[0]["body"]["held_for_orders"] == "106"
    assert response.json()[1]["body"]["qty"] == "4"
    response = desk.ask("DELETE", "/v2/positions", cancel_orders="True")
    assert {row["status"] for row in response.json()} == {200}
    desk.exchange.advance()
    assert desk.get("/v2/positions") == []


def test_all_orders_are_cancelled():
    desk = busy()
    response = desk.ask("DELETE", "/v2/orders")
    check("DELETE", "/v2/orders", response.status, response.json())
    assert response.status == 207
    assert all(row["status"] == 200 for row in response.json())
    assert desk.get("/v2/orders") == []
    assert desk.ask("DELETE", "/v2/orders").json() == []


@pytest.mark.parametrize(("query", "count"), [
    ({}, 3), ({"status": "active"}, 3), ({"status": "inactive"}, 0), ({"asset_class": "us_equity"}, 3),
    ({"asset_class": "crypto"}, 0), ({"exchange": "NYSE"}, 3), ({"exchange": "OTC"}, 0), ({"attributes": "ipo"}, 0),
])
def test_assets_are_filtered(query, count):
    made = Desk().get("/v2/assets", **query)
    assert [asset["symbol"] for asset in made] == ["AAPL", "KO", "TSLA"][:count]


# --- Hours ------------------------------------------------------------------------------------------------------------

def test_the_clock():
    desk = Desk(minutes(2, 5), first=12)
    assert desk.get("/v2/clock") == {"is_open": True, "next_close": "2024-03-04T16:00:00-05:00",
                                     "next_open": "2024-03-05T09:30:00-05:00", "timestamp": "2024-03-04T10:30:00-05:00"}
    closed = Desk(steady(20), first=4).get("/v2/clock")  # a Thursday evening
    assert (closed["is_open"], closed["next_open"], closed["timestamp"]) == (
        False, "2024-03-08T09:30:00-05:00", "2024-03-07T16:20:00-05:00")


def test_the_calendar():
    made = Desk().get("/v2/calendar", start="2025-11-26", end="2025-12-01")
    assert made == [
        {"date": "2025-11-26", "open": "09:30", "close": "16:00", "session_open": "0400", "session_close": "2000",
         "settlement_date": "2025-11-28"},
        {"date": "2025-11-28", "open": "09:30", "close": "13:00", "session_open": "0400", "session_close": "1700",
         "settlement_date": "2025-12-01"},
        {"date": "2025-12-01", "open": "09:30", "close": "16:00", "session_open": "0400", "session_close": "2000",
         "settlement_date": "2025-12-02"}]


def test_the_whole_calendar():
    made = Desk().get("/v2/calendar")
    days = [row["date"] for row in made]
    assert days == sorted(days)
    assert (days[0], "2029-12-31" in days, len(days) > 15_000) == ("1970-01-02", True, True)


@pytest.mark.parametrize(("day", "settles"), [
    ("2024-05-24", "2024-05-29"),  # the last Friday of two days, over Memorial Day
    ("2024-05-28", "2024-05-29"), ("2017-09-01", "2017-09-07"), ("2017-09-05", "2017-09-07"),
    ("2023-10-06", "2023-10-11"),  # Columbus Day trades and does not settle
    ("2024-11-08", "2024-11-12"),  # nor does Veterans Day
    ("1995-06-06", "1995-06-13"),
])
def test_settlement_dates(day, settles):
    assert Desk().get("/v2/calendar", start=day, end=day)[0]["settlement_date"] == settles
    by = Desk().get("/v2/calendar", start=settles, end=settles, date_type="SETTLEMENT")
    assert day in [row["date"] for row in by]
    assert {row["settlement_date"] for row in by} == {settles}


# --- The account ------------------------------------------------------------------------------------------------------

def test_configurations_act():
    desk = Desk()
    made = desk.ask("PATCH", "/v2/account/configurations", {"suspend_trade": True, "max_margin_multiplier": "2"}).json()
    assert (made["suspend_trade"], made["max_margin_multiplier"]) == (True, "2")
    account = desk.get("/v2/account")
    assert (account["trade_suspended_by_user"], account["multiplier"], account["buying_power"]) == (True, "2", "200000")
    assert order_error(desk)[0] == 403
    desk.ask("PATCH", "/v2/account/configurations", {"suspend_trade": False, "fractional_trading": False})
    assert order_error(desk, qty="0.5")[0] == 403
    assert order_error(desk, qty=None, notional="20")[0] == 403
    desk.order()
    assert desk.get("/v2/account/configurations")["fractional_trading"] is False


def moved() -> Desk:
    """Fills of three days, a deposit, a withdrawal, a dividend."""
    desk = Desk(market({"AAPL": [(100, 101, 99, 100)] * 8}, actions=[("AAPL", "2024-03-07", "cash_dividend", 0.5)]))
    for n in range(3):
        desk.order(qty=1 + n, client_order_id=f"o{n}")
        desk.exchange.advance()
        if n == 0:
            desk.exchange.deposit(250.0)
    desk.exchange.deposit(-50.0)
    desk.exchange.advance()
    return desk


@pytest.mark.parametrize(("query", "types"), [
    ({}, ["CSW", "DIV", "FILL", "FILL", "CSD", "FILL"]),
    ({"direction": "asc"}, ["FILL", "CSD", "FILL", "FILL", "DIV", "CSW"]),
    ({"activity_types": "FILL"}, ["FILL"] * 3), ({"activity_types": "TRANS"}, ["CSW", "CSD"]),
    ({"activity_types": "CSD,DIV"}, ["DIV", "CSD"]), ({"activity_types": "MISC"}, []),
    ({"category": "trade_activity"}, ["FILL"] * 3), ({"category": "non_trade_activity"}, ["CSW", "DIV", "CSD"]),
    ({"date": "2024-03-05"}, ["CSD", "FILL"]), ({"date": "2024-03-06T20:00:00Z"}, ["FILL"]),
    ({"after": "2024-03-07"}, ["CSW", "DIV", "FILL"]), ({"until": "2024-03-06"}, ["CSD", "FILL"]),
    ({"after": "2024-03-05", "until": "2024-03-07", "activity_types": "FILL"}, ["FILL", "FILL"]),
])
def test_activities_are_filtered(query, types):
    made = moved().get("/v2/account/activities", **query)
    check("GET", "/v2/account/activities", 200, made)
    found = [a["activity_type"] for a in made]
    assert sorted(found) == sorted(types)
    if "CSW" not in found or "DIV" not in found:
        assert found == types


def test_activities_of_one_type_and_one_order():
    desk = moved()
    fills = desk.get("/v2/account/activities/FILL")
    assert [f["qty"] for f in fills] == ["3", "2", "1"]
    one = desk.get("/v2/account/activities/FILL", order_id=fills[1]["order_id"])
    assert one == [fills[1]]
    after = desk.get("/v2/account/activities/FILL", after=fills[1]["transaction_time"])
    assert after == [fills[0]]  # the moment itself is left out


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_activities_come_in_pages(size, direction):
    desk = moved()
    whole = desk.get("/v2/account/activities", direction=direction)
    found: list[Any] = []
    while True:
        page = desk.get("/v2/account/activities", direction=direction, page_size=size,
                        page_token=found[-1]["id"] if found else None)
        found += page
        if len(page) < size:
            break
    assert found == whole


# --- Portfolio history ------------------------------------------------------------------------------------------------

def test_the_history_by_day():
    """Ten shares bought at 100; closes 100, 102, 101; a deposit of 500 counts as equity, not as profit."""
    desk = Desk(market({"AAPL": [(100, 103, 99, c) for c in (100, 100, 102, 101, 101)]}))
    desk.order(qty=10)
    desk.exchange.advance()
    desk.exchange.advance()
    desk.exchange.deposit(500.0)
    desk.exchange.advance()
    made = desk.get("/v2/account/portfolio/history", cashflow_types="ALL")
    check("GET", "/v2/account/portfolio/history", 200, made)
    assert made["equity"] == [100_000, 100_020, 100_510]
    assert made["profit_loss"] == [0, 20, 10]
    assert made["profit_loss_pct"] == pytest.approx([0, 2e-4, 1e-4], abs=1e-12)
    assert (made["base_value"], made["base_value_asof"], made["timeframe"]) == (100_000, "2024-03-04", "1D")
    assert made["cashflow"] == {"CSD": [0, 0, 500]}
    assert made["timestamp"] == [1709672400, 1709758800, 1709845200]  # 16:00 in New York
    two = desk.get("/v2/account/portfolio/history", period="1D", timeframe="1D")
    assert (two["equity"], two["base_value"], two["base_value_asof"]) == ([100_020, 100_510], 100_000, "2024-03-05")
    span = desk.get("/v2/account/portfolio/history", start="2024-03-06T00:00:00Z", end="2024-03-06T22:00:00Z",
                    timeframe="1D")
    assert span["equity"] == [100_000, 100_020]  # midnight UTC is the evening before
    later = desk.get("/v2/account/portfolio/history", start="1709758800", period="1D", timeframe="1D")
    assert later["equity"] == [100_020, 100_510]


def test_the_history_within_days():
    desk = Desk(minutes(3, 15), first=4)
    desk.order(qty=100)
    while desk.exchange.bar < 30:  # the second day's first five bars are over
        desk.exchange.advance()
    made = desk.get("/v2/account/portfolio/history", period="1D")
    check("GET", "/v2/account/portfolio/history", 200, made)
    assert made["timeframe"] == "15Min"
    assert all(b - a == 900 for a, b in zip(made["timestamp"], made["timestamp"][1:]) if b - a < 3600)
    assert made["timestamp"][-1] == 1709649000 + 4 * 900  # the bar of 10:30 on 2024-03-05
    assert made["equity"][-1] == pytest.approx(float(desk.get("/v2/account")["equity"]))
    history = desk.exchange.equity_history
    overnight = [e for t, e in history if t <= 1709586000 * 10**9][-1]  # 16:00 on 2024-03-04
    assert made["profit_loss"][-1] == pytest.approx(made["equity"][-1] - overnight, abs=1e-6)
    from_base = desk.get("/v2/account/portfolio/history", period="1D", pnl_reset="no_reset")
    assert from_base["profit_loss"][-1] == pytest.approx(made["equity"][-1] - from_base["base_value"], abs=1e-6)
    hours = desk.get("/v2/account/portfolio/history", period="1D", timeframe="1H")
    assert [t % 3600 for t in hours["timestamp"]] == [1800] * len(hours["timestamp"])  # from the open at 9:30
    assert hours["equity"][-1] == made["equity"][-1]


def test_the_history_of_nothing():
    made = Desk().get("/v2/account/portfolio/history")
    check("GET", "/v2/account/portfolio/history", 200, made)
    assert (made["timestamp"], made["equity"], made["base_value"]) == ([], [], 100_000)


# --- The same calls, the same answers ---------------------------------------------------------------------------------

def test_answers_follow_from_the_calls_alone():
    def session() -> list[bytes]:
        desk = busy()
        return [desk.ask("GET", path, status="all").body for path in (
            "/v2/orders", "/v2/account", "/v2/positions", "/v2/account/activities", "/v2/clock")]

    assert session() == session()


def test_a_request_is_plain_data():
    desk = Desk()
    response = desk.api.handle(Request("get", "/v2/assets/AAPL/", [], KEYS))
    assert (response.status, json.loads(response.body)["symbol"]) == (200, "AAPL")
