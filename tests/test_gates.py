"""The gates of a session's orders: each refuses and each passes, nothing unknown adds risk, and exits get out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botlib import safety
from botlib.errors import InputError
from botlib.gates import ENTRY_RULES, EXIT_RULES, Gate, OrderState, validate
from botlib.order_state import average_volume, usual_data_age
from botlib.safety import SafetyControls

NAN, INF = math.nan, math.inf

# Every limit is on, and the order below stands at each of them exactly: 100 more at $50 make 200 * 50 = 10,000, 10 % of
# equity; it is worth 5,000; 60,000 + 5,000 + 5,000 are 70 % gross; 100 shares are 1 % of 10,000.
LIMITS = SafetyControls(max_position_size_pct=10.0, max_orders_per_day=100, max_order_value=5_000.0,
                        max_gross_exposure_pct=70.0, price_collar_pct=20.0, max_data_age_seconds=60.0, max_adv_pct=1.0,
                        exits_alarm_per_day=3)
UNNAMED_AGE = LIMITS.model_copy(update={"max_data_age_seconds": None})
ENTRY = OrderState(
    symbol="AAPL", adds_risk=True, side="buy", qty=100.0, price=50.0, last_good_price=50.0, position=50.0,
    working_same_side_qty=50.0, working_exits_qty=0.0, state=safety.ACTIVE, latched=False, account_blocked=False,
    unexplained_jump=False,
    orders_today=99, exits_today=0, equity=100_000.0, data_age_seconds=60.0, usual_data_age_seconds=60.0,
    gross=60_000.0, working_gross=5_000.0, account_equity=100_000.0, adv=10_000.0)
EXIT = OrderState(symbol="AAPL", adds_risk=False, side="sell", qty=60.0, position=100.0, working_exits_qty=40.0,
                  exits_today=0)
FIELDS = [field.name for field in dataclasses.fields(OrderState)]
OF_EXITS = ["side", "qty", "position", "working_exits_qty"]
OF_ENTRIES = [name for name in FIELDS if name not in {"symbol", "working_exits_qty", "exits_today"}]


def with_(state: OrderState, /, **values) -> OrderState:
    return dataclasses.replace(state, **values)


# --- Each gate, both ways ---------------------------------------------------------------------------------------------

# rule: (what makes it refuse, what just passes)
ENTRY_LIMITS = {
    "halted": [({"state": safety.HALTED}, {"state": safety.ACTIVE}), ({"latched": True}, {"latched": False})],
    "reduce-only": [({"state": safety.REDUCE_ONLY}, {"state": safety.ACTIVE})],
    "account-blocked": [({"account_blocked": True}, {"account_blocked": False})],
    "unadjusted-split": [({"unexplained_jump": True}, {"unexplained_jump": False})],
    "price-collar": [({"price": 50.0, "last_good_price": 40.0}, {"price": 50.0, "last_good_price": 42.0}),
                     ({"price": 39.9}, {"price": 40.0})],
    "data-age": [({"data_age_seconds": 60.1}, {"data_age_seconds": 59.9})],
    "order-limit": [({"orders_today": 100}, {"orders_today": 99})],
    "position-limit": [({"position": 50.1}, {"position": 49.9}),
                       ({"working_same_side_qty": 51.0}, {"working_same_side_qty": 49.0}),
                       ({"equity": 99_999.0}, {"equity": 100_001.0}),
                       ({"price": 50.1}, {"price": 49.9}),
                       ({"side": "sell", "position": -51.0}, {"side": "sell", "position": -50.0}),
                       # Worst case of its own side: a short is not netted against what is bought.
                       ({"side": "buy", "position": -500.0, "working_same_side_qty": 101.0},
                        {"side": "buy", "position": -500.0, "working_same_side_qty": 100.0})],
    "order-value": [({"qty": 100.1, "position": 0.0}, {"qty": 99.9, "position": 0.0})],
    "gross-exposure": [({"gross": 60_001.0}, {"gross": 59_999.0}),
                       ({"working_gross": 5_001.0}, {"working_gross": 4_999.0}),
                       ({"account_equity": 99_999.0}, {"account_equity": 100_001.0})],
    "average-volume": [({"adv": 9_999.0}, {"adv": 10_001.0}), ({"adv": 0.0}, {"adv": 10_000.0})],
}
EXIT_LIMITS = {
    "exit-side": [({"side": "buy"}, {"side": "sell"}), ({"position": 0.0}, {}), ({"position": -100.0}, {}),
                  ({"side": "sell", "position": -100.0}, {"side": "buy", "position": -100.0})],
    "exit-size": [({"qty": 60.000000001}, {"qty": 60.0}), ({"working_exits_qty": 40.1}, {"working_exits_qty": 39.9}),
                  ({"working_exits_qty": 101.0}, {"working_exits_qty": 0.0}),
                  # 0.3 - 0.1 is 0.19999999999999998 in binary
                  ({"position": 0.3, "working_exits_qty": 0.1, "qty": 0.200000001},
                   {"position": 0.3, "working_exits_qty": 0.1, "qty": 0.2})],
}


def unknown(rules, base):
    """Of each rule that asks whether a field is known: the field taken away, and the field as it was."""
    names = {rule.name: rule.name.removeprefix("unknown-").replace("-", "_")
             for rule in rules if rule.name.startswith("unknown-")}
    return {rule: [({field: None}, {field: getattr(base, field)})] for rule, field in names.items()}


ENTRY_CASES = ENTRY_LIMITS | unknown(ENTRY_RULES, ENTRY)
EXIT_CASES = EXIT_LIMITS | unknown(EXIT_RULES, EXIT)
CASES = [(kind, base, rule, *case)
         for kind, base, cases in (("entry", ENTRY, ENTRY_CASES), ("exit", EXIT, EXIT_CASES))
         for rule, pairs in cases.items() for case in pairs]


@pytest.mark.parametrize(("rules", "cases"), [(ENTRY_RULES, ENTRY_CASES), (EXIT_RULES, EXIT_CASES)])
def test_every_gate_has_its_false_branch_below(rules, cases):
    assert {rule.name for rule in rules} == set(cases)
    assert len({rule.name for rule in rules}) == len(rules)


@pytest.mark.parametrize(("kind", "base", "rule", "refused", "passes"), CASES,
                         ids=[f"{case[0]}-{case[2]}-{i}" for i, case in enumerate(CASES)])
def test_a_gate_refuses_and_passes(kind, base, rule, refused, passes):
    controls = UNNAMED_AGE if rule == "unknown-usual-data-age-seconds" else LIMITS
    gate = validate(controls, with_(base, **refused))
    assert (gate.ok, gate.rule) == (False, rule)
    assert gate.reason.startswith(f"{with_(base, **refused).side or ''} AAPL refused, {rule}: ".lstrip())
    assert gate.reason.endswith(".") and "nan" not in gate.reason
    assert validate(controls, with_(base, **passes)) == Gate(True)


def test_whether_it_adds_risk_must_be_known():
    for value in (None, NAN, 0, 1, "no"):
        assert validate(LIMITS, with_(EXIT, adds_risk=value)).rule == "unknown-adds-risk"
    assert validate(LIMITS, with_(EXIT, adds_risk=np.bool_(False))).ok
    assert validate(LIMITS, with_(ENTRY, adds_risk=np.bool_(True))).ok


def test_the_reason_says_what_and_how_much():
    assert validate(LIMITS, with_(ENTRY, position=100.0)).reason == (
        "buy AAPL refused, position-limit: it could bring the position to 12.50 % of equity; max_position_size_pct is "
        "10.")
    assert validate(LIMITS, with_(EXIT, qty=61)).reason == (
        "sell AAPL refused, exit-size: 61 shares are more than the 60 that are held and not on their way out already.")


def test_the_controls_answer_in_short():
    assert LIMITS.validate(ENTRY) == (True, "")
    ok, reason = LIMITS.validate(with_(ENTRY, latched=True))
    assert not ok and reason == "buy AAPL refused, halted: trading is halted; only a person lifts that."
    with pytest.raises(InputError, match=r"state is a dict; it must be botlib\.gates\.OrderState"):
        LIMITS.validate({"qty": 1})


def test_a_halt_is_said_before_anything_that_is_not_known():
    assert validate(LIMITS, OrderState(adds_risk=True, state=safety.HALTED, latched=True)).rule == "halted"


# --- Limits that are off ----------------------------------------------------------------------------------------------

def test_a_limit_that_is_off_needs_nothing_but_takes_no_nonsense():
    off = SafetyControls()
    bare = with_(ENTRY, gross=None, working_gross=None, account_equity=None, adv=None, qty=50.0)
    assert validate(off, bare).ok
    assert validate(off, with_(bare, gross=1e9, working_gross=1e9, account_equity=1.0, adv=1.0)).ok
    for name in ("gross", "working_gross", "account_equity", "adv"):
        for value in (NAN, INF, -1.0, "many", True):
            assert validate(off, with_(bare, **{name: value})).rule == "unknown-" + name.replace("_", "-")


def test_a_named_data_age_counts_instead_of_the_usual_one():
    stale = with_(ENTRY, data_age_seconds=50.0, usual_data_age_seconds=45.0)
    assert validate(LIMITS, stale).ok
    assert validate(UNNAMED_AGE, stale).rule == "data-age"
    assert validate(UNNAMED_AGE, with_(stale, usual_data_age_seconds=50.0)).ok
    assert validate(LIMITS, with_(stale, usual_data_age_seconds=None)).ok


@pytest.mark.parametrize("name", ["max_order_value", "max_gross_exposure_pct", "price_collar_pct", "max_adv_pct",
                                  "max_data_age_seconds", "max_position_size_pct"])
def test_a_limit_that_is_no_number_lets_nothing_pass(name):
    assert not validate(LIMITS.model_copy(update={name: NAN}), ENTRY).ok  # the only way to make one


# --- Nothing unknown adds risk (46, 47, 49, invariant 9) --------------------------------------------------------------

WRONG = [None, NAN, INF, -INF, "100", [], 10**400]
MORE_WRONG = {"position": [True], "symbol": [], "adds_risk": [-1, 1], "latched": [0, 1], "account_blocked": [0, 1],
              "unexplained_jump": [0, 1]}


@pytest.mark.parametrize("controls", [LIMITS, UNNAMED_AGE])
@pytest.mark.parametrize("name", OF_ENTRIES)
def test_no_order_adds_risk_on_what_is_not_known(name, controls):
    if name == "usual_data_age_seconds" and controls is LIMITS:
        wrong = [NAN, INF, -1.0]  # None: a limit is named
    else:
        wrong = [*WRONG, *MORE_WRONG.get(name, [-1.0, True])]
    for value in wrong:
        gate = validate(controls, with_(ENTRY, **{name: value}))
        assert not gate.ok and gate.rule == "unknown-" + name.replace("_", "-"), value


spoiled = st.dictionaries(st.sampled_from(OF_ENTRIES), st.sampled_from([*WRONG, -3.0]), min_size=1)


@given(spoiled.filter(lambda wrong: set(wrong) != {"position"} or wrong["position"] != -3.0))
def test_no_order_adds_risk_on_several_things_that_are_not_known(wrong):
    assert not validate(UNNAMED_AGE, with_(ENTRY, **wrong)).ok


anything = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.sampled_from(["", "buy", "x"]))
shares = st.floats(1e-6, 1e8).map(lambda q: round(q, 6))


plausible = st.one_of(st.floats(0.0, 200.0), st.floats(30.0, 60.0), st.floats(-200.0, 1e5), anything)


@given(st.dictionaries(st.sampled_from([name for name in FIELDS if name not in {"symbol", "adds_risk", "side"}]),
                       plausible, max_size=4), st.sampled_from(["buy", "sell"]))
def test_whatever_passes_is_within_the_limits(values, side):
    state = with_(ENTRY, side=side, **values)
    if validate(LIMITS, state).ok:
        worst = max(state.price, state.last_good_price)
        on_side = max(0.0, state.position if side == "buy" else -state.position)
        assert (on_side + state.working_same_side_qty + state.qty) * worst <= 0.1 * state.equity * (1 + 1e-6)
        assert state.qty * worst <= 5_000.0 * (1 + 1e-6) and state.qty <= 0.01 * state.adv * (1 + 1e-6)
        assert state.gross + state.working_gross + state.qty * worst <= 0.7 * state.account_equity * (1 + 1e-6)
        assert 0.0 <= state.data_age_seconds <= 60.0
        assert 0.8 - 1e-6 <= state.price / state.last_good_price <= 1.2 + 1e-6
        assert state.state == 0 and not state.latched and not state.account_blocked and 0 <= state.orders_today < 100


@given(shares, shares, st.booleans(), st.fixed_dictionaries({
    name: anything for name in FIELDS if name not in {*OF_EXITS, "symbol", "adds_risk"}}))
def test_an_exit_of_what_is_held_always_passes(quantity, more, short, others):
    held = round(quantity + more, 6)
    state = OrderState(adds_risk=False, side="buy" if short else "sell", qty=quantity, working_exits_qty=more,
                       position=-held if short else held, **others)
    assert validate(LIMITS, state).ok
    assert not validate(LIMITS, with_(state, qty=round(quantity + held * 1e-6 + 1e-6, 6))).ok


@pytest.mark.parametrize("name", OF_EXITS)
def test_no_exit_is_sent_on_what_is_not_known(name):
    for value in [*WRONG, True]:
        assert validate(LIMITS, with_(EXIT, **{name: value})).rule == "unknown-" + name.replace("_", "-"), value


# --- Schedules (invariants 6 and 7) -----------------------------------------------------------------------------------

step = st.tuples(st.sampled_from(["buy", "sell", "fill", "cancel"]), st.integers(1, 150), st.integers(0, 10**6))


@given(st.lists(step, max_size=60))
def test_no_order_of_events_exceeds_the_limits(schedule):
    """Orders are sent when the gate says so, fill or end in any order, and every position stays within the limit."""
    controls = SafetyControls(max_position_size_pct=10.0, max_orders_per_day=20)  # 200 shares at $50 of 100,000
    position, working, sent = 0, [], 0
    for what, quantity, pick in schedule:
        if what in {"buy", "sell"}:
            same = sum(q for side, q in working if side == what)
            state = with_(ENTRY, side=what, qty=quantity, position=position, working_same_side_qty=same,
                          orders_today=sent)
            if validate(controls, state).ok:
                working.append((what, quantity))
                sent += 1
        elif working:
            side, quantity = working.pop(pick % len(working))
            if what == "fill":
                position += quantity if side == "buy" else -quantity
        assert abs(position) <= 200 and sent <= 20
        assert position + sum(q for side, q in working if side == "buy") <= 200 or position <= 0
        assert -position + sum(q for side, q in working if side == "sell") <= 200 or position >= 0


# --- The runaway alarm ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("exits", "alarm"), [(0, False), (2, False), (3, True), (1_000, True), (None, True),
                                              (NAN, True), (-1, True)])
def test_many_exits_raise_an_alarm_and_pass(exits, alarm):
    gate = validate(LIMITS, with_(EXIT, exits_today=exits))
    assert gate.ok and bool(gate.alarm) is alarm
    assert not alarm or gate.alarm.startswith("AAPL has had")


def test_an_entry_raises_no_such_alarm():
    assert validate(LIMITS, with_(ENTRY, exits_today=1_000)).alarm == ""


# --- What fills the snapshot ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("interval", "session", "age"), [
    (60.0, None, 180.0), (900.0, None, 2_700.0), (3_600.0, 1.0, 10_800.0),
    (86_400.0, 86_400.0, 86_400.0), (86_400.0, 259_200.0, 259_200.0),  # over a weekend
    (86_400.0, None, NAN), (86_400.0, NAN, NAN), (NAN, 1.0, NAN), (0.0, None, NAN), (INF, 1.0, NAN),
])
def test_the_usual_data_age(interval, session, age):
    assert usual_data_age(interval, session) == pytest.approx(age, nan_ok=True)


def test_the_average_volume_is_of_the_last_twenty_days():
    volumes = [1e9, *[100.0] * 10, *[200.0] * 10]
    assert average_volume(volumes) == average_volume(np.array(volumes)) == 150.0
    assert average_volume(volumes[:19]) is None and average_volume([]) is None
    assert average_volume([*volumes, NAN]) is None and average_volume([*volumes, -1.0]) is None
    assert average_volume([NAN, *volumes]) == 150.0
