"""What cells print: starred, into the log, told line by line, and kept short in the notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Any

from botlib import hygiene

HEAD, TAIL = 200_000, 1_000_000
"""Characters at the beginning and the end of what a cell prints that its notebook keeps; the log has all."""


def short(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs of a cell as they are kept: what is printed in a row is one output, and a very long one is cut."""
    kept: list[dict[str, Any]] = []
    for one in outputs:
        if one["output_type"] != "stream":
            kept.append(one)
            continue
        text = one["text"] if isinstance(one["text"], str) else "".join(one["text"])
        if kept and kept[-1]["output_type"] == "stream" and kept[-1]["name"] == one["name"]:
            kept[-1]["texts"].append(text)
        else:
            kept.append({**one, "texts": [text]})
    for one in kept:
        if "texts" in one:
            one["text"] = _cut("".join(one.pop("texts")))
    return kept


def _cut(text: str) -> str:
    if len(text) <= HEAD + TAIL:
        return text
    head, tail = text[:text.rfind("\n", 0, HEAD) + 1 or HEAD], text[-TAIL:]
    tail = tail[tail.find("\n") + 1:]
    left = text.count("\n") - head.count("\n") - tail.count("\n")
    return f"{head}... {left:,} lines are left out here; run.log beside this notebook has them all ...\n{tail}"


class MaskedStream:
    """What cells print, starred, into the log and, line by line, to whoever listens."""

    def __init__(self, stream: IO[str], secrets: Sequence[str], say: Callable[[str], Any] | None = None) -> None:
        self.stream, self.secrets, self.say, self._rest = stream, secrets, say, ""

    def write(self, text: str) -> None:
        text = hygiene.mask(text, self.secrets)
        self.stream.write(text)
        if self.say is not None:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self.say(line)

    def flush(self) -> None:
        self.stream.flush()

    def end(self) -> None:
        """Say what has no end of line."""
        if self.say is not None and self._rest:
            self.say(self._rest)
            self._rest = ""
