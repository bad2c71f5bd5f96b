"""The blotter's tables and figure, by hand."""

from __future__ import annotations

import pandas as pd
import pytest
import venue_helpers as helpers

from botlib import blotter
from botlib.brokers import AlpacaBroker, AlpacaConfig
from botlib.brokers.base import Fill
from botlib.errors import InputError
from botlib.order_request import OrderRequest
from botlib.sandbox import running


def fill(side: str, qty: float, price: float, time: str, symbol: str = "AAPL") -> Fill:
    return Fill(order_id="1", symbol=symbol, side=side, qty=qty, price=price, cum_qty=qty,
                time=pd.Timestamp(time, tz="UTC"))


FILLS = [fill("sell", 10, 101.5, "2024-03-06 14:30"), fill("buy", 10, 100.0, "2024-03-05 14:30"),
         fill("buy", 2.5, 0.1234, "2024-03-06 15:00", "PENNY")]


def test_fills_are_in_order_in_new_york_time_with_their_cash_and_a_total():
    table = blotter.fills(FILLS)
    assert table["Time"].tolist() == ["2024-03-05 09:30", "2024-03-06 09:30", "2024-03-06 10:00", "Total"]
    assert table["Price"].tolist() == ["100.00", "101.50", "0.1234", ""]
    # 10 * 100 paid, 10 * 101.5 received, 2.5 * 0.1234 = 0.3085 paid: 14.6915 in all
    assert table["Cash ($)"].tolist() == ["\N{MINUS SIGN}1,000.00", "1,015.00", "\N{MINUS SIGN}0.31", "14.69"]
    assert table.iloc[-1]["Side"] == "3 fills"
    assert "no fills" in repr(blotter.fills([])) and "no orders" in repr(blotter.orders([]))


def test_totals_add_up_and_name_what_fills_do_not_explain():
    class Account:
        cash, equity = 100_010.0, 100_510.0

    table = dict(blotter.totals(FILLS[:2], Account(), 100_000.0).itertuples(index=False, name=None))
    assert table == {"Cash at the start": "100,000.00", "Bought": "\N{MINUS SIGN}1,000.00", "Sold": "1,015.00",
                     "Fees, dividends, deposits": "\N{MINUS SIGN}5.00", "Cash": "100,010.00",
                     "Shares held, at the last price": "500.00", "Equity": "100,510.00", "Result": "510.00"}


def test_the_figure_marks_each_fill_on_its_bar():
    bars = helpers.daily(5)  # from Monday 2024-03-04 on
    axes = blotter.figure(bars, FILLS, "AAPL").axes[0]
    line, marks = axes.lines[0], {c.get_label(): c.get_offsets() for c in axes.collections}
    assert line.get_ydata().tolist() == bars.close[:, 0].tolist()
    assert marks["bought"].tolist() == [[line.get_xdata()[1], 100.0]]
    assert marks["sold"].tolist() == [[line.get_xdata()[2], 101.5]]
    assert axes.get_title(loc="left") == "AAPL: 2 fills"
    assert axes.get_ylabel() and axes.get_xlabel()
    with pytest.raises(InputError, match="did you mean 'AAPL'"):
        blotter.figure(bars, FILLS, "AAPLE")


@pytest.mark.slow
def test_orders_and_answers_of_a_real_broker():
    with running(helpers.daily()) as venue:
        broker = AlpacaBroker(AlpacaConfig.from_env(environ=venue.environ, env_file=None))
        entry = broker.submit_order(OrderRequest(symbol="AAPL", side="buy", qty=10, time_in_force="gtc",
                                                 order_class="bracket", stop_loss=90.0, take_profit=120.0))
        table = blotter.orders([entry])
        assert table.to_dict("list") == {  # nothing is filled: there are no such columns
            "Symbol": ["AAPL"] * 3, "Side": ["buy", "sell", "sell"], "Type": ["market", "limit", "stop"],
            "Qty": ["10"] * 3,
            "Limit": ["", "120.00", ""], "Stop": ["", "", "90.00"], "TIF": ["GTC"] * 3,
            "Role": ["entry", "take profit", "stop loss"], "Status": ["accepted", "held", "held"]}
        told = blotter.answers(broker.submit_orders([OrderRequest(symbol="NOSUCH", side="buy", qty=1),
                                                     OrderRequest(symbol="IBM", side="buy", qty=1)]))
        assert told["Asked"].tolist() == ["buy 1 NOSUCH market", "buy 1 IBM"]
        assert told["Answer"].tolist() == ["refused by botlib", "accepted"]
        assert 'asset "NOSUCH" not found' in told["Words"].iloc[0]
        broker.close()
