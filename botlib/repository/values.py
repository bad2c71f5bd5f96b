"""Values on their way into the database and back: times, numbers, text, JSON and compressed state. Pure."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from botlib.errors import InputError, RepositoryError


def ns(time: pd.Timestamp | datetime, name: str = "time") -> int:
    """A time as UTC nanoseconds since 1970.

    Raises
    ------
    InputError
        It is missing, has no time zone, or is no time at all.
    """
    if not isinstance(time, datetime) or time is pd.NaT:
        raise InputError(f"{name} = {time!r}: it must be a time with a time zone, e.g. pd.Timestamp.now('UTC').")
    if time.tzinfo is None:
        raise InputError(f"{name} = {time}: it has no time zone; give e.g. pd.Timestamp('{time}', tz='UTC').")
    return int((time if isinstance(time, pd.Timestamp) else pd.Timestamp(time)).value)  # ns, whatever its own unit


def ns_or_none(time: pd.Timestamp | datetime | None, name: str = "time") -> int | None:
    """As `ns`; None (or NaT) stays None."""
    return None if time is None or time is pd.NaT else ns(time, name)


def moment(value: int | None) -> Any:
    """The UTC Timestamp that `ns` was given, NaT for None."""
    return pd.NaT if value is None else pd.Timestamp(value, unit="ns", tz="UTC")


def number(value: Any, name: str) -> float:
    """A finite float64. What is missing, NaN or infinite never reaches the ledger.

    Raises
    ------
    InputError
        It is not a finite number.
    """
    if type(value) is float and math.isfinite(value):
        return value
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found) or isinstance(value, bool | str):
        raise InputError(f"{name} = {value!r}: the repository takes finite numbers only.")
    return found


def number_or_none(value: Any, name: str) -> float | None:
    """As `number`; None stays None."""
    return None if value is None else number(value, name)


def text(value: object) -> str:
    """Text that any database takes: no NUL, no half of a surrogate pair."""
    found = value if type(value) is str else str(value)
    if found.isascii() and "\0" not in found:
        return found
    return found.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _plain(value: Any) -> Any:
    """What `json` does not know by itself."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime):
        return None if value is pd.NaT else value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} {value!r}")


def _finite(value: Any) -> Any:
    """NaN as null, infinities as words: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else f"{value:+}".replace("inf", "Infinity")
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | set | frozenset):
        return _finite(_plain(value))
    return value


def canonical(value: Any, name: str = "data") -> str:
    """One text for one value: keys sorted, no spaces, ASCII. NaN becomes null, infinities "+Infinity" and "-Infinity".

    Raises
    ------
    InputError
        Something in it cannot be written as JSON.
    """
    try:
        try:
            return _strict.encode(value)
        except ValueError:
            return _strict.encode(_finite(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be recorded as JSON: {error}.") from None


_strict = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
_LEVEL = 1
_HEAD, _END = b"\x78\x01", b"\x03\x00"  # of a zlib stream, and of its last block, which is empty
_exact = json.JSONEncoder(separators=(",", ":"), default=_plain)  # NaN and infinities round trip by Python's own words


def pack(state: Mapping[str, Any], name: str = "state") -> bytes:
    """A state as compressed JSON. Floats come back bit for bit, NaN too; arrays and tuples come back as lists.

    Raises
    ------
    InputError
        Something in it cannot be written as JSON.
    """
    return zlib.compress(exact(state, name).encode("ascii"), _LEVEL)


def exact(value: Any, name: str = "state") -> str:
    """JSON from which floats come back bit for bit, NaN too.

    Raises
    ------
    InputError
        Something in it cannot be written as JSON.
    """
    try:
        return _exact.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be recorded as JSON: {error}.") from None


class Packer:
    """`pack` for a state that is packed again and again: of its text's pieces those that were packed the last time are
    not compressed anew."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def pack(self, pieces: Iterable[str], *, aside: bool = False) -> bytes:
        """What `unpack` reads: an ordinary zlib stream of the joined ``pieces``, ASCII JSON.

        ``aside``: this is another state than the one that is packed again; nothing is remembered for it.
        """
        made, packed, check = {}, [_HEAD], 1
        for piece in pieces:
            raw = piece.encode("ascii")
            check = zlib.adler32(raw, check)
            found = self._known.get(piece)
            if found is None:  # whole blocks of its own: pieces can be joined in any order
                press = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
                found = press.compress(raw) + press.flush(zlib.Z_FULL_FLUSH)
            made[piece] = found
            packed.append(found)
        if not aside:
            self._known = made
        return b"".join((*packed, _END, check.to_bytes(4, "big")))


def unpack(packed: bytes, what: str) -> dict[str, Any]:
    """The state that `pack` was given. zlib's checksum tells when a byte has changed.

    Raises
    ------
    RepositoryError
        It is damaged.
    """
    try:
        state = json.loads(zlib.decompress(packed))
    except (zlib.error, ValueError) as error:
        raise RepositoryError(f"{what} is damaged ({error}): restore the database from a backup, or move it away and "
                              "start a new one; the session then reconciles with the broker.") from None
    return state
