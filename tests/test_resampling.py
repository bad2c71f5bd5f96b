"""Bootstrap and reshuffling, against another library's figures, against every order there is, and by hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from botlib.errors import DataError, InputError
from botlib.tuning.resampling import bootstrap, expected_block, reshuffle


def ar(n: int, phi: float, seed: int) -> np.ndarray:
    """Returns of which each has ``phi`` of the one before."""
    noise = np.random.default_rng(seed).standard_normal(n)
    x = np.empty(n)
    x[0] = noise[0]
    for t in range(1, n):
        x[t] = phi * x[t - 1] + noise[t]
    return 0.01 * x + 0.0005


# --- bootstrap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("series", "archs"), [
    ((500, 0.0, 1), 3.18970886), ((500, 0.5, 2), 6.81386271), ((2500, 0.2, 3), 8.08077144),
    ((2500, -0.4, 4), 14.79448807), ((1000, 0.9, 5), 42.28314774)])
def test_the_expected_block_is_that_of_arch(series, archs):
    """arch 8.0.0, ``optimal_block_length(x)["stationary"]``."""
    assert expected_block(ar(*series)) == pytest.approx(archs, rel=1e-8)


@pytest.mark.parametrize(("block", "total", "sharpe", "drawdown", "loss"), [
    (1.0, (-0.507, -0.254, 0.147), (-1.855, -0.715, 0.466), (-0.550, -0.359, -0.187), 0.869),
    (8.0, (-0.597, -0.250, 0.358), (-2.389, -0.704, 0.940), (-0.649, -0.420, -0.221), 0.782)])
def test_the_distributions_are_those_of_arch(block, total, sharpe, drawdown, loss):
    """arch 8.0.0, ``StationaryBootstrap(block, x, seed=1).apply(…, 20000)``: quantiles 0.05, 0.5, 0.95."""
    found = bootstrap(ar(500, 0.5, 2), draws=20_000, block=block, seed=5)
    table = found.quantiles((0.05, 0.5, 0.95))
    assert list(table.loc["total_return_pct", [0.05, 0.5, 0.95]] / 100.0) == pytest.approx(total, abs=0.025)
    assert list(table.loc["sharpe", [0.05, 0.5, 0.95]]) == pytest.approx(sharpe, abs=0.06)
    assert list(table.loc["max_drawdown_pct", [0.05, 0.5, 0.95]] / 100.0) == pytest.approx(drawdown, abs=0.015)
    assert found.loss == pytest.approx(loss, abs=0.015)


def test_actual_figures_are_those_of_the_returns():
    r = pd.Series(ar(300, 0.1, 8))
    found = bootstrap(r, draws=10, periods_per_year=52.0)
    growth = (1.0 + r).cumprod()
    curve = pd.concat([pd.Series([1.0]), growth])
    assert found.actual["total_return_pct"] == pytest.approx(100.0 * (growth.iloc[-1] - 1.0))
    assert found.actual["sharpe"] == pytest.approx(r.mean() / r.std() * math.sqrt(52.0))
    assert found.actual["max_drawdown_pct"] == pytest.approx(100.0 * (curve / curve.cummax() - 1.0).min())
    assert found.block == expected_block(r) and found.bars == 300


def test_single_returns_are_independent_draws():
    """Of independent draws the expected growth is the mean growth to the power of their number."""
    r = ar(50, 0.0, 3)
    found = bootstrap(r, draws=20_000, block=1)
    growth = 1.0 + found.total_return_pct / 100.0
    assert growth.mean() == pytest.approx((1.0 + r.mean()) ** 50, abs=4.0 * growth.std() / math.sqrt(20_000))


def test_blocks_keep_what_follows_what():
    """Each loss is made good by the next return: only blocks know it."""
    r = np.tile([-0.02, 0.0205], 100)
    together, alone = (bootstrap(r, draws=500, block=b).max_drawdown_pct for b in (100.0, 1.0))
    assert np.median(together) > -8.0 and np.median(alone) < -15.0


def test_a_block_goes_on_at_the_beginning():
    """A series in one block all through is the same series from another bar on: growth is the same."""
    r = np.array([0.1, -0.05, 0.02, 0.03])
    growth = 1.0 + bootstrap(r, draws=400, block=4).total_return_pct / 100.0
    whole = np.isclose(growth, 1.1 * 0.95 * 1.02 * 1.03).mean()
    assert whole > 0.75**3 - 0.05  # three times no new block, each with probability 3/4


def test_a_seed_is_a_draw():
    r = ar(100, 0.0, 1)
    one, same, other = (bootstrap(r, draws=50, seed=s).sharpe for s in (3, 3, 4))
    assert (one == same).all() and (one != other).any()


def test_draws_without_dispersion_have_no_sharpe_ratio_and_no_say():
    """One return of ten is not zero: 0.9^10 of the draws never have it."""
    r = np.zeros(10)
    r[4] = 0.05
    found = bootstrap(r, draws=5000, block=1)
    assert np.isnan(found.sharpe).mean() == pytest.approx(0.9**10, abs=0.03)
    assert np.isfinite(found.quantiles().loc["sharpe"]).all() and found.loss == 0.0


def test_a_bootstrap_is_readable():
    found = bootstrap(ar(100, 0.0, 1), draws=50, block=5, seed=7)
    assert "50 draws of 100 returns in blocks of 5.0, seed 7" in repr(found)
    assert "Maximum drawdown" in found._repr_html_() and "<table>" in found._repr_html_()


# --- reshuffling --------------------------------------------------------------------------------------------------


def test_the_actual_order_by_hand():
    """From 1,000 to 1,200, 1,100, 1,050, 1,050, 1,350, 1,250: down 150 of 1,200, twice in a row; nothing is no loss."""
    found = reshuffle([200.0, -100.0, -50.0, 0.0, 300.0, -100.0], 1000.0, draws=10)
    assert found.actual == {"max_drawdown_pct": pytest.approx(-12.5), "losing_run": 2}


def test_orders_are_equally_likely():
    """Against all 120 orders of five trades."""
    pnl, cash = (300.0, -200.0, -100.0, 150.0, -50.0), 1000.0
    deepest, runs = Counter(), Counter()
    for order in itertools.permutations(pnl):
        equity = peak = cash
        worst, run, longest = 0.0, 0, 0
        for gain in order:
            equity += gain
            peak = max(peak, equity)
            worst = min(worst, equity / peak - 1.0)
            run = run + 1 if gain < 0.0 else 0
            longest = max(longest, run)
        deepest[round(100.0 * worst, 6)] += 1
        runs[longest] += 1
    found = reshuffle(pnl, cash, draws=24_000)
    drawn = Counter(np.round(found.max_drawdown_pct, 6).tolist())
    assert set(drawn) == set(deepest)
    for value, count in deepest.items():
        assert drawn[value] / 24_000 == pytest.approx(count / 120, abs=0.015)
    for value, count in runs.items():
        assert np.mean(found.losing_run == value) == pytest.approx(count / 120, abs=0.015)
    at_least = sum(c for v, c in deepest.items() if v <= found.actual["max_drawdown_pct"] + 1e-6) / 120
    assert found.as_deep == pytest.approx(at_least, abs=0.015)


def test_an_account_can_lose_more_than_it_has():
    found = reshuffle([-600.0, -600.0], 1000.0, draws=5)
    assert (found.max_drawdown_pct == pytest.approx(-120.0)) and (found.losing_run == 2).all() and found.as_deep == 1.0


def test_reshuffled_trades_are_readable():
    found = reshuffle(np.arange(-10.0, 11.0), draws=50, seed=2)
    assert "21 trades in 50 orders, seed 2" in repr(found) and "Longest losing run" in found._repr_html_()


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "words"), [
    (lambda: bootstrap(np.full(20, 0.01)), "all 20 are the same"),
    (lambda: bootstrap([0.01, 0.02]), "2 are too few"),
    (lambda: bootstrap(np.zeros((5, 2))), "of one series"),
    (lambda: bootstrap([0.01, np.nan, 0.02]), "1 of 3 are not finite"),
    (lambda: bootstrap([0.01, -1.0, 0.02]), "takes the whole account"),
    (lambda: expected_block(np.zeros(10)), "all 10 are the same"),
    (lambda: reshuffle([5.0]), "1 trades have no order"),
    (lambda: reshuffle([5.0, np.inf]), "1 of 2 are not finite")])
def test_bad_data_is_a_sentence(call, words):
    with pytest.raises(DataError, match=words):
        call()


@pytest.mark.parametrize(("options", "words"), [
    ({"draws": 0}, "draws = 0 must be a whole number of at least 1"), ({"draws": True}, "draws = True"),
    ({"seed": -1}, "seed = -1"), ({"seed": None}, "seed = None"), ({"block": 0.5}, "block = 0.5 must be .* 1 to 30"),
    ({"block": 31}, "block = 31"), ({"block": math.nan}, "block = nan"), ({"block": "8"}, "block = '8'"),
    ({"periods_per_year": 0}, "periods_per_year = 0 must be a number of bars above 0")])
def test_bad_options_of_a_bootstrap_are_a_sentence(options, words):
    with pytest.raises(InputError, match=words):
        bootstrap(ar(30, 0.0, 1), **options)


@pytest.mark.parametrize(("options", "words"), [
    ({"cash": 0.0}, "cash = 0.0 must be a number of dollars above 0"), ({"cash": "x"}, "cash = 'x'"),
    ({"draws": 1.5}, "draws = 1.5"), ({"seed": -2}, "seed = -2")])
def test_bad_options_of_a_reshuffle_are_a_sentence(options, words):
    with pytest.raises(InputError, match=words):
        reshuffle([1.0, -1.0], **options)


def test_levels_are_shares():
    with pytest.raises(InputError, match=r"levels = \(5, 95\) must be numbers from 0 to 1"):
        reshuffle([1.0, -1.0], draws=5).quantiles((5, 95))
