"""Where keys may go: Alpaca's hosts over TLS, and this machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from botlib.errors import InputError, nearest

PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"
DATA = "https://data.alpaca.markets"
DATA_STREAM = "wss://stream.data.alpaca.markets"


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine: localhost, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(url: object) -> str:
    """What may be shown of a value that should be an address: no user, no query, and no text that may be a key."""
    if not isinstance(url, str):
        return repr(url)
    scheme, found, rest = url.strip().rpartition("://")
    rest = re.sub(r"[?#].*", "?***", re.sub(r".*@", "***@", rest))
    is_address = found or "@" in rest or re.search(r"[.:]|localhost", rest) or not rest
    return repr(f"{scheme}{found}{rest}") if is_address else "'***'"


def checked_url(url: str, name: str, known: set[str], *, path: bool = False) -> str:
    """The URL without trailing slash and version. Keys go to Alpaca's hosts over TLS, or to this machine."""
    parts = urlsplit(url.strip()) if isinstance(url, str) else None
    try:
        whole = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) \
            and not (parts.username or parts.query or parts.fragment) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if parts is None or not whole:
        keys = " Take the keys out of the address: they go into key_id and secret_key." if "@" in str(url) else ""
        raise InputError(f"{name} = {_shown(url)} is no web address; valid: {', '.join(sorted(known))} or a loopback "
                         f"host.{keys}")
    clean = re.sub(r"/v\d+$", "", url.strip().rstrip("/"))
    if is_loopback(clean) or clean in known or (path and f"{parts.scheme}://{parts.netloc}" in known):
        return clean
    hint = nearest(clean, known) or "."
    raise InputError(f"{name} = {_shown(url)} is no host of Alpaca's, and keys are sent nowhere else{hint} "
                     f"Valid: {', '.join(sorted(known))}, or a loopback host such as http://127.0.0.1:8765.")
