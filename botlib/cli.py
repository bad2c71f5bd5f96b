"""The command line. It reads words, calls the library and says what happened; it decides nothing.

Exit codes: 0 done, 1 crash (also of a strategy's own code: a folder …_failed is left), 2 refused (your input; nothing
is left), 3 halted by a kill, 4 unreconciled, 128 + n stopped by signal n.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botlib import __version__, cli_control, cli_learn, cli_live, cli_runs
from botlib.cli_parser import (
    CRASHED,
    DONE,
    PROGRAM,
    REFUSED,
    Commands,
    Parser,
    check_symbols,
    nearest_flag,
)
from botlib.errors import BotlibError, InputError, LeaseRefused, nearest

_HELP = """\
From a trading idea to an executed backtest notebook.

first steps:
  python -m botlib backtest                 run the backtest notebook on the bars that ship with botlib
  python -m botlib new my_idea              write a strategy of your own, ready to run
  python -m botlib backtest --config parameters/my_idea.yaml
  python -m botlib open parameters/my_idea.yaml    the same run as a notebook for JupyterLab
  python -m botlib live paper --config parameters/paper.yaml --iterations 3    a session on the local exchange
  python -m botlib status                   how it stands, from any other shell; stop ends it
  python -m botlib learn --config parameters/paper.yaml    after sessions: are other parameters better? a proposal
  python -m botlib sandbox                  a local Alpaca to trade on, no keys needed
"""


def _parser() -> tuple[Parser, dict[str, Parser]]:
    top = Parser(prog=PROGRAM, description=_HELP)
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = Commands(top)
    cli_runs.add(commands)
    cli_live.add(commands)
    cli_control.add(commands)
    cli_learn.add(commands)
    return top, commands.found


def main(argv: Sequence[str] | None = None, interrupt: Any = None) -> int:
    """Run the command line; returns the exit code. ``interrupt``: a handler of SIGINT to set first."""
    words = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to stop
    try:
        if interrupt is not None:
            signal.signal(signal.SIGINT, interrupt)
        return _run(words)
    except (InputError, LeaseRefused) as error:
        return _say(str(error), REFUSED)
    except BotlibError as error:
        signum = getattr(error, "signum", None)
        return _say(_with_log(error), CRASHED if signum is None else 128 + signum)
    except KeyboardInterrupt:
        return _say("stopped", 130)
    except BrokenPipeError:  # the reader of our output went away (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CRASHED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            return _say(_crash(error), CRASHED)
        return _say(f"{error.filename or 'a file'} cannot be written or read ({error.strerror}): free some space on "
                    "its disk, or see to the rights of its folder", CRASHED)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != "botlib":
            return _say(f"botlib's libraries are not in this Python ({sys.executable}): {error.name} is missing. Use "
                        "the environment that `make run` made: source .venv/bin/activate", REFUSED)
        return _say(_crash(error), CRASHED)
    except Exception as error:
        return _say(_crash(error), CRASHED)


def _run(words: list[str]) -> int:
    top, commands = _parser()
    if len(words) > 1 and words[0] == "live" and words[1] in cli_control.NAMES:
        words = words[1:]  # said either way
    _check_command(words, commands)
    try:
        options, unknown = top.parse_known_args(words)
    except SystemExit as end:  # --help
        return int(end.code or 0)
    typed = getattr(options, "words", "")
    if unknown:
        known = commands[typed].options() if typed else top.options()
        raise InputError(f"{unknown[0]} is not understood{nearest_flag(unknown[0], known) or '.'} "
                         f"See: {' '.join(filter(None, [PROGRAM, typed]))} --help")
    check_symbols(getattr(options, "symbols", None))
    if options.version:
        print(f"botlib {__version__}")
    elif getattr(options, "run", None) is None:
        (commands[typed] if typed else top).print_help()
    else:
        return int(options.run(options))
    return DONE


def _check_command(words: list[str], commands: dict[str, Parser]) -> None:
    """Refuse a command that there is not, with the nearest one."""
    first = [name for name in commands if " " not in name]
    inner = [name.removeprefix("live ") for name in commands if name.startswith("live ")] + list(cli_control.NAMES)
    for typed, before, valid in ((words[:1], "", first), (words[1:2] if words[:1] == ["live"] else [], "live ", inner)):
        if typed and not typed[0].startswith("-") and typed[0] not in valid:
            raise InputError(f"there is no command {(before + typed[0])!r}{nearest(typed[0], valid) or '.'} "
                             f"Valid: {', '.join(valid)}.")


def _say(text: str, code: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return code


def _with_log(error: BotlibError) -> str:
    log = getattr(error, "log", None)
    return f"{error}; log: {log}" if log is not None else str(error)


def _crash(error: Exception) -> str:
    """One line for the screen; the traceback goes beside the runs, or to a temporary file when there is no project."""
    import traceback

    from botlib import hygiene

    secrets = hygiene.environment_secrets(os.environ)
    folder = Path.cwd() / "outputs"
    try:
        descriptor, name = tempfile.mkstemp(prefix="crash-", suffix=".log", dir=folder if folder.is_dir() else None)
    except OSError:
        descriptor, name = tempfile.mkstemp(prefix="crash-", suffix=".log")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(hygiene.mask("".join(traceback.format_exception(error)), secrets))
    except OSError:
        name = "none, its disk is full"
    text = (str(error).strip().splitlines() or ["no message"])[0][:200]
    return str(hygiene.mask(f"{type(error).__name__}: {text}; log: {name}", secrets))
