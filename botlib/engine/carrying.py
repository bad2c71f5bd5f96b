"""A book goes on: on more bars, or from what was written down of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from botlib.engine.book import Book, MarketArrays
from botlib.engine.state import ACCOUNT, ACTION, ENTRY, GROWING, LOT, ORDER, STOP_LEG, TARGET_LEG, WORKING

NO_ACTIONS = np.zeros(0, ACTION)
_SYMBOL_FIELDS = ("position", "wanted", "standing", "last_close")
_KEPT = tuple(name for name, _ in ACCOUNT if name not in {
    "action", "n_orders", "n_fills", "n_trades", "n_halts", "n_open", "n_held", "n_lots", "free_lot", "n_payable"})
_ORDER_FIELDS = tuple(name for name in ORDER.names or () if name not in {"symbol", "lot", "decided", "closed"})
_LOT_FIELDS = tuple(name for name in LOT.names or () if name not in {
    "symbol", "next", "entry_order", "stop_order", "target_order", "entry_bar", "legs_from"})


def carried(book: Book, settings: tuple[Any, ...], market: MarketArrays) -> Book:
    """The same account on other panels of the same symbols: those it had, and bars that came since."""
    made = Book(settings, market, NO_ACTIONS, book.given_fees, 0.0)
    while made["room"] < book["room"]:
        made.grow()
    for name, _ in ACCOUNT:
        made.world[name] = book.world[name]
    made._columns[:] = book._columns
    for name in GROWING:
        source = getattr(book, name)
        getattr(made, name)[: len(source)] = source
    return made


def to_state(book: Book, symbols: Sequence[str], uids: Sequence[int], keep: set[int], t: int) -> dict[str, Any]:
    """What a book holds after bar ``t``, as plain values: the account, symbols that matter, lots, and the orders still
    of use.

    ``uids`` numbers the book's orders; those in ``keep`` are written beside the working ones and those of open lots.
    Bars are numbered so that ``t`` is the last. NaN is None.
    """
    lots = open_lots(book)
    return {"t": t, "account": account_state(book), "symbols": symbol_states(book, symbols, mattering(book)),
            "lots": lot_states(book, symbols, uids, lots),
            "orders": order_states(book, symbols, uids, useful_orders(book, uids, keep, lots))}


def account_state(book: Book) -> dict[str, Any]:
    """The account's own fields."""
    return {name: _plain(book[name]) for name in _KEPT}


def mattering(book: Book) -> np.ndarray:
    """Columns of the symbols that something is held or wanted of."""
    return np.flatnonzero((book.position != 0.0) | ~np.isnan(book.wanted) | ~np.isnan(book.standing))


def symbol_rows(book: Book, columns: np.ndarray) -> np.ndarray:
    """(4, len(columns)): what is kept of these symbols."""
    return np.array([getattr(book, name)[columns] for name in _SYMBOL_FIELDS])


def symbol_states(book: Book, symbols: Sequence[str], columns: np.ndarray) -> dict[str, Any]:
    """These symbols, by name."""
    values = zip(*map(_column, symbol_rows(book, columns)), strict=True)
    return {symbols[i]: dict(zip(_SYMBOL_FIELDS, row, strict=True))
            for i, row in zip(columns.tolist(), values, strict=True)}


def open_lots(book: Book) -> list[int]:
    """Rows of the open lots: by symbol, the oldest first."""
    following, found = book.lots["next"][: book["n_lots"]].tolist(), []
    for lot in book.head[book.head >= 0].tolist():
        while lot >= 0:
            found.append(lot)
            lot = following[lot]
    return found


def lot_numbers(book: Book, uids: Sequence[int], lots: list[int]) -> list[tuple[int, int, int]]:
    """Numbers of the lots' orders: entry, stop, target; -1 where there is none."""
    rows = [book.lots[name][lots].tolist() for name in ("entry_order", "stop_order", "target_order")]
    return [(uids[entry], _uid(uids, stop), _uid(uids, target)) for entry, stop, target in zip(*rows, strict=True)]


def lot_states(book: Book, symbols: Sequence[str], uids: Sequence[int], lots: list[int]) -> list[dict[str, Any]]:
    """These lots."""
    records = book.lots[lots]
    return [{"symbol": symbols[i], "entry": entry, "stop_leg": stop, "target_leg": target, "entry_bar": bar, **values}
            for i, (entry, stop, target), bar, values in zip(
                records["symbol"].tolist(), lot_numbers(book, uids, lots), records["entry_bar"].tolist(),
                _records(records, _LOT_FIELDS), strict=True)]


def useful_orders(book: Book, uids: Sequence[int], keep: Iterable[int], lots: list[int]) -> list[int]:
    """Rows of the orders that work, of those of open lots, and of those in ``keep``."""
    orders = book.rows("orders")
    useful = orders["status"] == WORKING
    for name in ("entry_order", "stop_order", "target_order"):
        rows = book.lots[name][lots]
        useful[rows[rows >= 0]] = True
    keep = list(keep)
    if keep:
        useful |= np.isin(np.asarray(uids[: len(orders)], np.int64), keep)
    return np.flatnonzero(useful).tolist()


def open_orders(book: Book) -> set[int]:
    """Rows of the orders that the engine has at work."""
    return set(book.working[: book["n_open"]].tolist())


def order_states(book: Book, symbols: Sequence[str], uids: Sequence[int], rows: list[int]) -> list[dict[str, Any]]:
    """These orders."""
    records, at_work = book.orders[rows], open_orders(book)
    return [{"uid": uids[row], "symbol": symbols[symbol], "decided": decided, "open": row in at_work, **values}
            for row, symbol, decided, values in zip(
                rows, records["symbol"].tolist(), records["decided"].tolist(), _records(records, _ORDER_FIELDS),
                strict=True)]


def from_state(state: Mapping[str, Any], settings: tuple[Any, ...], market: MarketArrays, fees: np.ndarray,
               symbols: Sequence[str], t: int) -> tuple[Book, list[int]]:
    """The book that `to_state` described, and the numbers of its orders. ``t`` is the bar to go on from.

    Every symbol in the state must be among ``symbols``.
    """
    book = Book(settings, market, NO_ACTIONS, fees, 0.0)
    column = {symbol: i for i, symbol in enumerate(symbols)}
    while 2 * (len(state["orders"]) + len(state["lots"])) + 64 > book["room"]:
        book.grow()
    for name, value in state["account"].items():
        book.world[name] = math.nan if value is None else value
    for symbol, values in state["symbols"].items():
        for name, value in values.items():
            getattr(book, name)[column[symbol]] = _number(value)
    uids = [int(o["uid"]) for o in state["orders"]]
    row = {uid: i for i, uid in enumerate(uids)} | {-1: -1}
    open_rows = []
    for i, o in enumerate(state["orders"]):
        record = book.orders[i]
        for name in _ORDER_FIELDS:
            record[name] = _number(o[name])
        record["symbol"], record["lot"], record["closed"] = column[o["symbol"]], -1, -1
        record["decided"] = max(0, t - _age(state, o, "decided"))
        if o["open"]:
            open_rows.append(i)
    book.working[: len(open_rows)] = open_rows
    last: dict[int, int] = {}
    for i, lot in enumerate(state["lots"]):
        record, symbol = book.lots[i], column[lot["symbol"]]
        for name in _LOT_FIELDS:
            record[name] = _number(lot[name])
        record["symbol"], record["next"], record["legs_from"] = symbol, -1, t
        record["entry_bar"] = max(0, t - _age(state, lot, "entry_bar"))
        record["entry_order"] = row[int(lot["entry"])]
        for name, key in (("stop_order", "stop_leg"), ("target_order", "target_leg")):
            record[name] = row[int(lot[key])]
            if record[name] >= 0 and book.orders["purpose"][record[name]] in (STOP_LEG, TARGET_LEG):
                book.orders["lot"][record[name]] = i
        if symbol in last:
            book.lots["next"][last[symbol]] = i
        else:
            book.head[symbol] = i
        last[symbol] = i
    held = sorted(last)
    book.held[: len(held)] = held
    counts = {"n_orders": len(uids), "n_open": len(open_rows), "n_lots": len(state["lots"]), "n_held": len(held),
              "free_lot": -1}
    for name, count in counts.items():
        book.world[name] = count
    return book, uids


def entry_of(book: Book, row: int) -> int:
    """The row of the entry that a leg's lot came from, -1 when it has no lot."""
    lot = int(book.orders["lot"][row])
    return int(book.lots["entry_order"][lot]) if lot >= 0 and book.orders["purpose"][row] != ENTRY else -1


def _age(state: Mapping[str, Any], one: Mapping[str, Any], bar: str) -> int:
    """How many bars before the last it was; earlier versions wrote that itself."""
    return int(one["age"]) if "age" in one else int(state["t"]) - int(one[bar])


def _records(rows: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Records as maps of plain values."""
    columns = [_column(rows[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _column(values: np.ndarray) -> list[Any]:
    """An array as plain values."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values.tolist()
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    plain[np.isinf(values)] = [_plain(value) for value in values[np.isinf(values)]]
    return plain.tolist()


def _uid(uids: Sequence[int], row: Any) -> int:
    return uids[row] if row >= 0 else -1


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def _number(value: Any) -> Any:
    return math.nan if value is None else float(value) if isinstance(value, str) else value
