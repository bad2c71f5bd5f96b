"""A sweep on a Dask cluster of two processes gives the numbers of this one, also when a worker dies over it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_helpers import make_bars
from venue_helpers import until

import botlib
from botlib import Strategy, indicators, param, targets_from_signals
from botlib.errors import BotlibError, InputError, StrategyError
from botlib.strategies.loading import load
from botlib.tuning import cluster
from botlib.tuning.grid import grid_of
from botlib.tuning.running import Run, Terms
from botlib.tuning.sweep import sweep

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

GRID = {"period": [2, 3, 4, 5, 7, 10], "above": [1.0, 1.02], "stop_loss_pct": [None, 2.0]}


@dataclass(frozen=True)
class Dip(Strategy):
    """Buys below its average, sells above a multiple of it. Takes down a worker once, where it is told to."""

    period: int = param(3, low=1, high=50)
    above: float = param(1.01, low=0.5, high=1.5)

    @property
    def warmup(self) -> int:
        return self.period

    def targets(self, bars: Any) -> np.ndarray:
        die = os.environ.get("BOTLIB_TEST_DIE", "")
        if die and not Path(die).exists() and Path("/proc/self/cmdline").read_bytes().count(b"spawn"):
            Path(die).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average, bars.close > average * self.above, 0.3)


@dataclass(frozen=True)
class Raises(Dip):
    """Cannot do it."""

    def targets(self, bars: Any) -> np.ndarray:
        raise ValueError("not today")


@pytest.fixture(scope="module")
def bars():
    random = np.random.default_rng(5)
    return make_bars({s: list(np.round(50.0 * np.cumprod(1.0 + random.normal(0.0, 0.02, 300)), 2)) for s in "ABC"})


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two processes of one thread each."""
    folder = tmp_path_factory.mktemp("dask")
    os.environ["BOTLIB_TEST_DIE"] = str(folder / "died")
    (folder / "died").write_text("not yet")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
                                  local_directory=str(folder)) as made, distributed.Client(made) as connected:
        yield connected
    del os.environ["BOTLIB_TEST_DIE"]


def same(one, other):
    np.testing.assert_array_equal(one.figures, other.figures)
    assert np.isfinite(one.figures[..., 0]).all() and len(np.unique(one.figures[..., 0])) > 6
    if one.equity is not None:
        np.testing.assert_array_equal(one.equity, other.equity)


@pytest.mark.parametrize("by", ["symbol", "portfolio"])
def test_the_numbers_are_those_of_one_process(bars, client, by):
    told: list[tuple[int, int]] = []
    there = sweep(bars, Dip, GRID, by=by, equity=by == "symbol", client=client,
                  progress=lambda done, of: told.append((done, of)))
    same(there, sweep(bars, Dip, GRID, by=by, equity=by == "symbol"))
    assert len(told) > 1 and told[-1] == (24, 24) and [n for n, _ in told] == sorted(n for n, _ in told)
    assert there.table.equals(sweep(bars, Dip, GRID, by=by).table)


def test_a_strategy_from_a_file_need_not_be_there_for_the_workers(bars, client, tmp_path):
    (tmp_path / "mine.py").write_text('''
from dataclasses import dataclass

from botlib import Strategy, indicators, param, targets_from_signals


@dataclass(frozen=True)
class Mine(Strategy):
    """Buys below its average."""

    period: int = param(3, low=1, high=50)
    warmup = 10

    def targets(self, bars):
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average, bars.close > average, 0.3)
''')
    mine = type(load(f"{tmp_path}/mine.py:Mine"))
    (tmp_path / "mine.py").unlink()
    grid = {"period": [2, 3, 4, 6, 9, 12, 15, 20]}
    same(sweep(bars, mine, grid, client=client), sweep(bars, mine, grid))


def test_a_worker_that_is_killed_midway_costs_nothing_but_time(bars, client):
    died = Path(os.environ["BOTLIB_TEST_DIE"])
    died.unlink()
    there = sweep(bars, Dip, GRID, by="symbol", client=client)
    assert died.read_text() != "not yet" and int(died.read_text()) != os.getpid()
    same(there, sweep(bars, Dip, GRID, by="symbol"))


def test_what_a_strategy_raises_comes_back_as_it_is(bars, client):
    with pytest.raises(StrategyError, match="not today"):
        sweep(bars, Raises, GRID, client=client)


def test_what_is_no_client(bars, client):
    with pytest.raises(InputError, match="client is a str; it must be a dask.distributed.Client"):
        sweep(bars, Dip, GRID, client="127.0.0.1:8786")
    waits_not = SimpleNamespace(submit=None, scatter=None, nthreads=dict, asynchronous=True)
    with pytest.raises(InputError, match="client is asynchronous"):
        sweep(bars, Dip, GRID, client=waits_not)


def test_another_version_is_refused(bars):
    with pytest.raises(InputError, match=f"worker of the cluster has botlib {botlib.__version__}, this process has 9"):
        cluster.work(bars, b"", [0], "9.9")


def test_a_cluster_without_workers_is_given_up(bars, tmp_path):
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0",
                                  local_directory=str(tmp_path)) as made, distributed.Client(made) as connected:
        made.scale(0)
        until(lambda: not connected.nthreads(), 60.0)
        with pytest.raises(BotlibError, match="has had no worker for 0.2 seconds"):
            cluster.carry_out(run(bars), connected, lambda done: None, patience=0.2)


def run(bars, by="portfolio"):
    terms = Terms(1e5, botlib.Costs(), None, "broker", "split", by, 0, False)
    return Run(bars, grid_of(Dip, GRID, botlib.Risk(), 1000), terms)


@pytest.mark.parametrize(("threads", "by", "count"), [(1, "portfolio", 4), (2, "portfolio", 8), (100, "portfolio", 12),
                                                      (100, "symbol", 36), (3, "symbol", 12)])
def test_every_account_of_every_point_is_in_one_piece(bars, threads, by, count):
    """12 strategies, each with two risks, of one account or three."""
    given = run(bars, by)
    made = list(cluster.pieces(given, threads))
    assert len(made) == count
    seen = [(int(row), account) for points, accounts in made for row in cluster.rows_of(points) for account in accounts]
    assert len(seen) == len(set(seen)) == 24 * len(given.traded)
    for points, _ in made:
        small = cluster.part(given.grid, points)
        assert [p.strategy for p in small.points] == [p.strategy for p in points]
        assert sorted(np.concatenate([p.rows for p in small.points])) == list(range(len(small)))
