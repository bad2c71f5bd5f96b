"""The commands that only look into the ledger: ``status``, ``trades``, ``verify``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botlib.cli_parser import DONE, UNRECONCILED
from botlib.cli_permit import say
from botlib.errors import InputError

if TYPE_CHECKING:
    from botlib.control import Subject
    from botlib.repository import Repository

_EVERY_SECONDS = 2.0


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[tuple[Repository, list[Subject]]]:
    """The database that was named, and its ledgers. Raises `InputError`, `RepositoryError`."""
    from botlib import control
    from botlib.project import project_root
    from botlib.repository import Repository
    from botlib.session_checks import database  # of the parameters no more is imported: a kill waits for nothing

    db = database(options.db, os.environ)
    with Repository.open(db, root=project_root(options.root), create=False, checked=False) as repository:
        yield repository, control.subjects(repository)


def status(options: argparse.Namespace) -> int:
    """How a session stands, once or again and again."""
    from botlib import control, control_view

    with opened(options) as (repository, found):
        subject = control.choose(found, options.account, repository.shown)
        if not options.watch:
            say("\n".join(control_view.status(repository, subject)))
            return DONE
        try:
            while True:
                head = "\x1b[H\x1b[2J" if sys.stdout.isatty() else ""
                said = control_view.status(repository, control.again(repository, subject))
                if not say(f"{head}--- {control_view.stamp()}, Ctrl-C ends it\n" + "\n".join(said)):
                    return DONE  # nobody reads it any more
                time.sleep(_EVERY_SECONDS)
        except KeyboardInterrupt:
            return DONE


def trades(options: argparse.Namespace) -> int:
    """Executions and profit."""
    from botlib import control, control_view

    if options.limit < 1:
        raise InputError(f"--limit {options.limit}: give 1 or more.")
    with opened(options) as (repository, found):
        subject = control.choose(found, options.account, repository.shown)
        say("\n".join(control_view.trades(repository, subject, symbol=options.symbol, limit=options.limit)))
    return DONE


def verify(options: argparse.Namespace) -> int:
    """Whether ledgers are as they were written."""
    from botlib import control, control_view

    with opened(options) as (repository, found):
        if options.account is not None:
            found = [control.choose(found, options.account, repository.shown)]
        if not found:
            control.choose(found, None, repository.shown)
        checked = [(one, repository.verify(one.ledger.id)) for one in found]
    for one, result in checked:
        say(control_view.verified(one, result))
    return DONE if all(result.ok for _, result in checked) else UNRECONCILED
