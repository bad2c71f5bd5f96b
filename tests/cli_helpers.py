"""The command line as a person has it: real processes, a local exchange in one of its own, a terminal that types.

``fresh``: a process that starts from nothing, as in a shell, instead of a fork of one that has botlib loaded.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import forked
import pytest

ROOT = Path(__file__).resolve().parent.parent
HOLD = '''\
from dataclasses import dataclass

import numpy as np

from botlib.strategies import Strategy


@dataclass(frozen=True)
class Hold(Strategy):
    """Holds a tenth in each symbol."""

    warmup = 2

    def targets(self, bars):
        return np.full(bars.shape, 0.1)
'''

PARAMETERS = '''\
venue: alpaca
provider: alpaca
symbols: [AAPL, MSFT]
period: 60d
strategy: hold.py:Hold
risk: {stop_loss_pct: 30.0, take_profit_pct: 90.0}
safety: {max_drawdown_pct: 50.0, max_daily_loss_pct: 30.0}
poll_seconds: 1
trade_late: true
'''


class Shell:
    """A project folder and the commands typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        (self.folder / "parameters").mkdir(parents=True)
        self.write("hold.py", HOLD)
        self.write("parameters/hold.yaml", PARAMETERS)
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("APCA_", "BOTLIB_"))}
        self.environ = keep | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
        self.processes: list[forked.Forked] = []

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, line: str, *, fresh: bool = False, timeout: float = 240.0,
            **environ: str) -> subprocess.CompletedProcess[str]:
        """Type a command and wait; nobody sits at its input."""
        return forked.run(["-m", "botlib", *line.split()], self.folder, self.environ | environ, timeout=timeout,
                          fresh=fresh)

    def start(self, line: str, *, fresh: bool = False, **environ: str) -> Running:
        """Start a command in the background."""
        return Running(self, line, environ, fresh)

    def end(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


class Running:
    """A command that runs; what it has said is in ``text``."""

    def __init__(self, shell: Shell, line: str, environ: dict[str, str], fresh: bool) -> None:
        self._file = shell.folder / f"said-{len(shell.processes)}.txt"
        self._file.touch()
        self.process = forked.Forked(["-m", "botlib", *line.split()], shell.folder, shell.environ | environ,
                                     out=self._file, fresh=fresh)
        shell.processes.append(self.process)

    @property
    def text(self) -> str:
        return self._file.read_text(encoding="utf-8")

    def until(self, pattern: str, times: int = 1, timeout: float = 120.0) -> str:
        """Wait until it has said something so many times."""
        end = time.monotonic() + timeout
        while len(re.findall(pattern, self.text)) < times:
            assert time.monotonic() < end, f"{pattern} was not said:\n{self.text}"
            assert self.process.poll() is None or re.search(pattern, self.text), f"it ended:\n{self.text}"
            time.sleep(0.05)
        return self.text

    def wait(self, timeout: float = 120.0) -> int:
        return self.process.wait(timeout)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)


class Exchange:
    """``python -m botlib sandbox`` in a process of its own, moved step by step."""

    def __init__(self, shell: Shell, words: str = "--symbols AAPL MSFT --start 2012-06-01", *,
                 fresh: bool = False) -> None:
        self.running = shell.start(f"sandbox --port 0 {words}", fresh=fresh)
        self.url = re.search(r"^exchange +(\S+)$", self.running.until("Ctrl-C ends it"), re.MULTILINE)[1]
        self.environ = {"APCA_API_KEY_ID": "local", "APCA_API_SECRET_KEY": "local-secret",
                        "APCA_API_BASE_URL": self.url, "NO_PROXY": "127.0.0.1,localhost"}

    def step(self, n: int = 1) -> None:
        headers = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}
        request = urllib.request.Request(f"{self.url}/sandbox/step?n={n}", method="POST", headers=headers)
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).read()

    def broker(self):
        from botlib.brokers import AlpacaBroker, AlpacaConfig

        return AlpacaBroker(AlpacaConfig.from_env(environ=self.environ, env_file=None))


def typed(shell: Shell, line: str, *answers: str, fresh: bool = False, timeout: float = 240.0,
          **environ: str) -> tuple[str, int]:
    """Run a command at a terminal and type an answer after each prompt; what was shown, and the exit code."""
    terminal, its = pty.openpty()
    process = forked.Forked(["-m", "botlib", *line.split()], shell.folder, shell.environ | environ,
                            terminal=os.ttyname(its), fresh=fresh)
    shell.processes.append(process)
    shown, waiting, since, end = b"", list(answers), 0, time.monotonic() + timeout
    while time.monotonic() < end:
        over = process.poll() is not None
        if select.select([terminal], [], [], 0.0 if over else 0.2)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # hung up
                break
        elif over:
            break
        if waiting and shown[since:].endswith(b"> "):
            since = len(shown)
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    code = process.wait(60)
    for number in (its, terminal):
        os.close(number)
    return shown.decode(), code


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    yield made
    made.end()


@pytest.fixture
def clone(shell):
    """A project with the parameters and notebooks that ship."""
    for folder in ("parameters", "notebooks"):
        for file in (ROOT / folder).glob("*.*"):
            if file.suffix in {".yaml", ".ipynb"}:
                (shell.folder / folder).mkdir(exist_ok=True)
                shutil.copy(file, shell.folder / folder)
    (shell.folder / "outputs").mkdir()
    return shell


def lines(text: str, tag: str) -> list[str]:
    """Those of one kind."""
    return [line for line in text.splitlines() if line.startswith(f"[{tag}]")]
