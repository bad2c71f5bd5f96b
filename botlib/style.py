"""The look of every figure: colours, type, axes.

Colours are Okabe and Ito's (2008), which colour-blind people can tell apart; matplotlib is imported only when drawing.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd

from botlib.errors import checked
from botlib.wording import money, typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
INK, MUTED, PALE = "#222222", "#6B6B6B", "#A0A0A0"

STRATEGY, BENCHMARK, LIMIT = BLUE, "#949494", VERMILLION
LONG, SHORT = BLUE, PURPLE

# Exit reason: colour, marker; colour is never the only difference.
EXITS = {
    "signal": (SKY, "o"), "target": (GREEN, "D"), "stop": (VERMILLION, "X"), "reduce": (ORANGE, "s"),
    "split": (BLACK, "P"),
}

LOG_FROM = 4.0  # a logarithmic axis from this ratio of highest to lowest value
WIDTH = 10.0  # inches
SHOWN_DPI, _SAVED_DPI = 96, 160  # shown at the size of a notebook cell, saved for dense screens

_RC: dict[Any, Any] = {
    "axes.axisbelow": True, "axes.edgecolor": "#B0B0B0", "axes.grid": True, "axes.grid.axis": "y",
    "axes.labelcolor": MUTED, "axes.labelsize": 9.5, "axes.linewidth": 0.8, "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlelocation": "left", "axes.titlesize": 12.5, "axes.titleweight": "bold",
    "axes.titlecolor": INK, "font.size": 9.5, "grid.color": "#EAEAEA", "grid.linewidth": 0.8, "legend.fontsize": 9.0,
    "legend.frameon": False, "lines.solid_capstyle": "round", "text.color": INK, "text.parse_math": False,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelsize": 9.0, "ytick.labelsize": 9.0, "xtick.major.size": 3.0,
    "ytick.major.size": 0.0, "xtick.minor.size": 0.0, "ytick.minor.size": 0.0,
}


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw inside botlib's settings; the user's own matplotlib settings and pyplot's figures stay as they are.

    A parameter named bars, result or honesty is checked first (`botlib.errors.require`).
    """
    function = checked(function)

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib as mpl

        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_RC)
            return function(*args, **kwargs)

    return inner


@functools.cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class ReportFigure(Figure):
        """A figure outside pyplot that shows itself in a notebook."""

        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=_SAVED_DPI, metadata={"Software": None})
            width, height = self.get_size_inches()
            return buffer.getvalue(), {"width": round(width * SHOWN_DPI), "height": round(height * SHOWN_DPI)}

    return ReportFigure


def new_figure(height: float = 5.0) -> Figure:
    """An empty figure of ``height`` inches that pyplot does not know."""
    return _figure_class()(figsize=(WIDTH, height), dpi=SHOWN_DPI, layout="constrained")


def heading(ax: Axes, title: str, subtitle: str, *, above: float = 0.0) -> None:
    """What is seen, in bold, and under it the context; ``above`` points over the axes."""
    ax.set_title(typeset(title), pad=above + 24.0)
    note(ax, subtitle, (0.0, 1.0), (0.0, above + 8.0), xycoords="axes fraction", color=MUTED, va="bottom", fontsize=9.5)


def note(ax: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], *, xycoords: Any,
         **look: Any) -> None:
    """Text beside a point, ``offset`` points away; it may stand outside the axes."""
    ax.annotate(typeset(text), at, offset, xycoords=xycoords, textcoords="offset points", annotation_clip=False,
                **{"fontsize": 9.0, "linespacing": 1.15} | look)


def empty_figure(title: str, subtitle: str, message: str) -> Figure:
    """What a figure becomes when there is nothing to draw: the reason, in words."""
    figure = new_figure(2.2)
    ax = figure.subplots()
    heading(ax, title, subtitle)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.text(0.5, 0.5, typeset(message), transform=ax.transAxes, ha="center", va="center", color=MUTED, fontsize=11)
    return figure


def ink_on(colour: tuple[float, ...]) -> str:
    """Ink or white, whichever has more contrast on a background, by WCAG 2's relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.213 else INK


def money_axis(axis: Any) -> None:
    """Labels in dollars, with cents when the axis spans only a few of them."""
    from matplotlib.ticker import FuncFormatter

    def label(value: float, _: object) -> str:
        low, high = axis.get_view_interval()
        return typeset(money(value, digits=0 if high - low >= 5.0 else 2))

    axis.set_major_formatter(FuncFormatter(label))


def percent_axis(axis: Any) -> None:
    """Labels in percent with as many decimals as the ticks need."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda v, _: typeset(f"{0.0 if abs(v) < 1e-12 else v:,.4g} %")))


def count_axis(axis: Any) -> None:
    """Whole numbers with thousands separators."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))


def value_scale(ax: Axes, values: np.ndarray) -> None:
    """A y axis in dollars, logarithmic once the values span a factor of ``LOG_FROM``."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    values = values[np.isfinite(values)]
    if values.size and values.min() > 0.0 and values.max() > LOG_FROM * values.min():
        ax.set_yscale("log")
        ratio = values.max() / values.min()
        subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if ratio < 10.0 else (1.0, 2.0, 5.0) if ratio < 300.0 else (1.0,)
        ax.yaxis.set_major_locator(LogLocator(10.0, subs=subs))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    money_axis(ax.yaxis)


class TimeAxis:
    """Where bars stand on the x axis.

    Daily bars stand at their date. Intraday bars stand side by side, without the nights and weekends between them,
    which would be most of the axis.

    Attributes
    ----------
    x : (T,) float64
        Position of each bar, in days since 1970-01-01 or in bars.
    """

    def __init__(self, index: pd.DatetimeIndex) -> None:
        self.local = index.tz_localize(None)
        self.zone = str(index.tz or "")
        self.dates = self.local.normalize()
        self.intraday = bool((self.local != self.dates).any())
        days = self.local.to_numpy().astype("datetime64[s]").astype(np.float64) / 86_400.0
        self.x = np.arange(len(index), dtype=np.float64) if self.intraday else days

    def dress(self, ax: Axes) -> None:
        """Ticks, labels and limits of the x axis."""
        ax.xaxis.grid(False)
        if len(self.x) > 1:
            pad = 0.01 * (self.x[-1] - self.x[0])
            ax.set_xlim(self.x[0] - pad, self.x[-1] + pad)
        if self.intraday:
            ax.set_xlabel(f"Time of bars' start, {self.zone}; nights left out" if self.zone else "Time of bars' start")
            ax.set_xticks(*self._intraday_ticks())
            return
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        ax.set_xlabel("Date")
        if len(self.x) < 5:  # so few that matplotlib would divide the days
            ax.set_xticks(self.x, [f"{d:%d %b}" for d in self.dates])
            return
        ax.xaxis_date()
        locator = AutoDateLocator(minticks=4, maxticks=10)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(
            locator, show_offset=False, formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"],
            zero_formats=["", "%b\n%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]))

    def _intraday_ticks(self) -> tuple[np.ndarray, list[str]]:
        """Positions and labels: dates of session starts, or hours when there are few sessions."""
        new_day = np.r_[True, self.dates[1:] != self.dates[:-1]]
        starts = np.flatnonzero(new_day)
        if len(starts) >= 5:
            bars = self._apart(starts[:: math.ceil(len(starts) / 9)], new_day, 12.0)
            dates = [self.local[b] for b in bars]
            years = [d.year if i == 0 or d.year != dates[i - 1].year else "" for i, d in enumerate(dates)]
            return self.x[bars], [f"{d.day} {d:%b}\n{year}" for d, year in zip(dates, years, strict=True)]
        slot = ((self.local - self.dates) // pd.Timedelta(hours=1 if len(starts) == 1 else 2)).to_numpy()
        # The first full hour is too close to an open at half past for both labels, marks of a session to each other.
        bars = self._apart(np.flatnonzero(new_day | np.r_[True, slot[1:] != slot[:-1]]), new_day, 15.0)
        times, days = [self.local[b] for b in bars], [None, *(self.dates[b] for b in bars)]
        return self.x[bars], [f"{t:%H:%M}" + (f"\n{t.day} {t:%b %Y}" if t.normalize() != before else "")
                              for t, before in zip(times, days, strict=False)]

    def _apart(self, bars: np.ndarray, new_day: np.ndarray, most: float) -> np.ndarray:
        """Those of these bars whose labels have room side by side, ``most`` of them on the axis; labels with a date,
        which are wider, at most 11. The first of a day goes before a time of the day before."""
        span, kept = len(self.x) - 1, list(bars[:1])
        for b in bars[1:].tolist():
            dated = [k for i, k in enumerate(kept) if i == 0 or self.dates[k] != self.dates[kept[i - 1]]]
            new = self.dates[b] != self.dates[kept[-1]]
            if new and b - dated[-1] < span / 11.0:
                continue
            if b - kept[-1] >= span / most:
                kept.append(b)
            elif new and new_day[b] and kept[-1] != dated[-1]:
                kept[-1] = b
        return np.array(kept, dtype=int)


def spread(values: list[float], gap: float) -> list[float]:
    """Positions near ``values``, in the same order, at least ``gap`` apart: labels that do not overlap."""
    order = np.argsort(values, kind="stable")
    placed = np.array(values, dtype=np.float64)[order]
    for _ in range(50):
        close = np.flatnonzero(np.diff(placed) < gap - 1e-12)
        if not close.size:
            break
        for i in close:
            middle = (placed[i] + placed[i + 1]) / 2.0
            placed[i], placed[i + 1] = middle - gap / 2.0, middle + gap / 2.0
    result = np.empty_like(placed)
    result[order] = placed
    return [float(v) for v in result]
