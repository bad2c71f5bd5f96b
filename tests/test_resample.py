"""Longer bars, worked out by hand: anchored at the open, half days and daylight saving right, never across sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bar_helpers import NEW_YORK, closes, rows, table, warned

from botlib.bars import Bars
from botlib.errors import DataError, InputError


def minutes(day: str, first: str, last: str, step: str = "1min") -> list[str]:
    return [f"{t:%Y-%m-%d %H:%M}" for t in pd.date_range(f"{day} {first}", f"{day} {last}", freq=step)]


def session(day: str, close: str = "15:59", start: float = 1.0) -> pd.DataFrame:
    """Minute bars 09:30 to ``close``: close = start + k / 1000, open the same, high + 1, low - 0.5, volume k."""
    times = minutes(day, "09:30", close)
    prices = [start + k / 1000 for k in range(len(times))]
    return rows("X", times, [(round(p, 3), round(p + 1, 3), round(p - 0.5, 3), round(p, 3), float(k))
                             for k, p in enumerate(prices)])


def labels(bars: Bars) -> list[str]:
    return [f"{t:%m-%d %H:%M}" for t in bars.index]


def test_five_minutes_by_hand() -> None:
    prices = [(10.0, 12.0, 9.0, 11.0, 100.0), (11.0, 11.5, 8.0, 8.5, 50.0), (8.5, 13.0, 8.5, 12.0, 25.0),
              (12.0, 12.5, 11.0, 11.5, 10.0), (11.5, 11.6, 11.4, 11.5, 5.0),
              (20.0, 21.0, 19.0, 20.5, 1.0), (20.5, 22.0, 20.0, 21.0, 2.0), (21.0, 21.0, 18.0, 18.5, 3.0),
              (18.5, 19.0, 18.0, 19.0, 4.0), (19.0, 19.5, 19.0, 19.2, 5.0)]
    bars = Bars.from_frame(rows("X", minutes("2012-07-02", "09:30", "09:39"), prices).assign(VIX=np.arange(10.0)))
    made = bars.resample("5m")
    assert labels(made) == ["07-02 09:30", "07-02 09:35"]
    np.testing.assert_array_equal(made.open[:, 0], [10.0, 20.0])
    np.testing.assert_array_equal(made.high[:, 0], [13.0, 22.0])
    np.testing.assert_array_equal(made.low[:, 0], [8.0, 18.0])
    np.testing.assert_array_equal(made.close[:, 0], [11.5, 19.2])
    np.testing.assert_array_equal(made.volume[:, 0], [190.0, 15.0])
    np.testing.assert_array_equal(made.extra["VIX"][:, 0], [4.0, 9.0])
    assert (made.interval, made.calendar, made.adjustment) == ("5m", "XNYS", "raw")
    assert made.findings.empty


def test_hours_start_at_the_open_and_half_days_end_early() -> None:
    frame = pd.concat([session("2012-07-02"), session("2012-07-03", "12:59"), session("2012-07-05")])
    made = Bars.from_frame(frame).resample("1h")
    full = ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"]
    days = [("07-02", full), ("07-03", full[:4]), ("07-05", full)]
    assert labels(made) == [f"{day} {time}" for day, times in days for time in times]
    # The last bin of July 2 holds 15:30 to 15:59 (minutes 360 to 389), that of July 3 holds 12:30 to 12:59.
    assert made.open[6, 0] == 1.360
    assert made.close[6, 0] == 1.389
    assert made.volume[6, 0] == sum(range(360, 390))
    assert made.close[10, 0] == 1.209
    assert f"{made.known_at[10]:%m-%d %H:%M}" == "07-03 13:00"
    assert made.last_session_bar.tolist() == [False] * 6 + [True] + [False] * 3 + [True] + [False] * 6 + [True]


def test_days() -> None:
    frame = pd.concat([session("2013-03-08"), session("2013-03-11", start=2.0)])  # clocks changed on the 10th
    made = Bars.from_frame(frame).resample("1d")
    assert made.index.equals(pd.DatetimeIndex(["2013-03-08", "2013-03-11"]).tz_localize(NEW_YORK))
    np.testing.assert_array_equal(made.open[:, 0], [1.0, 2.0])
    np.testing.assert_array_equal(made.close[:, 0], [1.389, 2.389])
    np.testing.assert_array_equal(made.high[:, 0], [2.389, 3.389])
    np.testing.assert_array_equal(made.low[:, 0], [0.5, 1.5])
    np.testing.assert_array_equal(made.volume[:, 0], [sum(range(390))] * 2)
    assert made.interval == "1d"


def test_bars_outside_regular_hours_are_left_out_with_a_warning() -> None:
    early = rows("X", minutes("2012-07-02", "09:00", "09:29"), [(99.0, 99.0, 99.0, 99.0, 1e6)] * 30)
    late = rows("X", ["2012-07-02 16:00"], [(99.0, 99.0, 99.0, 99.0, 1e6)])
    bars, _ = warned(lambda: Bars.from_frame(pd.concat([early, session("2012-07-02"), late])), "outside-session")
    made, (text,) = warned(lambda: bars.resample("1d"), "outside-session")
    assert text == "31 of 421 bars are outside regular hours and left out."
    assert made.high[0, 0] == 2.389


@pytest.mark.parametrize(("last", "interval", "kept"), [
    ("09:58", "5m", 5),  # 09:55 lacks its last minute
    ("09:59", "5m", 6),
    ("15:57", "1h", 6),
    ("15:58", "1d", 0),
])
def test_the_last_bin_is_left_out_when_it_is_not_complete(last: str, interval: str, kept: int) -> None:
    bars = Bars.from_frame(session("2012-07-02", last))
    if kept == 0:
        with pytest.raises(DataError, match="no complete bar of 1d can be made of 389 bars of 1m"):
            bars.resample(interval)
    elif last == "09:59":
        assert len(bars.resample(interval)) == kept
    else:
        made, (text,) = warned(lambda: bars.resample(interval), "incomplete-bar")
        assert len(made) == kept
        assert "do not reach its end" in text
        assert made.findings["check"].tolist() == ["incomplete-bar"]


def test_gaps_and_symbols_without_a_bar() -> None:
    x = closes("X", {"2012-07-02 09:31": 10.0, "2012-07-02 09:33": 12.0, "2012-07-02 09:44": 9.0})
    y = closes("Y", dict(zip(minutes("2012-07-02", "09:30", "09:33"), [5.0, 5.0, 6.0, 4.0], strict=True)))
    made = Bars.from_frame(pd.concat([x, y]), calendar=None).resample("5m")
    assert labels(made) == ["07-02 09:30", "07-02 09:40"]  # no bar at all from 09:35 to 09:39
    np.testing.assert_array_equal(made.open, [[10, 5], [9, np.nan]])
    np.testing.assert_array_equal(made.close, [[12, 4], [9, np.nan]])
    np.testing.assert_allclose(made.high, [[12.12, 6.06], [9.09, np.nan]])
    np.testing.assert_allclose(made.low, [[9.9, 3.96], [8.91, np.nan]])
    np.testing.assert_array_equal(made.volume, [[2000, 4000], [1000, np.nan]])


def test_without_a_calendar_bins_start_at_midnight() -> None:
    times = [f"{t:%Y-%m-%d %H:%M}" for t in pd.date_range("2012-07-07", "2012-07-08 23:30", freq="30min")]  # a weekend
    bars = Bars.from_frame(rows("BTC", times), calendar=None)
    assert labels(bars.resample("1h"))[:3] == ["07-07 00:00", "07-07 01:00", "07-07 02:00"]
    days = bars.resample("1d")
    assert labels(days) == ["07-07 00:00", "07-08 00:00"]
    assert days.volume[:, 0].tolist() == [4800.0, 4800.0]


def test_days_before_1970() -> None:
    times = [f"1969-12-31 {t}" for t in ("22:00", "23:00")] + ["1970-01-01 00:00", "1970-01-01 23:00"]
    made = Bars.from_frame(rows("OLD", times), calendar=None).resample("1d")
    assert made.volume[:, 0].tolist() == [200.0, 200.0]


def test_actions_and_adjustment_are_kept() -> None:
    frame = pd.concat([session("2012-07-02", start=20.0), session("2012-07-03", "12:59", start=10.0)])
    bars = Bars.from_frame(frame, actions=table(("X", "2012-07-03", "split", 2.0)))
    one = bars.resample("1d").adjusted(how="split")
    other = bars.adjusted(how="split").resample("1d")
    np.testing.assert_array_equal(one.close, other.close)
    assert other.adjustment == "split"


def test_intervals_that_cannot_be() -> None:
    bars = Bars.from_frame(session("2012-07-02")).resample("5m")
    assert bars.resample("5m") is bars
    with pytest.raises(InputError, match=r"interval = '1m' is shorter than that of the bars \('5m'\)"):
        bars.resample("1m")
    with pytest.raises(InputError, match="interval = '2h' is unknown"):
        bars.resample("2h")
    with pytest.raises(InputError, match="shorter"):
        bars.resample("1d").resample("1h")


@pytest.mark.parametrize("through", ["5m", "15m", "30m", "1h"])
def test_two_steps_give_what_one_gives(through: str) -> None:
    frame = pd.concat([session("2012-07-02"), session("2012-07-03", "12:59")])
    bars = Bars.from_frame(frame)
    assert bars.resample(through).resample("1d").data_hash() == bars.resample("1d").data_hash()
