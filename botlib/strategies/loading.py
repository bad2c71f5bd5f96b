"""Strategies by name: from the shipped ones, a file, a package or a notebook; described, checked and identified."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import inspect
import json
import linecache
import numbers
import sys
import traceback
import types
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from botlib.errors import BotlibError, InputError, StrategyError, nearest
from botlib.strategies import SHIPPED
from botlib.strategies.base import Strategy, allowed_kinds, check_class, check_names, check_parameters, parameters
from botlib.strategies.members import with_members

# Source text of classes that were loaded from a file; such a module is not in sys.modules, where inspect would look.
_SOURCES: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


def load(spec: Any, params: Mapping[str, Any] | None = None, *, root: str | Path = ".") -> Any:
    """The strategy that ``spec`` names, with ``params`` in place of its defaults.

    Parameters
    ----------
    spec : str, class or instance
        A shipped name (see `SHIPPED`), ``"path/to/file.py:Class"`` (relative to ``root``; the file is executed afresh
        and cannot be imported afterwards), ``"package.module:Class"``, or a strategy class or instance.
    params : mapping of str, optional
        Parameters by name; what is left out keeps its default (an instance's own value).
    root : path
        Folder that relative paths start from and in which packages are looked for too.

    Raises
    ------
    StrategyError
        No such strategy, a file that raises, a class that is no strategy.
    InputError
        An unknown parameter, a value of the wrong type or out of range.
    """
    cls = _find(spec, Path(root)) if isinstance(spec, str) else spec if isinstance(spec, type) else type(spec)
    check_class(cls)
    values = with_members(cls, _known_parameters(cls, params or {}), partial(load, root=root))
    strategy = _build(cls, spec if isinstance(spec, cls) else None, values)
    check_parameters(strategy)
    _check_warmup(strategy)
    return strategy


def describe(strategy: Any) -> pd.DataFrame:
    """Parameters of a strategy class (or instance): one row each, columns type, default, low, high, help.

    An instance shows its own values as defaults; low and high are NaN where there is no bound.
    """
    cls = strategy if isinstance(strategy, type) else type(strategy)
    check_class(cls)
    rows = []
    for field in _parameters(cls):
        default = getattr(strategy, field.name, None) if field.default is dataclasses.MISSING else field.default
        if not isinstance(strategy, type):
            default = getattr(strategy, field.name)
        kinds = " | ".join("None" if k is type(None) else k.__name__ if isinstance(k, type) else repr(k)
                           for k in allowed_kinds(field, cls))
        low, high = (field.metadata.get(k) for k in ("low", "high"))
        rows.append((field.name, kinds, default, float("nan") if low is None else float(low),
                     float("nan") if high is None else float(high), field.metadata.get("help", "")))
    frame = pd.DataFrame(rows, columns=["parameter", "type", "default", "low", "high", "help"])
    frame["default"] = pd.Series([r[2] for r in rows], dtype=object)
    return frame.set_index("parameter")


def strategy_hash(strategy: Any) -> str:
    """sha256 (hex) of what the strategy is: its source and its parameter values. The same in every process.

    The source is that of the class and of those it inherits from, up to `Strategy`: the whole module of a class in a
    file or package, the class statement of one in a notebook cell, the bytecode where there is no source at all. A
    strategy that holds others, as `botlib.Blend` does, counts the hashes of these.
    """
    cls = type(strategy)
    identity = {
        "scheme": 1,
        "sources": _sources(cls),
        "parameters": {field.name: _identity(getattr(strategy, field.name)) for field in _parameters(cls)},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def source_hash(cls: type) -> str:
    """sha256 (hex) of a strategy's source alone, whatever its parameters are."""
    return hashlib.sha256(json.dumps({"scheme": 1, "sources": _sources(cls)}, sort_keys=True).encode()).hexdigest()


def _sources(cls: type) -> list[list[str]]:
    return [[base.__qualname__, _source(base)] for base in cls.__mro__ if not _is_foundation(base)]


# --- finding the class ---------------------------------------------------------------------------------------------


def _find(spec: str, root: Path) -> type:
    place, _, name = SHIPPED.get(spec, spec).rpartition(":")
    if spec.endswith(".py"):
        found = _class_names(_text(spec, root)[0], spec)
        example = f"{spec}:{found[0] if found else 'Class'}"
        raise StrategyError(f"strategy '{spec}' names a file but no class: write '{example}'.{_listed(found)}")
    if not place or not name:
        raise StrategyError(f"unknown strategy '{spec}'{nearest(spec, SHIPPED) or '.'} Shipped: {', '.join(SHIPPED)}. "
                            "Your own: 'path/to/file.py:Class' or 'package.module:Class'.")
    if place.endswith(".py") or "/" in place or "\\" in place:
        source, path = _text(place, root)
        module = _execute(source, path, place)
    else:
        source, module = None, _import(place, root)
    candidates = {k: v for k, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__}
    if source is not None:
        for cls in candidates.values():
            _SOURCES[cls] = source
    found_cls = vars(module).get(name)
    if not isinstance(found_cls, type):
        found = [k for k, v in candidates.items() if hasattr(v, "targets") or hasattr(v, "on_bar")]
        raise StrategyError(f"{place} has no class '{name}'{nearest(name, found) or '.'}{_listed(found)}")
    return found_cls


def _text(place: str, root: Path) -> tuple[str, Path]:
    """Source text and path of a strategy file."""
    path = root / place
    if not path.is_file():
        near = nearest(path.name, (p.name for p in path.parent.glob("*.py"))) if path.parent.is_dir() else ""
        raise StrategyError(f"no strategy file '{place}' in {root.resolve()}{near or '.'}")
    try:
        return path.read_text(encoding="utf-8"), path
    except (OSError, UnicodeDecodeError) as error:
        raise StrategyError(f"{place} cannot be read: {error}.") from None


def _execute(source: str, path: Path, place: str) -> types.ModuleType:
    """Run a strategy file as a private module; nothing of it stays in sys.modules or on disk."""
    name = f"_botlib_strategy_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their annotations up there
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BotlibError:
        raise
    except (Exception, SystemExit) as error:
        raise StrategyError(f"{_where(error, str(path), place)}: {_said(error)}") from None
    finally:
        del sys.modules[name]
    return module


def _import(place: str, root: Path) -> types.ModuleType:
    sys.path.insert(0, str(root.resolve()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            raise StrategyError(f"no module '{place}' to load a strategy from (missing: '{error.name}'); a file is "
                                "named as 'path/to/file.py:Class'.") from None
        raise StrategyError(f"{_where(error, None, place)}: {_said(error)}") from None
    except BotlibError:
        raise
    except (Exception, SystemExit) as error:
        raise StrategyError(f"{_where(error, None, place)}: {_said(error)}") from None
    finally:
        sys.path.remove(str(root.resolve()))


def _where(error: BaseException, filename: str | None, place: str) -> str:
    """``"ideas.py, line 7"``: the innermost line of the user's own code that an error passed through."""
    if isinstance(error, SyntaxError) and error.filename == (filename or error.filename):
        return f"{place if filename else error.filename}, line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == filename
              or (filename is None and "importlib" not in f.filename and f.filename != __file__)]
    if not frames:
        return place
    return f"{place if filename else frames[-1].filename}, line {frames[-1].lineno}"


def _said(error: BaseException) -> str:
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _class_names(source: str, place: str) -> list[str]:
    try:
        return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    except SyntaxError as error:
        raise StrategyError(f"{place}, line {error.lineno}: {_said(error)}") from None


def _listed(found: list[str]) -> str:
    return f" Found: {', '.join(found)}." if found else " It defines no strategy."


# --- parameters ----------------------------------------------------------------------------------------------------


def _parameters(cls: type) -> list[dataclasses.Field[Any]]:
    return [field for field in parameters(cls) if field.init]


def _known_parameters(cls: type, params: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        raise InputError(f"strategy parameters must be a mapping of names to values, not {type(params).__name__}.")
    check_names(cls, params)
    return dict(params)


def _build(cls: type, instance: Any, values: dict[str, Any]) -> Any:
    if instance is not None:
        return dataclasses.replace(instance, **values) if values else instance
    missing = [f.name for f in _parameters(cls) if f.name not in values
               and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if missing:
        raise InputError(f"{cls.__name__} needs the parameter '{missing[0]}', which has no default.")
    try:
        return cls(**values)
    except BotlibError:
        raise
    except Exception as error:
        raise StrategyError(f"{cls.__name__} refused its parameters: {_said(error)}") from None


def _check_warmup(strategy: Any) -> None:
    name = type(strategy).__name__
    try:
        warmup = strategy.warmup
    except Exception as error:
        raise StrategyError(f"{name}.warmup raised {_said(error)}.") from None
    if not isinstance(warmup, numbers.Integral) or isinstance(warmup, bool) or warmup < 0:
        if callable(warmup):
            raise StrategyError(f"{name}.warmup is a method: write @property above it.")
        raise StrategyError(f"{name}.warmup = {warmup!r}: it must be a whole number of bars, 0 or more.")


# --- identity ------------------------------------------------------------------------------------------------------


def _identity(value: Any) -> Any:
    """A parameter as text; of a strategy its hash, which its own text does not cover."""
    if hasattr(value, "targets") or hasattr(value, "on_bar"):
        return strategy_hash(value)
    if isinstance(value, tuple) and any(hasattr(one, "targets") for one in value):
        return [_identity(one) for one in value]
    return repr(value)


def _is_foundation(cls: type) -> bool:
    return cls.__module__ in ("builtins", "typing", "abc", Strategy.__module__)


def _source(cls: type) -> str:
    if cls in _SOURCES:
        return _SOURCES[cls]
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    written_in = {Path(f.__code__.co_filename).resolve() for f in _functions(cls)}
    if module and file and (not written_in or Path(file).resolve() in written_in):
        try:
            return inspect.getsource(module)
        except (OSError, TypeError):
            pass
    return _cell_source(cls) or _bytecode(cls)


def _functions(cls: type) -> Iterator[types.FunctionType]:
    """The functions written in the class body, also behind property, classmethod and staticmethod.

    Not those that the dataclass decorator wrote, which follow from the fields.
    """
    for name, member in sorted(vars(cls).items()):
        inner = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        if not isinstance(inner, types.FunctionType):
            continue
        if not (name.startswith("__") and inner.__code__.co_filename == "<string>"):
            yield inner


def _cell_source(cls: type) -> str | None:
    """The statement of a class in a notebook cell; the kernel keeps the cells' text for tracebacks."""
    for function in _functions(cls):
        code = function.__code__
        text = "".join(linecache.getlines(code.co_filename))
        try:
            nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
        except SyntaxError:
            continue
        for node in nodes:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= code.co_firstlineno <= (node.end_lineno or 0):
                return "\n".join(text.splitlines()[first - 1:node.end_lineno])
    return None


def _bytecode(cls: type) -> str:
    """What a class without source does, as text; not comparable between Python versions."""
    plain = {k: repr(v) for k, v in vars(cls).items() if isinstance(v, (int, float, str, bool, tuple, type(None)))
             and k not in ("__module__", "__doc__", "__firstlineno__")}
    code = {f.__name__: _code(f.__code__) for f in _functions(cls)}
    return json.dumps([plain, code], sort_keys=True)


def _code(code: types.CodeType) -> list[Any]:
    constants = [_constant(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)  # a set's order varies by process
