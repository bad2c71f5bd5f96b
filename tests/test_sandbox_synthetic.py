"""Bars made up within days, and the pace at which a replay runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import venue_helpers as helpers
from hypothesis import given
from hypothesis import strategies as st

from botlib.bars import FIELDS, Bars
from botlib.errors import InputError
from botlib.sandbox.clock import Pace
from botlib.sandbox.synthetic import intraday, is_synthetic
from botlib.sandbox.tape import Tape


def day(open_, high, low, close, volume, date="2024-03-04"):
    index = pd.DatetimeIndex([date]).as_unit("ns").tz_localize("America/New_York")
    panels = {n: np.array([[float(v)]]) for n, v in zip(FIELDS, (open_, high, low, close, volume), strict=True)}
    return Bars(index, ("AAPL",), **panels, interval="1d", calendar="XNYS")


prices = st.integers(1, 50_000).map(lambda cents: cents / 100.0)


@given(st.lists(prices, min_size=4, max_size=4), st.integers(0, 10**9), st.sampled_from(["5m", "15m", "30m", "1h"]),
       st.integers(0, 1000))
def test_a_day_put_together_again_is_the_day(four, volume, interval, seed):
    low, one, two, high = sorted(four)
    bars = day(one, high, low, two, volume)
    made = intraday(bars, interval, seed=seed)
    again = made.resample("1d")
    for field in FIELDS:
        assert getattr(again, field).tolist() == getattr(bars, field).tolist()
    assert (made.high >= np.maximum(made.open, made.close)).all()
    assert (made.low <= np.minimum(made.open, made.close)).all()
    assert (made.volume >= 0.0).all() and (made.volume % 1.0 == 0.0).all()
    ticks = np.where(made.close >= 1.0, 100.0, 10_000.0) * made.close
    assert np.allclose(ticks, np.round(ticks), atol=1e-6)


def test_labels_are_the_session_half_days_included():
    """2024-07-03 closes at 13:00: 210 minutes."""
    bars = day(10, 12, 9, 11, 1000, "2024-07-03")
    made = intraday(bars, "15m")
    assert len(made) == 14
    assert str(made.index[0]) == "2024-07-03 09:30:00-04:00" and str(made.index[-1]) == "2024-07-03 12:45:00-04:00"
    assert made.in_session.all()


def test_the_same_seed_makes_the_same_bars_whatever_lies_around():
    bars = helpers.daily(6)
    whole, tail = intraday(bars, "30m", seed=7), intraday(bars.select(["IBM"]).between("2024-03-07"), "30m", seed=7)
    assert np.array_equal(whole.select(["IBM"]).tail(len(tail)).close, tail.close)
    assert np.array_equal(whole.close, intraday(bars, "30m", seed=7).close)
    assert not np.array_equal(whole.close, intraday(bars, "30m", seed=8).close)


def test_a_day_without_a_bar_stays_empty():
    bars = helpers.daily(3)
    hole = {f: getattr(bars, f).copy() for f in FIELDS}
    for panel in hole.values():
        panel[1, 0] = np.nan
    made = intraday(Bars(bars.index, bars.symbols, **hole, interval="1d", calendar="XNYS"), "1h")
    assert np.isnan(made.close[7:14, 0]).all() and not np.isnan(made.close[7:14, 1]).any()


def test_a_day_of_one_price_is_flat():
    made = intraday(day(10, 10, 10, 10, 500), "5m")
    assert set(made.high.ravel()) == set(made.low.ravel()) == {10.0} and made.volume.sum() == 500


def test_the_label_stays_with_the_bars():
    bars = helpers.daily(4)
    made = intraday(bars, "30m")
    assert not is_synthetic(bars)
    for cut in (made, made.upto(9), made.tail(3), made.select(["IBM"]), made.resample("1h")):
        assert is_synthetic(cut)


@pytest.mark.parametrize(("interval", "seed", "words"), [
    ("1d", 0, "made within daily bars"), ("7m", 0, "unknown"), ("5m", -1, "seed"), ("5m", 1.5, "seed"),
])
def test_bad_input(interval, seed, words):
    with pytest.raises(InputError, match=words):
        intraday(helpers.daily(2), interval, seed=seed)


def test_only_daily_bars_with_a_calendar():
    with pytest.raises(InputError, match="daily bars"):
        intraday(helpers.intraday(10), "1m")


# --- pace ----------------------------------------------------------------------------------------

MINUTE = 60_000_000_000


def ns(text):
    return pd.Timestamp(text, tz="America/New_York").as_unit("ns").value


def test_virtual_time_runs_at_the_speed():
    """Bars of 5 minutes at 300 times the clock: one a second. History ends with the bar of 9:30."""
    pace = Pace(Tape(helpers.intraday(20)), 300.0)
    assert pace.virtual(0.0) == ns("2024-03-04 09:35")
    assert pace.virtual(1.0) == ns("2024-03-04 09:40")
    assert pace.virtual(2.5) == ns("2024-03-04 09:47:30")
    assert pace.wall(ns("2024-03-04 09:47:30")) == pytest.approx(2.5)
    assert pace.virtual(1e6) == ns("2024-03-04 11:10")  # the end of the last bar
    assert pace.wall(ns("2024-03-04 11:11")) == float("inf")


@pytest.mark.parametrize(("closed", "night"), [(0.0, 0.0), (2.0, 2.0), (None, 17.5 * 60 / 5)])
def test_a_night_takes_as_long_as_it_may(closed, night):
    """78 bars of the first day, 77 of them after the start; the market is closed for 17.5 hours."""
    pace = Pace(Tape(helpers.intraday(80)), 300.0, closed)
    assert pace.wall(ns("2024-03-04 16:00")) == pytest.approx(77.0)
    assert pace.wall(ns("2024-03-05 09:35")) == pytest.approx(77.0 + night + 1.0)
    assert pace.virtual(77.0 + night + 1.0) == ns("2024-03-05 09:35")
    if night == 0.0:
        assert pace.virtual(77.0) == ns("2024-03-05 09:30")


def test_a_daily_bar_lasts_from_the_open_until_it_is_final():
    pace = Pace(Tape(helpers.daily(3)), 3600.0, 0.5)
    assert pace.wall(ns("2024-03-05 09:30")) == pytest.approx(0.5)
    assert pace.wall(ns("2024-03-05 16:20")) == pytest.approx(0.5 + 410 / 60)


@pytest.mark.parametrize("speed", [0.5, -1.0, float("nan"), float("inf"), 1e9, True])
def test_a_speed_out_of_range(speed):
    with pytest.raises(InputError, match="speed"):
        Pace(Tape(helpers.intraday(5)), speed)


@pytest.mark.parametrize("closed", [-1.0, float("nan"), 1e9])
def test_a_night_out_of_range(closed):
    with pytest.raises(InputError, match="closed_seconds"):
        Pace(Tape(helpers.intraday(5)), 60.0, closed)
