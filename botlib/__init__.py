"""botlib: a notebook-first research and trading toolkit for US equities on Alpaca.

Everything public is imported from here; modules load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botlib.alpaca_rules import OrderRequest
    from botlib.backtesting import backtest
    from botlib.bars import Bars
    from botlib.config import BacktestParams
    from botlib.errors import BotlibError, BotlibWarning, DataError, InputError, ProviderError, StrategyError
    from botlib.honesty import check_honesty
    from botlib.live import Session, run_live_paper_trading, run_live_real_trading, start_session
    from botlib.orders import Cancel, Order, WorkingOrder, buy, cancel, sell
    from botlib.params import Costs, Risk
    from botlib.repository import Repository
    from botlib.result import BacktestResult
    from botlib.result_file import save_backtest, save_session
    from botlib.safety import SafetyControls
    from botlib.session.summary import LiveTradingSummary
    from botlib.session_config import LiveParams, SessionParams
    from botlib.strategies import Blend, Strategy, param, targets_from_signals
    from botlib.tuning.sweep import sweep
    from botlib.view import View

__version__ = "0.1.0"

_HOMES = {
    "BacktestParams": "config", "BacktestResult": "result", "Bars": "bars", "Blend": "strategies",
    "BotlibError": "errors", "BotlibWarning": "errors", "Cancel": "orders", "Costs": "params",
    "DataError": "errors", "InputError": "errors", "LiveParams": "session_config",
    "LiveTradingSummary": "session.summary", "Order": "orders",
    "OrderRequest": "alpaca_rules", "ProviderError": "errors", "Repository": "repository", "Risk": "params",
    "SafetyControls": "safety", "Session": "live",
    "SessionParams": "session_config", "Strategy": "strategies", "StrategyError": "errors", "View": "view",
    "WorkingOrder": "orders",
    "backtest": "backtesting", "buy": "orders", "cancel": "orders", "check_honesty": "honesty",
    "param": "strategies", "run_live_paper_trading": "live", "run_live_real_trading": "live",
    "save_backtest": "result_file", "save_session": "result_file", "sell": "orders",
    "start_session": "live", "sweep": "tuning.sweep", "targets_from_signals": "strategies",
}
_MODULES = ("brokers", "explore", "indicators", "metrics", "panel", "providers", "report", "rules", "sandbox",
            "strategies")

__all__ = sorted([*_HOMES, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"botlib.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"botlib.{name}")
    else:
        raise AttributeError(f"module 'botlib' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
