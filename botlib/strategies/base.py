"""What a strategy is: frozen parameters, a unit, a warm-up, and targets.

A user's own strategy is about ten lines::

    @dataclass(frozen=True)
    class Breakout(Strategy):
        lookback: int = param(55, low=5, high=400, help="bars in the channel")
        weight: float = param(0.10, low=0.01, high=1.0, help="fraction of equity")

        @property
        def warmup(self):
            return self.lookback

        def targets(self, bars):
            top = indicators.highest(bars.high, self.lookback, lag=1)
            bottom = indicators.lowest(bars.low, self.lookback, lag=1)
            return targets_from_signals(bars.close > top, bars.close < bottom, self.weight)
"""

from __future__ import annotations

import builtins
import dataclasses
import math
import numbers
import sys
import types
import typing
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError, StrategyError

UNITS = ("weight", "shares")
_PLAIN = {"int": int, "float": float, "str": str, "bool": bool}


@runtime_checkable
class StrategyLike(Protocol):
    """The protocol; inherit `Strategy` to get parameter checks for free.

    ``unit`` is "weight" (targets are fractions of equity, 0.10 = 10 %) or "shares". ``warmup`` is the number of bars
    after which more history changes no target: nothing is decided before bar index ``warmup``. ``targets(bars)`` gives
    a (T, N) array or a labelled frame: positive long, negative short, 0 flat, NaN keep. A strategy that must see its
    own positions defines ``on_bar(view)`` instead.
    """

    unit: ClassVar[str]

    @property
    def warmup(self) -> int: ...


def param(default: Any, *, low: float | None = None, high: float | None = None, help: str = "") -> Any:
    """A strategy parameter with its valid range (inclusive) and a word of help; the widgets and the tuner read both.

    Its annotation is checked too: int, float, str, bool, a union of them with None, or a Literal.
    """
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "help": help})


class Strategy:
    """Base of strategies: checks each dataclass field's type and range, raising `InputError`.

    Attributes
    ----------
    unit : str
        "weight" (default) or "shares".
    rebalance_tolerance_pct : float or None
        None (default): a target equal to the one held never rebalances. A number: it does once the position is
        further than this from its target, in percent of equity. May be a parameter.
    """

    unit: ClassVar[str] = "weight"
    rebalance_tolerance_pct: float | None = None

    def __init__(self) -> None:
        # A dataclass brings its own __init__: only a class that is none comes here.
        check_class(type(self))

    def __post_init__(self) -> None:
        check_class(type(self))
        check_parameters(self)

    @property
    def warmup(self) -> int:
        """Bars after which more history changes no target; nothing is decided before bar index ``warmup``."""
        return 0

    def targets(self, bars: Bars) -> np.ndarray:
        """(T, N) targets; NaN keeps."""
        raise NotImplementedError(f"{type(self).__name__} defines no targets(bars).")


def check_class(cls: type) -> None:
    """Raise `StrategyError` unless ``cls`` can be a strategy: a frozen dataclass that gives targets."""
    name = cls.__name__
    # A Field that still stands in the class was never made a parameter: this class lacks the decorator.
    raw = [k for k, v in vars(cls).items() if isinstance(v, dataclasses.Field)]
    if not dataclasses.is_dataclass(cls) or raw:
        what = f" (its parameter '{raw[0]}' would be ignored)" if raw else ""
        raise StrategyError(f"{name} is not a dataclass{what}: write @dataclass(frozen=True) above 'class {name}'.")
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise StrategyError(f"{name} is not frozen: write @dataclass(frozen=True) above 'class {name}'.")
    gives_targets = getattr(cls, "targets", Strategy.targets) is not Strategy.targets
    if not gives_targets and not hasattr(cls, "on_bar"):
        raise StrategyError(f"{name} has no targets(bars) and no on_bar(view): define one of them.")
    if getattr(cls, "unit", None) not in UNITS:
        raise StrategyError(f"{name}.unit = {getattr(cls, 'unit', None)!r}: it must be one of {', '.join(UNITS)}.")
    if not hasattr(cls, "warmup"):
        raise StrategyError(f"{name} has no warmup: the number of bars after which more history changes no target.")


def check_parameters(strategy: Any) -> None:
    """Raise `InputError` for a parameter of the wrong type or out of its range; numpy scalars become plain numbers."""
    for field in dataclasses.fields(strategy):
        label = f"{type(strategy).__name__}.{field.name}"
        value = getattr(strategy, field.name)
        plain = _checked_type(label, value, allowed_kinds(field, type(strategy)))
        if plain is not value:
            object.__setattr__(strategy, field.name, plain)
        low, high = field.metadata.get("low"), field.metadata.get("high")
        if isinstance(plain, float) and not math.isfinite(plain):
            raise InputError(f"{label} = {value!r}: it must be a finite number.")
        below = low is not None and isinstance(plain, (int, float)) and plain < low
        above = high is not None and isinstance(plain, (int, float)) and plain > high
        if below or above:
            raise InputError(f"{label} = {value!r} is out of range: valid is {range_text(low, high)}.")


def range_text(low: float | None, high: float | None) -> str:
    """``"1 to 100"``, ``"at least 1"``, ``"at most 100"`` or ``""``."""
    if low is None:
        return "" if high is None else f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def allowed_kinds(field: dataclasses.Field[Any], cls: type) -> tuple[Any, ...]:
    """The types and literal values a field's annotation names; empty when it is none that can be checked."""
    annotation: Any = field.type
    if annotation in _PLAIN or annotation in _PLAIN.values():
        return (_PLAIN.get(annotation, annotation),)
    if isinstance(annotation, str):  # from __future__ import annotations
        module = sys.modules.get(cls.__module__)  # gone for a strategy that was loaded from a file: typing's names do
        names = {**vars(builtins), **vars(typing), **(vars(module) if module else {})}
        try:
            annotation = eval(annotation, names)  # as typing.get_type_hints does
        except Exception:
            return ()
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = typing.get_args(annotation) if union else (annotation,)
    return kinds if all(k in (*_PLAIN.values(), type(None)) for k in kinds) else ()


def _checked_type(label: str, value: Any, kinds: tuple[Any, ...]) -> Any:
    """``value`` as a plain Python value of one of ``kinds``."""
    literals = [k for k in kinds if not isinstance(k, type)]
    if not kinds or type(value) in kinds or any(type(value) is type(k) and value == k for k in literals):
        return value
    if isinstance(value, np.bool_) and bool in kinds:
        return bool(value)
    if not isinstance(value, (bool, np.bool_)):
        if isinstance(value, numbers.Integral) and int in kinds:
            return int(value)
        if isinstance(value, numbers.Real) and float in kinds:
            return float(value)
    if isinstance(value, str) and str in kinds:
        return str(value)
    valid = " or ".join(k.__name__.replace("NoneType", "None") if isinstance(k, type) else repr(k) for k in kinds)
    raise InputError(f"{label} = {value!r} is {_a(type(value).__name__)}; it must be {valid}.")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
