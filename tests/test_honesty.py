"""The honesty checks catch strategies that know the future, and pass those that do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import FREE, Given, OnBar, days, make_bars, run

import botlib
from botlib.bars import FIELDS, Bars
from botlib.errors import InputError, StrategyError
from botlib.honesty import MIN_TRUNCATIONS, Honesty, check_honesty, cost_sensitivity
from botlib.strategies import MeanReversionMomentum, MovingAverageCross

T, WARMUP = 400, 50


def walk(*, holes: float = 0.0, splits: bool = False) -> Bars:
    """Random walks of three symbols; with ``splits``, A and B split 3 and 7 for 1 on the way."""
    rng = np.random.default_rng(5)
    cells: dict[str, list[Any]] = {}
    for symbol in "ABC":
        close = 100.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, T)))
        if splits and symbol in "AB":
            close[180:] /= {"A": 3.0, "B": 7.0}[symbol]
        close = np.round(close, 2)
        open_ = np.round(close * (1 + rng.normal(0, 0.005, T)), 2)
        body = np.stack([open_, close])
        rows = np.stack([open_, body.max(axis=0) * 1.005, body.min(axis=0) * 0.995, close], axis=1)
        missing = rng.random(T) < holes
        missing[0] = False
        cells[symbol] = [None if m else tuple(map(float, row)) for m, row in zip(missing, rows)]
    day = str(days(T)[180].date())
    table = [("A", day, "split", 3.0), ("B", day, "split", 7.0)] if splits else None
    return make_bars(cells, actions=table)


BARS = walk()


class Computed:
    """Targets from a function of the closes, a DataFrame."""

    unit = "weight"

    def __init__(self, function: Callable[[pd.DataFrame], Any], warmup: int = WARMUP) -> None:
        self.function, self.warmup = function, warmup

    def targets(self, bars: Bars) -> np.ndarray:
        return np.asarray(self.function(pd.DataFrame(bars.close)), dtype=float)


def level(wanted: pd.DataFrame) -> np.ndarray:
    return np.where(wanted, 0.1, 0.0)


def average(close: pd.DataFrame) -> np.ndarray:
    return level(close > close.rolling(50).mean())


def inverse_volatility(close: pd.DataFrame) -> np.ndarray:
    deviation = close.pct_change(fill_method=None).rolling(50).std()
    return np.where(deviation > 0, (0.002 / deviation).clip(upper=0.3), np.nan)


def checked(strategy: Any, bars: Bars = BARS, **options: Any) -> Honesty:
    return check_honesty(run(bars, strategy, **options))


def passed(honesty: Honesty) -> dict[str, bool]:
    return {c.name: c.passed for c in honesty.checks}


# --- Caught -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cheat", [
    lambda close: level(close.shift(-1) > close),                                       # tomorrow's close
    lambda close: level(close.shift(-5) > close),
    lambda close: level((close - close.mean()) / close.std() < -0.5),                   # mean of the whole sample
    lambda close: np.asarray(0.1 * close / close.max()),                                # scaled by the whole sample
    lambda close: level(close > close.rolling(51, center=True, min_periods=1).mean()),  # a centred average
    lambda close: level(close.rank(pct=True) < 0.3),
    lambda close: level(close > close.iloc[len(close) // 2]),                           # the middle of all bars
])
def test_a_targets_strategy_that_knows_the_future_is_caught(cheat):
    honesty = checked(Computed(cheat))
    assert honesty.looks_ahead
    assert passed(honesty)["look-ahead"] is False
    with pytest.raises(StrategyError, match="look-ahead: the target of [ABC] at 20"):
        honesty.require_no_look_ahead()


def test_filling_holes_backwards_is_caught():
    honesty = checked(Computed(lambda close: level(close.bfill() > close.shift(1).ffill())), walk(holes=0.2))
    assert honesty.looks_ahead


@pytest.mark.parametrize("signal", [
    lambda close: level(close > close.ewm(span=100).mean()), average,
    lambda close: level(close > close.expanding().mean()),
])
def test_a_warm_up_that_is_too_short_is_caught(signal):
    honesty = checked(Computed(signal, warmup=5))
    assert passed(honesty)["warm-up"] is False
    assert not honesty.looks_ahead
    assert "make the warm-up longer" in next(c.finding for c in honesty.checks if c.name == "warm-up")


def test_a_random_strategy_is_caught():
    rng = np.random.default_rng(1)
    honesty = checked(Computed(lambda close: rng.choice([0.0, 0.1], close.shape)))
    assert honesty.looks_ahead
    assert "random" in next(c.finding for c in honesty.checks if c.name == "look-ahead")


class Counting(Computed):
    """Keeps state between calls."""

    def __init__(self) -> None:
        super().__init__(average)
        self.calls = 0

    def targets(self, bars: Bars) -> np.ndarray:
        self.calls += 1
        return level(pd.DataFrame(bars.close) > 90.0 + self.calls)


def test_a_stateful_strategy_is_caught():
    assert checked(Counting()).looks_ahead


class Remembering(Computed):
    """Computes once, on all bars, and answers from memory."""

    def __init__(self) -> None:
        super().__init__(lambda close: level(close.shift(-1) > close))
        self.kept: np.ndarray | None = None

    def targets(self, bars: Bars) -> np.ndarray:
        if self.kept is None:
            self.kept = super().targets(bars)
        return self.kept[: len(bars)]


def test_a_strategy_that_remembers_the_whole_sample_is_caught():
    assert checked(Remembering()).looks_ahead


class ByPeriod:
    """In while the closes at the ends of weeks or months rise; the last bar of each group stands for its end."""

    unit, warmup = "weight", WARMUP

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def targets(self, bars: Bars) -> np.ndarray:
        close = pd.DataFrame(bars.close, index=bars.index.tz_localize(None))
        period = close.index.to_period(self.letter)
        last = np.append(period[1:] != period[:-1], True)
        rising = close[last].diff() > 0
        return np.where(last[:, None], level(rising.reindex(close.index).fillna(False)), np.nan)


@pytest.mark.parametrize(("letter", "period"), [("W", "week"), ("M", "month"), ("Q", "quarter")])
def test_the_end_of_an_unfinished_period_is_hinted_at(letter, period):
    honesty = checked(ByPeriod(letter))
    assert honesty.looks_ahead
    assert f"last bar of an unfinished {period} for its end" in honesty.checks[0].finding


@pytest.mark.parametrize("cheat", [
    lambda close: level(close.shift(-1) > close), lambda close: level(close.shift(-5) > close),
    lambda close: level(close.rank(pct=True) < 0.3),
])
def test_other_looks_ahead_get_no_such_hint(cheat):
    assert "unfinished" not in checked(Computed(cheat)).checks[0].finding


# --- Passed -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("strategy", [
    Computed(average), Computed(lambda close: level(close > close.shift(50))),
    Computed(lambda close: level(close > close.ewm(span=5).mean()), warmup=200),
    MovingAverageCross(fast=10, slow=40),
    MeanReversionMomentum(momentum_lookback=50, oversold=45.0),
])
def test_an_honest_strategy_passes(strategy):
    honesty = checked(strategy)
    assert passed(honesty)["look-ahead"] and passed(honesty)["warm-up"]
    honesty.require_no_look_ahead()


def test_levels_over_splits_pass():
    assert not checked(Computed(average), walk(splits=True)).looks_ahead




def test_weights_that_move_by_rounding_only_do_not_look_ahead():
    """Adjusting by 3 and 7 moves returns in the sixteenth digit."""
    assert not checked(Computed(inverse_volatility), walk(splits=True)).looks_ahead


def test_weights_that_move_by_rounding_only_are_warmed_up():
    """pandas' rolling sums depend in the last digits on where they began."""
    assert passed(checked(Computed(inverse_volatility)))["warm-up"]


def test_holes_do_not_shorten_the_warm_up():
    honesty = checked(Computed(lambda close: level(close.ffill() > close.ffill().shift(49))), walk(holes=0.05))
    assert passed(honesty)["warm-up"]


# --- on_bar -----------------------------------------------------------------------------------------------------------

def whole_panel(panel: np.ndarray) -> np.ndarray:
    """What a view's array was cut from."""
    while isinstance(panel.base, np.ndarray):
        panel = panel.base
    return panel


def peeking(ahead: int):
    """Reads the bars behind the view, which numpy keeps as its base."""
    def answer(view):
        panel = whole_panel(view.bars.close)
        closes = panel[FIELDS.index("close")] if panel.ndim == 3 else panel
        later = min(view.t + ahead, len(closes) - 1)
        return {s: 0.1 if closes[later, n] > closes[view.t, n] else 0.0 for n, s in enumerate(view.bars.symbols)}
    return OnBar(answer, warmup=WARMUP)


@pytest.mark.parametrize("splits", [False, True])
def test_behind_the_view_there_is_nothing_to_see(splits):
    """The arrays that the view's were cut from end where the view does."""
    def look(view):
        for name in FIELDS:
            assert np.isnan(whole_panel(getattr(view.bars, name))[view.t + 1 :]).all()

    run(walk(splits=splits), OnBar(look, warmup=WARMUP))


def test_an_on_bar_strategy_that_peeks_trades_nothing_and_does_no_harm():
    result = run(BARS, peeking(1))
    assert result.orders.empty
    assert not check_honesty(result).looks_ahead


def burgling(view: Any) -> dict[str, float]:
    """Takes tomorrow's closes out of the engine's own book."""
    closes = view._book._kept[0][FIELDS.index("close")]
    later = min(view.t + 1, len(closes) - 1)
    return {s: 0.1 if closes[later, n] > closes[view.t, n] else 0.0 for n, s in enumerate(view.bars.symbols)}


def test_an_on_bar_strategy_that_gets_at_later_bars_is_caught():
    honesty = checked(OnBar(burgling, warmup=WARMUP))
    assert honesty.looks_ahead
    assert "later bars are not there yet" in honesty.checks[0].finding


def test_an_on_bar_strategy_that_knows_where_the_bars_end_is_caught():
    """It goes flat 250 bars before the end, and is bold after that."""
    def answer(view):
        left = len(whole_panel(view.bars.close)) - view.t
        return dict.fromkeys("ABC", 0.1 if left < 250 and view.t % 2 else 0.0)

    honesty = checked(OnBar(answer, warmup=WARMUP))
    assert honesty.looks_ahead
    assert "when the bars end there" in honesty.checks[0].finding


def test_an_on_bar_strategy_may_remember_its_own_past_bars():
    """State that begins anew with each run: the highest close so far, kept in the strategy."""
    class Highest(OnBar):
        def on_bar(self, view):
            if view.t == WARMUP:
                self.top = view.bars.close.max(axis=0)
            self.top = np.maximum(self.top, view.bars.close[-1])
            return np.where(view.bars.close[-1] >= 0.97 * self.top, 0.1, 0.0)

    result = run(BARS, Highest({}, warmup=WARMUP))
    assert result.n_trades > 10
    assert not check_honesty(result).looks_ahead


def test_a_random_on_bar_strategy_is_caught():
    rng = np.random.default_rng(1)
    assert checked(OnBar(lambda view: {s: float(rng.choice([0.0, 0.1])) for s in "ABC"}, warmup=WARMUP)).looks_ahead


class CountingOnBar(OnBar):
    def __init__(self) -> None:
        super().__init__({}, warmup=WARMUP)
        self.calls = 0

    def on_bar(self, view: Any) -> Any:
        self.calls += 1
        return dict.fromkeys("ABC", 0.1 if self.calls % 7 < 4 else 0.0)


def test_a_stateful_on_bar_strategy_is_caught():
    assert checked(CountingOnBar()).looks_ahead


def test_an_honest_on_bar_strategy_passes():
    def answer(view):
        close = view.bars.close
        return {s: 0.1 if close[-1, n] > close[-50:, n].mean() else 0.0 for n, s in enumerate(view.bars.symbols)}

    honesty = checked(OnBar(answer, warmup=WARMUP), walk(splits=True))
    assert not honesty.looks_ahead
    assert [c.name for c in honesty.checks] == ["look-ahead", "costs"]


# --- Costs ------------------------------------------------------------------------------------------------------------

def rising() -> botlib.BacktestResult:
    """One round trip of 1,000 shares, bought and sold at the open: in at 50, out at 50.50."""
    cells = {"A": [50.0] * 10 + [50.5] * 30}
    return run(cells, Given({"A": [1_000.0] + [None] * 14 + [0.0]}, unit="shares"))


def test_the_break_even_slippage():
    # 50.50 * (1 - s) = 50 * (1 + s): s = 0.5 / 100.5 = 49.75 bps.
    frame, breakeven = cost_sensitivity(rising())
    assert breakeven == pytest.approx(49.75, abs=0.1)
    assert frame["slippage_bps"].tolist() == [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    # 500 on 100,000; at 10 bps 50.05 is paid and 50.4495 taken: 399.50.
    assert frame["total_return_pct"].tolist()[0] == pytest.approx(0.5)
    assert frame["total_return_pct"].tolist()[4] == pytest.approx(0.3995)
    assert frame["trades"].tolist() == [1] * 8


def test_the_runs_own_slippage_is_in_the_table():
    result = run({"A": [50.0] * 10 + [50.5] * 30}, {"A": [0.1]}, costs=FREE.model_copy(update={"slippage_bps": 7.5}))
    assert 7.5 in cost_sensitivity(result)[0]["slippage_bps"].tolist()


def test_an_edge_that_costs_do_not_kill_and_one_that_never_was():
    up = run({"A": [50.0] * 10 + [500.0] * 30}, {"A": [0.1]})
    assert cost_sensitivity(up)[1] == math.inf
    down = run({"A": [50.0] * 10 + [40.0] * 30}, {"A": [0.1]})
    assert math.isnan(cost_sensitivity(down)[1])
    assert passed(check_honesty(up))["costs"] and not passed(check_honesty(down))["costs"]


def test_an_edge_below_the_slippage_assumed_fails():
    result = run({"A": [50.0] * 10 + [50.5] * 30}, Given({"A": [1_000.0] + [None] * 14 + [0.0]}, unit="shares"),
                 costs=FREE.model_copy(update={"slippage_bps": 60.0}))
    assert not passed(check_honesty(result))["costs"]


# --- What it takes and gives ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("truncations", [0, MIN_TRUNCATIONS - 1, 24.0, True])
def test_too_few_truncations_are_refused(truncations):
    with pytest.raises(InputError, match="truncations"):
        check_honesty(run(BARS, Computed(average)), truncations=truncations)


def test_too_few_bars_are_refused():
    with pytest.raises(InputError, match="too few"):
        check_honesty(run(make_bars({"A": [100.0] * 60}), Computed(average)))


def test_the_table_and_the_record():
    honesty = checked(Computed(average))
    assert honesty.table().iloc[:, 0].tolist() == ["look-ahead", "warm-up", "costs"]
    assert set(honesty.table().iloc[:2, 1]) == {"passed"}
    assert set(honesty.to_dict()) == {"look-ahead", "warm-up", "costs"}
    assert honesty.to_dict()["look-ahead"]["passed"] is True
    assert honesty.to_dict()["look-ahead"]["result"] == "passed"


def test_no_edge_is_no_failed_check():
    honesty = check_honesty(run({"A": [50.0] * 10 + [40.0] * 30}, Given({"A": [0.1] + [None] * 20 + [0.0]})))
    costs = honesty.to_dict()["costs"]
    assert costs == {"passed": False, "result": "warning",
                     "finding": "no edge to lose: the total return is not positive even without slippage."}


def test_it_shows_itself_in_a_line_and_as_its_table():
    honesty = checked(Computed(lambda close: level(close.shift(-1) > close)))
    assert repr(honesty) == "<Honesty: look-ahead FAILED, warm-up warning, costs passed>"
    assert honesty._repr_html_() == honesty.table()._repr_html_()


def test_the_same_seed_says_the_same():
    result = run(BARS, Computed(lambda close: level(close.shift(-1) > close)))
    assert check_honesty(result, seed=3).to_dict() == check_honesty(result, seed=3).to_dict()
