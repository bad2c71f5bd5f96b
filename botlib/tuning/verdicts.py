"""The honesty of a search in words: four questions, each with a figure, a verdict and what it means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from botlib.tuning.judging import Honesty
from botlib.wording import NOTHING, plural, typeset

Word = Literal["good", "doubtful", "bad", "unknown"]

LIKELY, EVEN = 0.95, 0.5
"""Deflated Sharpe ratio from which it is good, and below which it is bad."""
SOME_OVERFIT, OVERFIT = 0.2, 0.5
"""PBO up to which it is good, and from which it is bad: 0.5 is what choosing by chance gives."""
SOME_DECAY, DECAY = 0.3, 0.7
"""Part of the Sharpe ratio that may be gone out of sample, and from which it is bad."""


@dataclass(frozen=True)
class Verdict:
    """One question.

    Attributes
    ----------
    name : str
        What is measured, in the field's term.
    figure : str
    word : str
    meaning : str
        A sentence.
    """

    name: str
    figure: str
    word: Word
    meaning: str


def verdicts(found: Honesty, sharpe_out: float, *, pending: bool = False) -> list[Verdict]:
    """Of a point: trials, deflated Sharpe ratio, PBO, out-of-sample decay.

    Parameters
    ----------
    sharpe_out : float
        Annualised, out of sample.
    pending : bool
        Some of it is still being worked out.
    """
    return [_trials(found, pending), _deflated(found, pending), _overfit(found, pending), _decay(found, sharpe_out)]


def _gone(sharpe_in: float, sharpe_out: float) -> float:
    """The part of the Sharpe ratio that is gone out of sample; NaN unless it was above 0 in sample."""
    return 1.0 - sharpe_out / sharpe_in if sharpe_in > 0.0 else math.nan


def _trials(found: Honesty, pending: bool) -> Verdict:
    name, count = "Trials", f"{found.trials:,}"
    if math.isnan(found.effective):
        return Verdict(name, count, "unknown", _why(pending))
    length = f"{found.years:.1f} years in sample; so many tries ask for {found.needed_years:.1f}"
    word: Word = "good" if found.years >= found.needed_years else "bad"
    rest = "before luck alone is expected to reach a Sharpe ratio of 1." if word == "good" else \
        "or luck alone is expected to reach a Sharpe ratio of 1."
    return Verdict(name, f"{count}, worth {found.effective:,.0f} independent", word, f"{length} {rest}")


def _deflated(found: Honesty, pending: bool) -> Verdict:
    name = "Deflated Sharpe ratio"
    if math.isnan(found.deflated):
        return Verdict(name, NOTHING, "unknown", _why(pending))
    word: Word = "good" if found.deflated >= LIKELY else "doubtful" if found.deflated >= EVEN else "bad"
    return Verdict(name, _percent(found.deflated), word,
                   f"The chance that a Sharpe ratio of {_number(found.sharpe)} in sample is more than the luck of so "
                   f"many tries; {_percent(LIKELY)} is wanted.")


def _overfit(found: Honesty, pending: bool) -> Verdict:
    name = "Overfitting (PBO)"
    if math.isnan(found.pbo):
        return Verdict(name, NOTHING, "unknown", _why(pending))
    word: Word = "good" if found.pbo <= SOME_OVERFIT else "doubtful" if found.pbo < OVERFIT else "bad"
    return Verdict(name, _percent(found.pbo), word,
                   "How often the best point of this surface in one half of the data is no better than the middle one "
                   "in the other half; choosing blindly gives 50 %.")


def _decay(found: Honesty, sharpe_out: float) -> Verdict:
    name, gone = "Out of sample", _gone(found.sharpe, sharpe_out)
    figure = f"Sharpe ratio {_number(found.sharpe)} in, {_number(sharpe_out)} out"
    if math.isnan(found.sharpe) or math.isnan(sharpe_out):
        return Verdict(name, figure, "unknown", "Without a trade in both parts there is nothing to compare.")
    if math.isnan(gone):
        return Verdict(name, figure, "bad", "It did not earn anything in sample, so nothing can last.")
    word: Word = "good" if gone <= SOME_DECAY else "doubtful" if gone < DECAY else "bad"
    if gone <= 0.0:
        meaning = "Nothing of it is lost on data that the search did not see."
    elif gone >= 1.0:
        meaning = "All of it is lost on data that the search did not see."
    else:
        meaning = f"{_percent(gone)} of it is lost on data that the search did not see."
    return Verdict(name, figure, word, f"{meaning} Each look makes this less of a test.")


def _why(pending: bool) -> str:
    return "Being worked out ..." if pending else "Fewer than two points of the surface, or not this one, traded."


def _percent(value: float) -> str:
    return f"{100.0 * value:.0f} %"


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else typeset(f"{value:.2f}")


def plateau_words(median: float, lowest: float, cells: int) -> str:
    """What lies around a point."""
    if math.isnan(median):
        return "Nothing around this point traded."
    return (f"The {plural(cells, 'point')} here and next to it: {_number(median)} in the middle, {_number(lowest)} at "
            "least.")
