"""`running`: the local Alpaca for the length of a ``with`` block, on a free loopback port, in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from botlib.bars import Bars
from botlib.errors import BotlibError, InputError, warn
from botlib.params import Costs
from botlib.sandbox.api import KEYS
from botlib.sandbox.checks import check_running
from botlib.sandbox.clock import Pace
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.faults import Fault, Faults
from botlib.sandbox.host import Host
from botlib.sandbox.synthetic import is_synthetic
from botlib.wording import when

if TYPE_CHECKING:
    from botlib.sandbox.server import Server

BASIC_SYMBOLS = 30
_START_SECONDS, _STOP_SECONDS = 20.0, 10.0
T = TypeVar("T")


class Venue:
    """A local Alpaca; `running` makes one.

    It runs between `start` and `stop`, or in a ``with`` block. Started again it goes on at the same address where it
    stopped, as a broker does after an outage.

    Attributes
    ----------
    exchange : Exchange
        Look at it between requests; to change it while the venue runs, use `call`.
    faults : Faults
    keys : (str, str)
        Key id and secret of the account.
    host, port : str, int
        The address; the port is known once it runs.
    synthetic : bool
        Whether the bars are made up (`botlib.sandbox.synthetic`).
    """

    def __init__(self, exchange: Exchange, faults: Faults, *, keys: tuple[str, str], host: str, port: int,
                 rate_limit: int | None, basic_plan: bool, unfinished_bars: bool, speed: float | None,
                 closed_seconds: float | None, feed: str, stream_options: Mapping[str, Any]) -> None:
        self.exchange, self.faults, self.keys, self.host, self.port = exchange, faults, keys, host, port
        self.speed, self.feed, self.synthetic = speed, feed, is_synthetic(exchange.bars)
        self.pace = None if speed is None else Pace(exchange.tape, speed, closed_seconds)
        self._desk = Host(exchange, faults, keys=keys, rate_limit=rate_limit, clock=time.time,
                          basic_plan=basic_plan, unfinished_bars=unfinished_bars, stepped=speed is None)
        self._ended = False
        self._stream_options = dict(stream_options)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    # --- running ------------------------------------------------------------------------------------------------------

    def start(self, *, held: bool = False) -> Venue:
        """Run; returns at once. ``held``: its clock stands until `go`. Raises `InputError` when the port is taken."""
        if self._thread is not None:
            return self
        from botlib.sandbox.server import Server

        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        server = Server(self._desk, listener, pace=self.pace, held=held, **self._stream_options)
        self._server = server
        self._thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="botlib sandbox", daemon=True)
        self._thread.start()
        atexit.register(self.stop)
        if not server.ready.wait(_START_SECONDS):
            raise BotlibError("the local exchange did not start within 20 s.")
        return self

    def go(self) -> None:
        """Let the clock run that `start` held; where it runs, or there is none, nothing."""
        if self._server is not None:
            self._server.go()

    def stop(self) -> None:
        """End all connections and the thread. Twice is the same as once."""
        thread, server, self._thread, self._server = self._thread, self._server, None, None
        if thread is None or server is None:
            return
        atexit.unregister(self.stop)
        server.stop()
        thread.join(_STOP_SECONDS)

    def __enter__(self) -> Venue:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Block while it runs, at most ``seconds``."""
        if self._thread is not None:
            self._thread.join(seconds)

    # --- addresses ----------------------------------------------------------------------------------------------------

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Of trading and of market data alike: what alpaca-py takes as ``url_override``."""
        return f"http://{self._address}"

    @property
    def trading_stream_url(self) -> str:
        """trade_updates."""
        return f"ws://{self._address}/stream"

    @property
    def data_stream_url(self) -> str:
        """Market data."""
        return f"ws://{self._address}/v2/{self.feed}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that send a bot here, for `AlpacaConfig.from_env`."""
        return {"APCA_API_KEY_ID": self.keys[0], "APCA_API_SECRET_KEY": self.keys[1], "APCA_API_BASE_URL": self.url,
                "NO_PROXY": f"{self.host},localhost"}

    def env(self) -> str:
        """The same as lines for a shell or a .env file."""
        return "\n".join(f"{name}={value}" for name, value in self.environ.items())

    def __repr__(self) -> str:
        made = ", synthetic bars" if self.synthetic else ""
        where = self.url if self.running else "not running"
        ended = ", the bars have ended" if self.exchange.done else ""
        return f"<Venue {where}, {self.exchange.bar + 1} of {len(self.exchange.bars)} bars have happened{made}{ended}>"

    # --- what goes on in it -------------------------------------------------------------------------------------------

    def step(self, n: int = 1) -> int:
        """The next ``n`` bars happen, whole; returns how many there were, once the streams have been told.

        0: the bars have ended; a further call warns (``replay-ended``), as nothing will happen any more. Raises
        `InputError` when a clock moves the market, or ``n`` is no whole number of 1 or more.
        """
        self._desk.check_steps(n)
        server = self._server
        done = self._desk.step(n) if not self.running or server is None else self._in_loop(server.step(n))
        if done == 0 and self._ended:
            warn("replay-ended", f"{ended(self.exchange)} Run a new one with fewer bars of history (first=...) or more "
                 "bars.")
        self._ended = done == 0
        return int(done)

    def call(self, function: Callable[[Exchange], T]) -> T:
        """``function(exchange)`` between two requests; the streams are told what came of it."""
        server = self._server
        if not self.running or server is None:
            return function(self.exchange)

        async def run() -> T:
            made = function(self.exchange)
            self._desk.world()
            server.happened()
            await server.listeners.told()
            return made

        return self._in_loop(run())

    def fault(self, *script: Fault | Mapping[str, Any]) -> None:
        """Add faults to the script. Raises `InputError`."""
        self.call(lambda _exchange: self._desk.add_faults(*script))

    def _in_loop(self, work: Any) -> Any:
        assert self._server is not None
        return asyncio.run_coroutine_threadsafe(work, self._server.loop).result()


def ended(exchange: Exchange) -> str:
    """What to tell when the replay is over."""
    last = exchange.bars.index[-1]
    return (f"the bars have ended ({when(last, exchange.bars.interval)}): the exchange's clock stands still, and "
            "orders sent now are accepted and never fill.")


def running(bars: Bars, *, cash: float = 100_000.0, speed: float | None = None, seed: int = 0,
            costs: Costs | None = None, faults: Faults | Iterable[Fault | Mapping[str, Any]] | None = None,
            first: int = 1, multiplier: float = 4.0, keys: tuple[str, str] = KEYS, host: str = "127.0.0.1",
            port: int = 0, rate_limit: int | None = None, closed_seconds: float | None = 1.0, feed: str = "iex",
            symbol_limit: int | None = None, connection_limit: int | None = 1, basic_plan: bool = False,
            unfinished_bars: bool = True, auth_seconds: float = 10.0) -> Venue:
    """A local Alpaca on a loopback port, for a ``with`` block; safe inside Jupyter.

    ::

        with botlib.sandbox.running(bars) as venue:
            client = TradingClient(*venue.keys, url_override=venue.url)
            venue.step()

    Parameters
    ----------
    bars : Bars, (T, N)
        Raw prices with a calendar; their actions are applied.
    cash, costs, seed, first, multiplier
        As `Exchange`. ``seed`` is also that of the faults; the same seed gives the same ids, that of the account too.
    speed : float, optional
        Virtual seconds in a second of wall time, 1 to 100,000. None: nothing happens until `Venue.step`.
    faults : Faults or list of Fault or mapping, optional
        What goes wrong (`botlib.sandbox.faults`).
    keys : (str, str)
        What clients must send.
    host : str
        A loopback address.
    port : int
        0: a free one.
    rate_limit : int, optional
        Requests a minute, of wall time; Alpaca: 200. Answers then carry Alpaca's X-RateLimit headers. None: no limit,
        and nothing to tell.
    closed_seconds : float or None
        With ``speed``: most seconds that a night takes; 0 skips it, None lets it pass at that speed.
    feed : str
        The last part of ``data_stream_url``: iex, sip, delayed_sip, boats, overnight or test.
    symbol_limit : int, optional
        Most symbols on the market data stream, over all channels.
    connection_limit : int or None
        Most market data streams at a time; Alpaca: 1.
    basic_plan : bool
        Alpaca's free plan: 30 symbols on the stream, no stream of the feed sip, no recent data of it.
    unfinished_bars : bool
        As at Alpaca, the last bar that /v2/stocks/bars serves may be unfinished: today's so far. False: bars appear
        when they are finished.
    auth_seconds : float
        How long the market data stream waits for the keys.

    Returns
    -------
    Venue

    Raises
    ------
    InputError
        A parameter of the wrong type or out of range; a host that is not loopback, a port that is taken; a fault that
        cannot happen on these bars.
    """
    check_running(dict(locals()))
    script = Faults.of(faults, seed=seed)
    script.fit(bars, *script.script, running=False)
    exchange = Exchange(script.prepare(bars), cash=cash, costs=costs, seed=seed, first=first, multiplier=multiplier)
    return Venue(exchange, script, keys=(keys[0], keys[1]), host=host, port=port, rate_limit=rate_limit,
                 basic_plan=basic_plan, unfinished_bars=unfinished_bars, speed=speed, closed_seconds=closed_seconds,
                 feed=feed,
                 stream_options={"symbol_limit": BASIC_SYMBOLS if basic_plan and symbol_limit is None else symbol_limit,
                                 "connection_limit": connection_limit, "sip": not basic_plan,
                                 "auth_seconds": auth_seconds})


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `InputError` when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, else asyncio leaves TCP_NODELAY off
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise InputError(f"port {port} on {host} {why}: choose another, or 0 for a free one.") from None
    made.setblocking(False)
    return made
