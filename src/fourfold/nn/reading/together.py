"""Several conditions at once, as networks read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast, final

import torch
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.core.conditions import unknown
from fourfold.spaces.together import Together

__all__ = ["TogetherReading"]


@final
class TogetherReading(Reading):
    """The vectors of all parts of a condition side by side, and their maps too.

        r(c_1 ... c_k) = (r_1(c_1), ..., r_k(c_k)) / sqrt(k)

    Each part has its own vector where it is unknown.

    Args:
        given: the space of the conditions.
        readings: those of its parts, in order.
    """

    def __init__(self, given: Together, readings: Sequence[Reading]) -> None:
        super().__init__(sum(reading.width for reading in readings))
        del self.unknown
        self.given, self.readings = given, nn.ModuleList(readings)
        self.maps = sum(reading.maps for reading in readings)
        self.gain = min(reading.gain for reading in readings)  # type: ignore[misc]

    def _parts(self, cond: Tensor | None) -> list[tuple[Reading, Tensor | None]]:
        """The reading of each part with its conditions."""
        parts = [None] * len(self.readings) if cond is None else self.given.split(cond)
        return list(zip(cast("Sequence[Reading]", self.readings), parts, strict=True))

    def fit(self, cond: Tensor) -> None:
        for reading, part in self._parts(cond):
            assert part is not None
            reading.fit(part[~unknown(part)])

    def features(self, cond: Tensor) -> Tensor:
        return self(cond, len(cond)) * math.sqrt(self.width)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        vectors = [reading(part, batch) for reading, part in self._parts(cond)]
        return torch.cat(vectors, 1) / math.sqrt(len(vectors))

    def spread(self, cond: Tensor | None, batch: int, size: tuple[int, int]) -> Tensor:
        parts = [(reading, part) for reading, part in self._parts(cond) if reading.maps]
        return torch.cat([reading.spread(part, batch, size) for reading, part in parts], 1)
