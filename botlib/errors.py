"""The one error tree, and named warnings.

    BotlibError                     every error botlib raises on purpose; its text is one clear sentence
    ├── InputError (ValueError)     a parameter or a file of the user's is wrong: what, where, valid range, what to do
    │   ├── DataError               bars that cannot be trusted, or no bars at all
    │   ├── StrategyError           a strategy that raises, returns the wrong shape or looks ahead
    │   │   └── StrategyFailed      ... whose own code raised, while it ran
    │   ├── CredentialsError        keys are missing, or are not for the host they would be sent to
    │   └── EvidenceMissing         live trading that nothing has gone before, and that nobody waived
    ├── ProviderError               the other side failed: network, service, a file that cannot be read
    ├── BrokerError                 a broker's answer is a no, or is none
    │   ├── BrokerRefusal           a definite no, with its HTTP status and code
    │   └── BrokerUnavailable       no answer to rely on; what was sent may have arrived
    ├── RepositoryError             the database: locked, full, damaged, out of reach
    ├── LeaseRefused                another session has the account
    ├── LeaseLost                   ... or has taken it from this one
    └── RunFailed                   a headless run that ended without a result
        └── RunStopped              ... because of a signal

    BotlibWarning (UserWarning)     carries a ``name`` so that a report, a test or a filter can pick it out
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

P = ParamSpec("P")
R = TypeVar("R")


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


class StrategyFailed(StrategyError):
    """A strategy's own code raised while it ran; that error is its ``__cause__``."""

    show_cause = False
    """Whether a notebook shows the cause's traceback too; the runner wants it, for the record of a run."""

    def _render_traceback_(self) -> list[str]:
        sentence = super()._render_traceback_()
        if not self.show_cause or self.__cause__ is None:
            return sentence
        return [*"".join(traceback.format_exception(self.__cause__)).splitlines(), *sentence]


class ProviderError(BotlibError):
    """A source of data failed; the request may be right."""


class CredentialsError(InputError):
    """Keys are missing, or are not for the host they would be sent to. Never holds a key."""


class EvidenceMissing(InputError):
    """Live trading is refused for evidence that is neither there nor waived: ``missing``, the names to waive it by."""

    def __init__(self, text: str, missing: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.missing = tuple(missing)


class BrokerError(BotlibError):
    """A broker's answer is a no, or is none."""


class BrokerRefusal(BrokerError):
    """The broker says no: ``status`` (HTTP), ``code`` (its own, or None), ``message`` and further ``fields``."""

    def __init__(self, text: str, *, status: int, code: int | None = None, message: str = "",
                 fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.status, self.code, self.message, self.fields = status, code, message or text, dict(fields or {})


class BrokerUnavailable(BrokerError):
    """No answer to rely on.

    ``reason`` is "timeout", "unreachable", "reset", "server-error", "rate-limit", "html" or "malformed". ``sent`` is
    False when no connection was made: nothing can have arrived. ``status`` is the HTTP status, if there was one.
    """

    def __init__(self, text: str, *, reason: str, sent: bool = True, status: int | None = None) -> None:
        super().__init__(text)
        self.reason, self.sent, self.status = reason, sent, status


class RepositoryError(BotlibError):
    """The database failed: locked, full, damaged, out of reach.

    ``written`` is False when nothing of the transaction was written, None when nobody can say (read again what should
    be there).
    """

    def __init__(self, text: str, *, written: bool | None = False) -> None:
        super().__init__(text)
        self.written = written


class LeaseRefused(BotlibError):
    """Another session has the account; says which one, where and since when."""


class LeaseLost(BotlibError):
    """The account is no longer this session's: it must not send anything."""


class RunFailed(BotlibError):
    """A run that ended without a result. ``folder`` and ``log`` say what there is to look at (None: nothing)."""

    def __init__(self, message: str, folder: Path | None = None, log: Path | None = None) -> None:
        super().__init__(message)
        self.folder, self.log = folder, log


class RunStopped(RunFailed):
    """A run ended by a signal, ``signum``."""

    def __init__(self, message: str, folder: Path | None = None, log: Path | None = None, signum: int = 2) -> None:
        super().__init__(message, folder, log)
        self.signum = signum


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


def check_names(kind: str, given: Iterable[str], valid: Sequence[str], required: Iterable[str] = ()) -> None:
    """Raise `InputError` when a value has a name that ``kind`` does not have, or one that it needs is not given."""
    given = tuple(given)
    for name in given:
        if name not in valid:
            begins = [one for one in valid if one.startswith(f"{name}_")]
            hint = f"; did you mean {' or '.join(repr(one) for one in begins)}?" if begins else nearest(name, valid)
            raise InputError(f"{kind} has no {name!r}{hint or '.'} Valid: {', '.join(valid)}.")
    missing = [name for name in required if name not in given]
    if missing:
        raise InputError(f"{kind} needs {' and '.join(missing)}.")


Made = TypeVar("Made", bound=type)


def by_name(made: Made) -> Made:
    """Let a keyword-only dataclass say in a sentence which value is unknown, missing or not given by its name."""
    init = made.__init__  # type: ignore[misc]
    names = tuple(field.name for field in dataclasses.fields(made) if field.init)
    needed = tuple(field.name for field in dataclasses.fields(made)
                   if field.init and field.default is field.default_factory is dataclasses.MISSING)

    @functools.wraps(init)
    def inner(self: Any, *args: Any, **values: Any) -> None:
        if args:
            raise InputError(f"{made.__name__} takes its values by name: {made.__name__}({(needed or names)[0]}=…).")
        check_names(made.__name__, values, names, needed)
        init(self, **values)

    made.__init__ = inner  # type: ignore[misc]
    return made


# What a parameter of this name must be, attributes that tell it from other things, and what makes one.
_KINDS = {
    "df": ("a pandas DataFrame", ("columns", "index", "iloc"), "provider.download_bars(…)"),
    "actions": ("a pandas DataFrame", ("columns", "index", "iloc"), "provider.actions(symbols)"),
    "bars": ("Bars", ("symbols", "adjustment"), "Bars.from_frame(frame)"),
    "result": ("a BacktestResult", ("bars", "convention"), "botlib.backtest(bars, strategy)"),
    "honesty": ("what check_honesty gives", ("checks", "breakeven_bps"), "botlib.check_honesty(result)"),
}


def require(name: str, value: object) -> None:
    """Raise `InputError` unless ``value`` can be what a parameter of this name (a key of _KINDS) must be."""
    kind, attributes, made_by = _KINDS[name]
    if isinstance(value, type) or not all(hasattr(value, attribute) for attribute in attributes):
        raise InputError(f"{name} is of type {type(value).__name__}; it must be {kind}: use {made_by}.")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` with its parameters named bars, result, honesty, df or actions checked by `require`."""
    code = function.__code__  # type: ignore[attr-defined]
    names = code.co_varnames[: code.co_argcount]

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in _KINDS:
                require(name, value)
        return function(*args, **kwargs)

    return inner
