"""Mixtures of Gaussians over vectors: the classical models of few rows, beside a network."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.baselines.frame import frame_of
from fourfold.baselines.mixtures import MixedGaussians, ProductMixture
from fourfold.core import Part, Uncompiled
from fourfold.maths.normal import log_phi
from fourfold.nn.token_mixture import FOLDS
from fourfold.spaces import Vectors

__all__ = ["Normals", "VectorMixtures"]

MIXTURES = (MixedGaussians, ProductMixture)
"""Correlated values, and values that are independent within a component."""
MOST = 16
"""Components of a mixture, at most."""
ROWS = 1000
"""Rows to which components are fitted, at most."""
ROUNDS = 20
"""Steps of expectation and maximisation of the shares."""
NETWORK = 0.02
"""The share of the network before the first step."""


class Normals(NamedTuple):
    """Weighted normal distributions of values, ``(B, D, K)`` each."""

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor


@final
class VectorMixtures(Part, nn.Module):
    """Two mixtures of Gaussians of whole vectors, value by value, with their shares beside a network.

        p(x_i | x_<i) = s_i0 net + sum_m s_im sum_k r_k(x_<i) N(x_i; mean_k(x_<i), scale_k)

    The components of the first mixture have full covariances, those of the second one independent values. With ``W =
    L^-1`` of the Cholesky factor of a component, ``scale_i = 1 / W_ii`` and ``mean_i = m_i - scale_i sum_{j<i} W_ij
    (x_j - m_j)``, and ``r_k`` is in proportion to ``w_k`` and the densities of earlier values.

    :meth:`fit` fits the components, and shares that are best for the rows. The shares are parameters, so steps go on
    from there. In training a row is predicted by components that were fitted without it and others: otherwise they
    would seem better than they are, and the network had nothing to learn.

    Args:
        dim: length of the vectors.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("shares",)

    log_weight: Tensor
    mean: Tensor
    whitening: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        fits, count = FOLDS + 1, len(MIXTURES)
        even = torch.full((fits, count, MOST), -torch.inf)
        self.register_buffer("log_weight", even.index_fill(2, torch.tensor(0), 0.0))
        self.register_buffer("mean", torch.zeros(fits, count, MOST, dim))
        self.register_buffer("whitening", torch.eye(dim).repeat(fits, count, MOST, 1, 1))
        self.shares = nn.Parameter(torch.zeros(dim, 1 + count))
        self._outside = Uncompiled(self._left_out)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Fit components and shares to vectors ``(N, dim)``."""
        rows = x[:: -(-len(x) // ROWS)].cpu()
        frame, fold = frame_of(Vectors(rows.shape[1]), rows), _fold(rows)
        self.log_weight.fill_(-torch.inf)
        for m, kind in enumerate(MIXTURES):
            for f, fitted in enumerate(kind.folded(frame, frame.parts(rows), fold, FOLDS)):
                k = len(fitted.weights)
                root = frame.scale.unsqueeze(1) * torch.linalg.cholesky(fitted.covariances())
                self.log_weight[f, m, :k] = fitted.weights.log()
                self.mean[f, m, :k] = frame.scale * fitted.means + frame.mean
                self.whitening[f, m, :k] = torch.linalg.inv(root)
        self._share(x[:: -(-len(x) // ROWS)])

    def _share(self, x: Tensor) -> None:
        """Shares of the mixtures by expectation and maximisation on rows that each fit left out."""
        weight, mean, log_scale = self._left_out(x)
        nats = weight + log_phi((x.unsqueeze(2) - mean) * (-log_scale).exp()) - log_scale
        parts = nats.unflatten(2, (len(MIXTURES), MOST)).logsumexp(3)
        shares = torch.full_like(parts[0], 1 / len(MIXTURES))
        for _ in range(ROUNDS):
            shares = ((parts + shares.log()).softmax(2).sum(0) + 0.5) / (len(x) + 0.5 * len(MIXTURES))
        self.shares.copy_(torch.cat([torch.full_like(shares[:, :1], NETWORK), (1 - NETWORK) * shares], 1).log())

    def forward(self, x: Tensor) -> tuple[Tensor, Normals]:
        """The logarithm of the network's shares ``(D,)``, and the components of each value given those before it.

        Args:
            x: the first ``D`` values of vectors, ``(B, D)``. In training, by components that were fitted without them.
        """
        shares = self.shares[: x.shape[1]].log_softmax(1)
        log_weight, mean, log_scale = self._outside(x) if self.training else self._by_fits(x, slice(FOLDS, None))[0]
        return shares[:, 0], Normals(log_weight + shares[:, 1:].repeat_interleave(MOST, 1), mean, log_scale)

    def _left_out(self, x: Tensor) -> Tensor:
        """Log-weights, means and log-scales of the components without the part of each vector, ``(3, B, D, K)``."""
        return self._by_fits(x, slice(FOLDS))[_fold(x), :, torch.arange(len(x), device=x.device)].transpose(0, 1)

    def _by_fits(self, x: Tensor, fits: slice) -> Tensor:
        """Log-weights, means and log-scales of the components of some fits, ``(F, 3, B, D, K)``."""
        count, value = x.shape[1], x[:, None, None]
        mean, whitening = self.mean[fits, None, ..., :count], self.whitening[fits, ..., :count, :count]
        log_scale = -whitening.diagonal(dim1=3, dim2=4).log().unsqueeze(1)
        mean = mean - log_scale.exp() * torch.einsum("fmkij,fbmkj->fbmki", whitening.tril(-1), value - mean)
        nats = log_phi((value - mean) * (-log_scale).exp()) - log_scale
        before = self.log_weight[fits, None, ..., None] + F.pad(nats.cumsum(4), (1, -1))
        parts = before.log_softmax(3), mean, log_scale.expand_as(mean)
        return torch.stack(parts, 1).flatten(3, 4).mT


def _fold(x: Tensor) -> Tensor:
    """The part of each vector ``(B, D)``, ``(B,)``: a function of the vector alone, so equal ones go together."""
    factors = torch.arange(1, x.shape[1] + 1, device=x.device) * 2654435761 % (1 << 20)
    mixed = ((1024 * x.float()).round().clamp(-1e6, 1e6).long() * factors).sum(1)
    return ((mixed ^ (mixed >> 7)) * 2654435761 % (1 << 32) >> 8) % FOLDS
