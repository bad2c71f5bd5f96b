"""A strategy's answer at the last bar, put into the book: the same for ready targets and for ``on_bar``."""

from __future__ import annotations

from typing import Any

import numpy as np

from botlib import engine
from botlib.backtesting import describe_error, strategy_targets, warmup_bars
from botlib.bar_reveal import KnownBars
from botlib.bars import Bars
from botlib.engine.book import Book
from botlib.errors import StrategyFailed
from botlib.orders import Numbers
from botlib.strategies.base import own_warmup
from botlib.view import View, ask_on_bar


class Decider:
    """A strategy and the prices it sees.

    Parameters
    ----------
    strategy : object
        With ``targets(bars)`` or ``on_bar(view)``.
    adjustment : str
        "raw", "split" or "all", of the prices it sees.
    """

    def __init__(self, strategy: Any, adjustment: str) -> None:
        self.strategy, self.adjustment, self.warmup = strategy, adjustment, warmup_bars(strategy)

    def ready(self, bars: Bars) -> bool:
        """Whether the last bar lies beyond the strategy's warm-up."""
        return len(bars) > self.warmup

    def decide(self, bars: Bars, book: Book, numbers: Numbers | None = None) -> np.ndarray:
        """Orders of ``book`` for the last of ``bars``; returns the targets (N,), NaN where there is none. The strategy
        knows its orders by ``numbers``.

        Raises `StrategyError` when the strategy fails or gives something else than an answer: nothing was decided.
        """
        try:
            return self._decide(bars, book, numbers)
        except KeyboardInterrupt as error:  # nobody's Ctrl-C comes here: a session has a thread of its own
            raise StrategyFailed(f"{type(self.strategy).__name__} raised {describe_error(error)}") from error

    def _decide(self, bars: Bars, book: Book, numbers: Numbers | None) -> np.ndarray:
        t = len(bars) - 1
        if not hasattr(self.strategy, "on_bar"):
            row = np.array(strategy_targets(self.strategy, bars, self.adjustment)[t])
            engine.decide_row(book.world, t, row)
            return row
        late = own_warmup(bars, self.warmup)
        ready = np.array([late.get(i, 0) for i in range(len(bars.symbols))])
        columns = {symbol: i for i, symbol in enumerate(bars.symbols)}
        view = View(KnownBars(bars, self.adjustment).upto(t), book, t, columns, numbers)
        return ask_on_bar(self.strategy, view, ready)
