"""Scripts of faults: what they match, how often they happen, what comes of them. No sockets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import venue_helpers as helpers

from botlib.alpaca_rules import OrderRequest
from botlib.errors import InputError
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.faults import KINDS, Fault, Faults
from botlib.sandbox.messages import JSON, Request, Response

X = SimpleNamespace(bar=3, now=0)


def request(method="GET", path="/v2/account"):
    return Request(method, path, [], {})


class Handler:
    """Counts what it is handed."""

    def __init__(self, body=b'{"id": "1"}', status=200):
        self.calls, self.made = [], Response(status, JSON, body)

    def __call__(self, asked):
        self.calls.append(asked.path)
        return self.made


def outcomes(faults, requests, exchange=X):
    """Which of the requests met a fault."""
    handler = Handler()
    return [faults.around(r, handler, exchange).response is not handler.made for r in requests]


# --- which requests ------------------------------------------------------------------------------

def test_without_a_script_all_is_as_ever():
    handler = Handler()
    outcome = Faults().around(request(), handler, X)
    assert (outcome.response, outcome.delay, outcome.ending, outcome.later) == (handler.made, 0.0, "whole", None)


@pytest.mark.parametrize(("fault", "met"), [
    ({}, [True, True, True, True]),
    ({"method": "POST"}, [False, True, False, True]),
    ({"path": "/v2/orders"}, [True, True, False, False]),
    ({"path": "/v2/orders*"}, [True, True, True, False]),
    ({"method": "POST", "path": "/v2/orders", "nth": 1}, [False, True, False, False]),
    ({"nth": 3}, [False, False, True, False]),
    ({"times": 2}, [True, True, False, False]),
    ({"probability": 0.0}, [False, False, False, False]),
    ({"bars": [3, 3]}, [True, True, True, True]),
    ({"bars": [4, 9]}, [False, False, False, False]),
])
def test_matching(fault, met):
    faults = Faults([{"kind": "status", "status": 500, **fault}])
    asked = [request("GET", "/v2/orders"), request("POST", "/v2/orders"), request("GET", "/v2/orders/1"),
             request("POST", "/v2/watchlists")]
    assert outcomes(faults, asked) == met


def test_chance_comes_from_the_seed():
    script = [{"kind": "status", "probability": 0.3}]
    asked = [request()] * 200
    one, two, other = (outcomes(Faults(script, seed=s), asked) for s in (5, 5, 6))
    assert one == two != other
    assert 40 <= sum(one) <= 80  # 60 expected, 6.5 standard deviation


def test_the_first_that_fires_happens_and_the_others_count():
    faults = Faults([{"kind": "status", "status": 500, "nth": 2}, {"kind": "html", "status": 502, "nth": 1}])
    handler = Handler()
    statuses = [faults.around(request(), handler, X).response.status for _ in range(3)]
    assert statuses == [502, 500, 200]
    assert [(f["seen"], f["fired"]) for f in faults.state()] == [(3, 1), (3, 1)]
    assert faults.log == [(3, "html", "GET /v2/account"), (3, "status", "GET /v2/account")]


def test_control_calls_meet_no_faults():
    faults = Faults([{"kind": "no_reply"}])
    assert faults.around(request("POST", "/sandbox/step"), Handler(), X).ending == "whole"


def test_a_script_can_grow_and_end():
    faults = Faults()
    faults.add({"kind": "status"}, Fault(kind="html"))
    assert [f.kind for f in faults.script] == ["status", "html"]
    faults.clear()
    assert faults.script == [] and outcomes(faults, [request()]) == [False]


# --- what comes of a request ---------------------------------------------------------------------

@pytest.mark.parametrize(("fault", "ending", "status", "carried_out"), [
    ({"kind": "no_reply"}, "hang", None, 0),
    ({"kind": "no_reply", "accepted": True}, "hang", None, 1),
    ({"kind": "reset"}, "reset", None, 0),
    ({"kind": "reset", "accepted": True}, "reset", None, 1),
    ({"kind": "reset", "accepted": True, "share": 0.5}, "cut", 200, 1),
    ({"kind": "status", "status": 503}, "whole", 503, 0),
    ({"kind": "status", "status": 504, "accepted": True}, "whole", 504, 1),
    ({"kind": "html", "status": 200}, "whole", 200, 0),
    ({"kind": "malformed"}, "whole", 200, 1),
    ({"kind": "delay", "seconds": 2.0, "accepted": True}, "whole", 200, 1),
])
def test_outcomes(fault, ending, status, carried_out):
    handler = Handler()
    outcome = Faults([fault]).around(request("POST", "/v2/orders"), handler, X)
    assert outcome.ending == ending and len(handler.calls) == carried_out
    assert (outcome.response.status if outcome.response else None) == status


def test_a_late_request_is_carried_out_later():
    handler = Handler()
    outcome = Faults([{"kind": "delay", "seconds": 2.0}]).around(request(), handler, X)
    assert (outcome.response, outcome.delay, handler.calls) == (None, 2.0, [])
    assert outcome.later() is handler.made and len(handler.calls) == 1


def test_a_cut_leaves_at_least_a_byte_out():
    outcome = Faults([{"kind": "reset", "share": 1.0}]).around(request(), Handler(b'{"id": 1}'), X)
    assert (outcome.ending, outcome.sent) == ("cut", 8)


def test_malformed_bodies_are_no_json():
    for body in (b'{"id": "1"}', b"[]", b""):
        outcome = Faults([{"kind": "malformed"}]).around(request(), Handler(body), X)
        with pytest.raises(ValueError):
            outcome.response.json()
        assert outcome.response.body


@pytest.mark.parametrize(("path", "status", "body"), [
    ("/v2/orders", 429, {"code": 42910000, "message": "rate limit exceeded"}),
    ("/v2/stocks/bars", 429, {"message": "too many requests."}),
    ("/v1/corporate-actions", 429, {"message": "too many requests."}),
    ("/v2/orders", 500, {"code": 50010000, "message": "internal server error"}),
])
def test_error_bodies(path, status, body):
    faults = Faults([{"kind": "status", "status": status, "retry_after": 3}])
    outcome = faults.around(request("GET", path), Handler(), X)
    assert outcome.response.json() == body and outcome.response.headers["Retry-After"] == "3"


def test_gateway_errors_are_html():
    for fault in ({"kind": "status", "status": 504}, {"kind": "html", "status": 502}):
        response = Faults([fault]).around(request(), Handler(), X).response
        assert response.headers["Content-Type"] == "text/html" and response.body.startswith(b"<html>")


# --- streams -------------------------------------------------------------------------------------

def through(script, events, stream="trade_updates", connection=1):
    faults = Faults(script)
    return [faults.events(stream, e, "AAPL", e, connection=connection, bar=3) for e in events]


def test_missing_duplicated_and_reordered_events():
    events = ["new", "partial_fill", "fill", "canceled"]
    assert through([{"kind": "missing", "event": "*fill"}], events) == [["new"], [], [], ["canceled"]]
    assert through([{"kind": "duplicated", "event": "fill"}], events)[2] == ["fill", "fill"]
    assert through([{"kind": "reordered", "event": "partial_fill"}], events) == [
        ["new"], [], ["fill", "partial_fill"], ["canceled"]]


def test_faults_of_a_stream_match_stream_symbol_and_number():
    for fault in ({"stream": "market_data"}, {"symbol": "IBM"}, {"nth": 9}, {"bars": [0, 2]}):
        assert through([{"kind": "missing", **fault}], ["new"]) == [["new"]]


def test_an_event_held_back_waits_on_its_own_connection():
    faults = Faults([{"kind": "reordered", "nth": 1}])
    say = lambda name, connection: faults.events("trade_updates", name, "AAPL", name, connection=connection, bar=0)  # noqa: E731
    assert say("a", 1) == [] and say("a", 2) == ["a"] and say("b", 1) == ["b", "a"]
    faults.add({"kind": "reordered", "event": "c"})
    assert say("c", 1) == []
    faults.forget(1)
    assert say("d", 1) == ["d"]


def test_sockets_break_at_an_event():
    faults = Faults([{"kind": "mute", "event": "b"}, {"kind": "dropped", "seconds": 90.0, "event": "q", "times": 1}])
    assert faults.socket("market_data", "t", "AAPL", bar=0) is None
    assert faults.socket("market_data", "b", "AAPL", bar=0) == ("mute", 0.0)
    assert faults.socket("market_data", "q", "AAPL", bar=0) == ("dropped", 90.0)
    assert faults.socket("market_data", "q", "AAPL", bar=0) is None


# --- the world -----------------------------------------------------------------------------------

def exchange(script, **options):
    faults = Faults(script)
    made = Exchange(faults.prepare(helpers.daily()), **options)
    faults.world(made)
    return made, faults


def step(made, faults):
    made.advance()
    faults.world(made)


def test_a_halt_begins_and_ends_by_the_bar():
    x, faults = exchange([{"kind": "halt", "symbol": "AAPL", "bars": [2, 3]}])
    seen = {}
    for _ in range(5):
        step(x, faults)
        seen[x.bar] = (x.halted("AAPL"), x.halted("IBM"))
    assert seen == {1: (False, False), 2: (True, False), 3: (True, False), 4: (False, False), 5: (False, False)}
    assert faults.log == [(2, "halt", "AAPL"), (4, "halt", "ends")]


def test_a_block_ends_when_the_script_is_cleared():
    x, faults = exchange([{"kind": "account_blocked"}])
    assert x.trading_blocked
    faults.clear()
    faults.world(x)
    assert not x.trading_blocked and not x.account_blocked


def test_partial_fills_and_stuck_cancels_last_as_long_as_they_say():
    x, faults = exchange([{"kind": "partial_fills", "percent": 100.0, "bars": [0, 1]},
                          {"kind": "stuck_cancel", "bars": [0, 0]}])
    assert (x.partial_fill_pct, x.stuck_cancels) == (100.0, True)
    order = x.submit(OrderRequest(symbol="AAPL", side="buy", qty=10.0, type="limit", limit_price=50.0,
                                  time_in_force="gtc"))
    x.cancel(order.id)
    assert x.get(order.id).status == "pending_cancel"
    step(x, faults)
    assert (x.partial_fill_pct, x.stuck_cancels) == (100.0, False)
    assert x.get(order.id).status == "canceled"
    step(x, faults)
    assert x.partial_fill_pct == 0.0


def test_what_happens_once_happens_once():
    order = {"symbol": "IBM", "qty": "3", "side": "buy", "type": "market", "time_in_force": "day"}
    x, faults = exchange([{"kind": "deposit", "amount": 500.0, "bars": [1, 1]},
                          {"kind": "foreign_order", "order": order, "bars": [2, 2]}], cash=10_000.0)
    for _ in range(4):
        step(x, faults)
        faults.world(x)
    assert x.positions["IBM"].qty == 3.0
    assert x.cash == pytest.approx(10_000.0 + 500.0 - 3 * 200.03)  # the open of bar 3
    assert faults.log == [(1, "deposit", ""), (2, "foreign_order", "")]


def test_a_paper_reset_is_a_new_account():
    x, faults = exchange([{"kind": "paper_reset", "amount": 5_000.0, "bars": [2, 2]}])
    before = x.account_id
    x.submit(OrderRequest(symbol="AAPL", side="buy", qty=10.0))
    step(x, faults)
    assert x.positions
    step(x, faults)
    assert (x.account_id != before, dict(x.positions), x.cash) == (True, {}, 5_000.0)


def test_a_split_overnight():
    """Ten shares bought at 100.01; before bar 4 two for one: twice the shares at half the price, the same equity."""
    x, faults = exchange([{"kind": "split", "symbol": "AAPL", "ratio": 2.0, "bars": [3, 3]}])
    plain = helpers.daily()
    x.submit(OrderRequest(symbol="AAPL", side="buy", qty=10.0))
    for _ in range(3):
        step(x, faults)
    assert x.positions["AAPL"].qty == 10.0 and x.price("AAPL") == plain.close[3, 0]
    step(x, faults)
    assert x.positions["AAPL"].qty == 20.0 and x.price("AAPL") == plain.close[4, 0] / 2.0
    assert x.equity == pytest.approx(100_000.0 + 10 * (plain.close[4, 0] - 100.01))
    assert x.bars.volume[4, 0] == 2 * plain.volume[4, 0] and x.bars.volume[3, 0] == plain.volume[3, 0]
    assert x.bars.close[4, 1] == plain.close[4, 1]


def test_a_dividend_overnight():
    x, faults = exchange([{"kind": "dividend", "symbol": "AAPL", "amount": 0.5, "bars": [1, 1]}])
    x.submit(OrderRequest(symbol="AAPL", side="buy", qty=10.0))
    step(x, faults)
    cash = x.cash
    step(x, faults)
    assert x.cash == pytest.approx(cash + 5.0)
    assert [a.type for a in x.activities] == ["FILL", "DIV"]


# --- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize(("fault", "words"), [
    ({"kind": "dealy"}, "did you mean 'delay'"),
    ({"kind": "delay", "second": 1}, "did you mean 'seconds'"),
    ({"seconds": 1}, "a mapping with a kind"),
    ("delay", "a mapping with a kind"),
    ({"kind": "delay", "status": 500}, "takes no status"),
    ({"kind": "halt", "path": "/v2/orders"}, "takes no path"),
    ({"kind": "delay", "seconds": -1}, "out of range"),
    ({"kind": "delay", "seconds": float("nan")}, "out of range"),
    ({"kind": "delay", "seconds": "2"}, "out of range"),
    ({"kind": "status", "probability": 5}, "valid is 0 to 1"),
    ({"kind": "status", "nth": 0}, "out of range"),
    ({"kind": "status", "bars": [5, 2]}, "first and the last bar"),
    ({"kind": "status", "bars": [1]}, "first and the last bar"),
    ({"kind": "mute", "stream": "trades"}, "valid: trade_updates, market_data"),
    ({"kind": "split", "ratio": 2.0}, "name the symbol"),
    ({"kind": "foreign_order"}, "foreign_order"),
    ({"kind": "foreign_order", "order": {"symbol": "AAPL"}}, "body of a POST"),
    ({"kind": "foreign_order", "order": 5}, "it must be a mapping"),
    ({"kind": "reset", "bars": 5}, "first and the last bar"),
    ({"kind": "reset", "bars": "ab"}, "first and the last bar"),
    ({"kind": ["reset"]}, "is no fault"), ({"kind": 5}, "is no fault"),
    ({"kind": "reset", "path": 5}, "path = 5: it must be a text"),
    ({"kind": "reset", "path": "v2/orders"}, "matches no request"), ({"kind": "reset", "path": ""}, "must be a text"),
    ({"kind": "reset", "method": "post"}, "did you mean 'POST'"), ({"kind": "reset", "method": None}, "method = None"),
    ({"kind": "reset", "accepted": 1}, "must be true or false"), ({"kind": "mute", "symbol": 7}, "symbol = 7"),
    ({"kind": "status", "nth": 1.5}, "whole number"), ({"kind": "status", "status": None}, "whole number"),
    ({"kind": "delay", "seconds": None}, "out of range"),
])
def test_a_wrong_fault_is_refused_in_a_sentence(fault, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")) as refused:
        Faults([fault])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("script", ["reset", 5, Fault(kind="reset"), {"kind": "reset"}])
def test_a_script_that_is_no_list(script):
    with pytest.raises(InputError, match="give a list of Fault"):
        Faults.of(script)


@pytest.mark.parametrize(("fault", "words"), [
    ({"kind": "halt", "symbol": "ZZZ"}, "symbol = 'ZZZ' is not among the bars. There are: AAPL, IBM"),
    ({"kind": "missing", "symbol": "APPL"}, "did you mean 'AAPL'"), ({"kind": "halt", "symbol": "X*"}, "not among"),
    ({"kind": "split", "symbol": "AAPL", "bars": [1, 1]}, "before the exchange opens"),
])
def test_a_fault_that_would_never_happen_is_refused(fault, words):
    with pytest.raises(InputError, match=words):
        Faults().fit(helpers.daily(), fault)


def test_faults_that_fit():
    script = [{"kind": "halt", "symbol": "A*"}, {"kind": "delay"}, {"kind": "split", "symbol": "IBM", "bars": [1, 1]}]
    assert Faults().fit(helpers.daily(), *script, running=False) == [Fault.of(f) for f in script]


@pytest.mark.parametrize(("fault", "words"), [
    ({"kind": "split", "symbol": "APPL", "bars": [1, 1]}, "did you mean 'AAPL'"),
    ({"kind": "split", "symbol": "AAPL", "bars": [11, 11]}, "no session follows"),
    ({"kind": "dividend", "symbol": "AAPL", "bars": [99, 99]}, "there are 12 bars"),
])
def test_an_action_that_cannot_be_is_refused(fault, words):
    with pytest.raises(InputError, match=words):
        Faults([fault]).prepare(helpers.daily())


def test_a_fault_is_data():
    fault = Fault(kind="reset", method="POST", nth=2, accepted=True, share=0.5)
    assert fault.as_mapping() == {"kind": "reset", "method": "POST", "nth": 2, "accepted": True, "share": 0.5}
    assert Fault.of(fault.as_mapping()) == fault


def test_every_kind_says_what_it_does():
    assert all(k.does for k in KINDS.values())
    assert {k.about for k in KINDS.values()} == {"request", "stream", "world"}
