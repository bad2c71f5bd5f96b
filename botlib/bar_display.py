"""How `Bars` show themselves: as a line, as a page in a notebook, and as a hash."""

from __future__ import annotations

import hashlib
import html
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from botlib.bar_checks import FIELDS
from botlib.tables import TextTable
from botlib.wording import plural

if TYPE_CHECKING:
    from botlib.bars import Bars

_ROWS_SHOWN = 12


def data_hash(bars: Bars) -> str:
    """sha256, see `Bars.data_hash`. NaN has one bit pattern here, numbers are little-endian on every machine."""
    head = {"scheme": 1, "symbols": bars.symbols, "interval": bars.interval, "calendar": bars.calendar,
            "adjustment": bars.adjustment, "timezone": str(bars.index.tz), "extra": sorted(bars.extra),
            "actions": None if bars.actions is None else _action_rows(bars.actions)}
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(bars.index.as_unit("ns").asi8.astype("<i8").tobytes())
    panels = [getattr(bars, name) for name in FIELDS] + [bars.extra[name] for name in sorted(bars.extra)]
    for panel in panels:
        missing = np.isnan(panel)
        plain = np.where(missing, np.nan, panel) if missing.any() else panel
        digest.update(np.ascontiguousarray(plain, dtype="<f8").tobytes())
    return digest.hexdigest()


def _action_rows(actions: pd.DataFrame) -> list[list[str]]:
    pay = actions["pay_date"] if "pay_date" in actions.columns else [pd.NaT] * len(actions)
    columns = zip(actions["symbol"], actions["ex_date"], actions["type"], actions["value"], pay, strict=True)
    return sorted([str(symbol), f"{ex:%Y-%m-%d}", str(kind), repr(float(value)),
                   "" if pd.isna(paid) else f"{paid:%Y-%m-%d}"]
                  for symbol, ex, kind, value, paid in columns)


def _form(bars: Bars) -> str:
    return "%Y-%m-%d" if bars.interval == "1d" else "%Y-%m-%d %H:%M"


def _summary(bars: Bars) -> str:
    span = f"{bars.index[0]:{_form(bars)}} to {bars.index[-1]:{_form(bars)}}" if len(bars) else "empty"
    actions = "unknown" if bars.actions is None else str(len(bars.actions))
    count = len(bars.symbols)
    prices = "raw" if bars.adjustment == "raw" else f"adjusted ({bars.adjustment})"
    return (f"{count} symbol{'s' * (count != 1)} x {len(bars):,} bars of {bars.interval}, {span}, "
            f"{bars.calendar or 'no calendar'}, prices {prices}, actions {actions}, findings {len(bars._findings)}")


def text(bars: Bars) -> str:
    """One line."""
    more = ", ..." if len(bars.symbols) > 6 else ""
    return f"<Bars {', '.join(bars.symbols[:6])}{more}: {_summary(bars)}>"


def page(bars: Bars) -> str:
    """A short table: a row a symbol."""
    rows = [_row(bars, n) for n in range(min(len(bars.symbols), _ROWS_SHOWN))]
    table = TextTable(rows, columns=["Symbol", "Bars", "First", "Last", "Last close"])._repr_html_()
    hidden = len(bars.symbols) - len(rows)
    more = f"<p>and {plural(hidden, 'more symbol')}</p>" if hidden else ""
    return f"<p><b>Bars</b>: {html.escape(_summary(bars))}</p>{table}{more}"


def _row(bars: Bars, n: int) -> tuple[str, ...]:
    here = np.flatnonzero(~np.isnan(bars.close[:, n]))
    if len(here) == 0:
        return bars.symbols[n], "0", "", "", ""
    first, last = bars.index[here[0]], bars.index[here[-1]]
    return (bars.symbols[n], f"{len(here):,}", f"{first:{_form(bars)}}", f"{last:{_form(bars)}}",
            f"{bars.close[here[-1], n]:,.2f}")
