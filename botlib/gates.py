"""The gates every order of a session passes before it is sent: pure functions of a snapshot. They fail closed.

An order that adds risk passes only if all that is asked about is known and finite and within the limits. An exit needs
less: that it reduces the position, by no more than is held and not on its way out already. Limits of size, state and
age never stop an exit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from botlib import safety
from botlib.errors import InputError
from botlib.order_state import OrderState, count, finite, flag, not_negative, positive, within
from botlib.safety import SafetyControls

__all__ = ["ENTRY_RULES", "EXIT_RULES", "Gate", "OrderState", "Rule", "validate"]

_ROUNDING = 1.0 + 1e-9  # as in `safety.entry_gate`
_SHARE_DECIMALS = 9  # of a fractional share at Alpaca


class Gate(NamedTuple):
    """The answer. ``rule`` is the kebab-case name of what refused, ``reason`` a sentence; both "" when ``ok``.

    ``alarm`` is a sentence for a person about an order that passes all the same, or "".
    """

    ok: bool
    rule: str = ""
    reason: str = ""
    alarm: str = ""


class Rule(NamedTuple):
    """``check`` gives why an order is refused, or ""."""

    name: str
    check: Callable[[SafetyControls, OrderState], str]


# --- What must be known ---------------------------------------------------------------------------------------------


def _side(value: Any) -> bool:
    return isinstance(value, str) and value in ("buy", "sell")


def _state(value: Any) -> bool:
    return count(value) and int(value) in (safety.ACTIVE, safety.REDUCE_ONLY, safety.HALTED)


def _always(_controls: SafetyControls) -> bool:
    return True


def _known(field: str, valid: Callable[[Any], bool], what: str,
           needed: Callable[[SafetyControls], bool] = _always) -> Rule:
    """Refuses what is missing, and what is no such value even where it is not needed."""

    def check(controls: SafetyControls, state: OrderState) -> str:
        value = getattr(state, field)
        if value is None:
            return f"{field} is not known" if needed(controls) else ""
        return "" if valid(value) else f"{field} = {value!r} is not {what}"

    return Rule("unknown-" + field.replace("_", "-"), check)


def _limits_gross(controls: SafetyControls) -> bool:
    return controls.max_gross_exposure_pct is not None


_KNOWN_OF_ANY = (
    _known("side", _side, "buy or sell"),
    _known("qty", positive, "a number of shares above 0"),
    _known("position", finite, "a number of shares"),
)
_KNOWN_OF_ENTRIES = (
    _known("price", positive, "a price above 0"),
    _known("last_good_price", positive, "a price above 0"),
    _known("working_same_side_qty", not_negative, "a number of shares"),
    _known("orders_today", count, "a count"),
    _known("equity", positive, "an amount above 0"),
    _known("data_age_seconds", not_negative, "an age in seconds"),
    _known("usual_data_age_seconds", positive, "an age in seconds", lambda c: c.max_data_age_seconds is None),
    _known("gross", not_negative, "an amount", _limits_gross),
    _known("working_gross", not_negative, "an amount", _limits_gross),
    _known("account_equity", positive, "an amount above 0", _limits_gross),
    _known("adv", not_negative, "an average volume", lambda c: c.max_adv_pct is not None),
)


# --- Limits -----------------------------------------------------------------------------------------------------------


def _sign(state: OrderState) -> int:
    return 1 if state.side == "buy" else -1


def _worst_price(state: OrderState) -> float:
    return max(state.price or math.inf, state.last_good_price or math.inf)


def _value(state: OrderState) -> float:
    return (state.qty or math.inf) * _worst_price(state)


def _on_side(state: OrderState) -> float:
    """Worst case on the order's side: positions and orders of the other side are never netted against it."""
    return max(0.0, _sign(state) * (state.position or 0.0)) + (state.working_same_side_qty or 0.0) + (state.qty or 0.0)


def _entry_gate(controls: SafetyControls, state: OrderState) -> int:
    """The gate that backtests use too."""
    now = safety.HALTED if state.latched or state.state is None else int(state.state)
    return safety.entry_gate(now, int(state.orders_today or 0), controls.max_orders_per_day,
                             float(_on_side(state) * _worst_price(state)), float(state.equity or math.nan),
                             controls.max_position_size_pct)


def _state_gate(controls: SafetyControls, state: OrderState) -> int:
    """What the trading state alone says: asked before the numbers are looked at."""
    now = safety.HALTED if state.latched or state.state is None else int(state.state)
    return safety.entry_gate(now, 0, controls.max_orders_per_day, 0.0, 1.0, controls.max_position_size_pct)


def _halted(controls: SafetyControls, state: OrderState) -> str:
    refused = _state_gate(controls, state) == safety.REFUSED_HALTED
    return "trading is halted; only a person lifts that" if refused else ""


def _reduce_only(controls: SafetyControls, state: OrderState) -> str:
    return "only exits are allowed now" if _state_gate(controls, state) == safety.REFUSED_REDUCE_ONLY else ""


def _blocked(_controls: SafetyControls, state: OrderState) -> str:
    return "the broker has blocked the account" if state.account_blocked else ""


def _jumped(_controls: SafetyControls, state: OrderState) -> str:
    if not state.unexplained_jump:
        return ""
    return ("its prices jumped like a split that no corporate action explains, so what the strategy makes of them "
            "may be wrong")


def _collar(controls: SafetyControls, state: OrderState) -> str:
    price, good = state.price or math.nan, state.last_good_price or math.nan
    if within(price, good, controls.price_collar_pct):
        return ""
    return (f"the price {price:,.4f} is {abs(price / good - 1.0) * 100.0:.1f} % from the last good one, {good:,.4f}; "
            f"price_collar_pct is {controls.price_collar_pct:g}")


def _data_age(controls: SafetyControls, state: OrderState) -> str:
    limit = controls.max_data_age_seconds or state.usual_data_age_seconds or math.nan
    age = state.data_age_seconds if state.data_age_seconds is not None else math.nan
    return "" if age <= limit else f"the bar it was decided on is {age:,.0f} seconds old; {limit:,.0f} are allowed"


def _order_limit(controls: SafetyControls, state: OrderState) -> str:
    if _entry_gate(controls, state) != safety.REFUSED_ORDER_LIMIT:
        return ""
    return f"{state.orders_today} orders added risk today; max_orders_per_day is {controls.max_orders_per_day}"


def _position_limit(controls: SafetyControls, state: OrderState) -> str:
    if _entry_gate(controls, state) == safety.PASSED:
        return ""
    share = _on_side(state) * _worst_price(state) / (state.equity or math.nan) * 100.0
    return (f"it could bring the position to {share:.2f} % of equity; max_position_size_pct is "
            f"{controls.max_position_size_pct:g}")


def _order_value(controls: SafetyControls, state: OrderState) -> str:
    limit = controls.max_order_value
    if limit is None or _value(state) <= limit * _ROUNDING:
        return ""
    return f"it is worth ${_value(state):,.2f}; max_order_value is ${limit:,.2f}"


def _gross_exposure(controls: SafetyControls, state: OrderState) -> str:
    limit = controls.max_gross_exposure_pct
    if limit is None:
        return ""
    parts = (state.gross, state.working_gross)
    total = sum(math.nan if part is None else part for part in parts) + _value(state)
    share = total / (state.account_equity or math.nan) * 100.0
    if share <= limit * _ROUNDING:
        return ""
    return f"it could bring gross exposure to {share:.2f} % of equity; max_gross_exposure_pct is {limit:g}"


def _average_volume(controls: SafetyControls, state: OrderState) -> str:
    limit = controls.max_adv_pct
    if limit is None or (state.qty or math.inf) <= (state.adv or 0.0) * limit / 100.0 * _ROUNDING:
        return ""
    return (f"{state.qty:,.9g} shares are more than max_adv_pct = {limit:g} % of the average daily volume, "
            f"{state.adv or 0.0:,.0f}")


def _exit_side(_controls: SafetyControls, state: OrderState) -> str:
    reduces = _sign(state) * (state.position or 0.0) < 0.0
    return "" if reduces else f"a {state.side} does not reduce a position of {state.position:,.9g} shares"


def _exit_size(_controls: SafetyControls, state: OrderState) -> str:
    free = _shares(abs(state.position or 0.0)) - _shares(state.working_exits_qty or 0.0)
    if _shares(state.qty or 0.0) <= free:
        return ""
    return (f"{state.qty:,.15g} shares are more than the {max(0.0, float(free)):,.15g} that are held and not on their "
            "way out already")


def _shares(quantity: float) -> Decimal:
    """As it is written, so that 0.3 - 0.1 is 0.2."""
    return Decimal(repr(round(float(quantity), _SHARE_DECIMALS)))


ENTRY_RULES: tuple[Rule, ...] = (
    _known("state", _state, "a trading state"),
    _known("latched", flag, "true or false"),
    Rule("halted", _halted),
    Rule("reduce-only", _reduce_only),
    _known("account_blocked", flag, "true or false"),
    Rule("account-blocked", _blocked),
    *_KNOWN_OF_ANY,
    *_KNOWN_OF_ENTRIES,
    _known("unexplained_jump", flag, "true or false"),
    Rule("unadjusted-split", _jumped),
    Rule("price-collar", _collar),
    Rule("data-age", _data_age),
    Rule("order-limit", _order_limit),
    Rule("position-limit", _position_limit),
    Rule("order-value", _order_value),
    Rule("gross-exposure", _gross_exposure),
    Rule("average-volume", _average_volume),
)
"""Gates of an order that adds risk, in the order in which they are asked: each may rely on those before it."""

EXIT_RULES: tuple[Rule, ...] = (
    *_KNOWN_OF_ANY,
    _known("working_exits_qty", not_negative, "a number of shares"),
    Rule("exit-side", _exit_side),
    Rule("exit-size", _exit_size),
)
"""Gates of an exit."""


def validate(controls: SafetyControls, state: OrderState) -> Gate:
    """Whether this order may be sent now. The first rule that refuses answers.

    Never raises for a value: a number that is missing, NaN, infinite, negative or of a wrong type is a refusal. An
    exit beyond ``exits_alarm_per_day`` passes with an alarm.

    Raises
    ------
    InputError
        ``state`` is no `OrderState`.
    """
    if not isinstance(state, OrderState):
        raise InputError(f"state is a {type(state).__name__}; it must be botlib.gates.OrderState(…).")
    if not flag(state.adds_risk):
        return _refused(state, "unknown-adds-risk", "whether it adds risk is not known")
    for rule in ENTRY_RULES if state.adds_risk else EXIT_RULES:
        if reason := rule.check(controls, state):
            return _refused(state, rule.name, reason)
    return Gate(True, alarm="" if state.adds_risk else _runaway(controls, state))


def _refused(state: OrderState, rule: str, reason: str) -> Gate:
    order = " ".join(str(part) for part in (state.side, state.symbol) if part)
    return Gate(False, rule, f"{order or 'order'} refused, {rule}: {reason}.")


def _runaway(controls: SafetyControls, state: OrderState) -> str:
    if count(state.exits_today) and (state.exits_today or 0) < controls.exits_alarm_per_day:
        return ""
    so_far = f"{state.exits_today} exits" if count(state.exits_today) else "an unknown number of exits"
    return (f"{state.symbol or 'the symbol'} has had {so_far} today (alarm at {controls.exits_alarm_per_day}): "
            "look whether something buys and sells in a circle.")
