"""`AlpacaBroker` when things go wrong on the way: one order out of one intent, whatever the answer looks like."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import pickle
from collections import Counter

import pandas as pd
import pytest
from loopback import Loopback

from botlib.alpaca_rules import OrderRequest
from botlib.bars import Bars
from botlib.brokers.alpaca import AlpacaBroker, AlpacaConfig, Secret, outcome, records
from botlib.brokers.base import Fill, OpenOrder, OrderRejection, UnknownOrder
from botlib.errors import BrokerRefusal, BrokerUnavailable, InputError
from botlib.providers.sample import SampleProvider
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.faults import Fault, Faults
from botlib.sandbox.transport import SandboxAdapter

pytestmark = pytest.mark.slow  # a server for each case

SYMBOLS = ("AAPL", "IBM", "MSFT")
BUY = OrderRequest(symbol="AAPL", side="buy", qty=10.0, client_order_id="intent-1")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(scope="module")
def bars() -> Bars:
    return Bars.from_frame(SampleProvider().download_bars(symbols=SYMBOLS, period="6mo", interval="1d"))


class World:
    """A broker on a local exchange in this process, with faults on the way and a clock that the faults move."""

    def __init__(self, bars: Bars, *faults: Fault, **options) -> None:
        self.exchange, self.time, self.requests = Exchange(bars, first=10), Time(), Counter()
        adapter = SandboxAdapter(Api(self.exchange, raise_bugs=True), Faults(list(faults)), sleep=self.time.sleep)
        send = adapter.send

        def counted(request, **kwargs):
            self.requests[request.method] += 1
            return send(request, **kwargs)

        adapter.send = counted
        config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url="http://127.0.0.1:1")
        self.broker = AlpacaBroker(config, adapter=adapter, clock=self.time, sleep=self.time.sleep, chance=lambda: 0.0,
                                   **({"timeout": 1.0} | options))


def post(kind: str, **fields) -> Fault:
    return Fault(kind=kind, method="POST", path="/v2/orders", **({"times": 1} | fields))


UNCLEAR = {
    "no-reply": {"kind": "no_reply"}, "late": {"kind": "delay", "seconds": 5.0}, "reset": {"kind": "reset"},
    "500": {"kind": "status", "status": 500}, "503": {"kind": "status", "status": 503},
    "504": {"kind": "status", "status": 504}, "html": {"kind": "html", "status": 502},
    "html-200": {"kind": "html", "status": 200},
    "malformed": {"kind": "malformed"},
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_an_unclear_answer_to_an_order_that_arrived(bars, name):
    """The order is adopted by its client order id: one POST, one order."""
    world = World(bars, post(**UNCLEAR[name], accepted=True))
    result = world.broker.submit_order(BUY)
    assert isinstance(result, OpenOrder) and result.client_order_id == "intent-1"
    assert world.requests["POST"] == 1
    assert [one.client_order_id for one in world.exchange.orders.values()] == ["intent-1"]


@pytest.mark.parametrize("name", [name for name in UNCLEAR if name not in ("late", "malformed")])
def test_an_unclear_answer_to_an_order_that_did_not_arrive(bars, name):
    """It is looked up a bounded number of times and never sent again; absence now is not absence for ever."""
    world = World(bars, post(**UNCLEAR[name], accepted=False))
    result = world.broker.submit_order(BUY)
    assert isinstance(result, UnknownOrder)
    assert (result.client_order_id, result.sent, result.lookups, result.absent) == ("intent-1", True, 4, 4)
    assert result.reason in ("timeout", "reset", "server-error", "malformed", "html")
    assert "Outcome unknown (buy 10.0 AAPL market)" in str(result)
    assert world.requests["POST"] == 1 and world.exchange.orders == {}
    assert world.time.slept[-3:] == [0.5, 1.0, 2.0]


def test_an_order_that_appears_late_is_found(bars):
    """Carried out after the client has given up, while it looks."""
    world = World(bars, post("no_reply", accepted=False))
    sleep = world.time.sleep

    def later(seconds):
        sleep(seconds)
        if seconds == 1.0 and not world.exchange.orders:  # between the second lookup and the third
            if not world.requests["late"]:
                world.requests["late"] += 1
            else:
                world.exchange.submit(BUY)

    world.broker._sleep = later
    world.requests["late"] = 1
    assert isinstance(world.broker.submit_order(BUY), OpenOrder)
    assert world.requests["POST"] == 1 and len(world.exchange.orders) == 1


def test_everything_down(bars):
    world = World(bars, Fault(kind="status", status=503))
    result = world.broker.submit_order(BUY)
    assert isinstance(result, UnknownOrder)
    assert (result.lookups, result.absent) == (4, 0)  # nobody said that it is not there
    assert world.requests["POST"] == 1


def test_no_connection_at_all():
    with Loopback() as server:
        address = server.url
    time = Time()
    config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url=address)
    broker = AlpacaBroker(config, clock=time, sleep=time.sleep)
    result = broker.submit_order(BUY)
    assert isinstance(result, UnknownOrder)
    assert (result.reason, result.sent, result.lookups) == ("unreachable", False, 0)
    assert str(result).startswith("Nothing was sent (buy 10.0 AAPL market): ")
    assert f"(`python -m botlib sandbox`) running at {address}?" in str(result)
    with pytest.raises(BrokerUnavailable):
        broker.portfolio()
    refused = broker.close_position("AAPL")
    assert isinstance(refused, OrderRejection) and refused.rule == "position-unknown"


def test_too_many_requests_is_a_no(bars):
    world = World(bars, post("status", status=429))
    result = world.broker.submit_order(BUY)
    assert isinstance(result, OrderRejection)
    assert (result.rule, result.status) == ("rate-limit", 429)
    assert world.requests["POST"] == 1 and world.exchange.orders == {}
    assert isinstance(world.broker.submit_order(BUY), OpenOrder)  # the caller may send it again


def test_the_answer_was_lost_and_somebody_used_the_id(bars):
    world = World(bars)
    world.exchange.submit(OrderRequest(symbol="IBM", side="sell", qty=3.0, client_order_id="intent-1"))
    result = world.broker.submit_order(BUY)
    assert isinstance(result, OrderRejection)
    assert result.rule == "duplicate-client-order-id"
    assert "symbol IBM, not AAPL" in result.message and "side sell, not buy" in result.message


@pytest.mark.parametrize("path", ["/v2/positions", "/v2/account", "/v2/orders", "/v2/account/activities*", "/v2/clock",
                                  "/v2/calendar", "/v2/assets*", "/v2/orders:by_client_order_id"])
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "html", "status": 200},
                                   {"kind": "malformed"}, {"kind": "no_reply"}])
def test_an_outage_never_reads_as_flat_or_zero(bars, path, fault):
    world = World(bars, Fault(method="GET", path=path, **fault))
    reads = {"/v2/positions": world.broker.get_positions, "/v2/account": world.broker.get_account_info,
             "/v2/orders": world.broker.open_orders, "/v2/account/activities*": world.broker.fills,
             "/v2/clock": world.broker.clock, "/v2/calendar": lambda: world.broker.calendar("2012-09-18", "2012-09-18"),
             "/v2/assets*": lambda: world.broker.get_asset("AAPL"),
             "/v2/orders:by_client_order_id": lambda: world.broker.order_by_client_id("intent-1")}
    with pytest.raises(BrokerUnavailable):
        reads[path]()
    if path in ("/v2/positions", "/v2/account", "/v2/orders"):
        with pytest.raises(BrokerUnavailable):
            world.broker.portfolio()


NOT_ALPACAS = {  # a 404 that does not say, in Alpaca's code, that there is no such thing
    "no-code": lambda reply: reply.json(404, {"message": "Not Found"}),
    "another-code": lambda reply: reply.json(404, {"code": 40400000, "message": "endpoint not found"}),
    "empty": lambda reply: reply.empty(404),
    "html": lambda reply: reply.html(404),
    "list": lambda reply: reply.json(404, []),
}


@pytest.mark.parametrize("name", NOT_ALPACAS)
def test_absence_is_what_alpaca_says_and_nobody_else(name):
    """A proxy, or a wrong address, knows nothing of orders."""
    with Loopback(lambda seen, reply: NOT_ALPACAS[name](reply)) as server:
        broker = on(server)
        for look in (lambda: broker.order_by_client_id("intent-1"), lambda: broker.get_order(ORDER["id"]),
                     lambda: broker.get_asset("AAPL")):
            with pytest.raises(BrokerUnavailable):
                look()
    with Loopback() as server:  # code 40410000
        broker = on(server)
        assert broker.order_by_client_id("intent-1") is None
        assert broker.get_order(ORDER["id"]) is None and broker.get_asset("AAPL") is None
    with Loopback(lambda seen, reply: reply.json(403, {"message": "forbidden."})) as server, \
            pytest.raises(BrokerRefusal, match="forbidden"):
        on(server).order_by_client_id("intent-1")


def test_an_id_that_alpaca_has_and_does_not_show_is_unknown():
    """A list that lags behind: an earlier sending may be working, so it is no rejection."""
    def answer(seen, reply):
        if seen.method == "POST":
            reply.json(422, {"code": 40010001, "message": "client_order_id must be unique"})
        else:
            reply.json(404, {"code": 40410000, "message": "order not found for intent-1"})

    with Loopback(answer) as server:
        result = on(server).submit_order(BUY)
        assert len(server.asked("POST")) == 1
    assert isinstance(result, UnknownOrder)
    assert (result.reason, result.sent, result.lookups, result.absent) == ("duplicate", True, 1, 1)


def test_another_order_is_not_the_one_that_was_looked_for():
    with served(ORDER) as server:
        assert on(server).order_by_client_id("intent-1").order_id == ORDER["id"]
        with pytest.raises(BrokerUnavailable, match="intent-2 has 'intent-1'"):
            on(server).order_by_client_id("intent-2")


def test_how_far_the_brokers_clock_is_away():
    """Asked at 0 s and answered at 4 s by the clock here, when it was 12 s there: 10 s ahead, give or take 2."""
    start = pd.Timestamp("2026-09-28 14:30", tz="UTC")
    here = iter([start, start + pd.Timedelta(seconds=4)])
    body = {"timestamp": "2026-09-28T10:30:12-04:00", "is_open": True, "next_open": "2026-09-29T09:30:00-04:00",
            "next_close": "2026-09-28T16:00:00-04:00"}
    with served(body) as server:
        config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url=server.url)
        clock = AlpacaBroker(config, now=lambda: next(here)).clock()
    assert (clock.skew_seconds, clock.skew_error_seconds) == (10.0, 2.0)
    assert clock.next_close == pd.Timestamp("2026-09-28 20:00", tz="UTC")
    assert records.clock(body).skew_seconds is records.clock(body).skew_error_seconds is None


@pytest.mark.parametrize("accepted", [True, False])
def test_an_unclear_cancel(bars, accepted):
    world = World(bars, Fault(kind="no_reply", method="DELETE", accepted=accepted, times=1))
    sent = world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0, type="limit", limit_price=1.0))
    result = world.broker.cancel(sent.order_id)
    assert world.requests["DELETE"] == 1
    if accepted:
        assert result is None
    else:
        assert isinstance(result, UnknownOrder) and result.order_id == sent.order_id
        assert "cancel it again" in str(result)
        assert world.broker.cancel(sent.order_id) is None
    world.broker.clock()
    assert world.broker.open_orders() == ()


@pytest.mark.parametrize("accepted", [True, False])
def test_an_unclear_replacement(bars, accepted):
    world = World(bars, Fault(kind="reset", method="PATCH", accepted=accepted, times=1))
    sent = world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0, type="limit", limit_price=1.0,
                                                  time_in_force="gtc"))
    world.exchange.advance()
    result = world.broker.replace(sent.order_id, limit_price=2.0)
    assert world.requests["PATCH"] == 1
    if accepted:
        assert isinstance(result, OpenOrder) and result.replaces == sent.order_id and result.limit_price == 2.0
    else:
        assert isinstance(result, UnknownOrder) and result.client_order_id.startswith("botlib-")


def test_a_replaced_order_is_followed(bars):
    """A session that asks after an id whose order was replaced meanwhile gets what took its place."""
    world = World(bars)
    sent = world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0, type="limit", limit_price=1.0,
                                                  time_in_force="gtc", client_order_id="first"))
    world.exchange.advance()
    made = world.broker.replace(sent.order_id, limit_price=2.0)
    world.broker.clock()
    again = world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0, type="limit", limit_price=1.0,
                                                   time_in_force="gtc", client_order_id="first"))
    assert isinstance(again, OpenOrder) and again.order_id == made.order_id


@pytest.mark.parametrize(("change", "message"), [
    ({}, "not changed"), ({"qty": float("nan")}, "qty must be > 0"), ({"qty": -1}, "qty must be > 0"),
    ({"limit_price": 0.0}, "limit price must be > 0"), ({"stop_price": float("inf")}, "stop price must be > 0"),
    ({"time_in_force": "forever"}, "invalid time_in_force"),
    ({"qty": 1, "client_order_id": "x" * 129}, "128 characters"),
])
def test_a_bad_replacement_is_refused_before_the_network(bars, change, message):
    world = World(bars)
    result = world.broker.replace("00000000-0000-4000-8000-000000000000", **change)
    assert isinstance(result, OrderRejection) and message in result.message and result.by == "preflight"
    assert world.requests == Counter()


def test_a_batch_through_a_storm(bars):
    """Every order exists once or not at all, and the results say which."""
    faults = [("no_reply", {}, True), ("reset", {}, False), ("status", {"status": 504}, True),
              ("html", {"status": 200}, False)]
    world = World(bars, *(post(kind, times=2, accepted=accepted, **fields) for kind, fields, accepted in faults))
    asked = [OrderRequest(symbol=SYMBOLS[n % 3], side="buy", qty=1.0, client_order_id=f"storm-{n}") for n in range(16)]
    results = world.broker.submit_orders(asked)
    there = Counter(one.client_order_id for one in world.exchange.orders.values())
    assert set(there.values()) == {1}
    for order, result in zip(asked, results, strict=True):
        assert isinstance(result, OpenOrder if order.client_order_id in there else UnknownOrder), order
    assert world.requests["POST"] == 16


def test_asset_facts_are_read_once(bars):
    world = World(bars)
    world.broker.prepare(["AAPL", "IBM"])
    assert world.requests["GET"] == 2
    world.broker.submit_order(BUY)
    assert world.requests["GET"] == 2
    world.time.now += 901.0
    world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0))
    assert world.requests["GET"] == 3


def test_old_facts_stop_no_order():
    """Not tradable a while ago, tradable now: asked again before it is refused."""
    facts = {"tradable": False, "fractionable": True, "shortable": True, "easy_to_borrow": True, "marginable": True}

    def answer(seen, reply):
        reply.json(200, facts | {"symbol": "AAPL", "status": "active"} if "assets" in seen.path else ORDER)

    with Loopback(answer) as server:
        config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url=server.url)
        broker = AlpacaBroker(config)
        first = broker.submit_order(BUY)
        assert isinstance(first, OrderRejection) and first.rule == "not-tradable"
        facts["tradable"] = True
        assert isinstance(broker.submit_order(BUY), OpenOrder)
        assert len(server.asked("POST")) == 1


def test_facts_that_cannot_be_read_stop_nothing(bars):
    world = World(bars, Fault(kind="status", status=500, path="/v2/assets*"))
    assert isinstance(world.broker.submit_order(BUY), OpenOrder)


def test_without_preflight_the_venue_refuses_the_same(bars):
    for change in ({"qty": 0.5, "time_in_force": "gtc"}, {"symbol": "ZZZZ"}, {"type": "limit", "limit_price": 290.123}):
        asked = OrderRequest(**({"symbol": "AAPL", "side": "buy", "qty": 10.0} | change))
        before, after = (World(bars, preflight=flag).broker.submit_order(asked) for flag in (True, False))
        assert (before.by, after.by) == ("preflight", "broker")
        assert (before.status, before.code, before.message) == (after.status, after.code, after.message)


def test_the_time_of_day_where_it_is_known(bars):
    """10:00 in New York on a session: too late for the opening auction."""
    world = World(bars, now=lambda: pd.Timestamp("2012-09-18 10:00", tz="America/New_York"))
    result = world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0, time_in_force="opg"))
    assert isinstance(result, OrderRejection) and result.rule == "opg-window" and result.by == "preflight"


@pytest.mark.parametrize(("moment", "is_open", "extended", "minute"), [
    ("2012-09-18 09:29:59", False, True, 569), ("2012-09-18 09:30", True, True, 570),
    ("2012-09-18 15:59:59", True, True, 959), ("2012-09-18 16:00", False, True, 960),
    ("2012-09-18 20:00", False, False, 1200), ("2012-11-23 13:00", False, True, 780),
    ("2012-11-22 12:00", False, False, 720), ("2012-09-15 12:00", False, False, 720),
])
def test_market_facts(moment, is_open, extended, minute):
    """A half day (the day after Thanksgiving closes at 13:00), a holiday, a Saturday."""
    facts = outcome.market_facts(pd.Timestamp(moment, tz="America/New_York").tz_convert("UTC"))
    assert (facts.is_open, facts.extended_open, facts.minute_of_day_et) == (is_open, extended, minute)


def test_options_are_checked(bars):
    with pytest.raises(InputError, match="lookups"):
        World(bars, lookups=0)
    with pytest.raises(InputError, match="at_once"):
        World(bars).broker.submit_orders([BUY], at_once=0)
    world = World(bars)
    with pytest.raises(InputError, match="not both"):
        AlpacaBroker(connection=world.broker.connection, timeout=1.0)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(world.broker)


@pytest.mark.parametrize("wrong", [{"symbol": "AAPL", "side": "buy", "qty": 1}, None, "AAPL", OrderRequest])
def test_what_is_no_order(bars, wrong):
    world = World(bars)
    with pytest.raises(InputError, match=r"order is of type .*: give an OrderRequest, e\.g\. OrderRequest\(symbol="):
        world.broker.submit_order(wrong)
    with pytest.raises(InputError, match=r"orders\[1\] is of type"):  # and the first is not sent
        world.broker.submit_orders([BUY, wrong])
    assert world.exchange.orders == {}


def test_what_is_no_list_of_orders(bars):
    world = World(bars)
    for wrong in ("AAPL", BUY, None, 5):
        with pytest.raises(InputError, match="orders is of type .*: give a list of OrderRequest"):
            world.broker.submit_orders(wrong)
    for wrong in ("AAPL", None, [5], []):
        with pytest.raises(InputError, match="symbols = .*: give a list of symbols"):
            world.broker.prepare(wrong)


def test_what_is_no_configuration(bars):
    with pytest.raises(InputError, match="config is of type str: give an AlpacaConfig"):
        AlpacaBroker("x")
    with pytest.raises(InputError, match="connection is of type str: give an AlpacaConnection"):
        AlpacaBroker(connection="x")
    with pytest.raises(InputError, match="AlpacaBroker has no 'timeot'; did you mean 'timeout'"):
        World(bars, timeot=3.0)


def test_what_the_venue_refuses_is_explained(bars):
    """From the local exchange's own answers: a position of 10 AAPL and no orders."""
    world = World(bars)
    last = world.exchange.price("AAPL")
    low = world.broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0, type="stop", stop_price=1.0))
    assert low.rule == "stop-wrong-side" and f"stop of a buy must be above {last:.2f}" in low.advice
    world.broker.submit_order(BUY)
    world.exchange.advance()
    sold = world.broker.submit_order(OrderRequest(symbol="AAPL", side="sell", qty=100.0))
    assert sold.rule == "quantity-beyond-position" and "ask for 10 at most" in sold.advice
    waits = world.broker.submit_order(OrderRequest(symbol="IBM", side="buy", qty=1.0, type="limit", limit_price=1.0))
    early = world.broker.replace(waits.order_id, qty=2.0)
    assert str(early).startswith("Replacing an order failed (replace ") and "wait until it is new" in str(early)
    gtc = world.broker.submit_order(OrderRequest(symbol="IBM", side="buy", qty=1.0, type="limit", limit_price=1.0,
                                                 time_in_force="gtc", extended_hours=True))
    assert (gtc.rule, gtc.by) == ("extended-hours-type", "broker") and "'day'" in gtc.advice


# --- what goes over the wire, and what comes back ---------------------------------------------------------------------

ORDER = {"id": "b7d0e2c1-6a4f-4d3b-9e8a-2c5f1a7b9d30", "client_order_id": "intent-1", "symbol": "AAPL", "side": "buy",
         "type": "limit", "order_class": "", "time_in_force": "day", "status": "new", "qty": "10", "filled_qty": "0",
         "filled_avg_price": None, "limit_price": "150.1", "stop_price": None, "extended_hours": False, "legs": None,
         "submitted_at": "2026-09-28T14:30:12.402119Z", "updated_at": "2026-09-28T14:30:12.418372123Z"}


def served(body, status=200):
    """A broker whose every answer is this one."""
    return Loopback(lambda seen, reply: reply.json(status, body))


def on(server) -> AlpacaBroker:
    config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url=server.url)
    return AlpacaBroker(config, preflight=False, lookups=1, attempts=1)


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (1e-9, "0.000000001"), (1e6, "1000000"), (170.12, "170.12"),
                                             (0.3, "0.3"), (123456.789012345, "123456.789012345"), (7, "7")])
def test_numbers_are_sent_as_exact_decimals(value, text):
    with served(ORDER) as server:
        broker = on(server)
        broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=value, type="limit", limit_price=170.1))
        broker.replace(ORDER["id"], qty=value)
    sent, changed = server.asked("POST")[0].body, server.asked("PATCH")[0].body
    assert (sent["qty"], sent["limit_price"], changed["qty"]) == (text, "170.1", text)


def test_an_order_as_alpaca_writes_it():
    with served(ORDER) as server:
        found = on(server).get_order(ORDER["id"])
    assert (found.qty, found.limit_price, found.order_class, found.filled_avg_price) == (10.0, 150.1, "simple", None)
    assert found.submitted_at == pd.Timestamp("2026-09-28T14:30:12.402119", tz="UTC")
    assert found.updated_at.nanosecond == 123


@pytest.mark.parametrize(("status", "filled", "kind"), [
    ("new", "0", OpenOrder), ("partially_filled", "4", OpenOrder), ("pending_cancel", "0", OpenOrder),
    ("held", "0", OpenOrder), ("something_new", "0", OpenOrder), ("filled", "10", Fill), ("canceled", "4", Fill),
    ("expired", "4", Fill), ("canceled", "0", OrderRejection), ("expired", "0", OrderRejection),
    ("rejected", "0", OrderRejection),
])
def test_what_a_status_means(status, filled, kind):
    body = ORDER | {"status": status, "filled_qty": filled, "filled_avg_price": "150.05" if filled != "0" else None}
    with served(body) as server:
        result = on(server).submit_order(BUY)
    assert isinstance(result, kind)
    if kind is Fill:
        assert (result.qty, result.price, result.key) == (float(filled), 150.05, (ORDER["id"], float(filled)))
        assert result.leaves_qty == 10.0 - float(filled)
    if kind is OrderRejection:
        assert result.rule == f"order-{status}" and result.order_id == ORDER["id"]


@pytest.mark.parametrize("change", [{"id": None}, {"status": None}, {"symbol": ""}, {"side": "hold"},
                                    {"filled_qty": None}, {"filled_qty": "NaN"}, {"qty": "ten"}, {"qty": True},
                                    {"submitted_at": "yesterday"},
                                    {"submitted_at": 12345}, {"legs": "none"},
                                    {"status": "filled", "filled_qty": "10"}])
def test_an_answer_with_a_hole_is_no_answer(change):
    """The order may well be there: unknown, not rejected, not accepted."""
    asked = OrderRequest(symbol="AAPL", side="buy", qty=10.0, type="limit", limit_price=150.1,
                         client_order_id="intent-1")
    with served(ORDER | change) as server:
        result = on(server).submit_order(asked)
        assert isinstance(result, UnknownOrder) and result.reason == "malformed"
        assert len(server.asked("POST")) == 1


@pytest.mark.parametrize("body", [None, [], "", 7, {}, [None]])
def test_an_answer_of_the_wrong_kind(body):
    with served(body) as server:
        broker = on(server)
        assert isinstance(broker.submit_order(BUY), UnknownOrder)
        for read in (broker.get_account_info, broker.clock, *([] if body == [] else [broker.get_positions, broker.fills,
                                                                                  broker.open_orders])):
            with pytest.raises(BrokerUnavailable):
                read()


@pytest.mark.parametrize(("body", "qty", "available"), [
    ({"qty": "5", "side": "long", "qty_available": "4"}, 5.0, 4.0),
    ({"qty": "-5", "side": "short", "qty_available": "-5"}, -5.0, -5.0),
    ({"qty": "5", "side": "short", "qty_available": "0"}, -5.0, 0.0),
    ({"qty": "-5"}, -5.0, None)])
def test_the_sign_of_a_position(body, qty, available):
    found = records.position({"symbol": "AAPL", "avg_entry_price": "100.0"} | body)
    assert (found.qty, found.available_qty) == (qty, available)


def test_a_flag_that_is_missing_counts_as_set():
    money = dict.fromkeys(("cash", "equity", "last_equity", "buying_power", "long_market_value", "short_market_value",
                           "initial_margin", "maintenance_margin", "multiplier"), "1")
    body = {"id": "x", "account_number": "PA1", "status": "ACTIVE", "trading_blocked": False, "account_blocked": False,
            "trade_suspended_by_user": False} | money
    assert records.account(body).blocked == ""
    for flag in ("trading_blocked", "account_blocked", "trade_suspended_by_user"):
        assert flag in records.account({k: v for k, v in body.items() if k != flag}).blocked
    assert "INACTIVE" in records.account(body | {"status": "INACTIVE"}).blocked
    for name in money:
        with pytest.raises(BrokerUnavailable, match=f"no {name}"):
            records.account(body | {name: None})


@pytest.mark.parametrize(("status", "body", "rule"), [
    (403, {"code": 40310000, "message": "account is not allowed to short"}, "shorting-disabled"),
    (422, {"code": 42210000, "message": 'asset "BAD" is not tradable'}, "not-tradable"),
    (403, {"code": 40310000, "message": "requested asset is not fractionable"}, "not-fractionable"),
    (422, {"code": 42210000, "message": "take_profit.limit_price must be >= base_price + 0.01", "base_price": "170"},
     "bracket-wrong-side"),
    (422, {"code": 42210000, "message": "stop price must be less than current price", "market_price": "162.6"},
     "stop-wrong-side"),
    (403, {"code": 40310000, "message": "words that nobody knows"}, "forbidden"),
    (422, {"code": 42299999, "message": "new"}, "refused"),
    (401, {"message": "unauthorized."}, "unauthorized"),
])
def test_what_a_refusal_means(status, body, rule):
    with served(body, status) as server:
        result = on(server).submit_order(BUY)
    assert isinstance(result, OrderRejection)
    assert (result.rule, result.status, result.code) == (rule, status, body.get("code"))
    assert result.message == body["message"]
    assert str(result).startswith("Order submission failed (buy 10.0 AAPL market): ")
    if rule in ("forbidden", "refused"):  # the usual suspects
        assert all(cause in str(result) for cause in ("buying power", "market's hours", "cannot be traded"))


def test_held_legs_are_found_through_their_group():
    """Alpaca lists the working leg alone once the entry has filled; the stop is held and on no list of open orders."""
    group = {"order_class": "bracket", "group_id": "g"}
    entry = ORDER | group | {"status": "filled", "filled_qty": "10", "filled_avg_price": "150", "group_role": "entry"}
    target = ORDER | group | {"id": "c4a9f3e8-1b2d-4e6f-8a7c-5d3e2f1b0a96", "side": "sell", "group_role": "take_profit"}
    stop = target | {"id": "e2f8b1a6-7c3d-4a5e-9b8f-0d1c6a4e3b72", "type": "stop", "status": "held",
                     "group_role": "stop_loss", "limit_price": None, "stop_price": "140"}

    def answer(seen, reply):
        reply.json(200, [target] if seen.query["status"] == "open" else [entry | {"legs": [target, stop]}])

    with Loopback(answer) as server:
        found = on(server).open_orders()
    assert {one.order_id for one in found} == {target["id"], stop["id"]}
    assert {one.parent_id for one in found} == {ORDER["id"]}
    assert server.seen[1].query["symbols"] == "AAPL" and server.seen[1].query["after"] < ORDER["submitted_at"]


def test_a_list_that_cannot_be_paged_is_no_answer():
    """A server that does not know after_order_id gives the same page again and again."""
    page = [ORDER | {"id": f"00000000-0000-4000-8000-{n:012d}"} for n in range(500)]
    with served(page) as server, pytest.raises(BrokerUnavailable, match="repeats itself"):
        on(server).open_orders()
    activities = [{"id": f"a{n}", "activity_type": "FILL", "order_id": "o", "symbol": "AAPL", "side": "buy", "qty": "1",
                   "price": "1", "cum_qty": str(n), "transaction_time": "2026-01-05T15:00:00Z"} for n in range(100)]
    with served(activities) as server, pytest.raises(BrokerUnavailable, match="repeats itself"):
        on(server).fills()


def test_fills_listed_twice_count_once():
    body = {"id": "a", "activity_type": "FILL", "order_id": "o", "symbol": "AAPL", "side": "sell_short", "qty": "4",
            "price": "86.872", "cum_qty": "4", "leaves_qty": "6", "transaction_time": "2026-03-12T15:10:19.730663Z"}
    shuffled = [body | {"id": "b", "cum_qty": "10", "qty": "6"}, body, body | {"id": "c"}]
    for order in itertools.permutations(shuffled):
        with served(list(order)) as server:
            found = on(server).fills()
        assert [(one.qty, one.key) for one in found] == [(4.0, ("o", 4.0)), (6.0, ("o", 10.0))]
        assert {one.side for one in found} == {"sell"}


def test_other_activities():
    body = [{"id": "20260312::x", "activity_type": "DIV", "date": "2026-03-12", "symbol": "KO", "qty": "10",
             "net_amount": "4.85", "per_share_amount": "0.485", "status": "executed"},
            {"id": "20260313::y", "activity_type": "CSD", "date": "2026-03-13", "net_amount": "-100"},
            {"id": "z", "activity_type": "FILL"}]
    with served(body) as server:
        dividend, deposit = on(server).activities()
    assert (dividend.type, dividend.symbol, dividend.net_amount, dividend.qty) == ("DIV", "KO", 4.85, 10.0)
    assert (deposit.type, deposit.net_amount, deposit.time) == ("CSD", -100.0, pd.Timestamp("2026-03-13", tz="UTC"))
    assert (dividend.kind, deposit.kind, deposit.day) == ("dividend", "transfer", dt.date(2026, 3, 13))
    assert server.seen[0].query["category"] == "non_trade_activity"


@pytest.mark.parametrize(("type_", "sub_type", "kind"), [
    ("DIV", "CDIV", "dividend"), ("DIV", "SDIV", "split"), ("DIVNRA", "", "dividend"), ("INT", "", "interest"),
    ("FEE", "REG", "fee"), ("CSD", "", "transfer"), ("JNLC", "", "transfer"), ("SPLIT", "FSPLIT", "split"),
    ("SPIN", "", "reorganization"), ("OPEXP", "", "other"), ("TOMORROWS", "", "other")])
def test_kinds_of_activities(type_, sub_type, kind):
    found = records.activity({"id": "a", "activity_type": type_, "activity_sub_type": sub_type, "date": "2026-03-12"})
    assert (found.type, found.sub_type, found.kind, found.created_at) == (type_, sub_type, kind, None)


def test_a_cursor_reaches_back_for_what_comes_late():
    """A fee of the 12th is listed on the 13th, after a dividend; a fill some seconds late."""
    listed = [{"id": "1", "activity_type": "DIV", "date": "2026-03-12", "created_at": "2026-03-13T01:00:00Z"}]
    fills = [{"id": "f", "activity_type": "FILL", "order_id": "o", "symbol": "AAPL", "side": "buy", "qty": "1",
              "price": "1", "cum_qty": "1", "transaction_time": "2026-03-12T15:00:00Z"}]

    def answer(seen, reply):
        after = pd.Timestamp(seen.query.get("after", "1970-01-01T00:00:00Z"))
        rows = fills if seen.path.endswith("FILL") else listed
        reply.json(200, [row for row in rows if pd.Timestamp(row.get("transaction_time") or row["created_at"]) > after])

    with Loopback(answer) as server:
        broker = on(server)
        page = broker.activity_page()
        listed.append({"id": "0", "activity_type": "FEE", "date": "2026-03-12", "created_at": "2026-03-12T23:00:00Z"})
        fills.append(fills[0] | {"order_id": "late", "transaction_time": "2026-03-12T14:56:00Z"})
        again = broker.activity_page(page.cursor)
        assert {one.activity_id for one in again.activities} == {"0", "1"}
        assert {one.order_id for one in again.fills} == {"late", "o"}
        begun = broker.activity_page(since=pd.Timestamp("2026-03-12T15:00:00Z"))
        assert [one.order_id for one in begun.fills] == ["o"]
        assert broker.activity_page(begun.cursor).fills == begun.fills  # not further back than it began
        listed.clear()
        fills.clear()
        assert broker.activity_page(again.cursor).cursor == again.cursor  # it does not go back when there is nothing


@pytest.mark.parametrize("change", [
    {"symbol": "IBM"}, {"side": "sell"}, {"qty": "11"}, {"type": "market", "limit_price": None},
    {"limit_price": "150.11"},
    {"time_in_force": "gtc"}, {"order_class": "bracket"}, {"extended_hours": True}])
def test_orders_that_differ(change):
    asked = OrderRequest(symbol="AAPL", side="buy", qty=10.0, type="limit", limit_price=150.1)
    assert outcome.differs(asked, records.order(ORDER)) == ""
    assert outcome.differs(asked, records.order(json.loads(json.dumps(ORDER | change)))) != ""
