"""What is sent, and what is not: shadow sessions, cancels that get lost, a broker with too many requests, a kill."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_helpers import FREE, Given, make_bars
from exchange_helpers import sessions
from session_helpers import Stage
from session_world import STRATEGY, World, folder, walk  # noqa: F401

import botlib
from botlib.errors import InputError
from botlib.sandbox import Fault

pytestmark = pytest.mark.slow

# ruff: noqa: F811

PRICES = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0, 108.0, 109.0]
WANTED = {"AAPL": [None, None, 0.1, None, None, 0.0]}


def stage(folder, wanted=WANTED, *, cells=None, **values):
    bars = make_bars(cells or {"AAPL": [(p, p + 1.0, p - 1.0, p + 0.5) for p in PRICES]}, sessions(len(PRICES)),
                     calendar="XNYS")
    return Stage(bars, Given(wanted), folder, first=3, http=True, values={
        "costs": FREE, "risk": botlib.Risk(max_position_pct=50.0, stop_loss_pct=20.0, take_profit_pct=50.0)} | values)


@pytest.fixture
def world(tmp_path):
    made = []

    def make(*args, **values):
        made.append(stage(tmp_path, *args, **values))
        return made[-1]

    yield make
    for one in made:
        one.close()


def to_bar(one, last):
    for bar in one.passes():
        if bar == last:
            return


def sends_nothing(one):
    """As a shadow session is made."""
    one.session.sender.sends = False
    one.session.options = replace(one.session.options, send=False)


def orders(one):
    """(client order id, status) of all the exchange has seen."""
    return sorted((o.client_order_id, str(o.status)) for o in one.exchange.orders.values())


# --- shadow -------------------------------------------------------------------------------------------------------


def test_a_shadow_session_does_not_start_on_a_ledger_that_holds_something(world):
    one = world()
    to_bar(one, 4)
    assert one.core.positions()
    one.end()
    before = orders(one)
    one.params = one.params.model_copy(update={"orders": "shadow"})
    with pytest.raises(InputError, match=r"orders = 'shadow': this ledger holds 97 AAPL and 2 orders at the broker"):
        one.begin()
    assert orders(one) == before


def test_whatever_the_book_wants_a_session_that_sends_nothing_cancels_nothing_either(world):
    """As it would be with positions: the exit of bar 5 would end the legs."""
    one = world()
    to_bar(one, 4)
    before = orders(one)
    sends_nothing(one)
    for _ in range(3):
        one.server.step()
        one.step()
    assert orders(one) == before and one.exchange.positions["AAPL"].qty == 97.0


def test_an_order_that_a_crash_left_unsent_is_not_sent_by_a_shadow_session(world, monkeypatch):
    one = world()
    one.begin()
    monkeypatch.setattr(one.session.sender, "submit", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        one.step()  # written down, and gone before anything was sent
    assert list(one.started.repository.intents(one.started.ledger_id)["state"]) == ["recorded"]
    one.end()
    one.begin()
    sends_nothing(one)
    one.step()
    assert orders(one) == []
    assert list(one.started.repository.intents(one.started.ledger_id)["state"]) == ["shadow"]


# --- cancels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False])
def test_a_cancel_that_gets_lost_is_asked_for_again(world, accepted):
    one = world()
    to_bar(one, 4)
    one.server.fault(Fault(kind="reset", method="DELETE", times=1, accepted=accepted))
    one.server.step()
    one.step()  # the exit: its legs are to end first
    one.server.step()
    one.step()
    one.server.step()
    one.step()
    assert one.core.positions() == {} and "AAPL" not in one.exchange.positions


def test_a_cancel_that_the_broker_turns_away_is_asked_for_again(world):
    one = world()
    to_bar(one, 4)
    one.server.fault(Fault(kind="status", status=429, method="DELETE", times=1))
    for _ in range(3):
        one.server.step()
        one.step()
    assert one.core.positions() == {} and "AAPL" not in one.exchange.positions


def test_an_entry_that_fills_while_its_cancel_is_asked_for_can_be_left(world):
    """Its legs act, whatever was asked of the group; the exit after it ends them."""
    one = world({"AAPL": [None, None, 0.1, None, None, 0.0]})
    to_bar(one, 2)
    [entry] = [link for link in one.core.links.values() if link.role == "entry"]
    for link in one.core.links.values():  # as a cancel leaves them that comes too late
        link.cancel_asked = True
    assert entry.cancel_asked
    for _ in range(6):
        one.server.step()
        one.step()
    assert one.core.positions() == {} and "AAPL" not in one.exchange.positions


# --- too many requests --------------------------------------------------------------------------------------------


def test_an_order_that_was_turned_away_goes_in_the_next_pass(world):
    one = world()
    one.begin()
    one.server.fault(Fault(kind="status", status=429, method="POST", times=1))
    one.step()
    assert orders(one) == []
    assert list(one.started.repository.intents(one.started.ledger_id)["state"]) == ["recorded"]
    one.step()
    assert [status for _, status in orders(one)].count("held") == 2 and len(orders(one)) == 3


# --- somebody wants something -------------------------------------------------------------------------------------


def test_no_entry_leaves_while_somebody_waits(world):
    """Of two entries the second stays where it is when a kill is asked for after the first."""
    row = [(p, p + 1.0, p - 1.0, p + 0.5) for p in PRICES]
    one = world({"AAPL": [None, None, 0.1], "MSFT": [None, None, 0.1]}, cells={"AAPL": row, "MSFT": row})
    one.begin()
    one.session.hurry = lambda: bool(one.exchange.orders)
    one.step()
    assert {o.symbol for o in one.exchange.orders.values()} == {"AAPL"}
    one.session.hurry = lambda: False
    one.session.kill("asked for")
    one.step()
    assert {o.symbol for o in one.exchange.orders.values()} == {"AAPL"}
    states = one.started.repository.intents(one.started.ledger_id).set_index("symbol")["state"]
    assert states["MSFT"] == "abandoned"


class Asked(World):
    """Six entries leave, 0.15 s apart; a kill is asked for once the first is at the broker."""

    def tick(self):
        self.time.now += 0.15
        if self.exchange.orders and "kill" not in self.said:
            self.said.append("kill")
            self.ask("kill")


def test_a_kill_that_comes_while_orders_leave_stops_all_that_follow(folder):
    """It is looked for every 0.4 s, and once seen not forgotten before the next pass."""
    (folder / "turns.py").write_text(STRATEGY.replace("2 * np.arange", "0 * np.arange"))
    one = Asked(folder, bars=walk(symbols=("AAPL", "KO", "TSLA", "MSFT", "PG", "XOM")))
    assert one.run().status == "halted"
    sent = [o.client_order_id for o in one.ours() if o.side > 0]
    with one.ledger() as repository:
        intents = repository.intents(1)
    states = intents["state"][intents["side"] == "buy"]
    assert len(states) == 6 and 1 <= len(sent) <= 4
    assert list(states[len(sent):]) == ["abandoned"] * (6 - len(sent))
