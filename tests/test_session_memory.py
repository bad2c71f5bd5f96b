"""What a session keeps does not grow with what it has done, and forgetting changes nothing of what it does."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from engine_helpers import OnBar
from exchange_helpers import hours, intraday, order
from hypothesis import given
from repository_helpers import finish, start
from session_helpers import Stage
from session_world import walk
from test_exchange_parity import COSTS, risk_of
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
    stage,
)
from worlds import worlds

from botlib import buy, cancel
from botlib.brokers.alpaca import order_reads
from botlib.session import core as core_module

pytestmark = pytest.mark.slow  # whole sessions


@pytest.fixture(scope="module", autouse=True)
def _forgetful() -> Iterator[None]:
    """Every pass ends with the book forgetting what is over: after a few orders instead of a thousand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_module, "_DEAD", -10**6)
        yield


def test_a_session_that_always_has_an_order_open_keeps_no_more_for_it(tmp_path, monkeypatch):
    """Three symbols that take turns: each bar one is bought or sold, so that an order works at the end of each pass."""
    monkeypatch.setattr(order_reads, "_REMEMBERED", 40)
    bars = walk(70, volatility=0.02)
    turn = (np.arange(70)[:, None] + 2 * np.arange(3)) % 6
    row = np.where(turn == 0, 0.2, np.where(turn == 4, 0.0, np.nan))
    targets = {symbol: [None if np.isnan(v) else v for v in row[:, n]] for n, symbol in enumerate(bars.symbols)}
    kept = []

    def look(played: Stage, _report: object) -> None:
        core, recorder = played.core, played.session.recorder
        kept.append([len(core.uids), len(core.rows), len(core.names), len(core._attempts), len(core._tries),
                     len(core.entered), len(core.links), len(core.intents), int(core.book["n_orders"]),
                     len(recorder._told), len(recorder._recorded), len(played.session._decided_on)])

    made = Stage(bars, Targets(targets), tmp_path, look=look,
                 values={"risk": risk_of("both"), "costs": COSTS["paid"]})
    try:
        made.play()
        assert sum(bool(report.open_orders) for report in made.reports[1:]) >= 60
        assert len(made.exchange.orders) > 100
        assert (np.max(kept, axis=0) <= 20).all(), np.max(kept, axis=0)
        assert len(made.started.venue.broker._client_ids) == 40
        fills = [(uid, report) for report in made.reports for _, uid in report.fills]
        assert len(fills) > 60 and all(report.purposes[uid] in ("entry", "exit", "stop", "target")
                                       for uid, report in fills)  # told, though the book has forgotten the order
        line = made.parity()
        assert line.equal, str(line)
    finally:
        made.close()


def test_what_fills_are_told_with_is_remembered_of_the_orders_read_last(tmp_path, monkeypatch):
    """Alpaca's fills do not name our ids: those of an order that still works stay, however many others come."""
    monkeypatch.setattr(order_reads, "_REMEMBERED", 3)
    bars = intraday(hours(2, "09:30:00", "10:30:00", "11:30:00"), [100.0] * 6)
    with stage(bars, OnBar({}), first=1) as played:
        played.begin()
        broker = played.started.venue.broker
        resting = played.exchange.submit(order(limit_price=50.0, client_order_id="resting"))
        for n in range(6):
            other = played.exchange.submit(order(limit_price=40.0, client_order_id=f"other-{n}"))
            broker.open_orders()
            played.exchange.cancel(other.id)
        assert len(broker._client_ids) == 3
        assert broker._client_ids[resting.id] == "resting"
        assert "other-5" in broker._client_ids.values() and "other-0" not in broker._client_ids.values()


def test_a_strategy_cancels_by_a_number_it_has_kept(tmp_path):
    """Orders of the second bar rest; one is cancelled two bars later by the number it had when it was new, and once
    more when the book has forgotten it and counts its rows anew. The other one stays."""
    cells = [100.0, 100.0, 100.0, 100.0, 100.0, (100.0, 100.0, 90.0, 91.0)]
    bars = intraday(hours(1, "09:30:00", "10:30:00", "11:30:00", "12:30:00", "13:30:00", "14:30:00"), cells)
    kept: dict[float, int] = {}

    def answer(view):
        for one in view.open_orders:
            kept.setdefault(one.quantity, one.id)
        return {0: buy("AAA", 1.0), 1: [buy("AAA", 5.0, limit=95.0), buy("AAA", 7.0, limit=94.0)],
                3: cancel("AAA", kept.get(5.0)), 4: [cancel("AAA", kept.get(5.0)), cancel("AAA", 1)]}.get(view.t)

    with stage(bars, OnBar(answer), first=1, values={"risk": risk_of("none"), "costs": COSTS["free"]}) as played:
        played.play()
        fills = [(f.qty, f.price) for report in played.reports for f, _ in report.fills]
        assert fills == [(1.0, 100.0), (7.0, 94.0)]
        assert kept == {5.0: 2, 7.0: 3}
        assert played.core.rows == {1: 0, 3: 1}  # the entries of what is held


@pytest.mark.parametrize(("number", "raises"), [(1, False), (2, False), (99, True), (0, True)])
def test_a_number_that_was_never_given_is_the_strategys_mistake(number, raises):
    bars = intraday(hours(1, "09:30:00", "10:30:00", "11:30:00", "12:30:00", "13:30:00"), [100.0] * 5)
    answers = {0: buy("AAA", 1.0), 1: buy("AAA", 2.0, limit=95.0), 3: cancel("AAA", number)}
    with stage(bars, OnBar(answers), first=1, values={"risk": risk_of("none"), "costs": COSTS["free"]}) as played:
        passes = played.passes()
        if raises:
            with pytest.raises(Exception, match=f"cancelled order {number} of AAA, which is none of its orders"):
                list(passes)
        else:
            list(passes)
            (resting,) = [o for o in played.exchange.orders.values() if o.limit_price == 95.0]
            assert (resting.status == "canceled") == (number == 2)  # number 1 has filled: nothing ends for it


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_ledger_that_grows_by_30_mb_takes_less_than_8_mb_of_memory(tmp_path):
    """Decisions with what was known before them are most of a ledger; SQLite keeps pages that were written."""
    said = finish(start(tmp_path, """
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

        with Repository.open(db) as repository:
            number = repository.ledger("a", "1", venue="sandbox", capital=1.0, time=NOW).id
            for n in range(1600):
                if n == 100:
                    before = resident()
                with repository.writing() as tx:
                    tx.decision(number, bar_time=NOW + pd.Timedelta(n, "min"), interval="1m", time=NOW,
                                opening={"noise": os.urandom(20_000).hex()})
            print(os.stat(db).st_size / 1e6, resident() - before)
        """, tmp_path / "t.sqlite"), 120.0)
    size, grown = map(float, said.split())
    assert size > 30.0 and grown < 8.0


@examples(4)
@given(world=worlds(volumes=True).filter(lambda w: w.bars.interval == "1h"), how=sessions_of(), legs=PROTECTED,
       costs=COSTLY)
def test_orders_that_rest_and_are_cancelled_are_the_backtests(world, how, legs, costs):
    bars, _ = as_traded(world)
    if len(bars) >= 4:
        play(bars, changing_its_mind(world.seed), **options_of(bars, how, risk=risk_of(legs, 150.0),
                                                               costs=COSTS[costs]))


@examples(4)
@given(world=worlds(volumes=True), how=sessions_of(), legs=PROTECTED, costs=COSTLY)
def test_any_world(world, how, legs, costs):
    bars, targets = as_traded(world)
    if len(bars) >= 4:
        play(bars, Targets(targets, tolerance=2.0), **options_of(bars, how, risk=risk_of(legs, 150.0),
                                                                 costs=COSTS[costs]))
