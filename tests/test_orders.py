"""Orders as a strategy writes them, results that stay as they are, and input that is of another kind."""

from __future__ import annotations

import pydoc
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from engine_helpers import OnBar, make_bars, run

import botlib
from botlib import Bars, BotlibWarning, InputError, StrategyError, buy, cancel, sell


@pytest.mark.parametrize("three", [3, 3.0, np.int64(3), np.float32(3), np.uint8(3), Fraction(3)])
def test_numbers_of_every_kind_are_quantities_and_prices(three):
    order = buy("AAPL", three, limit=three)
    assert (order.quantity, order.limit_price) == (3.0, 3.0)
    assert type(order.quantity) is type(order.limit_price) is float
    assert type(sell("AAPL", 1, stop=three).stop_price) is float


@pytest.mark.parametrize("bad", [True, np.True_, "3", None, 0, -1, float("nan"), float("inf"), np.float64("nan")])
def test_what_is_no_number_above_0_is_no_quantity(bad):
    with pytest.raises(StrategyError, match="buy AAPL: quantity = .* must be a number above 0"):
        buy("AAPL", bad)
    if bad is not None:
        with pytest.raises(StrategyError, match="sell AAPL: limit_price = .* must be a price above 0"):
            sell("AAPL", 1, limit=bad)


@pytest.mark.parametrize("make", [lambda: buy(5, 1), lambda: sell(None, 1), lambda: cancel(5), lambda: buy("", 1)])
def test_a_symbol_is_text(make):
    with pytest.raises(StrategyError, match=r"^(buy|sell|cancel): symbol = .* must be text"):
        make()


def test_a_result_cannot_be_changed():
    result = run({"A": [100.0] * 3}, OnBar(lambda view: None))
    with pytest.raises(InputError, match=r"result\.cash cannot be set"):
        result.cash = 5
    assert result.cash == 100_000.0
    assert result.metrics is result.metrics  # what is made when asked for is still kept


def test_a_result_of_one_bar_prints_no_nan():
    result = run({"A": [100.0]}, OnBar(lambda view: None))
    for text in (repr(result), result._repr_html_(), repr(result.benchmark)):
        assert "nan" not in text
    assert "no return, 0 trades" in repr(result)


def test_cash_may_be_a_number_of_numpys():
    assert run({"A": [100.0] * 3}, OnBar(lambda view: None), cash=np.int64(5_000)).cash == 5_000.0


def test_of_a_class_with_both_on_bar_is_asked_and_a_warning_says_so():
    class Both(botlib.Strategy):
        def targets(self, bars):
            raise AssertionError

        def on_bar(self, view):
            return None

    bars = make_bars({"A": [100.0] * 3})
    with pytest.warns(BotlibWarning, match="targets-unused: Both has both on_bar and targets") as caught:
        result = botlib.backtest(bars, Both())
    assert len([w for w in caught if "targets-unused" in str(w.message)]) == 1
    assert [text.split(":")[0] for text in result.warnings] == ["targets-unused"]
    assert "targets-unused" not in str(run({"A": [100.0] * 3}, OnBar(lambda view: None)).warnings)


@pytest.mark.parametrize(("call", "said"), [
    (lambda good: Bars.from_frame(None), "df is of type NoneType; it must be a pandas DataFrame"),
    (lambda good: Bars.from_frame([1, 2]), "df is of type list"),
    (lambda good: Bars.from_frame(good["close"]), "df is of type Series"),
    (lambda good: Bars.from_frame(good, actions=5), "actions is of type int"),
    (lambda good: Bars.from_frame(good, now="x"), "now = 'x' is no time"),
    (lambda good: Bars.from_frame(good, now=[1]), r"now = \[1\] is no time"),
    (lambda good: Bars.from_frame(good, now=pd.NaT), "now = NaT is no time"),
])
def test_what_is_no_frame_is_said_in_a_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call(make_bars({"A": [100.0] * 3}).to_frame())


def test_a_folder_that_is_not_there_is_said_in_a_sentence(tmp_path):
    result = run({"A": [100.0] * 30}, OnBar(lambda view: None))
    with pytest.raises(InputError, match="output_dir = '.*nope': there is no such folder") as caught:
        botlib.save_backtest(str(tmp_path / "nope"), result, botlib.check_honesty(result))
    assert "tmp" not in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("name", ["Risk", "Costs", "SafetyControls", "BacktestParams"])
def test_help_shows_our_words_and_no_pydantic_internals(name):
    text = pydoc.plain(pydoc.render_doc(getattr(botlib, name)))
    assert "model_validate" not in text and "__pydantic" not in text
    first = next(iter(getattr(botlib, name).model_fields))
    assert text.index("Parameters") < text.index(f"{first} : default") < text.index("Method resolution order")


def test_help_of_buy_says_how_long_it_lasts_in_what_units_and_what_is_refused():
    text = pydoc.plain(pydoc.render_doc(buy))
    for words in ("session only", "Shares", "Dollars", "refused"):
        assert words in text
