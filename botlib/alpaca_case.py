"""What is known around an order when Alpaca's rules are asked: the facts of its asset and of the moment."""

from __future__ import annotations

from dataclasses import dataclass

from botlib.order_request import OrderRequest, positive


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What Alpaca says of an asset."""

    tradable: bool = True
    fractionable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    marginable: bool = True


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """What the moment says: sessions, the clock in New York and the last price (None: unknown)."""

    is_open: bool
    minute_of_day_et: int
    """Minutes since midnight in New York, for the auctions' windows."""
    extended_open: bool = False
    last_price: float | None = None
    """The base of stops and legs; Alpaca takes the quote's far side, here there is one price."""


@dataclass(frozen=True, slots=True)
class Case:
    """One order and what is known around it."""

    order: OrderRequest
    asset: AssetFacts | None
    market: MarketFacts | None
    extended_gtc: bool

    @property
    def last(self) -> float | None:
        price = None if self.market is None else self.market.last_price
        return price if positive(price) else None
