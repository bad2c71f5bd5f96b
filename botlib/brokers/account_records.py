"""What a broker says of the account: money, positions, and what moved cash or shares.

Frozen. Times, quantities and money as in `botlib.brokers.order_records`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from botlib.brokers.order_records import Fill, OpenOrder

ActivityKind = Literal["dividend", "interest", "fee", "transfer", "split", "reorganization", "other"]
"""What an activity is to an account's books, whatever the broker calls it.

"dividend" and "interest" are income and what is withheld of it, "fee" what broker and exchanges charge, "transfer" what
was paid in or out (cash or shares), "split" a changed number of shares, "reorganization" another corporate action.
"""


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
    """What moved cash or shares beside fills: dividends, splits, fees, interest, transfers."""

    activity_id: str
    """Unique in the account: what tells one that comes again."""
    type: str
    """The broker's name, e.g. "DIV", "SPLIT", "FEE", "INT", "CSD"."""
    time: pd.Timestamp
    """When it happened, else when it was listed, else midnight UTC of its day."""
    kind: ActivityKind = "other"
    sub_type: str = ""
    symbol: str = ""
    qty: float | None = None
    """Shares: what a split or a transfer added (below 0: took away), or what a dividend was paid on."""
    price: float | None = None
    net_amount: float | None = None
    """Dollars that came in; below 0: went out."""
    description: str = ""
    status: str = ""
    """"executed", "correct" (it replaces one that was wrong) or "canceled" (it never was)."""
    created_at: pd.Timestamp | None = None
    """When the broker listed it: fees and dividends come hours or days after their day."""
    day: dt.date | None = None
    """The day it counts for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPage:
    """All that moved cash or shares since a cursor, and the cursor for the next time.

    What comes late is not lost: the next page reaches back a little, so that a fill or an activity may come again. Keep
    fills by their ``key`` and activities by their ``activity_id``.
    """

    fills: tuple[Fill, ...]
    """Oldest first."""
    activities: tuple[Activity, ...]
    """By time."""
    cursor: str
    """Opaque text, to be kept beside what it stands for and handed to `Broker.activity_page` as it is."""
