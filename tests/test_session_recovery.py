"""A ledger that cannot be written, a database that is behind, and what people ask for: what a session makes of it."""

from __future__ import annotations

import functools
import resource
import shutil
import sqlite3
import threading
import time
from contextlib import contextmanager

import pandas as pd
import pytest
from session_world import STRATEGY, WIDE, World, clean, folder  # noqa: F401

from botlib.errors import BrokerUnavailable, InputError, LeaseRefused, RepositoryError
from botlib.order_request import OrderRequest
from botlib.repository import Repository
from botlib.sandbox.faults import Fault
from botlib.session import making
from botlib.session.recording import Recorder
from botlib.session_config import SessionParams

pytestmark = pytest.mark.slow

# ruff: noqa: F811

ALPACA = SessionParams(venue="alpaca", provider="alpaca", db="mine.sqlite")


def at(bar: int, do):
    """Do something once, when that bar has happened and its pass is over."""
    done = []

    def after(world: World) -> None:
        if world.exchange.bar == bar and not done:
            done.append(bar)
            do(world)

    return after


def failing(monkeypatch: pytest.MonkeyPatch, fails, *, written: bool = False) -> list[int]:
    """Commits that fail by number; ``written``: on disk all the same, and the answer got lost."""
    seen: list[int] = []
    real = Recorder.commit

    @contextmanager
    def commit(self, now):
        seen.append(len(seen) + 1)
        number = len(seen)
        with real(self, now) as tx:
            yield tx
            if fails(number) and not written:
                raise RepositoryError("Database t.sqlite: the disk is full: free some space.")
        if fails(number) and written:
            raise RepositoryError("Database t.sqlite: the connection broke during the commit.", written=None)

    monkeypatch.setattr(Recorder, "commit", commit)
    return seen


# --- 37, 38, 40: what cannot be written is not sent -------------------------------------------------------------------

@pytest.mark.parametrize("written", [False, True], ids=["not-written", "nobody-knows"])
@pytest.mark.parametrize("start", [2, 3, 4])
def test_commits_that_fail_now_and_then(folder, clean, monkeypatch, start, written):
    """Every fifth fails; the session goes on from its ledger, in place, and trades as one that had none of it."""
    world = World(folder, options={"unknown_seconds": 1.0})
    seen = failing(monkeypatch, lambda n: n % 5 == start, written=written)
    summary = world.run()
    assert summary.status == "success" and len(seen) > 30
    assert sum("begins again from the ledger (1 of 3)" in line for line in world.said) > 5
    world.check()
    assert world.fills() == clean.fills()


def test_a_ledger_that_stays_unwritable_ends_the_session(folder, monkeypatch):
    world = World(folder)
    failing(monkeypatch, lambda n: n > 12)
    summary = world.run()
    sent = len(world.ours())
    assert summary.status == "error" and "the disk is full: free some space" in summary.reason
    assert sum("begins again" in line for line in world.said) == 3
    monkeypatch.undo()
    with world.ledger() as repository:
        intents = set(repository.intents(1)["client_order_id"])
    assert sent and {o.client_order_id for o in world.ours()} <= intents
    assert world.run().status == "success"  # with room again
    world.check()


def test_a_full_disk(folder, clean):
    """Nothing is sent whose intent is not on disk; with room again a new start goes on."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = []

    def fill(world: World) -> None:
        before.append(len(world.ours()))
        used = max(path.stat().st_size for path in folder.glob("t.sqlite*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (used // 2, limits[1]))

    world = World(folder)
    world.after = at(10, fill)
    try:
        summary = world.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert summary.status == "error" and ("disk" in summary.reason or "limit on file sizes" in summary.reason)
    assert len(world.ours()) == before[0]
    world.after = None
    assert world.run().status == "success"
    world.check()


def test_a_locked_database(folder, clean, monkeypatch):
    """Another process keeps it locked for longer than a commit waits: a bounded wait, nothing sent, then it goes on."""
    monkeypatch.setattr("botlib.session.starting.Repository", _Hasty)
    world, locks = World(folder), []

    def lock(w: World) -> None:
        other = sqlite3.connect(folder / "t.sqlite", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")

        def free() -> None:  # once the session has noticed
            while not any(kind == "alarm" for kind, _ in w.told):
                time.sleep(0.01)
            other.execute("ROLLBACK")
            other.close()

        locks.append(threading.Thread(target=free))
        locks[0].start()

    world.after = at(10, lock)
    summary = world.run()
    locks[0].join()
    assert summary.status == "success"
    assert any("kept it locked" in line for line in world.said)
    world.check()
    assert world.fills() == clean.fills()


class _Hasty:
    open = staticmethod(functools.partial(Repository.open, busy_seconds=0.1))


# --- 39: behind -------------------------------------------------------------------------------------------------------

def test_an_old_copy_of_the_ledger_refuses_the_start(folder):
    world = World(folder)

    def copy(w: World) -> None:
        with sqlite3.connect(folder / "t.sqlite") as source, sqlite3.connect(folder / "old.sqlite") as target:
            source.backup(target)

    world.after = at(9, copy)
    world.run()
    for path in folder.glob("t.sqlite*"):
        path.unlink()
    shutil.copy(folder / "old.sqlite", folder / "t.sqlite")
    orders = len(world.exchange.orders)
    with pytest.raises(InputError, match=r"(the broker is ahead of this database|that this database does not know)"):
        world.begin()
    assert len(world.exchange.orders) == orders


def test_a_new_ledger_leaves_what_is_held_alone(folder):
    """Another database on the same account, nothing open: the shares there are the user's, and that is told."""
    world = World(folder, at_end="cancel-entries")
    world.params = world.params.model_copy(update={"iterations": 6})
    world.run()
    for order in world.exchange.orders.values():
        if order.open:
            world.exchange.cancel(order.id)
    held = {s: p.qty for s, p in world.exchange.positions.items()}
    assert held
    world.params = world.params.model_copy(update={"db": "other.sqlite", "iterations": 1})
    world.run()
    assert world.session.memory.externals.shares == held
    assert any("not this ledger's and left alone" in line for line in world.said)


# --- what people ask for ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("on_kill", ["keep", "flatten"])
def test_a_kill_latches(folder, on_kill):
    """Entries end at once, legs stay, a restart refuses entries; only clear lifts it, and says what resets."""
    world = World(folder, safety=WIDE.model_copy(update={"on_kill": on_kill}))
    world.params = world.params.model_copy(update={"iterations": 10})
    world.after = at(10, lambda w: w.ask("kill", "enough"))
    summary = world.run()
    world.check()
    with world.ledger() as repository:
        row = repository.safety(1)
        assert row.latched and row.state == "halted" and "kill asked for by somebody: enough" in row.reason
        assert not repository.requests(world.exchange.account_id)
        killed = repository.events(1, kind="kill")["time"].iloc[0]
        later = repository.intents(1, since=killed + pd.Timedelta(hours=1))
        assert not (later["adds_risk"] & ~later["state"].isin(["rejected"])).any()
    assert ("kill", f"KILL: {row.reason}") in world.told
    if on_kill == "flatten":
        assert summary.status == "halted" and summary.exit_code == 3 and not world.exchange.positions
    else:
        assert world.exchange.positions
    before = len(world.ours())
    world.params = world.params.model_copy(update={"iterations": 3})
    world.after = None
    world.run()
    assert any("a kill stands" in line for line in world.said)
    assert not [o for o in world.ours()[before:] if o.side > 0]
    world.ask("clear")
    world.params = world.params.model_copy(update={"iterations": 0})
    assert world.run().status == "success"
    assert any("The kill is lifted. It stood because" in line for line in world.said)
    assert any("The peak that drawdown counts from is reset" in line for line in world.said)
    assert [o for o in world.ours()[before:] if o.side > 0]
    with world.ledger() as repository:
        assert not repository.safety(1).latched and repository.safety(1).state == "active"
    world.check()


def test_a_kill_counts_while_the_broker_is_gone(folder):
    """It is on disk before anything is read, so that the next process knows it."""
    world = World(folder)
    world.params = world.params.model_copy(update={"iterations": 5})
    world.run()
    world.params = world.params.model_copy(update={"iterations": 0})
    started = world.begin()
    world.faults.add(Fault(kind="reset"))
    world.ask("kill")
    with pytest.raises(BrokerUnavailable):
        started.session.step(started.repository.requests(world.exchange.account_id))
    assert started.repository.safety(1).latched and not started.repository.requests(world.exchange.account_id)
    started.close(started.session.time)
    world.faults.clear()
    bought = [o for o in world.ours() if o.side > 0]
    assert world.run().status in ("success", "halted")
    assert [o for o in world.ours() if o.side > 0] == bought
    world.check()


def test_reduce_only_until_cleared(folder):
    world = World(folder)
    asked = {9: "reduce-only", 14: "clear"}
    world.after = lambda w: w.ask(asked.pop(w.exchange.bar)) if w.exchange.bar in asked else None
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        intents = repository.intents(1)
    entries = intents[intents["adds_risk"]]
    refused = entries[entries["reason"] == "reduce-only"]
    assert len(refused) >= 2 and (entries["created"] > refused["created"].max()).any()
    assert any("Entries are not held back any more" in line for line in world.said)


@pytest.mark.parametrize("asked", [9, 10])
def test_flatten_sells_and_goes_on(folder, asked):
    """Also when the strategy wants to buy in the same pass, as on bar 10."""
    world, held = World(folder), {}
    world.after = lambda w: (held.update({w.exchange.bar: len(w.exchange.positions)}),
                             w.ask("flatten") if w.exchange.bar == asked else None)
    assert world.run().status == "success"
    assert held[asked] and not held[asked + 2]  # the next bar's pass sells at the open of the one after it
    assert held[max(held)]
    world.check()


def test_a_stop_counts_for_the_session_that_runs(folder):
    """One that was asked for before the start stops none; one that is asked for now stops this one, without another
    pass."""
    world = World(folder)
    with world.ledger() as repository, repository.writing() as tx:
        tx.request(world.exchange.account_id, "stop", by="earlier", time=pd.Timestamp("2024-03-01", tz="UTC"))
    world.after = at(10, lambda w: w.ask("stop", "lunch"))
    summary = world.run()
    assert summary.status == "user-cancelled" and summary.reason == "stop asked for by somebody: lunch"
    assert world.exchange.bar == 11 and world.session.core.bars.index[-1] == world.bars.index[10]
    world.after = None
    assert world.run().status == "success"
    world.check()


# --- what cannot be explained -----------------------------------------------------------------------------------------

def test_an_unexplained_position_allows_only_exits_and_is_told_once(folder):
    world = World(folder)
    world.after = at(10, lambda w: w.session.memory.externals.add("KO", 5.0))
    summary = world.run()
    assert summary.exit_code == 4 and summary.unexplained
    assert len([1 for kind, text in world.told if kind == "alarm" and text.startswith("KO: the broker has")]) == 1
    with world.ledger() as repository:
        events, intents = repository.events(1, kind="unexplained"), repository.intents(1)
        assert len(events) == len({row["what"] for row in events["data"]})
        assert "reduce-only" in set(intents["reason"])
        with repository.writing() as tx:
            tx.external(1, "KO", -5.0, reason="a person has looked", accepted_by="somebody",
                        time=pd.Timestamp("2024-03-20", tz="UTC"))
    world.params = world.params.model_copy(update={"iterations": 1})
    assert world.run().exit_code == 0
    world.check()


def test_shares_sold_by_hand_are_told_once_with_what_to_do(folder):
    """Half of what the session holds is sold at the broker; days go by, and a start."""
    def sell(world):
        asked = OrderRequest(symbol="AAPL", side="sell", qty=50.0, type="market", time_in_force="day",
                             client_order_id="by-hand")
        for order in world.exchange.orders.values():
            if order.symbol == "AAPL" and order.open:
                world.exchange.cancel(order.id)
        world.exchange.foreign_order(asked)

    world = World(folder, options={"accept": making.accepting(ALPACA, "")})
    world.params = world.params.model_copy(update={"iterations": 12})
    world.after = at(9, sell)
    world.run()
    assert world.run().status == "success"
    (alarm,) = [text for kind, text in world.told if kind == "alarm" and "gone by an order" in text]
    assert alarm == (
        "AAPL: 50 of the session's 101 shares are gone by an order that is not its own; the broker refuses stops and "
        "exits for them. If that was you: python -m botlib stop --db mine.sqlite, then python -m botlib reconcile "
        "--accept --reason \"by hand\" --db mine.sqlite, then start it again.")
    assert world.said.count(f"[ALARM] {alarm}") == 1
    with world.ledger() as repository:
        assert [row["text"] for row in repository.events(1, kind="alarm")["data"]].count(alarm) == 1


def test_an_account_among_several_is_named_in_what_to_type():
    words = making.accepting(ALPACA.model_copy(update={"db": "env:MY DB"}), "swing")
    assert words.count("--db 'env:MY DB' --account swing") == 2
    assert making.accepting(SessionParams(), "swing") == ""  # its exchange cannot be reached from another shell


def test_a_deposit_counts_once_over_a_restart(folder):
    world = World(folder, Fault(kind="deposit", bars=(9, 9), amount=50_000.0))
    world.params = world.params.model_copy(update={"iterations": 8})
    world.run()
    peak = world.session.watch.peak
    world.params = world.params.model_copy(update={"iterations": 1})
    world.run()
    assert 149_000.0 < peak < 156_000.0 and abs(world.session.watch.peak - peak) < 3_000.0
    world.check()


# --- the start, and two sessions --------------------------------------------------------------------------------------

def test_an_account_has_one_session(folder):
    world = World(folder)
    world.begin()
    other = World(folder)
    other.exchange, other.host = world.exchange, world.host
    other.params = other.params.model_copy(update={"db": "other.sqlite"})
    for second in (world, other):  # the same database, and another one on this host
        first = world.started
        with pytest.raises(LeaseRefused, match=r"is being traded by session \w+ \(process \d+ .*since .*Stop it first"):
            second.begin()
        world.started = first
    world.started.close(world.session.time)


def test_a_lost_lease_ends_the_session(folder):
    """Somebody took the account over: nothing more is written or sent."""
    world = World(folder)

    def take(w: World) -> None:
        with sqlite3.connect(folder / "t.sqlite") as other:
            other.execute("UPDATE leases SET session_id = 'another', host = 'elsewhere', takes = takes + 1")

    world.after = at(10, take)
    summary = world.run()
    assert summary.status == "error" and "the lease now belongs to session another" in summary.reason
    assert world.exchange.bar == 11
    with world.ledger() as repository:
        assert repository.equity(1)["iteration"].max() == summary.iterations - 1


# --- 57: an edited strategy -------------------------------------------------------------------------------------------

def test_an_edited_strategy_allows_only_exits_until_it_is_put_back(folder):
    world = World(folder)

    def write(text: str):
        return lambda w: (folder / "turns.py").write_text(text)

    steps = {9: write(STRATEGY.replace("0.1,", "0.2,")), 14: write(STRATEGY)}
    world.after = lambda w: steps.pop(w.exchange.bar)(w) if w.exchange.bar in steps else None
    assert world.run().status == "success"
    world.check()
    assert any("turns.py has been changed since the session began" in line for line in world.said)
    assert any("lifted, strategy-changed" in line for line in world.said)
    with world.ledger() as repository:
        intents = repository.intents(1)
    assert "reduce-only" in set(intents["reason"])


# --- late -------------------------------------------------------------------------------------------------------------

def test_what_was_decided_before_a_crash_is_not_sent_late(folder, monkeypatch):
    """It died between the decision and the intents, and starts again ten minutes after the open."""
    world = World(folder)
    started = world.begin()
    real = type(started.session)._rounds

    def dies(self, *args):
        orders = self.core.book.rows("orders")
        if (orders["status"] == 0).any():
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(type(started.session), "_rounds", dies)
    with pytest.raises(KeyboardInterrupt):
        while True:
            started.session.step()
            world.host.step(1)
    monkeypatch.undo()
    started.close(started.session.time)
    world.host.catch_up(world.host.next_due + 600_000_000_000)
    again = world.begin()
    report = again.session.step()
    assert not report.answers and not world.ours()
    assert {row.state for row in map(again.repository.intent, _ids(again))} == {"missed"}
    again.close(again.session.time)


def _ids(started) -> list[str]:
    return list(started.repository.intents(1)["client_order_id"])


# --- a strategy that fails --------------------------------------------------------------------------------------------

def test_a_strategy_that_raises_leaves_what_is_held_protected(folder):
    """The session ends, once what has filled has its stops."""
    fails = STRATEGY.replace("        turn =", "        assert len(bars) < 14\n        turn =")
    (folder / "turns.py").write_text(fails)
    world = World(folder)
    summary = world.run()
    assert summary.status == "error" and "AssertionError" in summary.reason
    assert world.exchange.positions
    world.check()
    with world.ledger() as repository:
        assert list(repository.decisions(1)["status"])[-1] == "discarded"


@pytest.mark.parametrize(("what", "said"), [
    ("raise SystemExit(0)", "SystemExit: 0"), ("raise KeyboardInterrupt", "KeyboardInterrupt: no message")])
def test_a_strategy_does_not_end_the_process(folder, what, said):
    """Its word for it is a failure like any other: an exit code of 0, or a person's Ctrl-C, would say that all is
    well."""
    fails = STRATEGY.replace("        turn =", f"        if len(bars) == 14:\n            {what}\n        turn =")
    (folder / "turns.py").write_text(fails)
    world = World(folder)
    summary = world.run()
    assert summary.status == "error" and summary.exit_code == 1
    assert summary.reason.startswith("Turns") and said in summary.reason
    assert world.exchange.positions
    world.check()
    last = [line for line in world.said if line.startswith("[PORTFOLIO]")][-1]
    assert "Positions: 0" not in last and "Equity: $0.00" not in last


# --- between two reads of the broker ----------------------------------------------------------------------------------

class Between(World):
    """A bar happens after the open orders have been read and before the executions are."""

    def venue(self):
        venue = super().venue()
        page = venue.broker.activity_page

        def late(*args, **options):
            if self.started is not None and any(o.open and o.side > 0 for o in self.exchange.orders.values()):
                self.host.step(1)
            return page(*args, **options)

        venue.broker.activity_page = late
        return venue


def test_an_order_that_fills_between_two_reads_ends_in_the_ledger_too(folder):
    world = Between(folder)
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        told = repository.orders(1).set_index("order_id")
    filled = [o for o in world.exchange.orders.values() if o.status == "filled"]
    assert len(filled) >= 8
    assert {told.loc[o.id, "status"] for o in filled} == {"filled"}
    assert all(told.loc[o.id, "filled_qty"] == o.filled_qty for o in filled)
