"""The accounts of a sweep: what they have in common, and the work in pieces."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from botlib import backtesting, engine, sharing
from botlib.backtesting import account_book, backtest, ready_targets, strategy_targets
from botlib.bars import Bars
from botlib.engine.sweeping import FIGURES, next_true, run_signals
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.sharing import Memo, Shared, Signals, shared_bars
from botlib.strategies.base import own_warmup
from botlib.tuning.grid import Grid, Point
from botlib.tuning.result import figures_of

By = Literal["portfolio", "symbol"]

_ROWS_BYTES = 8 * 2**20  # of signals, and of their indices in work, that one batch of accounts shares
_PANELS = 8  # results of a panel's size that are kept for other points
_LEGS = ("stop_loss_pct", "take_profit_pct")


@dataclass(frozen=True)
class Terms:
    """What all points of a sweep are run with; see `botlib.sweep`."""

    cash: float
    costs: Costs
    safety: SafetyControls | None
    convention: str
    signal_adjustment: str
    by: str
    decide_from: int
    equity: bool


class Run:
    """What the accounts of one sweep have in common, and where their figures go.

    Attributes
    ----------
    traded : list of int
        Accounts with two bars at least; the others stay as they are.
    figures : (accounts, points, 4) float64
    equity : (accounts, points, T) float64 or None
    """

    def __init__(self, bars: Bars, grid: Grid, terms: Terms) -> None:
        self.bars, self.grid, self.terms = bars, grid, terms
        self.cash, self.costs, self.safety, self.by = terms.cash, terms.costs, terms.safety, terms.by
        accounts, points = len(bars.symbols) if self.by == "symbol" else 1, len(grid)
        self.traded = [n for n in range(accounts) if self.by == "portfolio" or self._has_bars(bars.symbols[n])]
        self.figures = np.full((accounts, points, 4), np.nan)
        self.equity = np.full((accounts, points, len(bars)), np.nan) if terms.equity else None
        seen = bars.signal_view(terms.signal_adjustment) if bars.actions is not None else bars
        self._shared: Bars | None = shared_bars(seen, Memo(max(sharing.MEMORY, _PANELS * bars.close.nbytes)))

    def carry_out(self, cores: int, progress: Callable[[int], Any] | None = None) -> None:
        """Run all accounts on so many threads; ``progress`` is called with the accounts done."""
        done = 0
        waiting: deque[Future[int]] = deque()

        def finish() -> int:
            more = done + waiting.popleft().result()
            if progress is not None:
                progress(more)
            return more

        with ThreadPoolExecutor(cores, thread_name_prefix="botlib sweep") as pool:
            try:
                for work in self.batches(cores):
                    waiting.append(pool.submit(work))
                    while len(waiting) > 4 * cores * len(self.bars.symbols):
                        done = finish()
                while waiting:
                    done = finish()
            except BaseException:
                for one in waiting:
                    one.cancel()
                raise

    def batches(self, cores: int) -> Iterator[Callable[[], int]]:
        """Pieces of work, each of which returns how many accounts it finished."""
        bars_count, symbols = self.bars.close.shape
        row_bytes = bars_count * (symbols + 4 * cores)
        pending: list[tuple[Point, Signals]] = []
        rows: set[int] = set()
        for point in self.grid.points:
            signals = self._signals(point)
            if isinstance(signals, Signals):
                pending.append((point, signals))
                rows |= {id(signals.entries), id(signals.exits)}
                if len(rows) * row_bytes > _ROWS_BYTES:
                    yield from self._signal_work(pending, cores)
                    pending, rows = [], set()
            else:
                yield from self._plain_work(point, signals)
        if pending:
            yield from self._signal_work(pending, cores)

    def _alone(self, symbol: str) -> tuple[Bars, np.ndarray | None]:
        """A symbol's own bars, and their rows among all where they are not all."""
        own: Bars = self.bars.memo(("alone", symbol), partial(self.bars.select, symbol))
        return own, None if len(own) == len(self.bars) else self.bars.index.get_indexer(own.index)

    def _has_bars(self, symbol: str) -> bool:
        own, _ = self._alone(symbol)
        return len(own) - self._first(own) >= 2

    def _first(self, own: Bars) -> int:
        """The first bar of these that may be decided on."""
        return int(own.index.searchsorted(self.bars.index[self.terms.decide_from])) if self.terms.decide_from else 0

    # --- decisions ----------------------------------------------------------------------------------------------------

    def _signals(self, point: Point) -> Signals | np.ndarray | None:
        """What a point decides: signals where it says so in these terms, else targets; None of one with ``on_bar``."""
        strategy = point.strategy
        if hasattr(strategy, "on_bar"):
            return None
        jumps = self.by == "symbol" and strategy.unit == "weight" and getattr(
            strategy, "rebalance_tolerance_pct", None) is None
        own_warmups = self.by == "portfolio"
        if self._shared is not None:
            try:
                found = strategy.targets(self._shared)
            except Exception:
                found = None  # what is wrong shows without sharing, too
            if isinstance(found, Signals):
                return found if jumps else ready_targets(np.asarray(found), strategy, self.bars,
                                                         own_warmups=own_warmups)
            self._shared = None  # this strategy does not speak in signals
        return strategy_targets(strategy, self.bars, self.terms.signal_adjustment, own_warmups=own_warmups)

    # --- signals ------------------------------------------------------------------------------------------------------

    def _signal_work(self, pending: Sequence[tuple[Point, Signals]], cores: int) -> Iterator[Callable[[], int]]:
        """Accounts of each symbol, in as many parts as there are cores."""
        entries, exits = ({id(x): x for x in found} for found in (
            [s.entries for _, s in pending], [s.exits for _, s in pending]))
        entry_row, exit_row = ({one: n for n, one in enumerate(found)} for found in (entries, exits))
        each = [(entry_row[id(s.entries)], exit_row[id(s.exits)], s.weight, backtesting.warmup_bars(p.strategy))
                for p, s in pending]
        rows_of, strategy = np.array([p.rows for p, _ in pending]), pending[0][0].strategy
        legs = np.array([[_leg(r.stop_loss_pct), _leg(r.take_profit_pct)] for r in self.grid.risks])
        groups: dict[tuple[Any, ...], list[int]] = {}  # risks that differ in their legs only share a book
        for k, risk in enumerate(self.grid.risks):
            groups.setdefault(tuple((n, v) for n, v in risk if n not in _LEGS), []).append(k)
        tables = {ks[0]: _jobs(rows_of[:, ks], np.array(each), legs[ks]) for ks in groups.values()}
        for n in self.traded:
            own, rows = self._alone(self.bars.symbols[n])
            index = Indices(entries.values(), exits.values(), n, rows)
            for k, table in tables.items():
                jobs, first = table.copy(), self._first(own)
                warmups, which = np.unique(jobs[:, -1], return_inverse=True)
                jobs[:, -1] = np.array([max(first, w, own_warmup(own, int(w)).get(0, 0)) for w in warmups])[which]
                for part in np.array_split(jobs, min(cores, len(jobs))):
                    yield self._part(own, strategy, self.grid.risks[k], index, part, n, rows)

    def _part(self, own: Bars, strategy: Any, risk: Risk, index: Indices, jobs: np.ndarray, account: int,
              rows: np.ndarray | None) -> Callable[[], int]:
        book = account_book(own, strategy, self.cash, risk, self.costs, self.safety, self.terms.convention)
        first = self._first(own)

        def work() -> int:
            entries, exits = index.made()
            figures = np.empty((len(jobs), FIGURES))
            curves = np.empty((len(jobs), len(own))) if self.equity is not None else np.empty((0, 0))
            while True:
                run_signals(book.world, book.world.copy(), book.columns, entries, exits, jobs[:, 1:3].astype(np.int64),
                            np.ascontiguousarray(jobs[:, 3:]), first, figures, curves)
                if figures[:, 5].all():
                    break
                book.grow()
            at = jobs[:, 0].astype(np.int64)
            with np.errstate(invalid="ignore"):
                sharpe = figures[:, 1] / np.sqrt(figures[:, 2]) * math.sqrt(own.periods_per_year)
            sharpe[~(figures[:, 2] > 0.0)] = np.nan
            self.figures[account, at] = np.column_stack(
                [100.0 * figures[:, 0], sharpe, 100.0 * figures[:, 3], figures[:, 4]])
            if self.equity is not None:
                if rows is None:
                    self.equity[account, at] = curves
                else:
                    self.equity[account, at[:, None], rows] = curves
            return len(at)

        return work

    # --- any targets --------------------------------------------------------------------------------------------------

    def _plain_work(self, point: Point, targets: np.ndarray | None) -> Iterator[Callable[[], int]]:
        for row, risk in zip(point.rows.tolist(), self.grid.risks, strict=True):
            for n in self.traded:
                yield partial(self._one, point.strategy, targets, risk, row, n)

    def _one(self, strategy: Any, targets: np.ndarray | None, risk: Risk, row: int, account: int) -> int:
        """One backtest."""
        bars, rows = (self.bars, None) if self.by == "portfolio" else self._alone(self.bars.symbols[account])
        if targets is None:
            found = backtest(bars, strategy, cash=self.cash, risk=risk, costs=self.costs, safety=self.safety,
                             convention=self.terms.convention, signal_adjustment=self.terms.signal_adjustment,  # type: ignore[arg-type]
                             quiet=True, decide_from=self._first(bars))
            book = found.book
        else:
            book = account_book(bars, strategy, self.cash, risk, self.costs, self.safety, self.terms.convention)
            if self.by == "symbol":
                targets = targets[:, account:account + 1] if rows is None else targets[rows, account:account + 1]
                targets = np.ascontiguousarray(targets)
                late = own_warmup(bars, backtesting.warmup_bars(strategy))
                if late:
                    targets = targets.copy()
                    targets[:late[0]] = np.nan
            targets.flags.writeable = False
            book.world["first_decision"] = max(int(book["first_decision"]), self._first(bars))
            engine.run_targets(book, targets)
        self.figures[account, row] = figures_of(book.equity_curve[self._first(bars):], bars.periods_per_year,
                                                book["n_trades"])
        if self.equity is not None:
            self.equity[account, row, slice(None) if rows is None else rows] = book.equity_curve
        return 1


def cores_here() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


class Indices:
    """For each signal the next bar at which it is true, of one symbol; made by whoever needs it first."""

    def __init__(self, entries: Iterable[Shared], exits: Iterable[Shared], column: int,
                 rows: np.ndarray | None) -> None:
        self._sources = list(entries), list(exits)
        self._column, self._rows = column, rows
        self._made: tuple[np.ndarray, np.ndarray] | None = None

    def made(self) -> tuple[np.ndarray, np.ndarray]:
        """(entries, exits), each (signals, T + 1) int32."""
        if self._made is None:
            entries, exits = (self._of(found) for found in self._sources)
            self._made = entries, exits
        return self._made

    def _of(self, signals: Sequence[Shared]) -> np.ndarray:
        n = len(signals[0]) if self._rows is None else len(self._rows)
        out = np.empty((len(signals), n + 1), np.int32)
        for k, one in enumerate(signals):
            flags = np.asarray(one)[:, self._column]
            next_true(np.ascontiguousarray(flags if self._rows is None else flags[self._rows]), out[k])
        return out


def _jobs(rows: np.ndarray, each: np.ndarray, legs: np.ndarray) -> np.ndarray:
    """(P * K, 7): a point's number, its rows of entries and exits, weight, stop loss, take profit, warm-up.

    Of ``rows`` (P, K), what each strategy has of its own (P, 4), and ``legs`` (K, 2).
    """
    jobs = np.empty((*rows.shape, 7))
    jobs[:, :, 0] = rows
    jobs[:, :, [1, 2, 3, 6]] = each[:, None]
    jobs[:, :, 4:6] = legs
    return jobs.reshape(-1, 7)


def _leg(pct: float | None) -> float:
    return math.nan if pct is None else pct
