"""Sessions of five-minute bars (trading rules 1, 2 and 8): daylight saving, half days, holes, the session's close."""

from __future__ import annotations

import pandas as pd
import pytest
from engine_helpers import FREE, NEW_YORK, Given, fates, fills, make_bars, run

import botlib
from botlib.bars import Bars

LEGS = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=10.0)


def at(*stamps: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(stamps, tz=NEW_YORK)


# Friday's last three bars and Monday's first three; clocks go forward in between.
OVER_DST = at("2024-03-08 15:45", "2024-03-08 15:50", "2024-03-08 15:55", "2024-03-11 09:30", "2024-03-11 09:35",
              "2024-03-11 09:40")


def five_minutes(cells, index=OVER_DST, **options) -> Bars:
    """With a second symbol that always prints, so that a hole is one."""
    return make_bars({**cells, "Z": [1.0] * len(index)}, index, interval="5m", **options)


def test_a_decision_meets_the_next_print():
    result = run(five_minutes({"A": [100, 101, 102, 103, 104, 105]}), {"A": [0.1]})
    assert fills(result) == [(1, "A", "buy", 100.0, 101.0)]
    assert str(result.fills["time"].iloc[0]) == "2024-03-08 15:50:00-05:00"


def test_an_order_waits_over_a_bar_without_a_print():
    result = run(five_minutes({"A": [100, None, 102, 103, 104, 105]}), {"A": [0.1]})
    assert fills(result) == [(2, "A", "buy", 100.0, 102.0)]


def test_an_entry_that_waits_ends_with_the_session():
    result = run(five_minutes({"A": [100, 100, None, 103, 104, 105]}), {"A": [None, 0.1]})
    assert fates(result) == [("entry", 100.0, "expired", "session close")]


def test_an_order_decided_at_the_last_bar_queues_for_the_next_open():
    result = run(five_minutes({"A": [100, 100, 100, 103, 104, 105]}), {"A": [None, None, 0.1]})
    assert fills(result) == [(3, "A", "buy", 100.0, 103.0)]
    assert str(result.fills["time"].iloc[0]) == "2024-03-11 09:30:00-04:00"


def test_an_exit_waits_over_bars_without_a_print():
    result = run(five_minutes({"A": [100, 100, None, 103, 104, 105]}), {"A": [0.1, 0.0]}, risk=LEGS)
    # Nothing printed to the session's close; decided again at Monday's first close.
    assert fills(result)[1:] == [(4, "A", "sell", 100.0, 104.0)]


def test_a_target_replaces_an_entry_that_still_waits():
    index = at(*(f"2024-03-11 {h}" for h in ("09:30", "09:35", "09:40", "09:45", "09:50", "09:55")))
    late = run(five_minutes({"A": [100, 100, None, 100, 100, 100]}, index), Given({"A": [None, 0.1, None]}))
    assert fills(late) == [(3, "A", "buy", 100.0, 100.0)]
    # The decision of bar 3 comes after the print of bar 3, which fills the first order: a reversal follows.
    other = run(five_minutes({"A": [100, 100, None, 100, 100, 100]}, index), {"A": [None, 0.1, None, -0.1]})
    assert [f[:4] for f in fills(other)] == [(3, "A", "buy", 100.0), (4, "A", "sell", 100.0), (5, "A", "sell", 100.0)]


def test_legs_rest_over_night():
    result = run(five_minutes({"A": [100, 100, 100, (94, 96, 93, 95), 95, 95]}), {"A": [0.1]}, risk=LEGS)
    assert fills(result)[1:] == [(3, "A", "sell", 100.0, 94.0)]  # the gap


def test_a_level_target_enters_again_on_the_bar_after_a_stop():
    result = run(five_minutes({"A": [100, 100, (96, 96, 95, 96), 97, 98, 99]}), {"A": [0.1] * 6}, risk=LEGS)
    # 99,500 at the close of bar 2: floor(9,950 / 96) = 103.
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (2, "A", "sell", 100.0, 95.0), (3, "A", "buy", 103.0, 97.0)]


def test_a_thin_exit_goes_on_with_the_next_bar_of_the_session():
    thin = (100, 100, 100, 100, 300)
    bars = five_minutes({"A": [100, 100, thin, thin, thin, thin]},
                        at(*(f"2024-03-11 {h}" for h in ("09:30", "09:35", "09:40", "09:45", "09:50", "09:55"))))
    costs = FREE.model_copy(update={"max_participation_pct": 10.0})
    result = run(bars, {"A": [0.1, 0.0]}, costs=costs)
    assert [(f[0], f[3]) for f in fills(result)[1:]] == [(2, 30.0), (3, 30.0), (4, 30.0), (5, 10.0)]
    assert fates(result)[1:] == [("exit", 100.0, "filled", "")]  # one order


def test_interest_is_for_nights_not_for_bars():
    # 10,000 short at 3.6 % from Friday on: three nights, one of them an hour shorter.
    costs = FREE.model_copy(update={"borrow_rate_pct": 3.6})
    result = run(five_minutes({"A": [100.0] * 6}), {"A": [-0.1]}, costs=costs)
    assert (100_000.0 - result.equity).tolist() == pytest.approx([0, 0, 0, 3, 3, 3])


def test_a_year_of_minutes():
    assert run(five_minutes({"A": [100.0] * 6}, calendar="XNYS"), {}).bars.periods_per_year == 252 * 78


# --- Half days: the session of 2024-11-29 closed at 13:00 -------------------------------------------------------------

HALF_DAY = at("2024-11-29 12:45", "2024-11-29 12:50", "2024-11-29 12:55", "2024-12-02 09:30", "2024-12-02 09:35")


def test_a_half_day_ends_at_its_close():
    expired = run(five_minutes({"A": [100, 100, None, 100, 100]}, HALF_DAY, calendar="XNYS"), {"A": [None, 0.1]})
    assert fates(expired) == [("entry", 100.0, "expired", "session close")]
    queued = run(five_minutes({"A": [100, 100, 100, 103, 100]}, HALF_DAY, calendar="XNYS"), {"A": [None, None, 0.1]})
    assert fills(queued) == [(3, "A", "buy", 100.0, 103.0)]


@pytest.mark.parametrize("stamps", [
    ("2024-11-29 12:50", "2024-11-29 12:55", "2024-11-29 13:00", "2024-11-29 13:05"),   # half day
    ("2024-11-27 15:50", "2024-11-27 15:55", "2024-11-27 16:00", "2024-11-27 16:05"),
])
def test_a_day_order_does_not_live_on_after_hours(stamps):
    result = run(five_minutes({"A": [100, None, 101, 102]}, at(*stamps), calendar="XNYS"), {"A": [0.1]})
    assert fates(result) == [("entry", 100.0, "expired", "session close")]


def test_the_end_of_the_bars_is_not_the_sessions_close():
    index = at("2024-03-11 09:30", "2024-03-11 09:35", "2024-03-11 09:40")
    result = run(five_minutes({"A": [100, 100, None]}, index, calendar="XNYS"), {"A": [None, 0.1]})
    assert fates(result) == [("entry", 100.0, "working", "")]


# --- Bars outside the regular session ---------------------------------------------------------------------------------

AROUND = at("2024-03-08 15:50", "2024-03-08 15:55", "2024-03-08 16:00", "2024-03-08 16:05", "2024-03-11 09:25",
            "2024-03-11 09:30", "2024-03-11 09:35")


@pytest.mark.parametrize("decided", [1, 2, 3, 4])
def test_orders_wait_for_the_next_regular_bar(decided):
    """From the last regular bar on, Alpaca queues a day order for the next open."""
    bars = make_bars({"A": [100, 101, 102, 103, 104, 105, 106]}, AROUND, interval="5m", calendar="XNYS")
    assert bars.in_session.tolist() == [True, True, False, False, False, True, True]
    result = run(bars, {"A": [None] * decided + [0.1]})
    assert fills(result)[0][:3] == (5, "A", "buy") and fills(result)[0][4] == 105.0


def test_legs_act_in_the_regular_session_only():
    bars = make_bars({"A": [100, 100, (90, 120, 80, 100), 100, 100, 100, (96, 96, 95, 96)]}, AROUND, interval="5m",
                     calendar="XNYS")
    result = run(bars, {"A": [0.1]}, risk=LEGS)
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (6, "A", "sell", 100.0, 95.0)]


def test_equity_follows_prices_outside_the_session():
    bars = make_bars({"A": [100, 100, 110, 110, 110, 100, 100]}, AROUND, interval="5m", calendar="XNYS")
    assert run(bars, {"A": [0.1]}).equity.tolist() == [100_000.0] * 2 + [101_000.0] * 3 + [100_000.0] * 2


# --- Bars outside regular hours ---------------------------------------------------------------------------------------

def around_the_open(count: int) -> pd.DatetimeIndex:
    """Four bars a session: two before the open, the first one after it, one after the close."""
    dates = pd.bdate_range("2024-04-01", periods=count)  # no holiday before Memorial Day, 2024-05-27
    return at(*(f"{day:%Y-%m-%d} {time}" for day in dates for time in ("08:00", "09:25", "09:30", "16:05")))


def test_a_year_of_bars_outside_regular_hours():
    bars = five_minutes({"A": [100.0] * 80}, around_the_open(20), calendar="XNYS")
    assert bars.periods_per_year == 252 * 4
    assert five_minutes({"A": [100.0] * 80}, around_the_open(20)).periods_per_year == 252 * 78  # no session is known


def test_a_years_return_counts_sessions():
    # 21 sessions, a twelfth of a year, less one bar of 84: up by 21 % between the first two.
    prices = [100.0] * 4 + [121.0] * 80
    held = run(five_minutes({"A": prices}, around_the_open(21), calendar="XNYS").select("A"), {}).benchmark
    assert held.metrics["total_return_pct"] == pytest.approx(21.0)
    assert held.metrics["cagr_pct"] == pytest.approx(100.0 * (1.21 ** (12.0 * 84.0 / 83.0) - 1.0))
    # 83 returns, one of them 0.21: variance 0.21**2 / 82 * (1 - 1 / 83), times 252 * 4 bars.
    variance = 0.21**2 * (1.0 - 1.0 / 83.0) / 82.0
    assert held.metrics["volatility_pct"] == pytest.approx(100.0 * (variance * 1_008.0) ** 0.5)


def test_buy_and_hold_waits_for_the_regular_session_as_orders_do():
    # Bars of 08:00, 09:25, 09:30 and 16:05: bought at 09:30, at 125, and not at 09:25, at 100.
    index = around_the_open(1)
    bars = make_bars({"A": [100.0, 100.0, 125.0, 150.0]}, index, interval="5m", calendar="XNYS")
    result = run(bars, {"A": [1.0]})
    assert fills(result) == [(2, "A", "buy", 1_000.0, 125.0)]
    assert result.benchmark.equity.tolist() == pytest.approx([100_000, 100_000, 100_000, 120_000])
    textbook = run(bars, {}, convention="textbook").benchmark
    assert textbook.equity.tolist() == pytest.approx([100_000, 100_000, 125_000, 150_000])
