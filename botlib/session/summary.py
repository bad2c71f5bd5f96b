"""What a session was, in the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from botlib.wording import plural

if TYPE_CHECKING:
    from botlib.session.parity import Parity

Status = Literal["success", "error", "user-cancelled", "halted", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTradingSummary:
    """The end of a session.

    Attributes
    ----------
    iterations : int
        Passes of the loop.
    total_trades : int
        Round trips closed in this session.
    total_pnl : float
        Dollars: equity at the end less equity at the start, less what was paid in or out.
    status : str
        "success", "error", "user-cancelled", "halted" (a kill) or "refused".
    reason : str
        Why it ended so.
    total_fills : int
        Executions in this session.
    equity, cash : float
        Dollars, at the end.
    positions : dict of str to float
        Signed shares left.
    unexplained : list of str
        What broker and ledger did not agree on at the end.
    session_id : str
    parity : Parity or None
        The comparison with a backtest, of a session on the local exchange in step mode.
    """

    iterations: int
    total_trades: int
    total_pnl: float
    status: Status
    reason: str = ""
    total_fills: int = 0
    equity: float = 0.0
    cash: float = 0.0
    positions: dict[str, float]
    unexplained: list[str]
    session_id: str = ""
    parity: Parity | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    def __str__(self) -> str:
        held = ", ".join(f"{shares:g} {symbol}" for symbol, shares in self.positions.items()) or "nothing"
        why = f" ({self.reason})" if self.reason else ""
        counts = (f"{plural(self.iterations, 'iteration')}, {plural(self.total_fills, 'fill')}, "
                  f"{plural(self.total_trades, 'round trip')}")
        return (f"{self.status}{why}: {counts}, profit ${self.total_pnl:+,.2f}, equity ${self.equity:,.2f}; holds "
                f"{held}")

    @property
    def exit_code(self) -> int:
        """0 done, 1 crash, 2 refused, 3 halted, 4 unreconciled."""
        if self.status in ("error", "refused", "halted"):
            return {"error": 1, "refused": 2, "halted": 3}[self.status]
        return 4 if self.unexplained else 0
