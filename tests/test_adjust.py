"""Back-adjusted prices, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bar_helpers import closes, table

from botlib import adjust
from botlib.bars import Bars
from botlib.errors import DataError, InputError

DAYS = ["2012-06-25", "2012-06-26", "2012-06-27", "2012-06-28", "2012-06-29"]


def bars_of(values: list[float], actions: pd.DataFrame | None, symbol: str = "X") -> Bars:
    return Bars.from_frame(closes(symbol, dict(zip(DAYS, values, strict=True))), actions=actions)


def test_a_split() -> None:
    bars = bars_of([100, 104, 52, 53, 54], table(("X", "2012-06-27", "split", 2.0)))
    for how in ("split", "all"):
        made = bars.adjusted(how=how)
        assert made.adjustment == how
        assert made.actions is None
        np.testing.assert_array_equal(made.close[:, 0], [50, 52, 52, 53, 54])
        np.testing.assert_array_equal(made.volume[:, 0], [2000, 2000, 1000, 1000, 1000])
        np.testing.assert_allclose(made.high[:, 0], [50.5, 52.52, 52.52, 53.53, 54.54])
        np.testing.assert_allclose(made.low[:, 0], [49.5, 51.48, 51.48, 52.47, 53.46])
    np.testing.assert_array_equal(bars.close[:, 0], [100, 104, 52, 53, 54])  # untouched


def test_a_reverse_split() -> None:
    made = bars_of([10, 11, 110, 100, 90], table(("X", "2012-06-27", "split", 0.1))).adjusted(how="split")
    np.testing.assert_allclose(made.close[:, 0], [100, 110, 110, 100, 90], rtol=1e-15)
    np.testing.assert_allclose(made.volume[:, 0], [100, 100, 1000, 1000, 1000], rtol=1e-15)


def test_a_dividend() -> None:
    # 1 - 2 / 50 = 0.96, on the closes before the ex-date; volume stays.
    bars = bars_of([49, 50, 48, 47, 46], table(("X", "2012-06-27", "cash_dividend", 2.0)))
    made = bars.adjusted(how="all")
    np.testing.assert_allclose(made.close[:, 0], [47.04, 48, 48, 47, 46], rtol=1e-15)
    np.testing.assert_array_equal(made.volume, bars.volume)
    np.testing.assert_array_equal(bars.adjusted(how="split").close, bars.close)


def test_the_return_over_an_ex_date_is_the_total_return() -> None:
    # (48 + 2) / 50 - 1 = 0 is the total return; the adjusted closes 48 -> 48 show it exactly.
    made = bars_of([49, 50, 48, 47, 46], table(("X", "2012-06-27", "cash_dividend", 2.0))).adjusted(how="all")
    assert made.close[2, 0] / made.close[1, 0] == 1.0


def test_several_actions_multiply() -> None:
    # Dividend of 1 on a close of 100 (0.99), then 2:1, then a dividend of 1 on a close of 50 (0.98).
    actions = table(("X", "2012-06-26", "cash_dividend", 1.0), ("X", "2012-06-27", "split", 2.0),
                    ("X", "2012-06-29", "cash_dividend", 1.0))
    bars = bars_of([100, 98, 49, 50, 49], actions)
    np.testing.assert_allclose(bars.adjusted(how="all").close[:, 0],
                               [100 * 0.99 / 2 * 0.98, 98 / 2 * 0.98, 49 * 0.98, 50 * 0.98, 49], rtol=1e-15)
    np.testing.assert_array_equal(bars.adjusted(how="split").close[:, 0], [50, 49, 49, 50, 49])
    np.testing.assert_array_equal(bars.adjusted(how="all").volume[:, 0], [2000, 2000, 1000, 1000, 1000])


def test_two_dividends_on_one_date_and_a_split_with_a_dividend() -> None:
    # 1 - (1 + 2) / 100 = 0.97, not 0.99 * 0.98.
    two = table(("X", "2012-06-26", "cash_dividend", 1.0), ("X", "2012-06-26", "cash_dividend", 2.0))
    assert bars_of([100, 97, 97, 97, 97], two).adjusted(how="all").close[0, 0] == pytest.approx(97.0, rel=1e-15)
    # The dividend is of the new shares: 100 is 50 new, 50 - 1 = 49.
    both = table(("X", "2012-06-26", "cash_dividend", 1.0), ("X", "2012-06-26", "split", 2.0))
    assert bars_of([100, 49, 49, 49, 49], both).adjusted(how="all").close[0, 0] == pytest.approx(49.0, rel=1e-15)


def test_only_actions_inside_the_bars_count() -> None:
    outside = table(("X", "2012-06-25", "cash_dividend", 1.0), ("X", "2012-06-24", "split", 2.0),
                    ("X", "2012-07-02", "split", 7.0), ("Y", "2012-06-27", "split", 2.0))
    bars = bars_of([100, 101, 102, 103, 104], None)
    np.testing.assert_array_equal(bars.adjusted(outside, "all").close, bars.close)
    assert np.shares_memory(bars.adjusted(outside, "all").close, bars.close)


def test_an_ex_date_without_a_bar_acts_from_the_next_bar() -> None:
    frame = closes("X", {"2012-06-22": 100.0, "2012-06-25": 50.0})
    bars = Bars.from_frame(frame, actions=table(("X", "2012-06-23", "split", 2.0)))  # a Saturday
    np.testing.assert_array_equal(bars.adjusted(how="split").close[:, 0], [50, 50])


def test_the_close_before_is_the_symbols_own_last_one() -> None:
    gap = pd.concat([closes("X", {DAYS[0]: 49.0, DAYS[1]: 50.0, DAYS[3]: 48.0}),
                     closes("Y", dict.fromkeys(DAYS, 10.0))])
    bars = Bars.from_frame(gap, calendar=None, actions=table(("X", DAYS[3], "cash_dividend", 2.0)))
    np.testing.assert_allclose(bars.adjusted(how="all").close[:, 0], [47.04, 48, np.nan, 48, np.nan], rtol=1e-15)


def test_intraday_bars_are_adjusted_by_session() -> None:
    frame = closes("X", {"2012-06-26 14:30": 100.0, "2012-06-26 15:30": 102.0, "2012-06-27 09:30": 51.0,
                         "2012-06-27 10:30": 51.0, "2012-06-27 11:30": 51.0})
    bars = Bars.from_frame(frame, actions=table(("X", "2012-06-27", "split", 2.0)))
    np.testing.assert_array_equal(bars.adjusted(how="split").close[:, 0], [50, 51, 51, 51, 51])


def test_other_symbols_and_panels_are_not_copied() -> None:
    frame = pd.concat([closes("X", dict.fromkeys(DAYS, 10.0)), closes("Y", dict.fromkeys(DAYS, 10.0))])
    frame = frame.assign(vwap=10.0, VIX=20.0)
    bars = Bars.from_frame(frame, calendar=None)
    made = bars.adjusted(table(("X", DAYS[2], "split", 2.0)), "split")
    np.testing.assert_array_equal(made.close, [[5, 10], [5, 10], [10, 10], [10, 10], [10, 10]])
    np.testing.assert_array_equal(made.extra["vwap"], made.close)
    assert np.shares_memory(made.extra["VIX"], bars.extra["VIX"])
    dividend = bars.adjusted(table(("X", DAYS[2], "cash_dividend", 1.0)), "all")
    assert np.shares_memory(dividend.volume, bars.volume)


def test_what_cannot_be_adjusted() -> None:
    bars = bars_of([10, 10, 10, 10, 10], None)
    assert bars.adjusted(how="raw") is bars
    with pytest.raises(InputError, match="pass actions="):
        bars.adjusted()
    assert bars.adjusted(adjust.no_actions(), "all").adjustment == "all"
    with pytest.raises(InputError, match="adjustment = 'both' is unknown"):
        bars.adjusted(how="both")
    done = bars.adjusted(adjust.no_actions(), "split")
    assert done.adjusted(how="split") is done
    for how in ("all", "raw"):
        with pytest.raises(InputError, match=r"adjusted already \('split'\)"):
            done.adjusted(adjust.no_actions(), how)
    with pytest.raises(DataError, match=r"X 2012-06-27: a dividend of 10 is not below the last close before it, 10"):
        bars.adjusted(table(("X", "2012-06-27", "cash_dividend", 10.0)), "all")


@pytest.mark.parametrize(("row", "text"), [
    (("X", "2012-06-27", "merger", 1.0), "type must be one of split, cash_dividend"),
    (("X", "2012-06-27", "split", 0.0), "value must be a number above 0"),
    (("X", "2012-06-27", "split", np.inf), "value must be a number above 0"),
    (("X", None, "split", 2.0), "ex_date must be a date"),
])
def test_actions_that_cannot_be(row: tuple[str, str, str, float], text: str) -> None:
    with pytest.raises(DataError, match=text):
        adjust.check_actions(table(row))


def test_actions_tables() -> None:
    with pytest.raises(DataError, match="actions lack the column 'ex_date'"):
        adjust.check_actions(pd.DataFrame({"symbol": ["X"], "type": ["split"], "value": [2.0]}))
    twice = table(("X", "2012-06-27", "split", 2.0), ("X", "2012-06-27", "split", 3.0))
    with pytest.raises(DataError, match="only once"):
        adjust.check_actions(twice)
    zoned = table(("B", "2012-06-27", "split", 2.0), ("A", "2012-06-27", "cash_dividend", 1.0))
    midnights = (zoned["ex_date"] + pd.Timedelta(hours=4)).dt.tz_localize("UTC")
    zoned["ex_date"] = midnights.dt.tz_convert("America/New_York")
    made = adjust.check_actions(zoned)
    assert list(made.columns) == list(adjust.ACTION_COLUMNS)
    assert made["symbol"].tolist() == ["A", "B"]
    assert (made["ex_date"] == pd.Timestamp("2012-06-27")).all()
    assert adjust.check_actions(adjust.no_actions()).empty
    with pytest.raises(DataError, match="no date"):
        adjust.check_actions(pd.DataFrame({"symbol": ["X"], "ex_date": ["soon"], "type": ["split"], "value": [2.0]}))


def test_signal_view() -> None:
    actions = table(("X", "2012-06-27", "split", 2.0), ("X", "2012-06-28", "cash_dividend", 1.0))
    bars = bars_of([100, 104, 52, 51, 51], actions)
    assert bars.signal_view("raw") is bars
    view = bars.signal_view()
    assert view is bars.signal_view("split")
    np.testing.assert_array_equal(view.close[:, 0], [50, 52, 52, 51, 51])
    np.testing.assert_allclose(bars.signal_view("all").close[:3, 0], np.array([50, 52, 52]) * 51 / 52, rtol=1e-15)
    assert view.signal_view("all") is view  # adjusted already: left as it is
    unknown = bars_of([10, 10, 10, 10, 10], None)
    assert unknown.signal_view() is unknown
    with pytest.raises(InputError, match="adjustment = 'al'"):
        bars.signal_view("al")


def test_a_truncated_view_knows_no_later_action() -> None:
    actions = table(("X", "2012-06-27", "split", 2.0), ("X", "2012-06-29", "split", 3.0))
    bars = bars_of([100, 104, 52, 51, 17], actions)
    np.testing.assert_array_equal(bars.upto(1).signal_view().close[:, 0], [100, 104])
    np.testing.assert_array_equal(bars.upto(2).signal_view().close[:, 0], [50, 52, 52])
    np.testing.assert_allclose(bars.upto(4).signal_view().close[:, 0], [100 / 6, 104 / 6, 52 / 3, 17, 17], rtol=1e-15)
