"""`SampleProvider`: real daily bars that ship with botlib, no network needed."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from botlib import adjust
from botlib.errors import DataError, InputError, nearest
from botlib.providers import frames
from botlib.providers.periods import period_start

FOLDER = Path(__file__).parent.parent / "data"
# botlib/data/rebuild.py writes both files and prints these.
SHA256 = {
    "sample_daily.csv.gz": "a45bee78922d33fe0885055926b373c795242fd1e5be0c09ea2ac05b28a35d74",
    "sample_actions.csv": "2f5c468cf314b6bd51f2091cfc50e386f08492f0c3e28650b8114c9be96f6a1e",
}


def _file(name: str) -> bytes:
    """A shipped file, whole. Raises `DataError` when it is missing or not the one that shipped."""
    try:
        content = (FOLDER / name).read_bytes()
    except OSError as error:
        raise DataError(f"the shipped file {name} cannot be read ({error.strerror}); install botlib again.") from None
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise DataError(f"the shipped file {name} is damaged or changed (sha256 differs); install botlib again.")
    return content


@lru_cache(maxsize=1)
def _bars() -> dict[str, pd.DataFrame]:
    """Symbol → its bars on a DatetimeIndex; shared, so never handed out without a copy."""
    table = pd.read_csv(io.BytesIO(gzip.decompress(_file("sample_daily.csv.gz"))), engine="c")
    table[list(frames.COLUMNS)] = table[list(frames.COLUMNS)].astype(np.float64)
    days = pd.to_datetime(table.pop("date"), format="%Y-%m-%d").dt.as_unit("ns").dt.tz_localize(frames.EXCHANGE_TZ)
    table.index = pd.DatetimeIndex(days, name="timestamp")
    return {str(symbol): one.drop(columns="symbol") for symbol, one in table.groupby("symbol", sort=True)}


@lru_cache(maxsize=1)
def _actions() -> pd.DataFrame:
    return adjust.check_actions(pd.read_csv(io.BytesIO(_file("sample_actions.csv"))))


class SampleProvider:
    """Daily bars as traded of AAPL, GOOG, IBM, MSFT (2000 or listing to 2013-03-01) and FB (2012-05-18 to 2013-03-01).

    Public-domain data; botlib/data/README.md has source, licence and what was corrected. Labels are 00:00 New York.
    """

    name = "sample"
    interval = "1d"
    symbols = ("AAPL", "FB", "GOOG", "IBM", "MSFT")

    def download_bars(self, *, symbols: Sequence[str], period: str = "max", interval: str = "1d") -> pd.DataFrame:
        """Raw bars, MultiIndex (symbol, timestamp), columns open, high, low, close, volume (float64).

        Periods count back from the last bar, 2013-03-01 (`botlib.providers.periods`). Raises `InputError` on an unknown
        period or an interval other than "1d", `DataError` on an unknown symbol.
        """
        names = frames.check_symbols(symbols)
        frames.check_period(period)
        bars = {name: self._of(name, interval) for name in names}
        first = period_start(_bars()["AAPL"].index[-1], period)
        return frames.stack({name: one[one.index.searchsorted(first):] for name, one in bars.items()})

    def history(self, symbol: str, *, start: object = None, end: object = None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        """One symbol's bars, ``start`` inclusive, ``end`` exclusive.

        With ``auto_adjust``, prices and volume are adjusted for splits and dividends back from the last bar returned
        (`botlib.adjust`). Raises `InputError` as `download_bars`, `DataError` on an unknown symbol or an empty range.
        """
        frames.check_symbols([symbol])
        first, last = frames.check_range(start, end)
        bars = self._of(symbol, interval)
        since = 0 if first is None else bars.index.searchsorted(first)
        until = len(bars) if last is None else bars.index.searchsorted(last)
        if since >= until:
            have = f"there are {len(bars)} bars from {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
            raise frames.no_data(self.name, [symbol], interval, frames.describe_range(first, last), have)
        chosen = bars.iloc[since:until]
        return frames.adjusted(chosen, symbol, _actions(), have="raw") if auto_adjust else chosen

    def actions(self, symbols: Sequence[str]) -> pd.DataFrame:
        """Splits and cash dividends of these symbols: symbol, ex_date, type, value, pay_date (NaT: not known)."""
        names = frames.check_symbols(symbols)
        for name in names:
            self._of(name, "1d")
        return adjust.known_actions(_actions(), names).copy()

    def _of(self, symbol: str, interval: str) -> pd.DataFrame:
        frames.check_interval(interval)
        if interval != self.interval:
            raise InputError(f"interval = {interval!r}: the sample data are daily, interval must be '1d'.")
        if symbol not in self.symbols:
            hint = nearest(symbol.upper(), self.symbols) or "."
            raise DataError(f"symbol {symbol!r} is not in the sample data{hint} There are: {', '.join(self.symbols)}.")
        return _bars()[symbol]
