"""Executions: what a bar does to working orders and resting legs (RULES: what a bar fills)."""

from __future__ import annotations

import math

from botlib import rules
from botlib._jit import compiled
from botlib.engine.arrays import (
    fee_rows,
    fills,
    head,
    held,
    highs,
    lots,
    lows,
    opens,
    orders,
    used,
    used_bar,
    volumes,
    working,
)
from botlib.engine.lots import add_lot, close_lot, end_entry, end_legs, end_order, protect, protect_symbol
from botlib.engine.state import (
    CANCELLED,
    DONE,
    ENTRY,
    NAMED_EXIT,
    R_BELOW_ONE_SHARE,
    R_BUYING_POWER,
    R_NONE,
    R_OCO,
    R_PARTIAL,
    REJECTED,
    STOP_LEG,
    WORKING,
)

# --- Executions -------------------------------------------------------------------------------------------------------


@compiled()
def allowed_quantity(w, t, symbol, position_side, quantity):
    """``quantity``, or what is left of the bar's volume under the participation cap."""
    if w.participation_pct == math.inf:
        return quantity
    if used_bar(w)[symbol] != t:
        used_bar(w)[symbol] = t
        used(w)[symbol] = 0.0
    fractional = w.fractional and position_side > 0
    room = rules.participation_quantity(volumes(w)[t, symbol], w.participation_pct, fractional) - used(w)[symbol]
    quantity = max(0.0, min(quantity, room))
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
    quantity = allowed_quantity(w, t, o.symbol, o.side, o.quantity)
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
    quantity = allowed_quantity(w, t, o.symbol, -o.side, o.quantity - o.filled)
    if quantity <= 0.0:
        return
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open) / quantity
    o.filled += quantity
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


@compiled()
def leave_by_leg(w, t, lot_id, oid, price, slips, at_open):
    """A leg executes; its sibling is cancelled, or shrinks with it."""
    lot = lots(w)[lot_id]
    o = orders(w)[oid]
    quantity = allowed_quantity(w, t, lot.symbol, lot.side, lot.quantity)
    if quantity <= 0.0:
        return
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open)
    o.filled += quantity
    if quantity >= lot.quantity:
        end_order(w, oid, t, DONE, R_NONE)
        end_legs(w, lot_id, t, R_OCO)
    elif o.purpose == STOP_LEG or lot.triggered:
        trigger(w, lot_id, t)
    elif lot.stop_order >= 0:
        orders(w)[lot.stop_order].quantity = lot.quantity - quantity
    close_lot(w, lot_id, t, oid, o.purpose, quantity, fill, cost, o.side * (fill - price) * quantity)


@compiled()
def trigger(w, lot_id, t):
    """A stop leg that has triggered: its OCO sibling is gone."""
    lot = lots(w)[lot_id]
    lot.triggered = True
    orders(w)[lot.stop_order].triggered = True
    if lot.target_order >= 0 and orders(w)[lot.target_order].status == WORKING:
        end_order(w, lot.target_order, t, CANCELLED, R_OCO)


# --- Legs -------------------------------------------------------------------------------------------------------------


@compiled()
def legs_textbook(w, t, lot_id):
    """Stop, then target; a gap beyond either fills at the open."""
    lot = lots(w)[lot_id]
    o, h, low = opens(w)[t, lot.symbol], highs(w)[t, lot.symbol], lows(w)[t, lot.symbol]
    if lot.side > 0:
        if low <= lot.stop:
            leave_by_leg(w, t, lot_id, lot.stop_order, min(o, lot.stop), True, o <= lot.stop)
        elif h >= lot.target:
            leave_by_leg(w, t, lot_id, lot.target_order, max(o, lot.target), True, o >= lot.target)
    elif h >= lot.stop:
        leave_by_leg(w, t, lot_id, lot.stop_order, max(o, lot.stop), True, o >= lot.stop)
    elif low <= lot.target:
        leave_by_leg(w, t, lot_id, lot.target_order, min(o, lot.target), True, o <= lot.target)


@compiled()
def legs_broker(w, t, lot_id, from_open, target_too):
    """At the open: a stop it has passed, then a target it has passed. Within the bar: the stop, then the target."""
    lot = lots(w)[lot_id]
    side = -lot.side
    o, h, low = opens(w)[t, lot.symbol], highs(w)[t, lot.symbol], lows(w)[t, lot.symbol]
    if from_open:
        out, price, slips = rules.fill_at_open(rules.STOP, side, o, lot.cap, lot.stop, lot.triggered)
        if out == rules.FILLED:
            leave_by_leg(w, t, lot_id, lot.stop_order, price, slips, True)
            return
        if out == rules.TRIGGERED:
            trigger(w, lot_id, t)
        if not lot.triggered and lot.target_order >= 0:
            out, price, slips = rules.fill_at_open(rules.LIMIT, side, o, lot.target, 0.0, False)
            if out == rules.FILLED:
                leave_by_leg(w, t, lot_id, lot.target_order, price, slips, True)
                return
    if lot.stop_order >= 0:
        out, price, slips = rules.fill_within(rules.STOP, side, h, low, lot.cap, lot.stop, lot.triggered)
        if out == rules.FILLED:
            leave_by_leg(w, t, lot_id, lot.stop_order, price, slips, False)
            return
    if target_too and not lot.triggered and lot.target_order >= 0:
        out, price, slips = rules.fill_within(rules.LIMIT, side, h, low, lot.target, 0.0, False)
        if out == rules.FILLED:
            leave_by_leg(w, t, lot_id, lot.target_order, price, slips, False)


@compiled()
def fill_legs(w, t):
    """Every resting leg meets the bar."""
    i = 0
    while i < w.n_held:
        symbol = held(w)[i]
        lot_id = head(w)[symbol]
        h, low = highs(w)[t, symbol], lows(w)[t, symbol]
        while lot_id >= 0:
            lot = lots(w)[lot_id]
            following = lot.next
            if lot.legs and t >= lot.legs_from and h == h:
                # Nothing can happen to legs the whole bar stays between.
                if lot.side > 0:
                    untouched = low > lot.stop and h < lot.target
                else:
                    untouched = h < lot.stop and low > lot.target
                if not untouched or lot.triggered:
                    if w.textbook:
                        legs_textbook(w, t, lot_id)
                    else:
                        legs_broker(w, t, lot_id, True, True)
            lot_id = following
        if i < w.n_held and held(w)[i] == symbol:
            i += 1


# --- Orders meet the bar ----------------------------------------------------------------------------------------------


@compiled()
def execute(w, t, oid, price, slips, at_open):
    """Execute a working order that the bar fills."""
    o = orders(w)[oid]
    if o.purpose != ENTRY:
        leave(w, t, oid, price, slips, at_open)
        return
    kind = o.kind
    lot_id = enter(w, t, oid, price, slips, at_open)
    if lot_id < 0 or at_open:
        return
    # An entry within the bar: its stop may be hit in what is left of it, the worse case is taken. A target beyond a
    # stop entry lies on the way; one beyond a limit entry may have traded before it, so it waits for the next bar.
    if o.filled >= o.quantity and lots(w)[lot_id].legs:
        legs_broker(w, t, lot_id, False, kind == rules.STOP)


@compiled()
def orders_at_open(w, t):
    """Market orders, then stops, then limits that the open fills, each in order of submission."""
    for kind in (rules.MARKET, rules.STOP, rules.LIMIT):
        for i in range(w.n_open):
            oid = working(w)[i]
            o = orders(w)[oid]
            if o.kind != kind or o.status != WORKING:
                continue
            out, price, slips = rules.fill_at_open(kind, o.side, opens(w)[t, o.symbol], o.limit, o.stop, o.triggered)
            if out == rules.FILLED:
                execute(w, t, oid, price, slips, True)
            elif out == rules.TRIGGERED:
                o.triggered = True


@compiled()
def orders_within(w, t):
    """Stops, then limits that the rest of the bar fills."""
    for kind in (rules.STOP, rules.LIMIT):
        for i in range(w.n_open):
            oid = working(w)[i]
            o = orders(w)[oid]
            if o.kind != kind or o.status != WORKING:
                continue
            out, price, slips = rules.fill_within(kind, o.side, highs(w)[t, o.symbol], lows(w)[t, o.symbol], o.limit,
                                                  o.stop, o.triggered)
            if out == rules.FILLED:
                execute(w, t, oid, price, slips, False)


@compiled()
def drop_ended(w):
    """Keep only working orders in the working list."""
    n = 0
    for i in range(w.n_open):
        if orders(w)[working(w)[i]].status == WORKING:
            working(w)[n] = working(w)[i]
            n += 1
    w.n_open = n
