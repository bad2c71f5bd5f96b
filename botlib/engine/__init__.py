"""The compiled loop of the backtest: `run` to the end, or `step` bar by bar."""

from __future__ import annotations

import numpy as np

from botlib._jit import compiled
from botlib.engine.arrays import equity_curve, gross_curve
from botlib.engine.book import Book
from botlib.engine.decide import asked, cancel, decide, submit
from botlib.engine.sessions import advance

__all__ = ["Book", "cancel_orders", "decide_row", "run", "run_targets", "step", "submit_order"]


@compiled()
def has_room(w):
    """Whether the arrays have room for whatever one bar can do."""
    most = max(w.n_orders, w.n_fills, w.n_trades, w.n_halts, w.n_payable)
    return most + 4 * (w.symbols + w.n_lots + w.n_open) + 16 <= w.room


@compiled(nogil=True)
def run(world, targets, start, stop):
    """Run bars ``start`` to ``stop`` (exclusive) on ready targets (T, N).

    Returns the bar to go on with: ``stop`` when done, less when the book needs more room first.
    """
    w = world[0]
    equity, gross = equity_curve(w), gross_curve(w)
    for t in range(start, stop):
        decides = t >= w.first_decision
        if w.n_held == 0 and w.n_open == 0 and w.n_payable == 0 and not (decides and asked(w, targets[t])):
            equity[t], gross[t] = w.equity, 0.0  # nothing can happen: the session begins when something does
            continue
        if not has_room(w):
            return t
        advance(w, t)
        if decides:
            candidates = asked(w, targets[t])
            if candidates:
                decide(w, t, targets[t], candidates)
    return stop


@compiled()
def step(world, t):
    """Advance one bar; False when the book needs more room first."""
    w = world[0]
    if not has_room(w):
        return False
    advance(w, t)
    return True


@compiled()
def decide_row(world, t, row):
    """Turn one row of targets (N,) into orders at the close of bar ``t``."""
    w = world[0]
    decide(w, t, row, asked(w, row))


@compiled()
def submit_order(world, t, symbol, side, quantity, kind, limit, stop):
    """Submit one order a strategy named itself; returns the reason of a refusal, 0 when it works."""
    return submit(world[0], t, symbol, side, quantity, kind, limit, stop)


@compiled()
def cancel_orders(world, t, symbol, only):
    """Cancel what a strategy may cancel of a symbol: the order with id ``only``, or all when it is below 0."""
    cancel(world[0], t, symbol, only)


def run_targets(book: Book, targets: np.ndarray) -> None:
    """Run ready targets (T, N) to the end, giving the book more room whenever it asks for it."""
    n, t = len(targets), 0
    while t < n:
        t = run(book.world, targets, t, n)
        if t < n:
            book.grow()
