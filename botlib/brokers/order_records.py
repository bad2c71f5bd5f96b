"""What a broker says of orders: as they stand, what they filled, and what became of one that was sent.

Frozen, no behaviour beyond arithmetic on themselves. Times are tz-aware (UTC) pandas timestamps, quantities shares,
prices and money dollars, both float64. ``None`` is "the broker did not say", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Side = Literal["buy", "sell"]

WORKING = frozenset({"accepted", "accepted_for_bidding", "calculated", "done_for_day", "held", "new",
                     "partially_filled", "pending_cancel", "pending_new", "pending_replace", "pending_review",
                     "stopped", "suspended"})
"""Statuses of orders that may still trade; what is not known to be over counts as working."""
ENDED = frozenset({"canceled", "expired", "filled", "rejected", "replaced"})
"""Statuses after which an order never trades again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Shares that changed hands under one order.

    A fill covers the shares of its order after ``cum_qty - qty`` up to ``cum_qty`` (`covers`). `Broker.fills` and the
    streams give one for each execution. `Broker.submit_order` may find an order that has ended: its fill covers all
    shares at their average price, so a ledger that holds parts of it already must look at `covers`, not at `key`.
    """

    order_id: str
    symbol: str
    side: Side
    qty: float
    price: float
    cum_qty: float
    """Shares of the order filled up to and including this fill."""
    time: pd.Timestamp
    client_order_id: str = ""
    """"" where the source does not tell (Alpaca's activities)."""
    leaves_qty: float | None = None
    """Shares of the order left to fill."""
    activity_id: str = ""
    status: str = ""
    """The order's status then, where told."""

    @property
    def key(self) -> tuple[str, float]:
        """What identifies an execution: (order id, cumulative filled quantity)."""
        return self.order_id, self.cum_qty

    @property
    def covers(self) -> tuple[float, float]:
        """The shares of the order, as (after, up to)."""
        return round(self.cum_qty - self.qty, 9), self.cum_qty


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order as the broker has it. `Broker.open_orders` gives those that may still trade, `Broker.get_order` any."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    type: str
    time_in_force: str
    status: str
    order_class: str = "simple"
    qty: float | None = None
    """Shares; None while a notional order is not filled."""
    notional: float | None = None
    filled_qty: float = 0.0
    filled_avg_price: float | None = None
    limit_price: float | None = None
    stop_price: float | None = None
    trail_price: float | None = None
    trail_percent: float | None = None
    extended_hours: bool = False
    position_intent: str = ""
    submitted_at: pd.Timestamp | None = None
    updated_at: pd.Timestamp | None = None
    filled_at: pd.Timestamp | None = None
    expires_at: pd.Timestamp | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    group_id: str | None = None
    group_role: str = ""
    """"entry", "take_profit", "stop_loss", or "" where the broker does not tell."""
    parent_id: str | None = None
    """Order id of the entry (or of the OCO's first order) that this leg belongs to, where known."""
    legs: tuple[OpenOrder, ...] = ()

    @property
    def working(self) -> bool:
        """Whether it may still trade. A status that nobody knows counts as working."""
        return self.status not in ENDED

    @property
    def left_qty(self) -> float | None:
        """Shares not yet filled; None for a notional order without a quantity."""
        return None if self.qty is None else round(self.qty - self.filled_qty, 9)

    def flat(self) -> tuple[OpenOrder, ...]:
        """This order and its legs."""
        return (self, *(inner for leg in self.legs for inner in leg.flat()))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRejection:
    """A definite no: no share was traded and nothing of this order works at the broker.

    With the rule "duplicate-client-order-id" another order (``order_id``) has its id.

    ``by`` is "preflight" (checked here, never sent), "broker", or "client" (not sent for a reason of ours). ``str()``
    gives the sentence for a person.
    """

    symbol: str
    client_order_id: str
    rule: str
    """Stable kebab-case name of what was broken."""
    message: str
    """The broker's own words, or those it would use."""
    by: Literal["preflight", "broker", "client"] = "broker"
    status: int | None = None
    """HTTP status."""
    code: int | None = None
    """The broker's numeric code."""
    advice: str = ""
    """Likely causes and what to do."""
    what: str = ""
    """What was asked, e.g. "buy 10 AAPL"."""
    order_id: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further facts of the refusal, e.g. buying_power, held_for_orders, existing_order_id."""

    def __str__(self) -> str:
        sent = self.by == "broker"  # status and code of what was never sent are those it would have had
        parts = ((self.status and f"HTTP {self.status}", self.code, self.rule) if sent
                 else (self.rule, "nothing was sent"))
        asked = f" ({self.what})" if self.what else ""
        failed = _FAILED.get(self.what.split(" ")[0], "Order submission failed")
        words = self.message.rstrip(".")
        return f"{failed}{asked}: {words} [{', '.join(str(part) for part in parts if part)}]. {self.advice}".rstrip()


_FAILED = {"cancel": "Cancelling an order failed", "replace": "Replacing an order failed",
           "close": "Closing a position failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOrder:
    """Nobody can say whether the broker has this: it counts as exposure until found out. Never resend it blindly.

    With ``sent`` False it is known: no connection was made, nothing was sent.
    """

    symbol: str
    client_order_id: str
    reason: str
    """Why the answer could not be relied on: "timeout", "reset", "server-error", "html", "malformed", "duplicate" (the
    broker has the client order id and does not show the order), …"""
    message: str
    sent: bool = True
    """False: no connection was made, so it cannot have arrived."""
    lookups: int = 0
    """How many times it was looked up by its client order id."""
    absent: int = 0
    """How many of these lookups said that there is no such order; that it appears later is still possible."""
    order_id: str = ""
    what: str = ""

    def __str__(self) -> str:
        asked = f" ({self.what})" if self.what else ""
        named = bool(self.client_order_id)
        words = self.message if self.message.endswith((".", "?")) else f"{self.message}."
        if not self.sent:
            return f"Nothing was sent{asked}: {words}{' It may be sent again.' * named}"
        look = f" Look up client_order_id {self.client_order_id!r} first." * named
        return f"Outcome unknown{asked}: {words}{look}"


OrderResult = Fill | OpenOrder | OrderRejection | UnknownOrder
"""What became of an order: ended with shares, works, ended without any, or not known."""
