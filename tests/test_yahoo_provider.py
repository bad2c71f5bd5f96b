"""`YahooProvider` over the real yfinance, against a service on loopback that answers as Yahoo does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pandas as pd
import pytest
from fake_source import Clock, at
from fake_yahoo import NEW_YORK, Chart, FakeYahoo, error, forget, send

from botlib import adjust, providers
from botlib.bars import Bars
from botlib.errors import BotlibWarning, DataError, InputError, ProviderError
from botlib.providers.yahoo import YahooProvider, _yahoo_name

pytestmark = pytest.mark.slow  # over HTTP

pytest.importorskip("yfinance")

# Apple around its 4:1 split of 2020-08-31, as traded; on 2020-08-07 it went ex 0.82.
AS_TRADED = pd.DataFrame(
    [("2020-08-06", 441.62, 457.65, 439.19, 455.61, 50_607_225),
     ("2020-08-07", 452.82, 454.70, 441.17, 444.45, 49_511_403),
     ("2020-08-27", 508.57, 509.94, 495.33, 500.04, 38_888_096),
     ("2020-08-28", 504.05, 505.77, 498.31, 499.23, 46_907_479),
     ("2020-08-31", 127.58, 131.00, 126.00, 129.04, 225_702_700),
     ("2020-09-01", 132.76, 134.80, 130.53, 134.18, 151_948_100),
     ("2020-09-02", 137.59, 137.98, 127.00, 131.40, 200_119_000)],
    columns=["day", "open", "high", "low", "close", "volume"])
AS_TRADED.index = pd.DatetimeIndex(AS_TRADED.pop("day")).tz_localize(NEW_YORK)
ACTIONS = adjust.check_actions(pd.DataFrame(
    [("AAPL", "2020-08-07", "cash_dividend", 0.82), ("AAPL", "2020-08-31", "split", 4.0)],
    columns=["symbol", "ex_date", "type", "value"]))


@pytest.fixture
def yahoo(tmp_path) -> Iterator[FakeYahoo]:
    forget(tmp_path / "yfinance")
    service = FakeYahoo({"AAPL": Chart(AS_TRADED, ACTIONS)})
    yield service
    service.close()


@pytest.fixture
def clock() -> Clock:
    return Clock("2020-09-02 17:00")


def provider(yahoo: FakeYahoo, clock: Clock, **options: object) -> YahooProvider:
    return YahooProvider(session=yahoo.session(), now=clock, **options)


def close_to(got: pd.DataFrame, want: pd.DataFrame) -> None:
    """Yahoo sends single precision."""
    pd.testing.assert_frame_equal(got, want.astype("float64"), rtol=2e-7, check_freq=False, check_names=False,
                                  check_index_type=False)


def test_bars_are_as_traded(yahoo, clock):
    source = provider(yahoo, clock)
    assert source.adjustment == "raw"
    got = source.download_bars(symbols=["AAPL"], period="1mo", interval="1d")
    close_to(got.loc["AAPL"], AS_TRADED)
    # Up to the present the answer names the split itself: one request for its time zone apart, no other was needed.
    assert len(yahoo.asked) == 1


def test_a_past_range_is_as_traded_too(yahoo, clock):
    got = provider(yahoo, clock).history("AAPL", start="2020-08-06", end="2020-08-28", auto_adjust=False)
    close_to(got, AS_TRADED[:"2020-08-27"])
    assert len(yahoo.asked) == 2  # the splits after the range have to be asked for


def test_as_yahoo_serves_them(yahoo, clock):
    source = provider(yahoo, clock, adjustment="split")
    got = source.history("AAPL", start="2020-08-28", end="2020-09-01", auto_adjust=False)
    assert got["close"].tolist() == pytest.approx([124.8075, 129.04], rel=2e-7)
    assert got["volume"].tolist() == [4 * 46_907_479, 225_702_700]
    assert source.actions(["AAPL"])["value"].tolist() == pytest.approx([0.205, 4.0])
    assert source.adjustment == "split"


def test_actions_are_as_paid(yahoo, clock):
    table = provider(yahoo, clock).actions(["AAPL"])
    assert table["type"].tolist() == ["cash_dividend", "split"]
    assert table["ex_date"].dt.strftime("%Y-%m-%d").tolist() == ["2020-08-07", "2020-08-31"]
    assert table["value"].tolist() == pytest.approx([0.82, 4.0])


@pytest.mark.parametrize("adjustment", ["raw", "split"])
def test_adjusted_history(yahoo, clock, adjustment):
    got = provider(yahoo, clock, adjustment=adjustment).history("AAPL", start="2020-08-06")
    # By hand: before the split a quarter; before the dividend times 1 - 0.82/455.61.
    assert got["close"].iloc[:2].tolist() == pytest.approx([455.61 / 4 * (1 - 0.82 / 455.61), 444.45 / 4], rel=1e-6)
    assert got["close"].iloc[-1] == pytest.approx(131.40, rel=2e-7)
    assert got["volume"].iloc[0] == pytest.approx(4 * 50_607_225, rel=1e-7)


def test_bars_and_actions_pass_the_checks_of_bars(yahoo, clock):
    source = provider(yahoo, clock)
    frame = source.history("AAPL", start="2020-08-27", auto_adjust=False)
    bars = Bars.from_frame(frame, symbol="AAPL", actions=source.actions(["AAPL"]), now=clock())
    close = bars.adjusted(how="split").close[:, 0]
    assert close.tolist() == pytest.approx([125.01, 124.8075, 129.04, 134.18, 131.40], rel=2e-7)


@pytest.mark.parametrize(("now", "last"), [("2020-09-02 16:19", "2020-09-01"), ("2020-09-02 16:20", "2020-09-02")])
def test_the_bar_in_progress_is_left_out(yahoo, clock, now, last):
    clock.now = at(now)
    got = provider(yahoo, clock).download_bars(symbols=["AAPL"], period="5d", interval="1d")
    assert got.loc["AAPL"].index[-1] == at(last)


def test_a_row_without_prices_is_left_out(yahoo, clock):
    holed = AS_TRADED.astype("float64")
    holed.loc["2020-08-27", ["open", "high", "low", "close"]] = float("nan")
    holed.loc["2020-08-27", "volume"] = 0
    yahoo.charts["AAPL"] = Chart(holed, ACTIONS)
    got = provider(yahoo, clock).history("AAPL", start="2020-08-06", auto_adjust=False)
    assert at("2020-08-27") not in got.index
    assert len(got) == 6


def test_symbols_are_written_as_yahoo_writes_them(yahoo, clock):
    assert [_yahoo_name(s) for s in ("BRK.B", "VOD.L", "7203.T", "AAPL", "^GSPC", "EURUSD=X", "BF.A")] == [
        "BRK-B", "VOD.L", "7203.T", "AAPL", "^GSPC", "EURUSD=X", "BF-A"]
    yahoo.charts["BRK-B"] = Chart(AS_TRADED, adjust.no_actions())
    got = provider(yahoo, clock).download_bars(symbols=["BRK.B"], period="5d", interval="1d")
    assert got.index.get_level_values(0).unique().tolist() == ["BRK.B"]


# --- intraday -----------------------------------------------------------------------------------------------------

@pytest.fixture
def minutes(yahoo) -> pd.DataFrame:
    days = pd.bdate_range("2020-08-03", "2020-09-02")
    index = pd.DatetimeIndex([day.tz_localize(NEW_YORK) + pd.Timedelta(minutes=570 + 30 * i)
                              for day in days for i in range(13)])
    frame = pd.DataFrame({"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 100.0}, index=index)
    frame.loc[:at("2020-08-30"), ["open", "high", "low", "close"]] *= 4.0
    yahoo.charts["AAPL"] = Chart(frame, ACTIONS)
    return frame


def test_intraday_bars_are_as_traded(yahoo, clock, minutes):
    got = provider(yahoo, clock).download_bars(symbols=["AAPL"], period="5d", interval="1m")
    assert got.loc["AAPL"].index[0] == at("2020-08-27 09:30")
    close_to(got.loc["AAPL"], minutes[at("2020-08-27"):])


def test_one_minute_bars_come_in_pieces_that_yahoo_allows(yahoo, clock, minutes):
    got = provider(yahoo, clock).history("AAPL", start="2020-08-05", interval="1m", auto_adjust=False)
    close_to(got, minutes[at("2020-08-05"):])
    asked = [request for request in yahoo.asked if request[1] == "1m"]
    assert len(asked) == 5  # 28.7 days, seven a time
    assert all(end - start <= 7 * 86_400 for _, _, start, end in asked)


def test_intraday_beyond_yahoos_reach_is_told(yahoo, clock, minutes):
    source = provider(yahoo, clock)
    message = "yahoo-reach: Yahoo serves 1m bars of the last 29 days only: AAPL starts"
    with pytest.warns(BotlibWarning, match=message) as caught:
        got = source.history("AAPL", start="2020-06-01", interval="1m", auto_adjust=False)
        source.download_bars(symbols=["AAPL"], period="60d", interval="1m")
    assert [one.filename for one in caught] == [__file__] * 2  # the caller's lines, not botlib's
    assert got.index[0] == at("2020-08-05 09:30")  # 29 days before 17:00 is after the 4th's last bar
    with pytest.raises(DataError, match="^No data returned from yahoo for AAPL, 1m bars, from 2020-06-01 to"):
        source.history("AAPL", start="2020-06-01", end="2020-07-01", interval="1m")


# --- what goes wrong ----------------------------------------------------------------------------------------------

def test_an_unknown_symbol(yahoo, clock):
    with pytest.raises(DataError, match="^No data returned from yahoo for NOPE, 1d bars, period 1y: check the symbol"):
        provider(yahoo, clock).download_bars(symbols=["NOPE"], period="1y", interval="1d")
    message = "symbols-without-bars: yahoo has no 1d bars of NOPE in the period 1mo"
    with pytest.warns(BotlibWarning, match=message) as caught:
        got = provider(yahoo, clock).download_bars(symbols=["AAPL", "NOPE"], period="1mo", interval="1d")
    assert len(got) == 7
    assert [one.filename for one in caught] == [__file__]  # the caller's line, not one of botlib's


def test_a_range_without_bars(yahoo, clock):
    with pytest.raises(DataError, match="^No data returned from yahoo for AAPL, 1d bars, from 2019-01-01 to 2019"):
        provider(yahoo, clock).history("AAPL", start="2019-01-01", end="2019-02-01")


def says(status: int, body: object, kind: str = "application/json"):
    def reply(handler) -> bool:
        if "/chart/" not in handler.path:
            return False
        send(handler, status, body, kind)
        return True
    return reply


def hangs_up(handler) -> bool:
    handler.connection.close()
    return True


def waits(handler) -> bool:
    time.sleep(1.0)
    return False


@pytest.mark.parametrize(("reply", "message"), [
    (says(429, "Too Many Requests", "text/plain"), r"Yahoo refuses further requests for now \(rate limit\)"),
    (says(502, "<html>Bad Gateway</html>", "text/html"), "Yahoo's answer for AAPL is not what yfinance expects"),
    (says(200, "<html>consent</html>", "text/html"), "Yahoo's answer for AAPL is not what yfinance expects"),
    (says(200, "Will be right back", "text/html"), "Yahoo"),
    (says(500, error("Internal Server Error", "Backend is busy")), r"Yahoo did not answer for AAPL \(.*is busy"),
    (says(200, {"chart": {"result": [{"meta": {}}], "error": None}}), "Yahoo's answer for AAPL is not what"),
    (hangs_up, r"Yahoo cannot be reached \("),
    (waits, r"Yahoo cannot be reached \(.*[Tt]imed? ?out"),
])
def test_a_failure_of_the_service_is_one_sentence(yahoo, clock, reply, message):
    yahoo.reply = reply
    source = provider(yahoo, clock, timeout=0.2 if reply is waits else 10.0)
    with pytest.raises(ProviderError, match=message) as caught:
        source.history("AAPL", start="2020-08-06", auto_adjust=False)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_it_works_again_after_a_failure(yahoo, clock):
    source = provider(yahoo, clock)
    yahoo.reply = hangs_up
    with pytest.raises(ProviderError):
        source.history("AAPL", start="2020-08-06", auto_adjust=False)
    yahoo.reply = lambda handler: False
    assert len(source.history("AAPL", start="2020-08-06", auto_adjust=False)) == 7


def test_a_past_range_is_asked_for_each_time(yahoo, clock):
    source = provider(yahoo, clock)
    yahoo.reply = says(500, error("Internal Server Error", "Backend is busy"))
    with pytest.raises(ProviderError, match="is busy"):
        source.history("AAPL", start="2020-08-06", end="2020-08-28", auto_adjust=False)
    yahoo.reply = lambda handler: False
    before = source.history("AAPL", start="2020-08-06", end="2020-08-28", auto_adjust=False)
    clock.now += pd.Timedelta(days=1)
    later = pd.DataFrame([("AAPL", "2020-09-03", "split", 7.0)], columns=["symbol", "ex_date", "type", "value"])
    yahoo.charts["AAPL"] = Chart(AS_TRADED, adjust.check_actions(pd.concat([ACTIONS, later])))
    close_to(source.history("AAPL", start="2020-08-06", end="2020-08-28", auto_adjust=False), before)


def test_a_missing_cookie_does_not_stop_it(yahoo, clock):
    def no_crumb(handler) -> bool:
        if "/chart/" in handler.path:
            return False
        send(handler, 429, "Too Many Requests", "text/plain")
        return True

    yahoo.reply = no_crumb
    assert len(provider(yahoo, clock).history("AAPL", start="2020-08-06", auto_adjust=False)) == 7


def test_yfinances_settings_are_as_they_were(yahoo, clock):
    import yfinance

    before = yfinance.config.debug.hide_exceptions
    provider(yahoo, clock).history("AAPL", start="2020-08-06", auto_adjust=False)
    assert yfinance.config.debug.hide_exceptions is before


def test_the_default_session_is_a_browsers_with_our_timeout(monkeypatch):
    from curl_cffi import requests

    asked = []

    def request(self, method, url, **options):
        asked.append((url, options["timeout"]))
        raise requests.exceptions.Timeout("timed out")

    monkeypatch.setattr(requests.Session, "request", request)
    with pytest.raises(ProviderError, match=r"Yahoo cannot be reached \(timed out\)"):
        YahooProvider(timeout=1.5, now=Clock("2020-09-02 17:00")).history("AAPL", start="2020-08-06")
    assert any("/v8/finance/chart/AAPL" in url for url, _ in asked)
    assert max(timeout for _, timeout in asked) == 1.5


def test_without_yfinance_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(InputError, match=r"needs yfinance, which is not installed: .* pip install 'botlib\[yahoo\]'"):
        providers.load("yahoo")


@pytest.mark.parametrize(("options", "message"), [
    ({"adjustment": "all"}, "adjustment = 'all' is not one of raw, split"),
    ({"timeout": 0}, "timeout = 0 is out of range: valid is 0.1 to 300 seconds"),
    ({"timeout": "10"}, "timeout = '10' is out of range"),
    ({"time_out": 1}, "provider yahoo has no option 'time_out'; did you mean 'timeout'"),
])
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        providers.load("yahoo", **options)
