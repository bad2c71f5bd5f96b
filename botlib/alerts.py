"""Being told: events of a session go to a command and to a ping URL, and never hold the session up.

`Alerts.send` only puts the event into a bounded queue; each target has a thread of its own. What could not be delivered
is kept for the session to record (`Alerts.failures`): alerts themselves write nothing anywhere.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, field_validator

from botlib import hygiene
from botlib.alert_targets import Command, NotDelivered, Ping, without_secrets
from botlib.errors import InputError
from botlib.params import PRIVATE, Model, command

Kind = Literal["start", "kill", "crash", "refusal", "end", "alarm"]
LEVELS: dict[str, str] = {"start": "info", "kill": "alarm", "crash": "alarm", "refusal": "warning", "end": "info",
                          "alarm": "alarm"}
DEFAULT_VARIABLE = "BOTLIB_PING_URL"
_KEPT_FAILURES = 200
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class AlertSettings(Model):
    """Who is told of a session's start, kill, crash, refusal, end and alarms."""

    on_event: str | list[str] | None = Field(
        None, description="command that gets each event as JSON on its standard input; null: none",
        json_schema_extra=PRIVATE)
    ping_url_env: str = Field(DEFAULT_VARIABLE, description="environment variable that holds an https URL to ping",
                              json_schema_extra=PRIVATE)

    @field_validator("on_event", mode="before")
    @classmethod
    def _check_command(cls, value: Any) -> Any:
        return command("on_event", value)

    @field_validator("ping_url_env")
    @classmethod
    def _check_variable(cls, value: str) -> str:
        if not _VARIABLE.fullmatch(value):
            raise InputError("ping_url_env: give the name of an environment variable, e.g. BOTLIB_PING_URL; the URL "
                             "itself is a secret and belongs into that variable.")
        return value


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that did not arrive."""

    target: str
    event: str
    text: str


class Target(Protocol):
    """Delivers one event or raises `NotDelivered`; takes no longer than its own deadline."""

    name: str

    def deliver(self, body: bytes) -> None:
        """Send it."""


class Alerts:
    """Sends events to all targets. Use `from_settings`; `close` at the end.

    Parameters
    ----------
    targets : sequence of Target
    secrets : sequence of str
        Starred in every event and every message.
    room : int
        Events that may wait for each target. When it is full the oldest alarm goes, else the oldest event.
    """

    def __init__(self, targets: Sequence[Target] = (), *, secrets: Sequence[str] = (), room: int = 64) -> None:
        if isinstance(room, bool) or not isinstance(room, int) or room < 1:
            raise InputError(f"room = {room!r}: it must be a whole number of at least 1.")
        self._secrets = tuple(sorted(set(secrets), key=lambda secret: (-len(secret), secret)))
        self._failures: deque[Failure] = deque(maxlen=_KEPT_FAILURES)
        self._workers = [_Worker(target, room, self._failed) for target in targets]

    @classmethod
    def from_settings(cls, settings: AlertSettings, environ: Mapping[str, str], *, folder: Path | None = None,
                      allow_private: bool = False, context: ssl.SSLContext | None = None, room: int = 64) -> Alerts:
        """The targets that the settings name.

        Parameters
        ----------
        environ : mapping
            Holds the ping URL; the command inherits it less the secrets.
        folder : Path, optional
            Where the command runs: the project's root.
        allow_private, context
            For tests, see `botlib.alert_targets.Ping`.

        Raises
        ------
        InputError
            The URL is none that may be pinged, or a variable that is not the default one is not set.
        """
        targets: list[Target] = []
        secrets = hygiene.environment_secrets(environ)
        if settings.on_event is not None:
            hidden = (settings.ping_url_env, DEFAULT_VARIABLE)
            targets.append(Command(settings.on_event, environ=without_secrets(environ, hidden), folder=folder))
        if url := environ.get(settings.ping_url_env, "").strip():
            ping = Ping(url, allow_private=allow_private, context=context)
            targets.append(ping)
            secrets += ping.secrets
        elif settings.ping_url_env != DEFAULT_VARIABLE:
            raise InputError(f"ping_url_env = {settings.ping_url_env!r}: this environment variable is not set; set it "
                             f"to an https URL, or leave ping_url_env out.")
        return cls(targets, secrets=secrets, room=room)

    def send(self, kind: Kind, text: str, *, time: dt.datetime, **data: Any) -> None:
        """Tell all targets; returns at once and never raises.

        The event is ``{"event": kind, "level": …, "time": …, "text": text}`` and ``data``; NaN and infinities are null.
        """
        try:
            event = {**data, "event": kind, "level": LEVELS.get(kind, "alarm"), "time": time.isoformat(), "text": text}
            plain = json.loads(json.dumps(event, default=str), parse_constant=lambda _: None)
            body = json.dumps(hygiene.mask(plain, self._secrets)).encode()
        except Exception as error:  # whatever is in it, the session goes on
            self._failed("alerts", str(kind), f"the event cannot be written as JSON ({type(error).__name__})")
            return
        for worker in self._workers:
            worker.put(str(kind), body)

    def failures(self) -> list[Failure]:
        """What has failed since the last call."""
        found = []
        while self._failures:
            found.append(self._failures.popleft())
        return found

    def close(self, timeout: float = 5.0) -> bool:
        """Wait for what is still to be delivered, at most so many seconds; whether nothing is left. No more is sent
        afterwards."""
        until = time.monotonic() + timeout
        done = [worker.close(max(0.0, until - time.monotonic())) for worker in self._workers]  # each of them
        return all(done)

    def _failed(self, target: str, event: str, text: str) -> None:
        self._failures.append(Failure(target, event, str(hygiene.mask(text, self._secrets))))


class _Worker:
    """A target, its queue and its thread, which starts with the first event."""

    def __init__(self, target: Target, room: int, failed: Callable[[str, str, str], None]) -> None:
        self._target, self._room, self._failed = target, room, failed
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, kind: str, body: bytes) -> None:
        """Never waits for the target."""
        with self._changed:
            if self._closed:
                self._failed(self._target.name, kind, "it came after the end")
                return
            if len(self._waiting) >= self._room:
                oldest = next((i for i, (waiting, _) in enumerate(self._waiting) if waiting == "alarm"), 0)
                dropped = self._waiting[oldest][0]
                del self._waiting[oldest]
                self._failed(self._target.name, dropped, f"dropped: {self._room} newer events were waiting")
            self._waiting.append((kind, body))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"alerts-{self._target.name}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Whether all of it was tried in this time; the rest is dropped and noted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)
            for kind, _ in self._waiting:
                self._failed(self._target.name, kind, "dropped: the session ended first")
            self._waiting.clear()
            self._changed.notify_all()
        return done

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                kind, body = self._waiting.popleft()
                self._busy = True
            try:
                self._target.deliver(body)
            except NotDelivered as error:
                self._failed(self._target.name, kind, str(error))
            except Exception as error:  # the thread must not end of it
                self._failed(self._target.name, kind, f"{type(error).__name__}")
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
