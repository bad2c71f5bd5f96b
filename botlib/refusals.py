"""Orders that were refused, in words: a run that was not allowed to trade must say so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from botlib.engine.state import ENTRY, EXIT, R_HALTED, R_REDUCE_ONLY, REASONS, REDUCE, REJECTED
from botlib.wording import plural

_NAMED = 5  # symbols that a sentence names


def refused_orders(orders: np.ndarray, sessions: np.ndarray, symbols: Sequence[str]) -> list[str]:
    """``"orders-refused: sentence"`` for entries and for exits, where any were refused.

    Refusals by a halt are left out: the halt says so itself. Orders that expired or were cancelled were not refused.

    Parameters
    ----------
    orders : (K,) ORDER
        Every order of the run.
    sessions : (T,) int
        Exchange date of each bar, days since 1970-01-01.
    symbols : sequence of str, (N,)
    """
    refused = orders["status"] == REJECTED
    if not refused.any():
        return []
    refused &= (orders["reason"] != R_HALTED) & (orders["reason"] != R_REDUCE_ONLY)
    entry, exit_ = orders["purpose"] == ENTRY, np.isin(orders["purpose"], (EXIT, REDUCE))
    said = []
    for one, many, kind in (("entry", "entries", entry), ("exit", "exits", exit_)):
        rows = orders[refused & kind]
        if len(rows):
            was = "was" if len(rows) == 1 else "were"
            said.append(f"orders-refused: {len(rows):,} of {plural(int(kind.sum()), one, many)} {was} refused: "
                        f"{_by_reason(rows, sessions, symbols)}. Each stands in result.orders.")
    return said


def _by_reason(rows: np.ndarray, sessions: np.ndarray, symbols: Sequence[str]) -> str:
    """``200 position limit (AAPL, 2012-02-13 to 2013-01-11); 26 buying power (…)``, the most frequent first."""
    reasons, counts = np.unique(rows["reason"], return_counts=True)
    parts = []
    for reason, count in sorted(zip(reasons.tolist(), counts.tolist(), strict=True), key=lambda item: -item[1]):
        these = rows[rows["reason"] == reason]
        names = pd.unique(these["symbol"])
        listed = ", ".join(symbols[i] for i in names[:_NAMED].tolist())
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        first, last = (str(np.datetime64(int(day), "D")) for day in sessions[these["decided"][[0, -1]]])
        when = first if first == last else f"{first} to {last}"
        number = f"{count:,} " if len(reasons) > 1 else ""
        parts.append(f"{number}{REASONS[reason]} ({listed}{more}, {when})")
    return "; ".join(parts)
