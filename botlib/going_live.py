"""Before a live session: the terms, the evidence there is, the typed line or an arm. What `botlib.arming` decides on is
read here: the account, the ledger, past runs, this kernel's server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

import botlib
from botlib import arming, live_evidence
from botlib.arming import NOT_PERMITTED, Evidence, Permission, Terms
from botlib.calendars import day_of
from botlib.errors import InputError
from botlib.project import project_root
from botlib.repository import Repository
from botlib.repository.hosts import here
from botlib.strategies.loading import strategy_hash
from botlib.terms import limits, limits_hash, params_hash
from botlib.wording import plural, utc

if TYPE_CHECKING:
    from botlib.brokers.base import AccountInfo
    from botlib.repository.rows import LedgerRow
    from botlib.session.venues import Venue
    from botlib.session_config import SessionParams

Ask = Callable[[str], str]
"""Shows a text and returns the line that a person typed; see `botlib.keyboard`."""

OUTPUTS = "outputs"
"""Folder of all runs, below the project's root."""


def check_venue(params: SessionParams, venue: str) -> None:
    """Refuse real money in a paper session, and play money in a live one. Raises `InputError`.

    Parameters
    ----------
    venue : str
        "sandbox", "alpaca-paper" or "alpaca-live". The local exchange takes both: it is where either is rehearsed.
    """
    if venue == ("alpaca-live" if params.kind == "paper" else "alpaca-paper"):
        raise InputError(f"a {params.kind} session does not trade on an account of {venue}: take the other keys, or "
                         "start the other kind of session.")


def moment(venue: Venue) -> pd.Timestamp:
    """The time that arms run by: the broker's; of a local exchange, whose time is made up, this machine's."""
    return pd.Timestamp.now("UTC") if venue.here is None else venue.broker.clock().time


def terms_of(params: SessionParams, hashed: str, account: AccountInfo, venue: Venue, capital: float) -> Terms:
    """What permission is asked for. ``hashed``: the strategy's hash; ``capital`` in dollars."""
    number = account.account_number
    masked = f"{number[:2]}…{number[-3:]}" if len(number) > 6 else number
    return Terms(account_id=account.account_id, account=f"{masked} ({venue.title})", venue=venue.kind,
                 strategy=str(params.strategy["name"]), strategy_hash=hashed, params_hash=params_hash(params),
                 limits_hash=limits_hash(params), limits=limits(params) or {}, symbols=tuple(sorted(params.symbols)),
                 interval=params.interval, orders=params.orders, capital=capital, version=botlib.__version__)


# --- a session --------------------------------------------------------------------------------------------------------


def permission(repository: Repository, params: SessionParams, terms: Terms, found: Sequence[Evidence], *,
               now: pd.Timestamp, waived: str | Sequence[str] = (), confirm: Ask | None = None, holds: bool = False,
               crashed_arm: int | None = None) -> Permission:
    """Whether a live session may trade: by the line typed now, or by an arm.

    Parameters
    ----------
    waived : str or sequence of str
        What a person who types the line waives by name; an arm has its own.
    confirm : function, optional
        Shows the banner and returns the line that a person typed; None: nobody is there.
    holds : bool
        Whether the ledger has positions or orders: without an arm they are still looked after.
    crashed_arm : int, optional
        The arm of the session that crashed before this one.

    Raises
    ------
    InputError
        No permission, and nothing to look after.
    """
    params.require_enabled()
    arming.check_terms(terms)
    given = arming.waivers(waived)
    record = {"account_id": terms.account_id, "venue": terms.venue, "hashes": terms.hashes(), "version": terms.version}
    if confirm is not None:
        arming.check_missing(arming.missing(found, given))
        arming.check_line(confirm(arming.banner(terms, found, given)))
        text = "typed by a person" + (f"; waived: {', '.join(given)}" if given else "")
        return Permission(trades=True, text=text, waived=given, record=record)
    arms = repository.arms()
    again = [one for one in arms if one.id == crashed_arm and not arming.differences(one, terms, now)]
    arm, why = (again[0], "") if again else arming.usable(arms, terms, now)
    if arm is not None:
        exposed = arming.missing([one for one in found if one.name == live_evidence.JUPYTER], arm.waived)
        if not exposed:
            which = "going on after a crash" if again else f"session {arm.used + 1} of {arm.sessions}"
            return Permission(trades=True, text=f"arm {arm.id}, {which}{arming.of_version(arm, terms)}", arm_id=arm.id,
                              spends=not again, waived=arming.waivers(arm.waived),
                              record={**record, "typed": arm.typed.isoformat(), "armed_version": arm.version})
        why = f"{'; '.join(arming.WAIVABLE[name] for name in exposed)}, and arm {arm.id} does not waive it"
    if holds:
        return Permission(trades=False, text=f"only exits: {why}", record=record)
    raise InputError(f"live trading refused: {why}. A person types the line when the session asks in a terminal or a "
                     "notebook, or beforehand, with the same parameters: python -m botlib live arm.")


def for_session(params: SessionParams, venue: Venue, repository: Repository, session: Any, ledger: LedgerRow,
                account: AccountInfo, *, hashed: str, base: Path, confirm: Ask | None,
                waived: str | Sequence[str]) -> Permission | None:
    """`permission` for a session that is ready for its first pass; None: a paper session, which needs none.

    Without it the session's safety holds it to exits, and lets it go with the next one that has it.
    """
    if params.kind != "live":
        if arming.waivers(waived):
            raise InputError("waive: a paper session needs no permission; take it out.")
        allowed = None
    else:
        terms = terms_of(params, hashed, account, venue, float(ledger.capital or params.capital or account.equity))
        found = live_evidence.evidence(repository, base / OUTPUTS, terms, feed=params.feed)
        allowed = permission(repository, params, terms, found, now=moment(venue), waived=waived, confirm=confirm,
                             holds=bool(session.core.positions() or session.core.working),
                             crashed_arm=crashed_arm(repository, ledger.id, moment(venue)))
    watch = session.memory.watch
    session.memory.watch = (watch.released(NOT_PERMITTED) if allowed is None or allowed.trades
                            else watch.held(NOT_PERMITTED, allowed.text))
    return allowed


def crashed_arm(repository: Repository, ledger_id: int, now: pd.Timestamp) -> int | None:
    """The arm of the ledger's last session, when that one crashed: it never ended, or it ended with an error on this
    exchange date. Another day's is another session."""
    started = repository.events(ledger_id, kind="session-started", limit=1)  # by number: times may be equal
    last = None if started.empty else repository.session(str(started["session_id"].iloc[0]))
    if last is None or last.status not in ("running", "error"):
        return None
    if last.status == "error" and day_of(started["time"].iloc[0]) != day_of(now):
        return None
    permitted = repository.events(ledger_id, kind="session-permitted", limit=1)
    if permitted.empty or permitted["session_id"].iloc[0] != last.id:
        return None
    arm = permitted["data"].iloc[0].get("arm")
    return None if arm is None else int(arm)


def spend(tx: Any, allowed: Permission, now: pd.Timestamp) -> None:
    """Take the session off its arm, in the transaction that records its start. Raises `InputError` when none is left:
    another session was faster, or the arm was taken back meanwhile."""
    if allowed.spends and not tx.arm_used(allowed.arm_id, time=now):
        raise InputError(f"live trading refused: arm {allowed.arm_id} has no session left, is over or was taken back.")


# --- the command line, and a notebook's text field --------------------------------------------------------------------


class Armed(NamedTuple):
    """What `arm_from_params` has recorded."""

    number: int
    text: str


def preview(params: SessionParams, *, waive: str | Sequence[str] = (), root: str | Path | None = None,
            environ: Mapping[str, str] | None = None) -> str:
    """The banner that a live session of these parameters would show now: account, limits, strategy, evidence.

    Raises as `arm_from_params`.
    """
    given = arming.waivers(waive)
    with _asked(params, root, environ) as (_, terms, found, _now):
        return arming.banner(terms, found, given)


def arm_from_params(params: SessionParams, *, sessions: int = 1, until: object = None,
                    waive: str | Sequence[str] = (),
                    ask: Ask | None, root: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Armed:
    """Let a person arm headless sessions of exactly these parameters: banner, typed line, record.

    Parameters
    ----------
    params : SessionParams
        `LiveParams`.
    sessions : int
        1 to 5.
    until : str, date or Timestamp
        Last day, YYYY-MM-DD (its end in New York), or a time with its zone; at most 31 days from now, the default.
    waive : str or sequence of str
        Names of evidence that a person does without; recorded with the arm.
    ask : function
        Shows the banner and returns what was typed: `botlib.keyboard.keyboard()`; None: nobody can type, refused.

    Returns
    -------
    Armed
        Its number, and what was armed in a sentence.

    Raises
    ------
    InputError
        A paper session, a value out of range, evidence missing and not waived, another line.
    BrokerError, RepositoryError
    """
    latest = pd.Timestamp.now("UTC") + pd.Timedelta(days=arming.MAX_DAYS)
    given, end = arming.waivers(waive), latest if until is None else arming.until_of(until)
    arming.check_arm(sessions, end, end - pd.Timedelta(seconds=1))  # the number, before anything is opened
    if ask is None:
        raise InputError("live arm: the line is typed by a person, in a terminal; here nobody can type.")
    with _asked(params, root, environ) as (repository, terms, found, now):
        end = now + pd.Timedelta(days=arming.MAX_DAYS) if until is None else end
        arming.check_arm(sessions, end, now)
        arming.check_missing(arming.missing(found, given))
        allows = f"{plural(sessions, 'headless session')} until {utc(end)}"
        arming.check_line(ask(arming.banner(terms, found, given, allows=allows)))
        with repository.writing() as tx:
            number = tx.arm(terms.account_id, strategy=terms.strategy, strategy_hash=terms.strategy_hash,
                            params_hash=terms.params_hash, limits=arming.limits_record(terms), sessions=sessions,
                            until=end, time=now, version=terms.version, waived=list(given), host=here().host)
    waived = f" Waived: {', '.join(given)}." if given else ""
    return Armed(number, f"arm {number}: {allows}, for {terms.strategy} on {terms.account}.{waived} Start it with the "
                         f"same parameters and --enable-live; take it back with python -m botlib live disarm {number}.")


def give_back(params: SessionParams, number: int, *, root: str | Path | None = None,
              environ: Mapping[str, str] | None = None) -> bool:
    """End an arm that no session has used; whether it was so."""
    with _database(params, root, environ) as repository:
        if any(one.id == number and one.used == 0 and one.revoked is None for one in repository.arms()):
            with repository.writing() as tx:
                return tx.arm_revoked(number, time=pd.Timestamp.now("UTC"))
    return False


def arms_table(params: SessionParams, *, root: str | Path | None = None, environ: Mapping[str, str] | None = None,
               now: pd.Timestamp | None = None) -> pd.DataFrame:
    """The arms of the parameters' database, newest first: arm, state, sessions, used, until, account, strategy, waived,
    typed, host, version; times as text. Raises `InputError` when there is no such database."""
    now = pd.Timestamp.now("UTC") if now is None else now
    with _database(params, root, environ) as repository:
        rows = [(one.id, arming.standing(one, now), one.sessions, one.used, utc(one.until), f"…{one.account_id[-6:]}",
                 f"{one.strategy} ({one.strategy_hash[:12]})", ", ".join(one.waived or ()), utc(one.typed), one.host,
                 one.version) for one in reversed(repository.arms())]
    return pd.DataFrame(rows, columns=["arm", "state", "sessions", "used", "until", "account", "strategy", "waived",
                                       "typed", "host", "version"])


def disarm(params: SessionParams, number: int | None = None, *, root: str | Path | None = None,
           environ: Mapping[str, str] | None = None, now: pd.Timestamp | None = None) -> str:
    """Take one arm back, or with None all of the parameters' database; a sentence. Needs no line: it allows less.

    One that is used up or over is left as it is, unless a session that crashed could go on with it.

    Raises
    ------
    InputError
        There is no such arm, or no such database.
    """
    now = pd.Timestamp.now("UTC") if now is None else now
    with _database(params, root, environ) as repository:
        arms = {one.id: one for one in repository.arms()}
        if number is not None and number not in arms:
            there = f"There are {', '.join(map(str, arms))}." if arms else "There is none."
            raise InputError(f"arm {number} is not in this database. {there}")
        going = {crashed_arm(repository, one.id, now) for one in repository.ledgers()}
        with repository.writing() as tx:
            taken = [n for n, one in arms.items() if number in (None, n)
                     and arming.allows(one, now, going_on=n in going) and tx.arm_revoked(n, time=now)]
    if not taken:
        return "no arm to take back" if number is None else (
            f"arm {number} was {arming.standing(arms[number], now)} before: there is nothing to take back")
    return (f"taken back: arm {', '.join(map(str, taken))}. A session that runs on it goes on: python -m botlib stop "
            "ends it.")


@contextmanager
def _database(params: SessionParams, root: str | Path | None,
              environ: Mapping[str, str] | None) -> Iterator[Repository]:
    found = os.environ if environ is None else environ
    with Repository.open(params.database(found), root=project_root(root), create=False) as repository:
        yield repository


@contextmanager
def _asked(params: SessionParams, root: str | Path | None, environ: Mapping[str, str] | None
           ) -> Iterator[tuple[Repository, Terms, list[Evidence], pd.Timestamp]]:
    """The account, the ledger and what has gone before, as a session that started now would find them."""
    from botlib.session.venues import open_venue

    if params.kind != "live":
        raise InputError("only a live session is armed; a paper session needs no permission.")
    base, found = project_root(root), dict(os.environ if environ is None else environ)
    hashed = strategy_hash(params.load_strategy(base))
    venue = open_venue(params, base, found, env_file=base / ".env" if environ is None else None)
    try:
        check_venue(params, venue.kind)
        account = venue.broker.get_account_info()
        with Repository.open(params.database(found), root=base) as repository:
            ledgers = {(one.account_id, one.epoch): one.capital for one in repository.ledgers()}
            capital = ledgers.get((account.account_id, venue.epoch)) or params.capital or account.equity
            terms = terms_of(params, hashed, account, venue, capital)
            arming.check_terms(terms)
            evidence = live_evidence.evidence(repository, base / OUTPUTS, terms, feed=params.feed,
                                              servers=lambda: live_evidence.running_servers(anywhere=True))
            yield repository, terms, evidence, moment(venue)
    finally:
        venue.close()
