"""How the runner asks the session in its kernel to stop: a file, looked for four times a second.

A signal would hit whatever the kernel does just then; a file is seen by a thread of its own, in whichever cell the
notebook is, and also by a session that starts after it was written.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

VARIABLE = "BOTLIB_STOP_FILE"
NAME = "stop"
"""Its name in the run's folder."""

_EVERY = 0.25


def ask(folder: Path, reason: str) -> None:
    """Ask the session of a run's folder to stop. Raises `OSError` when that cannot be written."""
    (folder / NAME).write_text(reason, encoding="utf-8")


def watch(path: str | os.PathLike[str]) -> threading.Event:
    """Wait for the file in a thread of its own, then stop every session of this process, until the event is set."""
    over = threading.Event()
    threading.Thread(target=_wait, args=(Path(path), over), name="botlib stop file", daemon=True).start()
    return over


def _wait(path: Path, over: threading.Event) -> None:
    while not path.exists():
        if over.wait(_EVERY):
            return
    reason = path.read_text(encoding="utf-8").strip() or "asked to stop"
    while not over.wait(_EVERY):
        live = sys.modules.get("botlib.live")  # not imported: no session was started yet
        if live is not None:
            live.stop_all(reason)
