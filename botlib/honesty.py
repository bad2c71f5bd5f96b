"""Checks that a backtest is not fooling its owner: look-ahead, warm-up, sensitivity to costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.backtesting import backtest, strategy_targets, warmup_bars
from botlib.bars import FIELDS, Bars
from botlib.engine.state import STOP_LEG, TARGET_LEG
from botlib.errors import InputError, StrategyError, checked
from botlib.strategies.base import own_warmup
from botlib.tables import TextTable

if TYPE_CHECKING:
    from botlib.result import BacktestResult

SLIPPAGES_BPS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
MAX_BREAKEVEN_BPS = 500.0
MIN_TRUNCATIONS = 20
CUT_SHORT = 4  # runs of an on_bar strategy on bars that end early
MANY_BARS = 20_000  # more are too many for an on_bar strategy to be run at each slippage
SAME = 1e-9  # targets that differ by less are the same


@dataclass(frozen=True)
class Check:
    """One check: whether it passed, and one sentence of what was seen."""

    name: str
    passed: bool
    finding: str

    @property
    def result(self) -> str:
        """ "passed"; "FAILED" when the result is worth nothing (look-ahead: a notebook stops there); else "warning"."""
        return "passed" if self.passed else "FAILED" if self.name == "look-ahead" else "warning"


@dataclass(frozen=True)
class Honesty:
    """What `check_honesty` found.

    Attributes
    ----------
    checks : tuple of Check
    costs : pandas.DataFrame
        slippage_bps, total_return_pct, sharpe, trades: the same backtest at other slippages.
    breakeven_bps : float
        Slippage at which the total return is zero; inf when it stays positive up to 500 bps, NaN when it is never
        positive.
    """

    checks: tuple[Check, ...]
    costs: pd.DataFrame = field(repr=False)
    breakeven_bps: float

    def __repr__(self) -> str:
        said = ", ".join(f"{c.name} {c.result}" for c in self.checks)
        return f"<Honesty: {said}>"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()  # type: ignore[operator]

    @property
    def looks_ahead(self) -> bool:
        return not next(c for c in self.checks if c.name == "look-ahead").passed

    def table(self) -> pd.DataFrame:
        """One row a check, for a notebook."""
        rows = [(c.name, c.result, c.finding) for c in self.checks]
        return TextTable(rows, columns=["Check", "Result", "Finding"])

    def to_dict(self) -> dict[str, Any]:
        """For ``result.json``."""
        return {c.name: {"passed": c.passed, "result": c.result, "finding": c.finding} for c in self.checks}

    def require_no_look_ahead(self) -> None:
        """Stop here when the strategy saw the future.

        Raises
        ------
        StrategyError
            With the first decision that changed.
        """
        for check in self.checks:
            if check.name == "look-ahead" and not check.passed:
                raise StrategyError(f"look-ahead: {check.finding}")


@checked
def check_honesty(result: BacktestResult, *, truncations: int = 24, seed: int = 0) -> Honesty:
    """Run all checks on a finished backtest.

    Parameters
    ----------
    result : BacktestResult
    truncations : int
        Points in time to re-evaluate the strategy at, at least 20; half of them at decisions that led to trades. An
        ``on_bar`` strategy, which may remember, is re-evaluated at every bar instead: one whole run in which the bars
        after the current one are not there yet, and `CUT_SHORT` runs on bars that end at one of the points.
    seed : int
        Picks the points.

    Raises
    ------
    InputError
        Fewer than 20 truncations, a seed below 0, or bars too few to truncate.
    """
    if isinstance(truncations, bool) or not isinstance(truncations, int) or truncations < MIN_TRUNCATIONS:
        raise InputError(f"truncations = {truncations!r} is out of range: valid is a whole number of at least "
                         f"{MIN_TRUNCATIONS}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed = {seed!r} is out of range: valid is a whole number of at least 0.")
    points = _points(result, truncations, np.random.default_rng(seed))
    if hasattr(result.strategy, "on_bar"):
        checks: tuple[Check, ...] = (_replayed(result, points),)
    else:
        checks = _truncated(result, points)
    costs, breakeven = cost_sensitivity(result)
    if not result.n_trades:
        finding = "no trade was closed, so there is no edge to measure"
    elif np.isnan(breakeven):
        finding = "no edge to lose: the total return is not positive even without slippage"
    elif np.isinf(breakeven):
        finding = f"the total return stays positive up to {MAX_BREAKEVEN_BPS:g} bps of slippage"
    else:
        finding = f"the total return is gone at {breakeven:.1f} bps of slippage ({result.costs.slippage_bps:g} assumed)"
    survives = not np.isnan(breakeven) and breakeven > result.costs.slippage_bps
    return Honesty((*checks, Check("costs", bool(survives), finding + ".")), costs, breakeven)


def _points(result: BacktestResult, n: int, rng: np.random.Generator) -> np.ndarray:
    """Bars to truncate at: half of them decision bars of trades (where a look-ahead pays), the others anywhere."""
    first, last = warmup_bars(result.strategy), len(result.bars) - 2
    if last - first < n:
        raise InputError(f"{len(result.bars)} bars are too few to check a strategy with a warm-up of {first} bars: "
                         f"at least {first + n + 2} are needed. Take a longer period.")
    rows = result.book.rows("trades")
    decisions = np.unique(np.concatenate([rows["entry_bar"], rows["exit_bar"]]).astype(np.int64) - 1)
    decisions = decisions[(decisions >= first) & (decisions <= last)]
    chosen = rng.choice(decisions, min(n // 2, len(decisions)), replace=False)
    others = np.setdiff1d(np.arange(first, last + 1), chosen)
    return np.sort(np.concatenate([chosen, rng.choice(others, n - len(chosen), replace=False)]))


def _truncated(result: BacktestResult, points: np.ndarray) -> tuple[Check, Check]:
    """Look-ahead and warm-up of a ``targets`` strategy."""
    full = _evaluate(result, result.bars)
    first = warmup_bars(result.strategy)
    ready = np.ones(len(result.bars.symbols), dtype=bool)
    late = own_warmup(result.bars, first)
    future, again, history = None, None, []
    used = strategy_targets(result.strategy, result.bars, result.signal_adjustment)
    if not (_same(full, used) and _same(full, _evaluate(result, result.bars))):
        again = "the same bars gave different targets twice: the strategy keeps state or draws random numbers"
    for t in points if again is None else ():
        known = result.bars.upto(int(t))
        cut = _evaluate(result, known)
        if future is None and not _same(full[first : t + 1], cut[first:]):
            future = _difference(result, full, cut, first, int(t))
        for i, row in late.items():
            ready[i] = t >= row
        short = _evaluate(result, known.tail(first + 1), own_warmups=False)
        if not _same(full[t, ready], short[-1, ready]):
            history.append(t)
    ahead = Check("look-ahead", future is None and again is None,
                  future or again or f"{len(points)} truncations of the data changed no decision.")
    if again is not None:
        return ahead, Check("warm-up", False, "not checked: the targets are not reproducible.")
    if history:
        text = (f"{len(history)} of {len(points)} decisions change when only the {first} bars of the warm-up come "
                f"before them (first at {_time(result.bars, history[0])}): make the warm-up longer.")
    else:
        text = f"{len(points)} decisions are the same with just the {first} bars of the warm-up before them."
    return ahead, Check("warm-up", not history, text)


def _replayed(result: BacktestResult, points: np.ndarray) -> Check:
    """An ``on_bar`` strategy is handed the past only; its orders show whether it got round that.

    It may carry state from bar to bar, so each run begins at the first bar. One run is a truncation at every bar:
    the panels are filled as time goes on, so neither strategy nor engine can reach what comes later. What it leaves
    to be known, how many bars there will be, is taken away by runs on bars cut short.
    """
    full = _submitted(result)
    again = _submitted(_rerun(result, result.bars, strategy=result.strategy))
    if _first_changed(full, again) is not None:
        return Check("look-ahead", False, "the same bars gave different orders twice: the strategy keeps state or "
                                          "draws random numbers.")
    unseen, as_time_goes_on = _unseen(result)
    t = _first_changed(full, _submitted(_rerun(result, unseen, progress=as_time_goes_on)))
    if t is not None:
        return Check("look-ahead", False, f"the orders decided at {_time(result.bars, t)} differ when later bars are "
                                          "not there yet: the strategy knows later bars, keeps state between runs or "
                                          "draws random numbers.")
    cut_short = points[np.linspace(0, len(points) - 1, CUT_SHORT).astype(int)]
    for i, t in enumerate(cut_short.tolist()):  # by a fresh strategy and by the one that has seen it all, in turns
        cut = _submitted(_rerun(result, result.bars.upto(t).copied(), strategy=result.strategy if i % 2 else None))
        if _first_changed(full[full["decided"] <= t], cut, last=t) is not None:
            return Check("look-ahead", False, f"the orders up to {_time(result.bars, t)} differ when the bars end "
                                              "there: the strategy knows later bars, keeps state between runs or draws "
                                              "random numbers.")
    bars = len(result.bars) - warmup_bars(result.strategy)
    return Check("look-ahead", True, f"the same orders when the bars after each of {bars:,} decisions are not there "
                                     f"yet, and in {CUT_SHORT} runs on bars cut short.")


def _unseen(result: BacktestResult) -> tuple[Bars, Callable[[range], Iterator[int]]]:
    """Bars without anything in them, and what fills them bar by bar while a backtest asks for the next."""
    bars, first = result.bars, warmup_bars(result.strategy)
    known = {name: getattr(bars, name) for name in FIELDS} | bars.extra
    panels = {name: np.full(bars.shape, np.nan) for name in known}
    empty = Bars(bars.index, bars.symbols, **{f: panels[f] for f in FIELDS}, interval=bars.interval,
                 calendar=bars.calendar, adjustment=bars.adjustment, actions=bars.actions,
                 extra={name: panels[name] for name in bars.extra})
    empty.memo(f"own warm-up {first}", lambda: own_warmup(bars, first))  # cannot be told from empty panels

    def fill(steps: range) -> Iterator[int]:
        for t in steps:
            for name, panel in panels.items():
                panel[t] = known[name][t]
            yield t

    return empty, fill


def _first_changed(full: np.ndarray, other: np.ndarray, last: int | None = None) -> int | None:
    """The bar of the first decision that is not in both; None when all are.

    At ``last``, where the bars of ``other`` end, sizes and prices may differ: a split at the next open changes them.
    """
    n = min(len(full), len(other))
    differs = np.zeros(n, dtype=bool)
    for name in (*_DECISION, *_SIZE):
        unequal = full[name][:n] != other[name][:n]
        differs |= unequal & (full["decided"][:n] != last) if name in _SIZE and last is not None else unequal
    if differs.any():
        i = int(np.argmax(differs))
        return int(min(full["decided"][i], other["decided"][i]))
    return None if len(full) == len(other) else int(max(full, other, key=len)["decided"][n])


_DECISION = ("decided", "symbol", "side", "kind")
_SIZE = ("quantity", "limit", "stop")


def _submitted(result: BacktestResult) -> np.ndarray:
    """Orders that the strategy decided, legs left out."""
    rows = result.book.rows("orders")
    return rows[(rows["purpose"] != STOP_LEG) & (rows["purpose"] != TARGET_LEG)]


def _evaluate(result: BacktestResult, bars: Bars, *, own_warmups: bool = True) -> np.ndarray:
    """Targets of the strategy as it was given, on bars in memory of their own: neither knows later ones."""
    return strategy_targets(result.fresh_strategy(), bars.copied(), result.signal_adjustment, own_warmups=own_warmups)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for rounding: adjusting by other factors, or rolling sums begun elsewhere, move the last digits."""
    return bool(np.allclose(a, b, rtol=SAME, atol=SAME, equal_nan=True))


def _difference(result: BacktestResult, full: np.ndarray, cut: np.ndarray, first: int, t: int) -> str:
    """The first target that changed, in words."""
    row, column = np.argwhere(~np.isclose(full[first : t + 1], cut[first:], rtol=SAME, atol=SAME, equal_nan=True))[0]
    row += first
    return (f"the target of {result.bars.symbols[column]} at {_time(result.bars, int(row))} is "
            f"{full[row, column]:g} with all bars and {cut[row, column]:g} when they end at {_time(result.bars, t)}: "
            f"the strategy uses what was not known then.{_unfinished_period(result, full, first, int(row), t)}")


def _unfinished_period(result: BacktestResult, full: np.ndarray, first: int, row: int, t: int) -> str:
    """A hint when targets from ``row`` on change only because a week or a longer period is not over at ``t``.

    So it is when bars that end with a period, the first, the last and one between, change nothing.
    """
    days = result.bars.sessions.astype(np.int64)
    months = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    numbers = {"week": (days + 3) // 7, "month": months, "quarter": months // 3, "year": months // 12}
    if result.bars.interval != "1d":
        numbers = {"session": days} | numbers
    for period, number in numbers.items():
        if not number[row] == number[t] == number[t + 1]:
            continue
        ends = first + np.flatnonzero(np.diff(number[first:]))
        some = ends[np.linspace(0, len(ends) - 1, min(3, len(ends))).astype(int)]
        if len(some) and all(_same(full[first : e + 1], _evaluate(result, result.bars.upto(e))[first:])
                             for e in some.tolist()):
            return (f" Bars that end with a {period} change nothing, so it takes the last bar of an unfinished "
                    f"{period} for its end: only the next bar shows that a {period} is over; act on the first bar of "
                    "the next.")
    return ""


def _time(bars: Bars, t: int) -> str:
    return str(bars.index[t].date() if bars.interval == "1d" else bars.index[t])


def _rerun(result: BacktestResult, bars: Bars, slippage_bps: float | None = None, strategy: Any = None,
           progress: Callable[[range], Iterable[int]] | None = None) -> BacktestResult:
    """The same backtest on other bars or at another slippage; by the strategy as it was given, or by ``strategy``."""
    costs = result.costs
    if slippage_bps is not None:
        costs = costs.model_copy(update={"slippage_bps": slippage_bps})
    return backtest(bars, strategy or result.fresh_strategy(), cash=result.cash, risk=result.risk, costs=costs,
                    safety=result.safety, convention=result.convention,
                    signal_adjustment=result.signal_adjustment, quiet=True, progress=progress)


def cost_sensitivity(result: BacktestResult,
                     slippages_bps: tuple[float, ...] = SLIPPAGES_BPS) -> tuple[pd.DataFrame, float]:
    """The same backtest at other slippages, and the slippage at which its total return is zero.

    The return need not fall smoothly (a halt more or less moves it): the break-even is the first crossing found on the
    grid, refined by bisection.
    """
    slow = hasattr(result.strategy, "on_bar")  # a run may take a second, or many: fewer of them, a coarser answer
    few = slow and len(result.bars) > MANY_BARS
    grid = sorted({*(slippages_bps[::3] if few else slippages_bps), result.costs.slippage_bps})
    runs = {bps: result if bps == result.costs.slippage_bps else _rerun(result, result.bars, bps) for bps in grid}
    frame = pd.DataFrame({
        "slippage_bps": grid,
        "total_return_pct": [runs[b].metrics["total_return_pct"] for b in grid],
        "sharpe": [runs[b].metrics["sharpe"] for b in grid],
        "trades": [runs[b].n_trades for b in grid],
    })

    def gain(bps: float) -> float:
        run = runs.get(bps) or _rerun(result, result.bars, bps)
        return float(run.metrics["total_return_pct"])

    if not gain(grid[0]) > 0.0:
        return frame, float("nan")
    edges = [*grid, MAX_BREAKEVEN_BPS]
    for low, high in zip(edges, edges[1:], strict=False):
        if gain(high) <= 0.0:
            while high - low > (0.5 if slow else 0.05):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if gain(middle) > 0.0 else (low, middle)
            return frame, high
    return frame, float("inf")
