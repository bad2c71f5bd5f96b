"""What the market-data API knows: finished bars of an exchange's tape, longer and adjusted ones.

Only bars that have happened are seen, and only corporate actions with an ex-date by the current session. Longer bars
are Alpaca's (`timeframes`). As at Alpaca a bar is there while it is made: the last one may be unfinished. Everything
is kept by bar number: a request neither resamples nor adjusts what an earlier one did.

Volume-weighted prices and trade counts are the data's own ("vwap" and "trade_count" of ``bars.extra``); without them
the price is (high + low + close) / 3 and the count 0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import adjust, resample
from botlib.bars import FIELDS
from botlib.sandbox import timeframes
from botlib.sandbox.prints import Prints
from botlib.sandbox.series import PRICES, Series, View, bar_texts
from botlib.sandbox.timeframes import DAY, Timeframe

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange

__all__ = ["ADJUSTMENTS", "MarketData", "Prints", "Series", "View"]

ADJUSTMENTS = ("raw", "split", "dividend", "all")


class MarketData:
    """Bars and corporate actions as they are known at an exchange's time.

    Parameters
    ----------
    exchange : Exchange
    unfinished : bool
        As at Alpaca, the last bar may be unfinished: a longer bar of the bars so far, and of the tape's own bar in
        progress, unless it is a minute, the open. False: bars appear when they are finished.
    """

    def __init__(self, exchange: Exchange, unfinished: bool = True) -> None:
        self.exchange, self.unfinished = exchange, unfinished
        self.bars = exchange.bars
        self.own = timeframes.of(self.bars.interval)
        self.column = {symbol: n for n, symbol in enumerate(self.bars.symbols)}
        self._fits: dict[Timeframe, bool] = {}
        self._views: dict[Timeframe, View] = {}
        self._partials: dict[Timeframe, tuple[tuple[int, int], list[str | None]]] = {}
        self._series: dict[tuple[str, Timeframe, str], tuple[int, Series]] = {}
        self._actions = _by_symbol(self.bars.actions)

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def bar(self) -> int:
        """The last row of the tape that happened."""
        return int(self.exchange.bar)

    @property
    def today(self) -> int:
        """The session that is known to have begun, days since 1970-01-01: its actions are known, too."""
        return int(self.bars.sessions[self.bar + self.exchange.tape.in_progress])

    def serves(self, timeframe: Timeframe) -> bool:
        """Whether the tape's bars can make such bars."""
        if timeframe not in self._fits:
            self._fits[timeframe] = timeframes.fits(self.exchange.tape, timeframe)
        return self._fits[timeframe]

    def known(self, timeframe: Timeframe) -> int:
        """How many bars of a timeframe are finished now."""
        return self.view(timeframe).known(self.bar, int(self.exchange.now))

    def view(self, timeframe: Timeframe) -> View:
        """All bars of one timeframe, those to come included."""
        if timeframe not in self._views:
            self._views[timeframe] = _view(self.exchange, timeframe)
        return self._views[timeframe]

    def actions(self, symbol: str, day: int = 0) -> pd.DataFrame | None:
        """Its corporate actions with an ex-date by today's session, or by a later ``day`` (days since 1970-01-01), by
        ex-date; None when there are none."""
        if symbol not in self._actions:
            return None
        table, days = self._actions[symbol]
        count = int(days.searchsorted(max(self.today, day), side="right"))
        return table.iloc[:count] if count else None

    def series(self, symbol: str, timeframe: Timeframe, how: str = "raw") -> Series:
        """The bars of a symbol, adjusted by the actions known now. ``how``: one of `ADJUSTMENTS`."""
        known = self.actions(symbol) if how != "raw" else None
        count = 0 if known is None else len(known)
        key = (symbol, timeframe, how if count else "raw")
        kept = self._series.get(key)
        if kept is None or kept[0] != count:
            kept = (count, self._adjusted(symbol, timeframe, how, known))
            self._series[key] = kept
        return kept[1]

    def _adjusted(self, symbol: str, timeframe: Timeframe, how: str, actions: pd.DataFrame | None) -> Series:
        view, n = self.view(timeframe), self.column[symbol]
        if actions is None:
            return Series(view, n, None, None)
        if timeframe.longer_than_a_day:  # what changed within a bar is adjusted before the bar is made
            made = timeframes.bins(self.exchange.tape, timeframe)
            return Series(view._replace(panels=_combined(self._panels_of(symbol, how, actions), made)), 0,
                          None, None)
        return Series(view, n, *_divisors(symbol, actions, view.sessions, view.panels["close"][:, [n]], how))

    def _panels_of(self, symbol: str, how: str = "raw", actions: pd.DataFrame | None = None,
                   rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Rows of the tape's panels of one symbol, (R, 1), adjusted by ``actions``."""
        n, every = self.column[symbol], _panels(self.exchange)
        panels = {name: panel[rows, n:n + 1] for name, panel in every.items()}
        if actions is not None:
            price, shares = _divisors(symbol, actions, self.bars.sessions, every["close"][:, [n]], how)
            if price is not None:
                panels |= {name: panels[name] / price[rows, None] for name in PRICES}
            if shares is not None:
                panels["volume"] = panels["volume"] * shares[rows, None]
        return panels

    # --- single bars --------------------------------------------------------------------------------------------------

    def latest(self, symbol: str) -> dict[str, Any] | None:
        """The last finished bar of the tape's own interval; None when there is none."""
        series = self.series(symbol, self.own)
        stop = series.stop(self.known(self.own))
        return series.bar(stop - 1) if stop else None

    def days(self, symbol: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """(today's bar so far, the one before), raw."""
        series = self.series(symbol, DAY)
        stop = series.stop(self.known(DAY))
        done = [series.bar(k) for k in range(max(0, stop - 2), stop)]
        partial = self.partial(symbol, DAY)
        found = [None, None, *done, *([json.loads(partial[1])] if partial else [])]
        return found[-1], found[-2]

    def partial(self, symbol: str, timeframe: Timeframe, how: str = "raw") -> tuple[int, str] | None:
        """(label, JSON) of the unfinished bar; None when there is none. Of the tape's own bar in progress only the open
        is known; a longer bar is made of the finished ones so far."""
        view, n = self.view(timeframe), self.column[symbol]
        if timeframe == self.own:
            price = float(self.bars.open[self.bar + 1, n]) if self.exchange.tape.in_progress else 0.0
            if not price > 0.0 or timeframe.minutes == 1:
                return None
            opened = dict.fromkeys(PRICES, np.array([price])) | {"volume": np.zeros(1), "trade_count": np.zeros(1)}
            row = view.labels[self.bar + 1:self.bar + 2]
            return int(row[0]), bar_texts(row, opened)[0]
        group = view.known(self.bar, int(self.exchange.now))
        if group >= len(view.first) or view.first[group] > self.bar:
            return None
        rows, label = slice(int(view.first[group]), self.bar + 1), int(view.labels[group])
        actions = self.actions(symbol) if how != "raw" and timeframe.longer_than_a_day else None
        if actions is not None:
            text = self._together(self._panels_of(symbol, how, actions, rows), rows, timeframe, label)[0]
            return None if text is None else (label, text)
        kept = self._partials.get(timeframe)
        if kept is None or kept[0] != (group, self.bar):
            panels = {name: panel[rows] for name, panel in _panels(self.exchange).items()}
            kept = ((group, self.bar), self._together(panels, rows, timeframe, label))
            self._partials[timeframe] = kept
        text = kept[1][n]
        return None if text is None else (label, text)

    def _together(self, panels: dict[str, np.ndarray], rows: slice, timeframe: Timeframe,
                  label: int) -> list[str | None]:
        """One bar of all rows of each column, as JSON; None where there is none."""
        inside = self.bars.in_session[rows] if timeframe.minutes is None else slice(None)
        panels = {name: panel[inside] for name, panel in panels.items()}
        count, columns = panels["close"].shape
        texts: list[str | None] = [None] * columns
        if count:
            one = np.array([label])
            values = {name: panel[0] for name, panel in _combined(
                panels, resample.Bins(np.arange(count), np.zeros(1, np.int64), one, one)).items()}
            there = np.flatnonzero(~np.isnan(values["close"]))
            made = bar_texts(np.repeat(one, len(there)), {name: v[there] for name, v in values.items()})
            for column, text in zip(there.tolist(), made, strict=True):
                texts[column] = text
        return texts


def _divisors(symbol: str, actions: pd.DataFrame, sessions: np.ndarray, close: np.ndarray,
              how: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What prices are divided by and volumes multiplied by, (T,) each; None: nothing to do."""
    split, every = (None if kind == "all" and how == "split" else adjust.divisors(
        actions, (symbol,), sessions, close, kind) for kind in ("split", "all"))
    if how in ("split", "all"):
        due = split if how == "split" else every
        return _column(due, 0), _column(due, 1)
    price, by_splits = _column(every, 0), _column(split, 0)
    return price if price is None or by_splits is None else price / by_splits, None


def _column(due: adjust.Divisors | None, which: int) -> np.ndarray | None:
    return None if due is None else (due.price, due.shares)[which][:, 0]


def _by_symbol(actions: pd.DataFrame | None) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Each symbol's actions by ex-date, and those dates as days."""
    if actions is None or actions.empty:
        return {}
    made = {}
    for symbol, table in actions.sort_values("ex_date", kind="stable").groupby("symbol", sort=False):
        table = table.reset_index(drop=True)
        made[str(symbol)] = (table, adjust.ex_days(table))
    return made


def _panels(exchange: Exchange) -> dict[str, np.ndarray]:
    """OHLCV, vwap and trade count of the tape; what the data lack is made up as the module says."""
    bars = exchange.bars

    def make() -> dict[str, np.ndarray]:
        panels = {name: getattr(bars, name) for name in FIELDS}
        vwap, count = bars.extra.get("vwap"), bars.extra.get("trade_count")
        typical = (bars.high + bars.low + bars.close) / 3.0
        panels["vwap"] = np.round(typical, 6) if vwap is None else np.where(np.isnan(vwap), typical, vwap)
        panels["trade_count"] = np.zeros(bars.shape) if count is None else count
        return panels

    made: dict[str, np.ndarray] = bars.memo("sandbox panels", make)
    return made


def _combined(panels: dict[str, np.ndarray], made: resample.Bins) -> dict[str, np.ndarray]:
    """Longer bars: OHLCV as `resample.combine`, the count summed, the price weighted by volume."""
    out = resample.combine({name: panels[name] for name in FIELDS}, made)
    rows = made.rows
    weight = np.nan_to_num(panels["volume"][rows])
    value = np.add.reduceat(np.nan_to_num(panels["vwap"][rows]) * weight, made.starts, axis=0)
    volume = np.add.reduceat(weight, made.starts, axis=0)
    typical = (out["high"] + out["low"] + out["close"]) / 3.0
    out["vwap"] = np.round(np.where(volume > 0.0, value / np.where(volume > 0.0, volume, 1.0), typical), 6)
    out["trade_count"] = np.add.reduceat(np.nan_to_num(panels["trade_count"][rows]), made.starts, axis=0)
    return out


def _view(exchange: Exchange, timeframe: Timeframe) -> View:
    bars, tape = exchange.bars, exchange.tape
    if timeframe == timeframes.of(bars.interval):
        rows = np.arange(len(bars))
        return View(bars.index.as_unit("ns").asi8, tape.finals, rows, rows, bars.sessions, _panels(exchange))
    made = timeframes.bins(tape, timeframe)
    last = np.append(made.starts[1:], len(made.rows)) - 1
    return View(made.labels, made.ends, made.rows[made.starts], made.rows[last], bars.sessions[made.rows[made.starts]],
                _combined(_panels(exchange), made))
