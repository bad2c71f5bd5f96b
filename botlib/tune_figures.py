"""The two pictures of a search, the account at a point and the surface around it.

Made once and redrawn in a few milliseconds: what stands still is kept as a background, and only what a move changes is
drawn upon it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from botlib import style
from botlib.figures import flattened
from botlib.style import BENCHMARK, INK, LIMIT, LOG_FROM, MUTED, SKY, STRATEGY, TimeAxis, styled
from botlib.wording import percent, plural, typeset

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from botlib.tuning.study import Curve, Study, Surface

DPI = 100
_NO_METADATA: dict[Any, Any] = {"Software": None}
OUT_OF_SAMPLE = "#FFF3D6"
_HEAD = 0.14  # of the height, for a title
_WHOLE, _UPPER, _LOWER = (0.195, 0.145, 0.645, 0.68), (0.195, 0.445, 0.645, 0.38), (0.195, 0.145, 0.645, 0.245)

LABELS = {"sharpe": "Sharpe ratio", "total_return_pct": "Total return (%)", "max_drawdown_pct": "Maximum drawdown (%)",
          "trades": "Trades"}


class Picture:
    """A figure with a background that stands still and artists that move.

    Attributes
    ----------
    width : int
        Pixels in which it is shown; with another ``dpi`` than `DPI` it has more of them.
    heading : (str, str)
        What is seen, and the context. Drawn only where it is ``titled``: text is the slow part of a picture.
    """

    def __init__(self, size: tuple[float, float], dpi: int, titled: bool) -> None:
        self.width, self.dpi, self.titled = round(size[0] * DPI), dpi, titled
        self.heading = "", ""
        self.figure = self._made(size, dpi)
        self.moving: list[Artist] = []
        self.stale = True
        self._ground: Any = None

    @staticmethod
    @styled
    def _made(size: tuple[float, float], dpi: int) -> Figure:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, dpi=dpi)
        FigureCanvasAgg(figure)
        return figure

    def head(self, title: str, under: str) -> None:
        """Say what is seen."""
        self.heading = typeset(title), typeset(under)
        if self.titled:
            for text, words in zip(self._texts, self.heading, strict=True):
                text.set_text(words)

    def headed(self, ax: Any, left: float = 0.0) -> None:
        """Make room for what is said above these axes."""
        from matplotlib.transforms import ScaledTranslation

        looks: tuple[dict[str, Any], ...] = ({"fontsize": 10.5, "fontweight": "bold", "color": INK},
                                             {"fontsize": 9.0, "color": MUTED})
        self._texts = [ax.text(left, 1.0, "", va="bottom", transform=ax.transAxes + ScaledTranslation(
            0.0, above / 72.0, self.figure.dpi_scale_trans), **look)
            for look, above in zip(looks, (20.0, 6.0), strict=True)]
        if self.titled:
            self.moves(*self._texts)

    def moves(self, *artists: Any) -> None:
        for one in artists:
            one.set_animated(True)
        self.moving += artists

    def png(self) -> bytes:
        """What it looks like now."""
        from matplotlib.image import imsave

        canvas: Any = self.figure.canvas
        if self.stale or self._ground is None:
            canvas.draw()
            self._ground, self.stale = canvas.copy_from_bbox(self.figure.bbox), False
        else:
            canvas.restore_region(self._ground)
        for one in self.moving:
            self.figure.draw_artist(one)
        buffer = io.BytesIO()
        imsave(buffer, np.asarray(canvas.buffer_rgba()), format="png", dpi=self.dpi, pil_kwargs={"compress_level": 1},
               metadata=_NO_METADATA)
        return buffer.getvalue()

    def texts(self) -> list[str]:
        """All that is written in it."""
        from matplotlib.text import Text

        return [text.get_text() for text in self.figure.findobj(Text) if text.get_text() and text.get_visible()]


class CurvePicture(Picture):
    """The account of a point beside buy and hold, what is out of sample shaded."""

    SIZE = (4.45, 3.2)

    def __init__(self, study: Study, dpi: int = DPI, *, titled: bool = True) -> None:
        super().__init__(self.SIZE, dpi, titled)
        self._limits: dict[Any, tuple[float, float, bool]] = {}
        self._apart = False
        self._build(study)

    def _build(self, study: Study) -> None:
        @styled
        def build() -> Figure:
            self.time = TimeAxis(study.bars.index)
            self.lower = self.figure.add_axes(_WHOLE)
            self.upper = self.figure.add_axes(_WHOLE, sharex=self.lower)
            x = self.time.x
            for ax in (self.upper, self.lower):
                ax.axvspan(x[study.split - 1], x[-1], color=OUT_OF_SAMPLE, zorder=0, linewidth=0)
            (self.held,) = self.lower.plot(x, np.ones(len(x)), color=BENCHMARK, linewidth=1.0)
            (self.line,) = self.upper.plot(x, np.ones(len(x)), color=STRATEGY, linewidth=1.6)
            self.time.dress(self.lower)
            for ax in (self.upper, self.lower):
                ax.xaxis.grid(False)
            top = self.upper.get_xaxis_transform()
            style.note(self.upper, "in sample", (x[0], 1.0), (3, -4), xycoords=top, va="top", color=MUTED)
            style.note(self.upper, "out of sample", (x[-1], 1.0), (-3, -4), xycoords=top, ha="right", va="top",
                       color=MUTED)
            self.headed(self.upper, -_WHOLE[0] / _WHOLE[2] + 0.02)
            self.logs = {
                ax: ax.text(0.01, place, "log scale", transform=ax.transAxes, va="top", color=MUTED, fontsize=8.0,
                            visible=False) for ax, place in ((self.upper, 0.85), (self.lower, 0.96))}
            self.ends = [ax.text(1.015, 0.5, name, transform=ax.transAxes, color=colour, va="center", fontsize=9.0)
                         for ax, name, colour in ((self.upper, "Strategy", STRATEGY),
                                                  (self.lower, "Buy and\nhold", MUTED))]
            return self.figure

        build()
        self.moves(self.held, self.line, *self.ends)
        self._arrange(apart=False)

    def _arrange(self, *, apart: bool) -> None:
        """One above the other where a common scale would make the strategy a line."""
        self._apart, self.stale, self._limits = apart, True, {}
        for ax, (left, low, width, height), top in ((self.upper, _UPPER if apart else _WHOLE, True),
                                                    (self.lower, _LOWER if apart else _WHOLE, not apart)):
            ax.set_position((left, low, width, height + (_HEAD if top and not self.titled else 0.0)))
        self.upper.patch.set_visible(apart)
        self.upper.tick_params(axis="x", length=0, labelbottom=False)
        self.lower.yaxis.set_visible(apart)
        self.upper.spines["bottom"].set_visible(apart)

    def show(self, curve: Curve, held: np.ndarray) -> None:
        """Put another account in."""
        self.line.set_ydata(curve.equity)
        self.held.set_ydata(held)
        apart = self._apart or flattened(curve.equity, held)
        if apart != self._apart:
            self._arrange(apart=apart)
        if apart:
            self._scale(self.upper, curve.equity)
            self._scale(self.lower, held)
        else:
            both = np.concatenate([curve.equity, held])
            self._scale(self.upper, both)
            self._scale(self.lower, both)
        ends = [float(ax.transAxes.inverted().transform(ax.transData.transform((self.time.x[-1], values[-1])))[1])
                for ax, values in ((self.upper, curve.equity), (self.lower, held))]
        for text, place in zip(self.ends, ends if apart else style.spread(ends, 0.11), strict=True):
            text.set_y(place)
        self.head(f"Sharpe ratio {_number(curve.sharpe_in)} in sample, {_number(curve.sharpe_out)} out of sample",
                  f"{percent(curve.return_in_pct, sign=True)}, then {percent(curve.return_out_pct, sign=True)}; at "
                  f"worst {percent(curve.drawdown_pct)}; {plural(curve.trades, 'trade')}")

    def _scale(self, ax: Any, values: np.ndarray) -> None:
        """Limits that stay while they fit: a picture whose axis jumps at each move compares nothing."""
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        log = low > 0.0 and high > LOG_FROM * low
        scaled = math.log if log else float
        pad = 0.3 * (scaled(high) - scaled(low)) or (0.01 if log else 0.01 * abs(high) or 1.0)
        wide = (low * math.exp(-pad), high * math.exp(pad)) if log else (low - pad, high + pad)
        bottom, top, was_log = self._limits.get(ax, (math.nan, math.nan, not log))
        if was_log == log and bottom <= low and high <= top and (
                scaled(wide[1]) - scaled(wide[0]) > 0.3 * (scaled(top) - scaled(bottom))):
            return
        self._limits[ax], self.stale = (*wide, log), True

        @styled
        def scale() -> Figure:
            ax.set_yscale("log" if log else "linear")
            style.value_scale(ax, np.array([low, high]))
            ax.set_ylim(*wide)
            self.logs[ax].set_visible(log and self._apart)
            ax.set_ylabel("" if self._apart else "Value ($, log)" if log else "Value ($)")
            return self.figure

        scale()


class SurfacePicture(Picture):
    """A figure over two parameters; the point a ring, its plateau a frame."""

    SIZE = (3.75, 3.2)

    def __init__(self, dpi: int = DPI, *, titled: bool = True) -> None:
        super().__init__(self.SIZE, dpi, titled)
        self._shown: tuple[Any, ...] = ()
        self._ends: tuple[float, float] | None = None

    def show(self, surface: Surface, point: Mapping[str, Any], words: str = "") -> None:
        """Put another surface in, or move the point on the one that is there."""
        self._ends = _scale_of(surface, self._ends if self._shown[:1] == (surface.metric,) else None)
        blank = bool(np.isnan(surface.values).any())
        key = surface.metric, surface.x, surface.y, surface.xs, surface.ys, self._ends, blank
        if key != self._shown:
            self._build(surface, self._ends, blank)
            self._shown, self.stale = key, True
        self.image.set_data(np.ma.masked_invalid(surface.values))
        row, column = surface.at(point)
        rows, columns = surface.values.shape
        low = max(column - 1, 0) - 0.5, max(row - 1, 0) - 0.5
        high = min(column + 1, columns - 1) + 0.5, min(row + 1, rows - 1) + 0.5
        for one in (self.edge, self.frame):
            one.set_bounds(*low, high[0] - low[0], high[1] - low[1])
        self.ring.set_data([column], [row])
        around, here = surface.plateau(row, column), float(surface.values[row, column])
        self.head(f"{LABELS[surface.metric]} in sample: {_number(here, surface.metric)}",
                  words or f"around it {_number(around.median, surface.metric)} in the middle, "
                           f"{_number(around.lowest, surface.metric)} at least")

    def _build(self, surface: Surface, ends: tuple[float, float], blank: bool) -> None:
        from matplotlib.colors import LinearSegmentedColormap, Normalize
        from matplotlib.patches import Rectangle

        @styled
        def build() -> Figure:
            self.figure.clear()
            self.moving = []
            ax = self.ax = self.figure.add_axes((0.17, 0.195, 0.63, 0.63 if self.titled else 0.77))
            shades = {"max_drawdown_pct": [STRATEGY, SKY, "#F7F7F7"], "trades": ["#F7F7F7", SKY, STRATEGY]}.get(
                surface.metric, [LIMIT, "#F7F7F7", STRATEGY])
            colours = LinearSegmentedColormap.from_list("surface", shades).with_extremes(bad="#DDDDDD")
            self.image = ax.imshow(surface.values, cmap=colours, norm=Normalize(*ends), origin="lower",
                                   aspect="auto", interpolation="nearest")
            for axis, found in ((ax.xaxis, surface.xs), (ax.yaxis, surface.ys)):
                step = max(1, math.ceil(len(found) / 7))
                axis.set_ticks(range(0, len(found), step), [value_text(v) for v in found[::step]])
            ax.grid(False)
            ax.spines[:].set_visible(False)
            ax.set(xlabel=surface.x, ylabel=surface.y)
            place = ax.get_position()
            bar = self.figure.colorbar(self.image, cax=self.figure.add_axes((0.83, place.y0, 0.035, place.height)))
            bar.outline.set_visible(False)  # type: ignore[operator]
            self.edge, self.frame = (
                Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=width, linestyle=dash)
                for colour, width, dash in (("white", 2.6, "-"), (INK, 1.2, (0, (2, 2)))))
            ax.add_patch(self.edge)
            ax.add_patch(self.frame)
            (self.ring,) = ax.plot([0], [0], "o", markersize=9, markerfacecolor="white", markeredgecolor=INK,
                                   markeredgewidth=2.0)
            if blank:
                self.figure.text(0.995, 0.012, "grey: refused by the strategy, or nothing traded", ha="right",
                                 color=MUTED, fontsize=8.0)
            self.moves(self.image, self.edge, self.frame, self.ring)
            self.headed(ax)
            return self.figure

        build()


def _scale_of(surface: Surface, before: tuple[float, float] | None) -> tuple[float, float]:
    """Ends of the colours: round numbers, zero in the middle or at an end, and the same as before while they fit."""
    known = np.abs(surface.values[~np.isnan(surface.values)])
    most = float(known.max()) if len(known) else 0.0
    last = 0.0 if before is None else max(abs(end) for end in before)
    if not 0.4 * last < most <= last:
        power = 10.0 ** math.floor(math.log10(most)) if most > 0.0 else 1.0
        last = next((n * power for n in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0) if n * power >= most), 1.0)
    return {"trades": (0.0, last), "max_drawdown_pct": (-last, 0.0)}.get(surface.metric, (-last, last))


def value_text(value: Any) -> str:
    """A parameter's value on a slider, an axis or in a sentence."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return typeset(f"{value:g}") if isinstance(value, int | float) else str(value)


def _number(value: float, metric: str = "sharpe") -> str:
    if math.isnan(value):
        return "undefined"
    digits = 0 if metric == "trades" else 1 if metric.endswith("_pct") else 2
    return typeset(f"{value:,.{digits}f}")
