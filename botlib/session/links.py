"""The broker's side of an order of the book: what was sent for it, and what is known of that."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Literal

from botlib.order_request import OrderRequest

DUST = 1e-9
"""Of a share: less is rounding."""

_ENDED = ("canceled", "expired", "filled", "rejected", "replaced")

Purpose = Literal["entry", "exit", "reduce", "protect"]
State = Literal["recorded", "sent", "unknown", "working", "ended"]
"""recorded: written down, not sent. sent: on its way, no answer yet. unknown: the answer cannot be relied on.
working: the broker has it. ended: it never trades again, and its fills are booked."""


@dataclass(slots=True)
class Intent:
    """One order to the broker: written down before it is sent, and what has become of it.

    Attributes
    ----------
    client_order_id : str
    uids : tuple of int
        The orders of the book it carries out: one, or a stop and a target.
    request : OrderRequest
    purpose : str
    attempt : int
    bar : str
        Label of the bar at whose close it was decided.
    adds_risk : bool
    """

    client_order_id: str
    uids: tuple[int, ...]
    request: OrderRequest
    purpose: Purpose
    attempt: int
    bar: str
    adds_risk: bool
    state: State = "recorded"
    reason: str = ""
    order_id: str = ""
    legs: dict[str, str] = field(default_factory=dict)
    """Order ids of its legs at the broker, by role: "take_profit", "stop_loss"."""

    @property
    def symbol(self) -> str:
        """Of the order."""
        return self.request.symbol

    @property
    def in_flight(self) -> bool:
        """Whether it may have reached the broker without our knowing how it fares there."""
        return self.state in ("sent", "unknown")

    @property
    def values(self) -> tuple[Any, ...]:
        """All that `plain` tells, unchanging."""
        return (*_intent_values(self), *self.legs.items())

    def plain(self) -> dict[str, Any]:
        """As maps, lists, text and numbers."""
        made = {name: getattr(self, name) for name in _INTENT}
        request = {name: getattr(self.request, name) for name in _REQUEST}
        made["request"] = {k: v for k, v in request.items() if v is not None}
        made["uids"], made["legs"] = list(self.uids), dict(self.legs)
        return made

    @classmethod
    def of(cls, values: dict[str, Any]) -> Intent:
        """What `plain` gave."""
        return cls(**{**values, "request": OrderRequest(**values["request"]), "uids": tuple(values["uids"]),
                      "legs": dict(values["legs"])})


@dataclass(slots=True)
class Link:
    """One order at the broker and the order of the book that it carries out.

    ``uid`` is -1 while a bracket's leg waits for its entry to fill.
    """

    order_id: str
    client_order_id: str
    """Of the intent it came with."""
    uid: int
    role: str
    """"entry", "exit", "reduce", "take_profit" or "stop_loss"."""
    status: str = "new"
    qty: float | None = None
    type: str = ""
    price: float | None = None
    """Its limit or stop price at the broker."""
    filled: float = 0.0
    """Shares booked."""
    parts: list[list[float]] = field(default_factory=list)
    """Which shares those are, and their price: (after, up to, dollars)."""
    reported: float = 0.0
    """Shares the broker says are filled; more than `filled` until the fills have been read."""
    expires: str = ""
    cancel_asked: bool = False
    paired: bool = False
    """Whether it came as a target or stop beside the other."""
    over: bool = False
    """The broker says that it has ended, and every fill is booked."""

    @property
    def ended(self) -> bool:
        """Whether the broker has said that it has ended."""
        return self.status in _ENDED

    @property
    def values(self) -> tuple[Any, ...]:
        """All that `plain` tells, unchanging."""
        return (*_link_values(self), *map(tuple, self.parts))

    def plain(self) -> dict[str, Any]:
        """As maps, lists, text and numbers."""
        return {name: getattr(self, name) for name in _LINK} | {"parts": [list(part) for part in self.parts]}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Link:
        """What `plain` gave."""
        return cls(**{**values, "parts": [list(part) for part in values["parts"]]})


_LINK = tuple(one.name for one in fields(Link))
_INTENT = tuple(one.name for one in fields(Intent))
_REQUEST = tuple(one.name for one in fields(OrderRequest))
_link_values = attrgetter(*(name for name in _LINK if name != "parts"))
_intent_values = attrgetter(*(name for name in _INTENT if name != "legs"))
