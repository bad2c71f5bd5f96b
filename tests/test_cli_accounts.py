"""The command line of sessions against other sessions, a day's close and another database."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import cli_helpers as helpers
import pytest
from cli_helpers import clone, lines, shell  # noqa: F401
from postgres_helpers import postgres  # noqa: F401

pytestmark = pytest.mark.slow

# ruff: noqa: F811


def test_an_account_that_is_taken_refuses_a_headless_session_in_one_sentence(clone):
    """Through the notebook, from another database too; the lease of another host goes only on a person's word."""
    exchange = helpers.Exchange(clone)
    line = "live paper --config parameters/hold.yaml --iterations 1"
    running = clone.start("live paper --config parameters/hold.yaml --no-notebook", **exchange.environ)
    running.until(r"\[PORTFOLIO\]")
    for more in ("", " --db other.sqlite", " --take-over"):  # the last: it lives here, so that no word takes it away
        done = clone.run(line + more, **exchange.environ)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith("error: Account ") and "One account, one session. Stop it first" in done.stderr
        assert "[" not in done.stdout and list((clone.folder / "outputs").rglob("*.ipynb")) == []
    running.kill()
    with closing(sqlite3.connect(clone.folder / "trades.sqlite")) as database, database:
        database.execute("UPDATE leases SET host = 'elsewhere/1'")
    done = clone.run(line, **exchange.environ)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "elsewhere" in done.stderr and "--take-over" in done.stderr
    done = clone.run(line + " --take-over", **exchange.environ)
    assert done.returncode == 0, done.stderr
    assert len(lines(done.stdout, "PORTFOLIO")) == 1 and re.search(r"^notebook +outputs/paper/", done.stdout, re.M)


def test_until_close_ends_with_the_day(clone):
    """On 15-minute bars made up within the daily ones: from the first of a day to its close."""
    done = clone.run("live paper --config parameters/paper.yaml --symbols AAPL --interval 15m --set "
                     "replay_start=2012-06-01 --set safety.max_data_age_seconds=null --until close --no-notebook")
    assert done.returncode == 0, done.stderr
    (end,) = lines(done.stdout, "END")
    assert end.startswith("[END] success (the session of 2012-06-01 is over)"), end
    assert lines(done.stdout, "PORTFOLIO")[-1].startswith("[PORTFOLIO] 2012-06-01 16:00 ")
    sunday = clone.run("live paper --config parameters/paper.yaml --symbols AAPL --interval 15m --set "
                       "replay_start=2012-06-01 --until noon --no-notebook")
    assert sunday.returncode == 2 and "until = 'noon'" in sunday.stderr


def test_a_session_on_postgresql_and_its_password_is_nowhere(clone, postgres):
    """Through the notebook, and every command after it; the URL with the password comes from the environment."""
    secret = "word-of-this-test-4711"
    url = postgres.url(postgres.database()).replace("//botlib@", f"//botlib:{secret}@")
    exchange = helpers.Exchange(clone)
    environ = {**exchange.environ, "MY_DB_URL": url}
    line = "live paper --config parameters/hold.yaml --set replay_start=null --iterations 1 --db env:MY_DB_URL"
    done = clone.run(line, **environ)
    assert done.returncode == 0, done.stderr
    said = [done]
    for words, code in (("status", 0), ("trades", 0), ("reconcile", 0), ("kill --reason news", 0), ("status", 0),
                        ("kill --clear --yes", 0), ("verify", 0), ("flatten", 0), ("stop", 0)):
        said.append(clone.run(f"{words} --db env:MY_DB_URL", **environ))
        assert said[-1].returncode == code, (words, said[-1].stdout, said[-1].stderr)
    assert "news" in said[5].stdout and "[SAFETY]" in said[6].stdout and "unbroken chain" in said[7].stdout
    watched = clone.start("status --watch --db env:MY_DB_URL", **environ)
    watched.until(r"Ctrl-C ends it", 2)
    assert "[PORTFOLIO]" in watched.text
    texts = [watched.text, *(text for one in said for text in (one.stdout, one.stderr))]
    texts += [file.read_bytes().decode(errors="replace") for file in clone.folder.rglob("*") if file.is_file()]
    assert any("parameters.yaml" in file.name for file in (clone.folder / "outputs").rglob("*"))
    assert not [text for text in texts if secret in text]
    wrong = clone.run("status --db env:MY_DB_URL", MY_DB_URL=url.replace("/test", "/nothing"))
    assert wrong.returncode == 1 and wrong.stderr.count("\n") == 1 and secret not in wrong.stderr
