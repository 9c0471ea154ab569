"""Several conditions at once, as networks read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Reading, States
from fourfold.core.conditions import unknown
from fourfold.nn.reading.registry import reading
from fourfold.spaces.together import Together

__all__ = ["TogetherReading"]


@final
class TogetherReading(Reading):
    """The vectors of all parts of a condition side by side, their maps too, and their sequences one after the other.

        r(c_1 ... c_k) = (r_1(c_1), ..., r_k(c_k)) / sqrt(k)

    Each part has its own vector where it is unknown. Vectors of a sequence have a range of coordinates for each part.

    Args:
        given: the space of the conditions.
        readings: those of its parts, in order.
    """

    def __init__(self, given: Together, readings: Sequence[Reading]) -> None:
        super().__init__(sum(net.width for net in readings))
        del self.unknown
        self.given, self.readings = given, nn.ModuleList(readings)
        self.maps = sum(net.maps for net in readings)
        self.states = sum(net.states for net in readings)
        self.gain = min(net.gain for net in readings)  # type: ignore[misc]

    def _parts(self, cond: Tensor | None) -> list[tuple[Reading, Tensor | None]]:
        """The reading of each part with its conditions."""
        parts = [None] * len(self.readings) if cond is None else self.given.split(cond)
        return list(zip(cast("Sequence[Reading]", self.readings), parts, strict=True))

    def fit(self, cond: Tensor) -> None:
        for net, part in self._parts(cond):
            assert part is not None
            net.fit(part[~unknown(part)])

    def features(self, cond: Tensor) -> Tensor:
        return self(cond, len(cond)) * math.sqrt(self.width)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        vectors = [net(part, batch) for net, part in self._parts(cond)]
        return torch.cat(vectors, 1) / math.sqrt(len(vectors))

    def spread(self, cond: Tensor | None, batch: int, size: tuple[int, int]) -> Tensor:
        parts = [(net, part) for net, part in self._parts(cond) if net.maps]
        return torch.cat([net.spread(part, batch, size) for net, part in parts], 1)

    def sequence(self, cond: Tensor | None, batch: int) -> tuple[Tensor, States]:
        vectors, states, first = [], [], 0
        for net, part in self._parts(cond):
            if not net.states:
                vectors.append(net(part, batch))
                continue
            vector, (features, mask) = net.sequence(part, batch)
            vectors.append(vector)
            states.append(States(F.pad(features, (first, self.states - first - net.states)), mask))
            first += net.states
        whole = States(torch.cat([part.features for part in states], 1), torch.cat([part.mask for part in states], 1))
        return torch.cat(vectors, 1) / math.sqrt(len(vectors)), whole


@reading.register
def _(given: Together, attends: bool = False) -> TogetherReading:
    return TogetherReading(given, [reading(part, attends) for part in given.parts])
