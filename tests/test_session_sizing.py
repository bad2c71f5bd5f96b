"""What a strategy wanted and did not get, or not whole, is said: on the screen, in the ledger, in the notebook."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars
from exchange_helpers import daily
from session_helpers import core_of, decide, filled, send
from session_world import World, folder  # noqa: F401
from test_booking import LIST

import botlib
from botlib import session_record, session_report
from botlib.session.sizing import Wishes, told

# ruff: noqa: F811

TENTH = botlib.Risk(max_position_pct=10.0, stop_loss_pct=None, take_profit_pct=None)
BY_ORDER = '''
from dataclasses import dataclass

import botlib
from botlib.strategies.base import Strategy


@dataclass(frozen=True)
class Wants(Strategy):
    """Orders a thousand million shares at its first two bars, and five of another symbol."""

    warmup = 0
    seen = []

    def on_bar(self, view):
        self.seen.append(view.t)
        huge = [botlib.buy("AAPL", 1e9)] if len(self.seen) <= 2 else []
        return [*huge, botlib.buy("KO", 5)] if len(self.seen) == 1 else huge
'''
BY_TARGET = '''
from dataclasses import dataclass

import numpy as np

from botlib.strategies.base import Strategy


@dataclass(frozen=True)
class Wants(Strategy):
    """A thousand million shares of the first symbol, and three and a half of the second."""

    unit = "shares"
    warmup = 0

    def targets(self, bars):
        return np.tile([1e9, 3.5, np.nan], (len(bars), 1))
'''


def world_of(folder, strategy: str, **values) -> World:
    (folder / "wants.py").write_text(strategy)
    made = World(folder, strategy={"name": "wants.py:Wants"}, **values)
    made.run()
    return made


def notes(world: World) -> list[tuple[str, str]]:
    with world.ledger() as repository:
        record = session_record.load(repository, world.started.session_id, world.params)
    return [(event, what) for _, _, event, what in session_report.notes_table(record).itertuples(index=False)]


def test_an_order_that_no_limit_allows_is_refused_aloud(folder):
    world = world_of(folder, BY_ORDER)
    said = [line for line in world.said if line.startswith("[REFUSED]")]
    assert len(said) == 2 and all(line.startswith("[REFUSED] buy 1,000,000,000 AAPL refused, ") for line in said)
    assert all(line.endswith(", safety.max_position_size_pct is 100.") for line in said)
    assert not [line for line in world.said if line.startswith("[CUT]")]
    assert [kind for kind, text in world.told if "AAPL refused" in text] == ["refusal", "refusal"]
    with world.ledger() as repository:
        events = repository.events(1)
        assert repository.verify(1).ok
    rows = events[events["kind"] == "sizing"]
    assert rows["level"].tolist() == ["warning", "warning"]
    assert [one[:4] for data in rows["data"] for one in data["orders"]] == [["refused", "AAPL", "buy", 1e9]] * 2
    told_in_notebook = [what for event, what in notes(world) if event == "sizing"]
    assert len(told_in_notebook) == 2 and "1,000,000,000 AAPL refused" in told_in_notebook[0]
    assert [(symbol, side, qty) for _, symbol, side, qty, _ in world.fills()][0] == ("KO", 1, 5.0)


def test_a_number_of_shares_that_a_limit_cuts_is_said_and_rounding_is_not(folder):
    risk = botlib.Risk(max_position_pct=20.0, stop_loss_pct=None, take_profit_pct=None)
    world = world_of(folder, BY_TARGET, risk=risk)
    said = [line for line in world.said if line.startswith("[CUT]")]
    close = world.bars.close[world.started.session.core.bars.index.get_loc(world.session.core.bars.index[3]), 0]
    most = int(20_000.0 // close)  # a fifth of $100,000
    assert said == [f"[CUT] buy AAPL: 1,000,000,000 shares wanted, cut to {most} shares: risk.max_position_pct is 20."]
    assert [what for event, what in notes(world) if event == "sizing"] == [said[0].removeprefix("[CUT] ")]
    assert {(symbol, qty) for _, symbol, _, qty, _ in world.fills()} == {("AAPL", float(most)), ("KO", 3.0)}


def test_what_the_gates_refuse_is_among_the_notes(folder):
    """$10 at most, so that the book takes the order and a gate does not."""
    from botlib.safety import SafetyControls

    world = world_of(folder, BY_TARGET, safety=SafetyControls(
        max_drawdown_pct=90.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0, price_collar_pct=90.0,
        max_order_value=10.0))
    refused = [line.removeprefix("[REFUSED] ") for line in world.said if line.startswith("[REFUSED]")]
    assert any(": worth $" in text and "buying power is less" in text for text in refused)
    gates = {text for text in refused if "max_order_value is $10.00" in text}
    assert gates and {what for event, what in notes(world) if event == "intent"} == gates


# --- a decision alone -------------------------------------------------------------------------------------------------


def unmet(core, above: set[int], **targets: float) -> list[tuple[str, str]]:
    wishes = Wishes(core, above)
    decide(core, **targets)
    return told(wishes.unmet(np.array([targets.get(symbol, np.nan) for symbol in core.bars.symbols])))


def test_a_weight_above_the_limit_is_said_when_it_is_new():
    above = set()
    core = core_of(daily(*LIST).upto(1), risk=TENTH)  # 100,000 at $100
    assert unmet(core, above, AAA=0.1) == []
    send(core)
    assert unmet(core, above, AAA=0.1) == []  # on its way: the rules skip it
    core.fill(filled("entry1", 100.0, 100.0))
    assert unmet(core, above, AAA=0.1) == []  # held
    [(what, text)] = unmet(core, above, AAA=0.5)  # a top-up that comes to nothing
    assert (what, text) == ("cut", "buy AAA: a weight of 0.5 wanted, cut to 0.1: risk.max_position_pct is 10.")
    assert unmet(core, above, AAA=0.5) == unmet(core, above, AAA=0.6) == unmet(core, above, AAA=0.05) == []


def test_a_short_that_a_cash_account_may_not_have():
    above = set()
    core = core_of(daily(*LIST).upto(1), risk=botlib.Risk(max_position_pct=10.0, account="cash", stop_loss_pct=None,
                                                          take_profit_pct=None))
    assert unmet(core, above, AAA=-0.1) == [
        ("refused", "sell 100 AAA refused, no shorts in a cash account.")]


def test_a_halt_is_said_once_by_itself():
    above = set()
    core = core_of(daily(*LIST).upto(1), risk=TENTH, safety=botlib.SafetyControls())
    core.book.world["state"] = 2
    assert unmet(core, above, AAA=0.1) == []


@pytest.mark.parametrize("count", [4, 500])
def test_many_refusals_of_one_kind_are_one_sentence(count):
    symbols = [f"S{n:03d}" for n in range(count)]
    cells = {symbol: [(100.0, 101.0, 99.0, 100.0)] * 2 for symbol in symbols}
    index = pd.DatetimeIndex(["2024-03-04", "2024-03-05"]).tz_localize("America/New_York")
    core = core_of(make_bars(cells, index=index), risk=TENTH, cash=900.0)  # under a share each
    said = unmet(core, set(), **dict.fromkeys(symbols, 0.1))
    if count == 4:
        assert said == [("refused", f"buy {symbol} refused, below one share.") for symbol in symbols]
    else:
        assert said == [("refused", "500 orders refused, below one share: S000, S001, S002, S003 and 496 more.")]
