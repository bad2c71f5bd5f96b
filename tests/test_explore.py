"""Forward returns and their quantiles, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from engine_helpers import make_bars

from botlib import explore, indicators
from botlib.errors import InputError

NAN = float("nan")


def test_forward_returns():
    bars = make_bars({"A": [100, 110, 99, 198], "B": [50, None, 100, 25]})
    np.testing.assert_allclose(explore.forward_returns(bars, 1)[:, 0], [0.1, -0.1, 1.0, NAN])
    np.testing.assert_allclose(explore.forward_returns(bars, 2)[:, 1], [1.0, NAN, NAN, NAN])


@pytest.mark.parametrize("horizon", [0, -1, 4, 1.5, True])
def test_a_horizon_that_is_none(horizon):
    with pytest.raises(InputError, match="horizon"):
        explore.forward_returns(make_bars({"A": [100.0] * 4}), horizon)


def test_quantiles():
    signal = np.arange(21.0).reshape(-1, 1)
    forward = np.where(signal < 10, -0.01, 0.03)
    forward[[0, 20]] = [[0.01], [NAN]]  # one gain in the lower half; the last return is not known yet
    table = explore.by_quantile(signal, forward, 2)
    assert table["observations"].tolist() == [10, 10]
    assert table["signal_from"].tolist() == [0.0, 9.5]
    assert table["signal_to"].tolist() == [9.5, 19.0]
    assert table["mean_return_pct"].tolist() == pytest.approx([(1 - 9) / 10, 3.0])
    assert table["median_return_pct"].tolist() == pytest.approx([-1.0, 3.0])
    assert table["positive_pct"].tolist() == pytest.approx([10.0, 100.0])


def test_overlapping_returns_widen_the_standard_error():
    rng = np.random.default_rng(1)
    signal, forward = rng.normal(size=(200, 1)), rng.normal(size=(200, 1))
    one, four = (explore.by_quantile(signal, forward, 4, horizon=h)["standard_error_pct"] for h in (1, 4))
    np.testing.assert_allclose(four, 2.0 * one)


@pytest.mark.parametrize(("arguments", "said"), [
    ((np.zeros((3, 1)), np.zeros((4, 1))), "shape"), ((np.zeros((30, 1)), np.zeros((30, 1)), 1), "quantiles"),
    ((np.zeros((30, 1)), np.zeros((30, 1)), 5), "too few"),
])
def test_what_cannot_be_grouped(arguments, said):
    with pytest.raises(InputError, match=said):
        explore.by_quantile(*arguments)


def test_momentum_is_in_percent_already():
    """What the notebook plots: a price that doubles has a momentum of 100 %."""
    np.testing.assert_allclose(indicators.roc(np.array([[50.0], [100.0]]), 1), [[NAN], [100.0]])
