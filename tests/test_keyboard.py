"""Who can type a line: a person at a terminal or in a notebook; not a pipe, a file, a scheduler or papermill."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from botlib.keyboard import keyboard
from botlib.session_config import CONFIRMATION

pytestmark = pytest.mark.slow  # processes and kernels

ASK = """
from botlib.keyboard import keyboard
ask = keyboard()
print("nobody" if ask is None else "typed " + repr(ask("THE BANNER")), flush=True)
"""


@pytest.mark.parametrize("how", ["pipe", "file", "nothing", "closed"])
def test_what_does_not_come_from_a_keyboard_is_not_asked_for(tmp_path, how):
    (tmp_path / "line").write_text(f"{CONFIRMATION}\n", encoding="utf-8")
    command, options = [sys.executable, "-c", ASK], {"capture_output": True, "text": True, "start_new_session": True}
    if how == "pipe":
        done = subprocess.run(command, input=f"{CONFIRMATION}\n", **options)
    elif how == "file":
        with (tmp_path / "line").open() as stream:
            done = subprocess.run(command, stdin=stream, **options)
    elif how == "nothing":
        done = subprocess.run(command, stdin=subprocess.DEVNULL, **options)
    else:
        done = subprocess.run(["sh", "-c", f"exec {sys.executable} -c '{ASK}' <&-"], **options)
    assert done.stdout == "nobody\n", done.stderr


class Terminal:
    """A real pseudo-terminal, with a process at its other end."""

    def __init__(self, source: str, command: list[str] | None = None) -> None:
        self.hand, end = os.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            command or [sys.executable, "-c", source], stdin=end, stdout=end, stderr=end, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(end)

    def type(self, text: str) -> None:
        os.write(self.hand, text.encode())

    def until(self, pattern: str, seconds: float = 30.0) -> str:
        os.set_blocking(self.hand, False)
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text, re.MULTILINE):
            assert time.monotonic() < end, self.text
            try:
                self.text += os.read(self.hand, 4096).decode()
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # its end is closed
                assert re.search(pattern, self.text, re.MULTILINE), self.text
        return self.text

    def close(self) -> None:
        self.process.wait(30)
        os.close(self.hand)


def test_a_terminal_shows_the_banner_and_takes_the_line_as_it_is_typed():
    one = Terminal(ASK)
    assert "THE BANNER" in one.until("^> ")
    one.type(f" {CONFIRMATION} \n")
    assert f"typed ' {CONFIRMATION} \\n'" in one.until("typed")
    one.close()


def test_what_was_typed_before_the_banner_says_nothing():
    one = Terminal("import time\nprint('up', flush=True)\ntime.sleep(1.0)\n" + ASK)
    one.until("up")
    one.type(f"{CONFIRMATION}\n")
    one.until("^> ")
    one.type("no\n")
    assert r"typed 'no\n'" in one.until("typed")
    one.close()


def test_a_terminal_that_is_closed_gives_no_line():
    one = Terminal(ASK)
    one.until("^> ")
    one.type("\x04")  # Ctrl-D
    assert "typed ''" in one.until("typed")
    one.close()


def test_a_process_in_the_background_asks_nobody(tmp_path):
    (tmp_path / "ask.py").write_text(ASK, encoding="utf-8")
    one = Terminal("", ["bash", "-i", "-c", f"set -m; {sys.executable} {tmp_path / 'ask.py'} & wait; echo over"])
    assert "nobody" in one.until("over")
    one.close()


def in_a_kernel(line: str | None, *, code: str = ASK) -> str:
    """What a kernel prints whose frontend has a text field in which ``line`` is typed; None: it has none."""
    manager, client = start_new_kernel(kernel_name="python3")
    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        said.append(message["content"].get("text", "") or "\n".join(message["content"].get("traceback", ())))

    try:
        client.execute_interactive(code, allow_stdin=line is not None, timeout=60, output_hook=hear,
                                   stdin_hook=lambda message: client.input(line))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return "".join(said)


def test_a_notebook_has_a_text_field_where_its_frontend_has_one():
    assert in_a_kernel(CONFIRMATION) == f"THE BANNER\ntyped '{CONFIRMATION}'\n"
    assert in_a_kernel(None) == "nobody\n"


LOOK = """
import asyncio
from botlib.keyboard import cells_wait
print("up", flush=True)
for _ in range(30):
    if cells_wait():
        break
    await asyncio.sleep(0.1)
print("cells wait" if cells_wait() else "none waits")
"""


@pytest.mark.parametrize(("person", "later", "options", "said"), [
    (True, False, {}, "none waits"),  # asked for together with the cell that looks
    (True, True, {}, "cells wait"),
    (True, True, {"silent": True}, "none waits"),  # the front end's own
    (True, True, {"store_history": False}, "none waits"),
    (False, True, {}, "none waits"),  # nobody sits there
])
def test_a_cell_sees_that_a_person_asks_for_others(person, later, options, said):
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute("import botlib.keyboard", reply=True, timeout=60)
        client.execute(LOOK, allow_stdin=person)
        if not later:
            client.execute("1", allow_stdin=person)
        heard, asked = "", False
        while "wait" not in heard:
            message = client.get_iopub_msg(timeout=30)
            heard += message["content"].get("text", "") or "\n".join(message["content"].get("traceback", ()))
            if later and "up" in heard and not asked:
                time.sleep(1.2)  # a person is slower than Run All
                client.execute("1", allow_stdin=person, **options)
                asked = True
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert heard == f"up\n{said}\n"


def test_a_run_by_papermill_is_headless_and_a_parameter_types_nothing(tmp_path):
    import papermill

    (tmp_path / "parameters").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("confirm = ''  # no", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(f"{ASK}\n"
                                  "import botlib\n"
                                  "params = botlib.LiveParams(enable_live=True, iterations=1, interval='1d', "
                                  "period='max')\n"
                                  f"try:\n    botlib.start_session(params, root={str(tmp_path)!r})\n"
                                  "except botlib.InputError as error:\n    print(error)"),
        nbformat.v4.new_code_cell("botlib.LiveParams(confirm=confirm)")])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    with pytest.raises(papermill.PapermillExecutionError, match="is typed by a person and taken from no parameter"):
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"confirm": CONFIRMATION},
                                   cwd=str(tmp_path), progress_bar=False)
    said = "".join(output.get("text", "") for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells
                   for output in cell.get("outputs", ()))
    assert said.startswith("nobody\n") and "live trading refused: no arm allows this session (there is none)" in said


def test_these_tests_have_no_keyboard():
    assert Path("/dev/null").exists() and keyboard() is None  # pytest stands between
