"""How the sandbox writes what it knows: the key sets, numbers and times of recorded answers."""

from __future__ import annotations

import datetime as dt

import pytest
from sandbox_helpers import Desk, market, steady

from botlib.sandbox import formats, wire
from botlib.sandbox.messages import moment_ns
from botlib.sandbox.orders import Activity, Order, Refusal, TradeUpdate

# Key sets of answers that a paper account received, and of the examples in Alpaca's OpenAPI documents.
ORDER = """asset_class asset_id canceled_at client_order_id created_at expired_at expires_at extended_hours failed_at
    filled_at filled_avg_price filled_qty hwm id legs limit_price notional order_class order_type position_intent qty
    replaced_at replaced_by replaces side source status stop_price submitted_at subtag symbol time_in_force
    trail_percent trail_price type updated_at""".split()
ACCOUNT = """account_blocked account_number accrued_fees admin_configurations balance_asof buying_power cash created_at
    crypto_status crypto_tier currency effective_buying_power equity id initial_margin intraday_adjustments last_equity
    last_maintenance_margin long_market_value maintenance_margin multiplier non_marginable_buying_power
    options_approved_level options_buying_power options_trading_level pending_reg_taf_fees portfolio_value
    position_market_value regt_buying_power short_market_value shorting_enabled sma status trade_suspended_by_user
    trading_blocked transfers_blocked user_configurations""".split()
POSITION = """asset_class asset_id asset_marginable avg_entry_price change_today cost_basis current_price exchange
    lastday_price market_value qty qty_available side symbol unrealized_intraday_pl unrealized_intraday_plpc
    unrealized_pl unrealized_plpc""".split()
FILL = """activity_type cum_qty id leaves_qty order_id order_status price qty side symbol transaction_time
    type""".split()
ASSET = """attributes borrow_status class easy_to_borrow exchange fractionable id maintenance_margin_requirement
    margin_requirement_long margin_requirement_short marginable name shortable status symbol tradable""".split()
CONFIGURATIONS = """disable_overnight_trading fractional_trading max_margin_multiplier no_shorting suspend_trade
    trade_confirm_email ptp_no_exception_entry max_options_trading_level""".split()
HISTORY = "timestamp equity profit_loss profit_loss_pct base_value base_value_asof timeframe cashflow".split()
SESSION = "date open close session_open session_close settlement_date".split()
BAR, QUOTE, TRADE = "t o h l c v n vw".split(), "t ax ap as bx bp bs c z".split(), "t x p s c i z".split()


# --- Numbers and times ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("value", "text"), [
    (100_000.0, "100000"), (100_005.82, "100005.82"), (0.0, "0"), (-0.0, "0"), (0.1 + 0.2, "0.3"), (1e-7, "0"),
    (-12.5, "-12.5"), (123_456_789.123456, "123456789.123456"), (1e16, "10000000000000000"),
])
def test_money(value, text):
    assert formats.money(value) == text


@pytest.mark.parametrize(("value", "text"), [
    (10.0, "10"), (0.557436865, "0.557436865"), (0.5, "0.5"), (1e-9, "0.000000001"), (None, None), (86.88, "86.88"),
    (868.8000000000001 / 10, "86.88"),
])
def test_quantities_and_prices_keep_nine_decimals(value, text):
    assert (formats.quantity(value), formats.price(value)) == (text, text)


@pytest.mark.parametrize("text", ["2026-03-12T15:10:18.094153596Z", "2026-03-12T15:10:18.0952164Z",
                                  "2026-03-12T20:00:00Z", "2022-08-17T10:18:24.1Z", "1970-01-01T00:00:00.000000001Z"])
def test_times_are_written_as_they_are_read(text):
    ns = moment_ns(text)
    assert ns is not None
    assert wire.timestamp(ns) == text


def test_a_time_is_that_of_the_clock():
    when = dt.datetime(2024, 7, 3, 13, 0, 0, 250_000, tzinfo=formats.NEW_YORK)
    ns = int(when.timestamp()) * formats.NS + 250_000_000
    assert wire.timestamp(ns) == "2024-07-03T17:00:00.25Z"
    assert wire.local(ns) == when
    assert wire.local(ns).isoformat() == "2024-07-03T13:00:00.250000-04:00"


# --- Key sets ---------------------------------------------------------------------------------------------------------

def test_an_order_has_the_keys_of_a_recorded_one():
    assert sorted(Desk().order()) == ORDER


def test_a_group_adds_its_id_and_role():
    made = Desk().order(qty=10, time_in_force="gtc", order_class="bracket", take_profit={"limit_price": "110"},
                        stop_loss={"stop_price": "90"})
    for one, role in ((made, "entry"), (made["legs"][0], "take_profit"), (made["legs"][1], "stop_loss")):
        assert sorted(one) == sorted([*ORDER, "group_id", "group_role"])
        assert (one["group_role"], one["group_id"], one["order_class"]) == (role, made["group_id"], "bracket")
    assert [leg["status"] for leg in made["legs"]] == ["held", "held"]


def test_the_other_answers_have_the_keys_of_recorded_ones():
    desk = Desk()
    desk.order()
    desk.exchange.advance()
    assert sorted(desk.get("/v2/account")) == ACCOUNT
    assert sorted(desk.get("/v2/positions")[0]) == POSITION
    assert sorted(desk.get("/v2/account/activities/FILL")[0]) == FILL
    assert sorted(desk.get("/v2/assets/AAPL")) == ASSET
    assert sorted(desk.get("/v2/account/configurations")) == sorted(CONFIGURATIONS)
    assert sorted(desk.get("/v2/account/portfolio/history")) == sorted(HISTORY)
    assert sorted(desk.get("/v2/calendar", start="2025-11-28", end="2025-11-28")[0]) == sorted(SESSION)
    assert sorted(desk.get("/v2/clock")) == ["is_open", "next_close", "next_open", "timestamp"]
    shot = desk.get("/v2/stocks/snapshots", symbols="AAPL")["AAPL"]
    assert set(shot) == {"dailyBar", "latestQuote", "latestTrade", "prevDailyBar"}  # no minute bars in daily ones
    assert (sorted(shot["dailyBar"]), sorted(shot["latestQuote"]), sorted(shot["latestTrade"])) == (
        sorted(BAR), sorted(QUOTE), sorted(TRADE))


def test_a_market_order_is_written_like_the_recorded_one():
    """Everything but ids and times of a sale as a paper account received it."""
    desk = Desk()
    desk.order(qty=2)
    desk.exchange.advance()
    made = desk.order(side="sell", qty="0.557436865", client_order_id="ex-1")
    recorded = {
        "asset_class": "us_equity", "canceled_at": None, "client_order_id": "ex-1", "expired_at": None,
        "extended_hours": False, "failed_at": None, "filled_at": None, "filled_avg_price": None, "filled_qty": "0",
        "hwm": None, "legs": None, "limit_price": None, "notional": None, "order_class": "", "order_type": "market",
        "position_intent": "sell_to_close", "qty": "0.557436865", "replaced_at": None, "replaced_by": None,
        "replaces": None, "side": "sell", "source": None, "stop_price": None, "subtag": None, "symbol": "AAPL",
        "time_in_force": "day", "trail_percent": None, "trail_price": None, "type": "market"}
    assert {name: made[name] for name in recorded} == recorded


# --- Records ----------------------------------------------------------------------------------------------------------

def record(**values: object) -> Order:
    given = {"id": "i", "client_order_id": "c", "symbol": "KO", "side": 1, "type": "limit", "time_in_force": "gtc",
             "seq": 1, "qty": 10.0, "limit_price": 86.9, "created_at": 1, "submitted_at": 1, "updated_at": 1,
             "position_intent": "buy_to_open"}
    return Order(**{**given, **values})  # type: ignore[arg-type]


def test_a_partly_filled_order_tells_its_average():
    made = wire.order(record(filled_qty=4.0, filled_value=4.0 * 86.88, status="partially_filled"))
    assert (made["filled_qty"], made["filled_avg_price"], made["qty"]) == ("4", "86.88", "10")


def test_an_order_for_dollars_has_no_quantity():
    made = wire.order(record(notional=25.5, qty=0.3, type="market", limit_price=None))
    assert (made["notional"], made["qty"], made["limit_price"]) == ("25.5", None, None)


def test_a_trailing_stop_is_written_like_the_documented_one():
    made = wire.order(record(type="trailing_stop", side=-1, limit_price=None, hwm=86.9, stop_price=86.031,
                             trail_percent=1.0))
    assert (made["hwm"], made["stop_price"]) == ("86.9", "86.031")
    assert (made["trail_percent"], made["trail_price"]) == ("1", None)


def test_a_trade_update_carries_a_copy_of_the_order_without_legs():
    order = record(status="filled", filled_qty=10.0, filled_value=868.9, legs=[record(id="leg")])
    made = wire.trade_update(TradeUpdate(event="fill", order=order, time=10**18, execution_id="e", price=86.89, qty=6.0,
                                         position_qty=10.0))
    assert set(made) == {"event", "execution_id", "order", "position_qty", "price", "qty", "timestamp"}
    assert (made["price"], made["qty"], made["position_qty"]) == ("86.89", "6", "10")
    assert set(made["order"]) == {*ORDER, "cancel_requested_at"} - {"expires_at"}
    assert made["order"]["legs"] is None
    new = wire.trade_update(TradeUpdate(event="new", order=record(), time=10**18, execution_id="e"))
    assert set(new) == {"event", "execution_id", "order", "timestamp"}


def test_activities_that_are_no_trades():
    paid = wire.activity(Activity(id="20240312093000000::u", type="DIV", time=moment_ns("2024-03-12T13:30:00Z") or 0,
                                  symbol="KO", qty=10.0, price=0.485, net_amount=4.85, description="dividend"))
    assert paid == {"activity_sub_type": "CDIV", "activity_type": "DIV", "created_at": "2024-03-12T13:30:00Z",
                    "currency": "USD", "date": "2024-03-12", "description": "dividend", "id": "20240312093000000::u",
                    "net_amount": "4.85", "per_share_amount": "0.485", "qty": "10", "status": "executed",
                    "symbol": "KO"}
    fee = wire.activity(Activity(id="i", type="FEE", time=1, net_amount=-0.02, sub_type="REG"))
    assert (fee["activity_sub_type"], fee["net_amount"]) == ("REG", "-0.02")
    assert not {"symbol", "qty", "per_share_amount"} & set(fee)


def test_a_partial_fill_is_told_as_one():
    made = wire.activity(Activity(id="i", type="FILL", time=1, symbol="KO", qty=4.0, price=86.88, side=-1, order_id="o",
                                  cum_qty=4.0, leaves_qty=6.0, partial=True))
    assert (made["type"], made["order_status"], made["side"], made["leaves_qty"]) == (
        "partial_fill", "partially_filled", "sell", "6")


def test_a_refusal_is_written_in_order_of_the_alphabet():
    no = Refusal(403, 40310000, "insufficient buying power", buying_power="1", cost_basis=31_319_000.3)
    assert list(wire.error(no).items()) == [("buying_power", "1"), ("code", 40310000), ("cost_basis", "31319000.3"),
                                            ("message", "insufficient buying power")]
    assert wire.error(Refusal(400, None, "no")) == {"message": "no"}


# --- Positions --------------------------------------------------------------------------------------------------------

def test_a_position_in_numbers():
    """Bought 10 at 100, closed at 104; the next day 5 more at 110, now 108."""
    desk = Desk(market({"AAPL": [(99, 100, 98, 99), (100, 105, 99, 104), (110, 111, 107, 108), (108, 109, 107, 108)]}))
    desk.order(qty=10)
    desk.exchange.advance()
    desk.order(qty=5)
    desk.exchange.open_bar()
    desk.exchange.tape.mark(2)  # the close of the second day has printed; its session is not over
    made = wire.position(desk.exchange, desk.exchange.positions["AAPL"])
    assert (made["qty"], made["side"], made["current_price"], made["lastday_price"]) == ("15", "long", "108", "104")
    assert made["avg_entry_price"] == "103.333333333"
    assert (made["cost_basis"], made["market_value"], made["unrealized_pl"]) == ("1550", "1620", "70")
    assert float(made["unrealized_plpc"]) == pytest.approx(70 / 1550, abs=1e-15)
    assert float(made["change_today"]) == pytest.approx(4 / 104, abs=1e-15)
    assert made["qty_available"] == "15"
    assert made["unrealized_intraday_pl"] == "30"  # 10 x (108 - 104) + 5 x (108 - 110)
    assert float(made["unrealized_intraday_plpc"]) == pytest.approx(30 / 1590, abs=1e-15)


def test_a_short_position_is_negative():
    desk = Desk(market({"AAPL": [(100, 101, 99, 100), (100, 101, 89, 90), (90, 91, 89, 90)]}))
    desk.order(side="sell", qty=10)
    desk.exchange.advance()
    made = desk.get("/v2/positions/AAPL")
    assert (made["qty"], made["qty_available"], made["side"]) == ("-10", "-10", "short")
    assert (made["cost_basis"], made["market_value"], made["unrealized_pl"]) == ("-1000", "-900", "100")
    assert made["unrealized_plpc"] == "0.1"
    account = desk.get("/v2/account")
    assert (account["short_market_value"], account["equity"], account["cash"]) == ("-900", "100100", "101000")
    assert (account["initial_margin"], account["maintenance_margin"]) == ("450", "270")


def test_a_fresh_account_in_numbers():
    made = Desk(steady()).get("/v2/account")
    assert (made["cash"], made["equity"], made["buying_power"]) == ("100000", "100000", "400000")
    assert made["multiplier"] == "4"
    assert (made["regt_buying_power"], made["balance_asof"]) == ("200000", "2024-03-04")
