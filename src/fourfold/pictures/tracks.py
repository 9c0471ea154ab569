"""Pictures of sequences: courses of a column over time, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from fourfold.pictures.markup import element, svg
from fourfold.pictures.panels import DATA, SAMPLES, short

__all__ = ["Track", "Tracks"]

SMALL = "font-size:11.5px;opacity:.75"


@final
@dataclass(frozen=True)
class Track:
    """One column of several sequences, on one scale.

    Attributes:
        name: of the column.
        categories: names, empty for a quantity.
        low, high: the ends of the scale.
        values: of each sequence, row by row. NaN is a gap.
    """

    name: str
    categories: tuple[str, ...]
    low: float
    high: float
    values: tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True)
class Tracks:
    """Sequences side by side: columns of the table below each other, a quantity as a line, a category as steps.

    Attributes:
        titles: of each sequence.
        tracks: one a column.
        data: how many of them, the last ones, are of the data. These are grey.
    """

    titles: tuple[str, ...]
    tracks: tuple[Track, ...]
    data: int = 0

    WIDTH, HEIGHT = 132, 46

    def _repr_html_(self) -> str:
        columns = f"minmax(6em,auto) repeat({len(self.titles)},{self.WIDTH}px)"
        most = max((len(values) for track in self.tracks for values in track.values), default=1)
        grid = element(
            "div",
            element("div", ""),
            *(element("div", title, style=SMALL) for title in self.titles),
            *(cell for track in self.tracks for cell in self._row(track, most)),
            style=f"display:grid;grid-template-columns:{columns};gap:4px 8px",
        )
        return str(element("div", grid, style="overflow-x:auto"))

    def _row(self, track: Track, most: int) -> list[Markup]:
        """The name and the scale of a column, and its course in each sequence."""
        ends = (track.categories[int(track.low)], track.categories[int(track.high)]) if track.categories else ()
        low, high = ends or (f"{track.low:.4g}", f"{track.high:.4g}")
        scale = element("span", short(high, 16), element("br"), short(low, 16), style=SMALL)
        name = element("div", short(track.name, 22), element("br"), scale, style="font-size:12px")
        samples = len(self.titles) - self.data
        courses = enumerate(track.values)
        return [name, *(self._course(track, values, SAMPLES if i < samples else DATA, most) for i, values in courses)]

    def _course(self, track: Track, values: tuple[float, ...], colour: str, most: int) -> Markup:
        """One sequence: a line through its values, broken at gaps, with a mark at its end."""
        step, spread = (self.WIDTH - 6) / max(most - 1, 1), max(track.high - track.low, 1e-12)
        route, drawing = "", False
        for i, value in enumerate(values):
            if math.isfinite(value):
                x, y = 3 + i * step, 3 + (self.HEIGHT - 6) * (track.high - value) / spread
                onward = f"H{x:.1f}V{y:.1f}" if track.categories else f"L{x:.1f} {y:.1f}"
                route += onward if drawing else f"M{x:.1f} {y:.1f}h0"
            drawing = math.isfinite(value)
        end = f"M{3 + (len(values) - 1) * step:.1f} {self.HEIGHT - 4}v4"
        frame = {"width": self.WIDTH, "height": self.HEIGHT, "fill": "none", "stroke": "currentColor"}
        return svg(
            self.WIDTH,
            self.HEIGHT,
            element("rect", **frame, opacity=".18"),
            element("path", d=route, fill="none", stroke=colour, stroke_width="1.6", stroke_linecap="round"),
            element("path", d=end, stroke=colour, stroke_width=2),
            role="img",
            aria_label=track.name,
        )
