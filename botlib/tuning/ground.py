"""The surface under a point: every value of two parameters, searched once, row by row where that takes long.

The rest of the point is its `key`: while it stays, moving along the two parameters searches nothing anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from botlib.errors import InputError
from botlib.tuning.judging import Facts, facts_of
from botlib.tuning.result import METRICS, SweepResult
from botlib.tuning.study import Study, Surface, account_figures

QUICK_SECONDS = 1.5
"""A surface that is expected to take longer is shown row by row."""


@dataclass
class Ground:
    """What is known of a surface.

    Attributes
    ----------
    x, y : str
    xs, ys : tuple
    figures : dict of (len(ys), len(xs)) float64
        By `METRICS`, of the mean account in sample; NaN where the strategy refuses the point, nothing was traded, or
        nothing was searched yet.
    quick : bool
        It is known to take little time, and searched at once.
    rows : int
        Rows that are done, from the first.
    points : int
        Of them, those that are possible.
    results : list of SweepResult
        Of those rows, until they are logged.
    """

    study: Study
    point: Mapping[str, Any]
    x: str
    y: str
    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    figures: dict[str, np.ndarray] = field(init=False)
    quick: bool = False
    rows: int = 0
    points: int = 0
    results: list[SweepResult] = field(default_factory=list)
    _equity: list[np.ndarray] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.x == self.y:
            raise InputError(f"x = y = {self.x!r}: take two different parameters.")
        self.figures = {name: np.full((len(self.ys), len(self.xs)), np.nan) for name in METRICS}

    @property
    def done(self) -> bool:
        return self.rows == len(self.ys)

    def search(self, *, shown: Callable[[], Any] = lambda: None, progress: Callable[[], Any] = lambda: None) -> None:
        """Search what is not searched yet.

        Parameters
        ----------
        shown : function
            Called when there is more to see and more to come.
        progress : function
            Called often; what it raises ends the search, and what was found stays.
        """
        with self._turn:
            began, first = perf_counter(), self.rows
            while not self.done:
                progress()
                left = (perf_counter() - began) / max(1, self.rows - first) * (len(self.ys) - self.rows)
                self.quick = self.quick or (self.rows > first and left < QUICK_SECONDS)
                self._search(self.rows, len(self.ys) if self.quick else self.rows + 1, progress)
                if not self.done:
                    shown()

    def surface(self, metric: str) -> Surface:
        return Surface(self.x, self.y, self.xs, self.ys, metric, self.figures[metric])

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether a point is one of those searched."""
        return (point[self.x] in self.xs and point[self.y] in self.ys[:self.rows]
                and all(point[name] == value for name, value in self.point.items() if name not in (self.x, self.y)))

    def facts(self) -> Facts:
        """What the searching says of itself; once, for it lets the accounts go."""
        equity, self._equity = self._equity, []
        return facts_of(np.concatenate(equity)) if equity else Facts(0)

    def _search(self, first: int, stop: int, progress: Callable[[], Any]) -> None:
        # A value that goes with no other of these is a slip in a grid, and here a blank.
        ys = tuple(y for y in self.ys[first:stop] if any(self._possible(x, y) for x in self.xs))
        xs = tuple(x for x in self.xs if any(self._possible(x, y) for y in ys))
        if xs:
            result = self.study.search(self.point, self.x, xs, self.y, ys, progress=lambda *_: progress())
            where = np.ix_([self.ys.index(v) for v in ys], [self.xs.index(v) for v in xs])
            refused = {row for row, _ in result.impossible}
            equity = result.together()
            found = account_figures(equity, self.study.bars.periods_per_year)
            found["trades"] = np.nansum(result.metric("trades"), axis=0)
            for name, values in found.items():
                values[list(refused)] = np.nan
                self.figures[name][where] = values.reshape(len(ys), len(xs))
            kept = [n for n in range(len(result)) if n not in refused]
            self._equity.append(equity if len(kept) == len(equity) else equity[kept])
            self.points += len(kept)
            self.results.append(replace(result, equity=None))
        self.rows = stop

    def _possible(self, x: Any, y: Any) -> bool:
        """Whether the strategy takes these two together with the rest of the point."""
        try:
            self.study.made({**self.point, self.x: x, self.y: y})
        except InputError:
            return False
        return True
