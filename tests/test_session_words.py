"""The words of a session: what is counted in its lines, and why nothing was traded."""

from __future__ import annotations

import pytest
from session_world import World, folder  # noqa: F401

from botlib import cli_permit, control, control_view
from botlib.session.course import Course
from botlib.session_config import SessionParams

# ruff: noqa: F811

QUIET = '''
from dataclasses import dataclass

import numpy as np

from botlib.strategies.base import Strategy


@dataclass(frozen=True)
class Quiet(Strategy):
    """{what}."""

    warmup = {warmup}

    def targets(self, bars):
        return np.full(bars.shape, {target})
'''


def test_the_console_and_status_count_the_same_orders(folder):
    """A bracket's legs rest at the broker from the start, before their entry has filled, too."""
    counts = []

    def look(world):
        with world.ledger() as repository:
            [subject] = control.subjects(repository)
            [line] = [one for one in control_view.status(repository, subject) if one.startswith("[PORTFOLIO]")]
        at_broker = sum(order.open for order in world.exchange.orders.values())
        counts.append((int(line.rpartition("Orders: ")[2]), world.session.report.open_orders, at_broker))

    world = World(folder)
    world.after = look
    world.run()
    assert len(counts) > 10 and all(a == b == c for a, b, c in counts), counts
    said = [int(line.rpartition("Orders: ")[2]) for line in world.said if line.startswith("[PORTFOLIO]")]
    assert said[:len(counts)] == [one for one, _, _ in counts]
    assert 3 in said  # an entry with its two legs


@pytest.mark.parametrize(("warmup", "target", "values", "said"), [
    (0, "np.nan", {}, "on the 19 bars it decided on, the strategy asked for no order."),
    (500, "0.1", {}, "the strategy was still warming up."),
    (0, "0.000001", {}, "what was wanted was refused (57 orders, see [REFUSED])."),
    (0, "0.1", {"orders": "shadow"}, "orders: shadow records orders and sends none."),
])
def test_why_nothing_was_traded(folder, warmup, target, values, said):
    (folder / "quiet.py").write_text(QUIET.format(what="It", warmup=warmup, target=target))
    world = World(folder, strategy={"name": "quiet.py:Quiet"}, **values)
    world.run()
    assert [line for line in world.said if line.startswith("[NOTE]")] == [f"[NOTE] nothing was traded: {said}"]


def test_a_session_that_traded_says_nothing_of_it(folder):
    world = World(folder)
    world.run()
    assert not [line for line in world.said if line.startswith("[NOTE]")]


def test_where_trades_can_be_seen_is_said_only_where_it_is_known():
    usual = SessionParams(symbols=["MSFT"])
    quiet = Course(decided=1)
    summary = type("Summary", (), {"total_fills": 0, "status": "success"})
    assert quiet.nothing_traded(summary, usual) == (
        "nothing was traded: on the one bar it decided on, the strategy asked for no order. To see trades on the "
        "sample data: --set replay_start=2008-01-07 --iterations 40.")
    for values in ({"symbols": ["IBM"]}, {"symbols": ["MSFT"], "strategy": {"name": "buy_and_hold"}}):
        assert "To see trades" not in quiet.nothing_traded(summary, SessionParams(**values))


LINE = ("[PORTFOLIO] 2012-06-19 16:20 Cash: $90,082.20 | Equity: $100,068.17 | Drawdown: 0.00 % of 5 % | "
        "Positions: 1 | Orders: 2")


def test_a_line_of_figures_breaks_at_its_bars():
    assert cli_permit.fitted(LINE, 200) == cli_permit.fitted(LINE, len(LINE)) == LINE
    assert cli_permit.fitted(LINE, 80).split("\n") == [
        "[PORTFOLIO] 2012-06-19 16:20 Cash: $90,082.20 | Equity: $100,068.17 |",
        "            Drawdown: 0.00 % of 5 % | Positions: 1 | Orders: 2"]
    for width in range(60, 120):
        assert max(map(len, cli_permit.fitted(LINE, width).split("\n"))) <= width
    words = "[SIGNAL] BUY 17 AAPL @ $585.78 (entry), and so on without a bar"
    assert cli_permit.fitted(words, 20) == words
