"""Who an order is: the same decision has the same client order id, whoever sends it and however often it is tried."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

PREFIX = "botlib1"
"""In front of every client order id: botlib, and the version of this scheme."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What all orders of a session share.

    Attributes
    ----------
    account_id : str
        The broker's.
    epoch : str
        Changes with each run of a local exchange and each reset of a paper account: ids are never used again there.
    strategy_hash : str
    """

    account_id: str
    epoch: str
    strategy_hash: str

    def client_order_id(self, symbol: str, bar: str, leg: str, attempt: int = 1) -> str:
        """The id of one order, at most 128 characters of letters, digits, ``.``, ``/`` and ``-``.

        ``bar`` is the label of the bar that decided, ``leg`` what the order is for. ``attempt`` rises only after the
        one before has ended for sure.
        """
        text = "\x1f".join((PREFIX, self.account_id, self.epoch, self.strategy_hash, symbol, bar, leg, str(attempt)))
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        return f"{PREFIX}-{symbol}-{leg}-{digest}"


def is_ours(client_order_id: str) -> bool:
    """Whether an order was sent by a session of botlib, any session."""
    return client_order_id.startswith(f"{PREFIX}-")
