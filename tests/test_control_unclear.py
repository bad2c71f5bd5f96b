"""A kill without bars or a strategy finds entries whose answer was lost; a process that is gone is told as gone."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from contextlib import contextmanager

import pandas as pd
import pytest
from session_world import World, folder  # noqa: F401

from botlib import control_actions
from botlib.control import Subject
from botlib.panel_status import read
from botlib.repository import Lease, Repository
from botlib.repository.hosts import here
from botlib.sandbox.faults import Fault

# ruff: noqa: F811

LOST = (Fault(kind="no_reply", method="POST", path="/v2/orders", accepted=True, times=1),
        Fault(kind="status", status=503, method="GET", path="/v2/orders:by_client_order_id"))


class Desk(control_actions.Desk):
    """Beside the exchange of a world."""

    world: World

    @contextmanager
    def venue(self):
        """The world's."""
        yield self.world.venue()


@pytest.fixture
def desk(folder, monkeypatch):
    """A session died while nobody knew what became of its first entry, and its strategy is gone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    world = World(folder, *LOST)
    started = world.begin()
    started.session.step()
    world.host.step(1)
    started.session.step()  # KO is to be bought
    started.close(started.session.time)
    (folder / "turns.py").unlink()
    repository = world.ledger()
    state = repository.checkpoint(1)
    unclear = [x for x in state["core"]["intents"] if x["state"] != "working"]
    assert unclear and not [x for x in state["core"]["links"] if x["client_order_id"] == unclear[0]["client_order_id"]]
    (row,) = repository.sessions(1).itertuples()
    session = repository.session(row.id)
    session = dataclasses.replace(session, params=session.params | {"venue": "alpaca"})
    said: list[str] = []
    made = Desk(repository, Subject(ledger=repository.ledgers()[0], session=session, lease=None, life="over"), folder,
                environ={}, say=said.append)
    made.__class__.world = world
    yield made, world, said
    repository.close()


def working(world):
    world.exchange.settle()
    return [o for o in world.ours() if o.open and o.side > 0]


def test_a_kill_cancels_entries_whose_answer_was_lost(desk):
    made, world, said = desk
    world.faults.clear()
    assert working(world)
    assert control_actions.kill(made)
    assert not working(world)
    assert said[-1].startswith("[KILL] 1 entry cancelled by id") or " entries cancelled by id" in said[-1]


def test_a_kill_that_cannot_find_out_says_so_and_goes_on_with_the_others(desk):
    made, world, said = desk
    assert working(world)
    assert not control_actions.kill(made)
    assert any(line.startswith("[PROBLEM] the entry botlib1-") for line in said)
    with world.ledger() as repository:
        assert repository.safety(1).latched


@pytest.mark.parametrize("change", ["", "process = 'an earlier process of that number'", "boot_id = 'another boot'"])
def test_the_panel_knows_a_process_that_only_has_the_number(tmp_path, change):
    now, me = pd.Timestamp("2024-03-04 21:20", tz="UTC"), here()
    with Repository.open(tmp_path / "t.sqlite", root=tmp_path) as repository:
        ledger = repository.ledger("account-1", "e1", venue="alpaca-paper", capital=1e5, time=now)
        lease = Lease.take(repository, "account-1", "s1", state_folder=tmp_path / "state", now=now, host=me.host,
                           pid=os.getpid(), boot_id=me.boot_id)
        with repository.writing() as tx:
            tx.session("s1", ledger.id, kind="paper", time=now, strategy="cross", limits={}, host=me.host,
                       pid=os.getpid())
        if change:
            with sqlite3.connect(tmp_path / "t.sqlite") as other:
                other.execute(f"UPDATE leases SET {change}")
        assert read(repository, "s1").gone is bool(change)
        lease.release(now)
        assert read(repository, "s1").gone
