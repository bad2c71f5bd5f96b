"""Many accounts of one symbol on ready signals: the engine's own steps, on the bars that need them.

While an account is flat nothing happens before the next entry signal; while it holds one lot with its legs at rest,
bars that touch neither leg and bring no exit signal can only mark it. `run_signals` jumps over the former and marks the
latter in a loop of its own; every other bar is `sessions.advance` and `decide.decide`, as in a single backtest. Curves
are kept only when asked for; the figures are summed up on the way.
"""

from __future__ import annotations

import math

import numpy as np

from botlib import safety
from botlib._jit import compiled
from botlib.engine import has_room
from botlib.engine.arrays import (
    actions,
    closes,
    entering,
    head,
    highs,
    last_close,
    lots,
    lows,
    position,
    sessions,
    standing,
    wanted,
)
from botlib.engine.decide import decide
from botlib.engine.sessions import advance
from botlib.engine.whole_trades import SQUARES, SUM, TOP, WHOLE, WORST, plain, whole_trade

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
