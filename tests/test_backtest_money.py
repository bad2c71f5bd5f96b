"""Commission, fees and interest (trading rules 11 and 12), on bars made by hand."""

from __future__ import annotations

import pytest
from engine_helpers import FREE, Given, days, fills, make_bars, run

import botlib
from botlib.errors import BotlibWarning

# Bought at 102, sold at 108: 100 shares at a decision close of 100.
WEEK = {"A": [(99, 101, 98, 100), (102, 104, 101, 103), (105, 107, 104, 106), (108, 110, 107, 109)]}
ROUND_TRIP = {"A": [0.1, None, 0.0, None]}


def costs(**values) -> botlib.Costs:
    return botlib.Costs(**{"slippage_bps": 0.0, "regulatory_fees": False, **values})


# --- Commission -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("values", "bought", "sold"), [
    ({"commission_bps": 5.0}, 5.10, 5.40),                                # 10,200 and 10,800 * 5 bps
    ({"commission_bps": 1.23}, 1.26, 1.33),                               # 1.2546 and 1.3284, up to the cent
    ({"commission_per_share": 0.005}, 0.50, 0.50),
    ({"commission_per_share": 0.005, "commission_min": 1.0}, 1.0, 1.0),
    ({"commission_bps": 5.0, "commission_min": 1.0}, 5.10, 5.40),
    ({"commission_bps": 5.0, "commission_per_share": 0.01}, 6.10, 6.40),
])
def test_commission_of_a_round_trip(values, bought, sold):
    result = run(WEEK, ROUND_TRIP, costs=costs(**values))
    assert result.fills["commission"].tolist() == [bought, sold]
    trade = result.trades.iloc[0]
    assert trade["costs"] == pytest.approx(bought + sold)
    assert trade["pnl"] == pytest.approx(600.0 - bought - sold)
    assert result.equity.tolist() == pytest.approx(
        [100_000, 100_100 - bought, 100_400 - bought, 100_600 - bought - sold])
    assert result.metrics["costs_paid"] == pytest.approx(bought + sold)


def test_each_fill_pays_the_minimum():
    cells = {"A": [100, 100, (100, 100, 100, 100, 600), (100, 100, 100, 100, 600), 100]}
    result = run(cells, {"A": [0.1, 0.0, None, None, None]},
                 costs=costs(commission_min=1.0, max_participation_pct=10.0))
    assert [f[3] for f in fills(result)] == [100.0, 60.0, 40.0]
    assert result.fills["commission"].tolist() == [1.0, 1.0, 1.0]
    assert result.trades["costs"].tolist() == pytest.approx([0.60 + 1.0, 0.40 + 1.0])  # the entry's by shares


def test_turnover_counts_buys_and_sells():
    result = run(WEEK, ROUND_TRIP)
    assert result.book["traded"] == 10_200.0 + 10_800.0


# --- Regulatory fees --------------------------------------------------------------------------------------------------

def dated(first: str, count: int = 4, price: float = 50.0):
    return make_bars({"A": [price] * count}, days(count, first))


REAL = botlib.Costs(slippage_bps=0.0)


def test_sells_pay_the_fees_of_the_day():
    # 2024-06: SEC 27.80 per million of 10,000 = 0.278 -> 0.28; TAF 200 * 0.000166 = 0.0332 -> 0.04.
    result = run(dated("2024-06-03"), ROUND_TRIP, costs=REAL)
    assert result.fills["fees"].tolist() == [0.0, pytest.approx(0.32)]
    assert result.equity.iloc[-1] == pytest.approx(99_999.68)
    assert result.trades["pnl"].tolist() == [pytest.approx(-0.32)]
    assert result.warnings == []


@pytest.mark.parametrize(("first", "fee"), [
    ("2024-05-16", 0.12),   # sold on Tuesday, 2024-05-21: SEC 8.00 per million: 0.08; TAF 0.04
    ("2024-05-17", 0.32),   # sold on 2024-05-22: SEC 27.80 per million
])
def test_rates_change_on_their_day(first, fee):
    assert run(dated(first), ROUND_TRIP, costs=REAL).fills["fees"].iloc[1] == pytest.approx(fee)


def test_rates_change_while_the_strategy_rests():
    """The rate of the day of the sale, though no bar of the days before it mattered."""
    result = run(dated("2024-05-13", 12), {"A": [None] * 8 + [0.1, None, 0.0, None]}, costs=REAL)
    assert result.fills["fees"].iloc[1] == pytest.approx(0.32)


def test_a_short_sale_pays_on_entry():
    result = run(dated("2024-06-03"), {"A": [-0.1, None, 0.0, None]}, costs=REAL)
    assert result.fills["fees"].tolist() == [pytest.approx(0.32), 0.0]


def test_cat_is_paid_on_both_sides():
    # 2026-09: 200 * 0.000003 = 0.0006 -> 0.01; SEC 10,000 * 20.60e-6 = 0.206 -> 0.21; TAF 200 * 0.000195 -> 0.04.
    result = run(dated("2026-09-08"), ROUND_TRIP, costs=REAL)
    assert result.fills["fees"].tolist() == [pytest.approx(0.01), pytest.approx(0.26)]


def test_a_date_without_a_rate_is_a_named_warning():
    with pytest.warns(BotlibWarning) as caught:
        result = run(dated("2025-01-06"), ROUND_TRIP, costs=REAL, quiet=False)
    assert [w.message.name for w in caught] == ["fees-uncovered"]
    assert "CAT" in result.warnings[0]


def test_no_warning_without_regulatory_fees():
    assert run(dated("2025-01-06"), ROUND_TRIP, costs=FREE, quiet=False).warnings == []


# --- Interest ---------------------------------------------------------------------------------------------------------

# Monday to the Tuesday of the week after.
EIGHT_DAYS = {"A": [100.0] * 7}


def test_shorts_pay_to_borrow_for_each_night():
    # 10,000 short from Tuesday on; 3.6 % a year on 360 days = 1.00 a night; three nights over the weekend.
    result = run(EIGHT_DAYS, {"A": [-0.1]}, costs=costs(borrow_rate_pct=3.6))
    assert (100_000.0 - result.equity).tolist() == pytest.approx([0, 0, 1, 2, 3, 6, 7])
    assert result.metrics["costs_paid"] == pytest.approx(7.0)


def test_the_night_before_a_cover_is_paid():
    # Short on Tuesday's open, covered on Thursday's: two nights.
    result = run(EIGHT_DAYS, {"A": [-0.1, None, 0.0]}, costs=costs(borrow_rate_pct=3.6))
    assert result.equity.iloc[-1] == pytest.approx(99_998.0)


def test_borrowing_costs_by_the_last_close():
    # 100 shares; Tuesday's close 150: 15,000 * 3.6 % / 360 = 1.50.
    result = run({"A": [100, (100, 150, 100, 150), 150]}, {"A": [-0.1]}, costs=costs(borrow_rate_pct=3.6))
    assert result.book["interest"] == pytest.approx(1.5)


def test_negative_cash_pays_margin_interest():
    # 150,000 of stock on 100,000: 50,000 owed at 7.2 % = 10.00 a night; then on 50,010: 10.002, up to the cent.
    risk = botlib.Risk(max_position_pct=75.0, stop_loss_pct=None, take_profit_pct=None, max_gross_exposure_pct=150.0)
    result = run({"A": [100.0] * 4, "B": [100.0] * 4}, {"A": [0.75], "B": [0.75]}, risk=risk,
                 costs=costs(margin_rate_pct=7.2))
    assert (100_000.0 - result.equity).tolist() == pytest.approx([0, 0, 10.00, 20.01])


def test_longs_on_their_own_cash_pay_nothing():
    result = run(EIGHT_DAYS, {"A": [0.9]}, costs=costs(borrow_rate_pct=50.0, margin_rate_pct=50.0))
    assert result.equity.iloc[-1] == 100_000.0


def test_interest_starts_again_after_a_rest():
    # Short from bar 1 to bar 3 (two nights), flat, short again on bar 6 (Tuesday): nothing for the time between.
    cells = {"A": [100.0] * 8}
    strategy = Given({"A": [-100.0, None, 0.0, None, None, -100.0, None, None]}, unit="shares")
    assert run(cells, strategy, costs=costs(borrow_rate_pct=3.6)).book["interest"] == pytest.approx(3.0)
