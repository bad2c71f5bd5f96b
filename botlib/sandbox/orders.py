"""What the exchange keeps and says: orders, positions, activities, updates and refusals. Plain records.

Times are integers, UTC nanoseconds; 0 means never. Prices and quantities are floats, sides +1 (buy) and -1 (sell);
`wire` writes them the way Alpaca does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from botlib import rules
from botlib.alpaca_rules import Violation

OrderType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
OrderClass = Literal["simple", "bracket", "oco", "oto"]
GroupRole = Literal["", "entry", "take_profit", "stop_loss"]
Status = Literal["accepted", "pending_new", "new", "partially_filled", "filled", "done_for_day", "canceled", "expired",
                 "replaced", "pending_cancel", "pending_replace", "held", "rejected", "suspended", "stopped"]

OPEN: frozenset[str] = frozenset({"accepted", "pending_new", "new", "partially_filled", "pending_cancel",
                                  "pending_replace", "held", "done_for_day", "suspended", "stopped"})
"""Statuses of orders that may still trade."""


@dataclass(slots=True, kw_only=True)
class Order:
    """One order; the legs of a bracket, OCO or OTO are orders of their own, linked by ``legs`` and ``parent``."""

    id: str
    client_order_id: str
    symbol: str
    side: int
    type: OrderType
    time_in_force: TimeInForce
    seq: int
    """Rises with every order: the order of submission."""
    first_bar: int = 0
    """The first bar it can meet."""
    qty: float | None = None
    """Shares; None while a notional order is not filled."""
    notional: float | None = None
    order_class: OrderClass = "simple"
    limit_price: float | None = None
    stop_price: float | None = None
    trail_price: float | None = None
    trail_percent: float | None = None
    hwm: float | None = None
    extended_hours: bool = False
    position_intent: str = ""
    status: Status = "pending_new"
    filled_qty: float = 0.0
    filled_value: float = 0.0
    """Sum of quantity times price of the fills: the average is this by ``filled_qty``."""
    created_at: int = 0
    submitted_at: int = 0
    updated_at: int = 0
    filled_at: int = 0
    expires_at: int = 0
    expired_at: int = 0
    canceled_at: int = 0
    failed_at: int = 0
    replaced_at: int = 0
    cancel_requested_at: int = 0
    replaced_by: str | None = None
    replaces: str | None = None
    legs: list[Order] = field(default_factory=list)
    parent: Order | None = None
    group_id: str | None = None
    group_role: GroupRole = ""
    triggered: bool = False
    """A stop that has become a limit or market order."""
    cap: float = 0.0
    """The limit that a stop order has on top: its own, or the one Alpaca adds to a buy stop; 0 is none."""
    reserved: float = 0.0
    """Buying power it holds until it is executed."""

    @property
    def open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN

    @property
    def left(self) -> float:
        """Shares not yet filled."""
        return 0.0 if self.qty is None else self.qty - self.filled_qty

    @property
    def closes(self) -> bool:
        """Whether it was placed to close a position: it never opens one."""
        return self.position_intent.endswith("_to_close")

    def shares(self, price: float) -> float:
        """Shares still to trade; a notional order's follow from ``price`` until its first fill."""
        return rules.round_quantity((self.notional or 0.0) / price, True) if self.qty is None else self.left

    @property
    def filled_avg_price(self) -> float | None:
        """Dollars; None before the first fill."""
        return self.filled_value / self.filled_qty if self.filled_qty > 0.0 else None


_NAMES = tuple(f.name for f in fields(Order))


def copied(order: Order) -> Order:
    """An order as it is now, legs included."""
    made = object.__new__(Order)
    for name in _NAMES:  # a third of the time of copy.copy
        setattr(made, name, getattr(order, name))
    made.legs = [copied(leg) for leg in order.legs]
    return made


@dataclass(slots=True, kw_only=True)
class Position:
    """Shares held of one symbol; ``qty`` is signed and never 0."""

    symbol: str
    qty: float
    avg_entry_price: float
    lastday_qty: float = 0.0
    """Signed shares at the previous session's close."""
    lastday_price: float = 0.0
    """The previous session's close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What moved cash or shares: fills, fees, dividends, splits, interest, deposits."""

    id: str
    """``YYYYMMDDHHMMSSmmm::uuid`` in New York time, as Alpaca's."""
    type: str
    """"FILL", "FEE", "DIV", "INT", "SPLIT", "CSD" (deposit), "CSW" (withdrawal), …"""
    time: int
    symbol: str = ""
    qty: float = 0.0
    price: float = 0.0
    net_amount: float = 0.0
    side: int = 0
    order_id: str = ""
    cum_qty: float = 0.0
    leaves_qty: float = 0.0
    partial: bool = False
    sub_type: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """One message of the trade_updates stream, in the order in which things happened."""

    event: str
    """"accepted", "pending_new", "new", "fill", "partial_fill", "canceled", "expired", "replaced", "rejected",
    "pending_cancel", "held", … as Alpaca names them."""
    order: Order
    """A copy, as the order was then."""
    time: int
    execution_id: str
    price: float | None = None
    qty: float | None = None
    position_qty: float | None = None


class Refusal(Exception):
    """The exchange says no, in Alpaca's words: HTTP status, numeric code (None: none), message, and further fields.

    ``rule`` and ``advice`` are ours: the name of what was broken, and what to do about it ("": nothing to say).
    """

    def __init__(self, status: int, code: int | None, message: str, rule: str = "", *, advice: str = "",
                 **fields: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.rule, self.fields = status, code, message, rule, fields
        self.advice = advice

    @classmethod
    def of(cls, broken: Violation) -> Refusal:
        """A broken rule as the exchange raises it."""
        return cls(broken.status, broken.code, broken.message, broken.rule, advice=broken.advice, **broken.fields)

    def __repr__(self) -> str:
        return f"Refusal({self.status}, {self.code}, {self.message!r})"
