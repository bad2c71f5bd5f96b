"""The commands that start sessions: ``live paper``, ``live trading``, and what permits the latter, ``live arm``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botlib import cli_permit
from botlib.cli_parser import CRASHED, Commands, Parser
from botlib.cli_permit import asker, say, session_params, typed_now, values, waived_now
from botlib.errors import InputError

if TYPE_CHECKING:
    from botlib.job import Job
    from botlib.session_config import SessionParams

_LIVE = """\
Run a strategy on an account: on the local exchange (no network, no keys), on Alpaca's paper account, or with real
money.

examples:
  python -m botlib live paper --config parameters/paper.yaml --symbols AAPL MSFT --iterations 3
  python -m botlib live trading --config parameters/live.yaml --symbols AAPL --enable-live
  python -m botlib status                           from any other shell: how it stands
  python -m botlib stop                             ... and its orderly end

exit codes: 0 done, or no trading day; 1 crash; 2 refused, nothing was sent; 3 halted by a kill; 4 unreconciled: broker
and ledger do not agree
"""

_PAPER = """\
Run a paper session: on the local exchange by default, on Alpaca's paper account with --venue alpaca. It says on which
in its first line, then one line a pass and one for each signal, order and execution. Ctrl-C ends it in an orderly way;
positions keep their stops and targets at the broker, and the next start goes on where the ledger stands.

Later wins: the notebook's parameters cell < --config files, left to right < --set < the other flags. --no-notebook
reads the same cell and does not run it: what nothing sets has the same value either way.

examples:
  python -m botlib live paper --config parameters/paper.yaml --symbols AAPL MSFT --iterations 3
  python -m botlib live paper --config parameters/paper.yaml --set replay_start=2012-06-01 --strategy momentum_rotation
  python -m botlib live paper --config parameters/paper.yaml --venue alpaca --set provider=alpaca --account swing
  python -m botlib live paper --config parameters/paper.yaml --orders shadow

exit codes: 0 done, or no trading day; 1 crash; 2 refused; 3 halted by a kill; 4 unreconciled
"""

_TRADING = """\
Run a live session. It starts only with --enable-live and after a person has typed a line under the account, the limits
and the strategy: in this terminal, or beforehand with python -m botlib live arm. No file and no pipe can type it.

examples:
  python -m botlib live trading --config parameters/live.yaml --symbols AAPL --enable-live --max-drawdown 5.0 \
--max-daily-loss 2.0
  python -m botlib live trading --config parameters/live.yaml --enable-live --until close

exit codes: 0 done, or no trading day; 1 crash; 2 refused; 3 halted by a kill; 4 unreconciled
"""

_ARM = """\
Type the line for headless live sessions beforehand: so many sessions of exactly these parameters, on this account,
until a date. A crash restart spends none.

example:
  python -m botlib live arm --config parameters/live.yaml --symbols AAPL --enable-live --sessions 5
"""


def add(commands: Commands) -> None:
    """Add these commands."""
    live = commands.add("live", "run paper and live sessions", _LIVE, rooted=False)
    command = Commands(live, "live", commands.found).add

    paper = command("paper", "run a paper session", _PAPER, run=lambda options: _session(options, "paper"))
    _flags(paper)
    trading = command("trading", "run a live session", _TRADING, run=lambda options: _session(options, "live"))
    _flags(trading)
    _enabling(trading)
    arm = command("arm", "permit headless live sessions beforehand", _ARM, run=cli_permit.arm)
    _flags(arm, runs=False)
    _enabling(arm)
    arm.add_argument("--sessions", type=int, default=1, metavar="N", help="1 to 5 (default: 1)")
    arm.add_argument("--until", metavar="DATE", dest="good_until", help="last day, at most 31 days ahead (default: 31)")
    arms = command("arms", "list what is permitted", run=cli_permit.arms)
    disarm = command("disarm", "take a permission back", run=cli_permit.disarm)
    disarm.add_argument("number", nargs="?", type=int, help="of the arm (default: all)")
    for one in (arms, disarm):
        one.add_argument("--db", default=None, metavar="DB", help="the ledger's database (default: trades.sqlite)")


def _flags(parser: Parser, *, runs: bool = True) -> None:
    add = parser.add_argument
    add("--config", nargs="+", action="extend", default=[], metavar="FILE", help="parameter files")
    add("--symbols", nargs="+", metavar="TICKER", help="tickers")
    add("--period", help="history to load: 60d, 1y, max, ...; the strategy's warm-up at least")
    add("--interval", help="length of a bar: 1m 5m 15m 30m 1h 1d")
    add("--iterations", type=int, metavar="N", help="passes; 0: until the market data end or somebody stops it")
    add("--venue", help="sandbox: a local exchange in this process; alpaca: Alpaca, or one at APCA_API_BASE_URL")
    add("--account", metavar="NAME", help="keys from APCA_NAME_API_KEY_ID and APCA_NAME_API_SECRET_KEY")
    add("--capital", type=float, metavar="DOLLARS", help="what sizes, drawdown and profit refer to (default: the "
                                                         "account's equity)")
    add("--db", metavar="DB", help="the ledger: a file, a URL without password, or env:VARIABLE")
    add("--orders", help="send; or shadow: record the orders, send none")
    add("--strategy", metavar="NAME", help="a shipped strategy, path.py:Class or module:Class")
    add("--set", action="append", default=[], dest="sets", metavar="NAME=VALUE", help="one value, read as YAML")
    add("--max-drawdown", type=float, metavar="PCT", help="percent from the peak that halts trading")
    add("--max-daily-loss", type=float, metavar="PCT", help="percent from the day's start; then only exits that day")
    if runs:
        add("--until", metavar="WHEN", help="close: end after the exchange's close")
        add("--output", default="outputs", metavar="DIR", help="folder of all runs (default: outputs)")
        add("--notebook", metavar="FILE", help="another notebook with a parameters cell")
        add("--quiet", action="store_true", help="only the venue, what needs attention, and the end")
        add("--no-notebook", action="store_true", help="run in this process with the same values; only the ledger "
                                                      "keeps a record")
        add("--take-over", action="store_true", help="the session that has the account on another host is "
                                                         "dead: my word")


def _enabling(parser: Parser) -> None:
    parser.add_argument("--enable-live", action="store_true", default=None, help="without it nothing live starts")
    parser.add_argument("--waive", nargs="+", action="extend", default=[], metavar="NAME",
                        help="evidence to do without, on record: backtest look-ahead paper-sessions jupyter-open")


# --- sessions ---------------------------------------------------------------------------------------------------------


def _session(options: argparse.Namespace, kind: str) -> int:
    from botlib import job, warmup
    from botlib.project import project_root

    root = project_root(options.root)
    if options.notebook is None and not options.no_notebook and not (root / job.NOTEBOOKS[kind]).is_file():
        options.no_notebook = True
    if options.no_notebook:
        params = session_params(options, kind, root)
        params.require_enabled()
        _warm_up(warmup)
        return _in_this_process(params, options, root)
    work = _job(options, kind, root)
    _warm_up(warmup)
    return _in_a_notebook(work, options, root)


def _warm_up(warmup: Any) -> None:
    """The first line of the output names the venue: what comes before goes elsewhere."""
    warmup.warm_up(lambda line: print(line, file=sys.stderr, flush=True))


def _in_this_process(params: SessionParams, options: argparse.Namespace, root: Path) -> int:
    from botlib.live import start_session

    waive = list(getattr(options, "waive", []))
    while True:
        try:
            session = start_session(params, root=root, take_over=options.take_over, waive=waive,
                                    confirm=asker() if params.kind == "live" else None)
            break
        except InputError as error:
            waive = waived_now(error, waive)
    with _hang_up(session):
        summary = session.join(_sayer(options))
    if summary.status == "error":
        print(f"error: {summary.reason}", file=sys.stderr)
    return int(summary.exit_code)


@contextmanager
def _hang_up(session: Any) -> Iterator[None]:
    """A terminal that is closed asks the session to stop, as Ctrl-C does (see `botlib.live.Session.join`); not with
    nohup."""
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: session.stop("SIGHUP received"))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


_LOUD = ("[VENUE]", "[ALARM]", "[PROBLEM]", "[SAFETY]", "[UNEXPLAINED]", "[PARITY]", "[NOTE]", "[END]")


def _sayer(options: argparse.Namespace) -> Callable[[str], Any]:
    """Prints all lines of a session, or with --quiet those that matter to somebody who is not watching.

    The comparison with the backtest, which a notebook shows once more, is said once.
    """
    compared: set[str] = set()

    def tell(line: str) -> None:
        if line in compared or (options.quiet and not line.startswith(_LOUD)):
            return
        if line.startswith("[PARITY]"):
            compared.add(line)
        say(line)

    return tell


def _job(options: argparse.Namespace, kind: str, root: Path) -> Job:
    from botlib import hygiene, job
    from botlib.project import typed_path

    notebook = options.notebook and typed_path(options.notebook, root, "notebook")
    configs = [typed_path(file, root, "parameter file") for file in options.config]
    work = job.prepare(kind, notebook=notebook, configs=configs, sets=options.sets, flags=values(options, root),
                       root=root, secrets=hygiene.environment_secrets(os.environ))
    work.params.require_enabled()  # type: ignore[attr-defined]
    return work


def _in_a_notebook(work: Job, options: argparse.Namespace, root: Path) -> int:
    from botlib import run
    from botlib.project import shown
    from botlib.session_config import SessionParams

    assert isinstance(work.params, SessionParams)
    if options.take_over:
        from botlib import control_actions

        control_actions.free(work.params, root, os.environ, env_file=root / ".env")
    with typed_now(work.params, options, root) if work.kind == "live" else nullcontext():
        done = run.execute(work, output=options.output, say=_sayer(options))
    say(f"\nnotebook  {shown(done.notebook, Path.cwd())}")
    summary = done.result["summary"]
    if summary["exit_code"] == CRASHED:
        print(f"error: {summary['reason']}", file=sys.stderr)
    return int(summary["exit_code"])
