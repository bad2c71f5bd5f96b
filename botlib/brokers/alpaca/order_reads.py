"""Reading orders: one by either id, those that work, all of them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from botlib.brokers.alpaca import outcome, records
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.brokers.order_records import OpenOrder
from botlib.errors import BrokerRefusal, InputError

_PAGE = 500
_NOT_FOUND = 40410000
_SECOND = pd.Timedelta(seconds=1)
_REMEMBERED = 4000  # client order ids of orders read: more than work at once


class OrderReads:
    """The part of `AlpacaBroker` that reads orders."""

    connection: AlpacaConnection
    _clock: Callable[[], float]
    _sleep: Callable[[float], None]
    _client_ids: dict[str, str]
    """Order id → client order id, which Alpaca's fills do not name; of the orders read last."""

    def get_order(self, order_id: str) -> OpenOrder | None:
        """One order in any state, with its legs; None: Alpaca says that there is none. Raises `BrokerError`."""
        return self._one(f"/orders/{order_id}", {"nested": True}) if is_id(order_id) else None

    def order_by_client_id(self, client_order_id: str) -> OpenOrder | None:
        """One order in any state, by our id.

        None: Alpaca says, with the code for it, that there is none now; one that is still on its way may arrive. A
        replaced order keeps its id and names its successor in ``replaced_by``.

        Raises
        ------
        BrokerError
            It cannot be told: no answer to rely on, or a refusal.
        InputError
            No id is given.
        """
        return self._by_client_id(client_order_id)

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """All orders that may still trade, legs included, oldest first; each leg names its ``parent_id``.

        Alpaca leaves held legs out of its list of open orders once their entry has filled; they are found through their
        group and added.
        """
        found = records.flat(self._pages({"status": "open"}))
        lone = outcome.lone_legs(found)
        if lone:
            query = {"status": "all", "symbols": ",".join(sorted({one.symbol for one in lone}))}
            began = outcome.earliest(lone)  # a group is submitted in one moment
            whole = records.flat(self._pages(query if began is None else query | {"after": began.isoformat()}))
            known = {one.order_id: one for one in whole}
            found = [known.get(one.order_id, one) for one in found]
            have = {one.order_id for one in found}
            found += [one for one in outcome.siblings(lone, whole) if one.order_id not in have]
        return tuple(sorted((one for one in found if one.working), key=outcome.age))

    def orders(self, since: pd.Timestamp | None = None, *, prefix: str = "") -> tuple[OpenOrder, ...]:
        """All orders in any state submitted from ``since`` on (that instant included), legs included, oldest first.

        With ``prefix`` those whose client order id begins so, and their legs, whose ids Alpaca makes up.
        """
        first = None if since is None else moment(since)
        query = {"status": "all"}
        if first is not None:
            query["after"] = (first - _SECOND).isoformat()  # Alpaca's is exclusive
        found = [one for one in self._pages(query) if one.client_order_id.startswith(prefix) and (
            first is None or one.submitted_at is None or one.submitted_at >= first)]
        return tuple(sorted(records.flat(found), key=outcome.age))

    def await_end(self, order_id: str, *, timeout: float = 10.0, every: float = 0.25) -> OpenOrder | None:
        """Read an order until it has ended or ``timeout`` seconds have passed; the order as last read.

        Raises `BrokerUnavailable` when it cannot be read.
        """
        until = self._clock() + timeout
        while True:
            found = self.get_order(order_id)
            if found is None or not found.working or self._clock() >= until:
                return found
            self._sleep(every)

    # -- requests -------------------------------------------------------------------------------------------------

    def _by_client_id(self, name: str, attempts: int | None = None) -> OpenOrder | None:
        if not isinstance(name, str) or not name:
            raise InputError(f"client_order_id = {name!r} must be the text that an order was sent with.")
        found = self._one("/orders:by_client_order_id", {"client_order_id": name}, attempts)
        if found is not None and found.client_order_id != name:
            raise records.unusable(f"the order with the client order id {name}", f"has {found.client_order_id!r}")
        return found

    def _one(self, path: str, query: dict[str, Any], attempts: int | None = None) -> OpenOrder | None:
        try:
            return self._answered(self.connection.read(path, query, attempts=attempts))
        except BrokerRefusal as refusal:
            absence(refusal, "an order")
            return None

    def _answered(self, answer: object) -> OpenOrder:
        found = records.order(answer)
        self._remember(found)
        return found

    def _pages(self, query: dict[str, Any]) -> Iterable[OpenOrder]:
        """Orders with their legs nested, paged to the end.

        A page that holds fewer than 500 orders, counted with or without legs, is the last. The next begins after the
        last order's id, since orders of one batch share their time; a server that does not know that parameter answers
        with the same page, which is noticed.
        """
        asked = {"limit": _PAGE, "direction": "asc", "nested": True, **query}
        seen: set[str] = set()
        while True:
            answer = records.listed(self.connection.read("/orders", asked), "the orders")
            page = [records.order(body) for body in answer]
            fresh = [one for one in page if one.order_id not in seen]
            if page and not fresh:
                raise records.unusable("the list of orders", "repeats itself and cannot be read to its end")
            for one in fresh:
                self._remember(one)
            yield from fresh
            seen.update(one.order_id for one in page)
            if sum(len(one.flat()) for one in page) < _PAGE:
                return
            asked.pop("after", None)
            asked["after_order_id"] = page[-1].order_id

    def _remember(self, found: OpenOrder) -> None:
        for one in found.flat():
            if one.client_order_id:
                self._client_ids.pop(one.order_id, None)  # read last, forgotten last
                self._client_ids[one.order_id] = one.client_order_id
        while len(self._client_ids) > _REMEMBERED:
            self._client_ids.pop(next(iter(self._client_ids)), None)


def absence(refusal: BrokerRefusal, what: str) -> None:
    """Raise unless Alpaca itself says that it does not have something.

    A 404 without Alpaca's code for it may be anybody's on the way, of a proxy or a wrong address.
    """
    if refusal.status != 404:
        raise refusal
    if refusal.code != _NOT_FOUND:
        raise records.unusable(what, "is answered with HTTP 404, but not in Alpaca's words")


def is_id(order_id: object) -> bool:
    """Whether it can be one of Alpaca's order ids."""
    try:
        uuid.UUID(order_id)  # type: ignore[arg-type]
        return True
    except (ValueError, TypeError, AttributeError):
        return False


def moment(since: object) -> pd.Timestamp:
    """A tz-aware moment; a naive one is refused, nobody knows when it was."""
    try:
        found = pd.Timestamp(since)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = pd.NaT
    if pd.isna(found) or found.tzinfo is None or not math.isfinite(found.value):
        raise InputError(f"since = {since!r} must be a time with a time zone, e.g. pd.Timestamp.now('UTC').")
    return found.tz_convert("UTC")
