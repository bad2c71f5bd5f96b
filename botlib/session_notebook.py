"""What the notebooks of sessions are made of: parameters, a session or the record of one, and the end.

The same cells serve a paper and a live session, a running session and the record of one, a person before JupyterLab and
a headless run.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botlib.errors import EvidenceMissing, InputError

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
    from botlib import arming
    from botlib.keyboard import keyboard
    from botlib.live import start_session

    if keyboard() is None:  # headless: who reads a refusal has the command line before them
        return start_session(params, run_folder=run_folder, waive=waive)
    threading.Thread(target=_prepare_figures, daemon=True).start()
    if params.kind == "live" and not params.enable_live:
        raise InputError("enable_live = False: live trading starts only when it is asked for. Set enable_live = True "
                         "in the parameters at the top of this notebook and run its cells again.")
    try:
        return start_session(params, run_folder=run_folder, waive=waive)
    except EvidenceMissing as error:
        names = ", ".join(dict.fromkeys([*arming.waivers(waive), *error.missing]))
        raise EvidenceMissing("live trading needs what is missing here: "
                              f"{'; '.join(arming.WAIVABLE[name] for name in error.missing)}. Make up for it, or do "
                              f'without it by name, which is put on record: waived = "{names}" in the cell under '
                              "Permission, and run the cells from there on.", error.missing) from None


def _prepare_figures() -> None:
    """Load what the report draws with, which takes a second, while nobody waits for it."""
    import matplotlib.figure  # noqa: F401


def record_of(session: Session | Recorded) -> SessionRecord:
    """What the ledger has of a session. Of one that runs it is how it stands, which its tables and figure say."""
    from botlib.session_record import Recorded, open_record

    if isinstance(session, Recorded):
        return session.record
    return open_record(session.params, session.started.session_id, session.root)


def finish(record: SessionRecord, output_dir: str = "") -> None:
    """The end of a notebook: headless the result is written; in JupyterLab the runner executes this notebook once more,
    read-only from the ledger, and leaves that as the session's record. Of a session that ran when ``record`` was read
    nothing is written."""
    from botlib.keyboard import keyboard
    from botlib.result_file import save_session

    if record.running and not output_dir:
        print("No record is written: the session ran when these cells read it. When it has ended, run them again "  # noqa: T201
              "from session.wait() on.")
        return
    save_session(output_dir, **record.result())
    if output_dir or keyboard() is None:
        return
    from botlib.project import project_root, shown
    from botlib.run import record_session

    kept = record_session(record.session.id, kind=record.session.kind, db=record.params.db)
    print(f"The record of this session: {shown(kept.notebook, project_root())}")  # noqa: T201  # a notebook's last word
