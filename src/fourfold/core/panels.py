"""Pictures of tables: bars of columns, matrices of pairs, and rows. Each is HTML without scripts.

Colours come from the page where it has them (``--c``, ``--behind``, ``--bad``), else from here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["Bars", "Matrices", "Panels", "Rows", "short"]

MADE, DATA, BAD = "var(--c,#3f6fd1)", "var(--behind,#b0b5bd)", "var(--bad,#b3261e)"
FONT = 'font-family="system-ui,sans-serif" fill="currentColor"'
_LEVELS = 8
"""Shades of a matrix."""


@final
@dataclass(frozen=True)
class Bars:
    """The distribution of one column: shares of the data, and of samples.

    Attributes:
        name: of the column.
        labels: of each bar.
        data: shares of the data; empty if there are none to compare with.
        made: shares of the samples.
        ends: words under the first and the last bar; empty where the labels say it.
        gap: whether the last bar is that of missing values.
        score: how alike both are; NaN where unknown.
    """

    name: str
    labels: tuple[str, ...]
    data: tuple[float, ...]
    made: tuple[float, ...]
    ends: tuple[str, str] = ("", "")
    gap: bool = False
    score: float = math.nan

    WIDTH, HEIGHT, TOP, FLOOR = 156, 84, 16, 70

    def svg(self) -> str:
        """Bars of the data in grey, and the samples as a line over them; each bar names itself to the pointer."""
        most = max(*self.data, *self.made, 1e-9)
        step = self.WIDTH / max(len(self.labels), 1)
        tall = [(self.FLOOR - self.TOP) * share / most for share in self.made]
        parts = []
        for i, label in enumerate(self.labels):
            left, share = i * step, self.data[i] if self.data else 0.0
            height = (self.FLOOR - self.TOP) * share / most
            told = f"{label}: data {100 * share:.1f} %, samples {100 * self.made[i]:.1f} %"
            if not self.data:
                told = f"{label}: {100 * self.made[i]:.1f} %"
            parts.append(
                f'<g><title>{html.escape(told)}</title><rect x="{left:.1f}" y="{self.TOP}" width="{step:.1f}" '
                f'height="{self.FLOOR - self.TOP}" fill="transparent"/><rect x="{left + 0.5:.1f}" '
                f'y="{self.FLOOR - height:.1f}" width="{max(step - 1, 0.6):.1f}" height="{height:.1f}" '
                f'fill="{DATA}"/></g>'
            )
        line = "".join(
            f"M{i * step + 0.5:.1f} {self.FLOOR - h:.1f}h{max(step - 1, 0.6):.1f}" for i, h in enumerate(tall)
        )
        stems = "".join(
            f"M{(i + 0.5) * step:.1f} {self.FLOOR}V{self.FLOOR - h:.1f}" for i, h in enumerate(tall) if h > 0.5
        )
        parts += [
            f'<path d="{stems}" stroke="{MADE}" stroke-width="{min(step * 0.35, 5):.1f}" opacity=".45"/>',
            f'<path d="{line}" stroke="{MADE}" stroke-width="2"/>',
            f'<path d="M0 {self.FLOOR}H{self.WIDTH}" stroke="currentColor" stroke-width=".6" opacity=".5"/>',
        ]
        score = "" if math.isnan(self.score) else f"{self.score:.2f}"
        colour = f'fill="{BAD}" font-weight="600"' if self.score < 0.9 else 'fill="currentColor" opacity=".7"'
        words = [
            f'<text x="0" y="10" font-size="10.5" {FONT}>{html.escape(short(self.name, 21))}</text>',
            f'<text x="{self.WIDTH}" y="10" font-size="10.5" text-anchor="end" font-family="system-ui,sans-serif" '
            f"{colour}>{score}</text>",
            f'<text x="0" y="81" font-size="9" opacity=".7" {FONT}>{html.escape(short(self.ends[0], 14))}</text>',
            f'<text x="{self.WIDTH - (max(step, 12) if self.gap else 0):.1f}" y="81" font-size="9" opacity=".7" '
            f'text-anchor="end" {FONT}>{html.escape(short(self.ends[1], 14))}</text>',
        ]
        if self.gap:
            words.append(
                f'<text x="{self.WIDTH}" y="81" font-size="9" text-anchor="end" font-weight="600" {FONT}>∅</text>'
            )
        return (
            f'<svg class="bars" width="{self.WIDTH}" height="{self.HEIGHT}" viewBox="0 0 {self.WIDTH} {self.HEIGHT}" '
            f'role="img" aria-label="{html.escape(self.name)}">{"".join(parts + words)}</svg>'
        )


@final
@dataclass(frozen=True)
class Panels:
    """Small charts of columns, side by side.

    Attributes:
        bars: one chart a column.
        width: of a chart at least, in pixels.
    """

    bars: tuple[Bars, ...]
    width: int = 150

    def _repr_html_(self) -> str:
        style = f"display:grid;grid-template-columns:repeat(auto-fill,minmax({self.width}px,1fr));gap:10px 14px"
        return f'<div class="panels" style="{style}">{"".join(bars.svg() for bars in self.bars)}</div>'


@final
@dataclass(frozen=True)
class Matrices:
    """Square matrices of numbers from -1 to 1 over the same columns, as shades.

    Attributes:
        names: of the columns.
        matrices: each with a title; ``None`` stands for an unknown number.
        diagonal: whether the diagonal is shown.
    """

    names: tuple[str, ...]
    matrices: tuple[tuple[str, tuple[tuple[float | None, ...], ...]], ...]
    diagonal: bool = False

    def _repr_html_(self) -> str:
        inside = "".join(self._one(title, matrix) for title, matrix in self.matrices)
        return f'<div style="display:flex;flex-wrap:wrap;gap:12px 22px">{inside}</div>'

    def _one(self, title: str, matrix: Sequence[Sequence[float | None]]) -> str:
        size = len(self.names)
        cell = max(3.0, min(16.0, 240 / max(size, 1)))
        shades: dict[tuple[bool, int], list[str]] = {}
        worst = (0.0, 0, 0)
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                if value is None or (i == j and not self.diagonal) or abs(value) < 0.5 / _LEVELS:
                    continue
                shade = (value < 0, min(round(abs(value) * _LEVELS), _LEVELS))
                shades.setdefault(shade, []).append(f"M{j * cell:.1f} {(i + 0.5) * cell:.1f}h{cell:.1f}")
                worst = max(worst, (abs(value), i, j))
        paths = "".join(
            f'<path d="{"".join(route)}" stroke="{BAD if negative else MADE}" stroke-width="{cell:.1f}" '
            f'opacity="{level / _LEVELS:.2f}"/>'
            for (negative, level), route in sorted(shades.items())
            if level
        )
        side = size * cell
        frame = f'<rect width="{side:.0f}" height="{side:.0f}" fill="none" stroke="currentColor" opacity=".3"/>'
        value, i, j = worst
        most = f"{value:.2f}: {short(self.names[i], 18)} × {short(self.names[j], 18)}" if value else "none"
        return (
            f'<figure style="margin:0;max-width:100%"><figcaption style="font-size:12.5px">{html.escape(title)}'
            f'<br><span style="opacity:.7">largest {html.escape(most)}</span></figcaption>'
            f'<svg width="{side:.0f}" height="{side:.0f}" viewBox="0 0 {side:.0f} {side:.0f}">{paths}{frame}'
            "</svg></figure>"
        )


@final
@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        head: of the columns.
        rows: cells as text.
        marked: row and column of the cells that stand out.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[tuple[int, int]] = frozenset()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(short(name, 24))}</th>" for name in self.head)
        mark = f' style="color:{BAD};font-weight:600"'
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{mark if (i, j) in self.marked else ''}>{html.escape(short(cell, 56))}</td>"
                for j, cell in enumerate(row)
            )
            + "</tr>"
            for i, row in enumerate(self.rows)
        )
        style = "overflow-x:auto;font-size:12px;white-space:nowrap"
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="rows" style="{style}">{table}</div>'


def short(text: str, most: int) -> str:
    """A text of at most ``most`` characters: the text itself, or its beginning and an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
