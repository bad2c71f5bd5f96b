"""`SessionCore`: what a session knows and decides. Pure: no I/O, no clock, no threads.

It holds the compiled engine's own book. A backtest lets simulated bars fill the book's orders; here the broker's facts
are booked onto it (`fill`, `order`, `activity`), and everything else, a bar's close, the limits, the decision, is the
same compiled code. The book's working orders are what should be at the broker; `planning` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from botlib import engine
from botlib.bars import Bars
from botlib.brokers.base import Activity, Fill, OpenOrder, OrderRejection
from botlib.engine import booking, carrying
from botlib.engine.book import Book
from botlib.engine.state import (
    CANCELLED,
    DONE,
    ENTRY,
    EXPIRED,
    PURPOSES,
    R_BROKER,
    R_SESSION_CLOSE,
    REJECTED,
    STOP_LEG,
    TARGET_LEG,
    WORKING,
)
from botlib.session.identity import Identity
from botlib.session.links import Intent, Link

_REMEMBERED = 500
LEGS = (STOP_LEG, TARGET_LEG)
_ROLE = {STOP_LEG: "stop_loss", TARGET_LEG: "take_profit"}
_DUST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """Shares that came and went again; dollars, ``pnl`` after the costs reckoned."""

    symbol: str
    side: str
    qty: float
    entry_time: pd.Timestamp
    entry_price: float
    exit_time: pd.Timestamp
    exit_price: float
    pnl: float
    costs: float
    exit_reason: str
    entry_uid: int
    exit_uid: int | None


class SessionCore:
    """One ledger: its book, and what is at the broker for it.

    Parameters
    ----------
    bars : Bars
        All final bars so far, symbols in the order of names.
    market : function of Bars
        The engine's arrays of them.
    settings : tuple
        The engine's settings of the run.
    book : Book
        New, or from a checkpoint.
    identity : Identity
    """

    def __init__(self, bars: Bars, market: Callable[[Bars], Any], settings: tuple[Any, ...], book: Book,
                 identity: Identity) -> None:
        self.bars, self.book, self.identity = bars, book, identity
        self._market, self._settings = market, settings
        self.column = {symbol: i for i, symbol in enumerate(bars.symbols)}
        self.uids: list[int] = []
        self.rows: dict[int, int] = {}
        self.next_uid = 1
        self.intents: dict[str, Intent] = {}
        """By client order id: all that have not ended, and those of open links."""
        self.links: dict[str, Link] = {}
        """By order id: all that are not over."""
        self.working: dict[int, str] = {}
        """uid → order id of what carries it out at the broker now."""
        self.due: list[dict[str, Any]] = []
        """Dividends on their way: symbol, amount."""
        self.entered: dict[int, str] = {}
        """When the lots' entries first filled, by number of the entry."""
        self.trips: list[RoundTrip] = []
        """Round trips since this list was last emptied."""
        self.booked_activities: list[str] = []
        """Ids of the latest activities: they may be told again."""
        self.finished: dict[str, None] = {}
        """Order ids that are over, the latest last: their executions may be told again."""
        self._attempts: dict[int, int] = {}

    # --- the book -----------------------------------------------------------------------------------------------------

    @property
    def t(self) -> int:
        """The number of the last final bar."""
        return len(self.bars) - 1

    def extend(self, bars: Bars) -> None:
        """The panels with one more bar, or several that passed unseen."""
        self.bars = bars
        self.book = carrying.carried(self.book, self._settings, self._market(bars))

    def room(self) -> None:
        """Room in the book for whatever one call can do."""
        book = self.book
        most = max(book[n] for n in ("n_orders", "n_fills", "n_trades", "n_halts"))
        while most + 4 * (len(self.column) + book["n_lots"] + book["n_open"]) + 64 > book["room"]:
            book.grow()

    def number_orders(self) -> list[int]:
        """Give new orders of the book their numbers; returns their rows."""
        new = list(range(len(self.uids), self.book["n_orders"]))
        for row in new:
            self.rows[self.next_uid] = row
            self.uids.append(self.next_uid)
            self.next_uid += 1
        return new

    def order_row(self, uid: int) -> np.void | None:
        """The book's record of an order, None when it is no longer kept."""
        row = self.rows.get(uid)
        return None if row is None else self.book.orders[row]

    # --- what the broker says -----------------------------------------------------------------------------------------

    def begin_day(self, day: int, splits: Mapping[str, float], dividends: list[tuple[str, float]]) -> bool:
        """A new exchange date: its corporate actions, then the day's counters. False when the date is not new.

        ``splits`` is ratio by symbol, ``dividends`` (symbol, dollars a share); both of this ex-date.
        """
        self.room()
        if not booking.begin_day(self.book.world, day):
            return False
        for symbol, ratio in sorted(splits.items()):
            booking.split(self.book.world, self.t, self.column[symbol], ratio)
        for symbol, rate in dividends:
            held = float(self.book.position[self.column[symbol]])
            if held:
                amount = float(np.floor(held * rate * 100.0 + 0.5) / 100.0)
                self.due.append({"symbol": symbol, "amount": amount})
                booking.money(self.book.world, 0.0, amount)
        return True

    def fill(self, fill: Fill) -> Link | None:
        """Book an execution; None when the order is none of ours, or the shares are booked already.

        What a fill covers decides, not how often it is told.
        """
        link = self.links.get(fill.order_id)
        if link is None:
            return None
        after, up_to = fill.covers
        if up_to <= link.filled + _DUST:
            return None
        quantity = round(up_to - max(after, link.filled), 9)
        self.room()
        row, world = self.rows[link.uid], self.book.world
        purpose = int(self.book.orders["purpose"][row])
        book = {ENTRY: booking.entry_filled, STOP_LEG: booking.leg_filled, TARGET_LEG: booking.leg_filled}.get(
            purpose, booking.exit_filled)
        before = self.book["n_trades"]
        book(world, self.t, row, quantity, fill.price)
        if purpose == ENTRY:
            self.entered.setdefault(link.uid, fill.time.isoformat())
        self._note_trips(before, fill.time)
        link.filled = up_to
        link.reported = max(link.reported, up_to)
        self.number_orders()
        if purpose == ENTRY:
            self._adopt_legs(link, row)
        self._settle(link)
        return link

    def _adopt_legs(self, link: Link, entry: int) -> None:
        """The legs that came with an entry act from its complete fill on: they carry out the book's legs."""
        intent = self.intents.get(link.client_order_id)
        if intent is None or self.book.orders["status"][entry] != DONE or not intent.legs:
            return
        for row in range(entry + 1, self.book["n_orders"]):
            purpose = int(self.book.orders["purpose"][row])
            if purpose in LEGS and carrying.entry_of(self.book, row) == entry:
                order_id = intent.legs.get(_ROLE[purpose], "")
                if order_id in self.links and self.links[order_id].uid < 0:
                    self.links[order_id].uid = self.uids[row]
                    self.working[self.uids[row]] = order_id

    def order(self, found: OpenOrder) -> Link | None:
        """What the broker says of an order that is linked; None when it is not."""
        link = self.links.get(found.order_id)
        if link is None:
            return None
        link.status, link.qty = found.status, found.qty
        link.price = found.limit_price if found.type == "limit" else found.stop_price
        link.reported = max(link.reported, found.filled_qty)
        link.expires = "" if found.expires_at is None else found.expires_at.isoformat()
        self._settle(link)
        return link

    def _settle(self, link: Link) -> None:
        """An order is over when the broker has ended it and its fills are booked; the book follows."""
        if link.over or link.filled < link.reported - _DUST:
            return
        link.over = link.status in ("canceled", "expired", "filled", "rejected", "replaced") or (
            link.qty is not None and link.filled >= link.qty - _DUST)
        if not link.over:
            return
        if self.working.get(link.uid) == link.order_id:
            del self.working[link.uid]
        record = self.order_row(link.uid)
        if record is not None and record["status"] == WORKING and record["purpose"] not in LEGS:
            status, reason = (EXPIRED, R_SESSION_CLOSE) if link.status == "expired" else (CANCELLED, R_BROKER)
            self.room()
            booking.ended(self.book.world, self.t, self.rows[link.uid], status, reason)
            self.number_orders()

    def _note_trips(self, before: int, time: pd.Timestamp) -> None:
        """Round trips that the last booking made."""
        for row in self.book.rows("trades")[before:]:
            entry = self.uids[row["entry_order"]]
            entered = self.entered.get(entry)
            self.trips.append(RoundTrip(
                symbol=self.bars.symbols[row["symbol"]], side="long" if row["side"] > 0 else "short",
                qty=float(row["quantity"]), entry_time=time if entered is None else pd.Timestamp(entered),
                entry_price=float(row["entry_price"]), exit_time=time, exit_price=float(row["exit_price"]),
                pnl=float(row["pnl"]), costs=float(row["costs"]),
                exit_reason=(*PURPOSES, "order")[row["purpose"]], entry_uid=entry,
                exit_uid=self.uids[row["exit_order"]] if row["exit_order"] >= 0 else None))

    def activity(self, told: Activity) -> str:
        """Book money that moved beside fills; returns its kind, "" when it is booked already.

        A split's shares and cash in lieu are the book's own to move, at the open of the ex-date.
        """
        if told.activity_id in self.booked_activities:
            return ""
        self.booked_activities = [*self.booked_activities[-_REMEMBERED:], told.activity_id]
        amount = told.net_amount or 0.0
        if told.kind == "transfer":
            booking.flow(self.book.world, amount)
        elif told.kind not in ("split", "reorganization"):
            expected = 0.0
            due = next((d for d in self.due if d["symbol"] == told.symbol), None) if told.kind == "dividend" else None
            if due is not None:
                self.due.remove(due)
                expected = due["amount"]
            booking.money(self.book.world, amount, -expected)
            if not self.due:
                self.book.world["receivable"] = 0.0
        return told.kind

    # --- a bar's close ------------------------------------------------------------------------------------------------

    def close_bar(self) -> None:
        """The last bar is final: marks, orders that its close ends, the limits."""
        self.room()
        booking.close(self.book.world, self.t)
        self.number_orders()

    def decide(self, ask: Callable[[Book, int], None]) -> list[int]:
        """Let ``ask(book, t)`` decide on the last bar; returns the numbers of the new orders, refused ones too."""
        self.room()
        ask(self.book, self.t)
        return [self.uids[row] for row in self.number_orders()]

    def end_entries(self) -> None:
        """Working entries end; what they have filled is protected."""
        self.room()
        booking.stop_entries(self.book.world, self.t)
        self.number_orders()

    def flatten(self) -> None:
        """Everything held is to be sold, or bought back, at the market; entries end."""
        self.end_entries()
        row = np.where(self.book.position != 0.0, 0.0, np.nan)
        self.room()
        engine.decide_row(self.book.world, self.t, row)
        self.number_orders()

    # --- what was sent ------------------------------------------------------------------------------------------------

    def attempt(self, uid: int) -> int:
        """The number of the next try of an order: it rises with each that has ended."""
        return self._attempts.get(uid, 0) + 1

    def record(self, intent: Intent) -> None:
        """An intent is written down."""
        self.intents[intent.client_order_id] = intent
        for uid in intent.uids:
            self._attempts[uid] = intent.attempt
            self.working[uid] = intent.client_order_id

    def acknowledged(self, intent: Intent, order: OpenOrder) -> None:
        """The broker has an intent's order, and its legs."""
        intent.state, intent.order_id = "working", order.order_id
        by_purpose = {int(self.book.orders["purpose"][self.rows[uid]]): uid for uid in intent.uids
                      if uid in self.rows}
        for uid in intent.uids:
            if self.working.get(uid) == intent.client_order_id:
                del self.working[uid]
        parts = [(order, intent.uids[0], intent.purpose)]
        if intent.purpose == "protect":
            parts = [(one, *self._leg(one, by_purpose)) for one in order.flat()]
        else:
            for leg in order.legs:
                role = leg.group_role or ("take_profit" if leg.type == "limit" else "stop_loss")
                intent.legs[role] = leg.order_id
                parts.append((leg, -1, role))
        for one, uid, role in parts:
            self.links[one.order_id] = Link(one.order_id, intent.client_order_id, uid, role)
            if uid >= 0:
                self.working[uid] = one.order_id
            self.order(one)

    @staticmethod
    def _leg(order: OpenOrder, by_purpose: Mapping[int, int]) -> tuple[int, str]:
        """Which leg of the book a protective order is."""
        purpose = TARGET_LEG if order.type == "limit" and TARGET_LEG in by_purpose else STOP_LEG
        if purpose not in by_purpose:
            purpose = next(iter(by_purpose))
        return by_purpose[purpose], _ROLE[purpose]

    def refused(self, intent: Intent, rejection: OrderRejection) -> None:
        """The broker does not take an order: the book goes on without it."""
        intent.state, intent.reason = "ended", rejection.rule
        self.room()
        passed = rejection.rule in PASSED and intent.purpose == "protect"
        for uid in intent.uids:
            self.working.pop(uid, None)
        record = self.order_row(intent.uids[0])
        if record is None or record["status"] != WORKING:
            return
        row = self.rows[intent.uids[0]]
        if intent.purpose != "protect":
            booking.ended(self.book.world, self.t, row, REJECTED, R_BROKER)
        elif passed:
            booking.leg_refused(self.book.world, self.t, row)
        self.number_orders()

    def dropped(self, intent: Intent, reason: str) -> None:
        """An intent is not sent and never will be: too late, shadowed, or not allowed any more."""
        intent.state, intent.reason = "ended", reason
        for uid in intent.uids:
            self.working.pop(uid, None)
            record = self.order_row(uid)
            if record is not None and record["status"] == WORKING and record["purpose"] not in LEGS:
                booking.ended(self.book.world, self.t, self.rows[uid], CANCELLED, R_BROKER)
        self.number_orders()

    def tidy(self) -> None:
        """Forget links that are over and intents that have none left."""
        for order_id in [i for i, link in self.links.items() if link.over]:
            link = self.links.pop(order_id)
            self.finished[order_id] = None
            intent = self.intents.get(link.client_order_id)
            if intent is not None and not any(x.client_order_id == link.client_order_id for x in self.links.values()):
                intent.state = "ended"
        for order_id in list(self.finished)[:-_REMEMBERED]:
            del self.finished[order_id]
        for name in [n for n, intent in self.intents.items() if intent.state == "ended"]:
            del self.intents[name]

    # --- what is known ------------------------------------------------------------------------------------------------

    def equity(self, prices: Mapping[str, float] | None = None) -> float:
        """Dollars: cash, dividends due and holdings at the last closes, or at ``prices`` where given."""
        book, value = self.book, 0.0
        if prices is None:
            return float(book["equity"])
        for i in np.flatnonzero(book.position):
            symbol = self.bars.symbols[i]
            value += float(book.position[i]) * float(prices.get(symbol, book.last_close[i]))
        return float(book["cash"] + book["receivable"] + value)

    def positions(self) -> dict[str, float]:
        """Signed shares of the symbols held."""
        return {self.bars.symbols[i]: float(self.book.position[i]) for i in np.flatnonzero(self.book.position)}

    def open_entries(self) -> set[int]:
        """Numbers of the entries that lots came from, or may still come from."""
        book, found = self.book, {uid for uid, _ in self.working.items()}
        for i in np.flatnonzero(book.head >= 0):
            lot = int(book.head[i])
            while lot >= 0:
                found.add(self.uids[book.lots["entry_order"][lot]])
                lot = int(book.lots["next"][lot])
        return found

    def purpose(self, uid: int) -> str:
        """Of an order of the book, in words."""
        record = self.order_row(uid)
        return "" if record is None else PURPOSES[record["purpose"]]

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a crash, as plain values."""
        keep = {link.uid for link in self.links.values()} | {u for i in self.intents.values() for u in i.uids}
        return {
            "bar": self.bars.index[-1].isoformat(), "session": int(self.book["session"]),
            "book": carrying.to_state(self.book, self.bars.symbols, self.uids, keep),
            "entered": {str(uid): self.entered[uid] for uid in self.open_entries() if uid in self.entered},
            "activities": list(self.booked_activities), "finished": list(self.finished),
            "next_uid": self.next_uid, "due": [dict(d) for d in self.due],
            "attempts": {str(u): n for u, n in self._attempts.items() if u in keep or u in self.working},
            "intents": [intent.plain() for intent in self.intents.values()],
            "links": [link.plain() for link in self.links.values()],
            "working": {str(uid): name for uid, name in self.working.items()},
        }

    def back_to(self, state: Mapping[str, Any]) -> None:
        """Undo what happened since `state` was taken on these bars."""
        other = SessionCore.restored(state, self.bars, self._market, self._settings, self.book.given_fees,
                                     self.identity)
        self.__dict__.update(other.__dict__)

    @classmethod
    def restored(cls, state: Mapping[str, Any], bars: Bars, market: Callable[[Bars], Any], settings: tuple[Any, ...],
                 fees: np.ndarray, identity: Identity) -> SessionCore:
        """The core that wrote a state, on the bars there are now."""
        book, uids = carrying.from_state(state["book"], settings, market(bars), fees, bars.symbols, len(bars) - 1)
        core = cls(bars, market, settings, book, identity)
        core.uids, core.rows = uids, {uid: row for row, uid in enumerate(uids)}
        core.next_uid, core.due = int(state["next_uid"]), [dict(d) for d in state["due"]]
        core.entered = {int(u): time for u, time in state["entered"].items()}
        core.booked_activities = list(state["activities"])
        core.finished = dict.fromkeys(state["finished"])
        core._attempts = {int(u): int(n) for u, n in state["attempts"].items()}
        core.intents = {i["client_order_id"]: Intent.of(i) for i in state["intents"]}
        core.links = {x["order_id"]: Link(**x) for x in state["links"]}
        core.working = {int(u): name for u, name in state["working"].items()}
        return core


PASSED = ("bracket-wrong-side", "stop-wrong-side", "leg-wrong-side")
"""Refusals that say: the price has passed this leg."""


def bar_label(time: pd.Timestamp) -> str:
    """A bar's label as it stands in ids and records."""
    return time.tz_convert("UTC").isoformat()


def side_word(side: int) -> str:
    """"buy" or "sell"."""
    return "buy" if side > 0 else "sell"
