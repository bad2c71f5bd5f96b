"""This host and its processes: who I am, whether another process still lives, one lock file for each account."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botlib.errors import InputError


@dataclass(frozen=True)
class Here:
    """This process as a lease names it: host (its name and the start of its machine id), process id, boot."""

    host: str
    pid: int
    boot_id: str


def here() -> Here:
    """This process. The machine id tells hosts of one name apart; "" stands for what the system does not tell."""
    machine = _first_line("/etc/machine-id") or _first_line("/var/lib/dbus/machine-id")
    name = socket.gethostname() or "localhost"
    boot = _first_line("/proc/sys/kernel/random/boot_id") or _asked("sysctl", "-n", "kern.bootsessionuuid")
    return Here(f"{name}/{machine[:8]}" if machine else name, os.getpid(), boot)


def person() -> str:
    """Who sits here: the user's name and the host's."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without a user's name, in a container
        name = "somebody"
    return f"{name}@{here().host.partition('/')[0]}"


def process_mark(pid: int) -> str:
    """When process ``pid`` began, as the system writes it: the next process of that number has another mark.

    "" when there is no such process, or only the remains of one (a zombie holds nothing).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        return " ".join(_asked("ps", "-o", "lstart=", "-p", str(pid)).split())
    except (OSError, ValueError):
        return ""
    after_name = stat.rpartition(")")[2].split()  # the name may hold anything
    return "" if after_name[0] in "ZX" else after_name[19]


def state_folder() -> Path:
    """Where the user's programs keep their state: $XDG_STATE_HOME/botlib or ~/.local/state/botlib on Linux."""
    from platformdirs import user_state_path

    return user_state_path("botlib", appauthor=False)


class AccountLock:
    """The lock of one account on this host, whatever database is used; the system frees it when the process dies.

    Parameters
    ----------
    folder : made when missing, mode 0700
    account_id : whose lock

    Raises
    ------
    InputError
        The folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str], account_id: str) -> None:
        plain = re.sub(r"[^A-Za-z0-9-]", "_", account_id)[:48]
        self.path = Path(folder) / f"{plain}-{hashlib.sha256(account_id.encode()).hexdigest()[:12]}.lock"
        self._descriptor: int | None = None
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the folder {folder}, which keeps one session from disturbing another, cannot be made "
                             f"({error.strerror}); set XDG_STATE_HOME to one that can be written.") from None

    def take(self, holder: Mapping[str, Any]) -> bool:
        """Take the lock and write down who has it; False when another session has it."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(f"the lock {self.path} cannot be opened ({error.strerror}); set XDG_STATE_HOME to a "
                             "folder that can be written.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        if not self._in_place():  # somebody removed the file between opening and locking it
            self.free()
            return self.take(holder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(dict(holder)).encode(), 0)
        return True

    def holder(self) -> dict[str, Any]:
        """What the holder wrote; {} when that cannot be read."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def identity(self) -> str:
        """This very file: two locks of one identity exclude each other."""
        found = os.fstat(self._descriptor) if self._descriptor is not None else self.path.stat()
        return f"{found.st_dev}:{found.st_ino}:{self.path}"

    def keep(self, holder: Mapping[str, Any]) -> bool:
        """Whether this is still ours; a file that was removed is made and locked again. False: another one has it."""
        if self._in_place():
            return True
        old = self._descriptor
        if old is None:
            return False
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept = self.take(holder)
        except (OSError, InputError):
            return False
        os.close(old)
        return kept

    def free(self, *, remove: bool = False) -> None:
        """Give the lock back; the file stays, so that nobody locks one that is about to go. Idempotent. ``remove``: it
        goes; nobody will want this lock."""
        if self._descriptor is not None:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _in_place(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            found, ours = self.path.stat(), os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def _first_line(path: str) -> str:
    try:
        return (Path(path).read_text(encoding="ascii").splitlines() or [""])[0].strip()
    except (OSError, ValueError):
        return ""


def _asked(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
