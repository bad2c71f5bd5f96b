"""Strategies that are made of others, as `botlib.Blend`: their members in parameter files.

    strategy: {name: blend, members: [{name: momentum_rotation, top_n: 3}, {name: mine.py:Mine}], weights: [0.5, 0.5]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botlib.errors import InputError
from botlib.strategies import SHIPPED
from botlib.strategies.base import MEMBERS, parameters


def with_members(cls: type, values: dict[str, Any], load: Callable[..., Any]) -> dict[str, Any]:
    """``values`` with each member that is a name, or a map of name and parameters, loaded by ``load(name, params)``.

    Raises `InputError` or `StrategyError`, naming the member.
    """
    given = {name: values[name] for name in _of_strategies(cls) if isinstance(values.get(name), (list, tuple))}
    return values | {name: tuple(_member(f"{name}, number {number}", member, load)
                                 for number, member in enumerate(members, 1)) for name, members in given.items()}


def spelled_out(given: Mapping[str, Any], strategy: Any) -> dict[str, Any]:
    """``given``, the map of a strategy's name and parameters, with every parameter that ``strategy`` has, as plain
    values: members by the names that they were loaded by."""
    full = {"name": given["name"], **{f.name: getattr(strategy, f.name) for f in parameters(strategy) if f.init}}
    for name in _of_strategies(type(strategy)):
        maps = [_map(member) for member in given.get(name, ())] or [{"name": _name(member)} for member in full[name]]
        full[name] = tuple(spelled_out(one, member) for one, member in zip(maps, full[name], strict=True))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in full.items()}


def _of_strategies(cls: type) -> list[str]:
    return [field.name for field in parameters(cls) if field.metadata.get(MEMBERS)]


def _member(label: str, member: Any, load: Callable[..., Any]) -> Any:
    if not isinstance(member, (str, Mapping)):
        return member
    given = _map(member)
    if not isinstance(given.get("name"), str):
        raise InputError(f"{label}: give a map with its name, e.g. {{name: momentum_rotation}}.")
    try:
        return load(given["name"], {k: v for k, v in given.items() if k != "name"})
    except InputError as error:
        raise type(error)(f"{label}: {error}") from None


def _map(member: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"name": member} if isinstance(member, str) else dict(member)


def _name(strategy: Any) -> str:
    spec = f"{type(strategy).__module__}:{type(strategy).__name__}"
    return next((name for name, shipped in SHIPPED.items() if shipped == spec), spec)
