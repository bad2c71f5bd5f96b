"""The bars that decisions saw, kept as Parquet with the time at which each arrived, under a hash that grows bar by bar.

Every decision names the hash of all bars up to its own. `verify` computes it again from the files: a changed price, a
bar taken out or put in, or one that was seen in another order is found.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import FIELDS, Bars
from botlib.errors import DataError

HISTORY = "bars_history.parquet"
_LABEL, _ARRIVED, _SYMBOL, _FEED = "time", "arrived", "symbol", "feed"


class BarJournal:
    """Keeps bars in a folder; what `TradingSession` calls at each decision.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing but the hash.
    feed : str
        Where the bars come from, for the record.
    """

    def __init__(self, folder: Path | None, feed: str) -> None:
        self.folder, self.feed = folder, feed
        self._hash = hashlib.sha256()
        self._rows = 0
        self._file, self._kept = "", []  # type: str, list[pd.DataFrame]

    def __call__(self, bars: Bars, now: pd.Timestamp) -> tuple[str, str]:
        """Keep what is new; returns (name of the file that the last bar stands in, hash of all bars so far)."""
        first, stop = self._rows, len(bars)
        for t in range(first, stop):
            self._hash.update(row_bytes(bars, t))
        if self.folder is not None and first < stop:
            self._keep(bars, first, stop, now)
        self._rows = stop
        return self._file, self._hash.hexdigest()

    def _keep(self, bars: Bars, first: int, stop: int, now: pd.Timestamp) -> None:
        assert self.folder is not None
        if first == 0:
            self._file = HISTORY
            _write(self.folder / HISTORY, _table(bars, 0, stop, now, self.feed))
            return
        for t in range(first, stop):
            name = file_of(bars, t)
            if name != self._file:
                self._file, self._kept = name, []
            self._kept.append(_table(bars, t, t + 1, now, self.feed))
        _write(self.folder / self._file, pd.concat(self._kept, ignore_index=True))


def file_of(bars: Bars, t: int) -> str:
    """The file of one bar: one for each session of intraday bars, one for each month of daily ones."""
    label = bars.index[t]
    return f"bars_{label:%Y-%m}.parquet" if bars.interval == "1d" else f"bars_{label:%Y-%m-%d}.parquet"


def row_bytes(bars: Bars, t: int) -> bytes:
    """One bar of all symbols as it goes into the hash: label (UTC ns), then the panels' rows; NaN in one way only."""
    rows = np.array([getattr(bars, name)[t] for name in FIELDS], dtype="<f8")
    rows[np.isnan(rows)] = np.nan
    return int(bars.index[t].value).to_bytes(8, "little", signed=True) + rows.tobytes()


def verify(folder: Path, symbols: tuple[str, ...]) -> dict[str, str]:
    """Label (ISO, UTC) → hash of all bars up to it, computed from the files of a run.

    ``symbols`` in the order of the session's bars (that of names). Raises `DataError` when there are no files.
    """
    files = sorted(folder.glob("bars_*.parquet"), key=lambda path: (path.name != HISTORY, path.name))
    if not files:
        raise DataError(f"no bars are kept in {folder}.")
    table = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    digest, found = hashlib.sha256(), {}
    column = {symbol: i for i, symbol in enumerate(symbols)}
    for label, part in table.groupby(_LABEL, sort=False):
        stamp = pd.Timestamp(label)
        rows = np.full((len(FIELDS), len(symbols)), np.nan)
        known = part[part[_SYMBOL].isin(column)]
        rows[:, [column[s] for s in known[_SYMBOL]]] = known[list(FIELDS)].to_numpy(np.float64).T
        digest.update(int(stamp.value).to_bytes(8, "little", signed=True) + rows.astype("<f8").tobytes())
        found[stamp.tz_convert("UTC").isoformat()] = digest.hexdigest()
    return found


def _table(bars: Bars, first: int, stop: int, now: pd.Timestamp, feed: str) -> pd.DataFrame:
    """Rows in the order of time, then symbols; a symbol without a bar has none, a label without any has one of NaN."""
    count, n = stop - first, len(bars.symbols)
    values: dict[str, Any] = {name: getattr(bars, name)[first:stop].reshape(-1) for name in FIELDS}
    there = ~np.isnan(values["close"]).reshape(count, n)
    there[~there.any(axis=1), 0] = True
    keep = there.reshape(-1)
    frame = pd.DataFrame({
        _LABEL: np.repeat(bars.index[first:stop].tz_convert("UTC").as_unit("ns"), n)[keep],
        _SYMBOL: np.tile(np.array(bars.symbols, dtype=object), count)[keep],
        **{name: value[keep] for name, value in values.items()}})
    return frame.assign(**{_ARRIVED: now.tz_convert("UTC").as_unit("ns"), _FEED: feed})


def _write(path: Path, table: pd.DataFrame) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    table.to_parquet(partial, index=False)
    partial.replace(path)
