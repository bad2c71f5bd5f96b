"""Walk-forward: by hand, against loops of single backtests, and blind to what comes later."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import BARE, FREE, make_bars

import botlib
from botlib import Bars, Strategy, indicators, param, targets_from_signals
from botlib.errors import DataError, InputError, StrategyError
from botlib.tuning.walkforward import walk_forward
from botlib.tuning.windows import splits

PLAIN: dict[str, Any] = {"risk": BARE, "costs": FREE, "safety": None}


@dataclass(frozen=True)
class Side(Strategy):
    """A hundred shares, or as many short, all the time."""

    side: int = param(1, low=-1, high=1)
    shares: int = param(100, low=1, high=10_000)
    unit = "shares"

    def targets(self, bars: Bars) -> np.ndarray:
        return np.full(bars.shape, float(self.side * self.shares))


@dataclass(frozen=True)
class Dip(Strategy):
    """Buys below a multiple of its average, sells above it."""

    period: int = param(3, low=1, high=50)
    below: float = param(0.99, low=0.5, high=1.5)

    @property
    def warmup(self) -> int:
        return self.period

    def targets(self, bars: Bars) -> np.ndarray:
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average * self.below, bars.close > average, 0.3)


GRID: dict[str, list[Any]] = {"period": [2, 4, 7], "below": [0.98, 1.0], "stop_loss_pct": [None, 3.0]}
COSTS = botlib.Costs(commission_bps=3.0, slippage_bps=2.0, regulatory_fees=False)
REAL: dict[str, Any] = {"risk": botlib.Risk(max_position_pct=30.0), "costs": COSTS, "safety": None}


def walk(count: int, seed: int = 3, late: int = 0) -> Bars:
    """Two random walks, the second of which begins late."""
    rng = np.random.default_rng(seed)
    cells = {s: list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, count)), 2)) for s in "BA"}
    return make_bars({"B": cells["B"], "A": [None] * late + cells["A"][late:]})


# --- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "expected"), [
    ({"train": 4, "test": 2}, [((0, 4), (4, 6)), ((2, 6), (6, 8)), ((4, 8), (8, 10))]),
    ({"train": 4, "test": 4}, [((0, 4), (4, 8)), ((4, 8), (8, 10))]),  # the last ends with the bars
    ({"train": 4, "test": 3, "anchored": True}, [((0, 4), (4, 7)), ((0, 7), (7, 10))]),
    ({"train": 3, "test": 3, "embargo": 2}, [((0, 3), (5, 8)), ((3, 6), (8, 10))]),
    ({"train": 3, "test": 3, "embargo": 2, "anchored": True}, [((0, 3), (5, 8)), ((0, 6), (8, 10))]),
    ({"train": 8, "test": 2}, [((0, 8), (8, 10))])])
def test_windows_of_ten_bars(options, expected):
    assert [((s.train.start, s.train.stop), (s.test.start, s.test.stop)) for s in splits(10, **options)] == expected


@pytest.mark.parametrize(("bars", "options", "words"), [
    (300, {"train": 252, "test": 63}, r"300 are too few for train = 252 \+ test = 63, which take 315; with this test, "
                                      "a train of up to 237 fits"),
    (60, {"train": 50, "test": 63}, r"take shorter windows: train \+ embargo \+ test of at most 60"),
    (9, {"train": 4, "test": 4, "embargo": 2}, r"train = 4 \+ embargo = 2 \+ test = 4, which take 10; .* up to 3 fits"),
    (2, {"train": 3, "test": 1}, "no window fits into fewer than 4"),
    (9, {"train": 2, "test": 4}, "train = 2 must be a whole number of at least 3"),
    (9, {"train": 4.0, "test": 4}, "train = 4.0"), (9, {"train": 4, "test": 0}, "test = 0"),
    (9, {"train": 4, "test": 4, "embargo": -1}, "embargo = -1"),
    (9, {"train": 4, "test": 4, "anchored": "yes"}, "anchored = 'yes' must be True or False")])
def test_windows_that_cannot_be_are_a_sentence(bars, options, words):
    with pytest.raises(InputError, match=words):
        splits(bars, **options)


# --- by hand ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_windows():
    """A hundred shares of 10,000 dollars. Trained on 10, 11, 10.5, 12: bought at 11, long wins 1 %. Traded: bought at
    13, 11.5 at the end. Trained on 10.5, 12, 13, 11.5: sold at 12, short wins half a percent. Traded: sold at 11, 12
    at the end."""
    bars = make_bars({"A": [10.0, 11.0, 10.5, 12.0, 13.0, 11.5, 11.0, 12.0]})
    return walk_forward(bars, Side, {"side": [1, -1]}, train=4, test=2, cash=10_000.0, metric="total_return_pct",
                        **PLAIN)


def test_choices_and_figures_by_hand(two_windows):
    table = two_windows.windows
    assert list(table.columns) == ["train_from", "train_to", "test_from", "test_to", "side", "in_sample",
                                   "out_of_sample", "trades", "note"]
    days = [[d.isoformat()[:10] for d in row] for row in table.iloc[:, :4].to_numpy()]
    assert days == [["2024-03-04", "2024-03-07", "2024-03-08", "2024-03-11"],
                    ["2024-03-06", "2024-03-11", "2024-03-12", "2024-03-13"]]
    assert list(table["side"]) == [1, -1] and list(table["trades"]) == [0, 0] and list(table["note"]) == ["", ""]
    assert list(table["in_sample"]) == pytest.approx([1.0, 0.5])
    assert list(table["out_of_sample"]) == pytest.approx([-1.5, -1.0])


def test_the_curve_goes_through_all_tests(two_windows):
    assert list(two_windows.returns) == pytest.approx([0.0, -0.015, 0.0, -0.01])
    assert list(two_windows.equity) == pytest.approx([10_000.0, 10_000.0, 9_850.0, 9_850.0, 9_751.5])
    assert str(two_windows.equity.index[0].date()) == "2024-03-07"
    assert two_windows.returns.index.equals(two_windows.equity.index[1:])
    figures = two_windows.metrics
    assert figures["total_return_pct"] == pytest.approx(-2.485) and figures["final_equity"] == pytest.approx(9_751.5)
    assert figures["max_drawdown_pct"] == pytest.approx(-2.485) and figures["trades"] == 0.0
    exposure = [0.0, 1300.0 / 10_000.0, 1150.0 / 9_850.0, 1100.0 / 10_000.0, 1200.0 / 9_900.0]
    assert figures["exposure_pct"] == pytest.approx(100.0 * sum(exposure) / 5.0)
    mean = (10_000.0 + 10_000.0 + 9_850.0 + 9_850.0 + 9_751.5) / 5.0
    traded = 1300.0 + 1100.0 * 0.985  # the second account had 9,850 to begin with
    assert figures["turnover_pct"] == pytest.approx(50.0 * traded / mean * 252.0 / 4.0)


def test_efficiency_decay_and_stability_by_hand(two_windows):
    inside, outside = (1.01 * 1.005) ** (252 / 6) - 1.0, (0.985 * 0.99) ** (252 / 4) - 1.0
    assert two_windows.efficiency == pytest.approx(outside / inside)
    trained = [pd.Series([1.0, 1.0, 0.995, 1.01]), pd.Series([1.0, 1.0, 0.99, 1.005])]
    sharpes = [r.mean() / r.std() for r in (curve.pct_change().dropna() for curve in trained)]
    traded = pd.Series([0.0, -0.015, 0.0, -0.01])
    assert two_windows.decay == pytest.approx(1.0 - traded.mean() / traded.std() / (sum(sharpes) / 2.0))
    assert two_windows.stability.to_dict() == {"side": 0.5}


def test_it_is_readable(two_windows):
    assert "2 windows (rolling) of 2 points, out of sample 2024-03-08 to 2024-03-13: -2.4" in repr(two_windows)
    page = two_windows._repr_html_()
    assert "Out of sample" in page and "Walk-forward efficiency" in page and "side 50 %" in page


def test_a_loss_in_sample_has_no_efficiency():
    bars = make_bars({"A": [20.0, 19.0, 18.5, 17.0, 16.0, 15.5, 14.0, 15.0]})
    found = walk_forward(bars, Side, {"side": [1]}, train=4, test=2, **PLAIN)
    assert math.isnan(found.efficiency) and math.isnan(found.decay)
    assert "efficiency undefined" in found._repr_html_()


def test_what_has_lost_everything_stays_there():
    """500 short at 10, then 40; the second window would begin with fresh cash."""
    bars = make_bars({"A": [10.0, 10.0, 10.5, 10.0, 10.0, 40.0, 10.0, 9.0]})
    found = walk_forward(bars, Side, {"side": [-1], "shares": [500]}, train=4, test=2, cash=10_000.0,
                         metric="total_return_pct", **PLAIN)
    assert list(found.equity) == pytest.approx([10_000.0, 10_000.0, -5_000.0, -5_000.0, -5_000.0])
    assert list(found.returns) == pytest.approx([0.0, -1.5, math.nan, math.nan], nan_ok=True)
    assert math.isnan(found.metrics["sharpe"]) and math.isnan(found.decay)


# --- against single backtests -------------------------------------------------------------------------------------


def sharpe(curve: pd.Series) -> float:
    r = curve.pct_change().iloc[1:]
    return r.mean() / r.std() * 252.0**0.5 if r.std() > 0.0 else math.nan


def alone(bars: Bars, values: dict[str, Any], first: int) -> list[botlib.BacktestResult]:
    own = {name: v for name, v in values.items() if name != "stop_loss_pct"}
    risk = botlib.Risk(max_position_pct=30.0, stop_loss_pct=values["stop_loss_pct"])
    return [botlib.backtest(bars, Dip(**own), risk=risk, costs=COSTS, safety=None, quiet=True, decide_from=first)]


@pytest.mark.parametrize(("anchored", "embargo"), [(False, 0), (True, 0), (False, 3)])
def test_a_portfolio_is_a_loop_of_backtests(anchored, embargo):
    bars = walk(170, late=60)
    found = walk_forward(bars, Dip, GRID, train=40, test=25, anchored=anchored, embargo=embargo, **REAL)
    starts = range(40 + embargo, 170, 25)
    assert len(found.windows) == len(starts)
    level, chain, won, trades = 100_000.0, [100_000.0], 0.0, 0
    for n, first in enumerate(starts):
        train = 0 if anchored else first - embargo - 40
        known = bars.upto(first - embargo - 1)
        scores = {}
        for combo in itertools.product(*GRID.values()):
            values = dict(zip(GRID, combo, strict=True))
            scores[combo] = sharpe(alone(known, values, train)[0].equity.iloc[train:])
        best = max((c for c in scores if scores[c] == scores[c]), key=scores.get)
        row = found.windows.iloc[n]
        assert found.steps[n].chosen == dict(zip(GRID, best, strict=True))
        assert row["in_sample"] == pytest.approx(scores[best])
        traded = alone(bars.upto(min(first + 25, 170) - 1), dict(zip(GRID, best, strict=True)), first - 1)[0]
        curve = traded.equity.iloc[first - 1:]
        assert row["out_of_sample"] == pytest.approx(sharpe(curve), nan_ok=True)
        assert row["trades"] == len(traded.trades)
        won, trades = won + traded.trades["pnl"].sum() * level / 100_000.0, trades + len(traded.trades)
        chain += list(level * curve.iloc[1:] / 100_000.0)
        level = chain[-1]
    np.testing.assert_allclose(found.equity.to_numpy(), chain, rtol=1e-12)
    assert trades > 10 and found.metrics["trades"] == trades
    assert found.metrics["average_trade"] == pytest.approx(won / trades)


def test_accounts_of_symbols_decide_together():
    """The second symbol has no bar in the first training, and five in the second: no account, then one that counts."""
    bars = walk(120, late=65)
    grid = {"period": [2, 4], "below": [0.99, 1.0], "stop_loss_pct": [3.0]}
    found = walk_forward(bars, Dip, grid, train=40, test=30, by="symbol", metric="total_return_pct", **REAL)
    for n, (first, symbols) in enumerate([(40, ["B"]), (70, ["B", "A"]), (100, ["B", "A"])]):
        means = {}
        for combo in itertools.product(*grid.values()):
            curves = accounts(bars.upto(first - 1), symbols, dict(zip(grid, combo, strict=True)), first - 40)
            means[combo] = np.mean([curve.iloc[-1] / 100_000.0 - 1.0 for curve in curves])
        best = max(means, key=means.get)
        assert found.steps[n].chosen == dict(zip(grid, best, strict=True))
        curves = accounts(bars.upto(min(first + 30, 120) - 1), symbols, dict(zip(grid, best, strict=True)), first - 1)
        mean = sum(curves) / len(curves)
        np.testing.assert_allclose(found.steps[n].tested.equity, mean.to_numpy(), rtol=1e-12)
    assert found.windows["trades"].sum() > 5


def accounts(bars: Bars, symbols: list[str], values: dict[str, Any], first: int) -> list[pd.Series]:
    """Equity of each symbol's own account from a bar on, on all labels."""
    curves = []
    for symbol in symbols:
        own = bars.select(symbol)
        run = alone(own, values, int((own.index < bars.index[first]).sum()))[0]
        curves.append(run.equity.reindex(bars.index).ffill().fillna(100_000.0).iloc[first:])
    return curves


# --- what a window may see ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["portfolio", "symbol"])
def test_later_bars_change_nothing_before_them(by):
    bars = walk(170)
    rng = np.random.default_rng(9)
    close = bars.close.copy()
    close[115:] = np.round(close[115:] * np.cumprod(1.0 + rng.normal(0.0, 0.05, (55, 2)), axis=0), 2)
    other = Bars(bars.index, bars.symbols, open=close, high=close, low=close, close=close, volume=bars.volume)
    one, two, cut = (walk_forward(b, Dip, GRID, train=40, test=25, by=by, metric="total_return_pct", **REAL)
                     for b in (bars, other, bars.upto(114)))
    assert len(one.steps) == len(two.steps) == 6 and len(cut.steps) == 3
    for n in range(3):  # tests end with bars 64, 89 and 114
        assert one.steps[n].chosen == two.steps[n].chosen == cut.steps[n].chosen
    assert list(one.returns[:75]) == list(two.returns[:75]) == list(cut.returns)
    assert one.steps[3].chosen == two.steps[3].chosen  # trained on bars 75 to 114
    assert list(one.returns[75:]) != list(two.returns[75:])


def test_the_embargo_is_not_trained_on():
    bars = walk(60)
    close = bars.close.copy()
    close[40:45] = np.round(close[40:45] * 1.3, 2)
    other = Bars(bars.index, bars.symbols, open=close, high=close, low=close, close=close, volume=bars.volume)
    one, two = (walk_forward(b, Dip, GRID, train=40, test=15, embargo=5, **REAL) for b in (bars, other))
    assert one.steps[0].chosen == two.steps[0].chosen
    assert list(one.windows["in_sample"]) == list(two.windows["in_sample"])


# --- nothing to choose --------------------------------------------------------------------------------------------


def test_a_window_in_which_nothing_traded_trades_nothing_and_says_so():
    still, moving = [50.0] * 30, list(walk(60).close[:, 0])
    bars = make_bars({"A": moving[:30] + still + moving[30:]})
    found = walk_forward(bars, Dip, GRID, train=20, test=10, **REAL)
    assert found.idle == (4,)  # trained on bars 40 to 59; before, the averages still move
    idle = found.windows.loc[[4]]
    assert (idle["note"] == "sharpe is defined at no point: nothing was traded").all()
    assert idle["period"].isna().all() and idle["in_sample"].isna().all() and (idle["trades"] == 0).all()
    assert (found.returns.loc[bars.index[60]:bars.index[69]] == 0.0).all()
    assert "nothing chosen in 1 window>" in repr(found)
    assert all(0.0 < share <= 1.0 for share in found.stability)


def test_a_strategy_asked_bar_by_bar_walks_too():
    class Asked(Side):
        def on_bar(self, view: Any) -> Any:
            return {"A": self.side * 100.0}

    bars = make_bars({"A": [10.0, 11.0, 10.5, 12.0, 13.0, 11.5, 11.0, 12.0]})
    found = walk_forward(bars, Asked, {"side": [1, -1]}, train=4, test=2, cash=10_000.0, metric="total_return_pct",
                         **PLAIN)
    assert list(found.returns) == pytest.approx([0.0, -0.015, 0.0, -0.01])


def test_nothing_at_all_is_an_error():
    with pytest.raises(DataError, match="sharpe is defined at none of the 12 points in any of the 4 windows: nothing"):
        walk_forward(make_bars({"A": [50.0] * 40}), Dip, GRID, train=20, test=5, **REAL)


def test_symbols_without_any_training_have_no_account():
    bars = make_bars({"A": [50.0] * 22 + list(walk(38).close[:, 0]), "B": [None] * 58 + [9.0, 9.0]})
    found = walk_forward(bars, Dip, {"period": [2]}, train=20, test=20, by="symbol", metric="total_return_pct", **REAL)
    assert [s.chosen for s in found.steps] == [{"period": 2}, {"period": 2}]


# --- progress and refusals ----------------------------------------------------------------------------------------


def test_progress_comes_to_its_end_over_all_windows():
    seen = []
    walk_forward(walk(60), Dip, GRID, train=30, test=10, progress=lambda *x: seen.append(x), **REAL)
    assert seen[-1] == (36, 36) and seen == sorted(seen)


def test_an_interrupt_passes_through():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk_forward(walk(60), Dip, GRID, train=30, test=10, progress=stop, **REAL)


@pytest.mark.parametrize(("options", "words"), [
    ({"metric": "sharp"}, "metric = 'sharp' is unknown.*did you mean 'sharpe'"),
    ({"test": 40}, "60 are too few for train = 30 "),
    ({"max_combos": 20}, "3 windows x 12 points = 36 combinations are more than max_combos = 20.*max_combos=36"),
    ({"max_combos": 5}, r"12 combinations .* are more than max_combos = 5"), ({"by": "stock"}, "by = 'stock'"),
    ({"cash": 0}, "cash = 0"), ({"threads": 0}, "threads = 0")])
def test_options_that_cannot_be_are_a_sentence(options, words):
    with pytest.raises(InputError, match=words):
        walk_forward(walk(60), Dip, GRID, **{"train": 30, "test": 10, **REAL, **options})


@pytest.mark.parametrize(("bars", "strategy", "grid", "words"), [
    (None, Dip, GRID, "bars is of type NoneType"), (walk(40), Dip(), GRID, r"give the class.*walk_forward\(bars, Dip"),
    (walk(40), Dip, {}, "grid is {}"), (walk(40), Dip, {"periods": [1]}, "did you mean 'period'")])
def test_what_is_no_bars_strategy_or_grid_is_a_sentence(bars, strategy, grid, words):
    with pytest.raises(InputError, match=words):
        walk_forward(bars, strategy, grid, train=20, test=10)


def test_a_strategy_that_raises_is_told():
    @dataclass(frozen=True)
    class Broken(Dip):
        def targets(self, bars: Any) -> np.ndarray:
            raise ZeroDivisionError("no")

    with pytest.raises(StrategyError, match=r"Broken.targets raised ZeroDivisionError: no"):
        walk_forward(walk(60), Broken, {"period": [2]}, train=30, test=10)
