"""Targets, sizes and buying power (trading rules 4 to 7), on bars made by hand."""

from __future__ import annotations

import pytest
from engine_helpers import BARE, FREE, Given, fates, fills, make_bars, run

import botlib
from botlib.errors import BotlibWarning, InputError, StrategyError

FLAT = [100.0] * 6


def limited(**changes) -> botlib.Risk:
    return botlib.Risk(**{"max_position_pct": 100.0, "stop_loss_pct": None, "take_profit_pct": None, **changes})


# --- Units and sizes --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("unit", [None, "", "percent", "Weight"])
def test_the_unit_is_never_guessed(unit):
    with pytest.raises(StrategyError, match="unit"):
        run({"A": FLAT}, Given({"A": [0.1]}, unit=unit))


@pytest.mark.parametrize(("target", "close", "shares"), [
    (0.1, 33.33, 300.0),     # 10,000 / 33.33 = 300.03
    (-0.1, 33.33, -300.0),
    (0.29, 290.0, 100.0),    # 29,000 / 290, which binary puts just below
    (1.0, 99_999.0, 1.0),
])
def test_weights_are_floored_to_whole_shares(target, close, shares):
    assert run({"A": [close] * 3}, {"A": [target, None, None]}).positions["A"] == shares


def test_shares_are_shares():
    result = run({"A": FLAT}, Given({"A": [7.0, None, -3.0, None, None, None]}, unit="shares"))
    # A reversal: closed at bar 3, opened at bar 4.
    assert fills(result) == [(1, "A", "buy", 7.0, 100.0), (3, "A", "sell", 7.0, 100.0), (4, "A", "sell", 3.0, 100.0)]


def test_less_than_a_share_is_refused():
    result = run({"A": [2_000.0] * 3}, {"A": [0.01, None, None]})  # 1,000 buys half a share
    assert fates(result) == [("entry", 0.0, "rejected", "below one share")]


def test_a_target_below_one_share_closes_the_position():
    # floor(0.05 % of 100,000 / 100) = 0 shares is what the target asks for.
    result = run({"A": FLAT}, {"A": [0.1, None, 0.0005, None, None, None]})
    assert result.positions["A"] == 0.0


def test_sizing_takes_the_sessions_own_equity_at_the_close():
    # 500 A at 100; A closes at 110 on bar 2: 50,000 + 55,000 = 105,000; 10 % of it at 50 = 210 B.
    result = run({"A": [100, 100, 110, 110], "B": [50, 50, 50, 60]},
                 {"A": [0.5, None, None, None], "B": [None, None, 0.1, None]})
    assert fills(result)[1] == (3, "B", "buy", 210.0, 60.0)


def test_fractional_shares():
    result = run({"A": [30.0] * 3}, {"A": [0.1, None, None]}, risk=limited(fractional=True))
    assert result.positions["A"] == pytest.approx(333.333333333, abs=1e-12)  # 10,000 / 30, nine decimals, down


def test_shorts_are_in_whole_shares_even_so():
    """Alpaca lends whole shares only; covering is whole too."""
    result = run({"A": [30.0] * 5}, {"A": [-0.1, None, -0.05]}, risk=limited(fractional=True))
    assert fills(result) == [(1, "A", "sell", 333.0, 30.0), (3, "A", "buy", 167.0, 30.0)]  # 5,000 / 30 = 166.67


def test_a_thin_bar_fills_a_short_in_whole_shares():
    costs = FREE.model_copy(update={"max_participation_pct": 1.0})
    risk = limited(fractional=True)
    thin = {"A": [(30, 30, 30, 30, 1_250)] * 3}  # 12.5 shares are 1 %
    assert fills(run(thin, {"A": [-0.1]}, risk=risk, costs=costs))[0][3] == 12.0
    assert fills(run(thin, {"A": [0.1]}, risk=risk, costs=costs))[0][3] == 12.5


@pytest.mark.parametrize("legs", [{"stop_loss_pct": 5.0}, {"take_profit_pct": 5.0}])
def test_fractional_shares_have_no_legs(legs):
    with pytest.raises(InputError, match="fractional"):
        limited(fractional=True, **legs)


# --- Targets ----------------------------------------------------------------------------------------------------------

def test_nan_keeps():
    assert fills(run({"A": [100, 100, 120, 80, 100, 100]}, {"A": [0.1]})) == [(1, "A", "buy", 100.0, 100.0)]


def test_an_equal_target_does_not_rebalance():
    assert fills(run({"A": [100, 100, 120, 80, 100, 100]}, {"A": [0.1] * 6})) == [(1, "A", "buy", 100.0, 100.0)]


def test_an_equal_target_enters_again_when_flat():
    # Stopped out at 95 on bar 2, whose close decides on the next entry: equity 99,500; floor(9,950 / 96) = 103.
    cells = {"A": [100, 100, (100, 100, 94, 96), (97, 97, 97, 97), 97, 97]}
    result = run(cells, {"A": [0.1] * 6}, risk=botlib.Risk(max_position_pct=100.0))
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (2, "A", "sell", 100.0, 95.0), (3, "A", "buy", 103.0, 97.0)]


def test_nan_does_not_enter_again():
    cells = {"A": [100, 100, (100, 100, 94, 96), (97, 97, 97, 97), 97, 97]}
    assert len(fills(run(cells, {"A": [0.1]}, risk=botlib.Risk(max_position_pct=100.0)))) == 2


def test_a_new_target_changes_the_size():
    # 10 % -> 30 %: 300 - 100 more. -> 20 %: 100 less.
    result = run({"A": FLAT}, {"A": [0.1, 0.3, 0.2, None, None, None]})
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (2, "A", "buy", 200.0, 100.0),
                             (3, "A", "sell", 100.0, 100.0)]
    assert result.trades["exit_reason"].tolist() == ["reduce"]
    assert result.positions["A"] == 200.0


def test_a_reduction_sells_the_oldest_shares_first():
    # 100 at 100, then 40 more at 200; 120 sold at 300: all of the first, 20 of the second.
    cells = {"A": [100, 100, 200, 200, 300, 300, 300]}
    result = run(cells, Given({"A": [100, 140, None, 20, None, None, None]}, unit="shares"))
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (2, "A", "buy", 40.0, 200.0),
                             (4, "A", "sell", 120.0, 300.0)]
    assert result.trades[["quantity", "entry_price", "pnl"]].values.tolist() == [[100.0, 100.0, 20_000.0],
                                                                                 [20.0, 200.0, 2_000.0]]


def test_a_tolerance_rebalances_once_the_position_is_too_far_off():
    # 500 at 100. At 103: equity 101,500, wanted 50,750, held 51,500: 750 off, within 1 % of equity (1,015).
    # At 110: equity 105,000, wanted 52,500, held 55,000: 2,500 off; floor(52,500 / 110) = 477: sell 23.
    result = run({"A": [100, 100, 103, 110, 110, 110]}, Given({"A": [0.5] * 6}, tolerance=1.0))
    assert fills(result) == [(1, "A", "buy", 500.0, 100.0), (4, "A", "sell", 23.0, 110.0)]


def test_weights_clip_with_a_named_warning():
    with pytest.warns(BotlibWarning) as caught:
        result = run({"A": FLAT, "B": FLAT}, {"A": [0.5], "B": [-0.2]}, risk=limited(max_position_pct=10.0),
                     quiet=False)
    assert [w.message.name for w in caught] == ["weights-clipped"]
    assert result.positions.to_dict() == {"A": 100.0, "B": -100.0}
    assert result.warnings[0].startswith("weights-clipped: 2 ")


def test_a_weight_at_the_limit_is_not_clipped():
    result = run({"A": FLAT}, {"A": [0.1] * 6}, risk=limited(max_position_pct=10.0))
    assert result.warnings == []


def test_a_clipped_level_does_not_rebalance():
    result = run({"A": [100, 100, 90, 80, 100, 100]}, {"A": [0.5] * 6}, risk=limited(max_position_pct=10.0))
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0)]


def test_two_weights_above_the_limit_are_one_target():
    result = run({"A": [100, 100, 80, 80, 80]}, {"A": [0.5, 0.5, 0.6, 0.6, 0.6]}, risk=limited(max_position_pct=10.0))
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0)]


def test_a_clipped_number_of_shares_does_not_rebalance():
    result = run({"A": [100, 100, 90, 80, 100, 100]}, Given({"A": [1_000.0] * 6}, unit="shares"),
                 risk=limited(max_position_pct=10.0))
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0)]


def test_a_symbol_listed_later_keeps_its_own_warm_up():
    # B's first bar is bar 3; it has three bars before bar 6.
    bars = {"A": [100.0] * 9, "B": [None] * 3 + [50.0] * 6}
    result = run(bars, Given({"A": [0.1] * 9, "B": [0.1] * 9}, warmup=3))
    assert fills(result) == [(4, "A", "buy", 100.0, 100.0), (7, "B", "buy", 200.0, 50.0)]


# --- Order, buying power ----------------------------------------------------------------------------------------------

def test_exits_go_first_then_entries_by_name():
    cells = {"D": FLAT, "C": FLAT, "B": FLAT, "A": FLAT}
    result = run(cells, {"D": [0.1, None, 0.0], "C": [None, None, 0.1], "B": [None, None, 0.1], "A": [None, None, 0.1]})
    assert [f[1:3] for f in fills(result)] == [("D", "buy"), ("D", "sell"), ("A", "buy"), ("B", "buy"), ("C", "buy")]


def test_an_order_that_does_not_fit_is_refused_whole():
    result = run({"B": FLAT, "A": FLAT, "C": FLAT}, {"A": [0.6], "B": [0.6], "C": [0.4]})
    # A takes 60,000; B's 60,000 does not fit into the 40,000 left; C's 40,000 does.
    assert fates(result) == [("entry", 600.0, "filled", ""), ("entry", 600.0, "rejected", "buying power"),
                             ("entry", 400.0, "filled", "")]


def test_exposure_limit_is_a_parameter():
    result = run({"A": FLAT, "B": FLAT}, {"A": [0.6], "B": [0.6]}, risk=limited(max_gross_exposure_pct=120.0))
    assert result.positions.to_dict() == {"A": 600.0, "B": 600.0}
    assert result.exposure.iloc[-1] == pytest.approx(1.2)
    assert result.book["cash"] == pytest.approx(-20_000.0)


def test_longs_and_shorts_both_take_exposure():
    # A short reserves 3 % more than the last price: 0.5 * 1.03 does not fit beside 0.5, 0.48 * 1.03 does.
    refused = run({"A": FLAT, "B": FLAT}, {"A": [0.5], "B": [-0.5]})
    assert refused.positions.to_dict() == {"A": 500.0, "B": 0.0}
    taken = run({"A": FLAT, "B": FLAT}, {"A": [0.5], "B": [-0.48]})
    assert taken.positions.to_dict() == {"A": 500.0, "B": -480.0}
    assert taken.book["cash"] == pytest.approx(98_000.0)  # 100,000 - 50,000 + 48,000


def test_an_exit_frees_buying_power_only_on_execution():
    # A leaves at the open of bar 3; B does not fit at the close of bar 2, but at that of bar 3.
    result = run({"A": FLAT, "B": FLAT}, {"A": [1.0, None, 0.0], "B": [None, None, 1.0, 1.0, 1.0, 1.0]})
    assert fills(result) == [(1, "A", "buy", 1000.0, 100.0), (3, "A", "sell", 1000.0, 100.0),
                             (4, "B", "buy", 1000.0, 100.0)]
    assert ("entry", 1000.0, "rejected", "buying power") in fates(result)


def test_an_expired_entry_frees_what_it_reserved():
    result = run({"A": [100, None, 100, 100], "B": [100] * 4}, {"A": [1.0], "B": [None, 1.0]})
    assert fills(result) == [(2, "B", "buy", 1000.0, 100.0)]


def test_a_cash_account_has_no_shorts_and_no_credit():
    cash = limited(account="cash", max_gross_exposure_pct=200.0)
    result = run({"A": FLAT, "B": FLAT, "C": FLAT}, {"A": [0.7], "B": [-0.1], "C": [0.4]}, risk=cash)
    assert fates(result) == [("entry", 700.0, "filled", ""),
                             ("entry", 100.0, "rejected", "no shorts in a cash account"),
                             ("entry", 400.0, "rejected", "buying power")]


# --- Reversals --------------------------------------------------------------------------------------------------------

def test_a_reversal_takes_two_opens():
    # Decided at bar 2: closed at the open of bar 3 (90), whose close (95) decides on the short: equity
    # 100,000 - 1,000 = 99,000; floor(9,900 / 95) = 104, sold at the open of bar 4 (94).
    cells = {"A": [100, 100, 100, (90, 96, 89, 95), (94, 94, 94, 94), 94]}
    result = run(cells, {"A": [0.1, 0.1, -0.1, -0.1, -0.1, -0.1]})
    assert fills(result) == [(1, "A", "buy", 100.0, 100.0), (3, "A", "sell", 100.0, 90.0),
                             (4, "A", "sell", 104.0, 94.0)]


def test_a_reversal_stands_when_the_next_bar_keeps():
    result = run({"A": FLAT}, {"A": [0.1, None, -0.1, None, None, None]})
    assert [f[2:4] for f in fills(result)] == [("buy", 100.0), ("sell", 100.0), ("sell", 100.0)]


def test_a_newer_target_overrides_a_reversal():
    assert run({"A": FLAT}, {"A": [0.1, None, -0.1, 0.0, None, None]}).positions["A"] == 0.0


def test_columns_come_in_any_order():
    """Array-like targets in the bars' own order meet the right symbols."""
    class Row:
        unit, warmup = "weight", 0

        def targets(self, bars):
            assert bars.symbols == ("A", "B")  # a broker run works in the order of names
            return [[0.1, 0.2]] + [[float("nan")] * 2] * (len(bars) - 1)

    result = botlib.backtest(make_bars({"B": FLAT, "A": FLAT}), Row(), risk=BARE, costs=FREE, safety=None)
    assert result.positions.to_dict() == {"A": 100.0, "B": 200.0}


def test_no_bar_is_lost():
    result = run({"B": [100, None, 100, 100], "A": [100, None, 100, 100]}, {"A": [None, None, 0.1]})
    assert len(result.equity) == 4
    assert fills(result) == [(3, "A", "buy", 100.0, 100.0)]
