"""An IPython extension for the runner's kernels: what one cell prints is cut at a length that a notebook can hold, and
an error of a strategy's own code is shown with its traceback. In a session's kernel a file asks to stop.

A print in a strategy's loop makes millions of lines, since the honesty checks run the strategy many times. They would
take minutes to record and leave a notebook that no browser opens.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from botlib import stop_file
from botlib.errors import StrategyFailed

MAX_CHARACTERS = 200_000
SESSION_CHARACTERS = 50_000_000
"""Of a session, whose lines all go to run.log; its notebook is kept short by the runner."""
NOTE = ("\noutput-cut: this cell prints more than {:,} characters; the rest is left out. Print less, or write to a "
        "file.\n")


class _Meter:
    """What the running cell has printed, standard output and errors together."""

    def __init__(self, most: int = MAX_CHARACTERS) -> None:
        self.printed, self.most = 0, most

    def reset(self, *_info: Any) -> None:
        self.printed = 0

    def limit(self, stream: Any) -> None:
        """Cut what is written to ``stream`` from now on."""
        write = stream.write

        def limited(text: str) -> int:
            if self.printed > self.most:
                return len(text)
            if not text.startswith("\r"):  # a progress bar writes over itself
                self.printed += len(text)
            if self.printed > self.most:
                write(text[:max(0, len(text) - (self.printed - self.most))] + NOTE.format(self.most))
            else:
                write(text)
            return len(text)

        stream.write = limited


def load_ipython_extension(shell: Any) -> None:
    """Called by IPython."""
    StrategyFailed.show_cause = True  # nobody sits before a headless run: what is needed later must stand in it
    asked = os.environ.get(stop_file.VARIABLE)
    if asked:
        stop_file.watch(asked)
    meter = _Meter(SESSION_CHARACTERS if asked else MAX_CHARACTERS)
    meter.limit(sys.stdout)
    meter.limit(sys.stderr)
    shell.events.register("pre_run_cell", meter.reset)
