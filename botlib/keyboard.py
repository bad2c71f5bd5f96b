"""Asking a person who sits there: a terminal, or a notebook's text field. A pipe, a file and a scheduler are nobody."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

_TOGETHER = 1.0  # seconds within which a front end sends the cells of one "Run All"


def keyboard() -> Callable[[str], str] | None:
    """A function that shows a text and returns the line that a person types after it; None where nobody can type.

    Nobody can in a headless notebook, without a terminal, in the background, and where input is redirected.
    """
    if "ipykernel" in sys.modules:
        kernel = _kernel()
        if kernel is not None:
            return _field if getattr(kernel, "_allow_stdin", False) else None
    return _terminal if _is_terminal() else None


def cells_wait() -> bool:
    """Whether the person before this notebook has asked for cells since the one that runs now was asked for, beside
    those that were asked for together with it ("Run All"): they wait until it is done.

    False where nobody sits there, and where the kernel's queue cannot be looked at.
    """
    if keyboard() is None or "ipykernel" not in sys.modules:
        return False
    try:
        kernel: Any = _kernel()
        own = kernel.get_parent("shell")["header"]
        return any(_later(header, own) for header in _queued(kernel))
    except Exception:  # another kernel than the one this was written for (ipykernel 7): then nobody looks
        return False


def _queued(kernel: Any) -> Iterator[dict[str, Any]]:
    """Headers of the requests to execute that wait in this kernel: each is a task that has not got the shell yet."""
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        if getattr(coroutine, "__name__", "") != "shell_main" or coroutine.cr_frame is None:
            continue
        _, frames = kernel.session.feed_identities(coroutine.cr_frame.f_locals["msg"], copy=False)
        try:
            message = kernel.session.deserialize(frames, content=False, copy=False)
        except ValueError:  # it has been read before: its turn has come
            continue
        if message["header"]["msg_type"] == "execute_request":
            content = kernel.session.unpack(message["content"])
            if not content.get("silent") and content.get("store_history", True):  # else it is the front end's own
                yield message["header"]


def _later(header: dict[str, Any], own: dict[str, Any]) -> bool:
    """Times are the front end's, so that only those of one front end compare."""
    if header["session"] != own["session"]:
        return True
    return bool((header["date"] - own["date"]).total_seconds() > _TOGETHER)


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
