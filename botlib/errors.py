"""The one error tree, and named warnings.

    BotlibError                     every error botlib raises on purpose; its text is one clear sentence
    ├── InputError (ValueError)     a parameter or a file of the user's is wrong: what, where, valid range, what to do
    │   ├── DataError               bars that cannot be trusted, or no bars at all
    │   └── StrategyError           a strategy that raises, returns the wrong shape or looks ahead
    └── ProviderError               the other side failed: network, service, a file that cannot be read

    BotlibWarning (UserWarning)     carries a ``name`` so that a report, a test or a filter can pick it out
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class BotlibError(Exception):
    """Base of all errors botlib raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence is the whole message."""
        return [f"{type(self).__name__}: {self}"]


class InputError(BotlibError, ValueError):
    """The caller's input is wrong; nothing has been run or written."""


class DataError(InputError):
    """Market data that cannot be trusted, or none at all."""


class StrategyError(InputError):
    """A strategy that raises, returns something unusable or looks into the future."""


class ProviderError(BotlibError):
    """A source of data failed; the request may be right."""


class BotlibWarning(UserWarning):
    """A named warning.

    Parameters
    ----------
    name : str
        Stable kebab-case name, e.g. ``"weights-clipped"``.
    message : str
        One sentence for a person.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


_format_others = warnings.formatwarning


def _format(message: Warning | str, category: type[Warning], filename: str, lineno: int,
            line: str | None = None) -> str:
    """A `BotlibWarning` is a sentence for a person: the place in the code that raised it says nothing to him."""
    if issubclass(category, BotlibWarning):
        return f"{message}\n"
    return _format_others(message, category, filename, lineno, line)


warnings.formatwarning = _format


def warn(name: str, message: str, *, stacklevel: int = 3) -> None:
    """Emit a `BotlibWarning`, attributed to the caller of the function that calls this."""
    warnings.warn(BotlibWarning(name, message), stacklevel=stacklevel)


def nearest(word: object, valid: Iterable[object]) -> str:
    """``"; did you mean 'x'?"`` for the closest valid name, or an empty string."""
    found = difflib.get_close_matches(str(word), [str(v) for v in valid], n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""
