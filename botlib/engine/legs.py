"""Resting legs: what a bar does to them (RULES: what a bar fills)."""

from __future__ import annotations

from botlib import rules
from botlib._jit import compiled
from botlib.engine.arrays import head, held, highs, lots, lows, opens, orders
from botlib.engine.fills import allowed_quantity, book_fill, priced
from botlib.engine.lots import close_lot, end_legs, end_order
from botlib.engine.state import CANCELLED, DONE, R_NONE, R_OCO, STOP_LEG, WORKING

# --- One lot's legs ---------------------------------------------------------------------------------------------------


@compiled()
def leave_by_leg(w, t, lot_id, oid, price, slips, at_open):
    """A leg executes; its sibling is cancelled, or shrinks with it."""
    lot = lots(w)[lot_id]
    o = orders(w)[oid]
    quantity = allowed_quantity(w, t, o, lot.quantity)
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


@compiled()
def leg_meets(w, t, lot_id, kind, at_open):
    """A lot's leg of one kind meets the opening print, or the rest of the bar.

    A stop that the bar reaches has triggered, also when the volume leaves nothing to sell it. A market order stands in
    a leg's place when the price had passed it; it meets opening prints only.
    """
    lot = lots(w)[lot_id]
    oid = lot.target_order if kind == rules.LIMIT else lot.stop_order
    if not lot.legs or oid < 0 or orders(w)[oid].kind != kind or (kind == rules.LIMIT and lot.triggered):
        return
    limit, stop = (lot.target, 0.0) if kind == rules.LIMIT else (lot.cap, lot.stop)
    if at_open:
        as_kind = rules.LIMIT if kind == rules.LIMIT else rules.STOP
        out, price, slips = rules.fill_at_open(as_kind, -lot.side, opens(w)[t, lot.symbol], limit, stop, lot.triggered)
    else:
        out, price, slips = rules.fill_within(kind, -lot.side, highs(w)[t, lot.symbol], lows(w)[t, lot.symbol], limit,
                                              stop, lot.triggered)
    if out != rules.NOT_FILLED and kind != rules.LIMIT:
        trigger(w, lot_id, t)
    if out == rules.FILLED:
        leave_by_leg(w, t, lot_id, oid, price, slips, at_open)


# --- Every lot's legs -------------------------------------------------------------------------------------------------


@compiled()
def acts(w, t, lot_id):
    """Whether this bar may do something to a lot's legs: nothing can when it stays between them."""
    lot = lots(w)[lot_id]
    h, low = highs(w)[t, lot.symbol], lows(w)[t, lot.symbol]
    if not lot.legs or t < lot.legs_from or h != h:
        return False
    touched = (low <= lot.stop or h >= lot.target) if lot.side > 0 else (h >= lot.stop or low <= lot.target)
    return touched or lot.triggered


@compiled()
def symbol_meets(w, t, symbol, kind, at_open, first_bar, last_bar):
    """A symbol's legs of one kind meet the bar, oldest lot first; of lots entered in ``first_bar`` to ``last_bar``."""
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        following, entered = lots(w)[lot_id].next, lots(w)[lot_id].entry_bar
        if first_bar <= entered <= last_bar and acts(w, t, lot_id):
            leg_meets(w, t, lot_id, kind, at_open)
        lot_id = following


@compiled()
def any_acts(w, t, symbol):
    """Whether this bar may do something to any of a symbol's legs."""
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        if acts(w, t, lot_id):
            return True
        lot_id = lots(w)[lot_id].next
    return False


@compiled()
def fill_legs(w, t, before_entries, after_entries):
    """Resting legs meet the bar: by symbol, at the open before within the bar, by kind, oldest lot first.

    ``before_entries``: those that this bar found meet its open. ``after_entries``: those that came with the open's
    entries meet it too, and all meet the rest of the bar.
    """
    first_bar, last_bar = (0 if before_entries else t), (t if after_entries else t - 1)
    i = 0
    while i < w.n_held:
        symbol = held(w)[i]
        if any_acts(w, t, symbol):
            for kind in (rules.MARKET, rules.STOP, rules.LIMIT):
                symbol_meets(w, t, symbol, kind, True, first_bar, last_bar)
            if after_entries:
                for kind in (rules.STOP, rules.LIMIT):
                    symbol_meets(w, t, symbol, kind, False, 0, t)
        if i < w.n_held and held(w)[i] == symbol:
            i += 1


# --- The textbook convention ------------------------------------------------------------------------------------------


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
def fill_legs_textbook(w, t):
    """Resting legs meet the bar, lot by lot."""
    i = 0
    while i < w.n_held:
        symbol = held(w)[i]
        lot_id = head(w)[symbol]
        while lot_id >= 0:
            following = lots(w)[lot_id].next
            if acts(w, t, lot_id):
                legs_textbook(w, t, lot_id)
            lot_id = following
        if i < w.n_held and held(w)[i] == symbol:
            i += 1
