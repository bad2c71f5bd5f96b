"""What every provider does the same way: checks of a request, the shape of an answer, the sentence for no data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from botlib.adjust import check_actions, divisors
from botlib.calendars import EXCHANGE_TZ as EXCHANGE_TZ
from botlib.calendars import check_interval as check_interval
from botlib.errors import DataError, InputError, nearest, warn
from botlib.providers.base import PERIODS

COLUMNS = ("open", "high", "low", "close", "volume")
STEPS = {"1m": pd.Timedelta(minutes=1), "5m": pd.Timedelta(minutes=5), "15m": pd.Timedelta(minutes=15),
         "30m": pd.Timedelta(minutes=30), "1h": pd.Timedelta(hours=1), "1d": pd.Timedelta(days=1)}
_NO_DATA = "No data returned from "


def check_symbols(symbols: object) -> tuple[str, ...]:
    """The symbols as a tuple. Raises `InputError` for a bare string, an empty list, a repeat or what is not text."""
    if isinstance(symbols, str):
        raise InputError(f"symbols = {symbols!r} is a text: give a list of symbols, e.g. [{symbols!r}].")
    if not isinstance(symbols, Iterable):
        raise InputError(f"symbols = {symbols!r}: give a list of symbols, e.g. ['AAPL', 'MSFT'].")
    names = tuple(symbols)
    if not names:
        raise InputError("symbols is empty: name at least one, e.g. ['AAPL'].")
    for name in names:
        if not isinstance(name, str) or not name.strip() or name != name.strip() or not name.isprintable():
            hint = " (YAML reads a bare ON or NO as true or false: quote it)" if isinstance(name, bool) else ""
            raise InputError(f"symbols holds {name!r}, which is not a symbol{hint}: give texts such as 'AAPL'.")
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise InputError(f"symbols names {', '.join(repeated)} more than once: name each symbol once.")
    return names


def check_period(period: object) -> None:
    """Raises `InputError` unless the period is one of `PERIODS`."""
    if period not in PERIODS:
        raise InputError(f"period = {period!r} is unknown{nearest(period, PERIODS) or '.'} "
                         f"Valid: {', '.join(PERIODS)}.")


def as_label(value: object, name: str, tz: str = EXCHANGE_TZ) -> pd.Timestamp | None:
    """A bound of a range as a tz-aware time; a naive date or time is exchange time. None stays None."""
    if value is None:
        return None
    try:
        if isinstance(value, (bool, int, float)):
            raise ValueError("a number is not a date")
        label = pd.Timestamp(value)  # type: ignore[arg-type]
        if pd.isna(label):
            raise ValueError("not a time")
        return label.tz_localize(tz) if label.tzinfo is None else label.tz_convert(tz)
    except (ValueError, TypeError):
        raise InputError(f"{name} = {value!r} is not a date: write it as 2012-05-18 or give a datetime.") from None


def check_range(start: object, end: object, tz: str = EXCHANGE_TZ) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """``start`` (inclusive) and ``end`` (exclusive) as tz-aware times. Raises `InputError` for an empty range."""
    first, last = as_label(start, "start", tz), as_label(end, "end", tz)
    if first is not None and last is not None and first >= last:
        raise InputError(f"start = {start} is not before end = {end}: the end is exclusive, so name a later one.")
    return first, last


def stack(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One symbol's frames as one, MultiIndex (symbol, timestamp), symbols in the order given; empty ones left out."""
    kept = {symbol: frame for symbol, frame in frames.items() if len(frame)}
    return pd.concat(kept, names=["symbol", "timestamp"]) if kept else pd.DataFrame(columns=list(COLUMNS), dtype=float)


def split(frame: pd.DataFrame, symbols: Iterable[str]) -> dict[str, pd.DataFrame]:
    """`unstack` for each of many symbols, whose rows need not lie together."""
    if not isinstance(frame.index, pd.MultiIndex):
        return {symbol: unstack(frame, symbol) for symbol in symbols}
    groups = {str(symbol): rows.droplevel(0) for symbol, rows in frame.groupby(level=0, sort=False)}
    return {symbol: groups[symbol] if symbol in groups else unstack(frame, symbol) for symbol in symbols}


def unstack(frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """One symbol's rows of such a frame, on a DatetimeIndex; no rows when it has none."""
    if not isinstance(frame.index, pd.MultiIndex) or symbol not in frame.index.get_level_values(0):
        return frame.iloc[:0].reset_index(drop=True).set_index(pd.DatetimeIndex([], tz=EXCHANGE_TZ, name="timestamp"))
    return frame.xs(symbol, level=0)


def no_data(provider: str, symbols: Iterable[str], interval: str, what: str, hint: str = "") -> DataError:
    """The error of an empty answer: ``what`` is the period or range, ``hint`` the provider's own likely cause."""
    causes = hint or "check the symbols, the dates (a market holiday, before the listing) and the interval"
    return DataError(f"{_NO_DATA}{provider} for {', '.join(symbols)}, {interval} bars, {what}: {causes}.")


def warn_without(provider: str, symbols: Sequence[str], interval: str, period: str, *, stacklevel: int = 4) -> None:
    """The named warning of an answer in which some symbols have no bar.

    ``stacklevel`` 4 attributes it to the caller of the function that calls this.
    """
    warn("symbols-without-bars", f"{provider} has no {interval} bars of {', '.join(symbols)} in the period {period}.",
         stacklevel=stacklevel)


def is_no_data(error: Exception) -> bool:
    """Whether an error says that the source has nothing there (as against: what it has cannot be used)."""
    return isinstance(error, DataError) and str(error).startswith(_NO_DATA)


def describe_range(start: object, end: object) -> str:
    """``"from 2010-01-04 to 2011-01-03 (exclusive)"`` for a message."""
    def text(value: object) -> str:
        label = pd.Timestamp(value)  # type: ignore[arg-type]
        return f"{label:%Y-%m-%d}" if label == label.normalize() else f"{label:%Y-%m-%d %H:%M}"

    return f"from {'the first bar' if start is None else text(start)} to " + (
        "the last" if end is None else f"{text(end)} (exclusive)")


def adjusted(frame: pd.DataFrame, symbol: str, actions: pd.DataFrame, *, have: str) -> pd.DataFrame:
    """One symbol's bars with prices adjusted for splits and dividends by the rule of `botlib.adjust`.

    ``have`` is what the bars already are: "raw", "split" (only dividends are due) or "all" (nothing is). The last bar
    keeps its price; actions after it are not applied.
    """
    due = check_actions(actions)
    due = due[(due["symbol"] == symbol) & ((due["type"] == "cash_dividend") | (have == "raw"))]
    if have == "all" or frame.empty or due.empty:
        return frame.copy()
    local = frame.index if isinstance(frame.index, pd.DatetimeIndex) else pd.DatetimeIndex(frame.index)
    sessions = local.tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int32)
    found = divisors(due, (symbol,), sessions, frame[["close"]].to_numpy(), "all")
    result = frame.copy()
    if found is not None:
        result[list(COLUMNS[:4])] = frame[list(COLUMNS[:4])].to_numpy() / found.price
        result["volume"] = frame["volume"].to_numpy() * found.shares[:, 0]
    return result


def data_hash(frame: pd.DataFrame) -> str:
    """sha256 of a bar frame's content: symbols, labels (as UTC instants), column names and float64 values, in order.

    The same bars give the same hash on every machine, whatever the time zone or resolution of the index.
    """
    digest = hashlib.sha256("\x1f".join(map(str, frame.columns)).encode())
    for level in range(frame.index.nlevels):
        values = frame.index.get_level_values(level)
        if isinstance(values, pd.DatetimeIndex):
            digest.update(values.as_unit("ns").asi8.astype("<i8").tobytes())
        else:
            digest.update("\x1f".join(map(str, values)).encode())
    digest.update(np.ascontiguousarray(frame.to_numpy(dtype="<f8")).data)
    return digest.hexdigest()
