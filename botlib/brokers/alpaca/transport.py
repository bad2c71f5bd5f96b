"""HTTP with a deadline on the whole exchange, keys that stay out of the client, and a budget of requests.

requests and urllib3 limit the wait for each piece of an answer, never the sum: a server that sends a byte a second
holds the caller for ever. Here every read of the socket gets what is left until the deadline.
"""

from __future__ import annotations

import http.client
import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.hosts import is_loopback

_deadline = threading.local()
_BUFFER = 65_536  # the default of 8 kB takes eight times the calls for a page of bars


class _Reader(io.RawIOBase):
    """A socket's input in which no read waits beyond the deadline of the request."""

    def __init__(self, raw: Any, sock: Any) -> None:
        self._raw, self._sock = raw, sock
        self._until = getattr(_deadline, "until", None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0.0:
                raise TimeoutError("deadline")
            self._sock.settimeout(left)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock), _BUFFER)


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Keys(requests.auth.AuthBase):
    """Puts the keys on a request at the last moment, so that alpaca-py and its frames never hold them."""

    def __init__(self, config: AlpacaConfig) -> None:
        self._config = config

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["APCA-API-KEY-ID"] = self._config.key_id.reveal()
        request.headers["APCA-API-SECRET-KEY"] = self._config.secret_key.reveal()
        return request

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("keys are not pickled")


class Session(requests.Session):
    """One pool for all of Alpaca's hosts.

    Parameters
    ----------
    config : AlpacaConfig
        Keys and hosts.
    timeout : float
        Seconds for each request as a whole: connecting, sending and reading the answer.
    adapter : requests.adapters.BaseAdapter, optional
        What carries the requests instead of the network, e.g. to a local exchange in this process.
    """

    def __init__(self, config: AlpacaConfig, timeout: float, adapter: Any = None) -> None:
        super().__init__()
        self.timeout = timeout
        self.auth = _Keys(config)
        # Read once: requests would look through the environment at every call, and take a login from .netrc.
        self.trust_env = False
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        carrier = adapter or _Adapter(pool_connections=4, pool_maxsize=16, max_retries=0)
        for prefix in ("http://", "https://"):
            self.mount(prefix, carrier)
        for url in {config.base_url, config.data_url}:
            if not is_loopback(url) and adapter is None:
                self.proxies.update(get_environ_proxies(url))

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """As `requests.Session.request`, over at the deadline."""
        _deadline.until = time.monotonic() + self.timeout
        try:
            return super().request(method, url, timeout=self.timeout, **options)
        finally:
            _deadline.until = None


class RateLimiter:
    """At most ``limit`` requests in any 60 seconds, some of them kept for cancels.

    Two sliding windows, exact where a token bucket would let twice the limit through in its first minute. Ordinary
    requests take from ``limit - reserve``, cancels from the reserve and, when that is used up, from the rest.

    Parameters
    ----------
    limit : int or None
        Requests a minute; None: no limit.
    reserve : int
        Of these, kept for cancels; below ``limit``.
    clock, sleep : callable
        Seconds, and how to wait for some.
    """

    def __init__(self, limit: int | None, reserve: int = 20, *, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.limit, self.reserve = limit, reserve
        self._clock, self._sleep, self._lock = clock, sleep, threading.Lock()
        self._ordinary: deque[float] = deque(maxlen=None if limit is None else limit - reserve)
        self._kept: deque[float] = deque(maxlen=reserve or None)
        self._paused = 0.0

    def wait(self, *, cancel: bool = False) -> float:
        """Take a place, waiting for it where needed; seconds waited."""
        if self.limit is None and not self._paused:
            return 0.0
        with self._lock:
            now = self._clock()
            start = now if cancel else max(now, self._paused)
            line = self._ordinary
            if cancel and self.reserve and self._free(self._kept, start) <= self._free(line, start):
                line = self._kept
            at = self._free(line, start) if self.limit is not None else start
            if self.limit is not None:
                line.append(at)  # a full line drops its oldest, which is 60 s away by then
        if at > now:
            self._sleep(at - now)
        return max(0.0, at - now)

    def _free(self, line: deque[float], start: float) -> float:
        """When the line has a place: 60 s after the one that is ``maxlen`` places back, and never before the last."""
        if line.maxlen == 0:
            return float("inf")
        after = line[0] + 60.0 if len(line) == line.maxlen else start
        return max(start, after, line[-1] if line else start)

    def pause(self, seconds: float) -> None:
        """The broker said "too many requests": ordinary ones wait this long; cancels do not."""
        with self._lock:
            self._paused = max(self._paused, self._clock() + seconds)
