"""How wall time drives a replay: `Pace` maps seconds since the start to virtual time, and back. It reads no clock."""

from __future__ import annotations

import numpy as np

from botlib.errors import InputError
from botlib.sandbox.tape import Tape, is_number

NS_A_SECOND = 1_000_000_000


class Pace:
    """Accelerated wall time.

    Parameters
    ----------
    tape : Tape
        The replay, at its beginning.
    speed : float
        Virtual seconds in a second of wall time: 600 makes a minute bar of a tenth of a second. 1 to 100,000.
    closed_seconds : float or None
        Most seconds of wall time that a stretch without bars takes (nights, weekends): 0 skips it, None lets it go at
        the same speed as all else.

    Raises
    ------
    InputError
        A value out of range.
    """

    def __init__(self, tape: Tape, speed: float, closed_seconds: float | None = 1.0) -> None:
        if not is_number(speed) or not 1.0 <= speed <= 100_000.0:
            raise InputError(f"speed = {speed!r} is out of range: valid is 1 to 100000, virtual seconds in a second.")
        if closed_seconds is not None and not (is_number(closed_seconds) and 0.0 <= closed_seconds <= 3600.0):
            raise InputError(f"closed_seconds = {closed_seconds!r} is out of range: valid is 0 to 3600, or None.")
        self.speed, self.closed_seconds = speed, closed_seconds
        starts, finals = tape.starts[tape.first:], tape.finals[tape.first:]
        # now, start, final, start, final, …: never backwards, should a bar start before the last one is final
        virtual = np.maximum.accumulate(np.concatenate([[tape.now], np.stack([starts, finals], axis=1).ravel()]))
        seconds = np.diff(virtual) / NS_A_SECOND / speed
        if closed_seconds is not None:
            seconds[0::2] = np.minimum(seconds[0::2], closed_seconds)
        self._virtual = virtual
        self._wall = np.concatenate([[0.0], np.cumsum(seconds)])

    def virtual(self, wall: float) -> int:
        """Virtual time, UTC ns, ``wall`` seconds after the start; it ends with the last bar."""
        n = int(np.searchsorted(self._wall, wall, side="right")) - 1
        if n < 0:
            return int(self._virtual[0])
        if n >= len(self._wall) - 1:
            return int(self._virtual[-1])
        share = (wall - self._wall[n]) / (self._wall[n + 1] - self._wall[n])
        return int(self._virtual[n]) + int(share * float(self._virtual[n + 1] - self._virtual[n]))

    def wall(self, virtual: int) -> float:
        """Seconds after the start at which virtual time reaches ``virtual``; inf beyond the last bar."""
        n = int(np.searchsorted(self._virtual, virtual, side="left"))
        if n >= len(self._virtual):
            return float("inf")
        if n == 0:
            return 0.0
        span = float(self._virtual[n] - self._virtual[n - 1])
        share = float(virtual - int(self._virtual[n - 1])) / span
        return float(self._wall[n - 1] + share * (self._wall[n] - self._wall[n - 1]))
