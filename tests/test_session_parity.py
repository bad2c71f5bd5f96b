"""Whole sessions through alpaca-py against the compiled backtest on the same bars: the same fills, the same equity.

What is compared are the exchange's own executions, the session's equity after each bar and the ledger. The long form is
``make parity``: BOTLIB_PARITY_EXAMPLES says how many worlds each test plays.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_helpers import Given, OnBar, make_bars
from exchange_helpers import hours, sessions
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mirror import engine_fills, exchange_fills
from session_helpers import WIDE, Stage, trouble
from test_exchange_parity import COSTS, LEGS, named, on_exchange, risk_of
from worlds import World, worlds

import botlib
from botlib import cancel, strategies
from botlib.bars import FIELDS, Bars
from botlib.providers.sample import SampleProvider
from botlib.safety import SafetyControls

pytestmark = pytest.mark.slow  # whole sessions

LONG = int(os.environ.get("BOTLIB_PARITY_EXAMPLES", "0"))


def examples(count: int) -> Any:
    """So many worlds, or those of the long form. A world that fails is told as it is: making it smaller takes long."""
    return settings(max_examples=LONG or count, deadline=None, suppress_health_check=list(HealthCheck),
                    phases=[Phase.explicit, Phase.reuse, Phase.generate])


class Targets(Given):
    """`Given`, without pandas' price for each cell."""

    def targets(self, bars: Bars) -> np.ndarray:
        made = np.full(bars.shape, np.nan)
        for n, symbol in enumerate(bars.symbols):
            column = [np.nan if v is None else v for v in self.given.get(symbol, ())[: len(bars)]]
            made[: len(column), n] = column
        return made


@contextmanager
def stage(bars: Bars, strategy: Any, **options: Any) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        made = Stage(bars, strategy, Path(folder), **options)
        try:
            yield made
        finally:
            made.close()


def play(bars: Bars, strategy: Any, **options: Any) -> botlib.BacktestResult:
    """A session from its first bar to its last, and the backtest that it must equal."""
    with stage(bars, strategy, **options) as played:
        played.play()
        result = played.backtest()
        got, expected = exchange_fills(played.exchange, bars), engine_fills(result)
        assert got == expected, trouble(played)
        equity = result.equity.to_numpy()
        np.testing.assert_allclose([played.equity[t] for t in sorted(played.equity)],
                                   equity[sorted(played.equity)], rtol=1e-9)
        assert played.core.positions() == {s: q for s, q in result.positions.items() if q}
        ledger = played.started.repository
        assert len(ledger.fills(played.started.ledger_id)) == len(expected)
        trips = ledger.round_trips(played.started.ledger_id)
        closed = result.trades  # the backtest books no trip for what a split pays out whole, either
        assert sorted(trips["qty"].round(6)) == sorted(closed["quantity"].round(6))
        line = played.parity()
        assert line.equal, str(line)
        assert (line.fills, line.entries + line.stops + line.targets + line.signal_exits) == (len(got), len(got))
        assert ledger.verify(played.started.ledger_id).ok
    return result


def as_traded(world: World) -> tuple[Bars, dict[str, list[float | None]]]:
    """A world on the exchange's calendar, without rows in which nothing traded: no feed has them. A session whose last
    row is such a one is left out: that it was the last is known in hindsight only."""
    bars, targets = on_exchange(world)
    keep = ~np.isnan(bars.close).all(axis=1)
    ends = np.append(bars.sessions[1:] != bars.sessions[:-1], True)
    keep &= ~np.isin(bars.sessions, bars.sessions[ends & ~keep])
    made = Bars(bars.index[keep], bars.symbols, **{name: getattr(bars, name)[keep] for name in FIELDS},
                interval=bars.interval, calendar="XNYS", actions=bars.actions)
    return made, {s: [v for v, k in zip(targets[s], keep) if k] for s in bars.symbols}


@st.composite
def sessions_of(draw: Any) -> dict[str, Any]:
    """How a session is run, and when it is started anew."""
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    some = [int(t) for t in rng.choice(40, 3)]
    return {"first": draw(st.integers(1, 12)), "seed": seed,
            "whole": draw(st.sampled_from([(), some[:1], some[1:]])), "rebuilt": draw(st.sampled_from([(), some]))}


def options_of(bars: Bars, how: dict[str, Any], **values: Any) -> dict[str, Any]:
    return how | {"first": min(how["first"], len(bars) - 2), "values": values}


COSTLY = st.sampled_from(sorted(COSTS))
PROTECTED = st.sampled_from(sorted(LEGS))
LIMITS = {
    "wide": WIDE,
    "tight": SafetyControls(max_position_size_pct=40.0, max_drawdown_pct=2.0, max_daily_loss_pct=0.5,
                            max_orders_per_day=3, price_collar_pct=90.0),
    "flatten": SafetyControls(max_position_size_pct=40.0, max_drawdown_pct=3.0, max_daily_loss_pct=1.0,
                              max_orders_per_day=6, price_collar_pct=90.0, on_kill="flatten"),
    "none": None,
}


@examples(10)
@given(world=worlds(volumes=True), how=sessions_of(), legs=PROTECTED, costs=COSTLY,
       gross=st.sampled_from([100.0, 150.0]), limits=st.sampled_from(sorted(LIMITS)),
       tolerance=st.sampled_from([None, 2.0]))
def test_any_world(world, how, legs, costs, gross, limits, tolerance):
    bars, targets = as_traded(world)
    if len(bars) >= 4:
        play(bars, Targets(targets, tolerance=tolerance),
             **options_of(bars, how, risk=risk_of(legs, gross), costs=COSTS[costs], safety=LIMITS[limits]))


@examples(8)
@given(world=worlds(volumes=True), how=sessions_of(), legs=PROTECTED, costs=COSTLY,
       limits=st.sampled_from(["wide", "tight"]))
def test_named_orders(world, how, legs, costs, limits):
    bars, _ = as_traded(world)
    if len(bars) >= 4:
        play(bars, named(world.seed),
             **options_of(bars, how, risk=risk_of(legs, 150.0), costs=COSTS[costs], safety=LIMITS[limits]))


def changing_its_mind(seed: int) -> OnBar:
    """Random orders and targets, and cancels of what still works, by symbol or by its number."""
    orders = named(seed)

    def answer(view: Any) -> Any:
        rng = np.random.default_rng([seed, view.t, 1])
        made = list(orders.answers(view)) if rng.random() < 0.7 else []
        for one in view.open_orders:
            if rng.random() < 0.4:
                made.insert(0, cancel(one.symbol, one.id if rng.random() < 0.5 else None))
        return made

    return OnBar(answer)


@examples(6)
@given(world=worlds(volumes=True).filter(lambda w: w.bars.interval == "1h"), how=sessions_of(), legs=PROTECTED,
       costs=COSTLY)
def test_orders_that_rest_and_are_cancelled(world, how, legs, costs):
    bars, _ = as_traded(world)
    if len(bars) >= 4:
        play(bars, changing_its_mind(world.seed), **options_of(bars, how, risk=risk_of(legs, 150.0),
                                                               costs=COSTS[costs]))


@examples(4)
@given(world=worlds(volumes=True), how=sessions_of(), costs=COSTLY, ordered=st.booleans(),
       unit=st.sampled_from(["weight", "shares"]))
def test_fractions_and_capital_below_the_account(world, how, costs, ordered, unit):
    bars, targets = as_traded(world)
    if unit == "shares":
        targets = {s: [w and w * (1000.5 if w > 0.0 else 1000.0) for w in column] for s, column in targets.items()}
    if len(bars) >= 4:
        play(bars, named(world.seed) if ordered else Targets(targets, unit=unit), cash=163_211.17,
             **options_of(bars, how, risk=risk_of("none").model_copy(update={"fractional": True}), costs=COSTS[costs],
                          capital=100_000.0))


@examples(4)
@given(world=worlds(volumes=True), how=sessions_of(), legs=PROTECTED, costs=COSTLY)
def test_a_cash_account(world, how, legs, costs):
    bars, targets = as_traded(world)
    if len(bars) >= 4:
        play(bars, Targets(targets), **options_of(bars, how, risk=risk_of(legs, account="cash"), costs=COSTS[costs]))


@examples(4)
@given(world=worlds(), how=sessions_of(), costs=st.sampled_from(["free", "paid", "lent"]))
def test_passes_between_the_bars_change_nothing(world, how, costs):
    """What a session that polls sees in the middle of a bar, where no leg is to be placed, makes no difference."""
    bars, targets = as_traded(world)
    if len(bars) >= 4:
        play(bars, Targets(targets), halves=True, **options_of(bars, how, risk=risk_of("none"), costs=COSTS[costs]))


# --- The shipped strategies -------------------------------------------------------------------------------------------


def sample_bars(start: str, end: str, *symbols: str) -> Bars:
    provider = SampleProvider()
    frame = provider.download_bars(symbols=list(symbols), period="max", interval="1d")
    return Bars.from_frame(frame, actions=provider.actions(list(symbols))).between(start, end)


SHIPPED = [
    ("mean_reversion_momentum", {"rsi_period": 5, "oversold": 45.0, "momentum_lookback": 30, "weight": 0.3}, "stop"),
    ("mean_reversion_momentum", {"rsi_period": 4, "oversold": 50.0, "momentum_lookback": 20, "weight": 0.2}, "both"),
    ("moving_average_cross", {"fast": 3, "slow": 9, "allow_short": True}, "both"),
    ("moving_average_cross", {"fast": 5, "slow": 20}, "none"),
    ("momentum_rotation", {"lookback": 20, "skip": 2, "top_n": 2}, "target"),
    ("blend", {"members": [{"name": "moving_average_cross", "fast": 3, "slow": 9},
                           {"name": "momentum_rotation", "lookback": 20, "skip": 2}]}, "stop"),
]


@pytest.mark.parametrize(("name", "params", "legs"), SHIPPED)
def test_the_shipped_strategies(name, params, legs):
    bars = sample_bars("2004-10-01", "2005-04-15", "AAPL", "GOOG", "IBM")  # GOOG is new, AAPL splits on 2005-02-28
    bars = bars.reordered([bars.symbols.index(s) for s in sorted(bars.symbols)])
    strategy = strategies.load(name, params)
    result = play(bars, strategy, first=90, whole=(110,), rebuilt=(95, 100, 105),
                  values={"risk": risk_of(legs), "costs": botlib.Costs(slippage_bps=2.0, regulatory_fees=True)})
    assert len(result.fills) >= 2


def test_every_shipped_strategy_is_played():
    assert {name for name, _, _ in SHIPPED} == set(strategies.SHIPPED)


@examples(20)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(sorted({*strategies.SHIPPED} - {"blend"})), legs=PROTECTED,
       costs=st.sampled_from(["free", "paid", "lent"]), limits=st.sampled_from(["wide", "tight"]))
def test_over_http(seed, name, legs, costs, limits):
    """Through sockets, few bars each: what stands between is the same."""
    rng = np.random.default_rng(seed)
    index = sessions(56) if rng.random() < 0.6 else hours(14, "09:30:00", "10:30:00", "14:30:00", "15:30:00")
    cells, splits = {}, rng.random() < 0.3
    for symbol in ("ALFA", "GOLF", "MIKE")[: int(rng.integers(1, 4))]:
        closes = rng.uniform(20.0, 90.0) * np.cumprod(1.0 + rng.normal(0.0, 0.03, len(index)))
        if splits and symbol == "ALFA":
            closes = np.where(index.normalize() >= index[-5].normalize(), closes / 2.0, closes)
        opens = closes * (1.0 + rng.normal(0.0, 0.01, len(index)))
        cells[symbol] = [(round(o, 2), round(max(o, c) * 1.01, 2), round(min(o, c) * 0.99, 2), round(c, 2))
                         for o, c in zip(opens, closes)]
    bars = make_bars(cells, index, calendar="XNYS", interval="1d" if index[0].hour == 0 else "1h",
                     actions=[("ALFA", str(index[-5].date()), "split", 2.0)] if splits else None)
    params = {"mean_reversion_momentum": {"rsi_period": 2, "oversold": 60.0, "momentum_lookback": 3, "weight": 0.3},
              "moving_average_cross": {"fast": 2, "slow": 4, "allow_short": True},
              "momentum_rotation": {"lookback": 3, "skip": 0, "top_n": 2}}[name]
    play(bars, strategies.load(name, params), first=46, http=True,
         values={"risk": risk_of(legs), "costs": COSTS[costs], "safety": LIMITS[limits]})


# --- What parity does not claim ---------------------------------------------------------------------------------------


def test_a_refusal_that_only_a_session_makes_is_named_instead_of_equality():
    """A jump beyond the price collar: the backtest enters, the session asks for a person."""
    flat, high = (100.0, 101.0, 99.0, 100.0), (150.0, 151.0, 149.0, 150.0)
    bars = make_bars({"AAA": [flat] * 4 + [high] * 3}, sessions(7), calendar="XNYS")
    limits = WIDE.model_copy(update={"price_collar_pct": 20.0})
    with stage(bars, Targets({"AAA": [None] * 4 + [0.2]}), first=2, values={"safety": limits}) as played:
        played.play()
        assert "20" in next(reason for r in played.reports for _, reason in r.refused)
        line = played.parity()
        assert not line.equal and "NOT equal" in str(line)
        assert "the backtest has buy 133 AAA @ 150.0" in line.difference and "2024-03-11" in line.difference


def test_a_parity_line_tells_what_it_compared():
    flat = (100.0, 101.0, 99.0, 100.0)
    bars = make_bars({"AAA": [flat, flat, flat, (100.0, 112.0, 99.0, 111.0), flat, flat]}, sessions(6), calendar="XNYS")
    with stage(bars, Targets({"AAA": [None, 0.2, None, None, 0.1, 0.0]}), first=2, values={
            "risk": risk_of("both"), "costs": botlib.Costs.none()}) as played:
        played.play()
        said = str(played.parity())
    assert "3 orders, 3 fills: 2 entries, 0 stops, 1 target" in said and "each equal in price and quantity" in said


def test_a_fill_more_or_less_is_a_difference():
    from botlib.session.parity import compare

    flat = (100.0, 101.0, 99.0, 100.0)
    bars = make_bars({"AAA": [flat] * 6}, sessions(6), calendar="XNYS")
    with stage(bars, Targets({"AAA": [None, 0.2, None, 0.0]}), first=2, values={"risk": risk_of("none")}) as played:
        played.play()
        store, number = played.started.repository, played.started.ledger_id
        fills, equity = store.fills(number), store.equity(number)
        common = {"decided": bars.index[1], "decisions": 2}
        args = played.core.bars, played.strategy, played.params, 100_000.0
        assert compare(*args, fills, equity, **common).equal
        assert "the session has no more" in compare(*args, fills.iloc[:1], equity, **common).difference
        twice = fills.loc[[*fills.index, fills.index[-1]]]
        assert "the backtest has no more" in compare(*args, twice, equity, **common).difference
        dearer = fills.assign(price=fills["price"] + 0.0001)
        assert "@ 100.0" in compare(*args, dearer, equity, **common).difference
        richer = equity.assign(equity=equity["equity"] * (1.0 + 3e-9))
        assert "equity at the close of 2024-03-05" in compare(*args, fills, richer, **common).difference
