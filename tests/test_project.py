"""The project's own files agree with one another: dependencies, pins, conda, changelog, lint, types, the wheel."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}

# Where conda-forge's name differs from PyPI's.
CONDA_NAMES = {
    "exchange_calendars": "exchange-calendars", "jupyter-client": "jupyter_client", "jupyter-core": "jupyter_core",
    "jupyter-server": "jupyter_server",
    "matplotlib": "matplotlib-base", "msgpack": "msgpack-python",
}


def conda_lines() -> list[str]:
    """The conda packages of environment.yml, as written there."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = text.split("dependencies:\n")[1].split("  - pip:\n")[0]
    return re.findall(r"^  - (.+)$", listed, re.MULTILINE)


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, **options)  # type: ignore[call-overload]


# --- Dependencies --------------------------------------------------------------------------------

def test_environment_yml_repeats_the_dependencies():
    expected = {f"{CONDA_NAMES.get(r.name, r.name)} {','.join(sorted(str(s) for s in r.specifier))}" for r in RUNTIME}
    listed = [line for line in conda_lines() if line != "pip" and not line.startswith("python ")]
    assert {" ".join([line.split()[0], ",".join(sorted(line.split()[1].split(",")))]) for line in listed} == expected


def test_environment_yml_asks_for_the_same_python_and_installs_botlib():
    assert f"python {PROJECT['requires-python']}" in conda_lines()
    assert (ROOT / "environment.yml").read_text(encoding="utf-8").endswith("  - pip:\n      - -e .\n")


@pytest.mark.parametrize("line", conda_lines())
def test_conda_reads_the_line(line):
    from rattler import MatchSpec

    assert MatchSpec(line, strict=True).name.normalized == line.split()[0]


def test_conda_reading_is_strict():
    from rattler import MatchSpec

    with pytest.raises(Exception, match="(?i)pars|invalid|version"):
        MatchSpec("numpy >=2.0,<", strict=True)


def test_each_dependency_has_a_line_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for requirement in [*RUNTIME, *(r for rs in EXTRAS.values() for r in rs)]:
        line = re.search(rf'^    "{re.escape(requirement.name)}[^"]*", +# \S.{{5,}}$', text, re.MULTILINE)
        assert line, f"pyproject.toml: {requirement} needs a line of its own and a reason after it"


@pytest.mark.parametrize("requirement", RUNTIME, ids=lambda r: r.name)
def test_a_runtime_dependency_has_a_lower_bound(requirement):
    assert any(s.operator == ">=" for s in requirement.specifier)


def pins() -> dict[str, Version]:
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.mark.parametrize("requirement", [r for r in [*RUNTIME, *(r for rs in EXTRAS.values() for r in rs)]
                                         if r.name != "botlib"], ids=lambda r: r.name)
def test_a_pin_meets_each_requirement(requirement):
    pinned = pins()
    assert canonicalize_name(requirement.name) in pinned, "run: make lock"
    assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, "run: make lock"


def imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports of a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


def test_what_botlib_imports_is_declared():
    extras = (r for name in ("optuna", "scale", "yahoo") for r in EXTRAS[name])
    declared = {canonicalize_name(r.name) for r in [*RUNTIME, *extras]}
    owners = metadata.packages_distributions()
    for path in sorted((ROOT / "botlib").rglob("*.py")):
        if path == ROOT / "botlib/data/rebuild.py":  # a developer's script; its source is declared with the tests
            continue
        for name in imported(path) - set(sys.stdlib_module_names) - {"botlib"}:
            found = {canonicalize_name(owner) for owner in owners.get(name, [])}
            assert found & declared, f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not declare"


def test_python_is_one_that_the_project_allows():
    version = ".".join(map(str, sys.version_info[:3]))
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py311"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == "3.11"


# --- Files ---------------------------------------------------------------------------------------

def test_changelog_speaks_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert sections, "CHANGELOG.md has no section"
    assert sections[0] == "Unreleased" or sections[0] == PROJECT["version"]
    first = text.split("\n## ")[1]
    assert re.search(r"^- \S", first, re.MULTILINE), "the newest section lists nothing"


def test_outputs_are_ignored_but_for_their_readme():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    ignored = ["outputs/backtest/x/notebook.ipynb", ".env", ".env.live", ".venv/x", ".bench/x"]
    kept = ["outputs/README.md", "parameters/backtest.yaml", "notebooks/10_backtest.ipynb", "tests/golden/x.ipynb"]
    assert run("git", "check-ignore", "--no-index", *ignored, *kept).stdout.split() == ignored


def test_ci_runs_the_same_tests_as_a_person():
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "exec make test </dev/null" in text.splitlines()
    assert run("bash", "-n", ".ci/run").returncode == 0


# --- Lint and types ------------------------------------------------------------------------------

def test_ruff():
    found = run(sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", ".")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_types():
    found = run(sys.executable, "-m", "mypy")
    assert found.returncode == 0, found.stdout + found.stderr


# --- The wheel -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                "--wheel-dir", folder, ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("botlib-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_library_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "botlib").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}
    assert packed == here
    assert "botlib/py.typed" in packed


@pytest.mark.slow
def test_the_wheel_works_without_the_repository(wheel, tmp_path):
    """A user with the package alone can load the shipped bars and run a backtest."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    script = tmp_path / "use.py"
    script.write_text(
        "import botlib\n"
        "frame = botlib.providers.load('sample').download_bars(symbols=['IBM'], period='2y', interval='1d')\n"
        "bars = botlib.Bars.from_frame(frame)\n"
        "result = botlib.backtest(bars, botlib.strategies.load('moving_average_cross', {}))\n"
        "print(botlib.__file__, len(result.equity) == len(bars), result.metrics['final_equity'] > 0, sep='\\n')\n",
        encoding="utf-8")
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(site / "botlib" / "__init__.py"), "True", "True"]
