"""Compile the engine before anybody waits for it: ``python -m botlib.warmup``, which ``make`` calls.

What is compiled is kept for the next process. A warm-up that is interrupted goes on where it was the next time.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from botlib._jit import compile_for, first_time, note_compiled


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
    from botlib.strategies import SHIPPED, MeanReversionMomentum, load
    from botlib.tuning.sweep import sweep

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
    sweep(bars, MeanReversionMomentum, {"rsi_period": [10, 14]}, by="symbol")
    indicators.highest(bars.high, 5, lag=1), indicators.lowest(bars.low, 5, lag=1)
    _sessions_functions(result.book.world)


def _sessions_functions(world: Any) -> None:
    """What sessions book with, for the types they call it with; not called, since nothing of it happened."""
    from botlib.engine import booking, closing

    t = row = symbol = 1
    amount = 1.0
    for function, *arguments in (
        (booking.begin_day, 1), (booking.split, t, symbol, 1.0), (booking.money, amount, amount),
        (booking.flow, amount), (booking.entry_filled, t, row, amount, amount),
        (booking.exit_filled, t, row, amount, amount), (booking.loose_leg, t, symbol, 1, 1),
        (booking.leg_filled, t, row, amount, amount), (closing.ended, t, row, 1, 1), (closing.triggered, t, row),
        (closing.leg_refused, t, row), (closing.protect_again, t, row), (closing.end_opposite, t, symbol),
        (closing.end_session, t), (closing.end_parts, t), (closing.way_made, t), (closing.stop_entries, t),
        (closing.close, t), (closing.kill, t, amount, amount),
    ):
        compile_for(function, world, *arguments)


if __name__ == "__main__":
    try:
        warm_up(lambda line: sys.stderr.write(f"{line}\n"))
    except KeyboardInterrupt:
        sys.exit(130)
