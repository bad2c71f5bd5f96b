"""Rebuild the shipped sample data: ``python botlib/data/rebuild.py``, with bokeh_sampledata 2026.1 installed.

Not imported at run time. It writes ``sample_daily.csv.gz`` and ``sample_actions.csv`` beside itself and prints their
sha256, which `botlib.providers.sample` states. README.md beside it says where everything comes from.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
SOURCE_SHA256 = "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd"  # stocks.csv.gz in the package
COLUMNS = ["symbol", "date", "open", "high", "low", "close", "volume"]
GOOG_FACTOR = 1998  # thousandths: the source multiplied GOOG's volume by 1.998, the stock dividend of April 2014


def source() -> pd.DataFrame:
    """The package's table: symbol, date (text), open, high, low, close, volume, adj_close."""
    import bokeh_sampledata

    path = Path(bokeh_sampledata.__file__).parent / "_data" / "stocks.csv.gz"
    packed = path.read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != SOURCE_SHA256:
        raise SystemExit(f"{path.name} has sha256 {found}, not {SOURCE_SHA256}: install bokeh_sampledata==2026.1.")
    table = pd.read_csv(path)
    table.columns = ["symbol", "date", "open", "high", "low", "close", "volume", "adj_close"]
    return table.sort_values(["symbol", "date"], ignore_index=True)


def volume_as_traded(volume: pd.Series) -> pd.Series:
    """GOOG's volume undone: the source gives floor(traded * 1.998) in whole hundreds, and traded is whole hundreds too.

    So exactly one traded number fits each value (on 2004-08-19 it is 22,351,900, the volume reported that day).
    """
    traded = -(-volume * 1000 // (GOOG_FACTOR * 100)) * 100
    if not (traded * GOOG_FACTOR // 100_000 * 100 == volume).all():
        raise SystemExit("GOOG's volume is not 1.998 times a whole number of hundreds; the source has changed.")
    return traded


def actions(table: pd.DataFrame) -> pd.DataFrame:
    """Splits and cash dividends, from how adj_close moves against close.

    On an ex-date the source's ratio of adjustments is (1 + D / close(ex-date)) times the split ratio: D, to the cent,
    is close * (ratio / split - 1). A split is a ratio of 1.4 or more; all in this file are whole numbers.
    """
    rows = []
    for symbol, one in table.groupby("symbol", sort=True):
        factor = (one["adj_close"] / one["close"]).to_numpy()
        ratio = factor[1:] / factor[:-1]
        for day, close, r in zip(one["date"][1:], one["close"][1:], ratio, strict=True):
            split = float(np.round(r)) if r > 1.4 else 1.0
            cash = round(float(close * (r / split - 1.0)), 2)
            if split != 1.0:
                rows.append((symbol, day, "split", split))
            if cash >= 0.01:
                rows.append((symbol, day, "cash_dividend", cash))
    return pd.DataFrame(rows, columns=["symbol", "ex_date", "type", "value"])


def build() -> tuple[str, str]:
    """The text of both files."""
    table = source()
    goog = table["symbol"] == "GOOG"
    table.loc[goog, "volume"] = volume_as_traded(table.loc[goog, "volume"])
    return (table[COLUMNS].to_csv(index=False, lineterminator="\n"),
            actions(table).to_csv(index=False, lineterminator="\n"))


def main() -> None:
    """Write both files and print their sha256."""
    bars, events = build()
    (HERE / "sample_daily.csv.gz").write_bytes(gzip.compress(bars.encode(), compresslevel=9, mtime=0))
    (HERE / "sample_actions.csv").write_text(events, encoding="utf-8", newline="\n")
    for name in ("sample_daily.csv.gz", "sample_actions.csv"):
        sys.stdout.write(f"{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}  {name}\n")


if __name__ == "__main__":
    main()
