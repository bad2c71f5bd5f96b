"""The one way botlib compiles functions: `@compiled`.

Numba's disk cache checks only the file a function stands in, so a change in `rules.py` would leave a stale
engine in the cache. Here the cache folder is named after a hash of every compiled module together with the versions
that produce the code: a change anywhere gives a new folder, and old results can never come back.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import config as numba_config

F = TypeVar("F", bound=Callable[..., Any])

# Every module whose functions are compiled into one another.
_COMPILED_MODULES = (
    "_jit.py", "_indicators.py", "rules.py", "safety.py", "metrics.py", "strategies/targets.py",
    "engine/__init__.py", "engine/state.py", "engine/arrays.py", "engine/lots.py", "engine/fills.py", "engine/legs.py",
    "engine/bar.py", "engine/sessions.py", "engine/submit.py", "engine/decide.py", "engine/booking.py",
    "engine/closing.py", "engine/whole_trades.py", "engine/sweeping.py",
)


def _cache_folder() -> Path | None:
    """A writable folder for compiled code, or None when the machine has none."""
    if numba_config.CACHE_DIR:  # the user's own choice (NUMBA_CACHE_DIR) wins
        base = Path(numba_config.CACHE_DIR)
    else:
        from platformdirs import user_cache_path

        base = user_cache_path("botlib") / "compiled"
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {platform.python_version()}".encode())
    for name in _COMPILED_MODULES:
        path = Path(__file__).parent / name
        digest.update(path.read_bytes() if path.exists() else b"")
    folder = base / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


_FOLDER = _cache_folder()
_COMPLETE = "complete"


def first_time() -> bool:
    """Whether this version still has to be compiled on this machine: `botlib.warmup` has not come to its end."""
    return _FOLDER is not None and not (_FOLDER / _COMPLETE).exists()


def note_compiled() -> None:
    """Remember that everything has been compiled."""
    if _FOLDER is not None:
        (_FOLDER / _COMPLETE).touch()


def compiled(**options: Any) -> Callable[[F], F]:
    """``@compiled()``: numba's njit with botlib's cache; without a writable folder it compiles in each process.

    Division follows NumPy (no exception for a zero divisor): each function says what a NaN or inf means to it.

    Options go to `numba.njit`. Floating point stays strict (no fastmath): results must not depend on the machine.
    """

    options.setdefault("error_model", "numpy")

    def decorate(function: F) -> F:
        if _FOLDER is None:
            return numba.njit(**options)(function)
        before = numba_config.CACHE_DIR
        numba_config.CACHE_DIR = str(_FOLDER)  # read once, when the cache object is made
        try:
            return numba.njit(cache=True, **options)(function)
        finally:
            numba_config.CACHE_DIR = before

    return decorate


def compile_for(function: Any, *arguments: Any) -> None:
    """Compile a function for arguments of these types, without calling it; where numba is switched off, do nothing."""
    if hasattr(function, "compile"):
        function.compile(tuple(numba.typeof(argument) for argument in arguments))
