"""How examples are shown: as an image, as points in a plane, as texts, or as sounds. A notebook displays each."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import TypeAlias, final

from torch import Tensor

from fourfold.core.panels import Matrices, Panels, Rows
from fourfold.core.tracks import Tracks

__all__ = ["Clips", "Cloud", "Excerpts", "Picture", "Sheet"]


@final
@dataclass(frozen=True)
class Sheet:
    """An image: the content of a PNG file. Whatever can be drawn can be shown so."""

    png: bytes

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        style = "width:100%;max-width:24em;image-rendering:pixelated"
        return f'<img alt="examples" style="{style}" src="data:image/png;base64,{data}">'


@final
@dataclass(frozen=True)
class Cloud:
    """Points in a plane.

    Attributes:
        points: ``(n, 2)``.
        box: the part of the plane that is shown: low and high of the first axis, then of the second.
        names: of the two axes.
        behind: ``(m, 2)`` points of the data, drawn behind them.
    """

    points: Tensor
    box: tuple[float, float, float, float]
    names: tuple[str, str]
    behind: Tensor

    def _repr_html_(self) -> str:
        """An SVG of 280 units: the data grey, and the points over them."""
        left, right, low, high = self.box
        dots = []
        for points, colour in ((self.behind, "rgba(128,128,128,.5)"), (self.points, "#3f6fd1")):
            x = 20 + 256 * (points[:, 0] - left) / (right - left)
            y = 4 + 256 * (high - points[:, 1]) / (high - low)
            inside = (x >= 20) & (x <= 276) & (y >= 4) & (y <= 260)
            route = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[inside].tolist(), y[inside].tolist(), strict=True))
            dots.append(f'<path d="{route}" stroke="{colour}" stroke-width="3" stroke-linecap="round"/>')
        first, second = map(html.escape, self.names)
        style = 'font-family="system-ui,sans-serif" font-size="11" fill="gray" text-anchor="middle"'
        words = f'<text x="148" y="275" {style}>{first}</text>'
        words += f'<text x="12" y="132" transform="rotate(-90 12 132)" {style}>{second}</text>'
        return f'<svg width="280" height="280" viewBox="0 0 280 280">{"".join(dots)}{words}</svg>'


@final
@dataclass(frozen=True)
class Excerpts:
    """A few examples as texts."""

    texts: tuple[str, ...]

    def _repr_html_(self) -> str:
        style = "white-space:pre-wrap;border-left:3px solid rgba(128,128,128,.4);padding-left:.8em"
        return "".join(f'<pre style="{style}">{html.escape(text)}</pre>' for text in self.texts)


@final
@dataclass(frozen=True)
class Clips:
    """Sounds: each with a player and a picture, such as its spectrogram.

    Attributes:
        sounds: the contents of WAV files.
        pictures: the contents of PNG files, one for each sound.
        columns: how many stand side by side; 0: as many as a player of readable width leaves room for.
    """

    sounds: tuple[bytes, ...]
    pictures: tuple[bytes, ...]
    columns: int = 0

    def _repr_html_(self) -> str:
        columns = f"repeat({self.columns or 'auto-fill'},minmax(130px,1fr))"
        style = f"display:grid;grid-template-columns:{columns};gap:10px;margin:8px 0;overflow-x:auto"
        cells = "".join(map(self._one, self.sounds, self.pictures))
        return f'<div class="clips" style="{style}">{cells}</div>'

    def _one(self, sound: bytes, picture: bytes) -> str:
        png, wav = (base64.b64encode(content).decode() for content in (picture, sound))
        image = f'<img alt="spectrogram" style="width:100%;display:block" src="data:image/png;base64,{png}">'
        style = "width:100%;height:28px;display:block;margin-top:3px"
        return f'<div>{image}<audio controls style="{style}" src="data:audio/wav;base64,{wav}"></audio></div>'


Picture: TypeAlias = Sheet | Cloud | Excerpts | Clips | Panels | Matrices | Rows | Tracks
"""The pictures that :meth:`fourfold.core.Space.picture` may return."""
