"""`Journal`: ids, moments and the trade updates. It outlives a reset of the account."""

from __future__ import annotations

import hashlib
from typing import Any

from botlib.sandbox.orders import Order, TradeUpdate, copied
from botlib.sandbox.tape import Tape

NS_A_MICROSECOND = 1_000


class Journal:
    """What happened, in order.

    Attributes
    ----------
    updates : list of TradeUpdate
        Only grows; times never decrease.
    """

    def __init__(self, tape: Tape, seed: int) -> None:
        self.updates: list[TradeUpdate] = []
        self._tape, self._seed = tape, seed
        self._count, self._epoch, self._stamp = 0, 0, 0

    def next_account(self) -> None:
        """Ids of another account follow."""
        self._epoch += 1

    def count(self) -> int:
        """The next number of all that is numbered."""
        self._count += 1
        return self._count

    def new_id(self) -> str:
        """A UUID (version 5) that follows from the seed and what was numbered before."""
        name = f"botlib {self._seed} {self._epoch} {self.count()}".encode()
        d = hashlib.sha1(name, usedforsecurity=False).hexdigest()
        return f"{d[:8]}-{d[8:12]}-5{d[13:16]}-a{d[17:20]}-{d[20:32]}"

    def stamp(self, time: int = 0) -> int:
        """A time that no other has, not before ``time`` nor now, so that order in time is order of events."""
        self._stamp = max(time, self._tape.now, self._stamp + NS_A_MICROSECOND)
        return self._stamp

    @property
    def last(self) -> int:
        """The latest moment given."""
        return self._stamp

    def say(self, order: Order, event: str, time: int = 0, **fields: Any) -> None:
        """Tell an event of an order, as it is now."""
        self.updates.append(TradeUpdate(event=event, order=copied(order), time=time or order.updated_at,
                                        execution_id=self.new_id(), **fields))
