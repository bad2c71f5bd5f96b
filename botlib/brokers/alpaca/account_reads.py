"""Reading the account and the market: money, positions, what moved them, the clock, the calendar, assets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import pandas as pd

from botlib.brokers.account_records import AccountInfo, Activity, ActivityPage, Portfolio, Position
from botlib.brokers.alpaca import cursors, records
from botlib.brokers.alpaca.order_reads import OrderReads, absence, moment
from botlib.brokers.market_records import Asset, MarketClock, MarketSession
from botlib.brokers.order_records import Fill
from botlib.errors import BrokerRefusal, InputError

_PAGE = 100
_SECOND = pd.Timedelta(seconds=1)
_OTHERS = {"category": "non_trade_activity"}


class AccountReads(OrderReads):
    """The part of `AlpacaBroker` that reads the account and the market."""

    _now: Callable[[], pd.Timestamp]
    """The present here, tz-aware: beside the broker's clock and on a portfolio."""

    # -- money and shares -----------------------------------------------------------------------------------------

    def get_positions(self) -> tuple[Position, ...]:
        """All positions, by symbol."""
        found = [records.position(p) for p in records.listed(self.connection.read("/positions"), "the positions")]
        return tuple(sorted(found, key=lambda p: p.symbol))

    def get_account_info(self) -> AccountInfo:
        """The account now."""
        return records.account(self.connection.read("/account"))

    def portfolio(self) -> Portfolio:
        """Account, positions and open orders, read in the order that never loses a fill in between."""
        began = self._now()
        orders, positions = self.open_orders(), self.get_positions()
        return Portfolio(account=self.get_account_info(), positions=positions, open_orders=orders, time=began)

    # -- what moved them ------------------------------------------------------------------------------------------

    def fills(self, since: pd.Timestamp | None = None) -> tuple[Fill, ...]:
        """All executions from ``since`` on (that instant included), oldest first, each key once."""
        first = None if since is None else moment(since)
        found: dict[tuple[str, float], Fill] = {}
        for body in self._activities("/account/activities/FILL", {}, first):
            one = records.fill(body, self._client_ids.get(str(body.get("order_id")), ""))
            if first is None or one.time >= first:
                found.setdefault(one.key, one)
        return tuple(sorted(found.values(), key=lambda one: (one.time, one.order_id, one.cum_qty)))

    def activities(self, since: pd.Timestamp | None = None) -> tuple[Activity, ...]:
        """What moved cash or shares beside fills (dividends, fees, splits, …) and was listed from ``since``, by time.

        Alpaca lists fees and dividends hours or days after their day: ``since`` is about ``created_at``, not ``day``.
        """
        first = None if since is None else moment(since)
        found = [records.activity(body) for body in self._activities("/account/activities", _OTHERS, first)
                 if not records.is_trade(body)]
        kept = [one for one in found if first is None or one.created_at is None or one.created_at >= first]
        return tuple(sorted(kept, key=lambda one: (one.time, one.activity_id)))

    def activity_page(self, cursor: str = "", *, since: pd.Timestamp | None = None) -> ActivityPage:
        """Fills and activities after a cursor: "" for all there ever were, or all from ``since`` on.

        Begin once with ``since``, then hand over the last page's cursor. Each page reaches back five minutes before the
        last fill and a day before the last activity, since some are listed late: entries may come again, none is left
        out. Raises `BrokerError`, and `InputError` for a cursor of another origin.
        """
        if cursor and since is not None:
            raise InputError("give cursor or since, not both: a cursor says itself where it goes on.")
        begun = cursors.read(cursor) if cursor else cursors.begin(None if since is None else moment(since))
        fills, others = self.fills(begun.fills), self.activities(begun.others)
        return ActivityPage(fills=fills, activities=others, cursor=begun.after(fills, others).text)

    def _activities(self, path: str, query: dict[str, Any], since: pd.Timestamp | None) -> Iterable[dict[str, Any]]:
        """Activities oldest first, paged to the end. Alpaca's ``after`` leaves that very moment out."""
        asked: dict[str, Any] = {"direction": "asc", "page_size": _PAGE, **query}
        if since is not None:
            asked["after"] = (since - _SECOND).isoformat()
        seen: set[str] = set()
        while True:
            page = records.listed(self.connection.read(path, asked), "the activities")
            fresh = [body for body in page if body.get("id") not in seen]
            if page and not fresh:
                raise records.unusable("the list of activities", "repeats itself and cannot be read to its end")
            yield from fresh
            if len(page) < _PAGE:
                return
            seen.update(str(body.get("id")) for body in page)
            asked["page_token"] = page[-1].get("id")

    # -- the market -----------------------------------------------------------------------------------------------

    def clock(self) -> MarketClock:
        """The exchange's clock, and when it was asked by the one here."""
        asked = self._now()
        body = self.connection.read("/clock")
        return records.clock(body, asked, self._now())

    def calendar(self, start: dt.date | str, end: dt.date | str) -> tuple[MarketSession, ...]:
        """The sessions from ``start`` to ``end`` (dates, both included), in order; half days with their early close."""
        first, last = _date(start, "start"), _date(end, "end")
        if first > last:
            raise InputError(f"start = {first} is after end = {last}: give the earlier date first.")
        answer = self.connection.read("/calendar", {"start": first.isoformat(), "end": last.isoformat()})
        found = [records.session(body) for body in records.listed(answer, "the calendar")]
        return tuple(sorted((one for one in found if first <= one.day <= last), key=lambda one: one.day))

    def get_asset(self, symbol: str) -> Asset | None:
        """What may be done with a symbol now; None: Alpaca says that there is no such asset. Raises `BrokerError`."""
        return self._asset(symbol)

    def _asset(self, symbol: str, attempts: int | None = None) -> Asset | None:
        if not isinstance(symbol, str) or not symbol.strip():
            raise InputError(f"symbol = {symbol!r} must be the symbol of a US stock, e.g. 'SPY'.")
        try:
            body = self.connection.read(f"/assets/{quote(symbol, safe='')}", attempts=attempts)
        except BrokerRefusal as refusal:
            absence(refusal, f"the asset {symbol}")
            return None
        return records.asset(body)


def _date(value: object, name: str) -> dt.date:
    try:
        if isinstance(value, dt.datetime):  # a moment has a date in each time zone
            raise ValueError
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{name} = {value!r} must be a date, e.g. '2024-07-03'.") from None
