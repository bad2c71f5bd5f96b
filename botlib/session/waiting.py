"""When the next pass is due, and when a scheduled session is over. Pure: times come in, times go out.

Intraday a pass comes a few seconds after each bar's end and every ``poll`` seconds between; daily bars are looked for
after the close. Nothing happens overnight: the next pass is shortly before the open, when the broker has followed
splits, and the one after that when it is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from botlib.calendars import INTERVAL_MINUTES, NS_A_MINUTE, Schedule, day_of

SETTLE_SECONDS = 3.0
"""After a bar's end, until the bars of slow symbols are there."""

BEFORE_OPEN_SECONDS = 300.0
"""How long before the open the account is looked at."""

PATIENCE_MINUTES, INTRADAY_PATIENCE_MINUTES = 60.0, 10.0
"""How long a scheduled session waits for the day's last bar, once it should be final. Intraday it may be that nobody
traded in its minutes: then none comes."""

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits between passes that could not read the broker or the bars."""

REBUILDS = 3
"""How often in a row a session is made anew from its ledger before it gives up."""

ASK_SECONDS = 0.4
"""How often the ledger is asked for requests, at most."""

QUIET_SECONDS = 1.0
"""From the end of a pass until a stream may wake the session again."""

_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Hours:
    """What waiting depends on.

    Attributes
    ----------
    timetable : Schedule
    interval : str
    poll : float
        Seconds between two passes while the market is open.
    settle : float
        Seconds after a bar's end.
    delay : float
        Minutes after the close at which a daily bar is final.
    """

    timetable: Schedule
    interval: str
    poll: float
    settle: float = SETTLE_SECONDS
    delay: float = 20.0

    @property
    def daily(self) -> bool:
        """One bar a session."""
        return INTERVAL_MINUTES[self.interval] is None

    def last_final(self, n: int) -> int:
        """When the last bar of session ``n`` is final, UTC ns."""
        return int(self.timetable.closes[n]) + (int(self.delay * NS_A_MINUTE) if self.daily else 0)

    def given_up(self, n: int) -> int:
        """Until when the last bar of session ``n`` is waited for, UTC ns."""
        patience = PATIENCE_MINUTES if self.daily else INTRADAY_PATIENCE_MINUTES
        return self.last_final(n) + int(patience * NS_A_MINUTE)

    def last_label(self, n: int) -> int:
        """The label of the last intraday bar of session ``n``, UTC ns."""
        opens, minutes = int(self.timetable.opens[n]), INTERVAL_MINUTES[self.interval]
        assert minutes is not None
        step = minutes * NS_A_MINUTE
        return opens + (int(self.timetable.closes[n]) - opens - 1) // step * step


def next_pass(hours: Hours, now: pd.Timestamp, *, awaited: bool = False) -> pd.Timestamp:
    """When the next pass is due.

    ``awaited``: the last session's last bar should be there and is not.
    """
    at, t = now.value, hours.timetable
    n = int(np.searchsorted(t.closes, at, side="right"))  # the session that is on, or the next one
    settle = int(hours.settle * _S)
    poll = at + int(hours.poll * _S)
    if n > 0:
        late = hours.last_final(n - 1) + settle
        if at < late:
            return _stamp(late)
        if awaited and at < hours.given_up(n - 1):
            return _stamp(poll)
    if n >= len(t.opens):
        return _stamp(poll)
    opens, closes = int(t.opens[n]), int(t.closes[n])
    before = opens - int(BEFORE_OPEN_SECONDS * _S)
    if at < before:
        return _stamp(before)
    if at < opens + settle:
        return _stamp(opens + settle)
    minutes = INTERVAL_MINUTES[hours.interval]
    if minutes is None:
        return _stamp(min(poll, closes + settle))
    step = minutes * NS_A_MINUTE
    end = min(opens + ((at - settle - opens) // step + 1) * step, closes) + settle
    return _stamp(end if end <= at + int(1.5 * hours.poll * _S) else poll)


def quiet_until(hours: Hours, now: pd.Timestamp, due: pd.Timestamp) -> str:
    """What to tell about a long wait; "" for a short one."""
    if (due - now).total_seconds() <= 2.0 * hours.poll:
        return ""
    zone = hours.timetable.timezone
    return f"nothing happens until {due.tz_convert(zone):%a %Y-%m-%d %H:%M} {zone}"


def no_session(t: Schedule, now: pd.Timestamp) -> str:
    """Why there is nothing to trade today; "" on a day with a session."""
    if _session_of(t, now) is not None:
        return ""
    n = int(np.searchsorted(t.days, day_of(now, t.timezone)))
    after = "" if n >= len(t.days) else f"; the next session is {_date(t.days[n])}"
    return f"no trading on {now.tz_convert(t.timezone):%Y-%m-%d} ({t.name}){after}"


def day_over(hours: Hours, now: pd.Timestamp, last: pd.Timestamp) -> tuple[str, str]:
    """Whether a session that runs until the close is done: ("", "") while it is not, else status and reason.

    ``now`` is the time of a pass that is done, ``last`` the label of the last bar it has seen. It is done when the last
    bar of the day has been decided on, or was waited for in vain (see `came`): an "error" on daily bars, and intraday
    when no bar of the day has come.
    """
    t = hours.timetable
    local = now.tz_convert(t.timezone)
    n = _session_of(t, now)
    if n is None:
        return "success", no_session(t, now)
    if now.value < hours.last_final(n) + (0 if hours.daily else int(hours.settle * _S)):
        return "", ""
    if came(hours, now, last):
        return "success", f"the session of {local:%Y-%m-%d} is over"
    if now.value < hours.given_up(n):
        return "", ""
    minutes = (hours.given_up(n) - hours.last_final(n)) / NS_A_MINUTE
    late = f"had not come {minutes:g} minutes after it should have been final: nothing was decided on it"
    if hours.daily:
        return "error", f"the bar of {local:%Y-%m-%d} {late}"
    label = _stamp(hours.last_label(n)).tz_convert(t.timezone)
    if _session_of(t, last) != n:
        return "error", f"no bar of {local:%Y-%m-%d} has come; the last one, of {label:%H:%M}, {late}"
    return "success", f"the session of {local:%Y-%m-%d} is over; its last bar, of {label:%H:%M}, {late}"


def came(hours: Hours, now: pd.Timestamp, last: pd.Timestamp) -> bool:
    """Whether ``last`` is the last bar of the session of ``now``."""
    n = _session_of(hours.timetable, now)
    if n is None:
        return False
    return _session_of(hours.timetable, last) == n if hours.daily else last.value >= hours.last_label(n)


def _session_of(t: Schedule, at: pd.Timestamp) -> int | None:
    """The session of an exchange date; None on a day without one."""
    day = day_of(at, t.timezone)
    n = int(np.searchsorted(t.days, day))
    return n if n < len(t.days) and t.days[n] == day else None


def _stamp(at: int) -> pd.Timestamp:
    return pd.Timestamp(at, tz="UTC")


def _date(day: int) -> str:
    return str(np.datetime64(int(day), "D"))
