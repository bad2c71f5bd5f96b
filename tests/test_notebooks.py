"""The notebooks: their parameters, their small executed copies, and what a headless run leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest

from botlib import config, notebook_params, run, yamlfile
from botlib.job import prepare

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))
import update  # noqa: E402


def parameters_cell(name: str) -> dict:
    text = notebook_params.read(ROOT / "notebooks" / f"{name}.ipynb", name)
    return notebook_params.defaults(notebook_params.parse(text, name), name)


def test_backtest_parameters_are_those_of_the_file():
    cell = {k: v for k, v in parameters_cell("10_backtest").items() if k != "output_dir"}
    file = yamlfile.read(ROOT / "parameters" / "backtest.yaml", "backtest.yaml")
    assert set(cell) == set(file)
    for name, value in cell.items():
        if isinstance(value, dict):  # the file spells every name out, the cell those one changes most
            assert value == {key: file[name][key] for key in value}, name
        else:
            assert value == file[name], name
    one, other = config.from_values(cell), config.from_values(file)
    assert one.load_strategy() == other.load_strategy()
    assert {**one.plain(), "strategy": None} == {**other.plain(), "strategy": None}


@pytest.mark.parametrize("name", sorted(update.SMALL))
def test_golden_copy_is_of_the_notebook_as_it_stands(name):
    wanted = [(c.cell_type, c.source) for c in update.small_source(name).cells]
    kept = [(c.cell_type, c.source) for c in nbformat.read(GOLDEN / f"{name}.ipynb", as_version=4).cells]
    assert kept == wanted, "run: make golden"


@pytest.mark.slow
def test_a_headless_backtest_leaves_its_record(tmp_path):
    job = prepare("backtest", root=ROOT, configs=[ROOT / "parameters" / "backtest.yaml"],
                  sets=["symbols=[AAPL, IBM]", "period=5y", "risk.stop_loss_pct=3.0"])
    done = run.execute(job, output=tmp_path)
    result = json.loads((done.folder / "result.json").read_text())
    provenance = json.loads((done.folder / "provenance.json").read_text())
    kept = yamlfile.read(done.folder / "parameters.yaml", "parameters.yaml")
    notebook = nbformat.read(done.folder / "notebook.ipynb", as_version=4)
    assert result["status"] == "ok"
    assert result["checks"]["look-ahead"]["passed"] is True
    assert result["metrics"]["trades"] > 0
    assert kept["risk"]["stop_loss_pct"] == 3.0 and kept["symbols"] == ["AAPL", "IBM"]
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code" and c.source)
    assert result["data_hash"] in json.dumps(provenance)
