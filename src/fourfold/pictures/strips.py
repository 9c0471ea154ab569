"""Pictures of predicted numbers: the draws of each on the scale of the data, with the true value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import torch
from markupsafe import Markup
from torch import Tensor

from fourfold.pictures.markup import element, svg
from fourfold.pictures.panels import FONT, SAMPLES, short

__all__ = ["Strip", "Strips"]


@final
@dataclass(frozen=True)
class Strip:
    """One number: draws, the true value, and the ends of the scale."""

    name: str
    draws: tuple[float, ...]
    truth: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class Strips:
    """Numbers below each other: each draw a stroke, the true value a triangle under them."""

    strips: tuple[Strip, ...]

    NAME, WIDTH, HEIGHT = 84, 216, 24

    @classmethod
    def of(cls, names: Sequence[str], draws: Tensor, truth: Tensor, data: Tensor) -> Self:
        """The strips of draws ``(k, Q)`` and of the truth ``(Q,)``, on a scale of 99 % of ``data`` ``(N, Q)``."""
        ends = data.double().nanquantile(torch.tensor([0.005, 0.995]).double(), 0).T.tolist()
        columns = zip(names, draws.T.tolist(), truth.tolist(), ends, strict=False)
        return cls(tuple(Strip(name, tuple(values), true, *scale) for name, values, true, scale in columns))

    def _repr_html_(self) -> str:
        return str(
            svg(
                self.NAME + self.WIDTH,
                self.HEIGHT * max(len(self.strips), 1),
                *(self._row(strip, i * self.HEIGHT) for i, strip in enumerate(self.strips)),
                css="strips",
                role="img",
                aria_label=", ".join(strip.name for strip in self.strips),
            )
        )

    def _row(self, strip: Strip, top: int) -> Markup:
        """The name of a number, its scale as a line, strokes of the draws and a mark of the truth."""
        spread = max(strip.high - strip.low, 1e-12)

        def place(value: float) -> float:
            share = min(max((value - strip.low) / spread, 0.0), 1.0)
            return self.NAME + 4 + share * (self.WIDTH - 8)

        strokes = "".join(f"M{place(value):.1f} {top + 3}v11" for value in strip.draws if math.isfinite(value))
        parts = [
            element("title", f"{strip.name}: true value {strip.truth:.4g}, scale {strip.low:.4g} to {strip.high:.4g}"),
            element(
                "text", short(strip.name, 13), x=0, y=top + 13, font_family=FONT, font_size=11, fill="currentColor"
            ),
            element("path", d=f"M{self.NAME + 4} {top + 14}h{self.WIDTH - 8}", stroke="currentColor", opacity=".3"),
            element("path", d=strokes, stroke=SAMPLES, stroke_width="1.6", opacity=".7"),
        ]
        if math.isfinite(strip.truth):
            mark = f"M{place(strip.truth):.1f} {top + 14}l-4 7h8z"
            parts.append(element("path", d=mark, fill="currentColor"))
        return element("g", *parts)
