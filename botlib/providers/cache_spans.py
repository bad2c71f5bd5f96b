"""Which ranges of labels a cache has asked for, and until when each answer counts. Pure interval arithmetic."""

from __future__ import annotations

from typing import NamedTuple

SETTLED = 2**62  # asked when it could no longer change: counts for ever
BEGINNING = -5_364_662_400_000_000_000  # 1800-01-01: before the first bar of anything


class Span(NamedTuple):
    """Labels in [start, end) were asked for when ``asof`` (UTC ns) was the last final session."""

    start: int
    end: int
    asof: int


def missing(spans: list[Span], start: int, end: int, asof: int) -> list[tuple[int, int]]:
    """The parts of [start, end) that no span answers that is at least as recent as ``asof``."""
    gaps, at = [], start
    for span in sorted(spans):
        if span.asof < asof or span.end <= at or span.start >= end:
            continue
        if span.start > at:
            gaps.append((at, span.start))
        at = max(at, span.end)
    if at < end:
        gaps.append((at, end))
    return gaps


def cover(spans: list[Span], start: int, end: int, asof: int) -> list[Span]:
    """The spans after [start, end) has been asked again: it replaces what overlaps, and equal neighbours join."""
    if start >= end:
        return list(spans)
    kept = [Span(start, end, asof)]
    for span in spans:
        if span.start < start:
            kept.append(Span(span.start, min(span.end, start), span.asof))
        if span.end > end:
            kept.append(Span(max(span.start, end), span.end, span.asof))
    joined: list[Span] = []
    for span in sorted(kept):
        if joined and joined[-1].end == span.start and joined[-1].asof == span.asof:
            joined[-1] = Span(joined[-1].start, span.end, span.asof)
        else:
            joined.append(span)
    return joined
