"""Final bars as they come: the history a session starts from, and each bar that has become final since."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import FIELDS, Bars
from botlib.calendars import day_of
from botlib.errors import BotlibWarning, DataError
from botlib.providers.base import PERIODS

_CLOCKS = pd.Timedelta(minutes=5)  # a provider tells what is known by its own clock: a date is its date after so long
_SPARE = 512  # rows of room for bars to come
_DAYS = {"1d": 1, "5d": 5, "30d": 30, "60d": 60, "1mo": 28, "3mo": 89, "6mo": 181, "1y": 365, "2y": 730, "5y": 1825}


class BarFeed:
    """Bars of a provider, growing.

    Parameters
    ----------
    provider : MarketDataProvider
        Gives final bars only.
    symbols : sequence of str
    interval, period : str
        ``period``: history to begin with.
    calendar : str
    delay : float
        Minutes after the close at which a daily bar is final.
    warmup : int
        Bars that the history must have at least; a longer period than ``period`` is taken for it.
    """

    def __init__(self, provider: Any, symbols: Sequence[str], *, interval: str, period: str, calendar: str = "XNYS",
                 delay: float = 20.0, warmup: int = 0) -> None:
        self.provider, self.symbols = provider, tuple(sorted(symbols))
        self.interval, self.period, self.calendar, self.delay = interval, period, calendar, delay
        self._warmup = warmup
        self._pending: list[Bars] = []
        self.bars: Bars | None = None
        self.missing: tuple[str, ...] = ()
        """Symbols without a single bar yet; they join when their first bar comes."""
        self._panels: dict[str, np.ndarray] = {}
        self._times = np.empty(0, np.int64)
        self._rows = 0
        self._actions: pd.DataFrame | None = None
        self.known: int | None = None
        """The exchange date up to which splits and dividends are known, days since 1970-01-01."""

    def start(self, now: pd.Timestamp) -> Bars:
        """History up to now. Raises `DataError` when there is none, `ProviderError`."""
        frame = self._history(now)
        self.read_actions(now)
        known = self._known(frame, now)
        first = Bars.from_frame(frame[known], self.calendar, interval=self.interval, actions=self._actions, now=now)
        self.missing = tuple(s for s in self.symbols if s not in first.symbols)
        columns = [self.symbols.index(s) for s in first.symbols]
        self._rows = len(first)
        room = self._rows + _SPARE
        for name, panel in _panels(first).items():
            self._panels[name] = np.full((room, len(self.symbols)), np.nan)
            self._panels[name][: self._rows, columns] = panel
        self._times = np.zeros(room, np.int64)
        self._times[: self._rows] = first.index.as_unit("ns").asi8
        self._zone = first.index.tz
        self.bars = self._cut(self._rows)
        self.bars._findings = first._findings
        return self.bars

    def _history(self, now: pd.Timestamp) -> pd.DataFrame:
        """Bars of the period, or of the shortest longer one that has enough for the warm-up."""
        longer = [p for p in sorted(_DAYS, key=_DAYS.__getitem__) if _DAYS[p] > _DAYS.get(self.period, 10**6)]
        for period in (self.period, *longer, *(["max"] if self.period != "max" else [])):
            frame = self.provider.download_bars(symbols=list(self.symbols), period=period, interval=self.interval)
            times = frame.index.get_level_values(-1)[self._known(frame, now)]
            if times.nunique() > self._warmup:
                break
        return frame

    def rewind(self, rows: int) -> None:
        """Hand out what lies behind the first ``rows`` again, as new: for a session that goes on from there."""
        assert self.bars is not None
        self._pending = [self._cut(n) for n in range(rows + 1, self._rows + 1)]

    def poll(self, now: pd.Timestamp) -> list[Bars]:
        """The panels after each bar that has become final since, oldest first; empty when there is none.

        Raises `ProviderError`; a provider that has nothing gives nothing.
        """
        if self.bars is None:
            raise RuntimeError("start the feed first")
        if self._pending:
            made, self._pending = self._pending, []
            return made
        last = self.bars.index[-1]
        if not self._may_be(now):
            return []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BotlibWarning)  # a symbol without bars has been told at the start
                frame = self.provider.download_bars(symbols=list(self.symbols), period=self._span(now - last),
                                                    interval=self.interval)
        except DataError:
            return []
        return self.take(frame, now)

    def take(self, frame: pd.DataFrame, now: pd.Timestamp) -> list[Bars]:
        """The same from a frame of bars, e.g. a stream's."""
        assert self.bars is not None
        last = self.bars.index[-1]
        times = frame.index.get_level_values(-1)
        frame = frame[(times > last) & self._known(frame, now)]
        if frame.empty:
            return []
        new = Bars.from_frame(frame, self.calendar, interval=self.interval, now=now)
        columns = [self.symbols.index(s) for s in new.symbols]
        given = _panels(new)
        made = []
        for row in range(len(new)):
            self._grow()
            for name, panel in given.items():
                if name in self._panels:
                    self._panels[name][self._rows, columns] = panel[row]
            self._times[self._rows] = new.index[row].as_unit("ns").value
            self._rows += 1
            made.append(self._cut(self._rows))
        self.bars = made[-1]
        return made

    # --- inside -------------------------------------------------------------------------------------------------------

    def _known(self, frame: pd.DataFrame, now: pd.Timestamp) -> np.ndarray:
        """Rows whose bar was final by ``now``, with the session's own delay of daily bars."""
        times = pd.DatetimeIndex(frame.index.get_level_values(-1))
        if self.interval != "1d" or frame.empty:
            return np.ones(len(frame), bool)  # the provider leaves unfinished ones out
        days = pd.DatetimeIndex(times.unique()).sort_values()
        one = np.ones((len(days), 1))
        final = Bars(days, ("x",), open=one, high=one, low=one, close=one, volume=one, interval="1d",
                     calendar=self.calendar).final_times(self.delay)
        return np.asarray(times.isin(days[final <= now]))

    def _may_be(self, now: pd.Timestamp) -> bool:
        """Whether another bar can be final by now: asking costs a request."""
        assert self.bars is not None
        if self.interval == "1d":  # the earliest close there was is 9:30 plus a few hours, 33 after the last label
            return bool(now >= self.bars.index[-1] + pd.Timedelta(hours=33))
        return bool(now >= self.bars.index[-1] + pd.Timedelta(self.interval.replace("m", "min")))

    @staticmethod
    def _span(gap: pd.Timedelta) -> str:
        """The shortest period that surely covers a gap."""
        days = gap / pd.Timedelta(days=1) + 4.0
        return next((p for p in PERIODS if p in _DAYS and _DAYS[p] >= days and p != "1d"), "max")

    def read_actions(self, now: pd.Timestamp) -> None:
        """Splits and dividends, once an exchange date; `known` says which. Raises `ProviderError`, `DataError`."""
        day = day_of(now - _CLOCKS)
        if self.known is None or day > self.known:
            self._actions = self.provider.actions(list(self.symbols))
            self.known = day

    @property
    def actions(self) -> pd.DataFrame | None:
        """What is known of splits and dividends."""
        return self._actions

    def _grow(self) -> None:
        if self._rows < len(self._times):
            return
        self._times = np.concatenate([self._times, np.zeros(_SPARE, np.int64)])
        for name, panel in self._panels.items():  # new arrays: panels handed out before never change
            self._panels[name] = np.concatenate([panel, np.full((_SPARE, panel.shape[1]), np.nan)])

    def _cut(self, rows: int) -> Bars:
        index = pd.DatetimeIndex(self._times[:rows], tz="UTC").tz_convert(self._zone)
        p = {name: panel[:rows] for name, panel in self._panels.items()}
        made = Bars(index, self.symbols, open=p.pop("open"), high=p.pop("high"), low=p.pop("low"), close=p.pop("close"),
                    volume=p.pop("volume"), interval=self.interval, calendar=self.calendar, actions=None, extra=p)
        if self._actions is not None:
            from botlib import adjust

            made.actions = adjust.known_actions(self._actions, self.symbols, int(made.sessions[-1]))
        return made


def _panels(bars: Bars) -> dict[str, np.ndarray]:
    """(T, N) by name, those beside open, high, low, close and volume too."""
    return {name: getattr(bars, name) for name in FIELDS} | bars.extra
