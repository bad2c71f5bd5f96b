"""Where a session trades: the local exchange in this process, or Alpaca. What differs between them, nothing else."""

from __future__ import annotations

import threading
import time as clocks
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.calendars import INTERVAL_MINUTES
from botlib.errors import InputError
from botlib.session.waking import Waker
from botlib.wording import plural

if TYPE_CHECKING:
    from botlib.session_config import SessionParams

_REPLAYED = 60  # bars of a replay without a beginning or a number of passes
_HISTORY_DAYS = 400  # sessions before a replay within which shorter bars are made up
SLICE_SECONDS = 0.2
"""How often a waiting session looks whether somebody asks for something."""


@dataclass(slots=True)
class Venue:
    """A broker with its bars, its time and its way of waiting.

    Attributes
    ----------
    kind : str
        "sandbox", "alpaca-paper" or "alpaca-live": a ledger's venue.
    title : str
        For the first line of a session.
    broker, provider : Broker, MarketDataProvider
    epoch : str
        Changes when the account begins anew: order ids are never used twice within one.
    here : function or None
        This machine's time; None where the venue has its own: then there is no telling when something will happen.
    wait : function of (seconds, awake) to bool
        Waits for the next pass, or until ``awake()``; False when nothing will come any more.
    close : function
    stepped : bool
        Whether each pass gets exactly one bar: then parity with a backtest is claimed.
    exchange : sandbox Venue or None
        The embedded exchange, for tests and for looking at it.
    passing : bool
        Whether the account is this session's alone, and gone with it.
    waker : Waker or None
        The broker's streams, which end a wait early.
    """

    kind: str
    title: str
    broker: Any
    provider: Any
    epoch: str
    here: Callable[[], pd.Timestamp] | None
    wait: Callable[[float, Callable[[], bool]], bool]
    close: Callable[[], None]
    stepped: bool = False
    speed: float = 1.0
    exchange: Any = None
    passing: bool = False
    waker: Waker | None = None


def open_venue(params: SessionParams, root: Path | None, environ: Mapping[str, str], *,
               env_file: str | Path | None = None) -> Venue:
    """The venue that the parameters name.

    Raises
    ------
    InputError
        No keys, keys of the wrong kind, no bars to replay.
    BrokerError
        Alpaca cannot be reached.
    """
    return _sandbox(params, root) if params.venue == "sandbox" else _alpaca(params, environ, env_file)


# --- the local exchange -----------------------------------------------------------------------------------------------


def _account_id(params: SessionParams) -> str | None:
    """The account of an embedded exchange. Each session has its own (None), so that any number run side by side. A live
    session's, which an arm is bound to, and one that is named follow from ``replay_seed`` and the name: one session of
    it at a time."""
    if params.kind != "live" and params.account is None:
        return None
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"botlib {params.replay_seed} {params.account or ''}"))


def _sandbox(params: SessionParams, root: Path | None) -> Venue:
    from botlib import sandbox
    from botlib.brokers import AlpacaBroker, AlpacaConfig
    from botlib.providers.alpaca import AlpacaProvider

    bars = _replayed(params, root)
    first = _first(params, bars)
    running = sandbox.running(bars, cash=params.replay_cash, costs=params.costs, seed=params.replay_seed, first=first,
                              speed=params.speed, multiplier=1.0 if params.risk.account == "cash" else 4.0)
    account = _account_id(params)
    running.exchange.account_id = account or str(uuid.uuid4())
    running.start(held=True)
    try:
        config = AlpacaConfig.from_env(environ=running.environ, env_file=None)
        broker = AlpacaBroker(config)
        provider = AlpacaProvider(connection=broker.connection, feed=params.feed)
    except BaseException:
        running.stop()
        raise
    made = "synthetic " if running.synthetic else ""
    title = (f"local exchange, {made}bars replayed from {bars.index[first].date()} on, "
             f"{plural(len(bars) - first, 'bar')} to come")

    def step(_seconds: float, _awake: Callable[[], bool]) -> bool:
        return bool(running.step() > 0)

    def pace(seconds: float, awake: Callable[[], bool]) -> bool:
        running.go()  # not before the first pass is done: no bar is missed while everything is loaded and compiled
        _sleep(min(seconds, 3600.0) / float(params.speed or 1.0), awake)
        return not running.exchange.done

    def close() -> None:
        broker.close()
        running.stop()

    return Venue(kind="sandbox", title=title, broker=broker, provider=provider, epoch=f"run-{uuid.uuid4().hex[:12]}",
                 here=None, wait=step if params.speed is None else pace, close=close, stepped=params.speed is None,
                 speed=float(params.speed or 1.0), exchange=running, passing=account is None)


def _replayed(params: SessionParams, root: Path | None) -> Any:
    """All bars there are between start and end: what lies before the replay is history to load."""
    whole = params.model_copy(update={"period": "max"})
    minutes = INTERVAL_MINUTES[params.interval]
    if params.provider == "sample" and minutes is not None:
        return _made_up(whole.model_copy(update={"interval": "1d"}).load_bars(root), params, 390 // minutes)
    bars = whole.load_bars(root)
    if bars.interval != params.interval:
        raise InputError(f"interval = {params.interval!r}: the bars of provider {params.provider} are of "
                         f"{bars.interval}; give that interval.")
    return bars


def _made_up(daily: Any, params: SessionParams, a_day: int) -> Any:
    """Shorter bars, made up within the daily ones that ship: of the sessions that are replayed and as much history as a
    session needs."""
    from botlib.sandbox import intraday

    if params.replay_start is None:
        first = len(daily) - 1 - (params.iterations or _REPLAYED) // max(1, a_day)
    else:
        first = int(daily.index.searchsorted(pd.Timestamp(params.replay_start, tz=daily.index.tz)))
    begin = max(0, min(first, len(daily) - 1) - _HISTORY_DAYS)
    return intraday(daily.between(str(daily.index[begin].date()), None), params.interval, seed=params.replay_seed)


def _first(params: SessionParams, bars: Any) -> int:
    """The number of the first bar that is replayed."""
    if params.replay_start is None:
        first = len(bars) - (params.iterations or _REPLAYED)
    else:
        first = int(bars.index.searchsorted(pd.Timestamp(params.replay_start, tz=bars.index.tz)))
    if not 1 <= first < len(bars):
        what = f"replay_start = {params.replay_start}" if params.replay_start else f"iterations = {params.iterations}"
        raise InputError(f"{what}: the replay needs a bar before it and one in it; there are {len(bars)} bars, from "
                         f"{bars.index[0].date()} to {bars.index[-1].date()}.")
    return first


# --- Alpaca -----------------------------------------------------------------------------------------------------------


def _alpaca(params: SessionParams, environ: Mapping[str, str], env_file: str | Path | None) -> Venue:
    from botlib.brokers import AlpacaBroker, AlpacaConfig
    from botlib.providers.alpaca import AlpacaProvider

    if env_file is not None and Path(env_file).name == ".env" and not Path(env_file).is_file():
        env_file = None  # a project needs none
    config = AlpacaConfig.from_env(params.account or "", environ=environ, env_file=env_file)
    wanted = ("live", "sandbox") if params.kind == "live" else ("paper", "sandbox")
    if config.kind not in wanted:
        said = ("a live session needs live keys (APCA_API_BASE_URL=https://api.alpaca.markets)"
                if params.kind == "live" else "a paper session never trades a live account: take the paper keys")
        raise InputError(f"venue = 'alpaca': these keys are of a {config.kind} account; {said}.")
    local = config.kind == "sandbox"
    broker = AlpacaBroker(config) if local else AlpacaBroker(config, now=lambda: pd.Timestamp.now("UTC"))
    provider = AlpacaProvider(connection=broker.connection, feed=params.feed)
    account = broker.get_account_info()
    created = "" if account.created_at is None else account.created_at.isoformat()
    kind = "sandbox" if local else f"alpaca-{config.kind}"
    title = (f"local exchange at {config.base_url}" if local else f"Alpaca, {config.kind} account "
             f"{_masked(account.account_number)}")

    waker = Waker(broker, params.symbols, params.interval, feed=params.feed)

    def wait(seconds: float, awake: Callable[[], bool]) -> bool:
        _sleep(seconds, awake)
        return True

    def close() -> None:
        waker.stop()
        broker.close()

    return Venue(kind=kind, title=title, broker=broker, provider=provider, epoch=created, waker=waker,
                 here=None if local else lambda: pd.Timestamp.now("UTC"), wait=wait, close=close)


def _masked(number: str) -> str:
    return f"…{number[-4:]}" if len(number) > 4 else number


def _sleep(seconds: float, awake: Callable[[], bool]) -> None:
    """Wait, looking up a few times a second whether somebody wants something. It ends by either clock: a machine that
    slept is late by one of them, and one whose clock was set back must not wait longer."""
    event, mono, wall = threading.Event(), clocks.monotonic() + seconds, clocks.time() + seconds
    while (left := min(mono - clocks.monotonic(), wall - clocks.time())) > 0.0 and not awake():
        event.wait(min(SLICE_SECONDS, left))
