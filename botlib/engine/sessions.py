"""One bar happens to the account: the session's start, corporate actions, the bar, its close and the safety limits."""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import (
    actions,
    closes,
    equity_curve,
    fee_rows,
    gross_curve,
    halts,
    head,
    held,
    last_close,
    lots,
    orders,
    payable,
    phases,
    position,
    sessions,
    standing,
    wanted,
    working,
)
from botlib.engine.bar import trade_bar
from botlib.engine.lots import close_lot, drop_ended, end_entry, end_legs, end_order, protect_symbol
from botlib.engine.state import (
    CANCELLED,
    DIVIDEND,
    ENTRY,
    EXIT,
    EXPIRED,
    LAST,
    OUTSIDE,
    R_EXIT,
    R_KILL,
    R_SESSION_CLOSE,
    REDUCE,
    SPLIT,
)


@compiled()
def split_legs(w, lot_id, ratio):
    """A lot's leg prices and resting legs after a split."""
    lot = lots(w)[lot_id]
    lot.stop = rules.split_price(lot.side, lot.stop, ratio, True)
    lot.target = rules.split_price(lot.side, lot.target, ratio, False)
    if lot.legs and lot.stop_order >= 0 and orders(w)[lot.stop_order].kind == rules.MARKET:
        orders(w)[lot.stop_order].quantity = lot.quantity
        return
    lot.cap = rules.stop_cap(-lot.side, lot.stop) if lot.stop == lot.stop else 0.0
    if lot.legs and lot.stop_order >= 0:
        stop = orders(w)[lot.stop_order]
        stop.stop, stop.limit, stop.quantity = lot.stop, lot.cap, lot.quantity
    if lot.legs and lot.target_order >= 0:
        target = orders(w)[lot.target_order]
        target.limit, target.quantity = lot.target, lot.quantity


@compiled()
def apply_split(w, t, symbol, ratio):
    """Quantities times the ratio, prices divided by it; equity does not move.

    Odd parts of a share are those of the position, not of each lot; a lot that is paid out whole is a trade.
    """
    old = new = 0.0  # shares of the lots so far
    side = 1
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        lot = lots(w)[lot_id]
        following, before, side = lot.next, new, lot.side
        old = rules.exact_quantity(old + lot.quantity)
        new = rules.split_quantity(old, ratio, w.fractional and side > 0)
        lot.entry_price /= ratio
        lot.cost_per_share /= ratio
        lot.slip_per_share /= ratio
        if new > before:
            lot.quantity = rules.exact_quantity(new - before)
            split_legs(w, lot_id, ratio)
        else:
            lot.quantity *= ratio
            end_legs(w, lot_id, t, R_EXIT)
            close_lot(w, lot_id, t, -1, ENTRY, lot.quantity, last_close(w)[symbol] / ratio, 0.0, 0.0)
        lot_id = following
    if old > 0.0:
        w.cash += side * rules.split_cash_in_lieu(old, ratio, last_close(w)[symbol],
                                                     w.fractional and side > 0)
        position(w)[symbol] = side * new
    last_close(w)[symbol] /= ratio
    old = new = 0.0  # shares of the exits so far: theirs too are odd parts of the position's shares
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.symbol == symbol:
            if o.purpose == ENTRY:
                o.quantity = rules.split_quantity(o.quantity, ratio, o.quantity != math.floor(o.quantity))
            else:
                old, before = rules.exact_quantity(old + o.quantity), new
                new = rules.split_quantity(old, ratio, w.fractional and side > 0)
                o.quantity = rules.exact_quantity(new - before)
            o.limit = rules.split_price(o.side, o.limit, ratio, True)
            o.stop = rules.split_price(o.side, o.stop, ratio, False)
            if o.kind == rules.STOP:
                o.limit = rules.stop_cap(o.side, o.stop)
            o.stop_loss = rules.split_price(o.side, o.stop_loss, ratio, True)
            o.take_profit = rules.split_price(o.side, o.take_profit, ratio, False)


@compiled()
def pay_dividends(w, today):
    """Dividends due become cash."""
    unpaid = 0
    for i in range(w.n_payable):
        due = payable(w)[i]
        if due.session <= today:
            w.cash += due.amount
            w.receivable -= due.amount
        else:
            payable(w)[unpaid].session, payable(w)[unpaid].amount = due.session, due.amount
            unpaid += 1
    w.n_payable = unpaid
    if unpaid == 0:
        w.receivable = 0.0  # no dust of rounding


@compiled()
def begin_session(w, t):
    """Before the first print: the day's counters, interest, payments and corporate actions."""
    today = sessions(w)[t]
    w.day_orders = 0
    w.day_start = w.equity
    w.daily_halt = False
    if w.state != safety.HALTED:
        w.state = safety.ACTIVE
    while w.fee_row + 1 < w.n_fee_rows and fee_rows(w)[w.fee_row + 1].session <= today:
        w.fee_row += 1
    if w.n_held > 0 and (w.borrow_pct > 0.0 or w.margin_pct > 0.0):
        days = today - w.session
        owed = 0.0
        for i in range(w.n_held):
            symbol = held(w)[i]
            owed += rules.interest(max(0.0, -position(w)[symbol] * last_close(w)[symbol]), w.borrow_pct, days)
        owed = rules.cents_up(owed) + rules.cents_up(rules.interest(max(0.0, -w.cash), w.margin_pct, days))
        w.cash -= owed
        w.interest += owed
    if w.n_payable > 0:
        pay_dividends(w, today)
    w.session = today
    while w.action < w.n_actions and actions(w)[w.action].bar <= t:
        act = actions(w)[w.action]
        w.action += 1
        if act.kind == SPLIT:
            apply_split(w, t, act.symbol, act.value)
        elif act.kind == DIVIDEND and position(w)[act.symbol] != 0.0:
            amount = math.floor(position(w)[act.symbol] * act.value * 100.0 + 0.5) / 100.0
            w.dividends += amount
            if act.pay_session <= today:
                w.cash += amount
            else:
                payable(w)[w.n_payable].session, payable(w)[w.n_payable].amount = act.pay_session, amount
                w.n_payable += 1
                w.receivable += amount


@compiled()
def expire_orders(w, t):
    """The session's close ends day orders, newest first; an unfinished market exit stands over to the next session."""
    for i in range(w.n_open - 1, -1, -1):
        oid = working(w)[i]
        o = orders(w)[oid]
        if o.purpose == ENTRY:
            end_entry(w, oid, t, EXPIRED, R_SESSION_CLOSE)
        else:
            end_order(w, oid, t, EXPIRED, R_SESSION_CLOSE)
            if not o.named and standing(w)[o.symbol] != standing(w)[o.symbol]:
                standing(w)[o.symbol] = 0.0 if o.purpose == EXIT else wanted(w)[o.symbol]
            if not o.named and o.purpose == REDUCE:
                wanted(w)[o.symbol] = o.before
            protect_symbol(w, o.symbol, t)
    w.n_open = 0


@compiled()
def check_safety(w, t):
    """The limits at the bar's close: latch the kill, or stop new risk until the next session."""
    w.peak = max(w.peak, w.equity)
    was_halted = w.state == safety.HALTED
    w.state = safety.trading_state(w.equity, w.peak, w.day_start, was_halted, w.max_drawdown_pct, w.max_daily_loss_pct)
    if w.state == safety.HALTED and not was_halted:
        add_halt(w, t, 0, w.state, safety.fall_pct(w.equity, w.peak), w.max_drawdown_pct)
        for i in range(w.n_open - 1, -1, -1):
            if orders(w)[working(w)[i]].purpose == ENTRY:
                end_entry(w, working(w)[i], t, CANCELLED, R_KILL)
        drop_ended(w)
        if w.flatten:
            for i in range(w.n_held):
                standing(w)[held(w)[i]] = 0.0
    elif w.state == safety.REDUCE_ONLY and not w.daily_halt:
        w.daily_halt = True
        add_halt(w, t, 1, w.state, safety.fall_pct(w.equity, w.day_start), w.max_daily_loss_pct)
    elif w.daily_halt and w.state == safety.ACTIVE:
        w.state = safety.REDUCE_ONLY  # lasts for the session, also when the loss shrinks


@compiled()
def add_halt(w, t, limit, state, value_pct, limit_pct):
    """Note when and by which limit trading stopped."""
    halt = halts(w)[w.n_halts]
    w.n_halts += 1
    halt.bar, halt.limit, halt.state, halt.value_pct, halt.limit_pct = t, limit, state, value_pct, limit_pct


@compiled()
def close_bar(w, t):
    """Mark to the close, end what the session's close ends, look at the limits."""
    value, gross = 0.0, 0.0
    for i in range(w.n_held):
        symbol = held(w)[i]
        c = closes(w)[t, symbol]
        if c > 0.0:
            last_close(w)[symbol] = c
        worth = position(w)[symbol] * last_close(w)[symbol]
        value += worth
        gross += abs(worth)
    w.equity = w.cash + w.receivable + value
    w.gross = gross
    equity_curve(w)[t], gross_curve(w)[t] = w.equity, gross
    if w.n_open > 0 and phases(w)[t] == LAST:
        expire_orders(w, t)
    if w.safety:
        check_safety(w, t)


@compiled()
def advance(w, t):
    """Bar ``t`` happens, from the moment before its first print to its close."""
    if sessions(w)[t] != w.session:
        begin_session(w, t)
    if phases(w)[t] == OUTSIDE and not w.textbook:  # orders and legs wait for the next regular bar
        close_bar(w, t)
        return
    if w.n_open > 0 or w.n_held > 0:
        trade_bar(w, t)
        if w.n_open > 0:
            drop_ended(w)
    close_bar(w, t)
