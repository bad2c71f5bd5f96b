"""What a broker says of the market: its clock, its calendar and its assets.

Frozen. Times are tz-aware (UTC) pandas timestamps.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketClock:
    """The exchange's clock as the broker tells it."""

    time: pd.Timestamp
    """Now, at the broker."""
    is_open: bool
    """Whether the regular session is on."""
    next_open: pd.Timestamp
    next_close: pd.Timestamp
    asked_at: pd.Timestamp | None = None
    """Now, here, before the broker was asked."""
    answered_at: pd.Timestamp | None = None
    """Now, here, when it had answered."""

    @property
    def skew_seconds(self) -> float | None:
        """Seconds the broker's clock is ahead of the one here, give or take ``skew_error_seconds``; None: not known."""
        if self.asked_at is None or self.answered_at is None:
            return None
        return (self.time - self.asked_at - (self.answered_at - self.asked_at) / 2).total_seconds()

    @property
    def skew_error_seconds(self) -> float | None:
        """Half the time that asking took: the broker may have looked at its clock at any moment of it."""
        if self.asked_at is None or self.answered_at is None:
            return None
        return (self.answered_at - self.asked_at).total_seconds() / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSession:
    """A day on which the exchange trades."""

    day: dt.date
    """The exchange's date."""
    open: pd.Timestamp
    close: pd.Timestamp
    """Early on half days."""
    extended_open: pd.Timestamp | None = None
    """When orders for extended hours begin to trade."""
    extended_close: pd.Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """What may be done with a symbol. A flag that the broker does not set is False."""

    symbol: str
    asset_id: str = ""
    name: str = ""
    exchange: str = ""
    status: str = ""
    tradable: bool = False
    """Also False when the asset is not active."""
    fractionable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    marginable: bool = False
