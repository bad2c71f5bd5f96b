"""``botlib new``: three files that work at once and are then the user's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import run_helpers as helpers

from botlib import cli, job, notebook_params, scaffold, strategies, yamlfile
from botlib.bars import Bars
from botlib.errors import InputError

FILES = ["notebooks/my_idea.py", "notebooks/my_idea.ipynb", "parameters/my_idea.yaml"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = helpers.make_project(tmp_path / "project")
    monkeypatch.delenv("BOTLIB_ROOT", raising=False)
    monkeypatch.chdir(folder)
    return folder


def written(project):
    return sorted(str(p.relative_to(project)) for p in project.rglob("*") if p.is_file())


def test_new_writes_three_files_and_says_how_to_run_them(project, capfd):
    assert cli.main(["new", "my_idea"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for file in FILES:
        assert file in out
        assert (project / file).is_file()
    assert out.splitlines()[-1].endswith("python -m botlib backtest --config parameters/my_idea.yaml")
    assert written(project) == sorted([*FILES, "notebooks/10_backtest.ipynb"])


def test_the_parameters_are_accepted_and_name_every_parameter_of_the_strategy(project):
    scaffold.new("my_idea")
    work = job.prepare(configs=["parameters/my_idea.yaml"])
    assert work.params.name == "my_idea"
    assert work.strategy_file == project / "notebooks" / "my_idea.py"
    shipped = yamlfile.read(project / "parameters/my_idea.yaml", "my_idea.yaml")["strategy"]
    assert shipped == work.params.strategy
    loaded = strategies.load("notebooks/my_idea.py:MyIdea", root=project)
    assert {"name": shipped["name"], **dict(strategies.describe(loaded)["default"])} == shipped


def test_the_strategy_is_short_and_buys_a_new_high(project):
    scaffold.new("my_idea")
    source = (project / "notebooks/my_idea.py").read_text(encoding="utf-8")
    body = source[source.index("@dataclass"):]
    assert len([line for line in body.splitlines() if line.strip() and not line.strip().startswith("#")]) <= 12
    strategy = strategies.load("notebooks/my_idea.py:MyIdea", {"entry": 3, "exit": 2, "weight": 0.5}, root=project)
    # Highs and lows are closes. Bar 4 (14) is above 12, 13, 12 before it; bar 6 (11) is below 14, 13 before it.
    close = np.array([[11.0], [12.0], [13.0], [12.0], [14.0], [13.0], [11.0]])
    index = pd.date_range("2010-01-04", periods=7, tz="America/New_York")
    bars = Bars(index, ["ABC"], open=close, high=close, low=close,
                close=close, volume=np.ones_like(close), calendar=None)
    targets = np.asarray(strategy.targets(bars)).ravel()
    assert strategy.warmup == 4
    np.testing.assert_array_equal(targets[4:], [0.5, np.nan, 0.0])
    assert np.isnan(targets[:2]).all()


def test_the_notebook_is_the_backtest_notebook_with_its_values(project):
    scaffold.new("my_idea")
    notebook = notebook_params.parse((project / "notebooks/my_idea.ipynb").read_text(encoding="utf-8"), "my_idea.ipynb")
    cell = notebook_params.defaults(notebook, "my_idea.ipynb")
    assert cell["strategy"] == {"name": "notebooks/my_idea.py:MyIdea", "entry": 55, "exit": 20, "weight": 0.1}
    assert (cell["name"], cell["period"], cell["output_dir"]) == ("my_idea", "5y", "")
    assert notebook.cells[0].source.startswith("# My idea\n")
    assert [c.cell_type for c in notebook.cells] == ["markdown", "code", "code"]  # the heading is replaced
    assert all(c.outputs == [] for c in notebook.cells if c.cell_type == "code")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", [[], ["--notebook", "notebooks/my_idea.ipynb"]], ids=["backtest", "its own"])
def test_it_runs_at_once(project, capfd, notebook):
    assert cli.main(["new", "my_idea"]) == 0
    assert cli.main(["backtest", "--config", "parameters/my_idea.yaml", *notebook]) == 0
    assert capfd.readouterr().err == ""
    (folder,) = helpers.runs(project)
    assert "_my_idea_" in folder.name


@pytest.mark.parametrize("taken", FILES)
def test_nothing_is_overwritten(project, capfd, taken):
    (project / taken).write_text("mine", encoding="utf-8")
    before = written(project)
    assert cli.main(["new", "my_idea"]) == 2
    err = capfd.readouterr().err
    assert taken in err
    assert err.count("\n") == 1
    assert (project / taken).read_text(encoding="utf-8") == "mine"
    assert written(project) == before


@pytest.mark.parametrize(("name", "said"), [
    ("My Idea", "e.g. my_idea"), ("1st", "beginning with a letter"), ("../evil", "e.g. evil"),
    ("class", "a word of the Python language"),
    ("", "new ''"), ("a" * 41, "up to 40"), ("idée", "lower-case"),
])
def test_a_name_that_cannot_be_a_module_is_refused(project, name, said):
    before = written(project)
    with pytest.raises(InputError) as caught:
        scaffold.new(name)
    assert said in str(caught.value)
    assert written(project) == before


def test_a_failure_on_the_way_leaves_nothing(project):
    (project / "notebooks" / "10_backtest.ipynb").unlink()
    with pytest.raises(InputError, match="10_backtest"):
        scaffold.new("my_idea")
    assert written(project) == []
