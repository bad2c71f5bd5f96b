"""The parameters of learning: a session's or a backtest's file is taken as it is, what else it holds passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from botlib.errors import InputError
from botlib.params import PRIVATE
from botlib.run_params import RunParams
from botlib.session_checks import FROM_ENVIRONMENT, check_database, database

_PERCENT: dict[str, Any] = {"unit": "in percent (5.0 = 5 %)"}


class LearnParams(RunParams):
    """What learning takes. Frozen; unknown names, wrong types and values out of range raise `InputError`."""

    kind: ClassVar[str] = "learn"
    passes_over: ClassVar[bool] = True

    name: str = Field("learn", description="label of the run, and how the proposal's name begins")
    account: str | None = Field(
        None, description="of Alpaca's data: keys from APCA_<ACCOUNT>_API_KEY_ID, or the unnamed",
        json_schema_extra=PRIVATE)
    feed: Literal["iex", "sip", "delayed_sip"] = Field("iex", description="Alpaca's data feed")
    cash: float = Field(100_000.0, ge=1.0, le=1e12, description="starting cash of each window, in dollars")
    estimate: list[str] | None = Field(
        None, description="parameters to estimate anew; null: the strategy's first four numbers with a declared range, "
                          "sizes (weight) left out")
    values: dict[str, list[Any]] = Field({}, description="values of your own by parameter; others go a step each way")
    steps: int = Field(16, ge=3, le=100, description="values of a parameter within its declared range, about")
    reach: int = Field(1, ge=1, le=3, description="values on either side of the current one that are tried")
    max_change_pct: float = Field(50.0, gt=0.0, le=1_000.0, json_schema_extra=_PERCENT,
                                  description="a parameter changes by this at most, or by one step")
    train_bars: int = Field(750, ge=60, le=100_000, description="bars that each choice looks back on")
    test_bars: int = Field(125, ge=20, le=100_000, description="bars that follow and are traded with it")
    min_deflated_sharpe: float = Field(0.95, ge=0.0, le=1.0, description="deflated Sharpe ratio of a change, at least")
    max_plateau_drop_pct: float = Field(30.0, ge=0.0, le=100.0, json_schema_extra=_PERCENT,
                                        description="how far the Sharpe ratio of the points around may lie below")
    db: str | None = Field("trades.sqlite", json_schema_extra=PRIVATE,
                           description="ledger of the sessions, where trials are counted too: a file, a URL without "
                                       "password, or env:VARIABLE; null: none")
    parameter_file: str = Field("", description="file that an accepted proposal goes into; set by the command line")
    write: bool = Field(True, description="write the proposal; false: only look")

    @field_validator("db")
    @classmethod
    def _check_db(cls, value: str | None) -> str | None:
        if value is not None:
            check_database(value)
        return value

    @field_validator("values")
    @classmethod
    def _check_values(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, given in value.items():
            if any(isinstance(v, bool) or not isinstance(v, int | float) for v in given):
                raise InputError(f"values: {name} = {given!r}: only numbers are estimated.")
        return value

    def options_of_provider(self) -> dict[str, Any]:
        """What the provider is made with; Alpaca's with this account and feed."""
        options = super().options_of_provider()
        return options | ({"account": self.account or "", "feed": self.feed} if self.provider == "alpaca" else {})

    def variables(self) -> tuple[str, ...]:
        """Names of environment variables that parameters point to: what these hold is masked in all that is written."""
        named = self.db is not None and self.db.startswith(FROM_ENVIRONMENT)
        return (str(self.db).removeprefix(FROM_ENVIRONMENT),) if named else ()

    def database(self, environ: Mapping[str, str]) -> str | None:
        """The path or URL that ``db`` means; it may hold a password. Raises `InputError`."""
        return None if self.db is None else database(self.db, environ)
