"""Whether the files of a strategy are still those that the session was started with."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class StrategyFiles:
    """What a strategy was loaded from, as it was then; a strategy of a notebook's cell has no file.

    Parameters
    ----------
    strategy : object
        Members of a blend count, too.
    """

    def __init__(self, strategy: Any) -> None:
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}
        for path in sorted(set(_files(strategy))):
            mark, digest = _mark(path), _digest(path)
            if mark is not None and digest:
                self._known[path] = mark, digest

    def changed(self) -> str:
        """A sentence about the first file that is not what it was; "" while all are."""
        for path, (mark, digest) in self._known.items():
            now = _mark(path)
            if now == mark:
                continue
            if now is None or _digest(path) != digest:
                return (f"the strategy's file {path.name} has been {'changed' if now else 'removed'} since the session "
                        "began, which goes on with what it loaded: exits only. Put the file back, or stop and start "
                        "anew")
            self._known[path] = now, digest  # written again, the same
        return ""


def _files(strategy: Any) -> Iterator[Path]:
    for cls in type(strategy).__mro__:
        if cls.__module__ in ("builtins", "abc", "typing"):
            continue
        for member in vars(cls).values():
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(inner, types.FunctionType) and inner.__code__.co_filename.endswith(".py"):
                yield Path(inner.__code__.co_filename)
        module = sys.modules.get(cls.__module__)
        if getattr(module, "__file__", None):
            yield Path(str(module.__file__))  # type: ignore[union-attr]
    for value in vars(strategy).values() if hasattr(strategy, "__dict__") else ():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if hasattr(one, "targets") or hasattr(one, "on_bar"):
                yield from _files(one)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
