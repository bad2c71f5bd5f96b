"""What the engine works on: the records of settings, market and account, and the names of their codes.

Because all state is in these records, a run can stop at any bar, be looked at or given more room from Python, and go
on: ready targets run to the end in one call, ``on_bar`` strategies bar by bar. `arrays` gives compiled code views of
them, `book` owns them.
"""

from __future__ import annotations

import math

import numpy as np

# Order purposes, statuses and reasons. The text is what tables show.
ENTRY, EXIT, REDUCE, STOP_LEG, TARGET_LEG = range(5)
PURPOSES = ("entry", "exit", "reduce", "stop", "target")
NAMED_EXIT = 5  # of a trade: an exit order that the strategy named itself
WORKING, DONE, CANCELLED, EXPIRED, REJECTED = range(5)
STATUSES = ("working", "filled", "cancelled", "expired", "rejected")
(R_NONE, R_HALTED, R_REDUCE_ONLY, R_ORDER_LIMIT, R_POSITION_LIMIT, R_BUYING_POWER, R_BELOW_ONE_SHARE, R_NO_SHORTS,
 R_HELD, R_SESSION_CLOSE, R_PARTIAL, R_OCO, R_EXIT, R_REPLACED, R_KILL, R_NO_PRICE, R_OPPOSITE,
 R_WHOLE_SHORTS, R_ASKED, R_LEGS, R_STOP_SIDE, R_LEG_PRICE, R_ONE_DOLLAR,
 R_BROKER) = range(24)
REASONS = ("", "halted", "reduce-only", "daily order limit", "position limit", "buying power", "below one share",
           "no shorts in a cash account", "held for orders", "session close", "partly filled", "other leg filled",
           "position exit", "replaced", "kill switch", "no price",
           "opposite side order exists", "shorts are in whole shares", "the strategy asked",
           "legs within a cent of the price", "stop price on the wrong side of the market",
           "a target of zero or less", "fractional buy below one dollar", "the broker")
KINDS = ("market", "limit", "stop")

REGULAR, LAST, OUTSIDE = range(3)
"""Phases of a bar: in its regular session, the last one there (day orders expire at its close), or outside of it."""

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
    ("costs", "f8"), ("slippage", "f8"),
], align=True)

LOT = np.dtype([
    ("symbol", "i4"), ("next", "i4"), ("entry_bar", "i4"), ("entry_order", "i4"), ("stop_order", "i4"),
    ("target_order", "i4"), ("legs_from", "i4"), ("side", "i1"), ("legs", "?"), ("triggered", "?"), ("quantity", "f8"),
    ("entry_price", "f8"), ("cost_per_share", "f8"), ("slip_per_share", "f8"), ("stop", "f8"),
    ("target", "f8"), ("cap", "f8"),
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
GROWING = {"working": np.dtype("i8"), "lots": LOT, "orders": ORDER, "fills": FILL, "trades": TRADE, "halts": HALT,
           "payable": PAYABLE}
ADDRESSES = (*PANELS, "sessions", "phases", "actions", "fee_rows", "equity_curve", "gross_curve", *PER_SYMBOL,
              *GROWING)

WORLD_FIELDS = [*SETTINGS, *ACCOUNT, ("bars", "i8"), ("symbols", "i8"), ("n_actions", "i8"), ("n_fee_rows", "i8"),
                ("room", "i8"), *((f"{name}_at", "i8") for name in ADDRESSES)]
WORLD = np.dtype(WORLD_FIELDS, align=True)
"""Everything the compiled code works on, in one record: settings, account, and where the arrays are.

Numba counts references for each array an ordinary call passes on; with some thirty arrays that costs more than the
engine's own work. So the record holds their addresses, and `arrays` makes views of them.
`book.Book` owns the arrays and outlives every run.
"""
