"""When and at which price orders fill (trading rules 1, 2, 10 and 11), on bars made by hand."""

from __future__ import annotations

import pytest
from engine_helpers import FREE, NAN, Given, days, fates, fills, make_bars, run

import botlib

TWO_BPS = botlib.Costs(slippage_bps=2.0, regulatory_fees=False)

# Four days of one stock: open, high, low, close.
WEEK = {"A": [(99, 101, 98, 100), (102, 104, 101, 103), (105, 107, 104, 106), (108, 110, 107, 109)]}


def test_a_decision_at_a_close_fills_at_the_next_open():
    # floor(10 % of 100,000 / close 100) = 100 shares, bought at 102, sold at 108.
    result = run(WEEK, {"A": [0.1, None, 0.0, None]})
    assert fills(result) == [(1, "A", "buy", 100.0, 102.0), (3, "A", "sell", 100.0, 108.0)]
    # 100,000; bought: + 100 * (103 - 102); + 300; sold: + 100 * (108 - 106).
    assert result.equity.tolist() == [100_000.0, 100_100.0, 100_400.0, 100_600.0]
    trade = result.trades.iloc[0]
    assert (trade["entry_bar"], trade["exit_bar"], trade["bars_held"]) == (1, 3, 2)
    assert (trade["entry_time"], trade["exit_time"]) == (days(4)[1], days(4)[3])
    assert (trade["side"], trade["exit_reason"], trade["pnl"], trade["return_pct"]) == ("long", "signal", 600.0,
                                                                                       pytest.approx(600 / 102))


def test_market_orders_slip_and_prices_have_four_decimals():
    # 102 * 1.0002 = 102.0204; 108 * 0.9998 = 107.9784.
    assert [f[-1] for f in fills(run(WEEK, {"A": [0.1, None, 0.0, None]}, costs=TWO_BPS))] == [102.0204, 107.9784]
    # 100.25 * 1.0002 = 100.27005, half up.
    odd = run({"A": [100.25, 100.25, 100.25]}, {"A": [0.1, None, None]}, costs=TWO_BPS)
    assert [f[-1] for f in fills(odd)] == [100.2701]


def test_shorts_sell_first():
    result = run(WEEK, {"A": [-0.1, None, 0.0, None]}, costs=TWO_BPS)
    # 102 * 0.9998 = 101.9796; 108 * 1.0002 = 108.0216.
    assert fills(result) == [(1, "A", "sell", 100.0, 101.9796), (3, "A", "buy", 100.0, 108.0216)]
    assert result.trades["side"].tolist() == ["short"]
    assert result.trades["pnl"].tolist() == pytest.approx([100 * (101.9796 - 108.0216)])


def test_slippage_of_a_fill_is_told():
    result = run(WEEK, {"A": [0.1, None, 0.0, None]}, costs=TWO_BPS)
    assert result.fills["slippage"].tolist() == pytest.approx([100 * 0.0204, 100 * 0.0216])
    assert result.metrics["costs_paid"] == pytest.approx(4.20)


def test_the_last_decision_never_fills():
    result = run(WEEK, {"A": [None, None, None, 0.1]})
    assert fills(result) == []
    assert fates(result) == [("entry", 91.0, "working", "")]  # floor(10,000 / 109)


def test_a_position_at_the_end_is_marked_and_is_no_trade():
    result = run(WEEK, {"A": [0.1, None, None, None]})
    assert result.n_trades == 0
    assert result.positions["A"] == 100.0
    assert result.equity.iloc[-1] == 100_700.0  # 100 * (109 - 102)


def test_nothing_is_decided_before_the_warm_up():
    result = run({"A": [100.0] * 6}, Given({"A": [0.1] * 6}, warmup=3))
    assert fills(result) == [(4, "A", "buy", 100.0, 100.0)]  # decided at the close of bar 3, the fourth
    assert result.orders["decided_time"].tolist()[0] == days(6)[3]


def test_a_target_before_the_warm_up_is_not_remembered():
    assert fills(run({"A": [100.0] * 6}, Given({"A": [0.1, None, None, None, None, None]}, warmup=3))) == []


# --- Bars without a print ---------------------------------------------------------------------------------------------

def test_a_daily_entry_without_a_print_expires_at_the_sessions_close():
    result = run({"A": [100, None, 100, 100], "B": [50, 50, 50, 50]}, {"A": [0.1, None, None, None]})
    assert fills(result) == []
    assert fates(result) == [("entry", 100.0, "expired", "session close")]


def test_a_level_target_enters_again_after_an_entry_expired():
    result = run({"A": [100, None, 100, 100]}, {"A": [0.1] * 4})
    assert fills(result) == [(3, "A", "buy", 100.0, 100.0)]  # decided again at the close of bar 2


def test_no_price_no_decision():
    result = run({"A": [100, None, 100, 100], "B": [50] * 4}, {"A": [None, 0.1, None, None]})
    assert fates(result) == []


def test_a_hole_is_marked_at_the_last_close():
    result = run({"A": [100, 100, None, 120], "B": [50] * 4}, {"A": [0.1, None, None, None]})
    assert result.equity.tolist() == [100_000.0, 100_000.0, 100_000.0, 102_000.0]


def test_an_exit_without_a_print_stands_until_it_is_done():
    # Decided at bar 1, no print on bar 2; bar 3 has a close to decide on again; sold at the open of bar 4.
    result = run({"A": [100, 100, None, 101, 102, 103], "B": [50] * 6}, {"A": [0.1, 0.0, None, None, None, None]})
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (4, "A", "sell", 100.0, 102.0)]


def test_the_legs_protect_while_an_exit_waits_for_the_next_session():
    # As above, with a stop at 95 that bar 3 meets.
    result = run({"A": [100, 100, None, (99, 99, 94, 99), 99, 99], "B": [50] * 6},
                 {"A": [0.1, 0.0, None, None, None, None]}, risk=botlib.Risk(max_position_pct=100.0))
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (3, "A", "sell", 100.0, 95.0)]


def test_a_reduction_without_a_print_stands_until_it_is_done():
    result = run({"A": [100, 100, None, 100, 100, 100], "B": [50] * 6}, {"A": [0.4, 0.1, 0.1, 0.1, 0.1, 0.1]})
    assert fills(result) == [(1, "A", "buy", 400.0, 100.0), (4, "A", "sell", 300.0, 100.0)]


def test_an_increase_without_a_print_is_tried_again():
    result = run({"A": [100, 100, None, 100, 100, 100], "B": [50] * 6}, {"A": [0.1, 0.4, 0.4, 0.4, 0.4, 0.4]})
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (4, "A", "buy", 300.0, 100.0)]


def test_a_reduction_that_expired_leaves_the_held_target():
    # Bought at 100 for 40 %; 10 % never came; 40 % again, at 80, is what is held already.
    result = run({"A": [100, 100, None, 80, 80, 80], "B": [50] * 6}, {"A": [0.4, 0.1, None, 0.4, 0.4, 0.4]})
    assert fills(result) == [(1, "A", "buy", 400.0, 100.0)]


def test_an_exit_after_an_increase_that_expired():
    result = run({"A": [100, 100, 80, None, 80, 80, 80], "B": [50] * 7}, {"A": [0.1, None, 0.4, None, 0.0, 0.0, 0.0]})
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (5, "A", "sell", 100.0, 80.0)]


def test_an_increase_that_expired_leaves_the_held_target():
    # Bought at 100 for 10 %; 40 % never came; 10 % again, at 80, is what is held already.
    result = run({"A": [100, 100, 80, None, 80, 80, 80], "B": [50] * 7}, {"A": [0.1, None, 0.4, None, 0.1, 0.1, 0.1]})
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0)]


# --- Volume -----------------------------------------------------------------------------------------------------------

CAPPED = botlib.Costs(slippage_bps=0.0, regulatory_fees=False, max_participation_pct=10.0)


def volumes(*volume: float, price: float = 100.0) -> dict:
    return {"A": [(price, price, price, price, v) for v in volume]}


def test_the_participation_cap_leaves_the_rest_of_an_entry_unfilled():
    # 10 % of 400 shares = 40 of the 100 wanted.
    result = run(volumes(400, 400, 400, 400), {"A": [0.1, None, None, None]}, costs=CAPPED)
    assert fills(result) == [(1, "A", "buy", 40.0, 100.0)]
    assert fates(result) == [("entry", 100.0, "cancelled", "partly filled")]


def test_a_bar_too_thin_for_a_share_fills_nothing():
    result = run(volumes(400, 9, 400, 400), {"A": [0.1, None, None, None]}, costs=CAPPED)
    assert fates(result) == [("entry", 100.0, "expired", "session close")]
    assert fills(run(volumes(400, NAN, 400, 400), {"A": [0.1, None, None, None]}, costs=CAPPED)) == []


def test_an_exit_goes_on_until_it_is_done():
    # 100 shares bought, then 30, 30, 30 and the last 10.
    result = run(volumes(1, 1_000, 1, 300, 300, 300, 300, 300), {"A": [0.1, None, 0.0] + [None] * 5}, costs=CAPPED)
    assert fills(result)[1:] == [(3, "A", "sell", 30.0, 100.0), (4, "A", "sell", 30.0, 100.0),
                                 (5, "A", "sell", 30.0, 100.0), (6, "A", "sell", 10.0, 100.0)]
    assert result.trades["quantity"].tolist() == [30.0, 30.0, 30.0, 10.0]


def test_slippage_grows_with_the_share_of_volume():
    costs = botlib.Costs(slippage_bps=2.0, volume_impact_bps=100.0, regulatory_fees=False)
    # 100 of 1,000 shares: 2 + 100 * 0.1 ** 2 = 3 bps: 100.03.
    assert fills(run(volumes(1, 1_000, 1), {"A": [0.1, None, None]}, costs=costs)) == [(1, "A", "buy", 100.0, 100.03)]


def test_a_capped_fill_slips_by_what_it_fills():
    costs = botlib.Costs(slippage_bps=0.0, volume_impact_bps=100.0, max_participation_pct=50.0, regulatory_fees=False)
    # 50 of 100 shares of volume, not the 100 wanted: 100 * 0.5 ** 2 = 25 bps: 100.25.
    assert fills(run(volumes(1, 100, 1), {"A": [0.1, None, None]}, costs=costs)) == [(1, "A", "buy", 50.0, 100.25)]


def test_inputs_are_not_touched():
    bars = make_bars(WEEK)
    before = bars.data_hash()
    run(bars, {"A": [0.1, None, 0.0, None]}, costs=FREE)
    assert bars.data_hash() == before
