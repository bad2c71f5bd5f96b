"""GET /v2/account/portfolio/history: equity and profit over time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from botlib.bars import INTERVAL_MINUTES
from botlib.calendars import NS_A_MINUTE, days_of
from botlib.sandbox.api_account import ACTIVITY_TYPES
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.formats import NEW_YORK, NS, local
from botlib.sandbox.messages import Query, Request, Response, answer, invalid

TIMEFRAMES = {"1Min": 1, "5Min": 5, "15Min": 15, "1H": 60, "1D": None}
_PERIOD = re.compile(r"(\d{1,4})([DWMA])", re.ASCII)
_FLOWS = ("CSD", "CSW")
NS_A_DAY = 86_400_000_000_000


class Portfolio:
    """Handler of one exchange.

    Profit is against ``base_value``, the equity before the first point, without what was paid in or out; intraday, with
    ``pnl_reset=per_day``, against the previous session's close. Days are stamped with their session's close, intraday
    windows with their start. Days count when their session is over.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.x = exchange

    def routes(self) -> dict[tuple[str, str], Callable[..., Response]]:
        """By method and path."""
        return {("GET", "/v2/account/portfolio/history"): self.history}

    def history(self, request: Request) -> Response:
        """The points of a period."""
        query = Query(request.query)
        reporting = query.choice("intraday_reporting", "market_hours",
                                 ("market_hours", "extended_hours", "continuous"))
        if query.truth("extended_hours"):
            reporting = "extended_hours"
        if reporting == "continuous":
            raise invalid("intraday_reporting=continuous: the sandbox has prices only in its bars", "not-served")
        start, end, period = self._span(query)
        timeframe = self._timeframe(query, (end - start) / NS_A_DAY, period)
        reset = query.choice("pnl_reset", "per_day", ("per_day", "no_reset")) == "per_day"
        flows = self._flow_types(query)
        points = self._days(start, end) if timeframe == "1D" else self._windows(
            start, end, TIMEFRAMES[timeframe] or 0, reporting == "market_hours")
        return answer(self._answer(points, timeframe, flows, reset and timeframe != "1D"))

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _span(self, query: Query) -> tuple[int, int, str | None]:
        period = query.text("period")
        start, end = query.moment("start", unix=True), query.moment("end", unix=True)
        if end is None:
            end = query.moment("date_end", end=True)
        if start is not None and end is not None:
            if period is not None:
                raise invalid("period does not go with start and end")
            if end < start:
                raise invalid("end should not be before start")
            return start, min(end, self.x.now), None
        found = _PERIOD.fullmatch(period or "1M")
        if found is None:
            raise invalid(f"invalid period: {period!r}. It is a number and D, W, M or A, such as 1M")
        count, unit = int(found[1]), found[2]
        offset = pd.DateOffset(**{{"D": "days", "W": "weeks", "M": "months", "A": "years"}[unit]: count})
        try:
            if start is not None:
                stop = pd.Timestamp(start, tz="UTC").tz_convert(NEW_YORK) + offset
                return start, min(stop.as_unit("ns").value, self.x.now), period
            end = self.x.now if end is None else min(end, self.x.now)
            begin = pd.Timestamp(end, tz="UTC").tz_convert(NEW_YORK) - offset
            return begin.as_unit("ns").value, end, period
        except (OverflowError, ValueError):
            raise invalid(f"invalid period: {period!r} reaches beyond the calendar") from None

    def _timeframe(self, query: Query, days: float, period: str | None) -> str:
        asked = query.text("timeframe")
        if asked is not None and asked not in TIMEFRAMES:
            raise invalid(f"invalid timeframe: {asked!r}. It must be one of: {', '.join(TIMEFRAMES)}")
        source = INTERVAL_MINUTES[self.x.bars.interval]
        if asked is None:  # the finest that the bars allow, from Alpaca's choice on
            wanted = ("1Min", "5Min", "15Min", "1H") if days < 7 else ("15Min", "1H") if days < 30 else ()
            fit = [name for name in wanted if source is not None and (TIMEFRAMES[name] or 0) % source == 0]
            return fit[0] if fit else "1D"
        minutes = TIMEFRAMES[asked]
        if minutes is None:
            return asked
        if days > 31:
            raise invalid("for periods longer than 30 days only 1D is accepted as timeframe")
        if source is None or minutes % source:
            raise invalid(f"timeframe={asked}: the sandbox replays bars of {self.x.bars.interval} and serves multiples "
                          "of them", "not-served")
        return asked

    def _flow_types(self, query: Query) -> list[str]:
        types = query.words("cashflow_types")
        if types in ([], ["NONE"]):
            return []
        moved = sorted({a.type for a in self.x.activities if a.net_amount and a.type != "FILL"})
        if types == ["ALL"]:
            return moved
        strange = sorted(set(types) - ACTIVITY_TYPES)
        if strange:
            raise invalid(f"invalid cashflow_types: {', '.join(strange)}")
        return types

    # --- points -------------------------------------------------------------------------------------------------------

    def _recorded(self) -> tuple[np.ndarray, np.ndarray]:
        times, equity = zip(*self.x.equity_history, strict=True)
        return np.array(times, np.int64), np.array(equity)

    def _days(self, start: int, end: int) -> _Points:
        """One point a finished session: stamped with its close."""
        times, equity = self._recorded()
        schedule = self.x.tape.schedule
        days = _new_york_days(times)
        last = np.flatnonzero(np.append(np.diff(days) != 0, True))  # of each day
        position, is_session = schedule.locate(days[last])
        closes = schedule.closes[position]
        span = _new_york_days(np.array([start, end], np.int64))
        keep = is_session & (closes <= self.x.now) & (days[last] >= span[0]) & (days[last] <= span[1])
        keep &= last > 0  # the first record is the account's beginning
        first = int(days.searchsorted(days[last][keep][0])) if keep.any() else len(times)
        return _Points(closes[keep], equity[last[keep]], times[last[keep]], days[last[keep]], max(0, first - 1))

    def _windows(self, start: int, end: int, minutes: int, regular: bool) -> _Points:
        """One point a window: stamped with its start, the equity at its end."""
        times, equity = self._recorded()
        step, schedule, bars = minutes * NS_A_MINUTE, self.x.tape.schedule, self.x.bars
        row = np.maximum(0, self.x.tape.finals.searchsorted(times))  # the bar at whose end it was recorded
        row = np.minimum(row, len(bars) - 1)
        begun = self.x.tape.starts[row]
        position, _ = schedule.locate(bars.sessions[row])
        opens = schedule.opens[position]
        label = np.where(bars.in_session[row], opens + (begun - opens) // step * step, begun // step * step)
        keep = (begun >= start // step * step) & (begun <= end) & (np.arange(len(times)) > 0)
        if regular:
            keep &= bars.in_session[row]
        kept = np.flatnonzero(keep)
        before = int(kept[0]) - 1 if len(kept) else len(times) - 1
        if len(kept):
            kept = kept[np.append(np.diff(label[kept]) != 0, True)]
        return _Points(label[kept], equity[kept], times[kept], bars.sessions[row[kept]], before)

    def _answer(self, p: _Points, timeframe: str, flows: list[str], reset: bool) -> dict[str, Any]:
        times, equity = self._recorded()
        base, since = float(equity[p.before]), int(times[p.before])
        at = np.full(len(p.labels), p.before)
        if reset and len(p.labels):
            at = np.maximum(_new_york_days(times).searchsorted(p.days) - 1, 0)
        paid = self._paid(_FLOWS)
        profit = p.value - equity[at] - (paid(p.known) - paid(times[at]))
        parts = np.divide(profit, equity[at], out=np.full(len(profit), np.nan), where=equity[at] != 0.0)
        return {
            "base_value": round(base, 6),
            "base_value_asof": local(since).date().isoformat(),
            "cashflow": {kind: self._flow(kind, since, p.known) for kind in flows},
            "equity": [round(v, 6) for v in p.value.tolist()],
            "profit_loss": [round(v, 6) for v in profit.tolist()],
            "profit_loss_pct": [None if np.isnan(v) else round(v, 10) for v in parts.tolist()],
            "timeframe": timeframe,
            "timestamp": (p.labels // NS).tolist(),
        }

    def _paid(self, kinds: tuple[str, ...]) -> Callable[[np.ndarray], np.ndarray]:
        """The sum of such activities before given times: at that very moment, they came after equity was recorded."""
        rows = [(a.time, a.net_amount) for a in self.x.activities if a.type in kinds]
        times = np.array([t for t, _ in rows], np.int64)
        sums = np.concatenate([[0.0], np.cumsum([amount for _, amount in rows])])
        return lambda at: sums[times.searchsorted(at, side="left")]

    def _flow(self, kind: str, since: int, known: np.ndarray) -> list[float]:
        """What came in each window."""
        sums = self._paid((kind,))(np.concatenate([[since], known]).astype(np.int64))
        return [round(v, 6) for v in np.diff(sums).tolist()]


class _Points(NamedTuple):
    """labels, known : (P,) UTC ns, the stamp and when it was recorded; value : dollars; days : sessions; before : the
    record before the first."""

    labels: np.ndarray
    value: np.ndarray
    known: np.ndarray
    days: np.ndarray
    before: int


def _new_york_days(times: np.ndarray) -> np.ndarray:
    return days_of(pd.DatetimeIndex(times, tz="UTC").tz_convert(NEW_YORK))
