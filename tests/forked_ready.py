"""What the process that `forked` forks from has loaded: the command line, a local exchange, and a session's compiled
code, after one whole session. No thread and no file of it is left."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import papermill.iorw  # noqa: F401
import pytest  # noqa: F401  which every fork would import
from session_world import MEMORY, World

import botlib.cli_control
import botlib.job
import botlib.live
import botlib.run
import botlib.sandbox.server  # noqa: F401

with contextlib.suppress(Exception), tempfile.TemporaryDirectory(dir=MEMORY) as _name:  # tests find what is wrong
    World(Path(_name)).run()
