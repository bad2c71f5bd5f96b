"""Brackets, OCO and OTO at the local exchange, and orders in the place of others: by hand, on a few bars."""

from __future__ import annotations

import pytest
from exchange_helpers import (
    DAY,
    FLAT,
    WAITS,
    bracket,
    daily,
    events,
    fills,
    held,
    hours,
    intraday,
    ns,
    oco,
    order,
    refusal,
    statuses,
    thin,
)

import botlib
from botlib.sandbox.exchange import Exchange

# --- Brackets ---------------------------------------------------------------------------------------------------------


def test_a_bracket_to_its_target():
    x = Exchange(daily(FLAT, (100.0, 101.0, 99.0, 100.0), (101.0, 106.0, 100.0, 104.0)))
    sent = x.submit(bracket())
    assert statuses(x, sent) == ["accepted", "held", "held"]
    profit, loss = sent.legs
    assert (profit.type, profit.side, profit.qty, profit.limit_price, profit.position_intent) == (
        "limit", -1, 10.0, 105.0, "sell_to_close")
    assert (loss.type, loss.stop_price, loss.limit_price, loss.group_role) == ("stop", 95.0, None, "stop_loss")
    assert sent.group_id == profit.group_id == loss.group_id and x.held_for_orders("AAA") == 0.0
    x.advance()
    assert statuses(x, sent) == ["filled", "new", "held"]
    assert x.held_for_orders("AAA") == 10.0 and x.available("AAA") == 0.0
    x.advance()
    assert statuses(x, sent) == ["filled", "filled", "canceled"] and fills(x)[-1] == ("AAA", -1, 10.0, 105.0)
    assert events(x, loss) == []  # Alpaca's stream says nothing of it
    assert x.get(loss.id).canceled_at > 0
    assert events(x) == [*WAITS, "fill", "new", "fill"] and not x.positions


def test_a_bracket_to_its_stop():
    x = Exchange(daily(FLAT, FLAT, (99.0, 106.0, 94.0, 96.0)))
    sent = x.submit(bracket())
    x.advance()
    x.advance()  # both were within reach: the stop is first
    assert statuses(x, sent) == ["filled", "canceled", "filled"] and fills(x)[-1][3] == 95.0
    assert events(x) == [*WAITS, "fill", "new", "new", "canceled", "fill"]


def test_a_short_bracket_and_its_capped_stop():
    """The buy stop at 105 has a cap of 107.62; the open leaps over it, and the target is gone by then."""
    x = Exchange(daily(FLAT, FLAT, (109.0, 110.0, 108.0, 109.0), (107.0, 108.0, 94.0, 107.0)))
    sent = x.submit(bracket("sell"))
    x.advance()
    x.advance()
    assert statuses(x, sent) == ["filled", "canceled", "new"] and len(fills(x)) == 1
    x.advance()
    assert fills(x)[-1] == ("AAA", 1, 10.0, 107.0) and statuses(x, sent) == ["filled", "canceled", "filled"]


def test_legs_act_in_the_bar_of_the_entry():
    x = Exchange(daily(FLAT, (100.0, 101.0, 94.0, 95.0)))
    x.submit(bracket())
    x.advance()
    assert [f[1:] for f in fills(x)] == [(1, 10.0, 100.0), (-1, 10.0, 95.0)]


def test_an_entry_within_the_bar_meets_its_stop_but_not_its_target():
    x = Exchange(daily(FLAT, (100.0, 106.0, 98.5, 104.0), (104.0, 104.5, 103.0, 104.0)))
    sent = x.submit(bracket(limit_price=99.0))
    x.advance()
    assert statuses(x, sent) == ["filled", "new", "held"]  # 106 may have been before 99
    y = Exchange(daily(FLAT, (100.0, 106.0, 94.0, 104.0)))
    sent = y.submit(bracket(limit_price=99.0))
    y.advance()
    assert statuses(y, sent) == ["filled", "canceled", "filled"]  # 95 was after 99


def test_a_stop_loss_with_a_limit():
    x = Exchange(daily(FLAT, FLAT, (93.0, 94.0, 92.0, 93.0), (94.6, 95.0, 94.0, 94.5)))
    sent = x.submit(bracket(stop_loss_limit=94.5))
    assert (sent.legs[1].type, sent.legs[1].limit_price) == ("stop_limit", 94.5)
    x.advance()
    x.advance()
    assert statuses(x, sent) == ["filled", "canceled", "new"]  # opened below its limit
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 10.0, 94.6)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_cancelling_one_of_a_waiting_bracket_cancels_the_group(which):
    x = Exchange(daily(FLAT, DAY))
    sent = x.submit(bracket(limit_price=99.0))
    x.cancel((sent, *sent.legs)[which].id)
    assert statuses(x, sent) == ["canceled"] * 3 and x.account.reserved == 0.0
    x.advance()
    assert fills(x) == []


@pytest.mark.parametrize("which", [0, 1])
def test_cancelling_one_leg_of_a_filled_bracket_cancels_both(which):
    x = Exchange(daily(FLAT, FLAT, DAY))
    sent = x.submit(bracket())
    x.advance()
    x.cancel(sent.legs[which].id)
    assert statuses(x, sent) == ["filled", "canceled", "canceled"]
    assert x.available("AAA") == 10.0


def test_a_partly_filled_entry_has_no_legs_yet_and_a_cancel_leaves_none():
    x = thin(40.0, 40.0, 1e6)
    sent = x.submit(bracket())
    x.advance()
    assert statuses(x, sent) == ["partially_filled", "held", "held"] and x.positions["AAA"].qty == 4.0
    assert x.account.reserved == 600.0 and x.available("AAA") == 4.0
    x.cancel(sent.id)
    assert statuses(x, sent) == ["canceled"] * 3
    oco = x.submit(order("sell", 4.0, type="limit", order_class="oco", take_profit=105.0, stop_loss=95.0,
                         time_in_force="gtc"))
    assert x.get(oco.id).status == "accepted" and x.held_for_orders("AAA") == 4.0


def test_the_legs_start_with_the_last_share_of_the_entry():
    x = thin(40.0, 1e6)
    sent = x.submit(bracket())
    x.advance()
    x.advance()
    assert statuses(x, sent) == ["filled", "new", "held"] and x.held_for_orders("AAA") == 10.0
    assert events(x, sent) == [*WAITS, "partial_fill", "fill"]


def test_legs_do_not_sell_what_another_exit_has_taken():
    """4 of 10 are bought, another exit takes 3 of them: when the entry is complete, 7 are left to protect."""
    x = thin(40.0, 1e6)
    sent = x.submit(bracket())
    x.advance()
    x.submit(order("sell", 3.0, type="limit", order_class="oco", take_profit=150.0, stop_loss=50.0,
                   time_in_force="gtc"))
    x.advance()
    assert [x.get(leg.id).qty for leg in sent.legs] == [7.0, 7.0]
    assert x.held_for_orders("AAA") == 10.0


def test_a_partial_fill_of_the_target_shrinks_the_stop():
    costs = botlib.Costs(max_participation_pct=10.0, slippage_bps=0.0, regulatory_fees=False)
    cells = [(100.0, 101.0, 99.0, 100.0, 1e6), (104.0, 105.0, 103.0, 104.0, 30.0), (100.0, 100.5, 94.0, 95.0, 1e6)]
    x = Exchange(daily(FLAT, *cells), costs=costs)
    sent = x.submit(bracket())
    x.advance()
    x.advance()
    assert statuses(x, sent) == ["filled", "partially_filled", "held"]
    assert x.get(sent.legs[1].id).qty == 7.0 and x.held_for_orders("AAA") == 7.0
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 7.0, 95.0) and not x.positions
    assert statuses(x, sent) == ["filled", "canceled", "filled"]


SHARED = botlib.Costs(max_participation_pct=10.0, slippage_bps=0.0, regulatory_fees=False)


def test_a_thin_bar_serves_exits_before_entries_and_stops_before_targets():
    """30 shares may be traded. The stop of the second pair comes before the target of the first, which is older; the
    entry was submitted before both and gets nothing."""
    cells = [(100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 106.0, 90.0, 100.0, 300.0)]
    x = Exchange(daily(FLAT, *cells), costs=SHARED)
    x.submit(order("buy", 60.0))
    x.advance()
    x.submit(order("buy", 10.0, limit_price=95.0, order_class="bracket", take_profit=110.0, stop_loss=80.0,
                   time_in_force="gtc"))
    x.submit(oco(20.0, take_profit=105.0, stop_loss=85.0))
    x.submit(oco(25.0, take_profit=120.0, stop_loss=92.0))
    x.advance()
    assert fills(x)[1:] == [("AAA", -1, 25.0, 92.0), ("AAA", -1, 5.0, 105.0)]


def test_a_thin_bar_serves_the_open_before_the_rest_of_it():
    """The open passes the target of the younger pair; the stop of the older one is met later."""
    cells = [(100.0, 101.0, 99.0, 100.0, 1e6), (106.0, 106.0, 90.0, 100.0, 300.0)]
    x = Exchange(daily(FLAT, *cells), costs=SHARED)
    x.submit(order("buy", 60.0))
    x.advance()
    x.submit(oco(20.0, take_profit=120.0, stop_loss=95.0))
    x.submit(oco(25.0, take_profit=105.0, stop_loss=80.0))
    x.advance()
    assert fills(x)[1:] == [("AAA", -1, 25.0, 106.0), ("AAA", -1, 5.0, 95.0)]


def test_a_replaced_exit_keeps_its_place():
    cells = [(100.0, 101.0, 99.0, 100.0, 1e6), (110.0, 110.0, 110.0, 110.0, 300.0)]
    x = Exchange(daily(FLAT, *cells), costs=SHARED)
    x.submit(order("buy", 60.0))
    x.advance()
    first = x.submit(order("sell", 20.0, limit_price=108.0, time_in_force="gtc"))
    x.submit(order("sell", 25.0, limit_price=107.0, time_in_force="gtc"))
    x.book.become(x.book.orders[first.id], "new")
    x.replace(first.id, limit_price=109.0)
    x.advance()
    assert fills(x)[1:] == [("AAA", -1, 20.0, 110.0), ("AAA", -1, 10.0, 110.0)]


def test_odd_parts_of_shares_are_those_of_all_exits():
    """1 for 2: an OCO for 3 and a market order for 5 sell 1 and 3 of the 4 shares there are then."""
    x = held((50.0, 50.0, 50.0, 50.0), FLAT, qty=8.0, actions=[("AAA", "2024-03-06", "split", 0.5)])
    x.submit(oco(3.0, take_profit=20.0, stop_loss=15.0))
    x.submit(order("sell", 5.0))
    x.advance()
    assert sorted(q for _, side, q, _ in fills(x) if side < 0) == [1.0, 3.0] and not x.positions


def test_a_bracket_for_the_day_ends_with_it():
    x = Exchange(daily(FLAT, FLAT, FLAT))
    sent, waits = x.submit(bracket(time_in_force="day")), x.submit(bracket(limit_price=96.0, time_in_force="day"))
    x.advance()
    assert statuses(x, sent) == ["filled", "expired", "expired"]
    assert statuses(x, waits) == ["expired"] * 3


def test_one_triggers_the_other():
    x = Exchange(daily(FLAT, FLAT, (96.0, 97.0, 94.0, 95.0)))
    sent = x.submit(order("buy", order_class="oto", stop_loss=95.0, time_in_force="gtc"))
    assert statuses(x, sent) == ["accepted", "held"]
    x.advance()
    assert statuses(x, sent) == ["filled", "new"]  # alone it is not held
    x.advance()
    assert statuses(x, sent) == ["filled", "filled"] and fills(x)[-1][3] == 95.0


# --- OCO --------------------------------------------------------------------------------------------------------------


def test_one_cancels_the_other():
    x = held((101.0, 106.0, 100.0, 104.0))
    sent = x.submit(oco())
    assert (sent.type, sent.limit_price, sent.group_role) == ("limit", 105.0, "take_profit")
    assert [leg.group_role for leg in sent.legs] == ["stop_loss"] and statuses(x, sent) == ["accepted", "held"]
    assert x.held_for_orders("AAA") == 10.0
    x.advance()
    assert statuses(x, sent) == ["filled", "canceled"] and events(x, sent.legs[0]) == []


def test_an_ocos_stop_cancels_its_target():
    x = held((101.0, 102.0, 94.0, 96.0))
    sent = x.submit(oco())
    x.advance()
    assert statuses(x, sent) == ["canceled", "filled"] and fills(x)[-1][3] == 95.0


def test_the_oco_of_a_short():
    x = held((98.0, 99.0, 94.0, 96.0), side="sell")
    sent = x.submit(oco(side="buy"))
    x.advance()
    assert statuses(x, sent) == ["filled", "canceled"] and fills(x)[-1] == ("AAA", 1, 10.0, 95.0)


@pytest.mark.parametrize("which", [0, 1])
def test_cancelling_either_of_an_oco(which):
    x = held(DAY)
    sent = x.submit(oco())
    x.cancel((sent, *sent.legs)[which].id)
    assert statuses(x, sent) == ["canceled", "canceled"]


def test_classes_belong_to_entries_and_exits():
    x = held(DAY)
    assert refusal(x.submit, bracket("sell")).rule == "bracket-not-entry"
    empty = Exchange(daily(FLAT, DAY))
    assert refusal(empty.submit, oco()).rule == "oco-not-exit"


# --- Replacing --------------------------------------------------------------------------------------------------------


def working(*cells, **fields) -> tuple[Exchange, object]:
    """A gtc limit order that is new."""
    x = Exchange(daily(FLAT, FLAT, *(cells or (DAY,))), cash=1_000.0, multiplier=1.0)
    sent = x.submit(order("buy", **({"limit_price": 90.0, "time_in_force": "gtc"} | fields)))
    x.advance()
    return x, sent


def test_a_replacement_is_a_new_order():
    x, old = working()
    new = x.replace(old.id, limit_price=95.0, client_order_id="again")
    assert new.id != old.id and new.replaces == old.id and new.status == "new" and new.client_order_id == "again"
    was = x.get(old.id)
    assert (was.status, was.replaced_by, was.limit_price) == ("replaced", new.id, 90.0) and was.replaced_at > 0
    assert (new.limit_price, new.qty, new.time_in_force) == (95.0, 10.0, "gtc") and new.created_at >= was.replaced_at
    assert x.account.reserved == 950.0
    assert events(x, old)[-1] == "replaced" and events(x, new) == ["new"]
    assert refusal(x.replace, old.id, limit_price=96.0).rule == "replace-replaced"


def test_a_replacement_needs_the_difference_only():
    x, old = working()
    found = refusal(x.replace, old.id, limit_price=101.0)
    assert (found.status, found.fields) == (403, {"buying_power": "100.00", "cost_basis": "1010.00"})
    assert x.get(old.id).status == "new" and x.account.reserved == 900.0
    assert x.account.reserved == 900.0
    smaller = x.replace(old.id, qty=5.0)
    assert x.account.reserved == 450.0 and x.get(smaller.id).qty == 5.0


def test_replacing_a_market_order_reserves_at_the_last_price():
    x = Exchange(intraday(hours(1, "9h30min", "10h30min", "11h30min"), [FLAT] * 3))
    sent = x.submit(order("buy"))
    new = x.replace(sent.id, qty=20.0)
    assert new.type == "market" and x.account.reserved == 2_000.0


def test_the_time_in_force_brings_its_own_end():
    x, old = working()
    day = x.replace(old.id, time_in_force="day")
    assert day.expires_at == ns("2024-03-06 16:00")
    again = x.replace(day.id, time_in_force="gtc")
    assert again.expires_at == ns("2024-06-03 16:15")  # 90 days after 2024-03-05
    x.advance()
    assert x.get(again.id).status == "new"


def test_a_partly_filled_order_keeps_what_it_has():
    x = thin(40.0, 1e6)
    old = x.submit(order("buy", limit_price=100.0, time_in_force="gtc"))
    x.advance()
    found = refusal(x.replace, old.id, qty=4.0)
    assert (found.status, found.code, found.message) == (422, 42210000, "qty must be > filled_qty")
    new = x.replace(old.id, qty=8.0)
    assert (new.filled_qty, new.status) == (4.0, "partially_filled") and x.account.reserved == 400.0
    assert events(x, new) == ["new"]
    x.advance()
    assert [f[2] for f in fills(x)] == [4.0, 4.0] and x.get(new.id).status == "filled"


def test_exits_may_grow_to_what_is_free():
    x = held(DAY, DAY)
    one = x.submit(order("sell", 4.0, limit_price=120.0, time_in_force="gtc"))
    x.submit(order("sell", 3.0, limit_price=121.0, time_in_force="gtc"))
    x.advance()
    found = refusal(x.replace, one.id, qty=8.0)
    assert found.rule == "insufficient-quantity" and found.fields["available"] == "7"
    assert x.replace(one.id, qty=7.0).qty == 7.0 and x.available("AAA") == 0.0


def test_a_replacement_is_no_way_around_the_wash_trade_rule():
    x = held(DAY, DAY)
    sell = x.submit(order("sell", 5.0, limit_price=104.0, time_in_force="gtc"))
    buy = x.submit(order("buy", 5.0, limit_price=98.0, time_in_force="gtc"))
    x.advance()
    found = refusal(x.replace, buy.id, limit_price=104.0)
    assert found.rule == "wash-trade" and found.fields["existing_order_id"] == sell.id


@pytest.mark.parametrize(("state", "message"), [
    *[(state, f"cannot replace order in {state} status") for state in ("accepted", "pending_new", "pending_cancel")],
    *[(state, "unable to replace order, order is not open") for state in ("filled", "canceled", "expired")]])
def test_states_that_cannot_be_replaced(state, message):
    x = Exchange(intraday(hours(2, "9h30min", "10h30min", "15h30min"), [FLAT] * 6),
                 first=3 if state == "accepted" else 1)
    sent = x.submit(order("buy", limit_price=100.0 if state == "filled" else 90.0))
    if state == "pending_cancel":
        x.stuck_cancels = True
        x.cancel(sent.id)
    elif state == "canceled":
        x.cancel(sent.id)
    elif state in ("filled", "expired"):
        x.advance()
        x.advance()
    if state == "pending_new":  # every call ends it, so only a settled exchange can be asked
        x.orders[sent.id].status, x.book._pending = "pending_new", []
    found = refusal(x.replace, sent.id, limit_price=91.0)
    assert (found.status, found.code, found.message) == (422, 42210000, message)


def test_replacements_that_change_nothing_or_the_wrong_thing():
    x, old = working()
    assert refusal(x.replace, old.id, limit_price=90.0, qty=10.0).message == "order parameters are not changed"
    assert refusal(x.replace, old.id).rule == "replace-unchanged"
    assert refusal(x.replace, old.id, stop_price=95.0).rule == "price-not-of-type"
    assert refusal(x.replace, old.id, qty=2.5).rule == "replace-quantity-whole"
    assert refusal(x.replace, old.id, client_order_id=old.client_order_id, qty=3.0).rule == "duplicate-client-order-id"
    assert refusal(x.replace, "no-such-order", qty=3.0).status == 404


def test_a_leg_gets_another_price_and_stays_a_leg():
    x = Exchange(daily(FLAT, FLAT, DAY, (99.0, 99.5, 97.0, 98.0)))
    sent = x.submit(bracket())
    x.advance()
    stop = x.replace(sent.legs[1].id, stop_price=98.0)
    assert stop.status == "held" and stop.group_id == sent.group_id
    assert [leg.id for leg in x.get(sent.id).legs] == [sent.legs[0].id, stop.id]
    assert refusal(x.replace, stop.id, qty=5.0).rule == "replace-quantity-advanced"
    x.advance()
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 10.0, 98.0)
    assert x.get(sent.legs[0].id).status == "canceled" and not x.positions


def test_an_ocos_target_is_replaced_with_its_stop_beside_it():
    x = held(FLAT, (101.0, 104.0, 100.0, 103.0))
    sent = x.submit(oco())
    x.advance()
    new = x.replace(sent.id, limit_price=103.5)
    assert new.legs[0].id == sent.legs[0].id and x.held_for_orders("AAA") == 10.0
    x.advance()
    assert fills(x)[-1][3] == 103.5 and x.get(sent.legs[0].id).status == "canceled"


def test_a_trailing_stop_gets_another_trail():
    x = held(FLAT, DAY)
    sent = x.submit(order("sell", type="trailing_stop", trail_price=5.0, time_in_force="gtc"))
    x.advance()
    assert x.replace(sent.id, trail=3.0).stop_price == 97.0
