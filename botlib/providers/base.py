"""What a source of market data must offer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import pandas as pd

PERIODS = ("1d", "5d", "30d", "60d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "max")
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "1d")
TICKER = re.compile(r"[A-Z0-9][A-Z0-9./^=-]{0,23}")
"""What a run takes for a symbol."""


@runtime_checkable
class MarketDataProvider(Protocol):
    """Historical bars and corporate actions."""

    name: str

    def download_bars(self, *, symbols: Sequence[str], period: str, interval: str) -> pd.DataFrame:
        """Raw bars of several symbols.

        Returns a frame with MultiIndex (symbol, timestamp): timestamps tz-aware, the START of each bar; columns open,
        high, low, close, volume, float64. The period counts back from the provider's last bar.
        """
        ...

    def history(self, symbol: str, *, start: object = None, end: object = None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        """One symbol's bars on a DatetimeIndex, ``start`` inclusive, ``end`` exclusive; adjusted for splits and
        dividends when ``auto_adjust``."""
        ...

    def actions(self, symbols: Sequence[str]) -> pd.DataFrame:
        """symbol, ex_date, type ("split" | "cash_dividend"), value, pay_date; empty when there are none."""
        ...
