"""The benchmark's data and its runner. What botlib answers is held against the golden results elsewhere."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parent / "bench"


def tool(name: str):
    """A script of tests/bench as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


data, runner = tool("data"), tool("runner")
DATA_SETS = {"w1-d": "d1", "w1-m": "m1", "w1-real": "real", "w2-d": "d5", "w2-m": "m1", "w3": "d500"}


@pytest.fixture(scope="module")
def data_set():
    return functools.cache(data.data_set)


# --- Data ----------------------------------------------------------------------------------------

BIG = pytest.mark.slow
WORKLOADS = ["w1-d", "w1-m", "w1-real", pytest.param("w3", marks=BIG)]
NAMES = ["d1", "m1", "real", pytest.param("d500", marks=BIG)]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_data_is_what_the_golden_results_were_made_from(data_set, workload):
    """Each golden trade entered at its bar's open, 2 bps worse."""
    golden = json.loads((BENCH / "golden" / f"{workload}.json").read_text())
    trades = golden.get("trades") or golden["first_20_trades"]
    opens = data_set(DATA_SETS[workload])["open"]
    at = [opens[trade["entry_bar"], trade.get("symbol", 0)] for trade in trades]
    assert len(at) >= 15
    np.testing.assert_allclose([trade["entry_price"] for trade in trades], np.array(at) * 1.0002, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "shape", "first", "last", "closes"), [
    ("d1", (2500, 1), (237.76, 237.76, 223.11, 223.11, 166545), (277.1, 277.96, 271.19, 271.86, 124878), 459280.40),
    ("m1", (200000, 1), (100.0, 100.17, 100.0, 100.08, 8426), (162.71, 162.71, 162.6, 162.69, 2564), 20909319.21),
    pytest.param("d500", (2500, 500), (41.94, 44.01, 41.94, 44.01, 138889), (59.73, 61.07, 59.39, 59.39, 255307),
                 256738993.11, marks=BIG),
    ("real", (2500, 1), (0.9202, 0.9446, 0.9202, 0.9311, 2185600), (57.1193, 57.1428, 56.0735, 56.1374, 19730300),
     59424.49),
])
def test_the_numbers_stay_the_same(data_set, name, shape, first, last, closes):
    """Written down from the data set that the golden results were made from (the last symbol of d500)."""
    made = data_set(name)
    assert made["close"].shape == shape
    assert [made[field][0, -1] for field in data.FIELDS] == list(first)
    assert [made[field][-1, -1] for field in data.FIELDS] == list(last)
    assert made["close"].sum() == pytest.approx(closes, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_bars_are_possible(data_set, name):
    made = data_set(name)
    body = np.stack([made["open"], made["close"]])
    assert (made["high"] >= body.max(axis=0)).all()
    assert (made["low"] <= body.min(axis=0)).all()
    assert (made["low"] > 0).all()
    assert (np.diff(made["ts"]) > 0).all()


def test_minutes_are_those_of_sessions(data_set):
    minutes = data_set("m1")["ts"].astype("datetime64[ns]").astype("datetime64[m]")
    clock = (minutes - minutes.astype("datetime64[D]")).astype(int)
    assert (clock.min(), clock.max()) == (9 * 60 + 30, 15 * 60 + 59)


def test_files_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "data_set", lambda name: {"ts": np.arange(3), "syms": np.array([name])})
    assert data.write(tmp_path) == ["d1", "m1", "d5", "d500", "real"]
    assert data.write(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d1.npz", "d5.npz", "d500.npz", "m1.npz", "real.npz"]


# --- Runner --------------------------------------------------------------------------------------

def line(name: str, seconds: list[float], trades: int = 15, equity: float = 98188.30898419317) -> dict:
    return {"peer": name, "workload": "w1-d", "seconds": seconds, "first_s": 1.0, "scaled_by": 1, "peak_rss_mb": 70.0,
            "n_trades": trades, "final_equity": equity}


def test_ratios_are_those_of_medians(capsys):
    lines = {"slow": [line("slow", [3.0, 9.0]), line("slow", [1.0, 4.0, 100.0])],
             "fast": [line("fast", [2.0, 0.5, 8.0])]}
    slow, fast = runner.report("w1-d", lines, ["fast", "absent"])
    assert (slow["median_s"], fast["median_s"]) == (4.0, 2.0)
    assert (slow["ratios"], fast["ratios"]) == ({"fast": 2.0}, {"fast": 1.0})
    assert (slow["best_s"], slow["values"]) == (1.0, 5)
    table = capsys.readouterr().out
    assert "2x" in table and "/ fast" in table and "absent" not in table


@pytest.mark.parametrize(("trades", "equity", "said"), [
    (15, 98188.30898419317, "equal"), (15, 98188.4, "other equity"), (16, 98188.30898419317, "other trades")])
def test_outcomes_are_held_against_the_golden_ones(trades, equity, said):
    assert runner.agreement("w1-d", line("x", [1.0], trades, equity)) == said


def test_contenders_take_turns_and_a_failing_one_is_left_out(tmp_path, capsys):
    script = tmp_path / "contender.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "name, log, workload, reps = sys.argv[1:]\n"
        "with open(log, 'a') as file: print(name, workload, reps, file=file)\n"
        "if name == 'b': sys.exit('b is out of order')\n"
        "print('noise')\n"
        "print(json.dumps({'peer': name, 'seconds': [1.0]}))\n")
    log = tmp_path / "log"
    contenders = [runner.Extra(name, f"{sys.executable} {script} {name} {log}") for name in "abc"]
    found = runner.take_turns(contenders, "w1-d", rounds=3, reps=7)
    assert log.read_text().splitlines() == [f"{name} w1-d 7" for name in "abcacac"]
    assert {name: len(lines) for name, lines in found.items()} == {"a": 3, "c": 3}
    assert capsys.readouterr().err == "b failed on w1-d: b is out of order\n"


def test_no_key_reaches_a_contender(monkeypatch):
    monkeypatch.setenv("APCA_API_KEY_ID", "x")
    assert not [name for name in runner.variables() if name.startswith("APCA_")]


@pytest.mark.parametrize(("words", "said"), [
    (["w9"], "no workload 'w9'"), (["--only", "zipline"], "no contender 'zipline'")])
def test_the_runner_refuses_what_it_does_not_know(words, said, capsys):
    with pytest.raises(SystemExit):
        runner.arguments(words)
    assert said in capsys.readouterr().err


def test_each_contender_has_its_script_and_requirements():
    for contender in runner.CONTENDERS:
        if contender.environment:
            assert (BENCH / contender.script).exists()
            assert (BENCH / "requirements" / f"{contender.environment}.txt").exists()
        assert set(contender.workloads) <= set(DATA_SETS)
