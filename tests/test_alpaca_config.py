"""`AlpacaConfig`: where keys come from, where they may go, and that they never show."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from botlib.brokers.alpaca.config import LIVE, PAPER, AlpacaConfig, Secret
from botlib.errors import CredentialsError, InputError

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


@pytest.mark.parametrize("limit", [0, 29, 1.5, "200", True, 100_001])
def test_a_limit_of_requests_out_of_range(limit):
    with pytest.raises(InputError, match="requests_per_minute"):
        config(requests_per_minute=limit)
