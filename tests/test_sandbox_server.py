"""The local exchange on a loopback port, by the real alpaca-py: HTTP and both websockets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
import requests
import venue_helpers as helpers
from alpaca.common.exceptions import APIError
from alpaca.data.models import Bar, Quote, Trade, TradingStatus
from alpaca.data.requests import StockBarsRequest, StockLatestBarRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import GetOrdersRequest
from venue_helpers import data, limit, market, trading, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from botlib import sandbox
from botlib.bars import FIELDS
from botlib.brokers import AlpacaConfig
from botlib.errors import BotlibWarning, DataError, InputError
from botlib.providers.alpaca import AlpacaProvider

pytestmark = pytest.mark.slow  # a real server on real sockets

FIVE = TimeFrame(5, TimeFrameUnit.Minute)


@pytest.fixture(autouse=True)
def _nobody_listens_on():
    yield
    for stream in list(helpers.LISTENING):
        stream.end()


@pytest.fixture
def venue():
    """An intraday market at 9:35, moved by steps."""
    with sandbox.running(helpers.intraday()) as made:
        yield made


@pytest.fixture
def faulty():
    """Makes venues with a script; all end with the test."""
    made = []

    def make(*script, bars=None, **options):
        made.append(sandbox.running(bars or helpers.intraday(), faults=script, **options).start())
        return made[-1]

    yield make
    for one in made:
        one.stop()


def headers(venue):
    return {"APCA-API-KEY-ID": venue.keys[0], "APCA-API-SECRET-KEY": venue.keys[1]}


# --- orders and their updates --------------------------------------------------------------------

def test_an_order_is_filled_at_the_next_open_and_its_updates_arrive_typed(venue):
    """Bar 1 opens at 100.01."""
    client = trading(venue)
    updates = helpers.Updates(venue)
    order = client.submit_order(market(client_order_id="mine"))
    assert order.status == "pending_new"
    until(lambda: len(updates.got) == 2)  # new, a moment later and without a further request
    assert venue.step() == 1
    until(lambda: len(updates.got) == 3)
    updates.end()
    assert updates.events == ["pending_new", "new", "fill"]
    fill = updates.got[-1]
    assert isinstance(fill, TradeUpdate)
    assert (fill.price, fill.qty, fill.position_qty) == (100.01, 10.0, 10.0)
    assert (fill.order.id, fill.order.client_order_id) == (order.id, "mine")
    assert fill.order.filled_avg_price == "100.01" and fill.order.status == "filled"
    assert fill.timestamp > updates.got[0].timestamp


def test_a_closed_market_queues_orders_until_the_open(faulty):
    venue = faulty(bars=helpers.daily())
    client = trading(venue)
    updates = helpers.Updates(venue)
    assert not client.get_clock().is_open
    assert client.submit_order(market()).status == "accepted"
    venue.step()
    until(lambda: "fill" in updates.events)
    updates.end()
    assert updates.events == ["accepted", "new", "fill"]


def test_cancels_are_told(venue):
    client = trading(venue)
    updates = helpers.Updates(venue)
    order = client.submit_order(limit(50.0))
    client.cancel_order_by_id(order.id)
    until(lambda: "canceled" in updates.events)
    updates.end()
    assert updates.events == ["pending_new", "new", "pending_cancel", "canceled"]


def test_every_listener_hears_everything(venue):
    one, two = helpers.Updates(venue), helpers.Updates(venue)
    trading(venue).submit_order(market())
    venue.step()
    until(lambda: one.events == two.events == ["pending_new", "new", "fill"])
    one.end()
    two.end()


def test_step_returns_when_the_streams_have_been_told(venue):
    """No waiting between the step and the read: the frames are in the socket."""
    with connect(venue.trading_stream_url) as ws:
        ws.send(json.dumps({"action": "authenticate", "data": dict(zip(("key_id", "secret_key"), venue.keys))}))
        assert isinstance(ws.recv(), bytes)
        ws.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert json.loads(ws.recv()) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        trading(venue).submit_order(market())
        venue.step(3)
        frames = [ws.recv(timeout=0.5) for _ in range(3)]
    assert all(isinstance(f, bytes) for f in frames)
    assert [json.loads(f)["data"]["event"] for f in frames] == ["pending_new", "new", "fill"]


# --- market data ---------------------------------------------------------------------------------

def test_bars_arrive_typed(venue):
    """Bar 1 (9:35): open 100.01, high 100.11, low 99.96, close 100.06, volume 1001; with bar 0 the day's so far."""
    prices = helpers.Prices(venue, bars=["AAPL"], dailyBars=["IBM"])
    venue.step()
    until(lambda: len(prices.got) == 2)
    prices.end()
    bar, day = prices.got
    assert isinstance(bar, Bar) and isinstance(day, Bar)
    assert (bar.symbol, bar.open, bar.high, bar.low, bar.close, bar.volume) == (
        "AAPL", 100.01, 100.11, 99.96, 100.06, 1001.0)
    assert bar.timestamp == dt.datetime(2024, 3, 4, 14, 35, tzinfo=dt.UTC)
    assert (day.symbol, day.open, day.high, day.low, day.close, day.volume) == (
        "IBM", 200.0, 200.11, 199.95, 200.06, 2001.0)
    assert day.timestamp == dt.datetime(2024, 3, 4, 5, tzinfo=dt.UTC)


def test_a_daily_replay_streams_daily_bars_only(faulty):
    venue = faulty(bars=helpers.daily())
    prices = helpers.Prices(venue, bars=["AAPL"], dailyBars=["AAPL"])
    venue.step(2)
    until(lambda: len(prices.got) == 2)
    prices.end()
    assert [(b.open, b.timestamp.day) for b in prices.got] == [(100.01, 5), (100.02, 6)]


def test_trades_and_quotes_are_typed_and_say_that_they_are_synthetic(venue):
    prices = helpers.Prices(venue, trades=["AAPL"], quotes=["AAPL"])
    venue.step()
    until(lambda: len(prices.got) == 8)
    prices.end()
    trades = [m for m in prices.got if isinstance(m, Trade)]
    quotes = [m for m in prices.got if isinstance(m, Quote)]
    assert [t.price for t in trades] == [100.01, 99.96, 100.11, 100.06]  # the low is nearer to the open
    assert all(q.bid_price < t.price < q.ask_price for q, t in zip(quotes, trades, strict=True))
    assert {c for m in prices.got for c in m.conditions} == {"synthetic"}


def test_streamed_bars_are_those_of_the_history(venue):
    prices = helpers.Prices(venue, bars=["AAPL", "IBM"])
    venue.step(80)
    until(lambda: len(prices.got) == 160)
    prices.end()
    venue.start()
    asked = StockBarsRequest(symbol_or_symbols=["AAPL", "IBM"], timeframe=FIVE, limit=None,
                             start=dt.datetime(2024, 3, 4, 14, 35, tzinfo=dt.UTC))
    kept = data(venue).get_stock_bars(asked).data
    for symbol in ("AAPL", "IBM"):
        assert [b for b in prices.got if b.symbol == symbol] == kept[symbol]


def test_a_halt_is_told_and_nothing_fills(faulty):
    venue = faulty({"kind": "halt", "symbol": "AAPL", "bars": [1, 2]})
    client = trading(venue)
    prices = helpers.Prices(venue, statuses=["AAPL", "IBM"])
    venue.step()
    order = client.submit_order(market())
    venue.step()
    assert client.get_order_by_id(order.id).status == "new"
    venue.step(2)
    until(lambda: len(prices.got) == 2)
    assert client.get_order_by_id(order.id).filled_avg_price == "100.04"  # bar 4: the halt ended after bar 2
    prices.end()
    assert all(isinstance(s, TradingStatus) for s in prices.got)
    assert [(s.symbol, s.status_message) for s in prices.got] == [("AAPL", "Trading Halt"), ("AAPL", "Resume")]


def test_synthetic_bars_say_so_in_every_answer():
    made = sandbox.intraday(helpers.daily(4), "30m", seed=1)
    with sandbox.running(made) as venue:
        assert "synthetic" in repr(venue)
        reply = requests.get(f"{venue.url}/v2/clock", headers=headers(venue), timeout=10)
        assert reply.headers["X-Sandbox-Data"] == "synthetic"
        state = requests.get(f"{venue.url}/sandbox/state", headers=headers(venue), timeout=10).json()
        assert state["synthetic"] == ["bars", "quotes", "trades"]


def test_real_bars_do_not(venue):
    reply = requests.get(f"{venue.url}/v2/clock", headers=headers(venue), timeout=10)
    assert "X-Sandbox-Data" not in reply.headers and "synthetic" not in repr(venue)


# --- keys ----------------------------------------------------------------------------------------

def test_wrong_keys(venue):
    venue_keys, venue.keys = venue.keys, ("local", "wrong")
    with pytest.raises(APIError) as refused:
        trading(venue).get_account()
    assert refused.value.status_code == 401 and json.loads(str(refused.value)) == {"message": "unauthorized."}
    with pytest.raises(APIError) as refused:
        data(venue).get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))
    assert refused.value.status_code == 401 and "<html>" in str(refused.value)
    venue.keys = venue_keys


def test_wrong_keys_on_the_streams(venue):
    with connect(venue.trading_stream_url) as ws:
        ws.send(json.dumps({"action": "authenticate", "data": {"key_id": "local", "secret_key": "no"}}))
        assert json.loads(ws.recv())["data"]["status"] == "unauthorized"
    with connect(venue.data_stream_url) as ws:
        assert json.loads(ws.recv()) == [{"T": "success", "msg": "connected"}]
        ws.send(json.dumps({"action": "auth", "key": "local", "secret": "no"}))
        assert json.loads(ws.recv()) == [{"T": "error", "code": 402, "msg": "auth failed"}]


@contextlib.contextmanager
def logged_in(venue, url=None):
    """A market data connection, in JSON, and the answer to its keys."""
    with connect(url or venue.data_stream_url) as ws:
        ws.recv()
        ws.send(json.dumps({"action": "auth", "key": venue.keys[0], "secret": venue.keys[1]}))
        yield ws, json.loads(ws.recv())[0]


def asked(ws, **message):
    ws.send(json.dumps(message))
    return json.loads(ws.recv())[0]


def test_one_connection_at_a_time(venue):
    with logged_in(venue) as (_, told):
        assert told == {"T": "success", "msg": "authenticated"}
        with logged_in(venue) as (_, refused):
            assert (refused["code"], refused["msg"]) == (406, "connection limit exceeded")
    until(lambda: not venue._server.listeners.connections)
    with logged_in(venue) as (_, told):
        assert told["T"] == "success"


def test_the_basic_plan(faulty):
    venue = faulty(basic_plan=True)
    with logged_in(venue, venue.data_stream_url.replace("iex", "sip")) as (_, told):
        assert (told["code"], told["msg"]) == (409, "insufficient subscription")
    with logged_in(venue) as (ws, _):
        assert asked(ws, action="subscribe", bars=[f"S{n}" for n in range(30)])["T"] == "subscription"
        assert asked(ws, action="subscribe", trades=["MORE"]) == {
            "T": "error", "code": 405, "msg": "symbol limit exceeded"}


def test_keys_must_come_in_time(faulty):
    venue = faulty(auth_seconds=0.05)
    with connect(venue.data_stream_url) as ws:
        ws.recv()
        assert json.loads(ws.recv(timeout=5)) == [{"T": "error", "code": 404, "msg": "auth timeout"}]
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=5)


def test_a_client_that_does_not_read_is_cut_off(faulty, monkeypatch):
    from botlib.sandbox import listeners, server

    monkeypatch.setattr(listeners, "_MOST_WAITING", 5)
    monkeypatch.setattr(listeners, "_SLOW_SECONDS", 0.0)
    monkeypatch.setattr(server, "_BARS_A_BREATH", 10_000)
    venue = faulty()
    with logged_in(venue) as (ws, _):
        asked(ws, action="subscribe", trades=["*"], quotes=["*"], bars=["*"])
        venue.step(100)
        with pytest.raises(ConnectionClosed):
            while True:
                last = json.loads(ws.recv(timeout=5))
    assert last == [{"T": "error", "code": 407, "msg": "slow client"}]


def test_there_is_no_other_stream(venue):
    for path in ("/v2/crypto", "/v1beta3/news", "/streams"):
        with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{venue.port}{path}"):
            pass


# --- faults of requests --------------------------------------------------------------------------

POST = {"method": "POST", "path": "/v2/orders"}


def ids(venue):
    return [o.client_order_id for o in trading(venue).get_orders(GetOrdersRequest(status="all"))]


@pytest.mark.parametrize("accepted", [False, True])
def test_no_reply(faulty, accepted):
    venue = faulty({"kind": "no_reply", "accepted": accepted, "times": 1, **POST})
    with pytest.raises(requests.ReadTimeout):
        trading(venue, timeout=0.1).submit_order(market(client_order_id="lost"))
    assert ids(venue) == ["lost"] * accepted


def test_no_reply_lasts_until_the_venue_stops(faulty):
    venue = faulty({"kind": "no_reply", "path": "/v2/clock"})
    raised = []

    def ask():
        try:
            trading(venue).get_clock()  # no timeout anywhere, as the SDK is
        except requests.ConnectionError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: venue.faults.log)
    thread.join(0.2)
    assert thread.is_alive()
    venue.stop()
    thread.join(5)
    assert len(raised) == 1


@pytest.mark.parametrize("accepted", [False, True])
def test_a_reset_before_the_answer(faulty, accepted):
    venue = faulty({"kind": "reset", "accepted": accepted, **POST})
    with pytest.raises(requests.ConnectionError, match=r"(?i)reset"):
        trading(venue).submit_order(market(client_order_id="lost"))
    assert ids(venue) == ["lost"] * accepted


def test_a_reset_in_the_middle_of_the_body(faulty):
    venue = faulty({"kind": "reset", "accepted": True, "share": 0.5, **POST})
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        trading(venue).submit_order(market(client_order_id="lost"))
    with socket.create_connection(("127.0.0.1", venue.port)) as raw:
        body = json.dumps({"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"})
        lines = [f"{name}: {value}" for name, value in headers(venue).items()]
        raw.sendall("\r\n".join(["POST /v2/orders HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *lines,
                                 "", body]).encode())
        got = b""
        with pytest.raises(ConnectionResetError):
            while chunk := raw.recv(65536):
                got += chunk
    head, _, rest = got.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    assert head.startswith(b"HTTP/1.1 200") and len(rest) == length // 2
    assert len(ids(venue)) == 2


def test_a_rate_limit(faulty):
    venue = faulty({"kind": "status", "status": 429, "retry_after": 7, "times": 2})
    with pytest.raises(APIError) as trade:
        trading(venue).get_account()
    assert (trade.value.status_code, trade.value.code) == (429, 42910000)
    assert trade.value.response.headers["Retry-After"] == "7"
    with pytest.raises(APIError, match="too many requests"):
        data(venue).get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))
    assert trading(venue).get_account().cash == "100000"


def test_a_504_after_acceptance_and_the_retries_of_the_sdk_make_four_orders(faulty):
    """What alpaca-py 0.44 does by itself: three retries of a POST."""
    venue = faulty({"kind": "status", "status": 504, "accepted": True, "times": 3, **POST})
    trading(venue, retries=3).submit_order(market())
    assert len(ids(venue)) == 4


def test_a_504_after_acceptance_with_a_client_id_ends_as_a_duplicate(faulty):
    venue = faulty({"kind": "status", "status": 504, "accepted": True, "times": 3, **POST})
    with pytest.raises(APIError) as refused:
        trading(venue, retries=3).submit_order(market(client_order_id="once"))
    assert (refused.value.status_code, refused.value.code) == (422, 40010001)
    assert ids(venue) == ["once"]


def test_a_504_before_acceptance(faulty):
    venue = faulty({"kind": "status", "status": 504, **POST})
    with pytest.raises(APIError) as failed:
        trading(venue).submit_order(market())
    assert failed.value.status_code == 504 and ids(venue) == []


@pytest.mark.parametrize("status", [500, 502, 503])
def test_errors_of_the_service(faulty, status):
    venue = faulty({"kind": "status", "status": status, "path": "/v2/positions"})
    with pytest.raises(APIError) as failed:
        trading(venue).get_all_positions()
    assert failed.value.status_code == status


def test_html_where_json_should_be(faulty):
    venue = faulty({"kind": "html", "status": 502, "nth": 1}, {"kind": "html", "status": 200, "nth": 2})
    client = trading(venue)
    with pytest.raises(APIError, match="<html>") as failed:
        client.get_account()
    with pytest.raises(ValueError):  # the SDK reads the page as JSON
        _ = failed.value.code
    with pytest.raises(ValueError):
        client.get_account()
    assert client.get_account().cash == "100000"


def test_malformed_json(faulty):
    venue = faulty({"kind": "malformed", **POST})
    with pytest.raises(ValueError):
        trading(venue).submit_order(market(client_order_id="lost"))
    assert ids(venue) == ["lost"]


def test_a_late_reply(faulty):
    venue = faulty({"kind": "delay", "seconds": 0.3, "accepted": True, "nth": 1, **POST},
                   {"kind": "delay", "seconds": 0.3, "accepted": False, "nth": 2, **POST})
    with pytest.raises(requests.ReadTimeout):
        trading(venue, timeout=0.05).submit_order(market(client_order_id="known"))
    assert ids(venue) == ["known"]
    with pytest.raises(requests.ReadTimeout):
        trading(venue, timeout=0.05).submit_order(market(client_order_id="later"))
    assert ids(venue) == ["known"]
    until(lambda: sorted(ids(venue)) == ["known", "later"])  # nobody waits for it any more, and it still arrives


def test_a_delay_is_as_long_as_it_says(faulty):
    venue = faulty({"kind": "delay", "seconds": 0.2, "accepted": True, "path": "/v2/clock"})
    client = trading(venue)
    client.get_account()
    begun = time.monotonic()
    client.get_clock()
    assert time.monotonic() - begun >= 0.2


def test_stale_data(faulty):
    """From bar 2 on the data host stands still, and the account goes on."""
    venue = faulty({"kind": "stale", "path": "/v2/stocks*", "bars": [2, 100]})
    client, prices = trading(venue), data(venue)
    asked = StockLatestBarRequest(symbol_or_symbols="AAPL")
    venue.step()
    assert prices.get_stock_latest_bar(asked)["AAPL"].close == 100.06
    venue.step()
    assert prices.get_stock_latest_bar(asked)["AAPL"].close == 100.07
    client.submit_order(market())
    venue.step(3)
    assert prices.get_stock_latest_bar(asked)["AAPL"].close == 100.07
    assert client.get_open_position("AAPL").current_price == "100.1"


def test_a_blocked_account(faulty):
    venue = faulty({"kind": "account_blocked", "bars": [1, 1]})
    client = trading(venue)
    venue.step()
    assert client.get_account().account_blocked
    with pytest.raises(APIError) as refused:
        client.submit_order(market())
    assert (refused.value.status_code, refused.value.code) == (403, 40310000)
    venue.step()
    client.submit_order(market())


# --- faults of streams ---------------------------------------------------------------------------

@pytest.mark.parametrize(("fault", "heard"), [
    ({"kind": "missing", "event": "new"}, ["pending_new", "fill"]),
    ({"kind": "duplicated", "event": "fill"}, ["pending_new", "new", "fill", "fill"]),
    ({"kind": "reordered", "event": "new"}, ["pending_new", "fill", "new"]),
    ({"kind": "mute", "stream": "trade_updates", "event": "new"}, ["pending_new"]),
])
def test_events_that_go_wrong(faulty, fault, heard):
    venue = faulty(fault)
    updates = helpers.Updates(venue)
    order = trading(venue).submit_order(market())
    venue.step()
    until(lambda: len(updates.got) >= len(heard))
    venue.step()
    updates.end()
    assert updates.events == heard
    venue.start()
    assert trading(venue).get_order_by_id(order.id).status == "filled"


def test_a_dropped_socket_is_reconnected_and_the_gap_stays(faulty):
    venue = faulty({"kind": "dropped", "stream": "trade_updates", "event": "fill", "times": 1})
    client = trading(venue)
    updates = helpers.Updates(venue)
    before = list(venue._server.listeners.connections)
    client.submit_order(market())
    venue.step()
    until(lambda: updates.events == ["pending_new", "new"])
    until(lambda: list(venue._server.listeners.connections) not in ([], before))
    updates.listening()
    client.submit_order(market(side="sell"))
    venue.step()
    until(lambda: len(updates.got) == 5)
    updates.end()
    assert updates.events == ["pending_new", "new", "pending_new", "new", "fill"]  # the first fill is lost


def test_a_dropped_data_socket_keeps_its_place_for_a_while(faulty):
    venue = faulty({"kind": "dropped", "stream": "market_data", "times": 1, "seconds": 0.3})
    with logged_in(venue) as (ws, _):
        asked(ws, action="subscribe", bars=["AAPL"])
        venue.step()
        with pytest.raises(ConnectionClosed, match="no close frame"):
            ws.recv(timeout=5)

    def code():
        with logged_in(venue) as (_, told):
            return told.get("code")

    assert code() == 406
    until(lambda: code() is None)


def test_reconnecting_bars_go_on(faulty):
    venue = faulty({"kind": "dropped", "stream": "market_data", "event": "b", "nth": 2})
    prices = helpers.Prices(venue, bars=["AAPL"])
    before = list(venue._server.listeners.connections)
    venue.step(2)
    until(lambda: list(venue._server.listeners.connections) not in ([], before))
    prices.listening()
    venue.step()
    until(lambda: len(prices.got) == 2)
    prices.end()
    assert [b.close for b in prices.got] == [100.06, 100.08]  # bar 2 is lost


def test_a_broker_that_goes_away_and_comes_back(venue):
    updates = helpers.Updates(venue)
    client, port = trading(venue), venue.port
    client.submit_order(limit(50.0))
    until(lambda: len(updates.got) == 2)
    venue.stop()
    with pytest.raises(requests.ConnectionError):
        client.get_account()
    venue.step()  # meanwhile the market goes on
    venue.start()
    assert venue.port == port
    updates.listening()
    assert len(client.get_orders()) == 1
    client.cancel_orders()
    until(lambda: "canceled" in updates.events)
    updates.end()


# --- control calls -------------------------------------------------------------------------------

def control(venue, method, path, body=None, keys=None):
    reply = requests.request(method, f"{venue.url}{path}", headers=keys or headers(venue), timeout=10,
                             data=None if body is None else json.dumps(body))
    return reply.status_code, reply.json()


def test_stepping_by_a_control_call(venue):
    status, state = control(venue, "POST", "/sandbox/step?n=3")
    assert status == 200 and (state["stepped"], state["bar"], state["moved_by"]) == (3, 3, "steps")
    assert state["now"] == "2024-03-04T14:50:00Z" and not state["done"]
    assert control(venue, "POST", "/sandbox/step?n=1000")[1]["stepped"] == 156
    status, state = control(venue, "GET", "/sandbox/state")
    assert state["done"] and state["bar"] == 159
    assert control(venue, "POST", "/sandbox/step")[1]["stepped"] == 0
    assert venue.step() == 0


@pytest.mark.parametrize("call", [("POST", "/sandbox/step"), ("GET", "/sandbox/state"), ("GET", "/sandbox/faults"),
                                  ("POST", "/sandbox/faults"), ("DELETE", "/sandbox/faults")])
def test_control_calls_need_the_keys(venue, call):
    assert control(venue, *call, body=[], keys={"APCA-API-KEY-ID": "local"})[0] == 401
    assert venue.exchange.bar == 0


def test_a_script_by_control_calls(venue):
    fault = {"kind": "status", "status": 502, "path": "/v2/account", "times": 1}
    status, told = control(venue, "POST", "/sandbox/faults", fault)
    assert status == 200 and told["faults"] == [{**fault, "seen": 0, "fired": 0}]
    with pytest.raises(APIError):
        trading(venue).get_account()
    told = control(venue, "GET", "/sandbox/faults")[1]
    assert (told["faults"][0]["fired"], told["log"]) == (1, [[0, "status", "GET /v2/account"]])
    assert control(venue, "DELETE", "/sandbox/faults")[1]["faults"] == []
    trading(venue).get_account()


@pytest.mark.parametrize(("method", "path", "body", "status", "words"), [
    ("POST", "/sandbox/faults", {"kind": "dealy"}, 422, "did you mean 'delay'"),
    ("POST", "/sandbox/faults", [{"kind": "delay", "seconds": -1}], 422, "out of range"),
    ("POST", "/sandbox/faults", [7], 422, "a fault is a mapping"),
    ("POST", "/sandbox/faults", {"kind": "halt", "symbol": "ZZZ"}, 422, "not among the bars"),
    ("PUT", "/sandbox/faults", [], 404, "there is no PUT"),
    ("POST", "/sandbox/step?n=0", None, 422, "between 1 and"),
    ("POST", "/sandbox/dance", None, 404, "there are GET /sandbox/state"),
])
def test_wrong_control_calls_are_refused_in_a_sentence(venue, method, path, body, status, words):
    told = control(venue, method, path, body)
    assert told[0] == status and words in told[1]["message"]


def test_a_fault_of_the_world_acts_at_once_and_is_told_to_the_streams(venue):
    prices = helpers.Prices(venue, statuses=["AAPL"])
    assert control(venue, "POST", "/sandbox/faults", {"kind": "halt", "symbol": "AAPL"})[0] == 200
    until(lambda: prices.got)
    prices.end()
    assert prices.got[0].status_message == "Trading Halt"


def test_faults_and_calls_from_python(venue):
    updates = helpers.Updates(venue)
    venue.fault({"kind": "duplicated", "event": "canceled"})
    order = trading(venue).submit_order(limit(50.0))
    venue.call(lambda exchange: exchange.cancel(str(order.id)))
    until(lambda: updates.events.count("canceled") == 2)
    updates.end()
    with pytest.raises(InputError, match="no fault"):
        venue.fault({"kind": "nothing"})
    with pytest.raises(InputError, match="not among the bars"):
        venue.fault({"kind": "halt", "symbol": "ZZZ"})
    with pytest.raises(InputError, match="before the exchange opens"):
        venue.fault({"kind": "dividend", "symbol": "AAPL", "bars": [9, 9]})


# --- time ----------------------------------------------------------------------------------------

def test_the_clock_moves_an_accelerated_market_to_its_end():
    """40 bars of 5 minutes at 30,000 times the clock: 10 ms each."""
    with sandbox.running(helpers.intraday(40), speed=30_000.0) as venue:
        client = trading(venue)
        order = client.submit_order(market())
        times = [client.get_clock().timestamp for _ in range(5)]
        assert times == sorted(times) and times[0] < times[-1]
        with pytest.raises(InputError, match="a clock moves this market"):
            venue.step()
        assert control(venue, "POST", "/sandbox/step")[0] == 422
        until(lambda: control(venue, "GET", "/sandbox/state")[1]["done"])
        filled = client.get_order_by_id(order.id)
        assert filled.status == "filled" and filled.filled_at >= order.submitted_at
        assert venue.exchange.bar == 39


def test_a_clock_that_is_held_stands_until_it_is_let_go():
    venue = sandbox.running(helpers.intraday(40), speed=30_000.0).start(held=True)
    try:
        client = trading(venue)
        first = client.get_clock().timestamp
        time.sleep(0.2)  # 100 minutes
        assert client.get_clock().timestamp == first and venue.exchange.bar == 0
        venue.go()
        venue.go()
        until(lambda: venue.exchange.done)
    finally:
        venue.stop()


def test_an_order_never_meets_an_open_that_has_been():
    """However late in a bar it comes, the fill is at the open of a bar that began after it."""
    bars = helpers.intraday(78)
    with sandbox.running(bars, speed=10_000.0) as venue:
        client = trading(venue)
        placed = [client.submit_order(market(qty=1)) for _ in range(12)]
        until(lambda: all(client.get_order_by_id(o.id).status == "filled" for o in placed))
        opens = {f"{o:g}": i for i, o in enumerate(bars.open[:, 0])}
        for order in placed:
            filled = client.get_order_by_id(order.id)
            assert bars.index[opens[filled.filled_avg_price]] >= order.submitted_at


def test_two_runs_of_the_same_calls_say_the_same():
    def run():
        with sandbox.running(helpers.intraday(), seed=4, faults=[{"kind": "partial_fills", "percent": 60.0}]) as venue:
            client = trading(venue, raw_data=True)
            for n in range(12):
                client.submit_order(market(qty=n + 1))
                venue.step()
            return client.get("/account/activities/FILL"), client.get("/orders", {"status": "all", "limit": 500})

    assert run() == run()


# --- the venue itself ----------------------------------------------------------------------------

def test_only_loopback():
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com", ""):
        with pytest.raises(InputError, match="this machine only"):
            sandbox.running(helpers.daily(), host=host)


@pytest.mark.parametrize("port", [-1, 70_000, "8080", 1.5, True])
def test_a_port_out_of_range(port):
    with pytest.raises(InputError, match="port"):
        sandbox.running(helpers.daily(), port=port)


def test_a_port_that_is_taken_is_one_sentence(venue):
    with pytest.raises(InputError, match=rf"port {venue.port} on 127.0.0.1 is in use") as refused:
        sandbox.running(helpers.daily(), port=venue.port).start()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("keys", [("a",), ("", "b"), ("a", "b\n"), (1, 2), ("a b", "c"), 5, "ab"])
def test_keys_that_are_none(keys):
    with pytest.raises(InputError, match="keys"):
        sandbox.running(helpers.daily(), keys=keys)


def test_requests_for_another_name_are_turned_away(venue):
    """A web page that rebinds its own name to this machine."""
    reply = requests.get(f"{venue.url}/v2/clock", headers={**headers(venue), "Host": "evil.example"}, timeout=10)
    assert reply.status_code == 403
    with pytest.raises(InvalidStatus, match="403"), connect(venue.trading_stream_url, origin="http://evil.example"):
        pass


def test_two_venues_at_once_and_one_after_another():
    with sandbox.running(helpers.daily()) as one, sandbox.running(helpers.daily(), cash=5_000.0) as two:
        assert one.port != two.port
        assert [trading(v).get_account().cash for v in (one, two)] == ["100000", "5000"]
        assert one.running and two.running
    assert not one.running and not two.running
    with one:
        assert trading(one).get_account().cash == "100000"


def test_it_works_where_an_event_loop_runs_already():
    """As in Jupyter: the cell's code runs inside a loop."""
    async def cell():
        with sandbox.running(helpers.intraday()) as venue:
            client = trading(venue)
            client.submit_order(market())
            venue.step()
            await asyncio.sleep(0)
            return client.get_open_position("AAPL").qty

    assert asyncio.run(cell()) == "10"


@pytest.mark.parametrize(("given", "words"), [
    ({"bars": "AAPL"}, "bars is of type str; it must be Bars"),
    ({"bars": pd.DataFrame({"close": [1.0]})}, "bars is of type DataFrame; it must be Bars"),
    ({"bars": helpers.daily(1)}, "one bar is too few"), ({"first": "x"}, "first = 'x'"), ({"first": 0}, "bar 1 to 11"),
    ({"first": 1.5}, "first = 1.5"), ({"first": True}, "first = True"),
    ({"cash": "x"}, "cash = 'x': it must be a number"), ({"cash": -1.0}, "cash = -1.0"),
    ({"cash": float("nan")}, "cash = nan"), ({"cash": None}, "cash = None"),
    ({"speed": "x"}, "speed = 'x' is out of range"), ({"speed": 0}, "speed = 0"), ({"speed": True}, "speed = True"),
    ({"speed": 10, "closed_seconds": "x"}, "closed_seconds = 'x'"),
    ({"seed": -1}, "seed = -1: it must be a whole number, 0 or more"), ({"seed": "x"}, "seed = 'x'"),
    ({"seed": 1.5}, "seed = 1.5"), ({"seed": None}, "seed = None"),
    ({"rate_limit": -1}, "rate_limit = -1: it must be a whole number, 1 to 1000000 requests a minute"),
    ({"rate_limit": 0}, "None for no limit"), ({"symbol_limit": 0}, "symbol_limit"), ({"connection_limit": "1"}, "'1'"),
    ({"feed": "xx"}, "feed = 'xx' is unknown. Valid: iex, sip"), ({"feed": "iexx"}, "did you mean 'iex'"),
    ({"multiplier": 5}, "multiplier = 5: it must be a number, 1 to 4"), ({"auth_seconds": 0}, "auth_seconds"),
    ({"basic_plan": "no"}, "True or False"), ({"unfinished_bars": None}, "True or False"), ({"costs": 5}, "Costs"),
    ({"host": 2130706433}, "this machine only"), ({"faults": "reset"}, "give a list of Fault"),
    ({"faults": [{"kind": "halt", "symbol": "ZZZ"}]}, "not among the bars"),
])
def test_a_wrong_parameter_is_one_sentence(given, words):
    with pytest.raises(InputError, match=re.escape(words)) as refused:
        sandbox.running(**{"bars": helpers.daily(), **given})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("n", ["x", -1, 0, 1.5, None, True])
def test_a_number_of_steps_that_is_none(venue, n):
    with pytest.raises(InputError, match="number of bars that happen, 1 or more"):
        venue.step(n)
    venue.stop()
    with pytest.raises(InputError, match="number of bars that happen, 1 or more"):
        venue.step(n)


def test_the_end_of_the_bars_is_told():
    """`while venue.step()` ends in silence; whoever goes on hears why nothing happens."""
    with sandbox.running(helpers.daily(3)) as venue:
        assert venue.step(5) == 2
        assert "the bars have ended" in repr(venue)
        assert venue.step() == 0
        with pytest.warns(BotlibWarning, match=r"replay-ended: the bars have ended \(2024-03-06\).*never fill"):
            assert venue.step() == 0


@pytest.mark.parametrize("unfinished", [True, False])
def test_the_bar_in_the_making_is_served_and_told_to_no_provider(unfinished):
    """13 five-minute bars into the day, at 10:35, and one bar open."""
    with sandbox.running(helpers.intraday(), first=13, unfinished_bars=unfinished) as venue:
        venue.call(lambda exchange: exchange.open_bar())
        client = data(venue, raw_data=True)
        served = {}
        for name, frame in (("5m", FIVE), ("30m", TimeFrame(30, TimeFrameUnit.Minute)), ("1d", TimeFrame.Day)):
            request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=frame, start=dt.datetime(2024, 3, 4))
            served[name] = [bar["t"][11:16] for bar in client.get_stock_bars(request).get("AAPL", [])]
        assert len(served["5m"]) == 13 + unfinished
        assert served["30m"] == ["14:30", "15:00", "15:30"][:2 + unfinished]
        assert served["1d"] == ["05:00"][:unfinished]
        provider = AlpacaProvider(AlpacaConfig.from_env(environ=venue.environ, env_file=None))
        for interval, count in (("5m", 13), ("30m", 2)):
            got = provider.download_bars(symbols=["AAPL"], period="max", interval=interval)
            assert len(got) == count
        with pytest.raises(DataError):
            provider.download_bars(symbols=["AAPL"], period="max", interval="1d")


def test_the_hours_of_the_provider_are_botlibs_at_every_time_of_the_day():
    """Alpaca's start on the full hour; the provider makes those that begin with the session, and only final ones."""
    bars = helpers.intraday(156)
    expected = bars.resample("1h")
    with sandbox.running(bars, first=11) as venue:
        provider = AlpacaProvider(AlpacaConfig.from_env(environ=venue.environ, env_file=None))
        counts = []
        while venue.step():
            minute = (venue.exchange.bar + 1) % 78 * 5
            if minute % 30 > 5:
                continue  # at the end of a half hour and five minutes later
            got = provider.download_bars(symbols=["AAPL"], period="max", interval="1h").loc["AAPL"]
            counts.append(len(got))
            assert list(got.index) == list(expected.index[:len(got)])
            for name in FIELDS:
                assert got[name].tolist() == getattr(expected, name)[:len(got), 0].tolist(), name
    # From 10:30 an hour, four times each; 6 at 15:30 and 15:35, the half hour that ends at 16:00; three times next day.
    day = [n for n in (1, 2, 3, 4, 5) for _ in range(4)] + [6, 6, 7]
    assert counts == [*day, 7, 7, 7, *(7 + n for n in day)]


def test_the_real_client_gets_every_timeframe_it_offers(venue):
    venue.step(159)
    client = data(venue)
    for amount, unit, count in ((10, "Min", 80), (2, "Hour", 9), (1, "Week", 1), (1, "Month", 1), (3, "Month", 1)):
        request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame(amount, TimeFrameUnit(unit)),
                                   start=dt.datetime(2024, 1, 1))
        assert len(client.get_stock_bars(request)["AAPL"]) == count, (amount, unit)


def test_what_to_paste(venue):
    assert venue.env().splitlines() == [
        "APCA_API_KEY_ID=local", "APCA_API_SECRET_KEY=local-secret",
        f"APCA_API_BASE_URL=http://127.0.0.1:{venue.port}", "NO_PROXY=127.0.0.1,localhost"]


def test_a_body_too_large_is_refused(venue):
    reply = requests.post(f"{venue.url}/v2/orders", headers=headers(venue), data=b" " * 2_000_000, timeout=10)
    assert reply.status_code == 413


def test_nothing_is_printed_or_logged(faulty, capfd):
    venue = faulty({"kind": "reset", "accepted": True, "share": 0.5, "path": "/v2/account"},
                   {"kind": "no_reply", "path": "/v2/clock"})
    for call in ("account", "clock"):
        with pytest.raises(requests.RequestException):
            requests.get(f"{venue.url}/v2/{call}", headers=headers(venue), timeout=0.1)
    with socket.create_connection(("127.0.0.1", venue.port)) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        raw.recv(1000)
    venue.stop()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_command_says_where_it_is_and_ends_with_ctrl_c():
    command = [sys.executable, "-m", "botlib", "sandbox", "--symbols", "AAPL", "--period", "1mo", "--interval", "30m",
               "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        while "Ctrl-C ends it." not in lines:
            lines.append(process.stdout.readline().rstrip("\n"))
        url = next(line.split()[1] for line in lines if line.startswith("exchange"))
        assert f"export APCA_API_BASE_URL={url}" in lines and any("synthetic" in line for line in lines)
        assert 'export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"' in lines  # the user's own stay
        keys = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export"))
        reply = requests.get(f"{url}/v2/account", timeout=10, headers={
            "APCA-API-KEY-ID": keys["APCA_API_KEY_ID"], "APCA-API-SECRET-KEY": keys["APCA_API_SECRET_KEY"]})
        assert reply.json()["cash"] == "100000"
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
