"""What a plan asks of the broker, who an order is, in which order things are booked, which bars come: by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from engine_helpers import make_bars
from exchange_helpers import daily, hours
from session_helpers import again, at, core_of, decide, filled, grow, opened, says, send
from test_booking import BARE, DAY, LEGS, LIST, STOP, begun, held

import botlib
from botlib import engine
from botlib.brokers.base import Activity, OrderRejection
from botlib.errors import DataError
from botlib.session.feed import BarFeed
from botlib.session.identity import Identity, is_ours
from botlib.session.planning import MAX_ATTEMPTS, plan
from botlib.session.timeline import book, next_print

NOW = at("2024-03-05 16:20")
TARGET = botlib.Risk(max_position_pct=50.0, stop_loss_pct=None, take_profit_pct=10.0)


# --- Requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("risk", "expected"), [
    (LEGS, ("bracket", "gtc", 95.0, 110.0)), (STOP, ("oto", "gtc", 95.0, None)), (TARGET, ("oto", "gtc", None, 110.0)),
    (BARE, ("simple", "day", None, None))])
def test_an_entry_goes_out_with_its_legs(risk, expected):
    core = core_of(daily(*LIST).upto(1), risk=risk)
    decide(core, AAA=0.1)
    [intent] = plan(core, NOW).submits
    r = intent.request
    assert (r.order_class, r.time_in_force, r.stop_loss, r.take_profit) == expected
    assert (r.side, r.qty, r.type, intent.adds_risk) == ("buy", 100.0, "market", True)
    assert not plan(core, NOW).waiting


@pytest.mark.parametrize(("risk", "expected"), [
    (LEGS, ("limit", "oco", 110.0, 95.0, None, None)), (STOP, ("stop", "simple", None, None, None, 95.0)),
    (TARGET, ("limit", "simple", None, None, 110.0, None))])
def test_protection_of_what_is_held(risk, expected):
    bars = daily(*LIST)
    core = begun(risk=risk, bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    for order_id in list(core.links):
        says(core, order_id, "canceled")
    core.tidy()
    [intent] = plan(core, NOW).submits
    r = intent.request
    assert (r.type, r.order_class, r.take_profit, r.stop_loss, r.limit_price, r.stop_price) == expected
    assert (r.qty, r.side, r.time_in_force, intent.purpose, intent.adds_risk) == (40.0, "sell", "gtc", "protect", False)


def test_exits_go_before_protection_before_entries_and_entries_wait_for_cancels():
    bars = daily(*LIST, BBB=LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 100.0, 100.0))
    grow(core, bars, 2)
    decide(core, AAA=0.0, BBB=0.1)
    first = plan(core, NOW)
    assert len(first.cancels) == 1 and not first.submits
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    assert [i.purpose for i in plan(core, NOW).submits] == ["exit", "entry"]


def protected():
    """100 shares at 100 and their bracket, whose orders end on Monday, 2024-06-03."""
    core = begun()
    core.fill(filled("entry1", 100.0, 100.0))
    says(core, "entry1", "filled", filled_qty=100.0)
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "new" if leg.endswith("tp") else "held", expires_at=at("2024-06-03 16:00"))
    core.tidy()
    return core


def test_protection_is_renewed_before_the_broker_ends_it():
    core = protected()
    assert not plan(core, at("2024-05-24 15:59"))
    wanted = plan(core, at("2024-05-24 16:00"))  # ten days before
    assert [link.client_order_id for link in wanted.cancels] and len(wanted.cancels) == 1
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    [intent] = plan(core, at("2024-05-24 16:01")).submits
    assert (intent.request.order_class, intent.request.qty) == ("oco", 100.0)


def test_where_the_broker_does_not_say_when_protection_ends_it_is_ninety_days():
    core = protected()
    for leg in ("entry1/tp", "entry1/sl"):  # sent on 2024-03-05 16:20: they end on 2024-06-03 16:20
        says(core, leg, "new" if leg.endswith("tp") else "held", expires_at=None)
    assert not plan(core, at("2024-05-24 17:19")) and plan(core, at("2024-05-24 17:20"))


def test_a_market_way_out_that_found_no_print_is_sent_again_day_after_day():
    bars = daily(*[DAY] * 3, *[(90.0, 90.0, 90.0, 90.0)] * 9)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    for order_id in ("entry1", "entry1/tp", "entry1/sl"):
        says(core, order_id, "canceled")
    core.tidy()
    [intent] = plan(core, NOW).submits
    core.record(intent)
    core.refused(intent, OrderRejection(symbol="AAA", client_order_id="", rule="stop-wrong-side", message="no"))
    names = set()
    for t in range(3, 3 + MAX_ATTEMPTS + 2):
        [out] = send(core)
        assert (out.request.type, out.request.qty) == ("market", 40.0)
        names.add(out.client_order_id)
        grow(core, bars, t)
        says(core, f"protect{out.uids[0]}", "expired")
        core = again(core)
        core.tidy()
    assert len(names) == MAX_ATTEMPTS + 2


def test_refused_protection_is_tried_once_a_pass_and_five_times_a_day():
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    for order_id in ("entry1", "entry1/tp", "entry1/sl"):
        says(core, order_id, "canceled")
    core.tidy()
    tried = []
    for _ in range(8):
        wanted = plan(core, NOW)
        for intent in wanted.submits:
            tried.append(intent)
            core.record(intent)
            core.refused(intent, OrderRejection(symbol="AAA", client_order_id="", rule="held-for-orders", message="no"))
        assert not plan(core, NOW).submits  # not again in this pass
        core.tidy()
    assert len(tried) == MAX_ATTEMPTS and [i.attempt for i in tried] == [1, 2, 3, 4, 5]
    assert len({i.client_order_id for i in tried}) == 5 and plan(core, NOW).stuck
    grow(core, bars, 3)
    [intent] = plan(again(core), NOW).submits  # the next day
    assert intent.attempt in (1, 6) and intent.client_order_id not in {i.client_order_id for i in tried}


def test_protection_refused_as_a_wash_trade_ends_the_entry_beside_it():
    core = core_of(make_bars({"AAA": LIST}, hours(2, "09:30:00", "10:30:00", "11:30:00", "12:30:00"), interval="1h",
                             calendar="XNYS").upto(1), risk=STOP)
    decide(core, AAA=0.1)
    send(core)
    core.fill(filled("entry1", 40.0, 100.0))
    for order_id in ("entry1", "entry1/sl"):
        says(core, order_id, "canceled")
    core.tidy()
    engine.submit_order(core.book.world, core.t, 0, 1, 10.0, 1, 99.0, 0.0)
    core.number_orders()
    wanted = plan(core, NOW)
    [intent] = wanted.protections
    core.record(intent)
    core.refused(intent, OrderRejection(symbol="AAA", client_order_id="", rule="wash-trade", message="no"))
    core.tidy()
    assert [i.purpose for i in plan(core, NOW).submits] == ["protect"]


def test_intents_on_their_way_hold_back_all_else_of_their_symbol():
    core = core_of(daily(*LIST, BBB=LIST).upto(1), risk=LEGS)
    decide(core, AAA=0.1, BBB=0.1)
    for intent in plan(core, NOW).submits:
        core.record(intent)
        intent.state = "unknown" if intent.symbol == "AAA" else "working"
        if intent.symbol == "BBB":
            core.acknowledged(intent, opened(intent))
    core.end_entries()
    wanted = plan(core, NOW)
    assert wanted.waiting == {"AAA", "BBB"}
    assert [core.intents[link.client_order_id].symbol for link in wanted.cancels] == ["BBB"]


# --- Identity ---------------------------------------------------------------------------------------------------------


def test_an_id_is_the_same_in_every_process():
    code = ("from botlib.session.identity import Identity;"
            "print(Identity('a', 'e', 's').client_order_id('AAPL', '2024-03-05T21:00:00+00:00', 'entry'))")
    here = Identity("a", "e", "s").client_order_id("AAPL", "2024-03-05T21:00:00+00:00", "entry")
    there = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={
        "PYTHONHASHSEED": seed}).stdout.strip() for seed in ("1", "2")}
    assert there == {here} and is_ours(here) and len(here) <= 128
    assert not is_ours("botlib-AAPL") and not is_ours("")


def test_everything_that_makes_another_order_makes_another_id():
    base = {"account_id": "a", "epoch": "e", "strategy_hash": "s"}
    names = {Identity(**base).client_order_id("AAPL", "b", "entry")}
    names |= {Identity(**base | {k: "x"}).client_order_id("AAPL", "b", "entry") for k in base}
    names |= {Identity(**base).client_order_id(*args) for args in (
        ("MSFT", "b", "entry"), ("AAPL", "c", "entry"), ("AAPL", "b", "exit"), ("AAPL", "b", "entry", 2))}
    assert len(names) == 8


def test_the_same_decision_has_the_same_ids_after_a_restart_and_another_attempt_another():
    bars = make_bars({"AAA": LIST}, hours(2, "09:30:00", "10:30:00", "11:30:00", "12:30:00"), interval="1h",
                     calendar="XNYS").upto(1)

    def ids(core):
        for _ in range(2):  # two orders of one symbol at one bar
            engine.submit_order(core.book.world, core.t, 0, 1, 10.0, 1, 99.0, 0.0)
        core.number_orders()
        return [i.client_order_id for i in plan(core, NOW).entries]

    core = core_of(bars, risk=BARE)
    other = again(core)
    first, second = ids(core), ids(other)
    assert first == second and len(set(first)) == 2 and "-entry2-" in first[1]
    assert [i.client_order_id for i in plan(again(core), NOW).entries] == first
    assert set(ids(core_of(bars, risk=BARE, epoch="e2"))).isdisjoint(first)


# --- Time -------------------------------------------------------------------------------------------------------------


def test_a_day_begins_before_its_facts_and_a_bar_closes_after_them():
    bars = daily(*LIST)
    core = begun(bars=bars)
    told = []

    class Listener:
        def began(self, day, splits):
            told.append(("day", day))

        def theirs(self, activity):
            return 0.0

        def moved(self, activity, kind, theirs):
            told.append(("money", core.book["day_start"]))

        def closed(self, bars):
            told.append(("bar", len(bars), held(core)))

    deposit = Activity(activity_id="1", type="CSD", kind="transfer", time=at("2024-03-06 00:00"), net_amount=500.0)
    made = book(core, at("2024-03-07 16:20"), [bars.upto(2), bars.upto(3)], [
        filled("entry1/sl", 100.0, 95.0, side="sell", time="2024-03-07 10:00"),
        filled("entry1", 100.0, 100.0, time="2024-03-06 09:30")], [deposit], None, listener=Listener())
    assert told == [("day", 19_788), ("money", 100_500.0), ("bar", 3, 100.0), ("day", 19_789), ("bar", 4, 0.0)]
    assert [uid for _, uid in made.fills] == [1, 2] and made.days == [19_788, 19_789]
    assert core.book["cash"] == 100_500.0 - 500.0


def test_a_dividend_is_told_of_what_is_held_or_ordered_a_split_always():
    bars = daily(*LIST, actions=[("AAA", "2024-03-07", "cash_dividend", 0.5), ("AAA", "2024-03-08", "split", 2.0)])
    nothing = core_of(bars.upto(1))
    assert book(nothing, at("2024-03-08 09:00"), [], [], [], bars.actions).actions == ["AAA: split 2 for 1"]
    both = book(begun(bars=bars), at("2024-03-08 09:00"), [], [], [], bars.actions).actions
    assert both == ["AAA: dividend of $0.5 a share", "AAA: split 2 for 1"]


def test_actions_of_days_that_passed_unseen_are_booked_each_on_its_day():
    bars = daily(*LIST, actions=[("AAA", "2024-03-07", "split", 2.0), ("AAA", "2024-03-08", "cash_dividend", 0.5),
                                 ("AAA", "2024-03-12", "split", 3.0)])
    core = begun(bars=bars)
    core.fill(filled("entry1", 100.0, 100.0))
    made = book(core, at("2024-03-08 09:00"), [], [], [], bars.actions)
    assert made.actions == ["AAA: split 2 for 1", "AAA: dividend of $0.5 a share"]
    assert held(core) == 200.0 and core.book["receivable"] == 100.0
    assert not book(core, at("2024-03-08 16:30"), [], [], [], bars.actions).actions  # nor twice


@pytest.mark.parametrize(("final", "expected"), [
    ("2024-03-08 16:20", "2024-03-11 09:30"),  # a weekend, and the clocks go forward: 13:30 UTC, not 14:30
    ("2024-11-01 16:20", "2024-11-04 09:30"), ("2024-03-28 16:20", "2024-04-01 09:30"),  # Good Friday
    ("2024-11-29 13:20", "2024-12-02 09:30"),  # a half day
    ("2024-03-05 10:30", "2024-03-05 10:30")])
def test_the_next_print(final, expected):
    from botlib.calendars import schedule

    assert next_print(schedule("XNYS"), at(final)) == at(expected)


def test_entries_of_a_session_whose_last_bars_never_came_end_with_its_day():
    index = hours(2, "09:30:00", "10:30:00")
    core = core_of(make_bars({"AAA": [DAY] * 4}, index, interval="1h", calendar="XNYS").upto(1), risk=LEGS)
    decide(core, AAA=0.1)
    [intent] = send(core)
    core = again(core)
    core.begin_day(19_787, {}, [])  # 2024-03-05
    assert [link.order_id for link in plan(core, at("2024-03-05 08:00")).cancels] == ["entry1"]


# --- The feed ---------------------------------------------------------------------------------------------------------


class Provider:
    """A frame of bars, of which what has been made public is given."""

    def __init__(self, bars):
        self.frame, self.public, self.asked = bars.to_frame(), len(bars), 0
        self.index = bars.index

    def download_bars(self, *, symbols, period, interval):
        self.asked += 1
        times = self.frame.index.get_level_values(-1)
        found = self.frame[times.isin(self.index[: self.public])]
        if found.empty:
            raise DataError("none")
        return found

    def actions(self, symbols):
        return None


def feed_of(bars, public, now, **options):
    provider = Provider(bars)
    provider.public = public
    feed = BarFeed(provider, bars.symbols, interval=bars.interval, period="max", **options)
    feed.start(at(now))
    return provider, feed


def test_a_daily_bar_comes_when_it_is_final_and_once():
    bars = daily(*LIST)
    provider, feed = feed_of(bars, 8, "2024-03-06 16:19")
    assert len(feed.bars) == 2  # of 8 that the provider has
    assert feed.poll(at("2024-03-06 16:19")) == []
    [panel] = feed.poll(at("2024-03-06 16:20"))
    assert len(panel) == 3 and feed.poll(at("2024-03-06 16:21")) == []
    assert [len(p) for p in feed.poll(at("2024-03-11 16:20"))] == [4, 5, 6]  # several at once, one after the other


def test_a_half_day_ends_early_and_clocks_that_change_do_not_matter():
    bars = daily(*LIST, first="2024-11-25")  # Thanksgiving is the 28th, the 29th ends at 13:00
    provider, feed = feed_of(bars, 8, "2024-11-27 16:20")
    assert len(feed.bars) == 3 and feed.poll(at("2024-11-29 13:19")) == []
    assert len(feed.poll(at("2024-11-29 13:20"))) == 1
    bars = daily(*LIST, first="2024-03-07")
    provider, feed = feed_of(bars, 8, "2024-03-08 16:20")
    assert feed.poll(at("2024-03-11 16:19")) == [] and len(feed.poll(at("2024-03-11 16:20"))) == 1


def test_a_symbol_that_is_listed_later_joins():
    bars = daily(*LIST, BBB=[None, None, None, *[DAY] * 5])
    provider, feed = feed_of(bars, 2, "2024-03-05 16:20")
    assert feed.missing == ("BBB",) and feed.bars.symbols == ("AAA", "BBB")
    provider.public = 4
    panels = feed.poll(at("2024-03-07 16:20"))
    assert np.isnan(panels[0].close[-1, 1]) and panels[1].close[-1, 1] == 100.0


def test_bars_handed_out_never_change_and_nothing_new_is_nothing():
    bars = daily(*LIST)
    provider, feed = feed_of(bars, 2, "2024-03-05 16:20")
    before = feed.bars.close.copy()
    assert feed.poll(at("2024-03-06 16:20")) == []  # the provider is late
    provider.public, held_ = 3, feed.bars
    assert len(feed.poll(at("2024-03-06 16:25"))) == 1
    np.testing.assert_array_equal(held_.close, before)
    with pytest.raises(ValueError):
        feed.bars.close[0, 0] = 1.0


def test_what_lies_behind_a_checkpoint_comes_again():
    bars = daily(*LIST)
    _, feed = feed_of(bars, 6, "2024-03-11 16:20")
    feed.rewind(4)
    assert [len(p) for p in feed.poll(at("2024-03-11 16:21"))] == [5, 6]
    assert feed.poll(at("2024-03-11 16:22")) == []


def test_the_shortest_history_that_is_long_enough():
    asked = []

    class Counting(Provider):
        def download_bars(self, *, symbols, period, interval):
            asked.append(period)
            days = {"5d": 4, "1mo": 20, "30d": 22}[period]
            return self.frame.iloc[-days:]

    bars = daily(*[DAY] * 60)
    provider = Counting(bars)
    feed = BarFeed(provider, bars.symbols, interval="1d", period="5d", warmup=15)
    assert len(feed.start(at("2024-06-28 16:20"))) == 20 and asked == ["5d", "1mo"]
