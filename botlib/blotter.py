"""The blotter: orders, answers, fills and an account's totals as tables for people, and a figure of the fills.

Records are those of `botlib.brokers`. Times are the exchange's, money in dollars with a true minus sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib import style
from botlib.calendars import EXCHANGE_TZ
from botlib.errors import InputError, nearest
from botlib.style import BLUE, VERMILLION, TimeAxis, heading, new_figure, styled
from botlib.tables import TextTable
from botlib.wording import DOT, NOTHING, interval_label, plural, span, typeset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = {"buy": (BLUE, "^", "bought"), "sell": (VERMILLION, "v", "sold")}


def orders(found: Iterable[Any]) -> TextTable:
    """Orders (`OpenOrder`), legs after their entry; columns without any value are left out."""
    rows = [{"Symbol": o.symbol, "Side": o.side, "Type": o.type.replace("_", " "), "Qty": _quantity(o.qty),
             "Limit": _price(o.limit_price), "Stop": _price(o.stop_price), "TIF": o.time_in_force.upper(),
             "Role": str(o.group_role or "").replace("_", " "), "Status": o.status.replace("_", " "),
             "Filled": _quantity(o.filled_qty or None), "At": _price(o.filled_avg_price)}
            for order in found for o in order.flat()]
    table = pd.DataFrame(rows)
    empty = [name for name in table.columns if table[name].isin(["", NOTHING]).all()]
    return _shown(table.drop(columns=empty), "no orders")


def answers(found: Iterable[Any]) -> TextTable:
    """What became of orders: taken, refused by whom and in which words, and what to do."""
    rows = []
    for a in found:
        rule = getattr(a, "rule", None)
        what = getattr(a, "what", "") or f"{a.side} {_quantity(a.qty)} {a.symbol}"
        if rule is None:
            rows.append((what, getattr(a, "status", "unknown"), "", ""))
        else:
            rows.append((what, f"refused by {'the broker' if a.by == 'broker' else 'botlib'}", a.message, a.advice))
    return _shown(pd.DataFrame(rows, columns=["Asked", "Answer", "Words", "What to do"]), "no answers")


def fills(found: Iterable[Any], zone: str = EXCHANGE_TZ) -> TextTable:
    """Fills in order, what each moved in cash, and a row of totals; times in ``zone``."""
    every = sorted(found, key=lambda f: f.time)
    rows = [(f"{f.time.tz_convert(zone):%Y-%m-%d %H:%M}", f.symbol, f.side, _quantity(f.qty), _price(f.price),
             _money(_cash(f))) for f in every]
    if rows:
        rows.append(("Total", "", plural(len(rows), "fill"), _quantity(sum(f.qty for f in every)), "",
                     _money(sum(map(_cash, every)))))
    return _shown(pd.DataFrame(rows, columns=["Time", "Symbol", "Side", "Qty", "Price", "Cash ($)"]), "no fills")


def totals(found: Iterable[Any], account: Any, start_cash: float) -> TextTable:
    """How an account came from its cash at the start to its equity: a row for each step, then the result.

    found : fills since then; account : `AccountInfo` now. What fills do not explain (fees, dividends, deposits) has a
    row of its own, so that the column always adds up.
    """
    every = list(found)
    bought, sold = (sum(_cash(f) for f in every if f.side == side) for side in ("buy", "sell"))
    rest = account.cash - start_cash - bought - sold
    steps = [("Cash at the start", start_cash), ("Bought", bought), ("Sold", sold), ("Fees, dividends, deposits", rest),
             ("Cash", account.cash), ("Shares held, at the last price", account.equity - account.cash),
             ("Equity", account.equity), ("Result", account.equity - start_cash)]
    return _shown(pd.DataFrame([(name, _money(value)) for name, value in steps], columns=["", "Dollars"]), "")


@styled
def figure(bars: Any, found: Sequence[Any], symbol: str) -> Figure:
    """Closing prices of a symbol and its fills: triangles up where it was bought, down where it was sold.

    Parameters
    ----------
    bars : Bars, (T, N)
        What is shown, such as ``all_bars.upto(t).tail(60)``; fills at other times are left out.
    found : fills
    symbol : str

    Raises
    ------
    InputError
        ``bars`` are none, or do not hold the symbol.
    """
    if symbol not in bars.symbols:
        raise InputError(f"symbol = {symbol!r} is not in these bars{nearest(symbol, bars.symbols) or '.'} "
                         f"Valid: {', '.join(bars.symbols[:20])}.")
    close = bars.close[:, bars.symbols.index(symbol)]
    time = TimeAxis(bars.index)
    shown = new_figure(4.2)
    ax = shown.subplots()
    ax.plot(time.x, close, color="#8A8A8A", linewidth=1.2, zorder=2, label="close")
    mine = [f for f in found if f.symbol == symbol]
    rows = np.array([bars.index.searchsorted(f.time, side="right") - 1 for f in mine], dtype=int)
    count = 0
    for side, (colour, marker, word) in _MARKS.items():
        picked = [n for n, f in enumerate(mine) if f.side == side and rows[n] >= 0]
        if picked:
            count += len(picked)
            ax.scatter(time.x[rows[picked]], [mine[n].price for n in picked], s=70, color=colour, marker=marker,
                       zorder=3, edgecolors="white", linewidths=0.8, label=word)
    heading(ax, f"{symbol}: {plural(count, 'fill') if count else 'no fill'}",
            DOT.join([interval_label(bars.interval), span(time.local)]))
    style.value_scale(ax, np.append(close, [f.price for f in mine]))
    ax.set_ylabel("Price ($)")
    time.dress(ax)
    shown.legend(loc="outside lower center", ncols=3)
    return shown


def _cash(fill: Any) -> float:
    return float((1 if fill.side == "sell" else -1) * fill.qty * fill.price)


def _quantity(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def _price(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}" if round(value, 2) == value else f"{value:,.4f}"


def _money(value: float) -> str:
    return typeset(f"{value + 0.0:,.2f}") if round(value, 2) else "0.00"


def _shown(table: pd.DataFrame, empty: str) -> TextTable:
    made = TextTable(table.astype(object).reset_index(drop=True))
    made.attrs["empty"] = empty
    return made
