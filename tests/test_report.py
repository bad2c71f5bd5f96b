"""Report: what tables say and figures draw, on a small result whose numbers are known."""

import dataclasses
import subprocess
import sys
import types

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, QuadMesh

from botlib import report, style, wording
from botlib.backtesting import backtest
from botlib.bars import Bars
from botlib.errors import InputError
from botlib.honesty import Honesty
from botlib.metrics import METRICS
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls
from botlib.strategies.moving_average_cross import MovingAverageCross
from botlib.trade_figures import return_bins

DAYS = pd.bdate_range("2010-01-04", periods=90, tz="America/New_York")
TRADES = ("symbol", "side", "quantity", "entry_time", "exit_time", "entry_bar", "exit_bar", "entry_price", "exit_price",
          "pnl", "costs", "return_pct", "bars_held", "exit_reason")
PROFIT = ("closed_trades", "open_positions", "dividends", "interest", "split_cash", "total")
HALTS = ("time", "limit", "value_pct", "limit_pct", "state")
SPLIT = pd.DataFrame({"symbol": ["BBB"], "ex_date": [pd.Timestamp("2010-02-01")], "type": ["split"], "value": [2.0],
                      "pay_date": [pd.NaT]})


@dataclasses.dataclass(frozen=True)
class Crossing:
    fast: int = dataclasses.field(default=20, metadata={"help": "bars of the fast average"})


def bars_of(index=DAYS, symbols=("AAA", "BBB"), interval="1d", actions=None):
    walk = np.random.default_rng(7).normal(0.0, 0.01, (len(index), len(symbols)))
    close = 50.0 * np.exp(np.cumsum(walk, axis=0))
    if actions is not None:
        close[index < pd.Timestamp("2010-02-01", tz="America/New_York"), 1] *= 2.0
    return Bars(index, symbols, open=close, high=close * 1.01, low=close * 0.99, close=close, volume=close * 1e4,
                interval=interval, calendar="XNYS", actions=actions)


def trade(index, symbol, entry, exit_, pnl, reason, side="long", prices=(100.0, 110.0)):
    return (symbol, side, 100.0, index[entry], index[exit_], entry, exit_, *prices, pnl, 1.5,
            pnl / (prices[0] * 100.0) * 100.0, exit_ - entry, reason)


def result_of(bars=None, trades=(), equity=None, halts=(), safety=None, benchmark=True, metrics=()):
    bars = bars_of() if bars is None else bars
    index = bars.index
    equity = np.linspace(1e5, 1.1e5, len(index)) if equity is None else np.asarray(equity, dtype=np.float64)
    rows = [trade(index, *t[:-1], **t[-1]) if isinstance(t[-1], dict) else trade(index, *t) for t in trades]
    held = types.SimpleNamespace(equity=pd.Series(np.linspace(1e5, 1.3e5, len(index)), index),
                                 metrics=dict.fromkeys(METRICS, np.nan) | {"max_drawdown_pct": -12.0})
    return types.SimpleNamespace(
        bars=bars, strategy=Crossing(), cash=100_000.0, risk=Risk(), costs=Costs(), safety=safety, convention="broker",
        signal_adjustment="split", equity=pd.Series(equity, index), warnings=["weights-clipped: three were cut."],
        metrics=dict.fromkeys(METRICS, 1.0) | dict(metrics), benchmark=held if benchmark else None,
        trades=pd.DataFrame(rows, columns=list(TRADES)).astype({"symbol": "category", "exit_reason": "category"}),
        n_trades=len(rows), profit=dict.fromkeys(PROFIT, 0.0) | {"closed_trades": 1_010.0, "total": 1_010.0},
        halts=pd.DataFrame(list(halts), columns=list(HALTS)), positions=pd.Series(0.0, index=list(bars.symbols)))


SOME = [("AAA", 5, 9, 300.0, "target"), ("AAA", 20, 30, -150.0, "stop"), ("BBB", 12, 40, 900.0, "signal"),
        ("AAA", 60, 70, -40.0, "signal", {"side": "short"})]


# --- Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "text"), [
    (wording.percent(-12.345), "−12.3 %"), (wording.percent(3.0, sign=True, digits=0), "+3 %"),
    (wording.percent(-0.04), "0.0 %"), (wording.percent(0.2, digits=0), "0 %"), (wording.percent(1234.5), "1,234.5 %"),
    (wording.percent(float("nan")), "–"), (wording.percent(float("inf")), "–"),
    (wording.money(-1234.567, digits=2), "−$1,234.57"), (wording.money(1234.5, sign=True), "+$1,234"),
    (wording.money(-0.2), "$0"), (wording.money(float("nan")), "–"),
    (wording.plural(1, "trade"), "1 trade"), (wording.plural(1698, "trade"), "1,698 trades"),
    (wording.limit_label("max_daily_loss_pct"), "Daily loss"), (wording.interval_label("15m"), "15-minute bars"),
    (wording.typeset("-5 % from -$3 (-0.5) on 2010-05-20, give-up"), "−5 % from −$3 (−0.5) on 2010-05-20, give-up"),
])
def test_how_numbers_are_written(written, text):
    assert written == text


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_summary_writes_units_and_a_dash_where_there_is_no_figure():
    table = report.summary(result_of(metrics={
        "total_return_pct": -6.482, "sharpe": 1.234, "max_drawdown_days": 1111.0, "trades": 1698.0,
        "profit_factor": float("nan"), "average_trade": -720.234, "final_equity": 93_517.894}))
    assert list(table.columns) == ["Strategy", "Buy and hold"] and len(table) == len(METRICS)
    expected = {"Total return": "−6.5 %", "Sharpe ratio": "1.23", "Maximum drawdown, length": "1,111 days",
                "Closed trades": "1,698", "Profit factor": "–", "Average trade": "−$720.23",
                "Final account value": "$93,517.89"}
    assert table["Strategy"][list(expected)].to_dict() == expected
    assert table.loc["Maximum drawdown", "Buy and hold"] == "−12.0 %"
    assert table.loc["Sharpe ratio", "Buy and hold"] == "–"


def test_summary_without_a_benchmark():
    assert list(report.summary(result_of(benchmark=False)).columns) == ["Strategy"]


def test_settings_use_the_names_of_the_parameter_files():
    table = report.settings_table(result_of(safety=SafetyControls(max_drawdown_pct=7.5)))
    value = table["Value"]
    assert value["data", "symbols"] == "AAA, BBB" and value["account", "cash"] == "$100,000"
    assert value["strategy", "name"] == "Crossing" and value["strategy", "fast"] == "20"
    assert table.loc[("strategy", "fast"), "Meaning"] == "bars of the fast average"
    assert value["risk", "stop_loss_pct"] == "5 %" and value["costs", "slippage_bps"] == "2 bps"
    assert value["costs", "max_participation_pct"] == "none" and value["risk", "fractional"] == "no"
    assert value["safety", "max_drawdown_pct"] == "7.5 %"
    for section, model in (("risk", Risk), ("costs", Costs), ("safety", SafetyControls)):
        assert list(table.loc[section].index) == list(model.model_fields)


def test_settings_show_that_limits_were_switched_off():
    table = report.settings_table(result_of(safety=None))
    assert table.loc["safety"].to_numpy().tolist() == [["none", "run without safety limits, by explicit choice"]]


def test_halts_name_date_and_limit():
    halts = [(DAYS[10], "max_daily_loss_pct", 2.125, 2.0, "reduce-only"),
             (DAYS[20], "max_drawdown_pct", 5.02, 5.0, "halted")]
    table = report.halts_table(result_of(halts=halts))
    assert table.to_numpy().tolist() == [
        ["2010-01-18", "Daily loss", "2.12 %", "2.00 %", "only exits until the next session"],
        ["2010-02-01", "Drawdown", "5.02 %", "5.00 %", "trading halted"]]
    assert len(report.halts_table(result_of())) == 0


def test_the_largest_trades_in_order_of_exit():
    table = report.trades_table(result_of(trades=SOME), 2)
    assert table[["Symbol", "P&L", "Exit by"]].to_numpy().tolist() == [["AAA", "+$300.00", "target"],
                                                                       ["BBB", "+$900.00", "signal"]]
    assert table.loc[0, ["Entry", "Exit", "Entry price", "Return", "Bars held"]].tolist() == [
        "2010-01-11", "2010-01-15", "$100.00", "+3.00 %", "4"]
    assert len(report.trades_table(result_of(trades=SOME), 99)) == 4 and len(report.trades_table(result_of())) == 0
    with pytest.raises(InputError, match="n = 0 is out of range: valid is a whole number of at least 1"):
        report.trades_table(result_of(), 0)


def test_a_table_says_what_it_leaves_out():
    table = report.trades_table(result_of(trades=SOME), 2)
    assert "The 2 of 4 trades with the largest gain or loss, in order of exit" in table._repr_html_()
    assert repr(table).startswith("The 2 of 4 trades")
    assert "of 4 trades" not in report.trades_table(result_of(trades=SOME), 4)._repr_html_()


def test_a_table_without_rows_says_so():
    result = result_of(bars_of(actions=SPLIT.iloc[:0]))
    result.warnings.clear()
    for make, words in ((report.trades_table, "No closed trade."), (report.halts_table, "No safety limit acted."),
                        (report.warnings_table, "No warnings.")):
        assert make(result)._repr_html_() == f"<p>{words}</p>" and repr(make(result)) == words
    assert repr(report.findings_table(result.bars)) == "No findings."
    assert repr(report.actions_table(result.bars)) == "No splits, no dividends."
    assert repr(report.actions_table(bars_of())) == "Splits and dividends are not known."


def test_actions_are_listed_within_the_bars():
    rows = [("BBB", "2010-02-01", "split", 2.0), ("BBB", "2010-01-20", "split", 1.5),
            ("BBB", "2009-06-01", "split", 3.0), ("AAA", "2010-03-01", "cash_dividend", 0.25),
            ("AAA", "2010-04-01", "cash_dividend", 0.2625), ("AAA", "2010-02-15", "split", 0.1)]
    actions = pd.DataFrame(rows, columns=["symbol", "ex_date", "type", "value"])
    actions["ex_date"], actions["pay_date"] = pd.to_datetime(actions["ex_date"]), pd.NaT
    table = report.actions_table(bars_of(actions=actions))
    assert table.to_numpy().tolist() == [
        ["AAA", "1 for 10 on 2010-02-15", "2", "$0.2625 a share on 2010-04-01"],
        ["BBB", "3 for 2 on 2010-01-20, 2 for 1 on 2010-02-01", "0", ""]]


def test_quantiles_in_words():
    table = pd.DataFrame({"signal_from": [-10.466], "signal_to": [3.0], "mean_return_pct": [-0.456],
                          "standard_error_pct": [0.5], "median_return_pct": [0.25], "positive_pct": [53.51],
                          "observations": [2407]}, index=[1])
    shown = report.quantiles_table(table, 10)
    assert shown.to_numpy().tolist() == [["1", "−10.47", "3.00", "−0.46 %", "0.50 %", "+0.25 %", "53.5 %", "2,407"]]
    assert "next 10 bars" in shown._repr_html_()


def test_quantiles_read_the_same_in_table_and_figure():
    # The narrower range, 0.0042, needs 1 - (-3) = 4 decimals.
    table = pd.DataFrame({"signal_from": [-6.6874, 0.0012], "signal_to": [0.0012, 0.0054], "mean_return_pct": 0.1,
                          "standard_error_pct": 0.5, "median_return_pct": 0.2, "positive_pct": 50.0,
                          "observations": 10}, index=[1, 2])
    shown = report.quantiles_table(table, 10)
    assert shown[["Signal from", "to"]].to_numpy().tolist() == [["−6.6874", "0.0012"], ["0.0012", "0.0054"]]
    ax = report.quantile_figure(table, "RSI", 10).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1\n−6.6874 to 0.0012", "2\n0.0012 to 0.0054"]


def test_the_cost_figure_spans_its_data():
    costs = pd.DataFrame({"slippage_bps": [0.0, 1.0, 2.0, 100.0], "total_return_pct": [3.0, 2.0, 1.0, -5.0]})
    honesty = Honesty((), costs, 30.0)
    ax = report.cost_figure(honesty, result_of()).axes[0]
    low, high = ax.get_xlim()
    assert -0.5 < low < 0.0 and 100.0 < high < 200.0
    assert ax.get_title(loc="left") == "Slippage of 30.0 bps takes the edge"


@pytest.mark.parametrize(("colour", "ink"), [((1, 1, 1), style.INK), ((0, 0, 0), "white"),
                                             ((0.0, 0.447, 0.698), "white"), ((0.965, 0.965, 0.965), style.INK)])
def test_ink_stands_out_from_what_is_under_it(colour, ink):
    assert style.ink_on(colour) == ink


# --- Account figures --------------------------------------------------------------------------------------------------


def texts(ax):
    return [t.get_text() for t in ax.texts] + [ax.get_title(loc="left")]


def test_equity_figure_draws_the_account_and_its_fall():
    equity = np.r_[np.full(30, 1e5), np.full(30, 9e4), np.full(30, 1.01e5)]
    top, under = report.equity_figure(result_of(equity=equity, metrics={"max_drawdown_days": 42.0})).axes
    drawn = [line.get_ydata() for line in top.lines]
    assert any(np.array_equal(y, equity) for y in drawn) and any(y[-1] == 130_000.0 for y in drawn)
    assert top.get_title(loc="left") == "Crossing: $100,000 became $101,000 (+1.0 %)"
    assert min(under.lines[0].get_ydata()) == pytest.approx(-10.0)
    assert "Deepest fall −10.0 % on 2010-02-15, back at its peak after 42 days; buy and hold −12.0 %" in texts(under)
    assert (top.get_ylabel(), under.get_ylabel()) == ("Account value ($)", "Below peak (%)")
    assert "Buy and hold\n+30.0 %" in texts(top)


def test_equity_figure_turns_logarithmic_when_one_curve_would_look_flat():
    wide = report.equity_figure(result_of(equity=np.linspace(1e5, 6e5, 90))).axes[0]
    assert wide.get_yscale() == "log" and wide.get_ylabel() == "Account value ($, log)"
    assert report.equity_figure(result_of(equity=np.linspace(1e5, 3e5, 90))).axes[0].get_yscale() == "linear"


def test_buy_and_hold_gets_a_panel_of_its_own_before_it_flattens_the_strategy():
    quiet = np.linspace(1e5, 1.01e5, 90)  # 1 % beside 30 %
    top, beside, under = report.equity_figure(result_of(equity=quiet)).axes
    assert len(top.lines) == 1 and top.get_ylim()[1] < 102_000.0
    assert {line.get_ydata()[-1] for line in beside.lines} == {quiet[-1], 130_000.0}
    assert len(report.equity_figure(result_of(equity=np.linspace(1e5, 1.2e5, 90))).axes) == 2
    assert len(report.equity_figure(result_of(equity=quiet, benchmark=False)).axes) == 2


def test_equity_figure_names_the_kill_and_counts_the_rest():
    halts = [(DAYS[10], "max_daily_loss_pct", 2.2, 2.0, "reduce-only"),
             (DAYS[20], "max_drawdown_pct", 5.04, 5.0, "halted")]
    equity = np.r_[np.full(20, 1e5), np.full(70, 94_960.0)]
    top, *_, under = report.equity_figure(result_of(equity=equity, halts=halts, safety=SafetyControls())).axes
    said = "Drawdown 5.0 % reached its limit of 5.0 %\non 2010-02-01: trading halted\n1 other halt"
    assert said in texts(top) and "Limit\n−5 %" in texts(under)
    assert "not back at its peak" in under.get_title(loc="left")


def test_equity_without_limits_is_drawn_beside():
    free = pd.Series(np.linspace(1e5, 1.4e5, 90), DAYS)
    top = report.equity_figure(result_of(), without_limits=free).axes[0]
    assert "Without limits\n+40.0 %" in texts(top) and any(line.get_ydata()[-1] == 1.4e5 for line in top.lines)


def test_equity_without_limits_is_left_out_where_none_acted():
    top = report.equity_figure(result_of(), without_limits=result_of().equity).axes[0]
    assert not any("Without limits" in text for text in texts(top))


def test_monthly_returns_by_hand():
    days = ["2010-11-30", "2010-12-15", "2010-12-31", "2011-02-01", "2011-02-28"]
    equity = pd.Series([100.0, 105.0, 110.0, 88.0, 99.0], pd.DatetimeIndex(days, tz="America/New_York"))
    table = report.monthly_returns(equity)
    assert table.loc[2010, [11, 12, "year"]].to_numpy() == pytest.approx([0.0, 10.0, 10.0])
    assert table.loc[2011, [2, "year"]].to_numpy() == pytest.approx([-10.0, -10.0])
    assert table[1].isna().all() and table.shape == (2, 13)


def test_monthly_figure_writes_each_month_and_year():
    index = pd.DatetimeIndex(["2010-11-30", "2010-12-31", "2011-01-31", "2011-02-28"], tz="America/New_York")
    ax = report.monthly_figure(result_of(bars_of(index), equity=[100.0, 110.0, 99.0, 198.0])).axes[0]
    cells = [t.get_text() for t in ax.texts]
    assert cells.count("10.0") == 3  # December, 2010, and 2010 of buy and hold, which goes 100 110 120 130
    assert {"−10.0", "100.0", "80.0"} <= set(cells)  # 0.9 x 2 = 1.8 in 2011
    assert ax.get_title(loc="left") == "Monthly returns in percent: 2 of 4 months up"
    assert "Best +100.0 % in Feb 2011; worst −10.0 % in Jan 2011" in cells
    mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
    assert mesh.get_array().count() == 4  # the other 20 cells stay empty


# --- Trade figures ----------------------------------------------------------------------------------------------------


def marks(figure):
    """Label -> (prices, colour) of each kind of mark."""
    return {c.get_label(): (c.get_offsets()[:, 1].tolist(), mpl.colors.to_hex(c.get_facecolor()[0]))
            for c in figure.axes[0].collections if isinstance(c, PathCollection)}


def test_trades_figure_marks_fills_by_reason():
    trades = [*SOME, ("AAA", 80, 85, 10.0, "target", {"prices": (120.0, 121.5)})]
    figure = report.trades_figure(result_of(trades=trades), "AAA")
    found = marks(figure)
    assert found["Buy"][0] == [100.0, 100.0, 120.0] and found["Sell short"][0] == [100.0]
    assert found["Exit by target (2)"] == ([110.0, 121.5], style.GREEN.lower())
    assert found["Exit by stop (1)"] == ([110.0], style.VERMILLION.lower())
    assert figure.axes[0].get_title(loc="left") == "AAA: 4 trades, 50 % won, +$120 in all"


def test_trades_figure_shows_a_split_without_a_jump():
    bars = bars_of(actions=SPLIT)
    figure = report.trades_figure(result_of(bars, [("BBB", 3, 40, 50.0, "signal", {"prices": (102.0, 55.0)})]), "BBB")
    assert marks(figure)["Buy"][0] == [51.0] and marks(figure)["Exit by signal (1)"][0] == [55.0]
    price = figure.axes[0].lines[0].get_ydata()
    assert np.abs(np.diff(np.log(price))).max() < 0.05
    assert figure.axes[0].get_ylabel() == "Closing price (split-adjusted, $)"


def test_trades_figure_picks_the_busiest_symbol_of_the_window():
    result = result_of(trades=SOME)
    assert report.trades_figure(result).axes[0].get_title(loc="left").startswith("AAA: 3 trades")
    ax = report.trades_figure(result, start="2010-02-20", end="2010-03-15").axes[0]
    assert ax.get_title(loc="left").startswith("BBB: 1 trade") and len(ax.lines[0].get_ydata()) == 16


def test_trades_figure_says_what_is_still_held():
    result = result_of()
    result.positions["AAA"] = 120.0
    ax = report.trades_figure(result, "AAA").axes[0]
    assert ax.get_title(loc="left") == "AAA: no closed trade" and any("120 shares still held" in t for t in texts(ax))


@pytest.mark.parametrize(("arguments", "text"), [
    ({"symbol": "AAB"}, r"symbol = 'AAB' is not in this result; did you mean 'AAA'\? Valid: AAA, BBB"),
    ({"start": "2015-01-01"}, "no bars there; the result runs from 2010-01-04 to 2010-05-07"),
    ({"start": "soon"}, "start = 'soon', end = None: give dates such as"),
])
def test_trades_figure_refuses_what_is_not_there(arguments, text):
    with pytest.raises(InputError, match=text):
        report.trades_figure(result_of(), **arguments)


def test_distribution_counts_every_trade_by_reason():
    figure = report.trade_distribution_figure(result_of(trades=SOME))
    ax = figure.axes[0]
    assert sum(bar.get_height() for group in ax.containers for bar in group) == 4
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "Stop: 1 trade, −$150", "Target: 1 trade, +$300", "Signal: 2 trades, +$860"]
    # Returns 3, -1.5, 9, -0.4 percent: mean 2.525 (just below it in binary), median 1.3.
    assert {"Mean +2.52 %", "Median +1.30 %"} <= set(texts(ax))
    # The line at zero ends below the names, whose boxes begin at 0.985 less two lines of text.
    zero = next(line for line in ax.lines if list(line.get_xdata()) == [0.0, 0.0])
    assert max(zero.get_ydata()) < 0.9
    assert ax.get_title(loc="left") == "4 closed trades, 50 % won, +$1,010 in all"


@pytest.mark.parametrize("returns", [[-5.07], [0.0], [11.9, -5.1, 0.3, 2.2], [-0.0004, 0.0007], list(range(-40, 90))])
def test_bins_have_an_edge_at_zero_and_one_width(returns):
    edges = return_bins(np.array(returns, dtype=np.float64))
    assert np.abs(edges).min() == 0.0 and np.allclose(np.diff(edges), np.diff(edges)[0])
    assert edges[0] <= min(returns) and edges[-1] >= max(returns) and 2 <= len(edges) <= 80


# --- Every shape of result --------------------------------------------------------------------------------------------


def intraday(sessions):
    days = pd.bdate_range("2010-03-11", periods=sessions)  # across a clock change
    times = [d + pd.Timedelta(minutes=570 + 5 * i) for d in days for i in range(78)]
    return bars_of(pd.DatetimeIndex(times).tz_localize("America/New_York"), ("AAA",), "5m")


SHAPES = {
    "no trades": lambda: result_of(),
    "some trades": lambda: result_of(trades=SOME),
    "one trade": lambda: result_of(trades=SOME[:1]),
    "one bar": lambda: result_of(bars_of(DAYS[:1])),
    "one month": lambda: result_of(bars_of(DAYS[:18])),
    "flat": lambda: result_of(equity=np.full(90, 1e5), benchmark=False),
    "one session of minutes": lambda: result_of(intraday(1), [("AAA", 3, 5, 1.0, "stop")]),
    "weeks of minutes": lambda: result_of(intraday(12), [("AAA", 3, 500, -1.0, "order")]),
    "500 symbols": lambda: result_of(bars_of(DAYS, tuple(f"S{i:03d}" for i in range(500))),
                                     [(f"S{i:03d}", 3, 5 + i % 80, i % 7 - 3.0, "signal") for i in range(300)]),
    "thirteen years": lambda: result_of(bars_of(pd.bdate_range("2000-03-01", periods=3_270, tz="America/New_York"))),
    "an account below zero": lambda: result_of(equity=np.r_[np.full(45, 1e5), np.full(45, -5e3)],
                                               safety=SafetyControls()),
}
FIGURES = (report.equity_figure, report.trades_figure, report.monthly_figure, report.trade_distribution_figure)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_of_every_shape_draws_and_says_something(shape):
    result = SHAPES[shape]()
    for make in FIGURES:
        figure = make(result)
        figure.draw_without_rendering()  # lays everything out, and warns of what does not fit
        assert figure.axes[0].get_title(loc="left")
        for ax in figure.axes:
            assert "nan" not in " ".join(texts(ax)).lower().split()


def test_a_real_result_has_all_that_a_report_asks_for(capsys):
    bars = bars_of(pd.bdate_range("2010-01-04", periods=600, tz="America/New_York"))
    result = backtest(bars, MovingAverageCross(fast=5, slow=20), costs=Costs.none(), safety=None)
    assert len(result.trades) > 5
    report.show(result)
    assert f"{result.metrics['final_equity']:,.2f}" in capsys.readouterr().out
    assert report.settings_table(result)["Value"]["strategy", "slow"] == "20"
    title = report.trade_distribution_figure(result).axes[0].get_title(loc="left")
    assert title.startswith(f"{len(result.trades)} closed trades")
    assert f"became ${result.equity.iloc[-1]:,.0f} (" in report.equity_figure(result).axes[0].get_title(loc="left")


def test_figures_leave_pyplot_and_the_settings_of_the_user_alone():
    import matplotlib.pyplot as plt

    with mpl.rc_context({"axes.facecolor": "black", "font.size": 20.0}):
        before = dict(mpl.rcParams)
        figure = report.equity_figure(result_of())
        assert dict(mpl.rcParams) == before and plt.get_fignums() == []
        assert mpl.colors.to_hex(figure.axes[0].get_facecolor()) == "#ffffff"


def test_a_notebook_shows_a_figure_once_and_sharp():
    from IPython.core.formatters import DisplayFormatter

    data, metadata = DisplayFormatter().format(report.equity_figure(result_of()))
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"] == {"width": 960, "height": round(5.8 * 96)}


def test_show_displays_tables_and_figures(capsys):
    report.show(result_of(trades=SOME, halts=[(DAYS[20], "max_drawdown_pct", 5.04, 5.0, "halted")]))
    printed = capsys.readouterr().out
    assert "Sharpe ratio" in printed and "trading halted" in printed and "+$900.00" in printed


def test_matplotlib_is_imported_only_when_drawing():
    code = "import sys, botlib.report; sys.exit('matplotlib' in sys.modules or 'IPython' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
