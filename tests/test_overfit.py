"""Statistics of searched Sharpe ratios, against published figures and against slow loops of their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from botlib.errors import DataError, InputError
from botlib.overfit import (
    Moments,
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    minimum_backtest_years,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    probability_of_overfitting,
)

# --- published figures --------------------------------------------------------------------------------------------


def test_the_hedge_fund_of_the_efficient_frontier_paper():
    """Bailey, López de Prado (2012): two years of monthly returns, annual Sharpe ratio 1.59, skew -2.448, kurtosis
    10.164: PSR(0) is 0.913, where normal returns would have made it 0.982."""
    fund = Moments(sharpe=0.458, n=24, skew=-2.448, kurtosis=10.164)
    assert probabilistic_sharpe(fund) == pytest.approx(0.913, abs=5e-4)
    assert probabilistic_sharpe(Moments(sharpe=0.458, n=24)) == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize(("trials", "skew", "kurtosis", "published"), [
    (100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)])
def test_the_example_of_the_deflated_sharpe_paper(trials, skew, kurtosis, published):
    """Bailey, López de Prado (2014): annual 2.5 over five years of 250 days, variance of the annual trials 1/2."""
    of = Moments(sharpe=2.5 / math.sqrt(250.0), n=1250, skew=skew, kurtosis=kurtosis)
    assert deflated_sharpe(of, trials, 0.5 / 250.0) == pytest.approx(published, abs=5e-5)


def test_the_threshold_of_the_same_example():
    assert math.sqrt(0.5 / 250.0) * expected_maximum(100) == pytest.approx(0.1132, abs=5e-5)


def test_the_charlatanism_papers_maximum_and_minimum_length():
    """Ten trials: 1.57. Five years of data: no more than 45 configurations."""
    assert expected_maximum(10) == pytest.approx(1.57, abs=5e-3)
    assert minimum_backtest_years(45) == pytest.approx(5.0, abs=0.01)
    assert minimum_backtest_years(45, sharpe=2.0) == pytest.approx(1.25, abs=0.01)


# --- other ways to the same figures -------------------------------------------------------------------------------


def test_the_expected_maximum_is_that_of_simulated_numbers():
    drawn = np.random.default_rng(7).standard_normal((20_000, 50)).max(axis=1)
    assert expected_maximum(50) == pytest.approx(drawn.mean(), abs=0.03)


def test_one_trial_deflates_nothing():
    of = Moments(sharpe=0.1, n=500)
    assert deflated_sharpe(of, 1, 0.01) == probabilistic_sharpe(of)
    assert expected_maximum(1) == 0.0


def test_at_the_minimum_track_record_the_confidence_is_reached():
    of = Moments(sharpe=0.1, n=10, skew=-1.0, kurtosis=5.0)
    n = minimum_track_record(of, confidence=0.95)
    long_enough = Moments(sharpe=0.1, n=math.ceil(n), skew=-1.0, kurtosis=5.0)
    too_short = Moments(sharpe=0.1, n=math.ceil(n) - 2, skew=-1.0, kurtosis=5.0)
    assert probabilistic_sharpe(too_short) < 0.95 <= probabilistic_sharpe(long_enough)
    assert minimum_track_record(of, benchmark=0.1) == math.inf


def test_moments_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    r = np.random.default_rng(3).standard_t(5, 400) * 0.01 + 0.001
    of = moments(r)
    assert (of.n, of.skew) == (400, pytest.approx(stats.skew(r)))
    assert of.kurtosis == pytest.approx(stats.kurtosis(r, fisher=False))
    assert of.sharpe == pytest.approx(r.mean() / math.sqrt(((r - r.mean()) ** 2).sum() / 399))


def test_effective_trials_of_copies_is_one_and_of_strangers_all():
    rng = np.random.default_rng(5)
    one = rng.standard_normal(1000)
    assert effective_trials(np.column_stack([one, 2.0 * one + 0.1, 0.5 * one])) == pytest.approx(1.0)
    # two orthogonal columns, exactly: no correlation
    assert effective_trials(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])) == pytest.approx(2.0)
    assert effective_trials(np.column_stack([one, -one])) == 2.0
    mixed = rng.standard_normal((500, 6)) + one[:500, None]
    matrix = np.corrcoef(mixed.T)
    average = matrix[np.triu_indices(6, 1)].mean()
    assert effective_trials(mixed) == pytest.approx(average + (1.0 - average) * 6.0)


def test_a_trial_that_never_traded_counts_for_nothing():
    one = np.random.default_rng(5).standard_normal((100, 1))
    assert effective_trials(np.column_stack([one, np.zeros(100)])) == 1.0


def slow_pbo(returns: np.ndarray, blocks: int) -> float:
    """The definition, split by split: rank of the best in sample among all out of sample."""
    parts = np.array_split(returns, blocks)
    below = 0
    splits = list(itertools.combinations(range(blocks), blocks // 2))
    for chosen in splits:
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        best = np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1))
        figures = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        below += (np.sum(figures <= figures[best])) / (returns.shape[1] + 1) <= 0.5
    return below / len(splits)


@pytest.mark.parametrize("seed", range(4))
def test_pbo_is_the_definitions(seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(rng.normal(0.0, 0.001, 9), 0.01, (8 * 25, 9))
    assert probability_of_overfitting(returns, 8).pbo == pytest.approx(slow_pbo(returns, 8))


def test_skill_is_not_overfitting_and_chance_is():
    rng = np.random.default_rng(2)
    returns = rng.normal(0.0, 0.01, (1600, 20))
    chance = probability_of_overfitting(returns, 10)
    assert 0.25 < chance.pbo < 0.85 and len(chance.logits) == 252
    returns[:, 3] += 0.004
    skill = probability_of_overfitting(returns, 10)
    assert skill.pbo == 0.0 and skill.loss == 0.0


def test_a_trial_that_shines_in_one_block_only_is_found_out():
    """The best in sample is whoever has his good block there; out of sample he is like the others, or worse."""
    rng = np.random.default_rng(4)
    returns = rng.normal(0.0, 0.001, (8 * 20, 8)) - 0.0005
    for trial in range(8):
        returns[trial * 20:(trial + 1) * 20, trial] += 0.02
    found = probability_of_overfitting(returns, 8)
    assert found.pbo > 0.9 and found.slope < 0.0


def test_copies_are_the_median_of_each_other():
    """Neither good nor bad: at the median, which counts as not better."""
    one = np.random.default_rng(1).normal(0.0, 0.01, 160)
    assert probability_of_overfitting(np.column_stack([one] * 5), 4).pbo == 1.0


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("returns", [np.zeros(10), np.full(10, 0.01)])
def test_constant_returns_have_no_sharpe_ratio(returns):
    with pytest.raises(DataError, match="all 10 are the same"):
        moments(returns)
    with pytest.raises(DataError, match="no trial has any dispersion"):
        effective_trials(np.column_stack([returns, returns]))


@pytest.mark.parametrize(("call", "words"), [
    (lambda: moments(np.array([0.1, 0.2])), "2 are too few"),
    (lambda: moments(np.array([0.1, np.nan, 0.2])), "1 of 3 are not finite"),
    (lambda: effective_trials(np.zeros(5)), "a column a trial"),
    (lambda: effective_trials(np.array([[0.1, np.inf], [0.2, 0.1]])), "1 of 4 are not finite"),
    (lambda: probability_of_overfitting(np.zeros((40, 1))), "give at least 2"),
    (lambda: probability_of_overfitting(np.zeros((20, 3)), 16), "20 are too few for 16 blocks"),
    (lambda: probabilistic_sharpe(Moments(sharpe=5.0, n=10, skew=3.0, kurtosis=1.0)), "cannot belong to one series")])
def test_bad_data_is_a_sentence(call, words):
    with pytest.raises(DataError, match=words):
        call()


@pytest.mark.parametrize(("call", "words"), [
    (lambda: probability_of_overfitting(np.zeros((40, 3)), 7), "blocks = 7 must be an even number from 2 to 16"),
    (lambda: probability_of_overfitting(np.zeros((40, 3)), True), "blocks = True"),
    (lambda: expected_maximum(0.5), "trials = 0.5 must be a number of at least 1"),
    (lambda: expected_maximum(math.nan), "trials = nan"),
    (lambda: deflated_sharpe(Moments(sharpe=0.1, n=10), 5, -1.0), "trial_variance = -1.0"),
    (lambda: minimum_track_record(Moments(sharpe=0.1, n=10), confidence=95.0), "confidence = 95.0"),
    (lambda: minimum_backtest_years(10, sharpe=0.0), "sharpe = 0.0")])
def test_bad_arguments_are_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
