"""A session in lines: what a terminal, a log and a notebook show of each pass. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from botlib.calendars import EXCHANGE_TZ
from botlib.safety import SafetyControls
from botlib.session.report import Report
from botlib.session.sizing import told
from botlib.wording import plural


def first_lines(venue: str, kind: str, orders: str, notes: Sequence[str]) -> list[str]:
    """What comes before the first pass: the venue above all."""
    mode = ", shadow: nothing is sent" if orders == "shadow" else ""
    return [f"[VENUE] {venue} ({kind} session{mode})", *(f"[START] {note}" for note in notes)]


def lines(report: Report, controls: SafetyControls | None) -> list[str]:
    """The lines of one pass: what changed, then the portfolio; one line when nothing happened."""
    said = [f"[ACTION] {words}" for words in report.actions]
    said += [_trade(fill.side, fill.qty, fill.symbol, fill.price, report.purposes.get(uid, ""))
             for fill, uid in report.fills]
    said += [f"[EXTERNAL] {fill.side.upper()} {fill.qty:g} {fill.symbol} @ ${fill.price:,.2f}: not the session's, left "
             "alone" for fill in report.externals]
    said += [f"[EXPIRED] {one.side.upper()} {one.qty:g} {one.symbol}: its session ended with {one.filled_qty:g} filled"
             for one in report.expired]
    said += [f"[SAFETY] {change.text} ({change.state})" for change in report.changes]
    said += [f"[REQUEST] {why}" for why in report.requests]
    said += [f"[SAFETY] {sentence}" for sentence in report.said]
    said += [f"[UNEXPLAINED] {one}" for one in report.unexplained]
    if report.missed:
        said.append(f"[MISSED] {plural(len(report.missed), 'bar')} before it, from {report.missed[0]:%Y-%m-%d %H:%M}: "
                    "not decided on")
    if report.status == "missed":
        said.append(f"[MISSED] the bar of {report.bar:%Y-%m-%d %H:%M} came too late to trade on; not sent")
    said += [f"[{what.upper()}] {text}" for what, text in told(report.unmet)]
    for answer in report.answers:
        request, price = answer.intent.request, report.closes.get(answer.intent.symbol)
        at = f" @ ${price:,.2f}" if price else ""
        if answer.intent.purpose != "protect":
            word = "FLATTEN" if report.flattened and not answer.intent.adds_risk else "SIGNAL"
            said.append(f"[{word}] {request.side.upper()} {request.qty:g} {request.symbol}{at} "
                        f"({answer.intent.purpose})")
        if answer.state in ("rejected", "unknown"):
            said.append(f"[ORDER] {answer.text}")
    said += [f"[REFUSED] {reason}" for _, reason in report.refused]
    said += [f"[ALARM] {text}" for text in report.alarms]
    said += [f"[PROBLEM] {text}" for text in report.problems]
    if report.stuck:
        said.append(f"[ALARM] {plural(len(report.stuck), 'order')} refused again and again "
                    f"({', '.join(report.stuck)}): look at the account")
    return said if report.time is None else [*said, portfolio(report, controls)]  # a pass that could read nothing


def portfolio(report: Report, controls: SafetyControls | None) -> str:
    """``[PORTFOLIO] Cash: … | Equity: … | …``"""
    when = "" if report.time is None else f"{report.time.tz_convert(EXCHANGE_TZ):%Y-%m-%d %H:%M} "
    drawdown = f"Drawdown: {max(0.0, report.drawdown_pct):.2f} %"
    if controls is not None:
        drawdown += f" of {controls.max_drawdown_pct:g} %"
    held = f"Positions: {len(report.positions)} | Orders: {report.open_orders}"
    state = "" if report.state == "active" else f" | {report.state.upper()}: {report.reason}"
    return (f"[PORTFOLIO] {when}Cash: ${report.cash:,.2f} | Equity: ${report.equity:,.2f} | {drawdown} | "
            f"{held}{state}")


def _trade(side: str, qty: float, symbol: str, price: float, purpose: str) -> str:
    return f"[TRADE] {side.upper()} {qty:g} {symbol} @ ${price:,.4f}" + (f" ({purpose})" if purpose else "")
