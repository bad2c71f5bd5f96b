"""One cache in front of any provider: bars and actions as they came on disk, adjusted on reading.

What the cache does about time:

- A bar that is not final is never stored: daily ones wait for the calendar's close + 20 min, intraday ones for their
  end.
- The last sessions may still be corrected, so an answer about them counts until the next session is final and is then
  asked for again. Older answers count for ever, up to the day of the last bar that came: what lies behind it (a source
  that was late, a symbol that stopped) is asked for again too.
- A source whose prices are already adjusted rewrites its past with each new action. Its actions are checked once a
  session, its overlap on each download; when either says so, everything is fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from botlib import adjust
from botlib.errors import DataError, InputError, ProviderError, warn
from botlib.providers.base import MarketDataProvider
from botlib.providers.cache_actions import ActionsCache
from botlib.providers.cache_series import Moment, Series, merged, normal, reaches
from botlib.providers.cache_spans import BEGINNING
from botlib.providers.cache_store import Store, safe_name
from botlib.providers.frames import (
    adjusted,
    check_interval,
    check_period,
    check_range,
    check_symbols,
    describe_range,
    is_no_data,
    no_data,
    split,
    stack,
    warn_without,
)
from botlib.providers.periods import period_start
from botlib.providers.sessions import Sessions


class CachedProvider:
    """A provider that remembers.

    Parameters
    ----------
    provider : MarketDataProvider
        The source. Its ``name``, ``adjustment`` ("raw" unless it says "split" or "all") and ``feed`` (when it has one)
        are part of the key, with symbol and interval.
    folder : path
        Where the Parquet files go; made when missing. Several processes may share it.
    recheck_sessions : int
        How many of the last sessions are asked for again after a new one, for corrections; 0 to 260.
    calendar : str
        exchange_calendars name; "24/7" for crypto.
    now : callable
        Gives the present as a tz-aware timestamp.

    When the source fails and the cache holds what was asked, it is served with the named warning ``served-from-cache``;
    otherwise `ProviderError` says what is missing.
    """

    def __init__(self, provider: MarketDataProvider, folder: str | Path, *, recheck_sessions: int = 3,
                 calendar: str = "XNYS", now: Callable[[], pd.Timestamp] = lambda: pd.Timestamp.now("UTC")) -> None:
        if type(recheck_sessions) is not int or not 0 <= recheck_sessions <= 260:
            raise InputError(f"recheck_sessions = {recheck_sessions!r} is out of range: valid is 0 to 260 sessions.")
        self.provider, self.recheck_sessions = provider, recheck_sessions
        self.name: str = provider.name
        self.adjustment: str = getattr(provider, "adjustment", "raw")
        self.feed: str = getattr(provider, "feed", "")
        adjust.check_how(self.adjustment)
        self._sessions, self._now = Sessions(calendar), now
        source = safe_name(self.name) + (f"+{safe_name(self.feed)}" if self.feed else "")
        self._store = Store(Path(folder) / source)
        self._actions = ActionsCache(self._store, self._sessions, self.adjustment)

    def download_bars(self, *, symbols: Sequence[str], period: str, interval: str) -> pd.DataFrame:
        """See `MarketDataProvider.download_bars`. The last bar is the last one of all symbols named.

        Raises `DataError` when no symbol has a bar there; some without any are a named warning.
        """
        names = check_symbols(symbols)
        check_period(period)
        check_interval(interval)
        moment = self._moment(interval)
        try:
            series = self._online_period(names, period, interval, moment)
            first = self._first_label(series.values(), period, moment)
        except ProviderError as error:
            series = self._offline_series(names, interval)
            first = self._first_label(series.values(), period, moment)
            self._check_offline(series, interval, first, None, f"for the period {period}", error)
        frames = {name: one.between(first, moment.limit) for name, one in series.items()}
        without = [name for name, frame in frames.items() if frame.empty]
        if len(without) == len(names):
            raise no_data(self.name, names, interval, f"period {period}")
        if without:
            warn_without(self.name, without, interval, period)
        bars = stack(frames)
        index: Any = bars.index
        return bars.set_axis(index.set_levels(index.levels[1].tz_convert(self._sessions.tz), level=1))

    def history(self, symbol: str, *, start: object = None, end: object = None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        """See `MarketDataProvider.history`. Raises `DataError` when there is no bar in the range."""
        check_symbols([symbol])
        check_interval(interval)
        start_label, end_label = check_range(start, end, self._sessions.tz)
        moment = self._moment(interval)
        first = BEGINNING if start_label is None else start_label.value
        last = moment.limit if end_label is None else min(end_label.value, moment.limit)
        what = describe_range(start_label, end_label)
        try:
            series = self._online_range(symbol, interval, first, last, moment)
        except ProviderError as error:
            series = self._offline_series((symbol,), interval)[symbol]
            self._check_offline({symbol: series}, interval, first, None if end_label is None else last, what, error)
        frame = self._served(series, first, last)
        if frame.empty:
            raise no_data(self.name, [symbol], interval, what)
        if not auto_adjust or self.adjustment == "all":
            return frame
        return adjusted(frame, symbol, self.actions([symbol]), have=self.adjustment)

    def actions(self, symbols: Sequence[str]) -> pd.DataFrame:
        """See `MarketDataProvider.actions`. Asked for again on each new day and after each new final session."""
        names = check_symbols(symbols)
        try:
            tables = self._online_actions(names)
        except ProviderError as error:
            tables = self._actions.stored(names)
            lacking = [name for name in names if name not in tables]
            if lacking:
                raise ProviderError(f"{_clause(error)}, and the cache {self._store.folder} lacks the actions of "
                                    f"{', '.join(lacking)}.") from error
            warn("served-from-cache", f"{_clause(error)}; the actions of {', '.join(names)} are as last downloaded.")
        return adjust.check_actions(pd.concat([one.frame for one in tables.values()], ignore_index=True))

    # -- bars: a range --------------------------------------------------------------------------------------------

    def _online_range(self, symbol: str, interval: str, first: int, last: int, moment: Moment) -> Series:
        """The series with [first, last) complete, each gap asked for once."""
        basis = self._actions.bases((symbol,), self._online_actions)[symbol]
        series = self._load(symbol, interval, basis)
        if not self._gaps(series, interval, first, last, moment.asof):
            return series
        with self._store.lock():
            series = self._load(symbol, interval, basis)  # another process may have been faster
            while gaps := self._gaps(series, interval, first, last, moment.asof):
                series = self._download_gap(series, symbol, interval, *gaps[0], moment)
        return series

    def _download_gap(self, series: Series, symbol: str, interval: str, first: int, last: int,
                      moment: Moment) -> Series:
        start = None if first == BEGINNING else self._time(first)
        end = None if last == moment.limit else self._time(last)
        frame = self._ask(
            lambda: self.provider.history(symbol, start=start, end=end, interval=interval, auto_adjust=False))
        return self._merge(series, frame, symbol, interval, first, last, moment)

    def _merge(self, series: Series, frame: pd.DataFrame, symbol: str, interval: str, first: int, last: int,
               moment: Moment) -> Series:
        if frame.empty and len(series.between(first, last)):
            warn("bars-withdrawn", f"{self.name} no longer returns bars of {symbol} that the cache holds; they stay.")
        answer = normal(frame, symbol, self.name)
        series = merged(series, answer, first, last, moment, self._sessions, raw=self.adjustment == "raw")
        self._store.save(self._kind(interval), symbol, series)
        return series

    # -- bars: a period -------------------------------------------------------------------------------------------

    def _online_period(self, names: tuple[str, ...], period: str, interval: str, moment: Moment) -> dict[str, Series]:
        """Each symbol's series, complete over a period that counts back from the last bar of them all."""
        bases = self._actions.bases(names, self._online_actions)
        series = self._load_all(names, interval, bases)
        guess = BEGINNING if period == "max" else self._start(moment.latest, period)
        if self._ends_unknown(series, interval, guess, moment):
            with self._store.lock():
                series = self._load_all(names, interval, bases)
                series |= self._download_ends(series, period, interval, guess, moment)
        for name, one in series.items():
            if one.last is None:  # the source may have answered with its unfinished bar alone
                series[name] = self._online_range(name, interval, guess, moment.limit, moment)
        first = self._first_label(series.values(), period, moment)
        return {name: self._online_range(name, interval, first, moment.limit, moment)
                if self._gaps(one, interval, first, moment.limit, moment.asof) else one for name, one in series.items()}

    def _ends_unknown(self, series: dict[str, Series], interval: str, guess: int, moment: Moment) -> list[str]:
        """Which symbols may have a later bar than they hold, or than the latest of them all."""
        current = any(one.last is not None and one.last >= guess for one in series.values())

        def unanswered(one: Series) -> bool:
            last = BEGINNING if one.last is None else one.last
            return bool(self._gaps(one, interval, max(guess, last) if current else last, moment.limit, moment.asof))

        return [name for name, one in series.items() if unanswered(one)]

    def _download_ends(self, series: dict[str, Series], period: str, interval: str, guess: int,
                       moment: Moment) -> dict[str, Series]:
        """Find the last bars: what is recent enough is extended, the rest comes in one request for the whole period."""
        done, rest = {}, []
        for name in self._ends_unknown(series, interval, guess, moment):
            one = series[name]
            gap = self._gaps(one, interval, guess, moment.limit, moment.asof)[-1:]
            if gap and gap[0][0] > guess and len(one.between(guess, gap[0][0])):
                done[name] = self._download_gap(one, name, interval, gap[0][0], moment.limit, moment)
            else:
                rest.append(name)
        if not rest:
            return done
        frame = self._ask(lambda: self.provider.download_bars(symbols=rest, period=period, interval=interval))
        frames = split(frame, rest)
        reach = reaches(frames, None if period == "max" else period, guess, self._sessions)
        for name, own in frames.items():
            done[name] = self._merge(series[name], own, name, interval, reach[name], moment.limit, moment)
        return done

    def _first_label(self, series: Iterable[Series], period: str, moment: Moment) -> int:
        """The label at which the period begins."""
        lasts = [one.last for one in series if one.last is not None]
        if period == "max" or not lasts:
            return BEGINNING if period == "max" else moment.limit
        return self._start(max(lasts), period)

    # -- the source, and life without it --------------------------------------------------------------------------

    def _ask(self, request: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The source's answer; an empty frame when it has nothing there."""
        try:
            return request()
        except DataError as error:
            if not is_no_data(error):
                raise
            return Series.empty().frame
        except OSError as error:
            raise ProviderError(f"{self.name} cannot be reached ({error}).") from error

    def _online_actions(self, names: tuple[str, ...]) -> dict[str, Series]:
        return self._actions.current(names, self._now(), lambda due: self._ask(lambda: self.provider.actions(due)))

    def _offline_series(self, names: tuple[str, ...], interval: str) -> dict[str, Series]:
        """What is stored, unless an action that is known by now has made its prices obsolete."""
        bases = self._actions.bases(names, self._actions.stored)
        return self._load_all(names, interval, bases)

    def _check_offline(self, series: dict[str, Series], interval: str, first: int, last: int | None, what: str,
                       error: ProviderError) -> None:
        """Warn when the stored series cover the request, else raise. Without ``last``: up to their last bar."""
        for name, one in series.items():
            end = last if last is not None else first + 1 if one.last is None else one.last + 1
            if self._gaps(one, interval, first, end, asof=0) or not len(one.between(first, end)):
                raise ProviderError(
                    f"{_clause(error)}, and the cache {self._store.folder} does not hold all {interval} bars of {name} "
                    f"{what}: try again later, or ask for what was downloaded before.") from error
        until = max(one.frame.index[-1] for one in series.values()).tz_convert(self._sessions.tz)
        warn("served-from-cache", f"{_clause(error)}; the bars of {', '.join(series)} come from the cache, which ends "
             f"{until:%Y-%m-%d %H:%M}.", stacklevel=4)

    # -- small ----------------------------------------------------------------------------------------------------

    def _moment(self, interval: str) -> Moment:
        return Moment.at(self._now(), interval, self._sessions, self.recheck_sessions)

    def _kind(self, interval: str) -> str:
        return f"{interval}-{self.adjustment}"

    def _start(self, last: int, period: str) -> int:
        return period_start(self._time(last), period, calendar=self._sessions.calendar).value

    def _load(self, symbol: str, interval: str, basis: str) -> Series:
        """What is stored; nothing when its prices were adjusted for other actions than ``basis``."""
        series = self._store.load(self._kind(interval), symbol)
        return series if series is not None and series.basis == basis else Series.empty(basis)

    def _load_all(self, names: Sequence[str], interval: str, bases: Mapping[str, str]) -> dict[str, Series]:
        return {name: self._load(name, interval, bases[name]) for name in names}

    def _gaps(self, series: Series, interval: str, first: int, last: int, asof: int) -> list[tuple[int, int]]:
        return series.gaps(first, last, interval, self._sessions, asof)

    def _served(self, series: Series, first: int, last: int) -> pd.DataFrame:
        return series.between(first, last).tz_convert(self._sessions.tz)

    def _time(self, label: int) -> pd.Timestamp:
        return pd.Timestamp(label, tz="UTC").tz_convert(self._sessions.tz)


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")
