"""Periods counted back from a last bar; dates worked out on a calendar of 2012 and 2013."""

from __future__ import annotations

import pandas as pd
import pytest

from botlib.errors import BotlibWarning, DataError, InputError
from botlib.providers.base import PERIODS
from botlib.providers.periods import of_period, period_start


@pytest.mark.parametrize(("last", "period", "start"), [
    ("2013-03-01", "1d", "2013-03-01"),
    ("2013-03-01", "5d", "2013-02-25"),  # Monday to Friday
    ("2013-02-19", "5d", "2013-02-12"),  # Presidents' Day on the 18th
    ("2012-10-31", "5d", "2012-10-23"),  # hurricane Sandy: Tue 23, Wed 24, Thu 25, Fri 26, Wed 31
    ("2013-03-01", "1mo", "2013-02-02"),
    ("2013-03-01", "3mo", "2012-12-02"),
    ("2013-03-01", "6mo", "2012-09-02"),
    ("2013-03-01", "1y", "2012-03-02"),
    ("2013-03-01", "2y", "2011-03-02"),
    ("2013-03-01", "5y", "2008-03-02"),
    ("2012-03-31", "1mo", "2012-03-01"),  # February 31 is February 29
])
def test_start(last: str, period: str, start: str) -> None:
    found = period_start(pd.Timestamp(last, tz="America/New_York"), period)
    assert found == pd.Timestamp(start, tz="America/New_York")


def test_an_intraday_label_counts_its_own_session() -> None:
    last = pd.Timestamp("2013-03-01 15:59", tz="America/New_York")
    assert period_start(last, "1d") == pd.Timestamp("2013-03-01", tz="America/New_York")


def test_thirty_sessions() -> None:
    # January 17 to 31 has 10 sessions (the 21st is a holiday), February 2013 has 19, March 1 is one more.
    found = period_start(pd.Timestamp("2013-03-01", tz="America/New_York"), "30d")
    assert found == pd.Timestamp("2013-01-17", tz="America/New_York")


def test_without_a_calendar_days_are_days() -> None:
    last = pd.Timestamp("2013-03-01", tz="UTC")
    assert period_start(last, "5d", calendar=None) == pd.Timestamp("2013-02-25", tz="UTC")
    assert period_start(pd.Timestamp("2013-03-04"), "5d", calendar=None) == pd.Timestamp("2013-02-28")


def test_a_weekend_label_is_counted_from_the_session_before() -> None:
    assert period_start(pd.Timestamp("2013-03-02"), "1d") == pd.Timestamp("2013-03-01")


def test_max_is_before_everything_and_longer_periods_start_earlier() -> None:
    last = pd.Timestamp("2013-03-01", tz="America/New_York")
    starts = [period_start(last, p) for p in ("1d", "5d", "1mo", "30d", "60d", "3mo", "6mo", "1y", "2y", "5y", "max")]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == len(PERIODS)
    assert starts[-1].year == 1900


def test_unknown_period() -> None:
    with pytest.raises(InputError, match=r"period = '1yr' is unknown; did you mean '1y'\?"):
        period_start(pd.Timestamp("2013-03-01"), "1yr")


def test_bars_of_a_period() -> None:
    """Sessions count back from the last bar of all symbols; one whose bars all lie before is a warning, as one without
    any is."""
    def part(*days: str) -> pd.DataFrame:
        return pd.DataFrame({"close": 1.0}, pd.DatetimeIndex(days, tz="America/New_York"))

    parts = {"NOW": part("2013-02-22", "2013-02-28", "2013-03-01"), "GONE": part("2013-02-21", "2013-02-22"),
             "NONE": part()}
    with pytest.warns(BotlibWarning, match="no 1d bars of GONE, NONE in the period 5d"):
        got = of_period(parts, provider="file", interval="1d", period="5d", causes="none")
    assert got.index.tolist() == [("NOW", day) for day in parts["NOW"].index[1:]]
    with pytest.raises(DataError, match="for NONE, 1d bars, period 5d: the cause"):
        of_period({"NONE": part()}, provider="file", interval="1d", period="5d", causes="the cause")
