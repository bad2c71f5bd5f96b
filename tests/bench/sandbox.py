"""What the local exchange, the broker and the cache cost.

    python tests/bench/sandbox.py [process http calls broker cache]

Absolute times depend on the machine; ratios are of medians in one interleaved run.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import botlib
from botlib import OrderRequest
from botlib.adjust import no_actions
from botlib.brokers import AlpacaBroker, AlpacaConfig
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.calendars import schedule
from botlib.providers.alpaca import AlpacaProvider
from botlib.providers.cache import CachedProvider
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.transport import SandboxAdapter

SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
STEPS = 250


def market() -> botlib.Bars:
    source = botlib.providers.load("sample")
    frame = source.download_bars(symbols=SYMBOLS, period="2y", interval="1d")
    return botlib.Bars.from_frame(frame, actions=source.actions(SYMBOLS))


@contextlib.contextmanager
def over_http() -> Iterator[tuple[AlpacaConnection, Callable[[], object]]]:
    with botlib.sandbox.running(market(), first=200) as venue:
        connection = AlpacaConnection(AlpacaConfig.from_env(environ=venue.environ, env_file=None))
        yield connection, lambda: venue.step(1)
        connection.close()


@contextlib.contextmanager
def in_process() -> Iterator[tuple[AlpacaConnection, Callable[[], object]]]:
    exchange = Exchange(market(), first=200)
    config = AlpacaConfig.from_env(env_file=None, environ={
        "APCA_API_KEY_ID": "local", "APCA_API_SECRET_KEY": "local-secret", "APCA_API_BASE_URL": "http://127.0.0.1:9"})
    connection = AlpacaConnection(config, adapter=SandboxAdapter(Api(exchange)))
    yield connection, exchange.advance
    connection.close()


Way = Callable[[], contextlib.AbstractContextManager[tuple[AlpacaConnection, Callable[[], object]]]]


def session(way: Way) -> float:
    """A day's work, 250 times: a step, account, positions and orders, a bar request, an order in and one out."""
    days = market().index
    with way() as (connection, step):
        broker = AlpacaBroker(connection=connection)
        broker.prepare(SYMBOLS)
        began = time.perf_counter()
        for day in range(STEPS):
            step()
            held = broker.portfolio()
            connection.read("/stocks/bars", {"symbols": ",".join(SYMBOLS), "timeframe": "1Day", "limit": 10_000,
                                             "start": str(days[180 + day].date())}, api="data")
            name = SYMBOLS[day % 5]
            position = held.position(name)
            if position is not None:
                broker.close_position(name)
            else:
                broker.submit_order(OrderRequest(symbol=name, side="buy", qty=5))
        took = time.perf_counter() - began
        assert len(broker.fills()) > 200  # FB is listed on the way
        return took


def show(name: str, value: str) -> None:
    print(f"{name:<58}{value}", flush=True)


def calls() -> None:
    """The time of one REST call over loopback."""
    import http.client

    with botlib.sandbox.running(market(), first=200) as venue:
        client = http.client.HTTPConnection("127.0.0.1", venue.port)
        headers = {"APCA-API-KEY-ID": venue.keys[0], "APCA-API-SECRET-KEY": venue.keys[1]}
        times = []
        for n in range(2_000):
            path = ("/v2/account", "/v2/positions", "/v2/orders?status=all&limit=50", "/v2/clock")[n % 4]
            began = time.perf_counter()
            client.request("GET", path, headers=headers)
            client.getresponse().read()
            times.append((time.perf_counter() - began) * 1e3)
        show("REST call over loopback, median and p99",
             f"{statistics.median(times):.2f} ms, {np.percentile(times, 99):.2f} ms (p99 <= 10)")


def broker() -> None:
    """Ours against the bare client, interleaved."""
    from alpaca.trading.client import TradingClient

    with botlib.sandbox.running(market(), first=200) as venue:
        ours = AlpacaBroker(AlpacaConfig.from_env(environ=venue.environ, env_file=None))
        bare = TradingClient(*venue.keys, url_override=venue.url)
        pairs = {"account": (ours.get_account_info, bare.get_account),
                 "positions": (ours.get_positions, bare.get_all_positions), "clock": (ours.clock, bare.get_clock)}
        for name, (one, other) in pairs.items():
            times: dict[int, list[float]] = {0: [], 1: []}
            for _ in range(200):
                for which, call in enumerate((one, other)):
                    began = time.perf_counter()
                    call()
                    times[which].append(time.perf_counter() - began)
            ratio = statistics.median(times[0]) / statistics.median(times[1])
            show(f"broker.{name} / alpaca-py", f"{ratio:.2f} (<= 1.10)")


def cache() -> None:
    """500 symbols by 2,500 sessions from the Parquet cache."""
    days = schedule("XNYS").days
    days = days[(days >= 14_000)][:2_500]
    index = pd.DatetimeIndex(days.astype("M8[D]").astype("M8[ns]")).tz_localize("America/New_York")
    rng = np.random.default_rng(0)
    names = [f"S{n:03d}" for n in range(500)]
    close = np.round(50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (2_500, 500)), axis=0)), 2) + 1.0
    panels = {"open": close, "high": close + 0.5, "low": close - 0.5, "close": close,
              "volume": np.full(close.shape, 1e6)}
    bars = botlib.Bars(index, names, **panels, interval="1d", calendar="XNYS", actions=no_actions())
    exchange = Exchange(bars, first=2_499)
    config = AlpacaConfig.from_env(env_file=None, environ={
        "APCA_API_KEY_ID": "local", "APCA_API_SECRET_KEY": "local-secret", "APCA_API_BASE_URL": "http://127.0.0.1:9"})
    provider = AlpacaProvider(connection=AlpacaConnection(config, adapter=SandboxAdapter(Api(exchange)), timeout=300.0))
    with tempfile.TemporaryDirectory() as folder:
        now = pd.Timestamp(exchange.now, tz="UTC")
        kept = CachedProvider(provider, Path(folder), now=lambda: now)
        began = time.perf_counter()
        kept.download_bars(symbols=names, period="max", interval="1d")
        show("500 x 2,500 bars through the provider into the cache", f"{time.perf_counter() - began:.1f} s")
        before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
        for _ in range(5):
            began = time.perf_counter()
            frame = kept.download_bars(symbols=names, period="max", interval="1d")
            times.append(time.perf_counter() - began)
        size = frame.memory_usage(deep=True).sum() / 2**20
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        show("the same from the cache", f"{min(times):.2f} s (<= 0.5); frame {size:.0f} MB, peak +{more:.0f} MB")


def main(which: list[str]) -> None:
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    if "process" in which:
        show("250 daily steps x 5 symbols, in process", f"{session(in_process):.1f} s (<= 3)")
    if "http" in which:
        show("250 daily steps x 5 symbols, over HTTP", f"{session(over_http):.1f} s (<= 15)")
    if "calls" in which:
        calls()
    if "broker" in which:
        broker()
    if "cache" in which:
        cache()


if __name__ == "__main__":
    main(sys.argv[1:] or ["process", "http", "calls", "broker", "cache"])
