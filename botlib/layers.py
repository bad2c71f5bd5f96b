"""How the values of a run come together, and where each came from.

Later wins: the schema's own defaults < the notebook's ``parameters`` cell < ``--config A B`` left to right (maps merge)
< ``--set`` < flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from botlib import hygiene, yamlfile
from botlib.config import BacktestParams
from botlib.errors import InputError, nearest
from botlib.origins import MAPS
from botlib.run_params import RunParams


class Layer(NamedTuple):
    """Values from one place. ``origin`` says which, or maps dotted names to where each came from."""

    values: Mapping[str, Any]
    origin: str | Mapping[str, str]


def merge(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """All layers as one map, later over earlier, and the origin of each dotted name.

    A layer that names another strategy (or another provider) drops the parameters that earlier layers gave the old one.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        given = dict(layer.values)
        if isinstance(given.get("strategy"), str):
            given["strategy"] = {"name": given["strategy"]}
        _drop_if_switched(values, origins, given)
        for key, value in given.items():
            _put(values, origins, (key,), value, layer.origin)
    return values, origins


def _drop_if_switched(values: dict[str, Any], origins: dict[str, str], given: Mapping[str, Any]) -> None:
    # Without an old name nothing is switched: "--set strategy.lookback=20 --strategy other" means other's lookback.
    new, old = given.get("strategy"), values.get("strategy")
    if isinstance(new, Mapping) and isinstance(old, Mapping) and _differ(new, old, "name"):
        _forget(values, origins, "strategy")
    if _differ(given, values, "provider"):
        _forget(values, origins, "provider_options")


def _differ(new: Mapping[str, Any], old: Mapping[str, Any], name: str) -> bool:
    return name in new and name in old and bool(new[name] != old[name])


def _forget(values: dict[str, Any], origins: dict[str, str], name: str) -> None:
    values.pop(name, None)
    for key in [k for k in origins if k == name or k.startswith(name + ".")]:
        del origins[key]


def _put(values: dict[str, Any], origins: dict[str, str], path: tuple[str, ...], value: Any,
         origin: str | Mapping[str, str]) -> None:
    key, dotted = path[-1], ".".join(path)
    if path[0] in MAPS and isinstance(value, Mapping):
        inner = values.get(key)
        if not isinstance(inner, dict):
            _forget(values, origins, dotted)
            inner = values[key] = {}
        origins.pop(dotted, None)
        for name, below in value.items():
            _put(inner, origins, (*path, name), below, origin)
        if not inner:
            origins[dotted] = _origin(origin, dotted)
    else:
        for known in [k for k in origins if k.startswith(dotted + ".")]:
            del origins[known]
        values[key] = value
        origins[dotted] = _origin(origin, dotted)


def _origin(origin: str | Mapping[str, str], dotted: str) -> str:
    return origin if isinstance(origin, str) else origin[dotted]


def parse_set(items: Sequence[str], schema: type[RunParams] = BacktestParams) -> Layer:
    """The layer that ``--set a.b=value`` makes; values are YAML 1.2, so ``null``, ``[AAPL, MSFT]`` and ``1e-3`` work.

    ``schema`` gives the names there are, for a hint.

    Raises
    ------
    InputError
        An item without '=', without a name, or without a value; a name given twice.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts):
            raise InputError(f"--set {hygiene.hide(item)}: give NAME=VALUE, e.g. --set strategy.rsi_period=10.")
        if not text.strip():
            raise InputError(f"--set {item}: the value is missing; write null for none, \"''\" for empty text.")
        if len(parts) > 1 and parts[0] not in MAPS:
            raise InputError(f"--set {name}: unknown parameter '{name.strip()}'"
                             + _hint(parts[0], (*schema.model_fields,)))
        layer: dict[str, Any] = {parts[-1]: yamlfile.parse(text, f"--set {name.strip()}")}
        for part in reversed(parts[:-1]):
            layer = {part: layer}
        _, given = merge([Layer(layer, "--set")])
        values, _ = merge([Layer(values, "--set"), Layer(layer, "--set")])
        origins.update(given)
    return Layer(values, origins)


def _hint(word: str, valid: Sequence[str]) -> str:
    near = nearest(word, valid)
    return (near + " Valid: " if near else ". Valid: ") + ", ".join(valid) + "."
