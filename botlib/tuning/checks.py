"""Numbers that a user gives, checked in one sentence each."""

from __future__ import annotations

import math
import numbers
from typing import Any

from botlib.errors import InputError


def whole(name: str, value: Any, low: int) -> None:
    """Raise `InputError` unless ``value`` is a whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} = {value!r} must be a whole number of at least {low}.")


def above_zero(name: str, value: Any, what: str) -> None:
    """Raise `InputError` unless ``value`` is a finite number above 0; ``what`` says of what, e.g. "of dollars"."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 < float(value) < math.inf:
        raise InputError(f"{name} = {value!r} must be a number {what} above 0.")
