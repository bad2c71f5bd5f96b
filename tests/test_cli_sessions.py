"""Sessions from the command line on the exchange that they bring along, paper and live, in real processes."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys

import cli_helpers as helpers
import pytest
from cli_helpers import clone, lines, shell  # noqa: F401

pytestmark = pytest.mark.slow

# ruff: noqa: F811

PAPER = "live paper --config parameters/paper.yaml --symbols AAPL MSFT --period 60d --interval 1d --iterations 3"
LIVE = ("live trading --config parameters/live.yaml --symbols AAPL --enable-live --max-drawdown 5.0 "
        "--max-daily-loss 2.0")
NAMES = "backtest look-ahead paper-sessions"
CTRL_C = "\x03"


# --- sessions on the exchange within --------------------------------------------------------------------------------


def test_the_paper_command_as_it_is_written(clone):
    done = clone.run(PAPER, fresh=True)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first.startswith("[VENUE] local exchange")
    assert len(lines(done.stdout, "PORTFOLIO")) == 3
    assert re.search(r"Cash: \$100,000\.00 \| Equity: \$100,000\.00", done.stdout)
    assert len(lines(done.stdout, "PARITY")) == len(lines(done.stdout, "END")) == 1
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
    assert clone.run("status").returncode == 0  # two exchanges that are gone: the latest is meant
    assert clone.run("verify").stdout.count("unbroken chain") == 2


def test_the_parity_session_has_every_kind_of_exit(clone):
    done = clone.run("live paper --config parameters/parity.yaml --quiet --no-notebook")
    assert done.returncode == 0, done.stderr
    (said,) = lines(done.stdout, "PARITY")
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (order|fill|stop|target|signal exit)s?\b", said)}
    assert counts["fill"] >= 50
    assert min(counts[name] for name in ("order", "stop", "target", "signal exit")) >= 5
    assert "each equal in price and quantity to the backtest" in said
    assert lines(done.stdout, "PORTFOLIO") == []
    trades = clone.run("trades --db outputs/parity.sqlite --limit 1000").stdout
    assert len(lines(trades, "TRADE")) == counts["fill"]
    aapl = clone.run("trades --db outputs/parity.sqlite --symbol AAPL --limit 3").stdout
    assert len(lines(aapl, "TRADE")) == 3
    assert all("AAPL" in line for line in [*lines(aapl, "TRADE"), lines(aapl, "PROFIT")[0]])


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


def test_a_crash_of_the_strategy_ends_with_code_1_and_one_sentence(clone):
    clone.write("bad.py", helpers.HOLD.replace("return np.full", "1 / 0\n        return np.full"))
    done = clone.run("live paper --strategy bad.py:Hold --no-notebook --iterations 3")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_traded_says_why_and_the_way_it_names_trades(clone):
    done = clone.run(PAPER + " --no-notebook --quiet")
    [note] = lines(done.stdout, "NOTE")
    assert "on the 3 bars it decided on, the strategy asked for no order" in note
    more = note.rpartition("sample data: ")[2].rstrip(".")
    assert "[TRADE]" in clone.run(f"{PAPER} {more} --no-notebook").stdout


def test_a_file_with_few_values_gives_one_session_with_and_without_the_notebook(clone):
    """What it leaves out is the notebook's: the replay's start above all."""
    clone.write("parameters/few.yaml", "symbols: [AAPL, MSFT]\niterations: 2\n")
    line = "live paper --config parameters/few.yaml --db"
    done = clone.run(f"{line} a.sqlite"), clone.run(f"{line} b.sqlite --no-notebook")
    assert [one.returncode for one in done] == [0, 0], done
    first, second = ([text for text in one.stdout.splitlines() if text and "notebook" not in text] for one in done)
    assert first == second
    assert "bars replayed from 2008-01-07 on" in first[0]
    ledgers = [sqlite3.connect(clone.folder / name) for name in ("a.sqlite", "b.sqlite")]
    hashes = [one.execute("select params_hash from sessions").fetchall() for one in ledgers]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 1


def test_a_strategy_that_ends_the_process(clone):
    ends = "import os\n        os._exit(7)\n        return np.full"
    clone.write("bad.py", helpers.HOLD.replace("return np.full", ends))
    done = clone.run("live paper --strategy bad.py:Hold --set replay_start=2012-06-01 --iterations 3")
    assert done.returncode == 1
    said = "process ended without a word, exit code 7: code in it ended the process (os._exit, in the strategy or a "
    assert said in done.stderr and "out of memory" not in done.stderr
    assert "its ledger holds everything up to there" in done.stderr


def test_status_that_repeats_writes_into_a_pipe_at_once_and_ends_with_its_reader(clone):
    assert clone.run(PAPER + " --no-notebook").returncode == 0
    with subprocess.Popen([sys.executable, "-m", "botlib", "status", "--watch"], cwd=clone.folder, env=clone.environ,
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "Ctrl-C ends it" in process.stdout.readline()  # while it runs
            assert process.stdout.readline().startswith("[LEDGER]")
            assert process.poll() is None
            process.stdout.close()
            assert process.wait(60) == 0
        finally:
            process.kill()


# --- live -----------------------------------------------------------------------------------------------------------


def test_live_needs_a_person_at_a_terminal(clone):
    done = clone.run(LIVE + " --no-notebook --iterations 5")
    assert (done.returncode, done.stdout) == (2, "")
    assert "live trading refused" in done.stderr
    assert done.stderr.count("\n") == 1
    shown, code = helpers.typed(clone, LIVE + " --no-notebook --iterations 5", "")
    assert code == 2
    asked, _, refused = shown.partition("Type the names")
    assert "Before live trading, this is missing:" in asked and "no backtest of this strategy is on record" in asked
    assert "refused" not in asked  # not before somebody has answered
    assert "live trading refused" in refused and "--waive backtest look-ahead paper-sessions" in refused
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


@pytest.mark.parametrize(("line", "answers"), [
    (LIVE + " --no-notebook", [CTRL_C]), (LIVE + " --no-notebook", [NAMES, CTRL_C]),
    (LIVE, [NAMES, CTRL_C]), (LIVE.replace("trading", "arm"), [NAMES, CTRL_C])])
def test_ctrl_c_at_a_prompt_is_a_no(clone, line, answers):
    shown, code = helpers.typed(clone, line, *answers)
    assert code == 2, shown
    last = shown.strip().splitlines()[-1]
    assert last == "error: Ctrl-C at the prompt: nothing was typed, and nothing was started or changed."


def test_what_was_typed_for_a_session_that_does_not_start_is_taken_back(clone):
    """A strategy that loads here and not in the notebook's kernel."""
    picky = 'import os\n\nif "JPY_PARENT_PID" in os.environ:\n    raise OSError("not in a notebook")\n\n'
    clone.write("picky.py", picky + helpers.HOLD)
    names = "backtest look-ahead paper-sessions"
    shown, code = helpers.typed(clone, LIVE + " --strategy picky.py:Hold", names, "YES I UNDERSTAND")
    assert code == 2, shown
    assert "not in a notebook" in shown and "what was typed (arm 1) is taken back" in shown
    arms = clone.run("live arms").stdout
    assert "taken back" in arms and "open" not in arms


def test_live_arm_lets_a_person_waive_at_the_terminal(clone):
    names, arm = "backtest look-ahead paper-sessions", LIVE.replace("trading", "arm")
    done = clone.run(arm)
    assert (done.returncode, done.stdout) == (2, "")  # nobody can type, so nobody is asked
    shown, code = helpers.typed(clone, arm, "")
    assert code == 2 and f"Type the names ({names}) to waive them" in shown
    shown, code = helpers.typed(clone, arm, names, "YES I UNDERSTAND")
    assert code == 0, shown
    assert "arm 1: 1 headless session until " in shown and f"Waived: {names.replace(' ', ', ')}." in shown
    assert re.search(r"1 session left +1 +0 \d{4}-\d\d-\d\d \d\d:\d\d UTC +…", clone.run("live arms").stdout)


def test_the_live_command_as_it_is_written_and_an_arm_for_the_scheduler(clone):
    names = "backtest look-ahead paper-sessions"
    shown, code = helpers.typed(clone, LIVE, names, "YES I UNDERSTAND", fresh=True)
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
