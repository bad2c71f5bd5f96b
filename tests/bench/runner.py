"""Compare botlib with other engines: ``python tests/bench/runner.py [WORKLOAD ...]`` (or ``make bench``).

Contenders run in turns (A B C A B C ...), each call in a process of its own, so that a busy machine slows all of them
alike. Trust the ratios of medians; the seconds drift with the load. Peers get an environment each, built on first use
from ``requirements/`` into ``.bench/``, where the data lies too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRATCH = ROOT / ".bench"

# Timed calls in a process, after one to warm up; with the rounds they give well over five values.
REPS = {"w1-d": 15, "w1-real": 15, "w1-m": 3, "w2-d": 3, "w2-m": 1, "w3": 3}
WORKLOADS = tuple(REPS)
SINGLE = ("w1-d", "w1-real", "w1-m")

Line = dict[str, Any]  # what a contender prints, or a row of the table


@dataclass(frozen=True)
class Contender:
    """One command line. ``environment``: the peer environment it runs in (None: this one, with botlib)."""

    name: str
    script: str
    options: tuple[str, ...] = ()
    environment: str | None = None
    imports: tuple[str, ...] = ("import botlib", "from botlib import *")  # the second loads what the first puts off
    workloads: tuple[str, ...] = WORKLOADS

    @property
    def python(self) -> str:
        return str(environment_python(self.environment)) if self.environment else sys.executable

    def command(self, workload: str, reps: int) -> list[str]:
        return [self.python, str(HERE / self.script), *self.options, workload, str(reps)]


CONTENDERS = (
    Contender("botlib", "bench.py"),
    Contender("botlib tables", "bench.py", ("--tables",), workloads=(*SINGLE, "w3")),
    Contender("botlib broker", "bench.py", ("--convention", "broker")),
    Contender("botlib from_frame", "bench.py", ("--from-frame",), workloads=(*SINGLE, "w3")),
    Contender("raptorbt", "peer_raptorbt.py", environment="raptorbt", imports=("import raptorbt",)),
    Contender("vectorbt", "peer_vectorbt.py", environment="vectorbt", imports=("import vectorbt",)),
    Contender("vectorbt x2", "peer_vectorbt.py", ("--processes", "2"), environment="vectorbt", imports=(),
              workloads=("w2-d", "w2-m")),
    Contender("backtesting.py", "peer_backtesting.py", environment="backtesting", imports=("import backtesting",),
              workloads=SINGLE),
)


def environment_python(name: str) -> Path:
    folder = SCRATCH / name
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def build_environment(name: str) -> None:
    """A virtual environment with the packages of ``requirements/NAME.txt``; kept until that file changes."""
    wanted = (HERE / "requirements" / f"{name}.txt").read_text()
    stamp = SCRATCH / name / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {name} into {SCRATCH.name}/{name} ...", file=sys.stderr)
    venv.create(SCRATCH / name, with_pip=True, clear=True)
    pip = [str(environment_python(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-r", str(HERE / "requirements" / f"{name}.txt")], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\ncould not install {name}")
    stamp.write_text(wanted)


def build_data(workloads: Iterable[str]) -> None:
    names = {"w1-d": "d1", "w1-real": "real", "w1-m": "m1", "w2-d": "d5", "w2-m": "m1", "w3": "d500"}
    if all((SCRATCH / "data" / f"{names[w]}.npz").exists() for w in workloads):
        return
    build_environment("data")
    subprocess.run([str(environment_python("data")), str(HERE / "data.py"), str(SCRATCH / "data")], check=True)


def variables() -> dict[str, str]:
    """The environment of a contender: where the data is, no broker's keys, no peer that asks the network for news."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("APCA_") and k != "PYTHONPATH"}
    return mine | {"BENCH_DATA": str(SCRATCH / "data"), "RAPTORBT_NO_VERSION_CHECK": "1"}


def last_line(command: Sequence[str]) -> Line | str:
    """The JSON that a command printed last, or what it said instead."""
    done = subprocess.run(command, capture_output=True, text=True, env=variables(), cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = (done.stderr or done.stdout).strip().splitlines()
        return said[-1] if said else f"exit code {done.returncode} and not a word"
    return json.loads(lines[-1])


def take_turns(contenders: Sequence[Contender], workload: str, rounds: int, reps: int) -> dict[str, list[Line]]:
    """Lines by contender, in the order given; one that fails is reported once and left out."""
    lines: dict[str, list[Line]] = {c.name: [] for c in contenders}
    running = [c for c in contenders if workload in c.workloads]
    for _ in range(rounds):
        for contender in list(running):
            line = last_line(contender.command(workload, reps))
            if isinstance(line, str):
                print(f"{contender.name} failed on {workload}: {line}", file=sys.stderr)
                running.remove(contender)
            else:
                lines[contender.name].append(line)
    return {name: found for name, found in lines.items() if found}


def agreement(workload: str, line: Line) -> str:
    """How the outcome compares with the workload's golden result."""
    if not line["n_trades"]:
        return "no trades"
    golden = json.loads((HERE / "golden" / f"{workload}.json").read_text())
    if line["n_trades"] != golden["metrics"]["n_trades"]:
        return "other trades"
    return "equal" if abs(line["final_equity"] / golden["final_equity"] - 1) < 1e-9 else "other equity"


def report(workload: str, lines: dict[str, list[Line]], bases: Sequence[str]) -> list[Line]:
    """Print one table; its rows."""
    medians = {name: statistics.median(s for line in found for s in line["seconds"]) for name, found in lines.items()}
    bases = [base for base in bases if base in medians]
    head = f"{'':<20}{'median':>12}{'best':>12}" + "".join(f"{'/ ' + base:>13}" for base in bases)
    print(f"\n{workload}\n{head}{'first call':>13}{'memory':>9}{'values':>8}{'trades':>8}  golden")
    rows = []
    for name, found in lines.items():
        seconds = [s for line in found for s in line["seconds"]]
        row = {"workload": workload, "contender": name, "median_s": medians[name], "best_s": min(seconds),
               "ratios": {base: medians[name] / medians[base] for base in bases}, "values": len(seconds),
               "first_s": statistics.median(line["first_s"] for line in found),
               "peak_rss_mb": statistics.median(line["peak_rss_mb"] for line in found),
               "n_trades": found[0]["n_trades"], "final_equity": found[0]["final_equity"],
               "golden": agreement(workload, found[0])}
        rows.append(row)
        ratios = "".join(f"{row['ratios'][base]:>12.3g}x" for base in bases)
        print(f"{name:<20}{row['median_s'] * 1e3:>9.3f} ms{row['best_s'] * 1e3:>9.3f} ms{ratios}"
              f"{row['first_s']:>11.3f} s{row['peak_rss_mb']:>6.0f} MB"
              f"{row['values']:>8}{row['n_trades']:>8}  {row['golden']}")
    return rows


def report_imports(contenders: Sequence[Contender], rounds: int) -> None:
    """Seconds that a fresh process needs to import each engine, in turns."""
    python = {statement: contender.python for contender in contenders for statement in contender.imports}
    code = "import time; t = time.perf_counter(); {}; print('{{\"s\":', time.perf_counter() - t, '}}')"
    seconds: dict[str, list[float]] = {statement: [] for statement in python}
    for _ in range(rounds):
        for statement in python:
            line = last_line([python[statement], "-c", code.format(statement)])
            if not isinstance(line, str):
                seconds[statement].append(line["s"])
    print("\nin a fresh process, median")
    for statement, found in seconds.items():
        if found:
            print(f"{statement:<24}{statistics.median(found):>7.2f} s")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default 5)")
    parser.add_argument("--reps", type=int, help="timed calls a turn (default: by workload; 0: the first, cold call)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of: {', '.join(c.name for c in CONTENDERS)}")
    parser.add_argument("--command", action="append", default=[], metavar="NAME=COMMAND",
                        help="one more contender; WORKLOAD and REPS are appended to its command")
    parser.add_argument("--base", nargs="+", default=["botlib", "raptorbt"], metavar="NAME",
                        help="contenders that the ratios divide by (default: botlib raptorbt)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also append the rows to this file, a JSON line each")
    options = parser.parse_args(argv)
    for kind, given, valid in (("workload", options.workloads, WORKLOADS),
                               ("contender", options.only or (), [c.name for c in CONTENDERS])):
        if wrong := [name for name in given if name not in valid]:
            parser.error(f"no {kind} {wrong[0]!r}; there are {', '.join(valid)}")
    return options


@dataclass(frozen=True)
class Extra(Contender):
    """A contender named on the command line."""

    def command(self, workload: str, reps: int) -> list[str]:
        return [*self.script.split(), workload, str(reps)]


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv)
    workloads = options.workloads or WORKLOADS
    extras = [Extra(*text.split("=", 1)) for text in options.command]
    contenders = [c for c in CONTENDERS if not options.only or c.name in options.only] + extras
    SCRATCH.mkdir(exist_ok=True)
    for name in dict.fromkeys(c.environment for c in contenders if c.environment):
        build_environment(name)
    build_data(workloads)

    rows = []
    for workload in workloads:
        reps = REPS[workload] if options.reps is None else options.reps
        rows += report(workload, take_turns(contenders, workload, options.rounds, reps), options.base)
    report_imports([c for c in contenders if c not in extras], options.rounds)
    if options.json:
        with options.json.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    if not rows:
        sys.exit("nothing was measured")


if __name__ == "__main__":
    main()
