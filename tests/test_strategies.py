"""The shipped strategies, signals to targets, and how strategies are declared, loaded, described and identified."""

from __future__ import annotations

import dataclasses
import linecache
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars
from hypothesis import given, settings
from hypothesis import strategies as st

import botlib
import botlib.strategies as strategies
from botlib.bars import Bars
from botlib.errors import InputError, StrategyError
from botlib.strategies import (
    MeanReversionMomentum,
    MomentumRotation,
    MovingAverageCross,
    Strategy,
    check_targets,
    describe,
    load,
    param,
    strategy_hash,
    targets_from_signals,
)

NAN = np.nan


def bars_of(close, symbols=None, start="2020-01-01", freq="B") -> Bars:
    """Daily bars whose prices are all the close."""
    close = np.asarray(close, dtype=float)
    close = close.reshape(len(close), -1)
    names = symbols or [f"S{j}" for j in range(close.shape[1])]
    index = pd.date_range(start, periods=len(close), freq=freq, tz="America/New_York")
    return Bars(index, names, open=close, high=close, low=close, close=close, volume=np.ones_like(close))


def random_bars(rows=700, columns=4, seed=3) -> Bars:
    rng = np.random.default_rng(seed)
    return bars_of(100 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (rows, columns)), axis=0)))


SHIPPED = [MeanReversionMomentum(), MovingAverageCross(), MovingAverageCross(allow_short=True), MomentumRotation()]
SHORT = [MeanReversionMomentum(rsi_period=2, oversold=40, overbought=60, momentum_lookback=3),
         MovingAverageCross(fast=2, slow=4), MovingAverageCross(fast=1, slow=3, allow_short=True),
         MomentumRotation(lookback=4, skip=1, top_n=2)]


def label(strategy) -> str:
    return type(strategy).__name__ + "_short" * getattr(strategy, "allow_short", False)


# --- mean reversion with a momentum filter --------------------------------------------------------------------------


def test_mean_reversion_follows_its_definition_from_the_lookback_on():
    """RSI by pandas' ewm and the filter by pandas' shift, on every bar from the lookback on."""
    bars = random_bars()
    strategy = MeanReversionMomentum(rsi_period=5, oversold=35, overbought=65, momentum_lookback=50, weight=0.2)
    close = pd.DataFrame(bars.close)
    moves = close.diff()
    up, down = (m.clip(lower=0).ewm(alpha=1 / 5, adjust=False).mean() for m in (moves, -moves))
    rsi = 100 * up / (up + down)
    entry, exit_ = (rsi < 35) & (close > close.shift(50)), rsi > 65
    entry[:50] = False

    entries, exits = strategy.generate_signals(bars)
    np.testing.assert_array_equal(entries, entry)
    np.testing.assert_array_equal(exits, exit_)
    assert entries.sum() > 50 and exits.sum() > 50
    expected = np.where(exit_, 0.0, np.where(entry, 0.2, NAN))
    np.testing.assert_array_equal(strategy.targets(bars), expected)


def test_mean_reversion_defaults_and_warmup():
    strategy = MeanReversionMomentum()
    assert dataclasses.asdict(strategy) == {"rsi_period": 14, "oversold": 30.0, "overbought": 70.0,
                                            "momentum_lookback": 200, "weight": 0.10}
    assert strategy.warmup == 280  # 20 x 14, above 200
    assert MeanReversionMomentum(rsi_period=5).warmup == 200
    assert strategy.unit == "weight"


# --- moving average cross -------------------------------------------------------------------------------------------


def test_moving_average_cross_trades_at_the_cross_only():
    #        average of 2:  -   10.5  9.5   9   10.5  12   11    8.5
    close = [10.0, 11.0, 8.0, 10.0, 11.0, 13.0, 9.0, 8.0]
    # close against its average of 2: above at 1, below at 2, above at 3, still above at 4 and 5, below at 6 and 7
    strategy = MovingAverageCross(fast=1, slow=2)
    assert strategy.warmup == 2
    np.testing.assert_array_equal(strategy.targets(bars_of(close))[:, 0], [NAN, NAN, 0, 0.1, NAN, NAN, 0, NAN])


def test_moving_average_cross_both_ways_speaks_at_the_cross_only():
    close = [10.0, 11.0, 8.0, 10.0, 11.0, 13.0, 9.0, 8.0, 7.0]
    strategy = MovingAverageCross(fast=1, slow=2, allow_short=True)
    np.testing.assert_array_equal(strategy.targets(bars_of(close))[:, 0],
                                  [NAN, NAN, -0.1, 0.1, NAN, NAN, -0.1, NAN, NAN])


# --- momentum rotation ----------------------------------------------------------------------------------------------

# 2020-01-30 Thu, 31 Fri | 02-03 Mon ... : rows 0 to 21 in January (from the 2nd), 22 is February's first, 42 March's.
JANUARY_2ND = "2020-01-02"


def test_rotation_decides_on_the_first_bar_of_a_month():
    rows = np.arange(60.0)
    close = np.column_stack([100 + rows, 100 + 3 * rows, 100 - rows, 100 + 2 * rows])  # strongest: S1, S3, S0, S2
    bars = bars_of(close, start=JANUARY_2ND)
    targets = MomentumRotation(lookback=10, skip=2, top_n=2, max_weight=0.3).targets(bars)
    decided = np.flatnonzero(~np.isnan(targets).all(axis=1))
    assert [str(bars.index[t].date()) for t in decided] == ["2020-02-03", "2020-03-02"]
    np.testing.assert_array_equal(targets[decided], [[0, 0.3, 0, 0.3]] * 2)


def test_rotation_leaves_the_latest_bars_out():
    close = np.full((30, 2), 100.0)
    close[5:, 0] = 110.0  # a rise before the skipped bars
    close[21:, 1] = 150.0  # a larger one inside them; the decision is on row 22
    targets = MomentumRotation(lookback=20, skip=3, top_n=1, max_weight=1.0).targets(bars_of(close, start=JANUARY_2ND))
    np.testing.assert_array_equal(targets[22], [1.0, 0.0])


def test_rotation_breaks_ties_by_name_and_takes_what_it_knows():
    close = np.full((30, 3), 100.0)
    strategy = MomentumRotation(lookback=5, skip=0, top_n=2, max_weight=1.0)
    targets = strategy.targets(bars_of(close, symbols=["ZZ", "AA", "MM"], start=JANUARY_2ND))
    np.testing.assert_array_equal(targets[22], [0.0, 0.5, 0.5])
    close[:20, :2] = NAN  # two were listed after the return's start
    targets = strategy.targets(bars_of(close, symbols=["ZZ", "AA", "MM"], start=JANUARY_2ND))
    np.testing.assert_array_equal(targets[22], [0.0, 0.0, 0.5])
    everything = MomentumRotation(lookback=5, skip=0, top_n=50, max_weight=0.02).targets(bars_of(np.full((30, 3), 9.0),
                                                                                                 start=JANUARY_2ND))
    np.testing.assert_array_equal(everything[22], [0.02] * 3)


def test_rotation_names_a_tolerance():
    assert MomentumRotation().rebalance_tolerance_pct == 1.0
    assert MovingAverageCross().rebalance_tolerance_pct is None


# --- what holds for every strategy ----------------------------------------------------------------------------------

walks = st.lists(st.lists(st.sampled_from([-4, -1, 0, 1, 3]), min_size=3, max_size=3), min_size=2, max_size=50)


@pytest.mark.parametrize("strategy", SHORT, ids=label)
@settings(max_examples=40)
@given(moves=walks, cut=st.integers(1, 50), late=st.integers(0, 20))
def test_future_bars_change_no_target(strategy, moves, cut, late):
    close = 500.0 + np.cumsum(np.array(moves), axis=0)
    close[:late, 1] = NAN
    whole, known = bars_of(close), bars_of(close[:cut])
    np.testing.assert_array_equal(strategy.targets(known), strategy.targets(whole)[:cut])


@pytest.mark.parametrize("strategy", SHORT, ids=label)
@settings(max_examples=40)
@given(moves=walks, order=st.permutations(range(3)))
def test_the_order_of_columns_changes_nothing(strategy, moves, order):
    close, names = 500.0 + np.cumsum(np.array(moves), axis=0), ["B", "A", "C"]
    shuffled = bars_of(close[:, order], symbols=[names[j] for j in order])
    np.testing.assert_array_equal(strategy.targets(shuffled), strategy.targets(bars_of(close, symbols=names))[:, order])


@pytest.mark.parametrize("strategy", SHIPPED, ids=label)
def test_after_the_warmup_more_history_changes_no_target(strategy):
    bars = random_bars(rows=1500)
    whole = strategy.targets(bars)
    assert np.isfinite(whole[strategy.warmup:]).any()
    for start in (1, 37, 400, 800):
        later = bars_of(bars.close[start:], start=bars.index[start].tz_localize(None))
        np.testing.assert_array_equal(strategy.targets(later)[strategy.warmup:], whole[start + strategy.warmup:])


@pytest.mark.parametrize("strategy", SHIPPED, ids=label)
def test_fewer_bars_than_the_warmup_enter_nothing(strategy):
    for rows in (0, 1, 5, strategy.warmup):
        index = pd.date_range("2020-01-01", periods=rows, freq="B", tz="America/New_York")
        close = np.linspace(50, 60, 2 * rows).reshape(rows, 2)
        targets = strategy.targets(Bars(index, "AB", open=close, high=close, low=close, close=close, volume=close))
        early = targets[:min(rows, 200)]  # leaving what is not held is no decision
        assert targets.shape == (rows, 2) and (np.isnan(early) | (early == 0.0)).all()


# --- signals to targets ---------------------------------------------------------------------------------------------


def signals(text: str) -> np.ndarray:
    return np.array([c == "x" for c in text])


def test_long_signals_by_hand():
    targets = targets_from_signals(signals("x.x.x"), signals(".xx.."), 0.25)
    np.testing.assert_array_equal(targets, [0.25, 0, 0, NAN, 0.25])  # an exit wins on the same bar


def test_short_signals_by_hand():
    targets = targets_from_signals(entries=signals("x....x...."), exits=signals("..x......x"), weight=0.5,
                                   short_entries=signals(".x.....x.."), short_exits=signals("...x......"))
    # 1: turns long to short; 2: the exit of longs says nothing to a short; 3: covers; 5: long again; 7: turns; 9: an
    # exit of longs, but a short is held
    np.testing.assert_array_equal(targets, [0.5, -0.5, NAN, 0, NAN, 0.5, NAN, -0.5, NAN, NAN])


def test_contradicting_entries_mean_out():
    targets = targets_from_signals(signals("xx."), signals("..."), 0.5, short_entries=signals(".x."),
                                   short_exits=signals("..."))
    np.testing.assert_array_equal(targets, [0.5, 0.0, NAN])


bools = st.lists(st.tuples(*[st.booleans()] * 4), min_size=1, max_size=30)


@given(bools)
def test_without_short_entries_both_forms_agree(rows):
    entry, leave, _, _ = (np.array(c) for c in zip(*rows, strict=True))
    none = np.zeros_like(entry)
    simple = targets_from_signals(entry, leave, 0.3)
    both = targets_from_signals(entry, leave, 0.3, short_entries=none, short_exits=none)
    np.testing.assert_array_equal(both, simple)


@given(bools)
def test_long_and_short_mirror_each_other(rows):
    a, b, c, d = (np.array(column).reshape(-1, 1) for column in zip(*rows, strict=True))
    one = targets_from_signals(a, b, 0.3, short_entries=c, short_exits=d)
    other = targets_from_signals(c, d, 0.3, short_entries=a, short_exits=b)
    np.testing.assert_array_equal(one, 0.0 - other)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda b: targets_from_signals(b, b, 0.0),
     "targets_from_signals: weight = 0.0: it must be a number above 0 (0.10 = 10 %)."),
    (lambda b: targets_from_signals(b, b, "0.1"),
     "targets_from_signals: weight = '0.1': it must be a number above 0 (0.10 = 10 %)."),
    (lambda b: targets_from_signals(b, b.astype(float)),
     "targets_from_signals: exits is float64; it must be bool, e.g. bars.close > average."),
    (lambda b: targets_from_signals(b, b[1:]),
     "targets_from_signals: exits has shape (2,), but entries (3,); all signals must have one shape, (bars,) or (bars, "
     "symbols)."),
    (lambda b: targets_from_signals(b, b, short_entries=b),
     "targets_from_signals: give short_entries and short_exits together."),
])
def test_bad_signals_are_one_sentence(call, sentence):
    with pytest.raises(InputError) as error:
        call(np.array([True, False, True]))
    assert str(error.value) == sentence


# --- what a strategy may return -------------------------------------------------------------------------------------

BARS = bars_of([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], symbols=["AAPL", "MSFT"])
ONE = bars_of([1.0, 2.0, 3.0], symbols=["AAPL"])
WANTED = np.array([[0.1, NAN], [0.0, 0.2], [NAN, -0.3]])
FRAME = pd.DataFrame(WANTED, index=BARS.index, columns=["AAPL", "MSFT"])


@pytest.mark.parametrize("targets", [
    WANTED, np.asfortranarray(WANTED), WANTED.tolist(), FRAME, FRAME[["MSFT", "AAPL"]], FRAME[::-1],
    FRAME.astype(object), WANTED.astype(np.float64).view(),
], ids=["array", "fortran", "list", "frame", "columns swapped", "rows reversed", "object", "view"])
def test_targets_are_taken_by_label(targets):
    result = check_targets(targets, BARS, MovingAverageCross())
    np.testing.assert_array_equal(result, WANTED)
    assert result.dtype == np.float64 and result.flags.c_contiguous and not result.flags.writeable


@pytest.mark.parametrize("targets", [np.array([0.1, NAN, 0.0]), pd.Series([0.1, NAN, 0.0], index=ONE.index),
                                     pd.Series([0.0, 0.1, NAN], index=ONE.index[[2, 0, 1]])])
def test_one_symbol_needs_no_columns(targets):
    np.testing.assert_array_equal(check_targets(targets, ONE, MovingAverageCross()), [[0.1], [NAN], [0.0]])


def test_a_ready_array_is_not_copied_and_stays_writable_for_its_owner():
    targets = WANTED.copy()
    assert np.shares_memory(check_targets(targets, BARS, MovingAverageCross()), targets) and targets.flags.writeable


@pytest.mark.parametrize(("targets", "sentence"), [
    (WANTED[1:], "returned shape (2, 2); expected (3, 2) (bars, symbols)."),
    (WANTED.T, "returned shape (2, 3) (transposed?); expected (3, 2) (bars, symbols)."),
    (None, "returned None; expected (3, 2) (bars, symbols): is a 'return' missing?"),
    (WANTED > 0, "returned true and false; it must return numbers: use targets_from_signals(entries, exits, weight)."),
    (WANTED.astype(str), "returned ndarray of <U32; it must return numbers."),
    ([["a", "b"]] * 3, "returned list of <U1; it must return numbers."),
    (np.where(WANTED == 0.2, np.inf, WANTED), "returned inf for MSFT at 2020-01-02 00:00:00-05:00; targets are finite "
                                              "numbers, or NaN to keep."),
    (FRAME["AAPL"], "returned a Series for 2 symbols; expected (3, 2) (bars, symbols): return an array or a DataFrame "
                    "with a column for each symbol."),
    (FRAME.rename(columns={"MSFT": "MSTF"}), "returned a frame with the column 'MSTF', which the bars do not have; did "
     "you mean 'MSFT'? Label it with bars.index and bars.symbols, or return an array."),
    (FRAME[["AAPL"]], "returned a frame without 1 of 2 columns, e.g. MSFT; NaN keeps, 0 closes: say which."),
    (FRAME[1:], "returned a frame without 1 of 3 rows, e.g. 2020-01-01 00:00:00-05:00; NaN keeps, 0 closes: say "
     "which."),
    (FRAME[["AAPL", "AAPL", "MSFT"]], "returned a frame with the column AAPL twice."),
], ids=range(12))
def test_unusable_targets_are_one_sentence(targets, sentence):
    with pytest.raises(StrategyError) as error:
        check_targets(targets, BARS, MovingAverageCross())
    assert str(error.value) == f"MovingAverageCross.targets {sentence}"


# --- declaring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declared(Strategy):
    """Every kind of parameter that is checked."""

    count: int = param(5, low=1, high=10, help="a count")
    ratio: float = param(0.5, low=0.0)
    limit: float | None = param(None, high=9.0)
    mode: Literal["fast", "slow"] = param("fast")
    on: bool = param(True)
    name_: str = param("x")

    def targets(self, bars):
        return np.full(bars.shape, NAN)


def test_parameters_become_plain_python_numbers():
    made = Declared(count=np.int64(3), ratio=2, limit=np.float64(8), on=np.bool_(False))
    assert dataclasses.astuple(made) == (3, 2.0, 8.0, "fast", False, "x")
    assert [type(v) for v in dataclasses.astuple(made)] == [int, float, float, str, bool, str]


@pytest.mark.parametrize(("values", "sentence"), [
    ({"count": 0}, "Declared.count = 0 is out of range: valid is 1 to 10."),
    ({"count": 5.0}, "Declared.count = 5.0 is a float; it must be int."),
    ({"count": True}, "Declared.count = True is a bool; it must be int."),
    ({"count": "5"}, "Declared.count = '5' is a str; it must be int."),
    ({"count": int}, "Declared.count = <class 'int'> is a type; it must be int."),
    ({"mode": [1]}, "Declared.mode = [1] is a list; it must be 'fast' or 'slow'."),
    ({"ratio": -1}, "Declared.ratio = -1 is out of range: valid is at least 0."),
    ({"ratio": NAN}, "Declared.ratio = nan: it must be a finite number."),
    ({"ratio": None}, "Declared.ratio = None; it must be float."),
    ({"limit": 10}, "Declared.limit = 10 is out of range: valid is at most 9."),
    ({"mode": "medium"}, "Declared.mode = 'medium' is a str; it must be 'fast' or 'slow'."),
    ({"on": 1}, "Declared.on = 1 is an int; it must be bool."),
])
def test_bad_parameters_are_one_sentence(values, sentence):
    with pytest.raises(InputError) as error:
        Declared(**values)
    assert str(error.value) == sentence


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: MeanReversionMomentum(oversold=70, overbought=30), "oversold = 70 must be below overbought = 30."),
    (lambda: MovingAverageCross(fast=200, slow=50), "fast = 200 must be below slow = 50."),
    (lambda: MomentumRotation(lookback=20, skip=20), "skip = 20 must be below lookback = 20."),
])
def test_parameters_that_contradict_each_other(make, sentence):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value) == sentence


def undecorated():
    class Idea(Strategy):
        lookback: int = param(5)

        def targets(self, bars):
            return None
    return Idea


def undecorated_child():
    class Idea(MeanReversionMomentum):
        rsi_period: int = param(5)
    return Idea


def annotated():
    class Idea(Strategy):
        lookback: int = 5

        def targets(self, bars):
            return None
    return Idea


def annotated_grandparent():
    class Middle(Strategy):
        lookback: int = 5

    @dataclass(frozen=True)
    class Idea(Middle):
        def targets(self, bars):
            return None
    return Idea


def with_an_init():
    class Idea(Strategy):
        def __init__(self, lookback):
            self.lookback = lookback

        def targets(self, bars):
            return None
    return Idea


class Always(Strategy):
    """Without parameters there is nothing to decorate."""

    unit = "shares"
    warmup: int = 3
    held: ClassVar[float] = 10.0
    size = 10.0

    def targets(self, bars):
        return np.full(bars.shape, self.size)


def thawed():
    @dataclass
    class Idea:
        lookback: int = 5
        unit = "weight"
        warmup = 0

        def targets(self, bars):
            return None
    return Idea


def without(**changes):
    members = {"unit": "weight", "warmup": 0, "targets": lambda self, bars: None} | changes
    return dataclass(frozen=True)(type("Idea", (), {k: v for k, v in members.items() if v is not None}))


@pytest.mark.parametrize(("cls", "sentence"), [
    (undecorated(), "Idea is not a dataclass (its parameter 'lookback' would be ignored): write "
                    "@dataclass(frozen=True) above 'class Idea'."),
    (undecorated_child(), "Idea is not a dataclass (its parameter 'rsi_period' would be ignored): write "
                          "@dataclass(frozen=True) above 'class Idea'."),
    (type("Idea", (), {}), "Idea has no targets(bars) and no on_bar(view): define one of them."),
    (with_an_init(), "Idea has an __init__ of its own, which hides its parameters: write them as fields, "
                     "'lookback: int = param(20)', and @dataclass(frozen=True) above 'class Idea'."),
    (annotated(), "Idea is not a dataclass (its parameter 'lookback' would be ignored): write "
                  "@dataclass(frozen=True) above 'class Idea'."),
    (annotated_grandparent(), "Middle is not a dataclass (its parameter 'lookback' would be ignored): write "
                              "@dataclass(frozen=True) above 'class Middle'."),
    (thawed(), "Idea is not frozen: write @dataclass(frozen=True) above 'class Idea'."),
    (without(targets=None), "Idea has no targets(bars) and no on_bar(view): define one of them."),
    (dataclass(frozen=True)(type("Idea", (Strategy,), {})),
     "Idea has no targets(bars) and no on_bar(view): define one of them."),
    (without(unit=None), "Idea.unit = None: it must be one of weight, shares."),
    (without(warmup=None), "Idea has no warmup: the number of bars after which more history changes no target."),
    (without(warmup=lambda self: 5), "Idea.warmup is a method: write @property above it."),
    (without(warmup=-1), "Idea.warmup = -1: it must be a whole number of bars, 0 or more."),
    (without(warmup=property(lambda self: 1 / 0)), "Idea.warmup raised ZeroDivisionError: division by zero."),
], ids=range(14))
def test_what_is_no_strategy(cls, sentence):
    with pytest.raises(StrategyError) as error:
        load(cls)
    assert str(error.value) == sentence


def test_undecorated_strategies_cannot_be_made():
    with pytest.raises(StrategyError, match="^Idea is not a dataclass"):
        undecorated()()
    with pytest.raises(StrategyError, match="^Idea is not a dataclass"):
        undecorated_child()()


def test_a_class_without_parameters_needs_no_decorator():
    strategy = Always()
    assert load(Always).warmup == load(strategy).warmup == 3
    assert len(describe(Always)) == 0
    assert strategy_hash(strategy) == strategy_hash(pickle.loads(pickle.dumps(strategy)))
    result = botlib.backtest(make_bars({"A": [50.0] * 6}), strategy, quiet=True)
    assert result.positions["A"] == 10.0
    assert type(result.fresh_strategy()) is Always
    with pytest.raises(InputError, match="Always has no parameter 'size'. Valid: none"):
        load(Always, {"size": 5.0})
    with pytest.raises(InputError, match="Always has no parameter 'size'"):
        Always(size=5.0)


def test_memory_is_no_parameter():
    @dataclass(frozen=True)
    class Idea(Strategy):
        lookback: int = param(5)
        memory: dict = field(init=False, repr=False, compare=False, default_factory=dict)

        def on_bar(self, view):
            self.memory[view.t] = view.equity

    strategy = Idea()
    before = strategy_hash(strategy)
    strategy.memory["seen"] = 1
    assert strategy_hash(strategy) == before
    assert list(describe(strategy).index) == ["lookback"]
    assert load(strategy, {"lookback": 7}).memory == {}


def test_a_subclass_may_change_the_warmup_alone():
    class Early(MeanReversionMomentum):
        warmup = 200

    assert load(Early, {"rsi_period": 7}).warmup == 200


def test_on_bar_is_enough():
    assert load(without(targets=None, on_bar=lambda self, view: None)).unit == "weight"


# --- loading --------------------------------------------------------------------------------------------------------

FILE = '''\
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from botlib.strategies import Strategy, param

HELPER = 3


@dataclass(frozen=True)
class Breakout(Strategy):
    unit: ClassVar[str] = "shares"
    lookback: int = param(55, low=5, high=400)
    limit: float | None = param(None, low=1)

    def targets(self, bars):
        return bars.close * 0 + HELPER


class Helper:
    pass
'''


@pytest.fixture
def ideas(tmp_path: Path) -> Path:
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas" / "breakout.py").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize("name", sorted(strategies.SHIPPED))
def test_shipped_strategies_load_by_name(name):
    assert load(name) == load(strategies.SHIPPED[name])
    assert type(load(name)).__doc__


def test_load_takes_parameters_classes_and_instances():
    assert load("mean_reversion_momentum", {"rsi_period": 10, "oversold": 25}).rsi_period == 10
    assert load(MovingAverageCross, {"fast": 10}) == MovingAverageCross(fast=10)
    instance = MovingAverageCross(fast=10)
    assert load(instance) is instance
    assert load(instance, {"slow": 30}) == MovingAverageCross(fast=10, slow=30)


def test_a_file_is_executed_without_leaving_anything(ideas):
    before, files = set(sys.modules), sorted(ideas.rglob("*"))
    strategy = load("ideas/breakout.py:Breakout", {"lookback": 20, "limit": 2}, root=ideas)
    assert (strategy.lookback, strategy.limit, strategy.unit) == (20, 2.0, "shares")
    assert strategy.targets(ONE)[0, 0] == 3.0
    assert set(sys.modules) == before and sorted(ideas.rglob("*")) == files
    with pytest.raises(InputError, match=r"^Breakout.limit = 0 is out of range: valid is at least 1.$"):
        load("ideas/breakout.py:Breakout", {"limit": 0}, root=ideas)  # annotations still understood afterwards
    (ideas / "ideas" / "breakout.py").write_text(FILE.replace("HELPER = 3", "HELPER = 4"))
    assert load("ideas/breakout.py:Breakout", root=ideas).targets(ONE)[0, 0] == 4.0
    assert load(str(ideas / "ideas/breakout.py") + ":Breakout").targets(ONE)[0, 0] == 4.0


def test_a_module_is_found_from_the_root(ideas):
    path = list(sys.path)
    try:
        assert load("ideas.breakout:Breakout", root=ideas).lookback == 55
    finally:
        for name in ("ideas", "ideas.breakout"):
            sys.modules.pop(name, None)
    assert sys.path == path


@pytest.mark.parametrize(("spec", "params", "sentence"), [
    ("mean_reversion", {}, "unknown strategy 'mean_reversion'; did you mean 'mean_reversion_momentum'? Shipped: "
     "blend, mean_reversion_momentum, momentum_rotation, moving_average_cross. Your own: 'path/to/file.py:Class' or "
     "'package.module:Class'."),
    ("ideas/breakot.py:Breakout", {}, "no strategy file 'ideas/breakot.py' in {root}; did you mean 'breakout.py'?"),
    ("ideas/breakout.py:Brekout", {}, "ideas/breakout.py has no class 'Brekout'; did you mean 'Breakout'? Found: "
     "Breakout."),
    ("ideas/breakout.py:HELPER", {}, "ideas/breakout.py has no class 'HELPER'. Found: Breakout."),
    ("ideas/breakout.py", {}, "strategy 'ideas/breakout.py' names a file but no class: write "
     "'ideas/breakout.py:Breakout'. Found: Breakout, Helper."),
    ("ideas/breakout.py:Helper", {}, "Helper has no targets(bars) and no on_bar(view): define one of them."),
    ("no_such_package.ideas:Breakout", {}, "no module 'no_such_package.ideas' to load a strategy from (missing: "
     "'no_such_package'); a file is named as 'path/to/file.py:Class'."),
    ("json:Nothing", {}, "json has no class 'Nothing'. It defines no strategy."),
    ("ideas/breakout.py:Breakout", {"lookbak": 3}, "Breakout has no parameter 'lookbak'; did you mean 'lookback'? "
     "Valid: lookback, limit."),
    ("ideas/breakout.py:Breakout", {"lookback": 0}, "Breakout.lookback = 0 is out of range: valid is 5 to 400."),
    ("moving_average_cross", [1], "strategy parameters must be a mapping of names to values, not list."),
])
def test_what_cannot_be_loaded_is_one_sentence(ideas, spec, params, sentence):
    with pytest.raises(InputError) as error:
        load(spec, params, root=ideas)
    assert str(error.value) == sentence.format(root=ideas)


@pytest.mark.parametrize(("source", "sentence"), [
    ("import math\n\nx = math.sqroot(2)\n",
     "bad.py, line 3: AttributeError: module 'math' has no attribute 'sqroot'"),
    ("def f():\n    return 1 / 0\n\nf()\n", "bad.py, line 2: ZeroDivisionError: division by zero"),
    ("class Idea(\n", "bad.py, line 1: SyntaxError: '(' was never closed"),
    ("raise SystemExit\n", "bad.py, line 1: SystemExit"),
    ("import no_such_package\n", "bad.py, line 1: ModuleNotFoundError: No module named 'no_such_package'"),
])
def test_a_file_that_raises_names_the_line(tmp_path, source, sentence):
    (tmp_path / "bad.py").write_text(source)
    before = set(sys.modules)
    with pytest.raises(StrategyError) as error:
        load("bad.py:Idea", root=tmp_path)
    assert str(error.value).startswith(sentence) and error.value.__suppress_context__
    assert set(sys.modules) == before


def test_a_package_that_raises_names_the_line(tmp_path):
    (tmp_path / "broken_package_x.py").write_text("import math\nmath.sqroot(2)\n")
    with pytest.raises(StrategyError) as error:
        load("broken_package_x:Idea", root=tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/broken_package_x.py, line 2: AttributeError")


def test_a_parameter_without_default_is_asked_for():
    @dataclass(frozen=True)
    class Idea(Strategy):
        period: int

        def targets(self, bars):
            return None

    with pytest.raises(InputError, match=r"^Idea needs the parameter 'period', which has no default.$"):
        load(Idea)
    assert load(Idea, {"period": 3}).period == 3


def test_describe():
    table = describe(Declared)
    assert table.index.tolist() == ["count", "ratio", "limit", "mode", "on", "name_"]
    assert table.loc["count"].tolist() == ["int", 5, 1.0, 10.0, "a count"]
    assert table.loc["limit", "type"] == "float | None" and table.loc["mode", "type"] == "'fast' | 'slow'"
    assert np.isnan(table.loc["ratio", "high"]) and table.loc["on", "default"] is True
    assert describe(Declared(count=7)).loc["count", "default"] == 7


# --- identity -------------------------------------------------------------------------------------------------------


def test_hash_changes_with_parameters_and_source_only(ideas):
    spec, path = "ideas/breakout.py:Breakout", ideas / "ideas" / "breakout.py"
    first = strategy_hash(load(spec, root=ideas))
    assert len(first) == 64 and first == strategy_hash(load(spec, root=ideas))
    assert first == strategy_hash(load(spec, {"lookback": 55}, root=ideas))
    assert first != strategy_hash(load(spec, {"lookback": 54}, root=ideas))
    path.rename(ideas / "moved.py")
    assert first == strategy_hash(load("moved.py:Breakout", root=ideas))
    path.write_text(FILE.replace("HELPER = 3", "HELPER = 4"))  # outside the class
    assert first != strategy_hash(load(spec, root=ideas))


def test_hash_is_the_same_in_every_process(ideas):
    code = ("from botlib.strategies import load, strategy_hash\n"
            f"print(strategy_hash(load('mean_reversion_momentum')), strategy_hash(load('ideas/breakout.py:Breakout', "
            f"root={str(ideas)!r})))\n"
            "space = {}\nexec('''from dataclasses import dataclass\\n@dataclass(frozen=True)\\nclass Idea:\\n"
            "  a: int = 1\\n  def targets(self, bars): return bars in {\"x\", \"y\", \"z\"}\\n''', space)\n"
            "print(strategy_hash(space['Idea']()))")
    lines = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parent.parent, env=os.environ | {"PYTHONHASHSEED": seed}).stdout
             for seed in "12"}
    assert len(lines) == 1
    assert strategy_hash(load("mean_reversion_momentum")) in lines.pop()


CELL = '''\
threshold = 1
@dataclass(frozen=True)
class Idea(Strategy):
    a: int = param(1)

    def targets(self, bars):
        return bars.close * {factor}
{after}'''


def run_cell(text: str, number: int) -> type:
    """Define a class as a notebook cell does: code compiled under a made-up name whose text is in linecache."""
    name = f"/tmp/ipykernel_{number}/{number}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space = {"__name__": "__main__", "dataclass": dataclass, "Strategy": Strategy, "param": param}
    exec(compile(text, name, "exec", dont_inherit=True), space)
    return space["Idea"]


def test_hash_of_a_class_in_a_notebook_cell():
    first = strategy_hash(run_cell(CELL.format(factor=2, after=""), 1)())
    assert first == strategy_hash(run_cell(CELL.format(factor=2, after="print(end='')"), 2)())  # the rest of the cell
    assert first != strategy_hash(run_cell(CELL.format(factor=3, after=""), 3)())
    assert first != strategy_hash(run_cell(CELL.format(factor=2, after=""), 4)(a=2))


def test_hash_without_source_is_of_the_bytecode():
    def made(factor, default):
        space = {"__name__": "nowhere", "dataclass": dataclass, "Strategy": Strategy, "param": param}
        text = CELL.format(factor=factor, after="").replace("param(1)", str(default))
        exec(compile(text, "<nothing>", "exec", dont_inherit=True), space)
        return strategy_hash(space["Idea"](a=1))

    assert made(2, 1) == made(2, 1)
    assert len({made(2, 1), made(3, 1)}) == 2


# --- the package ----------------------------------------------------------------------------------------------------


def test_exported_names():
    assert all(hasattr(strategies, name) for name in strategies.__all__)
    assert set(strategies.__all__) <= set(dir(strategies))
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        strategies.lode  # noqa: B018


def test_importing_the_package_compiles_nothing():
    code = "import sys, botlib.strategies; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
