"""A small project for tests of the runner: a tiny notebook that stands for the real ones."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

CELL = '''\
name = "backtest"  # label of the run
provider = "sample"
provider_options = {}
symbols = ["AAPL", "IBM"]  # tickers
period = "max"
interval = "1d"
calendar = "XNYS"
strategy = {"name": "moving_average_cross"}  # and its parameters
cash = 100000.0  # dollars
risk = {"max_position_pct": 10.0}
costs = {"slippage_bps": 2.0}
safety = {"max_drawdown_pct": 5.0}
output_dir = ""  # set by the runner'''

RESULT = '''\
from botlib.result_file import save_result
save_result(output_dir, metrics={"total_return_pct": 12.34, "sharpe": float("nan"), "trades": 3},
            benchmark={"total_return_pct": 50.0}, halts=[], checks={"look-ahead": {"passed": True}},
            data_hash="data-1", strategy_hash="strategy-1", warnings=[])'''

STRATEGY = '''\
from dataclasses import dataclass

import numpy as np

from botlib.strategies import Strategy, param


@dataclass(frozen=True)
class Mine(Strategy):
    lookback: int = param(20, low=2, high=100, help="bars")

    def targets(self, bars):
        return np.full(bars.shape, np.nan)
'''


def write_notebook(path: Path, *cells: str, parameters: str | None = CELL) -> Path:
    """A notebook with a heading, a ``parameters`` cell and these code cells."""
    made = [nbformat.v4.new_markdown_cell("# A tiny run", id="head")]
    if parameters is not None:
        made.append(nbformat.v4.new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}))
    made += [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(cells)]
    # A kernel that no machine has: the runner must not look it up.
    spec = {"name": "no-such-kernel", "display_name": "No such kernel", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": spec}), path)
    return path


def make_project(folder: Path, *cells: str, parameters: str | None = CELL) -> Path:
    """A project whose backtest notebook has these cells; without any, one that writes a result."""
    (folder / "parameters").mkdir(parents=True)
    write_notebook(folder / "notebooks" / "10_backtest.ipynb", *(cells or (RESULT,)), parameters=parameters)
    return folder


def runs(project: Path, kind: str = "backtest") -> list[Path]:
    """Everything in the outputs folder of a kind, hidden work folders included."""
    folder = project / "outputs" / kind
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Account locks of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def texts(notebook):
    """What its cells have put out."""
    found = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for out in cell.get("outputs", []):
            found.append(out.get("text", "") + str(out.get("data", {}).get("text/plain", "")))
    return "\n".join(found)
