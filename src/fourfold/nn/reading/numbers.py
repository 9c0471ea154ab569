"""Vectors of numbers, and examples of any space as such, as networks read them."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.nn.resnet import ResMLP

__all__ = ["NumberReading", "Standardiser"]


@final
class Standardiser(nn.Module):
    """``(x - mean) / std`` of each number, cut at 10, ``(B, D)``. A missing number is 0.

    Args:
        dim: count of numbers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation of the finite ones of numbers ``(N, D)``."""
        x = x.double()
        finite = x.isfinite()
        count = finite.sum(0).clamp(min=1)
        mean = x.where(finite, 0.0).sum(0) / count
        variance = (x - mean).where(finite, 0.0).square().sum(0) / count
        self.mean.copy_(mean)
        self.std.copy_(variance.sqrt().where(variance > 0, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        z = (x.float() - self.mean) / self.std
        return z.nan_to_num(0.0, math.inf, -math.inf).clamp(-10, 10)


@final
class NumberReading(Reading):
    """Standardiser numbers, and a small network of them.

    Args:
        dim: count of numbers.
        hidden: outputs and width of the network.
    """

    def __init__(self, dim: int, hidden: int = 64) -> None:
        super().__init__(dim + hidden)
        self.standardised, self.net = Standardiser(dim), ResMLP(dim, hidden, hidden, 2)

    def fit(self, cond: Tensor) -> None:
        self.standardised.fit(cond.flatten(1))

    def features(self, cond: Tensor) -> Tensor:
        z = self.standardised(cond.flatten(1))
        return torch.cat([z, self.net(z)], 1)
