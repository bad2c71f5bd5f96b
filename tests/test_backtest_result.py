"""`backtest`'s inputs, the tables of its result, and buy-and-hold beside it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from engine_helpers import FREE, NAN, Given, OnBar, days, fates, make_bars, run

import botlib
from botlib import report
from botlib.errors import InputError, StrategyError
from botlib.metrics import METRICS

FLAT = {"A": [100.0] * 4}
WEEK = {"A": [(99, 101, 98, 100), (102, 104, 101, 103), (105, 107, 104, 106), (108, 110, 107, 109)]}


# --- Inputs -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("options", "said"), [
    ({"cash": 0}, "cash = 0"), ({"cash": -1.0}, "cash"), ({"cash": NAN}, "cash"), ({"cash": "1000"}, "cash"),
    ({"cash": True}, "cash"), ({"cash": math.inf}, "cash"),
    ({"convention": "text-book"}, "did you mean 'textbook'"), ({"signal_adjustment": "splits"}, "did you mean 'split'"),
    ({"risk": None}, "risk"), ({"costs": 2.0}, "costs"), ({"safety": {"max_drawdown_pct": 5}}, "safety"),
])
def test_what_it_does_not_take(options, said):
    with pytest.raises(InputError, match=said):
        run(FLAT, {"A": [0.1]}, **options)


def test_bars_must_be_bars():
    with pytest.raises(InputError, match=r"Bars\.from_frame"):
        botlib.backtest(pd.DataFrame({"close": [1.0]}), Given({}))


def test_a_class_is_no_strategy():
    with pytest.raises(InputError, match=r"give an instance: Given\(\)"):
        botlib.backtest(make_bars(FLAT), Given)


class Answers:
    unit, warmup = "weight", 0

    def __init__(self, answer, **changes) -> None:
        self.answer = answer
        vars(self).update(changes)

    def targets(self, bars):
        return self.answer(bars) if callable(self.answer) else self.answer


@pytest.mark.parametrize("answer", [
    None, 0.1, np.zeros((3, 1)), np.zeros((4, 2)), np.full((4, 1), np.inf), np.zeros((4, 1), bool),
    np.full((4, 1), "a"),
    lambda bars: pd.DataFrame(0.1, index=bars.index, columns=["B"]),
    lambda bars: pd.DataFrame(0.1, index=bars.index[1:], columns=["A"]),
    lambda bars: 1 / 0,
    lambda bars: bars.no_such_thing,
])
def test_what_a_strategy_may_not_answer(answer):
    with pytest.raises(StrategyError, match=r"Answers\.targets"):
        run(FLAT, Answers(answer))


@pytest.mark.parametrize("answer", [
    np.full((4, 1), 0.1), np.full(4, 0.1), [[0.1]] * 4, lambda bars: pd.DataFrame({"A": 0.1}, index=bars.index[::-1]),
    lambda bars: pd.Series(0.1, index=bars.index), np.full((4, 1), 0.1, np.float32),
])
def test_what_a_strategy_may_answer(answer):
    result = run(FLAT, Answers(answer))
    assert result.positions["A"] == 100.0


@pytest.mark.parametrize("warmup", [-1, 1.5, True, None, "10"])
def test_a_warm_up_is_a_number_of_bars(warmup):
    with pytest.raises(StrategyError, match="warmup"):
        run(FLAT, Answers(np.full((4, 1), 0.1), warmup=warmup))


def test_neither_targets_nor_on_bar():
    class Nothing:
        unit, warmup = "weight", 0

    with pytest.raises(StrategyError, match="neither"):
        run(FLAT, Nothing())


def test_a_strategy_cannot_change_the_bars():
    def answer(bars):
        bars.close[0, 0] = 1.0

    with pytest.raises(StrategyError, match="read-only"):
        run(FLAT, Answers(answer))


# --- Tables -----------------------------------------------------------------------------------------------------------

def test_trades_have_the_documented_columns():
    result = run(WEEK, {"A": [0.1, None, 0.0]}, costs=FREE.model_copy(update={"commission_bps": 5.0}))
    assert result.trades.columns.tolist() == [
        "symbol", "side", "quantity", "entry_time", "exit_time", "entry_bar", "exit_bar", "entry_price", "exit_price",
        "pnl", "costs", "slippage", "return_pct", "bars_held", "exit_reason"]
    # 600 less 5.10 and 5.40, on 10,200 paid.
    assert result.trades["return_pct"].tolist() == pytest.approx([589.5 / 102.0])
    assert result.n_trades == len(result.trades) == 1


def test_every_table_and_column_is_documented():
    told = botlib.BacktestResult.__doc__
    result = run(WEEK, {"A": [0.1, None, 0.0]})
    for table in (result.trades, result.orders, result.fills, result.halts):
        assert [name for name in table.columns if name not in told] == []


def test_costs_and_slippage_of_the_trades_are_the_costs_paid():
    costs = FREE.model_copy(update={"commission_bps": 5.0, "slippage_bps": 10.0})
    result = run({"A": [100, 100, 110, 110]}, {"A": [0.1, 0.0]}, costs=costs)
    # 100 shares at 100.10 and 109.89: 10 + 11 dollars of slippage; commission 5.005 and 5.4945, up to the cent.
    assert result.trades["slippage"].tolist() == pytest.approx([21.0])
    assert result.trades["costs"].tolist() == pytest.approx([5.01 + 5.50])
    assert result.metrics["costs_paid"] == pytest.approx(31.51)


def test_a_trade_in_parts_shares_its_slippage():
    costs = FREE.model_copy(update={"slippage_bps": 100.0})
    result = run({"A": [100.0] * 5}, {"A": [0.1, 0.05, None, 0.0]}, costs=costs, cash=100_000.0)
    # 100 shares bought at 101; half of what equity then is sold at 99, the rest later: 1 dollar a share each way.
    assert result.trades["slippage"].tolist() == pytest.approx((2.0 * result.trades["quantity"]).tolist())
    assert result.trades["slippage"].sum() == pytest.approx(200.0) and len(result.trades) == 2


def test_orders_and_fills_belong_together():
    result = run(WEEK, {"A": [0.1, None, 0.0]})
    assert result.orders["decided_time"].tolist() == [days(4)[0], days(4)[2]]
    assert result.fills["time"].tolist() == [days(4)[1], days(4)[3]]
    assert result.fills["side"].tolist() == ["buy", "sell"]
    assert result.orders["side"].iloc[result.fills["order"]].tolist() == ["buy", "sell"]
    assert result.fills["at_open"].tolist() == [True, True]


def test_trades_come_in_the_order_of_their_exits():
    cells = {"A": [100.0] * 6, "B": [100.0] * 6}
    result = run(cells, {"A": [0.1, None, None, 0.0], "B": [None, 0.1, 0.0]})
    assert result.trades["symbol"].tolist() == ["B", "A"]


def test_equity_and_exposure_are_labelled_with_the_bars():
    result = run(WEEK, {"A": [0.1, None, 0.0]})
    assert result.equity.index.equals(days(4)) and result.exposure.index.equals(days(4))
    # 10,300 of 100,100 and 10,600 of 100,400.
    assert result.exposure.tolist() == pytest.approx([0.0, 10_300 / 100_100, 10_600 / 100_400, 0.0])


def test_an_empty_run_has_empty_tables():
    result = run(FLAT, {})
    assert (len(result.trades), len(result.orders), len(result.fills), len(result.halts)) == (0, 0, 0, 0)
    assert result.equity.tolist() == [100_000.0] * 4
    assert result.metrics["trades"] == 0 and math.isnan(result.metrics["win_rate_pct"])


def test_metrics_of_a_round_trip():
    result = run(WEEK, {"A": [0.1, None, 0.0]}, costs=FREE.model_copy(update={"commission_bps": 5.0}))
    figures = result.metrics
    assert tuple(figures) == METRICS
    assert figures["final_equity"] == pytest.approx(100_589.5)
    assert figures["total_return_pct"] == pytest.approx(0.5895)
    assert (figures["trades"], figures["win_rate_pct"], figures["average_trade"]) == (1, 100.0, pytest.approx(589.5))
    assert figures["costs_paid"] == pytest.approx(10.5)


def test_what_was_asked_is_kept():
    risk, costs = botlib.Risk(max_position_pct=20.0), botlib.Costs(slippage_bps=7.0)
    result = run(WEEK, {"A": [0.1]}, risk=risk, costs=costs, cash=50_000.0, signal_adjustment="raw")
    assert (result.risk, result.costs, result.safety, result.cash) == (risk, costs, None, 50_000.0)
    assert (result.convention, result.signal_adjustment) == ("broker", "raw")


def test_many_orders_find_room():
    """More orders, fills and lots than the engine starts with room for."""
    count = 1_500
    weights = [0.4 if t % 2 else 0.2 for t in range(count)]
    result = run({"A": [100.0] * count, "B": [50.0] * count}, {"A": weights, "B": weights[::-1]},
                 risk=botlib.Risk(max_position_pct=100.0))
    # Every close but the last changes both sizes.
    assert len(result.fills) == 2 * (count - 1)
    assert result.equity.iloc[-1] == pytest.approx(100_000.0)


def test_many_symbols_find_room():
    names = [f"S{i:03d}" for i in range(300)]
    result = run({s: [10.0] * 6 for s in names}, {s: [0.003, None, None, 0.0] for s in names},
                 risk=botlib.Risk(max_position_pct=1.0))
    assert len(result.trades) == 300  # 30 shares each: 300 of 100,000 / 10


# --- Buy and hold -----------------------------------------------------------------------------------------------------

def held(cells, targets=None, *, warmup=0, actions=None, **options):
    bars = make_bars(cells, actions=actions)
    return run(bars, Given(targets or {}, warmup=warmup), **options).benchmark


def test_equal_dollars_at_the_first_open_the_strategy_could_have_used():
    # Bar 1: 50,000 in A at 100 and in B at 50. Bar 3: 500 * 121 + 1,000 * 50.
    benchmark = held({"A": [80, 100, 110, 121], "B": [60, 50, 50, 50]})
    assert benchmark.equity.tolist() == pytest.approx([100_000, 100_000, 105_000, 110_500])
    assert benchmark.metrics["total_return_pct"] == pytest.approx(10.5)
    assert tuple(benchmark.metrics) == METRICS


def test_it_waits_for_the_warm_up():
    # Decided at bar 2, bought at the open of bar 3.
    benchmark = held({"A": [100, 100, 100, (200, 210, 190, 210)]}, warmup=2)
    assert benchmark.equity.tolist() == pytest.approx([100_000, 100_000, 100_000, 105_000])


def test_it_pays_commission_and_slippage():
    costs = botlib.Costs(slippage_bps=10.0, commission_bps=5.0, regulatory_fees=False)
    benchmark = held({"A": [100.0] * 3}, costs=costs)
    # 100,000 / (100.10 * 1.0005) = 998.5017 shares, worth 99,850.17; the commission, 49.975, is rounded up to the cent.
    assert benchmark.equity.iloc[-1] == pytest.approx(100_000 / (1.001 * 1.0005), abs=0.006)
    assert benchmark.metrics["costs_paid"] == pytest.approx(149.83, abs=0.001)


def test_it_pays_the_commissions_minimum_and_the_impact():
    # 10 dollars at 1 bps, but at least 25; 99,975 buy 999.75 shares at 100.
    least = FREE.model_copy(update={"commission_bps": 1.0, "commission_min": 25.0})
    benchmark = held({"A": [100.0] * 3}, costs=least)
    assert benchmark.equity.iloc[-1] == pytest.approx(99_975.0)
    assert benchmark.metrics["costs_paid"] == pytest.approx(25.0)
    # 800 of the 1,000 shares of the bar: 3,906.25 bps * 0.64 = 25 %, so each costs 125.
    impact = FREE.model_copy(update={"volume_impact_bps": 3_906.25})
    benchmark = held({"A": [(100, 100, 100, 100, 1_000)] * 3}, costs=impact)
    assert benchmark.equity.iloc[-1] == pytest.approx(80_000.0, abs=0.1)
    assert benchmark.metrics["costs_paid"] == pytest.approx(20_000.0, abs=0.1)


def test_it_pays_the_fee_on_purchases():
    # On 2026-05-04 the CAT fee was $0.000003 a share: a cent, rounded up, for 1,000 shares.
    bars = make_bars({"A": [100.0] * 3}, days(3, "2026-05-04"))
    benchmark = run(bars, {}, costs=FREE.model_copy(update={"regulatory_fees": True})).benchmark
    assert benchmark.metrics["costs_paid"] == pytest.approx(0.01, abs=1e-6)
    assert benchmark.equity.iloc[-1] == pytest.approx(99_999.99)


def test_what_does_not_pay_for_its_commission_stays_cash():
    costs = FREE.model_copy(update={"commission_min": 100.0})
    benchmark = held({"A": [100.0, 100.0, 50.0]}, costs=costs, cash=90.0)
    assert benchmark.equity.tolist() == [90.0] * 3 and benchmark.metrics["costs_paid"] == 0.0


def test_it_holds_through_splits_and_keeps_dividends():
    actions = [("A", "2024-03-06", "split", 2.0), ("A", "2024-03-07", "cash_dividend", 1.0)]
    # 1,000 at 100; 2,000 at 50; 2,000 in cash.
    benchmark = held({"A": [100, 100, 50, 49, 49]}, actions=actions)
    assert benchmark.equity.tolist() == pytest.approx([100_000] * 5)


def test_an_ex_date_on_the_day_of_the_purchase_is_not_its():
    benchmark = held({"A": [100, 99, 99]}, actions=[("A", "2024-03-05", "cash_dividend", 1.0)])
    assert benchmark.equity.tolist() == pytest.approx([100_000] * 3)


def test_a_later_listing_is_cash_until_then_and_an_ended_one_keeps_its_last_close():
    benchmark = held({"A": [100, 100, 120, None, None], "B": [None, None, None, 50, 55]})
    # 500 A at 100, at 120 from bar 2 on; 1,000 B at 50 from bar 3 on, at 55 on bar 4.
    assert benchmark.equity.tolist() == pytest.approx([100_000, 100_000, 110_000, 110_000, 115_000])


def test_results_show_themselves_in_a_line_and_as_a_table():
    # 100 shares from bar 1 to bar 3, bought at 100, sold at 110; buy and hold: 1,000 shares from the first open after
    # the warm-up on, 100 to 121.
    result = run({"A": [100, 100, 105, 110, 121]}, {"A": [0.1, None, 0.0]})
    assert repr(result) == "<BacktestResult Given on 1 symbol, 2024-03-04 to 2024-03-08: 1.00 %, 1 trade>"
    assert repr(result.benchmark) == "<Benchmark buy and hold, 2024-03-04 to 2024-03-08: 21.00 %>"
    page, held = result._repr_html_(), result.benchmark._repr_html_()
    for text in ("Strategy", "Buy and hold", "$101,000", "$121,000", "1.0 %", "21.0 %"):
        assert text in page
    assert "Strategy" not in held and "$121,000" in held
    assert "<BacktestResult" not in page


def test_a_halt_is_told_in_the_line():
    # 1,000 shares at 100; the close of bar 2 is 6 % below the peak.
    limits = botlib.SafetyControls(max_drawdown_pct=5.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0)
    result = run({"A": [100, 100, 94, 94]}, {"A": [1.0]}, safety=limits)
    assert repr(result).endswith(": -6.00 %, 0 trades; trading halted on 2024-03-06 by max_drawdown_pct>")
    assert "trading halted on 2024-03-06" in result._repr_html_()
    daily = limits.model_copy(update={"max_drawdown_pct": 90.0, "max_daily_loss_pct": 5.0})
    result = run({"A": [100, 100, 94, 88]}, {"A": [1.0]}, safety=daily)
    assert repr(result).endswith("; only exits on 2024-03-06 by max_daily_loss_pct and 1 other halt>")


# --- Where the money comes from ---------------------------------------------------------------------------------------

def test_gain_and_loss_add_up():
    # A: 100 shares, in at 100, out at 110, 10 and 11 dollars of commission (10 bps). B: 100 shares at 100, with 10
    # dollars, still held at 104, dividend of 1 on bar 3.
    bars = make_bars({"A": [100, 100, 110, 110, 110], "B": [100, 100, 100, 101, 104]},
                     actions=[("B", "2024-03-07", "cash_dividend", 1.0)])
    result = run(bars, {"A": [0.1, 0.0], "B": [0.1]}, costs=FREE.model_copy(update={"commission_bps": 10.0}))
    assert dict(result.profit) == pytest.approx({"closed_trades": 979.0, "open_positions": 390.0, "dividends": 100.0,
                                                 "interest": 0.0, "split_cash": 0.0, "total": 1_469.0})
    table = report.profit_table(result)
    assert table.to_numpy().tolist() == [
        ["1 closed trade, after costs", "+$979.00"], ["1 open position, at the last close", "+$390.00"],
        ["Dividends", "+$100.00"], ["In all: +1.47 % of $100,000", "+$1,469.00"]]


def test_interest_and_parts_of_shares_are_sources_too():
    # 101 shares at 100 (10,100 of 100,000); a 3 for 2 split on bar 2 gives 151.5, half a share is paid out at
    # 66.666667 and cost as much; 151 at 70 then gain 151 * 3.3333 = 503.33.
    bars = make_bars({"A": [100, 100, 70, 70]}, actions=[("A", "2024-03-06", "split", 1.5)])
    profit = run(bars, Given({"A": [101.0]}, unit="shares")).profit
    assert profit["open_positions"] == pytest.approx(151 * (70 - 200 / 3))
    assert profit["split_cash"] == pytest.approx(0.0, abs=1e-6)
    assert profit["total"] == pytest.approx(151 * (70 - 200 / 3))
    # The close before the split is 106: the half share is paid out at 70.666667, 2 dollars more than it cost in full.
    bars = make_bars({"A": [100, (100, 106, 100, 106), 70, 70]}, actions=[("A", "2024-03-06", "split", 1.5)])
    profit = run(bars, Given({"A": [101.0]}, unit="shares")).profit
    assert profit["split_cash"] == pytest.approx(0.5 * (212 / 3 - 200 / 3))
    # 20,000 short at 3.6 % a year: 2 dollars a night; from bar 1 to bar 3 there are two.
    costs = FREE.model_copy(update={"borrow_rate_pct": 3.6})
    profit = run({"A": [100.0] * 4}, {"A": [-0.2]}, costs=costs).profit
    assert profit["interest"] == pytest.approx(-4.0) and profit["total"] == pytest.approx(-4.0)


# --- Refused orders ---------------------------------------------------------------------------------------------------

def test_refused_entries_are_told_by_reason():
    # A takes 60,000; of the 40,000 left B's 60,000 are refused on bars 0 and 1, and C's half share on bar 0.
    cells = {"A": [100.0] * 3, "B": [100.0] * 3, "C": [2_000.0] * 3}
    result = run(cells, {"A": [0.6], "B": [0.6, 0.6], "C": [0.0005]})
    assert result.warnings == ["orders-refused: 3 of 4 entries were refused: 2 buying power (B, 2024-03-04 to "
                               "2024-03-05); 1 below one share (C, 2024-03-04). Each stands in result.orders."]


def test_one_reason_needs_no_count_and_many_symbols_are_counted():
    cells = {name: [2_000.0] * 3 for name in "ABCDEFG"}
    strategy = {name: [0.0005] for name in "ABCDEFG"}
    with pytest.warns(botlib.errors.BotlibWarning) as said:
        result = run(cells, strategy, quiet=False)
    assert result.warnings == ["orders-refused: 7 of 7 entries were refused: below one share (A, B, C, D, E and 2 "
                               "more, 2024-03-04). Each stands in result.orders."]
    assert [str(w.message) for w in said] == result.warnings
    assert report.warnings_table(result)["Warning"].tolist() == ["orders-refused"]


def test_refused_exits_are_told_apart():
    result = run({"A": [100.0] * 4}, OnBar({0: botlib.buy("A", 10), 2: botlib.sell("A", 11)}))
    assert result.warnings == ["orders-refused: 1 of 1 exit was refused: held for orders (A, 2024-03-06). Each stands "
                               "in result.orders."]


def test_refusals_by_a_halt_are_told_by_the_halt():
    limits = botlib.SafetyControls(max_drawdown_pct=5.0, max_daily_loss_pct=50.0, max_position_size_pct=100.0)
    result = run({"A": [100, 100, 94, 94, 94], "B": [100.0] * 5}, {"A": [0.9], "B": [None, None, None, 0.01]},
                 safety=limits)
    assert ("entry", 9.0, "rejected", "halted") in fates(result)
    assert result.warnings == []
