"""What became of an order whose answer is clear, unclear or "I have that already": looked up, never sent again."""

from __future__ import annotations

from dataclasses import replace as changed

from botlib.alpaca_rules import OrderRequest, ReplaceRequest
from botlib.brokers.alpaca import outcome
from botlib.brokers.alpaca.account_reads import AccountReads
from botlib.brokers.alpaca.advice import described
from botlib.brokers.order_records import OpenOrder, OrderRejection, OrderResult, UnknownOrder
from botlib.errors import BrokerError, BrokerUnavailable


class Settling(AccountReads):
    """The part of `AlpacaBroker` that finds out."""

    lookups: int
    """How often an order is looked up; half a second apart, then doubling."""

    def _settled(self, found: OpenOrder, what: str) -> OrderResult:
        """An order as found → one of the four results; a replaced one is followed to what took its place."""
        for _ in range(20):
            if found.status != "replaced" or not found.replaced_by:
                break
            newer = self._one(f"/orders/{found.replaced_by}", {"nested": True})
            if newer is None:
                break
            found = newer
        return outcome.of(found, what)

    def _existing(self, order: OrderRequest) -> OrderResult:
        """Alpaca has this client order id already: adopt the order if it is this one.

        Unknown, and never a rejection, when the order cannot be found: an earlier sending of it may be working.
        """
        return self._looked_up(order, BrokerUnavailable(
            "Alpaca has this client order id already, and the order that has it could not be read", reason="duplicate"))

    def _looked_up(self, order: OrderRequest, failure: BrokerUnavailable) -> OrderResult:
        return self._adopted(order.client_order_id or "", failure, order, order.symbol, described(order))

    def _adopted(self, name: str, failure: BrokerUnavailable, order: OrderRequest | None, symbol: str,
                 what: str) -> OrderResult:
        """Look an order up by its client order id a few times: adopt it, or say that nobody knows."""
        lookups = absent = 0
        wait = 0.5
        while failure.sent and lookups < self.lookups:
            if lookups:
                self._sleep(wait)
                wait *= 2.0
            lookups += 1
            try:
                found = self._by_client_id(name, attempts=1)
            except BrokerError:
                continue
            if found is None:
                absent += 1
                continue
            difference = outcome.differs(order, found) if order is not None else ""
            if difference:
                return OrderRejection(
                    symbol=symbol, client_order_id=name, rule="duplicate-client-order-id", status=422, code=40010001,
                    message=f"client_order_id must be unique: the order that has it differs ({difference})", what=what,
                    order_id=found.order_id, advice="Nothing was sent twice; give this order an id of its own.")
            try:
                return self._settled(found, what)
            except BrokerError:
                continue
        return UnknownOrder(symbol=symbol, client_order_id=name, reason=failure.reason, message=str(failure),
                            sent=failure.sent, lookups=lookups, absent=absent, what=what)

    def _done_before(self, order_id: str, changes: ReplaceRequest, what: str) -> OrderResult | None:
        """What has taken an order's place under this id, when the same change was asked for before; None: not known."""
        try:
            found = self._by_client_id(changes.client_order_id or "", attempts=1)
            done = found is not None and found.replaces == order_id and outcome.has_changes(changes, found)
            return self._settled(found, what) if found is not None and done else None
        except BrokerError:
            return None

    def _cancel_unclear(self, order_id: str, failure: BrokerUnavailable,
                        what: str) -> OrderRejection | UnknownOrder | None:
        unknown = UnknownOrder(symbol="", client_order_id="", order_id=order_id, reason=failure.reason, what=what,
                               sent=failure.sent, message=f"{failure} The order may still work; cancel it again")
        try:
            found = self._one(f"/orders/{order_id}", {}, attempts=2) if failure.sent else None
        except BrokerError:
            return unknown
        if found is None:
            return unknown
        if found.status in ("canceled", "pending_cancel", "expired", "rejected"):
            return None
        if found.working:
            return changed(unknown, symbol=found.symbol, client_order_id=found.client_order_id, lookups=1)
        return OrderRejection(symbol=found.symbol, client_order_id=found.client_order_id, rule="order-ended", what=what,
                              message=f'order is already in "{found.status}" state', status=422, order_id=order_id,
                              advice="The order has ended; nothing is left to change.")
