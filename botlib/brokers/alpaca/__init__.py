"""Alpaca, through alpaca-py: configuration, connection, broker and streams. alpaca-py is imported when first needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botlib.brokers.alpaca.broker import AlpacaBroker
    from botlib.brokers.alpaca.config import AlpacaConfig, Secret
    from botlib.brokers.alpaca.connection import AlpacaConnection
    from botlib.brokers.alpaca.streams import BarStream, TradeStream

_LAZY = {"AlpacaBroker": "broker", "AlpacaConfig": "config", "AlpacaConnection": "connection", "BarStream": "streams",
         "Secret": "config", "TradeStream": "streams"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AlpacaBroker", "AlpacaConfig", "AlpacaConnection", "BarStream", "Secret", "TradeStream"]
