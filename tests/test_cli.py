"""The command line: exit codes, one clear message, nothing left of what was refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import run_helpers as helpers

from botlib import cli, job, run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project, and the working folder in it."""
    folder = helpers.make_project(tmp_path / "project")
    monkeypatch.delenv("BOTLIB_ROOT", raising=False)
    monkeypatch.chdir(folder)
    return folder


def write(project: Path, name: str, text: str) -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def files(project: Path) -> set[str]:
    return {str(p.relative_to(project)) for p in project.rglob("*")}


KEY_ID = "PK" + "ABCDEFGH12345678"  # of the form of Alpaca's
MINE = {"notebooks/mine.py": helpers.STRATEGY}

# (what is wrong, the command line, files to write first, what the message must say)
BAD = [
    ("mistyped parameter", "--set strategy.fsat=10", {},
     "--set: MovingAverageCross has no parameter 'fsat'; did you mean 'fast'?"),
    ("mistyped section", "--set rsk.stop_loss_pct=5", {}, "did you mean 'risk'?"),
    ("mistyped name", "--config a.yaml", {"a.yaml": "symbls: [AAPL]"},
     "a.yaml: unknown parameter 'symbls'; did you mean 'symbols'?"),
    ("rsi_period 0", "--strategy mean_reversion_momentum --set strategy.rsi_period=0", {},
     "rsi_period = 0 is out of range: valid is 2 to 200"),
    ("a fraction for percent", "--set risk.max_position_pct=0.1", {},
     "--set: risk.max_position_pct = 0.1 is out of range: valid is 1 to 100, in percent (5.0 = 5 %)"),
    ("500 for percent", "--set safety.max_drawdown_pct=500", {}, "valid is 0.5 to 90, in percent"),
    ("not a number", "--set costs.slippage_bps=.nan", {}, "costs.slippage_bps = nan"),
    ("not a number in the strategy", "--set strategy.weight=.nan", {}, "strategy.weight = nan"),
    ("text for true", "--set safety.require_explicit_enable='\"false\"'", {}, "require_explicit_enable = 'false'"),
    ("broken YAML", "--config a.yaml", {"a.yaml": "risk:\n  stop_loss_pct: 5\n symbols: [A\n"},
     "a.yaml, line 3, column"),
    ("duplicate name", "--config a.yaml", {"a.yaml": "cash: 1000\ncash: 2000\n"},
     "a.yaml, line 2, column 1: the name 'cash' stands here twice"),
    ("list as file", "--config a.yaml", {"a.yaml": "- cash\n"}, "a.yaml: it holds a list"),
    ("missing file", "--config parameters/mne.yml", {"parameters/mine.yml": ""},
     "parameters/mne.yml does not exist; did you mean 'mine.yml'?"),
    ("missing file with nothing like it", "--config parameters/nope.yaml", {"parameters/own.yaml": ""},
     "parameters/nope.yaml does not exist.\n"),
    ("ticker that is a boolean", "--config a.yaml", {"a.yaml": "symbols: [TRUE]\n"},
     'put the ticker in quotes, "TRUE"'),
    ("ticker twice", "--symbols IBM IBM", {}, "--symbols: symbols: IBM stands there twice"),
    ("lower-case ticker", "--symbols ibm", {}, "did you mean 'IBM'?"),
    ("unknown period", "--period 5yr", {}, "period = '5yr'; did you mean '5y'? Valid: 1d, 5d"),
    ("unknown interval", "--interval 2h", {}, "Valid: 1m, 5m, 15m, 30m, 1h, 1d"),
    ("unknown calendar", "--set calendar=XNYSE", {}, "calendar = 'XNYSE' is unknown; did you mean 'XNYS'?"),
    ("unknown strategy", "--strategy moving_avrage_cross", {}, "did you mean 'moving_average_cross'?"),
    ("missing strategy file", "--strategy notebooks/min.py:Mine", MINE, "did you mean 'mine.py'?"),
    ("missing class", "--strategy notebooks/mine.py:Min", MINE, "did you mean 'Mine'?"),
    ("strategy that does not load", "--strategy notebooks/mine.py:Mine",
     {"notebooks/mine.py": "print('loading')\nx = 1 / 0"}, "notebooks/mine.py, line 2: ZeroDivisionError"),
    ("strategy that exits", "--strategy notebooks/mine.py:Mine", {"notebooks/mine.py": "raise SystemExit(0)"},
     "SystemExit"),
    ("another strategy's parameter", "--strategy mean_reversion_momentum --set strategy.fast=10", {},
     "MeanReversionMomentum has no parameter 'fast'"),
    ("unknown provider", "--set provider=smple", {}, "did you mean 'sample'?"),
    ("unknown provider option", "--set provider=file --set provider_options.pth=x.csv", {}, "did you mean 'path'?"),
    ("missing data file", "--set provider=file --set provider_options.path=data/x.csv", {}, "data/x.csv"),
    ("value the notebook ignores", "--set truncations=30", {}, "truncations is not in the parameters cell"),
    ("secret in a file", "--config a.yaml", {"a.yaml": f"provider_options: {{api_key: {KEY_ID}}}\n"},
     "a.yaml: provider_options.api_key looks like a secret"),
    ("secret by --set", f"--set name={KEY_ID}", {}, "command line: name looks like a secret"),
    ("not name=value", "--set cash", {}, "give NAME=VALUE"),
    ("mistyped flag", "--symbol IBM", {}, "--symbol is not understood; did you mean '--symbols'?"),
    ("flag without value", "--period", {}, "argument --period: expected one argument"),
    ("no project", "--root nowhere", {}, "there is no such folder"),
    ("missing notebook", "--notebook notebooks/10_backtst.ipynb", {}, "did you mean '10_backtest.ipynb'?"),
    ("no notebook", "--notebook a.ipynb", {"a.ipynb": "{}"}, "not a Jupyter notebook"),
    ("code in a name", "--set x=__import__('os')=1", {}, "unknown parameter 'x'"),
]


@pytest.mark.parametrize(("line", "made", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_one_message_and_leaves_nothing(project, capfd, line, made, said):
    import shlex

    for name, text in made.items():
        write(project, name, text)
    before = files(project)
    code = cli.main(["backtest", *shlex.split(line)])
    out, err = capfd.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert KEY_ID not in err
    assert files(project) == before


@pytest.mark.slow
@pytest.mark.parametrize("said", ["no bars for XYZ", "Mine looks ahead"])
def test_a_refusal_inside_the_notebook_is_the_same(project, capfd, said):
    helpers.write_notebook(project / "notebooks" / "10_backtest.ipynb",
                           f"from botlib.errors import StrategyError\nraise StrategyError({said!r})")
    before = files(project)
    assert cli.main(["backtest"]) == 2
    assert capfd.readouterr().err == f"error: {said}\n"
    assert files(project) == before


REAL = """\
from botlib import BacktestParams, Bars, backtest, check_honesty
params = BacktestParams.from_notebook(globals())
frame = params.load_provider().download_bars(symbols=params.symbols, period=params.period, interval=params.interval)
result = backtest(Bars.from_frame(frame, calendar=params.calendar), params.load_strategy(), risk=params.risk)
check_honesty(result).require_no_look_ahead()"""
NAN = "np.full(bars.shape, np.nan)"
TOMORROW = "np.where(np.roll(bars.close, -1, 0) > bars.close, 0.1, 0)"
RULE = "--strategy notebooks/mine.py:Mine"


@pytest.mark.slow
@pytest.mark.parametrize(("line", "made", "said"), [
    ("--symbols AAPLE", {}, "AAPLE"),
    ("--interval 1m", {}, "1m"),
    ("--set provider=file --set provider_options.path=data --symbols ABC",
     {"data/ABC.csv": "date,open,high,low,volume\n2010-01-04,1,1,1,1\n"}, "close"),
    (RULE, {"notebooks/mine.py": helpers.STRATEGY.replace(NAN, "np.zeros(3)")}, "shape (3,)"),
    (RULE, {"notebooks/mine.py": helpers.STRATEGY.replace(NAN, TOMORROW)}, "look-ahead"),
    ("--set risk.max_position_pct=20", {}, "exceeds safety.max_position_size_pct = 10"),
], ids=["unknown symbol", "interval the source lacks", "missing column", "wrong shape", "look-ahead",
        "limits that contradict"])
def test_bad_data_and_bad_strategies_are_the_same(project, capfd, line, made, said):
    helpers.write_notebook(project / "notebooks" / "10_backtest.ipynb",
                           REAL, helpers.RESULT)
    for name, text in made.items():
        write(project, name, text)
    before = files(project)
    code = cli.main(["backtest", *line.split()])
    err = capfd.readouterr().err
    assert code == 2
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert files(project) == before


@pytest.mark.slow
def test_a_run_prints_a_table_and_the_notebook(project, capfd):
    assert cli.main(["backtest", "--symbols", "ON", "NO", "--set", "strategy.fast=20"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    (folder,) = helpers.runs(project)
    lines = out.splitlines()
    assert lines[0] == f"project   {project}"
    assert lines[1] == "notebook  notebooks/10_backtest.ipynb"
    assert re.search(r"total return +12\.3 % +50\.0 %", out)
    assert "look-ahead    passed" in out
    assert lines[-1] == str((folder / "notebook.ipynb").relative_to(project))


@pytest.mark.slow
def test_what_a_strategy_raises_is_one_line_and_its_log_has_the_traceback(project, capfd, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "s3cret-value")
    helpers.write_notebook(project / "notebooks" / "10_backtest.ipynb", REAL, helpers.RESULT)
    write(project, "notebooks/mine.py", helpers.STRATEGY.replace(NAN, "self.half(bars)") + """
    def half(self, bars):
        raise ValueError("no half of " + __import__("os").environ["SOME_TOKEN"])
""")
    assert cli.main(["backtest", *RULE.split()]) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: Mine.targets raised ValueError: no half of *** (line ")
    assert err.count("\n") == 1
    (folder,) = helpers.runs(project)
    log = folder / "run.log"
    assert folder.name.endswith("_failed") and err.endswith(f"log: {log}\n")
    for text in (log.read_text(encoding="utf-8"), (folder / "notebook.ipynb").read_text(encoding="utf-8")):
        assert "in half" in text and "raise ValueError(" in text and "return self.half(bars)" in text
        assert "s3cret-value" not in text


@pytest.mark.slow
def test_a_crash_in_the_notebook_is_one_line_with_its_log(project, capfd):
    helpers.write_notebook(project / "notebooks" / "10_backtest.ipynb", "{}['late']")
    assert cli.main(["backtest"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: cell In [3] of notebooks/10_backtest.ipynb raised KeyError: 'late'; log: ")
    assert err.count("\n") == 1
    assert "Traceback" in Path(err.strip().split("log: ")[1]).read_text(encoding="utf-8")


def test_a_crash_of_botlib_is_one_line_with_its_log(project, capfd, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("first line s3cret-value\nsecond line")

    monkeypatch.setenv("SOME_TOKEN", "s3cret-value")
    monkeypatch.setattr(job, "prepare", broken)
    (project / "outputs").mkdir()
    assert cli.main(["backtest"]) == 1
    err = capfd.readouterr().err
    assert re.fullmatch(r"error: RuntimeError: first line \*\*\*; log: .*\n", err)
    log = Path(err.strip().split("log: ")[1])
    assert log.parent == project / "outputs"
    assert "in broken" in log.read_text(encoding="utf-8")
    assert "s3cret-value" not in log.read_text(encoding="utf-8")


def test_files_and_flags_reach_the_job_in_order(project, monkeypatch, capfd):
    seen = []

    def stop(work, **_options):
        seen.append(work)
        raise run.RunFailed("enough")

    monkeypatch.setattr(run, "execute", stop)
    write(project, "a.yaml", "period: 1y\ncash: 1000\nsymbols: [A]\nstrategy: {fast: 10}")
    write(project, "b.yaml", "period: 2y\nsymbols: [B]\nstrategy: {slow: 99}")
    assert cli.main(["backtest", "--config", "a.yaml", "b.yaml", "--set", "symbols=[C]", "--set", "interval=1h",
                     "--interval", "30m"]) == 1
    assert capfd.readouterr().err == "error: enough\n"
    params, origins = seen[0].params, seen[0].origins
    assert (params.period, params.cash, params.symbols, params.interval) == ("2y", 1000.0, ["C"], "30m")
    assert (params.strategy["fast"], params.strategy["slow"]) == (10, 99)
    assert [origins[k] for k in ("period", "cash", "symbols", "interval", "strategy.fast", "strategy.slow")] == [
        "b.yaml", "a.yaml", "--set", "--interval", "a.yaml", "b.yaml"]


def test_paths_start_at_the_project_from_any_folder(project, monkeypatch):
    seen = []

    def stop(work, **options):
        seen.append((work, options))
        raise run.RunFailed("enough")

    monkeypatch.setattr(run, "execute", stop)
    write(project, "parameters/a.yaml", "cash: 1000\n")
    monkeypatch.chdir(project / "notebooks")
    assert cli.main(["backtest", "--config", "parameters/a.yaml", "--output", "results"]) == 1
    assert (seen[0][0].root, seen[0][0].params.cash) == (project, 1000.0)
    assert seen[0][1]["output"] == "results"


def test_two_wrong_values_of_a_section_both_say_where_they_stand(project, capfd):
    write(project, "a.yaml", "risk: {stop_loss_pct: 0.05, max_position_pct: 0.1}")
    assert cli.main(["backtest", "--config", "a.yaml"]) == 2
    lines = capfd.readouterr().err.removeprefix("error: ").splitlines()
    assert sorted(line.split(" is ")[0] for line in lines) == ["a.yaml: risk.max_position_pct = 0.1",
                                                               "a.yaml: risk.stop_loss_pct = 0.05"]


def test_paths_that_a_shell_completes_are_found_from_the_working_folder(project, monkeypatch):
    seen = []
    monkeypatch.setattr(run, "execute", lambda work, **options: seen.append(work) or [][0])
    write(project, "parameters/a.yaml", "cash: 1000\n")
    write(project, "notebooks/mine.py", helpers.STRATEGY)
    monkeypatch.chdir(project / "notebooks")
    for strategy in ("mine.py:Mine", "../notebooks/mine.py:Mine", "notebooks/mine.py:Mine"):
        cli.main(["backtest", "--config", "../parameters/a.yaml", "--notebook", "10_backtest.ipynb", "--strategy",
                  strategy])
        work = seen.pop()
        assert work.params.cash == 1000.0
        assert work.params.strategy["name"] == "notebooks/mine.py:Mine"
        assert work.origins["cash"] == "parameters/a.yaml"
        assert work.notebook == project / "notebooks" / "10_backtest.ipynb"


def test_a_path_that_could_be_two_files_is_refused_with_both(project, monkeypatch, capfd):
    mine = write(project, "notebooks/parameters/a.yaml", "cash: 1000\n")
    other = write(project, "parameters/a.yaml", "cash: 2000\n")
    monkeypatch.chdir(project / "notebooks")
    assert cli.main(["backtest", "--root", str(project), "--config", "parameters/a.yaml"]) == 2
    err = capfd.readouterr().err
    assert str(mine) in err and str(other) in err and err.count("\n") == 1


def test_without_a_project_the_message_says_what_to_do(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("BOTLIB_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["backtest"]) == 2
    assert "--root" in capfd.readouterr().err


@pytest.mark.parametrize(("line", "said"), [
    (["backtst"], "there is no command 'backtst'; did you mean 'backtest'?"),
    (["--versoin"], "did you mean '--version'?"), (["new"], "required: name"), (["open"], "required: file"),
    (["backtest", "extra"], "extra is not understood"),
])
def test_a_command_line_that_cannot_be_read(capfd, line, said):
    assert cli.main(line) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_help_teaches_by_examples(capfd):
    assert cli.main([]) == 0
    assert "python -m botlib new my_idea" in capfd.readouterr().out
    for command in ("backtest", "new", "open"):
        assert cli.main([command, "--help"]) == 0
        assert f"  python -m botlib {command} " in capfd.readouterr().out


def test_every_example_in_the_help_is_understood(capfd):
    cli.main(["backtest", "--help"])
    lines = capfd.readouterr().out.splitlines()
    examples = [line.split()[3:] for line in lines if line.startswith("  python -m botlib")]
    assert len(examples) >= 5
    top, _ = cli._parser()
    for words in examples:
        assert top.parse_known_args(words)[1] == []


def test_lists(capfd):
    assert cli.main(["strategies"]) == 0
    out = capfd.readouterr().out
    assert re.search(r"rsi_period +14 +2 to 200 +bars", out)
    assert {"mean_reversion_momentum", "moving_average_cross", "momentum_rotation"} <= set(out.split())
    assert cli.main(["providers"]) == 0
    assert {"sample", "file", "yahoo"} <= set(capfd.readouterr().out.split())


def test_help_and_version_load_nothing_heavy():
    code = ("import sys; from botlib.cli import main\n"
            "for words in ['--help'], ['backtest', '--help'], ['--version']: main(words)\n"
            "print([m for m in ('numpy', 'pandas', 'numba', 'pydantic', 'papermill') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(cli.__file__).parents[1])
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


def test_the_module_is_the_command(project):
    done = subprocess.run([sys.executable, "-m", "botlib", "backtest", "--period", "5yr"], capture_output=True,
                          text=True, cwd=project,
                          env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --period: period = '5yr'")


# --- open -----------------------------------------------------------------------------------------------------------


def _cell(notebook: Path) -> dict:
    from botlib import notebook_params

    return notebook_params.defaults(notebook_params.parse(notebook.read_text(encoding="utf-8"), "draft"), "draft")


def test_open_puts_a_files_values_into_the_cell(project, capfd):
    write(project, "parameters/mine.yaml", "symbols: [ON]\nrisk: {stop_loss_pct: null}\n")
    before = (project / "notebooks" / "10_backtest.ipynb").read_bytes()
    for number in ("", "-2"):
        assert cli.main(["open", "parameters/mine.yaml"]) == 0
        assert capfd.readouterr().out.splitlines()[-1] == f"jupyter lab outputs/drafts/mine{number}.ipynb"
        cell = _cell(project / "outputs" / "drafts" / f"mine{number}.ipynb")
        assert cell["symbols"] == ["ON"]
        assert cell["risk"]["stop_loss_pct"] is None
        assert cell["strategy"]["slow"] == 200
        assert cell["output_dir"] == ""
    source = json.loads((project / "outputs/drafts/mine.ipynb").read_text(encoding="utf-8"))["cells"][1]["source"]
    assert "# tickers" in "".join(source)
    assert (project / "notebooks" / "10_backtest.ipynb").read_bytes() == before


@pytest.mark.slow
def test_open_takes_a_run_with_the_notebook_it_executed(project, capfd):
    assert cli.main(["backtest", "--symbols", "ON"]) == 0
    (folder,) = helpers.runs(project)
    helpers.write_notebook(project / "notebooks" / "10_backtest.ipynb", "'another notebook since'")
    for named in (folder, folder / "parameters.yaml", folder / "notebook.ipynb"):
        capfd.readouterr()
        assert cli.main(["open", str(named.relative_to(project))]) == 0
        draft = project / capfd.readouterr().out.splitlines()[-1].removeprefix("jupyter lab ")
        cells = json.loads(draft.read_text(encoding="utf-8"))["cells"]
        assert _cell(draft)["symbols"] == ["ON"]
        assert [c["cell_type"] for c in cells] == ["markdown", "code", "code"]  # no injected cell
        assert "save_result" in "".join(cells[2]["source"])
        assert all(c["outputs"] == [] and c["execution_count"] is None for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize(("words", "said"), [
    (["parameters"], "this folder is no run"), (["parameters/nothing.yaml"], "does not exist"),
    (["notebooks/10_backtest.ipynb"], "give a parameter file or a run folder"),
])
def test_open_refuses_what_is_neither(project, capfd, words, said):
    before = files(project)
    assert cli.main(["open", *words]) == 2
    err = capfd.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert files(project) == before
