"""What is in the account beside the ledger, and splits that cannot be read in time: nothing is lost or mixed up."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from exchange_helpers import daily
from session_helpers import at, core_of, decide, filled, send
from session_world import Flowing, World, clean, folder, walk  # noqa: F401

from botlib.brokers.base import Activity
from botlib.errors import ProviderError
from botlib.sandbox.faults import Fault
from botlib.sandbox.overnight import with_action
from botlib.session.checking import Externals
from botlib.session.reopening import look
from botlib.session.sharing import theirs
from botlib.session.timeline import begins_later, book

pytestmark = pytest.mark.slow

# ruff: noqa: F811

DAY = (100.0, 102.0, 98.0, 100.0)
EX = 14  # the bar of the ex-date
SPLIT = Fault(kind="split", symbol="AAPL", ratio=2.0, bars=(EX - 1, EX - 1))


def own(qty: float, bar: int, symbol: str = "AAPL", side: str = "buy") -> Fault:
    """A person's own order, executed at the open of the bar that follows."""
    order = {"symbol": symbol, "qty": f"{qty:g}", "side": side, "type": "market", "time_in_force": "day"}
    return Fault(kind="foreign_order", bars=(bar, bar), order=order)


def unread(first: int, last: int, **more) -> tuple[Fault, Fault]:
    """The market data answer 503."""
    return tuple(Fault(kind="status", status=503, method="GET", path=path, bars=(first, last), **more)
                 for path in ("/v1/corporate-actions", "/v2/stocks/bars"))


def cash_of(world: World) -> float:
    """The ledger's own."""
    with world.ledger() as repository:
        return float(repository.equity(1).iloc[-1]["cash"])


# --- a split whose date cannot be read at first -----------------------------------------------------------------------

def test_a_split_is_not_lost_when_the_market_data_are_gone_around_it(folder, tmp_path):
    bars = with_action(walk(), SPLIT)
    plain = World(tmp_path, bars=bars)
    plain.run()
    world = World(folder, *unread(EX, EX, times=3), bars=bars)
    summary = world.run()
    assert len(world.faults.log) == 6
    assert summary.status == "success" and not summary.unexplained
    assert any(symbol == "AAPL" and side > 0 for _, symbol, side, _, _ in plain.fills())
    assert world.fills() == plain.fills()
    world.check(split=True)
    with world.ledger() as repository:
        assert len(repository.events(1, kind="corporate-action")) == 1


def test_a_crash_while_a_split_cannot_be_read(folder, tmp_path):
    """Nothing of the date is written as done before its split: the next process books all of it."""
    bars = with_action(walk(), SPLIT)
    plain = World(tmp_path, bars=bars)
    plain.run()
    world = World(folder, bars=bars)
    world.params = world.params.model_copy(update={"iterations": EX - 3})
    world.run()
    assert world.exchange.bar == EX - 1
    world.host.step(1)
    started = world.begin()
    started.session.feed.known = int(bars.sessions[EX]) - 1  # read before midnight
    world.faults.add(unread(EX, EX)[0])
    report = started.session.step()
    assert report.no_bars and "actions" in started.session.watch.holds
    assert started.session.core.book["session"] == bars.sessions[EX] - 1
    started.close(started.session.time)
    world.faults.clear()
    world.params = world.params.model_copy(update={"iterations": 0})
    assert world.run().status == "success"
    assert world.fills() == plain.fills()
    world.check(split=True)


class Days(Flowing):
    """Daily bars, passes by hand."""

    def __init__(self, folder, *faults, bars, day: int) -> None:
        self.dates = [f"{pd.Timestamp(int(d), unit='D'):%Y-%m-%d}" for d in bars.sessions]
        super().__init__(folder, *faults, bars=bars, start=f"{self.dates[day]} 16:25:00", late_grace_seconds=300.0)

    def at(self, day: int, hour: str):
        """A pass at that time."""
        moment = pd.Timestamp(f"{self.dates[day]} {hour}", tz="America/New_York")
        self.time.sleep((moment - self.now()).total_seconds())
        self.tick()
        return self.session.step()


@pytest.fixture
def days(folder):
    made = []

    def make(bars, day=EX - 2):
        world = Days(folder, bars=bars, day=day)
        made.append(world.begin())
        world.session.step()  # AAPL is bought at the next open
        return world

    yield make
    for started in made:
        started.close(started.session.time)


def test_a_pass_in_the_night_of_a_split_does_not_lose_it(days):
    """Without any outage: whoever wakes the session between midnight and the morning."""
    world = days(with_action(walk(), SPLIT))
    world.at(EX - 1, "16:25")
    held = world.session.core.positions()["AAPL"]
    world.at(EX, "00:03")  # a provider's clock may still be in yesterday
    assert world.session.core.book["session"] == world.bars.sessions[EX] - 1
    world.at(EX, "02:00")
    assert world.session.core.positions()["AAPL"] == 2.0 * held
    report = world.at(EX, "16:25")
    assert not report.differences and world.exchange.positions["AAPL"].qty == 2.0 * held
    assert world.session.core.book["equity"] == pytest.approx(world.exchange.equity)


def test_in_market_hours_what_agrees_with_the_broker_is_booked(days):
    """No split is known of, and none has happened: entries of this morning are booked and looked after."""
    world = days(walk())
    world.faults.add(unread(0, 30)[0])
    world.at(EX - 1, "09:00")
    assert "actions" in world.session.watch.holds and not world.session.core.positions()
    report = world.at(EX - 1, "09:40")
    assert world.session.core.positions()["AAPL"] == world.exchange.positions["AAPL"].qty
    assert "actions" not in world.session.watch.holds and not report.differences


def test_in_market_hours_a_split_of_what_is_held_waits_until_it_is_known(days):
    world = days(with_action(walk(), SPLIT))
    world.at(EX - 1, "16:25")
    held = world.session.core.positions()["AAPL"]
    world.faults.add(unread(0, 30)[0])
    world.at(EX, "09:00")
    sent = len(world.exchange.orders)
    equity = world.session.watch.equity
    for minute in ("09:40", "09:50", "10:00"):
        world.at(EX, minute)
    session = world.session
    assert session.core.positions()["AAPL"] == held and "actions" in session.watch.holds
    assert session.watch.state and not session.watch.latched  # half the price, and not half the worth
    assert session.watch.equity == pytest.approx(equity, rel=0.02)
    assert len(world.exchange.orders) == sent
    with pytest.raises(ProviderError, match="could not be read yet"):
        look(session)
    world.faults.clear()
    report = world.at(EX, "10:10")
    assert session.core.positions()["AAPL"] == 2.0 * held and not report.differences
    assert "actions" not in session.watch.holds


def test_a_flatten_before_the_split_is_known_sells_what_is_booked_later_too(days):
    """TSLA is bought on a day that cannot begin, since somebody's shares are not explained; it is sold all the same."""
    world = days(walk())
    world.faults.add(unread(0, 30)[0])
    world.session.memory.externals.add("KO", 5.0)
    world.at(EX - 1, "09:40")
    assert not world.session.core.positions() and world.exchange.positions["AAPL"].qty
    world.ask("flatten")
    world.session.step(world.started.repository.requests(world.exchange.account_id))
    assert world.session.memory.flatten
    world.faults.clear()
    world.at(EX - 1, "09:50")
    assert world.session.core.positions()
    world.at(EX - 1, "16:25")
    world.at(EX, "16:25")
    assert "AAPL" not in world.exchange.positions


def test_what_happens_on_a_date_that_waits_is_booked_with_it_and_once():
    bars = daily(DAY, DAY, DAY, DAY, actions=[("AAA", "2024-03-06", "split", 2.0)])
    core = core_of(bars.upto(1))
    decide(core, AAA=0.1)
    send(core)
    told = [filled("entry1", 99.0, 101.0, time="2024-03-06 09:30")]
    known, now = int(bars.sessions[1]), at("2024-03-06 16:20")
    later = begins_later(core, now, known)
    assert later == at("2024-03-06 00:00").value
    assert begins_later(core, now, known + 1) is None and begins_later(core, now, None) is None
    assert not book(core, now, [bars.upto(2)], told, [], None, known=known).fills
    assert core.t == 1 and core.book["session"] == known
    made = book(core, now, [bars.upto(2)], told, [], bars.actions, known=known + 1)
    assert len(made.fills) == 1 and made.actions == ["AAA: split 2 for 1"] and core.t == 2
    assert begins_later(core, at("2024-03-09 12:00"), known + 3) is None  # on a Saturday nothing begins


# --- whose money, whose shares ----------------------------------------------------------------------------------------

def test_with_a_capital_of_its_own_what_is_paid_in_and_out_is_the_persons(folder, tmp_path):
    plain = World(tmp_path, capital=20_000.0)
    plain.run()
    world = World(folder, Fault(kind="deposit", bars=(9, 9), amount=50_000.0),
                  Fault(kind="deposit", bars=(12, 12), amount=-60_000.0), capital=20_000.0)
    world.params = world.params.model_copy(update={"iterations": 7})
    world.run()
    world.params = world.params.model_copy(update={"iterations": 0})
    summary = world.run()  # goes on from its ledger
    assert summary.status == "success" and not summary.unexplained
    assert world.fills() == plain.fills() and cash_of(world) == cash_of(plain)
    assert 19_000.0 < world.session.watch.peak < 21_000.0 and world.session.flows == 0.0
    world.check()


def test_without_one_they_are_the_ledgers(folder):
    world = World(folder, Fault(kind="deposit", bars=(9, 9), amount=50_000.0))
    world.run()
    assert world.session.flows == 50_000.0 and not world.session.memory.externals.apart
    world.check()


@pytest.mark.parametrize("more", [{}, {"capital": 20_000.0}], ids=["all", "capital"])
def test_a_dividend_counts_for_the_shares_of_the_ledger(folder, tmp_path, more):
    """AAPL is held by both, KO first by both and then by the person alone, TSLA is none of the session's symbols."""
    bars = walk()
    for symbol, amount, bar in (("AAPL", 1.0, EX - 1), ("KO", 2.0, EX - 1), ("TSLA", 3.0, EX - 1), ("KO", 0.5, EX + 1)):
        bars = with_action(bars, Fault(kind="dividend", symbol=symbol, amount=amount, bars=(bar, bar)))
    more = more | {"symbols": ["AAPL", "KO"]}
    plain = World(tmp_path, bars=bars, **more)
    plain.run()
    mine = plain.session.core.positions()
    world = World(folder, own(7, 5), own(11, 9, "KO"), own(13, 5, "TSLA"), own(11, EX + 1, "KO", "sell"), bars=bars,
                  **more)
    summary = world.run()
    assert summary.status == "success" and not summary.unexplained
    paid = [(a.symbol, a.qty) for a in world.exchange.activities if a.type == "DIV"]
    assert ("KO", 11.0) in paid and len(paid) == 4
    assert world.session.core.positions() == mine
    assert world.session.memory.externals.shares == {"AAPL": 7.0, "TSLA": 13.0}
    assert cash_of(world) == pytest.approx(cash_of(plain), abs=0.001)
    assert world.session.core.book["receivable"] == 0.0 and not world.session.core.due
    world.check()


def money(kind, amount, symbol="", n=[0]):  # noqa: B006
    n[0] += 1
    return Activity(activity_id=str(n[0]), type=kind[:3].upper(), kind=kind, time=at("2024-03-20 09:00"),
                    net_amount=amount, symbol=symbol)


def test_a_dividend_that_is_paid_later_is_shared_as_on_its_ex_date_also_after_a_restart(folder):
    bars = with_action(walk(), Fault(kind="dividend", symbol="AAPL", amount=1.0, bars=(EX - 1, EX - 1)))
    actions = bars.actions.assign(pay_date=pd.Timestamp(int(bars.sessions[EX + 4]), unit="D"))
    bars.actions = actions
    world = World(folder, own(7, 5), bars=bars)
    world.params = world.params.model_copy(update={"iterations": EX - 1})
    world.run()
    [due] = world.session.core.due
    held = due["held"]
    assert due["theirs"] == 7.0 and held > 0.0 and due["amount"] == held and due["whole"] == held + 7.0
    json.dumps(due, allow_nan=False)
    beside = world.session.memory.externals.cash
    world.params = world.params.model_copy(update={"iterations": 0})
    assert world.run().status == "success"
    assert not world.session.core.due and world.session.core.book["receivable"] == 0.0
    assert world.session.memory.externals.cash == pytest.approx(beside + 7.0)
    world.check()


def test_money_that_is_not_the_ledgers():
    core = core_of(daily(DAY, DAY))
    alone, apart = Externals(), Externals({"AAA": 5.0}, 80_000.0, True)
    debt = Externals({}, -30_000.0, True)
    cases = [
        ("transfer", 500.0, "", 0.0, 500.0), ("interest", 9.0, "", 0.0, 9.0), ("interest", -9.0, "", 0.0, 0.0),
        ("fee", -0.03, "", 0.0, 0.0), ("fee", -0.03, "ZZZ", -0.03, -0.03), ("dividend", 4.0, "ZZZ", 4.0, 4.0),
        ("dividend", 4.0, "AAA", 0.0, 4.0), ("split", 1.5, "AAA", 0.0, 0.0), ("split", 1.5, "ZZZ", 1.5, 1.5),
    ]
    for kind, amount, symbol, *expected in cases:
        told = money(kind, amount, symbol)
        assert [theirs(told, core, alone), theirs(told, core, apart)] == expected, (kind, symbol)
    assert theirs(money("interest", -100.0), core, debt) == -100.0  # the person's debt, not the ledger's


@pytest.mark.parametrize("ratio", [2.0, 1.5, 0.1])
def test_the_persons_own_shares_are_split_too(folder, tmp_path, ratio):
    """Odd parts of a share are those of the whole position; the ledger trades as if it were alone."""
    bars = with_action(walk(), Fault(kind="split", symbol="AAPL", ratio=ratio, bars=(EX - 1, EX - 1)))
    plain = World(tmp_path, bars=bars)
    plain.run()
    world = World(folder, own(107, 5), bars=bars)
    summary = world.run()
    assert summary.status == "success" and summary.exit_code == 0 and not summary.unexplained
    with world.ledger() as repository:
        assert repository.events(1, kind="unexplained").empty
    assert world.session.core.positions() == plain.session.core.positions()
    shares = world.session.memory.externals.shares["AAPL"]
    assert abs(shares - 107 * ratio) < 1.0
    world.check(split=True)


def test_shares_that_a_person_bought_after_the_split_are_not_split(folder):
    """Seen in the same pass as the split; the exchange has split the order that waited, so 14 were bought."""
    split = Fault(kind="split", symbol="TSLA", ratio=2.0, bars=(EX - 1, EX - 1))
    world = World(folder, own(7, EX - 1, "TSLA"), bars=with_action(walk(), split))
    summary = world.run()
    assert not summary.unexplained and world.session.memory.externals.shares == {"TSLA": 14.0}
    with world.ledger() as repository:
        assert repository.events(1, kind="unexplained").empty
    world.check(split=True)


# --- what a person accepts --------------------------------------------------------------------------------------------

def accepted(world, symbol, qty):
    with world.ledger() as repository, repository.writing() as tx:
        tx.external(1, symbol, qty, reason="looked", accepted_by="somebody", time=pd.Timestamp("2024-03-20", tz="UTC"))


def test_an_acceptance_counts_for_what_differs_now_and_never_for_something_later(folder):
    world = World(folder)
    done = []

    def after(w):
        if w.exchange.bar == 8:
            accepted(w, "KO", -5.0)  # nothing differs
        elif w.exchange.bar == 10:
            w.session.memory.externals.add("KO", 5.0)  # as if five of a person's shares were gone
        elif w.exchange.bar == 13:
            done.append(w.session.report.differences)
            accepted(w, "KO", -5.0)

    world.after = after
    summary = world.run()
    assert [(one.what, one.broker - one.ledger) for one in done[0]] == [("KO", -5.0)]
    assert summary.exit_code == 0 and not summary.unexplained
    told = [text for kind, text in world.told if kind == "alarm" and "accepted" in text]
    assert told == ["what somebody accepted (KO: -5) is not what differs now (+0): it counts for nothing. Look at it "
                    "again."]
    world.check()


def test_cash_is_accepted_to_the_cent(folder):
    world = World(folder)
    world.params = world.params.model_copy(update={"iterations": 5})
    world.run()
    with world.ledger() as repository, repository.writing() as tx:
        state = repository.checkpoint(1)
        state["externals"]["cash"] -= 12.5
        tx.checkpoint(1, state, time=pd.Timestamp("2024-03-20", tz="UTC"))
    accepted(world, "cash", 12.5)
    world.run()
    assert not world.session.report.differences
    np.testing.assert_allclose(world.session.memory.externals.cash, 0.0, atol=0.01)
