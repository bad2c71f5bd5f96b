"""What happens in an account beside a session: wash trades, orders replaced by hand, busted trades, symbols that end.

Numbers are those of the list of faults that `test_session_faults` follows. Real alpaca-py over a socket; the user has a
client of his own. And the changes of clocks, under a virtual one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)
from engine_helpers import FREE, Given, OnBar, make_bars
from exchange_helpers import hours, sessions
from sandbox_helpers import minutes
from session_helpers import Stage
from session_world import Flowing, folder, walk  # noqa: F401

import botlib
from botlib.alpaca_case import AssetFacts
from botlib.bars import Bars
from botlib.sandbox.exchange import Exchange
from botlib.session.console import lines

pytestmark = pytest.mark.slow

# ruff: noqa: F811

DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
BARE: dict[str, Any] = {"stop_loss_pct": None, "take_profit_pct": None}
STOP: dict[str, Any] = {"stop_loss_pct": 20.0, "take_profit_pct": None}


class Desk:
    """A session on an account over HTTP, and its user with a client of his own."""

    def __init__(self, folder: Path, strategy: Any, legs: dict[str, Any], bars: Bars, **values: Any) -> None:
        self.stage = Stage(bars, strategy, folder, first=4, http=True, values={
            "risk": botlib.Risk(max_position_pct=100.0, **legs), "costs": FREE} | values)
        server = self.stage.server
        assert server is not None
        self.server, self.exchange = server, server.exchange
        self.user = TradingClient(*server.keys, url_override=server.url)

    def days(self) -> Iterator[int]:
        """The number of each bar, after the session's pass on it; at each, our orders were within what is held."""
        for bar in self.stage.passes():
            self.check()
            yield bar

    def check(self) -> None:
        """Shares on their way out are never more than are held; each intent has one order, and no more of it filled."""
        x = self.exchange
        for symbol in x.bars.symbols:
            held = x.positions[symbol].qty if symbol in x.positions else 0.0
            assert held >= 0.0
            assert x.held_for_orders(symbol) <= held
        sent = [o for o in x.orders.values() if o.client_order_id.startswith("botlib1-")]
        intents = self.intents().set_index("client_order_id")
        assert len({o.client_order_id for o in sent}) == len(sent)
        for o in sent:
            assert o.filled_qty <= float(intents.loc[o.client_order_id, "qty"])

    def intents(self) -> pd.DataFrame:
        """As recorded; ``reason`` is the rule's name, also where the broker said it in a sentence."""
        started = self.stage.started
        assert started is not None
        found = started.repository.intents(started.ledger_id)
        rules = found["reason"].str.extract(r"\[HTTP \d+, \d+, ([a-z-]+)\]")[0].fillna(found["reason"])
        return found.assign(qty=[float(one["qty"]) for one in found["request"]], reason=rules)

    def fills(self) -> list[tuple[str, str, float]]:
        """Of the ledger."""
        started = self.stage.started
        assert started is not None
        rows = started.repository.fills(started.ledger_id)
        return list(zip(rows["symbol"], rows["side"], rows["qty"]))

    def events(self, kind: str) -> list[dict[str, Any]]:
        started = self.stage.started
        assert started is not None
        return list(started.repository.events(started.ledger_id, kind=kind)["data"])

    def open(self, symbol: str = "AAPL") -> list[Any]:
        return [o for o in self.exchange.orders.values() if o.symbol == symbol and o.open]

    def said(self) -> list[str]:
        return [line for report in self.stage.reports for line in lines(report, None)]

    def whole(self) -> bool:
        """Whether the ledger's chain of hashes holds."""
        started = self.stage.started
        assert started is not None
        return bool(started.repository.verify(started.ledger_id).ok)


@pytest.fixture
def desk(folder) -> Iterator[Any]:
    made: list[Desk] = []

    def make(strategy: Any, legs: dict[str, Any] = BARE, bars: Bars | None = None, **values: Any) -> Desk:
        made.append(Desk(folder, strategy, legs, walk(14, symbols=("AAPL",)) if bars is None else bars, **values))
        return made[-1]

    yield make
    for one in made:
        one.stage.close()


def targets(**columns: dict[int, float]) -> Given:
    """A strategy that wants these weights at these bars."""
    return Given({symbol: [weights.get(t) for t in range(30)] for symbol, weights in columns.items()})


# --- 10: wash trades --------------------------------------------------------------------------------------------------

def test_an_entry_that_would_be_a_wash_trade_is_sent_once_for_each_decision(desk):
    """Fault 10. The user offers five shares of his own: the broker turns our market order down. It is not sent again
    before the strategy decides anew, his order stays, and once he has taken it back ours goes."""
    d = desk(targets(AAPL={6: 0.2, 8: 0.2, 10: 0.2}))
    for bar in d.days():
        if bar == 3:
            d.user.submit_order(MarketOrderRequest(symbol="AAPL", qty=5, side=OrderSide.BUY, time_in_force=DAY))
        if bar == 4:
            offer = d.user.submit_order(LimitOrderRequest(symbol="AAPL", qty=5, side=OrderSide.SELL, limit_price=900,
                                                          time_in_force=GTC))
        if bar == 9:
            assert [o.id for o in d.open()] == [str(offer.id)]
            d.user.cancel_order_by_id(offer.id)
    intents = d.intents()
    assert list(intents["reason"]) == ["wash-trade", "wash-trade", ""] and set(intents["attempt"]) == {1}
    assert list(intents["state"])[:2] == ["rejected", "rejected"]
    [(symbol, side, qty)] = d.fills()
    assert (symbol, side) == ("AAPL", "buy") and d.exchange.positions["AAPL"].qty == qty + 5.0
    assert sum("potential wash trade" in line for line in d.said()) == 2
    assert d.whole()


def test_protection_that_would_be_a_wash_trade_is_told_of_and_tried_until_it_goes(desk):
    """Fault 10. The user takes our stop away while a bid of his rests: no stop can be placed beside it."""
    d = desk(targets(AAPL={4: 0.2}), STOP)
    for bar in d.days():
        if bar == 5:
            [stop] = d.open()
            bid = d.user.submit_order(LimitOrderRequest(
                symbol="AAPL", qty=5, side=OrderSide.BUY, limit_price=10, time_in_force=GTC, order_class="bracket",
                take_profit=TakeProfitRequest(limit_price=900), stop_loss=StopLossRequest(stop_price=5)))
            d.user.cancel_order_by_id(stop.id)
        if bar == 8:
            d.user.cancel_order_by_id(bid.id)
    held = d.exchange.positions["AAPL"].qty
    tried = d.intents().query("purpose == 'protect'")
    assert list(tried["reason"]) == ["wash-trade"] * 3 + [""]  # one at each pass on the bars 6, 7, 8, and one on 9
    [working] = d.open()
    assert (working.client_order_id, working.type, working.qty) == (tried["client_order_id"].iloc[-1], "stop", held)
    assert [e["text"] for e in d.events("protection")] == [
        f"{held:g} shares of AAPL are not fully protected at the broker: look at the account",
        "AAPL is protected again"]
    assert d.whole()


# --- 13: orders replaced by hand --------------------------------------------------------------------------------------

def hourly() -> Bars:
    """Four bars a day around 100; each trades down to 99."""
    return make_bars({"AAPL": [(100.0, 101.0, 99.0, 100.0)] * 16},
                     hours(4, "09:30:00", "10:30:00", "11:30:00", "12:30:00"), interval="1h", calendar="XNYS")


def test_an_entry_replaced_by_hand_after_a_part_of_it_filled(desk):
    """Fault 13. Of 100 shares that we bid for a part is filled; then the user makes 300 of the order. What is filled
    after that is his: ours stay within the intent, and nothing is sent for the rest."""
    d = desk(OnBar({4: [botlib.buy("AAPL", 100, limit=100.0)]}), BARE, hourly())
    passes = d.days()
    assert next(bar for bar in passes if bar == 4) == 4
    d.server.call(lambda x: setattr(x, "partial_fill_pct", 100.0))
    d.server.call(Exchange.open_bar)
    [entry] = [o for o in d.exchange.orders.values() if o.client_order_id.startswith("botlib1-")]
    ours = entry.filled_qty
    assert 0.0 < ours < 100.0
    d.stage.step()
    d.check()
    d.user.replace_order_by_id(entry.id, ReplaceOrderRequest(qty=300))
    d.stage.step()
    d.check()
    d.server.call(Exchange.close_bar)
    for _ in passes:
        pass
    d.stage.step()
    d.check()
    assert d.fills() == [("AAPL", "buy", ours)]
    assert d.exchange.positions["AAPL"].qty == 300.0
    assert d.stage.session.memory.externals.shares == {"AAPL": 300.0 - ours}
    assert {o.status for o in d.exchange.orders.values() if o.id == entry.id} == {"replaced"}
    assert len(d.intents()) == 1 and not d.open() and d.whole()


def test_a_stop_replaced_by_hand_is_no_reason_for_a_second_one(desk):
    """Fault 13. The user moves our stop: his order holds the shares. A person is told once, nothing is sold twice, and
    when he takes his order back ours stands again."""
    d = desk(targets(AAPL={4: 0.2}), STOP)
    for bar in d.days():
        if bar == 5:
            [stop] = d.open()
            moved = d.user.replace_order_by_id(stop.id, ReplaceOrderRequest(stop_price=85.0))
        if 5 < bar < 9:
            assert [o.id for o in d.open()] == [str(moved.id)]
        if bar == 9:
            d.user.cancel_order_by_id(moved.id)
    tried = d.intents().query("purpose == 'protect'")
    assert list(tried["reason"]) == ["held-for-orders"] * 4 + [""]  # once a pass
    [working] = d.open()
    assert working.client_order_id == tried["client_order_id"].iloc[-1]
    assert working.qty == d.exchange.positions["AAPL"].qty
    assert [e["text"].split(" ", 1)[1] for e in d.events("protection")] == [
        "shares of AAPL are not fully protected at the broker: look at the account", "is protected again"]


# --- 31: trades that are busted ---------------------------------------------------------------------------------------

def bust(qty: float) -> Any:
    """The exchange takes shares back and gives the money back, at the last price."""
    def do(x: Exchange) -> None:
        price = x.price("AAPL") or 0.0
        x.account._move("AAPL", -qty, price)
        x.account.cash += qty * price
    return do


def test_a_busted_trade_is_made_up_for_by_a_person_and_never_deleted(desk):
    """Fault 31. Fifty shares are taken back. That is said once, entries are refused until a person has accepted it;
    then the acceptance stands beside the fill, which stays as it was."""
    d = desk(targets(AAPL={4: 0.2}, KO={7: 0.1, 10: 0.1}), bars=walk(14, symbols=("AAPL", "KO")))
    for bar in d.days():
        if bar == 6:
            before, price = d.fills(), d.exchange.price("AAPL")
            d.server.call(bust(50.0))
        if bar == 8:
            assert d.fills() == before and "KO" not in d.exchange.positions
            started = d.stage.started
            with started.repository.writing() as tx:
                for what, amount in (("AAPL", -50.0), ("cash", 50.0 * price)):
                    tx.external(started.ledger_id, what, amount, reason="bust", accepted_by="somebody",
                                time=d.stage.session.time)
    [(symbol, side, qty)] = before
    assert d.fills()[0] == (symbol, side, qty) == ("AAPL", "buy", d.exchange.positions["AAPL"].qty + 50.0)
    assert [fill[0] for fill in d.fills()] == ["AAPL", "KO"]
    intents = d.intents()
    assert list(intents[intents["symbol"] == "KO"]["reason"]) == ["reduce-only", ""]
    told = [line for line in d.said() if line.startswith("[UNEXPLAINED]")]
    assert [line.split(":")[0] for line in told] == ["[UNEXPLAINED] AAPL", "[UNEXPLAINED] cash"]
    assert "difference -50)" in told[0]
    texts = [e["text"] for e in d.events("safety")]
    assert sum("unexplained: AAPL: the broker has" in t and not t.startswith("lifted") for t in texts) == 1
    assert sum(t.startswith("lifted, unexplained") for t in texts) == 1
    assert d.whole()


@pytest.mark.parametrize("how", ["bust", "sold-by-hand"])
def test_an_exit_of_more_than_is_left_sells_what_is_left(desk, how):
    """Fault 31. The strategy leaves while fifty of its shares are gone: the broker would turn an order for all of them
    down. The others are sold, once; of the fifty a person has to say what they were."""
    d = desk(targets(AAPL={4: 0.2, 8: 0.0}))
    for bar in d.days():
        if bar == 6:
            held = d.exchange.positions["AAPL"].qty
            if how == "bust":
                d.server.call(bust(50.0))
            else:
                d.user.submit_order(MarketOrderRequest(symbol="AAPL", qty=50, side=OrderSide.SELL, time_in_force=DAY))
    assert "AAPL" not in d.exchange.positions and not d.open()
    exits = d.intents().query("purpose == 'exit'")
    assert list(exits["state"]) == ["filled"] and list(exits["qty"]) == [held - 50.0]
    assert d.fills()[-1] == ("AAPL", "sell", held - 50.0) and len(d.fills()) == 2


@pytest.mark.parametrize("how", ["bust", "sold-by-hand"])
def test_an_exit_of_shares_that_are_gone_sells_none_short(desk, how):
    """Fault 31, and 29. All shares are taken back, or the user has sold them: the strategy's exit must not open a short
    position."""
    d = desk(targets(AAPL={4: 0.2, 8: 0.0}))
    for bar in d.days():
        if bar == 6:
            held = d.exchange.positions["AAPL"].qty
            if how == "bust":
                d.server.call(bust(held))
            else:
                d.user.submit_order(MarketOrderRequest(symbol="AAPL", qty=held, side=OrderSide.SELL,
                                                       time_in_force=DAY))
    assert "AAPL" not in d.exchange.positions and not d.open()
    assert d.intents().query("purpose == 'exit'").empty
    assert [fill[1] for fill in d.fills()] == ["buy"]


# --- 52: symbols that end ---------------------------------------------------------------------------------------------

def gone(x: Exchange, symbol: str, first: int, last: int = 99) -> None:
    """A symbol that cannot be traded at these bars."""
    known = x.asset

    def asset(name: str) -> AssetFacts | None:
        found = known(name)
        return AssetFacts(tradable=False) if found and name == symbol and first <= x.bar <= last else found

    x.asset = asset  # type: ignore[method-assign]


def test_a_symbol_that_cannot_be_traded_any_more(desk):
    """Fault 52. Delisted, and back three days later: until then nothing of it reaches the market, the rest goes on, and
    the exit is not lost."""
    d = desk(targets(AAPL={4: 0.2, 6: 0.4, 8: 0.0}, KO={8: 0.1}), bars=walk(14, symbols=("AAPL", "KO")))
    gone(d.exchange, "AAPL", 6, 10)
    for bar in d.days():
        if 6 <= bar <= 10:
            assert not d.open("AAPL")
    intents = d.intents()
    ours = intents[intents["symbol"] == "AAPL"]
    assert list(zip(ours["purpose"], ours["reason"])) == [
        ("entry", ""), ("entry", "not-tradable"), *[("exit", "not-tradable")] * 3, ("exit", "")]
    bought = d.fills()[0][2]
    assert [f for f in d.fills() if f[0] == "AAPL"] == [("AAPL", "buy", bought), ("AAPL", "sell", bought)]
    assert set(d.exchange.positions) == {"KO"} and d.whole()


def test_a_position_under_another_symbol_allows_only_exits(desk):
    """Fault 52. AAPL is AAPX over night, at the broker: the session knows neither why nor what it is worth. It sends
    nothing in either, and no entry anywhere."""
    d = desk(targets(AAPL={4: 0.2, 8: 0.0}, KO={8: 0.1}), bars=walk(14, symbols=("AAPL", "AAPX", "KO")),
             symbols=["AAPL", "KO"])
    gone(d.exchange, "AAPL", 7)

    def rename(x: Exchange) -> None:
        x.positions["AAPX"] = x.positions.pop("AAPL")
        x.positions["AAPX"].symbol = "AAPX"

    for bar in d.days():
        if bar == 6:
            d.server.call(rename)
    held = d.exchange.positions["AAPX"].qty
    assert [fill[:2] for fill in d.fills()] == [("AAPL", "buy")] and d.fills()[0][2] == held
    assert {o.symbol for o in d.exchange.orders.values()} == {"AAPL"}
    intents = d.intents()
    assert list(intents[intents["symbol"] == "KO"]["reason"]) == ["reduce-only"]
    assert intents[intents["purpose"] == "exit"].empty  # what the account does not have under this name
    told = [line for line in d.said() if line.startswith("[UNEXPLAINED]")]
    assert [line.split(")")[0] for line in told] == [
        f"[UNEXPLAINED] AAPL: the broker has 0 shares, the ledger explains {held:g} (difference -{held:g}",
        f"[UNEXPLAINED] AAPX: the broker has {held:g} shares, the ledger explains 0 (difference +{held:g}"]


# --- 24: the changes of clocks ----------------------------------------------------------------------------------------

CHANGES = [  # Friday, Monday, 09:30 in New York on both, in UTC
    pytest.param("2024-03-08", "2024-03-11", "14:30", "13:30", id="spring"),
    pytest.param("2024-11-01", "2024-11-04", "13:30", "14:30", id="autumn"),
]


@pytest.mark.parametrize(("friday", "monday", "before", "after"), CHANGES)
def test_sessions_around_a_change_of_clocks(folder, friday, monday, before, after):
    """Fault 24. Half-hour bars: 13 a day, decided on in time, the first at 09:30 in New York whatever the clocks say;
    the weekend, an hour shorter or longer, has no pass and one new day."""
    bars = minutes(2, step=30, first=friday, symbols=("AAPL", "KO"), seed=4)
    world = Flowing(folder, bars=bars, first=1, start=f"{friday} 10:00:05", until=f"{monday} 16:10:00",
                    poll_seconds=1800.0, late_grace_seconds=1800.0)
    assert world.run().status == "success"
    world.check()
    with world.ledger() as repository:
        decisions = repository.decisions(1)
    assert set(decisions["status"]) == {"decided"} and decisions["bar_time"].is_unique and len(decisions) == 26
    times = [f"{t:%Y-%m-%d %H:%M}" for t in decisions["bar_time"]]
    assert (times[0], times[13]) == (f"{friday} {before}", f"{monday} {after}")
    assert [t.tz_convert("America/New_York").strftime("%H:%M") for t in decisions["bar_time"]][13:] == [
        f"{m // 60:02d}:{m % 60:02d}" for m in range(570, 960, 30)]
    weekend = [t for t in world.passes() if pd.Timestamp(f"{friday} 16:05", tz="America/New_York") < t
               < pd.Timestamp(f"{monday} 09:30", tz="America/New_York")]
    assert [f"{t:%Y-%m-%d %H:%M}" for t in weekend] == [f"{monday} 09:25"]
    assert world.session.watch.day == pd.Timestamp(monday).date()


@pytest.mark.parametrize(("friday", "monday", "before", "after"), CHANGES)
def test_daily_bars_around_a_change_of_clocks(folder, friday, monday, before, after):
    """Fault 24. A daily bar is decided on twenty minutes after the close in New York: 16:20 there on both days."""
    count = 8
    first = str((pd.Timestamp(friday) - pd.Timedelta(days=4)).date())  # that week's Monday
    cells = {"AAPL": [(100.0, 101.0, 99.0, 100.0)] * count, "KO": [(50.0, 51.0, 49.0, 50.0)] * count}
    bars = make_bars(cells, sessions(count, first), calendar="XNYS")
    world = Flowing(folder, bars=bars, first=4, start=f"{friday} 15:00:00", until=f"{monday} 17:00:00",
                    poll_seconds=600.0)
    assert world.run().status == "success"
    world.check(protected=False)
    with world.ledger() as repository:
        decisions = repository.decisions(1)
    made = {f"{bar.tz_convert('America/New_York'):%Y-%m-%d}": at.tz_convert("America/New_York")
            for bar, at in zip(decisions["bar_time"], decisions["decided"])}
    assert list(decisions["status"]) == ["missed", "decided", "decided"]  # Thursday's was for Friday's open
    for day in (friday, monday):
        assert 0.0 <= (made[day] - pd.Timestamp(f"{day} 16:20", tz="America/New_York")).total_seconds() <= 60.0
    assert world.session.watch.day == pd.Timestamp(monday).date()
