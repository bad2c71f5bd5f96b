"""What a run records: result.json, the short table, provenance, files that are whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import types

import numpy as np
import pandas as pd
import pytest

from botlib import kernel, provenance, result_file


def test_git_state_is_recorded(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True,
                       capture_output=True)

    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}
    git("init", "-q")
    (tmp_path / "a").write_text("1", encoding="utf-8")
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": True}
    git("add", "a")
    git("commit", "-q", "-m", "one")
    clean = provenance.git_state(tmp_path)
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert provenance.git_state(tmp_path) == {"commit": clean["commit"], "dirty": True}


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    provenance.write_json(file, {"a": 1})

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        provenance.write_json(file, {"a": 2})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_an_installed_botlib_is_not_put_before_the_standard_library(monkeypatch, tmp_path):
    monkeypatch.setattr(kernel, "__file__", "/venv/lib/python3.11/site-packages/botlib/kernel.py")
    assert "PYTHONPATH" not in kernel.environment({}, tmp_path, tmp_path)
    monkeypatch.setattr(kernel, "__file__", "/src/botlib/kernel.py")
    assert kernel.environment({"PYTHONPATH": "/mine"}, tmp_path, tmp_path)["PYTHONPATH"] == f"/src{os.pathsep}/mine"


def test_save_result_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result_file.save_result("", metrics={}, benchmark={}, halts=[], checks={}, data_hash="", strategy_hash="")
    assert list(tmp_path.iterdir()) == []


def test_results_become_json(tmp_path):
    halts = pd.DataFrame({"time": pd.to_datetime(["2010-05-20"]).tz_localize("America/New_York"),
                          "limit": ["max_drawdown_pct"], "value_pct": [np.float64(5.2)], "limit_pct": [5.0],
                          "state": ["halted"]})
    result_file.save_result(tmp_path, metrics={"sharpe": np.float64("nan"), "trades": np.int64(3)}, benchmark={},
                            halts=halts, checks={"warmup": {"passed": np.bool_(True), "bars": np.arange(2)}},
                            data_hash="d", strategy_hash="s", warnings=(w for w in ["a: b"]))
    assert result_file.read_result(tmp_path) == {
        "status": "ok", "metrics": {"sharpe": None, "trades": 3}, "benchmark": {},
        "halts": [{"time": "2010-05-20T00:00:00-04:00", "limit": "max_drawdown_pct", "value_pct": 5.2, "limit_pct": 5.0,
                   "state": "halted"}],
        "checks": {"warmup": {"passed": True, "bars": [0, 1]}}, "data_hash": "d", "strategy_hash": "s",
        "warnings": ["a: b"]}


def test_the_short_table():
    result = {"metrics": {"total_return_pct": 1234.56, "cagr_pct": 5.0, "sharpe": None, "max_drawdown_pct": -12.34,
                          "exposure_pct": 1.54, "trades": 7, "costs_paid": 1234.5},
              "benchmark": {"total_return_pct": -1.0}, "warnings": ["clipped: 3 weights"],
              "halts": [{"time": "2010-05-20T00:00:00-04:00", "limit": "max_drawdown_pct", "value_pct": 5.123,
                         "limit_pct": 5.0, "state": "halted"}, {"time": "2011-01-03"}],
              "checks": {"look-ahead": {"passed": True, "finding": "24 truncations."}, "warm-up": {"passed": False}}}
    assert result_file.table(result).splitlines() == [
        "                    strategy    buy & hold",
        "total return       1,234.6 %        -1.0 %",
        "CAGR                   5.0 %             –",
        "Sharpe                     –             –",
        "max drawdown         -12.3 %             –",
        "exposure               1.5 %             –",
        "trades                     7             –",
        "costs paid          1,234.50             –",
        "",
        "halts         2010-05-20 max_drawdown_pct: 5.12 % (limit 5 %), then halted, and 1 more; "
        "no new position after the drawdown halt",
        "look-ahead    passed: 24 truncations.",
        "warm-up       FAILED",
        "warning       clipped: 3 weights",
    ]


def test_findings_of_the_bars_reach_the_record(tmp_path):
    found = [f"check-{i}: sentence {i}." for i in range(7)]
    bars = types.SimpleNamespace(symbols=("A",), adjustment="raw", warnings=found, data_hash=lambda: "d")
    result = types.SimpleNamespace(bars=bars, convention="broker", metrics={}, halts=[], strategy=object(),
                                   benchmark=types.SimpleNamespace(metrics={}), warnings=["a: b"])
    honesty = types.SimpleNamespace(checks=(), breakeven_bps=1.0, to_dict=dict)
    result_file.save_backtest(tmp_path, result, honesty)
    wanted = ["a: b", *found[:5], "and 2 more in the notebook"]
    saved = result_file.read_result(tmp_path)
    assert saved["warnings"] == wanted
    assert result_file.table(saved).splitlines()[-7:] == [f"warning       {text}" for text in wanted]


def test_a_check_may_say_more_than_passed_or_failed():
    result = {"metrics": {}, "benchmark": {}, "halts": [], "warnings": [],
              "checks": {"costs": {"passed": False, "result": "warning", "finding": "no edge to lose."}}}
    assert result_file.table(result).splitlines()[-1] == "costs         warning: no edge to lose."
