"""One bar's trading: who meets it in which order (RULES: what a bar fills).

At the open, then within the bar: exits and legs before entries; of each, market orders, then stops, then limits and
targets; of one kind, the oldest first. So is a bar's volume shared under a participation cap. The legs of an entry act
from its fill on.
"""

from __future__ import annotations

import math

from botlib import rules
from botlib._jit import compiled
from botlib.engine.arrays import head, highs, lots, lows, opens, orders, working
from botlib.engine.fills import enter, leave
from botlib.engine.legs import fill_legs, fill_legs_textbook, leg_meets
from botlib.engine.lots import end_entry
from botlib.engine.state import CANCELLED, ENTRY, R_OPPOSITE, WORKING


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
    if o.filled >= o.quantity:
        leg_meets(w, t, lot_id, rules.STOP, False)
        if kind == rules.STOP:
            leg_meets(w, t, lot_id, rules.LIMIT, False)


@compiled()
def orders_at_open(w, t, entries):
    """Market orders, then stops, then limits that the open fills, each in order of submission: exits or entries."""
    for kind in (rules.MARKET, rules.STOP, rules.LIMIT):
        for i in range(w.n_open):
            oid = working(w)[i]
            o = orders(w)[oid]
            if o.kind != kind or o.status != WORKING or (o.purpose == ENTRY) != entries:
                continue
            out, price, slips = rules.fill_at_open(kind, o.side, opens(w)[t, o.symbol], o.limit, o.stop, o.triggered)
            if out != rules.NOT_FILLED and kind == rules.STOP:
                o.triggered = True  # also when the volume leaves nothing to fill it
            if out == rules.FILLED:
                execute(w, t, oid, price, slips, True)


@compiled()
def orders_within(w, t):
    """Stops, then limits that the rest of the bar fills. A symbol has working exits or entries, never both."""
    for kind in (rules.STOP, rules.LIMIT):
        for i in range(w.n_open):
            oid = working(w)[i]
            o = orders(w)[oid]
            if o.kind != kind or o.status != WORKING:
                continue
            out, price, slips = rules.fill_within(kind, o.side, highs(w)[t, o.symbol], lows(w)[t, o.symbol], o.limit,
                                                  o.stop, o.triggered)
            if out != rules.NOT_FILLED and kind == rules.STOP:
                o.triggered = True
            if out == rules.FILLED:
                execute(w, t, oid, price, slips, False)


@compiled()
def make_way(w, t):
    """A partly filled entry's only leg is a simple order: Alpaca refuses it beside an entry of the other side, so such
    entries end. A pair of legs is a complex order, and let through."""
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.purpose != ENTRY or o.status != WORKING:
            continue
        lot_id = head(w)[o.symbol]
        while lot_id >= 0 and o.status == WORKING:
            lot = lots(w)[lot_id]
            if lot.legs and lot.legs_from == t + 1 and (lot.stop_order < 0 or lot.target_order < 0):
                end_entry(w, working(w)[i], t, CANCELLED, R_OPPOSITE)
            lot_id = lot.next


@compiled()
def trade_bar(w, t):
    """All that working orders and resting legs do in a bar."""
    if w.textbook:
        orders_at_open(w, t, False)
        orders_at_open(w, t, True)
        fill_legs_textbook(w, t)
        return
    if w.n_open == 0:
        fill_legs(w, t, True, True)
        return
    orders_at_open(w, t, False)
    fill_legs(w, t, True, False)
    orders_at_open(w, t, True)
    fill_legs(w, t, False, True)
    orders_within(w, t)
    if w.participation_pct != math.inf:
        make_way(w, t)
