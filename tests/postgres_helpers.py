"""A throwaway PostgreSQL server: made when a test asks for one, gone when the tests end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Server:
    """A server on this machine, trusting everybody who reaches its socket."""

    port: int
    names: list[str] = field(default_factory=list)

    def url(self, name: str, port: int | None = None) -> str:
        return f"postgresql://botlib@127.0.0.1:{port or self.port}/{name}"

    def connect(self, name: str = "postgres"):
        import psycopg

        return psycopg.connect(self.url(name), autocommit=True)

    def database(self) -> str:
        """The name of a new, empty database."""
        self.names.append(f"test{len(self.names)}")
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {self.names[-1]}")
        return self.names[-1]


def binaries() -> Path | None:
    """The folder of the server's programs."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: p.parent.name, reverse=True)
    return next((p for p in places if (p / "initdb").exists() and (p / "postgres").exists()), None)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """A server; without ``durable`` it leaves the disk alone."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="botlib-pg-"))
    user = None
    if os.getuid() == 0:  # the server refuses to be root
        user = next(name for name in ("postgres", "nobody") if name in {u.pw_name for u in pwd.getpwall()})
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    options = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    data, port = folder / "data", free_port()
    try:
        subprocess.run([programs / "initdb", "-D", data, "-U", "botlib", "--auth=trust", "--no-sync", "-E", "UTF8",
                        "--locale=C"], check=True, capture_output=True, cwd=folder, **options)
        settings = [] if durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        with (folder / "log").open("wb") as log:
            command = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", *settings]
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **options)
        try:
            _wait(Server(port), server, folder / "log")
            yield Server(port)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once, whoever is connected
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    for _ in range(200):
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server. Where none is installed the test is skipped, but in CI it fails."""
    if binaries() is None:
        missing = "no PostgreSQL server on this machine (Debian and Ubuntu: sudo apt install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with running() as server:
        yield server
