"""One account, one session: two threads, processes, databases, kernels and hosts."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time

import pytest
from postgres_helpers import postgres  # noqa: F401
from repository_helpers import NOW, finish, later, say_when, start

from botlib.errors import InputError, LeaseLost, LeaseRefused
from botlib.repository import Lease, Repository
from botlib.repository.hosts import AccountLock, here, process_mark, state_folder

pytestmark = pytest.mark.slow

HOLD = """
from botlib.repository.hosts import here
h = here()
with Repository.open(db) as r:
    lease = Lease.take(r, "account-1", sys.argv[3], state_folder=sys.argv[2], now=NOW, host=h.host, pid=h.pid,
                       boot_id=h.boot_id)
    print("held", flush=True)
    sys.stdin.readline()
    lease.release(NOW)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request, tmp_path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "trades.sqlite")
    server = request.getfixturevalue("postgres")
    return server.url(server.database())


@pytest.fixture
def repository(db):
    with Repository.open(db) as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "botlib"


def take(repository, folder, session="s-1", *, now=NOW, take_over=False, **changes) -> Lease:
    me = here()
    given = {"host": me.host, "pid": me.pid, "boot_id": me.boot_id, **changes}
    return Lease.take(repository, "account-1", session, state_folder=folder, now=now, take_over=take_over, **given)


def end(process) -> None:
    process.kill()
    process.communicate()


def test_a_lease_is_taken_renewed_and_given_back(repository, folder):
    lease = take(repository, folder)
    assert lease.took_over == "" and stat.S_IMODE(folder.stat().st_mode) == 0o700
    lease.renew(later(5))
    with repository.writing() as tx:
        lease.renew(later(6), tx)
    row = repository.lease("account-1")
    assert (row.session_id, row.renewed, row.released, row.pid) == ("s-1", later(6), None, os.getpid())
    lease.release(later(7))
    lease.release(later(8))
    assert repository.lease("account-1").released == later(7)
    again = take(repository, folder, "s-2")
    assert again.took_over == "" and repository.lease("account-1").takes == 2
    again.release(later(9))


def test_accounts_do_not_disturb_one_another(repository, folder):
    lease = take(repository, folder)
    me = here()
    other = Lease.take(repository, "account-2", "s-2", state_folder=folder, now=NOW, host=me.host, pid=me.pid,
                       boot_id=me.boot_id)
    other.release(NOW), lease.release(NOW)


def test_a_second_session_in_this_process_is_refused(repository, folder):
    lease = take(repository, folder)
    with pytest.raises(LeaseRefused, match=rf"session s-1 \(process {os.getpid()} on this host.*One account"):
        take(repository, folder, "s-2")
    lease.renew(later(1))
    lease.release(later(2))


def test_a_living_process_is_refused_and_a_killed_one_taken_over(repository, db, folder, tmp_path):
    holder = start(tmp_path, HOLD, db, folder, "s-1")
    say_when(holder, "held")
    with pytest.raises(LeaseRefused, match=rf"process {holder.pid} on this host.*python -m botlib stop"):
        take(repository, folder, "s-2", take_over=True)  # a person's word does not end what lives here
    end(holder)
    lease = take(repository, folder, "s-2")
    assert f"session s-1 (process {holder.pid} on " in lease.took_over and "it has ended" in lease.took_over
    lease.release(NOW)


def test_a_process_that_ended_well_leaves_the_account_free(repository, db, folder, tmp_path):
    holder = start(tmp_path, HOLD, db, folder, "s-1")
    say_when(holder, "held")
    holder.stdin.write("\n")
    finish(holder)
    assert take(repository, folder, "s-2").took_over == ""


def test_two_databases_on_one_host(tmp_path, folder):
    """The second database knows nothing of the first; the lock of the host does."""
    holder = start(tmp_path, HOLD, tmp_path / "one.sqlite", folder, "s-1")
    say_when(holder, "held")
    with Repository.open(tmp_path / "two.sqlite") as two:
        with pytest.raises(LeaseRefused, match=r"session s-1 .*database .*one\.sqlite"):
            take(two, folder, "s-2")
        end(holder)
        take(two, folder, "s-2").release(NOW)


def test_one_database_and_two_state_folders(repository, db, folder, tmp_path):
    """Where the locks of the host lie apart, the database and the process decide."""
    holder = start(tmp_path, HOLD, db, tmp_path / "elsewhere", "s-1")
    say_when(holder, "held")
    with pytest.raises(LeaseRefused, match=f"process {holder.pid} on .*Stop it first"):
        take(repository, folder, "s-2", take_over=True)
    assert AccountLock(folder, "account-1").take({})  # the refusal keeps no lock
    end(holder)
    # The lock above is still held by this process: a third folder.
    assert "its process has ended" in take(repository, tmp_path / "third", "s-2").took_over


def test_another_host_is_believed_to_live_until_a_person_says_otherwise(repository, folder, tmp_path):
    foreign = take(repository, folder, host="cellar/1234", boot_id="other", pid=17)
    with pytest.raises(LeaseRefused, match="process 17 on cellar/1234, since 2026-01-05 15:00:00 UTC.*--take-over"):
        take(repository, tmp_path / "b", "s-2")
    lease = take(repository, tmp_path / "b", "s-2", take_over=True, now=later(60))
    assert "on a person's word" in lease.took_over
    with pytest.raises(LeaseLost, match=r"the lease now belongs to session s-2"):
        foreign.renew(later(61))
    with pytest.raises(LeaseLost), repository.writing() as tx:  # takes the whole transaction with it
        tx.request("account-1", "stop", by="me", time=NOW)
        foreign.renew(later(62), tx)
    assert repository.requests("account-1") == ()
    foreign.release(later(63))
    lease.renew(later(64))
    assert repository.lease("account-1").released is None


def test_another_boot_is_dead(repository, folder, tmp_path):
    take(repository, folder, boot_id="an earlier boot")
    assert "started anew since" in take(repository, tmp_path / "b", "s-2").took_over


def test_a_number_that_another_process_has_now_is_no_life(repository, folder, tmp_path):
    """Process ids come again; the time of a process's start does not."""
    take(repository, folder)
    with repository.writing() as tx:
        tx.connection.exec_driver_sql("UPDATE leases SET process = '12345'")
    assert "its process has ended" in take(repository, tmp_path / "b", "s-2").took_over


def test_only_one_of_many_gets_a_free_account(repository, db, folder, tmp_path):
    """With a state folder each: the database alone decides."""
    many = [start(tmp_path, HOLD, db, tmp_path / f"state-{n}", f"s-{n}") for n in range(4)]
    lines = [process.stdout.readline() for process in many]
    assert lines.count("held\n") == 1
    held = many[lines.index("held\n")]
    for process in many:
        if process is not held:
            assert "LeaseRefused" in process.communicate()[1]
    held.stdin.write("\n")
    finish(held)


def test_a_lock_file_that_is_removed_is_taken_again(repository, folder):
    lease = take(repository, folder)
    shutil.rmtree(folder)
    lease.renew(later(1))
    with pytest.raises(LeaseRefused):
        take(repository, folder, "s-2")
    shutil.rmtree(folder)
    assert AccountLock(folder, "account-1").take({"session_id": "another"})
    with pytest.raises(LeaseLost, match=r"its lock .* is another session's now"):
        lease.renew(later(2))


def test_a_state_folder_that_cannot_be_made_is_named(repository, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made .*XDG_STATE_HOME"):
        take(repository, tmp_path / "file" / "botlib")


def test_who_i_am(monkeypatch, tmp_path):
    me = here()
    assert me.pid == os.getpid() and me.host and here() == me
    assert process_mark(me.pid) == process_mark(me.pid) != ""
    gone = subprocess.Popen(["true"])
    end = time.monotonic() + 10.0
    while process_mark(gone.pid) and time.monotonic() < end:  # nobody has asked for it: a zombie is as good as gone
        time.sleep(0.01)
    assert process_mark(gone.pid) == ""
    gone.wait()
    assert process_mark(gone.pid) == ""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "botlib"
