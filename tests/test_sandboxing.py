"""The command ``sandbox``: what it takes, what it refuses and what it says."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import venue_helpers as helpers

from botlib import cli, sandbox, sandboxing
from botlib.errors import InputError

ROOT = Path(cli.__file__).parents[1]
ROW = "date,open,high,low,close,volume\n2010-01-04,1,1,1,1,100\n2010-01-05,1,1,1,1,100\n2010-01-06,1,1,1,1,100\n"


@pytest.mark.parametrize(("line", "said"), [
    ("--seed -1 --period 1mo", "seed = -1: it must be a whole number, 0 or more."),
    ("--seed -1 --period 1mo --interval 1h", "seed = -1: it must be a whole number, 0 or more."),
    ("--start 01/02/2012 --period 5y", "start = '01/02/2012': give a date as YYYY-MM-DD."),
    ("--start 20120102 --period 5y", "give a date as YYYY-MM-DD."), ("--start 2012-01", "give a date as YYYY-MM-DD."),
    ("--start 2012-02-30 --period 5y", "give a date as YYYY-MM-DD."),
    ("--start 1999-01-04", "the replay needs a bar before it"),
    ("--period 1d", "one bar is too few for a replay, which needs one before it begins and one that "
     "happens: take a longer period."),
    ("--symbols AAPL,MSFT", "'AAPL,MSFT' is no ticker: separate tickers by blanks: --symbols AAPL MSFT"),
    ("--symbols AAPL, MSFT", "separate tickers by blanks: --symbols AAPL MSFT"),
    ("--symbols NOPE", "there are no bars of 'NOPE'. There are: AAPL, FB, GOOG, IBM, MSFT."),
    ("--symbols nope", "there are no bars of 'nope'. There are: AAPL, FB"),
    ("--symbols ibm", "there are no bars of 'ibm'; did you mean 'IBM'?"),
    ("--symbols MSTF", "did you mean 'MSFT'?"),
    ("--interval 3m", "interval = '3m': valid is 1m, 5m, 15m, 30m, 1h, 1d."),
    ("--bogus", "--bogus is not understood. See:"), ("--symbol IBM", "did you mean '--symbols'?"),
    ("--file nowhere.csv", "--file "), ("--file empty", "--file "),
    ("--file odd", "the name of the file '$(RM)..csv' in odd says '$(RM).', which is no ticker: "
     "change it, or name the symbols"),
    ("--file odd --symbols ABD", "there are no bars of 'ABD'; did you mean 'ABC'?"),
    ("--rate-limit 0 --period 1mo", "rate_limit = 0: it must be a whole number, 1 to 1000000 requests a minute"),
    ("--speed 0 --period 1mo", "speed = 0.0 is out of range"), ("--cash nan --period 1mo", "cash = nan"),
])
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capfd, line, said):
    (tmp_path / "parameters").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    for name in ("$(RM)..csv", "ABC.csv"):
        (tmp_path / "odd" / name).write_text(ROW)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sandbox", *shlex.split(line, posix=False)]) == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1
    assert said in err
    assert "path =" not in err and "did you mean 'NOPE'" not in err
    assert "exchange" not in out


def test_a_folder_with_an_odd_name_serves_the_symbols_that_are_named(tmp_path):
    (tmp_path / "parameters").mkdir()
    for name in ("$(RM)..csv", "ABC.csv"):
        (tmp_path / name).write_text(ROW)
    bars = sandboxing.load_bars(["ABC"], file=str(tmp_path), root=str(tmp_path))
    assert (bars.symbols, len(bars)) == (("ABC",), 3)


def test_the_start_is_the_session_of_that_day_or_the_next():
    bars = helpers.daily(10)  # from Monday 2024-03-04 on
    assert sandboxing.first_bar(bars, "2024-03-06") == 2
    assert sandboxing.first_bar(bars, "2024-03-09") == 5  # a Saturday
    assert sandboxing.first_bar(bars, None) == 5
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        sandboxing.first_bar(bars, "03/06/2024")


def test_a_long_wait_is_announced():
    said: list[str] = []
    sandboxing.load_bars(["IBM"], "1mo", "30m", say=said.append)
    assert said == []
    bars = sandboxing.load_bars(["IBM", "AAPL"], "1y", "5m", say=said.append)
    days = len(np.unique(bars.sessions)) * 2
    assert said == [f"making 5-minute bars within {days} daily bars; a shorter --period takes less time"]


def test_what_is_shown_keeps_the_proxies_of_the_user():
    venue = sandbox.running(helpers.daily(), keys=("me", "mine"))
    shell = [line for line in sandboxing.text(venue).splitlines() if line.startswith("export")]
    done = subprocess.run(["sh", "-c", "\n".join([*shell, 'echo "$NO_PROXY $APCA_API_KEY_ID"'])], capture_output=True,
                          text=True, env={"NO_PROXY": "corp.example"}, check=True)
    assert done.stdout == "127.0.0.1,localhost,corp.example me\n"
    bare = subprocess.run(["sh", "-c", "\n".join([*shell, 'echo "$NO_PROXY"'])], capture_output=True, text=True, env={},
                          check=True)
    assert bare.stdout == "127.0.0.1,localhost\n"


@pytest.mark.slow
@pytest.mark.parametrize("speed", [100_000.0, None])
def test_the_end_of_the_bars_is_told_on_the_console(capfd, monkeypatch, speed):
    venue = sandbox.running(helpers.daily(4), speed=speed, closed_seconds=0.0)
    if speed is None:
        venue.step(3)
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(0.05)
        if venue.exchange.done and len(waits) > 3:
            venue.stop()

    monkeypatch.setattr(venue, "wait", wait)
    sandboxing.serve(venue)
    out = capfd.readouterr().out
    assert out.count("the bars have ended (2024-03-07)") == 1
    assert "never fill. Ctrl-C, and start it again with an earlier --start." in out


@pytest.mark.slow
def test_ctrl_c_while_modules_are_loaded_leaves_no_traceback():
    """The interrupt comes when the command line's module is looked for: the worst moment, every time."""
    code = ("import sys, os, signal, runpy\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
            "class Finder:\n"
            "    def find_spec(self, name, *rest):\n"
            "        if name == 'botlib.cli': os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Finder())\n"
            "runpy.run_module('botlib', run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.slow
def test_ctrl_c_at_any_moment_of_the_start_leaves_no_traceback():
    for delay in (0.3, 0.6, 1.2):
        with subprocess.Popen([sys.executable, "-m", "botlib", "sandbox", "--port", "0"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
            time.sleep(delay)
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        assert "Traceback" not in errors
        assert process.returncode in (0, 130, -signal.SIGINT)
