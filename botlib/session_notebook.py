"""What the notebooks of sessions are made of: parameters, a session or the record of one, and the end.

The same cells serve a paper and a live session, a running session and the record of one, a person before JupyterLab and
a headless run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botlib.errors import InputError

if TYPE_CHECKING:
    from botlib.live import Session
    from botlib.session_config import SessionParams
    from botlib.session_record import Recorded, SessionRecord


def parameters(namespace: Mapping[str, Any]) -> SessionParams:
    """The parameters of a notebook's variables, ``parameters(globals())``; ``kind`` says of which kind.

    Raises `InputError` for whatever is wrong with them.
    """
    from botlib.session_config import LiveParams, SessionParams

    kinds: dict[str, type[SessionParams]] = {"paper": SessionParams, "live": LiveParams}
    kind = namespace.get("kind", "paper")
    if kind not in kinds:
        raise InputError(f"kind = {kind!r}: it must be paper or live.")
    return kinds[kind].from_notebook(namespace)


def begin(params: SessionParams, *, session_id: str = "", run_folder: str = "", waive: Any = ()) -> Session | Recorded:
    """Start the session of these parameters, or attach to the one that runs here already; with ``session_id`` nothing
    is started: the record of that session.

    Raises
    ------
    InputError, LeaseRefused
        Nothing was sent, and what to do stands in it.
    """
    if session_id:
        from botlib.session_record import Recorded, open_record

        return Recorded(open_record(params, session_id))
    from botlib.live import start_session

    return start_session(params, run_folder=run_folder, waive=waive)


def record_of(session: Session | Recorded) -> SessionRecord:
    """What the ledger has of a session that has ended."""
    from botlib.session_record import Recorded, open_record

    if isinstance(session, Recorded):
        return session.record
    return open_record(session.params, session.started.session_id, session.root)


def finish(record: SessionRecord, output_dir: str = "") -> None:
    """The end of a notebook: headless the result is written; in JupyterLab the runner executes this notebook once more,
    read-only from the ledger, and leaves that as the session's record."""
    from botlib.keyboard import keyboard
    from botlib.result_file import save_session

    save_session(output_dir, **record.result())
    if output_dir or keyboard() is None:
        return
    from botlib.project import project_root, shown
    from botlib.run import record_session

    kept = record_session(record.session.id, kind=record.session.kind, db=record.params.db)
    print(f"The record of this session: {shown(kept.notebook, project_root())}")  # noqa: T201  # a notebook's last word
