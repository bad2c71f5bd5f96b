"""Metrics: by hand on a few bars, and against empyrical-reloaded on long curves."""

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botlib.errors import DataError
from botlib.metrics import METRICS, curve_statistics, metrics, trade_statistics

RATIOS = ("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown")


def curve(*values, per_year=252.0):
    return curve_statistics(np.array(values, dtype=np.float64), per_year)


def all_metrics(equity, *, index=None, pnl=(), exposure=None, traded_value=0.0, costs_paid=0.0, per_year=252.0):
    equity = np.asarray(equity, dtype=np.float64)
    if index is None:
        index = pd.date_range("2010-01-04", periods=len(equity), freq="D", tz="America/New_York")
    exposure = np.zeros(len(equity)) if exposure is None else np.asarray(exposure, dtype=np.float64)
    return metrics(equity, index, periods_per_year=per_year, pnl=np.asarray(pnl, dtype=np.float64), exposure=exposure,
                   traded_value=traded_value, costs_paid=costs_paid)


def test_six_bars_by_hand():
    # Returns 1/10, -1/10, 0, 2/9, 0: mean 2/45, sum of squares 0.02 + 4/81. Five returns at five a year are one year.
    # Variance (0.02 + 4/81 - 5 (2/45)^2) / 4 = 0.0148765432; downside variance 0.01 / 5 = 0.002.
    got = curve(100, 110, 99, 99, 121, 121, per_year=5.0)
    assert got.total_return == pytest.approx(0.21)
    assert got.cagr == pytest.approx(0.21)
    assert got.volatility == pytest.approx(0.272732, abs=1e-6)  # sqrt(0.0148765432) * sqrt(5)
    assert got.sharpe == pytest.approx(0.814801, abs=1e-6)  # (2/45) / 0.121969 * sqrt(5)
    assert got.sortino == pytest.approx(20 / 9)  # (2/45) / sqrt(0.002) * sqrt(5) = (2/45) * 50
    assert got.max_drawdown == pytest.approx(-0.10)
    assert got.calmar == pytest.approx(2.1)
    assert (got.peak, got.trough, got.recovery) == (1, 2, 4)


def test_cagr_of_two_years_and_a_half():
    # 1.61051 = 1.1^5 over five half-year bars is 1.1^2 a year.
    assert curve(100, 110, 121, 133.1, 146.41, 161.051, per_year=2.0).cagr == pytest.approx(0.21)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("per_year", "spread", "bars"), [(252.0, 0.02, 700), (252.0, 0.0004, 2_500),
                                                          (98_280.0, 1e-4, 5_000)])
def test_agrees_with_empyrical(seed, per_year, spread, bars):
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(3, bars) * spread * (rng.random(bars) < 0.6)  # fat tails, and many bars in cash
    equity = 1e5 * np.cumprod(np.concatenate(([1.0], 1.0 + np.clip(returns, -0.5, 0.5))))
    r = equity[1:] / equity[:-1] - 1.0
    got = curve_statistics(equity, per_year)
    expected = {
        "total_return": empyrical.cum_returns_final(r), "cagr": empyrical.cagr(r, annualization=per_year),
        "volatility": empyrical.annual_volatility(r, annualization=per_year),
        "sharpe": empyrical.sharpe_ratio(r, annualization=per_year),
        "sortino": empyrical.sortino_ratio(r, annualization=per_year),
        "calmar": empyrical.calmar_ratio(r, annualization=per_year), "max_drawdown": empyrical.max_drawdown(r),
    }
    for name, value in expected.items():
        assert getattr(got, name) == pytest.approx(value, rel=1e-9), name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.3, 0.4), min_size=2, max_size=40))
def test_drawdown_bars_are_those_of_pandas(returns):
    equity = pd.Series(100.0 * np.cumprod(np.concatenate(([1.0], 1.0 + np.array(returns)))))
    under = equity / equity.cummax() - 1.0
    got = curve_statistics(equity.to_numpy(), 252.0)
    assert got.max_drawdown == pytest.approx(under.min(), abs=1e-15)
    if got.trough < 0:
        assert under.min() == 0.0
        return
    assert under[got.trough] == pytest.approx(under.min(), abs=1e-12)
    assert under[got.peak] == 0.0 and (under[got.peak + 1:got.trough + 1] < 0.0).all()
    back = under.index[(under.index > got.trough) & (under == 0.0)]
    assert got.recovery == (back[0] if len(back) else len(equity) - 1)


def test_the_moments_survive_a_tiny_dispersion():
    # Growth of 1 % a bar and a dispersion of 1e-9: naive sums of squares lose all of it.
    noise = 1e-9 * np.tile([1.0, -1.0], 500)
    equity = np.cumprod(np.concatenate(([1.0], 1.01 + noise)))
    r = equity[1:] / equity[:-1] - 1.0
    assert curve_statistics(equity, 1.0).volatility == pytest.approx(np.std(r, ddof=1), rel=1e-6)


def test_constant_equity_has_no_ratios_and_no_infinity():
    got = curve(100, 100, 100, 100)
    assert (got.total_return, got.cagr, got.volatility, got.max_drawdown) == (0.0, 0.0, 0.0, 0.0)
    assert all(math.isnan(x) for x in (got.sharpe, got.sortino, got.calmar))
    assert (got.peak, got.trough, got.recovery) == (-1, -1, -1)


def test_steady_growth_has_no_sharpe():
    # 0.1 % on every bar: what is left of the dispersion is rounding, and a Sharpe ratio of 1e13 would be nonsense.
    got = curve_statistics(100.0 * 1.001 ** np.arange(250), 252.0)
    assert math.isnan(got.sharpe) and math.isnan(got.sortino) and math.isnan(got.calmar)
    assert got.cagr == pytest.approx(1.001**252 - 1)


def test_all_losing_bars():
    got = curve(100, 90, 81, per_year=1.0)
    assert got.cagr == pytest.approx(-0.1) and got.max_drawdown == pytest.approx(-0.19)
    assert math.isnan(got.sharpe)  # the same loss twice: no dispersion
    assert got.sortino == pytest.approx(-1.0)  # mean -0.1 over a downside of 0.1
    assert got.calmar == pytest.approx(-0.1 / 0.19)
    assert (got.peak, got.trough, got.recovery) == (0, 2, 2)


def test_one_bar_and_two_bars():
    assert all(math.isnan(getattr(curve(100), name)) for name in RATIOS)
    two = curve(100, 110, per_year=1.0)
    assert two.total_return == pytest.approx(0.10) and two.cagr == pytest.approx(0.10) and two.max_drawdown == 0.0
    assert math.isnan(two.volatility) and math.isnan(two.sharpe)


def test_an_account_that_was_wiped_out_keeps_only_what_has_a_meaning():
    got = curve(100, 150, -30, -30, 20)
    assert got.total_return == pytest.approx(-0.8) and got.max_drawdown == pytest.approx(-1.2)
    assert (got.peak, got.trough, got.recovery) == (1, 2, 4)
    assert all(math.isnan(x) for x in (got.cagr, got.volatility, got.sharpe, got.sortino, got.calmar))


def test_a_curve_that_ends_at_zero_or_below():
    zero, below = curve(100, 50, 0, per_year=1.0), curve(100, 50, -5, per_year=1.0)
    assert zero.total_return == -1.0 and zero.cagr == -1.0 and zero.calmar == -1.0
    assert below.total_return == pytest.approx(-1.05) and math.isnan(below.cagr) and math.isnan(below.calmar)
    assert below.volatility == pytest.approx(np.std([-0.5, -1.1], ddof=1))


@pytest.mark.parametrize("values", [(100, math.nan, 100), (100, 100, math.nan), (math.nan, 100), (100, math.inf, 100),
                                    (0, 100), (-5, 100), ()])
def test_what_is_no_curve_gives_nan_everywhere(values):
    got = curve(*values)
    assert all(math.isnan(getattr(got, name)) for name in RATIOS)
    assert (got.peak, got.trough, got.recovery) == (-1, -1, -1)


def test_trades_by_hand():
    got = trade_statistics(np.array([300.0, -100.0, 0.0, 100.0, -60.0]))
    assert got.trades == 5 and got.win_rate == pytest.approx(0.4)
    assert got.profit_factor == pytest.approx(400 / 160) and got.average == pytest.approx(48.0)


@pytest.mark.parametrize(("pnl", "win_rate", "factor"), [((5.0, 1.0), 1.0, math.nan), ((-5.0,), 0.0, 0.0),
                                                         ((0.0,), 0.0, math.nan)])
def test_profit_factor_without_a_loss_is_nan(pnl, win_rate, factor):
    got = trade_statistics(np.array(pnl))
    assert got.win_rate == win_rate and got.profit_factor == pytest.approx(factor, nan_ok=True)


@pytest.mark.parametrize(("pnl", "count"), [((), 0), ((1.0, math.nan, -2.0), 3)])
def test_no_trades_or_a_nan_among_them(pnl, count):
    got = trade_statistics(np.array(pnl, dtype=np.float64))
    assert got.trades == count and all(math.isnan(x) for x in got[1:])


def test_metrics_are_named_ordered_and_in_percent():
    got = all_metrics([100_000, 110_000, 99_000, 99_000, 121_000, 121_000], per_year=5.0, pnl=[30_000.0, -9_000.0],
                      exposure=[0.0, 0.6, 0.6, 0.0, 0.6, 0.0], traded_value=433_333.3333333, costs_paid=12.5)
    assert tuple(got) == METRICS and all(type(v) is float for v in got.values())
    assert got["total_return_pct"] == pytest.approx(21.0) and got["max_drawdown_pct"] == pytest.approx(-10.0)
    assert got["volatility_pct"] == pytest.approx(27.2732, abs=1e-4)
    assert got["exposure_pct"] == pytest.approx(30.0)
    # Half of 433,333.33 over a mean equity of 650,000 / 6 in one year is 2.0 times.
    assert got["turnover_pct"] == pytest.approx(200.0)
    assert (got["trades"], got["win_rate_pct"], got["average_trade"]) == (2.0, 50.0, 10_500.0)
    assert got["profit_factor"] == pytest.approx(30 / 9)
    assert (got["costs_paid"], got["final_equity"]) == (12.5, 121_000.0)


def test_turnover_is_yearly():
    # Two years, mean equity 100, bought 100 and sold 100: once over two years is 50 % a year.
    got = all_metrics([100, 100, 100, 100, 100], per_year=2.0, traded_value=200.0)
    assert got["turnover_pct"] == pytest.approx(50.0)


def test_drawdown_days_are_exchange_dates_across_a_clock_change():
    # Clocks go forward on 2011-03-13: midnight to midnight is 23 hours, and still a day.
    index = pd.DatetimeIndex(["2011-03-11", "2011-03-14", "2011-03-15", "2011-03-16"], tz="America/New_York")
    assert all_metrics([100, 90, 95, 100], index=index)["max_drawdown_days"] == 5.0
    assert all_metrics([100, 90, 95, 99], index=index)["max_drawdown_days"] == 5.0  # never back: to the last bar
    assert all_metrics([100, 101, 102, 103], index=index)["max_drawdown_days"] == 0.0
    evening = pd.DatetimeIndex(["2011-03-14 19:58", "2011-03-14 19:59", "2011-03-15 04:00"], tz="America/New_York")
    assert all_metrics([100, 90, 100], index=evening)["max_drawdown_days"] == 1.0


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_drawdown_days_in_every_resolution_of_an_index(unit):
    index = pd.DatetimeIndex(["2010-05-20", "2010-05-21", "2010-07-01"], tz="America/New_York").as_unit(unit)
    assert all_metrics([100, 90, 100], index=index)["max_drawdown_days"] == 42.0
    assert all_metrics([100, 90, 100], index=index.tz_localize(None))["max_drawdown_days"] == 42.0


def test_one_bar_has_no_figures_but_its_equity():
    got = all_metrics([100_000.0])
    assert got["final_equity"] == 100_000.0 and got["trades"] == 0.0 and got["exposure_pct"] == 0.0
    assert all(math.isnan(got[name]) for name in METRICS[:8]) and math.isnan(got["turnover_pct"])


@pytest.mark.parametrize(("equity", "text"), [([1.0, math.nan, 1.0], r"equity is nan at 2010-01-05 .* finite"),
                                              ([0.0, 1.0], "equity starts at 0: it must be above 0"),
                                              ([], "equity is empty")])
def test_metrics_refuse_what_is_no_account(equity, text):
    with pytest.raises(DataError, match=text):
        all_metrics(equity)
