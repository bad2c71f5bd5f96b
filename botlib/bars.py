"""`Bars`: market data as (T, N) panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from botlib import adjust, bar_checks, bar_display, bar_frames, resample
from botlib.bar_checks import FIELDS, Finding, Findings
from botlib.calendars import INTERVAL_MINUTES, Schedule, days_of, final_times, in_session, last_of_session, schedule
from botlib.errors import DataError, InputError, nearest, require

__all__ = ["FIELDS", "INTERVAL_MINUTES", "Bars"]

_SESSIONS_A_YEAR = 252


class Bars:
    """T bars of N symbols.

    `Bars.from_frame` checks a data frame and makes them; the constructor checks nothing but shapes.

    Attributes
    ----------
    index : pandas.DatetimeIndex, (T,)
        tz-aware, strictly rising; each label is the START of its bar (exchange time; a daily bar is at 00:00).
    symbols : tuple of str, (N,)
    open, high, low, close, volume : numpy.ndarray, (T, N) float64
        C-contiguous and read-only; all NaN where a symbol has no bar.
    extra : mapping of str to (T, N) float64
        Further numeric columns, read-only; NaN where a symbol has no bar, and where the source had none.
    interval : str
        "1m", "5m", "15m", "30m", "1h" or "1d".
    calendar : str or None
        exchange_calendars name; None: unchecked.
    adjustment : str
        "raw", "split" or "all": what was done to the prices.
    actions : pandas.DataFrame or None
        symbol, ex_date, type ("split" | "cash_dividend"), value (ratio | cash a share), pay_date (or NaT). None:
        not known.
    sessions : numpy.ndarray, (T,) int32
        Exchange date of each bar as days since 1970-01-01; a change of value is a new session.
    """

    def __init__(self, index: pd.DatetimeIndex, symbols: Sequence[str], *, open: np.ndarray, high: np.ndarray,
                 low: np.ndarray, close: np.ndarray, volume: np.ndarray, interval: str = "1d",
                 calendar: str | None = None, adjustment: str = "raw", actions: pd.DataFrame | None = None,
                 extra: Mapping[str, np.ndarray] | None = None) -> None:
        self._index: pd.DatetimeIndex | tuple[pd.DatetimeIndex, slice] = index
        self.symbols = tuple(symbols)
        shape = (len(index), len(self.symbols))
        self.open = _read_only("open", open, shape)
        self.high = _read_only("high", high, shape)
        self.low = _read_only("low", low, shape)
        self.close = _read_only("close", close, shape)
        self.volume = _read_only("volume", volume, shape)
        self.extra = {name: _read_only(name, values, shape) for name, values in (extra or {}).items()}
        self.interval, self.calendar, self.adjustment = interval, calendar, adjustment
        self.actions = actions
        self._findings: tuple[Finding, ...] = ()
        self._cache: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        # What is cached holds addresses of these very arrays, and may hold more bars than these.
        return self.__dict__ | {"_index": self.index, "_cache": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for panel in (*(getattr(self, f) for f in FIELDS), *self.extra.values()):
            panel.flags.writeable = False  # unpickled arrays can be written to

    # --- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def from_frame(cls, df: pd.DataFrame, calendar: str | None = "XNYS", *, symbol: str | None = None,
                   interval: str | None = None, adjustment: str = "raw", actions: pd.DataFrame | None = None,
                   regular_hours: bool = False, now: object = None) -> Bars:
        """Checked bars from what ``download_bars`` returns.

        Parameters
        ----------
        df : DataFrame
            MultiIndex (symbol, timestamp), or a DatetimeIndex together with ``symbol=``. Timestamps tz-aware, the START
            of each bar. Columns open, high, low, close, volume in any case; other numeric columns become ``extra``.
        calendar : str or None
            Name of exchange_calendars; None skips session checks and keeps the frame's time zone.
        interval : str, optional
            "1m", "5m", "15m", "30m", "1h" or "1d"; inferred when left out.
        adjustment : str
            What was already done to the prices: "raw", "split" or "all".
        actions : DataFrame, optional
            Splits and dividends of raw bars (columns as the attribute); ex-dates after the last bar are left out.
        regular_hours : bool
            Leave out intraday bars outside the regular session.
        now : timestamp, optional
            tz-aware; later bars are errors, bars not final by then are left out with a warning. Default: the clock.

        Raises
        ------
        DataError
            Duplicate, naive or future timestamps; NaN, infinite, zero or negative prices; high < low; negative volume;
            a daily bar on a closed day; missing columns; actions that cannot be.
        InputError
            An unknown calendar, interval or adjustment.

        Notes
        -----
        All else is a named warning (`botlib.bar_checks` lists them), and a row of ``bars.findings``.
        """
        require("df", df)
        adjust.check_how(adjustment)
        timetable = None if calendar is None else schedule(calendar)
        if regular_hours and timetable is None:
            raise InputError("regular_hours = True needs a calendar; calendar is None.")
        if actions is not None:
            if adjustment != "raw":
                raise InputError(f"adjustment = {adjustment!r}: actions go with raw bars only. Leave actions out.")
            actions = adjust.check_actions(actions)
        found = Findings()
        values = bar_frames.columns(df, found)
        rows, interval = bar_frames.rows_of(bar_frames.axes(df, symbol), values, found,
                                            timetable.timezone if timetable else None, interval)
        rows = bar_frames.clean(rows, found, timetable, interval, _moment(now), regular_hours)
        found.raise_errors()
        panels = {name: rows.panel(name) for name in rows.values}
        sessions = days_of(rows.times)
        bar_frames.check_panels(found, rows, panels, sessions, timetable, interval, actions)
        found.settle()
        if actions is not None:
            actions = adjust.known_actions(actions, rows.symbols, int(sessions[-1]))
        bars = cls(rows.times, rows.symbols, **{f: panels.pop(f) for f in FIELDS}, interval=interval, calendar=calendar,
                   adjustment=adjustment, actions=actions, extra=panels)
        bars._cache["sessions"] = _frozen(sessions)
        bars._findings = tuple(found.rows)
        return bars

    # --- cutting ------------------------------------------------------------------------------------------------------

    def upto(self, t: int) -> Bars:
        """What was known at the close of bar ``t``: the first t + 1 bars (views), actions with an ex-date by then.

        Raises `InputError` unless 0 <= t < T.
        """
        if not 0 <= t < len(self):
            raise InputError(f"t = {t} is out of range: valid is 0 to {len(self) - 1}.")
        return self._cut(0, t + 1)

    def between(self, start: object = None, end: object = None) -> Bars:
        """Bars with ``start`` <= label < ``end`` (views). Dates and naive times are exchange time; None: no limit.

        Raises `DataError` when no bar is left.
        """
        first = 0 if start is None else int(self.index.searchsorted(self._label(start, "start")))
        stop = len(self) if end is None else int(self.index.searchsorted(self._label(end, "end")))
        if first >= stop:
            raise DataError(f"no bars from {start} to {end} (end not included): there are bars from {self.index[0]} to "
                            f"{self.index[-1]}.")
        return self._cut(first, stop)

    def tail(self, n: int) -> Bars:
        """The last ``n`` bars (all, when there are fewer). Raises `InputError` unless n >= 1."""
        if n < 1:
            raise InputError(f"n = {n} is out of range: valid is at least 1.")
        return self._cut(max(0, len(self) - n), len(self))

    def select(self, symbols: str | Sequence[str]) -> Bars:
        """Only these symbols, in this order, and the labels at which one of them has a bar.

        Raises `DataError` on an unknown or repeated symbol.
        """
        wanted = [symbols] if isinstance(symbols, str) else list(symbols)
        for s in wanted:
            if s not in self.symbols:
                raise DataError(f"symbol {s!r} is not in these bars{nearest(s, self.symbols) or '.'} "
                                f"There are: {', '.join(self.symbols[:10])}{', ...' * (len(self.symbols) > 10)}.")
        if not wanted or len(set(wanted)) < len(wanted):
            raise DataError(f"symbols = {wanted}: name at least one symbol, and each once.")
        if tuple(wanted) == self.symbols:
            return self
        columns = [self.symbols.index(s) for s in wanted]
        keep = (~np.isnan(self.close[:, columns])).any(axis=1)
        every = bool(keep.all())

        def cut(panel: np.ndarray) -> np.ndarray:
            return panel[:, columns] if every else panel[np.ix_(keep, columns)]

        made = Bars(self.index if every else self.index[keep], wanted, **{f: cut(getattr(self, f)) for f in FIELDS},
                    extra={name: cut(panel) for name, panel in self.extra.items()}, interval=self.interval,
                    calendar=self.calendar, adjustment=self.adjustment,
                    actions=None if self.actions is None else adjust.known_actions(self.actions, wanted))
        made._findings = tuple(f for f in self._findings if f.symbol in ("", *wanted))
        return made

    def reordered(self, order: Sequence[int]) -> Bars:
        """The same symbols with their columns in another order; no label is lost."""
        columns = list(order)
        made = Bars(self.index, [self.symbols[i] for i in columns],
                    **{f: getattr(self, f)[:, columns] for f in FIELDS}, interval=self.interval,
                    calendar=self.calendar, adjustment=self.adjustment, actions=self.actions,
                    extra={name: panel[:, columns] for name, panel in self.extra.items()})
        made._cache["sessions"] = self.sessions
        made._findings = self._findings
        return made

    def copied(self) -> Bars:
        """The same bars in memory of their own: nothing of the arrays they were cut from can be reached."""
        made = Bars(self.index.copy(), self.symbols, **{f: getattr(self, f).copy() for f in FIELDS},
                    interval=self.interval, calendar=self.calendar, adjustment=self.adjustment,
                    actions=None if self.actions is None else self.actions.copy(),
                    extra={name: panel.copy() for name, panel in self.extra.items()})
        made._findings = self._findings
        return made

    def _cut(self, first: int, stop: int) -> Bars:
        # An on_bar strategy is handed new bars at each bar: what costs time, pandas above all, waits until asked for.
        rows = slice(first, stop)
        made = object.__new__(Bars)
        made._index = (self.index, rows)
        made.symbols, made.interval = self.symbols, self.interval
        made.calendar, made.adjustment = self.calendar, self.adjustment
        made.open, made.high, made.low = self.open[rows], self.high[rows], self.low[rows]
        made.close, made.volume = self.close[rows], self.volume[rows]
        made.extra = {name: panel[rows] for name, panel in self.extra.items()} if self.extra else {}
        made.actions = None if self.actions is None else self._actions_by(stop - 1)
        made._cache = {"sessions": self.sessions[rows]}
        made._findings = self._findings
        return made

    def _actions_by(self, t: int) -> pd.DataFrame | None:
        """The actions with an ex-date by bar ``t``."""
        actions = self.actions
        if actions is None or actions.empty:
            return actions
        if "ex_days" not in self._cache:
            self._cache["ex_days"] = adjust.ex_days(actions)
        known = self._cache["ex_days"] <= self.sessions[t]
        count = int(np.count_nonzero(known))
        if count == len(known):
            return actions
        table: pd.DataFrame = self.memo(("actions", count), lambda: actions[known].reset_index(drop=True))
        return table

    def _label(self, time: object, name: str) -> pd.Timestamp:
        try:
            stamp = pd.Timestamp(time)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            raise InputError(f"{name} = {time!r} is no date or time; write it like '2012-07-03'.") from None
        return stamp.tz_localize(self.index.tz) if stamp.tz is None else stamp.tz_convert(self.index.tz)

    # --- adjusting ----------------------------------------------------------------------------------------------------

    def adjusted(self, actions: pd.DataFrame | None = None, how: str = "all") -> Bars:
        """Back-adjusted bars: no jump is left by a split ("split"), or by a split or a dividend ("all").

        Prices before an ex-date are divided by the split ratio and multiplied by ``1 - D / close(t-1)``; volume is
        multiplied by the split ratio; the ex-date itself keeps its price (`botlib.adjust` states the rule). Only
        actions with an ex-date by the last bar count. The result carries no actions, and shares the panels that none
        touches. ``how="raw"`` returns these bars.

        Raises `InputError` when the bars are adjusted already in another way or no actions are known, `DataError` on
        actions that cannot be.
        """
        adjust.check_how(how)
        if how == self.adjustment:
            return self
        if self.adjustment != "raw":
            raise InputError(f"how = {how!r}: these bars are adjusted already ({self.adjustment!r}); take raw ones.")
        table = self.actions if actions is None else adjust.check_actions(actions)
        if table is None:
            raise InputError("the bars carry no actions: pass actions=, e.g. provider.actions(symbols); an empty table "
                             "says that there were none.")
        due = adjust.divisors(table, self.symbols, self.sessions, self.close, how)
        panels = adjust.apply(due, {f: getattr(self, f) for f in FIELDS} | self.extra)
        made = Bars(self.index, self.symbols, **{f: panels.pop(f) for f in FIELDS}, interval=self.interval,
                    calendar=self.calendar, adjustment=how, extra=panels)
        made._cache["sessions"] = self.sessions
        made._findings = self._findings
        return made

    def signal_view(self, how: str = "split") -> Bars:
        """What a strategy sees: ``adjusted(how=how)`` of raw bars with known actions, else these bars. Cached."""
        adjust.check_how(how)
        if how == "raw" or self.adjustment != "raw" or self.actions is None:
            return self
        if ("view", how) not in self._cache:
            self._cache["view", how] = self.adjusted(how=how)
        view: Bars = self._cache["view", how]
        return view

    # --- resampling ---------------------------------------------------------------------------------------------------

    def resample(self, interval: str) -> Bars:
        """Bars of a longer interval: open first, high, low, close last, volume summed, ``extra`` the last value.

        Bins start at the session's open, end at the latest at its close (half days and daylight saving from the
        calendar) and never cross sessions; bars outside regular hours are left out with the warning outside-session.
        Without a calendar, bins start at midnight. The last bin is left out, with the warning incomplete-bar, when the
        bars do not reach its end. Raises `InputError` on a shorter interval, `DataError` when no bin is complete.
        """
        return resample.longer(self, interval)

    # --- facts --------------------------------------------------------------------------------------------------------

    def memo(self, name: Any, make: Callable[[], Any]) -> Any:
        """What ``make()`` gives, remembered under ``name``: bars never change."""
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]

    @property
    def index(self) -> pd.DatetimeIndex:
        if isinstance(self._index, tuple):
            source, rows = self._index
            self._index = source[rows]
        return self._index

    @property
    def sessions(self) -> np.ndarray:
        if "sessions" not in self._cache:
            self._cache["sessions"] = _frozen(days_of(self.index))
        days: np.ndarray = self._cache["sessions"]
        return days

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return self.close.shape  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.close)

    @property
    def findings(self) -> pd.DataFrame:
        """What the checks found: symbol, time, check, severity ("warning"), message; empty when nothing."""
        return bar_checks.table(self._findings, self.index.tz)

    @property
    def warnings(self) -> list[str]:
        """The findings as ``"name: sentence"``, one a check, as `BacktestResult.warnings` has its own."""
        return [f"{check}: {text}" for check, text in bar_checks.told(self._findings)]

    def _timetable(self) -> Schedule | None:
        return None if self.calendar is None else schedule(self.calendar)

    def final_times(self, daily_delay_minutes: float = 20.0) -> pd.DatetimeIndex:
        """(T,) when each bar became final (`botlib.calendars.final_times`)."""
        end = final_times(self.index.as_unit("ns").asi8, self.sessions, INTERVAL_MINUTES[self.interval],
                          self._timetable(), daily_delay_minutes)
        return pd.DatetimeIndex(end, tz="UTC").tz_convert(self.index.tz)

    @property
    def known_at(self) -> pd.DatetimeIndex:
        """(T,) when each bar became final: intraday at its end, at the latest at its session's close; daily 20 minutes
        after the calendar's close (without a calendar: after 24 hours)."""
        if "known_at" not in self._cache:
            self._cache["known_at"] = self.final_times()
        times: pd.DatetimeIndex = self._cache["known_at"]
        return times

    @property
    def last_session_bar(self) -> np.ndarray:
        """(T,) bool: the last bar of the regular session, after which a day order expires.

        It is the bar after which no further bar starts before the session's close; bars after the close are never it.
        On the last label this is so when the bar reaches the close. Without a calendar: the last bar of a date.
        """
        if "last" not in self._cache:
            self._cache["last"] = _frozen(last_of_session(self.index.as_unit("ns").asi8, self.sessions,
                                                          INTERVAL_MINUTES[self.interval], self._timetable()))
        last: np.ndarray = self._cache["last"]
        return last

    @property
    def in_session(self) -> np.ndarray:
        """(T,) bool: the bar starts in a regular session. Outside of it orders wait. Without a calendar: all bars."""
        if "in_session" not in self._cache:
            self._cache["in_session"] = _frozen(in_session(self.index.as_unit("ns").asi8, self.sessions,
                                                           INTERVAL_MINUTES[self.interval], self._timetable()))
        inside: np.ndarray = self._cache["in_session"]
        return inside

    @property
    def periods_per_year(self) -> float:
        """Bars in a year, to annualise: 252 daily; intraday 252 * bars of a full session, the last of which may be
        short (7 hourly bars at XNYS). Without a calendar a session has 390 minutes.

        Where some bars lie outside regular hours, 252 * T / sessions: T bars then last as long as their sessions.
        """
        minutes = INTERVAL_MINUTES[self.interval]
        if minutes is None:
            return float(_SESSIONS_A_YEAR)
        inside = self.in_session
        if not inside.all():
            sessions = len(np.unique(self.sessions[inside])) or len(np.unique(self.sessions))
            return _SESSIONS_A_YEAR * len(self) / sessions
        timetable = self._timetable()
        return float(_SESSIONS_A_YEAR * math.ceil((390 if timetable is None else timetable.minutes) / minutes))

    def to_frame(self) -> pd.DataFrame:
        """The inverse of `from_frame`: MultiIndex (symbol, timestamp), one row a bar, symbol by symbol."""
        n, t = np.nonzero(~np.isnan(self.close.T))
        index = pd.MultiIndex(levels=[pd.Index(self.symbols), self.index], codes=[n, t], names=["symbol", "timestamp"])
        panels = {f: getattr(self, f) for f in FIELDS} | self.extra
        return pd.DataFrame({name: panel[t, n] for name, panel in panels.items()}, index=index)

    def data_hash(self) -> str:
        """sha256 of labels, symbols, panels, interval, calendar, adjustment and actions; the same in any pandas."""
        if "hash" not in self._cache:
            self._cache["hash"] = bar_display.data_hash(self)
        digest: str = self._cache["hash"]
        return digest

    def __repr__(self) -> str:
        return bar_display.text(self)

    def _repr_html_(self) -> str:
        return bar_display.page(self)


def _read_only(name: str, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    view = np.ascontiguousarray(values, dtype=np.float64).view()
    if view.shape != shape:
        raise InputError(f"{name} has shape {view.shape}; {shape} is needed: one row a label, one column a symbol.")
    view.flags.writeable = False
    return view


def _frozen(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


def _moment(now: object) -> pd.Timestamp:
    try:
        moment = pd.Timestamp.now(tz="UTC") if now is None else pd.Timestamp(now)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        moment = pd.NaT  # type: ignore[assignment]
    if pd.isna(moment):
        raise InputError(f"now = {now!r} is no time; give one with a zone, e.g. pandas.Timestamp.now(tz='UTC').")
    if moment.tz is None:
        raise InputError(f"now = {now!r} is naive; give it a time zone.")
    return moment
