"""What a broker reports, booked onto the account: a session's counterpart of a simulated bar's fills.

`sessions.advance` lets a bar fill orders; here executions and money come from outside, at their own prices, and the
same records follow from them: lots, legs, round trips, targets held. `closing` has what ends orders. Money for fees,
interest and dividends moves when the broker says so; a fill's own fees are reckoned for its round trip only.
"""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import fee_rows, fills, head, last_close, lots, orders, position, wanted, working
from botlib.engine.legs import trigger
from botlib.engine.lots import (
    add_lot,
    close_lot,
    drop_ended,
    end_legs,
    end_order,
    is_working,
    new_order,
    protect,
)
from botlib.engine.sessions import apply_split
from botlib.engine.state import (
    CANCELLED,
    DONE,
    ENTRY,
    NAMED_EXIT,
    R_BROKER,
    R_EXIT,
    R_NONE,
    R_OCO,
    STOP_LEG,
    WORKING,
)

_DUST = 1e-9  # of a share


@compiled()
def begin_day(world, today):
    """A new exchange date (days since 1970-01-01): the day's counters begin anew; False when it is none."""
    w = world[0]
    if today <= w.session:
        return False
    w.session = today
    w.day_orders = 0
    w.day_start = w.equity
    w.daily_halt = False
    if w.state != safety.HALTED:
        w.state = safety.ACTIVE
    while w.fee_row + 1 < w.n_fee_rows and fee_rows(w)[w.fee_row + 1].session <= today:
        w.fee_row += 1
    return True


@compiled()
def split(world, t, symbol, ratio):
    """A split at the open of the day: quantities, leg and order prices; equity does not move."""
    apply_split(world[0], t, symbol, ratio)


@compiled()
def money(world, cash, receivable):
    """Cash that came or went, and a change of what is still due."""
    w = world[0]
    w.cash += cash
    w.receivable += receivable
    w.equity += cash + receivable


@compiled()
def flow(world, amount):
    """A deposit, or a withdrawal below 0: peak and day start move with it."""
    w = world[0]
    w.cash += amount
    w.equity += amount
    w.peak += amount
    w.day_start += amount


@compiled()
def pay_for(w, t, oid, quantity, price):
    """Move the cash of one execution and record it; returns its reckoned costs per share."""
    o = orders(w)[oid]
    paid = rules.cents_up(rules.commission(quantity, price, w.commission_bps, w.commission_per_share,
                                           w.commission_min))
    fees = 0.0
    if w.fees:
        f = fee_rows(w)[w.fee_row]
        fees = rules.regulatory_fees(o.side, quantity, price, f.sec_rate, f.taf_per_share, f.taf_max, f.cat_per_share)
    fill = fills(w)[w.n_fills]
    w.n_fills += 1
    fill.order, fill.symbol, fill.bar, fill.side, fill.at_open = oid, o.symbol, t, o.side, False
    fill.quantity, fill.price, fill.commission, fill.fees, fill.slippage = quantity, price, paid, fees, 0.0
    w.cash -= o.side * quantity * price
    w.commissions += paid
    w.fees_paid += fees
    w.traded += quantity * price
    return (paid + fees) / quantity


@compiled()
def lot_of(w, oid):
    """The lot that an entry's earlier fills made and no leg protects yet, or -1."""
    lot_id = head(w)[orders(w)[oid].symbol]
    while lot_id >= 0:
        if lots(w)[lot_id].entry_order == oid and not lots(w)[lot_id].legs:
            return lot_id
        lot_id = lots(w)[lot_id].next
    return -1


@compiled()
def place(w, lot_id, t):
    """Put a lot's legs to work between two bars. The last close may be older than a split, so nobody looks whether it
    has passed them: the broker does, or the close of this bar (`closing.protect_again`)."""
    protect(w, lot_id, t, t)


@compiled()
def place_symbol(w, symbol, t):
    """The same for what is left of a symbol after an exit; not beside an exit that still works."""
    if is_working(w, symbol, False):
        return
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        if not lots(w)[lot_id].legs:
            place(w, lot_id, t)
        lot_id = lots(w)[lot_id].next


@compiled()
def entry_filled(world, t, oid, quantity, price):
    """Shares of an entry. Complete, its bracket's legs act; partly filled, they wait for the bar's close."""
    w = world[0]
    o = orders(w)[oid]
    cost = pay_for(w, t, oid, quantity, price)
    o.filled = rules.exact_quantity(o.filled + quantity)
    lot_id = lot_of(w, oid)
    if lot_id >= 0:
        lot = lots(w)[lot_id]
        whole = rules.exact_quantity(lot.quantity + quantity)
        lot.entry_price = (lot.entry_price * lot.quantity + price * quantity) / whole
        lot.cost_per_share = (lot.cost_per_share * lot.quantity + cost * quantity) / whole
        lot.quantity = whole
        position(w)[o.symbol] = rules.exact_quantity(position(w)[o.symbol] + o.side * quantity)
    else:
        if position(w)[o.symbol] == 0.0:
            last_close(w)[o.symbol] = price  # until its next close
        lot_id = add_lot(w, oid, t, quantity, price, cost, 0.0)
        lot = lots(w)[lot_id]
        lot.stop_order, lot.target_order, lot.legs_from, lot.triggered, lot.cap = -1, -1, t, False, 0.0
    if o.status != WORKING:  # it filled while its cancel was under way
        place(w, lot_id, t)
        if wanted(w)[o.symbol] != wanted(w)[o.symbol]:
            wanted(w)[o.symbol] = math.inf  # held without a target: the next one, zero too, replaces it
    elif o.filled >= o.quantity - _DUST:
        end_order(w, oid, t, DONE, R_NONE)
        drop_ended(w)
        place(w, lot_id, t)
    return lot_id


@compiled()
def close_shares(w, t, oid, purpose, quantity, price, cost):
    """Take shares from a symbol's lots, oldest first; returns what no lot holds."""
    symbol, left = orders(w)[oid].symbol, quantity
    while left > _DUST and head(w)[symbol] >= 0:
        lot_id = head(w)[symbol]
        part = min(left, lots(w)[lot_id].quantity)
        if part >= lots(w)[lot_id].quantity - _DUST:
            end_legs(w, lot_id, t, R_EXIT)
        close_lot(w, lot_id, t, oid, purpose, part, price, cost * part, 0.0)
        left = rules.exact_quantity(left - part)
    return max(0.0, left)


@compiled()
def exit_filled(world, t, oid, quantity, price):
    """Shares of an exit or a reduction, oldest lots first; returns shares sold that no lot holds (must be 0)."""
    w = world[0]
    o = orders(w)[oid]
    cost = pay_for(w, t, oid, quantity, price)
    o.filled = rules.exact_quantity(o.filled + quantity)
    over = close_shares(w, t, oid, NAMED_EXIT if o.named else o.purpose, quantity, price, cost)
    if o.status == WORKING and o.filled >= o.quantity - _DUST:
        end_order(w, oid, t, DONE, R_NONE)
        drop_ended(w)
        place_symbol(w, o.symbol, t)
    return over


@compiled()
def carries(w, lot_id, oid):
    """Whether an order is one of a lot's legs, and these still stand."""
    lot = lots(w)[lot_id]
    return lot.legs and (lot.stop_order == oid or lot.target_order == oid)


@compiled()
def loose_leg(world, t, symbol, side, purpose):
    """The record of a broker's leg that is no lot's: its executions take from the oldest lots. Returns its row."""
    w = world[0]
    oid = new_order(w, t, symbol, side, rules.MARKET, purpose, 0.0, 0.0, 0.0)
    end_order(w, oid, t, CANCELLED, R_BROKER)
    return oid


@compiled()
def leg_filled(world, t, oid, quantity, price):
    """Shares of a protective leg; returns shares sold that no lot holds.

    Its sibling is cancelled or shrinks with it. A leg that was being cancelled for an exit takes from the oldest lot,
    and the exit asks for less.
    """
    w = world[0]
    o = orders(w)[oid]
    cost = pay_for(w, t, oid, quantity, price)
    o.filled = rules.exact_quantity(o.filled + quantity)
    lot_id = o.lot
    if lot_id < 0 or head(w)[o.symbol] < 0 or not carries(w, lot_id, oid):
        over = close_shares(w, t, oid, o.purpose, quantity, price, cost)
        shrink_exits(w, t, o.symbol)
        return over
    lot = lots(w)[lot_id]
    part = min(quantity, lot.quantity)
    if part >= lot.quantity - _DUST:
        end_order(w, oid, t, DONE, R_NONE)
        end_legs(w, lot_id, t, R_OCO)
    elif o.purpose == STOP_LEG or lot.triggered:
        trigger(w, lot_id, t)
    elif lot.stop_order >= 0:
        orders(w)[lot.stop_order].quantity = lot.quantity - part
    close_lot(w, lot_id, t, oid, o.purpose, part, price, cost * part, 0.0)
    over = close_shares(w, t, oid, o.purpose, rules.exact_quantity(quantity - part), price, cost)
    shrink_exits(w, t, o.symbol)
    return over


@compiled()
def shrink_exits(w, t, symbol):
    """Working exits never ask for more than is held."""
    left = abs(position(w)[symbol])
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.symbol != symbol or o.status != WORKING or o.purpose == ENTRY:
            continue
        asked = o.quantity - o.filled
        if asked > left + _DUST:
            o.quantity = o.filled + left
            asked = left
        left -= asked
        if asked <= _DUST:
            end_order(w, working(w)[i], t, CANCELLED if o.filled <= _DUST else DONE, R_EXIT)
    drop_ended(w)
