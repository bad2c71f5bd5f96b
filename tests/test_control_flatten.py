"""To sell everything where no session runs: in the middle of a bar, and what is said of shares that are left bare."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import pytest
from session_world import World, folder  # noqa: F401

from botlib import control_actions, control_reconcile
from botlib.control import Subject
from botlib.errors import BotlibError
from botlib.repository import Repository

# ruff: noqa: F811


class Desk(control_actions.Desk):
    """Beside the exchange of a world."""

    world: World

    @contextmanager
    def venue(self):
        """The world's."""
        yield self.world.venue()


@pytest.fixture
def desk(folder, monkeypatch):
    """A session bought KO, protected it and died."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    world = World(folder)
    started = world.begin()
    while not started.session.core.positions():
        started.session.step()
        world.host.step(1)
        started.session.step()
    assert list(started.session.core.positions()) == ["KO"]
    started.close(started.session.time)
    repository = Repository.open("t.sqlite", root=folder)
    (row,) = repository.sessions(1).itertuples()
    session = repository.session(row.id)
    session = dataclasses.replace(session, params=session.params | {"venue": "alpaca", "provider": "alpaca"})
    said: list[str] = []
    made = Desk(repository, Subject(ledger=repository.ledgers()[0], session=session, lease=None, life="over"), folder,
                environ={}, say=said.append, seconds=0.0)
    made.__class__.world = world
    yield made, world, said
    repository.close()


def of_ko(world):
    world.exchange.settle()
    return [(o.side, o.type) for o in world.exchange.book.live() if o.symbol == "KO"]


def test_in_the_middle_of_a_bar_the_sale_waits_for_its_close_and_nobody_is_told_that_all_is_well(desk):
    made, world, said = desk
    x = world.exchange
    held, bar = x.account.qty("KO"), x.tape.bar + 1
    assert sorted(of_ko(world)) == [(-1, "limit"), (-1, "stop")]
    x.open_bar()
    with pytest.raises(BotlibError, match=rf"^{held:g} KO not sold within 0 s, although the market is open"):
        control_actions.flatten(made)
    assert of_ko(world) == [(-1, "market")]
    x.close_bar()
    sold = [a for a in x.activities if a.type == "FILL"][-1]
    assert (sold.symbol, sold.qty, sold.price) == ("KO", held, world.bars.close[bar, x.tape.column["KO"]])
    control_actions.flatten(made)  # and what became of it is written down
    assert said[-1] == "[POSITIONS] nothing; 0 orders at the broker"
    assert control_reconcile.reconcile(made) == ([], [])


def test_while_the_market_is_closed_the_sale_waits_for_the_open(desk):
    made, world, said = desk
    control_actions.flatten(made)
    held = world.exchange.account.qty("KO")
    assert said[-1] == f"[POSITIONS] {held:g} KO; 1 order at the broker: the market is closed"
    assert control_reconcile.reconcile(made) == ([], [])  # its way out works
    world.host.step(1)
    assert world.exchange.account.qty("KO") == 0.0


def test_shares_whose_sale_expired_are_told_as_bare(desk):
    made, world, _ = desk
    x = world.exchange
    assert control_reconcile.reconcile(made) == ([], [])
    x.open_bar()
    with pytest.raises(BotlibError):
        control_actions.flatten(made)
    x.halt("KO")
    x.close_bar()
    differences, [line] = control_reconcile.reconcile(made)
    held = x.account.qty("KO")
    assert differences == []  # shares and cash are as the ledger has them
    assert line == (f"{held:g} KO: no order works to sell or cover them any more (market expired at the broker); a "
                    "session sends what they need, python -m botlib flatten closes them")
