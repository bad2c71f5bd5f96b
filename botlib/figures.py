"""Figures of the account: its value with the drawdown under it, and its monthly returns.

Each takes a `BacktestResult` and gives a matplotlib Figure that pyplot does not know. Titles say what is seen; axes
carry units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import style
from botlib.style import BENCHMARK, INK, LIMIT, MUTED, PALE, STRATEGY, TimeAxis, heading, new_figure, note, styled
from botlib.wording import context, limit_label, money, percent, plural, state_label, strategy_name, typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@styled
def equity_figure(result: Any, *, without_limits: pd.Series | None = None) -> Figure:
    """Account value with buy and hold beside it, and the drawdown under it.

    Parameters
    ----------
    result : BacktestResult
    without_limits : pandas.Series, (T,), optional
        Equity of the same strategy without safety controls, drawn as a thin line where it is another one.

    Returns
    -------
    matplotlib.figure.Figure
        Dollars above, on a log scale once the curves span a factor of four, and in two panels where buy and hold would
        make the strategy a flat line; percent below the peak under it. Halts and the drawdown limit are marked.
    """
    strategy = [("Strategy", result.equity.to_numpy(), STRATEGY, 1.8)]
    if without_limits is not None and not np.allclose(without_limits, result.equity, rtol=1e-12, atol=0.0):
        strategy.append(("Without limits", without_limits.to_numpy(), style.SKY, 1.0))
    held = [] if result.benchmark is None else [("Buy and hold", result.benchmark.equity.to_numpy(), BENCHMARK, 1.0)]
    apart = bool(held) and flattened(strategy[0][1], held[0][1])
    figure = new_figure(7.2 if apart else 5.8)
    panels = figure.subplots(3 if apart else 2, 1, sharex=True, height_ratios=(1.8, 1.3, 1.0) if apart else (2.6, 1.0))
    time = TimeAxis(result.equity.index)
    _value_panel(panels[0], time, strategy if apart else strategy + held)
    if apart:
        _value_panel(panels[1], time, strategy[:1] + held)
        _caption(panels[1], "The same beside buy and hold")
    _drawdown_panel(panels[-1], time, result)
    time.dress(panels[-1])
    _mark_halts(panels, time, result)
    for ax in panels[:-1]:
        ax.tick_params(axis="x", length=0)
    start, end = result.equity.iloc[0], result.equity.iloc[-1]
    heading(panels[0], f"{strategy_name(result)}: {money(start)} became {money(end)} ({_change(start, end)})",
            context(result))
    return figure


def flattened(equity: np.ndarray, held: np.ndarray) -> bool:
    """Whether one scale for both would show the strategy as a flat line."""
    lowest, highest = min(equity.min(), held.min()), max(equity.max(), held.max())
    if lowest > 0.0 and highest > style.LOG_FROM * lowest:
        lowest, highest, equity = math.log(lowest), math.log(highest), np.log(equity)
    return bool(equity.max() - equity.min() < 0.25 * (highest - lowest))


def _value_panel(ax: Axes, time: TimeAxis, curves: list[tuple[str, np.ndarray, str, float]]) -> None:
    """Account values in dollars, the first one in front, each named at its end."""
    for z, (_, values, colour, width) in enumerate(reversed(curves)):
        _line(ax, time.x, values, colour, width, 3 + z)
    style.value_scale(ax, np.concatenate([values for _, values, _, _ in curves]))
    ax.set_ylabel("Account value ($, log)" if ax.get_yscale() == "log" else "Account value ($)")
    _end_labels(ax, curves)


def _caption(ax: Axes, text: str) -> None:
    """What a lower panel shows."""
    ax.set_title(typeset(text), fontsize=9.5, fontweight="normal", color=MUTED, pad=5.0)


def _line(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, width: float, z: float) -> None:
    ax.plot(x, y, color=colour, linewidth=width, zorder=z, marker="o" if len(x) == 1 else None, markersize=4)


def _change(start: float, end: float) -> str:
    """A return in percent; small ones need two decimals."""
    value = 100.0 * (end / start - 1.0)
    return percent(value, sign=True, digits=2 if abs(value) < 1.0 else 1)


def _end_labels(ax: Axes, curves: list[tuple[str, np.ndarray, str, float]]) -> None:
    """Name and total return at each line's end instead of a legend."""
    scale = math.log10 if ax.get_yscale() == "log" else float
    low, high = (scale(v) for v in ax.get_ylim())
    gap = 30.0 / 72.0 * style.SHOWN_DPI / ax.bbox.height  # two lines of text
    places = style.spread([(scale(values[-1]) - low) / (high - low) for _, values, _, _ in curves], gap)
    for (name, values, colour, _), place in zip(curves, places, strict=True):
        note(ax, f"{name}\n{_change(values[0], values[-1])}", (1.0, place), (4, 0), xycoords="axes fraction",
             color=colour, va="center", fontweight="bold" if name == "Strategy" else "normal")


def _drawdown_panel(ax: Axes, time: TimeAxis, result: Any) -> None:
    """Percent below the running peak, the deepest point named."""
    equity = result.equity.to_numpy()
    fall = 100.0 * (equity / np.maximum.accumulate(equity) - 1.0)
    ax.fill_between(time.x, fall, 0.0, color=STRATEGY, alpha=0.22, linewidth=0)
    _line(ax, time.x, fall, STRATEGY, 0.9, 3)
    low = float(fall.min()) if fall.min() < 0.0 else -1.0
    limit = getattr(result.safety, "max_drawdown_pct", None)
    if limit is not None and limit < -3.0 * low:  # a limit far below the curve would only flatten it
        low = min(low, -limit)
        ax.axhline(-limit, color=LIMIT, linewidth=1.0, linestyle=(0, (4, 3)))
        note(ax, f"Limit\n{-limit:g} %", (1.0, -limit), (4, 0), xycoords=("axes fraction", "data"), color=LIMIT,
             va="center")
    trough = int(fall.argmin())
    if fall[trough] < 0.0:
        ax.plot(time.x[trough], fall[trough], "o", color=STRATEGY, markersize=4.5, zorder=4)
    _caption(ax, _drawdown_words(result, fall, trough))
    ax.set_ylabel("Below peak (%)")
    ax.set_ylim(1.18 * low, 0.0)
    ax.yaxis.set_major_locator(_few_ticks())
    style.percent_axis(ax.yaxis)


def _drawdown_words(result: Any, fall: np.ndarray, trough: int) -> str:
    if not fall[trough] < 0.0:
        return "Never below its peak"
    days = int(result.metrics["max_drawdown_days"])
    after = f"after {plural(days, 'day')}" if days else "within the day"
    back = f"back at its peak {after}" if (fall[trough:] == 0.0).any() else f"not back at its peak {after}"
    versus = ""
    if result.benchmark is not None:
        versus = f"; buy and hold {percent(result.benchmark.metrics['max_drawdown_pct'])}"
    depth = percent(fall[trough], digits=2 if fall[trough] > -1.0 else 1)
    return f"Deepest fall {depth} on {result.equity.index[trough]:%Y-%m-%d}, {back}{versus}"


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])


def _mark_halts(panels: np.ndarray, time: TimeAxis, result: Any) -> None:
    """A line where a limit acted; the first kill, or else the first of all, is named, and the others counted."""
    halts = result.halts
    if not len(halts):
        return
    bars = np.clip(result.equity.index.searchsorted(pd.DatetimeIndex(halts["time"])), 0, len(time.x) - 1)
    for ax in panels:
        ax.vlines(time.x[bars], 0.0, 1.0, transform=ax.get_xaxis_transform(), color=LIMIT, zorder=2,
                  linewidth=1.0 if len(bars) == 1 else 0.7, alpha=1.0 if len(bars) == 1 else 0.6)
    kills = np.flatnonzero((halts["state"] == "halted").to_numpy())
    named = int(kills[0]) if kills.size else 0
    halt, x = halts.iloc[named], time.x[bars[named]]
    others = f"\n{plural(len(halts) - 1, 'other halt')}" if len(halts) > 1 else ""
    text = (f"{limit_label(halt['limit'])} {percent(abs(halt['value_pct']))} reached its limit of "
            f"{percent(abs(halt['limit_pct']))}\non {halt['time']:%Y-%m-%d}: {state_label(halt['state'])}{others}")
    right, top = _clear_corner(panels[0], x)
    note(panels[0], text, (x, 0.97 if top else 0.03), (6 if right else -6, 0), xycoords=("data", "axes fraction"),
         color=LIMIT, va="top" if top else "bottom", ha="left" if right else "right", zorder=9,
         bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85})


def _clear_corner(ax: Axes, x: float) -> tuple[bool, bool]:
    """Where text beside a vertical line at ``x`` hides the least of the curves: (right of it, at the top)."""
    to_axes = ax.transData + ax.transAxes.inverted()
    points = np.vstack([to_axes.transform(np.column_stack(line.get_data())) for line in ax.lines])
    at = float(to_axes.transform((x, ax.get_ylim()[0]))[0])
    hidden = {}
    for right, top in ((True, True), (False, True), (True, False), (False, False)):
        low, high = (at, at + 0.42) if right else (at - 0.42, at)
        inside = (points[:, 0] >= low) & (points[:, 0] <= high) & (points[:, 1] > 0.75 if top else points[:, 1] < 0.25)
        hidden[right, top] = math.inf if low < 0.0 or high > 1.0 else int(inside.sum())
    return min(hidden, key=lambda corner: hidden[corner])


def monthly_returns(equity: pd.Series) -> pd.DataFrame:
    """Returns of calendar months in percent.

    Parameters
    ----------
    equity : pandas.Series, (T,)
        Account value at each bar's close; its first value is the base of the first month.

    Returns
    -------
    pandas.DataFrame, (years, 13)
        Columns 1 to 12 and "year" (the months compounded); NaN where there is no bar.
    """
    local = equity.index.tz_localize(None)
    ends = equity.groupby([local.year, local.month]).last()
    growth = ends / ends.shift(1, fill_value=equity.iloc[0])
    table = 100.0 * (growth.unstack() - 1.0).reindex(columns=range(1, 13))
    table["year"] = 100.0 * (growth.groupby(level=0).prod() - 1.0)
    table.index.name = table.columns.name = None
    return table


@styled
def monthly_figure(result: Any) -> Figure:
    """Monthly returns as a heat map with numbers: years down, each year's total and buy and hold's beside it.

    Returns
    -------
    matplotlib.figure.Figure
        Percent; blue above zero, vermillion below.
    """
    table = monthly_returns(result.equity)
    months = table[list(range(1, 13))].to_numpy()
    figure = new_figure(0.36 * len(table) + 1.15)
    ax = figure.subplots()
    _heat_cells(ax, months)
    _year_column(ax, table["year"].to_numpy(), 12.5, bold=True)
    labels, ticks = [*_MONTHS, "Year"], [*map(float, range(12)), 12.5]
    if result.benchmark is not None:
        _year_column(ax, monthly_returns(result.benchmark.equity)["year"].to_numpy(), 13.8, bold=False)
        labels, ticks = [*labels, "Buy and\nhold"], [*ticks, 13.8]
    ax.set_xticks(ticks, labels)
    ax.set_yticks(range(len(table)), [str(year) for year in table.index])
    ax.set_xlim(-0.5, ticks[-1] + 0.65)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(False)
    ax.tick_params(length=0, labeltop=True, labelbottom=False, top=False)
    ax.spines[:].set_visible(False)
    known = months[np.isfinite(months)]
    heading(ax, f"Monthly returns in percent: {int((known > 0.0).sum()):,} of {plural(known.size, 'month')} up",
            _extremes(table, months) or context(result), above=19.0)
    return figure


def _extremes(table: pd.DataFrame, months: np.ndarray) -> str:
    """Best and worst month, if they differ."""
    low, high = np.nanmin(months), np.nanmax(months)
    if not high > low:
        return ""
    named = []
    for value in (high, low):
        row, column = np.argwhere(months == value)[0]
        named.append(f"{percent(value, sign=True)} in {_MONTHS[column]} {table.index[row]}")
    return f"Best {named[0]}; worst {named[1]}"


def _heat_cells(ax: Axes, months: np.ndarray) -> None:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    scale = max(float(np.nanquantile(np.abs(months), 0.97)), 0.5)  # one wild month must not bleach the others
    colours = LinearSegmentedColormap.from_list("returns", [LIMIT, "#F7F7F7", STRATEGY])
    ax.pcolormesh(np.arange(13) - 0.5, np.arange(len(months) + 1) - 0.5, np.ma.masked_invalid(months), cmap=colours,
                  norm=Normalize(-scale, scale, clip=True), edgecolors="white", linewidth=1.2)
    for (row, column), value in np.ndenumerate(months):
        if np.isfinite(value):
            ink = PALE if abs(value) < 0.05 else style.ink_on(colours(0.5 + 0.5 * value / scale))
            ax.text(column, row, _cell(value), ha="center", va="center", fontsize=8.5, color=ink)


def _year_column(ax: Axes, values: np.ndarray, x: float, *, bold: bool) -> None:
    for row, value in enumerate(values):
        if np.isfinite(value):
            ax.text(x + 0.42, row, _cell(value), ha="right", va="center", fontsize=9.0, color=INK if bold else MUTED,
                    fontweight="bold" if bold else "normal")


def _cell(value: float) -> str:
    text = f"{value:.1f}" if abs(value) < 999.95 else f"{value:,.0f}"
    return "0.0" if text == "-0.0" else typeset(text)
