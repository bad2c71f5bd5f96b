"""What the command ``sandbox`` does: load bars, run the local exchange, say where it is."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.bars import Bars
from botlib.config import BacktestParams
from botlib.errors import InputError
from botlib.providers.base import INTERVALS
from botlib.wording import interval_label, plural, span

if TYPE_CHECKING:
    from botlib.sandbox.venue import Venue


def load_bars(symbols: Sequence[str] | None = None, period: str = "max", interval: str | None = None,
              file: str | None = None, seed: int = 0, root: str | None = None) -> Bars:
    """Bars to replay: of a file, or those that ship with botlib.

    An ``interval`` shorter than the bars there are is made up within daily bars (`botlib.sandbox.synthetic`); without
    one the bars are taken as they are. Raises `InputError`, `DataError` or `ProviderError`.
    """
    values: dict[str, Any] = {"period": period}
    if file is not None:
        from botlib.providers.file import FileProvider

        path = str(Path(file).expanduser().resolve())
        values |= {"provider": "file", "provider_options": {"path": path}, "symbols": list(FileProvider(path).symbols)}
    if symbols:
        values["symbols"] = list(symbols)
    if interval is not None and interval not in INTERVALS:
        BacktestParams(interval=interval)  # says what is valid
    wanted = [interval] if interval is not None else list(INTERVALS) if file is not None else ["1d"]
    refused: InputError | None = None
    for one in dict.fromkeys([*wanted, "1d"]):
        try:
            bars: Bars = BacktestParams(**values, interval=one).load_bars(root)
        except InputError as error:
            refused = refused or error
            continue
        if interval in (None, one):
            return bars
        from botlib.sandbox.synthetic import intraday

        assert interval is not None
        return intraday(bars, interval, seed=seed)
    assert refused is not None
    raise refused


def first_bar(bars: Bars, start: str | None) -> int:
    """The bar at which the replay begins: the first of the session ``start`` or after it; None: half way.

    Raises `InputError` when there is nothing before or after it.
    """
    if start is None:
        return max(1, len(bars) // 2)
    try:
        day = int(np.datetime64(pd.Timestamp(start).date(), "D").astype(int))
    except ValueError:
        raise InputError(f"start = {start!r}: give a date as YYYY-MM-DD.") from None
    first = int(np.searchsorted(bars.sessions, day))
    if not 1 <= first < len(bars):
        raise InputError(f"start = {start}: the replay needs a bar before it and one after; there are bars from "
                         f"{span(bars.index)}.")
    return first


def text(venue: Venue) -> str:
    """Addresses, what is replayed, and the lines to paste."""
    bars, first = venue.exchange.bars, venue.exchange.tape.first
    names = ", ".join(bars.symbols) if len(bars.symbols) <= 6 else plural(len(bars.symbols), "symbol")
    kind = f"{'synthetic ' * venue.synthetic}{interval_label(bars.interval)}"
    how = (f"{venue.speed:g} times as fast as the clock" if venue.speed is not None
           else f"step by step: curl -X POST -H 'APCA-API-KEY-ID: {venue.keys[0]}' -H 'APCA-API-SECRET-KEY: "
                f"{venue.keys[1]}' '{venue.url}/sandbox/step?n=1'")
    lines = [f"exchange       {venue.url}", f"trade updates  {venue.trading_stream_url}",
             f"market data    {venue.data_stream_url}", f"bars           {names}, {kind}",
             f"replay         {span(bars.index[first:])}, {plural(len(bars) - first, 'bar')} after "
             f"{plural(first, 'bar')} of history", f"time           {how}"]
    if venue.synthetic:
        lines.append("               The bars within a day are made up: good to try a bot, not to judge it.")
    paste = "\n".join(f"export {line}" for line in venue.env().splitlines())
    return "\n".join(lines) + f"\n\npaste into a shell (a .env file takes them without \"export\"):\n{paste}"


def serve(venue: Venue) -> None:
    """Say where it is and run until Ctrl-C or SIGTERM."""
    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with venue:
        before = signal.signal(signal.SIGTERM, end)
        try:
            sys.stdout.write(f"{text(venue)}\n\nCtrl-C ends it.\n")
            sys.stdout.flush()
            while venue.running:
                venue.wait(0.5)
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
