"""The folder of one run: hidden while the run goes on, named when its last word is written.

``outputs/<kind>/<utc>_<name>_<id>/`` holds notebook.ipynb, parameters.yaml, provenance.json and result.json. A refused
run leaves nothing; a failed or stopped one leaves ``…_failed`` with its log and an honest status.

That of a paper or live session has its name from the start, for it may go on for days and its ledger names it, and it
keeps run.log; one whose runner was killed is marked so by the next run.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botlib import hygiene, kernel, provenance, stop_file
from botlib.errors import InputError
from botlib.job import Job
from botlib.project import shown
from botlib.result_file import RESULT, jsonable

NOTEBOOK, PARAMETERS, PROVENANCE, LOG = "notebook.ipynb", "parameters.yaml", "provenance.json", "run.log"

_PARTIAL = re.compile(r"\.\d{8}T\d{6}Z_.+_[0-9a-f]{6}\.partial")
_SETTLED_SECONDS = 60  # a folder just made may not have its lock yet


@dataclass
class RunFolder:
    """A run folder under work: hidden until `finish` gives it its name."""

    path: Path
    name: str
    record: dict[str, Any]
    made: tuple[Path, ...]
    started: float
    lock: int | None
    session: bool = False

    @classmethod
    def make(cls, job: Job, output: Path) -> RunFolder:
        """Create the hidden folder and the record that becomes provenance.json."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = f"{stamp}_{job.params.name}_{uuid.uuid4().hex[:6]}"
        session = job.kind in ("paper", "live")
        path = output / job.kind / (name if session else f".{name}.partial")
        made = tuple(p for p in path.parents if not p.exists())
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"output = {str(output)!r}: cannot be written ({error.strerror}); choose another folder "
                             "with --output.") from None
        lock = _locked(path)
        (_mark_killed if session else _sweep)(path.parent)
        record = {
            "status": "running", "reason": "", "kind": job.kind, "started": provenance.now(), "ended": None,
            "project": {"root": str(job.root), **provenance.git_state(job.root)},
            "versions": provenance.versions(),
            "notebook": {"file": shown(job.notebook, job.root), "sha256": provenance.sha256(job.source.encode())},
            "strategy": provenance.file_state(job.strategy_file, job.root),
            "data": {"hash": None},
            "origins": {k: v for k, v in sorted(job.origins.items()) if k.split(".")[0] in job.takes},
        }
        return cls(path, name, record, made, time.monotonic(), lock, session)

    def discard(self) -> None:
        """Leave nothing, not even the empty folders made on the way."""
        self._unlock()
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in self.made:
            try:
                parent.rmdir()
            except OSError:
                return

    def note(self, detail: str) -> None:
        """Append to the log."""
        if detail:
            with (self.path / LOG).open("a", encoding="utf-8") as stream:
                stream.write(re.sub(r"\x1b\[[0-9;]*m", "", detail).rstrip() + "\n")

    def finish(self, status: str, reason: str, secrets: list[str], result: Mapping[str, Any] | None = None) -> Path:
        """Write the last word on the run and give the folder its name."""
        final = self.path.with_name(self.name + ("" if status == "ok" or self.session else "_failed"))
        (self.path / stop_file.NAME).unlink(missing_ok=True)
        self.record |= {"status": status, "reason": hygiene.mask(reason, secrets), "ended": provenance.now(),
                        "seconds": round(time.monotonic() - self.started, 3)}
        if result is not None:
            self.record["data"] = {"hash": result["data_hash"]}
            self.record["strategy"]["hash"] = result["strategy_hash"]
        provenance.write_json(self.path / PROVENANCE, hygiene.mask(self.record, secrets))
        self._settle_notebook(status, final.name, secrets)
        self._settle_result(status, final.name, secrets)
        self._settle_log(status, reason, secrets)
        self.path.rename(final)
        self._unlock()
        return final

    def _unlock(self) -> None:
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def _settle_notebook(self, status: str, final: str, secrets: list[str]) -> None:
        """Its own path in it becomes the final one; cells that never ran say so (papermill calls them completed)."""
        path = self.path / NOTEBOOK
        if not path.exists():
            return
        notebook = json.loads(path.read_text(encoding="utf-8").replace(self.path.name, final))
        notebook["metadata"]["botlib"] = {"status": status}
        if status != "ok":
            _mark_unfinished(notebook["cells"])
        kernel.write_notebook(path, notebook, secrets)

    def _settle_result(self, status: str, final: str, secrets: list[str]) -> None:
        path = self.path / RESULT
        try:
            result = json.loads(path.read_text(encoding="utf-8").replace(self.path.name, final))
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            return
        if isinstance(result, dict) and status != "ok":
            result["status"] = status
        provenance.write_json(path, jsonable(hygiene.mask(result, secrets)))

    def _settle_log(self, status: str, reason: str, secrets: list[str]) -> None:
        path = self.path / LOG
        if status == "ok":
            if not self.session:
                path.unlink(missing_ok=True)
            return
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        provenance.write_atomically(path, hygiene.mask(f"{text}{status}: {reason}\n", secrets))


def _locked(folder: Path) -> int | None:
    """A lock on a folder, which the system takes away when this process ends, however it ends; None when another
    process has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(parent: Path) -> None:
    """Remove what runs left whose process was killed or lost its disk; never that of a live one."""
    for folder in parent.glob(".*.partial"):
        try:
            old = time.time() - folder.stat().st_mtime > _SETTLED_SECONDS
        except OSError:
            continue
        lock = _locked(folder) if old and _PARTIAL.fullmatch(folder.name) else None
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _mark_killed(parent: Path) -> None:
    """Say of sessions' folders that are said to run, and whose runner is gone, that it was killed: their ledger knows
    how far they came."""
    for path in parent.glob(f"*/{PROVENANCE}"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not isinstance(record, dict) or record.get("status") != "running":
            continue
        lock = _locked(path.parent)
        if lock is not None:
            record |= {"status": "killed", "reason": "the runner was killed; the ledger has what the session did"}
            provenance.write_json(path, record)
            os.close(lock)


def _mark_unfinished(cells: list[dict[str, Any]]) -> None:
    running = None
    for cell in cells:
        state = cell.get("metadata", {}).get("papermill")
        if cell["cell_type"] != "code" or not state:
            continue
        if state.get("start_time"):
            running = state
        if cell["execution_count"] is None and "".join(cell["source"]).strip():
            state["status"] = "pending"
    if running is not None:
        running |= {"status": "failed", "exception": True}
