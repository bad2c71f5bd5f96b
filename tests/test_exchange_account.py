"""The account at the local exchange: what is refused, what is held, and what happens to it besides orders."""

from __future__ import annotations

import pytest
from engine_helpers import make_bars
from exchange_helpers import (
    DAY,
    FLAT,
    WAITS,
    bracket,
    daily,
    events,
    fills,
    held,
    moved,
    ns,
    oco,
    order,
    refusal,
    sessions,
    statuses,
    thin,
)

import botlib
from botlib.errors import InputError
from botlib.sandbox.exchange import Exchange

NY = "America/New_York"


# --- Refusals that know the account -----------------------------------------------------------------------------------


def test_insufficient_buying_power():
    x = Exchange(daily(FLAT, DAY), cash=1_000.0, multiplier=4.0)
    found = refusal(x.submit, order("buy", 41.0))
    assert (found.status, found.code, found.message) == (403, 40310000, "insufficient buying power")
    assert found.fields == {"buying_power": "4000.00", "cost_basis": "4100.00"}
    assert x.orders == {} and x.updates == []
    x.submit(order("buy", 40.0))
    assert x.buying_power == 0.0


@pytest.mark.parametrize(("request_", "reserved"), [
    (order("buy"), 1_000.0), (order("buy", limit_price=110.0), 1_100.0), (order("buy", limit_price=90.0), 900.0),
    (order("buy", stop_price=110.0), 1_127.5),  # at its cap, 110 and 2.5 %
    (order("buy", stop_price=110.0, limit_price=111.0), 1_110.0),
    (order("sell"), 1_030.0), (order("sell", limit_price=110.0), 1_100.0), (order("sell", limit_price=101.0), 1_030.0),
    (order("sell", stop_price=90.0), 1_030.0), (bracket(), 1_000.0)])
def test_what_entries_reserve(request_, reserved):
    """Shorts: max(limit, 3 % above the price) times quantity ("Orders at Alpaca: buying power")."""
    x = Exchange(daily(FLAT, DAY))
    x.submit(request_)
    assert x.account.reserved == pytest.approx(reserved) and x.buying_power == pytest.approx(400_000.0 - reserved)


def test_exits_reserve_nothing_and_free_nothing_before_they_fill():
    x = held(DAY, cash=1_000.0, multiplier=1.0)
    assert x.buying_power == 0.0
    x.submit(order("sell"))
    assert x.account.reserved == 0.0 and x.buying_power == 0.0
    x.advance()
    assert x.buying_power == 1_010.0


def test_a_cash_account_buys_with_cash_and_does_not_short():
    x = Exchange(daily(FLAT, DAY), cash=1_000.0, multiplier=1.0)
    assert refusal(x.submit, order("buy", 11.0)).fields == {"buying_power": "1000.00", "cost_basis": "1100.00"}
    found = refusal(x.submit, order("sell", 1.0))
    assert (found.status, found.code, found.message) == (403, 40310000, "account is not allowed to short")


def test_insufficient_quantity():
    x = held(DAY)
    x.submit(order("sell", 4.0, limit_price=120.0))
    found = refusal(x.submit, order("sell", 7.0))
    assert (found.status, found.code) == (403, 40310000)
    assert found.message == "insufficient qty available for order (requested: 7, available: 6)"
    assert found.fields == {"available": "6", "existing_qty": "10", "held_for_orders": "4", "symbol": "AAA"}
    x.submit(order("sell", 6.0))
    assert x.available("AAA") == 0.0
    assert refusal(x.submit, oco(1.0)).rule == "insufficient-quantity"


def test_no_flip_through_zero():
    x = held(DAY, qty=10.0)
    assert refusal(x.submit, order("sell", 11.0)).rule == "insufficient-quantity"
    y = held(DAY, qty=10.0, side="sell")
    assert refusal(y.submit, order("buy", 11.0)).rule == "insufficient-quantity"


@pytest.mark.parametrize(("first", "second", "reason"), [
    (order("buy"), order("sell"), "opposite side market/stop order exists"),
    (order("buy", stop_price=105.0), order("sell"), "opposite side market/stop order exists"),
    (order("buy", stop_price=105.0), order("sell", limit_price=120.0), "opposite side market/stop order exists"),
    (order("buy", limit_price=90.0), order("sell"), "opposite side limit order exists"),
    (order("buy", limit_price=101.0), order("sell", limit_price=101.0), "opposite side limit order exists"),
])
def test_wash_trades(first, second, reason):
    x = Exchange(daily(FLAT, DAY))
    sent = x.submit(first)
    found = refusal(x.submit, second)
    assert (found.status, found.code) == (403, 40310000)
    assert found.message == "potential wash trade detected. use complex orders"
    assert found.fields == {"existing_order_id": sent.id, "reject_reason": reason}


def test_a_position_with_legs_takes_no_simple_order_of_the_other_side():
    x = Exchange(daily(FLAT, FLAT, DAY))
    sent = x.submit(bracket())
    x.advance()
    found = refusal(x.submit, order("buy", 1.0))
    assert found.rule == "wash-trade" and found.fields["existing_order_id"] == sent.legs[0].id
    x.submit(bracket(qty=1.0))  # "use complex orders"


def test_limits_that_cannot_meet_are_no_wash_trade_and_twins_are_accepted():
    x = held(DAY)
    x.submit(order("sell", 5.0, limit_price=103.0))
    x.submit(order("buy", 5.0, limit_price=102.99))
    x.submit(order("sell", 2.0, limit_price=103.0))
    x.submit(order("sell", 2.0, limit_price=103.0))


def test_entries_of_both_sides_are_not_taken():
    x = Exchange(daily(FLAT, DAY))
    x.submit(order("buy", limit_price=90.0))
    found = refusal(x.submit, order("sell", limit_price=110.0))
    assert (found.status, found.code, found.message) == (
        403, 40310000, "cannot open a short sell while a long buy order is open")
    y = Exchange(daily(FLAT, DAY))
    y.submit(order("sell", limit_price=110.0))
    assert refusal(y.submit, order("buy", limit_price=90.0)).message == (
        "cannot open a long buy while a short sell order is open")


def test_a_client_order_id_is_used_once():
    x = Exchange(daily(FLAT, DAY, DAY))
    x.submit(order("buy", client_order_id="mine"))
    for _ in range(2):  # also after the fill
        found = refusal(x.submit, order("buy", client_order_id="mine"))
        assert (found.status, found.code, found.message) == (422, 40010001, "client_order_id must be unique")
        x.advance()
    assert x.by_client_order_id("mine").status == "filled"
    assert (refusal(x.by_client_order_id, "yours").status, refusal(x.get, "yours").code) == (404, 40410000)


def test_a_blocked_account_reads_and_cancels_but_sends_nothing():
    x = held(DAY)
    sent = x.submit(order("sell", limit_price=120.0, time_in_force="gtc"))
    x.block()
    for call in (lambda: x.submit(order("buy")), lambda: x.replace(sent.id, limit_price=121.0),
                 lambda: x.close_position("AAA")):
        found = refusal(call)
        assert (found.status, found.code, found.rule) == (403, 40310000, "account-blocked")
    x.cancel(sent.id)
    assert x.get(sent.id).status == "canceled"
    x.block(False)
    x.trade_suspended_by_user = True
    assert refusal(x.submit, order("buy")).rule == "trading-suspended"


@pytest.mark.parametrize(("request_", "status", "code", "rule"), [
    (order("buy", symbol="NONE"), 422, 42210000, "unknown-symbol"),
    (order("buy", 0.0), 422, 40010001, "quantity-positive"),
    (order("buy", float("nan")), 422, 40010001, "quantity-positive"),
    (order("buy", 1e-10), 422, 42210000, "quantity-precision"),
    (order("buy", limit_price=90.001), 422, 42210000, "sub-penny-price"),
    (order("sell", stop_price=101.0), 422, 42210000, "stop-wrong-side"),
    (bracket(take_profit=99.0, stop_loss=98.0), 422, 42210000, "bracket-wrong-side"),
    (order("buy", 1.5, time_in_force="gtc"), 422, 42210000, "fractional-needs-day"),
    (order("sell", 1.5), 422, 42210000, "fractional-short"),
    (order("buy", extended_hours=True), 422, 42210000, "extended-hours-type")])
def test_the_matrix_is_asked(request_, status, code, rule):
    found = refusal(Exchange(daily(FLAT, DAY)).submit, request_)
    assert (found.status, found.code, found.rule) == (status, code, rule)


def test_a_symbol_that_has_not_traded_yet():
    x = Exchange(daily(FLAT, DAY, BBB=[None, 50.0]))
    assert refusal(x.submit, order("buy", symbol="BBB")).rule == "no-price"


# --- Positions --------------------------------------------------------------------------------------------------------


def test_closing_positions():
    x = held(DAY, DAY)
    x.close_position("AAA", qty=3.0)
    half = x.close_position("AAA", percentage=50.0)
    assert (half.side, half.qty, half.position_intent) == (-1, 5.0, "sell_to_close")
    assert refusal(x.close_position, "AAA").rule == "insufficient-quantity"
    found = refusal(x.close_position, "BBB")
    assert (found.status, found.code, found.message) == (404, 40410000, "position does not exist")
    x.advance()
    assert x.positions["AAA"].qty == 2.0


def test_closing_all_reports_what_is_refused():
    x = Exchange(daily(FLAT, FLAT, DAY, BBB=[50.0, 50.0, 50.0]))
    x.submit(order("buy"))
    x.submit(order("sell", symbol="BBB"))
    x.advance()
    x.submit(order("sell", limit_price=120.0, time_in_force="gtc"))
    first = dict(x.close_all(cancel_orders=False))
    assert first["AAA"].rule == "insufficient-quantity" and first["BBB"].side == 1
    second = dict(x.close_all(cancel_orders=True))
    assert second["AAA"].side == -1
    x.advance()
    assert not x.positions


def test_average_entry_price_and_what_a_position_was_yesterday():
    x = Exchange(daily(FLAT, FLAT, 110.0, 120.0))
    x.submit(order("buy"))
    x.advance()
    x.submit(order("buy", 30.0))
    x.advance()
    held_ = x.positions["AAA"]
    assert (held_.qty, held_.avg_entry_price) == (40.0, 107.5)
    # After the close, until the next session begins, it is still the day before's: what today made can be seen.
    assert (held_.lastday_qty, held_.lastday_price) == (10.0, 100.0)
    assert (x.account.last_equity, x.equity) == (100_000.0, 100_000.0 + 10 * 10)
    x.submit(order("sell", 15.0))
    x.advance()
    assert (x.positions["AAA"].qty, x.positions["AAA"].avg_entry_price) == (25.0, 107.5)
    assert (held_.lastday_qty, held_.lastday_price) == (40.0, 110.0)
    assert (x.account.last_equity, x.equity) == (100_100.0, 100_000.0 + 10 * 20 + 30 * 10)


def test_the_close_marks_positions_and_the_open_between_the_halves():
    x = held(DAY)
    x.open_bar()
    assert x.price("AAA") == 101.0 and x.equity == 100_010.0 and x.bar == 1
    assert x.now == ns("2024-03-06 09:30")
    x.close_bar()
    assert x.price("AAA") == 102.0 and x.equity == 100_020.0 and x.now == ns("2024-03-06 16:20")
    assert x.equity_history[-1] == (x.now, 100_020.0) and x.done and not x.advance()


def test_an_order_sent_after_the_open_waits_for_the_next_bar():
    x = Exchange(daily(FLAT, DAY, (103.0, 103.0, 103.0, 103.0)))
    x.open_bar()
    sent = x.submit(order("buy", time_in_force="gtc"))
    late = x.submit(order("buy", limit_price=50.0))
    near = x.submit(order("buy", 1.0, limit_price=99.5, time_in_force="gtc"))  # the low of 99 may be over
    assert sent.status == "pending_new"
    x.close_bar()
    assert fills(x) == [] and x.get(sent.id).status == "new"
    assert x.get(near.id).status == "new" and x.get(late.id).status == "expired"  # with the session it was sent in
    x.advance()
    assert fills(x) == [("AAA", 1, 10.0, 103.0)]


# --- What else happens ------------------------------------------------------------------------------------------------


def test_a_halt():
    x = held((95.0, 95.0, 90.0, 92.0), (101.0, 101.0, 101.0, 101.0), DAY)
    x.submit(oco())
    x.halt("AAA")
    sent = x.submit(order("buy", limit_price=104.0, order_class="bracket", take_profit=105.0, stop_loss=50.0,
                          time_in_force="gtc"))
    x.advance()
    assert len(fills(x)) == 1 and x.halted("AAA")
    x.resume("AAA")
    x.advance()
    assert x.get(sent.id).filled_avg_price == 101.0


def test_good_till_cancelled_ends_after_90_days():
    index = sessions(70)
    count = int((index <= "2024-06-04").sum())
    x = Exchange(daily(FLAT, *[FLAT] * (count - 3), 80.0, 80.0))  # 80 on the Monday and the Tuesday
    sent = x.submit(order("buy", limit_price=90.0, time_in_force="gtc"))
    legs = x.submit(bracket(take_profit=300.0, stop_loss=85.0))
    assert sent.expires_at == ns("2024-06-02 16:15")  # a Sunday
    while x.bar < count - 3:
        x.advance()
    assert x.now == ns("2024-05-31 16:20")
    assert x.get(sent.id).status == "new" and statuses(x, legs) == ["filled", "new", "held"]
    x.advance()
    assert x.get(sent.id).status == "canceled" and statuses(x, legs) == ["filled", "canceled", "canceled"]
    assert len(fills(x)) == 1


def test_partial_fills_by_chance_are_the_same_for_a_seed():
    def play(seed):
        x = Exchange(daily(FLAT, *[FLAT] * 40), seed=seed, partial_fill_pct=50.0)
        for _ in range(40):
            x.submit(order("buy", 10.0, time_in_force="gtc"))
            x.advance()
        return fills(x)
    one = play(1)
    assert one == play(1) != play(2)
    parts = [f[2] for f in one]
    assert sum(p < 10.0 for p in parts) > 20 and all(1.0 <= p <= 10.0 for p in parts)
    sure = Exchange(daily(FLAT, FLAT, FLAT), partial_fill_pct=100.0)
    sent = sure.submit(order("buy", 10.0, time_in_force="gtc"))
    sure.advance()
    sure.advance()
    assert events(sure, sent) == [*WAITS, "partial_fill", "fill"] and sure.positions["AAA"].qty == 10.0


def test_fill_or_kill_is_never_partial():
    x = thin(40.0, 40.0)
    killed = x.submit(order("buy", time_in_force="fok"))
    x.advance()
    assert x.get(killed.id).status == "canceled" and fills(x) == []
    some = x.submit(order("buy", time_in_force="ioc"))
    x.advance()
    assert (x.get(some.id).status, x.get(some.id).filled_qty) == ("canceled", 4.0)
    lucky = Exchange(daily(FLAT, FLAT), partial_fill_pct=100.0)
    lucky.submit(order("buy", time_in_force="fok"))
    lucky.advance()
    assert [f[2] for f in fills(lucky)] == [10.0]


def test_orders_of_one_symbol_share_the_volume():
    x = thin(100.0, 1e6)
    one, two = x.submit(order("buy", 6.0)), x.submit(order("buy", 6.0))
    x.advance()
    assert [x.get(o.id).filled_qty for o in (one, two)] == [6.0, 4.0]


def test_a_split_changes_shares_and_resting_prices_but_not_equity():
    x = held(50.0, (50.0, 53.0, 49.0, 52.0), qty=11.0, actions=[("AAA", "2024-03-06", "split", 2.0)])
    sent = x.submit(oco(5.0, take_profit=105.01, stop_loss=95.01))
    more = x.submit(order("buy", 3.0, limit_price=90.01, time_in_force="gtc", order_class="bracket",
                          take_profit=120.0, stop_loss=80.0))
    x.open_bar()
    assert x.positions["AAA"].qty == 22.0 and x.positions["AAA"].avg_entry_price == 50.0
    assert x.equity == 100_000.0
    target, stop = x.orders[sent.id], x.orders[sent.legs[0].id]
    # a long's stop is floored, its target raised to the tick; an entry's limit floored
    assert (target.qty, target.limit_price, stop.qty, stop.stop_price) == (10.0, 52.51, 10.0, 47.5)
    entry = x.orders[more.id]
    assert (entry.qty, entry.limit_price) == (6.0, 45.0)
    assert [(leg.qty, leg.limit_price, leg.stop_price) for leg in entry.legs] == [(6.0, 60.0, None), (6.0, None, 40.0)]
    x.close_bar()
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 10.0, 52.51)


def test_a_reverse_split_pays_for_parts_of_shares():
    x = held(1_000.0, qty=25.0, actions=[("AAA", "2024-03-06", "split", 0.1)])
    x.submit(order("sell", 5.0, limit_price=150.0, time_in_force="gtc"))  # half a share of the new ones
    x.open_bar()
    assert x.positions["AAA"].qty == 2.0 and x.cash == 97_500.0 + 500.0 and x.equity == 100_000.0
    split = [a for a in x.activities if a.type == "SPLIT"]
    assert [(a.qty, a.net_amount) for a in split] == [(-23.0, 500.0)]
    assert events(x)[-1] == "canceled" and x.held_for_orders("AAA") == 0.0


def test_a_reverse_split_that_leaves_nothing_takes_the_exits_along():
    x = held(1_000.0, 900.0, qty=5.0, actions=[("AAA", "2024-03-06", "split", 0.1)])
    sent = x.submit(oco(5.0))
    x.advance()
    assert not x.positions and statuses(x, sent) == ["canceled", "canceled"] and x.cash == 100_000.0
    x.advance()
    assert len(fills(x)) == 1


def test_a_split_moves_a_trailing_stop():
    x = held(50.0, (52.0, 55.0, 51.5, 54.0), (52.0, 53.0, 51.0, 52.0), actions=[("AAA", "2024-03-06", "split", 2.0)])
    sent = x.submit(order("sell", type="trailing_stop", trail_price=6.0, time_in_force="gtc"))
    x.advance()
    now = x.get(sent.id)
    assert (now.hwm, now.trail_price, now.stop_price, now.qty) == (50.0, 3.0, 47.0, 20.0)
    x.advance()
    assert (x.get(sent.id).hwm, x.get(sent.id).stop_price) == (55.0, 52.0)


def test_prices_that_a_split_leaves_alone():
    """A known problem at Alpaca: the positions split, the resting orders do not."""
    x = held(1_000.0, 1_000.0, qty=50.0, actions=[("AAA", "2024-03-06", "split", 0.1)])
    x.adjusts_orders = False
    sent = x.submit(oco(50.0))
    x.advance()  # the target at 105 is passed; 5 shares are all there is
    assert fills(x)[-1] == ("AAA", -1, 5.0, 1_000.0) and not x.positions
    x.advance()
    assert len(fills(x)) == 2 and "filled" not in statuses(x, sent)


def test_dividends_on_their_pay_date():
    actions = [("AAA", "2024-03-06", "cash_dividend", 0.5, "2024-03-08"),
               ("BBB", "2024-03-06", "cash_dividend", 0.25, None)]
    x = Exchange(daily(*[FLAT] * 6, BBB=[50.0] * 6, actions=actions))
    x.submit(order("buy", 10.0))
    x.submit(order("sell", 4.0, symbol="BBB"))
    x.advance()  # 03-05
    cash = x.cash
    x.advance()  # ex-date of both; BBB pays at once, and a short pays it
    assert x.cash == cash - 1.0
    x.submit(order("sell", 10.0))
    x.advance()
    assert moved(x, "DIV") == {"DIV": -1.0}
    cash = x.cash
    x.advance()  # 03-08: due to those who held on the ex-date
    assert x.cash == cash + 5.0
    assert [(a.symbol, a.qty, a.price, a.net_amount) for a in x.activities if a.type == "DIV"] == [
        ("BBB", -4.0, 0.25, -1.0), ("AAA", 10.0, 0.5, 5.0)]


def test_interest_by_calendar_days():
    """3.6 % and 7.2 % of 360 days: 1 and 2 bps a day. Short 100 at 100: $1 a day, $3 over the weekend."""
    x = Exchange(daily(*[FLAT] * 7), costs=botlib.Costs(slippage_bps=0.0, borrow_rate_pct=3.6, margin_rate_pct=7.2,
                                                        regulatory_fees=False), cash=10_000.0)
    x.submit(order("sell", 100.0))
    for _ in range(5):  # sold on Tuesday; Wednesday, Thursday, Friday, Monday
        x.advance()
    assert [a.net_amount for a in x.activities if a.type == "INT"] == [-1.0, -1.0, -1.0, -3.0]
    assert x.cash == 20_000.0 - 6.0
    y = Exchange(daily(*[FLAT] * 4), costs=botlib.Costs(slippage_bps=0.0, margin_rate_pct=7.2, regulatory_fees=False),
                 cash=10_000.0)
    y.submit(order("buy", 200.0))
    y.advance()
    y.advance()
    assert moved(y, "INT") == {"INT": -2.0} and y.cash == -10_002.0  # 10,000 borrowed for a night


def test_fees_are_activities():
    """Commission of 10 bps; on sales SEC $8 a million (to 2024-05-21), TAF $0.000166 a share, each up to the cent."""
    costs = botlib.Costs(commission_bps=10.0, slippage_bps=0.0, regulatory_fees=True)
    x = Exchange(daily(FLAT, FLAT, 101.0), costs=costs, cash=200_000.0)
    x.submit(order("buy", 1_000.0))
    x.advance()
    assert [(a.sub_type, a.net_amount) for a in x.activities if a.type == "FEE"] == [("COM", -100.0)]
    x.submit(order("sell", 1_000.0))
    x.advance()
    assert [(a.sub_type, a.net_amount) for a in x.activities if a.type == "FEE"][1:] == [
        ("COM", -101.0), ("REG", -(0.81 + 0.17))]
    assert x.cash == pytest.approx(200_000.0 + 1_000.0 - 201.0 - 0.98, abs=1e-9)


def test_fills_are_activities_with_their_running_total():
    x = thin(40.0, 30.0, 1e6)
    sent = x.submit(order("buy", time_in_force="gtc"))
    for _ in range(3):
        x.advance()
    rows = [(a.order_id, a.qty, a.cum_qty, a.leaves_qty, a.partial) for a in x.activities]
    assert rows == [(sent.id, 4.0, 4.0, 6.0, True), (sent.id, 3.0, 7.0, 3.0, True), (sent.id, 3.0, 10.0, 0.0, False)]
    assert [a.id[:14] for a in x.activities] == ["20240305093000", "20240306093000", "20240307093000"]
    assert [(u.qty, u.price, u.position_qty) for u in x.updates if "fill" in u.event] == [
        (4.0, 100.0, 4.0), (3.0, 100.0, 7.0), (3.0, 100.0, 10.0)]


def test_deposits_and_withdrawals():
    x = Exchange(daily(FLAT, DAY))
    x.deposit(500.0)
    x.deposit(-200.0)
    assert x.cash == x.equity == 100_300.0 and x.account.last_equity == 100_000.0
    assert [(a.type, a.net_amount) for a in x.activities] == [("CSD", 500.0), ("CSW", -200.0)]
    for bad in (0.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="amount"):
            x.deposit(bad)


def test_a_foreign_order_is_an_order_of_the_account():
    x = Exchange(daily(FLAT, DAY))
    sent = x.foreign_order(order("buy", 7.0))
    x.advance()
    assert x.positions["AAA"].qty == 7.0 and x.get(sent.id).status == "filled"


def test_a_paper_reset_is_another_account():
    x = held(DAY, DAY)
    x.submit(order("sell", limit_price=120.0, time_in_force="gtc", client_order_id="mine"))
    told, old, number = len(x.updates), x.account_id, x.account_number
    x.reset(50_000.0)
    assert x.account_id != old and x.account_number != number and x.created_at == x.now
    assert (x.cash, x.equity, x.orders, x.positions, x.activities) == (50_000.0, 50_000.0, {}, {}, [])
    assert x.equity_history == [(x.now, 50_000.0)] and len(x.updates) == told
    x.submit(order("buy", client_order_id="mine"))
    x.advance()
    assert fills(x) == [("AAA", 1, 10.0, 101.0)]


def test_ids_follow_from_the_seed():
    ids = [Exchange(daily(FLAT, DAY), seed=s).submit(order("buy")).id for s in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("options", [{"cash": -1.0}, {"cash": float("nan")}, {"multiplier": 5.0}, {"multiplier": 0.5},
                                     {"partial_fill_pct": 101.0}, {"first": 0}, {"first": 2}])
def test_bad_settings(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Exchange(daily(FLAT, DAY), **options)


def test_bars_without_a_calendar_or_adjusted_are_refused():
    with pytest.raises(InputError, match="calendar"):
        Exchange(make_bars({"AAA": [FLAT, FLAT]}))
    split = daily(FLAT, FLAT, actions=[("AAA", "2024-03-05", "split", 2.0)])
    with pytest.raises(InputError, match="raw"):
        Exchange(split.adjusted())
