"""Orders are submitted, or refused whole: what Alpaca and the safety limits take (RULES: targets and sizes, safety)."""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import closes, head, last_close, lots, orders, position, working
from botlib.engine.lots import end_order, end_symbol_legs, new_order
from botlib.engine.state import (
    ENTRY,
    NO_LEG,
    R_BELOW_ONE_SHARE,
    R_BUYING_POWER,
    R_HELD,
    R_LEG_PRICE,
    R_LEGS,
    R_NO_PRICE,
    R_NO_SHORTS,
    R_NONE,
    R_ONE_DOLLAR,
    R_OPPOSITE,
    R_STOP_SIDE,
    R_WHOLE_SHORTS,
    REJECTED,
    WORKING,
)


@compiled()
def reject(w, t, oid, reason):
    """Refuse an order whole."""
    end_order(w, oid, t, REJECTED, reason)
    w.n_open -= 1  # it was the last to be submitted
    return reason


@compiled()
def working_quantity(w, symbol, side, entries):
    """Shares of a symbol that working orders of one side, entries or exits, may still trade."""
    total = 0.0
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.symbol == symbol and o.side == side and o.status == WORKING and (o.purpose == ENTRY) == entries:
            total += o.quantity - o.filled
    return total


@compiled()
def submit_entry(w, t, symbol, side, quantity, kind, limit, stop, notional):
    """A risk-increasing order, with its bracket; returns R_NONE or why it is refused."""
    close = closes(w)[t, symbol]
    if kind == rules.STOP:
        limit = rules.stop_cap(side, stop)
    oid = new_order(w, t, symbol, side, kind, ENTRY, quantity, limit, stop)
    o = orders(w)[oid]
    o.notional = notional
    if not close > 0.0:
        return reject(w, t, oid, R_NO_PRICE)
    if quantity <= 0.0:
        return reject(w, t, oid, R_BELOW_ONE_SHARE)
    if side < 0 and w.cash_account:
        return reject(w, t, oid, R_NO_SHORTS)
    if side < 0 and quantity != math.floor(quantity):
        return reject(w, t, oid, R_WHOLE_SHORTS)
    if kind == rules.STOP and rules.stop_passed(side, close, stop):
        return reject(w, t, oid, R_STOP_SIDE)
    if side > 0 and quantity != math.floor(quantity) and quantity * (limit if kind == rules.LIMIT else close) < 1.0:
        return reject(w, t, oid, R_ONE_DOLLAR)
    if working_quantity(w, symbol, -side, True) + working_quantity(w, symbol, -side, False) > 0.0:
        return reject(w, t, oid, R_OPPOSITE)  # Alpaca's wash-trade rule
    # The decision price: the close for market orders, else the price the order names.
    price = close if kind == rules.MARKET else (limit if kind == rules.LIMIT else stop)
    if w.safety:
        on_side = max(0.0, side * position(w)[symbol]) + working_quantity(w, symbol, side, True)  # this order included
        gate = safety.entry_gate(w.state, w.day_orders, w.max_orders, on_side * max(close, price),
                                 w.equity - w.receivable, w.max_position_size_pct)
        if gate != safety.PASSED:
            return reject(w, t, oid, gate)
    if w.textbook:  # sized, protected and paid for at the fill
        w.day_orders += 1
        return R_NONE
    if w.stop_loss_pct == w.stop_loss_pct:
        o.stop_loss = rules.stop_leg_price(side, price, w.stop_loss_pct)
    if w.take_profit_pct == w.take_profit_pct:
        o.take_profit = rules.target_leg_price(side, price, w.take_profit_pct)
    if o.take_profit <= 0.0:  # of a short, 100 % or more below
        return reject(w, t, oid, R_LEG_PRICE)
    # Alpaca measures legs from the limit, or the last price; the stop from the last price in any case.
    if rules.leg_passed(side, limit if kind == rules.LIMIT else close, o.stop_loss, o.take_profit) >= 0 or (
            rules.leg_passed(side, close, o.stop_loss, NO_LEG) >= 0):
        return reject(w, t, oid, R_LEGS)
    needed = rules.reserve(side, quantity, kind, close, limit)
    free = rules.buying_power(w.cash, w.equity - w.receivable, w.gross, w.reserved, w.max_gross_pct, w.cash_account)
    if not rules.fits(needed, free):
        return reject(w, t, oid, R_BUYING_POWER)
    o.reserved = needed
    w.reserved += needed
    w.day_orders += 1
    return R_NONE


@compiled()
def submit_exit(w, t, symbol, quantity, purpose, kind, limit, stop):
    """An exit or a reduction: never more than is held, never beside legs that hold the shares."""
    shares = position(w)[symbol]
    side = -1 if shares > 0.0 else 1
    if kind == rules.STOP:
        limit = rules.stop_cap(side, stop)
    free = abs(shares) - working_quantity(w, symbol, side, False)
    oid = new_order(w, t, symbol, side, kind, purpose, quantity, limit, stop)
    first = head(w)[symbol]
    if quantity <= 0.0:
        return reject(w, t, oid, R_BELOW_ONE_SHARE)
    last = closes(w)[t, symbol]
    if kind == rules.STOP and rules.stop_passed(side, last if last > 0.0 else last_close(w)[symbol], stop):
        return reject(w, t, oid, R_STOP_SIDE)
    if quantity > free * (1.0 + 1e-12) or (kind != rules.MARKET and first >= 0 and lots(w)[first].legs):
        return reject(w, t, oid, R_HELD)
    end_symbol_legs(w, symbol, t)
    return R_NONE
