"""From a merged map of values (see `botlib.layers`) to parameters; a refusal says where each value came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from botlib.errors import InputError
from botlib.params import Model

MAPS = ("provider_options", "strategy", "risk", "costs", "safety")
"""Parameters that are maps; they merge name by name."""

P = TypeVar("P", bound=Model)


def parameters_of(schema: type[P], values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> P:
    """``schema`` from a merged map; a refusal names each parameter in full and where its value came from.

    Raises
    ------
    InputError
        One sentence for each wrong value.
    """
    try:
        params: P = schema.from_mapping(values)
        return params
    except InputError as error:
        lines = [_with_origin(_full_name(line), origins or {}) for line in str(error).splitlines()]
        raise InputError("\n".join(lines)) from None


def placed(text: str, origins: Mapping[str, str]) -> str:
    """A sentence with the place that each value in it came from, in front; ``origins`` maps their names to it."""
    if not origins:
        return text
    places = list(dict.fromkeys(origins.values()))
    if not any(place.endswith(".ipynb") for place in places):  # in the words of the file, where None is null
        text = re.sub(r"^([\w.]+) = None(?=[:;])", r"\1 is null (empty)", text)
    if len(places) > 1:
        places = [f"{place} ({', '.join(name.split('.')[-1] for name, of in origins.items() if of == place)})"
                  for place in places]
    return f"{', '.join(places)}: {text}"


def _full_name(line: str) -> str:
    """'risk: max_position_pct = …' as 'risk.max_position_pct = …'."""
    section, colon, rest = line.partition(": ")
    if not colon or section not in MAPS:
        return line
    if rest.startswith("unknown parameter '"):
        return rest.replace("unknown parameter '", f"unknown parameter '{section}.", 1)
    return f"{section}.{rest}" if re.match(r"\w+ (= |is an? )", rest) else line


def _with_origin(line: str, origins: Mapping[str, str]) -> str:
    unknown = re.match(r"unknown parameter '(\w+(?:\.\w+)*)", line)
    names = [unknown[1]] if unknown else re.findall(r"^\w+(?:\.\w+)*|\w+(?:\.\w+)*(?= = )", line)
    return placed(line, {name: origins[name] for name in names if name in origins})
