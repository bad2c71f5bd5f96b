"""What a change of parameters must pass before it is recommended. Pure; each gate says its figures in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botlib.learning.candidates import Candidates, bounded
from botlib.tuning.judging import Honesty
from botlib.wording import plural


@dataclass(frozen=True)
class Gate:
    """One condition: whether it is met, and in which figures."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Record:
    """An account over the out-of-sample windows, one after the other, net of costs.

    Attributes
    ----------
    sharpe : float
        Annualised; NaN where nothing moved.
    return_pct, drawdown_pct : float
    trades : int
    returns_pct : tuple of float
        Of each window.
    """

    sharpe: float
    return_pct: float
    drawdown_pct: float
    trades: int
    returns_pct: tuple[float, ...]


def better(current: Record, learned: Record, first: str, last: str) -> Gate:
    """Out of sample, Sharpe ratio and total return are both above those of the parameters that are set."""
    pairs = list(zip(current.returns_pct, learned.returns_pct, strict=True))
    won, lost = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
    said = (f"Sharpe ratio {ratio(learned.sharpe)} against {ratio(current.sharpe)} with the current parameters, total "
            f"return {learned.return_pct:.1f} % against {current.return_pct:.1f} %, net of costs, {first} to {last}; "
            f"better in {won} and worse in {lost} of {plural(len(pairs), 'window')}.")
    if math.isnan(learned.sharpe):
        return Gate("out of sample", False, f"Re-estimated parameters traded nothing out of sample. {said}")
    base = 0.0 if math.isnan(current.sharpe) else current.sharpe
    return Gate("out of sample", learned.sharpe > base and learned.return_pct > current.return_pct, said)


def deflated(found: Honesty, least: float) -> Gate:
    """The deflated Sharpe ratio of the proposed point over all bars is high enough."""
    if math.isnan(found.deflated):
        return Gate("deflated Sharpe", False,
                    "It is not defined: fewer than two points, or not the proposed one, traded.")
    return Gate("deflated Sharpe", found.deflated >= least,
                f"{found.deflated:.3f}, at least {least:g} wanted: the chance that a Sharpe ratio of "
                f"{ratio(found.sharpe)} over {found.years:.1f} years is more than the luck of "
                f"{plural(found.trials, 'trial')}, worth {found.effective:,.1f} independent.")


def plateau(own: float, around: Sequence[float], drop_pct: float) -> Gate:
    """The points next to the proposed one do nearly as well on the bars it was chosen on.

    Parameters
    ----------
    own : float
        Sharpe ratio of the point; it must be above 0 for "nearly" to mean anything.
    around : sequence of float
        Of its neighbours, one step along each parameter; NaN (nothing traded) counts as 0.
    """
    known = sorted(0.0 if math.isnan(v) else v for v in around)
    if not known or not own > 0.0:
        why = "it has no neighbours" if not known else f"its own Sharpe ratio is {ratio(own)}, not above 0"
        return Gate("plateau", False, f"There is no plateau to speak of: {why}.")
    half = len(known) // 2
    middle = known[half] if len(known) % 2 else 0.5 * (known[half - 1] + known[half])
    bound = own * (1.0 - drop_pct / 100.0)
    return Gate("plateau", middle >= bound,
                f"Sharpe ratio {ratio(own)}; the {plural(len(known), 'point')} next to it: {ratio(middle)} in the "
                f"middle, at least {ratio(bound)} wanted, {ratio(known[0])} the lowest.")


def change(given: Candidates, proposed: Mapping[str, Any], most_pct: float) -> Gate:
    """No parameter moves further than it may in one go."""
    moved = {name: (given.current[name], proposed[name]) for name in given.values
             if proposed[name] != given.current[name]}
    if not moved:
        return Gate("bounded change", True, "Nothing changes.")
    good = all(bounded(a, b, given.ladders[name], most_pct) for name, (a, b) in moved.items())
    listed = ", ".join(f"{name} {a:g} to {b:g}{_percent(a, b)}" for name, (a, b) in moved.items())
    return Gate("bounded change", good, f"{listed}; at most {most_pct:g} %, or one step, is allowed in one go.")


def advice(gates: Sequence[Gate], changes: int) -> tuple[str, str]:
    """("accept" or "keep", why in a sentence)."""
    failed = [gate.name for gate in gates if not gate.passed]
    if not changes:
        return "keep", "Keep the current parameters: the search came back to them."
    if failed:
        return "keep", (f"Keep the current parameters: {plural(len(failed), 'gate')} of {len(gates)} "
                        f"{'is' if len(failed) == 1 else 'are'} not passed ({', '.join(failed)}).")
    return "accept", f"Accept the proposed parameters: all {len(gates)} gates are passed."


def ratio(value: float) -> str:
    """A Sharpe ratio in words of a file."""
    return "undefined" if math.isnan(value) else f"{value:.2f}"


def _percent(before: float, after: float) -> str:
    return f" ({100.0 * (after / before - 1.0):+.0f} %)" if before else ""
