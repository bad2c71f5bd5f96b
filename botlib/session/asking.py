"""What people ask of a running session, through the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botlib.errors import RepositoryError
from botlib.session.waiting import ASK_SECONDS


class Asking:
    """Requests as the passes of a session see them.

    Parameters
    ----------
    read : function
        The account's requests that nobody has answered.
    clock : function
        Monotonic seconds.
    """

    def __init__(self, read: Callable[[], Sequence[Any]], clock: Callable[[], float]) -> None:
        self._read, self._clock = read, clock
        self._seen: set[int] = set()
        self._new = False
        self._looked = float("-inf")

    def take(self) -> list[Any]:
        """All of them, for the pass that begins."""
        asked = list(self._read())
        self._seen, self._new = {int(one.id) for one in asked}, False
        return asked

    def new(self) -> bool:
        """Whether there is one that no pass has seen. It stays so until one begins, however often this is asked."""
        now = self._clock()
        if not self._new and now - self._looked >= ASK_SECONDS:
            self._looked, self._new = now, self.news()
        return self._new

    def news(self) -> bool:
        """The same, looked up now."""
        try:
            return bool({int(one.id) for one in self._read()} - self._seen)
        except RepositoryError:  # the pass itself will say so
            return False
