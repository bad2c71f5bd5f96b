"""Parameters of paper and live sessions: the schema, what it refuses, the files that ship, and kinds of runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import run_helpers as helpers

from botlib import (
    LiveParams,
    SessionParams,
    cli_permit,
    hygiene,
    job,
    notebook_params,
    result_file,
    run,
    scaffold,
    terms,
    yamlfile,
)
from botlib.alerts import AlertSettings
from botlib.config import BacktestParams
from botlib.errors import InputError, RunFailed
from botlib.learn_config import LearnParams
from botlib.origins import MAPS, parameters_of
from botlib.providers.alpaca import FEEDS
from botlib.run_params import RunParams
from botlib.session_config import CONFIRMATION

KINDS = [SessionParams, LiveParams]
ALPACA = {"venue": "alpaca", "provider": "alpaca"}

# Made up; of the form of Alpaca's.
KEY_ID = "PK" + "A1B2C3D4E5F6G7H8I9"


def refusal(schema: type[RunParams], **values) -> str:
    with pytest.raises(InputError) as caught:
        schema(**values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the schema -----------------------------------------------------------------------------------------------------


def test_a_session_takes_what_a_backtest_takes_but_what_only_history_needs():
    ours, backtest = list(SessionParams.model_fields), list(BacktestParams.model_fields)
    assert [name for name in backtest if name not in ours] == ["cash", "convention", "truncations"]
    for name in RunParams.model_fields:
        if name != "name":
            assert getattr(SessionParams(), name) == getattr(BacktestParams(), name)
    assert list(LiveParams.model_fields) == ours


def test_defaults_trade_nowhere_but_on_the_local_exchange():
    paper, live = SessionParams(), LiveParams()
    for params in (paper, live):
        assert (params.venue, params.enable_live, params.account, params.orders) == ("sandbox", False, None, "send")
        assert (params.iterations, params.poll_seconds, params.at_end, params.trade_late) == (0, 60.0, "keep", False)
        assert (params.late_grace_seconds, params.daily_delay_minutes, params.feed) == (90.0, 20.0, "iex")
        assert (params.replay_start, params.replay_cash, params.replay_seed, params.speed) == (None, 100_000.0, 0, None)
        assert (params.db, params.on_event, params.ping_env) == ("trades.sqlite", None, "BOTLIB_PING_URL")
        assert params.capital is None
    assert (paper.interval, live.interval) == ("1d", "15m")
    assert (paper.kind, live.kind, BacktestParams.kind) == ("paper", "live", "backtest")


@pytest.mark.parametrize("schema", KINDS)
def test_every_field_says_in_one_sentence_what_it_is(schema):
    for name, field in schema.model_fields.items():
        assert field.description and len(field.description) < 100, name
    assert set(MAPS) <= set(schema.model_fields)


def test_feeds_are_alpacas():
    feeds = SessionParams.model_fields["feed"].annotation.__args__
    assert set(feeds) < set(FEEDS)


@pytest.mark.parametrize("schema", KINDS)
def test_complete_values_make_the_same_parameters(schema):
    params = schema(symbols=["ON"], capital=5000, on_event=["notify", "-x"], strategy={"name": "x", "n": 3})
    assert schema.from_mapping(params.plain()) == params
    assert params.capital == 5000.0


def test_from_notebook_makes_its_own_kind():
    names = {"venue": "sandbox", "iterations": 3, "In": [], "confirmation": object()}
    assert LiveParams.from_notebook(names) == LiveParams(iterations=3)
    assert type(BacktestParams.from_notebook({})) is BacktestParams


# --- one value ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", KINDS)
@pytest.mark.parametrize(("values", "said"), [
    ({"venu": "alpaca"}, "unknown parameter 'venu'; did you mean 'venue'?"),
    ({"cash": 5000.0}, "unknown parameter 'cash'"),
    ({"venue": "Alpaca"}, "venue = 'Alpaca': it must be 'sandbox' or 'alpaca'"),
    ({"venue": None}, "venue = None"),
    ({"orders": "dry"}, "orders = 'dry': it must be 'send' or 'shadow'"),
    ({"at_end": "sell"}, "at_end = 'sell': it must be 'keep', 'cancel-entries' or 'flatten'"),
    ({"feed": "SIP"}, "feed = 'SIP': it must be 'iex', 'sip' or 'delayed_sip'"),
    ({"enable_live": "true"}, "enable_live = 'true'"),
    ({"enable_live": 1}, "enable_live = 1"),
    ({"trade_late": 0}, "trade_late = 0"),
    ({"iterations": -1}, "iterations = -1 is out of range: valid is at least 0."),
    ({"iterations": 3.0}, "iterations = 3.0"),
    ({"iterations": True}, "iterations = True"),
    ({"poll_seconds": 0.5}, "poll_seconds = 0.5 is out of range: valid is 1 to 3600."),
    ({"poll_seconds": "60"}, "poll_seconds = '60'"),
    ({"poll_seconds": 3601}, "poll_seconds = 3601 is out of range"),
    ({"late_grace_seconds": -1}, "late_grace_seconds = -1 is out of range: valid is 0 to 86400."),
    ({"daily_delay_minutes": 500}, "daily_delay_minutes = 500 is out of range: valid is 0 to 240."),
    ({"capital": 0}, "capital = 0 is out of range: valid is 1 to 1e+12."),
    ({"capital": float("nan")}, "capital = nan"),
    ({"replay_cash": 0.5}, "replay_cash = 0.5 is out of range"),
    ({"replay_seed": -1}, "replay_seed = -1 is out of range"),
    ({"speed": 0.5}, "speed = 0.5 is out of range: valid is 1 to 100000."),
    ({"replay_start": "2010-13-01"}, "replay_start = '2010-13-01': give a date as YYYY-MM-DD, or null."),
    ({"account": ""}, "account = '': give the name of an account"),
    ({"account": "my account"}, "account = 'my account': give the name of an account, letters, digits, - and _"),
    ({"account": "api"}, "account = 'api': give the name of an account"),
    ({"on_event": ""}, "on_event = '': give a command, a text for the shell or a list of its words, or null"),
    ({"on_event": []}, "on_event = []: give a command"),
    ({"on_event": ["", "x"]}, "on_event is a list (not shown, it may hold a secret): give a command"),
    ({"on_event": [1]}, "on_event is a list (not shown, it may hold a secret): give a command"),
    ({"on_event": {"x": 1}}, "on_event is a map (not shown, it may hold a secret): give a command, a text for the "
                             "shell (a text that holds ': ' stands in quotes)"),
    ({"on_event": 5}, "on_event = 5: give a command"),
    ({"db": " "}, "db = ' ': give a file, e.g. trades.sqlite, a URL without password, or env:MY_DB_URL."),
    ({"db": "env:"}, "db = env:…: behind env: stands the name of an environment variable"),
    ({"db": "env:MY URL"}, "db = env:…: behind env: stands the name"),
    ({"db": None}, "db = None"),
])
def test_a_wrong_value_is_refused_in_one_sentence(schema, values, said):
    assert said in refusal(schema, **values)


@pytest.mark.parametrize("db", [
    "postgresql+psycopg://me:geheim17@host/trades", "postgresql://me:geheim17@host:5432/trades",
    "postgresql://host/trades?user=me&password=geheim17", "postgresql://me:ge/heim17@host/trades",
    "host=db password=geheim17", "postgresql://:geheim17@host/x", "postgresql://h/x?sslpassword=geheim17",
])
def test_a_database_with_a_password_is_refused_without_being_shown(db):
    said = refusal(SessionParams, db=db)
    assert said == ("db holds a password (not shown), and parameters are stored in files and notebooks: put the URL "
                    "into an environment variable and name that, e.g. db: env:MY_DB_URL.")


@pytest.mark.parametrize("db", ["trades.sqlite", "data/a b.sqlite", "postgresql+psycopg://me@host:5432/trades",
                                "postgresql:///trades?host=/run/pg", "sqlite:///x.sqlite", "env:MY_DB_URL"])
def test_a_database_without_one_is_welcome(db):
    assert SessionParams(db=db).db == db


def test_a_database_is_looked_up_in_the_environment():
    url = "postgresql+psycopg://me:geheim17@host/trades"
    assert SessionParams(db="env:MY_DB_URL").database({"MY_DB_URL": f" {url}\n"}) == url
    assert SessionParams(db="x.sqlite").database({}) == "x.sqlite"
    for environ in ({}, {"MY_DB_URL": " "}):
        with pytest.raises(InputError, match="the environment variable MY_DB_URL is not set; set it to the database's"):
            SessionParams(db="env:MY_DB_URL").database(environ)


@pytest.mark.parametrize("value", ["https://hc-ping.com/0a1b2c3d-secret", "hc-ping.com", "MY PING", "", KEY_ID])
def test_an_address_in_place_of_a_variables_name_is_refused_without_being_shown(value):
    said = refusal(SessionParams, ping_env=value)
    assert said.startswith("ping_env holds something else than a name (not shown, an address may be secret): give the "
                           "name of the environment variable that holds the address, e.g. BOTLIB_PING_URL")
    assert not value or value not in said


def test_a_key_in_place_of_an_accounts_name_is_refused_without_being_shown():
    said = refusal(SessionParams, account=KEY_ID)
    assert said.startswith("account is a text (not shown, it may hold a secret): give the name of an account")
    assert KEY_ID not in said


# Made up. The first has the form of a key; the other is a secret of no form at all.
BEARER, PLAIN = "Bearer sk-" + "abcdef0123456789abcdef", "Bearer quiet-otter"


@pytest.mark.parametrize("value", [{"curl -H 'Authorization": f"{PLAIN}' http://x"}, ["", PLAIN], [PLAIN, 7], {PLAIN},
                                   f"{PLAIN}\0"])
@pytest.mark.parametrize(("model", "name"), [
    (SessionParams, "on_event"), (SessionParams, "db"), (SessionParams, "account"), (SessionParams, "ping_env"),
    (AlertSettings, "on_event"), (AlertSettings, "ping_url_env")])
def test_what_may_hold_a_secret_is_refused_without_being_shown(model, name, value):
    if (name, type(value)) == ("account", str):
        value = {"x": PLAIN}  # as text it is a name, and shown
    said = refusal(model, **{name: value})
    assert said.startswith(name) and "otter" not in said


@pytest.mark.parametrize("values", [
    {"capital": BEARER}, {"safety": BEARER}, {"period": BEARER}, {"symbols": [BEARER]}, {"symbols": {"x": BEARER}},
    {"orders": f"token={BEARER.split()[1]}"}, {"start": BEARER}, {"account": BEARER}, {BEARER: 1},
    {"risk": {"stop_loss_pct": BEARER}}, {"capital": f"key:{KEY_ID}"}])
def test_a_word_of_the_form_of_a_key_is_starred_in_every_refusal(values):
    said = refusal(SessionParams, **values)
    assert "***" in said and "abcdef0123456789" not in said and KEY_ID not in said


def test_a_command_that_yaml_takes_for_a_map_is_not_shown():
    with pytest.raises(InputError) as caught:
        job.settled("paper", base=Path(), sets=[f"on_event=curl -H 'Authorization: {PLAIN}' http://x"])
    assert str(caught.value).startswith("--set: on_event is a map (not shown") and "otter" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        job.settled("paper", base=Path(), sets=[BEARER])
    assert str(caught.value).startswith("--set Bearer ***: give NAME=VALUE")


def test_what_variables_hold_is_masked():
    params = SessionParams(db="env:MY_DB", ping_env="PING_ME")
    assert params.variables() == ("PING_ME", "MY_DB")
    assert SessionParams(ping_env=None).variables() == BacktestParams().variables() == ()
    environ = {"PING_ME": "https://ping/abcdef", "MY_DB": "postgresql://u:p@host/x", "OTHER": "not a secret"}
    assert hygiene.environment_secrets(environ, params.variables()) == ["postgresql://u:p@host/x", "https://ping/abcdef"]


# --- the line that a person types -----------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", KINDS)
@pytest.mark.parametrize("values", [
    {"confirm": True}, {"confirm": "yes"}, {"confirmation": CONFIRMATION}, {"i_understand": True}, {"CONFIRM": None},
    {"typed": "yes i understand "},
])
def test_the_confirmation_is_taken_from_no_parameter(schema, values):
    name = next(iter(values))
    assert refusal(schema, **values) == (
        f"{name}: the line that allows live trading is typed by a person and taken from no parameter; take it out and "
        "type it when the session asks, or beforehand in python -m botlib live arm.")


@pytest.mark.parametrize("place", ["file", "--set", "cell"])
def test_nor_from_a_file_a_flag_or_a_notebooks_cell(tmp_path, place):
    cell = session_cell(LiveParams) + (f'confirm = "{CONFIRMATION}"  # no\n' if place == "cell" else "")
    project = make_project(tmp_path, "live", cell=cell)
    (project / "parameters" / "mine.yaml").write_text(f"confirm: {CONFIRMATION}\n", encoding="utf-8")
    options = {"file": {"configs": ["parameters/mine.yaml"]}, "--set": {"sets": [f"confirm={CONFIRMATION}"]},
               "cell": {}}[place]
    origin = {"file": "parameters/mine.yaml", "--set": "--set", "cell": "notebooks/40_live.ipynb"}[place]
    with pytest.raises(InputError, match=rf"^{re.escape(origin)}: confirm: the line that allows live trading is typed"):
        job.prepare("live", root=project, **options)


def test_live_starts_only_when_it_is_enabled():
    LiveParams(enable_live=True).require_enabled()
    SessionParams().require_enabled()
    with pytest.raises(InputError, match="^enable_live = False: live trading starts only when it is asked for: "
                                         "--enable-live, or enable_live: true in a parameter file of your own"):
        LiveParams().require_enabled()


# --- values that contradict each other ------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "said"), [
    ({"risk": {"max_position_pct": 20.0}}, "risk.max_position_pct = 20 exceeds safety.max_position_size_pct = 10"),
    ({"start": "2012-01-03", "end": "2011-01-03"}, "end = '2011-01-03' lies before start"),
    ({"calendar": None}, "calendar = None: a session waits for its exchange's hours; give its calendar, e.g. XNYS."),
    ({"feed": "sip"}, "feed = 'sip' is a feed of Alpaca's, and venue = 'sandbox' replays the bars of provider; take "
     "feed out, or set venue: alpaca."),
    ({"capital": 200_000.0}, "capital = 200000 exceeds replay_cash = 100000, all that the sandbox's account has"),
    ({"replay_start": "2010-01-04", "start": "2010-01-04"}, "replay_start = '2010-01-04' is not after start = "
     "'2010-01-04': the strategy needs history before the replay."),
    ({"replay_start": "2012-01-03", "end": "2011-01-03"}, "replay_start = '2012-01-03' lies after end = "
     "'2011-01-03': nothing would be left to replay."),
    ({"interval": "5m", "poll_seconds": 600.0}, "poll_seconds = 600 is longer than a bar of interval = '5m': bars "
     "would be missed. Give 300 or less."),
    ({"venue": "alpaca"}, "provider = 'sample' with venue = 'alpaca': a session on Alpaca decides on Alpaca's bars; "
     "set provider: alpaca."),
    (ALPACA | {"end": "2011-01-03"}, "end = '2011-01-03': a session on Alpaca goes on with the present; set end"),
    (ALPACA | {"replay_start": "2012-01-03"}, "replay_start = '2012-01-03' belongs to the local exchange; take it out, "
     "or set venue: sandbox."),
    (ALPACA | {"speed": 60.0}, "speed = 60.0 belongs to the local exchange"),
    (ALPACA | {"interval": "15m", "feed": "delayed_sip"}, "feed = 'delayed_sip' with interval = '15m': its bars come "
     "15 minutes late, too late for a decision; take feed iex or sip, or interval 1d."),
    (ALPACA | {"interval": "15m", "late_grace_seconds": 30.0}, "late_grace_seconds = 30 is not above poll_seconds = "
     "60: a decision of the last pass in time would be too late to be sent. Raise the first or lower the second."),
    (ALPACA | {"interval": "15m", "late_grace_seconds": 60.0}, "late_grace_seconds = 60 is not above poll_seconds"),
    (ALPACA | {"provider_options": {"feed": "sip"}}, "provider_options.feed = 'sip': a session has one feed, for bars "
     "and orders; give it as feed and take it out here."),
    ({"provider": "alpaca", "provider_options": {"account": "x"}}, "provider_options.account = 'x': a session has one "
     "account"),
    (ALPACA | {"provider_options": {"adjustment": "all"}}, "provider_options.adjustment = 'all': orders need raw "
     "prices; take it out, signal_adjustment says what the strategy sees."),
])
@pytest.mark.parametrize("schema", KINDS)
def test_values_that_contradict_each_other_are_refused(schema, values, said):
    assert said in refusal(schema, **values)


@pytest.mark.parametrize("values", [
    ALPACA | {"interval": "1d", "feed": "delayed_sip"}, ALPACA | {"interval": "1d", "poll_seconds": 600.0},
    ALPACA | {"interval": "15m", "late_grace_seconds": 0.0, "trade_late": True}, ALPACA | {"start": "2020-01-02"},
    {"interval": "15m", "late_grace_seconds": 0.0}, {"provider": "alpaca", "feed": "sip"},
    {"replay_start": "2010-01-05", "start": "2010-01-04", "end": "2010-01-05"}, {"capital": 100_000.0},
    ALPACA | {"provider_options": {"hours": "extended"}, "account": "swing", "capital": 1e9},
])
def test_values_that_agree_pass(values):
    assert SessionParams(**values).venue == values.get("venue", "sandbox")


def test_only_a_live_session_can_be_enabled_and_it_cannot_do_without_limits():
    assert refusal(SessionParams, enable_live=True).startswith("enable_live = True: a paper session trades no real")
    assert refusal(LiveParams, safety=None).startswith("safety = None: live trading has limits")
    said = refusal(LiveParams, safety={"require_explicit_enable": False})
    assert said.startswith("safety.require_explicit_enable = False: live trading always needs enable_live and the")
    assert SessionParams(safety=None).safety is None


def test_a_live_blend_needs_a_memory():
    said = refusal(LiveParams, strategy={"name": "blend"})
    assert said.startswith("strategy.memory = None: after a restart a live session would not know what a member")
    assert LiveParams(strategy={"name": "blend", "memory": 250}) and SessionParams(strategy={"name": "blend"})


def test_a_refusal_names_the_places_that_its_values_came_from():
    with pytest.raises(InputError) as caught:
        parameters_of(SessionParams, {"venue": "alpaca", "provider": "sample"},
                      {"venue": "mine.yaml", "provider": "notebooks/30_paper.ipynb"})
    assert str(caught.value).startswith("notebooks/30_paper.ipynb (provider), mine.yaml (venue): provider = 'sample'")


def test_alpacas_bars_come_from_the_sessions_account_and_feed():
    params = SessionParams(**ALPACA, account="swing", feed="sip", provider_options={"hours": "extended"})
    assert params.options_of_provider() == {"hours": "extended", "account": "swing", "feed": "sip"}
    assert SessionParams(provider_options={"x": 1}).options_of_provider() == {"x": 1}


# --- files that ship ------------------------------------------------------------------------------------------------


def shipped(root, kind: str) -> dict:
    return yamlfile.read(root / "parameters" / f"{kind}.yaml", f"parameters/{kind}.yaml")


@pytest.mark.parametrize("schema", KINDS)
def test_a_shipped_file_is_complete_and_says_the_schemas_defaults(root, schema):
    values, usual = shipped(root, schema.kind), schema().plain()
    assert list(values) == list(schema.model_fields)
    for name in ("risk", "costs", "safety"):
        assert list(values[name].items()) == list(usual[name].items())
    assert {k: v for k, v in values.items() if k != "strategy"} == {k: v for k, v in usual.items() if k != "strategy"}
    assert values["strategy"] == shipped(root, "backtest")["strategy"]
    text = (root / "parameters" / f"{schema.kind}.yaml").read_text(encoding="utf-8")
    for name in [name for name in schema.model_fields if name not in (*MAPS, "symbols", "replay_seed")]:
        assert re.search(rf"^{name}: .* # \w", text, re.MULTILINE), f"{name} has no comment"


def test_nothing_that_ships_trades_real_money(root):
    """Files, defaults and notebooks: the local exchange, not enabled, no account, no word of the confirmation."""
    for path in (root / "parameters" / name for name in ("backtest.yaml", "paper.yaml", "live.yaml")):
        values = yamlfile.read(path, path.name)
        assert values.get("venue", "sandbox") == "sandbox" and values.get("enable_live", False) is False, path.name
        assert values["provider"] == "sample" and values.get("account") is None, path.name
        assert CONFIRMATION not in path.read_text(encoding="utf-8").upper(), path.name
        hygiene.refuse_secrets(values, path.name)
    for path in (root / "notebooks").glob("[34]0_*.ipynb"):
        cell = notebook_params.defaults_in(notebook_params.read(path, path.name), path.name)
        assert (cell["venue"], cell["provider"], cell.get("enable_live", False)) == ("sandbox", "sample", False)
    for schema in KINDS:
        assert (schema().venue, schema().enable_live, schema().provider) == ("sandbox", False, "sample")


# --- with and without the notebook ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["paper", "live"])
def test_what_nothing_sets_is_the_notebooks_with_and_without_it(root, kind, tmp_path):
    """The command line's own reading: the cell's values, the file's over them."""
    file = tmp_path / "few.yaml"
    file.write_text("symbols: [MSFT]\niterations: 7\n")
    options = SimpleNamespace(config=[str(file)], sets=["poll_seconds=5"], strategy=None, max_drawdown=4.0,
                              max_daily_loss=None)
    found = cli_permit.session_params(options, kind, root)
    cell = notebook_params.defaults_in((root / job.NOTEBOOKS[kind]).read_text(encoding="utf-8"), kind)
    assert (found.symbols, found.iterations, found.poll_seconds) == (["MSFT"], 7, 5.0)
    assert found.safety.max_drawdown_pct == 4.0
    for name in ("replay_start", "period", "interval", "at_end", "speed", "capital"):
        assert getattr(found, name) == cell[name], name
    assert cell["replay_start"] is not None and SessionParams().replay_start is None  # else this would show nothing
    with_it = job.prepare(kind, configs=[file], sets=options.sets, flags={"safety.max_drawdown_pct": 4.0}, root=root)
    assert terms.params_hash(found) == terms.params_hash(with_it.params)


def test_a_project_without_notebooks_has_the_librarys_defaults(root, tmp_path):
    (tmp_path / "parameters").mkdir()
    options = SimpleNamespace(config=[], sets=[], strategy=None, max_drawdown=None, max_daily_loss=None)
    found = cli_permit.session_params(options, "paper", tmp_path)
    assert found.plain() | {"strategy": None} == SessionParams().plain() | {"strategy": None}


def test_another_venue_leaves_the_notebooks_replay_behind(root, monkeypatch):
    """The cell's values, but not what a person wrote."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY_ID)
    monkeypatch.setenv("APCA_API_SECRET_KEY", "local-secret")
    made = job.prepare("paper", flags=ALPACA, root=root)
    assert (made.params.replay_start, made.params.speed, made.origins["replay_start"]) == (None, None, "default")
    assert made.values["replay_start"] is None  # goes into the notebook in place of its own
    with pytest.raises(InputError, match=r"--set: replay_start = '2012-01-03' belongs to the local exchange"):
        job.prepare("paper", flags=ALPACA, sets=["replay_start=2012-01-03"], root=root)
    assert job.prepare("paper", flags={"venue": "sandbox"}, root=root).params.replay_start is not None


# --- kinds of runs --------------------------------------------------------------------------------------------------

SAVES = '''\
from botlib import {schema}, result_file, terms
from botlib.strategies import strategy_hash
settings = {schema}.from_notebook(globals())
summary = {{"iterations": settings.iterations, "total_trades": 2, "total_pnl": 1.5, "status": "success", "reason": ""}}
result_file.save_session(output_dir, summary=summary, strategy_hash=strategy_hash(settings.load_strategy()),
                         params_hash=terms.params_hash(settings), limits_hash=terms.limits_hash(settings))'''


def session_cell(schema: type[RunParams]) -> str:
    return "".join(f"{name} = {notebook_params.literal(value)}\n" for name, value in schema().plain().items()) \
        + 'output_dir = ""\n'


def make_project(folder, kind: str, *cells: str, cell: str | None = None):
    schema = job.SCHEMAS[kind]
    (folder / "parameters").mkdir(parents=True)
    helpers.write_notebook(folder / job.NOTEBOOKS[kind], *(cells or (SAVES.format(schema=schema.__name__),)),
                           parameters=cell or session_cell(schema))
    return folder


def test_each_kind_has_a_schema_and_a_notebook():
    assert {"backtest": BacktestParams, "paper": SessionParams, "live": LiveParams, "learn": LearnParams} == job.SCHEMAS
    assert list(job.NOTEBOOKS) == list(job.SCHEMAS) == list(result_file.KEYS_OF)
    with pytest.raises(InputError, match="kind = 'papr'; did you mean 'paper'. Valid: backtest, paper, live"):
        job.prepare("papr")


def test_a_job_of_a_kind_has_its_parameters_and_its_hints(tmp_path):
    project = make_project(tmp_path, "live")
    (project / "parameters" / "mine.yaml").write_text("iterations: 3\n", encoding="utf-8")
    work = job.prepare("live", root=project, configs=["parameters/mine.yaml"], sets=["risk.stop_loss_pct=3.0"],
                       flags={"enable_live": True})
    assert type(work.params) is LiveParams
    assert (work.params.iterations, work.params.risk.stop_loss_pct, work.params.enable_live) == (3, 3.0, True)
    assert work.params.strategy["rsi_period"] == 14  # filled in
    assert (work.origins["iterations"], work.origins["enable_live"]) == ("parameters/mine.yaml", "--enable-live")
    assert work.values["venue"] == "sandbox"
    with pytest.raises(InputError, match="unknown parameter 'vnue.x'; did you mean 'venue'"):
        job.prepare("live", root=project, sets=["vnue.x=1"])
    with pytest.raises(InputError, match="^--set: iterations = -1 is out of range"):
        job.prepare("live", root=project, sets=["iterations=-1"])


def test_a_password_in_a_file_is_told_where_it_belongs(tmp_path):
    project = make_project(tmp_path, "paper")
    (project / "parameters" / "mine.yaml").write_text("db: postgresql://me:geheim17@host/x\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        job.prepare("paper", root=project, configs=["parameters/mine.yaml"])
    assert str(caught.value).startswith("parameters/mine.yaml: db looks like a secret") and "env:MY_DB_URL" in \
        str(caught.value) and "geheim17" not in str(caught.value)


def test_a_missing_notebook_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"notebook notebooks/30_paper\.ipynb does not exist"):
        job.prepare("paper", root=helpers.make_project(tmp_path))


@pytest.mark.slow
def test_a_session_run_leaves_its_record_and_can_be_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PING", "https://ping.example/0a1b2c3d")
    shows = "import os\nprint('asked', os.environ['MY_PING'])"
    project = make_project(tmp_path, "paper", shows, SAVES.format(schema="SessionParams"))
    done = run.execute(job.prepare("paper", root=project, sets=["iterations=7", "ping_env=MY_PING", "name=mine"]))
    assert done.folder.parent == project / "outputs" / "paper"
    assert done.result["summary"] == {"iterations": 7, "total_trades": 2, "total_pnl": 1.5, "status": "success",
                                      "reason": ""}
    provenance = json.loads((done.folder / "provenance.json").read_text(encoding="utf-8"))
    assert (provenance["kind"], provenance["status"], provenance["data"]) == ("paper", "ok", {"hash": None})
    assert provenance["strategy"]["hash"] == done.result["strategy_hash"]
    assert "0a1b2c3d" not in done.notebook.read_text(encoding="utf-8")
    assert "asked ***" in done.notebook.read_text(encoding="utf-8")
    text = (done.folder / "parameters.yaml").read_text(encoding="utf-8")
    assert "# where orders go: sandbox" in text
    again = job.prepare("paper", root=project, configs=[done.folder / "parameters.yaml"])
    assert again.params == done.params
    draft = scaffold.open_draft(done.folder, root=project)
    assert notebook_params.defaults_in(draft.read_text(encoding="utf-8"), "draft")["iterations"] == 7


@pytest.mark.slow
def test_a_session_that_leaves_no_result_failed(tmp_path):
    project = make_project(tmp_path, "live", "x = 1")
    with pytest.raises(RunFailed, match=r"without writing result\.json; its last cell calls save_session"):
        run.execute(job.prepare("live", root=project))
    backtests = "from botlib.result_file import save_result\nsave_result(output_dir, metrics={}, benchmark={}, " \
                "halts=[], checks={}, data_hash='a', strategy_hash='b')"
    helpers.write_notebook(project / job.NOTEBOOKS["live"], backtests, parameters=session_cell(LiveParams))
    with pytest.raises(RunFailed, match=r"result\.json lacks summary, params_hash, limits_hash"):
        run.execute(job.prepare("live", root=project))


def test_a_summary_may_be_an_object(tmp_path):
    summary = SimpleNamespace(iterations=3, total_trades=1, total_pnl=float("nan"), status="user-cancelled",
                              reason="by x")
    result_file.save_session(str(tmp_path), summary=summary, strategy_hash="a", params_hash="b", limits_hash="c")
    result = result_file.read_result(tmp_path, "paper")
    assert result["summary"] == {"iterations": 3, "total_trades": 1, "total_pnl": None, "status": "user-cancelled",
                                 "reason": "by x"}
    result_file.save_session("", summary=summary, strategy_hash="a", params_hash="b", limits_hash="c")  # nowhere


@pytest.mark.parametrize(("name", "text", "kind"), [
    ("live.yaml", "iterations: 3\n", "live"), ("mine.yaml", "iterations: 3\n", "paper"),
])
def test_a_draft_is_of_the_kind_that_its_file_is_for(tmp_path, name, text, kind):
    project = make_project(tmp_path, kind)
    (project / "parameters" / name).write_text(text, encoding="utf-8")
    draft = nbformat.read(scaffold.open_draft(f"parameters/{name}", root=project), as_version=4)
    assert notebook_params.defaults(draft, "draft")["name"] == kind
