"""`SessionCore`: what a session knows and decides. Pure: no I/O, no clock, no threads.

It holds the compiled engine's own book. A backtest lets simulated bars fill the book's orders; here the broker's facts
are booked onto it (`fill`, `order`, `activity`), and everything else, a bar's close, the limits, the decision, is the
same compiled code. The book's working orders are what should be at the broker; `planning` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.brokers.base import Fill
from botlib.engine import carrying
from botlib.engine.state import WORKING
from botlib.session.account import LEGS, RoundTrip, bar_label, side_word
from botlib.session.identity import Identity
from botlib.session.links import Intent, Link
from botlib.session.order_links import PASSED, OrderLinks

__all__ = ["LEGS", "PASSED", "RoundTrip", "SessionCore", "bar_label", "side_word"]

_DEAD = 1000  # records of the book that are of no use any more, and may stay


class SessionCore(OrderLinks):
    """One ledger: its book (`Account`), what is at the broker for it (`OrderLinks`), and how both are kept."""

    def tidy(self) -> None:
        """The end of a pass, once all of it is written down: forget what is over; now and then the book's dead records
        too. Orders that still work keep their numbers."""
        super().tidy()
        book = self.book
        dead = max(book["n_orders"], book["n_fills"], book["n_trades"]) - book["n_open"] - 4 * book["n_lots"]
        if dead > _DEAD + 8 * len(self.column):
            self.compact()

    def compact(self) -> None:
        """Keep of the book what a checkpoint keeps: a long session needs no more memory than a short one."""
        trips = self.trips
        self.back_to(self.state())
        self.trips = trips

    def open_entries(self) -> set[int]:
        """Numbers of the entries that lots came from, or may still come from."""
        book = self.book
        return set(self.working).union(
            self.uids[row] for row in book.lots["entry_order"][carrying.open_lots(book)].tolist())

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after a crash, as plain values."""
        return {
            **self.small_state(),
            "book": carrying.to_state(self.book, self.bars.symbols, self.uids, self.linked(), self.t),
            "activities": list(self.booked_activities), "finished": list(self.finished),
            "intents": [intent.plain() for intent in self.intents.values()],
            "links": [link.plain() for link in self.links.values()],
        }

    def linked(self) -> set[int]:
        """Numbers of the orders that links and intents carry out."""
        return {link.uid for link in self.links.values()} | {u for i in self.intents.values() for u in i.uids}

    def small_state(self) -> dict[str, Any]:
        """The part of `state` that has no long records in it."""
        standing = np.flatnonzero(self.book.rows("orders")["status"] == WORKING).tolist()
        used = self.linked().union(self.working, (self.uids[row] for row in standing))
        bar, counts = self.counted
        return {
            "bar": self.bars.index[-1].isoformat(), "session": int(self.book["session"]),
            "entered": {str(uid): self.entered[uid] for uid in sorted(self.open_entries()) if uid in self.entered},
            "next_uid": self.next_uid, "due": [dict(d) for d in self.due],
            "attempts": {str(u): n for u, n in self._attempts.items() if u in used},
            "tries": {str(u): list(n) for u, n in self._tries.items() if u in used},
            "names": {str(u): name for u, name in self.names.items() if u in used},
            "counted": [bar, dict(counts)],
            "working": {str(uid): name for uid, name in self.working.items()},
            "early": [{**asdict(fill), "time": fill.time.isoformat()} for fill in self.early],
        }

    def back_to(self, state: Mapping[str, Any]) -> None:
        """Undo what happened since `state` was taken on these bars; of a state before a decision, the decision."""
        remembered = {"activities": self.booked_activities, "finished": self.finished}
        state = {**remembered, **state}
        other = self.restored(state, self.bars, self._market, self._settings, self.book.given_fees, self.identity)
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
        core._tries = {int(u): (int(day), int(n)) for u, (day, n) in state["tries"].items()}
        core.names = {int(u): str(name) for u, name in state["names"].items()}
        core.counted = str(state["counted"][0]), dict(state["counted"][1])
        core.intents = {i["client_order_id"]: Intent.of(i) for i in state["intents"]}
        core.links = {x["order_id"]: Link.of(x) for x in state["links"]}
        core.working = {int(u): name for u, name in state["working"].items()}
        core.early = [Fill(**{**f, "time": pd.Timestamp(f["time"])}) for f in state["early"]]
        return core
