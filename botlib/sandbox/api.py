"""`Api`: a request in, Alpaca's response out. Trading and data share one host here.

    /v2/account, /v2/orders, /v2/positions, /v2/assets, /v2/clock, /v2/calendar    the trading API
    /v2/stocks/…, /v1/corporate-actions                                            the market-data API

What else Alpaca has is refused with 404 and a sentence. The control calls under /sandbox/ are the `host`'s. Nothing
here waits, reads a clock or opens a socket.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable

from botlib.errors import BotlibError
from botlib.sandbox import wire
from botlib.sandbox.api_account import Accounts
from botlib.sandbox.api_actions import Actions
from botlib.sandbox.api_data import Data
from botlib.sandbox.api_trading import Trading
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.formats import NS
from botlib.sandbox.messages import JSON, Request, Response, answer
from botlib.sandbox.orders import Refusal
from botlib.sandbox.portfolio import Portfolio

__all__ = ["Api", "Request", "Response"]

KEYS = ("local", "local-secret")
_NGINX_401 = (b"<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>\r\n"
              b"<center><h1>401 Authorization Required</h1></center>\r\n<hr><center>nginx</center>\r\n"
              b"</body>\r\n</html>\r\n")


class Api:
    """The REST side of one exchange.

    Parameters
    ----------
    exchange : Exchange
    keys : (str, str)
        Key id and secret that requests must carry, as headers or as basic authentication.
    rate_limit : int or None
        Requests a minute, counted apart for trading and data, as their hosts are (Alpaca: 200). None: no limit.
    clock : function or None
        Seconds, for the rate limit. None: the exchange's time, which stands still between bars.
    basic_plan : bool
        The free data plan: recent SIP data are refused.
    unfinished_bars : bool
        Bars appear while they are made, as at Alpaca. False: when they are finished.
    raise_bugs : bool
        Let an exception that nobody foresaw out instead of answering 500.

    Attributes
    ----------
    bugs : list of Exception
        What was answered with 500.
    """

    def __init__(self, exchange: Exchange, *, keys: tuple[str, str] = KEYS, rate_limit: int | None = None,
                 clock: Callable[[], float] | None = None, basic_plan: bool = False, unfinished_bars: bool = True,
                 raise_bugs: bool = False) -> None:
        self.exchange, self.keys, self.rate_limit, self.raise_bugs = exchange, keys, rate_limit, raise_bugs
        self.bugs: list[Exception] = []
        self._clock = clock or (lambda: exchange.now / NS)
        self._count = 0
        self._used: dict[str, tuple[int, int]] = {}
        accounts, data = Accounts(exchange), Data(exchange, basic_plan, unfinished_bars)
        self.market = data.market
        self.routes: dict[tuple[str, str], Callable[..., Response]] = {}
        for routes in (accounts.routes(), Trading(exchange, accounts.configurations).routes(),
                       Portfolio(exchange).routes(), data.routes(), Actions(exchange, data.market).routes()):
            self.routes |= routes
        self._open = sorted((path for _, path in self.routes if path.endswith("/")), key=len, reverse=True)

    def handle(self, request: Request) -> Response:
        """The answer; never raises, unless ``raise_bugs``."""
        self._count += 1
        try:
            response = self._checked(request)
        except Refusal as no:
            response = _refused(no)
        except BotlibError as error:  # the replayed data are wrong, not the request
            response = answer({"code": 50010000, "message": str(error)}, 500)
        except Exception as bug:
            if self.raise_bugs:
                raise
            self.bugs.append(bug)
            response = answer({"code": 50010000, "message": "internal server error"}, 500)
        name = hashlib.md5(f"{self.exchange.seed} {self._count}".encode(), usedforsecurity=False).hexdigest()
        return Response(response.status, {**response.headers, "X-Request-ID": name}, response.body)

    def _checked(self, request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        data = is_data(request.path)
        if not self._known(headers):
            if data:
                return Response(401, {"Content-Type": "text/html"}, _NGINX_401)
            return Response(401, JSON, b'{"message": "unauthorized."}')
        limits = self._limits(data)
        if limits.get("X-RateLimit-Remaining", "").startswith("-"):
            no = answer({"message": "too many requests."} if data else {
                "code": 42910000, "message": "rate limit exceeded"}, 429)
            return Response(no.status, {**no.headers, **limits, "X-RateLimit-Remaining": "0"}, no.body)
        self.exchange.settle()
        try:
            response = self._routed(request)
        except Refusal as no:
            response = _refused(no)
        return Response(response.status, {**response.headers, **limits}, response.body) if limits else response

    def _routed(self, request: Request) -> Response:
        method, path = request.method.upper(), request.path
        if len(path) > 1:
            path = path.rstrip("/")
        handler = self.routes.get((method, path))
        if handler is not None:
            return handler(request)
        for prefix in self._open:
            if path.startswith(prefix):
                found = self.routes.get((method, prefix))
                if found is not None:
                    return found(request, path[len(prefix):])
        known = sorted({m for m, p in self.routes if p == path or (p.endswith("/") and path.startswith(p))})
        if known:
            raise Refusal(405, 40510000, f"method not allowed: {method} {path} (allowed: {', '.join(known)})",
                          "method-not-allowed")
        raise Refusal(404, None if is_data(path) else 40410000,
                      f"endpoint not found: the sandbox does not serve {method} {path}", "not-served")

    # --- who asks, and how often --------------------------------------------------------------------------------------

    def _known(self, headers: dict[str, str]) -> bool:
        given = (headers.get("apca-api-key-id", ""), headers.get("apca-api-secret-key", ""))
        basic = headers.get("authorization", "")
        if not any(given) and basic.lower().startswith("basic "):
            try:
                key, _, secret = base64.b64decode(basic[6:], validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                return False
            given = (key, secret)
        same = [hmac.compare_digest(g.encode(), k.encode()) for g, k in zip(given, self.keys, strict=True)]
        return all(same)

    def _limits(self, data: bool) -> dict[str, str]:
        """Headers of the rate limit, none without one; fewer than 0 remain: too many requests."""
        if self.rate_limit is None:
            return {}
        minute = int(self._clock() // 60)
        host = "data" if data else "trading"
        since, used = self._used.get(host, (minute, 0))
        used = used + 1 if since == minute else 1
        self._used[host] = (minute, used)
        return {"X-RateLimit-Limit": str(self.rate_limit), "X-RateLimit-Remaining": str(self.rate_limit - used),
                "X-RateLimit-Reset": str((minute + 1) * 60)}


def is_data(path: str) -> bool:
    """Whether a path is the market-data API's."""
    return path.startswith(("/v2/stocks", "/v1/", "/v1beta"))


def _refused(no: Refusal) -> Response:
    """A refusal, with the rule's name and our advice as headers: the body is Alpaca's."""
    ours = {"X-Sandbox-Rule": no.rule, "X-Sandbox-Advice": no.advice}
    headers = {name: value.encode("ascii", "replace").decode() for name, value in ours.items() if value}
    return Response(no.status, {**JSON, **headers}, json.dumps(wire.error(no), separators=(",", ":")).encode())
