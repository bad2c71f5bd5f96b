"""The textbook convention: by hand on a few bars, and against the golden results of the benchmark, trade by trade."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import NEW_YORK, fates, fills, make_bars, run

import botlib
from botlib.strategies import MeanReversionMomentum

BENCH = Path(__file__).resolve().parent / "bench"
RISK = botlib.Risk(max_position_pct=100.0, stop_loss_pct=5.0, take_profit_pct=10.0)
COSTS = botlib.Costs(slippage_bps=2.0, commission_bps=5.0, regulatory_fees=False)

# A decision at 100 for 10 % of 100,000, filled at the open of 100: 100.02 a share, with commission 100.07001;
# floor(10,000 / 100.07001) = 99 shares; stop 100.02 * 0.95 = 95.019, target 100.02 * 1.1 = 110.022.
ENTRY = (1, "A", "buy", 99.0, 100.02)


def textbook(cells, targets, **options):
    return run(make_bars(cells), targets, **({"risk": RISK, "costs": COSTS, "convention": "textbook"} | options))


def leaves(*after, targets=(0.1,)):
    """(bar, price) of what is sold after the entry."""
    rows = fills(textbook({"A": [100, 100, *after]}, {"A": targets}))
    assert rows[0] == pytest.approx(ENTRY)
    return [(f[0], f[4]) for f in rows[1:]]


def test_an_entry_is_sized_at_its_fill_with_commission():
    result = textbook({"A": [100, 100, 100]}, {"A": [0.1]})
    assert fills(result) == [pytest.approx(ENTRY)]
    # 99 * 100.02 = 9,901.98; 5 bps of it 4.95099; marked at 100.
    assert result.equity.tolist() == pytest.approx([100_000.0, 100_000 - 9_901.98 - 4.95099 + 9_900, 99_993.06901])


def test_it_is_sized_from_the_equity_of_the_decision():
    # At the fill of 50 it takes twice the shares: 50.01 * 1.0005 = 50.035005; floor(10,000 / 50.035005) = 199.
    assert fills(textbook({"A": [100, 50, 50]}, {"A": [0.1]}))[0] == pytest.approx((1, "A", "buy", 199.0, 50.01))


@pytest.mark.parametrize(("bar", "sold"), [
    ((99, 101, 95.02, 100), []),
    ((99, 101, 95, 100), [(2, 94.9999962)]),       # 95.019 * 0.9998
    ((90, 99, 89, 95), [(2, 89.982)]),             # the open, slipped
    ((101, 111, 99, 100), [(2, 109.9999956)]),     # 110.022 * 0.9998: here targets slip too
    ((115, 116, 99, 100), [(2, 114.977)]),         # 115 * 0.9998
    ((100, 111, 95, 100), [(2, 94.9999962)]),      # both: the stop
    ((115, 116, 95, 100), [(2, 94.9999962)]),      # the stop even when the open has passed the target
])
def test_legs_from_the_slipped_fill(bar, sold):
    assert leaves(bar) == [pytest.approx(s) for s in sold]


def test_legs_work_from_the_bar_after_the_entry():
    rows = fills(textbook({"A": [100, (100, 115, 90, 100), (100, 100, 95, 96), 96]}, {"A": [0.1]}))
    assert [f[0] for f in rows] == [1, 2]


def test_a_pending_exit_fills_at_the_open_before_any_leg():
    assert leaves((97, 98, 90, 91), targets=(0.1, 0.0)) == [pytest.approx((2, 96.9806))]  # 97 * 0.9998


def test_after_an_exit_an_entry_at_that_close_counts():
    # Sold on bar 2, bought again at the open of bar 3.
    assert [f[0] for f in fills(textbook({"A": [100, 100, (100, 100, 95, 96), 96, 96]}, {"A": [0.1] * 5}))] == [1, 2, 3]


def test_pnl_is_after_both_commissions():
    result = textbook({"A": [100, 100, (90, 99, 89, 95)]}, {"A": [0.1]})
    # 99 * (89.982 - 100.02) = -993.762; 99 * 190.002 * 0.0005 = 9.405099.
    assert result.trades["pnl"].tolist() == [pytest.approx(-993.762 - 9.405099)]
    assert result.trades["costs"].tolist() == [pytest.approx(9.405099)]


def test_an_entry_that_cash_does_not_cover_is_skipped_not_shrunk():
    result = textbook({"B": [100] * 3, "A": [100] * 3}, {"A": [0.6], "B": [0.6]})
    # In the order of columns, not of names: B takes floor(60,000 / 100.07001) = 599; A's 599 cost 59,941.94.
    assert result.positions.to_dict() == {"B": 599.0, "A": 0.0}
    assert [fate[2:] for fate in fates(result, "entry")] == [("filled", ""), ("rejected", "buying power")]


def test_a_skipped_level_target_is_tried_again():
    # B does not fit at the opens of bars 1 and 2; A is stopped out on bar 2.
    result = textbook({"A": [100, 100, (100, 100, 90, 95), 95, 95], "B": [100] * 5}, {"A": [0.6], "B": [0.6] * 5})
    assert [f[:3] for f in fills(result)] == [(1, "A", "buy"), (2, "A", "sell"), (3, "B", "buy")]


def test_an_exit_after_an_increase_that_was_skipped():
    result = textbook({"A": [100] * 7, "B": [50] * 7}, {"A": [0.5, None, 0.9, None, 0.0], "B": [None, 0.45]},
                      risk=botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None))
    assert [f[:3] for f in fills(result)] == [(1, "A", "buy"), (2, "B", "buy"), (5, "A", "sell")]


def test_exits_fill_before_entries_of_the_same_open():
    result = textbook({"A": [100] * 4, "B": [100] * 4}, {"A": [0.9, None, 0.0], "B": [None, None, 0.9]})
    assert [f[:3] for f in fills(result)] == [(1, "A", "buy"), (3, "A", "sell"), (3, "B", "buy")]


def test_a_signal_on_the_last_bar_and_an_open_position_are_no_trades():
    result = textbook({"A": [100, 100, 120], "B": [100, 100, 100]}, {"A": [0.1], "B": [None, None, 0.1]},
                      risk=botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None))
    assert (result.n_trades, len(fills(result))) == (0, 1)
    assert result.equity.iloc[-1] == pytest.approx(100_000 - 9_906.93099 + 99 * 120)


def test_shorts_are_mirrored():
    # Sold at 99.98; floor(10,000 / (99.98 * 1.0005)) = 99; stop 104.979, target 89.982; covered at 104.979 * 1.0002.
    rows = fills(textbook({"A": [100, 100, (104, 105, 89, 100)]}, {"A": [-0.1]}))
    assert rows == [pytest.approx((1, "A", "sell", 99.0, 99.98)), pytest.approx((2, "A", "buy", 99.0, 104.9999958))]


# --- Golden results ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Contestant(MeanReversionMomentum):
    """The benchmark's strategy: thresholds 35 and 65, decisions from bar 200 on."""

    oversold: float = 35.0
    overbought: float = 65.0
    warmup = 200


@pytest.fixture(scope="module")
def played():
    """The result of a workload, played once."""
    spec = importlib.util.spec_from_file_location("golden_bench_data", BENCH / "data.py")
    data = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = data
    spec.loader.exec_module(data)
    results: dict[str, Any] = {}

    def play(workload: str):
        if workload not in results:
            name = {"w1-d": "d1", "w1-real": "real", "w1-m": "m1", "w3": "d500"}[workload]
            made = data.data_set(name)
            index = pd.DatetimeIndex(made["ts"].astype("datetime64[ns]")).tz_localize(NEW_YORK)
            panels = {field: made[field] for field in ("open", "high", "low", "close", "volume")}
            bars = botlib.Bars(index, [str(s) for s in made["syms"]], **panels, interval="1m" if name == "m1" else "1d")
            results[workload] = botlib.backtest(
                bars, Contestant(), risk=botlib.Risk(max_position_pct=10.0), costs=COSTS, safety=None,
                convention="textbook", quiet=True)
        return results[workload], json.loads((BENCH / "golden" / f"{workload}.json").read_text())

    return play


WORKLOADS = ["w1-d", "w1-real", "w1-m", pytest.param("w3", marks=pytest.mark.slow)]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_golden_metrics(played, workload):
    result, golden = played(workload)
    found = result.metrics
    expected = golden["metrics"]
    assert found["trades"] == expected["n_trades"]
    assert found["final_equity"] == pytest.approx(golden["final_equity"], rel=1e-9)
    assert found["total_return_pct"] / 100 == pytest.approx(expected["total_return"], rel=1e-9)
    assert found["sharpe"] == pytest.approx(expected["sharpe"], rel=1e-9)
    assert found["max_drawdown_pct"] / 100 == pytest.approx(expected["max_drawdown"], rel=1e-9)


@pytest.mark.parametrize("workload", WORKLOADS[:3])
def test_every_golden_trade(played, workload):
    result, golden = played(workload)
    columns = ["entry_bar", "exit_bar", "entry_price", "exit_price", "quantity", "pnl"]
    names = ["entry_bar", "exit_bar", "entry_price", "exit_price", "shares", "pnl"]
    expected = [[trade[name] for name in names] for trade in golden["trades"]]
    assert len(expected) == golden["metrics"]["n_trades"]
    np.testing.assert_allclose(result.trades[columns].to_numpy(float), expected, rtol=0, atol=1.1e-6)


@pytest.mark.slow
def test_golden_portfolio(played):
    result, golden = played("w3")
    assert (result.orders["status"] == "rejected").sum() == golden["rejected_entries"]
    names = ("symbol", "entry_bar", "exit_bar", "shares", "entry_price", "exit_price")
    expected = {tuple(float(trade[name]) for name in names) for trade in golden["first_20_trades"]}
    assert len(expected) == 20
    last = max(trade["exit_bar"] for trade in golden["first_20_trades"])
    rows = result.trades[result.trades["exit_bar"] <= last]
    symbols = [result.bars.symbols.index(s) for s in rows["symbol"]]
    found = {tuple(map(float, row)) for row in zip(symbols, rows["entry_bar"], rows["exit_bar"], rows["quantity"],
                                                    rows["entry_price"].round(6), rows["exit_price"].round(6))}
    assert expected <= found  # trades of one bar come in any order, so the twentieth is one of several
    assert {row for row in found if row[2] < last} <= expected
