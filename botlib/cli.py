"""The command line. It reads words, calls the library and says what happened; it decides nothing.

Exit codes: 0 done, 1 crash (also of a strategy's own code: a folder …_failed is left), 2 refused (your input; nothing
is left), 128 + n stopped by signal n.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from botlib import __version__
from botlib.errors import BotlibError, InputError, nearest

DONE, CRASHED, REFUSED = 0, 1, 2
_PROGRAM = "python -m botlib"

_HELP = """\
From a trading idea to an executed backtest notebook.

first steps:
  python -m botlib backtest                 run the backtest notebook on the bars that ship with botlib
  python -m botlib new my_idea              write a strategy of your own, ready to run
  python -m botlib backtest --config parameters/my_idea.yaml
  python -m botlib open parameters/my_idea.yaml    the same run as a notebook for JupyterLab
  python -m botlib sandbox                  a local Alpaca to trade on, no keys needed
"""

_BACKTEST = """\
Execute the backtest notebook headless and leave a run folder: the executed notebook, its complete parameters,
where they came from, and the result.

Later wins: the notebook's parameters cell < --config files, left to right < --set < the other flags.
Relative paths start at the project, the folder that holds parameters/. Only the files named here (--config,
--notebook, the .py of --strategy) are looked for in the working folder first.

examples:
  python -m botlib backtest --config parameters/backtest.yaml
  python -m botlib backtest --symbols AAPL MSFT --period 5y
  python -m botlib backtest --set strategy.rsi_period=10 --set risk.stop_loss_pct=null
  python -m botlib backtest --strategy moving_average_cross --set strategy.fast=20
  python -m botlib backtest --strategy notebooks/my_idea.py:MyIdea
  python -m botlib backtest --config parameters/backtest.yaml parameters/my_costs.yaml --set name=costly

exit codes: 0 done, 2 refused: your input is wrong, and nothing is left; 1 crash, also of the strategy's own code,
and 130 or 143 stopped by Ctrl-C or SIGTERM: a folder ..._failed is left, with the notebook and a log
"""

_SANDBOX = """\
Run a local Alpaca on this machine: alpaca-py cannot tell it from the real one. It replays bars, needs no network and no
keys, and is gone with Ctrl-C.

Without --speed the market stands still until a control call moves it: POST /sandbox/step?n=1. An interval shorter than
the bars there are is made up within daily bars, and says so.

examples:
  python -m botlib sandbox
  python -m botlib sandbox --symbols AAPL MSFT --period 1y --interval 5m --speed 600
  python -m botlib sandbox --file my_bars/ --start 2012-06-01 --port 0
"""


class _Parser(argparse.ArgumentParser):
    """One sentence and exit code 2 for a command line that cannot be read; the nearest word where there is one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. See: {self.prog} --help")

    def options(self) -> list[str]:
        """All flags."""
        return [o for action in self._actions for o in action.option_strings]


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    top = _Parser(prog=_PROGRAM, description=_HELP)
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    found: dict[str, _Parser] = {}

    def command(name: str, summary: str, description: str | None = None) -> _Parser:
        found[name] = commands.add_parser(name, help=summary, description=description or summary)
        found[name].add_argument("--root", metavar="DIR", help="the project; default: the nearest folder upwards that "
                                                               "holds parameters/")
        return found[name]

    backtest = command("backtest", "execute the backtest notebook", _BACKTEST)
    backtest.add_argument("--config", nargs="+", action="extend", default=[], metavar="FILE", help="parameter files")
    backtest.add_argument("--symbols", nargs="+", metavar="TICKER", help="tickers")
    backtest.add_argument("--period", help="history back from the last bar: 1mo, 5y, max, ...")
    backtest.add_argument("--interval", help="length of a bar: 1m 5m 15m 30m 1h 1d")
    backtest.add_argument("--strategy", metavar="NAME", help="a shipped strategy, path.py:Class or module:Class")
    backtest.add_argument("--set", action="append", default=[], dest="sets", metavar="NAME=VALUE",
                          help="one value, e.g. strategy.rsi_period=10; the value is read as YAML")
    backtest.add_argument("--output", default="outputs", metavar="DIR", help="folder of all runs (default: outputs)")
    backtest.add_argument("--notebook", metavar="FILE", help="another notebook with a parameters cell")

    new = command("new", "write a strategy of your own, its notebook and its parameters",
                  "Write notebooks/NAME.py, notebooks/NAME.ipynb and parameters/NAME.yaml: a working strategy to\n"
                  "change. Nothing is overwritten.\n\nexample:\n  python -m botlib new my_idea")
    new.add_argument("name", help="lower-case letters, digits and '_', e.g. my_idea")

    open_ = command("open", "prepare a run's notebook for JupyterLab",
                    "Write outputs/drafts/NAME.ipynb: a run's notebook with its values in the parameters cell.\n\n"
                    "examples:\n  python -m botlib open parameters/backtest.yaml\n"
                    "  python -m botlib open outputs/backtest/20260102T150405Z_backtest_1a2b3c --launch")
    open_.add_argument("file", help="a parameter file or a run folder")
    open_.add_argument("--notebook", metavar="FILE", help="another notebook with a parameters cell")
    open_.add_argument("--launch", action="store_true", help="start JupyterLab on it")

    sandbox = command("sandbox", "run a local Alpaca to trade on", _SANDBOX)
    sandbox.add_argument("--symbols", nargs="+", metavar="TICKER", help="tickers (default: all of the file)")
    sandbox.add_argument("--period", default="max", help="history to load, back from the last bar: 1mo, 5y, max, ...")
    sandbox.add_argument("--interval", help="length of a bar: 1m 5m 15m 30m 1h 1d (default: as the bars are)")
    sandbox.add_argument("--file", metavar="PATH", help="CSV or Parquet bars, a file or a folder (default: the bars "
                                                        "that ship with botlib)")
    sandbox.add_argument("--start", metavar="DATE", help="first session of the replay (default: half way); what lies "
                                                         "before it is history")
    sandbox.add_argument("--speed", type=float, metavar="N", help="virtual seconds in a second, e.g. 600 (default: "
                                                                  "step by step)")
    sandbox.add_argument("--cash", type=float, default=100_000.0, metavar="DOLLARS", help="default: 100000")
    sandbox.add_argument("--seed", type=int, default=0, metavar="N", help="of ids and of made-up bars (default: 0)")
    sandbox.add_argument("--port", type=int, default=8787, metavar="N", help="0: a free one (default: 8787)")
    sandbox.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")

    command("strategies", "list the strategies that ship, with their parameters")
    command("providers", "list where bars can come from")
    return top, found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to stop
    try:
        return _run(words)
    except InputError as error:
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
    if words and not words[0].startswith("-") and words[0] not in commands:
        raise InputError(f"there is no command {words[0]!r}{nearest(words[0], commands) or '.'} "
                         f"Valid: {', '.join(commands)}.")
    try:
        options, unknown = top.parse_known_args(words)
    except SystemExit as end:  # --help
        return int(end.code or 0)
    if unknown:
        known = commands[options.command].options() if options.command else top.options()
        raise InputError(f"{unknown[0]} is not understood{nearest(unknown[0].split('=')[0], known) or '.'} "
                         f"See: {' '.join(filter(None, [_PROGRAM, options.command]))} --help")
    if options.version:
        print(f"botlib {__version__}")
        return DONE
    if options.command is None:
        top.print_help()
        return DONE
    return int(_COMMANDS[options.command](options))


def _backtest(options: argparse.Namespace) -> int:
    from botlib import hygiene, job, result_file, run, warmup
    from botlib.project import project_root, shown, typed_path

    root = project_root(options.root)
    flags = {k: getattr(options, k) for k in ("symbols", "period", "interval") if getattr(options, k) is not None}
    if options.strategy is not None:
        flags["strategy"] = _typed_strategy(options.strategy, root)
    configs = [typed_path(file, root, "parameter file") for file in options.config]
    notebook = options.notebook and typed_path(options.notebook, root, "notebook")
    work = job.prepare("backtest", notebook=notebook, configs=configs, sets=options.sets, flags=flags, root=root,
                       secrets=hygiene.environment_secrets(os.environ))
    print(f"project   {work.root}\nnotebook  {shown(work.notebook, work.root)}", flush=True)
    warmup.warm_up(lambda line: print(line, flush=True))
    done = run.execute(work, output=options.output, progress=sys.stderr.isatty())
    print(f"\n{result_file.table(done.result)}\n\n{shown(done.notebook, Path.cwd())}")
    return DONE


def _typed_strategy(spec: str, root: Path) -> str:
    """``path.py:Class`` as the run's record keeps it: the path relative to the project where it can be."""
    from botlib.project import shown, typed_path

    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py"):
        return spec
    return f"{shown(Path(typed_path(file, root, 'strategy')), root)}:{name}"


def _new(options: argparse.Namespace) -> int:
    from botlib import scaffold
    from botlib.project import project_root, shown

    root = project_root(options.root)
    files = [shown(f, root) for f in scaffold.new(options.name, root=root)]
    print(f"project     {root}\nstrategy    {files[0]}\nnotebook    {files[1]}\nparameters  {files[2]}\n\n"
          f"run it:     python -m botlib backtest --config {files[2]}")
    return DONE


def _open(options: argparse.Namespace) -> int:
    from botlib import scaffold
    from botlib.project import project_root, shown, typed_path

    root = project_root(options.root)
    notebook = options.notebook and typed_path(options.notebook, root, "notebook")
    draft = scaffold.open_draft(typed_path(options.file, root, "parameter file"), notebook=notebook, root=root)
    print(f"project  {root}\njupyter lab {_quoted(shown(draft, Path.cwd()))}", flush=True)
    if options.launch:
        import subprocess

        allow = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        return subprocess.run([sys.executable, "-m", "jupyterlab", str(draft), *allow], check=False).returncode
    return DONE


def _sandbox(options: argparse.Namespace) -> int:
    from botlib import sandboxing
    from botlib.sandbox import running

    bars = sandboxing.load_bars(options.symbols, options.period, options.interval, options.file, options.seed,
                                options.root)
    sandboxing.serve(running(bars, cash=options.cash, speed=options.speed, seed=options.seed, host=options.host,
                             port=options.port, first=sandboxing.first_bar(bars, options.start)))
    return DONE


def _strategies(_options: argparse.Namespace) -> int:
    from botlib import listing

    print(listing.strategies())
    return DONE


def _providers(_options: argparse.Namespace) -> int:
    from botlib import listing

    print(listing.providers())
    return DONE


_COMMANDS = {"backtest": _backtest, "new": _new, "open": _open, "sandbox": _sandbox,
             "strategies": _strategies, "providers": _providers}


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)


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
