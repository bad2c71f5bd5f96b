"""`TextTable`: a frame of text that a notebook shows whole and aligned."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd


class TextTable(pd.DataFrame):
    """A frame of ready-made text.

    In a notebook numbers stand right and words left, nothing is cut off and a running index is not shown. Styles are
    inline, since JupyterLab drops style sheets from notebooks it does not trust, and set no colour: the theme does.
    ``attrs["caption"]`` is shown above the table, ``attrs["empty"]`` in place of a table without rows.
    """

    @property
    def _constructor(self) -> Any:
        return TextTable

    def __repr__(self) -> str:
        if not len(self):
            return str(self.attrs.get("empty", "none"))
        with pd.option_context("display.max_colwidth", None):
            text = self.to_string(index=not isinstance(self.index, pd.RangeIndex), justify="left")
        return f"{self.attrs['caption']}\n{text}" if "caption" in self.attrs else str(text)

    def _repr_html_(self) -> str:
        if not len(self):
            return f"<p>{escape(str(self.attrs.get('empty', 'none')))}</p>"
        shown = self if isinstance(self.index, pd.RangeIndex) else self.reset_index()
        names = len(shown.columns) - len(self.columns)  # columns that come from the index
        right = [all(_is_number(v) for v in shown.iloc[:, i]) for i in range(len(shown.columns))]
        head = "".join(_cell("th", str(c) if i >= names or c not in ("index", "level_0") else "", right[i])
                       for i, c in enumerate(shown.columns))
        rows, before = [], [None] * names
        for values in shown.itertuples(index=False, name=None):
            cells = []
            for i, value in enumerate(values):
                repeated = i < names - 1 and value == before[i]
                cells.append(_cell("th" if i < names else "td", "" if repeated else str(value), right[i]))
            before = list(values[:names])
            rows.append(f"<tr>{''.join(cells)}</tr>")
        caption = f"<p>{escape(self.attrs['caption'])}</p>" if "caption" in self.attrs else ""
        return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(tag: str, text: str, right: bool) -> str:
    shown = escape(text)
    if shown.count("$") > 1:  # JupyterLab would take what stands between them for a formula
        shown = shown.replace("$", "<span>$</span>")
    return f'<{tag} style="text-align:{"right" if right else "left"}">{shown}</{tag}>'


def _is_number(text: object) -> bool:
    """A figure with or without sign, currency, separators and unit; a dash for none."""
    bare = str(text).lstrip("+-\N{MINUS SIGN}$").rstrip("% bpsday").replace(",", "")
    return bare in ("", "\N{EN DASH}") or bare.replace(".", "", 1).isdigit()
