"""One file of bars or actions as a table: columns found, numbers checked, each fault told with file, line and value."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from botlib.bar_checks import FIELDS, row_faults, suspects
from botlib.errors import DataError, InputError, ProviderError, nearest
from botlib.providers.frames import EXCHANGE_TZ, STEPS

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_ALIASES = {"timestamp": ("timestamp", "date", "datetime", "time"), "symbol": ("symbol", "ticker")}
_OFFSET = r":\d\d.*(?:Z|[+-]\d\d:?\d\d)$"
_EMPTY_CELLS = {"", "nan", "null", "none", "na", "n/a"}


def stem(path: Path) -> str:
    """The file's name without its suffix: AAPL for AAPL.csv.gz."""
    name = path.name
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), path.suffix)
    return name[: len(name) - len(suffix)] if suffix else name


def is_table(path: Path) -> bool:
    """Whether the name says CSV or Parquet."""
    return path.name.lower().endswith(SUFFIXES)


def unreadable(path: Path, error: Exception) -> ProviderError:
    """The error of a file that the system does not give."""
    return ProviderError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.")


class BadRow(NamedTuple):
    """A row whose numbers make no bar: its time, and where and what the fault is."""

    time: pd.Timestamp
    place: str
    cell: str
    problem: str


def bad_rows_error(path: Path, bad: Sequence[BadRow]) -> DataError:
    """The error of bad rows: the first in full, and the lines of the others."""
    first, *others = bad
    listed = ", ".join(row.place for row in others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    also = f" Wrong too: {listed}." if others else ""
    return DataError(f"{path}, {first.place}, {first.cell}: {first.problem}. Correct it in the file, or take the "
                     f"whole {first.place.split()[0]} out.{also}")


class Table:
    """A file's columns as they stand there; CSV cells stay text until asked for as numbers or times.

    Raises `ProviderError` when the file cannot be read, `DataError` when it is no table or has no rows.
    """

    def __init__(self, path: Path, decimal: str = ".") -> None:
        self.path, self.decimal = path, decimal
        self.is_text = not path.name.lower().endswith(".parquet")
        try:
            frame = self._read_csv() if self.is_text else self._read_parquet()
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(path, error) from None
        if frame.empty:
            raise DataError(f"{path} has no rows: write at least a header and one bar.")
        self.frame = frame

    def _read_csv(self) -> pd.DataFrame:
        try:
            # Lines stay countable for messages: blank ones are read as rows and dropped with their numbers.
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
                frame = pd.read_csv(self.path, sep=self._separator(), dtype="str", keep_default_na=False,
                                    skip_blank_lines=False, index_col=False, encoding="utf-8-sig",
                                    compression="infer", skipinitialspace=True)
        except pd.errors.EmptyDataError:
            raise DataError(f"{self.path} is empty: it needs a header (date,open,high,…) and bars.") from None
        except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError, gzip.BadGzipFile) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.path} is not a CSV file that can be read ({reason}).") from None
        frame.index = pd.RangeIndex(2, len(frame) + 2)  # line numbers; the header is line 1
        frame = frame.fillna("")
        return frame[(frame != "").any(axis=1)]

    def _separator(self) -> str:
        """What stands between the names of the header: a comma, else the semicolon, tab or bar that it has most of."""
        opened = gzip.open if self.path.name.lower().endswith(".gz") else open
        with opened(self.path, "rt", encoding="utf-8-sig") as stream:
            header = stream.readline(1_000_000)
        return "," if "," in header else max(",;\t|", key=header.count)

    def _read_parquet(self) -> pd.DataFrame:
        import pyarrow

        try:
            frame = pd.read_parquet(self.path)
        except (pyarrow.ArrowException, ValueError) as error:
            if isinstance(error, OSError):  # pyarrow's own errors of the file system
                raise
            raise DataError(f"{self.path} is not a Parquet file that can be read ({error}).") from None
        if any(name is not None for name in frame.index.names):
            frame = frame.reset_index()
        elif isinstance(frame.index, pd.DatetimeIndex):
            frame = frame.rename_axis("timestamp").reset_index()
        frame.index = pd.RangeIndex(1, len(frame) + 1)
        return frame

    @property
    def _row(self) -> str:
        return "line" if self.is_text else "row"

    def named(self, columns: Mapping[str, str], valid: Sequence[str], needed: Sequence[str]) -> dict[str, str]:
        """Our name → the file's. ``columns`` maps theirs to ours; all else is matched by name, case aside.

        Raises `InputError` for a wrong map, a column that is missing or one that stands there twice.
        """
        theirs = {str(name).strip().lower(): name for name in self.frame.columns}
        found: dict[str, str] = {}
        for their, our in columns.items():
            if our not in valid:
                raise InputError(f"columns maps {their!r} to {our!r}, which is not one of {', '.join(valid)}"
                                 f"{nearest(our, valid) or '.'}")
            if their.strip().lower() not in theirs:
                raise InputError(f"columns names {their!r}, which {self.path} does not have"
                                 f"{nearest(their, theirs.values()) or '.'} Its columns: {self._listed()}.")
            found[our] = theirs[their.strip().lower()]
        for our in valid:
            if our in found:
                continue
            options = [name for name in self.frame.columns if str(name).strip().lower() in _ALIASES.get(our, (our,))
                       and name not in found.values()]
            if len(options) > 1:
                both = " and ".join(map(str, options))
                raise InputError(f"{self.path} has {both}, which could both be {our}: say which by "
                                 f"columns={{{str(options[0])!r}: {our!r}}}.")
            if options:
                found[our] = options[0]
        if self.is_text and len(self.frame.columns) == 1 and len(needed) > 1:
            raise InputError(f"{self.path} has one column, {self._listed()!r}: separate its columns by a comma, a "
                             "semicolon, a tab or '|'.")
        for our in needed:
            if our not in found:
                said = "date (or timestamp)" if our == "timestamp" else our
                raise InputError(f"{self.path} has no column {said}; it has {self._listed()}: if one of them is {our}, "
                                 f"give columns={{'its name': {our!r}}}.")
        return found

    def _listed(self) -> str:
        names = [str(name) for name in self.frame.columns]
        return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")

    def fault(self, where: int, column: str, problem: str) -> DataError:
        """``file, line, column = value: problem``; ``where`` counts from 0."""
        row = self.frame.iloc[where]
        return DataError(f"{self.path}, {self._row} {self.frame.index[where]}, column {column} = {str(row[column])!r}: "
                         f"{problem}.")

    def bad_rows(self, values: Mapping[str, np.ndarray], named: Mapping[str, str], index: pd.DatetimeIndex,
                 rows: np.ndarray) -> list[BadRow]:
        """Those of ``rows`` (numbers from 0) that `botlib.Bars` would refuse, in the order of the file.

        ``values`` are (rows of the file,) float64 by our names, ``named`` the file's names of them.
        """
        mine = {our: values[our][rows] for our in FIELDS}
        at = suspects(mine)
        faults = row_faults({our: column[at] for our, column in mine.items()})
        found = []
        for k in np.flatnonzero(faults.nan | faults.non_positive | faults.high_below_low | faults.negative_volume):
            row = int(rows[at[k]])
            cells = {our: float(values[our][row]) for our in FIELDS}
            if faults.nan[k]:
                our, problem = next(f for f in FIELDS if np.isnan(cells[f])), "a number is missing"
            elif faults.non_positive[k]:
                our, problem = next(f for f in FIELDS[:4] if cells[f] <= 0.0), "a price must be above 0"
            elif faults.high_below_low[k]:
                our, problem = "high", f"it is below the low of {cells['low']:g}"
            else:
                our, problem = "volume", "it is below 0"
            cell = f"column {named[our]} = {str(self.frame[named[our]].iloc[row])!r}"
            found.append(BadRow(index[row], f"{self._row} {self.frame.index[row]}", cell, problem))
        return found

    def numbers(self, column: str) -> np.ndarray:
        """(rows,) float64; an empty cell is NaN. Raises `DataError` naming the first cell that is no finite number."""
        cells = self.frame[column]
        if self.is_text:
            text = cells.str.strip()
            empty = text.str.lower().isin(_EMPTY_CELLS).to_numpy()
        else:
            text = cells
            empty = cells.isna().to_numpy()
        if self.is_text and self.decimal == ",":
            text = text.str.replace(".", "\0", regex=False).str.replace(",", ".", regex=False)
        values = pd.to_numeric(text.where(~empty), errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(values) & ~empty)
        if len(bad):
            raise self.fault(int(bad[0]), column, self._number_hint(str(cells.iloc[bad[0]]).strip()))
        return values

    def _number_hint(self, cell: str) -> str:
        if self.decimal == ",":
            return "not a number with decimal=','; write it as 1234,5, without thousands separators"
        comma = ", without thousands separators; a decimal comma needs decimal=','" if "," in cell else ""
        return f"not a number; write it as 1234.5{comma}"

    def times(self, column: str, tz: str | None, date_format: str | None) -> tuple[pd.DatetimeIndex, bool]:
        """(rows,) tz-aware labels in exchange time, and whether they are sessions (dates).

        Midnights of their own zone are the dates of sessions. Other naive times need ``tz``.
        """
        parsed = self._parsed(column, date_format)
        if parsed.tz is None:
            if (parsed == parsed.normalize()).all():
                return self._sessions(parsed), True
            if tz is None:
                raise InputError(f"{self.path}, column {column}: its times ({parsed[0]}) have no time zone: name it by "
                                 f"tz, e.g. tz='{EXCHANGE_TZ}' or tz='UTC'.")
            try:
                # A clock time that occurs twice or never in autumn or spring is told, not guessed.
                return parsed.tz_localize(tz).tz_convert(EXCHANGE_TZ), False
            except ValueError as error:
                raise DataError(f"{self.path}, column {column}: a time is not unique in {tz} ({error}).") from None
        local = parsed.tz_convert(EXCHANGE_TZ)
        for candidate in (local.tz_localize(None), parsed.tz_convert("UTC").tz_localize(None)):
            if (candidate == candidate.normalize()).all():
                return self._sessions(candidate), True
        return local, False

    def _sessions(self, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
        return dates.tz_localize(EXCHANGE_TZ)

    def _parsed(self, column: str, date_format: str | None) -> pd.DatetimeIndex:
        cells: Any = self.frame[column]
        if pd.api.types.is_datetime64_any_dtype(cells.dtype):
            if cells.isna().any():
                raise self.fault(int(np.flatnonzero(cells.isna())[0]), column, "no date")
            return pd.DatetimeIndex(cells)
        text = cells.astype("str").str.strip()
        zoned = text.str.contains(_OFFSET, regex=True).to_numpy()
        if zoned.any() and not zoned.all():
            raise self.fault(int(np.flatnonzero(zoned != zoned[0])[0]), column,
                             "some times of the file have a zone and some have none")
        # One zone for all: offsets change with daylight saving.
        parsed = pd.DatetimeIndex(pd.to_datetime(text, format=date_format or "ISO8601", errors="coerce",
                                                 utc=bool(zoned.all())))
        if parsed.isna().any():
            fix = f"does not fit date_format={date_format!r}" if date_format else (
                "not a date like 2012-05-18; for another form give date_format, e.g. '%m/%d/%Y'")
            raise self.fault(int(np.flatnonzero(parsed.isna())[0]), column, fix)
        return parsed


def spacing(index: pd.DatetimeIndex, path: Path) -> str:
    """The interval of rising intraday labels: the longest that fits them all. Raises `DataError` when none does."""
    steps = np.diff(index.as_unit("ns").asi8)
    offsets = index.as_unit("ns").asi8 % STEPS["30m"].value
    smallest = steps.min() if len(steps) else STEPS["1m"].value
    for interval in ("1h", "30m", "15m", "5m", "1m"):
        grid = min(STEPS[interval].value, STEPS["30m"].value)
        if smallest >= STEPS[interval].value and not (offsets % grid).any():
            return interval
    raise DataError(f"{path}: its bars are {pd.Timedelta(int(smallest))} apart and fit none of {', '.join(STEPS)}: "
                    "resample them, or name the interval, e.g. interval='1m'.")
