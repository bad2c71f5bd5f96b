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


if __name__ == "__main__":
    try:
        warm_up(lambda line: sys.stderr.write(f"{line}\n"))
    except KeyboardInterrupt:
        sys.exit(130)
