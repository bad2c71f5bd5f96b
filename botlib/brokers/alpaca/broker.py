"""`AlpacaBroker`: orders and the account through alpaca-py."""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed
from typing import Any
from urllib.parse import quote

import pandas as pd

from botlib.alpaca_rules import (
    AssetFacts,
    MarketFacts,
    OrderRequest,
    ReplaceRequest,
    Violation,
    check,
    render,
    unknown_symbol,
)
from botlib.brokers.alpaca import outcome, records
from botlib.brokers.alpaca.advice import described, explain
from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.brokers.base import (
    AccountInfo,
    Activity,
    Capabilities,
    Fill,
    MarketClock,
    OpenOrder,
    OrderRejection,
    OrderResult,
    Portfolio,
    Position,
    UnknownOrder,
)
from botlib.errors import BrokerError, BrokerRefusal, BrokerUnavailable, InputError

_PAGE = 500
_ASSET_SECONDS = 900.0
_LOOKUPS = 4


class AlpacaBroker:
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
        The present as a tz-aware timestamp, for the rules that need the time of day; None leaves those to Alpaca.
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
        if type(lookups) is not int or not 1 <= lookups <= 10:
            raise InputError(f"lookups = {lookups!r} is out of range: valid is 1 to 10.")
        self.connection = connection or AlpacaConnection(
            config or AlpacaConfig.from_env(), clock=clock, sleep=sleep, chance=chance, **options)
        self.config = self.connection.config
        self.preflight, self.lookups = preflight, lookups
        self._now, self._clock, self._sleep = now, clock, sleep
        self._assets: dict[str, tuple[float, AssetFacts | None]] = {}
        self._client_ids: dict[str, str] = {}

    # -- orders ---------------------------------------------------------------------------------------------------

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
        rejection. Never raises for what the other side does.
        """
        order = order if order.client_order_id else changed(order, client_order_id=new_client_order_id())
        refused = self._preflight(order)
        if refused is not None:
            return refused
        try:
            answer = self.connection.send("POST", "/orders", render(order))
            return self._settled(records.order(answer), described(order))
        except BrokerRefusal as refusal:
            if outcome.is_duplicate(refusal):
                return self._existing(order, refusal)
            return self._rejected(refusal, order)
        except BrokerUnavailable as failure:
            if failure.reason == "rate-limit":  # turned away at the door
                return _turned_away(failure, order.symbol, order.client_order_id or "", described(order))
            return self._looked_up(order, failure)

    def submit_orders(self, orders: Sequence[OrderRequest], *, at_once: int = 8) -> list[OrderResult]:
        """Send several orders at the same time within the one budget of requests.

        ``at_once`` orders are under way together, 1 to 32; they arrive in no particular order, so what must come first
        (exits before entries) goes in a call of its own, or with ``at_once=1``. Results are in the order given.
        """
        if type(at_once) is not int or not 1 <= at_once <= 32:
            raise InputError(f"at_once = {at_once!r} is out of range: valid is 1 to 32.")
        orders = list(orders)
        if len(orders) < 2 or at_once == 1:
            return [self.submit_order(order) for order in orders]
        self.connection.client()  # made once, before the threads
        with ThreadPoolExecutor(min(at_once, len(orders)), thread_name_prefix="alpaca-orders") as pool:
            return list(pool.map(self.submit_order, orders))

    def replace(self, order_id: str, *, qty: float | None = None, limit_price: float | None = None,
                stop_price: float | None = None, trail: float | None = None, time_in_force: str | None = None,
                client_order_id: str | None = None) -> OrderResult:
        """Change a working order. Alpaca makes a new order that takes its place; that is the result.

        ``trail`` is dollars or percent, as the order's. Without ``client_order_id`` the new order gets one of ours, so
        that an unclear outcome can be looked up.
        """
        name = client_order_id or new_client_order_id()
        changes = ReplaceRequest(qty=qty, limit_price=limit_price, stop_price=stop_price, trail=trail,
                                 time_in_force=time_in_force, client_order_id=name)  # type: ignore[arg-type]
        what = f"replace {order_id}"
        refused = outcome.check_changes(changes)
        if refused is not None or not _is_id(order_id):
            return _violated(refused, "", name, what) if refused else _no_such_order(order_id, name, what)
        try:
            answer = self.connection.send("PATCH", f"/orders/{order_id}", outcome.render_changes(changes))
            return self._settled(records.order(answer), what)
        except BrokerRefusal as refusal:
            return self._rejected(refusal, None, name, what)
        except BrokerUnavailable as failure:
            if failure.reason == "rate-limit":
                return _turned_away(failure, "", name, what)
            return self._adopted(name, failure, None, "", what)

    def cancel(self, order_id: str) -> OrderRejection | UnknownOrder | None:
        """Ask for cancellation; uses the budget kept for cancels. None: Alpaca took the request, or it is cancelled.

        The order may still fill until its status says that it has ended: see `await_end`. When no reliable answer comes
        the order is read; `UnknownOrder` says that it seems untouched, and that cancelling again does no harm.
        """
        what = f"cancel {order_id}"
        if not _is_id(order_id):
            return _no_such_order(order_id, "", what)
        try:
            self.connection.send("DELETE", f"/orders/{order_id}", cancel=True)
            return None
        except BrokerRefusal as refusal:
            return self._rejected(refusal, None, "", what, order_id=order_id)
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
            return OrderRejection(symbol=str(symbol), client_order_id=name, rule="position-unknown", by="client",
                                  message=f"the position could not be read: {error}", what=what,
                                  advice="Nothing was sent; try again.")
        if held is None:
            return OrderRejection(symbol=str(symbol), client_order_id=name, rule="no-position", by="client",
                                  message="position does not exist", what=what,
                                  advice="There is no position in this symbol.")
        if qty is not None and not (isinstance(qty, (int, float)) and 0 < qty <= abs(held.qty)):
            most = f"qty = {qty!r} must be above 0 and at most the {abs(held.qty):g} shares held"
            return OrderRejection(symbol=symbol, client_order_id=name, rule="quantity-beyond-position", by="client",
                                  message=most, what=what)
        long = held.qty > 0
        return self.submit_order(OrderRequest(
            symbol=symbol, side="sell" if long else "buy", qty=abs(held.qty) if qty is None else qty,
            client_order_id=name, position_intent="sell_to_close" if long else "buy_to_close"))

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

    # -- reading --------------------------------------------------------------------------------------------------

    def get_order(self, order_id: str) -> OpenOrder | None:
        """One order in any state, with its legs; None when there is none."""
        if not _is_id(order_id):
            return None
        return self._one(f"/orders/{order_id}", {"nested": True})

    def find_order(self, client_order_id: str) -> OpenOrder | None:
        """One order in any state, by our id; None when there is none."""
        return self._one("/orders:by_client_order_id", {"client_order_id": client_order_id})

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

    def orders(self, since: pd.Timestamp | None = None) -> tuple[OpenOrder, ...]:
        """All orders in any state, legs included, submitted after ``since``, oldest first."""
        query = {"status": "all"} | ({} if since is None else {"after": _moment(since).isoformat()})
        return tuple(sorted(records.flat(self._pages(query)), key=outcome.age))

    def get_positions(self) -> tuple[Position, ...]:
        """All positions, by symbol."""
        found = [records.position(p) for p in records.listed(self.connection.read("/positions"), "the positions")]
        return tuple(sorted(found, key=lambda p: p.symbol))

    def get_account_info(self) -> AccountInfo:
        """The account now."""
        return records.account(self.connection.read("/account"))

    def portfolio(self) -> Portfolio:
        """Account, positions and open orders, read in the order that never loses a fill in between."""
        began = pd.Timestamp.now("UTC")
        orders, positions = self.open_orders(), self.get_positions()
        return Portfolio(account=self.get_account_info(), positions=positions, open_orders=orders, time=began)

    def fills(self, since: pd.Timestamp | None = None) -> tuple[Fill, ...]:
        """All executions from ``since`` on (that instant included), oldest first, each key once."""
        first = None if since is None else _moment(since)
        found: dict[tuple[str, float], Fill] = {}
        for body in self._activities("/account/activities/FILL", first):
            one = records.fill(body, self._client_ids.get(str(body.get("order_id")), ""))
            if first is None or one.time >= first:
                found.setdefault(one.key, one)
        return tuple(sorted(found.values(), key=lambda one: (one.time, one.order_id, one.cum_qty)))

    def activities(self, since: pd.Timestamp | None = None) -> tuple[Activity, ...]:
        """What moved cash or shares beside fills (dividends, splits, fees, deposits), from ``since`` on, by time."""
        first = None if since is None else _moment(since)
        found = [records.activity(body) for body in self._activities("/account/activities", first)
                 if not records.is_trade(body)]
        return tuple(sorted(found, key=lambda one: (one.time, one.activity_id)))

    def clock(self) -> MarketClock:
        """The exchange's clock."""
        return records.clock(self.connection.read("/clock"))

    def close(self) -> None:
        """Close pooled connections; idempotent."""
        self.connection.close()

    def __repr__(self) -> str:
        return f"AlpacaBroker({self.config!r})"

    # -- pages ----------------------------------------------------------------------------------------------------

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
            yield from fresh
            seen.update(one.order_id for one in page)
            if sum(len(one.flat()) for one in page) < _PAGE:
                return
            asked.pop("after", None)
            asked["after_order_id"] = page[-1].order_id

    def _activities(self, path: str, since: pd.Timestamp | None) -> Iterable[dict[str, Any]]:
        """Activities oldest first, paged to the end. Alpaca's ``after`` leaves that very moment out."""
        asked: dict[str, Any] = {"direction": "asc", "page_size": 100}
        if since is not None:
            asked["after"] = (since - pd.Timedelta(seconds=1)).isoformat()
        seen: set[str] = set()
        while True:
            page = records.listed(self.connection.read(path, asked), "the activities")
            fresh = [body for body in page if body.get("id") not in seen]
            if page and not fresh:
                raise records.unusable("the list of activities", "repeats itself and cannot be read to its end")
            yield from fresh
            if len(page) < 100:
                return
            seen.update(str(body.get("id")) for body in page)
            asked["page_token"] = page[-1].get("id")

    def _one(self, path: str, query: dict[str, Any], attempts: int | None = None) -> OpenOrder | None:
        try:
            return records.order(self.connection.read(path, query, attempts=attempts))
        except BrokerRefusal as refusal:
            if refusal.status == 404:
                return None
            raise

    # -- what became of it ----------------------------------------------------------------------------------------

    def _settled(self, found: OpenOrder, what: str) -> OrderResult:
        """An order as found → one of the four results; a replaced one is followed to what took its place."""
        self._remember(found)
        for _ in range(20):
            if found.status != "replaced" or not found.replaced_by:
                break
            newer = self._one(f"/orders/{found.replaced_by}", {"nested": True})
            if newer is None:
                break
            found = newer
        return outcome.of(found, what)

    def _existing(self, order: OrderRequest, refusal: BrokerRefusal) -> OrderResult:
        """Alpaca has this client order id already: adopt the order if it is this one."""
        name = order.client_order_id or ""
        failure = BrokerUnavailable("Alpaca has this client order id already, and the order could not be read",
                                    reason="duplicate")
        result = self._adopted(name, failure, order, order.symbol, described(order))
        if isinstance(result, UnknownOrder) and result.absent == result.lookups:  # refused, and on no list: not ours
            return self._rejected(refusal, order)
        return result

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
                found = self._one("/orders:by_client_order_id", {"client_order_id": name}, attempts=1)
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

    # -- before it is sent ----------------------------------------------------------------------------------------

    def _preflight(self, order: OrderRequest) -> OrderRejection | None:
        if not self.preflight:
            return None
        market = self._market()
        broken = check(order, market=market, extended_gtc=True)
        if broken is None:
            kept = order.symbol in self._assets
            broken = self._asset_rule(order, market)
            if broken is not None and kept:  # what was true a while ago must not stop an exit now
                del self._assets[order.symbol]
                broken = self._asset_rule(order, market)
        if broken is None:
            return None
        return _violated(broken, str(order.symbol), str(order.client_order_id), described(order))

    def _asset_rule(self, order: OrderRequest, market: MarketFacts | None) -> Violation | None:
        known, asset = self._asset(order.symbol)
        if not known:
            return None
        if asset is None:
            return unknown_symbol(order.symbol)
        return check(order, asset=asset, market=market, extended_gtc=True)

    def _asset(self, symbol: str) -> tuple[bool, AssetFacts | None]:
        """(whether it is known what the asset is, its facts; None: there is no such asset)."""
        kept = self._assets.get(symbol)
        if kept is not None and self._clock() - kept[0] < _ASSET_SECONDS:
            return True, kept[1]
        try:
            body = self.connection.read(f"/assets/{quote(str(symbol), safe='')}", attempts=1)
            facts = AssetFacts(**{name: body.get(name) is True for name in AssetFacts.__slots__})
        except BrokerRefusal as refusal:
            if refusal.status != 404:
                return False, None
            return True, None  # asked again next time: it may be listed by then
        except (BrokerUnavailable, AttributeError):
            return False, None
        self._assets[symbol] = (self._clock(), facts if body.get("status", "active") == "active"
                                else changed(facts, tradable=False))
        return True, self._assets[symbol][1]

    def prepare(self, symbols: Iterable[str]) -> None:
        """Read the facts of these assets now, so that no order waits for them."""
        for symbol in symbols:
            self._asset(symbol)

    def _market(self) -> MarketFacts | None:
        return None if self._now is None else outcome.market_facts(self._now())

    def _remember(self, found: OpenOrder) -> None:
        for one in found.flat():
            if one.client_order_id:
                self._client_ids[one.order_id] = one.client_order_id

    def _rejected(self, refusal: BrokerRefusal, order: OrderRequest | None, name: str = "", what: str = "",
                  order_id: str = "") -> OrderRejection:
        rule, advice = explain(refusal, order)
        return OrderRejection(
            symbol=order.symbol if order else str(refusal.fields.get("symbol", "")), rule=rule, advice=advice,
            client_order_id=(order.client_order_id or "") if order else name, message=refusal.message,
            status=refusal.status, code=refusal.code, what=described(order) if order else what, order_id=order_id,
            fields=refusal.fields)


def new_client_order_id() -> str:
    """An id for an order that came without one."""
    return f"botlib-{uuid.uuid4()}"


def _violated(broken: Violation, symbol: str, name: str, what: str) -> OrderRejection:
    return OrderRejection(symbol=symbol, client_order_id=name, rule=broken.rule, status=broken.status, code=broken.code,
                          message=broken.message, advice=broken.advice, what=what, by="preflight", fields=broken.fields)


def _turned_away(failure: BrokerUnavailable, symbol: str, name: str, what: str) -> OrderRejection:
    return OrderRejection(symbol=symbol, client_order_id=name, rule="rate-limit", status=failure.status, code=42910000,
                          message=str(failure), what=what,
                          advice="Nothing was accepted. Wait, and see whether a second program uses this account.")


def _no_such_order(order_id: object, name: str, what: str) -> OrderRejection:
    return OrderRejection(symbol="", client_order_id=name, rule="order-not-found", status=404, code=40410000, what=what,
                          message=f"order not found for {order_id}", by="preflight", order_id=str(order_id),
                          advice="An order id is a UUID, as `OpenOrder.order_id`; find_order takes a client order id.")


def _is_id(order_id: object) -> bool:
    try:
        uuid.UUID(order_id)  # type: ignore[arg-type]
        return True
    except (ValueError, TypeError, AttributeError):
        return False


def _moment(since: object) -> pd.Timestamp:
    """A tz-aware moment; a naive one is refused, nobody knows when it was."""
    try:
        found = pd.Timestamp(since)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = pd.NaT
    if pd.isna(found) or found.tzinfo is None or not math.isfinite(found.value):
        raise InputError(f"since = {since!r} must be a time with a time zone, e.g. pd.Timestamp.now('UTC').")
    return found.tz_convert("UTC")
