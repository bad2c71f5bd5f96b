"""Execute a job: one executed notebook and its evidence in a run folder, or nothing that could be taken for it.

A paper or live session is asked to stop by the first signal, and the run goes on to its orderly end; its folder stays,
however it ends, once the session was started.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botlib import errors, hygiene, kernel, notebook_params, provenance, stop_file, yamlfile
from botlib.errors import BotlibError, InputError, LeaseRefused, RunFailed, RunStopped, StrategyFailed
from botlib.job import Job, first_line, prepare
from botlib.project import project_root, resolve, shown
from botlib.result_file import exit_code, read_result
from botlib.run_params import RunParams
from botlib.runfolder import LOG, NOTEBOOK, PARAMETERS, PROVENANCE, RunFolder
from botlib.wording import utc

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, the executed notebook, what result.json holds, and the parameters."""

    folder: Path
    notebook: Path
    result: dict[str, Any]
    params: RunParams

    @property
    def exit_code(self) -> int:
        """0 done, 1 crash, 2 refused, 3 halted, 4 unreconciled."""
        return exit_code(self.result)


def execute(job: Job, *, output: str | os.PathLike[str] = "outputs", progress: bool = False,
            say: Callable[[str], Any] | None = None) -> RunResult:
    """Run a prepared job.

    Parameters
    ----------
    job : Job
        From `botlib.job.prepare`.
    output : path
        Folder of all outputs; a relative one starts at the project's root.
    progress : bool
        A progress line on stderr.
    say : function of a line, optional
        Told each line that the notebook prints, as it comes.

    Raises
    ------
    InputError
        The notebook refused its input (any error of that family raised in a cell but `StrategyFailed`), or its session
        was refused; nothing is left.
    RunFailed, RunStopped
        A crash, also of the strategy's own code, or a signal; the folder ``…_failed`` is left.
    """
    secrets = hygiene.environment_secrets({**_env_file(job), **os.environ}, job.params.variables())
    orderly = _Orderly()
    with kernel.stop_signals(orderly.ask) as kernels:
        folder = RunFolder.make(job, resolve(output, job.root))
        if folder.session and not job.session_id:
            orderly.folder = folder.path
        try:
            provenance.write_json(folder.path / PROVENANCE, folder.record)
            provenance.write_atomically(folder.path / PARAMETERS, parameters_file(job, folder.name))
            _run_notebook(job, folder, secrets, progress, kernels, say)
            result = _verified(folder, job.kind)
            if folder.session:
                result["exit_code"] = exit_code(result)
            crashed = result.get("exit_code") == 1
            final = folder.finish("failed" if crashed else "ok", result["summary"]["reason"] or "" if crashed else "",
                                  secrets, result=result)
        except BaseException as error:
            try:
                raised = _outcome(error, folder, job, secrets, kernel.exit_status(kernels))
            except OSError as why:  # not even the last word on the run can be written
                folder.discard()
                raised = RunFailed(f"{_unwritable(folder, why)}; nothing of this run is left")
            raise raised from None
    return RunResult(final, final / NOTEBOOK, result, job.params)


def record_session(session_id: str, *, kind: str = "paper", db: str = "trades.sqlite",
                   root: str | os.PathLike[str] | None = None, notebook: str | Path | None = None,
                   output: str | os.PathLike[str] = "outputs") -> RunResult:
    """Execute the notebook of a session that has been, read-only from its ledger: its record, as a headless run would
    have left it. Nothing is traded.

    Parameters
    ----------
    session_id : str
        Its id in the ledger, or how that begins.
    kind : str
        "paper" or "live".
    db : str
        The ledger, as the parameter ``db`` names it.

    Raises
    ------
    InputError
        There is no such session, or it is still running.
    RunFailed, RunStopped
    """
    from botlib.repository import Repository
    from botlib.session_checks import database

    base = project_root(root)
    with Repository.open(database(db, os.environ), root=base, create=False) as repository:
        known = repository.sessions()
        found = known[known["id"].str.startswith(session_id)] if session_id else known.iloc[:0]
    if len(found) != 1:
        raise InputError(f"session_id = {session_id!r}: {len(found) or 'no'} sessions of this ledger begin so.")
    row = found.iloc[0]
    if row["kind"] != kind:
        raise InputError(f"session_id = {session_id!r}: this is a {row['kind']} session; give kind {row['kind']}.")
    if row["status"] == "running":
        raise InputError(f"session_id = {session_id!r}: this session has not ended; stop it first.")
    work = prepare(kind, notebook=notebook, root=base, recorded=(str(row["id"]), {**row["params"], "db": db}))
    return execute(replace(work, source=_marked(work.source, row)), output=output)


def _marked(source: str, row: Any) -> str:
    """The notebook with a word at its top on what it is."""
    notebook = json.loads(source)
    text = (f"**The record of a {row['kind']} session, read from its ledger at {provenance.now()}.** Session "
            f"`{row['id']}`, {utc(row['started'])} by the venue's clock. Nothing was traded by running "
            "this notebook.")
    at = next((i for i, c in enumerate(notebook["cells"], 1) if c["cell_type"] == "markdown"), 0)
    notebook["cells"].insert(at, {"cell_type": "markdown", "id": "what-this-is", "metadata": {}, "source": text})
    return json.dumps(notebook)


class _Orderly:
    """The first signal asks the session to stop; the second is for the run itself."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.asked = False

    def ask(self, signum: int) -> bool:
        """Whether the session was asked by this signal."""
        if self.folder is None or self.asked:
            return False
        self.asked = True
        name = signal.Signals(signum).name
        try:
            stop_file.ask(self.folder, f"by {name}")
            os.write(2, f"{name}: the session stops after the pass under way; once more ends it at once\n".encode())
        except OSError:
            return False
        return True


def _env_file(job: Job) -> dict[str, str]:
    """What .env holds, to be masked: a session at the broker may take its keys from there."""
    path = job.root / ".env"
    if not _at_broker(job) or not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        name, equals, value = line.removeprefix("export ").partition("=")
        if equals:
            found[name.strip()] = value.strip().strip("'\"")
    return found


def _at_broker(job: Job) -> bool:
    """Whether the notebook trades at the broker, or learns on its data, and so needs keys. A record needs none."""
    learns = job.kind == "learn" and job.params.provider == "alpaca"
    return learns or (getattr(job.params, "venue", None) == "alpaca" and not job.session_id)


def _run_notebook(job: Job, folder: RunFolder, secrets: list[str], progress: bool, kernels: list[Any],
                  say: Callable[[str], Any] | None) -> None:
    own = {notebook_params.OUTPUT_DIR: str(folder.path)}
    if job.session_id:
        own[notebook_params.SESSION_ID] = job.session_id
    stop = folder.path / stop_file.NAME if folder.session else None
    with tempfile.TemporaryDirectory(prefix="botlib-ipython-") as ipython_dir:
        kernel.execute(
            job.source, {**job.values, **own}, folder.path / NOTEBOOK,
            environ=kernel.environment(os.environ, job.root, Path(ipython_dir), keys=_at_broker(job), stop=stop),
            folder=job.notebook.parent, log=folder.path / LOG, secrets=secrets, progress=progress, kernels=kernels,
            say=say)


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


def _outcome(error: BaseException, folder: RunFolder, job: Job, secrets: list[str],
             status: int | None = None) -> BaseException:
    """Settle the folder of a run that did not succeed, and say what to raise. ``status``: of the kernel's process."""
    if isinstance(error, KeyboardInterrupt):
        signum = getattr(error, "signum", 2)
        name = str(error) or "SIGINT"
        left = folder.finish("stopped", f"by {name}", secrets)
        return RunStopped(f"stopped by {name}; nothing here is a result", left, left / LOG, signum)
    known = _raised_in_notebook(error)
    refused = isinstance(error, InputError) or (known is not None and issubclass(known[0], (InputError, LeaseRefused))
                                                and not issubclass(known[0], StrategyFailed))
    begun = _session_of(job, folder)
    if refused and not begun:
        folder.discard()
        if known is None:
            return error
        kind = known[0] if issubclass(known[0], InputError) else InputError
        return kind(hygiene.mask(known[1], secrets))
    text, detail = _told(error, known, job, folder, status)
    if begun:
        text += f". The session {begun} was under way: its ledger holds everything up to there"
    folder.note(detail)
    left = folder.finish("failed", text, secrets)
    return RunFailed(hygiene.mask(text, secrets), left, left / LOG)


def _session_of(job: Job, folder: RunFolder) -> str:
    """The id of the session that this run started, from its ledger; "" when it came to none."""
    if not folder.session or job.session_id:
        return ""
    from botlib.repository import Repository

    try:
        db = job.params.database(os.environ)  # type: ignore[attr-defined]
        with Repository.open(db, root=job.root, create=False, checked=False) as repository:
            known = repository.sessions()
    except BotlibError:
        return ""
    mine = known[known["run_folder"] == str(folder.path)]
    return str(mine["id"].iloc[-1]) if len(mine) else ""


def _unwritable(folder: RunFolder, error: OSError) -> str:
    return (f"{folder.path.parent} cannot be written ({error.strerror or error}): free some space on its disk, or "
            "choose another folder with --output")


def _raised_in_notebook(error: BaseException) -> tuple[type[BotlibError], str] | None:
    """Class and text of an error of botlib's own tree that a cell raised."""
    known = getattr(errors, str(getattr(error, "ename", "")), None)
    if isinstance(known, type) and issubclass(known, BotlibError):
        return known, str(getattr(error, "evalue", "")).strip()
    return None


def _ended(status: int | None) -> str:
    """Of a process that is gone, and what may have ended it."""
    text = "the notebook's process ended without a word"
    if status is None:
        return f"{text}: out of memory, or code that ends the process (os._exit, a crash in a library)"
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        memory = "; the system does so when memory runs out" if name == "SIGKILL" else ""
        return f"{text}: {name} ended it{memory}"
    return f"{text}, exit code {status}: code in it ended the process (os._exit, in the strategy or a library)"


def _told(error: BaseException, known: tuple[type[BotlibError], str] | None, job: Job, folder: RunFolder,
          status: int | None = None) -> tuple[str, str]:
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
        return _ended(status), ""
    if type(error).__name__ == "CellTimeoutError":  # cells themselves may take for ever
        return ("the kernel did not hand over a cell's output within 120 s: too much output at once, or a machine "
                "under heavy load; print and show less, then run again", str(error))
    return f"{type(error).__name__}: {first_line(error)}", "".join(traceback.format_exception(error))


def parameters_file(job: Job, head: str) -> str:
    """The run's parameters, complete, as a file for ``--config``."""
    comments = {name: field.description or "" for name, field in type(job.params).model_fields.items()}
    return yamlfile.dump(job.complete, comments=comments, head=f"Parameters of {head}; run again: --config THIS_FILE")
