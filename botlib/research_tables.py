"""Tables of research: what the checks saw, splits and dividends, returns by quantile. Text, ready to be read."""

from __future__ import annotations

import math
from fractions import Fraction

import pandas as pd

from botlib.bars import Bars
from botlib.tables import TextTable
from botlib.wording import money, percent, typeset, when


def findings_table(bars: Bars) -> pd.DataFrame:
    """What the checks of the bars found.

    Returns
    -------
    pandas.DataFrame of str
        A row a finding; no rows when there is none.
    """
    rows = [(f.symbol or "all", "" if pd.isna(f.time) else when(f.time, bars.interval), f.check, f.message)
            for f in bars.findings.itertuples()]
    table = TextTable(rows, columns=["Symbol", "When", "Check", "Finding"], dtype=object)
    table.attrs["empty"] = "No findings."
    return table


def actions_table(bars: Bars) -> pd.DataFrame:
    """Splits and cash dividends between the first and the last bar.

    Returns
    -------
    pandas.DataFrame of str
        A row a symbol that had any: its splits with their dates, the number of its dividends, and the last one.
    """
    rows = []
    if bars.actions is not None and len(bars):
        first, last = (bars.index[i].tz_localize(None).normalize() for i in (0, -1))
        known = bars.actions[bars.actions["ex_date"].between(first, last) & bars.actions["symbol"].isin(bars.symbols)]
        for symbol, found in known.sort_values("ex_date").groupby("symbol", sort=True, observed=True):
            splits, paid = found[found["type"] == "split"], found[found["type"] == "cash_dividend"]
            rows.append((symbol, ", ".join(f"{_split(s.value)} on {s.ex_date:%Y-%m-%d}" for s in splits.itertuples()),
                         f"{len(paid):,}", _dividend(paid) if len(paid) else ""))
    table = TextTable(rows, columns=["Symbol", "Splits", "Cash dividends", "Last dividend"], dtype=object)
    table.attrs["empty"] = "Splits and dividends are not known." if bars.actions is None else "No splits, no dividends."
    return table


def _dividend(paid: pd.DataFrame) -> str:
    """Dollars of the last one with two to four decimals, and its date."""
    last = paid.iloc[-1]
    digits = next((d for d in (2, 3) if abs(round(last["value"], d) - last["value"]) < 1e-9), 4)
    return f"{money(last['value'], digits=digits)} a share on {last['ex_date']:%Y-%m-%d}"


def _split(ratio: float) -> str:
    """``2 for 1``, ``3 for 2``, ``1 for 10``."""
    near = Fraction(ratio).limit_denominator(100)
    if abs(float(near) / ratio - 1.0) > 1e-6:
        return f"{ratio:.10g} for 1"
    return f"{near.numerator} for {near.denominator}"


def quantile_ranges(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Lowest and highest signal of each quantile as text: two decimals, or as many as tell the ends apart."""
    widths = (table["signal_to"] - table["signal_from"]).to_numpy()
    widths = widths[widths > 0.0]
    digits = min(max(2, 1 - math.floor(math.log10(widths.min()))), 8) if len(widths) else 2
    return [(typeset(f"{low:,.{digits}f}"), typeset(f"{high:,.{digits}f}"))
            for low, high in zip(table["signal_from"], table["signal_to"], strict=True)]


def quantiles_table(table: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """`botlib.explore.by_quantile` as text.

    Returns
    -------
    pandas.DataFrame of str
        A row a quantile, returns in percent over the next ``horizon`` bars.
    """
    rows = [(f"{i:,}", low, high,
             percent(q.mean_return_pct, sign=True, digits=2), percent(q.standard_error_pct, digits=2),
             percent(q.median_return_pct, sign=True, digits=2), percent(q.positive_pct), f"{q.observations:,}")
            for i, q, (low, high) in zip(table.index, table.itertuples(), quantile_ranges(table), strict=True)]
    shown = TextTable(rows, columns=["Quantile", "Signal from", "to", "Mean return", "Standard error", "Median return",
                                     "Above zero", "Observations"])
    shown.attrs["caption"] = f"Returns over the next {horizon:,} bars, by quantile of the signal"
    return shown
