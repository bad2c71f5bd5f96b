"""What the engine works on: settings, market and account, as one record and the arrays it points to.

Because all state is here, a run can stop at any bar, be looked at or given more room from Python, and go on: ready
targets run to the end in one call, ``on_bar`` strategies bar by bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from botlib._jit import compiled

# Order purposes, statuses and reasons. The text is what tables show.
ENTRY, EXIT, REDUCE, STOP_LEG, TARGET_LEG = range(5)
PURPOSES = ("entry", "exit", "reduce", "stop", "target")
WORKING, DONE, CANCELLED, EXPIRED, REJECTED = range(5)
STATUSES = ("working", "filled", "cancelled", "expired", "rejected")
(R_NONE, R_HALTED, R_REDUCE_ONLY, R_ORDER_LIMIT, R_POSITION_LIMIT, R_BUYING_POWER, R_BELOW_ONE_SHARE, R_NO_SHORTS,
 R_HELD, R_SESSION_CLOSE, R_PARTIAL, R_OCO, R_EXIT, R_REPLACED, R_KILL, R_NO_PRICE, R_OPPOSITE) = range(17)
REASONS = ("", "halted", "reduce-only", "daily order limit", "position limit", "buying power", "below one share",
           "no shorts in a cash account", "held for orders", "session close", "partly filled", "other leg filled",
           "position exit", "replaced", "kill switch", "no price",
           "opposite side order exists")
KINDS = ("market", "limit", "stop")

NO_LEG = math.nan
"""The price of a leg that does not exist."""

SETTINGS = [
    ("textbook", "?"), ("shares", "?"), ("fractional", "?"), ("cash_account", "?"), ("safety", "?"), ("flatten", "?"),
    ("fees", "?"), ("first_decision", "i8"), ("tolerance_pct", "f8"), ("max_position_pct", "f8"),
    ("stop_loss_pct", "f8"),
    ("take_profit_pct", "f8"), ("max_gross_pct", "f8"), ("commission_bps", "f8"), ("commission_per_share", "f8"),
    ("commission_min", "f8"), ("slippage_bps", "f8"), ("impact_bps", "f8"), ("participation_pct", "f8"),
    ("borrow_pct", "f8"), ("margin_pct", "f8"), ("max_drawdown_pct", "f8"), ("max_daily_loss_pct", "f8"),
    ("max_position_size_pct", "f8"), ("max_orders", "i8"),
]
ACCOUNT = [
    ("cash", "f8"), ("receivable", "f8"), ("reserved", "f8"), ("equity", "f8"), ("gross", "f8"), ("peak", "f8"),
    ("day_start", "f8"), ("fees_paid", "f8"), ("commissions", "f8"), ("slippage", "f8"), ("interest", "f8"),
    ("dividends", "f8"),
    ("traded", "f8"), ("action", "i8"), ("fee_row", "i8"), ("day_orders", "i8"), ("n_orders", "i8"), ("n_fills", "i8"),
    ("n_trades", "i8"), ("n_halts", "i8"), ("n_open", "i8"), ("n_held", "i8"), ("n_lots", "i8"), ("free_lot", "i8"),
    ("state", "i8"), ("daily_halt", "?"), ("n_clipped", "i8"), ("n_payable", "i8"),
    ("session", "i8"),
]
ORDER = np.dtype([
    ("symbol", "i4"), ("decided", "i4"), ("closed", "i4"), ("lot", "i4"), ("side", "i1"), ("kind", "i1"),
    ("purpose", "i1"), ("status", "i1"), ("reason", "i1"), ("triggered", "?"), ("named", "?"),
    ("quantity", "f8"), ("filled", "f8"),
    ("limit", "f8"), ("stop", "f8"), ("stop_loss", "f8"), ("take_profit", "f8"), ("notional", "f8"),
    ("reserved", "f8"), ("before", "f8"),
], align=True)

FILL = np.dtype([
    ("order", "i4"), ("symbol", "i4"), ("bar", "i4"), ("side", "i1"), ("at_open", "?"), ("quantity", "f8"),
    ("price", "f8"), ("commission", "f8"), ("fees", "f8"),
    ("slippage", "f8"),
], align=True)

TRADE = np.dtype([
    ("symbol", "i4"), ("entry_bar", "i4"), ("exit_bar", "i4"), ("entry_order", "i4"), ("exit_order", "i4"),
    ("side", "i1"), ("purpose", "i1"), ("quantity", "f8"), ("entry_price", "f8"), ("exit_price", "f8"), ("pnl", "f8"),
    ("costs", "f8"),
], align=True)

LOT = np.dtype([
    ("symbol", "i4"), ("next", "i4"), ("entry_bar", "i4"), ("entry_order", "i4"), ("stop_order", "i4"),
    ("target_order", "i4"), ("legs_from", "i4"), ("side", "i1"), ("legs", "?"), ("triggered", "?"), ("quantity", "f8"),
    ("entry_price", "f8"), ("cost_per_share", "f8"), ("stop", "f8"), ("target", "f8"), ("cap", "f8"),
], align=True)

HALT = np.dtype([("bar", "i4"), ("limit", "i1"), ("state", "i1"), ("value_pct", "f8"), ("limit_pct", "f8")], align=True)
HALT_LIMITS = ("max_drawdown_pct", "max_daily_loss_pct")
STATES = ("active", "reduce-only", "halted")

SPLIT, DIVIDEND = 0, 1
ACTION = np.dtype([("bar", "i4"), ("symbol", "i4"), ("kind", "i1"), ("pay_session", "i4"), ("value", "f8")], align=True)
FEES = np.dtype([("session", "i4"), ("sec_rate", "f8"), ("taf_per_share", "f8"), ("taf_max", "f8"),
                 ("cat_per_share", "f8")], align=True)
PAYABLE = np.dtype([("session", "i4"), ("amount", "f8")], align=True)


# Arrays by the name under which the world holds their address. Those of records have spare room at their end.
PANELS = ("open", "high", "low", "close", "volume")  # (T, N) float64, read only
PER_SYMBOL = {"last_close": "f8", "wanted": "f8", "standing": "f8", "position": "f8", "used": "f8",
              "entry_target": "f8", "held": "i8", "entering": "i8", "head": "i8", "used_bar": "i8"}
_N_NAN = 3  # the first of them start as NaN, the last two as -1, the others as 0
GROWING = {"working": np.dtype("i8"), "lots": LOT, "orders": ORDER, "fills": FILL, "trades": TRADE, "halts": HALT,
           "payable": PAYABLE}
_ADDRESSES = (*PANELS, "sessions", "session_ends", "actions", "fee_rows", "equity_curve", "gross_curve", *PER_SYMBOL,
              *GROWING)
_ROW_STARTS = tuple(accumulate((dtype.itemsize for dtype in GROWING.values()), initial=0))
_ROW_BYTES, _ROW_STARTS = _ROW_STARTS[-1], _ROW_STARTS[:-1]
_ROW_START = dict(zip(GROWING, _ROW_STARTS, strict=True))
_COLUMN = {name: i for i, name in enumerate(PER_SYMBOL)}

WORLD_FIELDS = [*SETTINGS, *ACCOUNT, ("bars", "i8"), ("symbols", "i8"), ("n_actions", "i8"), ("n_fee_rows", "i8"),
                ("room", "i8"), *((f"{name}_at", "i8") for name in _ADDRESSES)]
WORLD = np.dtype(WORLD_FIELDS, align=True)
"""Everything the compiled code works on, in one record: settings, account, and where the arrays are.

Numba counts references for each array an ordinary call passes on; with some thirty arrays that costs more than the
engine's own work. So the record holds their addresses, and the accessors below make views of them. `Book` owns the
arrays and outlives every run.
"""


_WORLD_LAYOUT = Struct("@" + "".join({"?": "?", "i8": "q", "f8": "d"}[kind] for _, kind in WORLD_FIELDS))
_NO_SETTINGS: dict[str, Any] = dict.fromkeys((name for name, _ in SETTINGS), 0)
_NO_ACCOUNT: dict[str, Any] = dict.fromkeys((name for name, _ in ACCOUNT), 0)


@intrinsic
def _pointer(_context: Any, address: Any) -> Any:
    """An integer as a pointer, for `carray`."""

    def codegen(_cgctx: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@compiled()
def floats(address, n):
    """(n,) float64 at an address."""
    return carray(_pointer(address), (n,), np.float64)


@compiled()
def integers(address, n):
    """(n,) int64 at an address."""
    return carray(_pointer(address), (n,), np.int64)


@compiled()
def opens(w):
    """(T, N) opening prices."""
    return carray(_pointer(w.open_at), (w.bars, w.symbols), np.float64)


@compiled()
def highs(w):
    """(T, N) highest prices."""
    return carray(_pointer(w.high_at), (w.bars, w.symbols), np.float64)


@compiled()
def lows(w):
    """(T, N) lowest prices."""
    return carray(_pointer(w.low_at), (w.bars, w.symbols), np.float64)


@compiled()
def closes(w):
    """(T, N) closing prices."""
    return carray(_pointer(w.close_at), (w.bars, w.symbols), np.float64)


@compiled()
def volumes(w):
    """(T, N) volumes."""
    return carray(_pointer(w.volume_at), (w.bars, w.symbols), np.float64)


@compiled()
def equity_curve(w):
    """(T,) account value at each close."""
    return floats(w.equity_curve_at, w.bars)


@compiled()
def gross_curve(w):
    """(T,) market value of longs plus shorts at each close."""
    return floats(w.gross_curve_at, w.bars)


@compiled()
def position(w):
    """(N,) signed shares."""
    return floats(w.position_at, w.symbols)


@compiled()
def last_close(w):
    """(N,) last known close."""
    return floats(w.last_close_at, w.symbols)


@compiled()
def wanted(w):
    """(N,) target last acted on; NaN when flat."""
    return floats(w.wanted_at, w.symbols)


@compiled()
def standing(w):
    """(N,) target still to be reached at the next close (a reversal, an unfinished exit); else NaN."""
    return floats(w.standing_at, w.symbols)


@compiled()
def head(w):
    """(N,) first lot, -1 when none; a symbol's lots are linked oldest first."""
    return integers(w.head_at, w.symbols)


@compiled()
def held(w):
    """(N,) the n_held symbols that have lots, rising."""
    return integers(w.held_at, w.symbols)


@compiled()
def used(w):
    """(N,) volume taken from the bar `used_bar`, under a participation cap."""
    return floats(w.used_at, w.symbols)


@compiled()
def used_bar(w):
    """(N,) see `used`."""
    return integers(w.used_bar_at, w.symbols)


@compiled()
def entering(w):
    """(N,) scratch: symbols to be entered at this close."""
    return integers(w.entering_at, w.symbols)


@compiled()
def entry_target(w):
    """(N,) scratch: their targets."""
    return floats(w.entry_target_at, w.symbols)


@compiled()
def sessions(w):
    """(T,) int32: the exchange date of each bar."""
    return carray(_pointer(w.sessions_at), (w.bars,), np.int32)


@compiled()
def session_ends(w):
    """(T,) bool: the bar after which day orders expire."""
    return carray(_pointer(w.session_ends_at), (w.bars,), np.bool_)


@compiled()
def actions(w):
    """Corporate actions in time order."""
    return carray(_pointer(w.actions_at), (w.n_actions,), ACTION)


@compiled()
def fee_rows(w):
    """Fee rates in time order."""
    return carray(_pointer(w.fee_rows_at), (w.n_fee_rows,), FEES)


@compiled()
def working(w):
    """Ids of working orders that are not legs, oldest first; n_open of them."""
    return carray(_pointer(w.working_at), (w.room,), np.int64)


@compiled()
def orders(w):
    """All orders, n_orders of them."""
    return carray(_pointer(w.orders_at), (w.room,), ORDER)


@compiled()
def lots(w):
    """Open lots and free ones."""
    return carray(_pointer(w.lots_at), (w.room,), LOT)


@compiled()
def fills(w):
    """All executions, n_fills of them."""
    return carray(_pointer(w.fills_at), (w.room,), FILL)


@compiled()
def trades(w):
    """All round trips, n_trades of them."""
    return carray(_pointer(w.trades_at), (w.room,), TRADE)


@compiled()
def halts(w):
    """Safety halts, n_halts of them."""
    return carray(_pointer(w.halts_at), (w.room,), HALT)


@compiled()
def payable(w):
    """Dividends due but not paid, n_payable of them."""
    return carray(_pointer(w.payable_at), (w.room,), PAYABLE)


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
    """What a run reads: the arrays of `PANELS`, the sessions and their ends, and where they lie."""

    shape: tuple[int, int]
    arrays: tuple[np.ndarray, ...]
    addresses: tuple[int, ...]


def market_arrays(panels: Sequence[np.ndarray], sessions: np.ndarray, session_ends: np.ndarray) -> MarketArrays:
    """Ready for a `Book`, and for as many as you like.

    Parameters
    ----------
    panels : five (T, N) float64, C-contiguous
        In the order of `PANELS`.
    sessions : (T,) int32
        Exchange date of each bar, days since 1970-01-01.
    session_ends : (T,) bool
        The bar after which day orders expire.
    """
    arrays = (*panels, np.ascontiguousarray(sessions, dtype=np.int32),
              np.ascontiguousarray(session_ends, dtype=np.bool_))
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
    def given_actions(self) -> np.ndarray:
        """The corporate actions this book was made with."""
        return self._kept[1]

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
