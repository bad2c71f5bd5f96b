"""Targets become orders at a bar's close (RULES: targets and sizes, protection, safety)."""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import closes, entering, entry_target, head, lots, orders, position, standing, wanted, working
from botlib.engine.fills import drop_ended
from botlib.engine.lots import end_entry, end_order, end_symbol_legs, is_working, new_order, protect_symbol
from botlib.engine.state import (
    CANCELLED,
    ENTRY,
    EXIT,
    R_ASKED,
    R_BELOW_ONE_SHARE,
    R_BUYING_POWER,
    R_HELD,
    R_LEGS,
    R_NO_PRICE,
    R_NO_SHORTS,
    R_NONE,
    R_OPPOSITE,
    R_REPLACED,
    R_WHOLE_SHORTS,
    REDUCE,
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
    if rules.leg_passed(side, price, o.stop_loss, o.take_profit) >= 0:
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
    if quantity > free * (1.0 + 1e-12) or (kind != rules.MARKET and first >= 0 and lots(w)[first].legs):
        return reject(w, t, oid, R_HELD)
    end_symbol_legs(w, symbol, t)
    return R_NONE


@compiled()
def cancel_entries(w, t, symbol):
    """A new target replaces what is still on its way in; newest first, so that the target before the oldest is left."""
    ended = False
    for i in range(w.n_open - 1, -1, -1):
        o = orders(w)[working(w)[i]]
        if o.symbol == symbol and o.purpose == ENTRY and o.status == WORKING:
            end_entry(w, working(w)[i], t, CANCELLED, R_REPLACED)
            ended = True
    if ended:
        drop_ended(w)


@compiled()
def clipped(w, close, target):
    """A target cut to the position limit."""
    most = w.max_position_pct / 100.0
    if w.shares:
        most = rules.target_quantity(math.copysign(most, target), w.equity - w.receivable, close, w.fractional)
    if abs(target) > most * (1.0 + 1e-12):
        return most if target > 0.0 else -most
    return target


@compiled()
def wanted_quantity(w, close, target):
    """Shares a target asks for at this close."""
    if w.shares:
        return rules.round_quantity(abs(target), w.fractional and target > 0.0)
    return rules.target_quantity(target, w.equity - w.receivable, close, w.fractional)


@compiled()
def decide_exit(w, t, symbol, target):
    """First pass: exits, reductions and reversals. Returns the target still to be entered, or NaN."""
    shares = position(w)[symbol]
    close = closes(w)[t, symbol]
    if target != target:
        target = standing(w)[symbol]
        if target != target:
            return math.nan
    if not close > 0.0:  # no bar, no decision; what is standing stays so
        return math.nan
    standing(w)[symbol] = math.nan
    if w.flatten and w.state == safety.HALTED and shares != 0.0:
        target = 0.0  # whatever the strategy says
    if not w.shares:  # a cut weight is one and the same from bar to bar, a cut number of shares is not
        asked_for, target = target, clipped(w, close, target)
        if target != asked_for and target != wanted(w)[symbol]:
            w.n_clipped += 1
    if shares == 0.0:
        if is_working(w, symbol, True):
            if target == wanted(w)[symbol]:
                return math.nan
            cancel_entries(w, t, symbol)
        return target if target != 0.0 else math.nan
    if target * shares <= 0.0:  # flat, or the other side: close now, enter at the close that sees it flat
        if target != 0.0:
            standing(w)[symbol] = target
        cancel_entries(w, t, symbol)
        free = abs(shares) - working_quantity(w, symbol, -1 if shares > 0.0 else 1, False)
        if free > 0.0:
            submit_exit(w, t, symbol, free, EXIT, rules.MARKET, 0.0, 0.0)
        return math.nan
    if target == wanted(w)[symbol]:
        if w.tolerance_pct != w.tolerance_pct:
            return math.nan
        worth = abs(clipped(w, close, target)) * (close if w.shares else w.equity - w.receivable)
        if abs(worth - abs(shares) * close) <= (w.equity - w.receivable) * w.tolerance_pct / 100.0:
            return math.nan
    if is_working(w, symbol, False) or is_working(w, symbol, True):
        return math.nan
    quantity = wanted_quantity(w, close, clipped(w, close, target))
    if quantity < abs(shares):
        purpose = REDUCE if quantity > 0.0 else EXIT
        submit_exit(w, t, symbol, abs(shares) - quantity, purpose, rules.MARKET, 0.0, 0.0)
        wanted(w)[symbol] = target
        return math.nan
    if quantity == abs(shares):
        wanted(w)[symbol] = target
        return math.nan
    return target


@compiled()
def asks(target, now, standing_now, tolerates):
    """Whether a symbol is to be decided on: its target is not the one held, nor zero while flat; or one stands."""
    new = (target == target) & (tolerates | (target != now)) & ((target != 0.0) | (now == now))
    return new | (standing_now == standing_now)


@compiled()
def asked(w, row):
    """Collect in `entering` the symbols to decide on, and return how many."""
    wanted_now, standing_now, found = wanted(w), standing(w), entering(w)
    tolerates = w.tolerance_pct == w.tolerance_pct
    n = 0
    for i in range(w.symbols):  # counting alone runs on several symbols at once, and mostly finds none
        n += asks(row[i], wanted_now[i], standing_now[i], tolerates)
    if n == 0:
        return 0
    n = 0
    for i in range(w.symbols):
        found[n] = i
        n += asks(row[i], wanted_now[i], standing_now[i], tolerates)
    return n


@compiled()
def decide(w, t, row, candidates):
    """Turn a row of targets (N,) into orders, exits first, then entries, in the order of names.

    ``candidates`` symbols stand in `entering`, as `asked` left them.
    """
    n = 0
    for i in range(candidates):
        symbol = entering(w)[i]
        target = decide_exit(w, t, symbol, row[symbol])
        if target == target:
            entering(w)[n], entry_target(w)[n] = symbol, target
            n += 1
    for i in range(n):
        symbol, target = entering(w)[i], entry_target(w)[i]
        side = 1 if target > 0.0 else -1
        close = closes(w)[t, symbol]
        allowed = clipped(w, close, target)
        if allowed != target:
            w.n_clipped += 1
        quantity = wanted_quantity(w, close, allowed) - abs(position(w)[symbol])
        notional = abs(allowed) * (w.equity - w.receivable)
        if w.textbook and not w.shares and position(w)[symbol] != 0.0:
            notional = quantity * close
        if submit_entry(w, t, symbol, side, quantity, rules.MARKET, 0.0, 0.0, notional) == R_NONE:
            wanted(w)[symbol] = target


@compiled()
def submit(w, t, symbol, side, quantity, kind, limit, stop):
    """An order a strategy names itself, entry or exit by what it does to the position. Returns R_NONE or the reason."""
    shares = position(w)[symbol]
    if side * shares < 0.0:
        purpose = EXIT if quantity >= abs(shares) else REDUCE
        oid = w.n_orders
        refusal = submit_exit(w, t, symbol, quantity, purpose, kind, limit, stop)
        orders(w)[oid].named = True
        if refusal == R_NONE:
            cancel_entries(w, t, symbol)
        return refusal
    refusal = submit_entry(w, t, symbol, side, quantity, kind, limit, stop, quantity * closes(w)[t, symbol])
    if refusal == R_NONE:
        wanted(w)[symbol] = math.inf  # not a target, but one that is set later replaces it
    return refusal


@compiled()
def cancel(w, t, symbol, only):
    """Cancel the working entries of a symbol and the exits that a strategy named; ``only`` one id, or all below 0.

    Legs are not in the working list. What an exit leaves is protected again.
    """
    before, entries, exits = wanted(w)[symbol], False, False
    for i in range(w.n_open - 1, -1, -1):  # newest first, as in `cancel_entries`
        oid = working(w)[i]
        o = orders(w)[oid]
        if o.symbol != symbol or o.status != WORKING or (only >= 0 and oid != only):
            continue
        if o.purpose == ENTRY:
            end_entry(w, oid, t, CANCELLED, R_ASKED)
            entries = True
        elif o.named:
            end_order(w, oid, t, CANCELLED, R_ASKED)
            exits = True
    if entries or exits:
        drop_ended(w)
    if entries and is_working(w, symbol, True):
        wanted(w)[symbol] = before
    if exits:
        protect_symbol(w, symbol, t)
