"""The codec of vectors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Vectors

__all__ = ["Standardised"]


@final
class Standardised(Codec):
    """Columns with mean 0 and standard deviation 1 on the training data: ``z = (x - mean) / scale``.

    ``log |det| = -sum log scale``.
    """

    measure = Measure.LEBESGUE
    mean: Tensor
    scale: Tensor

    def __init__(self, space: Vectors) -> None:
        super().__init__()
        self.space, self.event = space, space.shape
        self.register_buffer("mean", torch.zeros(space.dim))
        self.register_buffer("scale", torch.ones(space.dim))

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        z = (x - self.mean) / self.scale
        return z, -self.scale.log().sum().expand(len(x))

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return torch.addcmul(self.mean, z.float(), self.scale)

    def fit(self, x: Tensor) -> None:
        """Set mean and scale to the mean and standard deviation of each column, in float64.

        Raises:
            ValueError: for a constant column, by name.
        """
        scale = x.double().std(0)
        constant = (scale <= 0).nonzero().flatten().tolist()
        if constant:
            names = [self.space.columns[i] if self.space.columns else str(i) for i in constant]
            raise ValueError(f"column {', '.join(names)} must vary to have a density, got a constant; drop it")
        self.mean.copy_(x.double().mean(0))
        self.scale.copy_(scale)
