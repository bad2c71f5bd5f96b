"""Reading a command line: one clear sentence for what cannot be read, with the nearest word where there is one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from botlib.errors import InputError, nearest

PROGRAM = "python -m botlib"
DONE, CRASHED, REFUSED, HALTED, UNRECONCILED = 0, 1, 2, 3, 4
"""Exit codes: done, a crash (also of a strategy's own code), refused (your input), halted by a kill, broker and ledger
do not agree. 128 + n: stopped by signal n."""


class Parser(argparse.ArgumentParser):
    """One sentence and exit code 2 for a command line that cannot be read; the nearest word where there is one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. See: {self.prog} --help")

    def options(self) -> list[str]:
        """All flags."""
        return [o for action in self._actions for o in action.option_strings]


class Commands:
    """Commands of a parser as they are added, by what is typed for them.

    Parameters
    ----------
    top : Parser
    words : str
        Typed in front of all of them, e.g. "live".
    found : dict, optional
        Where they are noted, beside those that are there.
    """

    def __init__(self, top: Parser, words: str = "", found: dict[str, Parser] | None = None) -> None:
        self._words = words
        self._add = top.add_subparsers(dest=words or "command", metavar="COMMAND", parser_class=Parser)
        self.found: dict[str, Parser] = {} if found is None else found

    def add(self, name: str, summary: str, description: str | None = None, *,
            run: Callable[[argparse.Namespace], int] | None = None, rooted: bool = True) -> Parser:
        """A command: ``run`` gets what was typed and returns the exit code. Not ``rooted``: it takes no --root."""
        words = f"{self._words} {name}".strip()
        made: Parser = self._add.add_parser(name, help=summary, description=description or summary)
        if rooted:
            made.add_argument("--root", metavar="DIR", help="the project; default: the nearest folder upwards that "
                                                            "holds parameters/")
        made.set_defaults(run=run, words=words)
        self.found[words] = made
        return made


def nearest_flag(word: str, known: Sequence[str]) -> str:
    """As `nearest`; the dashes, which all flags share, are no likeness."""
    bare = word.split("=")[0].lstrip("-")
    found = nearest(bare, [flag.lstrip("-") for flag in known if flag.startswith("--")])
    return found.replace("'", "'--", 1)


def check_symbols(symbols: Sequence[str] | None) -> None:
    """Refuse tickers that are joined by commas. Raises `InputError`."""
    for word in symbols or ():
        if "," in word:
            apart = " ".join(" ".join(symbols or ()).replace(",", " ").split())
            raise InputError(f"--symbols: {word!r} is no ticker: separate tickers by blanks: --symbols {apart}")
