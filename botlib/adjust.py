"""Corporate actions, and what they do to prices: splits and cash dividends, back-adjusted.

The rule, as CRSP and Alpaca apply it: bars before an ex-date are divided so that the ex-date brings no jump of its own.

- A split of ratio r divides earlier prices by r and multiplies earlier volume by r.
- A dividend of D a share multiplies earlier prices by ``1 - D / close(t-1)``: close(t-1) is the last close before the
  ex-date, in the shares of the ex-date.
- The ex-date is already without the dividend and in new shares: it keeps its price.
- Nothing is applied for an ex-date after the last bar: nobody knew it then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from botlib.errors import DataError, InputError, nearest, require

ACTION_COLUMNS = ("symbol", "ex_date", "type", "value", "pay_date")
ACTION_TYPES = ("split", "cash_dividend")
HOW = ("raw", "split", "all")
PRICES = ("open", "high", "low", "close")


def no_actions() -> pd.DataFrame:
    """An actions table without rows: "there were none", where None means "not known"."""
    return pd.DataFrame({"symbol": pd.Series(dtype="str"), "ex_date": pd.Series(dtype="datetime64[ns]"),
                         "type": pd.Series(dtype="str"), "value": pd.Series(dtype="float64"),
                         "pay_date": pd.Series(dtype="datetime64[ns]")})


def check_how(how: str) -> None:
    """Raise `InputError` when ``how`` is no kind of adjustment."""
    if how not in HOW:
        raise InputError(f"adjustment = {how!r} is unknown{nearest(how, HOW) or '.'} Valid: {', '.join(HOW)}.")


def check_actions(actions: pd.DataFrame) -> pd.DataFrame:
    """The actions in their one form: the columns of ACTION_COLUMNS, naive dates, sorted by ex_date, symbol, type.

    ``pay_date`` may be missing (NaT). Raises `DataError` on a missing column, an unknown type, a value that is not
    above zero, a missing date, or two splits of one symbol on one date.
    """
    require("actions", actions)
    missing = [c for c in ACTION_COLUMNS[:4] if c not in actions.columns]
    if missing:
        raise DataError(f"actions lack the column {missing[0]!r}; they need {', '.join(ACTION_COLUMNS[:4])} "
                        "(pay_date may be left out).")
    if actions.empty:
        return no_actions()
    table = pd.DataFrame({
        "symbol": actions["symbol"].astype(str).to_numpy(),
        "ex_date": _dates(actions["ex_date"]),
        "type": actions["type"].astype(str).to_numpy(),
        "value": pd.to_numeric(actions["value"], errors="coerce").to_numpy(np.float64),
        "pay_date": _dates(actions["pay_date"]) if "pay_date" in actions.columns else np.datetime64("NaT", "ns"),
    })
    for bad, what in (
        (~table["type"].isin(ACTION_TYPES), f"type must be one of {', '.join(ACTION_TYPES)}"),
        (table["ex_date"].isna(), "ex_date must be a date"),
        (~((table["value"] > 0) & np.isfinite(table["value"])), "value must be a number above 0"),
        (table.duplicated(["symbol", "ex_date", "type"]) & (table["type"] == "split"),
         "a split may stand there only once"),
    ):
        if bad.any():
            row = table[bad].iloc[0]
            raise DataError(f"actions: {row.symbol} {_day(row.ex_date)} {row.type} {row.value:g}: {what} "
                            f"({int(bad.sum())} such rows).")
    return table.sort_values(["ex_date", "symbol", "type", "value"], kind="stable", ignore_index=True)


def _dates(column: pd.Series) -> np.ndarray:
    """Naive dates at midnight, ns."""
    try:
        dates = pd.to_datetime(column)
    except (ValueError, TypeError) as error:
        raise DataError(f"actions: {column.name} has a value that is no date ({error}).") from None
    if getattr(dates.dtype, "tz", None) is not None:
        dates = dates.dt.tz_localize(None)
    return dates.dt.normalize().dt.as_unit("ns").to_numpy()


def _day(value: object) -> str:
    return "no date" if pd.isna(value) else f"{value:%Y-%m-%d}"


def ex_days(actions: pd.DataFrame) -> np.ndarray:
    """(rows,) int64 days since 1970-01-01 of each ex-date."""
    return actions["ex_date"].to_numpy().astype("datetime64[D]").astype(np.int64)


def known_actions(actions: pd.DataFrame, symbols: Sequence[str], day: int | None = None) -> pd.DataFrame:
    """The actions of these symbols, with an ex-date by ``day`` (days since 1970-01-01) when one is given."""
    if actions.empty:
        return actions
    wanted = actions["symbol"].isin(symbols).to_numpy()
    if day is not None:
        wanted = wanted & (ex_days(actions) <= day)
    return actions if wanted.all() else actions[wanted].reset_index(drop=True)


class Divisors(NamedTuple):
    """What to divide prices by and multiply volume by.

    columns : (M,) int, the symbols that an action touches; price, shares : (T, M) float64, 1.0 where nothing is due.
    """

    columns: np.ndarray
    price: np.ndarray
    shares: np.ndarray


def divisors(actions: pd.DataFrame, symbols: tuple[str, ...], sessions: np.ndarray, close: np.ndarray,
             how: str) -> Divisors | None:
    """The divisors of every bar, or None when no action touches any.

    Parameters
    ----------
    actions : table as `check_actions` gives it
    symbols : (N,) str
    sessions : (T,) int32, days since 1970-01-01, rising
    close : (T, N) float64, raw
    how : "split" or "all"

    Raises
    ------
    DataError
        When a dividend is not below the last close before it: price or dividend must be wrong.
    """
    column = pd.Index(symbols).get_indexer(actions["symbol"])
    at = np.searchsorted(sessions, ex_days(actions), side="left")  # first bar that trades ex
    is_split, value = (actions["type"] == "split").to_numpy(), actions["value"].to_numpy(np.float64)
    used = (column >= 0) & (at > 0) & (at < len(sessions)) & (is_split | (how == "all"))
    if not used.any():
        return None
    # One row a symbol and bar, all actions of it together.
    places, row = np.unique(np.stack([column[used], at[used]]), axis=1, return_inverse=True)
    row, is_split, value = row.reshape(-1), is_split[used], value[used]
    ratio = np.ones(places.shape[1])
    np.multiply.at(ratio, row[is_split], value[is_split])
    cash = np.bincount(row[~is_split], value[~is_split], minlength=len(ratio))
    columns, place = np.unique(places[0], return_inverse=True)
    price = np.ones((len(sessions), len(columns)))
    shares = np.ones_like(price)
    shares[places[1] - 1, place] = ratio
    price[places[1] - 1, place] = ratio / _kept(symbols, sessions, close, places, ratio, cash)
    for panel in (price, shares):  # a bar carries every action after it
        panel[::-1] = np.cumprod(panel[::-1], axis=0)
    return Divisors(columns, price, shares)


def _kept(symbols: tuple[str, ...], sessions: np.ndarray, close: np.ndarray, places: np.ndarray, ratio: np.ndarray,
          cash: np.ndarray) -> np.ndarray:
    """(K,) the part of its value a share keeps through its dividends: 1 - D / close(t-1); ``places`` (2, K) are column
    and bar."""
    column, bar = places
    before = close[bar - 1, column]
    for k in np.flatnonzero(np.isnan(before) & (cash > 0.0)):  # no bar just before: the last there is
        earlier = close[: bar[k], column[k]]
        known = earlier[~np.isnan(earlier)]
        before[k] = known[-1] if len(known) else np.inf
    kept = np.where(cash > 0.0, 1.0 - cash * ratio / before, 1.0)
    if (kept <= 0.0).any():
        first = int(np.argmax(kept <= 0.0))
        day = np.datetime64(int(sessions[bar[first]]), "D")
        raise DataError(f"{symbols[column[first]]} {day}: a dividend of {cash[first]:g} is not below the last close "
                        f"before it, {before[first]:g}; correct the actions or the prices.")
    return kept


def apply(due: Divisors | None, panels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adjusted panels; those that nothing touches are the same arrays. "vwap" moves with the prices, other further
    columns stay as they are."""
    if due is None:
        return dict(panels)
    made = {}
    for name, panel in panels.items():
        if name in PRICES or name.lower() == "vwap":
            panel = panel.copy()
            panel[:, due.columns] /= due.price
        elif name == "volume" and (due.shares != 1.0).any():
            panel = panel.copy()
            panel[:, due.columns] *= due.shares
        made[name] = panel
    return made


def acting(actions: pd.DataFrame | None, symbols: Sequence[str], sessions: np.ndarray) -> pd.DataFrame:
    """When actions reach an account: before the first bar of the first session on or after the ex-date.

    Parameters
    ----------
    actions : DataFrame or None
        See `check_actions`; None means none.
    symbols : sequence of str, N
        Those that are held or may be; actions of others are left out.
    sessions : (T,) int32
        Exchange date of each bar, days since 1970-01-01, rising.

    Returns
    -------
    DataFrame
        symbol, type, value, bar (its number), column (of the symbol), pay_session (days since 1970; the ex-date when no
        pay date is known); by bar, symbol column, splits before dividends. Without those before the first session and
        after the last.
    """
    if actions is None or not len(actions):
        return pd.DataFrame({"symbol": [], "type": [], "value": [], "bar": [], "column": [], "pay_session": []})
    frame = actions[actions["symbol"].isin(symbols)]
    ex = frame["ex_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    pay = np.full(len(frame), "NaT", "M8[D]")
    if "pay_date" in frame:
        pay = frame["pay_date"].to_numpy().astype("datetime64[D]")
    made = pd.DataFrame({
        "symbol": frame["symbol"].to_numpy(), "type": frame["type"].to_numpy(), "value": frame["value"].to_numpy(),
        "bar": np.searchsorted(sessions, ex, side="left"), "column": [symbols.index(s) for s in frame["symbol"]],
        "pay_session": np.where(np.isnat(pay), ex, pay.astype(np.int64)),
    })
    made = made[(ex >= sessions[0]) & (made["bar"].to_numpy() < len(sessions))]
    order = np.lexsort((made["type"].to_numpy() != "split", made["column"], made["bar"]))
    return made.iloc[order].reset_index(drop=True)
