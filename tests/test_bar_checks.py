"""`Bars.from_frame`: each check on a frame made by hand, once failing and once passing."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bar_helpers import NEW_YORK, checks, closes, rows, table, warned

from botlib.bar_jumps import unexplained
from botlib.bars import Bars
from botlib.errors import DataError, InputError

WEEK = ["2012-06-25", "2012-06-26", "2012-06-27", "2012-06-28", "2012-06-29"]  # five sessions
GOOD = (10.0, 11.0, 9.0, 10.0, 100.0)


def refused(frame: pd.DataFrame, error: type[Exception] = DataError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        Bars.from_frame(frame, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_row(at: int, values: tuple[float, ...]) -> pd.DataFrame:
    prices = [GOOD] * 5
    prices[at] = values  # type: ignore[call-overload]
    return rows("AAPL", WEEK, prices)


# --- a good frame -----------------------------------------------------------------------------------------------------

def test_a_good_frame_has_no_findings() -> None:
    bars = Bars.from_frame(pd.concat([rows("MSFT", WEEK), rows("AAPL", WEEK)]))
    assert bars.symbols == ("MSFT", "AAPL")  # as they come
    assert bars.shape == (5, 2)
    assert bars.interval == "1d"
    assert bars.calendar == "XNYS"
    assert bars.findings.empty
    assert list(bars.findings.columns) == ["symbol", "time", "check", "severity", "message"]
    assert bars.index.equals(pd.DatetimeIndex(WEEK).tz_localize(NEW_YORK))
    for name, value in zip(("open", "high", "low", "close", "volume"), GOOD, strict=True):
        panel = getattr(bars, name)
        assert panel.dtype == np.float64
        assert panel.flags.c_contiguous
        assert (panel == value).all()
        with pytest.raises(ValueError, match="read-only"):
            panel[0, 0] = 1.0


def test_the_callers_memory_is_not_shared() -> None:
    frame = rows("AAPL", WEEK)
    bars = Bars.from_frame(frame)
    frame.iloc[0, 3] = 10.5
    assert bars.close[0, 0] == 10.0


def test_a_single_symbols_frame() -> None:
    frame = rows("AAPL", WEEK).droplevel(0)
    assert Bars.from_frame(frame, symbol="AAPL").data_hash() == Bars.from_frame(rows("AAPL", WEEK)).data_hash()
    assert "symbol=" in refused(frame)
    assert "symbol = 'X'" in refused(rows("AAPL", WEEK), InputError, symbol="X")


@pytest.mark.parametrize("names", [["Open", "High", "Low", "Close", "Volume"],
                                   ["OPEN", "HIGH", "LOW", "CLOSE", "VOLUME"],
                                   ["volume", "Close", "low", "High", "OPEN"]])
def test_columns_in_any_case_and_order(names: list[str]) -> None:
    frame = rows("AAPL", WEEK)
    renamed = pd.DataFrame({n: frame[n.lower()] for n in names})
    assert Bars.from_frame(renamed).data_hash() == Bars.from_frame(frame).data_hash()


def test_levels_the_other_way_round_and_grouped_by_time() -> None:
    frame = pd.concat([rows("AAPL", WEEK), rows("MSFT", WEEK)])
    other = frame.swaplevel().sort_index()
    assert Bars.from_frame(other).data_hash() == Bars.from_frame(frame).data_hash()


def test_a_slice_of_a_frame_keeps_no_ghost_symbols_or_times() -> None:
    frame = pd.concat([rows("AAPL", WEEK), rows("MSFT", WEEK)])
    part = frame[(frame.index.get_level_values(0) == "MSFT") & (frame.index.get_level_values(1) > "2012-06-26")]
    bars = Bars.from_frame(part)  # its index still knows AAPL and all five days
    assert bars.symbols == ("MSFT",)
    assert len(bars) == 3


def test_a_symbol_listed_later_is_nan_before() -> None:
    bars = Bars.from_frame(pd.concat([rows("AAPL", WEEK), rows("FB", WEEK[3:])]))
    assert np.isnan(bars.close[:3, 1]).all()
    assert np.isnan(bars.volume[:3, 1]).all()
    assert (bars.close[3:, 1] == 10.0).all()
    assert bars.findings.empty


# --- columns ----------------------------------------------------------------------------------------------------------

def test_a_missing_column_is_named_with_its_nearest() -> None:
    text = refused(rows("AAPL", WEEK).rename(columns={"volume": "volumne"}))
    assert "no column 'volume'; did you mean 'volumne'?" in text


def test_two_columns_of_one_name() -> None:
    assert "two columns named 'close'" in refused(rows("AAPL", WEEK).assign(Close=1.0))


def test_columns_of_a_download_with_two_header_rows() -> None:
    frame = rows("AAPL", WEEK).droplevel(0)
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["AAPL"]])
    assert "two rows of column names" in refused(frame, symbol="AAPL")


def test_text_where_numbers_should_be() -> None:
    frame = rows("AAPL", WEEK).astype({"close": str})
    assert "column 'close' is not numeric" in refused(frame)


def test_further_numeric_columns_become_panels() -> None:
    frame = rows("AAPL", WEEK).assign(VIX=[20.0, np.nan, 19.0, 18.0, 17.0], trades=np.arange(5))
    bars = Bars.from_frame(frame)
    assert list(bars.extra) == ["VIX", "trades"]
    np.testing.assert_array_equal(bars.extra["VIX"][:, 0], [20.0, np.nan, 19.0, 18.0, 17.0])
    np.testing.assert_array_equal(bars.extra["trades"], np.arange(5.0)[:, None])
    with pytest.raises(ValueError, match="read-only"):
        bars.extra["VIX"][0, 0] = 1.0


def test_columns_that_are_left_out_are_named() -> None:
    frame = rows("AAPL", WEEK).assign(note="x")
    frame["Adj Close"] = 9.0
    bars, texts = warned(lambda: Bars.from_frame(frame), "ignored-column", "look-ahead-column")
    assert bars.extra == {}
    assert "'note'" in texts[0]
    assert "'Adj Close' is left out: it contains later splits" in texts[1]
    assert checks(bars) == ["ignored-column", "look-ahead-column"]


def test_nullable_numbers() -> None:
    frame = rows("AAPL", WEEK).convert_dtypes(dtype_backend="numpy_nullable")
    frame["flow"] = pd.array([1, None, 3, 4, 5], dtype="Int64")
    bars = Bars.from_frame(frame)
    assert bars.close[0, 0] == 10.0
    np.testing.assert_array_equal(bars.extra["flow"][:, 0], [1, np.nan, 3, 4, 5])


# --- index ------------------------------------------------------------------------------------------------------------

def test_no_rows() -> None:
    assert "no rows" in refused(rows("AAPL", WEEK).iloc[:0])


def test_naive_timestamps() -> None:
    text = refused(rows("AAPL", WEEK, zone=None))
    assert "timestamps are naive" in text
    assert 'tz_localize("America/New_York")' in text


def test_labels_that_are_no_timestamps() -> None:
    frame = rows("AAPL", WEEK).droplevel(0)
    for labels in (["a", "b", "c", "d", "e"], range(5)):
        assert "where timestamps should be" in refused(frame.set_index(pd.Index(labels)), symbol="AAPL")


def test_symbols_that_are_not_text() -> None:
    frame = rows("AAPL", WEEK).rename(index={"AAPL": True}, level=0)  # what YAML 1.1 makes of ON
    assert "symbol True is a bool" in refused(frame)


def test_rows_without_a_timestamp() -> None:
    frame = rows("AAPL", WEEK).droplevel(0)
    frame.index = frame.index.where(np.arange(5) != 2)
    assert "rows without a timestamp: 1" in refused(frame, symbol="AAPL")


def test_duplicates() -> None:
    text = refused(rows("AAPL", ["2012-06-25", "2012-06-26", "2012-06-26", "2012-06-27", "2012-06-27", "2012-06-27"]))
    assert text.startswith("AAPL 2012-06-26: there are two bars with this timestamp (3 such bars).")


def test_unsorted_rows_are_sorted_with_a_warning() -> None:
    frame = pd.concat([rows("AAPL", WEEK), rows("MSFT", WEEK)]).assign(close=[9.1, 9.2, 9.3, 9.4, 9.5] * 2)
    bars, (text,) = warned(lambda: Bars.from_frame(frame.iloc[[0, 2, 1, 3, 4, 5, 6, 7, 8, 9]]), "unsorted-bars")
    assert text == "AAPL 2012-06-26: comes after a later bar. Sorted here."
    assert bars.to_frame().equals(frame)


def test_rows_of_two_symbols_in_disorder() -> None:
    frame = pd.concat([rows("A", WEEK[:2]), rows("B", WEEK[:2])]).assign(close=[9.1, 9.2, 9.3, 9.4])
    bars, (text,) = warned(lambda: Bars.from_frame(frame.iloc[[0, 3, 2, 1]]), "unsorted-bars")
    np.testing.assert_array_equal(bars.close, [[9.1, 9.3], [9.2, 9.4]])
    assert text.startswith("B 2012-06-25: ")


def test_future_bars_and_the_unfinished_bar() -> None:
    frame = rows("AAPL", WEEK)
    before = pd.Timestamp("2012-06-28 18:00", tz=NEW_YORK)
    assert "AAPL 2012-06-29: later than now (2012-06-28 18:00 EDT)" in refused(frame, now=before)
    for time in ("2012-06-29 00:00", "2012-06-29 16:19"):  # the close is final 20 minutes later
        now = pd.Timestamp(time, tz=NEW_YORK)
        bars, (text,) = warned(partial(Bars.from_frame, frame, now=now), "unfinished-bars")
        assert len(bars) == 4
        assert text.startswith("AAPL 2012-06-29: not final yet")
    assert len(Bars.from_frame(frame, now=pd.Timestamp("2012-06-29 16:20", tz=NEW_YORK))) == 5


def test_the_unfinished_minute() -> None:
    frame = rows("SPY", ["2012-07-03 09:30", "2012-07-03 09:31", "2012-07-03 09:32"])
    assert len(Bars.from_frame(frame, now=pd.Timestamp("2012-07-03 13:33", tz="UTC"))) == 3
    bars, _ = warned(lambda: Bars.from_frame(frame, now=pd.Timestamp("2012-07-03 13:32:59", tz="UTC")),
                     "unfinished-bars")
    assert len(bars) == 2


def test_now_defaults_to_the_clock_and_must_have_a_zone() -> None:
    tomorrow = pd.Timestamp.now(tz=NEW_YORK).normalize() + pd.Timedelta(days=40)
    frame = rows("BTC", [f"{tomorrow:%Y-%m-%d}"])
    assert "later than now" in refused(frame, calendar=None)
    assert "naive" in refused(frame, InputError, now="2012-06-29")


def test_labels_in_utc_become_exchange_time() -> None:
    midnight = rows("AAPL", [f"{d} 04:00" for d in WEEK], zone="UTC")  # 00:00 in New York
    assert Bars.from_frame(midnight).data_hash() == Bars.from_frame(rows("AAPL", WEEK)).data_hash()


def test_dates_called_utc_are_taken_as_sessions_with_a_warning() -> None:
    bars, (text,) = warned(lambda: Bars.from_frame(rows("AAPL", WEEK, zone="UTC")), "daily-labels")
    assert bars.index.equals(Bars.from_frame(rows("AAPL", WEEK)).index)
    assert "00:00 in UTC" in text


def test_daily_labels_at_the_close() -> None:
    bars, _ = warned(lambda: Bars.from_frame(rows("AAPL", [f"{d} 16:00" for d in WEEK])), "daily-labels")
    assert bars.index.equals(Bars.from_frame(rows("AAPL", WEEK)).index)


def test_one_stray_label_does_not_make_days_intraday() -> None:
    days = [f"{d:%Y-%m-%d}" for d in pd.bdate_range("2012-06-04", "2012-06-29")]
    stray = rows("AAPL", [f"{d} 16:00" if d == "2012-06-12" else d for d in days])
    bars, _ = warned(lambda: Bars.from_frame(stray), "daily-labels")
    assert bars.index.equals(Bars.from_frame(rows("AAPL", days)).index)


# --- interval ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("times", "interval"), [
    (["2012-07-02 09:30", "2012-07-02 09:31", "2012-07-02 09:32"], "1m"),
    (["2012-07-02 09:30", "2012-07-02 09:35", "2012-07-02 09:45", "2012-07-02 09:50"], "5m"),  # one is missing
    (["2012-07-02 14:30", "2012-07-02 15:30", "2012-07-03 09:30", "2012-07-03 10:30"], "1h"),
    (["2012-07-02 09:30", "2012-07-03 09:30", "2012-07-05 09:30", "2012-07-05 10:30"], "1h"),
    (["2012-07-02", "2012-07-03", "2012-07-05"], "1d"),
    (["2012-07-02"], "1d"),
])
def test_interval_is_inferred(times: list[str], interval: str) -> None:
    assert Bars.from_frame(rows("AAPL", times), calendar=None).interval == interval


def test_intervals_that_cannot_be() -> None:
    minutes = rows("AAPL", ["2012-07-02 09:30", "2012-07-02 09:31", "2012-07-02 09:32"])
    assert "interval = '2m' is unknown" in refused(minutes, InputError, interval="2m")
    assert "interval = '5m', but the bars are 1 min apart" in refused(minutes, InputError, interval="5m")
    assert "interval = '1d', but the bars are 1 min apart" in refused(minutes, InputError, interval="1d")
    odd = rows("AAPL", ["2012-07-02 09:30", "2012-07-02 09:33", "2012-07-02 09:36"])
    assert "3 min apart, which is none of" in refused(odd, InputError)
    assert "one bar only" in refused(minutes.iloc[:1], InputError)
    assert Bars.from_frame(minutes.iloc[:1], interval="1m").interval == "1m"


def test_one_daily_bar_labelled_in_utc() -> None:
    bars = Bars.from_frame(rows("AAPL", ["2012-06-25 04:00"], zone="UTC"))  # 00:00 in New York
    assert bars.interval == "1d"
    assert bars.index[0] == pd.Timestamp("2012-06-25", tz=NEW_YORK)


def test_daily_bars_are_no_minutes() -> None:
    assert "interval = '1m', but the bars are daily" in refused(rows("AAPL", WEEK), InputError, interval="1m")


def test_overlapping_bars() -> None:
    frame = rows("AAPL", ["2012-07-02 09:30", "2012-07-02 10:30", "2012-07-02 11:00", "2012-07-02 12:00"])
    bars, (text,) = warned(lambda: Bars.from_frame(frame, calendar=None), "overlapping-bars")
    assert bars.interval == "1h"
    assert "11:00" in text


# --- values -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("values", "text"), [
    ((np.nan, 11, 9, 10, 100), "NaN among open nan"),
    ((10, 11, 9, 10, np.nan), "NaN among open 10"),
    ((10, np.inf, 9, 10, 100), "infinite value"),
    ((10, 11, 9, 10, np.inf), "infinite value"),
    ((10, 11, 0, 10, 100), "not above 0"),
    ((10, 11, -9, 10, 100), "not above 0"),
    ((10, 9, 11, 10, 100), "high 9 is below low 11"),
    ((10, 11, 9, 10, -1), "volume -1 is below 0"),
])
def test_values_that_cannot_be(values: tuple[float, ...], text: str) -> None:
    found = refused(with_row(2, values))
    assert found.startswith("AAPL 2012-06-27: ")
    assert text in found
    assert "Correct the source, or drop these rows" in found


def test_errors_say_how_many_where_else_and_what_else() -> None:
    bad = (10.0, 9.0, 11.0, 10.0, 100.0)
    frame = pd.concat([rows("A", WEEK, [GOOD, bad, bad, GOOD, GOOD]), rows("B", WEEK, [bad, *[GOOD] * 4]),
                       rows("C", WEEK, [(10.0, 11.0, 9.0, 10.0, -5.0), *[GOOD] * 4])])
    assert refused(frame) == ("A 2012-06-26: high 9 is below low 11 (2 such bars). Correct the source, or drop these "
                              "rows before Bars.from_frame. The same in 1 more symbol. Also found: negative-volume.")


@pytest.mark.parametrize("values", [(11.5, 11, 9, 10, 100), (8.5, 11, 9, 10, 100), (10, 11, 9, 11.5, 100),
                                    (10, 11, 9, 8.5, 100)])
def test_open_or_close_outside_the_range_is_a_warning(values: tuple[float, ...]) -> None:
    bars, (text,) = warned(lambda: Bars.from_frame(with_row(1, values)), "open-close-outside-range")
    assert text.startswith("AAPL 2012-06-26: ")
    assert bars.open[1, 0] == values[0]  # kept as it is


def test_rounding_of_adjusted_prices_is_no_finding() -> None:
    assert Bars.from_frame(with_row(1, (10.0, 11.0, 9.0, 11.0 * (1 + 1e-9), 100.0))).findings.empty


def test_zero_volume_is_no_finding() -> None:
    assert Bars.from_frame(with_row(1, (10.0, 11.0, 9.0, 10.0, 0.0))).findings.empty


@pytest.mark.parametrize("volume", [np.nan, 0.0])
def test_a_row_without_prices_is_no_bar(volume: float) -> None:
    bars, texts = warned(lambda: Bars.from_frame(with_row(2, (np.nan, np.nan, np.nan, np.nan, volume))),
                         "empty-rows", "missing-sessions")
    assert bars.shape == (4, 1)
    assert texts[0] == "AAPL 2012-06-27: a row without prices. Taken as no bar."


def test_only_empty_rows() -> None:
    assert "no bars are left" in refused(rows("AAPL", WEEK, [(np.nan,) * 5] * 5))


# --- sessions ---------------------------------------------------------------------------------------------------------

def test_missing_sessions_of_one_symbol() -> None:
    frame = pd.concat([rows("AAPL", WEEK), rows("MSFT", [WEEK[0], WEEK[3], WEEK[4]])])
    bars, (text,) = warned(lambda: Bars.from_frame(frame), "missing-sessions")
    assert text == ("MSFT has no bar on 2 of 5 sessions of XNYS between its first and last: 2012-06-26, 2012-06-27. It "
                    "cannot trade there.")
    row = bars.findings.iloc[0]
    assert (row["symbol"], row["severity"]) == ("MSFT", "warning")
    assert row["time"] == pd.Timestamp("2012-06-26", tz=NEW_YORK)
    assert np.isnan(bars.close[1:3, 1]).all()


def test_missing_sessions_of_all_symbols() -> None:
    frame = pd.concat([rows("AAPL", [WEEK[0], WEEK[4]]), rows("MSFT", [WEEK[0], WEEK[4]])])
    bars, (text,) = warned(lambda: Bars.from_frame(frame), "missing-sessions")
    assert "3 of 5 sessions" in text
    assert text.endswith("The same in 1 more symbol.")
    assert bars.warnings == [f"missing-sessions: {text}"]


def test_holidays_half_days_and_storms_are_not_missing() -> None:
    days = ["2012-10-25", "2012-10-26", "2012-10-31", "2012-11-01"]  # Sandy on Monday and Tuesday
    assert Bars.from_frame(rows("AAPL", days)).findings.empty
    july = ["2012-07-02", "2012-07-03", "2012-07-05"]
    assert Bars.from_frame(rows("AAPL", july)).findings.empty


def test_without_a_calendar_nothing_is_missing() -> None:
    assert Bars.from_frame(rows("AAPL", [WEEK[0], WEEK[4]]), calendar=None).findings.empty


def test_a_daily_bar_on_a_closed_day() -> None:
    text = refused(rows("AAPL", ["2012-10-26", "2012-10-29", "2012-10-31"]))
    assert text.startswith("AAPL 2012-10-29: a daily bar on a day when XNYS is closed.")
    assert "calendar=None" in text


def test_a_symbol_that_ends_early() -> None:
    frame = pd.concat([rows("AAPL", WEEK), rows("LEH", WEEK[:3])])
    bars, (text,) = warned(lambda: Bars.from_frame(frame), "ends-early")
    assert "LEH has its last bar on 2012-06-27, the data go on to 2012-06-29" in text
    assert bars.shape == (5, 2)


def hours(day: str, *times: str) -> list[str]:
    return [f"{day} {time}" for time in times]


FULL = ("09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30")


def test_intraday_sessions_with_half_day_and_daylight_saving() -> None:
    july = rows("SPY", hours("2012-07-02", *FULL) + hours("2012-07-03", *FULL[:4]) + hours("2012-07-05", *FULL))
    assert Bars.from_frame(july).findings.empty
    march = rows("SPY", hours("2013-03-08", *FULL) + hours("2013-03-11", *FULL))  # clocks changed between them
    bars = Bars.from_frame(march.rename(index=lambda t: t.tz_convert("UTC"), level=1))
    assert bars.findings.empty
    assert [f"{t:%H:%M}" for t in bars.index] == list(FULL) * 2


def test_intraday_bars_outside_the_session() -> None:
    # 13:30 on the half day, and a bar before the open
    frame = rows("SPY", hours("2012-07-02", "08:30", *FULL) + hours("2012-07-03", *FULL[:5]))
    bars, (text,) = warned(lambda: Bars.from_frame(frame), "outside-session")
    assert text == ("SPY 2012-07-02 08:30: a bar outside the regular session of XNYS (2 such bars). "
                    "Orders wait there for the next regular bar; the parameter regular_hours = true (in Python "
                    "Bars.from_frame(..., regular_hours=True)) leaves such bars out.")
    assert len(bars) == 13
    regular = Bars.from_frame(frame, regular_hours=True)
    assert regular.findings.empty
    assert [f"{t:%d %H:%M}" for t in regular.index] == [f"02 {t}" for t in FULL] + [f"03 {t}" for t in FULL[:4]]
    assert "regular_hours = True needs a calendar" in refused(frame, InputError, regular_hours=True, calendar=None)


def test_an_intraday_session_that_is_missing() -> None:
    frame = rows("SPY", hours("2012-07-02", *FULL) + hours("2012-07-06", *FULL))
    _, (text,) = warned(lambda: Bars.from_frame(frame), "missing-sessions")
    assert "2 of 4 sessions of XNYS between its first and last: 2012-07-03, 2012-07-05." in text


def test_a_session_with_less_than_half_of_its_bars() -> None:
    days = ["2012-07-09", "2012-07-10", "2012-07-11"]
    thin = rows("SPY", hours(days[0], *FULL) + hours(days[1], *FULL[:2]) + hours(days[2], *FULL))
    _, (text,) = warned(lambda: Bars.from_frame(thin), "thin-sessions")
    assert text.startswith("SPY 2012-07-10 has 2 of 7 bars (1 such sessions).")
    cut = rows("SPY", hours(days[0], *FULL[-2:]) + hours(days[1], *FULL) + hours(days[2], *FULL[:2]))
    assert Bars.from_frame(cut).findings.empty  # a period may start and end inside a session


# --- splits -----------------------------------------------------------------------------------------------------------

TEN = ["2012-06-18", "2012-06-19", "2012-06-20", "2012-06-21", "2012-06-22", *WEEK]


def jump(ratio: float, volume: float = 1000.0) -> pd.DataFrame:
    """Ten sessions at 100, the last two at 100 / ratio; ``volume`` on the day of the jump."""
    frame = closes("X", dict(zip(TEN, [100.0] * 8 + [100.0 / ratio] * 2, strict=True)))
    frame.iloc[8, 4] = volume
    return frame


@pytest.mark.parametrize(("ratio", "name"), [(2, "2:1"), (3, "3:1"), (1.5, "1.5:1"), (7, "7:1"), (0.1, "1:10"),
                                             (2.08, "2:1"), (1.93, "2:1")])
def test_a_split_that_nobody_recorded(ratio: float, name: str) -> None:
    bars, (text,) = warned(lambda: Bars.from_frame(jump(ratio, 1000 * ratio)), "unadjusted-split")
    assert text.startswith("X 2012-06-28: opens at ")
    assert f"like a {name} split" in text
    assert bars.findings["time"][0] == pd.Timestamp("2012-06-28", tz=NEW_YORK)


def test_jumps_that_are_no_split() -> None:
    for ratio in (1.0, 1.1, 1.16, 1.7, 0.85, 0.62):
        assert Bars.from_frame(jump(ratio)).findings.empty, ratio
    assert Bars.from_frame(jump(2, volume=7000.0)).findings.empty  # 3.5 times the usual value: news, not a split


def test_a_recorded_split_is_no_finding() -> None:
    assert Bars.from_frame(jump(2), actions=table(("X", "2012-06-28", "split", 2.0))).findings.empty
    with pytest.warns(match="unadjusted-split"):  # another symbol's does not count
        Bars.from_frame(jump(2), actions=table(("Y", "2012-06-28", "split", 2.0)))


def test_a_recorded_split_that_prices_do_not_show() -> None:
    _, (text,) = warned(lambda: Bars.from_frame(jump(1), actions=table(("X", "2012-06-28", "split", 2.0))),
                        "split-already-applied")
    assert 'adjustment="split"' in text


def test_a_split_over_a_gap_and_in_minutes() -> None:
    with pytest.warns() as caught:
        Bars.from_frame(jump(2).drop(pd.Timestamp("2012-06-27", tz=NEW_YORK), level=1))
    assert {w.message.name for w in caught} == {"missing-sessions", "unadjusted-split"}  # type: ignore[union-attr]
    intraday = closes("X", {"2012-07-02 14:30": 100.0, "2012-07-02 15:30": 100.0, "2012-07-03 09:30": 50.0,
                            "2012-07-03 10:30": 50.0, "2012-07-03 11:30": 50.0, "2012-07-03 12:30": 50.0})
    _, (text,) = warned(lambda: Bars.from_frame(intraday), "unadjusted-split")
    assert text.startswith("X 2012-07-03 09:30: ")


@pytest.mark.filterwarnings("ignore")
def test_how_long_an_unrecorded_split_is_remembered() -> None:
    """It is the last but one of ten sessions."""
    bars = Bars.from_frame(jump(2, volume=2000.0))
    assert [sorted(unexplained(bars, count)) for count in (0, 1, 2, 5, 10, 500)] == [[], [], *[["X"]] * 4]
    assert unexplained(bars.upto(7), 10) == frozenset()  # not yet
    assert unexplained(bars.upto(0), 10) == frozenset()
    news = Bars.from_frame(jump(2, volume=7000.0))  # 3.5 times the value of sessions that are not among the last two
    assert unexplained(news, 2) == frozenset()
    known = Bars.from_frame(jump(2, volume=2000.0), actions=table(("X", "2012-06-28", "split", 2.0)))
    assert unexplained(known, 10) == frozenset()


# --- options ----------------------------------------------------------------------------------------------------------

def test_unknown_options() -> None:
    frame = rows("AAPL", WEEK)
    assert "adjustment = 'splits' is unknown; did you mean 'split'?" in refused(frame, InputError, adjustment="splits")
    assert "calendar = 'XNYZ'" in refused(frame, InputError, calendar="XNYZ")
    split = table(("AAPL", "2012-06-28", "split", 2.0))
    assert "raw bars only" in refused(frame, InputError, adjustment="split", actions=split)


def test_actions_are_those_of_the_symbols_known_by_the_last_bar() -> None:
    given = table(("AAPL", "2012-07-02", "cash_dividend", 1.0), ("AAPL", "2012-06-29", "cash_dividend", 0.5),
                  ("MSFT", "2012-06-28", "cash_dividend", 0.2), ("AAPL", "1999-01-01", "cash_dividend", 0.1))
    actions = Bars.from_frame(rows("AAPL", WEEK), actions=given).actions
    assert actions is not None
    assert actions["value"].tolist() == [0.1, 0.5]
    assert actions["pay_date"].isna().all()
