"""Waiting, the hours of an exchange, clocks that jump, scheduled runs, streams: a session under a virtual clock."""

from __future__ import annotations

import dataclasses
import threading
import time

import pandas as pd
import pytest
from sandbox_helpers import minutes
from session_world import Flowing, World, folder, walk  # noqa: F401

from botlib import live, sandbox
from botlib.calendars import schedule
from botlib.sandbox.faults import Fault
from botlib.session.rounds import Rounds
from botlib.session.waiting import Hours, day_over, next_pass, no_session
from botlib.session_config import SessionParams

pytestmark = pytest.mark.slow

# ruff: noqa: F811

XNYS = schedule("XNYS")


def ny(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="America/New_York")


# --- when the next pass is due ----------------------------------------------------------------------------------------

DUE = [  # interval, now, next pass; 2024-07-03 is a half day, 07-04 a holiday, 07-05 a Friday
    ("5m", "2024-07-02 09:35:03", "2024-07-02 09:36:03"), ("5m", "2024-07-02 09:39:03", "2024-07-02 09:40:03"),
    ("5m", "2024-07-02 09:38:40", "2024-07-02 09:40:03"), ("1m", "2024-07-02 09:35:03", "2024-07-02 09:36:03"),
    ("1m", "2024-07-02 09:35:01", "2024-07-02 09:35:03"), ("15m", "2024-07-02 15:59:30", "2024-07-02 16:00:03"),
    ("5m", "2024-07-02 16:00:03", "2024-07-03 09:25:00"), ("5m", "2024-07-03 09:25:00", "2024-07-03 09:30:03"),
    ("5m", "2024-07-03 12:59:50", "2024-07-03 13:00:03"), ("5m", "2024-07-03 13:00:03", "2024-07-05 09:25:00"),
    ("5m", "2024-07-05 16:00:03", "2024-07-08 09:25:00"), ("5m", "2024-03-08 16:00:03", "2024-03-11 09:25:00"),
    ("5m", "2024-11-01 16:00:03", "2024-11-04 09:25:00"), ("1h", "2024-07-02 15:59:30", "2024-07-02 16:00:03"),
    ("1d", "2024-07-02 12:00:00", "2024-07-02 12:01:00"), ("1d", "2024-07-02 15:59:30", "2024-07-02 16:00:03"),
    ("1d", "2024-07-02 16:00:03", "2024-07-02 16:20:03"), ("1d", "2024-07-02 16:20:03", "2024-07-03 09:25:00"),
    ("1d", "2024-07-03 13:00:03", "2024-07-03 13:20:03"), ("1d", "2024-07-03 13:20:03", "2024-07-05 09:25:00"),
]


@pytest.mark.parametrize(("interval", "now", "due"), DUE)
def test_the_next_pass(interval, now, due):
    hours = Hours(timetable=XNYS, interval=interval, poll=60.0)
    assert next_pass(hours, ny(now).tz_convert("UTC")) == ny(due)


def test_every_pass_is_later_than_the_one_before():
    """Over a holiday and a weekend: time goes on, and never by more than a weekend with a holiday."""
    for interval in ("1m", "15m", "1d"):
        hours, now = Hours(timetable=XNYS, interval=interval, poll=300.0), ny("2024-07-02 09:00:07").tz_convert("UTC")
        while now < ny("2024-07-08 10:00"):
            due = next_pass(hours, now)
            assert pd.Timedelta(0) < due - now < pd.Timedelta(days=3)
            now = due


def test_days_without_trading_and_the_end_of_a_day():
    hours = Hours(timetable=XNYS, interval="1d", poll=60.0)
    assert no_session(hours.timetable, ny("2024-07-03 08:00")) == ""
    assert no_session(hours.timetable, ny("2024-07-04 08:00")) == (
        "no trading on 2024-07-04 (XNYS); the next session is 2024-07-05")
    assert no_session(hours.timetable, ny("2024-07-06 23:00")).startswith("no trading on 2024-07-06")
    assert day_over(hours, ny("2024-07-03 13:19:59"), ny("2024-07-02")) == ("", "")
    assert day_over(hours, ny("2024-07-03 13:20:03"), ny("2024-07-03"))[0] == "success"
    assert day_over(hours, ny("2024-07-03 13:20:03"), ny("2024-07-02")) == ("", "")
    assert day_over(hours, ny("2024-07-03 14:20:03"), ny("2024-07-02"))[0] == "error"
    intraday = dataclasses.replace(hours, interval="5m")
    assert day_over(intraday, ny("2024-07-03 12:59:59"), ny("2024-07-03 12:50")) == ("", "")
    assert day_over(intraday, ny("2024-07-03 13:00:03"), ny("2024-07-03 12:55"))[0] == "success"
    assert day_over(intraday, ny("2024-07-03 13:00:03"), ny("2024-07-03 12:50")) == ("", "")
    assert day_over(intraday, ny("2024-07-03 13:10:00"), ny("2024-07-03 12:50"))[0] == "success"
    assert day_over(intraday, ny("2024-07-03 13:10:00"), ny("2024-07-02 15:55"))[0] == "error"
    hourly = dataclasses.replace(hours, interval="1h")  # from 9:30 on: the last hour of a half day is half an hour
    assert day_over(hourly, ny("2024-07-03 13:00:03"), ny("2024-07-03 11:30")) == ("", "")
    assert day_over(hourly, ny("2024-07-03 13:00:03"), ny("2024-07-03 12:30")) == (
        "success", "the session of 2024-07-03 is over")


# --- days and nights --------------------------------------------------------------------------------------------------

FIVE = minutes(3, step=5, first="2024-03-07", symbols=("AAPL", "KO"), seed=4)  # the clocks change on the 10th


def flowing(folder, *faults, bars=FIVE, start="2024-03-07 11:00:00", until="2024-03-11 11:00:00", **values) -> Flowing:
    first = int(bars.final_times().searchsorted(ny(start), side="right"))
    return Flowing(folder, *faults, bars=bars, first=first, start=start, until=until,
                   **{"poll_seconds": 300.0, "late_grace_seconds": 300.0} | values)


def test_over_night_and_the_change_of_clocks(folder):
    """Every bar is decided once and in time; nothing is asked for over night and over the weekend."""
    bars = minutes(3, step=30, first="2024-03-07", symbols=("AAPL", "KO"), seed=4)
    world = flowing(folder, bars=bars, until="2024-03-11 12:00:00", poll_seconds=1800.0, late_grace_seconds=1800.0)
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        decisions = repository.decisions(1)
    assert set(decisions["status"]) == {"decided"}
    labels = [t for t in bars.index if ny("2024-03-07 10:30") <= t < ny("2024-03-11 11:30")]
    assert list(decisions["bar_time"]) == [t.tz_convert("UTC") for t in labels]
    closed = [t for t in world.passes() if not ny(f"{t:%Y-%m-%d} 09:29") < t < ny(f"{t:%Y-%m-%d} 16:01")]
    assert [f"{t:%m-%d %H:%M}" for t in closed] == ["03-08 09:25", "03-11 09:25"]
    assert min((t - t.floor("30min")).total_seconds() for t in world.passes()[1:] if t not in closed) >= 3.0
    assert sum(line.startswith("[WAIT]") for line in world.said) == 2


# --- 21, 25, 41, 42: data and clocks ----------------------------------------------------------------------------------

def test_a_machine_that_slept_while_it_waited(folder):
    """Three hours are gone: the bars of that time are recorded as missed, the last one is decided on."""
    world = flowing(folder, until="2024-03-07 15:00:00")

    def sleep(now):
        if now > ny("2024-03-07 11:15") and not world.slept:
            world.slept = 3 * 3600.0

    world.on_wait = sleep
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        states = list(repository.decisions(1)["status"])
    assert states.count("missed") == 36 and states[-1] == "decided"
    assert any("[MISSED]" in line for line in world.said)


def test_a_machine_that_slept_between_deciding_and_sending(folder, monkeypatch):
    """What was decided before is not sent after."""
    world = flowing(folder, until="2024-03-07 12:30:00")
    real = Rounds._allowed

    def slept(self, *args):
        made = real(self, *args)
        if any(i.adds_risk for i in made) and not world.slept:
            world.slept = 3600.0
        return made

    monkeypatch.setattr(Rounds, "_allowed", slept)
    assert world.run().status == "success" and world.slept
    world.check()
    with world.ledger() as repository:
        intents = repository.intents(1)
    assert "missed" in set(intents[intents["adds_risk"]]["state"])


@pytest.mark.parametrize("jump", [-7200.0, 7200.0], ids=["back", "forward"])
def test_a_clock_that_is_set_wrong_allows_only_exits(folder, jump):
    """The broker's time counts: no day begins twice, no bar is decided twice; it goes on when the clock is right."""
    world = flowing(folder, until="2024-03-07 14:00:00")
    world.on_wait = lambda now: setattr(world, "error", jump if ny("2024-03-07 11:30") < now < ny("2024-03-07 12:30")
                                        else 0.0)
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        decisions, events = repository.decisions(1), repository.events(1, kind="safety")
    assert decisions["bar_time"].is_unique and set(decisions["status"]) == {"decided"}
    texts = [row["text"] for row in events["data"]]
    assert len(texts) == 2 and "clock-skew: this machine's clock and the broker's differ by 7,2" in texts[0]
    assert texts[1].startswith("lifted, clock-skew")


def test_stale_data_allow_only_exits(folder):
    world = flowing(folder, Fault(kind="stale", path="/v2/stocks/bars", bars=(30, 45)), until="2024-03-07 15:00:00")
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        texts = [row["text"] for row in repository.events(1, kind="safety")["data"]]
    assert "stale-data: the last bar became final at" in texts[0] and texts[1].startswith("lifted, stale-data")


def test_bars_that_cannot_be_read(folder):
    """The market data are gone, the broker is not: fills are booked, exits and protection go on, nothing is decided."""
    world = flowing(folder, Fault(kind="status", status=500, path="/v2/stocks/bars", bars=(24, 31)),
                    until="2024-03-07 13:00:00")
    assert world.run().status == "success"
    world.check()
    assert any(line.startswith("[PROBLEM]") and "Positions and orders are looked after." in line for line in world.said)
    with world.ledger() as repository:
        states = list(repository.decisions(1)["status"])
    assert states.count("missed") >= 7 and states[-1] == "decided"


def test_a_sudden_closure(folder):
    """The broker says closed, the calendar open: only exits until they agree."""
    world = flowing(folder, until="2024-03-07 13:30:00")
    begin = world.begin

    def closing(**more):
        started = begin(**more)
        clock = started.venue.broker.clock

        def told():
            found = clock()
            shut = ny("2024-03-07 11:45") < found.time < ny("2024-03-07 12:45")
            return dataclasses.replace(found, is_open=found.is_open and not shut)

        started.venue.broker.clock = told
        return started

    world.begin = closing
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        texts = [row["text"] for row in repository.events(1, kind="safety")["data"]]
    assert "hours: the broker says that the market is closed, the calendar XNYS that it is not" in texts[0]
    assert texts[1].startswith("lifted, hours")


def test_slow_symbols_are_waited_for(folder):
    """A pass that comes within three seconds of a bar's end leaves that bar to the next, unless all symbols have it."""
    world = flowing(folder)
    started = world.begin()
    session = started.session
    session.step()
    seen = len(session.core.bars)
    world.time.now += (ny("2024-03-07 11:05:01") - world.now()).total_seconds()
    session.step()
    assert len(session.core.bars) == seen
    session.complete = ny("2024-03-07 11:05:00").tz_convert("UTC")
    session.step()
    assert len(session.core.bars) == seen + 1
    world.time.now += (ny("2024-03-07 11:10:04") - world.now()).total_seconds()
    session.step()
    assert len(session.core.bars) == seen + 2
    started.close(session.time)


# --- scheduled runs ---------------------------------------------------------------------------------------------------

HALF = minutes(4, step=15, first="2024-07-01", symbols=("AAPL", "KO"), seed=2)


def test_until_close_on_a_half_day(folder):
    """Started at eight it waits for the open, trades, and ends after the early close."""
    world = Flowing(folder, bars=HALF, first=52, start="2024-07-03 08:00:00", poll_seconds=300.0,
                    late_grace_seconds=300.0)
    world.params = world.params.model_copy(update={"until": "close"})
    summary = world.run()
    assert summary.status == "success" and summary.reason == "the session of 2024-07-03 is over"
    assert world.now() < ny("2024-07-03 13:01") and summary.exit_code == 0
    assert [f"{t:%H:%M}" for t in world.passes()][:3] == ["08:00", "09:25", "09:30"]
    world.check()


@pytest.mark.parametrize("start", ["2024-07-04 08:00:00", "2024-07-06 12:00:00"])
def test_until_close_on_a_day_without_trading(folder, start):
    world = Flowing(folder, bars=HALF, first=52, start=start)
    world.params = world.params.model_copy(update={"until": "close"})
    summary = world.run()
    assert summary.status == "success" and summary.exit_code == 0 and summary.iterations == 0
    assert summary.reason.startswith(f"no trading on {start[:10]}") and not world.ours()


def test_until_close_on_daily_bars(folder):
    """From cron at five past four: it waits for the bar, decides, sends and ends; tomorrow the next one."""
    bars, sent = walk(12), []
    for n in (8, 9, 10):
        day = bars.index[n]
        world = Flowing(folder, bars=bars, first=8, start=f"{day:%Y-%m-%d} 16:05:00")
        if sent:
            world.exchange, world.host = sent[-1].exchange, sent[-1].host
            world.host.api.handle = type(world.host.api).handle.__get__(world.host.api)
        world.params = world.params.model_copy(update={"until": "close"})
        summary = world.run()
        assert summary.status == "success" and summary.reason == f"the session of {day:%Y-%m-%d} is over"
        assert world.now() < ny(f"{day:%Y-%m-%d} 16:21")
        assert world.session.core.bars.index[-1] == day and world.session.report.status == "decided"
        sent.append(world)
    world.check()
    assert len(world.ours()) >= 2


def test_until_close_when_the_bar_does_not_come(folder):
    bars = walk(12)
    world = Flowing(folder, Fault(kind="stale", path="/v2/stocks/bars"), bars=bars, first=8,
                    start=f"{bars.index[8]:%Y-%m-%d} 15:30:00", poll_seconds=300.0)
    world.params = world.params.model_copy(update={"until": "close"})
    summary = world.run()
    assert summary.status == "error" and "had not come 60 minutes after" in summary.reason


FAR = '''
from dataclasses import dataclass

import botlib
from botlib.strategies.base import Strategy


@dataclass(frozen=True)
class Far(Strategy):
    """At every bar it bids far below the price."""

    warmup = 0

    def on_bar(self, view):
        return botlib.buy("AAPL", 10, limit=round(view.bars.close[-1, 0] * 0.6, 2))
'''


def test_until_close_intraday_when_the_last_bar_does_not_come(folder):
    """What its close would have ended does not go on working overnight, without anybody to look after it."""
    (folder / "far.py").write_text(FAR)
    world = Flowing(folder, bars=HALF, first=52, start="2024-07-03 10:00:00", poll_seconds=60.0,
                    strategy={"name": "far.py:Far"})
    world.params = world.params.model_copy(update={"until": "close"})

    def away(now):
        if now >= ny("2024-07-03 12:40") and not world.faults.script:
            world.faults.add(Fault(kind="stale", path="/v2/stocks/bars"))

    world.on_wait = away
    summary = world.run()
    assert (summary.status, summary.reason) == ("success", (
        "the session of 2024-07-03 is over; its last bar, of 12:45, had not come 10 minutes after it should have been "
        "final: nothing was decided on it"))
    assert ny("2024-07-03 13:10") <= world.now() < ny("2024-07-03 13:12")
    sent = world.ours()
    assert len(sent) >= 5 and {str(o.status) for o in sent} == {"canceled"}
    world.check()


# --- threads, streams, signals ----------------------------------------------------------------------------------------

def waited(what, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def venue():
    bars = walk(22)
    with sandbox.running(bars, first=8) as running:
        yield running


def session_on(venue, folder, monkeypatch, **values) -> live.Session:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    World(folder)  # writes the strategy
    params = SessionParams(**{
        "venue": "alpaca", "provider": "alpaca", "symbols": ["AAPL", "KO", "TSLA"], "period": "max", "db": "t.sqlite",
        "ping_env": None, "strategy": {"name": "turns.py:Turns"}, "poll_seconds": 3000.0, "interval": "1d"} | values)
    return live.start_session(params, root=folder, environ=venue.environ)


def test_a_fill_wakes_a_session_that_waits(venue, folder, monkeypatch):
    """Fifty minutes between two passes, and yet each bar in which something fills is seen at once."""
    session = session_on(venue, folder, monkeypatch)
    waker = session.started.venue.waker
    waited(lambda: session.report is not None and waker.connected)
    for _ in range(6):
        fills = len(venue.exchange.activities)
        venue.step()
        if len(venue.exchange.activities) > fills:
            waited(lambda: session.started.session.recorder.counts[0] == len(venue.exchange.activities))
            break
        done = session.report.iteration
        waker._news.set()  # nothing filled: as a bar would wake it
        waited(lambda done=done: session.report.iteration > done)
    session.stop()
    summary = session.join(lambda line: None)
    assert summary.status == "user-cancelled" and summary.total_fills > 0


@pytest.mark.parametrize("way", ["method", "another-process"])
def test_a_stop_ends_the_wait(venue, folder, monkeypatch, way):
    session = session_on(venue, folder, monkeypatch)
    waited(lambda: session.report is not None)
    if way == "method":
        session.stop("enough")
    else:
        from botlib.repository import Repository

        with Repository.open(folder / "t.sqlite") as repository, repository.writing() as tx:
            tx.request(venue.exchange.account_id, "stop", by="a shell", time=pd.Timestamp.now("UTC"))
    waited(lambda: session.over)
    assert session.join(lambda line: None).status == "user-cancelled"


def test_a_cell_that_runs_again_gets_the_same_session(venue, folder, monkeypatch):
    session = session_on(venue, folder, monkeypatch)
    assert live.start_session(session.params, root=folder, environ=venue.environ) is session
    session.stop()
    session.join(lambda line: None)
    assert not [t for t in threading.enumerate() if t.name == "botlib session"]
