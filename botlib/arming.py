"""Permission to trade real money: what a person typed, for which account, strategy and limits, and until when. Pure.

The line is typed by a person each time, or once beforehand as an *arm* for a few headless sessions. Either is bound to
the account id, to the strategy and to the hashes of parameters and limits (`botlib.terms`); anything different refuses.
"""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from botlib.calendars import EXCHANGE_TZ
from botlib.errors import EvidenceMissing, InputError, nearest
from botlib.session_config import CONFIRMATION
from botlib.wording import plural, utc

MAX_SESSIONS = 5
"""Most live sessions that one typed line allows."""

MAX_DAYS = 31
"""Most days that it is good for."""

PAPER_SESSIONS = 5
"""Paper sessions of the same strategy on the same feed that should have gone before."""

WAIVABLE = {
    "backtest": "no backtest of this strategy is on record",
    "look-ahead": "no look-ahead check of this strategy has passed",
    "paper-sessions": f"fewer than {PAPER_SESSIONS} paper sessions of it on this feed are on record",
    "jupyter-open": "the Jupyter server can be reached from other machines, or by anybody without a token",
}
"""What may be missing, by the name under which a person waives it."""

NOT_PERMITTED = "not-permitted"
"""The hold of safety under which a session without permission only exits."""

_WIDTH = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What permission is asked for."""

    account_id: str
    account: str
    """For people: where it is, and its number, masked."""
    venue: str
    """"sandbox", "alpaca-paper" or "alpaca-live": an arm for one is none for another."""
    strategy: str
    strategy_hash: str
    params_hash: str
    limits_hash: str
    limits: Mapping[str, Any]
    symbols: Sequence[str]
    interval: str
    orders: str
    """"send", or "shadow"."""
    capital: float
    """Dollars."""
    version: str
    """botlib's: shown beside the hashes, in none of them."""

    def hashes(self) -> dict[str, str]:
        """What permission is bound to, beside the account."""
        return {"strategy": self.strategy_hash, "params": self.params_hash, "limits": self.limits_hash}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One thing that should have gone before."""

    name: str
    """One of `WAIVABLE`."""
    found: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a live session may do, and why.

    Attributes
    ----------
    trades : bool
        False: only exits; the positions it finds are looked after.
    text : str
        For people and for the record.
    arm_id : int or None
        The arm it runs on.
    spends : bool
        Whether that arm has one session less for it.
    waived : tuple of str
        What a person did without, by name.
    record : mapping
        What it is bound to: account, venue, hashes, botlib's version.
    """

    trades: bool
    text: str
    arm_id: int | None = None
    spends: bool = False
    waived: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def event(self) -> dict[str, Any]:
        """What the event ``session-permitted`` holds."""
        return {"text": self.text, "arm": self.arm_id, "waived": list(self.waived), "trades": self.trades,
                **self.record}


# --- waivers ----------------------------------------------------------------------------------------------------------


def waivers(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Names of what a person waives: a list, or one text with commas or blanks between them.

    Raises
    ------
    InputError
        One that is not in `WAIVABLE`: nothing is waived wholesale.
    """
    words: list[Any] = re.split(r"[,\s]+", given.strip()) if isinstance(given, str) else list(given or ())
    names = [name for name in dict.fromkeys(words) if name != ""]
    for name in names:
        if not isinstance(name, str) or name not in WAIVABLE:
            raise InputError(f"waive = {name!r} is unknown{nearest(str(name), WAIVABLE) or '.'} Valid: "
                             f"{', '.join(WAIVABLE)}.")
    return tuple(names)


def missing(evidence: Iterable[Evidence], waived: str | Iterable[str] | None) -> list[str]:
    """Names of what is neither there nor waived. Raises `InputError` for an unknown waiver."""
    given = waivers(waived)
    return [one.name for one in evidence if not one.found and one.name not in given]


def check_missing(names: Sequence[str]) -> None:
    """Refuse while something is missing. Raises `EvidenceMissing`: what, and how it is waived by name, on record."""
    if names:
        raise EvidenceMissing(f"live trading refused: {'; '.join(WAIVABLE[name] for name in names)}. Make up for it, "
                              f"or waive it by name, which is put on record: --waive {' '.join(names)}.", names)


# --- what is shown and typed ------------------------------------------------------------------------------------------


def banner(terms: Terms, evidence: Sequence[Evidence], waived: Sequence[str] = (), *, allows: str = "") -> str:
    """What a person reads before typing the line. ``allows``: what an arm is for; "": the session that starts now."""
    limits = ", ".join(f"{name} {value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool)
                       else f"{name} {value}" for name, value in terms.limits.items() if value is not None)
    marks = [f"  {'yes' if one.found else 'waived' if one.name in waived else 'NO':<7}{_one_line(one.text)}"
             for one in evidence]
    title = {"alpaca-live": "LIVE TRADING: real orders, real money",
             "sandbox": "LIVE TRADING, rehearsed on the local exchange"}.get(terms.venue, "LIVE TRADING")
    rows = {"account": terms.account, "strategy": f"{terms.strategy} ({terms.strategy_hash[:12]})",
            "symbols": f"{', '.join(terms.symbols)}, bars of {terms.interval}",
            "capital": f"${terms.capital:,.2f}", "limits": limits,
            "hashes": f"parameters {terms.params_hash[:12]}, limits {terms.limits_hash[:12]}; botlib {terms.version}",
            "orders": "shadow: recorded, not sent" if terms.orders == "shadow" else "", "allows": allows}
    line = "=" * _WIDTH
    return "\n".join([line, title.center(_WIDTH).rstrip(), line,
                      *(_row(name, _one_line(text)) for name, text in rows.items() if text),
                      "before this:", *marks, line, f"Type this line, and nothing else, to "
                      f"{'arm' if allows else 'trade'}:  {CONFIRMATION}", ""])


def _row(name: str, text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11)


def _one_line(text: str) -> str:
    """Without line breaks and control characters: no name in it draws a line of its own."""
    return "".join(one if one.isprintable() else " " for one in text)


def check_line(line: object) -> None:
    """Refuse whatever is not the line as it stands: other letters, blanks or quotes. Raises `InputError`."""
    typed = line.removesuffix("\n").removesuffix("\r") if isinstance(line, str) else None
    if typed != CONFIRMATION:
        raise InputError(f"live trading refused: what was typed is not the line {CONFIRMATION}, in capitals and with "
                         "nothing before or after it. Nothing was sent.")


def check_terms(terms: Terms) -> None:
    """Refuse terms that nobody could be held to. Raises `InputError`."""
    if not terms.account_id:
        raise InputError("live trading refused: the broker does not say which account these keys are of.")
    if not terms.limits:
        raise InputError("safety = None: live trading has limits; give safety, e.g. safety: {max_drawdown_pct: 5.0}.")


# --- arms -------------------------------------------------------------------------------------------------------------


def until_of(value: object) -> pd.Timestamp:
    """When an arm ends, UTC: of a date the end of that day in New York.

    Raises
    ------
    InputError
        Neither a date (YYYY-MM-DD) nor a time with its zone.
    """
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            value = dt.date.fromisoformat(value)
        except ValueError:
            pass
    if isinstance(value, dt.datetime) and not pd.isna(value) and value.tzinfo is not None:
        return pd.Timestamp(value).tz_convert("UTC")
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        over = pd.Timestamp(value + dt.timedelta(days=1)).tz_localize(EXCHANGE_TZ)
        return (over - pd.Timedelta(seconds=1)).tz_convert("UTC")
    raise InputError(f"until = {value!r}: give the last day that the arm is good for, as YYYY-MM-DD.")


def check_arm(sessions: object, until: pd.Timestamp, now: pd.Timestamp) -> None:
    """Refuse an arm for too many sessions or too long. Raises `InputError`."""
    if isinstance(sessions, bool) or not isinstance(sessions, int) or not 1 <= sessions <= MAX_SESSIONS:
        raise InputError(f"sessions = {sessions!r} is out of range: valid is 1 to {MAX_SESSIONS}.")
    last = now + pd.Timedelta(days=MAX_DAYS)
    if not now < until <= last:
        raise InputError(f"until = {utc(until)}: an arm ends in the future, at most {MAX_DAYS} days from "
                         f"now ({last.tz_convert(EXCHANGE_TZ):%Y-%m-%d}).")


def limits_record(terms: Terms) -> dict[str, Any]:
    """How an arm keeps its limits and venue: for people, and what is compared."""
    return {"hash": terms.limits_hash, "values": dict(terms.limits), "venue": terms.venue}


def differences(arm: Any, terms: Terms, now: pd.Timestamp) -> list[str]:
    """Why an arm does not allow a session on these terms now; empty when it does. botlib's version may differ, and
    whether sessions are left is not looked at: a crashed one goes on with its own."""
    bound = arm.limits if isinstance(arm.limits, Mapping) else {}
    said = [f"other {name}" for name, has, wants in (
        ("venue", bound.get("venue"), terms.venue), ("account", arm.account_id, terms.account_id),
        ("strategy", arm.strategy_hash, terms.strategy_hash), ("parameters", arm.params_hash, terms.params_hash),
        ("limits", bound.get("hash"), terms.limits_hash)) if has != wants]
    if arm.revoked is not None:
        said.append("taken back")
    if not now <= arm.until:
        said.append(f"over since {utc(arm.until)}")
    return said


def usable(arms: Sequence[Any], terms: Terms, now: pd.Timestamp) -> tuple[Any | None, str]:
    """The arm that allows a new session, the newest first, or None and why none does."""
    refused = []
    for arm in sorted(arms, key=lambda one: one.id, reverse=True):
        said = differences(arm, terms, now)
        if arm.used >= arm.sessions:
            said.append(f"its {plural(arm.sessions, 'session')} used up")
        if not said:
            return arm, ""
        refused.append((len(said), f"arm {arm.id}: {', '.join(said)}"))
    nearly = [text for _, text in sorted(refused, key=lambda one: one[0])[:3]]  # stable: the newest of those first
    return None, f"no arm allows this session ({'; '.join(nearly) or 'there is none'})"


def of_version(arm: Any, terms: Terms) -> str:
    """What to say when an arm was typed for another version of botlib; "" when it was not."""
    return "" if arm.version == terms.version else f" (typed for botlib {arm.version}; this is {terms.version})"


def allows(arm: Any, now: pd.Timestamp, *, going_on: bool) -> bool:
    """Whether an arm is still good for anything. ``going_on``: its last session runs, or crashed and may go on."""
    return arm.revoked is None and now <= arm.until and (arm.used < arm.sessions or going_on)


def standing(arm: Any, now: pd.Timestamp) -> str:
    """What an arm is still good for."""
    if arm.revoked is not None:
        return "taken back"
    if not now <= arm.until:
        return "over"
    left = arm.sessions - arm.used
    return f"{plural(left, 'session')} left" if left > 0 else "used up"
