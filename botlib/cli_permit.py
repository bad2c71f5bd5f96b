"""What was typed, as parameters; and the typed line: in this terminal, or beforehand by ``live arm``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botlib.cli_parser import DONE
from botlib.errors import EvidenceMissing, InputError

if TYPE_CHECKING:
    from botlib.going_live import Armed
    from botlib.session_config import SessionParams

_PLAIN = ("symbols", "period", "interval", "iterations", "venue", "account", "capital", "db", "orders", "until",
          "enable_live")


def values(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    """The flags as parameters."""
    from botlib.cli_runs import typed_strategy

    given = {name: getattr(options, name) for name in _PLAIN if getattr(options, name, None) is not None}
    if options.strategy is not None:
        given["strategy"] = typed_strategy(options.strategy, root)
    for name in ("max_drawdown", "max_daily_loss"):
        if getattr(options, name) is not None:
            given[f"safety.{name}_pct"] = getattr(options, name)
    return given


def session_params(options: argparse.Namespace, kind: str, root: Path) -> SessionParams:
    """The parameters without a notebook."""
    from botlib import hygiene, job
    from botlib.project import typed_path
    from botlib.session_config import SessionParams

    configs = [typed_path(file, root, "parameter file") for file in options.config]
    params, _, _ = job.settled(kind, base=root, configs=configs, sets=options.sets, flags=values(options, root),
                               secrets=hygiene.environment_secrets(os.environ))
    assert isinstance(params, SessionParams)
    return params


def say(line: str) -> None:
    """Print a line at once. A reader that goes away (| head) ends the printing, not the session."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def typed_now(params: SessionParams, options: argparse.Namespace, root: Path) -> Iterator[None]:
    """A person at this terminal types the line here: the notebook's kernel has no keyboard, so that what was typed goes
    to it as an arm for this one session. If none starts, the arm ends with the command."""
    from botlib import going_live

    number = _type_line(params, options, root)
    try:
        yield
    finally:
        if number is not None and going_live.give_back(params, number, root=root):
            say(f"[LIVE] no session has started: what was typed (arm {number}) is taken back")


def _type_line(params: SessionParams, options: argparse.Namespace, root: Path) -> int | None:
    import pandas as pd

    from botlib.keyboard import keyboard

    if keyboard() is None:
        return None  # an arm is needed, and looked for in the notebook
    return _armed(params, options, root, sessions=1, until=pd.Timestamp.now("UTC") + pd.Timedelta(hours=1)).number


def _armed(params: SessionParams, options: argparse.Namespace, root: Path, *, sessions: int, until: Any) -> Armed:
    """What a person types; before it, the names of evidence to do without."""
    from botlib import going_live
    from botlib.keyboard import keyboard

    waive = list(options.waive)
    while True:
        try:
            return going_live.arm_from_params(params, sessions=sessions, until=until, waive=waive, ask=keyboard(),
                                              root=root)
        except InputError as error:
            waive = waived_now(error, waive)


def waived_now(error: InputError, waived: list[str]) -> list[str]:
    """Let a person at a terminal waive missing evidence by typing its names; raises the refusal otherwise."""
    from botlib.keyboard import keyboard

    ask = keyboard()
    if not isinstance(error, EvidenceMissing) or ask is None:
        raise error
    typed = ask(f"{error}\n\nType the names ({' '.join(error.missing)}) to waive them, or press Enter to leave "
                "it.").split()
    if not set(error.missing) <= set(typed):
        raise error
    return [*waived, *error.missing]


def arm(options: argparse.Namespace) -> int:
    from botlib.project import project_root

    root = project_root(options.root)
    params = session_params(options, "live", root)
    say(_armed(params, options, root, sessions=options.sessions, until=options.good_until).text)
    return DONE


def _of_database(options: argparse.Namespace) -> SessionParams:
    from botlib.session_config import LiveParams

    return LiveParams(**({} if options.db is None else {"db": options.db}))


def arms(options: argparse.Namespace) -> int:
    from botlib import going_live
    from botlib.project import project_root

    table = going_live.arms_table(_of_database(options), root=project_root(options.root))
    say("no arm: python -m botlib live arm" if table.empty else table.to_string(index=False))
    return DONE


def disarm(options: argparse.Namespace) -> int:
    from botlib import going_live
    from botlib.project import project_root

    say(going_live.disarm(_of_database(options), options.number, root=project_root(options.root)))
    return DONE
