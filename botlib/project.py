"""Where a project is, and where its relative paths lead.

A project is a folder that holds ``parameters/``. Relative paths (parameter files, data files, strategies, outputs)
start there and never at the working folder, which is one thing in JupyterLab and another headless. The one exception is
a file that a person names on the command line (`typed_path`).
"""

from __future__ import annotations

import difflib
import importlib.machinery
import os
import sys
from pathlib import Path

from botlib.errors import InputError

ROOT_VARIABLE = "BOTLIB_ROOT"
"""Environment variable by which the runner tells a notebook's kernel which project it belongs to."""


def project_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The project's folder, absolute: ``root`` when given, else ``$BOTLIB_ROOT``, else the nearest parent of the
    working folder that holds ``parameters/``.

    Raises
    ------
    InputError
        The folder given does not exist, or no parent holds ``parameters/``.
    """
    given = root if root is not None else os.environ.get(ROOT_VARIABLE) or None
    if given is not None:
        path = Path(given).expanduser().resolve()
        if not path.is_dir():
            raise InputError(f"root = {str(given)!r}: there is no such folder; give the folder that holds parameters/.")
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "parameters").is_dir():
            return folder
    raise InputError(f"No project here: no folder from {here} upwards holds parameters/. Go to the project's folder or "
                     "name it with --root.")


def resolve(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Path:
    """``path`` as an absolute path; a relative one starts at the project's root, ``~`` is the home folder."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root(root) / path


def shown(path: Path, root: Path) -> str:
    """``path`` as a person reads it: relative when it lies in the project."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)


def existing_file(path: str | os.PathLike[str], root: Path, what: str) -> Path:
    """The absolute path of a file that must exist.

    Raises
    ------
    InputError
        There is no such file; names the nearest one beside it, or the same file under the working folder.
    """
    full = resolve(path, root)
    if full.is_file():
        return full
    if full.is_dir():
        raise InputError(f"{what} {shown(full, root)}: this is a folder; give a file in it.")
    if Path(path).is_file():
        hint = f". Relative paths start at the project, {root}; did you mean {Path(path).resolve()}?"
    elif full.parent.is_dir():
        hint = _nearest_file(full)
    else:
        hint = "."
    raise InputError(f"{what} {shown(full, root)} does not exist{hint}")


def _nearest_file(path: Path) -> str:
    """As `botlib.errors.nearest`, of the files beside it; without their suffix, which they all have in common."""
    stems = {p.stem: p.name for p in path.parent.iterdir() if p.suffix == path.suffix}
    found = difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.6)
    return f"; did you mean '{stems[found[0]]}'?" if found else "."


def typed_path(path: str, root: Path, what: str) -> str:
    """A path as a person typed it, which a shell completes from the working folder, as `existing_file` takes it.

    It is the file below the working folder when there is one, else left as it is: relative to the project's root.

    Raises
    ------
    InputError
        Both files exist, and they are two.
    """
    given = Path(path).expanduser()
    here, there = given.resolve(), resolve(path, root)
    if not path or given.is_absolute() or not here.exists() or here == there.resolve():
        return path
    if there.exists():
        raise InputError(f"{what} {path} could be {here} (from the working folder) or {there} (from the project); give "
                         "one of these two.")
    return str(here)


def is_library(name: str, folder: Path) -> bool:
    """Whether ``name`` is a module of Python or of an installed library; what lies in ``folder`` itself is none."""
    if name in sys.stdlib_module_names:
        return True
    elsewhere = [p for p in sys.path if Path(p or ".").resolve() != folder.resolve()]
    return importlib.machinery.PathFinder.find_spec(name, elsewhere) is not None


def refuse_hidden_libraries(folder: Path, root: Path) -> None:
    """Raise `InputError` for a .py file or package beside a notebook that hides a library of its name from it."""
    for path in sorted(folder.glob("*.py")) + sorted(p.parent for p in folder.glob("*/__init__.py")):
        if is_library(path.stem, folder):
            raise InputError(f"{shown(path, root)} hides the library '{path.stem}' from every notebook beside it; "
                             f"rename it, e.g. to my_{path.name}.")
