"""Indicators against TA-Lib, pandas and values worked out by hand; causality, holes and seeds as properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from botlib import indicators as ind
from botlib.errors import InputError

NAN = np.nan


@pytest.fixture(scope="module")
def prices() -> dict[str, np.ndarray]:
    """(600, 3) random walks with consistent highs and lows."""
    rng = np.random.default_rng(5)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (600, 3)), axis=0))
    return {"close": close, "high": close * (1 + rng.uniform(0, 0.02, close.shape)),
            "low": close * (1 - rng.uniform(0, 0.02, close.shape))}


def by_column(function, *panels):
    """A TA-Lib function of series, applied to each column."""
    return np.column_stack([function(*(np.ascontiguousarray(p[:, j]) for p in panels))
                            for j in range(panels[0].shape[1])])


# Functions of close alone; every one is causal and works column by column.
ONE_INPUT = {
    "sma": lambda x: ind.sma(x, 4),
    "ema": lambda x: ind.ema(x, 4),
    "ema first": lambda x: ind.ema(x, 4, seed="first"),
    "rsi": lambda x: ind.rsi(x, 4),
    "rsi first": lambda x: ind.rsi(x, 4, seed="first"),
    "momentum": lambda x: ind.momentum(x, 3, lag=1),
    "roc": lambda x: ind.roc(x, 3),
    "risen": lambda x: ind.risen(x, 3),
    "stddev": lambda x: ind.stddev(x, 4),
    "zscore": lambda x: ind.zscore(x, 4),
    "highest": lambda x: ind.highest(x, 4, lag=1),
    "lowest": lambda x: ind.lowest(x, 4),
    "macd": lambda x: ind.macd(x, 2, 4, 3).histogram,
    "bollinger": lambda x: ind.bollinger(x, 4).upper,
    "crossed_above": lambda x: ind.crossed_above(ind.sma(x, 2), ind.sma(x, 4)),
    "true_range": lambda x: ind.true_range(x * 1.01, x * 0.99, x),
    "atr": lambda x: ind.atr(x * 1.01, x * 0.99, x, 4),
    "adx": lambda x: ind.adx(x * 1.01, x * 0.99, x, 3),
}
each = pytest.mark.parametrize("function", ONE_INPUT.values(), ids=ONE_INPUT.keys())


# --- against TA-Lib: everywhere, warm-up included, where seeding agrees ---------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 14, 50, 200])
def test_equal_to_talib_from_the_first_value(prices, n):
    high, low, close = prices["high"], prices["low"], prices["close"]
    pairs = {
        "sma": (ind.sma(close, n), by_column(lambda c: talib.SMA(c, n), close)),
        "ema": (ind.ema(close, n), by_column(lambda c: talib.EMA(c, n), close)),
        "rsi": (ind.rsi(close, n), by_column(lambda c: talib.RSI(c, n), close)),
        "momentum": (ind.momentum(close, n), by_column(lambda c: talib.MOM(c, n), close)),
        "roc": (ind.roc(close, n), by_column(lambda c: talib.ROC(c, n), close)),
        "stddev": (ind.stddev(close, n), by_column(lambda c: talib.STDDEV(c, n, 1.0), close)),
        "highest": (ind.highest(close, n), by_column(lambda c: talib.MAX(c, n), close)),
        "lowest": (ind.lowest(close, n), by_column(lambda c: talib.MIN(c, n), close)),
        "atr": (ind.atr(high, low, close, n), by_column(lambda h, l, c: talib.ATR(h, l, c, n), high, low, close)),
        "true_range": (ind.true_range(high, low, close), by_column(talib.TRANGE, high, low, close)),
        "adx": (ind.adx(high, low, close, n), by_column(lambda h, l, c: talib.ADX(h, l, c, n), high, low, close)),
        **{f"bollinger {k}": (ind.bollinger(close, n, 2.5)[k],
                              by_column(lambda c, k=k: talib.BBANDS(c, n, 2.5, 2.5)[k], close)) for k in range(3)},
    }
    for name, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=f"{name}({n})")
        assert np.isfinite(ours[-1]).all(), name


def test_macd_agrees_with_talib_once_the_seeds_are_forgotten(prices):
    close = prices["close"]
    for k, ours in enumerate(ind.macd(close)):
        theirs = by_column(lambda c, k=k: talib.MACD(c)[k], close)
        np.testing.assert_allclose(ours[400:], theirs[400:], rtol=1e-8, atol=1e-10)


def test_the_default_seed_is_not_the_first_value(prices):
    close = prices["close"]
    assert np.isnan(ind.rsi(close)[13]).all() and np.isfinite(ind.rsi(close, seed="first")[1]).all()
    assert (np.abs(ind.rsi(close)[20] - ind.rsi(close, seed="first")[20]) > 0.01).any()


# --- against pandas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 14, 50])
def test_seed_first_is_pandas_ewm(prices, n):
    close = pd.DataFrame(prices["close"])
    np.testing.assert_allclose(ind.ema(close, n, seed="first"), close.ewm(span=n, adjust=False).mean(), rtol=1e-12)
    moves = close.diff()
    up = moves.clip(lower=0).ewm(alpha=1 / n, adjust=False).mean()
    down = (-moves).clip(lower=0).ewm(alpha=1 / n, adjust=False).mean()
    np.testing.assert_allclose(ind.rsi(close, n, seed="first"), 100 * up / (up + down), rtol=1e-11)
    ranges = pd.DataFrame(by_column(talib.TRANGE, prices["high"], prices["low"], prices["close"]))
    np.testing.assert_allclose(ind.atr(prices["high"], prices["low"], close, n, seed="first"),
                               ranges.ewm(alpha=1 / n, adjust=False).mean(), rtol=1e-12)


def test_windows_are_pandas_rolling(prices):
    close = pd.DataFrame(prices["close"])
    rolling = close.rolling(21)
    np.testing.assert_allclose(ind.stddev(close, 21, ddof=1), rolling.std(), rtol=1e-9)
    np.testing.assert_allclose(ind.zscore(close, 21), (close - rolling.mean()) / rolling.std(ddof=0), rtol=1e-9)
    np.testing.assert_array_equal(ind.highest(close, 21, lag=1), rolling.max().shift(1))
    np.testing.assert_array_equal(ind.lowest(close, 21, lag=3), rolling.min().shift(3))
    np.testing.assert_allclose(ind.roc(close, 231, lag=21), 100 * (close.shift(21) / close.shift(252) - 1), rtol=1e-12,
                               atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([1.0, 2.0, 2.0, 3.0, NAN]), min_size=4, max_size=4), min_size=1, max_size=4))
def test_rank_is_pandas_rank(rows):
    np.testing.assert_array_equal(ind.rank(rows), pd.DataFrame(rows).rank(axis=1))


# --- by hand --------------------------------------------------------------------------------------------------------


def test_rsi_by_hand():
    close = [10.0, 11.0, 10.5, 11.5, 11.0]
    # moves +1 -0.5 +1 -0.5; n = 2. Means of the first two: up 0.5, down 0.25 -> 100 * 2/3.
    # Then up (0.5 + 1) / 2 = 0.75, down 0.125 -> 100 * 6/7; up 0.375, down (0.125 + 0.5) / 2 = 0.3125 -> 100 * 6/11.
    np.testing.assert_allclose(ind.rsi(close, 2), [NAN, NAN, 200 / 3, 600 / 7, 600 / 11])
    # Seeded with the first move: up 1, down 0 -> 100; up 0.5, down 0.25; up 0.75, down 0.125; up 0.375, down 0.3125.
    np.testing.assert_allclose(ind.rsi(close, 2, seed="first"), [NAN, 100, 200 / 3, 600 / 7, 600 / 11])


def test_rsi_is_unknown_until_the_price_moves():
    np.testing.assert_array_equal(ind.rsi([5.0, 5.0, 5.0, 6.0], 2, seed="first"), [NAN, NAN, NAN, 100.0])


def test_average_true_range_by_hand():
    high, low, close = [11.0, 12.0, 15.0, 14.0], [9.0, 11.0, 13.0, 8.0], [10.0, 11.5, 14.0, 9.0]
    # 12 - 10 = 2 (gap up); 15 - 11.5 = 3.5; 14 - 8 = 6
    np.testing.assert_array_equal(ind.true_range(high, low, close), [NAN, 2.0, 3.5, 6.0])
    np.testing.assert_array_equal(ind.atr(high, low, close, 2), [NAN, NAN, 2.75, 4.375])


def test_crosses_need_the_bar_before():
    a, b = [2.0, 1.0, 2.0, 3.0, 2.0, 2.0, 1.0, NAN, 3.0], [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, NAN, 2.0]
    assert np.flatnonzero(ind.crossed_above(a, b)).tolist() == [3, 8]  # from equal counts; the hole hides nothing
    assert np.flatnonzero(ind.crossed_below(a, b)).tolist() == [1, 6]


def test_breakout_can_exceed_the_highest_only_with_a_lag():
    high = [1.0, 3.0, 2.0, 4.0]
    np.testing.assert_array_equal(ind.highest(high, 2), [NAN, 3.0, 3.0, 4.0])
    np.testing.assert_array_equal(ind.highest(high, 2, lag=1), [NAN, NAN, 3.0, 3.0])
    np.testing.assert_array_equal(ind.lowest(high, 2, lag=1), [NAN, NAN, 1.0, 2.0])


@pytest.mark.parametrize("value", [0.1, 33.37, 1e9 + 0.1])
def test_equal_prices_give_exact_answers(value):
    flat = np.concatenate([[value * 3.7], np.full(50, value)])
    assert set(ind.sma(flat, 7)[8:]) == {value}
    assert set(ind.stddev(flat, 7)[8:]) == {0.0}
    assert np.isnan(ind.zscore(flat, 7)[8:]).all()


def test_windows_do_not_drift():
    x = np.concatenate([np.full(30, 1e12), np.linspace(1.0, 2.0, 400)])
    np.testing.assert_allclose(ind.sma(x, 20)[60:], ind.sma(x[60 - 19:], 20)[19:], rtol=1e-14)
    np.testing.assert_allclose(ind.stddev(x, 20)[60:], ind.stddev(x[60 - 19:], 20)[19:], rtol=1e-12)


# --- properties -----------------------------------------------------------------------------------------------------

steps = st.lists(st.sampled_from([-3, -1, 0, 1, 2, 5]), min_size=2, max_size=40)


def walk(moves: list[int]) -> np.ndarray:
    return 1000.0 + np.cumsum(np.array(moves, dtype=float))


@each
@settings(max_examples=25, deadline=None)
@given(moves=steps, cut=st.integers(1, 40))
def test_future_bars_change_nothing(function, moves, cut):
    whole = walk(moves)
    np.testing.assert_array_equal(function(whole[:cut]), function(whole)[:cut])


@each
@settings(max_examples=25, deadline=None)
@given(moves=steps, holes=st.sets(st.integers(0, 39)), late=st.integers(0, 10))
def test_holes_and_late_listings_are_left_out(function, moves, holes, late):
    dense = walk(moves)
    known = np.array([t >= late and t not in holes for t in range(len(dense) + 10)])[:len(dense)]
    panel = np.column_stack([dense, np.where(known, dense, NAN)])
    result = function(panel)
    unknown = False if result.dtype == bool else NAN
    np.testing.assert_array_equal(result[:, 0], function(dense))
    np.testing.assert_array_equal(result[known, 1], function(dense[known]) if known.any() else [])
    np.testing.assert_array_equal(result[~known, 1], unknown)


@each
def test_columns_are_independent_and_input_is_untouched(function, prices):
    close = prices["close"][:, [0, 1, 2, 0, 1, 2, 0, 1, 2]].copy()  # wide enough for the vectorised path
    close[:30, 4] = close[77, 5] = NAN
    before = close.copy()
    whole = function(close)
    np.testing.assert_array_equal(close, before)
    assert whole.shape == close.shape and whole.flags.writeable
    for j in range(close.shape[1]):
        np.testing.assert_allclose(whole[:, j], function(close[:, j]), rtol=1e-12, atol=1e-9, err_msg=str(j))
    order = [3, 1, 8, 0, 2, 7, 5, 4, 6]
    np.testing.assert_array_equal(function(close[:, order]), whole[:, order])


@each
@pytest.mark.parametrize("shape", [(0,), (1,), (2,), (0, 2), (1, 2), (3, 0)])
def test_short_and_empty_input(function, shape):
    result = function(np.full(shape, 10.0))
    assert result.shape == shape
    late = function(np.full(shape, NAN))
    assert not late.any() if late.dtype == bool else np.isnan(late).all()


def test_read_only_fortran_and_integer_input(prices):
    close = prices["close"].copy()
    expected = ind.rsi(close)
    close.flags.writeable = False
    for values in (close, np.asfortranarray(close), pd.DataFrame(close), close.tolist()):
        np.testing.assert_array_equal(ind.rsi(values), expected)
    np.testing.assert_array_equal(ind.sma([1, 2, 3], 2), [NAN, 1.5, 2.5])


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda x: ind.rsi(x, 0), "rsi: period = 0: it must be a whole number of at least 1."),
    (lambda x: ind.rsi(x, 14.0), "rsi: period = 14.0: it must be a whole number of at least 1."),
    (lambda x: ind.sma(x, True), "sma: period = True: it must be a whole number of at least 1."),
    (lambda x: ind.sma(x, None), "sma: period = None: it must be a whole number of at least 1."),
    (lambda x: ind.highest(x, 5, lag=-1), "highest: lag = -1: it must be a whole number of at least 0."),
    (lambda x: ind.rsi(x, seed="frist"), "rsi: seed = 'frist' is unknown; did you mean 'first'? Valid: sma, first."),
    (lambda x: ind.macd(x, 26, 12), "macd: fast = 26 must be below slow = 12."),
    (lambda x: ind.stddev(x, 1, ddof=1), "stddev: ddof = 1 must be below period = 1."),
    (lambda x: ind.bollinger(x, 5, -1), "bollinger: width = -1: it must be a number above 0, in standard deviations."),
    (lambda x: ind.sma([[[1.0]]], 2), "sma: values has shape (1, 1, 1); it must be (bars,) or (bars, symbols)."),
    (lambda x: ind.sma(3.0, 2), "sma: values has shape (); it must be (bars,) or (bars, symbols)."),
    (lambda x: ind.sma(["a", "b"], 2), "sma: values must hold numbers; it is list."),
    (lambda x: ind.atr(x, x, x[1:]), "atr: close has shape (7,), but high has (8,); all inputs must have one shape."),
])
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(InputError) as error:
        call(np.arange(8.0))
    assert str(error.value) == sentence


def test_exported_names():
    assert ind.__all__ == sorted(ind.__all__) and all(hasattr(ind, name) for name in ind.__all__)
