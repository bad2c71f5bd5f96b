"""alpaca-py's clients behind one pool, one deadline, one budget of requests and errors of our own.

Reads are repeated (with backoff and jitter) when no reliable answer comes; what changes something is sent once. What
may be repeated is decided here and nowhere else: alpaca-py's own retries, which send a POST again, are off.
"""

from __future__ import annotations

import inspect
import json
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import requests
from requests import exceptions as rx
from urllib3 import exceptions as ux

from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.secrecy import bare
from botlib.brokers.alpaca.transport import RateLimiter, Session
from botlib.errors import BotlibError, BrokerRefusal, BrokerUnavailable, InputError

Api = Literal["trading", "data", "actions"]
_NOT_SENT = (ux.NewConnectionError, ux.NameResolutionError, ux.ConnectTimeoutError)
_HELD = "held-by-botlib"  # alpaca-py wants keys; the session puts the real ones on
_LONGEST_BACKOFF = 15.0
_GAVE_UP = (408, 425, 499)  # said by what stands between: whether the request went on nobody knows


class AlpacaConnection:
    """What sends requests to Alpaca for the broker, the provider and the streams; safe to use from several threads.

    Parameters
    ----------
    config : AlpacaConfig
        Keys and hosts.
    timeout : float
        Seconds for one request as a whole, 0.05 to 300. A read that is repeated takes longer: see ``attempts``.
    attempts : int
        How often a read is tried, 1 to 10.
    backoff : float
        Seconds before the second try; doubled each time up to 15 s, a random part of a half taken off.
    cancel_reserve : int
        Requests a minute kept for cancels.
    clock, sleep, chance : callable
        Seconds (monotonic), how to wait for some, and random numbers in [0, 1).
    adapter : requests.adapters.BaseAdapter, optional
        What carries the requests instead of the network.
    """

    def __init__(self, config: AlpacaConfig, *, timeout: float = 10.0, attempts: int = 4, backoff: float = 0.5,
                 cancel_reserve: int = 20, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random,
                 adapter: Any = None) -> None:
        for name, value, low, high in (("timeout", timeout, 0.05, 300.0), ("backoff", backoff, 0.0, 60.0)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise InputError(f"{name} = {value!r} is out of range: valid is {low:g} to {high:g} seconds.")
        if type(attempts) is not int or not 1 <= attempts <= 10:
            raise InputError(f"attempts = {attempts!r} is out of range: valid is 1 to 10.")
        if not isinstance(config, AlpacaConfig):
            raise InputError(f"config is of type {type(config).__name__}: give an AlpacaConfig, e.g. "
                             "AlpacaConfig.from_env().")
        limit = config.requests_per_minute
        most = (limit or 100_000) - 1
        if type(cancel_reserve) is not int or not 0 <= cancel_reserve <= most:
            raise InputError(f"cancel_reserve = {cancel_reserve!r} is out of range: valid is 0 to {most}.")
        self.config, self.timeout, self.attempts, self.backoff = config, float(timeout), attempts, float(backoff)
        self._sleep, self._chance = sleep, chance
        self.session = Session(config, self.timeout, adapter)
        # Alpaca counts trading and data requests apart.
        trading = RateLimiter(limit, cancel_reserve, clock=clock, sleep=sleep)
        data = RateLimiter(limit, 0, clock=clock, sleep=sleep)
        self.limiters: dict[str, RateLimiter] = {"trading": trading, "data": data, "actions": data}
        self._clients: dict[str, Any] = {}
        self.too_many = 0
        """How often the broker said "too many requests": more than now and then means a second session."""

    def client(self, api: Api = "trading") -> Any:
        """alpaca-py's own `TradingClient`, `StockHistoricalDataClient` or `CorporateActionsClient`, with raw_data."""
        if api not in self._clients:
            made = _new_client(api, self.config)
            made._session.close()
            made._session, made._retry = self.session, 0
            self._clients[api] = made
        return self._clients[api]

    # -- requests -------------------------------------------------------------------------------------------------

    def read(self, path: str, query: Mapping[str, Any] | None = None, *, api: Api = "trading",
             attempts: int | None = None) -> Any:
        """The JSON of a GET, repeated up to ``attempts`` times when no reliable answer comes.

        Raises
        ------
        BrokerRefusal
            A definite no, e.g. 404.
        BrokerUnavailable
            No reliable answer at the last try.
        """
        tries = attempts or self.attempts
        for number in range(1, tries + 1):
            try:
                return self._once("GET", path, dict(query or {}), api)
            except BrokerUnavailable as error:
                if number == tries:
                    raise
                failure = error
            self._sleep(self._delay(number, failure))
        raise AssertionError("unreachable")

    def send(self, method: Literal["POST", "PATCH", "DELETE"], path: str, body: Mapping[str, Any] | None = None, *,
             cancel: bool = False) -> Any:
        """Send what changes something, exactly once; the JSON of the answer, None without one.

        Raises `BrokerRefusal`, or `BrokerUnavailable`: then it may have been done.
        """
        return self._once(method, path, dict(body or {}), "trading", cancel=cancel)

    def pages(self, path: str, query: Mapping[str, Any], *, api: Api) -> Iterator[Any]:
        """Each page of an answer that is cut by ``next_page_token``, to the end."""
        asked, seen = dict(query), set()
        while True:
            page = self.read(path, asked, api=api)
            if not isinstance(page, dict):
                raise _malformed("GET", path, "a list where an object should be")
            yield page
            token = page.get("next_page_token")
            if not token:
                return
            if token in seen:
                raise _malformed("GET", path, "the same page token twice")
            seen.add(token)
            asked["page_token"] = token

    def close(self) -> None:
        """Close pooled connections; idempotent, and the next request opens new ones."""
        self.session.close()

    def __repr__(self) -> str:
        return f"AlpacaConnection({self.config!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a connection holds keys and is not pickled")

    # -- small ----------------------------------------------------------------------------------------------------

    def _once(self, method: str, path: str, data: dict[str, Any], api: Api, *, cancel: bool = False) -> Any:
        client = self.client(api)
        self.limiters[api].wait(cancel=cancel)
        try:
            return getattr(client, method.lower())(path, data or None)
        except BaseException as error:
            caught = error
        # Raised here and not there: an error's context keeps the frames of the client and of the transport, whose
        # variables hold the keys, and a verbose traceback prints them.
        if not isinstance(caught, Exception):  # an interrupt, or what a signal's handler raises
            raise bare(caught)
        failure = _translated(caught, method, path, self.config)
        del caught
        if isinstance(failure, BrokerUnavailable) and failure.reason == "rate-limit":
            self.too_many += 1
            self.limiters[api].pause(2.0)
        raise failure

    def _delay(self, number: int, failure: BrokerUnavailable) -> float:
        longest = min(self.backoff * 2.0 ** (number - 1), _LONGEST_BACKOFF)
        if failure.reason == "rate-limit":
            longest = max(longest, min(4.0 * number, _LONGEST_BACKOFF))
        return longest * (1.0 - 0.5 * self._chance())


OPTIONS = tuple(name for name in inspect.signature(AlpacaConnection).parameters if name != "config")
"""Names of what `AlpacaConnection` takes beside its configuration."""


def _new_client(api: Api, config: AlpacaConfig) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its use of websockets.legacy is not the caller's to mend
        if api == "trading":
            from alpaca.trading.client import TradingClient

            return TradingClient(_HELD, _HELD, paper=config.kind != "live", raw_data=True, url_override=config.base_url)
        if api == "data":
            from alpaca.data.historical.stock import StockHistoricalDataClient

            return StockHistoricalDataClient(_HELD, _HELD, raw_data=True, url_override=config.data_url)
        from alpaca.data.historical.corporate_actions import CorporateActionsClient

        return CorporateActionsClient(_HELD, _HELD, raw_data=True, url_override=config.data_url)


# --- from their errors to ours ----------------------------------------------------------------------------------------


def _translated(error: Exception, method: str, path: str, config: AlpacaConfig) -> BotlibError:
    response = getattr(error, "response", None)
    if type(error).__name__ == "APIError" and response is not None:
        return _from_answer(response, method, path)
    if isinstance(error, ValueError) and not isinstance(error, (rx.InvalidURL, rx.InvalidHeader)):
        return _malformed(method, path, "what should be JSON is not")  # requests' JSONDecodeError, UnicodeDecodeError
    what = f"Alpaca did not answer {method} {path}"
    if isinstance(error, rx.ConnectTimeout) or any(isinstance(inner, _NOT_SENT) for inner in _inner(error)):
        if config.kind == "sandbox":
            cause = f"is the local exchange (`python -m botlib sandbox`) running at {config.base_url}?"
            return BrokerUnavailable(f"no connection was made ({method} {path}): {cause}", reason="unreachable",
                                     sent=False)
        return BrokerUnavailable(f"Alpaca cannot be reached ({method} {path}): no connection was made; check the "
                                 "network and the address.", reason="unreachable", sent=False)
    if isinstance(error, (rx.Timeout, TimeoutError)) or any(isinstance(i, ux.ReadTimeoutError) for i in _inner(error)):
        return BrokerUnavailable(f"{what} in time.", reason="timeout")
    if isinstance(error, rx.ProxyError):
        return BrokerUnavailable(f"the proxy did not pass on {method} {path}.", reason="unreachable")
    if isinstance(error, (rx.RequestException, ux.HTTPError, OSError)):
        return BrokerUnavailable(f"{what}: the connection broke ({type(error).__name__}).", reason="reset")
    return _malformed(method, path, f"alpaca-py could not read it ({type(error).__name__})")


def _inner(error: BaseException) -> Iterator[BaseException]:
    """The errors that requests and urllib3 have wrapped."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [e for e in (*one.args, getattr(one, "reason", None), one.__cause__) if isinstance(e, BaseException)]


def _malformed(method: str, path: str, why: str, *, reason: str = "malformed",
               status: int | None = None) -> BrokerUnavailable:
    return BrokerUnavailable(f"Alpaca's answer to {method} {path} cannot be used: {why}.", reason=reason, status=status)


def _from_answer(response: requests.Response, method: str, path: str) -> BotlibError:
    """The error of an answer with a status from 400 on; bodies are JSON with or without code, HTML or nothing."""
    status = response.status_code
    body = _body(response)
    if status == 429:
        return BrokerUnavailable(f"Alpaca takes no more requests for now ({method} {path}): the limit is counted over "
                                 "all programs that use this account.", reason="rate-limit", status=status)
    if status >= 500 or status in _GAVE_UP:
        return BrokerUnavailable(f"Alpaca failed on {method} {path} (HTTP {status}).", reason="server-error",
                                 status=status)
    if body is None and status != 401:  # a proxy's or a wrong host's page says nothing about the request
        if not response.content.strip():
            return BrokerRefusal(f"Alpaca refuses {method} {path} (HTTP {status}, without a word).", status=status)
        return _malformed(method, path, f"HTTP {status} with a body that is not JSON", reason="html", status=status)
    body = body or {}
    code, message = body.get("code"), str(body.get("message") or "")
    code = int(str(code)) if re.fullmatch(r"[0-9]{1,12}", str(code)) else None
    if status == 401 or code in (40110000,):
        return BrokerRefusal("Alpaca does not know these keys (HTTP 401): check that they are for this host (paper or "
                             "live), whole, and not regenerated since.", status=status, code=code, message=message)
    fields = {k: v for k, v in body.items() if k not in ("code", "message")}
    return BrokerRefusal(f"Alpaca refuses {method} {path}: {message or 'no reason given'} (HTTP {status}"
                         f"{f', {code}' if code else ''}).", status=status, code=code, message=message, fields=fields)


def _body(response: requests.Response) -> dict[str, Any] | None:
    """The JSON object of an answer, None when it is none."""
    try:
        found = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
