"""Notebooks and files that botlib writes for a person: ``botlib new`` and ``botlib open``."""

from __future__ import annotations

import json
import keyword
import re
from pathlib import Path

from botlib import notebook_params, yamlfile
from botlib.errors import InputError
from botlib.job import SCHEMAS, Job, prepare
from botlib.project import existing_file, is_library, project_root, resolve, shown
from botlib.runfolder import NOTEBOOK, PARAMETERS, PROVENANCE

DRAFTS = "outputs/drafts"

_STRATEGY = '''\
"""{title}: buys a new high, leaves on a new low. Change it, then run

    python -m botlib backtest --config parameters/{name}.yaml
"""

from dataclasses import dataclass

from botlib import indicators
from botlib.strategies import Strategy, param, targets_from_signals


@dataclass(frozen=True)
class {cls}(Strategy):
    entry: int = param(55, low=2, high=400, help="bars in the channel whose top is bought")
    exit: int = param(20, low=2, high=400, help="bars in the channel whose bottom is sold")
    weight: float = param(0.10, low=0.01, high=1.0, help="fraction of equity in one position")

    @property
    def warmup(self):
        return max(self.entry, self.exit) + 1

    def targets(self, bars):
        # lag=1: the channel of the bars before this one, so that a close can leave it
        top = indicators.highest(bars.high, self.entry, lag=1)
        bottom = indicators.lowest(bars.low, self.exit, lag=1)
        return targets_from_signals(bars.close > top, bars.close < bottom, self.weight)
'''

_PARAMETERS = '''\
# Parameters of {name}. What is not here has the notebook's default; `python -m botlib strategies` and
# parameters/backtest.yaml show what there is.
#   python -m botlib backtest --config parameters/{name}.yaml
name: {name}

# The strategy, and its parameters as the class declares them
strategy:
  name: notebooks/{name}.py:{cls}
  entry: 55
  exit: 20
  weight: 0.10

symbols: [AAPL, IBM, MSFT]
period: 5y
'''

_HEAD = '''\
# {title}

The strategy is in `notebooks/{name}.py`: change it there and run this notebook from the top. The notebook is a copy of
`10_backtest.ipynb` with the values of `parameters/{name}.yaml`. It is yours from now on, and changes of one file do not
reach the other.

Without JupyterLab, each run with its evidence in a folder of `outputs/`:

    python -m botlib backtest --config parameters/{name}.yaml     # 10_backtest.ipynb with that file's values
    python -m botlib backtest --notebook notebooks/{name}.ipynb   # this notebook with its own values
'''


def new(name: str, *, root: str | Path | None = None) -> list[Path]:
    """Write notebooks/NAME.py, notebooks/NAME.ipynb and parameters/NAME.yaml; the files are the user's from then on.

    Raises
    ------
    InputError
        The name is no lower-case identifier, or one of the files exists; then nothing is written.
    """
    if not _is_name(name):
        plain = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
        hint = f", e.g. {plain}" if _is_name(plain) else ""
        if keyword.iskeyword(name):
            raise InputError(f"new {name!r}: this is a word of the Python language and can name no module; choose "
                             f"another, e.g. my_{name}.")
        raise InputError(f"new {name!r}: the name becomes a file and a Python module; use up to 40 lower-case letters, "
                         f"digits and '_', beginning with a letter{hint}.")
    if is_library(name, project_root(root) / "notebooks"):
        raise InputError(f"new {name!r}: a library has this name already, and notebooks/{name}.py would hide it from "
                         f"every notebook; choose another, e.g. my_{name}.")
    base = project_root(root)
    files = {"strategy": base / f"notebooks/{name}.py", "notebook": base / f"notebooks/{name}.ipynb",
             "parameters": base / f"parameters/{name}.yaml"}
    there = [shown(f, base) for f in files.values() if f.exists()]
    if there:
        listed = " and ".join(filter(None, [", ".join(there[:-1]), there[-1]]))
        verbs = "exists already and stays as it is" if len(there) == 1 else "exist already and stay as they are"
        raise InputError(f"new {name}: {listed} {verbs}; choose another name.")
    words = {"name": name, "title": name.replace("_", " ").capitalize(),
             "cls": "".join(w.capitalize() for w in name.split("_"))}
    written: list[Path] = []
    try:
        for kind, text in (("strategy", _STRATEGY), ("parameters", _PARAMETERS)):
            files[kind].parent.mkdir(exist_ok=True)
            with files[kind].open("x", encoding="utf-8") as stream:
                written.append(files[kind])
                stream.write(text.format(**words))
        job = prepare("backtest", configs=[files["parameters"]], root=base)
        written.append(_write_draft(job, files["notebook"], head=_HEAD.format(**words)))
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        raise
    return [files["strategy"], files["notebook"], files["parameters"]]


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text) is not None and not keyword.iskeyword(text)


def _write_draft(job: Job, target: Path, head: str | None = None) -> Path:
    import nbformat

    where = shown(job.notebook, job.root)
    notebook = notebook_params.draft(notebook_params.parse(job.source, where), job.values, where)
    if head is not None:
        cell = nbformat.v4.new_markdown_cell(head, id="what-this-is")
        first = notebook.cells[0] if notebook.cells else None
        if first is not None and first.cell_type == "markdown" and first.source.startswith("# "):
            notebook.cells[0] = cell
        else:
            notebook.cells.insert(0, cell)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as stream:
        nbformat.write(notebook, stream)
    return target


def open_draft(file: str | Path, *, notebook: str | Path | None = None, root: str | Path | None = None) -> Path:
    """A notebook for JupyterLab with the values of a parameter file, or of a run, in its ``parameters`` cell.

    ``file`` is a parameter file, a run folder, or a file in one; a run opens with the notebook that it executed. The
    draft goes to outputs/drafts/ under a name that is free.

    Raises
    ------
    InputError
        There is no such file, or its values are refused.
    """
    base = project_root(root)
    path = resolve(file, base)
    folder = path if path.is_dir() else path.parent
    is_run = (folder / NOTEBOOK).is_file() and (folder / PARAMETERS).is_file()
    if path.is_dir() and not is_run:
        raise InputError(f"open {shown(path, base)}: this folder is no run; a run holds {NOTEBOOK} and {PARAMETERS}.")
    if is_run:
        job = prepare(_kind_of_run(folder), notebook=notebook or folder / NOTEBOOK, configs=[folder / PARAMETERS],
                      root=base)
        stem = folder.name
    else:
        path = existing_file(file, base, "parameter file")
        if path.suffix == ".ipynb":
            raise InputError(f"open {shown(path, base)}: give a parameter file or a run folder; a notebook opens as it "
                             f"is with: jupyter lab {shown(path, base)}")
        job = prepare(_kind_of_file(path, base), notebook=notebook, configs=[path], root=base)
        stem = path.stem
    target = base / DRAFTS / f"{stem}.ipynb"
    number = 2
    while target.exists():
        target = base / DRAFTS / f"{stem}-{number}.ipynb"
        number += 1
    return _write_draft(job, target)


def _kind_of_run(folder: Path) -> str:
    try:
        kind = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        kind = None
    return kind if kind in SCHEMAS else "backtest"


def _kind_of_file(path: Path, root: Path) -> str:
    """By the file's name, else by what it holds: names that only sessions know make it a paper session."""
    if path.stem in SCHEMAS:
        return path.stem
    names = set(yamlfile.read(path, shown(path, root)))
    ours, theirs = SCHEMAS["backtest"].model_fields, SCHEMAS["paper"].model_fields
    return "paper" if names & (set(theirs) - set(ours)) and not names & (set(ours) - set(theirs)) else "backtest"
