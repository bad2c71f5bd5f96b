"""Made-up trades and quotes: what a bar says about its prints, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from botlib.calendars import NS_A_MINUTE
from botlib.sandbox.formats import plain, timestamp

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange


class Prints:
    """Four made-up prints a bar of one symbol: open, low and high (the nearer to the open first), close.

    They follow from the finished bars alone, name the condition "synthetic" and never fill an order. The close is
    printed a millisecond before the end of its bar; a daily bar trades from the regular open to the close.
    """

    PER_BAR = 4

    def __init__(self, exchange: Exchange, symbol: str) -> None:
        bars, n = exchange.bars, exchange.bars.symbols.index(symbol)
        self.rows = np.flatnonzero(~np.isnan(bars.close[:, n]))
        begin = exchange.tape.starts[self.rows]
        end = np.maximum(exchange.tape.ends[self.rows], begin + NS_A_MINUTE)  # after hours a bar may end as it begins
        third = (end - begin) // 3
        self.times = np.stack([begin, begin + third, begin + 2 * third, end - 1_000_000], axis=1).ravel()
        o, h, l, c = (getattr(bars, name)[self.rows, n] for name in ("open", "high", "low", "close"))
        low_first = o - l <= h - o
        self._prices = np.stack([o, np.where(low_first, l, h), np.where(low_first, h, l), c], axis=1).ravel()
        self._sizes = np.minimum(np.nan_to_num(bars.volume[self.rows, n]) // 4, 2**31).astype(np.int64)

    def stop(self, bar: int) -> int:
        """How many prints the finished bars have, up to row ``bar`` of the tape."""
        return self.PER_BAR * int(self.rows.searchsorted(bar, side="right"))

    def trade(self, k: int) -> str:
        """Print ``k`` as a trade."""
        return (f'{{"c":["synthetic"],"i":{k + 1},"p":{plain(float(self._prices[k]))},"s":{self._sizes[k // 4]},'
                f'"t":"{timestamp(int(self.times[k]))}","x":"V","z":"A"}}')

    def quote(self, k: int) -> str:
        """A quote a tick around print ``k``."""
        price = float(self._prices[k])
        tick = 0.01 if price >= 1.0 else 0.0001
        bid, ask = max(0.0, round(price - tick, 4)), round(price + tick, 4)
        return (f'{{"ap":{plain(ask)},"as":100,"ax":"V","bp":{plain(bid)},"bs":100,"bx":"V","c":["synthetic"],'
                f'"t":"{timestamp(int(self.times[k]))}","z":"A"}}')
