"""What is known as an order is about to be sent: the snapshot that `botlib.gates` looks at, and what fills it.

Also what counts as a number here: of the values, only finite ones of a number's type do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

VOLUME_BARS = 20
_ROUNDING = 1.0 + 1e-9  # as in `safety.entry_gate`


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """What is known as an order is about to be sent. None is "not known", which no order that adds risk passes.

    An order whose outcome is unknown is working: it counts in every ``working_…`` field and in ``orders_today``.
    """

    symbol: str = ""
    adds_risk: bool | None = None
    """False for what can only reduce the position: exits, reductions, protective legs."""
    side: str | None = None
    """"buy" or "sell"."""
    qty: float | None = None
    """Shares of this order."""
    price: float | None = None
    """Reference price: the limit or stop that the order names, else the close it was decided at."""
    last_good_price: float | None = None
    """See `botlib.watch.Watch.last_good`."""
    position: float | None = None
    """Shares held, below 0 when short."""
    working_same_side_qty: float | None = None
    """Shares that working orders may still add on this order's side, without this order."""
    working_exits_qty: float | None = None
    """Shares of the position that working exits may still take out: the largest leg of an OCO group, not their sum."""
    state: int | None = None
    """ACTIVE, REDUCE_ONLY or HALTED."""
    latched: bool | None = None
    """Whether a kill is recorded that nobody has lifted."""
    account_blocked: bool | None = None
    """Whether the broker has blocked trading, transfers or the account."""
    unexplained_jump: bool | None = None
    """Whether the symbol's bars jump like a split that no corporate action explains; see `botlib.bar_jumps`."""
    orders_today: int | None = None
    """Orders that added risk on this exchange date, in all sessions of the ledger."""
    exits_today: int | None = None
    """Exits of this symbol on this exchange date; only the alarm needs it."""
    equity: float | None = None
    """The session's sizing equity, without receivables, in dollars."""
    data_age_seconds: float | None = None
    """Since the decision's bar was final."""
    usual_data_age_seconds: float | None = None
    """See `usual_data_age`; needed where ``max_data_age_seconds`` is not set."""
    gross: float | None = None
    """Longs plus shorts of the whole account, in dollars; needed with ``max_gross_exposure_pct``."""
    working_gross: float | None = None
    """What working entries of all symbols may still add to it; needed with ``max_gross_exposure_pct``."""
    account_equity: float | None = None
    """What gross exposure is measured by: the account's equity; needed with ``max_gross_exposure_pct``."""
    adv: float | None = None
    """Average daily volume, see `average_volume`; needed with ``max_adv_pct``."""


# --- Values -----------------------------------------------------------------------------------------------------------


def finite(value: Any) -> bool:
    """A finite number; true and false are none."""
    if type(value) is float:  # as nearly all are: the rest costs ten times as much
        return math.isfinite(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def positive(value: Any) -> bool:
    """A finite number above 0."""
    return finite(value) and value > 0


def not_negative(value: Any) -> bool:
    """A finite number, 0 or above."""
    return finite(value) and value >= 0


def count(value: Any) -> bool:
    """A whole number, 0 or above."""
    return not_negative(value) and value == int(value)


def flag(value: Any) -> bool:
    """True or false, and nothing that merely looks so."""
    return isinstance(value, bool | np.bool_)


# --- What a session computes for the snapshot -------------------------------------------------------------------------


def within(price: float, reference: float, collar_pct: float) -> bool:
    """Whether a price lies within so many percent of another; False where that cannot be told."""
    return (positive(price) and positive(reference)
            and abs(price / reference - 1.0) * 100.0 <= collar_pct * _ROUNDING)


def usual_data_age(interval_seconds: float, session_seconds: float | None = None) -> float:
    """The oldest bar that may be entered on when no limit is named, in seconds since it was final.

    Three intervals for intraday bars. For daily bars (``interval_seconds`` of a day or more) ``session_seconds``: from
    the bar's session's close to the next session's. NaN, which passes nothing, where that is not given.
    """
    if not positive(interval_seconds):
        return math.nan
    if interval_seconds < 86_400.0:
        return 3.0 * interval_seconds
    return float(session_seconds) if session_seconds is not None and positive(session_seconds) else math.nan


def average_volume(daily_volumes: Sequence[float] | np.ndarray) -> float | None:
    """Mean of the last 20 daily volumes (shares); None when there are fewer, or one of them is no volume."""
    last = np.asarray(daily_volumes[-VOLUME_BARS:], float).tolist()
    if len(last) < VOLUME_BARS or not all(not_negative(volume) for volume in last):
        return None
    return math.fsum(last) / VOLUME_BARS
