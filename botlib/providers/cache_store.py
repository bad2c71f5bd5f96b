"""The cache's files: one Parquet file a series, written whole or not at all, checked by a checksum when read.

Layout: ``FOLDER/<provider>[+<feed>]/<interval>-<adjustment>/<symbol>.parquet`` and ``…/actions/<symbol>.parquet``. What
the cache knows about a series (ranges asked for, checksum) stands in the file's own metadata: they can never disagree.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from botlib.adjust import no_actions
from botlib.errors import InputError, ProviderError, warn
from botlib.providers.cache_series import Series
from botlib.providers.cache_spans import Span

_VERSION = 2
_META = b"botlib"
_LOCK_SECONDS = 300  # longer than a slow download of one request; then something is stuck
# Windows reads these names as devices, whatever the extension.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{p}{d}" for p in ("COM", "LPT") for d in range(1, 10))}


def safe_name(text: str) -> str:
    """A file name for any symbol, another one for each, also where case does not count (BRK.B, BTC/USD, CON).

    Capitals, digits, ``-`` and ``_`` stay; all else is %-encoded by its UTF-8 bytes.
    """
    name = re.sub(r"[^A-Z0-9_-]", lambda m: "".join(f"%{b:02X}" for b in m[0].encode()), text)
    if len(name) > 120:
        name = name[:60] + "%%" + hashlib.sha256(text.encode()).hexdigest()[:32].upper()
    return name + "%" if name in _RESERVED else name


class Store:
    """Reads and writes the series of one provider.

    Parameters
    ----------
    folder : path
        Made when missing. Raises `InputError` when it cannot be.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the cache folder {folder} cannot be made ({error.strerror}): name one that can be "
                             "written.") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One writer at a time, over processes and threads; the system frees it when a process dies."""
        try:
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
                yield
        except Timeout:
            raise ProviderError(f"another process has held the cache {self.folder} for {_LOCK_SECONDS} s: wait for it, "
                                "or stop it and run again.") from None

    def path(self, kind: str, symbol: str) -> Path:
        """The file of a series; ``kind`` is e.g. "1d-raw" or "actions"."""
        return self.folder / kind / f"{safe_name(symbol)}.parquet"

    def load(self, kind: str, symbol: str) -> Series | None:
        """The series, or None when there is none. A torn or foreign file counts as none, with a named warning."""
        path = self.path(kind, symbol)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warn("cache-unreadable", f"{path} cannot be read ({error.strerror}); its data is fetched again.")
            return None
        series = _decode(content, kind, symbol)
        if series is None:
            warn("cache-torn", f"{path} is damaged or of another version; its data is fetched again.")
        return series

    def save(self, kind: str, symbol: str, series: Series) -> None:
        """Write whole or not at all. A disk that refuses costs the cache, not the data: a named warning."""
        path = self.path(kind, symbol)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, _encode(series, kind, symbol))
        except OSError as error:
            warn("cache-not-written", f"{path} cannot be written ({error.strerror}); the next request fetches again.")


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself must survive a power cut
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _encode(series: Series, kind: str, symbol: str) -> bytes:
    import pyarrow
    import pyarrow.parquet

    meta: dict[str, Any] = {"version": _VERSION, "kind": kind, "symbol": symbol, "asof": series.asof,
                            "basis": series.basis, "spans": [list(span) for span in series.spans]}
    table = pyarrow.Table.from_pandas(series.frame) if kind == "actions" else _table(series.frame)
    meta["crc32"] = _checksum(meta, table)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: json.dumps(meta).encode()})
    buffer = io.BytesIO()
    # Prices hardly repeat or shrink: plain columns are read several times as fast.
    pyarrow.parquet.write_table(table, buffer, compression="none", use_dictionary=False, write_statistics=False)
    return buffer.getvalue()


def _decode(content: bytes, kind: str, symbol: str) -> Series | None:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).read(use_threads=False)
        meta = json.loads(table.schema.metadata[_META])
        if (meta["version"], meta["kind"], meta["symbol"], meta["crc32"]) != (
                _VERSION, kind, symbol, _checksum(meta, table)):
            return None
        frame = _actions(table) if kind == "actions" else _bars(table)
        return Series(frame, [Span(*s) for s in meta["spans"]], list(meta["asof"]), meta["basis"])
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError,
            MemoryError):
        return None  # any damage at all: the bytes are not ours to trust


def _checksum(meta: dict[str, Any], table: Any) -> int:
    """CRC-32 of all that a file says: it is to notice damage, not malice, at an eighth of what sha256 costs."""
    known = {key: value for key, value in meta.items() if key != "crc32"}
    columns = [(field.name, str(field.type)) for field in table.schema]
    crc = zlib.crc32(json.dumps([known, columns], sort_keys=True).encode())
    if meta["kind"] == "actions":
        return zlib.crc32(repr(table.to_pydict()).encode(), crc)
    for column in table.columns:
        crc = zlib.crc32(column.to_numpy().view("<i8"), crc)
    return crc


def _table(bars: pd.DataFrame) -> Any:
    """Bars as an Arrow table without nulls: NaN keeps its bits, and columns are read without a mask."""
    import pyarrow

    schema = pyarrow.Schema.from_pandas(bars)  # the index is its last column
    index: Any = bars.index
    columns = [bars[name].to_numpy() for name in bars.columns] + [index.asi8.view("M8[ns]")]
    fields = [field.with_nullable(False) for field in schema]
    return pyarrow.Table.from_arrays([pyarrow.array(values, field.type) for values, field in zip(columns, fields)],
                                     schema=pyarrow.schema(fields, schema.metadata))


def _bars(table: Any) -> pd.DataFrame:
    """The bars of such a table: ``to_pandas`` takes ten times as long for a few thousand rows."""
    *names, label = table.column_names
    values = np.empty((len(names), table.num_rows))
    for row, name in zip(values, names):
        row[:] = table.column(name)
    index = _index(table.column(label).to_numpy().tobytes(), label)
    return pd.DataFrame(values.T, index=index.view(), columns=_columns(*names).view(), copy=False)


# Symbols mostly have the same columns and days: making these takes longer than the frame. Callers take a view, whose
# name is their own.

@lru_cache
def _columns(*names: str) -> pd.Index:
    return pd.Index(names)


@lru_cache(maxsize=1)
def _index(labels: bytes, name: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.frombuffer(labels, "M8[ns]"), name=name).tz_localize("UTC")


def _actions(table: Any) -> pd.DataFrame:
    frame = table.replace_schema_metadata(None).to_pandas()  # what pandas wrote about itself has no checksum
    dtypes = _action_dtypes()
    return frame if frame.dtypes.equals(dtypes) else frame.astype(dtypes.to_dict())


@lru_cache
def _action_dtypes() -> pd.Series:
    return no_actions().dtypes
