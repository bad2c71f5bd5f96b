"""What can go wrong with a session's data and with its budget of requests, and what must be true afterwards."""

from __future__ import annotations

import pandas as pd
import pytest
from sandbox_helpers import market, sessions
from session_world import SYMBOLS, World, clean, folder, walk  # noqa: F401

from botlib.bars import Bars
from botlib.providers.alpaca import AlpacaProvider
from botlib.sandbox.faults import Fault

pytestmark = pytest.mark.slow

# ruff: noqa: F811

COUNT = 26
DAY = 12
"""A bar on which KO jumps; it is held over it, and wanted again at bars 16 and 22."""


def cells_of(bars: Bars) -> dict[str, list]:
    panels = (bars.open, bars.high, bars.low, bars.close)
    return {s: [tuple(float(p[t, n]) for p in panels) for t in range(len(bars))] for n, s in enumerate(bars.symbols)}


def intents_of(world: World, symbol: str, purpose: str = "entry") -> pd.DataFrame:
    with world.ledger() as repository:
        found = repository.intents(1)
    return found[(found["symbol"] == symbol) & (found["purpose"] == purpose)]


# --- 20: a storm of 429 -----------------------------------------------------------------------------------------------

def test_while_the_budget_is_spent_by_somebody_else_the_session_asks_less_and_says_who_it_may_be(folder, clean):
    """Every answer is 429 for 400 requests: no order is lost or doubled, requests become fewer, a person is told."""
    world, storm = World(folder), []

    def spend(w: World) -> None:
        if w.exchange.bar == 12 and not storm:
            storm.append((w.time.now, sum(w.requests.values())))
            w.faults.add(Fault(kind="status", status=429, times=400))
        if len(storm) == 1 and len(w.faults.log) == 400:
            storm.append((w.time.now, sum(w.requests.values())))

    world.after = spend
    assert world.run().status == "success"
    world.check()
    assert world.fills() == clean.fills()
    (began, before), (ended, after) = storm
    assert after - before < (ended - began)  # less than one a second, where 200 a minute would be allowed
    said = [line for line in world.said if "no more requests for now" in line]
    assert said and all("the limit is counted over all programs that use this account" in line for line in said)
    assert [kind for kind, _ in world.told].count("alarm") == 1


# --- 49: bars that are not there --------------------------------------------------------------------------------------

def test_a_symbol_without_a_bar_is_not_bought_at_an_old_price(folder):
    """The strategy wants KO at bars 4, 10, 16 and 22; two of these bars do not exist."""
    cells = cells_of(walk(COUNT))
    for t in (10, 16):
        cells["KO"][t] = None
    world = World(folder, bars=market(cells, sessions(COUNT)))
    assert world.run().status == "success"
    world.check()
    bought = intents_of(world, "KO")
    days = {str(label)[:10] for label in sessions(COUNT)[[4, 22]]}
    with world.ledger() as repository:
        decisions = repository.decisions(1).set_index("id")
    wanted = decisions.loc[bought["decision_id"], "bar_time"].dt.tz_convert("America/New_York")
    assert {str(one)[:10] for one in wanted} == days


def test_an_answer_without_any_bars_decides_nothing(folder, clean):
    """The data answer stands still for two bars, whatever happens at the exchange: what comes late is not traded on."""
    world = World(folder, Fault(kind="stale", method="GET", path="/v2/stocks/bars", bars=(9, 10)))
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        decisions = repository.decisions(1)
    assert not decisions["bar_time"].duplicated().any()
    assert len(world.fills()) < len(clean.fills())


# --- 51: a split that nobody recorded ---------------------------------------------------------------------------------

def split_world(folder, *, recorded: bool, monkeypatch=None) -> World:
    cells = cells_of(walk(COUNT))
    cells["KO"] = [c if t < DAY else tuple(round(p / 4, 2) for p in c) for t, c in enumerate(cells["KO"])]
    ex_date = sessions(COUNT)[DAY].tz_localize(None)
    world = World(folder, bars=market(cells, sessions(COUNT), actions=[("KO", ex_date, "split", 4.0)]))
    if not recorded:
        real = AlpacaProvider.actions
        monkeypatch.setattr(AlpacaProvider, "actions", lambda self, symbols: real(self, symbols).iloc[:0])
    return world


def test_an_unadjusted_split_allows_no_entry(folder, monkeypatch):
    """The broker splits shares and orders, and the source of corporate actions says nothing: what is held is not
    explained, and prices that fell to a quarter are no reason to buy."""
    world = split_world(folder, recorded=False, monkeypatch=monkeypatch)
    world.run()
    entries = intents_of(world, "KO")
    assert [*entries["state"]] == ["filled", "filled", "rejected", "rejected"]
    assert {*entries["reason"][2:]} == {"unadjusted-split"}
    assert any("like a split that no corporate action explains" in line for line in world.said)
    assert any("[UNEXPLAINED] KO: the broker has 208 shares, the ledger explains 52" in line for line in world.said)
    others = intents_of(world, "TSLA")
    assert "filled" in [*others["state"]][-1:]


def test_a_split_that_is_recorded_is_no_reason_to_refuse(folder):
    world = split_world(folder, recorded=True)
    assert world.run().status == "success"
    assert {*intents_of(world, "KO")["state"]} == {"filled"}
