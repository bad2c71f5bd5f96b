"""What a broker reports, booked: every number here is reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest
from exchange_helpers import daily
from session_helpers import WIDE, again, at, core_of, decide, filled, grow, says, send

import botlib
from botlib.brokers.base import Activity, OrderRejection
from botlib.engine.state import CANCELLED, DONE, EXPIRED, REJECTED, WORKING
from botlib.session.planning import plan

LEGS = botlib.Risk(max_position_pct=50.0, stop_loss_pct=5.0, take_profit_pct=10.0)
STOP = botlib.Risk(max_position_pct=50.0, stop_loss_pct=5.0, take_profit_pct=None)
BARE = botlib.Risk(max_position_pct=50.0, stop_loss_pct=None, take_profit_pct=None)
FREE = botlib.Costs.none()
DAY = (100.0, 101.0, 99.0, 100.0)  # closes at 100
LIST = [DAY] * 8  # from Monday, 2024-03-04


def begun(weight=0.1, risk=LEGS, bars=None, **options):
    """$100,000 at the close of Tuesday, 2024-03-05; an entry of 100 shares (10 %) at 100 is at the broker, as "entry1".
    Its stop is at 95, its target at 110."""
    core = core_of((bars or daily(*LIST)).upto(1), risk=risk, **options)
    decide(core, AAA=weight)
    send(core)
    return core


def held(core):
    return core.positions().get("AAA", 0.0)


def lots(core):
    """(shares, price, has legs) of AAA's lots, oldest first."""
    found, lot = [], int(core.book.head[0])
    while lot >= 0:
        one = core.book.lots[lot]
        found.append((float(one["quantity"]), float(one["entry_price"]), bool(one["legs"])))
        lot = int(one["next"])
    return found


def statuses(core, *purposes):
    rows = core.book.rows("orders")
    names = ("entry", "exit", "reduce", "stop", "target")
    return [(names[o["purpose"]], int(o["status"]), float(o["quantity"])) for o in rows
            if not purposes or names[o["purpose"]] in purposes]


def test_an_entry_in_three_parts_is_one_lot_at_the_average_price():
    core = begun()
    for qty, price, cum in ((20.0, 100.0, 20.0), (30.0, 101.0, 50.0), (50.0, 102.0, 100.0)):
        core.fill(filled("entry1", qty, price, cum))
    assert lots(core) == [(100.0, 101.3, True)]  # (20·100 + 30·101 + 50·102) / 100
    assert core.book["cash"] == 100_000.0 - 10_130.0
    assert statuses(core) == [("entry", DONE, 100.0), ("stop", WORKING, 100.0), ("target", WORKING, 100.0)]
    legs = core.book.rows("orders")[1:]
    assert [float(legs[0]["stop"]), float(legs[1]["limit"])] == [95.0, 110.0]
    assert core.working == {2: "entry1/sl", 3: "entry1/tp"}  # the bracket's own


def test_legs_wait_for_the_whole_entry():
    core = begun()
    core.fill(filled("entry1", 40.0, 100.0))
    assert lots(core) == [(40.0, 100.0, False)]
    assert not plan(core, at("2024-03-06 10:00")).submits
    assert again(core).positions() == {"AAA": 40.0}


def test_the_close_ends_the_rest_of_an_entry_and_protects_what_it_filled():
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    says(core, "entry1", "partially_filled", filled_qty=40.0)
    grow(core, bars, 2)
    assert statuses(core) == [("entry", CANCELLED, 100.0), ("stop", CANCELLED, 40.0), ("target", CANCELLED, 40.0),
                              ("stop", WORKING, 40.0), ("target", WORKING, 40.0)]
    wanted = plan(core, at("2024-03-06 16:20"))
    assert [link.order_id for link in wanted.cancels] == ["entry1"] and not wanted.submits
    for order_id in ("entry1", "entry1/tp", "entry1/sl"):
        says(core, order_id, "canceled")
    core.tidy()
    [protection] = send(core)
    assert (protection.request.order_class, protection.request.qty) == ("oco", 40.0)
    assert (protection.request.take_profit, protection.request.stop_loss) == (110.0, 95.0)


def test_a_fill_after_the_cancel_was_asked_for_is_a_lot_of_its_own():
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    core.fill(filled("entry1", 25.0, 100.5, 65.0, time="2024-03-06 16:21"))
    assert lots(core) == [(40.0, 100.0, True), (25.0, 100.5, True)]
    assert held(core) == 65.0
    for order_id in ("entry1", "entry1/tp", "entry1/sl"):
        says(core, order_id, "canceled")
    core.tidy()
    assert [(i.request.order_class, i.request.qty) for i in send(core)] == [("oco", 40.0), ("oco", 25.0)]


def test_an_entry_that_fills_whole_while_its_cancel_is_under_way_keeps_its_bracket():
    bars = daily(*LIST)
    core = begun(bars=bars)
    grow(core, bars, 2)  # the book gives the entry up at the close
    assert statuses(core) == [("entry", EXPIRED, 100.0)]
    assert [link.order_id for link in plan(core, at("2024-03-06 16:20")).cancels] == ["entry1"]
    core.fill(filled("entry1", 100.0, 100.5, time="2024-03-06 16:20"))
    assert core.working == {2: "entry1/sl", 3: "entry1/tp"} and held(core) == 100.0
    assert not plan(core, at("2024-03-06 16:21"))


def test_a_bracket_that_does_not_fit_the_lots_is_cancelled_and_each_lot_gets_its_own():
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    core.fill(filled("entry1", 60.0, 100.5, 100.0, time="2024-03-06 16:21"))  # complete after all: legs of 100 act
    says(core, "entry1", "filled", filled_qty=100.0)
    core.tidy()
    wanted = plan(core, at("2024-03-06 16:22"))
    assert [link.order_id for link in wanted.cancels] in (["entry1/tp"], ["entry1/sl"]) and not wanted.submits
    core.fill(filled("entry1/sl", 30.0, 94.0, side="sell", time="2024-03-06 16:22"))  # it fills before it ends
    assert lots(core) == [(10.0, 100.0, True), (60.0, 100.5, True)]  # from the oldest lot
    says(core, "entry1/sl", "canceled")
    says(core, "entry1/tp", "canceled")
    core.tidy()
    assert [i.request.qty for i in send(core)] == [10.0, 60.0]


def test_a_stop_that_fills_ends_its_target_and_makes_a_round_trip():
    core = begun(costs=botlib.Costs(slippage_bps=0.0, commission_bps=10.0, regulatory_fees=False))
    core.fill(filled("entry1", 100.0, 100.0))
    core.fill(filled("entry1/sl", 100.0, 94.9, side="sell"))
    assert held(core) == 0.0 and lots(core) == []
    assert statuses(core, "stop", "target") == [("stop", DONE, 100.0), ("target", CANCELLED, 100.0)]
    [trip] = core.trips
    # 10 bps of 10,000 and of 9,490: fees are the broker's to charge, a round trip counts them
    assert (trip.qty, trip.entry_price, trip.exit_price, trip.exit_reason) == (100.0, 100.0, 94.9, "stop")
    assert trip.costs == pytest.approx(10.0 + 9.49) and trip.pnl == pytest.approx(-510.0 - 19.49)
    assert core.book["cash"] == pytest.approx(99_490.0)


def test_a_target_that_fills_in_part_shrinks_the_stop():
    core = begun()
    core.fill(filled("entry1", 100.0, 100.0))
    core.fill(filled("entry1/tp", 30.0, 110.0, side="sell"))
    says(core, "entry1/sl", "held", qty=70.0)  # as the broker does it
    says(core, "entry1/tp", "partially_filled", filled_qty=30.0)
    assert held(core) == 70.0 and not plan(core, at("2024-03-06 10:00"))
    core.fill(filled("entry1/tp", 70.0, 110.0, 100.0, side="sell"))
    assert held(core) == 0.0 and len(core.trips) == 2
    says(core, "entry1/tp", "filled", filled_qty=100.0)
    says(core, "entry1/sl", "canceled")
    core.tidy()
    assert not core.links and not core.intents


def test_a_stop_that_has_triggered_without_a_fill_leaves_no_target_to_send():
    core = begun()
    core.fill(filled("entry1", 100.0, 100.0))
    says(core, "entry1/sl", "new")
    says(core, "entry1/tp", "canceled")
    core.tidy()
    assert not plan(core, at("2024-03-06 10:00"))
    assert statuses(core, "stop", "target") == [("stop", WORKING, 100.0), ("target", CANCELLED, 100.0)]
    core = again(core)
    core.fill(filled("entry1/sl", 100.0, 94.0, side="sell"))
    assert held(core) == 0.0


def exiting(qty=None):
    """100 shares are held, and an exit is decided (or a reduction to ``qty``); its legs are being cancelled."""
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 100.0, 100.0))
    grow(core, bars, 2)
    decide(core, AAA=0.0 if qty is None else qty / 1000.0)
    wanted = plan(core, at("2024-03-06 16:20"))
    assert [link.client_order_id for link in wanted.cancels] and not wanted.submits
    for link in core.links.values():
        link.cancel_asked = True
    return bars, core


def test_an_exit_waits_for_its_legs_then_sells_all():
    bars, core = exiting()
    assert "AAA" in plan(core, at("2024-03-06 16:21")).waiting
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    [exit_] = send(core)
    r = exit_.request
    assert (exit_.purpose, r.side, r.qty, r.type) == ("exit", "sell", 100.0, "market")
    core.fill(filled(f"exit{exit_.uids[0]}", 100.0, 99.0, side="sell", time="2024-03-07 09:30"))
    assert held(core) == 0.0 and core.trips[-1].exit_reason == "exit"


def test_a_leg_that_fills_in_part_while_its_cancel_is_under_way_shrinks_the_exit():
    bars, core = exiting()
    core.fill(filled("entry1/sl", 30.0, 95.0, side="sell", time="2024-03-06 16:20"))
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    [exit_] = send(core)
    assert exit_.request.qty == 70.0 and core.trips[-1].exit_reason == "stop"


def test_a_leg_that_fills_whole_while_its_cancel_is_under_way_leaves_no_exit():
    bars, core = exiting()
    core.fill(filled("entry1/sl", 100.0, 95.0, side="sell", time="2024-03-06 16:20"))
    says(core, "entry1/sl", "filled", filled_qty=100.0)
    says(core, "entry1/tp", "canceled")
    core.tidy()
    assert held(core) == 0.0 and not plan(core, at("2024-03-06 16:21"))
    assert statuses(core, "exit") == [("exit", CANCELLED, 0.0)]


def test_leg_and_exit_both_fill_and_the_leg_is_told_last():
    """The exit was sent when the broker had said that the leg is gone; a fill of before is told after."""
    bars, core = exiting(40.0)  # a reduction by 60
    core.fill(filled("entry1/sl", 20.0, 95.0, side="sell", time="2024-03-06 16:20"))
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    [reduce] = send(core)
    assert reduce.request.qty == 60.0  # 80 are left: asked for is a sale of 60 of them
    name = f"reduce{reduce.uids[0]}"
    core.fill(filled(name, 25.0, 99.0, 60.0, side="sell", time="2024-03-07 09:31"))  # the second execution first
    core.fill(filled(name, 35.0, 98.0, 35.0, side="sell", time="2024-03-07 09:30"))
    assert held(core) == 20.0
    assert core.book["cash"] == pytest.approx(100_000 - 10_000 + 20 * 95 + 25 * 99 + 35 * 98)
    assert [i.request.qty for i in send(core)] == [20.0]  # protected again


def test_executions_in_any_order_and_told_twice_end_the_same():
    parts = [filled("entry1", 20.0, 100.0, 20.0), filled("entry1", 30.0, 101.0, 50.0),
             filled("entry1", 50.0, 102.0, 100.0), filled("entry1/tp", 60.0, 110.0, 60.0, side="sell"),
             filled("entry1/tp", 40.0, 111.0, 100.0, side="sell")]
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(40):
        core = begun()
        for n in rng.permutation(10) % 5:
            core.fill(parts[n])
        seen.add((held(core), round(core.book["cash"], 9), len(core.early), len(lots(core))))
    assert seen == {(0.0, 100_000 - 10_130 + 60 * 110.0 + 40 * 111.0, 0, 0)}


def test_a_fill_at_the_average_price_counts_only_what_is_not_known_yet():
    core = begun()
    core.fill(filled("entry1", 40.0, 100.0))
    [(part, uid)] = core.fill(filled("entry1", 100.0, 100.6, 100.0))  # all of it at its average
    assert (part.qty, part.price, uid) == (60.0, 101.0, 1)  # (100·100.6 − 40·100) / 60
    assert core.book["cash"] == pytest.approx(100_000 - 10_060)


def test_a_leg_that_is_told_before_its_entry_waits_for_it_across_a_restart():
    core = begun()
    assert core.fill(filled("entry1/sl", 100.0, 95.0, side="sell")) == []
    core = again(core)
    assert [(p.order_id, uid) for p, uid in core.fill(filled("entry1", 100.0, 100.0))] == [("entry1", 1),
                                                                                          ("entry1/sl", 2)]
    assert held(core) == 0.0 and core.book["cash"] == 99_500.0


def test_fills_of_strange_orders_are_not_booked():
    core = begun()
    assert core.fill(filled("somebody's", 5.0, 100.0)) == [] and core.positions() == {}


# --- What ends --------------------------------------------------------------------------------------------------------


def test_an_exit_that_expires_is_asked_for_again_at_the_next_close():
    bars, core = exiting()
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    [exit_] = send(core)
    name = f"exit{exit_.uids[0]}"
    core.fill(filled(name, 30.0, 99.0, side="sell", time="2024-03-07 09:30"))
    says(core, name, "expired", filled_qty=30.0)
    grow(core, bars, 3)
    core.tidy()
    assert statuses(core, "exit") == [("exit", EXPIRED, 100.0)] and lots(core) == [(70.0, 100.0, True)]
    decide(core)  # nothing new is wanted: what stands is asked for again
    assert statuses(core, "exit")[-1] == ("exit", WORKING, 70.0)


def test_an_exit_that_the_broker_refuses_leaves_the_shares_protected():
    bars, core = exiting()
    for leg in ("entry1/tp", "entry1/sl"):
        says(core, leg, "canceled")
    core.tidy()
    [intent] = plan(core, at("2024-03-06 16:20")).submits
    core.record(intent)
    core.refused(intent, OrderRejection(symbol="AAA", client_order_id="", rule="held-for-orders", message="no"))
    assert statuses(core, "exit") == [("exit", REJECTED, 100.0)]
    assert [i.purpose for i in send(core)] == ["protect"]


def test_an_entry_that_the_broker_refuses_may_be_asked_for_again():
    core = core_of(daily(*LIST).upto(1), risk=LEGS)
    decide(core, AAA=0.1)
    [intent] = plan(core, at("2024-03-05 16:20")).submits
    core.record(intent)
    core.refused(intent, OrderRejection(symbol="AAA", client_order_id="", rule="insufficient-buying-power",
                                        message="no"))
    core.tidy()
    assert not core.intents and not core.working and core.book["reserved"] == 0.0
    assert len(decide(core, AAA=0.1)) == 1


def test_a_leg_that_the_price_has_passed_goes_out_at_the_market():
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    for order_id in ("entry1", "entry1/tp", "entry1/sl"):
        says(core, order_id, "canceled")
    core.tidy()
    [intent] = plan(core, at("2024-03-06 16:20")).submits
    core.record(intent)
    core.refused(intent, OrderRejection(symbol="AAA", client_order_id="", rule="stop-wrong-side", message="no"))
    [way_out] = send(core)
    assert (way_out.request.type, way_out.request.qty, way_out.request.time_in_force) == ("market", 40.0, "day")
    core.fill(filled(f"protect{way_out.uids[0]}", 40.0, 93.0, side="sell", time="2024-03-07 09:30"))
    assert held(core) == 0.0 and core.trips[-1].exit_reason in ("stop", "target")


def test_a_kill_ends_entries_and_keeps_what_is_filled_and_its_legs():
    from botlib.engine import closing

    core = begun(safety=WIDE)
    core.fill(filled("entry1", 40.0, 100.0))
    core.room()
    closing.kill(core.book.world, core.t, 0.0, 5.0)
    core.number_orders()
    assert statuses(core, "entry") == [("entry", CANCELLED, 100.0)] and lots(core) == [(40.0, 100.0, True)]
    assert [link.order_id for link in plan(core, at("2024-03-06 10:00")).cancels] == ["entry1"]
    core = again(core)
    decide(core, AAA=0.5)
    assert [s for _, s, _ in statuses(core, "entry")] == [CANCELLED, REJECTED]  # halted, after a restart too


# --- Days and money ---------------------------------------------------------------------------------------------------


def test_a_split_moves_shares_and_leg_prices_and_no_money():
    core = begun()
    core.fill(filled("entry1", 100.0, 100.0))
    assert core.begin_day(19_788, {"AAA": 4.0}, [])  # 2024-03-06
    assert held(core) == 400.0 and lots(core) == [(400.0, 25.0, True)]
    assert core.book["equity"] == 100_000.0 and core.book["cash"] == 90_000.0
    stop, target = core.book.rows("orders")[1:]
    assert (float(stop["stop"]), float(target["limit"])) == (23.75, 27.5)  # 95 / 4 and 110 / 4
    wanted = plan(core, at("2024-03-06 09:00"))  # the broker has not followed
    assert len(wanted.cancels) == 1 and not wanted.submits
    assert not plan(core, at("2024-03-06 09:00"), {"AAA"})  # nor has it booked the split: no new legs before
    says(core, "entry1/sl", "held", qty=400.0, stop_price=23.75)
    says(core, "entry1/tp", "new", qty=400.0, limit_price=27.5)
    assert not plan(core, at("2024-03-06 09:35"))


def test_a_reverse_split_pays_odd_shares_in_cash():
    core = begun(0.103)  # 103 shares
    core.fill(filled("entry1", 103.0, 100.0))
    core.begin_day(19_788, {"AAA": 0.1}, [])
    assert held(core) == 10.0
    assert core.book["cash"] == pytest.approx(100_000 - 10_300 + 0.3 * 1000.0)  # 0.3 of a share at 1,000
    assert core.book["equity"] == pytest.approx(100_000.0)


def test_a_lot_that_a_split_pays_out_whole_is_a_round_trip():
    core = begun(0.004)  # 4 shares
    core.fill(filled("entry1", 4.0, 100.0))
    core.begin_day(19_788, {"AAA": 0.1}, [])
    assert held(core) == 0.0 and core.book["cash"] == pytest.approx(100_000.0)
    [trip] = core.trips
    assert (trip.exit_reason, trip.exit_uid, trip.qty) == ("split", None, 0.4)


KINDS = {"DIV": "dividend", "CSD": "transfer", "CSW": "transfer", "INT": "interest"}


def money(kind, amount, number=1, symbol="AAA", when="2024-03-08"):
    return Activity(activity_id=f"a{number}", type=kind, kind=KINDS[kind], time=at(when), symbol=symbol,
                    net_amount=amount)


def test_a_dividend_is_due_on_its_ex_date_and_cash_when_it_is_paid():
    core = begun()
    core.fill(filled("entry1", 100.0, 100.0))
    core.begin_day(19_788, {}, [("AAA", 0.25)])
    assert (core.book["receivable"], core.book["equity"], core.book["cash"]) == (25.0, 100_025.0, 90_000.0)
    assert core.book["day_start"] == 100_000.0  # income, not a flow
    core = again(core)
    assert core.activity(money("DIV", 25.0)) == "dividend"
    assert (core.book["receivable"], core.book["equity"], core.book["cash"]) == (0.0, 100_025.0, 90_025.0)
    assert core.activity(money("DIV", 25.0)) == ""  # told twice
    assert core.book["cash"] == 90_025.0


def test_the_later_of_two_dividends_may_be_paid_first():
    core = begun()
    core.fill(filled("entry1", 100.0, 100.0))
    core.begin_day(19_788, {}, [("AAA", 0.25)])
    core.begin_day(19_789, {}, [("AAA", 0.40)])
    core.activity(money("DIV", 40.0))
    assert core.due == [{"symbol": "AAA", "amount": 25.0}]
    assert (core.book["receivable"], core.book["equity"]) == (25.0, 100_065.0)


def test_a_short_owes_the_dividend():
    core = begun(-0.1)
    core.fill(filled("entry1", 100.0, 100.0, side="sell"))
    core.begin_day(19_788, {}, [("AAA", 0.25)])
    assert (core.book["receivable"], core.book["equity"]) == (-25.0, 99_975.0)


def test_shares_of_a_symbol_without_a_bar_are_worth_what_was_paid():
    """Where the feed has no bar of the day (IEX): equity is known all the same, and a split moves none of it."""
    bars = daily(DAY, DAY, None, DAY, BBB=[DAY] * 4)
    core = begun(bars=bars)
    core.fill(filled("entry1", 100.0, 101.0))
    grow(core, bars, 2)
    assert core.book["equity"] == 100_000.0
    core.begin_day(19_789, {"AAA": 2.0}, [])
    assert core.book["equity"] == 100_000.0 and core.book["cash"] == 89_900.0


def test_deposits_move_peak_and_day_start_and_interest_does_not():
    core = begun()
    core.activity(money("CSD", 5_000.0, symbol=""))
    assert [core.book[n] for n in ("cash", "equity", "peak", "day_start")] == [105_000.0] * 4
    core.activity(money("CSW", -1_000.0, 2, symbol=""))
    core.activity(money("INT", -4.0, 3, symbol=""))
    assert [core.book[n] for n in ("cash", "equity", "peak", "day_start")] == [103_996.0, 103_996.0, 104_000.0,
                                                                               104_000.0]


def test_a_day_begins_once_and_never_backward():
    core = begun()
    assert core.begin_day(19_788, {}, []) and not core.begin_day(19_788, {"AAA": 2.0}, [])
    assert not core.begin_day(19_787, {}, [])
    assert core.book["session"] == 19_788


def test_fractions_of_shares_keep_nine_decimals():
    risk = BARE.model_copy(update={"fractional": True})
    core = begun(0.1, risk=risk)
    for n in range(10):
        core.fill(filled("entry1", 0.1, 100.0, round(0.1 * (n + 1), 9)))
    assert held(core) == 1.0 and lots(core)[0][0] == 1.0


def test_a_short_with_a_lone_stop_that_the_price_has_left_behind_is_a_limit_order_at_its_cap():
    bars = daily(DAY, DAY, DAY, (112.0, 113.0, 111.0, 112.0), *[DAY] * 4)
    core = begun(-0.1, risk=STOP, bars=bars)
    core.fill(filled("entry1", 100.0, 100.0, side="sell"))  # stop 105, cap 107.62 (2.5 % above, rounded down)
    grow(core, bars, 2)
    grow(core, bars, 3)
    says(core, "entry1/sl", "new", expires_at=at("2024-03-10"))
    [cancel] = plan(core, at("2024-03-07 16:20")).cancels
    says(core, cancel.order_id, "canceled")
    core.tidy()
    [intent] = send(core)
    assert (intent.request.type, intent.request.side, intent.request.limit_price) == ("limit", "buy", 107.62)
    says(core, f"protect{intent.uids[0]}", "new")
    assert not plan(core, at("2024-03-07 16:21"))  # it is not taken for a leg with a wrong price
