"""What is written down as where a restart goes on is the whole state, at every commit, however much of it was kept."""

from __future__ import annotations

import json
import math
import random
import zlib
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_helpers import again, core_of, decide, filled, says, send
from session_world import World, clean, folder  # noqa: F401
from test_booking import LIST, begun, daily
from test_exchange_parity import COSTS, risk_of
from test_session_crash import EVERY, crashes, lives
from test_session_parity import (
    COSTLY,
    PROTECTED,
    Targets,
    as_traded,
    changing_its_mind,
    examples,
    options_of,
    play,
    sessions_of,
)
from worlds import worlds

from botlib.repository.values import Packer, unpack
from botlib.session import core as core_module
from botlib.session import keeping
from botlib.session.keeping import Keeper
from botlib.session.memory import Memory

# ruff: noqa: F811


def plain(core, memory: Memory) -> dict:
    """The state as JSON has it, made anew."""
    return json.loads(json.dumps({"core": core.state(), **memory.plain()}, allow_nan=False))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """Every checkpoint and every opening of a decision is compared with the state made anew; how many there were."""
    with pytest.MonkeyPatch.context() as patch:
        seen: Counter = Counter()
        checkpoint, opening, packed = Keeper.checkpoint, Keeper.opening, Keeper.packed

        def compared(self, core, memory):
            made, expected = checkpoint(self, core, memory), plain(core, memory)
            assert unpack(made, "it") == expected
            seen["checkpoints"] += 1
            seen["orders"] += len(expected["core"]["book"]["orders"])
            seen["links"] += len(expected["core"]["links"])
            return made

        def opened(self, core):
            made = opening(self, core)
            state = json.loads(json.dumps(core.state(), allow_nan=False))
            expected = {name: value for name, value in state.items() if name not in ("activities", "finished")}
            assert self.state(made) == expected
            seen["openings"] += 1
            return made

        def written(self, pieces):
            made = packed(self, pieces)
            assert unpack(made, "it") == json.loads("".join(pieces))
            return made

        patch.setattr(Keeper, "checkpoint", compared)
        patch.setattr(Keeper, "opening", opened)
        patch.setattr(Keeper, "packed", written)
        patch.setattr(keeping, "_PIECE", 3)  # many pieces of a few records
        yield seen


@pytest.mark.slow
@examples(5)
@given(world=worlds(volumes=True), how=sessions_of(), legs=PROTECTED, costs=COSTLY, forgets=st.booleans())
def test_sessions_that_end_begin_and_forget(world, how, legs, costs, forgets):
    """Orders by number, cancelled and replaced, splits, restarts at any bar; with ``forgets`` rows of the book change
    their numbers after every pass."""
    bars, targets = as_traded(world)
    if len(bars) < 4:
        return
    with pytest.MonkeyPatch.context() as patch:
        if forgets:
            patch.setattr(core_module, "_DEAD", -10**6)
        for strategy in (Targets(targets), *([changing_its_mind(world.seed)] if bars.interval == "1h" else [])):
            play(bars, strategy, **options_of(bars, how, risk=risk_of(legs, 150.0), costs=COSTS[costs]))


@pytest.fixture(autouse=True)
def _every_commit(checked: Counter) -> Iterator[None]:
    yield


@pytest.mark.slow
def test_a_session_that_crashes_anywhere(folder, clean, monkeypatch, checked):
    chance = random.Random(5)
    world = World(folder, options={"unknown_seconds": 1.0})
    crashes(world, monkeypatch, {p: {n for n in range(1, 500) if chance.random() < 0.12} for p in EVERY})
    lives(world)
    world.check()
    assert world.fills() == clean.fills()
    assert checked["checkpoints"] > 60 and checked["openings"] > 10
    assert checked["orders"] > 100 and checked["links"] > 100


# --- a core by hand ---------------------------------------------------------------------------------------------------


def kept(core):
    keeper = Keeper()
    return keeper, lambda: keeper.state(keeper.opening(core))


def other(value):
    """Something else of the same kind."""
    match value:
        case bool():
            return not value
        case str():
            return value + "x"
        case tuple():
            return (*value, 77)
        case dict():
            return {**value, "stop_loss": "x"}
        case list():
            return [*value, [1.0, 2.0, 3.0]]
        case _:
            return 1.0 if value is None else value + 1


def test_every_field_of_a_link_and_of_an_intent_counts():
    """Whatever changes, and changes back, is told; nobody has to say that it did."""
    core = begun(bars=daily(*LIST))
    core.fill(filled("entry1", 60.0, 100.0))
    says(core, "entry1", "partially_filled", filled_qty=60.0)
    link, intent = core.links["entry1"], next(iter(core.intents.values()))
    _, told = kept(core)
    told()
    for kind, one in (("links", link), ("intents", intent)):
        for name in set(type(one).__dataclass_fields__) - {"request"}:  # which never changes
            before = getattr(one, name)
            for value in (other(before), before):
                setattr(one, name, value)
                assert json.loads(json.dumps(one.plain())) in told()[kind], name
    link.parts[0][2] = 123.0  # in place
    link.parts.append([1.0, 2.0, 3.0])
    intent.legs["stop_loss"] = "y"
    assert link.plain() in told()["links"] and json.loads(json.dumps(intent.plain())) in told()["intents"]


def test_the_books_own_records_count():
    core = begun(bars=daily(*LIST))
    core.fill(filled("entry1", 100.0, 100.0))
    says(core, "entry1", "filled", filled_qty=100.0)
    _, told = kept(core)
    told()
    core.book.orders["quantity"][0], core.book.lots["stop"][0], core.book.wanted[0] = 55.0, 12.5, 0.25
    core.book.orders["limit"][0] = math.nan
    book = told()["book"]
    assert (book["orders"][0]["quantity"], book["orders"][0]["limit"]) == (55.0, None)
    assert book["lots"][0]["stop"] == 12.5
    assert next(iter(book["symbols"].values()))["wanted"] == 0.25
    core.book.orders["limit"][0] = math.inf
    assert told()["book"]["orders"][0]["limit"] == "inf"


def test_a_decision_is_undone_with_what_its_opening_says():
    core = core_of(daily(*LIST))
    decide(core, **{core.bars.symbols[0]: 0.5})
    send(core)
    core.finished, core.booked_activities = {"a": None, "b": None}, ["c"]
    keeper, _ = kept(core)
    before, opening = core.state(), keeper.opening(core)
    decide(core, **{core.bars.symbols[0]: 0.0})
    assert core.state() != before
    core.back_to(keeper.state(opening))
    assert core.state() == before
    assert "finished" not in unpack(keeper.packed(opening), "it")


def test_a_state_that_says_how_old_things_are_is_read():
    """So did earlier versions."""
    core = begun(bars=daily(*LIST))
    core.fill(filled("entry1", 100.0, 100.0))
    state = core.state()
    new = again(core).state()
    last = state["book"].pop("t")
    for kind, name in (("orders", "decided"), ("lots", "entry_bar")):
        for one in state["book"][kind]:
            one["age"] = last - one.pop(name)
    assert state["book"]["lots"] and state["book"]["orders"]
    core.back_to(state)
    assert core.state() == new


# --- packing ----------------------------------------------------------------------------------------------------------


def test_pieces_in_any_order_are_one_zlib_stream():
    packer = Packer()
    pieces = ['{"a":[1,2', ',3],"b":"' + "x" * 70_000, "", '"}']
    for some in (pieces, pieces, [pieces[0], ',4],"b":"', '"}'], pieces, []):
        made = packer.pack(some)
        assert zlib.decompress(made) == "".join(some).encode()
        assert packer.pack(some, aside=True) == made
    assert len(packer.pack(pieces)) < 1000
    with pytest.raises(zlib.error):
        zlib.decompress(packer.pack(pieces)[:-1] + b"!")


def test_only_new_pieces_are_compressed(monkeypatch):
    packer, real, asked = Packer(), zlib.compressobj, []
    monkeypatch.setattr(zlib, "compressobj", lambda *given: asked.append(given) or real(*given))
    packer.pack(["a", "b", "c"])
    packer.pack(["a", "c", "d"], aside=True)
    packer.pack(["c", "b", "e"])
    assert len(asked) == 3 + 1 + 1
    packer.pack(["a"])  # it was not there the last time
    assert len(asked) == 6
