"""A proposal: a complete parameter file with its evidence in a block of comments at the top.

Backtests and sessions both take it as it is (``--config``). Its name ends with a hash of all that is in it, so that the
same inputs make the same file, and nothing is ever overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botlib import yamlfile
from botlib.config import BacktestParams, from_values
from botlib.errors import InputError
from botlib.learning.estimate import Learned, made
from botlib.learning.gates import Record
from botlib.project import project_root, shown
from botlib.strategies import strategy_hash
from botlib.strategies.base import parameters
from botlib.strategies.members import spelled_out
from botlib.tuner_save import written
from botlib.tuning.windows import WalkForward

FOLDER = "parameters/proposals"
_SHARED = ("provider", "provider_options", "symbols", "period", "start", "end", "interval", "calendar",
           "regular_hours", "signal_adjustment", "strategy", "risk", "costs", "safety")


def propose(found: Learned, *, root: str | Path | None = None) -> tuple[Path, bool]:
    """Write the proposal, unless it is there already; returns the file, and whether it is new.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    base = project_root(root)
    values, said = parameter_values(found), evidence(found)
    digest = hashlib.sha256(json.dumps([values, said], sort_keys=True, default=str).encode()).hexdigest()[:8]
    day = f"{found.bars.index[-1]:%Y-%m-%d}"
    file = base / FOLDER / f"{found.settings.name[:40]}-{day}-{digest}.yaml"
    where = shown(file, base)
    text = proposal_text({"name": file.stem, **values}, said, where)
    if file.exists():
        return file, False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return file, False
    except OSError as error:
        raise InputError(f"the proposal {where} cannot be written ({error.strerror}).") from None
    return file, True


def parameter_values(found: Learned) -> dict[str, Any]:
    """What backtests and sessions take, by name: the current parameters with the proposed point, and with the slippage
    that was reckoned with."""
    plain = found.settings.plain()
    strategy, risk = made(found, found.proposed)
    values = {name: plain[name] for name in _SHARED}
    values |= {"strategy": spelled_out({**plain["strategy"], **_own(found)}, strategy), "risk": risk.model_dump(),
               "costs": {**plain["costs"], "slippage_bps": found.slippage.used_bps}}
    from_values(values)
    return {name: values[name] for name in BacktestParams.model_fields if name in values}


def evidence(found: Learned) -> dict[str, Any]:
    """What speaks for the proposal and against it. No clock is read: the same inputs give the same evidence."""
    s, h, (current, learned) = found.settings, found.honesty, found.records
    bars, windows = found.bars, found.learned_windows
    said = {
        "kind": "proposal", "recommendation": found.recommendation, "because": found.sentence,
        "parameter_file": s.parameter_file,
        "changes": {name: {"from": a, "to": b} for name, (a, b) in changed(found).items()},
        "gates": {gate.name: {"passed": gate.passed, "says": gate.sentence} for gate in found.gates},
        "parameters": {"current": dict(found.tried.current), "proposed": dict(found.proposed),
                       "tried": {name: list(values) for name, values in found.tried.values.items()}},
        "out_of_sample": {"current": _figures(current), "re_estimated": _figures(learned)},
        "windows": _windows(found.current_windows, windows),
        "deflated_sharpe": h.deflated, "trials": h.trials, "effective_trials": round(h.effective, 1), "pbo": h.pbo,
        "train_bars": s.train_bars, "test_bars": s.test_bars, "searched_with_limits": False,
        "slippage": {"configured_bps": found.slippage.configured_bps, "measured_bps": found.slippage.median_bps,
                     "fills": found.slippage.fills, "used_bps": found.slippage.used_bps,
                     "says": found.slippage.sentence},
        "data": {"from": f"{bars.index[0]:%Y-%m-%d}", "to": f"{bars.index[-1]:%Y-%m-%d}", "hash": bars.data_hash()},
        "strategy_hash": {"current": strategy_hash(found.strategy),
                          "proposed": strategy_hash(made(found, found.proposed)[0])},
        "ledger": found.slippage.ledger, "last_session": found.slippage.last_session,
    }
    return {name: rounded(value) for name, value in said.items()}


def changed(found: Learned) -> dict[str, tuple[Any, Any]]:
    """By dotted name in a parameter file: what is set, what is proposed."""
    own = _own(found)
    names = {name: f"strategy.{name}" if name in own else f"risk.{name}" for name in found.proposed}
    changes = {names[name]: pair for name, pair in found.changes.items()}
    slip = found.slippage
    return changes | ({"costs.slippage_bps": (slip.configured_bps, slip.used_bps)}
                      if slip.used_bps != slip.configured_bps else {})


def proposal_text(values: Mapping[str, Any], said: Mapping[str, Any], where: str) -> str:
    """The text of the file."""
    head = [f"PROPOSAL, recommendation: {said['recommendation']}. {said['because']}", "",
            *(f"{'passed' if gate['passed'] else 'NOT PASSED'}: {name}. {gate['says']}"
              for name, gate in said["gates"].items()), said["slippage"]["says"], "",
            *(["Nothing has changed yet. A person accepts it, and the next session that starts takes it:",
               f"  python -m botlib learn accept {where}"] if said["recommendation"] == "accept" else
              ["Nothing has changed, and this is kept as a record. Only --anyway makes learn accept take it."])]
    return "".join(f"# {line}".rstrip() + "\n" for line in head) + "#\n" + written(values, said, where)


def evidence_text(said: Mapping[str, Any]) -> str:
    """A block of comments that `botlib.tuner_save.read_evidence` reads back."""
    return "# evidence:\n" + "".join(f"#   {line}\n" for line in yamlfile.dump(said).rstrip("\n").splitlines())


def rounded(value: Any) -> Any:
    """Six digits; NaN is null: there is no such figure."""
    if isinstance(value, Mapping):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if value - value == 0.0 else None
    return value


def _own(found: Learned) -> dict[str, Any]:
    """Those of the proposed point that are the strategy's."""
    names = {f.name for f in parameters(found.strategy)}
    return {name: value for name, value in found.proposed.items() if name in names}


def _point(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in point.items())


def _figures(record: Record) -> dict[str, Any]:
    return {"sharpe": record.sharpe, "total_return_pct": record.return_pct, "max_drawdown_pct": record.drawdown_pct,
            "trades": record.trades}


def _windows(current: WalkForward, learned: WalkForward) -> dict[str, Any]:
    """By window, what both did in its test."""
    rows = {}
    for old, new in zip(current.steps, learned.steps, strict=True):
        days = learned.bars.index[new.split.test[0]], learned.bars.index[new.split.test[-1]]
        rows[f"{days[0]:%Y-%m-%d} to {days[1]:%Y-%m-%d}"] = {
            "chosen": "nothing: no point traded" if new.chosen is None else _point(new.chosen),
            **{f"{name}_{figure}": None if step.tested is None else step.tested.figures[at]
               for name, step in (("current", old), ("re_estimated", new))
               for at, figure in ((1, "sharpe"), (0, "return_pct"))}}
    return rows
