"""What learning found, as tables of text and a figure, ready to be read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import style
from botlib.learning.estimate import Learned
from botlib.learning.gates import ratio
from botlib.learning.proposal import changed
from botlib.style import BENCHMARK, MUTED, STRATEGY, TimeAxis, heading, new_figure, note, styled
from botlib.tables import TextTable
from botlib.wording import DOT, NOTHING, percent, plural, typeset, when

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def parameters_table(found: Learned) -> pd.DataFrame:
    """What is set beside what is proposed; only what was estimated, and costs where they were found worse."""
    rows = [(name, f"{found.tried.current[name]:g}", f"{found.proposed[name]:g}",
             ", ".join(f"{value:g}" for value in values)) for name, values in found.tried.values.items()]
    slip = changed(found).get("costs.slippage_bps")
    if slip is not None:
        rows.append(("slippage_bps", f"{slip[0]:g}", f"{slip[1]:g}", "measured"))
    return TextTable(pd.DataFrame(rows, columns=["Parameter", "Current", "Proposed", "Tried"]))


def windows_table(found: Learned) -> pd.DataFrame:
    """Window by window: what was chosen on the bars before, and what both earned on those that followed."""
    rows = []
    interval, index, names = found.bars.interval, found.bars.index, list(found.tried.values)
    for old, new in zip(found.current_windows.steps, found.learned_windows.steps, strict=True):
        chosen = ["" if new.chosen is None else f"{new.chosen[name]:g}" for name in names]
        rows.append((when(index[new.split.test[0]], interval), when(index[new.split.test[-1]], interval), *chosen,
                     _return(old.tested), _return(new.tested)))
    was, now = found.records
    rows.append(("All", "", *[""] * len(names), percent(was.return_pct), percent(now.return_pct)))
    rows.append(("Sharpe ratio", "", *[""] * len(names), typeset(ratio(was.sharpe)), typeset(ratio(now.sharpe))))
    rows.append(("Max drawdown", "", *[""] * len(names), percent(was.drawdown_pct), percent(now.drawdown_pct)))
    rows.append(("Trades", "", *[""] * len(names), f"{was.trades:,}", f"{now.trades:,}"))
    return TextTable(pd.DataFrame(rows, columns=["Traded from", "To", *names, "Current", "Re-estimated"]))


def gates_table(found: Learned) -> pd.DataFrame:
    """Each gate, whether it is passed, and its figures."""
    rows = [(gate.name[0].upper() + gate.name[1:], "passed" if gate.passed else "not passed", typeset(gate.sentence))
            for gate in found.gates]
    pbo = found.honesty.pbo
    rows.append(("Overfitting (PBO)", "for information",
                 "It is not defined: fewer than two points traded." if math.isnan(pbo) else
                 f"{100.0 * pbo:.0f} %: how often the best of these points in one half of the data is no better than "
                 "the middle one in the other; choosing blindly gives 50 %."))
    return TextTable(pd.DataFrame(rows, columns=["Gate", "Verdict", "Figures"]))


@styled
def walk_forward_figure(found: Learned) -> Figure:
    """Both accounts out of sample, one window after the other, net of costs; every other window shaded.

    Returns
    -------
    matplotlib.figure.Figure
        Dollars, on a log scale once the curves span a factor of four.
    """
    curves = (("Re-estimated", found.learned_windows.equity, STRATEGY, 1.7),
              ("Current", found.current_windows.equity, BENCHMARK, 1.3))
    index = curves[0][1].index
    time = TimeAxis(index)
    figure = new_figure(4.6)
    ax = figure.subplots()
    first = found.learned_windows.steps[0].split.test[0] - 1
    for step in found.learned_windows.steps[::2]:
        ax.axvspan(time.x[step.split.test[0] - 1 - first], time.x[step.split.test[-1] - first], color="#F4F4F4",
                   linewidth=0, zorder=0)
    for z, (_, equity, colour, width) in enumerate(reversed(curves)):
        ax.plot(time.x, equity.to_numpy(), color=colour, linewidth=width, zorder=3 + z)
    style.value_scale(ax, np.concatenate([equity.to_numpy() for _, equity, _, _ in curves]))
    ax.set_ylabel("Account value ($)")
    time.dress(ax)
    ends = [float(equity.iloc[-1]) for _, equity, _, _ in curves]
    scale: Any = math.log10 if ax.get_yscale() == "log" else float
    low, high = (scale(v) for v in ax.get_ylim())
    places = style.spread([(scale(end) - low) / (high - low) for end in ends], 0.11)
    for (name, equity, colour, _), place in zip(curves, places, strict=True):
        gain = percent(100.0 * (float(equity.iloc[-1]) / float(equity.iloc[0]) - 1.0), sign=True)
        note(ax, f"{name}\n{gain}", (1.0, place), (4, 0), xycoords="axes fraction", va="center",
             color=MUTED if colour == BENCHMARK else colour)
    was, now = found.records
    heading(ax, f"Out of sample: Sharpe ratio {ratio(now.sharpe)} re-estimated, {ratio(was.sharpe)} with the current "
                "parameters",
            DOT.join([f"{plural(len(was.returns_pct), 'window')} of {found.settings.test_bars} bars, each chosen on "
                      f"the {found.settings.train_bars} before", f"slippage {found.slippage.used_bps:g} bps"]))
    return figure


def _return(traded: Any) -> str:
    return NOTHING if traded is None else percent(traded.figures[0])
