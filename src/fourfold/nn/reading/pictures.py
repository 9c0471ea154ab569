"""Images and clips as networks read them."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Reading, States
from fourfold.nn.attending import positions
from fourfold.nn.reading.registry import reading
from fourfold.nn.resnet import ResNetEncoder
from fourfold.spaces import Images

__all__ = ["PictureReading"]

LARGEST = 32
"""Height and width, at most, at which a picture is read as a vector."""


@final
class PictureReading(Reading):
    """A picture as a vector, by a small convolutional encoder, and as maps beside the images of a network.

    The maps are the pixel values in [-1, 1], 0 where they are unknown, and beside them 1 where they are observed. A
    larger picture is averaged to the size that a network asks for, and a smaller one is interpolated.

    Args:
        shape: ``(C, H, W)`` of a picture.
        n_values: number of values that a pixel takes.
        outputs: length of the vector.
        width: channels of the finest stage of the encoder.
    """

    def __init__(self, shape: tuple[int, int, int], n_values: int, outputs: int = 64, width: int = 16) -> None:
        super().__init__(outputs)
        self.n_values, self.maps = n_values, shape[0] + 1
        self.size = (min(shape[1], LARGEST), min(shape[2], LARGEST))
        self.encoder = ResNetEncoder((self.maps, *self.size), outputs, width, 1)
        self.states = self.encoder.trunk.pyramid.widths[-1]

    def features(self, cond: Tensor) -> Tensor:
        return self.encoder(self.spread(cond, len(cond), self.size))

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        """The sequence is the coarsest map of the encoder, place by place."""
        vector, coarsest = self.encoder.with_map(self.spread(cond, len(cond), self.size))
        h = coarsest.flatten(2).mT
        h = F.layer_norm(h, h.shape[2:]) + positions(h.shape[1], h.shape[2], h)
        return vector, States(h, torch.ones(h.shape[:2], dtype=torch.bool, device=h.device))

    def spread(self, cond: Tensor | None, batch: int, size: tuple[int, int]) -> Tensor:
        if cond is None:
            return self.unknown.new_zeros(batch, self.maps, *size)
        observed_mask = cond >= 0
        values = cond.float() * (2 / (self.n_values - 1)) - 1
        share = observed_mask.to(values.dtype).mean(1, keepdim=True)
        return resized(torch.cat([values.where(observed_mask, 0.0), share], 1), size)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, C, H, W)`` at another size: averages along a side that shrinks, interpolated along one that grows."""
    least = (min(x.shape[2], size[0]), min(x.shape[3], size[1]))
    x = x if x.shape[2:] == least else F.interpolate(x, size=least, mode="area")
    return x if least == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)


@reading.register
def _(given: Images, attends: bool = False) -> PictureReading:
    return PictureReading((given.channels, given.height, given.width), given.n_values)
