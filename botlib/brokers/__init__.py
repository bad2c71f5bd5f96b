"""Brokers: what a session trades on. `Broker` is the protocol, `alpaca` the one there is. Classes load lazily."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from botlib.brokers.base import (
    AccountInfo,
    Activity,
    ActivityPage,
    Asset,
    BarEvent,
    Broker,
    Capabilities,
    EventStream,
    Fill,
    MarketClock,
    MarketSession,
    OpenOrder,
    OrderRejection,
    OrderResult,
    Portfolio,
    Position,
    StreamProblem,
    TradeEvent,
    UnknownOrder,
)

if TYPE_CHECKING:
    from botlib.brokers.alpaca.broker import AlpacaBroker
    from botlib.brokers.alpaca.config import AlpacaConfig, Secret
    from botlib.brokers.alpaca.streams import BarStream, TradeStream
    from botlib.brokers.tables import answers_table, orders_table, records_table

# name → (module, class). A further broker needs a line here and to pass tests/test_broker_contract.py.
_BROKERS = {"alpaca": ("botlib.brokers.alpaca.broker", "AlpacaBroker")}
_LAZY = {
    **{cls: module for module, cls in _BROKERS.values()},
    **dict.fromkeys(("AlpacaConfig", "Secret"), "botlib.brokers.alpaca.config"),
    **dict.fromkeys(("BarStream", "TradeStream"), "botlib.brokers.alpaca.streams"),
    **dict.fromkeys(("answers_table", "orders_table", "records_table"), "botlib.brokers.tables"),
}


def names() -> tuple[str, ...]:
    """The brokers there are, in alphabetical order."""
    return tuple(sorted(_BROKERS))


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AccountInfo",
    "Activity",
    "ActivityPage",
    "AlpacaBroker",
    "AlpacaConfig",
    "Asset",
    "BarEvent",
    "BarStream",
    "Broker",
    "Capabilities",
    "EventStream",
    "Fill",
    "MarketClock",
    "MarketSession",
    "OpenOrder",
    "OrderRejection",
    "OrderResult",
    "Portfolio",
    "Position",
    "Secret",
    "StreamProblem",
    "TradeEvent",
    "TradeStream",
    "UnknownOrder",
    "answers_table",
    "names",
    "orders_table",
    "records_table",
]
