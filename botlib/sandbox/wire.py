"""Records of the exchange as Alpaca writes them: the key sets of its answers."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botlib.alpaca_rules import AssetFacts
from botlib.sandbox.formats import day, local, moment, money, plain, price, quantity, timestamp
from botlib.sandbox.orders import Activity, Order, Position, Refusal, TradeUpdate

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange

__all__ = ["account", "activity", "asset", "asset_id", "balance_day", "clock", "error", "local", "money", "order",
           "plain", "position", "timestamp", "trade_update"]

LISTED_ON = "NYSE"
MARGIN_PCT = 30
"""Maintenance margin, percent of the market value; entries need 50 (Regulation T)."""
_ASSETS = uuid.UUID("b0b6dd9d-8b9b-48a9-ba46-b9d54906e415")


@lru_cache(maxsize=16_384)
def asset_id(symbol: str) -> str:
    """The same id for a symbol, always."""
    return str(uuid.uuid5(_ASSETS, symbol))


# --- Orders -----------------------------------------------------------------------------------------------------------


def order(o: Order, nested: bool = True) -> dict[str, Any]:
    """An order; ``nested`` puts its legs, if it has any, under "legs"."""
    made: dict[str, Any] = {
        "asset_class": "us_equity",
        "asset_id": asset_id(o.symbol),
        "canceled_at": moment(o.canceled_at),
        "client_order_id": o.client_order_id,
        "created_at": timestamp(o.created_at),
        "expired_at": moment(o.expired_at),
        "extended_hours": o.extended_hours,
        "failed_at": moment(o.failed_at),
        "filled_at": moment(o.filled_at),
        "filled_avg_price": price(o.filled_avg_price),
        "filled_qty": quantity(o.filled_qty),
        "hwm": price(o.hwm),
        "id": o.id,
        "legs": [order(leg) for leg in o.legs] if nested and o.legs else None,
        "limit_price": price(o.limit_price),
        "notional": None if o.notional is None else money(o.notional),
        "order_class": "" if o.order_class == "simple" else o.order_class,
        "order_type": o.type,
        "position_intent": o.position_intent,
        "qty": None if o.notional is not None else quantity(o.qty),
        "replaced_at": moment(o.replaced_at),
        "replaced_by": o.replaced_by,
        "replaces": o.replaces,
        "side": "buy" if o.side > 0 else "sell",
        "source": None,
        "status": o.status,
        "stop_price": price(o.stop_price),
        "submitted_at": timestamp(o.submitted_at),
        "subtag": None,
        "symbol": o.symbol,
        "time_in_force": o.time_in_force,
        "trail_percent": price(o.trail_percent),
        "trail_price": price(o.trail_price),
        "type": o.type,
        "updated_at": timestamp(o.updated_at),
    }
    if o.expires_at:
        made["expires_at"] = timestamp(o.expires_at)
    if o.group_id is not None:
        made["group_id"], made["group_role"] = o.group_id, o.group_role
    return made


def trade_update(u: TradeUpdate) -> dict[str, Any]:
    """The "data" of a trade_updates message; Alpaca leaves "legs" empty there."""
    made: dict[str, Any] = {
        "event": u.event,
        "execution_id": u.execution_id,
        "order": {**order(u.order, nested=False), "cancel_requested_at": moment(u.order.cancel_requested_at)},
        "timestamp": timestamp(u.time),
    }
    if u.price is not None:
        made["price"] = price(u.price)
    if u.qty is not None:
        made["qty"] = quantity(u.qty)
    if u.position_qty is not None:
        made["position_qty"] = quantity(u.position_qty)
    return made


# --- Account ----------------------------------------------------------------------------------------------------------


def account(x: Exchange) -> dict[str, Any]:
    """GET /v2/account. The venue knows neither crypto nor options: their levels are 0."""
    longs, shorts = x.account.market_value(1), x.account.market_value(-1)
    gross, equity, power = longs - shorts, money(x.equity), money(max(0.0, x.buying_power))
    before = sum(abs(p.lastday_qty) * p.lastday_price for p in x.positions.values())
    spendable = money(max(0.0, x.cash - x.account.reserved))
    return {
        "account_blocked": x.account_blocked,
        "account_number": x.account_number,
        "accrued_fees": "0",
        "admin_configurations": {},
        "balance_asof": balance_day(x),
        "buying_power": power,
        "cash": money(x.cash),
        "created_at": timestamp(x.created_at),
        "crypto_status": "INACTIVE",
        "crypto_tier": 0,
        "currency": "USD",
        "effective_buying_power": power,
        "equity": equity,
        "id": x.account_id,
        "initial_margin": money(gross * 0.5),
        "intraday_adjustments": "0",
        "last_equity": money(x.account.last_equity),
        "last_maintenance_margin": money(before * MARGIN_PCT / 100.0),
        "long_market_value": money(longs),
        "maintenance_margin": money(gross * MARGIN_PCT / 100.0),
        "multiplier": plain(x.account.multiplier),
        "non_marginable_buying_power": spendable,
        "options_approved_level": 0,
        "options_buying_power": "0",
        "options_trading_level": 0,
        "pending_reg_taf_fees": "0",
        "portfolio_value": equity,
        "position_market_value": money(gross),
        "regt_buying_power": money(max(0.0, (x.equity - gross * 0.5 - x.account.reserved) * 2.0)),
        "short_market_value": money(shorts),
        "shorting_enabled": x.shorting_enabled,
        "sma": "0",
        "status": "ACTIVE",
        "trade_suspended_by_user": x.trade_suspended_by_user,
        "trading_blocked": x.trading_blocked,
        "transfers_blocked": False,
        "user_configurations": None,
    }


def balance_day(x: Exchange) -> str:
    """The date of the last session that has closed."""
    closed = int(x.tape.schedule.closes.searchsorted(x.now, side="right")) - 1
    return day(int(x.tape.schedule.days[max(closed, 0)]))


def position(x: Exchange, p: Position) -> dict[str, Any]:
    """A position; a short one has negative quantities and values."""
    now = x.price(p.symbol) or p.avg_entry_price
    last = p.lastday_price or previous_close(x, p.symbol) or now
    cost, value = p.qty * p.avg_entry_price, p.qty * now
    today = _intraday_profit(x, p, now, last)
    base = abs(value - today)
    return {
        "asset_class": "us_equity",
        "asset_id": asset_id(p.symbol),
        "asset_marginable": True,
        "avg_entry_price": price(p.avg_entry_price),
        "change_today": plain(round(now / last - 1.0, 16)),
        "cost_basis": money(cost),
        "current_price": price(now),
        "exchange": LISTED_ON,
        "lastday_price": price(last),
        "market_value": money(value),
        "qty": quantity(p.qty),
        "qty_available": quantity(x.available(p.symbol)),
        "side": "long" if p.qty > 0.0 else "short",
        "symbol": p.symbol,
        "unrealized_intraday_pl": money(today),
        "unrealized_intraday_plpc": plain(round(today / base if base else 0.0, 16)),
        "unrealized_pl": money(value - cost),
        "unrealized_plpc": plain(round((value - cost) / abs(cost) if cost else 0.0, 16)),
    }


def previous_close(x: Exchange, symbol: str) -> float | None:
    """The close before the session that was the last to begin; None when there is none."""
    column = x.bars.close[:_session_row(x), x.tape.column[symbol]]
    for value in column[::-1]:
        if value > 0.0:
            return float(value)
    return None


def _session_row(x: Exchange) -> int:
    """The first bar of the session that was the last to begin."""
    return int(x.bars.sessions.searchsorted(x.bars.sessions[x.bar + x.tape.in_progress]))


def _intraday_profit(x: Exchange, p: Position, now: float, last: float) -> float:
    """Since the previous close, on what is held: shares of today against what they cost today."""
    before = p.lastday_qty if p.lastday_qty * p.qty > 0.0 else 0.0
    kept = min(abs(before), abs(p.qty)) * (1.0 if p.qty > 0.0 else -1.0)
    added = p.qty - kept
    if abs(added) < 1e-9:
        return kept * (now - last)
    shares = paid = 0.0
    start = int(x.tape.starts[_session_row(x)])
    for a in reversed(x.activities):
        if a.time < start:
            break
        if a.type == "FILL" and a.symbol == p.symbol and a.side * p.qty > 0.0:
            shares, paid = shares + a.qty, paid + a.qty * a.price
    entry = paid / shares if shares else p.avg_entry_price
    return kept * (now - last) + added * (now - entry)


def activity(a: Activity) -> dict[str, Any]:
    """A fill, or what else moved cash or shares."""
    if a.type == "FILL":
        return {
            "activity_type": "FILL",
            "cum_qty": quantity(a.cum_qty),
            "id": a.id,
            "leaves_qty": quantity(a.leaves_qty),
            "order_id": a.order_id,
            "order_status": "partially_filled" if a.partial else "filled",
            "price": price(a.price),
            "qty": quantity(a.qty),
            "side": "buy" if a.side > 0 else "sell",
            "symbol": a.symbol,
            "transaction_time": timestamp(a.time),
            "type": "partial_fill" if a.partial else "fill",
        }
    made: dict[str, Any] = {
        "activity_sub_type": a.sub_type or ("CDIV" if a.type == "DIV" else ""),
        "activity_type": a.type,
        "created_at": timestamp(a.time),
        "currency": "USD",
        "date": local(a.time).date().isoformat(),
        "description": a.description,
        "id": a.id,
        "net_amount": money(a.net_amount),
        "status": "executed",
    }
    if a.symbol:
        made["symbol"] = a.symbol
    if a.qty:
        made["qty"] = quantity(a.qty)
    if a.type == "DIV":
        made["per_share_amount"] = price(a.price)
    return made


def asset(symbol: str, facts: AssetFacts) -> dict[str, Any]:
    """GET /v2/assets/{symbol}. Bars say nothing of names and listings: those are placeholders."""
    return {
        "attributes": [],
        "borrow_status": "easy_to_borrow" if facts.easy_to_borrow else "hard_to_borrow",
        "class": "us_equity",
        "easy_to_borrow": facts.easy_to_borrow,
        "exchange": LISTED_ON,
        "fractionable": facts.fractionable,
        "id": asset_id(symbol),
        "maintenance_margin_requirement": MARGIN_PCT,
        "margin_requirement_long": str(MARGIN_PCT),
        "margin_requirement_short": str(MARGIN_PCT),
        "marginable": facts.marginable,
        "name": symbol,
        "shortable": facts.shortable,
        "status": "active",
        "symbol": symbol,
        "tradable": facts.tradable,
    }


def clock(x: Exchange) -> dict[str, Any]:
    """GET /v2/clock, in exchange time."""
    return {
        "is_open": x.tape.is_open,
        "next_close": local(x.tape.next_close).isoformat(),
        "next_open": local(x.tape.next_open).isoformat(),
        "timestamp": local(x.now).isoformat(),
    }


def error(r: Refusal) -> dict[str, Any]:
    """The body of a refusal, keys in alphabetical order."""
    made: dict[str, Any] = {name: plain(v) if isinstance(v, float) else v for name, v in r.fields.items()}
    if r.code is not None:
        made["code"] = r.code
    made["message"] = r.message
    return dict(sorted(made.items()))
