"""The repository on a PostgreSQL server that is locked, gets lost in the middle of a commit, or is not there."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from postgres_helpers import free_port, postgres  # noqa: F401
from repository_helpers import NOW, an_intent, finish, ledger_of, say_when, start

from botlib.errors import RepositoryError
from botlib.repository import Repository

pytestmark = pytest.mark.slow


class Proxy:
    """Passes bytes between a client and the server; at a COMMIT it may cut the line."""

    def __init__(self, port: int) -> None:
        self.cut = ""  # "before": the server never hears of the commit; "after": the client never hears the answer
        self.open = True
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.open:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.cut and b"COMMIT" in data:
                    how, self.cut = self.cut, ""
                    self.open = not how.endswith("for good")
                    client.shutdown(socket.SHUT_RDWR)  # the answer has nowhere to go
                    if how.startswith("after"):
                        server.sendall(data)
                        time.sleep(0.3)
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)

    def _pass(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for found in self._sockets:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
            found.close()


@pytest.fixture
def proxy(postgres) -> Iterator[Proxy]:  # noqa: F811
    found = Proxy(postgres.port)
    yield found
    found.close()


@pytest.fixture
def name(postgres) -> str:  # noqa: F811
    return postgres.database()


@pytest.fixture
def through(postgres, proxy, name):  # noqa: F811
    with Repository.open(postgres.url(name, proxy.port)) as repository:
        yield repository


def test_a_commit_whose_answer_is_lost_is_found_to_have_happened(through, proxy):
    ledger = ledger_of(through)
    with through.writing() as tx:
        an_intent(tx, ledger)
        tx.event(ledger, "intent", time=NOW)
        proxy.cut = "after"
    assert proxy.cut == "" and through.intent("c-1") is not None
    assert through.verify(ledger).ok


def test_a_commit_that_never_arrived_is_said_to_be_rolled_back(through, proxy):
    ledger = ledger_of(through)
    words = "nothing of this transaction was written"
    with pytest.raises(RepositoryError, match=words) as caught, through.writing() as tx:
        an_intent(tx, ledger)
        proxy.cut = "before"
    assert caught.value.written is False and through.intent("c-1") is None
    with through.writing() as tx:  # it goes on
        an_intent(tx, ledger)


def test_a_commit_that_nobody_can_ask_about_is_unknown(through, proxy, postgres, name, monkeypatch):  # noqa: F811
    monkeypatch.setattr("botlib.repository.commits.ASK_SECONDS", 0.5)
    ledger = ledger_of(through)
    with pytest.raises(RepositoryError, match="read again what should be there") as caught, through.writing() as tx:
        an_intent(tx, ledger)
        proxy.cut = "after for good"
    assert caught.value.written is None
    with Repository.open(postgres.url(name)) as direct:
        assert direct.intent("c-1") is not None


def test_a_connection_that_broke_while_idle_is_made_anew(through, proxy, postgres, name):  # noqa: F811
    ledger = ledger_of(through)
    with postgres.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    with through.writing() as tx:
        an_intent(tx, ledger)
    assert through.intent("c-1") is not None


def test_a_connection_that_breaks_within_a_transaction_loses_it_and_says_so(through, postgres, name):  # noqa: F811
    ledger = ledger_of(through)
    with pytest.raises(RepositoryError, match="no connection to the server") as caught, through.writing() as tx:
        with postgres.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        an_intent(tx, ledger)
    assert caught.value.written is False and through.intent("c-1") is None


def test_a_locked_ledger_is_waited_for_and_then_named(tmp_path, postgres, name):  # noqa: F811
    db = postgres.url(name)
    with Repository.open(db, busy_seconds=0.5) as repository:
        ledger = ledger_of(repository)
        holder = start(tmp_path, """
            with Repository.open(db) as r, r.writing() as tx:
                tx.event(1, "held", time=NOW)
                print("locked", flush=True)
                sys.stdin.readline()
            """, db)
        say_when(holder, "locked")
        with pytest.raises(RepositoryError, match=r"kept it locked for 0.5 s"), repository.writing() as tx:
            tx.event(ledger, "waits", time=NOW)
        holder.stdin.write("\n")
        finish(holder)
        with repository.writing() as tx:
            assert tx.event(ledger, "goes on", time=NOW) == 2


def test_writers_of_one_ledger_share_one_chain(tmp_path, postgres, name):  # noqa: F811
    db = postgres.url(name)
    with Repository.open(db) as repository:
        ledger = ledger_of(repository)
        many = [start(tmp_path, """
            with Repository.open(db) as r:
                for n in range(40):
                    with r.writing() as tx:
                        tx.event(1, "tick", {"n": n}, time=NOW)
                        tx.event(1, "tock", {"n": n}, time=NOW)
            """, db) for _ in range(3)]
        for process in many:
            finish(process, 60)
        found = repository.verify(ledger)
        assert (found.ok, found.events) == (True, 240)


def test_no_server_and_no_password_in_the_sentence():
    db = f"postgresql://me:hush@127.0.0.1:{free_port()}/x"
    words = r"^Database postgresql://me:\*\*\*@127.0.0.1:\d+/x: no connection"
    with pytest.raises(RepositoryError, match=words) as caught:
        Repository.open(db)
    assert "hush" not in str(caught.value)


def test_a_database_of_other_tables_is_left_alone(postgres, name):  # noqa: F811
    with postgres.connect(name) as connection:
        connection.execute("CREATE TABLE meta (a int); CREATE TABLE orders (id int)")
    from botlib.errors import InputError

    with pytest.raises(InputError, match=r"not botlib's \(it holds meta, orders\)"):
        Repository.open(postgres.url(name))


def test_options_in_the_url_are_kept(postgres, name):  # noqa: F811
    with postgres.connect(name) as connection:
        connection.execute("CREATE SCHEMA bots")
    with Repository.open(postgres.url(name) + "?options=-csearch_path%3Dbots") as repository:
        ledger_of(repository)
        with repository._engine.connect() as connection:
            asked = [connection.exec_driver_sql(f"SHOW {what}").scalar() for what in ("search_path", "lock_timeout",
                                                                                      "synchronous_commit")]
    assert asked == ["bots", "5s", "on"]
