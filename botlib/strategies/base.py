"""What a strategy is: frozen parameters, a unit, a warm-up, and targets or ``on_bar``.

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
import inspect
import math
import numbers
import sys
import types
import typing
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from botlib.bars import Bars
from botlib.errors import InputError, StrategyError, nearest

UNITS = ("weight", "shares")
MEMBERS = "members"
"""In a field's metadata: the parameter holds strategies, a tuple of them."""

_PLAIN = {"int": int, "float": float, "str": str, "bool": bool}


@runtime_checkable
class StrategyLike(Protocol):
    """The protocol: ``unit``, ``warmup``, and ``targets(bars)`` or ``on_bar(view)``, all as `Strategy` describes them.

    Inherit `Strategy` to get parameter checks for free.
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
    """Base of strategies. A subclass defines ``targets(bars)``, or ``on_bar(view)`` when it must see its positions. Of
    a class with both, ``on_bar`` is asked and ``targets`` never is: a warning, targets-unused, says so.

    Parameters are annotated fields of a frozen dataclass; each one's type and range is checked, raising `InputError`.
    A class without parameters needs no decorator.

    ``targets(bars)`` is called once, with all bars, and returns a (T, N) array, or a DataFrame labelled with
    ``bars.index`` and ``bars.symbols``: a target for each bar's close, positive long, negative short, 0 flat, NaN keep.
    Row t may depend on rows up to t only; `botlib.check_honesty` sees whether it does.

    ``on_bar(view)`` is called at the close of every bar from ``warmup`` on. `botlib.View` offers the bars so far and
    the account: position, weight, entry price, cash, equity, open orders. It returns one of

    - None: nothing to do;
    - targets, by the rules that ``targets`` follows: a map {symbol: target} or a Series (a symbol left out keeps), or N
      numbers in the order of ``view.bars.symbols``; ``unit`` governs them;
    - orders: `botlib.buy`, `botlib.sell` (market, limit or stop) and `botlib.cancel`, one of them or a list, carried
      out in this order. Their quantities are shares, whatever ``unit`` says, rounded down to whole ones unless
      ``risk.fractional``.

    What becomes of an order:

    - It meets the next bar first, and is good for the session in which that bar lies: on daily bars for one bar;
      intraday it works until the session's close, when what is not filled expires.
    - One that adds to a position, or opens one, is an entry: it needs buying power, carries the bracket legs of `Risk`
      around its own price, and is refused whole when a limit forbids it (``result.orders`` says which). A partly filled
      entry is over with the bar that filled it: the rest is cancelled, the legs protect what was bought from the next
      bar on. Where `Risk` has one leg only, other entries of the symbol that still work make way for it.
    - A stop that the last price has reached is refused: a sell stop lies below it, a buy stop above.
    - One against a position is an exit. It never sells more than is held, and cancels entries of the symbol that still
      work. A market exit ends the legs; a limit or stop exit is refused while legs hold the shares.
    - What a reduction, or a cancelled or expired exit, leaves is protected again from the next bar on.
    - `botlib.cancel` ends working entries and exits that ``on_bar`` named, never legs.

    State may be kept in ``self`` from bar to bar, but each run must begin the same: set it anew at the first bar
    (``view.t == self.warmup``). A frozen dataclass can keep it in a field that is no parameter,
    ``memory: dict = field(init=False, repr=False, compare=False, default_factory=dict)``.

    Attributes
    ----------
    unit : str
        What targets are: "weight" (default), fractions of equity, 0.10 = 10 %; or "shares".
    warmup : int
        Bars after which more history changes no target (default 0): nothing is decided before bar index ``warmup``. May
        be a property that follows from the parameters.
    rebalance_tolerance_pct : float or None
        None (default): a target equal to the one held never rebalances. A number: it does once the position is
        further than this from its target, in percent of equity. May be a parameter.
    """

    unit: ClassVar[str] = "weight"
    rebalance_tolerance_pct: float | None = None

    def __new__(cls, *unnamed: Any, **named: Any) -> Any:
        if unnamed or named:  # before Python's own TypeError, which names neither the nearest nor the valid ones
            check_names(cls, named, len(unnamed))
        return super().__new__(cls)

    def __init__(self) -> None:
        # A dataclass brings its own __init__: only a class that is none comes here.
        check_class(_kind(self))

    def __post_init__(self) -> None:
        check_class(_kind(self))
        check_parameters(self)

    @property
    def warmup(self) -> int:
        """Bars after which more history changes no target; nothing is decided before bar index ``warmup``."""
        return 0

    def targets(self, bars: Bars) -> np.ndarray:
        """(T, N) targets: positive long, negative short, 0 flat, NaN keeps."""
        raise NotImplementedError(f"{type(self).__name__} defines no targets(bars).")


def _kind(strategy: Any) -> Any:
    return type(strategy)


@lru_cache(maxsize=64)
def check_class(cls: Any) -> None:
    """Raise `StrategyError` unless ``cls`` can be a strategy: it has targets or on_bar, a unit and a warm-up, and its
    parameters, if any, are fields of a frozen dataclass."""
    name = cls.__name__
    for base in cls.__mro__:
        lost = _undeclared(base)
        if lost:
            raise StrategyError(f"{base.__name__} is not a dataclass (its parameter '{lost[0]}' would be ignored): "
                                f"write @dataclass(frozen=True) above 'class {base.__name__}'.")
    if not dataclasses.is_dataclass(cls):
        if cls.__init__ not in (Strategy.__init__, object.__init__):  # type: ignore[misc]
            raise StrategyError(f"{name} has an __init__ of its own, which hides its parameters: write them as fields, "
                                f"'lookback: int = param(20)', and @dataclass(frozen=True) above 'class {name}'.")
    elif not cls.__dataclass_params__.frozen:  # type: ignore[union-attr]
        raise StrategyError(f"{name} is not frozen: write @dataclass(frozen=True) above 'class {name}'.")
    gives_targets = getattr(cls, "targets", Strategy.targets) is not Strategy.targets
    if not gives_targets and not hasattr(cls, "on_bar"):
        raise StrategyError(f"{name} has no targets(bars) and no on_bar(view): define one of them.")
    if getattr(cls, "unit", None) not in UNITS:
        raise StrategyError(f"{name}.unit = {getattr(cls, 'unit', None)!r}: it must be one of {', '.join(UNITS)}.")
    if not hasattr(cls, "warmup"):
        raise StrategyError(f"{name} has no warmup: the number of bars after which more history changes no target.")


def _undeclared(cls: type) -> list[str]:
    """Parameters written into a class that lacks the decorator, which alone would make them some."""
    if cls in (object, Strategy) or cls.__module__ == "typing" or "__dataclass_fields__" in vars(cls):
        return []
    fields = [k for k, v in vars(cls).items() if isinstance(v, dataclasses.Field)]
    try:
        annotated = inspect.get_annotations(cls)
    except NameError:  # newer Pythons look names up only now
        annotated = {}
    return fields + [k for k, a in annotated.items() if k not in ("unit", "warmup") and "ClassVar" not in str(a)]


def own_warmup(bars: Bars, warmup: int) -> dict[int, int]:
    """For each symbol that begins later than the panel: the first row with ``warmup`` bars of its own before it."""
    late = np.flatnonzero(np.isnan(bars.close[0])) if len(bars) else ()
    rows = {}
    for i in late:
        own = np.flatnonzero(~np.isnan(bars.close[:, i]))
        rows[int(i)] = int(own[warmup]) if len(own) > warmup else len(bars)
    return rows


def parameters(strategy: Any) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a strategy or its class; a class that is no dataclass has none."""
    return dataclasses.fields(strategy) if dataclasses.is_dataclass(strategy) else ()


def check_names(cls: type, names: Iterable[Any], unnamed: int = 0) -> None:
    """Raise `InputError` unless ``cls`` takes parameters of these names and so many without a name."""
    if cls.__init__ is Strategy.__init__:  # type: ignore[misc]
        check_class(cls)  # no dataclass: that may be what is wrong with it
    taken = _taken(cls.__init__)  # type: ignore[misc]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in taken):
        return  # an __init__ of its own, which takes anything
    valid = [p.name for p in taken]
    listed = f"Valid: {', '.join(valid) or 'none'}."
    for name in names:
        if name not in valid:
            raise InputError(f"{cls.__name__} has no parameter '{name}'{nearest(name, valid) or '.'} {listed}")
    if unnamed > len(valid):
        raise InputError(f"{cls.__name__} was given {unnamed} values without a name and takes {len(valid)}. {listed}")


@lru_cache(maxsize=64)
def _taken(init: Any) -> tuple[inspect.Parameter, ...]:
    """What an ``__init__`` takes; a sweep makes thousands of one class."""
    return tuple(inspect.signature(init).parameters.values())[1:]


def check_parameters(strategy: Any) -> None:
    """Raise `InputError` for a parameter of the wrong type or out of its range; numpy scalars become plain numbers."""
    cls: Any = type(strategy)
    for name, kinds, low, high in _limits(cls):
        value = plain = getattr(strategy, name)
        if type(value) not in kinds:
            plain = _checked_type(f"{type(strategy).__name__}.{name}", value, kinds)
            if plain is not value:
                object.__setattr__(strategy, name, plain)
        if not isinstance(plain, int | float):
            continue
        if isinstance(plain, float) and not math.isfinite(plain):
            raise InputError(f"{type(strategy).__name__}.{name} = {value!r}: it must be a finite number.")
        if (low is not None and plain < low) or (high is not None and plain > high):
            raise InputError(f"{type(strategy).__name__}.{name} = {value!r} is out of range: valid is "
                             f"{range_text(low, high)}.")


@lru_cache(maxsize=64)
def _limits(cls: Any) -> tuple[tuple[str, tuple[Any, ...], Any, Any], ...]:
    """(name, kinds, low, high) of each parameter; a sweep makes thousands of one class."""
    return tuple((f.name, allowed_kinds(f, cls), f.metadata.get("low"), f.metadata.get("high"))
                 for f in parameters(cls))


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
    what = "" if value is None else f" is {_a(type(value).__name__)}"
    raise InputError(f"{label} = {value!r}{what}; it must be {valid}.")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
