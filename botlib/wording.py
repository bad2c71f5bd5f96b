"""How a report writes numbers, times and names; figures and tables use the same words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

NOTHING = "\N{EN DASH}"  # what stands where a figure has no meaning
MINUS = "\N{MINUS SIGN}"  # as wide as the plus sign, and never a line's end
DOT = "  \N{MIDDLE DOT}  "


def typeset(text: str) -> str:
    """A true minus sign before numbers, in tables and figures alike; dates keep their hyphens."""
    return re.sub(r"(?<![\w.)])-(?=[$\d.])", MINUS, text)


def percent(value: float, *, sign: bool = False, digits: int = 1) -> str:
    """``12.3 %``; an en dash for NaN."""
    if not math.isfinite(value):
        return NOTHING
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    return typeset(f"{0.0:.{digits}f}" if not float(text.replace(",", "")) else text) + " %"


def money(value: float, *, sign: bool = False, digits: int = 0) -> str:
    """``$1,234``, with a minus sign before a loss; an en dash for NaN."""
    if not math.isfinite(value):
        return NOTHING
    size = f"{abs(value):,.{digits}f}"
    if not float(size.replace(",", "")):
        return f"${size}"
    return (MINUS if value < 0 else "+" if sign else "") + f"${size}"


def total_return(metrics: Mapping[str, float]) -> str:
    """``-1.23 %``, for a line of plain text; a single bar has none."""
    value = metrics["total_return_pct"]
    return f"{value:.2f} %" if math.isfinite(value) else "no return"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 trade``, ``1,698 trades``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def when(time: Any, interval: str) -> str:
    """A bar's label: the date, and the time of day when bars are shorter than a day."""
    return f"{pd.Timestamp(time):%Y-%m-%d}" if interval == "1d" else f"{pd.Timestamp(time):%Y-%m-%d %H:%M}"


def utc(time: pd.Timestamp) -> str:
    """A moment in a sentence: ``2026-12-11 04:59 UTC``; its zone must be known."""
    return f"{time.tz_convert('UTC'):%Y-%m-%d %H:%M} UTC"


def strategy_name(result: Any) -> str:
    """The strategy's own ``name``, or that of its class."""
    name = getattr(result.strategy, "name", None)
    return name if isinstance(name, str) else type(result.strategy).__name__


def context(result: Any) -> str:
    """Symbols, interval and span in one line."""
    symbols = result.bars.symbols
    names = ", ".join(symbols) if len(symbols) <= 6 else plural(len(symbols), "symbol")
    return DOT.join((names, interval_label(result.bars.interval), span(result.bars.index)))


def span(index: pd.DatetimeIndex) -> str:
    """First and last date."""
    return f"{index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}"


def interval_label(interval: str) -> str:
    """``1d`` in words: "daily bars"."""
    return {"1d": "daily bars", "1h": "hourly bars"}.get(interval, f"{interval.removesuffix('m')}-minute bars")


def prices_label(adjustment: str) -> str:
    """How `Bars` are adjusted: "prices as traded"."""
    return {"raw": "prices as traded", "split": "prices adjusted for splits",
            "all": "prices adjusted for splits and dividends"}.get(adjustment, f"prices {adjustment}")


def limit_label(limit: str) -> str:
    """``max_daily_loss_pct`` as a person says it: "Daily loss"."""
    return str(limit).removeprefix("max_").removesuffix("_pct").replace("_", " ").capitalize()


def state_label(state: str) -> str:
    """What a trading state means."""
    return {"halted": "trading halted", "reduce-only": "only exits until the next session"}.get(str(state), str(state))


def outcome(trades: pd.DataFrame) -> str:
    """Share of winners and sum of P&L: ``54 % won, +$4,321 in all``."""
    won = 100.0 * float((trades["pnl"] > 0).mean())
    return f"{percent(won, digits=0)} won, {money(float(trades['pnl'].sum()), sign=True)} in all"
