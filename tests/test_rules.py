"""The trading arithmetic, number by number. Each expected value is worked out in the comment beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from botlib import rules
from botlib.fees import fee_rates

NAN = math.nan
LONG, SHORT = 1, -1


# --- Prices -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("price", "down", "up"), [
    (104.50, 104.50, 104.50),
    (110.0 * 0.95, 104.50, 104.50),    # 104.49999999999999 in binary
    (100.0 * 1.1, 110.00, 110.00),     # 110.00000000000001 in binary
    (104.501, 104.50, 104.51),
    (104.5099, 104.50, 104.51),
    (1.0, 1.00, 1.00),
    (1.005, 1.00, 1.01),
    (0.99999, 0.9999, 1.0),            # below a dollar the tick is $0.0001
    (0.12345, 0.1234, 0.1235),
    (0.1234, 0.1234, 0.1234),
    (250_000.019, 250_000.01, 250_000.02),
])
def test_ticks(price, down, up):
    assert rules.floor_to_tick(price) == down
    assert rules.ceil_to_tick(price) == up


def test_a_price_that_is_missing_stays_missing():
    """A leg that does not exist is NaN; a number would be an order."""
    assert math.isnan(rules.floor_to_tick(NAN))
    assert math.isnan(rules.ceil_to_tick(NAN))
    assert math.isnan(rules.split_price(LONG, NAN, 2.0, True))


@pytest.mark.parametrize(("side", "close", "stop", "target"), [
    (LONG, 110.0, 104.50, 121.00),       # 110 * .95 and 110 * 1.1, both on a tick
    (LONG, 123.45, 117.27, 135.80),      # 117.2775 down, 135.795 up
    (SHORT, 123.45, 129.63, 111.10),     # 129.6225 up, 111.105 down
    (LONG, 0.8765, 0.8326, 0.9642),      # 0.832675 down, 0.96415 up
    (SHORT, 0.8765, 0.9204, 0.7888),     # 0.920325 up, 0.78885 down
    (LONG, 1.04, 0.9880, 1.15),          # 0.988 has the fine tick, 1.144 the coarse one
    (LONG, 0.95, 0.9025, 1.05),          # 1.045 is above a dollar: 1.05
])
def test_legs_at_5_and_10_percent(side, close, stop, target):
    assert rules.stop_leg_price(side, close, 5.0) == stop
    assert rules.target_leg_price(side, close, 10.0) == target


@pytest.mark.parametrize(("stop", "cap"), [
    (49.99, 51.98),   # 49.99 * 1.04 = 51.9896
    (50.00, 51.25),   # 50 * 1.025
    (52.50, 53.81),   # 52.50 * 1.025 = 53.8125
    (10.00, 10.40),
    (0.50, 0.52),
])
def test_a_buy_stop_is_capped_and_a_sell_stop_is_not(stop, cap):
    assert rules.stop_cap(rules.BUY, stop) == cap
    assert rules.stop_cap(rules.SELL, stop) == 0.0


@pytest.mark.parametrize(("price", "rounded"), [
    (100.02, 100.02), (100.27005, 100.2701), (100.270049, 100.2700), (49.989998, 49.99), (0.12344999, 0.1234),
])
def test_fills_have_four_decimals_half_up(price, rounded):
    assert rules.round_fill(price) == rounded


def test_slippage_is_against_us():
    assert rules.slipped(rules.BUY, 100.0, 2.0, 0.0, 1.0, NAN) == pytest.approx(100.02, abs=1e-12)
    assert rules.slipped(rules.SELL, 100.0, 2.0, 0.0, 1.0, NAN) == pytest.approx(99.98, abs=1e-12)


def test_slippage_by_share_of_volume():
    # A tenth of the volume: 100 bps * 0.1 ** 2 = 1 bp more.
    assert rules.slipped(rules.BUY, 100.0, 2.0, 100.0, 1_000.0, 10_000.0) == pytest.approx(100.03, abs=1e-12)
    # Half of it: 100 * 0.25 = 25 bps.
    assert rules.slipped(rules.SELL, 100.0, 0.0, 100.0, 5_000.0, 10_000.0) == pytest.approx(99.75, abs=1e-12)
    assert rules.slipped(rules.SELL, 100.0, 0.0, 100.0, 5_000.0, NAN) == 100.0


def test_a_fill_slips_only_where_it_may():
    # 100.25 * 1.0002 = 100.27005, rounded half up.
    assert rules.fill_price(rules.BUY, 100.25, True, 0.0, 2.0, 0.0, 10.0, NAN) == 100.2701
    assert rules.fill_price(rules.BUY, 100.25, False, 0.0, 2.0, 0.0, 10.0, NAN) == 100.25
    # A buy stop never pays more than its cap.
    assert rules.fill_price(rules.BUY, 51.24, True, 51.25, 50.0, 0.0, 10.0, NAN) == 51.25


# --- Sizes ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("weight", "equity", "price", "shares"), [
    (0.10, 100_000.0, 33.33, 300.0),    # 300.03
    (-0.10, 100_000.0, 33.33, 300.0),   # the side is told elsewhere
    (0.29, 100_000.0, 290.0, 100.0),    # 0.29 * 100,000 is 28999.999999999996 in binary, and means 29,000
    (0.07, 100_000.0, 70.0, 100.0),
    (0.10, 999.0, 100.0, 0.0),          # 0.999 of a share
    (0.0, 100_000.0, 10.0, 0.0),
    (0.10, -5.0, 10.0, 0.0),
    (0.10, NAN, 10.0, 0.0),
    (0.10, 100_000.0, NAN, 0.0),
    (0.10, 100_000.0, 0.0, 0.0),
    (NAN, 100_000.0, 10.0, 0.0),
])
def test_whole_shares(weight, equity, price, shares):
    assert rules.target_quantity(weight, equity, price, False) == shares


def test_fractional_shares_have_nine_decimals():
    # 10,000 / 33.33 = 300.0300030003...
    assert rules.target_quantity(0.10, 100_000.0, 33.33, True) == pytest.approx(300.030003000, abs=1e-12)
    # 10,000 / 30 = 333.3333...
    assert rules.target_quantity(0.10, 100_000.0, 30.0, True) == pytest.approx(333.333333333, abs=1e-12)


@pytest.mark.parametrize(("volume", "cap", "shares"), [
    (12_345.0, 10.0, 1_234.0), (12_345.0, 100.0, 12_345.0), (9.0, 10.0, 0.0), (0.0, 10.0, 0.0), (NAN, 10.0, 0.0),
    (12_345.0, math.inf, math.inf),
])
def test_participation(volume, cap, shares):
    assert rules.participation_quantity(volume, cap, False) == shares


# --- What a bar fills -------------------------------------------------------------------------------------------------

NOTHING = (rules.NOT_FILLED, 0.0, False)


@pytest.mark.parametrize(("kind", "side", "open_", "limit", "stop", "triggered", "expected"), [
    (rules.MARKET, rules.BUY, 100.0, 0.0, 0.0, False, (rules.FILLED, 100.0, True)),
    (rules.MARKET, rules.BUY, NAN, 0.0, 0.0, False, NOTHING),
    (rules.LIMIT, rules.BUY, 99.0, 100.0, 0.0, False, (rules.FILLED, 99.0, False)),   # better than asked
    (rules.LIMIT, rules.BUY, 100.0, 100.0, 0.0, False, (rules.FILLED, 100.0, False)),
    (rules.LIMIT, rules.BUY, 100.01, 100.0, 0.0, False, NOTHING),
    (rules.LIMIT, rules.SELL, 101.0, 100.0, 0.0, False, (rules.FILLED, 101.0, False)),
    (rules.LIMIT, rules.SELL, 99.99, 100.0, 0.0, False, NOTHING),
    (rules.LIMIT, rules.SELL, NAN, 100.0, 0.0, False, NOTHING),
    (rules.STOP, rules.SELL, 94.0, 0.0, 95.0, False, (rules.FILLED, 94.0, True)),     # gapped through
    (rules.STOP, rules.SELL, 95.0, 0.0, 95.0, False, (rules.FILLED, 95.0, True)),
    (rules.STOP, rules.SELL, 95.01, 0.0, 95.0, False, NOTHING),
    (rules.STOP, rules.SELL, 96.0, 0.0, 95.0, True, (rules.FILLED, 96.0, True)),      # a market order by now
    (rules.STOP, rules.BUY, 105.0, 107.62, 105.0, False, (rules.FILLED, 105.0, True)),
    (rules.STOP, rules.BUY, 107.62, 107.62, 105.0, False, (rules.FILLED, 107.62, True)),
    (rules.STOP, rules.BUY, 107.63, 107.62, 105.0, False, (rules.TRIGGERED, 0.0, False)),
    (rules.STOP, rules.BUY, 107.0, 107.62, 105.0, True, (rules.FILLED, 107.0, False)),  # a limit order by now
    (rules.STOP, rules.BUY, 108.0, 107.62, 105.0, True, NOTHING),
    (rules.STOP, rules.BUY, 104.99, 107.62, 105.0, False, NOTHING),
])
def test_the_open(kind, side, open_, limit, stop, triggered, expected):
    assert rules.fill_at_open(kind, side, open_, limit, stop, triggered) == expected


@pytest.mark.parametrize(("kind", "side", "high", "low", "limit", "stop", "triggered", "expected"), [
    (rules.LIMIT, rules.BUY, 105.0, 100.0, 100.0, 0.0, False, (rules.FILLED, 100.0, False)),
    (rules.LIMIT, rules.BUY, 105.0, 100.01, 100.0, 0.0, False, NOTHING),
    (rules.LIMIT, rules.SELL, 110.0, 100.0, 110.0, 0.0, False, (rules.FILLED, 110.0, False)),
    (rules.LIMIT, rules.SELL, 109.99, 100.0, 110.0, 0.0, False, NOTHING),
    (rules.STOP, rules.SELL, 99.0, 95.0, 0.0, 95.0, False, (rules.FILLED, 95.0, True)),
    (rules.STOP, rules.SELL, 99.0, 95.01, 0.0, 95.0, False, NOTHING),
    (rules.STOP, rules.BUY, 105.0, 99.0, 107.62, 105.0, False, (rules.FILLED, 105.0, True)),
    (rules.STOP, rules.BUY, 104.99, 99.0, 107.62, 105.0, False, NOTHING),
    (rules.STOP, rules.BUY, 110.0, 107.62, 107.62, 105.0, True, (rules.FILLED, 107.62, False)),
    (rules.STOP, rules.BUY, 110.0, 107.63, 107.62, 105.0, True, NOTHING),
    (rules.LIMIT, rules.BUY, NAN, NAN, 100.0, 0.0, False, NOTHING),
    (rules.STOP, rules.SELL, NAN, NAN, 0.0, 95.0, False, NOTHING),
    (rules.MARKET, rules.BUY, 105.0, 95.0, 0.0, 0.0, False, NOTHING),  # its moment was the open
])
def test_within_the_bar(kind, side, high, low, limit, stop, triggered, expected):
    assert rules.fill_within(kind, side, high, low, limit, stop, triggered) == expected


# --- Costs ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("amount", "cents"), [
    (0.0, 0.0), (0.000051, 0.01), (0.01, 0.01), (0.010001, 0.02), (2.85, 2.85), (0.07 * 100, 7.0), (1.1 * 3, 3.3),
    (2.506, 2.51),
])
def test_fees_round_up_to_the_cent(amount, cents):
    assert rules.cents_up(amount) == cents


@pytest.mark.parametrize(("quantity", "price", "bps", "per_share", "minimum", "paid"), [
    (200, 50.0, 5.0, 0.0, 0.0, 5.0),       # 10,000 * 5 bps
    (200, 50.0, 0.0, 0.005, 0.0, 1.0),     # 200 * half a cent
    (200, 50.0, 5.0, 0.005, 0.0, 6.0),
    (20, 50.0, 0.0, 0.005, 1.0, 1.0),      # 0.10, but at least 1.00
    (200, 50.0, 0.0, 0.0, 0.0, 0.0),
])
def test_commission(quantity, price, bps, per_share, minimum, paid):
    assert rules.commission(float(quantity), price, bps, per_share, minimum) == pytest.approx(paid, abs=1e-12)


@pytest.mark.parametrize(("date", "side", "quantity", "price", "fees"), [
    ("2024-06-03", rules.SELL, 200, 50.0, 0.32),       # SEC 10,000 * 27.80e-6 = 0.278 -> .28; TAF 200 * .000166 -> .04
    ("2024-06-03", rules.BUY, 200, 50.0, 0.0),         # no CAT fee yet
    ("2025-06-02", rules.SELL, 100, 50.0, 0.02),       # SEC 0.00 since 2025-05-14; TAF .0166 -> .02
    ("2023-06-01", rules.SELL, 200_000, 5.0, 15.27),   # SEC 8.00; TAF 29.00, at most 7.27
    ("2013-09-03", rules.SELL, 200_000, 5.0, 23.35),   # SEC 17.40; TAF 23.80, at most 5.95
    ("2026-09-04", rules.SELL, 17, 1190.51 / 17, 0.05),  # as Alpaca booked it: .03 + .01 + CAT .01
    ("2026-09-04", rules.BUY, 17, 1190.51 / 17, 0.01),   # CAT on buys too
    ("2001-06-01", rules.SELL, 100, 50.0, 0.17),       # SEC 5,000 / 30,000 = 0.1667 -> .17; no TAF before 2002
])
def test_regulatory_fees_with_the_rates_of_the_day(date, side, quantity, price, fees):
    rates = fee_rates(np.array([date], "datetime64[D]"))
    paid = rules.regulatory_fees(side, float(quantity), price, rates.sec_rate[0], rates.taf_per_share[0],
                                 rates.taf_max[0], rates.cat_per_share[0])
    assert paid == pytest.approx(fees, abs=1e-9)


def test_interest_is_simple_on_360_days():
    assert rules.interest(10_000.0, 7.2, 3) == pytest.approx(6.0)  # 10,000 * .072 * 3 / 360


# --- Buying power -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("side", "kind", "limit", "needed"), [
    (rules.BUY, rules.MARKET, 0.0, 1_000.0),
    (rules.BUY, rules.LIMIT, 95.0, 950.0),
    (rules.BUY, rules.STOP, 112.75, 1_127.5),   # at the cap
    (rules.SELL, rules.MARKET, 0.0, 1_030.0),   # Alpaca: 3 % above the last price
    (rules.SELL, rules.LIMIT, 110.0, 1_100.0),
    (rules.SELL, rules.LIMIT, 90.0, 1_030.0),
])
def test_what_ten_shares_at_100_reserve(side, kind, limit, needed):
    assert rules.reserve(side, 10.0, kind, 100.0, limit) == pytest.approx(needed)


@pytest.mark.parametrize(("cash", "percent", "cash_account", "left"), [
    (40_000.0, 100.0, False, 30_000.0),   # 100,000 - 60,000 - 10,000
    (40_000.0, 200.0, False, 130_000.0),
    (20_000.0, 100.0, True, 10_000.0),    # the cash, less what is reserved
    (90_000.0, 100.0, True, 30_000.0),    # a cash account keeps to the exposure limit too
])
def test_buying_power(cash, percent, cash_account, left):
    assert rules.buying_power(cash, 100_000.0, 60_000.0, 10_000.0, percent, cash_account) == pytest.approx(left)


@pytest.mark.parametrize(("needed", "available", "does"), [
    (1_000.0, 1_000.0, True), (1_000.0000000001, 1_000.0, True), (1_000.01, 1_000.0, False), (1.0, -5.0, False),
    (NAN, 1_000.0, False), (1.0, NAN, False),
])
def test_an_order_fits_or_does_not(needed, available, does):
    assert rules.fits(needed, available) is does


# --- Corporate actions ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("quantity", "ratio", "last", "shares", "cash"), [
    (101.0, 2.0, 90.0, 202.0, 0.0),
    (101.0, 1.5, 90.0, 151.0, 30.0),   # 151.5; half a new share of 90 / 1.5 = 60
    (105.0, 0.1, 2.0, 10.0, 10.0),     # 10.5; half a new share of 20
    (5.0, 0.1, 2.0, 0.0, 10.0),
    (300.0, 0.1, 2.0, 30.0, 0.0),      # 300 * 0.1 is 30.000000000000004 in binary
])
def test_splits_pay_the_odd_part_of_a_share_in_cash(quantity, ratio, last, shares, cash):
    assert rules.split_quantity(quantity, ratio, False) == shares
    paid = rules.split_cash_in_lieu(quantity, ratio, last, False)
    assert paid == pytest.approx(cash, abs=1e-9)
    assert shares * last / ratio + paid == pytest.approx(quantity * last)  # the value stays


def test_fractional_holdings_split_whole():
    assert rules.split_quantity(101.0, 1.5, True) == 151.5
    assert rules.split_cash_in_lieu(101.0, 1.5, 90.0, True) == 0.0


@pytest.mark.parametrize(("side", "is_stop", "price", "after"), [
    (LONG, True, 95.01, 47.50),     # 47.505 down
    (LONG, False, 110.01, 55.01),   # 55.005 up
    (SHORT, True, 105.01, 52.51),
    (SHORT, False, 90.01, 45.00),
])
def test_legs_after_a_two_for_one_split(side, is_stop, price, after):
    assert rules.split_price(side, price, 2.0, is_stop) == after


# --- Stop-limit orders and legs that come too late --------------------------------------------------------------------

@pytest.mark.parametrize(("side", "open_", "limit", "stop", "triggered", "expected"), [
    (-1, 94.0, 93.0, 95.0, False, (rules.FILLED, 94.0, True)),
    (-1, 92.0, 93.0, 95.0, False, (rules.TRIGGERED, 0.0, False)),   # the open is below its limit
    (-1, 96.0, 93.0, 95.0, False, (rules.NOT_FILLED, 0.0, False)),
    (-1, 93.5, 93.0, 95.0, True, (rules.FILLED, 93.5, False)),      # by now a limit order: better than asked
    (-1, 92.9, 93.0, 95.0, True, (rules.NOT_FILLED, 0.0, False)),
    (1, 104.0, 0.0, 105.0, True, (rules.FILLED, 104.0, True)),      # without a cap it is a market order
])
def test_a_stop_limit_at_the_open(side, open_, limit, stop, triggered, expected):
    assert rules.fill_at_open(rules.STOP, side, open_, limit, stop, triggered) == expected


@pytest.mark.parametrize(("side", "high", "low", "limit", "stop", "triggered", "expected"), [
    (-1, 99.0, 94.0, 93.0, 95.0, False, (rules.FILLED, 95.0, True)),
    (-1, 99.0, 94.0, 96.0, 95.0, False, (rules.TRIGGERED, 0.0, False)),  # did the price come back to 96? not known
    (-1, 97.0, 94.0, 96.0, 95.0, True, (rules.FILLED, 96.0, False)),
    (1, 106.0, 99.0, 104.0, 105.0, False, (rules.TRIGGERED, 0.0, False)),
    (1, 106.0, 103.0, 104.0, 105.0, True, (rules.FILLED, 104.0, False)),
])
def test_a_stop_limit_within_the_bar(side, high, low, limit, stop, triggered, expected):
    assert rules.fill_within(rules.STOP, side, high, low, limit, stop, triggered) == expected


def test_slippage_ends_at_a_stop_limits_limit():
    assert rules.fill_price(-1, 95.0, True, 94.99, 100.0, 0.0, 10.0, 1e6) == 94.99  # 94.05 without a limit
    assert rules.fill_price(-1, 95.0, True, 0.0, 100.0, 0.0, 10.0, 1e6) == 94.05


@pytest.mark.parametrize(("side", "price", "stop", "target", "passed"), [
    (1, 100.0, 95.0, 110.0, -1), (1, 95.01, 95.0, 110.0, -1),
    (1, 95.0, 95.0, 110.0, rules.STOP), (1, 94.0, 95.0, 110.0, rules.STOP), (1, 109.99, 95.0, 110.0, -1),
    (1, 110.0, 95.0, 110.0, rules.LIMIT), (-1, 105.0, 105.0, 90.0, rules.STOP), (-1, 90.0, 105.0, 90.0, rules.LIMIT),
    (-1, 100.0, 105.0, 90.0, -1), (1, 100.0, float("nan"), float("nan"), -1), (1, 0.5, 0.495, 0.6, rules.STOP),
])
def test_a_leg_is_placed_a_cent_away(side, price, stop, target, passed):
    assert rules.leg_passed(side, price, stop, target) == passed
