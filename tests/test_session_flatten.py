"""A person's word that all is to be sold holds until all is sold; what expires is told."""

from __future__ import annotations

import pytest
from engine_helpers import FREE, make_bars
from exchange_helpers import sessions
from session_helpers import Stage

import botlib
from botlib.session.console import lines

pytestmark = pytest.mark.slow

PRICES = [100.0, 101.0, 102.0, 103.0, 101.0, 99.0, 98.0, 97.0]


class Holds:
    """Wants 9 % of equity at every bar, a little more each time."""

    unit, warmup, rebalance_tolerance_pct = "weight", 0, None

    def targets(self, bars):
        import numpy as np

        return np.linspace(0.09, 0.095, len(PRICES))[: len(bars), None].copy()


@pytest.fixture
def stage(tmp_path):
    bars = make_bars({"AAPL": [(p, p + 1.0, p - 1.0, p + 0.5) for p in PRICES]}, sessions(len(PRICES)), calendar="XNYS")
    made = Stage(bars, Holds(), tmp_path, first=2, values={
        "costs": FREE, "risk": botlib.Risk(max_position_pct=50.0, stop_loss_pct=30.0, take_profit_pct=50.0)})
    made.begin()
    yield made
    made.close()


def ask(stage, kind):
    repository, account = stage.started.repository, stage.core.identity.account_id
    with repository.writing() as tx:
        tx.request(account, kind, by="me", time=stage.session.time)
    return list(repository.requests(account, unhandled=True))


def test_flatten_holds_until_all_is_sold(stage):
    x = stage.exchange
    bought = lines(stage.step(), None)
    assert "[SIGNAL] BUY 89 AAPL @ $101.50 (entry)" in bought  # what is no flattening is the strategy's
    x.advance()
    stage.step()
    held = stage.core.positions()["AAPL"]
    assert held == 89.0  # 9.0714 % of 100,000 at 101.50, whole shares
    x.open_bar()  # its opening print is gone: what is sent now has its close, and a halt takes that
    x.halt("AAPL")
    report = stage.session.step(ask(stage, "flatten"))
    [sale] = [a.intent.request for a in report.answers if a.intent.purpose == "exit"]
    assert (sale.side, sale.qty) == ("sell", held)
    said = lines(report, None)
    assert "[FLATTEN] SELL 89 AAPL @ $102.50 (exit)" in said and not any("[SIGNAL]" in line for line in said)
    x.close_bar()
    x.resume("AAPL")
    report = stage.step()  # expired, and a new bar that the strategy wants more at
    said = lines(report, None)
    assert f"[EXPIRED] SELL {held:g} AAPL: its session ended with 0 filled" in said
    [again] = [a.intent.request for a in report.answers]
    assert (again.side, again.qty, again.client_order_id != sale.client_order_id) == ("sell", held, True)
    repository = stage.started.repository
    [asked] = repository.requests(stage.core.identity.account_id, unhandled=False)
    assert asked.outcome == "on its way out: 89 AAPL"
    assert len(repository.events(stage.started.ledger_id, "expired")) == 1
    x.advance()
    report = stage.step()
    assert stage.core.positions() == {} and not stage.session.memory.flatten
    # sold at the open of 101.00 what was bought at the open of 102.00
    assert report.cash == report.equity == 100_000.0 - 89.0
    x.advance()
    stage.step()
    assert stage.core.positions() != {}  # it goes on, and buys again


def test_equity_without_holdings_is_cash_between_bars_too(stage):
    x = stage.exchange
    stage.step()
    x.advance()
    stage.step()
    stage.session.step(ask(stage, "flatten"))
    x.open_bar()  # sold, and the bar is not final
    report = stage.step()
    assert report.positions == {} and report.equity == report.cash == 100_000.0 + 89.0 * (103.0 - 102.0)
