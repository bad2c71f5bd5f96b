"""Execute a job: one executed notebook and its evidence in a run folder, or nothing that could be taken for it."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botlib import errors, hygiene, kernel, notebook_params, provenance, yamlfile
from botlib.errors import BotlibError, InputError, RunFailed, RunStopped, StrategyFailed
from botlib.job import Job, first_line
from botlib.project import resolve, shown
from botlib.result_file import read_result
from botlib.run_params import RunParams
from botlib.runfolder import LOG, NOTEBOOK, PARAMETERS, PROVENANCE, RunFolder

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, the executed notebook, what result.json holds, and the parameters."""

    folder: Path
    notebook: Path
    result: dict[str, Any]
    params: RunParams


def execute(job: Job, *, output: str | os.PathLike[str] = "outputs", progress: bool = False) -> RunResult:
    """Run a prepared job.

    Parameters
    ----------
    job : Job
        From `botlib.job.prepare`.
    output : path
        Folder of all outputs; a relative one starts at the project's root.
    progress : bool
        A progress line on stderr.

    Raises
    ------
    InputError
        The notebook refused its input (any error of that family raised in a cell but `StrategyFailed`); nothing is
        left.
    RunFailed, RunStopped
        A crash, also of the strategy's own code, or a signal; the folder ``…_failed`` is left.
    """
    secrets = hygiene.environment_secrets(os.environ, job.params.variables())
    with kernel.stop_signals() as kernels:
        folder = RunFolder.make(job, resolve(output, job.root))
        try:
            provenance.write_json(folder.path / PROVENANCE, folder.record)
            provenance.write_atomically(folder.path / PARAMETERS, parameters_file(job, folder.name))
            _run_notebook(job, folder, secrets, progress, kernels)
            result = _verified(folder, job.kind)
            final = folder.finish("ok", "", secrets, result=result)
        except BaseException as error:
            try:
                raised = _outcome(error, folder, job, secrets)
            except OSError as why:  # not even the last word on the run can be written
                folder.discard()
                raised = RunFailed(f"{_unwritable(folder, why)}; nothing of this run is left")
            raise raised from None
    return RunResult(final, final / NOTEBOOK, result, job.params)


def _run_notebook(job: Job, folder: RunFolder, secrets: list[str], progress: bool, kernels: list[Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="botlib-ipython-") as ipython_dir:
        kernel.execute(
            job.source, {**job.values, notebook_params.OUTPUT_DIR: str(folder.path)}, folder.path / NOTEBOOK,
            environ=kernel.environment(os.environ, job.root, Path(ipython_dir)), folder=job.notebook.parent,
            log=folder.path / LOG, secrets=secrets, progress=progress, kernels=kernels)


def _verified(folder: RunFolder, kind: str) -> dict[str, Any]:
    """The notebook's result, if it really ran to its end and wrote one."""
    notebook = json.loads((folder.path / NOTEBOOK).read_text(encoding="utf-8"))
    skipped = [n for n, c in enumerate(notebook["cells"], 1)
               if c["cell_type"] == "code" and "".join(c["source"]).strip() and c["execution_count"] is None
               and "skip-execution" not in c["metadata"].get("tags", [])]
    if skipped:
        raise RunFailed(f"the notebook ended early: cell {skipped[0]} never ran")
    try:
        return read_result(folder.path, kind)
    except ValueError as error:
        raise RunFailed(str(error)) from None


def _outcome(error: BaseException, folder: RunFolder, job: Job, secrets: list[str]) -> BaseException:
    """Settle the folder of a run that did not succeed, and say what to raise."""
    if isinstance(error, KeyboardInterrupt):
        signum = getattr(error, "signum", 2)
        name = str(error) or "SIGINT"
        left = folder.finish("stopped", f"by {name}", secrets)
        return RunStopped(f"stopped by {name}; nothing here is a result", left, left / LOG, signum)
    known = _raised_in_notebook(error)
    if isinstance(error, InputError) or (known is not None and issubclass(known[0], InputError)
                                         and not issubclass(known[0], StrategyFailed)):
        folder.discard()
        return error if known is None else known[0](hygiene.mask(known[1], secrets))
    text, detail = _told(error, known, job, folder)
    folder.note(detail)
    left = folder.finish("failed", text, secrets)
    return RunFailed(hygiene.mask(text, secrets), left, left / LOG)


def _unwritable(folder: RunFolder, error: OSError) -> str:
    return (f"{folder.path.parent} cannot be written ({error.strerror or error}): free some space on its disk, or "
            "choose another folder with --output")


def _raised_in_notebook(error: BaseException) -> tuple[type[BotlibError], str] | None:
    """Class and text of an error of botlib's own tree that a cell raised."""
    known = getattr(errors, str(getattr(error, "ename", "")), None)
    if isinstance(known, type) and issubclass(known, BotlibError):
        return known, str(getattr(error, "evalue", "")).strip()
    return None


def _told(error: BaseException, known: tuple[type[BotlibError], str] | None, job: Job,
          folder: RunFolder) -> tuple[str, str]:
    """One sentence for a person, and the details for the log."""
    full = re.match(r"\[Errno (\d+)\]", str(getattr(error, "evalue", error)))
    if full and int(full[1]) in NO_SPACE:
        return _unwritable(folder, OSError(int(full[1]), os.strerror(int(full[1])))), str(error)
    if known is not None:
        return known[1], str(error)
    if hasattr(error, "ename"):  # papermill's error: a cell raised
        where = f"cell In [{getattr(error, 'exec_count', '?')}] of {shown(job.notebook, job.root)}"
        said = first_line(ValueError(getattr(error, "evalue", "")))
        return f"{where} raised {error.ename}: {said}", str(error)
    if isinstance(error, RunFailed):
        return str(error), ""
    if type(error).__name__ == "DeadKernelError":
        return "the notebook's kernel died (out of memory?)", ""
    if type(error).__name__ == "CellTimeoutError":  # cells themselves may take for ever
        return ("the kernel did not hand over a cell's output within 120 s: too much output at once, or a machine "
                "under heavy load; print and show less, then run again", str(error))
    return f"{type(error).__name__}: {first_line(error)}", "".join(traceback.format_exception(error))


def parameters_file(job: Job, head: str) -> str:
    """The run's parameters, complete, as a file for ``--config``."""
    comments = {name: field.description or "" for name, field in type(job.params).model_fields.items()}
    return yamlfile.dump(job.values, comments=comments, head=f"Parameters of {head}; run again: --config THIS_FILE")
