"""The conversations of both websockets, frame by frame, without a socket."""

from __future__ import annotations

import json

import msgpack
import pytest

from botlib.sandbox.streams import DataStream, Event, TradeStream

KEYS = ("key", "secret")


def said(reply):
    return [json.loads(f) for f in reply.frames]


# --- trade_updates -------------------------------------------------------------------------------

def login(key="key", secret="secret"):
    return json.dumps({"action": "authenticate", "data": {"key_id": key, "secret_key": secret}})


LISTEN = json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}})


def test_the_client_speaks_first():
    assert TradeStream(KEYS).greeting().frames == ()


def test_login_and_listening_in_binary_frames():
    stream = TradeStream(KEYS)
    reply = stream.receive(login())
    assert all(isinstance(f, bytes) for f in reply.frames)
    assert said(reply) == [{"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}]
    assert said(stream.receive(LISTEN)) == [{"stream": "listening", "data": {"streams": ["trade_updates"]}}]


@pytest.mark.parametrize(("key", "secret"), [("key", "wrong"), ("wrong", "secret"), ("", ""), (None, None), (1, 2)])
def test_wrong_keys_are_not_authorized(key, secret):
    stream = TradeStream(KEYS)
    reply = stream.receive(login(key, secret))
    assert said(reply) == [{"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}}]
    assert not stream.authorized


def test_listening_needs_keys():
    stream = TradeStream(KEYS)
    assert said(stream.receive(LISTEN)) == [
        {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}]
    assert not stream.listening


def test_only_streams_that_there_are_are_told_of_and_an_empty_list_ends_it():
    stream = TradeStream(KEYS)
    stream.receive(login())
    both = json.dumps({"action": "listen", "data": {"streams": ["trade_updates", "account_updates"]}})
    assert said(stream.receive(both))[0]["data"] == {"streams": ["trade_updates"]}
    assert stream.wants(Event("trade_updates", "fill", "AAPL", {}))
    assert not stream.wants(Event("market_data", "b", "AAPL", {}))
    none = json.dumps({"action": "listen", "data": {"streams": []}})
    assert said(stream.receive(none))[0]["data"] == {"streams": []}
    assert not stream.wants(Event("trade_updates", "fill", "AAPL", {}))


@pytest.mark.parametrize("frame", ["", "{", "[]", "null", "7", '{"action": 3}', b"\xff\xfe", '{"data": {}}'])
def test_nonsense_ends_the_connection(frame):
    reply = TradeStream(KEYS).receive(frame)
    assert reply.close and said(reply)[0]["stream"] == "error"


# --- market data ---------------------------------------------------------------------------------

def feed(packed=False, admit=lambda: 0, limit=None, symbols=5):
    return DataStream(KEYS, "iex", packed=packed, admit=admit, symbols=lambda: symbols, symbol_limit=limit)



AUTH = {"action": "auth", "key": "key", "secret": "secret"}



def test_greeting_login_and_the_whole_subscription():
    stream = feed()
    assert said(stream.greeting()) == [[{"T": "success", "msg": "connected"}]]
    assert said(stream.receive(json.dumps(AUTH))) == [[{"T": "success", "msg": "authenticated"}]]


def ask_one(stream, **message):
    return said(stream.receive(json.dumps(message)))[0][0]


def test_a_subscription_answers_with_everything_subscribed():
    stream = feed()
    ask_one(stream, **AUTH)
    told = ask_one(stream, action="subscribe", bars=["MSFT", "AAPL"], trades=["AAPL"])
    assert told == {"T": "subscription", "trades": ["AAPL"], "quotes": [], "bars": ["AAPL", "MSFT"], "updatedBars": [],
                    "dailyBars": [], "statuses": [], "lulds": [], "corrections": ["AAPL"], "cancelErrors": ["AAPL"]}
    told = ask_one(stream, action="unsubscribe", bars=["MSFT", "IBM"])
    assert (told["bars"], told["trades"]) == (["AAPL"], ["AAPL"])
    assert stream.wants(Event("market_data", "b", "AAPL", {}))
    assert not stream.wants(Event("market_data", "b", "MSFT", {}))
    assert not stream.wants(Event("market_data", "q", "AAPL", {}))


def test_a_star_is_every_symbol():
    stream = feed()
    ask_one(stream, **AUTH)
    ask_one(stream, action="subscribe", dailyBars=["*"])
    assert stream.wants(Event("market_data", "d", "ANY", {}))


@pytest.mark.parametrize(("before", "message", "code", "closes"), [
    ([], {"action": "subscribe", "bars": ["AAPL"]}, 401, False),
    ([], {"action": "auth", "key": "key", "secret": "no"}, 402, False),
    ([AUTH], AUTH, 403, False),
    ([AUTH], {"action": "dance"}, 400, False),
    ([AUTH], {"action": "subscribe", "bars": "AAPL"}, 400, False),
    ([AUTH], {"action": "subscribe", "bars": [7]}, 400, False),
    ([AUTH], {"action": "subscribe", "bar": ["AAPL"]}, 400, False),
    ([AUTH], {"action": "subscribe", "lulds": ["AAPL"]}, 410, False),
    ([AUTH], {"action": "subscribe", "news": ["*"]}, 410, False),
])
def test_the_codes_of_what_is_wrong(before, message, code, closes):
    stream = feed()
    for earlier in before:
        ask_one(stream, **earlier)
    reply = stream.receive(json.dumps(message))
    assert said(reply)[0][0]["T"] == "error" and said(reply)[0][0]["code"] == code
    assert reply.close is closes
    assert not any(stream.channels.values())


@pytest.mark.parametrize("frame", ["", "{", "[]", "null", b"\xc1", b"", '"auth"'])
@pytest.mark.parametrize("packed", [False, True])
def test_invalid_syntax(frame, packed):
    stream = feed(packed=packed)
    reply = stream.receive(frame)
    read = msgpack.unpackb if packed else json.loads
    assert [read(f) for f in reply.frames] == [[{"T": "error", "code": 400, "msg": "invalid syntax"}]]


@pytest.mark.parametrize(("code", "words"), [(406, "connection limit exceeded"), (409, "insufficient subscription")])
def test_a_refused_admission_ends_the_connection(code, words):
    stream = feed(admit=lambda: code)
    reply = stream.receive(json.dumps(AUTH))
    assert said(reply) == [[{"T": "error", "code": code, "msg": words}]]
    assert reply.close and not stream.authorized


def test_the_symbol_limit_counts_each_symbol_once_and_a_star_as_all():
    stream = feed(limit=2)
    ask_one(stream, **AUTH)
    assert ask_one(stream, action="subscribe", bars=["A", "B"], quotes=["A"])["T"] == "subscription"
    assert ask_one(stream, action="subscribe", trades=["C"])["code"] == 405
    assert ask_one(stream, action="subscribe", bars=["*"])["code"] == 405  # five symbols
    assert stream.channels["trades"] == set() and stream.channels["bars"] == {"A", "B"}
    ask_one(stream, action="unsubscribe", bars=["A", "B"], quotes=["A"])
    assert ask_one(stream, action="subscribe", trades=["C"])["T"] == "subscription"


def test_packed_times_are_the_timestamp_extension():
    stream = feed(packed=True)
    bar = {"o": 1.5, "h": 2.0, "l": 1.0, "c": 1.75, "v": 10, "n": 0, "vw": 1.6, "t": "2024-03-04T14:30:00.000000001Z"}
    [frame] = stream.encode([Event("market_data", "b", "AAPL", bar)])
    [made] = msgpack.unpackb(frame)
    assert made == {"T": "b", "S": "AAPL", **bar, "t": msgpack.Timestamp(1709562600, 1)}


def test_unpacked_times_are_text():
    [frame] = feed().encode([Event("market_data", "b", "AAPL", {"t": "2024-03-04T14:30:00Z"}),
                             Event("market_data", "b", "IBM", {"t": "2024-03-04T14:30:00Z"})])
    assert json.loads(frame) == [{"T": "b", "S": s, "t": "2024-03-04T14:30:00Z"} for s in ("AAPL", "IBM")]


def test_nothing_to_say_is_no_frame():
    assert feed().encode([]) == []
