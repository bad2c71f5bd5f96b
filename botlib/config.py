"""The parameters of a backtest run; what it shares with a session stands in `botlib.run_params`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from botlib.origins import MAPS, parameters_of, placed
from botlib.run_params import DecisionParams, RunParams

__all__ = ["MAPS", "BacktestParams", "from_values", "placed"]


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


def from_values(values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> BacktestParams:
    """`BacktestParams` from a merged map; a refusal names each parameter in full and where its value came from.

    Raises
    ------
    InputError
        One sentence for each wrong value.
    """
    return parameters_of(BacktestParams, values, origins)
