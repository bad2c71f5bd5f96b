"""Where reading the account's activities goes on. Pure.

Two places, since fills and other activities are listed in different ways: a fill within moments of its time, a fee or a
dividend up to days after its day. Each lies before the last one seen by as long as some may come late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from botlib.brokers.account_records import Activity
from botlib.brokers.order_records import Fill
from botlib.errors import InputError

LATE_FILLS = pd.Timedelta(minutes=5)
LATE_OTHERS = pd.Timedelta(days=1)
_NOWHERE = "-"


@dataclass(frozen=True, slots=True)
class Cursor:
    """From where on to read fills (by their time) and other activities (by when they were listed); None: all."""

    fills: pd.Timestamp | None
    others: pd.Timestamp | None

    @property
    def text(self) -> str:
        """For keeping; `read` reads it."""
        return " ".join(_NOWHERE if at is None else at.isoformat() for at in (self.fills, self.others))

    def after(self, fills: Sequence[Fill], others: Sequence[Activity]) -> Cursor:
        """The cursor after these; it never goes back."""
        return Cursor(_later(self.fills, (one.time for one in fills), LATE_FILLS),
                      _later(self.others, (one.created_at or one.time for one in others), LATE_OTHERS))


def begin(since: pd.Timestamp | None) -> Cursor:
    """The cursor that reads everything from a moment on."""
    return Cursor(since, since)


def read(text: str) -> Cursor:
    """A cursor's text. Raises `InputError` for any other."""
    try:
        parts = [None if part == _NOWHERE else pd.Timestamp(part) for part in text.split(" ")]
        if any(part is not None and (pd.isna(part) or part.tzinfo is None) for part in parts):
            raise ValueError("no moment")
        fills, others = parts
        return Cursor(fills, others)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"cursor = {text!r} is none: give the cursor of an ActivityPage as it is, or \"\" to begin."
                         ) from None


def _later(before: pd.Timestamp | None, times: Iterable[pd.Timestamp], late: pd.Timedelta) -> pd.Timestamp | None:
    last = max(times, default=None)
    if last is None:
        return before
    return last - late if before is None else max(before, last - late)
