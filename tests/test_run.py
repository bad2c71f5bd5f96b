"""The runner, with the real papermill on tiny notebooks: evidence, honest endings, nothing leaked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
import run_helpers as helpers

from botlib import job, provenance, run
from botlib.config import BacktestParams
from botlib.errors import DataError, InputError, RunFailed, StrategyError

pytestmark = pytest.mark.slow  # each run starts a kernel


def execute(project: Path, **options):
    output = options.pop("output", "outputs")
    return run.execute(job.prepare(root=project, **options), output=output)


def texts(notebook: Path) -> str:
    """Everything the cells printed or showed, and their errors."""
    found = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for out in cell.get("outputs", []):
            found.append(out.get("text", "") + out.get("evalue", "") + str(out.get("data", {}).get("text/plain", "")))
    return "\n".join(found)


# --- a run that succeeds --------------------------------------------------------------------------------------------

SHOW = """\
import json, os, sys, botlib.errors
print(json.dumps({"python": sys.executable, "botlib": botlib.errors.__file__, "cwd": os.getcwd(),
    "environ": dict(os.environ), "symbols": symbols, "strategy": strategy, "risk": risk, "safety": safety,
    "output_dir": output_dir}))"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One finished run in a folder whose name papermill would take for a format string."""
    project = helpers.make_project(tmp_path_factory.mktemp("run") / "a {project} é", SHOW, helpers.RESULT)
    (project / "parameters" / "mine.yaml").write_text(
        "name: mine\nsymbols: [ON, NO]\nstrategy: {fast: 20}\nrisk: {stop_loss_pct: null}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APCA_API_KEY_ID", "never-to-be-seen")
        patch.setenv("SOME_SERVICE_TOKEN", "tok-do-not-show-me")
        patch.setenv("MPLBACKEND", "Agg")
        result = execute(project, configs=["parameters/mine.yaml"],
                         sets=["safety.max_drawdown_pct=7", "strategy.slow=50"], flags={"period": "5y"})
    shown = json.loads(next(line for line in texts(result.notebook).splitlines() if line.startswith("{")))
    return project, result, shown


def test_the_folder_holds_the_evidence_and_nothing_else(done):
    project, result, _ = done
    assert result.folder.parent == project / "outputs" / "backtest"
    stamp, name, number = result.folder.name.split("_")
    assert time.strptime(stamp, "%Y%m%dT%H%M%SZ")
    assert name == "mine"
    assert len(number) == 6
    assert sorted(p.name for p in result.folder.iterdir()) == [
        "notebook.ipynb", "parameters.yaml", "provenance.json", "result.json"]
    assert helpers.runs(project) == [result.folder]


def test_the_notebook_got_the_merged_values(done):
    _, result, shown = done
    assert shown["symbols"] == ["ON", "NO"]
    assert shown["strategy"] == {"name": "moving_average_cross", "fast": 20, "slow": 50, "weight": 0.1,
                                 "allow_short": False}
    assert shown["risk"]["stop_loss_pct"] is None
    assert shown["risk"]["take_profit_pct"] == 10.0
    assert shown["safety"]["max_drawdown_pct"] == 7.0
    assert shown["output_dir"] == str(result.folder)  # the hidden folder's name is nowhere
    assert ".partial" not in result.notebook.read_text(encoding="utf-8")


def test_the_kernel_is_this_python_with_this_botlib(done):
    project, _, shown = done
    assert shown["python"] == sys.executable
    assert Path(shown["botlib"]) == Path(run.__file__).with_name("errors.py")
    assert shown["cwd"] == str(project / "notebooks")
    assert shown["environ"]["BOTLIB_ROOT"] == str(project)


def test_keys_do_not_reach_the_kernel_and_secrets_are_starred(done):
    _, result, shown = done
    assert not [name for name in shown["environ"] if name.startswith("APCA_")]
    assert shown["environ"]["SOME_SERVICE_TOKEN"] == "***"
    assert shown["environ"]["MPLBACKEND"] != "Agg"  # else the notebook would have no figures
    for file in result.folder.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "tok-do-not-show-me" not in text
        assert "never-to-be-seen" not in text


def test_the_executed_notebook_is_valid_and_complete(done):
    _, result, _ = done
    notebook = nbformat.read(result.notebook, as_version=4)
    nbformat.validate(notebook)
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert "source.ipynb" not in result.notebook.read_text(encoding="utf-8")
    assert notebook.metadata.botlib.status == "ok"


def test_the_parameters_run_again(done):
    project, result, _ = done
    again = job.prepare(root=project, configs=[result.folder / "parameters.yaml"])
    assert again.params == result.params
    assert set(again.origins.values()) == {str((result.folder / "parameters.yaml").relative_to(project)), "default"}


def test_provenance_says_where_everything_came_from(done):
    project, result, _ = done
    record = json.loads((result.folder / "provenance.json").read_text(encoding="utf-8"))
    assert (record["status"], record["reason"], record["kind"]) == ("ok", "", "backtest")
    assert record["started"] <= record["ended"]
    assert record["started"].endswith("+00:00")
    notebook = project / "notebooks" / "10_backtest.ipynb"
    assert record["notebook"] == {"file": "notebooks/10_backtest.ipynb",
                                  "sha256": hashlib.sha256(notebook.read_bytes()).hexdigest()}
    strategy = Path(run.__file__).parent / "strategies" / "moving_average_cross.py"
    assert record["strategy"] == {"file": str(strategy), "hash": "strategy-1",
                                  "sha256": hashlib.sha256(strategy.read_bytes()).hexdigest()}
    assert record["data"] == {"hash": "data-1"}
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "pandas", "numba", "papermill"} <= set(record["versions"])
    origins = record["origins"]
    assert origins["name"] == origins["strategy.fast"] == origins["risk.stop_loss_pct"] == "parameters/mine.yaml"
    assert origins["safety.max_drawdown_pct"] == origins["strategy.slow"] == "--set"
    assert origins["period"] == "--period"
    assert origins["cash"] == origins["strategy.name"] == "notebooks/10_backtest.ipynb"
    assert origins["risk.take_profit_pct"] == "default"
    assert origins["strategy.allow_short"] == "strategy default"


def test_the_result_is_what_the_notebook_wrote(done):
    _, result, _ = done
    written = json.loads((result.folder / "result.json").read_text(encoding="utf-8"))
    assert written == result.result
    assert written["metrics"] == {"total_return_pct": 12.34, "sharpe": None, "trades": 3}
    assert written["status"] == "ok"


# --- runs that do not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "kind"), [("InputError", InputError), ("DataError", DataError),
                                             ("StrategyError", StrategyError)])
def test_a_refusal_in_the_notebook_leaves_nothing(tmp_path, error, kind):
    cell = f"from botlib.errors import {error}\nraise {error}('XYZ is unknown; did you mean XYA?')"
    project = helpers.make_project(tmp_path / "p", cell, helpers.RESULT)
    with pytest.raises(kind) as caught:
        execute(project)
    assert type(caught.value) is kind
    assert str(caught.value) == "XYZ is unknown; did you mean XYA?"
    assert not (project / "outputs").exists()


def test_a_refusal_keeps_what_was_there(tmp_path):
    project = helpers.make_project(tmp_path / "p", "from botlib.errors import DataError\nraise DataError('no bars')")
    (project / "outputs" / "backtest" / "earlier").mkdir(parents=True)
    with pytest.raises(DataError):
        execute(project)
    assert [p.name for p in helpers.runs(project)] == ["earlier"]


@pytest.mark.parametrize(("cells", "said"), [
    (("print('x')", "1 / 0", helpers.RESULT), "cell In [4] of notebooks/10_backtest.ipynb raised ZeroDivisionError"),
    (("from botlib.errors import ProviderError\nraise ProviderError('service is down')",), "service is down"),
    (("print('no result')",), "without writing result.json"),
    (("import sys\nsys.exit(0)", helpers.RESULT), "ended early"),
    (("import os\nos._exit(3)", helpers.RESULT), "process ended without a word, exit code 3: code in it"),
    (("import os\nos.kill(os.getpid(), 9)", helpers.RESULT), "SIGKILL ended it; the system does so when"),
    (("open(output_dir + '/result.json', 'w').write('{\"status\": \"o')",), "not valid JSON"),
    (("open(output_dir + '/result.json', 'w').write('{\"status\": \"ok\"}')",), "lacks metrics"),
    ((helpers.RESULT, "raise KeyError('late')"), "KeyError: 'late'"),
], ids=["crash", "provider", "no-result", "exit", "kernel-dies", "kernel-killed", "torn-result", "thin-result",
        "late-crash"])
def test_a_failed_run_says_so_everywhere(tmp_path, cells, said):
    project = helpers.make_project(tmp_path / "p", *cells)
    with pytest.raises(run.RunFailed, match=said.replace("[", r"\[")) as caught:
        execute(project)
    assert "\n" not in str(caught.value)
    (folder,) = helpers.runs(project)
    assert folder == caught.value.folder
    assert folder.name.endswith("_failed")
    record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert record["status"] == "failed"
    assert said in record["reason"]
    assert said in caught.value.log.read_text(encoding="utf-8")
    assert nbformat.read(folder / "notebook.ipynb", as_version=4).metadata.botlib.status == "failed"
    if (folder / "result.json").exists():
        assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["status"] == "failed"


def test_cells_that_never_ran_do_not_read_completed(tmp_path):
    project = helpers.make_project(tmp_path / "p", "import os\nos._exit(3)", helpers.RESULT)
    with pytest.raises(run.RunFailed) as caught:
        execute(project)
    cells = json.loads((caught.value.folder / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    states = [c["metadata"]["papermill"]["status"] for c in cells if c["cell_type"] == "code"]
    assert states == ["completed", "completed", "failed", "pending"]


def test_the_log_has_the_traceback_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_PASSWORD", "hunter22-hunter22")
    cell = "import os\nprint('said')\nraise RuntimeError(os.environ['SOME_PASSWORD'])"
    project = helpers.make_project(tmp_path / "p", cell)
    with pytest.raises(run.RunFailed) as caught:
        execute(project)
    log = caught.value.log.read_text(encoding="utf-8")
    assert "said" in log
    assert "Traceback" in log
    for file in caught.value.folder.iterdir():
        assert "hunter22" not in file.read_text(encoding="utf-8")
    assert "hunter22" not in str(caught.value)


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path):
    project = helpers.make_project(tmp_path / "p")
    (project / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(InputError, match="--output"):
        execute(project, output="taken")


def test_output_goes_where_it_is_told(tmp_path):
    project = helpers.make_project(tmp_path / "p")
    result = execute(project, output=tmp_path / "elsewhere")
    assert result.folder.parent == tmp_path / "elsewhere" / "backtest"
    assert not (project / "outputs").exists()


def test_twenty_thousand_prints_are_one_output(tmp_path):
    project = helpers.make_project(tmp_path / "p", "for i in range(20_000): print(i)", helpers.RESULT)
    cell = nbformat.read(execute(project).notebook, as_version=4).cells[3]
    assert len(cell.outputs) == 1
    assert cell.outputs[0].text.count("\n") == 20_000


def test_names_cannot_carry_code(tmp_path):
    project = helpers.make_project(tmp_path / "p")
    evil = "x=__import__('pathlib').Path('pwned').touch();y"
    (project / "parameters" / "evil.yaml").write_text(json.dumps({evil: 1}), encoding="utf-8")
    for options in ({"configs": ["parameters/evil.yaml"]}, {"sets": [f"{evil}=1"]}):
        with pytest.raises(InputError):
            execute(project, **options)
    assert not list(tmp_path.rglob("pwned"))


def test_values_cannot_carry_code(tmp_path):
    text = "\"]; open('pwned', 'w'); [\"\\"
    project = helpers.make_project(tmp_path / "p", "print(repr(strategy['mode']))", helpers.RESULT)
    (project / "notebooks" / "mine.py").write_text(helpers.STRATEGY.replace(
        "    def targets", "    mode: str = 'a'\n\n    def targets"), encoding="utf-8")
    (project / "parameters" / "x.yaml").write_text(json.dumps(
        {"strategy": {"name": "notebooks/mine.py:Mine", "mode": text}}), encoding="utf-8")
    result = execute(project, configs=["parameters/x.yaml"])
    assert repr(text) in texts(result.notebook)
    assert not list(tmp_path.rglob("pwned"))


def test_a_strategy_file_is_found_from_the_kernel(tmp_path):
    cell = ("from botlib.config import BacktestParams\nparams = BacktestParams.from_notebook(globals())\n"
            "print('lookback is', params.load_strategy().lookback)")
    project = helpers.make_project(tmp_path / "p", cell, helpers.RESULT)
    (project / "notebooks" / "mine.py").write_text(helpers.STRATEGY, encoding="utf-8")
    result = execute(project, flags={"strategy": "notebooks/mine.py:Mine"}, sets=["strategy.lookback=33"])
    assert "lookback is 33" in texts(result.notebook)
    record = json.loads((result.folder / "provenance.json").read_text(encoding="utf-8"))
    assert record["strategy"]["file"] == "notebooks/mine.py"


# --- signals --------------------------------------------------------------------------------------------------------

SLOW = "import os, time\nprint('pid', os.getpid(), flush=True)\nfor _ in range(600): time.sleep(0.1)"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3] if Path("/proc").exists() else True


def _kernel_of(project: Path) -> int | None:
    for folder in helpers.runs(project):
        log = folder / "run.log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        found = [line.split()[1] for line in lines if line.startswith("pid ")]
        if found:
            return int(found[0])
    return None


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_run_honestly(tmp_path, name):
    project = helpers.make_project(tmp_path / "p", SLOW, helpers.RESULT)
    signum = getattr(signal, name)
    process = subprocess.Popen([sys.executable, "-m", "botlib", "backtest", "--root", str(project)], cwd=project,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[1])})
    try:
        for _ in range(600):
            pid = _kernel_of(project)
            if pid is not None or process.poll() is not None:
                break
            time.sleep(0.1)
        assert pid is not None
        assert _alive(pid)
        process.send_signal(signum)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signum
    assert said.startswith(f"error: stopped by {name}")
    assert said.count("\n") == 1
    assert not _alive(pid)
    (folder,) = helpers.runs(project)
    assert folder.name.endswith("_failed")
    assert json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["status"] == "stopped"


def test_handlers_are_given_back(tmp_path):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    execute(helpers.make_project(tmp_path / "p"))
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_in_another_thread_works(tmp_path):
    project = helpers.make_project(tmp_path / "p")
    found = []
    thread = threading.Thread(target=lambda: found.append(execute(project)))
    thread.start()
    thread.join()
    assert found[0].result["status"] == "ok"


def test_job_keeps_the_text_it_checked(tmp_path):
    project = helpers.make_project(tmp_path / "p")
    work = job.prepare(root=project)
    helpers.write_notebook(project / "notebooks" / "10_backtest.ipynb", "raise SystemExit('changed since')")
    assert run.execute(work).result["status"] == "ok"
    assert work.params == BacktestParams.from_mapping(work.params.plain())


# --- a disk that is full, a flood of output, an error in a cell -----------------------------------------------------


def test_a_full_disk_is_one_sentence_and_leaves_no_half_run(tmp_path, monkeypatch):
    def full(_path, _text):
        raise OSError(errno.ENOSPC, "No space left on device")

    project = helpers.make_project(tmp_path)
    work = job.prepare(root=project)
    monkeypatch.setattr(provenance, "write_atomically", full)
    with pytest.raises(RunFailed, match=r"outputs/backtest cannot be written \(No space left on device\): free some"):
        run.execute(work)
    assert helpers.runs(project) == []


def test_a_full_disk_that_a_cell_meets_is_told_as_such(tmp_path):
    project = helpers.make_project(tmp_path, "raise OSError(28, 'No space left on device')")
    with pytest.raises(RunFailed, match=r"outputs/backtest cannot be written \(No space left on device\)"):
        execute(project)
    assert [folder.name.endswith("_failed") for folder in helpers.runs(project)] == [True]


def test_a_flood_of_output_is_cut_and_the_run_goes_on(tmp_path):
    flood = "for i in range(20_000): print('line', i, '-' * 50)"
    result = execute(helpers.make_project(tmp_path, flood, helpers.RESULT))
    said = texts(result.notebook)
    assert "line 0 -" in said and "output-cut: " in said and "line 19999" not in said
    assert len(said) < 210_000


def test_an_error_of_a_strategy_in_a_cell_names_the_cell(tmp_path):
    strategy = "from botlib import Strategy\nfrom dataclasses import dataclass\n@dataclass(frozen=True)\n" \
               "class Mine(Strategy):\n    def targets(self, bars):\n        return 1 / 0"
    trade = "import botlib\np = botlib.providers.load('sample')\n" \
            "f = p.download_bars(symbols=['IBM'], period='1y', interval='1d')\n" \
            "botlib.backtest(botlib.Bars.from_frame(f), Mine())"
    with pytest.raises(RunFailed, match=r"ZeroDivisionError: division by zero \(cell In \[3\], line 6\)"):
        execute(helpers.make_project(tmp_path, strategy, trade))
