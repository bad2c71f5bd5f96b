"""Numbers and times the way Alpaca writes them.

Trading answers hold money and quantities as strings without trailing zeros ("86.88", "1"), market data hold numbers.
Times are RFC 3339 in UTC with as many decimals as needed.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

from botlib.alpaca_rules import plain as plain
from botlib.calendars import EXCHANGE_TZ

NEW_YORK = ZoneInfo(EXCHANGE_TZ)
NS = 1_000_000_000


def money(value: float) -> str:
    """Dollars, to the millionth: finer is what binary sums leave."""
    return plain(round(value, 6))


def price(value: float | None) -> str | None:
    """Dollars a share, up to 9 decimals; None stays None."""
    return None if value is None else plain(round(value, 9))


def quantity(value: float | None) -> str | None:
    """Shares, up to 9 decimals; None stays None."""
    return None if value is None else plain(round(value, 9))


@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=second)).isoformat()[:19]


@lru_cache(maxsize=65_536)  # a list of orders is written again and again
def timestamp(ns: int) -> str:
    """UTC ns as RFC 3339: "2026-03-12T15:10:18.0952164Z"."""
    second, rest = divmod(int(ns), NS)
    return f"{_second(second)}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


def moment(ns: int) -> str | None:
    """`timestamp`; 0 is never: None."""
    return timestamp(ns) if ns else None


def local(ns: int) -> dt.datetime:
    """UTC ns as exchange time, to the microsecond."""
    return dt.datetime.fromtimestamp(ns // NS, NEW_YORK).replace(microsecond=ns % NS // 1000)


def day(days: int) -> str:
    """Days since 1970-01-01 as YYYY-MM-DD."""
    return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()
