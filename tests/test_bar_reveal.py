"""What an ``on_bar`` strategy sees: at each bar what `Bars.adjusted` makes of the bars and actions by then."""

from __future__ import annotations

import numpy as np
import pytest
from engine_helpers import make_bars
from hypothesis import given, settings
from worlds import World, worlds

import botlib
from botlib.adjust import ex_days
from botlib.bar_reveal import KnownBars
from botlib.bars import FIELDS, Bars


def check(bars: Bars, how: str, start: int = 0, step: int = 1) -> None:
    """Compare with adjusting afresh at each bar, to the last bit; what was handed out before must not change."""
    known, kept = KnownBars(bars, how), []
    for t in range(start, len(bars), step):
        seen, expected = known.upto(t), bars.upto(t)
        if how != "raw" and bars.adjustment == "raw" and bars.actions is not None and len(bars.actions):
            due = bars.actions[ex_days(bars.actions) <= bars.sessions[t]]
            expected = bars.adjusted(due, how).upto(t)
        kept.append((seen, expected))
    for seen, expected in kept:
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(seen, name), getattr(expected, name))
        for name, panel in expected.extra.items():
            np.testing.assert_array_equal(seen.extra[name], panel)
        assert seen.index.equals(expected.index)
        assert seen.sessions.tolist() == expected.sessions.tolist()
        assert (seen.symbols, seen.interval, seen.adjustment) == (expected.symbols, expected.interval,
                                                                  expected.adjustment)
        assert (seen.actions is None) == (expected.actions is None)
        assert seen.actions is None or seen.actions.equals(expected.actions)


@settings(max_examples=settings.default.max_examples // 8)
@given(world=worlds(volumes=True))
@pytest.mark.parametrize("how", ["raw", "split", "all"])
def test_any_bars(how: str, world: World) -> None:
    check(world.bars, how)


@pytest.mark.parametrize("how", ["raw", "split", "all"])
@pytest.mark.parametrize(("start", "step"), [(0, 97), (1500, 31)])
def test_real_bars(how: str, start: int, step: int) -> None:
    provider = botlib.providers.load("sample")
    symbols = ["AAPL", "FB", "IBM"]
    frame = provider.download_bars(symbols=symbols, period="max", interval="1d")
    check(Bars.from_frame(frame, actions=provider.actions(symbols)), how, start, step)


@pytest.mark.parametrize("how", ["raw", "split", "all"])
def test_further_columns_and_what_was_adjusted_before(how: str) -> None:
    raw = make_bars({"A": [100, 100, 50, 48, 48]}, actions=[("A", "2024-03-06", "split", 2.0),
                                                            ("A", "2024-03-07", "cash_dividend", 2.0)])
    panels = {f: getattr(raw, f) for f in FIELDS}
    more = {"vwap": raw.close * 1.01, "mood": raw.close * 0.5}
    check(Bars(raw.index, raw.symbols, **panels, actions=raw.actions, extra=more), how)
    check(Bars(raw.index, raw.symbols, **panels, adjustment="split", extra=more), how)
    check(Bars(raw.index, raw.symbols, **panels, actions=raw.actions.iloc[:0], extra=more), how)


def test_nothing_stands_behind_what_is_shown() -> None:
    bars = make_bars({"A": [1.0, 2.0, 3.0, 4.0]})
    close = KnownBars(bars, "split").upto(1).close
    behind = close
    while isinstance(behind.base, np.ndarray):
        behind = behind.base
    assert close[:, 0].tolist() == [1.0, 2.0]
    assert behind.shape == (4, 1) and np.isnan(behind[2:]).all()
