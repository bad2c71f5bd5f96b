"""The cache's files: one Parquet file a series, written whole or not at all, checked by a hash when read.

Layout: ``FOLDER/<provider>[+<feed>]/<interval>-<adjustment>/<symbol>.parquet`` and ``…/actions/<symbol>.parquet``. What
the cache knows about a series (ranges asked for, hash) stands in the file's own metadata, so they can never disagree.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from botlib.adjust import no_actions
from botlib.errors import InputError, ProviderError, warn
from botlib.providers.cache_series import Series
from botlib.providers.cache_spans import Span
from botlib.providers.frames import data_hash

_VERSION = 1
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


def _digest(meta: dict[str, object], frame: pd.DataFrame) -> str:
    text = json.dumps({k: v for k, v in meta.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode() + _frame_hash(frame).encode()).hexdigest()


def _frame_hash(frame: pd.DataFrame) -> str:
    if "ex_date" in frame:
        text = frame.to_csv(index=False, date_format="%Y-%m-%d", float_format="%.17g")
        return hashlib.sha256(text.encode()).hexdigest()
    return data_hash(frame)


def _encode(series: Series, kind: str, symbol: str) -> bytes:
    import pyarrow
    import pyarrow.parquet

    meta: dict[str, object] = {"version": _VERSION, "kind": kind, "symbol": symbol, "asof": series.asof,
                               "basis": series.basis, "spans": [list(span) for span in series.spans]}
    meta["digest"] = _digest(meta, series.frame)
    table = pyarrow.Table.from_pandas(series.frame)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: json.dumps(meta).encode()})
    buffer = io.BytesIO()
    # Prices hardly repeat or shrink: plain columns are read several times as fast.
    pyarrow.parquet.write_table(table, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _decode(content: bytes, kind: str, symbol: str) -> Series | None:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(content)).read(use_threads=False)
        meta = json.loads(table.schema.metadata[_META])
        frame = table.to_pandas() if kind == "actions" else _bars(table)
        whole = (meta["version"], meta["kind"], meta["symbol"]) == (_VERSION, kind, symbol)
        if not whole or meta["digest"] != _digest(meta, frame):
            return None
        series = Series(frame, [Span(*s) for s in meta["spans"]], list(meta["asof"]), meta["basis"])
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError, MemoryError):
        return None  # any damage at all: the bytes are not ours to trust
    if kind == "actions":
        return replace(series, frame=frame.astype(no_actions().dtypes.to_dict()))
    return series


def _bars(table: Any) -> pd.DataFrame:
    """Bars of a Parquet table: ``to_pandas`` takes ten times as long for a few thousand rows."""
    import pyarrow

    names = [name for name in table.column_names if name != "timestamp"]
    values = np.empty((table.num_rows, len(names)))
    for column, name in enumerate(names):
        values[:, column] = table.column(name).to_numpy()
    labels = table.column("timestamp").cast(pyarrow.timestamp("ns", "UTC")).cast("int64").to_numpy()
    index = pd.DatetimeIndex(labels.view("M8[ns]"), name="timestamp").tz_localize("UTC")
    return pd.DataFrame(values, index=index, columns=names, copy=False)
