"""Market data of the sandbox: bars, adjustments, pages, prints, corporate actions — and nothing of tomorrow."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_helpers import NEW_YORK, Desk, market, minutes, steady

from botlib.bars import FIELDS, Bars

LONG_AGO, LATER = "2000-01-01", "2100-01-01"
NAMES = {"1m": "1Min", "5m": "5Min", "15m": "15Min", "30m": "30Min", "1h": "1Hour", "1d": "1Day"}


def bars_of(desk: Desk, symbols: str = "AAPL", timeframe: str = "1Day", **query: Any) -> dict[str, list[Any]]:
    """Every bar, page by page."""
    found: dict[str, list[Any]] = {}
    query = {"start": LONG_AGO, "end": LATER, **query}
    token = None
    while True:
        page = desk.get("/v2/stocks/bars", symbols=symbols, timeframe=timeframe, page_token=token, **query)
        for symbol, bars in page["bars"].items():
            found.setdefault(symbol, []).extend(bars)
        token = page["next_page_token"]
        if token is None:
            return found


# --- Bars -------------------------------------------------------------------------------------------------------------

def test_a_daily_bar_is_stamped_with_midnight_in_new_york():
    desk = Desk(market({"AAPL": [(100.0, 101.5, 99.25, 100.1234, 1234.0)] * 10}), first=7)
    made = bars_of(desk)["AAPL"]
    assert [bar["t"] for bar in made[4:6]] == ["2024-03-08T05:00:00Z", "2024-03-11T04:00:00Z"]  # daylight saving began
    assert made[0] == {"c": 100.1234, "h": 101.5, "l": 99.25, "n": 0, "o": 100, "t": "2024-03-04T05:00:00Z", "v": 1234,
                       "vw": 100.291133}
    text = desk.ask("GET", "/v2/stocks/bars", symbols="AAPL", timeframe="1Day", start=LONG_AGO).body.decode()
    assert '"o":100,' in text  # as Alpaca writes it: no 100.0


def test_trade_counts_and_prices_of_the_data_themselves_are_served():
    flat = np.full((3, 1), 7.0)
    bars = market({"AAPL": [(100, 101, 99, 100)] * 3}, extra={"trade_count": flat, "vwap": flat * 14.5})
    response = Desk(bars).ask("GET", "/v2/stocks/AAPL/bars/latest")
    assert (response.json()["bar"]["n"], response.json()["bar"]["vw"]) == (7, 101.5)
    assert "X-Sandbox-Synthetic" not in response.headers
    made_up = Desk().ask("GET", "/v2/stocks/AAPL/bars/latest")
    assert made_up.headers["X-Sandbox-Synthetic"] == "vwap,trade_count"


def test_one_symbol_has_its_own_form():
    made = Desk().get("/v2/stocks/AAPL/bars", timeframe="1Day", start=LONG_AGO)
    assert (sorted(made), made["symbol"], len(made["bars"])) == (["bars", "next_page_token", "symbol"], "AAPL", 1)


@pytest.mark.parametrize("query", [
    {"symbols": "ZZZZ"}, {"symbols": "AAPL", "start": "2024-06-01"}, {"symbols": "AAPL", "end": "1999-01-01"},
])
def test_nothing_is_an_empty_object(query):
    made = Desk().get("/v2/stocks/bars", timeframe="1Day", **{"start": "1990-01-01", "end": LATER, **query})
    assert made == {"bars": {}, "next_page_token": None}


def test_an_unknown_symbol_alone_has_no_bars():
    made = Desk().get("/v2/stocks/ZZZZ/bars", timeframe="1Day", start=LONG_AGO)
    assert made == {"bars": [], "next_page_token": None, "symbol": "ZZZZ"}


@pytest.mark.parametrize(("query", "words"), [
    ({"symbols": "AAPL,a b"}, "invalid symbol: a b"), ({"symbols": "aapl"}, "invalid symbol: aapl"),
    ({"symbols": ""}, "symbols is required"), ({"timeframe": "2Week"}, "invalid timeframe: 2Week"),
    ({"timeframe": "60Min"}, "invalid timeframe: 60Min"), ({"timeframe": "5Month"}, "invalid timeframe: 5Month"),
    ({"timeframe": "24Hour"}, "invalid timeframe: 24Hour"), ({"timeframe": "0Min"}, "invalid timeframe: 0Min"),
    ({"timeframe": "hour"}, "invalid timeframe: hour"), ({"timeframe": None}, "invalid timeframe"),
    ({"timeframe": "1Min"}, "serves 1Day"), ({"start": "2024-02-30"}, "invalid start"),
    ({"start": "2024-03-05", "end": "2024-03-04"}, "end should not be before start"),
    ({"limit": "0"}, "limit must be"), ({"limit": "10001"}, "limit must be"), ({"limit": "ten"}, "limit must be"),
    ({"adjustment": "some"}, "invalid adjustment: some"), ({"sort": "up"}, "invalid sort"),
    ({"feed": "moon"}, "invalid feed"), ({"currency": "EUR"}, "USD only"), ({"page_token": "???"}, "page_token"),
    ({"page_token": "QUFQTA=="}, "page_token"), ({"surprise": "1"}, "unexpected parameter(s): surprise"),
    ({"asof": "yesterday"}, "invalid asof"),
])
def test_a_wrong_request_is_400_with_a_message_only(query, words):
    status, code, message = Desk().refused("GET", "/v2/stocks/bars", **{
        "symbols": "AAPL", "timeframe": "1Day", "start": "2024-03-04", **query})
    assert (status, code) == (400, None)
    assert words in message


@pytest.mark.parametrize("feed", ["otc", "boats"])
def test_feeds_there_are_not(feed):
    status, code, message = Desk().refused("GET", "/v2/stocks/bars", symbols="AAPL", timeframe="1Day", feed=feed)
    assert (status, code, message) == (403, None, f"subscription does not permit querying {feed} data")


def test_start_and_end_are_both_in():
    desk = Desk(steady(8), first=7)
    days = [bar["t"][:10] for bar in bars_of(desk, start="2024-03-05", end="2024-03-07")["AAPL"]]
    assert days == ["2024-03-05", "2024-03-06", "2024-03-07"]
    exact = {"start": "2024-03-05T05:00:00Z", "end": "2024-03-06T05:00:00+00:00"}
    assert len(bars_of(desk, **exact)["AAPL"]) == 2
    late = {"start": "2024-03-05T05:00:00.000000001Z", "end": "2024-03-06T04:59:59Z"}
    assert bars_of(desk, **late) == {}


def test_without_a_start_it_is_today():
    desk = Desk(minutes(2, 30), first=20)
    made = desk.get("/v2/stocks/bars", symbols="AAPL", timeframe="30Min")["bars"]["AAPL"]
    assert {bar["t"][:10] for bar in made} == {"2024-03-05"}
    assert len(made) == 7


def test_a_symbol_without_a_bar_at_a_label_is_left_out():
    bars = market({"AAPL": [(100, 101, 99, 100)] * 4, "KO": [None, (50, 51, 49, 50), None, (50, 51, 49, 50)]})
    assert [bar["t"][:10] for bar in bars_of(Desk(bars, first=3), "KO,AAPL")["KO"]] == ["2024-03-05"]


# --- Pages ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("kind", ["bars", "trades", "quotes"])
def test_pages_put_together_are_the_whole(kind, limit, sort):
    desk = Desk(steady(6), first=5)
    query: dict[str, Any] = {"symbols": "TSLA,AAPL,KO", "start": LONG_AGO, "sort": sort}
    if kind == "bars":
        query["timeframe"] = "1Day"
    whole = desk.get(f"/v2/stocks/{kind}", **query, limit=10_000)
    assert whole["next_page_token"] is None
    found: dict[str, list[Any]] = {}
    token, sizes = None, []
    while True:
        page = desk.get(f"/v2/stocks/{kind}", **query, limit=limit, page_token=token)
        sizes.append(sum(len(points) for points in page[kind].values()))
        for symbol, points in page[kind].items():
            found.setdefault(symbol, []).extend(points)
        token = page["next_page_token"]
        if token is None:
            break
    assert found == whole[kind]
    assert list(found) == ["AAPL", "KO", "TSLA"]
    assert all(size == limit for size in sizes[:-1])  # points across symbols, never an empty page
    assert sizes[-1] > 0
    times = [point["t"] for point in found["KO"]]
    assert times == sorted(times, reverse=sort == "desc")


def test_a_token_names_the_last_point_as_alpaca_does():
    page = Desk(steady(6), first=5).get("/v2/stocks/bars", symbols="AAPL", timeframe="1Day", start=LONG_AGO, limit=2)
    assert base64.b64decode(page["next_page_token"]) == b"AAPL|D|2024-03-05T05:00:00.000000000Z"


# --- Longer bars ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("interval", ["5m", "15m", "30m", "1d"])
def test_longer_bars_are_those_of_resample(interval):
    """At the end of the data, every bin is complete: they must be botlib's own, half day included."""
    bars = minutes(3, 5, first="2024-07-02")
    desk = Desk(bars, first=len(bars) - 1)
    desk.exchange.advance()
    expected = bars.resample(interval)
    labels = [f"{t.tz_convert('UTC'):%Y-%m-%dT%H:%M:%SZ}" for t in expected.index]
    made = bars_of(desk, "AAPL,KO", NAMES[interval])
    for n, symbol in enumerate(expected.symbols):
        assert [bar["t"] for bar in made[symbol]] == labels
        for letter, name in zip("ohlcv", FIELDS):
            assert [bar[letter] for bar in made[symbol]] == getattr(expected, name)[:, n].tolist(), name


@pytest.mark.parametrize(("timeframe", "rule"), [
    ("1Hour", "60min"), ("1H", "60min"), ("2Hour", "120min"), ("4H", "240min"), ("10Min", "10min"), ("45T", "45min"),
])
def test_minutes_and_hours_are_counted_from_midnight(timeframe, rule):
    """As pandas groups them, whose bins are anchored at the midnight of each day too; from a half day to a full one."""
    bars = minutes(3, 5, first="2024-07-02")
    desk = Desk(bars, first=len(bars) - 1)
    desk.exchange.advance()
    frame = pd.DataFrame({name: getattr(bars, name)[:, 0] for name in FIELDS}, bars.index)
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    days = [day.resample(rule, origin="start_day").agg(how).dropna() for _, day in frame.groupby(frame.index.date)]
    expected = pd.concat(days)
    made = bars_of(desk, timeframe=timeframe)["AAPL"]
    assert [pd.Timestamp(bar["t"]) for bar in made] == list(expected.index)
    for letter, name in zip("ohlcv", FIELDS):
        assert [bar[letter] for bar in made] == expected[name].tolist(), name


def test_hours_start_on_the_full_hour_as_alpacas_do():
    desk = Desk(minutes(1, 30), first=12)
    desk.exchange.advance()
    made = bars_of(desk, timeframe="1Hour")["AAPL"]
    assert [bar["t"][11:16] for bar in made] == ["14:00", "15:00", "16:00", "17:00", "18:00", "19:00", "20:00"]  # UTC
    assert made[0]["o"] == desk.exchange.bars.open[0, 0]  # 9:00 in New York reaches back before the open
    assert made[0]["c"] == desk.exchange.bars.close[0, 0]


def test_bars_outside_regular_hours_are_in_the_hours_and_not_in_the_day():
    stamps = [f"2024-03-04 {t}" for t in ("09:00", "09:30", "10:00", "15:30", "16:00")]
    index = pd.DatetimeIndex(stamps).tz_localize(NEW_YORK).as_unit("ns")
    cells = [(n, n, n, n, 100.0 * n) for n in (1.0, 2.0, 3.0, 4.0, 5.0)]
    desk = Desk(market({"AAPL": cells}, index, interval="30m"), first=4)
    desk.exchange.advance()
    assert [(bar["o"], bar["c"], bar["v"]) for bar in bars_of(desk, timeframe="1Hour")["AAPL"]] == [
        (1, 2, 300), (3, 3, 300), (4, 4, 400), (5, 5, 500)]
    assert [(bar["o"], bar["c"], bar["v"]) for bar in bars_of(desk)["AAPL"]] == [(2, 4, 900)]


def test_weeks_are_labelled_by_monday_and_months_by_their_first_day():
    """28 sessions from Monday 2024-03-04 to 2024-04-11; on Good Friday, 03-29, the exchange is closed."""
    cells = [(float(n), n + 0.5, n - 0.5, n + 0.25, 100.0) for n in range(1, 29)]
    desk = Desk(market({"AAPL": cells}), first=26)
    weeks = bars_of(desk, timeframe="1Week")["AAPL"]
    assert [bar["t"] for bar in weeks] == [
        "2024-03-04T05:00:00Z", "2024-03-11T04:00:00Z", "2024-03-18T04:00:00Z", "2024-03-25T04:00:00Z",
        "2024-04-01T04:00:00Z", "2024-04-08T04:00:00Z"]
    assert [(bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in weeks[3:]] == [
        (16, 19.5, 15.5, 19.25, 400), (20, 24.5, 19.5, 24.25, 500), (25, 26.5, 24.5, 26.25, 200)]
    months = bars_of(desk, timeframe="1Month")["AAPL"]
    assert [(bar["t"], bar["o"], bar["c"], bar["v"]) for bar in months] == [
        ("2024-03-01T05:00:00Z", 1, 19.25, 1900), ("2024-04-01T04:00:00Z", 20, 26.25, 700)]
    assert [bar["t"][:10] for bar in bars_of(desk, timeframe="12M")["AAPL"]] == ["2024-01-01"]
    finished = Desk(market({"AAPL": cells}), first=26, unfinished_bars=False)
    assert bars_of(finished, timeframe="1W")["AAPL"] == weeks[:5]
    assert bars_of(finished, timeframe="1Month")["AAPL"] == months[:1]


def test_a_split_within_a_week_is_adjusted_before_the_week_is_made():
    """Wednesday's split of 2: at the old prices 100, 102, at the new ones 52, 53, 54."""
    prices = [100.0, 102.0, 52.0, 53.0, 54.0, 55.0, 56.0, 57.0]
    bars = market({"AAPL": [(p, p, p, p, 1000.0) for p in prices]}, actions=[("AAPL", "2024-03-06", "split", 2.0)])
    for first, weeks in ((4, [(50, 53, 50, 53, 6000)]), (6, [(50, 54, 50, 54, 7000), (55, 55, 55, 55, 1000)])):
        made = bars_of(Desk(bars, first=first), timeframe="1Week", adjustment="split")["AAPL"]
        assert [(bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in made] == weeks


@pytest.mark.parametrize(("step", "timeframe"), [(30, "45Min"), (60, "2Hour"), (30, "15Min")])
def test_what_the_replayed_bars_cannot_make_is_refused_with_what_they_can(step, timeframe):
    desk = Desk(minutes(1, step))
    status, _, message = desk.refused("GET", "/v2/stocks/bars", symbols="AAPL", timeframe=timeframe, start=LONG_AGO)
    assert status == 400
    assert f"invalid timeframe: {timeframe} cannot be made" in message and "1Day, 1Week, 1Month" in message


def test_a_longer_bar_appears_when_it_is_over():
    desk = Desk(minutes(2, 5), first=17, unfinished_bars=False)  # 85 minutes of the first day
    assert [bar["t"] for bar in bars_of(desk, timeframe="1Hour")["AAPL"]] == ["2024-03-04T14:00:00Z"]
    desk.exchange.advance()
    assert [bar["t"] for bar in bars_of(desk, timeframe="1Hour")["AAPL"]] == [
        "2024-03-04T14:00:00Z", "2024-03-04T15:00:00Z"]
    assert bars_of(desk) == {}
    while desk.exchange.bar < 77:
        desk.exchange.advance()
    assert [bar["t"] for bar in bars_of(desk)["AAPL"]] == ["2024-03-04T05:00:00Z"]


def test_a_longer_bar_without_its_last_minutes_waits_for_its_end():
    """Nothing traded from 10:30 to 11:00: until then the hour is not over, and nobody knows."""
    stamps = [f"2024-03-04 {t}" for t in ("09:30", "10:00", "11:00", "11:30")]
    index = pd.DatetimeIndex(stamps).tz_localize(NEW_YORK).as_unit("ns")
    desk = Desk(market({"AAPL": [(10, 11, 9, 10)] * 4}, index, interval="30m"), first=2, unfinished_bars=False)
    assert desk.exchange.now == pd.Timestamp("2024-03-04 10:30", tz=NEW_YORK).value
    assert [bar["t"][11:16] for bar in bars_of(desk, timeframe="1Hour")["AAPL"]] == ["14:00"]
    desk.exchange.advance()
    assert [bar["t"][11:16] for bar in bars_of(desk, timeframe="1Hour")["AAPL"]] == ["14:00", "15:00"]


@pytest.mark.parametrize("step", [None, 30, 1])
def test_the_bar_in_progress_shows_its_open_and_nothing_else(step):
    """Of the tape's own bar; a minute appears when it is over, as at Alpaca."""
    bars = steady(4, AAPL=100.0) if step is None else minutes(1, step, symbols=("AAPL",))
    timeframe = NAMES[bars.interval]
    desk = Desk(bars, first=2)
    before = bars_of(desk, timeframe=timeframe)["AAPL"]
    assert len(before) == 2
    desk.exchange.open_bar()
    after = bars_of(desk, timeframe=timeframe)["AAPL"]
    opened = float(bars.open[2, 0])
    assert after[:2] == before
    shown = [(b["o"], b["h"], b["l"], b["c"], b["v"]) for b in after[2:]]
    assert shown == ([] if step == 1 else [(opened, opened, opened, opened, 0)])
    assert all(pd.Timestamp(b["t"]) == bars.index[2] for b in after[2:])


def test_the_bar_in_the_making_is_served():
    """As Alpaca does: made of the minutes so far, and the last in every page order."""
    bars = minutes(2, 5)
    desk = Desk(bars, first=80)  # two bars into the second day
    for sort in ("asc", "desc"):
        days = bars_of(desk, sort=sort, limit=1)["AAPL"]
        days = days if sort == "asc" else days[::-1]
        assert [bar["t"] for bar in days] == ["2024-03-04T05:00:00Z", "2024-03-05T05:00:00Z"]
        assert (days[1]["o"], days[1]["c"]) == (bars.open[78, 0], bars.close[79, 0])
        assert (days[1]["h"], days[1]["l"]) == (bars.high[78:80, 0].max(), bars.low[78:80, 0].min())
        assert days[1]["v"] == bars.volume[78:80, 0].sum()


def test_the_price_by_volume_of_a_longer_bar():
    cells = [(10, 11, 9, 10, 100.0), (10, 13, 10, 12, 300.0)]
    index = pd.DatetimeIndex([f"2024-03-04 {t}" for t in ("10:00", "10:30", "11:00", "11:30")]).tz_localize(NEW_YORK)
    desk = Desk(market({"AAPL": cells * 2}, index.as_unit("ns"), interval="30m"), first=2)
    bar = bars_of(desk, timeframe="1Hour")["AAPL"][0]
    assert bar["vw"] == pytest.approx((100 * 10.0 + 300 * 35 / 3) / 400, abs=1e-6)


# --- Adjustments ------------------------------------------------------------------------------------------------------

ACTIONS = [("AAPL", "2024-03-06", "split", 2.0), ("AAPL", "2024-03-08", "cash_dividend", 1.0, "2024-03-15"),
           ("AAPL", "2024-03-12", "split", 0.5)]
PRICES = [(100.0,) * 4, (100.0,) * 4, (50.0,) * 4, (50.0,) * 4, (49.0,) * 4, (49.0,) * 4, (98.0,) * 4, (98.0,) * 4]


def acted(first: int) -> Desk:
    return Desk(market({"AAPL": [(*p, 1000.0) for p in PRICES]}, actions=ACTIONS), first=first)


@pytest.mark.parametrize(("adjustment", "expected"), [
    ("raw", [100, 100, 50, 50, 49, 49]), ("split", [50, 50, 50, 50, 49, 49]), ("spin-off", [100, 100, 50, 50, 49, 49]),
    ("dividend", [98, 98, 49, 49, 49, 49]), ("all", [49, 49, 49, 49, 49, 49]),
    ("split,dividend", [49, 49, 49, 49, 49, 49]), ("split,spin-off", [50, 50, 50, 50, 49, 49]),
])
def test_adjustments_by_hand(adjustment, expected):
    """The second split, on 03-12, is not known yet on 03-11."""
    made = bars_of(acted(6), adjustment=adjustment)["AAPL"]
    assert [bar["c"] for bar in made] == pytest.approx(expected, rel=1e-12)
    volumes = [2000, 2000, 1000, 1000, 1000, 1000] if "split" in adjustment or adjustment == "all" else [1000] * 6
    assert [bar["v"] for bar in made] == volumes


def test_adjustments_follow_what_is_known():
    desk = acted(1)
    closes = []
    for _ in range(6):
        desk.exchange.advance()
        closes.append(bars_of(desk, adjustment="split")["AAPL"][0]["c"])
    assert closes == [100, 50, 50, 50, 50, 100]
    assert bars_of(desk, adjustment="raw")["AAPL"][0]["c"] == 100


@pytest.mark.parametrize("how", ["split", "all"])
def test_adjusted_bars_are_botlibs(how):
    bars = market({"AAPL": [(*p, 1000.0) for p in PRICES]}, actions=ACTIONS)
    desk = Desk(bars, first=7)
    expected = bars.upto(6).adjusted(how=how)
    assert [bar["c"] for bar in bars_of(desk, adjustment=how)["AAPL"]] == expected.close[:, 0].tolist()


# --- The latest -------------------------------------------------------------------------------------------------------

def test_the_latest_are_of_the_last_bar():
    desk = Desk(market({"AAPL": [(100, 104, 98, 101)] * 3, "KO": [(50, 51, 49, 50), None, None]}), first=2)
    assert desk.get("/v2/stocks/bars/latest", symbols="KO,AAPL,ZZZZ")["bars"].keys() == {"AAPL", "KO"}
    assert desk.get("/v2/stocks/AAPL/bars/latest")["bar"]["t"] == "2024-03-05T05:00:00Z"
    assert desk.get("/v2/stocks/KO/bars/latest")["bar"]["t"] == "2024-03-04T05:00:00Z"
    trade, quote = (desk.get(f"/v2/stocks/AAPL/{kind}/latest") for kind in ("trades", "quotes"))
    assert (trade["trade"]["p"], trade["trade"]["t"]) == (101, "2024-03-05T20:59:59.999Z")
    assert (quote["quote"]["bp"], quote["quote"]["ap"]) == (100.99, 101.01)
    assert (trade["trade"]["c"], quote["quote"]["c"]) == (["synthetic"], ["synthetic"])


@pytest.mark.parametrize("kind", ["bar", "trade", "quote"])
def test_no_latest_of_a_symbol_there_is_not(kind):
    assert Desk().refused("GET", f"/v2/stocks/ZZZZ/{kind}s/latest") == (404, None, f"no {kind} found for ZZZZ")


def test_made_up_prints_are_the_bars_own_prices():
    desk = Desk(market({"AAPL": [(100, 104, 98, 101)] * 2}))
    made = desk.get("/v2/stocks/AAPL/trades", start=LONG_AGO)["trades"]
    assert [(t["p"], t["t"]) for t in made] == [
        (100, "2024-03-04T14:30:00Z"), (98, "2024-03-04T16:40:00Z"), (104, "2024-03-04T18:50:00Z"),
        (101, "2024-03-04T20:59:59.999Z")]
    assert [t["i"] for t in made] == [1, 2, 3, 4]


def test_a_snapshot_of_minutes():
    bars = minutes(2, 1)
    desk = Desk(bars, first=400)  # ten minutes into the second day
    shot = desk.get("/v2/stocks/AAPL/snapshot")
    assert shot["minuteBar"]["t"] == "2024-03-05T14:39:00Z"
    assert (shot["dailyBar"]["t"], shot["dailyBar"]["o"], shot["dailyBar"]["c"]) == (
        "2024-03-05T05:00:00Z", bars.open[390, 0], bars.close[399, 0])
    assert (shot["prevDailyBar"]["t"], shot["prevDailyBar"]["c"]) == ("2024-03-04T05:00:00Z", bars.close[389, 0])
    assert desk.get("/v2/stocks/ZZZZ/snapshot") == {"symbol": "ZZZZ"}


def test_the_free_plan():
    desk = Desk(minutes(1, 1), first=60, basic_plan=True)
    now = "2024-03-04T15:30:00Z"
    refused = (403, None, "subscription does not permit querying recent SIP data")
    recent = {"symbols": "AAPL", "timeframe": "1Min", "start": "2024-03-04", "end": now}
    assert desk.refused("GET", "/v2/stocks/bars", **recent) == refused
    assert desk.refused("GET", "/v2/stocks/bars", **recent, feed="sip") == refused
    assert len(desk.get("/v2/stocks/bars", **recent, feed="iex")["bars"]["AAPL"]) == 60
    older = desk.get("/v2/stocks/bars", **{**recent, "end": None})["bars"]["AAPL"]
    assert older[-1]["t"] == "2024-03-04T15:15:00Z"  # 15 minutes ago


# --- Corporate actions ------------------------------------------------------------------------------------------------

def test_corporate_actions_by_type():
    desk = acted(7)
    made = desk.get("/v1/corporate-actions", start="2024-01-01", end="2024-12-31")["corporate_actions"]
    assert sorted(made) == ["cash_dividends", "forward_splits", "reverse_splits"]
    split, back, paid = (made[kind][0] for kind in ("forward_splits", "reverse_splits", "cash_dividends"))
    assert (split["new_rate"], split["old_rate"], split["ex_date"], split["process_date"]) == (
        2, 1, "2024-03-06", "2024-03-06")
    assert (back["new_rate"], back["old_rate"], back["ex_date"]) == (1, 2, "2024-03-12")
    assert (paid["rate"], paid["ex_date"], paid["payable_date"], paid["process_date"]) == (
        1, "2024-03-08", "2024-03-15", "2024-03-15")
    by_id = desk.get("/v1/corporate-actions", ids=f"{back['id']},{paid['id']}")["corporate_actions"]
    assert (sorted(by_id), by_id["reverse_splits"]) == (["cash_dividends", "reverse_splits"], [back])


def test_corporate_actions_of_tomorrow_are_not_known():
    desk = acted(1)
    seen = []
    for _ in range(7):
        made = desk.get("/v1/corporate-actions", start="2024-01-01", end="2024-12-31")["corporate_actions"]
        seen.append(sum(len(rows) for rows in made.values()))
        desk.exchange.advance()
    assert seen == [0, 0, 1, 1, 2, 2, 3]


def test_corporate_actions_come_in_pages():
    desk = acted(7)
    whole = desk.get("/v1/corporate-actions", start="2024-01-01", end="2024-12-31")["corporate_actions"]
    for sort in ("asc", "desc"):
        found, token, dates = {}, None, []
        while True:
            page = desk.get("/v1/corporate-actions", start="2024-01-01", end="2024-12-31", limit=1, sort=sort,
                            page_token=token)
            found |= page["corporate_actions"]
            dates += [row["process_date"] for rows in page["corporate_actions"].values() for row in rows]
            token = page["next_page_token"]
            if token is None:
                break
        assert found == whole
        assert dates == sorted(dates, reverse=sort == "desc")


@pytest.mark.parametrize(("query", "count"), [
    ({"types": "forward_split"}, 1), ({"types": "cash_dividend,reverse_split"}, 2), ({"types": "spin_off"}, 0),
    ({"symbols": "AAPL"}, 3), ({"symbols": "KO"}, 0), ({"region": "non_us"}, 0), ({"region": "all"}, 3),
    ({"cusips": "037833100"}, 0), ({"start": "2024-03-07", "end": "2024-03-12"}, 1), ({"start": None, "end": None}, 1),
])
def test_corporate_actions_are_filtered(query, count):
    made = acted(7).get("/v1/corporate-actions", **{"start": "2024-01-01", "end": "2024-12-31", **query})
    assert sum(len(rows) for rows in made["corporate_actions"].values()) == count


# --- Nothing of tomorrow ----------------------------------------------------------------------------------------------

def tampered(bars: Bars, after: int) -> Bars:
    """Other bars after row ``after``, and none of their actions."""
    panels = {name: getattr(bars, name).copy() for name in FIELDS}
    for panel in panels.values():
        panel[after + 1:] *= 3.7
    actions = bars.actions
    if actions is not None:
        actions = actions[actions["ex_date"].to_numpy().astype("M8[D]").astype(int) <= bars.sessions[after]]
    return Bars(bars.index, bars.symbols, **panels, interval=bars.interval, calendar=bars.calendar, actions=actions)


@settings(max_examples=30)
@given(data=st.data())
def test_nothing_after_now_ever_shows(data):
    """Answers are the same whatever comes later, and carry no time after now."""
    step = data.draw(st.sampled_from([5, 30, None]))
    bars = steady(12, AAPL=100.0, KO=50.0) if step is None else minutes(2, step)
    cells = {s: [tuple(getattr(bars, f)[t, n] for f in FIELDS) for t in range(len(bars))]
             for n, s in enumerate(bars.symbols)}
    days = sorted({str(day.date()) for day in bars.index})
    actions = [("KO", days[-1], "split", 2.0), ("AAPL", days[len(days) // 2], "cash_dividend", 0.3)]
    bars = market(cells, bars.index, actions=actions, interval=bars.interval)
    first = data.draw(st.integers(1, len(bars) - 2))
    path, query = data.draw(st.sampled_from([
        ("/v2/stocks/bars", {"timeframe": NAMES[bars.interval]}), ("/v2/stocks/bars", {"timeframe": "1Day"}),
        ("/v2/stocks/trades", {}), ("/v2/stocks/quotes", {}), ("/v2/stocks/bars/latest", None),
        ("/v2/stocks/trades/latest", None), ("/v2/stocks/quotes/latest", None), ("/v2/stocks/snapshots", None)]))
    asked: dict[str, Any] = {"symbols": "AAPL,KO"}
    if query is not None:
        asked |= {"start": LONG_AGO, "end": data.draw(st.sampled_from([None, LATER, "2024-03-05T15:00:00Z"])),
                  "limit": data.draw(st.sampled_from([7, 10_000])), **query}
        asked["sort"] = data.draw(st.sampled_from(["asc", "desc"]))
        if path.endswith("bars"):
            asked["adjustment"] = data.draw(st.sampled_from(["raw", "split", "dividend", "all"]))
    desks = [Desk(one, first=first, unfinished_bars=unfinished) for one in (bars, tampered(bars, first - 1))
             for unfinished in (False, True)]
    halves = data.draw(st.booleans())
    for desk in desks[:2] if halves and step is None else ():
        desk.exchange.open_bar()  # the next bar has opened, and must not show
    answers = [desk.get(path, **asked) for desk in desks]
    if not (halves and step is None):
        assert answers[0] == answers[2]
        assert answers[1] == answers[3]
    now = desks[0].exchange.now
    for text in _times(answers):
        assert pd.Timestamp(text).value <= now


def _times(value: Any) -> list[str]:
    found = []
    if isinstance(value, dict):
        found += [value["t"]] if isinstance(value.get("t"), str) else []
        for inner in value.values():
            found += _times(inner)
    elif isinstance(value, list):
        for inner in value:
            found += _times(inner)
    return found


def test_a_bar_is_there_at_once_after_it_happened():
    desk = Desk(steady(6))
    for t in range(1, 5):
        assert len(bars_of(desk)["AAPL"]) == t
        desk.exchange.advance()


def test_answers_are_made_once(monkeypatch):
    """Neither resampled nor adjusted again while nothing happens, nor when a bar does that changes neither."""
    from botlib import adjust, resample
    from botlib.sandbox import timeframes

    desk = Desk(minutes(4, 30), first=15, unfinished_bars=False)
    bars_of(desk, timeframe="1Hour")
    count = []
    for module, name in ((timeframes, "bins"), (resample, "combine"), (adjust, "divisors")):
        monkeypatch.setattr(module, name, lambda *a, **k: count.append(1))
    for _ in range(10):
        desk.exchange.advance()
        bars_of(desk, timeframe="1Hour")
    assert count == []


