"""Market data of stocks: /v2/stocks.

Bars come from `market_data`. Trades and quotes are made up of them (`prints`), say so in their conditions and in the
header X-Sandbox-Synthetic, and never fill an order. The latest bar is the last finished one of the replayed interval:
on daily bars, a daily one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botlib.sandbox import paging, timeframes
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.formats import NS, local, timestamp
from botlib.sandbox.market_data import MarketData
from botlib.sandbox.messages import (
    Query,
    Request,
    Response,
    answer,
    bad_request,
    checked_symbol,
    day_ns,
    decoded,
    encoded,
    moment_ns,
)
from botlib.sandbox.orders import Refusal
from botlib.sandbox.prints import Prints
from botlib.sandbox.timeframes import Timeframe

_COMMON = ("symbols", "start", "end", "limit", "asof", "feed", "currency", "page_token", "sort")
_LATEST = ("symbols", "feed", "currency")
FEEDS = ("sip", "iex")
ALL_FEEDS = ("sip", "iex", "otc", "boats", "delayed_sip", "overnight")
NS_A_QUARTER = 15 * 60 * NS


class Data:
    """Handlers of one exchange.

    Parameters
    ----------
    exchange : Exchange
    basic : bool
        The free plan: the last 15 minutes of the SIP feed are refused, and IEX is the default of the latest data.
    unfinished : bool
        See `MarketData`.
    """

    def __init__(self, exchange: Exchange, basic: bool = False, unfinished: bool = True) -> None:
        self.x, self.basic = exchange, basic
        self.market = MarketData(exchange, unfinished)
        self._prints: dict[str, Prints] = {}

    def routes(self) -> dict[tuple[str, str], Callable[..., Response]]:
        """By method and path; a path that ends in "/" takes what follows it."""
        return {("GET", "/v2/stocks/"): self.stocks}

    def stocks(self, request: Request, rest: str) -> Response:
        """Everything under /v2/stocks, of several symbols or of one."""
        parts = rest.split("/")
        single = parts.pop(0) if rest not in _MANY else None
        handler = _KINDS.get("/".join(parts))
        if handler is None or (single is None and rest == "snapshot") or rest == "snapshots" and single is not None:
            raise Refusal(404, None, f"endpoint not found: the sandbox does not serve {request.path}", "not-served")
        kind, what = handler
        query = Query(request.query, data=True)
        if single is not None:
            query.only({*(_LATEST if kind != "range" else _COMMON), *(_BARS if what == "bars" else ())} - {"symbols"})
            symbols = [checked_symbol(single, self.market.column)]
        else:
            query.only({*(_LATEST if kind != "range" else _COMMON), *(_BARS if what == "bars" else ())})
            symbols = self._symbols(query)
        if query.text("currency") not in (None, "USD"):
            raise bad_request("currency: the sandbox serves USD only")
        if kind == "range":
            return self._range(query, what, symbols, single)
        self._feed(query, "iex" if self.basic else "sip")
        return self._latest(what, symbols, single) if kind == "latest" else self._snapshots(symbols, single)

    # --- parameters ---------------------------------------------------------------------------------------------------

    def _symbols(self, query: Query) -> list[str]:
        words = query.words("symbols")
        if not words:
            raise bad_request("symbols is required")
        return sorted({checked_symbol(word, self.market.column) for word in words})

    def _feed(self, query: Query, default: str) -> str:
        feed = query.choice("feed", default, ALL_FEEDS)
        if feed not in FEEDS:
            raise Refusal(403, None, f"subscription does not permit querying {feed} data", "feed-not-served")
        return feed

    def _span(self, query: Query) -> tuple[int, int]:
        """First and last time asked for; never beyond now."""
        now = int(self.x.now)
        start, end = query.moment("start"), query.moment("end", end=True)
        recent = self._feed(query, "sip") == "sip" and self.basic
        if recent and end is not None and end > now - NS_A_QUARTER:
            raise Refusal(403, None, "subscription does not permit querying recent SIP data", "recent-sip")
        if end is None:
            end = now - NS_A_QUARTER if recent else now
        if start is None:
            start = min(day_ns(local(now).date().isoformat()) or 0, end)
        if end < start:
            raise bad_request("end should not be before start")
        if query.text("asof") not in (None, "-"):
            query.date("asof")
        return start, min(end, now)

    def _timeframe(self, query: Query) -> Timeframe:
        text = query.text("timeframe") or ""
        found = timeframes.read(text)
        if found is None:
            raise bad_request(f"invalid timeframe: {text}")
        if not self.market.serves(found):
            served = ", ".join(str(one) for one in timeframes.USUAL if self.market.serves(one))
            raise bad_request(f"invalid timeframe: {text} cannot be made of the {self.x.bars.interval} bars that the "
                              f"sandbox replays: it serves {served}, and others made of them")
        return found

    def _adjustment(self, query: Query) -> str:
        words = query.words("adjustment") or ["raw"]
        strange = [w for w in words if w not in ("raw", "split", "dividend", "spin-off", "all")]
        if strange:
            raise bad_request(f"invalid adjustment: {strange[0]}")
        wanted = {"split", "dividend"} if "all" in words else set(words) & {"split", "dividend"}
        return "all" if len(wanted) == 2 else next(iter(wanted), "raw")

    # --- ranges -------------------------------------------------------------------------------------------------------

    def _range(self, query: Query, what: str, symbols: list[str], single: str | None) -> Response:
        limit = query.integer("limit", 1000, 1, 10_000)
        descending = query.choice("sort", "asc", ("asc", "desc")) == "desc"
        after = _read_token(query)
        letter = ""
        if what == "bars":
            timeframe = self._timeframe(query)
            letter = timeframe.unit[0]
            how = self._adjustment(query)
        start, end = self._span(query)
        known = [s for s in symbols if s in self.market.column]
        if what == "bars":
            sources = [(s, self._bars(s, timeframe, how)) for s in known]
        else:
            sources = [(s, self._made_up(s, what)) for s in known]
        page = paging.page(sources, start, end, limit, after, descending)
        token = "null" if page.token is None else json.dumps(_token(*page.token, letter))
        if single is not None:
            points = next(iter(page.points.values()), [])
            body = f'{{"{what}":[{",".join(points)}],"next_page_token":{token},"symbol":{json.dumps(single)}}}'
        else:
            body = f'{{"{what}":{_bychecked_symbol(page.points)},"next_page_token":{token}}}'
        return self._labelled(answer(body), what)

    def _bars(self, symbol: str, timeframe: Timeframe, how: str) -> paging.Source:
        series = self.market.series(symbol, timeframe, how)
        extra = self.market.partial(symbol, timeframe, how) if self.market.unfinished else None
        return paging.Source(series.times, series.stop(self.market.known(timeframe)), series.texts, extra)

    def _of(self, symbol: str) -> Prints:
        if symbol not in self._prints:
            self._prints[symbol] = Prints(self.x, symbol)
        return self._prints[symbol]

    def _made_up(self, symbol: str, what: str) -> paging.Source:
        prints = self._of(symbol)
        write = prints.trade if what == "trades" else prints.quote
        return paging.Source(prints.times, prints.stop(self.market.bar),
                             lambda low, high: [write(k) for k in range(low, high)])

    def _labelled(self, response: Response, what: str) -> Response:
        """With a header that names what is made up."""
        made_up = {"bars": [name for name in ("vwap", "trade_count") if name not in self.x.bars.extra],
                   "trades": ["trades"], "quotes": ["quotes"], "snapshots": ["trades", "quotes"]}[what]
        if not made_up:
            return response
        return Response(response.status, {**response.headers, "X-Sandbox-Synthetic": ",".join(made_up)}, response.body)

    # --- the latest ---------------------------------------------------------------------------------------------------

    def _last(self, what: str, symbol: str) -> str | None:
        """The latest point of a symbol, as JSON."""
        if symbol not in self.market.column:
            return None
        if what == "bars":
            bar = self.market.latest(symbol)
            return None if bar is None else json.dumps(bar, separators=(",", ":"))
        prints = self._of(symbol)
        stop = prints.stop(self.market.bar)
        if not stop:
            return None
        return prints.trade(stop - 1) if what == "trades" else prints.quote(stop - 1)

    def _latest(self, what: str, symbols: list[str], single: str | None) -> Response:
        if single is not None:
            found = self._last(what, symbols[0])
            if found is None:
                raise Refusal(404, None, f"no {what[:-1]} found for {single}", "nothing-found")
            body = f'{{"{what[:-1]}":{found},"symbol":{json.dumps(single)}}}'
        else:
            points = {s: found for s in symbols if (found := self._last(what, s)) is not None}
            body = f'{{"{what}":{{{",".join(f"{json.dumps(s)}:{p}" for s, p in points.items())}}}}}'
        return self._labelled(answer(body), what)

    def _snapshots(self, symbols: list[str], single: str | None) -> Response:
        made = {s: shot for s in symbols if (shot := self._snapshot(s))}
        if single is not None:
            return self._labelled(answer({"symbol": single, **made.get(single, {})}), "snapshots")
        return self._labelled(answer(made), "snapshots")

    def _snapshot(self, symbol: str) -> dict[str, Any]:
        trade, quote = self._last("trades", symbol), self._last("quotes", symbol)
        if trade is None or quote is None:
            return {}
        today, before = self.market.days(symbol)
        made: dict[str, Any] = {"latestQuote": json.loads(quote), "latestTrade": json.loads(trade)}
        if self.x.bars.interval == "1m":
            made["minuteBar"] = self.market.latest(symbol)
        made |= {name: bar for name, bar in (("dailyBar", today), ("prevDailyBar", before)) if bar is not None}
        return made


_BARS = ("timeframe", "adjustment")
_KINDS = {"bars": ("range", "bars"), "quotes": ("range", "quotes"), "trades": ("range", "trades"),
          "bars/latest": ("latest", "bars"), "quotes/latest": ("latest", "quotes"),
          "trades/latest": ("latest", "trades"), "snapshots": ("snapshot", "many"), "snapshot": ("snapshot", "one")}
_MANY = frozenset(_KINDS) - {"snapshot"}


def _bychecked_symbol(points: dict[str, list[str]]) -> str:
    return "{" + ",".join(f"{json.dumps(s)}:[{','.join(texts)}]" for s, texts in points.items()) + "}"


def _token(symbol: str, time: int, letter: str) -> str:
    """Alpaca's form: symbol, timeframe's letter (bars), time of the last point."""
    second, rest = divmod(time, NS)
    stamp = f"{timestamp(second * NS)[:-1]}.{rest:09d}Z"
    return encoded("|".join(part for part in (symbol, letter, stamp) if part))


def _read_token(query: Query) -> tuple[str, int] | None:
    token = query.text("page_token")
    if token is None:
        return None
    parts = (decoded(token) or "").split("|")
    time = moment_ns(parts[-1]) if len(parts) in (2, 3) else None
    if time is None:
        raise bad_request("invalid page_token")
    return parts[0], time
