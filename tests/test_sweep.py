"""A sweep gives at every point what a single backtest gives, however it gets there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from engine_helpers import make_bars
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import worlds

import botlib
from botlib import Strategy, indicators, param, targets_from_signals
from botlib.errors import DataError, InputError, StrategyError
from botlib.tuning.result import METRICS
from botlib.tuning.sweep import sweep


@dataclass(frozen=True)
class Dip(Strategy):
    """Buys below a multiple of its average, sells above another."""

    period: int = param(3, low=1, high=50)
    below: float = param(0.99, low=0.5, high=1.5)
    above: float = param(1.01, low=0.5, high=1.5)
    weight: float = param(0.3, low=0.01, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.below > self.above:
            raise InputError(f"below = {self.below:g} must not exceed above = {self.above:g}.")

    @property
    def warmup(self) -> int:
        return self.period

    def targets(self, bars: Any) -> np.ndarray:
        average = indicators.sma(bars.close, self.period)
        return targets_from_signals(bars.close < average * self.below, bars.close > average * self.above, self.weight)


@dataclass(frozen=True)
class Both(Dip):
    """The same, and short: no fast way."""

    def targets(self, bars: Any) -> np.ndarray:
        average = indicators.sma(bars.close, self.period)
        low, high = bars.close < average * self.below, bars.close > average * self.above
        return targets_from_signals(low, high, self.weight, short_entries=high, short_exits=low)


@dataclass(frozen=True)
class ByHand(Dip):
    """The same by bars: asked one by one."""

    def on_bar(self, view: Any) -> Any:
        recent = view.bars.close[-self.period:]
        wanted = {}
        for n, symbol in enumerate(view.bars.symbols):
            if np.isfinite(recent[:, n]).all() and recent[-1, n] < recent[:, n].mean() * self.below:
                wanted[symbol] = self.weight
            elif np.isfinite(recent[:, n]).all() and recent[-1, n] > recent[:, n].mean() * self.above:
                wanted[symbol] = 0.0
        return wanted

    targets = Strategy.targets


GRID = {"period": [2, 4], "below": [0.98, 1.0], "above": [1.0, 1.02], "stop_loss_pct": [None, 2.0, 6.0],
        "take_profit_pct": [None, 3.0]}
FEE_FREE = botlib.Costs(commission_bps=3.0, slippage_bps=2.0, regulatory_fees=False)


def single(result: Any, row: int, account: str) -> botlib.BacktestResult:
    """The backtest that a point's account stands for."""
    point = dict(result.table.iloc[row])
    own = {name: value for name, value in point.items() if name in ("period", "below", "above")}
    legs = {n: None if v is None or v != v else float(v) for n, v in point.items() if n not in own}
    own = {n: (int(v) if n == "period" else float(v)) for n, v in own.items()}
    risk = botlib.Risk(**result.risk.model_dump() | legs)
    bars = result.bars if account == "portfolio" else result.bars.select(account)
    first = int(bars.index.searchsorted(result.bars.index[result.decide_from]))
    return botlib.backtest(bars, result.strategy(**own), cash=result.cash, risk=risk, costs=result.costs,
                           safety=result.safety, convention=result.convention, quiet=True, decide_from=first)


def agree(result: Any, rows: Any = None) -> int:
    """Every figure is the backtest's, to 1e-9; returns the trades seen. Sharpe and drawdown from ``decide_from`` on are
    pandas' own."""
    seen = 0
    for n, account in enumerate(result.accounts):
        for row in range(len(result)) if rows is None else rows:
            alone = single(result, row, account)
            expected = [alone.metrics[name] for name in METRICS]
            if result.decide_from:
                curve = alone.equity[alone.equity.index >= result.bars.index[result.decide_from]]
                returns, deviation = curve.pct_change().iloc[1:], curve.pct_change().iloc[1:].std()
                year = alone.bars.periods_per_year
                expected[1] = returns.mean() / deviation * year ** 0.5 if deviation > 0.0 else np.nan
                expected[2] = 100.0 * (curve / curve.cummax() - 1.0).min()
            np.testing.assert_allclose(result.figures[n, row], expected, rtol=1e-9, atol=1e-9, equal_nan=True)
            if result.equity is not None:
                curve = result.equity[n, row]
                np.testing.assert_allclose(curve[~np.isnan(curve)], alone.equity.to_numpy(), rtol=1e-9)
            seen += int(expected[-1])
    return seen


@pytest.mark.slow
@given(world=worlds(), data=st.data())
@settings(max_examples=60)
def test_any_world(world, data):
    strategy = data.draw(st.sampled_from([Dip, Dip, Dip, Both]))
    convention = data.draw(st.sampled_from(["broker", "textbook"]))
    safety = data.draw(st.sampled_from([None, botlib.SafetyControls(
        max_drawdown_pct=2.0, max_daily_loss_pct=0.5, max_position_size_pct=50.0, max_orders_per_day=2)]))
    fractional = data.draw(st.booleans())
    grid = {name: values for name, values in GRID.items() if not (fractional and name.endswith("_pct"))}
    risk = botlib.Risk(max_position_pct=40.0, fractional=fractional, **(
        {"stop_loss_pct": None, "take_profit_pct": None} if fractional else {}))
    result = sweep(world.bars, strategy, grid, by=data.draw(st.sampled_from(["symbol", "symbol", "portfolio"])),
                   risk=risk, safety=safety,
                   costs=data.draw(st.sampled_from([FEE_FREE, botlib.Costs(regulatory_fees=False)])),
                   convention=convention, equity=data.draw(st.booleans()), threads=2,
                   decide_from=data.draw(st.sampled_from([0, 0, 1, len(world.bars) // 2])))
    agree(result, data.draw(st.lists(st.integers(0, len(result) - 1), min_size=3, max_size=3, unique=True)))


@pytest.fixture(scope="module")
def real():
    provider = botlib.providers.load("sample")
    symbols = ["AAPL", "FB", "IBM"]
    frame = provider.download_bars(symbols=symbols, period="max", interval="1d")
    return botlib.Bars.from_frame(frame, actions=provider.actions(symbols))


@pytest.mark.filterwarnings("ignore::botlib.errors.BotlibWarning")
@pytest.mark.parametrize("by", ["symbol", "portfolio"])
def test_real_bars_with_splits_dividends_fees_and_a_late_listing(real, by):
    result = sweep(real, Dip, {"period": [5, 20], "below": [0.97, 0.99], "stop_loss_pct": [2.0, 8.0]}, by=by,
                   risk=botlib.Risk(max_position_pct=10.0), equity=True)
    assert len(result) == 8 and result.accounts == (("AAPL", "FB", "IBM") if by == "symbol" else ("portfolio",))
    assert agree(result) > 300


@pytest.mark.filterwarnings("ignore::botlib.errors.BotlibWarning")
@pytest.mark.parametrize("by", ["symbol", "portfolio"])
def test_figures_from_a_bar_on(real, by):
    """FB begins in 2012: its own bars are counted from there."""
    first = int(real.index.searchsorted("2012-09-04"))
    result = sweep(real, Dip, {"period": [5, 20], "stop_loss_pct": [2.0, 8.0]}, by=by, decide_from=first,
                   risk=botlib.Risk(max_position_pct=10.0), equity=True)
    assert agree(result) > 50
    assert (result.equity[:, :, first] == result.cash).all()


def test_a_strategy_asked_bar_by_bar():
    rng = np.random.default_rng(3)
    bars = make_bars({"A": list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, 80)), 2))})
    result = sweep(bars, ByHand, {"period": [2, 3], "below": [0.99, 1.0]}, costs=FEE_FREE,
                   risk=botlib.Risk(max_position_pct=30.0), safety=None)
    assert agree(result) > 10


def test_a_strategy_that_writes_into_its_signals_is_not_wrong():
    @dataclass(frozen=True)
    class Writes(Dip):
        def targets(self, bars: Any) -> np.ndarray:
            low = bars.close < indicators.sma(bars.close, self.period)
            low[:10] = False
            return targets_from_signals(low, ~low, self.weight)

    rng = np.random.default_rng(3)
    bars = make_bars({"A": list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, 80)), 2))})
    result = sweep(bars, Writes, {"period": [2, 3]}, costs=FEE_FREE, risk=botlib.Risk(max_position_pct=30.0),
                   safety=None)
    assert agree(result) > 10


def test_memory_that_is_short_is_only_slow(monkeypatch):
    from botlib import sharing

    monkeypatch.setattr(sharing, "MEMORY", 1)
    monkeypatch.setattr("botlib.tuning.running._ROWS_BYTES", 1)
    rng = np.random.default_rng(3)
    bars = make_bars({s: list(np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0, 0.02, 200)), 2)) for s in "AB"})
    agree(sweep(bars, Dip, GRID, costs=FEE_FREE, risk=botlib.Risk(max_position_pct=30.0), safety=None, by="symbol"))


# --- what is told, and what is refused ----------------------------------------------------------------------------


@pytest.fixture
def bars():
    return make_bars({"A": [10.0, 11.0, 9.0, 12.0, 8.0, 13.0, 9.0, 10.0, 12.0, 11.0]})


def test_points_that_the_strategy_refuses_are_listed(bars):
    result = sweep(bars, Dip, {"below": [0.9, 1.1], "above": [1.0, 1.2]}, costs=FEE_FREE)
    assert [row for row, _ in result.impossible] == [2] and "must not exceed" in result.impossible[0][1]
    assert np.isnan(result.figures[:, 2]).all()
    assert list(result.table.columns) == ["below", "above"] and list(result.table.iloc[2]) == [1.1, 1.0]


def test_nothing_traded_has_no_best(bars):
    result = sweep(bars, Dip, {"below": [0.5], "above": [1.5]}, costs=FEE_FREE)
    assert list(result.figures[0, 0, [0, 2, 3]]) == [0.0, 0.0, 0.0] and np.isnan(result.figures[0, 0, 1])
    with pytest.raises(DataError, match="sharpe is defined at none of the 1 points"):
        result.best()


def test_the_best_point_is_told_in_the_words_of_the_grid(real):
    """Whole numbers stay whole, None stays None; a symbol without bars has no say, and an unknown one is refused."""
    early = real.upto(2_000)  # FB begins later
    result = sweep(early, Dip, {"period": [5, 20], "stop_loss_pct": [None, 8.0]}, by="symbol",
                   risk=botlib.Risk(max_position_pct=10.0))
    best = result.best("sharpe")
    assert np.isnan(result.figures[1]).all() and best["stop_loss_pct"] in (None, 8.0) and type(best["period"]) is int
    ratios = result.frame("AAPL")["sharpe"] + result.frame("IBM")["sharpe"]
    row = result.table.loc[ratios.idxmax()]
    assert best["period"] == row["period"] and (best["stop_loss_pct"] is None) == np.isnan(row["stop_loss_pct"])
    with pytest.raises(InputError, match="account = 'MSFT' is unknown; valid: AAPL, FB, IBM"):
        result.best("sharpe", account="MSFT")


def test_progress_comes_to_its_end(bars):
    seen = []
    sweep(bars, Dip, GRID, costs=FEE_FREE, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (48, 48) and seen == sorted(seen)


def test_an_interrupt_passes_through(bars):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(bars, Dip, GRID, costs=FEE_FREE, progress=stop)


@pytest.mark.parametrize(("grid", "words"), [
    ({}, "grid is {}; it must name parameters"),
    ({"periods": [1]}, "'periods' is no parameter of Dip or Risk.*did you mean 'period'"),
    ({"period": []}, "period has no values"),
    ({"period": 5}, r"period = 5 must be a list of values, e.g. \[5\]"),
    ({"period": [3, 3]}, "period holds 3 twice"),
    ({"period": [3, 99]}, "period = 99 is not possible in any combination: .*out of range: valid is 1 to 50"),
    ({"period": [99]}, "none of the 1 combinations is possible"),
    ({"stop_loss_pct": [5.0, 500.0]}, "stop_loss_pct.*500"),
    ({"period": range(1, 51), "below": np.linspace(0.5, 1.0, 100), "weight": np.linspace(0.01, 1.0, 100)},
     r"500,000 combinations \(50 period x 100 below x 100 weight\) are more than max_combos = 100,000")])
def test_a_grid_that_cannot_be_is_a_sentence(bars, grid, words):
    with pytest.raises(InputError, match=words):
        sweep(bars, Dip, grid)


@pytest.mark.parametrize(("options", "words"), [
    ({"decide_from": -1}, "decide_from = -1 must be"), ({"decide_from": 1.5}, "decide_from = 1.5"),
    ({"decide_from": 10_000}, "so that at least two bars follow it"),
    ({"by": "stock"}, "by = 'stock' is unknown; valid: portfolio, symbol"), ({"threads": 0}, "threads = 0"),
    ({"max_combos": True}, "max_combos = True"), ({"cash": -1.0}, "cash = -1.0"), ({"convention": "x"}, "convention")])
def test_an_option_that_cannot_be_is_a_sentence(bars, options, words):
    with pytest.raises(InputError, match=words):
        sweep(bars, Dip, {"period": [2]}, **options)


def test_an_instance_is_not_a_class(bars):
    with pytest.raises(InputError, match=r"give the class, not an instance: sweep\(bars, Dip, grid\)"):
        sweep(bars, Dip(), {"period": [2]})


def test_a_strategy_that_raises_is_told(bars):
    @dataclass(frozen=True)
    class Broken(Dip):
        def targets(self, bars: Any) -> np.ndarray:
            raise ZeroDivisionError("no")

    with pytest.raises(StrategyError, match=r"Broken.targets raised ZeroDivisionError: no"):
        sweep(bars, Broken, {"period": [2]})
