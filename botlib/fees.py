"""US regulatory fees on shares by date, as Alpaca passes them on to customers.

| fee | side | base | most | set by |
|---|---|---|---|---|
| SEC (section 31; Alpaca's "REG") | sells | value sold | none | SEC, once or twice a year |
| TAF (trading activity fee) | sells | shares sold | per trade | FINRA |
| CAT (consolidated audit trail) | buys and sells | shares | none | CAT NMS Plan |

The dated rates stand in ``data/regulatory_fees.csv``, each row with its source. A row marked ``verified = no`` is a
rate or a date that could not be confirmed: it is shown, never charged. Where no verified rate exists the fee is 0 and
`FeeRates.uncovered` says so. After ``confirmed_until`` the last announced rate is kept, and said so too.

**Rounding.** Alpaca's Brokerage Fee Schedule (2026) computes each fee on the exact executed quantity, adds it up by
account, day and kind of fee, and then rounds each total UP to the cent; it books the sums after the close. botlib
rounds each fee up on each fill. That is never less, and under one cent more for each further fill of that day that
pays the same fee. The maximum of the TAF holds for one execution (FINRA TAF FAQ A200.17).

**Dates.** Rates are taken by trade date. For sales on an exchange the SEC's own charge date is the settlement date
(Rule 31(a)(3)), so a broker may change over up to three sessions away from the dates here.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from botlib.errors import InputError, warn

Floats = NDArray[np.float64]
Days = NDArray[np.int64]

# Fee, its unit in the table, and the factor from that unit to dollars for a dollar (SEC) or a share (TAF, CAT).
_FEES = {
    "sec": ("SEC fee", "usd_per_million_usd_sold", 1e-6),
    "taf": ("TAF", "usd_per_share_sold", 1.0),
    "cat": ("CAT fee", "usd_per_share", 1.0),
}
_NEVER = np.iinfo(np.int64).max


class FeeRates(NamedTuple):
    """The rates in force on T dates. No NaN: 0 where there is no fee or no verified rate.

    Attributes
    ----------
    sec_rate : numpy.ndarray, (T,) float64
        Fraction of the value sold, e.g. ``2.06e-05``.
    taf_per_share : numpy.ndarray, (T,) float64
        Dollars for each share sold.
    taf_max : numpy.ndarray, (T,) float64
        Largest TAF of one execution in dollars; inf where there is none.
    cat_per_share : numpy.ndarray, (T,) float64
        Dollars for each share bought or sold.
    uncovered : list of str
        One sentence for each stretch of the dates without a confirmed rate; empty when all are confirmed.
    """

    sec_rate: Floats
    taf_per_share: Floats
    taf_max: Floats
    cat_per_share: Floats
    uncovered: list[str]


class _Schedule(NamedTuple):
    """One fee's rows in the order of their first day; entry 0 stands for the time before the first row."""

    first_day: Days  # (rows,), days since 1970-01-01, without entry 0
    rate: Floats  # (rows + 1,)
    maximum: Floats  # (rows + 1,)
    verified: NDArray[np.bool_]  # (rows + 1,)
    confirmed_until: int  # last day for which the last row is known to hold


@lru_cache(maxsize=1)
def _table() -> pd.DataFrame:
    with files("botlib").joinpath("data/regulatory_fees.csv").open(encoding="utf-8") as text:
        table = pd.read_csv(text, parse_dates=["effective_from", "confirmed_until"])
    table["verified"] = table["verified"] == "yes"
    return table


def load_fee_table() -> pd.DataFrame:
    """Every row of the dated table, as a copy.

    Returns
    -------
    pandas.DataFrame
        fee ("sec" | "taf" | "cat"), effective_from (first trade date), rate, unit ("usd_per_million_usd_sold" |
        "usd_per_share_sold" | "usd_per_share"), maximum (dollars per trade; NaN: none), confirmed_until (NaT: until the
        next row), verified (bool; False is never charged), source.
    """
    return _table().copy()


@lru_cache(maxsize=1)
def _schedules() -> dict[str, _Schedule]:
    found = {}
    for fee, (_name, _unit, to_dollars) in _FEES.items():
        table = _table()
        rows = table[table["fee"] == fee].sort_values("effective_from")
        verified = np.concatenate([[False], rows["verified"].to_numpy(bool)])
        rate = np.concatenate([[0.0], rows["rate"].to_numpy(np.float64) * to_dollars])
        maximum = np.concatenate([[np.inf], rows["maximum"].fillna(np.inf).to_numpy(np.float64)])
        until = rows["confirmed_until"].iloc[-1]
        found[fee] = _Schedule(
            first_day=_as_days(rows["effective_from"].to_numpy()),
            rate=np.where(verified, rate, 0.0),
            maximum=np.where(verified, maximum, np.inf),
            verified=verified,
            confirmed_until=_NEVER if pd.isna(until) else int(_as_days(np.array([until], "datetime64[D]"))[0]),
        )
    return found


def _as_days(dates: Any) -> Days:
    """Days since 1970-01-01 as int64. Raises InputError for anything that is not a one-dimensional array of dates."""
    values = np.asarray(dates)
    if values.ndim != 1 or values.dtype.kind not in "Mi":
        raise InputError(
            f"dates = {values.dtype} array of {values.ndim} dimension(s): it must be one-dimensional, datetime64 or "
            "whole days since 1970-01-01. Pass bars.sessions."
        )
    if values.dtype.kind == "M":
        if np.isnat(values).any():
            raise InputError("dates holds NaT: every bar needs a date. Pass bars.sessions.")
        values = values.astype("datetime64[D]")
    return values.astype(np.int64)


def fee_rates(dates: NDArray[Any]) -> FeeRates:
    """The rates of every fee on each date; call it once a backtest.

    Parameters
    ----------
    dates : numpy.ndarray, (T,)
        Trade dates in exchange time: datetime64, or whole days since 1970-01-01 (`Bars.sessions`). Any order.

    Returns
    -------
    FeeRates

    Raises
    ------
    InputError
        ``dates`` is not one-dimensional, not dates, or holds NaT.
    """
    days = _as_days(dates)
    if days.size == 0:
        empty = np.zeros(0)
        return FeeRates(empty, empty.copy(), empty.copy(), empty.copy(), [])
    low, high = int(days.min()), int(days.max())
    where: Any
    present: Any
    if high - low < days.size:  # minute bars repeat each date hundreds of times: search the calendar once, then look up
        where = days - low
        present = np.zeros(high - low + 1, np.bool_)
        present[where] = True
        searched = np.arange(low, high + 1)
    else:
        where, present, searched = slice(None), slice(None), days
    uncovered: list[str] = []
    columns: dict[str, Floats] = {}
    for fee, schedule in _schedules().items():
        row = np.searchsorted(schedule.first_day, searched, side="right")
        columns[fee] = schedule.rate[row][where]
        if fee == "taf":
            columns["taf_max"] = schedule.maximum[row][where]
        uncovered += _uncovered(_FEES[fee][0], schedule, searched[present], row[present])
    return FeeRates(columns["sec"], columns["taf"], columns["taf_max"], columns["cat"], uncovered)


def _uncovered(name: str, schedule: _Schedule, days: Days, row: NDArray[np.intp]) -> list[str]:
    """A sentence for each run of neighbouring rows that are not verified, and one for dates after the last check."""
    sentences = []
    run = np.cumsum(schedule.verified)  # the same number for neighbouring rows that are not verified
    open_ = ~schedule.verified[row]
    for number in np.unique(run[row[open_]]):
        inside = days[open_ & (run[row] == number)]
        sentences.append(f"{name}: no verified rate for {_span(inside)}; counted as 0 there.")
    late = days[days > schedule.confirmed_until]
    if late.size:
        until = np.datetime64(schedule.confirmed_until, "D")
        sentences.append(f"{name}: confirmed until {until}; the last announced rate is kept for {_span(late)}.")
    return sentences


def _span(days: Days) -> str:
    first, last = (str(np.datetime64(int(day), "D")) for day in (days.min(), days.max()))
    return first if first == last else f"{first} to {last}"


def warn_uncovered(rates: FeeRates) -> None:
    """Emit the named warning ``fees-uncovered`` once, with every sentence of ``rates.uncovered``; none if it is empty.

    Call it once a backtest.
    """
    if rates.uncovered:
        warn("fees-uncovered", " ".join(rates.uncovered))
