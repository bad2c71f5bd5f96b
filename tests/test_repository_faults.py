"""The repository when things go wrong: locks, full disks, kills, damaged files, old and strange databases."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from postgres_helpers import postgres  # noqa: F401
from repository_helpers import NOW, a_fill, an_intent, finish, later, ledger_of, say_when, start

from botlib.errors import BotlibError, InputError, RepositoryError
from botlib.repository import Repository

pytestmark = pytest.mark.slow

V1 = Path(__file__).parent / "golden" / "repository_v1.sql"


@pytest.fixture
def db(tmp_path) -> Path:
    return tmp_path / "trades.sqlite"


# --- Where it is, and who may read it ------------------------------------------------------------

def test_its_files_are_the_users_own(db):
    with Repository.open(db) as repository:
        with repository.writing() as tx:
            tx.request("a", "stop", by="me", time=NOW)
        files = sorted(db.parent.iterdir())
        assert [f.name for f in files] == ["trades.sqlite", "trades.sqlite-shm", "trades.sqlite-wal"]
        assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
        with repository._engine.connect() as connection:
            asked = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                     for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
        assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    db.chmod(0o644)
    Repository.open(db).close()
    assert stat.S_IMODE(db.stat().st_mode) == 0o600


def test_a_relative_path_starts_at_the_project(tmp_path):
    with Repository.open("trades.sqlite", root=tmp_path) as repository:
        assert repository.shown == str(tmp_path / "trades.sqlite")
    with Repository.open(f"sqlite:///{tmp_path}/trades.sqlite", create=False) as repository:
        assert repository.shown == str(tmp_path / "trades.sqlite")


@pytest.mark.parametrize(("name", "words"), [
    ("", "a ledger needs a file that lasts"), (":memory:", "a ledger needs a file that lasts"),
    ("nowhere/trades.sqlite", "there is no folder"), (".", "this is a folder; name a file in it"),
    ("mysql://me:hush@host/x", r"db = 'mysql://me:\*\*\*@host/x': give the path"),
    ("postgresql://me:hush@host:port/x", "not shown"), ("postgresql://host", "give the path"),
])
def test_what_is_no_database_is_refused(tmp_path, name, words):
    with pytest.raises(InputError, match=words) as caught:
        Repository.open(name, root=tmp_path)
    assert "hush" not in str(caught.value)


def test_a_database_that_must_be_there_is_not_made(db):
    with pytest.raises(InputError, match="there is no such database"):
        Repository.open(db, create=False)
    assert not db.exists()
    db.touch()
    with pytest.raises(InputError, match="nothing has been recorded there yet"):
        Repository.open(db, create=False)


def test_somebody_elses_file_is_left_alone(db):
    db.write_bytes(b"not a database at all, but long enough to be read as one " * 20)
    db.chmod(0o644)
    with pytest.raises(InputError, match=r"^db = .*: this is not an SQLite file; name another one, e.g. .*\.$"):
        Repository.open(db)
    assert (db.stat().st_mode & 0o777, len(list(db.parent.glob(f"{db.name}*")))) == (0o644, 1)
    db.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 8)  # its head, and nothing that follows from it
    with pytest.raises(RepositoryError, match=r"(?<!written)\.$"):
        Repository.open(db)
    db.unlink()
    with sqlite3.connect(db) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    before = db.read_bytes()[100:]
    with pytest.raises(InputError, match=r"not botlib's \(it holds orders\)"):
        Repository.open(db)
    assert db.read_bytes()[100:] == before


# --- Versions ------------------------------------------------------------------------------------

def test_a_database_of_version_1_is_migrated(db):
    with sqlite3.connect(db) as connection:
        connection.executescript(V1.read_text(encoding="utf-8"))
    with Repository.open(db) as repository:
        first, second = repository.ledgers()
        assert (first.events, second.events, len(first.head), second.head) == (2, 0, 64, "")
        assert repository.fills(first.id)[["qty", "price"]].to_numpy().tolist() == [[4.0, 100.25], [6.0, 101.0]]
        found = repository.verify(first.id)
        assert (found.ok, found.events, found.rows) == (True, 2, 3)
        with repository.writing() as tx:
            assert tx.event(first.id, "session-ended", time=NOW) == 3
            assert not tx.fill(first.id, a_fill(10.0, 100.7))
        assert repository.checkpoint(first.id) == {"cash": 99000.0}
        assert repository.trials("Dip", "key").empty
    with Repository.open(db) as repository:
        assert repository.verify(1).ok and repository.verify(2).ok


def test_a_migration_that_fails_changes_nothing(db):
    with sqlite3.connect(db) as connection:
        connection.executescript(V1.read_text(encoding="utf-8"))
        connection.execute("DROP TABLE round_trips")
    with pytest.raises(RepositoryError, match="no such table"):
        Repository.open(db)
    with sqlite3.connect(db) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("1",)
        assert "seal" not in {row[1] for row in connection.execute("PRAGMA table_info(fills)")}


def test_version_1_on_postgresql_is_migrated(postgres):  # noqa: F811
    db = postgres.url(name := postgres.database())
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        with repository.writing() as tx:
            tx.fill(ledger, a_fill())
            tx.event(ledger, "fill", time=NOW)
    with postgres.connect(name) as connection:
        connection.execute("ALTER TABLE fills DROP COLUMN seal; ALTER TABLE round_trips DROP COLUMN seal; "
                           "ALTER TABLE ledgers DROP COLUMN events, DROP COLUMN head; "
                           "DROP TABLE trials; DROP TABLE studies; "
                           "UPDATE meta SET value = '1' WHERE key = 'schema'")
    with Repository.open(db) as repository:
        assert repository.verify(ledger).ok and repository.ledgers()[0].events == 1


def test_a_newer_database_is_refused(db):
    Repository.open(db).close()
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(InputError, match=r"written by a newer botlib \(tables of version 99; this one knows up to 3\)"):
        Repository.open(db)


def test_many_processes_may_open_a_new_database_at_once(tmp_path, db):
    many = [start(tmp_path, """
        with Repository.open(db) as r:
            n = r.ledger("a", "1", venue="sandbox", capital=1.0, time=NOW).id
            for _ in range(20):
                with r.writing() as tx:
                    tx.event(n, "tick", {"pid": os.getpid()}, time=NOW)
        """, db) for _ in range(4)]
    for process in many:
        finish(process, 60)
    with Repository.open(db) as repository:
        assert len(repository.ledgers()) == 1
        found = repository.verify(1)
        assert (found.ok, found.events) == (True, 80)


# --- Locked --------------------------------------------------------------------------------------

def test_a_locked_database_is_waited_for_and_then_named(tmp_path, db):
    with Repository.open(db, busy_seconds=0.5) as repository:
        ledger = ledger_of(repository)
        holder = start(tmp_path, """
            import sqlite3
            connection = sqlite3.connect(db, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            sys.stdin.readline()
            connection.execute("COMMIT")
            """, db)
        say_when(holder, "locked")
        begun = time.monotonic()
        words = r"kept it locked for 0.5 s.* Nothing of this"
        with pytest.raises(RepositoryError, match=words), repository.writing() as tx:
            an_intent(tx, ledger)
        assert 0.3 < time.monotonic() - begun < 5.0
        assert len(repository.ledgers()) == 1  # readers go on
        holder.stdin.write("\n")
        finish(holder)
        with repository.writing() as tx:
            an_intent(tx, ledger)


def test_a_short_lock_is_waited_for(tmp_path, db):
    with Repository.open(db) as repository:
        holder = start(tmp_path, """
            with Repository.open(db) as r, r.writing() as tx:
                tx.request("a", "stop", by="me", time=NOW)
                print("locked", flush=True)
                time.sleep(0.7)
            """, db)
        say_when(holder, "locked")
        with repository.writing() as tx:
            tx.request("a", "kill", by="me", time=NOW)
        finish(holder)
        assert [r.kind for r in repository.requests("a")] == ["stop", "kill"]


def test_another_thread_that_writes_is_waited_for_and_named(db):
    with Repository.open(db, busy_seconds=0.3) as repository:
        go, stop = threading.Event(), threading.Event()

        def hold() -> None:
            with repository.writing():
                go.set()
                stop.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        go.wait(10)
        with pytest.raises(RepositoryError, match="another thread has written for 0.3 s"), repository.writing():
            pass
        stop.set()
        thread.join()


def test_a_reader_sees_whole_transactions_while_a_session_writes(tmp_path, db):
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        writer = start(tmp_path, """
            with Repository.open(db) as r:
                print("go", flush=True)
                for n in range(150):
                    with r.writing() as tx:
                        for k in range(3):
                            tx.event(1, "tick", {"n": n}, time=NOW)
            """, db)
        say_when(writer, "go")
        seen = set()
        while writer.poll() is None:
            seen.add(len(repository.events(ledger)))
        finish(writer)
        assert all(count % 3 == 0 for count in seen) and len(seen) > 3
        assert repository.verify(ledger).events == 450


# --- Disk full, kills ----------------------------------------------------------------------------

def test_a_full_disk_leaves_nothing_half_written(tmp_path, db):
    """The size that a file may have stands in for the disk: the writer is refused in the middle of a transaction."""
    with Repository.open(db) as repository:
        ledger_of(repository)
    limited = start(tmp_path, """
        import resource
        r = Repository.open(db)
        with r.writing() as tx:
            tx.event(1, "before", time=NOW)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        try:
            with r.writing() as tx:
                for n in range(3_000):
                    tx.intent(f"c-{n}", 1, symbol="A", side="buy", purpose="entry", qty=1.0, adds_risk=True, time=NOW)
                    tx.event(1, "intent", {"id": n}, time=NOW)
        except BotlibError as error:
            print(type(error).__name__, error.written, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with r.writing() as tx:
            tx.event(1, "after", time=NOW)
        """, db)
    out = finish(limited)
    assert out.startswith("RepositoryError False Database") and "disk" in out
    with Repository.open(db) as repository:
        assert repository.events(1)["kind"].tolist() == ["before", "after"]
        assert repository.open_intents(1) == () and repository.verify(1).ok
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY  # of the other process only


def test_a_kill_within_a_transaction_leaves_nothing_of_it(tmp_path, db):
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        killed = start(tmp_path, """
            with Repository.open(db) as r, r.writing() as tx:
                tx.event(1, "lost", time=NOW)
                tx.intent("c-1", 1, symbol="A", side="buy", purpose="entry", qty=1.0, adds_risk=True, time=NOW)
                tx.finish()
                print("written", flush=True)
                time.sleep(60)
            """, db)
        say_when(killed, "written")
        killed.kill()
        killed.wait()
        assert repository.intent("c-1") is None
        with repository.writing() as tx:  # nothing is locked
            assert tx.event(ledger, "after", time=NOW) == 1
        assert repository.verify(ledger).ok
    killed.stdout.close(), killed.stderr.close(), killed.stdin.close()


def test_kills_at_any_time_lose_no_commit_and_tear_none(tmp_path, db):
    """What a process has said is committed is there; what is there is whole."""
    with Repository.open(db) as repository:
        ledger_of(repository)
    rng = random.Random(4)
    for attempt in range(3):
        writer = start(tmp_path, """
            r = Repository.open(db)
            for n in range(10**6):
                with r.writing() as tx:
                    for k in range(5):
                        name = f"{sys.argv[2]}-{n}-{k}"
                        tx.intent(name, 1, symbol="A", side="buy", purpose="entry", qty=1.0, adds_risk=True, time=NOW)
                        tx.event(1, "intent", {"id": name}, time=NOW)
                    tx.checkpoint(1, {"attempt": int(sys.argv[2]), "n": n}, time=NOW)
                print(n, flush=True)
            """, db, attempt)
        writer.stdout.readline()
        time.sleep(rng.random() * 0.3)
        writer.kill()
        said = [0, *map(int, writer.communicate()[0].split())][-1]
        with Repository.open(db) as repository:
            state = repository.checkpoint(1)
            assert state["attempt"] == attempt and state["n"] >= said
            intents = {row.client_order_id for row in repository.open_intents(1)}
            assert intents == {data["id"] for data in repository.events(1)["data"]}
            assert {f"{attempt}-{n}-{k}" for n in range(state["n"] + 1) for k in range(5)} <= intents
            assert repository.verify(1).ok


# --- Damage --------------------------------------------------------------------------------------

def everything(repository) -> tuple[object, ...]:
    """What must never change unseen."""
    fills, events = repository.fills(1), repository.events(1)
    return (fills.to_csv(), events.to_csv(), repository.round_trips(1).to_csv(), repository.checkpoint(1))


def test_a_byte_that_changes_is_found(tmp_path, db):
    """Anywhere in the file: the opening, the verification or a reading says so, or nothing that counts has changed."""
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        with repository.writing() as tx:
            for n in range(150):
                tx.fill(ledger, a_fill(1.0, 100.0 + n / 7, order_id=f"o-{n}", time=later(n)))
                tx.round_trip(ledger, symbol="A", side="long", qty=1.0, entry_time=NOW, entry_price=1.0 + n,
                              exit_time=later(n), exit_price=2.0, pnl=n / 3)
                tx.event(ledger, "fill", {"n": n, "price": 100.0 + n / 7}, time=later(n))
            tx.checkpoint(ledger, {"cash": [n / 7 for n in range(300)]}, time=NOW)
        good = everything(repository)
    whole = db.read_bytes()
    rng, found, other = random.Random(11), 0, db.with_name("flipped.sqlite")
    for _ in range(80):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        other.write_bytes(flipped)
        for tail in ("-wal", "-shm"):
            other.with_name(other.name + tail).unlink(missing_ok=True)
        try:
            with Repository.open(other, create=False) as repository:
                if repository.verify(ledger).ok:
                    assert everything(repository) == good
                else:
                    found += 1
        except BotlibError as error:
            assert "\n" not in str(error)
            found += 1
    assert found > 12  # much of a small file is room in its pages


def test_a_file_cut_short_is_found(db):
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        with repository.writing() as tx:
            for n in range(500):
                tx.event(ledger, "tick", {"n": n}, time=NOW)
    os.truncate(db, db.stat().st_size // 2)
    with pytest.raises(RepositoryError, match="damaged"):
        Repository.open(db)


def test_a_damaged_checkpoint_is_named(db):
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        with repository.writing() as tx:
            tx.checkpoint(ledger, {"cash": 1.0}, time=NOW)
        with sqlite3.connect(db) as connection:
            connection.execute("UPDATE checkpoints SET state = x'789c00'")
        with pytest.raises(RepositoryError, match="^the checkpoint of ledger 1 is damaged"):
            repository.checkpoint(ledger)
        assert not repository.verify(ledger).ok
