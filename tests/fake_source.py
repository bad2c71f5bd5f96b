"""A source of made-up bars with a clock of its own, for tests of what stands in front of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from botlib import adjust
from botlib.calendars import schedule
from botlib.errors import ProviderError
from botlib.providers import frames
from botlib.providers.periods import period_start

NEW_YORK = "America/New_York"
STEP = {"5m": pd.Timedelta(minutes=5), "1h": pd.Timedelta(hours=1)}


def at(text: str) -> pd.Timestamp:
    """A New York time."""
    return pd.Timestamp(text, tz=NEW_YORK)


class Clock:
    """Time that a test moves."""

    def __init__(self, text: str) -> None:
        self.now = at(text)

    def __call__(self) -> pd.Timestamp:
        return self.now


class FakeSource:
    """Bars on every session from ``first`` to the clock's now, a new value for each symbol and label.

    Bars of the last ``preliminary`` final sessions are one dollar too high until later sessions are final: corrections.
    With ``unfinished`` the bar in progress is returned too, as live sources do. ``stopped`` gives symbols a last day.
    ``actions_table`` is known from its ex-date on; with ``adjustment`` "split" or "all" prices before an ex-date are
    divided by 2 for each action known.
    """

    def __init__(self, clock: Clock, *, first: str = "2023-01-01", last: str = "2030-01-01", preliminary: int = 0,
                 unfinished: bool = True, adjustment: str = "raw", actions_table: pd.DataFrame | None = None,
                 name: str = "fake", stopped: dict[str, str] | None = None) -> None:
        self.clock, self.name, self.adjustment = clock, name, adjustment
        self.stopped = {symbol: at(day) for symbol, day in (stopped or {}).items()}
        self.preliminary, self.unfinished = preliminary, unfinished
        self.actions_table = adjust.no_actions() if actions_table is None else adjust.check_actions(actions_table)
        self.down = False
        self.requests: list[tuple] = []
        timetable = schedule("XNYS")
        days = pd.DatetimeIndex(timetable.days.astype("datetime64[D]").astype("datetime64[ns]"))
        keep = (days >= pd.Timestamp(first)) & (days <= pd.Timestamp(last))
        self.days = days[keep].tz_localize(NEW_YORK)
        utc = [pd.DatetimeIndex(v[keep]).tz_localize("UTC").tz_convert(NEW_YORK) for v in
               (timetable.opens, timetable.closes)]
        self.opens, self.closes = utc

    # What is true, without counting.

    def final(self) -> int:
        """How many sessions are final."""
        return int((self.closes + pd.Timedelta(minutes=20) <= self.clock.now).sum())

    def truth(self, symbol: str, interval: str = "1d", *, unfinished: bool = False) -> pd.DataFrame:
        """All bars at the clock's now; final ones only unless ``unfinished``."""
        now = self.clock.now
        if interval == "1d":
            started = int((self.opens <= now).sum())
            labels = self.days[: started if unfinished else self.final()]
        else:
            step = STEP[interval]
            pieces = [pd.date_range(opens, closes, freq=step, inclusive="left")
                      for opens, closes in zip(self.opens, self.closes, strict=True) if opens <= now]
            labels = pieces[0].append(pieces[1:]) if pieces else self.days[:0]
            session = np.searchsorted(self.opens.asi8, labels.asi8, "right") - 1
            ends = np.minimum((labels + step).asi8, self.closes.asi8[session])
            labels = labels[(labels.asi8 <= now.value) if unfinished else (ends <= now.value)]
        labels = labels[labels <= self.stopped.get(symbol, labels[-1])] if len(labels) else labels
        minute = (labels.asi8 // 60_000_000_000) % 1_000_003
        close = 100.0 + (minute * (sum(map(ord, symbol)) % 97 + 1) % 5_003) / 100.0
        fresh = self.days[max(self.final() - self.preliminary, 0)] if self.preliminary else at("2100-01-01")
        close = close + 1.0 * (labels >= fresh)
        close = close / self._divisor(symbol, labels)
        frame = pd.DataFrame({"open": close - 0.5, "high": close + 1.0, "low": close - 1.0, "close": close,
                              "volume": 1_000.0 + minute % 977}, index=labels.as_unit("ns").rename("timestamp"))
        return frame.astype("float64")

    def _divisor(self, symbol: str, labels: pd.DatetimeIndex) -> np.ndarray:
        divisor = np.ones(len(labels))
        if self.adjustment != "raw":
            kinds = ("split",) if self.adjustment == "split" else adjust.ACTION_TYPES
            for row in self._known((symbol,)).itertuples():
                if row.type in kinds:
                    divisor[labels < row.ex_date.tz_localize(NEW_YORK)] *= 2.0
        return divisor

    def _known(self, symbols: tuple[str, ...]) -> pd.DataFrame:
        table = self.actions_table
        today = self.clock.now.tz_localize(None).normalize()
        return table[table["symbol"].isin(symbols) & (table["ex_date"] <= today)].reset_index(drop=True)

    # The protocol.

    def download_bars(self, *, symbols, period: str, interval: str) -> pd.DataFrame:
        self._request("download_bars", tuple(symbols), period, interval)
        parts = {s: self.truth(s, interval, unfinished=self.unfinished) for s in symbols}
        if all(part.empty for part in parts.values()):
            raise frames.no_data(self.name, symbols, interval, period)
        first = period_start(max(part.index[-1] for part in parts.values() if len(part)), period)
        return frames.stack({s: part[part.index >= first] for s, part in parts.items()})

    def history(self, symbol: str, *, start=None, end=None, interval: str = "1d",
                auto_adjust: bool = True) -> pd.DataFrame:
        assert not auto_adjust, "a cache must ask for bars as they are"
        self._request("history", symbol, start, end, interval)
        frame = self.truth(symbol, interval, unfinished=self.unfinished)
        keep = np.ones(len(frame), dtype=bool)
        if start is not None:
            keep &= frame.index >= start
        if end is not None:
            keep &= frame.index < end
        if not keep.any():
            raise frames.no_data(self.name, [symbol], interval, f"{start} to {end}")
        return frame[keep]

    def actions(self, symbols) -> pd.DataFrame:
        self._request("actions", tuple(symbols))
        return self._known(tuple(symbols))

    def _request(self, *what: object) -> None:
        self.requests.append(what)
        if self.down:
            raise ProviderError(f"{self.name} cannot be reached (the test pulled the plug).")

    def taken(self, kind: str | None = None) -> list[tuple]:
        """The requests since the last call, of one kind or of all."""
        found = [r for r in self.requests if kind in (None, r[0])]
        self.requests.clear()
        return found
