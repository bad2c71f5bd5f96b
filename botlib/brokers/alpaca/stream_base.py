"""The threads of a stream, what comes out of its inbox, and what is done about silence and gaps."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pandas as pd

from botlib.brokers.alpaca.config import AlpacaConfig
from botlib.brokers.alpaca.stream_client import Inbox, abort, wind_up
from botlib.brokers.event_records import StreamProblem
from botlib.errors import BrokerError, InputError
from botlib.wording import plural

_STOP_SECONDS = 5.0
_REMEMBERED = 100_000
Event = TypeVar("Event")


class Stream(Generic[Event]):
    """What both streams share. Subclasses say what a message and a backfill are."""

    _what = "stream"
    _beside = ""
    """What a backfill does not bring."""

    def __init__(self, config: AlpacaConfig, on_event: Callable[[Event], object],
                 on_problem: Callable[[StreamProblem], object] | None, heartbeat: float,
                 now: Callable[[], pd.Timestamp], clock: Callable[[], float]) -> None:
        if isinstance(heartbeat, bool) or not isinstance(heartbeat, (int, float)) or not 0.05 <= heartbeat <= 3600.0:
            raise InputError(f"heartbeat = {heartbeat!r} is out of range: valid is 0.05 to 3600 seconds.")
        for name, value in (("on_event", on_event), ("on_problem", on_problem or print)):
            if not callable(value):
                raise InputError(f"{name} is of type {type(value).__name__}: give a function of one argument.")
        self._config, self._on_event, self._on_problem = config, on_event, on_problem
        self._heartbeat, self._now, self._clock = float(heartbeat), now, clock
        self._inbox: Inbox = queue.Queue()
        self._stopping, self._connected = threading.Event(), threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._client: Any = None
        self._threads: list[threading.Thread] = []
        self._seen: dict[Any, None] = {}
        self._last_sign = clock()
        self._owed = ""  # a backfill that the open connection still needs
        self._away = 0  # events that REST brought since the socket went away
        self._told: pd.Timestamp | None = None
        """The latest time that the broker, or the local exchange, has told."""
        self.connections = self.handler_errors = self.missed = 0
        self.problems: list[StreamProblem] = []
        """The last hundred."""

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self, timeout: float = 10.0) -> bool:
        """Connect and go on in the background; whether it was connected within ``timeout`` seconds (it keeps trying).

        Starting one that runs changes nothing; one that was stopped starts again.
        """
        if not any(thread.is_alive() for thread in self._threads):
            self._inbox = queue.Queue()
            self._stopping.clear()
            self._connected.clear()
            self._threads = [threading.Thread(target=target, name=f"alpaca-{self._what}-{name}", daemon=True)
                             for name, target in (("socket", self._run_socket), ("events", self._run_events))]
            for thread in self._threads:
                thread.start()
        return self._connected.wait(timeout)

    def stop(self, timeout: float = _STOP_SECONDS) -> bool:
        """End; whether both threads were gone within ``timeout`` seconds. No handler is called after it returns.

        May be called from the handler; it then does not wait.
        """
        until = time.monotonic() + timeout
        self._stopping.set()
        self._inbox.put(("stop", None))
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(self._cancel)
        if threading.current_thread() in self._threads:
            return False
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def __repr__(self) -> str:
        state = "connected" if self.connected else "connecting" if self.running else "stopped"
        return f"{type(self).__name__}({self._config.kind}, {state}, {plural(len(self._seen), 'event')})"

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended."""
        return any(thread.is_alive() for thread in self._threads) and not self._stopping.is_set()

    @property
    def connected(self) -> bool:
        """Whether the socket is open and nothing from before is missing."""
        return self._connected.is_set() and self.running

    @property
    def silence(self) -> float:
        """Seconds since the last message, or since REST last said that nothing is missing."""
        return self._clock() - self._last_sign

    # -- the socket's thread --------------------------------------------------------------------------------------

    def _run_socket(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            self._client = self._new_client()
            self._task = loop.create_task(self._client._run_forever())
            self._loop = loop
            if not self._stopping.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(self._task)
        finally:
            self._loop = None
            self._connected.clear()
            wind_up(loop, self._client)

    def _cancel(self) -> None:
        """End the socket's task. Again and again: `asyncio.wait_for` swallows a cancel that comes with a message."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and not task.done():
            task.cancel()
            loop.call_later(0.1, self._cancel)

    def _new_client(self) -> Any:
        raise NotImplementedError

    def _reconnect(self) -> None:
        """Cut the socket; alpaca-py then opens a new one."""
        loop, client = self._loop, self._client
        if loop is not None and client is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(abort, client)

    # -- the events' thread ---------------------------------------------------------------------------------------

    def _run_events(self) -> None:
        due = self._clock() + self._heartbeat
        while not self._stopping.is_set():
            try:
                kind, content = self._inbox.get(timeout=min(max(due - self._clock(), 0.01), 1.0))
            except queue.Empty:
                if self._clock() < due:
                    continue
                kind, content = "silence", None
            again = self._met(kind, content)
            due = self._clock() + (min(1.0, self._heartbeat) if again else self._heartbeat)

    def _met(self, kind: str, content: Any) -> bool:
        """One thing from the inbox; whether REST could not be asked and must be soon."""
        if kind == "message":
            self._last_sign = self._clock()
            self._message(content)
        elif kind == "connected":
            self.connections += 1
            self._owed = "gap" if self.connections > 1 else "first"
            return not self._backfilled(self._owed)
        elif kind == "silence":
            return not self._backfilled(self._owed or ("mute" if self._connected.is_set() else "away"))
        elif kind == "closed":
            self._owed = ""
            self._connected.clear()
        elif kind == "trying":
            self._problem("connect", f"the {self._what} is not connected after {content} tries; it goes on trying.")
        elif kind == "refused":
            self._problem("connect", f"Alpaca refuses a request of the {self._what}: {content}.")
        elif kind == "keys":
            self._problem("keys", f"Alpaca refuses the keys of the {self._what} ({content}); it has ended.")
            self._stopping.set()
        return False

    def _message(self, content: Any) -> None:
        try:
            events = self._read(content)
        except BrokerError as error:
            self._problem("message", f"a message of the {self._what} could not be read: {error}")
            return  # REST is asked at the next silence
        for key, event in events:
            self._hand_over(key, event)

    def _backfilled(self, why: str) -> bool:
        """Ask REST for what the stream has not brought; False when it could not be asked.

        ``why``: "first" connection, a "gap", an open but perhaps "mute" socket, or one that is "away".
        """
        if self._stopping.is_set() or (why == "away" and not self.connections):
            return True  # nothing is promised before the first connection
        try:
            found = self._backfill()
        except BrokerError as error:
            self._problem("backfill", f"REST could not be asked for what the {self._what} may have missed: {error}")
            return False
        self._last_sign = self._clock()
        self._take_in()
        missed = sum(self._hand_over(key, event) for key, event in found)
        self.missed += missed if why != "first" else 0
        self._away += missed if why in ("gap", "away") else 0
        if why == self._owed:
            self._owed = ""
            self._connected.set()
        if why == "gap":
            missed, self._away = self._away, 0
            instead = f"{plural(missed, 'event')} came from REST instead" if missed else "REST has none that is missing"
            self._problem("gap", f"the {self._what} was away; {instead}.{self._beside}", missed)
        elif why == "mute" and missed:
            self._problem("mute", f"the {self._what} was open but did not bring {missed} events that REST has; it is "
                          "opened again.", missed)
            self._reconnect()
        return True

    def _take_in(self) -> None:
        """Messages that came while REST was asked are not missed."""
        waiting = []
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.append(self._inbox.get_nowait())
        for kind, content in waiting:
            if kind == "message":
                self._message(content)
            else:
                self._inbox.put((kind, content))

    def _hand_over(self, key: Any, event: Event) -> bool:
        """Give an event to the handler unless its key has come before."""
        if self._stopping.is_set() or (key is not None and key in self._seen):
            return False
        self._note(event.time)  # type: ignore[attr-defined]
        if key is not None:
            self._seen[key] = None
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
        try:
            self._on_event(event)
        except Exception as error:
            self.handler_errors += 1
            self._problem("handler", f"the handler of the {self._what} raised {type(error).__name__}: {error}")
        return True

    def _note(self, told: pd.Timestamp) -> None:
        """The broker, or the local exchange, has told a time."""
        self._told = told if self._told is None else max(told, self._told)

    def _problem(self, kind: Any, message: str, missed: int = 0) -> None:
        # A local exchange lives in a time of its own; its problems belong beside its events.
        told = self._told if self._config.kind == "sandbox" else None
        found = StreamProblem(kind=kind, message=message, time=told if told is not None else self._now(), missed=missed)
        self.problems = [*self.problems[-99:], found]
        if self._on_problem is not None:
            with contextlib.suppress(Exception):  # it is told of errors; its own go nowhere
                self._on_problem(found)

    def _read(self, content: Any) -> list[tuple[Any, Event]]:
        raise NotImplementedError

    def _backfill(self) -> list[tuple[Any, Event]]:
        raise NotImplementedError
