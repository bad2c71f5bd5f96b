"""Trade updates and bars over the local exchange's websockets, with the real alpaca-py: gaps, silence, repeats, end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from botlib import brokers
from botlib.alpaca_rules import OrderRequest
from botlib.bars import Bars
from botlib.brokers.alpaca import AlpacaBroker, AlpacaConfig, BarStream, Secret, TradeStream
from botlib.calendars import schedule
from botlib.errors import InputError
from botlib.providers.sample import SampleProvider
from botlib.sandbox import running

pytestmark = [pytest.mark.slow,  # waits for heartbeats and reconnects
              pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets")]
SYMBOLS = ("AAPL", "IBM")


@pytest.fixture(scope="module")
def daily() -> Bars:
    return Bars.from_frame(SampleProvider().download_bars(symbols=SYMBOLS, period="6mo", interval="1d"))


@pytest.fixture(scope="module")
def minutes() -> Bars:
    timetable = schedule("XNYS")
    place = int(np.searchsorted(timetable.opens, pd.Timestamp("2012-09-18").value))
    sessions = zip(timetable.opens[place:place + 2], timetable.closes[place:place + 2], strict=True)
    labels = np.concatenate([np.arange(opens, closes, 60_000_000_000) for opens, closes in sessions])
    index = pd.DatetimeIndex(labels, tz="UTC").tz_convert("America/New_York").rename("timestamp")
    close = 100.0 + np.arange(len(index)) / 100.0
    frame = pd.DataFrame({"open": close, "high": close + 0.5, "low": close - 0.5, "close": close, "volume": 1e3}, index)
    return Bars.from_frame(pd.concat(dict.fromkeys(SYMBOLS, frame), names=["symbol"]), interval="1m")


def config_of(venue) -> AlpacaConfig:
    return AlpacaConfig(key_id=Secret(venue.keys[0]), secret_key=Secret(venue.keys[1]), base_url=venue.url)


def until(truth: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for something that another thread brings about."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


class Trades:
    """A running venue, its broker and a stream with what it brought."""

    def __init__(self, venue, **options) -> None:
        self.venue, self.broker, self.events, self.problems = venue, AlpacaBroker(config_of(venue)), [], []
        handler = options.pop("handler", None) or self.events.append
        self.stream = TradeStream(self.broker, handler, on_problem=self.problems.append,
                                  **({"heartbeat": 30.0} | options))
        self.broker.prepare(SYMBOLS)

    def __enter__(self):
        assert self.stream.start(15.0)
        return self

    def __exit__(self, *error):
        assert self.stream.stop()

    def buy(self, symbol="AAPL", qty=10.0):
        return self.broker.submit_order(OrderRequest(symbol=symbol, side="buy", qty=qty))

    @property
    def fills(self):
        return [(one.fill.symbol, one.fill.qty, one.source) for one in self.events if one.fill is not None]

    def kinds(self):
        return [one.kind for one in self.problems]


def test_updates_as_they_happen(daily):
    with running(daily, first=10) as venue, Trades(venue) as world:
        sent = world.buy()
        venue.step()
        until(lambda: world.fills)
        (event,) = [one for one in world.events if one.fill is not None]
        (fill,) = world.broker.fills()
        assert event.fill.key == fill.key and event.fill.price == fill.price and event.time == fill.time
        assert (event.event, event.order.status, event.order.order_id) == ("fill", "filled", sent.order_id)
        assert {"accepted", "new", "fill"} == {one.event for one in world.events}
        assert world.problems == [] and world.stream.connected and world.stream.connections == 1


def test_the_brokers_own_streams(daily, minutes):
    with running(daily, first=10) as venue:
        broker, events = AlpacaBroker(config_of(venue)), []
        stream = broker.trade_stream(events.append)
        assert stream.start(15.0)
        sent = broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0))
        venue.step()
        until(lambda: [one for one in events if one.fill is not None])
        assert {one.order.order_id for one in events} == {sent.order_id} and stream.stop()
    with running(minutes, first=10) as venue:
        bars = []
        with AlpacaBroker(config_of(venue)).bar_stream(SYMBOLS, bars.append) as stream:
            venue.step()
            until(lambda: len(bars) == 2)
        assert {(one.symbol, one.time) for one in bars} == {(name, minutes.index[10]) for name in SYMBOLS}


def test_nothing_from_before_the_start_unless_asked(daily):
    with running(daily, first=10) as venue:
        broker = AlpacaBroker(config_of(venue))
        broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=1.0))
        venue.step()
        (fill,) = broker.fills()
        with Trades(venue) as world:
            world.buy("IBM")
            venue.step()
            until(lambda: world.fills)
            assert world.fills == [("IBM", 10.0, "stream")]
        with Trades(venue, since=fill.time) as world:
            until(lambda: len(world.fills) == 2)
            assert world.fills == [("AAPL", 1.0, "backfill"), ("IBM", 10.0, "backfill")]
            assert world.problems == []


def test_a_gap_is_filled_from_rest(daily):
    """The socket breaks and is kept away for a while; what happens meanwhile comes from the activities, once."""
    with running(daily, first=10) as venue, Trades(venue) as world:
        world.buy()
        venue.step()
        until(lambda: world.fills)
        venue.fault({"kind": "dropped", "stream": "trade_updates", "seconds": 0.3, "times": 1})
        world.buy("IBM", 5.0)
        venue.step()
        until(lambda: world.stream.connections == 2 and len(world.fills) == 2)
        world.buy("AAPL", 3.0)
        venue.step()
        until(lambda: len(world.fills) == 3)
        assert sorted(world.fills) == [("AAPL", 3.0, "stream"), ("AAPL", 10.0, "stream"), ("IBM", 5.0, "backfill")]
        assert world.kinds() == ["gap"]
        assert world.stream.missed == 1


@pytest.mark.parametrize("heartbeat", [0.05, 30.0])
def test_a_stop_and_a_start_are_a_gap(daily, heartbeat):
    """It counts what came meanwhile, whoever asked for it, and its time is the exchange's, as that of events."""
    with running(daily, first=10) as venue, Trades(venue, heartbeat=heartbeat) as world:
        assert world.stream.stop() and repr(world.stream) == "TradeStream(sandbox, stopped, 0 events)"
        world.buy()
        venue.step()
        assert world.stream.start(15.0)
        until(lambda: world.problems)
        assert world.fills == [("AAPL", 10.0, "backfill")]
        (gap,) = world.problems
        assert (gap.kind, gap.missed, world.stream.missed) == ("gap", 1, 1)
        assert "1 event came from REST instead" in gap.message and "reconcile orders" in gap.message
        assert gap.time == world.broker.clock().time
        assert repr(world.stream) == "TradeStream(sandbox, connected, 1 event)"
        assert world.stream.stop() and world.stream.start(15.0)
        until(lambda: len(world.problems) == 2)
        assert world.problems[1].missed == 0 and "REST has none that is missing" in world.problems[1].message


def test_what_a_stream_cannot_take(daily):
    with running(daily, first=10) as venue:
        broker = AlpacaBroker(config_of(venue))
        for call, message in (
                (lambda: broker.trade_stream(None), "on_event is of type NoneType: give a function"),
                (lambda: broker.trade_stream(print, on_problem=5), "on_problem is of type int"),
                (lambda: broker.trade_stream(print, since="2012-05-18"), "since = '2012-05-18' must be a time with a"),
                (lambda: TradeStream("x", print), "broker is of type str: give an AlpacaBroker"),
                (lambda: broker.bar_stream([5], print), r"symbols = \[5\]: give a list of symbols"),
                (lambda: broker.bar_stream(None, print), "symbols = None: give a list"),
                (lambda: BarStream(broker, ["AAPL"], print), "connection is of type AlpacaBroker: give an")):
            with pytest.raises(InputError, match=message):
                call()


def test_what_the_package_exports():
    assert (brokers.TradeStream, brokers.BarStream, brokers.Secret) == (TradeStream, BarStream, Secret)
    assert {"TradeStream", "BarStream", "Secret"} <= set(brokers.__all__)


def test_a_mute_socket_is_noticed(daily):
    """Open, answering pings, and silent: REST says what is missing, and the socket is opened again."""
    with running(daily, first=10, faults=[{"kind": "mute", "stream": "trade_updates", "times": 1}]) as venue, \
            Trades(venue, heartbeat=0.3) as world:
        world.buy()
        venue.step()
        until(lambda: "mute" in world.kinds() and world.stream.connections == 2)
        assert world.fills == [("AAPL", 10.0, "backfill")]
        until(lambda: world.stream.connected)
        world.buy("IBM", 5.0)
        venue.step()
        until(lambda: len(world.fills) == 2)


def test_a_quiet_market_is_no_mute_socket(daily):
    with running(daily, first=10) as venue, Trades(venue, heartbeat=0.1) as world:
        asked = len(venue.exchange.orders)
        time.sleep(1.0)
        assert world.problems == [] and world.stream.connections == 1
        assert world.stream.silence < 1.0  # REST was asked meanwhile
        assert asked == len(venue.exchange.orders)


@pytest.mark.parametrize("kind", ["duplicated", "reordered", "missing"])
def test_each_fill_once_whatever_the_stream_does(daily, kind):
    with running(daily, first=10, faults=[{"kind": kind, "stream": "trade_updates", "event": "*fill"}]) as venue, \
            Trades(venue, heartbeat=0.3) as world:
        for symbol, qty in (("AAPL", 10.0), ("IBM", 5.0), ("AAPL", 3.0)):
            world.buy(symbol, qty)
        venue.step()
        venue.step()
        until(lambda: len(world.fills) == 3)
        time.sleep(0.5)
        assert sorted((symbol, qty) for symbol, qty, _ in world.fills) == [("AAPL", 3.0), ("AAPL", 10.0), ("IBM", 5.0)]
        keys = [one.fill.key for one in world.events if one.fill is not None]
        assert set(keys) == {one.key for one in world.broker.fills()} and len(keys) == 3


def test_a_handler_that_raises(daily):
    seen = []

    def handler(event):
        seen.append(event)
        raise ZeroDivisionError("the user's own")

    with running(daily, first=10) as venue, Trades(venue, handler=handler) as world:
        world.buy()
        venue.step()
        until(lambda: any(one.fill for one in seen))
        assert world.stream.connected and world.stream.connections == 1
        until(lambda: world.stream.handler_errors == len(seen))
        assert set(world.kinds()) == {"handler"}
        assert "ZeroDivisionError: the user's own" in world.problems[0].message


def test_a_handler_may_take_its_time_and_use_the_broker(daily):
    """It trades from inside, and a second order fills while it is busy."""
    with running(daily, first=10) as venue:
        world = Trades(venue, handler=lambda event: follow(event))
        done = []

        def follow(event):
            world.events.append(event)
            if event.fill is not None and not done:
                done.append(world.buy("IBM", 5.0))
                time.sleep(0.3)

        with world:
            world.buy()
            venue.step()
            until(lambda: done)
            venue.step()
            until(lambda: len(world.fills) == 2)
            assert world.fills == [("AAPL", 10.0, "stream"), ("IBM", 5.0, "stream")]


def test_stopping_is_quick_and_final(daily):
    with running(daily, first=10) as venue:
        world = Trades(venue)
        before = set(threading.enumerate())
        assert world.stream.start(15.0)
        began = time.monotonic()
        assert world.stream.stop() and world.stream.stop()
        assert time.monotonic() - began < 5.0
        assert not world.stream.running and not world.stream.connected
        assert not [one for one in set(threading.enumerate()) - before if one.name.startswith("alpaca")]
        world.buy()
        venue.step()
        time.sleep(0.2)
        assert world.events == []
        assert world.stream.start(15.0)  # again: what was missed comes
        until(lambda: world.fills)
        assert world.fills == [("AAPL", 10.0, "backfill")]
        assert world.stream.stop()


def test_the_handler_may_stop_the_stream(daily):
    with running(daily, first=10) as venue:
        world = Trades(venue, handler=lambda event: (world.events.append(event), world.stream.stop()))
        assert world.stream.start(15.0)
        world.buy()
        venue.step()
        until(lambda: world.events and not any(thread.is_alive() for thread in world.stream._threads))
        assert len(world.events) == 1


def test_wrong_keys_end_it(daily, caplog):
    caplog.set_level(logging.DEBUG)
    with running(daily, first=10) as venue:
        config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("another-" + "secret"), base_url=venue.url)
        problems = []
        stream = TradeStream(AlpacaBroker(config), print, on_problem=problems.append)
        assert not stream.start(2.0)
        until(lambda: problems)
        assert [one.kind for one in problems] == ["keys"] and not stream.running
        assert stream.stop()
    assert "another-" not in "".join(one.message for one in problems) + caplog.text
    assert "another-" not in "".join(shown(record.exc_info[1]) for record in caplog.records if record.exc_info)


def shown(error) -> str:
    """A traceback with the variables of every frame, as a verbose notebook or a log shows it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_no_key_in_the_log_of_a_socket_that_breaks_while_the_keys_are_sent(daily, caplog, monkeypatch):
    """alpaca-py logs that error with its traceback; the frames of websockets hold the message with the keys."""
    from websockets.legacy.client import WebSocketClientProtocol

    caplog.set_level(logging.DEBUG, logger="alpaca")
    sent = []

    async def broken(self, message):
        sent.append(message)
        raise OSError("broken pipe")

    with running(daily, first=10) as venue:
        monkeypatch.setattr(WebSocketClientProtocol, "send", broken)  # the venue keeps its own
        for stream in (TradeStream(AlpacaBroker(config_of(venue)), print),
                       BarStream(AlpacaBroker(config_of(venue)).connection, ["AAPL"], print)):
            assert not stream.start(0.5)
            assert stream.stop()
    secret = venue.keys[1]
    assert secret in sent[0] and any(secret.encode() in one for one in sent if isinstance(one, bytes))
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) >= 2
    for record in logged:
        assert secret not in shown(record.exc_info[1]) + record.getMessage()


def test_no_server_is_waited_for(daily):
    """It keeps trying, says so, and connects when there is one."""
    with running(daily, first=10) as venue:
        broker = AlpacaBroker(config_of(venue), attempts=1)
        venue.stop()
        problems = []
        stream = TradeStream(broker, print, on_problem=problems.append)
        assert not stream.start(0.3)
        venue.start()
        until(lambda: stream.connected)
        assert stream.stop()


def test_inside_a_running_event_loop(daily):
    """As in Jupyter, where a loop runs already in the caller's thread."""
    async def cell(venue):
        with Trades(venue) as world:
            world.buy()
            venue.step()
            while not world.fills:
                await asyncio.sleep(0.01)
            return world.fills

    with running(daily, first=10) as venue:
        assert asyncio.run(cell(venue)) == [("AAPL", 10.0, "stream")]


# --- bars -------------------------------------------------------------------------------------------------------------


class Prints:
    """A running venue of minutes and a bar stream with what it brought."""

    def __init__(self, venue, **options) -> None:
        self.venue, self.events, self.problems = venue, [], []
        self.stream = BarStream(AlpacaBroker(config_of(venue)).connection, SYMBOLS, self.events.append,
                                on_problem=self.problems.append, **({"heartbeat": 30.0} | options))

    def __enter__(self):
        assert self.stream.start(15.0)
        return self

    def __exit__(self, *error):
        assert self.stream.stop()

    def got(self, symbol):
        return [one.time for one in self.events if one.symbol == symbol]


def test_bars_as_they_happen(minutes):
    with running(minutes, first=10) as venue, Prints(venue) as world:
        venue.step(3)
        until(lambda: len(world.events) == 6)
        for symbol in SYMBOLS:
            assert world.got(symbol) == list(minutes.index[10:13])
        first = world.events[0]
        assert (first.open, first.high, first.low, first.close, first.volume) == pytest.approx(
            (100.1, 100.6, 99.6, 100.1, 1000.0))
        assert {one.source for one in world.events} == {"stream"} and world.problems == []


@pytest.mark.parametrize(("fault", "kind"), [("dropped", "gap"), ("mute", "mute")])
def test_bars_that_the_stream_did_not_bring(minutes, fault, kind):
    with running(minutes, first=10) as venue, Prints(venue, heartbeat=0.5) as world:
        venue.step(2)
        until(lambda: len(world.events) == 4)
        venue.fault({"kind": fault, "stream": "market_data", "times": 1})
        venue.step(3)
        until(lambda: kind in [one.kind for one in world.problems] and len(world.events) == 10)
        until(lambda: world.stream.connected and world.stream.connections == 2)
        venue.step(2)
        until(lambda: len(world.events) == 14)
        for symbol in SYMBOLS:
            assert world.got(symbol) == list(minutes.index[10:17])  # each once, in order


def test_bars_from_a_moment_on(minutes):
    with running(minutes, first=10) as venue, Prints(venue, since=minutes.index[4]) as world:
        until(lambda: len(world.events) == 12)
        assert world.got("AAPL") == list(minutes.index[4:10])
        assert {one.source for one in world.events} == {"backfill"}


@pytest.mark.parametrize(("options", "message"), [
    ({"symbols": []}, "symbols"), ({"symbols": "AAPL"}, "symbols"), ({"feed": "siip"}, "feed = 'siip'"),
    ({"heartbeat": 0}, "heartbeat"), ({"heartbeat": float("nan")}, "heartbeat"),
    ({"interval": "1d"}, "interval = '1d'")])
def test_options_out_of_range(minutes, options, message):
    config = AlpacaConfig(key_id=Secret("a"), secret_key=Secret("b"), base_url="http://127.0.0.1:1")
    with pytest.raises(InputError, match=message):
        BarStream(AlpacaBroker(config).connection, options.pop("symbols", SYMBOLS), print, **options)
