"""Paper and live sessions from Python: one call runs one to its end, or starts it beside the notebook.

    summary = botlib.run_live_paper_trading(symbols=["AAPL", "MSFT"], iterations=3)

    session = botlib.start_session(params)      # in a thread of its own
    summary = await session.wait()              # shows what it says until it is over
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botlib.errors import BotlibError, InputError

if TYPE_CHECKING:
    from botlib.session.report import Report
    from botlib.session.runtime import Runtime
    from botlib.session.summary import LiveTradingSummary
    from botlib.session_config import SessionParams

GIVES_WAY = ("[RUNS ON] Other cells were asked for, so this one waits no longer. The session runs on: the cells below "
             "show it as it stands, and this one waits again when it is run again.")

_SEEN_SECONDS = 1.5  # panels look once a second
_RUNNING: dict[tuple[str, str], Session] = {}
_LOCK = threading.Lock()


class Session:
    """A session in a thread of its own, and what a notebook does with it.

    Made by `start_session`; a cell that is run again gets the same one while it runs.
    """

    def __init__(self, runtime: Runtime, params: SessionParams, key: tuple[str, str]) -> None:
        self.params, self._runtime, self._key = params, runtime, key
        self.root = key[0]
        """The project's folder."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._runtime.over

    @property
    def report(self) -> Report | None:
        """The last pass."""
        return self._runtime.report

    @property
    def summary(self) -> LiveTradingSummary | None:
        """How it ended; None while it runs."""
        return self._runtime.summary

    @property
    def started(self) -> Any:
        """Ledger, venue and account of the session."""
        return self._runtime.started

    def stop(self, reason: str = "asked to stop") -> None:
        """End it after the pass under way."""
        self._runtime.stop(reason)

    def lines(self) -> Iterator[str]:
        """What it has said since this was last asked."""
        with suppress(queue.Empty):
            while True:
                yield self._runtime.lines.get_nowait()

    async def wait(self, say: Callable[[str], Any] = print) -> LiveTradingSummary | None:
        """Say what it says until it is over. An interrupt asks it to stop and goes on waiting for its orderly end.

        In JupyterLab it gives way to cells that a person asks for meanwhile, since they would wait for this one, and
        their outputs, the panel among them, be gone until then: None, and the session runs on.
        """
        from botlib.keyboard import cells_wait, keyboard

        while not self.over:
            for line in self.lines():
                say(line)
            if cells_wait():
                say(GIVES_WAY)
                return None
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                self.stop("interrupted")
        if keyboard() is not None:  # the cells below keep the kernel busy: first the panels show the end
            await asyncio.sleep(_SEEN_SECONDS)
        return self._last_words(say)

    def join(self, say: Callable[[str], Any] = print) -> LiveTradingSummary:
        """The same where there is no event loop. An interrupt (Ctrl-C) and SIGTERM ask it to stop, and it ends in an
        orderly way: an order that is on its way is waited for."""
        with _signals(lambda name: self.stop(f"{name} received")):
            while not self.over:
                for line in self.lines():
                    say(line)
                self._runtime.wait(0.2)
        return self._last_words(say)

    def _last_words(self, say: Callable[[str], Any]) -> LiveTradingSummary:
        for line in self.lines():
            say(line)
        with _LOCK:
            if _RUNNING.get(self._key) is self:
                del _RUNNING[self._key]
        if self._runtime.error is not None:
            raise self._runtime.error
        assert self.summary is not None
        return self.summary

    def __repr__(self) -> str:
        state = str(self.summary) if self.over else "running"
        return f"<Session {self.params.name} on {self.started.venue.title}: {state}>"


@contextmanager
def _signals(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call ``stop`` instead of breaking in, where this is the main thread; elsewhere nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda found, frame: stop(signal.Signals(found).name))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_session(params: SessionParams, *, root: str | Path | None = None, environ: Mapping[str, str] | None = None,
                  run_folder: str = "", confirm: Callable[[str], str] | None = None,
                  waive: str | Sequence[str] = (), take_over: bool = False,
                  env_file: str | Path | None = None) -> Session:
    """Start a session in a thread of its own, or attach to the one of these parameters that runs here already.

    Parameters
    ----------
    params : SessionParams
        A paper session, or `LiveParams`.
    root : path, optional
        The project's folder.
    environ : mapping, optional
        Keys and addresses; default: the environment, and ``.env`` of the project.
    confirm : function, optional
        Live only: shows the banner it is given and returns the line a person typed. Default: a terminal's prompt or
        a notebook's text field; where nobody can type, an arm is needed.
    waive : str or sequence of str, optional
        Live only: names of evidence that the person who types does without, for the record; a notebook may give them
        as one text, "backtest, paper-sessions". See `botlib.arming.WAIVABLE`.
    take_over : bool
        A person's word that the session which has the account on another host is dead.

    Raises
    ------
    InputError, LeaseRefused
        Nothing was sent, and what to do stands in it.
    BrokerError, ProviderError, RepositoryError
    """
    from botlib.keyboard import keyboard
    from botlib.project import project_root
    from botlib.session.runtime import Runtime
    from botlib.session.starting import start
    from botlib.session.venues import open_venue
    from botlib.warmup import warm_up

    params.require_enabled()
    if params.kind == "live" and confirm is None:
        confirm = keyboard()
    base = project_root(root)
    key = str(base), f"{params.kind} {params.venue} {params.account or ''} {params.db}"
    with _LOCK:
        running = _RUNNING.get(key)
        if running is not None and not running.over:
            if running.params != params:
                raise InputError(f"a session with other parameters runs here already ({running.params.name}): stop it "
                                 "first (botlib.panel.show() in a new cell shows it with its buttons), or give it its "
                                 "own parameters back to see it here.")
            return running
        found = dict(os.environ if environ is None else environ)
        tell = _teller(params, found)  # what is wrong with it shows before anything is taken
        venue = None
        try:
            warm_up(lambda line: sys.stderr.write(f"{line}\n"))  # a decision would wait for it, and be late
            venue = open_venue(params, base, found, env_file=env_file or (base / ".env" if environ is None else None))
            started = start(params, venue, root=base, run_folder=run_folder, environ=found, take_over=take_over,
                            confirm=confirm, waive=waive)
        except BaseException as error:
            if venue is not None:
                venue.close()
            if isinstance(error, BotlibError):
                _teller(params, found, last=("refusal",))("refusal", str(error))
            raise
        session = Session(Runtime(started, params, tell=tell).start(), params, key)
        _RUNNING[key] = session
        return session


def stop_all(reason: str = "asked to stop") -> None:
    """Ask every session of this process to stop; safe from any thread."""
    for session in list(_RUNNING.values()):
        session.stop(reason)


def run_live_paper_trading(params: SessionParams | None = None, *, say: Callable[[str], Any] = print,
                           root: str | Path | None = None, **values: Any) -> LiveTradingSummary:
    """Run a paper session to its end: on the local exchange by default, or on an Alpaca paper account.

    ``values`` are parameters by name, e.g. ``symbols=["AAPL"], iterations=3``; Ctrl-C stops it in an orderly way.
    """
    from botlib.session_config import SessionParams

    return start_session(params or SessionParams(**values), root=root).join(say)


def run_live_real_trading(params: SessionParams | None = None, *, confirm: Callable[[str], str] | None = None,
                          waive: str | Sequence[str] = (), say: Callable[[str], Any] = print,
                          root: str | Path | None = None, **values: Any) -> LiveTradingSummary:
    """Run a live session to its end. It needs ``enable_live=True`` and a person's typed line or arm (`start_session`).
    """
    from botlib.session_config import LiveParams

    return start_session(params or LiveParams(**values), root=root, confirm=confirm, waive=waive).join(say)


def _teller(params: SessionParams, environ: Mapping[str, str],
            last: Sequence[str] = ("end", "crash")) -> Callable[[str, str], None]:
    """Alerts to the command and the address of the parameters; to nobody without them. ``last``: kinds of event after
    which nothing more comes."""
    import pandas as pd

    from botlib.alerts import DEFAULT_VARIABLE, Alerts, AlertSettings

    if not params.ping_env:  # nobody is pinged, not even at the usual address
        environ = {name: value for name, value in environ.items() if name != DEFAULT_VARIABLE}
    if params.on_event is None and not (params.ping_env and environ.get(params.ping_env)):
        return lambda kind, text: None
    settings = AlertSettings(on_event=params.on_event, **({"ping_url_env": params.ping_env} if params.ping_env else {}))
    alerts = Alerts.from_settings(settings, environ)

    def tell(kind: str, text: str) -> None:
        alerts.send(kind, text, time=pd.Timestamp.now("UTC"))  # type: ignore[arg-type]
        if kind in last:
            alerts.close(timeout=5.0)

    return tell
