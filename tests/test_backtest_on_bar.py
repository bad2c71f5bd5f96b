"""Strategies that see their positions and name their own orders: ``on_bar``, `View`, `Order`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from engine_helpers import NAN, OnBar, days, fates, fills, make_bars, run

import botlib
from botlib import buy, cancel, sell
from botlib.errors import StrategyError

LEGS = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=10.0)
TWO_BPS = botlib.Costs(slippage_bps=2.0, regulatory_fees=False)


def traded(cells, orders, **options):
    """(bar, side, quantity, price) of A's fills."""
    return [(f[0], *f[2:]) for f in fills(run({"A": cells}, OnBar(orders), **options))]


def minutes(cells):
    """Five-minute bars of one session."""
    index = pd.date_range("2024-03-11 09:30", periods=len(cells), freq="5min", tz="America/New_York")
    return make_bars({"A": cells}, index, interval="5m")


# --- What it may return -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("answer", [
    {"A": 0.1}, {"A": 0.1, "B": NAN}, [0.1, NAN], (0.1, NAN), np.array([0.1, np.nan]), pd.Series({"A": 0.1}),
])
def test_targets_come_in_many_forms(answer):
    result = run({"A": [100.0] * 3, "B": [100.0] * 3}, OnBar({0: answer}))
    assert result.positions.to_dict() == {"A": 100.0, "B": 0.0}


@pytest.mark.parametrize("answer", [None, [], {}, ()])
def test_nothing_may_be_done(answer):
    assert fates(run({"A": [100.0] * 3}, OnBar(lambda view: answer))) == []




@pytest.mark.parametrize("answer", [
    "A", 0.1, {"C": 0.1}, [0.1, 0.2, 0.3], {"A": float("inf")}, buy("C", 1), [[0.1, 0.2]],
    [buy("A", 1), 0.1], {"A": "much"},
    ["much", 0.1], [[0.1], 0.2],
])
def test_what_it_may_not_return(answer):
    with pytest.raises(StrategyError, match="OnBar.on_bar"):
        run({"A": [100.0] * 3, "B": [100.0] * 3}, OnBar({0: answer}))


def test_what_it_raises_is_told_in_one_sentence():
    said = r"OnBar.on_bar raised ZeroDivisionError.*line \d+ of test_backtest_on_bar.py.*bar 2"
    with pytest.raises(StrategyError, match=said):
        run({"A": [100.0] * 4}, OnBar(lambda view: 1 / (view.t - 2) and None))


def test_it_is_not_asked_before_the_warm_up():
    asked = []
    run({"A": [100.0] * 5}, OnBar(lambda view: asked.append(view.t), warmup=3))
    assert asked == [3, 4]


def test_a_symbol_listed_later_keeps_its_own_warm_up():
    cells = {"A": [100.0] * 8, "B": [None] * 3 + [50.0] * 5}
    result = run(cells, OnBar(lambda view: [buy("B", 1)] if view.position("B") == 0 else None, warmup=2))
    assert fills(result)[0][:3] == (6, "B", "buy")  # bars 3 and 4 come before bar 5
    assert fills(run(cells, OnBar(lambda view: {"B": 0.1}, warmup=2)))[0][:3] == (6, "B", "buy")


# --- What it sees -----------------------------------------------------------------------------------------------------

def test_the_view_tells_the_account():
    seen = {}

    def look(view):
        if view.t == 2:
            seen.update(time=view.time, cash=view.cash, equity=view.equity, positions=view.positions,
                        a=view.position("A"), b=view.position("B"), weight=view.weight("A"),
                        entry=view.entry_price("A"), flat=view.entry_price("B"), bars=len(view.bars),
                        close=view.bars.close[-1].tolist())
        return {0: buy("A", 100), 1: buy("A", 50)}.get(view.t)

    run({"A": [100, 100, 130, 130], "B": [50.0] * 4}, OnBar(look))
    # 100 at 100 and 50 at 130: 16,500 paid, 110 a share; 83,500 + 150 * 130 = 103,000.
    assert seen == {"time": days(4)[2], "cash": 83_500.0, "equity": 103_000.0, "positions": {"A": 150.0}, "a": 150.0,
                    "b": 0.0, "weight": pytest.approx(19_500 / 103_000), "entry": 110.0,
                    "flat": pytest.approx(NAN, nan_ok=True), "bars": 3, "close": [130.0, 50.0]}


def test_the_view_tells_what_still_works():
    seen = []
    cells = {"A": [100, 100, 100], "B": [50.0] * 3}
    run(cells, OnBar(lambda view: seen.append(view.open_orders) or (buy("A", 5, limit=90.0) if view.t == 0 else None)))
    assert seen == [[], [], []]  # the day order ended at the session's close


def intraday(*cells):
    """Five-minute bars of A, all of one session."""
    index = pd.date_range("2024-03-11 09:30", periods=len(cells), freq="5min", tz="America/New_York")
    return make_bars({"A": list(cells)}, index, interval="5m")


def test_the_view_shows_an_order_that_works():
    seen = []
    bars = intraday(100, 100, 100, 100)
    orders = {0: [buy("A", 5, limit=90.0), buy("A", 3, stop=120.0)]}
    run(bars, OnBar(lambda view: seen.append(view.open_orders) or orders.get(view.t)))
    limit = botlib.WorkingOrder(id=0, symbol="A", side="buy", type="limit", purpose="entry", quantity=5.0, filled=0.0,
                                limit_price=90.0, stop_price=None, decided_time=bars.index[0])
    # A buy stop is capped, at 2.5 % above it.
    stop = limit._replace(id=1, type="stop", quantity=3.0, limit_price=123.0, stop_price=120.0)
    assert seen == [[], [limit, stop], [limit, stop], []]
    assert (seen[1][1].id, seen[1][1].stop_price) == (1, 120.0)
    with pytest.raises(AttributeError):
        seen[1][0].quantity = 6.0


def test_the_view_says_what_an_exit_is_for():
    seen = []
    orders = {0: buy("A", 10), 1: [sell("A", 4, limit=110.0), sell("A", 6, limit=111.0)]}
    run(intraday(100, 100, 100, 100), OnBar(lambda view: seen.append(view.open_orders) or orders.get(view.t)))
    assert [(o.purpose, o.side, o.limit_price) for o in seen[2]] == [("reduce", "sell", 110.0),
                                                                     ("reduce", "sell", 111.0)]


def test_the_view_in_a_line():
    said = []
    run({"A": [100.0] * 3}, OnBar(lambda view: said.append(repr(view)) or buy("A", 10)))
    assert said[1] == "<View of bar 1, 2024-03-05: equity 100,000.00, cash 99,000.00, holds 10 A, 0 open orders>"


def test_earlier_views_do_not_change_when_a_split_becomes_known():
    kept = []
    bars = make_bars({"A": [100, 100, 50, 50], "B": [10.0] * 4}, actions=[("A", "2024-03-06", "split", 2.0)])
    run(bars, OnBar(lambda view: kept.append(view.bars)))
    assert [b.close[:, 0].tolist() for b in kept] == [[100], [100, 100], [50, 50, 50], [50, 50, 50, 50]]
    assert [b.volume[0].tolist() for b in kept[1:3]] == [[1e6, 1e6], [2e6, 1e6]]
    assert [len(b.index) for b in kept] == [1, 2, 3, 4]


def test_dividends_move_earlier_prices_of_their_own_symbol_when_asked():
    kept = []
    bars = make_bars({"A": [100, 100, 90, 90], "B": [10.0] * 4}, actions=[("A", "2024-03-06", "cash_dividend", 10.0)])
    run(bars, OnBar(lambda view: kept.append(view.bars.close)), signal_adjustment="all")
    # Prices before the ex-date times 1 - 10/100.
    assert kept[-1].tolist() == [[90, 10], [90, 10], [90, 10], [90, 10]]
    assert kept[1].tolist() == [[100, 10], [100, 10]]


def test_raw_views_carry_the_actions_known_by_then():
    seen = []
    bars = make_bars({"A": [100, 100, 50, 50]}, actions=[("A", "2024-03-06", "split", 2.0)])
    run(bars, OnBar(lambda view: seen.append((len(view.bars.actions), view.bars.close[0, 0]))), signal_adjustment="raw")
    assert seen == [(0, 100.0), (0, 100.0), (1, 100.0), (1, 100.0)]


def test_an_unknown_symbol_is_named():
    with pytest.raises(StrategyError, match="'X'"):
        run({"A": [100.0] * 3}, OnBar(lambda view: view.position("X")))


def test_the_view_ends_at_its_bar_and_is_read_only():
    def look(view):
        assert len(view.bars) == view.t + 1
        with pytest.raises(ValueError, match="read-only"):
            view.bars.close[0, 0] = 1.0

    run({"A": [100.0] * 3}, OnBar(look))


# --- Entries ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("order", "bar", "expected"), [
    (buy("A", 10), (101, 102, 100, 101), (1, "buy", 10.0, 101.0202)),                  # 101 * 1.0002
    (sell("A", 10), (101, 102, 100, 101), (1, "sell", 10.0, 100.9798)),                # 101 * 0.9998
    (buy("A", 10, limit=99.0), (100, 101, 98, 100), (1, "buy", 10.0, 99.0)),           # limits never slip
    (buy("A", 10, limit=99.0), (98.5, 101, 98, 100), (1, "buy", 10.0, 98.5)),          # better than asked
    (buy("A", 10, limit=99.0), (100, 101, 99.01, 100), None),
    (sell("A", 10, limit=101.0), (100, 101, 99, 100), (1, "sell", 10.0, 101.0)),
    (sell("A", 10, limit=101.0), (103, 104, 99, 100), (1, "sell", 10.0, 103.0)),
    (buy("A", 10, stop=102.0), (100, 102, 99, 101), (1, "buy", 10.0, 102.0204)),       # 102 * 1.0002
    (buy("A", 10, stop=102.0), (103, 104, 102, 103), (1, "buy", 10.0, 103.0206)),      # a gap within the cap of 104.55
    (buy("A", 10, stop=102.0), (105, 106, 104.56, 105), None),                         # beyond it
    (buy("A", 10, stop=102.0), (105, 106, 104, 105), (1, "buy", 10.0, 104.55)),        # comes back to it
    (sell("A", 10, stop=98.0), (100, 101, 98, 99), (1, "sell", 10.0, 97.9804)),        # 98 * 0.9998
    (sell("A", 10, stop=98.0), (90, 91, 89, 90), (1, "sell", 10.0, 89.982)),           # no cap on this side
])
def test_an_entry(order, bar, expected):
    assert traded([100, bar, 100], {0: order}, costs=TWO_BPS) == ([] if expected is None else [expected])


def test_orders_are_good_for_their_session():
    result = run({"A": [100, 100, 98]}, OnBar({0: buy("A", 10, limit=99.0)}))
    assert fates(result) == [("entry", 10.0, "expired", "session close")]


def test_an_entry_carries_the_legs_of_its_own_price():
    # Bought at the limit of 90: stop 85.50, target 99.00.
    result = run({"A": [100, (95, 96, 90, 92), 92]}, OnBar({0: buy("A", 10, limit=90.0)}), risk=LEGS)
    assert result.orders["stop_price"].iloc[1] == 85.5
    assert result.orders["limit_price"].iloc[2] == 99.0


@pytest.mark.parametrize(("bar", "sold"), [
    ((100, 101, 85.50, 90), [(1, "sell", 10.0, 85.5)]),      # the stop may be hit in what is left of the bar
    ((100, 101, 90, 99), []),                                # the target may have traded before the entry
    ((88, 99, 87, 98), [(1, "sell", 10.0, 99.0)]),           # filled by the open: all of the bar comes after it
])
def test_legs_of_a_limit_entry_on_its_bar(bar, sold):
    assert traded([100, bar, 90], {0: buy("A", 10, limit=90.0)}, risk=LEGS)[1:] == sold


def test_legs_of_a_stop_entry_on_its_bar():
    # In at 102 within the bar; its target of 112.20 lies on the way up.
    orders = {0: buy("A", 10, stop=102.0)}
    assert traded([100, (100, 113, 100, 112), 112], orders, risk=LEGS)[1:] == [(1, "sell", 10.0, 112.2)]


def test_an_entry_below_a_share_is_refused():
    assert fates(run({"A": [100.0] * 3}, OnBar({0: buy("A", 0.9)}))) == [("entry", 0.0, "rejected", "below one share")]


def test_entries_share_buying_power_in_the_order_given():
    result = run({"A": [100.0] * 3, "B": [100.0] * 3}, OnBar({0: [buy("B", 700), buy("A", 700), buy("A", 300)]}))
    assert [fate[2] for fate in fates(result)] == ["filled", "rejected", "filled"]
    assert result.positions.to_dict() == {"A": 300.0, "B": 700.0}


@pytest.mark.parametrize("orders", [
    [buy("A", 10), sell("A", 10)], [buy("A", 10, stop=102.0), sell("A", 30, stop=98.0)],
])
def test_an_entry_against_a_working_one_is_refused(orders):
    """Alpaca: 403, "opposite side market/stop order exists"."""
    result = run({"A": [100, (100, 103, 97, 100), 100]}, OnBar({0: orders}))
    assert [fate[2] for fate in fates(result)] == ["filled", "rejected"]


# --- What Alpaca refuses as it stands ---------------------------------------------------------------------------------

WRONG_SIDE = "stop price on the wrong side of the market"


@pytest.mark.parametrize(("order", "fate"), [
    (buy("A", 10, stop=100.01), ("filled", "")),
    (buy("A", 10, stop=100.0), ("rejected", WRONG_SIDE)),
    (buy("A", 10, stop=99.0), ("rejected", WRONG_SIDE)),
    (sell("A", 10, stop=99.99), ("filled", "")),
    (sell("A", 10, stop=100.0), ("rejected", WRONG_SIDE)),
    (sell("A", 10, stop=101.0), ("rejected", WRONG_SIDE)),
])
def test_a_stop_entry_that_the_price_has_reached_is_refused(order, fate):
    """Alpaca: 422, "stop price must be less than / greater than current price". The close of the decision is 100."""
    result = run({"A": [100, (100, 102, 98, 100), 100]}, OnBar({0: order}))
    assert [f[2:] for f in fates(result)] == [fate]
    assert any("wrong side of the market (A, 2024-03-04)" in said for said in result.warnings) == (fate[0] != "filled")


@pytest.mark.parametrize(("entry", "stop", "fate"), [
    (buy("A", 10), 99.99, ("filled", "")), (buy("A", 10), 100.0, ("rejected", WRONG_SIDE)),
    (buy("A", 10), 105.0, ("rejected", WRONG_SIDE)),
    (sell("A", 10), 100.01, ("filled", "")), (sell("A", 10), 100.0, ("rejected", WRONG_SIDE)),
    (sell("A", 10), 95.0, ("rejected", WRONG_SIDE)),
])
def test_a_stop_exit_that_the_price_has_reached_is_refused(entry, stop, fate):
    out = (sell if entry.side == "buy" else buy)("A", 10, stop=stop)
    result = run({"A": [100, 100, (100, 102, 98, 100), 100]}, OnBar({0: entry, 1: out}))
    assert fates(result)[1][2:] == fate


def test_a_stop_exit_is_measured_from_the_last_price_there_was():
    """No bar on the day of the decision: the last close, 90, has passed the stop of 95, not that of 89."""
    cells = {"A": [100, 100, 90, None, (90, 90, 88, 88)], "B": [50.0] * 5}
    for stop, fate in ((95.0, ("rejected", WRONG_SIDE)), (89.0, ("filled", ""))):
        assert fates(run(cells, OnBar({0: buy("A", 10), 3: sell("A", 10, stop=stop)})))[1][2:] == fate


TIGHT = botlib.Risk(max_position_pct=100.0, stop_loss_pct=2.0, take_profit_pct=10.0)


@pytest.mark.parametrize(("order", "status"), [
    (buy("A", 10, stop=102.0), "expired"),       # its stop of 99.96 lies 4 cents below the last price of 100
    (buy("A", 10, stop=102.05), "rejected"),     # 102.05 * 0.98 = 100.009, down: 100.00
    (buy("A", 10, stop=104.0), "rejected"),      # 101.92, above the last price
    (sell("A", 10, stop=98.1), "expired"),       # 98.1 * 1.02 = 100.062, up: 100.07
    (sell("A", 10, stop=97.0), "rejected"),      # 98.94
    (buy("A", 10, limit=102.0), "filled"),       # bought at the open
    (buy("A", 10, limit=103.0), "rejected"),     # 100.94
    (sell("A", 10, limit=97.0), "rejected"),
])
def test_an_entry_whose_stop_the_last_price_has_passed_is_refused(order, status):
    """Alpaca measures the bracket's stop from the last price too, whatever price the entry names."""
    entry = fates(run({"A": [100, 100, 100]}, OnBar({0: order}), risk=TIGHT))[0]
    assert entry[2:] == (status, {"rejected": "legs within a cent of the price", "expired": "session close",
                                  "filled": ""}[status])


def test_a_short_without_room_for_its_target_is_refused():
    """100 % below 40 is no price; Alpaca: "limit price must be > 0"."""
    for target, fate in ((99.0, ("filled", "")), (100.0, ("rejected", "a target of zero or less"))):
        risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=target)
        assert fates(run({"A": [40.0] * 3}, {"A": [-0.1]}, risk=risk))[0][2:] == fate


@pytest.mark.parametrize(("quantity", "fate"), [
    (0.01, ("filled", "")), (0.0099, ("rejected", "fractional buy below one dollar")),
])
def test_a_fractional_buy_costs_a_dollar_at_least(quantity, fate):
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None, fractional=True)
    assert fates(run({"A": [100.0] * 3}, OnBar({0: buy("A", quantity)}), risk=risk))[0][2:] == fate


def test_fractions_leave_no_dust():
    """0.1 + 0.2 of a share is 0.3, and 0.3 is what can be sold: Alpaca takes 9 decimals."""
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None, fractional=True)
    result = run({"A": [100.0] * 5}, OnBar({0: buy("A", 0.1), 1: buy("A", 0.2), 2: {"A": 0.0}}), risk=risk)
    assert fates(result)[-1] == ("exit", 0.3, "filled", "")
    assert result.positions["A"] == 0.0
    # 0.7 + 0.1 is 0.7999999999999999; 2 for 1 they are 1.6 all the same.
    bars = make_bars({"A": [100.0, 100.0, 100.0, 50.0, 50.0]}, actions=[("A", "2024-03-07", "split", 2.0)])
    assert run(bars, OnBar({0: buy("A", 0.7), 1: buy("A", 0.1)}), risk=risk).positions["A"] == 1.6


# --- Exits ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("order", "bar", "expected"), [
    (sell("A", 10), (101, 102, 100, 101), (2, "sell", 10.0, 100.9798)),
    (sell("A", 4), (101, 102, 100, 101), (2, "sell", 4.0, 100.9798)),
    (sell("A", 10, limit=102.0), (101, 102, 100, 101), (2, "sell", 10.0, 102.0)),
    (sell("A", 10, stop=99.5), (101, 102, 99.5, 101), (2, "sell", 10.0, 99.4801)),     # 99.5 * 0.9998
    (sell("A", 10, stop=99.5), (99, 99, 98, 99), (2, "sell", 10.0, 98.9802)),
])
def test_an_exit(order, bar, expected):
    assert traded([100, 100, bar, 101], {0: buy("A", 10), 1: order}, costs=TWO_BPS)[1:] == [expected]


@pytest.mark.parametrize(("bar", "expected"), [
    ((101, 105, 100, 104), [(2, "buy", 10.0, 105.021)]),        # 105 * 1.0002
    ((106, 107, 105, 106), [(2, "buy", 10.0, 106.0212)]),
    ((108, 109, 107.63, 108), []),                              # beyond the cap of 107.62
])
def test_a_short_is_covered_by_a_named_stop(bar, expected):
    assert traded([100, 100, bar, 104], {0: sell("A", 10), 1: buy("A", 10, stop=105.0)}, costs=TWO_BPS)[1:] == expected


def test_an_exit_never_sells_more_than_is_held():
    result = run({"A": [100.0] * 4}, OnBar({0: buy("A", 10), 1: sell("A", 11)}))
    assert fates(result)[1][1:] == (11.0, "rejected", "held for orders")
    assert result.positions["A"] == 10.0


def test_a_refused_exit_leaves_what_is_on_its_way_in():
    orders = {0: buy("A", 10), 1: buy("A", 5, limit=90.0), 2: sell("A", 99), 3: None}
    result = run(minutes([100.0, 100.0, 100.0, 100.0, (90, 90, 90, 90)]), OnBar(orders))
    assert [fate[2:] for fate in fates(result)] == [("filled", ""), ("filled", ""), ("rejected", "held for orders")]
    assert result.positions["A"] == 15.0


def test_a_named_short_in_parts_of_a_share_is_refused():
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None, fractional=True)
    result = run({"A": [100.0] * 4}, OnBar({0: sell("A", 2.5), 1: sell("A", 2.0)}), risk=risk)
    assert fates(result) == [("entry", 2.5, "rejected", "shorts are in whole shares"), ("entry", 2.0, "filled", "")]


def test_a_trade_tells_a_named_exit_from_a_signal():
    result = run({"A": [100.0] * 5}, OnBar({0: {"A": 0.1}, 1: sell("A", 40), 2: {"A": 0.0}}))
    assert result.trades["exit_reason"].tolist() == ["order", "signal"]


def test_two_exits_share_what_is_held():
    result = run({"A": [100.0] * 4}, OnBar({0: buy("A", 10), 1: [sell("A", 6), sell("A", 5)]}))
    assert [fate[2:] for fate in fates(result)] == [("filled", ""), ("filled", ""), ("rejected", "held for orders")]
    assert result.positions["A"] == 4.0


@pytest.mark.parametrize("order", [sell("A", 10, limit=105.0), sell("A", 10, stop=98.0), sell("A", 5, limit=105.0)])
def test_legs_hold_the_shares_against_a_resting_exit(order):
    result = run({"A": [100, 100, 105, 105]}, OnBar({0: buy("A", 10), 1: order}), risk=LEGS)
    assert ("rejected", "held for orders") in [fate[2:] for fate in fates(result)]
    assert [fate[2] for fate in fates(result, "stop", "target")] == ["working", "working"]  # still protected


def test_a_market_exit_ends_the_legs():
    result = run({"A": [100, 100, 105, 105]}, OnBar({0: buy("A", 10), 1: sell("A", 10)}), risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 10.0, 105.0)]
    assert {fate[2:] for fate in fates(result, "stop", "target")} == {("cancelled", "position exit")}


def test_a_market_reduction_protects_what_is_left():
    result = run({"A": [100, 100, 100, (95, 96, 95, 95), 95]}, OnBar({0: buy("A", 10), 1: sell("A", 4)}), risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 4.0, 100.0), (3, "A", "sell", 6.0, 95.0)]


def test_an_exit_below_a_share_is_refused_and_the_legs_stay():
    result = run({"A": [100, 100, (95, 96, 95, 95), 95]}, OnBar({0: buy("A", 10), 1: sell("A", 0.4)}), risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 10.0, 95.0)]
    assert ("rejected", "below one share") in [fate[2:] for fate in fates(result)]


def test_a_named_reduction_that_expires_is_over():
    cells = {"A": [100, 100, 80, None, 80, 80, 80], "B": [50] * 7}
    assert fills(run(cells, OnBar({0: {"A": 0.1}, 2: sell("A", 40)}))) == [(1, "A", "buy", 100.0, 100.0)]


def test_targets_close_what_named_orders_opened():
    # The second order expires on bar 3.
    orders = {0: buy("A", 10), 2: buy("A", 5, limit=90.0), 4: {"A": 0.0}}
    assert fills(run({"A": [100.0] * 7}, OnBar(orders)))[1:] == [(5, "A", "sell", 10.0, 100.0)]


def test_a_target_enters_again_after_a_named_entry_expired():
    # The stop at 95 takes the 100 shares on bar 2, the limit of 80 is not reached: floor(9,950 / 96) = 103 at 97.
    def answer(view):
        return buy("A", 5, limit=80.0) if view.t == 1 else {"A": 0.1}

    result = run({"A": [100, 100, (100, 100, 94, 96), 97, 97]}, OnBar(answer), risk=LEGS)
    assert fills(result)[1:] == [(2, "A", "sell", 100.0, 95.0), (3, "A", "buy", 103.0, 97.0)]



def test_the_same_shares_are_not_sold_twice():
    # 4 of 10 are sold on bar 2 while a limit order for the other 6 rests; bar 3 meets its price and the old stop's.
    index = pd.date_range("2024-03-11 09:30", periods=5, freq="5min", tz="America/New_York")
    bars = make_bars({"A": [100, 100, 100, (100, 106, 94, 100), 100]}, index, interval="5m")
    result = run(bars, OnBar({0: buy("A", 10), 1: [sell("A", 4), sell("A", 6, limit=105.0)]}), risk=LEGS)
    assert [f[3] for f in fills(result)] == [10.0, 4.0, 6.0]
    assert result.equity.iloc[-1] in (99_970.0, 100_030.0)


def test_legs_rest_for_what_is_left():
    cells = {"A": [100, 100, (100, 106, 99, 105), 105, 105]}
    result = run(cells, OnBar({0: buy("A", 10), 1: [sell("A", 4), sell("A", 6, limit=105.0)]}), risk=LEGS)
    resting = result.orders[(result.orders["status"] == "working") & (result.orders["purpose"] == "stop")]
    assert resting["quantity"].sum() == result.positions["A"]


def test_no_order_flips_a_position():
    result = run({"A": [100.0] * 4}, OnBar({0: sell("A", 10), 1: buy("A", 20)}))
    assert result.positions["A"] == -10.0


# --- Cancelling -------------------------------------------------------------------------------------------------------

def test_a_cancelled_entry_does_not_fill():
    bars = intraday(100, 100, (100, 100, 90, 91), 91)
    result = run(bars, OnBar({0: buy("A", 10, limit=95.0), 1: cancel("A")}))
    assert fates(result) == [("entry", 10.0, "cancelled", "the strategy asked")]
    assert result.fills.empty


def test_one_order_is_cancelled_by_its_id():
    bars = intraday(100, 100, (100, 100, 90, 91), 91)
    ladder = [buy("A", 10, limit=95.0), buy("A", 20, limit=94.0)]
    result = run(bars, OnBar(lambda view: ladder if view.t == 0 else
                             cancel("A", view.open_orders[0].id) if view.t == 1 else None))
    assert fills(result) == [(2, "A", "buy", 20.0, 94.0)]
    assert [fate[2] for fate in fates(result)] == ["cancelled", "filled"]


def test_other_symbols_keep_their_orders():
    index = pd.date_range("2024-03-11 09:30", periods=3, freq="5min", tz="America/New_York")
    bars = make_bars({"A": [100, 100, 90], "B": [100, 100, 90]}, index, interval="5m")
    result = run(bars, OnBar({0: [buy("A", 1, limit=95.0), buy("B", 2, limit=95.0)], 1: [cancel("A")]}))
    assert fills(result) == [(2, "B", "buy", 2.0, 90.0)]


@pytest.mark.parametrize(("answer", "status"), [
    (buy("A", 950, limit=99.0), "rejected"),                       # 900 and 950 at 99 are 183,150 of 100,000
    ([cancel("A"), buy("A", 950, limit=99.0)], "working"),
])
def test_what_a_cancel_frees_is_there_for_the_next_order(answer, status):
    seen = []
    run(intraday(100, 100, 100, 100), OnBar(lambda view: seen.append(view.open_orders) or
                                            {0: buy("A", 900, limit=99.0), 1: answer}.get(view.t)))
    assert [o.quantity for o in seen[2]] == [950.0 if status == "working" else 900.0]


def test_what_a_cancelled_exit_leaves_is_protected_from_the_next_bar_on():
    # Bought at 100: stop 95. The exit of 6 works beside no legs; they come back for it after bar 2.
    bars = intraday(100, 100, (100, 100, 94, 100), (100, 100, 94, 96), 96)
    orders = {0: buy("A", 10), 1: [sell("A", 4), sell("A", 6, limit=105.0)]}
    assert fills(run(bars, OnBar(orders), risk=LEGS))[1:] == [(2, "A", "sell", 4.0, 100.0)]
    cancelled = run(bars, OnBar(orders | {2: cancel("A")}), risk=LEGS)
    assert fills(cancelled)[1:] == [(2, "A", "sell", 4.0, 100.0), (3, "A", "sell", 6.0, 95.0)]


def test_legs_are_never_cancelled():
    result = run(intraday(100, 100, 100, (100, 100, 94, 96)), OnBar({0: buy("A", 10), 1: cancel("A"), 2: cancel("A")}),
                 risk=LEGS)
    assert fills(result)[1:] == [(3, "A", "sell", 10.0, 95.0)]
    with pytest.raises(StrategyError, match="cancelled order 1 of A, which is none of its orders"):
        run(intraday(100, 100, 100, 100), OnBar({0: buy("A", 10), 2: cancel("A", 1)}), risk=LEGS)  # 0 is the entry


def test_a_cancel_that_comes_late_does_nothing():
    result = run(intraday(100, 100, 100, 100), OnBar({0: buy("A", 10), 2: [cancel("A", 0), cancel("A")]}))
    assert fates(result) == [("entry", 10.0, "filled", "")]


def test_a_target_enters_again_after_its_entry_was_cancelled():
    index = pd.date_range("2024-03-11 09:30", periods=5, freq="5min", tz="America/New_York")
    bars = make_bars({"A": [100, None, 100, 100, 100], "B": [50.0] * 5}, index, interval="5m")  # no bar to fill it
    result = run(bars, OnBar({0: {"A": 0.1}, 1: cancel("A"), 2: {"A": 0.1}}))
    assert fates(result) == [("entry", 100.0, "cancelled", "the strategy asked"), ("entry", 100.0, "filled", "")]
    assert fills(result) == [(3, "A", "buy", 100.0, 100.0)]


def test_a_target_of_zero_ends_the_entry_that_a_cancel_by_id_left():
    bars = intraday(100, 100, 100, 90, 90)
    orders = {0: [buy("A", 10, limit=95.0), buy("A", 20, limit=94.0)], 1: cancel("A", 0), 2: {"A": 0.0}}
    assert [fate[2:] for fate in fates(run(bars, OnBar(orders)))] == [("cancelled", "the strategy asked"),
                                                                      ("cancelled", "replaced")]


@pytest.mark.parametrize("answer", [cancel("C"), cancel("A", 7), cancel("A", -1), [buy("B", 1), cancel("A", 0)]])
def test_what_cannot_be_cancelled(answer):
    with pytest.raises(StrategyError, match=r"OnBar.on_bar (ordered|cancelled)"):
        run({"A": [100.0] * 3, "B": [100.0] * 3}, OnBar({0: answer}))


@pytest.mark.parametrize("number", [True, 1.5, "0"])
def test_an_id_is_a_whole_number(number):
    with pytest.raises(StrategyError, match="must be a whole number"):
        cancel("A", number)


# --- Orders that no exchange takes ------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [
    lambda: buy("A", 0), lambda: buy("A", -1), lambda: buy("A", NAN), lambda: buy("A", float("inf")),
    lambda: buy("A", "10"),
    lambda: buy("A", 1, limit=0.0), lambda: buy("A", 1, limit=-5.0), lambda: buy("A", 1, limit=NAN),
    lambda: buy("A", 1, limit=99.0, stop=101.0), lambda: sell("A", 1, limit=10.001), lambda: sell("A", 1, stop=0.12345),
])
def test_it_is_refused_when_made(make):
    with pytest.raises(StrategyError):
        make()


@pytest.mark.parametrize("price", [10.01, 0.1234, 1.0, 33.33])
def test_prices_on_the_tick_are_taken(price):
    assert sell("A", 1, limit=price).limit_price == price


def test_a_price_goes_out_on_the_tick():
    """110 * 0.95 is 104.49999999999999, for which Alpaca's answer is sub-penny."""
    assert (sell("A", 1, limit=110 * 0.95).limit_price, buy("A", 1, stop=0.1 + 0.2).stop_price) == (104.5, 0.3)


def test_bars_may_be_out_of_name_order():
    result = run(make_bars({"B": [50.0] * 3, "A": [100.0] * 3}), OnBar({0: [buy("B", 2), buy("A", 1)]}))
    assert result.positions.to_dict() == {"A": 1.0, "B": 2.0}


def test_progress_is_told_of_every_bar():
    seen = []

    def bar_by_bar(bars):
        for t in bars:
            seen.append(t)
            yield t

    botlib.backtest(make_bars({"A": [100.0] * 4}), OnBar({0: buy("A", 1)}), progress=bar_by_bar)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("ends", ["cancel", "expire", "replace"])
def test_two_entries_that_come_to_nothing_leave_the_target_that_was_held(ends):
    """Then a target equal to the one held trades nothing."""
    waiting = [buy("A", 5, limit=50.0), buy("A", 6, limit=51.0)]
    answers = {0: {"A": 0.1}, 1: waiting, 2: None, 3: {"A": 0.1}}
    if ends == "cancel":
        answers[2] = botlib.cancel("A")
    bars = minutes([100.0, 100.0, 110.0, 120.0, 120.0]) if ends == "cancel" else make_bars(
        {"A": [100.0, 100.0, 110.0, 120.0, 120.0]})
    if ends == "replace":
        answers[3], answers[1] = {"A": 0.1}, [*waiting, sell("A", 50)]
    result = run(bars, OnBar(answers))
    assert [f[1:4] for f in fills(result)] == [("A", "buy", 100.0)] + [("A", "sell", 50.0)] * (ends == "replace")
