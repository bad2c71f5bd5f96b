"""The repository: what survives a crash. `Repository` is the database, `Lease` the right to trade an account.

Classes load when first used: SQLAlchemy is not needed to backtest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botlib.repository.chain import Verification
    from botlib.repository.covers import Span, new_parts
    from botlib.repository.leases import Lease
    from botlib.repository.store import Repository
    from botlib.repository.writing_control import Transaction

_HOMES = {"Lease": "leases", "Repository": "store", "Span": "covers", "Transaction": "writing_control",
          "Verification": "chain", "new_parts": "covers"}

__all__ = ["Lease", "Repository", "Span", "Transaction", "Verification", "new_parts"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"botlib.repository.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
