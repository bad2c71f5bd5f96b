"""Market data that stand still while time goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botlib.sandbox.messages import Request, Response


class Stale:
    """What the exchange knew at one moment, and answers from that moment on."""

    def __init__(self, exchange: Any) -> None:
        tape = exchange.tape
        self.tape = tape
        self._then = {"bar": tape.bar, "now": tape.now, "last": tape.last.copy(), "in_progress": tape.in_progress}

    def answer(self, request: Request, handle: Callable[[Request], Response]) -> Response:
        """Market data as they were; every other request is answered as ever."""
        if request.method.upper() != "GET" or not request.path.startswith("/v2/stocks"):
            return handle(request)
        now = {name: getattr(self.tape, name) for name in self._then}
        try:
            for name, value in self._then.items():
                setattr(self.tape, name, value)
            return handle(request)
        finally:
            for name, value in now.items():
                setattr(self.tape, name, value)
