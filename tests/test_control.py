"""What a person asks of a session from another shell: the decisions, apart from any process or broker."""

from __future__ import annotations

import dataclasses
import datetime as dt
from contextlib import contextmanager
from types import SimpleNamespace

import pandas as pd
import pytest

from botlib import cli_control, control, control_actions, control_reconcile, safety
from botlib.control import Subject, choose, life_of
from botlib.control_reconcile import Answer, answers
from botlib.errors import BotlibError, InputError
from botlib.repository import Repository
from botlib.repository.hosts import Here
from botlib.repository.rows import LeaseRow, LedgerRow, SessionRow
from botlib.session.reopening import Look
from botlib.watch import Watch

NOW = pd.Timestamp("2026-03-02 15:00", tz="UTC")
ME = Here("desk/abcd1234", 4711, "boot-1")


def ledger(number=1, account="account-one", epoch="e"):
    return LedgerRow(id=number, venue="sandbox", account_id=account, epoch=epoch, capital=1e5, created=NOW, events=0,
                     head="")


def session(ended=None, **params):
    return SessionRow(id="s1", ledger_id=1, kind="paper", orders="send", strategy="x", strategy_hash="h", params=params,
                      params_hash="p", limits=None, feed="iex", version="1", host=ME.host, pid=77, run_folder="",
                      started=NOW, ended=ended, status="running" if ended is None else "success", reason="",
                      iterations=None, total_trades=None, total_pnl=None)


def lease(**changes):
    row = LeaseRow(account_id="account-one", session_id="s1", host=ME.host, pid=77, boot_id=ME.boot_id, process="mark",
                   lock="", takes=1, taken=NOW, renewed=NOW, released=None)
    return dataclasses.replace(row, **changes)


@pytest.mark.parametrize(("row", "of", "expected"), [
    (session(), lease(), "running"),
    (session(), lease(host="other/1"), "elsewhere"),
    (session(), lease(process="an earlier process of that number"), "died"),
    (session(), lease(process=""), "died"),
    (session(), lease(boot_id="boot-0"), "died"),
    (session(), lease(released=NOW), "died"),
    (session(), lease(session_id="a person's"), "died"),
    (session(), None, "died"),
    (session(ended=NOW), lease(), "over"),
    (None, lease(), "over"),
])
def test_whether_the_process_of_a_session_lives(row, of, expected):
    assert life_of(of, row, ME, lambda pid: {77: "mark"}.get(pid, "")) == expected


def subject(number=1, account_id="account-one", life="over", **params):
    return Subject(ledger=ledger(number, account_id), session=session(**params), lease=lease(), life=life)


def test_of_one_account_the_latest_ledger_is_meant():
    old, new = subject(3), subject(8)
    assert choose([new, old], None, "db") is new


def test_of_several_accounts_one_must_be_named():
    found = [subject(1, "aaa-111"), subject(2, "bbb-222", "running", account="swing")]
    with pytest.raises(InputError) as refused:
        choose(found, None, "trades.sqlite")
    text = str(refused.value)
    assert "trades.sqlite has 2 accounts; name one with --account" in text
    assert "aaa-111 on sandbox (no session)" in text
    assert "bbb-222 (swing) on sandbox (session running)" in text
    assert choose(found, "bbb-222", "db").ledger.id == 2
    assert choose(found, "swing", "db").ledger.id == 2
    assert choose(found, "aaa", "db").ledger.id == 1


def test_accounts_that_went_with_their_exchange_are_in_nobodys_way():
    first, second = subject(1, "aaa-111", venue="sandbox"), subject(2, "bbb-222", "died", venue="sandbox")
    assert choose([second, first], None, "db") is second
    assert choose([second, first], "aaa", "db") is first
    real = subject(3, "ccc-333", venue="alpaca")
    with pytest.raises(InputError, match="has 2 accounts.*ccc-333 on sandbox .no session.; bbb-222") as refused:
        choose([first, second, real], None, "db")
    assert "aaa-111" not in str(refused.value)
    runs = subject(4, "ddd-444", "running", venue="sandbox")
    assert choose([first, second, runs], None, "db") is runs


@pytest.mark.parametrize(("wanted", "said"), [("ccc", "is none of"), ("a", "could be several of")])
def test_a_name_that_is_none_or_several_is_refused(wanted, said):
    found = [subject(1, "aaa-111"), subject(2, "abb-222")]
    with pytest.raises(InputError, match=said):
        choose(found, wanted, "db")


def test_a_database_without_sessions_says_so():
    with pytest.raises(InputError, match="no session has been recorded"):
        choose([], None, "db")


def test_no_answer_says_what_to_do():
    here = control.unanswered(subject(life="running"), "stop", 5.0)
    assert "kill -9 77" in here and "python -m botlib stop" in here
    there = control.unanswered(subject(life="elsewhere"), "kill", 5.0)
    assert "--take-over" in there and "kill -9" not in there


# --- kill and clear, on a checkpoint --------------------------------------------------------------------------------


def checkpoint(**watch):
    made = Watch.start(100_000.0, dt.date(2026, 3, 2))
    made = dataclasses.replace(made, equity=90_000.0, day_start=91_000.0, **watch)
    return {"core": {"book": {"account": {"equity": 89_500.0, "state": safety.HALTED, "peak": 100_000.0, "cash": 1.0},
                              "symbols": {}}, "links": []},
            "watch": made.record(), "flatten": True, "cursor": "c"}


def test_a_kill_is_latched_and_keeps_the_rest():
    state = checkpoint()
    made, before, after = control_actions.killed(state, "news")
    assert (before.latched, after.latched, after.reason) == (False, True, "news")
    assert {k: v for k, v in made.items() if k != "watch"} == {k: v for k, v in state.items() if k != "watch"}
    assert Watch.from_record(made["watch"]) == after
    again, _, twice = control_actions.killed(made, "other news")
    assert twice.reason == "news"
    assert again == made


def test_lifting_a_kill_resets_the_peak_and_nothing_else_and_says_so():
    state = checkpoint(killed="too deep", orders_today=7)
    made, before, after, said = control_actions.cleared(state)
    assert (before.latched, after.latched) == (True, False)
    assert after.peak == made["core"]["book"]["account"]["peak"] == 89_500.0
    assert made["core"]["book"]["account"]["state"] == safety.ACTIVE
    assert made["flatten"] is False
    assert (after.day_start, after.orders_today) == (91_000.0, 7)
    text = " ".join(said)
    assert "too deep" in text and "from $100,000.00 to $89,500.00" in text and "$91,000.00" in text
    assert state["core"]["book"]["account"]["state"] == safety.HALTED  # what was read is as it was


def test_without_a_kill_nothing_is_lifted():
    state = checkpoint()
    made, before, after, said = control_actions.cleared(state)
    assert made == state
    assert before == after
    assert said == ("No kill stands; nothing was reset.",)


def test_what_a_person_held_back_is_lifted_too():
    made, _, after, said = control_actions.cleared(checkpoint(holds={"asked": "lunch", "daily-loss": "deep"}))
    assert dict(after.holds) == {"daily-loss": "deep"}
    assert "lunch" in said[0]
    assert made["core"]["book"]["account"]["peak"] == 100_000.0


# --- a person's answer to differences -------------------------------------------------------------------------------


def look(broker, ledger_, own=None, cash=0.0):
    return Look(broker=broker, ledger=ledger_, own=own or {}, cash=cash, found=(), strangers=(), over={})


@pytest.mark.parametrize(("broker", "held", "own", "expected"), [
    ({"A": 10.0}, {"A": 10.0}, {}, []),
    ({"A": 15.0}, {"A": 10.0}, {"A": 5.0}, []),
    ({"A": 15.0}, {"A": 10.0}, {}, [Answer("A", 5.0, 0.0)]),               # bought by hand
    ({"B": 3.0}, {}, {}, [Answer("B", 3.0, 0.0)]),
    ({"A": 4.0}, {"A": 10.0}, {}, [Answer("A", 0.0, -6.0)]),               # a bust, or sold with another program
    ({}, {"A": 10.0}, {}, [Answer("A", 0.0, -10.0)]),
    ({"A": 4.0}, {"A": 10.0}, {"A": -6.0}, [Answer("A", 6.0, -6.0)]),      # sold by hand, and seen
    ({"A": 2.0}, {"A": 10.0}, {"A": -6.0}, [Answer("A", 6.0, -8.0)]),      # ... and two more are gone
    ({"A": 11.0}, {"A": 10.0}, {"A": 5.0}, [Answer("A", 0.0, -4.0)]),      # theirs stay theirs
    ({"A": -3.0}, {"A": 10.0}, {}, [Answer("A", -3.0, -10.0)]),            # sold by hand, and short
    ({"A": -4.0}, {"A": -10.0}, {}, [Answer("A", 0.0, 6.0)]),              # a short, partly bought back by hand
    ({"A": -12.0}, {"A": -10.0}, {}, [Answer("A", -2.0, 0.0)]),
])
def test_what_accepting_means(broker, held, own, expected):
    found = answers(look(broker, held, own))
    assert found == expected
    for one in found:  # afterwards ledger and one's own are what the broker has, and the ledger is not short of it
        ledger_ = held.get(one.what, 0.0) + one.written_off
        theirs = own.get(one.what, 0.0) + one.own
        assert ledger_ + theirs == broker.get(one.what, 0.0)
        assert ledger_ * held.get(one.what, 0.0) >= 0.0
        assert ledger_ * theirs >= 0.0


def test_cash_is_the_persons_own():
    assert answers(look({}, {}, cash=-12.5)) == [Answer("cash", -12.5, 0.0)]


# --- asking, with a real database -----------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path / "t.sqlite") as made:
        made.ledger("account-one", "e", venue="sandbox", capital=1e5, time=NOW)
        yield made


def test_an_answered_request_comes_back_and_an_unanswered_one_stands(repository):
    clock = iter(float(n) for n in range(100))

    def answer(_seconds):
        (one,) = repository.requests("account-one")
        with repository.writing() as tx:
            tx.request_handled(one.id, outcome="carried out", time=NOW)

    found = control.ask(repository, subject(), "stop", clock=lambda: next(clock), sleep=answer)
    assert (found.kind, found.outcome) == ("stop", "carried out")
    assert "@" in found.by
    late = control.ask(repository, subject(), "kill", note="why", seconds=3.0, clock=lambda: next(clock),
                       sleep=lambda _s: None)
    assert late is None
    (standing,) = repository.requests("account-one")
    assert (standing.kind, standing.note) == ("kill", "why")
    gone = control.ask(repository, subject(), "stop", clock=lambda: 0.0, sleep=lambda _s: None, gone=lambda: True)
    assert gone is None  # and did not wait for ever
    assert control.withdraw(repository, subject(), "nobody was there") == 2
    assert repository.requests("account-one") == ()
    assert control.withdraw(repository, subject(), "nobody was there") == 0


def test_an_answer_of_a_session_that_ends_at_once_is_not_lost(repository):
    """It is written between a look at the ledger and a look at the process."""
    def ends():
        for one in repository.requests("account-one", unhandled=True):
            with repository.writing() as tx:
                tx.request_handled(one.id, outcome="stopped", time=NOW)
        return True

    found = control.ask(repository, subject(), "stop", clock=lambda: 0.0, sleep=lambda _s: None, gone=ends)
    assert found is not None and found.outcome == "stopped"


def test_a_ledger_whose_exchange_is_gone_says_so(repository, tmp_path):
    gone = control_actions.Desk(repository, subject(venue="sandbox"), tmp_path)
    for act in (control_actions.flatten, control_reconcile.reconcile):
        with pytest.raises(InputError, match="gone with it"):
            act(gone)
    with pytest.raises(InputError, match="gone with it"):
        control_reconcile.accept(gone, "because")
    with pytest.raises(InputError, match="--reason is empty"):
        control_reconcile.accept(gone, "  ")


def test_a_kill_before_the_first_pass_has_nothing_to_kill(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    desk = control_actions.Desk(repository, subject(venue="sandbox"), tmp_path)
    with pytest.raises(InputError, match="no state yet"):
        control_actions.kill(desk, "news")


# --- a session that ends while it is asked --------------------------------------------------------------------------


@pytest.fixture
def late(repository, tmp_path, monkeypatch):
    """Commands that saw a session run which has ended by the time they ask it."""
    desk = control_actions.Desk(repository, subject(life="running"), tmp_path, say=cli_control.say)
    assert desk.subject.alive and not control.again(repository, desk.subject).alive

    @contextmanager
    def found(_options):
        yield desk

    monkeypatch.setattr(cli_control, "_desk", found)
    return desk


def test_to_stop_what_ends_by_itself_is_done(late, capsys):
    assert cli_control._stop(SimpleNamespace()) == 0
    assert "[STOP] the session ended by itself before it had seen the request" in capsys.readouterr().out
    assert late.repository.requests("account-one") == ()  # the next session is not stopped by it


def test_a_second_kill_is_done_when_the_first_stands_and_not_done_when_none_does(late, capsys):
    options = SimpleNamespace(clear=False, yes=False, reason="news")
    with pytest.raises(BotlibError, match="ended before it answered; python -m botlib kill once more"):
        cli_control._kill(options)
    assert late.repository.requests("account-one") == ()
    with late.repository.writing() as tx:
        tx.safety(late.ledger.id, state="halted", latched=True, time=NOW, reason="kill asked for by ann", peak=1e5,
                  day="2024-03-04", day_start=1e5, orders_today=0, exits_today={})
    capsys.readouterr()
    assert cli_control._kill(options) == 0
    assert "[KILL] the session has ended, and a kill stands: kill asked for by ann" in capsys.readouterr().out
