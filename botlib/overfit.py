"""How much of a good backtest is selection: statistics of Sharpe ratios that were searched for.

Pure. All Sharpe ratios here are per period (mean over standard deviation of the period's returns, ddof 1), never
annualised: the formulas hold for those alone. Divide an annual one by ``sqrt(periods_per_year)`` first.

Sources
-------
- Bailey, López de Prado (2012), The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2): probabilistic Sharpe ratio,
  minimum track record length.
- Bailey, López de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5): deflated Sharpe
  ratio, expected maximum, number of independent trials from their average correlation (its appendix 3).
- Bailey, Borwein, López de Prado, Zhu (2014), Pseudo-Mathematics and Financial Charlatanism, Notices of the AMS 61(5):
  minimum backtest length.
- Bailey, Borwein, López de Prado, Zhu (2017), The Probability of Backtest Overfitting, Journal of Computational Finance
  20(4): PBO by combinatorially symmetric cross-validation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from botlib.errors import DataError, InputError

_NORMAL = NormalDist()
_EULER = 0.5772156649015329
_NO_DISPERSION = 8.0 * float(np.finfo(np.float64).eps)  # a standard deviation of returns below it is rounding
_CHUNK = 4_000_000  # floats of one intermediate array of `probability_of_overfitting`: 32 MB

@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What the formulas need to know of a series of returns.

    Attributes
    ----------
    sharpe : float
        Per period.
    n : int
        Returns.
    skew : float
        Third standardised moment; 0 for normal returns.
    kurtosis : float
        Fourth standardised moment, not in excess; 3 for normal returns.
    """

    sharpe: float
    n: int
    skew: float = 0.0
    kurtosis: float = 3.0


def moments(returns: np.ndarray) -> Moments:
    """Of simple returns of one period each.

    Parameters
    ----------
    returns : (T,) float64
        At least 3, finite.

    Raises
    ------
    DataError
        Fewer than 3, one that is not finite, or all the same: there is no Sharpe ratio.
    """
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 1 or len(r) < 3:
        raise DataError(
            f"returns: {r.size} are too few for statistics of a Sharpe ratio; give at least 3, of one series.")
    if not np.isfinite(r).all():
        raise DataError(f"returns: {int((~np.isfinite(r)).sum())} of {len(r)} are not finite; leave them out.")
    centred = r - r.mean()
    variance = float(np.mean(centred**2))
    if math.sqrt(variance) <= _NO_DISPERSION:
        raise DataError(f"returns: all {len(r)} are the same, so there is no Sharpe ratio; perhaps nothing was traded.")
    return Moments(sharpe=float(r.mean() / r.std(ddof=1)), n=len(r),
                   skew=float(np.mean(centred**3) / variance**1.5), kurtosis=float(np.mean(centred**4) / variance**2))


def probabilistic_sharpe(of: Moments, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above ``benchmark`` (per period), given one series and no search.

    ``Φ((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR²))``.
    """
    return _NORMAL.cdf((of.sharpe - benchmark) * math.sqrt(of.n - 1) / math.sqrt(_spread(of)))


def minimum_track_record(of: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Returns needed until `probabilistic_sharpe` reaches ``confidence``; infinite while SR is not above it."""
    _check_fraction("confidence", confidence)
    if of.sharpe <= benchmark:
        return math.inf
    return 1.0 + _spread(of) * (_NORMAL.inv_cdf(confidence) / (of.sharpe - benchmark)) ** 2


def expected_maximum(trials: float) -> float:
    """Expected maximum of so many independent standard normal numbers; 0 for one.

    ``(1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))`` with the Euler-Mascheroni constant γ. Good from about 5 trials on.
    """
    _check_trials(trials)
    if trials <= 1.0:
        return 0.0
    value = (1.0 - _EULER) * _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    return max(0.0, value + _EULER * _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e)))


def deflated_sharpe(of: Moments, trials: float, trial_variance: float) -> float:
    """Probability that the true Sharpe ratio of the best of ``trials`` is above 0: `probabilistic_sharpe` against the
    best that so many trials without any skill are expected to show.

    Parameters
    ----------
    trials : float
        Independent trials, see `effective_trials`.
    trial_variance : float
        Variance of the trials' Sharpe ratios, per period.
    """
    if not (math.isfinite(trial_variance) and trial_variance >= 0.0):
        raise InputError(f"trial_variance = {trial_variance!r} must be a number of at least 0: the variance of the "
                         "trials' Sharpe ratios per period.")
    return probabilistic_sharpe(of, math.sqrt(trial_variance) * expected_maximum(trials))


def effective_trials(returns: np.ndarray) -> float:
    """How many independent trials a set of related ones amounts to: ``ρ + (1 - ρ) M`` of M trials whose returns have
    the average correlation ρ (Bailey, López de Prado 2014). Between 1 and M; a negative average counts as none.

    Parameters
    ----------
    returns : (T, M) float64
        A column a trial. Those without any dispersion, which never traded, are left out; at least one must have some.

    Raises
    ------
    DataError
        No trial has any dispersion, or returns are missing.
    """
    r = _matrix(returns)
    spread = r.std(axis=0)
    r = (r[:, spread > _NO_DISPERSION] - r[:, spread > _NO_DISPERSION].mean(axis=0)) / spread[spread > _NO_DISPERSION]
    m = r.shape[1]
    if m == 0:
        raise DataError("returns: no trial has any dispersion: none of them traded.")
    if m == 1:
        return 1.0
    # The sum of all correlations is the variance of the sum of standardised returns: no (M, M) matrix is needed.
    total = float(np.mean(r.sum(axis=1) ** 2))
    average = min(1.0, max(0.0, (total - m) / (m * (m - 1))))
    return average + (1.0 - average) * m


def minimum_backtest_years(trials: float, sharpe: float = 1.0) -> float:
    """Years of data below which the best of so many independent trials without any skill is expected to show an
    *annual* Sharpe ratio of at least ``sharpe``: ``(expected maximum / sharpe)²``."""
    if not (math.isfinite(sharpe) and sharpe > 0.0):
        raise InputError(f"sharpe = {sharpe!r} must be a number above 0: an annual Sharpe ratio, e.g. 1.0.")
    return (expected_maximum(trials) / sharpe) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """What combinatorially symmetric cross-validation found.

    Attributes
    ----------
    pbo : float
        Fraction of splits in which the best trial in sample is at or below the median out of sample; 0.5 is what
        choosing by chance gives.
    logits : (splits,) float64
        ``ln(ω / (1 - ω))`` of the relative rank ω of the best in sample among all out of sample.
    in_sample, out_of_sample : (splits,) float64
        Sharpe ratios per period of the best trial in sample, and of the same trial out of sample.
    slope : float
        Of out-of-sample on in-sample Sharpe ratios; below 0: the better it looked, the worse it did. NaN when all
        in-sample figures are the same.
    loss : float
        Fraction of splits in which the best in sample lost out of sample.
    """

    pbo: float
    logits: np.ndarray
    in_sample: np.ndarray
    out_of_sample: np.ndarray
    slope: float
    loss: float


def probability_of_overfitting(returns: np.ndarray, blocks: int = 16) -> Overfitting:
    """PBO: the data in equal blocks, each half of them once as in-sample and the other half as out-of-sample data; how
    often is the trial that is best in one half no better than the median in the other?

    Parameters
    ----------
    returns : (T, M) float64
        A column a trial, at least 2; the first ``T % blocks`` rows are left out. A trial without dispersion in a half
        has a Sharpe ratio of 0 there: it holds nothing.
    blocks : int
        Even, 2 to 16.

    Raises
    ------
    InputError, DataError
    """
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks % 2 or not 2 <= blocks <= 16:
        raise InputError(f"blocks = {blocks!r} must be an even number from 2 to 16.")
    r = _matrix(returns)
    rows, trials = len(r) // blocks, r.shape[1]
    if trials < 2:
        raise DataError(f"returns: {trials} trial: one cannot be the best of its kind; give at least 2.")
    if rows < 2:
        raise DataError(
            f"returns: {len(r)} are too few for {blocks} blocks of at least 2; take fewer blocks or more data.")
    r = r[len(r) - rows * blocks:]
    level = r.mean(axis=0)  # taken off for the squares' sake, and put back with the means
    parts = (r - level).reshape(blocks, rows, trials)
    sums, squares = parts.sum(axis=1), np.einsum("brm,brm->bm", parts, parts)
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    n = rows * blocks // 2
    best, worse = np.empty(len(halves)), np.empty(len(halves))
    ranks = np.empty(len(halves))
    step = max(1, _CHUNK // trials)
    for first in range(0, len(halves), step):
        mask = chosen[first:first + step]
        inside = _sharpes(mask @ sums, mask @ squares, level, n)
        outside = _sharpes((1.0 - mask) @ sums, (1.0 - mask) @ squares, level, n)
        at = np.arange(len(mask)), inside.argmax(axis=1)
        best[first:first + step], worse[first:first + step] = inside[at], outside[at]
        mine = outside[at][:, None]
        # ties share the mean of their ranks, so that identical trials are the median of each other
        ranks[first:first + step] = (outside < mine).sum(axis=1) + ((outside == mine).sum(axis=1) + 1) / 2.0
    relative = ranks / (trials + 1.0)
    logits = np.log(relative / (1.0 - relative))
    spread = float(np.var(best))
    slope = float(np.mean((best - best.mean()) * (worse - worse.mean())) / spread) if spread > 0.0 else math.nan
    return Overfitting(pbo=float(np.mean(logits <= 0.0)), logits=logits, in_sample=best, out_of_sample=worse,
                       slope=slope, loss=float(np.mean(worse < 0.0)))


# --- inside -----------------------------------------------------------------------------------------------------------

def _spread(of: Moments) -> float:
    """(n - 1) times the variance of the estimated Sharpe ratio."""
    value = 1.0 - of.skew * of.sharpe + (of.kurtosis - 1.0) / 4.0 * of.sharpe**2
    if not value > 0.0:
        raise DataError(f"skew {of.skew:g} and kurtosis {of.kurtosis:g} cannot belong to one series of returns with a "
                        f"Sharpe ratio of {of.sharpe:g} per period.")
    return value


def _sharpes(sums: np.ndarray, squares: np.ndarray, level: np.ndarray, n: int) -> np.ndarray:
    """Per period, from sums of centred returns and of their squares; 0 without dispersion."""
    mean = sums / n
    variance = np.maximum(squares - n * mean * mean, 0.0) / (n - 1)
    deviation = np.sqrt(variance)
    flat = deviation <= _NO_DISPERSION
    return np.where(flat, 0.0, (mean + level) / np.where(flat, 1.0, deviation))


def _matrix(returns: np.ndarray) -> np.ndarray:
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 2 or r.shape[0] < 2 or r.shape[1] < 1:
        raise DataError(f"returns: the shape {r.shape} must be a row a period (at least 2) and a column a trial.")
    if not np.isfinite(r).all():
        raise DataError(f"returns: {int((~np.isfinite(r)).sum())} of {r.size} are not finite; leave failed trials out.")
    return r


def _check_trials(trials: float) -> None:
    if not (math.isfinite(trials) and trials >= 1.0):
        raise InputError(f"trials = {trials!r} must be a number of at least 1.")


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} = {value!r} must lie between 0 and 1, e.g. 0.95.")
