"""`AlpacaConfig`: where keys come from, where they may go, and that they never show."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import pprint
import traceback

import msgpack
import pytest

from botlib.brokers.alpaca.config import LIVE, PAPER, AlpacaConfig, Secret
from botlib.brokers.alpaca.secrecy import Masked
from botlib.errors import BotlibWarning, CredentialsError, InputError

# No key of anybody's: the form that Alpaca's have.
PAPER_ID, LIVE_ID, SECRET = "PK" + "TESTTESTTEST", "AK" + "TESTTESTTEST", "not-a-real-" + "secret"


def env(key=PAPER_ID, secret=SECRET, **more):
    return {"APCA_API_KEY_ID": key, "APCA_API_SECRET_KEY": secret} | more


def config(**fields):
    return AlpacaConfig(**({"key_id": Secret(PAPER_ID), "secret_key": Secret(SECRET)} | fields))


def test_the_environment_alone():
    found = AlpacaConfig.from_env(environ=env(), env_file=None)
    assert (found.key_id.reveal(), found.secret_key.reveal()) == (PAPER_ID, SECRET)
    assert (found.base_url, found.data_url, found.kind) == (PAPER, "https://data.alpaca.markets", "paper")
    assert found.trade_stream_url == "wss://paper-api.alpaca.markets/stream"
    assert found.data_stream_url == "wss://stream.data.alpaca.markets/v2"
    assert found.requests_per_minute == 200


@pytest.mark.parametrize("given", [PAPER, PAPER + "/", PAPER + "/v2", PAPER + "/v2/"])
def test_an_address_with_slash_or_version(given):
    assert AlpacaConfig.from_env(environ=env(APCA_API_BASE_URL=given), env_file=None).base_url == PAPER


def test_live_is_asked_for_by_its_host():
    found = AlpacaConfig.from_env(environ=env(LIVE_ID, APCA_API_BASE_URL=LIVE), env_file=None)
    assert (found.kind, found.trade_stream_url) == ("live", "wss://api.alpaca.markets/stream")


@pytest.mark.parametrize("host", ["http://127.0.0.1:8765", "http://localhost:8765/", "http://[::1]:8765"])
@pytest.mark.parametrize("key", ["local", PAPER_ID, LIVE_ID])
def test_this_machine_takes_any_key(host, key):
    found = AlpacaConfig.from_env(environ=env(key, APCA_API_BASE_URL=host), env_file=None)
    host = host.rstrip("/")
    assert (found.kind, found.base_url, found.data_url) == ("sandbox", host, host)
    assert found.trade_stream_url == host.replace("http", "ws") + "/stream"
    assert found.data_stream_url == host.replace("http", "ws") + "/v2"
    assert found.requests_per_minute is None


def test_the_file_and_the_environment_over_it(tmp_path):
    (tmp_path / "parameters").mkdir()
    (tmp_path / ".env").write_text(f"\ufeffexport APCA_API_KEY_ID='{PAPER_ID}'\n"
                                   "APCA_API_SECRET_KEY=\"a${HOME}c\" # mine\n"
                                   f"APCA_API_BASE_URL={PAPER}/v2\n", encoding="utf-8")
    found = AlpacaConfig.from_env(environ={}, root=tmp_path)
    assert (found.key_id.reveal(), found.secret_key.reveal()) == (PAPER_ID, "a${HOME}c")  # nothing is filled in
    assert found.source == str(tmp_path / ".env")
    over = AlpacaConfig.from_env(environ=env("PK" + "OTHER"), root=tmp_path)
    assert (over.key_id.reveal(), over.source) == ("PK" + "OTHER", "the environment")


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(InputError, match="env_file = 'other.env': there is no file"):
        AlpacaConfig.from_env(environ={}, root=tmp_path, env_file="other.env")


def test_a_key_and_its_secret_come_from_one_place(tmp_path):
    (tmp_path / ".env").write_text("APCA_API_SECRET_KEY=" + SECRET)
    with pytest.raises(CredentialsError, match="APCA_API_SECRET_KEY is missing in the environment"):
        AlpacaConfig.from_env(environ={"APCA_API_KEY_ID": PAPER_ID}, root=tmp_path)


def test_named_accounts():
    environ = env() | {"APCA_SWING_API_KEY_ID": "PK" + "SWING", "APCA_SWING_API_SECRET_KEY": "swing-secret"}
    found = AlpacaConfig.from_env("swing", environ=environ, env_file=None)
    assert (found.key_id.reveal(), found.secret_key.reveal()) == ("PK" + "SWING", "swing-secret")
    assert found.account == "swing"
    assert AlpacaConfig.from_env(environ=environ, env_file=None).key_id.reveal() == PAPER_ID
    with pytest.raises(CredentialsError, match=r"account 'swnig'.*APCA_SWNIG_API_KEY_ID.*Accounts there are: swing; "
                                               "did you mean 'swing'"):
        AlpacaConfig.from_env("swnig", environ=environ, env_file=None)
    with pytest.raises(InputError, match="account = 'a b'"):
        AlpacaConfig.from_env("a b", environ=environ, env_file=None)


def test_missing_keys_are_explained():
    with pytest.raises(CredentialsError) as caught:
        AlpacaConfig.from_env(environ={}, env_file=None)
    text = str(caught.value)
    assert text.startswith("Alpaca credentials not found: ")
    for piece in ("export APCA_API_KEY_ID=", "APCA_API_SECRET_KEY=", "Windows: set APCA_API_KEY_ID=", ".env",
                  "python -m botlib sandbox"):
        assert piece in text
    assert "\n" not in text


@pytest.mark.parametrize(("key", "base", "message"), [
    (PAPER_ID, LIVE, "a paper key does not go to the live host"),
    (LIVE_ID, PAPER, f"a live key does not go to the paper host .*set APCA_API_BASE_URL={LIVE}"),
    ("CK" + "TESTTEST", PAPER, "starts with neither PK .paper. nor AK .live."),
])
def test_a_key_goes_to_its_own_host_only(key, base, message):
    with pytest.raises(CredentialsError, match=message) as caught:
        AlpacaConfig.from_env(environ=env(key, APCA_API_BASE_URL=base), env_file=None)
    assert key not in str(caught.value)


@pytest.mark.parametrize("base", ["https://paper-api.alpaca.market", "http://paper-api.alpaca.markets", "paper-api",
                                  "https://127.0.0.1.example.com", "https://user:pw@api.alpaca.markets", "ftp://localhost",
                                  "https://evil.example/https://api.alpaca.markets", "http://10.0.0.5:80"])
def test_keys_go_to_no_other_host(base):
    with pytest.raises(InputError, match="base_url"):
        config(base_url=base)
    with pytest.raises(InputError, match="trade_stream_url"):
        config(trade_stream_url=base.replace("http", "ws"))


@pytest.mark.parametrize("key", ["", "PK abc", "PK\r\nX-Header: 1", "PK\u00e9"])
def test_a_key_that_is_none(key):
    with pytest.raises(CredentialsError, match="key_id") as caught:
        config(key_id=Secret(key))
    assert not key or key not in str(caught.value)


def test_a_secret_does_not_show():
    secret = Secret(SECRET)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret:>5}", f"{secret!r}", repr([secret]),
                 repr({1: secret}), repr(config()), str(config())):
        assert SECRET not in text and PAPER_ID not in text
    assert not hasattr(secret, "__dict__")
    for made in (secret, config()):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(made, protocol)
    assert copy.deepcopy(secret) is secret
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_traceback_with_variables_does_not_show_it():
    def fails():
        found = config()
        key = found.secret_key
        raise RuntimeError(f"{key}")

    try:
        fails()
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert SECRET not in shown and "Secret(***)" in shown


@pytest.mark.parametrize("environ", [
    {"APCA_API_KEY_ID": PAPER_ID, "APCA_API_SECRET_KEY": ""},
    {"APCA_API_KEY_ID": "", "APCA_API_SECRET_KEY": SECRET},
    env(LIVE_ID), env("CK" + "TESTTEST"), env(PAPER_ID + " x"), env(secret=SECRET + "\u00e9"),
    env(APCA_API_BASE_URL="https://example.com"), env(APCA_OTHER_API_KEY_ID=LIVE_ID),
], ids=["no-secret", "no-key", "live", "unknown", "blank", "letters", "host", "account"])
@pytest.mark.parametrize("where", ["environment", "file", "argument"])
def test_no_key_in_the_variables_of_a_failed_look_for_them(environ, where, monkeypatch, tmp_path, request):
    """As `traceback` and logging services print them: frame by frame, with all variables."""
    account = "nobody" if "account" in request.node.callspec.id else ""
    for name in env():
        monkeypatch.delenv(name, raising=False)
    options = {"env_file": None}
    if where == "environment":
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
    elif where == "file":
        (tmp_path / ".env").write_text("".join(f"{n}='{v}'\n" for n, v in environ.items()), encoding="utf-8")
        options = {"root": tmp_path}
    else:
        options["environ"] = environ

    def look():
        AlpacaConfig.from_env(account, **options)

    try:
        look()
    except InputError as error:
        assert error.__context__ is None and error.__cause__ is None
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    inside = "".join(line for frame in frames.stack if "botlib" in frame.filename
                     for line in (frame.locals or {}).values()) + str(frames)
    assert {frame.name for frame in frames.stack} >= {"look", "from_env"}
    for value in environ.values():
        assert not value or value.startswith("http") or value not in inside


def test_no_key_in_the_error_of_a_file_that_is_no_text(tmp_path):
    (tmp_path / ".env").write_bytes(b"APCA_API_SECRET_KEY=" + SECRET.encode() + b"\xff\n")
    with pytest.raises(CredentialsError, match="is not UTF-8 text") as caught:
        AlpacaConfig.from_env(environ={}, root=tmp_path)
    assert caught.value.__context__ is None  # that error holds the file's bytes


def test_a_config_taken_apart_does_not_show_its_keys():
    made = config()
    with pytest.raises(TypeError):
        vars(made)  # slots
    for text in (repr(dataclasses.asdict(made)), repr(dataclasses.astuple(made)), repr(made.__getstate__()),
                 pprint.pformat(dataclasses.asdict(made)), str(dataclasses.fields(made)),
                 repr(RuntimeError(made)), json.dumps(dataclasses.asdict(made), default=str)):
        assert SECRET not in text and PAPER_ID not in text
    for state in (Secret(SECRET).__getstate__, lambda: copy.copy(Masked(SECRET))):
        with pytest.raises(TypeError):
            state()


def test_a_masked_key_is_sent_and_not_shown():
    key = Masked(SECRET)
    assert json.loads(json.dumps({"key": key})) == {"key": SECRET}
    assert msgpack.unpackb(msgpack.packb({"key": key})) == {"key": SECRET}
    for text in (repr(key), str(key), f"{key}", f"{key:>20}", "%s" % key, repr({"key": key})):  # noqa: UP031
        assert SECRET not in text


@pytest.mark.parametrize("limit", [0, 29, 1.5, "200", True, 100_001])
def test_a_limit_of_requests_out_of_range(limit):
    with pytest.raises(InputError, match="requests_per_minute"):
        config(requests_per_minute=limit)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "base", "fix"), [
    (PAPER_ID, LIVE, f"APCA_SWING_API_BASE_URL={PAPER}"), (LIVE_ID, PAPER, f"APCA_SWING_API_BASE_URL={LIVE}")])
def test_a_named_accounts_own_variable_is_named(key, base, fix):
    there = {"APCA_SWING_API_KEY_ID": key, "APCA_SWING_API_SECRET_KEY": SECRET, "APCA_SWING_API_BASE_URL": base}
    with pytest.raises(CredentialsError) as caught:
        AlpacaConfig.from_env("swing", environ=there, env_file=None)
    assert fix in str(caught.value) and "APCA_API_BASE_URL" not in str(caught.value)


@pytest.mark.parametrize("url", [
    f"https://{PAPER_ID}:{SECRET}@paper-api.alpaca.markets", f"https://{PAPER_ID}:se/c@ret-{SECRET}@example.com/v2",
    f"{PAPER_ID}:{SECRET}@paper-api.alpaca.markets", f"https://paper-api.alpaca.markets/v2?key={SECRET}",
    f"https://example.com#{SECRET}", SECRET.replace("-", "")])
@pytest.mark.parametrize("name", ["base_url", "data_url", "trade_stream_url", "data_stream_url"])
def test_an_address_with_keys_in_it_is_not_shown(url, name):
    with pytest.raises(InputError) as caught:
        config(**{name: url})
    text = str(caught.value)
    assert name in text and PAPER_ID not in text and SECRET not in text and SECRET.replace("-", "") not in text
    if "@" in url:
        assert "Take the keys out of the address" in text and "***@" in text


def test_a_wrong_address_is_shown():
    with pytest.raises(InputError, match="base_url = 'https://paper-api.alpaca.market' .*did you mean"):
        config(base_url="https://paper-api.alpaca.market")


@pytest.mark.parametrize(("fields", "message"), [
    ({"data_stream_url": 5}, "data_stream_url is of type int: give a text"), ({"base_url": 5}, "base_url = 5"),
    ({"account": None}, "account is of type NoneType"),
    ({"url": "x"}, "AlpacaConfig has no 'url'"), ({"base": PAPER}, "no 'base'; did you mean 'base_url'")])
def test_fields_of_the_wrong_kind(fields, message):
    with pytest.raises(InputError, match=message):
        config(**fields)


def test_keys_are_not_given_to_from_env():
    with pytest.raises(InputError, match="from_env reads the keys itself; to give them use AlpacaConfig") as caught:
        AlpacaConfig.from_env(environ=env(), env_file=None, key_id=SECRET)
    assert SECRET not in str(caught.value)
    with pytest.raises(InputError, match="from_env has no 'basurl'; did you mean 'base_url'"):
        AlpacaConfig.from_env(environ=env(), env_file=None, basurl=PAPER)
    with pytest.raises(InputError, match="environ is of type str"):
        AlpacaConfig.from_env(environ="x", env_file=None)


@pytest.mark.parametrize(("account", "end"), [
    ("swng", "Accounts there are: swing; did you mean 'swing'? Keys"), ("Swing", "Accounts there are: swing. Keys"),
    ("other", "Accounts there are: swing. Keys")])
def test_accounts_there_are(account, end):
    with pytest.raises(CredentialsError) as caught:
        AlpacaConfig.from_env(account, environ={"APCA_SWING_API_KEY_ID": PAPER_ID}, env_file=None)
    assert end in str(caught.value)


def test_a_broken_line_of_the_file_is_named(tmp_path, capfd):
    """And not shown: it may hold a key."""
    file = tmp_path / ".env"
    file.write_text(f"APCA_API_KEY_ID={PAPER_ID}\nmine {SECRET}\n# a comment\n\nAPCA_API_SECRET_KEY=\"a b\" # why\n")
    with pytest.warns(BotlibWarning, match=r"env-file: .*\.env: line 2 is not NAME=value and is left out") as warned, \
            pytest.raises(CredentialsError, match="secret_key has blanks"):
        AlpacaConfig.from_env(environ={}, env_file=file)
    assert SECRET not in str(warned[0].message)
    assert capfd.readouterr().err == ""


def test_a_copy_is_the_same():
    made = config()
    assert copy.copy(made) is made and copy.deepcopy({"config": made})["config"] is made
