"""What a session remembers beside its core: what goes into a checkpoint, and what is not written down yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botlib.session.checking import Externals
from botlib.session.timeline import Booked
from botlib.watch import Watch

_FOREIGN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a pass needs to know beside the account.

    Attributes
    ----------
    send : bool
        False: record what would be sent, and send nothing.
    trade_late : bool
        Send decisions that come after the next bar's open, too.
    grace_seconds : float
        How much later than that open a decision is still in time.
    daily_delay : float
        Minutes after the close at which daily bars are final.
    unknown_seconds : float
        How long an order that the broker does not know must have been unknown before its id is sent again.
    settle_seconds : float
        How long after a bar's end bars are not asked for, so that those of slow symbols are there, too.
    feed, strategy_hash : str
        For the record.
    accept : str
        What a person does about shares and orders that are not the session's, in words.
    """

    send: bool = True
    trade_late: bool = False
    grace_seconds: float = 60.0
    daily_delay: float = 20.0
    unknown_seconds: float = 10.0
    settle_seconds: float = 0.0
    feed: str = ""
    strategy_hash: str = ""
    accept: str = ""


@dataclass(slots=True)
class Memory:
    """What goes into a checkpoint beside the core."""

    watch: Watch
    externals: Externals
    cursor: str = ""
    decided: str = ""
    """Label of the last bar that was looked at: a bar is decided once, whoever restarts."""
    foreign: list[str] = field(default_factory=list)
    """Keys of the latest executions that were not ours."""
    unexplained: list[str] = field(default_factory=list)
    """Keys of what broker and ledger did not agree on when it was told last."""
    bare: list[str] = field(default_factory=list)
    """Symbols whose missing protection has been told."""
    accepted: int = 0
    """Number of the last difference that a person has accepted."""
    flatten: bool = False
    """Everything is to be sold, and that has not been put into the book yet."""

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"watch": self.watch.record(), **self.small()}

    def small(self) -> dict[str, Any]:
        """`plain` without what safety remembers."""
        return {"cursor": self.cursor, "decided": self.decided,
                "externals": {"shares": self.externals.shares, "cash": self.externals.cash,
                              "apart": self.externals.apart},
                "foreign": self.foreign[-_FOREIGN:], "unexplained": self.unexplained, "bare": self.bare,
                "accepted": self.accepted, "flatten": self.flatten}

    @classmethod
    def of(cls, values: Any) -> Memory:
        """What `plain` gave."""
        return cls(Watch.from_record(values["watch"]), Externals(**values["externals"]), values["cursor"],
                   values["decided"], list(values["foreign"]), list(values.get("unexplained", ())),
                   list(values.get("bare", ())), int(values.get("accepted", 0)), bool(values.get("flatten", False)))


@dataclass(slots=True)
class Unwritten:
    """What has happened and is not written down yet: a pass that breaks off leaves it to the next."""

    booked: Booked = field(default_factory=Booked)
    externals: list[Any] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)
    requests: list[tuple[int, str]] = field(default_factory=list)
    """Requests carried out, by number, and what they asked for."""
    outcomes: dict[int, str] = field(default_factory=dict)
    """What became of them, by number; "carried out" where nothing else is said."""
    expired: list[Any] = field(default_factory=list)
    """Orders whose session ended before they filled."""
    alarms: list[str] = field(default_factory=list)
    cleared: bool = False
    """A person has lifted a kill."""


def why(one: Any) -> str:
    """What a person asked for (a row of the repository's requests), in words."""
    return f"{one.kind} asked for by {one.by}" + (f": {one.note}" if one.note else "")
