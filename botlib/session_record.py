"""A session as its ledger has it: what the notebook of a session shows, while it is there or long after."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.calendars import EXCHANGE_TZ
from botlib.errors import InputError
from botlib.panel_status import event_words, find_session, gone, happened

if TYPE_CHECKING:
    from botlib.repository import Repository
    from botlib.repository.rows import LedgerRow, SessionRow
    from botlib.session_config import SessionParams

RECORDED = ("fill", "session-started", "session-ended", "session-permitted", "kill", "kill-cleared", "safety",
            "request", "external", "unexplained", "protection", "corporate-action", "alarm", "missed-bar", "recovered",
            "sizing", "activity")
"""Events that a record shows, one line each."""


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """One session.

    Attributes
    ----------
    fills, round_trips, equity, events : DataFrame
        The ledger's rows of this session, in order of time.
    running : bool
        Whether it still runs: what stands here is how it was at its last pass then, and no record.
    parity : str
        The sentence that compares it with a backtest; "" where none was made.
    unexplained : tuple of str
        What broker and ledger did not agree on at the end.
    params : SessionParams
    """

    ledger: LedgerRow
    session: SessionRow
    params: SessionParams
    fills: pd.DataFrame
    round_trips: pd.DataFrame
    equity: pd.DataFrame
    events: pd.DataFrame
    running: bool = False
    parity: str = ""
    unexplained: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done, 1 crash (also: the process is gone without an end), 2 refused, 3 halted, 4 unreconciled."""
        codes = {"error": 1, "running": 1, "refused": 2, "halted": 3}
        return codes.get(self.session.status, 4 if self.unexplained else 0)

    def result(self) -> dict[str, Any]:
        """What `botlib.save_session` takes. Raises `InputError` for a session that runs: it has no result yet."""
        from botlib import terms

        s = self.session
        if self.running:
            raise InputError(f"session {s.id[:12]} still runs, so that it has no result yet: stop it, or wait for its "
                             "end, and read it again.")
        return {"summary": {"iterations": s.iterations or 0, "total_trades": s.total_trades or 0,
                            "total_pnl": s.total_pnl or 0.0, "status": s.status, "reason": s.reason,
                            "total_fills": len(self.fills), "session_id": s.id, "exit_code": self.exit_code,
                            "parity": self.parity, "unexplained": list(self.unexplained)},
                "strategy_hash": s.strategy_hash, "params_hash": terms.params_hash(self.params),
                "limits_hash": terms.limits_hash(self.params)}


def load(repository: Repository, session_id: str, params: SessionParams) -> SessionRecord:
    """Read a session.

    Raises
    ------
    InputError
        The ledger has no such session, or it is of another kind.
    RepositoryError
    """
    found = repository.session(find_session(repository, session_id=session_id))
    assert found is not None
    if found.kind != params.kind:
        raise InputError(f"session_id = {session_id!r}: this is a {found.kind} session; open it with the notebook of "
                         f"{found.kind} sessions.")
    ledger = next(one for one in repository.ledgers() if one.id == found.ledger_id)

    def mine(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["session_id"] == found.id].reset_index(drop=True)

    events = mine(repository.events(ledger.id, since=found.started))
    running = found.status == "running" and not gone(found, repository.lease(ledger.account_id))
    said: Mapping[str, Any] = {"parity": "The session still runs: it is compared at its end."} if running else {}
    for one in events[events["kind"] == "session-ended"].itertuples():
        said = one.data
    return SessionRecord(
        ledger=ledger, session=found, params=params, fills=mine(repository.fills(ledger.id)),
        round_trips=mine(repository.round_trips(ledger.id)), equity=mine(repository.equity(ledger.id)), events=events,
        running=running, parity=str(said.get("parity") or ""), unexplained=tuple(said.get("unexplained") or ()))


class Recorded:
    """Stands in a notebook where a session would: it shows one that has been, and starts nothing."""

    def __init__(self, record: SessionRecord) -> None:
        self.record, self.params = record, record.params

    async def wait(self, say: Callable[[str], Any] = print) -> None:
        """Say what the ledger says."""
        say(f"[RECORD] session {self.record.session.id}, read from its ledger; nothing is traded here")
        for event in self.record.events.itertuples():
            if event.kind in RECORDED:
                when = happened(event.kind, event.data, event.time).tz_convert(EXCHANGE_TZ)
                say(f"[{event.kind.upper()}] {when:%Y-%m-%d %H:%M} {event_words(event.kind, event.data)}")

    def __repr__(self) -> str:
        s = self.record.session
        return f"<record of the {s.kind} session {s.id[:12]}: {s.status}; nothing is traded here>"


def open_record(params: SessionParams, session_id: str, root: str | os.PathLike[str] | None = None) -> SessionRecord:
    """`load` from the ledger that the parameters name."""
    from botlib.repository import Repository

    with Repository.open(params.database(os.environ), root=root, create=False) as repository:
        return load(repository, session_id, params)
