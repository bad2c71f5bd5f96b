"""Yahoo's chart service on a loopback port, so that the real yfinance can be tested without a network.

It answers in the form that Yahoo's /v8/finance/chart has: prices, volumes and dividends divided by all later splits,
daily labels at the session's open, events beside the bars.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd
import requests
from requests.adapters import HTTPAdapter

NEW_YORK = "America/New_York"
FIELDS = ("open", "high", "low", "close", "volume")


class Chart:
    """What Yahoo knows of one symbol: bars and actions as traded, given out in Yahoo's units."""

    def __init__(self, bars: pd.DataFrame, actions: pd.DataFrame) -> None:
        self.bars = bars
        self.splits = actions[actions["type"] == "split"]
        self.dividends = actions[actions["type"] == "cash_dividend"]
        self.opens = pd.Timedelta(hours=9, minutes=30)
        self.days = bars.index.tz_localize(None).normalize()
        of_day = {day: self.later(day) for day in self.days.unique()}
        self.ratio = np.array([of_day[day] for day in self.days])
        self.periods = []
        for day in self.days.unique()[-80:]:
            a, b = (int((day.tz_localize(NEW_YORK) + pd.Timedelta(hours=h)).timestamp()) for h in (9.5, 16))
            self.periods.append([{"timezone": "EST", "start": a, "end": b, "gmtoffset": -18000}])

    def later(self, day: pd.Timestamp) -> float:
        """Product of the split ratios after a date."""
        return float(np.prod([value for ex, value in zip(self.splits["ex_date"], self.splits["value"], strict=True)
                              if ex > day]))

    def answer(self, start: int, end: int, interval: str) -> dict[str, Any]:
        daily = interval == "1d"
        stamps = self.bars.index + self.opens if daily else self.bars.index
        seconds = stamps.as_unit("s").asi8
        keep = (seconds >= start) & (seconds < end)
        ratio, rows = self.ratio[keep], self.bars[keep]
        quote = {field: (rows[field] / ratio).astype("float32").astype("float64").tolist() for field in FIELDS[:4]}
        quote["volume"] = [int(v) for v in np.round(rows["volume"] * ratio)]
        quote = {field: [None if v != v else v for v in values] for field, values in quote.items()}
        result: dict[str, Any] = {"meta": self._meta(interval),
                                  "indicators": {"quote": [quote if len(rows) else {}]}}
        if len(rows):
            result["timestamp"] = [int(s) for s in seconds[keep]]
        if daily and len(rows):
            result["indicators"]["adjclose"] = [{"adjclose": quote["close"]}]
        events: dict[str, dict] = {"dividends": {}, "splits": {}}
        for row in self.dividends.itertuples():
            when = self._second(row.ex_date)
            if start <= when < end:
                events["dividends"][str(when)] = {"amount": round(row.value / self.later(row.ex_date), 6), "date": when}
        for row in self.splits.itertuples():
            when = self._second(row.ex_date)
            if start <= when < end:
                events["splits"][str(when)] = {"date": when, "numerator": row.value, "denominator": 1.0,
                                               "splitRatio": f"{row.value:g}:1"}
        events = {kind: found for kind, found in events.items() if found}
        return result | ({"events": events} if events else {})

    def _second(self, day: pd.Timestamp) -> int:
        return int((day.tz_localize(NEW_YORK) + self.opens).timestamp())

    def _meta(self, interval: str) -> dict[str, Any]:
        current = {k: dict(self.periods[-1][0]) for k in ("pre", "regular", "post")}
        return {"currency": "USD", "symbol": "X", "exchangeName": "NMS", "instrumentType": "EQUITY",
                "firstTradeDate": 0, "regularMarketTime": self.periods[-1][0]["end"], "gmtoffset": -18000,
                "timezone": "EST", "exchangeTimezoneName": NEW_YORK, "regularMarketPrice": 1.0, "priceHint": 2,
                "currentTradingPeriod": current, "dataGranularity": interval, "range": "",
                "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
                **({"tradingPeriods": self.periods} if interval != "1d" else {})}


class FakeYahoo:
    """The service. ``reply`` may take over: it gets the request's handler and returns True when it has answered."""

    def __init__(self, charts: dict[str, Chart]) -> None:
        self.charts = charts
        self.asked: list[tuple[str, str, int, int]] = []  # symbol, interval, start, end of each request for bars
        self.paths: list[str] = []
        self.reply: Callable[[BaseHTTPRequestHandler], bool] = lambda handler: False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.paths.append(self.path)
                if not fake.reply(self):
                    fake.chart(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # a client that hung up on purpose

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def chart(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        if not url.path.startswith("/v8/finance/chart/"):
            return send(handler, 200 if url.path.endswith("getcrumb") else 404, "crumb", kind="text/plain")
        symbol = unquote(url.path.rsplit("/", 1)[1])
        if symbol not in self.charts:
            return send(handler, 404, error("Not Found", "No data found, symbol may be delisted"))
        if "period1" in query:
            start, end = int(query["period1"]), int(query["period2"])
            self.asked.append((symbol, query["interval"], start, end))
            if query["interval"] == "1m" and end - start > 8 * 86_400:
                return send(handler, 422, error("Unprocessable Entity", "1m data not available. Only 8 days worth of "
                                                "1m granularity data are allowed to be fetched per request."))
            found = self.charts[symbol].answer(start, end, query["interval"])
        else:  # yfinance asks for the time zone
            found = self.charts[symbol].answer(0, 2**40, "1d")
        return send(handler, 200, {"chart": {"result": [found], "error": None}})

    def session(self) -> requests.Session:
        """A session that sends every host's requests here."""
        port = self.server.server_address[1]

        class Here(HTTPAdapter):
            def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
                url = urlsplit(request.url)
                request.url = f"http://127.0.0.1:{port}{url.path or '/'}" + (f"?{url.query}" if url.query else "")
                return super().send(request, *args, **options)

        session = requests.Session()
        session.trust_env = False  # no proxy for loopback
        session.mount("https://", Here())
        return session

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def error(code: str, text: str) -> dict[str, Any]:
    """Yahoo's form of an error."""
    return {"chart": {"result": None, "error": {"code": code, "description": text}}}


def send(handler: BaseHTTPRequestHandler, status: int, body: object, kind: str = "application/json") -> None:
    """Answer a request."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def forget(folder: object) -> None:
    """Empty what yfinance remembers within the process, and keep its files out of the user's cache."""
    import yfinance
    from yfinance import base, data

    yfinance.set_tz_cache_location(str(folder))
    data.SingletonMeta._instances.clear()
    data.YfData.cache_get.cache_clear()
    base._tz_info_fetch_ctr = 0
