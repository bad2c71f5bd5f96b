"""A notebook's ``parameters`` cell: read and rewritten as text, never executed.

The cell holds one ``name = literal  # comment`` a line; its values are the notebook's defaults.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botlib.errors import InputError

TAG = "parameters"
INJECTED_TAG = "injected-parameters"
WIDTH = 100  # characters of a cell that a notebook shows without scrolling
OUTPUT_DIR = "output_dir"
"""Where the notebook writes its results; empty: nowhere. Set by the runner, no parameter."""
SESSION_ID = "session_id"
"""Of a session's notebook: the recorded session that it shows; empty: it starts one. No parameter either."""
KIND = "kind"
"""Of a session's notebook: paper or live."""
OWN = (OUTPUT_DIR, SESSION_ID, KIND)
"""Names in the cell that are the notebook's own and no parameters."""

_TAKES_ALL = re.compile(r"\b(parameters|from_notebook)\(globals\(\)\)")


def read(path: Path, where: str) -> str:
    """A notebook file's text, byte for byte.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise InputError(f"notebook {where}: this file is not a Jupyter notebook.") from None
    except OSError as error:
        raise InputError(f"notebook {where}: cannot be read ({error.strerror}).") from None


def parse(text: str, where: str) -> Any:
    """The notebook in a text, as nbformat's node (version 4).

    Raises
    ------
    InputError
        The text is no notebook.
    """
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about cells without an id, which nbformat adds
            return nbformat.reads(text, as_version=4)
    except Exception:  # nbformat raises whatever its parsers do; for a person it is all one
        raise InputError(f"notebook {where}: this file is not a Jupyter notebook.") from None


def tagged(notebook: Any, tag: str) -> Any:
    """The first code cell with this tag, or None."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and tag in cell.metadata.get("tags", []):
            return cell
    return None


def defaults(notebook: Any, where: str) -> dict[str, Any]:
    """Names and values of the ``parameters`` cell.

    Raises
    ------
    InputError
        No such cell, or a line in it that is more than ``name = literal``.
    """
    cell = tagged(notebook, TAG)
    if cell is None:
        raise InputError(f"notebook {where}: no cell is tagged '{TAG}'; tag the cell that holds its defaults.")
    return {name: value for name, value, _ in _assignments(cell.source, where)}


def defaults_in(text: str, where: str) -> dict[str, Any]:
    """As `defaults`, from the notebook's text. It takes milliseconds where importing nbformat takes seconds.

    Raises `InputError` as `parse` and `defaults` do.
    """
    try:
        code = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        source = [c for c in code if TAG in c["metadata"].get("tags", [])][0]["source"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # not of today's form: nbformat knows more
        return defaults(parse(text, where), where)
    source = source if isinstance(source, str) else "".join(source)
    return {name: value for name, value, _ in _assignments(source, where)}


def takes_all(text: str) -> bool:
    """Whether a notebook's code hands all its variables to a schema: then it takes parameters that its cell leaves out,
    too."""
    return _TAKES_ALL.search(text) is not None


def _assignments(source: str, where: str) -> list[tuple[str, Any, ast.expr]]:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(f"notebook {where}: line {line} of its '{TAG}' cell is not valid Python.") from None
    found: dict[str, tuple[str, Any, ast.expr]] = {}
    for statement in body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else \
            statement.target if isinstance(statement, ast.AnnAssign) else None
        value = getattr(statement, "value", None)
        try:
            if not isinstance(target, ast.Name) or value is None:
                raise ValueError
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise InputError(f"notebook {where}: line {statement.lineno} of its '{TAG}' cell must be 'name = literal'; "
                             "it is read without being run.") from None
        if target.id in found:
            raise InputError(f"notebook {where}: {target.id} is set twice in its '{TAG}' cell; keep one.")
        found[target.id] = (target.id, literal, value)
    return list(found.values())


def rewritten(source: str, values: Mapping[str, Any], where: str) -> str:
    """The cell's text with these values in place of its own; comments, layout and what does not change stay. Names that
    the cell does not have come at its end."""
    lines = source.encode().splitlines(keepends=True)  # ast counts columns in bytes
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text = source.encode()
    known = _assignments(source, where)
    for name, old, node in reversed(known):
        if name in values and repr(values[name]) != repr(old):
            assert node.end_lineno is not None and node.end_col_offset is not None
            begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            comment = text[end:].split(b"\n", 1)[0].decode()
            text = text[:begin] + literal(values[name], node.col_offset, len(comment)).encode() + text[end:]
    more = [f"{name} = {literal(value, len(name) + 3)}" for name, value in values.items()
            if name not in {one for one, _, _ in known}]
    return "\n".join([text.decode().rstrip("\n"), *more]) if more else text.decode()


def literal(value: Any, indent: int = 0, after: int = 0) -> str:
    """Maps, lists, text, numbers, booleans and None as Python, in double quotes.

    What begins at column ``indent`` and has ``after`` characters behind it is spread over lines of up to 100.
    """
    whole = _literal(value)
    if indent + len(whole) + after <= WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        return whole
    items = [f"{_literal(k)}: {_literal(v)}" for k, v in value.items()] if isinstance(value, Mapping) else \
        [_literal(v) for v in value]
    lines = [items[0]]
    for n, item in enumerate(items[1:], 2):
        behind = after if n == len(items) else 0
        if indent + 1 + len(lines[-1]) + 2 + len(item) + 1 + behind <= WIDTH:
            lines[-1] += f", {item}"
        else:
            lines.append(item)
    return whole[0] + f",\n{' ' * (indent + 1)}".join(lines) + whole[-1]


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def draft(notebook: Any, values: Mapping[str, Any], where: str) -> Any:
    """The notebook with these values in its ``parameters`` cell, without outputs and without an injected cell."""
    notebook = copy.deepcopy(notebook)
    notebook.cells = [c for c in notebook.cells
                      if INJECTED_TAG not in c.metadata.get("tags", [])
                      and "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    cell = tagged(notebook, TAG)
    cell.source = rewritten(cell.source, values, where)
    return notebook
