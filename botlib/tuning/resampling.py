"""Monte Carlo: the same returns in other blocks, the same trades in another order. Pure: chance comes in as a seed.

Sources
-------
- Politis, Romano (1994), The Stationary Bootstrap, Journal of the American Statistical Association 89(428).
- Politis, White (2004), Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews 23(1), with
  the correction of Patton, Politis, White (2009), Econometric Reviews 28(4).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from botlib.errors import DataError, InputError
from botlib.metrics import curve_statistics
from botlib.overfit import moments
from botlib.tables import TextTable
from botlib.tuning.checks import above_zero, whole
from botlib.wording import percent, typeset

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that the results show unless others are asked for."""

_CHUNK = 500_000  # floats of one intermediate array: it stays in the processor's cache


@dataclass(frozen=True, eq=False, kw_only=True)
class Bootstrap:
    """What else could have come of returns like these.

    Attributes
    ----------
    total_return_pct, sharpe, max_drawdown_pct : (draws,) float64
        Of each draw, as `botlib.metrics` defines them; a draw without dispersion has no Sharpe ratio: NaN.
    actual : mapping of str to float
        The same three of the returns as they were.
    loss : float
        Share of draws with a total return below 0.
    block : float
        Expected length of a block, bars.
    bars : int
        Returns in each draw.
    seed : int
    """

    total_return_pct: np.ndarray = field(repr=False)
    sharpe: np.ndarray = field(repr=False)
    max_drawdown_pct: np.ndarray = field(repr=False)
    actual: Mapping[str, float]
    loss: float
    block: float
    bars: int
    seed: int

    def quantiles(self, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
        """A row a figure: its actual value, and its quantiles over the draws that have it (NaN: none has)."""
        return _quantiles({name: getattr(self, name) for name in self.actual}, self.actual, levels)

    def __repr__(self) -> str:
        low, high = np.quantile(self.total_return_pct, (0.05, 0.95))
        return (f"<Bootstrap {len(self.sharpe):,} draws of {self.bars:,} returns in blocks of {self.block:.1f}, seed "
                f"{self.seed}: total return {low:.1f} % to {high:.1f} % in nine of ten, a loss in "
                f"{100.0 * self.loss:.0f} %>")

    def _repr_html_(self) -> str:
        return _page(repr(self), self.quantiles())


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshuffled:
    """The same trades in other orders; where they end is the same in all of them.

    Attributes
    ----------
    max_drawdown_pct : (draws,) float64
        Of the account at each trade's end.
    losing_run : (draws,) int64
        Most losing trades in a row.
    actual : mapping of str to float
        Both in the order in which the trades happened.
    as_deep : float
        Share of orders whose drawdown is at least as deep as the actual one; near 1: the actual order was a lucky one.
    trades, seed : int
    cash : float
        Dollars before the first trade.
    """

    max_drawdown_pct: np.ndarray = field(repr=False)
    losing_run: np.ndarray = field(repr=False)
    actual: Mapping[str, float]
    as_deep: float
    trades: int
    cash: float
    seed: int

    def quantiles(self, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
        """A row a figure: its actual value, and its quantiles over the orders."""
        return _quantiles({name: getattr(self, name) for name in self.actual}, self.actual, levels)

    def __repr__(self) -> str:
        deep, run = float(np.quantile(self.max_drawdown_pct, 0.05)), float(np.quantile(self.losing_run, 0.95))
        return (f"<Reshuffled {self.trades:,} trades in {len(self.losing_run):,} orders, seed {self.seed}: one order "
                f"in twenty has a drawdown of {deep:.1f} % or deeper (actual {self.actual['max_drawdown_pct']:.1f} %), "
                f"or loses {run:.0f} times in a row or more (actual {self.actual['losing_run']:.0f})>")

    def _repr_html_(self) -> str:
        return _page(repr(self), self.quantiles())


def bootstrap(returns: Any, *, draws: int = 2000, block: float | None = None, seed: int = 0,
              periods_per_year: float = 252.0) -> Bootstrap:
    """The stationary bootstrap: series as long as the given one, put together from blocks of it of random length.

    Blocks keep what neighbouring returns have to do with each other, up to about a block's length.

    Parameters
    ----------
    returns : (T,) array or Series
        Simple returns a bar (0.01 = 1 %), finite, above -1, at least 3.
    draws : int
    block : float, optional
        Expected length of a block in bars, 1 to T; 1 draws every return by itself. Default: `expected_block`.
    seed : int
        At least 0; the same seed draws the same series.
    periods_per_year : float
        To annualise the Sharpe ratio, as `Bars.periods_per_year` gives it.

    Raises
    ------
    InputError
        A parameter that cannot be.
    DataError
        Returns that are too few, all the same (there is no Sharpe ratio), not finite, or -1 and below.
    """
    r = np.ascontiguousarray(returns, dtype=np.float64)
    moments(r)  # says why there is no Sharpe ratio
    if r.min() <= -1.0:
        raise DataError(f"returns: {r.min():g} takes the whole account, after which there is nothing to resample.")
    whole("draws", draws, 1)
    whole("seed", seed, 0)
    if block is not None and (isinstance(block, bool) or not isinstance(block, numbers.Real)
                              or not 1.0 <= float(block) <= len(r)):
        raise InputError(f"block = {block!r} must be a number of bars from 1 to {len(r):,}, or None to choose it from "
                         "the returns.")
    above_zero("periods_per_year", periods_per_year, "of bars")
    length = expected_block(r) if block is None else float(block)
    rng, found, growth = np.random.default_rng(seed), np.empty((draws, 3)), 1.0 + r
    for rows in _chunks(draws, len(r)):
        equity = np.ones((len(rows), len(r) + 1))
        np.cumprod(np.concatenate([growth, growth])[_blocks(rng, len(rows), len(r), length)], axis=1,
                   out=equity[:, 1:])
        for row, curve in zip(rows, equity, strict=True):
            found[row] = _figures(curve, periods_per_year)
    actual = _figures(np.concatenate([[1.0], np.cumprod(growth)]), periods_per_year)
    names = ("total_return_pct", "sharpe", "max_drawdown_pct")
    return Bootstrap(**dict(zip(names, found.T.copy(), strict=True)), actual=dict(zip(names, actual, strict=True)),
                     loss=float(np.mean(found[:, 0] < 0.0)), block=length, bars=len(r), seed=seed)


def expected_block(returns: Any) -> float:
    """Expected block length, in bars, with which the stationary bootstrap estimates the variance of the mean best.

    ``(2 g² / d)^(1/3) T^(1/3)`` with ``g = sum λ(k/M) |k| R(k)`` and ``d = 2 (sum λ(k/M) R(k))²`` over the
    autocovariances R of lags -M to M and the flat-top window λ, M twice the first lag from which on the
    autocorrelations are insignificant; at least 1, at most ``min(3 sqrt(T), T / 3)`` (Patton, Politis, White 2009, and
    their program for the choice of M).

    Parameters
    ----------
    returns : (T,) array or Series
        Finite, at least 3, not all the same.

    Raises
    ------
    DataError
    """
    r = np.asarray(returns, dtype=np.float64)
    moments(r)
    n = len(r)
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(math.ceil(math.sqrt(n)) + in_a_row, n - 1)
    centred = r - r.mean()
    covariance = np.array([centred[k:] @ centred[:n - k] for k in range(most + 1)]) / n
    small = np.abs(covariance[1:] / covariance[0]) < 2.0 * math.sqrt(math.log10(n) / n)
    runs = [k for k in range(1, most - in_a_row + 2) if small[k - 1:k - 1 + in_a_row].all()]
    large = np.flatnonzero(~small)
    window = min(2 * (runs[0] if runs else int(large[-1]) + 1 if len(large) else 1), most)
    lags = np.arange(1, window + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - lags / window))
    curvature = 2.0 * float(np.sum(weight * lags * covariance[1:window + 1]))
    long_run = float(covariance[0] + 2.0 * np.sum(weight * covariance[1:window + 1]))
    longest = float(math.ceil(min(3.0 * math.sqrt(n), n / 3.0)))
    if long_run == 0.0:
        return longest
    return min(longest, max(1.0, ((curvature / long_run) ** 2 * n) ** (1.0 / 3.0)))


def reshuffle(pnl: Any, cash: float = 100_000.0, *, draws: int = 2000, seed: int = 0) -> Reshuffled:
    """The order of trades shuffled: how deep a drawdown and how long a losing run the same trades could have brought.

    Dollars are added up, as of positions of a fixed size, at each trade's end; what positions lose meanwhile is unseen,
    and so is whatever ties a trade to the one before.

    Parameters
    ----------
    pnl : (K,) array or Series
        Dollars won or lost by each trade in the order of their ends, e.g. ``result.trades["pnl"]``; at least 2.
    cash : float
        Dollars before the first trade.
    draws, seed : int

    Raises
    ------
    InputError, DataError
    """
    p = np.ascontiguousarray(pnl, dtype=np.float64)
    if p.ndim != 1 or len(p) < 2:
        raise DataError(f"pnl: {p.size} trades have no order to shuffle; give the gains and losses of at least 2.")
    if not np.isfinite(p).all():
        raise DataError(f"pnl: {int((~np.isfinite(p)).sum())} of {len(p)} are not finite; leave them out.")
    above_zero("cash", cash, "of dollars")
    whole("draws", draws, 1)
    whole("seed", seed, 0)
    rng = np.random.default_rng(seed)
    deepest, runs = np.empty(draws), np.empty(draws, np.int64)
    for rows in _chunks(draws, len(p)):
        order = rng.permuted(np.tile(p, (len(rows), 1)), axis=1)
        deepest[rows.start:rows.stop], runs[rows.start:rows.stop] = _drawdowns(order, cash), _losing_runs(order)
    now, run = float(_drawdowns(p[None], cash)[0]), int(_losing_runs(p[None])[0])
    return Reshuffled(max_drawdown_pct=deepest, losing_run=runs, as_deep=float(np.mean(deepest <= now + 1e-9)),
                      actual={"max_drawdown_pct": now, "losing_run": run}, trades=len(p), cash=float(cash), seed=seed)


# --- inside -----------------------------------------------------------------------------------------------------------

def _blocks(rng: np.random.Generator, draws: int, n: int, length: float) -> np.ndarray:
    """(draws, n) places in the series and, to wrap around its end, a copy of it behind it: each begins a new block with
    probability ``1 / length``, at a random place, and else follows the one before."""
    begins = rng.random((draws, n)) < 1.0 / length
    begins[:, 0] = True
    first = np.flatnonzero(begins)
    lengths = np.diff(first, append=draws * n)
    shift = rng.integers(0, n, len(first)) - first
    return (np.repeat(shift, lengths) + np.arange(draws * n)).reshape(draws, n)


def _figures(equity: np.ndarray, periods_per_year: float) -> tuple[float, float, float]:
    curve = curve_statistics(equity, periods_per_year)
    return 100.0 * curve.total_return, curve.sharpe, 100.0 * curve.max_drawdown


def _drawdowns(pnl: np.ndarray, cash: float) -> np.ndarray:
    """Maximum drawdown of each row, percent; -100 and below once the cash is gone."""
    equity = np.concatenate([np.full((len(pnl), 1), cash), cash + np.cumsum(pnl, axis=1)], axis=1)
    worst: np.ndarray = 100.0 * (equity / np.maximum.accumulate(equity, axis=1) - 1.0).min(axis=1)
    return worst


def _losing_runs(pnl: np.ndarray) -> np.ndarray:
    """Most trades in a row below 0, of each row."""
    place = np.arange(1, pnl.shape[1] + 1, dtype=np.int32)
    ended = np.maximum.accumulate(np.where(pnl < 0.0, 0, place), axis=1)
    longest: np.ndarray = (place - ended).max(axis=1)
    return longest


def _chunks(draws: int, width: int) -> Iterator[range]:
    step = max(1, _CHUNK // width)
    return (range(first, min(first + step, draws)) for first in range(0, draws, step))


def _quantiles(figures: Mapping[str, np.ndarray], actual: Mapping[str, float], levels: Sequence[float]) -> pd.DataFrame:
    chosen = [float(level) for level in levels]
    if not chosen or not all(0.0 <= level <= 1.0 for level in chosen):
        raise InputError(f"levels = {levels!r} must be numbers from 0 to 1, e.g. (0.05, 0.5, 0.95).")
    rows = {}
    for name, values in figures.items():
        known = values[~np.isnan(values)]
        rows[name] = [actual[name], *(np.quantile(known, chosen) if len(known) else np.full(len(chosen), np.nan))]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["actual", *chosen])


def _page(title: str, table: pd.DataFrame) -> str:
    labels = {"total_return_pct": "Total return", "sharpe": "Sharpe ratio", "max_drawdown_pct": "Maximum drawdown",
              "losing_run": "Longest losing run"}
    text = {str(c) if c == "actual" else f"{100.0 * c:g} %": [
        percent(v) if row.endswith("_pct") else typeset(f"{v:.2f}" if row == "sharpe" else f"{v:.0f}")
        for row, v in table[c].items()] for c in table}
    shown = TextTable(text, index=[labels[row] for row in table.index])
    shown.attrs["caption"] = title.strip("<>")
    return shown._repr_html_()
