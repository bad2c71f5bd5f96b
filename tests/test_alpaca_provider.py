"""`AlpacaProvider` on answers as Alpaca writes them, over real HTTP. The rest stands in test_providers_contract.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from loopback import Loopback

from botlib import providers
from botlib.bars import Bars
from botlib.brokers.alpaca.config import AlpacaConfig, Secret
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.calendars import schedule
from botlib.errors import BotlibWarning, CredentialsError, DataError, InputError, ProviderError
from botlib.providers.alpaca import AlpacaProvider
from botlib.providers.base import MarketDataProvider
from botlib.providers.cache import CachedProvider
from botlib.providers.sample import SampleProvider
from botlib.sandbox import running
from botlib.sandbox.synthetic import intraday

NOON = pd.Timestamp("2024-07-02 12:00:30", tz="America/New_York")  # a Tuesday


def bar(time: str, close: float = 100.0, **more):
    """As Alpaca writes one; ``time`` is New York's."""
    stamp = pd.Timestamp(time, tz="America/New_York").tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
    prices = {"o": close - 1, "h": close + 1, "l": close - 2, "c": close}
    return {"t": stamp, **prices, "v": 1000, "n": 10, "vw": close} | more


def provider(server, *, now=NOON, **options) -> AlpacaProvider:
    config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url=server.url)
    return AlpacaProvider(connection=AlpacaConnection(config, attempts=1, timeout=2.0), now=lambda: now, **options)


def serving(bars, actions=None, pages=1):
    """Answers with these bars by symbol, cut into pages; and corporate actions."""
    def answer(seen, reply):
        if seen.path == "/v1/corporate-actions":
            reply.json(200, {"corporate_actions": actions or {}, "next_page_token": None})
            return
        flat = [(s, b) for s in sorted(seen.query["symbols"].split(",")) for b in bars.get(s, [])]
        page, size = int(seen.query.get("page_token", 0)), -(-len(flat) // pages) or 1
        found = {}
        for symbol, one in flat[page * size:(page + 1) * size]:
            found.setdefault(symbol, []).append(one)
        reply.json(200, {"bars": found, "next_page_token": str(page + 1) if (page + 1) * size < len(flat) else None})
    return Loopback(answer)


DAYS = ("2024-06-27", "2024-06-28", "2024-07-01", "2024-07-02")


def test_what_is_asked_for():
    with serving({"AAPL": [bar(day) for day in DAYS]}) as server:
        provider(server, feed="sip", adjustment="split").history("AAPL", start="2024-06-27", end="2024-07-02",
                                                                 auto_adjust=False)
    asked = server.seen[0]
    assert (asked.method, asked.path) == ("GET", "/v2/stocks/bars")
    assert asked.query == {"symbols": "AAPL", "timeframe": "1Day", "start": "2024-06-27T04:00:00Z", "limit": "10000",
                           "end": "2024-07-02T03:59:59.999999999Z", "adjustment": "split", "feed": "sip", "sort": "asc"}


def test_the_bar_in_progress_is_left_out():
    """At noon: neither today's day nor the minute that has begun."""
    with serving({"AAPL": [bar(day) for day in DAYS]}) as server:
        got = provider(server).history("AAPL", start="2024-06-27", auto_adjust=False)
        assert got.index.strftime("%Y-%m-%d").tolist() == list(DAYS[:3])
        late = provider(server, now=pd.Timestamp("2024-07-02 16:20", tz="America/New_York"))
        assert len(late.history("AAPL", start="2024-06-27", auto_adjust=False)) == 4  # 20 minutes after the close
    with serving({"AAPL": [bar(f"2024-07-02 11:{m}") for m in (57, 58, 59)] + [bar("2024-07-02 12:00")]}) as server:
        got = provider(server).history("AAPL", start="2024-07-02", interval="1m", auto_adjust=False)
        assert got.index.strftime("%H:%M").tolist() == ["11:57", "11:58", "11:59"]


def test_regular_hours_unless_asked_otherwise():
    """A half day: the session of 2023-11-24 ends at 13:00."""
    times = [f"2023-11-24 {t}" for t in ("04:00", "09:25", "09:30", "12:55", "13:00", "19:55")]
    with serving({"AAPL": [bar(t) for t in times]}) as server:
        ask = {"start": "2023-11-24", "end": "2023-11-25", "interval": "5m", "auto_adjust": False}
        got = provider(server).history("AAPL", **ask)
        assert got.index.strftime("%H:%M").tolist() == ["09:30", "12:55"]
        assert len(provider(server, hours="extended").history("AAPL", **ask)) == 6


def test_hours_begin_with_the_session():
    """Alpaca's own start on the hour, the first at 9:00; made of half hours they start at the open."""
    times = ["09:00", "09:30", "10:00", "10:30", "15:30", "16:00"]
    bars = [bar(f"2024-07-01 {t}", close=100.0 + n, v=n + 1) for n, t in enumerate(times)]
    with serving({"AAPL": bars}) as server:
        source = provider(server)
        made = source.history("AAPL", start="2024-07-01", end="2024-07-02", interval="1h", auto_adjust=False)
        assert server.seen[0].query["timeframe"] == "30Min"
    assert made.index.strftime("%H:%M").tolist() == ["09:30", "10:30", "15:30"]
    assert made.to_numpy().tolist() == [[100.0, 103.0, 99.0, 102.0, 5.0], [102.0, 104.0, 101.0, 103.0, 4.0],
                                        [103.0, 105.0, 102.0, 104.0, 5.0]]


@pytest.mark.parametrize(("now", "last", "volume"), [
    ("12:29", "10:30", 12.0), ("12:30", "11:30", 48.0), ("12:31", "11:30", 48.0), ("13:00", "11:30", 48.0),
    ("13:30", "12:30", 192.0)])
def test_the_last_hour_has_both_its_halves(now, last, volume):
    """Volumes 1, 2, 4, … of the half hours from 9:30 on: each sum tells which were in it. A start within an hour leaves
    that hour out."""
    times = ["09:30", "10:00", "10:30", "11:00", "11:30", "12:00", "12:30", "13:00", "13:30"]
    bars = [bar(f"2024-07-02 {t}", v=2 ** n) for n, t in enumerate(times)]
    with serving({"AAPL": bars}) as server:
        source = provider(server, now=pd.Timestamp(f"2024-07-02 {now}", tz="America/New_York"))
        got = source.history("AAPL", start="2024-07-02 10:00", interval="1h", auto_adjust=False)
    assert got.index[0].strftime("%H:%M") == "10:30"
    assert (got.index[-1].strftime("%H:%M"), got["volume"].iloc[-1]) == (last, volume)


@pytest.mark.parametrize("interval", ["15m", "30m", "1h"])
def test_hours_of_the_local_exchange(interval):
    """Whatever it replays, hours begin at the open; 9:30 to 15:30 are seven a session."""
    daily = Bars.from_frame(SampleProvider().download_bars(symbols=("AAPL",), period="5d", interval="1d"))
    bars = intraday(daily, interval, seed=1)
    hours = bars if interval == "1h" else bars.resample("1h")
    with running(bars, first=len(bars) // 2) as venue:
        config = AlpacaConfig(key_id=Secret(venue.keys[0]), secret_key=Secret(venue.keys[1]), base_url=venue.url)
        source = AlpacaProvider(config)
        for _ in range(3):
            got = source.download_bars(symbols=["AAPL"], period="max", interval="1h").loc["AAPL"]
            rows = hours.index.get_indexer(got.index)
            assert (rows == np.arange(len(got))).all()
            for name in ("open", "high", "low", "close", "volume"):
                np.testing.assert_allclose(got[name], getattr(hours, name)[rows, 0])
            venue.step()
        with pytest.raises(InputError, match="these bars are not served: .*ask for another interval") as caught:
            source.download_bars(symbols=["AAPL"], period="max", interval="1m")
        assert type(caught.value) is InputError and "Check the symbols" not in str(caught.value)


def test_it_says_what_it_is():
    with serving({}) as server:
        assert repr(provider(server)) == (f"AlpacaProvider(feed='iex', adjustment='raw', hours='regular', sandbox, "
                                          f"{server.url})")
    with pytest.raises(InputError, match="connection is of type str: give an AlpacaConnection"):
        AlpacaProvider(connection="x")
    with pytest.raises(InputError, match="config is of type str: give an AlpacaConfig"):
        AlpacaProvider("x")


def test_pages_to_the_end():
    index = pd.bdate_range("2020-01-02", periods=700)
    days = [bar(f"{day:%Y-%m-%d}", close=100.0 + n) for n, day in enumerate(index)]
    bars = dict.fromkeys(("AAPL", "MSFT", "IBM"), days)
    with serving(bars, pages=7) as server:
        got = provider(server).download_bars(symbols=["MSFT", "AAPL"], period="max", interval="1d")
        assert len(server.seen) == 7
    assert got.index.get_level_values(0).unique().tolist() == ["MSFT", "AAPL"]
    for symbol in ("AAPL", "MSFT"):
        assert got.loc[symbol]["close"].tolist() == [100.0 + n for n in range(700)]


def test_many_symbols_go_in_several_requests():
    names = [f"S{n}" for n in range(250)]
    with serving({name: [bar("2024-07-01", close=float(n + 10))] for n, name in enumerate(names)}) as server:
        got = provider(server).download_bars(symbols=names, period="5d", interval="1d")
        assert [len(one.query["symbols"].split(",")) for one in server.seen] == [100, 100, 50]
    assert got["close"].tolist() == [float(n + 10) for n in range(250)]


@pytest.mark.parametrize(("stamps", "label"), [
    (["2024-07-01T04:00:00Z", "2024-07-02T04:00:00.5Z"], "2024-07-01"),
    (["2024-07-01T04:00:00.000000000Z"], "2024-07-01"),
    (["2024-07-01T00:00:00-04:00"], "2024-07-01"),
])
def test_times_in_every_spelling(stamps, label):
    with serving({"AAPL": [bar("2024-07-01", t=stamp) for stamp in stamps]}) as server:
        got = provider(server).history("AAPL", start="2024-06-01", auto_adjust=False)
    assert got.index.tolist() == [pd.Timestamp(label, tz="America/New_York")]
    assert got.index.unit == "ns"


def test_a_bar_twice_and_out_of_order():
    with serving({"AAPL": [bar("2024-07-01", 5.0), bar("2024-06-28", 4.0), bar("2024-07-01", 6.0)]}) as server:
        got = provider(server).history("AAPL", start="2024-06-01", auto_adjust=False)
    assert got["close"].tolist() == [4.0, 6.0]


@pytest.mark.parametrize("bars", [[{"t": "2024-07-01T04:00:00Z"}], [bar("2024-07-01", c=None)],
                                  [bar("2024-07-01", c="x")],
                                  [bar("2024-07-01", t="soon")], [bar("2024-07-01", t=None)]])
def test_bars_that_are_none(bars):
    with serving({"AAPL": bars}) as server, pytest.raises(ProviderError, match="Alpaca's bars of AAPL are not what"):
        provider(server).history("AAPL", start="2024-06-01", auto_adjust=False)


@pytest.mark.parametrize("body", [{"bars": {}, "next_page_token": None}, {"bars": None, "next_page_token": None},
                                  {"bars": {"AAPL": None}, "next_page_token": None}, {"bars": {"AAPL": []}}])
def test_no_data_names_the_likely_causes(body):
    with Loopback(lambda seen, reply: reply.json(200, body)) as server:
        with pytest.raises(DataError, match="^No data returned from alpaca for AAPL, 1d bars, period 5d: check the "
                                            "symbols as .*holiday.*before 2016.*feed iex.*try feed='sip'"):
            provider(server).download_bars(symbols=["AAPL"], period="5d", interval="1d")
        with pytest.raises(DataError, match="^No data returned from alpaca for AAPL, 1m bars, from .*15 minutes late"):
            provider(server, feed="sip").history("AAPL", start="2024-06-01", interval="1m")


def test_some_without_bars_are_a_warning():
    with serving({"AAPL": [bar("2024-07-01")]}) as server, \
            pytest.warns(BotlibWarning, match="symbols-without-bars.*APPL") as caught:
        got = provider(server).download_bars(symbols=["APPL", "AAPL"], period="5d", interval="1d")
    assert [one.filename for one in caught] == [__file__]  # the caller's line, not one of botlib's
    assert got.index.get_level_values(0).unique().tolist() == ["AAPL"]


def test_the_free_plan_and_recent_bars_of_all_exchanges():
    """They end 15 minutes ago, with a warning; a day that is over needs none of them."""
    def answer(seen, reply):
        if pd.Timestamp(seen.query["end"]) > NOON - pd.Timedelta(minutes=15):
            reply.json(403, {"message": "subscription does not permit querying recent SIP data"})
        else:
            time = "2024-07-01" if seen.query["timeframe"] == "1Day" else "2024-07-02 11:40"
            reply.json(200, {"bars": {"AAPL": [bar(time)]}, "next_page_token": None})

    with Loopback(answer) as server:
        with pytest.warns(BotlibWarning, match="sip-delayed: .*the free plan serves the feed iex up to now"):
            got = provider(server, feed="sip").history("AAPL", start="2024-07-02", interval="1m", auto_adjust=False)
        assert len(got) == 1
        assert len(provider(server, feed="sip").history("AAPL", start="2024-06-28", auto_adjust=False)) == 1
        with pytest.raises(ProviderError, match="ask with feed='iex'"):
            provider(server, feed="sip").history("AAPL", start="2024-07-02 11:50", interval="1m", auto_adjust=False)


@pytest.mark.parametrize(("status", "body", "kind", "message"), [
    (401, None, CredentialsError, "does not know these keys"),
    (403, {"message": "forbidden."}, ProviderError, "with your data plan"),
    (400, {"message": "invalid symbol: a b"}, InputError, "invalid symbol: a b"),
    (429, {"message": "too many requests."}, ProviderError, "no more requests"),
    (500, {"message": "internal"}, ProviderError, "HTTP 500"),
])
def test_refusals_and_outages(status, body, kind, message):
    def answer(seen, reply):
        reply.html(status) if body is None else reply.json(status, body)

    with Loopback(answer) as server, pytest.raises(kind, match=message) as caught:
        provider(server).history("AAPL", start="2024-06-01", auto_adjust=False)
    assert "\n" not in str(caught.value)


ACTIONS = {
    "forward_splits": [{"symbol": "AAPL", "ex_date": "2024-06-03", "new_rate": 4, "old_rate": 1}],
    "reverse_splits": [{"symbol": "AAPL", "ex_date": "2024-06-10", "new_rate": 1, "old_rate": 50}],
    "stock_dividends": [{"symbol": "AAPL", "ex_date": "2024-06-12", "rate": 0.05}],
    "cash_dividends": [{"symbol": "AAPL", "ex_date": "2024-05-10", "rate": 0.24, "payable_date": "2024-05-16"},
                       {"symbol": "AAPL", "ex_date": "2024-08-12", "rate": 0.25}],
    "name_changes": [{"old_symbol": "FB", "new_symbol": "META"}],
}


def test_actions():
    with serving({}, ACTIONS) as server:
        got = provider(server).actions(["AAPL"])
        asked = server.seen[0].query
        split = provider(server, adjustment="split").actions(["AAPL"])
    assert asked["types"] == "forward_split,reverse_split,stock_dividend,cash_dividend" and asked["limit"] == "1000"
    assert asked["end"] == "2024-10-30"  # sorted by process date, which is a dividend's pay date
    assert list(zip(got["ex_date"].dt.strftime("%m-%d"), got["type"], got["value"], strict=True)) == [
        ("05-10", "cash_dividend", 0.24), ("06-03", "split", 4.0), ("06-10", "split", 0.02), ("06-12", "split", 1.05)]
    assert got["pay_date"][0] == pd.Timestamp("2024-05-16") and got["pay_date"][1:].isna().all()
    assert split["value"].tolist() == pytest.approx([0.24 / (4 * 0.02 * 1.05), 4.0, 0.02, 1.05])


@pytest.mark.parametrize("wrong", [{"old_rate": 0}, {"new_rate": None}, {"ex_date": "soon"}])
def test_actions_that_are_none(wrong):
    broken = {"forward_splits": [ACTIONS["forward_splits"][0] | wrong]}
    with serving({}, broken) as server, pytest.raises((ProviderError, DataError)):
        provider(server).actions(["AAPL"])


def test_feed_adjustment_and_hours_are_part_of_the_hash_and_of_the_cache(tmp_path):
    day = [bar("2024-07-01")]
    with serving({"AAPL": day}) as server:
        made = [provider(server, **options) for options in (
            {}, {"feed": "sip"}, {"adjustment": "split"}, {"hours": "extended"})]
        frame = made[0].history("AAPL", start="2024-06-01", auto_adjust=False)
        assert len({one.data_hash(frame) for one in made}) == 4
        assert made[0].data_hash(frame) == provider(server).data_hash(frame)
        assert made[0].source == {"provider": "alpaca", "feed": "iex", "adjustment": "raw", "hours": "regular"}
        for one in made:
            CachedProvider(one, tmp_path, now=lambda: NOON).history("AAPL", start="2024-06-01", auto_adjust=False)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")}
    assert len([name for name in files if "actions" not in name]) == 4


def test_from_the_cache_when_alpaca_is_away(tmp_path):
    with serving({"AAPL": [bar(day) for day in DAYS]}) as server:
        cached = CachedProvider(provider(server), tmp_path, now=lambda: NOON)
        want = cached.history("AAPL", start="2024-06-27", end="2024-07-02", auto_adjust=False)
        asked = len(server.seen)
        pd.testing.assert_frame_equal(
            cached.history("AAPL", start="2024-06-27", end="2024-06-29", auto_adjust=False), want[:2], check_freq=False)
        assert len(server.seen) == asked
    with pytest.warns(BotlibWarning, match="served-from-cache"):
        later = CachedProvider(provider(server), tmp_path, now=lambda: NOON + pd.Timedelta(days=1))
        got = later.history("AAPL", start="2024-06-27", auto_adjust=False)
    pd.testing.assert_frame_equal(got, want)


def test_by_name(monkeypatch):
    with pytest.raises(CredentialsError, match="Alpaca credentials not found"):
        providers.load("alpaca", account="nobody")
    with pytest.raises(InputError, match="no option 'fed'; did you mean 'feed'"):
        providers.load("alpaca", fed="iex")
    monkeypatch.setenv("APCA_API_KEY_ID", "local")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "local-secret")
    monkeypatch.setenv("APCA_API_BASE_URL", "http://127.0.0.1:1")
    made = providers.load("alpaca", feed="sip", timeout=3.0)
    assert isinstance(made, MarketDataProvider) and made.source_feed == "sip" and made.connection.timeout == 3.0


@pytest.mark.parametrize(("option", "message"), [
    ({"feed": "ixe"}, "feed = 'ixe' is unknown; did you mean 'iex'"),
    ({"adjustment": "dividend"}, "adjustment = 'dividend'"),
    ({"hours": "all"}, "hours = 'all'")])
def test_options(option, message):
    with serving({}) as server, pytest.raises(InputError, match=message):
        provider(server, **option)


def test_the_local_exchange_has_a_time_of_its_own():
    """Its clock says what is final; bars to come are not known."""
    days = schedule("XNYS").days
    place = int(np.searchsorted(days, np.datetime64("2012-01-03").astype(int)))
    index = pd.DatetimeIndex(days[place:place + 60].astype("M8[D]").astype("M8[ns]"), tz="America/New_York")
    close = np.linspace(50.0, 60.0, 60)
    frame = pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1e6}, index)
    bars = Bars.from_frame(pd.concat({"AAPL": frame}, names=["symbol", "timestamp"]))
    with running(bars, first=20) as venue:
        config = AlpacaConfig(key_id=Secret(venue.keys[0]), secret_key=Secret(venue.keys[1]), base_url=venue.url)
        source = AlpacaProvider(config)
        got = source.download_bars(symbols=["AAPL"], period="5d", interval="1d").loc["AAPL"]
        assert got.index[-1] == bars.index[19]
        venue.step()
        got = source.download_bars(symbols=["AAPL"], period="max", interval="1d").loc["AAPL"]
        assert got.index[-1] == bars.index[20]
