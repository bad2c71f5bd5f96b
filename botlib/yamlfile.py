"""Parameter files: YAML 1.2, so that ON, NO and 9:30 stay text, 1e-3 is a number and 010 is ten.

Duplicate names are an error, a date becomes its ISO text, and whatever is wrong is one sentence with file, line and
column.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from botlib.errors import InputError

MAX_DEPTH, MAX_VALUES = 20, 100_000


def parse(text: str, where: str) -> Any:
    """The value of a YAML 1.2 text; ``where`` names it in error messages.

    Raises
    ------
    InputError
        Broken YAML, a duplicate name, a tag, more than one document; an alias inside its own anchor, values nested
        deeper than 20 levels, or more than 100,000 of them once aliases are written out.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    try:
        _refuse_endless(YAML(typ="safe", pure=True).parse(text), where)
        value = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        # What is never closed shows at the end of the file; where it was opened helps.
        unclosed = "end of stream" in str(error.problem) or "<stream end>" in str(error.problem)
        mark = (unclosed and error.context_mark) or error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark is not None else where
        raise InputError(f"{place}: {_plainly(error)}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{where}, line {line}: a character that YAML does not allow ({error.character}).") from None
    except InputError:
        raise
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: this is not valid YAML ({str(error).splitlines()[0]}).") from None
    return _plain(value, where)


def _refuse_endless(events: Iterable[Any], where: str) -> None:
    """Refuse what could never be built, or not in this memory, before anything of it is built."""
    sizes: dict[str, int] = {}  # values below each anchor that is complete, aliases written out
    open_: list[tuple[str | None, int]] = []  # anchor of each collection around this place, and values before it
    count = 0
    for event in events:
        kind, anchor = type(event).__name__, getattr(event, "anchor", None)
        place = f"{where}, line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"
        if kind != "AliasEvent" and anchor in sizes:
            raise InputError(f"{place}: the anchor &{anchor} stands here a second time; give it another name.")
        if kind == "AliasEvent":
            if anchor in (name for name, _ in open_):
                raise InputError(f"{place}: *{anchor} stands inside &{anchor} itself and would never end; take it out.")
            count += sizes.get(anchor or "", 1)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            open_.append((anchor, count))
            if len(open_) > MAX_DEPTH:
                raise InputError(f"{place}: nested deeper than {MAX_DEPTH} levels; parameters need two or three.")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            name, before = open_.pop()
            count += 1
            if name:
                sizes[name] = count - before
        elif kind == "ScalarEvent":
            count += 1
            if anchor:
                sizes[anchor] = 1
        if count > MAX_VALUES:
            raise InputError(f"{place}: more than {MAX_VALUES:,} values with aliases (*name) written out; a parameter "
                             "file has some dozens.")


def _plainly(error: Any) -> str:
    problem, context = str(error.problem or "broken YAML"), str(error.context or "")
    if "duplicate key" in problem:
        return f"the name {problem.split(chr(34))[1]!r} stands here twice; keep one."
    if "\\t" in problem:
        return "a tab; YAML indents with spaces."
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line, or a line indented too far; put text that holds ': ' in quotes."
    if "could not determine a constructor" in problem:
        return f"the tag {problem.rsplit(' ', 1)[-1]} is not allowed; use plain values."
    if "expected a single document" in context:
        return "a second document ('---'); one file is one set of parameters."
    if "unexpected end of stream" in problem:
        return "a quote is opened here and never closed."
    if "<stream end>" in problem:
        return "a bracket is opened here and never closed."
    return f"broken YAML: {problem}" + (f", {context}." if context else ".")


def _plain(value: Any, where: str) -> Any:
    """Only what a notebook's literal can be: maps with text names, lists, text, numbers, true, false, null."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"{where}: {key!r} is used as a name, and names are text; write it in quotes.")
        return {key: _plain(inner, where) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, where) for inner in value]
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InputError(f"{where}: a value of type {type(value).__name__}; use text, numbers, true, false, null, lists "
                     "and maps.")


def read(path: Path, where: str) -> dict[str, Any]:
    """The map in a YAML file; an empty file is an empty map.

    Raises
    ------
    InputError
        The file cannot be read, is not UTF-8, is broken, or is no map of names to values.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{where}: the file is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror}).") from None
    value = parse(text, where)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: it holds {_kind(value)}; a parameter file is a map, one 'name: value' a line.")
    return value


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the single value {value!r}"


def dump(values: Mapping[str, Any], *, comments: Mapping[str, str] | None = None, head: str = "") -> str:
    """``values`` as YAML that every version of YAML reads alike: all text is in quotes.

    ``comments`` maps top-level names to a comment above them, ``head`` is a comment above everything.
    """
    from ruamel.yaml import YAML
    document = _quoted(values)
    for key, text in (comments or {}).items():
        if key in document:
            document.yaml_set_comment_before_after_key(key, before=text)
    yaml = YAML()
    yaml.width = 10_000
    stream = io.StringIO()
    yaml.dump(document, stream)
    return "".join(f"# {line}\n" for line in head.splitlines()) + stream.getvalue()


_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _is_plain(key: str) -> bool:
    return key.isidentifier() and key.isascii() and key.lower() not in _WORDS


def _quoted(value: Any) -> Any:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        return CommentedMap({key if _is_plain(key) else _quoted(key): _quoted(inner) for key, inner in value.items()})
    if isinstance(value, (list, tuple)):
        sequence = CommentedSeq([_quoted(inner) for inner in value])
        sequence.fa.set_flow_style()
        return sequence
    return value
