"""Executions of working orders: how much, at which price, and what is booked."""

from __future__ import annotations

import math

from botlib import rules
from botlib._jit import compiled
from botlib.engine.arrays import fee_rows, fills, head, lots, orders, used, used_bar, volumes
from botlib.engine.lots import add_lot, close_lot, end_entry, end_order, protect, protect_symbol
from botlib.engine.state import (
    CANCELLED,
    DONE,
    NAMED_EXIT,
    R_BELOW_ONE_SHARE,
    R_BUYING_POWER,
    R_NONE,
    R_PARTIAL,
    REJECTED,
)


@compiled()
def allowed_quantity(w, t, o, quantity):
    """``quantity`` of an order, or what is left of the bar's volume under the participation cap; whole shares of an
    order for whole shares."""
    if w.participation_pct == math.inf:
        return quantity
    symbol = o.symbol
    if used_bar(w)[symbol] != t:
        used_bar(w)[symbol] = t
        used(w)[symbol] = 0.0
    fractional = o.quantity != math.floor(o.quantity)
    room = rules.participation_quantity(volumes(w)[t, symbol], w.participation_pct, fractional) - used(w)[symbol]
    quantity = max(0.0, rules.exact_quantity(min(quantity, room)))
    used(w)[symbol] += quantity
    return quantity


@compiled()
def book_fill(w, t, oid, quantity, price, asked, at_open):
    """Move the cash of one execution, record it and return its costs; ``asked`` is the price before slippage."""
    o = orders(w)[oid]
    paid = rules.commission(quantity, price, w.commission_bps, w.commission_per_share, w.commission_min)
    fees = 0.0
    if not w.textbook:
        paid = rules.cents_up(paid)
        if w.fees:
            f = fee_rows(w)[w.fee_row]
            fees = rules.regulatory_fees(o.side, quantity, price, f.sec_rate, f.taf_per_share, f.taf_max,
                                         f.cat_per_share)
    fill = fills(w)[w.n_fills]
    w.n_fills += 1
    fill.order, fill.symbol, fill.bar, fill.side, fill.at_open = oid, o.symbol, t, o.side, at_open
    fill.quantity, fill.price, fill.commission, fill.fees = quantity, price, paid, fees
    fill.slippage = o.side * (price - asked) * quantity
    w.slippage += fill.slippage
    w.cash -= o.side * quantity * price + paid + fees
    w.commissions += paid
    w.fees_paid += fees
    w.traded += quantity * price
    return paid + fees


@compiled()
def priced(w, t, o, price, slips, quantity):
    """The fill price under the convention in force."""
    volume = volumes(w)[t, o.symbol]
    if w.textbook:  # every fill slips, nothing is rounded
        return rules.slipped(o.side, price, w.slippage_bps, w.impact_bps, quantity, volume)
    limit = o.limit if o.kind == rules.STOP else 0.0
    return rules.fill_price(o.side, price, slips, limit, w.slippage_bps, w.impact_bps, quantity, volume)


@compiled()
def enter(w, t, oid, price, slips, at_open):
    """Execute an entry; returns the id of its lot, or -1."""
    o = orders(w)[oid]
    if w.textbook:
        fill = priced(w, t, o, price, slips, 0.0)
        if not w.shares:  # the convention sizes at the fill, from the equity of the decision
            o.quantity = rules.round_quantity(o.notional / (fill * (1.0 + w.commission_bps / 10_000.0)),
                                              w.fractional and o.side > 0)
        needed = o.quantity * fill * (1.0 + w.commission_bps / 10_000.0)
        if o.quantity <= 0.0 or needed > w.cash:
            end_entry(w, oid, t, REJECTED, R_BELOW_ONE_SHARE if o.quantity <= 0.0 else R_BUYING_POWER)
            return -1
        o.stop_loss = fill * (1.0 - o.side * w.stop_loss_pct / 100.0)
        o.take_profit = fill * (1.0 + o.side * w.take_profit_pct / 100.0)
    quantity = allowed_quantity(w, t, o, o.quantity)
    if quantity <= 0.0:
        return -1
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open)
    o.filled = quantity
    complete = quantity >= o.quantity
    end_order(w, oid, t, DONE if complete else CANCELLED, R_NONE if complete else R_PARTIAL)
    lot_id = add_lot(w, oid, t, quantity, fill, cost / quantity, o.side * (fill - price))
    # A bracket's legs act from the entry fill on. Those of a partly filled one would wait for the rest of it: at the
    # bar's close that rest is cancelled, and what is held gets an OCO.
    protect(w, lot_id, t, t + 1 if w.textbook or not complete else t)
    return lot_id


@compiled()
def leave(w, t, oid, price, slips, at_open):
    """Execute an exit or a reduction, oldest lots first."""
    o = orders(w)[oid]
    quantity = allowed_quantity(w, t, o, rules.exact_quantity(o.quantity - o.filled))
    if quantity <= 0.0:
        return
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open) / quantity
    o.filled = rules.exact_quantity(o.filled + quantity)
    if o.filled >= o.quantity:
        end_order(w, oid, t, DONE, R_NONE)
    symbol, purpose = o.symbol, NAMED_EXIT if o.named else o.purpose
    slipped = o.side * (fill - price)
    left = quantity
    while left > 0.0 and head(w)[symbol] >= 0:
        lot_id = head(w)[symbol]
        part = min(left, lots(w)[lot_id].quantity)
        close_lot(w, lot_id, t, oid, purpose, part, fill, cost * part, slipped * part)
        left -= part
    if o.status == DONE:
        protect_symbol(w, symbol, t)
