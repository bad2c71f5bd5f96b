"""The two websockets' conversations, without a socket: frames in, frames out.

`TradeStream` is ``/stream`` (trade_updates): JSON, sent in binary frames as Alpaca's paper host does. `DataStream` is
``/v2/{feed}``: msgpack with the Timestamp extension for clients that send ``Content-Type: application/msgpack``
(alpaca-py does), else JSON.

Market data on a replay: ``bars`` are the replay's own intraday bars, whatever their length; ``dailyBars`` the session's
bar so far, after each bar (of a daily replay: the bar); ``trades`` and ``quotes`` are the prints that
`botlib.sandbox.market_data` makes up, four a bar, when it is over; ``statuses`` tell of halts; ``updatedBars`` can be
subscribed and stay silent, as a replay corrects nothing. ``lulds``, ``orderbooks`` and ``news`` are refused with 410.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from botlib.sandbox.messages import moment_ns

CHANNELS = {"trades": "t", "quotes": "q", "bars": "b", "updatedBars": "u", "dailyBars": "d", "statuses": "s"}
"""Market data channels served, with the letter of their messages."""
_TOLD = (*CHANNELS, "lulds", "corrections", "cancelErrors")
_NOT_SERVED = ("lulds", "orderbooks", "news")
FEEDS = ("iex", "sip", "delayed_sip", "boats", "overnight", "test")
AUTH_SECONDS = 10.0
ERRORS = {400: "invalid syntax", 401: "not authenticated", 402: "auth failed", 403: "already authenticated",
          404: "auth timeout", 405: "symbol limit exceeded", 406: "connection limit exceeded", 407: "slow client",
          409: "insufficient subscription", 410: "invalid subscribe action for this feed", 500: "internal error"}
_FINAL = (404, 406, 407, 409, 500)
_CODES = {letter: channel for channel, letter in CHANNELS.items()}


class Event(NamedTuple):
    """Something that listeners may want, of "trade_updates" or "market_data"; its data as JSON has them.

    ``name``: the trade update's event, or the letter of market data. ``bar``: the last that had happened.
    """

    stream: str
    name: str
    symbol: str
    data: Mapping[str, Any]
    bar: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """Frames to send back, and whether the connection then ends."""

    frames: tuple[str | bytes, ...] = ()
    close: bool = False


def known(keys: tuple[str, str], key: object, secret: object) -> bool:
    """Whether these are the account's keys; takes as long for wrong ones."""
    given, right = f"{key}\n{secret}", f"{keys[0]}\n{keys[1]}"
    return hmac.compare_digest(given.encode(), right.encode())


class TradeStream:
    """One connection to trade_updates."""

    name = "trade_updates"

    def __init__(self, keys: tuple[str, str]) -> None:
        self._keys = keys
        self.authorized = self.listening = False

    def greeting(self) -> Reply:
        """Nothing: the client speaks first."""
        return Reply()

    def receive(self, frame: str | bytes) -> Reply:
        """Answer a frame. Whoever is not authorized hears so, whatever he asked for; the connection stays."""
        try:
            message = json.loads(frame)
            action, data = message["action"], message.get("data") or {}
            if not isinstance(action, str) or not isinstance(data, dict):
                raise ValueError("no action")
        except (ValueError, TypeError, KeyError, AttributeError):
            return self._say("error", {"error": "invalid message"}, close=True)
        if action in ("authenticate", "auth"):
            key, secret = data.get("key_id", message.get("key")), data.get("secret_key", message.get("secret"))
            self.authorized = self.authorized or known(self._keys, key, secret)
            return self._say("authorization", {"status": "authorized" if self.authorized else "unauthorized",
                                               "action": "authenticate"})
        if not self.authorized:
            return self._say("authorization", {"status": "unauthorized", "action": action})
        if action == "listen":
            wanted = data.get("streams")
            wanted = wanted if isinstance(wanted, list) else []
            self.listening = self.name in wanted
            return self._say("listening", {"streams": [self.name] if self.listening else []})
        return self._say("error", {"error": f"unknown action {action}"})

    def wants(self, event: Event) -> bool:
        """Whether this listener gets it."""
        return self.listening and event.stream == self.name

    def encode(self, events: Iterable[Event]) -> list[str | bytes]:
        """One frame an event."""
        return [_json({"stream": self.name, "data": e.data}) for e in events]

    def error(self, code: int) -> Reply:
        """Before the connection is ended by this side."""
        return self._say("error", {"error": ERRORS[code]}, close=True)

    def _say(self, stream: str, data: Mapping[str, Any], close: bool = False) -> Reply:
        return Reply((_json({"stream": stream, "data": data}),), close)


class DataStream:
    """One connection to market data.

    Parameters
    ----------
    keys : (str, str)
    feed : str
        The last part of the path.
    packed : bool
        msgpack rather than JSON.
    admit : function
        Asked once, when the keys are right: 0, or the code of a refusal (406, 409).
    symbols : function
        The replay's symbols: how many "*" stands for.
    symbol_limit : int or None
        Most distinct symbols over all channels; Alpaca's Basic plan has 30.
    """

    name = "market_data"

    def __init__(self, keys: tuple[str, str], feed: str, *, packed: bool, admit: Callable[[], int],
                 symbols: Callable[[], int], symbol_limit: int | None = None) -> None:
        self._keys, self.feed, self.packed = keys, feed, packed
        self._admit, self._symbols, self._limit = admit, symbols, symbol_limit
        self.authorized = False
        self.channels: dict[str, set[str]] = {name: set() for name in CHANNELS}

    def greeting(self) -> Reply:
        """What the server says first."""
        return self._say({"T": "success", "msg": "connected"})

    def receive(self, frame: str | bytes) -> Reply:
        """Answer a frame; what is wrong gets its code, and nothing changes."""
        message = self._decode(frame)
        action = message.get("action") if isinstance(message, dict) else None
        if action == "auth":
            return self._auth(message)
        if action not in ("subscribe", "unsubscribe"):
            return self.error(400)
        if not self.authorized:
            return self.error(401)
        asked = {name: symbols for name, symbols in message.items() if name != "action"}
        for name, symbols in asked.items():
            if name not in (*CHANNELS, *_NOT_SERVED) or not isinstance(symbols, list) or not all(
                    isinstance(s, str) and s and len(s) <= 32 for s in symbols):
                return self.error(400)
        if action == "subscribe":
            if any(symbols for name, symbols in asked.items() if name in _NOT_SERVED):
                return self.error(410)
            after = {name: old | set(asked.get(name, ())) for name, old in self.channels.items()}
            if self._limit is not None and self._count(after) > self._limit:
                return self.error(405)
        else:
            after = {name: old - set(asked.get(name, ())) for name, old in self.channels.items()}
        self.channels = after
        return self._say(self._subscription())

    def _auth(self, message: Mapping[str, Any]) -> Reply:
        if self.authorized:
            return self.error(403)
        if not known(self._keys, message.get("key"), message.get("secret")):
            return self.error(402)
        refused = self._admit()
        if refused:
            return self.error(refused)
        self.authorized = True
        return self._say({"T": "success", "msg": "authenticated"})

    def _count(self, channels: Mapping[str, set[str]]) -> int:
        every = set().union(*channels.values())
        return max(self._symbols(), len(every) - 1) if "*" in every else len(every)

    def _subscription(self) -> dict[str, Any]:
        """Everything subscribed now; trades bring corrections and cancels with them."""
        told = {name: sorted(self.channels.get(name, ())) for name in _TOLD}
        told["corrections"] = told["cancelErrors"] = told["trades"]
        return {"T": "subscription", **told}

    def wants(self, event: Event) -> bool:
        """Whether this listener gets it."""
        if event.stream != self.name:
            return False
        channel = self.channels[_CODES[event.name]]
        return event.symbol in channel or "*" in channel

    def encode(self, events: Iterable[Event]) -> list[str | bytes]:
        """All in one frame, as a list."""
        messages = [{"T": e.name, "S": e.symbol, **e.data} for e in events]
        return [self._encode(messages)] if messages else []

    def error(self, code: int) -> Reply:
        """A refusal by its code; some end the connection."""
        return self._say({"T": "error", "code": code, "msg": ERRORS[code]}, close=code in _FINAL)

    def _say(self, message: Mapping[str, Any], close: bool = False) -> Reply:
        return Reply((self._encode([message]),), close)

    def _encode(self, messages: list[Any]) -> str | bytes:
        if not self.packed:
            return json.dumps(messages, separators=(",", ":"))
        import msgpack

        made = []
        for m in messages:
            ns = moment_ns(m["t"]) if "t" in m else None
            made.append(m if ns is None else {**m, "t": msgpack.Timestamp(*divmod(ns, 1_000_000_000))})
        packed: bytes = msgpack.packb(made)
        return packed

    def _decode(self, frame: str | bytes) -> Any:
        try:
            if self.packed and isinstance(frame, bytes):
                import msgpack

                return msgpack.unpackb(frame)
            return json.loads(frame)
        except Exception:  # a frame from outside may be anything
            return None


def _json(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
