"""A small market for the tests of the sandbox, and a client without a library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.calendars import schedule
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.messages import Request, Response

NEW_YORK = "America/New_York"
KEYS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}
Cell = tuple[float, ...]


def sessions(count: int, first: str = "2024-03-04") -> pd.DatetimeIndex:
    """Session days of the exchange at 00:00; 2024-03-04 is a Monday, 2024-03-29 a holiday."""
    timetable = schedule("XNYS")
    start = int(np.datetime64(first, "D").astype(int))
    days = timetable.days[timetable.days >= start][:count]
    return pd.DatetimeIndex(days.astype("M8[D]").astype("M8[ns]")).tz_localize(NEW_YORK)


def market(cells: Mapping[str, Sequence[Cell | None]], index: pd.DatetimeIndex | None = None, *,
           actions: Sequence[tuple[Any, ...]] | None = None, interval: str = "1d",
           extra: Mapping[str, Any] | None = None) -> Bars:
    """Bars of ``{symbol: (open, high, low, close[, volume])}``; ``actions``: (symbol, ex_date, type, value[, pay])."""
    count = len(next(iter(cells.values())))
    panels = np.full((5, count, len(cells)), np.nan)
    for n, column in enumerate(cells.values()):
        for t, cell in enumerate(column):
            if cell is not None:
                panels[:, t, n] = cell if len(cell) == 5 else (*cell, 1_000_000.0)
    table = None
    if actions is not None:
        rows = [(*a, None) if len(a) == 4 else a for a in actions]
        table = pd.DataFrame(rows, columns=["symbol", "ex_date", "type", "value", "pay_date"])
        table = table.assign(ex_date=pd.to_datetime(table["ex_date"]), pay_date=pd.to_datetime(table["pay_date"]))
    return Bars(sessions(count) if index is None else index, list(cells),
                **dict(zip(("open", "high", "low", "close", "volume"), panels)), interval=interval, calendar="XNYS",
                actions=table, extra=extra)


def steady(count: int = 12, **prices: float) -> Bars:
    """Every bar of a symbol opens and closes at its price, with a range of 1 % around it."""
    wanted = prices or {"AAPL": 100.0, "KO": 50.0, "TSLA": 200.0}
    return market({s: [(p, p * 1.01, p * 0.99, p)] * count for s, p in wanted.items()})


def minutes(days: int = 2, step: int = 1, first: str = "2024-03-04", symbols: Sequence[str] = ("AAPL", "KO"),
            seed: int = 0) -> Bars:
    """Intraday bars of ``step`` minutes in regular hours, a random walk on cents."""
    stamps = []
    for day in sessions(days, first):
        end = 13 * 60 if day.date().isoformat() == "2024-07-03" else 16 * 60  # a half day
        stamps += [day + pd.Timedelta(minutes=m) for m in range(570, end, step)]
    index = pd.DatetimeIndex(stamps)
    rng = np.random.default_rng(seed)
    cells: dict[str, list[Cell | None]] = {}
    for symbol in symbols:
        close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.001, len(index)))), 2)
        opened = np.append(100.0, close[:-1])
        high, low = np.maximum(opened, close) + 0.05, np.minimum(opened, close) - 0.05
        volume = rng.integers(100, 10_000, len(index)).astype(float)
        cells[symbol] = [tuple(np.round(row, 2)) for row in zip(opened, high, low, close, volume)]
    names = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h"}
    return market(cells, index, interval=names[step])


class Desk:
    """An exchange with its API; what nobody foresaw is raised."""

    def __init__(self, bars: Bars | None = None, *, first: int = 1, **options: Any) -> None:
        mine = {name: options.pop(name) for name in ("rate_limit", "clock", "basic_plan", "unfinished_bars", "keys")
                if name in options}
        self.exchange = Exchange(steady() if bars is None else bars, first=first, **options)
        self.api = Api(self.exchange, raise_bugs=True, **mine)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = KEYS,
            **query: Any) -> Response:
        """One request; ``query`` as alpaca-py writes it."""
        pairs = [(name, str(value)) for name, value in query.items() if value is not None]
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.api.handle(Request(method, path, pairs, headers, data))

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that is answered with 200."""
        response = self.ask("GET", path, **query)
        assert response.status == 200, response.body
        return response.json()

    def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, int | None, str]:
        """(status, code, message) of what is refused."""
        response = self.ask(method, path, body, **query)
        assert response.status >= 400, response.body
        found = response.json()
        return response.status, found.get("code"), found["message"]

    def order(self, symbol: str = "AAPL", qty: Any = "1", side: str = "buy", type: str = "market",
              time_in_force: str = "day", **more: Any) -> Any:
        """A submitted order, as it was answered."""
        body = {"symbol": symbol, "qty": qty, "side": side, "type": type, "time_in_force": time_in_force, **more}
        response = self.ask("POST", "/v2/orders", {k: v for k, v in body.items() if v is not None})
        assert response.status == 200, response.body
        return response.json()
