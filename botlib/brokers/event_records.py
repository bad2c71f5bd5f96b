"""What a broker's streams hand over, and what they tell of themselves. Frozen; times are tz-aware (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from botlib.brokers.order_records import Fill, OpenOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeEvent:
    """Something happened to an order.

    ``event`` is the broker's name ("new", "fill", "partial_fill", "canceled", …). With ``source`` "backfill" the stream
    had missed it: ``fill`` is then from the account's activities, and ``order`` is None.
    """

    event: str
    time: pd.Timestamp
    order: OpenOrder | None = None
    fill: Fill | None = None
    source: Literal["stream", "backfill"] = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarEvent:
    """A minute's bar of one symbol; ``time`` is its start. ``corrected``: it replaces one that came before."""

    symbol: str
    time: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float
    source: Literal["stream", "backfill"] = "stream"
    corrected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProblem:
    """What went wrong, for the log and for whoever decides whether to go on.

    ``kind``: "gap" (the socket was away, REST was asked; orders other than fills may have changed unseen: reconcile),
    "mute" (open, but it did not bring what REST has; reconnected), "handler" (the handler raised), "backfill" (REST
    could not be asked; tried again), "message" (one that cannot be read), "connect" (no connection yet, or a
    subscription refused; it goes on trying), "keys" (refused; the stream has ended).
    ``time`` is this machine's; with a local exchange the last that the exchange has told, as that of its events.
    """

    kind: Literal["gap", "mute", "handler", "backfill", "message", "connect", "keys"]
    message: str
    time: pd.Timestamp
    missed: int = 0
    """How many events REST had that the stream had not brought."""
