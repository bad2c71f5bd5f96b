"""What one pass of the loop saw and did, for whoever tells people: the console, the panel, the alerts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from botlib.watch import Change, Watch

if TYPE_CHECKING:
    from botlib.brokers.base import Fill, OpenOrder
    from botlib.session.checking import Difference, Externals
    from botlib.session.core import SessionCore
    from botlib.session.links import Intent
    from botlib.session.memory import Unwritten
    from botlib.session.observing import Facts
    from botlib.session.sending import Answer
    from botlib.session.sizing import Unmet


@dataclass(slots=True)
class Report:
    """One pass.

    Attributes
    ----------
    status : str
        "decided", "missed" or "discarded"; "" when no bar was new, or the strategy is still warming up.
    bar : pandas.Timestamp or None
        The label of the bar that was new.
    targets : (N,) float64 or None
        What the strategy wanted, NaN where nothing.
    """

    iteration: int
    time: pd.Timestamp | None = None
    status: str = ""
    bar: pd.Timestamp | None = None
    targets: np.ndarray | None = None
    cash: float = 0.0
    equity: float = 0.0
    positions: dict[str, float] = field(default_factory=dict)
    open_orders: int = 0
    """At the broker: all that may still trade, a bracket's legs that wait for their entry among them."""
    state: str = "active"
    reason: str = ""
    drawdown_pct: float = 0.0
    daily_loss_pct: float = 0.0
    fills: list[tuple[Fill, int]] = field(default_factory=list)
    purposes: dict[int, str] = field(default_factory=dict)
    closes: dict[str, float] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    refused: list[tuple[Intent, str]] = field(default_factory=list)
    wanted: int = 0
    """Orders that the decision made, those that were refused among them."""
    unmet: list[Unmet] = field(default_factory=list)
    """What was wanted and not taken into the book, or not whole; no order came of what was refused there."""
    changes: list[Change] = field(default_factory=list)
    externals: list[Fill] = field(default_factory=list)
    expired: list[OpenOrder] = field(default_factory=list)
    strangers: list[OpenOrder] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Those that were not told in the pass before."""
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """What a person who asked for something is told."""
    flattened: bool = False
    """Everything was put up for sale in this pass: no entry goes out in it."""
    missed: list[pd.Timestamp] = field(default_factory=list)
    """Labels of earlier bars that came too late to be decided on."""
    no_bars: str = ""
    """Why the bars could not be read; nothing was decided."""
    problems: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def targets_are(self, targets: np.ndarray) -> None:
        """Keep what the strategy wanted."""
        self.targets = targets

    def take(self, facts: Facts, unwritten: Unwritten) -> None:
        """What was read and booked."""
        self.time = facts.time
        self.fills, self.actions = list(unwritten.booked.fills), list(unwritten.booked.actions)
        self.changes, self.externals = list(unwritten.changes), list(unwritten.externals)
        self.expired = list(unwritten.expired)

    def finish(self, core: SessionCore, watch: Watch, facts: Facts, externals: Externals) -> None:
        """How the ledger stands after the pass."""
        from botlib import safety

        self.cash, self.equity, self.positions = float(core.book["cash"]), core.equity(), core.positions()
        self.open_orders = sum(not link.ended for link in core.links.values())
        self.closes = {a.intent.symbol: float(core.bars.close[-1, core.column[a.intent.symbol]]) for a in self.answers}
        self.state, self.reason = safety.STATE_NAMES[watch.state], watch.reason
        self.drawdown_pct = float(safety.fall_pct(self.equity, watch.peak))
        self.daily_loss_pct = float(safety.fall_pct(self.equity, watch.day_start))
        self.purposes = {uid: core.purpose(uid) for _, uid in self.fills}

    def plain(self) -> dict[str, Any]:
        """The figures of it, as JSON takes them."""
        return {name: getattr(self, name) for name in (
            "iteration", "status", "cash", "equity", "positions", "open_orders", "state", "reason", "drawdown_pct",
            "daily_loss_pct")}
