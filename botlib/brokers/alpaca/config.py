"""Where Alpaca is and with which keys: from the environment and `.env`, checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botlib import project
from botlib.brokers.alpaca.hosts import DATA, DATA_STREAM, LIVE, PAPER, checked_url, is_loopback
from botlib.brokers.alpaca.secrecy import Secret as Secret
from botlib.errors import CredentialsError, InputError, by_name, check_names, nearest, warn

_KINDS = {"PK": "paper", "AK": "live"}
_KEYS = "https://app.alpaca.markets"
_DEFAULT_FILE: Final = ".env"


@by_name
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
            if wrong := _wrong_key(getattr(self, name)):
                raise CredentialsError(name + wrong)
        for name in ("data_url", "trade_stream_url", "data_stream_url", "account", "source"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} is of type {type(getattr(self, name)).__name__}: give a text.")
        base = checked_url(self.base_url, "base_url", {PAPER, LIVE})
        local = is_loopback(base)
        stream = re.sub("^http", "ws", base)
        found: dict[str, Any] = {
            "base_url": base,
            "data_url": checked_url(self.data_url or (base if local else DATA), "data_url", {DATA}),
            "trade_stream_url": self.trade_stream_url or f"{stream}/stream",
            "data_stream_url": (self.data_stream_url or (f"{stream}/v2" if local else f"{DATA_STREAM}/v2")).rstrip("/"),
        }
        for name in ("trade_stream_url", "data_stream_url"):
            checked_url(re.sub("^ws", "http", found[name]), name, {PAPER, LIVE, re.sub("^ws", "http", DATA_STREAM)},
                         path=True)
        if self.requests_per_minute == -1:
            found["requests_per_minute"] = None if local else 200
        for name, value in found.items():
            object.__setattr__(self, name, value)
        limit = self.requests_per_minute
        if limit is not None and (type(limit) is not int or not 30 <= limit <= 100_000):
            raise InputError(f"requests_per_minute = {limit!r} is out of range: valid is 30 to 100000, or None.")
        if not local:
            _check_kind(self.key_id, base, self.source, f"{_prefix(self.account)}_BASE_URL")

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
        places = [_Variables(os.environ if environ is None else environ, "the environment")]
        environ = None  # from here on no frame of an error holds what is in it
        asked = set(options)
        if asked & {"key_id", "secret_key", "source"}:
            options = {}
            raise InputError("from_env reads the keys itself; to give them use AlpacaConfig(key_id=Secret(…), "
                             "secret_key=Secret(…)).")
        check_names("AlpacaConfig.from_env", asked, _OPTIONS)
        prefix = _prefix(account)
        names = {field: f"{prefix}_{field.upper()}" for field in ("key_id", "secret_key", "base_url", "data_url")}
        path = _file(env_file, root)
        if path is not None:
            places.append(_Variables(_read(path), str(path)))
        half = ""
        for place in places:
            key, secret = Secret(place.get(names["key_id"])), Secret(place.get(names["secret_key"]))
            if key and secret:
                # An address on its own may stand in the other place.
                told = {field: [tried.get(names[field]) for tried in places] for field in ("base_url", "data_url")}
                given = {field: next(filter(None, urls)) for field, urls in told.items() if any(urls)} | options
                return cls(key_id=key, secret_key=secret, account=account, source=place.source, **given)
            if key or secret:
                lacking = names["secret_key" if key else "key_id"]
                half = half or f"{lacking} is missing in {place.source}, where the other half is. "
        raise CredentialsError(_missing(names["key_id"], names["secret_key"], account, half, path, places))

    def __repr__(self) -> str:
        name = f", account={self.account!r}" if self.account else ""
        return f"AlpacaConfig({self.kind}, {self.base_url}{name}, keys from {self.source})"

    def __copy__(self) -> AlpacaConfig:
        return self

    def __deepcopy__(self, memo: object) -> AlpacaConfig:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an AlpacaConfig holds keys and is not pickled: call AlpacaConfig.from_env() again")


_OPTIONS = ("base_url", "data_url", "trade_stream_url", "data_stream_url", "requests_per_minute")


class _Variables:
    """The variables of one place. They hold keys, so it shows none of them."""

    __slots__ = ("_of", "source")

    def __init__(self, of: Mapping[str, str], source: str) -> None:
        if not isinstance(of, Mapping):
            raise InputError(f"environ is of type {type(of).__name__}: give a mapping of names to texts.")
        self._of, self.source = of, source

    def get(self, name: str) -> str:
        """The value without blanks around it; "" when there is none."""
        return (self._of.get(name) or "").strip()

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)


def _prefix(account: str) -> str:
    """How the variables of an account begin."""
    return f"APCA_{_variable(account)}_API" if account else "APCA_API"


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
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
    else:
        wrong = [str(line.original.line) for line in lines if line.error]
        if wrong:
            warn("env-file", f"{path}: line {', '.join(wrong)} is not NAME=value and is left out.", stacklevel=4)
        return {line.key: line.value for line in lines if line.key is not None and line.value is not None}
    raise CredentialsError(f"{path} cannot be read: {reason}.")  # here: that error holds the file's bytes


def _wrong_key(key: object) -> str:
    """What is wrong with a key, "" when nothing is. It does not raise: its variables hold the key."""
    if not isinstance(key, Secret):
        return ": wrap it as Secret(...), or use AlpacaConfig.from_env()."
    if not key:
        return " is empty."
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", key.reveal()):
        return f" has blanks or characters that no key has: copy it again from {_KEYS}."
    return ""


def _check_kind(key: Secret, base: str, source: str, variable: str) -> None:
    """A paper key on the live host, or the reverse, would fail there at best."""
    kind, host = _KINDS.get(key.reveal()[:2]), "paper" if base == PAPER else "live"
    if kind is None:
        raise CredentialsError(f"the key id in {source} starts with neither PK (paper) nor AK (live): it is no trading "
                               f"key of Alpaca's. Make one at {_KEYS}.")
    if kind != host:
        fix = f"set {variable}={LIVE} if you mean to trade real money" if kind == "live" else \
            f"use a live key (AK…), or set {variable}={PAPER}"
        raise CredentialsError(f"a {kind} key does not go to the {host} host {base}: {fix}.")


def _missing(key: str, secret: str, account: str, half: str, path: Path | None,
             places: list[_Variables]) -> str:
    others = sorted({found[1].lower() for place in places for name in place
                     if (found := re.fullmatch(r"APCA_(\w+)_API_KEY_ID", name))})
    own = account.lower().replace("-", "_")  # half of this one's keys may be there
    hint = "" if own in others else nearest(account, others)
    known = f" Accounts there are: {', '.join(others)}{hint or '.'}" if others else ""
    where = f" ({path})" if path else " in the project's folder"
    return (f"Alpaca credentials not found{f' for the account {account!r}' if account else ''}: {half}"
            f"set {key} and {secret}. "
            f"Shell: export {key}=… {secret}=… · Windows: set {key}=… and set {secret}=… · "
            f".env{where}: lines {key}=… and {secret}=….{known} "
            f"Keys are made at {_KEYS}. To try without keys: python -m botlib sandbox starts the local exchange and "
            "prints the lines to paste.")
