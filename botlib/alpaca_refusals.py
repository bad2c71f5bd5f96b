"""A rule of `alpaca_catalogue` as an answer with the values of its case, and the rule of an answer found again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from string import Formatter
from typing import Any

from botlib.alpaca_catalogue import RULES


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that an order breaks."""

    rule: str
    """Its name in `RULES`."""
    status: int
    code: int | None
    message: str
    """Alpaca's words."""
    advice: str
    """Ours: one sentence that says what to do."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What the body carries beside code and message, e.g. ``base_price``."""

    def body(self) -> dict[str, Any]:
        """The JSON body of Alpaca's answer, its keys in order of the alphabet as Alpaca's are."""
        known: dict[str, Any] = {**self.fields, "message": self.message}
        if self.code is not None:
            known["code"] = self.code
        return dict(sorted(known.items()))


def refuse(rule: str, fields: Mapping[str, str] | None = None, **values: object) -> Violation:
    """The `Violation` of a rule of `RULES`, with ``values`` put into its message, and these and ``fields`` into its
    advice."""
    known = RULES[rule]
    status, code = known.answer
    return Violation(rule, status, code, known.message.format(**values), advise(rule, {**(fields or {}), **values}),
                     fields or {})


def advise(rule: str, values: Mapping[str, object]) -> str:
    """What to do about a broken rule, as precisely as the values that are known allow."""
    known, derive = RULES[rule], _DERIVED.get(rule)
    try:
        return known.advice.format(**{**values, **(derive(values) if derive else {})})
    except KeyError:
        return known.general


def recognised(message: str) -> tuple[str, dict[str, str]] | None:
    """(rule, values in the message) of a refusal in Alpaca's words; None: no rule of `RULES`."""
    text = message.strip().rstrip(".")
    for rule, pattern in _patterns().items():
        if found := pattern.fullmatch(text):
            return rule, found.groupdict()
    for rule, known in RULES.items():  # with more around it
        if "{" not in known.message and known.message.lower() in text.lower():
            return rule, {}
    return None


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    def pattern(message: str) -> str:
        parts = ((re.escape(text), name) for text, name, _, _ in Formatter().parse(message))
        return "".join(text + (f"(?P<{name}>.+?)" if name else "") for text, name in parts)

    return {rule: re.compile(pattern(known.message.rstrip(".")), re.IGNORECASE) for rule, known in RULES.items()}


def _stop_side(values: Mapping[str, object]) -> dict[str, object]:
    buys = values["word"] == "greater"
    return {"side": "buy" if buys else "sell", "where": "above" if buys else "below",
            "other": "below" if buys else "above"}


def _leg_side(values: Mapping[str, object]) -> dict[str, object]:
    """Where a leg must lie, of Alpaca's sign; its base where only the price is known."""
    made: dict[str, object] = {} if "word" in values else {"word": "above" if values["sign"] == ">=" else "below"}
    if "base" not in values and "base_price" in values:
        made["base"] = f"price of {values['base_price']} that Alpaca goes by (the entry's limit, or the market's)"
    return made


_DERIVED: dict[str, Callable[[Mapping[str, object]], dict[str, object]]] = {
    "stop-wrong-side": _stop_side, "bracket-wrong-side": _leg_side}
