"""Which of a symbol's prices are to be believed, from what came before them. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from botlib.order_state import positive, within


def is_print(price: object, time: object) -> bool:
    """Whether this is a price above 0 and a moment with a time zone."""
    return positive(price) and isinstance(time, dt.datetime) and time is not pd.NaT and time.tzinfo is not None


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars a share, and when that price was made."""

    price: float
    time: pd.Timestamp
    final: bool = False
    """Whether it is a bar's close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The last two good prices of a symbol, and one after them that is out of line."""

    good: Price | None = None
    previous: Price | None = None
    suspect: Price | None = None

    def with_print(self, price: float, time: pd.Timestamp, collar_pct: float, final: bool) -> Prices:
        """A new price.

        Within the collar of the last good one it is good. Outside it is suspect, and believed once another price of a
        different time agrees with it and one of the two is a bar's close. Prints of an older time, and what is no
        price, change nothing.
        """
        if not is_print(price, time):
            return self
        if self.good is not None and time <= self.good.time:
            return self
        new = Price(float(price), time, final)
        if self.good is not None and within(price, self.good.price, collar_pct):
            return Prices(good=new, previous=self.good)
        was = self.suspect
        agrees = was is not None and was.time != time and within(price, was.price, collar_pct)
        if was is not None and agrees and (final or was.final):
            first, second = sorted((was, new), key=lambda one: one.time)
            return Prices(good=second, previous=first)
        if self.good is None and final:
            return Prices(good=new)
        return replace(self, suspect=new)

    def cautious(self, quantity: float) -> float | None:
        """Worth of a holding at the more favourable of the last two good prices; None where there are no two."""
        if self.good is None or self.previous is None:
            return None
        both = self.good.price, self.previous.price
        return quantity * (max(both) if quantity > 0.0 else min(both))

    def split(self, ratio: float) -> Prices:
        """After a split of ``ratio`` new shares for one."""
        def divided(one: Price | None) -> Price | None:
            return None if one is None else replace(one, price=one.price / ratio)

        return Prices(good=divided(self.good), previous=divided(self.previous), suspect=divided(self.suspect))

    def record(self) -> dict[str, Any]:
        """As JSON takes it: [price, time, final] for each."""
        return {name: None if one is None else [one.price, one.time.isoformat(), one.final]
                for name, one in (("good", self.good), ("previous", self.previous), ("suspect", self.suspect))}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Prices:
        """Raises `KeyError`, `TypeError` or `ValueError` for what `record` never wrote."""
        read = {}
        for name in ("good", "previous", "suspect"):
            if record[name] is None:
                continue
            price, time, final = record[name]
            if not positive(price) or pd.Timestamp(time).tzinfo is None or not isinstance(final, bool):
                raise ValueError(f"{name} = {record[name]!r}")
            read[name] = Price(price, pd.Timestamp(time), final)
        return cls(**read)


NO_PRICES = Prices()
