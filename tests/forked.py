"""Processes that start at once: forks of one process that has botlib loaded and nothing running.

They are real ones, with an id, a terminal, signals and a death of their own; only the seconds in which Python imports
and compiled code is read again are spared. ``fresh`` does not spare them: it starts as from a shell.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["forked_ready"])


class Forked:
    """``python WORDS`` (a script, or -m and a module) in a folder, with an environment of its own; as `Popen`.

    It writes to the files ``out`` and ``err`` (one file, if only ``out`` is given); with ``terminal``, the name of one,
    all three streams are that. Nobody sits at its input otherwise.
    """

    def __init__(self, words: Sequence[str], folder: Path, environ: Mapping[str, str], *, out: Path | None = None,
                 err: Path | None = None, terminal: str = "", fresh: bool = False) -> None:
        self._process = _CONTEXT.Process(daemon=True, target=_become, args=(
            list(words), folder, dict(environ), out, err, terminal, fresh))
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # the first one starts the process that forks
        try:
            self._process.start()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of now; minus the signal's number after one that killed it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = 120.0) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(words: Sequence[str], folder: Path, environ: Mapping[str, str], *, timeout: float = 240.0,
        fresh: bool = False) -> subprocess.CompletedProcess[str]:
    """Run one to its end."""
    out, err = (folder / f".{name}-{time.monotonic_ns()}" for name in ("out", "err"))
    process = Forked(words, folder, environ, out=out, err=err, fresh=fresh)
    try:
        code = process.wait(timeout)
        said = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
    finally:
        process.kill()
        for file in (out, err):
            file.unlink(missing_ok=True)
    return subprocess.CompletedProcess(list(words), code, *said)


def _become(words: list[str], folder: Path, environ: dict[str, str], out: Path | None, err: Path | None,
            terminal: str, fresh: bool) -> None:
    """What a fork does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    if terminal:
        os.login_tty(os.open(terminal, os.O_RDWR))
    else:
        for number, file in enumerate((os.devnull, out or os.devnull, err or out or os.devnull)):
            opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(opened, number)
            os.close(opened)
    if fresh:
        os.execve(sys.executable, [sys.executable, "-u", *words], environ)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r", 1, encoding="utf-8", closefd=False)
                                         for n in range(3))
    sys.argv = words[1:] if words[0] == "-m" else words
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")
