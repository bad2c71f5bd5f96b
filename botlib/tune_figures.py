"""Figures of a search: the account at one point with its out-of-sample part, and the surface around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from botlib import style
from botlib.figures import flattened
from botlib.style import BENCHMARK, INK, LIMIT, MUTED, STRATEGY, TimeAxis, heading, new_figure, note, styled
from botlib.wording import percent, plural, typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from botlib.tuning.study import Curve, Study, Surface

LABELS = {"sharpe": "Sharpe ratio", "total_return_pct": "Total return (%)", "max_drawdown_pct": "Maximum drawdown (%)",
          "trades": "Trades"}


@styled
def tune_figure(study: Study, curve: Curve, held: np.ndarray, surface: Surface | None, point: dict[str, Any],
                words: str = "") -> Figure:
    """The account of a point beside buy and hold, and where the point lies on the surface.

    Parameters
    ----------
    held : (T,) float64
        Dollars of buy and hold.
    surface : Surface, optional
        None: it is being searched; ``words`` say so.

    Returns
    -------
    matplotlib.figure.Figure
        Dollars over time, out of sample shaded; right, the figure over two parameters, the point a ring and its
        plateau a frame. Nobody's search reaches into the shaded part.
    """
    figure = new_figure(4.3)
    figure.set_layout_engine("none")  # a slider waits for this figure
    left, width, bottom, height = 0.1, 0.43, 0.13, 0.68
    time, right = TimeAxis(study.bars.index), figure.add_axes((0.675, bottom, 0.24, height))
    curves = [("Strategy", curve.equity, STRATEGY, 1.7), ("Buy and hold", held, BENCHMARK, 1.0)]
    if flattened(curve.equity, held):  # beside it the strategy would be a line
        upper = figure.add_axes((left, bottom + 0.5 * height, width, 0.5 * height))
        lower = figure.add_axes((left, bottom, width, 0.38 * height), sharex=upper)
        _account(upper, study, time, curves[:1])
        _account(lower, study, time, curves[1:])
        upper.tick_params(axis="x", length=0, labelbottom=False)
        upper.set_xlabel("")
    else:
        upper = figure.add_axes((left, bottom, width, height))
        _account(upper, study, time, curves)
    top = upper.get_xaxis_transform()
    note(upper, "in sample", (time.x[0], 1.0), (3, -4), xycoords=top, va="top", color=MUTED)
    note(upper, "out of sample", (time.x[-1], 1.0), (-3, -4), xycoords=top, ha="right", va="top", color=MUTED)
    heading(upper, f"Sharpe ratio {_number(curve.sharpe_in)} in sample, {_number(curve.sharpe_out)} out of sample",
            f"{percent(curve.return_in_pct, sign=True)} in sample, {percent(curve.return_out_pct, sign=True)} after, "
            f"at worst {percent(curve.drawdown_pct)}; {plural(curve.trades, 'trade')}")
    if surface is not None:
        _surface(figure, right, surface, point)
        return figure
    right.set(xticks=[], yticks=[])
    right.spines[:].set_visible(False)
    right.text(0.5, 0.5, typeset(words or "searching ..."), transform=right.transAxes, ha="center", va="center",
               color=MUTED)
    return figure


def _account(ax: Axes, study: Study, time: TimeAxis, curves: list[tuple[str, np.ndarray, str, float]]) -> None:
    ax.axvspan(time.x[study.split - 1], time.x[-1], color="#FFF3D6", zorder=0, linewidth=0)
    for z, (_, values, colour, line) in enumerate(reversed(curves)):
        ax.plot(time.x, values, color=colour, linewidth=line, zorder=3 + z)
    style.value_scale(ax, np.concatenate([values for _, values, _, _ in curves]))
    ax.set_ylabel("Value ($, log)" if ax.get_yscale() == "log" else "Value ($)")
    time.dress(ax)
    last = [(time.x[-1], values[-1]) for _, values, _, _ in curves]
    ends = ax.transAxes.inverted().transform(ax.transData.transform(last))
    for (name, _, colour, _), place in zip(curves, style.spread(ends[:, 1].tolist(), 0.09), strict=True):
        note(ax, name, (1.0, place), (4, 0), xycoords="axes fraction", color=colour, va="center")


def _surface(figure: Figure, ax: Axes, surface: Surface, point: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.patches import Rectangle

    values = np.ma.masked_invalid(surface.values)
    known = surface.values[~np.isnan(surface.values)]
    signed = surface.metric in ("sharpe", "total_return_pct")
    if signed:  # zero is the middle
        most = max(float(np.abs(known).max()), 1e-9) if len(known) else 1.0
        colours, scale = LinearSegmentedColormap.from_list("signed", [LIMIT, "#F7F7F7", STRATEGY]), (-most, most)
    else:
        colours = LinearSegmentedColormap.from_list("amount", ["#F7F7F7", STRATEGY])
        scale = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    shades = colours.with_extremes(bad="#DDDDDD")
    rows, columns = values.shape
    image = ax.pcolormesh(np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, values, cmap=shades,
                          norm=Normalize(*scale))
    row, column = surface.at(point)
    low = (max(column - 1, 0), max(row - 1, 0))
    high = (min(column + 1, columns - 1), min(row + 1, rows - 1))
    ax.add_patch(Rectangle((low[0] - 0.5, low[1] - 0.5), high[0] - low[0] + 1, high[1] - low[1] + 1, fill=False,
                           edgecolor=INK, linewidth=1.0, linestyle=(0, (2, 2))))
    ax.plot(column, row, "o", markersize=8, markerfacecolor="white", markeredgecolor=INK, markeredgewidth=1.6)
    for axis, found in ((ax.xaxis, surface.xs), (ax.yaxis, surface.ys)):
        step = max(1, -(-len(found) // 6))
        axis.set_ticks(range(0, len(found), step), [_short(v) for v in found[::step]])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel=surface.x, ylabel=surface.y)
    place = figure.add_axes((0.93, 0.13, 0.014, 0.68))
    bar = figure.colorbar(image, cax=place)
    bar.outline.set_visible(False)  # type: ignore[operator]
    around = surface.plateau(row, column)
    here = surface.values[row, column]
    heading(ax, f"{LABELS[surface.metric]} in sample: {_number(float(here))}",
            f"around it {_number(around.median)}, at least {_number(around.lowest)}")


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else typeset(f"{value:.2f}")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
