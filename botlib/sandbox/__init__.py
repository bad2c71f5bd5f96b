"""The local Alpaca: an exchange on replayed bars that alpaca-py talks to as to the real one. See `running`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange
    from botlib.sandbox.faults import Fault, Faults
    from botlib.sandbox.synthetic import intraday
    from botlib.sandbox.venue import Venue, running

_HOMES = {"Exchange": "exchange", "Fault": "faults", "Faults": "faults", "Venue": "venue", "intraday": "synthetic",
          "running": "venue"}

__all__ = ["Exchange", "Fault", "Faults", "Venue", "intraday", "running"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"botlib.sandbox.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
