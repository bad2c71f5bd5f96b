"""The base of every parameter model, and the models that a backtest and a session share.

Each model is frozen, refuses unknown names, wrong types and values out of range, and says so in one sentence that names
the parameter, the value, the valid range and the nearest valid name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from botlib.errors import InputError, nearest
from botlib.hygiene import hide, shown

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # its public way in


PRIVATE: dict[str, Any] = {"private": True}
"""``json_schema_extra`` of a field that may hold a secret: a refusal says of what kind its value is, and no more."""


class _Listed(ModelMetaclass):
    """What ``help`` and the Tab key list of a model: its parameters and our methods, not some hundred of pydantic's."""

    def __dir__(cls) -> list[str]:
        ours = [name for base in cls.__mro__ if isinstance(base, _Listed) for name in vars(base)
                if not name.startswith(("_", "model_"))]
        return sorted({*ours, *getattr(cls, "__pydantic_fields__", ())})


class Model(BaseModel, metaclass=_Listed):
    """Frozen, strict, closed. Raises `InputError`, never pydantic's own error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)

    def __init__(self, *unnamed: Any, **values: Any) -> None:
        if unnamed:
            name = type(self).__name__
            raise InputError(f"{name}({unnamed[0]!r}): name the parameter, e.g. "
                             f"{name}({next(iter(type(self).model_fields))}=…).")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(hide(explain(error, type(self), values))) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **_options: Any) -> None:
        """Put the fields, their ranges and meanings into the docstring."""
        lines = [f"    {name} : default {field.default!r}\n        {field.description or ''}"
                 + (f" ({valid_range(field)})" if valid_range(field) else "")
                 for name, field in cls.model_fields.items()]
        cls.__doc__ = f"{(cls.__doc__ or '').rstrip()}\n\n    Parameters\n    ----------\n" + "\n".join(lines)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Any:
        """The model from a plain mapping, e.g. a section of a parameter file."""
        return cls(**{str(k): v for k, v in values.items()})


def _field(model: type[BaseModel], path: tuple[Any, ...]) -> tuple[type[BaseModel], Any]:
    """The model that holds the last name of ``path``, and that field (None when there is none)."""
    field = None
    for part in path:
        if not isinstance(part, str) or not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return model, None
        inner = [a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(a, type)]
        nested = [a for a in inner if issubclass(a, BaseModel)]
        if nested and part != path[-1]:
            model = nested[0]
    return model, field


def valid_range(field: Any) -> str:
    """What a field takes, in words: ``"1 to 100, in percent (5.0 = 5 %)"``."""
    low = high = None
    for m in field.metadata:
        low = next((v for v in (getattr(m, "ge", None), getattr(m, "gt", None)) if v is not None), low)
        high = next((v for v in (getattr(m, "le", None), getattr(m, "lt", None)) if v is not None), high)
    text = ""
    if low is not None and high is not None:
        text = f"{low:g} to {high:g}"
    elif low is not None:
        text = f"at least {low:g}"
    elif high is not None:
        text = f"at most {high:g}"
    return ", ".join(x for x in (text, str(_extra(field).get("unit", ""))) if x)


def _extra(field: Any) -> Mapping[str, Any]:
    """What is known of a field beside its type; nothing of none."""
    extra = None if field is None else field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def explain(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any]) -> str:
    """One sentence for each problem, joined by a line break."""
    lines = []
    for e in error.errors():
        path = tuple(p for p in e["loc"] if p not in ("function-after", "function-before"))
        name = ".".join(str(p) for p in path if not (isinstance(p, str) and ("[" in p or p in {"none", "Model"})))
        holder, field = _field(model, path)
        if e["type"] == "extra_forbidden":
            valid = list(holder.model_fields)
            lines.append(f"unknown parameter '{name}'{nearest(path[-1], valid) or '.'} Valid: {', '.join(valid)}.")
        elif e["type"] == "missing":
            lines.append(f"{name} is missing.")
        elif e["type"] == "value_error":
            said = str(e["ctx"]["error"]) if "ctx" in e else e["msg"]  # of a section: a line for each of its values
            lines += [f"{name}: {text}" if name and not text.startswith(name) else text for text in said.splitlines()]
        else:
            what = valid_range(field) if field is not None else ""
            said = e["msg"].replace("Input should be", "it must be").rstrip(".")
            said = re.sub(r"a valid dictionary( or instance of \w+)?", "a map of names to values", said)
            given = shown(name, e["input"], private=bool(_extra(field).get("private")))
            if what and e["type"] in {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}:
                lines.append(f"{given} is out of range: valid is {what}.")
            else:
                lines.append(f"{given}: {said}" + (f" (valid: {what})." if what else "."))
    return "\n".join(dict.fromkeys(lines))


def command(name: str, value: Any) -> Any:
    """A command as a parameter: a text for the shell, a list of words, or None. Raises `InputError`, which shows of it
    only of what kind it is: there may be a secret among its words."""
    if value is None:
        return None
    words = list(value) if isinstance(value, (list, tuple)) else [value]
    if not words or any(not isinstance(word, str) or "\0" in word for word in words) or not words[0].strip():
        hint = " (a text that holds ': ' stands in quotes)" if isinstance(value, Mapping) else ""
        raise InputError(f"{shown(name, value, private=True)}: give a command, a text for the shell{hint} or a list of "
                         "its words, or null for none.")
    return value if isinstance(value, str) else words


def percent(low: float, high: float, default: Any, description: str) -> Any:
    """A field in percent; bounds catch a fraction given where percent is meant."""
    return Field(default, ge=low, le=high, description=description,
                 json_schema_extra={"unit": "in percent (5.0 = 5 %)"})


def bps(default: float, high: float, description: str) -> Any:
    """A field in basis points. What is above 0 and below 0.01 is refused: a fraction was given where bps are meant."""
    return Field(default, ge=0.0, le=high, description=description,
                 json_schema_extra={"unit": "in basis points (100 = 1 %)", "least": 0.01, "of_one": 10_000.0})


def yearly_rate(high: float, description: str) -> Any:
    """A field in percent a year. What is above 0 and below 0.1 is refused, as by `bps`: nobody lends for that."""
    return Field(0.0, ge=0.0, le=high, description=description,
                 json_schema_extra={"unit": "in percent a year (5.0 = 5 %)", "least": 0.1, "of_one": 100.0})


class Risk(Model):
    """How orders are sized and protected.

    Sizes follow ``quantity = floor(|weight| * equity / close)`` on the decision's close (the sizing rule).
    """

    max_position_pct: float = percent(1.0, 100.0, 10.0, "largest position; weights are clipped to it")
    stop_loss_pct: float | None = percent(0.25, 50.0, 5.0, "stop below the decision's close; null: none")
    take_profit_pct: float | None = percent(0.25, 500.0, 10.0, "target above the decision's close; null: none")
    fractional: bool = Field(False, description="fractional shares; only without stop and target")
    account: Literal["margin", "cash"] = Field("margin", description="margin allows shorts; cash pays for every buy")
    max_gross_exposure_pct: float = percent(5.0, 400.0, 100.0, "longs plus shorts, percent of equity, at submission")

    def model_post_init(self, _context: Any) -> None:
        """Refuse what Alpaca has no order for."""
        if self.fractional and (self.stop_loss_pct is not None or self.take_profit_pct is not None):
            raise InputError(
                "risk.fractional = True needs stop_loss_pct and take_profit_pct null: Alpaca has no bracket legs on "
                "fractional shares. Set both to null, or fractional to false."
            )


class Costs(Model):
    """What trading costs. Alpaca charges no commission on US shares; the regulatory fees on sells are real."""

    commission_bps: float = bps(0.0, 500.0, "commission, basis points of the traded value")
    commission_per_share: float = Field(0.0, ge=0.0, le=1.0, description="commission per share, in dollars")
    commission_min: float = Field(0.0, ge=0.0, le=100.0, description="least commission of a fill, in dollars")
    slippage_bps: float = bps(2.0, 500.0, "slippage against us on market and stop fills")
    volume_impact_bps: float = bps(0.0, 10_000.0, "further slippage: this times (quantity / bar volume) squared")
    max_participation_pct: float | None = Field(None, ge=0.01, le=100.0,
                                                description="most of a bar's volume that fills may take; null: no cap",
                                                json_schema_extra={"unit": "in percent (5.0 = 5 %)"})
    regulatory_fees: bool = Field(True, description="SEC, FINRA TAF and CAT fees by date")
    borrow_rate_pct: float = yearly_rate(500.0, "yearly rate on shorts' market value")
    margin_rate_pct: float = yearly_rate(100.0, "yearly rate on negative cash")

    def model_post_init(self, _context: Any) -> None:
        """Refuse fractions given where basis points or percent are meant."""
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            least, value = extra.get("least") if isinstance(extra, dict) else None, getattr(self, name)
            if isinstance(extra, dict) and isinstance(least, float) and 0.0 < value < least:
                meant = f"{value * float(extra['of_one']):g}"  # type: ignore[arg-type]
                unit = "bps" if name.endswith("_bps") else "%"
                raise InputError(f"{name} = {value:g} reads like a fraction; {meant} {unit} is written {meant}. Valid "
                                 f"is 0, or {valid_range(field).replace('0 to', f'{least:g} to', 1)}.")

    @classmethod
    def none(cls) -> Costs:
        """No costs at all."""
        return cls(slippage_bps=0.0, regulatory_fees=False)
