"""Parameters: YAML 1.2, the schema, precedence and origins, the notebook's cell, secrets."""

from __future__ import annotations

import ast
import datetime as dt
from pathlib import Path

import nbformat
import pytest
import run_helpers as helpers
from hypothesis import given
from hypothesis import strategies as st

from botlib import config, hygiene, job, notebook_params, project, yamlfile
from botlib.config import BacktestParams, from_values
from botlib.errors import InputError
from botlib.layers import Layer, merge, parse_set
from botlib.params import Costs, Risk
from botlib.safety import SafetyControls

# --- YAML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [
    ("ON", "ON"), ("NO", "NO"), ("yes", "yes"), ("y", "y"), ("off", "off"),  # YAML 1.1 booleans
    ("9:30", "9:30"), ("1e-3", 0.001), ("010", 10), ("0o10", 8), ("0x10", 16), ("1_000", 1000),
    ("true", True), ("null", None), ("~", None), ("2010-01-04", "2010-01-04"), ("[ON, NO]", ["ON", "NO"]),
    ("{a: 1.5}", {"a": 1.5}), ("'1'", "1"), ("-1.5e+3", -1500.0),
])
def test_yaml_is_version_1_2(text, value):
    parsed = yamlfile.parse(text, "here")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("text", "place", "said"), [
    ("a: [1,\nb: 2", "x.yaml, line 1, column 4", "bracket"),
    ("a: [1,\n  b}\n", "x.yaml, line 2, column 4", "broken YAML"),
    ("a: 1\nb:\n  c: 2\n  c: 3\n", "x.yaml, line 4, column 3", "'c' stands here twice"),
    ("a: 1\na: 2\n", "x.yaml, line 2, column 1", "'a' stands here twice"),
    ("a:\tb: 1\n", "x.yaml, line 1, column 3", "tab"),
    ("a: b: c\n", "x.yaml, line 1, column 5", "in quotes"),
    ("a: 'open\n", "x.yaml, line 1, column 4", "quote"),
    ("a: !!python/name:os.system x\n", "x.yaml, line 1, column 4", "tag"),
    ("a: 1\n---\nb: 2\n", "x.yaml, line 2, column 1", "second document"),
    ("a: *b\n", "x.yaml, line 1, column 4", "alias"),
    ("ok: 1\na: \x01\n", "x.yaml, line 2", "character"),
    ("- AAPL\n", "x.yaml", "a list"),
    ("AAPL\n", "x.yaml", "'AAPL'"),
    ("1: 2\n", "x.yaml", "names are text"),
    ("a: !!binary aGVsbG8=\n", "x.yaml", "bytes"),
])
def test_broken_yaml_is_one_sentence_with_its_place(tmp_path, text, place, said):
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        yamlfile.read(file, "x.yaml")
    assert str(caught.value).startswith(place)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InputError, match="UTF-8"):
        yamlfile.read(file, "x.yaml")


def test_a_file_of_comments_is_an_empty_map(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("# nothing yet\n", encoding="utf-8")
    assert yamlfile.read(file, "x.yaml") == {}


tricky = st.sampled_from(["ON", "no", "1e3", "010", "9:30", "null", "~", "a: b", "# c", "-"])
words = st.one_of(st.text(max_size=12), tricky)
scalars = st.one_of(words, st.booleans(), st.none(), st.integers(-10**9, 10**9),
                    st.floats(allow_nan=False, allow_infinity=False))
trees = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=3),
                                                      st.dictionaries(words, inner, max_size=3)), max_leaves=8)


@given(st.dictionaries(words, trees, max_size=4))
def test_what_is_dumped_is_read_back(values):
    assert yamlfile.parse(yamlfile.dump(values, head="two\nlines"), "here") == (values or None or {})


# --- the schema -----------------------------------------------------------------------------------------------------


def test_defaults_are_the_missions():
    params = BacktestParams()
    assert params.symbols == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert (params.provider, params.period, params.interval, params.calendar) == ("sample", "max", "1d", "XNYS")
    assert (params.cash, params.convention, params.signal_adjustment) == (100_000.0, "broker", "split")
    assert params.truncations == 24
    assert params.strategy == {"name": "mean_reversion_momentum"}
    assert (params.risk, params.costs, params.safety) == (Risk(), Costs(), SafetyControls())


@pytest.mark.parametrize(("values", "said"), [
    ({"symbls": ["AAPL"]}, "unknown parameter 'symbls'; did you mean 'symbols'?"),
    ({"risk": {"max_positon_pct": 5.0}}, "unknown parameter 'risk.max_positon_pct'; did you mean 'max_position_pct'?"),
    ({"risk": {"max_position_pct": 0.1}}, "risk.max_position_pct = 0.1 is out of range: valid is 1 to 100, in percent"),
    ({"safety": {"max_drawdown_pct": 500.0}}, "safety.max_drawdown_pct = 500.0 is out of range: valid is 0.5 to 90"),
    ({"safety": {"require_explicit_enable": "false"}}, "safety.require_explicit_enable = 'false'"),
    ({"costs": {"slippage_bps": float("nan")}}, "costs.slippage_bps = nan"),
    ({"risk": 5}, "risk = 5"),
    ({"cash": "1000"}, "cash = '1000'"),
    ({"cash": True}, "cash = True"),
    ({"cash": 0}, "cash = 0 is out of range: valid is 1 to 1e+12"),
    ({"cash": float("inf")}, "cash = inf"),
    ({"truncations": 19}, "truncations = 19 is out of range: valid is 20 to 10000"),
    ({"truncations": 24.0}, "truncations = 24.0"),
    ({"symbols": []}, "at least one ticker"),
    ({"symbols": "AAPL"}, "give a list of tickers"),
    ({"symbols": [True]}, 'true is not text; put the ticker in quotes, "TRUE"'),
    ({"symbols": [None]}, "null is not text"),
    ({"symbols": ["aapl"]}, "did you mean 'AAPL'?"),
    ({"symbols": ["AAPL", "IBM", "AAPL"]}, "AAPL stands there twice"),
    ({"symbols": ["A;B"]}, "'A;B' is not a ticker"),
    ({"period": "5yr"}, "period = '5yr'; did you mean '5y'? Valid: 1d, 5d,"),
    ({"interval": "2h"}, "Valid: 1m, 5m, 15m, 30m, 1h, 1d"),
    ({"convention": "alpaca"}, "convention = 'alpaca'"),
    ({"signal_adjustment": "dividend"}, "signal_adjustment = 'dividend'"),
    ({"start": "2010-13-01"}, "start = '2010-13-01': give a date as YYYY-MM-DD"),
    ({"start": "2011-01-03", "end": "2010-01-04"}, "lies before start"),
    ({"strategy": {"rsi_period": 10}}, "give a map with its name"), ({"strategy": ""}, "give a map with its name"),
    ({"strategy": {"name": "x", "level": float("nan")}}, "strategy.level = nan"),
    ({"name": "../../etc"}, "part of a folder's name"),
    ({"name": ""}, "part of a folder's name"),
])
def test_a_wrong_value_is_refused_in_one_sentence(values, said):
    with pytest.raises(InputError) as caught:
        from_values(values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_wrong_values_are_two_sentences_with_their_origins():
    with pytest.raises(InputError) as caught:
        from_values({"cash": -1, "risk": {"stop_loss_pct": 0.01}}, {"cash": "a.yaml", "risk.stop_loss_pct": "--set"})
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == 2
    assert lines[0].startswith("--set: risk.stop_loss_pct = 0.01 is out of range")
    assert lines[1].startswith("a.yaml: cash = -1 is out of range")


def test_a_date_of_yaml_is_a_date():
    assert from_values({"start": yamlfile.parse("2010-01-04", "x")}).start == dt.date(2010, 1, 4).isoformat()


def test_null_takes_the_limits_off_and_whole_numbers_are_numbers():
    params = from_values({"safety": None, "calendar": None, "cash": 5000, "risk": {"stop_loss_pct": None}})
    assert params.safety is None
    assert params.calendar is None
    assert params.cash == 5000.0
    assert params.risk.stop_loss_pct is None


def test_complete_values_make_the_same_parameters():
    params = from_values({"safety": None, "symbols": ["ON"], "strategy": {"name": "x", "n": 3}})
    assert BacktestParams.from_mapping(params.plain()) == params


def test_a_strategy_by_name_alone_is_short_for_a_map():
    assert from_values({"strategy": "x"}).strategy == {"name": "x"}


def test_from_notebook_takes_only_parameters():
    params = BacktestParams.from_notebook({"symbols": ["ON"], "In": [], "output_dir": "x", "np": object()})
    assert params == BacktestParams(symbols=["ON"])


# --- merging --------------------------------------------------------------------------------------------------------


def test_later_layers_win_name_by_name_and_origins_follow():
    values, origins = merge([
        Layer({"cash": 1.0, "risk": {"stop_loss_pct": 5.0, "take_profit_pct": 10.0}}, "cell"),
        Layer({"risk": {"stop_loss_pct": 6.0}}, "a.yaml"),
        Layer({"risk": {"take_profit_pct": None}, "symbols": ["ON"]}, "b.yaml"),
        Layer({"symbols": ["NO"]}, "--symbols"),
    ])
    assert values == {"cash": 1.0, "risk": {"stop_loss_pct": 6.0, "take_profit_pct": None}, "symbols": ["NO"]}
    assert origins == {"cash": "cell", "risk.stop_loss_pct": "a.yaml", "risk.take_profit_pct": "b.yaml",
                       "symbols": "--symbols"}


def test_another_strategy_drops_the_old_ones_parameters():
    first = Layer({"strategy": {"name": "a", "x": 1}}, "cell")
    same, _ = merge([first, Layer({"strategy": {"name": "a", "y": 2}}, "file")])
    nameless, _ = merge([first, Layer({"strategy": {"y": 2}}, "file")])
    other, origins = merge([first, Layer({"strategy": {"name": "b", "y": 2}}, "file")])
    short, _ = merge([first, Layer({"strategy": "b"}, "--strategy")])
    assert same == nameless == {"strategy": {"name": "a", "x": 1, "y": 2}}
    assert other == {"strategy": {"name": "b", "y": 2}}
    assert origins == {"strategy.name": "file", "strategy.y": "file"}
    assert short == {"strategy": {"name": "b"}}


def test_another_provider_drops_the_old_ones_options():
    values, origins = merge([Layer({"provider": "file", "provider_options": {"path": "a.csv"}}, "cell"),
                             Layer({"provider": "sample"}, "--set")])
    assert values == {"provider": "sample"}
    assert origins == {"provider": "--set"}


def test_a_map_can_be_taken_away_and_given_back():
    values, origins = merge([Layer({"safety": {"max_drawdown_pct": 5.0, "max_daily_loss_pct": 2.0}}, "cell"),
                             Layer({"safety": None}, "a.yaml"), Layer({"safety": {"max_drawdown_pct": 8.0}}, "b.yaml")])
    assert values == {"safety": {"max_drawdown_pct": 8.0}}
    assert origins == {"safety.max_drawdown_pct": "b.yaml"}


def test_merging_leaves_its_input_alone():
    first = {"risk": {"stop_loss_pct": 5.0}}
    merge([Layer(first, "a"), Layer({"risk": {"stop_loss_pct": 6.0}}, "b")])
    assert first == {"risk": {"stop_loss_pct": 5.0}}


def test_set_reads_yaml_and_nests():
    layer = parse_set(["risk.stop_loss_pct=null", "symbols=[ON, NO]", "cash=1e4", "strategy.mode=9:30", "cash=2e4"])
    assert layer.values == {"risk": {"stop_loss_pct": None}, "symbols": ["ON", "NO"], "cash": 2e4,
                            "strategy": {"mode": "9:30"}}


def test_parameters_set_beside_a_strategy_belong_to_it():
    command_line = merge([parse_set(["strategy.lookback=20"]), Layer({"strategy": "mine.py:Mine"}, "--strategy")])
    values, origins = merge([Layer({"strategy": {"name": "other", "x": 1}}, "cell"), Layer(*command_line)])
    assert values == {"strategy": {"name": "mine.py:Mine", "lookback": 20}}
    assert origins == {"strategy.name": "--strategy", "strategy.lookback": "--set"}


@pytest.mark.parametrize(("item", "said"), [
    ("cash", "give NAME=VALUE"), ("=5", "give NAME=VALUE"), ("risk..x=5", "give NAME=VALUE"), ("cash=", "is missing"),
    ("cash.x=5", "unknown parameter 'cash.x'"), ("rsk.stop_loss_pct=5", "did you mean 'risk'?"), ("cash=[1", "bracket"),
])
def test_a_set_that_cannot_be_read_is_refused(item, said):
    with pytest.raises(InputError) as caught:
        parse_set([item])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the notebook's cell --------------------------------------------------------------------------------------------


def _cell(tmp_path: Path, source: str | None) -> dict:
    path = helpers.write_notebook(tmp_path / "n.ipynb", parameters=source)
    return notebook_params.defaults(notebook_params.parse(path.read_text(encoding="utf-8"), "n.ipynb"), "n.ipynb")


def test_the_cell_is_read_not_run(tmp_path):
    source = "a = 1  # one\nb: float = -2.5\nc = {'x': [1, None], 'y': 'ON'}\n\n# a comment\nd = (\n  'two ' 'parts')"
    assert _cell(tmp_path, source) == {"a": 1, "b": -2.5, "c": {"x": [1, None], "y": "ON"}, "d": "two parts"}


@pytest.mark.parametrize(("source", "said"), [
    ("a = 1\nb = open('x')", "line 2"), ("a = 1\nimport os", "line 2"), ("a = b = 1", "line 1"),
    ("a, b = 1, 2", "line 1"), ("a: int", "line 1"), ("a = 1\na = 2", "a is set twice"), ("a = (", "not valid Python"),
    ("a = 1 + x", "line 1"),
    (None, "no cell is tagged 'parameters'"),
])
def test_a_cell_that_is_more_than_literals_is_refused(tmp_path, source, said):
    with pytest.raises(InputError, match=said):
        _cell(tmp_path, source)


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "n.ipynb").write_bytes(b"\xff\xfe")
    for work in (lambda: notebook_params.parse("print(1)", "n.ipynb"),
                 lambda: notebook_params.read(tmp_path / "n.ipynb", "n.ipynb")):
        with pytest.raises(InputError, match="not a Jupyter notebook"):
            work()


def test_rewriting_keeps_comments_layout_and_other_names():
    source = "# naïve é\na = 1  # one\nb = {'x': 1,\n     'y': 2}  # two\nc = 'é'; d = 4\ne = 1_000.0\nf = True\n"
    values = {"a": 2.5, "b": {"z": None}, "c": "it's", "e": 1000.0, "f": 1}
    assert notebook_params.rewritten(source, values, "n") == (
        "# naïve é\na = 2.5  # one\nb = {\"z\": None}  # two\nc = \"it's\"; d = 4\ne = 1_000.0\nf = 1\n")


def test_a_long_value_is_spread_over_lines_that_a_notebook_shows():
    values = {f"a_parameter_{i}": 12345.0 + i for i in range(9)}
    text = notebook_params.rewritten("a = 0\nb = {}  # the comment stays here\n", {"b": values}, "n")
    lines = text.splitlines()
    assert ast.literal_eval(text[text.index("{"): text.index("}") + 1]) == values
    assert max(map(len, lines)) <= 100 and lines[-1].endswith("}  # the comment stays here")
    assert {line[:5] for line in lines[2:]} == {"     "} and lines[2][5] == '"'
    assert notebook_params.literal(["x" * 120]) == '["' + "x" * 120 + '"]'


@given(st.dictionaries(st.sampled_from("abc"), trees))
def test_rewritten_values_are_read_back(values):
    source = "a = 1  # ä\nb = 'x'\nc = [1,\n 2]"
    text = notebook_params.rewritten(source, values, "n")
    found = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text, metadata={"tags": ["parameters"]})])
    assert notebook_params.defaults(found, "n") == {"a": 1, "b": "x", "c": [1, 2], **values}


# --- secrets --------------------------------------------------------------------------------------------------------

# Made up; of the form of Alpaca's key ids and secrets.
KEY_ID = "PK" + "A1B2C3D4E5F6G7H8I9"
SECRET = "aB3" * 13 + "x"


@pytest.mark.parametrize("values", [
    {"alpaca_key": "x"}, {"api_key": 1}, {"provider_options": {"secret": "x"}}, {"provider_options": {"token": None}},
    {"provider_options": {"password": "x"}}, {"provider_options": {"x": KEY_ID}}, {"name": SECRET},
    {"symbols": [KEY_ID]}, {"provider_options": {"list": [{"x": "AK" + KEY_ID[2:]}]}}, {"provider_options": {"url": "https://me:pass@host/x"}},
    {KEY_ID: 1}, {"name": "what-is-in-my-environment"}, {"name": "-----BEGIN RSA " + "PRIVATE KEY-----\nx"},
])
def test_secrets_are_refused_without_being_shown(values):
    with pytest.raises(InputError) as caught:
        hygiene.refuse_secrets(values, "a.yaml", ["what-is-in-my-environment"])
    said = str(caught.value)
    assert said.startswith("a.yaml: ")
    assert "environment" in said and ".env" in said
    assert KEY_ID not in said and SECRET not in said and "pass@" not in said and "what-is" not in said


def test_no_shipped_value_looks_like_a_secret():
    hygiene.refuse_secrets(BacktestParams().plain(), "defaults", ["unrelated-value"])
    hygiene.refuse_secrets({"strategy": {"name": "notebooks/my_idea.py:MyIdea", "key_level": 3, "monkey": "PKX"},
                            "provider_options": {"path": "/data/Some/Long/Folder/Name2010/prices_of_all.parquet"}}, "x")


def test_masking_reaches_every_text():
    secrets = hygiene.environment_secrets({"MY_TOKEN": "s3cret-value", "APCA_API_KEY_ID": "PKX12345",
                                           "PATH": "/usr/local/bin", "SHORT_KEY": "abc",
                                           "PRIVATE_KEY": "line-one-of-it\nline-two-of-it"})
    tree = {"a": ["x s3cret-value y", {"PKX12345": 5}], "b": "/usr/local/bin abc", "c": "line-two-of-it\n"}
    assert hygiene.mask(tree, secrets) == {"a": ["x *** y", {"***": 5}], "b": "/usr/local/bin abc", "c": "***\n"}


# --- the project ----------------------------------------------------------------------------------------------------


def test_the_root_is_the_nearest_parent_with_parameters(tmp_path, monkeypatch):
    monkeypatch.delenv(project.ROOT_VARIABLE, raising=False)
    deep = tmp_path / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    (tmp_path / "parameters").mkdir()
    assert project.project_root() == tmp_path
    assert project.resolve("data/x.csv") == tmp_path / "data" / "x.csv"
    assert project.resolve("/data/x.csv") == Path("/data/x.csv")
    monkeypatch.setenv(project.ROOT_VARIABLE, str(deep))
    assert project.project_root() == deep
    assert project.project_root(tmp_path) == tmp_path


def test_a_missing_file_names_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "parameters").mkdir()
    (tmp_path / "parameters" / "backtest.yaml").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="did you mean 'backtest.yaml'"):
        project.existing_file("parameters/backtst.yaml", tmp_path, "parameter file")
    monkeypatch.chdir(tmp_path / "parameters")
    with pytest.raises(InputError, match="start at the project"):
        project.existing_file("backtest.yaml", tmp_path, "parameter file")
    with pytest.raises(InputError, match="is a folder"):
        project.existing_file("parameters", tmp_path, "parameter file")


# --- what ships -----------------------------------------------------------------------------------------------------


def test_the_shipped_file_is_complete_with_the_schemas_defaults_in_every_section(root):
    shipped = yamlfile.read(root / "parameters" / "backtest.yaml", "parameters/backtest.yaml")
    usual = BacktestParams().plain()
    assert list(shipped) == list(BacktestParams.model_fields)
    for name in ("risk", "costs", "safety"):
        assert list(shipped[name].items()) == list(usual[name].items())


def test_the_shipped_file_and_the_notebook_say_the_same(root):
    """Name by name, and value by value once what either leaves out has its default."""
    alone, by_file = job.prepare(root=root), job.prepare(root=root, configs=["parameters/backtest.yaml"])
    assert alone.values == by_file.values
    shipped = yamlfile.read(root / "parameters" / "backtest.yaml", "parameters/backtest.yaml")
    assert [*shipped, notebook_params.OUTPUT_DIR] == list(alone.takes)


def test_the_shipped_file_gives_every_parameter_of_its_strategy(root):
    from botlib import strategies

    shipped = yamlfile.read(root / "parameters" / "backtest.yaml", "parameters/backtest.yaml")["strategy"]
    name = shipped.pop("name")
    assert name == BacktestParams().strategy["name"]
    assert shipped == dict(strategies.describe(strategies.load(name))["default"])


def test_every_field_says_what_it_is():
    assert [n for n, f in BacktestParams.model_fields.items() if not f.description] == []
    assert set(config.MAPS) <= set(BacktestParams.model_fields)
