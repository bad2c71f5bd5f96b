"""Asking a person who sits there: a terminal, or a notebook's text field. A pipe, a file and a scheduler are nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def keyboard() -> Callable[[str], str] | None:
    """A function that shows a text and returns the line that a person types after it; None where nobody can type.

    Nobody can in a headless notebook, without a terminal, in the background, and where input is redirected.
    """
    if "ipykernel" in sys.modules:
        kernel = _kernel()
        if kernel is not None:
            return _field if getattr(kernel, "_allow_stdin", False) else None
    return _terminal if _is_terminal() else None


def _kernel() -> object | None:
    """The kernel that this process is; None when it only has the library loaded."""
    from ipykernel.kernelapp import IPKernelApp

    return IPKernelApp.instance().kernel if IPKernelApp.initialized() else None


def _field(text: str) -> str:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return input("> ")  # the kernel's own: the frontend shows a text field


def _is_terminal() -> bool:
    try:
        descriptor = sys.stdin.fileno()
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return False


def _terminal(text: str) -> str:
    import termios

    out = sys.stdout if sys.stdout.isatty() else sys.stderr
    out.write(f"{text}\n")
    out.flush()
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)  # what was typed before the text could be read says nothing
    out.write("> ")
    out.flush()
    return sys.stdin.readline()
