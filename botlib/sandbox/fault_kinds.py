"""`Fault`: one thing that goes wrong, as data; `KINDS` lists what there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple

from botlib import alpaca_rules
from botlib.errors import InputError, nearest


class Kind(NamedTuple):
    """What a kind of fault is about, which further values it takes, and what it does."""

    about: Literal["request", "stream", "world"]
    takes: str
    does: str


KINDS: dict[str, Kind] = {
    "delay": Kind("request", "seconds accepted", "the reply comes late; accepted false: it is carried out late, too"),
    "no_reply": Kind("request", "accepted", "no answer ever comes"),
    "reset": Kind("request", "accepted share", "the connection is reset; share: after that part of the body"),
    "status": Kind("request", "accepted status retry_after", "an error status instead of the answer: 429, 500 to 504"),
    "html": Kind("request", "accepted status", "a proxy's HTML page instead of JSON"),
    "malformed": Kind("request", "accepted", "a body that breaks off in the middle, complete by its length"),
    "stale": Kind("request", "", "market data stand still at the bar at which the fault began"),
    "missing": Kind("stream", "", "an event is not sent"),
    "duplicated": Kind("stream", "", "an event is sent twice"),
    "reordered": Kind("stream", "", "an event is sent after the next one"),
    "mute": Kind("stream", "", "the connection stays open and says nothing more"),
    "dropped": Kind("stream", "seconds", "the connection breaks; seconds: its place stays taken that long"),
    "account_blocked": Kind("world", "", "the account is blocked"),
    "halt": Kind("world", "symbol", "trading in a symbol is halted"),
    "partial_fills": Kind("world", "percent", "that percentage of fills is partial (Alpaca's paper account: 10)"),
    "stuck_cancel": Kind("world", "", "cancels stay pending"),
    "foreign_order": Kind("world", "order", "somebody else sends an order from this account"),
    "deposit": Kind("world", "amount", "money comes in, or goes out when negative"),
    "paper_reset": Kind("world", "amount", "the paper account is reset, to this much cash"),
    "split": Kind("world", "symbol ratio", "a split before the session that follows the bar"),
    "dividend": Kind("world", "symbol amount", "an ex-date before the session that follows the bar, cash a share"),
}
_MATCHERS = {"request": "method path nth times probability bars",
             "stream": "stream event symbol nth times probability bars", "world": "bars"}
LASTING = ("account_blocked", "halt", "partial_fills", "stuck_cancel")
OVERNIGHT = ("split", "dividend")
FEEDS = ("trade_updates", "market_data")
METHODS = ("*", "GET", "POST", "PATCH", "PUT", "DELETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; `KINDS` says which values a kind takes.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    method, path : str
        Of requests: "POST" or "*"; a pattern of the path with * and ?, such as "/v2/orders*".
    stream, event, symbol : str
        Of streams: "trade_updates" or "market_data"; a pattern of the event ("fill", "new", …; market data by its
        letter: "b", "d", "q", "t", "s"); a pattern of the symbol.
    nth : int, optional
        Only the n-th that matches, from 1.
    times : int, optional
        At most so often; None: always.
    probability : float
        0 to 1, drawn for each match from the script's seed.
    bars : (int, int), optional
        Only while the last bar that happened is in this range, both included. A fault of the world begins with the
        first and ends after the last; what is done once is done at the first.
    seconds, status, retry_after, accepted, share, percent, amount, ratio, order
        What the kind takes. ``accepted``: the request had been carried out before things went wrong.

    Raises
    ------
    InputError
        Unknown kind or name, a value the kind does not take, a value out of range.
    """

    kind: str
    method: str = "*"
    path: str = "*"
    stream: str = "*"
    event: str = "*"
    symbol: str = "*"
    nth: int | None = None
    times: int | None = None
    probability: float = 1.0
    bars: tuple[int, int] | None = None
    seconds: float = 0.0
    status: int = 503
    retry_after: int | None = None
    accepted: bool = False
    share: float = 0.0
    percent: float = 10.0
    amount: float = 100_000.0
    ratio: float = 2.0
    order: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise InputError(f"kind = {self.kind!r} is no fault{nearest(self.kind, KINDS) or '.'} "
                             f"Valid: {', '.join(KINDS)}.")
        kind = KINDS[self.kind]
        valid = f"{_MATCHERS[kind.about]} {kind.takes}".split()
        for f in fields(self):
            if f.name not in ("kind", *valid) and getattr(self, f.name) != f.default:
                raise InputError(f"a fault {self.kind!r} takes no {f.name}. Valid: {', '.join(valid)}.")
        if isinstance(self.bars, list):
            object.__setattr__(self, "bars", tuple(self.bars))
        _check(self)

    @classmethod
    def of(cls, values: Fault | Mapping[str, Any]) -> Fault:
        """A fault from a mapping, such as an entry of a file. Raises `InputError` on a name there is not."""
        if isinstance(values, Fault):
            return values
        valid = [f.name for f in fields(cls)]
        if not isinstance(values, Mapping) or "kind" not in values:
            raise InputError(f"a fault is a mapping with a kind, such as {{'kind': 'delay', 'seconds': 2}}; "
                             f"not {values!r}.")
        for name in values:
            if name not in valid:
                raise InputError(f"a fault has no {name!r}{nearest(name, valid) or '.'} Valid: {', '.join(valid)}.")
        return cls(**values)

    def as_mapping(self) -> dict[str, Any]:
        """What differs from the defaults."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if f.name == "kind" or values[f.name] != f.default}


def _check_words(fault: Fault) -> None:
    """The patterns and the switch: a pattern that nothing can match would be a fault that never happens."""
    for name in ("method", "path", "stream", "event", "symbol"):
        value = getattr(fault, name)
        if not isinstance(value, str) or not value:
            raise InputError(f"{fault.kind}: {name} = {value!r}: it must be a text, or '*' for every {name}.")
    if fault.method not in METHODS:
        raise InputError(f"{fault.kind}: method = {fault.method!r}{nearest(fault.method.upper(), METHODS) or ':'} "
                         f"valid: {', '.join(METHODS)}.")
    if fault.path[0] not in "/*?[":
        raise InputError(f"{fault.kind}: path = {fault.path!r} matches no request: paths begin with a slash, such as "
                         "'/v2/orders' or '/v2/stocks/*'.")
    if not isinstance(fault.accepted, bool):
        raise InputError(f"{fault.kind}: accepted = {fault.accepted!r}: it must be true or false.")


def _check(fault: Fault) -> None:
    """Raise `InputError` on a value out of range."""
    ranges = {"probability": (0.0, 1.0), "seconds": (0.0, 3600.0), "status": (200, 599), "share": (0.0, 1.0),
              "percent": (0.0, 100.0), "nth": (1, 10**9), "times": (1, 10**9), "ratio": (1e-4, 1e4),
              "retry_after": (0, 3600), "amount": (-1e12, 1e12)}
    _check_words(fault)
    for name, (low, high) in ranges.items():
        value = getattr(fault, name)
        if value is None and name in ("nth", "times", "retry_after"):
            continue
        if name in ("nth", "times", "status", "retry_after") and type(value) is not int:
            raise InputError(f"{fault.kind}: {name} = {value!r}: it must be a whole number, {low:g} to {high:g}.")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise InputError(f"{fault.kind}: {name} = {value!r} is out of range: valid is {low:g} to {high:g}.")
    span = fault.bars
    if span is not None and (not isinstance(span, tuple) or len(span) != 2
                             or not all(type(b) is int for b in span) or not 0 <= span[0] <= span[1]):
        raise InputError(f"{fault.kind}: bars = {span!r}: it must be the first and the last bar's number, "
                         "such as [5, 9].")
    if fault.stream not in ("*", *FEEDS):
        raise InputError(f"{fault.kind}: stream = {fault.stream!r}{nearest(fault.stream, FEEDS) or ':'} "
                         f"valid: {', '.join(FEEDS)}, *.")
    if fault.kind in ("split", "dividend") and (fault.symbol == "*" or fault.bars is None):
        raise InputError(f"{fault.kind}: name the symbol, and the bar after which it happens: bars = [n, n].")
    if fault.kind == "foreign_order":
        given = fault.order
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"foreign_order: order = {given!r}: it must be a mapping, the body of a POST of "
                             "/v2/orders.")
        found = alpaca_rules.parse(dict(given or {}))
        if isinstance(found, alpaca_rules.Violation):
            raise InputError(f"foreign_order: order = {fault.order!r}: {found.message}. It is the body of a POST of "
                             "/v2/orders.")
