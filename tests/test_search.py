"""A search by Optuna: it finds what is there, its figures are those of backtests, and it goes on where it was."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars

import botlib
from botlib import Strategy, param, targets_from_signals, trials
from botlib.errors import InputError
from botlib.repository import Repository
from botlib.tuning.result import METRICS
from botlib.tuning.search import search

pytest.importorskip("optuna")

FREE = botlib.Costs.none()
WIDE = botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None, fractional=True)
SPACE = {"best_at": (0.0, 1.0), "period": (1, 9)}


@dataclass(frozen=True)
class Hill(Strategy):
    """Holds most where ``best_at`` is 0.3: on prices that rise, that is the best return there is."""

    best_at: float = param(0.5, low=0.0, high=1.0)
    period: int = param(3, low=1, high=50)
    word: str = "no range"
    warmup = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.period == 7:
            raise InputError("period = 7 brings bad luck.")

    def targets(self, bars: Any) -> np.ndarray:
        weight = 0.9 - (self.best_at - 0.3) ** 2
        first = np.zeros(bars.close.shape, bool)
        first[0] = True
        return targets_from_signals(first, ~first & (bars.close < 0), weight)


@pytest.fixture(scope="module")
def bars():
    return make_bars({"A": list(np.linspace(100.0, 200.0, 60)), "B": list(np.linspace(50.0, 60.0, 60))})


def look(bars, **more):
    given = {"space": SPACE, "n_trials": 40, "metric": "total_return_pct", "costs": FREE, "risk": WIDE, "safety": None}
    return search(bars, Hill, **(given | more))


def test_it_finds_what_is_best(bars):
    result = look(bars.select("A"), space={"best_at": (0.0, 1.0)}, n_trials=60)
    assert result.best("total_return_pct")["best_at"] == pytest.approx(0.3, abs=0.03)
    assert len(result) == 60 and list(result.table.columns) == ["best_at"]


@pytest.mark.parametrize("by", ["portfolio", "symbol"])
def test_each_figure_is_a_backtests(bars, by):
    result = look(bars, by=by, n_trials=20, space=SPACE | {"stop_loss_pct": [None, 2.0]})
    rows = [n for n in range(20) if n not in dict(result.impossible)]
    for row in rows[::4]:
        strategy, risk, values = result.grid.at(row)
        assert values == dict(result.table.iloc[row].replace({np.nan: None}))
        for account, figures in zip(result.accounts, result.figures[:, row], strict=True):
            own = bars if by == "portfolio" else bars.select(account)
            single = botlib.backtest(own, strategy, risk=risk, costs=FREE, safety=None, quiet=True).metrics
            np.testing.assert_allclose(figures, [single[name] for name in METRICS], rtol=1e-9, atol=1e-9)


def test_points_that_the_strategy_refuses_are_listed_and_never_win(bars):
    result = look(bars, space={"period": (6, 8)}, n_trials=30)
    assert result.impossible and all("bad luck" in words for _, words in result.impossible)
    assert {result.table["period"][row] for row, _ in result.impossible} == {7}
    assert result.best("total_return_pct")["period"] != 7


def test_the_ranges_that_a_strategy_declares_are_the_space(bars):
    result = look(bars, space=None, n_trials=20)
    assert list(result.table.columns) == ["best_at", "period"]
    assert result.table["best_at"].between(0.0, 1.0).all() and result.table["period"].between(1, 50).all()
    assert result.table["period"].dtype == np.int64


def test_a_seed_is_a_search(bars):
    assert look(bars, seed=5).table.equals(look(bars, seed=5, threads=1).table)
    assert not look(bars, seed=5).table.equals(look(bars, seed=6).table)


def test_steps_and_logarithms(bars):
    result = look(bars, space={"best_at": (0.2, 0.4, 0.1), "period": (1, 50, "log")}, n_trials=20)
    assert set(result.table["best_at"].round(9)) <= {0.2, 0.3, 0.4}


def test_nothing_traded_is_the_worst_and_no_reason_to_stop(bars):
    result = look(bars, metric="sharpe", n_trials=5, cash=1.0, risk=botlib.Risk())  # no share for a dollar
    assert len(result) == 5 and result.best_row("sharpe") is None


def test_it_goes_on_where_it_was(bars, tmp_path):
    kept = {"storage": f"sqlite:///{tmp_path}/optuna.db", "study_name": "hill"}
    told: list[tuple[int, int]] = []
    first = look(bars, n_trials=20, **kept)
    more = look(bars, n_trials=30, progress=lambda done, of: told.append((done, of)), **kept)
    assert more.table.iloc[:20].equals(first.table) and len(more) == 30
    np.testing.assert_array_equal(more.figures[:, :20], first.figures)
    assert told == [(30, 30)]
    assert len(look(bars, n_trials=30, **kept)) == 30  # nothing left to do
    for other in ({"costs": botlib.Costs()}, {"metric": "sharpe"}, {"cash": 5e4}):
        with pytest.raises(InputError, match="study_name = 'hill' is the name of a search with other bars"):
            look(bars, **kept, **other)


def test_what_it_tried_counts_as_trials(bars, tmp_path):
    result = look(bars, n_trials=20)
    where = trials.data_set(bars, "sample")
    with Repository.open(tmp_path / "t.sqlite") as repository:
        new = trials.log(repository, result, where, time=pd.Timestamp("2026-03-02", tz="UTC"), environ={})
        assert new == len({tuple(one.items()) for one in result.grid.at_all()}) - len(
            {tuple(result.table.iloc[row]) for row, _ in result.impossible})
        assert trials.tried(repository, Hill, where).trials == new


@pytest.mark.parametrize(("more", "words"), [
    ({"space": {"perod": (1, 5)}}, "space: 'perod' is no parameter of Hill or Risk"),
    ({"space": {}}, "it must name parameters and their ranges"),
    ({"space": {"period": (5, 1)}}, "period = (5, 1) must be (low, high)"),
    ({"space": {"period": (1.5, 3)}}, "in whole numbers"),
    ({"space": {"best_at": (0.0, 1.0, "log")}}, "must be (low, high)"),
    ({"space": {"best_at": (0.0, float("nan"))}}, "must be (low, high)"),
    ({"space": {"best_at": 0.5}}, "must be (low, high)"), ({"space": {"best_at": []}}, "must be (low, high)"),
    ({"metric": "luck"}, "metric = 'luck' is unknown"), ({"n_trials": 0}, "n_trials = 0 must be"),
    ({"threads": True}, "threads = True must be"), ({"study_name": "x"}, "belong together"),
    ({"storage": "no url", "study_name": "x"}, "storage cannot be used"),
])
def test_what_is_refused(bars, more, words):
    with pytest.raises(InputError) as caught:
        look(bars, **more)
    assert words in str(caught.value)


def test_without_optuna_it_says_how_to_get_it(bars, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'botlib\[optuna\]'"):
        look(bars)


def test_an_instance_is_no_class(bars):
    with pytest.raises(InputError, match="give the class"):
        search(bars, Hill())
