"""The commands for any other shell: ``status``, ``trades``, ``stop``, ``flatten``, ``kill``, ``reconcile``, ``verify``.

Each is understood with ``live`` in front of it, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botlib import cli_status
from botlib.cli_parser import DONE, UNRECONCILED, Commands, Parser
from botlib.cli_permit import asker, say
from botlib.errors import BotlibError, InputError

if TYPE_CHECKING:
    from botlib.control_actions import Desk

CLEAR = "CLEAR"
"""What a person types to lift a kill."""

_STATUS = """\
How a session stands: its portfolio, positions, orders, limits and last events, from the ledger. Orders are all that may
still trade at the broker, stops and targets among them, also those that wait for their entry to fill; the session's own
lines count the same.
"""

_STOP = """\
Ask the running session to end in an orderly way, after the pass under way, and wait for its end.
"""
_FLATTEN = """\
Sell everything the ledger holds, at the market; entries and stops are cancelled first. A running session does it; with
none the broker is dealt with from here. Outside market hours the sales wait for the open. A session that goes on may
buy again at its next decision: end it with python -m botlib stop, or halt it with python -m botlib kill.
"""
_KILL = """\
Halt trading for good: entries are cancelled at once, stops and targets stay; with on_kill: flatten positions are sold.
The kill is written into the ledger and outlives every restart. A running session carries it out; with none it is
written and the broker dealt with from here. --clear alone lifts it.

examples:
  python -m botlib kill --reason "news"
  python -m botlib kill --clear
"""
_RECONCILE = """\
List what broker and ledger do not agree on: shares, cash, orders. --accept records your answer to all of it, with a
reason, so that the next start is clean: what the broker has beside the ledger is yours and left alone, what it lacks is
written off the ledger. The session must be stopped first.

examples:
  python -m botlib reconcile
  python -m botlib reconcile --accept --reason "bought by hand"

exit codes: 0 they agree, 4 they do not
"""

NAMES = ("status", "trades", "stop", "flatten", "kill", "reconcile", "verify")


def add(commands: Commands) -> None:
    """Add these commands."""
    status = commands.add("status", "how a session stands", _STATUS, run=cli_status.status)
    status.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    trades = commands.add("trades", "executions and profit", run=cli_status.trades)
    trades.add_argument("--symbol", metavar="TICKER", help="only this one")
    trades.add_argument("--limit", type=int, default=50, metavar="N", help="the last so many (default: 50)")
    stop = commands.add("stop", "end the running session", _STOP, run=_stop)
    flatten = commands.add("flatten", "sell all that a session holds", _FLATTEN, run=_flatten)
    kill = commands.add("kill", "halt trading for good, or lift that", _KILL, run=_kill)
    kill.add_argument("--clear", action="store_true", help="lift the kill; says what resets")
    kill.add_argument("--yes", action="store_true", help="with --clear: do not ask")
    reconcile = commands.add("reconcile", "what broker and ledger do not agree on", _RECONCILE, run=_reconcile)
    reconcile.add_argument("--accept", action="store_true", help="record your answer")
    verify = commands.add("verify", "check the ledger's chain of events", run=cli_status.verify)
    for one in (kill, reconcile):
        one.add_argument("--reason", default="", metavar="TEXT", help="for the record")
    for one in (status, trades, stop, flatten, kill, reconcile, verify):
        _where(one)
    for one in (stop, flatten, kill):
        one.add_argument("--wait", type=_seconds, default=10.0, metavar="SECONDS", help="for the answer (default: 10)")
    for one in (flatten, kill, reconcile):
        one.add_argument("--take-over", action="store_true", help="the session on another host is dead: my word")


def _where(parser: Parser) -> None:
    parser.add_argument("--db", default="trades.sqlite", metavar="DB", help="the ledger's database (default: "
                                                                            "trades.sqlite)")
    parser.add_argument("--account", metavar="ID", help="account id, its beginning, or the name of its keys; needed "
                                                        "where a database has several")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 600.0:
        raise argparse.ArgumentTypeError("0 to 600 seconds")
    return value


@contextmanager
def _desk(options: argparse.Namespace) -> Iterator[Desk]:
    from botlib import control
    from botlib.control_actions import Desk
    from botlib.project import project_root

    with cli_status.opened(options) as (repository, found):
        root = project_root(options.root)
        subject = control.choose(found, options.account, repository.shown)
        yield Desk(repository, subject, root, env_file=root / ".env", seconds=getattr(options, "wait", 10.0),
                   take_over=getattr(options, "take_over", False), say=say)


# --- asking, and acting where nobody can be asked ---------------------------------------------------------------------


class _Ended(BotlibError):
    """The session was over before it had seen a request."""


def _asked(desk: Desk, kind: str, note: str = "") -> str:
    """Ask the live session; its answer. Raises `BotlibError` when there is none, or when it died before it gave one."""
    from botlib import control

    subject = desk.subject
    say(f"[REQUEST] {kind}: asked of {control.who(subject)}, account {subject}")
    found = control.ask(desk.repository, subject, kind, note=note, seconds=desk.seconds,
                        gone=lambda: not control.again(desk.repository, subject).alive)
    if found is not None:
        return str(found.outcome)
    if not control.again(desk.repository, subject).alive:
        control.withdraw(desk.repository, subject, "withdrawn: its session had ended")
        raise _Ended(f"the session ended before it answered; python -m botlib {kind} once more acts without it.")
    raise BotlibError(control.unanswered(subject, kind, desk.seconds))


def _portfolio(desk: Desk) -> None:
    """How it stands after a request."""
    from botlib import control, control_view

    time.sleep(0.3)  # the answer is written before the pass that carries it out has ended
    for line in control_view.status(desk.repository, control.again(desk.repository, desk.subject)):
        if line.startswith(("[SESSION]", "[PORTFOLIO]", "[SAFETY]")):
            say(line)


def _alone(desk: Desk) -> bool:
    """Whether nobody trades the account, so that this process may; requests that were never answered are withdrawn."""
    from botlib import control

    alone = not desk.subject.alive or (desk.subject.life == "elsewhere" and desk.take_over)
    if alone:
        control.withdraw(desk.repository, desk.subject, "withdrawn: its session had ended")
    return alone


def _stop(options: argparse.Namespace) -> int:
    from botlib import control

    with _desk(options) as desk:
        if _alone(desk):
            say(f"[STOP] no session is running on account {desk.subject}; nothing to stop")
            return DONE
        try:
            _asked(desk, "stop")
        except _Ended:  # which is what was wanted
            say("[STOP] the session ended by itself before it had seen the request: python -m botlib status")
            return DONE
        ended = control.wait_for_end(desk.repository, desk.subject, seconds=desk.seconds)
        if ended is None:
            raise BotlibError(f"the session has taken the request and has not ended within {desk.seconds:g} s: it may "
                              "be waiting for the broker. python -m botlib status shows how it stands.")
        say(f"[STOP] ended: {ended.status}{f' ({ended.reason})' if ended.reason else ''}")
    return DONE


def _flatten(options: argparse.Namespace) -> int:
    from botlib import control_actions

    with _desk(options) as desk:
        if _alone(desk):
            control_actions.flatten(desk)
            return DONE
        say(f"[FLATTEN] {_asked(desk, 'flatten')}")
        orders = _sales(desk)
        _portfolio(desk)
        for line in orders:
            say(line)
        say("[FLATTEN] the session goes on and may buy again at its next decision: python -m botlib stop ends it, "
            "python -m botlib kill halts it")
    return DONE


def _sales(desk: Desk) -> list[str]:
    """The ledger's working orders, once entries and stops have ended and the sales are sent, or time is up."""
    from botlib import control_view

    until = time.monotonic() + desk.seconds
    while True:
        orders = desk.repository.orders(desk.ledger.id, working=True)
        marks = desk.repository.equity(desk.ledger.id, limit=1)
        held = {symbol for positions in marks["positions"] for symbol in positions or ()}
        if set(orders["role"]) <= {"exit"}:
            if held <= set(orders["symbol"]):
                break
            until = min(until, time.monotonic() + 1.0)  # sold already, as it seems
        if time.monotonic() >= until:
            break
        time.sleep(0.1)
    return [control_view.order(row) for row in orders.itertuples()]


def _kill(options: argparse.Namespace) -> int:
    from botlib import control_actions

    if options.yes and not options.clear:
        raise InputError("--yes belongs to --clear; a kill does not ask.")
    with _desk(options) as desk:
        if options.clear:
            return _clear(desk, options)
        if _alone(desk):
            if not control_actions.kill(desk, options.reason):
                raise BotlibError("the kill stands in the ledger; the broker could not be dealt with, see above. "
                                  "Cancel open entries at the broker, or repeat: python -m botlib kill")
            return DONE
        try:
            say(f"[KILL] {_asked(desk, 'kill', options.reason)}")
        except _Ended:
            safety = desk.repository.safety(desk.ledger.id)
            if safety is None or not safety.latched:
                raise
            say(f"[KILL] the session has ended, and a kill stands: {safety.reason}")
        _portfolio(desk)
    return DONE


def _clear(desk: Desk, options: argparse.Namespace) -> int:
    from botlib import control_actions

    if _alone(desk):
        done = control_actions.clear(desk, confirm=lambda said: _sure(options, said))
        if not done:
            raise InputError("the kill stands: the word was not typed.")
        return DONE
    state = desk.repository.checkpoint(desk.ledger.id)
    lifted = None if state is None else control_actions.cleared(state)
    safety = desk.repository.safety(desk.ledger.id)
    if lifted is None or safety is None or (lifted[1] == lifted[2] and not safety.latched):
        say("[SAFETY] No kill stands; nothing was reset.")
        return DONE
    if not _sure(options, lifted[3]):
        raise InputError("the kill stands: the word was not typed.")
    say(f"[KILL] {_asked(desk, 'clear', options.reason)}")
    _portfolio(desk)
    return DONE


def _sure(options: argparse.Namespace, said: tuple[str, ...]) -> bool:
    """Whether a person lifts a kill, knowing what resets."""
    if options.yes:
        return True
    ask = asker()
    if ask is None:
        raise InputError("kill --clear asks a person to type a word, and here nobody can: use a terminal, or give "
                         "--yes.")
    what = "\n".join(f"  {sentence}" for sentence in said)
    return ask(f"If you lift the kill:\n{what}\nType {CLEAR} to lift it.").strip() == CLEAR


def _reconcile(options: argparse.Namespace) -> int:
    from botlib import control, control_reconcile

    if options.reason and not options.accept:
        raise InputError("--reason belongs to --accept.")
    if options.accept and not options.reason.strip():
        raise InputError("--accept needs a --reason for the record, e.g. --reason \"bought by hand\".")
    with _desk(options) as desk:
        if desk.subject.alive and not _alone(desk) and (options.accept or desk.subject.embedded):
            if options.accept:
                raise InputError(f"{control.who(desk.subject)} trades account {desk.subject}: stop it first (python -m "
                                 "botlib stop), then accept, then start it again.")
            return _told(desk)
        if options.accept:
            said = control_reconcile.accept(desk, options.reason)
            for line in said or ["broker and ledger agree; there is nothing to accept"]:
                say(f"[RECONCILE] {line}")
            return DONE
        found, bare = control_reconcile.reconcile(desk)
        for line in found:
            say(f"[UNEXPLAINED] {line}")
        for line in () if desk.subject.alive else bare:  # a session that runs sees to it
            say(f"[UNPROTECTED] {line}")
        if not found:
            say(f"[RECONCILE] broker and ledger agree, account {desk.subject}")
    return UNRECONCILED if found else DONE


def _told(desk: Desk) -> int:
    """Of an exchange within the session's process: what the session itself says."""
    state = desk.repository.checkpoint(desk.ledger.id)
    held = "" if state is None else state["watch"]["holds"].get("unexplained", "")
    say(f"[UNEXPLAINED] {held}" if held else
        f"[RECONCILE] the session finds that broker and ledger agree, account {desk.subject}")
    return UNRECONCILED if held else DONE
