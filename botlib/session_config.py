"""The parameters of paper and live sessions; what they share with a backtest stands in `botlib.run_params`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from botlib import session_checks
from botlib.errors import InputError
from botlib.hygiene import is_secret_value, shown
from botlib.params import PRIVATE, command
from botlib.run_params import RunParams, date_text
from botlib.session_checks import FROM_ENVIRONMENT

CONFIRMATION = "YES I UNDERSTAND"
"""What a person types before real money is traded; no parameter holds it."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ACCOUNT = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # as `AlpacaConfig.from_env` takes it
_CONFIRMING = re.compile(r"confirm|understand", re.IGNORECASE)


class SessionParams(RunParams):
    """What a paper session takes. Frozen; unknown names, wrong types and values out of range raise `InputError`."""

    kind: ClassVar[str] = "paper"

    name: str = Field("paper", description="label of the run, part of its folder's name")

    venue: Literal["sandbox", "alpaca"] = Field(
        "sandbox", description="where orders go: sandbox, a local exchange that replays the bars, or alpaca")
    account: str | None = Field(
        None, description="account whose keys are in the environment as APCA_<ACCOUNT>_API_KEY_ID; null: the unnamed",
        json_schema_extra=PRIVATE)
    feed: Literal["iex", "sip", "delayed_sip"] = Field(
        "iex", description="Alpaca's data feed: iex (free), sip (all exchanges), delayed_sip (15 minutes late)")
    orders: Literal["send", "shadow"] = Field(
        "send", description="send; or shadow: decide on real data and account, record the orders, send none")
    enable_live: bool = Field(False, description="live trading only: true allows it, once the line is typed too")
    capital: float | None = Field(None, ge=1.0, le=1e12,
                                  description="dollars that sizes, drawdown and profit refer to; null: account equity")
    iterations: int = Field(0, ge=0, description="passes of the loop; 0: until the market data end or somebody stops")
    until: Literal["close"] | None = Field(
        None, description="close: end with the session's close, for scheduled runs; null: go on overnight")
    poll_seconds: float = Field(60.0, ge=1.0, le=3600.0, description="seconds between two passes of the loop")
    at_end: Literal["keep", "cancel-entries", "flatten"] = Field(
        "keep", description="when a session ends: keep all, cancel-entries that still work, or flatten its positions")
    trade_late: bool = Field(False, description="true: decisions that come after the grace are sent all the same")
    late_grace_seconds: float = Field(
        90.0, ge=0.0, le=86_400.0, description="seconds after the next bar's open in which a decision is still sent")
    daily_delay_minutes: float = Field(
        20.0, ge=0.0, le=240.0, description="minutes after the close from which a daily bar counts as final")
    replay_start: str | None = Field(
        None, description="sandbox: first session of the replay, YYYY-MM-DD; null: iterations bars from the end, or 60")
    replay_cash: float = Field(100_000.0, ge=1.0, le=1e12, description="sandbox: cash of the account, in dollars")
    replay_seed: int = Field(0, ge=0, le=2**31 - 1, description="sandbox: seed of ids and of bars that are made up")
    speed: float | None = Field(
        None, ge=1.0, le=100_000.0, description="sandbox: virtual seconds in a second; null: a bar a pass, no waiting")
    db: str = Field("trades.sqlite", json_schema_extra=PRIVATE,
                    description="ledger: a file, an SQLAlchemy URL without password, or env:VARIABLE")
    on_event: list[str] | str | None = Field(
        None, description="command told of start, kill, crash, refusal and end, the event as JSON on its input",
        json_schema_extra=PRIVATE)
    ping_env: str | None = Field(
        "BOTLIB_PING_URL", description="environment variable whose URL is told the same; null: none",
        json_schema_extra=PRIVATE)

    @model_validator(mode="before")
    @classmethod
    def _refuse_confirmation(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, Mapping) else ():
            said = isinstance(value, str) and value.strip().upper() == CONFIRMATION
            if name not in cls.model_fields and (_CONFIRMING.search(str(name)) or said):
                raise InputError(f"{name}: the line that allows live trading is typed by a person and taken from no "
                                 "parameter; take it out and type it when the session asks, or beforehand in python -m "
                                 "botlib live arm.")
        return values

    @field_validator("replay_start")
    @classmethod
    def _check_replay_start(cls, value: str | None) -> str | None:
        return date_text("replay_start", value)

    @field_validator("account")
    @classmethod
    def _check_account(cls, value: str | None) -> str | None:
        if value is None or (_ACCOUNT.fullmatch(value) and value.lower() != "api" and not is_secret_value(value)):
            return value
        raise InputError(f"{shown('account', value, private=is_secret_value(value))}: give the name of "
                         "an account, letters, digits, - and _, whose keys are in the environment or .env: swing for "
                         "APCA_SWING_API_KEY_ID and APCA_SWING_API_SECRET_KEY.")

    @field_validator("db")
    @classmethod
    def _check_db(cls, value: str) -> str:
        session_checks.check_database(value)
        return value

    @field_validator("on_event", mode="before")
    @classmethod
    def _check_command(cls, value: Any) -> Any:
        return command("on_event", value)

    @field_validator("ping_env")
    @classmethod
    def _check_variable(cls, value: str | None) -> str | None:
        if value is None or (_VARIABLE.fullmatch(value) and not is_secret_value(value)):
            return value
        raise InputError("ping_env holds something else than a name (not shown, an address may be secret): give the "
                         "name of the environment variable that holds the address, e.g. BOTLIB_PING_URL, or null.")

    def model_post_init(self, context: Any) -> None:
        """Refuse values that contradict each other."""
        super().model_post_init(context)
        session_checks.check_session(self)

    def options_of_provider(self) -> dict[str, Any]:
        """What the provider is made with; Alpaca's with this session's account and feed."""
        options = super().options_of_provider()
        if self.provider == "alpaca":
            options |= {"account": self.account or "", "feed": self.feed}
        return options

    def variables(self) -> tuple[str, ...]:
        """Names of environment variables that parameters point to: what these hold is masked in all that is written."""
        database = self.db.removeprefix(FROM_ENVIRONMENT) if self.db.startswith(FROM_ENVIRONMENT) else None
        return tuple(name for name in (self.ping_env, database) if name is not None)

    def database(self, environ: Mapping[str, str]) -> str:
        """The ledger's path or URL; what comes from the environment may hold a password and is not to be shown.

        Raises
        ------
        InputError
            The variable that ``db`` names is not set.
        """
        return session_checks.database(self.db, environ)

    def require_enabled(self) -> None:
        """Refuse to start a live session that was not enabled; a paper session needs nothing.

        Raises
        ------
        InputError
            A live session, and ``enable_live`` is false.
        """
        if self.kind == "live" and not self.enable_live:
            raise InputError("enable_live = False: live trading starts only when it is asked for: --enable-live, or "
                             "enable_live: true in a parameter file of your own.")


class LiveParams(SessionParams):
    """What a live session takes: as a paper session, with bars of 15 minutes and limits that cannot be left out."""

    kind: ClassVar[str] = "live"

    name: str = Field("live", description="label of the run, part of its folder's name")
    period: str = Field("60d", description=RunParams.model_fields["period"].description)
    interval: str = Field("15m", description=RunParams.model_fields["interval"].description)
