"""What the market-data API knows: finished bars of an exchange's tape, longer and adjusted ones.

Only bars that have happened are seen, and only corporate actions with an ex-date by the current session. Longer bars
are those of `botlib.resample`: inside a session, anchored at its open; they appear when they are finished. Everything
is kept by bar number: a request neither resamples nor adjusts what an earlier one did.

Volume-weighted prices and trade counts are the data's own ("vwap" and "trade_count" of ``bars.extra``); without them
the price is (high + low + close) / 3 and the count 0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from botlib import adjust, resample
from botlib.bars import FIELDS, INTERVAL_MINUTES
from botlib.sandbox.formats import plain
from botlib.sandbox.prints import Prints

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange

__all__ = ["ADJUSTMENTS", "MarketData", "Prints", "Series", "View"]

ADJUSTMENTS = ("raw", "split", "dividend", "all")


class View(NamedTuple):
    """The bars of one interval.

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
    """The bars of one symbol in one interval and adjustment; those to come are in it, `stop` says where they begin.

    times : (K,) UTC ns of the labels; rows : (K,) their rows in the view.
    """

    def __init__(self, view: View, column: int, price: np.ndarray | None, shares: np.ndarray | None) -> None:
        close = view.panels["close"][:, column]
        self.rows = np.flatnonzero(~np.isnan(close))
        self.times = view.labels[self.rows]
        self._values = {name: panel[self.rows, column] for name, panel in view.panels.items()}
        if price is not None:
            for name in ("open", "high", "low", "close", "vwap"):
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


class MarketData:
    """Bars and corporate actions as they are known at an exchange's time.

    Parameters
    ----------
    exchange : Exchange
    unfinished : bool
        Longer bars appear, as at Alpaca, while they are made, out of the finished bars so far. Default: when finished.
    """

    def __init__(self, exchange: Exchange, unfinished: bool = False) -> None:
        self.exchange, self.unfinished = exchange, unfinished
        self.bars = exchange.bars
        self.column = {symbol: n for n, symbol in enumerate(self.bars.symbols)}
        self._views: dict[str, View] = {}
        self._series: dict[tuple[str, str, str], tuple[int, Series]] = {}
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

    def intervals(self) -> list[str]:
        """Those that the tape's bars can make."""
        source = INTERVAL_MINUTES[self.bars.interval]
        return [name for name, minutes in INTERVAL_MINUTES.items()
                if minutes is None or (source is not None and minutes >= source)]

    def known(self, interval: str) -> int:
        """How many bars of an interval are finished now."""
        return self.view(interval).known(self.bar, int(self.exchange.now))

    def view(self, interval: str) -> View:
        """All bars of one interval, those to come included."""
        if interval not in self._views:
            self._views[interval] = _view(self.exchange, interval)
        return self._views[interval]

    def actions(self, symbol: str) -> pd.DataFrame | None:
        """Its corporate actions with an ex-date by today's session, by ex-date; None when there are none."""
        if symbol not in self._actions:
            return None
        table, days = self._actions[symbol]
        count = int(days.searchsorted(self.today, side="right"))
        return table.iloc[:count] if count else None

    def series(self, symbol: str, interval: str, how: str = "raw") -> Series:
        """The bars of a symbol, adjusted by the actions known now. ``how``: one of `ADJUSTMENTS`."""
        known = self.actions(symbol) if how != "raw" else None
        count = 0 if known is None else len(known)
        key = (symbol, interval, how if count else "raw")
        kept = self._series.get(key)
        if kept is None or kept[0] != count:
            kept = (count, self._adjusted(symbol, interval, how, known))
            self._series[key] = kept
        return kept[1]

    def _adjusted(self, symbol: str, interval: str, how: str, actions: pd.DataFrame | None) -> Series:
        view, n = self.view(interval), self.column[symbol]
        if actions is None:
            return Series(view, n, None, None)
        close = view.panels["close"][:, [n]]
        split, every = (None if kind == "all" and how == "split" else adjust.divisors(
            actions, (symbol,), view.sessions, close, kind) for kind in ("split", "all"))
        if how == "split":
            return Series(view, n, _column(split, 0), _column(split, 1))
        if how == "all":
            return Series(view, n, _column(every, 0), _column(every, 1))
        price, by_splits = _column(every, 0), _column(split, 0)
        return Series(view, n, price if price is None or by_splits is None else price / by_splits, None)

    # --- single bars --------------------------------------------------------------------------------------------------

    def latest(self, symbol: str) -> dict[str, Any] | None:
        """The last finished bar of the tape's own interval; None when there is none."""
        series = self.series(symbol, self.bars.interval)
        stop = series.stop(self.known(self.bars.interval))
        return series.bar(stop - 1) if stop else None

    def days(self, symbol: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """(today's bar so far, the one before), raw."""
        series = self.series(symbol, "1d")
        stop = series.stop(self.known("1d"))
        done = [series.bar(k) for k in range(max(0, stop - 2), stop)]
        partial = self.partial(symbol, "1d")
        found = [None, None, *done, *([json.loads(partial[1])] if partial else [])]
        return found[-1], found[-2]

    def partial(self, symbol: str, interval: str) -> tuple[int, str] | None:
        """(label, JSON) of the longer bar in the making, out of the finished bars so far; None when there is none."""
        view = self.view(interval)
        group = view.known(self.bar, int(self.exchange.now))
        if group >= len(view.first) or view.first[group] > self.bar or interval == self.bars.interval:
            return None
        rows, n = slice(int(view.first[group]), self.bar + 1), self.column[symbol]
        inside = self.bars.in_session[rows]
        column = {name: panel[rows, n][inside][:, None] for name, panel in _panels(self.exchange).items()}
        if not len(column["close"]) or np.isnan(column["close"]).all():
            return None
        made = resample.Bins(np.arange(len(column["close"])), np.zeros(1, np.int64), view.labels[group:group + 1],
                             view.ends[group:group + 1])
        values = {name: panel[:, 0] for name, panel in _combined(column, made).items()}
        return int(view.labels[group]), bar_texts(view.labels[group:group + 1], values)[0]


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


def _view(exchange: Exchange, interval: str) -> View:
    bars = exchange.bars
    start = bars.index.as_unit("ns").asi8
    if interval == bars.interval:
        rows = np.arange(len(bars))
        return View(start, exchange.tape.finals, rows, rows, bars.sessions, _panels(exchange))
    source = INTERVAL_MINUTES[bars.interval]
    assert source is not None, "daily bars make no shorter ones"
    midnight = bars.index.normalize().as_unit("ns").asi8
    made = resample.bins(start, bars.sessions, midnight, source, INTERVAL_MINUTES[interval], exchange.tape.schedule)
    last = np.append(made.starts[1:], len(made.rows)) - 1
    return View(made.labels, made.ends, made.rows[made.starts], made.rows[last], bars.sessions[made.rows[made.starts]],
                _combined(_panels(exchange), made))
