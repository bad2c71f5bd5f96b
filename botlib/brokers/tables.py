"""A broker's records as tables for a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pandas as pd

from botlib.brokers.base import OpenOrder, OrderRejection, UnknownOrder

_ORDER = ("symbol", "side", "type", "qty", "limit_price", "stop_price", "time_in_force", "order_class", "group_role",
          "status", "filled_qty", "filled_avg_price")


def orders_table(orders: Iterable[OpenOrder]) -> pd.DataFrame:
    """Orders and their legs, a row each, legs after their entry; NaN where there is no such price."""
    rows = [[getattr(o, name) for name in _ORDER] for order in orders for o in order.flat()]
    table = pd.DataFrame(rows, columns=list(_ORDER))
    numbers = ["qty", "limit_price", "stop_price", "filled_qty", "filled_avg_price"]
    return table.astype(dict.fromkeys(numbers, "float64"))


def records_table(records: Iterable[Any], *columns: str) -> pd.DataFrame:
    """Records of one kind (fills, positions, activities), a row each; all fields, or those that ``columns`` names."""
    found = list(records)
    names = list(columns) or ([f.name for f in fields(found[0])] if found else [])
    return pd.DataFrame([[getattr(r, name) for name in names] for r in found], columns=names)


def answers_table(answers: Iterable[Any]) -> pd.DataFrame:
    """What became of orders: what was asked, the outcome, the rule that was broken and the broker's words."""
    rows = []
    for a in answers:
        refused = isinstance(a, OrderRejection)
        asked = a.what if isinstance(a, (OrderRejection, UnknownOrder)) else f"{a.side} {a.qty:g} {a.symbol}"
        rows.append([asked, type(a).__name__, a.rule if refused else "", a.code if refused else None,
                     a.message if refused else "", a.by if refused else ""])
    table = pd.DataFrame(rows, columns=["asked", "outcome", "rule", "code", "words", "refused_by"])
    return table.astype({"code": "Int64"})
