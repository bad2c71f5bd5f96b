"""The walls of the house.

Which room of botlib may import which, what a pure room never does, what botlib exports, what notebooks are made of, and
that no path of a machine and no secret lies in the tree.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

import botlib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "botlib"


# --- Rooms ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Room:
    """Modules that belong together.

    ``uses``: rooms they may import, beside their own. ``libraries``: third-party packages they may import. ``pure``:
    time, randomness, network and files come in as arguments.
    """

    modules: str
    uses: str = ""
    libraries: str = ""
    pure: bool = False


ROOMS = {
    # Understood by all.
    "errors": Room("errors", pure=True),
    "params": Room("params", "errors hygiene", "pydantic", pure=True),
    "wording": Room("wording tables", libraries="pandas", pure=True),
    "jit": Room("_jit", "", "numba numpy platformdirs"),
    # The core: pure, past-only.
    "calendars": Room("calendars", "errors", "exchange_calendars numpy pandas platformdirs"),
    "bars": Room("bars bar_* adjust resample", "errors calendars wording", "numpy pandas", pure=True),
    "sharing": Room("sharing", "", "numpy", pure=True),
    "indicators": Room("indicators _indicators", "errors jit sharing", "numpy", pure=True),
    "strategies": Room("strategies.*", "errors wording bars indicators jit sharing", "numpy pandas", pure=True),
    "rules": Room("rules orders", "errors jit", "numpy", pure=True),
    "alpaca_rules": Room("alpaca_rules alpaca_case alpaca_catalogue alpaca_form alpaca_matrix alpaca_refusals "
                         "order_request", "errors rules", pure=True),
    "fees": Room("fees", "errors wording", "numpy pandas"),  # reads the table of rates that ships
    "safety": Room("safety gates order_state watch watch_prices", "errors jit params rules", "numpy pandas pydantic",
                   pure=True),
    "engine": Room("engine engine.*", "jit rules safety", "numba numpy", pure=True),
    "metrics": Room("metrics", "errors jit", "numpy pandas", pure=True),
    "overfit": Room("overfit", "errors", "numpy", pure=True),
    "backtest": Room("backtesting view result refusals benchmark honesty",
                     "errors wording params bars strategies rules fees safety engine metrics",
                     "numpy pandas", pure=True),
    "tuning_core": Room("tuning.checks tuning.grid tuning.result tuning.windows tuning.resampling tuning.permutation "
                        "tuning.choices tuning.judging tuning.verdicts",
                        "errors wording params bars sharing strategies safety engine metrics overfit backtest",
                        "numpy pandas", pure=True),
    "exchange": Room("sandbox.orders sandbox.tape sandbox.account sandbox.matching sandbox.admission sandbox.book "
                     "sandbox.replacing sandbox.exchange sandbox.journal sandbox.formats sandbox.wire sandbox.messages "
                     "sandbox.market_data sandbox.timeframes sandbox.series sandbox.prints sandbox.paging "
                     "sandbox.portfolio sandbox.api sandbox.api_account sandbox.api_actions sandbox.api_data "
                     "sandbox.api_trading sandbox.synthetic",
                     "errors params calendars bars rules fees alpaca_rules", "numpy pandas", pure=True),
    # The shell: files, services, processes.
    "tuning": Room("tuning tuning.*", "errors wording params bars sharing strategies safety engine metrics overfit "
                   "backtest tuning_core loading", "cloudpickle distributed numpy optuna pandas"),
    "sandbox": Room("sandbox sandbox.*", "errors wording params calendars bars alpaca_rules exchange",
                    "msgpack numpy pandas requests starlette urllib3 uvicorn"),
    "brokers": Room("brokers brokers.*", "errors wording calendars project alpaca_rules",
                    "alpaca dotenv pandas requests urllib3"),
    "loading": Room("strategies strategies.loading strategies.members", "errors wording bars strategies",
                    "numpy pandas"),
    "providers": Room("providers providers.* data.*", "errors wording bars calendars brokers",
                      "bokeh_sampledata curl_cffi filelock numpy pandas pyarrow requests yfinance"),
    "project": Room("project", "errors"),
    "repository": Room("repository repository.*", "errors project brokers", "numpy pandas platformdirs sqlalchemy"),
    "tuner": Room("tuner tuner_*", "errors wording params bars strategies loading backtest tuning_core tuning trials "
                  "repository project config keyboard report", "IPython ipywidgets numpy pandas"),
    "learning": Room("learning learning.*", "errors wording params calendars bars strategies loading metrics overfit "
                     "tuning_core tuning trials tuner repository project config report run",
                     "matplotlib numpy pandas ruamel"),
    "trials": Room("trials", "loading repository tuning_core", "numpy pandas"),
    "hygiene": Room("hygiene", "errors", pure=True),
    "alerts": Room("alerts alert_targets", "errors params hygiene", "pydantic"),
    "config": Room("config layers yamlfile origins run_params session_config session_checks learn_config terms",
                   "errors wording params calendars bars safety backtest project hygiene providers strategies loading",
                   "pydantic ruamel"),
    # Sessions: what lets real money trade, and what trades.
    "arming": Room("arming", "errors wording calendars config", "pandas", pure=True),
    "live_evidence": Room("live_evidence", "arming", "jupyter_core"),
    "keyboard": Room("keyboard", libraries="ipykernel"),
    "session_core": Room("session.account session.core session.order_links session.links session.planning "
                         "session.timeline session.identity session.deciding session.parity",
                         "errors wording calendars bars strategies rules alpaca_rules safety engine backtest brokers "
                         "repository config", "numpy pandas", pure=True),
    "session": Room("session session.* going_live live",
                    "session_core errors wording calendars bars strategies loading rules alpaca_rules safety engine "
                    "backtest sandbox brokers providers project repository alerts config arming live_evidence "
                    "keyboard warmup front",
                    "numpy pandas"),
    "research": Room("explore", "errors wording bars", "numpy pandas", pure=True),
    "report": Room("report blotter figures *_figures research_tables style",
                   "errors wording params calendars bars research", "IPython matplotlib numpy pandas pydantic"),
    "run": Room("run runfolder job kernel cell_output progress notebook_params provenance "
                "result_file scaffold listing stop_file printed",
                "errors wording params calendars project hygiene config loading providers strategies repository",
                "ipykernel jupyter_client jupyter_core nbformat papermill traitlets zmq"),
    "panel": Room("panel panel_page panel_status session_notebook session_record session_report",
                  "errors wording calendars report config project repository arming keyboard session run",
                  "IPython ipywidgets matplotlib numpy pandas"),
    "warmup": Room("warmup", "jit bars engine indicators rules strategies loading backtest providers front tuning"),
    "control": Room("control control_*",
                    "errors wording calendars repository safety config run session session_core panel", "pandas"),
    "cli": Room("cli cli_* __main__ sandboxing",
                "errors wording project hygiene run config providers loading warmup front bars exchange sandbox "
                "repository keyboard session control arming learning",
                "numpy pandas"),
    "front": Room("botlib",
                  "errors params bars indicators strategies loading rules fees safety metrics backtest providers "
                  "config research report run sandbox brokers alpaca_rules"),
}

# The one place in a pure room that may look at a clock: what "future" means when the caller does not say.
CLOCK_EDGES = {"bars": {"_moment"}}

# Standard modules that bring time, chance, files, processes or the network into a pure room.
IMPURE_MODULES = set("""asyncio concurrent ctypes ftplib getpass glob gzip http io logging multiprocessing os pathlib
    pickle random secrets select shelve shutil signal smtplib socket socketserver sqlite3 ssl subprocess tempfile
    threading time urllib webbrowser zipfile""".split())
IMPURE_CALLS = {"input", "open", "print", "__import__"}
IMPURE_METHODS = set("""now today utcnow seed uuid1 uuid4 read_csv read_parquet read_pickle read_json to_csv to_parquet
    to_pickle to_sql read_text write_text read_bytes write_bytes urlopen savez savez_compressed savetxt tofile fromfile
    loadtxt memmap""".split())

# An SDK stays behind its own door.
SDK_DOORS = {
    "alpaca": "providers.alpaca brokers.alpaca brokers.alpaca.*",
    "websockets": "brokers.alpaca brokers.alpaca.* sandbox.*",
    "yfinance": "providers.yahoo*", "curl_cffi": "providers.yahoo*",
    "requests": "providers.yahoo* brokers.alpaca* sandbox.transport",
    "starlette": "sandbox.*", "uvicorn": "sandbox.*",
    "papermill": "kernel run", "jupyter_client": "kernel", "IPython": "report panel tuner_view tuner_widgets",
}


def module_name(path: Path) -> str:
    """``botlib/engine/fills.py`` is "engine.fills", the package itself "botlib"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__") or "botlib"


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def matches(name: str, patterns: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns.split())


def rooms_of(name: str) -> list[str]:
    """Rooms that claim a module; an exact name beats a pattern."""
    exact = [room for room, r in ROOMS.items() if name in r.modules.split()]
    return exact or [room for room, r in ROOMS.items() if matches(name, r.modules)]


def room_of(name: str) -> str:
    return (rooms_of(name) or ["no room"])[0]


def only_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def statements(tree: ast.AST) -> list[ast.AST]:
    """All nodes but those that only a type checker reads."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += [c for c in ast.iter_child_nodes(node) if not (isinstance(c, ast.stmt) and only_types(c))]
    return found


def imports(source: str, name: str = "") -> tuple[set[str], set[str]]:
    """(modules of botlib, other top-level packages) that a source imports, wherever in it."""
    inside, outside = set(), set()
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ("botlib." + name).split(".")[:-node.level]
                base = ".".join([*above, *([base] if base else [])])
            names = [base]
            if base.split(".")[0] == "botlib":  # a name imported from a package may be a module of it
                modules = [f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}"[7:] in MODULES]
                names = modules if len(modules) == len(node.names) else [base, *modules]
        else:
            continue
        for full in names:
            (inside if full.split(".")[0] == "botlib" else outside).add(
                full.removeprefix("botlib.") if full.split(".")[0] == "botlib" else full.split(".")[0])
    return inside, outside


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_one_room(name):
    assert len(rooms_of(name)) == 1, f"botlib.{name}: say in ROOMS which room it belongs to and what that may import"


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_only_what_it_may(name):
    room = ROOMS[room_of(name)]
    inside, outside = imports(MODULES[name].read_text(encoding="utf-8"), name)
    allowed = {*room.uses.split(), room_of(name)}
    wrong = {module: room_of(module) for module in inside if room_of(module) not in allowed}
    assert not wrong, f"botlib.{name} ({room_of(name)}) may not import {wrong}"
    strangers = outside - set(sys.stdlib_module_names) - set(room.libraries.split())
    assert not strangers, f"botlib.{name} ({room_of(name)}) may not import {strangers}"


@pytest.mark.parametrize("name", MODULES)
def test_an_sdk_stays_behind_its_door(name):
    _, outside = imports(MODULES[name].read_text(encoding="utf-8"), name)
    for sdk, doors in SDK_DOORS.items():
        assert sdk not in outside or matches(name, doors), f"{sdk} belongs to {doors}, not to botlib.{name}"


def impurities(source: str, edges: frozenset[str] = frozenset()) -> list[str]:
    """What a pure room may not do; ``edges``: functions that may look at the clock."""
    tree = ast.parse(source)
    _, outside = imports(source)
    found = [f"imports {name}" for name in sorted(outside & IMPURE_MODULES)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in edges]
    at_edge = {id(node) for function in functions for node in ast.walk(function)}
    for node in statements(tree):
        if not isinstance(node, ast.Call) or id(node) in at_edge:
            continue
        if isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"line {node.lineno} calls {node.func.id}")
        elif isinstance(node.func, ast.Attribute):
            whole = ast.unparse(node.func)
            seeded = node.func.attr == "default_rng" and bool(node.args)
            if node.func.attr in IMPURE_METHODS or (re.match(r"(np|numpy)\.random\.", whole) and not seeded):
                found.append(f"line {node.lineno} calls {whole}")
    return found


@pytest.mark.parametrize("name", [name for name in MODULES if rooms_of(name) and ROOMS[room_of(name)].pure])
def test_a_pure_room_gets_time_chance_and_files_from_outside(name):
    assert impurities(MODULES[name].read_text(encoding="utf-8"), frozenset(CLOCK_EDGES.get(name, ()))) == []


def test_no_wall_has_a_hole_in_a_circle():
    """No room uses one that uses it, whatever lies between."""
    reached: dict[str, set[str]] = {name: set(room.uses.split()) for name, room in ROOMS.items()}
    for _ in ROOMS:
        reached = {name: used.union(*(reached[other] for other in used)) for name, used in reached.items()}
    assert not [name for name, used in reached.items() if name in used]


@pytest.mark.parametrize(("source", "finding"), [
    ("import os", "imports os"),
    ("def f():\n    from pathlib import Path", "imports pathlib"),
    ("import pandas as pd\npd.Timestamp.now('UTC')", "line 2 calls pd.Timestamp.now"),
    ("import datetime as dt\ndef f():\n    return dt.date.today()", "line 3 calls dt.date.today"),
    ("open('x')", "line 1 calls open"),
    ("frame.to_csv('x')", "line 1 calls frame.to_csv"),
    ("np.random.normal()", "line 1 calls np.random.normal"),
    ("np.random.default_rng()", "line 1 calls np.random.default_rng"),
    ("np.random.default_rng(seed)", None),
    ("def _moment():\n    pd.Timestamp.now()", None),
    ("if TYPE_CHECKING:\n    from pathlib import Path", None),
])
def test_the_check_of_purity_sees(source, finding):
    assert impurities(source, frozenset({"_moment"})) == ([finding] if finding else [])


@pytest.mark.parametrize(("source", "inside", "outside"), [
    ("from botlib import rules, safety", {"rules", "safety"}, set()),
    ("from botlib import metrics as m, Bars", {"metrics", "botlib"}, set()),
    ("def f():\n    import botlib.run", {"run"}, set()),
    ("from . import rules", {"rules"}, set()),
    ("import alpaca.data.live\nfrom numpy import nan", set(), {"alpaca", "numpy"}),
])
def test_the_check_of_imports_sees(source, inside, outside):
    assert imports(source, "somewhere") == (inside, outside)


# --- What botlib exports -------------------------------------------------------------------------

def test_exported_names_are_sorted_and_there():
    assert botlib.__all__ == sorted(botlib.__all__)
    assert [name for name in botlib.__all__ if not hasattr(botlib, name)] == []


def test_nothing_else_is_shown():
    assert dir(botlib) == botlib.__all__


def test_a_type_checker_sees_the_same_names():
    """They load when first used, so the types come from imports that only a type checker reads."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    read = [node for block in tree.body if only_types(block) for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name for node in read for alias in node.names}
    assert seen - set(MODULES) == set(botlib.__all__) - set(MODULES) - {"__version__"}


# --- Notebooks that ship -------------------------------------------------------------------------
# A notebook with a number in front ships; all others are the user's own.

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
LONGEST_CELL = 18
WIDEST_CELL = 100


def cells(path: Path, kind: str = "code") -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def is_strategy(node: ast.stmt) -> bool:
    """A strategy in a cell is the one class that belongs there: it is the user's."""
    return isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Strategy") for base in node.bases)


def source(cell: dict) -> str:
    return "".join(cell["source"])


def test_the_notebooks_ship():
    assert {"00_start_here.ipynb", "05_explore.ipynb", "10_backtest.ipynb"} <= {path.name for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_is_stripped(path):
    for number, cell in enumerate(cells(path)):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), f"cell {number}: run nbstripout"
        noise = set(cell["metadata"]) & {"papermill", "execution", "collapsed", "ExecuteTime"}
        assert not noise, f"cell {number} has metadata of a run: {noise}"
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert not set(metadata) & {"papermill", "widgets"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_has_one_cell_of_parameters(path):
    tagged = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    lines = source(tagged[0]).splitlines()
    for node in ast.parse(source(tagged[0])).body:
        assert isinstance(node, ast.Assign | ast.AnnAssign), f"line {node.lineno}: a parameter is a literal"
        ast.literal_eval(node.value)
        assert "#" in lines[node.end_lineno - 1], f"line {node.lineno}: each parameter ends with a comment"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_is_thin(path):
    for number, cell in enumerate(cells(path)):
        lines = source(cell).splitlines()
        assert max(map(len, lines)) <= WIDEST_CELL, f"code cell {number} has a line that runs off the page"
        longest = LONGEST_CELL + 4 * ("parameters" in cell["metadata"].get("tags", []))
        assert len(lines) <= longest, f"code cell {number} has {len(lines)} lines; the library should hold this"
        tree = ast.parse("\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in lines))
        made = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        names = [node.name for node in tree.body if isinstance(node, made) and not is_strategy(node)]
        assert not names, f"code cell {number} defines {names[0]}; it belongs in the library"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_says_what_it_does_before_it_does_it(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert re.match(r"# \S", source(notebook["cells"][0]))
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    assert kinds.count("markdown") >= 3


# --- Nothing of a machine or a person in the tree ------------------------------------------------

# Put together here so that this file does not find itself.
LEAKS = {
    "a path of somebody's machine": re.compile("|".join([
        "/" + "root/", "/" + r"home/(?!(?:user|you|jovyan)\b)[\w.-]+/", "/" + r"Users/(?!you\b)[\w.-]+/",
        "[A-Z]:" + r"\\\\?Users", *([re.escape(str(ROOT))] if len(ROOT.parts) > 2 else []),
    ])),
    "a key of Alpaca": re.compile(r"\b(?:PK|AK|CK)(?=[A-Z0-9]*[0-9])[A-Z0-9]{18,24}\b"),  # 20 to 26 long
    "a secret given to a variable": re.compile(
        r"(?i)\b(?:\w*secret(?:_?key)?|\w*api_?key(?:_id)?|\w*password|\w*token)\b"  # its name
        r"[\"']?\s*[:=]\s*[\"']?(?=[\w/+-]*\d)[A-Za-z0-9/+_-]{24,}"),
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----\s*[\w+/=]{40}"),
}
TEXT = {".py", ".md", ".txt", ".toml", ".yml", ".yaml", ".cfg", ".json", ".ipynb", ".csv", "", ".gitignore", ".sh"}


def leaks(text: str) -> list[str]:
    return [f"{what}: {found.group(0)}" for what, pattern in LEAKS.items() if (found := pattern.search(text))]


def ours(path: str) -> bool:
    """Files of the project, not the user's own strategies, notebooks and parameters."""
    if path.startswith("notebooks/"):
        return Path(path).name[0].isdigit()
    if path.startswith("parameters/"):
        return any(Path(path).stem == re.sub(r"^\d+_", "", notebook.stem) for notebook in NOTEBOOKS)
    return True


def shipped_files() -> list[str]:
    """What git tracks, or would once added; without git all there is."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    files = [name for name in listed.stdout.split("\0") if name]
    if not files:
        tops = ["botlib", "notebooks", "parameters", "tests", ".ci"]
        paths = [path for top in tops for path in sorted((ROOT / top).rglob("*"))] + sorted(ROOT.iterdir())
        files = [path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts]
    return [name for name in files if ours(name) and (ROOT / name).is_file()]


def test_no_path_of_a_machine_and_no_secret_is_in_the_tree():
    files = [name for name in shipped_files() if Path(name).suffix in TEXT]
    assert {"pyproject.toml", "botlib/rules.py", "tests/test_walls.py", "notebooks/10_backtest.ipynb"} <= set(files)
    found = {name: leaks((ROOT / name).read_text(encoding="utf-8", errors="replace")) for name in files}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("text", [
    "/" + "root/.cache/x", "/" + "home/maria/botlib", "/" + "Users/maria/botlib", "C:" + r"\Users\maria",
    "PK" + "ABCDEFGHIJ1234567890", "APCA_API_SECRET_KEY=" + "a1b2c3d4e5" * 4, '"api_key": "' + "Q9w8e7r6t5" * 3 + '"',
    "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "MIIE" * 16,
])
def test_a_leak_is_seen(text):
    assert len(leaks(f"some words {text} and more")) == 1


@pytest.mark.parametrize("text", ["make run PYTHON=/path/to/python", "APCA_API_SECRET_KEY", "token = random_token()",
                                  "/home/user/botlib", "PKG_VERSION", "sha256 = 5abadf99b2d394f920120a27de6f0df1"])
def test_what_is_no_leak_passes(text):
    assert leaks(text) == []
