"""The panel's page: a status as HTML. Pure; inline styles and the theme's own colours, for light and dark alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from botlib.calendars import EXCHANGE_TZ
from botlib.panel_status import Holding, Status, event_words
from botlib.wording import MINUS, NOTHING, money, percent, plural, typeset

STALE_SECONDS = 8

# Okabe and Ito's; each is read on the theme's light and dark ground.
_GOOD, _WARN, _BAD, _LINE = "#009E73", "#E69F00", "#D55E00", "#0072B2"
_STATES = {"active": (_GOOD, "ACTIVE"), "reduce-only": (_WARN, "REDUCE ONLY"), "halted": (_BAD, "HALTED")}
_INK, _MUTED = "var(--jp-ui-font-color1, inherit)", "var(--jp-ui-font-color2, gray)"
_RULE, _GROUND = "var(--jp-border-color2, rgba(128,128,128,.35))", "var(--jp-layout-color2, rgba(128,128,128,.12))"

STYLE = """<style>
@keyframes botlib-late { to { max-height: 4em } }
.botlib-panel table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.botlib-room { container-type: inline-size; width: 0; min-width: 100% }
.botlib-panel { box-sizing: border-box; max-width: min(980px, 100%); min-width: 0; overflow-wrap: anywhere }
</style>"""


def page(status: Status, *, now: pd.Timestamp, note: str = "", live: bool = True) -> str:
    """The whole panel.

    Parameters
    ----------
    now : the time on this machine, in its zone
    note : what the last click came to
    live : False: it will not be replaced any more, so that nothing in it may say that it is late
    """
    parts = [_head(status, now, live), _alarm(status), _meters(status), _lists(status)]
    if note:
        parts.append(f'<div style="margin-top:8px;color:{_MUTED}">{escape(note)}</div>')
    # JupyterLab takes what stands between two dollar signs of one text for a formula.
    body = "".join(parts).replace("$", "<span>$</span>")
    # The outer box asks for no width and takes what there is; else a widget would grow with its widest table.
    return (f'{STYLE}<div class="botlib-room"><div class="botlib-panel" style="border:1px solid {_RULE};'
            f'border-radius:6px;padding:12px min(16px,4%);color:{_INK};font-family:var(--jp-ui-font-family,sans-serif);'
            f'font-size:13px;line-height:1.45">{body}</div></div>')


def _head(status: Status, now: pd.Timestamp, live: bool) -> str:
    session = status.session
    state = status.safety.state if status.safety is not None else "active"
    colour, word = _STATES.get(state, (_MUTED, state.upper()))
    if not status.running:
        colour, word = (_MUTED, f"ENDED: {session.status}") if session.status != "error" else (_BAD, "ENDED: error")
    chips = [_chip(word, colour)]
    chips.insert(0, _chip("LIVE", _BAD) if session.kind == "live" else _chip("PAPER", _LINE))
    if session.orders == "shadow":
        chips.append(_chip("SHADOW: NOTHING IS SENT", _MUTED))
    venue = {"sandbox": "local exchange", "alpaca-paper": "Alpaca, paper account",
             "alpaca-live": "Alpaca, live account"}.get(status.ledger.venue, status.ledger.venue)
    title = f"<b>{escape(session.strategy)}</b> on {venue}"
    zone = f"{now:%H:%M:%S} {now.tzname() or ''}".strip()
    late = "" if not live else (
        f'<div style="max-height:0;overflow:hidden;animation:botlib-late 0s {STALE_SECONDS}s forwards;color:{_BAD};'
        'font-weight:600">This view stands still: the kernel is busy or gone, or the page lost it. The session is not '
        "asked here. In any notebook: botlib.panel.show()</div>")
    return (f'<div style="display:flex;flex-wrap:wrap;gap:8px;align-items:center">{"".join(chips)}'
            f'<span style="font-size:14px">{title}</span><span style="margin-left:auto;color:{_MUTED}">as of '
            f'<b class="botlib-as-of">{_as_of(status)}</b>, seen {zone}</span></div>{late}')


def _as_of(status: Status) -> str:
    if status.marks.empty:
        return "the start"
    return f"{status.marks['time'].iloc[-1].tz_convert(EXCHANGE_TZ):%Y-%m-%d %H:%M} New York"


def _alarm(status: Status) -> str:
    said = []
    colour = _MUTED if status.session.status in ("success", "user-cancelled") else _WARN
    if status.gone:
        said.append("The session's process is not there any more. Protective orders stand at the broker; start the "
                    "session again and it goes on from its ledger.")
    if status.safety is not None and status.safety.state != "active" and status.safety.reason:
        said.append(status.safety.reason)
    if not status.running and status.session.reason and status.session.reason not in said:
        said.append(status.session.reason)
    said += [f"{one.kind} asked for by {one.by} at {one.created:%H:%M:%S} UTC: not answered yet"
             for one in status.waiting if status.running]
    if not said:
        return ""
    return "".join(f'<div style="margin-top:8px;padding:4px 10px;border-left:4px solid {colour};background:{_GROUND}">'
                   f"{escape(typeset(text))}</div>" for text in said)


def _meters(status: Status) -> str:
    if status.marks.empty:
        return f'<div style="margin-top:10px;color:{_MUTED}">Nothing is marked yet.</div>'
    last, limits = status.marks.iloc[-1], status.session.limits or {}
    first = status.ledger.capital or float(status.marks["equity"].iloc[0])
    gain = float(last["equity"]) - first
    value = (f'<div style="color:{_MUTED}">Equity</div><div style="font-size:clamp(13px,9cqi,22px)">'
             f'{money(float(last["equity"]), digits=2)}</div><div style="color:{_MUTED}">'
             f'{money(gain, sign=True, digits=2)} since {money(first)}, cash {money(float(last["cash"]))}</div>')
    bars = [_meter("Drawdown", last["drawdown_pct"], limits.get("max_drawdown_pct"), "halts at"),
            _meter("Loss of the day", last["daily_loss_pct"], limits.get("max_daily_loss_pct"), "only exits from")]
    if status.safety is not None and limits.get("max_orders_per_day"):
        bars.append(_meter("Entries of the day", status.safety.orders_today, limits["max_orders_per_day"], "at most",
                           unit=""))
    parts = _part(190, value) + _part(220, _line(status)) + _part(260, "".join(bars))
    return f'<div style="display:flex;flex-wrap:wrap;gap:14px 24px;margin-top:10px">{parts}</div>'


def _part(width: int, content: str) -> str:
    """One of several parts in a row, which wraps where they have not this width (pixels) each."""
    return f'<div style="flex:1 1 min({width}px,100%);min-width:0">{content}</div>'


def _meter(name: str, value: Any, limit: Any, words: str, unit: str = " %") -> str:
    found = max(0.0, float(value)) if value is not None and math.isfinite(float(value)) else 0.0
    text = f"{found:.2f}{unit}" if unit else f"{found:,.0f}"
    if not limit:
        return f'<div style="color:{_MUTED}">{name}: <span style="color:{_INK}">{text}</span>, no limit</div>'
    share = min(1.0, found / float(limit))
    colour = _BAD if share >= 1.0 else _WARN if share >= 0.7 else _GOOD
    return ('<div style="margin-bottom:5px"><div style="display:flex;flex-wrap:wrap;gap:0 8px">'
            f'<span style="color:{_MUTED}">{name}</span>'
            f'<span style="margin-left:auto;text-align:right">{text} '
            f'<span style="color:{_MUTED}">{words} {float(limit):g}{unit}</span></span></div>'
            f'<div style="height:6px;border-radius:3px;background:{_GROUND}"><div style="height:6px;'
            f'border-radius:3px;width:{100 * share:.1f}%;background:{colour}"></div></div></div>')


def _line(status: Status, width: int = 260, height: int = 74) -> str:
    """Equity of the newest marks, and where the drawdown limit halts, as far as it is near."""
    values = [float(v) for v in status.marks["equity"]]
    if len(values) < 2:
        return ""
    limit = (status.session.limits or {}).get("max_drawdown_pct")
    peak = status.marks["peak"].iloc[-1]
    floor = float(peak) * (1 - limit / 100) if limit and peak == peak and peak is not None else None
    low, high = min(values), max(values)
    shown = floor is not None and floor > low - 2.0 * max(high - low, 0.002 * high)
    low = min(low, floor) if shown and floor is not None else low
    span = max(high - low, 1e-3 * high)
    middle = (high + low) / 2

    def at(value: float) -> float:
        return round(height / 2 - (value - middle) / span * (height - 12), 1)

    step = width / (len(values) - 1)
    points = " ".join(f"{i * step:.1f},{at(v)}" for i, v in enumerate(values))
    mark = "" if not shown or floor is None else (
        f'<line x1="0" x2="{width}" y1="{at(floor)}" y2="{at(floor)}" stroke="{_BAD}" stroke-dasharray="5 4"/>')
    said = plural(len(values), "mark") + (f", halt line at {money(floor)}" if shown and floor is not None else "")
    return (f'<svg viewBox="0 0 {width} {height}" width="100%" height="{height}" preserveAspectRatio="none" '
            f'role="img" aria-label="equity">{mark}<polyline points="{points}" fill="none" stroke="#3A8FC8" '
            f'stroke-width="1.8" vector-effect="non-scaling-stroke"/></svg><div style="color:{_MUTED};font-size:11px">'
            f"Equity, last {said}</div>")


def _lists(status: Status) -> str:
    legs = status.orders
    orders = [(escape(o.symbol), o.side, escape(str(o.type).replace("_", " ")), _number(o.qty),
               _price(o.limit_price), _price(o.stop_price), escape(str(o.status).replace("_", " ")))
              for o in legs.itertuples()]
    signals = [(_when(s.created), f"{s.side} {_number(s.qty)} {escape(s.symbol)}", escape(s.purpose),
                escape(s.state + (f": {s.reason}" if s.reason else ""))) for s in status.signals[::-1].itertuples()]
    return (_positions(status)
            + _columns(_table("Open orders", ("Symbol", "Side", "Type", "Qty", "Limit", "Stop", "Status"), orders,
                              "none", right=(3, 4, 5)),
                       _table("Last signals", ("New York", "Order", "For", "State"), signals, "none yet"))
            + _table("Last events", ("New York", "Event", ""), _events(status), "none yet"))


def _positions(status: Status) -> str:
    """What is held, what it is worth at the last closes, and what protects it."""
    daily = (status.session.params or {}).get("interval") == "1d"
    held, legs = status.holdings, status.orders
    rows = [(escape(one.symbol), _number(one.shares), *_profit(one.profit, one.profit_pct), money(one.value, digits=2),
             _dollars(one.entry_price), _dollars(one.last_price), _price_of(one, daily),
             _leg(legs, one.symbol, "stop_price"), _leg(legs, one.symbol, "limit_price")) for one in held]
    if len(held) > 1:
        value, profit = sum(one.value for one in held), sum(one.profit for one in held)
        paid = sum(abs(one.shares * one.entry_price) for one in held)
        rows.append(("<b>Together</b>", "", *_profit(profit, 100.0 * profit / paid if paid else math.nan),
                     money(value, digits=2), "", "", "", "", ""))
    made = _table("Positions", ("Symbol", "Shares", "Open profit", "%", "Value", "Entry", "Last", "New York",
                                "Stop", "Target"), rows, "none held", right=(1, 2, 3, 4, 5, 6, 8, 9))
    if any(math.isnan(one.profit) for one in held):
        made += (f'<div style="color:{_MUTED};font-size:11px">{NOTHING}: not known; the ledger has no entry or no '
                 "close yet.</div>")
    return made


def _price_of(one: Holding, daily: bool) -> str:
    """When its last price was made."""
    if one.time is None:
        return NOTHING
    local = one.time.tz_convert(EXCHANGE_TZ)
    if one.filled:
        return f"{local:%m-%d %H:%M} fill"
    return f"{local:%m-%d} close" if daily else f"{local:%m-%d %H:%M}"


def _profit(value: float, share: float) -> tuple[str, str]:
    """Dollars and percent: the sign says it, and a mark that is no question of colour alone."""
    mark = "" if not abs(value) >= 0.005 else (f'<span style="color:{_GOOD}">▲</span> ' if value > 0 else
                                               f'<span style="color:{_BAD}">▼</span> ')
    return mark + money(value, sign=True, digits=2), percent(share, sign=True, digits=2).removesuffix(" %")


def _events(status: Status) -> list[tuple[str, str, str]]:
    """Newest first. What was asked for is not told again by the event that carries it out."""
    told = [(e.time, e.kind, e.level, event_words(e.kind, e.data)) for e in status.events[::-1].itertuples()]
    done = [text for _, kind, _, text in told if kind != "request"]
    return [(_when(time), _level(kind, level), escape(typeset(text))) for time, kind, level, text in told
            if kind != "request" or not any(text in words for words in done)]


def _columns(*tables: str) -> str:
    return ('<div style="display:flex;flex-wrap:wrap;gap:0 28px;align-items:flex-start">'
            + "".join(_part(320, one) for one in tables) + "</div>")


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], empty: str,
           right: Sequence[int] = ()) -> str:
    """A table of numbers (``right``: those columns), which scrolls in its own box where it is too wide, or of words, of
    which the last column takes the width that is left and wraps."""
    head = f'<div style="margin-top:12px;font-weight:600">{title}</div>'
    if not rows:
        return f'{head}<div style="color:{_MUTED}">{empty}</div>'
    last = len(names) - 1
    used = [i for i in range(len(names)) if any(row[i] != "" for row in rows)]

    def cell(i: int, text: str, tag: str, look: str) -> str:
        side = "right" if i in right else "left"
        wide = "white-space:nowrap" if right or i != last else "white-space:normal;width:100%;min-width:7em"
        return (f'<{tag} style="text-align:{side};padding:1px {0 if i == last else 12}px 1px 0;vertical-align:top;'
                f'background:none;{wide};{look}">{text}</{tag}>')

    top = "".join(cell(i, names[i], "th", f"font-weight:400;color:{_MUTED};font-size:11px") for i in used)
    body = "".join(f'<tr style="background:none;border-top:1px solid {_RULE}">'
                   + "".join(cell(i, row[i], "td", "") for i in used) + "</tr>" for row in rows)
    return (f'{head}<div class="botlib-wide" style="overflow-x:auto;max-width:100%">'
            f'<table style="border:none;margin:0;width:100%;table-layout:auto"><thead><tr>{top}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def _chip(text: str, colour: str) -> str:
    return (f'<span style="background:{colour};color:{_on(colour)};border-radius:4px;padding:1px 8px;font-weight:600;'
            f'font-size:12px;letter-spacing:.03em">{escape(text)}</span>')


def _on(colour: str) -> str:
    """Black on the light colours, white on the dark ones."""
    return "#000" if colour in (_WARN, _GOOD) else "#fff" if colour.startswith("#") else \
        "var(--jp-layout-color0, #fff)"


def _level(kind: str, level: str) -> str:
    colour = {"alarm": _BAD, "warning": _WARN}.get(level)
    words = escape(kind.replace("-", " "))
    return words if colour is None else f'<b style="border-bottom:2px solid {colour}">{words}</b>'


def _when(time: pd.Timestamp) -> str:
    return f"{time.tz_convert(EXCHANGE_TZ):%m-%d %H:%M}"


def _leg(orders: pd.DataFrame, symbol: str, column: str) -> str:
    found = orders[(orders["symbol"] == symbol) & orders["role"].isin(["stop_loss", "take_profit", "stop", "target"])]
    prices = sorted({float(p) for p in found[column] if p is not None and p == p})
    return ", ".join(_price(p) for p in prices[:3]) + (" …" if len(prices) > 3 else "")


def _number(value: Any) -> str:
    return NOTHING if value is None or value != value else f"{value:,.10g}".replace("-", MINUS)


def _dollars(value: float) -> str:
    """A price; one of which is not known is shown as such."""
    return _price(value) or NOTHING


def _price(value: Any) -> str:
    return "" if value is None or value != value else f"{value:,.2f}"
