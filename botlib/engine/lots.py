"""Orders and lots: what is working, what is held, and the legs that protect it."""

from __future__ import annotations

import math

from botlib import rules
from botlib._jit import compiled
from botlib.engine.arrays import closes, head, held, last_close, lots, orders, position, trades, wanted, working
from botlib.engine.state import CANCELLED, ENTRY, NO_LEG, R_EXIT, R_NONE, STOP_LEG, TARGET_LEG, WORKING


@compiled()
def end_order(w, oid, t, status, reason):
    """An order becomes terminal; what it still reserved is free again."""
    o = orders(w)[oid]
    o.status, o.reason, o.closed = status, reason, t
    w.reserved -= o.reserved
    o.reserved = 0.0


@compiled()
def end_entry(w, oid, t, status, reason):
    """An entry ends without a fill: the target before it is the one held, so the same entry may be asked for again."""
    end_order(w, oid, t, status, reason)
    o = orders(w)[oid]
    wanted(w)[o.symbol] = o.before if position(w)[o.symbol] != 0.0 else math.nan


@compiled()
def new_order(w, t, symbol, side, kind, purpose, quantity, limit, stop):
    """Append a working order and return its id; legs rest with their lot, all others in the working list."""
    oid = w.n_orders
    o = orders(w)[oid]
    o.symbol, o.decided, o.closed, o.lot = symbol, t, -1, -1
    o.side, o.kind, o.purpose, o.status, o.reason, o.triggered = side, kind, purpose, WORKING, R_NONE, False
    o.named = False
    o.quantity, o.filled, o.limit, o.stop, o.reserved = quantity, 0.0, limit, stop, 0.0
    o.stop_loss, o.take_profit, o.notional, o.before = NO_LEG, NO_LEG, 0.0, wanted(w)[symbol]
    w.n_orders = oid + 1
    if purpose != STOP_LEG and purpose != TARGET_LEG:
        working(w)[w.n_open] = oid
        w.n_open += 1
    return oid


@compiled()
def protect(w, lot_id, t, acts_from):
    """Put a lot's legs to work as an OCO pair; a lot without leg prices stays bare.

    Legs of a complete entry act at once: they were placed with it. Those of a later pair act from the next bar on, and
    only if the close has not passed them.
    """
    lot = lots(w)[lot_id]
    lot.legs_from = acts_from
    lot.triggered = False
    lot.cap = rules.stop_cap(-lot.side, lot.stop) if lot.stop == lot.stop else 0.0
    lot.stop_order = lot.target_order = -1
    if acts_from > t and not w.textbook:
        close = closes(w)[t, lot.symbol]
        passed = rules.leg_passed(lot.side, close if close > 0.0 else last_close(w)[lot.symbol], lot.stop, lot.target)
        if passed >= 0:  # no leg can be placed there any more: out at the next print
            lot.triggered, lot.cap, lot.legs = True, 0.0, True
            lot.stop_order = new_order(w, t, lot.symbol, -lot.side, rules.MARKET,
                                       STOP_LEG if passed == rules.STOP else TARGET_LEG, lot.quantity, 0.0, 0.0)
            orders(w)[lot.stop_order].lot = lot_id
            return
    if lot.stop == lot.stop:
        lot.stop_order = new_order(w, t, lot.symbol, -lot.side, rules.STOP, STOP_LEG, lot.quantity, lot.cap, lot.stop)
        orders(w)[lot.stop_order].lot = lot_id
    if lot.target == lot.target:
        lot.target_order = new_order(w, t, lot.symbol, -lot.side, rules.LIMIT, TARGET_LEG, lot.quantity, lot.target,
                                     0.0)
        orders(w)[lot.target_order].lot = lot_id
    lot.legs = lot.stop_order >= 0 or lot.target_order >= 0


@compiled()
def end_legs(w, lot_id, t, reason):
    """Cancel a lot's legs that still work."""
    lot = lots(w)[lot_id]
    if lot.legs:
        if lot.stop_order >= 0 and orders(w)[lot.stop_order].status == WORKING:
            end_order(w, lot.stop_order, t, CANCELLED, reason)
        if lot.target_order >= 0 and orders(w)[lot.target_order].status == WORKING:
            end_order(w, lot.target_order, t, CANCELLED, reason)
        lot.legs = False


@compiled()
def drop_ended(w):
    """Keep only working orders in the working list."""
    n = 0
    for i in range(w.n_open):
        if orders(w)[working(w)[i]].status == WORKING:
            working(w)[n] = working(w)[i]
            n += 1
    w.n_open = n


@compiled()
def is_working(w, symbol, entries):
    """Whether a symbol has a working entry (or, with ``entries`` False, a working exit)."""
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.symbol == symbol and (o.purpose == ENTRY) == entries and o.status == WORKING:
            return True
    return False


@compiled()
def protect_symbol(w, symbol, t):
    """Re-protect what is left after a reduction, from the next bar on; not beside an exit that still works."""
    if is_working(w, symbol, False):
        return
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        if not lots(w)[lot_id].legs:
            protect(w, lot_id, t, t + 1)
        lot_id = lots(w)[lot_id].next


@compiled()
def end_symbol_legs(w, symbol, t):
    """A signal exit or a reduction first cancels the legs."""
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        end_legs(w, lot_id, t, R_EXIT)
        lot_id = lots(w)[lot_id].next


@compiled()
def hold(w, symbol):
    """Enter a symbol into the sorted list of those held, so that sums run in the order of names."""
    i = w.n_held
    while i > 0 and held(w)[i - 1] > symbol:
        held(w)[i] = held(w)[i - 1]
        i -= 1
    held(w)[i] = symbol
    w.n_held += 1


@compiled()
def unhold(w, symbol):
    """Take a symbol off the list of those held."""
    i = 0
    while held(w)[i] != symbol:
        i += 1
    w.n_held -= 1
    while i < w.n_held:
        held(w)[i] = held(w)[i + 1]
        i += 1
    position(w)[symbol] = 0.0
    if w.n_open == 0 or not is_working(w, symbol, True):  # else that entry's target is on its way
        wanted(w)[symbol] = math.nan


@compiled()
def add_lot(w, oid, t, quantity, price, cost_per_share, slip_per_share):
    """Shares bought or sold short by one entry fill: the unit that legs protect and trades close."""
    o = orders(w)[oid]
    lot_id = w.free_lot
    if lot_id >= 0:
        w.free_lot = lots(w)[lot_id].next
    else:
        lot_id = w.n_lots
        w.n_lots += 1
    lot = lots(w)[lot_id]
    lot.symbol, lot.next, lot.entry_bar, lot.entry_order, lot.side = o.symbol, -1, t, oid, o.side
    lot.quantity, lot.entry_price, lot.cost_per_share = quantity, price, cost_per_share
    lot.slip_per_share = slip_per_share
    lot.stop, lot.target, lot.legs = o.stop_loss, o.take_profit, False
    if head(w)[o.symbol] < 0:
        head(w)[o.symbol] = lot_id
        hold(w, o.symbol)
    else:
        last = head(w)[o.symbol]
        while lots(w)[last].next >= 0:
            last = lots(w)[last].next
        lots(w)[last].next = lot_id
    position(w)[o.symbol] = rules.exact_quantity(position(w)[o.symbol] + o.side * quantity)
    return lot_id


@compiled()
def close_lot(w, lot_id, t, oid, purpose, quantity, price, cost, slippage):
    """Record a round trip for part or all of a lot; an empty lot is unlinked."""
    lot = lots(w)[lot_id]
    symbol = lot.symbol
    trade = trades(w)[w.n_trades]
    w.n_trades += 1
    trade.symbol, trade.entry_bar, trade.exit_bar = symbol, lot.entry_bar, t
    trade.entry_order, trade.exit_order, trade.side, trade.purpose = lot.entry_order, oid, lot.side, purpose
    trade.quantity, trade.entry_price, trade.exit_price = quantity, lot.entry_price, price
    trade.costs = lot.cost_per_share * quantity + cost
    trade.slippage = lot.slip_per_share * quantity + slippage
    trade.pnl = lot.side * (price - lot.entry_price) * quantity - trade.costs
    position(w)[symbol] = rules.exact_quantity(position(w)[symbol] - lot.side * quantity)
    lot.quantity = rules.exact_quantity(lot.quantity - quantity)
    if lot.quantity > 0.0:
        return
    if head(w)[symbol] == lot_id:
        head(w)[symbol] = lot.next
    else:
        before = head(w)[symbol]
        while lots(w)[before].next != lot_id:
            before = lots(w)[before].next
        lots(w)[before].next = lot.next
    lot.next = w.free_lot
    w.free_lot = lot_id
    if head(w)[symbol] < 0:
        unhold(w, symbol)
