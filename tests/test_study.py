"""A strategy on a data set from all sides: curve, surface, plateau, and how much of it is luck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars

import botlib
from botlib import Strategy, indicators, param, targets_from_signals
from botlib.errors import InputError
from botlib.tune_figures import CurvePicture, SurfacePicture
from botlib.tuning.study import Study, Surface

COSTS = botlib.Costs.none()
POINT = {"period": 3, "below": 0.99, "weight": 0.5}


@dataclass(frozen=True)
class Dip(Strategy):
    """Buys below a multiple of its average, sells above it."""

    period: int = param(3, low=1, high=50)
    below: float = param(0.99, low=0.5, high=1.5)
    weight: float = param(0.5, low=0.01, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.period == 4 and self.below > 1.0:
            raise InputError("not these two together.")

    @property
    def warmup(self) -> int:
        return self.period

    def targets(self, bars: Any) -> np.ndarray:
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average * self.below, bars.close > average, self.weight)


@pytest.fixture(scope="module")
def bars():
    rng = np.random.default_rng(5)
    return make_bars({s: list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, 400)), 2)) for s in "AB"})


@pytest.fixture(params=["symbol", "portfolio"])
def study(request, bars):
    return Study(bars, Dip, 280, costs=COSTS, safety=None, by=request.param,
                 risk=botlib.Risk(max_position_pct=50.0))


def alone(study, strategy):
    """Equity of a point by single backtests."""
    options = {"cash": study.cash, "risk": study.risk, "costs": COSTS, "safety": None, "quiet": True}
    parts = [study.bars.select(s) for s in study.bars.symbols] if study.by == "symbol" else [study.bars]
    return sum(botlib.backtest(part, strategy, **options).equity for part in parts) / len(parts)


def sharpe(equity: pd.Series) -> float:
    returns = equity.pct_change().iloc[1:]
    return float(returns.mean() / returns.std() * 252 ** 0.5)


def test_a_curve_is_the_mean_of_single_backtests(study):
    curve, expected = study.curve(POINT), alone(study, Dip(**POINT))
    np.testing.assert_allclose(curve.equity, expected.to_numpy(), rtol=1e-9)
    assert curve.sharpe_in == pytest.approx(sharpe(expected.iloc[:280]), rel=1e-9)
    assert curve.sharpe_out == pytest.approx(sharpe(expected.iloc[279:]), rel=1e-9)  # from the last close in sample on
    assert curve.return_in_pct == pytest.approx(100.0 * (expected.iloc[279] / expected.iloc[0] - 1.0))
    assert curve.return_out_pct == pytest.approx(100.0 * (expected.iloc[-1] / expected.iloc[279] - 1.0))
    assert curve.drawdown_pct == pytest.approx(100.0 * (expected / expected.cummax() - 1.0).min())
    assert curve.trades > 50


def test_a_surface_is_of_single_backtests_in_sample(study):
    searched = study.search(POINT, "period", [2, 4, 6], "below", [0.98, 0.99, 1.01])
    surface = study.surface(searched, "period", "below")
    assert surface.values.shape == (3, 3) and math.isnan(surface.values[2, 1])  # refused by the strategy
    for row, column in ((0, 0), (1, 2), (2, 2)):
        found = Dip(**POINT | {"period": surface.xs[column], "below": surface.ys[row]})
        assert surface.values[row, column] == pytest.approx(sharpe(alone(study, found).iloc[:280]), rel=1e-9)
    total = study.surface(searched, "period", "below", "total_return_pct")
    first = alone(study, Dip(2, 0.98, 0.5)).iloc[:280]
    assert total.values[0, 0] == pytest.approx(100.0 * (first.iloc[-1] / first.iloc[0] - 1.0))


def test_what_comes_after_the_split_changes_no_surface(study, bars):
    panels = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for panel in panels.values():
        panel[280:] *= np.linspace(1.0, 3.0, 120)[:, None]
    other = botlib.Bars(bars.index, bars.symbols, **panels, volume=bars.volume, calendar=bars.calendar)
    grids = [one.surface(one.search(POINT, "period", [2, 6], "below", [0.98, 0.99]), "period", "below").values
             for one in (study, Study(other, Dip, 280, costs=COSTS, safety=None, by=study.by, risk=study.risk))]
    np.testing.assert_array_equal(*grids)


def test_a_plateau_is_what_is_around_a_cell():
    values = np.array([[1.0, 2.0, 9.0], [3.0, math.nan, -1.0], [0.5, 4.0, 7.0]])
    surface = Surface("x", "y", (10, 20, 30), (0.1, 0.2, 0.3), "sharpe", values)
    corner, middle = surface.plateau(0, 0), surface.plateau(1, 1)
    assert (corner.median, corner.lowest, corner.positive, corner.cells) == (2.0, 1.0, 1.0, 3)
    assert (middle.lowest, middle.positive, middle.cells) == (-1.0, 7 / 8, 8)
    assert surface.at({"x": 24, "y": 0.3}) == (2, 1) and surface.at({"x": 10, "y": -5.0}) == (0, 0)
    empty = Surface("x", "y", (1,), (1,), "sharpe", np.array([[math.nan]])).plateau(0, 0)
    assert math.isnan(empty.median) and empty.cells == 0


def test_more_trials_make_the_same_curve_less_convincing(study):
    searched = study.search(POINT, "period", list(range(2, 12)), "below", [0.97, 0.98, 0.99])
    curve = study.curve(POINT)
    few, many = (study.honesty(searched, curve, trials) for trials in (0, 3_000))
    assert (few.trials, many.trials) == (30, 3_000)
    assert 1.0 <= few.effective <= 30.0 and many.effective == pytest.approx(100.0 * few.effective)
    assert 0.0 <= many.deflated < few.deflated <= 1.0 and few.needed_years < many.needed_years
    assert 0.0 <= few.pbo <= 1.0 and few.sharpe == curve.sharpe_in
    assert few.years == pytest.approx(279 / 252)


def test_what_never_traded_is_undefined_not_good(study):
    point = POINT | {"below": 0.5}
    searched = study.search(point, "period", [2, 3], "weight", [0.4, 0.5])
    found = study.honesty(searched, study.curve(point), 0)
    assert found.trials == 4 and math.isnan(found.deflated) and math.isnan(found.pbo)
    assert math.isnan(study.curve(point).decay)


@pytest.mark.parametrize(("split", "words"), [(30, "at least 60 bars"), (390, "at least 60 bars")])
def test_a_split_that_leaves_too_little(bars, split, words):
    with pytest.raises(InputError, match=words):
        Study(bars, Dip, split)


def test_one_parameter_is_no_surface(study):
    with pytest.raises(InputError, match="take two different parameters"):
        study.search(POINT, "period", [2], "period", [3])


def test_the_pictures_name_what_they_show(study):
    searched, curve = study.search(POINT, "period", [2, 4, 6], "below", [0.98, 0.99, 1.01]), study.curve(POINT)
    account, surface = CurvePicture(study), SurfacePicture()
    account.show(curve, np.linspace(1e5, 1.1e5, 400))
    surface.show(study.surface(searched, "period", "below"), POINT)
    assert {"in sample", "out of sample", "Strategy", "Buy and\nhold", "Date"} <= set(account.texts())
    assert any(text.startswith("Sharpe ratio") and "out of sample" in text for text in account.texts())
    assert {"period", "below"} <= set(surface.texts())
    assert any(text.startswith("grey:") for text in surface.texts())  # one point is refused


def test_only_the_marker_is_drawn_anew(study):
    """A redrawn picture is, byte for byte, the one that is made from the start."""
    searched = study.surface(study.search(POINT, "period", [2, 3, 6], "below", [0.98, 0.99, 1.01]), "period", "below")
    moved, made = SurfacePicture(), SurfacePicture()
    moved.show(searched, POINT)
    first = moved.png()
    for picture in (moved, made):
        picture.show(searched, POINT | {"period": 6})
    assert moved.png() == made.png() != first
    account, other = CurvePicture(study), CurvePicture(study)
    held = np.linspace(1e5, 1.1e5, 400)
    account.show(study.curve(POINT), held)
    account.png()
    for picture in (account, other):
        picture.show(study.curve(POINT | {"weight": 0.1}), held * 1.5)
    assert account.png() == other.png()
