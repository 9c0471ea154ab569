"""How examples are shown: as an image, as points in a plane, as texts, or as sounds. A notebook displays each."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TypeAlias, final

from markupsafe import Markup
from torch import Tensor

from fourfold.pictures.markup import element, svg
from fourfold.pictures.panels import FONT, SAMPLES, Matrices, Panels, Rows
from fourfold.pictures.strips import Strips
from fourfold.pictures.tracks import Tracks

__all__ = ["Album", "Clips", "Cloud", "Excerpts", "Picture", "Sheet"]


@final
@dataclass(frozen=True)
class Sheet:
    """An image: the content of a PNG file. Whatever can be drawn can be shown so."""

    png: bytes

    def _repr_html_(self) -> str:
        style = "width:100%;max-width:24em;image-rendering:pixelated"
        return str(element("img", alt="examples", style=style, src=_address("image/png", self.png)))


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
        points = ((self.behind, "rgba(128,128,128,.5)"), (self.points, SAMPLES))
        paths = [self._dots(part, colour) for part, colour in points]
        style = {"font_family": FONT, "font_size": 11, "fill": "gray", "text_anchor": "middle"}
        first = element("text", self.names[0], x=148, y=275, **style)
        second = element("text", self.names[1], x=12, y=132, transform="rotate(-90 12 132)", **style)
        return str(svg(280, 280, *paths, first, second))

    def _dots(self, points: Tensor, colour: str) -> Markup:
        """The points within the box as one path."""
        left, right, low, high = self.box
        x = 20 + 256 * (points[:, 0] - left) / (right - left)
        y = 4 + 256 * (high - points[:, 1]) / (high - low)
        inside = (x >= 20) & (x <= 276) & (y >= 4) & (y <= 260)
        route = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[inside].tolist(), y[inside].tolist(), strict=True))
        return element("path", d=route, stroke=colour, stroke_width=3, stroke_linecap="round")


@final
@dataclass(frozen=True)
class Excerpts:
    """A few examples as texts."""

    texts: tuple[str, ...]

    def _repr_html_(self) -> str:
        style = "white-space:pre-wrap;border-left:3px solid rgba(128,128,128,.4);padding-left:.8em"
        return str(Markup("").join(element("pre", text, style=style) for text in self.texts))


@final
@dataclass(frozen=True)
class Clips:
    """Sounds: each with a player and a picture, such as its spectrogram.

    Attributes:
        sounds: the contents of WAV files.
        pictures: the contents of PNG files, one for each sound.
        columns: how many stand side by side. 0: as many as a player of readable width leaves room for.
    """

    sounds: tuple[bytes, ...]
    pictures: tuple[bytes, ...]
    columns: int = 0

    def _repr_html_(self) -> str:
        columns = f"repeat({self.columns or 'auto-fill'},minmax(130px,1fr))"
        style = f"display:grid;grid-template-columns:{columns};gap:10px;margin:8px 0;overflow-x:auto"
        cells = Markup("").join(map(_player, self.sounds, self.pictures))
        return str(element("div", cells, css="clips", style=style))


@final
@dataclass(frozen=True)
class Album:
    """Several pictures of one example, such as an image and its class."""

    pictures: tuple[Picture, ...]

    def _repr_html_(self) -> str:
        return "".join(picture._repr_html_() for picture in self.pictures)


def _player(sound: bytes, picture: bytes) -> Markup:
    """A spectrogram above the player of its sound."""
    wide = {"style": "width:100%;display:block", "src": _address("image/png", picture)}
    style = "width:100%;height:28px;display:block;margin-top:3px"
    audio = element("audio", "", controls="", style=style, src=_address("audio/wav", sound))
    return element("div", element("img", alt="spectrogram", **wide), audio)


def _address(kind: str, content: bytes) -> str:
    """The content of a file inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


Picture: TypeAlias = Sheet | Cloud | Excerpts | Clips | Album | Panels | Matrices | Rows | Strips | Tracks
"""The pictures that :meth:`fourfold.core.Space.picture` may return."""
