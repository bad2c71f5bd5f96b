"""Execute small versions of the notebooks and keep them with their outputs: ``make golden``.

`make test` runs the kept copies again (nbval) and compares every text output; figures are compared by nobody and are
left out. What changed since the last time is shown, so that a change of results never slips in unread.
"""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent.parent / "notebooks"

# What is set differently from the notebook's defaults, to stay small.
SMALL = {
    "00_start_here": {"symbols": '["AAPL", "MSFT"]'},
    "05_explore": {"symbols": '["AAPL", "IBM"]', "period": '"5y"'},
    "10_backtest": {"symbols": '["AAPL", "IBM", "MSFT"]', "period": '"5y"'},
    "20_broker_tour": {"symbols": '["IBM", "MSFT"]'},
    "30_paper": {"symbols": '["GOOG", "IBM"]', "iterations": "20", "db": '"outputs/golden.sqlite"',
                 "replay_seed": "30"},
    "50_tune": {"symbols": '["AAPL", "IBM"]', "period": '"5y"', "steps": "8", "db": '"outputs/golden.sqlite"'},
    "60_learn": {"symbols": '["AAPL", "IBM"]', "estimate": '["rsi_period", "oversold"]', "db": "None",
                 "write": "False"},
}


def small_source(name: str) -> nbformat.NotebookNode:
    """The notebook as it stands, with its parameters made small."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    lines = cell.source.split("\n")
    for parameter, value in SMALL[name].items():
        at = next((i for i, line in enumerate(lines) if line.startswith(f"{parameter} = ")), len(lines))
        lines[at:at + 1] = [f"{parameter} = {value}"]
    cell.source = "\n".join(lines)
    return notebook


def executed(name: str) -> nbformat.NotebookNode:
    """The small notebook with its outputs, less figures and what differs from run to run."""
    notebook = small_source(name)
    os.environ["PYTEST_CURRENT_TEST"] = "make golden"  # as in the tests that run them again: no trial is counted
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
            output.get("metadata", {}).pop("image/png", None)
    notebook.metadata.pop("language_info", None)
    return notebook


def said(notebook: nbformat.NotebookNode) -> list[str]:
    """Sources and text outputs, a line each."""
    lines: list[str] = []
    for cell in notebook.cells:
        lines += [f"  {line}" for line in cell.source.split("\n")]
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines += [f"> {line}" for line in text.split("\n")]
    return lines


def main() -> None:
    for name in SMALL:
        path = HERE / f"{name}.ipynb"
        old = said(nbformat.read(path, as_version=4)) if path.exists() else []
        new = executed(name)
        change = list(difflib.unified_diff(old, said(new), f"{name} (kept)", f"{name} (new)", lineterm="", n=1))
        print("\n".join(change) if old and change else f"{name}: {'no change' if old else 'new'}")
        nbformat.write(new, path)


if __name__ == "__main__":
    sys.exit(main())
