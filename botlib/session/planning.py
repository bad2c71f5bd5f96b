"""What to ask of the broker now: the book's working orders are what should be there, the links are what is. Pure.

The same comparison sends a decision, re-protects what a crash left bare, renews what would end, and corrects what a
split left wrong. Cancels come first; what waits for one is planned again when it is over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from botlib import rules
from botlib.engine.state import ENTRY, PURPOSES, STOP_LEG, TARGET_LEG, WORKING
from botlib.order_request import OrderRequest
from botlib.session.core import LEGS, SessionCore, bar_label, side_word
from botlib.session.links import DUST, Intent, Link

RENEW_DAYS = 10
"""Protection that ends within so many days is cancelled and sent anew (good-till-cancelled ends after 90)."""

MAX_ATTEMPTS = 5
"""Of one order of the book on an exchange date; then a person is needed."""

_TYPES = ("market", "limit", "stop")
_LEG_ROLES = ("take_profit", "stop_loss")


@dataclass(slots=True)
class Plan:
    """What to do now.

    Attributes
    ----------
    cancels : list of Link
        One of each group.
    exits, protections, entries : lists of Intent
        New orders, to be sent in this order. While anything is to be cancelled, entries wait for the next plan.
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


def plan(core: SessionCore, now: pd.Timestamp, doubtful: Collection[str] = (),
         gone: Mapping[str, float] | None = None) -> Plan:
    """Compare the book with the broker.

    Protection of ``doubtful`` symbols is left as it is: book and broker do not agree on their shares, as between the
    night of a split and the broker's booking of it. ``gone``: shares by symbol that the book holds and the account does
    not; exits leave them out, since the broker would refuse the whole.
    """
    core.settle()
    made = Plan()
    _cancels(core, now, made, doubtful)
    orders = core.book.rows("orders")
    rows = np.flatnonzero(orders["status"] == WORKING)
    working = orders[rows]
    legs: dict[int, list[int]] = {}
    others = []
    for row, column, purpose, lot_id in zip(rows.tolist(), working["symbol"].tolist(), working["purpose"].tolist(),
                                            working["lot"].tolist(), strict=True):
        uid, symbol = core.uids[row], core.bars.symbols[column]
        if uid in core.working or uid in core.turned_down or symbol in made.waiting:
            continue
        if core.tries(uid) >= MAX_ATTEMPTS:
            made.stuck.append(uid)
        elif purpose not in LEGS:
            others.append(row)
        elif symbol not in doubtful:
            legs.setdefault(lot_id, []).append(row)
    for lot_id, pair in legs.items():
        lot = core.book.lots[lot_id]
        both = [int(lot[name]) for name in ("stop_order", "target_order") if lot[name] >= 0]
        if not any(core.uids[row] in core.working for row in both):  # the other one still works there
            made.protections.append(_protection(core, pair, lot))
    held = core.positions() if gone else {}
    left = {symbol: abs(held.get(symbol, 0.0)) - shares for symbol, shares in (gone or {}).items()}
    for row in others:
        if made.cancels and orders["purpose"][row] == ENTRY:  # it waits for them
            continue
        symbol = core.bars.symbols[orders["symbol"][row]]
        most = left.get(symbol) if orders["purpose"][row] != ENTRY else None
        if most is not None and most <= DUST:
            continue
        intent = _order(core, row, most)
        if most is not None:
            left[symbol] = most - float(intent.request.qty or 0.0)
        (made.entries if intent.adds_risk else made.exits).append(intent)
    return made


# --- What is at the broker and should not be --------------------------------------------------------------------------


def _cancels(core: SessionCore, now: pd.Timestamp, made: Plan, doubtful: Collection[str]) -> None:
    ends = _ending(core, now) - set(doubtful)
    asked: set[str] = set()
    ending = {link.client_order_id for link in core.links.values() if link.cancel_asked}  # which ends their groups
    for link in core.links.values():
        symbol = symbol_of(core, link)
        if link.over:
            continue
        if link.cancel_asked or link.reported > link.filled + DUST:
            made.waiting.add(symbol)
        elif _unwanted(core, link) or (link.role in _LEG_ROLES and link.uid >= 0 and (
                symbol in ends or (symbol not in doubtful and _wrong(core, link)))):
            made.waiting.add(symbol)
            if link.client_order_id not in asked and link.client_order_id not in ending:
                made.cancels.append(link)
            asked.add(link.client_order_id)
    for intent in core.intents.values():
        if intent.in_flight:
            made.waiting.add(intent.symbol)


def symbol_of(core: SessionCore, link: Link) -> str:
    """Of the order of the book that it carries out."""
    intent = core.intents.get(link.client_order_id)
    if intent is not None:
        return intent.symbol
    record = core.order_row(link.uid)
    return "" if record is None else core.bars.symbols[record["symbol"]]


def _unwanted(core: SessionCore, link: Link) -> bool:
    """The book has ended what this order carries out. A bracket's legs wait for their entry, and go when it has filled
    and they are not those of the book."""
    if link.uid < 0:
        intent = core.intents.get(link.client_order_id)
        entry = None if intent is None else core.links.get(intent.order_id)
        return entry is None or entry.over
    record = core.order_row(link.uid)
    return record is None or record["status"] != WORKING


def _wrong(core: SessionCore, link: Link) -> bool:
    """A leg whose price or quantity is not the book's: a split that the broker has not followed, or not so."""
    record, lot = core.order_row(link.uid), core.lot_of_leg(link.uid)
    if record is None or lot is None or link.qty is None:
        return False
    if abs(link.qty - link.filled - float(lot["quantity"])) > DUST:
        return True
    if record["kind"] == rules.MARKET or link.price is None:
        return False
    price = record["limit"] if record["purpose"] == TARGET_LEG else lot["cap"] if link.type == "limit" else lot["stop"]
    return bool(abs(link.price - float(price)) > 1e-6)


def _ending(core: SessionCore, now: pd.Timestamp) -> set[str]:
    """Symbols of which a leg will end soon. All their legs are renewed, so that the oldest lot's stays the first."""
    until = (now.tz_convert("UTC") + pd.Timedelta(days=RENEW_DAYS)).isoformat()[:19]
    return {symbol_of(core, link) for link in core.links.values()
            if link.expires and link.expires[:19] <= until and link.role in _LEG_ROLES and link.uid >= 0
            and link.type != "market" and not link.over}


# --- What should be there and is not ----------------------------------------------------------------------------------


def _protection(core: SessionCore, rows: list[int], lot: Any) -> Intent:
    """One lot's legs: an OCO pair, the one leg there is, or the way out at the market when the price has passed it."""
    by_purpose: dict[int, Any] = {int(core.book.orders["purpose"][row]): core.book.orders[row] for row in rows}
    rows = sorted(rows, key=lambda row: -int(core.book.orders["purpose"][row]))  # the target is the OCO's first order
    first = core.book.orders[rows[0]]
    symbol = core.bars.symbols[first["symbol"]]
    base = {"symbol": symbol, "side": side_word(first["side"]), "qty": float(lot["quantity"])}
    close = float(core.book.last_close[first["symbol"]])
    capped = lot["cap"] > 0.0 and STOP_LEG in by_purpose and TARGET_LEG not in by_purpose
    if first["kind"] == rules.MARKET or (lot["triggered"] and not capped):
        fields: dict[str, Any] = {"type": "market", "time_in_force": "day"}
    elif len(by_purpose) == 2:
        fields = {"type": "limit", "order_class": "oco", "time_in_force": "gtc",
                  "take_profit": float(by_purpose[TARGET_LEG]["limit"]),
                  "stop_loss": float(by_purpose[STOP_LEG]["stop"])}
    elif capped and (lot["triggered"] or close >= lot["stop"]):  # a capped stop that the price has left behind
        fields = {"type": "limit", "time_in_force": "gtc", "limit_price": float(lot["cap"])}
    elif STOP_LEG in by_purpose:
        fields = {"type": "stop", "time_in_force": "gtc", "stop_price": float(by_purpose[STOP_LEG]["stop"])}
    else:
        fields = {"type": "limit", "time_in_force": "gtc", "limit_price": float(by_purpose[TARGET_LEG]["limit"])}
    if fields.get("order_class") != "oco":  # which closes by its nature
        fields["position_intent"] = _closing(base["side"])
    uids = tuple(core.uids[row] for row in rows)
    return _intent(core, uids, symbol, f"protect{min(uids)}", "protect", base | fields)


def _closing(side: str) -> str:
    """What keeps an exit from opening the other side when its shares are gone: the broker refuses it then."""
    return "sell_to_close" if side == "sell" else "buy_to_close"


def _order(core: SessionCore, row: int, most: float | None = None) -> Intent:
    """``most``: shares at most."""
    o, uid = core.book.orders[row], core.uids[row]
    quantity = float(o["quantity"] - o["filled"])
    symbol, purpose = core.bars.symbols[o["symbol"]], PURPOSES[o["purpose"]]
    kind = _TYPES[o["kind"]]
    fields: dict[str, Any] = {"symbol": symbol, "side": side_word(o["side"]), "type": kind,
                              "qty": rules.exact_quantity(quantity if most is None else min(quantity, most)),
                              "time_in_force": "day"}
    if kind == "limit":
        fields["limit_price"] = float(o["limit"])
    if kind == "stop":
        fields["stop_price"] = float(o["stop"])
    if o["purpose"] == ENTRY:
        legs = {name: float(o[name]) for name in ("stop_loss", "take_profit") if not np.isnan(o[name])}
        fields |= legs
        fields["order_class"] = ("simple", "oto", "bracket")[len(legs)]
        fields["time_in_force"] = "gtc" if legs else "day"
    else:
        fields["position_intent"] = _closing(fields["side"])
    return _intent(core, (uid,), symbol, core.names.get(uid, f"{purpose}-{uid}"), purpose, fields)


def _intent(core: SessionCore, uids: tuple[int, ...], symbol: str, leg: str, purpose: Any,
            fields: dict[str, Any]) -> Intent:
    attempt = max(core.attempt(uid) for uid in uids)
    bar = bar_label(core.bars.index[-1])
    name = core.identity.client_order_id(symbol, bar, leg, attempt)
    return Intent(client_order_id=name, uids=uids, request=OrderRequest(**fields, client_order_id=name),
                  purpose=purpose, attempt=attempt, bar=bar, adds_risk=purpose == "entry")

