"""The panel: what it reads from a ledger, how it shows it, what its buttons write."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from repository_helpers import an_order

import botlib
from botlib import panel
from botlib.errors import InputError
from botlib.panel import Panel
from botlib.panel_page import page
from botlib.panel_status import event_words, find_session, read
from botlib.repository import Repository

T0 = pd.Timestamp("2024-03-04 21:20", tz="UTC")
NOW = pd.Timestamp("2024-03-04 22:00:05", tz="UTC")
ALL_IN = '''
from dataclasses import dataclass
import numpy as np
from botlib.strategies import Strategy

@dataclass(frozen=True)
class AllIn(Strategy):
    """Wants everything at once."""
    warmup = 2
    def targets(self, bars):
        return np.full(bars.shape, 0.05)
'''
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


def test_positions_are_shown_with_entry_last_close_value_and_open_profit(tmp_path):
    """Held against the fills in the ledger and the closes in the sample data."""
    (tmp_path / "all_in.py").write_text(ALL_IN, encoding="utf-8")
    botlib.run_live_paper_trading(
        symbols=["AAPL", "IBM"], strategy={"name": "all_in.py:AllIn"}, db="t.sqlite", iterations=4, ping_env=None,
        replay_start="2008-01-22", risk={"max_position_pct": 10.0, "stop_loss_pct": None, "take_profit_pct": None},
        root=tmp_path, say=lambda line: None)
    with Repository.open(tmp_path / "t.sqlite", root=tmp_path, create=False) as opened:
        status = read(opened, find_session(opened))
        fills = opened.fills(1).set_index("symbol")
    bars = botlib.BacktestParams(symbols=["AAPL", "IBM"]).load_bars()
    assert [one.symbol for one in status.holdings] == ["AAPL", "IBM"]
    for one, column in zip(status.holdings, (0, 1), strict=True):
        ended = one.time.tz_convert("America/New_York")
        row = int(bars.index.get_loc(ended.normalize()))
        bought, close = float(fills.loc[one.symbol, "price"]), float(bars.close[row, column])
        shares = float(fills.loc[one.symbol, "qty"])
        assert (f"{ended:%H:%M}", one.filled) == ("16:00", False)
        assert (one.shares, one.entry_price, one.last_price) == (shares, bought, close)
        text = shown(status)
        gain = shares * (close - bought)
        sign, mark = ("−", "▼") if gain < 0 else ("+", "▲")
        assert (f"{one.symbol} {shares:g} {mark} {sign}${abs(gain):,.2f} {sign}"
                f"{abs(100.0 * (close / bought - 1.0)):.2f} ${shares * close:,.2f} {bought:,.2f} {close:,.2f} "
                f"{ended:%m-%d} close") in text
    both = sum(one.shares * one.last_price for one in status.holdings)
    assert re.search(rf"Together \S+ \S+ \S+ {re.escape(f'${both:,.2f}')}", text)
    mark = status.marks.iloc[-1]
    assert np.isclose(mark["cash"] + both, mark["equity"])  # the same prices that equity is of


def test_of_a_position_bought_since_the_last_bar_the_fill_is_the_last_price(repository):
    ledger = begin(repository, params={"interval": "15m"})
    mark(repository, ledger, 100_000.0, 0, positions={"IBM": -4.0})
    book = {"symbols": {"IBM": {"position": -4.0, "last_close": 50.0}},
            "lots": [{"symbol": "IBM", "entry": 7, "quantity": 4.0, "entry_price": 50.0}]}
    state = {"core": {"bar": "2024-03-04T15:00:00-05:00", "entered": {"7": "2024-03-04T20:16:00+00:00"}, "book": book}}
    for entered, words in (("2024-03-04T20:16:00+00:00", "03-04 15:16 fill"),
                           ("2024-03-04T19:59:00+00:00", "03-04 15:15")):  # the bar of 15:00 ends at 15:15
        state["core"]["entered"]["7"] = entered
        with repository.writing() as tx:
            tx.checkpoint(ledger.id, state, time=T0)
        assert f"IBM −4 $0.00 0.00 −$200.00 50.00 50.00 {words}" in shown(read(repository, "s1"))


def test_what_is_not_known_of_a_position_is_said_to_be_unknown(repository):
    ledger = begin(repository)
    mark(repository, ledger, 99_000.0, 0)
    text = shown(read(repository, "s1"))
    assert "IBM −3 – – – – – –" in text and "–: not known" in text
    with repository.writing() as tx:  # more has happened since the mark
        tx.checkpoint(ledger.id, {"core": {"bar": "2024-03-04T00:00:00-05:00", "entered": {}, "book": {
            "symbols": {"IBM": {"position": -5.0, "last_close": 50.0}}, "lots": []}}}, time=T0)
    assert "IBM −3 – – – – – –" in shown(read(repository, "s1"))


def test_why_a_session_was_killed_stands_there_once(repository):
    ledger = begin(repository)
    with repository.writing() as tx:
        tx.safety(ledger.id, state="halted", latched=True, time=T0, reason="kill asked for by me")
        tx.session_ended("s1", status="halted", time=T0, reason="kill asked for by me")
    assert shown(read(repository, "s1")).count("kill asked for by me") == 1
    with repository.writing() as tx:  # among the events, too
        tx.event(ledger.id, "request", {"text": "kill asked for by me"}, time=T0, session_id="s1", level="warning")
        tx.event(ledger.id, "kill", {"text": "kill asked for by me"}, time=T0, session_id="s1", level="alarm")
    assert shown(read(repository, "s1")).count("kill asked for by me") == 2


def test_an_order_that_was_cancelled_is_told_and_a_leg_that_went_with_the_other_is_not(repository):
    ledger = begin(repository)
    with repository.writing() as tx:
        tx.event(ledger.id, "request", {"text": "reduce-only asked for"}, time=T0, session_id="s1", level="warning")
        for number, (status, role, filled) in enumerate((
                ("canceled", "entry", 4.0), ("canceled", "stop_loss", 0.0), ("filled", "entry", 10.0))):
            tx.order(ledger.id, an_order(order_id=f"o-{number}", client_order_id=f"c-{number}", status=status,
                                         filled_qty=filled), time=T0 + pd.Timedelta(minutes=1), intent="c", role=role)
    text = shown(read(repository, "s1"))
    assert "03-04 16:21 cancelled buy 10 AAPL, 4 of 10 filled 03-04 16:20 request" in text
    assert text.count("AAPL") == 1


def test_a_fill_stands_at_its_own_time_and_not_at_that_of_its_booking(repository):
    ledger = begin(repository)
    said = {"side": "buy", "qty": 10.0, "symbol": "IBM", "price": 101.5, "purpose": "entry"}
    with repository.writing() as tx:
        tx.event(ledger.id, "alarm", {"text": "between"}, time=T0 - pd.Timedelta(hours=1), session_id="s1")
        tx.event(ledger.id, "fill", {**said, "time": "2024-03-04T14:30:00+00:00"}, time=T0, session_id="s1")
    assert "between 03-04 09:30 fill buy 10 IBM @ $101.50 (entry)" in shown(read(repository, "s1"))


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
