"""What is found out before anything is taken: alerts, days without trading, arms; and an end that always comes."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from botlib import live
from botlib.errors import BrokerUnavailable, InputError
from botlib.repository import Repository
from botlib.session_config import SessionParams

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def params(**values):
    return SessionParams(**{"symbols": ["AAPL", "IBM"], "strategy": {"name": "moving_average_cross"}, "ping_env": None,
                            "db": "t.sqlite", "iterations": 3} | values)


@pytest.mark.parametrize(("values", "environ", "words"), [
    ({"ping_env": "BOTLIB_PING_URL"}, {"BOTLIB_PING_URL": "http://example.org"}, "https"),
    ({"on_event": "true", "ping_env": "MY_PING"}, {}, "MY_PING.*not set")])
def test_alerts_that_cannot_be_are_refused_before_anything_is_taken(folder, values, environ, words):
    with pytest.raises(InputError, match=words):
        live.start_session(params(**values), root=folder, environ=environ)
    assert not (folder / "t.sqlite").exists()


def test_nobody_is_pinged_who_was_not_asked_for(folder):
    """``ping_env: null`` beside a command: an address in the usual variable is left alone, even a bad one."""
    live._teller(params(on_event="true"), {"BOTLIB_PING_URL": "http://example.org"})
    with pytest.raises(InputError, match="https"):
        live._teller(params(on_event="true", ping_env="BOTLIB_PING_URL"), {"BOTLIB_PING_URL": "http://example.org"})


def test_a_bug_at_the_end_gives_the_account_back_all_the_same(folder, monkeypatch):
    from botlib.session import runtime

    def broken(*_):
        raise ZeroDivisionError("no")

    monkeypatch.setattr(runtime, "parity_of", broken)
    session = live.start_session(params(), root=folder, environ={})
    lines: list[str] = []
    summary = session.join(lines.append)
    assert summary.status == "success" and any("could not be compared: no" in line for line in lines)
    with Repository.open(str(folder / "t.sqlite")) as repository:
        assert repository.session(summary.session_id).status == "success"
        [row] = [lease for lease in (repository.lease(one.account_id) for one in repository.ledgers()) if lease]
        assert row.released is not None


def test_stop_ends_a_session_whose_broker_is_out_of_reach_and_that_owes_a_flatten(folder, monkeypatch):
    session = live.start_session(params(iterations=0, speed=1.0, replay_start="2012-01-04"), root=folder, environ={})
    while session.report is None or session.report.time is None:
        time.sleep(0.05)
    inner = session.started.session

    def away(*_, **__):
        raise BrokerUnavailable("the broker cannot be reached.", reason="timeout")

    monkeypatch.setattr(inner, "_observe", away)
    with session.started.repository.writing() as tx:
        for kind in ("flatten", "stop"):
            tx.request(inner.core.identity.account_id, kind, by="me", time=pd.Timestamp.now("UTC"))
    summary = session.join(lambda _: None)
    assert summary.status == "user-cancelled"
    with Repository.open(str(folder / "t.sqlite")) as repository:
        [left] = repository.requests(inner.core.identity.account_id)
    assert left.kind == "flatten"  # it stands
