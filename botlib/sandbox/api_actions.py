"""Corporate actions: /v1/corporate-actions."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pandas as pd

from botlib.sandbox.exchange import Exchange
from botlib.sandbox.formats import local
from botlib.sandbox.market_data import MarketData
from botlib.sandbox.messages import Query, Request, Response, answer, bad_request, checked_symbol, decoded, encoded

_EPOCH = dt.date(1970, 1, 1)
_ACTIONS = uuid.UUID("11cfd108-292e-4cc6-bfbf-5999cdbc4029")
ACTION_TYPES = ("reverse_split forward_split unit_split cash_dividend stock_dividend spin_off cash_merger stock_merger "
                "stock_and_cash_merger redemption name_change worthless_removal rights_distribution partial_call "
                "reorganization capital_gains_distribution").split()


class Actions:
    """Handler of one exchange; ``market`` says what is known."""

    def __init__(self, exchange: Exchange, market: MarketData) -> None:
        self.x, self.market = exchange, market

    def routes(self) -> dict[tuple[str, str], Callable[..., Response]]:
        """By method and path."""
        return {("GET", "/v1/corporate-actions"): self.listed}

    def listed(self, request: Request) -> Response:
        """GET /v1/corporate-actions: splits and cash dividends with an ex-date by now, by process date."""
        query = Query(request.query, data=True)
        query.only(("symbols", "cusips", "types", "region", "start", "end", "ids", "limit", "data_quality",
                    "page_token", "sort"))
        limit = query.integer("limit", 100, 1, 1000)
        descending = query.choice("sort", "asc", ("asc", "desc")) == "desc"
        query.choice("data_quality", "complete", ("complete", "all"))
        region = query.choice("region", "us", ("us", "non_us", "all"))
        types = query.words("types")
        strange = [t for t in types if t not in ACTION_TYPES]
        if strange:
            raise bad_request(f"invalid type: {strange[0]}")
        ids, cusips = set(query.words("ids")), query.words("cusips")
        if ids and set(query.values) & {"symbols", "cusips", "types", "start", "end", "region", "data_quality"}:
            raise bad_request("ids is mutually exclusive with all other filters")
        today = local(int(self.x.now)).date()
        start, end = query.date("start") or today, query.date("end") or today
        if end < start:
            raise bad_request("end should not be before start")
        every = set(self.market.column)
        symbols = {checked_symbol(word, every) for word in query.words("symbols")} or every
        rows = []
        for symbol in sorted(symbols & every):
            table = self.market.actions(symbol, (today - _EPOCH).days)  # in the night before the session, too
            for row in () if table is None else table.itertuples():
                kind, made = _action(row)
                inside = start.isoformat() <= made["process_date"] <= end.isoformat()
                if made["id"] in ids if ids else (inside and (not types or kind in types)):
                    rows.append((made["process_date"], made["id"], kind, made))
        if region == "non_us" or cusips:
            rows = []
        return self._actions_page(sorted(rows, reverse=descending), limit, query)

    def _actions_page(self, rows: list[tuple[str, str, str, dict[str, Any]]], limit: int, query: Query) -> Response:
        first, token = 0, query.text("page_token")
        if token is not None:
            keys = [f"{date}|{name}" for date, name, _, _ in rows]
            text = decoded(token)
            if text not in keys:
                raise bad_request("invalid page_token")
            first = keys.index(text) + 1
        page = rows[first:first + limit]
        made: dict[str, list[dict[str, Any]]] = {}
        for _, _, kind, action in page:
            made.setdefault(f"{kind}s", []).append(action)
        more = first + limit < len(rows)
        after = encoded(f"{page[-1][0]}|{page[-1][1]}") if more else None
        return answer({"corporate_actions": dict(sorted(made.items())), "next_page_token": after})


def _action(row: Any) -> tuple[str, dict[str, Any]]:
    """(type, fields) of a row of ``bars.actions``. Bars know no CUSIPs: those are empty."""
    ex = row.ex_date.date().isoformat()
    made: dict[str, Any] = {"ex_date": ex, "symbol": row.symbol,
                            "id": str(uuid.uuid5(_ACTIONS, f"{row.symbol} {row.Index} {ex} {row.type}"))}
    paid = getattr(row, "pay_date", None)
    if paid is not None and not pd.isna(paid):
        made["payable_date"] = paid.date().isoformat()
    if row.type == "cash_dividend":
        return "cash_dividend", made | {"cusip": "", "foreign": False, "rate": float(row.value), "special": False,
                                        "process_date": made.get("payable_date", ex)}
    new, old = _rates(float(row.value))
    made |= {"new_rate": new, "old_rate": old, "process_date": ex}
    if row.value >= 1.0:
        return "forward_split", made | {"cusip": ""}
    return "reverse_split", made | {"new_cusip": "", "old_cusip": ""}


def _rates(ratio: float) -> tuple[float, float]:
    """(new, old) in whole numbers where they make the same ratio: 0.1 is 1 for 10."""
    simple = Fraction(ratio).limit_denominator(10_000)
    if simple.numerator and simple.numerator / simple.denominator == ratio:
        return simple.numerator, simple.denominator
    return ratio, 1
