"""``python -m botlib``."""

import sys
from pathlib import Path

if sys.path and sys.path[0] == str(Path.cwd()):
    del sys.path[0]  # python -m puts it there: a random.py of the user's would hide Python's own

from botlib.cli import main

sys.exit(main())
