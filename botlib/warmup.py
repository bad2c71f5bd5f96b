"""Compile the engine before anybody waits for it: ``python -m botlib.warmup``, which ``make`` calls.

What is compiled is kept for the next process. A warm-up that is interrupted goes on where it was the next time.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from botlib._jit import first_time, note_compiled


def warm_up(say: Callable[[str], Any]) -> None:
    """Compile what backtests need, unless it has been done; ``say`` is called with one line before."""
    if not first_time():
        return
    say("Compiling the engine, once: about a minute ...")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            use_everything()
        except Exception:  # whatever is wrong, the run itself says it
            return
    note_compiled()


def use_everything() -> None:
    """Small backtests of each kind: numba compiles a function when it is first called."""
    from botlib import indicators, providers
    from botlib.backtesting import backtest
    from botlib.bars import Bars
    from botlib.honesty import check_honesty
    from botlib.orders import buy, cancel
    from botlib.strategies import SHIPPED, load

    class ByHand:
        unit, warmup = "weight", 5

        def on_bar(self, view: Any) -> Any:
            return [cancel("AAPL"), buy("AAPL", 1)] if view.t % 2 else {"AAPL": 0.01}

    provider = providers.load("sample")
    symbols = ["AAPL", "FB"]  # FB was listed later
    frame = provider.download_bars(symbols=symbols, period="2y", interval="1d")
    bars = Bars.from_frame(frame, actions=provider.actions(symbols))
    for strategy in (*(load(name) for name in SHIPPED), ByHand()):
        result = backtest(bars, strategy, quiet=True)
        _ = result.metrics, result.benchmark.metrics
    check_honesty(backtest(bars, load("moving_average_cross"), quiet=True))
    indicators.highest(bars.high, 5, lag=1), indicators.lowest(bars.low, 5, lag=1)
    _sessions_functions(result.book)


def _sessions_functions(book: Any) -> None:
    """What sessions book with, on a book that nobody needs any more: for the types of the arguments it is enough."""
    from botlib.engine import booking, closing
    from botlib.engine.state import ENTRY

    world, entry = book.world, -1
    closing.way_made(world, 1), closing.end_parts(world, 1), closing.stop_entries(world, 1)
    booking.begin_day(world, 10**6), booking.money(world, 0.0, 0.0), booking.flow(world, 0.0)
    booking.split(world, 1, 0, 1.0)
    rows = [i for i, purpose in enumerate(book.rows("orders")["purpose"]) if purpose == ENTRY]
    entry = rows[-1] if rows else -1
    if entry >= 0:
        book.grow()
        lot = booking.entry_filled(world, 1, entry, 1.0, 1.0)
        booking.exit_filled(world, 1, entry, 0.25, 1.0)
        booking.leg_filled(world, 1, booking.loose_leg(world, 1, 0, 1, 3), 0.25, 1.0)
        closing.protect_again(world, 1, lot), closing.ended(world, 1, entry, 2, 0), closing.triggered(world, 1, entry)
        closing.end_opposite(world, 1, 0), closing.leg_refused(world, 1, entry)
    closing.kill(world, 1, 0.0, 5.0), closing.close(world, 1)


if __name__ == "__main__":
    try:
        warm_up(lambda line: sys.stderr.write(f"{line}\n"))
    except KeyboardInterrupt:
        sys.exit(130)
