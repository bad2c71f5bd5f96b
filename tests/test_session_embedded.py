"""Sessions on an exchange within their own process: its clock, and whose account it has."""

from __future__ import annotations

import time

import pytest

from botlib import live
from botlib.errors import LeaseRefused
from botlib.repository import Repository
from botlib.session.starting import start
from botlib.session.venues import open_venue
from botlib.session_config import LiveParams, SessionParams

pytestmark = pytest.mark.slow

SLOW = '''\
import time
from dataclasses import dataclass

import numpy as np

from botlib.strategies import Strategy

asked = []


@dataclass(frozen=True)
class Slow(Strategy):
    """Thinks for three seconds before its first answer, as one that compiles does."""

    warmup = 2

    def targets(self, bars):
        if not asked:
            asked.append(True)
            time.sleep(3.0)
        return np.full(bars.shape, np.nan)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    return tmp_path


def params(**values):
    return SessionParams(**{"symbols": ["AAPL", "IBM"], "strategy": {"name": "moving_average_cross"}, "ping_env": None,
                            "db": "t.sqlite", "iterations": 3} | values)


def test_no_bar_is_missed_while_an_accelerated_session_gets_ready(folder):
    """A session of the market takes 1.2 s here, a night one: without a clock that waits two bars would be gone."""
    session = live.start_session(params(speed=20_000.0, poll_seconds=3_600.0, iterations=0,
                                        replay_start="2012-01-04", strategy={"name": "slow.py:Slow"}), root=folder)
    while session.started.session.memory.decided[:10] < "2012-01-04" and not session.over:
        time.sleep(0.05)
    session.stop()
    session.join(lambda line: None)
    with Repository.open(folder / "t.sqlite") as repository:
        decisions = repository.decisions(1)
    assert list(decisions["status"])[:2] == ["decided", "decided"]
    assert [f"{t:%Y-%m-%d}" for t in decisions["bar_time"]][:2] == ["2012-01-03", "2012-01-04"]


def begun(folder, given, **more):
    venue = open_venue(given, folder, {})
    try:
        return start(given, venue, root=folder, environ={}, state=folder / "locks", **more)
    except BaseException:
        venue.close()
        raise


def test_sessions_side_by_side_have_an_exchange_and_an_account_each(folder):
    """The same parameters, seed and database: none is in the other's way, and nothing of them stays but the ledger."""
    both = [begun(folder, params()) for _ in range(2)]
    ids = [one.lease.account_id for one in both]
    assert ids[0] != ids[1] and both[0].ledger_id != both[1].ledger_id
    assert [one.venue.broker.get_account_info().account_id for one in both] == ids
    with both[0].repository.writing() as tx:  # what is asked of one is not asked of the other
        tx.request(ids[0], "stop", by="somebody", time=both[0].session.time)
    assert [len(one.repository.requests(one.lease.account_id)) for one in both] == [1, 0]
    for one in both:
        one.session.step()
        one.close(one.session.time)
    assert list((folder / "locks").rglob("*.lock")) == []


@pytest.mark.parametrize("given", [
    params(account="swing"),
    LiveParams(symbols=["AAPL"], ping_env=None, db="t.sqlite", iterations=3, interval="1d", enable_live=True)])
def test_an_account_that_is_named_or_armed_is_the_same_in_the_next_session(folder, given):
    more = {} if given.kind == "paper" else {"confirm": lambda banner: "YES I UNDERSTAND",
                                             "waive": ("backtest", "look-ahead", "paper-sessions")}
    first = begun(folder, given, **more)
    with pytest.raises(LeaseRefused, match="One account, one session"):
        begun(folder, given, **more)
    first.close(first.session.time)
    second = begun(folder, given, **more)
    second.close(second.session.time)
    assert second.lease.account_id == first.lease.account_id
    assert second.ledger_id != first.ledger_id  # what was held is gone with the first one's exchange
    other = open_venue(given.model_copy(update={"replay_seed": 4}), folder, {})
    assert other.broker.get_account_info().account_id != first.lease.account_id
    other.close()
