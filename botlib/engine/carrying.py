"""A book goes on: on more bars, or from what was written down of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    Bars are told as how many ago they were. NaN is None.
    """
    orders, lots = book.rows("orders"), book.lots
    held = np.flatnonzero(book.head >= 0).tolist()
    chains = [(i, lot) for i in held for lot in _chain(book, i)]
    useful = orders["status"] == WORKING
    for _, lot in chains:
        for name in ("entry_order", "stop_order", "target_order"):
            if lots[name][lot] >= 0:
                useful[lots[name][lot]] = True
    if keep:
        useful |= np.isin(np.asarray(uids[: len(orders)], np.int64), list(keep))
    rows = np.flatnonzero(useful)
    is_open = set(book.working[: book["n_open"]].tolist())
    matters = np.flatnonzero((book.position != 0.0) | ~np.isnan(book.wanted) | ~np.isnan(book.standing)).tolist()
    at = [lot for _, lot in chains]
    return {
        "account": {name: _plain(book[name]) for name in _KEPT},
        "symbols": {symbols[i]: dict(zip(_SYMBOL_FIELDS, values, strict=True)) for i, values in zip(
            matters, zip(*(_column(getattr(book, name)[matters]) for name in _SYMBOL_FIELDS), strict=True),
            strict=True)},
        "lots": [{"symbol": symbols[i], "entry": uids[lots["entry_order"][lot]], "age": t - int(lots["entry_bar"][lot]),
                  "stop_leg": _uid(uids, lots["stop_order"][lot]), "target_leg": _uid(uids, lots["target_order"][lot]),
                  **values} for (i, lot), values in zip(chains, _records(lots[at], _LOT_FIELDS), strict=True)],
        "orders": [{"uid": uids[row], "symbol": symbols[symbol], "age": t - decided, "open": row in is_open, **values}
                   for row, symbol, decided, values in zip(
                       rows.tolist(), orders["symbol"][rows].tolist(), orders["decided"][rows].tolist(),
                       _records(orders[rows], _ORDER_FIELDS), strict=True)],
    }


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
        record["decided"] = max(0, t - int(o["age"]))
        if o["open"]:
            open_rows.append(i)
    book.working[: len(open_rows)] = open_rows
    last: dict[int, int] = {}
    for i, lot in enumerate(state["lots"]):
        record, symbol = book.lots[i], column[lot["symbol"]]
        for name in _LOT_FIELDS:
            record[name] = _number(lot[name])
        record["symbol"], record["next"], record["legs_from"] = symbol, -1, t
        record["entry_bar"] = max(0, t - int(lot["age"]))
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


def _chain(book: Book, symbol: int) -> list[int]:
    """A symbol's lots, oldest first."""
    lot, found = int(book.head[symbol]), []
    while lot >= 0:
        found.append(lot)
        lot = int(book.lots["next"][lot])
    return found


def _records(rows: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Records as maps of plain values."""
    columns = [_column(rows[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _column(values: np.ndarray) -> list[Any]:
    """An array as plain values."""
    plain: list[Any] = values.tolist()
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return plain
    return [_plain(value) for value in plain]


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
