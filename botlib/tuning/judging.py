"""How much of what a search shows is its own doing.

What can be said of a search alone, `Facts`, takes about a second for a thousand points and is kept; what it means for
one point, `Honesty`, takes no time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from botlib import overfit


@dataclass(frozen=True)
class Facts:
    """What a search says of the searching.

    Attributes
    ----------
    points : int
        Those that are possible.
    share : float
        Effective number of independent trials for each of them; see `botlib.overfit.effective_trials`.
    variance : float
        Of their Sharpe ratios a bar.
    pbo : float
        Probability of backtest overfitting.

    All three are NaN where fewer than two points traded.
    """

    points: int
    share: float = math.nan
    variance: float = math.nan
    pbo: float = math.nan


@dataclass(frozen=True)
class Honesty:
    """How much of what a search shows is its own doing.

    Attributes
    ----------
    trials : int
        Distinct ones of this strategy on these data, those that were logged before included.
    effective : float
        So many independent ones they are worth, see `botlib.overfit.effective_trials`.
    sharpe, deflated : float
        In sample, annualised; and the probability that it is above what so many trials give by luck (deflated Sharpe
        ratio, Bailey and Lopez de Prado 2014). NaN where it is not defined.
    pbo : float
        Probability that the best of the surface in sample is below the median out of sample (Bailey et al. 2017).
    years, needed_years : float
        Length of the sample, and what so many trials need at least (minimum backtest length).
    """

    trials: int
    effective: float
    sharpe: float
    deflated: float
    pbo: float
    years: float
    needed_years: float


def facts_of(equity: np.ndarray) -> Facts:
    """Of the accounts (M, T) of the points that are possible, in sample."""
    returns = equity[:, 1:] / equity[:, :-1] - 1.0
    returns = returns[returns.std(axis=1) > 0.0].T  # (T, M): what never traded has no Sharpe ratio
    if returns.shape[1] < 2:
        return Facts(len(equity))
    ratios = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    return Facts(len(equity), overfit.effective_trials(returns) / returns.shape[1], float(ratios.var(ddof=1)),
                 overfit.probability_of_overfitting(returns).pbo)


def judged(facts: Facts, inside: np.ndarray, sharpe: float, periods_per_year: float, trials: int) -> Honesty:
    """What a search and the trials before it make of a point.

    Parameters
    ----------
    inside : (T,) float64
        The point's account in sample.
    sharpe : float
        Its annualised Sharpe ratio.
    trials : int
        Distinct trials so far; the search's own points count at least.
    """
    own = inside[1:] / inside[:-1] - 1.0
    trials, years = max(trials, facts.points), len(own) / periods_per_year
    if math.isnan(facts.share) or not own.std() > 0.0:
        return Honesty(trials, math.nan, sharpe, math.nan, math.nan, years, math.nan)
    effective = max(1.0, facts.share * trials)
    return Honesty(trials, effective, sharpe,
                   overfit.deflated_sharpe(overfit.moments(own), effective, facts.variance), facts.pbo, years,
                   overfit.minimum_backtest_years(effective) if effective > 1.0 else 0.0)
