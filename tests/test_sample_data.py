"""The bars that ship: what they are, that they are whole, and that they can be rebuilt."""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from bar_helpers import NEW_YORK, warned

from botlib.bars import Bars
from botlib.errors import DataError, InputError
from botlib.providers import sample
from botlib.providers.base import MarketDataProvider
from botlib.providers.sample import SampleProvider

SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


@pytest.fixture(scope="module")
def provider() -> SampleProvider:
    return SampleProvider()


@pytest.fixture(scope="module")
def bars(provider: SampleProvider) -> Bars:
    frame = provider.download_bars(symbols=SYMBOLS, period="max", interval="1d")
    return Bars.from_frame(frame, actions=provider.actions(SYMBOLS))


# --- the files --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["sample_daily.csv.gz", "sample_actions.csv"])
def test_files_are_those_that_are_documented(name: str) -> None:
    found = hashlib.sha256((sample.FOLDER / name).read_bytes()).hexdigest()
    assert found == sample.SHA256[name]
    assert f"`{found}`" in (sample.FOLDER / "README.md").read_text(encoding="utf-8")


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (sample.FOLDER / "sample_actions.csv").read_bytes()
    monkeypatch.setattr(sample, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="sample_actions.csv cannot be read"):
        sample._file("sample_actions.csv")
    (tmp_path / "sample_actions.csv").write_bytes(whole.replace(b"2.65", b"2.66"))
    with pytest.raises(DataError, match="sample_actions.csv is damaged or changed"):
        sample._file("sample_actions.csv")


def test_the_files_can_be_rebuilt() -> None:
    rebuild = _rebuild()
    daily, actions = rebuild.build()
    assert gzip.decompress((sample.FOLDER / "sample_daily.csv.gz").read_bytes()).decode() == daily
    assert (sample.FOLDER / "sample_actions.csv").read_text(encoding="utf-8") == actions


def _rebuild() -> ModuleType:
    pytest.importorskip("bokeh_sampledata", reason="bokeh_sampledata 2026.1 is needed to rebuild the sample data")
    if importlib.metadata.version("bokeh_sampledata") != "2026.1":
        pytest.skip("another release of bokeh_sampledata is installed: it has other data")
    spec = importlib.util.spec_from_file_location("rebuild", sample.FOLDER / "rebuild.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the data ---------------------------------------------------------------------------------------------------------

def test_no_finding_in_the_shipped_bars(bars: Bars) -> None:
    assert bars.findings.empty  # every session is there; AAPL 2000-09-29 (-51.9 %) is a real fall
    assert bars.shape == (3270, 5)
    assert (~np.isnan(bars.close)).sum(axis=0).tolist() == [3270, 196, 2148, 3270, 3270]
    assert bars.index[0] == pd.Timestamp("2000-03-01", tz=NEW_YORK)
    assert bars.index[-1] == pd.Timestamp("2013-03-01", tz=NEW_YORK)


def test_without_the_actions_the_three_splits_are_warned_of(provider: SampleProvider) -> None:
    frame = provider.download_bars(symbols=SYMBOLS)
    bars, _ = warned(lambda: Bars.from_frame(frame), "unadjusted-split")
    found = [(row.symbol, f"{row.time:%Y-%m-%d}") for row in bars.findings.itertuples()]
    assert found == [("AAPL", "2000-06-21"), ("MSFT", "2003-02-18"), ("AAPL", "2005-02-28")]


def test_known_prices(provider: SampleProvider) -> None:
    def row(symbol: str, day: str) -> list[float]:
        return provider.history(symbol, start=day, end=pd.Timestamp(day) + pd.Timedelta(days=1),
                                auto_adjust=False).iloc[0].tolist()

    # Apple's warning of September 2000: 53.50 to 25.75. Facebook's first day: opened at 42.05, 573.6 million shares.
    assert row("AAPL", "2000-09-28")[3] == 53.5
    assert row("AAPL", "2000-09-29")[3] == 25.75
    assert row("FB", "2012-05-18")[0] == 42.05
    assert row("FB", "2012-05-18")[4] == 573_576_400


def test_googles_volume_is_as_traded(provider: SampleProvider) -> None:
    # Reported on the first two days, 2004-08-19 and 20: 22,351,900 and 11,428,600 shares.
    volume = provider.history("GOOG", auto_adjust=False)["volume"]
    assert volume.iloc[:2].tolist() == [22_351_900, 11_428_600]
    assert (volume % 100 == 0).all()


def test_actions(provider: SampleProvider) -> None:
    actions = provider.actions(SYMBOLS)
    assert actions["type"].value_counts().to_dict() == {"cash_dividend": 92, "split": 3}
    splits = actions[actions["type"] == "split"]
    assert [(r.symbol, f"{r.ex_date:%Y-%m-%d}", r.value) for r in splits.itertuples()] == [
        ("AAPL", "2000-06-21", 2.0), ("MSFT", "2003-02-18", 2.0), ("AAPL", "2005-02-28", 2.0)]
    cash = actions[actions["type"] == "cash_dividend"].set_index(["symbol", "ex_date"])["value"]
    # Announced: Apple 2.65 a quarter from August 2012, Microsoft's 3.08 of 2004 (3 dollars special + 0.08).
    assert cash["AAPL"].tolist() == [2.65, 2.65, 2.65]
    assert cash["AAPL"].index.strftime("%Y-%m-%d").tolist() == ["2012-08-09", "2012-11-07", "2013-02-07"]
    assert cash["MSFT", pd.Timestamp("2004-11-15")] == 3.08
    assert cash["IBM"].count() == 52  # 13 years, four a year
    assert not {"GOOG", "FB"} & set(actions["symbol"])
    assert actions["pay_date"].isna().all()
    assert provider.actions(["FB"]).empty
    actions.loc[:, "value"] = 0.0  # a caller's change must not reach the next answer
    assert (provider.actions(SYMBOLS)["value"] > 0).all()


def test_adjusted_closes_agree_with_the_publishers(bars: Bars) -> None:
    """Against adj_close of the source, which divides by 1 + D / close(ex-date) where we multiply by 1 - D / close(t-1).

    Both take the same dividend out; the difference is D / close times the day's move, which sums up to less than half a
    percent over these years.
    """
    source = _rebuild().source().set_index(["symbol", "date"])["adj_close"]
    made = bars.adjusted(how="all")
    for n, symbol in enumerate(bars.symbols):
        here = ~np.isnan(bars.close[:, n])
        ours = made.close[here, n] / made.close[-1, n]
        theirs = source[symbol].to_numpy() / source[symbol].iloc[-1]
        np.testing.assert_allclose(ours, theirs, rtol=5e-3)
        if symbol in ("GOOG", "FB"):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# --- the provider -----------------------------------------------------------------------------------------------------

def test_it_is_a_provider(provider: SampleProvider) -> None:
    assert isinstance(provider, MarketDataProvider)
    assert provider.name == "sample"


@pytest.mark.parametrize(("period", "bars", "first"), [
    ("1d", 1, "2013-03-01"), ("5d", 5, "2013-02-25"), ("30d", 30, "2013-01-17"), ("1mo", 19, "2013-02-04"),
    ("1y", 250, "2012-03-02"), ("max", 3270, "2000-03-01"),
])
def test_periods_count_back_from_the_last_bar(provider: SampleProvider, period: str, bars: int, first: str) -> None:
    frame = provider.download_bars(symbols=["IBM"], period=period, interval="1d")
    assert len(frame) == bars
    assert frame.index[0] == ("IBM", pd.Timestamp(first, tz=NEW_YORK))
    assert frame.index[-1][1] == pd.Timestamp("2013-03-01", tz=NEW_YORK)


def test_the_frame(provider: SampleProvider) -> None:
    frame = provider.download_bars(symbols=["MSFT", "FB"], period="5d", interval="1d")
    assert frame.index.names == ["symbol", "timestamp"]
    assert frame.index.get_level_values(0).unique().tolist() == ["MSFT", "FB"]
    assert frame.columns.tolist() == ["open", "high", "low", "close", "volume"]
    assert (frame.dtypes == np.float64).all()
    frame.iloc[:] = 0.0  # a caller's change must not reach the next answer
    assert (provider.download_bars(symbols=["MSFT", "FB"], period="5d", interval="1d") > 0).all(axis=None)


def test_history(provider: SampleProvider) -> None:
    raw = provider.history("AAPL", start="2005-02-24", end="2005-03-01", auto_adjust=False)
    assert raw.index.strftime("%Y-%m-%d").tolist() == ["2005-02-24", "2005-02-25", "2005-02-28"]  # the end is not in it
    adjusted = provider.history("AAPL", start="2005-02-24", end="2005-03-01")
    np.testing.assert_allclose(adjusted["close"], raw["close"] / [2, 2, 1])
    np.testing.assert_allclose(adjusted["volume"], raw["volume"] * [2, 2, 1])
    raw.iloc[:] = 0.0
    assert (provider.history("AAPL", auto_adjust=False) > 0).all(axis=None)


def test_what_is_not_there(provider: SampleProvider) -> None:
    with pytest.raises(DataError, match=r"symbol 'APPL' is not in the sample data; did you mean 'AAPL'\? There are"):
        provider.download_bars(symbols=["APPL"], period="1y", interval="1d")
    with pytest.raises(DataError, match="did you mean 'MSFT'"):
        provider.actions(["msft"])
    with pytest.raises(InputError, match="the sample data are daily, interval must be '1d'"):
        provider.download_bars(symbols=["AAPL"], period="1y", interval="5m")
    with pytest.raises(InputError, match=r"period = '1yr' .*did you mean '1y'"):
        provider.download_bars(symbols=["AAPL"], period="1yr", interval="1d")
    with pytest.raises(DataError, match="No data returned from sample for FB.*196 bars from 2012-05-18 to 2013-03-01"):
        provider.history("FB", start="2001-01-01", end="2002-01-01")
    with pytest.raises(InputError, match="is not before end"):
        provider.history("FB", start="2013-01-01", end="2012-01-01")
