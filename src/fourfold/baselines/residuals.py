"""Integers about a prediction: mixtures of discretised logistics, with weights that depend on what lies around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from fourfold.maths.categorical import quantile

__all__ = ["Residuals", "bins_of"]

PRIOR = 0.1
"""Values that each part of a mixture has before any is seen."""
ROUNDS = 20
"""Steps of expectation and maximisation."""


def bins_of(activity: Tensor, count: int) -> Tensor:
    """The ends of ``count`` bins, at most, that hold equally many of the numbers ``(N,)``."""
    ends = torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:-1]
    ordered = activity.flatten().double().sort().values
    return torch.unique(ordered[(ends * (len(ordered) - 1)).long()])


@final
@dataclass(frozen=True)
class Residuals:
    """The masses of integers ``v`` from ``low`` to ``high`` about predictions ``mu``. They add up to 1.

        P(v) = sum_k w_bk [F((v + 1/2 - mu) / s_k) - F((v - 1/2 - mu) / s_k)],   F(a) = 1 / (1 + exp(-a))

    The lowest and the highest value take the mass beyond them. The weights ``w_b`` of a bin ``b`` are fitted to its
    values by expectation and maximisation. The scales stay as they are, so the fit is a convex problem.

    Attributes:
        low, high: the least and the greatest value.
        weights: ``(B, K)`` float64, which add up to 1 in each bin.
    """

    low: int
    high: int
    weights: Tensor

    @classmethod
    def fit(cls, low: int, high: int, bins: Tensor, count: int, parts: Tensor) -> Self:
        """The weights of ``count`` bins, for masses :meth:`parts` ``(N, K)`` of values whose bins are ``(N,)``."""
        k = parts.shape[1]
        weights = torch.full((count, k), 1 / k, dtype=torch.float64)
        for _ in range(ROUNDS):
            joint = parts * weights[bins]
            sums = torch.zeros_like(weights).index_add_(0, bins, joint / joint.sum(1, keepdim=True)) + PRIOR
            weights = sums / sums.sum(1, keepdim=True)
        return cls(low, high, weights)

    @staticmethod
    def parts(values: Tensor, mu: Tensor, scales: Tensor, low: int, high: int) -> Tensor:
        """The masses under each logistic, ``(..., K)``, of values and predictions ``(...)``, at scales ``(..., K)``."""
        v, away = values.double().unsqueeze(-1), (values.double() - mu).abs().neg().unsqueeze(-1)
        inner = torch.sigmoid((away + 0.5) / scales) - torch.sigmoid((away - 0.5) / scales)
        first = torch.sigmoid((v + 0.5 - mu.unsqueeze(-1)) / scales)
        last = torch.sigmoid((mu.unsqueeze(-1) + 0.5 - v) / scales)
        return torch.where(v <= low, first, torch.where(v >= high, last, inner))

    def masses(self, values: Tensor, mu: Tensor, scales: Tensor, bins: Tensor) -> Tensor:
        """``P(v)`` of values and predictions ``(...)``, at scales ``(..., K)``, float64."""
        return (self.parts(values, mu, scales, self.low, self.high) * self.weights[bins]).sum(-1)

    def draw(self, mu: Tensor, scales: Tensor, bins: Tensor, u: Tensor) -> Tensor:
        """Values about predictions ``(n,)`` by uniform numbers ``(n, 2)``, ``(n,)`` int64."""
        part = quantile(self.weights[bins].cumsum(-1), u[:, 0])
        scale = scales.gather(-1, part.unsqueeze(-1)).squeeze(-1)
        return (mu + scale * torch.logit(u[:, 1], 1e-12)).round().clamp(self.low, self.high).long()
