"""What the passes of a session came to, so that one in which nothing was traded can say why. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from botlib.session.report import Report
from botlib.session.summary import LiveTradingSummary
from botlib.session_config import SessionParams
from botlib.wording import plural

_TRADES = "--set replay_start=2008-01-07 --iterations 40"
"""Where the strategy that is the default trades the symbols below on the bars that ship."""
_THERE = ("mean_reversion_momentum", frozenset({"AAPL", "MSFT"}))


@dataclass(slots=True)
class Course:
    """Counted over the passes: bars decided on, too late, and within the warm-up; orders that the decisions made, that
    were refused, and that the broker was sent."""

    decided: int = 0
    late: int = 0
    warming: int = 0
    wanted: int = 0
    refused: int = 0
    sent: int = 0

    def took(self, report: Report) -> None:
        """One more pass."""
        self.decided += report.status == "decided"
        self.late += (report.status == "missed") + len(report.missed)
        self.warming += report.bar is not None and not report.status
        self.wanted += report.wanted
        self.refused += len(report.refused) + sum(one.what == "refused" for one in report.unmet)
        self.sent += sum(answer.state != "rejected" for answer in report.answers)

    def nothing_traded(self, summary: LiveTradingSummary, params: SessionParams) -> str:
        """Why, in a sentence; "" when something was traded, or when the end says it."""
        if summary.total_fills or summary.status not in ("success", "user-cancelled"):
            return ""
        return f"nothing was traded: {why}." if (why := self._why(params)) else ""

    def _why(self, params: SessionParams) -> str:
        if self.sent:
            return f"{plural(self.sent, 'order')} went out, and none has been filled so far"
        if self.wanted and params.orders == "shadow":
            return "orders: shadow records orders and sends none"
        if self.refused:
            return f"what was wanted was refused ({plural(self.refused, 'order')}, see [REFUSED])"
        if self.wanted:
            return ""
        if self.decided:
            bars = "the one bar" if self.decided == 1 else f"the {self.decided:,} bars"
            return f"on {bars} it decided on, the strategy asked for no order{_elsewhere(params)}"
        if self.late:
            return f"{plural(self.late, 'bar')} came too late to be decided on"
        if self.warming:
            return "the strategy was still warming up"
        return "no new bar was final while it ran"


def _elsewhere(params: SessionParams) -> str:
    name, symbols = _THERE
    usual = (params.venue, params.provider, params.interval) == ("sandbox", "sample", "1d")
    if not usual or params.strategy["name"] != name or not symbols & set(params.symbols):
        return ""
    return f". To see trades on the sample data: {_TRADES}"
