"""Where a result came from: code, versions, data, values. Gathered here, written by the runner."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("botlib", "numpy", "pandas", "numba", "pyarrow", "pydantic", "exchange_calendars", "matplotlib",
            "papermill", "nbclient", "nbformat", "ipykernel", "ruamel.yaml")
"""Packages whose versions can change a result or how it is recorded."""


def now() -> str:
    """The time as ISO text, UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def git_state(folder: Path) -> dict[str, Any]:
    """{"commit": str | None, "dirty": bool | None} of the repository that holds ``folder``; None when there is none."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    return {"commit": commit.strip() if commit else None, "dirty": None if status is None else bool(status.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20,
                              env=environment, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that matter; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "implementation": platform.python_implementation(),
             "platform": platform.platform(terse=True)}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def sha256(data: bytes) -> str:
    """Hash of bytes, as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def file_state(path: Path | None, root: Path) -> dict[str, str | None]:
    """{"file", "sha256"} of a source file; None when there is no file."""
    from botlib import project

    if path is None or not path.is_file():
        return {"file": None, "sha256": None}
    return {"file": project.shown(path, root), "sha256": sha256(path.read_bytes())}


def write_atomically(path: Path, text: str) -> None:
    """Write beside the target, flush to disk, rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """``value`` as readable JSON, atomically. NaN is refused: JSON has none."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
