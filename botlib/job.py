"""What a run will do, settled before anything runs: the project, the notebook, every value and where it came from."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from botlib import calendars, hygiene, notebook_params, project, yamlfile
from botlib.config import BacktestParams
from botlib.errors import InputError, nearest
from botlib.layers import Layer, merge, parse_set
from botlib.learn_config import LearnParams
from botlib.origins import parameters_of, placed
from botlib.run_params import RunParams
from botlib.session_config import LiveParams, SessionParams

P = TypeVar("P", bound=RunParams)

SCHEMAS: dict[str, type[RunParams]] = {
    cls.kind: cls for cls in (BacktestParams, SessionParams, LiveParams, LearnParams)}
"""The parameters of each kind of run."""

NOTEBOOKS = {"backtest": "notebooks/10_backtest.ipynb", "paper": "notebooks/30_paper.ipynb",
             "live": "notebooks/40_live.ipynb", "learn": "notebooks/60_learn.ipynb"}
"""The notebook of each kind of run."""

SCHEMA_ORIGIN = "default"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, checked and ready.

    Attributes
    ----------
    kind : str
        Kind of run: "backtest", "paper", "live" or "learn".
    root, notebook : pathlib.Path
        The project's folder and the notebook to execute, absolute.
    source : str
        The notebook's text as read when the job was made: what is checked is what runs.
    params : RunParams
        Of the kind's schema, see `SCHEMAS`: every value, the strategy's parameters included.
    origins : dict of str to str
        Where each dotted name's value came from: "default", the notebook, a parameter file, "--set" or a flag.
    takes : tuple of str
        Names that the notebook takes: those in its ``parameters`` cell, and all there are where its code hands its
        variables to the schema. Only these are ever handed to it.
    strategy_file : pathlib.Path or None
        The file that defines the strategy.
    cell : tuple of str
        Names in its ``parameters`` cell.
    session_id : str
        The recorded session that the notebook shows; "": it runs one.
    """

    kind: str
    root: Path
    notebook: Path
    source: str
    params: RunParams
    origins: dict[str, str]
    takes: tuple[str, ...]
    strategy_file: Path | None = None
    cell: tuple[str, ...] = ()
    session_id: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """The values that are handed to the notebook, as literals: those in its cell, and what else is not as usual."""
        usual = type(self.params)().plain()
        return {name: value for name, value in self.complete.items() if name in self.cell or value != usual[name]}

    @property
    def complete(self) -> dict[str, Any]:
        """All values that it takes."""
        plain = self.params.plain()
        return {name: plain[name] for name in plain if name in self.takes}


def prepare(kind: str = "backtest", *, notebook: str | Path | None = None, configs: Sequence[str | Path] = (),
            sets: Sequence[str] = (), flags: Mapping[str, Any] | None = None, root: str | Path | None = None,
            secrets: Sequence[str] = (), recorded: tuple[str, Mapping[str, Any]] | None = None) -> Job:
    """Read, merge and check everything a run needs; nothing is executed but the strategy's own module.

    Parameters
    ----------
    kind : str
        Kind of run; says which parameters there are, and names the notebook when none is given.
    notebook : path, optional
        Another notebook with a ``parameters`` cell.
    configs : sequence of paths
        Parameter files, left to right.
    sets : sequence of str
        ``a.b=value`` items, over the files.
    flags : mapping, optional
        Values of command-line flags, over everything.
    root : path, optional
        The project; default: see `botlib.project.project_root`.
    secrets : sequence of str
        Values that must not be parameters, e.g. `botlib.hygiene.environment_secrets(os.environ)`.
    recorded : (str, mapping), optional
        The id of a session that has been, and its parameters: the notebook shows it and starts none.

    Raises
    ------
    InputError
        Anything that is wrong with any of them, one sentence each.
    """
    if kind not in NOTEBOOKS:
        raise InputError(f"kind = {kind!r}{nearest(kind, NOTEBOOKS) or '.'} Valid: {', '.join(NOTEBOOKS)}.")
    base = project.project_root(root)
    path = project.existing_file(notebook or NOTEBOOKS[kind], base, "notebook")
    where = project.shown(path, base)
    project.refuse_hidden_libraries(path.parent, base)
    source = notebook_params.read(path, where)
    cell = notebook_params.defaults_in(source, where)
    if notebook_params.OUTPUT_DIR not in cell:
        raise InputError(f"notebook {where}: its parameters cell has no {notebook_params.OUTPUT_DIR}; add the line "
                         f'{notebook_params.OUTPUT_DIR} = "", where the runner says where results go.')
    if cell.get(notebook_params.KIND, kind) != kind:
        raise InputError(f"notebook {where}: its parameters cell says kind = {cell[notebook_params.KIND]!r}; give a "
                         f"notebook of {kind} sessions.")
    if recorded is not None and notebook_params.SESSION_ID not in cell:
        raise InputError(f"notebook {where}: its parameters cell has no {notebook_params.SESSION_ID}, so it cannot "
                         "show a session that has been.")
    takes = tuple(cell)
    if kind != "backtest" and notebook_params.takes_all(source):
        takes += tuple(name for name in SCHEMAS[kind].model_fields if name not in cell)
    params, origins, strategy_file = settled(kind, base=base, configs=configs, sets=sets, flags=flags, secrets=secrets,
                                             cell=cell, where=where, takes=takes, recorded=recorded)
    return Job(kind, base, path, source, params, origins, takes, strategy_file, tuple(cell),
               "" if recorded is None else recorded[0])


def settled(kind: str, *, base: Path, configs: Sequence[str | Path] = (), sets: Sequence[str] = (),
            flags: Mapping[str, Any] | None = None, secrets: Sequence[str] = (), cell: Mapping[str, Any] | None = None,
            where: str = "", takes: Sequence[str] = (),
            recorded: tuple[str, Mapping[str, Any]] | None = None) -> tuple[RunParams, dict[str, str], Path | None]:
    """The parameters of a run, where each came from, and the strategy's file.

    As `prepare`; ``cell`` holds the values of a notebook's ``parameters`` cell, ``where`` names it; without one the
    schema's own defaults are what files and flags lie over. A flag's name may be dotted (safety.max_drawdown_pct).
    """
    schema = SCHEMAS[kind]
    layers = [Layer(schema().plain(), SCHEMA_ORIGIN)]
    if cell is not None:
        layers.append(Layer({k: v for k, v in cell.items() if k not in notebook_params.OWN}, where))
    layers += [_passed_over(_config(c, base), schema) for c in configs]
    if recorded is not None:
        layers.append(Layer(recorded[1], f"session {recorded[0][:12]}"))
    command_line = [parse_set(sets, schema), *(_flag(k, v) for k, v in (flags or {}).items())]
    layers.append(Layer(*merge(command_line)))  # one layer: a --set belongs to the strategy that a flag names
    for layer in layers[1:]:
        origin = layer.origin if isinstance(layer.origin, str) else "command line"
        hygiene.refuse_secrets(layer.values, origin, secrets)
    values, origins = merge(layers)
    if cell is not None:
        _leave_the_exchange(values, origins, where)
    params = parameters_of(schema, values, origins)
    if cell is not None:
        _refuse_untaken(schema().plain(), values, origins, takes or tuple(cell), where)
    params, origins, strategy_file = with_strategy(params, origins, base)
    params.load_provider(base)  # reads no data, but refuses a wrong name or option
    if params.calendar is not None:
        calendars.schedule(params.calendar)
    return params, origins, strategy_file


def _leave_the_exchange(values: dict[str, Any], origins: dict[str, str], where: str) -> None:
    """What the notebook's cell says of the local exchange means nothing once a file or a flag has taken another venue.
    """
    if values.get("venue") == "alpaca" and origins.get("venue") != where:
        for name in ("replay_start", "speed"):
            if origins.get(name) == where:
                values[name], origins[name] = None, SCHEMA_ORIGIN


def _flag(name: str, value: Any) -> Layer:
    """The layer of one flag: safety.max_drawdown_pct was typed as --max-drawdown."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return Layer(value, "--" + name.rpartition(".")[2].removesuffix("_pct" if "." in name else "").replace("_", "-"))


def _config(path: str | Path, root: Path) -> Layer:
    full = project.existing_file(path, root, "parameter file")
    where = project.shown(full, root)
    return Layer(yamlfile.read(full, where), where)


def _passed_over(layer: Layer, schema: type[RunParams]) -> Layer:
    """A file's layer; without what belongs to runs of other kinds, where a schema takes their files as they are."""
    others = {name for one in SCHEMAS.values() for name in one.model_fields} - set(schema.model_fields)
    if not schema.passes_over:
        return layer
    return Layer({name: value for name, value in layer.values.items() if name not in others}, layer.origin)


def _refuse_untaken(usual: Mapping[str, Any], values: Mapping[str, Any], origins: Mapping[str, str],
                    takes: Sequence[str], where: str) -> None:
    """A value that the notebook never reads would be ignored in silence; one equal to the default says nothing."""
    for name in values:
        if name not in takes and values[name] != usual[name]:
            origin = next((o for k, o in origins.items() if k.split(".")[0] == name and o != SCHEMA_ORIGIN), "")
            raise InputError(f"{origin}: {name} is not in the parameters cell of {where}, which would ignore it; "
                             "add it there or take it out here.")


def with_strategy(params: P, origins: Mapping[str, str], root: Path) -> tuple[P, dict[str, str], Path | None]:
    """The parameters with every parameter of the strategy filled in, checked by the strategy itself; and its file.

    Raises
    ------
    StrategyError, InputError
        The strategy cannot be loaded, or refuses a parameter.
    """
    from botlib.strategies import SHIPPED
    from botlib.strategies.members import spelled_out

    name = params.strategy["name"]
    try:  # what a user's module prints when it is loaded has no place here
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            loaded = params.load_strategy(root)
    except InputError as error:
        raise type(error)(_where_from(str(error), origins)) from None
    full = spelled_out(params.strategy, loaded)
    known = {**origins, **{f"strategy.{k}": origins.get(f"strategy.{k}", "strategy default") for k in full}}
    place = SHIPPED.get(name, name).rpartition(":")[0]
    file = root / place if place.endswith(".py") else _file_of(loaded)
    return parameters_of(type(params), {**params.plain(), "strategy": full}, known), known, file


def _where_from(text: str, origins: Mapping[str, str]) -> str:
    """The strategy's own sentence, with the places that the values it names came from."""
    unknown = re.search(r"has no parameter '(\w+)'", text)
    names = [f"strategy.{name}" for name in ([unknown[1]] if unknown else re.findall(r"(\w+) = ", text))]
    if any(name in origins for name in names):
        known = {name: origins.get(name, "strategy default") for name in names}
    else:
        known = {"strategy.name": origins.get("strategy.name", SCHEMA_ORIGIN)}
    return text if set(known.values()) == {SCHEMA_ORIGIN} else placed(text, known)


def _file_of(strategy: Any) -> Path | None:
    try:
        return Path(inspect.getfile(type(strategy)))
    except (TypeError, OSError):
        return None


def first_line(error: BaseException, width: int = 200) -> str:
    """An exception's first line, cut to what fits on a screen."""
    text = (str(error).strip().splitlines() or ["(no message)"])[0]
    return text if len(text) <= width else text[: width - 1] + "…"
