"""A position of the tuner as a parameter file, its evidence in a block of comments at the top.

The file holds what backtests and sessions both take, so that ``backtest --config`` and ``live paper --config`` run it.
The evidence is YAML behind ``#``: `read_evidence` reads it back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botlib import yamlfile
from botlib.config import BacktestParams, from_values
from botlib.errors import InputError
from botlib.project import project_root, shown
from botlib.strategies import strategy_hash
from botlib.tuner import Position, Tuner
from botlib.tuning.study import account_figures

FOLDER = "parameters"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_SHARED = ("provider", "provider_options", "period", "interval", "calendar", "regular_hours", "signal_adjustment")
_MARK = "# evidence:"


def save(tuner: Tuner, at: Position, name: str) -> Path:
    """Write parameters/NAME.yaml; returns the file.

    Raises
    ------
    InputError
        The name is none, the file is there already, or nothing is known of the point yet. Then nothing is written.
    """
    base = project_root(tuner.root)
    file = base / FOLDER / f"{checked_name(name)}.yaml"
    where = shown(file, base)
    if file.exists():
        raise InputError(f"save as {name!r}: {where} exists already and stays as it is; choose another name.")
    values, found = parameter_values(tuner, at, file.stem), evidence(tuner, at)
    from_values(values)
    text = written(values, found, where)
    file.parent.mkdir(exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError(f"save as {name!r}: {where} exists already and stays as it is; choose another name.") from None
    except OSError as error:
        raise InputError(f"save as {name!r}: {where} cannot be written ({error.strerror}).") from None
    return file


def checked_name(name: str) -> str:
    """A file's name without its ending. Raises `InputError`."""
    plain = name.strip().removesuffix(".yaml")
    if not _NAME.fullmatch(plain):
        hint = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-")[:60]
        more = f", e.g. {hint}" if _NAME.fullmatch(hint) else ", e.g. rsi_12"
        raise InputError(f"save as {name!r}: use up to 60 letters, digits, '_' and '-', beginning with a letter or "
                         f"digit{more}.")
    return plain


def parameter_values(tuner: Tuner, at: Position, name: str) -> dict[str, Any]:
    """What backtests and sessions take, by name."""
    plain = tuner.settings.plain()
    values = {"name": name} | {key: plain[key] for key in _SHARED} | {"symbols": list(tuner.study(at).bars.symbols)}
    values |= {"strategy": tuner.spelled(at), "risk": tuner.risk(at).model_dump(), "costs": plain["costs"]}
    if plain["safety"] is not None:  # without limits is how it was searched, not how it should be traded
        values["safety"] = plain["safety"]
    return {key: values[key] for key in BacktestParams.model_fields if key in values}


def evidence(tuner: Tuner, at: Position) -> dict[str, Any]:
    """What speaks for a point and against it. Raises `InputError` while the surface is not searched."""
    study, curve, ground = tuner.study(at), tuner.curve(at), tuner.ground(at)
    honesty = tuner.honesty(at)
    if honesty is None or not tuner.settled(at):
        raise InputError("save as: the surface is still being searched, and its evidence belongs into the file; wait "
                         "until the figures stand.")
    bars, split = study.bars, study.split
    surface = ground.surface("sharpe")
    plateau = surface.plateau(*surface.at(at.point))
    inside, outside = (
        {name: float(values[0]) for name, values in account_figures(part[None], bars.periods_per_year).items()}
        for part in (curve.equity[:split], curve.equity[split - 1:]))
    found = {
        "date": f"{tuner.clock():%Y-%m-%d}",
        "account": at.account, "trials": honesty.trials, "effective_trials": round(honesty.effective, 1),
        "deflated_sharpe": honesty.deflated, "pbo": honesty.pbo, "needed_years": honesty.needed_years,
        "in_sample": {"from": _day(bars, 0), "to": _day(bars, split - 1), **inside},
        "out_of_sample": {"from": _day(bars, split), "to": _day(bars, len(bars) - 1), **outside},
        "trades": curve.trades,
        "plateau_sharpe": {"median": plateau.median, "lowest": plateau.lowest},
        "searched": {axis: f"{len(values)} values, {values[0]} to {values[-1]}" for axis, values in
                     ((ground.x, ground.xs), (ground.y, ground.ys))},
        "searched_with_limits": study.safety is not None,
        "data_hash": bars.data_hash(), "strategy_hash": strategy_hash(tuner.strategy_of(at)),
    }
    return {name: _rounded(value) for name, value in found.items()}


def written(values: Mapping[str, Any], found: Mapping[str, Any], where: str) -> str:
    """The text of the file."""
    block = yamlfile.dump(found).rstrip("\n").splitlines()
    head = (f"# Found by a search, not proved by it: the evidence below was gathered when the file was written.\n"
            f"#   python -m botlib backtest --config {where}\n"
            f"#   python -m botlib live paper --config {where}\n#\n{_MARK}\n")
    return head + "".join(f"#   {line}\n" for line in block) + "\n" + yamlfile.dump(values)


def read_evidence(text: str) -> dict[str, Any]:
    """The evidence in the text of a parameter file; empty when there is none."""
    lines = text.splitlines()
    if _MARK not in lines:
        return {}
    first = lines.index(_MARK) + 1
    block = []
    for line in lines[first:]:
        if not line.startswith("#   "):
            break
        block.append(line.removeprefix("#   "))
    found = yamlfile.parse("\n".join(block), "evidence")
    return dict(found) if isinstance(found, Mapping) else {}


def _day(bars: Any, row: int) -> str:
    return f"{bars.index[row]:%Y-%m-%d}"


def _rounded(value: Any) -> Any:
    """NaN is null: there is no such figure."""
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
