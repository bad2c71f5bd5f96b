"""What every provider must do. A new provider gets a line in CASES; one without it fails the first test.

All cases hold the same two symbols, so each answer is compared with the shipped file itself.
"""

from __future__ import annotations

import datetime
import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_source import Clock, at
from fake_yahoo import Chart, FakeYahoo, forget

from botlib import adjust, providers
from botlib.bars import Bars
from botlib.brokers.alpaca.config import AlpacaConfig, Secret
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.errors import DataError, InputError
from botlib.providers.alpaca import AlpacaProvider
from botlib.providers.base import PERIODS, MarketDataProvider
from botlib.providers.cache import CachedProvider
from botlib.providers.file import FileProvider
from botlib.providers.periods import period_start
from botlib.providers.sample import FOLDER, SampleProvider
from botlib.providers.yahoo import YahooProvider
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.transport import SandboxAdapter

pytestmark = pytest.mark.slow  # every provider, over HTTP where it has one

pytest.importorskip("yfinance")

COLUMNS = ["open", "high", "low", "close", "volume"]
CLOCK = Clock("2013-03-04 08:00")  # a Monday; the last bar is Friday's
LAST = at("2013-03-01")
# Yahoo sends single precision.
PRECISION = {"yahoo": 2e-7}


@pytest.fixture(scope="module")
def shipped() -> dict[str, pd.DataFrame]:
    """The shipped bars, read without botlib's reader."""
    table = pd.read_csv(io.BytesIO(gzip.decompress((FOLDER / "sample_daily.csv.gz").read_bytes())))
    table["timestamp"] = pd.to_datetime(table["date"]).dt.tz_localize("America/New_York").dt.as_unit("ns")
    return {s: table[table["symbol"] == s].set_index("timestamp")[COLUMNS].astype("float64") for s in ("AAPL", "FB")}


@pytest.fixture(scope="module")
def service(shipped, tmp_path_factory) -> Iterator[FakeYahoo]:
    forget(tmp_path_factory.mktemp("yfinance"))
    actions = adjust.check_actions(pd.read_csv(FOLDER / "sample_actions.csv"))
    fake = FakeYahoo({s: Chart(bars, actions[actions["symbol"] == s]) for s, bars in shipped.items()})
    yield fake
    fake.close()


def sample(folder: Path, service: FakeYahoo, shipped: dict[str, pd.DataFrame]) -> MarketDataProvider:
    return SampleProvider()


def file_folder(folder: Path, service: FakeYahoo, shipped: dict[str, pd.DataFrame]) -> MarketDataProvider:
    (folder / "bars").mkdir()
    for symbol, bars in shipped.items():
        bars.tz_localize(None).rename_axis("Date").to_csv(folder / "bars" / f"{symbol}.csv")
    return FileProvider(folder / "bars", actions=FOLDER / "sample_actions.csv")


def file_long(folder: Path, service: FakeYahoo, shipped: dict[str, pd.DataFrame]) -> MarketDataProvider:
    pd.concat(shipped, names=["symbol"]).to_parquet(folder / "all.parquet")
    return FileProvider(folder / "all.parquet", actions=FOLDER / "sample_actions.csv")


def yahoo(folder: Path, service: FakeYahoo, shipped: dict[str, pd.DataFrame]) -> MarketDataProvider:
    return YahooProvider(session=service.session(), now=CLOCK)


def alpaca(folder: Path, service: FakeYahoo, shipped: dict[str, pd.DataFrame]) -> MarketDataProvider:
    """The real alpaca-py, talking to the local exchange after its last bar."""
    actions = adjust.check_actions(pd.read_csv(FOLDER / "sample_actions.csv"))
    bars = Bars.from_frame(pd.concat(shipped, names=["symbol", "timestamp"]),
                           actions=actions[actions["symbol"].isin(list(shipped))])
    venue = Exchange(bars, first=len(bars) - 1)
    venue.advance()
    config = AlpacaConfig(key_id=Secret("local"), secret_key=Secret("local-secret"), base_url="http://127.0.0.1:1")
    carrier = SandboxAdapter(Api(venue, raise_bugs=True))
    return AlpacaProvider(connection=AlpacaConnection(config, adapter=carrier), now=CLOCK)


CASES: dict[str, Callable[..., MarketDataProvider]] = {
    "alpaca": alpaca, "sample": sample, "file-folder": file_folder, "file-long": file_long, "yahoo": yahoo}


@pytest.fixture(scope="module", params=[*CASES, *(f"cached-{name}" for name in CASES)])
def provider(request, service, shipped, tmp_path_factory) -> MarketDataProvider:
    folder = tmp_path_factory.mktemp("provider")
    source = CASES[request.param.removeprefix("cached-")](folder, service, shipped)
    if request.param.startswith("cached-"):
        return CachedProvider(source, folder / "cache", now=CLOCK)
    return source


def expect(provider: MarketDataProvider, got: pd.DataFrame, want: pd.DataFrame) -> None:
    rtol = PRECISION.get(provider.name, 0.0)
    pd.testing.assert_frame_equal(got, want, check_exact=rtol == 0.0, **({"rtol": rtol} if rtol else {}),
                                  check_names=False, check_freq=False)


def test_every_provider_stands_in_the_contract():
    assert {name.split("-")[0] for name in CASES} == set(providers.names())


def test_it_says_what_it_is(provider):
    assert isinstance(provider, MarketDataProvider)
    assert provider.name in providers.names()
    assert getattr(provider, "adjustment", "raw") == "raw"  # download_bars gives raw bars unless it says otherwise


def test_the_shape_of_downloaded_bars(provider, shipped):
    got = provider.download_bars(symbols=["FB", "AAPL"], period="6mo", interval="1d")
    assert got.index.names == ["symbol", "timestamp"]
    assert got.index.get_level_values(0).unique().tolist() == ["FB", "AAPL"]  # in the order asked for
    assert list(got.columns) == COLUMNS
    assert set(got.dtypes) == {np.dtype("float64")}
    assert got.index.is_unique
    for symbol in ("FB", "AAPL"):
        index = got.loc[symbol].index
        assert index.is_monotonic_increasing
        assert str(index.tz) == "America/New_York"
        assert (index == index.normalize()).all()
        expect(provider, got.loc[symbol], shipped[symbol][at("2012-09-02"):])


@pytest.mark.parametrize("period", PERIODS)
def test_a_period_counts_back_from_the_last_bar(provider, shipped, period):
    got = provider.download_bars(symbols=["AAPL"], period=period, interval="1d").loc["AAPL"]
    expect(provider, got, shipped["AAPL"][period_start(LAST, period):])
    lengths = {"1d": 1, "5d": 5, "30d": 30, "60d": 60, "max": 3270}
    assert len(got) == lengths.get(period, len(got))


@pytest.mark.parametrize("bound", [
    lambda day: day, datetime.date.fromisoformat, datetime.datetime.fromisoformat, pd.Timestamp, at,
    lambda day: at(day).tz_convert("UTC")])
def test_start_counts_and_end_does_not(provider, shipped, bound):
    got = provider.history("FB", start=bound("2012-06-01"), end=bound("2012-07-02"), auto_adjust=False)
    expect(provider, got, shipped["FB"][at("2012-06-01"):at("2012-06-29")])


def test_without_bounds_everything(provider, shipped):
    expect(provider, provider.history("FB", auto_adjust=False), shipped["FB"])
    assert provider.history("FB", end="2012-05-23", auto_adjust=False).index[0] == at("2012-05-18")
    assert provider.history("FB", start="2013-02-27", auto_adjust=False).index.tolist() == [
        at("2013-02-27"), at("2013-02-28"), at("2013-03-01")]


def test_the_same_question_has_the_same_answer(provider):
    ask = {"start": "2005-01-03", "end": "2005-06-01"}
    first = provider.history("AAPL", **ask)
    first.iloc[:] = 0.0  # what a caller does to his copy stays there
    second = provider.history("AAPL", **ask)
    assert (second["close"] > 0).all()
    pd.testing.assert_frame_equal(second, provider.history("AAPL", **ask))
    table = provider.download_bars(symbols=["FB"], period="5d", interval="1d")
    want = table.copy()
    table.iloc[:] = 0.0
    pd.testing.assert_frame_equal(provider.download_bars(symbols=["FB"], period="5d", interval="1d"), want)


def test_auto_adjust_by_hand(provider):
    """AAPL split 2:1 on 2005-02-28 and paid 2.65 on 2012-08-09, after closing at 619.86 the day before."""
    raw = provider.history("AAPL", start="2005-02-24", end="2005-03-02", auto_adjust=False)
    got = provider.history("AAPL", start="2005-02-24", end="2005-03-02")
    divisor = np.array([2.0, 2.0, 1.0, 1.0])
    assert raw["close"].tolist() == pytest.approx([88.93, 88.99, 44.86, 44.50])  # as traded
    for field in COLUMNS[:4]:
        assert got[field].to_numpy() == pytest.approx(raw[field].to_numpy() / divisor, rel=1e-12)
    assert got["volume"].to_numpy() == pytest.approx(raw["volume"].to_numpy() * divisor, rel=1e-12)
    got = provider.history("AAPL", start="2012-08-08", end="2012-08-10")
    assert got["close"].tolist() == pytest.approx([619.86 * (1 - 2.65 / 619.86), 620.73], rel=2e-7)


def test_actions(provider):
    table = provider.actions(["AAPL", "FB"])
    assert list(table.columns) == ["symbol", "ex_date", "type", "value", "pay_date"]
    assert table["ex_date"].dt.tz is None
    splits = table[table["type"] == "split"]
    assert splits["ex_date"].dt.strftime("%Y-%m-%d").tolist() == ["2000-06-21", "2005-02-28"]
    assert splits["value"].tolist() == [2.0, 2.0]
    cash = table[(table["type"] == "cash_dividend")]
    assert cash["ex_date"].dt.strftime("%Y-%m-%d").tolist() == ["2012-08-09", "2012-11-07", "2013-02-07"]
    assert cash["value"].tolist() == pytest.approx([2.65, 2.65, 2.65])
    assert provider.actions(["FB"]).empty


def test_its_answers_make_bars(provider):
    got = provider.download_bars(symbols=["AAPL", "FB"], period="6mo", interval="1d")
    bars = Bars.from_frame(got, actions=provider.actions(["AAPL", "FB"]), now=CLOCK())
    assert bars.symbols == ("AAPL", "FB")
    assert bars.index[-1] == LAST


def test_no_data_is_one_sentence(provider):
    with pytest.raises(DataError, match=f"^No data returned from {provider.name} for FB, 1d bars, "
                                        "from 2010-01-01 to 2010-02-01.*: ") as caught:
        provider.history("FB", start="2010-01-01", end="2010-02-01")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("question", "message"), [
    ({"symbols": ["APPL"]}, "APPL"),
    ({"symbols": "AAPL"}, r"symbols = 'AAPL' is a text: give a list of symbols, e.g. \['AAPL'\]"),
    ({"symbols": []}, "symbols is empty"),
    ({"symbols": ["AAPL", "AAPL"]}, "symbols names AAPL more than once"),
    ({"symbols": [True]}, "symbols holds True, which is not a symbol .*ON or NO"),
    ({"symbols": ["AAPL "]}, "symbols holds 'AAPL ', which is not a symbol"),
    ({"period": "1yr"}, "period = '1yr' is unknown; did you mean '1y'"),
    ({"period": None}, "period = None is unknown"),
    ({"interval": "1day"}, "interval = '1day' is unknown; did you mean '1d'"),
])
def test_a_wrong_question_is_refused_in_one_sentence(provider, question, message):
    with pytest.raises(InputError, match=message) as caught:
        provider.download_bars(**({"symbols": ["AAPL"], "period": "1y", "interval": "1d"} | question))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("question", "message"), [
    ({"start": "2012-06-01", "end": "2012-06-01"}, "start = 2012-06-01 is not before end = 2012-06-01"),
    ({"start": "yesterday-ish"}, "start = 'yesterday-ish' is not a date"),
    ({"end": 2012}, "end = 2012 is not a date"),
    ({"interval": "2h"}, "interval = '2h' is unknown"),
])
def test_a_wrong_range_is_refused_in_one_sentence(provider, question, message):
    with pytest.raises(InputError, match=message):
        provider.history("FB", **question)
