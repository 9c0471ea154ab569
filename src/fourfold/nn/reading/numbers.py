"""Vectors of numbers, and examples of any space as such, as networks read them."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.nn.resnet import ResMLP

__all__ = ["MOST", "NumberReading", "Ramps", "Standardiser", "ramps_of"]

ROWS = 200_000
"""Rows from which quantiles are taken, at most."""
MOST = 32
"""The most ramps of a number."""


def ramps_of(rows: int | None) -> int:
    """The most ramps of a number that so many rows of data bear, ``sqrt(rows) / 6``, between 4 and :data:`MOST`."""
    return MOST if rows is None else min(MOST, max(4, round(math.sqrt(rows) / 6)))


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
class Ramps(nn.Module):
    """Where each number lies between the quantiles ``q`` of its column, ``(B, D)`` to ``(B, D count)``, in [-1, 1].

        r_k(x) = clamp((2 x - q_(k-1) - q_k) / (q_k - q_(k-1)), -1, 1)

    A linear map of the ramps is a piecewise linear function of the number, with corners where the data are dense. So a
    network follows steep prices and thresholds from the start. A column of few values has a ramp from each to the next.
    All ramps of a missing number are 0. Gorishniy, Rubachev, Babenko 2022, On Embeddings for Numerical Features in
    Tabular Deep Learning (https://arxiv.org/abs/2203.05556).

    Args:
        dim: count of numbers.
        count: the most ramps of a number.
    """

    centre: Tensor
    slope: Tensor

    def __init__(self, dim: int, count: int = MOST) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dim, count))
        self.register_buffer("slope", torch.zeros(dim, count))

    def fit(self, x: Tensor) -> None:
        """Take the quantiles of the finite ones of numbers ``(N, D)``, of at most :data:`ROWS` rows."""
        levels = torch.linspace(0, 1, self.centre.shape[1] + 1, dtype=torch.float64, device=x.device)
        self.slope.zero_()
        for i, column in enumerate(x[:: -(-len(x) // ROWS) or 1].double().T):
            values = column[column.isfinite()]
            if len(values):
                corners = torch.unique(torch.quantile(values, levels))
                self.centre[i, : len(corners) - 1] = (corners[1:] + corners[:-1]) / 2
                self.slope[i, : len(corners) - 1] = 2 / corners.diff()

    def forward(self, x: Tensor) -> Tensor:
        ramps = (x.float().unsqueeze(2) - self.centre) * self.slope
        return ramps.nan_to_num(0.0).clamp(-1, 1).flatten(1)


@final
class NumberReading(Reading):
    """Standardised numbers, and a small network of them.

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
