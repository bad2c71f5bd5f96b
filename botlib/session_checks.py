"""What the values of a session's parameters must be together. Pure; one sentence for each contradiction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botlib.calendars import INTERVAL_MINUTES
from botlib.errors import InputError
from botlib.hygiene import shown

if TYPE_CHECKING:
    from botlib.session_config import SessionParams

_PASSWORD = re.compile(r"://[^/@:]*:[^@]*@|(passw|secret|token)\w*=", re.IGNORECASE)
_BLENDS = ("blend", "botlib.strategies.blend:Blend", "botlib.strategies:Blend", "botlib:Blend")


FROM_ENVIRONMENT = "env:"
"""Before the name of the environment variable that holds a database's URL."""


def check_database(db: str) -> None:
    """Refuse a database that names none, or shows a password."""
    if _PASSWORD.search(db):
        raise InputError("db holds a password (not shown), and parameters are stored in files and notebooks: put the "
                         "URL into an environment variable and name that, e.g. db: env:MY_DB_URL.")
    if not db.strip() or "\0" in db:
        raise InputError(f"{shown('db', db, private=True)}: give a file, e.g. trades.sqlite, a URL without password, "
                         "or env:MY_DB_URL.")
    name = db.removeprefix(FROM_ENVIRONMENT)
    if name != db and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise InputError(f"db = {FROM_ENVIRONMENT}…: behind {FROM_ENVIRONMENT} stands the name of an environment "
                         "variable, letters, digits and _, e.g. env:MY_DB_URL.")


def database(db: str, environ: Mapping[str, str]) -> str:
    """The path or URL that the parameter ``db`` means; what comes from the environment may hold a password and is not
    to be shown.

    Raises
    ------
    InputError
        It names none, shows a password, or the variable that it names is not set.
    """
    check_database(db)
    if not db.startswith(FROM_ENVIRONMENT):
        return db
    name = db.removeprefix(FROM_ENVIRONMENT)
    found = environ.get(name, "").strip()
    if not found:
        raise InputError(f"db = {db!r}: the environment variable {name} is not set; set it to the database's URL, e.g. "
                         "postgresql+psycopg://user:password@host/name, or give the path of a file.")
    return found


def check_session(params: SessionParams) -> None:
    """Refuse values that contradict each other.

    Raises
    ------
    InputError
        The first contradiction, with what to do.
    """
    _check_time(params)
    for name in ("account", "feed") if params.provider == "alpaca" else ():
        if name in params.provider_options:
            raise InputError(f"provider_options.{name} = {params.provider_options[name]!r}: a session has one {name}, "
                             f"for bars and orders; give it as {name} and take it out here.")
    _check_alpaca(params) if params.venue == "alpaca" else _check_sandbox(params)
    if params.kind == "live":
        _check_live(params)
    elif params.enable_live:
        raise InputError("enable_live = True: a paper session trades no real money; take it out, or start a live one "
                         "with python -m botlib live trading.")


def _check_time(params: SessionParams) -> None:
    if params.calendar is None:
        raise InputError("calendar = None: a session waits for its exchange's hours; give its calendar, e.g. XNYS.")
    minutes = INTERVAL_MINUTES[params.interval]
    if minutes is None or params.speed is not None:
        return
    if params.poll_seconds > 60 * minutes:
        raise InputError(f"poll_seconds = {params.poll_seconds:g} is longer than a bar of interval = "
                         f"{params.interval!r}: bars would be missed. Give {60 * minutes} or less.")
    stepped = params.venue == "sandbox"  # the exchange waits for the session
    if params.late_grace_seconds <= params.poll_seconds and not params.trade_late and not stepped:
        raise InputError(f"late_grace_seconds = {params.late_grace_seconds:g} is not above poll_seconds = "
                         f"{params.poll_seconds:g}: a decision of the last pass in time would be too late to be sent. "
                         "Raise the first or lower the second.")


def _check_sandbox(params: SessionParams) -> None:
    if params.feed != "iex" and params.provider != "alpaca":
        raise InputError(f"feed = {params.feed!r} is a feed of Alpaca's, and venue = 'sandbox' replays the bars of "
                         "provider; take feed out, or set venue: alpaca.")
    if params.capital is not None and params.capital > params.replay_cash:
        raise InputError(f"capital = {params.capital:g} exceeds replay_cash = {params.replay_cash:g}, all that the "
                         "sandbox's account has; lower the first or raise the second.")
    first = params.replay_start
    if first is not None and params.start is not None and first <= params.start:
        raise InputError(f"replay_start = {first!r} is not after start = {params.start!r}: the strategy needs history "
                         "before the replay. Move start back, or replay_start on.")
    if first is not None and params.end is not None and first > params.end:
        raise InputError(f"replay_start = {first!r} lies after end = {params.end!r}: nothing would be left to replay.")


def _check_alpaca(params: SessionParams) -> None:
    if params.provider != "alpaca":
        raise InputError(f"provider = {params.provider!r} with venue = 'alpaca': a session on Alpaca decides on "
                         "Alpaca's bars; set provider: alpaca.")
    if params.provider_options.get("adjustment", "raw") != "raw":
        raise InputError(f"provider_options.adjustment = {params.provider_options['adjustment']!r}: orders need raw "
                         "prices; take it out, signal_adjustment says what the strategy sees.")
    if params.end is not None:
        raise InputError(f"end = {params.end!r}: a session on Alpaca goes on with the present; set end: null.")
    for name in ("replay_start", "speed"):
        if getattr(params, name) is not None:
            raise InputError(f"{name} = {getattr(params, name)!r} belongs to the local exchange; take it out, or set "
                             "venue: sandbox.")
    if params.feed == "delayed_sip" and params.interval != "1d":
        raise InputError(f"feed = 'delayed_sip' with interval = {params.interval!r}: its bars come 15 minutes late, "
                         "too late for a decision; take feed iex or sip, or interval 1d.")


def _check_live(params: SessionParams) -> None:
    if params.safety is None:
        raise InputError("safety = None: live trading has limits; give safety, e.g. safety: {max_drawdown_pct: 5.0}.")
    if not params.safety.require_explicit_enable:
        raise InputError("safety.require_explicit_enable = False: live trading always needs enable_live and the typed "
                         "line; set it to true.")
    if params.strategy["name"] in _BLENDS and params.strategy.get("memory") is None:
        raise InputError("strategy.memory = None: after a restart a live session would not know what a member of the "
                         "blend said before its bars begin, and could close what that member holds; give the bars "
                         "that a target counts, e.g. memory: 250.")
