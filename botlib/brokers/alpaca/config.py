"""Where Alpaca is and with which keys: from the environment and `.env`, checked before anything is sent."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from botlib import project
from botlib.errors import CredentialsError, InputError, nearest

PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"
DATA = "https://data.alpaca.markets"
DATA_STREAM = "wss://stream.data.alpaca.markets"
_KINDS = {"PK": "paper", "AK": "live"}
_KEYS = "https://app.alpaca.markets"
_DEFAULT_FILE: Final = ".env"


class Secret:
    """A text that shows itself only to `reveal`: not in repr, str, formatting, `vars`, a pickle or a traceback."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The text itself: for the wire only."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self.__value))

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a secret is not pickled: read it from the environment again where it is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaConfig:
    """Keys and addresses of one account, checked.

    Parameters
    ----------
    key_id, secret_key : Secret
        Alpaca's API key. A paper key (PK…) goes to the paper host only, a live key (AK…) to the live host only; hosts
        on the loopback interface (the local exchange) take any.
    base_url : str
        Trading host; a trailing slash or ``/v2`` is taken off. Paper by default.
    data_url, trade_stream_url, data_stream_url : str
        By default those that belong to ``base_url``; on loopback all are that one host. ``data_stream_url`` is without
        the feed.
    account : str
        Name the keys were found under, "" for the unnamed account.
    source : str
        Where they were found, for messages: "the environment" or the path of the file.
    requests_per_minute : int or None
        Alpaca's limit for the plan (200; 1,000 with the paid data plan). None: no limit, the default on loopback.

    Raises
    ------
    CredentialsError
        A key is missing, has characters no key has, or is not for this host.
    InputError
        A host that is neither Alpaca's nor on loopback.
    """

    key_id: Secret
    secret_key: Secret
    base_url: str = PAPER
    data_url: str = ""
    trade_stream_url: str = ""
    data_stream_url: str = ""
    account: str = ""
    source: str = "the environment"
    requests_per_minute: int | None = -1

    def __post_init__(self) -> None:
        for name in ("key_id", "secret_key"):
            _check_key(getattr(self, name), name)
        base = _checked_url(self.base_url, "base_url", {PAPER, LIVE})
        local = is_loopback(base)
        stream = re.sub("^http", "ws", base)
        found: dict[str, Any] = {
            "base_url": base,
            "data_url": _checked_url(self.data_url or (base if local else DATA), "data_url", {DATA}),
            "trade_stream_url": self.trade_stream_url or f"{stream}/stream",
            "data_stream_url": (self.data_stream_url or (f"{stream}/v2" if local else f"{DATA_STREAM}/v2")).rstrip("/"),
        }
        for name in ("trade_stream_url", "data_stream_url"):
            _checked_url(re.sub("^ws", "http", found[name]), name, {PAPER, LIVE, re.sub("^ws", "http", DATA_STREAM)},
                         path=True)
        if self.requests_per_minute == -1:
            found["requests_per_minute"] = None if local else 200
        for name, value in found.items():
            object.__setattr__(self, name, value)
        limit = self.requests_per_minute
        if limit is not None and (type(limit) is not int or not 30 <= limit <= 100_000):
            raise InputError(f"requests_per_minute = {limit!r} is out of range: valid is 30 to 100000, or None.")
        if not local:
            _check_kind(self.key_id, base, self.source)

    @property
    def kind(self) -> str:
        """"sandbox" (loopback), "paper" or "live"."""
        return "sandbox" if is_loopback(self.base_url) else "paper" if self.base_url == PAPER else "live"

    @classmethod
    def from_env(cls, account: str = "", *, environ: Mapping[str, str] | None = None,
                 env_file: str | os.PathLike[str] | None = _DEFAULT_FILE,
                 root: str | os.PathLike[str] | None = None, **options: Any) -> AlpacaConfig:
        """Keys from the environment, else from ``.env``.

        APCA_API_KEY_ID, APCA_API_SECRET_KEY, APCA_API_BASE_URL (paper when absent) and APCA_API_DATA_URL; for the
        account "swing": APCA_SWING_API_KEY_ID and so on, nothing of the unnamed account. The environment wins, a
        key and its secret always come from the same place.

        Parameters
        ----------
        account : str
            Name of an account; "" is the unnamed one.
        environ : mapping, optional
            Stands for ``os.environ``.
        env_file : path or None
            Relative paths start at the project's root; None reads no file.
        root : path, optional
            The project's root.
        **options
            Further fields of `AlpacaConfig`.

        Raises
        ------
        CredentialsError
            Keys are missing: names the variables, and the local exchange as the way to do without.
        """
        prefix = f"APCA_{_variable(account)}_API" if account else "APCA_API"
        names = {field: f"{prefix}_{field.upper()}" for field in ("key_id", "secret_key", "base_url", "data_url")}
        places = [(environ if environ is not None else os.environ, "the environment")]
        path = _file(env_file, root)
        if path is not None:
            places.append((_read(path), str(path)))
        half = ""
        for variables, source in places:
            found = {field: (variables.get(name) or "").strip() for field, name in names.items()}
            if found["key_id"] and found["secret_key"]:
                # An address on its own may stand in the other place.
                told = {field: [(tried.get(names[field]) or "").strip() for tried, _ in places]
                        for field in ("base_url", "data_url")}
                given = {field: next(filter(None, urls)) for field, urls in told.items() if any(urls)} | options
                return cls(key_id=Secret(found["key_id"]), secret_key=Secret(found["secret_key"]), account=account,
                           source=source, **given)
            if found["key_id"] or found["secret_key"]:
                lacking = names["secret_key" if found["key_id"] else "key_id"]
                half = half or f"{lacking} is missing in {source}, where the other half is. "
        raise CredentialsError(_missing(names["key_id"], names["secret_key"], account, half, path, places))

    def __repr__(self) -> str:
        name = f", account={self.account!r}" if self.account else ""
        return f"AlpacaConfig({self.kind}, {self.base_url}{name}, keys from {self.source})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an AlpacaConfig holds keys and is not pickled: call AlpacaConfig.from_env() again")


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine: localhost, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _variable(account: str) -> str:
    if not isinstance(account, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", account):
        raise InputError(f"account = {account!r}: a name starts with a letter and has letters, digits, - and _ only.")
    name = account.upper().replace("-", "_")
    if name == "API":
        raise InputError("account = 'api' is taken: its variables would be those of the unnamed account.")
    return name


def _file(env_file: str | os.PathLike[str] | None, root: str | os.PathLike[str] | None) -> Path | None:
    """The file to read; None when there is none. One that was named must exist."""
    if env_file is None:
        return None
    try:
        path = project.resolve(env_file, root)
    except InputError:
        if str(env_file) != _DEFAULT_FILE:
            raise
        return None  # no project here: nothing but the environment
    if path.is_file():
        return path
    if str(env_file) != _DEFAULT_FILE:
        raise InputError(f"env_file = {str(env_file)!r}: there is no file {path}.")
    return None


def _read(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise CredentialsError(f"{path} cannot be read: {reason}.") from None
    return {name: value for name, value in found.items() if value is not None}


def _check_key(key: object, name: str) -> None:
    if not isinstance(key, Secret):
        raise CredentialsError(f"{name}: wrap it as Secret(...), or use AlpacaConfig.from_env().")
    text = key.reveal()
    if not text:
        raise CredentialsError(f"{name} is empty.")
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", text):
        raise CredentialsError(f"{name} has blanks or characters that no key has: copy it again from {_KEYS}.")


def _checked_url(url: str, name: str, known: set[str], *, path: bool = False) -> str:
    """The URL without trailing slash and version. Keys go to Alpaca's hosts over TLS, or to this machine."""
    parts = urlsplit(url.strip()) if isinstance(url, str) else None
    try:
        whole = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) \
            and not (parts.username or parts.query or parts.fragment) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if parts is None or not whole:
        raise InputError(f"{name} = {url!r} is no web address; valid: {', '.join(sorted(known))} or a loopback host.")
    clean = re.sub(r"/v\d+$", "", url.strip().rstrip("/"))
    if is_loopback(clean) or clean in known or (path and f"{parts.scheme}://{parts.netloc}" in known):
        return clean
    hint = nearest(clean, known) or "."
    raise InputError(f"{name} = {url!r} is no host of Alpaca's, and keys are sent nowhere else{hint} "
                     f"Valid: {', '.join(sorted(known))}, or a loopback host such as http://127.0.0.1:8765.")


def _check_kind(key: Secret, base: str, source: str) -> None:
    """A paper key on the live host, or the reverse, would fail there at best."""
    kind, host = _KINDS.get(key.reveal()[:2]), "paper" if base == PAPER else "live"
    if kind is None:
        raise CredentialsError(f"the key id in {source} starts with neither PK (paper) nor AK (live): it is no trading "
                               f"key of Alpaca's. Make one at {_KEYS}.")
    if kind != host:
        fix = f"set APCA_API_BASE_URL={LIVE} if you mean to trade real money" if kind == "live" else \
            f"use a live key (AK…), or set APCA_API_BASE_URL={PAPER}"
        raise CredentialsError(f"a {kind} key does not go to the {host} host {base}: {fix}.")


def _missing(key: str, secret: str, account: str, half: str, path: Path | None,
             places: list[tuple[Mapping[str, str], str]]) -> str:
    others = sorted({found[1].lower() for variables, _ in places for name in variables
                     if (found := re.fullmatch(r"APCA_(\w+)_API_KEY_ID", name))})
    known = f" Accounts there are: {', '.join(others)}{nearest(account, others)}." if others else ""
    where = f" ({path})" if path else " in the project's folder"
    return (f"Alpaca credentials not found{f' for the account {account!r}' if account else ''}: {half}"
            f"set {key} and {secret}. "
            f"Shell: export {key}=… {secret}=… · Windows: set {key}=… and set {secret}=… · "
            f".env{where}: lines {key}=… and {secret}=….{known} "
            f"Keys are made at {_KEYS}. To try without keys: python -m botlib sandbox starts the local exchange and "
            "prints the lines to paste.")
