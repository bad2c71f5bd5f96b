"""What there is to choose from, as text for the command line."""

from __future__ import annotations

import inspect
import math
from typing import Any


def strategies() -> str:
    """The shipped strategies: what each does, and its parameters with default, range and a word of help."""
    from botlib.strategies import SHIPPED, describe, load

    parts = []
    for name in SHIPPED:
        strategy = load(name)
        parts.append(f"{name}\n  {_summary(type(strategy))}")
        parts += [f"    {row.Index:<25}{_default(row.default):<9}{_range(row.low, row.high):<16}{row.help}"
                  for row in describe(strategy).itertuples()]
        parts.append("")
    return "\n".join([*parts, "Choose one with --strategy NAME, change it with --set strategy.PARAMETER=VALUE.",
                      "Your own: python -m botlib new my_idea"])


def providers() -> str:
    """The providers of market data and what each is."""
    from botlib import providers as found

    lines = [f"{name:<10}{_summary(getattr(found, f'{name.capitalize()}Provider'))}" for name in found.names()]
    return "\n".join([*lines, "", "Choose one with --set provider=NAME, its options with --set "
                      "provider_options.NAME=VALUE."])


def _summary(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").replace("``", "")


def _default(value: Any) -> str:
    """As text; strategies by their classes' names."""
    if isinstance(value, tuple):
        return ", ".join(type(one).__name__ if hasattr(one, "targets") else str(one) for one in value) + " "
    return str(value)


def _range(low: float, high: float) -> str:
    if math.isnan(low) and math.isnan(high):
        return ""
    if math.isnan(high):
        return f">= {low:g}"
    return f"<= {high:g}" if math.isnan(low) else f"{low:g} to {high:g}"
