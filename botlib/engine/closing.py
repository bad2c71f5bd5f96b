"""What ends at a broker's word or at a bar's close, booked onto the account; `booking` has what is executed."""

from __future__ import annotations

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import held, lots, orders, phases, standing, wanted, working
from botlib.engine.bar import make_way
from botlib.engine.booking import carries, lot_of, place, place_symbol
from botlib.engine.legs import trigger
from botlib.engine.lots import drop_ended, end_entry, end_legs, end_order, new_order, protect
from botlib.engine.sessions import add_halt, close_bar, expire_orders
from botlib.engine.state import (
    CANCELLED,
    ENTRY,
    EXIT,
    LAST,
    R_EXIT,
    R_KILL,
    R_OPPOSITE,
    R_PARTIAL,
    R_REPLACED,
    REDUCE,
    WORKING,
)

_DUST = 1e-9  # of a share


@compiled()
def end_part(w, t, oid, reason):
    """The rest of a partly filled entry ends; what is held gets legs of its own."""
    end_order(w, oid, t, CANCELLED, reason)
    lot_id = lot_of(w, oid)
    if lot_id >= 0:
        place(w, lot_id, t)


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
    place_symbol(w, o.symbol, t)


@compiled()
def triggered(world, t, oid):
    """The broker's stop leg of a pair has triggered and works on: its sibling is gone."""
    w = world[0]
    lot_id = orders(w)[oid].lot
    if lot_id >= 0 and carries(w, lot_id, oid) and lots(w)[lot_id].stop_order == oid and not lots(w)[lot_id].triggered:
        trigger(w, lot_id, t)


@compiled()
def protect_again(world, t, lot_id):
    """Legs that nobody has placed yet meet the close of bar ``t``: what it has passed goes at the market instead."""
    w = world[0]
    end_legs(w, lot_id, t, R_REPLACED)
    protect(w, lot_id, t, t + 1)


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
def end_parts(world, t):
    """The bar's close ends entries that have filled in part; what is held gets legs of its own."""
    w = world[0]
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.purpose == ENTRY and o.status == WORKING and o.filled > _DUST:
            end_part(w, t, working(w)[i], R_PARTIAL)
    drop_ended(w)


@compiled()
def way_made(world, t):
    """Entries beside a single leg that is to be placed now end, as in a backtest: the broker would refuse the leg."""
    w = world[0]
    make_way(w, t)
    drop_ended(w)


@compiled()
def end_opposite(world, t, symbol):
    """A protective order was refused beside a working entry of the symbol: protection comes first."""
    w = world[0]
    for i in range(w.n_open - 1, -1, -1):
        o = orders(w)[working(w)[i]]
        if o.symbol == symbol and o.purpose == ENTRY and o.status == WORKING:
            if o.filled > _DUST:
                end_part(w, t, working(w)[i], R_OPPOSITE)
            else:
                end_entry(w, working(w)[i], t, CANCELLED, R_OPPOSITE)
    drop_ended(w)


@compiled()
def end_session(world, t):
    """A new exchange date, and the last bar of the one before never came: what was for its session ends anyway."""
    w = world[0]
    if w.n_open > 0 and phases(w)[t] != LAST:
        expire_orders(w, t)


@compiled()
def close(world, t):
    """The bar is final: marks, orders that its close ends, the limits, as in a backtest."""
    close_bar(world[0], t)


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
