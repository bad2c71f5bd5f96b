"""The command that estimates parameters anew, and the one by which a person accepts what it proposes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from botlib.cli_parser import DONE, Commands
from botlib.errors import InputError

_LEARN = """\
Estimate a strategy's parameters anew, walk-forward on recent bars and at the slippage that its sessions really paid,
and write a proposal: a parameter file under parameters/proposals/ with the evidence, and the recommendation to accept
it or to keep what is there. Nothing else changes; the same inputs write nothing a second time.

The files of sessions and of backtests are taken as they are; what does not concern learning is passed over.
Later wins: the notebook's parameters cell < --config files, left to right < --set < the other flags.

examples:
  python -m botlib learn --config parameters/paper.yaml
  python -m botlib learn --config parameters/paper.yaml --set "estimate=[rsi_period, stop_loss_pct]" --db trades.sqlite
  python -m botlib learn accept parameters/proposals/paper-2013-03-01-1a2b3c4d.yaml

exit codes: 0 done, whatever is recommended; 2 refused: your input is wrong or there are too few bars, and nothing is
left; 1 crash
"""

_ACCEPT = """\
Put what a proposal changes into the parameter file that it was made from; its comments stay. What was there is kept
under parameters/proposals/, and accepting that file brings it back. A session that runs goes on with the parameters it
began with; the next one takes these.

examples:
  python -m botlib learn accept parameters/proposals/paper-2013-03-01-1a2b3c4d.yaml
  python -m botlib learn accept parameters/proposals/paper-2013-03-01-1a2b3c4d.yaml --into parameters/mine.yaml --yes
"""


def add(commands: Commands) -> None:
    """Add these commands."""
    learn = commands.add("learn", "propose parameters, from recent bars and the ledger", _LEARN, run=_learn)
    learn.add_argument("--config", nargs="+", action="extend", default=[], metavar="FILE", help="parameter files")
    learn.add_argument("--symbols", nargs="+", metavar="TICKER", help="tickers")
    learn.add_argument("--period", help="history back from the last bar: 2y, 5y, max, ...")
    learn.add_argument("--db", metavar="DB", help="the sessions' ledger: a file, a URL without password, env:VARIABLE")
    learn.add_argument("--set", action="append", default=[], dest="sets", metavar="NAME=VALUE",
                       help="one value, e.g. train_bars=500; the value is read as YAML")
    learn.add_argument("--output", default="outputs", metavar="DIR", help="folder of all runs (default: outputs)")
    learn.add_argument("--notebook", metavar="FILE", help="another notebook with a parameters cell")
    inner = Commands(learn, "learn", commands.found)
    accept = inner.add("accept", "put a proposal into its parameter file", _ACCEPT, run=_accept)
    accept.add_argument("file", help="the proposal")
    accept.add_argument("--into", metavar="FILE", help="the parameter file (default: the one it was made from)")
    accept.add_argument("--yes", action="store_true", help="do not ask")
    accept.add_argument("--anyway", action="store_true", help="also against the recommendation")


def _learn(options: argparse.Namespace) -> int:
    from botlib import hygiene, job, run, warmup
    from botlib.project import project_root, shown, typed_path

    root = project_root(options.root)
    flags: dict[str, Any] = {name: getattr(options, name) for name in ("symbols", "period", "db")
                             if getattr(options, name) is not None}
    configs = [typed_path(file, root, "parameter file") for file in options.config]
    target = _target(configs, root)
    if target:
        flags["parameter_file"] = target
    notebook = options.notebook and typed_path(options.notebook, root, "notebook")
    work = job.prepare("learn", notebook=notebook, configs=configs, sets=options.sets, flags=flags, root=root,
                       secrets=hygiene.environment_secrets(os.environ))
    print(f"project   {work.root}\nnotebook  {shown(work.notebook, work.root)}", flush=True)
    warmup.warm_up(lambda line: print(line, flush=True))
    done = run.execute(work, output=options.output, progress=sys.stderr.isatty())
    gates = done.result["gates"].items()
    lines = [f"{name:<16}{'passed' if gate['passed'] else 'NOT PASSED':<12}{gate['says']}" for name, gate in gates]
    file = done.result["proposal"] or "none written"
    again = " (there already; nothing was written)" if done.result["proposal"] and not done.result["written"] else ""
    print("\n" + "\n".join([*lines, "", f"recommendation  {done.result['recommendation']}",
                            f"proposal        {file}{again}", "", shown(done.notebook, Path.cwd())]))
    return DONE


def _target(configs: list[str], root: Path) -> str:
    """The last file that names the strategy, else the first: where an accepted proposal goes."""
    from botlib import yamlfile
    from botlib.project import existing_file, shown

    files = [existing_file(file, root, "parameter file") for file in configs]
    naming = [file for file in files if "strategy" in yamlfile.read(file, shown(file, root))]
    return shown((naming or files)[-1 if naming else 0], root) if files else ""


def _accept(options: argparse.Namespace) -> int:
    from botlib.cli_permit import asker, say
    from botlib.learning import accepting
    from botlib.project import project_root, shown, typed_path

    root = project_root(options.root)
    into = options.into and typed_path(options.into, root, "parameter file")
    given = accepting.prepare(typed_path(options.file, root, "proposal"), into=into, anyway=options.anyway, root=root)
    there = shown(given.target, root)
    if not given.changes:
        print(f"{there} has these values already; nothing was written.")
        return DONE
    say("\n".join([f"{there}, by {shown(given.file, root)}:", *(f"  {line}" for line in given.lines()),
                   str(given.evidence.get("because", "")),
                   "A session that runs goes on with the parameters it began with; the next one takes these."]))
    if not options.yes:
        ask = asker()
        if ask is None:
            raise InputError("accepting is a person's: type it in a terminal, or say --yes. Nothing was changed.")
        if ask(f"Change {there}? y or n").strip().lower() not in ("y", "yes"):
            raise InputError(f"not accepted; {there} is as it was.")
    kept = accepting.accept(given)
    print(f"changed         {there}\nwhat was there  {shown(kept, root)}\n"
          f"to go back      python -m botlib learn accept {shown(kept, root)}")
    return DONE
