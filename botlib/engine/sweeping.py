"""Many accounts of one symbol on ready signals: the engine's own steps, on the bars that need them.

While an account is flat nothing happens before the next entry signal; while it holds one lot with its legs at rest,
bars that touch neither leg and bring no exit signal can only mark it. `run_signals` jumps over the former and marks the
latter in a loop of its own; every other bar is `sessions.advance` and `decide.decide`, as in a single backtest. Curves
are kept only when asked for; the figures are summed up on the way.
"""

from __future__ import annotations

import math

import numpy as np

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine import has_room
from botlib.engine.arrays import (
    actions,
    closes,
    entering,
    fee_rows,
    head,
    highs,
    last_close,
    lots,
    lows,
    opens,
    phases,
    position,
    sessions,
    standing,
    volumes,
    wanted,
)
from botlib.engine.decide import clipped, decide, wanted_quantity
from botlib.engine.sessions import advance
from botlib.engine.state import OUTSIDE

TOP, WORST, SUM, SQUARES, WHOLE = range(5)
"""Running figures of an account: highest equity, deepest fall from it, sum and sum of squares of bar returns, and the
trades that were taken whole."""

FIGURES = 6
"""What `run_signals` gives of each account: total return, mean and variance (ddof 1) of bar returns, maximum drawdown,
trades, and whether it came to its end (1) or needs more room (0)."""


@compiled()
def next_true(flags, out):
    """The first bar from each bar on at which ``flags`` (T,) is true, T when there is none; ``out`` (T + 1,) int32."""
    n = len(flags)
    out[n] = found = n
    for t in range(n - 1, -1, -1):
        if flags[t]:
            found = t
        out[t] = found


@compiled()
def rests(w, t):
    """Whether from bar t on nothing but a leg, a signal or an action can do more than mark the account."""
    if w.n_held != 1 or w.n_open != 0 or w.n_payable != 0 or w.state == safety.REDUCE_ONLY:
        return False
    if w.borrow_pct > 0.0 or w.margin_pct > 0.0 or standing(w)[0] == standing(w)[0]:
        return False
    lot = lots(w)[head(w)[0]]
    return lot.next < 0 and not lot.triggered and lot.legs_from <= t and (lot.legs or lot.stop != lot.stop)


@compiled()
def mark(stats, before, equity):
    """A bar's close changed the account's equity."""
    change = equity / before - 1.0
    stats[SUM] += change
    stats[SQUARES] += change * change
    if equity > stats[TOP]:
        stats[TOP] = equity
    else:
        stats[WORST] = min(stats[WORST], equity / stats[TOP] - 1.0)


@compiled()
def rest(w, t, until, stats, curve):
    """Mark bars from ``t`` on until one needs the engine, at most up to ``until``; returns that bar."""
    lot = lots(w)[head(w)[0]]
    below, above = (lot.stop, lot.target) if lot.side > 0 else (lot.target, lot.stop)
    below, above = (below if below == below else 0.0), (above if above == above else math.inf)
    if w.action < w.n_actions:
        until = min(until, actions(w)[w.action].bar)
    shares, cash, last = position(w)[0], w.cash, w.equity
    close, high, low, day = closes(w), highs(w), lows(w), sessions(w)
    watched = w.safety and w.state == safety.ACTIVE
    peak, start, session = w.peak, w.day_start, w.session
    top, worst, total, squares = stats[TOP], stats[WORST], stats[SUM], stats[SQUARES]
    first = t
    while t < until and low[t, 0] > below and high[t, 0] < above:  # a bar that is missing (NaN) is the engine's
        equity = cash + shares * close[t, 0]
        if watched:
            if day[t] != session:
                start_now = last
            else:
                start_now = start
            if safety.trading_state(equity, max(peak, equity), start_now, False, w.max_drawdown_pct,
                                    w.max_daily_loss_pct) != safety.ACTIVE:
                break
            peak, start, session = max(peak, equity), start_now, day[t]
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
        t += 1
    if t > first:
        if day[t - 1] != w.session:
            w.session, w.day_orders, w.daily_halt = day[t - 1], 0, False
            w.day_start = start if watched else last
        w.equity, w.peak = last, peak
        w.gross = abs(shares * close[t - 1, 0])
        last_close(w)[0] = close[t - 1, 0]
        stats[TOP], stats[WORST], stats[SUM], stats[SQUARES] = top, worst, total, squares
    return t


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


@compiled()
def account(w, entry_next, exit_next, weight, stats, curve):
    """One account to its end; returns its trades, or -1 when the book needs more room."""
    n, t, n_trades = w.bars, w.first_decision, 0
    row = np.empty(1)
    last, marked = w.equity, 0
    while t < n:
        if w.n_held == 0 and w.n_open == 0 and w.n_payable == 0 and standing(w)[0] != standing(w)[0]:
            n_trades += w.n_trades
            w.n_trades = w.n_orders = w.n_fills = w.n_halts = 0  # nobody looks at them, and they take room
            t = entry_next[t]
            if t >= n or w.state == safety.HALTED:
                break
            if exit_next[t] == t:
                t += 1
                continue
            if plain(w):
                for u in range(marked, t + 1 if len(curve) else 0):
                    curve[u] = last
                then = whole_trade(w, t, exit_next, weight, stats, curve)
                if then >= 0:
                    last, marked, t = w.equity, max(then + (then > t + 1 or w.equity != last), t + 1), then
                    continue
        elif not has_room(w):
            return -1
        elif rests(w, t):
            for u in range(marked, t if len(curve) else 0):
                curve[u] = last
            t = rest(w, t, min(exit_next[t], n), stats, curve)
            last, marked = w.equity, t
            if t >= n:
                break
        for u in range(marked, t if len(curve) else 0):
            curve[u] = last
        marked = t
        advance(w, t)
        if w.equity != last:
            mark(stats, last, w.equity)
            last = w.equity
        if exit_next[t] == t:
            row[0] = 0.0
        elif entry_next[t] == t:
            row[0] = weight
        else:
            row[0] = math.nan
        target, now, stands = row[0], wanted(w)[0], standing(w)[0]
        if (target == target and target != now and (target != 0.0 or now == now)) or stands == stands:
            entering(w)[0] = 0
            decide(w, t, row, 1)
        t += 1
    for u in range(marked, n if len(curve) else 0):
        curve[u] = last
    return n_trades + w.n_trades + int(stats[WHOLE])


@compiled(nogil=True)
def run_signals(world, fresh, columns, entries, exits, jobs, points, first, figures, curves):
    """Accounts of one symbol, one after the other in one book.

    Parameters
    ----------
    world, fresh : (1,) WORLD
        The book's, and a copy of it as it was before the first bar.
    columns : (K, 1) float64
        The book's per-symbol arrays; the same after the first account as before it.
    entries, exits : (E, T + 1), (X, T + 1) int32
        Bars of the next signal, see `next_true`; an entry is none on a bar of an exit.
    jobs : (J, 2) int64
        Rows of ``entries`` and ``exits``.
    points : (J, 4) float64
        Weight, stop loss and take profit in percent (NaN: no such leg), and the first bar that may be decided on.
    first : int
        Figures are those of the returns after this bar; no point may decide before it.
    figures : (J, FIGURES) float64
        Filled in, see there.
    curves : (J, T) float64, or (0, 0)
        Filled with equity at each close.
    """
    w = world[0]
    start = columns.copy()
    stats = np.empty(5)
    none = np.empty(0)
    for j in range(len(jobs)):
        world[0] = fresh[0]
        columns[:] = start
        w.stop_loss_pct, w.take_profit_pct, w.first_decision = points[j, 1], points[j, 2], int(points[j, 3])
        begun = w.equity
        stats[:] = 0.0
        stats[TOP] = begun
        n_trades = account(w, entries[jobs[j, 0]], exits[jobs[j, 1]], points[j, 0], stats,
                           curves[j] if len(curves) else none)
        n = w.bars - 1 - first
        figures[j, 0], figures[j, 1], figures[j, 2] = w.equity / begun - 1.0, math.nan, math.nan
        if n > 1:
            mean = stats[SUM] / n
            figures[j, 1], figures[j, 2] = mean, (stats[SQUARES] - n * mean * mean) / (n - 1)
        figures[j, 3], figures[j, 4], figures[j, 5] = stats[WORST], n_trades, n_trades >= 0
    columns[:] = start
    world[0] = fresh[0]
