"""What should have gone before live trading: backtests and paper sessions on record, and a Jupyter server kept shut."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botlib import arming
from botlib.arming import Evidence, Terms

if TYPE_CHECKING:
    from botlib.repository import Repository

JUPYTER = "jupyter-open"

_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # addresses of nobody (RFC 5737, 3849)
_SERVER_FILES = ("jpserver-*.json", "nbserver-*.json")  # as Jupyter's servers leave them in their runtime folder


def evidence(repository: Repository, outputs: Path, terms: Terms, *, feed: str,
             servers: Callable[[], Sequence[Mapping[str, Any]]] | None = None) -> list[Evidence]:
    """What there is, of the same strategy: its source and its parameters.

    Parameters
    ----------
    outputs : Path
        Folder of all runs.
    feed : str
        Of the paper sessions that count. Those on the local exchange count only for a rehearsal there.
    servers : function, optional
        The Jupyter servers that may reach this kernel, as `running_servers` gives them.
    """
    tests, honest = _backtests(outputs, terms.strategy_hash)
    count = _paper_sessions(repository, terms, feed)
    found = [
        Evidence(name="backtest", found=tests > 0, text=f"backtests of this strategy: {tests}"),
        Evidence(name="look-ahead", found=honest > 0, text=f"of these with a passed look-ahead check: {honest}"),
        Evidence(name="paper-sessions", found=count >= arming.PAPER_SESSIONS,
                 text=f"paper sessions on feed {feed}: {count}, of at least {arming.PAPER_SESSIONS}"),
    ]
    running = (servers or running_servers)()
    if running:
        exposed = exposures(running)
        found.append(Evidence(name=JUPYTER, found=not exposed, text=exposed or
                              "the Jupyter server is closed to other machines and asks for a token or password"))
    return found


def _backtests(outputs: Path, strategy_hash: str) -> tuple[int, int]:
    """Backtests of a strategy on record, and those of them whose look-ahead check passed."""
    tests = honest = 0
    for path in (outputs / "backtest").glob("*/result.json"):
        if path.parent.name.startswith(".") or path.parent.name.endswith("_failed"):
            continue
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            same = result["status"] == "ok" and result["strategy_hash"] == strategy_hash
            passed = same and result["checks"]["look-ahead"]["passed"] is True
        except (OSError, ValueError, KeyError, TypeError):
            continue
        tests += same
        honest += passed
    return tests, honest


def _paper_sessions(repository: Repository, terms: Terms, feed: str) -> int:
    """Those that sent orders, took a pass at least, and came to an end of their own or a person's."""
    sessions = repository.sessions()
    if sessions.empty:
        return 0
    same = sessions[(sessions["kind"] == "paper") & (sessions["strategy_hash"] == terms.strategy_hash)
                    & (sessions["feed"] == feed) & (sessions["orders"] == "send") & (sessions["iterations"] > 0)
                    & sessions["status"].isin(["success", "user-cancelled"])]
    venues = {one.id: one.venue for one in repository.ledgers()}
    wanted = ("alpaca-paper",) if terms.venue == "alpaca-live" else ("alpaca-paper", "sandbox")
    return sum(venues.get(int(number)) in wanted for number in same["ledger_id"])


# --- Jupyter ----------------------------------------------------------------------------------------------------------


def running_servers(*, anywhere: bool = False) -> list[Mapping[str, Any]]:
    """The Jupyter server of this kernel, or all of the user's when it cannot be told which; none outside a kernel, but
    ``anywhere`` all of them: a person who arms should know what a later kernel will find.

    Read from the files they leave, as ``jupyter server list`` does: the server may live in another environment.
    """
    if "ipykernel" not in sys.modules and not anywhere:
        return []
    from jupyter_core.paths import jupyter_runtime_dir

    running: list[Mapping[str, Any]] = []
    for path in (path for pattern in _SERVER_FILES for path in Path(jupyter_runtime_dir()).glob(pattern)):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            os.kill(int(found["pid"]), 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            continue
        running.append({**found, "listens": [] if found.get("sock") else _listens(found.get("port"))})
    mine = [one for one in running if str(one["pid"]) == os.environ.get("JPY_PARENT_PID")]
    return mine or running


def _listens(port: object) -> list[str]:
    """This machine's addresses, other than loopback, at which something answers on a port. Asked of the network because
    what a server writes down of ``--ip='*'`` is "localhost"."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))  # sends nothing: it chooses the address that would be sent from
                own = str(probe.getsockname()[0])
            with socket.create_connection((own, int(port)), timeout=0.5):  # type: ignore[call-overload]
                found.append(own)
        except (OSError, TypeError, ValueError, OverflowError):
            continue
    return found


def exposures(servers: Sequence[Mapping[str, Any]]) -> str:
    """Why servers let others in; "" when none does. What cannot be told counts as open."""
    said = []
    for one in servers:
        hosts = [] if one.get("sock") else [*one.get("listens", ()), str(one.get("hostname") or "")]
        said += [f"the Jupyter server listens on {host or 'all addresses'}" for host in hosts if not _local(host)][:1]
        if not one.get("token") and not one.get("password"):
            said.append("the Jupyter server has neither token nor password")
    return "; ".join(dict.fromkeys(said))


def _local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
