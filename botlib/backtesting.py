"""`backtest`: a strategy's decisions on history, through the same rules as a session."""

from __future__ import annotations

import copy
import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from botlib import adjust, engine
from botlib.bars import Bars
from botlib.engine.book import Book, MarketArrays, market_arrays, packed_settings
from botlib.engine.state import ACTION, DIVIDEND, FEES, LAST, OUTSIDE, REGULAR, SPLIT
from botlib.errors import BotlibError, InputError, StrategyError, StrategyFailed, nearest, require, warn
from botlib.params import Costs, Risk
from botlib.refusals import refused_orders
from botlib.result import BacktestResult
from botlib.safety import SafetyControls, check_position_limits
from botlib.strategies.base import Strategy, own_warmup
from botlib.strategies.targets import check_targets
from botlib.view import run_on_bar

Convention = Literal["broker", "textbook"]
Adjustment = Literal["raw", "split", "all"]

_DEFAULT_RISK, _DEFAULT_COSTS, _DEFAULT_SAFETY = Risk(), Costs(), SafetyControls()


def backtest(bars: Bars, strategy: Any, *, cash: float = 100_000.0, risk: Risk = _DEFAULT_RISK,
             costs: Costs = _DEFAULT_COSTS, safety: SafetyControls | None = _DEFAULT_SAFETY,
             convention: Convention = "broker",
             signal_adjustment: Adjustment = "split", quiet: bool = False, decide_from: int = 0,
             progress: Callable[[range], Iterable[int]] | None = None) -> BacktestResult:
    """Trade a strategy on history.

    Parameters
    ----------
    bars : Bars
        (T, N) prices as traded; with ``bars.actions``, splits and dividends happen while holding.
    strategy : object
        With ``targets(bars)`` or ``on_bar(view)``; see `botlib.strategies.Strategy`.
    cash : float
        Dollars to start with.
    risk : Risk
        Position size, bracket legs, buying power.
    costs : Costs
        Commission, slippage, fees, interest.
    safety : SafetyControls or None
        The session's limits, applied at each bar's close: a backtest halts where a session would have. None, said
        explicitly, trades without them.
    convention : str
        "broker": what Alpaca would do with our orders. "textbook": as other engines fill, to compare.
    signal_adjustment : str
        Prices the strategy sees: "raw", "split" or "all" (splits and dividends). Orders always use raw prices.
    quiet : bool
        Keep warnings in ``result.warnings`` only.
    decide_from : int
        Number of the first bar that may be decided on: what lies before it is history, as for a session that begins
        there. The strategy's warm-up comes first.
    progress : callable, optional
        Wraps the loop over bars of an ``on_bar`` strategy, e.g. ``tqdm.tqdm``; ready targets need none.

    Returns
    -------
    BacktestResult
        Array-backed; its tables are built when asked for.

    Raises
    ------
    InputError
        A parameter out of range. Also when ``risk.max_position_pct`` exceeds ``safety.max_position_size_pct``.
    StrategyError
        The strategy raises, or returns something else than targets.
    """
    _check_inputs(bars, strategy, cash, risk, costs, safety, convention, signal_adjustment)
    warnings = _doubtful(strategy)
    given = strategy if dataclasses.is_dataclass(strategy) else copy.copy(strategy)  # before it has seen the bars
    if convention == "broker":
        bars = _in_name_order(bars)
    book = account_book(bars, strategy, float(cash), risk, costs, safety, convention)
    if decide_from > book["first_decision"]:
        book.world["first_decision"] = decide_from
    if hasattr(strategy, "on_bar"):
        run_on_bar(bars, strategy, book, signal_adjustment, progress or iter)
        targets = None
    else:
        targets = strategy_targets(strategy, bars, signal_adjustment)
        engine.run_targets(book, targets)
    result = BacktestResult(bars=bars, strategy=strategy, cash=float(cash), risk=risk, costs=costs, safety=safety,
                            convention=convention, signal_adjustment=signal_adjustment, book=book, warnings=warnings,
                            given=given)
    _late_warnings(result, quiet, targets)
    return result


# --- Inputs -----------------------------------------------------------------------------------------------------------


def _check_inputs(bars: Bars, strategy: Any, cash: float, risk: Risk, costs: Costs, safety: SafetyControls | None,
                  convention: str, signal_adjustment: str) -> None:
    require("bars", bars)
    for name, given, kind in (("risk", risk, Risk), ("costs", costs, Costs)):
        if not isinstance(given, kind):
            raise InputError(f"{name} is a {type(given).__name__}; it must be {kind.__name__}(…).")
    if safety is not None and not isinstance(safety, SafetyControls):
        raise InputError(f"safety is a {type(safety).__name__}; it must be SafetyControls(…), or None for no limits.")
    for name, value, valid in (("convention", convention, get_args(Convention)),
                               ("signal_adjustment", signal_adjustment, get_args(Adjustment))):
        if value not in valid:
            raise InputError(f"{name} = {value!r} is unknown; valid: {', '.join(valid)}{nearest(value, valid)}")
    if isinstance(cash, bool) or not isinstance(cash, numbers.Real) or not (math.isfinite(cash) and cash > 0):
        raise InputError(f"cash = {cash!r} is out of range: valid is a number of dollars above 0.")
    if isinstance(strategy, type):
        raise InputError(f"strategy is the class {strategy.__name__}; give an instance: {strategy.__name__}().")
    if not (hasattr(strategy, "targets") or hasattr(strategy, "on_bar")):
        raise StrategyError(f"{type(strategy).__name__} has neither targets(bars) nor on_bar(view); define one.")
    if getattr(strategy, "unit", None) not in ("weight", "shares"):
        raise StrategyError(f"{type(strategy).__name__}.unit = {getattr(strategy, 'unit', None)!r}; "
                            'it must say what targets are: "weight" or "shares".')
    check_position_limits(risk, safety)


def _doubtful(strategy: Any) -> list[str]:
    """Warnings that the strategy's class alone gives."""
    if hasattr(strategy, "on_bar") and getattr(type(strategy), "targets", Strategy.targets) is not Strategy.targets:
        return [f"targets-unused: {type(strategy).__name__} has both on_bar and targets; on_bar is asked and targets "
                "never is. Take one of them out."]
    return []


def strategy_targets(strategy: Any, bars: Bars, signal_adjustment: str, *, own_warmups: bool = True) -> np.ndarray:
    """(T, N) checked targets, as a rule without those of symbols still in their own warm-up.

    Whatever the strategy's own code raises is its fault, said in one sentence.
    """
    seen = bars.signal_view(signal_adjustment) if bars.actions is not None else bars
    try:
        targets = strategy.targets(seen)
    except BotlibError:
        raise
    except (Exception, SystemExit) as error:  # a strategy does not end the process
        raise StrategyFailed(f"{type(strategy).__name__}.targets raised {describe_error(error)}") from error
    return ready_targets(targets, strategy, bars, own_warmups=own_warmups)


def ready_targets(targets: Any, strategy: Any, bars: Bars, *, own_warmups: bool = True) -> np.ndarray:
    """(T, N) of what ``strategy.targets`` returned, checked, as `strategy_targets` gives them."""
    targets = check_targets(targets, bars, strategy)
    return _after_own_warmup(targets, bars, warmup_bars(strategy)) if own_warmups else targets


def _after_own_warmup(targets: np.ndarray, bars: Bars, warmup: int) -> np.ndarray:
    """Targets with those of a symbol's own warm-up taken out; the panel's warm-up is the engine's to keep."""
    rows = bars.memo(f"own warm-up {warmup}", lambda: own_warmup(bars, warmup))
    if rows:
        targets = targets.copy()
        for i, first in rows.items():
            targets[:first, i] = np.nan
        targets.flags.writeable = False  # as all targets are: numba compiles once
    return targets


def describe_error(error: BaseException) -> str:
    """``"ValueError: … (file.py, line 12)"``, the innermost line of the user's own code."""
    place = ""
    tb = error.__traceback__
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if "botlib" not in tb.tb_frame.f_globals.get("__name__", "").split(".")[:1] and "site-packages" not in file:
            cell = _cell(tb.tb_frame.f_globals, file)
            line = f"line {tb.tb_lineno}"
            place = f" ({cell}, {line})" if cell else f" ({line} of {file.rsplit('/', 1)[-1]})"
        tb = tb.tb_next
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}{place}"


def _cell(names: Mapping[str, Any], file: str) -> str:
    """``"cell In [3]"`` when ``file`` is what the notebook with these global names calls a cell, else ``""``."""
    try:
        label, number = names["get_ipython"]().compile.format_code_name(file)
    except Exception:  # no notebook, no cell of it, or an IPython that tells it otherwise
        return ""
    return f"{label} {number}".replace("Cell In[", "cell In [") if number else ""


def _in_name_order(bars: Bars) -> Bars:
    """The same bars with their columns in the order of symbol names, in which a broker run works."""
    order = sorted(range(len(bars.symbols)), key=bars.symbols.__getitem__)
    if order == list(range(len(order))):
        return bars
    made: Bars = bars.memo("in name order", lambda: bars.reordered(order))
    return made


def warmup_bars(strategy: Any) -> int:
    """The strategy's warm-up, checked."""
    warmup = getattr(strategy, "warmup", 0)
    if isinstance(warmup, bool) or not isinstance(warmup, (int, np.integer)) or warmup < 0:
        raise StrategyError(f"{type(strategy).__name__}.warmup = {warmup!r}; it must be a whole number of bars, "
                            "0 or more.")
    return int(warmup)


def account_book(bars: Bars, strategy: Any, cash: float, risk: Risk, costs: Costs, safety: SafetyControls | None,
          convention: str) -> Book:
    """The account before the first bar."""
    actions = _NO_ACTIONS
    if bars.actions is not None and len(bars.actions) and bars.adjustment == "raw":
        actions = bars.memo("acting", lambda: _actions(bars))  # a sweep makes thousands of books of the same bars
    fees = fee_table(int(bars.sessions[0]), int(bars.sessions[-1]), costs)
    settings = engine_settings(risk, costs, safety, strategy, textbook=convention == "textbook")
    return Book(settings, market_of(bars), actions, fees, cash)


def market_of(bars: Bars) -> MarketArrays:
    """The engine's arrays of bars."""
    made: MarketArrays = bars.memo("market", lambda: market_arrays(
        [bars.open, bars.high, bars.low, bars.close, bars.volume], bars.sessions, _phases(bars)))
    return made


def engine_settings(risk: Risk, costs: Costs, safety: SafetyControls | None, strategy: Any, *,
                    textbook: bool = False) -> tuple[Any, ...]:
    """The engine's settings of a run, as `Book` takes them."""
    return _settings(risk, costs, safety, textbook, strategy.unit, warmup_bars(strategy),
                     getattr(strategy, "rebalance_tolerance_pct", None))


def fee_table(first: int, last: int, costs: Costs) -> np.ndarray:
    """The dated fee rates between two sessions, as `Book` takes them."""
    return _fee_rows(first, last)[0] if costs.regulatory_fees else _NO_FEES


def _phases(bars: Bars) -> np.ndarray:
    """(T,) int8, for the engine."""
    return np.where(bars.in_session, np.where(bars.last_session_bar, LAST, REGULAR), OUTSIDE).astype(np.int8)


@lru_cache(maxsize=64)
def _settings(risk: Risk, costs: Costs, safety: SafetyControls | None, textbook: bool, unit: str, warmup: int,
              tolerance_pct: float | None) -> tuple[Any, ...]:
    """The engine's settings; absent limits and legs are infinite or NaN, so that nothing branches on them."""
    settings = {
        "textbook": textbook, "shares": unit == "shares", "fractional": risk.fractional,
        "cash_account": risk.account == "cash", "fees": costs.regulatory_fees, "first_decision": warmup,
        "tolerance_pct": _or(tolerance_pct, math.nan), "max_position_pct": risk.max_position_pct,
        "stop_loss_pct": _or(risk.stop_loss_pct, math.nan), "take_profit_pct": _or(risk.take_profit_pct, math.nan),
        "max_gross_pct": risk.max_gross_exposure_pct, "commission_bps": costs.commission_bps,
        "commission_per_share": costs.commission_per_share, "commission_min": costs.commission_min,
        "slippage_bps": costs.slippage_bps, "impact_bps": costs.volume_impact_bps,
        "participation_pct": _or(costs.max_participation_pct, math.inf), "borrow_pct": costs.borrow_rate_pct,
        "margin_pct": costs.margin_rate_pct,
    }
    if safety is not None:
        settings |= {
            "safety": True, "flatten": safety.on_kill == "flatten", "max_drawdown_pct": safety.max_drawdown_pct,
            "max_daily_loss_pct": safety.max_daily_loss_pct, "max_position_size_pct": safety.max_position_size_pct,
            "max_orders": safety.max_orders_per_day,
        }
    return packed_settings(settings)


def _or(value: float | None, absent: float) -> float:
    return absent if value is None else value


_NO_ACTIONS = np.zeros(0, ACTION)
_NO_FEES = np.zeros(1, FEES)


def _actions(bars: Bars) -> np.ndarray:
    """(A,) ACTION, as `adjust.acting` says."""
    table = adjust.acting(bars.actions, bars.symbols, bars.sessions)
    out = np.zeros(len(table), ACTION)
    out["bar"], out["symbol"], out["value"] = table["bar"], table["column"], table["value"]
    out["kind"] = np.where(table["type"] == "split", SPLIT, DIVIDEND)
    out["pay_session"] = table["pay_session"]
    return out


def _uncovered_fees(result: BacktestResult) -> list[str]:
    """A warning when fills fell on days whose fee rates are not confirmed."""
    from botlib.fees import fee_rates

    days = np.unique(result.bars.sessions[result.book.rows("fills")["bar"]])
    uncovered = fee_rates(days).uncovered if len(days) else []
    return ["fees-uncovered: " + " ".join(uncovered)] if uncovered else []


@lru_cache(maxsize=32)
def _fee_rows(first: int, last: int) -> tuple[np.ndarray, list[str]]:
    """The fee table of `botlib.fees` between two sessions, as the engine reads it."""
    from botlib.fees import fee_rates

    days = np.arange(first, last + 1)
    rates = fee_rates(days)
    rows = np.zeros(len(days), FEES)
    rows["session"], rows["sec_rate"], rows["taf_per_share"] = days, rates.sec_rate, rates.taf_per_share
    rows["taf_max"], rows["cat_per_share"] = rates.taf_max, rates.cat_per_share
    same = np.all([rows[name][1:] == rows[name][:-1] for name in (FEES.names or ())[1:]], axis=0)
    return rows[np.concatenate([[True], ~same])], rates.uncovered


def _unit_hint(targets: np.ndarray | None) -> str:
    """What to do when no clipped weight can have been meant as one."""
    sizes = np.abs(targets[np.nan_to_num(targets) != 0.0]) if targets is not None else np.empty(0)
    if not len(sizes) or sizes.min() <= 1.0:
        return ""
    least = sizes.min()
    return (f" All targets are above 1, and a weight of {least:g} is {least * 100.0:g} % of equity: if they are share "
            'counts, write unit = "shares" in the class; if they are percent, divide by 100.')


def _late_warnings(result: BacktestResult, quiet: bool, targets: np.ndarray | None) -> None:
    """What only the run could show."""
    clipped = result.book["n_clipped"]
    if clipped:
        result.warnings.append(f"weights-clipped: {clipped:,} targets exceeded risk.max_position_pct = "
                               f"{result.risk.max_position_pct:g} and were cut to it.{_unit_hint(targets)}")
    result.warnings.extend(refused_orders(result.book.rows("orders"), result.bars.sessions, result.bars.symbols))
    if result.costs.regulatory_fees and _fee_rows(int(result.bars.sessions[0]), int(result.bars.sessions[-1]))[1]:
        result.warnings.extend(_uncovered_fees(result))
    for text in () if quiet else result.warnings:
        name, _, message = text.partition(": ")
        warn(name, message, stacklevel=4)
