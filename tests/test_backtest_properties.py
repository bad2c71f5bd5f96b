"""What must hold on any market, for any strategy (Hypothesis)."""

from __future__ import annotations

import numpy as np
import pytest
from engine_helpers import NAN, Given, OnBar, fills, run
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from worlds import World, rebuild, worlds

import botlib
from botlib import buy, sell
from botlib.bars import FIELDS, Bars
from botlib.safety import SafetyControls

RISKS = [
    botlib.Risk(max_position_pct=40.0, stop_loss_pct=4.0, take_profit_pct=6.0),
    botlib.Risk(max_position_pct=40.0, stop_loss_pct=3.0, take_profit_pct=5.0, max_gross_exposure_pct=60.0),
    botlib.Risk(max_position_pct=100.0, stop_loss_pct=2.0, take_profit_pct=8.0, max_gross_exposure_pct=180.0),
    botlib.Risk(max_position_pct=40.0, stop_loss_pct=4.0, take_profit_pct=6.0, account="cash"),
]
COSTS = [
    botlib.Costs.none(),
    botlib.Costs(slippage_bps=3.0),
    botlib.Costs(slippage_bps=2.0, commission_bps=4.0, commission_min=1.0, regulatory_fees=False),
    botlib.Costs(slippage_bps=0.0, commission_per_share=0.005, volume_impact_bps=50.0, max_participation_pct=20.0),
]
SAFETY = [None, SafetyControls(max_position_size_pct=100.0, max_orders_per_day=3),
          SafetyControls(max_position_size_pct=100.0, on_kill="flatten")]
ANY = {"risk": st.sampled_from(RISKS), "costs": st.sampled_from(COSTS), "safety": st.sampled_from(SAFETY)}
SOME = settings(max_examples=settings.default.max_examples * 3 // 5)  # 60, or 12 when quick, 600 when exploring
UNSHRUNK = settings(max_examples=60, phases=[Phase.generate])  # for what is known to fail


def orders_of(world: World):
    """An ``on_bar`` that names random orders of all kinds, the same for the same market."""
    def answer(view):
        rng = np.random.default_rng([world.seed, view.t])
        made = []
        for symbol in view.bars.symbols:
            close, held = view.bars.close[-1, view.bars.symbols.index(symbol)], abs(view.position(symbol))
            for _ in range(rng.integers(0, 3) if close > 0 else 0):
                order = (buy, sell)[rng.integers(2)]
                named = (None, "limit", "stop")[rng.integers(3)]
                price = {} if named is None else {named: round(float(close * rng.uniform(0.96, 1.04)), 2)}
                part = float(rng.choice([held // 2, held - held // 2, held])) or float(rng.integers(1, 150))
                made.append(order(symbol, part if rng.random() < 0.6 else float(rng.integers(1, 150)), **price))
        return made
    return OnBar(answer)


@SOME
@given(world=worlds(volumes=True), named=st.booleans(), **ANY)
def test_cash_and_positions_and_what_is_due_are_equity(world, named, risk, costs, safety):
    result = run(world.bars, orders_of(world) if named else Given(world.targets), risk=risk, costs=costs, safety=safety)
    ledger = rebuild(result)
    np.testing.assert_allclose(result.equity.to_numpy(), ledger.equity, rtol=1e-9)
    np.testing.assert_allclose(result.exposure * result.equity, ledger.gross, rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(result.positions, ledger.positions[-1])


@SOME
@given(world=worlds(volumes=True), named=st.booleans(), **ANY)
def test_orders_and_quantities(world, named, risk, costs, safety):
    result = run(world.bars, orders_of(world) if named else Given(world.targets), risk=risk, costs=costs, safety=safety)
    orders, booked = result.orders, result.fills
    sold = result.trades["quantity"][result.trades["exit_reason"] != "split"]  # a split pays out parts of shares
    for quantity in (orders["quantity"], orders["filled"], booked["quantity"], sold, result.positions):
        assert (quantity == np.floor(quantity)).all()
    assert (booked["quantity"] > 0).all() and (result.trades["quantity"] > 0).all()
    # Every order is terminal or works at the end, and was filled for what its executions say.
    done = booked.groupby("order")["quantity"].sum().reindex(range(len(orders)), fill_value=0.0)
    splits = world.bars.actions is not None and (world.bars.actions["type"] == "split").any()
    if not splits:  # an execution before a split is in old shares
        np.testing.assert_array_equal(orders["filled"], done)
    status = orders["status"]
    assert status.isin(["working", "filled", "cancelled", "expired", "rejected"]).all()
    assert (orders["filled"][status == "rejected"] == 0.0).all()
    entries = orders["purpose"] == "entry"
    whole = orders[(status == "filled") & entries]
    assert (whole["filled"] == whole["quantity"]).all()
    # Legs rest for what is held, never for more.
    working = orders[status == "working"]
    for symbol, position in result.positions.items():
        for leg in ("stop", "target"):
            mine = working[(working["symbol"] == symbol) & (working["purpose"] == leg)]
            assert (mine["side"] == ("sell" if position > 0 else "buy")).all()
            if costs.max_participation_pct is None:
                assert mine["quantity"].sum() <= abs(position)


@SOME
@given(world=worlds(volumes=True), named=st.booleans(), risk=ANY["risk"])
def test_without_slippage_every_fill_lies_in_its_bar(world, named, risk):
    result = run(world.bars, orders_of(world) if named else Given(world.targets), risk=risk)
    kinds, limits = result.orders["type"], result.orders["limit_price"]
    for row in result.fills.itertuples():
        t, n = result.bars.index.get_loc(row.time), result.bars.symbols.index(row.symbol)
        assert result.bars.low[t, n] - 1e-9 <= row.price <= result.bars.high[t, n] + 1e-9
        if row.at_open:
            assert row.price == result.bars.open[t, n]
        if kinds[row.order] == "limit" and world.bars.actions is None:
            limit = limits[row.order]
            assert row.price <= limit if row.side == "buy" else row.price >= limit


@SOME
@given(world=worlds(), warmup=st.integers(0, 12), **ANY)
def test_nothing_happens_before_the_warm_up(world, warmup, risk, costs, safety):
    strategy = Given(world.targets, warmup=warmup)
    result = run(world.bars, strategy, risk=risk, costs=costs, safety=safety)
    assert all(bar > warmup for bar, *_ in fills(result))
    assert (result.orders["decided_time"] >= world.bars.index[min(warmup, len(world.bars) - 1)]).all()
    assert (result.equity.to_numpy()[: warmup + 1] == result.cash).all()


@SOME
@given(world=worlds(volumes=True), named=st.booleans(), cut=st.floats(0.0, 1.0), **ANY)
def test_the_future_never_changes_the_past(world, named, cut, risk, costs, safety):
    t = int(cut * (len(world.bars) - 1))
    strategy = orders_of(world) if named else Given(world.targets)
    options = {"risk": risk, "costs": costs, "safety": safety}
    whole, part = run(world.bars, strategy, **options), run(world.bars.upto(t), strategy, **options)
    assert [f for f in fills(whole) if f[0] <= t] == fills(part)
    np.testing.assert_array_equal(whole.equity.to_numpy()[: t + 1], part.equity.to_numpy())
    columns = ["symbol", "quantity", "entry_bar", "exit_bar", "pnl"]
    past = whole.trades[whole.trades["exit_bar"] <= t]
    assert past[columns].values.tolist() == part.trades[columns].values.tolist()
    halts = whole.halts[whole.halts["time"] <= world.bars.index[t]]
    assert halts.astype(str).values.tolist() == part.halts.astype(str).values.tolist()


@SOME
@given(world=worlds(volumes=True), turn=st.randoms(use_true_random=False), **ANY)
def test_the_order_of_columns_changes_nothing(world, turn, risk, costs, safety):
    order = list(range(len(world.bars.symbols)))
    turn.shuffle(order)
    mixed = Bars(world.bars.index, [world.bars.symbols[i] for i in order],
                 **{name: getattr(world.bars, name)[:, order] for name in FIELDS}, interval=world.bars.interval,
                 actions=world.bars.actions)
    options = {"risk": risk, "costs": costs, "safety": safety}
    one, other = run(world.bars, Given(world.targets), **options), run(mixed, Given(world.targets), **options)
    np.testing.assert_array_equal(one.equity.to_numpy(), other.equity.to_numpy())
    assert fills(one) == fills(other)
    assert one.orders.astype(str).values.tolist() == other.orders.astype(str).values.tolist()


def both_ways(world: World, unit: str, tolerance: float | None, **options):
    """The same targets, ready at once and asked for bar by bar."""
    scale = 1.0 if unit == "weight" else 1_000.0
    targets = {s: [None if w is None else scale * w for w in column] for s, column in world.targets.items()}

    def answer(view):
        row = {s: column[view.t] for s, column in targets.items()}
        return {s: NAN if w is None else w for s, w in row.items()}

    ready = run(world.bars, Given(targets, unit=unit, tolerance=tolerance), **options)
    asked = run(world.bars, OnBar(answer, unit=unit, tolerance=tolerance), **options)
    assert fills(ready) == fills(asked)
    np.testing.assert_array_equal(ready.equity.to_numpy(), asked.equity.to_numpy())
    assert ready.orders.astype(str).values.tolist() == asked.orders.astype(str).values.tolist()


UNITS = {"unit": st.sampled_from(["weight", "shares"]), "tolerance": st.sampled_from([None, None, 2.0])}


@SOME
@given(world=worlds(volumes=True), **UNITS, **ANY)
def test_on_bar_does_what_targets_do(world, unit, tolerance, risk, costs, safety):
    both_ways(world, unit, tolerance, risk=risk, costs=costs, safety=safety)


@SOME
@given(world=worlds(volumes=True), **ANY)
def test_on_bar_does_what_targets_do_with_levels(world, risk, costs, safety):
    level = {s: [0.2 if (w or 0.0) >= 0.0 else w for w in column] for s, column in world.targets.items()}
    both_ways(World(world.bars, level, world.seed), "weight", None, risk=risk, costs=costs, safety=safety)


@SOME
@given(world=worlds(), **ANY)
def test_no_entry_exceeds_the_limits_when_it_is_submitted(world, risk, costs, safety):
    result = run(world.bars, Given(world.targets), risk=risk, costs=costs, safety=safety)
    ledger, orders = rebuild(result), result.orders
    taken = orders[(orders["purpose"] == "entry") & (orders["status"] != "rejected")]
    splits = world.bars.actions is not None and (world.bars.actions["type"] == "split").any()
    for time, entries in taken.groupby("decided_time", observed=True):
        t = result.bars.index.get_loc(time)
        room = risk.max_gross_exposure_pct / 100 * ledger.free[t] - ledger.gross[t]
        cost = 0.0
        if splits:  # a resting order is told in new shares
            continue
        for row in entries.itertuples():
            n = result.bars.symbols.index(row.symbol)
            close, held = ledger.closes[t][n], abs(ledger.positions[t][n])
            cost += row.quantity * close * (1.0 if row.side == "buy" else 1.03)
            assert (held + row.quantity) * close <= risk.max_position_pct / 100 * ledger.free[t] * (1 + 1e-9)
        assert cost <= room + 0.01
    if safety is not None:
        dates = taken["decided_time"].dt.date
        assert (taken.groupby(dates).size() <= safety.max_orders_per_day).all()
    for halt in result.halts.itertuples():  # until the session's end, or for good
        same = taken["decided_time"].dt.date == halt.time.date()
        after = (taken["decided_time"] >= halt.time) & (same | (halt.state == "halted"))
        assert not after.any()


@SOME
@given(world=worlds(volumes=True), risk=ANY["risk"], costs=ANY["costs"])
def test_no_position_goes_through_zero(world, risk, costs):
    crosses_no_zero(world, Given(world.targets), risk, costs)


@UNSHRUNK
@given(world=worlds(volumes=True), risk=ANY["risk"], costs=ANY["costs"])
def test_no_position_goes_through_zero_by_named_orders(world, risk, costs):
    crosses_no_zero(world, orders_of(world), risk, costs)


def crosses_no_zero(world: World, strategy, risk: botlib.Risk, costs: botlib.Costs) -> None:
    """From long to short only over a fill that leaves the symbol flat; a cash account is never short."""
    ledger = rebuild(run(world.bars, strategy, risk=risk, costs=costs))
    assert ledger.crossings == 0
    assert ledger.shorts == 0 or risk.account == "margin"


@SOME
@given(world=worlds(actions=False, volumes=True), **ANY)
def test_trades_add_up(world, risk, costs, safety):
    """Closed trades' pnl and open positions at their cost make up the change of equity."""
    result = run(world.bars, Given(world.targets), risk=risk, costs=costs, safety=safety)
    paid = {}  # what was spent on each symbol, costs included
    for row in result.fills.itertuples():
        sign = 1.0 if row.side == "buy" else -1.0
        paid[row.symbol] = paid.get(row.symbol, 0.0) + sign * row.quantity * row.price + row.commission + row.fees
    for symbol, spent in paid.items():
        if result.positions[symbol] == 0.0:
            pnl = result.trades["pnl"][result.trades["symbol"] == symbol].sum()
            assert pnl == pytest.approx(-spent, abs=1e-6)
