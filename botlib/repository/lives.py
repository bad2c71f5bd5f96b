"""Whether the process that has an account still lives: one rule for whoever shows or asks it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from botlib.repository.hosts import Here
    from botlib.repository.rows import LeaseRow, SessionRow

Life = Literal["running", "elsewhere", "over", "died"]
"""Of a ledger's last session: its process lives here; it may live on another host; it ended; it is gone without an
end."""


def life_of(lease: LeaseRow | None, session: SessionRow | None, me: Here, mark: Callable[[int], str]) -> Life:
    """Whether the process that has an account still lives.

    Parameters
    ----------
    me : Here
        This process: host and boot.
    mark : function
        Of a process id, see `botlib.repository.hosts.process_mark`.
    """
    if session is None or session.ended is not None:
        return "over"
    if lease is None or lease.session_id != session.id or lease.released is not None:
        return "died"
    if lease.host != me.host:
        return "elsewhere"
    gone = lease.boot_id != me.boot_id or not lease.process or mark(lease.pid) != lease.process
    return "died" if gone else "running"
