"""`walk_forward`: parameters chosen on the past, traded on what came next, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from botlib.backtesting import Adjustment, Convention, backtest
from botlib.bars import Bars
from botlib.errors import DataError, InputError, nearest, require
from botlib.params import Costs, Risk
from botlib.result import BacktestResult
from botlib.safety import SafetyControls
from botlib.tuning.grid import MAX_COMBOS, grid_of
from botlib.tuning.result import METRICS, SweepResult, figures_of
from botlib.tuning.running import By
from botlib.tuning.sweep import sweep
from botlib.tuning.windows import MIN_TRAIN, Split, Traded, WalkForward, Window, splits

_DEFAULT_RISK, _DEFAULT_COSTS, _DEFAULT_SAFETY = Risk(), Costs(), SafetyControls()


def walk_forward(bars: Bars, strategy: type, grid: Mapping[str, Iterable[Any]], *, train: int, test: int,
                 anchored: bool = False, metric: str = "sharpe", embargo: int = 0, cash: float = 100_000.0,
                 risk: Risk = _DEFAULT_RISK, costs: Costs = _DEFAULT_COSTS,
                 safety: SafetyControls | None = _DEFAULT_SAFETY, convention: Convention = "broker",
                 signal_adjustment: Adjustment = "split", by: By = "portfolio", max_combos: int = MAX_COMBOS,
                 threads: int | None = None, progress: Callable[[int, int], Any] | None = None) -> WalkForward:
    """Choose the best point on each window's training bars, and trade it on the bars that follow.

    A window sees no bar after its own end. Training is a `sweep` of the bars so far whose decisions, and figures, begin
    with the training. The chosen point then trades the test with fresh cash: its first decision may fall at the close
    before the test, the last bar that is known then; what is open at the end counts at its last close.

    Parameters
    ----------
    bars, strategy, grid, cash, risk, costs, safety, convention, signal_adjustment, threads
        As for `sweep`.
    train, test, anchored, embargo
        Bars, as for `botlib.tuning.windows.splits`. Bars before the training serve for indicators, so that only the
        first windows lose some of theirs to the warm-up.
    metric : str
        One of `METRICS`; the point where it is highest wins, where it is undefined never. When it is defined nowhere,
        the window trades nothing.
    by : str
        "portfolio": one account for all symbols. "symbol": an account of its own for each symbol; the mean of the
        metric over accounts decides, and results are those of the mean of the accounts' equity. A symbol with fewer
        than three bars of training has no account in that window.
    max_combos : int
        More windows times points than this are refused.
    progress : callable, optional
        Called with points done and points in all, of all windows.

    Returns
    -------
    WalkForward

    Raises
    ------
    InputError
        A parameter or a grid that cannot be, too few bars for one window.
    DataError
        The metric is defined at no point of any window.
    StrategyError
        The strategy raises, or returns something else than targets.
    KeyboardInterrupt
        Passed on, see `sweep`.
    """
    require("bars", bars)
    if not isinstance(strategy, type):
        raise InputError(f"strategy is a {type(strategy).__name__}; give the class, not an instance: "
                         f"walk_forward(bars, {type(strategy).__name__}, grid, …).")
    if metric not in METRICS:
        raise InputError(f"metric = {metric!r} is unknown; valid: {', '.join(METRICS)}{nearest(metric, METRICS)}")
    parts = splits(len(bars), train, test, anchored=anchored, embargo=embargo)
    points = len(grid_of(strategy, grid, risk, max_combos))
    if points * len(parts) > max_combos:
        raise InputError(f"grid: {len(parts):,} windows x {points:,} points = {points * len(parts):,} combinations are "
                         f"more than max_combos = {max_combos:,}; take longer tests or fewer points, or say "
                         f"max_combos={points * len(parts)} if you can wait for them.")
    options = {"cash": cash, "costs": costs, "safety": safety, "convention": convention,
               "signal_adjustment": signal_adjustment}

    def choose(n: int, seen: Bars, first: int) -> SweepResult:
        def told(done: int, total: int) -> None:
            if progress is not None:
                progress(n * total + done, len(parts) * total)

        return sweep(seen, strategy, grid, risk=risk, by=by, decide_from=first, max_combos=max_combos,
                     threads=threads, progress=told, **options)  # type: ignore[arg-type]

    steps = tuple(_window(bars, split, n, choose, metric, by, options) for n, split in enumerate(parts))
    if all(step.chosen is None for step in steps):
        raise DataError(f"{metric} is defined at none of the {points:,} points in any of the {len(steps):,} windows: "
                        "nothing was traded, perhaps; a longer train, or a shorter warm-up, may help.")
    return WalkForward(strategy=strategy, metric=metric, steps=steps, bars=bars, cash=float(cash), anchored=anchored,
                       points=points)


def _window(bars: Bars, split: Split, n: int, choose: Callable[[int, Bars, int], SweepResult], metric: str, by: str,
            options: Mapping[str, Any]) -> Window:
    """One window: choose, then trade."""
    seen, symbols = bars.upto(split.train[-1]), bars.symbols
    if by == "symbol":
        known = np.count_nonzero(~np.isnan(seen.close[split.train.start:]), axis=0) >= MIN_TRAIN
        symbols = tuple(s for s, there in zip(bars.symbols, known, strict=True) if there)
        if not symbols:
            return Window(split=split, chosen=None, trained=None, tested=None)
        seen = seen.select(symbols)
    found = choose(n, seen, _first(bars, seen, split.train.start))
    row = found.best_row(metric)
    if row is None:
        return Window(split=split, chosen=None, trained=None, tested=None)
    strategy, limits, chosen = found.grid.at(row)
    traded = [_traded(bars.upto(last), symbols, first, strategy, by, {**options, "risk": limits}) for first, last in (
        (split.train.start, split.train[-1]), (split.test.start - 1, split.test[-1]))]
    return Window(split=split, chosen=chosen, trained=traded[0], tested=traded[1])


def _first(bars: Bars, own: Bars, row: int) -> int:
    """The first bar of ``own`` from the bar ``row`` of all on."""
    return int(own.index.searchsorted(bars.index[row]))


def _traded(bars: Bars, symbols: tuple[str, ...], first: int, strategy: Any, by: str,
            options: Mapping[str, Any]) -> Traded:
    """A point from the bar ``first`` to the last: of one account, or the mean of those of each symbol."""
    if by == "symbol":
        owns = [bars.select(symbol) for symbol in symbols]
        runs = [backtest(own, strategy, quiet=True, decide_from=_first(bars, own, first), **options) for own in owns]
    else:
        runs = [backtest(bars, strategy, quiet=True, decide_from=first, **options)]
    equity = np.mean([_on(bars, run, run.book.equity_curve, run.cash)[first:] for run in runs], axis=0)
    gross = np.mean([_on(bars, run, run.book.gross_curve, 0.0)[first:] for run in runs], axis=0)
    pnl = np.concatenate([run.book.rows("trades")["pnl"] for run in runs]) / len(runs)
    return Traded(equity=equity, exposure=gross / equity, pnl=pnl,
                  value=float(sum(run.book["traded"] for run in runs)) / len(runs),
                  costs=float(sum(run.metrics["costs_paid"] for run in runs)) / len(runs),
                  figures=figures_of(equity, bars.periods_per_year, len(pnl)))


def _on(bars: Bars, run: BacktestResult, curve: np.ndarray, before: float) -> np.ndarray:
    """A run's curve at each of ``bars``: where its symbol has none, the last one's; ``before`` its first, so much."""
    if len(run.bars) == len(bars):
        return curve
    at = run.bars.index.searchsorted(bars.index, side="right") - 1
    return np.where(at >= 0, curve[np.maximum(at, 0)], before)
