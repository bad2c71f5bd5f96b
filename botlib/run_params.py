"""What a run of every kind takes: data, strategy, risk, costs, safety; one schema of files, command line, notebook."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from botlib.errors import DataError, InputError, nearest
from botlib.origins import parameters_of
from botlib.params import Costs, Model, Risk
from botlib.project import project_root, resolve
from botlib.providers.base import INTERVALS, PERIODS, TICKER
from botlib.safety import SafetyControls, check_position_limits

PATH_OPTIONS = ("path", "actions")
"""Options of providers that are paths."""

CACHE_FOLDER = "outputs/cache"
"""Where bars from the network are kept, below the project's root."""

LOCAL_PROVIDERS = ("sample", "file")
"""Providers that need no cache."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DecisionParams(Model):
    """What is decided, and on what: data and strategy."""

    name: str = Field("backtest", description="label of the run, part of its folder's name")
    provider: str = Field("sample", description="where bars come from: sample, file, yahoo or alpaca")
    provider_options: dict[str, Any] = Field({}, description="options of that provider, e.g. the path of a file")
    symbols: list[str] = Field(["AAPL", "FB", "GOOG", "IBM", "MSFT"], description="tickers")
    period: str = Field("max", description="history to load, back from the last bar: " + " ".join(PERIODS))
    start: str | None = Field(None, description="first session to use, YYYY-MM-DD; null: the first there is")
    end: str | None = Field(None, description="last session to use, YYYY-MM-DD; null: the last there is")
    interval: str = Field("1d", description="length of a bar: " + " ".join(INTERVALS))
    calendar: str | None = Field("XNYS", description="exchange calendar the bars are checked against; null: unchecked")
    regular_hours: bool = Field(False, description="true: intraday bars outside the regular session are left out")
    signal_adjustment: Literal["raw", "split", "all"] = Field(
        "split", description="prices the strategy sees: raw, split, or all (splits and dividends)")
    strategy: dict[str, Any] = Field({"name": "mean_reversion_momentum"},
                                     description="name (shipped, path.py:Class or module:Class) and its parameters")

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _LABEL.fullmatch(value):
            raise InputError(f"name = {value!r}: it becomes part of a folder's name; use up to 64 letters, digits, "
                             "'.', '_' and '-', beginning with a letter or digit.")
        return value

    @field_validator("symbols", mode="before")
    @classmethod
    def _check_symbols(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise InputError(f"symbols = {value!r}: give a list of tickers, e.g. [AAPL, MSFT].")
        if not value:
            raise InputError("symbols = []: give at least one ticker, e.g. [AAPL].")
        for symbol in value:
            if not isinstance(symbol, str):
                raise InputError(f"symbols: {_yaml_word(symbol)} is not text; put the ticker in quotes, "
                                 f'"{_yaml_word(symbol).upper()}".')
            if not TICKER.fullmatch(symbol):
                upper = symbol.strip().upper()
                hint = f"; did you mean '{upper}'?" if TICKER.fullmatch(upper) else "."
                raise InputError(f"symbols: {symbol!r} is not a ticker: only upper-case letters, digits, ./^=-{hint}")
        twice = sorted({s for s in value if list(value).count(s) > 1})
        if twice:
            raise InputError(f"symbols: {', '.join(twice)} stands there twice; keep one.")
        return list(value)

    @field_validator("period")
    @classmethod
    def _check_period(cls, value: str) -> str:
        return _one_of("period", value, PERIODS)

    @field_validator("interval")
    @classmethod
    def _check_interval(cls, value: str) -> str:
        return _one_of("interval", value, INTERVALS)

    @field_validator("start", "end")
    @classmethod
    def _check_date(cls, value: str | None, info: Any) -> str | None:
        return date_text(info.field_name, value)

    @field_validator("strategy", mode="before")
    @classmethod
    def _check_strategy(cls, value: Any) -> Any:
        if isinstance(value, str) and value:
            return {"name": value}
        if isinstance(value, Mapping) and isinstance(value.get("name"), str) and value["name"]:
            return _finite("strategy", value)
        raise InputError(f"strategy = {value!r}: give a map with its name, e.g. {{name: mean_reversion_momentum}}.")

    @field_validator("provider_options", mode="before")
    @classmethod
    def _check_options(cls, value: Any) -> Any:
        return _finite("provider_options", value) if isinstance(value, Mapping) else value


class LimitParams(Model):
    """How it is traded: sizes and protection, costs, limits."""

    risk: Risk = Field(Risk(), description="sizes, stop and target")
    costs: Costs = Field(Costs(), description="commission, slippage and fees")
    safety: SafetyControls | None = Field(SafetyControls(), description="limits that stop trading; null: none")


class RunParams(LimitParams, DecisionParams):
    """Parameters of a run. Frozen; unknown names, wrong types and values out of range raise `InputError`."""

    kind: ClassVar[str]
    """Kind of run that takes them: "backtest", "paper", "live" or "learn"."""

    passes_over: ClassVar[bool] = False
    """Whether files of other kinds of runs are taken as they are, what only those know passed over."""

    def model_post_init(self, _context: Any) -> None:
        """Refuse dates in the wrong order, and positions larger than the safety controls allow."""
        check_position_limits(self.risk, self.safety)
        if self.start is not None and self.end is not None and self.end < self.start:
            raise InputError(f"end = {self.end!r} lies before start = {self.start!r}; swap them.")

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """The parameters from a notebook's variables: ``BacktestParams.from_notebook(globals())``.

        Takes the variables whose names are parameters; one that is not defined keeps its default.
        """
        return parameters_of(cls, {key: namespace[key] for key in cls.model_fields if key in namespace})

    def load_strategy(self, root: str | Path | None = None) -> Any:
        """The strategy with its parameters; relative paths start at the project's root.

        Raises `StrategyError` or `InputError`, see `botlib.strategies.load`.
        """
        from botlib import strategies

        parameters = {k: v for k, v in self.strategy.items() if k != "name"}
        return strategies.load(self.strategy["name"], parameters, root=project_root(root))

    def load_provider(self, root: str | Path | None = None) -> Any:
        """The provider with its options; relative paths in them start at the project's root. Nothing is downloaded.

        Raises `InputError`, see `botlib.providers.load`.
        """
        from botlib import providers

        options = {k: str(resolve(v, root)) if k in PATH_OPTIONS and isinstance(v, str) else v
                   for k, v in self.options_of_provider().items()}
        return providers.load(self.provider, **options)

    def options_of_provider(self) -> dict[str, Any]:
        """What the provider is made with."""
        return dict(self.provider_options)

    def variables(self) -> tuple[str, ...]:
        """Names of environment variables that parameters point to: what these hold is masked in all that is written."""
        return ()

    def load_bars(self, root: str | Path | None = None) -> Any:
        """Checked `Bars` of these symbols, with their splits and dividends when the provider knows them.

        Bars of a file that are shorter than ``interval`` are resampled to it.

        Raises `InputError`, `DataError` or `ProviderError`.
        """
        from botlib import providers
        from botlib.bars import Bars

        provider = self.load_provider(root)
        if self.provider not in LOCAL_PROVIDERS:
            provider = providers.CachedProvider(provider, project_root(root) / CACHE_FOLDER)
        held = provider.held_interval(self.symbols) if self.provider == "file" else self.interval
        interval = min(held, self.interval, key=INTERVALS.index)
        frame = provider.download_bars(symbols=self.symbols, period=self.period, interval=interval)
        if self.provider == "file":
            provider.refuse_bad_rows(frame)
        adjustment = getattr(provider, "adjustment", "raw")
        known = adjustment == "raw" and getattr(provider, "knows_actions", True)
        actions = provider.actions(self.symbols) if known else None
        bars = Bars.from_frame(frame, self.calendar, interval=interval, adjustment=adjustment, actions=actions,
                               regular_hours=self.regular_hours)
        if interval != self.interval:
            bars = bars.resample(self.interval)
        if self.start is None and self.end is None:
            return bars
        after = None if self.end is None else dt.date.fromisoformat(self.end) + dt.timedelta(days=1)
        try:
            return bars.between(self.start, after)
        except DataError:
            raise InputError(f"start = {self.start or 'none'}, end = {self.end or 'none'}: no bars lie between them; "
                             f"there are bars from {bars.index[0].date()} to {bars.index[-1].date()}.") from None

    def plain(self) -> dict[str, Any]:
        """The complete values as maps, lists, text and numbers, in the schema's order."""
        return self.model_dump()


def date_text(name: str, value: str | None) -> str | None:
    """A date as YYYY-MM-DD, or None. Raises `InputError` for any other text."""
    if value is None:
        return None
    try:
        return dt.date.fromisoformat(value).isoformat()
    except ValueError:
        raise InputError(f"{name} = {value!r}: give a date as YYYY-MM-DD, or null.") from None


def _yaml_word(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _finite(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{section}.{key} = {value!r}: it must be a finite number.")
    return dict(values)


def _one_of(name: str, value: str, valid: Sequence[str]) -> str:
    if value not in valid:
        raise InputError(f"{name} = {value!r}{nearest(value, valid) or '.'} Valid: {', '.join(valid)}.")
    return value
