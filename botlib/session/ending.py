"""The end of a session: how it compares with a backtest, its summary, and what is written down."""

from __future__ import annotations

from botlib.errors import BotlibError, LeaseLost, RepositoryError
from botlib.session.parity import Parity, compare
from botlib.session.starting import Started
from botlib.session.summary import LiveTradingSummary, Status
from botlib.session_config import SessionParams


def parity_of(started: Started, params: SessionParams) -> Parity | None:
    """Only of a session that had the local exchange to itself, a bar a pass, from its ledger's beginning.

    Raises `BotlibError` when it cannot be compared.
    """
    if not started.venue.stepped or started.recovered or params.orders != "send":
        return None
    session = started.session
    decisions = started.repository.decisions(started.ledger_id)
    decided = decisions[decisions["status"] == "decided"]
    if decided.empty or (decisions["status"] != "decided").any():
        return None
    return compare(session.core.bars, started.strategy, params, started.capital,
                   started.repository.fills(started.ledger_id), started.repository.equity(started.ledger_id),
                   decided=decided["bar_time"].iloc[0], decisions=session.recorder.sent)


def summary_of(started: Started, status: Status, reason: str, begun: float,
               parity: Parity | None = None) -> LiveTradingSummary:
    """``begun``: equity at the start."""
    session = started.session
    fills, trips = session.recorder.counts
    return LiveTradingSummary(
        iterations=session.iteration, total_trades=trips, total_fills=fills,
        total_pnl=session.core.equity() - begun - session.flows, status=status, reason=reason,
        equity=session.core.equity(), cash=float(session.core.book["cash"]), positions=session.core.positions(),
        unexplained=[str(one) for one in (session.report.differences if session.report else [])],
        session_id=started.session_id, parity=parity)


def write_end(started: Started, summary: LiveTradingSummary) -> str:
    """Write the end down, and give back what the session holds; a sentence about what could not be done, or ""."""
    session, now, problems = started.session, started.session.time, []
    try:
        with session.recorder.commit(now) as tx:
            tx.session_ended(started.session_id, status=summary.status, time=now, reason=summary.reason,
                             iterations=summary.iterations, total_trades=summary.total_trades,
                             total_pnl=summary.total_pnl)
            session.recorder.event(tx, "session-ended", now, level="alarm" if summary.status == "error" else "info",
                                   status=summary.status, reason=summary.reason, iterations=summary.iterations,
                                   parity="" if summary.parity is None else str(summary.parity),
                                   unexplained=summary.unexplained)
    except (RepositoryError, LeaseLost) as error:
        problems.append(f"the end could not be written down: {error}")
    try:
        started.close(now)
    except BotlibError as error:
        problems.append(str(error))
    return " ".join(problems)
