"""Requests drawn from Alpaca's OpenAPI documents: no answer is a 500, none breaks its schema."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import requests
import schemathesis
from alpaca_documents import check, document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from sandbox_helpers import KEYS, Desk, market, minutes, steady
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from botlib.sandbox.transport import URL, SandboxAdapter

SERVED = {
    "trading": """
        GET /v2/account
        GET /v2/account/activities
        GET /v2/account/activities/{activity_type}
        GET /v2/account/configurations
        PATCH /v2/account/configurations
        GET /v2/account/portfolio/history
        GET /v2/assets
        GET /v2/assets/{symbol_or_asset_id}
        GET /v2/calendar
        GET /v2/clock
        GET /v2/orders
        POST /v2/orders
        DELETE /v2/orders
        GET /v2/orders/{order_id}
        PATCH /v2/orders/{order_id}
        DELETE /v2/orders/{order_id}
        GET /v2/orders:by_client_order_id
        GET /v2/positions
        DELETE /v2/positions
        GET /v2/positions/{symbol_or_asset_id}
        DELETE /v2/positions/{symbol_or_asset_id}""",
    "market-data": """
        GET /v1/corporate-actions
        GET /v2/stocks/bars
        GET /v2/stocks/bars/latest
        GET /v2/stocks/quotes
        GET /v2/stocks/quotes/latest
        GET /v2/stocks/snapshots
        GET /v2/stocks/trades
        GET /v2/stocks/trades/latest
        GET /v2/stocks/{symbol}/bars
        GET /v2/stocks/{symbol}/bars/latest
        GET /v2/stocks/{symbol}/quotes
        GET /v2/stocks/{symbol}/quotes/latest
        GET /v2/stocks/{symbol}/snapshot
        GET /v2/stocks/{symbol}/trades
        GET /v2/stocks/{symbol}/trades/latest""",
}
OPERATIONS = [(name, *line.split()) for name, lines in SERVED.items() for line in lines.split("\n") if line.strip()]
# What a generator would hardly hit on: every other request is given some of these.
LIKELY: dict[str, list[Any]] = {
    "activity_type": ["FILL", "CSD"], "activity_types": ["FILL,DIV", "TRANS"], "adjustment": ["raw", "all", "split"],
    "client_order_id": ["mine", "nobody's"], "end": ["2024-03-07", "2024-03-20T16:00:00Z", "2023-01-01"],
    "extended_hours": [True], "limit": [1, 3, 10_000], "limit_price": ["100", "0.5001", 160], "nested": [True],
    "notional": [None, "25.5"], "order_class": ["simple", "", "bracket", "oco", "oto"], "page_size": [1, 2, 100],
    "percentage": ["50", "100"], "period": ["1D", "1M", "2A"], "qty": ["1", 2, "0.5", "5"], "side": ["buy", "sell"],
    "sort": ["asc", "desc"], "start": ["2024-03-04", "2024-03-05T14:30:00Z", "2024-06-01"], "status": ["all", "closed"],
    "stop_loss": [{"stop_price": "90"}, {"stop_price": 80, "limit_price": 79}], "stop_price": ["90", "120"],
    "symbol": ["AAPL", "KO", "ZZZZ", "BRK.B"], "symbol_or_asset_id": ["AAPL", "KO"],
    "take_profit": [{"limit_price": 150}],
    "symbols": ["AAPL", "KO,AAPL", "ZZZZ", "aapl"], "time_in_force": ["day", "gtc", "ioc", "opg"],
    "timeframe": ["1Day", "30Min", "1Hour", "1D", "3Min", "1Week", "3M", "2Hour"], "trail_percent": [None, "1"],
    "type": ["market", "limit", "stop", "trailing_stop"],
}


def desk(intraday: bool) -> Desk:
    """An account with a past: fills, a bracket, an open order, a deposit, a split and a dividend."""
    if intraday:
        bars = minutes(2, 30)
    else:
        flat = steady(12, AAPL=100.0, KO=50.0)
        cells = {s: [(float(flat.open[t, n]), float(flat.high[t, n]), float(flat.low[t, n]), float(flat.close[t, n]))
                     for t in range(12)] for n, s in enumerate(flat.symbols)}
        bars = market(cells, actions=[("KO", "2024-03-06", "cash_dividend", 0.5), ("AAPL", "2024-03-07", "split", 1.0)])
    made = Desk(bars)
    made.order("AAPL", 10)
    made.order("KO", 10, time_in_force="gtc", order_class="bracket", take_profit={"limit_price": "150"},
               stop_loss={"stop_price": "20"})
    made.exchange.deposit(500.0)
    for _ in range(5):
        made.exchange.advance()
    made.order("AAPL", 5, "sell", "limit", "gtc", limit_price="150")
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method", "path"), OPERATIONS, ids=lambda word: word)
def test_drawn_requests_are_answered_by_the_book(name, method, path):
    whole = document(name)
    operation = dict(whole["paths"][path][method.lower()])
    operation.pop("security", None)  # the test gives the keys
    parts = {kind: given for kind, given in whole["components"].items() if kind != "securitySchemes"}
    shared = {key: value for key, value in whole["paths"][path].items() if key == "parameters"}
    operation = schemathesis.openapi.from_dict({
        "openapi": "3.1.0", "info": whole["info"], "components": parts,
        "paths": {path: {**shared, method.lower(): operation}}})[path][method]
    desks = [desk(False), desk(True)]
    sessions = []
    for one in desks:
        session = requests.Session()
        session.mount(URL, SandboxAdapter(one.api))
        sessions.append(session)

    def send(case: Any) -> None:
        for session in sessions:
            response = case.call(base_url=URL, session=session, headers=KEYS)
            case.validate_response(response, checks=[not_a_server_error])
            if response.status_code != 405:
                check(method, path, response.status_code, response.json() if response.content else None)

    names = {p["name"] for p in operation.definition.raw.get("parameters", []) if "name" in p}
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode is GenerationMode.NEGATIVE and not names and method not in ("POST", "PATCH"):
            continue  # nothing can be wrong

        @settings(max_examples=16, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def run(case: Any, data: Any) -> None:
            if data.draw(st.booleans()):
                likely(case, data, list(desks[0].exchange.orders))
            send(case)

        with contextlib.suppress(Unsatisfiable):  # text in a path: there is no wrong text
            run()


def likely(case: Any, data: Any, orders: list[str]) -> None:
    """Give a drawn request some values that mean something here."""
    if "order_id" in case.path_parameters:
        case.path_parameters["order_id"] = data.draw(st.sampled_from(orders))
    for holder in (case.query, case.path_parameters, case.body):
        if isinstance(holder, dict):
            for name in sorted(set(holder) & set(LIKELY)):
                holder[name] = data.draw(st.sampled_from(LIKELY[name]))
    if case.method == "POST" and isinstance(case.body, dict):
        for name in ("symbol", "qty", "side", "type", "time_in_force"):
            case.body.setdefault(name, data.draw(st.sampled_from(LIKELY[name])))


def test_every_operation_served_is_documented_and_every_other_refused():
    assert len(OPERATIONS) == 36
    for name in SERVED:
        served = {(method, path) for of, method, path in OPERATIONS if of == name}
        documented = {(method.upper(), path) for path, item in document(name)["paths"].items() for method in item
                      if method in ("get", "post", "put", "patch", "delete")}
        assert served <= documented
        one = desk(False)
        for method, path in sorted(documented - served):
            status, code, message = one.refused(method, path.replace("{", "").replace("}", ""))
            assert (status, code) in ((404, 40410000), (404, None), (405, 40510000)), (method, path)
            assert "does not serve" in message or "not allowed" in message
