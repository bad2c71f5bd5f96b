"""Bars and corporate actions from Alpaca, through alpaca-py."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from botlib import adjust
from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.connection import AlpacaConnection
from botlib.brokers.alpaca.records import clock
from botlib.calendars import days_of, in_session, schedule
from botlib.errors import (
    BrokerError,
    BrokerRefusal,
    BrokerUnavailable,
    CredentialsError,
    InputError,
    ProviderError,
    nearest,
    warn,
)
from botlib.providers import alpaca_json, frames
from botlib.providers.frames import EXCHANGE_TZ
from botlib.providers.periods import asked_from, of_period
from botlib.providers.sessions import Sessions

FEEDS = ("iex", "sip", "delayed_sip", "otc", "boats", "overnight")
ADJUSTMENTS = ("raw", "split", "all")
HOURS = ("regular", "extended")
_TIMEFRAMES = {"1m": "1Min", "5m": "5Min", "15m": "15Min", "30m": "30Min", "1h": "1Hour", "1d": "1Day"}
_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60}
_FIRST = pd.Timestamp("1990-01-01", tz=EXCHANGE_TZ)  # before all of Alpaca's (2016) and the local exchange's bars
_PAGE = 10_000
_SYMBOLS_A_REQUEST = 100  # keeps the address short enough for every proxy
_HALF_HOUR = 1_800_000_000_000
_SIP_DELAY = pd.Timedelta(minutes=16)
_FREE = ("the free plan serves the feed iex up to now and the feed sip (all US exchanges) only when it is older than "
         "15 minutes; ask with feed='iex' or an earlier end")


class AlpacaProvider:
    """Alpaca's market data: US stocks, from 2016 on.

    Parameters
    ----------
    config : AlpacaConfig, optional
        Keys and hosts; default `AlpacaConfig.from_env`.
    account : str
        Name of the account to read from the environment when there is no ``config``.
    feed : str
        "iex" (default: free and up to now, a few percent of all volume), "sip" (all exchanges; on the free plan without
        the last 15 minutes), "delayed_sip", "otc", "boats" or "overnight".
    adjustment : str
        "raw" (default), "split" or "all", as Alpaca applies it: what ``download_bars`` and
        ``history(auto_adjust=False)`` give.
    hours : str
        "regular" (default) leaves out intraday bars that start outside the regular session; "extended" keeps them.
        Daily bars are the same.
    connection : AlpacaConnection, optional
        One that exists already, shared with a broker.
    timeout : float
        Seconds for each request as a whole.
    now : callable, optional
        Gives the present as a tz-aware timestamp; bars not final by then are left out. Default: this machine's clock;
        for a local exchange its own, which is another time.

    Hourly bars of Alpaca's start on the hour, so the first of a session (9:00) reaches back before its open: with
    regular hours, "1h" is made of its half hours, as the other sources anchor it.
    """

    name = "alpaca"

    def __init__(self, config: AlpacaConfig | None = None, *, account: str = "", feed: str = "iex",
                 adjustment: str = "raw", hours: str = "regular", connection: AlpacaConnection | None = None,
                 timeout: float = 10.0, now: Callable[[], pd.Timestamp] | None = None) -> None:
        for name, value, valid in (("feed", feed, FEEDS), ("adjustment", adjustment, ADJUSTMENTS),
                                   ("hours", hours, HOURS)):
            if value not in valid:
                raise InputError(f"{name} = {value!r} is unknown{nearest(value, valid) or '.'} "
                                 f"Valid: {', '.join(valid)}.")
        if connection is not None and (config is not None or account):
            raise InputError("give connection, or config or account, not both.")
        if connection is not None and not isinstance(connection, AlpacaConnection):
            raise InputError(f"connection is of type {type(connection).__name__}: give an AlpacaConnection, e.g. "
                             "broker.connection.")
        self.connection = connection or AlpacaConnection(config or AlpacaConfig.from_env(account), timeout=timeout)
        self.source_feed, self.adjustment, self.hours = feed, adjustment, hours
        self._venue = self.connection.config.kind == "sandbox"
        self._now = now or (self._venue_time if self._venue else lambda: pd.Timestamp.now("UTC"))
        self._sessions = Sessions("XNYS")

    def __repr__(self) -> str:
        return (f"AlpacaProvider(feed={self.source_feed!r}, adjustment={self.adjustment!r}, hours={self.hours!r}, "
                f"{self.connection.config.kind}, {self.connection.config.data_url})")

    @property
    def feed(self) -> str:
        """What distinguishes these bars from others of Alpaca's, for the cache: feed and, when not regular, hours."""
        return self.source_feed if self.hours == "regular" else f"{self.source_feed}-{self.hours}"

    @property
    def source(self) -> dict[str, str]:
        """What was asked for beside symbols, interval and time; part of `data_hash`."""
        return {"provider": self.name, "feed": self.source_feed, "adjustment": self.adjustment, "hours": self.hours}

    def data_hash(self, frame: pd.DataFrame) -> str:
        """sha256 of a bar frame's content together with `source`."""
        text = ";".join(f"{key}={value}" for key, value in self.source.items())
        return hashlib.sha256(f"{text};{frames.data_hash(frame)}".encode()).hexdigest()

    # -- the protocol ---------------------------------------------------------------------------------------------

    def download_bars(self, *, symbols: Sequence[str], period: str, interval: str) -> pd.DataFrame:
        """See `MarketDataProvider.download_bars`. The period counts back from the last final bar of these symbols.

        Raises
        ------
        DataError
            No symbol has a bar there; some without any are a named warning.
        ProviderError
            Alpaca cannot be reached, or refuses.
        """
        names = frames.check_symbols(symbols)
        frames.check_period(period)
        frames.check_interval(interval)
        start = asked_from(period, self._now)
        parts = self._bars(names, start, None, interval)
        return of_period(parts, provider=self.name, interval=interval, period=period, causes=self._causes())

    def history(self, symbol: str, *, start: object = None, end: object = None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        """See `MarketDataProvider.history`. Adjusted by botlib's rule from Alpaca's corporate actions."""
        frames.check_symbols([symbol])
        frames.check_interval(interval)
        first, last = frames.check_range(start, end)
        bars = self._bars((symbol,), first, last, interval)[symbol]
        if bars.empty:
            raise frames.no_data(self.name, [symbol], interval, frames.describe_range(first, last), self._causes())
        if not auto_adjust or self.adjustment == "all":
            return bars
        return frames.adjusted(bars, symbol, self.actions([symbol]), have=self.adjustment)

    def actions(self, symbols: Sequence[str]) -> pd.DataFrame:
        """See `MarketDataProvider.actions`; splits, stock dividends (as splits) and cash dividends, known by today.

        Values are as of their ex-date, in the shares of that day. With ``adjustment="split"`` dividends are divided by
        later splits, to fit the bars.
        """
        names = frames.check_symbols(symbols)
        today = self._now().tz_convert(EXCHANGE_TZ)
        rows: list[tuple[str, str, str, float, str | None]] = []
        for chunk in _chunks(names):
            query = {"symbols": ",".join(chunk), "start": f"{_FIRST:%Y-%m-%d}", "limit": 1000,
                     # By process date, which of a dividend is its pay day, after the ex-date.
                     "end": f"{today + pd.Timedelta(days=120):%Y-%m-%d}",
                     "types": "forward_split,reverse_split,stock_dividend,cash_dividend"}
            for page in self._pages("/corporate-actions", query, "actions"):
                rows += alpaca_json.action_rows(page.get("corporate_actions"))
        table = pd.DataFrame(rows, columns=list(adjust.ACTION_COLUMNS))
        if table.empty:
            return adjust.no_actions()
        table = table.drop_duplicates(["symbol", "ex_date", "type", "value"])
        known = table[table["symbol"].isin(names) & (table["ex_date"] <= f"{today:%Y-%m-%d}")]
        checked = adjust.check_actions(known)
        return alpaca_json.in_later_shares(checked) if self.adjustment == "split" else checked

    # -- requests -------------------------------------------------------------------------------------------------

    def _bars(self, names: Sequence[str], start: pd.Timestamp | None, end: pd.Timestamp | None,
              interval: str) -> dict[str, pd.DataFrame]:
        """Final bars of [start, end) by symbol; empty frames where there are none."""
        now = self._now()
        first = _FIRST if start is None else start
        limit = self._sessions.limit(interval, now)  # no bar from this label on is final
        stop = limit if end is None else min(limit, end.value)
        if first.value >= stop:
            return {name: alpaca_json.empty() for name in names}
        if interval == "1h" and self.hours == "regular":
            with contextlib.suppress(_NotServed):  # by a local exchange of hours, which begin with the session
                # The second half of the last hour begins after the hour's label.
                halves = self._served(names, "30m", first, stop + _HALF_HOUR, now)
                hours = {name: alpaca_json.hours_of(part) for name, part in halves.items()}
                return {name: part[(part.index >= first) & (part.index.asi8 < stop)] for name, part in hours.items()}
        try:
            return self._served(names, interval, first, stop, now)
        except _NotServed as refused:
            raise InputError(str(refused)) from None

    def _served(self, names: Sequence[str], interval: str, first: pd.Timestamp, stop: int,
                now: pd.Timestamp) -> dict[str, pd.DataFrame]:
        """Bars of [first, ``stop``) (UTC ns) as Alpaca has them, by symbol."""
        last, late = pd.Timestamp(stop - 1, tz="UTC"), (now - _SIP_DELAY).tz_convert("UTC")  # Alpaca's end is inclusive
        if self.source_feed == "sip" and interval == "1d":
            last = min(last, late)  # the last final day began long before, and "recent" is not for every plan
        if interval == "30m":
            last = last.floor("30min")  # of hours: no later than the half that is needed
        query = {"timeframe": _TIMEFRAMES[interval], "start": _utc(first), "end": _utc(last), "limit": _PAGE,
                 "adjustment": self.adjustment, "feed": self.source_feed, "sort": "asc"}
        try:
            found = self._asked(names, query)
        except _RecentSip as refused:
            if last <= late or first >= late:
                raise ProviderError(str(refused)) from None
            warn("sip-delayed", f"these bars of the feed sip end 15 minutes ago: {_FREE}.", stacklevel=5)
            found = self._asked(names, query | {"end": _utc(late)})
        return {name: self._final(alpaca_json.bar_frame(pages), interval, first.value, stop)
                for name, pages in found.items()}

    def _asked(self, names: Sequence[str], query: Mapping[str, Any]) -> dict[str, list[alpaca_json.Columns]]:
        """Symbol → its bars, in the pages that they came in."""
        found: dict[str, list[alpaca_json.Columns]] = {name: [] for name in names}
        for chunk in _chunks(names):
            for page in self._pages("/stocks/bars", {**query, "symbols": ",".join(chunk)}, "data"):
                for symbol, bars in (page.get("bars") or {}).items():
                    if symbol in found and bars:
                        found[symbol].append(alpaca_json.columns(bars, symbol))
        return found

    def _final(self, frame: pd.DataFrame, interval: str, first: int, stop: int) -> pd.DataFrame:
        """Rows in the range, of the sessions asked for, each label once."""
        labels = frame.index.asi8
        keep = (labels >= first) & (labels < stop)
        if interval in _MINUTES and self.hours == "regular" and len(frame):
            keep &= in_session(labels, days_of(frame.index), _MINUTES[interval], schedule("XNYS"))
        return frame if keep.all() else frame[keep]

    def _pages(self, path: str, query: Mapping[str, Any], api: Any) -> Iterable[dict[str, Any]]:
        try:
            yield from self.connection.pages(path, query, api=api)
        except BrokerUnavailable as error:
            failure: Exception = ProviderError(str(error))
        except BrokerRefusal as refusal:
            failure = _explained(refusal)
        else:
            return
        raise failure

    def _venue_time(self) -> pd.Timestamp:
        """What time it is at the local exchange."""
        try:
            return clock(self.connection.read("/clock")).time
        except BrokerError as error:
            failure = ProviderError(str(error))
        raise failure

    def _causes(self) -> str:
        delay = "; the feed sip is 15 minutes late on the free plan" if self.source_feed == "sip" else \
            "; the feed iex has no bar where nothing traded at IEX, try feed='sip'" if self.source_feed == "iex" else ""
        return ("check the symbols as Alpaca writes them (BRK.B), the dates (a market holiday, before 2016 or before "
                f"the listing), the interval and the hours ({self.hours}){delay}")


class _NotServed(InputError):
    """Bars of this length are not to be had."""


class _RecentSip(ProviderError):
    """The free plan does not serve the last 15 minutes of all exchanges."""


def _explained(refusal: BrokerRefusal) -> Exception:
    """A refusal of the data API; its bodies have no codes."""
    if refusal.status == 401:
        return CredentialsError(str(refusal))
    if refusal.status == 403:
        kind = _RecentSip if "recent SIP" in refusal.message else ProviderError
        return kind(f"Alpaca does not serve this with your data plan ({refusal.message}): {_FREE}.")
    if refusal.status in (400, 422) and "timeframe" in refusal.message:
        return _NotServed(f"these bars are not served: {refusal.message}; ask for another interval.")
    if refusal.status in (400, 422):
        return InputError(f"Alpaca does not take this request for bars: {refusal.message}. Check the symbols as Alpaca "
                          "writes them (BRK.B) and the dates.")
    return ProviderError(str(refusal))


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[place:place + _SYMBOLS_A_REQUEST] for place in range(0, len(names), _SYMBOLS_A_REQUEST))


def _utc(moment: pd.Timestamp) -> str:
    return moment.tz_convert("UTC").isoformat().replace("+00:00", "Z")
