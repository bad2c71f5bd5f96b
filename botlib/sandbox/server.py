"""The local Alpaca on a loopback port: Starlette and uvicorn around a `Host`, with both websockets.

One event loop in one thread does everything, so the exchange needs no locks. What happens in the market is told to the
streams at once; what an accepted order becomes a moment later ("new", "canceled") happens a few milliseconds after the
answer, or at the next request if that comes first: the order of events never depends on how fast anybody is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute

from botlib.sandbox.clock import Pace
from botlib.sandbox.faults import Outcome
from botlib.sandbox.host import Host
from botlib.sandbox.listeners import LOOPBACK, Listeners
from botlib.sandbox.messages import Request, answer
from botlib.sandbox.streams import AUTH_SECONDS

_SETTLE_SECONDS = 0.003
_BARS_A_BREATH = 20  # of many steps in one call, so that connections stay alive
_MOST_BODY = 1_000_000
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Server:
    """A host on a socket.

    Parameters
    ----------
    host : Host
    listener : socket
        Bound to a loopback address; `serve` closes it.
    pace : Pace, optional
        What moves the market; without one, control calls do.
    held : bool
        Whether the pace waits for `go`.
    symbol_limit, connection_limit : int or None
        Of the market data stream.
    sip : bool
        Whether the subscription includes the feed sip; else it is refused (409).
    auth_seconds : float
        How long the market data stream waits for the keys.
    """

    def __init__(self, host: Host, listener: socket.socket, *, pace: Pace | None = None, held: bool = False,
                 symbol_limit: int | None = None, connection_limit: int | None = 1, sip: bool = True,
                 auth_seconds: float = AUTH_SECONDS) -> None:
        self.host, self.listener, self.pace = host, listener, pace
        self.ready = threading.Event()
        self._held = held
        self._driver: asyncio.Task[None] | None = None
        self._began = float("nan")
        self._settling = False
        self.listeners = Listeners(host, self._reset, symbol_limit=symbol_limit, connection_limit=connection_limit,
                                   sip=sip, auth_seconds=auth_seconds)
        app = Starlette(routes=[WebSocketRoute("/stream", self.listeners.trading),
                                WebSocketRoute("/v2/{feed}", self.listeners.data), Mount("/", app=self._http)])
        config = uvicorn.Config(app, http="h11", ws="websockets-sansio", loop="asyncio", lifespan="off",
                                log_config=None, log_level="critical", access_log=False, server_header=False,
                                proxy_headers=False, timeout_keep_alive=3600, timeout_graceful_shutdown=1,
                                ws_per_message_deflate=False)
        self._uvicorn = uvicorn.Server(config)

    # --- running ------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Answer until `stop`."""
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        if not self._held:
            self._run_clock()
        self.ready.set()
        try:
            await self._uvicorn.serve(sockets=[self.listener])
        finally:
            if self._driver is not None:
                self._driver.cancel()

    def _run_clock(self) -> None:
        if self.pace is not None and self._driver is None:
            self._began = time.monotonic() - self.pace.wall(self.host.exchange.now)
            self._driver = asyncio.create_task(self._drive(self.pace))

    def go(self) -> None:
        """Let the pace run that was held; from any thread, once or often."""
        if self._held:
            self._held = False
            self.loop.call_soon_threadsafe(self._run_clock)

    def stop(self) -> None:
        """End `serve` in good order; from any thread."""
        def end() -> None:
            self.stopping.set()
            self._uvicorn.should_exit = True

        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self.loop.call_soon_threadsafe(end)

    async def step(self, n: int) -> int:
        """The next ``n`` bars happen; returns how many there were when the streams have been told."""
        done = 0
        while done < n and self.host.step(1):
            done += 1
            self.listeners.publish()
            if done % _BARS_A_BREATH == 0:
                await self.listeners.told()
        await self.listeners.told()
        return done

    async def _drive(self, pace: Pace) -> None:
        while (due := self.host.next_due) is not None:
            await asyncio.sleep(max(0.0, pace.wall(due) - (time.monotonic() - self._began)))
            self._catch_up()
            self.listeners.publish()

    def _catch_up(self) -> None:
        if self.pace is not None and self._driver is not None:
            self.host.catch_up(self.pace.virtual(time.monotonic() - self._began))

    def happened(self) -> None:
        """Something was done to the account: tell it, and a moment later what becomes of it."""
        def settle() -> None:
            self._settling = False
            self.host.settle()
            self.listeners.publish()

        self.listeners.publish()
        if not self._settling:
            self._settling = True
            self.loop.call_later(_SETTLE_SECONDS, settle)

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # no stream is there
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body", False) or len(body) > _MOST_BODY:
                break
        if urlsplit(f"//{headers.get('host', '')}").hostname not in LOOPBACK:
            # a web page that gave its own name this machine's address
            outcome = Outcome(answer({"message": "the local exchange answers to 127.0.0.1 and localhost only"}, 403))
        elif len(body) > _MOST_BODY:
            outcome = Outcome(answer({"message": "request body too large"}, 413))
        else:
            self._catch_up()
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            outcome = self.host.handle(Request(scope["method"], scope["path"], query, headers, bytes(body)))
            self.happened()
        await self._render(outcome, scope, receive, send)

    async def _render(self, outcome: Outcome, scope: Scope, receive: Receive, send: Send) -> None:
        if outcome.delay > 0.0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), outcome.delay)
        response = outcome.response
        if outcome.later is not None:
            self._catch_up()
            response = outcome.later()
            self.happened()
        if response is None or outcome.ending in ("hang", "reset"):
            if outcome.ending == "hang":
                await self._gone(receive)
            await self._reset(scope, receive)
            return
        if scope["path"] == "/sandbox/step":
            await self.listeners.told()
        headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.items()]
        if response.status != 204:
            headers.append((b"content-length", str(len(response.body)).encode()))
        if self.host.synthetic:
            headers.append((b"x-sandbox-data", b"synthetic"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if outcome.ending == "cut":
            await send({"type": "http.response.body", "body": response.body[:outcome.sent], "more_body": True})
            await asyncio.sleep(0.01)  # what was sent arrives before the reset
            await self._reset(scope, receive)
            return
        await send({"type": "http.response.body", "body": b"" if response.status == 204 else response.body})

    async def _gone(self, receive: Receive) -> None:
        """Until the client hangs up, or the server ends."""
        waits = {asyncio.ensure_future(receive()), asyncio.ensure_future(self.stopping.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _reset(self, scope: Scope, receive: Receive | None = None) -> None:
        """Break the TCP connection with an RST."""
        protocols: list[Any] = list(self._uvicorn.server_state.connections)
        for protocol in protocols:
            transport = protocol.transport
            if protocol.client == scope["client"] and not transport.is_closing():
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                transport.abort()
        while receive is not None and (await receive())["type"] != "http.disconnect":
            pass
