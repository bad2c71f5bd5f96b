"""The connection: deadlines, what is repeated and what never is, the budget of requests, errors. Real HTTP."""

from __future__ import annotations

import itertools
import logging
import pickle
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
from loopback import Loopback

from botlib.brokers.alpaca.config import AlpacaConfig, Secret
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.brokers.alpaca.transport import RateLimiter
from botlib.errors import BrokerRefusal, BrokerUnavailable, InputError

pytestmark = pytest.mark.slow  # waits for real deadlines

KEY, SECRET = "PK" + "LOOPBACK", "loopback-" + "secret"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def connect(server, **options):
    config = AlpacaConfig(key_id=Secret(KEY), secret_key=Secret(SECRET), base_url=getattr(server, "url", server),
                          **options.pop("config", {}))
    clock = options.pop("clock", Time())
    options = {"timeout": 2.0, "chance": lambda: 0.0} | options
    return AlpacaConnection(config, clock=clock, sleep=clock.sleep, **options)


def always(action):
    return lambda seen, reply: action(reply)


def test_alpaca_py_is_imported_when_first_needed():
    """Neither the broker's module nor making one takes the seconds of its import."""
    code = ("import sys, botlib.providers.alpaca, botlib.brokers.alpaca as a; "
            "b = a.AlpacaBroker(a.AlpacaConfig(key_id=a.Secret('a'), secret_key=a.Secret('b'), "
            "base_url='http://127.0.0.1:1')); a.TradeStream(b, print); assert 'alpaca' not in sys.modules; "
            "b.connection.client(); assert 'alpaca' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


# --- what is sent -----------------------------------------------------------------------------------------------------

def test_the_keys_are_on_the_wire_and_nowhere_else():
    with Loopback(always(lambda reply: reply.json(200, {"ok": 1}))) as server:
        connection = connect(server)
        assert connection.read("/account", {"a": "b c"}) == {"ok": 1}
        assert connection.read("/stocks/bars", api="data") == {"ok": 1}
        assert connection.read("/corporate-actions", api="actions") == {"ok": 1}
    assert [one.path for one in server.seen] == ["/v2/account", "/v2/stocks/bars", "/v1/corporate-actions"]
    assert server.seen[0].query == {"a": "b c"}
    for one in server.seen:
        assert (one.headers["APCA-API-KEY-ID"], one.headers["APCA-API-SECRET-KEY"]) == (KEY, SECRET)
        assert one.headers["User-Agent"].startswith("APCA-PY/")  # the real client
    for client in (connection.client(api) for api in ("trading", "data", "actions")):
        assert KEY not in str(vars(client)) and SECRET not in str(vars(client))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(connection)
    assert SECRET not in repr(connection)


def test_netrc_does_not_replace_the_keys(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Loopback(always(lambda reply: reply.json(200, {}))) as server:
        connect(server).read("/account")
    assert "Authorization" not in server.seen[0].headers


# --- deadlines --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("action", [
    lambda reply: reply.silence(5.0),
    lambda reply: reply.drip(b'{"a": "' + b"x" * 100 + b'"}', 0.05),
    lambda reply: reply.drip(b'{"a": "' + b"x" * 100 + b'"}', 0.05, headers=True),
], ids=["no-reply", "dripping-body", "dripping-headers"])
def test_every_call_ends_at_its_deadline(action):
    """A byte every 50 ms keeps every socket timeout from firing; the whole answer would take 5 s."""
    with Loopback(always(action)) as server:
        connection = connect(server, timeout=0.4)
        for call in (lambda: connection.read("/account", attempts=1),
                     lambda: connection.send("POST", "/orders", {"a": 1}),
                     lambda: connection.send("DELETE", "/orders/1", cancel=True)):
            began = time.monotonic()
            with pytest.raises(BrokerUnavailable) as caught:
                call()
            assert 0.3 < time.monotonic() - began < 1.5
            assert (caught.value.reason, caught.value.sent) == ("timeout", True)
    assert len(server.seen) == 3


def test_an_answer_within_the_deadline_is_whole():
    """Slow but in time, over several packets; and the connection is used again."""
    with Loopback(always(lambda reply: reply.drip(b'{"a": 1}', 0.01))) as server:
        connection = connect(server)
        assert [connection.read("/account") for _ in range(2)] == [{"a": 1}] * 2


# --- what is repeated -------------------------------------------------------------------------------------------------

FAULTS = {
    "no-reply": (lambda reply: reply.silence(5.0), "timeout"),
    "reset": (lambda reply: reply.reset(), "reset"),
    "cut": (lambda reply: reply.cut(200, b'{"id": '), "reset"),
    "500": (lambda reply: reply.json(500, {"message": "internal"}), "server-error"),
    "502-html": (lambda reply: reply.html(502), "server-error"),
    "504": (lambda reply: reply.json(504, {"message": "gateway time-out"}), "server-error"),
    "408": (lambda reply: reply.empty(408), "server-error"),
    "499": (lambda reply: reply.json(499, {"message": "client closed request"}), "server-error"),
    "429": (lambda reply: reply.json(429, {"code": 42910000, "message": "rate limit exceeded"}), "rate-limit"),
    "200-html": (lambda reply: reply.html(200), "malformed"),
    "redirect": (lambda reply: reply.raw(302, b"<html></html>", "text/html", Location="http://[::1]:1/"), "malformed"),
    "403-html": (lambda reply: reply.html(403), "html"),
    "bad-json": (lambda reply: reply.raw(200, b'{"id": "x'), "malformed"),
    "bad-utf8": (lambda reply: reply.raw(200, b'{"id": "\xff"}'), "malformed"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_changes_something_is_sent_once(name):
    action, reason = FAULTS[name]
    with Loopback(always(action)) as server:
        connection = connect(server, timeout=0.4)
        if name == "bad-utf8":  # requests replaces what it cannot decode: then it is JSON with a wrong letter
            connection.send("POST", "/orders", {"symbol": "AAPL"})
        else:
            with pytest.raises(BrokerUnavailable) as caught:
                connection.send("POST", "/orders", {"symbol": "AAPL"})
            assert (caught.value.reason, caught.value.sent) == (reason, True)
            for method in ("PATCH", "DELETE"):
                with pytest.raises(BrokerUnavailable):
                    connection.send(method, "/orders/1")
    assert len(server.asked("POST")) == 1


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "bad-utf8"])
def test_a_read_is_repeated_until_it_is_answered(name):
    action, reason = FAULTS[name]
    with Loopback() as server:
        server.answer = lambda seen, reply: action(reply) if len(server.seen) < 3 else reply.json(200, {"cash": "1"})
        clock = Time()
        assert connect(server, timeout=0.4, clock=clock).read("/account") == {"cash": "1"}
        assert len(server.seen) == 3
    if reason != "rate-limit":
        assert clock.slept == [0.5, 1.0]  # backoff, without the random part
    else:
        assert clock.slept == [4.0, 8.0]


def test_repeating_ends_and_varies():
    with Loopback(always(lambda reply: reply.json(500, {}))) as server:
        clock, chances = Time(), itertools.cycle([0.0, 0.5, 1.0])
        with pytest.raises(BrokerUnavailable, match="HTTP 500"):
            connect(server, clock=clock, attempts=7, chance=lambda: next(chances), backoff=1.0).read("/account")
        assert len(server.seen) == 7
    assert clock.slept == [1.0, 1.5, 2.0, 8.0, 11.25, 7.5]  # 1, 2, 4, 8, 15, 15, a half taken off at most


def test_no_connection_is_told_apart_from_no_answer():
    with Loopback() as server:
        address = server.url
    with pytest.raises(BrokerUnavailable) as caught:
        connect(address).send("POST", "/orders", {"a": 1})
    assert (caught.value.reason, caught.value.sent) == ("unreachable", False)


def test_a_connection_that_the_server_dropped_is_no_certainty():
    """The pooled connection is dead when the next POST goes out: whether it arrived nobody knows."""
    def answer(seen, reply):
        reply.json(200, {}) if len(server.seen) == 1 else reply.reset()

    with Loopback(answer) as server:
        connection = connect(server)
        connection.read("/account")
        with pytest.raises(BrokerUnavailable) as caught:
            connection.send("POST", "/orders", {"a": 1})
        assert (caught.value.reason, caught.value.sent) == ("reset", True)
        assert len(server.asked("POST")) == 1


# --- errors -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("status", "body", "code", "message"), [
    (422, {"code": 42210000, "message": "invalid"}, 42210000, "invalid"),
    (422, {"code": "42210000", "message": "invalid"}, 42210000, "invalid"),
    (403, {"message": "forbidden."}, None, "forbidden."),
    (404, {"code": 40410000, "message": "order not found for x"}, 40410000, "order not found for x"),
    (400, {"message": "end should not be before start"}, None, "end should not be before start"),
    (401, {"message": "unauthorized."}, None, "unauthorized."),
])
def test_a_definite_no(status, body, code, message):
    with Loopback(always(lambda reply: reply.json(status, body))) as server:
        with pytest.raises(BrokerRefusal) as caught:
            connect(server).read("/orders/x")
        assert len(server.seen) == 1  # a no is not asked again
    error = caught.value
    assert (error.status, error.code, error.message) == (status, code, message)


def test_wrong_keys_as_html():
    """The data host answers a wrong key with a page of nginx."""
    with Loopback(always(lambda reply: reply.html(401))) as server, pytest.raises(
            BrokerRefusal, match="Alpaca does not know these keys .HTTP 401.: check that they are for this host"):
        connect(server).read("/stocks/bars", api="data")


def test_further_fields_of_a_refusal():
    body = {"buying_power": "400000.24", "code": 40310000, "cost_basis": "31319000.3",
            "message": "insufficient buying power"}
    with Loopback(always(lambda reply: reply.json(403, body))) as server, pytest.raises(BrokerRefusal) as caught:
        connect(server).send("POST", "/orders", {})
    assert caught.value.fields == {"buying_power": "400000.24", "cost_basis": "31319000.3"}


@pytest.mark.parametrize("name", ["reset", "500", "200-html", "no-reply"])
def test_no_key_in_a_verbose_traceback(name):
    with Loopback(always(FAULTS[name][0])) as server:
        try:
            connect(server, timeout=0.3, attempts=1).read("/account")
        except BrokerUnavailable as error:
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            assert error.__context__ is None and error.__cause__ is None
    assert "read" in shown and KEY not in shown and SECRET not in shown


class Stopped(BaseException):
    """What a signal's handler raises."""


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143), Stopped("SIGTERM")], ids=repr)
def test_no_key_in_the_traceback_of_an_interrupt(monkeypatch, stop):
    """The Stop button or a signal falls into a request: the frames below hold the headers."""
    connection = connect("http://127.0.0.1:9")

    def interrupted(*args, **options):
        secret = SECRET
        try:
            raise OSError(f"inside {secret}")
        except OSError:
            raise stop  # noqa: B904

    monkeypatch.setattr(connection.session, "request", interrupted)
    try:
        connection.read("/account")
    except BaseException as error:
        assert error is stop  # the handler's own error, with what it says
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "_once" in shown and SECRET not in shown


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"code": "' + b"9" * 5000 + b'", "message": "no"}',
                                  b'{"code": ' + b"9" * 5000 + b"}", '{"code": "\u0663", "message": "no"}'.encode(),
                                  b'{"message": {"a": ["b"]}, "code": [1]}', b"\xff\xfe"])
@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_no_key_in_the_error_of_an_answer_that_nobody_expects(status, body):
    """It is one of ours whatever the body, and comes without the client's frames."""
    with Loopback(always(lambda reply: reply.raw(status, body))) as server:
        connection = connect(server, attempts=1)
        try:
            assert isinstance(connection.send("POST", "/orders", {"a": 1}), dict) and status == 200
            return  # it is JSON
        except (BrokerRefusal, BrokerUnavailable) as error:
            assert error.__context__ is None and error.__cause__ is None
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "_once" in shown and KEY not in shown and SECRET not in shown


def test_no_key_in_a_log(caplog):
    caplog.set_level(logging.DEBUG)
    with Loopback(always(lambda reply: reply.json(401, {"message": "unauthorized."}))) as server, \
            pytest.raises(BrokerRefusal):
        connect(server).read("/account")
    assert KEY not in caplog.text and SECRET not in caplog.text


# --- pages ------------------------------------------------------------------------------------------------------------

def test_pages_to_the_end():
    def answer(seen, reply):
        page = int(seen.query.get("page_token", "0"))
        reply.json(200, {"bars": {"A": [page]}, "next_page_token": str(page + 1) if page < 2 else None})

    with Loopback(answer) as server:
        assert [p["bars"]["A"][0] for p in connect(server).pages("/stocks/bars", {"limit": 1}, api="data")] == [0, 1, 2]
        server.answer = always(lambda reply: reply.json(200, {"bars": {}, "next_page_token": "again"}))
        with pytest.raises(BrokerUnavailable, match="the same page token twice"):
            list(connect(server).pages("/stocks/bars", {}, api="data"))


# --- the budget -------------------------------------------------------------------------------------------------------

def test_never_more_than_the_limit_in_any_minute():
    clock = Time()
    limiter, taken = RateLimiter(200, 20, clock=clock, sleep=clock.sleep), []
    for number in range(1000):
        clock.now += 0.01 * (number % 7)  # now and then the caller is busy with something else
        limiter.wait()
        taken.append(clock.now)
    for start in taken:
        assert sum(start <= t < start + 60.0 for t in taken) <= 180
    assert taken[180] - taken[0] == pytest.approx(60.0)
    assert clock.now < 60.0 * 1000 / 180


def test_cancels_have_a_reserve():
    clock = Time()
    limiter = RateLimiter(200, 20, clock=clock, sleep=clock.sleep)
    for _ in range(180):
        limiter.wait()
    assert [limiter.wait(cancel=True) for _ in range(20)] == [0.0] * 20
    assert clock.now == 0.0
    assert limiter.wait(cancel=True) == pytest.approx(60.0)  # then the whole account's limit is reached
    limiter.pause(30.0)
    assert limiter.wait(cancel=True) == 0.0  # "too many requests" does not hold a cancel back
    assert limiter.wait() == pytest.approx(30.0)


def test_threads_share_one_budget():
    clock, lock, taken = Time(), threading.Lock(), []
    limiter = RateLimiter(100, 10, clock=clock, sleep=lambda seconds: None)

    def take():
        for _ in range(50):
            waited = limiter.wait()
            with lock:
                taken.append(waited)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [0.0] * 90 + [60.0] * 90 + [120.0] * 20  # the clock stands still: places in line


def test_no_limit():
    clock = Time()
    limiter = RateLimiter(None, 20, clock=clock, sleep=clock.sleep)
    assert sum(limiter.wait() for _ in range(10_000)) == 0.0


def test_too_many_requests_slow_down_what_follows():
    with Loopback() as server:
        answers = iter([(429, {"message": "too many requests."}), (200, {}), (200, {})])
        server.answer = lambda seen, reply: reply.json(*next(answers))
        clock = Time()
        connection = connect(server, clock=clock)
        with pytest.raises(BrokerUnavailable, match="limit is counted over all programs"):
            connection.send("POST", "/orders", {})
        connection.send("DELETE", "/orders/1", cancel=True)
        assert clock.now == 0.0
        connection.read("/account")
        assert clock.now == 2.0
    assert connection.too_many == 1


@pytest.mark.parametrize(("option", "value"), [("timeout", 0), ("timeout", float("nan")), ("timeout", True),
                                               ("attempts", 0), ("attempts", 2.0), ("backoff", -1),
                                               ("cancel_reserve", -1)])
def test_options_out_of_range(option, value):
    with pytest.raises(InputError, match=option):
        connect("http://127.0.0.1:9", **{option: value})
