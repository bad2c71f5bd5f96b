"""What the tuner says beside its pictures, as HTML. Pure; never a colour without its word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from botlib.style import GREEN, ORANGE, VERMILLION
from botlib.tune_figures import value_text
from botlib.tuning.verdicts import Verdict
from botlib.wording import typeset

_COLOURS = {"good": (GREEN, "#000"), "doubtful": (ORANGE, "#000"), "bad": (VERMILLION, "#fff")}
_MUTED = "var(--jp-ui-font-color2, #616161)"
_RULE = "var(--jp-border-color2, rgba(128,128,128,.35))"
_FONT = "font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;line-height:1.4"


def meter(found: Sequence[Verdict]) -> str:
    """Four questions, each with its figure, its verdict and what that means."""
    return (f'<div class="botlib-meter" style="{_FONT};display:grid;gap:2px 20px;'
            f'grid-template-columns:repeat(auto-fit,minmax(300px,1fr))">'
            + "".join(_row(one) for one in found) + "</div>").replace("$", "<span>$</span>")


def _row(one: Verdict) -> str:
    back, ink = _COLOURS.get(one.word, ("transparent", "inherit"))
    edge = f";border:1px solid {_RULE}" if one.word not in _COLOURS else ""
    return (f'<div style="padding:5px 0;border-top:1px solid {_RULE}">'
            f'<span style="background:{back};color:{ink};border-radius:4px;padding:0 7px;font-weight:600{edge}">'
            f'{one.word}</span> <b>{escape(one.name)}</b>: {escape(typeset(one.figure))}'
            f'<div style="color:{_MUTED};font-size:12px">{escape(typeset(one.meaning))}</div></div>')


def point_line(point: Mapping[str, Any], around: str) -> str:
    """Where everything stands, and what lies around it: the pictures in words."""
    text = ", ".join(f"{escape(name)} {escape(value_text(value))}" for name, value in point.items())
    return (f'<div class="botlib-point" role="status" style="{_FONT};color:{_MUTED};font-size:12px">At {text}. '
            f"{escape(typeset(around))}</div>")


def sentence(text: str, *, wrong: bool = False) -> str:
    """A word to the person; empty: nothing."""
    if not text:
        return ""
    edge = VERMILLION if wrong else GREEN
    return (f'<div class="botlib-said" role="alert" style="{_FONT};border-left:4px solid {edge};padding:3px 10px">'
            f"{escape(text)}</div>").replace("$", "<span>$</span>")


def heading(title: str, under: str) -> str:
    """What a picture shows, above it."""
    return (f'<div style="{_FONT}"><b style="font-size:14px">{escape(title)}</b><br>'
            f'<span style="color:{_MUTED}">{escape(under)}</span></div>').replace("$", "<span>$</span>")


def small(text: str) -> str:
    """A word of help under a slider."""
    return f'<div style="{_FONT};font-size:11px;color:{_MUTED}">{escape(text)}</div>'
