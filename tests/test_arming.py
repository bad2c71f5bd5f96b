"""What permission to trade real money is given for, and what voids it: the rules alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from botlib import arming
from botlib.arming import Evidence, Terms
from botlib.errors import InputError

NOW = pd.Timestamp("2026-03-10 15:00", tz="UTC")  # after the clocks went forward in New York
TERMS = Terms(account_id="acc-1", account="PA…001 (Alpaca)", venue="alpaca-live", strategy="mine.py:Mine",
              strategy_hash="a" * 64, params_hash="b" * 64, limits_hash="c" * 64,
              limits={"max_drawdown_pct": 5.0, "on_kill": "keep", "max_order_value": None}, symbols=("AAPL", "MSFT"),
              interval="15m", orders="send", capital=25_000.0, version="1.2.0")


def an_arm(number: int = 1, **other) -> SimpleNamespace:
    """A row as the repository gives it, for exactly `TERMS`."""
    values = {"id": number, "account_id": "acc-1", "strategy_hash": "a" * 64, "params_hash": "b" * 64,
              "limits": {"hash": "c" * 64, "values": {}, "venue": "alpaca-live"}, "sessions": 2, "used": 0,
              "until": NOW + pd.Timedelta(days=3), "version": "1.2.0", "waived": [], "revoked": None}
    return SimpleNamespace(**values | other)


# --- the line ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["YES I UNDERSTAND", "YES I UNDERSTAND\n", "YES I UNDERSTAND\r\n"])
def test_the_line_is_taken_as_it_stands(line):
    arming.check_line(line)


@pytest.mark.parametrize("line", [
    "", "yes i understand", "Yes I Understand", "YES I UNDERSTAND ", " YES I UNDERSTAND", "YES  I UNDERSTAND",
    "YES\tI UNDERSTAND", "'YES I UNDERSTAND'", '"YES I UNDERSTAND"', "YES I UNDERSTAND.", "YES I UNDERSTAND\n\n",
    "YES I UNDERSTAND\nYES", "YES", "y", "\N{GREEK CAPITAL LETTER UPSILON}ES I UNDERSTAND",
    "YES\N{NO-BREAK SPACE}I UNDERSTAND", None, True, b"YES I UNDERSTAND", ["YES I UNDERSTAND"],
])
def test_anything_else_is_refused(line):
    with pytest.raises(InputError, match="not the line YES I UNDERSTAND.*Nothing was sent"):
        arming.check_line(line)


# --- waivers and evidence ---------------------------------------------------------------------------------------------

LACKING = [Evidence(name="backtest", found=True, text="backtests: 3"),
           Evidence(name="look-ahead", found=False, text="checks: 0"),
           Evidence(name="paper-sessions", found=False, text="paper sessions: 4")]


def test_what_is_missing_is_waived_by_its_own_name_only():
    assert arming.missing(LACKING, ()) == ["look-ahead", "paper-sessions"]
    assert arming.missing(LACKING, ["paper-sessions"]) == ["look-ahead"]
    assert arming.missing(LACKING, "look-ahead, paper-sessions") == []
    assert arming.missing(LACKING, "backtest jupyter-open") == ["look-ahead", "paper-sessions"]
    arming.check_missing([])
    with pytest.raises(InputError, match="fewer than 5 paper sessions.*--waive look-ahead paper-sessions"):
        arming.check_missing(["look-ahead", "paper-sessions"])


@pytest.mark.parametrize("given", ["all", "*", "Backtest", "backtests", ["backtest", "every"], [True], "backtest;"])
def test_nothing_is_waived_wholesale(given):
    with pytest.raises(InputError, match="is unknown.*Valid: backtest, look-ahead, paper-sessions, jupyter-open"):
        arming.waivers(given)


@pytest.mark.parametrize(("given", "names"), [
    (None, ()), ("", ()), (" ", ()), ([], ()), (["backtest", "backtest"], ("backtest",)),
    (" look-ahead,backtest\n", ("look-ahead", "backtest")),
])
def test_waivers_are_a_list_or_a_text(given, names):
    assert arming.waivers(given) == names


def test_the_banner_shows_all_that_permission_is_bound_to():
    shown = arming.banner(TERMS, LACKING, ["paper-sessions"])
    for part in ("real orders, real money", "PA…001", "mine.py:Mine (aaaaaaaaaaaa)", "AAPL, MSFT, bars of 15m",
                 "$25,000.00", "max_drawdown_pct 5, on_kill keep", "parameters bbbbbbbbbbbb, limits cccccccccccc",
                 "botlib 1.2.0", "yes    backtests: 3", "NO     checks: 0", "waived paper sessions: 4",
                 "to trade:  YES I UNDERSTAND"):
        assert part in shown
    assert "max_order_value" not in shown and "shadow" not in shown
    armed = arming.banner(replace(TERMS, orders="shadow"), LACKING, allows="2 headless sessions until 2026-03-12")
    assert "2 headless sessions until 2026-03-12" in armed and "to arm:" in armed and "shadow: recorded" in armed
    assert "real money" not in arming.banner(replace(TERMS, venue="sandbox"), [])
    many = arming.banner(replace(TERMS, symbols=tuple(f"AB{n}" for n in range(90))), LACKING)
    assert max(map(len, many.splitlines())) <= 78


def test_no_name_draws_a_line_of_the_banner():
    shown = arming.banner(replace(TERMS, strategy="x\naccount    another\x1b[2K"), [])
    assert "\naccount    another" not in shown and "\x1b" not in shown


# --- arms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "ends"), [  # New York is four hours behind UTC in summer, five in winter
    ("2026-03-13", "2026-03-14 03:59:59"), ("2026-03-06", "2026-03-07 04:59:59"),
    (dt.date(2026, 3, 13), "2026-03-14 03:59:59"), (pd.Timestamp("2026-03-13 10:00", tz="America/New_York"),
                                                    "2026-03-13 14:00:00"),
])
def test_a_day_ends_in_new_york(value, ends):
    assert arming.until_of(value) == pd.Timestamp(ends, tz="UTC")


@pytest.mark.parametrize("value", ["tomorrow", "13.03.2026", "2026-02-30", "20260313", "2026-03-13 10:00", 5, None,
                                   pd.NaT, pd.Timestamp("2026-03-13"), dt.datetime(2026, 3, 13), ""])
def test_an_end_that_can_be_read_in_two_ways_is_refused(value):
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        arming.until_of(value)


@pytest.mark.parametrize("sessions", [1, 2, 3, 4, 5])
def test_an_arm_is_for_one_to_five_sessions(sessions):
    arming.check_arm(sessions, NOW + pd.Timedelta(days=1), NOW)


@pytest.mark.parametrize("sessions", [0, 6, -1, 1.0, 2.5, True, "3", None, float("nan")])
def test_any_other_number_is_refused(sessions):
    with pytest.raises(InputError, match="valid is 1 to 5"):
        arming.check_arm(sessions, NOW + pd.Timedelta(days=1), NOW)


@pytest.mark.parametrize(("away", "fits"), [("0s", False), ("-1D", False), ("1s", True), ("31D", True),
                                            ("31D1s", False), ("365D", False)])
def test_an_arm_ends_soon(away, fits):
    if fits:
        arming.check_arm(1, NOW + pd.Timedelta(away), NOW)
    else:
        with pytest.raises(InputError, match=r"at most 31 days from now \(2026-04-10\)"):
            arming.check_arm(1, NOW + pd.Timedelta(away), NOW)


def test_an_arm_for_exactly_this_is_usable_until_it_is_over():
    found, why = arming.usable([an_arm()], TERMS, NOW)
    assert (found.id, why) == (1, "")
    assert arming.usable([an_arm(until=NOW)], TERMS, NOW)[0].id == 1


@pytest.mark.parametrize(("other", "said"), [
    ({"account_id": "acc-2"}, "other account"), ({"strategy_hash": "f" * 64}, "other strategy"),
    ({"params_hash": "f" * 64}, "other parameters"), ({"limits": {"hash": "f" * 64, "venue": "alpaca-live"}},
                                                      "other limits"),
    ({"limits": {"hash": "c" * 64, "venue": "sandbox"}}, "other venue"),
    ({"limits": None}, "other venue, other limits"),
    ({"revoked": NOW}, "taken back"), ({"until": NOW - pd.Timedelta("1s")}, "over since 2026-03-10 14:59 UTC"),
    ({"used": 2}, "its 2 sessions used up"), ({"used": 3}, "its 2 sessions used up"),
    ({"account_id": "acc-2", "params_hash": "f" * 64}, "other account, other parameters"),
])
def test_what_differs_is_said(other, said):
    found, why = arming.usable([an_arm(7, **other)], TERMS, NOW)
    assert found is None and f"arm 7: {said}" in why


def test_the_newest_that_fits_is_used_and_the_nearest_are_named():
    fits = [an_arm(1), an_arm(2), an_arm(3, used=2), an_arm(4, revoked=NOW)]
    assert arming.usable(fits, TERMS, NOW)[0].id == 2
    far = {"account_id": "x", "params_hash": "x", "strategy_hash": "x"}
    _, why = arming.usable([an_arm(1, used=2), *(an_arm(n, **far) for n in range(2, 9))], TERMS, NOW)
    assert "(arm 1: its 2 sessions used up; arm 8: other account" in why and "arm 6" not in why
    assert "there is none" in arming.usable([], TERMS, NOW)[1]


def test_another_version_of_botlib_is_said_and_voids_nothing():
    old = an_arm(version="1.1.0")
    assert arming.usable([old], TERMS, NOW)[0] is old
    assert arming.of_version(old, TERMS) == " (typed for botlib 1.1.0; this is 1.2.0)"
    assert arming.of_version(an_arm(), TERMS) == ""


@pytest.mark.parametrize(("other", "said"), [
    ({}, "2 sessions left"), ({"used": 1}, "1 session left"), ({"used": 2}, "used up"),
    ({"revoked": NOW}, "taken back"), ({"until": NOW - pd.Timedelta("1s")}, "over"),
])
def test_what_an_arm_is_still_good_for(other, said):
    assert arming.standing(an_arm(**other), NOW) == said


@pytest.mark.parametrize(("other", "said"), [({"account_id": ""}, "which account"), ({"limits": {}}, "safety = None")])
def test_terms_that_nobody_could_be_held_to_are_refused(other, said):
    arming.check_terms(TERMS)
    with pytest.raises(InputError, match=said):
        arming.check_terms(replace(TERMS, **other))
