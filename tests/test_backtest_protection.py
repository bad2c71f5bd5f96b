"""Bracket legs, gaps and exits (trading rules 8 to 10), on bars made by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from engine_helpers import OnBar, days, fates, fills, make_bars, run

import botlib
from botlib import buy, sell

LEGS = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=10.0)
TWO_BPS = botlib.Costs(slippage_bps=2.0, regulatory_fees=False)
CAPPED = botlib.Costs(slippage_bps=0.0, regulatory_fees=False, max_participation_pct=10.0)

LONG, SHORT = {"A": [0.1]}, {"A": [-0.1]}
# The decision close is 100: a long has its stop at 95 and its target at 110, a short 105 (cap 107.62) and 90.


def outcome(*after, side=LONG, costs=TWO_BPS, entry=100, **options):
    """The fills after a decision at 100 and the bars ``after`` it, without the symbol."""
    result = run({"A": [100, *([entry] if entry else []), *after]}, side, risk=LEGS, costs=costs, **options)
    return [(f[0], f[2], f[4]) for f in fills(result)[1:]]


# --- Longs ------------------------------------------------------------------------------------------------------------

def test_legs_come_from_the_decision_close_not_from_the_fill():
    result = run({"A": [100, (104, 105, 103, 104), 104]}, LONG, risk=LEGS)
    legs = result.orders[result.orders["purpose"] != "entry"]
    assert legs["purpose"].tolist() == ["stop", "target"]
    assert legs["side"].tolist() == ["sell", "sell"]
    assert legs["quantity"].tolist() == [100.0, 100.0]
    assert (legs["stop_price"].iloc[0], legs["limit_price"].iloc[1]) == (95.0, 110.0)
    assert legs["status"].tolist() == ["working", "working"]


def test_leg_prices_are_on_ticks():
    # 33.33 * 0.95 = 31.6635, down; 33.33 * 1.1 = 36.663, up.
    orders = run({"A": [33.33] * 3}, LONG, risk=LEGS).orders
    assert (orders["stop_price"].iloc[1], orders["limit_price"].iloc[2]) == (31.66, 36.67)


def test_a_stop_slips():
    assert outcome((99, 99, 95, 97)) == [(2, "sell", 94.981)]  # 95 * 0.9998


def test_a_target_does_not():
    assert outcome((101, 110, 100, 101)) == [(2, "sell", 110.0)]


@pytest.mark.parametrize("bar", [(96, 109.99, 95.01, 100), (100, 100, 100, 100)])
def test_between_the_legs_nothing_happens(bar):
    assert outcome(bar) == []


def test_the_stop_comes_first_when_both_are_hit():
    assert outcome((100, 111, 94, 110)) == [(2, "sell", 94.981)]


def test_a_gap_through_the_stop_fills_at_the_open():
    assert outcome((90, 99, 85, 99)) == [(2, "sell", 89.982)]  # 90 * 0.9998


def test_a_gap_above_the_target_fills_at_the_open_better_than_asked():
    assert outcome((115, 116, 90, 95)) == [(2, "sell", 115.0)]  # though the low would have met the stop later


@pytest.mark.parametrize(("bar", "price"), [
    ((100, 101, 94, 100), 94.981),     # the stop
    ((100, 111, 99, 100), 110.0),      # the target
    ((100, 111, 94, 100), 94.981),     # both: the stop
    ((94, 96, 93, 95), 93.9812),       # opens below the stop: in at 94.0188, out at 94 * 0.9998
    ((112, 113, 100, 101), 112.0),     # opens above the target: out at 112
])
def test_legs_act_on_the_entry_bar(bar, price):
    result = run({"A": [100, bar, 100]}, LONG, risk=LEGS, costs=TWO_BPS)
    assert [f[::4] for f in fills(result)[1:]] == [(1, price)]
    assert result.trades["bars_held"].tolist() == [0]


def test_one_cancels_the_other():
    assert fates(run({"A": [100, 100, (99, 99, 95, 97), 97]}, LONG, risk=LEGS), "stop", "target") == [
        ("stop", 100.0, "filled", ""), ("target", 100.0, "cancelled", "other leg filled")]
    assert fates(run({"A": [100, 100, (101, 110, 100, 101), 97]}, LONG, risk=LEGS), "stop", "target") == [
        ("stop", 100.0, "cancelled", "other leg filled"), ("target", 100.0, "filled", "")]


def test_exit_reasons_are_told():
    assert run({"A": [100, 100, 95]}, LONG, risk=LEGS).trades["exit_reason"].tolist() == ["stop"]
    assert run({"A": [100, 100, 110]}, LONG, risk=LEGS).trades["exit_reason"].tolist() == ["target"]


def test_legs_do_nothing_where_there_is_no_print():
    result = run({"A": [100, 100, None, 100], "B": [50] * 4}, LONG, risk=LEGS)
    assert len(fills(result)) == 1


@pytest.mark.parametrize(("legs", "bar", "sold"), [
    ({"stop_loss_pct": None}, (99, 99, 50, 60), []),
    ({"stop_loss_pct": None}, (99, 110, 50, 60), [110.0]),
    ({"take_profit_pct": None}, (99, 200, 99, 200), []),
    ({"take_profit_pct": None}, (99, 200, 95, 200), [95.0]),
])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_leg_that_is_not_wanted_does_not_exist(legs, bar, sold, sign):
    risk = botlib.Risk(**{"max_position_pct": 100.0, "stop_loss_pct": 5.0, "take_profit_pct": 10.0, **legs})
    if sign < 0:  # mirrored around 100
        o, h, low, c = bar
        bar, sold = (200 - o, max(200 - low, 1), max(200 - h, 1), 200 - c), [200 - p for p in sold]
    result = run({"A": [100, 100, bar, 100]}, {"A": [sign * 0.1]}, risk=risk)
    assert [f[4] for f in fills(result)[1:]] == sold


# --- Shorts -----------------------------------------------------------------------------------------------------------

def test_short_legs_are_mirrored():
    orders = run({"A": [33.33] * 3}, SHORT, risk=LEGS).orders
    # 33.33 * 1.05 = 34.9965, up; capped at 35.00 * 1.04; 33.33 * 0.9 = 29.997, down.
    assert orders["side"].tolist() == ["sell", "buy", "buy"]
    assert orders["stop_price"].iloc[1] == 35.0
    assert orders["limit_price"].tolist()[1:] == [36.40, 29.99]


@pytest.mark.parametrize(("bar", "fill"), [
    ((101, 105, 101, 104), (2, "buy", 105.021)),       # the stop: 105 * 1.0002
    ((99, 99, 90, 95), (2, "buy", 90.0)),              # the target, unslipped
    ((100, 105, 90, 100), (2, "buy", 105.021)),        # both: the stop
    ((106, 107, 105, 106), (2, "buy", 106.0212)),      # gapped through the stop: the open, slipped
    ((88, 106, 87, 90), (2, "buy", 88.0)),             # opened below the target
    ((107.61, 109, 106, 108), (2, "buy", 107.62)),     # 107.61 * 1.0002 = 107.6315, capped at 107.62
    ((107.62, 109, 107.62, 108), (2, "buy", 107.62)),
])
def test_a_short_is_covered(bar, fill):
    assert outcome(bar, side=SHORT) == [fill]


def test_a_capped_buy_stop_may_stay_unfilled_and_fill_later():
    # 105 * 1.025 = 107.625, so the cap is 107.62. Bar 2 opens above it and stays there; bar 3 comes back to it.
    assert outcome((108, 112, 107.63, 111), (110, 111, 107.62, 108), side=SHORT) == [(3, "buy", 107.62)]


def test_a_capped_buy_stop_fills_at_a_better_open():
    assert outcome((108, 112, 107.63, 111), (104, 106, 103, 105), side=SHORT) == [(3, "buy", 104.0)]  # a limit by now


def test_a_capped_buy_stop_fills_within_the_bar_that_gapped():
    assert outcome((108, 112, 100, 101), side=SHORT) == [(2, "buy", 107.62)]


def test_the_cap_is_4_percent_below_50_dollars():
    # Decision close 40: stop 42.00, cap 43.68. A gap to 43.60 fills at 43.60 * 1.0002 = 43.6087, one to 43.69 does not.
    def covered(bar):
        result = run({"A": [40, 40, bar, 45]}, SHORT, risk=LEGS, costs=TWO_BPS)
        return [(f[0], f[4]) for f in fills(result)[1:]]

    assert covered((43.60, 44, 43, 44)) == [(2, 43.6087)]
    assert covered((43.69, 45, 43.69, 44)) == []


def test_a_triggered_stop_has_ended_its_target():
    result = run({"A": [100, 100, (108, 112, 108, 111), 111]}, SHORT, risk=LEGS)
    assert fates(result, "stop", "target") == [("stop", 100.0, "working", ""),
                                               ("target", 100.0, "cancelled", "other leg filled")]


def test_a_signal_closes_what_a_capped_stop_could_not():
    cells = {"A": [100, 100, (108, 112, 108, 111), (115, 116, 114, 115), 115]}
    result = run(cells, {"A": [-0.1, None, 0.0]}, risk=LEGS)
    assert fills(result)[1:] == [(3, "A", "buy", 100.0, 115.0)]
    assert fates(result, "stop") == [("stop", 100.0, "cancelled", "position exit")]


# --- Exits and reductions ---------------------------------------------------------------------------------------------

def test_a_signal_exit_ends_the_legs_first():
    # The exit is decided at bar 1; bar 2 gaps to 90 and falls to 80: sold once, at the open, as a market order.
    result = run({"A": [100, 100, (90, 91, 80, 85), 85]}, {"A": [0.1, 0.0, None, None]}, risk=LEGS, costs=TWO_BPS)
    assert fills(result)[1:] == [(2, "A", "sell", 100.0, 89.982)]
    assert fates(result) == [("entry", 100.0, "filled", ""), ("stop", 100.0, "cancelled", "position exit"),
                             ("target", 100.0, "cancelled", "position exit"), ("exit", 100.0, "filled", "")]


def test_a_reduction_protects_what_is_left_at_the_old_prices():
    result = run({"A": [100, 100, 100, (99, 99, 95, 96), 96]}, {"A": [0.1, 0.04, None, None, None]}, risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 60.0, 100.0), (3, "A", "sell", 40.0, 95.0)]
    assert fates(result, "stop", "reduce") == [("stop", 100.0, "cancelled", "position exit"),
                                               ("reduce", 60.0, "filled", ""), ("stop", 40.0, "filled", "")]


def test_after_a_reduction_the_legs_are_back_on_the_next_bar():
    # The bar of the reduction falls through the stop after its open: nobody had re-protected the rest by then.
    result = run({"A": [100, 100, (100, 100, 90, 97), 97]}, {"A": [0.1, 0.04, None, None]}, risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 60.0, 100.0)]


def test_an_increase_brings_its_own_bracket():
    # 100 at 100 (95 / 110); decided at 104: equity 100,400; floor(0.2 * 100,400 / 104) = 193, 93 more (98.80 / 114.40).
    cells = {"A": [100, (100, 104, 100, 104), 104, (104, 112, 99, 112), (112, 115, 98, 99), 99]}
    result = run(cells, {"A": [0.1, 0.2, None, None, None, None]}, risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "buy", 93.0, 104.0), (3, "A", "sell", 100.0, 110.0),
                                 (4, "A", "sell", 93.0, 98.8)]


def test_both_lots_of_an_increase_may_leave_on_one_bar():
    cells = {"A": [100, (100, 104, 100, 104), 104, (90, 91, 89, 90), 90]}
    result = run(cells, {"A": [0.1, 0.2, None, None, None]}, risk=LEGS)
    assert fills(result)[2:] == [(3, "A", "sell", 100.0, 90.0), (3, "A", "sell", 93.0, 90.0)]
    assert result.positions["A"] == 0.0


# --- Partial fills ----------------------------------------------------------------------------------------------------

def test_a_partly_filled_entry_is_protected_for_what_is_held():
    # 10 % of 400 = 40 shares. The entry bar itself meets the stop price, but the pair of legs goes in after it.
    cells = {"A": [100, (100, 100, 95, 98, 400), (98, 98, 95, 96, 10_000), 96]}
    result = run(cells, LONG, risk=LEGS, costs=CAPPED)
    assert fills(result) == [(1, "A", "buy", 40.0, 100.0), (2, "A", "sell", 40.0, 95.0)]
    assert fates(result) == [("entry", 100.0, "cancelled", "partly filled"), ("stop", 40.0, "filled", ""),
                             ("target", 40.0, "cancelled", "other leg filled")]


def test_a_thin_stop_goes_on_at_the_next_open():
    # 100 held; 10 % of 300 at the stop, 30 shares; a triggered sell stop is a market order: 70 at the next open.
    cells = {"A": [100, (100, 100, 100, 100, 1_000), (98, 98, 95, 96, 300), (93, 120, 93, 120, 1_000), 93]}
    result = run(cells, LONG, risk=LEGS, costs=CAPPED)
    assert fills(result)[1:] == [(2, "A", "sell", 30.0, 95.0), (3, "A", "sell", 70.0, 93.0)]


def test_a_thin_target_rests_until_it_is_done():
    # 30 at the target; then the price stays under it; the stop takes the remaining 70.
    cells = {"A": [100, (100, 100, 100, 100, 1_000), (109, 110, 108, 109, 300), (108, 109, 107, 108, 10_000),
                   (100, 100, 94, 95, 10_000), 93]}
    result = run(cells, LONG, risk=LEGS, costs=CAPPED)
    assert fills(result)[1:] == [(2, "A", "sell", 30.0, 110.0), (4, "A", "sell", 70.0, 95.0)]


def test_the_other_leg_shrinks_with_a_partial_fill():
    cells = {"A": [100, (100, 100, 100, 100, 1_000), (109, 110, 108, 109, 300), (100, 100, 94, 95, 10_000), 93]}
    result = run(cells, LONG, risk=LEGS, costs=CAPPED)
    stop = result.orders[result.orders["purpose"] == "stop"].iloc[0]
    assert (stop["quantity"], stop["filled"], stop["status"]) == (70.0, 70.0, "filled")


def test_an_exit_after_a_thin_reduction_leaves_no_legs():
    # 60 of 100 are to go: 30 on bar 2. Bar 2 closes with an exit for the other 40; all 70 leave on bar 3.
    index = pd.date_range("2024-03-11 09:30", periods=5, freq="5min", tz="America/New_York")
    thin = (100, 100, 100, 100, 300)
    bars = make_bars({"A": [100, 100, thin, 100, 100]}, index, interval="5m")
    result = run(bars, {"A": [0.1, 0.04, 0.0]}, risk=LEGS, costs=CAPPED)
    assert [f[3] for f in fills(result)] == [100.0, 30.0, 30.0, 40.0]
    assert "working" not in result.orders["status"].tolist()


def test_symbols_share_no_volume():
    cells = {"A": [100, (100, 100, 100, 100, 400), 100], "B": [100, (100, 100, 100, 100, 400), 100]}
    result = run(cells, {"A": [0.1], "B": [0.1]}, costs=CAPPED)
    assert result.positions.to_dict() == {"A": 40.0, "B": 40.0}


def test_each_bar_has_its_volume_once():
    # Both lots leave at the open of bar 3, whose volume allows 120 of the 193: 100, then 20.
    cells = {"A": [100, (100, 104, 100, 104), 104, (90, 91, 89, 90, 1_200), (90, 90, 90, 90, 10_000), 90]}
    result = run(cells, {"A": [0.1, 0.2, None, None, None, None]}, risk=LEGS, costs=CAPPED)
    assert fills(result)[2:] == [(3, "A", "sell", 100.0, 90.0), (3, "A", "sell", 20.0, 90.0),
                                 (4, "A", "sell", 73.0, 90.0)]


def hourly(*cells):
    index = pd.date_range("2024-03-11 09:30", periods=len(cells), freq="1h", tz="America/New_York")
    return make_bars({"A": cells}, index, interval="1h")


def test_exits_come_before_entries():
    # Held: 100 (stop 95). 93 more are to be bought, the open has passed the stop: 100 of the 120 go to the exit.
    cells = {"A": [100, (100, 104, 100, 104), (90, 91, 89, 90, 1_200), 90]}
    result = run(cells, {"A": [0.1, 0.2]}, risk=LEGS, costs=CAPPED)
    assert fills(result)[1:3] == [(2, "A", "sell", 100.0, 90.0), (2, "A", "buy", 20.0, 90.0)]


def test_the_target_that_was_asked_for_is_the_one_held_when_an_exit_came_first():
    # One open takes the first lot at its target of 110 and fills the increase of 93: 20 % is held, and not asked again.
    cells = {"A": [100, (100, 104, 100, 104), (112, 113, 111, 112), 112, 112]}
    result = run(cells, {"A": [0.1, 0.2, 0.2, 0.2, 0.2]}, risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 100.0, 112.0), (2, "A", "buy", 93.0, 112.0)]


def test_stops_come_before_targets_and_the_open_before_the_rest_of_the_bar():
    # Lots of 100 (95 / 110) and 93 (98.80 / 114.40), see above. A bar from 105 down to 98 and up to 112 meets the stop
    # of the second and the target of the first; 130 may be traded: 93 at the stop, 37 at the target.
    lots = [100, (100, 104, 100, 104), 104]
    result = run({"A": [*lots, (105, 112, 98, 105, 1_300), 105]}, {"A": [0.1, 0.2]}, risk=LEGS, costs=CAPPED)
    assert fills(result)[2:] == [(3, "A", "sell", 93.0, 98.8), (3, "A", "sell", 37.0, 110.0)]
    # Opens at 98, which the stop of the second has passed, and falls through that of the first.
    result = run({"A": [*lots, (98, 99, 94, 95, 1_300), 95]}, {"A": [0.1, 0.2]}, risk=LEGS, costs=CAPPED)
    assert fills(result)[2:4] == [(3, "A", "sell", 93.0, 98.0), (3, "A", "sell", 37.0, 95.0)]


def test_of_one_kind_the_oldest_lot_is_first():
    cells = {"A": [100, (100, 104, 100, 104), 104, (115, 116, 114, 115, 1_300), 115]}
    result = run(cells, {"A": [0.1, 0.2]}, risk=LEGS, costs=CAPPED)
    assert fills(result)[2:4] == [(3, "A", "sell", 100.0, 115.0), (3, "A", "sell", 30.0, 115.0)]
    assert result.trades["entry_price"].tolist()[:2] == [100.0, 104.0]


def test_a_stop_that_finds_no_volume_has_triggered():
    # Bar 2 falls through 95 and gives nothing; the market order that is left meets the next open.
    cells = {"A": [100, 100, (97, 97, 94, 96, 0), (99, 99, 98, 99), 99]}
    result = run(cells, LONG, risk=LEGS, costs=CAPPED)
    assert fills(result)[1:] == [(3, "A", "sell", 100.0, 99.0)]
    assert fates(result, "target") == [("target", 100.0, "cancelled", "other leg filled")]


def test_a_named_stop_that_finds_no_volume_has_triggered():
    bars = hourly(100, 100, (100, 100, 97, 99, 0), (99, 99, 99, 99, 10_000), 99)
    result = run(bars, OnBar({0: buy("A", 10), 1: sell("A", 10, stop=98.0)}), costs=CAPPED)
    assert fills(result)[1:] == [(3, "A", "sell", 10.0, 99.0)]


def test_a_stop_ends_the_rest_of_a_target_on_the_same_bar():
    # 30 at the target, by the open; the same bar then falls through the stop: 70 at the next open, not at 110.
    cells = {"A": [100, 100, (112, 112, 94, 95, 300), (105, 111, 105, 111), 111]}
    result = run(cells, LONG, risk=LEGS, costs=CAPPED)
    assert fills(result)[1:] == [(2, "A", "sell", 30.0, 112.0), (3, "A", "sell", 70.0, 105.0)]


@pytest.mark.parametrize(("target", "fate"), [
    (None, ("cancelled", "opposite side order exists")),  # a lone stop is a simple order: Alpaca, 403, wash trade
    (10.0, ("expired", "session close")),                  # a pair is a complex one
])
def test_other_entries_make_way_for_a_lone_stop(target, fate):
    """40 of 100 are bought, and want their stop while another entry rests."""
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=target)
    bars = hourly(100, (100, 100, 100, 100, 400), 100, 100, 100, 100, 100)
    result = run(bars, OnBar({0: [buy("A", 100), buy("A", 5, limit=96.0)]}), risk=risk, costs=CAPPED)
    assert fates(result, "entry") == [("entry", 100.0, "cancelled", "partly filled"), ("entry", 5.0, *fate)]


def test_odd_parts_of_shares_are_those_of_all_ways_out():
    """Two lots whose target the close has passed leave at the market; 1 for 2: (3 + 5) / 2 are 4 shares, not 1 + 2."""
    cells = {"A": [100, 100, 100, (100, 113, 100, 113), 226, 226]}
    bars = make_bars(cells, actions=[("A", "2024-03-08", "split", 0.5)])
    orders = {0: buy("A", 6), 1: buy("A", 5), 2: sell("A", 3)}
    result = run(bars, OnBar(orders), risk=LEGS)
    assert fills(result)[3:] == [(4, "A", "sell", 1.0, 226.0), (4, "A", "sell", 3.0, 226.0)]


def test_the_bars_of_a_trade_are_labelled():
    result = run(make_bars({"A": [100, 100, 95]}), LONG, risk=LEGS)
    assert result.trades["exit_time"].tolist() == [days(3)[2]]


# --- Legs that can't be placed ----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("close", "reason", "price"), [(94.5, "stop", 96.0), (110.5, "target", 96.0)])
def test_what_is_left_is_sold_when_the_close_has_passed_its_leg(close, reason, price):
    """A reduction takes the legs away; when they would go back, Alpaca refuses those that the price has passed."""
    moved = (100, max(100, close), min(100, close), close)
    result = run({"A": [100, 100, moved, (96, 97, 96, 97), 97]}, OnBar({0: buy("A", 10), 1: sell("A", 4)}), risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 4.0, 100.0), (3, "A", "sell", 6.0, price)]
    assert result.trades["exit_reason"].tolist() == ["order", reason]


def test_a_short_gets_out_at_any_price_then():
    """No cap holds it back, as it would a buy stop."""
    bars = {"A": [100, 100, (100, 106, 100, 106), (120, 121, 119, 120), 120]}
    result = run(bars, OnBar({0: sell("A", 10), 1: buy("A", 4)}), risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "buy", 4.0, 100.0), (3, "A", "buy", 6.0, 120.0)]


def test_legs_nearer_than_a_cent_are_refused_with_their_entry():
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=1.0, take_profit_pct=10.0)
    result = run({"A": [0.50, 0.50, 0.50]}, {"A": [0.1]}, risk=risk)
    assert fates(result) == [("entry", 20_000.0, "rejected", "legs within a cent of the price")]
    assert fills(run({"A": [2.00, 2.00, 2.00]}, {"A": [0.1]}, risk=risk)) == [(1, "A", "buy", 5_000.0, 2.0)]
