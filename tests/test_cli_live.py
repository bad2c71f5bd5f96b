"""The commands of sessions, in real processes: on the exchange within, on one of its own, at a terminal."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import cli_helpers as helpers
import pytest

import botlib
from botlib import cli

ROOT = Path(__file__).resolve().parent.parent
PAPER = "live paper --config parameters/paper.yaml --symbols AAPL MSFT --period 60d --interval 1d --iterations 3"
LIVE = ("live trading --config parameters/live.yaml --symbols AAPL --enable-live --max-drawdown 5.0 "
        "--max-daily-loss 2.0")


@pytest.fixture
def shell(tmp_path):
    made = helpers.Shell(tmp_path)
    yield made
    made.end()


@pytest.fixture
def clone(shell):
    """A project with the parameters and notebooks that ship."""
    for folder in ("parameters", "notebooks"):
        for file in (ROOT / folder).glob("*.*"):
            if file.suffix in {".yaml", ".ipynb"}:
                (shell.folder / folder).mkdir(exist_ok=True)
                shutil.copy(file, shell.folder / folder)
    (shell.folder / "outputs").mkdir()
    return shell


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
    ("live arm --enable-live", "required: --until"),
    ("status", "there is no such database"),
    ("status --db env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"),
    ("trades --db parameters", "this is a folder"),
    ("stop --db hold.py", "this is not an SQLite file"),
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
    assert code in (1, 2)
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


# --- sessions on the exchange within --------------------------------------------------------------------------------


def _lines(text: str, tag: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"[{tag}]")]


@pytest.mark.slow
def test_the_paper_command_as_it_is_written(clone):
    done = clone.run(PAPER)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first.startswith("[VENUE] local exchange")
    assert len(_lines(done.stdout, "PORTFOLIO")) == 3
    assert re.search(r"Cash: \$100,000\.00 \| Equity: \$100,000\.00", done.stdout)
    assert len(_lines(done.stdout, "PARITY")) == len(_lines(done.stdout, "END")) == 1
    notebook = re.search(r"^notebook +(\S+)$", done.stdout, re.MULTILINE)[1]
    assert (clone.folder / notebook).is_file()
    assert (clone.folder / "trades.sqlite").stat().st_mode & 0o077 == 0
    status = clone.run("live status")
    assert status.returncode == 0
    assert "ended, success" in status.stdout
    again = clone.run(PAPER + " --no-notebook")
    assert again.returncode == 0, again.stderr
    without = [line for line in again.stdout.splitlines() if "notebook" not in line]
    assert without == [line for line in done.stdout.splitlines() if line and "notebook" not in line]
    assert clone.run("status").returncode == 0  # two ledgers of one account: the latest is meant
    assert clone.run("verify").stdout.count("unbroken chain") == 2


@pytest.mark.slow
def test_the_parity_session_has_every_kind_of_exit(clone):
    done = clone.run("live paper --config parameters/parity.yaml --quiet --no-notebook")
    assert done.returncode == 0, done.stderr
    (said,) = _lines(done.stdout, "PARITY")
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (order|fill|stop|target|signal exit)s?\b", said)}
    assert counts["fill"] >= 50
    assert min(counts[name] for name in ("order", "stop", "target", "signal exit")) >= 5
    assert "each equal in price and quantity to the backtest" in said
    assert _lines(done.stdout, "PORTFOLIO") == []
    trades = clone.run("trades --db outputs/parity.sqlite --limit 1000").stdout
    assert len(_lines(trades, "TRADE")) == counts["fill"]
    aapl = clone.run("trades --db outputs/parity.sqlite --symbol AAPL --limit 3").stdout
    assert len(_lines(aapl, "TRADE")) == 3
    assert all("AAPL" in line for line in [*_lines(aapl, "TRADE"), _lines(aapl, "PROFIT")[0]])


@pytest.mark.slow
def test_a_kill_by_the_limits_ends_with_code_3(clone):
    clone.write("parameters/tight.yaml", "safety: {max_drawdown_pct: 0.5, max_daily_loss_pct: 0.5, on_kill: flatten}\n")
    done = clone.run("live paper --config parameters/parity.yaml parameters/tight.yaml --no-notebook --db t.sqlite")
    assert done.returncode == 3, done.stderr
    assert "KILL" in done.stdout
    status = clone.run("status --db t.sqlite").stdout
    assert "KILLED, until python -m botlib kill --clear" in status
    asked = clone.run("kill --clear --db t.sqlite")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "here nobody can" in asked.stderr
    assert clone.run("kill --clear --yes --db t.sqlite").returncode == 0
    assert "KILLED" not in clone.run("status --db t.sqlite").stdout
    assert "nothing was reset" in clone.run("kill --clear --db t.sqlite").stdout
    killed = clone.run("kill --reason news --db t.sqlite")
    assert killed.returncode == 0
    assert "latched" in killed.stdout and "gone with it" in killed.stdout
    assert "news" in clone.run("status --db t.sqlite").stdout
    flat = clone.run("flatten --db t.sqlite")
    assert flat.returncode == 2
    assert "gone with it" in flat.stderr
    stopped = clone.run("stop --db t.sqlite")
    assert stopped.returncode == 0
    assert "nothing to stop" in stopped.stdout


@pytest.mark.slow
def test_a_crash_of_the_strategy_ends_with_code_1_and_one_sentence(clone):
    clone.write("bad.py", helpers.HOLD.replace("return np.full", "1 / 0\n        return np.full"))
    done = clone.run("live paper --strategy bad.py:Hold --no-notebook --iterations 3")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.count("\n") == 1


# --- live -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_live_needs_a_person_at_a_terminal(clone):
    done = clone.run(LIVE + " --no-notebook --iterations 5")
    assert (done.returncode, done.stdout) == (2, "")
    assert "live trading refused" in done.stderr
    assert done.stderr.count("\n") == 1
    shown, code = helpers.typed(clone, LIVE + " --no-notebook --iterations 5", "")
    assert code == 2
    assert "--waive backtest look-ahead paper-sessions" in shown
    names = "backtest look-ahead paper-sessions"
    shown, code = helpers.typed(clone, LIVE + " --no-notebook --iterations 5", names, "yes i understand")
    assert code == 2
    assert "max_drawdown_pct 5, max_daily_loss_pct 2" in shown and "AAPL" in shown
    assert "live trading refused" in shown
    shown, code = helpers.typed(clone, LIVE + " --no-notebook --iterations 5", names, "YES I UNDERSTAND")
    assert code == 0, shown
    assert "(LIVE session)" in shown
    assert len(re.findall(r"\[PORTFOLIO\]", shown)) == 5
    assert "mean_reversion_momentum" in clone.run("status").stdout


@pytest.mark.slow
def test_the_live_command_as_it_is_written_and_an_arm_for_the_scheduler(clone):
    names = "backtest look-ahead paper-sessions"
    shown, code = helpers.typed(clone, LIVE, names, "YES I UNDERSTAND")
    assert code == 0, shown
    assert "notebook  outputs/live/" in shown
    until = "2126-01-01"
    shown, code = helpers.typed(clone, LIVE.replace("trading", "arm") + f" --until {until}", "YES I UNDERSTAND")
    assert code == 2
    assert "at most 31 days" in shown
    import pandas as pd

    until = f"{pd.Timestamp.now('UTC') + pd.Timedelta(days=5):%Y-%m-%d}"
    line = LIVE.replace("trading", "arm") + f" --until {until} --waive {names}"
    assert clone.run(line).returncode == 2  # nobody can type
    shown, code = helpers.typed(clone, line, "YES I UNDERSTAND")
    assert code == 0, shown
    assert clone.run("live arms").stdout.count(f"{names.replace(' ', ', ')}") == 2
    done = clone.run(LIVE + " --iterations 2 --no-notebook")
    assert done.returncode == 0, done.stderr
    again = clone.run(LIVE + " --iterations 2 --no-notebook")
    assert again.returncode == 2
    assert "used up" in again.stderr
    other = clone.run(LIVE.replace("5.0", "9.0") + " --iterations 2 --no-notebook")
    assert other.returncode == 2
    assert clone.run("live disarm").returncode == 0


# --- an exchange in a process of its own ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_session_is_watched_asked_and_ended_from_another_shell(shell):
    exchange = helpers.Exchange(shell)
    running = shell.start("live paper --config parameters/hold.yaml", **exchange.environ)
    running.until(r"\[SIGNAL\] BUY", 2)
    assert running.text.startswith("[VENUE] local exchange at http")
    exchange.step()
    running.until(r"\[TRADE\] BUY \d+ (AAPL|MSFT) @ \$", 2)
    status = shell.run("status").stdout
    assert f"running, process {running.process.pid}" in status
    assert re.findall(r"^\[POSITION\] (\d+) (AAPL|MSFT)$", status, re.MULTILINE)
    assert len(_lines(status, "ORDER")) == 4  # a stop and a target for each
    second = shell.run("live paper --config parameters/hold.yaml --db other.sqlite", **exchange.environ)
    assert second.returncode == 2
    assert "One account, one session" in second.stderr
    assert shell.run("reconcile", **exchange.environ).returncode == 0
    refused = shell.run("reconcile --accept --reason x", **exchange.environ)
    assert refused.returncode == 2
    assert "stop it first" in refused.stderr
    killed = shell.run("kill --reason news")
    assert killed.returncode == 0, killed.stderr
    assert "carried out" in killed.stdout
    running.until("HALTED: kill asked for by")
    cleared = shell.run("kill --clear --yes")
    assert cleared.returncode == 0, cleared.stderr
    flat = shell.run("flatten")
    assert flat.returncode == 0, flat.stderr
    exchange.step()
    running.until(r"\[TRADE\] SELL", 2)
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
    assert shell.run("reconcile", **exchange.environ).returncode == 0
    done = shell.run("live paper --config parameters/hold.yaml --iterations 2", **exchange.environ)
    assert done.returncode == 0, done.stdout
    assert f"{held['AAPL'] - 5:g} AAPL, {held['MSFT']:g} MSFT" in _lines(done.stdout, "END")[0]
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
