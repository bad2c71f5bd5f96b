"""Random small markets for the property tests, and an account rebuilt from nothing but fills and corporate actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from engine_helpers import NEW_YORK, days, make_bars
from hypothesis import strategies as st

import botlib
from botlib.bars import Bars

NAMES = ("MIKE", "ALFA", "ZULU", "GOLF")
RATIOS = (2.0, 3.0, 1.5, 0.1)
WEIGHTS = (None, None, None, 0.0, 0.0, 0.1, 0.2, 0.2, 0.4, -0.1, -0.2, 0.7)


@dataclass(frozen=True)
class World:
    """Bars and what is wanted at each of them, by symbol."""

    bars: Bars
    targets: dict[str, list[float | None]]
    seed: int = field(compare=False)


@st.composite
def worlds(draw: Any, *, holes: bool = True, actions: bool = True, volumes: bool = False) -> World:
    """Up to four symbols and thirty bars, daily or three a session, with gaps; perhaps holes, splits and dividends."""
    seed = draw(st.integers(0, 2**32 - 1))
    count, symbols = draw(st.integers(6, 30)), NAMES[: draw(st.integers(1, 4))]
    gappy = draw(st.sampled_from([0.0, 0.1]))
    hole = draw(st.sampled_from([0.0, 0.15])) if holes else 0.0
    intraday, ratios = draw(st.booleans()), RATIOS if actions and draw(st.booleans()) else ()
    rng = np.random.default_rng(seed)
    index = hours(count) if intraday else days(count)
    session = np.cumsum(np.diff(index.normalize().asi8, prepend=0) != 0) - 1
    cells: dict[str, list[Any]] = {}
    table = []
    for symbol in symbols:
        price, column = float(rng.uniform(4.0, 150.0)), []
        split_at = int(rng.integers(1, max(session[-1], 1) + 1)) if ratios else -1
        for t in range(count):
            first = t == 0 or session[t] != session[t - 1]
            if first and session[t] == split_at:
                ratio = float(rng.choice(ratios))
                table.append((symbol, str(index[t].date()), "split", ratio))
                price /= ratio
            if actions and first and t and rng.random() < 0.1:
                later = str((index[t] + pd.Timedelta(days=int(rng.integers(1, 9)))).date())
                paid = None if rng.random() < 0.5 else later
                table.append((symbol, str(index[t].date()), "cash_dividend", round(price * 0.01, 2), paid))
            open_ = price * (1.0 + rng.normal(0.0, 0.02) + (rng.normal(0.0, 0.12) if rng.random() < gappy else 0.0))
            path = max(open_, 1.5) * np.cumprod(1.0 + rng.normal(0.0, 0.02, 4))
            prices = np.round([max(open_, 1.5), *path], 2)
            volume = float(rng.choice([0.0, 60.0, 900.0, 1e6])) if volumes else 1e6
            bar = (prices[0], prices.max(), prices.min(), prices[-1], volume)
            others = [cells[s][t] for s in cells]  # some symbol always prints, as in bars made from a frame
            must = len(cells) == len(symbols) - 1 and len(symbols) > 1 and all(cell is None for cell in others)
            column.append(None if rng.random() < hole and not must else tuple(float(x) for x in bar))
            price = max(float(prices[-1]), 1.5)
        cells[symbol] = column
    targets = {s: [WEIGHTS[i] for i in rng.integers(0, len(WEIGHTS), count)] for s in symbols}
    bars = make_bars(cells, index, actions=table if actions else None, interval="1h" if intraday else "1d")
    return World(bars, targets, seed)


def hours(count: int) -> pd.DatetimeIndex:
    """Three bars a session, on weekdays."""
    sessions = days(count // 3 + 1)
    stamps = [d.tz_localize(None) + pd.Timedelta(h) for d in sessions for h in ("9h30min", "11h30min", "15h")]
    return pd.DatetimeIndex(stamps[:count], tz=NEW_YORK)


@dataclass
class Ledger:
    """What the account must have been after each bar, from its fills alone."""

    equity: list[float] = field(default_factory=list)
    gross: list[float] = field(default_factory=list)
    free: list[float] = field(default_factory=list)  # equity without what is due
    positions: list[np.ndarray] = field(default_factory=list)
    closes: list[np.ndarray] = field(default_factory=list)
    crossings: int = 0  # fills that went from long to short or back
    shorts: int = 0  # fills after which a symbol was short


def rebuild(result: botlib.BacktestResult) -> Ledger:
    """Walk the bars: pay what is due, split and pay dividends, book the fills in their order, mark to the close."""
    bars, ledger = result.bars, Ledger()
    cash, held, last = result.cash, np.zeros(len(bars.symbols)), np.full(len(bars.symbols), np.nan)
    due: list[tuple[pd.Timestamp, float]] = []
    actions = pd.DataFrame() if bars.actions is None else bars.actions
    booked, fills = result.fills, {}
    for row in booked.itertuples():
        fills.setdefault(row.time, []).append(row)
    dates = bars.index.tz_localize(None).normalize()
    for t, date in enumerate(dates):
        if t == 0 or date != dates[t - 1]:
            cash += sum(amount for when, amount in due if when <= date)
            due = [(when, amount) for when, amount in due if when > date]
            today = actions[actions["ex_date"] == date] if len(actions) else actions
            for a in today.sort_values("type", ascending=False).itertuples() if len(today) else ():  # splits first
                n = bars.symbols.index(a.symbol)
                if a.type == "split":
                    whole = np.floor(abs(held[n]) * a.value + 1e-9)
                    if held[n]:
                        cash += np.sign(held[n]) * (abs(held[n]) * a.value - whole) * last[n] / a.value
                    held[n] = np.sign(held[n]) * whole
                    last[n] /= a.value
                elif held[n]:
                    amount = float(np.floor(held[n] * a.value * 100 + 0.5 + 1e-9)) / 100
                    if pd.isna(a.pay_date) or a.pay_date <= date:
                        cash += amount
                    else:
                        due.append((a.pay_date, amount))
        for row in fills.get(bars.index[t], ()):
            n, sign = bars.symbols.index(row.symbol), 1.0 if row.side == "buy" else -1.0
            cash -= sign * row.quantity * row.price + row.commission + row.fees
            before, held[n] = held[n], held[n] + sign * row.quantity
            ledger.crossings += before * held[n] < 0
            ledger.shorts += held[n] < 0
        last = np.where(np.isnan(bars.close[t]), last, bars.close[t])
        value = np.where(held != 0.0, held * last, 0.0)
        ledger.free.append(cash + value.sum())
        ledger.equity.append(cash + value.sum() + sum(amount for _, amount in due))
        ledger.gross.append(np.abs(value).sum())
        ledger.positions.append(held.copy())
        ledger.closes.append(last.copy())
    return ledger
