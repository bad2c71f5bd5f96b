"""Alpaca's JSON of bars and corporate actions as frames. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from botlib.calendars import days_of, schedule
from botlib.errors import ProviderError
from botlib.providers.frames import COLUMNS, EXCHANGE_TZ

_GETTERS, _TIME = tuple(itemgetter(key) for key in "ohlcv"), itemgetter("t")


class Columns(NamedTuple):
    """A page's bars of one symbol: labels (R,) datetime64[ns] UTC; values (5, R) open, high, low, close, volume."""

    labels: np.ndarray
    values: np.ndarray


def columns(bars: list[dict[str, Any]], symbol: str) -> Columns:
    """A page as columns at once: its objects are gone before the next page comes."""
    values = np.empty((len(_GETTERS), len(bars)))
    try:
        for row, get in zip(values, _GETTERS):
            row[:] = np.fromiter(map(get, bars), np.float64, len(bars))
        if np.isnan(values).any():  # numpy reads null so
            raise ValueError("a price that is missing")
        return Columns(_labels(list(map(_TIME, bars))), values)
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderError(f"Alpaca's bars of {symbol} are not what they should be ({error!r}): try again later."
                            ) from None


def bar_frame(pages: list[Columns]) -> pd.DataFrame:
    """One symbol's pages as a frame on exchange time."""
    if not pages:
        return empty()
    labels = np.concatenate([page.labels for page in pages])
    values = np.concatenate([page.values for page in pages], axis=1)
    index = pd.DatetimeIndex(labels, name="timestamp").tz_localize("UTC").tz_convert(EXCHANGE_TZ)
    frame = pd.DataFrame(values.T, index=index, columns=list(COLUMNS), copy=False)
    if not (np.diff(labels.view(np.int64)) > 0).all():
        frame = frame[~frame.index.duplicated(keep="last")].sort_index()
    return frame


def _labels(texts: list[str]) -> np.ndarray:
    """(R,) datetime64[ns], UTC, of Alpaca's times."""
    joined = "".join(texts).encode()
    if len(joined) == 20 * len(texts):  # whole seconds and Z, as all bars are
        letters = np.frombuffer(joined, dtype="S1").reshape(len(texts), 20)
        if (letters[:, 19] == b"Z").all():
            cut = np.ascontiguousarray(letters[:, :19]).view("S19").ravel()
            return cut.astype("datetime64[s]").astype("datetime64[ns]")
    parsed = pd.to_datetime(texts, utc=True, format="ISO8601")
    return parsed.tz_localize(None).to_numpy().astype("datetime64[ns]")


def hours_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Hours anchored at the open, of half hours in regular sessions; the last of a session may be half an hour."""
    if frame.empty:
        return frame
    days, start = days_of(frame.index), frame.index.asi8
    timetable = schedule("XNYS")
    opens = timetable.opens[timetable.locate(days)[0]]
    hour = 3_600_000_000_000
    labels = opens + (start - opens) // hour * hour
    first = np.flatnonzero(np.append(True, np.diff(labels) > 0))
    last = np.append(first[1:], len(frame)) - 1
    values = {name: frame[name].to_numpy() for name in COLUMNS}
    index = pd.DatetimeIndex(labels[first], tz="UTC").tz_convert(frame.index.tz).rename("timestamp")
    return pd.DataFrame({"open": values["open"][first], "high": np.maximum.reduceat(values["high"], first),
                         "low": np.minimum.reduceat(values["low"], first), "close": values["close"][last],
                         "volume": np.add.reduceat(values["volume"], first)}, index=index)


def empty() -> pd.DataFrame:
    index = pd.DatetimeIndex([], tz=EXCHANGE_TZ, name="timestamp").as_unit("ns")
    return pd.DataFrame(columns=list(COLUMNS), index=index, dtype="float64")


def action_rows(found: object) -> list[tuple[str, str, str, float, str | None]]:
    """Rows of an actions table; a stock dividend of 5 % is a split of 1.05."""
    rows: list[tuple[str, str, str, float, str | None]] = []
    if not isinstance(found, Mapping):
        return rows
    try:
        for kind in ("forward_splits", "reverse_splits"):
            rows += [(a["symbol"], _day(a["ex_date"]), "split", float(a["new_rate"]) / float(a["old_rate"]), None)
                     for a in found.get(kind) or ()]
        rows += [(a["symbol"], _day(a["ex_date"]), "split", 1.0 + float(a["rate"]), None)
                 for a in found.get("stock_dividends") or ()]
        rows += [(a["symbol"], _day(a["ex_date"]), "cash_dividend", float(a["rate"]), a.get("payable_date"))
                 for a in found.get("cash_dividends") or () if float(a["rate"]) > 0.0]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ProviderError(f"Alpaca's corporate actions are not what they should be ({error!r}): try again later."
                            ) from None
    return rows


def _day(text: str) -> str:
    """The same, if it is a date."""
    return dt.date.fromisoformat(text).isoformat()


def in_later_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Dividends divided by all later splits of their symbol."""
    values = table["value"].to_numpy(copy=True)
    splits = table[table["type"] == "split"]
    for place, row in enumerate(table.itertuples()):
        if row.type == "cash_dividend":
            later = splits[(splits["symbol"] == row.symbol) & (splits["ex_date"] > row.ex_date)]
            values[place] /= later["value"].prod()
    return table.assign(value=values)
