"""The notebooks of sessions through the real papermill on the local exchange."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from run_helpers import state, texts  # noqa: F401

from botlib import kernel, printed, run, sandbox
from botlib.errors import InputError
from botlib.job import prepare
from botlib.repository import Repository
from botlib.session_config import SessionParams

pytestmark = pytest.mark.slow

# ruff: noqa: F811

ROOT = Path(__file__).resolve().parent.parent


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
    assert kept.result["summary"] == result.result["summary"]
    assert first.count("[PARITY]") >= 1 and result.result["summary"]["parity"] in second
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
