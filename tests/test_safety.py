"""The safety controls (trading rules 14 and 15): their arithmetic, and what they stop in a backtest."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from engine_helpers import BARE, FREE, NEW_YORK, Given, OnBar, days, fates, fills, make_bars, run

import botlib
from botlib import buy, safety, sell
from botlib.errors import InputError
from botlib.safety import SafetyControls

NAN = math.nan


def controls(**values) -> SafetyControls:
    """Limits that are out of the way, unless named."""
    return SafetyControls(**{"max_drawdown_pct": 90.0, "max_daily_loss_pct": 50.0, "max_position_size_pct": 100.0,
                             "max_orders_per_day": 10_000, **values})


# --- Arithmetic -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("value", "reference", "fall"), [
    (95.0, 100.0, 5.0), (100.0, 100.0, 0.0), (110.0, 100.0, -10.0), (0.0, 100.0, 100.0), (95.0, 0.0, math.inf),
    (95.0, -1.0, math.inf), (NAN, 100.0, math.inf), (95.0, NAN, math.inf),
])
def test_a_fall_that_cannot_be_told_is_infinite(value, reference, fall):
    assert safety.fall_pct(value, reference) == pytest.approx(fall)


@pytest.mark.parametrize(("equity", "peak", "day_start", "halted", "state"), [
    (100.0, 100.0, 100.0, False, safety.ACTIVE),
    (95.1, 100.0, 96.0, False, safety.ACTIVE),
    (95.0, 100.0, 96.0, False, safety.HALTED),         # at the limit of 5 %
    (97.9, 100.0, 100.0, False, safety.REDUCE_ONLY),   # 2.1 % since the day's start
    (98.0, 100.0, 100.0, False, safety.REDUCE_ONLY),
    (94.0, 100.0, 100.0, False, safety.HALTED),        # both: the strictest wins
    (100.0, 100.0, 100.0, True, safety.HALTED),        # latched
    (NAN, 100.0, 100.0, False, safety.HALTED),
    (100.0, NAN, 100.0, False, safety.HALTED),
    (100.0, 100.0, NAN, False, safety.REDUCE_ONLY),
    (100.0, 100.0, 0.0, False, safety.REDUCE_ONLY),
])
def test_the_state_fails_closed(equity, peak, day_start, halted, state):
    assert safety.trading_state(equity, peak, day_start, halted, 5.0, 2.0) == state


@pytest.mark.parametrize(("state", "orders", "exposure", "equity", "answer"), [
    (safety.ACTIVE, 0, 10_000.0, 100_000.0, safety.PASSED),
    (safety.ACTIVE, 99, 10_000.0, 100_000.0, safety.PASSED),
    (safety.ACTIVE, 100, 10_000.0, 100_000.0, safety.REFUSED_ORDER_LIMIT),
    (safety.ACTIVE, 0, 10_001.0, 100_000.0, safety.REFUSED_POSITION_LIMIT),
    (safety.ACTIVE, 0, NAN, 100_000.0, safety.REFUSED_POSITION_LIMIT),
    (safety.ACTIVE, 0, 1.0, NAN, safety.REFUSED_POSITION_LIMIT),
    (safety.ACTIVE, 0, 1.0, -5.0, safety.REFUSED_POSITION_LIMIT),
    (safety.REDUCE_ONLY, 0, 1.0, 100_000.0, safety.REFUSED_REDUCE_ONLY),
    (safety.HALTED, 0, 1.0, 100_000.0, safety.REFUSED_HALTED),
])
def test_the_gate_of_an_entry(state, orders, exposure, equity, answer):
    assert safety.entry_gate(state, orders, 100, exposure, equity, 10.0) == answer


# --- Parameters -------------------------------------------------------------------------------------------------------

def test_a_position_larger_than_the_limit_allows_refuses_to_start():
    with pytest.raises(InputError, match="max_position_pct = 11 exceeds safety.max_position_size_pct = 10"):
        run({"A": [100.0] * 3}, {"A": [0.1]}, risk=botlib.Risk(max_position_pct=11.0), safety=SafetyControls())


def test_limits_are_on_unless_none_is_said():
    assert botlib.backtest(make_bars({"A": [100.0] * 3}), Given({"A": [0.1]})).safety == SafetyControls()
    assert run({"A": [100.0] * 3}, {"A": [0.1]}, safety=None).safety is None


@pytest.mark.parametrize("fraction", [1.0, 1.5, 2.0, 4.0])
def test_a_fraction_is_no_gross_exposure(fraction):
    with pytest.raises(InputError, match="max_gross_exposure_pct = .* is out of range: valid is 5 to 400, in percent"):
        botlib.Risk(max_gross_exposure_pct=fraction)
    assert botlib.Risk(max_gross_exposure_pct=5.0).max_gross_exposure_pct == 5.0


@pytest.mark.parametrize("values", [{"max_drawdown_pct": 0.05}, {"max_daily_loss_pct": 0.02}, {"max_orders_per_day": 0},
                                    {"on_kill": "sell"}, {"max_drawdown": 5.0}])
def test_limits_out_of_range_are_refused(values):
    with pytest.raises(InputError):
        SafetyControls(**values)


@pytest.mark.parametrize(("name", "low", "high", "default", "mistakes"), [
    ("max_order_value", 1.0, 1e9, None, [0.0, -5.0, 0.05, 1e10]),
    ("max_gross_exposure_pct", 5.0, 400.0, None, [0.5, 1.0, 2.0, 500.0]),   # a fraction where percent is meant
    ("price_collar_pct", 1.0, 90.0, 20.0, [0.0, 0.2, 100.0, 500.0, None]),  # always on
    ("max_data_age_seconds", 1.0, 2_592_000.0, None, [0.0, 0.5, 1e7]),
    ("max_adv_pct", 0.25, 100.0, None, [0.0, 0.01, 0.05, 0.1, 500.0]),
    ("exits_alarm_per_day", 1, 10_000, 50, [0, -1, 2.5, 10_001]),
])
def test_the_limits_of_sessions(name, low, high, default, mistakes):
    assert getattr(SafetyControls(), name) == default
    for value in (low, high):
        assert getattr(SafetyControls(**{name: value}), name) == value
    for value in [*mistakes, NAN, math.inf, "5", True]:
        with pytest.raises(InputError, match=f"^{name} = "):
            SafetyControls(**{name: value})


def test_limits_cannot_be_changed():
    with pytest.raises(Exception, match="frozen"):
        SafetyControls().max_drawdown_pct = 90.0


def test_a_limit_of_sessions_says_so_and_changes_no_backtest():
    ours = {name for name, field in SafetyControls.model_fields.items() if field.description.startswith("sessions: ")}
    assert ours == {"max_order_value", "max_gross_exposure_pct", "price_collar_pct", "max_data_age_seconds",
                    "max_adv_pct", "exits_alarm_per_day"}
    strict = controls(max_order_value=1.0, max_gross_exposure_pct=5.0, price_collar_pct=1.0, max_data_age_seconds=1.0,
                      max_adv_pct=0.25, exits_alarm_per_day=1)
    cells, targets = {"A": [100, 100, 130, 131, 90.0]}, {"A": [0.1, None, 0.0, 0.1]}
    usual = run(cells, targets, safety=controls())
    assert fills(run(cells, targets, safety=strict)) == fills(usual) != []


# --- Drawdown ---------------------------------------------------------------------------------------------------------

# Half of 100,000 in A at 100.
DRAWDOWN = controls(max_drawdown_pct=5.0)


def test_a_drawdown_halts_for_good():
    # 89: equity 94,500, 5.5 % below the peak. At 120 the account is at a new high, and still halted.
    cells = {"A": [100, 100, 95, 89, 120, 120, 120], "B": [50.0] * 7}
    result = run(cells, {"A": [0.5], "B": [None, None, None, 0.1, None, 0.1, 0.1]}, safety=DRAWDOWN)
    assert result.halts.values.tolist() == [[days(7)[3], "max_drawdown_pct", pytest.approx(5.5), 5.0, "halted"]]
    assert [f[1] for f in fills(result)] == ["A"]
    assert {fate[2:] for fate in fates(result)[1:]} == {("rejected", "halted")}
    assert result.equity.iloc[-1] == 110_000.0  # the position is kept


@pytest.mark.parametrize(("price", "halts"), [(90.01, 0), (90.0, 1)])
def test_the_limit_itself_halts(price, halts):
    assert len(run({"A": [100, 100, price, price]}, {"A": [0.5]}, safety=DRAWDOWN).halts) == halts


def test_a_drawdown_counts_from_the_peak():
    # Up to 120,000 at 140; 126 is 113,000: 5.83 % below it, though far above the start.
    result = run({"A": [100, 100, 140, 126, 126]}, {"A": [0.5]}, safety=DRAWDOWN)
    assert result.halts["value_pct"].tolist() == pytest.approx([700.0 / 120.0])


def test_exits_pass_when_halted():
    result = run({"A": [100, 100, 89, 88, 87]}, {"A": [0.5, None, None, 0.0, None]}, safety=DRAWDOWN)
    assert fills(result)[1:] == [(4, "A", "sell", 500.0, 87.0)]


def test_protective_legs_stay_when_halted():
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=20.0, take_profit_pct=None)
    result = run({"A": [100, 100, 89, (85, 85, 79, 80), 80]}, {"A": [0.5]}, safety=DRAWDOWN, risk=risk)
    assert fills(result)[1:] == [(3, "A", "sell", 500.0, 80.0)]


@pytest.mark.parametrize("targets", [
    [0.5],
    [0.5] * 6,
])
def test_the_kill_may_flatten(targets):
    result = run({"A": [100, 100, 89, 88, 87, 86]}, {"A": targets},
                 safety=controls(max_drawdown_pct=5.0, on_kill="flatten"))
    assert fills(result)[1:] == [(3, "A", "sell", 500.0, 88.0)]


def test_the_kill_flattens_under_on_bar_too():
    result = run({"A": [100, 100, 89, 88, 87, 86]}, OnBar(lambda view: {"A": 0.5}),
                 safety=controls(max_drawdown_pct=5.0, on_kill="flatten"))
    assert fills(result)[1:] == [(3, "A", "sell", 500.0, 88.0)]


def test_the_kill_cancels_entries_and_keeps_legs():
    # B's limit order waits within the session when A's fall trips the limit.
    index = pd.DatetimeIndex([f"2024-03-04 {h}" for h in ("09:30", "09:35", "09:40", "09:45", "09:50")], tz=NEW_YORK)
    bars = make_bars({"A": [100, 100, 100, 89, 89], "B": [50, 50, 50, 50, 40]}, index, interval="5m")
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=20.0, take_profit_pct=None)
    result = run(bars, OnBar({0: buy("A", 500), 1: buy("B", 10, limit=45.0)}), safety=DRAWDOWN, risk=risk)
    assert [f[1] for f in fills(result)] == ["A"]
    assert fates(result) == [("entry", 500.0, "filled", ""), ("stop", 500.0, "working", ""),
                             ("entry", 10.0, "cancelled", "kill switch")]


# --- Daily loss -------------------------------------------------------------------------------------------------------

TWO_SESSIONS = pd.DatetimeIndex([f"2024-03-0{d} {h}" for d in (4, 5) for h in ("09:30", "09:35", "09:40", "09:45")],
                                tz=NEW_YORK)


def test_a_daily_loss_allows_only_exits_until_the_next_session():
    # 500 A at 100. 95: 97,500, a loss of 2.5 %. At 99 the loss is 0.5 %, and the session still closed to entries.
    bars = make_bars({"A": [100, 100, 95, 99, 99, 99, 99, 99], "B": [50.0] * 8}, TWO_SESSIONS, interval="5m")
    result = run(bars, {"A": [0.5, None, None, 0.4], "B": [None, None, 0.1, 0.1, 0.1]},
                 safety=controls(max_daily_loss_pct=2.0))
    assert result.halts.values.tolist() == [
        [TWO_SESSIONS[2], "max_daily_loss_pct", pytest.approx(2.5), 2.0, "reduce-only"]]
    # The reduction to 40 % of 99,500 passes: floor(39,800 / 99) = 402. B is decided on bar 4: floor(9,950 / 50) = 199.
    assert fills(result) == [(1, "A", "buy", 500.0, 100.0), (4, "A", "sell", 98.0, 99.0), (5, "B", "buy", 199.0, 50.0)]
    assert [fate[2:] for fate in fates(result) if fate[2] == "rejected"] == [("rejected", "reduce-only")] * 2


def test_a_daily_loss_counts_from_the_sessions_start():
    result = run({"A": [100, 100, 97, 94, 90]}, {"A": [0.5]}, safety=controls(max_daily_loss_pct=2.0))
    # 98,500 / 100,000; 97,000 / 98,500 = 1.523 %; 95,000 / 97,000 = 2.062 %.
    assert result.halts["value_pct"].tolist() == pytest.approx([200.0 / 97.0])


def test_each_session_may_lose_anew():
    result = run({"A": [100, 100, 95, 90, 90], "B": [50.0] * 5}, {"A": [0.5], "B": [None, None, 0.1, 0.1, 0.1]},
                 safety=controls(max_daily_loss_pct=2.0))
    assert result.halts["time"].tolist() == [days(5)[2], days(5)[3]]
    assert [f[:3] for f in fills(result)] == [(1, "A", "buy")]  # B's third decision, at bar 4, is the last bar's
    assert fates(result)[-1][2] == "working"


# --- Orders and positions ---------------------------------------------------------------------------------------------

def test_the_daily_limit_counts_entries_and_exits_are_free():
    cells = {"A": [100.0] * 5, "B": [100.0] * 5, "C": [100.0] * 5}
    result = run(cells, {"A": [0.1, None, 0.0], "B": [0.1, None, 0.0], "C": [0.1, 0.1, None]},
                 safety=controls(max_orders_per_day=2), risk=botlib.Risk(max_position_pct=100.0))
    # A and B; C is the third. The next session has room for it. Brackets count once, exits not at all.
    assert [f[:3] for f in fills(result)] == [(1, "A", "buy"), (1, "B", "buy"), (2, "C", "buy"),
                                              (3, "A", "sell"), (3, "B", "sell")]
    assert fates(result)[2] == ("entry", 100.0, "rejected", "daily order limit")


def test_refused_orders_do_not_count():
    # B does not fit; C is the second accepted one.
    cells = {"A": [100.0] * 3, "B": [100.0] * 3, "C": [100.0] * 3}
    result = run(cells, {"A": [0.6], "B": [0.6], "C": [0.3]}, safety=controls(max_orders_per_day=2))
    assert result.positions.to_dict() == {"A": 600.0, "B": 0.0, "C": 300.0}


@pytest.mark.parametrize(("first", "second", "refused"), [
    (buy("A", 60), buy("A", 40), False),
    (buy("A", 60), buy("A", 41), True),                        # what still works counts
    (buy("A", 60, limit=90.0), buy("A", 41), True),
    (sell("A", 60), sell("A", 41), True),
    (sell("A", 60), buy("A", 90), False),                      # each side has its own worst case
    (buy("A", 100), buy("B", 100), False),
    (buy("A", 50), buy("A", 50, stop=101.0), True),            # at its stop: 100 shares * 101
])
def test_no_order_may_exceed_the_position_limit(first, second, refused):
    result = run({"A": [100.0] * 3, "B": [100.0] * 3}, OnBar({0: [first, second]}),
                 safety=controls(max_position_size_pct=10.0),
                 risk=BARE.model_copy(update={"max_position_pct": 10.0, "max_gross_exposure_pct": 400.0}))
    assert fates(result)[0][2] != "rejected"
    assert (fates(result)[1][3] == "position limit") is refused


def test_a_position_counts_at_the_close():
    # 50 at 100, now 150: 7,500 held; 20 more make 10,500 of 102,500 * 10 %.
    risk = BARE.model_copy(update={"max_position_pct": 10.0})
    cells = {"A": [100, 100, 150, 150, 150]}
    more = run(cells, OnBar({0: buy("A", 50), 2: buy("A", 20)}), safety=controls(max_position_size_pct=10.0), risk=risk)
    assert fates(more)[1] == ("entry", 20.0, "rejected", "position limit")
    less = run(cells, OnBar({0: buy("A", 50), 2: buy("A", 18)}), safety=controls(max_position_size_pct=10.0), risk=risk)
    assert less.positions["A"] == 68.0  # 10,200


def test_without_limits_nothing_halts():
    result = run({"A": [100, 100, 50, 10, 10]}, {"A": [0.5]}, safety=None)
    assert result.halts.empty


def test_costs_count_towards_the_limits():
    # 1,000 shares at a 500 bps worse price: 5,000 down on the first day.
    result = run({"A": [100.0] * 4}, {"A": [1.0]}, safety=controls(max_drawdown_pct=5.0),
                 costs=FREE.model_copy(update={"slippage_bps": 500.0}))
    assert result.halts["time"].tolist() == [days(4)[1]]
