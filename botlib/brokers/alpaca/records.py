"""Alpaca's JSON as records. Pure. A field that is missing or is no number where one must stand makes the whole answer
unusable (`BrokerUnavailable`): it never reads as zero, as flat or as closed.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import pandas as pd

from botlib.brokers.account_records import AccountInfo, Activity, ActivityKind, Position
from botlib.brokers.market_records import Asset, MarketClock, MarketSession
from botlib.brokers.order_records import Fill, OpenOrder
from botlib.calendars import EXCHANGE_TZ
from botlib.errors import BrokerUnavailable

_TRADES = {"FILL"}
_KINDS: dict[str, ActivityKind] = {
    **dict.fromkeys("DIV DIVCGL DIVCGS DIVFT DIVNRA DIVROC DIVTW DIVTXEX".split(), "dividend"),
    **dict.fromkeys("INT INTNRA INTTW".split(), "interest"),
    **dict.fromkeys("FEE CFEE DIVFEE PTC".split(), "fee"),
    **dict.fromkeys("TRANS CSD CSW JNL JNLC JNLS ACATC ACATS MEM OCT".split(), "transfer"),
    "SPLIT": "split",
    **dict.fromkeys("SPIN REO REORG MA NC".split(), "reorganization"),
}
_SHARES = {"SDIV"}  # a stock dividend is a split


def unusable(what: str, why: str) -> BrokerUnavailable:
    """The error of an answer that does not hold what it must."""
    return BrokerUnavailable(f"Alpaca's answer cannot be used: {what} {why}.", reason="malformed")


def listed(answer: object, what: str) -> list[dict[str, Any]]:
    """An answer that must be a list of objects."""
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise unusable(what, "should be a list of objects")
    return answer


def order(body: object, parent: str | None = None) -> OpenOrder:
    """An order with its legs."""
    if not isinstance(body, Mapping):
        raise unusable("an order", "should be an object")
    order_id = _text(body, "id", "an order")
    side = _text(body, "side", "an order")
    if side not in ("buy", "sell"):
        raise unusable(f"order {order_id}", f"has the side {side!r}")
    legs = body.get("legs") or ()
    if not isinstance(legs, (list, tuple)):
        raise unusable(f"order {order_id}", "has legs that are no list")
    return OpenOrder(
        order_id=order_id,
        client_order_id=str(body.get("client_order_id") or ""),
        symbol=_text(body, "symbol", "an order"),
        side=side,  # type: ignore[arg-type]
        type=str(body.get("type") or body.get("order_type") or ""),
        time_in_force=str(body.get("time_in_force") or ""),
        status=_text(body, "status", "an order"),
        order_class=str(body.get("order_class") or "simple"),
        qty=number(body, "qty"),
        notional=number(body, "notional"),
        filled_qty=need(body, "filled_qty", f"order {order_id}"),
        filled_avg_price=number(body, "filled_avg_price"),
        limit_price=number(body, "limit_price"),
        stop_price=number(body, "stop_price"),
        trail_price=number(body, "trail_price"),
        trail_percent=number(body, "trail_percent"),
        extended_hours=body.get("extended_hours") is True,
        position_intent=str(body.get("position_intent") or ""),
        submitted_at=time(body.get("submitted_at") or body.get("created_at")),
        updated_at=time(body.get("updated_at")),
        filled_at=time(body.get("filled_at")),
        expires_at=time(body.get("expires_at")),
        replaces=body.get("replaces") or None,
        replaced_by=body.get("replaced_by") or None,
        group_id=body.get("group_id") or None,
        group_role=str(body.get("group_role") or ""),
        parent_id=parent,
        legs=tuple(order(leg, order_id) for leg in legs),
    )


def whole_fill(found: OpenOrder) -> Fill:
    """All that an ended order has filled, at its average price. Raises `BrokerUnavailable` without a price."""
    when = found.filled_at or found.updated_at or found.submitted_at
    if found.filled_avg_price is None or when is None:
        raise unusable(f"order {found.order_id}", "has shares filled but no price or time")
    return Fill(order_id=found.order_id, client_order_id=found.client_order_id, symbol=found.symbol, side=found.side,
                qty=found.filled_qty, price=found.filled_avg_price, cum_qty=found.filled_qty, time=when,
                leaves_qty=found.left_qty, status=found.status)


def fill(body: Mapping[str, Any], client_order_id: str = "") -> Fill:
    """A trade activity."""
    name = f"activity {body.get('id')}"
    when, side = time(body.get("transaction_time")), body.get("side")
    if when is None or side not in ("buy", "sell", "sell_short"):
        raise unusable(name, "has no time or no side")
    return Fill(order_id=_text(body, "order_id", name), symbol=_text(body, "symbol", name),
                side="buy" if side == "buy" else "sell", qty=need(body, "qty", name), price=need(body, "price", name),
                cum_qty=round(need(body, "cum_qty", name), 9), time=when, client_order_id=client_order_id,
                leaves_qty=number(body, "leaves_qty"), activity_id=str(body.get("id") or ""),
                status=str(body.get("order_status") or ""))


def update_fill(data: Mapping[str, Any], found: OpenOrder) -> Fill:
    """The execution of a trade update whose event is "fill" or "partial_fill"."""
    name = f"the trade update of order {found.order_id}"
    when = time(data.get("timestamp")) or found.updated_at
    if when is None:
        raise unusable(name, "has no time")
    return Fill(order_id=found.order_id, client_order_id=found.client_order_id, symbol=found.symbol, side=found.side,
                qty=need(data, "qty", name), price=need(data, "price", name), cum_qty=round(found.filled_qty, 9),
                time=when, leaves_qty=found.left_qty, status=found.status)


def activity(body: Mapping[str, Any]) -> Activity:
    """An activity that is no trade."""
    name = f"activity {body.get('id')}"
    when = time(body.get("transaction_time") or body.get("created_at") or body.get("date"))
    if when is None:
        raise unusable(name, "has no time")
    kind, sub_type = _text(body, "activity_type", name), str(body.get("activity_sub_type") or "")
    return Activity(activity_id=_text(body, "id", name), type=kind, time=when, sub_type=sub_type,
                    kind="split" if sub_type in _SHARES else _KINDS.get(kind, "other"),
                    symbol=str(body.get("symbol") or ""), qty=number(body, "qty"), price=number(body, "price"),
                    net_amount=number(body, "net_amount"), description=str(body.get("description") or ""),
                    status=str(body.get("status") or ""), created_at=time(body.get("created_at")),
                    day=date(body.get("date")))


def is_trade(body: Mapping[str, Any]) -> bool:
    """Whether an activity is a fill."""
    return body.get("activity_type") in _TRADES


def position(body: Mapping[str, Any]) -> Position:
    """A position. Alpaca signs quantities of shorts; the sign is taken from ``side`` where it is told."""
    symbol = _text(body, "symbol", "a position")
    name = f"the position in {symbol}"
    side, qty = body.get("side"), need(body, "qty", name)
    if qty == 0.0 or side not in ("long", "short", None):
        raise unusable(name, f"is {qty:g} shares {side}")
    sign = (1.0 if qty > 0 else -1.0) if side is None else 1.0 if side == "long" else -1.0
    available = number(body, "qty_available")
    return Position(symbol=symbol, qty=sign * abs(qty), avg_entry_price=need(body, "avg_entry_price", name),
                    market_value=number(body, "market_value"), unrealized_pl=number(body, "unrealized_pl"),
                    current_price=number(body, "current_price"), cost_basis=number(body, "cost_basis"),
                    available_qty=None if available is None else sign * abs(available) + 0.0,
                    lastday_price=number(body, "lastday_price"))


def account(body: object) -> AccountInfo:
    """The account. A missing flag counts as set: whether trading is blocked is never guessed."""
    if not isinstance(body, Mapping):
        raise unusable("the account", "should be an object")
    money = {name: need(body, name, "the account") for name in (
        "cash", "equity", "last_equity", "buying_power", "long_market_value", "short_market_value", "initial_margin",
        "maintenance_margin", "multiplier")}
    flags = {name: body.get(name) is not False for name in ("trading_blocked", "account_blocked",
                                                             "trade_suspended_by_user")}
    values: dict[str, Any] = money | flags
    return AccountInfo(account_id=_text(body, "id", "the account"), status=_text(body, "status", "the account"),
                       account_number=_text(body, "account_number", "the account"),
                       currency=str(body.get("currency") or ""), shorting_enabled=body.get("shorting_enabled") is True,
                       created_at=time(body.get("created_at")), **values)


def clock(body: object, asked_at: pd.Timestamp | None = None, answered_at: pd.Timestamp | None = None) -> MarketClock:
    """The exchange's clock; ``asked_at`` and ``answered_at`` are moments of the clock here."""
    if not isinstance(body, Mapping) or not isinstance(body.get("is_open"), bool):
        raise unusable("the clock", "does not say whether the market is open")
    times = {name: time(body.get(key)) for name, key in (("time", "timestamp"), ("next_open", "next_open"),
                                                         ("next_close", "next_close"))}
    if any(value is None for value in times.values()):
        raise unusable("the clock", "lacks a time")
    return MarketClock(is_open=body["is_open"], asked_at=asked_at, answered_at=answered_at,
                       **times)  # type: ignore[arg-type]


def session(body: Mapping[str, Any]) -> MarketSession:
    """A day of the calendar, whose hours are New York's."""
    day = date(body.get("date"))
    if day is None:
        raise unusable("a day of the calendar", "has no date")
    times = {name: _hour(day, body.get(key)) for name, key in (
        ("open", "open"), ("close", "close"), ("extended_open", "session_open"), ("extended_close", "session_close"))}
    if times["open"] is None or times["close"] is None or times["open"] >= times["close"]:
        raise unusable(f"the calendar of {day}", "lacks its hours")
    return MarketSession(day=day, **times)  # type: ignore[arg-type]


def asset(body: object) -> Asset:
    """An asset; one that is not active is not tradable."""
    if not isinstance(body, Mapping):
        raise unusable("an asset", "should be an object")
    symbol, status = _text(body, "symbol", "an asset"), str(body.get("status") or "active")
    flags = {name: body.get(name) is True for name in ("fractionable", "shortable", "easy_to_borrow", "marginable")}
    return Asset(symbol=symbol, status=status, asset_id=str(body.get("id") or ""), name=str(body.get("name") or ""),
                 exchange=str(body.get("exchange") or ""),
                 tradable=body.get("tradable") is True and status == "active", **flags)


# --- values -----------------------------------------------------------------------------------------------------------


def number(body: Mapping[str, Any], name: str) -> float | None:
    """A number that may be missing; text and JSON numbers count."""
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        found = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise unusable(name, f"is {value!r}, not a number")
    return found


def need(body: Mapping[str, Any], name: str, of: str) -> float:
    """A number that must be there."""
    found = number(body, name)
    if found is None:
        raise unusable(of, f"has no {name}")
    return found


def time(value: object) -> pd.Timestamp | None:
    """A moment, UTC; a bare date is its midnight in UTC."""
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str):
            raise TypeError
        return _parsed(value)
    except (TypeError, ValueError):
        raise unusable("a time", f"is {value!r}") from None


def date(value: object) -> dt.date | None:
    """A date, the first ten letters of a text."""
    if value is None or value == "":
        return None
    try:
        return dt.date.fromisoformat(value[:10])  # type: ignore[index]
    except (TypeError, ValueError):
        raise unusable("a date", f"is {value!r}") from None


def _hour(day: dt.date, value: object) -> pd.Timestamp | None:
    """ "09:30" or "0400" in New York, as UTC."""
    if value is None or value == "":
        return None
    try:
        digits = value.replace(":", "")  # type: ignore[attr-defined]
        if len(digits) != 4:
            raise ValueError
        at = dt.datetime.combine(day, dt.time(int(digits[:2]), int(digits[2:])))
        return pd.Timestamp(at, tz=EXCHANGE_TZ).tz_convert("UTC")
    except (AttributeError, TypeError, ValueError):
        raise unusable(f"a time of {day}", f"is {value!r}") from None


@lru_cache(maxsize=8192)
def _parsed(text: str) -> pd.Timestamp:
    """Orders are read again and again with the same times, and reading one costs more than the rest of its fields."""
    found = pd.Timestamp(text)
    if pd.isna(found):
        raise ValueError("not a time")
    return found.tz_localize("UTC") if found.tzinfo is None else found.tz_convert("UTC")


def _text(body: Mapping[str, Any], name: str, of: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise unusable(of, f"has no {name}")
    return value


def flat(orders: Iterable[OpenOrder]) -> list[OpenOrder]:
    """Orders and their legs, each once, in the order met."""
    found: dict[str, OpenOrder] = {}
    for one in orders:
        for inner in one.flat():
            if inner.order_id not in found or inner.parent_id is not None:
                found[inner.order_id] = inner
    return list(found.values())
