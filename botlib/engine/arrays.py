"""Views of the world's arrays for compiled code: each takes the `WORLD` record and says what it returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from botlib._jit import compiled
from botlib.engine.state import ACTION, FEES, FILL, HALT, LOT, ORDER, PAYABLE, TRADE


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
def phases(w):
    """(T,) int8: REGULAR, LAST or OUTSIDE."""
    return carray(_pointer(w.phases_at), (w.bars,), np.int8)


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
