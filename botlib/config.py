"""The parameters of a backtest and of a search; what a session shares with them stands in `botlib.run_params`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from botlib.origins import MAPS, parameters_of, placed
from botlib.params import PRIVATE
from botlib.run_params import DecisionParams, RunParams
from botlib.session_checks import check_database, database

__all__ = ["MAPS", "BacktestParams", "TuneParams", "from_values", "placed"]


class _AccountParams(DecisionParams):
    """The account of a backtest: a class of its own, so that in the schema's order it stands before the limits."""

    cash: float = Field(100_000.0, ge=1.0, le=1e12, description="starting cash, in dollars")
    convention: Literal["broker", "textbook"] = Field(
        "broker", description="broker: what Alpaca does with our orders; textbook: to compare with other engines")


class BacktestParams(RunParams, _AccountParams):
    """What a backtest run takes. Frozen; unknown names, wrong types and values out of range raise `InputError`."""

    kind: ClassVar[str] = "backtest"

    truncations: int = Field(24, ge=20, le=10_000, description="histories cut short to look for look-ahead")

    def backtest(self, bars: Any, strategy: Any) -> Any:
        """`botlib.backtest` with these parameters' cash, risk, costs, safety and convention; its warnings stand in
        ``result.warnings``."""
        from botlib.backtesting import backtest

        result = backtest(bars, strategy, cash=self.cash, risk=self.risk, costs=self.costs, safety=self.safety,
                          convention=self.convention, signal_adjustment=self.signal_adjustment, quiet=True)
        if bars.actions is None and bars.adjustment == "raw":
            result.warnings.append("no-actions: splits and dividends are not known and did not happen in this "
                                   "backtest; give provider_options.actions, or say provider_options.adjustment.")
        return result


class TuneParams(RunParams, _AccountParams):
    """What a search over parameters takes. Frozen; unknown names, wrong types and values out of range raise
    `InputError`."""

    kind: ClassVar[str] = "tune"

    name: str = Field("tune", description="label of the run, part of its folder's name")
    account: str | None = Field(
        None, description="portfolio: one account for all; divided: the mean of one each; or a symbol; null: portfolio")
    x: str | None = Field(None, description="parameter across the surface; null: the strategy's first")
    y: str | None = Field(None, description="parameter up the surface; null: the strategy's second")
    metric: Literal["sharpe", "total_return_pct", "max_drawdown_pct", "trades"] = Field(
        "sharpe", description="figure that the surface shows")
    values: dict[str, list[Any]] = Field({}, description="values of your own by parameter; others have about steps")
    steps: int = Field(32, ge=3, le=100, description="values of a parameter within its declared range, about")
    out_of_sample_pct: float = Field(30.0, ge=5.0, le=80.0, description="latest part of the bars, never searched",
                                     json_schema_extra={"unit": "in percent (5.0 = 5 %)"})
    db: str = Field("trades.sqlite", json_schema_extra=PRIVATE,
                    description="where trials are counted: a file, an SQLAlchemy URL without password, or env:VARIABLE")
    save_as: str = Field("", description="write parameters/<save_as>.yaml with its evidence; empty: nothing")

    @field_validator("db")
    @classmethod
    def _check_db(cls, value: str) -> str:
        check_database(value)
        return value

    def database(self, environ: Mapping[str, str]) -> str:
        """The path or URL that ``db`` means; it may hold a password. Raises `InputError`."""
        return database(self.db, environ)


def from_values(values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> BacktestParams:
    """`BacktestParams` from a merged map; a refusal names each parameter in full and where its value came from.

    Raises
    ------
    InputError
        One sentence for each wrong value.
    """
    return parameters_of(BacktestParams, values, origins)
