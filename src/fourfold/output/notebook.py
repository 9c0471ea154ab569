"""HTML of results in notebooks, without scripts, widgets or other files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["block", "facts", "grid", "in_notebook"]

_BLOCK = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;max-width:62em"
_CELL = "text-align:left;vertical-align:top;padding:1px 14px 1px 0;border:0;background:none"
_QUIET = "opacity:.65"


def in_notebook() -> bool:
    """True if the code runs in a notebook's kernel, which displays HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and shell.has_trait("kernel")


def block(title: str, *parts: str) -> str:
    """A heading and HTML below it."""
    return f'<div style="{_BLOCK}"><b style="font-size:15px">{escape(title)}</b>{"".join(parts)}</div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of labels and words. Rows without words are left out."""
    cells = [
        f'<tr><td style="{_CELL};white-space:nowrap;{_QUIET}">{escape(label)}</td>'
        f'<td style="{_CELL}">{escape(words)}</td></tr>'
        for label, words in rows
        if words
    ]
    return f'<table style="border-collapse:collapse;font-size:13px;margin:4px 0">{"".join(cells)}</table>'


def grid(rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A table whose first row is its head, and a note below it."""
    head, *body = rows
    line = f"{_CELL};border-bottom:1px solid rgba(128,128,128,.4)"
    lines = [_row(head, "th", line), *(_row(row, "td", _CELL) for row in body)]
    below = f'<div style="{_QUIET};font-size:12px">{escape(note)}</div>' if note else ""
    return f'<table style="border-collapse:collapse;font-size:13px;margin:6px 0">{"".join(lines)}</table>{below}'


def _row(cells: Sequence[str], tag: str, style: str) -> str:
    inside = "".join(f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inside}</tr>"
