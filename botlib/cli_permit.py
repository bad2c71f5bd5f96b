"""What was typed, as parameters; and the typed line: in this terminal, or beforehand by ``live arm``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
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
_INDENT = len("[PORTFOLIO] ")


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
    """The parameters of a session that runs without its notebook: the same as with it, what nothing sets being the
    notebook's. A project that has no notebook has the library's defaults."""
    from botlib import hygiene, job
    from botlib.project import typed_path
    from botlib.session_config import SessionParams

    named = getattr(options, "notebook", None)
    given: dict[str, Any] = {
        "configs": [typed_path(file, root, "parameter file") for file in options.config], "sets": options.sets,
        "flags": values(options, root), "secrets": hygiene.environment_secrets(os.environ)}
    if named is None and not (root / job.NOTEBOOKS[kind]).is_file():
        params = job.settled(kind, base=root, **given)[0]
    else:
        params = job.prepare(kind, notebook=named and typed_path(named, root, "notebook"), root=root, **given).params
    assert isinstance(params, SessionParams)
    return params


def say(text: str) -> bool:
    """Print lines at once; whether they were read. A reader that goes away (| head) ends the printing, not the session.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    try:
        print("\n".join(fitted(line, width) for line in text.split("\n")) if width else text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def fitted(line: str, width: int) -> str:
    """A line of figures broken at its bars, where it is wider than the screen: the rest is set in."""
    first, *parts = line.split(" | ")
    rows = [first]
    for part in parts:
        if len(rows[-1]) + len(part) + 5 > width:  # " | " before it, " |" after it
            rows[-1] += " |"
            rows.append(" " * _INDENT + part)
        else:
            rows[-1] += f" | {part}"
    return "\n".join(rows) if len(line) > width else line


def asker() -> Callable[[str], str] | None:
    """`botlib.keyboard.keyboard`, where Ctrl-C at the prompt is an answer, too: no."""
    from botlib.keyboard import keyboard

    ask = keyboard()
    if ask is None:
        return None

    def asked(text: str) -> str:
        try:
            return ask(text)
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            raise InputError("Ctrl-C at the prompt: nothing was typed, and nothing was started or changed.") from None

    return asked


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

    waive = list(options.waive)
    while True:
        try:
            return going_live.arm_from_params(params, sessions=sessions, until=until, waive=waive, ask=asker(),
                                              root=root)
        except InputError as error:
            waive = waived_now(error, waive)


def waived_now(error: InputError, waived: list[str]) -> list[str]:
    """Let a person at a terminal waive missing evidence by typing its names; raises the refusal otherwise."""
    from botlib.arming import WAIVABLE

    ask = asker()
    if not isinstance(error, EvidenceMissing) or ask is None:
        raise error
    lacking = "\n".join(f"  {name:<15}{WAIVABLE[name]}" for name in error.missing)
    typed = ask(f"Before live trading, this is missing:\n{lacking}\n\nType the names ({' '.join(error.missing)}) to "
                "waive them, which is put on record, or press Enter to leave it.").split()
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
