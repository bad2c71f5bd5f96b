"""alpaca-py's streams, as `streams` needs them: they tell what becomes of their connection, end on wrong keys, keep the
keys to themselves and let go within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import re
import warnings
from collections.abc import Callable
from typing import Any

from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.secrecy import Masked, bare

Inbox = queue.Queue[tuple[str, Any]]
PING = {"ping_interval": 10, "ping_timeout": 10, "close_timeout": 1, "max_queue": 1024}
_TRY_AGAIN = re.compile("limit|timeout")  # too many connections: an old one is still being cleared away
_STILL_TRYING = (3, 10, 30, 100, 300, 1000)


def trade_client(config: AlpacaConfig, inbox: Inbox) -> Any:
    """alpaca-py's `TradingStream`, whose updates go into ``inbox``."""
    with _no_warnings():
        from alpaca.trading.stream import TradingStream

    made = _watched(TradingStream, inbox)(
        *_masked(config), paper=config.kind != "live", raw_data=True, url_override=config.trade_stream_url,
        websocket_params={**PING, "logger": _quiet_logger()})
    made.subscribe_trade_updates(_putting(inbox))
    return made


def bar_client(config: AlpacaConfig, inbox: Inbox, symbols: tuple[str, ...], feed: str) -> Any:
    """alpaca-py's `StockDataStream`, whose bars and corrections of bars go into ``inbox``."""
    with _no_warnings():
        from alpaca.data.enums import DataFeed
        from alpaca.data.live.stock import StockDataStream

    made = _watched(StockDataStream, inbox)(
        *_masked(config), raw_data=True, feed=DataFeed(feed), url_override=f"{config.data_stream_url}/{feed}",
        websocket_params={**PING, "logger": _quiet_logger()})
    made.subscribe_bars(_putting(inbox), *symbols)
    made.subscribe_updated_bars(_putting(inbox), *symbols)
    return made


def _masked(config: AlpacaConfig) -> tuple[str, str]:
    return Masked(config.key_id.reveal()), Masked(config.secret_key.reveal())


def _no_warnings() -> Any:
    """alpaca-py's use of websockets.legacy is not the caller's to mend."""
    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)


def _quiet_logger() -> logging.Logger:
    """For websockets, which writes whole messages (the one with the keys, too) at the level DEBUG."""
    logger = logging.getLogger("botlib.brokers.alpaca.socket")
    logger.setLevel(logging.INFO)
    for name in ("alpaca", logger.name):  # what they say reaches the caller as a StreamProblem
        named = logging.getLogger(name)
        if not named.handlers:
            named.addHandler(logging.NullHandler())
    return logger


def _putting(inbox: Inbox) -> Callable[[Any], Any]:
    async def put(message: Any) -> None:
        inbox.put(("message", message))

    return put


def _watched(base: Any, inbox: Inbox) -> Any:
    """A stream class that puts ("connected" | "closed" | "trying" | "refused" | "keys", …) into ``inbox``."""

    class Watched(base):  # type: ignore[misc]
        async def _auth(self) -> None:
            try:
                await super()._auth()
                return
            except Exception as error:
                failure = error
            if type(failure) is ValueError and not _TRY_AGAIN.search(str(failure)):
                self._should_run = False  # alpaca-py would try wrong keys for ever
                self._reconnect_min_backoff = self._reconnect_max_backoff = 0.01
                inbox.put(("keys", str(failure)))
            raise bare(failure)  # alpaca-py logs it, and the frames below hold the message with the keys

        async def _dispatch(self, msg: dict[str, Any]) -> None:
            if msg.get("stream") == "listening" or msg.get("T") == "subscription":
                inbox.put(("connected", None))  # from now on nothing is missed
            elif msg.get("T") == "error":
                inbox.put(("refused", f"{msg.get('msg')} ({msg.get('code')})"))
            await super()._dispatch(msg)

        async def close(self) -> None:
            inbox.put(("closed", None))
            await super().close()

        async def _wait_before_reconnect(self, retries: int) -> None:
            if retries in _STILL_TRYING:
                inbox.put(("trying", retries))
            await super()._wait_before_reconnect(retries)

    return Watched


def abort(client: Any) -> None:
    """Cut the socket at once."""
    transport = getattr(getattr(client, "_ws", None), "transport", None)
    if transport is not None:
        transport.abort()


def wind_up(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    """End what is left in a loop, within about a second, whatever the other side does."""
    async def close() -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), 1.0)
        abort(client)

    try:
        if client is not None:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                loop.run_until_complete(close())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
