"""What is asked before an order is sent: `botlib.alpaca_rules`, with the facts of its asset and of the moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pandas as pd

from botlib.alpaca_rules import AssetFacts, MarketFacts, OrderRequest, Violation, check, unknown_symbol
from botlib.brokers.alpaca import outcome, rejections
from botlib.brokers.alpaca.advice import described
from botlib.brokers.market_records import Asset
from botlib.brokers.order_records import OrderRejection
from botlib.errors import BrokerError, InputError

_SECONDS = 900.0


class Preflight:
    """Checks orders against the rules and what is known of their assets.

    Parameters
    ----------
    asset : callable
        Symbol → `Asset`, None when there is none; it may raise `BrokerError`. Answers are kept for 15 minutes.
    now : callable, optional
        The present, for the rules that need the time of day; None leaves those to Alpaca.
    clock : callable
        Seconds.
    """

    def __init__(self, asset: Callable[[str], Asset | None], now: Callable[[], pd.Timestamp] | None,
                 clock: Callable[[], float]) -> None:
        self._ask, self._now, self._clock = asset, now, clock
        self._kept: dict[str, tuple[float, AssetFacts]] = {}

    def __call__(self, order: OrderRequest) -> OrderRejection | None:
        """Why an order need not be sent; None: nothing is known to be wrong with it."""
        market = None if self._now is None else outcome.market_facts(self._now())
        broken = check(order, market=market, extended_gtc=True)
        if broken is None:
            kept = order.symbol in self._kept
            broken = self._asset_rule(order, market)
            if broken is not None and kept:  # what was true a while ago must not stop an exit now
                del self._kept[order.symbol]
                broken = self._asset_rule(order, market)
        if broken is None:
            return None
        return rejections.violated(broken, str(order.symbol), str(order.client_order_id), described(order))

    def facts(self, symbol: str) -> tuple[bool, AssetFacts | None]:
        """(whether it is known what the asset is, its facts; None: there is no such asset)."""
        kept = self._kept.get(symbol)
        if kept is not None and self._clock() - kept[0] < _SECONDS:
            return True, kept[1]
        try:
            asset = self._ask(symbol)
        except (BrokerError, InputError):
            return False, None  # Alpaca decides
        if asset is None:
            return True, None  # asked again next time: it may be listed by then
        facts = AssetFacts(**{f.name: getattr(asset, f.name) for f in fields(AssetFacts)})
        self._kept[symbol] = (self._clock(), facts)
        return True, facts

    def _asset_rule(self, order: OrderRequest, market: MarketFacts | None) -> Violation | None:
        known, asset = self.facts(order.symbol)
        if not known:
            return None
        if asset is None:
            return unknown_symbol(order.symbol)
        return check(order, asset=asset, market=market, extended_gtc=True)
