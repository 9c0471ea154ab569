"""Mixtures of Gaussians: densities and draws. What their parameters are and how they are fitted is their users'."""

from __future__ import annotations

import math
from typing import Self, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.maths.categorical import categorical

__all__ = ["NormalMixture"]


@final
class NormalMixture:
    """``p(x) = sum_k w_k N(x; m_k, S_k)`` with precisions ``S_k^-1 = P_k^T P_k``.

    Args:
        log_weights: ``log w_k``, ``(K,)``, or ``(B, K)`` where each example has weights of its own.
        means: ``(K, D)``.
        factors: ``P_k``: lower triangles with positive diagonals, ``(K, D, D)``, or diagonals alone, ``(K, D)``.
    """

    def __init__(self, log_weights: Tensor, means: Tensor, factors: Tensor) -> None:
        self.log_weights, self.means, self.factors = log_weights, means, factors
        self._diagonal = factors.ndim == 2
        diagonals = factors if self._diagonal else factors.diagonal(0, 1, 2)
        self._scales = diagonals.log().sum(1) - means.shape[1] / 2 * math.log(2 * math.pi)
        if self._diagonal:  # |P (x - m)|^2 / 2 is linear in x^2 and x
            precisions = factors.square()
            self._rows = torch.cat([-precisions / 2, means * precisions], 1)
            self._offsets = self._scales - (means.square() * precisions).sum(1) / 2
        else:  # P (x - m) / sqrt(2) is linear in x
            rows = math.sqrt(0.5) * factors
            self._rows, self._offsets = rows.flatten(0, 1), -(rows * means.unsqueeze(1)).sum(2).flatten()

    @classmethod
    def of_covariances(cls, log_weights: Tensor, means: Tensor, covariances: Tensor) -> Self:
        """The mixture with covariances ``S_k``, ``(K, D, D)``.

        Raises:
            torch.linalg.LinAlgError: for a covariance that is not positive definite.
        """
        roots = torch.linalg.cholesky(covariances)
        identity = torch.eye(means.shape[1], dtype=means.dtype, device=means.device).expand_as(roots)
        return cls(log_weights, means, torch.linalg.solve_triangular(roots, identity, upper=False))

    def components(self, x: Tensor) -> Tensor:
        """``log N(x; m_k, S_k)`` of examples ``(B, D)``, ``(B, K)``: all components by one product."""
        x = x.to(self.means)
        with torch.autocast(x.device.type, enabled=False):
            if self._diagonal:
                return F.linear(torch.cat([x.square(), x], 1), self._rows, self._offsets)
            z = F.linear(x, self._rows, self._offsets).view(len(x), *self.means.shape)
            return self._scales - z.square().sum(2)

    def joint(self, x: Tensor) -> Tensor:
        """``log w_k N(x; m_k, S_k)``, ``(B, K)``."""
        return self.log_weights + self.components(x)

    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x)``, ``(B,)``."""
        return torch.logsumexp(self.joint(x), 1)

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        """Examples ``(B, D)``: ``u`` in ``[0, 1]``, ``(B,)``, chooses the component, and ``z ~ N(0, I)`` the place."""
        return self.place(categorical(self.log_weights, u), z)

    def place(self, k: Tensor, z: Tensor) -> Tensor:
        """``m_k + P_k^-1 z`` of components ``(B,)`` and noise ``(B, D)``. All are solved together and one is taken."""
        if self._diagonal:
            return self.means[k] + z / self.factors[k]
        shifts = torch.linalg.solve_triangular(self.factors, z.T.expand(len(self.factors), -1, -1), upper=False)
        return self.means[k] + shifts[k, :, torch.arange(len(k), device=k.device)]
