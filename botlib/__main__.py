"""``python -m botlib``."""

import sys

from botlib.cli import main

sys.exit(main())
