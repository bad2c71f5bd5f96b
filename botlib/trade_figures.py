"""Figures of trades: entries and exits on price, and the distribution of returns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import adjust, style
from botlib.errors import InputError, nearest
from botlib.style import EXITS, INK, MUTED, TimeAxis, heading, new_figure, note, styled
from botlib.wording import DOT, context, interval_label, money, outcome, percent, plural, span, typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CROWDED = 80  # trades in one figure


@styled
def trades_figure(result: Any, symbol: str | None = None, *, start: Any = None, end: Any = None) -> Figure:
    """Price of one symbol with its entries and exits, exits marked by reason.

    Parameters
    ----------
    result : BacktestResult
    symbol : str, optional
        None: the one with the most trades in the window.
    start, end : date-like, optional
        First and last date to show.

    Returns
    -------
    matplotlib.figure.Figure
        Closes in dollars. Across a split, raw prices are shown adjusted for it, and so are the trades. On long spans
        the marks stand a little off the price, where they do not hide it.

    Raises
    ------
    InputError
        On a symbol that the result does not hold, or dates without bars.
    """
    bars = result.bars
    window = _window(bars.index, start, end)
    inside = result.trades[(result.trades["exit_bar"] >= window.start) & (result.trades["entry_bar"] < window.stop)]
    symbol = _pick_symbol(bars.symbols, symbol, inside)
    trades = inside[inside["symbol"] == symbol]
    window = _known(bars, symbol, window)
    divisor = _split_divisor(bars, symbol)
    close = bars.close[window, bars.symbols.index(symbol)] / divisor[window]
    time = TimeAxis(bars.index[window])
    figure = new_figure(5.0)
    ax = figure.subplots()
    ax.plot(time.x, close, color="#ABABAB", linewidth=0.9, zorder=2, marker="." if len(time.x) == 1 else None)
    _held_lines(ax, time, close, trades, window)
    _trade_marks(ax, time, trades, divisor, window)
    seen = f"{plural(len(trades), 'trade')}, {outcome(trades)}" if len(trades) else "no closed trade"
    heading(ax, f"{symbol}: {seen}",
            DOT.join([interval_label(bars.interval), span(time.local), *_remarks(result, symbol, trades)]))
    style.value_scale(ax, close)
    adjusted = bars.adjustment != "raw" or divisor[window].max() != 1.0
    unit = ("split-adjusted, " if adjusted else "") + ("$, log" if ax.get_yscale() == "log" else "$")
    ax.set_ylabel(f"Closing price ({unit})")
    time.dress(ax)
    if len(trades):
        figure.legend(loc="outside lower center", ncols=7, handletextpad=0.4, columnspacing=1.6)
    return figure


def _window(index: pd.DatetimeIndex, start: Any, end: Any) -> slice:
    """Bars from ``start`` to ``end``, dates of the exchange, both included."""
    dates = index.tz_localize(None).normalize()
    try:
        first = 0 if start is None else int(dates.searchsorted(pd.Timestamp(start)))
        last = len(index) if end is None else int(dates.searchsorted(pd.Timestamp(end), side="right"))
    except (ValueError, TypeError):
        raise InputError(f"start = {start!r}, end = {end!r}: give dates such as '2010-05-20'.") from None
    if first >= last:
        raise InputError(f"start = {start}, end = {end}: no bars there; the result runs from {span(dates)}.")
    return slice(first, last)


def _pick_symbol(symbols: tuple[str, ...], symbol: str | None, trades: pd.DataFrame) -> str:
    if symbol is None:
        counts = trades["symbol"].astype(str).value_counts()
        return min(counts.index[counts == counts.max()], default=symbols[0])
    if symbol not in symbols:
        listed = ", ".join(symbols[:20]) + (", …" if len(symbols) > 20 else "")
        raise InputError(f"symbol = {symbol!r} is not in this result{nearest(symbol, symbols) or '.'} Valid: {listed}.")
    return symbol


def _known(bars: Any, symbol: str, window: slice) -> slice:
    """The window without the bars before a symbol's first and after its last one."""
    known = np.flatnonzero(np.isfinite(bars.close[window, bars.symbols.index(symbol)]))
    return slice(window.start + int(known[0]), window.start + int(known[-1]) + 1) if known.size else window


def _split_divisor(bars: Any, symbol: str) -> np.ndarray:
    """(T,) what raw prices are divided by, so that the last bar's stay as they are."""
    found = None
    if bars.adjustment == "raw" and bars.actions is not None:
        column = bars.symbols.index(symbol)
        found = adjust.divisors(bars.actions, (symbol,), bars.sessions, bars.close[:, [column]], "split")
    return np.ones(len(bars.index)) if found is None else found.price[:, 0]


def _remarks(result: Any, symbol: str, trades: pd.DataFrame) -> list[str]:
    """What the figure does not show by itself."""
    remarks = []
    held = float(result.positions[symbol])
    if held:
        remarks.append(f"{held:,.10g} shares still held at the end, not a trade yet")
    if len(trades) > _CROWDED:
        remarks.append("give start= and end= to look closer")
    return remarks


def _held_lines(ax: Axes, time: TimeAxis, close: np.ndarray, trades: pd.DataFrame, window: slice) -> None:
    """The stretches of the price during which a position was held."""
    for side, colour in (("long", style.LONG), ("short", style.SHORT)):
        chosen = trades[trades["side"] == side]
        held = np.full(len(close), np.nan)
        for entry, exit_ in zip(chosen["entry_bar"] - window.start, chosen["exit_bar"] - window.start, strict=True):
            held[max(entry, 0):exit_ + 1] = close[max(entry, 0):exit_ + 1]
        if len(chosen):
            ax.plot(time.x, held, color=colour, linewidth=1.2 if len(trades) > _CROWDED else 1.9, zorder=3,
                    label=f"Held {side}")


def _trade_marks(ax: Axes, time: TimeAxis, trades: pd.DataFrame, divisor: np.ndarray, window: slice) -> None:
    """Entries as triangles, exits by reason, at the prices of the fills."""
    size = float(np.interp(len(trades), (10, 150), (52, 18)))
    away = 0.0 if len(time.x) <= 300 else 6.0  # points

    def mark(rows: pd.DataFrame, which: str, offset: float, colour: str, marker: str, label: str) -> None:
        from matplotlib.transforms import ScaledTranslation

        at = rows[f"{which}_bar"].to_numpy(dtype=np.int64)
        prices = rows[f"{which}_price"].to_numpy() / divisor[at]
        shift = ScaledTranslation(0.0, offset / 72.0, ax.figure.dpi_scale_trans)
        ax.scatter(time.x[at - window.start], prices, s=size, c=colour, marker=marker, zorder=5, edgecolors="white",
                   linewidths=0.5, transform=ax.transData + shift, label=label)

    entries, exits = trades[trades["entry_bar"] >= window.start], trades[trades["exit_bar"] < window.stop]
    for side, name, offset, colour, marker in (("long", "Buy", -away, style.LONG, "^"),
                                               ("short", "Sell short", away, style.SHORT, "v")):
        if (entries["side"] == side).any():
            mark(entries[entries["side"] == side], "entry", offset, colour, marker, name)
    for reason in _reasons(exits):
        rows = exits[exits["exit_reason"] == reason]
        mark(rows, "exit", away, *_exit_look(reason), f"Exit by {reason} ({len(rows):,})")


def _reasons(trades: pd.DataFrame) -> list[str]:
    """The exit reasons that occur, the known ones first."""
    found = set(trades["exit_reason"])
    return [r for r in EXITS if r in found] + sorted(found - set(EXITS))


def _exit_look(reason: str) -> tuple[str, str]:
    return EXITS.get(reason, (MUTED, "h"))


@styled
def trade_distribution_figure(result: Any) -> Figure:
    """Histogram of the trades' returns by exit reason, with mean and median.

    Returns
    -------
    matplotlib.figure.Figure
        Percent across, number of trades up.
    """
    trades = result.trades
    if not len(trades):
        return style.empty_figure("No closed trade", context(result), "There are no returns to count.")
    groups = {r: trades[trades["exit_reason"] == r] for r in _reasons(trades)}
    groups = dict(sorted(groups.items(), key=lambda item: float(item[1]["return_pct"].mean())))
    returns = trades["return_pct"].to_numpy(dtype=np.float64)
    figure = new_figure(4.6)
    ax = figure.subplots()
    ax.hist([rows["return_pct"].to_numpy() for rows in groups.values()], bins=return_bins(returns).tolist(),
            stacked=True, color=[_exit_look(r)[0] for r in groups], edgecolor="white", linewidth=0.6,
            label=[typeset(f"{r.capitalize()}: {plural(len(rows), 'trade')}, {money(rows['pnl'].sum(), sign=True)}")
                   for r, rows in groups.items()])
    ax.axvline(0.0, ymax=0.87, color=MUTED, linewidth=0.8)  # below the names of mean and median
    _name_lines(ax, float(returns.mean()), float(np.median(returns)))
    heading(ax, f"{plural(len(trades), 'closed trade')}, {outcome(trades)}", context(result))
    ax.set_xlabel("Return of a trade, net of costs (%)")
    ax.set_ylabel("Trades")
    style.percent_axis(ax.xaxis)
    style.count_axis(ax.yaxis)
    figure.legend(loc="outside lower center", ncols=3, handlelength=1.0, handleheight=1.0, columnspacing=1.8)
    return figure


def return_bins(returns: np.ndarray) -> np.ndarray:
    """(bins + 1,) edges of a round width, with an edge at zero so that no bar mixes gains and losses."""
    low, high = min(float(returns.min()), 0.0), max(float(returns.max()), 0.0)
    wanted = max(high - low, 1e-6) / float(np.clip(3.0 * math.sqrt(len(returns)), 10, 50))
    power = 10.0 ** math.floor(math.log10(wanted))
    width = power * min((1.0, 2.0, 2.5, 5.0, 10.0), key=lambda step: abs(math.log(step * power / wanted)))
    return width * np.arange(math.floor(low / width - 1e-9), math.ceil(high / width + 1e-9) + 1)


def _name_lines(ax: Axes, mean: float, median: float) -> None:
    """Mean and median, named at the top on the sides away from each other."""
    ax.margins(x=0.1, y=0.16)
    lines = [(mean, "Mean", (0, (5, 2)), mean < median), (median, "Median", (0, (1, 1.5)), mean >= median)]
    for value, name, dashes, left in lines[:1] if mean == median else lines:
        ax.axvline(value, color=INK, linewidth=1.3, linestyle=dashes)
        note(ax, f"{name} {percent(value, sign=True, digits=2)}", (value, 0.985), (-5 if left else 5, 0), va="top",
             xycoords=("data", "axes fraction"), ha="right" if left else "left",
             bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})
