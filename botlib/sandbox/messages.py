"""Requests and responses of the local Alpaca, and the reading of what a client sends. Pure: no sockets here."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from botlib.sandbox.formats import NEW_YORK, NS
from botlib.sandbox.orders import Refusal

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:?\d{2})?",
                     re.ASCII)
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,9}([./-][A-Z0-9]{1,6}){0,2}", re.ASCII)
FIRST_NS, LAST_NS = -(2**63) + 1, 2**63 - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    path : decoded, without the query; query : (name, value) in order, decoded; headers : names in any case.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON; None when it is empty."""
        return json.loads(self.body) if self.body else None


JSON = {"Content-Type": "application/json; charset=UTF-8"}


def answer(value: Any, status: int = 200) -> Response:
    """A JSON response; text is JSON already."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Response(status, JSON, text.encode())


def empty(status: int = 204) -> Response:
    """A response without a body."""
    return Response(status, {}, b"")


def invalid(message: str, rule: str = "invalid-request", code: int = 42210000, status: int = 422) -> Refusal:
    """What the trading API answers to a wrong parameter."""
    return Refusal(status, code, message, rule)


def bad_request(message: str) -> Refusal:
    """What the data API answers: 400, a message only."""
    return Refusal(400, None, message, "invalid-request")


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a body. Raises `Refusal` (400)."""
    def no_constant(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        made = json.loads(request.body or b"{}", parse_constant=no_constant)
    except (ValueError, RecursionError):
        made = None
    if not isinstance(made, dict):
        raise Refusal(400, 40010000, "request body format is invalid", "malformed-body")
    return made


def number(value: Any, name: str) -> float:
    """A number that came as a number or as text. Raises `Refusal` (422) on all else, NaN and infinity included."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e18 or math.isnan(value):
        raise invalid(f"{name} must be a number", "not-a-number")
    return float(value)


class Query:
    """The parameters of a request; ``data``: refuse as the data API does, else as the trading API."""

    def __init__(self, pairs: Iterable[tuple[str, str]], data: bool = False) -> None:
        self.values: dict[str, str] = {}
        self.all: dict[str, list[str]] = {}
        for name, value in pairs:
            self.values[name] = value
            self.all.setdefault(name, []).append(value)
        self.refuse: Callable[[str], Refusal] = bad_request if data else invalid

    def only(self, names: Iterable[str]) -> None:
        """Refuse parameters there are not."""
        strange = sorted(set(self.values) - set(names))
        if strange:
            raise self.refuse(f"unexpected parameter(s): {', '.join(strange)}")

    def text(self, name: str) -> str | None:
        """The value; None when it is missing or empty."""
        return self.values.get(name) or None

    def words(self, name: str) -> list[str]:
        """Comma-separated, or repeated, values."""
        return [word for value in self.all.get(name, ()) for word in value.split(",") if word]

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in a range."""
        text = self.text(name)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise self.refuse(f"{name} must be a number between {low} and {high}")
        return int(text)

    def number(self, name: str) -> float | None:
        """A number; None when missing."""
        text = self.text(name)
        return None if text is None else number(text, name)

    def truth(self, name: str) -> bool:
        """A boolean, also as Python writes it; False when missing."""
        text = (self.text(name) or "false").lower()
        if text not in ("true", "false", "1", "0", "t", "f"):
            raise self.refuse(f"{name} must be true or false")
        return text in ("true", "1", "t")

    def choice(self, name: str, default: str, valid: Iterable[str]) -> str:
        """One of some words."""
        text = self.text(name) or default
        if text not in valid:
            raise self.refuse(f"invalid {name}: {text!r}. It must be one of: {', '.join(valid)}")
        return text

    def moment(self, name: str, *, end: bool = False, unix: bool = False) -> int | None:
        """UTC ns of a date, an RFC 3339 time or, with ``unix``, seconds since 1970.

        A date is its first instant in New York, with ``end`` its last.
        """
        text = self.text(name)
        if text is None:
            return None
        if unix and _INTEGER.fullmatch(text):
            return clipped(int(text) * NS)
        ns = day_ns(text, end) if _DATE.fullmatch(text) else moment_ns(text)
        if ns is None:
            raise self.refuse(f"invalid {name}: {text!r}. Formats: YYYY-MM-DD and RFC 3339")
        return ns

    def date(self, name: str) -> dt.date | None:
        """A date; of a time, its date in New York."""
        text = self.text(name)
        if text is None:
            return None
        if _DATE.fullmatch(text):
            made = date_of(text)
        else:
            ns = moment_ns(text)
            made = None if ns is None or abs(ns) > 2**62 else dt.datetime.fromtimestamp(ns // NS, NEW_YORK).date()
        if made is None:
            raise self.refuse(f"invalid {name}: {text!r}. Format: YYYY-MM-DD")
        return made


def clipped(ns: int) -> int:
    """Within what 64 bits hold."""
    return max(FIRST_NS, min(ns, LAST_NS))


def date_of(text: str) -> dt.date | None:
    """YYYY-MM-DD; None when there is no such day."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def day_ns(text: str, end: bool = False) -> int | None:
    """The first ns of a day in New York, or its last; None when there is no such day."""
    day = date_of(text)
    if day is None:
        return None
    if end and day == dt.date.max:
        return LAST_NS
    day += dt.timedelta(days=1) if end else dt.timedelta()
    try:
        seconds = int(dt.datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp())
    except (OverflowError, ValueError):
        return FIRST_NS
    return clipped(seconds * NS - end)


def moment_ns(text: str) -> int | None:
    """UTC ns of an RFC 3339 time, naive ones as UTC; None when it is none."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    date, time, fraction, zone = found.groups()
    try:
        made = dt.datetime.fromisoformat(f"{date}T{time}{(zone or 'Z').upper()}")
        seconds = (made - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return clipped(seconds * NS + int((fraction or "").ljust(9, "0")))


def checked_symbol(text: str, known: Container[str]) -> str:
    """A symbol. Raises `Refusal` (400) on what cannot be one."""
    if text not in known and not _SYMBOL.fullmatch(text):
        raise bad_request(f"invalid symbol: {text}")
    return text


def encoded(text: str) -> str:
    """A page token."""
    return base64.b64encode(text.encode()).decode()


def decoded(token: str) -> str | None:
    """What a page token says; None when it is none."""
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
