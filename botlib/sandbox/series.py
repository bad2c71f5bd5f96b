"""Bars of one timeframe as the market-data API writes them: `View` of all symbols, `Series` of one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from botlib.sandbox.formats import plain

PRICES = ("open", "high", "low", "close", "vwap")


class View(NamedTuple):
    """The bars of one timeframe.

    labels : (G,) UTC ns; ends : (G,) when a bar is over; first, last : (G,) rows of the tape it is made of;
    sessions : (G,) days; panels : raw, (G, N) each, "vwap" and "trade_count" among them.
    """

    labels: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    last: np.ndarray
    sessions: np.ndarray
    panels: dict[str, np.ndarray]

    def known(self, bar: int, now: int) -> int:
        """How many are finished when row ``bar`` of the tape is the last that happened."""
        count = int(self.last.searchsorted(bar, side="right"))
        begun = count < len(self.first) and int(self.first[count]) <= bar  # the next has begun
        if count and not begun and int(self.ends[count - 1]) > now:
            count -= 1
        return count


class Series:
    """The bars of one symbol in one timeframe and adjustment; those to come are in it, `stop` says where they begin.

    times : (K,) UTC ns of the labels; rows : (K,) their rows in the view.
    """

    def __init__(self, view: View, column: int, price: np.ndarray | None, shares: np.ndarray | None) -> None:
        close = view.panels["close"][:, column]
        self.rows = np.flatnonzero(~np.isnan(close))
        self.times = view.labels[self.rows]
        self._values = {name: panel[self.rows, column] for name, panel in view.panels.items()}
        if price is not None:
            for name in PRICES:
                self._values[name] = self._values[name] / price[self.rows]
        if shares is not None:
            self._values["volume"] = self._values["volume"] * shares[self.rows]
        self._texts: list[str | None] = [None] * len(self.rows)

    def stop(self, known: int) -> int:
        """How many of them are among the first ``known`` rows of the view."""
        return int(self.rows.searchsorted(known))

    def texts(self, low: int, high: int) -> list[str]:
        """Bars ``low`` to ``high`` (not included) as JSON."""
        made = self._texts[low:high]
        if None in made:  # a poll that moves on with the bars misses the last only
            first, stop = low + made.index(None), high
            while self._texts[stop - 1] is not None:
                stop -= 1
            values = {name: v[first:stop] for name, v in self._values.items()}
            self._texts[first:stop] = bar_texts(self.times[first:stop], values)
            made = self._texts[low:high]
        return made  # type: ignore[return-value]

    def bar(self, number: int) -> dict[str, Any]:
        """One bar."""
        made: dict[str, Any] = json.loads(self.texts(number, number + 1)[0])
        return made


def bar_texts(times: np.ndarray, values: dict[str, np.ndarray]) -> list[str]:
    """Bars as JSON objects, numbers the way Alpaca writes them: no ".0", volume and count whole."""
    labels = np.datetime_as_string(times.astype("M8[ns]").astype("M8[s]")).tolist()
    floats = [[plain(x) for x in values[name].tolist()] for name in ("close", "high", "low", "open", "vwap")]
    whole = [np.rint(np.nan_to_num(values[name])).astype(np.int64).tolist() for name in ("trade_count", "volume")]
    return [f'{{"c":{c},"h":{h},"l":{l},"n":{n},"o":{o},"t":"{t}Z","v":{v},"vw":{vw}}}'
            for c, h, l, o, vw, n, v, t in zip(*floats, *whole, labels, strict=True)]
