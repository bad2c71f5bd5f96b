"""Sources of market data, by name. A source's module and its library are imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from botlib.errors import InputError, nearest
from botlib.providers.base import INTERVALS, PERIODS, MarketDataProvider

if TYPE_CHECKING:
    from botlib.providers.alpaca import AlpacaProvider
    from botlib.providers.cache import CachedProvider
    from botlib.providers.file import FileProvider
    from botlib.providers.sample import SampleProvider
    from botlib.providers.yahoo import YahooProvider

# name → (module, class). A further source needs a line here and to pass tests/test_providers_contract.py.
_PROVIDERS = {
    "alpaca": ("botlib.providers.alpaca", "AlpacaProvider"),
    "file": ("botlib.providers.file", "FileProvider"),
    "sample": ("botlib.providers.sample", "SampleProvider"),
    "yahoo": ("botlib.providers.yahoo", "YahooProvider"),
}
_LAZY = {cls: module for module, cls in _PROVIDERS.values()} | {"CachedProvider": "botlib.providers.cache"}


def names() -> tuple[str, ...]:
    """The providers there are, in alphabetical order."""
    return tuple(sorted(_PROVIDERS))


def load(name: str, **options: Any) -> MarketDataProvider:
    """A provider by name: "alpaca", "file", "sample" or "yahoo"; ``options`` are those of its class.

    Raises `InputError` for an unknown name or option, or when the library that the source needs is not installed.
    """
    if name not in _PROVIDERS:
        raise InputError(f"provider = {name!r} is unknown{nearest(name, names()) or '.'} Valid: {', '.join(names())}.")
    module, cls = _PROVIDERS[name]
    provider = getattr(import_module(module), cls)
    valid = _options(provider)
    for option in options:
        if option not in valid:
            raise InputError(f"provider {name} has no option {option!r}{nearest(option, valid) or '.'} "
                             f"Valid: {', '.join(valid) or 'none'}.")
    missing = [option for option, required in valid.items() if required and option not in options]
    if missing:
        raise InputError(f"provider {name} needs the option {missing[0]!r}.")
    made: MarketDataProvider = provider(**options)
    return made


def _options(provider: type) -> dict[str, bool]:
    """Name of each option, and whether it is required."""
    import inspect

    parameters = inspect.signature(provider).parameters.values()
    return {p.name: p.default is p.empty for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "INTERVALS",
    "PERIODS",
    "AlpacaProvider",
    "CachedProvider",
    "FileProvider",
    "MarketDataProvider",
    "SampleProvider",
    "YahooProvider",
    "load",
    "names",
]
