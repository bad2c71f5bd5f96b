"""`Book`: the owner of the arrays behind one run, laid out for speed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from botlib.engine.state import ACCOUNT, GROWING, PER_SYMBOL, SETTINGS, WORLD, WORLD_FIELDS

_N_NAN = 3  # the first columns of `PER_SYMBOL` start as NaN, the last two as -1, the others as 0
_ROW_STARTS = tuple(accumulate((dtype.itemsize for dtype in GROWING.values()), initial=0))
_ROW_BYTES, _ROW_STARTS = _ROW_STARTS[-1], _ROW_STARTS[:-1]
_ROW_START = dict(zip(GROWING, _ROW_STARTS, strict=True))
_COLUMN = {name: i for i, name in enumerate(PER_SYMBOL)}
_WORLD_LAYOUT = Struct("@" + "".join({"?": "?", "i8": "q", "f8": "d"}[kind] for _, kind in WORLD_FIELDS))
_NO_SETTINGS: dict[str, Any] = dict.fromkeys((name for name, _ in SETTINGS), 0)
_NO_ACCOUNT: dict[str, Any] = dict.fromkeys((name for name, _ in ACCOUNT), 0)


def _address(array: np.ndarray) -> int:
    """Where an array's data starts; records are looked at as bytes, for which numpy answers at once."""
    if array.dtype.names is not None:
        array = array.view(np.uint8)
    address: int = array.__array_interface__["data"][0]
    return address


def packed_settings(values: dict[str, Any]) -> tuple[Any, ...]:
    """Values for the fields of `SETTINGS` in their order; one that is not given is 0."""
    return tuple((_NO_SETTINGS | values).values())


class MarketArrays(NamedTuple):
    """What a run reads: the arrays of `PANELS`, the sessions and phases, and where they lie."""

    shape: tuple[int, int]
    arrays: tuple[np.ndarray, ...]
    addresses: tuple[int, ...]


def market_arrays(panels: Sequence[np.ndarray], sessions: np.ndarray, phases: np.ndarray) -> MarketArrays:
    """Ready for a `Book`, and for as many as you like.

    Parameters
    ----------
    panels : five (T, N) float64, C-contiguous
        In the order of `PANELS`.
    sessions : (T,) int32
        Exchange date of each bar, days since 1970-01-01.
    phases : (T,) int8
        REGULAR, LAST or OUTSIDE.
    """
    arrays = (*panels, np.ascontiguousarray(sessions, dtype=np.int32),
              np.ascontiguousarray(phases, dtype=np.int8))
    return MarketArrays(panels[0].shape, arrays, tuple(_address(a) for a in arrays))


class Book:
    """Owner of the arrays behind one run; each array of `PER_SYMBOL` and `GROWING` is an attribute.

    Parameters
    ----------
    settings : tuple
        See `packed_settings`.
    market : tuple of arrays and their addresses
        See `market_arrays`.
    actions : (A,) ACTION
    fee_rows : (K,) FEES, at least one row
    cash : float
    """

    def __init__(self, settings: tuple[Any, ...], market: MarketArrays, actions: np.ndarray, fee_rows: np.ndarray,
                 cash: float) -> None:
        n_bars, n_symbols = market.shape
        room = 256 + 16 * n_symbols  # small enough to come from memory that is warm already
        self._kept = (market.arrays, actions, fee_rows)  # alive as long as their addresses are in use
        # The run's own arrays lie one after the other in two blocks: those of fixed size, and those that grow.
        self._fixed = np.empty(2 * n_bars + len(PER_SYMBOL) * n_symbols)
        self._growing = np.empty(room * _ROW_BYTES, np.uint8)
        self._room = room
        self.equity_curve, self.gross_curve = self._fixed[:n_bars], self._fixed[n_bars : 2 * n_bars]
        start = _address(self._fixed)
        per_symbol = range(start + 16 * n_bars, start + 8 * self._fixed.size, 8 * n_symbols)
        account = _NO_ACCOUNT | {"cash": cash, "equity": cash, "peak": cash, "day_start": cash, "free_lot": -1,
                                 "session": -(2**31)}
        self.world = np.frombuffer(bytearray(_WORLD_LAYOUT.pack(
            *settings, *account.values(), n_bars, n_symbols, len(actions), len(fee_rows), room,
            *market.addresses, _address(actions), _address(fee_rows), start, start + 8 * n_bars, *per_symbol,
            *self._growing_addresses(room),
        )), WORLD)
        self._columns = columns = self._fixed[2 * n_bars :].reshape(len(PER_SYMBOL), n_symbols)
        columns[:_N_NAN] = np.nan
        columns[_N_NAN:-2] = 0.0
        columns[-2:].view(np.int64)[:] = -1

    @property
    def columns(self) -> np.ndarray:
        """(K, N) float64: the arrays of `PER_SYMBOL`, one after the other."""
        return self._columns

    @property
    def given_actions(self) -> np.ndarray:
        """The corporate actions this book was made with."""
        return self._kept[1]

    @property
    def given_fees(self) -> np.ndarray:
        """The dated fee rates this book was made with."""
        return self._kept[2]

    def _growing_addresses(self, room: int) -> list[int]:
        """Where each array of `GROWING` starts."""
        at = _address(self._growing)
        return [at + room * first for first in _ROW_STARTS]

    def __getattr__(self, name: str) -> np.ndarray:
        """One of the run's own arrays, as a view."""
        if name in PER_SYMBOL:
            array = self._columns[_COLUMN[name]].view(PER_SYMBOL[name])
        elif name in GROWING:
            first, dtype = self._room * _ROW_START[name], GROWING[name]
            array = self._growing[first : first + self._room * dtype.itemsize].view(dtype)
        else:
            raise AttributeError(name)
        self.__dict__[name] = array  # found there from now on
        return array

    def __getitem__(self, name: str) -> Any:
        """A field of the world: ``book["cash"]``."""
        return self.world[name][0].item()

    def rows(self, name: str) -> np.ndarray:
        """The used part of "orders", "fills", "trades" or "halts"."""
        return getattr(self, name)[: self["n_" + name]]

    def grow(self) -> None:
        """Four times the room in every array that grows."""
        old = {name: getattr(self, name) for name in GROWING}
        room = 4 * self._room
        self._growing = np.empty(room * _ROW_BYTES, np.uint8)
        for name, address in zip(GROWING, self._growing_addresses(room), strict=True):
            self.world[name + "_at"] = address
        self.world["room"] = self._room = room
        for name, rows in old.items():
            del self.__dict__[name]
            getattr(self, name)[: len(rows)] = rows
