"""What the tests of the repository share: a moment, a ledger, fills, and processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd

from botlib.brokers.base import Fill, OpenOrder
from botlib.repository import Repository

NOW = pd.Timestamp("2026-01-05 15:00:00.123456789", tz="UTC")
PRELUDE = """
import json, os, sys, time
import pandas as pd
from botlib.brokers.base import Fill
from botlib.errors import BotlibError
from botlib.repository import Lease, Repository
NOW = pd.Timestamp("2026-01-05 15:00", tz="UTC")
db = sys.argv[1]
"""


def later(seconds: float) -> pd.Timestamp:
    return NOW + pd.Timedelta(seconds, "s")


def ledger_of(repository: Repository, account: str = "account-1", epoch: str = "1") -> int:
    return repository.ledger(account, epoch, venue="sandbox", capital=100_000.0, time=NOW).id


def a_fill(qty: float = 10.0, price: float = 100.0, cum_qty: float | None = None, order_id: str = "o-1",
           **changes: object) -> Fill:
    given = {"order_id": order_id, "symbol": "AAPL", "side": "buy", "qty": qty, "price": price,
             "cum_qty": qty if cum_qty is None else cum_qty, "time": NOW, **changes}
    return Fill(**given)  # type: ignore[arg-type]


def an_order(**changes: object) -> OpenOrder:
    given = {"order_id": "o-1", "client_order_id": "c-1", "symbol": "AAPL", "side": "buy", "type": "market",
             "time_in_force": "day", "status": "new", "qty": 10.0, **changes}
    return OpenOrder(**given)  # type: ignore[arg-type]


def an_intent(tx, ledger: int, name: str = "c-1", **changes: object) -> None:
    given = {"symbol": "AAPL", "side": "buy", "purpose": "entry", "qty": 10.0, "adds_risk": True, "time": NOW}
    tx.intent(name, ledger, **{**given, **changes})


def start(folder: Path, source: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs ``source`` after PRELUDE."""
    script = PRELUDE + textwrap.dedent(source)
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], cwd=folder, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], seconds: float = 30.0) -> str:
    """What it printed; its failure fails the test."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return out


def say_when(process: subprocess.Popen[str], word: str) -> None:
    """Wait until it has printed a line."""
    line = process.stdout.readline().strip()
    assert line == word, line + process.stderr.read()
