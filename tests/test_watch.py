"""The watch over an account: one bad price trips nothing, a real fall does, and nothing resets by itself."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math

import pandas as pd
import pytest
from engine_helpers import run
from hypothesis import given
from hypothesis import strategies as st

from botlib import safety
from botlib.errors import InputError
from botlib.safety import SafetyControls
from botlib.watch import ASKED, DAILY_LOSS, PRICES, Change, Mark, Watch, changes
from botlib.watch_prices import NO_PRICES, Price, Prices

NAN = math.nan
DAY = dt.date(2024, 3, 4)
START = pd.Timestamp("2024-03-04 15:00", tz="UTC")
LIMITS = SafetyControls(max_drawdown_pct=5.0, max_daily_loss_pct=2.0, price_collar_pct=20.0)
ONLY_KILL = SafetyControls(max_drawdown_pct=5.0, max_daily_loss_pct=50.0)


def at(minute: float) -> pd.Timestamp:
    return START + pd.Timedelta(minutes=minute)


def mark(minute: float, cash=50_000.0, positions=None, **prices) -> Mark:
    """500 A, which at 100 are half of 100,000."""
    return Mark(cash=cash, positions={"A": 500.0} if positions is None else positions,
                prices={symbol: (price, at(minute)) for symbol, price in prices.items()})


def began(limits=LIMITS, day=DAY) -> Watch:
    """At 100 with a close behind it."""
    return Watch.start(100_000.0, day).closed(limits, mark(0, A=100.0), day, 100_000.0)


def after(watch: Watch, *prices: float, limits=ONLY_KILL, first=1) -> Watch:
    for i, price in enumerate(prices):
        watch = watch.marked(limits, mark(first + i, A=price))
    return watch


# --- Between bars: one bad price (48) ---------------------------------------------------------------------------------

# 5 % of 100,000 is lost at 90.
@pytest.mark.parametrize(("prices", "killed"), [
    ([90.01, 90.01, 90.01], False),
    ([90.0], False),
    ([90.0, 91.0, 90.0], False),           # breaches, not one after the other
    ([90.0, 90.0], True),
    ([89.0, 85.0], True),
    ([85.0, 90.0], True),
    ([90.0, 90.5, 89.0], False),
    ([10.0, 10.0, 10.0, 10.0], False),     # out of line with 100: not believed, only exits
    ([1_000.0, 1_000.0, 100.0], False),    # nor the other way: no peak of 550,000
    ([100.0, 1_000.0, 95.0, 95.0], False),
    ([95.0, 81.0, 81.0], True),
])
def test_two_prices_in_line_must_breach(prices, killed):
    watch = after(began(), *prices)
    assert watch.latched is killed
    assert (watch.state == safety.HALTED) is killed
    assert watch.peak == 100_000.0


def test_the_reason_of_a_kill():
    assert after(began(), 89.0, 88.0).killed == (
        "equity of $94,500.00 is 5.50 % below its peak of $100,000.00; max_drawdown_pct is 5")


def test_a_print_that_is_polled_twice_is_one_print():
    watch = began()
    for _ in range(5):
        watch = watch.marked(ONLY_KILL, mark(1, A=85.0))
    assert not watch.latched
    assert watch.marked(ONLY_KILL, mark(2, A=85.0)).latched


def test_an_older_print_changes_nothing():
    watch = after(began(), 99.0, 98.0)
    assert watch.marked(ONLY_KILL, mark(1.5, A=85.0)) == watch


def test_one_bad_price_for_each_symbol_is_not_enough():
    both = {"A": 250.0, "B": 250.0}
    watch = Watch.start(100_000.0, DAY).closed(ONLY_KILL, mark(0, positions=both, A=100.0, B=100.0), DAY, 100_000.0)
    watch = watch.marked(ONLY_KILL, mark(1, positions=both, A=80.0, B=100.0))  # 95,000
    watch = watch.marked(ONLY_KILL, mark(2, positions=both, A=100.0, B=80.0))  # 95,000
    assert not watch.latched
    for minute in (3, 4):
        watch = watch.marked(ONLY_KILL, mark(minute, positions=both, A=90.0, B=90.0))
    assert watch.latched


def test_a_short_loses_as_prices_rise():
    short = {"A": -500.0}
    watch = Watch.start(100_000.0, DAY).closed(ONLY_KILL, mark(0, 150_000.0, short, A=100.0), DAY, 100_000.0)
    watch = watch.marked(ONLY_KILL, mark(1, 150_000.0, short, A=115.0))
    assert not watch.latched
    assert not watch.marked(ONLY_KILL, mark(2, 150_000.0, short, A=109.9)).latched
    assert watch.marked(ONLY_KILL, mark(2, 150_000.0, short, A=110.0)).latched


@given(st.lists(st.floats(95.0, 105.0), min_size=1, max_size=20), st.integers(0, 19),
       st.one_of(st.floats(), st.floats(0.001, 1e6)))
def test_one_bad_price_anywhere_trips_nothing(prices, where, bad):
    """95 to 105 is within 2.5 % of 100,000; the bad price may be any, also NaN, infinite or negative."""
    prices.insert(where % (len(prices) + 1), bad)
    watch = after(began(), *prices)
    assert not watch.latched and DAILY_LOSS not in watch.holds
    assert watch.peak == watch.day_start == 100_000.0
    assert after(watch, 100.0, 100.0, first=50).state == safety.ACTIVE  # once the prices are good, so is all


@given(st.lists(st.floats(90.5, 110.0), max_size=20), st.floats(88.0, 89.99))
def test_a_fall_that_lasts_trips_within_two_prices(prices, low):
    assert after(after(began(), *prices), low, low, first=50).latched


# --- Prices that are missing or wrong: no new risk (46, 47, 49) -------------------------------------------------------

@pytest.mark.parametrize("bad", [
    mark(1), mark(1, A=NAN), mark(1, A=math.inf), mark(1, A=0.0), mark(1, A=-5.0), mark(1, A=None), mark(1, A=1_000.0),
    mark(1, NAN, A=100.0), mark(1, None, A=100.0), mark(1, positions={"A": NAN}, A=100.0),
    mark(1, positions={"A": None}, A=100.0), mark(1, positions={"A": 500.0, "B": 1.0}, A=100.0, B=7.0),
    Mark(cash=50_000.0, positions={"A": 500.0}, prices={"A": (100.0, pd.NaT)}),
    Mark(cash=50_000.0, positions={"A": 500.0}, prices={"A": (100.0, pd.Timestamp("2024-03-04 15:01"))}),
])
def test_a_mark_with_a_hole_allows_only_exits_until_the_next(bad):
    watch = began().marked(LIMITS, bad)
    assert (watch.state, list(watch.holds), watch.latched) == (safety.REDUCE_ONLY, [PRICES], False)
    assert watch.marked(LIMITS, mark(2, A=100.0)).state == safety.ACTIVE


def test_what_is_not_held_needs_no_price():
    bare = began().marked(LIMITS, mark(1, 100_000.0, {"A": 0.0}))
    assert bare.state == safety.ACTIVE
    assert began().marked(LIMITS, mark(1, A=100.0, B=NAN)).state == safety.ACTIVE


def test_a_first_price_is_not_judged():
    watch = Watch.start(100_000.0, DAY).closed(LIMITS, mark(0, A=100.0), DAY, 100_000.0)
    assert watch.marked(LIMITS, mark(0, A=100.0)) == watch


# --- At the closes: as in a backtest ----------------------------------------------------------------------------------

@pytest.mark.parametrize("controls", [
    SafetyControls(max_drawdown_pct=5.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0),
    SafetyControls(max_drawdown_pct=90.0, max_daily_loss_pct=2.0, max_position_size_pct=100.0)])
@pytest.mark.parametrize("closes", [
    [100, 100, 95, 89, 120, 120], [100, 100, 140, 126, 126, 126], [100, 100, 97, 94, 90, 85], [100, 100, 101, 99, 98],
])
def test_the_closes_trip_where_the_backtest_trips(controls, closes):
    result = run({"A": [float(c) for c in closes]}, {"A": [0.5]}, safety=controls)
    watch, found = None, []
    for time, equity in result.equity.items():
        watch = watch or Watch.start(equity, time.date())
        before = watch
        watch = watch.closed(controls, Mark(cash=0.0, positions={}, prices={}), time.date(), equity)
        if changes(before.on_day(time.date()), watch):
            found.append([time, "halted" if watch.latched else "reduce-only"])
    assert found == result.halts[["time", "state"]].values.tolist()


def test_a_close_in_line_raises_the_peak_and_trips_at_once():
    watch = began(ONLY_KILL).closed(ONLY_KILL, mark(1, A=110.0), DAY, 105_000.0)
    assert (watch.peak, watch.equity) == (105_000.0, 105_000.0)
    assert watch.closed(ONLY_KILL, mark(2, A=99.0), DAY, 99_500.0).latched  # 5.24 % below 105,000


def test_a_close_out_of_line_trips_only_once_another_price_agrees():
    watch = began(ONLY_KILL).closed(ONLY_KILL, mark(1, A=70.0), DAY, 85_000.0)
    assert (watch.state, watch.peak, watch.equity) == (safety.REDUCE_ONLY, 100_000.0, 100_000.0)
    assert watch.last_good("A") == 100.0
    assert watch.closed(ONLY_KILL, mark(2, A=100.0), DAY, 100_000.0).state == safety.ACTIVE
    assert watch.closed(ONLY_KILL, mark(2, A=72.0), DAY, 86_000.0).latched
    assert watch.marked(ONLY_KILL, mark(2, A=72.0)).latched  # a print that agrees with the close: both are 14 % down


def test_prints_confirm_each_other_only_with_a_close():
    watch = after(began(), 70.0, 70.0, 70.0)
    assert (watch.state, watch.last_good("A")) == (safety.REDUCE_ONLY, 100.0)
    watch = watch.closed(ONLY_KILL, mark(2.5, A=71.0), DAY, 85_500.0)  # the bar ended between two of the prints
    assert watch.last_good("A") == 70.0 and watch.latched


def test_a_close_that_is_not_known_allows_only_exits():
    watch = began().closed(LIMITS, mark(1, A=100.0), DAY, NAN)
    assert (watch.state, watch.equity, watch.peak) == (safety.REDUCE_ONLY, 100_000.0, 100_000.0)
    assert watch.closed(LIMITS, mark(2, A=100.0), DAY, 100_000.0).state == safety.ACTIVE


def test_the_daily_loss_lasts_until_the_next_day():
    watch = began().closed(LIMITS, mark(1, A=95.0), DAY, 97_500.0)
    assert (watch.state, list(watch.holds)) == (safety.REDUCE_ONLY, [DAILY_LOSS])
    watch = watch.closed(LIMITS, mark(2, A=99.0), DAY, 99_500.0)
    assert watch.state == safety.REDUCE_ONLY
    watch = watch.on_day(DAY + dt.timedelta(days=1))
    assert (watch.state, watch.day_start) == (safety.ACTIVE, 99_500.0)


# --- Days (42, invariant 8) -------------------------------------------------------------------------------------------

def test_a_day_never_runs_backward():
    watch = dataclasses.replace(began(), orders_today=7, exits_today={"A": 2}, equity=98_500.0)
    assert watch.on_day(DAY) == watch.on_day(DAY - dt.timedelta(days=1)) == watch
    next_day = watch.on_day(DAY + dt.timedelta(days=1))
    assert (next_day.orders_today, next_day.exits_today, next_day.day_start) == (0, {}, 98_500.0)
    assert next_day.peak == watch.peak


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_a_date_that_flaps_resets_nothing_twice(days):
    watch, latest, since = began(), 0, 0
    for day in days:
        watch = watch.on_day(DAY + dt.timedelta(days=day)).sent("A", True)
        since = 1 if day > latest else since + 1
        latest = max(latest, day)
        assert (watch.orders_today, watch.day) == (since, DAY + dt.timedelta(days=latest))


def test_a_moment_is_no_date():
    for day in (START, dt.datetime(2024, 3, 4), "2024-03-04", None):
        with pytest.raises(InputError, match="it must be a date, that of the exchange"):
            began().on_day(day)


# --- Flows, splits, counts (30, 28) -----------------------------------------------------------------------------------

def test_deposits_and_withdrawals_move_peak_and_day_start():
    watch = began().flow(-20_000.0)
    assert (watch.peak, watch.day_start) == (80_000.0, 80_000.0)
    assert watch.closed(LIMITS, mark(1, 30_000.0, A=100.0), DAY, 80_000.0).state == safety.ACTIVE
    # 4,000 of 80,000 are 5 %; without the flow's effect 96,000 + 20,000 would hide it
    assert watch.closed(LIMITS, mark(1, 30_000.0, A=92.0), DAY, 76_000.0).latched
    up = began().flow(50_000.0)
    assert up.peak == 150_000.0 and up.closed(LIMITS, mark(1, A=85.0), DAY, 142_500.0).latched
    for amount in (NAN, math.inf, None):
        with pytest.raises(InputError, match="finite number of dollars"):
            watch.flow(amount)


def test_a_withdrawal_of_more_than_there_is_halts():
    assert began().flow(-200_000.0).closed(LIMITS, mark(1, A=100.0), DAY, -100_000.0).latched


def test_a_split_keeps_prices_in_line():
    watch = began().split("A", 4.0).split("B", 2.0)
    four = {"A": 2_000.0}
    assert watch.last_good("A") == 25.0 and watch.last_good("B") is None
    assert watch.marked(LIMITS, mark(1, positions=four, A=25.1)).state == safety.ACTIVE
    assert began().marked(LIMITS, mark(1, positions=four, A=25.1)).state == safety.REDUCE_ONLY
    for ratio in (0.0, -2.0, NAN):
        with pytest.raises(InputError, match="ratio"):
            watch.split("A", ratio)


def test_orders_are_counted():
    watch = began().sent("A", True).sent("B", True).sent("A", False).sent("A", False)
    assert (watch.orders_today, watch.exits_today) == (2, {"A": 2})


# --- States: the strictest wins ---------------------------------------------------------------------------------------

def test_holds_and_kill_compose():
    watch = began().held("person", "asked to").held("stream", "mute for 90 s")
    assert (watch.state, watch.reason) == (safety.REDUCE_ONLY, "asked to; mute for 90 s")
    assert watch.released("person").state == safety.REDUCE_ONLY
    assert watch.released("person").released("stream").released("never").state == safety.ACTIVE
    killed = watch.kill("by hand").kill("again")
    assert (killed.state, killed.reason) == (safety.HALTED, "by hand")
    assert killed.released("person").on_day(DAY + dt.timedelta(days=9)).state == safety.HALTED
    assert began().kill("").latched


def test_a_new_high_does_not_lift_a_kill():
    watch = after(began(), 85.0, 85.0).closed(LIMITS, mark(5, A=102.0), DAY, 101_000.0)
    assert watch.latched and watch.killed.startswith("equity of $92,500.00 is 7.50 %")


def test_clearing_says_what_resets():
    watch = dataclasses.replace(after(began(), 85.0, 85.0).held("person", "asked to"), orders_today=12)
    cleared, said = watch.cleared(93_000.0)
    assert (cleared.latched, cleared.peak, cleared.day_start, cleared.orders_today) == (False, 93_000.0, 100_000.0, 12)
    assert cleared.state == safety.REDUCE_ONLY  # a person's own hold stays
    assert said[1:] == ("The peak that drawdown counts from is reset from $100,000.00 to $93,000.00.",
                        "The day's start, $100,000.00, and the 12 orders of the day stay.",
                        "Still only exits are allowed: asked to.")
    assert said[0].startswith("The kill is lifted. It stood because: equity of $92,500.00")
    assert began().cleared(1.0) == (began(), ("No kill stands; nothing was reset.",))
    for equity in (NAN, 0.0, -1.0, None):
        with pytest.raises(InputError, match="equity"):
            watch.cleared(equity)
        with pytest.raises(InputError, match="equity"):
            Watch.start(equity, DAY)


def test_clearing_lifts_what_a_person_asked_for_and_says_what_else_holds():
    held = began().held(ASKED, "lunch")
    free, said = held.held(PRICES, "no price").cleared(90_000.0)
    assert (dict(free.holds), free.peak) == ({PRICES: "no price"}, 100_000.0)  # without a kill no peak is reset
    assert said == ("Entries are not held back any more. They were because: lunch.",
                    "Still only exits are allowed: no price.")
    assert held.cleared(90_000.0)[1] == said[:1]
    free, said = held.kill("news").cleared(90_000.0)
    assert (free.state, free.peak) == (safety.ACTIVE, 90_000.0)
    assert said[:2] == ("Entries are not held back any more. They were because: lunch.",
                        "The kill is lifted. It stood because: news.")


def test_changes_are_told_once():
    start = began()
    held = start.marked(LIMITS, mark(1, A=None))
    assert changes(start, held) == (Change("safety", "warning", f"only exits, prices: {held.holds[PRICES]}",
                                           "reduce-only"),)
    assert changes(held, held.marked(LIMITS, mark(2, A=NAN))) == ()
    killed = held.kill("by hand")
    assert [(c.kind, c.level, c.text, c.state) for c in changes(held, killed)] == [
        ("kill", "alarm", "KILL: by hand", "halted")]
    assert [c.kind for c in changes(killed, killed.cleared(1.0)[0].released(PRICES))] == ["kill-cleared", "safety"]
    assert changes(start, start) == ()


# --- Kept -------------------------------------------------------------------------------------------------------------

def test_a_restart_changes_nothing():
    watch = after(began().held("person", "asked to").sent("A", True).sent("A", False), 95.0, 1_000.0).flow(0.1)
    for one in (watch, watch.kill("by hand"), began()):
        assert Watch.from_record(json.loads(json.dumps(one.record()))) == one


def test_a_restart_amid_a_breach_trips_as_without_it():
    watch = Watch.from_record(json.loads(json.dumps(after(began(), 85.0).record())))
    assert not watch.latched and after(watch, 85.0, first=2).latched


@pytest.mark.parametrize(("name", "value"), [
    ("peak", NAN), ("peak", None), ("day_start", "100"), ("equity", math.inf), ("orders_today", -1),
    ("orders_today", 1.5), ("exits_today", {"A": NAN}), ("exits_today", None), ("day", "today"), ("day", None),
    ("killed", None), ("killed", False), ("holds", {"a": 1}), ("holds", None), ("prices", {"A": {}}), ("prices", []),
    ("prices", {"A": {"good": [NAN, "2024-03-04T15:00:00+00:00", True], "previous": None, "suspect": None}}),
    ("prices", {"A": {"good": [1.0, "2024-03-04", True], "previous": None, "suspect": None}}),
])
def test_a_record_is_not_guessed_at(name, value):
    record = began().record()
    with pytest.raises(InputError, match="recorded safety state"):
        Watch.from_record({**record, name: value})
    del record[name]
    with pytest.raises(InputError, match="recorded safety state"):
        Watch.from_record(record)


# --- Prices -----------------------------------------------------------------------------------------------------------

def test_a_first_close_is_good_and_a_first_print_is_not():
    assert NO_PRICES.with_print(7.0, at(0), 20.0, True) == Prices(good=Price(7.0, at(0), True))
    first = NO_PRICES.with_print(7.0, at(0), 20.0, False)
    assert first == Prices(suspect=Price(7.0, at(0)))
    assert first.with_print(7.1, at(1), 20.0, True) == Prices(good=Price(7.1, at(1), True), previous=Price(7.0, at(0)))


def test_the_collar_is_inclusive_and_two_sided():
    good = Prices(good=Price(100.0, at(0), True))
    for price, fits in ((80.0, True), (120.0, True), (79.9, False), (120.1, False)):
        assert (good.with_print(price, at(1), 20.0, False).suspect is None) is fits
