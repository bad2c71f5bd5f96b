"""What the command ``sandbox`` does: load bars, run the local exchange, say where it is."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from botlib.bars import INTERVAL_MINUTES, Bars
from botlib.config import BacktestParams
from botlib.errors import InputError, nearest
from botlib.providers.base import INTERVALS, TICKER
from botlib.wording import interval_label, plural, span

if TYPE_CHECKING:
    from botlib.sandbox.venue import Venue


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LONG = 20_000  # daily bars times bars a day in which made-up ones are worth a word before


def load_bars(symbols: Sequence[str] | None = None, period: str = "max", interval: str | None = None,
              file: str | None = None, seed: int = 0, root: str | None = None,
              say: Callable[[str], None] = lambda line: None) -> Bars:
    """Bars to replay: of a file, or those that ship with botlib.

    An ``interval`` shorter than the bars there are is made up within daily bars (`botlib.sandbox.synthetic`), which
    ``say`` is told before when it takes a while; without one the bars are taken as they are. Raises `InputError`,
    `DataError` or `ProviderError`.
    """
    values: dict[str, Any] = {"period": period}
    if interval is not None and interval not in INTERVALS:
        raise InputError(f"interval = {interval!r}: valid is {', '.join(INTERVALS)}.")
    known = _known_symbols(file)
    if file is not None:
        path = str(Path(file).expanduser().resolve())
        values |= {"provider": "file", "provider_options": {"path": path}, "symbols": list(known)}
    if symbols:
        _check_known(symbols, known)
        values["symbols"] = list(symbols)
    elif file is not None:
        _check_names(Path(file).expanduser(), known)
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
        return _made_up(bars, str(interval), seed, say)
    assert refused is not None
    raise InputError(str(refused).replace("path = ", "--file ", 1) if file is not None else str(refused))


def _known_symbols(file: str | None) -> tuple[str, ...]:
    """The symbols there are bars of."""
    if file is None:
        from botlib.providers.sample import SampleProvider

        return tuple(SampleProvider().symbols)
    from botlib.providers.file import FileProvider

    try:
        return tuple(FileProvider(str(Path(file).expanduser().resolve())).symbols)
    except InputError as error:
        raise InputError(str(error).replace("path = ", "--file ", 1)) from None


def _check_known(symbols: Sequence[str], known: Sequence[str]) -> None:
    for symbol in symbols:
        if symbol not in known:
            near = f"; did you mean '{symbol.upper()}'?" if symbol.upper() in known else nearest(symbol, known) or "."
            listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
            raise InputError(f"--symbols: there are no bars of {symbol!r}{near} There are: {listed}.")


def _check_names(path: Path, symbols: Sequence[str]) -> None:
    """Of all symbols of a file: whether they are tickers."""
    from botlib.providers.file_table import stem

    for symbol in symbols:
        if not TICKER.fullmatch(symbol):
            files = [f.name for f in path.iterdir() if stem(f).upper() == symbol] if path.is_dir() else []
            where = f"the name of the file {files[0]!r} in {path}" if files else f"{path}"
            raise InputError(f"--file: {where} says {symbol!r}, which is no ticker: change it, or name the "
                             "symbols that are wanted with --symbols.")


def _made_up(bars: Bars, interval: str, seed: int, say: Callable[[str], None]) -> Bars:
    from botlib.sandbox.synthetic import intraday

    days, minutes = int(np.isfinite(bars.close).sum()), INTERVAL_MINUTES[interval]
    if days * (390 / (minutes or 390)) > _LONG:
        say(f"making {interval_label(interval)} within {plural(days, 'daily bar')}; a shorter --period takes less time")
    return intraday(bars, interval, seed=seed)


def first_bar(bars: Bars, start: str | None) -> int:
    """The bar at which the replay begins: the first of the session ``start`` or after it; None: half way.

    Raises `InputError` when there is nothing before or after it.
    """
    if start is None:
        return max(1, len(bars) // 2)
    try:
        if not _DATE.fullmatch(start):
            raise ValueError("another spelling: which is the month?")
        day = int(np.datetime64(start, "D").astype(int))
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
    keys = [f"export {name}={value}" for name, value in venue.environ.items() if name != "NO_PROXY"]
    direct = venue.environ["NO_PROXY"]
    paste = "\n".join([*keys, f'export NO_PROXY="{direct}${{NO_PROXY:+,$NO_PROXY}}"'])
    return "\n".join(lines) + ("\n\npaste into a shell (a .env file takes the lines that begin with APCA, without "
                               f'"export"):\n{paste}')


def serve(venue: Venue) -> None:
    """Say where it is and run until Ctrl-C or SIGTERM."""
    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    from botlib.sandbox.venue import ended

    with venue:
        before = signal.signal(signal.SIGTERM, end)
        try:
            sys.stdout.write(f"{text(venue)}\n\nCtrl-C ends it.\n")
            sys.stdout.flush()
            told = False
            while venue.running:
                venue.wait(0.5)
                if venue.exchange.done and not told:
                    told = True
                    sys.stdout.write(f"\n{ended(venue.exchange)} Ctrl-C, and start it again with an earlier --start.\n")
                    sys.stdout.flush()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
