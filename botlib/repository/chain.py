"""The chain of events, and the seals of what is written once: how a changed, lost or added row is found. Pure.

An event's hash is SHA-256 over the hash before it and its own row, so that no event can be changed, left out or put in
without all later hashes changing; the ledger's own row says how long the chain is and how it ends. A seal is a checksum
of one row: it finds bytes that a disk has changed, not a person who writes a new seal.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

FILL_SEAL = ("ledger_id", "order_id", "cum_qty", "symbol", "side", "qty", "price", "time", "purpose", "uid",
             "client_order_id", "bar_time", "session_id", "activity_id")
TRIP_SEAL = ("ledger_id", "symbol", "side", "qty", "entry_time", "entry_price", "exit_time", "exit_price", "pnl",
             "costs", "slippage", "exit_reason", "entry_uid", "exit_uid", "session_id")
"""The columns under a row's seal, in this order."""
EVENT_COLUMNS = ("seq", "session_id", "time", "kind", "level", "data", "previous", "hash")
"""The columns that `check_events` reads."""

_plain = json.JSONEncoder(separators=(",", ":"))
_NUMBERS = frozenset({"cum_qty", "qty", "price", "entry_price", "exit_price", "pnl", "costs", "slippage"})


@dataclass(frozen=True)
class Verification:
    """What `Repository.verify` found. ``first_bad`` is the number of the first event that is not as it was written."""

    ok: bool
    events: int
    """Events that were checked."""
    first_bad: int | None = None
    problem: str = ""
    """What is wrong, for a person; "" when nothing is."""
    rows: int = 0
    """Fills and round trips whose seals were checked."""


def genesis(venue: str, account_id: str, epoch: str) -> str:
    """What stands before the first event: the ledger's identity, so that a chain belongs to one ledger."""
    return hashlib.sha256(json.dumps(["botlib ledger", venue, account_id, epoch]).encode()).hexdigest()


def event_hash(previous: str, seq: int, session_id: str | None, time: int, kind: str, level: str, data: str) -> str:
    """The hash of one event; ``time`` in nanoseconds, ``data`` as its canonical text."""
    row = _plain.encode([previous, seq, session_id, time, kind, level, data])
    return hashlib.sha256(row.encode("ascii")).hexdigest()


def seal(values: Sequence[Any]) -> int:
    """The checksum of a row's values; numbers as the database gives them back."""
    return zlib.crc32(repr(tuple(values)).encode("utf-8", "backslashreplace"))


def sealed(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """``row`` with its seal; whole numbers in columns of shares and money become floats, as they are read back."""
    for name in columns:
        if name in _NUMBERS:
            row[name] = float(row[name]) + 0.0  # SQLite keeps no minus zero
    row["seal"] = seal([row[name] for name in columns])
    return row


def check_events(rows: Iterable[Sequence[Any]], previous: str | None, first: int) -> tuple[int, str, Verification]:
    """Follow a chain.

    Parameters
    ----------
    rows : the EVENT_COLUMNS of events, in order of seq
    previous : the hash before the first row; None: believe the first row
    first : the number that the first row must have

    Returns
    -------
    (number after the last row, hash of the last row, what was found)
    """
    count = 0
    for seq, session_id, time, kind, level, data, before, found in rows:
        if seq != first:
            return first, previous or "", Verification(False, count, first, f"event {first} is missing")
        if previous is not None and before != previous:
            why = f"event {seq} does not follow the one before it"
            return first, previous, Verification(False, count, seq, why)
        if event_hash(before, seq, session_id, time, kind, level, data) != found:
            return first, before, Verification(False, count, seq, f"event {seq} ({kind}) is not as it was written")
        previous, first, count = found, first + 1, count + 1
    return first, previous or "", Verification(True, count)
