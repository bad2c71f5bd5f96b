"""What signals do to the runner of a session's notebook: an orderly end, an end at once, and none at all (SIGKILL)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import forked
import nbformat
import pytest
from run_helpers import state, texts  # noqa: F401
from venue_helpers import until

from botlib import run, stop_file
from botlib.job import prepare
from botlib.repository import Repository
from botlib.repository.hosts import process_mark

pytestmark = pytest.mark.slow

# ruff: noqa: F811

ROOT = Path(__file__).resolve().parent.parent

DRIVER = """
import sys
from botlib import run
from botlib.errors import BotlibError
from botlib.job import prepare
work = prepare("paper", root=sys.argv[1], sets=["iterations=0", "speed=20000", "poll_seconds=3600", *sys.argv[3:]])
try:
    done = run.execute(work, output=sys.argv[2], say=lambda line: print(line, flush=True))
except BotlibError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
    sys.exit(128 + getattr(error, "signum", 0))
sys.exit(done.exit_code)
"""


class Driver:
    """A runner in a process of its own; what it has said is in ``text``."""

    def __init__(self, folder: Path, seed: int) -> None:
        (folder / "driver.py").write_text(DRIVER, encoding="utf-8")
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        self._out.touch()
        self.process = forked.Forked(["driver.py", str(ROOT), str(folder), f"db={folder / 't.sqlite'}",
                                      f"replay_seed={seed}"], folder, os.environ, out=self._out, err=self._err)

    @property
    def text(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def until(self, words: str) -> None:
        """Wait until it has said that."""
        until(lambda: words in self.text or self.process.poll() is not None, 240.0)
        assert words in self.text, self.text + self.errors

    def wait(self) -> int:
        return self.process.wait(240.0)


@pytest.fixture
def driver(tmp_path, state):
    made = []

    def start(seed: int) -> Driver:
        made.append(Driver(tmp_path, seed))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()


def agrees(folder):
    """The ledger is whole, and the log has a line for every fill that it knows."""
    (made,) = [p for p in (folder / "paper").iterdir() if p.is_dir()]
    with Repository.open(folder / "t.sqlite", root=folder) as repository:
        sessions = repository.sessions()
        ledger = int(sessions["ledger_id"].iloc[-1])
        assert repository.verify(ledger).ok
        fills = len(repository.fills(ledger))
    return made, sessions.iloc[-1], fills


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_first_signal_is_an_orderly_stop(tmp_path, driver, name):
    running = driver(33)
    running.until("[PORTFOLIO]")
    running.process.send_signal(getattr(signal, name))
    assert running.wait() == 0, running.text + running.errors
    assert f"{name}: the session stops after the pass under way" in running.errors
    made, session, fills = agrees(tmp_path)
    assert session["status"] == "user-cancelled" and name in session["reason"]
    assert not made.name.endswith("_failed") and not (made / stop_file.NAME).exists()
    result = json.loads((made / "result.json").read_text(encoding="utf-8"))
    assert (result["summary"]["status"], result["summary"]["total_fills"]) == ("user-cancelled", fills)
    nbformat.validate(nbformat.read(made / "notebook.ipynb", as_version=4))
    assert "[END] user-cancelled" in (made / "run.log").read_text(encoding="utf-8")


def test_a_second_signal_ends_it_at_once_and_the_ledger_is_whole(tmp_path, driver):
    running = driver(34)
    running.until("[START]")
    running.process.send_signal(signal.SIGTERM)
    until(lambda: "SIGTERM: the session stops" in running.errors, 120.0)
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 128 + signal.SIGTERM, running.text + running.errors
    made, _, _ = agrees(tmp_path)
    assert json.loads((made / "provenance.json").read_text(encoding="utf-8"))["status"] == "stopped"


def test_a_killed_runner_leaves_a_valid_notebook_its_log_and_the_ledger(tmp_path, driver):
    running = driver(35)
    running.until("[TRADE]")
    (notebook,) = (tmp_path / "paper").glob("*/notebook.ipynb")
    until(lambda: "[TRADE]" in notebook.read_text(encoding="utf-8"), 120.0)  # it has been saved meanwhile
    with Repository.open(tmp_path / "t.sqlite", root=tmp_path) as repository:
        (account,) = {row.account_id for row in repository.ledgers()}
        kernel = repository.lease(account).pid
    running.process.kill()
    assert running.wait() == -signal.SIGKILL and kernel != running.process.pid
    until(lambda: not process_mark(kernel), 120.0)  # the kernel notices that its parent is gone
    made, session, fills = agrees(tmp_path)
    assert session["status"] == "running" and fills >= 1  # the next session of the account ends it
    log = (made / "run.log").read_text(encoding="utf-8")
    assert 1 <= log.count("[TRADE]") <= fills
    nbformat.validate(nbformat.read(made / "notebook.ipynb", as_version=4))
    assert "[PORTFOLIO]" in texts(made / "notebook.ipynb")
    assert json.loads((made / "provenance.json").read_text(encoding="utf-8"))["status"] == "running"
    again = prepare("paper", root=ROOT, sets=[f"db={tmp_path / 't.sqlite'}", "iterations=2", "replay_seed=35"])
    assert run.execute(again, output=tmp_path).exit_code == 0
    assert json.loads((made / "provenance.json").read_text(encoding="utf-8"))["status"] == "killed"
