"""Splits and dividends while holding (trading rule 13), on bars made by hand. Bar 0 is Monday, 2024-03-04."""

from __future__ import annotations

import pandas as pd
import pytest
from engine_helpers import BARE, FREE, NEW_YORK, Given, OnBar, fates, fills, make_bars, run

import botlib
from botlib import buy
from botlib.safety import SafetyControls

LEGS = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=10.0)
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY = (f"2024-03-0{d}" for d in range(5, 10))


def split(cells, targets, *, ratio=2.0, ex=THURSDAY, **options):
    """A run with a split of A; the cells are prices as traded."""
    return run(make_bars(cells, actions=[("A", ex, "split", ratio)]), targets, **options)


def dividend(cells, targets, value, *, ex=THURSDAY, paid=None, **options):
    return run(make_bars(cells, actions=[("A", ex, "cash_dividend", value, paid)]), targets, **options)


# --- Splits -----------------------------------------------------------------------------------------------------------

def test_a_split_changes_quantities_and_never_equity():
    result = split({"A": [100, 100, 100, 50, 50]}, {"A": [0.1]})
    assert result.positions["A"] == 200.0
    assert result.equity.tolist() == [100_000.0] * 5


def test_a_round_trip_over_a_split_is_told_in_new_shares():
    result = split({"A": [100, 100, 100, 50, 60]}, {"A": [0.1, None, None, 0.0, None]})
    trade = result.trades.iloc[0]
    assert (trade["quantity"], trade["entry_price"], trade["exit_price"], trade["pnl"]) == (200.0, 50.0, 60.0, 2_000.0)


def test_a_level_target_does_not_rebalance_after_a_split():
    assert len(fills(split({"A": [100, 100, 100, 50, 50, 50]}, {"A": [0.1] * 6}))) == 1


@pytest.mark.parametrize(("weight", "bar", "price"), [
    (0.1, (49, 49, 47.50, 48), 47.50),     # 95.00 / 2
    (0.1, (50, 55, 49, 50), 55.0),
    (-0.1, (50, 52.50, 50, 52), 52.50),
    (-0.1, (50, 50, 45, 46), 45.0),
    (-0.1, (53.82, 54, 53.81, 54), 53.81),  # the cap is 52.50 * 1.025 = 53.8125 now
    (-0.1, (53.83, 54, 53.82, 54), None),
])
def test_resting_legs_are_split(weight, bar, price):
    result = split({"A": [100, 100, 100, 50, bar]}, {"A": [weight]}, risk=LEGS)
    expected = [] if price is None else [(4, "A", "sell" if weight > 0 else "buy", 200.0, price)]
    assert fills(result)[1:] == expected


def test_legs_meet_the_ex_date_itself():
    result = split({"A": [100, 100, 100, (47, 48, 46, 47), 47]}, {"A": [0.1]}, risk=LEGS)
    assert fills(result)[1:] == [(3, "A", "sell", 200.0, 47.0)]  # the open has passed 47.50


def test_split_legs_stay_on_their_side_of_the_tick():
    # Stop 0.95 * 100.01 = 95.0095 -> 95.00; target 110.011 -> 110.02. Split 3 for 1: 31.6667 down, 36.6733 up.
    orders = split({"A": [100.01] * 3 + [33.34] * 2}, {"A": [0.1]}, ratio=3.0, risk=LEGS).orders
    assert (orders["stop_price"].iloc[1], orders["limit_price"].iloc[2]) == (31.66, 36.68)
    assert orders["quantity"].tolist()[1:] == [297.0, 297.0]  # floor(10,000 / 100.01) = 99, times 3


def test_a_resting_entry_is_split():
    # Decided at 100 on Wednesday for Thursday's open: 200 at 50, legs at 47.50 and 55.00.
    result = split({"A": [100, 100, 100, 50, (50, 55, 50, 55)]}, {"A": [None, None, 0.1]}, risk=LEGS)
    assert fills(result) == [(3, "A", "buy", 200.0, 50.0), (4, "A", "sell", 200.0, 55.0)]


@pytest.mark.parametrize("legs", [{"take_profit_pct": None}, {"stop_loss_pct": None, "take_profit_pct": None}])
@pytest.mark.parametrize("weight", [0.1, -0.1])
def test_a_resting_entry_without_legs_is_split(legs, weight):
    risk = botlib.Risk(**{"max_position_pct": 100.0, **legs})
    result = split({"A": [100, 100, 100, 50, 50]}, {"A": [None, None, weight]}, risk=risk)
    assert len(fills(result)) == 1
    assert set(result.orders["purpose"]) == {"entry"} | ({"stop"} if "stop_loss_pct" not in legs else set())


def test_a_resting_exit_is_split():
    result = split({"A": [100, 100, 100, 50, 50]}, {"A": [0.1, None, 0.0]})
    assert fills(result)[1:] == [(3, "A", "sell", 200.0, 50.0)]


def test_a_resting_reduction_is_split():
    result = split({"A": [100, 100, 100, 50, 50]}, {"A": [0.1, None, 0.04]}, risk=LEGS)
    assert fills(result)[1:] == [(3, "A", "sell", 120.0, 50.0)]
    assert result.positions["A"] == 80.0


def test_a_resting_limit_stays_on_a_tick_after_a_split():
    # 95.01 / 2 = 47.505: a buy limit goes down to 47.50.
    bars = make_bars({"A": [100, 100, 100, (48, 48, 47, 48), 48]}, actions=[("A", THURSDAY, "split", 2.0)])
    assert fills(run(bars, OnBar({2: buy("A", 10, limit=95.01)}), risk=LEGS)) == [(3, "A", "buy", 20.0, 47.50)]


def test_the_odd_part_of_a_share_is_paid_in_cash():
    # 101 * 3/2 = 151.5: half a new share of 90 / 1.5 = 60.
    result = split({"A": [90, 90, 90, 60, 60]}, Given({"A": [101.0]}, unit="shares"), ratio=1.5)
    assert result.positions["A"] == 151.0
    assert result.book["cash"] == pytest.approx(100_000.0 - 101 * 90 + 30.0)
    assert result.equity.tolist() == pytest.approx([100_000.0] * 5)


def test_a_short_pays_the_odd_part():
    result = split({"A": [90, 90, 90, 60, 60]}, Given({"A": [-101.0]}, unit="shares"), ratio=1.5)
    assert result.positions["A"] == -151.0
    assert result.equity.tolist() == pytest.approx([100_000.0] * 5)


def test_odd_parts_are_those_of_the_position_not_of_its_lots():
    # 1 + 1 shares become 3, not 1 + 1 and cash for one.
    result = split({"A": [90, 90, 90, 60, 60]}, Given({"A": [1.0, 2.0]}, unit="shares"), ratio=1.5)
    assert result.positions["A"] == 3.0


def test_a_reverse_split_may_pay_out_the_whole_position():
    # 5 shares at 1.00, 1 for 10: half a share, 5.00 in cash. Then the level target enters again.
    result = split({"A": [1, 1, 1, 10, 10, 10]}, Given({"A": [5.0] * 6}, unit="shares"), ratio=0.1, risk=LEGS)
    assert not ((result.orders["quantity"] == 0.0) & (result.orders["status"] == "working")).any()
    assert fills(result) == [(1, "A", "buy", 5.0, 1.0), (4, "A", "buy", 5.0, 10.0)]
    assert result.trades["pnl"].tolist() == [0.0]


def test_fractional_holdings_split_whole():
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None, fractional=True)
    result = split({"A": [90, 90, 90, 60, 60]}, Given({"A": [10.1]}, unit="shares"), ratio=1.5, risk=risk)
    assert result.positions["A"] == pytest.approx(15.15)


def test_a_split_without_a_print_keeps_equity():
    result = split({"A": [100, 100, 100, None, 50], "B": [20] * 5}, {"A": [0.1]})
    assert result.equity.tolist() == [100_000.0] * 5


@pytest.mark.parametrize("ex", [SATURDAY, "2024-03-10", "2024-03-11"])
def test_an_ex_date_without_a_session_acts_on_the_next(ex):
    assert split({"A": [100] * 5 + [50, 50]}, {"A": [0.1]}, ex=ex).equity.tolist() == [100_000.0] * 7


def test_a_split_before_the_first_bar_or_after_the_last_does_nothing():
    for ex in ("2024-03-01", "2024-04-01"):
        result = split({"A": [100] * 5}, {"A": [0.1]}, ex=ex)
        assert (result.positions["A"], result.equity.iloc[-1]) == (100.0, 100_000.0)


def test_a_split_moves_neither_peak_nor_day_start():
    result = split({"A": [100, 100, 100, 50, 50]}, {"A": [0.5]}, safety=SafetyControls(max_position_size_pct=100.0))
    assert result.halts.empty


def test_an_intraday_split_acts_once_before_the_first_print():
    index = pd.DatetimeIndex([f"2024-03-0{d} {h}" for d in (6, 7) for h in ("15:50", "15:55")], tz=NEW_YORK)
    bars = make_bars({"A": [100, 100, 50, 50]}, index, actions=[("A", THURSDAY, "split", 2.0)], interval="5m")
    result = run(bars, {"A": [0.1]})
    assert (result.positions["A"], result.equity.tolist()) == (200.0, [100_000.0] * 4)


def test_a_strategy_sees_prices_adjusted_for_splits_known_by_then():
    seen = []
    split({"A": [100, 100, 100, 50]}, OnBar(lambda view: seen.append(view.bars.close[:, 0].tolist())))
    assert seen == [[100], [100, 100], [100, 100, 100], [50, 50, 50, 50]]


# --- Dividends --------------------------------------------------------------------------------------------------------

EX = {"A": [100, 100, 100, 99.76, 99.76, 99.76]}  # 0.24 a share on bar 3


def test_a_dividend_is_income_on_the_ex_date():
    result = dividend(EX, {"A": [0.1]}, 0.24)
    assert result.equity.tolist() == pytest.approx([100_000.0] * 6)  # 100 * 0.24 make up for the price
    assert result.book["cash"] == pytest.approx(90_024.0)
    assert result.book["receivable"] == 0.0


def test_a_short_pays_the_dividend():
    result = dividend(EX, {"A": [-0.1]}, 0.24)
    assert result.book["cash"] == pytest.approx(110_000.0 - 24.0)
    assert result.equity.tolist() == pytest.approx([100_000.0] * 6)


@pytest.mark.parametrize(("paid", "cash", "due"), [(FRIDAY, 90_024.0, 0.0), ("2024-04-01", 90_000.0, 24.0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_until_the_pay_date_it_is_a_receivable(paid, cash, due, sign):
    result = dividend(EX, {"A": [sign * 0.1]}, 0.24, paid=paid)
    assert result.equity.tolist() == pytest.approx([100_000.0] * 6)
    assert result.book["cash"] == pytest.approx(100_000.0 + sign * (cash - 100_000.0))
    assert result.book["receivable"] == pytest.approx(sign * due)


@pytest.mark.parametrize(("targets", "income"), [
    ([None, None, 0.1], 0.0),           # bought at the open of the ex-date
    ([None, 0.1], 24.0),                # the day before
    ([0.1, None, 0.0], 24.0),           # sold at the open of the ex-date
    ([0.1, 0.0], 0.0),
])
def test_who_held_overnight_gets_it(targets, income):
    assert dividend(EX, {"A": targets}, 0.24).book["dividends"] == pytest.approx(income)


def test_what_is_sold_before_the_pay_date_is_paid_all_the_same():
    result = dividend(EX, {"A": [0.1, None, 0.0]}, 0.24, paid="2024-03-11")
    assert result.equity.iloc[-1] == pytest.approx(100_000.0 - 24.0 + 24.0)


@pytest.mark.parametrize(("paid", "cash", "due"), [
    ("2024-03-11", 100_000.0, 0.0),     # bar 5, when nothing is held any more: sold at 99.76, 9,976 + 24 come back
    ("2024-03-12", 99_976.0, 24.0),     # after the last bar
])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("on_bar", [False, True])
def test_an_idle_account_is_paid_too(paid, cash, due, sign, on_bar):
    targets = {0: {"A": sign * 0.1}, 2: {"A": 0.0}}
    strategy = OnBar(targets) if on_bar else {"A": [sign * 0.1, None, 0.0]}
    result = dividend(EX, strategy, 0.24, paid=paid)
    assert result.positions["A"] == 0.0
    assert result.book["cash"] == pytest.approx(100_000.0 + sign * (cash - 100_000.0))
    assert result.book["receivable"] == pytest.approx(sign * due)
    assert result.equity.tolist() == pytest.approx([100_000.0] * 6)


def test_what_was_paid_to_an_idle_account_can_be_spent():
    # 500 A sold at 90 on bar 3; 5,000 due until bar 4. At its close a tenth of 100,000 buys 200 B at 50.
    cells = {"A": [100, 100, 100, 90, 90, 90], "B": [50] * 6}
    targets = {"A": [0.5, None, 0.0], "B": [None] * 4 + [0.1]}
    assert dividend(cells, targets, 10.0, paid="2024-03-08").positions["B"] == 200.0
    assert dividend(cells, targets, 10.0, paid="2024-03-11").positions["B"] == 190.0


def test_the_actions_of_a_run_are_a_table():
    bars = make_bars({"A": [100, 100, 50, 50], "B": [10.0] * 4},
                     actions=[("B", "2024-03-07", "cash_dividend", 0.5, "2024-03-20"),
                              ("A", "2024-03-06", "split", 2.0), ("A", "2024-04-06", "split", 3.0)])
    table = run(bars, {"A": [0.1]}).actions
    assert table.columns.tolist() == ["symbol", "time", "bar", "type", "value", "pay_date"]
    assert table["symbol"].tolist() == ["A", "B"]
    assert table["time"].tolist() == [bars.index[2], bars.index[3]]
    assert table["bar"].tolist() == [2, 3]
    assert table["type"].tolist() == ["split", "cash_dividend"]
    assert table["value"].tolist() == [2.0, 0.5]
    assert table["pay_date"].isna().tolist() == [True, False]
    assert str(table["pay_date"].iloc[1].date()) == "2024-03-20"
    assert run({"A": [100.0] * 3}, {"A": [0.1]}).actions.empty


def test_cents_are_rounded():
    # 7 * 0.333 = 2.331.
    assert dividend(EX, Given({"A": [7.0]}, unit="shares"), 0.333).book["dividends"] == pytest.approx(2.33)


@pytest.mark.parametrize(("paid", "shares"), [(None, 200.0), ("2024-04-01", 190.0)])
def test_what_is_due_does_not_size(paid, shares):
    # 500 A, 10.00 a share: 5,000. Decided on the ex-date: 10 % of 100,000, or of 95,000 while it is only due, at 50.
    cells = {"A": [100, 100, 100, 90, 90, 90], "B": [50] * 6}
    result = dividend(cells, {"A": [0.5], "B": [None, None, None, 0.1]}, 10.0, paid=paid)
    assert result.positions["B"] == shares


def test_the_limits_count_what_is_due():
    # 50 % in A falls by 10 of 100, which the dividend makes up for: no drawdown.
    safe = SafetyControls(max_position_size_pct=100.0)
    cells = {"A": [100, 100, 100, 90, 90]}
    assert dividend(cells, {"A": [0.5]}, 10.0, paid="2024-04-01", safety=safe).halts.empty
    assert len(run(cells, {"A": [0.5]}, safety=safe).halts) == 1


def test_a_split_and_a_dividend_on_one_day():
    # 100 shares become 200; 0.10 on each new share = 20.
    bars = make_bars({"A": [100, 100, 100, 49.90, 49.90]},
                     actions=[("A", THURSDAY, "cash_dividend", 0.10), ("A", THURSDAY, "split", 2.0)])
    result = run(bars, {"A": [0.1]})
    assert result.book["dividends"] == pytest.approx(20.0)
    assert result.equity.tolist() == pytest.approx([100_000.0] * 5)


def test_a_dividend_is_no_part_of_a_trade():
    result = dividend(EX, {"A": [0.1, None, None, 0.0]}, 0.24)
    assert result.trades["pnl"].tolist() == pytest.approx([-24.0])


def test_adjusted_bars_pay_nothing():
    bars = make_bars(EX, actions=[("A", THURSDAY, "cash_dividend", 0.24)]).adjusted(how="all")
    result = botlib.backtest(bars, Given({"A": [0.1]}), risk=BARE, costs=FREE, safety=None)
    assert result.book["dividends"] == 0.0


def test_the_fates_of_split_orders_are_told_once():
    result = split({"A": [100, 100, 100, 50, (50, 55, 50, 55)]}, {"A": [0.1]}, risk=LEGS)
    assert fates(result, "stop", "target") == [("stop", 200.0, "cancelled", "other leg filled"),
                                               ("target", 200.0, "filled", "")]
