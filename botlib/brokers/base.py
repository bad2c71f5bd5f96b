"""What a broker must offer, and the records it answers with: frozen, no behaviour beyond arithmetic on themselves.

Times are tz-aware (UTC) pandas timestamps. Quantities are shares, prices and money dollars, both float64; the adapters
send them as exact decimal text. ``None`` is "the broker did not say", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import pandas as pd

if TYPE_CHECKING:
    from botlib.alpaca_rules import OrderRequest

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

    ``by`` is "preflight" (never sent), "broker", or "client" (not sent for a reason of ours). ``str()`` gives the
    sentence for a person.
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
        where = ", ".join(str(part) for part in (self.status and f"HTTP {self.status}", self.code, self.rule) if part)
        asked = f" ({self.what})" if self.what else ""
        words = self.message.rstrip(".")
        return f"Order submission failed{asked}: {words} [{where}]. {self.advice}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOrder:
    """Nobody can say whether the broker has this: it counts as exposure until found out. Never resend it blindly."""

    symbol: str
    client_order_id: str
    reason: str
    """Why the answer could not be relied on: "timeout", "reset", "server-error", "html", "malformed", …"""
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
        look = f" Look up client_order_id {self.client_order_id!r} first." if self.client_order_id else ""
        return f"Outcome unknown{asked}: {self.message.rstrip('.')}.{look}"


OrderResult = Fill | OpenOrder | OrderRejection | UnknownOrder
"""What became of an order: ended with shares, works, ended without any, or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Shares held of one symbol. ``qty`` is signed: below 0 is short."""

    symbol: str
    qty: float
    avg_entry_price: float
    market_value: float | None = None
    """Signed; None when the broker has no price."""
    unrealized_pl: float | None = None
    current_price: float | None = None
    cost_basis: float | None = None
    available_qty: float | None = None
    """Shares no order holds; signed as ``qty``."""
    lastday_price: float | None = None

    @property
    def side(self) -> Literal["long", "short"]:
        """"long" or "short"."""
        return "long" if self.qty > 0.0 else "short"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """The account's money and permissions, dollars."""

    account_id: str
    account_number: str
    status: str
    currency: str
    cash: float
    equity: float
    last_equity: float
    """Equity at the previous session's close."""
    buying_power: float
    long_market_value: float
    short_market_value: float
    initial_margin: float
    maintenance_margin: float
    multiplier: float
    shorting_enabled: bool
    trading_blocked: bool
    account_blocked: bool
    trade_suspended_by_user: bool
    created_at: pd.Timestamp | None = None

    @property
    def blocked(self) -> str:
        """Why no order may be sent; "" when one may."""
        if self.status.upper() != "ACTIVE":
            return f"the account's status is {self.status}, not ACTIVE"
        for flag in ("account_blocked", "trading_blocked", "trade_suspended_by_user"):
            if getattr(self, flag):
                return f"the account says {flag}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Account, positions and open orders, read one after the other.

    Orders are read before positions: a fill in between then shows twice (too much exposure) and never not at all.
    """

    account: AccountInfo
    positions: tuple[Position, ...]
    open_orders: tuple[OpenOrder, ...]
    time: pd.Timestamp
    """When the reading began."""

    def position(self, symbol: str) -> Position | None:
        """The position in a symbol, None when flat."""
        return next((p for p in self.positions if p.symbol == symbol), None)

    def to_frame(self) -> pd.DataFrame:
        """Positions as a table, a row a symbol."""
        columns = ["qty", "avg_entry_price", "current_price", "market_value", "unrealized_pl", "available_qty"]
        rows = {p.symbol: [getattr(p, c) for c in columns] for p in self.positions}
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype("float64").rename_axis("symbol")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What moved cash or shares beside fills: dividends, splits, fees, interest, deposits."""

    activity_id: str
    type: str
    """The broker's name, e.g. "DIV", "SPLIT", "FEE", "INT", "CSD"."""
    time: pd.Timestamp
    symbol: str = ""
    qty: float | None = None
    price: float | None = None
    net_amount: float | None = None
    description: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketClock:
    """The exchange's clock as the broker tells it."""

    time: pd.Timestamp
    is_open: bool
    next_open: pd.Timestamp
    next_close: pd.Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a broker takes. What is not named here is refused before it is sent."""

    order_types: frozenset[str]
    time_in_force: frozenset[str]
    order_classes: frozenset[str]
    fractional: bool = False
    notional: bool = False
    shorting: bool = False
    extended_hours: bool = False
    replace: bool = False
    trade_stream: bool = False
    bar_stream: bool = False


@runtime_checkable
class Broker(Protocol):
    """Orders and the account.

    Reads raise `botlib.errors.BrokerUnavailable` when there is no answer to rely on: an outage never reads as flat or
    as zero. What changes something never raises for the broker's no (`OrderRejection`) nor for an answer that cannot be
    relied on (`UnknownOrder`).
    """

    name: str
    capabilities: Capabilities

    def submit_order(self, order: OrderRequest) -> OrderResult:
        """Send one order, once. Without a client order id it gets one."""
        ...

    def submit_orders(self, orders: Sequence[OrderRequest]) -> list[OrderResult]:
        """Send several at the same time, in no particular order; results in the order given."""
        ...

    def replace(self, order_id: str, *, qty: float | None = None, limit_price: float | None = None,
                stop_price: float | None = None, trail: float | None = None, time_in_force: str | None = None,
                client_order_id: str | None = None) -> OrderResult:
        """Change a working order; the result is the order that takes its place."""
        ...

    def cancel(self, order_id: str) -> OrderRejection | UnknownOrder | None:
        """Ask for cancellation; None: the broker took the request. It is over when the order's status says so."""
        ...

    def close_position(self, symbol: str, *, qty: float | None = None,
                       client_order_id: str | None = None) -> OrderResult:
        """A market order against a position, all of it unless ``qty``; it never opens the other side."""
        ...

    def get_order(self, order_id: str) -> OpenOrder | None:
        """One order in any state; None: there is none."""
        ...

    def find_order(self, client_order_id: str) -> OpenOrder | None:
        """One order in any state, by our id; None: there is none."""
        ...

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """All orders that may still trade, legs included (held ones too), oldest first."""
        ...

    def get_positions(self) -> tuple[Position, ...]:
        """All positions, by symbol."""
        ...

    def get_account_info(self) -> AccountInfo:
        """The account now."""
        ...

    def portfolio(self) -> Portfolio:
        """Account, positions and open orders."""
        ...

    def fills(self, since: pd.Timestamp | None = None) -> tuple[Fill, ...]:
        """All executions from ``since`` on (that instant included), oldest first, each once."""
        ...

    def clock(self) -> MarketClock:
        """The exchange's clock."""
        ...

    def close(self) -> None:
        """Give connections back; idempotent."""
        ...
