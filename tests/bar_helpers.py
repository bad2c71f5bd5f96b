"""Small frames for the tests of bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from botlib.bars import Bars
from botlib.errors import BotlibWarning

NEW_YORK = "America/New_York"


def rows(symbol: str, times: Sequence[str], prices: Sequence[tuple[float, ...]] | None = None,
         zone: str | None = NEW_YORK) -> pd.DataFrame:
    """A frame of one symbol: (open, high, low, close, volume) a time; without prices 10, 11, 9, 10, 100."""
    values = [(10.0, 11.0, 9.0, 10.0, 100.0)] * len(times) if prices is None else list(prices)
    stamps = pd.DatetimeIndex(pd.to_datetime(list(times), format="ISO8601")).as_unit("ns")
    index = pd.MultiIndex.from_product([[symbol], stamps.tz_localize(zone)], names=["symbol", "timestamp"])
    return pd.DataFrame(values, index=index, columns=["open", "high", "low", "close", "volume"], dtype=np.float64)


def closes(symbol: str, series: Mapping[str, float]) -> pd.DataFrame:
    """A frame of one symbol from its closes: open and close the same, high 1 % above, low 1 % below, volume 1000."""
    return rows(symbol, list(series), [(c, c * 1.01, c * 0.99, c, 1000.0) for c in series.values()])


def checks(bars: Bars) -> list[str]:
    """The names of the findings, one a row."""
    return bars.findings["check"].tolist()


def warned(make: Callable[[], Any], *names: str) -> tuple[Any, list[str]]:
    """What ``make`` returns and what it warned; fails unless the warnings have just these names, in any order."""
    with pytest.warns(BotlibWarning) as caught:
        made = make()
    assert sorted(w.message.name for w in caught) == sorted(names)  # type: ignore[union-attr]
    return made, [w.message.message for w in caught]  # type: ignore[union-attr]


def table(*actions: tuple[str, str, str, float]) -> pd.DataFrame:
    """Actions: (symbol, ex_date, type, value)."""
    made = pd.DataFrame(list(actions), columns=["symbol", "ex_date", "type", "value"])
    return made.assign(ex_date=pd.to_datetime(made["ex_date"]))
