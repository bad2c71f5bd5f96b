"""`sweep`: a strategy at every point of a grid, each result that of a single backtest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from botlib import backtesting
from botlib.backtesting import Adjustment, Convention
from botlib.bars import Bars
from botlib.errors import InputError, nearest
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.tuning.grid import MAX_COMBOS, grid_of
from botlib.tuning.result import SweepResult
from botlib.tuning.running import By, Run, Terms, cores_here

_DEFAULT_RISK, _DEFAULT_COSTS, _DEFAULT_SAFETY = Risk(), Costs(), SafetyControls()


def sweep(bars: Bars, strategy: type, grid: Mapping[str, Iterable[Any]], *, cash: float = 100_000.0,
          risk: Risk = _DEFAULT_RISK, costs: Costs = _DEFAULT_COSTS,
          safety: SafetyControls | None = _DEFAULT_SAFETY, convention: Convention = "broker",
          signal_adjustment: Adjustment = "split", by: By = "portfolio", decide_from: int = 0, equity: bool = False,
          max_combos: int = MAX_COMBOS, threads: int | None = None,
          progress: Callable[[int, int], Any] | None = None, client: Any = None) -> SweepResult:
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
    client : dask.distributed.Client, optional
        A cluster whose workers share the points and accounts, instead of this process: the same numbers
        (``botlib[scale]``).

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
    terms = Terms(float(cash), costs, safety, convention, signal_adjustment,
                  "symbol" if len(bars.symbols) == 1 else by, decide_from, equity)
    run = Run(bars, made, terms)
    points, total = len(made.points) * len(made.risks), len(made.points) * len(made.risks) * len(run.traded)

    def told(done: int) -> None:
        if progress is not None:
            progress(done * points // max(total, 1), points)

    if client is None:
        run.carry_out(threads or cores_here(), told)
    else:
        from botlib.tuning import cluster

        cluster.carry_out(run, client, told)
    return SweepResult(strategy=strategy, grid=made, impossible=tuple(made.impossible),
                       accounts=bars.symbols if terms.by == "symbol" else ("portfolio",), figures=run.figures,
                       equity=run.equity, bars=bars, cash=float(cash), risk=risk, costs=costs, safety=safety,
                       convention=convention, signal_adjustment=signal_adjustment, by=terms.by,
                       decide_from=decide_from)


def _check_from(decide_from: Any, bars: Any) -> None:
    most = len(bars) - 3 if isinstance(bars, Bars) else 0  # two returns make a Sharpe ratio
    if isinstance(decide_from, bool) or not isinstance(decide_from, int) or not 0 <= decide_from <= max(most, 0):
        raise InputError(f"decide_from = {decide_from!r} must be a bar's number from 0 to {most:,}, so that at least "
                         "two bars follow it.")


