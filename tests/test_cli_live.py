"""The commands of sessions: what is refused, and sessions on an exchange in a process of its own, from other shells."""

from __future__ import annotations

import re
import shlex

import cli_helpers as helpers
import pytest
from cli_helpers import lines, shell  # noqa: F401

import botlib
from botlib import cli

# ruff: noqa: F811

# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED = [
    ("live papr", "there is no command 'live papr'; did you mean 'paper'?"),
    ("live stauts", "did you mean 'status'?"),
    ("live paper --iteration 3", "--iteration is not understood; did you mean '--iterations'?"),
    ("live paper --no-notebook --venue alpca", "--venue: venue = 'alpca'"),
    ("live paper --no-notebook --max-drawdown 500", "--max-drawdown: safety.max_drawdown_pct = 500.0 is out of range"),
    ("live paper --no-notebook --max-daily-loss 0.02", "--max-daily-loss: safety.max_daily_loss_pct = 0.02"),
    ("live paper --no-notebook --symbols AAPL,MSFT", "separate tickers by blanks"),
    ("live paper --no-notebook --db postgresql://me:secret@host/db", "db looks like a secret"),
    ("live paper --no-notebook --enable-live", "--enable-live is not understood"),
    ("live paper --no-notebook --set enable_live=true", "a paper session trades no real money"),
    ("live paper --no-notebook --venue alpaca", "set provider: alpaca"),
    ("live paper --no-notebook --venue alpaca --set provider=alpaca", "Alpaca credentials not found"),
    ("live trading --no-notebook", "enable_live = False: live trading starts only when it is asked for: --enable-live"),
    ("live trading --no-notebook --enable-live --set safety=null", "live trading has limits"),
    ("live trading --no-notebook --enable-live --set confirm=YES", "taken from no parameter"),
    ("live arm --enable-live --until 2026-01-01 --sessions 9", "sessions = 9"),
    ("live arm --enable-live", "typed by a person, in a terminal"),
    ("status", "there is no such database"),
    ("status --db env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"),
    ("trades --db parameters", "this is a folder"),
    ("stop --db hold.py", "this is not an SQLite file"),
    ("live paper --no-notebook --symbols AAPL --db hold.py", "this is not an SQLite file"),
    ("kill", "there is no such database"),
    ("kill --yes", "--yes belongs to --clear"),
    ("trades --limit 0", "--limit 0"),
    ("stop --wait -1", "0 to 600 seconds"),
    ("reconcile --accept", "--accept needs a --reason"),
    ("reconcile --reason x", "--reason belongs to --accept"),
    ("verify --db nowhere/t.sqlite", "there is no folder"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED, ids=[line for line, _ in REFUSED])
def test_a_refusal_is_one_sentence(shell, capfd, monkeypatch, line, said):
    monkeypatch.chdir(shell.folder)
    for name in ("BOTLIB_ROOT", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "APCA_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", shell.environ["XDG_STATE_HOME"])
    before = {p for p in shell.folder.rglob("*") if "__pycache__" not in p.parts}
    code = cli.main(line.split())
    out, err = capfd.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err and "me:secret" not in err
    assert {p for p in shell.folder.rglob("*") if "__pycache__" not in p.parts} == before


def test_every_command_has_help_with_examples_that_are_understood(capfd):
    top, commands = cli._parser()
    examples = 0
    for words in commands:
        assert cli.main([*words.split(), "--help"]) == 0
        for line in capfd.readouterr().out.splitlines():
            if line.startswith("  python -m botlib "):
                typed = shlex.split(line.split("     ")[0])[3:]
                typed = typed[1:] if typed[0] == "live" and typed[1:2] and typed[1] in ("status", "stop") else typed
                assert top.parse_known_args(typed)[1] == [], line
                examples += 1
    assert examples > 15


# --- an exchange in a process of its own ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_session_is_watched_asked_and_ended_from_another_shell(shell):
    exchange = helpers.Exchange(shell, fresh=True)
    running = shell.start("live paper --config parameters/hold.yaml", fresh=True, **exchange.environ)
    running.until(r"\[SIGNAL\] BUY", 2)
    assert running.text.startswith("[VENUE] local exchange at http")
    exchange.step()
    running.until(r"\[TRADE\] BUY \d+ (AAPL|MSFT) @ \$", 2)
    status = shell.run("status", fresh=True).stdout
    assert f"running, process {running.process.pid}" in status
    assert re.findall(r"^\[POSITION\] (\d+) (AAPL|MSFT)$", status, re.MULTILINE)
    assert len(lines(status, "ORDER")) == 4  # a stop and a target for each
    second = shell.run("live paper --config parameters/hold.yaml --db other.sqlite", **exchange.environ)
    assert second.returncode == 2
    assert "One account, one session" in second.stderr
    assert shell.run("reconcile", **exchange.environ).returncode == 0
    refused = shell.run("reconcile --accept --reason x", **exchange.environ)
    assert refused.returncode == 2
    assert "stop it first" in refused.stderr
    killed = shell.run("kill --reason news", fresh=True)
    assert killed.returncode == 0, killed.stderr
    assert "carried out" in killed.stdout
    running.until("HALTED: kill asked for by")
    cleared = shell.run("kill --clear --yes")
    assert cleared.returncode == 0, cleared.stderr
    flat = shell.run("flatten")
    assert flat.returncode == 0, flat.stderr
    sales = lines(flat.stdout, "ORDER")  # and neither stops nor targets any more
    assert len(sales) == 2
    assert all(re.fullmatch(r"\[ORDER\] SELL \d+ (AAPL|MSFT) \(exit, \w+\)", line) for line in sales), sales
    assert "the session goes on and may buy again at its next decision: python -m botlib stop ends it" in flat.stdout
    exchange.step()
    running.until(r"\[TRADE\] SELL", 2)
    running.until(r"Positions: 0")
    stopped = shell.run("live stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "[STOP] ended: user-cancelled" in stopped.stdout
    assert running.wait() == 0
    assert "[END] user-cancelled" in running.text


@pytest.mark.slow
def test_after_a_crash_a_person_acts_on_the_broker_without_a_session(shell):
    exchange = helpers.Exchange(shell)
    broker = exchange.broker()
    running = shell.start("live paper --config parameters/hold.yaml", **exchange.environ)
    running.until(r"\[SIGNAL\] BUY", 2)
    running.kill()  # its entries are at the broker
    assert "NO PROCESS" in shell.run("status").stdout
    assert len(broker.open_orders()) == 2 * 3  # entries with their legs
    nobody = shell.run("kill", APCA_API_BASE_URL="http://127.0.0.1:9", APCA_API_KEY_ID="x", APCA_API_SECRET_KEY="y")
    assert nobody.returncode == 1
    assert "the kill stands in the ledger" in nobody.stderr
    assert len(broker.open_orders()) == 6
    killed = shell.run("kill --reason again", **exchange.environ)
    assert killed.returncode == 0, killed.stderr
    assert broker.open_orders() == ()
    halted = shell.start("live paper --config parameters/hold.yaml --iterations 3", **exchange.environ)
    exchange.step()
    assert halted.wait() == 3  # the kill outlived the process; nothing is held, so that it ends at once
    assert broker.get_positions() == ()

    assert shell.run("kill --clear --yes").returncode == 0
    exchange.step()
    again = shell.start("live paper --config parameters/hold.yaml", **exchange.environ)
    again.until(r"\[SIGNAL\] BUY", 2)
    exchange.step()
    again.until(r"\[TRADE\] BUY", 2)
    again.kill()
    flat = shell.run("flatten", **exchange.environ)
    assert flat.returncode == 0, flat.stderr
    assert {o.side for o in broker.open_orders()} == {"sell"}
    assert all(o.type == "market" for o in broker.open_orders())
    exchange.step()
    assert broker.get_positions() == ()
    agree = shell.run("reconcile", **exchange.environ)
    assert agree.returncode == 0, agree.stdout
    done = shell.run("live paper --config parameters/hold.yaml --iterations 1", **exchange.environ)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"\[TRADE\] SELL", done.stdout)) == 2  # the sales of `flatten` are the ledger's own
    assert "[EXTERNAL]" not in done.stdout
    assert shell.run("verify").returncode == 0


@pytest.mark.slow
def test_what_was_traded_by_hand_is_listed_and_accepted(shell):
    exchange = helpers.Exchange(shell)
    broker = exchange.broker()
    running = shell.start("live paper --config parameters/hold.yaml", **exchange.environ)
    running.until(r"\[SIGNAL\] BUY", 2)
    exchange.step()
    running.until(r"\[TRADE\] BUY", 2)
    running.kill()
    held = {p.symbol: p.qty for p in broker.get_positions()}
    for order in broker.open_orders():
        if order.symbol == "AAPL":
            broker.cancel(order.order_id)
    broker.submit_order(botlib.OrderRequest(symbol="AAPL", side="sell", qty=5))
    exchange.step()
    listed = shell.run("reconcile", **exchange.environ)
    assert listed.returncode == 4
    assert f"AAPL: 5 of the ledger's {held['AAPL']:g} shares are gone" in listed.stdout
    accepted = shell.run("reconcile --accept --reason by-hand", **exchange.environ)
    assert accepted.returncode == 0, accepted.stderr
    assert "-5 shares are written off the ledger" in accepted.stdout
    agree = shell.run("reconcile", **exchange.environ)
    assert agree.returncode == 0, agree.stdout
    [bare] = lines(agree.stdout, "UNPROTECTED")
    assert bare.startswith(f"[UNPROTECTED] {held['AAPL'] - 5:g} AAPL: ") and bare.count(" canceled") == 2  # by hand
    done = shell.run("live paper --config parameters/hold.yaml --iterations 2", **exchange.environ)
    assert done.returncode == 0, done.stdout
    assert f"{held['AAPL'] - 5:g} AAPL, {held['MSFT']:g} MSFT" in lines(done.stdout, "END")[0]
    protected = {o.qty for o in broker.open_orders() if o.symbol == "AAPL"}
    assert protected == {held["AAPL"] - 5}
    assert shell.run("verify").returncode == 0


@pytest.mark.slow
def test_accounts_run_side_by_side_on_one_database(shell):
    exchanges = [helpers.Exchange(shell, f"--symbols AAPL MSFT --start 2012-06-01 --seed {n}") for n in (1, 2)]
    sessions = []
    for name, one in zip(("one", "two"), exchanges, strict=True):
        named = {f"APCA_{name.upper()}_{k.removeprefix('APCA_')}": v for k, v in one.environ.items() if "APCA" in k}
        sessions.append(shell.start(f"live paper --config parameters/hold.yaml --account {name}", **named,
                                    NO_PROXY="127.0.0.1,localhost"))
    for one in sessions:
        one.until(r"\[SIGNAL\] BUY", 2)
    listed = shell.run("status")
    assert listed.returncode == 2
    assert "name one with --account" in listed.stderr and "(one)" in listed.stderr and "(two)" in listed.stderr
    assert shell.run("stop --account two").returncode == 0
    assert sessions[1].wait() == 0
    assert sessions[0].process.poll() is None
    sessions[0].process.terminate()
    assert sessions[0].wait() == 0
    assert "SIGTERM received" in sessions[0].text
