"""`sweep`: a strategy at every point of a grid, each result that of a single backtest."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from botlib import backtesting, engine
from botlib.backtesting import Adjustment, Convention, account_book, backtest, ready_targets, strategy_targets
from botlib.bars import Bars
from botlib.engine.sweeping import FIGURES, next_true, run_signals
from botlib.errors import InputError, nearest
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.sharing import Memo, Shared, Signals, shared_bars
from botlib.strategies.base import own_warmup
from botlib.tuning.grid import MAX_COMBOS, Grid, Point, grid_of
from botlib.tuning.result import SweepResult, figures_of

By = Literal["portfolio", "symbol"]

_DEFAULT_RISK, _DEFAULT_COSTS, _DEFAULT_SAFETY = Risk(), Costs(), SafetyControls()
_ROWS_BYTES = 16 * 2**20  # of signal indices that one batch of accounts shares
_LEGS = ("stop_loss_pct", "take_profit_pct")


def sweep(bars: Bars, strategy: type, grid: Mapping[str, Iterable[Any]], *, cash: float = 100_000.0,
          risk: Risk = _DEFAULT_RISK, costs: Costs = _DEFAULT_COSTS,
          safety: SafetyControls | None = _DEFAULT_SAFETY, convention: Convention = "broker",
          signal_adjustment: Adjustment = "split", by: By = "portfolio", decide_from: int = 0, equity: bool = False,
          max_combos: int = MAX_COMBOS, threads: int | None = None,
          progress: Callable[[int, int], Any] | None = None) -> SweepResult:
    """Backtest every combination of parameter values.

    A strategy whose targets are `targets_from_signals` of indicators and thresholds shares both between points and runs
    through a loop that jumps from signal to signal; any other takes a backtest's time for each point. The figures are a
    backtest's either way.

    Parameters
    ----------
    bars : Bars
        (T, N), as for `backtest`.
    strategy : class
        A `Strategy`.
    grid : mapping
        Values by name: parameters of the strategy or fields of `Risk`, e.g. ``{"rsi_period": [10, 14], "stop_loss_pct":
        [3.0, 5.0]}``. Combinations that the strategy refuses are left out and listed.
    cash, risk, costs, safety, convention, signal_adjustment
        As for `backtest`; ``risk`` is what the grid leaves open.
    by : str
        "portfolio": one account for all symbols, as `backtest` has it. "symbol": an account for each symbol, as
        ``backtest(bars.select(symbol), …)``.
    decide_from : int
        No decision before this bar; the figures are those of what follows it. Bars before it serve for indicators.
    equity : bool
        Keep equity at each close too: 8 bytes a bar, account and point.
    max_combos : int
        More points than this are refused.
    threads : int, optional
        Default: the cores this process may use.
    progress : callable, optional
        Called with points done and points in all.

    Returns
    -------
    SweepResult

    Raises
    ------
    InputError
        A parameter or a grid that cannot be.
    StrategyError
        The strategy raises, or returns something else than targets.
    KeyboardInterrupt
        Passed on once the accounts under way are done.
    """
    if not isinstance(strategy, type):
        raise InputError(f"strategy is a {type(strategy).__name__}; give the class, not an instance: "
                         f"sweep(bars, {type(strategy).__name__}, grid).")
    if by not in get_args(By):
        raise InputError(f"by = {by!r} is unknown; valid: {', '.join(get_args(By))}{nearest(by, get_args(By))}")
    for name, value in (("max_combos", max_combos), *((("threads", threads),) if threads is not None else ())):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} = {value!r} must be a whole number of at least 1.")
    _check_from(decide_from, bars)
    made = grid_of(strategy, grid, risk, max_combos)
    for limits in made.risks:
        backtesting._check_inputs(bars, made.points[0].strategy, cash, limits, costs, safety, convention,
                                  signal_adjustment)
    if convention == "broker":
        bars = backtesting._in_name_order(bars)
    run = _Run(bars, float(cash), costs, safety, convention, signal_adjustment,
               by="symbol" if len(bars.symbols) == 1 else by, decide_from=decide_from, equity=equity,
               grid=made)
    cores = threads or cores_here()
    points = len(made.points) * len(made.risks)
    done, total = 0, points * len(run.traded)
    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(cores, thread_name_prefix="botlib sweep") as pool:
        try:
            for work in run.batches(cores):
                waiting.append(pool.submit(work))
                while len(waiting) > 4 * cores * len(bars.symbols):
                    done += waiting.popleft().result()
                    if progress is not None:
                        progress(done * points // max(total, 1), points)
            while waiting:
                done += waiting.popleft().result()
                if progress is not None:
                    progress(done * points // max(total, 1), points)
        except BaseException:
            for one in waiting:
                one.cancel()
            raise
    return SweepResult(strategy=strategy, grid=made, impossible=tuple(made.impossible),
                       accounts=bars.symbols if run.by == "symbol" else ("portfolio",), figures=run.figures,
                       equity=run.equity, bars=bars, cash=float(cash), risk=risk, costs=costs, safety=safety,
                       convention=convention, signal_adjustment=signal_adjustment, by=run.by,
                       decide_from=decide_from)


def cores_here() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def _check_from(decide_from: Any, bars: Any) -> None:
    most = len(bars) - 3 if isinstance(bars, Bars) else 0  # two returns make a Sharpe ratio
    if isinstance(decide_from, bool) or not isinstance(decide_from, int) or not 0 <= decide_from <= max(most, 0):
        raise InputError(f"decide_from = {decide_from!r} must be a bar's number from 0 to {most:,}, so that at least "
                         "two bars follow it.")


class _Run:
    """What the accounts of one sweep have in common, and where their figures go."""

    def __init__(self, bars: Bars, cash: float, costs: Costs, safety: SafetyControls | None, convention: str,
                 signal_adjustment: str, *, by: str, decide_from: int, equity: bool, grid: Grid) -> None:
        self.bars, self.cash, self.costs, self.safety = bars, cash, costs, safety
        self.convention, self.signal_adjustment, self.by = convention, signal_adjustment, by
        self.decide_from, self.grid, points = decide_from, grid, len(grid)
        accounts = len(bars.symbols) if by == "symbol" else 1
        self.traded = [n for n in range(accounts) if by == "portfolio" or self._has_bars(bars.symbols[n])]
        """Accounts with two bars at least; the others stay as they are."""
        self.figures = np.full((accounts, points, 4), np.nan)
        self.equity = np.full((accounts, points, len(bars)), np.nan) if equity else None
        seen = bars.signal_view(signal_adjustment) if bars.actions is not None else bars
        self._shared: Bars | None = shared_bars(seen, Memo())

    def batches(self, cores: int) -> Iterator[Callable[[], int]]:
        """Pieces of work, each of which returns how many accounts it finished."""
        pending: list[tuple[Point, Signals]] = []
        rows: set[int] = set()
        for point in self.grid.points:
            signals = self._signals(point)
            if isinstance(signals, Signals):
                pending.append((point, signals))
                rows |= {id(signals.entries), id(signals.exits)}
                if 4 * len(rows) * self.bars.close.size > _ROWS_BYTES:
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
        return int(own.index.searchsorted(self.bars.index[self.decide_from])) if self.decide_from else 0

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
        return strategy_targets(strategy, self.bars, self.signal_adjustment, own_warmups=own_warmups)

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
            index = _Indices(entries.values(), exits.values(), n, rows)
            for k, table in tables.items():
                jobs, first = table.copy(), self._first(own)
                warmups, which = np.unique(jobs[:, -1], return_inverse=True)
                jobs[:, -1] = np.array([max(first, w, own_warmup(own, int(w)).get(0, 0)) for w in warmups])[which]
                for part in np.array_split(jobs, min(cores, len(jobs))):
                    yield self._part(own, strategy, self.grid.risks[k], index, part, n, rows)

    def _part(self, own: Bars, strategy: Any, risk: Risk, index: _Indices, jobs: np.ndarray, account: int,
              rows: np.ndarray | None) -> Callable[[], int]:
        book = account_book(own, strategy, self.cash, risk, self.costs, self.safety, self.convention)
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
                             convention=self.convention, signal_adjustment=self.signal_adjustment,  # type: ignore[arg-type]
                             quiet=True, decide_from=self._first(bars))
            book = found.book
        else:
            book = account_book(bars, strategy, self.cash, risk, self.costs, self.safety, self.convention)
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


class _Indices:
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
