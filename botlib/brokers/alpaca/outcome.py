"""What an order that was found, or a refusal, means: pure decisions of the broker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from botlib.alpaca_rules import MarketFacts, OrderRequest, ReplaceRequest, Violation, check_shape, plain, refuse
from botlib.brokers.alpaca import records
from botlib.brokers.base import OpenOrder, OrderRejection, OrderResult
from botlib.calendars import days_of, schedule
from botlib.errors import BrokerRefusal

_GROUPS = ("bracket", "oco", "oto")
_EXTENDED = (4 * 60, 20 * 60)


def is_duplicate(refusal: BrokerRefusal) -> bool:
    """Whether Alpaca says that it has this client order id. The code differs between recordings, the words do not."""
    return refusal.status == 422 and "client_order_id" in refusal.message and "unique" in refusal.message


def of(found: OpenOrder, what: str) -> OrderResult:
    """Which of the results an order is. Raises `BrokerUnavailable` when it has ended with shares but tells no price."""
    if found.working or found.status == "replaced":
        return found
    if found.filled_qty > 0.0:
        return records.whole_fill(found)
    return OrderRejection(symbol=found.symbol, client_order_id=found.client_order_id, rule=f"order-{found.status}",
                          message=f"the order is {found.status} and nothing was filled", what=what,
                          order_id=found.order_id, advice=_ENDED.get(found.status, ""))


_ENDED = {
    "canceled": "It was cancelled, by somebody or because it could not fill at once (ioc, fok).",
    "expired": "Its time in force ran out.",
    "rejected": "Likely causes: not enough buying power, the market's hours, or the symbol cannot be traded now.",
}


def differs(order: OrderRequest, found: OpenOrder) -> str:
    """What distinguishes an order at Alpaca from the one that was asked for; "" when it is that one."""
    pairs: list[tuple[str, object, object]] = [
        ("symbol", order.symbol, found.symbol), ("side", order.side, found.side),
        ("order_class", order.order_class, found.order_class),
        ("time_in_force", order.time_in_force, found.time_in_force),
        ("extended_hours", order.extended_hours, found.extended_hours)]
    if (order.type, found.type) != ("stop", "stop_limit"):  # Alpaca may show the limit that it adds to a buy stop
        pairs += [("type", order.type, found.type), ("limit_price", _first_limit(order), found.limit_price)]
    size = "qty" if order.qty is not None else "notional"
    pairs.append((size, getattr(order, size), getattr(found, size)))
    if order.stop_price is not None:
        pairs.append(("stop_price", order.stop_price, found.stop_price))
    for name in ("trail_price", "trail_percent"):  # Alpaca works out the one that was not given
        if getattr(order, name) is not None:
            pairs.append((name, getattr(order, name), getattr(found, name)))
    pairs += _legs(order, found)
    return "; ".join(f"{name} {_shown(has)}, not {_shown(want)}" for name, want, has in pairs if not _same(want, has))


def _first_limit(order: OrderRequest) -> float | None:
    return order.take_profit if order.order_class == "oco" else order.limit_price


def _legs(order: OrderRequest, found: OpenOrder) -> list[tuple[str, object, object]]:
    """Prices of the legs, as far as the answer holds them."""
    if not found.legs:
        return []
    stop = next((leg for leg in found.legs if leg.stop_price is not None), None)
    target = next((leg for leg in found.legs if leg.stop_price is None and leg.limit_price is not None), None)
    pairs: list[tuple[str, object, object]] = []
    if order.stop_loss is not None:
        pairs += [("stop_loss", order.stop_loss, stop and stop.stop_price)]
    if order.take_profit is not None and order.order_class != "oco":
        pairs += [("take_profit", order.take_profit, target and target.limit_price)]
    return pairs


def _same(asked: object, found: object) -> bool:
    if isinstance(asked, (int, float)) and isinstance(found, (int, float)):
        return math.isclose(asked, found, rel_tol=1e-12, abs_tol=5e-10)
    return asked == found


def _shown(value: object) -> str:
    return plain(value) if isinstance(value, float) else str(value)


# --- replacing --------------------------------------------------------------------------------------------------------


def check_changes(changes: ReplaceRequest) -> Violation | None:
    """What is wrong with a replacement whatever the order; the rest is for Alpaca, which knows the order."""
    values = (changes.qty, changes.limit_price, changes.stop_price, changes.trail, changes.time_in_force)
    return refuse("replace-unchanged") if all(value is None for value in values) else check_shape(changes)


def has_changes(changes: ReplaceRequest, found: OpenOrder) -> bool:
    """Whether an order has the new values that were asked for."""
    trail = found.trail_price if found.trail_price is not None else found.trail_percent
    pairs = [(changes.trail, trail), *((getattr(changes, name), getattr(found, name))
                                       for name in ("qty", "limit_price", "stop_price", "time_in_force"))]
    return all(want is None or _same(want, has) for want, has in pairs)


def render_changes(changes: ReplaceRequest) -> dict[str, Any]:
    """The JSON body of PATCH /v2/orders/{id}."""
    body: dict[str, Any] = {name: plain(value) for name in ("qty", "limit_price", "stop_price", "trail")
                            if (value := getattr(changes, name)) is not None}
    if changes.time_in_force is not None:
        body["time_in_force"] = changes.time_in_force
    if changes.client_order_id:
        body["client_order_id"] = changes.client_order_id
    return body


# --- legs that the list leaves out ------------------------------------------------------------------------------------


def lone_legs(found: Sequence[OpenOrder]) -> list[OpenOrder]:
    """Members of groups whose other members the list does not show: their entry has filled, a sibling may be held."""
    roles: dict[str, set[str]] = {}
    for one in found:
        if one.group_id:
            roles.setdefault(one.group_id, set()).add(one.group_role)
    return [one for one in found
            if one.order_class in _GROUPS and one.parent_id is None and not one.legs
            and not (one.group_id and {"take_profit", "stop_loss"} <= roles[one.group_id])]


def siblings(lone: Iterable[OpenOrder], whole: Sequence[OpenOrder]) -> list[OpenOrder]:
    """Of ``whole``, those that belong to the same groups as ``lone``."""
    known = {one.order_id: one for one in whole}
    groups = {one.group_id for one in lone if one.group_id}
    parents = {known[one.order_id].parent_id for one in lone if one.order_id in known} - {None}
    return [one for one in whole if one.group_id in groups or one.parent_id in parents]


def earliest(orders: Iterable[OpenOrder]) -> pd.Timestamp | None:
    """A second before the first of them was submitted; None when one of them does not tell."""
    times = [one.submitted_at for one in orders]
    return None if not times or None in times else min(times) - pd.Timedelta(seconds=1)  # type: ignore[type-var]


_BEGINNING = pd.Timestamp(0, tz="UTC")


def age(one: OpenOrder) -> tuple[pd.Timestamp, bool]:
    """Sorts orders oldest first, entries before their legs; stable for those of one moment."""
    return one.submitted_at or _BEGINNING, one.parent_id is not None


# --- the moment -------------------------------------------------------------------------------------------------------


def market_facts(now: pd.Timestamp) -> MarketFacts:
    """What the New York exchange's calendar says of a moment; no price."""
    timetable = schedule("XNYS")
    local = now.tz_convert(timetable.timezone)
    minute = local.hour * 60 + local.minute
    position, is_session = timetable.locate(days_of(pd.DatetimeIndex([local])))
    moment = now.as_unit("ns").value
    is_open = bool(is_session[0]) and timetable.opens[position[0]] <= moment < timetable.closes[position[0]]
    return MarketFacts(is_open=bool(is_open), minute_of_day_et=minute,
                       extended_open=bool(is_session[0]) and _EXTENDED[0] <= minute < _EXTENDED[1])
