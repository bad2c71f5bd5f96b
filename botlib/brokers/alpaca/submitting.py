"""Sending orders: checked first, sent once, and whatever the answer looks like, one of the four results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed

from botlib.alpaca_rules import OrderRequest, render
from botlib.brokers.alpaca import outcome, rejections
from botlib.brokers.alpaca.advice import described
from botlib.brokers.alpaca.preflight import Preflight
from botlib.brokers.alpaca.settling import Settling
from botlib.brokers.order_records import OrderRejection, OrderResult
from botlib.errors import BrokerRefusal, BrokerUnavailable, InputError


class Submitting(Settling):
    """The part of `AlpacaBroker` that sends orders."""

    preflight: bool
    """Whether the rules are asked before the network."""
    _rules: Preflight

    def submit_order(self, order: OrderRequest) -> OrderResult:
        """Send an order, once.

        Returns
        -------
        OpenOrder
            It works (or waits) at Alpaca.
        Fill
            It has ended with shares: all that were filled, at their average price.
        OrderRejection
            It has ended without any: refused by the pre-flight check or by Alpaca, cancelled or expired at once.
        UnknownOrder
            No reliable answer came, and looking it up by its client order id did not find it: it may still arrive.

        An id that Alpaca has already means that the order exists: it is fetched and compared, and a different one is a
        rejection. Never raises for what the other side does; `InputError` for what is no `OrderRequest`.
        """
        _check_order(order)
        order = order if order.client_order_id else changed(order, client_order_id=new_client_order_id())
        refused = self._refused(order)
        if refused is not None:
            return refused
        try:
            answer = self.connection.send("POST", "/orders", render(order))
            return self._settled(self._answered(answer), described(order))
        except BrokerRefusal as refusal:
            if outcome.is_duplicate(refusal):
                return self._existing(order)
            return rejections.refused(refusal, order)
        except BrokerUnavailable as failure:
            if failure.reason == "rate-limit":  # turned away at the door
                return rejections.turned_away(failure, order.symbol, order.client_order_id or "", described(order))
            return self._looked_up(order, failure)

    def submit_orders(self, orders: Sequence[OrderRequest], *, at_once: int = 8) -> list[OrderResult]:
        """Send several orders at the same time within the one budget of requests.

        ``at_once`` orders are under way together, 1 to 32; they arrive in no particular order, so what must come first
        (exits before entries) goes in a call of its own, or with ``at_once=1``. Results are in the order given.
        """
        if type(at_once) is not int or not 1 <= at_once <= 32:
            raise InputError(f"at_once = {at_once!r} is out of range: valid is 1 to 32.")
        if isinstance(orders, (str, OrderRequest)) or not isinstance(orders, Iterable):
            raise InputError(f"orders is of type {type(orders).__name__}: give a list of OrderRequest, or one alone to "
                             "submit_order.")
        orders = list(orders)
        for number, order in enumerate(orders):  # before the first is sent
            _check_order(order, f"orders[{number}]")
        if len(orders) < 2 or at_once == 1:
            return [self.submit_order(order) for order in orders]
        self.connection.client()  # made once, before the threads
        with ThreadPoolExecutor(min(at_once, len(orders)), thread_name_prefix="alpaca-orders") as pool:
            return list(pool.map(self.submit_order, orders))

    def prepare(self, symbols: Iterable[str]) -> None:
        """Read the facts of these assets now, so that no order waits for them. What cannot be read is left out."""
        for symbol in check_symbols(symbols):
            self._rules.facts(symbol)

    def _refused(self, order: OrderRequest) -> OrderRejection | None:
        return self._rules(order) if self.preflight else None


def _check_order(order: object, name: str = "order") -> None:
    if not isinstance(order, OrderRequest):
        raise InputError(f"{name} is of type {type(order).__name__}: give an OrderRequest, e.g. "
                         "OrderRequest(symbol='AAPL', side='buy', qty=10).")


def check_symbols(symbols: object) -> tuple[str, ...]:
    """Symbols as a tuple of texts. Raises `InputError`."""
    found = () if isinstance(symbols, str) or not isinstance(symbols, Iterable) else tuple(symbols)
    if not found or not all(isinstance(one, str) and one for one in found):
        raise InputError(f"symbols = {symbols!r}: give a list of symbols, e.g. ['AAPL'].")
    return found


def new_client_order_id() -> str:
    """An id for an order that came without one."""
    return f"botlib-{uuid.uuid4()}"
