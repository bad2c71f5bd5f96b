"""Alerts: real commands and real servers, good, slow and dead. The caller never waits, and no secret gets out."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from loopback import Loopback

from botlib.alert_targets import Command, NotDelivered, Ping, is_public, without_secrets
from botlib.alerts import Alerts, AlertSettings, Failure
from botlib.errors import InputError

pytestmark = pytest.mark.slow

NOW = dt.datetime(2024, 3, 4, 15, 0, tzinfo=dt.UTC)
SECRET = "Hx7" + "kq2Lw9" * 6
LONG = 30.0  # seconds; nothing here waits for it unless it fails


def save_to(path: Path) -> list[str]:
    """A command that appends what it gets, a line for each event."""
    code = f"import sys; open({str(path)!r}, 'a').write(sys.stdin.read() + chr(10))"
    return [sys.executable, "-c", code]


def events(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ok(seen, reply):
    reply.json(200, {})


class Gated:
    """A target that holds every event until it is let go."""

    name = "gated"

    def __init__(self):
        self.started, self.go, self.bodies = threading.Event(), threading.Event(), []

    def deliver(self, body: bytes) -> None:
        self.started.set()
        assert self.go.wait(LONG)
        self.bodies.append(json.loads(body))


# --- A command --------------------------------------------------------------------------------------------------------

def test_a_command_gets_every_event_in_order(tmp_path):
    out = tmp_path / "events"
    alerts = Alerts.from_settings(AlertSettings(on_event=save_to(out)), os.environ)
    for kind in ("start", "alarm", "refusal", "kill", "crash", "end"):
        alerts.send(kind, f"a {kind}", time=NOW, session="s1", equity=float("nan"), path=Path("a/b"))
    assert alerts.close(LONG) and alerts.failures() == []
    assert [event["event"] for event in events(out)] == ["start", "alarm", "refusal", "kill", "crash", "end"]
    assert events(out)[3] == {"event": "kill", "level": "alarm", "time": "2024-03-04T15:00:00+00:00", "text": "a kill",
                              "session": "s1", "equity": None, "path": "a/b"}


def test_a_shell_line_runs_in_the_projects_folder(tmp_path):
    alerts = Alerts.from_settings(AlertSettings(on_event="cat >> here && pwd >> here"), os.environ, folder=tmp_path)
    alerts.send("start", "x", time=NOW)
    assert alerts.close(LONG)
    assert (tmp_path / "here").read_text().endswith(f"{tmp_path}\n")


def test_data_cannot_pose_as_the_event(tmp_path):
    out = tmp_path / "events"
    alerts = Alerts.from_settings(AlertSettings(on_event=save_to(out)), os.environ)
    alerts.send("refusal", "x", time=NOW, event="end", level="info")
    assert alerts.close(LONG) and (events(out)[0]["event"], events(out)[0]["level"]) == ("refusal", "warning")


def test_a_command_inherits_no_secret(tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": "/x", "APCA_API_BASE_URL": "https://host",
               "APCA_API_KEY_ID": "k" * 20, "SLACK_TOKEN": "t" * 20, "DB_URL": "postgresql://me:hidden@host/db",
               "PLAIN": SECRET, "BOTLIB_PING_URL": "https://hooks.example.com/abcdefgh", "TZ": "UTC"}
    command = f"{sys.executable} -c 'import os, json; json.dump(dict(os.environ), open(\"env\", \"w\"))'"
    inherited = without_secrets(environ, ["BOTLIB_PING_URL"])
    alerts = Alerts([Command(command, environ=inherited, folder=tmp_path)])
    alerts.send("start", "x", time=NOW)
    assert alerts.close(LONG) and alerts.failures() == []
    got = json.loads((tmp_path / "env").read_text())
    assert {name: got.get(name) for name in environ} == {**dict.fromkeys(environ), "PATH": environ["PATH"],
                                                         "HOME": "/x", "TZ": "UTC"}


def test_the_ping_variable_is_hidden_from_the_command_whatever_its_name(tmp_path):
    environ = {**os.environ, "MY_HOOK": "https://hooks.example.com/abcdefgh", "BOTLIB_PING_URL": "https://x.example/y"}
    settings = AlertSettings(on_event="env > env", ping_url_env="MY_HOOK")
    alerts = Alerts.from_settings(settings, environ, folder=tmp_path)
    alerts._workers = alerts._workers[:1]  # the ping is not to be sent
    alerts.send("start", "x", time=NOW)
    assert alerts.close(LONG)
    assert "example" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize(("command", "text"), [
    (["/no/such/program"], "the command cannot be run: No such file or directory"),
    ("echo it is full >&2; exit 7", "the command ended with 7: it is full"),
    ("exit 3", "the command ended with 3"),
    (f"echo key {SECRET} >&2; exit 1", "the command ended with 1: key ***"),
])
def test_a_command_that_fails_is_said(command, text):
    alerts = Alerts.from_settings(AlertSettings(on_event=command), {**os.environ, "MY_TOKEN": SECRET})
    alerts.send("kill", "x", time=NOW)
    assert alerts.close(LONG)
    assert alerts.failures() == [Failure("on_event", "kill", text)]
    assert alerts.failures() == []  # told once


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path):
    fifo = tmp_path / "fifo"  # its reader sees the end only when every writer is gone
    os.mkfifo(fifo)
    command = Command(f"sleep 600 > {fifo} & sleep 600", environ=os.environ, timeout=0.5)
    seen = []
    reader = threading.Thread(target=lambda: seen.append(fifo.read_bytes()), daemon=True)
    reader.start()
    with pytest.raises(NotDelivered, match=r"more than 0\.5 seconds and was ended"):
        command.deliver(b"{}")
    reader.join(LONG)
    assert seen == [b""]


def test_a_command_need_not_read():
    Command("exec 0<&-; exit 0", environ=os.environ).deliver(b"x" * 1_000_000)


# --- Nothing waits for a target ---------------------------------------------------------------------------------------

def test_sending_never_waits_for_a_dead_target():
    """All is sent before the target has answered once; the oldest go, and each is noted."""
    target = Gated()
    alerts = Alerts([target], room=8)
    alerts.send("start", "0", time=NOW)
    assert target.started.wait(LONG)
    for i in range(1, 101):
        alerts.send("refusal", str(i), time=NOW)
    assert target.bodies == []  # it has not even taken the first
    lost = alerts.failures()
    assert len(lost) == 92 and {f.text for f in lost} == {"dropped: 8 newer events were waiting"}
    target.go.set()
    assert alerts.close(LONG)
    assert [body["text"] for body in target.bodies] == ["0", *map(str, range(93, 101))]


def test_a_flood_of_alarms_does_not_push_out_the_kill():
    target = Gated()
    alerts = Alerts([target], room=3)
    alerts.send("start", "0", time=NOW)
    assert target.started.wait(LONG)
    alerts.send("kill", "k", time=NOW)
    for i in range(10):
        alerts.send("alarm", str(i), time=NOW)
    target.go.set()
    assert alerts.close(LONG)
    assert [body["text"] for body in target.bodies] == ["0", "k", "8", "9"]
    assert [f.event for f in alerts.failures()] == ["alarm"] * 8


def test_one_dead_target_does_not_hold_up_another(tmp_path):
    dead, out = Gated(), tmp_path / "events"
    alerts = Alerts([dead, Command(save_to(out), environ=os.environ)])
    alerts.send("kill", "x", time=NOW)
    until = time.monotonic() + LONG
    while not (out.exists() and out.read_text().endswith("\n")) and time.monotonic() < until:
        time.sleep(0.01)
    assert [event["text"] for event in events(out)] == ["x"] and dead.bodies == []
    dead.go.set()
    assert alerts.close(LONG)


def test_the_end_waits_only_so_long():
    target = Gated()
    alerts = Alerts([target])
    alerts.send("kill", "1", time=NOW)
    assert target.started.wait(LONG)
    alerts.send("end", "2", time=NOW)
    assert alerts.close(0.01) is False
    assert [(f.event, f.text) for f in alerts.failures()] == [("end", "dropped: the session ended first")]
    alerts.send("alarm", "3", time=NOW)
    assert [(f.event, f.text) for f in alerts.failures()] == [("alarm", "it came after the end")]
    target.go.set()


def test_a_target_that_breaks_does_not_end_its_thread():
    class Broken(Gated):
        def deliver(self, body):
            self.bodies.append(body)
            raise ZeroDivisionError(SECRET)

    target = Broken()
    alerts = Alerts([target])
    for _ in range(3):
        alerts.send("alarm", "x", time=NOW)
    assert alerts.close(LONG) and len(target.bodies) == 3
    assert alerts.failures() == [Failure("gated", "alarm", "ZeroDivisionError")] * 3


def test_what_cannot_be_written_is_noted_and_not_raised():
    circle: dict = {}
    circle["self"] = circle
    alerts = Alerts([Gated()])
    alerts.send("alarm", "x", time=NOW, circle=circle)
    alerts.send("alarm", "x", time=None)  # type: ignore[arg-type]
    assert [f.target for f in alerts.failures()] == ["alerts", "alerts"]


def test_without_targets_nothing_happens():
    alerts = Alerts.from_settings(AlertSettings(), {})
    alerts.send("kill", "x", time=NOW)
    assert alerts.close(0.0) and alerts.failures() == []
    assert not [t for t in threading.enumerate() if t.name.startswith("alerts-")]


@pytest.mark.parametrize("room", [0, -1, 1.5, True])
def test_the_queue_has_room(room):
    with pytest.raises(InputError, match="room"):
        Alerts(room=room)


# --- A ping -----------------------------------------------------------------------------------------------------------

def test_a_ping_gets_the_event():
    with Loopback(ok) as server:
        alerts = Alerts.from_settings(AlertSettings(), {"BOTLIB_PING_URL": f"{server.url}/hook/a1?b=2"},
                                      allow_private=True)
        alerts.send("start", "x", time=NOW, session="s1")
        alerts.send("end", "y", time=NOW)
        assert alerts.close(LONG) and alerts.failures() == []
    assert [(s.method, s.path, s.query, s.body["event"]) for s in server.seen] == [
        ("POST", "/hook/a1", {"b": "2"}, "start"), ("POST", "/hook/a1", {"b": "2"}, "end")]


@pytest.mark.parametrize(("answer", "text"), [
    (lambda seen, reply: reply.raw(302, b"", Location="/elsewhere"), "the answer was 302, a redirect; "),
    (lambda seen, reply: reply.json(500, {"secret": "s"}), "the answer was 500"),
    (lambda seen, reply: reply.json(404, {}), "the answer was 404"),
    (lambda seen, reply: reply.reset(), "no answer"),
    (lambda seen, reply: reply.silence(LONG), "no answer within 0.5 seconds"),
    (lambda seen, reply: reply.drip(b"{}", 0.1, headers=True), "no answer within 0.5 seconds"),
])
def test_a_ping_that_fails_is_said(answer, text):
    with Loopback(answer) as server:
        ping = Ping(f"{server.url}/a-secret-path", timeout=0.5, allow_private=True)
        with pytest.raises(NotDelivered) as error:
            ping.deliver(b"{}")
        assert len(server.seen) == 1  # no redirect followed, nothing tried twice
    assert str(error.value).startswith(text) and "secret" not in str(error.value)


def test_a_port_that_nobody_listens_on():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(NotDelivered, match="no answer: Connection refused"):
        Ping(url, allow_private=True).deliver(b"{}")


def test_the_url_is_in_no_event_and_no_message():
    with Loopback(lambda seen, reply: reply.json(500, {})) as server:
        url = f"{server.url}/services/T00/abcdefgh?key=12345678"
        alerts = Alerts.from_settings(AlertSettings(), {"BOTLIB_PING_URL": url, "MY_SECRET": SECRET},
                                      allow_private=True)
        alerts.send("crash", f"could not reach {url} with {SECRET}", time=NOW, where=[{SECRET: url}])
        assert alerts.close(LONG)
        assert server.seen[0].body["text"] == "could not reach *** with ***"
        assert server.seen[0].body["where"] == [{"***": "***"}]
    assert alerts.failures() == [Failure("ping of 127.0.0.1", "crash", "the answer was 500")]
    assert "abcdefgh" not in repr(alerts) + repr(vars(alerts)["_workers"])


# --- Where a ping may go ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("url", "why"), [
    ("http://hooks.example.com/abc", "is not https"), ("ftp://hooks.example.com/abc", "is not https"),
    ("hooks.example.com/abc", "is not https"), ("", "is not https"), ("https:///abc", "names no host"),
    ("https://me:pw@hooks.example.com/abc", "holds a user name"), ("https://[::1/abc", "is no URL"),
    ("https://host:99999/abc", "is no URL"), ("https://host/a\r\nX: y", "characters that no URL has"),
    ("https://localhost/abc", "private network"), ("https://a.localhost/abc", "private network"),
    ("https://127.0.0.1/abc", "private network"), ("https://10.1.2.3/abc", "private network"),
    ("https://192.168.0.1/abc", "private network"), ("https://169.254.169.254/latest", "private network"),
    ("https://[::1]/abc", "private network"), ("https://[fe80::1]/abc", "private network"),
    ("https://[::ffff:10.0.0.1]/abc", "private network"), ("https://0.0.0.0/abc", "private network"),
])
def test_what_may_not_be_pinged(url, why):
    with pytest.raises(InputError, match=why) as error:
        Ping(url)
    assert "abc" not in str(error.value)


@pytest.mark.parametrize(("address", "public"), [
    ("8.8.8.8", True), ("2606:4700:4700::1111", True), ("::ffff:8.8.8.8", True),
    ("127.0.0.1", False), ("10.0.0.1", False), ("172.16.0.1", False), ("192.168.1.1", False),
    ("169.254.169.254", False),
    ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False),
    ("fe80::1", False), ("fc00::1", False), ("ff02::1", False), ("::ffff:127.0.0.1", False),
    ("64:ff9b::a00:1", False), ("2002:a00:1::", False), ("name", False), ("", False),
])
def test_which_addresses_are_public(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize("name", ["127.1", "2130706433", "0x7f000001"])
def test_a_name_that_leads_to_this_machine_gets_nothing(name):
    """These read like no address, and are looked up as 127.0.0.1."""
    with Loopback(ok) as server:
        ping = Ping(f"https://{name}:{server.url.rpartition(':')[2]}/abc")
        with pytest.raises(NotDelivered, match="an address that is not public; nothing was sent"):
            ping.deliver(b"{}")
        assert server.seen == []


def test_a_name_that_nobody_knows():
    with pytest.raises(NotDelivered, match="the name cannot be looked up"):
        Ping("https://nobody.invalid/abc").deliver(b"{}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """Key and certificate of "localhost", made here."""
    openssl = shutil.which("openssl")
    if openssl is None:
        if os.environ.get("CI"):
            pytest.fail("openssl is missing")
        pytest.skip("openssl is missing")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", str(path), "-out", str(path) + ".crt", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls_server(certificate):
    """(port, bodies that came) of an HTTPS server."""
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *args: None
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1], bodies
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_ping_over_tls(tls_server, certificate):
    port, bodies = tls_server
    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    Ping(f"https://localhost:{port}/x", allow_private=True, context=trusting).deliver(b'{"a": 1}')
    assert bodies == [b'{"a": 1}']


@pytest.mark.parametrize(("host", "trusts"), [("localhost", False), ("127.0.0.1", True)])
def test_an_unknown_certificate_or_another_hosts_gets_nothing(tls_server, certificate, host, trusts):
    port, bodies = tls_server
    context = ssl.create_default_context(cafile=f"{certificate}.crt") if trusts else None
    with pytest.raises(NotDelivered, match="no safe connection: CERTIFICATE_VERIFY_FAILED"):
        Ping(f"https://{host}:{port}/x", allow_private=True, context=context).deliver(b"{}")
    assert bodies == []


def test_a_server_that_never_shakes_hands():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        ping = Ping(f"https://127.0.0.1:{mute.getsockname()[1]}/x", timeout=0.3, allow_private=True)
        with pytest.raises(NotDelivered, match=r"no answer within 0\.3 seconds"):
            ping.deliver(b"{}")


# --- Settings ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("values", "why"), [
    ({"on_event": ""}, "on_event = ''"), ({"on_event": []}, r"on_event = \[\]"), ({"on_event": [" "]}, "on_event"),
    ({"on_event": "a\0b"}, "on_event"), ({"on_event": 7}, "on_event"), ({"on_evnt": "x"}, "did you mean 'on_event'"),
    ({"ping_url_env": ""}, "ping_url_env: give the name"), ({"ping_url_env": None}, "ping_url_env"),
])
def test_settings_that_make_no_sense(values, why):
    with pytest.raises(InputError, match=why):
        AlertSettings(**values)


def test_a_url_in_place_of_the_variables_name_is_not_repeated():
    with pytest.raises(InputError, match="the URL itself is a secret") as error:
        AlertSettings(ping_url_env="https://hooks.example.com/abcdefgh")
    assert "abcdefgh" not in str(error.value)


def test_a_variable_that_is_named_must_be_set():
    with pytest.raises(InputError, match="ping_url_env = 'MY_HOOK': this environment variable is not set"):
        Alerts.from_settings(AlertSettings(ping_url_env="MY_HOOK"), {})


def test_a_private_address_in_the_variable_refuses_the_start():
    for url in ("http://hooks.example.com/abcdefgh", "https://10.0.0.1/abcdefgh"):
        with pytest.raises(InputError, match="the ping URL") as error:
            Alerts.from_settings(AlertSettings(), {"BOTLIB_PING_URL": url})
        assert "abcdefgh" not in str(error.value)
