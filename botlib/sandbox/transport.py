"""In-process transport: the real client's requests reach an `Api` without a socket.

    api = Api(Exchange(bars))
    client = attach(TradingClient("local", "local-secret", url_override=URL), api)
"""

from __future__ import annotations

import datetime as dt
import io
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from http.client import responses as phrases
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPHeaderDict, HTTPResponse

from botlib.sandbox.api import Api
from botlib.sandbox.faults import Faults
from botlib.sandbox.messages import Request, Response

URL = "http://sandbox.local"
_LOCKS: weakref.WeakKeyDictionary[Api, threading.Lock] = weakref.WeakKeyDictionary()
Client = TypeVar("Client")


class SandboxAdapter(BaseAdapter):
    """A requests adapter that hands requests to an `Api`; one at a time, whatever threads they come from.

    Parameters
    ----------
    api : Api
    faults : Faults, optional
        What goes wrong on the way.
    sleep : function
        Waits for seconds; how delays pass.
    """

    def __init__(self, api: Api, faults: Faults | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__()
        self.api, self.faults, self._sleep = api, faults, sleep
        self._lock = _LOCKS.setdefault(api, threading.Lock())

    def send(self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, verify: Any = True,
             cert: Any = None, proxies: Mapping[str, str] | None = None) -> requests.Response:
        """Raises ``requests.ReadTimeout`` and ``requests.ConnectionError`` where the faults say so."""
        asked = request_of(request)
        begun = time.perf_counter()
        if self.faults is None:
            with self._lock:
                return rendered(self.api.handle(asked), request, begun)
        with self._lock:
            outcome = self.faults.around(asked, self.api.handle, self.api.exchange)
        response = outcome.response
        patience = (timeout[-1] if isinstance(timeout, tuple) else timeout) or None
        late = outcome.ending == "hang" or (patience is not None and outcome.delay > patience)
        if late and patience is not None:
            self._sleep(patience)
        elif outcome.delay:
            self._sleep(outcome.delay)
        if outcome.later is not None:
            with self._lock:
                response = outcome.later()
        if late:
            raise requests.ReadTimeout(f"no reply within {patience} s" if patience else "no reply, and no timeout set",
                                       request=request)
        if response is None or outcome.ending in ("reset", "cut"):
            raise requests.ConnectionError("connection reset by peer", request=request)
        return rendered(response, request, begun)

    def close(self) -> None:
        """Nothing to close."""


def request_of(request: requests.PreparedRequest) -> Request:
    """A prepared request as `Api` takes it."""
    url = urlsplit(request.url or "")
    body = request.body or b""
    headers = {str(name): str(value) for name, value in request.headers.items()}
    return Request(method=request.method or "GET", path=unquote(url.path),
                   query=parse_qsl(url.query, keep_blank_values=True), headers=headers,
                   body=body.encode() if isinstance(body, str) else bytes(body))  # type: ignore[arg-type]


def rendered(response: Response, request: requests.PreparedRequest, begun: float) -> requests.Response:
    """A response as requests gives it."""
    made = requests.Response()
    made.status_code, made.headers = response.status, CaseInsensitiveDict(response.headers)
    made.raw = HTTPResponse(io.BytesIO(response.body), headers=HTTPHeaderDict(response.headers),
                            status=response.status, preload_content=False)
    made._content, made._content_consumed = response.body, True  # type: ignore[attr-defined]
    made.url, made.request, made.reason = request.url or "", request, phrases.get(response.status, "")
    made.encoding = "utf-8"
    made.elapsed = dt.timedelta(seconds=time.perf_counter() - begun)
    return made


def attach(client: Client, api: Api, faults: Faults | None = None, url: str = URL) -> Client:
    """Send what an alpaca-py client asks of ``url`` to ``api``; returns the client."""
    session: requests.Session = client._session  # type: ignore[attr-defined]
    session.mount(url, SandboxAdapter(api, faults))
    session.trust_env = False  # there is no proxy on the way; looking for one takes a millisecond a request
    return client
