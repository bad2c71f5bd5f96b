"""The Makefile with a pretended Python, so that nothing is installed.

Which environment it takes, when it installs, what it prints, and what it keeps from the programs it runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")

# Notes each call, plays the part of python, venv and pip. `-m venv FOLDER` copies itself there.
PRETENDED = """#!/bin/sh
echo "$* |${APCA_API_KEY_ID-}${APCA_OTHER-}" >>"$CALLS"
case "$*" in
    --version) echo "Python ${PRETEND_VERSION-3.12.1}" ;;
    *version_info*) [ -z "$PRETEND_OLD" ] ;;
    *ensurepip*) [ -z "$PRETEND_NO_VENV" ] ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install "*) echo "pip talks"; [ -z "$PRETEND_PIP_FAILS" ] ;;
    "-m botlib.warmup") [ -z "$PRETEND_NO_WARMUP" ] ;;
    "-m botlib backtest "*) echo "a table"; [ -z "$PRETEND_REFUSED" ] ;;
    "-m botlib live paper "*) echo "a session" ;;
esac
"""


class Project:
    """A copy of the Makefile with nothing behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a project"
        self.calls_file = folder / "calls"
        (self.folder / "tests").mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", "tests/constraints.txt"):
            shutil.copy(ROOT / name, self.folder / name)
        self.python = self.pretend(folder / "bin" / "python3")
        self.variables = {"PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder),
                          "CALLS": str(self.calls_file)}

    def pretend(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PRETENDED)
        path.chmod(0o755)
        return path

    def make(self, *words: str, **variables: object) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        return subprocess.run(["make", *words], cwd=self.folder, capture_output=True, text=True,
                              env=self.variables | {k: str(v) for k, v in variables.items()})

    @property
    def installs(self) -> list[str]:
        return [line.split(" |")[0] for line in self.calls.splitlines() if line.startswith("-m pip install")]

    @property
    def calls(self) -> str:
        return self.calls_file.read_text()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_help_is_the_default_and_lists_every_target(project):
    targets = set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)) - {"environment", "test-environment"}
    done = project.make("help")
    assert set(re.findall(r"^  make (\S+) +\S.+$", done.stdout, re.MULTILINE)) == targets
    assert {"run", "test", "quick", "lab", "golden", "bench", "lock", "clean"} <= targets
    assert done.stdout.index("To use botlib:") < done.stdout.index("make run") < done.stdout.index("To work on botlib")
    assert done.stdout.index("To work on botlib") < done.stdout.index("make test")
    assert project.make().stdout == done.stdout
    assert project.calls == ""


def test_without_an_active_environment_it_makes_one_with_the_tested_versions(project):
    done = project.make("run")
    assert (done.returncode, done.stdout) == (0, "a table\na session\n")
    assert done.stderr == "Installing botlib and its libraries into .venv (the first time takes a few minutes) ...\n"
    assert (project.folder / ".venv/bin/python").exists()
    assert len(project.installs) == 1
    assert "-c tests/constraints.txt -e ." in project.installs[0]


def test_a_second_run_installs_nothing_until_the_project_changes(project):
    project.make("run")
    again = project.make("run")
    assert (project.installs, again.stdout, again.stderr) == ([], "a table\na session\n", "")
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    project.make("run")
    assert len(project.installs) == 1
    project.make("run", PRETEND_VERSION="3.13.0")
    assert len(project.installs) == 1


def test_the_engine_is_compiled_with_the_environment_and_not_again(project):
    project.make("run")
    assert project.calls.splitlines()[-3].startswith("-m botlib.warmup |")
    project.make("run")
    assert "botlib.warmup" not in project.calls


def test_an_interrupted_warm_up_stops_nothing(project):
    done = project.make("run", PRETEND_NO_WARMUP="1")
    assert (done.returncode, done.stdout) == (0, "a table\na session\n")


def test_a_run_is_a_backtest_and_then_a_session(project):
    project.make("run")
    run, session = [line.removesuffix(" |") for line in project.calls.splitlines()[-2:]]
    assert run == "-m botlib backtest --config parameters/backtest.yaml"
    assert session == "-m botlib live paper --config parameters/parity.yaml --quiet"
    done = project.make("run", PRETEND_REFUSED="1")
    assert done.returncode != 0
    assert done.stdout == "a table\n"


def test_the_lab_asks_nothing_about_news_unless_the_user_wants_it(project):
    said = project.make("-n", "lab").stdout
    folder = re.search(r'JUPYTER_CONFIG_PATH="([^"$]+)', said)[1].removeprefix(str(project.folder) + "/")
    defaults = json.loads((ROOT / folder / "labconfig" / "default_setting_overrides.json").read_text())
    assert defaults == {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}


def test_tests_need_more_than_a_run_but_not_the_other_way_round(project):
    project.make("run")
    project.make("quick")
    assert [line.split()[-1] for line in project.installs] == [".[test]"]
    project.make("run")
    assert project.installs == []


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_is_used_and_its_versions_kept(project, tmp_path, variable):
    active = tmp_path / "my env"
    project.pretend(active / "bin" / "python")
    done = project.make("run", **{variable: active}, CONDA_DEFAULT_ENV="mine")
    assert (done.returncode, done.stdout) == (0, "a table\na session\n")
    assert f"into the active environment {active}" in done.stderr
    assert len(project.installs) == 1
    assert "constraints" not in project.installs[0]
    assert not (project.folder / ".venv").exists()


def test_conda_base_counts_as_no_environment(project, tmp_path):
    project.pretend(tmp_path / "conda" / "bin" / "python")
    done = project.make("run", CONDA_PREFIX=tmp_path / "conda", CONDA_DEFAULT_ENV="base")
    assert done.returncode == 0
    assert (project.folder / ".venv").exists()


def test_its_own_environment_activated_is_the_same_one(project):
    project.make("run")
    project.make("run", VIRTUAL_ENV=project.folder / ".venv")
    assert project.installs == []


def test_pip_is_heard_when_it_fails_and_the_next_run_tries_again(project):
    done = project.make("run", PRETEND_PIP_FAILS="1")
    assert done.returncode != 0
    assert "pip talks" in done.stderr
    assert "Could not install botlib into .venv" in done.stderr
    assert "a table" not in done.stdout
    assert project.make("run").stdout == "a table\na session\n"


def test_an_old_python_is_refused(project):
    done = project.make("run", "PYTHON=python3", PRETEND_OLD="1", PRETEND_VERSION="3.9.2")
    assert done.returncode != 0
    assert "botlib needs Python 3.11 or newer; python3 is: Python 3.9.2" in done.stderr
    assert "PYTHON=" in done.stderr
    assert not (project.folder / ".venv").exists()


def test_an_active_environment_with_an_old_python_is_refused(project, tmp_path):
    project.pretend(tmp_path / "old" / "bin" / "python")
    done = project.make("run", VIRTUAL_ENV=tmp_path / "old", PRETEND_OLD="1", PRETEND_VERSION="3.10.4")
    assert done.returncode != 0
    assert f"{tmp_path / 'old'} has: Python 3.10.4" in done.stderr
    assert project.installs == []


def test_a_python_without_venv_names_the_package_to_install(project):
    done = project.make("run", PRETEND_NO_VENV="1")
    assert done.returncode != 0
    assert "sudo apt install python3-venv" in done.stderr


@pytest.mark.parametrize("target", ["run", "test", "quick", "golden", "bench"])
def test_no_key_of_a_broker_gets_in(project, target):
    project.make(target, APCA_API_KEY_ID="PLEASE-NOT", APCA_OTHER="NOR-ME")
    last = project.calls.splitlines()[-1]
    assert last.endswith(" |")
    assert not last.startswith("-m pip")


def test_clean_leaves_what_runs_left(project):
    kept = project.folder / "outputs" / "backtest" / "x" / "notebook.ipynb"
    gone = [project.folder / path for path in (".bench/x", "outputs/test-failures/x", "botlib/__pycache__/x.pyc")]
    for path in [kept, *gone]:
        path.parent.mkdir(parents=True)
        path.touch()
    (project.folder / "notebooks").mkdir()
    project.make("run")
    assert project.make("clean").returncode == 0
    assert kept.exists()
    assert not (project.folder / ".venv").exists()
    assert not [path for path in gone if path.exists()]
