"""Hand-made bars and strategies for the tests of the backtest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

import botlib
from botlib.bars import Bars

NEW_YORK = "America/New_York"
NAN = float("nan")
FREE = botlib.Costs.none()
BARE = botlib.Risk(max_position_pct=100.0, stop_loss_pct=None, take_profit_pct=None)

Cell = tuple[float, ...] | float | None  # (open, high, low, close[, volume]); one price for all four; no bar


def days(count: int, first: str = "2024-03-04") -> pd.DatetimeIndex:
    """Weekdays; 2024-03-04 is a Monday and the next holiday is Good Friday, 2024-03-29."""
    return pd.bdate_range(first, periods=count, tz=NEW_YORK)


def make_bars(cells: Mapping[str, Sequence[Cell]], index: pd.DatetimeIndex | None = None, *,
              actions: Sequence[tuple[Any, ...]] | None = None, interval: str = "1d",
              calendar: str | None = None) -> Bars:
    """Bars of ``{symbol: cells}``; ``actions``: (symbol, ex_date, type, value[, pay_date])."""
    count = len(next(iter(cells.values())))
    panels = np.full((5, count, len(cells)), np.nan)
    for n, column in enumerate(cells.values()):
        assert len(column) == count
        for t, cell in enumerate(column):
            if cell is not None:
                row = (cell,) * 4 if isinstance(cell, (int, float)) else cell
                panels[:, t, n] = (*row, 1_000_000.0) if len(row) == 4 else row
    table = None
    if actions is not None:
        rows = [(*a, None) if len(a) == 4 else a for a in actions]
        table = pd.DataFrame(rows, columns=["symbol", "ex_date", "type", "value", "pay_date"])
        table = table.assign(ex_date=pd.to_datetime(table["ex_date"]), pay_date=pd.to_datetime(table["pay_date"]))
    named = dict(zip(("open", "high", "low", "close", "volume"), panels))
    return Bars(days(count) if index is None else index, list(cells), **named, interval=interval, calendar=calendar,
                actions=table)


class Given:
    """A strategy whose targets are written down, by symbol; the rest of a column keeps (NaN)."""

    def __init__(self, targets: Mapping[str, Sequence[float | None]], *, unit: str = "weight", warmup: int = 0,
                 tolerance: float | None = None) -> None:
        self.given, self.unit, self.warmup, self.rebalance_tolerance_pct = targets, unit, warmup, tolerance

    def targets(self, bars: Bars) -> pd.DataFrame:
        frame = pd.DataFrame(np.nan, index=bars.index, columns=list(bars.symbols))
        for symbol, column in self.given.items():
            for t, value in enumerate(column[: len(bars)]):
                frame.iloc[t, frame.columns.get_loc(symbol)] = np.nan if value is None else value
        return frame


class OnBar:
    """A strategy that asks a function of the view; ``answers`` may also be a map from bar to what is returned."""

    def __init__(self, answers: Mapping[int, Any] | Callable[[Any], Any], *, unit: str = "weight", warmup: int = 0,
                 tolerance: float | None = None) -> None:
        self.answers, self.unit, self.warmup, self.rebalance_tolerance_pct = answers, unit, warmup, tolerance

    def on_bar(self, view: Any) -> Any:
        return self.answers(view) if callable(self.answers) else self.answers.get(view.t)


def run(cells: Mapping[str, Sequence[Cell]] | Bars, strategy: Any, **options: Any) -> botlib.BacktestResult:
    """A backtest without costs, legs and limits, unless ``options`` ask for them."""
    bars = cells if isinstance(cells, Bars) else make_bars(cells)
    if isinstance(strategy, Mapping):
        strategy = Given(strategy)
    return botlib.backtest(bars, strategy, **({"risk": BARE, "costs": FREE, "safety": None, "quiet": True} | options))


def fills(result: botlib.BacktestResult) -> list[tuple[Any, ...]]:
    """(bar, symbol, side, quantity, price), in the order in which they happened."""
    rows = result.book.rows("fills")
    return [(int(f["bar"]), result.bars.symbols[f["symbol"]], "buy" if f["side"] > 0 else "sell", float(f["quantity"]),
             float(f["price"])) for f in rows]


def fates(result: botlib.BacktestResult, *purposes: str) -> list[tuple[Any, ...]]:
    """(purpose, quantity, status, reason) of the orders, of these purposes only when any are named."""
    table = result.orders
    rows = zip(table["purpose"], table["quantity"], table["status"], table["reason"])
    return [row for row in rows if not purposes or row[0] in purposes]
