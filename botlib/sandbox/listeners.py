"""The websockets of the local exchange: who listens, what each is told, how connections break."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from botlib.sandbox.host import Host
from botlib.sandbox.streams import FEEDS, DataStream, Event, TradeStream

_MOST_WAITING, _SLOW_SECONDS = 1_000, 5.0  # frames, and how long none was taken: a client that does not read
_EVENTS_A_FRAME = 100  # alpaca-py takes frames of a megabyte
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Connection:
    """One websocket: its conversation and the frames that wait to be sent."""

    def __init__(self, number: int, socket_: WebSocket, stream: TradeStream | DataStream) -> None:
        self.number, self.socket, self.stream = number, socket_, stream
        self.frames: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.progress = time.monotonic()
        self.muted = self.dead = False

    def put(self, frames: Iterable[str | bytes]) -> None:
        """Send frames, in order, unless the connection is mute or gone."""
        if not self.muted and not self.dead:
            if self.frames.empty():
                self.progress = time.monotonic()
            for frame in frames:
                self.frames.put_nowait(frame)

    async def send(self) -> None:
        """Send what waits, for ever."""
        while True:
            frame = await self.frames.get()
            try:
                if isinstance(frame, bytes):
                    await self.socket.send_bytes(frame)
                else:
                    await self.socket.send_text(frame)
            except (WebSocketDisconnect, RuntimeError):  # the client went away
                self.dead = True
            finally:
                self.progress = time.monotonic()
                self.frames.task_done()

    @property
    def slow(self) -> bool:
        """Whether the client does not read what it asked for."""
        return self.frames.qsize() > _MOST_WAITING and time.monotonic() - self.progress > _SLOW_SECONDS

    async def drained(self) -> None:
        """Until all is handed to the network; at most a second."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.frames.join(), 1.0)


class Listeners:
    """All websockets of a server, in its event loop.

    Parameters
    ----------
    host : Host
    reset : function
        Breaks the TCP connection of a scope.
    symbol_limit, connection_limit, sip, auth_seconds
        As `botlib.sandbox.server.Server`.
    """

    def __init__(self, host: Host, reset: Callable[[Any], Awaitable[None]], *, symbol_limit: int | None,
                 connection_limit: int | None, sip: bool, auth_seconds: float) -> None:
        self.host, self._reset = host, reset
        self.symbol_limit, self.connection_limit, self.sip = symbol_limit, connection_limit, sip
        self.auth_seconds = auth_seconds
        self.connections: dict[int, Connection] = {}
        self._numbers = itertools.count(1)
        self._ghosts: list[float] = []  # until when the place of a broken connection stays taken
        self._breaking: set[asyncio.Task[None]] = set()
        host.wanted = self._wanted

    async def trading(self, ws: WebSocket) -> None:
        await self._converse(ws, TradeStream(self.host.keys), None)

    async def data(self, ws: WebSocket) -> None:
        feed = ws.path_params["feed"]
        if feed not in FEEDS:
            await ws.close(1008)
            return
        packed = "msgpack" in ws.headers.get("content-type", "")
        await self._converse(ws, DataStream(
            self.host.keys, feed, packed=packed, admit=lambda: self._admit(feed), symbol_limit=self.symbol_limit,
            symbols=lambda: len(self.host.exchange.bars.symbols)), self.auth_seconds)

    def _admit(self, feed: str) -> int:
        if feed == "sip" and not self.sip:
            return 409
        self._ghosts = [until for until in self._ghosts if until > time.monotonic()]
        taken = len(self._ghosts) + sum(c.stream.name == "market_data" and c.stream.authorized
                                        for c in self.connections.values())
        return 406 if self.connection_limit is not None and taken >= self.connection_limit else 0

    async def _converse(self, ws: WebSocket, stream: TradeStream | DataStream, patience: float | None) -> None:
        if urlsplit(ws.headers.get("origin", "//localhost")).hostname not in LOOPBACK:
            await ws.close(1008)  # a web page from elsewhere
            return
        await ws.accept()
        connection = Connection(next(self._numbers), ws, stream)
        self.connections[connection.number] = connection
        sender = asyncio.create_task(connection.send())
        connection.put(stream.greeting().frames)
        deadline = None if patience is None else time.monotonic() + patience
        try:
            while True:
                wait = None if deadline is None or stream.authorized else max(0.0, deadline - time.monotonic())
                try:
                    message = await asyncio.wait_for(ws.receive(), wait)
                except TimeoutError:
                    connection.put(stream.error(404).frames)
                    break
                if message["type"] == "websocket.disconnect":
                    connection.dead = True
                    break
                if connection.muted:
                    continue
                frame = message.get("bytes")
                reply = stream.receive(message.get("text") or "" if frame is None else frame)
                connection.put(reply.frames)
                if reply.close:
                    break
        finally:
            self.connections.pop(connection.number, None)
            self.host.faults.forget(connection.number)
            if not connection.dead:
                await connection.drained()
            sender.cancel()
            if not connection.dead:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                    await ws.close()

    def _wanted(self, letter: str, symbol: str) -> bool:
        event = Event("market_data", letter, symbol, {})
        return any(c.stream.wants(event) for c in self.connections.values())

    def publish(self) -> None:
        """Tell the streams what has happened since the last time."""
        events = self.host.events()
        if not events:
            return
        for connection in list(self.connections.values()):
            sent: list[Event] = []
            for event in events:
                if connection.muted or connection.dead or not connection.stream.wants(event):
                    continue
                self._meet(connection, event, sent)
            for n in range(0, len(sent), _EVENTS_A_FRAME):
                connection.put(connection.stream.encode(sent[n:n + _EVENTS_A_FRAME]))
            if connection.slow:
                self._too_slow(connection)

    def _meet(self, connection: Connection, event: Event, sent: list[Event]) -> None:
        """An event on its way to a listener, under the script of faults."""
        broken = self.host.faults.socket(event.stream, event.name, event.symbol, bar=event.bar)
        if broken is None:
            sent += self.host.faults.events(event.stream, event.name, event.symbol, event,
                                            connection=connection.number, bar=event.bar)
            return
        connection.put(connection.stream.encode(sent))
        sent.clear()
        if broken[0] == "mute":
            connection.muted = True
            return
        self.connections.pop(connection.number, None)
        if connection.stream.name == "market_data" and broken[1] > 0.0:
            self._ghosts.append(time.monotonic() + broken[1])
        self._break(connection)

    def _break(self, connection: Connection) -> None:
        """What was said before arrives; then the connection is gone."""
        async def end() -> None:
            await connection.drained()
            connection.dead = True
            await asyncio.sleep(0.01)
            await self._reset(connection.socket.scope)

        task = asyncio.create_task(end())
        self._breaking.add(task)
        task.add_done_callback(self._breaking.discard)

    async def told(self) -> None:
        """Until everything said is handed to the network."""
        await asyncio.gather(*(c.drained() for c in list(self.connections.values())))

    def _too_slow(self, connection: Connection) -> None:
        while not connection.frames.empty():
            connection.frames.get_nowait()
            connection.frames.task_done()
        connection.put(connection.stream.error(407).frames)
        self.connections.pop(connection.number, None)
        self._break(connection)


