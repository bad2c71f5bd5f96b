"""result.json: what a notebook writes, what the runner checks, and the short table a person reads."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botlib.errors import InputError, checked
from botlib.project import resolve
from botlib.provenance import write_json

RESULT = "result.json"
KEYS = ("status", "metrics", "benchmark", "halts", "checks", "data_hash", "strategy_hash", "warnings")
SESSION_KEYS = ("status", "summary", "data_hash", "strategy_hash", "params_hash", "limits_hash", "warnings")
LEARN_KEYS = ("status", "recommendation", "proposal", "gates", "data_hash", "strategy_hash", "warnings")
KEYS_OF = {"backtest": KEYS, "paper": SESSION_KEYS, "live": SESSION_KEYS, "learn": LEARN_KEYS}
"""What the result of each kind of run holds."""

SUMMARY = ("iterations", "total_trades", "total_pnl", "status", "reason")
"""What a session's result says of how it went."""
MORE = ("total_fills", "session_id", "exit_code", "parity", "unexplained")
"""What it says as well, where the summary has it."""

_SAVES = {"backtest": "save_result", "paper": "save_session", "live": "save_session", "learn": "save_learning"}


def save_result(output_dir: str | os.PathLike[str], *, metrics: Mapping[str, float], benchmark: Mapping[str, float],
                halts: Any, checks: Mapping[str, Any], data_hash: str, strategy_hash: str,
                warnings: Any = ()) -> None:
    """Write result.json; a notebook calls it last. An empty ``output_dir`` writes nothing.

    Parameters
    ----------
    output_dir : path
        The notebook's ``output_dir``, set by the runner.
    metrics, benchmark : mapping of str to float
        Figures of the strategy and of buy-and-hold; NaN becomes null.
    halts : pandas.DataFrame or list of mappings
        time, limit, value_pct, limit_pct, state.
    checks : mapping
        By name, {"passed": bool, "result": str, "finding": str}, as `botlib.honesty.Honesty.to_dict` gives it.
    data_hash, strategy_hash : str
        Identity of the bars, and of the strategy with its parameters.
    warnings : iterable of str

    Raises
    ------
    InputError
        ``output_dir`` is no folder, or one that cannot be written.
    """
    rows = halts.to_dict("records") if hasattr(halts, "to_dict") else halts
    _save(output_dir, {"status": "ok", "metrics": dict(metrics), "benchmark": dict(benchmark), "halts": list(rows),
                       "checks": checks, "data_hash": data_hash, "strategy_hash": strategy_hash,
                       "warnings": [str(w) for w in warnings]})


def save_session(output_dir: str | os.PathLike[str], *, summary: Any, strategy_hash: str, params_hash: str,
                 limits_hash: str, data_hash: str | None = None, warnings: Any = ()) -> None:
    """As `save_result`, of a paper or live session that has ended in order, whatever its outcome.

    Parameters
    ----------
    output_dir : path
        The notebook's ``output_dir``, set by the runner.
    summary : mapping or object
        iterations, total_trades, total_pnl (dollars), status ("success", "user-cancelled", …) and reason, as names or
        attributes.
    strategy_hash, params_hash, limits_hash : str
        What traded, see `botlib.terms`.
    data_hash : str or None
        Identity of the bars when they are those of a replay; None: they came as the session went on.
    warnings : iterable of str

    Raises
    ------
    InputError
        ``output_dir`` is no folder, or one that cannot be written.
    """
    known = summary if isinstance(summary, Mapping) else {name: getattr(summary, name, None) for name in SUMMARY}
    said = {name: known.get(name) for name in SUMMARY} | {name: known[name] for name in MORE if name in known}
    _save(output_dir, {"status": "ok", "summary": said,
                       "data_hash": data_hash, "strategy_hash": strategy_hash, "params_hash": params_hash,
                       "limits_hash": limits_hash, "warnings": [str(w) for w in warnings]})


def save_learning(output_dir: str | os.PathLike[str], *, recommendation: str, proposal: str, written: bool,
                  gates: Mapping[str, Any], data_hash: str, strategy_hash: str, warnings: Any = ()) -> None:
    """As `save_result`, of parameters that were estimated anew.

    Parameters
    ----------
    recommendation : str
        "accept" or "keep", and why.
    proposal : str
        Its file; "": there is none.
    written : bool
        By this run; else it was there already.
    gates : mapping
        By name, {"passed": bool, "says": str}.
    """
    _save(output_dir, {"status": "ok", "recommendation": recommendation, "proposal": proposal, "written": written,
                       "gates": dict(gates), "data_hash": data_hash, "strategy_hash": strategy_hash,
                       "warnings": [str(w) for w in warnings]})


def _save(output_dir: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    if not str(output_dir):
        return
    folder = resolve(output_dir)
    if not folder.is_dir():
        raise InputError(f"output_dir = {str(output_dir)!r}: there is no such folder; make it, or give '' to write "
                         "nothing.")
    try:
        write_json(folder / RESULT, jsonable(value))
    except PermissionError as error:
        raise InputError(f"output_dir = {str(output_dir)!r}: cannot be written ({error.strerror}); choose another "
                         "folder.") from None


@checked
def save_backtest(output_dir: str | os.PathLike[str], result: Any, honesty: Any) -> None:
    """`save_result` of a backtest and its honesty checks; the findings of its bars stand after the run's warnings."""
    from botlib.strategies.loading import strategy_hash

    said = [*result.warnings, *_findings(result.bars.warnings)]
    save_result(output_dir, metrics=result.metrics, benchmark=result.benchmark.metrics, halts=result.halts,
                checks=honesty.to_dict(), data_hash=result.bars.data_hash(),
                strategy_hash=strategy_hash(result.strategy), warnings=said)


_MOST_FINDINGS = 5


def _findings(said: list[str]) -> list[str]:
    """The first few; the notebook has all of them."""
    more = len(said) - _MOST_FINDINGS
    return said if more <= 0 else [*said[:_MOST_FINDINGS], f"and {more} more in the notebook"]


def jsonable(value: Any) -> Any:
    """The value as JSON knows it: numbers that are not finite become null, times ISO text."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if hasattr(value, "isoformat"):
        text = str(value.isoformat())
        return None if text == "NaT" else text
    if hasattr(value, "tolist"):  # numpy
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def read_result(folder: Path, kind: str = "backtest") -> dict[str, Any]:
    """result.json of a run of this kind.

    Raises
    ------
    ValueError
        One sentence: there is none, it is no JSON, or it is not what a finished notebook writes.
    """
    try:
        value = json.loads((folder / RESULT).read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        raise ValueError(f"the notebook ended without writing {RESULT}; its last cell calls {_SAVES[kind]}") from None
    except ValueError:
        raise ValueError(f"the notebook's {RESULT} is not valid JSON") from None
    missing = [k for k in KEYS_OF[kind] if not isinstance(value, dict) or k not in value]
    if missing:
        raise ValueError(f"the notebook's {RESULT} lacks {', '.join(missing)}")
    if value["status"] != "ok":
        raise ValueError(f"the notebook's {RESULT} says status {value['status']!r}")
    return dict(value)


def exit_code(result: Mapping[str, Any]) -> int:
    """Of a finished run: 0 done, 1 crash, 2 refused, 3 halted, 4 unreconciled; a backtest is done."""
    summary = result.get("summary") or {}
    usual = {"error": 1, "refused": 2, "halted": 3}.get(str(summary.get("status")), 0)
    given = summary.get("exit_code")
    return given if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 4 else usual


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_ROWS = (("total return", "total_return_pct", "{:,.1f} %"), ("CAGR", "cagr_pct", "{:,.1f} %"),
         ("Sharpe", "sharpe", "{:.2f}"), ("max drawdown", "max_drawdown_pct", "{:,.1f} %"),
         ("exposure", "exposure_pct", "{:,.1f} %"),
         ("trades", "trades", "{:,.0f}"), ("costs paid", "costs_paid", "{:,.2f}"))


def table(result: Mapping[str, Any]) -> str:
    """The short result table: strategy beside buy-and-hold, halts, honesty checks, warnings."""
    lines = [f"{'':<14}{'strategy':>14}{'buy & hold':>14}"]
    for label, key, form in _ROWS:
        cells = (_cell(result["metrics"].get(key), form), _cell(result["benchmark"].get(key), form))
        lines.append(f"{label:<14}{cells[0]:>14}{cells[1]:>14}")
    lines += ["", *_halt_lines(result["halts"]), *_check_lines(result["checks"])]
    return "\n".join(lines + [f"{'warning':<14}{text}" for text in result["warnings"]])


def _cell(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"


def _halt_lines(halts: list[Mapping[str, Any]]) -> list[str]:
    if not halts:
        return [f"{'halts':<14}none"]
    first = halts[0]
    value, limit = _cell(first.get("value_pct"), "{:.2f} %"), _cell(first.get("limit_pct"), "{:g} %")
    more = f", and {len(halts) - 1} more" if len(halts) > 1 else ""
    if any(halt.get("state") == "halted" for halt in halts):
        more += "; no new position after the drawdown halt"
    return [f"{'halts':<14}{str(first.get('time', ''))[:10]} {first.get('limit')}: {value} (limit {limit}), then "
            f"{first.get('state')}{more}"]


def _check_lines(checks: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, outcome in checks.items():
        passed = outcome.get("passed") if isinstance(outcome, Mapping) else outcome
        said = outcome.get("result") if isinstance(outcome, Mapping) else None
        word = said or ("see the notebook" if not isinstance(passed, bool) else "passed" if passed else "FAILED")
        finding = outcome.get("finding") if isinstance(outcome, Mapping) else None
        lines.append(f"{name:<14}{word}" + (f": {finding}" if finding else ""))
    return lines
