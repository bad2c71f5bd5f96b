"""``python -m botlib``."""

import sys
from pathlib import Path

if sys.path and sys.path[0] == str(Path.cwd()):
    del sys.path[0]  # python -m puts it there: a random.py of the user's would hide Python's own

import signal

# Ctrl-C while modules are loaded ends the process without a traceback; `main` answers it from then on.
_before = signal.getsignal(signal.SIGINT)
if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from botlib.cli import main  # noqa: E402

sys.exit(main(interrupt=_before))
