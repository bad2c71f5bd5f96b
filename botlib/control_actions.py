"""What a person does to an account that no process trades: kill, clear, flatten, reconcile.

The account's lease is held meanwhile, so that no session starts in between. The ledger is written first: a kill stands
even when the broker cannot be reached.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.control import Subject
from botlib.errors import BotlibError, InputError
from botlib.repository import Lease
from botlib.repository.hosts import here, person, state_folder
from botlib.wording import plural

if TYPE_CHECKING:
    from botlib.repository import Repository, Transaction
    from botlib.repository.rows import LedgerRow
    from botlib.session.venues import Venue
    from botlib.session_config import SessionParams
    from botlib.watch import Watch

GONE = ("this ledger's exchange lived in its session's process and is gone with it: no order is left anywhere, and the "
        "next session begins a new ledger")


@dataclass(slots=True)
class Desk:
    """Where a person's actions are carried out.

    Attributes
    ----------
    root : Path
        The project.
    environ, env_file
        Where keys are.
    seconds : float
        How long what was asked of the broker is waited for.
    """

    repository: Repository
    subject: Subject
    root: Path
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    env_file: Path | None = None
    seconds: float = 10.0
    take_over: bool = False
    say: Callable[[str], Any] = print

    @property
    def ledger(self) -> LedgerRow:
        """The ledger that is meant."""
        return self.subject.ledger

    @property
    def params(self) -> SessionParams:
        """The parameters of its last session. Raises `InputError` when there was none."""
        from botlib.job import SCHEMAS
        from botlib.origins import parameters_of
        from botlib.session_config import SessionParams

        session = self.subject.session
        if session is None:
            raise InputError(f"ledger {self.ledger.id} of account {self.ledger.account_id} never had a session: there "
                             "are no parameters to reach its broker with.")
        found = parameters_of(SCHEMAS[session.kind], session.params)
        assert isinstance(found, SessionParams)
        return found

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """The account for as long as this takes. Raises `LeaseRefused`."""
        me = here()
        lease = Lease.take(self.repository, self.ledger.account_id, f"person-{uuid.uuid4().hex[:12]}",
                           state_folder=state_folder(), now=pd.Timestamp.now("UTC"), host=me.host, pid=me.pid,
                           boot_id=me.boot_id, take_over=self.take_over)
        try:
            yield lease
        finally:
            lease.release(pd.Timestamp.now("UTC"))

    @contextmanager
    def venue(self) -> Iterator[Venue]:
        """The venue of the last session. Raises `InputError`, `BrokerError`."""
        from botlib.session.venues import open_venue

        if self.subject.embedded:
            raise InputError(f"{GONE}.")
        venue = open_venue(self.params, self.root, self.environ, env_file=self.env_file)
        try:
            yield venue
        finally:
            venue.close()


# --- kill and clear ---------------------------------------------------------------------------------------------------


def killed(state: Mapping[str, Any], reason: str) -> tuple[dict[str, Any], Watch, Watch]:
    """A checkpoint with the kill latched; (the new one, safety before, safety after). Pure."""
    from botlib.watch import Watch

    before = Watch.from_record(state["watch"])
    after = before.kill(reason)
    return {**state, "watch": after.record()}, before, after


def cleared(state: Mapping[str, Any]) -> tuple[dict[str, Any], Watch, Watch, tuple[str, ...]]:
    """A checkpoint with the kill lifted, and a sentence for each thing that resets. Pure."""
    from botlib import safety
    from botlib.watch import Watch

    before = Watch.from_record(state["watch"])
    account = state["core"]["book"]["account"]
    after, said = before.cleared(float(account["equity"]))
    if not before.latched:
        return {**state, "watch": after.record()}, before, after, said
    book = {**state["core"]["book"], "account": {**account, "state": safety.ACTIVE, "peak": after.peak}}
    core = {**state["core"], "book": book}
    return {**state, "core": core, "watch": after.record(), "flatten": False}, before, after, said


def kill(desk: Desk, note: str = "") -> bool:
    """Latch the kill in the ledger, then cancel entries at the broker (and flatten where ``on_kill`` says so); whether
    the broker was dealt with, too. ``note``: why, for the record."""
    with desk.lease() as lease:
        _latch(desk, f"kill asked for by {person()}" + (f": {note}" if note else ""))
        if desk.subject.embedded:
            desk.say(f"[KILL] {GONE}.")
            return True
        try:
            _act(desk, lease, "kill", note)
            return True
        except BotlibError as error:
            desk.say(f"[PROBLEM] {error}")
            return _cancel_by_id(desk)


def _latch(desk: Desk, reason: str) -> None:
    state = desk.repository.checkpoint(desk.ledger.id)
    if state is None:
        raise InputError(f"ledger {desk.ledger.id} has no state yet: its session ended before its first pass, so that "
                         "nothing was traded and there is nothing to kill.")
    made, before, after = killed(state, reason)
    if before.latched:
        desk.say(f"[KILL] a kill stands already: {before.killed}")
        return
    with desk.repository.writing() as tx:
        _write(tx, desk.ledger.id, made, before, after)
    desk.say(f"[KILL] latched in the ledger: {reason}." + ("" if desk.subject.embedded else (
        " It outlives every restart; python -m botlib kill --clear alone lifts it.")))


def _write(tx: Transaction, ledger_id: int, state: Mapping[str, Any], before: Watch, after: Watch, *,
           clear: bool = False) -> None:
    from botlib.safety import STATE_NAMES
    from botlib.watch import changes

    now = pd.Timestamp.now("UTC")
    tx.checkpoint(ledger_id, state, time=now)
    tx.safety(ledger_id, state=STATE_NAMES[after.state], latched=after.latched, time=now, reason=after.reason,
              peak=after.peak, day=after.day.isoformat(), day_start=after.day_start, orders_today=after.orders_today,
              exits_today=dict(after.exits_today), clear=clear)
    for change in changes(before, after):
        tx.event(ledger_id, change.kind, {"text": change.text, "state": change.state, "by": person()}, time=now,
                 level=change.level)


def _act(desk: Desk, lease: Lease, kind: str, note: str = "") -> tuple[str, bool]:
    """Let the ledger's session carry out a request, as if it ran; what is still held, in words, and whether the market
    is open."""
    from botlib.session.reopening import carry_out, reopen

    with desk.venue() as venue:
        session = reopen(desk.params, venue, desk.repository, desk.ledger, root=desk.root, lease=lease)
        with desk.repository.writing() as tx:
            number = tx.request(desk.ledger.account_id, kind, by=person(), time=pd.Timestamp.now("UTC"), note=note)
        asked = [one for one in desk.repository.requests(desk.ledger.account_id) if one.id == number]
        report = carry_out(session, asked, seconds=desk.seconds, say=lambda one: _show(desk, one))
        clock = None if session.facts is None else session.facts.clock
    held = ", ".join(f"{shares:g} {symbol}" for symbol, shares in sorted(report.positions.items()))
    is_open = clock is None or clock.is_open
    later = "" if is_open or not report.open_orders else ": the market is closed"
    desk.say(f"[POSITIONS] {held or 'nothing'}; {plural(report.open_orders, 'order')} at the broker{later}")
    return held, is_open


def _show(desk: Desk, report: Any) -> None:
    from botlib.session.console import lines

    for line in lines(report, desk.params.safety):
        desk.say(line)


def _cancel_by_id(desk: Desk) -> bool:
    """The least that a kill does: entries end by their ids, without bars or a strategy; those whose answer was lost are
    looked up by the id they were written down with."""
    from botlib.session.reopening import check_account

    if desk.subject.embedded:
        return True
    core = (desk.repository.checkpoint(desk.ledger.id) or {"core": {"links": [], "intents": []}})["core"]
    known = [x["order_id"] for x in core["links"] if x["role"] == "entry" and not x["over"] and x["uid"] >= 0]
    unclear = [x["client_order_id"] for x in core["intents"]
               if x["purpose"] == "entry" and x["state"] in ("recorded", "sent", "unknown")]
    problems, cancelled = [], 0
    try:
        with desk.venue() as venue:
            check_account(desk.ledger, venue.broker.get_account_info(), venue)
            for name, find in [*((one, None) for one in known), *((one, venue.broker.order_by_client_id)
                                                                  for one in unclear)]:
                try:  # one that cannot be dealt with is no reason to leave the others
                    order_id = name
                    if find is not None:
                        found = find(name)
                        if found is None or not found.working:
                            continue
                        order_id = found.order_id
                    answer = venue.broker.cancel(order_id)
                except BotlibError as error:
                    problems.append(f"the entry {name} could not be cancelled: {error}")
                    continue
                cancelled += answer is None
                problems += [] if answer is None else [str(answer)]
    except BotlibError as error:
        problems.append(f"entries at the broker could not be cancelled: {error}")
    for text in problems:
        desk.say(f"[PROBLEM] {text}")
    desk.say(f"[KILL] {plural(cancelled, 'entry', 'entries')} cancelled by id; legs stay, and what they filled is "
             "protected at the next start")
    return not problems


def clear(desk: Desk, *, confirm: Callable[[tuple[str, ...]], bool]) -> bool:
    """Lift a kill; ``confirm`` is shown what resets. False: the person said no."""
    with desk.lease():
        state = desk.repository.checkpoint(desk.ledger.id)
        if state is None:
            desk.say("No kill stands; nothing was reset.")
            return True
        made, before, after, said = cleared(state)
        if before != after:
            if not confirm(said):
                return False
            with desk.repository.writing() as tx:
                _write(tx, desk.ledger.id, made, before, after, clear=True)
        for sentence in said:
            desk.say(f"[SAFETY] {sentence}")
    return True


def free(params: SessionParams, root: Path, environ: Mapping[str, str], *, env_file: Path | None) -> None:
    """Take an account away from a session on another host, on a person's word that it is dead. Raises `LeaseRefused`
    when it lives on this one."""
    from botlib.repository import Repository
    from botlib.session.venues import open_venue

    venue = open_venue(params, root, environ, env_file=env_file)
    try:
        account, me, now = venue.broker.get_account_info(), here(), pd.Timestamp.now("UTC")
        with Repository.open(params.database(environ), root=root) as repository:
            Lease.take(repository, account.account_id, f"person-{uuid.uuid4().hex[:12]}", state_folder=state_folder(),
                       now=now, host=me.host, pid=me.pid, boot_id=me.boot_id, take_over=True).release(now)
    finally:
        venue.close()


# --- flatten ----------------------------------------------------------------------------------------------------------


def flatten(desk: Desk) -> None:
    """Sell all that the ledger holds, at the market; entries and legs are cancelled first.

    Raises `InputError`, `BrokerError`; `BotlibError` when shares are left although the market is open: no session runs
    that would follow their sale.
    """
    if desk.subject.embedded:
        raise InputError(f"{GONE}.")
    with desk.lease() as lease:
        held, is_open = _act(desk, lease, "flatten")
    if held and is_open:
        raise BotlibError(f"{held} not sold within {desk.seconds:g} s, although the market is open; their stops were "
                          "cancelled for the sale. See how it ends with python -m botlib reconcile; python -m botlib "
                          "flatten sells what is left then.")
