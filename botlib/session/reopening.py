"""A ledger's session taken up again by a person, without its process: to look, to kill, to flatten. It decides nothing.

The session's own machinery does it, so that what is cancelled and sold is recorded first and the next start finds a
ledger that agrees.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botlib.errors import InputError, ProviderError
from botlib.session.checking import Difference
from botlib.session.loop import TradingSession
from botlib.session.making import Maker
from botlib.session.planning import symbol_of
from botlib.session.report import Report
from botlib.session.sharing import NOT_KNOWN
from botlib.strategies.loading import strategy_hash

if TYPE_CHECKING:
    from botlib.brokers.base import OpenOrder
    from botlib.repository import Lease, Repository
    from botlib.repository.rows import LedgerRow
    from botlib.session.venues import Venue
    from botlib.session_config import SessionParams


class NoDecisions:
    """Stands in the place of a strategy: no bar is decided on, and none counts as missed."""

    warmup = 10**9

    def ready(self, bars: Any) -> bool:
        """Never."""
        return False


def check_account(ledger: LedgerRow, account: Any, venue: Venue) -> None:
    """Refuse another account than the ledger's. Raises `InputError`."""
    if account.account_id != ledger.account_id:
        raise InputError(f"the keys at hand are of account {account.account_id}, this ledger is of "
                         f"{ledger.account_id}: set the keys it was traded with (APCA_…, or .env).")
    if venue.epoch != ledger.epoch:
        raise InputError(f"account {ledger.account_id} has begun anew since (a paper account was reset, or a local "
                         "exchange started again): what this ledger traded is gone, and nothing of it can be working.")


def reopen(params: SessionParams, venue: Venue, repository: Repository, ledger: LedgerRow, *,
           root: str | Path | None, lease: Lease | None) -> TradingSession:
    """The session where its checkpoint left it.

    Parameters
    ----------
    lease : Lease or None
        None only to `look`: then nothing is ever sent.

    Raises
    ------
    InputError
        The account is another one, or the strategy or its bars cannot be had.
    BrokerError, ProviderError, RepositoryError
    """
    account, now = venue.broker.get_account_info(), venue.broker.clock().time
    check_account(ledger, account, venue)
    strategy = params.load_strategy(root)
    maker = Maker(params, venue, strategy, strategy_hash(strategy), repository, ledger, lease,  # type: ignore[arg-type]
                  "" if lease is None else lease.session_id, "", {} if lease is not None else {"send": False})
    session = maker.first(account, now)
    session.decider = NoDecisions()  # type: ignore[assignment]
    return session


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Broker and ledger side by side. Shares are signed, by symbol; ``cash`` is the broker's less what is explained."""

    broker: Mapping[str, float]
    ledger: Mapping[str, float]
    own: Mapping[str, float]
    """What is known to be the person's own."""
    cash: float
    found: Sequence[Difference]
    strangers: Sequence[OpenOrder]
    over: Mapping[str, str]
    """How orders ended that were the only way out of what is held, by id, unless they were filled."""


def look(session: TradingSession) -> Look:
    """How things stand, with all that has happened since booked in memory; nothing is written and nothing sent."""
    report = Report(iteration=0)
    facts = session._gather(report)
    if session._later is not None:
        raise ProviderError(f"{NOT_KNOWN}: what differs cannot be told now; try again. {report.no_bars or ''}".rstrip())
    found = session._differences(facts)
    return Look(broker=facts.positions, ledger=session.core.positions(), own=dict(session.memory.externals.shares),
                cash=sum(one.broker - one.ledger for one in found if one.what == "cash"), found=found,
                strangers=report.strangers,
                over=_over(session.core))


def _over(core: Any) -> dict[str, str]:
    ways_out = {order_id: link for order_id, link in core.links.items() if link.role != "entry"}
    at_work = {symbol_of(core, link) for link in ways_out.values() if not link.over and not link.ended}
    bare = set(core.positions()) - at_work
    return {order_id: link.status for order_id, link in ways_out.items()
            if link.ended and link.status != "filled" and symbol_of(core, link) in bare}


def carry_out(session: TradingSession, asked: Sequence[Any], *, seconds: float, passes: int = 4,
              say: Callable[[Report], None], sleep: Callable[[float], None] = clocks.sleep) -> Report:
    """Let the session do what was asked (rows of the repository's requests), in passes until nothing more happens.

    Market orders that wait for the next open are left to it.
    """
    report = session.step(asked)
    say(report)
    for _ in range(passes - 1):
        sleep(seconds / passes)
        report = session.step()
        if not (report.answers or report.fills):
            break  # nothing more happens now
        say(report)
    return report


def write_off(session: TradingSession, shares: Mapping[str, float]) -> dict[str, float]:
    """Take shares out of the ledger that the broker does not have any more, at their last close; what is left of them
    stays protected. Returns the prices. A fill is made up for it: nothing is deleted.

    ``shares`` are signed as the positions they are part of.
    """
    import numpy as np

    from botlib import engine
    from botlib.engine import booking
    from botlib.engine.closing import ended
    from botlib.engine.state import CANCELLED, EXIT, R_BROKER, WORKING

    core, prices = session.core, {}
    for symbol, quantity in shares.items():
        i = core.column[symbol]
        prices[symbol] = price = float(core.book.last_close[i])
        row = np.full(len(core.column), np.nan)
        row[i] = 0.0
        core.room()
        engine.decide_row(core.book.world, core.t, row)
        core.number_orders()
        orders = core.book.rows("orders")
        (out,) = np.flatnonzero((orders["status"] == WORKING) & (orders["purpose"] == EXIT) & (orders["symbol"] == i))
        booking.exit_filled(core.book.world, core.t, int(out), abs(quantity), price)
        if core.book.orders["status"][out] == WORKING:
            core.room()
            ended(core.book.world, core.t, int(out), CANCELLED, R_BROKER)
        core.number_orders()
    return prices
