"""Distributions with an exactly known density: they give samples, and likelihoods are checked against them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fourfold.data.source import Density
from fourfold.distributions import mixtures
from fourfold.maths.categorical import quantile

__all__ = ["Checkerboard", "GaussianMixture"]


class GaussianMixture(Density):
    """``p(x) = sum_k w_k N(x; mu_k, S_k)`` with full covariances, in float64.

    Args:
        weights: ``(K,)`` positive. Scaled to add up to one.
        means: ``(K, D)``.
        covariances: ``(K, D, D)``, positive definite.

    Raises:
        ValueError: for shapes that do not fit or a covariance that is not positive definite.
    """

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor | Sequence[Sequence[float]],
        covariances: Tensor | Sequence[Sequence[Sequence[float]]],
    ) -> None:
        w, mu, cov = (torch.as_tensor(v, dtype=torch.float64) for v in (weights, means, covariances))
        if mu.ndim != 2 or w.shape != mu.shape[:1] or cov.shape != (*mu.shape, mu.shape[1]):
            raise ValueError(
                f"weights, means and covariances must be (K,), (K, D) and (K, D, D), got {tuple(w.shape)}, "
                f"{tuple(mu.shape)} and {tuple(cov.shape)}"
            )
        self.weights, self.means, self.covariances = w / w.sum(), mu, cov
        try:
            self.mixture = mixtures.NormalMixture.of_covariances(self.weights.log(), mu, cov)
        except RuntimeError as error:  # of the Cholesky decomposition
            raise ValueError(f"covariances must be positive definite: {error}") from None

    @property
    def dim(self) -> int:
        """The number of columns."""
        return self.means.shape[1]

    def component_log_prob(self, x: Tensor) -> Tensor:
        """``log N(x; mu_k, S_k)``, ``(B, K)``."""
        return self.mixture.components(x)

    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x)``, or the density of the component ``cond`` (-1: of the mixture), ``(B,)``."""
        components = self.component_log_prob(x)
        mixed = torch.logsumexp(components + self.weights.log(), 1)
        if cond is None:
            return mixed
        selection = components.gather(1, cond.clamp(min=0)[:, None])[:, 0]
        return torch.where(cond < 0, mixed, selection)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``(n, D)`` draws in float64 and the component of each, ``(n,)``."""
        k = quantile(self.weights.cumsum(0), torch.rand(n, generator=generator, dtype=torch.float64))
        return self.mixture.place(k, torch.randn(n, self.dim, generator=generator, dtype=torch.float64)), k


class Checkerboard(Density):
    """Uniform on the eight dark squares of a 4 x 4 board over ``[-4, 4)^2``: each has side 2 and density 1/32."""

    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``-log 32`` on dark squares, ``-inf`` elsewhere. ``-log 4`` within the square ``cond`` alone."""
        column, row = (x.double() / 2 + 2).floor().long().unbind(1)
        inside = (x >= -4).all(1) & (x < 4).all(1) & ((column + row) % 2 == 0)
        labels = torch.full_like(column, -1) if cond is None else cond
        inside &= (labels < 0) | (labels == column * 2 + row.div(2, rounding_mode="floor"))
        area = torch.where(labels < 0, 32, 4).double()
        return area.log().neg().masked_fill(~inside, -math.inf)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``(n, 2)`` draws in float64 and the square of each, ``(n,)``."""
        square = torch.randint(8, (n,), generator=generator)
        column, half = square // 2, square % 2
        corner = torch.stack([column, 2 * half + column % 2], 1).double() * 2 - 4
        return corner + 2 * torch.rand(n, 2, generator=generator, dtype=torch.float64), square
