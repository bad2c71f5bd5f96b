"""What can be turned of a strategy: for each parameter the values of a slider or a menu, from its dataclass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from botlib.errors import InputError, nearest
from botlib.params import Risk, valid_range
from botlib.strategies.base import MEMBERS, allowed_kinds, check_parameters, parameters, range_text

RISK = ("stop_loss_pct", "take_profit_pct")
"""Fields of `Risk` that are turned like parameters of the strategy."""

_PERCENTS = (None, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0,
             50.0)
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Choice:
    """One parameter and the values it may take.

    Attributes
    ----------
    name : str
    values : tuple
        In order; a None ("none") comes first.
    value : object
        The one to begin with, always among ``values``.
    ordered : bool
        Numbers: a slider, and an axis of a surface. Words are a menu.
    help : str
        What it is, and its range.
    """

    name: str
    values: tuple[Any, ...]
    value: Any
    ordered: bool
    help: str


def choices_of(strategy: Any, risk: Risk, given: Mapping[str, Iterable[Any]] | None = None,
               most: int = 32) -> tuple[Choice, ...]:
    """The choices of a strategy's parameters, and of stop and target.

    Numbers take about ``most`` values within their declared range (`botlib.param`): evenly spaced, or by ratio where
    the value lies in the lowest quarter of the range, as periods do. Without a range it is a quarter to four times the
    value. A parameter whose values cannot be listed, such as free text, is left as it is.

    Parameters
    ----------
    strategy : object
        With the values to begin with.
    risk : Risk
        Has stop and target to begin with.
    given : mapping, optional
        Values of a person's own, by name.
    most : int

    Raises
    ------
    InputError
        ``given`` names no parameter, or holds values that it cannot take.
    """
    cls, own = type(strategy), dict(given or {})
    found: list[Choice] = []
    for field in parameters(cls):
        if not field.init or field.metadata.get(MEMBERS):
            continue
        value, kinds = getattr(strategy, field.name), allowed_kinds(field, cls)
        low, high = field.metadata.get("low"), field.metadata.get("high")
        words = "; ".join(filter(None, [field.metadata.get("help", ""), range_text(low, high)]))
        mine = own.pop(field.name, None)
        values = _listed(value, kinds, low, high, most) if mine is None else _own(strategy, field.name, mine)
        if len(values) > 1 or mine is not None:
            found.append(_choice(field.name, values, value, words or field.name))
    taken = {choice.name for choice in found} | {field.name for field in parameters(cls)}
    for name in RISK:
        if name not in taken and not risk.fractional:
            about = Risk.model_fields[name]
            mine = own.pop(name, None)
            percents = _PERCENTS if mine is None else _own_risk(risk, name, mine)
            words = f"{str(about.description).split(';')[0]}; none, or {valid_range(about).split(' (')[0]}"
            found.append(_choice(name, percents, getattr(risk, name), words))
    for name in own:
        valid = [choice.name for choice in found]
        raise InputError(f"values: {name!r} is no parameter of {cls.__name__} that can be turned"
                         f"{nearest(name, valid) or '.'} Valid: {', '.join(valid)}.")
    return tuple(found)


def _choice(name: str, values: Iterable[Any], value: Any, words: str) -> Choice:
    known = list(dict.fromkeys(values))
    if value not in known:
        known.append(value)
    ordered = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in known)
    if ordered:
        known.sort(key=lambda v: -math.inf if v is None else v)
    return Choice(name, tuple(known), value, ordered, words)


def _listed(value: Any, kinds: tuple[Any, ...], low: float | None, high: float | None, most: int) -> tuple[Any, ...]:
    """All values of a parameter, by its type; none where they cannot be listed."""
    if not kinds or str in kinds:
        return ()
    if bool in kinds:
        return (False, True)
    if int not in kinds and float not in kinds:
        return tuple(None if kind is type(None) else kind for kind in kinds)  # a Literal's
    whole = float not in kinds
    if value is None or isinstance(value, bool):
        if low is None or high is None:
            return ()
        middle = math.sqrt(low * high) if low > 0.0 else 0.5 * (low + high)
    else:
        middle = float(value)
    if (low is None or high is None) and middle == 0.0:
        return ()
    ends = sorted((middle / 4.0, middle * 4.0))
    low, high = ends[0] if low is None else low, ends[1] if high is None else high
    numbers = _spaced(low, high, middle, whole, most)
    return ((None,) if type(None) in kinds else ()) + tuple(numbers)


def _spaced(low: float, high: float, value: float, whole: bool, most: int) -> list[Any]:
    if whole:
        low, high = math.ceil(low), math.floor(high)
        if high - low < most:
            return list(range(low, high + 1))
    if low >= 0.0 and value - low < 0.25 * (high - low):
        start = low if low > 0.0 else 1.0 if whole else max(value, high / 100.0) / 20.0
        found: list[float] = []
        for count in range(most, 6 * most):  # rounded, some fall together
            raw = np.geomspace(start, high, count)
            found = sorted({low} | {min(max(_two_digits(v, whole), low), high) for v in raw})
            if len(found) >= most:
                break
    else:
        size = (high - low) / (1.25 * most)
        power = 10.0 ** math.floor(math.log10(size))
        step = next(n * power for n in _NICE if n * power >= size * (1.0 - 1e-12))
        step = max(step, 1.0) if whole else step
        first = math.ceil(low / step - 1e-9)
        found = [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]
    return [int(round(v)) for v in found] if whole else [float(v) for v in found]


def _two_digits(value: float, whole: bool) -> float:
    digits = 1 - math.floor(math.log10(value))
    return float(round(value, min(digits, 0) if whole else digits))


def _own(strategy: Any, name: str, given: Any) -> tuple[Any, ...]:
    """A person's values, each checked by itself: with which others it goes together is the strategy's to say."""
    cls = type(strategy)
    checked = []
    for value in _list(name, given):
        one = object.__new__(cls)
        for field in parameters(cls):
            object.__setattr__(one, field.name, value if field.name == name else getattr(strategy, field.name))
        check_parameters(one)
        checked.append(getattr(one, name))
    return tuple(checked)


def _own_risk(risk: Risk, name: str, given: Any) -> tuple[Any, ...]:
    values = [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in _list(name, given)]
    return tuple(getattr(Risk(**risk.model_dump() | {name: value}), name) for value in values)


def _list(name: str, given: Any) -> list[Any]:
    if not isinstance(given, list | tuple) or not given:
        raise InputError(f"values: {name} = {given!r} must be a list of at least one value, e.g. [10, 14, 20].")
    return list(given)
