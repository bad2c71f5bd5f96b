"""A small HTTP server on this machine that answers as a test tells it to: real sockets, no mocks."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


@dataclass
class Loopback:
    """``answer(seen, reply)`` is called for each request; without one it gets 404 and a JSON body.

    Use as a context manager: ``with Loopback(answer) as server: server.url``.
    """

    answer: Callable[[Seen, Reply], None] | None = None
    seen: list[Seen] = field(default_factory=list, repr=False)

    def __enter__(self) -> Loopback:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length) if length else b""
                parts = urlsplit(self.path)
                seen = Seen(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers),
                            json.loads(raw) if raw else None)
                outer.seen.append(seen)
                reply = Reply(self)
                if outer.answer is None:
                    reply.json(404, {"code": 40410000, "message": "nothing here"})
                else:
                    outer.answer(seen, reply)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # a client that went away is what some tests want
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, method: str) -> list[Seen]:
        """The requests of one method."""
        return [one for one in self.seen if one.method == method]


class Reply:
    """How one request is answered, well or badly."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def raw(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self._handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def json(self, status: int, body: Any) -> None:
        self.raw(status, json.dumps(body).encode())

    def html(self, status: int) -> None:
        self.raw(status, b"<html><head><title>502 Bad Gateway</title></head></html>", "text/html")

    def empty(self, status: int = 204) -> None:
        self.raw(status, b"")

    def cut(self, status: int, body: bytes) -> None:
        """Promise more than is sent, then go."""
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", "application/json")
        self._handler.send_header("Content-Length", str(len(body) + 100))
        self._handler.end_headers()
        self._handler.wfile.write(body)
        self._handler.wfile.flush()
        self._handler.close_connection = True

    def reset(self) -> None:
        """Break the connection with RST, without a word."""
        sock = self._handler.connection
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        self._handler.close_connection = True

    def silence(self, seconds: float) -> None:
        """No answer, as long as the client holds on."""
        self._handler.close_connection = True
        self._handler.connection.settimeout(seconds)
        try:
            self._handler.rfile.read(1)
        except OSError:
            pass

    def drip(self, body: bytes, every: float, *, headers: bool = False) -> None:
        """A byte at a time: the headers too, or after them."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        whole = head + body
        start = 0 if headers else len(head)
        self._handler.close_connection = True
        try:
            self._handler.wfile.write(whole[:start])
            for place in range(start, len(whole)):
                self._handler.wfile.write(whole[place:place + 1])
                self._handler.wfile.flush()
                time.sleep(every)
        except OSError:
            pass
