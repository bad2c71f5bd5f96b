"""`AlpacaBroker`: orders and the account through alpaca-py.

Reading, finding out and sending have modules of their own, each on top of the one before: `order_reads`,
`account_reads`, `settling`, `submitting`. Here are changes of what is there, and the streams.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.alpaca_rules import OrderRequest, ReplaceRequest
from botlib.brokers.alpaca import outcome, rejections
from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.connection import OPTIONS, AlpacaConnection
from botlib.brokers.alpaca.order_reads import is_id
from botlib.brokers.alpaca.preflight import Preflight
from botlib.brokers.alpaca.submitting import Submitting, new_client_order_id
from botlib.brokers.base import Capabilities
from botlib.brokers.event_records import BarEvent, StreamProblem, TradeEvent
from botlib.brokers.order_records import OrderRejection, OrderResult, UnknownOrder
from botlib.errors import BrokerError, BrokerRefusal, BrokerUnavailable, InputError, check_names
from botlib.order_request import positive

if TYPE_CHECKING:
    from botlib.brokers.alpaca.streams import BarStream, TradeStream

_LOOKUPS = 4


def _wall() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


class AlpacaBroker(Submitting):
    """Alpaca's paper or live venue, or a local exchange that speaks like it.

    Parameters
    ----------
    config : AlpacaConfig, optional
        Keys and hosts; default `AlpacaConfig.from_env`.
    connection : AlpacaConnection, optional
        One that exists already, shared with a provider; otherwise made from ``config`` and ``options``.
    preflight : bool
        Ask `botlib.alpaca_rules` before the network. Facts about an asset are read at the first order in it and kept
        for 15 minutes; what could not be read is not checked here.
    now : callable, optional
        The present as a tz-aware timestamp: for the rules that need the time of day, beside the broker's clock and for
        the streams. None: this machine's clock, and the rules are left to Alpaca.
    lookups : int
        How often an order with an unclear outcome is looked up, 1 to 10; half a second apart, then doubling.
    **options
        Of `AlpacaConnection`: timeout, attempts, clock, sleep, adapter, …
    """

    name = "alpaca"
    capabilities = Capabilities(
        order_types=frozenset({"market", "limit", "stop", "stop_limit", "trailing_stop"}),
        time_in_force=frozenset({"day", "gtc", "opg", "cls", "ioc", "fok"}),
        order_classes=frozenset({"simple", "bracket", "oco", "oto"}),
        fractional=True, notional=True, shorting=True, extended_hours=True, replace=True, trade_stream=True,
        bar_stream=True)

    def __init__(self, config: AlpacaConfig | None = None, *, connection: AlpacaConnection | None = None,
                 preflight: bool = True, now: Callable[[], pd.Timestamp] | None = None, lookups: int = _LOOKUPS,
                 clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
                 chance: Callable[[], float] = random.random, **options: Any) -> None:
        if connection is not None and (config is not None or options):
            raise InputError("give connection, or config and the connection's options, not both.")
        if connection is not None and not isinstance(connection, AlpacaConnection):
            raise InputError(f"connection is of type {type(connection).__name__}: give an AlpacaConnection.")
        check_names("AlpacaBroker", options, OPTIONS)
        if type(lookups) is not int or not 1 <= lookups <= 10:
            raise InputError(f"lookups = {lookups!r} is out of range: valid is 1 to 10.")
        self.connection = connection or AlpacaConnection(
            config or AlpacaConfig.from_env(), clock=clock, sleep=sleep, chance=chance, **options)
        self.config = self.connection.config
        self.preflight, self.lookups = preflight, lookups
        self._now, self._clock, self._sleep = now or _wall, clock, sleep
        self._client_ids = {}
        self._rules = Preflight(lambda symbol: self._asset(symbol, attempts=1), now, clock)

    # -- changes --------------------------------------------------------------------------------------------------

    def replace(self, order_id: str, *, qty: float | None = None, limit_price: float | None = None,
                stop_price: float | None = None, trail: float | None = None, time_in_force: str | None = None,
                client_order_id: str | None = None) -> OrderResult:
        """Change a working order. Alpaca makes a new order that takes its place; that is the result.

        ``trail`` is dollars or percent, as the order's. Without ``client_order_id`` the new order gets one of ours, so
        that an unclear outcome can be looked up. One that has replaced this order already is found and is the result:
        the same call may be made again.
        """
        name = client_order_id or new_client_order_id()
        changes = ReplaceRequest(qty=qty, limit_price=limit_price, stop_price=stop_price, trail=trail,
                                 time_in_force=time_in_force, client_order_id=name)  # type: ignore[arg-type]
        what = f"replace {order_id}"
        refused = outcome.check_changes(changes)
        if refused is not None or not is_id(order_id):
            return rejections.violated(refused, "", name, what) if refused else \
                rejections.no_such_order(order_id, name, what)
        try:
            answer = self.connection.send("PATCH", f"/orders/{order_id}", outcome.render_changes(changes))
            return self._settled(self._answered(answer), what)
        except BrokerRefusal as refusal:
            done = self._done_before(order_id, changes, what) if client_order_id else None
            return done or rejections.refused_change(refusal, what, client_order_id=name)
        except BrokerUnavailable as failure:
            if failure.reason == "rate-limit":
                return rejections.turned_away(failure, "", name, what)
            return self._adopted(name, failure, None, "", what)

    def cancel(self, order_id: str) -> OrderRejection | UnknownOrder | None:
        """Ask for cancellation; uses the budget kept for cancels. None: Alpaca took the request, or it is cancelled.

        The order may still fill until its status says that it has ended: see `await_end`. When no reliable answer comes
        the order is read; `UnknownOrder` says that it seems untouched, and that cancelling again does no harm.
        """
        what = f"cancel {order_id}"
        if not is_id(order_id):
            return rejections.no_such_order(order_id, "", what)
        try:
            self.connection.send("DELETE", f"/orders/{order_id}", cancel=True)
            return None
        except BrokerRefusal as refusal:
            return rejections.refused_change(refusal, what, order_id=order_id)
        except BrokerUnavailable as failure:
            return self._cancel_unclear(order_id, failure, what)

    def close_position(self, symbol: str, *, qty: float | None = None,
                       client_order_id: str | None = None) -> OrderResult:
        """A market order against the position, good for the day; all of it, or ``qty`` of it.

        An order of ours and not Alpaca's DELETE, which takes no client order id and so leaves an unclear outcome
        unclear. The intent to close goes with it, so that Alpaca refuses it when the position has gone meanwhile.
        """
        name = client_order_id or new_client_order_id()
        what = f"close {symbol}"
        try:
            held = next((p for p in self.get_positions() if p.symbol == symbol), None)
        except BrokerError as error:
            return rejections.position_unknown(symbol, name, what, error)
        if held is None:
            return rejections.no_position(symbol, name, what)
        if qty is not None and not (positive(qty) and qty <= abs(held.qty)):
            return rejections.beyond_position(symbol, name, what, qty, abs(held.qty))
        long = held.qty > 0
        return self.submit_order(OrderRequest(
            symbol=symbol, side="sell" if long else "buy", qty=abs(held.qty) if qty is None else qty,
            client_order_id=name, position_intent="sell_to_close" if long else "buy_to_close"))

    # -- streams --------------------------------------------------------------------------------------------------

    def trade_stream(self, on_event: Callable[[TradeEvent], object], *,
                     on_problem: Callable[[StreamProblem], object] | None = None, since: pd.Timestamp | None = None,
                     heartbeat: float = 30.0) -> TradeStream:
        """A `TradeStream` of this account, not started yet."""
        from botlib.brokers.alpaca.streams import TradeStream

        return TradeStream(self, on_event, on_problem=on_problem, since=since, heartbeat=heartbeat, now=self._now,
                           clock=self._clock)

    def bar_stream(self, symbols: Sequence[str], on_event: Callable[[BarEvent], object], *, feed: str = "iex",
                   interval: str = "1m", on_problem: Callable[[StreamProblem], object] | None = None,
                   since: pd.Timestamp | None = None, heartbeat: float = 90.0) -> BarStream:
        """A `BarStream` over this connection, not started yet."""
        from botlib.brokers.alpaca.streams import BarStream

        return BarStream(self.connection, symbols, on_event, feed=feed, interval=interval, on_problem=on_problem,
                         since=since, heartbeat=heartbeat, now=self._now, clock=self._clock)

    def close(self) -> None:
        """Close pooled connections; idempotent."""
        self.connection.close()

    def __repr__(self) -> str:
        return f"AlpacaBroker({self.config!r})"
