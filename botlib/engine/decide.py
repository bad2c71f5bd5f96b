"""Targets become orders at a bar's close (RULES: targets and sizes, protection, safety)."""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import closes, entering, entry_target, orders, position, standing, wanted, working
from botlib.engine.lots import drop_ended, end_entry, end_order, is_working, protect_symbol
from botlib.engine.state import CANCELLED, ENTRY, EXIT, R_ASKED, R_NONE, R_REPLACED, REDUCE, WORKING
from botlib.engine.submit import submit_entry, submit_exit, working_quantity


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
        free = rules.exact_quantity(abs(shares) - working_quantity(w, symbol, -1 if shares > 0.0 else 1, False))
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
        submit_exit(w, t, symbol, rules.exact_quantity(abs(shares) - quantity), purpose, rules.MARKET, 0.0, 0.0)
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
        quantity = rules.exact_quantity(wanted_quantity(w, close, allowed) - abs(position(w)[symbol]))
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
