"""Pictures of sequences: courses of a column over time, side by side. Each is HTML without scripts."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import final

from fourfold.core.panels import DATA, MADE, short

__all__ = ["Track", "Tracks"]


@final
@dataclass(frozen=True)
class Track:
    """One column of several sequences, on one scale.

    Attributes:
        name: of the column.
        levels: names of its levels; empty for a quantity.
        low, high: the ends of the scale.
        values: of each sequence, row by row; NaN is a gap.
    """

    name: str
    levels: tuple[str, ...]
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
        data: how many of them, the last ones, are of the data; these are grey.
    """

    titles: tuple[str, ...]
    tracks: tuple[Track, ...]
    data: int = 0

    WIDTH, HEIGHT = 132, 46

    def _repr_html_(self) -> str:
        columns = f"minmax(6em,auto) repeat({len(self.titles)},{self.WIDTH}px)"
        style = f"display:grid;grid-template-columns:{columns};gap:4px 8px"
        small = "font-size:11.5px;opacity:.75"
        cells = ["<div></div>", *(f'<div style="{small}">{html.escape(title)}</div>' for title in self.titles)]
        most = max((len(values) for track in self.tracks for values in track.values), default=1)
        for track in self.tracks:
            ends = (track.levels[int(track.low)], track.levels[int(track.high)]) if track.levels else ()
            ends = ends or (f"{track.low:.4g}", f"{track.high:.4g}")
            scale = "<br>".join(html.escape(short(end, 16)) for end in reversed(ends))
            name = html.escape(short(track.name, 22))
            cells.append(f'<div style="font-size:12px">{name}<br><span style="{small}">{scale}</span></div>')
            cells += [
                self._line(track, values, DATA if i >= len(self.titles) - self.data else MADE, most)
                for i, values in enumerate(track.values)
            ]
        return f'<div style="overflow-x:auto"><div style="{style}">{"".join(cells)}</div></div>'

    def _line(self, track: Track, values: tuple[float, ...], colour: str, most: int) -> str:
        """One sequence: a line through its values, broken at gaps, with a dot at the end."""
        step, spread = (self.WIDTH - 6) / max(most - 1, 1), max(track.high - track.low, 1e-12)
        points = [
            (3 + i * step, 3 + (self.HEIGHT - 6) * (track.high - v) / spread) if math.isfinite(v) else None
            for i, v in enumerate(values)
        ]
        route, before = [], None
        for point in points:
            if point is not None:
                x, y = point
                to = f"H{x:.1f}V{y:.1f}" if track.levels else f"L{x:.1f} {y:.1f}"
                route.append(f"M{x:.1f} {y:.1f}h0" if before is None else to)
            before = point
        end = 3 + (len(values) - 1) * step
        return (
            f'<svg width="{self.WIDTH}" height="{self.HEIGHT}" viewBox="0 0 {self.WIDTH} {self.HEIGHT}" role="img" '
            f'aria-label="{html.escape(track.name)}"><rect width="{self.WIDTH}" height="{self.HEIGHT}" fill="none" '
            f'stroke="currentColor" opacity=".18"/><path d="{"".join(route)}" fill="none" stroke="{colour}" '
            f'stroke-width="1.6" stroke-linecap="round"/><path d="M{end:.1f} {self.HEIGHT - 4}v4" stroke="{colour}" '
            'stroke-width="2"/></svg>'
        )
