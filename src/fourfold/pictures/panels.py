"""Pictures of tables: bars of columns, matrices of pairs, and rows.

Colours come from the page where it has them (``--c``, ``--behind``, ``--bad``), else from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from fourfold.pictures.markup import element, svg

__all__ = ["Bars", "Matrices", "Panels", "Rows", "short"]

SAMPLES, DATA, BAD = "var(--c,#3f6fd1)", "var(--behind,#b0b5bd)", "var(--bad,#b3261e)"
FONT = "system-ui,sans-serif"
SHADES = 8
"""Shades of a matrix."""


@final
@dataclass(frozen=True)
class Bars:
    """The distribution of one column: shares of the data, and of samples.

    Attributes:
        name: of the column.
        labels: of each bar.
        data: shares of the data. Empty if there are none to compare with.
        samples: shares of the samples.
        ends: words under the first and the last bar. Empty where the labels say it.
        gap: whether the last bar is that of missing values.
        score: how alike both are. NaN where unknown.
    """

    name: str
    labels: tuple[str, ...]
    data: tuple[float, ...]
    samples: tuple[float, ...]
    ends: tuple[str, str] = ("", "")
    gap: bool = False
    score: float = math.nan

    WIDTH, HEIGHT, TOP, FLOOR = 156, 84, 16, 70

    def svg(self) -> Markup:
        """Bars of the data in grey, and the samples as a line over them. Each bar names itself to the pointer."""
        step, most = self.WIDTH / max(len(self.labels), 1), max(*self.data, *self.samples, 1e-9)
        tall = [(self.FLOOR - self.TOP) * share / most for share in self.samples]
        grey = [(self.FLOOR - self.TOP) * share / most for share in self.data] or [0.0] * len(self.labels)
        return svg(
            self.WIDTH,
            self.HEIGHT,
            *(self._bar(i, step, height) for i, height in enumerate(grey)),
            *self._line(tall, step),
            *self._words(step),
            css="bars",
            role="img",
            aria_label=self.name,
        )

    def _bar(self, i: int, step: float, height: float) -> Markup:
        """A bar of the data, and an area over its whole height that names it."""
        samples = f"{100 * self.samples[i]:.1f} %"
        shares = f"data {100 * self.data[i]:.1f} %, samples {samples}" if self.data else samples
        area = {"y": self.TOP, "height": self.FLOOR - self.TOP, "fill": "transparent"}
        bar = {"y": self.FLOOR - height, "height": height, "fill": DATA}
        return element(
            "g",
            element("title", f"{self.labels[i]}: {shares}"),
            element("rect", x=i * step, width=step, **area),
            element("rect", x=i * step + 0.5, width=max(step - 1, 0.6), **bar),
        )

    def _line(self, tall: Sequence[float], step: float) -> list[Markup]:
        """The samples: a stem and a roof for each bar, and the floor."""
        roofs = (f"M{i * step + 0.5:.1f} {self.FLOOR - h:.1f}h{max(step - 1, 0.6):.1f}" for i, h in enumerate(tall))
        stems = (f"M{(i + 0.5) * step:.1f} {self.FLOOR}V{self.FLOOR - h:.1f}" for i, h in enumerate(tall) if h > 0.5)
        return [
            element("path", d="".join(stems), stroke=SAMPLES, stroke_width=min(step * 0.35, 5.0), opacity=".45"),
            element("path", d="".join(roofs), stroke=SAMPLES, stroke_width=2),
            element("path", d=f"M0 {self.FLOOR}H{self.WIDTH}", stroke="currentColor", stroke_width=".6", opacity=".5"),
        ]

    def _words(self, step: float) -> list[Markup]:
        """The name and the score above, the ends below."""
        score = "" if math.isnan(self.score) else f"{self.score:.2f}"
        fill, weight = (BAD, 600) if self.score < 0.9 else ("currentColor", 400)
        right = {"text_anchor": "end", "font_family": FONT}
        style = {"font_family": FONT, "fill": "currentColor"}
        end = self.WIDTH - (max(step, 12) if self.gap else 0)
        words = [
            element("text", short(self.name, 21), x=0, y=10, font_size="10.5", **style),
            element("text", score, x=self.WIDTH, y=10, font_size="10.5", fill=fill, font_weight=weight, **right),
            element("text", short(self.ends[0], 14), x=0, y=81, font_size=9, opacity=".7", **style),
            element(
                "text", short(self.ends[1], 14), x=end, y=81, font_size=9, opacity=".7", fill="currentColor", **right
            ),
        ]
        gap = {"x": self.WIDTH, "y": 81, "font_size": 9, "font_weight": 600, "fill": "currentColor"}
        return [*words, element("text", "∅", **gap, **right)] if self.gap else words


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
        return str(element("div", Markup("").join(bars.svg() for bars in self.bars), css="panels", style=style))


@final
@dataclass(frozen=True)
class Matrices:
    """Square matrices of numbers from -1 to 1 over the same columns, as shades.

    Attributes:
        names: of the columns.
        matrices: each with a title. ``None`` stands for an unknown number.
        diagonal: whether the diagonal is shown.
    """

    names: tuple[str, ...]
    matrices: tuple[tuple[str, tuple[tuple[float | None, ...], ...]], ...]
    diagonal: bool = False

    def _repr_html_(self) -> str:
        figures = Markup("").join(self._figure(title, matrix) for title, matrix in self.matrices)
        return str(element("div", figures, style="display:flex;flex-wrap:wrap;gap:12px 22px"))

    def _figure(self, title: str, matrix: Sequence[Sequence[float | None]]) -> Markup:
        """A matrix below its title and its largest number."""
        size = len(self.names)
        cell = max(3.0, min(16.0, 240 / max(size, 1)))
        values = {
            (i, j): value
            for i, row in enumerate(matrix)
            for j, value in enumerate(row)
            if value is not None and (i != j or self.diagonal) and abs(value) >= 0.5 / SHADES
        }
        side = size * cell
        frame = element(
            "rect", width=f"{side:.0f}", height=f"{side:.0f}", fill="none", stroke="currentColor", opacity=".3"
        )
        caption = element(
            "figcaption", title, element("br"), element("span", self._largest(values), style="opacity:.7"),
            style="font-size:12.5px",
        )  # fmt: skip
        picture = svg(side, side, *_shades(values, cell), frame)
        return element("figure", caption, picture, style="margin:0;max-width:100%")

    def _largest(self, values: dict[tuple[int, int], float]) -> str:
        if not values:
            return "largest none"
        i, j = max(values, key=lambda place: abs(values[place]))
        return f"largest {abs(values[i, j]):.2f}: {short(self.names[i], 18)} × {short(self.names[j], 18)}"


def _shades(values: dict[tuple[int, int], float], cell: float) -> list[Markup]:
    """The cells of a matrix, those of one shade in one path."""
    routes: dict[tuple[bool, int], str] = {}
    for (i, j), value in values.items():
        shade = (value < 0, min(round(abs(value) * SHADES), SHADES))
        routes[shade] = routes.get(shade, "") + f"M{j * cell:.1f} {(i + 0.5) * cell:.1f}h{cell:.1f}"
    return [
        element("path", d=d, stroke=BAD if negative else SAMPLES, stroke_width=cell, opacity=f"{shade / SHADES:.2f}")
        for (negative, shade), d in sorted(routes.items())
        if shade
    ]


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
        head = element("tr", *(element("th", short(name, 24)) for name in self.head))
        body = Markup("").join(self._row(i, row) for i, row in enumerate(self.rows))
        table = element("table", element("thead", head), element("tbody", body))
        return str(element("div", table, css="rows", style="overflow-x:auto;font-size:12px;white-space:nowrap"))

    def _row(self, i: int, row: Sequence[str]) -> Markup:
        mark = f"color:{BAD};font-weight:600"
        cells = (
            element("td", short(cell, 56), style=mark if (i, j) in self.marked else None) for j, cell in enumerate(row)
        )
        return element("tr", *cells)


def short(text: str, most: int) -> str:
    """A text of at most ``most`` characters: the text itself, or its beginning and an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
