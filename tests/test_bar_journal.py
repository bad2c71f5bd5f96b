"""The bars that decisions saw: kept, hashed bar by bar, and found out when they are changed."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from venue_helpers import daily, intraday

from botlib.bars import Bars
from botlib.errors import DataError
from botlib.session.bar_journal import HISTORY, BarJournal, verify

NOW = pd.Timestamp("2024-04-01 20:30", tz="UTC")


def kept(folder: Path, bars: Bars, first: int) -> dict[str, str]:
    """A session that begins with ``first`` bars; label → the hash it was told."""
    journal, told = BarJournal(folder, "iex"), {}
    for stop in range(first, len(bars) + 1):
        part = bars.upto(stop - 1)
        _, digest = journal(part, NOW + pd.Timedelta(minutes=stop))
        told[part.index[-1].tz_convert("UTC").isoformat()] = digest
    return told


@pytest.mark.parametrize("bars", [daily(30), intraday(200)], ids=["daily", "intraday"])
def test_the_hash_of_every_decision_follows_from_the_files(tmp_path: Path, bars: Bars) -> None:
    told = kept(tmp_path, bars, 5)
    found = verify(tmp_path, bars.symbols)
    assert len(told) == len(bars) - 4
    assert {label: found[label] for label in told} == told


def test_the_hash_is_of_labels_and_prices_in_their_order(tmp_path: Path) -> None:
    """By hand: label in ns, then open, high, low, close, volume of each symbol, little-endian."""
    bars = daily(2, symbols=("AAPL", "IBM"))
    text = b""
    for t in range(2):
        text += struct.pack("<q", pd.Timestamp(bars.index[t]).value)
        for name in ("open", "high", "low", "close", "volume"):
            text += struct.pack("<2d", *getattr(bars, name)[t])
    _, digest = BarJournal(None, "iex")(bars, NOW)
    assert digest == hashlib.sha256(text).hexdigest()


def test_daily_bars_have_a_file_a_month_and_intraday_bars_one_a_session(tmp_path: Path) -> None:
    kept(tmp_path, daily(30), 5)  # from 2024-03-04: March and April
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars_2024-03.parquet", "bars_2024-04.parquet", HISTORY]
    other = tmp_path / "intraday"
    other.mkdir()
    kept(other, intraday(160), 5)  # 78 bars a session
    assert sorted(path.name for path in other.iterdir()) == [
        "bars_2024-03-04.parquet", "bars_2024-03-05.parquet", "bars_2024-03-06.parquet", HISTORY]


def test_files_say_feed_and_arrival(tmp_path: Path) -> None:
    kept(tmp_path, daily(8), 5)
    table = pd.read_parquet(tmp_path / "bars_2024-03.parquet")
    assert set(table["feed"]) == {"iex"}
    assert list(table["arrived"].unique()) == [NOW + pd.Timedelta(minutes=m) for m in (6, 7, 8)]


def test_a_symbol_without_a_bar_and_a_label_without_any(tmp_path: Path) -> None:
    bars = daily(8)
    close = bars.close.copy()
    close[3, 0], close[6] = np.nan, np.nan
    gaps = {name: np.where(np.isnan(close), np.nan, getattr(bars, name)) for name in ("open", "high", "low", "volume")}
    holed = daily(8, close=close, **gaps)
    told = kept(tmp_path, holed, 5)
    found = verify(tmp_path, holed.symbols)
    assert {label: found[label] for label in told} == told


@pytest.mark.parametrize("change", ["price", "gone", "order"])
def test_a_changed_file_has_another_hash(tmp_path: Path, change: str) -> None:
    bars = daily(12)
    told = kept(tmp_path, bars, 5)
    path = tmp_path / "bars_2024-03.parquet"
    table = pd.read_parquet(path)
    if change == "price":
        table.loc[0, "close"] += 0.01
    elif change == "gone":
        table = table.iloc[2:]
    else:
        table = pd.concat([table.iloc[2:4], table.iloc[:2], table.iloc[4:]])
    table.to_parquet(path, index=False)
    found = verify(tmp_path, bars.symbols)
    assert found[list(told)[-1]] != told[list(told)[-1]]


def test_a_run_without_bars_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no bars are kept"):
        verify(tmp_path, ("AAPL",))
