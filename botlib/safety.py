"""The safety controls and their arithmetic: one set of compiled gates for backtest, local exchange and sessions.

Gates fail closed: a missing, NaN or impossible input never passes as "no risk". Exits and cancels are not gated here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from botlib._jit import compiled
from botlib.errors import InputError
from botlib.params import Model, Risk, percent

if TYPE_CHECKING:
    from botlib.gates import OrderState

ACTIVE, REDUCE_ONLY, HALTED = 0, 1, 2
"""Trading states; the strictest (highest) wins. HALTED is latched: only a person lifts it."""
STATE_NAMES = ("active", "reduce-only", "halted")

PASSED = 0
REFUSED_HALTED, REFUSED_REDUCE_ONLY, REFUSED_ORDER_LIMIT, REFUSED_POSITION_LIMIT = 1, 2, 3, 4


class SafetyControls(Model):
    """Limits that stand between a strategy and the account.

    Breaching the drawdown halts trading for good (the kill: working entries are cancelled, protective stops stay); the
    daily loss allows only exits until the next session. What says "sessions:" is checked for each order of a paper or
    live session and not in a backtest.
    """

    max_drawdown_pct: float = percent(0.5, 90.0, 5.0, "kill switch: fall of equity from its peak")
    max_daily_loss_pct: float = percent(0.25, 50.0, 2.0, "reduce-only for the rest of the session: fall from its start")
    max_position_size_pct: float = percent(1.0, 100.0, 10.0, "largest exposure to one symbol, percent of equity")
    max_orders_per_day: int = Field(100, ge=1, le=10_000, description="orders a session that add risk; exits are free")
    require_explicit_enable: bool = Field(True, description="live trading needs its own flag and a typed line")
    on_kill: Literal["keep", "flatten"] = Field("keep", description="what the kill does with open positions")
    max_order_value: float | None = Field(None, ge=1.0, le=1e9, description="sessions: largest entry; null: no limit",
                                          json_schema_extra={"unit": "in dollars"})
    max_gross_exposure_pct: float | None = percent(
        5.0, 400.0, None, "sessions: longs plus shorts and in flight; null: no limit")
    price_collar_pct: float = percent(1.0, 90.0, 20.0, "sessions: most from the last good price, for an entry")
    max_data_age_seconds: float | None = Field(
        None, ge=1.0, le=2_592_000.0, description="sessions: oldest bar for an entry; null: 3 bars, or a day",
        json_schema_extra={"unit": "in seconds"})
    max_adv_pct: float | None = percent(
        0.25, 100.0, None, "sessions: entry's share of 20-day volume; null: no limit")
    exits_alarm_per_day: int = Field(50, ge=1, le=10_000,
                                     description="sessions: exits of a symbol that raise an alarm, and pass")

    def validate(self, state: OrderState) -> tuple[bool, str]:  # type: ignore[override]  # pydantic's is deprecated
        """Whether an order may be sent, and if not why: `botlib.gates.validate` with these limits, in short."""
        from botlib.gates import validate

        gate = validate(self, state)
        return gate.ok, gate.reason


def check_position_limits(risk: Risk, safety: SafetyControls | None) -> None:
    """Refuse a position size that the safety controls would refuse at every entry.

    Raises
    ------
    InputError
        ``risk.max_position_pct`` above ``safety.max_position_size_pct``.
    """
    if safety is not None and risk.max_position_pct > safety.max_position_size_pct:
        raise InputError(f"risk.max_position_pct = {risk.max_position_pct:g} exceeds safety.max_position_size_pct = "
                         f"{safety.max_position_size_pct:g}: every full position would be refused. Lower the first or "
                         "raise the second.")


@compiled()
def fall_pct(value: float, reference: float) -> float:
    """How far ``value`` lies below ``reference``, in percent (5.0 = 5 %); infinite when that cannot be told."""
    if not reference > 0.0:
        return float("inf")
    fall = (1.0 - value / reference) * 100.0
    return fall if fall == fall else float("inf")


@compiled()
def trading_state(equity: float, peak: float, day_start: float, halted: bool, max_drawdown_pct: float,
                  max_daily_loss_pct: float) -> int:
    """ACTIVE, REDUCE_ONLY or HALTED from the account's equity, its peak and its value at the session's start."""
    if halted or not fall_pct(equity, peak) < max_drawdown_pct:
        return HALTED
    if not fall_pct(equity, day_start) < max_daily_loss_pct:
        return REDUCE_ONLY
    return ACTIVE


@compiled()
def entry_gate(state: int, orders_today: int, max_orders_per_day: int, exposure: float, equity: float,
               max_position_size_pct: float) -> int:
    """PASSED, or why a risk-increasing order is refused.

    ``exposure`` is the worst case on the order's side, in dollars: the position, every order that may still add to it,
    and this order.
    """
    if state == HALTED:
        return REFUSED_HALTED
    if state != ACTIVE:
        return REFUSED_REDUCE_ONLY
    if not orders_today < max_orders_per_day:
        return REFUSED_ORDER_LIMIT
    allowed = equity * max_position_size_pct / 100.0
    if not exposure <= allowed * (1.0 + 1e-9):
        return REFUSED_POSITION_LIMIT
    return PASSED
