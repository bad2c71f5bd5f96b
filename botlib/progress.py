"""Where a run is: one line of a terminal, written over itself."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


class ProgressLine:
    """A line on a terminal that each text replaces. A terminal that went away is no reason to stop."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._shown = ""
        self._ended = False

    def show(self, text: str) -> None:
        """Put ``text`` in place of what stands there, cut to the terminal's width."""
        text = text[: shutil.get_terminal_size().columns - 1]
        if self._ended or text == self._shown:
            return
        self._write("\r" + text.ljust(len(self._shown)))
        self._shown = text

    def clear(self) -> None:
        """Leave an empty line."""
        if self._shown:
            self._write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""

    def end(self) -> None:
        """Leave the line as it stands, begin a new one and show no more."""
        if self._shown and not self._ended:
            self._write("\n")
        self._shown, self._ended = "", True

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # the last: a signal came amid a write
            self.stream.write(text)
            self.stream.flush()


def where(cells: Sequence[Mapping[str, Any]]) -> str:
    """``cell 4 of 15: The data``: the code cell of a notebook that papermill runs now, under its last heading."""
    code, heading, at = 0, "", ""
    for cell in cells:
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = next((found[1].strip() for line in source.splitlines()
                            if (found := re.match(r"#+ +(.+)", line))), heading)
        elif cell["cell_type"] == "code" and source.strip():
            code += 1
            if cell["metadata"].get("papermill", {}).get("status") in ("running", "completed", "failed"):
                at = f"cell {code} of {{}}" + (f": {heading}" if heading else "")
    return at.replace("{}", str(code), 1) if at else "starting the notebook ..."
