"""Bars from the user's own CSV or Parquet files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from botlib import adjust
from botlib.errors import DataError, InputError, nearest, warn
from botlib.providers import frames
from botlib.providers.base import INTERVALS, TICKER
from botlib.providers.file_table import BadRow, Table, bad_rows_error, is_table, spacing, stem, unreadable
from botlib.providers.frames import COLUMNS
from botlib.providers.periods import of_period

_BAR_COLUMNS = ("timestamp", "symbol", *COLUMNS)


class _File(NamedTuple):
    """A file that has been read: bars by symbol and their interval, and the rows of it that make no bar."""

    bars: dict[str, pd.DataFrame]
    interval: str
    bad: dict[str, list[BadRow]]
    path: Path


class FileProvider:
    """CSV (also .csv.gz) or Parquet: a folder of one file a symbol, one file in long form, or one file of one symbol.

    Parameters
    ----------
    path : path
        A folder holding AAPL.csv, MSFT.csv, … (the names are the symbols, in capitals), or one file. A file with a
        symbol column is in long form; without one it is the symbol ``symbol``, or the one its name says.
    symbol : str, optional
        Symbol of a single file that has no symbol column.
    columns : mapping of str to str, optional
        Their name → ours, e.g. ``{"Last": "close", "Day": "timestamp"}``. Ours are timestamp, symbol, open, high, low,
        close, volume; they, date, datetime, time and ticker are found without it, case aside.
    tz : str, optional
        Zone of times without one. Dates (all times 00:00) need none: they are sessions of the exchange.
    date_format : str, optional
        strptime format where dates are not ISO (2012-05-18).
    interval : str, optional
        Interval of the bars; found from their spacing when not given.
    adjustment : str
        What was done to the prices: "raw", "split" or "all".
    actions : path, optional
        CSV or Parquet with symbol, ex_date, type ("split" | "cash_dividend"), value (ratio | cash a share) and, if
        known, pay_date. Dividends of split-adjusted bars are in adjusted shares.
    extra : sequence of str
        Further numeric columns to keep, by their name in the file.
    decimal : str
        Decimal mark of a CSV file's numbers, "." or ",".

    The columns of a CSV file are separated by commas; without one in the header by semicolons, tabs or "|".
    Labels are the START of each bar. An empty cell is NaN. Every fault of a file is one sentence that names file, line,
    column and value; numbers that make no bar are told by `refuse_bad_rows`.
    """

    name = "file"

    def __init__(self, path: str | Path, *, symbol: str | None = None, columns: Mapping[str, str] | None = None,
                 tz: str | None = None, date_format: str | None = None, interval: str | None = None,
                 adjustment: str = "raw", actions: str | Path | None = None, extra: Sequence[str] = (),
                 decimal: str = ".") -> None:
        self.path = Path(path)
        self.symbol, self.columns, self.tz, self.date_format = symbol, dict(columns or {}), tz, date_format
        self.adjustment, self.extra = adjustment, tuple(extra)
        self.decimal = decimal
        adjust.check_how(adjustment)
        if decimal not in (".", ","):
            raise InputError(f"decimal = {decimal!r}: it must be '.' or ','.")
        if interval is not None:
            frames.check_interval(interval)
        if tz is not None:
            _check_tz(tz)
        self.interval, self._actions_path = interval, None if actions is None else Path(actions)
        self._actions: pd.DataFrame | None = None
        self._files = self._find()
        # Two folders can both hold AAPL: a cache must tell them apart.
        self.feed = f"{stem(self.path)}-{hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:12]}"
        self._read: dict[Path, tuple[tuple[int, int], _File]] = {}

    def download_bars(self, *, symbols: Sequence[str], period: str, interval: str) -> pd.DataFrame:
        """See `MarketDataProvider.download_bars`. The period counts back from the last bar of the symbols named."""
        names = frames.check_symbols(symbols)
        frames.check_period(period)
        bars = {name: self._bars(name, interval) for name in names}
        return of_period(bars, provider=self.name, interval=interval, period=period,
                         causes=f"{self.path} has rows without bars only")

    def history(self, symbol: str, *, start: object = None, end: object = None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        """See `MarketDataProvider.history`. Adjusted with the actions file; without one a named warning says so."""
        frames.check_symbols([symbol])
        first, last = frames.check_range(start, end)
        bars = self._bars(symbol, interval)
        keep = np.ones(len(bars), dtype=bool)
        if first is not None:
            keep &= bars.index >= first
        if last is not None:
            keep &= bars.index < last
        if not keep.any():
            have = f"{self.path} has {symbol} {frames.describe_range(bars.index[0], None)} {bars.index[-1]:%Y-%m-%d}"
            raise frames.no_data(self.name, [symbol], interval, frames.describe_range(first, last), have)
        bars = bars[keep]
        if auto_adjust and self.adjustment != "all":
            if self._actions_path is None:
                warn("no-actions", f"prices of {symbol} are as they stand in {self.path}: without an actions file they "
                     "cannot be adjusted.")
                return frames.adjusted(bars, symbol, adjust.no_actions(), have=self.adjustment)
            return frames.adjusted(bars, symbol, self.actions([symbol]), have=self.adjustment)
        return bars

    def actions(self, symbols: Sequence[str]) -> pd.DataFrame:
        """See `MarketDataProvider.actions`: what the actions file says; empty without one, with a named warning."""
        names = frames.check_symbols(symbols)
        if self._actions_path is None:
            warn("no-actions", f"splits and dividends of {self.path} are not known: there is no actions file. Give "
                 "actions=, or pass none to Bars.")
            return adjust.no_actions()
        if self._actions is None:
            self._actions = _read_actions(self._actions_path, self.decimal)
        return adjust.check_actions(self._actions[self._actions["symbol"].isin(names)])

    @property
    def knows_actions(self) -> bool:
        """Whether there is an actions file: without one an empty table means "not known", not "there were none"."""
        return self._actions_path is not None

    def held_interval(self, symbols: Sequence[str]) -> str:
        """The interval of the first symbol's bars."""
        symbol = frames.check_symbols(symbols)[0]
        return self._load_for(symbol).interval

    def refuse_bad_rows(self, frame: pd.DataFrame) -> None:
        """Raise `DataError` for a row of ``frame``, which `download_bars` gave, that `botlib.Bars` would refuse; it
        names the line in the file."""
        for symbol in frame.index.get_level_values(0).unique():
            file, times = self._load_for(symbol), frame.loc[symbol].index
            bad = [row for row in file.bad.get(symbol, ()) if times[0] <= row.time <= times[-1]]
            if bad:
                raise bad_rows_error(file.path, bad)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols there are, in alphabetical order."""
        if self.path.is_dir():
            return tuple(sorted(self._files))
        return tuple(sorted(self._load(self.path, self.symbol or stem(self.path).upper()).bars))

    # -- reading --------------------------------------------------------------------------------------------------

    def _find(self) -> dict[str, Path]:
        """Symbol → file. A single file stands under ""."""
        if not self.path.exists():
            raise InputError(f"path = {str(self.path)!r} does not exist: name a CSV or Parquet file, or a folder.")
        if self.path.is_file():
            if not is_table(self.path):
                raise InputError(f"path = {str(self.path)!r} is neither .csv, .csv.gz nor .parquet.")
            return {"": self.path}
        if self.symbol is not None:
            raise InputError(f"symbol = {self.symbol!r} goes with a single file, but path = {str(self.path)!r} is a "
                             "folder, where each file's name is its symbol.")
        files: dict[str, Path] = {}
        for file in sorted(self.path.iterdir()):
            if not file.is_file() or not is_table(file) or file == self._actions_path:
                continue
            symbol = stem(file).upper()
            if symbol in files:
                raise InputError(f"{self.path} holds {symbol} twice ({files[symbol].name} and {file.name}): keep one.")
            files[symbol] = file
        if not files:
            raise InputError(f"path = {str(self.path)!r} holds no .csv, .csv.gz or .parquet file.")
        return files

    def _bars(self, symbol: str, interval: str) -> pd.DataFrame:
        frames.check_interval(interval)
        file = self._load_for(symbol)
        have = file.interval
        if interval != have:
            longer = INTERVALS.index(interval) > INTERVALS.index(have)
            todo = f"ask for {have} and make longer ones with bars.resample({interval!r})" if longer else (
                f"shorter ones cannot be made of them; ask for {have}")
            raise InputError(f"interval = {interval!r} is not what {self.path} holds, which is {have} bars: {todo}.")
        return file.bars[symbol]

    def _load_for(self, symbol: str) -> _File:
        """The file that holds ``symbol``, read."""
        if self.path.is_dir():
            if symbol not in self._files:
                raise self._unknown(symbol, sorted(self._files))
            found = self._load(self._files[symbol], symbol)
        else:
            found = self._load(self.path, self.symbol or stem(self.path).upper())
        if symbol not in found.bars:
            raise self._unknown(symbol, sorted(found.bars))
        return found

    def _unknown(self, symbol: str, known: Sequence[str]) -> InputError:
        listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        near = [name for name in known if nearest(symbol, [name])]
        if near and not any(TICKER.fullmatch(name) for name in near):  # a name that no run takes for a symbol
            file = self._files.get(near[0], self.path)
            whole = "" if self.path.is_file() else f" provider_options.path={str(file)!r} and"
            return InputError(f"symbol {symbol!r} is not in {self.path}: the name of the file {file.name!r} says "
                              f"{near[0]!r}, which is no ticker. Give{whole} provider_options.symbol={symbol!r}, or "
                              f"rename it to {symbol}{file.name[len(stem(file)):]}.")
        return InputError(f"symbol {symbol!r} is not in {self.path}{nearest(symbol, known) or '.'} It has {listed}.")

    def _load(self, path: Path, symbol: str) -> _File:
        """A file; read once as long as it stays the same."""
        try:
            stat = path.stat()
        except OSError as error:
            raise unreadable(path, error) from None
        version = (stat.st_mtime_ns, stat.st_size)
        if path not in self._read or self._read[path][0] != version:
            self._read[path] = (version, self._parse(path, symbol))
        return self._read[path][1]

    def _parse(self, path: Path, symbol: str) -> _File:
        table = Table(path, self.decimal)
        found = table.named(self.columns, _BAR_COLUMNS, ("timestamp", *COLUMNS))
        values = {our: table.numbers(found[our]) for our in COLUMNS}
        for name in self.extra:
            theirs = table.named({name: name}, (name,), (name,))[name]
            values[name] = table.numbers(theirs)
        index, daily = table.times(found["timestamp"], self.tz, self.date_format)
        frame = pd.DataFrame(values, index=index.as_unit("ns").rename("timestamp"))
        if "symbol" not in found:
            parts = {symbol: np.arange(len(frame))}
        else:
            named = table.frame[found["symbol"]].astype("str").str.strip().to_numpy()
            parts = {str(name): np.flatnonzero(named == name) for name in pd.unique(named)}
            if self.path.is_dir() and set(parts) != {symbol}:
                raise InputError(f"{path} is one of a folder, so it must hold {symbol} alone, but it has "
                                 f"{', '.join(sorted(parts)[:5])}: name that file itself as path.")
        bars = {name: _ordered(table, found["timestamp"], frame, rows, name) for name, rows in parts.items()}
        if daily and self.interval not in (None, "1d"):
            raise InputError(f"interval = {self.interval!r} does not fit {path}, whose times are all dates: 1d bars.")
        bad = {name: table.bad_rows(values, found, frame.index, rows) for name, rows in parts.items()}
        if self.interval or daily:
            interval = self.interval or "1d"
        else:
            interval = min((spacing(one.index, path) for one in bars.values()), key=INTERVALS.index)
        return _File(bars, interval, {name: rows for name, rows in bad.items() if rows}, path)


def _ordered(table: Table, column: str, frame: pd.DataFrame, rows: np.ndarray, symbol: str) -> pd.DataFrame:
    """One symbol's rows in order of time: many files run newest first. Raises `DataError` on a repeated time."""
    order = rows[np.argsort(frame.index.asi8[rows], kind="stable")]
    repeated = np.flatnonzero(frame.index[order].duplicated())
    if len(repeated):
        raise table.fault(int(order[repeated[0]]), column, f"{symbol} has another bar of that time")
    return frame.iloc[order]


def _read_actions(path: Path, decimal: str) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"actions = {str(path)!r} is not a file.")
    table = Table(path, decimal)
    found = table.named({}, adjust.ACTION_COLUMNS, adjust.ACTION_COLUMNS[:4])
    rows = pd.DataFrame({our: table.frame[theirs].astype("str").str.strip() for our, theirs in found.items()})
    rows["value"] = table.numbers(found["value"])
    rows["ex_date"] = table.times(found["ex_date"], None, None)[0].tz_localize(None)
    if "pay_date" in found:
        rows["pay_date"] = pd.to_datetime(rows["pay_date"], format="ISO8601", errors="coerce")
    try:
        return adjust.check_actions(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _check_tz(tz: str) -> None:
    import zoneinfo

    valid = zoneinfo.available_timezones()
    if tz not in valid:
        raise InputError(f"tz = {tz!r} is not a time zone{nearest(tz, valid) or '.'} Give an IANA name such as "
                         "'America/New_York'.")
