"""What a broker must offer. The records it answers with are in `order_records`, `account_records`, `market_records`
and `event_records`; all can be had from here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pandas as pd

from botlib.brokers.account_records import (
    AccountInfo,
    Activity,
    ActivityKind,
    ActivityPage,
    Portfolio,
    Position,
)
from botlib.brokers.event_records import BarEvent, StreamProblem, TradeEvent
from botlib.brokers.market_records import Asset, MarketClock, MarketSession
from botlib.brokers.order_records import (
    ENDED,
    WORKING,
    Fill,
    OpenOrder,
    OrderRejection,
    OrderResult,
    Side,
    UnknownOrder,
)

if TYPE_CHECKING:
    from botlib.alpaca_rules import OrderRequest

__all__ = ["ENDED", "WORKING", "AccountInfo", "Activity", "ActivityKind", "ActivityPage", "Asset", "BarEvent", "Broker",
           "Capabilities", "EventStream", "Fill", "MarketClock", "MarketSession", "OpenOrder", "OrderRejection",
           "OrderResult", "Portfolio", "Position", "Side", "StreamProblem", "TradeEvent", "UnknownOrder"]


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
class EventStream(Protocol):
    """Events as they happen, from threads of its own. What it missed it asks for, so that each fill comes once."""

    problems: list[StreamProblem]
    """The last hundred."""
    connections: int
    """How often it has connected: from the second on there were gaps."""
    handler_errors: int
    missed: int
    """How many events the broker had that the stream had not brought."""

    def start(self, timeout: float = 10.0) -> bool:
        """Connect and go on in the background; whether it was connected within ``timeout`` seconds (it goes on)."""
        ...

    def stop(self, timeout: float = 5.0) -> bool:
        """End; whether it was gone within ``timeout`` seconds. No handler is called afterwards."""
        ...

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended."""
        ...

    @property
    def connected(self) -> bool:
        """Whether it is open and nothing from before is missing."""
        ...

    @property
    def silence(self) -> float:
        """Seconds since the last message, or since the broker last said that nothing is missing."""
        ...


@runtime_checkable
class Broker(Protocol):
    """Orders, the account and the market's hours.

    **Reads** either tell or raise `botlib.errors.BrokerError`: `BrokerUnavailable` when there is no answer to rely on,
    `BrokerRefusal` when the broker says no (wrong keys). An outage never reads as flat, as zero or as "no such order".

    **What changes something** (submit_order, submit_orders, replace, cancel, close_position) never raises for what the
    broker does: its no is an `OrderRejection`, an answer that cannot be relied on an `UnknownOrder`. Each is sent once.

    Input that no broker could answer (a time without a time zone, an empty id) is an `InputError`. All methods may be
    called from several threads.
    """

    name: str
    capabilities: Capabilities

    # -- orders

    def submit_order(self, order: OrderRequest) -> OrderResult:
        """Send one order, once. Without a client order id it gets one.

        An id that the broker has already means that the order exists: it is looked up, compared and adopted, so
        that giving the same request with the same id again doubles nothing; with another id it may.
        """
        ...

    def submit_orders(self, orders: Sequence[OrderRequest], *, at_once: int = 8) -> list[OrderResult]:
        """Send several, ``at_once`` of them together (1: one after the other); results in the order given."""
        ...

    def replace(self, order_id: str, *, qty: float | None = None, limit_price: float | None = None,
                stop_price: float | None = None, trail: float | None = None, time_in_force: str | None = None,
                client_order_id: str | None = None) -> OrderResult:
        """Change a working order; the result is the order that takes its place, with ``client_order_id`` as ours.

        ``qty`` is the whole order's, what is filled included. A rejection leaves the order as it was. The same call
        with the same id may be made again: a change that was made already is found.
        """
        ...

    def cancel(self, order_id: str) -> OrderRejection | UnknownOrder | None:
        """Ask for cancellation; None: the broker took the request. It may fill until its status says that it is over.

        Cancelling again does no harm.
        """
        ...

    def await_end(self, order_id: str, *, timeout: float = 10.0, every: float = 0.25) -> OpenOrder | None:
        """Read an order until it is over or ``timeout`` seconds have passed; the order as last read, None without one.
        """
        ...

    def close_position(self, symbol: str, *, qty: float | None = None,
                       client_order_id: str | None = None) -> OrderResult:
        """A market order against a position, all of it unless ``qty``; it never opens the other side."""
        ...

    def prepare(self, symbols: Iterable[str]) -> None:
        """Read what `submit_order` checks orders in these symbols against, so that none waits for it. Never raises."""
        ...

    # -- looking orders up

    def get_order(self, order_id: str) -> OpenOrder | None:
        """One order in any state, with its legs, by the broker's id. None: the broker says that there is none."""
        ...

    def order_by_client_id(self, client_order_id: str) -> OpenOrder | None:
        """One order in any state, by our id. None: the broker says that there is none (now: it may still arrive).

        A replaced order keeps its id and names its successor in ``replaced_by``.
        """
        ...

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """All orders that may still trade, legs included (held ones too), oldest first, each leg with ``parent_id``."""
        ...

    def orders(self, since: pd.Timestamp | None = None, *, prefix: str = "") -> tuple[OpenOrder, ...]:
        """All orders in any state submitted from ``since`` on (that instant included), legs included, oldest first.

        With ``prefix`` those whose client order id begins so, and their legs, whose ids the broker makes up.
        """
        ...

    # -- the account

    def get_positions(self) -> tuple[Position, ...]:
        """All positions, by symbol."""
        ...

    def get_account_info(self) -> AccountInfo:
        """The account now."""
        ...

    def portfolio(self) -> Portfolio:
        """Account, positions and open orders, read in an order that may show a fill twice and never not at all."""
        ...

    def fills(self, since: pd.Timestamp | None = None) -> tuple[Fill, ...]:
        """All executions from ``since`` on (that instant included), oldest first, each key once."""
        ...

    def activities(self, since: pd.Timestamp | None = None) -> tuple[Activity, ...]:
        """What moved cash or shares beside fills and was listed from ``since`` on, by time."""
        ...

    def activity_page(self, cursor: str = "", *, since: pd.Timestamp | None = None) -> ActivityPage:
        """Fills and activities after a cursor: "" for all there ever were, or all from ``since`` on.

        Begin once with ``since``, then hand over the last page's cursor. Entries may come again, none is left out.
        """
        ...

    # -- the market

    def clock(self) -> MarketClock:
        """The exchange's clock, and how far the broker's is from the one here."""
        ...

    def calendar(self, start: dt.date | str, end: dt.date | str) -> tuple[MarketSession, ...]:
        """The sessions from ``start`` to ``end``, both included, in order; a day without one is not listed."""
        ...

    def get_asset(self, symbol: str) -> Asset | None:
        """What may be done with a symbol now. None: the broker does not know it."""
        ...

    # -- streams

    def trade_stream(self, on_event: Callable[[TradeEvent], object], *,
                     on_problem: Callable[[StreamProblem], object] | None = None, since: pd.Timestamp | None = None,
                     heartbeat: float = 30.0) -> EventStream:
        """Updates of all orders of the account, not started yet; ``since``: with the fills from then on."""
        ...

    def bar_stream(self, symbols: Sequence[str], on_event: Callable[[BarEvent], object], *, interval: str = "1m",
                   on_problem: Callable[[StreamProblem], object] | None = None, since: pd.Timestamp | None = None,
                   heartbeat: float = 90.0) -> EventStream:
        """Bars of some symbols as they become final, and their corrections; not started yet."""
        ...

    def close(self) -> None:
        """Give connections back; idempotent."""
        ...
