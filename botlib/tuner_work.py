"""The tuner's two threads. One answers a move: the account first, then the surface; a new move ends what is still
searched. The other, behind it, counts the trials and works out how overfitted they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from botlib.errors import BotlibError

if TYPE_CHECKING:
    import numpy as np

    from botlib.repository import Repository
    from botlib.tuner import Position, Tuner
    from botlib.tuning.ground import Ground
    from botlib.tuning.judging import Honesty
    from botlib.tuning.study import Curve

STILL_SECONDS = 0.3
"""So long nothing must move before a second of work is spent on one position."""
_LATE_SECONDS = 1.0
"""A search that takes longer says how far it is."""


class Screen(Protocol):
    """Who shows what is found. Called from the threads; each call returns when it is shown."""

    def drawn(self, at: Position, curve: Curve, held: np.ndarray) -> None: ...
    def waits(self, at: Position) -> None: ...
    def surface(self, at: Position, ground: Ground, words: str) -> None: ...
    def honesty(self, at: Position, found: Honesty | None, pending: bool) -> None: ...
    def says(self, text: str) -> None: ...


class Overtaken(Exception):
    """There is a newer move."""


class Worker:
    """Answers moves, the newest only."""

    def __init__(self, tuner: Tuner, screen: Screen, repository: Callable[[], Repository] | None = None) -> None:
        self.tuner, self.screen = tuner, screen
        self._open = repository
        self._repository: Repository | None = None
        self._moved = threading.Condition()
        self._wanted: Position | None = None
        self._number = self._busy = 0
        self._before: Position | None = None
        self.closed = False
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="botlib tuner behind")
        self._thread = threading.Thread(target=self._run, name="botlib tuner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def move(self, at: Position) -> None:
        """Somebody moved something."""
        with self._moved:
            self._wanted, self._number = at, self._number + 1
            self._moved.notify_all()

    def close(self) -> None:
        """End; what is under way is given up."""
        with self._moved:
            self.closed = True
            self._number += 1
            self._moved.notify_all()
        self._behind.submit(self._close_repository)
        self._behind.shutdown(wait=False)

    def settle(self, seconds: float = 60.0) -> bool:
        """Wait until nothing is under way; whether that came to be."""
        end = time.monotonic() + seconds
        with self._moved:
            return self._moved.wait_for(lambda: self._wanted is None and not self._busy,
                                        max(0.0, end - time.monotonic()))

    # --- the thread of moves ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._wanted is not None or self.closed)
                if self.closed:
                    return
                at, number, self._wanted = self._wanted, self._number, None
                self._busy += 1
            assert at is not None
            try:
                self._answer(at, number)
            except Overtaken:
                pass
            except BaseException as error:
                self._said(error)
            finally:
                self._done()

    def _overtaken(self, number: int) -> None:
        if number != self._number:
            raise Overtaken

    def _answer(self, at: Position, number: int) -> None:
        began, told = time.monotonic(), 0.0

        def check() -> None:
            nonlocal told
            self._overtaken(number)
            now = time.monotonic()
            if now - max(began, told) > _LATE_SECONDS:
                told = now
                show()

        def show() -> None:
            self.screen.surface(at, ground, f"searching: {ground.rows} of {len(ground.ys)} rows")

        self.screen.says("")
        self.screen.drawn(at, self.tuner.curve(at), self.tuner.held(at))
        ground = self.tuner.ground(at)
        try:
            if not ground.done:
                self.screen.waits(at)
                ground.search(shown=check, progress=check)
        finally:
            with self._moved:
                self._busy += 1
            self._behind.submit(self._work_out, at, ground, number, self._before)
            self._before = at
        self.screen.surface(at, ground, "")
        self.screen.honesty(at, self.tuner.honesty(at), not self.tuner.settled(at))

    # --- the thread behind --------------------------------------------------------------------------------------------

    def _work_out(self, at: Position, ground: Ground, number: int, before: Position | None) -> None:
        try:
            if self._open is not None:
                if self._repository is None:
                    self._repository = self._open()
                self.tuner.log(at, ground, self._repository)
            with self._moved:
                self._moved.wait_for(lambda: number != self._number, STILL_SECONDS)
            if number == self._number:
                self.tuner.work_out(at, ground)
                self.screen.honesty(at, self.tuner.honesty(at), False)
            coming = None if before is None else self.tuner.after(before, at)
            if number == self._number and coming is not None:
                # Searched while nobody waits. What was not looked at is no trial: it is counted when it is shown.
                self.tuner.ground(coming).search(progress=lambda: self._overtaken(number))
        except Overtaken:
            pass
        except BaseException as error:
            self._said(error)
        finally:
            self._done()

    def _close_repository(self) -> None:
        if self._repository is not None:
            self._repository.close()

    def _done(self) -> None:
        with self._moved:
            self._busy -= 1
            self._moved.notify_all()

    def _said(self, error: BaseException) -> None:
        if self.closed:
            return
        text: Any = error if isinstance(error, BotlibError) else f"{type(error).__name__}: {error}"
        self.screen.says(str(text))
