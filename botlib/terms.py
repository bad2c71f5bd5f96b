"""What permission to trade is given for: the parameters that decide what is traded, and the limits. Pure.

An arm (see `python -m botlib live arm`) is bound to three hashes: `botlib.strategies.strategy_hash`, which covers the
strategy's source and its parameters, `params_hash` and `limits_hash`. None of them knows botlib's version, the order of
names or symbols in a file, whether a number is written 5 or 5.0, or a value that is null: a parameter that a later
version adds, null by default, changes no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botlib.session_config import SessionParams

SCHEME = 1

TRADED = ("venue", "orders", "provider", "provider_options", "feed", "symbols", "period", "start", "end", "interval",
          "calendar", "regular_hours", "signal_adjustment", "risk", "costs", "capital", "trade_late",
          "late_grace_seconds", "daily_delay_minutes")
"""Count in `params_hash`: where orders go, whether they go, what decisions see and when, and how they are sized."""

NOT_TRADED = ("name", "account", "enable_live", "iterations", "poll_seconds", "at_end", "replay_start", "replay_cash",
              "replay_seed", "speed", "until", "db", "on_event", "ping_env")
"""Do not count. Labels, places and messages trade nothing; of the account it is the id that an arm is bound to, not the
name of its keys. How often a session looks and when it ends changes no decision that it makes; at its end it never
adds risk, and a person may flatten at any time without an arm. What the local exchange replays is no property of what
trades on it."""

ELSEWHERE = ("strategy", "safety")
"""Have a hash of their own: `strategy_hash` and `limits_hash`."""

_NO_LIMITS = ("require_explicit_enable",)  # never off in live trading


def terms(params: SessionParams) -> dict[str, Any]:
    """The values that count in `params_hash`, plain, for people and for the record."""
    plain = params.plain()
    return {name: plain[name] for name in TRADED} | {"symbols": sorted(plain["symbols"])}


def limits(params: SessionParams) -> dict[str, Any] | None:
    """The safety limits that count in `limits_hash`, plain; None: no limits (never in live trading)."""
    if params.safety is None:
        return None
    return {name: value for name, value in params.safety.model_dump().items() if name not in _NO_LIMITS}


def params_hash(params: SessionParams) -> str:
    """sha256 (hex) of `terms`."""
    return _hash("parameters", terms(params))


def limits_hash(params: SessionParams) -> str:
    """sha256 (hex) of `limits`."""
    return _hash("limits", limits(params))


def _hash(what: str, values: Mapping[str, Any] | None) -> str:
    text = json.dumps([f"botlib {what}", SCHEME, _canonical(values)], sort_keys=True, separators=(",", ":"),
                      ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """The same for values that mean the same: whole numbers as such, names that are null left out."""
    if isinstance(value, Mapping):
        return {str(name): _canonical(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
