"""`Account`: the compiled book of one ledger, and what happens to it without an order: days, money, closes, decisions.

Pure: no I/O, no clock, no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from botlib import engine
from botlib.bars import Bars
from botlib.brokers.base import Activity
from botlib.engine import booking, carrying, closing
from botlib.engine.book import Book
from botlib.engine.state import PURPOSES, STOP_LEG, TARGET_LEG
from botlib.orders import Numbers
from botlib.session.identity import Identity

REMEMBERED = 500
LEGS = (STOP_LEG, TARGET_LEG)


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


class Account:
    """One ledger's book, its orders numbered for good.

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
        self.names: dict[int, str] = {}
        """What an order is for, as its client order id says it: "entry", "exit2"; of orders that are no legs."""
        self.counted: tuple[str, dict[str, int]] = ("", {})
        """The bar of the latest decision, and how many orders of each symbol and purpose it has made."""
        self.due: list[dict[str, Any]] = []
        """Dividends on their way: symbol, amount; beside shares that are not the ledger's, what the account gets for
        all of them (whole), and the ledger's shares and theirs (held, theirs)."""
        self.entered: dict[int, str] = {}
        """When the lots' entries first filled, by number of the entry."""
        self.trips: list[RoundTrip] = []
        """Round trips since this list was last emptied."""
        self.booked_activities: list[str] = []
        """Ids of the latest activities: they may be told again."""

    @property
    def t(self) -> int:
        """The number of the last final bar."""
        return len(self.bars) - 1

    @property
    def ids(self) -> Numbers:
        """By which a strategy knows its orders: rows of the book change when it is compacted."""
        return Numbers(self.uids, self.rows, self.next_uid)

    # --- the book's records -------------------------------------------------------------------------------------------

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
            purpose = int(self.book.orders["purpose"][row])
            if purpose not in LEGS:
                self.names[self.next_uid] = self._name(int(self.book.orders["symbol"][row]), PURPOSES[purpose])
            self.next_uid += 1
        return new

    def _name(self, symbol: int, purpose: str) -> str:
        """The n-th order for this of a symbol at a bar is so whoever decides it, and however often."""
        bar = bar_label(self.bars.index[-1])
        if bar != self.counted[0]:
            self.counted = bar, {}
        key = f"{self.bars.symbols[symbol]} {purpose}"
        n = self.counted[1][key] = self.counted[1].get(key, 0) + 1
        return purpose if n == 1 else f"{purpose}{n}"

    def order_row(self, uid: int) -> np.void | None:
        """The book's record of an order, None when it is no longer kept."""
        row = self.rows.get(uid)
        return None if row is None else self.book.orders[row]

    def lot_of_leg(self, uid: int) -> np.void | None:
        """The lot that a leg of the book protects now; None when it protects none."""
        row = self.rows.get(uid)
        if row is None or self.book.orders["purpose"][row] not in LEGS:
            return None
        lot_id = int(self.book.orders["lot"][row])
        lot = self.book.lots[lot_id] if lot_id >= 0 else None
        if lot is None or not lot["legs"] or row not in (lot["stop_order"], lot["target_order"]):
            return None
        return lot

    def purpose(self, uid: int) -> str:
        """Of an order of the book, in words."""
        record = self.order_row(uid)
        return "" if record is None else PURPOSES[record["purpose"]]

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
                exit_reason=(*PURPOSES, "order")[row["purpose"]] if row["exit_order"] >= 0 else "split",
                entry_uid=entry, exit_uid=self.uids[row["exit_order"]] if row["exit_order"] >= 0 else None))

    # --- days and money -----------------------------------------------------------------------------------------------

    def begin_day(self, day: int, splits: Mapping[str, float], dividends: list[tuple[str, float]],
                  time: pd.Timestamp | None = None) -> bool:
        """A new exchange date: its corporate actions, then the day's counters. False when the date is not new.

        ``splits`` is ratio by symbol, ``dividends`` (symbol, dollars a share); both of this ex-date.
        """
        self.room()
        if day > self.book["session"] and self.bars.interval != "1d":
            closing.end_session(self.book.world, self.t)
            self.number_orders()
        if not booking.begin_day(self.book.world, day):
            return False
        before = self.book["n_trades"]
        for symbol, ratio in sorted(splits.items()):
            booking.split(self.book.world, self.t, self.column[symbol], ratio)
        self._note_trips(before, pd.Timestamp(day, unit="D", tz="UTC") if time is None else time)
        for symbol, rate in dividends:
            held = float(self.book.position[self.column[symbol]])
            if held:
                amount = float(np.floor(held * rate * 100.0 + 0.5) / 100.0)
                self.due.append({"symbol": symbol, "amount": amount})
                booking.money(self.book.world, 0.0, amount)
        return True

    def activity(self, told: Activity, theirs: float = 0.0) -> str:
        """Book money that moved beside fills; returns its kind, "" when it is booked already.

        ``theirs``: dollars of it that are not the ledger's. A split's shares and cash in lieu are the book's own to
        move, at the open of the ex-date.
        """
        if told.activity_id in self.booked_activities:
            return ""
        self.booked_activities = [*self.booked_activities[-REMEMBERED:], told.activity_id]
        amount = (told.net_amount or 0.0) - theirs
        if told.kind == "transfer":
            booking.flow(self.book.world, amount)
        elif told.kind not in ("split", "reorganization"):
            expected = 0.0
            paid = self.due_of(told)
            if paid is not None:
                self.due.remove(paid)
                expected = float(paid["amount"])
            booking.money(self.book.world, amount, -expected)
            if not self.due:
                self.book.world["receivable"] = 0.0
        return told.kind

    def due_of(self, told: Activity) -> dict[str, Any] | None:
        """The dividend on its way that this pays; two of a symbol may be, and the later one may be paid first."""
        amount = told.net_amount or 0.0
        due = [d for d in self.due if d["symbol"] == told.symbol and told.kind == "dividend"]
        return min(due, key=lambda d: abs(float(d.get("whole", d["amount"])) - amount), default=None)

    def unplaced(self) -> list[int]:
        """Lots whose legs have not been sent to anybody."""
        return []

    # --- bars and decisions -------------------------------------------------------------------------------------------

    def extend(self, bars: Bars) -> None:
        """The panels with one more bar, or several that passed unseen."""
        self.bars = bars
        self.book = carrying.carried(self.book, self._settings, self._market(bars))

    def close_bar(self) -> None:
        """The last bar is final: marks, orders that its close ends, the limits."""
        self.room()
        closing.end_parts(self.book.world, self.t)
        self.number_orders()
        for lot_id in self.unplaced():
            closing.protect_again(self.book.world, self.t, lot_id)
        closing.way_made(self.book.world, self.t)
        self.number_orders()
        self.room()
        closing.close(self.book.world, self.t)
        self.number_orders()

    def decide(self, ask: Callable[[Book, int], None]) -> list[int]:
        """Let ``ask(book, t)`` decide on the last bar; returns the numbers of the new orders, refused ones too."""
        self.room()
        ask(self.book, self.t)
        return [self.uids[row] for row in self.number_orders()]

    def end_entries(self) -> None:
        """Working entries end; what they have filled is protected."""
        self.room()
        closing.stop_entries(self.book.world, self.t)
        self.number_orders()

    def flatten(self) -> None:
        """Everything held is to be sold, or bought back, at the market; entries end.

        A symbol without a price now goes at its next bar's close.
        """
        self.end_entries()
        held = self.book.position != 0.0
        row = np.where(held, 0.0, np.nan)
        self.room()
        engine.decide_row(self.book.world, self.t, row)
        self.number_orders()
        self.book.standing[held & ~(self.bars.close[-1] > 0.0)] = 0.0

    # --- what is known ------------------------------------------------------------------------------------------------

    def equity(self, prices: Mapping[str, float] | None = None) -> float:
        """Dollars: cash, dividends due and holdings at the last closes, or at ``prices`` where given."""
        book, value, prices = self.book, 0.0, prices or {}
        for i in np.flatnonzero(book.position):
            symbol = self.bars.symbols[i]
            value += float(book.position[i]) * float(prices.get(symbol, book.last_close[i]))
        return float(book["cash"] + book["receivable"] + value)

    def positions(self) -> dict[str, float]:
        """Signed shares of the symbols held."""
        return {self.bars.symbols[i]: float(self.book.position[i]) for i in np.flatnonzero(self.book.position)}


def bar_label(time: pd.Timestamp) -> str:
    """A bar's label as it stands in ids and records."""
    return time.tz_convert("UTC").isoformat()


def side_word(side: int) -> str:
    """"buy" or "sell"."""
    return "buy" if side > 0 else "sell"
