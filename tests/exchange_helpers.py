"""Days, bars and calls for the tests of the local exchange's core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import NEW_YORK, Cell, make_bars

import botlib
from botlib.alpaca_rules import OrderRequest
from botlib.bars import Bars
from botlib.calendars import schedule
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.orders import Order, Refusal


def sessions(count: int, first: str = "2024-03-04") -> pd.DatetimeIndex:
    """Session days at 00:00; 2024-03-04 is a Monday, 2024-03-29 a holiday."""
    timetable = schedule("XNYS")
    days = timetable.days[timetable.days >= int(np.datetime64(first, "D").astype(int))][:count]
    return pd.DatetimeIndex(days.astype("M8[D]").astype("M8[ns]")).tz_localize(NEW_YORK)


def hours(days: int, *times: str, first: str = "2024-03-04") -> pd.DatetimeIndex:
    """The same times on each of so many sessions."""
    return pd.DatetimeIndex([day + pd.Timedelta(time) for day in sessions(days, first) for time in times])


def daily(*cells: Cell, first: str = "2024-03-04", actions: Sequence[tuple[Any, ...]] | None = None,
          **more: Sequence[Cell]) -> Bars:
    """Daily bars of AAA (one price for all four, or open, high, low, close[, volume]) and of whatever is named."""
    columns = {"AAA": cells, **more}
    return make_bars(columns, sessions(len(cells), first), calendar="XNYS", actions=actions)


def intraday(index: pd.DatetimeIndex, cells: Sequence[Cell], interval: str = "1h", **options: Any) -> Bars:
    """Intraday bars of AAA."""
    return make_bars({"AAA": cells}, index, calendar="XNYS", interval=interval, **options)


def order(side: str = "buy", qty: float | None = 10.0, symbol: str = "AAA", **fields: Any) -> OrderRequest:
    """A request; "limit", "stop" and so on follow from the prices that are given."""
    kind = {(False, False): "market", (True, False): "limit", (False, True): "stop", (True, True): "stop_limit"}[
        "limit_price" in fields, "stop_price" in fields]
    return OrderRequest(**{"symbol": symbol, "side": side, "qty": qty, "type": kind} | fields)


def refusal(call: Any, *args: Any, **fields: Any) -> Refusal:
    """What a call is refused with."""
    with pytest.raises(Refusal) as caught:
        call(*args, **fields)
    return caught.value


def fills(x: Exchange) -> list[tuple[str, int, float, float]]:
    """(symbol, signed side, quantity, price) in order."""
    return [(a.symbol, a.side, a.qty, a.price) for a in x.activities if a.type == "FILL"]


def events(x: Exchange, one: Order | None = None) -> list[str]:
    """The stream's events, or those of one order."""
    return [u.event for u in x.updates if one is None or u.order.id == one.id]


def moved(x: Exchange, *types: str) -> Mapping[str, float]:
    """Net dollars of activities by type."""
    return {t: sum(a.net_amount for a in x.activities if a.type == t) for t in types}


# --- Situations ------------------------------------------------------------------------------------------------------

FLAT = 100.0  # the bar of history before the first that happens
DAY = (101.0, 103.0, 99.0, 102.0)
WAITS = ["accepted", "new"]
NOW = ["pending_new", "new"]


def ns(when: str) -> int:
    """A moment in New York, UTC ns."""
    return int(pd.Timestamp(when, tz=NEW_YORK).as_unit("ns").value)


def held(*cells, qty: float = 10.0, side: str = "buy", **options) -> Exchange:
    """An exchange whose first bar has filled an entry of ``qty`` at 100."""
    x = Exchange(daily(FLAT, FLAT, *cells, **{k: options.pop(k) for k in ("actions",) if k in options}), **options)
    x.submit(order(side, qty))
    x.advance()
    return x


def thin(*volumes: float, **options) -> Exchange:
    """Bars that open and close at 100, of which a tenth of the volume may be had."""
    costs = botlib.Costs(max_participation_pct=10.0, slippage_bps=0.0, regulatory_fees=False)
    return Exchange(daily(FLAT, *[(100.0, 101.0, 99.0, 100.0, v) for v in volumes]), costs=costs, **options)


def bracket(side: str = "buy", qty: float = 10.0, **fields) -> OrderRequest:
    """An entry with its target and stop 5 away from 100."""
    up = side == "buy"
    legs = {"take_profit": 105.0 if up else 95.0, "stop_loss": 95.0 if up else 105.0}
    return order(side, qty, order_class="bracket", **({"time_in_force": "gtc"} | legs | fields))


def oco(qty: float = 10.0, side: str = "sell", **fields) -> OrderRequest:
    """An exit with its target and stop 5 away from 100."""
    up = side == "sell"
    return order(side, qty, **({"type": "limit", "order_class": "oco", "time_in_force": "gtc",
                                "take_profit": 105.0 if up else 95.0, "stop_loss": 95.0 if up else 105.0} | fields))


def statuses(x: Exchange, sent) -> list[str]:
    """Of an order and its legs, now."""
    return [x.get(o.id).status for o in (sent, *sent.legs)]
