"""Research: does a signal say anything about the returns that follow it?

These functions look into the future on purpose, to describe the past. Nothing here is for decisions.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.errors import InputError, checked

MIN_IN_QUANTILE = 10


@checked
def forward_returns(bars: Bars, horizon: int) -> np.ndarray:
    """(T, N) simple returns from each close to the close ``horizon`` bars later; NaN where that is unknown.

    Raises
    ------
    InputError
        When ``horizon`` is not a whole number from 1 to the number of bars less 1.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or not 1 <= horizon < len(bars):
        raise InputError(f"horizon = {horizon!r} is out of range: valid is a whole number of bars from 1 to "
                         f"{len(bars) - 1}.")
    out = np.full(bars.shape, np.nan)
    out[:-horizon] = bars.close[horizon:] / bars.close[:-horizon] - 1.0
    return out


def by_quantile(signal: np.ndarray, forward: np.ndarray, quantiles: int = 5, *, horizon: int = 1) -> pd.DataFrame:
    """Forward returns grouped by where the signal stood in its own range.

    Parameters
    ----------
    signal : (T, N) float
        Known at each close; NaN where there is none.
    forward : (T, N) float
        See `forward_returns`; cells where either is NaN are left out.
    quantiles : int
        Groups of about equal size, over all symbols and times together.
    horizon : int
        Bars each return spans. Neighbouring returns share horizon - 1 bars, so only about one in ``horizon`` counts as
        an independent observation, and the standard error is widened by its square root.

    Returns
    -------
    pandas.DataFrame
        One row a quantile: signal_from, signal_to, mean_return_pct, standard_error_pct, median_return_pct,
        positive_pct, observations.

    Raises
    ------
    InputError
        Shapes that differ, fewer than 2 quantiles, or fewer than 10 observations for each.
    """
    if np.shape(signal) != np.shape(forward):
        raise InputError(f"signal has shape {np.shape(signal)}, forward returns {np.shape(forward)}; both must be "
                         "(bars, symbols).")
    if isinstance(quantiles, bool) or not isinstance(quantiles, int) or quantiles < 2:
        raise InputError(f"quantiles = {quantiles!r} is out of range: valid is a whole number of at least 2.")
    known = np.isfinite(signal) & np.isfinite(forward)
    values, returns = np.asarray(signal)[known], np.asarray(forward)[known]
    if len(values) < MIN_IN_QUANTILE * quantiles:
        raise InputError(f"{len(values)} observations are too few for {quantiles} quantiles: at least "
                         f"{MIN_IN_QUANTILE * quantiles} are needed. Take fewer quantiles or a longer period.")
    edges = np.quantile(values, np.linspace(0.0, 1.0, quantiles + 1))
    group = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, quantiles - 1)
    rows = []
    for q in range(quantiles):
        r = returns[group == q] * 100.0
        n = len(r)
        error = r.std(ddof=1) / math.sqrt(n / horizon) if n > 1 else math.nan
        rows.append((edges[q], edges[q + 1], r.mean() if n else math.nan, error, np.median(r) if n else math.nan,
                     100.0 * (r > 0.0).mean() if n else math.nan, n))
    columns = ["signal_from", "signal_to", "mean_return_pct", "standard_error_pct", "median_return_pct", "positive_pct",
               "observations"]
    return pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(1, quantiles + 1, name="quantile"))
