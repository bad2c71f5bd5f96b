"""Regulatory fees by date, against published rates, published examples and booked account statements."""

from __future__ import annotations

import warnings
from decimal import ROUND_CEILING, Decimal

import numpy as np
import pytest

from botlib.errors import BotlibWarning, InputError
from botlib.fees import fee_rates, load_fee_table, warn_uncovered


def on(*dates):
    return fee_rates(np.array(dates, "datetime64[D]"))


def up(amount):
    """The amount in dollars, rounded up to the cent."""
    return Decimal(repr(round(float(amount), 10))).quantize(Decimal("0.01"), ROUND_CEILING)


# The SEC's announcements: the last day of the old rate, the first of the new one, both in dollars per million.
SEC_CHANGES = [
    ("2001-12-27", 100 / 3, "2001-12-28", 15.00),
    ("2002-03-28", 15.00, "2002-04-01", 30.10),
    ("2003-03-21", 30.10, "2003-03-24", 25.20),
    ("2003-03-31", 25.20, "2003-04-01", 46.80),
    ("2004-02-20", 46.80, "2004-02-23", 39.00),
    ("2004-03-31", 39.00, "2004-04-01", 23.40),
    ("2005-01-06", 23.40, "2005-01-07", 32.90),
    ("2005-03-31", 32.90, "2005-04-01", 41.80),
    ("2005-12-21", 41.80, "2005-12-22", 30.70),
    ("2007-03-16", 30.70, "2007-03-19", 15.30),
    ("2008-01-24", 15.30, "2008-01-25", 11.00),
    ("2008-03-31", 11.00, "2008-04-01", 5.60),
    ("2009-04-09", 5.60, "2009-04-13", 25.70),
    ("2010-01-14", 25.70, "2010-01-15", 12.70),
    ("2010-03-31", 12.70, "2010-04-01", 16.90),
    ("2011-01-20", 16.90, "2011-01-21", 19.20),
    ("2012-02-17", 19.20, "2012-02-21", 18.00),
    ("2012-03-30", 18.00, "2012-04-02", 22.40),
    ("2013-05-24", 22.40, "2013-05-28", 17.40),
    ("2014-03-17", 17.40, "2014-03-18", 22.10),
    ("2015-02-13", 22.10, "2015-02-17", 18.40),
    ("2016-02-12", 18.40, "2016-02-16", 21.80),
    ("2017-07-03", 21.80, "2017-07-05", 23.10),
    ("2018-05-21", 23.10, "2018-05-22", 13.00),
    ("2019-04-15", 13.00, "2019-04-16", 20.70),
    ("2020-02-14", 20.70, "2020-02-18", 22.10),
    ("2021-02-24", 22.10, "2021-02-25", 5.10),
    ("2022-05-13", 5.10, "2022-05-16", 22.90),
    ("2023-02-24", 22.90, "2023-02-27", 8.00),
    ("2024-05-21", 8.00, "2024-05-22", 27.80),
    ("2025-05-13", 27.80, "2025-05-14", 0.00),
    ("2026-04-02", 0.00, "2026-04-06", 20.60),
]


@pytest.mark.parametrize(("last", "old", "first", "new"), SEC_CHANGES)
def test_sec_rate_changes_on_its_day(last, old, first, new):
    np.testing.assert_allclose(on(last, first).sec_rate * 1e6, [old, new], rtol=1e-10)


# NASD and FINRA notices: rate per share sold, maximum per trade.
TAF_CHANGES = [
    ("2004-10-29", 0.0001, 10.00, "2004-11-01", 0.000075, 3.75),
    ("2011-06-30", 0.000075, 3.75, "2011-07-01", 0.000090, 4.50),
    ("2012-02-29", 0.000090, 4.50, "2012-03-01", 0.000095, 4.75),
    ("2012-06-29", 0.000095, 4.75, "2012-07-02", 0.000119, 5.95),
    ("2021-12-31", 0.000119, 5.95, "2022-01-03", 0.000130, 6.49),
    ("2022-12-30", 0.000130, 6.49, "2023-01-03", 0.000145, 7.27),
    ("2023-12-29", 0.000145, 7.27, "2024-01-02", 0.000166, 8.30),
    ("2025-12-31", 0.000166, 8.30, "2026-01-02", 0.000195, 9.79),
    ("2026-09-30", 0.000195, 9.79, "2026-10-01", 0.0, np.inf),
]


@pytest.mark.parametrize(("last", "old", "old_max", "first", "new", "new_max"), TAF_CHANGES)
def test_taf_changes_on_its_day(last, old, old_max, first, new, new_max):
    rates = on(last, first)
    np.testing.assert_array_equal(rates.taf_per_share, [old, new])
    np.testing.assert_array_equal(rates.taf_max, [old_max, new_max])


def test_there_was_no_taf_before_october_2002_and_no_cat_before_september_2024():
    rates = on("2000-01-03", "2002-09-30", "2024-08-30")
    assert rates.taf_per_share[:2].tolist() == [0.0, 0.0]
    assert rates.cat_per_share.tolist() == [0.0, 0.0, 0.0]
    assert rates.uncovered == []


def test_published_example_of_a_broker_2023():
    """Interactive Brokers' pricing page of 2023: sell 200,000 shares at $5: SEC fee 8.00, TAF 7.27 (the maximum)."""
    rates = on("2023-06-01")
    assert up(200_000 * 5.0 * rates.sec_rate[0]) == Decimal("8.00")
    assert up(min(200_000 * rates.taf_per_share[0], rates.taf_max[0])) == Decimal("7.27")


def test_published_example_of_a_broker_2013():
    """The same page in 2013: SEC fee 17.40, TAF 5.95."""
    rates = on("2013-09-03")
    assert up(200_000 * 5.0 * rates.sec_rate[0]) == Decimal("17.40")
    assert up(min(200_000 * rates.taf_per_share[0], rates.taf_max[0])) == Decimal("5.95")


def test_published_example_of_a_broker_2017():
    """Motif's page of regulatory fees, 2017: $10,000 sold cost 0.231, rounded up to the cent."""
    assert up(10_000.0 * on("2017-09-01").sec_rate[0]) == Decimal("0.24")


def test_fees_booked_by_alpaca_on_one_sale():
    """Alpaca statement, 2026-09-04: 17 shares sold for $1,190.51: REG 0.03, TAF 0.01, CAT 0.01."""
    rates = on("2026-09-04")
    assert up(1190.51 * rates.sec_rate[0]) == Decimal("0.03")
    assert up(17 * rates.taf_per_share[0]) == Decimal("0.01")
    assert up(17 * rates.cat_per_share[0]) == Decimal("0.01")


def test_fees_booked_by_alpaca_on_a_day_of_many_trades():
    """Alpaca statement, 2026-09-08: $185,271.37 and 1,572 shares sold: REG 3.82, TAF 0.31 (sums of the day)."""
    rates = on("2026-09-08")
    assert up(185_271.37 * rates.sec_rate[0]) == Decimal("3.82")
    assert up(1_572 * rates.taf_per_share[0]) == Decimal("0.31")


def test_taf_maximum_of_2026_binds_at_the_share_count_alpaca_states():
    """Alpaca's fee schedule: at most $9.79 a trade, "capped at 50,205 shares or more"."""
    rates = on("2026-09-04")
    assert 50_204 * rates.taf_per_share[0] < rates.taf_max[0] <= up(50_205 * rates.taf_per_share[0])


def test_a_stretch_without_a_verified_rate_costs_nothing_and_is_named():
    rates = on("2024-08-30", "2024-09-03", "2025-08-04", "2026-04-30", "2026-05-01")
    assert rates.cat_per_share.tolist() == [0.0, 0.0, 0.0, 0.0, 0.000003]
    assert rates.uncovered == ["CAT fee: no verified rate for 2024-09-03 to 2026-04-30; counted as 0 there."]
    taf = on("2002-09-30", "2003-01-02", "2003-09-02")
    assert taf.taf_per_share.tolist() == [0.0, 0.0, 0.0001]
    assert taf.taf_max.tolist() == [np.inf, np.inf, 10.0]
    assert taf.uncovered == ["TAF: no verified rate for 2003-01-02; counted as 0 there."]


def test_dates_before_the_table_are_uncovered():
    rates = on("1999-12-31", "2000-01-03")
    assert rates.sec_rate[0] == 0.0 and rates.sec_rate[1] > 0.0
    assert [s.split(":")[0] for s in rates.uncovered] == ["SEC fee", "TAF", "CAT fee"]
    assert all("1999-12-31;" in s for s in rates.uncovered)


def test_after_the_last_check_the_announced_rate_is_kept_and_said():
    rates = on("2026-10-08", "2031-01-02")
    np.testing.assert_array_equal(rates.sec_rate, [20.6e-6, 20.6e-6])
    assert rates.taf_per_share.tolist() == [0.0, 0.000195]
    assert len(rates.uncovered) == 3
    assert all("confirmed until" in s and "kept for 2031-01-02" in s for s in rates.uncovered)


def test_one_named_warning_for_a_backtest():
    with pytest.warns(BotlibWarning) as caught:
        warn_uncovered(on("2003-01-02", "2025-01-02"))
    assert [w.message.name for w in caught] == ["fees-uncovered"]
    text = caught[0].message.message
    assert "TAF: no verified rate for 2003-01-02" in text and "CAT fee: no verified rate for 2025-01-02" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_uncovered(on("2010-05-20"))


def test_days_since_1970_minutes_and_any_order_give_the_same_rates():
    dates = np.arange("1999-06-01", "2027-06-01", dtype="datetime64[D]")
    daily = fee_rates(dates)
    shuffled = np.random.default_rng(7).permutation(dates.size)
    as_days = dates.astype(np.int32)
    minutes = fee_rates(np.repeat(as_days, 3))
    for name in ("sec_rate", "taf_per_share", "taf_max", "cat_per_share"):
        column = getattr(daily, name)
        assert column.dtype == np.float64 and column.flags.c_contiguous
        np.testing.assert_array_equal(getattr(fee_rates(as_days[shuffled][:500]), name), column[shuffled][:500])
        np.testing.assert_array_equal(getattr(minutes, name), np.repeat(column, 3))
    assert minutes.uncovered == daily.uncovered and len(daily.uncovered) == 8
    exact = fee_rates(dates.astype("datetime64[ns]"))
    np.testing.assert_array_equal(exact.sec_rate, daily.sec_rate)


def test_no_dates_no_rates():
    rates = fee_rates(np.zeros(0, np.int32))
    assert rates.sec_rate.shape == rates.taf_max.shape == (0,) and rates.uncovered == []


@pytest.mark.parametrize(
    "dates",
    [np.array([1.0]), np.array([["2020-01-02"]], "datetime64[D]"), np.array(["NaT"], "datetime64[D]"), ["2020-01-02"]],
)
def test_what_is_not_dates_is_refused(dates):
    with pytest.raises(InputError, match=r"^dates .*bars\.sessions"):
        fee_rates(dates)


def test_every_row_of_the_table_can_be_checked():
    table = load_fee_table()
    assert set(table["fee"]) == {"sec", "taf", "cat"}
    units = table.groupby("fee")["unit"].unique().map(list).to_dict()
    assert units == {"sec": ["usd_per_million_usd_sold"], "taf": ["usd_per_share_sold"], "cat": ["usd_per_share"]}
    assert not table.duplicated(["fee", "effective_from"]).any()
    assert table["rate"].ge(0).all() and table["source"].str.contains(r"\d{4}").all()
    assert not table["source"].str.contains("http").any()
    assert table.loc[table["rate"].gt(0) & table["fee"].eq("taf"), "maximum"].gt(0).all()
    table["rate"] = -1.0
    assert load_fee_table()["rate"].ge(0).all()  # a copy: the caller cannot change the cached table
