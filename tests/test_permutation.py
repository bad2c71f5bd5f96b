"""The permutation test of the signal: against single backtests of rotated decisions, and what chance makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from engine_helpers import BARE, FREE, Given, OnBar, make_bars, run

from botlib import Costs, Strategy
from botlib.errors import DataError, InputError, StrategyError
from botlib.tuning.permutation import permutation_test

PLAIN: dict[str, Any] = {"risk": BARE, "costs": FREE, "safety": None}


class Written:
    """Targets as an array."""

    unit, rebalance_tolerance_pct = "weight", None

    def __init__(self, targets: np.ndarray, warmup: int = 0) -> None:
        self.written, self.warmup = targets, warmup

    def targets(self, bars: Any) -> np.ndarray:
        return self.written


def walk(count: int, seed: int, symbols: str = "A") -> Any:
    """A random walk of each symbol; one price a bar, to the cent."""
    rng = np.random.default_rng(seed)
    return make_bars({s: list(np.round(100.0 * np.cumprod(1.0 + rng.normal(0.0, 0.01, count)), 2)) for s in symbols})


def test_a_rotation_is_the_backtest_of_decisions_moved():
    """Two symbols, not in the order of their names; a warm-up that stays where it is; costs."""
    bars, rng = walk(12, 1, "BA"), np.random.default_rng(2)
    targets = np.where(rng.random((12, 2)) < 0.4, np.nan, rng.choice([-0.3, 0.0, 0.3], (12, 2)))
    options = {**PLAIN, "costs": Costs(commission_bps=5.0, slippage_bps=3.0, regulatory_fees=False)}
    found = permutation_test(bars, Written(targets, warmup=2), n=50, **options)
    assert sorted(found.offsets) == list(range(1, 10))  # all there are
    figures = {}
    for offset in range(10):
        moved = np.vstack([targets[:2], targets[2:][[(t - offset) % 10 for t in range(10)]]])
        r = run(bars, Written(moved, warmup=2), **options).equity.iloc[2:].pct_change().iloc[1:]
        figures[offset] = r.mean() / r.std() * 252.0**0.5
    assert found.actual == pytest.approx(figures[0])
    assert list(found.rotated) == pytest.approx([figures[k] for k in found.offsets])
    assert found.p == pytest.approx(sum(figures[k] >= figures[0] - 1e-12 for k in range(10)) / 10)


def test_who_knows_the_future_has_the_least_p_there_is():
    bars = walk(300, 4)
    later = np.append(np.sign(np.diff(bars.close[:, 0]))[1:], [0.0, 0.0])  # bought a bar later, and held for one
    found = permutation_test(bars, Written(0.5 * later[:, None]), n=199, **PLAIN)
    assert found.p == 1.0 / 200.0


def test_who_always_holds_has_no_timing():
    assert permutation_test(walk(100, 5), Written(np.full((100, 1), 0.5)), n=50, **PLAIN).p == 1.0


def test_coins_give_every_p_alike():
    """Of 200 p-values, which come in steps of 1/40, a share of k/40 is at most k/40; the Kolmogorov-Smirnov distance
    that chance exceeds once in a hundred times is 1.63 / sqrt(200), for steps less."""
    p = []
    for seed in range(200):
        coins = np.random.default_rng([seed, 1]).choice([-0.5, 0.5], (80, 1))
        p.append(permutation_test(walk(80, seed), Written(coins), n=39, seed=seed, **PLAIN).p)
    steps = np.arange(1, 41) / 40.0
    share = (np.array(p)[:, None] <= steps + 1e-12).mean(axis=0)
    assert np.abs(share - steps).max() < 1.63 / 200.0**0.5


def test_what_is_undefined_counts_against_the_strategy():
    """Decided at the first bar, 5,000 shares bought at 10 end at 12. A bar later as many are bought at 9, two bars
    later 5,555 at 10; three and four bars later nothing is won or lost, and there is no Sharpe ratio."""
    bars = make_bars({"A": [10.0, 10.0, 9.0, 10.0, 12.0]})
    found = permutation_test(bars, Given({"A": [0.5]}), n=10, **PLAIN)
    assert sorted(found.offsets[np.isnan(found.rotated)]) == [3, 4] and found.p == 1.0
    total = permutation_test(bars, Given({"A": [0.5]}), n=10, metric="total_return_pct", **PLAIN)
    assert total.actual == pytest.approx(10.0)
    assert dict(zip(total.offsets.tolist(), total.rotated.tolist(), strict=True)) == pytest.approx(
        {1: 15.0, 2: 11.11, 3: 0.0, 4: 0.0})
    assert total.p == pytest.approx(3 / 5)  # two are better


def test_only_what_is_decided_from_a_bar_on_is_moved():
    bars, coins = walk(40, 3), np.random.default_rng(0).choice([-0.5, 0.5], (40, 1))
    late = permutation_test(bars, Written(coins), n=5, decide_from=20, **PLAIN)
    r = run(bars, Written(coins), decide_from=20).equity.iloc[20:].pct_change().iloc[1:]
    assert late.actual == pytest.approx(r.mean() / r.std() * 252.0**0.5)
    coins[:20] *= -1.0  # nothing before it matters
    again = permutation_test(bars, Written(coins), n=5, decide_from=20, **PLAIN)
    assert list(again.rotated) == list(late.rotated)


def test_a_seed_is_a_choice_of_rotations():
    bars, coins = walk(60, 3), np.random.default_rng(0).choice([-0.5, 0.5], (60, 1))
    one, same, other = (permutation_test(bars, Written(coins), n=9, seed=s, **PLAIN) for s in (1, 1, 2))
    assert list(one.offsets) == list(same.offsets) != list(other.offsets)
    assert len(set(one.offsets)) == 9 and one.p == same.p
    assert "sharpe" in repr(one) and "seed 1" in repr(one) and f"{one.p:.4f}" in one._repr_html_()


# --- bad input ----------------------------------------------------------------------------------------------------


def test_decisions_that_follow_positions_cannot_be_moved():
    with pytest.raises(InputError, match=r"OnBar decides bar by bar.*takes strategies with targets\(bars\)"):
        permutation_test(walk(20, 1), OnBar({}))


def test_nothing_traded_is_no_figure():
    with pytest.raises(DataError, match="sharpe of Written is not defined from bar 0 on: nothing was traded"):
        permutation_test(walk(20, 1), Written(np.full((20, 1), np.nan)))


def test_a_strategy_that_raises_is_told():
    @dataclass(frozen=True)
    class Broken(Strategy):
        def targets(self, bars: Any) -> np.ndarray:
            raise ZeroDivisionError("no")

    with pytest.raises(StrategyError, match=r"Broken.targets raised ZeroDivisionError: no"):
        permutation_test(walk(20, 1), Broken())


@pytest.mark.parametrize(("options", "words"), [
    ({"n": 0}, "n = 0 must be a whole number of at least 1"), ({"seed": -1}, "seed = -1"),
    ({"metric": "sharp"}, "metric = 'sharp' is unknown.*did you mean 'sharpe'"), ({"cash": 0}, "cash = 0"),
    ({"decide_from": -1}, "decide_from = -1"),
    ({"decide_from": 18}, "20 are too few to decide from bar 18 on.*at least 21 are needed")])
def test_bad_options_are_a_sentence(options, words):
    with pytest.raises(InputError, match=words):
        permutation_test(walk(20, 1), Written(np.full((20, 1), 0.5)), **options)


def test_a_class_is_no_instance():
    with pytest.raises(InputError, match="strategy is the class Written; give an instance"):
        permutation_test(walk(20, 1), Written)
