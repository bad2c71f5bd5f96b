"""The commands around backtests: run one, begin a strategy, open a notebook, run the local exchange, lists."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from botlib.cli_parser import DONE, Commands

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
Run a local Alpaca on this machine for alpaca-py: trading and market data of stocks, and both websockets. It replays
bars, needs no network and no keys, and is gone with Ctrl-C.

Without --speed the market stands still until a control call moves it: POST /sandbox/step?n=1. An interval shorter than
the bars there are is made up within daily bars, and says so.

examples:
  python -m botlib sandbox
  python -m botlib sandbox --symbols AAPL MSFT --period 1y --interval 5m --speed 600
  python -m botlib sandbox --file my_bars/ --start 2012-06-01 --port 0
"""


def add(commands: Commands) -> None:
    """Add these commands."""
    command = commands.add
    backtest = command("backtest", "execute the backtest notebook", _BACKTEST, run=_backtest)
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
                  "change. Nothing is overwritten.\n\nexample:\n  python -m botlib new my_idea", run=_new)
    new.add_argument("name", help="lower-case letters, digits and '_', e.g. my_idea")

    open_ = command("open", "prepare a run's notebook for JupyterLab",
                    "Write outputs/drafts/NAME.ipynb: a run's notebook with its values in the parameters cell.\n\n"
                    "examples:\n  python -m botlib open parameters/backtest.yaml\n"
                    "  python -m botlib open outputs/backtest/20260102T150405Z_backtest_1a2b3c --launch",
                    run=_open)
    open_.add_argument("file", help="a parameter file or a run folder")
    open_.add_argument("--notebook", metavar="FILE", help="another notebook with a parameters cell")
    open_.add_argument("--launch", action="store_true", help="start JupyterLab on it")

    sandbox = command("sandbox", "run a local Alpaca to trade on", _SANDBOX, run=_sandbox)
    sandbox.add_argument("--symbols", nargs="+", metavar="TICKER", help="tickers (default: all of the file)")
    sandbox.add_argument("--period", default="max", help="history to load, back from the last bar: 1mo, 5y, max, ...")
    sandbox.add_argument("--interval", help="length of a bar: 1m 5m 15m 30m 1h 1d (default: as the bars are)")
    sandbox.add_argument("--file", metavar="PATH", help="CSV or Parquet bars, a file or a folder (default: the bars "
                                                        "that ship with botlib)")
    sandbox.add_argument("--start", metavar="DATE", help="first session of the replay (default: half way); what lies "
                                                         "before it is history")
    sandbox.add_argument("--speed", type=float, metavar="N", help="virtual seconds in a second, e.g. 600; nights and "
                                                                  "weekends take a second at most (default: step by "
                                                                  "step)")
    sandbox.add_argument("--cash", type=float, default=100_000.0, metavar="DOLLARS", help="default: 100000")
    sandbox.add_argument("--seed", type=int, default=0, metavar="N", help="of made-up bars and of ids: the same seed "
                                                                           "gives the same account id (default: 0)")
    sandbox.add_argument("--rate-limit", type=int, metavar="N", help="requests a minute, told in X-RateLimit headers "
                                                                     "(Alpaca: 200; default: no limit)")
    sandbox.add_argument("--finished-bars", action="store_true", help="serve bars when they are finished (default: as "
                                                                      "Alpaca, the last one may be unfinished)")
    sandbox.add_argument("--port", type=int, default=8787, metavar="N", help="0: a free one (default: 8787)")
    sandbox.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")

    command("strategies", "list the strategies that ship, with their parameters", run=_strategies)
    command("providers", "list where bars can come from", run=_providers)


def _backtest(options: argparse.Namespace) -> int:
    from botlib import hygiene, job, result_file, run, warmup
    from botlib.project import project_root, shown, typed_path

    root = project_root(options.root)
    flags = {k: getattr(options, k) for k in ("symbols", "period", "interval") if getattr(options, k) is not None}
    if options.strategy is not None:
        flags["strategy"] = typed_strategy(options.strategy, root)
    configs = [typed_path(file, root, "parameter file") for file in options.config]
    notebook = options.notebook and typed_path(options.notebook, root, "notebook")
    work = job.prepare("backtest", notebook=notebook, configs=configs, sets=options.sets, flags=flags, root=root,
                       secrets=hygiene.environment_secrets(os.environ))
    print(f"project   {work.root}\nnotebook  {shown(work.notebook, work.root)}", flush=True)
    warmup.warm_up(lambda line: print(line, flush=True))
    done = run.execute(work, output=options.output, progress=sys.stderr.isatty())
    print(f"\n{result_file.table(done.result)}\n\n{shown(done.notebook, Path.cwd())}")
    return DONE


def typed_strategy(spec: str, root: Path) -> str:
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
                                options.root, say=lambda line: print(line, flush=True))
    sandboxing.serve(running(bars, cash=options.cash, speed=options.speed, seed=options.seed, host=options.host,
                             port=options.port, first=sandboxing.first_bar(bars, options.start),
                             rate_limit=options.rate_limit, unfinished_bars=not options.finished_bars))
    return DONE


def _strategies(_options: argparse.Namespace) -> int:
    from botlib import listing

    print(listing.strategies())
    return DONE


def _providers(_options: argparse.Namespace) -> int:
    from botlib import listing

    print(listing.providers())
    return DONE


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
