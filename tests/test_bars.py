"""`Bars`: cutting, facts, hash and the way back to a frame."""

from __future__ import annotations

import pickle
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from bar_helpers import NEW_YORK, closes, rows, table, warned
from hypothesis import given
from hypothesis import strategies as st

import botlib
from botlib.bars import FIELDS, INTERVAL_MINUTES, Bars
from botlib.errors import DataError, InputError
from botlib.providers.base import INTERVALS
from botlib.strategies import MovingAverageCross

DAYS = ["2012-06-25", "2012-06-26", "2012-06-27", "2012-06-28", "2012-06-29"]


def two() -> Bars:
    """A with five bars 10 to 14, B from the third day on 20 to 22, a split of A on the fourth day."""
    frame = pd.concat([closes("A", dict(zip(DAYS, [10.0, 11.0, 12.0, 6.5, 7.0], strict=True))),
                       closes("B", dict(zip(DAYS[2:], [20.0, 21.0, 22.0], strict=True)))]).assign(VIX=1.0)
    return Bars.from_frame(frame, actions=table(("A", DAYS[3], "split", 2.0), ("B", DAYS[4], "cash_dividend", 0.5)))


# --- constructor ------------------------------------------------------------------------------------------------------

def test_the_constructor_takes_ready_arrays_without_a_copy() -> None:
    index = pd.DatetimeIndex(DAYS).tz_localize(NEW_YORK)
    arrays = {f: np.full((5, 2), float(k)) for k, f in enumerate(FIELDS)}
    bars = Bars(index, ["A", "B"], **arrays)
    for f in FIELDS:
        assert np.shares_memory(getattr(bars, f), arrays[f])
        assert not getattr(bars, f).flags.writeable
        assert arrays[f].flags.writeable  # the caller's own array stays his
    assert bars.findings.empty
    assert (bars.interval, bars.calendar, bars.adjustment, bars.actions) == ("1d", None, "raw", None)
    with pytest.raises(InputError, match=r"close has shape \(5, 1\); \(5, 2\) is needed"):
        Bars(index, ["A", "B"], **{**arrays, "close": np.ones((5, 1))})


def test_intervals_are_those_of_the_providers() -> None:
    assert tuple(INTERVAL_MINUTES) == INTERVALS


# --- cutting ----------------------------------------------------------------------------------------------------------

def test_upto_is_a_read_only_view_with_the_actions_known_by_then() -> None:
    bars = two()
    for t in range(5):
        past = bars.upto(t)
        assert len(past) == t + 1
        for f in FIELDS:
            assert np.shares_memory(getattr(past, f), getattr(bars, f))
            np.testing.assert_array_equal(getattr(past, f), getattr(bars, f)[:t + 1])
            assert not getattr(past, f).flags.writeable
        assert np.shares_memory(past.extra["VIX"], bars.extra["VIX"])
        assert past.actions is not None
        assert len(past.actions) == [0, 0, 0, 1, 2][t]
        assert past.sessions.tolist() == bars.sessions[:t + 1].tolist()
    assert bars.upto(4).data_hash() == bars.data_hash()
    for t in (-1, 5):
        with pytest.raises(InputError, match=rf"t = {t} is out of range: valid is 0 to 4"):
            bars.upto(t)


def test_intraday_actions_are_known_from_the_first_bar_of_their_date() -> None:
    frame = closes("X", {"2012-06-26 14:30": 10.0, "2012-06-26 15:30": 10.0, "2012-06-27 09:30": 5.0,
                         "2012-06-27 10:30": 5.0, "2012-06-27 11:30": 5.0})
    bars = Bars.from_frame(frame, actions=table(("X", "2012-06-27", "split", 2.0)))
    assert [len(bars.upto(t).actions) for t in range(5)] == [0, 0, 1, 1, 1]  # type: ignore[arg-type]


def test_between_and_tail() -> None:
    bars = two()
    middle = bars.between("2012-06-26", "2012-06-29")  # the end is not included
    assert middle.index.equals(bars.index[1:4])
    assert np.shares_memory(middle.close, bars.close)
    assert middle.actions is not None
    assert len(middle.actions) == 1
    assert bars.between().data_hash() == bars.data_hash()
    assert len(bars.between(start="2012-06-28")) == 2
    assert len(bars.between(end=pd.Timestamp("2012-06-26 04:00", tz="UTC"))) == 1
    assert bars.tail(2).index.equals(bars.index[3:])
    assert len(bars.tail(99)) == 5
    with pytest.raises(DataError, match="no bars from 2013-01-01 to None"):
        bars.between("2013-01-01")
    with pytest.raises(InputError, match="start = 'soon' is no date"):
        bars.between("soon")
    with pytest.raises(InputError, match="n = 0 is out of range"):
        bars.tail(0)


def test_select() -> None:
    bars = two()
    assert bars.select(["A", "B"]) is bars
    turned = bars.select(["B", "A"])
    assert turned.symbols == ("B", "A")
    np.testing.assert_array_equal(turned.close, bars.close[:, ::-1])
    assert turned.close.flags.c_contiguous
    b = bars.select("B")
    assert b.index.equals(bars.index[2:])  # no rows of NaN are left
    assert b.close[:, 0].tolist() == [20.0, 21.0, 22.0]
    assert b.extra["VIX"].tolist() == [[1.0]] * 3
    assert b.actions is not None
    assert b.actions["type"].tolist() == ["cash_dividend"]
    with pytest.raises(DataError, match="symbol 'a' is not in these bars.*There are: A, B"):
        bars.select(["a"])
    with pytest.raises(DataError, match="each once"):
        bars.select(["A", "A"])


def test_findings_go_with_their_symbols() -> None:
    frame = pd.concat([rows("A", DAYS), rows("B", [DAYS[0], DAYS[2], DAYS[4]])])
    bars, _ = warned(lambda: Bars.from_frame(frame), "missing-sessions")
    assert bars.select("A").findings.empty
    assert bars.select("B").findings["check"].tolist() == ["missing-sessions"]
    assert bars.upto(2).findings.equals(bars.findings)


# --- facts ------------------------------------------------------------------------------------------------------------

def test_sessions_are_exchange_dates() -> None:
    bars = Bars.from_frame(rows("X", ["2012-07-02 19:30", "2012-07-02 23:30", "2012-07-03 00:30"]), calendar=None)
    assert bars.sessions.dtype == np.int32
    assert not bars.sessions.flags.writeable
    assert bars.sessions.astype("datetime64[D]").astype(str).tolist() == ["2012-07-02", "2012-07-02", "2012-07-03"]


def test_known_at() -> None:
    daily = Bars.from_frame(rows("X", ["2012-07-02", "2012-07-03", "2012-07-05"]))
    assert [f"{t:%m-%d %H:%M}" for t in daily.known_at] == ["07-02 16:20", "07-03 13:20", "07-05 16:20"]
    assert [f"{t:%m-%d %H:%M}" for t in daily.final_times(0)] == ["07-02 16:00", "07-03 13:00", "07-05 16:00"]
    hourly = Bars.from_frame(rows("X", ["2012-07-03 11:30", "2012-07-03 12:30"]))
    assert [f"{t:%m-%d %H:%M %Z}" for t in hourly.known_at] == ["07-03 12:30 EDT", "07-03 13:00 EDT"]


def test_last_session_bar() -> None:
    hourly = Bars.from_frame(rows("X", ["2012-07-03 11:30", "2012-07-03 12:30", "2012-07-05 09:30"]))
    assert hourly.last_session_bar.tolist() == [False, True, False]
    assert two().last_session_bar.all()


@pytest.mark.parametrize(("interval", "minutes", "expected"), [("1d", 0, 252), ("1m", 1, 98_280), ("5m", 5, 19_656),
                                                               ("30m", 30, 3_276), ("1h", 60, 1_764)])
def test_periods_per_year(interval: str, minutes: int, expected: float) -> None:
    times = DAYS if not minutes else [f"{t:%Y-%m-%d %H:%M}" for t in pd.date_range("2012-07-02 09:30", periods=3,
                                                                               freq=f"{minutes}min")]
    for calendar in ("XNYS", None):
        bars = Bars.from_frame(rows("X", times), calendar=calendar)
        assert bars.interval == interval
        assert bars.periods_per_year == expected


def test_showing() -> None:
    text = repr(two())
    assert "A, B: 2 symbols x 5 bars of 1d, 2012-06-25 to 2012-06-29, XNYS, prices raw, actions 2, findings 0" in text
    page = Bars.from_frame(rows("<b>", DAYS))._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>:" not in page
    assert page.count("<tr>") == 2
    assert "actions unknown" in page


# --- hash and frame ---------------------------------------------------------------------------------------------------

def test_the_hash_sees_every_part() -> None:
    bars = two()
    base: dict[str, object] = {"index": bars.index, "symbols": bars.symbols, "interval": "1d", "calendar": "XNYS",
                               "adjustment": "raw", "actions": bars.actions, "extra": bars.extra,
                               **{f: getattr(bars, f) for f in FIELDS}}

    def changed(**parts: object) -> str:
        return Bars(**{**base, **parts}).data_hash()  # type: ignore[arg-type]

    def nudged(panel: np.ndarray) -> np.ndarray:
        copy = panel.copy()
        copy[4, 1] = np.nextafter(copy[4, 1], np.inf)
        return copy

    assert changed() == bars.data_hash()
    variants = [changed(**{f: nudged(getattr(bars, f))}) for f in FIELDS]
    variants += [changed(index=bars.index + pd.Timedelta(days=1)), changed(symbols=("A", "C")), changed(interval="1h"),
                 changed(calendar=None), changed(adjustment="split"), changed(actions=None),
                 changed(actions=bars.upto(3).actions), changed(extra={}), changed(extra={"vix": bars.extra["VIX"]}),
                 changed(extra={"VIX": nudged(bars.extra["VIX"])}), bars.data_hash()]
    assert len(set(variants)) == len(variants)


def test_the_hash_does_not_depend_on_how_values_are_stored() -> None:
    bars = two()
    other_nan = bars.close.copy()
    bits = other_nan.view(np.uint64)
    bits[np.isnan(other_nan)] |= 1  # another bit pattern that is NaN too
    assert np.isnan(other_nan[:2, 1]).all()
    assert other_nan.tobytes() != bars.close.tobytes()
    same = Bars(bars.index.as_unit("s"), bars.symbols, open=bars.open, high=bars.high, low=bars.low, close=other_nan,
                volume=np.asfortranarray(bars.volume), calendar="XNYS", extra=bars.extra,
                actions=bars.actions.iloc[::-1])  # type: ignore[union-attr]
    assert same.data_hash() == bars.data_hash()


def test_the_hash_is_the_same_in_another_process() -> None:
    program = ("import pandas as pd; from botlib.bars import Bars; a = [[1.0]];"
               "i = pd.DatetimeIndex(['2012-06-25'], tz='UTC');"
               "print(Bars(i, ['A'], open=a, high=a, low=a, close=a, volume=a).data_hash())")
    runs = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout for seed in "12"}
    assert len(runs) == 1


def test_to_frame() -> None:
    frame = two().to_frame()
    assert frame.index.names == ["symbol", "timestamp"]
    assert list(frame.columns) == [*FIELDS, "VIX"]
    assert frame.loc["A", "close"].tolist() == [10.0, 11.0, 12.0, 6.5, 7.0]
    assert frame.loc["B"].index.equals(two().index[2:])
    assert len(frame) == 8


def test_bars_can_be_pickled() -> None:
    bars = two()
    bars.signal_view()
    copy = pickle.loads(pickle.dumps(bars))
    assert copy.data_hash() == bars.data_hash()
    assert not copy.close.flags.writeable
    assert not copy.extra["VIX"].flags.writeable


def test_a_cut_can_be_pickled_and_takes_nothing_else_along() -> None:
    bars = two()
    bars.upto(4)
    copy = pickle.loads(pickle.dumps(bars.upto(2)))
    assert copy.index.equals(bars.index[:3])
    assert copy.data_hash() == bars.upto(2).data_hash()
    assert len(pickle.dumps(bars.upto(2))) < len(pickle.dumps(bars))
    assert copy.actions.empty


def test_copies_of_traded_bars_stand_alone() -> None:
    """A backtest leaves addresses of the panels with the bars; they would lead nowhere in a copy."""
    bars = two()
    expected = botlib.backtest(bars, MovingAverageCross(fast=1, slow=2), quiet=True).equity.tolist()
    for copy in (pickle.loads(pickle.dumps(bars)), deepcopy(bars)):
        arrays = botlib.backtest(copy, MovingAverageCross(fast=1, slow=2), quiet=True).book._kept[0]
        assert all(np.shares_memory(array, getattr(copy, f)) for array, f in zip(arrays, FIELDS, strict=False))
    assert botlib.backtest(deepcopy(bars), MovingAverageCross(fast=1, slow=2),
                           quiet=True).equity.tolist() == expected


def test_the_index_of_a_cut_is_its_own() -> None:
    cut = two().upto(3).tail(2)
    assert cut.index.equals(two().index[2:4])
    assert cut.sessions.tolist() == two().sessions[2:4].tolist()


PRICES = st.floats(0.01, 1e6, allow_nan=False).map(lambda x: round(x, 4))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Some symbols, each with some of ten sessions."""
    parts = []
    for symbol in draw(st.lists(st.sampled_from(["AAPL", "BRK.B", "ON", "X"]), min_size=1, max_size=3, unique=True)):
        days = draw(st.lists(st.sampled_from([f"2012-06-{d}" for d in (18, 19, 20, 21, 22, 25, 26, 27, 28, 29)]),
                             min_size=1, unique=True).map(sorted))
        bars = []
        for _ in days:
            low, a, b, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES, PRICES)))
            bars.append((a, high, low, b, float(draw(st.integers(0, 10**12)))))
        parts.append(rows(symbol, days, bars).assign(flow=draw(st.sampled_from([1.5, np.nan]))))
    return pd.concat(parts)


@given(frames())
@pytest.mark.filterwarnings("ignore::botlib.errors.BotlibWarning")
def test_to_frame_is_the_inverse_of_from_frame(frame: pd.DataFrame) -> None:
    bars = Bars.from_frame(frame)
    back = bars.to_frame()
    pd.testing.assert_frame_equal(back, frame, check_freq=False)
    assert Bars.from_frame(back).data_hash() == bars.data_hash()


@given(frames(), st.randoms(use_true_random=False))
@pytest.mark.filterwarnings("ignore::botlib.errors.BotlibWarning")
def test_the_order_of_rows_changes_only_the_order_of_symbols(frame: pd.DataFrame, chance: object) -> None:
    order = list(range(len(frame)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    bars = Bars.from_frame(frame)
    assert Bars.from_frame(frame.iloc[order]).select(bars.symbols).data_hash() == bars.data_hash()


@given(frames(), st.data())
@pytest.mark.filterwarnings("ignore::botlib.errors.BotlibWarning")
def test_selecting_is_reading_fewer_symbols(frame: pd.DataFrame, data: st.DataObject) -> None:
    bars = Bars.from_frame(frame)
    chosen = data.draw(st.lists(st.sampled_from(bars.symbols), min_size=1, unique=True))
    only = frame[frame.index.get_level_values(0).isin(chosen)]
    assert bars.select(chosen).data_hash() == Bars.from_frame(only).select(chosen).data_hash()
