"""Long trades taken whole: from a decision to the bar that ends the position, without orders and lots in between.

What is bought, when it is sold and for how much is what the engine's steps come to; whatever is not so simple is left
to them.
"""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.arrays import actions, closes, fee_rows, highs, lows, opens, phases, sessions, volumes
from botlib.engine.decide import clipped, wanted_quantity
from botlib.engine.state import OUTSIDE

TOP, WORST, SUM, SQUARES, WHOLE = range(5)
"""Running figures of an account: highest equity, deepest fall from it, sum and sum of squares of bar returns, and the
trades that were taken whole."""


@compiled()
def paid(w, side, quantity, price, fee_row):
    """Costs of a fill, as `fills.book_fill` has them."""
    commission = rules.commission(quantity, price, w.commission_bps, w.commission_per_share, w.commission_min)
    if w.textbook:
        return commission
    cost = rules.cents_up(commission)
    if w.fees:
        f = fee_rows(w)[fee_row]
        cost += rules.regulatory_fees(side, quantity, price, f.sec_rate, f.taf_per_share, f.taf_max, f.cat_per_share)
    return cost


@compiled()
def sold(w, t, quantity, price, slips, fee_row):
    """What a sale brings, as `fills.priced` and `fills.book_fill` have it."""
    volume = volumes(w)[t, 0]
    if w.textbook:
        price = rules.slipped(-1, price, w.slippage_bps, w.impact_bps, quantity, volume)
    else:
        price = rules.fill_price(-1, price, slips, 0.0, w.slippage_bps, w.impact_bps, quantity, volume)
    return quantity * price - paid(w, -1, quantity, price, fee_row)


@compiled()
def fees_of(w, fee_row, today):
    """The row of fee rates in force, as `sessions.begin_session` finds it."""
    while fee_row + 1 < w.n_fee_rows and fee_rows(w)[fee_row + 1].session <= today:
        fee_row += 1
    return fee_row


@compiled()
def plain(w):
    """Whether trades of this account can be taken whole: nothing can happen to it between fills but prices."""
    return (w.participation_pct == math.inf and not w.borrow_pct > 0.0 and not w.margin_pct > 0.0 and not w.shares
            and w.tolerance_pct != w.tolerance_pct and not (w.safety and w.state != safety.ACTIVE))


@compiled()
def entry_of(w, e, weight, orders_today):
    """Shares, stop and target of an entry decided at the close of bar ``e``; no shares where it is refused.

    The order of refusals is `decide.decide`'s and `submit.submit_entry`'s; here all of them come to nothing.
    """
    close = closes(w)[e, 0]
    if not close > 0.0:
        return 0.0, 0.0, 0.0
    target = clipped(w, close, weight)
    quantity = rules.exact_quantity(wanted_quantity(w, close, target))
    if quantity <= 0.0 or (quantity != math.floor(quantity) and quantity * close < 1.0):
        return 0.0, 0.0, 0.0
    if w.safety and safety.entry_gate(w.state, orders_today, w.max_orders, quantity * close, w.equity,
                                      w.max_position_size_pct) != safety.PASSED:
        return 0.0, 0.0, 0.0
    if w.textbook:  # sized, protected and paid for at the fill
        return quantity, math.nan, math.nan
    stop, limit = math.nan, math.nan
    if w.stop_loss_pct == w.stop_loss_pct:
        stop = rules.stop_leg_price(1, close, w.stop_loss_pct)
    if w.take_profit_pct == w.take_profit_pct:
        limit = rules.target_leg_price(1, close, w.take_profit_pct)
    if limit <= 0.0 or rules.leg_passed(1, close, stop, limit) >= 0:
        return 0.0, 0.0, 0.0
    free = rules.buying_power(w.cash, w.equity, 0.0, w.reserved, w.max_gross_pct, w.cash_account)
    if not rules.fits(rules.reserve(1, quantity, rules.MARKET, close, 0.0), free):
        return 0.0, 0.0, 0.0
    return quantity, stop, limit


@compiled()
def out_within(w, t, stop, target, entered):
    """Whether a leg of a long lot takes it out in bar ``t``: (outcome, price, slips); ``entered`` in this very bar."""
    first, high, low = opens(w)[t, 0], highs(w)[t, 0], lows(w)[t, 0]
    if w.textbook:
        if entered:
            return False, 0.0, False
        if low <= stop:
            return True, min(first, stop), True
        if high >= target:
            return True, max(first, target), True
        return False, 0.0, False
    for kind in (rules.STOP, rules.LIMIT):
        out, price, slips = rules.fill_at_open(kind, -1, first, 0.0 if kind == rules.STOP else target, stop, False)
        if out == rules.FILLED and (stop == stop if kind == rules.STOP else target == target):
            return True, price, slips
    for kind in (rules.STOP, rules.LIMIT):
        out, price, slips = rules.fill_within(kind, -1, high, low, 0.0 if kind == rules.STOP else target, stop, False)
        if out == rules.FILLED and (stop == stop if kind == rules.STOP else target == target):
            return True, price, slips
    return False, 0.0, False


@compiled()
def whole_trade(w, e, exit_next, weight, stats, curve):
    """One long trade from the decision at bar ``e`` to the bar that ends it, without orders and lots in between.

    Returns the first bar that may be decided on after it, or -1 when something happens that is the engine's: nothing
    has changed then. What is bought, when it is sold and for how much is what the engine's steps come to.
    """
    n, day, phase = w.bars, sessions(w), phases(w)
    new_day = day[e] != w.session
    orders_today = 0 if new_day else w.day_orders
    until = actions(w)[w.action].bar if w.action < w.n_actions else n
    if until <= e or phase[e] == OUTSIDE:
        return -1
    quantity, stop, target = entry_of(w, e, weight, orders_today)
    if quantity <= 0.0:
        return e + 1
    t = e + 1
    if t >= n:
        return n
    first = opens(w)[t, 0]
    if t >= until or phase[t] == OUTSIDE or not first > 0.0:
        return -1
    fee_row = fees_of(w, w.fee_row, day[t])
    volume = volumes(w)[t, 0]
    if w.textbook:
        fill = rules.slipped(1, first, w.slippage_bps, w.impact_bps, 0.0, volume)
        each = fill * (1.0 + w.commission_bps / 10_000.0)
        quantity = rules.round_quantity(abs(clipped(w, closes(w)[e, 0], weight)) * w.equity / each, w.fractional)
        if quantity <= 0.0 or quantity * each > w.cash:
            return -1
        fill = rules.slipped(1, first, w.slippage_bps, w.impact_bps, quantity, volume)
        stop, target = fill * (1.0 - w.stop_loss_pct / 100.0), fill * (1.0 + w.take_profit_pct / 100.0)
    else:
        fill = rules.fill_price(1, first, True, 0.0, w.slippage_bps, w.impact_bps, quantity, volume)
    cash = w.cash - (quantity * fill + paid(w, 1, quantity, fill, fee_row))
    below, above = (stop if stop == stop else 0.0), (target if target == target else math.inf)
    close, high, low = closes(w), highs(w), lows(w)
    last, top, worst, total, squares = w.equity, stats[TOP], stats[WORST], stats[SUM], stats[SQUARES]
    peak, start, session = w.peak, (w.equity if new_day else w.day_start), day[e]
    over, leaving = False, False  # out of the market; and on the way out by a signal
    while t < n:
        if not low[t, 0] > 0.0 or t >= until:
            return -1
        if leaving:
            if phase[t] == OUTSIDE or not opens(w)[t, 0] > 0.0:
                return -1
            fee_row = fees_of(w, fee_row, day[t])
            cash += sold(w, t, quantity, opens(w)[t, 0], True, fee_row)
            over = True
        elif not (low[t, 0] > below and high[t, 0] < above):
            if phase[t] == OUTSIDE:
                return -1
            over, price, slips = out_within(w, t, stop, target, t == e + 1)
            if over:
                fee_row = fees_of(w, fee_row, day[t])
                cash += sold(w, t, quantity, price, slips, fee_row)
        equity = cash if over else cash + quantity * close[t, 0]
        if day[t] != session:
            session, start = day[t], last
        if w.safety:
            peak = max(peak, equity)
            if safety.trading_state(equity, peak, start, False, w.max_drawdown_pct,
                                    w.max_daily_loss_pct) != safety.ACTIVE:
                return -1
        change = equity / last - 1.0
        total += change
        squares += change * change
        if equity > top:
            top = equity
        else:
            worst = min(worst, equity / top - 1.0)
        last = equity
        if len(curve):
            curve[t] = equity
        if over:
            break
        leaving = exit_next[t] == t
        t += 1
    if session != w.session:
        w.session, w.daily_halt = session, False
    w.day_orders = orders_today + 1 if session == day[e] else 0
    w.day_start, w.peak, w.fee_row = start, peak, fee_row
    w.cash, w.equity = cash, last
    stats[TOP], stats[WORST], stats[SUM], stats[SQUARES] = top, worst, total, squares
    stats[WHOLE] += over
    return t
