"""What an ``on_bar`` strategy sees, and the loop that asks it bar by bar: slower than targets, the same rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from botlib import engine, rules
from botlib.bars import Bars
from botlib.engine.book import Book
from botlib.engine.state import ENTRY, KINDS, WORKING
from botlib.errors import BotlibError, StrategyError, nearest
from botlib.orders import Order


class View:
    """The account and the market as known at one bar's close; nothing later can be reached from it.

    Attributes
    ----------
    bars : Bars
        All bars up to and including this one, read-only, adjusted by the actions known now.
    time : pandas.Timestamp
        This bar's label (its start).
    cash, equity : float
        Dollars; equity includes dividends not yet paid.
    positions : dict of str to float
        Signed shares of the symbols held.
    """

    def __init__(self, bars: Bars, book: Book, t: int) -> None:
        self.bars, self._book, self.t = bars, book, t

    @property
    def time(self) -> pd.Timestamp:
        return self.bars.index[-1]

    @property
    def cash(self) -> float:
        return float(self._book["cash"])

    @property
    def equity(self) -> float:
        return float(self._book["equity"])

    @property
    def positions(self) -> dict[str, float]:
        held = np.flatnonzero(self._book.position)
        return {self.bars.symbols[i]: float(self._book.position[i]) for i in held}

    def position(self, symbol: str) -> float:
        """Signed shares held, 0.0 when flat."""
        return float(self._book.position[self._column(symbol)])

    def weight(self, symbol: str) -> float:
        """Signed market value of a position as a fraction of equity."""
        i = self._column(symbol)
        held = self._book.position[i]
        return float(held * self._book.last_close[i] / self.equity) if held else 0.0

    def entry_price(self, symbol: str) -> float:
        """Average entry price of a position; NaN when flat."""
        lot, shares, paid = int(self._book.head[self._column(symbol)]), 0.0, 0.0
        while lot >= 0:
            shares += self._book.lots["quantity"][lot]
            paid += self._book.lots["quantity"][lot] * self._book.lots["entry_price"][lot]
            lot = int(self._book.lots["next"][lot])
        return float(paid / shares) if shares else float("nan")

    @property
    def open_orders(self) -> list[dict[str, Any]]:
        """Orders still working, legs not included."""
        ids = self._book.working[: self._book["n_open"]]
        rows = self._book.orders[ids]
        return [{"symbol": self.bars.symbols[o["symbol"]], "side": "buy" if o["side"] > 0 else "sell",
                 "type": KINDS[o["kind"]], "purpose": "entry" if o["purpose"] == ENTRY else "exit",
                 "quantity": float(o["quantity"]), "filled": float(o["filled"])}
                for o in rows if o["status"] == WORKING]

    def _column(self, symbol: str) -> int:
        try:
            return self.bars.symbols.index(symbol)
        except ValueError:
            raise StrategyError(f"'{symbol}' is not among this run's symbols ({', '.join(self.bars.symbols)})"
                                f"{nearest(symbol, self.bars.symbols)}") from None


def run_on_bar(bars: Bars, strategy: Any, book: Book, adjustment: str,
               progress: Callable[[range], Iterable[int]]) -> None:
    """Advance bar by bar and ask the strategy at each close."""
    from botlib.backtesting import describe_error, own_warmup

    first, known = book["first_decision"], _KnownBars(bars, adjustment)
    late = own_warmup(bars, first)
    keep = np.full(len(bars.symbols), np.nan)
    for t in progress(range(len(bars))):
        while not engine.step(book.world, t):
            book.grow()
        if t < first:
            continue
        try:
            answer = strategy.on_bar(View(known.upto(t), book, t))
        except BotlibError:
            raise
        except Exception as error:
            raise StrategyError(f"{type(strategy).__name__}.on_bar raised {describe_error(error)} "
                                f"at bar {t} ({bars.index[t]})") from error
        row, orders = _answer(answer, bars, strategy)
        if row is not None and late:
            row = np.where([t < late.get(i, 0) for i in range(len(row))], np.nan, row)
        orders = [o for o in orders if o.symbol not in bars.symbols or t >= late.get(bars.symbols.index(o.symbol), 0)]
        engine.decide_row(book.world, t, keep if row is None else row)
        while book["n_orders"] + 8 * (len(orders) + 1) + 2 * book["n_lots"] > book["room"]:
            book.grow()
        for order in orders:
            _submit(book, t, order, bars, strategy)


class _KnownBars:
    """Bars adjusted by the actions known at each bar; panels are remade only when an action becomes known."""

    def __init__(self, bars: Bars, adjustment: str) -> None:
        self._bars, self._adjustment = bars, adjustment
        known = bars.actions is not None and len(bars.actions) > 0
        self._acts = known and bars.adjustment == "raw" and adjustment != "raw"
        self._count, self._seen = -1, bars
        if self._acts:
            assert bars.actions is not None
            self._actions = bars.actions.sort_values("ex_date", kind="stable")
            self._days = self._actions["ex_date"].to_numpy().astype("datetime64[D]").astype(np.int64)

    def upto(self, t: int) -> Bars:
        """The first ``t + 1`` bars."""
        if self._acts:
            count = int(np.searchsorted(self._days, self._bars.sessions[t], side="right"))
            if count != self._count:
                self._count = count
                self._seen = self._bars.adjusted(self._actions.iloc[:count], self._adjustment)
        return self._seen.upto(t)


def _answer(answer: Any, bars: Bars, strategy: Any) -> tuple[np.ndarray | None, list[Order]]:
    """What ``on_bar`` returned, as a row of targets (N,) or a list of orders."""
    n = len(bars.symbols)
    if answer is None:
        return None, []
    if isinstance(answer, Order):
        return None, [answer]
    if isinstance(answer, (list, tuple)) and all(isinstance(o, Order) for o in answer):
        return None, list(answer)
    if isinstance(answer, (Mapping, pd.Series)):
        row = np.full(n, np.nan)
        for symbol, target in answer.items():
            if symbol not in bars.symbols:
                raise StrategyError(f"{type(strategy).__name__}.on_bar returned a target for '{symbol}', which is not "
                                    f"among this run's symbols{nearest(symbol, bars.symbols)}")
            row[bars.symbols.index(symbol)] = target if isinstance(target, (int, float, np.number)) else np.inf
    else:
        try:
            row = np.asarray(answer, dtype=np.float64) if not isinstance(answer, (str, bytes)) else np.empty(0)
        except (TypeError, ValueError):
            row = np.empty(0)
    if row.shape != (n,) or np.isinf(row).any():
        raise StrategyError(f"{type(strategy).__name__}.on_bar returned {answer!r:.60}; it must be None, orders, a "
                            f"{{symbol: target}} map or {n} finite targets (NaN keeps).")
    return row, []


def _submit(book: Book, t: int, order: Order, bars: Bars, strategy: Any) -> None:
    if order.symbol not in bars.symbols:
        raise StrategyError(f"{type(strategy).__name__}.on_bar ordered '{order.symbol}', which is not among this run's "
                            f"symbols{nearest(order.symbol, bars.symbols)}")
    engine.submit_order(book.world, t, bars.symbols.index(order.symbol), 1 if order.side == "buy" else -1,
                        rules.round_quantity(float(order.quantity), book["fractional"]), order.kind,
                        float(order.limit_price or 0.0), float(order.stop_price or 0.0))
