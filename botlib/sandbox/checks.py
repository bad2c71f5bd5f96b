"""What may be given to `botlib.sandbox.running`: one sentence for what may not."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

from botlib.errors import InputError, nearest, require
from botlib.params import Costs
from botlib.sandbox.streams import FEEDS
from botlib.sandbox.tape import is_number, is_whole

# name: lowest, highest, whether None is valid, and what it is.
_WHOLE = {"seed": (0, 2**63 - 1, False, ""), "rate_limit": (1, 1_000_000, True, " requests a minute (Alpaca: 200)"),
          "symbol_limit": (1, 1_000_000, True, " symbols"), "connection_limit": (1, 1_000_000, True, " connections")}
_NUMBERS = {"cash": (0.0, 1e12), "multiplier": (1.0, 4.0), "auth_seconds": (0.001, 3600.0)}


def check_running(given: dict[str, Any]) -> None:
    """Raise `InputError` on the first parameter that cannot be; what `Tape`, `Pace` and `Faults` check is left to them.

    given : all parameters of `running`, by name.
    """
    require("bars", given["bars"])
    _check_address(given["host"], given["port"])
    _check_keys(given["keys"])
    for name, (lowest, highest, optional, what) in _WHOLE.items():
        value = given[name]
        if not (optional and value is None) and not (is_whole(value) and lowest <= value <= highest):
            upper = f"{lowest} to {highest}" if highest == 1_000_000 else f"{lowest} or more"
            none = ", or None for no limit" if optional else ""
            raise InputError(f"{name} = {value!r}: it must be a whole number, {upper}{what}{none}.")
    for name, (low, high) in _NUMBERS.items():
        value = given[name]
        if not is_number(value) or not low <= value <= high:
            raise InputError(f"{name} = {value!r}: it must be a number, {low:g} to {high:g}.")
    for name in ("basic_plan", "unfinished_bars"):
        if not isinstance(given[name], bool):
            raise InputError(f"{name} = {given[name]!r}: it must be True or False.")
    if given["feed"] not in FEEDS:
        raise InputError(f"feed = {given['feed']!r} is unknown{nearest(given['feed'], FEEDS) or '.'} "
                         f"Valid: {', '.join(FEEDS)}.")
    if given["costs"] is not None and not isinstance(given["costs"], Costs):
        raise InputError(f"costs = {given['costs']!r}: it must be botlib's Costs, such as "
                         "Costs(commission_bps=1.0), or None.")


def _check_keys(keys: Any) -> None:
    # A key with a blank would be cut by the shell line or the .env file that it is pasted into.
    if not isinstance(keys, (tuple, list)) or len(keys) != 2 or not all(
            isinstance(k, str) and k.isascii() and k.isprintable() and k and " " not in k for k in keys):
        raise InputError("keys: give a key id and a secret, two texts of printable characters without blanks.")


def _check_address(host: Any, port: Any) -> None:
    loopback = host == "localhost"
    if isinstance(host, str):
        with contextlib.suppress(ValueError):
            loopback = loopback or ipaddress.ip_address(host).is_loopback
    if not loopback:
        raise InputError(f"host = {host!r}: the local exchange listens on this machine only. Use 127.0.0.1.")
    if type(port) is not int or not 0 <= port <= 65_535:
        raise InputError(f"port = {port!r} is out of range: valid is 1 to 65535, or 0 for a free one.")
