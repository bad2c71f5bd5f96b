"""Which shares of an order a fill adds to those that are known. Pure.

A fill covers the shares of its order in (after, up to]. The stream and the activities tell the same executions, and an
order read as a whole tells all of them at their average price: each share is counted once, whoever told it first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from botlib.brokers.base import Fill

_DIGITS = 9  # of shares, as `Fill.covers`


class Span(NamedTuple):
    """Shares of an order that are known: those after ``after`` up to ``upto``, at ``price`` dollars."""

    after: float
    upto: float
    price: float


def new_parts(known: Iterable[Span], fill: Fill) -> tuple[Fill, ...]:
    """The parts of ``fill`` that ``known`` (spans of the same order that do not overlap) does not cover, in order.

    A fill that is all new is its own only part. One that covers known shares as a whole is an average over them: the
    part left gets the price at which the money adds up.
    """
    after, upto = fill.covers
    overlaps = sorted(s for s in known if min(s.upto, upto) - max(s.after, after) > 0.5 * 10.0 ** -_DIGITS)
    if not overlaps:
        return (fill,)
    gaps, start = [], after
    for span in overlaps:
        if round(span.after - start, _DIGITS) > 0.0:
            gaps.append((start, span.after))
        start = max(start, span.upto)
    if round(upto - start, _DIGITS) > 0.0:
        gaps.append((start, upto))
    price = _price_left(after, upto, overlaps, fill)
    return tuple(replace(fill, qty=round(end - begin, _DIGITS), cum_qty=end, price=price) for begin, end in gaps)


def _price_left(after: float, upto: float, overlaps: list[Span], fill: Fill) -> float:
    """Price of the shares that are new; the fill's own where nothing better follows from what is known."""
    if any(s.after < after or s.upto > upto for s in overlaps):
        return fill.price
    known = sum(s.upto - s.after for s in overlaps)
    left = round(upto - after - known, _DIGITS)
    if left <= 0.0:
        return fill.price
    price = (fill.price * (upto - after) - sum((s.upto - s.after) * s.price for s in overlaps)) / left
    return round(price, 6) if price > 0.0 else fill.price
