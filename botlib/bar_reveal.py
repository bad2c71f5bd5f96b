"""Bars that become known one after the other: what an ``on_bar`` strategy sees of them."""

from __future__ import annotations

import numpy as np

from botlib import adjust
from botlib.bar_checks import FIELDS
from botlib.bars import Bars


class KnownBars:
    """Bars up to the one reached, adjusted by the actions known by then; what comes later is not in their memory.

    Each bar is written behind those before it when it is reached: until then NaN stands there, and whoever gets at the
    array behind a view finds nothing. An action that becomes known moves all earlier prices; they go to new arrays, so
    that bars handed out before never change.

    Parameters
    ----------
    bars : Bars
    adjustment : str
        Of the prices shown: "raw", "split" or "all"; without effect on bars that have no actions or are adjusted.
    """

    def __init__(self, bars: Bars, adjustment: str) -> None:
        self._bars = bars
        self._source = {name: getattr(bars, name) for name in FIELDS} | bars.extra
        self._how = bars.adjustment
        self._days = np.empty(0, np.int64)  # of the actions that move prices
        if bars.actions is not None and len(bars.actions) and bars.adjustment == "raw" and adjustment != "raw":
            self._how = adjustment
            table = bars.actions.sort_values("ex_date", kind="stable")
            moves = table["symbol"].isin(bars.symbols) & ((table["type"] == "split") | (adjustment == "all"))
            self._actions = table[moves]
            self._days = adjust.ex_days(self._actions)
        self._applied = self._shown = 0  # actions, bars
        self._next = int(self._days[0]) if len(self._days) else 2**31
        self._sessions = bars.sessions.tolist()
        self._begin({})

    def upto(self, t: int) -> Bars:
        """The first ``t + 1`` bars; ``t`` must not fall."""
        if self._sessions[t] >= self._next:
            self._apply_actions(t)
        else:
            self._reveal(t)
        return self._seen._cut(0, t + 1)

    def _begin(self, so_far: dict[str, np.ndarray]) -> None:
        """New arrays that hold ``so_far``, and NaN after it."""
        self._arrays = {}
        for name, panel in self._source.items():
            self._arrays[name] = array = np.full(panel.shape, np.nan)
            if so_far:
                array[: self._shown] = so_far[name][: self._shown]
        self._pairs = [(array, self._source[name]) for name, array in self._arrays.items()]
        extra = {name: self._arrays[name] for name in self._bars.extra}
        bars = self._bars
        self._seen = Bars(bars.index, bars.symbols, **{f: self._arrays[f] for f in FIELDS}, interval=bars.interval,
                          calendar=bars.calendar, adjustment=self._how, extra=extra,
                          actions=bars.actions if self._how == bars.adjustment else None)
        self._seen.memo("sessions", lambda: bars.sessions)
        self._seen._findings = bars._findings

    def _reveal(self, t: int) -> None:
        """Write the bars up to ``t``: the newest ones are the same raw and adjusted."""
        first, stop = self._shown, t + 1
        for array, source in self._pairs:
            array[first:stop] = source[first:stop]
        self._shown = stop

    def _apply_actions(self, t: int) -> None:
        """Adjust the symbols of the actions that are new at bar ``t``, from their raw prices."""
        count = int(np.searchsorted(self._days, self._sessions[t], side="right"))
        symbols = tuple(sorted(set(self._actions["symbol"].iloc[self._applied : count])))
        columns = [self._bars.symbols.index(s) for s in symbols]
        known = self._actions.iloc[:count]
        self._applied = count
        self._next = int(self._days[count]) if count < len(self._days) else 2**31
        raw = {name: np.ascontiguousarray(panel[: t + 1, columns]) for name, panel in self._source.items()}
        due = adjust.divisors(known[known["symbol"].isin(symbols)], symbols, self._bars.sessions[: t + 1],
                              raw["close"], self._how)
        if due is None:
            self._reveal(t)
            return
        self._begin(self._arrays)
        self._reveal(t)
        for name, panel in adjust.apply(due, raw).items():
            self._arrays[name][: t + 1, columns] = panel
