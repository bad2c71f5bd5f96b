"""No secret is ever a parameter, an output or a log line: how one is recognised, refused and masked. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from botlib.errors import InputError

MASK = "***"
_NAME = re.compile(r"(^|_)(api|access|secret|private|account)_?keys?($|_)|(^|_)keys?$|key_?id$"
                   r"|secret|token|passw|credential", re.IGNORECASE)
_VALUES = (
    re.compile(r"(PK|AK|CK)(?=[A-Z]*[0-9])[A-Z0-9]{14,30}"),  # Alpaca key ids: paper, live, broker
    re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]{38,}"),  # Alpaca secrets and the like
    re.compile(r"(sk|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL),
    re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@.*", re.IGNORECASE | re.DOTALL),  # a URL with a password
)
_WORD = re.compile(r"[^\s'\"\[\]{}(),;=<>]+")
_KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "str": "a text", "list": "a list",
          "tuple": "a list", "dict": "a map"}
_SHORTEST = 8
"""A shorter value of a secret-looking variable is not masked: it would star ordinary text."""


def is_secret_name(name: object) -> bool:
    """Whether a parameter or variable of this name would hold a secret."""
    return bool(_NAME.search(str(name)))


def is_secret_value(value: object, known: Iterable[str] = ()) -> bool:
    """Whether a value has the form of a key, or is one of the ``known`` secrets."""
    if not isinstance(value, str):
        return False
    text = value.strip()
    return text in known or any(p.fullmatch(text) for p in _VALUES)


def hide(text: str) -> str:
    """A sentence with each word in it starred that has the form of a key."""
    return _WORD.sub(lambda word: MASK if _is_key(word[0]) else word[0], text)


def _is_key(word: str) -> bool:
    return any(is_secret_value(part.strip(".")) for part in (word, *word.split(":")))


def shown(name: str, value: object, *, private: bool = False) -> str:
    """How a refusal begins: ``name = value``. Of a private value, which may hold a secret of any form, only its kind,
    unless nothing is in it; of any other without what has the form of a key."""
    empty = isinstance(value, (str, list, tuple, Mapping)) and not (value.strip() if isinstance(value, str) else value)
    if private and not (value is None or empty or isinstance(value, (bool, int, float))):
        return f"{name} is {_KINDS.get(type(value).__name__, type(value).__name__)} (not shown, it may hold a secret)"
    return hide(f"{name} = {value!r}")


def refuse_secrets(values: Mapping[Any, Any], where: str, known: Iterable[str] = ()) -> None:
    """Raise when a mapping, at any depth, holds what looks like a secret.

    Raises
    ------
    InputError
        Names the place and the parameter, never the value.
    """
    known = frozenset(known)
    for path, value in _leaves(values, ()):
        name = ".".join(str(p) for p in path)
        if any(is_secret_name(p) for p in path) or any(is_secret_value(p, known) for p in (*path, value)):
            if path == ("db",):
                raise InputError(f"{where}: db looks like a secret, and parameters are stored in files and notebooks. "
                                 "Put the database's URL into an environment variable and name that here, e.g. "
                                 "env:MY_DB_URL.")
            name = name if not any(is_secret_value(p, known) for p in path) else "a name"
            raise InputError(f"{where}: {name} looks like a secret, and parameters are stored in files and notebooks. "
                             "Put it into the environment or into .env (APCA_API_KEY_ID, APCA_API_SECRET_KEY) and "
                             "take it out here.")


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterable[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
        if not value and path:
            yield path, None
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner, path)
        if not value:
            yield path, None
    else:
        yield path, value


def environment_secrets(environ: Mapping[str, str], names: Iterable[str] = ()) -> list[str]:
    """Values of variables whose names look like secrets, or are among ``names``, longest first; a value of several
    lines gives each line."""
    found, also = set(), frozenset(names)
    for name, value in environ.items():
        if name in also or is_secret_name(name):
            found |= {line.strip() for line in (value, *value.splitlines()) if len(line.strip()) >= _SHORTEST}
    return sorted(found, key=lambda v: (-len(v), v))


def mask(value: Any, secrets: Iterable[str]) -> Any:
    """The same text, or the same tree of mappings and lists, with every secret in it starred."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {mask(k, secrets): mask(v, secrets) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(v, secrets) for v in value]
    return value
