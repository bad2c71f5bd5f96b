"""The account and the exchange's hours: /v2/account, its configurations and activities, /v2/clock, /v2/calendar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from botlib.calendars import Schedule
from botlib.sandbox import wire
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.messages import Query, Request, Response, answer, body_of, invalid
from botlib.sandbox.orders import Activity

# What "TRANS" and "MISC" stand for, and all that Alpaca names.
ACTIVITY_TYPES = frozenset(
    "FILL TRANS MISC ACATC ACATS CFEE CGD CSD CSW DIV DIVCGL DIVCGS DIVFEE DIVFT DIVNRA DIVROC DIVTW DIVTXEX FEE INT "
    "INTNRA INTTW JNL JNLC JNLS MA NC OPASN OPCA OPCSH OPEXC OPEXP OPTRD PTC PTR REO REORG SPIN SPLIT FOPT OCT".split())
_TRANSFERS = frozenset({"CSD", "CSW"})
_WORDS = {"max_margin_multiplier": ("1", "2", "4"), "trade_confirm_email": ("all", "none")}
_FLAGS = ("disable_overnight_trading", "fractional_trading", "no_shorting", "suspend_trade", "ptp_no_exception_entry")
# When the settlement cycle of US equities became so many days.
_CYCLES = ((dt.date(2024, 5, 28), 1), (dt.date(2017, 9, 5), 2), (dt.date(1995, 6, 7), 3), (dt.date.min, 5))


class Accounts:
    """Handlers of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.x = exchange
        self.configurations: dict[str, Any] = {
            "disable_overnight_trading": True,
            "fractional_trading": True,
            "max_margin_multiplier": wire.plain(exchange.account.multiplier),
            "max_options_trading_level": 0,
            "no_shorting": not exchange.shorting_enabled,
            "ptp_no_exception_entry": False,
            "suspend_trade": False,
            "trade_confirm_email": "all",
        }

    def routes(self) -> dict[tuple[str, str], Callable[..., Response]]:
        """By method and path; a path that ends in "/" takes what follows it."""
        return {
            ("GET", "/v2/account"): lambda request: answer(wire.account(self.x)),
            ("GET", "/v2/account/configurations"): self.get_configurations,
            ("PATCH", "/v2/account/configurations"): self.patch_configurations,
            ("GET", "/v2/account/activities"): self.list_activities,
            ("GET", "/v2/account/activities/"): self.list_activities,
            ("GET", "/v2/clock"): lambda request: answer(wire.clock(self.x)),
            ("GET", "/v2/calendar"): self.calendar,
        }

    # --- configurations -----------------------------------------------------------------------------------------------

    def get_configurations(self, request: Request) -> Response:
        """GET /v2/account/configurations."""
        live = {"no_shorting": not self.x.shorting_enabled, "suspend_trade": self.x.trade_suspended_by_user,
                "max_margin_multiplier": wire.plain(self.x.account.multiplier)}
        return answer({**self.configurations, **live})

    def patch_configurations(self, request: Request) -> Response:
        """PATCH /v2/account/configurations: what is given changes, the rest stays."""
        body = {name: value for name, value in body_of(request).items() if value is not None}  # as alpaca-py sends them
        for name, value in body.items():
            if name not in self.configurations:
                raise invalid(f"unknown configuration: {name}", "unknown-configuration")
            if name in _FLAGS and not isinstance(value, bool):
                raise invalid(f"{name} must be true or false", "configuration-value")
            if name in _WORDS and value not in _WORDS[name]:
                raise invalid(f"{name} must be one of: {', '.join(_WORDS[name])}", "configuration-value")
            if name == "max_options_trading_level" and (value != 0 or isinstance(value, bool)):
                raise invalid("max_options_trading_level: the sandbox serves no options, only 0", "not-served")
        if body.get("disable_overnight_trading") is False:
            raise invalid("disable_overnight_trading: the sandbox has no overnight session", "not-served")
        if body.get("no_shorting") is False and float(body.get("max_margin_multiplier",
                                                               self.x.account.multiplier)) <= 1.0:
            raise invalid("no_shorting: an account with a multiplier of 1 cannot short", "configuration-value")
        self.configurations.update(body)
        if "no_shorting" in body:
            self.x.shorting_enabled = not body["no_shorting"]
        if "suspend_trade" in body:
            self.x.trade_suspended_by_user = body["suspend_trade"]
        if "max_margin_multiplier" in body:
            self.x.account.multiplier = float(body["max_margin_multiplier"])
            self.x.shorting_enabled = self.x.shorting_enabled and self.x.account.multiplier > 1.0
        return self.get_configurations(request)

    # --- activities ---------------------------------------------------------------------------------------------------

    def list_activities(self, request: Request, kind: str | None = None) -> Response:
        """GET /v2/account/activities and …/{activity_type}: newest first, at most 100 a page."""
        query = Query(request.query)
        keep = self._filter(query, kind)
        descending = query.choice("direction", "desc", ("asc", "desc")) == "desc"
        size = query.integer("page_size", 100, 1, 100)
        token = query.text("page_token")
        found: list[dict[str, Any]] = []
        seen = token is None
        for a in reversed(self.x.activities) if descending else self.x.activities:
            if not seen:
                seen = a.id == token
            elif keep(a):
                found.append(wire.activity(a))
                if len(found) == size:
                    break
        if not seen:
            raise invalid(f"page_token {token} is no activity's id", "unknown-page-token", 40010001)
        return answer(found)

    def _filter(self, query: Query, kind: str | None) -> Callable[[Activity], bool]:
        types = set([kind] if kind else query.words("activity_types"))
        strange = sorted(types - ACTIVITY_TYPES)
        if strange:
            raise invalid(f"invalid activity type: {', '.join(strange)}", "unknown-activity-type", 40010001)
        category = query.choice("category", "", ("", "trade_activity", "non_trade_activity"))
        if category and types:
            raise invalid("category does not go with activity_types", code=40010001)
        # A date stands for its whole day in New York.
        day, day_end = query.moment("date"), query.moment("date", end=True)
        if day == day_end and day is not None:
            text = wire.local(day).date().isoformat()
            day, day_end = (Query([("date", text)]).moment("date", end=end) for end in (False, True))
        after, until = query.moment("after"), query.moment("until")
        order_id = query.text("order_id")

        def keep(a: Activity) -> bool:
            typed = not types or a.type in types or ("TRANS" in types and a.type in _TRANSFERS) or (
                "MISC" in types and a.type not in _TRANSFERS and a.type not in ("FILL", "DIV"))
            filled = a.type == "FILL"
            return (typed and (not category or filled == (category == "trade_activity"))
                    and (order_id is None or a.order_id == order_id) and (after is None or a.time > after)
                    and (until is None or a.time < until)
                    and (day is None or day_end is None or day <= a.time <= day_end))

        return keep

    # --- hours --------------------------------------------------------------------------------------------------------

    def calendar(self, request: Request) -> Response:
        """GET /v2/calendar: sessions of the exchange, with half days, by trading or settlement date."""
        query = Query(request.query)
        query.refuse = lambda message: invalid(message, code=40010001, status=400)
        by = query.choice("date_type", "TRADING", ("TRADING", "SETTLEMENT"))
        start, end = query.date("start"), query.date("end")
        if start is not None and end is not None and end < start:
            raise query.refuse("end should not be before start")
        rows = _calendar(self.x.tape.schedule)
        name = "date" if by == "TRADING" else "settlement_date"
        low, high = (start or dt.date.min).isoformat(), (end or dt.date.max).isoformat()
        return answer([row for row in rows if low <= row[name] <= high])


@lru_cache(maxsize=4)
def _calendar(schedule: Schedule) -> list[dict[str, str]]:
    """Every session as Alpaca writes it. Extended hours: 4:00 to four hours after the close."""
    days = [dt.date(1970, 1, 1) + dt.timedelta(days=int(d)) for d in schedule.days]
    settles = [d for d in days if not _banks_closed(d)]
    ordinals = np.array([d.toordinal() for d in settles])
    rows = []
    for day, opens, closes in zip(days, schedule.opens.tolist(), schedule.closes.tolist(), strict=True):
        at = int(ordinals.searchsorted(day.toordinal(), side="right")) + settlement_days(day) - 1
        settled = settles[at] if at < len(settles) else day + dt.timedelta(days=settlement_days(day))
        first, last = wire.local(opens), wire.local(closes)
        rows.append({"close": f"{last:%H:%M}", "date": day.isoformat(), "open": f"{first:%H:%M}",
                     "session_close": f"{last + dt.timedelta(hours=4):%H%M}", "session_open": "0400",
                     "settlement_date": settled.isoformat()})
    return rows


def settlement_days(day: dt.date) -> int:
    """Days from trade to settlement: 1 since 2024-05-28, 2 since 2017-09-05, 3 since 1995-06-07, 5 before."""
    return next(days for since, days in _CYCLES if day >= since)


def _banks_closed(day: dt.date) -> bool:
    """Columbus Day and Veterans Day: the exchange trades, nothing settles."""
    columbus = day.month == 10 and day.weekday() == 0 and 8 <= day.day <= 14
    veterans = day.month == 11 and (day.day == 11 or (day.day == 12 and day.weekday() == 0))
    return columbus or veterans
