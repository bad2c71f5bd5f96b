"""Small markets for the local exchange, and the real client's streams in threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest
from alpaca.trading.stream import TradingStream

from botlib.bars import Bars
from botlib.calendars import schedule

PATIENCE = 10.0
MINUTES = {"1m": 1, "5m": 5, "1h": 60}


def _panels(t: np.ndarray, symbols: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Open 100 + t / 100 (the second symbol 200 + …), low 5 cents below, close 5 above, high 10 above."""
    base = np.array([100.0 * (n + 1) for n in range(len(symbols))])
    opens = np.round(base + t[:, None] / 100.0, 2)
    return {"open": opens, "low": np.round(opens - 0.05, 2), "close": np.round(opens + 0.05, 2),
            "high": np.round(opens + 0.10, 2), "volume": np.repeat(1000.0 + t[:, None], len(symbols), axis=1)}


def daily(days: int = 12, symbols: tuple[str, ...] = ("AAPL", "IBM"), **panels: np.ndarray) -> Bars:
    """Daily bars from Monday 2024-03-04 on."""
    timetable = schedule("XNYS")
    first = int(np.searchsorted(timetable.days, int(np.datetime64("2024-03-04", "D").astype(int))))
    dates = timetable.days[first:first + days].astype("datetime64[D]")
    index = pd.DatetimeIndex(dates.astype("datetime64[ns]")).tz_localize("America/New_York")
    return Bars(index, symbols, **(_panels(np.arange(days), symbols) | panels), interval="1d", calendar="XNYS")


def intraday(bars: int = 160, interval: str = "5m", symbols: tuple[str, ...] = ("AAPL", "IBM")) -> Bars:
    """Intraday bars from Monday 2024-03-04 9:30 on: 78 of 5 minutes a session."""
    timetable, step = schedule("XNYS"), MINUTES[interval] * 60_000_000_000
    first = int(np.searchsorted(timetable.days, int(np.datetime64("2024-03-04", "D").astype(int))))
    times = np.concatenate([np.arange(timetable.opens[n], timetable.closes[n], step)
                            for n in range(first, first + 1 + bars * MINUTES[interval] // 390 + 1)])[:bars]
    index = pd.DatetimeIndex(times, tz="UTC").as_unit("ns").tz_convert("America/New_York")
    return Bars(index, symbols, **_panels(np.arange(bars), symbols), interval=interval, calendar="XNYS")


def trading(venue: Any, *, timeout: float | None = None, retries: int = 0, **options: Any) -> TradingClient:
    """A client of the venue; ``timeout`` of every call, retries of the SDK's own without their waits."""
    client = TradingClient(*venue.keys, url_override=venue.url, **options)
    return prepared(client, timeout, retries)


def data(venue: Any, **options: Any) -> StockHistoricalDataClient:
    """A market data client of the venue."""
    return prepared(StockHistoricalDataClient(*venue.keys, url_override=venue.url, **options), None, 0)


def prepared(client: Any, timeout: float | None, retries: int) -> Any:
    client._session.trust_env = False
    client._retry, client._retry_wait = retries, 0
    if timeout is not None:
        send = client._session.request
        client._session.request = lambda method, url, **opts: send(method, url, timeout=timeout, **opts)
    return client


def market(symbol: str = "AAPL", qty: float = 10, side: str = "buy", **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force="day", **more)


def limit(price: float, symbol: str = "AAPL", qty: float = 10, side: str = "buy", tif: str = "gtc",
          **more: Any) -> LimitOrderRequest:
    return LimitOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=tif, limit_price=price, **more)


def until(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until ``what()`` is true and return it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
    return value


logging.getLogger("alpaca").setLevel(logging.CRITICAL)  # it logs every reconnect with a traceback
LISTENING: list[_Listening] = []


class _Listening:
    """A stream of the real client in a thread; ``got`` is what its handlers were given."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.got = stream, []
        LISTENING.append(self)
        stream._reconnect_min_backoff = stream._reconnect_max_backoff = 0.01
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.stream.run()
        except Exception:  # `stop` of a stream that has ended
            pass

    async def hear(self, message: Any) -> None:
        self.got.append(message)

    def end(self) -> None:
        """Stop without the five seconds that the client takes: the venue goes first."""
        self.stream._should_run = False
        if self.stream._loop is not None and self.stream._loop.is_running() and self.stream._stop_stream_event:
            self.stream._loop.call_soon_threadsafe(self.stream._stop_stream_event.set)
        self.venue.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        LISTENING.remove(self)


class Updates(_Listening):
    """trade_updates of a venue."""

    def __init__(self, venue: Any) -> None:
        super().__init__(TradingStream(*venue.keys, url_override=venue.trading_stream_url))
        self.venue = venue
        self.stream.subscribe_trade_updates(self.hear)
        others = self.listeners()
        self.thread.start()
        self.listening(others + 1)

    def listeners(self) -> int:
        connections = list(self.venue._server.listeners.connections.values())
        return sum(getattr(c.stream, "listening", False) for c in connections)

    def listening(self, count: int = 1) -> None:
        """Wait until the venue has so many listeners."""
        until(lambda: self.listeners() >= count)

    @property
    def events(self) -> list[str]:
        return [str(getattr(u.event, "value", u.event)) for u in self.got]


class Prices(_Listening):
    """Market data of a venue: ``Prices(venue, bars=["AAPL"], trades=["AAPL"])``."""

    def __init__(self, venue: Any, **channels: list[str]) -> None:
        super().__init__(StockDataStream(*venue.keys, url_override=venue.data_stream_url))
        self.venue, self.channels = venue, channels
        subscribe = {"bars": "subscribe_bars", "dailyBars": "subscribe_daily_bars", "quotes": "subscribe_quotes",
                     "trades": "subscribe_trades", "updatedBars": "subscribe_updated_bars",
                     "statuses": "subscribe_trading_statuses"}
        for name, symbols in channels.items():
            getattr(self.stream, subscribe[name])(self.hear, *symbols)
        self.thread.start()
        self.listening()

    def listening(self) -> None:
        """Wait until the venue has the subscription."""
        until(lambda: any(c.stream.name == "market_data" and any(c.stream.channels.values())
                          for c in list(self.venue._server.listeners.connections.values())))
