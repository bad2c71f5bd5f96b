"""A person accepts a proposal: its changes go into a parameter file, and what was there is kept to go back to.

Only the values that change are set; comments and all else stay. A session reads its parameters when it starts, so that
one that runs goes on as it began.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botlib import yamlfile
from botlib.errors import InputError
from botlib.learning.proposal import FOLDER, evidence_text, rounded
from botlib.project import existing_file, project_root, shown
from botlib.provenance import write_atomically
from botlib.tuner_save import read_evidence

MISSING = object()
SECTIONS = ("strategy", "risk", "costs")


@dataclass(frozen=True)
class Acceptance:
    """What accepting would do, and nothing done yet.

    Attributes
    ----------
    file, target : Path
        The proposal (or what was kept of an earlier file), and the file that it goes into.
    changes : dict
        By dotted name: what the target has, what it gets; `MISSING` where it has or gets none.
    old, text : str
        The target's text before and after.
    """

    root: Path
    file: Path
    target: Path
    evidence: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]
    old: str
    text: str

    def lines(self) -> list[str]:
        """For a person: what changes, one a line."""
        return [f"{name}: {_said(before)} -> {_said(after)}" for name, (before, after) in self.changes.items()]


def prepare(file: str | Path, *, into: str | Path | None = None, anyway: bool = False,
            root: str | Path | None = None) -> Acceptance:
    """Read a proposal and see what it would change.

    Parameters
    ----------
    into : path, optional
        The parameter file; None: the one that the proposal was made from.
    anyway : bool
        Also against its recommendation, and into a file that has changed since.

    Raises
    ------
    InputError
        It is no proposal, recommends to keep what is there, or was made from other parameters than the file has.
    """
    base = project_root(root)
    path = existing_file(file, base, "proposal")
    where = shown(path, base)
    values = yamlfile.read(path, where)
    said = read_evidence(path.read_text(encoding="utf-8-sig"))
    if said.get("kind") not in ("proposal", "backup") or not _are_changes(said.get("changes")):
        raise InputError(f"proposal {where}: this file holds no proposal; give one that python -m botlib learn wrote "
                         f"under {FOLDER}/.")
    if not said["changes"]:
        raise InputError(f"proposal {where}: it changes nothing. {said.get('because', '')}".rstrip())
    if said.get("recommendation") != "accept" and not anyway:
        raise InputError(f"proposal {where}: it recommends to keep what is there. {said.get('because', '')} "
                         "To take it nevertheless, say --anyway.")
    into = into or str(said.get("parameter_file") or "")
    if not into:
        raise InputError(f"proposal {where}: it was made without a parameter file; name the one it goes into with "
                         "--into parameters/NAME.yaml.")
    target = existing_file(into, base, "parameter file")
    there = shown(target, base)
    old = target.read_bytes().decode("utf-8-sig")
    held = yamlfile.read(target, there)
    changes = {name: (_dig(held, name), _dig(values, name)) for name in said["changes"]}
    _check_strategy(held, values, where, there)
    if not anyway:
        _check_unchanged(changes, said["changes"], where, there)
    changes = {name: pair for name, pair in changes.items() if not _same(*pair)}
    return Acceptance(base, path, target, said, changes, old, _changed(old, changes, values) if changes else old)


def accept(given: Acceptance) -> Path:
    """Do it; returns the file that keeps what was there. Accepting that file brings it back.

    Raises
    ------
    InputError
        The target has changed meanwhile, or cannot be written.
    """
    where = shown(given.target, given.root)
    if given.target.read_bytes().decode("utf-8-sig") != given.old:
        raise InputError(f"parameter file {where} has changed while you were asked: look at it and accept again.")
    kept = _kept(given, where)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not kept.exists():
            write_atomically(kept, _kept_text(given, where))
        write_atomically(given.target, given.text)
    except OSError as error:
        raise InputError(f"parameter file {where} cannot be written ({error.strerror}); it is as it was.") from None
    return kept


# --- what was there ---------------------------------------------------------------------------------------------------


def _kept(given: Acceptance, where: str) -> Path:
    digest = hashlib.sha256(_kept_text(given, where).encode()).hexdigest()[:8]
    return given.root / FOLDER / f"{given.target.stem}-before-{digest}.yaml"


def _kept_text(given: Acceptance, where: str) -> str:
    by = shown(given.file, given.root)
    said = {"kind": "backup", "recommendation": "accept", "because": f"It is what {where} was before {by}.",
            "parameter_file": where, "accepted": by,
            "changes": {name: {"from": _plain(after), "to": _plain(before)}
                        for name, (before, after) in given.changes.items()}}
    return (f"# {where} as it was before {by} was accepted. To go back: python -m botlib learn accept, and this file.\n"
            f"#\n{evidence_text(rounded(said))}\n{given.old}")


# --- checks -----------------------------------------------------------------------------------------------------------


def _are_changes(given: Any) -> bool:
    """By dotted name of a section that a proposal may touch; limits and what lets real money trade are none of them."""
    return isinstance(given, Mapping) and all(
        isinstance(pair, Mapping) and str(name).partition(".")[0] in SECTIONS and str(name).partition(".")[2]
        for name, pair in given.items())


def _check_strategy(held: Mapping[str, Any], values: Mapping[str, Any], where: str, there: str) -> None:
    mine, its = (_name(one.get("strategy")) for one in (held, values))
    if mine is not None and its is not None and mine != its:  # what was kept of a file may name none
        raise InputError(f"proposal {where} is for the strategy {its}, and {there} has {mine}; name another file with "
                         "--into.")


def _check_unchanged(changes: Mapping[str, tuple[Any, Any]], said: Mapping[str, Any], where: str, there: str) -> None:
    """The evidence compares with what was set then: it says nothing of another file."""
    for name, (before, after) in changes.items():
        expected = said[name].get("from")
        if before is not MISSING and not _same(before, after) and rounded(before) != rounded(expected):
            raise InputError(f"proposal {where} was made with {name} = {_said(expected)}, and {there} has "
                             f"{_said(before)} now: run python -m botlib learn again, or say --anyway.")


def _same(one: Any, other: Any) -> bool:
    return one is other or (one is not MISSING and other is not MISSING and bool(one == other))


# --- values in a file -------------------------------------------------------------------------------------------------


def _name(strategy: Any) -> Any:
    return strategy.get("name") if isinstance(strategy, Mapping) else strategy


def _dig(values: Mapping[str, Any], dotted: str) -> Any:
    section, _, name = dotted.partition(".")
    inner = values.get(section)
    return inner.get(name, MISSING) if isinstance(inner, Mapping) else MISSING


def _plain(value: Any) -> Any:
    return None if value is MISSING else value


def _said(value: Any) -> str:
    return "not there" if value is MISSING else "null" if value is None else f"{value}"


def _changed(text: str, changes: Mapping[str, tuple[Any, Any]], values: Mapping[str, Any]) -> str:
    """The text with these values set, its comments and layout kept."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.representer import RoundTripRepresenter
    from ruamel.yaml.util import load_yaml_guess_indent

    class Representer(RoundTripRepresenter):
        """Null is a word: an empty place looks forgotten."""

    Representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = Representer
    yaml.preserve_quotes, yaml.width = True, 10_000  # type: ignore[assignment]
    _, indent, offset = load_yaml_guess_indent(text)
    yaml.indent(mapping=_indent(text), sequence=indent or 2, offset=offset or 0)
    document = yaml.load(text)
    document = CommentedMap() if document is None else document
    for dotted, (_, after) in changes.items():
        section, _, name = dotted.partition(".")
        inner = document.get(section)
        if not isinstance(inner, Mapping):
            inner = document[section] = CommentedMap({"name": inner or _name(values[section])}
                                                     if section == "strategy" else {})
        if after is MISSING:
            inner.pop(name, None)
        else:
            inner[name] = after
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _indent(text: str) -> int:
    """Blanks before the first indented name."""
    for line in text.splitlines():
        bare = line.lstrip(" ")
        if bare and len(bare) < len(line) and bare[0] not in "#-":
            return len(line) - len(bare)
    return 2
