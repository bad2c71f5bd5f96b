"""Corporate actions that a script puts into bars: what prices would have done had they happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.errors import InputError, nearest

if TYPE_CHECKING:
    from botlib.sandbox.fault_kinds import Fault

PRICES = ("open", "high", "low", "close")


def with_action(bars: Bars, fault: Fault) -> Bars:
    """Bars with a split (``ratio`` for 1: prices divided, volume multiplied from the ex-date on) or a dividend
    (``amount`` a share; prices stay) before the session that follows bar ``fault.bars[0]``.

    Raises `InputError` on an unknown symbol, when no session follows, or when the bars are adjusted.
    """
    if fault.symbol not in bars.symbols:
        raise InputError(f"{fault.kind}: there are no bars of {fault.symbol!r}{nearest(fault.symbol, bars.symbols)}.")
    if bars.adjustment != "raw":
        raise InputError(f"{fault.kind}: a corporate action needs raw bars; these are {bars.adjustment!r}.")
    assert fault.bars is not None
    after = np.flatnonzero(bars.sessions > bars.sessions[min(fault.bars[0], len(bars) - 1)])
    if fault.bars[0] >= len(bars) or len(after) == 0:
        raise InputError(f"{fault.kind}: no session follows bar {fault.bars[0]}; there are {len(bars)} bars.")
    first, column = int(after[0]), bars.symbols.index(fault.symbol)
    panels = {name: getattr(bars, name) for name in (*PRICES, "volume")}
    if fault.kind == "split":
        for name in panels:
            panels[name] = panels[name].copy()
            panels[name][first:, column] *= fault.ratio if name == "volume" else 1.0 / fault.ratio
    made = Bars(bars.index, bars.symbols, **panels, interval=bars.interval, calendar=bars.calendar, extra=bars.extra,
                actions=_table(bars.actions, fault, int(bars.sessions[first])))
    return made


def _table(actions: pd.DataFrame | None, fault: Fault, session: int) -> pd.DataFrame:
    date = pd.Timestamp(np.datetime64(session, "D"))
    split = fault.kind == "split"
    row = pd.DataFrame({"symbol": [fault.symbol], "ex_date": [date],
                        "type": ["split" if split else "cash_dividend"],
                        "value": [float(fault.ratio if split else fault.amount)],
                        "pay_date": pd.to_datetime(pd.Series([pd.NaT]))})
    if actions is None or actions.empty:
        return row
    both = pd.concat([actions, row.astype({c: actions[c].dtype for c in row.columns})], ignore_index=True)
    return both.sort_values(["ex_date", "symbol"], kind="stable", ignore_index=True)
