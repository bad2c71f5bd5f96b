"""The notebooks of paper and live sessions: the same cells, and what stands in them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from botlib import notebook_params, session_notebook
from botlib.errors import InputError
from botlib.job import prepare
from botlib.session_config import CONFIRMATION, LiveParams, SessionParams

ROOT = Path(__file__).resolve().parent.parent
PERMISSION = (4, 5)  # the cells that ask, or say that nobody is asked


def cells(name):
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [(c["cell_type"], "".join(c["source"]), c["metadata"]) for c in notebook["cells"]]


def test_both_notebooks_have_the_same_cells():
    """But the title, the values of the parameters, and the words on the confirmation."""
    paper, live = cells("30_paper"), cells("40_live")
    assert [(c[0], c[2]) for c in paper] == [(c[0], c[2]) for c in live]
    different = [i for i, (one, other) in enumerate(zip(paper, live, strict=True)) if one[1] != other[1]]
    assert different == [0, 1, *PERMISSION]
    assert paper[0][1].startswith("# Paper session") and live[0][1].startswith("# Live session")
    one, other = (ast.parse(c[PERMISSION[1]][1]).body for c in (paper, live))
    assert [ast.unparse(node) for node in one] == [ast.unparse(node) for node in other]  # its comment alone differs
    values = [notebook_params.defaults_in((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"), name)
              for name in ("30_paper", "40_live")]
    assert {name for name in values[0] if values[0][name] != values[1][name]} == {"name", "kind"}
    assert list(values[0]) == list(values[1])


def test_the_line_that_allows_live_trading_is_explained_and_nowhere_given():
    assert CONFIRMATION in cells("40_live")[PERMISSION[0]][1]
    for name in ("30_paper", "40_live"):
        assert not [source for kind, source, _ in cells(name) if kind == "code" and CONFIRMATION in source]


@pytest.mark.parametrize(("kind", "schema"), [("paper", SessionParams), ("live", LiveParams)])
def test_the_parameters_are_of_the_kind_and_start_small(kind, schema):
    name = {"paper": "30_paper", "live": "40_live"}[kind]
    values = notebook_params.defaults_in((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"), name)
    params = session_notebook.parameters(values)
    assert type(params) is schema
    assert (params.venue, params.provider, params.enable_live, values["session_id"]) == ("sandbox", "sample", False, "")
    assert 0 < params.iterations <= 60 and params.speed is None


def test_every_parameter_reaches_the_notebook_though_its_cell_has_not_all():
    job = prepare("paper", root=ROOT, sets=["replay_seed=7", "risk.stop_loss_pct=3.0"], flags={"iterations": 4})
    assert "replay_seed" not in job.cell and job.values["replay_seed"] == 7
    assert "replay_cash" not in job.values and job.complete["replay_cash"] == 100_000.0  # as usual, so not in its way
    assert set(job.complete) == set(SessionParams.model_fields)
    assert session_notebook.parameters({**job.values, "kind": "paper"}) == job.params


def test_a_notebook_of_the_other_kind_is_refused():
    with pytest.raises(InputError, match="says kind = 'live'; give a notebook of paper sessions"):
        prepare("paper", root=ROOT, notebook="notebooks/40_live.ipynb")
    with pytest.raises(InputError, match="kind = 'lve': it must be paper or live"):
        session_notebook.parameters({"kind": "lve"})


def test_values_that_the_cell_does_not_have_come_at_its_end():
    source = 'a = 1  # one\nb = "x"'
    assert notebook_params.rewritten(source, {"a": 2, "c": [1.5], "b": "x"}, "here") == \
        'a = 2  # one\nb = "x"\nc = [1.5]'
    assert notebook_params.rewritten(source, {"b": "x"}, "here") == source


def test_the_stop_file_reaches_a_session_that_starts_later(tmp_path, monkeypatch):
    import time

    from botlib import live, stop_file

    asked = []
    monkeypatch.setattr(live, "stop_all", asked.append)
    over = stop_file.watch(tmp_path / stop_file.NAME)
    time.sleep(0.6)
    assert asked == []
    stop_file.ask(tmp_path, "by SIGTERM")
    end = time.monotonic() + 10
    while len(asked) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    over.set()
    assert asked[:2] == ["by SIGTERM", "by SIGTERM"]  # again and again


def test_the_figure_draws_the_limits_where_they_are(tmp_path):
    from types import SimpleNamespace

    from botlib import session_report

    times = pd.date_range("2024-03-04 21:20", periods=4, freq="D", tz="UTC")
    marks = pd.DataFrame({"time": times, "equity": [100.0, 110.0, 107.8, 99.0], "peak": [100.0, 110.0, 110.0, 110.0],
                          "day_start": [100.0, 100.0, 110.0, 107.8], "drawdown_pct": [0.0, 0.0, 2.0, 10.0]})
    record = SimpleNamespace(
        equity=marks, fills=[], running=False, params=SimpleNamespace(interval="1d"),
        session=SimpleNamespace(strategy="cross", kind="paper", limits={"max_drawdown_pct": 20.0,
                                                                        "max_daily_loss_pct": 10.0}))
    above, below = session_report.equity_figure(record).axes
    lines = {line.get_color(): line.get_ydata().tolist() for line in above.lines}
    assert lines["#0072B2"] == [100.0, 110.0, 107.8, 99.0]
    assert lines["#D55E00"] == pytest.approx([80.0, 88.0, 88.0, 88.0])  # a fifth below the peak
    assert lines["#E69F00"] == pytest.approx([90.0, 90.0, 99.0, 97.02])  # a tenth below the day's start
    assert [line.get_ydata()[0] for line in below.lines if line.get_color() == "#D55E00"] == [-20.0]
    assert (above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == ("Equity ($)", "Drawdown (%)", "Date")


def marks_at_odd_times(seed, count, days):
    seconds = np.sort(np.random.default_rng(seed).uniform(0.0, days * 86_400.0, count))
    return pd.DatetimeIndex(pd.Timestamp("2024-03-04 16:20", tz="America/New_York")
                            + pd.to_timedelta(seconds, unit="s"))


@pytest.mark.parametrize("marks", [
    pd.date_range("2024-03-04", periods=2, freq="B", tz="America/New_York"),
    pd.date_range("2024-03-04", periods=4, freq="B", tz="America/New_York"),
    *(marks_at_odd_times(n, count, days) for n, (count, days) in enumerate([
        (3, 1.0), (22, 0.3), (22, 2.0), (22, 3.0), (60, 4.0), (240, 2.0), (22, 9.0)])),
])
def test_labels_of_the_time_axis_stand_apart_however_short_a_session_was(marks):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from botlib import style

    @style.styled
    def drawn():
        figure, time = style.new_figure(5.6), style.TimeAxis(marks)
        ax = figure.subplots()
        ax.plot(time.x, time.x)
        time.dress(ax)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        labels = [label for label in ax.get_xticklabels() if label.get_text()]
        return sorted((one.get_window_extent(canvas.get_renderer()) for one in labels), key=lambda box: box.x0), labels

    boxes, labels = drawn()
    assert len(labels) >= 2
    assert all(one.x1 < other.x0 for one, other in zip(boxes, boxes[1:], strict=False))
    if len(marks) < 5 and marks[0] == marks[0].normalize():
        assert [label.get_text() for label in labels] == [f"{time:%d %b}" for time in marks]  # and no hours of days


def test_the_settings_say_why_more_history_is_loaded_than_the_period_has():
    from botlib import session_report

    table = session_report.settings_table(SessionParams(period="60d"))
    assert "fewer bars than the strategy's warm-up" in table.loc[("data", "period"), "Meaning"]


# --- a session that runs ----------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project of its own, and a person before the notebook."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BOTLIB_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parameters").mkdir()
    monkeypatch.setattr("botlib.keyboard.keyboard", lambda: lambda text: "no")
    return tmp_path


def test_what_a_session_has_so_far_is_said_to_be_no_record(here, capsys):
    from botlib import session_report as report

    params = SessionParams(symbols=["AAPL", "IBM"], strategy={"name": "moving_average_cross"}, ping_env=None,
                           db="t.sqlite", speed=20_000.0, poll_seconds=3_600.0)
    session = session_notebook.begin(params)
    try:
        assert session_notebook.begin(params) is session
        wait_for(lambda: session.report is not None and session.report.iteration > 3)
        record = session_notebook.record_of(session)
        assert record.running
        said = report.summary(record)["Session"]
        assert said["Status"].startswith("running; what stands here is of its last pass, and no record")
        assert (said["To"], said["Profit of the session"]) == ("it still runs", "known at its end")
        assert int(said["Passes"]) >= 1 and "Equity at its last pass" in said
        assert "still runs" in record.parity
        for table in (report.fills_table(record), report.profit_table(record), report.round_trips_table(record),
                      report.notes_table(record)):
            assert "still runs" in (repr(table) if not len(table) else table.attrs["caption"])
        assert "so far" in report.equity_figure(record).axes[0].get_title(loc="left")
        session_notebook.finish(record)
        assert "No record is written" in capsys.readouterr().out
        with pytest.raises(InputError, match="still runs, so that it has no result yet"):
            session_notebook.finish(record, str(here / "run"))
    finally:
        session.stop()
        session.join(lambda line: None)
    assert not (here / "run").exists() and not (here / "outputs").exists()
    ended = session_notebook.record_of(session)
    assert not ended.running and report.summary(ended)["Session"]["Status"].startswith("user-cancelled")


def wait_for(done, seconds=30.0):
    import time

    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("values", "waived", "words"), [
    ({}, "", "Set enable_live = True in the parameters at the top of this notebook"),
    ({"enable_live": True}, "", 'waived = "backtest, look-ahead, paper-sessions" in the cell under Permission'),
    ({"enable_live": True}, "backtest", 'waived = "backtest, look-ahead, paper-sessions" in the cell under Permission'),
])
def test_a_refusal_names_what_the_notebook_has_and_no_flag(here, values, waived, words):
    params = LiveParams(symbols=["AAPL"], ping_env=None, db="t.sqlite", iterations=3, interval="1d", period="max",
                        **values)
    with pytest.raises(InputError) as refused:
        session_notebook.begin(params, waive=waived)
    assert words in str(refused.value) and "--" not in str(refused.value)


def test_headless_the_refusal_is_that_of_the_command_line(here, monkeypatch):
    monkeypatch.setattr("botlib.keyboard.keyboard", lambda: None)
    with pytest.raises(InputError, match="--enable-live"):
        session_notebook.begin(LiveParams(symbols=["AAPL"]))
