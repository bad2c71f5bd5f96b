"""Reconciling: what broker and ledger do not agree on, and a person's answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.control_actions import GONE, Desk
from botlib.errors import InputError
from botlib.repository.hosts import person

if TYPE_CHECKING:
    from botlib.session.reopening import Look


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer for one symbol, or for "cash": what counts as the person's own from now on, and what of the
    ledger's shares is written off (signed)."""

    what: str
    own: float = 0.0
    written_off: float = 0.0


def answers(found: Look) -> list[Answer]:
    """What accepting means. What the broker has beside the ledger is the person's own; shares of the ledger that the
    broker lacks, also when they are known to have been sold by hand, are written off, or the session would go on to
    protect and sell what is not there. Pure."""
    made = []
    for symbol in sorted({*found.broker, *found.ledger, *found.own}):
        at_broker, ledger, own = (round(side.get(symbol, 0.0), 9) for side in (found.broker, found.ledger, found.own))
        sign = -1.0 if ledger < 0.0 else 1.0
        there = sign * at_broker - max(0.0, sign * own)  # for the ledger, once the person's own are left out
        lost = sign * min(0.0, max(0.0, there) - sign * ledger)
        more = round(at_broker - ledger - own - lost, 9)
        if more or lost:
            made.append(Answer(symbol, more, round(lost, 9)))
    return made + ([Answer("cash", found.cash)] if found.cash else [])


def reconcile(desk: Desk) -> tuple[list[str], list[str]]:
    """What broker and ledger do not agree on, and the shares that no order protects any more, in sentences; only reads.

    Raises `InputError`, `BrokerError`.
    """
    from botlib.session.reopening import look, reopen

    if desk.subject.embedded:
        raise InputError(f"{GONE}.")
    if desk.repository.checkpoint(desk.ledger.id) is None:
        raise InputError(f"ledger {desk.ledger.id} has no state yet: its session ended before its first pass.")
    with desk.venue() as venue:
        session = reopen(desk.params, venue, desk.repository, desk.ledger, root=desk.root, lease=None)
        found = look(session)
    told = {one.what for one in found.found}
    by_hand = [f"{one.what}: {abs(one.written_off):g} of the ledger's {abs(found.ledger[one.what]):g} shares are "
               f"gone by orders that are not the session's; the broker has {found.broker.get(one.what, 0.0):g}"
               for one in answers(found) if one.written_off and one.what not in told]
    unknown = [f"order {one.client_order_id} ({one.side} {one.qty or 0:g} {one.symbol}) is open, and this database "
               "does not know it: another database of botlib's sent it (--db), or cancel it at the broker"
               for one in found.strangers]
    ended: dict[str, list[str]] = {}
    for row in desk.repository.orders(desk.ledger.id, working=True).itertuples():
        if row.order_id in found.over:
            ended.setdefault(row.symbol, []).append(f"{row.type} {found.over[row.order_id]}")
    bare = [f"{found.ledger[symbol]:g} {symbol}: no order works to sell or cover them any more ({', '.join(how)} at "
            "the broker); a session sends what they need, python -m botlib flatten closes them"
            for symbol, how in ended.items()]
    return [*map(str, found.found), *by_hand, *unknown], bare


def accept(desk: Desk, reason: str) -> list[str]:
    """Record a person's answer to all differences, so that the next start is clean; what was recorded, in sentences."""
    from botlib.session.reopening import look, reopen, write_off

    if not reason.strip():
        raise InputError("--reason is empty: say why broker and ledger differ, e.g. --reason \"sold by hand\".")
    if desk.subject.embedded:
        raise InputError(f"{GONE}.")
    with desk.lease() as lease, desk.venue() as venue:
        state = desk.repository.checkpoint(desk.ledger.id)
        if state is None:
            raise InputError(f"ledger {desk.ledger.id} has no state yet: its session ended before its first pass.")
        given = answers(look(reopen(desk.params, venue, desk.repository, desk.ledger, root=desk.root, lease=None)))
        if not given:
            return []
        session = reopen(desk.params, venue, desk.repository, desk.ledger, root=desk.root, lease=lease)
        lost = {one.what: -one.written_off for one in given if one.written_off}
        cash = float(session.core.book["cash"])
        prices = write_off(session, lost)
        session.memory.externals.cash -= float(session.core.book["cash"]) - cash
        said = [_record(session, one, prices) for one in given]
        now = pd.Timestamp.now("UTC")
        with session.recorder.commit(now) as tx:
            for one, words in zip(given, said, strict=True):
                session.memory.accepted = tx.external(desk.ledger.id, one.what, one.own + one.written_off,
                                                      reason=reason, accepted_by=person(), time=now)
                session.recorder.event(tx, "external", now, level="warning", what=one.what, own=one.own,
                                       written_off=one.written_off, price=prices.get(one.what), reason=reason,
                                       by=person(), text=words)
            session.memory.watch, session.memory.unexplained = session.memory.watch.released("unexplained"), []
            session.recorder.checkpoint(tx, session.core, session.memory, now)
    return said


def _record(session: Any, answer: Answer, prices: Mapping[str, float]) -> str:
    externals = session.memory.externals
    if answer.what == "cash":
        externals.cash += answer.own
        return f"cash: ${answer.own:+,.2f} of the account is not the ledger's"
    if answer.own:
        externals.add(answer.what, answer.own)
    if answer.written_off:
        return (f"{answer.what}: {answer.written_off:+g} shares are written off the ledger at "
                f"${prices[answer.what]:,.4f}")
    return f"{answer.what}: {answer.own:+g} shares are yours and are left alone"
