"""A session that dies at any point and starts again from its ledger: one order an intent, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import forked
import pytest
from session_world import World, clean, folder  # noqa: F401
from venue_helpers import until

from botlib import live, sandbox
from botlib.errors import LeaseRefused
from botlib.session.recording import Recorder
from botlib.session.sending import Sender
from botlib.session_config import SessionParams

pytestmark = pytest.mark.slow

# ruff: noqa: F811


class Crash(BaseException):
    """The process is gone: nothing of it runs any more."""


def crashes(world: World, monkeypatch: pytest.MonkeyPatch, points: dict[str, set[int]]) -> list[str]:
    """Die at these calls of commits and sends (n-th of the whole history): before or after each.

    Returns what happened where.
    """
    counts = dict.fromkeys(points, 0)
    died: list[str] = []

    def dies(point: str) -> None:
        counts[point] += 1
        if counts[point] in points[point]:
            died.append(point)
            raise Crash(point)

    def around(owner: type, name: str, before: str, after: str) -> None:
        real = getattr(owner, name)

        def call(self, *args, **kwargs):
            dies(before)
            made = real(self, *args, **kwargs)
            dies(after)
            return made

        monkeypatch.setattr(owner, name, call)

    class Commit:
        def __init__(self, inner):
            self.inner = inner

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *error):
            if error[0] is None:
                try:
                    dies("before-commit")
                except Crash as crash:
                    self.inner.__exit__(Crash, crash, None)  # rolled back, as by the database itself
                    raise
            done = self.inner.__exit__(*error)
            if error[0] is None:
                dies("after-commit")
            return done

    real_commit = Recorder.commit
    monkeypatch.setattr(Recorder, "commit", lambda self, now: Commit(real_commit(self, now)))
    around(Sender, "take", "accepted", "answered")
    around(Sender, "cancel", "before-cancel", "after-cancel")
    return died


def lives(world: World) -> int:
    """Sessions one after the other until the bars end; how many there were."""
    from botlib.errors import BotlibError

    started, count = None, 0
    while True:
        try:
            count += 1
            started = world.begin()
            while True:
                started.session.step()
                if world.host.step(1) == 0:
                    started.close(started.session.time)
                    return count
        except Crash:
            assert started is not None
            try:
                started.lease._lock.free()  # the system does that for a process that is gone
                started.repository.close()
            except BotlibError:
                pass
        assert count < 400


EVERY = ("before-commit", "after-commit", "accepted", "answered", "before-cancel", "after-cancel")


@pytest.mark.parametrize("point", EVERY)
def test_a_crash_at_every_such_point(folder, clean, monkeypatch, point):
    """It dies again and again at such points of the whole run, and does what a session does that never died."""
    world, step = World(folder, options={"unknown_seconds": 1.0}), 7 if "commit" in point else 3
    died = crashes(world, monkeypatch, {p: set(range(2, 500, step)) if p == point else set() for p in EVERY})
    lives(world)
    assert len(died) >= 2
    world.check()
    assert world.fills() == clean.fills()


@pytest.mark.parametrize("seed", range(2))
def test_crashes_anywhere(folder, clean, monkeypatch, seed):
    import random

    chance = random.Random(seed)
    world = World(folder, options={"unknown_seconds": 1.0})
    died = crashes(world, monkeypatch, {p: {n for n in range(1, 500) if chance.random() < 0.12} for p in EVERY})
    lives(world)
    assert len(died) >= 5
    world.check()
    assert world.fills() == clean.fills()


# --- real processes ---------------------------------------------------------------------------------------------------

SCRIPT = '''
import os, resource, signal, sys, time

from botlib import live
from botlib.brokers.alpaca.broker import AlpacaBroker
from botlib.session.recording import Recorder
from botlib.session.sending import Sender
from botlib.session_config import SessionParams

point, nth = os.environ["DIE"].rsplit(":", 1)
left = int(nth)
hoard = []


def vm_bytes():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()


def dies(name):
    global left
    if name == point:
        left -= 1
        if left == 0:
            print("DYING", flush=True)
            if os.environ.get("MEMORY"):  # nothing more can be had, from here on
                resource.setrlimit(resource.RLIMIT_AS, (vm_bytes(), resource.RLIM_INFINITY))
                for size in (1 << 20, 1 << 12, 1 << 6):
                    try:
                        while True:
                            hoard.append(bytearray(size))
                    except MemoryError:
                        pass
            elif os.environ.get("SIGNAL"):  # be told to end in the middle of sending
                os.kill(os.getpid(), int(os.environ["SIGNAL"]))
                time.sleep(0.5)
            else:
                os.kill(os.getpid(), signal.SIGKILL)


def around(owner, name, before, after):
    real = getattr(owner, name)

    def call(*args, **kwargs):
        dies(before)
        made = real(*args, **kwargs)
        dies(after)
        return made

    setattr(owner, name, call)


around(Recorder, "decision", "decide", "decided")
around(Recorder, "intent", "", "record")
around(AlpacaBroker, "submit_order", "pre-send", "accepted")
around(Recorder, "answer", "ack", "")
around(Recorder, "facts", "", "fill")
params = SessionParams(venue="alpaca", provider="alpaca", symbols=["AAPL", "KO", "TSLA"], period="max", db="t.sqlite",
                       ping_env=None, strategy={"name": "turns.py:Turns"}, iterations=int(sys.argv[2]),
                       poll_seconds=3600.0, interval="1d", safety=None, costs={"slippage_bps": 0.0})
print(live.start_session(params, root=sys.argv[1], environ=dict(os.environ)).join(), flush=True)
'''


@pytest.fixture
def place(folder, monkeypatch):
    """An exchange on a port, on whose last bar an entry is decided, and processes that trade on it."""
    world = World(folder)  # for its strategy, and for what must hold
    (folder / "session.py").write_text(SCRIPT)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    with sandbox.running(world.bars, first=4) as venue:
        world.exchange = venue.exchange
        venue.step()
        yield world, venue


def process(world, venue, die: str = "never:1", iterations: int = 1, *, fresh: bool = False,
            **more: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | venue.environ | {"DIE": die, **more}
    return forked.run(["session.py", str(world.folder), str(iterations)], world.folder, environ, fresh=fresh)


def here(world, venue) -> tuple[str, list[str]]:
    """A pass in this process, which is another one: its status and what it said."""
    said: list[str] = []
    params = SessionParams(venue="alpaca", provider="alpaca", symbols=["AAPL", "KO", "TSLA"], period="max",
                           db="t.sqlite", ping_env=None, strategy={"name": "turns.py:Turns"}, iterations=1,
                           poll_seconds=3600.0, interval="1d", safety=None, costs={"slippage_bps": 0.0})
    return live.start_session(params, root=world.folder, environ=venue.environ).join(said.append).status, said


@pytest.mark.parametrize("die", ["decide:1", "decided:1", "record:1", "pre-send:1", "accepted:1", "ack:1", "fill:3"])
def test_sigkill(place, die):
    """A process that is killed there, and another one that is started after it."""
    world, venue = place
    killed = process(world, venue, die, iterations=2, fresh=die == "accepted:1")
    assert killed.returncode == -signal.SIGKILL and "DYING" in killed.stdout, killed.stdout + killed.stderr
    status, said = here(world, venue)
    assert status == "success" and any("is taken over: it has ended" in line for line in said)
    venue.step()
    status, said = here(world, venue)
    assert status == "success" and any(line.startswith("[TRADE] BUY") for line in said)
    world.check()
    assert [o.symbol for o in world.ours()] == ["KO"]
    with world.ledger() as repository:
        assert sorted(repository.sessions()["status"]) == ["error", "success", "success"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="address space can be limited on Linux alone")
@pytest.mark.parametrize("die", ["decide:1", "record:1", "pre-send:1", "accepted:1"])
def test_out_of_memory(place, die):
    """Nothing can be allocated any more: the process ends, not with success, and the next one finds out what it did."""
    world, venue = place
    ended = process(world, venue, die, iterations=2, fresh=True, MEMORY="1")
    assert ended.returncode != 0 and "DYING" in ended.stdout, ended.stdout + ended.stderr
    assert "MemoryError" in ended.stderr or "out of memory" in ended.stdout + ended.stderr
    status, _ = here(world, venue)
    assert status == "success"
    venue.step()
    here(world, venue)
    world.check()
    assert [o.symbol for o in world.ours()] in (["KO"], [])  # once, or what it could not write down was not sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_sending(place, number):
    """The order on its way is finished and written down; the session ends in an orderly way."""
    world, venue = place
    ended = process(world, venue, "pre-send:1", iterations=5, SIGNAL=str(int(number)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"user-cancelled ({number.name} received)" in ended.stdout
    world.check()
    assert [o.symbol for o in world.ours()] == ["KO"]


def test_two_processes_on_one_account(place):
    """The second one is refused with who, where and since; the first goes on."""
    world, venue = place
    environ, out = os.environ | venue.environ | {"DIE": "never:1"}, world.folder / "said.txt"
    first = forked.Forked(["session.py", str(world.folder), "0"], world.folder, environ, out=out)
    try:
        until(lambda: first.poll() is not None or (out.exists() and "[PORTFOLIO]" in out.read_text()), 120.0)
        with pytest.raises(LeaseRefused, match=rf"\(process {first.pid} on this host, since"):
            here(world, venue)
        assert first.poll() is None
    finally:
        first.terminate()
        code = first.wait()
    assert code == 0 and "user-cancelled (SIGTERM received)" in out.read_text()
