"""Going live, on a local exchange in live dress: real alpaca-py over HTTP, a real ledger, real processes.

Each rule is shown refusing and letting through.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import pandas as pd
import pytest
from venue_helpers import daily, until

import botlib
from botlib import InputError, LiveParams, SessionParams, going_live, live, live_evidence, sandbox
from botlib.brokers import AlpacaBroker, AlpacaConfig
from botlib.errors import CredentialsError
from botlib.repository import Repository
from botlib.result_file import save_backtest
from botlib.session.summary import LiveTradingSummary
from botlib.session_config import CONFIRMATION
from botlib.strategies.loading import strategy_hash
from botlib.terms import params_hash

pytestmark = pytest.mark.slow  # real servers, whole sessions

FIRST = 10  # bars of history
WAIVED = ("backtest", "look-ahead", "paper-sessions")
TOMORROW = pd.Timestamp.now("UTC") + pd.Timedelta(days=1)
STRATEGY = '''
import numpy as np
import botlib
from dataclasses import dataclass

@dataclass(frozen=True)
class Timed(botlib.Strategy):
    """A tenth in the first symbol until a bar, a tenth in the second from a bar on."""
    leave: int = 1000
    join: int = 1000

    @property
    def warmup(self):
        return 1

    def targets(self, bars):
        t = np.arange(bars.close.shape[0])
        return np.stack([np.where(t < self.leave, 0.1, 0.0), np.where(t >= self.join, 0.1, 0.0)], axis=1)
'''


def types(line: Any = CONFIRMATION, shown: list[str] | None = None) -> Callable[[str], Any]:
    """A person who types that line."""
    def ask(text: str) -> Any:
        if shown is not None:
            shown.append(text)
        return line

    return ask


class Desk:
    """A project, an exchange, and what a person and a scheduler do there."""

    def __init__(self, root: Path, exchange: Any) -> None:
        self.root, self.exchange, self.said = root, exchange, []
        (root / "parameters").mkdir()
        (root / "mine.py").write_text(STRATEGY, encoding="utf-8")

    def params(self, kind: type[SessionParams] = LiveParams, **values: Any) -> SessionParams:
        given = {"venue": "alpaca", "provider": "alpaca", "symbols": ["AAPL", "IBM"], "interval": "1d", "period": "max",
                 "strategy": {"name": "mine.py:Timed"}, "poll_seconds": 1.0, "iterations": 1, "ping_env": None,
                 "daily_delay_minutes": 0.0} | ({"enable_live": True} if kind is LiveParams else {})
        return kind(**(given | values))

    def run(self, kind: type[SessionParams] = LiveParams, *, exchange: Any = None, confirm: Any = None,
            waive: Any = (), environ: Any = None, **values: Any) -> LiveTradingSummary:
        self.said = []
        env = environ or (exchange or self.exchange).environ
        session = live.start_session(self.params(kind, **values), root=self.root, environ=env, confirm=confirm,
                                     waive=waive)
        return session.join(self.said.append)

    def refused(self, **options: Any) -> str:
        """What the session says that does not start; nothing reached the exchange, and nothing is spent."""
        before = self.sent(), [one.used for one in self.arms()]
        with pytest.raises(InputError) as caught:
            self.run(**options)
        assert (self.sent(), [one.used for one in self.arms()]) == before and "\n" not in str(caught.value)
        return str(caught.value)

    def arm(self, *, exchange: Any = None, sessions: int = 2, end: Any = TOMORROW, waive: Any = WAIVED,
            line: Any = CONFIRMATION, shown: list[str] | None = None, **values: Any) -> str:
        return going_live.arm_from_params(self.params(**values), sessions=sessions, until=end, waive=waive,
                                          ask=types(line, shown), root=self.root,
                                          environ=(exchange or self.exchange).environ).text

    # --- looking

    def open(self) -> Repository:
        return Repository.open("trades.sqlite", root=self.root)

    def sent(self) -> int:
        return self.exchange.call(lambda x: len(x.orders))

    def working(self) -> dict[str, list[str]]:
        """Types of open orders by symbol."""
        orders = self.exchange.call(lambda x: [(o.symbol, o.type) for o in x.orders.values() if o.open])
        return {s: sorted(str(kind) for symbol, kind in orders if symbol == s) for s in sorted({s for s, _ in orders})}

    def holds(self) -> dict[str, float]:
        return self.exchange.call(lambda x: {s: float(p.qty) for s, p in x.positions.items() if p.qty})

    def arms(self) -> tuple[Any, ...]:
        with self.open() as repository:
            return repository.arms()

    def event(self) -> dict[str, Any]:
        """The last permission on record; in the transaction of the session's start."""
        with self.open() as repository:
            events = repository.events(repository.ledgers()[-1].id)
            assert repository.verify(repository.ledgers()[-1].id).ok
        number = int(events.index[events["kind"] == "session-permitted"][-1])
        assert events["kind"].iloc[number - 1] == "session-started"
        assert events["session_id"].iloc[number] == events["session_id"].iloc[number - 1]
        return events["data"].iloc[number]

    def permission(self) -> str:
        return next(line for line in self.said if line.startswith("[START] permission: ")).removeprefix(
            "[START] permission: ")

    def change_arms(self, **columns: Any) -> None:
        """What time, another version or another hand would do."""
        with sqlite3.connect(self.root / "trades.sqlite") as connection:
            for name, value in columns.items():
                connection.execute(f"UPDATE arms SET {name} = ?", (value,))
        connection.close()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "project").mkdir()
    with sandbox.running(daily(30), first=FIRST) as exchange:
        yield Desk(tmp_path / "project", exchange)


# --- enabled, and typed -----------------------------------------------------------------------------------------------


def test_a_live_session_is_enabled_shown_and_typed(desk):
    assert "--enable-live" in desk.refused(confirm=types(), waive=WAIVED, enable_live=False)
    for line in ("yes i understand", "YES I UNDERSTAND ", '"YES I UNDERSTAND"', "", None):
        assert "not the line" in desk.refused(confirm=types(line), waive=WAIVED)
    shown: list[str] = []
    assert desk.run(confirm=types(shown=shown), waive=WAIVED).status == "success"
    account = desk.exchange.call(lambda x: (x.account_id, x.account_number))
    assert account[1][-3:] in shown[0] and account[1] not in shown[0] and "mine.py:Timed" in shown[0]
    assert "max_drawdown_pct 5" in shown[0] and "waived backtests of this strategy: 0" in shown[0]
    assert "[VENUE]" in desk.said[0] and "LIVE" in desk.said[0] and desk.sent() > 0
    params = desk.params()
    assert desk.event() == {
        "text": "typed by a person; waived: backtest, look-ahead, paper-sessions", "arm": None, "trades": True,
        "waived": list(WAIVED), "account_id": account[0], "venue": "sandbox", "version": botlib.__version__,
        "hashes": {"strategy": strategy_hash(params.load_strategy(desk.root)), "params": params_hash(params),
                   "limits": going_live.limits_hash(params)}}
    with desk.open() as repository:
        assert repository.sessions()["params_hash"].iloc[-1] == params_hash(params)
    assert shown[0] != going_live.preview(params, waive="backtest", root=desk.root, environ=desk.exchange.environ)
    assert shown[0] == going_live.preview(params, waive=WAIVED, root=desk.root, environ=desk.exchange.environ)


def test_the_line_comes_from_no_parameter_no_file_and_no_environment(desk):
    for values in ({"confirm": CONFIRMATION}, {"confirmation": CONFIRMATION}, {"typed": CONFIRMATION}):
        with pytest.raises(InputError, match="typed by a person"):
            desk.params(**values)
        with pytest.raises(InputError, match="typed by a person"):
            LiveParams.from_mapping({**desk.params().plain(), **values})
    env = desk.exchange.environ | dict.fromkeys(("BOTLIB_CONFIRM", "CONFIRM", "APCA_API_CONFIRM"), CONFIRMATION)
    assert "no arm allows this session (there is none)" in desk.refused(environ=env)
    assert "no arm" in desk.refused(strategy={"name": "mine.py:Timed"}, on_event=CONFIRMATION)
    assert "is unknown" in desk.refused(waive=CONFIRMATION, confirm=types())


def test_a_paper_session_needs_nothing_and_takes_no_waiver(desk):
    with pytest.raises(InputError, match="a paper session needs no permission"):
        desk.run(SessionParams, waive="backtest")
    assert desk.run(SessionParams).status == "success"
    with pytest.raises(InputError, match="only a live session is armed"):
        going_live.arm_from_params(desk.params(SessionParams), until=TOMORROW, ask=types(), root=desk.root,
                                   environ=desk.exchange.environ)


# --- keys and accounts ------------------------------------------------------------------------------------------------

LETTERS = "A1B2C3D4E5F6G7H8I9"


@pytest.mark.parametrize(("kind", "key", "host", "error", "said"), [
    (LiveParams, "PK", "https://paper-api.alpaca.markets", InputError, "a live session needs live keys"),
    (SessionParams, "AK", "https://api.alpaca.markets", InputError, "a paper session never trades a live account"),
    (LiveParams, "PK", "https://api.alpaca.markets", CredentialsError, "a paper key does not go to the live host"),
    (SessionParams, "AK", "https://paper-api.alpaca.markets", CredentialsError, "a live key does not go to the paper"),
])
def test_keys_of_the_other_kind_are_refused_before_anything_is_sent(desk, kind, key, host, error, said):
    env = {"APCA_API_KEY_ID": key + LETTERS, "APCA_API_SECRET_KEY": "s" * 40, "APCA_API_BASE_URL": host}
    with pytest.raises(error, match=said):
        desk.run(kind, environ=env, confirm=types(), waive=WAIVED)


@pytest.mark.parametrize(("kind", "venue", "fits"), [
    (LiveParams, "alpaca-live", True), (LiveParams, "sandbox", True), (LiveParams, "alpaca-paper", False),
    (SessionParams, "alpaca-paper", True), (SessionParams, "sandbox", True), (SessionParams, "alpaca-live", False),
])
def test_real_money_is_for_live_sessions_only(kind, venue, fits):
    if fits:
        going_live.check_venue(kind(), venue)
    else:
        with pytest.raises(InputError, match="take the other keys"):
            going_live.check_venue(kind(), venue)


def test_another_account_behind_the_same_keys_is_not_the_one_that_was_armed(desk):
    desk.arm()
    with sandbox.running(daily(30), first=FIRST, seed=1, keys=desk.exchange.keys, port=0) as other:
        ids = [one.call(lambda x: x.account_id) for one in (desk.exchange, other)]
        assert ids[0] != ids[1] and other.keys == desk.exchange.keys
        assert "arm 1: other account)" in desk.refused(exchange=other)
    assert desk.run().status == "success" and desk.event()["account_id"] == ids[0]


# --- arms -------------------------------------------------------------------------------------------------------------


def test_an_arm_is_for_so_many_sessions(desk):
    shown: list[str] = []
    assert "no arm allows this session (there is none)" in desk.refused()
    said = desk.arm(sessions=2, shown=shown)
    assert said.startswith("arm 1: 2 headless sessions until ") and "2 headless sessions until" in shown[0]
    for number in (1, 2):
        assert desk.run().status == "success"
        assert desk.permission() == desk.event()["text"] == f"arm 1, session {number} of 2"
        assert (desk.event()["arm"], desk.event()["waived"]) == (1, list(WAIVED))
        assert desk.arms()[0].used == number
    with desk.open() as repository, pytest.raises(InputError, match="arm 1 has no session left"), \
            repository.writing() as tx:
        tx.event(1, "session-permitted", {}, time=TOMORROW)
        going_live.spend(tx, going_live.Permission(trades=True, text="", arm_id=1, spends=True), TOMORROW)
    assert desk.event()["text"] == "arm 1, session 2 of 2" and desk.arms()[0].used == 2  # nothing of it was written


@pytest.mark.parametrize(("options", "said"), [
    ({"sessions": 0}, "valid is 1 to 5"), ({"sessions": 6}, "valid is 1 to 5"), ({"sessions": True}, "valid is 1 to 5"),
    ({"end": "2020-01-31"}, "in the future"), ({"end": TOMORROW + pd.Timedelta(days=40)}, "at most 31 days"),
    ({"end": "soon"}, "YYYY-MM-DD"), ({"line": "yes i understand"}, "not the line"), ({"line": None}, "not the line"),
    ({"waive": ()}, "no backtest of this strategy is on record; no look-ahead check"),
    ({"waive": "all"}, "is unknown"),
])
def test_what_cannot_be_armed(desk, options, said):
    with pytest.raises(InputError, match=said):
        desk.arm(**options)
    assert desk.arms() == ()


def test_an_arm_is_typed_by_somebody(desk):
    with pytest.raises(InputError, match="here nobody can type"):
        going_live.arm_from_params(desk.params(), until=TOMORROW, waive=WAIVED, ask=None, root=desk.root,
                                   environ=desk.exchange.environ)


def test_an_arm_is_for_exactly_what_was_shown(desk):
    desk.arm(sessions=5)
    assert "arm 1: other strategy)" in desk.refused(strategy={"name": "mine.py:Timed", "leave": 50})
    assert "arm 1: other parameters)" in desk.refused(symbols=["AAPL"])
    assert "arm 1: other parameters)" in desk.refused(capital=5_000.0)
    assert "arm 1: other limits)" in desk.refused(safety={"max_drawdown_pct": 6.0})
    assert "arm 1: other parameters, other limits)" in desk.refused(safety={"max_drawdown_pct": 6.0}, orders="shadow")
    source = (desk.root / "mine.py").read_text(encoding="utf-8")
    (desk.root / "mine.py").write_text(source.replace("t < self.leave", "t <= self.leave"), encoding="utf-8")
    assert "arm 1: other strategy)" in desk.refused()
    (desk.root / "mine.py").write_text(source, encoding="utf-8")
    assert desk.run(iterations=2, name="another", symbols=["IBM", "AAPL"]).status == "success"
    assert desk.arms()[0].used == 1


def test_an_arm_that_is_over_or_taken_back_allows_nothing(desk):
    desk.arm()
    desk.change_arms(until_ns=pd.Timestamp("2026-01-31 12:00", tz="UTC").value)
    assert "arm 1: over since 2026-01-31 12:00 UTC" in desk.refused()
    desk.change_arms(until_ns=TOMORROW.value)
    there = {"root": desk.root, "environ": desk.exchange.environ}
    assert going_live.arms_table(desk.params(), **there)["state"].tolist() == ["2 sessions left"]
    assert "taken back: arm 1" in going_live.disarm(desk.params(), 1, **there)
    assert "arm 1: taken back" in desk.refused()
    assert going_live.disarm(desk.params(), 1, **there) == ("arm 1 was taken back before: there is nothing to take "
                                                            "back")
    assert going_live.disarm(desk.params(), **there) == "no arm to take back"
    with pytest.raises(InputError, match="arm 9 is not in this database. There are 1"):
        going_live.disarm(desk.params(), 9, **there)
    assert going_live.arms_table(desk.params(), **there)["state"].tolist() == ["taken back"]
    desk.arm()
    assert desk.run().status == "success" and desk.event()["arm"] == 2


def test_an_arm_that_is_used_up_is_left_as_it_is(desk):
    """Its last session came to its end: nothing goes on with it, and the record says what became of it."""
    there = {"root": desk.root, "environ": desk.exchange.environ}
    desk.arm(sessions=1)
    desk.change_arms(until_ns=pd.Timestamp("2099-12-11 04:59:30", tz="UTC").value,
                     typed_ns=pd.Timestamp("2026-11-10 23:05", tz="UTC").value)
    assert desk.run().status == "success"
    assert going_live.disarm(desk.params(), 1, **there) == "arm 1 was used up before: there is nothing to take back"
    assert going_live.disarm(desk.params(), **there) == "no arm to take back"
    table = going_live.arms_table(desk.params(), **there)
    assert table[["state", "until", "typed"]].values.tolist() == [
        ["used up", "2099-12-11 04:59 UTC", "2026-11-10 23:05 UTC"]]
    desk.change_arms(until_ns=pd.Timestamp("2026-01-31", tz="UTC").value)
    assert "arm 1 was over before" in going_live.disarm(desk.params(), 1, **there)


def test_another_version_of_botlib_is_shown_and_voids_nothing(desk):
    desk.arm()
    desk.change_arms(version="0.0.9")
    assert desk.run().status == "success"
    assert desk.permission() == f"arm 1, session 1 of 2 (typed for botlib 0.0.9; this is {botlib.__version__})"
    assert (desk.event()["armed_version"], desk.event()["version"]) == ("0.0.9", botlib.__version__)


def test_arms_are_asked_of_a_database_that_is_there(desk):
    with pytest.raises(InputError):
        going_live.arms_table(desk.params(), root=desk.root, environ={})
    assert not (desk.root / "trades.sqlite").exists()


def test_the_exchange_that_a_session_brings_along_can_be_armed_too(desk):
    own = {"venue": "sandbox", "provider": "sample", "replay_seed": 3, "iterations": 2,
           "strategy": {"name": "mean_reversion_momentum"}}
    assert "there is none" in desk.refused(**own)
    desk.arm(**own)
    assert desk.run(**own).status == "success" and desk.permission() == "arm 1, session 1 of 2"
    assert "arm 1: other account" in desk.refused(**(own | {"replay_seed": 4}))


# --- after a crash ----------------------------------------------------------------------------------------------------

_RUN = """
import json, sys
from botlib import LiveParams, live
session = live.start_session(LiveParams.from_mapping(json.loads(sys.argv[1])), root=sys.argv[2],
                             environ=json.loads(sys.argv[3]))
session.join(lambda line: print(line, flush=True))
"""


def killed(desk: Desk, **values: Any) -> None:
    """A session in a process of its own, killed while it waits for its second pass."""
    params, out = desk.params(iterations=0, poll_seconds=3_600.0, **values), desk.root / "said.txt"
    out.write_text("", encoding="utf-8")
    (desk.root / "killed.py").write_text(_RUN, encoding="utf-8")
    words = ["killed.py", json.dumps(params.plain()), str(desk.root), json.dumps(desk.exchange.environ)]
    process = forked.Forked(words, desk.root, os.environ, out=out)
    try:
        until(lambda: process.poll() is not None or "[PORTFOLIO]" in out.read_text(encoding="utf-8"), 120.0)
    finally:
        process.kill()
        code = process.wait()
    assert code == -signal.SIGKILL, out.read_text(encoding="utf-8")
    with desk.open() as repository:
        assert "running" in set(repository.sessions()["status"])  # its end was never written down


def test_a_crash_restart_of_an_armed_session_spends_none(desk):
    desk.arm(sessions=1)
    killed(desk)
    assert desk.arms()[0].used == 1
    killed(desk)  # and crashes again
    assert desk.arms()[0].used == 1
    desk.exchange.step()
    assert desk.run().status == "success"
    assert desk.permission() == "arm 1, going on after a crash" and desk.event()["trades"] is True
    assert (desk.event()["arm"], desk.arms()[0].used) == (1, 1)
    assert desk.run().status == "success"  # that one came to its end: the next is a new one, and none is left
    assert desk.permission() == "only exits: no arm allows this session (arm 1: its 1 session used up)"


def test_an_arm_that_is_used_up_is_taken_back_from_a_session_that_crashed(desk):
    desk.arm(sessions=1)
    killed(desk)
    there = {"root": desk.root, "environ": desk.exchange.environ}
    assert going_live.disarm(desk.params(), **there).startswith("taken back: arm 1.")
    assert desk.run().status == "success"
    assert "only exits" in desk.permission() and "taken back" in desk.permission()


@pytest.mark.parametrize(("columns", "values", "said"), [
    ({"until_ns": pd.Timestamp("2026-01-31 12:00", tz="UTC").value}, {}, "over since 2026-01-31 12:00 UTC"),
    ({"revoked_ns": pd.Timestamp("2026-01-31 12:00", tz="UTC").value}, {}, "taken back"),
    ({}, {"safety": {"max_drawdown_pct": 50.0}}, "other limits"),
    ({}, {"risk": {"max_position_pct": 1.0}}, "other parameters"),
])
def test_a_crash_restart_is_bound_to_what_was_armed(desk, columns, values, said):
    desk.arm(sessions=1)
    killed(desk)
    desk.change_arms(**columns)
    assert desk.run(**values).status == "success"
    assert "only exits" in desk.permission() and said in desk.permission() and desk.event()["trades"] is False


def test_without_an_arm_what_is_held_is_looked_after_and_nothing_is_bought(desk):
    plan = {"strategy": {"name": "mine.py:Timed", "leave": FIRST + 2, "join": FIRST + 1}}
    assert "no arm" in desk.refused(**plan)  # an empty ledger has nothing to look after
    desk.run(confirm=types(), waive=WAIVED, **plan)
    assert list(desk.working()) == ["AAPL"]
    desk.exchange.step()  # AAPL is bought, and has its legs
    assert list(desk.holds()) == ["AAPL"] and len(desk.working()["AAPL"]) == 2
    desk.run(confirm=types(), waive=WAIVED, **plan)
    legs = desk.exchange.call(lambda x: [o.id for o in x.orders.values() if o.open])
    broker = AlpacaBroker(AlpacaConfig.from_env(environ=desk.exchange.environ, env_file=None))
    assert broker.cancel(str(legs[0])) is None  # by hand, at the broker
    broker.close()
    desk.exchange.step()
    assert list(desk.holds()) == ["AAPL"] and desk.working() == {}

    desk.run(**plan)  # wants IBM now, too
    assert desk.permission() == "only exits: no arm allows this session (there is none)"
    assert list(desk.holds()) == ["AAPL"] and list(desk.working()) == ["AAPL"]  # protected again, and no IBM
    assert len(desk.working()["AAPL"]) == 2
    assert any("REDUCE-ONLY" in line for line in desk.said)
    with desk.open() as repository:
        assert repository.safety(1).state == "reduce-only"

    desk.exchange.step()
    desk.run(**plan)  # wants AAPL no longer
    desk.exchange.step()
    assert desk.holds() == {}

    desk.run(confirm=types(), waive=WAIVED, **plan)  # a person is back: the hold is lifted
    desk.exchange.step()
    assert list(desk.holds()) == ["IBM"]
    with desk.open() as repository:
        assert repository.safety(1).state == "active"


def test_without_an_arm_an_entry_that_still_works_ends(desk):
    desk.run(confirm=types(), waive=WAIVED)
    assert list(desk.working()) == ["AAPL"]
    desk.run()
    assert "only exits" in desk.permission() and desk.working() == {}
    desk.exchange.step()
    assert desk.holds() == {}
    assert "no arm" in desk.refused()  # now there is nothing left to look after


# --- what should have gone before -------------------------------------------------------------------------------------


def test_evidence_is_of_the_same_strategy_on_the_same_feed(desk):
    shown: list[str] = []

    def listed() -> dict[str, str]:
        shown[:] = [going_live.preview(desk.params(), root=desk.root, environ=desk.exchange.environ)]
        rows = shown[0].split("before this:\n")[1].splitlines()[:3]
        return {row[9:]: row[:9].strip() for row in rows}

    assert listed() == {"backtests of this strategy: 0": "NO", "of these with a passed look-ahead check: 0": "NO",
                        "paper sessions on feed iex: 0, of at least 5": "NO"}
    strategy = desk.params().load_strategy(desk.root)
    for name, used in (("other", botlib.strategies.load("mine.py:Timed", {"leave": 3}, root=desk.root)),
                       ("20260101T000000Z_a_1_failed", strategy), ("20260101T000000Z_a_2", strategy)):
        folder = desk.root / "outputs" / "backtest" / name
        folder.mkdir(parents=True)
        result = botlib.backtest(daily(120), used, risk=botlib.Risk())
        save_backtest(folder, result, botlib.check_honesty(result))
    assert listed()["backtests of this strategy: 1"] == "yes"
    assert listed()["of these with a passed look-ahead check: 1"] == "yes"
    found = desk.root / "outputs" / "backtest" / "20260101T000000Z_a_2" / "result.json"
    record = json.loads(found.read_text(encoding="utf-8"))
    record["checks"]["look-ahead"]["passed"] = False
    found.write_text(json.dumps(record), encoding="utf-8")
    assert "no look-ahead check" in desk.refused(confirm=types(), waive="paper-sessions")
    record["checks"]["look-ahead"]["passed"] = True
    found.write_text(json.dumps(record), encoding="utf-8")

    for values in ({"orders": "shadow"}, {}, {}, {}, {}, {"feed": "sip"}):
        desk.run(SessionParams, **values)
    desk.run(SessionParams, strategy={"name": "mine.py:Timed", "leave": 900})
    assert listed()["paper sessions on feed iex: 4, of at least 5"] == "NO"
    assert "fewer than 5 paper sessions" in desk.refused(confirm=types())
    desk.run(SessionParams)
    assert set(listed().values()) == {"yes"} and "paper sessions on feed iex: 5, of at least 5" in listed()
    assert desk.run(confirm=types()).status == "success" and desk.event()["waived"] == []
    with desk.open() as repository:  # of play money, they are no evidence for real money
        terms = going_live.Terms(account_id="x", account="x", venue="alpaca-live", strategy="x", params_hash="",
                                 strategy_hash=strategy_hash(strategy), limits_hash="", limits={}, symbols=(),
                                 interval="1d", orders="send", capital=1.0, version="")
        real = live_evidence.evidence(repository, desk.root / "outputs", terms, feed="iex")
    assert [one.found for one in real] == [True, True, False]


# --- Jupyter ----------------------------------------------------------------------------------------------------------


def put_server(desk: Desk, **values: Any) -> None:
    """The file that a Jupyter server leaves; this process stands for it."""
    record = {"hostname": "localhost", "port": 1, "sock": "", "token": "t" * 48, "password": False, "pid": os.getpid()}
    path = desk.root.parent / "runtime" / "jpserver-1.json"
    path.write_text(json.dumps(record | values), encoding="utf-8")


def test_live_trading_refuses_a_jupyter_server_that_is_open(desk):
    import ipykernel  # noqa: F401  as in a kernel

    put_server(desk)
    desk.arm(sessions=2)
    assert desk.run().status == "success"
    put_server(desk, hostname="0.0.0.0")
    for options in ({"confirm": types(), "waive": WAIVED}, {"confirm": types(), "waive": (*WAIVED[:2],)}):
        assert "the Jupyter server can be reached from other machines" in desk.refused(**options)
    with pytest.raises(InputError, match="Jupyter server"):
        desk.arm()
    assert desk.run().status == "success"  # the ledger has an order to look after
    assert "only exits: the Jupyter server can be reached" in desk.permission() and desk.arms()[0].used == 1
    assert "arm 1 does not waive it" in desk.refused()  # and now nothing
    assert "arm 1 does not waive it" in desk.refused(waive="jupyter-open")  # a scheduler waives nothing
    desk.arm(waive=(*WAIVED, "jupyter-open"))
    assert desk.run().status == "success" and desk.event()["waived"] == [*WAIVED, "jupyter-open"]
    assert desk.run(confirm=types(), waive=(*WAIVED, "jupyter-open")).status == "success"
    assert desk.event()["waived"] == [*WAIVED, "jupyter-open"]


@pytest.mark.parametrize(("server", "said"), [
    ({}, ""), ({"hostname": "127.0.0.1"}, ""), ({"hostname": "127.4.4.4"}, ""), ({"hostname": "::1"}, ""),
    ({"hostname": "0.0.0.0"}, "listens on 0.0.0.0"), ({"hostname": "::"}, "listens on ::"),
    ({"hostname": ""}, "listens on all addresses"), ({"hostname": "192.168.1.5"}, "listens on 192.168.1.5"),
    ({"hostname": "jupyter.example"}, "listens on jupyter.example"), ({"listens": ["10.0.0.5"]}, "listens on 10.0.0.5"),
    ({"token": ""}, "neither token nor password"), ({"token": "", "password": True}, ""),
    ({"hostname": "", "sock": "/run/jupyter.sock"}, ""), ({"hostname": None, "token": None}, "neither token"),
])
def test_when_a_server_counts_as_open(server, said):
    found = live_evidence.exposures([{"hostname": "localhost", "token": "t", "password": False} | server])
    assert (said in found) if said else found == ""


def outside() -> bool:
    """Whether this machine has an address other than loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return False
        return not probe.getsockname()[0].startswith("127.")


def test_real_servers_are_seen_as_they_are(tmp_path, monkeypatch):
    import ipykernel  # noqa: F401  as in a kernel

    kinds = {"shut": [], "no-token": ["--IdentityProvider.token="]} | ({"open": ["--ServerApp.ip=*"]} if outside()
                                                                      else {})
    running = []
    for name, options in kinds.items():
        (tmp_path / name).mkdir()
        env = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path / name), "JUPYTER_CONFIG_DIR": str(tmp_path / "none")}
        running.append(subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.port=0", *options],
            env=env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        said = {}
        for name in kinds:
            monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / name))
            found = until(live_evidence.running_servers, 120.0)
            until(lambda port=found[0]["port"]: _answers(port), 120.0)
            said[name] = live_evidence.exposures(live_evidence.running_servers())
    finally:
        for one in running:
            one.terminate()
        for one in running:
            try:
                one.wait(60)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
    assert said["shut"] == "" and said["no-token"] == "the Jupyter server has neither token nor password"
    assert "open" not in said or said["open"].startswith("the Jupyter server listens on ")
    assert live_evidence.running_servers() == []  # they are gone


def _answers(port: int) -> bool:
    """Over HTTP, not only at its socket: a signal to a server whose loop does not run yet is lost."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/api")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
