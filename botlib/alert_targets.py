"""Where alerts go: a command on this machine, or an address that is pinged. Each delivers one at a time, or fails.

A target belongs to its own thread (see `botlib.alerts`): it may take until its deadline, never longer.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from botlib import hygiene
from botlib.errors import InputError

_SHOWN = 300
"""Characters of a command's complaint that are kept."""
_SHORTEST = 8
"""A shorter part of a URL is no secret, and starring it would star ordinary text."""
_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))  # hold IPv4 addresses


class NotDelivered(Exception):
    """One sentence, without secrets."""


# --- A command --------------------------------------------------------------------------------------------------------


def without_secrets(environ: Mapping[str, str], hidden: Sequence[str] = ()) -> dict[str, str]:
    """The environment less ``hidden`` names, all of Alpaca's, and what looks like a secret by its name or value."""
    return {name: value for name, value in environ.items()
            if name not in hidden and not name.startswith("APCA_")
            and not hygiene.is_secret_name(name) and not hygiene.is_secret_value(value)}


class Command:
    """A command that gets the event as JSON on its standard input.

    Parameters
    ----------
    command : list of str, or str
        A program and its arguments, or a line for the shell.
    environ : mapping
        All it inherits.
    folder : Path, optional
        Where it runs.
    timeout : float
        Seconds after which it and what it started are killed.
    """

    def __init__(self, command: Sequence[str] | str, *, environ: Mapping[str, str], folder: Path | None = None,
                 timeout: float = 10.0) -> None:
        self._arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        self._environ, self._folder, self._timeout = dict(environ), folder, timeout
        self.name = "on_event"

    def deliver(self, body: bytes) -> None:
        """Run it once. Raises `NotDelivered`."""
        with tempfile.TemporaryFile() as complaint:
            try:
                process = subprocess.Popen(self._arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                           stderr=complaint, env=self._environ, cwd=self._folder,
                                           start_new_session=True)
            except OSError as error:
                raise NotDelivered(f"the command cannot be run: {error.strerror or error}") from None
            try:
                process.communicate(body, self._timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                raise NotDelivered(f"the command took more than {self._timeout:g} seconds and was ended") from None
            if process.returncode != 0:
                complaint.seek(0)
                said = " ".join(complaint.read().decode(errors="replace").split())[-_SHOWN:]
                raise NotDelivered(f"the command ended with {process.returncode}" + (f": {said}" if said else ""))


def _end(process: subprocess.Popen[bytes]) -> None:
    """The command leads a process group of its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


# --- An address -------------------------------------------------------------------------------------------------------


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, and holds no other one inside."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in network for network in _EMBEDDING):
            return False
    return ip.is_global and not ip.is_multicast


class Ping:
    """An address that gets the event as JSON by POST; any 2xx answer will do.

    HTTPS only, at public addresses only: names are looked up at each call and the address that was checked is the one
    that is connected to. Redirects are failures. Proxies of the environment are not used.

    Parameters
    ----------
    url : str
        A secret: it is in no message.
    timeout : float
        Seconds for all of it but the look-up of the name.
    allow_private : bool
        For tests: plain HTTP and addresses of this machine or network too.
    context : ssl.SSLContext, optional
        The system's certificates by default.

    Raises
    ------
    InputError
        Not such a URL.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, allow_private: bool = False,
                 context: ssl.SSLContext | None = None) -> None:
        self._parts = _checked(url, allow_private)
        self._tls = self._parts.scheme == "https"
        self._port = self._parts.port or (443 if self._tls else 80)
        self._context = context or ssl.create_default_context()
        self._timeout, self._allow_private = timeout, allow_private
        self.name = f"ping of {self._parts.hostname}"
        self._path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        self.secrets = tuple(part for part in (url, self._path, self._parts.path, self._parts.query)
                             if len(part) >= _SHORTEST)

    def deliver(self, body: bytes) -> None:
        """Ping once. Raises `NotDelivered`."""
        addresses = self._addresses()
        exchange = _Exchange(self._timeout)
        try:
            status = exchange.post(self._connection(exchange, addresses), self._path, body)
        except (OSError, http.client.HTTPException) as error:
            raise NotDelivered(exchange.said(error)) from None
        finally:
            exchange.close()
        if 300 <= status < 400:
            raise NotDelivered(f"the answer was {status}, a redirect; redirects are not followed")
        if not 200 <= status < 300:
            raise NotDelivered(f"the answer was {status}")

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self._parts.hostname, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NotDelivered("the name cannot be looked up") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allow_private and not all(map(is_public, addresses)):
            raise NotDelivered("the name leads to an address that is not public; nothing was sent")
        return addresses

    def _connection(self, exchange: _Exchange, addresses: Sequence[str]) -> http.client.HTTPConnection:
        host = str(self._parts.hostname)
        connection: http.client.HTTPConnection
        if self._tls:
            connection = http.client.HTTPSConnection(host, self._port, context=self._context)
            connection.sock = exchange.connect(addresses, self._port, self._context, host)
        else:
            connection = http.client.HTTPConnection(host, self._port)
            connection.sock = exchange.connect(addresses, self._port)
        return connection


class _Exchange:
    """One request and its answer, ended from outside at the deadline: a slow server may send a byte now and then."""

    def __init__(self, timeout: float) -> None:
        self._timeout, self._until = timeout, time.monotonic() + timeout
        self._sock: socket.socket | None = None
        self._expired = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(timeout, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def connect(self, addresses: Sequence[str], port: int, context: ssl.SSLContext | None = None,
                host: str = "") -> socket.socket:
        """The first of the addresses that answers."""
        failure: OSError = OSError("no address")
        for address in addresses:
            try:
                plain = socket.create_connection((address, port), self._left())
                break
            except OSError as error:
                failure = error
        else:
            raise failure
        if context is None:
            return self._take(plain)
        tls = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._take(tls)
        tls.do_handshake()
        return tls

    def post(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
        """The status of the answer; its body is not read."""
        connection.request("POST", path, body, {"Content-Type": "application/json", "User-Agent": "botlib",
                                                "Connection": "close"})
        return connection.getresponse().status

    def said(self, error: Exception) -> str:
        """What went wrong, without the address."""
        if self._expired or isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} seconds"
        if isinstance(error, ssl.SSLError):
            return f"no safe connection: {error.reason or type(error).__name__}"
        if isinstance(error, OSError) and error.strerror:
            return f"no answer: {error.strerror}"
        return f"no answer that makes sense ({type(error).__name__})"

    def close(self) -> None:
        """Nothing is left open."""
        self._timer.cancel()
        if self._sock is not None:
            self._sock.close()

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0.0:
            raise TimeoutError("deadline")
        return left

    def _take(self, sock: Any) -> Any:
        with self._lock:
            self._sock = sock
            if self._expired:
                raise TimeoutError("deadline")
        sock.settimeout(self._left())
        return sock

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            if self._sock is not None:
                try:
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # not TLS's own, which would wait
                except OSError:
                    pass


def _checked(url: str, allow_private: bool) -> SplitResult:
    """The parts of a URL that may be pinged; the message never shows it."""
    wrong = "the ping URL {}; give an https:// URL of a public host, without a user name, in the environment variable."
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InputError(wrong.format("is no URL")) from None
    if any(c.isspace() or not c.isprintable() or ord(c) > 126 for c in url.strip()):
        raise InputError(wrong.format("holds characters that no URL has"))
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise InputError(wrong.format("is not https"))
    if not host or parts.username is not None or parts.password is not None:
        raise InputError(wrong.format("names no host" if not host else "holds a user name"))
    if not allow_private and (host == "localhost" or host.endswith(".localhost") or _is_private_literal(host)):
        raise InputError(wrong.format("leads to this machine or a private network"))
    return parts


def _is_private_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not is_public(host)
