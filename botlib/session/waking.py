"""The broker's streams as a way to wake up: a fill or a complete bar ends a wait early. They decide nothing; what they
say is read from the broker again, and polling goes on without them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from botlib.calendars import EXCHANGE_TZ, INTERVAL_MINUTES
from botlib.errors import BotlibError

_NEWS = frozenset({"fill", "partial_fill", "canceled", "expired", "rejected", "replaced", "done_for_day", "suspended"})
_REMEMBERED = 10
MOST_SYMBOLS = 30
"""More than Alpaca's free plan streams are polled only."""


class Waker:
    """Listens to an account's trade updates and, where bars are streamed, to their ends.

    Parameters
    ----------
    broker : Broker
    symbols : sequence of str
    interval : str
        Of the session's bars.
    feed : str
        Of its bars; "delayed_sip" is not streamed.
    """

    def __init__(self, broker: Any, symbols: Sequence[str], interval: str, *, feed: str = "iex") -> None:
        self._broker, self._symbols, self._interval, self._feed = broker, tuple(symbols), interval, feed
        self._news = threading.Event()
        self._ends: dict[pd.Timestamp, set[str]] = {}
        self._streams: list[Any] = []
        self.complete: pd.Timestamp | None = None
        """Up to this moment all symbols' bars have ended and are there."""

    def start(self) -> None:
        """Connect in the background; a stream that cannot be had is done without."""
        if self._streams:
            return
        with suppress(BotlibError):
            self._add(self._broker.trade_stream(self._traded, on_problem=self._ignore))
        minutes, local = INTERVAL_MINUTES[self._interval], self._broker.config.kind == "sandbox"
        if minutes is None or len(self._symbols) > MOST_SYMBOLS or self._feed not in ("iex", "sip"):
            return
        streamed = self._interval if local else "1m"
        self._length = pd.Timedelta(minutes=INTERVAL_MINUTES[streamed] or 1)
        with suppress(BotlibError):
            self._add(self._broker.bar_stream(self._symbols, self._barred, interval=streamed,
                                              on_problem=self._ignore, feed=self._feed))

    def _add(self, stream: Any) -> None:
        self._streams.append(stream)
        stream.start(timeout=0.0)

    def stop(self) -> None:
        """End the streams."""
        for stream in self._streams:
            stream.stop(timeout=2.0)
        self._streams = []

    @property
    def connected(self) -> int:
        """How many streams are open."""
        return sum(bool(stream.connected) for stream in self._streams)

    def heard(self) -> bool:
        """Whether there are news since `listen` was called last."""
        return self._news.is_set()

    def listen(self) -> None:
        """From here on: news are what comes now."""
        self._news.clear()

    def _traded(self, event: Any) -> None:
        if event.event in _NEWS:
            self._news.set()

    def _barred(self, event: Any) -> None:
        """All symbols' bars of a moment: the bar that ends there is complete."""
        end = event.time + self._length
        heard = self._ends.setdefault(end, set())
        for old in sorted(self._ends)[:-_REMEMBERED]:
            del self._ends[old]
        heard.add(event.symbol)
        minutes = INTERVAL_MINUTES[self._interval] or 1
        whole = end.tz_convert(EXCHANGE_TZ)
        if len(heard) < len(self._symbols):
            return
        for old in [one for one in self._ends if one <= end]:
            del self._ends[old]
        if (whole.hour * 60 + whole.minute - 570) % minutes == 0:  # bars are anchored at 9:30
            self.complete = end
            self._news.set()

    @staticmethod
    def _ignore(problem: Any) -> None:
        """Polling goes on; a stream's troubles are no reason to stop."""
