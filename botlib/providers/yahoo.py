"""Bars and corporate actions from Yahoo Finance, through yfinance (an extra)."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pandas as pd

from botlib import adjust
from botlib.errors import InputError, ProviderError, warn
from botlib.providers import frames
from botlib.providers.frames import COLUMNS, EXCHANGE_TZ
from botlib.providers.periods import asked_from, of_period
from botlib.providers.sessions import Sessions

# How far back Yahoo serves each interval, and the most it gives in one request; a day less than its own limits, which
# count from the moment of the request.
_REACH = {"1m": 29, "5m": 59, "15m": 59, "30m": 59, "1h": 729}
_A_REQUEST = {"1m": pd.Timedelta(days=7)}
_TOMORROW = pd.Timedelta(days=1)  # a split of today is stated at today's open, its prices may be there before
_FIRST = pd.Timestamp("1928-01-01", tz=EXCHANGE_TZ)
_NOTHING = re.compile(r"no data found|data doesn't exist|no price data|delisted|not found|no timezone", re.IGNORECASE)
_CHECK = "check the symbol as Yahoo writes it, the dates (a holiday, before the listing) and the interval"


class YahooProvider:
    """Yahoo Finance: free, unofficial, without warranty; for research, not for orders.

    Yahoo's own "raw" prices, volumes and dividends are already divided by all later splits. By default the splits are
    undone, so that bars and dividends are as traded and no later split changes them; ``adjustment="split"`` leaves them
    as Yahoo serves them. Yahoo rounds to about seven digits.

    Parameters
    ----------
    adjustment : str
        "raw" (default) or "split": what ``download_bars``, ``history(auto_adjust=False)`` and ``actions`` give.
    timeout : float
        Longest wait for each request, in seconds, 0.1 to 300.
    session : requests.Session or curl_cffi.requests.Session, optional
        What sends the requests, e.g. one with a proxy; default: curl_cffi as a browser, as yfinance advises.
    now : callable
        Gives the present as a tz-aware timestamp; bars not final by then are left out.

    US symbols are written as at Alpaca: BRK.B becomes Yahoo's BRK-B. Sessions are those of the NYSE. Intraday bars are
    of regular hours and reach back 29 days (1m), 59 days (5m to 30m) or 729 days (1h). Yahoo tends to count a fund's
    capital gains among its dividends already, so its column of them is left out.
    """

    name = "yahoo"

    def __init__(self, *, adjustment: str = "raw", timeout: float = 10.0, session: Any = None,
                 now: Callable[[], pd.Timestamp] = lambda: pd.Timestamp.now("UTC")) -> None:
        if adjustment not in ("raw", "split"):
            raise InputError(f"adjustment = {adjustment!r} is not one of raw, split (with auto_adjust, history gives "
                             "prices adjusted for dividends too).")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0.1 <= timeout <= 300.0:
            raise InputError(f"timeout = {timeout!r} is out of range: valid is 0.1 to 300 seconds.")
        self.adjustment, self.timeout, self._now = adjustment, float(timeout), now
        self._yfinance = _load_yfinance()
        self._session = _with_timeout(session or _new_session(), self.timeout)
        self._sessions = Sessions("XNYS")
        self._events: dict[str, tuple[pd.Timestamp, pd.DataFrame]] = {}

    def download_bars(self, *, symbols: Sequence[str], period: str, interval: str) -> pd.DataFrame:
        """See `MarketDataProvider.download_bars`. The period counts back from the last final bar of these symbols."""
        names = frames.check_symbols(symbols)
        frames.check_period(period)
        frames.check_interval(interval)
        start = asked_from(period, self._now)
        parts = {}
        for name in names:  # no comprehension: it would be one frame more between a warning and the caller
            parts[name] = self._bars(name, start, None, interval)
        return of_period(parts, provider=self.name, interval=interval, period=period, causes=_CHECK)

    def history(self, symbol: str, *, start: object = None, end: object = None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        """See `MarketDataProvider.history`. Adjusted by botlib's rule from Yahoo's actions, not by Yahoo's column."""
        frames.check_symbols([symbol])
        frames.check_interval(interval)
        first, last = frames.check_range(start, end)
        bars = self._bars(symbol, first, last, interval)
        if bars.empty:
            raise frames.no_data(self.name, [symbol], interval, frames.describe_range(first, last), _CHECK)
        return frames.adjusted(bars, symbol, self.actions([symbol]), have=self.adjustment) if auto_adjust else bars

    def actions(self, symbols: Sequence[str]) -> pd.DataFrame:
        """See `MarketDataProvider.actions`; dividends in the shares of their ex-date, or in today's when "split"."""
        tables = []
        for name in frames.check_symbols(symbols):
            table = self._all_events(name)
            if self.adjustment == "raw":
                later = _later_splits(table, table["ex_date"])
                cash = (table["type"] == "cash_dividend").to_numpy()
                table = table.assign(value=np.where(cash, (table["value"] * later).round(6), table["value"]))
            tables.append(table)
        return adjust.check_actions(pd.concat(tables, ignore_index=True))

    # -- requests -------------------------------------------------------------------------------------------------

    def _bars(self, symbol: str, start: pd.Timestamp | None, end: pd.Timestamp | None, interval: str) -> pd.DataFrame:
        """Final bars of [start, end) in the declared adjustment; empty when there are none."""
        now = self._now()
        start = self._within_reach(symbol, start, end, interval, now)
        if start is None:
            return _empty()
        until = end if end is not None else now + _TOMORROW if interval == "1d" else now
        parts = [self._request(symbol, *piece, interval) for piece in _pieces(start, until, interval)]
        got = pd.concat([part for part in parts if len(part)]) if any(map(len, parts)) else _empty()
        bars = got[list(COLUMNS)].astype("float64")
        bars = bars[bars[list(COLUMNS[:4])].notna().any(axis=1) & ~got.index.duplicated()]
        labels = bars.index.asi8
        bars = bars[(labels >= start.value) & (labels < self._limit(end, interval, now))]
        if self.adjustment == "split" or bars.empty:
            return bars
        # An answer that reaches to the present names every split that its prices are divided by.
        complete = end is None and interval == "1d"
        later = _later_splits(_events(got, symbol) if complete else self._all_events(symbol), bars.index)
        bars[list(COLUMNS[:4])] = bars[list(COLUMNS[:4])].to_numpy() * later[:, None]
        bars["volume"] = bars["volume"].to_numpy() / later
        return bars

    def _limit(self, end: pd.Timestamp | None, interval: str, now: pd.Timestamp) -> int:
        final = self._sessions.limit(interval, now)
        return final if end is None else min(final, end.value)

    def _within_reach(self, symbol: str, start: pd.Timestamp | None, end: pd.Timestamp | None, interval: str,
                      now: pd.Timestamp) -> pd.Timestamp | None:
        """From when to ask; None when Yahoo has nothing so old. A start that is cut off is a named warning."""
        if interval not in _REACH:
            return start if start is not None else _FIRST
        earliest = (now - pd.Timedelta(days=_REACH[interval])).tz_convert(EXCHANGE_TZ)
        if end is not None and end <= earliest:
            return None
        if start is None or start >= earliest:
            return start if start is not None else earliest
        warn("yahoo-reach", f"Yahoo serves {interval} bars of the last {_REACH[interval]} days only: {symbol} starts "
             f"{earliest:%Y-%m-%d}, not {start:%Y-%m-%d}.", stacklevel=5)
        return earliest

    def _all_events(self, symbol: str) -> pd.DataFrame:
        """All splits and dividends in Yahoo's (split-adjusted) units; asked for once a day."""
        today = self._now().tz_convert(EXCHANGE_TZ).normalize()
        if symbol not in self._events or self._events[symbol][0] != today:
            whole = self._request(symbol, _FIRST, self._now() + _TOMORROW, "1d")
            self._events[symbol] = (today, _events(whole, symbol))
        return self._events[symbol][1]

    def _request(self, symbol: str, start: pd.Timestamp, end: pd.Timestamp, interval: str) -> pd.DataFrame:
        """One answer of yfinance: our column names, exchange time, dividends and splits beside; empty when nothing."""
        with _told(symbol), _raising(self._yfinance):
            ticker = self._yfinance.Ticker(_yahoo_name(symbol), session=self._session)
            frame = ticker.history(start=start, end=end, interval=interval, auto_adjust=False, actions=True,
                                   prepost=False, timeout=self.timeout)
            frame = frame.rename(columns=lambda name: name.lower().replace(" ", "_"))
            frame.index = pd.DatetimeIndex(frame.index).tz_convert(EXCHANGE_TZ).as_unit("ns").rename("timestamp")
            return frame
        return _empty()  # _told has swallowed "no data"


def _empty() -> pd.DataFrame:
    index = pd.DatetimeIndex([], tz=EXCHANGE_TZ, name="timestamp").as_unit("ns")
    return pd.DataFrame(columns=[*COLUMNS, "dividends", "stock_splits"], index=index, dtype="float64")


def _pieces(start: pd.Timestamp, end: pd.Timestamp, interval: str) -> Iterator[tuple[pd.Timestamp, pd.Timestamp]]:
    """The ranges to ask for, none longer than Yahoo allows."""
    step = _A_REQUEST.get(interval)
    while step is not None and start + step < end:
        yield start, start + step
        start += step
    yield start, end


def _events(frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """Actions table of a daily answer, as Yahoo states them."""
    rows = [(symbol, day, kind, value, None)
            for column, kind in (("stock_splits", "split"), ("dividends", "cash_dividend"))
            for day, value in frame.loc[frame[column] > 0, column].items()]
    table = pd.DataFrame(rows, columns=list(adjust.ACTION_COLUMNS))
    return adjust.check_actions(table) if rows else adjust.no_actions()


def _later_splits(events: pd.DataFrame, dates: Any) -> np.ndarray:
    """(rows,) float64: for each date the product of the ratios of all splits with a later ex-date."""
    splits = events[events["type"] == "split"].sort_values("ex_date")
    days = pd.DatetimeIndex(dates).tz_localize(None).to_numpy().astype("datetime64[D]")
    after = np.append(np.cumprod(splits["value"].to_numpy()[::-1])[::-1], 1.0)
    return after[np.searchsorted(splits["ex_date"].to_numpy().astype("datetime64[D]"), days, side="right")]


def _yahoo_name(symbol: str) -> str:
    """Yahoo writes share classes with a dash; a one-letter suffix of an exchange (VOD.L) keeps its dot."""
    return re.sub(r"(?<=[A-Z])[.](?=[A-E]$)", "-", symbol)


@contextmanager
def _told(symbol: str) -> Iterator[None]:
    """yfinance's many failures as one: "no data" is passed over, all else is a `ProviderError`."""
    from yfinance import exceptions

    try:
        yield
    except exceptions.YFRateLimitError:
        raise ProviderError("Yahoo refuses further requests for now (rate limit): wait some minutes, or ask for less."
                            ) from None
    except exceptions.YFException as error:
        if not _NOTHING.search(str(error)):
            raise ProviderError(f"Yahoo did not answer for {symbol} ({_short(error)}): try again later.") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:  # bad JSON is a ValueError too
        raise ProviderError(f"Yahoo's answer for {symbol} is not what yfinance expects ({_short(error)}): try again "
                            "later, then a newer yfinance.") from None
    except OSError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status != 404:
            raise ProviderError(f"Yahoo cannot be reached ({_short(error)}): check the connection, or try again later."
                                ) from None


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


@contextmanager
def _raising(yfinance: Any) -> Iterator[None]:
    """yfinance logs its errors and returns nothing unless told otherwise, for the whole process.

    What it uses of older pandas is not the caller's to repair, so its warnings of that kind stay inside. It remembers
    answers about the past for as long as the process lives, errors and prices before a new split included: forget them.
    """
    with suppress(AttributeError):
        yfinance.data.YfData.cache_get.cache_clear()
    debug = yfinance.config.debug
    before, debug.hide_exceptions = debug.hide_exceptions, False
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        debug.hide_exceptions = before


def _load_yfinance() -> Any:
    try:
        import yfinance
    except ImportError:
        raise InputError(f"the provider yahoo needs yfinance, which is not installed: {sys.executable} -m pip install "
                         "'botlib[yahoo]'") from None
    logging.getLogger("yfinance").addHandler(logging.NullHandler())  # what it logs reaches the caller as an error
    return yfinance


def _new_session() -> Any:
    try:
        from curl_cffi import requests
    except ImportError:
        import requests  # type: ignore[no-redef]

        return requests.Session()
    return requests.Session(impersonate="chrome")  # Yahoo turns plain clients away


def _with_timeout(session: Any, timeout: float) -> Any:
    """yfinance waits up to 30 s for cookies, whatever it is told: cap every request of the session."""
    request = session.request

    def capped(*args: Any, **options: Any) -> Any:
        given = options.get("timeout")
        options["timeout"] = timeout if given is None or isinstance(given, tuple) else min(given, timeout)
        return request(*args, **options)

    session.request = capped
    return session
