"""The local exchange against the compiled backtest: the same orders, the same fills, one by one, the same money.

The backtest's decisions are sent to the exchange by `mirror`, as the rules say a session does it. What is compared are
two books that know nothing of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import Given, OnBar, make_bars, run
from exchange_helpers import sessions
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror import Mirror, engine_fills, exchange_fills
from test_reference import market, random_targets
from worlds import World, rebuild, worlds

import botlib
from botlib import adjust, buy, sell, strategies
from botlib.bars import FIELDS, Bars
from botlib.providers.sample import SampleProvider
from botlib.safety import SafetyControls
from botlib.sandbox.exchange import Exchange

pytestmark = pytest.mark.slow  # whole backtests again, through the exchange

LEGS = {"both": (4.0, 6.0), "stop": (3.0, None), "target": (None, 5.0), "none": (None, None)}
COSTS = {
    "free": botlib.Costs.none(),
    "paid": botlib.Costs(slippage_bps=3.0, commission_bps=4.0, commission_min=1.0, regulatory_fees=True),
    "capped": botlib.Costs(slippage_bps=2.0, commission_per_share=0.005, volume_impact_bps=50.0,
                           max_participation_pct=20.0, regulatory_fees=False),
    "thin": botlib.Costs(slippage_bps=1.0, max_participation_pct=6.0, regulatory_fees=True),
    "lent": botlib.Costs(slippage_bps=1.0, borrow_rate_pct=5.0, margin_rate_pct=9.0, regulatory_fees=False),
}


def in_order(bars: Bars) -> Bars:
    """The columns in the order of names, in which the backtest's books number them."""
    return bars.reordered([bars.symbols.index(s) for s in sorted(bars.symbols)])


def on_exchange(world: World) -> tuple[Bars, dict[str, list[float | None]]]:
    """The world on the exchange's calendar, without the days on which it is closed; symbols in order of names."""
    bars, targets = in_order(world.bars), world.targets
    keep = np.isin(bars.sessions, sessions(80).tz_localize(None).to_numpy().astype("M8[D]").astype(np.int64))
    panels = {name: getattr(bars, name)[keep] for name in FIELDS}
    made = Bars(bars.index[keep], bars.symbols, **panels, interval=bars.interval, calendar="XNYS", actions=bars.actions)
    return made, {s: [v for v, k in zip(targets[s], keep) if k] for s in bars.symbols}


def risk_of(legs: str, gross: float = 100.0, account: str = "margin") -> botlib.Risk:
    stop, target = LEGS[legs]
    return botlib.Risk(max_position_pct=40.0, stop_loss_pct=stop, take_profit_pct=target,
                       max_gross_exposure_pct=gross, account=account)  # type: ignore[arg-type]


def ex_on_a_closed_day(bars: Bars) -> bool:
    """Such actions are due on the next session; the ledger of `worlds` does not know that."""
    return bars.actions is not None and not np.isin(adjust.ex_days(bars.actions), bars.sessions).all()


def compare(bars: Bars, strategy: Any, risk: botlib.Risk, costs: botlib.Costs, *, halves: bool = False,
            **options: Any) -> tuple[botlib.BacktestResult, Mirror]:
    """Play both and compare fills, cash and equity."""
    result = run(bars, strategy, risk=risk, costs=costs, **options)
    multiplier = 1.0 if risk.account == "cash" else max(1.0, risk.max_gross_exposure_pct / 100.0)
    x = Exchange(bars, costs=costs, seed=1, multiplier=multiplier, whole_splits=not risk.fractional)
    x.shorting_enabled = True  # at 100 % exposure a margin account still may
    changed = costs.max_participation_pct is not None or (bars.actions is not None
                                                          and (bars.actions["type"] == "split").any())
    until = (lambda t: run(bars.upto(t), strategy, risk=risk, costs=costs, **options)) if changed else None
    mirror = Mirror(result, x, until).run(halves=halves)
    assert exchange_fills(x, bars) == engine_fills(result)
    np.testing.assert_allclose(mirror.equity, result.equity.to_numpy(), rtol=1e-9)
    assert [got for _, got in mirror.refused] == [expected for expected, _ in mirror.refused]
    assert {s: p.qty for s, p in x.positions.items()} == {s: q for s, q in result.positions.items() if q}
    if not costs.borrow_rate_pct and not costs.margin_rate_pct and not ex_on_a_closed_day(bars) and not risk.fractional:
        ledger = rebuild(result)
        held = [np.where(p != 0.0, p * c, 0.0).sum() for p, c in zip(ledger.positions, ledger.closes)]
        np.testing.assert_allclose(mirror.cash, np.array(ledger.free) - held, rtol=0, atol=0.005)
        want = dict(zip(bars.symbols, ledger.positions[-1]))
        assert {s: p.qty for s, p in x.positions.items()} == {s: q for s, q in want.items() if q}
    return result, mirror


@settings(max_examples=120)
@given(world=worlds(volumes=True), legs=st.sampled_from(sorted(LEGS)), costs=st.sampled_from(sorted(COSTS)),
       gross=st.sampled_from([100.0, 150.0]), halves=st.booleans())
def test_any_world(world, legs, costs, gross, halves):
    bars, targets = on_exchange(world)
    compare(bars, Given(targets), risk_of(legs, gross), COSTS[costs], halves=halves)


def named(seed: int) -> OnBar:
    """Random limit, stop and market orders, stops on the wrong side of the market among them: entries beside what is
    held, so that a symbol has several lots, and exits of all or a part of it."""
    def answer(view: Any) -> list[Any]:
        rng = np.random.default_rng([seed, view.t])
        made = []
        for n, symbol in enumerate(view.bars.symbols):
            close, held = view.bars.close[-1, n], view.position(symbol)
            if not close > 0.0 or rng.random() < 0.4:
                continue
            out = held and rng.random() < 0.5
            side = (-1.0 if out else 1.0) * (np.sign(held) or rng.choice([1.0, -1.0]))
            kind = (None, None, "limit", "stop")[rng.integers(4)]
            away = rng.uniform(0.002, 0.03) * (rng.choice([side] * 5 + [-side]) if kind == "stop" else
                                               rng.choice([side, -side]))
            price = {} if kind is None else {kind: round(float(close * (1.0 + away)), 2)}
            quantity = abs(held) if out and rng.random() < 0.5 else rng.integers(1, 150)
            order = buy if side > 0 else sell
            made.append(order(symbol, float(min(quantity, abs(held)) if out else quantity), **price))
        return made
    return OnBar(answer)


@settings(max_examples=120)
@given(world=worlds(volumes=True), legs=st.sampled_from(sorted(LEGS)), costs=st.sampled_from(sorted(COSTS)),
       halves=st.booleans())
def test_named_orders(world, legs, costs, halves):
    bars, _ = on_exchange(world)
    compare(bars, named(world.seed), risk_of(legs, 150.0), COSTS[costs], halves=halves)


@pytest.mark.parametrize("seed", range(8))
def test_wild_markets(seed):
    """150 sessions of five symbols, longs and shorts, gaps that leap over capped stops; every other seed with holes."""
    rng = np.random.default_rng(seed)
    cells = dict(sorted(market(rng, 150, holes=0.05 * (seed % 2)).items()))
    bars = make_bars(cells, sessions(150), calendar="XNYS")
    targets = dict(sorted(random_targets(rng, 150).items()))
    risk = botlib.Risk(max_position_pct=30.0, stop_loss_pct=[2.5, 5.0, None][seed % 3],
                       take_profit_pct=[4.0, None, 10.0][seed // 2 % 3], max_gross_exposure_pct=150.0)
    result, mirror = compare(bars, Given(targets), risk,
                             botlib.Costs(slippage_bps=2.0, commission_bps=3.0, regulatory_fees=True),
                             halves=bool(seed % 2))
    assert len(engine_fills(result)) > 100
    assert len(mirror.refused) == (result.orders["reason"] == "buying power").sum()


@pytest.mark.parametrize("seed", range(6))
def test_thin_wild_markets(seed):
    """The same with little volume, named orders and targets in turn: lots of a symbol share what a bar gives."""
    rng = np.random.default_rng(seed + 100)
    cells = {symbol: [None if cell is None else (*cell, float(rng.choice([0.0, 200.0, 900.0, 1e6]))) for cell in column]
             for symbol, column in sorted(market(rng, 120, holes=0.03).items())}
    targets, orders = random_targets(rng, 120), named(seed)

    def answer(view: Any) -> Any:
        if view.t // 4 % 2:
            return {symbol: column[view.t] for symbol, column in targets.items() if column[view.t] is not None}
        return orders.answers(view)

    risk = risk_of(["both", "stop", "target"][seed % 3], 150.0)
    result, mirror = compare(make_bars(cells, sessions(120), calendar="XNYS"), OnBar(answer), risk,
                             COSTS[["capped", "thin"][seed // 3]], halves=bool(seed % 2))
    legs = result.orders[result.orders["purpose"].isin(["stop", "target"])]
    assert (legs["type"] == "market").sum() >= 3  # the close had passed them
    exits = result.fills[result.fills["order"].isin(legs.index)]
    assert exits.groupby(["time", "symbol"]).size().max() >= 2  # lots that left on the same bar
    assert "stop-wrong-side" in {expected for expected, _ in mirror.refused}


@settings(max_examples=40)
@given(world=worlds(volumes=True), costs=st.sampled_from(sorted(COSTS)), ordered=st.booleans(),
       unit=st.sampled_from(["weight", "shares"]))
def test_fractions_of_shares(world, costs, ordered, unit):
    bars, targets = on_exchange(world)
    if unit == "shares":
        targets = {s: [w and w * (1000.5 if w > 0.0 else 1000.0) for w in column] for s, column in targets.items()}
    risk = risk_of("none").model_copy(update={"fractional": True})
    compare(bars, named(world.seed) if ordered else Given(targets, unit=unit), risk, COSTS[costs])


@settings(max_examples=40)
@given(world=worlds(volumes=True), legs=st.sampled_from(sorted(LEGS)), costs=st.sampled_from(sorted(COSTS)),
       on_kill=st.sampled_from(["keep", "flatten"]), account=st.sampled_from(["margin", "cash"]))
def test_safety_limits(world, legs, costs, on_kill, account):
    bars, targets = on_exchange(world)
    limits = SafetyControls(max_position_size_pct=40.0, max_drawdown_pct=2.0, max_daily_loss_pct=0.5,
                            max_orders_per_day=3, on_kill=on_kill)
    compare(bars, Given(targets, tolerance=2.0), risk_of(legs, account=account), COSTS[costs], safety=limits)


def test_a_cash_account():
    rng = np.random.default_rng(5)
    cells = dict(sorted(market(rng, 120, holes=0.0).items()))
    targets = {s: [None if v is None else max(v, 0.0) for v in c] for s, c in sorted(random_targets(rng, 120).items())}
    risk = risk_of("both", account="cash")
    _, mirror = compare(make_bars(cells, sessions(120), calendar="XNYS"), Given(targets), risk, COSTS["paid"])
    assert mirror.refused  # the cash did not do for all of them


@pytest.fixture(scope="module")
def sample() -> Bars:
    provider, symbols = SampleProvider(), ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    frame = provider.download_bars(symbols=symbols, period="max", interval="1d")
    return Bars.from_frame(frame, actions=provider.actions(symbols))


@pytest.mark.parametrize(("name", "params", "legs"), [
    ("mean_reversion_momentum", {}, "both"),
    ("mean_reversion_momentum", {"rsi_period": 5, "oversold": 40.0, "momentum_lookback": 60, "weight": 0.3}, "stop"),
    ("moving_average_cross", {}, "none"),
    ("moving_average_cross", {"fast": 5, "slow": 20, "allow_short": True}, "both"),
    ("momentum_rotation", {}, "target"),
])
def test_the_shipped_strategies_on_the_shipped_bars(sample, name, params, legs):
    bars = sample if not params else sample.between("2003-01-01", "2006-12-31")  # with a split of AAPL
    result, _ = compare(bars, strategies.load(name, params), risk_of(legs),
                        botlib.Costs(slippage_bps=2.0, regulatory_fees=True))
    assert len(result.fills) >= 10


def test_protection_that_rests_for_months_is_renewed(sample):
    """Alpaca ends what is good till cancelled after 90 days."""
    targets = {"IBM": [0.3]}
    _, mirror = compare(sample.between("2010-01-01", "2012-12-31"), Given(targets),
                        botlib.Risk(max_position_pct=40.0, stop_loss_pct=40.0, take_profit_pct=200.0),
                        COSTS["free"])
    assert mirror.renewed >= 8
