"""The cache: what it asks for, what it keeps, and what it survives."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from fake_source import Clock, FakeSource, at
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from botlib.errors import BotlibWarning, DataError, InputError, ProviderError
from botlib.providers import cache_store, frames
from botlib.providers.cache import CachedProvider
from botlib.providers.cache_series import Series
from botlib.providers.cache_spans import SETTLED, Span, cover, missing
from botlib.providers.cache_store import Store, safe_name
from botlib.providers.periods import period_start
from botlib.providers.sessions import Sessions


def same(got: pd.DataFrame, want: pd.DataFrame) -> None:
    assert_frame_equal(got, want, check_exact=True, check_freq=False)


def parquet(folder: Path, symbol: str = "AAPL") -> Path:
    (found,) = [p for p in folder.rglob("*.parquet") if p.stem == symbol and p.parent.name != "actions"]
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock("2024-03-15 17:00")  # a Friday, after the close


@pytest.fixture
def source(clock: Clock) -> FakeSource:
    return FakeSource(clock)


@pytest.fixture
def cache(source: FakeSource, clock: Clock, tmp_path: Path) -> CachedProvider:
    return CachedProvider(source, tmp_path, now=clock)


# --- what is asked for --------------------------------------------------------------------------------------------

def test_a_repeated_request_asks_nothing(cache, source):
    first = cache.download_bars(symbols=["AAPL", "MSFT"], period="3mo", interval="1d")
    assert source.taken() == [("download_bars", ("AAPL", "MSFT"), "3mo", "1d")]
    again = cache.download_bars(symbols=["AAPL", "MSFT"], period="3mo", interval="1d")
    assert source.taken() == []
    same(again, first)
    assert first.loc["AAPL"].index[[0, -1]].tolist() == [at("2023-12-18"), at("2024-03-15")]  # 2023-12-16 is a Saturday


def test_a_new_object_over_the_same_folder_asks_nothing(cache, source, clock, tmp_path):
    first = cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    source.taken()
    other = CachedProvider(source, tmp_path, now=clock)
    again = other.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    assert source.taken() == []
    same(again, first)


def test_a_longer_range_asks_for_what_is_missing_before_and_after(cache, source):
    cache.history("AAPL", start="2024-01-08", end="2024-01-20", auto_adjust=False)
    source.taken()
    got = cache.history("AAPL", start="2024-01-03", end="2024-02-01", auto_adjust=False)
    # 2024-01-20 is a Saturday: what was asked for ends there.
    assert source.taken() == [("history", "AAPL", at("2024-01-03"), at("2024-01-08"), "1d"),
                              ("history", "AAPL", at("2024-01-20"), at("2024-02-01"), "1d")]
    truth = source.truth("AAPL")
    same(got, truth[(truth.index >= at("2024-01-03")) & (truth.index < at("2024-02-01"))])


def test_a_longer_period_asks_for_what_is_missing(cache, source):
    cache.download_bars(symbols=["AAPL"], period="1mo", interval="1d")  # from 2024-02-16
    source.taken()
    cache.download_bars(symbols=["AAPL"], period="3mo", interval="1d")  # from 2023-12-16
    assert source.taken() == [("history", "AAPL", at("2023-12-16"), at("2024-02-16"), "1d")]
    cache.download_bars(symbols=["AAPL"], period="5d", interval="1d")
    assert source.taken() == []


def test_days_without_a_session_are_not_asked_for(cache, source):
    cache.history("AAPL", start="2024-01-02", end="2024-01-13", auto_adjust=False)
    source.taken()
    # 2024-01-01 is New Year's Day, 13 and 14 a week-end, 15 Martin Luther King's Day.
    cache.history("AAPL", start="2023-12-30", end="2024-01-16", auto_adjust=False)
    assert source.taken() == []


def test_only_the_symbols_that_are_missing_are_asked_for(cache, source):
    cache.download_bars(symbols=["AAPL"], period="1mo", interval="1d")
    source.taken()
    cache.download_bars(symbols=["AAPL", "IBM"], period="1mo", interval="1d")
    assert source.taken() == [("download_bars", ("IBM",), "1mo", "1d")]


def test_the_last_three_sessions_are_read_again_after_a_new_one(tmp_path, clock):
    source = FakeSource(clock, preliminary=2, unfinished=False)
    cache = CachedProvider(source, tmp_path, now=clock)
    before = cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    source.taken()
    clock.now = at("2024-03-18 16:19")  # Monday's bar is final at 16:20
    cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    assert source.taken() == []
    clock.now = at("2024-03-18 16:20")
    after = cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    assert source.taken() == [("history", "AAPL", at("2024-03-13"), None, "1d")]
    # Thursday the 14th was preliminary on Friday (one dollar too high) and is corrected on Monday.
    assert before.loc[at("2024-03-14"), "close"] - after.loc[at("2024-03-14"), "close"] == pytest.approx(1.0)
    same(after, source.truth("AAPL")[lambda f: f.index >= at("2024-03-01")])


def test_a_past_range_read_while_it_was_recent_is_read_once_more(tmp_path, clock):
    source = FakeSource(clock, preliminary=2)
    cache = CachedProvider(source, tmp_path, now=clock)
    want = {"start": "2024-03-04", "end": "2024-03-16", "auto_adjust": False}
    cache.history("AAPL", **want)
    clock.now = at("2024-04-10 12:00")
    source.taken()
    got = cache.history("AAPL", **want)
    assert source.taken() == [("history", "AAPL", at("2024-03-13"), at("2024-03-16"), "1d")]
    same(got, source.truth("AAPL")[lambda f: (f.index >= at("2024-03-04")) & (f.index < at("2024-03-16"))])
    cache.history("AAPL", **want)
    assert source.taken() == []


def test_a_symbol_that_stopped_is_asked_once_a_session(tmp_path, clock):
    source = FakeSource(clock, last="2023-06-30")
    cache = CachedProvider(source, tmp_path, now=clock)
    first = cache.download_bars(symbols=["OLD"], period="1mo", interval="1d")
    assert first.loc["OLD"].index[[0, -1]].tolist() == [at("2023-05-31"), at("2023-06-30")]  # back from its last bar
    assert len(source.taken()) == 1
    same(cache.download_bars(symbols=["OLD"], period="1mo", interval="1d"), first)
    assert source.taken() == []
    clock.now = at("2024-03-18 17:00")
    same(cache.download_bars(symbols=["OLD"], period="1mo", interval="1d"), first)
    assert len(source.taken()) == 1


@pytest.mark.parametrize("held", [None, "2023-06-01", "2022-12-01"])
def test_a_stopped_symbol_among_others(tmp_path, clock, held):
    source = FakeSource(clock, stopped={"OLD": "2023-06-30"})
    cache = CachedProvider(source, tmp_path, now=clock)
    if held:
        cache.history("OLD", start=held, end="2023-07-15", auto_adjust=False)
    source.taken()
    want = source.truth("AAPL")[lambda f: f.index >= at("2023-12-16")]
    for requests in (1, 0):
        with pytest.warns(BotlibWarning, match="symbols-without-bars: fake has no 1d bars of OLD in the period 3mo"):
            got = cache.download_bars(symbols=["AAPL", "OLD"], period="3mo", interval="1d")
        same(got.loc["AAPL"], want)
        assert set(got.index.get_level_values(0)) == {"AAPL"}
        assert len(source.taken()) == requests
    alone = cache.download_bars(symbols=["OLD"], period="3mo", interval="1d").loc["OLD"]
    same(alone, source.truth("OLD")[lambda f: f.index >= at("2023-03-31")])  # three months up to 2023-06-30


def test_bars_that_a_source_adds_late_come_in(tmp_path, clock):
    source = FakeSource(clock, last="2024-03-05")  # it is late by more than the sessions that are read again
    cache = CachedProvider(source, tmp_path, now=clock)
    cache.history("AAPL", start="2024-02-01", auto_adjust=False)
    clock.now = at("2024-03-18 17:00")
    on_time = FakeSource(clock)
    cache.provider = on_time
    same(cache.history("AAPL", start="2024-02-01", auto_adjust=False),
         on_time.truth("AAPL")[lambda f: f.index >= at("2024-02-01")])


def test_what_was_listed_within_the_period(tmp_path, clock):
    source = FakeSource(clock, first="2024-02-05")
    cache = CachedProvider(source, tmp_path, now=clock)
    got = cache.download_bars(symbols=["NEW"], period="1y", interval="1d")
    assert got.loc["NEW"].index[0] == at("2024-02-05")
    source.taken()
    same(cache.download_bars(symbols=["NEW"], period="1y", interval="1d"), got)
    assert source.taken() == []


# --- bars that are not final --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("now", "last"), [
    ("2024-03-15 12:00", "2024-03-14"),
    ("2024-03-15 16:19", "2024-03-14"),
    ("2024-03-15 16:20", "2024-03-15"),
    ("2024-07-03 13:19", "2024-07-02"),  # a half day closes at 13:00
    ("2024-07-03 13:20", "2024-07-03"),
    ("2024-03-17 12:00", "2024-03-15"),
])
def test_an_unfinished_daily_bar_is_neither_served_nor_stored(tmp_path, now, last):
    clock = Clock(now)
    source = FakeSource(clock)
    cache = CachedProvider(source, tmp_path, now=clock)
    assert cache.download_bars(symbols=["AAPL"], period="1mo", interval="1d").loc["AAPL"].index[-1] == at(last)
    assert cache.history("AAPL", start="2024-01-02", auto_adjust=False).index[-1] == at(last)
    assert pd.read_parquet(parquet(tmp_path)).index[-1] == at(last)


def test_a_period_is_whole_although_the_source_counts_it_from_the_bar_in_progress(tmp_path):
    clock = Clock("2024-03-15 12:00")
    source = FakeSource(clock, unfinished=True)
    got = CachedProvider(source, tmp_path, now=clock).download_bars(symbols=["AAPL"], period="5d", interval="1d")
    assert got.loc["AAPL"].index.tolist() == [at(f"2024-03-{day}") for day in ("08", "11", "12", "13", "14")]


@pytest.mark.parametrize(("interval", "now", "last"), [
    ("5m", "2024-03-15 10:04", "2024-03-15 09:55"),
    ("5m", "2024-03-15 10:05", "2024-03-15 10:00"),
    ("1h", "2024-03-15 10:29", "2024-03-14 15:30"),
    ("1h", "2024-03-15 10:30", "2024-03-15 09:30"),
    ("1h", "2024-03-15 16:00", "2024-03-15 15:30"),  # the session's last bar ends with it
])
def test_an_unfinished_intraday_bar_is_neither_served_nor_stored(tmp_path, interval, now, last):
    clock = Clock(now)
    cache = CachedProvider(FakeSource(clock, first="2024-03-01"), tmp_path, now=clock)
    assert cache.history("AAPL", start="2024-03-12", interval=interval, auto_adjust=False).index[-1] == at(last)
    assert pd.read_parquet(parquet(tmp_path)).index[-1] == at(last)


def test_intraday_asks_for_new_bars_only_until_the_session_ends(tmp_path):
    clock = Clock("2024-03-15 11:00")
    source = FakeSource(clock, first="2024-03-01")
    cache = CachedProvider(source, tmp_path, now=clock)
    cache.download_bars(symbols=["AAPL"], period="5d", interval="5m")
    source.taken()
    clock.now = at("2024-03-15 11:04")
    cache.download_bars(symbols=["AAPL"], period="5d", interval="5m")
    assert source.taken() == []  # no bar has become final
    clock.now = at("2024-03-15 11:05")
    cache.download_bars(symbols=["AAPL"], period="5d", interval="5m")
    assert source.taken() == [("history", "AAPL", at("2024-03-15 11:00"), None, "5m")]
    clock.now = at("2024-03-15 16:30")
    got = cache.download_bars(symbols=["AAPL"], period="5d", interval="5m")
    (request,) = source.taken()
    assert request[2] == at("2024-03-12")  # three sessions were not settled: 12, 13 and 14, and today
    same(got.loc["AAPL"], source.truth("AAPL", "5m")[lambda f: f.index >= at("2024-03-11")])
    assert len(got) == 5 * 78


# --- any sequence of requests -------------------------------------------------------------------------------------

DAYS = pd.bdate_range("2023-11-01", "2024-04-30")
REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just("range"), st.integers(0, len(DAYS) - 1), st.integers(1, 60)),
        st.tuples(st.just("period"), st.sampled_from(["1d", "5d", "30d", "1mo", "3mo"]), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 90), st.just(0)),
    ), min_size=1, max_size=12)


def direct(source: FakeSource, request: tuple, name: str) -> pd.DataFrame:
    """What the source itself would answer, without its bar in progress."""
    truth = source.truth(name)
    if request[0] == "period":
        return truth[truth.index >= period_start(truth.index[-1], request[1])]
    start = DAYS[request[1]].tz_localize("America/New_York")
    return truth[(truth.index >= start) & (truth.index < start + pd.DateOffset(days=request[2]))]


def through(cache: CachedProvider, request: tuple, name: str) -> pd.DataFrame:
    if request[0] == "period":
        return cache.download_bars(symbols=[name], period=request[1], interval="1d").loc[name]
    start = DAYS[request[1]]
    return cache.history(name, start=start, end=start + pd.DateOffset(days=request[2]), auto_adjust=False)


@pytest.mark.slow
@given(requests=REQUESTS, unfinished=st.booleans(), first=st.sampled_from(["2023-01-03", "2024-01-17"]),
       adjustment=st.sampled_from(["raw", "split", "all"]))
@settings(max_examples=60)
def test_any_sequence_equals_the_source(tmp_path_factory, requests, unfinished, first, adjustment):
    clock = Clock("2024-02-14 15:00")
    actions = pd.DataFrame({"symbol": ["A", "A"], "ex_date": pd.to_datetime(["2024-02-20", "2024-02-27"]),
                            "type": ["split", "cash_dividend"], "value": [2.0, 0.5]})
    source = FakeSource(clock, first=first, preliminary=2, unfinished=unfinished, adjustment=adjustment,
                        actions_table=actions)
    cache = CachedProvider(source, tmp_path_factory.mktemp("cache"), now=clock)
    for request in requests:
        if request[0] == "wait":
            clock.now += pd.Timedelta(hours=request[1])
            continue
        want = direct(source, request, "A")
        if want.empty:
            with pytest.raises(DataError, match="^No data returned from fake"):
                through(cache, request, "A")
        else:
            same(through(cache, request, "A"), want)


class Remembered:
    """Session by session, what a perfect memory would know: a second reckoning, without interval arithmetic."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source
        self.asked: dict[int, int] = {}  # number of a session → final sessions when it was last asked for

    def lacking(self, days: pd.DatetimeIndex) -> list[list[int]]:
        """Runs of consecutive sessions that must be asked for."""
        final = self.source.final()
        need = [i for i, day in enumerate(self.source.days[:final]) if days[0] <= day <= days[-1]
                and not (i in self.asked and (self.asked[i] == final or self.asked[i] - i > 3))]
        runs: list[list[int]] = []
        for i in need:
            if runs and runs[-1][-1] == i - 1:
                runs[-1].append(i)
            else:
                runs.append([i])
        return runs

    def note(self, runs: list[list[int]]) -> None:
        for i in (i for run in runs for i in run):
            self.asked[i] = self.source.final()


@pytest.mark.slow
@given(requests=REQUESTS)
@settings(max_examples=80)
def test_nothing_is_asked_for_twice(tmp_path_factory, requests):
    clock = Clock("2024-02-14 15:00")
    source = FakeSource(clock, unfinished=False)
    cache = CachedProvider(source, tmp_path_factory.mktemp("cache"), now=clock)
    memory = Remembered(source)
    for request in requests:
        if request[0] == "wait":
            clock.now += pd.Timedelta(hours=request[1])
            continue
        want = direct(source, request, "A")
        if want.empty:
            continue
        runs = memory.lacking(want.index)
        same(through(cache, request, "A"), want)
        taken = source.taken()
        assert len(taken) == len(runs), (taken, runs)
        for kind, *rest in taken:
            if kind == "history":  # each request lies within a run: no session beside it is asked for
                _, start, end, _ = rest
                inside = [i for i, day in enumerate(source.days[:source.final()])
                          if day >= start and (end is None or day < end)]
                assert inside in runs
        memory.note(runs)


def test_spans_answer_only_while_they_are_fresh():
    spans = cover([], 10, 20, SETTLED)
    spans = cover(spans, 20, 30, 7)
    assert missing(spans, 5, 35, 7) == [(5, 10), (30, 35)]
    assert missing(spans, 5, 35, 8) == [(5, 10), (20, 35)]
    assert cover(spans, 15, 25, SETTLED) == [Span(10, 25, SETTLED), Span(25, 30, 7)]
    assert missing(spans, 12, 18, 99) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(0, 3)), max_size=8),
       st.integers(0, 30), st.integers(1, 12), st.integers(0, 3))
def test_spans_equal_a_point_by_point_reckoning(asked, start, length, asof):
    spans: list[Span] = []
    points: dict[int, int] = {}
    for a, n, when in asked:
        spans = cover(spans, a, a + n, when)
        points |= dict.fromkeys(range(a, a + n), when)
    gaps = missing(spans, start, start + length, asof)
    lacking = {p for p in range(start, start + length) if points.get(p, -1) < asof}
    assert {p for a, b in gaps for p in range(a, b)} == lacking
    assert all(a < b for a, b in gaps)
    assert all(left[1] < right[0] for left, right in zip(gaps, gaps[1:], strict=False))  # no two that could be one


# --- adjustment and actions ---------------------------------------------------------------------------------------

SPLIT = pd.DataFrame({"symbol": ["AAPL"], "ex_date": pd.to_datetime(["2024-03-18"]), "type": ["split"], "value": [2.0]})


def test_raw_bars_are_stored_and_adjusted_on_reading(tmp_path, clock):
    source = FakeSource(clock, actions_table=SPLIT.assign(ex_date=pd.Timestamp("2024-03-11"), value=4.0))
    cache = CachedProvider(source, tmp_path, now=clock)
    raw = cache.history("AAPL", start="2024-03-07", end="2024-03-13", auto_adjust=False)
    assert [r[0] for r in source.taken()] == ["history"]
    adjusted = cache.history("AAPL", start="2024-03-07", end="2024-03-13")
    assert source.taken() == [("actions", ("AAPL",))]  # no bar is asked for again
    by_hand = raw.copy()
    by_hand.loc[:at("2024-03-08"), ["open", "high", "low", "close"]] /= 4.0
    by_hand.loc[:at("2024-03-08"), "volume"] *= 4.0
    same(adjusted, by_hand)
    same(cache.history("AAPL", start="2024-03-07", end="2024-03-13", auto_adjust=False), raw)
    cache.history("AAPL", start="2024-03-07", end="2024-03-13")
    assert source.taken() == []


@pytest.mark.parametrize("adjustment", ["split", "all"])
def test_a_source_that_adjusts_is_read_anew_after_an_action(tmp_path, clock, adjustment):
    source = FakeSource(clock, adjustment=adjustment, actions_table=SPLIT)
    cache = CachedProvider(source, tmp_path, now=clock)
    want = {"start": "2024-01-02", "end": "2024-02-01", "auto_adjust": False}
    before = cache.history("AAPL", **want)
    source.taken()
    clock.now = at("2024-03-18 08:00")  # the morning of the ex-date
    after = cache.history("AAPL", **want)
    assert source.taken() == [("actions", ("AAPL",)), ("history", "AAPL", at("2024-01-02"), at("2024-02-01"), "1d")]
    same(after, source.truth("AAPL")[lambda f: (f.index >= at("2024-01-02")) & (f.index < at("2024-02-01"))])
    assert (before["close"] / after["close"]).to_numpy() == pytest.approx(2.0)
    cache.history("AAPL", **want)
    assert source.taken() == []


def test_a_rewritten_past_is_noticed_without_an_action(tmp_path, clock):
    source = FakeSource(clock, adjustment="split")
    cache = CachedProvider(source, tmp_path, now=clock)
    cache.history("AAPL", start="2024-01-02", auto_adjust=False)
    clock.now = at("2024-03-18 17:00")
    rewritten = FakeSource(clock, adjustment="split", actions_table=SPLIT)
    cache.provider = rewritten
    rewritten.actions = lambda symbols: frames.check_actions(SPLIT.iloc[:0])  # its list of actions is late
    got = cache.history("AAPL", start="2024-01-02", auto_adjust=False)
    same(got, rewritten.truth("AAPL")[lambda f: f.index >= at("2024-01-02")])


def test_a_dividend_does_not_touch_a_source_that_adjusts_for_splits(tmp_path, clock):
    dividend = SPLIT.assign(type="cash_dividend", value=0.5)
    source = FakeSource(clock, adjustment="split", actions_table=dividend)
    cache = CachedProvider(source, tmp_path, now=clock)
    cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    clock.now = at("2024-03-19 08:00")
    source.taken()
    cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    assert source.taken() == [("actions", ("AAPL",))]


def test_actions_are_asked_for_once_a_day_and_after_each_session(cache, source, clock):
    for when, asked in [("2024-03-15 17:00", 1), ("2024-03-15 23:00", 0), ("2024-03-16 09:00", 1),
                        ("2024-03-18 10:00", 1), ("2024-03-18 16:00", 0), ("2024-03-18 16:20", 1)]:
        clock.now = at(when)
        cache.actions(["AAPL"])
        assert len(source.taken()) == asked, when


# --- damage, and two at once --------------------------------------------------------------------------------------

def test_a_file_cut_anywhere_is_noticed_and_fetched_again(cache, source, tmp_path):
    want = cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    path = parquet(tmp_path)
    whole = path.read_bytes()
    for size in {0, 1, 4, 100, len(whole) // 2, len(whole) - 100, len(whole) - 5, len(whole) - 1}:
        path.write_bytes(whole[:size])
        source.taken()
        with pytest.warns(BotlibWarning, match="cache-torn"):
            same(cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False), want)
        assert len(source.taken()) == 1
        assert parquet(tmp_path).read_bytes() == whole


def test_no_flipped_byte_changes_an_answer(cache, source, tmp_path):
    want = cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    path = parquet(tmp_path)
    whole = path.read_bytes()
    noticed = 0
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1:])
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            same(cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False), want)
        noticed += any(getattr(w.message, "name", "") == "cache-torn" for w in seen)
        path.write_bytes(whole)
    assert noticed > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["1d-raw", "actions"])
def test_a_flip_of_any_byte_is_noticed_or_harmless(tmp_path, source, kind):
    bars = source.truth("AAPL").iloc[-3:].tz_convert("UTC")
    held = Series(frames.check_actions(SPLIT), asof=[1, 2]) if kind == "actions" else Series(bars, [Span(1, 2, 3)])
    store = Store(tmp_path)
    store.save(kind, "AAPL", held)
    path = store.path(kind, "AAPL")
    whole = path.read_bytes()
    noticed = 0
    for position, byte in enumerate(whole):
        path.write_bytes(whole[:position] + bytes([byte ^ 1]) + whole[position + 1:])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = store.load(kind, "AAPL")
        if found is None:
            noticed += 1
            continue
        same(found.frame, held.frame)
        assert (found.spans, found.asof, found.basis) == (held.spans, held.asof, held.basis)
    assert noticed > 1000


def test_labels_in_another_unit_are_noticed(tmp_path, source):
    store = Store(tmp_path)
    store.save("1d-raw", "AAPL", Series(source.truth("AAPL").iloc[-3:].tz_convert("UTC")))
    path = store.path("1d-raw", "AAPL")
    whole = pyarrow.parquet.read_table(path)
    labels = whole.column("timestamp").cast("int64").cast(pyarrow.timestamp("us", "UTC"))  # the same numbers
    pyarrow.parquet.write_table(whole.set_column(5, "timestamp", labels).replace_schema_metadata(
        whole.schema.metadata), path)
    with pytest.warns(BotlibWarning, match="cache-torn"):
        assert store.load("1d-raw", "AAPL") is None


def test_a_file_of_another_version_is_fetched_again(cache, source, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache_store, "_VERSION", 1)
        want = cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    source.taken()
    with pytest.warns(BotlibWarning, match="cache-torn.*of another version; its data is fetched again"):
        same(cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False), want)
    assert len(source.taken()) == 1
    same(cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False), want)
    assert source.taken() == []


def test_a_negative_nan_is_held_as_it_came(tmp_path, source):
    bars = source.truth("AAPL").iloc[-3:].tz_convert("UTC")
    bars["volume"] = np.array([1.0, np.copysign(np.nan, -1.0), np.nan])  # 0/0 has the sign on x86
    Store(tmp_path).save("1d-raw", "AAPL", Series(bars))
    found = Store(tmp_path).load("1d-raw", "AAPL")
    assert found is not None
    assert np.signbit(found.frame["volume"]).tolist() == [False, True, False]


def test_what_a_user_does_to_an_answer_does_not_reach_the_next(cache):
    want = {"start": "2024-03-01", "end": "2024-03-05", "auto_adjust": False}
    cache.history("AAPL", **want)
    got = cache.history("AAPL", **want)
    got.columns.name = got.index.name = "mine"
    got.iloc[:, :] = 0.0
    again = cache.history("AAPL", **want)
    assert again.columns.name is None
    assert again.index.name == "timestamp"
    assert (again["close"] > 0).all()


def test_a_file_of_another_symbol_is_not_believed(cache, source, tmp_path):
    cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    cache.history("MSFT", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    parquet(tmp_path, "MSFT").write_bytes(parquet(tmp_path, "AAPL").read_bytes())
    with pytest.warns(BotlibWarning, match="cache-torn"):
        got = cache.history("MSFT", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    same(got, source.truth("MSFT")[lambda f: (f.index >= at("2024-01-02")) & (f.index < at("2024-02-01"))])


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_serves_the_data(cache, source, tmp_path, monkeypatch, step):
    cache.history("AAPL", start="2024-01-02", end="2024-01-20", auto_adjust=False)
    before = parquet(tmp_path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", full) if step == "fsync" else (Path, "replace", full)))
        with pytest.warns(BotlibWarning, match="cache-not-written.*No space left"):
            got = cache.history("AAPL", start="2024-01-02", end="2024-02-01", auto_adjust=False)
    assert len(got) == 21
    assert parquet(tmp_path).read_bytes() == before
    assert not list(tmp_path.rglob("*.tmp"))


WRITER = """
import sys, time, pathlib
sys.path.insert(0, {tests!r})
from fake_source import Clock, FakeSource
from botlib.providers.cache import CachedProvider
from botlib.providers.frames import data_hash
folder = pathlib.Path({folder!r})
clock = Clock("2024-03-15 17:00")
source = FakeSource(clock)
told = source._request
def slow(*what):
    with open(folder / "requests.log", "a") as log:
        log.write(repr(what) + chr(10))
    time.sleep(0.2)
    told(*what)
source._request = slow
cache = CachedProvider(source, folder / "cache", now=clock)
(folder / ("ready" + sys.argv[1])).touch()
while len(list(folder.glob("ready*"))) < 3:
    time.sleep(0.005)
frame = cache.download_bars(symbols=["AAPL", "MSFT"], period="3mo", interval="1d")
print(data_hash(frame))
"""


@pytest.mark.slow
def test_processes_at_once_download_once_and_agree(tmp_path, root):
    script = WRITER.format(tests=str(root / "tests"), folder=str(tmp_path))
    running = [subprocess.Popen([sys.executable, "-c", script, str(i)], stdout=subprocess.PIPE, text=True, cwd=root)
               for i in range(3)]
    answers = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(answers)) == 1
    assert len(answers[0]) == 64
    assert len((tmp_path / "requests.log").read_text().splitlines()) == 1


def test_what_another_process_fetched_while_we_waited_is_not_fetched_again(cache, source, clock, tmp_path, monkeypatch):
    lock = cache._store.lock

    @contextmanager
    def slow_lock():
        CachedProvider(source, tmp_path, now=clock).history("AAPL", start="2024-03-01", auto_adjust=False)
        with lock():
            yield

    monkeypatch.setattr(cache._store, "lock", slow_lock)
    cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    assert len(source.taken()) == 1


# --- without the source -------------------------------------------------------------------------------------------

def test_offline_serves_what_it_holds_and_says_so(cache, source, clock):
    want = cache.download_bars(symbols=["AAPL"], period="1mo", interval="1d")
    clock.now = at("2024-03-20 17:00")
    source.down = True
    with pytest.warns(BotlibWarning, match="served-from-cache: fake cannot be reached.*ends 2024-03-15"):
        same(cache.download_bars(symbols=["AAPL"], period="1mo", interval="1d"), want)
    with pytest.warns(BotlibWarning, match="served-from-cache"):
        same(cache.history("AAPL", start="2024-03-01", auto_adjust=False), want.loc["AAPL"][at("2024-03-01"):])


def test_offline_without_the_data_is_an_error_that_says_what_is_missing(cache, source, clock):
    cache.history("AAPL", start="2024-03-01", end="2024-03-13", auto_adjust=False)
    source.down = True
    with pytest.raises(ProviderError, match="fake cannot be reached .*not hold all 1d bars of AAPL from 2024-02-01"):
        cache.history("AAPL", start="2024-02-01", end="2024-03-13", auto_adjust=False)
    with pytest.raises(ProviderError, match="does not hold all 1d bars of AAPL for the period 3mo"):
        cache.download_bars(symbols=["AAPL"], period="3mo", interval="1d")
    with pytest.raises(ProviderError, match="lacks the actions of IBM"):
        cache.actions(["IBM"])


def test_offline_a_range_that_goes_on_behind_the_cache_is_not_served_short(cache, source, clock):
    cache.history("AAPL", start="2024-03-01", end="2024-03-13", auto_adjust=False)
    source.down = True
    with pytest.raises(ProviderError, match="does not hold all"):
        cache.history("AAPL", start="2024-03-01", end="2024-03-15", auto_adjust=False)


def test_offline_prices_that_an_action_has_made_obsolete_are_not_served(tmp_path, clock):
    source = FakeSource(clock, adjustment="split", actions_table=SPLIT)
    cache = CachedProvider(source, tmp_path, now=clock)
    cache.history("AAPL", start="2024-03-01", end="2024-03-13", auto_adjust=False)
    clock.now = at("2024-03-18 08:00")
    cache.actions(["AAPL"])  # the split is known by now
    source.down = True
    with pytest.raises(ProviderError, match="does not hold all"):
        cache.history("AAPL", start="2024-03-01", end="2024-03-13", auto_adjust=False)


def test_a_failure_of_the_system_counts_as_the_sources(cache, source, monkeypatch):
    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(source, "history", lost)
    with pytest.raises(ProviderError, match="fake cannot be reached .reset by peer."):
        cache.history("AAPL", start="2024-03-01", end="2024-03-13", auto_adjust=False)


def test_bars_that_vanish_are_kept_with_a_warning(tmp_path, clock):
    cache = CachedProvider(FakeSource(clock), tmp_path, now=clock)
    want = cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    cache.provider = FakeSource(clock, last="2024-01-31")
    clock.now = at("2024-03-18 17:00")
    with pytest.warns(BotlibWarning, match="bars-withdrawn"):
        same(cache.history("AAPL", start="2024-03-01", auto_adjust=False), want)


# --- names, keys, options -----------------------------------------------------------------------------------------

SYMBOLS = ["BRK.B", "BTC/USD", "ON", "CON", "NUL", "COM1", "on", "On", "A B", "..", ".", "a%b", "ÆØ", "BRK%2EB",
           "X" * 300]


def test_any_symbol_is_a_safe_file_name(cache, source, tmp_path):
    for symbol in SYMBOLS:
        cache.history(symbol, start="2024-03-01", end="2024-03-05", auto_adjust=False)
    source.taken()
    for symbol in SYMBOLS:
        same(cache.history(symbol, start="2024-03-01", end="2024-03-05", auto_adjust=False),
             source.truth(symbol)[lambda f: (f.index >= at("2024-03-01")) & (f.index < at("2024-03-05"))])
    assert source.taken() == []
    names = [path.name for path in tmp_path.rglob("*.parquet")]
    assert len({name.lower() for name in names}) == len(SYMBOLS)  # also where case does not count
    assert not {name.split(".")[0] for name in names} & {"CON", "NUL", "COM1"}
    assert all(path.resolve().is_relative_to(tmp_path) for path in tmp_path.rglob("*"))


@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=2, unique=True))
def test_two_symbols_never_share_a_file(pair):
    first, second = (safe_name(symbol.encode("utf-8", "replace").decode()) for symbol in pair)
    if len({symbol.encode("utf-8", "replace") for symbol in pair}) == 2:
        assert first.lower() != second.lower()


def test_what_differs_in_the_key_is_kept_apart(tmp_path, clock):
    seen = set()
    for name, adjustment, feed in [("one", "raw", ""), ("two", "raw", ""), ("one", "split", ""), ("one", "raw", "iex")]:
        source = FakeSource(clock, name=name, adjustment=adjustment)
        source.feed = feed
        cache = CachedProvider(source, tmp_path, now=clock)
        cache.history("AAPL", start="2024-03-01", end="2024-03-05", auto_adjust=False)
        assert source.taken("history") != []
        seen |= {p for p in tmp_path.rglob("AAPL.parquet") if p.parent.name != "actions"}
    assert len(seen) == 4


def test_the_hash_is_the_datas_not_the_machines(source):
    frame = source.truth("AAPL")
    elsewhere = frame.set_axis(frame.index.tz_convert("UTC").as_unit("s"))
    assert frames.data_hash(frame) == frames.data_hash(elsewhere)
    changed = frame.copy()
    changed.iloc[5, 3] += 0.01
    assert frames.data_hash(changed) != frames.data_hash(frame)


def test_a_folder_that_cannot_be_made(source, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="the cache folder .*taken.* cannot be made"):
        CachedProvider(source, tmp_path / "taken")


@pytest.mark.parametrize("value", [-1, 1.5, True, 261])
def test_recheck_sessions_out_of_range(source, tmp_path, value):
    with pytest.raises(InputError, match=r"recheck_sessions = .* is out of range: valid is 0 to 260"):
        CachedProvider(source, tmp_path, recheck_sessions=value)


def test_no_session_is_read_again_when_told_so(tmp_path, clock):
    source = FakeSource(clock)
    cache = CachedProvider(source, tmp_path, now=clock, recheck_sessions=0)
    cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    clock.now = at("2024-03-18 17:00")
    source.taken()
    cache.history("AAPL", start="2024-03-01", auto_adjust=False)
    assert source.taken() == [("history", "AAPL", at("2024-03-16"), None, "1d")]


def test_an_answer_that_would_poison_the_cache_is_refused(cache, source, monkeypatch):
    good = source.truth("AAPL")
    for bad, message in [(good.tz_localize(None), "without tz-aware timestamps"),
                         (good[::-1], "not in strictly rising"),
                         (pd.concat([good, good.iloc[-1:]]), "not in strictly rising"),
                         (good.drop(columns="low"), "without the column low")]:
        monkeypatch.setattr(source, "history", lambda *_, bad=bad, **__: bad)
        with pytest.raises(DataError, match=message):
            cache.history("AAPL", start="2024-03-01", auto_adjust=False)


def test_a_market_that_never_closes():
    sessions = Sessions("24/7")
    assert sessions.tz == "UTC"
    saturday = pd.Timestamp("2024-03-16 00:19", tz="UTC")
    assert sessions.limit("1d", saturday) == pd.Timestamp("2024-03-15", tz="UTC").value
    assert sessions.limit("1d", saturday + pd.Timedelta(minutes=1)) == pd.Timestamp("2024-03-16", tz="UTC").value
    assert sessions.any_between(saturday.value, saturday.value + 1, "5m")


def test_final_bars_agree_with_the_calendars_rule():
    """`Sessions.limit` (a bound of labels) against `calendars.final_times` (a time for each bar), with a half day."""
    from botlib.calendars import days_of, final_times, schedule

    sessions, timetable = Sessions("XNYS"), schedule("XNYS")
    for interval, minutes in [("1d", None), ("5m", 5), ("30m", 30), ("1h", 60)]:
        clock = Clock("2024-07-05 23:00")
        source = FakeSource(clock, first="2024-06-28", last="2024-07-05")
        labels = source.truth("A", "1d" if minutes is None else "5m").index
        if minutes:
            labels = labels[(labels - labels.normalize() - pd.Timedelta(minutes=570)) % pd.Timedelta(minutes=minutes)
                            == pd.Timedelta(0)]
        final = final_times(labels.asi8, days_of(labels), minutes, timetable)
        for now in pd.date_range("2024-07-02 08:00", "2024-07-05 22:00", freq="17min", tz="America/New_York"):
            assert ((final <= now.value) == (labels.asi8 < sessions.limit(interval, now))).all(), (interval, now)
