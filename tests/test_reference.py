"""The compiled broker convention against a slow one in plain Python, trade by trade on random markets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import Given, make_bars, run
from reference_broker import ReferenceBroker

import botlib

SYMBOLS = ("DELTA", "ALPHA", "ECHO", "CHARLIE", "BRAVO")  # not in the order of names


def market(rng: np.random.Generator, bars: int, *, holes: float) -> dict[str, list[Any]]:
    """Random bars in whole cents with gaps, some of them wide enough to leap over a capped stop."""
    made = {}
    for symbol in SYMBOLS:
        price, column = float(rng.uniform(3.0, 120.0)), []
        for _ in range(bars):
            open_ = price * (1.0 + rng.normal(0.0, 0.02) + (rng.normal(0.0, 0.12) if rng.random() < 0.06 else 0.0))
            open_ = max(open_, 2.0)
            path = open_ * np.cumprod(1.0 + rng.normal(0.0, 0.015, 4))
            o, h, low, c = (round(float(p), 2) for p in (open_, max(open_, *path), min(open_, *path), path[-1]))
            column.append(None if rng.random() < holes else (o, h, low, c))
            price = max(c, 2.0)
        made[symbol] = column
    return made


def random_targets(rng: np.random.Generator, bars: int) -> dict[str, list[float | None]]:
    """Weights that stay for a while, or grow and shrink; many are above the limit."""
    made: dict[str, list[float | None]] = {}
    for symbol in SYMBOLS:
        size, column, now = float(rng.choice([0.15, 0.2, 0.25])), [], 0.0
        for _ in range(bars):
            if rng.random() < 0.2:
                now = float(rng.choice([0.0, size, size, -size]))
                if rng.random() < 0.5:
                    now *= float(rng.choice([0.5, 0.75, 1.5]))
            column.append(None if rng.random() < 0.3 else now)
        made[symbol] = column
    return made


def differences(cells: dict[str, list[Any]], targets: dict[str, list[float | None]], risk: botlib.Risk,
                costs: botlib.Costs, warmup: int = 0) -> tuple[int, set[str]]:
    """Compare a run of each; returns the number of trades and the exit reasons that occurred."""
    fast = run(make_bars(cells), Given(targets, warmup=warmup), risk=risk, costs=costs)
    slow = ReferenceBroker(
        SYMBOLS, list(zip(*cells.values())), list(zip(*targets.values())), cash=100_000.0, warmup=warmup,
        max_position_pct=risk.max_position_pct, stop_loss_pct=risk.stop_loss_pct, take_profit_pct=risk.take_profit_pct,
        max_gross_exposure_pct=risk.max_gross_exposure_pct, slippage_bps=costs.slippage_bps,
        commission_bps=costs.commission_bps).run()
    columns = ["symbol", "side", "quantity", "entry_bar", "exit_bar", "entry_price", "exit_price", "exit_reason"]
    found = sorted(tuple(row) for row in fast.trades[columns].itertuples(index=False))
    expected = sorted((x.symbol, x.side, float(x.quantity), x.entry_bar, x.exit_bar, float(x.entry_price),
                       float(x.exit_price), x.reason) for x in slow.trades)
    assert found == expected
    assert sorted(fast.trades["pnl"]) == pytest.approx(sorted(float(x.pnl) for x in slow.trades), abs=1e-6)
    np.testing.assert_allclose(fast.equity.to_numpy(), [float(e) for e in slow.equity], rtol=1e-9)
    reasons = fast.orders["reason"]
    assert (reasons == "buying power").sum() == slow.refused
    legs = fast.orders["purpose"].isin(["stop", "target"])
    assert ((reasons == "session close") & ~legs).sum() == slow.expired
    return len(expected), {x.reason for x in slow.trades}


@pytest.mark.parametrize("seed", range(8))
def test_every_trade_is_that_of_the_reference(seed):
    rng = np.random.default_rng(seed)
    risk = botlib.Risk(max_position_pct=30.0, stop_loss_pct=float(rng.choice([2.5, 5.0])),
                       take_profit_pct=float(rng.choice([4.0, 10.0])),
                       max_gross_exposure_pct=float(rng.choice([80.0, 150.0])))
    costs = botlib.Costs(slippage_bps=float(rng.choice([0.0, 2.0, 7.5])), commission_bps=float(rng.choice([0.0, 3.0])),
                         regulatory_fees=False)
    count, reasons = differences(market(rng, 250, holes=0.0), random_targets(rng, 250), risk, costs, warmup=20)
    assert count > 100
    assert reasons == {"signal", "reduce", "stop", "target"}


@pytest.mark.parametrize(("stop", "target"), [(None, None), (5.0, None), (None, 5.0)])
def test_every_trade_is_that_of_the_reference_without_a_leg(stop, target):
    rng = np.random.default_rng(100)
    risk = botlib.Risk(max_position_pct=25.0, stop_loss_pct=stop, take_profit_pct=target)
    count, _ = differences(market(rng, 250, holes=0.0), random_targets(rng, 250), risk,
                           botlib.Costs(slippage_bps=2.0, regulatory_fees=False))
    assert count > 50


@pytest.mark.parametrize("seed", range(5))
def test_every_trade_is_that_of_the_reference_where_bars_are_missing(seed):
    rng = np.random.default_rng(seed + 50)
    risk = botlib.Risk(max_position_pct=100.0, stop_loss_pct=4.0, take_profit_pct=6.0, max_gross_exposure_pct=120.0)
    costs = botlib.Costs(slippage_bps=2.0, commission_bps=1.0, regulatory_fees=False)
    count, _ = differences(market(rng, 250, holes=0.15), random_targets(rng, 250), risk, costs)
    assert count > 50


def test_every_trade_is_that_of_the_reference_under_a_low_limit():
    """Nearly every weight is above the limit."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        differences(market(rng, 150, holes=0.0), random_targets(rng, 150), botlib.Risk(max_position_pct=10.0),
                    botlib.Costs.none())
