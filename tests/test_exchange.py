"""The local exchange, state by state: what one order does on a few bars, by hand.

Sources: Alpaca's documentation and Trading API document as far as they go; what a bar fills is the rules' order: at the
open market orders, stops, limits, then protective orders; within the bar stop before target.
"""

from __future__ import annotations

import pandas as pd
import pytest
from exchange_helpers import DAY, FLAT, NOW, WAITS, daily, events, fills, held, hours, intraday, ns, order, refusal

import botlib
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.tape import Tape

NY = "America/New_York"


# --- One order, one bar -----------------------------------------------------------------------------------------------

ONE_BAR = {
    # the order, the events after it was accepted, the fill's price (the bar opens at 101, 99 to 103, closes at 102)
    "market buy": (order("buy"), ["fill"], 101.0),
    "market sell opens a short": (order("sell"), ["fill"], 101.0),
    "market gtc": (order("buy", time_in_force="gtc"), ["fill"], 101.0),
    "limit buy met within the bar": (order("buy", limit_price=99.5), ["fill"], 99.5),
    "limit buy that the open is below fills there, better": (order("buy", limit_price=101.5), ["fill"], 101.0),
    "limit sell met within the bar": (order("sell", limit_price=102.5), ["fill"], 102.5),
    "limit sell that the open is above fills there": (order("sell", limit_price=100.5), ["fill"], 101.0),
    "limit buy at the low": (order("buy", limit_price=99.0), ["fill"], 99.0),
    "limit buy below the low, day": (order("buy", limit_price=98.99), ["expired"], None),
    "limit buy below the low, gtc": (order("buy", limit_price=98.99, time_in_force="gtc"), [], None),
    "stop buy reached": (order("buy", stop_price=102.0), ["fill"], 102.0),
    "stop buy passed by the open": (order("buy", stop_price=100.5), ["fill"], 101.0),
    "stop buy not reached": (order("buy", stop_price=103.01), ["expired"], None),
    "stop sell reached": (order("sell", stop_price=99.25), ["fill"], 99.25),
    "stop limit buy, limit beyond the stop": (order("buy", stop_price=102.0, limit_price=102.5), ["fill"], 102.0),
    "stop limit buy passed by the open": (order("buy", stop_price=100.5, limit_price=101.0), ["fill"], 101.0),
    "stop limit buy, limit left behind": (order("buy", stop_price=100.25, limit_price=98.0), ["expired"], None),
    "stop limit sell": (order("sell", stop_price=99.5, limit_price=99.0), ["fill"], 99.5),
    "ioc that the open meets": (order("buy", limit_price=101.0, time_in_force="ioc"), ["fill"], 101.0),
    "ioc that only the rest of the bar would meet": (order("buy", limit_price=100.0, time_in_force="ioc"),
                                                     ["canceled"], None),
    "ioc market": (order("buy", time_in_force="ioc"), ["fill"], 101.0),
    "fok that the open meets": (order("buy", limit_price=102.0, time_in_force="fok"), ["fill"], 101.0),
    "fok that it does not": (order("buy", limit_price=100.0, time_in_force="fok"), ["canceled"], None),
    "fractional market": (order("buy", 0.5), ["fill"], 101.0),
    "fractional limit": (order("buy", 1.25, limit_price=99.5), ["fill"], 99.5),
}


@pytest.mark.parametrize("case", ONE_BAR)
def test_one_order_one_bar(case):
    request, after, price = ONE_BAR[case]
    x = Exchange(daily(FLAT, DAY, DAY))
    sent = x.submit(request)
    assert sent.status == "accepted" and sent.filled_qty == 0.0 and sent.expires_at > x.now
    x.advance()
    now = x.get(sent.id)
    assert events(x) == WAITS + after
    assert now.status == {"fill": "filled"}.get((after or ["new"])[-1], (after or ["new"])[-1])
    if price is None:
        assert fills(x) == [] and now.filled_at == 0 and now.filled_avg_price is None and x.cash == 100_000.0
    else:
        assert fills(x) == [("AAA", now.side, request.qty, price)]
        assert (now.filled_qty, now.filled_avg_price) == (request.qty, price)
        assert x.cash == 100_000.0 - now.side * request.qty * price
        assert x.positions["AAA"].qty == now.side * request.qty
    assert x.account.reserved == (0.0 if "fill" in after or after else request.qty * 98.99)
    assert bool(now.canceled_at) == (after == ["canceled"]) and bool(now.expired_at) == (after == ["expired"])


AUCTIONS = {
    "market on open": (order("buy", time_in_force="opg"), ["fill"], 101.0),
    "limit on open, met": (order("buy", limit_price=101.5, time_in_force="opg"), ["fill"], 101.0),
    "limit on open, not met": (order("buy", limit_price=100.0, time_in_force="opg"), ["canceled"], None),
    "market on close": (order("buy", time_in_force="cls"), ["fill"], 102.0),
    "limit on close, met": (order("sell", limit_price=101.0, time_in_force="cls"), ["fill"], 102.0),
    "limit on close, not met": (order("buy", limit_price=101.9, time_in_force="cls"), ["canceled"], None),
}


@pytest.mark.parametrize("case", AUCTIONS)
def test_auctions(case):
    """"Any unfilled orders after the open will be cancelled", and after the close; taken from 19:00 New York on."""
    request, after, price = AUCTIONS[case]
    x = Exchange(daily(FLAT, DAY, DAY))
    assert x.now == ns("2024-03-04 16:20")
    found = refusal(x.submit, request)
    assert (found.status, found.code, found.rule) == (403, 40310000, f"{request.time_in_force}-window")
    x.tell(ns("2024-03-04 19:00"))
    sent = x.submit(request)
    x.advance()
    assert events(x) == WAITS + after
    assert [f[3] for f in fills(x)] == ([] if price is None else [price])
    if price is not None:
        minute = pd.Timestamp(x.get(sent.id).filled_at, tz="UTC").tz_convert(NY).strftime("%H:%M")
        assert minute == ("09:30" if request.time_in_force == "opg" else "16:00")


@pytest.mark.parametrize(("when", "tif", "taken"), [
    ("09:27", "opg", True), ("09:28", "opg", False), ("18:59", "opg", False), ("19:00", "opg", True),
    ("15:49", "cls", True), ("15:50", "cls", False), ("18:59", "cls", False), ("19:00", "cls", True)])
def test_the_windows_of_the_auctions(when, tif, taken):
    x = Exchange(daily(FLAT, DAY, DAY))
    x.tell(ns(f"2024-03-05 {when}"))
    if taken:
        assert x.submit(order("buy", time_in_force=tif)).time_in_force == tif
    else:
        assert refusal(x.submit, order("buy", time_in_force=tif)).rule == f"{tif}-window"


SENT_WHILE_THE_BAR_RUNS = {
    # the order, how it ends, its fill's price (the bar closes at 102, the next one at 103 after an open of 104)
    "market": (order("buy"), "filled", 102.0),
    "dollars": (order("buy", None, notional=1_020.0), "filled", 102.0),
    "limit that the close meets": (order("buy", limit_price=102.5), "filled", 102.0),
    "limit that it does not": (order("buy", limit_price=101.99), "expired", None),
    "stop that it reaches": (order("buy", stop_price=101.5), "filled", 102.0),
    "stop that it does not": (order("buy", stop_price=102.01), "expired", None),
    "stop limit that it passes": (order("buy", stop_price=101.5, limit_price=101.75), "expired", None),
    "gtc, which the next open meets": (order("buy", time_in_force="gtc"), "filled", 104.0),
    "extended hours, which go on after the close": (order("buy", limit_price=102.5, extended_hours=True), "expired",
                                                    None),
}


@pytest.mark.parametrize("case", SENT_WHILE_THE_BAR_RUNS)
def test_what_is_sent_while_the_last_bar_of_a_session_runs_has_its_close(case):
    """A market order that a venue takes at noon is not one that a day ends without: a daily bar has one print left."""
    request, status, price = SENT_WHILE_THE_BAR_RUNS[case]
    x = Exchange(daily(FLAT, DAY, (104.0, 105.0, 102.8, 103.0)))
    x.open_bar()
    sent = x.submit(request)
    assert sent.status == "pending_new"
    x.close_bar()
    if case.startswith("extended"):
        assert x.get(sent.id).status == "new"
    elif not case.startswith("gtc"):
        now = x.get(sent.id)
        assert (now.status, now.filled_avg_price, now.filled_qty) == (status, price, 10.0 if price else 0.0)
        assert not price or pd.Timestamp(now.filled_at, tz="UTC").tz_convert(NY).strftime("%H:%M") == "16:00"
    x.advance()
    assert (x.get(sent.id).status, x.get(sent.id).filled_avg_price) == (status, price)


def test_within_a_session_the_next_bar_comes_before_its_close():
    bars = intraday(hours(2, "15:00:00", "15:30:00"), [FLAT, FLAT, DAY, (104.0, 105.0, 102.8, 103.0)], "30m")
    x = Exchange(bars, first=2)
    x.open_bar()
    sent = x.submit(order("buy"))
    x.close_bar()
    assert x.get(sent.id).status == "new"
    x.advance()
    assert x.get(sent.id).filled_avg_price == 104.0


def test_the_legs_of_a_bracket_for_the_day_end_with_the_day_that_filled_it():
    x = Exchange(daily(FLAT, DAY, DAY))
    x.open_bar()
    sent = x.submit(order("buy", order_class="bracket", take_profit=110.0, stop_loss=98.0))
    x.close_bar()
    assert (x.get(sent.id).filled_avg_price, x.positions["AAA"].qty) == (102.0, 10.0)
    assert [leg.status for leg in x.get(sent.id).legs] == ["expired", "expired"]


def test_an_amount_of_dollars_becomes_shares_at_its_print():
    x = Exchange(daily(FLAT, DAY, DAY))
    sent = x.submit(order("buy", None, notional=1_000.0))
    assert sent.qty is None and x.account.reserved == pytest.approx(1_000.0, abs=1e-6)
    x.advance()
    assert fills(x) == [("AAA", 1, 9.900990099, 101.0)]  # 1000 / 101, 9 decimals, down
    assert x.get(sent.id).qty == 9.900990099
    sold = x.submit(order("sell", None, notional=510.0))
    assert x.held_for_orders("AAA") == 5.0  # 510 / 102
    assert refusal(x.submit, order("sell", 5.0)).fields["available"] == "4.9009901"
    x.advance()
    assert x.get(sold.id).filled_qty == pytest.approx(510.0 / 101.0, abs=1e-9)


def test_dollars_and_a_thin_market():
    """What the volume does not give stays open; the order is not done for less."""
    costs = botlib.Costs(max_participation_pct=10.0, slippage_bps=0.0, regulatory_fees=False)
    x = Exchange(daily(FLAT, (*DAY, 50.0), (*DAY, 1e6)), costs=costs)
    sent = x.submit(order("buy", None, notional=1_010.0))
    x.advance()
    now = x.get(sent.id)
    assert (now.qty, now.filled_qty, now.status) == (10.0, 5.0, "expired")


def test_a_sale_of_dollars_never_sells_more_than_is_held():
    x = held(50.0, qty=2.0)
    sent = x.submit(order("sell", None, notional=150.0))  # 1.5 shares at 100, 3 at 50
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 2.0, 50.0)
    assert x.get(sent.id).status == "filled" and not x.positions


# --- Market hours -----------------------------------------------------------------------------------------------------

HOURS = ("8h30min", "9h30min", "10h30min", "15h30min", "16h30min")


def test_in_market_hours_orders_are_pending_then_new():
    x = Exchange(intraday(hours(2, *HOURS), [FLAT] * 10), first=2)  # 10:30 on the first day
    sent = x.submit(order("buy"))
    assert sent.status == "pending_new" and events(x) == ["pending_new"]
    assert x.get(sent.id).status == "new" and events(x) == NOW  # at the next call
    x.advance()
    assert events(x) == [*NOW, "fill"]
    assert x.get(sent.id).expires_at == ns("2024-03-04 16:00")


def test_outside_regular_hours_orders_wait_for_the_open():
    """Bars before and after hours do not fill what is not for extended hours; protection rests, too."""
    cells = [FLAT, FLAT, 101.0, 101.0, 90.0, 90.0, 102.0, 102.0, 102.0, 102.0]
    x = Exchange(intraday(hours(2, *HOURS), cells), first=1)
    x.submit(order("buy", order_class="oto", stop_loss=95.0, time_in_force="gtc"))
    x.advance()
    assert fills(x) == [("AAA", 1, 10.0, FLAT)]
    for _ in range(4):  # to the end of 8:30 on the second day: 90 after hours and before
        x.advance()
    assert len(fills(x)) == 1
    x.advance()
    assert len(fills(x)) == 1 and x.price("AAA") == 102.0  # the stop at 95 was never met in regular hours


def test_extended_hours():
    cells = [FLAT, FLAT, FLAT, FLAT, 97.0, 96.0, FLAT, FLAT, FLAT, FLAT]
    x = Exchange(intraday(hours(2, *HOURS), cells), first=4)  # 16:30: regular hours are over
    x.tell(ns("2024-03-04 16:31"))
    plain = x.submit(order("buy", limit_price=98.0))
    late = x.submit(order("buy", limit_price=98.0, extended_hours=True))
    assert (plain.status, late.status) == ("accepted", "pending_new")
    assert late.expires_at == ns("2024-03-04 20:00") and plain.expires_at == ns("2024-03-05 16:00")
    x.advance()  # the bar of 16:30 prints 97
    assert x.get(late.id).filled_avg_price == 97.0 and x.get(plain.id).status == "accepted"
    x.tell(ns("2024-03-04 21:00"))
    early = x.submit(order("buy", limit_price=96.5, extended_hours=True))
    assert early.status == "accepted" and early.expires_at == ns("2024-03-05 20:00")
    x.advance()  # 8:30 prints 96
    assert events(x, early) == [*WAITS, "fill"] and x.get(early.id).filled_avg_price == 96.0
    assert x.get(plain.id).status == "accepted"


def test_an_extended_order_ends_with_extended_hours_not_with_the_close():
    x = Exchange(intraday(hours(2, *HOURS), [FLAT] * 10), first=2)
    sent = x.submit(order("buy", limit_price=50.0, extended_hours=True))
    day = x.submit(order("buy", limit_price=50.0))
    x.advance()
    x.advance()  # 15:30 to the close
    assert (x.get(sent.id).status, x.get(day.id).status) == ("new", "expired")
    x.advance()  # 16:30 to 17:30
    assert x.get(sent.id).status == "new"
    x.advance()  # the next morning
    assert x.get(sent.id).status == "expired"


@pytest.mark.parametrize("fields", [{"time_in_force": "ioc"}, {"time_in_force": "fok"}])
def test_immediate_orders_sent_at_night_wait_for_the_regular_open(fields):
    x = Exchange(intraday(hours(2, *HOURS), [FLAT] * 4 + [FLAT, 99.0, 101.0, FLAT, FLAT, FLAT]), first=4)
    sent = x.submit(order("buy", **fields))
    x.advance()
    x.advance()
    assert x.get(sent.id).status == "accepted"
    x.advance()
    assert fills(x) == [("AAA", 1, 10.0, 101.0)]


@pytest.mark.parametrize(("when", "is_open", "extended"), [
    ("2024-03-05 03:59", False, False), ("2024-03-05 04:00", False, True), ("2024-03-05 09:29", False, True),
    ("2024-03-05 09:30", True, False), ("2024-03-05 15:59", True, False), ("2024-03-05 16:00", False, True),
    ("2024-03-05 19:59", False, True), ("2024-03-05 20:00", False, False), ("2024-03-09 12:00", False, False),
    ("2024-03-29 12:00", False, False), ("2024-07-03 12:59", True, False), ("2024-07-03 13:00", False, True),
    ("2024-07-03 17:00", False, False)])
def test_hours(when, is_open, extended):
    tape = Tape(daily(FLAT, FLAT))
    tape.tell(ns(when))
    assert (tape.is_open, tape.is_extended) == (is_open, extended)


def test_next_open_and_close_over_a_weekend_and_a_change_of_clocks():
    tape = Tape(daily(FLAT, FLAT))
    tape.tell(ns("2024-03-08 16:00"))  # clocks go forward on the Sunday
    assert tape.next_open == ns("2024-03-11 09:30") and tape.next_close == ns("2024-03-11 16:00")
    tape.tell(ns("2024-03-08 12:00"))
    assert tape.now == ns("2024-03-08 16:00")  # never backwards


# --- Stops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "cap", "opens", "filled"), [
    (40.0, 41.6, 41.6, 41.6),     # under $50: 4 %
    (40.0, 41.6, 41.61, None),
    (50.0, 51.25, 51.25, 51.25),  # from $50: 2.5 %
    (50.0, 51.25, 51.26, None),
])
def test_a_buy_stop_has_a_cap(stop, cap, opens, filled):
    x = Exchange(daily(39.0, (opens, opens + 1.0, opens, opens + 0.5), cap + 5.0, cap - 0.1))
    sent = x.submit(order("buy", stop_price=stop, time_in_force="gtc"))
    x.advance()
    assert [f[3] for f in fills(x)] == ([] if filled is None else [filled])
    if filled is None:  # it is a limit order at its cap by now
        x.advance()
        assert fills(x) == [] and x.get(sent.id).status == "new"
        x.advance()
        assert fills(x) == [("AAA", 1, 10.0, round(cap - 0.1, 4))]


def test_a_sell_stop_has_none():
    x = held((60.0, 61.0, 59.0, 60.0))
    x.submit(order("sell", stop_price=95.0))
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 10.0, 60.0)


def test_a_stop_slips_and_a_limit_never_does():
    costs = botlib.Costs(slippage_bps=10.0, regulatory_fees=False)
    x = Exchange(daily(FLAT, FLAT, DAY), costs=costs)
    x.submit(order("buy", limit_price=FLAT))
    x.advance()
    assert fills(x)[-1][3] == 100.0
    x.submit(order("sell", stop_price=99.5))
    x.advance()
    assert fills(x)[-1][3] == 99.4005  # 99.5 less 10 bps


def test_a_stop_limit_with_the_limit_on_the_near_side_waits_for_the_next_bar():
    x = Exchange(daily(FLAT, DAY, (100.4, 100.6, 100.2, 100.5)))
    sent = x.submit(order("buy", stop_price=102.0, limit_price=100.5, time_in_force="gtc"))
    x.advance()
    assert x.get(sent.id).status == "new" and fills(x) == []
    x.advance()
    assert fills(x) == [("AAA", 1, 10.0, 100.4)]


def test_a_trailing_stop_follows_the_high():
    x = held((101.0, 110.0, 100.5, 108.0), (107.0, 109.0, 104.0, 105.0), (104.0, 104.5, 103.5, 104.0))
    sent = x.submit(order("sell", type="trailing_stop", trail_price=5.0, time_in_force="gtc"))
    assert (sent.hwm, sent.stop_price) == (100.0, 95.0)
    x.advance()
    now = x.get(sent.id)
    assert (now.hwm, now.stop_price, now.status) == (110.0, 105.0, "new")
    x.advance()  # 104 is below 105
    assert fills(x)[-1] == ("AAA", -1, 10.0, 105.0)


def test_a_trailing_stop_in_percent_for_a_short_follows_the_low_and_a_gap_fills_at_the_open():
    x = held((99.0, 99.5, 90.0, 91.0), (95.0, 96.0, 94.0, 95.0), side="sell")
    sent = x.submit(order("buy", type="trailing_stop", trail_percent=3.0, time_in_force="gtc"))
    assert (sent.hwm, sent.stop_price) == (100.0, 103.0)
    x.advance()
    assert (x.get(sent.id).hwm, x.get(sent.id).stop_price) == (90.0, 92.7)
    x.advance()
    assert fills(x)[-1] == ("AAA", 1, 10.0, 95.0)


def test_a_trailing_stop_that_the_close_falls_through():
    """The high of 110 sets the stop to 105, and the close of 103 lies below it: it traded there on the way."""
    x = held((101.0, 110.0, 100.5, 103.0))
    x.submit(order("sell", type="trailing_stop", trail_price=5.0, time_in_force="gtc"))
    x.advance()
    assert fills(x)[-1] == ("AAA", -1, 10.0, 105.0)


# --- Cancelling -------------------------------------------------------------------------------------------------------


def test_cancel_is_pending_until_the_next_call():
    x = Exchange(daily(FLAT, DAY, DAY))
    sent = x.submit(order("buy", limit_price=50.0, time_in_force="gtc"))
    assert x.cancel(sent.id) is None
    assert x.orders[sent.id].status == "pending_cancel" and x.account.reserved == 500.0
    now = x.get(sent.id)
    assert now.status == "canceled" and now.canceled_at > now.cancel_requested_at > 0 and x.account.reserved == 0.0
    assert events(x) == ["accepted", "pending_cancel", "canceled"]
    x.cancel(sent.id)  # 204, again
    assert events(x) == ["accepted", "pending_cancel", "canceled"]


def test_what_has_ended_otherwise_cannot_be_cancelled():
    x = Exchange(daily(FLAT, DAY, DAY, DAY))
    done, ended = x.submit(order("buy")), x.submit(order("buy", limit_price=50.0))
    kept = x.submit(order("buy", limit_price=50.0, time_in_force="gtc"))
    x.advance()
    gone = x.replace(kept.id, limit_price=51.0)
    for one, word in ((done, "filled"), (ended, "expired"), (kept, "replaced")):
        found = refusal(x.cancel, one.id)
        assert (found.status, found.code, found.message) == (422, 42210000, f'order is already in "{word}" state')
    x.cancel(gone.id)
    found = refusal(x.cancel, "00000000-0000-4000-8000-000000000000")
    assert (found.status, found.code) == (404, 40410000)
    assert found.message == "order not found for 00000000-0000-4000-8000-000000000000"


def test_cancel_all_asks_for_every_order_at_once():
    x = held(DAY, DAY)
    one = x.submit(order("sell", 4.0, limit_price=120.0, time_in_force="gtc"))
    pair = x.submit(order("sell", 6.0, type="limit", order_class="oco", take_profit=110.0, stop_loss=90.0,
                          time_in_force="gtc"))
    assert [(o.id, o.status, s) for o, s in x.cancel_all()] == [(one.id, "pending_cancel", 200),
                                                                (pair.id, "pending_cancel", 200)]
    assert {o.status for o in x.orders.values() if o.side < 0} == {"pending_cancel", "held"}
    x.settle()
    assert {o.status for o in x.orders.values() if o.side < 0} == {"canceled"} and x.held_for_orders("AAA") == 0.0


def test_a_stuck_cancel_is_still_exposure():
    x = Exchange(daily(FLAT, DAY, DAY))
    x.stuck_cancels = True
    sent = x.submit(order("buy", limit_price=99.5, time_in_force="gtc"))
    x.cancel(sent.id)
    assert x.get(sent.id).status == x.get(sent.id).status == "pending_cancel"
    assert x.account.reserved == 995.0
    x.advance()
    assert x.get(sent.id).status == "filled" and fills(x) == [("AAA", 1, 10.0, 99.5)]


def test_a_partial_fill_does_not_forget_that_a_cancel_was_asked_for():
    x = Exchange(daily(FLAT, (*DAY, 40.0), (*DAY, 1e6)),
                 costs=botlib.Costs(max_participation_pct=10.0, slippage_bps=0.0, regulatory_fees=False))
    x.stuck_cancels = True
    sent = x.submit(order("buy", time_in_force="gtc"))
    x.cancel(sent.id)
    x.advance()
    assert (x.get(sent.id).status, x.get(sent.id).filled_qty) == ("pending_cancel", 4.0)
    x.stuck_cancels = False
    assert (x.get(sent.id).status, x.get(sent.id).filled_qty) == ("canceled", 4.0)
    assert events(x) == ["accepted", "pending_cancel", "partial_fill", "canceled"]
