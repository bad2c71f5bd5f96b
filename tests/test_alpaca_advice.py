"""What a refused order says to a person: the cause that it has, and what to do about this one."""

from __future__ import annotations

import string

import numpy as np
import pytest

from botlib.alpaca_rules import RULES, OrderRequest, ReplaceRequest, check, recognised
from botlib.brokers.alpaca.advice import LIKELY, explain
from botlib.brokers.alpaca.outcome import check_changes
from botlib.brokers.base import OrderRejection, UnknownOrder
from botlib.errors import BrokerRefusal, InputError


def order(**fields) -> OrderRequest:
    return OrderRequest(**({"symbol": "AAPL", "side": "buy", "qty": 10.0} | fields))


def refusal(status: int, code: int, message: str, **fields) -> BrokerRefusal:
    return BrokerRefusal("refused", status=status, code=code, message=message, fields=fields)


BRACKET = {"order_class": "bracket", "take_profit": 500.0, "stop_loss": 400.0}
SAID = {
    "buy stop below the market": (
        order(type="stop", stop_price=500.0),
        refusal(422, 42210000, "stop price must be greater than current price", market_price="518.83",
                stop_price="500"),
        "stop-wrong-side", ("stop of a buy must be above 518.83", "500 is not", "limit order")),
    "sell stop above the market": (
        order(side="sell", type="stop", stop_price=530.0),
        refusal(422, 42210000, "stop price must be less than current price", market_price="518.83", stop_price="530"),
        "stop-wrong-side", ("stop of a sell must be below 518.83", "530 is not")),
    "its market is not told": (
        order(type="stop", stop_price=500.0), refusal(422, 42210000, "stop price must be greater than current price"),
        "stop-wrong-side", ("The stop of a buy must be above the market",)),
    "a replaced stop": (
        None, refusal(422, 42210000, "stop price must be less than current price", market_price="9", stop_price="10"),
        "stop-wrong-side", ("stop of a sell must be below 9",)),
    "bracket on the wrong side": (
        order(**BRACKET), refusal(422, 42210000, "take_profit.limit_price must be >= base_price + 0.01",
                                  base_price="518.83"),
        "bracket-wrong-side", ("take_profit.limit_price = 500", "at least $0.01 above", "518.83")),
    "a leg of another base": (
        order(type="limit", limit_price=480.0, **BRACKET),
        refusal(422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01", base_price="399.5"),
        "bracket-wrong-side", ("stop_loss.stop_price = 400", "at least $0.01 below", "399.5")),
    "opening auction": (
        order(time_in_force="opg"), refusal(403, 40310000, RULES["opg-window"].message), "opg-window",
        ("from 19:00 to 09:28 New York time",)),
    "replaced while accepted": (
        None, refusal(422, 42210000, "cannot replace order in accepted status"), "replace-state",
        ("that is accepted cannot be replaced", "wait until it is new", "cancel it and send another")),
    "replaced when filled": (
        None, refusal(422, 42210000, "unable to replace order, order is not open"), "replace-done",
        ("has ended", "send a new one")),
    "gtc outside the session": (
        order(type="limit", limit_price=9.0, time_in_force="gtc", extended_hours=True),
        refusal(422, 42210000, "extended hours order must be DAY limit orders"), "extended-hours-type",
        ("only limit orders with time_in_force 'day'",)),
    "more than is held": (
        order(side="sell", qty=100.0),
        refusal(403, 40310000, "insufficient qty available for order (requested: 100, available: 10)", available="10",
                existing_qty="10", held_for_orders="0"),
        "quantity-beyond-position", ("only 10 shares", "through zero", "ask for 10 at most")),
    "more than is held, some of it elsewhere": (
        order(side="sell", qty=100.0),
        refusal(403, 40310000, "insufficient qty available for order (requested: 100, available: 6)", available="6",
                existing_qty="10", held_for_orders="4"),
        "quantity-beyond-position", ("ask for 10 at most", "Other orders hold 4 of them")),
    "held by a bracket": (
        order(side="sell", qty=10.0),
        refusal(403, 40310000, "insufficient qty available for order (requested: 10, available: 0)", available="0",
                existing_qty="10", held_for_orders="10"),
        "held-for-orders", ("other orders (a bracket's legs) hold the shares", "held_for_orders 10")),
    "both sides at once": (
        order(side="sell"), refusal(403, 40310000, "cannot open a short sell while a long buy order is open"),
        "opposite-entry", ("other side works in this symbol",)),
    "words of a value": (
        order(), refusal(422, 40010001, "subtag is too long"), "invalid", ("its words say which",)),
    "a type and its time in force": (
        order(type="stop", stop_price=9.0, time_in_force="ioc"), refusal(422, 40010001, "invalid time_in_force"),
        "time-in-force-type", ("'ioc' does not go with a stop order",)),
}


@pytest.mark.parametrize("name", SAID)
def test_advice_is_about_the_rule(name):
    asked, answer, rule, pieces = SAID[name]
    found, advice = explain(answer, asked)
    assert found == rule
    assert all(piece in advice for piece in pieces), advice
    assert "buying power" not in advice and "{" not in advice and advice.endswith((".", "?"))


def test_the_usual_suspects_where_nothing_is_known():
    assert explain(refusal(403, 40310000, "words that nobody knows"), order()) == ("forbidden", LIKELY)


def test_every_rule_has_a_sentence_without_facts():
    """Alpaca's words alone must do; none of them may end in the causes of another refusal."""
    for rule, known in RULES.items():
        needs = {name for _, name, _, _ in string.Formatter().parse(known.advice) if name}
        told = {name for _, name, _, _ in string.Formatter().parse(known.message) if name}
        assert "{" not in known.general
        assert known.general.endswith(".") if needs - told else known.advice, rule
        if not told:
            advice = explain(refusal(*known.answer, known.message))[1]
            assert advice and advice != LIKELY and "{" not in advice, rule


def test_a_rule_is_found_by_its_words():
    assert recognised('asset "GVH" cannot be sold short') == ("not-shortable", {"symbol": "GVH"})
    assert recognised("qty must be > 0") == ("quantity-positive", {})
    assert recognised("take_profit.limit_price must be <= base_price - 0.01") == (
        "bracket-wrong-side", {"name": "take_profit.limit_price", "sign": "<=", "step": "- 0.01"})
    assert recognised("requested asset is not fractionable, sorry")[0] == "not-fractionable"
    assert recognised("words that nobody knows") is None


# --- sentences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "begins"), [
    ("buy 10 AAPL market", "Order submission failed (buy 10 AAPL market): no [HTTP 403, 40310000, rule]"),
    ("cancel nope", "Cancelling an order failed (cancel nope): "),
    ("replace nope", "Replacing an order failed (replace nope): "),
    ("close AAPL", "Closing a position failed (close AAPL): ")])
def test_a_rejection_says_what_failed(what, begins):
    text = str(OrderRejection(symbol="AAPL", client_order_id="x", rule="rule", message="no", status=403, code=40310000,
                              what=what))
    assert text.startswith(begins)


@pytest.mark.parametrize("by", ["preflight", "client"])
def test_no_status_of_what_was_never_sent(by):
    text = str(OrderRejection(symbol="AAPL", client_order_id="x", rule="rule", message="no.", status=403, code=40310000,
                              by=by, advice="Do this."))
    assert text == "Order submission failed: no [rule, nothing was sent]. Do this."


def test_nothing_was_sent_is_not_unknown():
    def unknown(**fields) -> str:
        return str(UnknownOrder(symbol="AAPL", client_order_id="x", reason="unreachable", **fields))

    assert unknown(message="is it running?", sent=False) == "Nothing was sent: is it running? It may be sent again."
    assert unknown(message="no answer") == "Outcome unknown: no answer. Look up client_order_id 'x' first."


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"type": "trailing_stop", "trail_percent": 0}, "trail_percent = 0 must be a number of percent above 0."),
    ({"type": "trailing_stop", "trail_price": -1}, "trail_price = -1 must be an amount of dollars above 0."),
    ({"type": "limit", "limit_price": "9"}, "limit_price = '9' must be a price above 0."),
    ({"extended_hours": "no"}, "extended_hours is 'no', not True or False"),
    ({"client_order_id": 5}, "client_order_id is 5, not a text")])
def test_wrong_values(fields, sentence):
    broken = check(order(**fields))
    assert broken is not None and broken.advice.startswith(sentence)


@pytest.mark.parametrize("changes", [{"client_order_id": 5, "qty": 2}, {"trail": 0}, {"qty": "x"}, {}])
def test_wrong_changes(changes):
    assert check_changes(ReplaceRequest(**changes)) is not None


def test_numpys_numbers_are_numbers():
    assert check(order(qty=np.int64(10), type="limit", limit_price=np.float32(9.5))) is None
    assert check(order(qty=np.int64(0))).rule == "quantity-positive"
    assert check(order(qty=True)).rule == "quantity-positive"


# --- by name ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "message"), [
    ({"limit": 9.0}, r"OrderRequest has no 'limit'; did you mean 'limit_price'\? Valid: symbol, side, "),
    ({"stop": 9.0}, "no 'stop'; did you mean 'stop_price' or 'stop_loss'"),
    ({"sid": "buy"}, "no 'sid'; did you mean 'side'"),
    ({"zzz": 1}, r"has no 'zzz'\. Valid: ")])
def test_an_unknown_name(values, message):
    with pytest.raises(InputError, match=message):
        OrderRequest(symbol="AAPL", side="buy", **values)


def test_names_that_are_needed():
    with pytest.raises(InputError, match="OrderRequest needs symbol and side"):
        OrderRequest(qty=5.0)
    with pytest.raises(InputError, match=r"takes its values by name: OrderRequest\(symbol=…\)"):
        OrderRequest("AAPL", "buy", 10)
    with pytest.raises(InputError, match="ReplaceRequest has no 'limit'; did you mean 'limit_price'"):
        ReplaceRequest(limit=3.0)
