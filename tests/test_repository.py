"""The repository on SQLite and on PostgreSQL: what is written comes back, once, and a change is found."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_helpers import postgres  # noqa: F401
from repository_helpers import NOW, a_fill, an_intent, an_order, later, ledger_of

from botlib.arming import MAX_SESSIONS
from botlib.brokers.base import Activity
from botlib.errors import InputError, RepositoryError
from botlib.repository import Repository, Span, new_parts
from botlib.repository.values import canonical, pack, unpack

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request, tmp_path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "trades.sqlite")
    server = request.getfixturevalue("postgres")
    return server.url(server.database())


@pytest.fixture
def repository(db):
    with Repository.open(db) as found:
        yield found


@pytest.fixture
def ledger(repository) -> int:
    return ledger_of(repository)


# --- Ledgers and sessions ------------------------------------------------------------------------

def test_a_ledger_is_made_once(repository):
    first = repository.ledger("a", "1", venue="sandbox", capital=5e4, time=NOW)
    again = repository.ledger("a", "1", venue="sandbox", capital=9e9, time=later(5))
    assert first == again and first.capital == 50_000.0 and first.created == NOW and first.created.tzinfo is not None
    other = repository.ledger("a", "2", venue="sandbox", capital=None, time=NOW)
    assert other.id != first.id and other.capital is None
    assert [row.epoch for row in repository.ledgers()] == ["1", "2"]
    with pytest.raises(InputError, match="recorded as one of 'sandbox'"):
        repository.ledger("a", "1", venue="alpaca-live", capital=None, time=NOW)
    with pytest.raises(InputError, match="^venue = 'paper': it must be one of sandbox, alpaca-paper, alpaca-live"):
        repository.ledger("a", "1", venue="paper", capital=None, time=NOW)


def test_a_session_is_recorded_from_start_to_end(repository, ledger):
    with repository.writing() as tx:
        tx.session("s-1", ledger, kind="paper", time=NOW, orders="shadow", strategy="cross",
                   params={"fast": 10, "x": 0.1}, limits={"max_drawdown_pct": 5.0}, host="h", pid=7,
                   run_folder="outputs/paper/1")
    running = repository.session("s-1")
    assert (running.status, running.ended, running.params) == ("running", None, {"fast": 10, "x": 0.1})
    with repository.writing() as tx:
        tx.session_ended("s-1", status="halted", reason="drawdown", iterations=3, total_trades=2, total_pnl=-1.25,
                         time=later(9))
    table = repository.sessions(ledger)
    assert table.loc[0, ["status", "reason", "iterations", "total_trades", "total_pnl"]].tolist() == [
        "halted", "drawdown", 3, 2, -1.25]
    assert table.loc[0, "ended"] == later(9) and str(table["ended"].dtype) == "datetime64[ns, UTC]"
    with pytest.raises(RepositoryError, match="no such session is recorded"), repository.writing() as tx:
        tx.session_ended("s-2", status="success", time=NOW)


# --- One transaction -----------------------------------------------------------------------------

def test_an_exception_takes_the_whole_transaction_with_it(repository, ledger):
    with pytest.raises(ZeroDivisionError), repository.writing() as tx:
        an_intent(tx, ledger)
        tx.event(ledger, "intent", {"id": "c-1"}, time=NOW)
        tx.decision(ledger, bar_time=NOW, interval="1d", time=NOW)  # sends what was gathered
        tx.request("account-1", "stop", by="me", time=NOW)
        raise ZeroDivisionError
    assert repository.intent("c-1") is None and repository.requests("account-1") == ()
    assert repository.events(ledger).empty and repository.decisions(ledger).empty
    with repository.writing() as tx:
        assert tx.event(ledger, "intent", time=NOW) == 1
    assert repository.verify(ledger).ok


def test_an_intent_is_recorded_once(repository, ledger):
    with repository.writing() as tx:
        an_intent(tx, ledger)
    with pytest.raises(RepositoryError, match="contradicts what is recorded") as caught, repository.writing() as tx:
        an_intent(tx, ledger, "c-2")
        an_intent(tx, ledger)
    assert caught.value.written is False and repository.intent("c-2") is None


def test_a_bar_is_decided_once(repository, ledger):
    opening = {"cash": 0.1 + 0.2, "stop": [math.nan, 95.5]}
    with repository.writing() as tx:
        number = tx.decision(ledger, bar_time=NOW, interval="1d", time=later(1), known=later(0.5), session_id="s-1",
                             targets={"AAPL": 0.1, "MSFT": math.nan}, opening=opening, feed="iex", bars_hash="abc")
    found = repository.decision(ledger, "1d", NOW)
    assert found.id == number and found.targets == {"AAPL": 0.1, "MSFT": None} and found.known == later(0.5)
    back = repository.opening(number)
    assert back["cash"] == 0.30000000000000004 and math.isnan(back["stop"][0]) and back["stop"][1] == 95.5
    assert repository.decision(ledger, "1h", NOW) is None
    with pytest.raises(RepositoryError, match="contradicts"), repository.writing() as tx:
        tx.decision(ledger, bar_time=NOW, interval="1d", time=later(60), status="missed")


def test_writing_within_writing_is_refused_at_once(repository):
    with repository.writing(), pytest.raises(RepositoryError, match="within writing"), repository.writing():
        pass


def test_what_names_nothing_recorded_is_refused(repository, ledger):
    with pytest.raises(RepositoryError, match=r"no such intent is recorded \(one of c-9\)"), repository.writing() as tx:
        tx.intent_state("c-9", "sent", time=NOW)
    with pytest.raises(RepositoryError, match="no ledger 99"), repository.writing() as tx:
        tx.event(99, "x", time=NOW)
    with pytest.raises(RepositoryError, match="contradicts"), repository.writing() as tx:
        tx.checkpoint(99, {}, time=NOW)


@pytest.mark.parametrize(("write", "words"), [
    (lambda tx, n: an_intent(tx, n, state="open"), "^state = 'open': it must be one of recorded, sent"),
    (lambda tx, n: an_intent(tx, n, purpose="exits"), "did you mean 'exit'"),
    (lambda tx, n: an_intent(tx, n, qty=math.nan), "^qty = nan: the repository takes finite numbers only"),
    (lambda tx, n: an_intent(tx, n, time=pd.Timestamp("2026-01-05")), "^time = 2026-01-05 00:00:00: it has no time"),
    (lambda tx, n: an_intent(tx, n, time=pd.NaT), "^time = NaT"),
    (lambda tx, n: tx.fill(n, a_fill(price=math.inf)), "^price = inf"),
    (lambda tx, n: tx.fill(n, a_fill(qty=-1.0, cum_qty=1.0)), "more than 0 shares"),
    (lambda tx, n: tx.equity(n, time=NOW, equity=math.nan), "^equity = nan"),
    (lambda tx, n: tx.checkpoint(n, {"a": object()}, time=NOW), "^state cannot be recorded as JSON"),
    (lambda tx, n: tx.event(n, "x", {"a": {1: 1, "b": 2}}, time=NOW), "^data cannot be recorded as JSON"),
    (lambda tx, n: tx.arm("a", strategy="s", strategy_hash="", params_hash="", limits={}, sessions=MAX_SESSIONS + 1,
                          until=NOW, time=NOW), "1 to 5 sessions"),  # the second lock on what `arming` allows
])
def test_bad_input_is_named(tmp_path, write, words):
    with Repository.open(tmp_path / "t.sqlite") as repository:
        ledger = ledger_of(repository)
        with pytest.raises(InputError, match=words), repository.writing() as tx:
            write(tx, ledger)


# --- Intents and orders --------------------------------------------------------------------------

def test_an_intent_goes_through_its_states(repository, ledger):
    with repository.writing() as tx:
        an_intent(tx, ledger, request={"qty": 10.0}, uid=3)
        an_intent(tx, ledger, "c-2", adds_risk=False, purpose="exit")
    assert [row.client_order_id for row in repository.open_intents(ledger)] == ["c-1", "c-2"]
    with repository.writing() as tx:
        tx.intent_state("c-1", "sent", time=later(1), sent=later(1))
        tx.intent_state("c-1", "working", time=later(2), order_id="o-1", filled_qty=4.0)
        tx.intent_state("c-1", "filled", time=later(3), filled_qty=10.0)
        tx.intent_state("c-1", "working", time=later(4), filled_qty=4.0, reason="a late message")
        tx.intent_state("c-2", "rejected", time=later(3), reason="not enough \0 shares \ud800")
    row = repository.intent("c-1")
    assert (row.state, row.filled_qty, row.order_id, row.sent, row.uid) == ("filled", 10.0, "o-1", later(1), 3)
    assert row.adds_risk is True and row.request == {"qty": 10.0}
    assert repository.intent("c-2").reason == "not enough  shares ?"
    assert repository.open_intents(ledger) == ()
    assert repository.known_intents(["c-1", "x"]) == {"c-1"} and repository.known_intents([]) == frozenset()
    assert repository.intents(ledger)["state"].tolist() == ["filled", "rejected"]


def test_an_order_only_grows(repository, ledger):
    with repository.writing() as tx:
        tx.order(ledger, an_order(submitted_at=NOW), time=NOW, intent="c-1", role="entry", uid=4)
        tx.order(ledger, an_order(order_id="o-2", status="held", stop_price=95.5), time=NOW)
    assert len(repository.orders(ledger, working=True)) == 2
    with repository.writing() as tx:
        tx.order(ledger, an_order(status="filled", filled_qty=10.0, filled_avg_price=100.25), time=later(2))
        tx.order(ledger, an_order(status="partially_filled", filled_qty=4.0, filled_avg_price=99.0), time=later(3))
    row = repository.orders(ledger, "AAPL").set_index("order_id").loc["o-1"]
    assert (row["status"], row["filled_qty"], row["filled_avg_price"]) == ("filled", 10.0, 100.25)
    assert (row["intent"], row["role"], row["uid"], row["submitted"]) == ("c-1", "entry", 4, NOW)
    working = repository.orders(ledger, working=True)
    assert working["order_id"].tolist() == ["o-2"] and working.loc[0, "stop_price"] == 95.5
    assert len(repository.orders(ledger, limit=1)) == 1


def test_one_order_id_may_stand_in_two_ledgers(repository, ledger):
    """A local exchange starts anew with the same numbers."""
    other = ledger_of(repository, epoch="2")
    with repository.writing() as tx:
        for n in (ledger, other):
            tx.order(n, an_order(), time=NOW)
            assert tx.fill(n, a_fill())
    assert len(repository.fills(ledger)) == len(repository.fills(other)) == 1


# --- Fills ---------------------------------------------------------------------------------------

def test_a_fill_is_recorded_once(repository, ledger):
    with repository.writing() as tx:
        assert tx.fill(ledger, a_fill(4.0, 100.0), purpose="entry", uid=1, bar_time=NOW, session_id="s-1")
        assert not tx.fill(ledger, a_fill(4.0, 100.0))
    with repository.writing() as tx:
        assert not tx.fill(ledger, a_fill(4.0, 100.0, activity_id="told by the activities too"))
        assert tx.fill(ledger, a_fill(6.0, 101.0, 10.0))
        assert not tx.fill(ledger, a_fill(10.0, 100.6, 10.0))
    table = repository.fills(ledger)
    assert table[["qty", "price", "cum_qty"]].to_numpy().tolist() == [[4.0, 100.0, 4.0], [6.0, 101.0, 10.0]]
    assert table.loc[0, "bar_time"] == NOW and table["bar_time"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("known", "new", "parts"), [
    # (after, upto, price) known; (qty, price, cum_qty) new; [(qty, price, cum_qty)] expected, by hand
    ([], (10, 100.0, 10), [(10, 100.0, 10)]),
    ([(0, 4, 100.0)], (10, 100.6, 10), [(6, 101.0, 10)]),           # 10 · 100.60 − 4 · 100 = 6 · 101
    ([(0, 10, 100.6)], (4, 100.0, 4), []),                          # the whole order was told first
    ([(3, 6, 20.0)], (10, 23.0, 10), [(3, 24.285714, 3), (4, 24.285714, 10)]),  # 230 − 60 = 170 for 7
    ([(0, 5, 10.0)], (3, 11.0, 7), [(2, 11.0, 7)]),                 # covers 4 to 7: what 4 to 5 cost is not told
    ([(0, 9, 10.0)], (10, 0.5, 10), [(1, 0.5, 10)]),                # nonsense never makes a price below zero
    ([(0, 0.123456789, 10.0)], (0.3, 10.0, 0.423456789), [(0.3, 10.0, 0.423456789)]),
])
def test_what_a_fill_adds(known, new, parts):
    found = new_parts([Span(*span) for span in known], a_fill(new[0], new[1], new[2]))
    assert [(p.qty, p.price, p.cum_qty) for p in found] == parts


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_any_tellings_of_an_order_count_each_share_once(sizes, data):
    """Executions and averages over their beginnings, in any order and number: the shares and the money add up."""
    prices = data.draw(st.lists(st.integers(50, 150), min_size=len(sizes), max_size=len(sizes)))
    upto = np.cumsum(sizes)
    singles = [a_fill(float(q), float(p), float(c)) for q, p, c in zip(sizes, prices, upto)]
    wholes = [a_fill(float(upto[k]), float(np.dot(sizes[:k + 1], prices[:k + 1]) / upto[k])) for k in range(len(sizes))]
    told = data.draw(st.permutations(singles + wholes))
    known: list[Span] = []
    for fill in told:
        known += [Span(*part.covers, part.price) for part in new_parts(known, fill)]
    known.sort()
    assert all(a.upto == b.after for a, b in zip(known, known[1:])) and known[0].after == 0.0
    assert known[-1].upto == upto[-1]
    money = sum((s.upto - s.after) * s.price for s in known)
    assert money == pytest.approx(float(np.dot(sizes, prices)), abs=1e-3)  # averages are rounded to 6 decimals


def test_fills_of_many_orders_are_read_at_once(repository, ledger):
    with repository.writing() as tx:
        for n in range(600):
            tx.fill(ledger, a_fill(1.0, 1.0, order_id=f"o-{n}"))
    with repository.writing() as tx:
        tx.expect_fills(ledger, [f"o-{n}" for n in range(1_200)])
        assert sum(tx.fill(ledger, a_fill(1.0, 1.0, order_id=f"o-{n}")) for n in range(1_200)) == 600
    assert len(repository.fills(ledger)) == 1_200


# --- Tables --------------------------------------------------------------------------------------

@pytest.fixture
def history(repository, ledger) -> int:
    """20 fills, two at a time, of two symbols; 10 round trips; 10 marks; 10 events."""
    with repository.writing() as tx:
        for n in range(20):
            tx.fill(ledger, a_fill(1.0, 100.0 + n, order_id=f"o-{n}", symbol="AAPL MSFT".split()[n % 2],
                                   time=later(n // 2)))
        for n in range(10):
            tx.round_trip(ledger, symbol="AAPL MSFT".split()[n % 2], side="long", qty=2.0, entry_time=NOW,
                          entry_price=100.0, exit_time=later(n), exit_price=101.0, pnl=float(n) - 3.0, costs=0.5,
                          slippage=0.25, exit_reason="stop")
            tx.equity(ledger, time=later(n), equity=1000.0 + n, iteration=n, positions={"AAPL": n})
            tx.event(ledger, "mark" if n % 2 else "fill", {"n": n}, time=later(n))
            tx.activity(ledger, Activity(activity_id=f"a-{n}", type="DIV", time=later(n), net_amount=1.5))
    return ledger


def test_pages_of_a_history_meet_without_gaps(repository, history):
    pages, before = [], None
    while len(page := repository.fills(history, limit=3, before=before)):
        assert page["time"].is_monotonic_increasing
        pages.insert(0, page)
        before = int(page["id"].iloc[0])
    pd.testing.assert_frame_equal(pd.concat(pages, ignore_index=True), repository.fills(history))
    assert [len(page) for page in pages] == [2, 3, 3, 3, 3, 3, 3]


def test_a_history_is_cut_by_symbol_and_time(repository, history):
    assert repository.fills(history, "MSFT")["price"].tolist() == [101.0 + 2 * n for n in range(10)]
    part = repository.fills(history, since=later(2), until=later(4))
    assert part["price"].tolist() == [104.0, 105.0, 106.0, 107.0]
    assert repository.fills(history, "AAPL", since=later(2), limit=2)["price"].tolist() == [116.0, 118.0]
    assert repository.round_trips(history, "AAPL")["pnl"].tolist() == [-3.0, -1.0, 1.0, 3.0, 5.0]
    assert repository.equity(history, since=later(8))["positions"].tolist() == [{"AAPL": 8}, {"AAPL": 9}]
    assert repository.equity(history, limit=1)["iteration"].tolist() == [9]
    assert repository.events(history, "fill", limit=2)["data"].tolist() == [{"n": 6}, {"n": 8}]
    assert repository.events(history, after=8)["seq"].tolist() == [9, 10]
    assert len(repository.activities(history, until=later(3))) == 3


def test_profit_by_symbol(repository, history):
    table = repository.profit_by_symbol(history)
    assert table.loc["AAPL"].to_dict() == {"trips": 5, "pnl": 5.0, "costs": 2.5, "slippage": 1.25, "won": 3,
                                           "best": 5.0, "worst": -3.0}
    assert table.loc["MSFT", ["pnl", "won"]].tolist() == [10.0, 3]


def test_empty_tables_have_their_columns_and_types(repository, ledger):
    fills = repository.fills(ledger)
    assert len(fills) == 0 and str(fills["time"].dtype) == "datetime64[ns, UTC]" and fills["price"].dtype == "float64"
    assert list(repository.profit_by_symbol(ledger).columns) == [
        "trips", "pnl", "costs", "slippage", "won", "best", "worst"]
    for name in ("round_trips", "equity", "events", "orders", "intents", "decisions", "activities", "externals"):
        assert len(getattr(repository, name)(ledger)) == 0
    assert repository.checkpoint(ledger) is None and repository.safety(ledger) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_state_comes_back_bit_for_bit(value):
    back = unpack(pack({"x": np.array([value, math.nan, math.inf]), "n": np.int64(3)}), "it")
    assert np.array(back["x"][0]).tobytes() == np.array(value).tobytes()
    assert math.isnan(back["x"][1]) and back["x"][2] == math.inf and back["n"] == 3


def test_one_value_has_one_text():
    value = {"b": np.float64(0.1), "a": (1, None), "t": NOW, "n": math.nan, "i": -math.inf, "u": "é\ud800"}
    assert canonical(value) == ('{"a":[1,null],"b":0.1,"i":"-Infinity","n":null,'
                                '"t":"2026-01-05T15:00:00.123456789+00:00","u":"\\u00e9\\ud800"}')


# --- Safety, requests, arms, activities ----------------------------------------------------------

def test_a_latch_stays_until_it_is_cleared(repository, ledger):
    with repository.writing() as tx:
        tx.safety(ledger, state="halted", latched=True, reason="drawdown", peak=1e5, day="2026-01-05", day_start=9e4,
                  orders_today=3, exits_today={"AAPL": 1}, time=NOW)
    with repository.writing() as tx:
        tx.safety(ledger, state="active", latched=False, reason="", peak=2e5, orders_today=4, time=later(1))
    row = repository.safety(ledger)
    assert (row.state, row.latched, row.reason, row.peak, row.orders_today) == ("halted", True, "drawdown", 2e5, 4)
    with repository.writing() as tx:
        tx.safety(ledger, state="active", latched=False, clear=True, time=later(2))
    assert (repository.safety(ledger).state, repository.safety(ledger).latched) == ("active", False)


def test_a_request_is_answered_once(repository):
    with repository.writing() as tx:
        first = tx.request("a", "stop", by="maria", note="lunch", time=NOW)
        second = tx.request("a", "kill", by="maria", time=later(1))
        tx.request("b", "stop", by="maria", time=NOW)
    assert [(r.id, r.kind, r.by) for r in repository.requests("a")] == [
        (first, "stop", "maria"), (second, "kill", "maria")]
    with repository.writing() as tx:
        assert tx.request_handled(first, outcome="stopped", time=later(2))
        assert not tx.request_handled(first, outcome="again", time=later(3))
    assert [r.id for r in repository.requests("a")] == [second]
    assert [r.outcome for r in repository.requests("a", unhandled=False)] == ["stopped", ""]


def test_an_arm_is_spent_session_by_session(repository):
    with repository.writing() as tx:
        arm = tx.arm("a", strategy="s", strategy_hash="h", params_hash="p", limits={"max_drawdown_pct": 5.0},
                     sessions=2, until=later(100), waived=["paper"], time=NOW, version="0.1.0", host="h")
        other = tx.arm("a", strategy="s", strategy_hash="h", params_hash="p", limits={}, sessions=1, until=later(100),
                       time=NOW)
    with repository.writing() as tx:
        assert [tx.arm_used(arm, time=later(n)) for n in range(3)] == [True, True, False]
        assert not tx.arm_used(other, time=later(101))
        assert tx.arm_revoked(other, time=later(5)) and not tx.arm_revoked(other, time=later(6))
        assert not tx.arm_used(other, time=later(6))
    first, second = repository.arms("a")
    assert (first.used, first.waived, first.limits, second.used, second.revoked) == (
        2, ["paper"], {"max_drawdown_pct": 5.0}, 0, later(5))


def test_activities_and_externals(repository, ledger):
    dividend = Activity(activity_id="x", type="DIV", time=NOW, symbol="AAPL", net_amount=1.5)
    with repository.writing() as tx:
        assert tx.activity(ledger, dividend, booked=False)
        assert not tx.activity(ledger, dividend, booked=False)
    assert repository.activities(ledger)["booked"].tolist() == [False]
    with repository.writing() as tx:
        assert not tx.activity(ledger, dividend)
        assert tx.external(ledger, "AAPL", -3.0, reason="mine", accepted_by="maria", time=NOW) > 0
    assert repository.activities(ledger)["booked"].tolist() == [True]
    [one] = repository.externals(ledger)
    assert (one.qty, one.accepted_by != "") == (-3.0, True)
    assert repository.externals(ledger, after=one.id) == ()


# --- The chain of events -------------------------------------------------------------------------

def tamper(repository, *statements: str) -> None:
    """As a person would who knows SQL."""
    with repository._engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def loosen(repository) -> list[str]:
    if repository.shown.startswith("postgresql"):
        return ["DROP TRIGGER events_append_only ON events", "DROP TRIGGER events_no_truncate ON events"]
    return ["DROP TRIGGER events_no_update", "DROP TRIGGER events_no_delete"]


@pytest.mark.parametrize("statement", ["UPDATE events SET kind = 'x'", "DELETE FROM events", "TRUNCATE events"])
def test_events_are_append_only(repository, history, statement):
    if "TRUNCATE" in statement and not repository.shown.startswith("postgresql"):
        pytest.skip("SQLite has no TRUNCATE")
    with pytest.raises(Exception, match="events are append-only"):
        tamper(repository, statement)
    assert repository.verify(history).ok and len(repository.events(history)) == 10


@pytest.mark.parametrize(("statement", "first_bad", "words"), [
    ("UPDATE events SET data = '{\"n\":4}' WHERE seq = 4", 4, "event 4 .* is not as it was written"),
    ("UPDATE events SET time_ns = time_ns + 1 WHERE seq = 7", 7, "event 7 .* is not as it was written"),
    ("UPDATE events SET previous = hash WHERE seq = 2", 2, "event 2 does not follow"),
    ("DELETE FROM events WHERE seq = 5", 5, "event 5 is missing"),
    ("DELETE FROM events WHERE seq > 8", 9, "the chain ends with event 8, the ledger says 10"),
    ("DELETE FROM events", 1, "the chain ends with event 0"),
    ("UPDATE fills SET price = 99.5 WHERE id = 3", None, "row 3 of fills is not as it was written"),
    ("UPDATE round_trips SET pnl = pnl + 1 WHERE id = 2", None, "row 2 of round_trips"),
])
def test_a_change_is_found(db, repository, history, statement, first_bad, words):
    tamper(repository, *loosen(repository), statement)
    found = repository.verify(history)
    assert not found.ok and found.first_bad == first_bad
    assert re.search(words, found.problem), found
    if first_bad is not None:  # the end of a chain is checked at every opening
        with pytest.raises(RepositoryError, match="by hand, or the file is damaged"):
            Repository.open(db)


def test_a_chain_rewritten_as_a_whole_belongs_to_no_ledger(repository, history):
    """Events of another ledger, with good hashes, are not this one's."""
    other = ledger_of(repository, epoch="2")
    tamper(repository, *loosen(repository), f"DELETE FROM events WHERE ledger_id = {history}")
    with repository.writing() as tx:
        for n in range(10):
            tx.event(other, "forged", {"n": n}, time=NOW)
    tamper(repository, f"UPDATE events SET ledger_id = {history}")
    assert repository.verify(history).first_bad == 1


def test_what_verify_says_of_a_good_ledger(repository, history):
    found = repository.verify(history)
    assert (found.ok, found.events, found.first_bad, found.problem, found.rows) == (True, 10, None, "", 30)
    with pytest.raises(InputError, match="no such ledger"):
        repository.verify(77)


def test_two_databases_give_one_chain(postgres, tmp_path):  # noqa: F811
    heads = []
    for db in (str(tmp_path / "a.sqlite"), postgres.url(postgres.database())):
        with Repository.open(db) as repository:
            ledger = ledger_of(repository)
            with repository.writing() as tx:
                tx.event(ledger, "fill", {"price": 0.1 + 0.2, "name": "é"}, time=NOW, session_id="s")
                tx.event(ledger, "alarm", time=later(1), level="alarm")
            heads.append(repository.ledgers()[0].head)
    assert heads[0] == heads[1] and len(heads[0]) == 64


# --- Plans and imports ---------------------------------------------------------------------------

def plans(repository, ask) -> list[str]:
    """How SQLite answers what ``ask`` asks: its plan for each statement, as one line."""
    from sqlalchemy import event

    seen = []
    event.listen(repository._engine, "before_cursor_execute", lambda c, u, sql, values, *_: seen.append((sql, values)))
    ask()
    asked = [(words, values) for words, values in seen if words.startswith("SELECT")]
    with repository._engine.connect() as connection:
        rows = [connection.exec_driver_sql("EXPLAIN QUERY PLAN " + words, values).fetchall() for words, values in asked]
    return [" | ".join(row[3] for row in plan) for plan in rows]


@pytest.mark.parametrize("ask", [
    lambda r, n: r.fills(n, limit=100), lambda r, n: r.fills(n, limit=100, before=5),
    lambda r, n: r.fills(n, "AAPL", limit=100), lambda r, n: r.fills(n, since=NOW),
    lambda r, n: r.round_trips(n, limit=100), lambda r, n: r.round_trips(n, "AAPL", limit=100),
    lambda r, n: r.profit_by_symbol(n), lambda r, n: r.equity(n, limit=100), lambda r, n: r.events(n, limit=100),
    lambda r, n: r.events(n, "fill", limit=100), lambda r, n: r.events(n, after=4),
    lambda r, n: r.open_intents(n), lambda r, n: r.orders(n, working=True), lambda r, n: r.orders(n, limit=100),
    lambda r, n: r.requests("a"), lambda r, n: r.intent("c"), lambda r, n: r.decision(n, "1d", NOW),
    lambda r, n: r.intents(n, limit=100), lambda r, n: r.known_intents(["a", "b"]),
])
def test_questions_are_answered_by_an_index(tmp_path, ask):
    """None reads a whole table, and a page of a history is not sorted first."""
    with Repository.open(tmp_path / "t.sqlite") as repository:
        ledger = ledger_of(repository)
        with repository.writing() as tx:
            tx.fill(ledger, a_fill())
        found = plans(repository, lambda: ask(repository, ledger))
    assert found
    for plan in found:
        assert "SCAN" not in plan and "SEARCH" in plan, plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan or "intents_by_state" in plan, plan
        assert "TEMP B-TREE FOR GROUP BY" not in plan, plan


def test_profits_are_summed_within_their_index(tmp_path):
    with Repository.open(tmp_path / "t.sqlite") as repository:
        found = plans(repository, lambda: repository.profit_by_symbol(1))
    assert len(found) == 1 and "COVERING INDEX round_trips_profit" in found[0]


def test_botlib_starts_without_sqlalchemy():
    source = "import sys, botlib, botlib.repository; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
