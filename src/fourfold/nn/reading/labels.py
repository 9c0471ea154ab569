"""Categories as networks read them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from fourfold.core import Reading
from fourfold.nn.reading.registry import reading
from fourfold.spaces import Categories

__all__ = ["LabelReading"]


@final
class LabelReading(Reading):
    """A unit vector for each label, and one for "unknown". A linear map of it is a table of embeddings.

    Args:
        classes: number of labels.
    """

    first: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__(classes + 1)
        self.labels = classes
        del self.unknown
        self.register_buffer("first", torch.zeros(1, dtype=torch.long), persistent=False)

    def features(self, cond: Tensor) -> Tensor:
        places = (cond + 1).clamp(min=0)  # that of an unknown label is negative
        return (places[:, None] == torch.arange(self.width, device=cond.device)).float()

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        if cond is None:
            return self.features(self.first - 1).repeat(batch, 1)
        return self.features(cond)


@reading.register
def _(given: Categories, attends: bool = False) -> LabelReading:
    return LabelReading(given.count)
