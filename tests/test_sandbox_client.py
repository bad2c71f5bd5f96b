"""The real alpaca-py talks to the sandbox and understands all it says; no socket, no patched library."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from typing import Any

import pandas as pd
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, PositionSide, QueryOrderStatus, TimeInForce
from alpaca.trading.models import TradeAccount, TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from sandbox_helpers import Desk, market, minutes, steady

from botlib.sandbox import wire
from botlib.sandbox.faults import Faults
from botlib.sandbox.transport import URL, SandboxAdapter, attach

BUY, SELL, DAY, GTC = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY, TimeInForce.GTC


def trading(desk: Desk, **options: Any) -> TradingClient:
    return attach(TradingClient("local", "local-secret", url_override=URL), desk.api, **options)


def data(desk: Desk) -> StockHistoricalDataClient:
    return attach(StockHistoricalDataClient("local", "local-secret", url_override=URL), desk.api)


def market_order(symbol: str = "AAPL", qty: float = 10, side: OrderSide = BUY, **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=more.pop("time_in_force", DAY), **more)


def test_the_account_and_its_settings():
    client = trading(Desk())
    account = client.get_account()
    assert isinstance(account, TradeAccount)
    assert (account.cash, account.buying_power, account.multiplier) == ("100000", "400000", "4")
    settings = client.get_account_configurations()
    settings.no_shorting = True
    assert client.set_account_configurations(settings).no_shorting is True
    assert client.get_account().shorting_enabled is False


def test_a_bracket_from_order_to_exit():
    desk = Desk(market({"AAPL": [(100, 101, 99, 100)] * 3 + [(100, 112, 99, 111), (111, 112, 110, 111)]}))
    client = trading(desk)
    placed = client.submit_order(market_order(
        time_in_force=GTC, order_class=OrderClass.BRACKET, take_profit=TakeProfitRequest(limit_price=110),
        stop_loss=StopLossRequest(stop_price=90)))
    assert (placed.status, placed.order_class, len(placed.legs)) == (OrderStatus.ACCEPTED, OrderClass.BRACKET, 2)
    desk.exchange.advance()
    assert client.get_order_by_id(placed.id).status == OrderStatus.FILLED
    nested = client.get_order_by_id(placed.id, GetOrderByIdRequest(nested=True))
    assert [leg.status for leg in nested.legs] == [OrderStatus.NEW, OrderStatus.HELD]
    position = client.get_open_position("AAPL")
    assert (position.side, position.qty, position.avg_entry_price) == (PositionSide.LONG, "10", "100")
    assert client.get_open_position(uuid.UUID(str(position.asset_id))).symbol == "AAPL"
    desk.exchange.advance()
    desk.exchange.advance()
    assert client.get_all_positions() == []
    legs = client.get_order_by_id(placed.id, GetOrderByIdRequest(nested=True)).legs
    assert [leg.status for leg in legs] == [OrderStatus.FILLED, OrderStatus.CANCELED]
    assert (legs[0].filled_avg_price, legs[0].filled_at is not None) == ("110", True)


def test_orders_are_listed_replaced_and_cancelled():
    desk = Desk(minutes(1, 5), first=12)
    client = trading(desk)
    limit = client.submit_order(LimitOrderRequest(symbol="AAPL", qty=5, side=BUY, time_in_force=DAY, limit_price=50,
                                                  client_order_id="mine"))
    assert client.get_order_by_client_id("mine").id == limit.id
    trailing = client.submit_order(TrailingStopOrderRequest(symbol="KO", qty=1, side=BUY, time_in_force=GTC,
                                                            trail_percent=5))
    new = client.replace_order_by_id(limit.id, ReplaceOrderRequest(qty=6, limit_price=51))
    assert (new.qty, new.limit_price, new.replaces) == ("6", "51", limit.id)
    old = client.get_order_by_id(limit.id)
    assert (old.status, old.replaced_by) == (OrderStatus.REPLACED, new.id)
    listed = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, symbols=["AAPL", "KO"], side=BUY, limit=2,
                                                after=dt.datetime(2020, 1, 1), nested=True))
    assert [order.id for order in listed] == [new.id, trailing.id]
    assert listed[1].hwm is not None
    client.cancel_order_by_id(new.id)
    assert client.get_order_by_id(new.id).status == OrderStatus.CANCELED
    assert [(r.id, r.status) for r in client.cancel_orders()] == [(trailing.id, 200)]


def test_positions_are_closed():
    desk = Desk(steady(12))
    client = trading(desk)
    for symbol in ("AAPL", "KO", "TSLA"):
        client.submit_order(market_order(symbol))
    desk.exchange.advance()
    assert client.close_position("AAPL", ClosePositionRequest(percentage="50")).qty == "5"
    assert client.close_position("KO", ClosePositionRequest(qty="2")).qty == "2"
    desk.exchange.advance()
    client.submit_order(LimitOrderRequest(symbol="TSLA", qty=10, side=SELL, time_in_force=GTC, limit_price=300))
    results = {r.symbol: r for r in client.close_all_positions()}
    assert {s: r.status for s, r in results.items()} == {"AAPL": 200, "KO": 200, "TSLA": 403}
    assert (results["TSLA"].body.code, results["TSLA"].body.available) == (40310000, 0)
    assert {r.status for r in client.close_all_positions(cancel_orders=True)} == {200}


def test_assets_clock_and_calendar():
    client = trading(Desk())
    assert [a.symbol for a in client.get_all_assets(GetAssetsRequest(status="active"))] == ["AAPL", "KO", "TSLA"]
    assert client.get_asset("KO").fractionable is True
    clock = client.get_clock()
    assert (clock.is_open, clock.timestamp.utcoffset()) == (False, dt.timedelta(hours=-5))
    days = client.get_calendar(GetCalendarRequest(start=dt.date(2025, 11, 26), end=dt.date(2025, 12, 1)))
    assert [day.close for day in days] == [dt.datetime(2025, 11, 26, 16), dt.datetime(2025, 11, 28, 13),
                                           dt.datetime(2025, 12, 1, 16)]


def test_history_and_activities():
    desk = Desk(steady(12))
    client = trading(desk)
    client.submit_order(market_order())
    for _ in range(4):
        desk.exchange.advance()
    desk.exchange.deposit(100.0)
    desk.exchange.advance()
    history = client.get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D",
                                                                      cashflow_types="ALL"))
    assert (len(history.timestamp), history.base_value, history.equity[-1]) == (5, 100_000, 100_100)
    assert {kind.value: flows for kind, flows in history.cashflow.items()} == {"CSD": [0, 0, 0, 0, 100]}
    assert [a["activity_type"] for a in client.get("/account/activities")] == ["CSD", "FILL"]
    assert client.get("/account/activities/FILL", {"page_size": 1})[0]["qty"] == "10"


def test_refusals_reach_the_caller():
    client = trading(Desk())
    with pytest.raises(APIError) as caught:
        client.submit_order(market_order(qty=100_000))
    assert (caught.value.status_code, caught.value.code) == (403, 40310000)
    with pytest.raises(APIError) as caught:
        client.get_order_by_id(uuid.UUID(int=1))
    assert (caught.value.status_code, caught.value.code) == (404, 40410000)
    stranger = attach(TradingClient("local", "guess", url_override=URL), Desk().api)
    with pytest.raises(APIError) as caught:
        stranger.get_account()
    assert (caught.value.status_code, caught.value.message if hasattr(caught.value, "message") else "") == (
        401, "unauthorized.")


def test_every_trade_update_is_understood():
    desk = Desk(steady(8), partial_fill_pct=100.0)
    client = trading(desk)
    client.submit_order(market_order(qty=100, time_in_force=GTC, order_class=OrderClass.BRACKET,
                                     take_profit=TakeProfitRequest(limit_price=110),
                                     stop_loss=StopLossRequest(stop_price=90)))
    for _ in range(4):
        desk.exchange.advance()
    client.cancel_orders()
    client.get_account()
    read = [TradeUpdate(**wire.trade_update(update)) for update in desk.exchange.updates]
    events = [update.event if isinstance(update.event, str) else update.event.value for update in read]
    assert {"accepted", "new", "partial_fill", "fill", "canceled"} <= {str(getattr(e, "value", e)) for e in events}
    filled = [u for u in read if u.qty is not None]
    assert sum(u.qty for u in filled) == 100
    assert filled[-1].position_qty == 100


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.dropna")  # alpaca-py, under pandas 3.1
def test_bars_are_read_page_by_page():
    desk = Desk(minutes(2, 1), first=779)
    client = data(desk)
    day = StockBarsRequest(symbol_or_symbols=["KO", "AAPL"], timeframe=TimeFrame.Day, start=dt.datetime(2024, 3, 4),
                           adjustment=Adjustment.ALL, feed=DataFeed.IEX)
    frame = client.get_stock_bars(day).df
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "trade_count", "vwap"]
    assert frame.index.names == ["symbol", "timestamp"]
    assert frame.loc["AAPL"].index[0] == pd.Timestamp("2024-03-04 05:00", tz="UTC")
    minute = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, start=dt.datetime(2024, 3, 4),
                              end=dt.datetime(2030, 1, 1))
    bars = client.get_stock_bars(minute)["AAPL"]
    assert [bar.close for bar in bars] == desk.exchange.bars.close[:779, 0].tolist()
    few = client.get_stock_bars(StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, limit=7,
                                                 start=dt.datetime(2024, 3, 4)))
    assert len(few["AAPL"]) == 7
    nothing = client.get_stock_bars(StockBarsRequest(symbol_or_symbols="ZZZZ", timeframe=TimeFrame.Day,
                                                     start=dt.datetime(2024, 3, 4)))
    assert nothing.data == {}


def test_prints_and_the_latest():
    desk = Desk(minutes(1, 5), first=20)
    client = data(desk)
    both = ["AAPL", "KO"]
    start = dt.datetime(2024, 3, 4, 14, 30)
    assert len(client.get_stock_trades(StockTradesRequest(symbol_or_symbols=both, start=start, limit=50))["AAPL"]) == 50
    quotes = client.get_stock_quotes(StockQuotesRequest(symbol_or_symbols=both, start=start))
    assert all(q.bid_price < q.ask_price for q in quotes["KO"])
    assert quotes["KO"][0].conditions == ["synthetic"]
    assert client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=both))["KO"].timestamp == dt.datetime(
        2024, 3, 4, 16, 5, tzinfo=dt.UTC)
    last = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].price
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert last == desk.exchange.price("AAPL")
    assert quote.bid_price < last < quote.ask_price
    shot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert (shot.latest_trade.price, shot.minute_bar, shot.daily_bar.close) == (last, None, last)


def test_corporate_actions_are_read():
    desk = Desk(market({"AAPL": [(100.0,) * 4] * 3 + [(50.0,) * 4] * 3}, actions=[
        ("AAPL", "2024-03-05", "cash_dividend", 0.25), ("AAPL", "2024-03-07", "split", 2.0)]), first=5)
    client = attach(CorporateActionsClient("local", "local-secret", url_override=URL), desk.api)
    found = client.get_corporate_actions(CorporateActionsRequest(symbols=["AAPL"], start=dt.date(2024, 1, 1),
                                                                 end=dt.date(2024, 12, 31)))
    assert found.data["cash_dividends"][0].rate == 0.25
    assert (found.data["forward_splits"][0].new_rate, found.data["forward_splits"][0].old_rate) == (2, 1)


# --- The adapter ------------------------------------------------------------------------------------------------------

def test_requests_arrive_one_at_a_time():
    desk = Desk(steady(4))
    clients = [trading(desk) for _ in range(4)]
    inside = []
    handle = desk.api.handle

    def watched(request: Any) -> Any:
        inside.append(1)
        assert len(inside) == 1
        try:
            return handle(request)
        finally:
            inside.pop()

    desk.api.handle = watched  # type: ignore[method-assign]
    errors: list[Exception] = []

    def work(client: TradingClient) -> None:
        try:
            for _ in range(20):
                client.submit_order(LimitOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, limit_price=1))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(desk.exchange.orders) == 80


@pytest.mark.parametrize(("fault", "error", "orders"), [
    ({"kind": "no_reply", "accepted": True}, requests.ReadTimeout, 1),
    ({"kind": "no_reply"}, requests.ReadTimeout, 0),
    ({"kind": "reset"}, requests.ConnectionError, 0),
    ({"kind": "reset", "accepted": True, "share": 0.5}, requests.ConnectionError, 1),
    ({"kind": "html", "status": 502}, APIError, 0),
])
def test_faults_on_the_way(fault, error, orders):
    desk = Desk()
    client = trading(desk, faults=Faults([{"method": "POST", **fault}]))
    with pytest.raises(error):
        client.submit_order(market_order())
    assert len(desk.exchange.orders) == orders


def test_a_late_reply_is_waited_for():
    desk, waited = Desk(), []
    session = requests.Session()
    session.headers.update({"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"})
    faults = Faults([{"kind": "delay", "seconds": 3.0, "times": 1}])
    session.mount(URL, SandboxAdapter(desk.api, faults, waited.append))
    assert session.get(f"{URL}/v2/clock", timeout=10).status_code == 200
    assert waited == [3.0]
    assert session.get(f"{URL}/v2/positions/BTC/USD").status_code == 404
    reply = session.get(f"{URL}/v2/stocks/bars?symbols=AAPL%2CKO&timeframe=1Day&start=2024-03-04")
    assert list(reply.json()["bars"]) == ["AAPL", "KO"]
    assert (reply.headers["x-request-id"] != "", reply.reason, reply.elapsed.total_seconds() >= 0) == (True, "OK", True)


def test_a_late_reply_beyond_the_deadline():
    desk, waited = Desk(), []
    session = requests.Session()
    session.mount(URL, SandboxAdapter(desk.api, Faults([{"kind": "delay", "seconds": 30.0}]), waited.append))
    with pytest.raises(requests.ReadTimeout):
        session.get(f"{URL}/v2/clock", timeout=(1, 2))
    assert waited == [2]
