"""The panel: what it reads from a ledger, how it shows it, what its buttons write."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from botlib import panel
from botlib.errors import InputError
from botlib.panel import Panel
from botlib.panel_page import page
from botlib.panel_status import event_words, find_session, read
from botlib.repository import Repository

T0 = pd.Timestamp("2024-03-04 21:20", tz="UTC")
NOW = pd.Timestamp("2024-03-04 22:00:05", tz="UTC")
LIMITS = {"max_drawdown_pct": 5.0, "max_daily_loss_pct": 2.0, "max_orders_per_day": 100}


def begin(repository, session_id="s1", account="account-1", epoch="e1", time=T0, **values):
    ledger = repository.ledger(account, epoch, venue="sandbox", capital=100_000.0, time=time)
    with repository.writing() as tx:
        tx.session(session_id, ledger.id, **{"kind": "paper", "time": time, "strategy": "cross", "limits": LIMITS,
                                             "host": "elsewhere", "pid": 1, **values})
    return ledger


def mark(repository, ledger, equity, minutes, **values):
    with repository.writing() as tx:
        tx.equity(ledger.id, time=T0 + pd.Timedelta(minutes=minutes), session_id="s1", **{
            "equity": equity, "cash": 50_000.0, "peak": 100_000.0, "day_start": 100_000.0,
            "drawdown_pct": (100_000.0 - equity) / 1_000.0, "daily_loss_pct": 0.5, "positions": {"IBM": -3.0},
            **values})


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path / "t.sqlite", root=tmp_path) as opened:
        yield opened


def shown(status, **options):
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>|</?span>", "", page(status, now=NOW, **options), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_the_page_has_equity_against_its_limits_and_the_time_it_is_of(repository):
    ledger = begin(repository)
    mark(repository, ledger, 99_000.0, 0)
    mark(repository, ledger, 96_500.0, 5)
    with repository.writing() as tx:
        tx.safety(ledger.id, state="active", latched=False, time=T0, orders_today=7)
    text = shown(read(repository, "s1"))
    assert "as of 2024-03-04 16:25 New York , seen 22:00:05 UTC" in text
    assert "$96,500.00" in text and "−$3,500.00 since $100,000" in text
    assert "3.50 % halts at 5 %" in text and "0.50 % only exits from 2 %" in text and "7 at most 100" in text
    assert "ACTIVE" in text and "PAPER" in text
    assert "IBM −3" in text
    bars = re.findall(r"width:([\d.]+)%;background:(#\w+)", page(read(repository, "s1"), now=NOW))
    assert bars == [("70.0", "#E69F00"), ("25.0", "#009E73"), ("7.0", "#009E73")]  # 3.5 of 5, 0.5 of 2, 7 of 100


def test_a_halt_a_live_session_and_a_shadow_are_seen_at_once(repository):
    ledger = begin(repository, kind="live", orders="shadow")
    with repository.writing() as tx:
        tx.safety(ledger.id, state="halted", latched=True, time=T0, reason="drawdown 5.10 % beyond 5 %")
    text = shown(read(repository, "s1"))
    assert "LIVE" in text and "HALTED" in text and "SHADOW: NOTHING IS SENT" in text
    assert "drawdown 5.10 % beyond 5 %" in text


def test_what_the_ledger_holds_is_text_and_no_markup(repository):
    ledger = begin(repository, strategy="<script>alert(1)</script>")
    mark(repository, ledger, 99_000.0, 0, positions={"<b>X</b>": 1.0})
    with repository.writing() as tx:
        tx.event(ledger.id, "alarm", {"text": "<img src=x>"}, time=T0, session_id="s1", level="alarm")
        tx.request("account-1", "stop", by="<i>me</i>", time=T0)
    html = page(read(repository, "s1"), now=NOW, note="<u>note</u>")
    assert not re.search(r"<(script|b>X|img|i>me|u>note)", html)
    assert "&lt;script&gt;" in html and "&lt;img src=x&gt;" in html


def test_a_page_that_is_not_replaced_says_so_after_a_while_and_the_last_one_does_not(repository):
    begin(repository)
    status = read(repository, "s1")
    assert "This view stands still" in page(status, now=NOW)
    assert "This view stands still" not in page(status, now=NOW, live=False)


def test_a_request_that_waits_is_told_until_it_is_answered(repository):
    begin(repository)
    view = Panel(repository, "s1")
    view.refresh()
    view.ask("reduce-only")
    (asked,) = repository.requests("account-1")
    assert (asked.kind, asked.note) == ("reduce-only", "panel")
    assert "reduce-only asked for by" in shown(view.refresh())
    assert "Reduce only: asked for" in view.html()
    with repository.writing() as tx:
        tx.request_handled(asked.id, outcome="carried out", time=T0)
    assert "reduce-only asked for by" not in shown(view.refresh())


def test_a_session_whose_process_is_gone_is_told(repository, monkeypatch):
    from botlib.repository.hosts import here

    begin(repository, host=here().host, pid=2**22 + 1)  # above the largest process id of Linux
    assert "process is not there any more" in shown(read(repository, "s1"))


def test_the_session_that_runs_is_found_before_newer_ones_that_ended(repository):
    begin(repository, "s1", epoch="e1")
    begin(repository, "s2", epoch="e2")
    begin(repository, "t3", account="account-2")
    with repository.writing() as tx:
        tx.session_ended("s2", status="success", time=T0)
        tx.session_ended("t3", status="success", time=T0)
    assert find_session(repository) == "s1"
    assert find_session(repository, account="account-2") == "t3"
    assert find_session(repository, session_id="t") == "t3"
    for options in ({"account": "nobody"}, {"session_id": "x"}, {"session_id": "s"}):
        with pytest.raises(InputError):
            find_session(repository, **options)


def test_without_a_person_there_is_no_panel(tmp_path):
    panel.show(db=tmp_path / "none.sqlite")  # not even the ledger is looked for
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(("kind", "data", "words"), [
    ("fill", {"side": "buy", "qty": 10.0, "symbol": "IBM", "price": 101.5, "purpose": "entry"},
     "buy 10 IBM @ $101.50 (entry)"),
    ("session-ended", {"status": "halted", "reason": "drawdown"}, "halted: drawdown"),
    ("activity", {"type": "FEE", "symbol": "IBM", "net_amount": -0.18}, "FEE IBM: -$0.18"),
    ("kill", {"text": "5.1 % below the peak", "state": "halted"}, "5.1 % below the peak"),
])
def test_events_in_words(kind, data, words):
    assert event_words(kind, data) == words
