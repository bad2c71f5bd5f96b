"""Figures of research and of the honesty checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import style
from botlib.bars import Bars
from botlib.errors import DataError, nearest
from botlib.research_tables import quantile_ranges
from botlib.style import BLUE, MUTED, ORANGE, VERMILLION, TimeAxis, heading, new_figure, note, styled
from botlib.wording import DOT, interval_label, percent, plural, prices_label, span

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def quantile_figure(table: pd.DataFrame, signal_name: str, horizon: int) -> Figure:
    """Mean forward return by quantile of a signal, with two standard errors.

    Parameters
    ----------
    table : pandas.DataFrame
        From `botlib.explore.by_quantile`.
    signal_name : str
    horizon : int
        Bars ahead.
    """
    figure = new_figure(4.4)
    ax = figure.subplots()
    at, mean = np.arange(len(table)), table["mean_return_pct"].to_numpy()
    ax.axhline(0.0, color=MUTED, linewidth=0.8)
    ax.bar(at, mean, width=0.62, color=[BLUE if m >= 0 else VERMILLION for m in mean], zorder=2)
    ax.errorbar(at, mean, 2.0 * table["standard_error_pct"].to_numpy(), fmt="none", ecolor=style.INK, elinewidth=1.2,
                capsize=4, zorder=3)
    labels = [f"{i}\n{low} to {high}" for i, (low, high) in zip(table.index, quantile_ranges(table), strict=True)]
    ax.set_xticks(at, labels)
    ax.set_xlabel(f"Quantile of {signal_name} (1 is lowest), and its range")
    ax.set_ylabel(f"Mean return over the next {plural(horizon, 'bar')} (%)")
    style.percent_axis(ax.yaxis)
    ax.xaxis.grid(False)
    top, bottom = table.iloc[-1], table.iloc[0]
    gap = top["mean_return_pct"] - bottom["mean_return_pct"]
    error = math.hypot(top["standard_error_pct"], bottom["standard_error_pct"])
    verdict = "more than chance would show" if abs(gap) > 2.0 * error else "no more than chance would show"
    heading(ax, f"Highest less lowest quantile: {percent(gap, sign=True, digits=2)}, {verdict}",
            f"{int(table['observations'].sum()):,} observations; whiskers: two standard errors each way; quantiles of "
            "the whole sample, which nobody knew at the time")
    return figure


@styled
def indicator_figure(bars: Bars, symbol: str, indicators: Mapping[str, np.ndarray],
                     levels: Mapping[str, tuple[float, ...]] | None = None) -> Figure:
    """One symbol's close over a panel for each indicator.

    Parameters
    ----------
    bars : Bars
    symbol : str
    indicators : mapping of label to (T, N) float
    levels : mapping of label to values at which a dashed line is drawn

    Raises
    ------
    DataError
        On a symbol that the bars do not have.
    """
    if symbol not in bars.symbols:
        raise DataError(f"symbol {symbol!r} is not in these bars{nearest(symbol, bars.symbols) or '.'} "
                        f"There are: {', '.join(bars.symbols)}.")
    i, time = bars.symbols.index(symbol), TimeAxis(bars.index)
    figure = new_figure(3.2 + 1.7 * len(indicators))
    heights = [2.2, *([1.0] * len(indicators))]
    axes = figure.subplots(1 + len(indicators), sharex=True, height_ratios=heights, squeeze=False)
    price = axes[0, 0]
    price.plot(time.x, bars.close[:, i], color=BLUE, linewidth=1.0)
    style.value_scale(price, bars.close[:, i])
    unit = "$, log" if price.get_yscale() == "log" else "$"
    price.set_ylabel(f"Close ({unit})")
    heading(price, symbol, DOT.join((interval_label(bars.interval), span(time.local), prices_label(bars.adjustment))))
    for ax, (label, values) in zip(axes[1:, 0], indicators.items(), strict=True):
        ax.plot(time.x, np.asarray(values)[:, i], color=ORANGE, linewidth=0.9)
        for level in (levels or {}).get(label, ()):
            ax.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.set_ylabel(label)
    for ax in axes[:, 0]:
        time.dress(ax)
        ax.label_outer()
    return figure


@styled
def cost_figure(honesty: Any, result: Any) -> Figure:
    """Total return against the slippage assumed, and where it reaches zero.

    Parameters
    ----------
    honesty : botlib.honesty.Honesty
    result : BacktestResult
    """
    table, assumed, gone = honesty.costs, result.costs.slippage_bps, honesty.breakeven_bps
    figure = new_figure(3.8)
    ax = figure.subplots()
    ax.axhline(0.0, color=MUTED, linewidth=0.8)
    ax.plot(table["slippage_bps"], table["total_return_pct"], color=BLUE, marker="o", markersize=4.5, linewidth=1.4)
    ax.axvline(assumed, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    note(ax, f"assumed: {assumed:g} bps", (assumed, 0.04), (5, 0), xycoords=("data", "axes fraction"), color=MUTED)
    if math.isfinite(gone):
        ax.plot([gone], [0.0], color=VERMILLION, marker="X", markersize=9, linestyle="none")
        note(ax, f"gone at {gone:.1f} bps", (gone, 0.0), (8, 8), xycoords="data", color=VERMILLION)
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    ticks = table["slippage_bps"].to_numpy()
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_xlim(-0.12, 1.25 * max(ticks[-1], gone if math.isfinite(gone) else 0.0))
    ax.set_xlabel("Slippage on every market and stop fill (bps, log from 1)")
    ax.set_ylabel("Total return (%)")
    style.percent_axis(ax.yaxis)
    title = ("No edge, even without slippage" if math.isnan(gone) else
             "The edge survives any likely slippage" if math.isinf(gone) else
             f"Slippage of {gone:.1f} bps takes the edge")
    heading(ax, title, "the same backtest, run again at other slippages")
    return figure
