"""The progress line, and the warm-up before the first run."""

from __future__ import annotations

import io
import os

import pytest

from botlib import _jit, kernel, warmup
from botlib.progress import ProgressLine, where


def cell(kind, source, status=None):
    return {"cell_type": kind, "source": source, "metadata": {"papermill": {"status": status}} if status else {}}


def test_it_names_the_cell_that_runs_and_its_section():
    cells = [cell("markdown", "# Backtest\n\nwords", "completed"), cell("code", "a = 1", "completed"),
             cell("markdown", ["## The data\n", "and more"], "completed"), cell("code", "bars", "running"),
             cell("code", "  ", "pending"), cell("markdown", "## Result", "pending"), cell("code", "result", "pending")]
    assert where(cells) == "cell 2 of 3: The data"
    assert where(cells[:1] + cells[4:]) == "starting the notebook ..."
    assert where([cell("code", "x", "running")]) == "cell 1 of 1"


def test_braces_in_a_heading_stay():
    assert where([cell("markdown", "# {x}", "completed"), cell("code", "x", "running")]) == "cell 1 of 1: {x}"


def test_a_shorter_text_leaves_nothing_of_a_longer_one(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((12, 24)))
    stream = io.StringIO()
    line = ProgressLine(stream)
    line.show("a text that is cut")
    line.show("short")
    line.show("short")
    line.clear()
    line.clear()
    assert stream.getvalue() == "\ra text that" + "\rshort      " + "\r     \r"


def test_a_terminal_that_went_away_stops_nothing():
    stream = io.StringIO()
    stream.close()
    ProgressLine(stream).show("anything")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A machine on which nothing was compiled; what is compiled here stays in the usual place."""
    monkeypatch.setattr(_jit, "_FOLDER", tmp_path)
    return tmp_path


def test_the_warm_up_speaks_once_and_works_once(fresh, monkeypatch):
    done, said = [], []
    monkeypatch.setattr(warmup, "use_everything", lambda: done.append(1))
    warmup.warm_up(said.append)
    warmup.warm_up(said.append)
    assert (done, said) == ([1], ["Compiling the engine, once: about a minute ..."])


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_warm_up_begins_again(fresh, monkeypatch, error):
    def broken():
        raise error

    monkeypatch.setattr(warmup, "use_everything", broken)
    try:
        warmup.warm_up(lambda _: None)
    except KeyboardInterrupt:
        assert error is KeyboardInterrupt
    assert _jit.first_time()


def test_without_a_folder_for_compiled_code_there_is_nothing_to_warm(monkeypatch):
    monkeypatch.setattr(_jit, "_FOLDER", None)
    said = []
    warmup.warm_up(said.append)
    assert said == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::botlib.errors.BotlibWarning")
def test_what_the_warm_up_calls_is_there():
    warmup.use_everything()


def test_a_signal_ends_the_line_for_good():
    stream = io.StringIO()
    line = ProgressLine(stream)
    line.show("cell 4 of 15")
    line.end()
    line.show("cell 15 of 15")  # papermill's last save
    line.clear()
    line.end()
    assert stream.getvalue() == "\rcell 4 of 15\n"


def test_a_stop_ends_the_progress_of_every_run():
    streams = [io.StringIO(), io.StringIO()]
    files = kernel._RunFiles()
    for number, stream in enumerate(streams):
        line = ProgressLine(stream)
        line.show("cell 1 of 2")
        files.runs[f"run {number}"] = ("", None, (), line)
    files.runs["silent"] = ("", None, (), None)
    files.end_progress()
    assert [stream.getvalue() for stream in streams] == ["\rcell 1 of 2\n"] * 2
