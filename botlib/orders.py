"""Orders, and their cancelling, as a strategy names them in ``on_bar``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botlib import rules
from botlib.errors import StrategyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True)
class Order:
    """A market, limit or stop order, good for the session in which it is first live.

    One that adds to a position (or opens one) is an entry and carries the bracket legs of `Risk`; one against it is an
    exit and never sells more than is held. Use `buy` and `sell`.

    Raises
    ------
    StrategyError
        On a symbol that is no text, and a quantity or price that no exchange takes: not finite, not positive, or finer
        than the tick ($0.01; $0.0001 below $1). Numbers of every kind are taken, numpy's too, and kept as float.
    """

    symbol: str
    side: Literal["buy", "sell"]
    quantity: float
    limit_price: float | None = None
    stop_price: float | None = None

    def __post_init__(self) -> None:
        _check_symbol(self.side, self.symbol)
        if not _above_zero(self.quantity):
            raise StrategyError(f"{self.side} {self.symbol}: quantity = {self.quantity!r} must be a number above 0.")
        if self.limit_price is not None and self.stop_price is not None:
            raise StrategyError(f"{self.side} {self.symbol}: give limit or stop, not both (no stop-limit here).")
        for name in ("limit_price", "stop_price"):
            price = getattr(self, name)
            if price is None:
                continue
            if not _above_zero(price):
                raise StrategyError(f"{self.side} {self.symbol}: {name} = {price!r} must be a price above 0.")
            if not math.isclose(rules.floor_to_tick(float(price)), price, abs_tol=1e-7):
                tick = "0.01" if price >= 1 else "0.0001"
                raise StrategyError(f"{self.side} {self.symbol}: {name} = {price!r} is finer than the tick of ${tick}; "
                                    "round it first, e.g. round(price, 2).")
            object.__setattr__(self, name, rules.floor_to_tick(float(price)))  # 104.49999999999999 goes out as 104.5
        object.__setattr__(self, "quantity", float(self.quantity))

    @property
    def kind(self) -> int:
        """`rules.MARKET`, `rules.LIMIT` or `rules.STOP`."""
        if self.limit_price is not None:
            return rules.LIMIT
        return rules.STOP if self.stop_price is not None else rules.MARKET


class WorkingOrder(NamedTuple):
    """An order that still works, as ``view.open_orders`` lists it.

    Attributes
    ----------
    id : int
        What `cancel` takes: its row in ``result.orders``; in a session a number that no other order ever gets.
    symbol, side, type, purpose : str
        "buy" or "sell"; "market", "limit" or "stop"; "entry", "exit" or "reduce".
    quantity, filled : float
        Shares ordered, and those of them traded so far.
    limit_price, stop_price : float or None
        Dollars; None when it has none.
    decided_time : pandas.Timestamp
        Label of the bar at whose close it was submitted.
    """

    id: int
    symbol: str
    side: str
    type: str
    purpose: str
    quantity: float
    filled: float
    limit_price: float | None
    stop_price: float | None
    decided_time: pd.Timestamp


class Numbers(NamedTuple):
    """The numbers of an account's orders, where they are not the rows of its book: a session's book forgets orders that
    have ended.

    Attributes
    ----------
    of_rows : sequence of int
        The number of each row.
    rows : mapping of int to int
        The row of each number that is not forgotten.
    next : int
        The number of the next order; all below it have been given, from 1 on.
    """

    of_rows: Sequence[int]
    rows: Mapping[int, int]
    next: int


def _check_symbol(what: str, symbol: Any) -> None:
    if not isinstance(symbol, str) or not symbol:
        raise StrategyError(f"{what}: symbol = {symbol!r} must be text, one of the run's symbols, e.g. 'AAPL'.")


def _above_zero(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) > 0.0


def buy(symbol: str, quantity: float, *, limit: float | None = None, stop: float | None = None) -> Order:
    """A buy order for ``on_bar`` to return: at the market, or at ``limit``, or from ``stop`` on.

    Parameters
    ----------
    symbol : str
        One of the run's symbols.
    quantity : float
        Shares, above 0, whatever the strategy's ``unit`` says; rounded down to whole ones unless ``risk.fractional``.
    limit : float, optional
        Dollars: buys at this price or lower. As a raw price, which ``view.bars.close[-1]`` is, on the tick ($0.01;
        $0.0001 below $1).
    stop : float, optional
        Dollars: buys once the price is at this or higher. Not together with ``limit``.

    Notes
    -----
    It meets the next bar first and is good for that bar's session only: for one bar on daily bars, until the close on
    intraday ones. Without a short position it is an entry and carries the bracket legs of `Risk`; against one it is an
    exit and buys back no more than is held. What a limit of `Risk` or `SafetyControls`, buying power or an opposite
    order forbids is refused whole, without an error: ``result.orders`` says why (`botlib.Strategy` has all the rules).

    Raises
    ------
    StrategyError
        See `Order`.
    """
    return Order(symbol, "buy", quantity, limit, stop)


def sell(symbol: str, quantity: float, *, limit: float | None = None, stop: float | None = None) -> Order:
    """A sell order for ``on_bar`` to return; without a long position it is a short sale.

    As `buy` with the sides swapped: ``limit`` sells at this price or higher, ``stop`` once the price is at this or
    lower, and against a long position it never sells more than is held. A short sale is of whole shares.
    """
    return Order(symbol, "sell", quantity, limit, stop)


@dataclass(frozen=True)
class Cancel:
    """The cancelling of working orders of one symbol. Use `cancel`.

    Raises
    ------
    StrategyError
        On a symbol that is no text, and an id that is not a whole number.
    """

    symbol: str
    id: int | None = None

    def __post_init__(self) -> None:
        _check_symbol("cancel", self.symbol)
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
