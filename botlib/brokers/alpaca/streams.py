"""Trade updates and bars as they happen: alpaca-py's streams in a thread with a loop of their own, so that they run in
a notebook, a script or a test alike.

Two threads a stream. One runs alpaca-py's socket and does nothing but put messages into a queue. The other takes them
out, calls the handler and, when something may be missing, asks REST: after each (re)connection and whenever the socket
has been silent for ``heartbeat`` seconds. alpaca-py replays nothing after a gap, and an open socket that has gone mute
looks like a quiet market; only REST tells. What the handler does can neither stall the socket nor end the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from botlib.brokers.alpaca import records
from botlib.brokers.alpaca.broker import AlpacaBroker
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.brokers.alpaca.order_reads import moment
from botlib.brokers.alpaca.stream_base import Stream
from botlib.brokers.alpaca.stream_client import bar_client, trade_client
from botlib.brokers.alpaca.submitting import check_symbols
from botlib.brokers.event_records import BarEvent, StreamProblem, TradeEvent
from botlib.calendars import INTERVAL_MINUTES
from botlib.errors import InputError, nearest

__all__ = ["BarEvent", "BarStream", "StreamProblem", "TradeEvent", "TradeStream"]


class TradeStream(Stream[TradeEvent]):
    """Updates of all orders of the account.

    Parameters
    ----------
    broker : AlpacaBroker
        Whose account it is; also asked for fills that the stream did not bring.
    on_event : callable
        Called with each `TradeEvent`, in a thread of the stream's, one after the other. It may take its time, call the
        broker, or stop the stream. A fill comes once, whichever way; what it raises is reported and changes nothing.
    on_problem : callable, optional
        Called with each `StreamProblem`, in the same thread.
    since : Timestamp, optional
        Fills from here on are handed over at the start, too. Default: those after the start.
    heartbeat : float
        After so many seconds without a message REST is asked whether something is missing, 0.05 to 3600.
    """

    _what = "trade stream"
    _beside = " It tells of fills only: reconcile orders, which may have been canceled or have expired meanwhile."

    def __init__(self, broker: AlpacaBroker, on_event: Callable[[TradeEvent], object], *,
                 on_problem: Callable[[StreamProblem], object] | None = None, since: pd.Timestamp | None = None,
                 heartbeat: float = 30.0, now: Callable[[], pd.Timestamp] = lambda: pd.Timestamp.now("UTC"),
                 clock: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(broker, AlpacaBroker):
            raise InputError(f"broker is of type {type(broker).__name__}: give an AlpacaBroker.")
        super().__init__(broker.config, on_event, on_problem, heartbeat, now, clock)
        self._broker, self._cursor = broker, None if since is None else moment(since)
        self._primed = since is not None

    def _new_client(self) -> Any:
        return trade_client(self._config, self._inbox)

    def _read(self, content: Any) -> list[tuple[Any, TradeEvent]]:
        data = content.get("data") if isinstance(content, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("event"), str):
            raise records.unusable("a trade update", "has no event")
        found = records.order(data.get("order"))
        event, when = data["event"], records.time(data.get("timestamp")) or found.updated_at or self._now()
        fill = records.update_fill(data, found) if event in ("fill", "partial_fill") else None
        key = fill.key if fill is not None else (found.order_id, event, data.get("execution_id") or str(when))
        return [(key, TradeEvent(event=event, time=when, order=found, fill=fill))]

    def _backfill(self) -> list[tuple[Any, TradeEvent]]:
        if not self._primed:  # nothing before the start: find where that is, by the broker's clock and its fills
            self._cursor = self._broker.clock().time
            self._note(self._cursor)
            self._seen.update((one.key, None) for one in self._broker.fills(self._cursor - pd.Timedelta(minutes=1)))
            self._primed = True
            return []
        if self._config.kind == "sandbox":
            self._note(self._broker.clock().time)
        fills = self._broker.fills(self._cursor)
        if fills:  # an activity may be listed late: look back a little each time
            self._cursor = max(fills[-1].time - pd.Timedelta(minutes=5), self._cursor or fills[0].time)
        return [(one.key, TradeEvent(event="fill" if one.leaves_qty == 0.0 else "partial_fill", time=one.time, fill=one,
                                     source="backfill")) for one in fills]


class BarStream(Stream[BarEvent]):
    """Minute bars of some symbols, as they become final, and their corrections.

    A quiet symbol has no bar in a minute in which it does not trade.

    Parameters
    ----------
    connection : AlpacaConnection
        Also asked for bars that the stream did not bring.
    symbols : sequence of str
        Alpaca's free plan allows 30.
    on_event, on_problem, heartbeat
        As `TradeStream`.
    feed : str
        "iex" or "sip".
    interval : str
        "1m"; a local exchange that replays longer bars streams those: name their interval.
    since : Timestamp, optional
        Bars from here on are handed over at the start, too. Default: those after the start.
    """

    _what = "bar stream"

    def __init__(self, connection: AlpacaConnection, symbols: Sequence[str], on_event: Callable[[BarEvent], object], *,
                 feed: str = "iex", interval: str = "1m",
                 on_problem: Callable[[StreamProblem], object] | None = None,
                 since: pd.Timestamp | None = None, heartbeat: float = 90.0,
                 now: Callable[[], pd.Timestamp] = lambda: pd.Timestamp.now("UTC"),
                 clock: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(connection, AlpacaConnection):
            raise InputError(f"connection is of type {type(connection).__name__}: give an AlpacaConnection, e.g. "
                             "broker.connection.")
        super().__init__(connection.config, on_event, on_problem, heartbeat, now, clock)
        if feed not in ("iex", "sip"):
            raise InputError(f"feed = {feed!r} is unknown. Valid: iex, sip.")
        minutes = INTERVAL_MINUTES.get(interval)
        if minutes is None:
            valid = [name for name, length in INTERVAL_MINUTES.items() if length]
            raise InputError(f"interval = {interval!r} is not streamed{nearest(interval, valid) or '.'} "
                             f"Valid: {', '.join(valid)}.")
        self._connection, self._symbols, self._feed, self._minutes = connection, check_symbols(symbols), feed, minutes
        self._timeframe = f"{minutes}Min" if minutes < 60 else f"{minutes // 60}Hour"
        self._since = self._cursor = None if since is None else moment(since)

    def _new_client(self) -> Any:
        return bar_client(self._config, self._inbox, self._symbols, self._feed)

    def _read(self, content: Any) -> list[tuple[Any, BarEvent]]:
        corrected = isinstance(content, dict) and content.get("T") == "u"
        return [self._event(content, str(content.get("S")), "stream", corrected)] if isinstance(content, dict) else []

    def _event(self, body: dict[str, Any], symbol: str, source: Any, corrected: bool = False) -> tuple[Any, BarEvent]:
        stamp = body.get("t")
        nanoseconds = getattr(stamp, "to_unix_nano", None)  # of msgpack's timestamps
        when = records.time(stamp) if nanoseconds is None else pd.Timestamp(nanoseconds(), tz="UTC")
        if when is None:
            raise records.unusable(f"a bar of {symbol}", "has no time")
        values = {name: records.need(body, name[0], f"a bar of {symbol}")
                  for name in ("open", "high", "low", "close", "volume")}
        event = BarEvent(symbol=symbol, time=when, source=source, corrected=corrected, **values)
        if self._cursor is None or when > self._cursor:
            self._cursor = when
        return (symbol, when, tuple(values.values())) if corrected else (symbol, when), event

    def _backfill(self) -> list[tuple[Any, BarEvent]]:
        length, begun = pd.Timedelta(minutes=self._minutes), self._cursor is not None and self._since is not None
        if not begun or self._config.kind == "sandbox":
            self._note(records.clock(self._connection.read("/clock")).time)
        if not begun or self._since is None or self._cursor is None:  # bars that end after the start, by its clock
            assert self._told is not None
            self._since = self._told - length + pd.Timedelta(1, "us")
            self._cursor = self._since
        start = max(self._cursor - pd.Timedelta(minutes=5), self._since)  # some symbols may lag behind
        query = {"symbols": ",".join(self._symbols), "timeframe": self._timeframe, "limit": 10_000, "sort": "asc",
                 "feed": self._feed, "adjustment": "raw", "start": start.isoformat()}
        final, found = self._now() - length, []
        for page in self._connection.pages("/stocks/bars", query, api="data"):
            for symbol, bars in (page.get("bars") or {}).items():
                found += [self._event(bar, symbol, "backfill") for bar in records.listed(bars, "bars")]
        return sorted(((key, event) for key, event in found if event.time <= final), key=lambda one: one[1].time)
