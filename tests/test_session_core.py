"""What holds after every pass of any session: shares, money, orders, exposure, memory of what was; and the gates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from exchange_helpers import daily
from hypothesis import given
from hypothesis import strategies as st
from session_helpers import WIDE, Stage, again, at, core_of, decide, filled, grow, says, send
from test_booking import LEGS, LIST, begun, lots
from test_exchange_parity import COSTS, named, risk_of
from test_session_parity import Targets, as_traded, examples, stage
from worlds import worlds

from botlib import engine
from botlib.brokers.base import AccountInfo, MarketClock
from botlib.safety import SafetyControls
from botlib.session.checking import usual_age
from botlib.session.guarding import Guard
from botlib.session.observing import Facts
from botlib.session.planning import plan
from botlib.watch import Mark, Watch

pytestmark = pytest.mark.slow  # whole sessions

LIMITS = SafetyControls(max_position_size_pct=40.0, max_drawdown_pct=6.0, max_daily_loss_pct=2.0, max_orders_per_day=4,
                        price_collar_pct=90.0)


def look(played: Stage, _report) -> None:
    """The invariants, from the exchange and the ledger, and not from what the session says of itself."""
    x, core, started = played.exchange, played.core, played.started
    ledger, number = started.repository, started.ledger_id
    at_broker = {s: p.qty for s, p in x.positions.items()}
    # 1: shares
    assert core.positions() == at_broker
    fills = ledger.fills(number)
    told = [(a.order_id, a.symbol, a.side * a.qty, a.price) for a in x.activities if a.type == "FILL"]
    signed = np.where(fills["side"] == "buy", 1.0, -1.0) * fills["qty"]
    assert sorted(zip(fills["order_id"], fills["symbol"], signed, fills["price"])) == sorted(told)
    # 2: money
    moved = sum(a.net_amount for a in x.activities if a.type != "FILL")
    assert x.cash == pytest.approx(played.cash - float((signed * fills["price"]).sum()) + moved, abs=0.01)
    assert float(core.book["cash"]) == pytest.approx(x.cash, abs=0.01)
    # 3 and 4: every order has its intent, written down before, and does no more than that
    sent = [o for o in x.orders.values() if o.parent is None and o.order_class != "leg" and o.group_role in (
        "", "entry") or o.client_order_id.startswith("botlib")]
    names = [o.client_order_id for o in sent]
    assert len(set(names)) == len(names)
    for order in sent:
        intent = ledger.intent(order.client_order_id)
        assert intent is not None, order.client_order_id
        assert intent.created <= pd.Timestamp(order.created_at, tz="UTC")
        if played.bars.actions is None or not len(played.bars.actions):
            assert order.filled_qty <= intent.qty + 1e-9
    # 6: exposure of each side, with all that is on its way
    t = x.bar
    for n, symbol in enumerate(played.bars.symbols):
        entries = [o for o in x.book.working if o.open and not o.closes and o.symbol == symbol]
        for side in (1, -1):
            coming = sum(o.left for o in entries if o.side == side)
            close = played.bars.close[t, n]
            if coming and close > 0.0:
                exposure = (max(0.0, side * at_broker.get(symbol, 0.0)) + coming) * close
                assert exposure <= 0.4 * x.equity * 1.02 + 1.0


@examples(6)
@given(world=worlds(volumes=True), legs=st.sampled_from(["both", "stop", "none"]), costs=st.sampled_from(sorted(COSTS)),
       partial=st.sampled_from([0.0, 50.0]), ordered=st.booleans(), halves=st.booleans())
def test_what_holds_after_every_pass(world, legs, costs, partial, ordered, halves):
    """Executions in parts, restarts, passes in the middle of bars: whatever comes, the books agree."""
    bars, targets = as_traded(world)
    if len(bars) < 4:
        return
    rng = np.random.default_rng(world.seed)
    with stage(bars, named(world.seed) if ordered else Targets(targets), first=1 + int(rng.integers(2)), look=look,
               partial=partial, halves=halves, seed=world.seed % 1000, whole=rng.choice(len(bars), 2).tolist(),
               rebuilt=rng.choice(len(bars), 3).tolist(),
               values={"risk": risk_of(legs), "costs": COSTS[costs], "safety": LIMITS}) as played:
        played.play()
        watched = played.started.repository.equity(played.started.ledger_id)
        assert (watched["peak"].diff().dropna() >= -1e-9).all()  # 8: nothing was paid out, so no peak ever falls


@examples(3)
@given(world=worlds(volumes=True), legs=st.sampled_from(["both", "none"]))
def test_restarts_leave_no_trace_in_safety_and_the_same_run_has_the_same_events(world, legs):
    """8 and 10: peak, day start, counters and the whole event log, with restarts and without."""
    bars, targets = as_traded(world)
    if len(bars) < 4:
        return
    seen, events = [], []
    for whole in ((), (1, 2, 3, len(bars) - 2), ()):
        with stage(bars, Targets(targets), first=2, seed=5, whole=whole,
                   values={"risk": risk_of(legs), "costs": COSTS["paid"], "safety": LIMITS}) as played:
            played.play()
            store, number = played.started.repository, played.started.ledger_id
            table = store.equity(number)
            seen.append(table[["equity", "peak", "day_start", "state"]].to_numpy().tolist())
            row = store.safety(number)
            seen[-1].append([row.peak, row.day_start, row.orders_today, row.latched])
            log = store.events(number)
            log = log[~log["kind"].isin(["session-started", "session-ended", "recovered"])]
            events.append([(str(a), b, str(c)) for a, b, c in zip(log["time"], log["kind"], log["data"])])
    assert seen[0] == seen[1] == seen[2]
    assert events[0] == events[2]


def test_a_target_of_nan_and_a_symbol_without_a_price_send_nothing():
    """9"""
    bars = daily(*LIST[:1], None, BBB=LIST[:2])
    core = core_of(bars, risk=LEGS, safety=LIMITS)
    decide(core, AAA=0.1, BBB=float("nan"))
    assert not plan(core, at("2024-03-05 16:20")).submits


def test_a_long_session_keeps_its_book_small_and_forgets_nothing_of_use():
    """Thousands of round trips: the dead are let go, what is held and counted stays."""
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 100.0, 100.0))
    says(core, "entry1", "filled", filled_qty=100.0)
    core.tidy()
    before, most = core.state(), 0
    for _ in range(1500):
        engine.submit_order(core.book.world, core.t, 0, 1, 5.0, 1, 99.0, 0.0)
        core.number_orders()
        for intent in plan(core, at("2024-03-05 16:20")).submits:
            core.record(intent)
            core.dropped(intent, "test")
        core.tidy()
        most = max(most, core.book["n_orders"])
    assert most <= 1200 and core.next_uid > 1500
    assert lots(core) == [(100.0, 100.0, True)]
    after = core.state()
    assert after["working"] == before["working"] and after["book"]["lots"] == before["book"]["lots"]
    assert len(core.entered) == 1 and len(core._attempts) < 1200
    core.fill(filled("entry1/sl", 100.0, 95.0, side="sell"))
    assert core.trips[-1].entry_time == at("2024-03-06 09:30")


# --- Gates ------------------------------------------------------------------------------------------------------------


def facts(**changes) -> Facts:
    dollars = dict.fromkeys(("cash", "equity", "last_equity", "buying_power"), 100_000.0)
    nothing = dict.fromkeys(("long_market_value", "short_market_value", "initial_margin", "maintenance_margin"), 0.0)
    no = dict.fromkeys(("trading_blocked", "account_blocked", "trade_suspended_by_user"), False)
    account = AccountInfo(**{"account_id": "a", "account_number": "1", "status": "ACTIVE", "currency": "USD",
                             "multiplier": 4.0, "shorting_enabled": True} | dollars | nothing | no | changes)
    now = at("2024-03-05 16:21")
    clock = MarketClock(time=now, is_open=False, next_open=at("2024-03-06 09:30"), next_close=at("2024-03-06 16:00"))
    return Facts(time=now, clock=clock, orders=(), fills=(), activities=(), positions={}, account=account)


def gate_of(controls, watch=None, told=None, externals=None, weight=0.1, bars=None, final="2024-03-05 16:20",
            jumped=()):
    core = core_of((bars or daily(*LIST)).upto(1), risk=LEGS)
    decide(core, AAA=weight)
    [intent] = plan(core, at("2024-03-05 16:20")).submits
    if watch is None:
        watch = Watch.start(100_000.0, pd.Timestamp("2024-03-05").date())
        for when in ("2024-03-04 16:20", "2024-03-05 16:20"):
            watch = watch.closed(controls, Mark(cash=100_000.0, positions={}, prices={"AAA": (100.0, at(when))}),
                                 watch.day, 100_000.0)
    return Guard(core, told or facts(), controls, final=at(final), session_seconds=86_400.0,
                 externals=externals or {}, jumped=jumped).gate(intent, watch)


@pytest.mark.parametrize(("limit", "interval", "session", "seconds"), [
    (None, "15m", 86_400.0, 2_700.0), (None, "1h", None, 10_800.0),  # three bars
    (None, "1d", 259_200.0, 259_200.0),  # from Friday's close to Monday's
    (7.0, "15m", 86_400.0, 7.0), (7.0, "1d", None, 7.0),  # as the limit says
])
def test_an_entry_and_the_hold_know_one_age_of_data(limit, interval, session, seconds):
    assert usual_age(SafetyControls(max_data_age_seconds=limit), interval, session) == seconds


def test_an_order_in_order_passes_all_gates():
    assert gate_of(WIDE).ok


@pytest.mark.parametrize(("rule", "changes"), [
    ("position-limit", {"max_position_size_pct": 5.0}), ("order-value", {"max_order_value": 9_999.0}),
    ("gross-exposure", {"max_gross_exposure_pct": 9.0}), ("unknown-adv", {"max_adv_pct": 0.25}),
    ("data-age", {"max_data_age_seconds": 59.0})])
def test_each_limit_refuses(rule, changes):
    """12: the false branch of each gate that a limit opens or closes."""
    thin = daily(*[(100.0, 101.0, 99.0, 100.0, 500.0)] * 8)
    gate = gate_of(WIDE.model_copy(update=changes), bars=thin)
    assert not gate.ok and gate.rule == rule


def test_states_and_counts_refuse():
    ready = Watch.start(100_000.0, pd.Timestamp("2024-03-05").date())
    assert gate_of(WIDE, ready.kill("test")).rule == "halted"
    assert gate_of(WIDE, ready.held("test", "test")).rule == "reduce-only"
    assert not gate_of(WIDE, ready).ok  # no good price was ever seen
    limited = WIDE.model_copy(update={"max_orders_per_day": 1})
    assert gate_of(limited).ok
    assert gate_of(WIDE, jumped={"BBB"}).ok and gate_of(WIDE, jumped={"AAA"}).rule == "unadjusted-split"
    assert gate_of(WIDE, told=facts(trading_blocked=True)).rule == "account-blocked"
    assert not gate_of(WIDE.model_copy(update={"max_gross_exposure_pct": 50.0}), externals={"ZZZ": 5.0}).ok  # no price


def test_orders_on_their_way_count_against_gross_exposure_at_the_last_close_there_is():
    """A symbol whose working entry was decided before it stopped printing has a value all the same."""
    bars = daily(*LIST[:3], BBB=[*LIST[:2], None])
    core = core_of(bars.upto(1), risk=LEGS)
    decide(core, BBB=0.1)
    send(core)
    core.extend(bars)
    guard = Guard(core, facts(), WIDE, final=at("2024-03-06 16:20"), session_seconds=86_400.0, externals={},
                  jumped=())
    assert guard._working_gross(set()) == 10_000.0
    assert guard._working_gross({0}) == 0.0  # without itself


def test_protection_of_all_that_is_held_passes_while_other_lots_are_protected():
    bars = daily(*LIST)
    core = begun(bars=bars)
    core.fill(filled("entry1", 40.0, 100.0))
    grow(core, bars, 2)
    core.fill(filled("entry1", 20.0, 100.0, 60.0, time="2024-03-06 16:21"))
    for order_id in list(core.links):
        says(core, order_id, "canceled")
    core.tidy()
    watch = Watch.start(100_000.0, pd.Timestamp("2024-03-06").date())
    for intent in plan(core, at("2024-03-06 16:22")).protections:
        core.record(intent)
        guard = Guard(core, facts(), WIDE, final=at("2024-03-06 16:20"), session_seconds=86_400.0, externals={},
                  jumped=())
        assert guard.gate(intent, watch).ok
    assert again(core).positions() == {"AAA": 60.0}
