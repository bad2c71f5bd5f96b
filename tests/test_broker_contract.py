"""What every broker must do. A new broker gets a line in CASES; one without it fails the first test.

The venue is the local exchange on shipped bars, stepped by hand; orders sent after a close meet the next open, so each
expected price is the open of a bar.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pandas as pd
import pytest

from botlib import brokers
from botlib.alpaca_rules import OrderRequest
from botlib.bars import Bars
from botlib.brokers.alpaca import AlpacaBroker, AlpacaConfig, Secret
from botlib.brokers.base import Broker, EventStream, Fill, OpenOrder, OrderRejection, UnknownOrder
from botlib.errors import InputError
from botlib.providers.sample import SampleProvider
from botlib.sandbox import running
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.transport import SandboxAdapter

pytestmark = pytest.mark.slow  # a server for each case

SYMBOLS = ("AAPL", "IBM", "MSFT")
FIRST = 10


@pytest.fixture(scope="module")
def bars() -> Bars:
    sample = SampleProvider()
    return Bars.from_frame(sample.download_bars(symbols=SYMBOLS, period="6mo", interval="1d"))


@dataclass
class World:
    """A broker and the venue behind it."""

    broker: Any
    exchange: Exchange
    step: Callable[[], object]
    bars: Bars

    def price(self, symbol: str, field: str = "open") -> float:
        """Of the last bar that happened."""
        return float(getattr(self.bars, field)[self.exchange.bar, self.bars.symbols.index(symbol)])


@contextmanager
def in_process(bars: Bars) -> Iterator[World]:
    exchange = Exchange(bars, first=FIRST)
    config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url="http://127.0.0.1:1")
    broker = AlpacaBroker(config, adapter=SandboxAdapter(Api(exchange, raise_bugs=True)))
    yield World(broker, exchange, exchange.advance, bars)
    broker.close()


@contextmanager
def over_http(bars: Bars) -> Iterator[World]:
    with running(bars, first=FIRST) as venue:
        config = AlpacaConfig(key_id=Secret(venue.keys[0]), secret_key=Secret(venue.keys[1]), base_url=venue.url)
        broker = AlpacaBroker(config)
        yield World(broker, venue.exchange, venue.step, bars)
        broker.close()


CASES: dict[str, Callable[[Bars], Any]] = {"alpaca-in-process": in_process, "alpaca-http": over_http}


@pytest.fixture(params=CASES)
def world(request, bars) -> Iterator[World]:
    with CASES[request.param](bars) as made:
        yield made


def order(symbol="AAPL", side="buy", qty=10.0, **fields):
    return OrderRequest(symbol=symbol, side=side, qty=qty, **fields)


def enter(world: World, symbol="AAPL", qty=10.0, side="buy", **fields) -> None:
    assert isinstance(world.broker.submit_order(order(symbol, side, qty, **fields)), OpenOrder)
    world.step()


def test_every_broker_stands_in_the_contract():
    assert {name.split("-")[0] for name in CASES} == set(brokers.names())


def test_it_says_what_it_is(world):
    assert isinstance(world.broker, Broker)
    assert world.broker.name in brokers.names()
    known = {"market", "limit", "stop", "stop_limit", "trailing_stop"}
    assert {"market", "limit", "stop"} <= world.broker.capabilities.order_types <= known
    assert {"simple", "bracket", "oco"} <= world.broker.capabilities.order_classes
    assert {"day", "gtc"} <= world.broker.capabilities.time_in_force


def test_a_flat_account(world):
    portfolio = world.broker.portfolio()
    assert (portfolio.positions, portfolio.open_orders) == ((), ())
    assert portfolio.account.cash == portfolio.account.equity == 100_000.0
    assert (portfolio.account.blocked, portfolio.account.currency) == ("", "USD")
    assert portfolio.position("AAPL") is None and len(portfolio.to_frame()) == 0
    assert world.broker.fills() == ()


def test_a_market_order_from_sending_to_the_fill(world):
    sent = world.broker.submit_order(order(client_order_id="mine-1"))
    assert isinstance(sent, OpenOrder)
    assert (sent.client_order_id, sent.symbol, sent.side) == ("mine-1", "AAPL", "buy")
    assert (sent.qty, sent.filled_qty) == (10.0, 0.0)
    assert [one.order_id for one in world.broker.open_orders()] == [sent.order_id]
    before = world.broker.clock().time
    world.step()
    (fill,) = world.broker.fills()
    assert (fill.order_id, fill.symbol, fill.side, fill.qty, fill.cum_qty, fill.leaves_qty) == (
        sent.order_id, "AAPL", "buy", 10.0, 10.0, 0.0)
    assert fill.price == world.price("AAPL")
    assert fill.key == (sent.order_id, 10.0) and fill.covers == (0.0, 10.0)
    assert fill.time > before
    assert world.broker.open_orders() == ()
    (position,) = world.broker.get_positions()
    assert (position.symbol, position.qty, position.side, position.available_qty) == ("AAPL", 10.0, "long", 10.0)
    assert position.avg_entry_price == world.price("AAPL")
    close = world.price("AAPL", "close")
    assert position.market_value == pytest.approx(10 * close)
    assert position.unrealized_pl == pytest.approx(10 * (close - world.price("AAPL")))
    account = world.broker.get_account_info()
    assert account.cash == pytest.approx(100_000 - 10 * world.price("AAPL"))
    assert account.equity == pytest.approx(account.cash + 10 * close)
    found = world.broker.get_order(sent.order_id)
    assert (found.status, found.working, found.filled_qty, found.left_qty) == ("filled", False, 10.0, 0.0)
    assert world.broker.order_by_client_id("mine-1") == found


def test_records_are_frozen_and_times_have_a_zone(world):
    enter(world)
    portfolio = world.broker.portfolio()
    found = [*world.broker.fills(), *portfolio.positions, portfolio, portfolio.account, world.broker.clock(),
             world.broker.submit_order(order("IBM")), world.broker.submit_order(order(qty=-1))]
    times = 0
    for record in found:
        assert is_dataclass(record)
        for field in fields(record):
            value = getattr(record, field.name)
            with pytest.raises((AttributeError, TypeError)):
                setattr(record, field.name, value)
            if isinstance(value, pd.Timestamp):
                times += 1
                assert str(value.tz) == "UTC"
    assert times >= 6


def test_fills_from_a_moment_on(world):
    enter(world)
    enter(world, "IBM", 5.0)
    first, second = world.broker.fills()
    assert (first.symbol, second.symbol) == ("AAPL", "IBM")
    assert world.broker.fills(since=second.time) == (second,)  # that instant counts
    assert world.broker.fills(since=second.time + pd.Timedelta(microseconds=1)) == ()
    assert world.broker.fills(since=first.time) == (first, second)
    with pytest.raises(InputError, match="time zone"):
        world.broker.fills(since=pd.Timestamp("2012-01-01"))


def test_looking_an_order_up(world):
    sent = world.broker.submit_order(order(client_order_id="mine-1"))
    for found in (world.broker.order_by_client_id("mine-1"), world.broker.get_order(sent.order_id)):
        assert (found.order_id, found.client_order_id, found.working) == (sent.order_id, "mine-1", True)
    assert world.broker.order_by_client_id("mine-2") is None
    for wrong in ("", None, 7):
        with pytest.raises(InputError, match="client_order_id = "):
            world.broker.order_by_client_id(wrong)


def test_orders_in_any_state_from_a_moment_on_and_by_prefix(world):
    """Legs go with their entry: their own client order ids are the broker's."""
    first = world.broker.submit_order(order(client_order_id="run-1"))
    world.broker.submit_order(order("IBM", client_order_id="other-1"))
    world.step()
    last = world.price("MSFT", "close")
    bracket = world.broker.submit_order(order("MSFT", order_class="bracket", time_in_force="gtc", stop_loss=1.0,
                                              take_profit=round(last * 2, 2), client_order_id="run-2"))
    assert world.broker.cancel(bracket.order_id) is None
    world.broker.clock()
    every = world.broker.orders()
    assert [one.status for one in every] == ["filled", "filled", "canceled", "canceled", "canceled"]
    ours = world.broker.orders(prefix="run-")
    assert [one.order_id for one in ours[:2]] == [first.order_id, bracket.order_id]
    assert [one.parent_id for one in ours[2:]] == [bracket.order_id] * 2
    since = world.broker.orders(since=bracket.submitted_at, prefix="run-")  # that instant counts
    assert [one.order_id for one in since] == [one.order_id for one in ours[1:]]
    assert world.broker.orders(since=bracket.submitted_at + pd.Timedelta(microseconds=1)) == ()
    with pytest.raises(InputError, match="time zone"):
        world.broker.orders(since=pd.Timestamp("2012-01-01"))


def test_activities_by_kind(world):
    world.exchange.deposit(500.0)
    world.step()
    enter(world)
    world.exchange.deposit(-200.0)
    (paid_in, paid_out) = [one for one in world.broker.activities() if one.kind == "transfer"]
    assert (paid_in.net_amount, paid_out.net_amount) == (500.0, -200.0)
    assert (paid_in.status, paid_in.symbol, paid_in.day) == ("executed", "", world.bars.index[FIRST - 1].date())
    assert paid_in.created_at == paid_in.time < paid_out.time
    assert paid_in not in world.broker.activities(since=paid_out.time)
    assert paid_out in world.broker.activities(since=paid_out.time)  # that instant counts
    assert not [one for one in world.broker.activities() if one.type == "FILL"]


def test_activities_after_a_cursor(world):
    """Nothing is left out; what comes again has the same key."""
    assert world.broker.activity_page().fills == world.broker.activity_page().activities == ()
    enter(world)
    world.exchange.deposit(500.0)
    first = world.broker.activity_page()
    assert [fill.symbol for fill in first.fills] == ["AAPL"]
    assert "transfer" in [one.kind for one in first.activities]
    enter(world, "IBM")
    for _ in range(5):
        world.step()
    world.exchange.deposit(700.0)
    later = world.broker.activity_page(first.cursor)
    assert {fill.symbol for fill in later.fills} == {"AAPL", "IBM"}  # the AAPL fill is the last of the page before
    assert 700.0 in [one.net_amount for one in later.activities]
    last = world.broker.activity_page(later.cursor)
    assert [fill.symbol for fill in last.fills] == ["IBM"]  # AAPL's was a day earlier
    assert [one.net_amount for one in last.activities if one.kind == "transfer"] == [700.0]
    assert world.broker.activity_page(last.cursor) == last
    seen = {fill.key for page in (first, later, last) for fill in page.fills}
    assert seen == {fill.key for fill in world.broker.fills()}
    begun = world.broker.activity_page(since=later.fills[-1].time)
    assert [fill.symbol for fill in begun.fills] == ["IBM"]
    assert world.broker.activity_page(begun.cursor).fills == begun.fills


@pytest.mark.parametrize("cursor", ["x", "2012-01-01 2012-01-01", "-", "- - -", "NaT -", 7])
def test_a_cursor_of_another_origin(world, cursor):
    with pytest.raises(InputError, match="cursor"):
        world.broker.activity_page(cursor)
    with pytest.raises(InputError, match="not both"):
        world.broker.activity_page("- -", since=pd.Timestamp("2012-01-01", tz="UTC"))


def test_the_clock(world):
    """After the close of a Monday: the next bar is Tuesday's, 2012-09-18."""
    assert world.bars.index[FIRST] == pd.Timestamp("2012-09-18", tz="America/New_York")
    clock = world.broker.clock()
    assert not clock.is_open
    assert clock.next_open == pd.Timestamp("2012-09-18 13:30", tz="UTC")
    assert clock.next_close == pd.Timestamp("2012-09-18 20:00", tz="UTC")
    assert pd.Timestamp("2012-09-17 20:00", tz="UTC") <= clock.time < clock.next_open
    assert clock.asked_at <= clock.answered_at
    assert clock.skew_seconds < -3600 * 24 * 365 * 10  # this machine's clock is years ahead of the venue's
    assert 0.0 <= clock.skew_error_seconds < 10.0


def test_the_calendar(world):
    """Thanksgiving of 2012 was the 22nd; the day after is a half day; winter time is UTC - 5."""
    found = world.broker.calendar("2012-11-21", dt.date(2012, 11, 26))
    hours = [(one.day.isoformat(), f"{one.open:%H:%M}", f"{one.close:%d %H:%M}") for one in found]
    assert hours == [("2012-11-21", "14:30", "21 21:00"), ("2012-11-23", "14:30", "23 18:00"),
                     ("2012-11-26", "14:30", "26 21:00")]
    assert {str(one.open.tz) for one in found} == {"UTC"}
    assert (found[1].extended_open, found[1].extended_close) == (
        pd.Timestamp("2012-11-23 09:00", tz="UTC"), pd.Timestamp("2012-11-23 22:00", tz="UTC"))
    assert world.broker.calendar("2012-11-22", "2012-11-22") == ()
    summer, = world.broker.calendar("2012-09-18", "2012-09-18")
    assert summer.open == pd.Timestamp("2012-09-18 13:30", tz="UTC")
    for bad in (("2012-11-23", "2012-11-22"), ("soon", "2012-11-22"), ("2012-11-22", None),
                (pd.Timestamp("2012-11-22", tz="UTC"), "2012-11-23")):
        with pytest.raises(InputError, match="start|end"):
            world.broker.calendar(*bad)


def test_an_asset(world):
    found = world.broker.get_asset("AAPL")
    assert (found.symbol, found.status, found.tradable, found.fractionable, found.shortable) == (
        "AAPL", "active", True, True, True)
    assert world.broker.get_asset("ZZZZ") is None
    assert world.broker.get_asset("../account") is None
    world.broker.prepare(["AAPL", "ZZZZ"])
    for wrong in ("", " ", None):
        with pytest.raises(InputError, match="symbol = "):
            world.broker.get_asset(wrong)


def test_streams_are_offered(world):
    """What they bring stands in the tests of each broker's streams: here they are not started."""
    assert world.broker.capabilities.trade_stream and world.broker.capabilities.bar_stream
    for stream in (world.broker.trade_stream(print), world.broker.bar_stream(["AAPL"], print, interval="5m")):
        assert isinstance(stream, EventStream)
        assert not stream.running and not stream.connected and stream.problems == []
        assert stream.stop()


def test_a_bracket_and_its_legs(world):
    last = world.price("AAPL", "close")
    sent = world.broker.submit_order(order(order_class="bracket", time_in_force="gtc", take_profit=round(last * 2, 2),
                                           stop_loss=round(last / 2, 2)))
    assert isinstance(sent, OpenOrder) and len(sent.legs) == 2
    shown = world.broker.open_orders()
    assert [one.parent_id for one in shown] == [None, sent.order_id, sent.order_id]
    assert [one.status for one in shown[1:]] == ["held", "held"]
    world.step()
    legs = world.broker.open_orders()  # the entry is filled; one leg works, the other is held
    assert {one.order_id for one in legs} == {leg.order_id for leg in sent.legs}
    assert {one.status for one in legs} == {"new", "held"}
    (stop,) = [one for one in legs if one.type == "stop"]
    assert (stop.side, stop.qty, stop.stop_price) == ("sell", 10.0, round(last / 2, 2))
    # The legs hold the shares.
    refused = world.broker.submit_order(order(side="sell"))
    assert isinstance(refused, OrderRejection) and refused.rule == "held-for-orders"
    assert refused.fields["held_for_orders"] == "10"
    (target,) = [one for one in legs if one.type == "limit"]
    assert world.broker.cancel(target.order_id) is None
    world.broker.clock()
    assert world.broker.open_orders() == ()  # one leg takes the other with it
    assert isinstance(world.broker.submit_order(order(side="sell")), OpenOrder)


def test_an_oco_for_what_is_held(world):
    enter(world)
    last = world.price("AAPL", "close")
    sent = world.broker.submit_order(order(side="sell", type="limit", order_class="oco", time_in_force="gtc",
                                           take_profit=round(last * 2, 2), stop_loss=round(last / 2, 2)))
    assert isinstance(sent, OpenOrder)
    assert {one.type for one in world.broker.open_orders()} == {"limit", "stop"}


def test_cancel(world):
    sent = world.broker.submit_order(order(type="limit", limit_price=1.0))
    assert world.broker.cancel(sent.order_id) is None
    assert world.broker.await_end(sent.order_id, timeout=2.0, every=0.01).status == "canceled"
    assert world.broker.open_orders() == ()
    enter(world)
    (fill,) = world.broker.fills()
    refused = world.broker.cancel(fill.order_id)
    assert isinstance(refused, OrderRejection)
    assert (refused.rule, refused.status, refused.code) == ("order-ended", 422, 42210000)


def test_replace(world):
    sent = world.broker.submit_order(order(type="limit", limit_price=1.0, time_in_force="gtc"))
    refused = world.broker.replace(sent.order_id, limit_price=2.0)  # waiting for the open
    assert isinstance(refused, OrderRejection) and refused.status == 422
    world.step()
    made = world.broker.replace(sent.order_id, qty=7, limit_price=2.0, client_order_id="second")
    assert isinstance(made, OpenOrder)
    assert (made.replaces, made.qty, made.limit_price, made.client_order_id) == (sent.order_id, 7.0, 2.0, "second")
    world.broker.clock()
    assert world.broker.get_order(sent.order_id).replaced_by == made.order_id
    assert [one.order_id for one in world.broker.open_orders()] == [made.order_id]
    again = world.broker.replace(sent.order_id, qty=7, limit_price=2.0, client_order_id="second")
    assert isinstance(again, OpenOrder) and again.order_id == made.order_id
    other = world.broker.replace(sent.order_id, qty=8, limit_price=2.0, client_order_id="second")
    assert isinstance(other, OrderRejection) and other.client_order_id == "second"
    assert len(world.broker.orders()) == 2


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_close_a_position(world, side):
    enter(world, side=side)
    held = world.broker.get_positions()[0]
    assert held.qty == (10.0 if side == "buy" else -10.0)
    part = world.broker.close_position("AAPL", qty=4)
    assert isinstance(part, OpenOrder)
    assert (part.qty, part.side) == (4.0, "sell" if side == "buy" else "buy")
    world.step()
    assert abs(world.broker.get_positions()[0].qty) == 6.0
    assert isinstance(world.broker.close_position("AAPL", client_order_id="out"), OpenOrder)
    world.step()
    assert world.broker.get_positions() == ()
    assert world.broker.order_by_client_id("out").filled_qty == 6.0
    refused = world.broker.close_position("AAPL")
    assert isinstance(refused, OrderRejection) and refused.rule == "no-position"
    assert world.broker.fills()[-1].cum_qty == 6.0


@pytest.mark.parametrize("qty", [0, -1, 11, float("nan"), "3"])
def test_a_quantity_that_cannot_be_closed(world, qty):
    enter(world)
    refused = world.broker.close_position("AAPL", qty=qty)
    assert isinstance(refused, OrderRejection) and refused.rule == "quantity-beyond-position"
    assert world.broker.open_orders() == ()


def test_several_at_once(world):
    asked = [order(symbol, qty=float(n + 1), client_order_id=f"batch-{n}") for n, symbol in enumerate(SYMBOLS * 4)]
    asked[5] = order(qty=float("nan"), client_order_id="batch-5")
    results = world.broker.submit_orders(asked)
    assert [one.client_order_id for one in results] == [f"batch-{n}" for n in range(12)]  # in the order given
    assert [type(one) for one in results] == [OpenOrder] * 5 + [OrderRejection] + [OpenOrder] * 6
    assert len(world.broker.open_orders()) == 11
    assert world.broker.submit_orders([]) == []


def test_an_order_always_has_an_id_of_ours(world):
    first, second = (world.broker.submit_order(order()) for _ in range(2))
    assert first.client_order_id and second.client_order_id and first.client_order_id != second.client_order_id


def test_the_same_id_twice_is_the_same_order(world):
    first = world.broker.submit_order(order(client_order_id="twice"))
    again = world.broker.submit_order(order(client_order_id="twice"))
    assert again.order_id == first.order_id
    assert len(world.broker.open_orders()) == 1
    other = world.broker.submit_order(order(qty=11.0, client_order_id="twice"))
    assert isinstance(other, OrderRejection) and other.rule == "duplicate-client-order-id"
    assert "qty 10, not 11" in other.message
    world.step()
    done = world.broker.submit_order(order(client_order_id="twice"))
    assert isinstance(done, Fill)  # it has ended by now, with these shares
    assert (done.qty, done.cum_qty, done.price, done.order_id) == (10.0, 10.0, world.price("AAPL"), first.order_id)


def test_unknown_ids(world):
    unknown = "00000000-0000-4000-8000-000000000000"
    assert world.broker.get_order(unknown) is None
    assert world.broker.get_order("nonsense") is None
    assert world.broker.order_by_client_id("never-sent") is None
    for wrong in (unknown, "nonsense", "", None, "../account"):
        for result in (world.broker.cancel(wrong), world.broker.replace(wrong, qty=1)):
            assert isinstance(result, OrderRejection)
            assert (result.status, result.code, result.rule) == (404, 40410000, "order-not-found")


BAD = {
    "symbol-unknown": ({"symbol": "ZZZZ"}, "unknown-symbol", 42210000),
    "symbol-none": ({"symbol": None}, "symbol-missing", 40010001),
    "symbol-path": ({"symbol": "../orders"}, "unknown-symbol", 42210000),
    "qty-nan": ({"qty": float("nan")}, "quantity-positive", 40010001),
    "qty-inf": ({"qty": float("inf")}, "quantity-positive", 40010001),
    "qty-zero": ({"qty": 0.0}, "quantity-positive", 40010001),
    "qty-negative": ({"qty": -5.0}, "quantity-positive", 40010001),
    "qty-text": ({"qty": "five"}, "quantity-positive", 40010001),
    "qty-too-precise": ({"qty": 1.0000000001}, "quantity-precision", 42210000),
    "qty-none": ({"qty": None}, "quantity-missing", 40010001),
    "side": ({"side": "long"}, "invalid-side", 40010001),
    "type": ({"type": "limt"}, "invalid-type", 40010001),
    "sub-penny": ({"type": "limit", "limit_price": 290.123}, "sub-penny-price", 42210000),
    "limit-missing": ({"type": "limit"}, "limit-price-missing", 40010001),
    "fraction-gtc": ({"qty": 0.5, "time_in_force": "gtc"}, "fractional-needs-day", 42210000),
    "fraction-bracket": ({"qty": 0.5, "order_class": "bracket", "take_profit": 900.0, "stop_loss": 1.0},
                         "fractional-needs-simple", 42210000),
    "bracket-crossed": ({"order_class": "bracket", "take_profit": 100.0, "stop_loss": 900.0}, "legs-crossed", 42210000),
    "id-too-long": ({"client_order_id": "x" * 129}, "client-order-id-length", 40010001),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_orders_are_refused_before_the_network(world, name):
    change, rule, code = BAD[name]
    result = world.broker.submit_order(OrderRequest(**({"symbol": "AAPL", "side": "buy", "qty": 10.0} | change)))
    assert isinstance(result, OrderRejection)
    assert (result.rule, result.code, result.by) == (rule, code, "preflight")
    text = str(result)
    assert text.startswith("Order submission failed (") and "\n" not in text
    assert result.advice and result.advice in text
    assert world.exchange.orders == {}


def test_refused_by_the_venue(world):
    """What only the account knows: typed, with Alpaca's code, and a sentence."""
    big = world.broker.submit_order(order(qty=100_000.0))
    assert (big.rule, big.status, big.code, big.by) == ("buying-power", 403, 40310000, "broker")
    assert {"buying_power", "cost_basis"} <= set(big.fields)
    assert "not enough buying power" in str(big)
    wrong = world.broker.submit_order(order(order_class="bracket", take_profit=1.0, stop_loss=0.5))
    assert (wrong.rule, wrong.code) == ("bracket-wrong-side", 42210000) and "base_price" in wrong.fields
    enter(world)
    world.broker.submit_order(order(side="sell", type="stop", stop_price=1.0, qty=1.0))
    wash = world.broker.submit_order(order())
    assert (wash.rule, wash.code) == ("wash-trade", 40310000) and wash.fields["existing_order_id"]


def test_a_blocked_account(world):
    world.exchange.block()
    assert "blocked" in world.broker.get_account_info().blocked
    refused = world.broker.submit_order(order())
    assert isinstance(refused, OrderRejection) and refused.status == 403
    assert not isinstance(refused, UnknownOrder)
    assert world.broker.get_positions() == ()  # reading goes on


def test_more_orders_than_a_page_holds(world):
    """1,030 orders, many sent within the same moment; Alpaca gives 500 a page."""
    requests = [order(SYMBOLS[n % 3], qty=1.0, type="limit", limit_price=1.0, client_order_id=f"page-{n}")
                for n in range(1030)]
    for one in requests:
        world.exchange.submit(one)
    found = world.broker.open_orders()
    assert [one.client_order_id for one in found] == [f"page-{n}" for n in range(1030)]
    assert len(world.broker.orders()) == 1030


def test_more_fills_than_a_page_holds(world):
    for n in range(230):
        world.exchange.submit(order(SYMBOLS[n % 3], qty=1.0, client_order_id=f"fill-{n}"))
    world.step()
    fills = world.broker.fills()
    assert len({fill.key for fill in fills}) == len(fills) == 230
    assert sum(fill.qty for fill in fills) == 230.0
    assert list(fills) == sorted(fills, key=lambda fill: fill.time)
    assert sum(p.qty for p in world.broker.get_positions()) == 230.0


def test_partial_fills_have_keys_of_their_own(world):
    world.exchange.partial_fill_pct = 100.0
    asked = order(qty=100.0, time_in_force="gtc", client_order_id="in-parts")
    sent = world.broker.submit_order(asked)
    world.step()
    (first,) = world.broker.fills()
    assert 0.0 < first.qty < 100.0 and first.leaves_qty == 100.0 - first.qty
    again = world.broker.submit_order(asked)  # it is there and still works
    assert isinstance(again, OpenOrder) and (again.status, again.filled_qty) == ("partially_filled", first.qty)
    world.exchange.partial_fill_pct = 0.0
    world.step()
    fills = world.broker.fills()
    assert fills[0] == first and [fill.order_id for fill in fills] == [sent.order_id] * 2
    assert [fill.covers for fill in fills] == [(0.0, first.qty), (first.qty, 100.0)]  # they lie side by side
    assert len({fill.key for fill in fills}) == 2
    whole = world.broker.submit_order(asked)
    assert isinstance(whole, Fill) and whole.covers == (0.0, 100.0)
    assert whole.price * 100.0 == pytest.approx(sum(fill.qty * fill.price for fill in fills), abs=0.01)


def test_closing_twice_does_no_harm(world):
    world.broker.close()
    world.broker.close()
    assert world.broker.get_positions() == ()  # the next request opens a connection
