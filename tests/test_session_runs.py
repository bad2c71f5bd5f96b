"""The notebooks of sessions through the real papermill on the local exchange, and what signals do to their runner."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from botlib import kernel, printed, run, sandbox, stop_file
from botlib.errors import InputError
from botlib.job import prepare
from botlib.repository import Repository
from botlib.session_config import SessionParams

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Account locks of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def texts(notebook):
    found = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for out in cell.get("outputs", []):
            found.append(out.get("text", "") + str(out.get("data", {}).get("text/plain", "")))
    return "\n".join(found)


@pytest.fixture(scope="module")
def done(tmp_path_factory, state):
    """A finished paper session of 25 bars, in which all kinds of exits but signals come."""
    folder = tmp_path_factory.mktemp("paper")
    said = []
    job = prepare("paper", root=ROOT, sets=[f"db={folder / 't.sqlite'}", "iterations=25", "replay_seed=31"])
    return folder, run.execute(job, output=folder, say=said.append), said


def test_a_headless_session_leaves_its_record_and_the_ledger_agrees(done):
    folder, result, said = done
    summary = result.result["summary"]
    assert (summary["status"], summary["iterations"], result.exit_code) == ("success", 25, 0)
    assert sorted(p.name for p in result.folder.iterdir() if p.suffix != ".parquet") == [
        "notebook.ipynb", "parameters.yaml", "provenance.json", "result.json", "run.log"]
    log = (result.folder / "run.log").read_text(encoding="utf-8").splitlines()
    assert log == [line for line in said if line]
    assert sum(line.startswith("[PORTFOLIO]") for line in log) == 25
    with Repository.open(folder / "t.sqlite", root=folder) as repository:
        session = repository.session(summary["session_id"])
        assert session.run_folder == str(result.folder)
        fills = repository.fills(session.ledger_id)
        equity = float(repository.equity(session.ledger_id)["equity"].iloc[-1])
    assert summary["total_fills"] == len(fills) > 5
    assert summary["total_pnl"] == pytest.approx(equity - 100_000.0)
    assert sum(line.startswith("[TRADE]") for line in log) == len(fills)
    assert "each equal in price and quantity to the backtest" in summary["parity"]
    counted = re.search(r"(\d+) fills", summary["parity"])
    assert int(counted[1]) == len(fills)


def test_the_notebook_reads_as_a_report(done):
    _, result, _ = done
    notebook = nbformat.read(result.notebook, as_version=4)
    nbformat.validate(notebook)
    said = texts(result.notebook)
    for words in ("[VENUE] local exchange", "[PARITY]", "Largest drawdown", "limit 5 %", "Exit by", "Total"):
        assert words in said
    images = [o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 1
    assert "widgets" not in notebook.metadata  # no panel where nobody sits
    assert result.notebook.stat().st_size < 2_000_000


def test_a_session_is_recorded_again_from_its_ledger_without_trading(done):
    folder, result, _ = done
    session_id = result.result["summary"]["session_id"]
    before = (folder / "t.sqlite").stat().st_size
    kept = run.record_session(session_id[:12], db=str(folder / "t.sqlite"), root=ROOT, output=folder)
    first, second = texts(result.notebook), texts(kept.notebook)
    for words in ("Profit of the session", "Largest drawdown", "Holds"):
        line = next(text for text in first.splitlines() if text.startswith(words))
        assert line in second
    assert "nothing is traded here" in second
    cells = nbformat.read(kept.notebook, as_version=4).cells
    assert cells[1].source.startswith("**The record of a paper session, read from its ledger")
    with Repository.open(folder / "t.sqlite", root=folder) as repository:
        assert len(repository.sessions()) == 1
    assert (folder / "t.sqlite").stat().st_size == before
    assert kept.result["summary"]["total_fills"] == result.result["summary"]["total_fills"]
    assert kept.result["strategy_hash"] == result.result["strategy_hash"]
    with pytest.raises(InputError, match="no sessions of this ledger begin so"):
        run.record_session("nothing", db=str(folder / "t.sqlite"), root=ROOT, output=folder)


def test_the_live_notebook_starts_nothing_as_it_stands(tmp_path, state):
    with pytest.raises(InputError, match="enable_live = False: live trading starts only when it is asked for"):
        run.execute(prepare("live", root=ROOT, sets=[f"db={tmp_path / 't.sqlite'}"]), output=tmp_path)
    assert list(tmp_path.rglob("*.ipynb")) == [] and not (tmp_path / "t.sqlite").exists()


def test_a_live_session_without_a_keyboard_and_without_an_arm_is_refused_and_leaves_nothing(tmp_path, state):
    job = prepare("live", root=ROOT, sets=[f"db={tmp_path / 't.sqlite'}", "iterations=3", "replay_seed=32"],
                  flags={"enable_live": True})
    with pytest.raises(InputError, match="no arm|refused"):
        run.execute(job, output=tmp_path)
    assert list(tmp_path.rglob("*.ipynb")) == []


# --- signals ----------------------------------------------------------------------------------------------------------

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


def driver(folder, seed):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(ROOT), str(folder), f"db={folder / 't.sqlite'}",
                             f"replay_seed={seed}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environ)


def read_until(process, words, seconds=180.0):
    end, said = time.monotonic() + seconds, []
    while time.monotonic() < end:
        line = process.stdout.readline()
        said.append(line)
        if words in line:
            return said
        assert line, "".join(said) + process.stderr.read()
    raise AssertionError(f"{words} did not come: {''.join(said)}")


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
def test_the_first_signal_is_an_orderly_stop(tmp_path, state, name):
    process = driver(tmp_path, 33)
    try:
        read_until(process, "[PORTFOLIO]")
        at = time.monotonic()
        process.send_signal(getattr(signal, name))
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, out + errors
    assert f"{name}: the session stops after the pass under way" in errors
    made, session, fills = agrees(tmp_path)
    assert session["status"] == "user-cancelled" and name in session["reason"]
    assert time.monotonic() - at < 60
    assert not made.name.endswith("_failed") and not (made / stop_file.NAME).exists()
    result = json.loads((made / "result.json").read_text(encoding="utf-8"))
    assert (result["summary"]["status"], result["summary"]["total_fills"]) == ("user-cancelled", fills)
    nbformat.validate(nbformat.read(made / "notebook.ipynb", as_version=4))
    assert "[END] user-cancelled" in (made / "run.log").read_text(encoding="utf-8")


def test_a_second_signal_ends_it_at_once_and_the_ledger_is_whole(tmp_path, state):
    process = driver(tmp_path, 34)
    try:
        read_until(process, "[START]")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, out + errors
    made, _, _ = agrees(tmp_path)
    assert json.loads((made / "provenance.json").read_text(encoding="utf-8"))["status"] == "stopped"


def test_a_killed_runner_leaves_a_valid_notebook_its_log_and_the_ledger(tmp_path, state):
    process = driver(tmp_path, 35)
    try:
        read_until(process, "[TRADE]")
        time.sleep(6.0)  # longer than between two saves
        process.kill()
        process.communicate(timeout=30)
    finally:
        process.kill()
    time.sleep(4.0)  # the kernel notices that its parent is gone
    made, session, fills = agrees(tmp_path)
    assert session["status"] == "running" and fills >= 1  # the next session of the account ends it
    log = (made / "run.log").read_text(encoding="utf-8")
    assert 1 <= log.count("[TRADE]") <= fills
    notebook = nbformat.read(made / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert "[PORTFOLIO]" in texts(made / "notebook.ipynb")
    assert json.loads((made / "provenance.json").read_text(encoding="utf-8"))["status"] == "running"
    again = prepare("paper", root=ROOT, sets=[f"db={tmp_path / 't.sqlite'}", "iterations=2", "replay_seed=35"])
    assert run.execute(again, output=tmp_path).exit_code == 0
    assert json.loads((made / "provenance.json").read_text(encoding="utf-8"))["status"] == "killed"


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_reach_only_a_session_at_the_broker(tmp_path):
    given = {"APCA_API_KEY_ID": "k", "APCA_SWING_API_SECRET_KEY": "s", "OTHER": "o"}
    without = kernel.environment(given, tmp_path, tmp_path)
    assert [name for name in without if name.startswith("APCA_")] == [] and without["OTHER"] == "o"
    assert given.items() <= kernel.environment(given, tmp_path, tmp_path, keys=True).items()


def test_a_session_at_the_broker_gets_the_keys_and_no_file_shows_them(tmp_path, state, monkeypatch):
    """On a local exchange of its own process, as Alpaca would be."""
    params = SessionParams(symbols=["IBM"])
    venue = sandbox.running(params.load_bars(ROOT), first=1_500, seed=36, speed=3_600.0,
                            keys=("the-key-of-this-test", "the-secret-of-this-test")).start()
    try:
        for name, value in venue.environ.items():
            monkeypatch.setenv(name, value)
        keys = [value for name, value in venue.environ.items() if "KEY" in name]
        job = prepare("paper", root=ROOT, sets=[f"db={tmp_path / 't.sqlite'}", "iterations=2", "poll_seconds=1"],
                      flags={"venue": "alpaca", "provider": "alpaca", "replay_start": None, "symbols": ["IBM"]})
        done = run.execute(job, output=tmp_path)
    finally:
        venue.stop()
    assert done.result["summary"]["iterations"] == 2 and len(keys) == 2
    assert "local exchange at http://127.0.0.1" in texts(done.notebook)
    for file in done.folder.iterdir():
        text = file.read_bytes()
        assert not [key for key in keys if key.encode() in text], file.name


# --- long sessions ----------------------------------------------------------------------------------------------------


def test_ten_thousand_lines_are_one_output_of_a_notebook_below_two_megabytes():
    line = "[PORTFOLIO] 2008-01-25 16:20 Cash: $79,925.38 | Equity: $99,741.32 | Drawdown: 0.97 % of 5 % | " \
           "Positions: 2 | Orders: 6\n"
    outputs = [{"output_type": "stream", "name": "stdout", "text": f"{n} {line}"} for n in range(20_000)]
    kept = printed.short(outputs)
    assert len(kept) == 1 and len(json.dumps(kept)) < 1_500_000
    text = kept[0]["text"]
    assert text.startswith("0 [PORT") and text.endswith(f"19999 {line}")
    left = int(re.search(r"\.\.\. ([\d,]+) lines are left out here", text)[1].replace(",", ""))
    assert left + text.count("\n") - 1 == 20_000
    few = printed.short(outputs[:5_000])
    assert few[0]["text"].count("\n") == 5_000 and "left out" not in few[0]["text"]
