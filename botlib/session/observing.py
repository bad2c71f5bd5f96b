"""What the broker says, read once an iteration: orders, then executions and money, then positions and the account.

The order of reading matters: an execution between two reads is then seen twice, never not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from botlib.brokers.base import AccountInfo, Activity, Fill, MarketClock, OpenOrder
from botlib.session.core import SessionCore
from botlib.session.identity import is_ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One reading.

    Attributes
    ----------
    time : pandas.Timestamp
        The broker's clock: for a session it is now.
    clock : MarketClock
    orders : tuple of OpenOrder
        As they are now: all that the session has at the broker, in whatever state, and all other open ones.
    fills, activities : tuples
        New ones, oldest first; some may have been told before.
    positions : dict of str to float
        Signed shares of the whole account.
    account : AccountInfo
    prices : dict of str to float
        Last prices that the broker tells with its positions.
    cursor : str
        From where the next reading goes on, once this one has been written down.
    """

    time: pd.Timestamp
    clock: MarketClock
    orders: tuple[OpenOrder, ...]
    fills: tuple[Fill, ...]
    activities: tuple[Activity, ...]
    positions: dict[str, float]
    account: AccountInfo
    prices: dict[str, float] = field(default_factory=dict)
    cursor: str = ""


def observe(broker: Any, core: SessionCore, cursor: str, since: pd.Timestamp) -> Facts:
    """Read the broker. ``since`` is where activities begin while there is no cursor.

    Raises `BrokerError` when anything cannot be read: half a picture is none.
    """
    clock = broker.clock()
    orders = {one.order_id: one for one in broker.open_orders()}
    for order_id, link in core.links.items():  # what is not open any more has ended somehow
        if order_id not in orders and not link.over:
            found = broker.get_order(order_id)
            if found is not None:
                orders.update({one.order_id: one for one in found.flat()})
    page = broker.activity_page(cursor, since=None if cursor else since)
    positions = broker.get_positions()
    return Facts(
        time=clock.time, clock=clock, orders=tuple(orders.values()), fills=page.fills, activities=page.activities,
        positions={p.symbol: p.qty for p in positions}, account=broker.get_account_info(),
        prices={p.symbol: p.current_price for p in positions if p.current_price is not None}, cursor=page.cursor)


@dataclass(slots=True)
class Others:
    """What is in the account and not of the session's intents."""

    orders: list[OpenOrder]
    """That may still trade."""
    fills: list[Fill]
    """The user's own."""
    unknown: list[str]
    """Client order ids of executions that a session of botlib caused, but not one of this ledger."""

    @property
    def strangers(self) -> list[OpenOrder]:
        """Open orders that a session of botlib sent: two programs trade this account, or the ledger is behind."""
        return [one for one in self.orders if is_ours(one.client_order_id)]


def adopt(broker: Any, core: SessionCore, facts: Facts) -> Others:
    """Link what belongs to the session's own intents; returns the orders and fills that are not the session's.

    An order that was accepted while its answer got lost is found here by its id, with its legs.
    """
    known = {order_id for intent in core.intents.values() for order_id in (intent.order_id, *intent.legs.values())}
    known.update(core.finished)
    for one in facts.orders:
        intent = core.intents.get(one.client_order_id)
        if intent is not None and one.order_id not in core.links and not intent.order_id:
            whole = broker.get_order(one.order_id) or one
            core.acknowledged(intent, whole)
            known.update(part.order_id for part in whole.flat())
    lone = [f for f in facts.fills if f.order_id not in core.links and f.order_id not in known]
    foreign: list[Fill] = []
    unknown: dict[str, None] = {}
    looked_up: dict[str, OpenOrder | None] = {}
    for fill in lone:
        if fill.order_id not in looked_up:
            looked_up[fill.order_id] = broker.get_order(fill.order_id)
        found = looked_up[fill.order_id]
        intent = None if found is None else core.intents.get(found.client_order_id)
        if found is not None and intent is not None and not intent.order_id:
            core.acknowledged(intent, found)
        elif fill.order_id not in core.links:
            if found is not None and is_ours(found.client_order_id):
                unknown[found.client_order_id] = None
            else:
                foreign.append(fill)
    others = [one for one in facts.orders if one.order_id not in core.links and one.working]
    return Others(others, foreign, list(unknown))
