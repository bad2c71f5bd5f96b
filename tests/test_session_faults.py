"""What can go wrong between a session and its broker: every fault with what must be true afterwards.

The exchange runs in this process behind real alpaca-py, time is virtual, and a session that met faults must have done
exactly what one without them did, where they can be made good.
"""

from __future__ import annotations

import pandas as pd
import pytest
from session_world import World, clean, folder, walk  # noqa: F401

from botlib.errors import InputError
from botlib.order_request import OrderRequest
from botlib.sandbox.faults import Fault

pytestmark = pytest.mark.slow

# ruff: noqa: F811


def orders(**fields) -> Fault:
    return Fault(method="POST", path="/v2/orders", **fields)


UNCLEAR = {
    "timeout": {"kind": "no_reply"}, "late": {"kind": "delay", "seconds": 5.0}, "reset": {"kind": "reset"},
    "500": {"kind": "status", "status": 500}, "504": {"kind": "status", "status": 504},
    "html": {"kind": "html", "status": 200}, "malformed": {"kind": "malformed"},
}


# --- 1, 2, 3, 6, 7, 8: answers that cannot be relied on ---------------------------------------------------------------

@pytest.mark.parametrize("name", UNCLEAR)
def test_unclear_answers_to_orders(folder, clean, name):
    """A third of all orders meet one, whether they arrived or not: each intent has one order, and all trades are those
    of a session without faults."""
    arrived = {2: True, 5: False, 8: True, 11: False, 14: False}
    world = World(folder, *(orders(**UNCLEAR[name], accepted=accepted, nth=n) for n, accepted in arrived.items()))
    summary = world.run()
    assert summary.status == "success"
    assert len(world.faults.log) == 5
    world.check()
    assert world.fills() == clean.fills()


def test_the_broker_knows_the_id_already(folder, clean):
    """422: the order exists; it is fetched, compared and adopted."""
    world = World(folder, orders(kind="no_reply", accepted=True, times=3),
                  Fault(kind="status", status=503, method="GET", path="/v2/orders:by_client_order_id", times=4))
    assert world.run().status == "success"
    world.check()
    assert world.fills() == clean.fills()


def test_an_order_that_cannot_be_found_out_about_counts_and_is_not_sent_again(folder):
    """The broker takes the order and nobody can look it up for days: no second order, whatever the strategy wants."""
    world = World(folder, orders(kind="no_reply", accepted=True, times=1),
                  Fault(kind="status", status=503, method="GET", path="/v2/orders:by_client_order_id"))
    world.run()
    world.check()
    assert len(world.ours()) > 5


# --- 4, 5, 45: reads fail ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("path", "fault"), [
    ("/v2/positions", {"kind": "html", "status": 200}), ("/v2/account", {"kind": "status", "status": 500}),
    ("/v2/orders", {"kind": "malformed"}), ("/v2/account/activities*", {"kind": "status", "status": 429}),
    ("/v2/clock", {"kind": "no_reply"}), ("/v2/stocks/bars", {"kind": "status", "status": 502}),
    ("/v1/corporate-actions", {"kind": "html", "status": 200})])
def test_a_read_that_fails_is_never_flat_or_zero(folder, clean, path, fault):
    """The pass breaks off, nothing is decided on half a picture, and the next one loses nothing."""
    world = World(folder, Fault(method="GET", path=path, bars=(9, 14), probability=0.45, **fault), seed=5)
    assert world.run().status == "success"
    assert len(world.faults.log) >= 4
    world.check()
    assert world.fills() == clean.fills()


def test_a_long_outage(folder, clean):
    """Everything fails for a quarter of an hour of retries; no order is given up by counting."""
    world = World(folder)
    gone = []

    def cut(w: World) -> None:
        if w.exchange.bar == 12 and not gone:
            gone.append(w.time.now)
            w.faults.add(Fault(kind="reset", times=300))

    world.after = cut
    assert world.run().status == "success"
    assert world.time.now - gone[0] > 600.0
    world.check()
    assert world.fills() == clean.fills()
    assert any("next try in 30 s" in line for line in world.said)
    assert [kind for kind, _ in world.told].count("alarm") == 1


# --- 9, 10: refusals --------------------------------------------------------------------------------------------------

def test_a_refusal_is_recorded_and_not_repeated(folder):
    world = World(folder, orders(kind="status", status=403, bars=(10, 12)))
    world.run()
    world.check()
    with world.ledger() as repository:
        intents = repository.intents(1)
    refused = intents[intents["state"] == "rejected"]
    assert 1 <= len(refused) <= 12
    assert refused.groupby("uid")["attempt"].max().max() <= 5


# --- 11, 12, 14: cancels and parts ------------------------------------------------------------------------------------

def test_fills_in_parts(folder, clean):
    """Half of all fills come in two parts."""
    world = World(folder, Fault(kind="partial_fills", percent=50.0))
    summary = world.run()
    assert summary.status == "success" and summary.total_fills > len(clean.fills())
    world.check()


def test_cancels_that_stay_pending(folder):
    """A leg that will not end stays exposure: nothing is sold twice, a person is told, and it goes on when it ends."""
    world = World(folder, Fault(kind="stuck_cancel", bars=(11, 14)))
    assert world.run().status == "success"
    world.check()
    assert any("is not confirmed" in text for kind, text in world.told if kind == "alarm")


@pytest.mark.parametrize("accepted", [True, False])
def test_cancels_with_unclear_answers(folder, clean, accepted):
    world = World(folder, Fault(kind="reset", method="DELETE", probability=0.5, accepted=accepted), seed=2)
    assert world.run().status == "success"
    world.check()


# --- 22, 26, 27, 29, 30: the world ------------------------------------------------------------------------------------

def test_a_halt(folder):
    """Orders wait, nothing is doubled, and trading goes on when it is lifted."""
    world = World(folder, Fault(kind="halt", symbol="AAPL", bars=(9, 14)))
    assert world.run().status == "success"
    world.check()
    assert "AAPL" in {fill[1] for fill in world.fills()}


def test_a_blocked_account(folder):
    """No entry is sent while it is blocked; the hold lifts itself."""
    world = World(folder, Fault(kind="account_blocked", bars=(10, 14)))
    before = {}

    def count(w: World) -> None:
        before[w.exchange.bar] = len(w.ours())

    world.after = count
    assert world.run().status == "success"
    world.check(protected=False)
    assert before[14] == before[10] and before[21] > before[14]
    assert any("account-blocked" in line and "lifted" not in line for line in world.said)
    assert any("lifted, account-blocked" in line for line in world.said)


def test_the_users_own_order_is_left_alone(folder):
    order = {"symbol": "AAPL", "qty": "7", "side": "buy", "type": "market", "time_in_force": "day"}
    world = World(folder, Fault(kind="foreign_order", bars=(5, 5), order=order))
    summary = world.run()
    assert summary.status == "success" and summary.exit_code == 0
    world.check()
    with world.ledger() as repository:
        externals = repository.events(1, kind="external")
    assert [(row["symbol"], row["side"], row["qty"]) for row in externals["data"]] == [("AAPL", "buy", 7.0)]
    assert world.session.memory.externals.shares == {"AAPL": 7.0}
    assert world.exchange.positions["AAPL"].qty - world.session.core.positions().get("AAPL", 0.0) == 7.0


def test_deposits_move_peak_and_day_start_once(folder):
    world = World(folder, Fault(kind="deposit", bars=(12, 12), amount=50_000.0),
                  Fault(kind="deposit", bars=(16, 16), amount=-20_000.0))
    summary = world.run()
    world.check()
    watch = world.session.watch
    assert summary.status == "success" and not summary.unexplained
    assert abs(summary.total_pnl) < 5_000.0  # what was paid in is no profit
    assert 125_000.0 < watch.peak < 135_000.0


def test_a_paper_reset_ends_the_session(folder):
    world = World(folder, Fault(kind="paper_reset", bars=(12, 12), amount=50_000.0))
    summary = world.run()
    assert summary.status == "error" and "a paper account that was reset gets a new id" in summary.reason
    assert not world.ours()  # on the new account
    again = World(folder)
    again.exchange, again.host, again.faults = world.exchange, world.host, world.faults
    again.epoch = "e2"
    assert again.run().status == "success"
    with again.ledger() as repository:
        assert [row.capital for row in repository.ledgers()] == [100_000.0, 50_000.0]


def test_buying_power_is_asked_anew(folder):
    """The exchange refuses what does not fit; the next decision is made with what there is, and nothing shrinks in a
    loop."""
    world = World(folder, Fault(kind="deposit", bars=(10, 10), amount=-75_000.0))
    assert world.run().status in ("success", "halted")
    world.check()
    with world.ledger() as repository:
        assert repository.intents(1)["attempt"].max() <= 2


# --- 28: corporate actions --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("action", [{"kind": "split", "ratio": 2.0}, {"kind": "dividend", "amount": 1.0}],
                         ids=["split", "dividend"])
def test_corporate_actions_overnight(folder, action):
    bars = walk()
    fault = Fault(symbol="AAPL", bars=(13, 13), **action)
    from botlib.sandbox.overnight import with_action

    world = World(folder, bars=with_action(bars, fault))
    summary = world.run()
    assert summary.status == "success" and not summary.unexplained
    world.check(split=True)
    with world.ledger() as repository:
        assert len(repository.events(1, kind="corporate-action")) == 1


# --- 32, 36: other sessions -------------------------------------------------------------------------------------------

def test_an_open_order_of_another_session_refuses_the_start(folder):
    world = World(folder)
    world.exchange.submit(OrderRequest(symbol="AAPL", side="buy", qty=1.0, client_order_id="botlib1-AAPL-entry-x"))
    with pytest.raises(InputError, match="open orders of another session of botlib that this database does not know"):
        world.begin()


def test_an_order_of_another_session_allows_only_exits(folder):
    """It appears while the session runs: two programs trade this account."""
    world = World(folder)

    def intrude(w: World) -> None:
        if w.exchange.bar == 5:
            w.exchange.submit(OrderRequest(symbol="AAPL", side="buy", qty=1.0, client_order_id="botlib1-AAPL-entry-x"))

    world.after = intrude
    summary = world.run()
    with world.ledger() as repository:
        intents = repository.intents(1)
        bought = repository.fills(1, since=pd.Timestamp("2024-03-13", tz="UTC"))
    assert not (bought["side"] == "buy").any()
    assert set(intents[intents["state"] == "rejected"]["reason"]) == {"reduce-only"}
    assert summary.unexplained and summary.exit_code == 4
