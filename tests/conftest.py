"""Fixtures for all tests, and what a failing test leaves behind.

Hypothesis draws the same examples every time. HYPOTHESIS_PROFILE=explore draws new and more ones from a seed that is
printed; BOTLIB_SEED=N repeats them. HYPOTHESIS_PROFILE=quick (`make quick`) draws a fifth of them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from hypothesis import HealthCheck, core, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
FAILURES = ROOT / "outputs" / "test-failures"
KEPT = {".ipynb", ".log", ".json", ".yaml", ".txt", ".png"}
KEPT_BYTES = 5_000_000

# No deadline: the first example may compile.
settings.register_profile("same", derandomize=True, deadline=None, database=None, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", parent=settings.get_profile("same"), max_examples=20)
settings.register_profile("explore", deadline=None, max_examples=1_000, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "same")
settings.load_profile(PROFILE)
if PROFILE == "explore":
    os.environ.setdefault("BOTLIB_SEED", str(random.SystemRandom().randrange(10**9)))  # xdist's workers inherit it
    core.global_force_seed = int(os.environ["BOTLIB_SEED"])  # what --hypothesis-seed sets


# --- A world without keys, network services or a screen -----------------------------------------------------------

for _name in [name for name in os.environ if name.startswith("APCA_")]:
    del os.environ[_name]
matplotlib.use("Agg")  # not by MPLBACKEND, which the kernels of notebooks would inherit
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a chromium for browser tests. Without one the test is skipped, but in CI it fails."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        missing = "no chromium on this machine (Debian and Ubuntu: sudo apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes in the name of a test are unreadable, and compressed ones hold the time: no two processes would agree."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


# --- What a failing test leaves -----------------------------------------------------------------------------------

def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist's workers have that
        shutil.rmtree(FAILURES, ignore_errors=True)


def pytest_report_header() -> str:
    seed = f", BOTLIB_SEED={os.environ['BOTLIB_SEED']}" if PROFILE == "explore" else ""
    return f"hypothesis: {PROFILE}{seed}"


def repeat_command(nodeid: str) -> str:
    """The command that runs one failed test again."""
    seed = "" if PROFILE == "same" else f"HYPOTHESIS_PROFILE={PROFILE} "
    if PROFILE == "explore":
        seed += f"BOTLIB_SEED={os.environ['BOTLIB_SEED']} "
    python = ".venv/bin/python" if Path(sys.prefix) == ROOT / ".venv" else "python"
    if ".ipynb" in nodeid:  # a cell needs those before it
        return f"{seed}{python} -m pytest --nbval {nodeid.split('::')[0]}"
    return f"{seed}{python} -m pytest '{nodeid}'"


def failure_folder(nodeid: str) -> Path:
    return FAILURES / re.sub(r"[^\w.=-]+", "-", nodeid.removeprefix("tests/")).strip("-")[:120]


def keep_evidence(item: pytest.Item, report: pytest.TestReport) -> None:
    """Copy what the test wrote to its temporary folder, and say what happened and how to repeat it."""
    folder = failure_folder(report.nodeid)
    folder.mkdir(parents=True, exist_ok=True)
    captured = "\n".join(f"--- {title}\n{text}" for title, text in report.sections)
    text = f"{report.nodeid}\nrepeat: {repeat_command(report.nodeid)}\n\n{report.longreprtext}\n{captured}\n"
    (folder / f"{report.when}.log").write_text(re.sub(r"\x1b\[[\d;]*m", "", text), encoding="utf-8")
    if item.path.suffix == ".ipynb":
        shutil.copy(item.path, folder)
    temporary = getattr(item, "funcargs", {}).get("tmp_path")
    if temporary is None:
        return
    for path in sorted(Path(temporary).rglob("*")):
        if path.suffix in KEPT and path.is_file() and path.stat().st_size <= KEPT_BYTES:
            target = folder / path.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        try:
            keep_evidence(item, report)
        except OSError as error:  # the finding matters more than its copy
            warnings.warn(f"could not keep what {report.nodeid} left: {error}", stacklevel=1)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = [r for kind in ("failed", "error") for r in terminalreporter.stats.get(kind, [])]
    nodeids = [r.nodeid for r in failed if ".py" in r.nodeid or ".ipynb" in r.nodeid]  # not those of a worker itself
    if not nodeids:
        return
    terminalreporter.section("to repeat")
    for command in dict.fromkeys(repeat_command(nodeid) for nodeid in nodeids):
        terminalreporter.write_line(command)
    terminalreporter.write_line(f"What they left: {FAILURES.relative_to(ROOT)}/")
