"""What to ask of the broker now: the book's working orders are what should be there, the links are what is. Pure.

The same comparison sends a decision, re-protects what a crash left bare, renews what would end, and corrects what a
split left wrong. Cancels come first; what waits for one is planned again when it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from botlib import rules
from botlib.engine.state import ENTRY, PURPOSES, STOP_LEG, TARGET_LEG, WORKING
from botlib.order_request import OrderRequest
from botlib.session.core import LEGS, SessionCore, bar_label, side_word
from botlib.session.links import Intent, Link

RENEW_DAYS = 10
"""Protection that ends within so many days is cancelled and sent anew (good-till-cancelled ends after 90)."""

MAX_ATTEMPTS = 5
"""Of one order of the book without a new decision; then a person is needed."""

_TYPES = ("market", "limit", "stop")
_DUST = 1e-9


@dataclass(slots=True)
class Plan:
    """What to do now.

    Attributes
    ----------
    cancels : list of Link
        One of each group.
    exits, protections, entries : lists of Intent
        New orders, to be sent in this order.
    waiting : set of str
        Symbols whose cancels or fills have to come first.
    stuck : list of int
        Orders of the book that were tried too often.
    """

    cancels: list[Link] = field(default_factory=list)
    exits: list[Intent] = field(default_factory=list)
    protections: list[Intent] = field(default_factory=list)
    entries: list[Intent] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    stuck: list[int] = field(default_factory=list)

    @property
    def submits(self) -> list[Intent]:
        """All new orders, in order."""
        return [*self.exits, *self.protections, *self.entries]

    def __bool__(self) -> bool:
        return bool(self.cancels or self.exits or self.protections or self.entries)


def plan(core: SessionCore, now: pd.Timestamp) -> Plan:
    """Compare the book with the broker."""
    made = Plan()
    _cancels(core, now, made)
    orders = core.book.rows("orders")
    rows = np.flatnonzero(orders["status"] == WORKING).tolist()
    legs: dict[int, list[int]] = {}
    others = []
    for row in rows:
        uid = core.uids[row]
        if uid in core.working or core.bars.symbols[orders["symbol"][row]] in made.waiting:
            continue
        if core.attempt(uid) > MAX_ATTEMPTS:
            made.stuck.append(uid)
        elif orders["purpose"][row] in LEGS:
            legs.setdefault(int(orders["lot"][row]), []).append(row)
        else:
            others.append(row)
    for pair in legs.values():
        made.protections.append(_protection(core, pair))
    count: dict[tuple[str, str], int] = {}
    for row in others:
        intent = _order(core, row, count)
        (made.entries if intent.adds_risk else made.exits).append(intent)
    return made


def _cancels(core: SessionCore, now: pd.Timestamp, made: Plan) -> None:
    asked: set[str] = set()
    for link in core.links.values():
        symbol = _symbol(core, link)
        if link.over:
            continue
        if link.reported > link.filled + _DUST:
            made.waiting.add(symbol)
            continue
        if link.cancel_asked:
            made.waiting.add(symbol)
        elif _unwanted(core, link) or _wrong(core, link) or _ends_soon(link, now):
            made.waiting.add(symbol)
            if link.client_order_id not in asked:
                asked.add(link.client_order_id)
                made.cancels.append(link)
    for intent in core.intents.values():
        if intent.in_flight:
            made.waiting.add(intent.symbol)


def _symbol(core: SessionCore, link: Link) -> str:
    intent = core.intents.get(link.client_order_id)
    if intent is not None:
        return intent.symbol
    record = core.order_row(link.uid)
    return "" if record is None else core.bars.symbols[record["symbol"]]


def _unwanted(core: SessionCore, link: Link) -> bool:
    """The book has ended what this order carries out. Legs that wait for their entry go with it."""
    if link.uid < 0:
        return False
    record = core.order_row(link.uid)
    return record is None or record["status"] != WORKING


def _wrong(core: SessionCore, link: Link) -> bool:
    """A leg whose price or quantity is not the book's: a split that the broker has not followed, or not so."""
    record = core.order_row(link.uid) if link.uid >= 0 else None
    if record is None or record["purpose"] not in LEGS or record["kind"] == rules.MARKET or link.qty is None:
        return False
    left = float(record["quantity"])
    price = float(record["stop"] if record["purpose"] == STOP_LEG else record["limit"])
    return abs(link.qty - link.filled - left) > _DUST or (link.price is not None and abs(link.price - price) > 1e-6)


def _ends_soon(link: Link, now: pd.Timestamp) -> bool:
    if link.role not in ("take_profit", "stop_loss") or not link.expires or link.uid < 0:
        return False
    return bool(pd.Timestamp(link.expires) <= now + pd.Timedelta(days=RENEW_DAYS))


def _protection(core: SessionCore, rows: list[int]) -> Intent:
    """One lot's legs: an OCO pair, the one leg there is, or the way out at the market when the price has passed it."""
    by_purpose: dict[int, Any] = {int(core.book.orders["purpose"][row]): core.book.orders[row] for row in rows}
    rows = sorted(rows, key=lambda row: -int(core.book.orders["purpose"][row]))  # the target is the OCO's first order
    first = core.book.orders[rows[0]]
    symbol = core.bars.symbols[first["symbol"]]
    base = {"symbol": symbol, "side": side_word(first["side"]), "qty": float(first["quantity"])}
    lot = core.book.lots[int(first["lot"])]
    if first["kind"] == rules.MARKET:
        fields: dict[str, Any] = {"type": "market", "time_in_force": "day"}
    elif len(by_purpose) == 2 and not lot["triggered"]:
        fields = {"type": "limit", "order_class": "oco", "time_in_force": "gtc",
                  "take_profit": float(by_purpose[TARGET_LEG]["limit"]),
                  "stop_loss": float(by_purpose[STOP_LEG]["stop"])}
    elif STOP_LEG in by_purpose and lot["triggered"] and lot["cap"] > 0.0:  # a capped stop the price has left behind
        fields = {"type": "limit", "time_in_force": "gtc", "limit_price": float(lot["cap"])}
    elif STOP_LEG in by_purpose:
        fields = {"type": "stop", "time_in_force": "gtc", "stop_price": float(by_purpose[STOP_LEG]["stop"])}
    else:
        fields = {"type": "limit", "time_in_force": "gtc", "limit_price": float(by_purpose[TARGET_LEG]["limit"])}
    uids = tuple(core.uids[row] for row in rows)
    return _intent(core, uids, symbol, f"protect{min(uids)}", "protect", base | fields)


def _order(core: SessionCore, row: int, count: dict[tuple[str, str], int]) -> Intent:
    o = core.book.orders[row]
    symbol, purpose = core.bars.symbols[o["symbol"]], PURPOSES[o["purpose"]]
    kind = _TYPES[o["kind"]]
    fields: dict[str, Any] = {"symbol": symbol, "side": side_word(o["side"]), "type": kind,
                              "qty": float(o["quantity"] - o["filled"]), "time_in_force": "day"}
    if kind == "limit":
        fields["limit_price"] = float(o["limit"])
    if kind == "stop":
        fields["stop_price"] = float(o["stop"])
    if o["purpose"] == ENTRY:
        legs = {name: float(o[name]) for name in ("stop_loss", "take_profit") if not np.isnan(o[name])}
        fields |= legs
        fields["order_class"] = ("simple", "oto", "bracket")[len(legs)]
        fields["time_in_force"] = "gtc" if legs else "day"
    n = count[symbol, purpose] = count.get((symbol, purpose), 0) + 1
    leg = purpose if n == 1 else f"{purpose}{n}"
    return _intent(core, (core.uids[row],), symbol, leg, purpose, fields)


def _intent(core: SessionCore, uids: tuple[int, ...], symbol: str, leg: str, purpose: Any,
            fields: dict[str, Any]) -> Intent:
    attempt = max(core.attempt(uid) for uid in uids)
    bar = bar_label(core.bars.index[-1])
    name = core.identity.client_order_id(symbol, bar, leg, attempt)
    return Intent(client_order_id=name, uids=uids, request=OrderRequest(**fields, client_order_id=name),
                  purpose=purpose, attempt=attempt, bar=bar, adds_risk=purpose == "entry")


def late(intents: Iterable[Intent], bar: str) -> list[Intent]:
    """Those of a decision on another bar than ``bar``: what was not sent then is not sent now."""
    return [intent for intent in intents if intent.purpose != "protect" and intent.bar != bar]
