"""`Outcome`: what a client gets of a request that meets a fault, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from botlib.sandbox.fault_kinds import Fault
from botlib.sandbox.messages import JSON, Request, Response


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the client gets of one request; server and adapter each render it in their way.

    Attributes
    ----------
    response : Response or None
        None: nothing (``ending`` "hang" or "reset"), or not known before ``later``.
    delay : float
        Seconds before anything is sent.
    ending : "whole", "hang", "reset" or "cut"
        "hang": never an answer, the connection stays open. "reset": reset before any answer. "cut": status, headers and
        the first ``sent`` bytes of the body, then a reset.
    sent : int
        Bytes of the body that leave ("cut").
    later : function or None
        Carries the request out after ``delay``, whether or not the client still waits; it returns the response.
    """

    response: Response | None
    delay: float = 0.0
    ending: Literal["whole", "hang", "reset", "cut"] = "whole"
    sent: int = 0
    later: Callable[[], Response] | None = None


def outcome(f: Fault, request: Request, handle: Callable[[Request], Response]) -> Outcome:
    """What a fault makes of a request."""
    if f.kind == "delay":
        if f.accepted:
            return Outcome(handle(request), delay=f.seconds)
        return Outcome(None, delay=f.seconds, later=lambda: handle(request))
    done = handle(request) if f.accepted or f.kind == "malformed" or (f.kind == "reset" and f.share > 0.0) else None
    if f.kind == "no_reply":
        return Outcome(None, ending="hang")
    if f.kind == "reset":
        if done is None or not done.body or f.share <= 0.0:
            return Outcome(None, ending="reset")
        return Outcome(done, ending="cut", sent=min(len(done.body) - 1, int(len(done.body) * f.share)))
    if f.kind == "malformed":
        assert done is not None
        if not done.body:  # a 204 has none: then one that should not be there
            return Outcome(Response(200, JSON, b'{"id": "'))
        return Outcome(Response(done.status, done.headers, done.body[:max(1, len(done.body) * 2 // 3)]))
    if f.kind == "html":
        return Outcome(_page(f.status))
    return Outcome(error_response(f.status, request.path, f.retry_after))


_PHRASES = {429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
            504: "Gateway Timeout"}


def _page(status: int) -> Response:
    """What a proxy says."""
    what = f"{status} {_PHRASES.get(status, 'OK')}"
    text = (f"<html>\r\n<head><title>{what}</title></head>\r\n<body>\r\n<center><h1>{what}</h1></center>\r\n"
            "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")
    return Response(status, {"Content-Type": "text/html"}, text.encode())


def error_response(status: int, path: str, retry_after: int | None = None) -> Response:
    """An error of the service itself, in the words of the trading or of the data host."""
    data = path.startswith(("/v2/stocks", "/v1", "/v1beta"))
    body: dict[str, Any]
    if status == 429:
        body = {"message": "too many requests."} if data else {"code": 42910000, "message": "rate limit exceeded"}
    elif data or status in (502, 503, 504):
        return _page(status)
    else:
        body = {"code": status * 100_000 + 10_000, "message": _PHRASES.get(status, "error").lower()}
    headers = dict(JSON)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Response(status, headers, json.dumps(body).encode())
