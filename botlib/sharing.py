"""What many parameter points have in common is computed once: arrays that know how they were made.

A sweep gives its strategy bars whose panels are `Shared` arrays. NumPy arithmetic and comparisons on them, and the
functions of `botlib.indicators`, look their result up by how it is made before they compute it, so a strategy shares
its indicators and signals between parameter points without a word about it. Whatever else a strategy does with such
an array gives an ordinary one: never wrong, only not shared. Shared arrays are read-only.
"""

from __future__ import annotations

import copy
import numbers
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

MEMORY = 8 * 2**20
"""Bytes of results that one memo keeps, or eight panels where they are larger; the longest unused go first."""


class Memo:
    """Results by how they were made, and names for what is not an array of numbers."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._made: OrderedDict[Hashable, Shared] = OrderedDict()
        self._numbers: dict[Hashable, int] = {}

    def number(self, how: Hashable) -> int:
        """A short name for a way of making: keys of keys would grow without end."""
        return self._numbers.setdefault(how, len(self._numbers))

    def get(self, how: Hashable, make: Callable[[], np.ndarray]) -> Shared:
        """What ``make()`` gives, from memory if it is there."""
        found = self._made.get(how)
        if found is not None:
            self._made.move_to_end(how)
            return found
        made = shared(make(), self, self.number(how))
        self._made[how] = made
        self.used += made.nbytes
        while self.used > self.limit and len(self._made) > 1:
            _, gone = self._made.popitem(last=False)
            self.used -= gone.nbytes
        return made


class Shared(np.ndarray):
    """A read-only array with a name that says how it was made; see the module."""

    name: int | None
    memo: Memo | None

    def __array_finalize__(self, origin: Any) -> None:
        self.name = self.memo = None  # a view or a copy is something else

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        key = None if method != "__call__" or options or ufunc.nout != 1 else key_of(inputs)
        plain = [np.asarray(x) if isinstance(x, Shared) else x for x in inputs]
        if key is None:
            if "out" in options and any(isinstance(x, Shared) for x in options["out"]):
                raise ValueError("output array is read-only")
            return getattr(ufunc, method)(*plain, **options)
        memo, names = key
        return memo.get((ufunc.__name__, names), lambda: ufunc(*plain))


def shared(values: np.ndarray, memo: Memo, name: int) -> Shared:
    """A read-only view of ``values`` under a name."""
    view = np.ascontiguousarray(values).view(Shared)
    view.flags.writeable = False
    view.name, view.memo = name, memo
    return view


def key_of(inputs: Any) -> tuple[Memo, tuple[Hashable, ...]] | None:
    """The memo and the names of inputs that are shared arrays and numbers; None when anything else is among them."""
    memo: Memo | None = None
    names: list[Hashable] = []
    for x in inputs:
        if isinstance(x, Shared) and x.name is not None and x.memo is not None:
            if memo is not None and memo is not x.memo:
                return None
            memo = x.memo
            names.append(("array", x.name))
        elif isinstance(x, numbers.Number | np.generic):
            names.append((type(x).__name__, x))
        else:
            return None
    return None if memo is None else (memo, tuple(names))


def shared_bars(bars: Any, memo: Memo) -> Any:
    """The same bars with shared panels."""
    made = copy.copy(bars)
    for n, field in enumerate(("open", "high", "low", "close", "volume")):
        setattr(made, field, shared(getattr(bars, field), memo, memo.number(("bars", n))))
    made.extra = {name: shared(panel, memo, memo.number(("extra", name))) for name, panel in bars.extra.items()}
    return made


class Signals:
    """Long-only targets that have not been spelled out: ``weight`` on an entry, 0 on an exit, NaN (keep) on every other
    bar; an exit wins. As an array they are (T, N) float64."""

    def __init__(self, entries: Shared, exits: Shared, weight: float) -> None:
        self.entries, self.exits, self.weight = entries, exits, weight

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = np.where(self.exits, 0.0, np.where(self.entries, self.weight, np.nan))
        return found if dtype is None else found.astype(dtype)
