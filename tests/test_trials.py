"""Every trial counts once, however often it is shown, and new bars do not make the count begin again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars
from postgres_helpers import postgres  # noqa: F401

import botlib
from botlib import Strategy, indicators, param, targets_from_signals
from botlib.repository import Repository
from botlib.trials import data_set, log, tried
from botlib.tuning.sweep import sweep

NOW = pd.Timestamp("2026-03-02 15:00", tz="UTC")
NO_TEST: dict[str, str] = {}


@dataclass(frozen=True)
class Dip(Strategy):
    """Buys below a multiple of its average, sells above it."""

    period: int = param(3, low=1, high=50)
    below: float = param(0.99, low=0.5, high=1.5)

    @property
    def warmup(self) -> int:
        return self.period

    def targets(self, bars: Any) -> np.ndarray:
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average * self.below, bars.close > average)


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request, tmp_path):
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        where: Any = server.url(server.database())
    else:
        where = tmp_path / "t.sqlite"
    with Repository.open(where) as found:
        yield found


def some_bars(count: int = 80, symbols: str = "A"):
    rng = np.random.default_rng(3)
    return make_bars({s: list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, count)), 2)) for s in symbols})


def run(grid, bars=None, **options):
    return sweep(some_bars() if bars is None else bars, Dip, grid, costs=botlib.Costs.none(), safety=None, **options)


def logged(repository, result, provider="sample"):
    return log(repository, result, data_set(result.bars, provider), time=NOW, environ=NO_TEST)


def test_a_point_counts_once(repository):
    assert logged(repository, run({"period": [2, 3, 4]})) == 3
    assert logged(repository, run({"period": [2, 3, 4]})) == 0
    assert logged(repository, run({"period": [4, 5], "below": [0.99, 0.98]})) == 3  # 4 with the default is there
    data = data_set(some_bars(), "sample")
    assert tried(repository, Dip, data).trials == 6
    longer = run({"period": [2, 3, 4]}, some_bars(120))
    assert logged(repository, longer) == 0  # new bars are no new trial
    assert tried(repository, Dip, data).trials == 6


@pytest.mark.parametrize("options", [
    {"cash": 50_000.0}, {"risk": botlib.Risk(stop_loss_pct=2.0)}, {"convention": "textbook"}])
def test_other_terms_are_other_trials(tmp_path, options):
    with Repository.open(tmp_path / "t.sqlite") as repository:
        assert logged(repository, run({"period": [2, 3]})) == 2
        assert logged(repository, run({"period": [2, 3]}, **options)) == 2
        assert tried(repository, Dip, data_set(some_bars(), "sample")).trials == 4


def test_other_data_are_other_trials(tmp_path):
    with Repository.open(tmp_path / "t.sqlite") as repository:
        assert logged(repository, run({"period": [2, 3]})) == 2
        assert logged(repository, run({"period": [2, 3]}, some_bars(symbols="AB"))) == 2
        assert logged(repository, run({"period": [2, 3]}), "yahoo") == 2
        assert tried(repository, Dip, data_set(some_bars(), "sample")).trials == 2


def test_a_leg_that_is_searched_belongs_to_the_point(tmp_path):
    with Repository.open(tmp_path / "t.sqlite") as repository:
        assert logged(repository, run({"period": [2, 3], "stop_loss_pct": [2.0, None]})) == 4
        assert logged(repository, run({"period": [2], "stop_loss_pct": [2.0, 3.0]})) == 1


def test_what_is_known_of_the_ratios(repository):
    """Against numpy, of the same sweep; without a trade a ratio is not defined, and counts as a trial all the same."""
    result = run({"period": [2, 3, 4], "below": [0.99, 0.6]})
    ratios = result.metric("sharpe")[0] / np.sqrt(252)
    assert np.isnan(ratios).sum() == 3
    logged(repository, result)
    found = tried(repository, Dip, data_set(result.bars, "sample"))
    assert found.trials == 6
    assert found.sharpe_variance == pytest.approx(np.nanvar(ratios, ddof=1), rel=1e-12)
    assert found.best == pytest.approx(np.nanmax(ratios), rel=1e-12)


def test_nothing_tried(repository):
    found = tried(repository, Dip, {"provider": "sample"})
    assert found.trials == 0 and np.isnan(found.sharpe_variance) and np.isnan(found.best)


def test_tests_log_nothing(tmp_path):
    with Repository.open(tmp_path / "t.sqlite") as repository:
        result = run({"period": [2, 3]})
        assert log(repository, result, data_set(result.bars, "sample"), time=NOW) == 0
        assert tried(repository, Dip, data_set(result.bars, "sample")).trials == 0
