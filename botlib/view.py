"""What an ``on_bar`` strategy sees, and the loop that asks it bar by bar: slower than targets, the same rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from botlib import engine, rules
from botlib.bar_reveal import KnownBars
from botlib.bars import Bars
from botlib.engine.book import Book
from botlib.engine.state import KINDS, PURPOSES, STOP_LEG, TARGET_LEG, WORKING
from botlib.errors import BotlibError, StrategyError, StrategyFailed, nearest
from botlib.orders import Cancel, Numbers, Order, WorkingOrder


class View:
    """What ``on_bar(view)`` is handed at a bar's close: the market and the account as known then, nothing later.

    Dollars and shares are those of this run's own account. Shares are signed: negative is short. A symbol that is not
    among the run's raises `StrategyError`. Everything can be read, nothing written; a view is good for its own bar.

        view.bars.close[-1, 0]        this bar's close of the first symbol; view.bars.close is (t + 1, symbols)
        view.position("AAPL")         shares held
        view.weight("AAPL")           the same as a fraction of equity
        view.open_orders              orders still working, with what `botlib.cancel` needs

    What `on_bar` may return, and what becomes of it, stands in `botlib.Strategy`.

    Attributes
    ----------
    bars : Bars
        All bars up to and including this one: (t + 1, N) panels, read-only, NaN where a symbol has no bar. Adjusted
        by the splits (or as ``signal_adjustment`` says) known now; orders name raw prices, which the last row has.
    t : int
        This bar's number, from 0.
    """

    __slots__ = ("_book", "_columns", "_numbers", "bars", "t")

    def __init__(self, bars: Bars, book: Book, t: int, columns: Mapping[str, int],
                 numbers: Numbers | None = None) -> None:
        self.bars, self._book, self.t, self._columns, self._numbers = bars, book, t, columns, numbers

    def __repr__(self) -> str:
        form = "%Y-%m-%d" if self.bars.interval == "1d" else "%Y-%m-%d %H:%M"
        held = ", ".join(f"{quantity:g} {symbol}" for symbol, quantity in self.positions.items())
        return (f"<View of bar {self.t}, {self.time:{form}}: equity {self.equity:,.2f}, cash {self.cash:,.2f}, "
                f"holds {held or 'nothing'}, {len(self.open_orders)} open orders>")

    @property
    def time(self) -> pd.Timestamp:
        """This bar's label (its start), in exchange time."""
        return self.bars.index[-1]

    @property
    def cash(self) -> float:
        """Dollars; negative when borrowed. Orders that still work have not moved it."""
        return float(self._book["cash"])

    @property
    def equity(self) -> float:
        """Dollars: cash, dividends due and positions at their last close."""
        return float(self._book["equity"])

    @property
    def positions(self) -> dict[str, float]:
        """Signed shares of the symbols held."""
        held = np.flatnonzero(self._book.position)
        return {self.bars.symbols[i]: float(self._book.position[i]) for i in held}

    def position(self, symbol: str) -> float:
        """Signed shares held, 0.0 when flat."""
        return float(self._book.position[self._column(symbol)])

    def weight(self, symbol: str) -> float:
        """Signed market value of a position as a fraction of equity, 0.0 when flat."""
        i = self._column(symbol)
        held = self._book.position[i]
        return float(held * self._book.last_close[i] / self.equity) if held else 0.0

    def entry_price(self, symbol: str) -> float:
        """Average price paid (or, short, received) for what is held, slippage in; NaN when flat."""
        lot, shares, paid = int(self._book.head[self._column(symbol)]), 0.0, 0.0
        while lot >= 0:
            shares += self._book.lots["quantity"][lot]
            paid += self._book.lots["quantity"][lot] * self._book.lots["entry_price"][lot]
            lot = int(self._book.lots["next"][lot])
        return float(paid / shares) if shares else float("nan")

    @property
    def open_orders(self) -> list[WorkingOrder]:
        """Orders still working at this close, oldest first; protective legs are not among them.

        Each is a `botlib.WorkingOrder`: id, symbol, side, type, purpose, quantity, filled, limit_price, stop_price and
        decided_time. A day order never outlives its session: on daily bars the list is empty but for exits that a
        missing bar or a volume cap left unfinished.
        """
        count = self._book["n_open"]
        if not count:
            return []
        orders, index, found = self._book.orders, self.bars.index, []
        names = range(len(orders)) if self._numbers is None else self._numbers.of_rows
        for i in self._book.working[:count].tolist():
            o = orders[i]
            if o["status"] == WORKING:
                found.append(WorkingOrder(
                    names[i], self.bars.symbols[o["symbol"]], "buy" if o["side"] > 0 else "sell", KINDS[o["kind"]],
                    PURPOSES[o["purpose"]], float(o["quantity"]), float(o["filled"]),
                    float(o["limit"]) if o["limit"] > 0.0 else None, float(o["stop"]) if o["stop"] > 0.0 else None,
                    index[o["decided"]],
                ))
        return found

    def _row(self, number: int) -> int | None:
        """The book's row of an order; None when it has ended and is forgotten, -1 for a number that was never given."""
        if self._numbers is None:
            return number
        forgotten = None if 0 < number < self._numbers.next else -1
        return self._numbers.rows.get(number, forgotten)

    def _column(self, symbol: str) -> int:
        try:
            return self._columns[symbol]
        except (KeyError, TypeError):
            raise StrategyError(f"'{symbol}' is not among this run's symbols ({', '.join(self.bars.symbols)})"
                                f"{nearest(str(symbol), self.bars.symbols)}") from None


def run_on_bar(bars: Bars, strategy: Any, book: Book, adjustment: str,
               progress: Callable[[range], Iterable[int]]) -> None:
    """Advance bar by bar and ask the strategy at each close."""
    from botlib.backtesting import warmup_bars
    from botlib.strategies.base import own_warmup

    first, known, world = book["first_decision"], KnownBars(bars, adjustment), book.world
    columns, warmup = {symbol: i for i, symbol in enumerate(bars.symbols)}, warmup_bars(strategy)
    late = bars.memo(f"own warm-up {warmup}", lambda: own_warmup(bars, warmup))
    ready = np.array([late.get(i, 0) for i in range(len(columns))])  # the first bar that decides, of each symbol
    for t in progress(range(len(bars))):
        while not engine.step(world, t):
            book.grow()
        if t >= first:
            ask_on_bar(strategy, View(known.upto(t), book, t, columns), ready)


def ask_on_bar(strategy: Any, view: View, ready: np.ndarray) -> np.ndarray:
    """Ask a strategy at one bar's close and turn its answer into orders of the view's book.

    ``ready`` (N,) is the first bar at which each symbol may be decided. Returns the targets it gave (N,), NaN where
    none. Raises `StrategyFailed` for what its code raises, `StrategyError` for an answer that is none.
    """
    from botlib.backtesting import describe_error

    book, t, columns = view._book, view.t, view._columns
    try:
        answer = strategy.on_bar(view)
    except BotlibError:
        raise
    except (Exception, SystemExit) as error:  # a strategy does not end the process
        raise StrategyFailed(f"{type(strategy).__name__}.on_bar raised {describe_error(error)} "
                             f"at bar {t} ({view.time})") from error
    row, orders = (np.full(len(columns), np.nan), []) if answer is None else _answer(answer, columns, strategy)
    if t < ready.max(initial=0):
        row = np.where(t < ready, np.nan, row)
        orders = [o for o in orders if t >= ready[columns[o.symbol]]]
    engine.decide_row(book.world, t, row)
    if orders:
        while book["n_orders"] + (len(orders) + 1) * (8 + 2 * book["n_lots"]) > book["room"]:
            book.grow()
    for order in orders:
        _submit(view, order, columns[order.symbol], strategy)
    return row


def _answer(answer: Any, columns: Mapping[str, int], strategy: Any) -> tuple[np.ndarray, list[Order | Cancel]]:
    """What ``on_bar`` returned, as a row of targets (N,) and a list of orders; one of them says nothing."""
    row, orders = np.full(len(columns), np.nan), []
    if isinstance(answer, (dict, Mapping, pd.Series)):
        for symbol, target in answer.items():
            i = columns.get(symbol)
            if i is None:
                raise StrategyError(f"{type(strategy).__name__}.on_bar returned a target for '{symbol}', which is not "
                                    f"among this run's symbols{nearest(str(symbol), columns)}")
            row[i] = target if isinstance(target, (int, float, np.number)) else np.inf
    elif isinstance(answer, (Order, Cancel)):
        orders = [answer]
    elif isinstance(answer, (list, tuple)) and all(isinstance(o, (Order, Cancel)) for o in answer):
        orders = list(answer)
    else:
        try:
            row = np.array(answer, dtype=np.float64, order="C") if not isinstance(answer, (str, bytes)) else np.empty(0)
        except (TypeError, ValueError):
            row = np.empty(0)
    if row.shape != (len(columns),) or np.isinf(row).any():
        raise StrategyError(f"{type(strategy).__name__}.on_bar returned {answer!r:.60}; it must be None, orders, a "
                            f"{{symbol: target}} map or {len(columns)} finite targets (NaN keeps).")
    for order in orders:
        if order.symbol not in columns:
            raise StrategyError(f"{type(strategy).__name__}.on_bar ordered '{order.symbol}', which is not among this "
                                f"run's symbols{nearest(str(order.symbol), columns)}")
    return row, orders


def _submit(view: View, order: Order | Cancel, column: int, strategy: Any) -> None:
    book, t = view._book, view.t
    if isinstance(order, Order):
        engine.submit_order(book.world, t, column, 1 if order.side == "buy" else -1,
                            rules.round_quantity(float(order.quantity), book["fractional"]), order.kind,
                            float(order.limit_price or 0.0), float(order.stop_price or 0.0))
        return
    row = -1 if order.id is None else view._row(order.id)
    if row is None:
        return
    if order.id is not None:
        known = 0 <= row < book["n_orders"] and int(book.orders["symbol"][row]) == column
        if not known or book.orders["purpose"][row] in (STOP_LEG, TARGET_LEG):
            raise StrategyError(f"{type(strategy).__name__}.on_bar cancelled order {order.id} of {order.symbol}, which "
                                "is none of its orders; take the id from view.open_orders.")
    engine.cancel_orders(book.world, t, column, row)
