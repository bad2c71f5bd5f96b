"""Exchange sessions against facts that NYSE and newspapers published."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from botlib import calendars
from botlib.errors import DataError, InputError


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def ns(text: str, zone: str = "America/New_York") -> int:
    return pd.Timestamp(text, tz=zone).as_unit("ns").value


@pytest.fixture(scope="module")
def xnys() -> calendars.Schedule:
    return calendars.schedule("XNYS")


@pytest.mark.parametrize("closed", [
    "2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14",  # the attacks
    "2004-06-11",  # mourning for President Reagan
    "2007-01-02",  # mourning for President Ford
    "2012-10-29", "2012-10-30",  # hurricane Sandy
    "2012-11-22", "2012-12-25", "2013-03-29", "2012-07-04", "2012-07-07", "2012-07-08",
])
def test_closed_days(xnys: calendars.Schedule, closed: str) -> None:
    assert not xnys.locate(np.array([day(closed)]))[1][0]


@pytest.mark.parametrize(("session", "opens", "closes"), [
    ("2012-07-03", "09:30", "13:00"),  # before Independence Day
    ("2012-11-23", "09:30", "13:00"),  # after Thanksgiving
    ("2012-12-24", "09:30", "13:00"),
    ("2012-10-31", "09:30", "16:00"),  # first session after Sandy
    ("2001-09-17", "09:30", "16:00"),
    ("1990-01-02", "09:30", "16:00"),
])
def test_hours(xnys: calendars.Schedule, session: str, opens: str, closes: str) -> None:
    position, is_session = xnys.locate(np.array([day(session)]))
    assert is_session[0]
    assert xnys.opens[position[0]] == ns(f"{session} {opens}")
    assert xnys.closes[position[0]] == ns(f"{session} {closes}")


def test_daylight_saving_moves_the_open_in_utc(xnys: calendars.Schedule) -> None:
    position, _ = xnys.locate(np.array([day("2013-03-08"), day("2013-03-11")]))  # clocks changed on the 10th
    assert xnys.opens[position].tolist() == [ns("2013-03-08 14:30", "UTC"), ns("2013-03-11 13:30", "UTC")]


@pytest.mark.parametrize(("year", "sessions"), [(2001, 248), (2011, 252), (2012, 250), (2013, 252)])
def test_sessions_of_a_year(xnys: calendars.Schedule, year: int, sessions: int) -> None:
    chosen = xnys.between(day(f"{year}-01-01"), day(f"{year}-12-31"))
    assert chosen.stop - chosen.start == sessions


def test_an_ordinary_session_has_390_minutes(xnys: calendars.Schedule) -> None:
    assert xnys.minutes == 390
    assert xnys.timezone == "America/New_York"


def test_dates_beyond_the_calendar_are_refused(xnys: calendars.Schedule) -> None:
    with pytest.raises(DataError, match=r"1925-01-02 to 2012-01-03 reach beyond the calendar XNYS.*calendar=None"):
        xnys.between(day("1925-01-02"), day("2012-01-03"))


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"calendar = 'XNYSE' is unknown; did you mean 'XNYS'\?"):
        calendars.schedule("XNYSE")
    with pytest.raises(InputError, match="calendar = 5"):
        calendars.schedule(5)  # type: ignore[arg-type]


def final(start: str, interval: str, delay: float = 20.0, calendar: str | None = "XNYS") -> str:
    minutes = calendars.INTERVAL_MINUTES[interval]
    index = pd.DatetimeIndex([start]).tz_localize("America/New_York").as_unit("ns")
    timetable = None if calendar is None else calendars.schedule(calendar)
    end = calendars.final_times(index.asi8, calendars.days_of(index), minutes, timetable, delay)
    return f"{pd.Timestamp(end[0], tz='UTC').tz_convert('America/New_York'):%Y-%m-%d %H:%M}"


def test_when_a_bar_is_final() -> None:
    assert final("2012-07-02 09:30", "1m") == "2012-07-02 09:31"
    assert final("2012-07-02 15:30", "1h") == "2012-07-02 16:00"  # capped at the close
    assert final("2012-07-03 12:30", "1h") == "2012-07-03 13:00"  # half day
    assert final("2012-07-03 17:30", "1h") == "2012-07-03 18:30"  # after hours: nothing to cap
    assert final("2012-07-02 08:30", "1h") == "2012-07-02 09:30"
    assert final("2012-07-02", "1d") == "2012-07-02 16:20"
    assert final("2012-07-03", "1d") == "2012-07-03 13:20"
    assert final("2012-07-03", "1d", delay=0.5) == "2012-07-03 13:00"  # 30 seconds
    assert final("2012-07-03", "1d", calendar=None) == "2012-07-04 00:00"


def test_last_bar_of_a_session() -> None:
    def last(times: list[str], interval: str = "1h", calendar: str | None = "XNYS") -> list[bool]:
        index = pd.DatetimeIndex(times).tz_localize("America/New_York").as_unit("ns")
        timetable = None if calendar is None else calendars.schedule(calendar)
        return calendars.last_of_session(index.asi8, calendars.days_of(index), calendars.INTERVAL_MINUTES[interval],
                                         timetable).tolist()

    assert last(["2012-07-02", "2012-07-03"], "1d") == [True, True]
    assert last(["2012-07-02 14:30", "2012-07-02 15:30", "2012-07-03 09:30"]) == [False, True, False]
    assert last(["2012-07-03 11:30", "2012-07-03 12:30"]) == [False, True]  # half day, last label reaches 13:00
    assert last(["2012-07-03 11:30", "2012-07-03 12:30", "2012-07-03 13:30"]) == [False, True, False]  # after hours
    assert last(["2012-07-02 11:30", "2012-07-02 12:30"]) == [False, False]  # the session goes on
    assert last(["2012-07-02 14:30", "2012-07-03 09:30"]) == [True, False]  # no trade in the last hour
    assert last(["2012-07-02 14:30", "2012-07-03 09:30"], calendar=None) == [True, True]


def test_stored_timetables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xnys: calendars.Schedule) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    calendars.schedule.cache_clear()
    built = calendars.schedule("XNYS")
    files = list(tmp_path.rglob("XNYS-*.npz"))
    assert len(files) == 1
    assert not list(tmp_path.rglob("*.tmp"))
    calendars.schedule.cache_clear()
    monkeypatch.setattr(calendars, "calendar", lambda name: pytest.fail("it was stored"))
    loaded = calendars.schedule("XNYS")
    for made in (built, loaded):
        for name in ("days", "opens", "closes"):
            np.testing.assert_array_equal(getattr(made, name), getattr(xnys, name))


def test_a_torn_timetable_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    calendars.schedule.cache_clear()
    calendars.schedule("XNYS")
    file = next(tmp_path.rglob("XNYS-*.npz"))
    whole = file.read_bytes()
    file.write_bytes(whole[:len(whole) // 2])
    calendars.schedule.cache_clear()
    assert calendars.schedule("XNYS").minutes == 390
    assert len(file.read_bytes()) == len(whole)


def test_no_place_to_store_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: blocked / name)
    calendars.schedule.cache_clear()
    assert calendars.schedule("XNYS").minutes == 390


@pytest.mark.parametrize(("moment", "date_of_it"), [
    ("2024-03-04 04:59:59", "2024-03-03"), ("2024-03-04 05:00", "2024-03-04"),  # winter: midnight is 05:00 UTC
    ("2024-03-11 03:59:59", "2024-03-10"), ("2024-03-11 04:00", "2024-03-11"),  # summer: 04:00 UTC
    ("1970-01-01 04:00", "1969-12-31"),
])
def test_the_exchange_date_of_a_moment(moment: str, date_of_it: str) -> None:
    assert calendars.day_of(pd.Timestamp(moment, tz="UTC")) == day(date_of_it)
    assert calendars.day_of(pd.Timestamp(moment, tz="UTC"), "UTC") == day(moment[:10])


@pytest.mark.parametrize(("date_of_it", "begins"), [
    ("2024-03-04", "2024-03-04 05:00"), ("2024-03-10", "2024-03-10 05:00"), ("2024-03-11", "2024-03-11 04:00"),
    ("2024-11-04", "2024-11-04 05:00")])
def test_when_an_exchange_date_begins(date_of_it: str, begins: str) -> None:
    assert calendars.midnight(day(date_of_it)) == pd.Timestamp(begins, tz="UTC")
    assert calendars.midnight(day(date_of_it)).value == pd.Timestamp(begins, tz="UTC").value
