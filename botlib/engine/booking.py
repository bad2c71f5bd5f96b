"""What a broker reports, booked onto the account: a session's counterpart of a simulated bar.

`sessions.advance` lets a bar fill orders; here fills, ended orders and money come from outside, at their own prices,
and the same records follow from them: lots, legs, round trips, targets held. Money for fees, interest and dividends
moves when the broker says so; a fill's own fees are reckoned for its round trip only.
"""

from __future__ import annotations

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import (
    fee_rows,
    fills,
    head,
    held,
    highs,
    lots,
    orders,
    position,
    standing,
    wanted,
    working,
)
from botlib.engine.legs import trigger
from botlib.engine.lots import (
    add_lot,
    close_lot,
    drop_ended,
    end_entry,
    end_legs,
    end_order,
    new_order,
    protect,
    protect_symbol,
)
from botlib.engine.sessions import add_halt, apply_split, close_bar
from botlib.engine.state import (
    CANCELLED,
    DONE,
    ENTRY,
    EXIT,
    NAMED_EXIT,
    R_EXIT,
    R_KILL,
    R_NONE,
    R_OCO,
    R_PARTIAL,
    REDUCE,
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
def entry_filled(world, t, oid, quantity, price):
    """Shares of an entry. Complete, its bracket's legs act; partly filled, they wait for the bar's close."""
    w = world[0]
    o = orders(w)[oid]
    cost = pay_for(w, t, oid, quantity, price)
    o.filled += quantity
    lot_id = lot_of(w, oid)
    if lot_id >= 0:
        lot = lots(w)[lot_id]
        whole = lot.quantity + quantity
        lot.entry_price = (lot.entry_price * lot.quantity + price * quantity) / whole
        lot.cost_per_share = (lot.cost_per_share * lot.quantity + cost * quantity) / whole
        lot.quantity = whole
        position(w)[o.symbol] += o.side * quantity
    else:
        lot_id = add_lot(w, oid, t, quantity, price, cost, 0.0)
    if o.status != WORKING:  # it filled while its cancel was under way
        protect(w, lot_id, t, t + 1)
    elif o.filled >= o.quantity - _DUST:
        end_order(w, oid, t, DONE, R_NONE)
        drop_ended(w)
        protect(w, lot_id, t, t)
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
        left -= part
    return max(0.0, left)


@compiled()
def exit_filled(world, t, oid, quantity, price):
    """Shares of an exit or a reduction, oldest lots first; returns shares sold that no lot holds (must be 0)."""
    w = world[0]
    o = orders(w)[oid]
    cost = pay_for(w, t, oid, quantity, price)
    o.filled += quantity
    over = close_shares(w, t, oid, NAMED_EXIT if o.named else o.purpose, quantity, price, cost)
    if o.status == WORKING and o.filled >= o.quantity - _DUST:
        end_order(w, oid, t, DONE, R_NONE)
        drop_ended(w)
        protect_symbol(w, o.symbol, t)
    return over


@compiled()
def leg_filled(world, t, oid, quantity, price):
    """Shares of a protective leg; returns shares sold that no lot holds.

    Its sibling is cancelled or shrinks with it. A leg that was being cancelled for an exit takes from the oldest lot,
    and the exit asks for less.
    """
    w = world[0]
    o = orders(w)[oid]
    cost = pay_for(w, t, oid, quantity, price)
    o.filled += quantity
    lot_id = o.lot
    lot = lots(w)[lot_id]
    mine = lot.legs and (lot.stop_order == oid or lot.target_order == oid) and head(w)[o.symbol] >= 0
    if not mine:
        over = close_shares(w, t, oid, o.purpose, quantity, price, cost)
        shrink_exits(w, t, o.symbol)
        return over
    part = min(quantity, lot.quantity)
    if part >= lot.quantity - _DUST:
        end_order(w, oid, t, DONE, R_NONE)
        end_legs(w, lot_id, t, R_OCO)
    elif o.purpose == STOP_LEG or lot.triggered:
        trigger(w, lot_id, t)
    elif lot.stop_order >= 0:
        orders(w)[lot.stop_order].quantity = lot.quantity - part
    close_lot(w, lot_id, t, oid, o.purpose, part, price, cost * part, 0.0)
    if quantity - part > _DUST:
        return close_shares(w, t, oid, o.purpose, quantity - part, price, cost)
    return 0.0


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


@compiled()
def end_part(w, t, oid, reason):
    """The rest of a partly filled entry ends; what is held gets legs of its own."""
    end_order(w, oid, t, CANCELLED, reason)
    lot_id = lot_of(w, oid)
    if lot_id >= 0:
        protect(w, lot_id, t, t + 1)


@compiled()
def ended(world, t, oid, status, reason):
    """The broker ended a working order that is no leg: cancelled, expired or refused, with what it had filled.

    What an entry has filled is protected. An exit is asked for again at the next close, and what is held is protected
    until then.
    """
    w = world[0]
    o = orders(w)[oid]
    if o.status != WORKING:
        return
    if o.purpose == ENTRY:
        if o.filled > _DUST:
            end_part(w, t, oid, R_PARTIAL)
        else:
            end_entry(w, oid, t, status, reason)
        drop_ended(w)
        return
    end_order(w, oid, t, status, reason)
    drop_ended(w)
    if not o.named:
        if standing(w)[o.symbol] != standing(w)[o.symbol]:
            standing(w)[o.symbol] = 0.0 if o.purpose == EXIT else wanted(w)[o.symbol]
        if o.purpose == REDUCE:
            wanted(w)[o.symbol] = o.before
    protect_symbol(w, o.symbol, t)


@compiled()
def leg_refused(world, t, oid):
    """The price has passed a leg that the broker was to place: out at the next print instead."""
    w = world[0]
    lot_id = orders(w)[oid].lot
    lot = lots(w)[lot_id]
    purpose = orders(w)[oid].purpose
    end_legs(w, lot_id, t, R_EXIT)
    lot.stop_order = lot.target_order = -1
    lot.triggered, lot.cap, lot.legs = True, 0.0, True
    lot.stop_order = new_order(w, t, lot.symbol, -lot.side, rules.MARKET, purpose, lot.quantity, 0.0, 0.0)
    orders(w)[lot.stop_order].lot = lot_id
    return lot.stop_order


@compiled()
def close(world, t):
    """The bar is final: what entries have filled in part is protected, then the close as in a backtest."""
    w = world[0]
    for i in range(w.n_open):
        oid = working(w)[i]
        o = orders(w)[oid]
        if o.purpose == ENTRY and o.status == WORKING and o.filled > _DUST:
            end_part(w, t, oid, R_PARTIAL)
    drop_ended(w)
    for i in range(w.n_held):  # a capped stop that this bar has set off is a limit order from now on
        lot_id = head(w)[held(w)[i]]
        while lot_id >= 0:
            lot = lots(w)[lot_id]
            if lot.legs and lot.side < 0 and not lot.triggered and lot.stop_order >= 0 and \
                    lot.entry_bar < t and highs(w)[t, lot.symbol] >= lot.stop:
                lot.triggered = True
            lot_id = lot.next
    close_bar(w, t)


@compiled()
def kill(world, t, value_pct, limit_pct):
    """Latch the kill: no new risk, working entries end. Legs and exits stay; positions go with ``on_kill: flatten``."""
    w = world[0]
    if w.state != safety.HALTED:
        add_halt(w, t, 0, safety.HALTED, value_pct, limit_pct)
    w.state = safety.HALTED
    end_entries(w, t)
    if w.flatten:
        for i in range(w.n_held):
            standing(w)[held(w)[i]] = 0.0


@compiled()
def end_entries(w, t):
    """Working entries end, newest first; what they have filled is protected."""
    for i in range(w.n_open - 1, -1, -1):
        oid = working(w)[i]
        if orders(w)[oid].purpose == ENTRY and orders(w)[oid].status == WORKING:
            if orders(w)[oid].filled > _DUST:
                end_part(w, t, oid, R_KILL)
            else:
                end_entry(w, oid, t, CANCELLED, R_KILL)
    drop_ended(w)


@compiled()
def stop_entries(world, t):
    """`end_entries`, for a person's word."""
    end_entries(world[0], t)


@compiled()
def reduce_only(world, t, value_pct, limit_pct):
    """No new risk for the rest of the session date."""
    w = world[0]
    if w.state == safety.ACTIVE:
        w.daily_halt = True
        w.state = safety.REDUCE_ONLY
        add_halt(w, t, 1, w.state, value_pct, limit_pct)
