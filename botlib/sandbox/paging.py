"""Pages of market data: points of several symbols, by symbol and then by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Page(NamedTuple):
    """Points of a page by symbol, as JSON, and the token of the next."""

    points: dict[str, list[str]]
    token: tuple[str, int] | None


class Source(NamedTuple):
    """Points of one symbol: ``times`` (K,) rising, of which ``stop`` are known; ``texts(low, high)`` writes them.

    extra : (time, JSON) of one more point after them.
    """

    times: np.ndarray
    stop: int
    texts: Callable[[int, int], Sequence[str]]
    extra: tuple[int, str] | None = None


def page(sources: Sequence[tuple[str, Source]], start: int, end: int, limit: int, after: tuple[str, int] | None,
         descending: bool) -> Page:
    """At most ``limit`` points with ``start`` <= time <= ``end``, by symbol and then time, after the last one named.

    ``sources`` come by symbol, in order.
    """
    points: dict[str, list[str]] = {}
    left, last = limit, None
    for symbol, source in sources:
        if after is not None and symbol < after[0]:
            continue
        low = min(int(source.times.searchsorted(start)), source.stop)
        high = min(int(source.times.searchsorted(end, side="right")), source.stop)
        extra = source.extra if source.extra is not None and start <= source.extra[0] <= end else None
        if after is not None and symbol == after[0]:
            if descending:
                high = min(high, int(source.times.searchsorted(after[1])))
            else:
                low = max(low, int(source.times.searchsorted(after[1], side="right")))
            if extra is not None and (extra[0] >= after[1] if descending else extra[0] <= after[1]):
                extra = None
        count = max(0, high - low) + (extra is not None)
        if not count:
            continue
        if not left:
            return Page(points, last)
        points[symbol], time = _take(source, low, max(low, high), extra, min(left, count), descending)
        left, last = left - len(points[symbol]), (symbol, time)
        if count > len(points[symbol]):
            return Page(points, last)
    return Page(points, None)


def _take(source: Source, low: int, high: int, extra: tuple[int, str] | None, count: int,
          descending: bool) -> tuple[list[str], int]:
    """``count`` points of low..high and the extra one, and the time of the last."""
    times = source.times
    if not descending:
        stop = min(high, low + count)
        made = list(source.texts(low, stop))
        if len(made) < count and extra is not None:
            return [*made, extra[1]], extra[0]
        return made, int(times[stop - 1])
    made = [] if extra is None else [extra[1]]
    first = max(low, high - (count - len(made)))
    made += reversed(source.texts(first, high)) if first < high else []
    return made, int(times[first]) if first < high else extra[0]  # type: ignore[index]
