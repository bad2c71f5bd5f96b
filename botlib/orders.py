"""Orders, and their cancelling, as a strategy names them in ``on_bar``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from botlib import rules
from botlib.errors import StrategyError


@dataclass(frozen=True)
class Order:
    """A market, limit or stop order, good for the session in which it is first live.

    One that adds to a position (or opens one) is an entry and carries the bracket legs of `Risk`; one against it is an
    exit and never sells more than is held. Use `buy` and `sell`.

    Raises
    ------
    StrategyError
        On a quantity or price that no exchange takes: not finite, not positive, or finer than the tick
        ($0.01; $0.0001 below $1).
    """

    symbol: str
    side: Literal["buy", "sell"]
    quantity: float
    limit_price: float | None = None
    stop_price: float | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.quantity, (int, float)) and math.isfinite(self.quantity) and self.quantity > 0):
            raise StrategyError(f"{self.side} {self.symbol}: quantity = {self.quantity!r} must be a number above 0.")
        if self.limit_price is not None and self.stop_price is not None:
            raise StrategyError(f"{self.side} {self.symbol}: give limit or stop, not both (no stop-limit here).")
        for name in ("limit_price", "stop_price"):
            price = getattr(self, name)
            if price is None:
                continue
            if not (isinstance(price, (int, float)) and math.isfinite(price) and price > 0):
                raise StrategyError(f"{self.side} {self.symbol}: {name} = {price!r} must be a price above 0.")
            if not math.isclose(rules.floor_to_tick(float(price)), price, abs_tol=1e-7):
                tick = "0.01" if price >= 1 else "0.0001"
                raise StrategyError(f"{self.side} {self.symbol}: {name} = {price!r} is finer than the tick of ${tick}; "
                                    "round it first, e.g. round(price, 2).")

    @property
    def kind(self) -> int:
        """`rules.MARKET`, `rules.LIMIT` or `rules.STOP`."""
        if self.limit_price is not None:
            return rules.LIMIT
        return rules.STOP if self.stop_price is not None else rules.MARKET


def buy(symbol: str, quantity: float, *, limit: float | None = None, stop: float | None = None) -> Order:
    """A buy order: market, or ``limit``, or ``stop``."""
    return Order(symbol, "buy", quantity, limit, stop)


def sell(symbol: str, quantity: float, *, limit: float | None = None, stop: float | None = None) -> Order:
    """A sell order (also a short sale): market, or ``limit``, or ``stop``."""
    return Order(symbol, "sell", quantity, limit, stop)


@dataclass(frozen=True)
class Cancel:
    """The cancelling of working orders of one symbol. Use `cancel`.

    Raises
    ------
    StrategyError
        On an id that is not a whole number.
    """

    symbol: str
    id: int | None = None

    def __post_init__(self) -> None:
        if self.id is not None and (isinstance(self.id, bool) or not isinstance(self.id, Integral)):
            raise StrategyError(f"cancel {self.symbol}: id = {self.id!r} must be a whole number, from "
                                "view.open_orders, or None for all of the symbol's working orders.")


def cancel(symbol: str, id: int | None = None) -> Cancel:
    """Cancel a symbol's working entries and the exits that ``on_bar`` named; with ``id``, that order only.

    The id stands in ``view.open_orders``; an order that has ended meanwhile is left as it is. Legs are never touched:
    they protect what is held, and what a cancelled exit leaves is protected again from the next bar on. In a list of
    answers, orders after a cancel already have the buying power it freed.
    """
    return Cancel(symbol, id)
