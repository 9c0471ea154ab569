"""Reference distributions of energies: fixed, or fitted to the data while an energy is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Batch, Noise, Part, Term
from fourfold.distributions.mixtures import NormalMixture
from fourfold.estimands import Energy, Reference

__all__ = ["Bernoulli", "FittedMixture", "Normal", "ReferenceTerm", "with_reference"]


@final
class Normal(Part, Reference):
    """``N(0, scale^2 I)``.

    Args:
        event: shape of one encoded example.
        scale: standard deviation.
    """

    def __init__(self, event: tuple[int, ...], scale: float = 1.0) -> None:
        super().__init__()
        self.event, self.scale = tuple(event), scale

    def log_prob(self, x: Tensor) -> Tensor:
        z = x.float().flatten(1) / self.scale
        return -0.5 * z.square().sum(1) - z.shape[1] * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))

    def draw(self, noise: Noise) -> Tensor:
        return self.scale * noise.normal(*self.event)


@final
class FittedMixture(Part, Reference):
    """``w N(0, wide^2 I) + (1 - w) sum_k pi_k N(mu_k, (P_k^T P_k)^-1)`` with learned ``pi, mu, P`` (lower triangular).

    The fixed wide part keeps ``p / q`` bounded wherever the rest has missed the data (a defensive mixture:
    Hesterberg 1995, https://doi.org/10.1080/00401706.1995.10484303).

    Args:
        dim: length of the vectors.
        components: number of learned components.
        wide: standard deviation of the fixed component.
        share: its weight ``w``.
    """

    def __init__(self, dim: int, components: int = 4, wide: float = 1.5, share: float = 0.2) -> None:
        super().__init__()
        self.dim, self.wide, self.share = dim, wide, share
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(0.7 * torch.randn(components, dim))
        self.log_diagonal = nn.Parameter(torch.zeros(components, dim))
        self.lower = nn.Parameter(torch.zeros(components, dim, dim))

    def log_prob(self, x: Tensor) -> Tensor:
        return self._mixture().log_prob(x)

    def draw(self, noise: Noise) -> Tensor:
        return self.at_rest().draw(noise)

    @torch.no_grad()
    def at_rest(self) -> Reference:
        return _AtRest(self._mixture())

    def _mixture(self) -> NormalMixture:
        """The mixture of all components. The wide component is the first."""
        log_pi = F.pad(F.log_softmax(self.logits, 0) + math.log1p(-self.share), (1, 0), value=math.log(self.share))
        factors = self.lower.tril(-1) + torch.diag_embed(self.log_diagonal.exp())
        broad = torch.eye(self.dim, device=self.means.device)[None] / self.wide
        return NormalMixture(log_pi, F.pad(self.means, (0, 0, 1, 0)), torch.cat([broad, factors]))


@final
class _AtRest(Reference):
    """A mixture whose parameters do not change."""

    def __init__(self, mixture: NormalMixture) -> None:
        super().__init__()
        self.mixture = mixture

    def log_prob(self, x: Tensor) -> Tensor:
        return self.mixture.log_prob(x)

    def draw(self, noise: Noise) -> Tensor:
        return self.mixture.draw(noise.uniform(), noise.normal(self.mixture.means.shape[1]))


@final
class Bernoulli(Part, Reference):
    """Independent bits with learned probabilities: the base-rate model (Salakhutdinov, Murray 2008).

    Reference: On the Quantitative Analysis of Deep Belief Networks, https://doi.org/10.1145/1390156.1390266

    Args:
        event: shape of one encoded example of zeros and ones.
    """

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        self.event = tuple(event)
        self.logits = nn.Parameter(torch.zeros(event))

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.float()
        return (x * self.logits - F.softplus(self.logits)).flatten(1).sum(1)

    @torch.no_grad()
    def draw(self, noise: Noise) -> Tensor:
        return (noise.uniform(*self.event) < torch.sigmoid(self.logits)).float()


@final
class ReferenceTerm(Term):
    """``-log q(x)``: fits the reference distribution by maximum likelihood while the energy is trained."""

    def __init__(self, energy: Energy, rate: float = 5.0) -> None:
        super().__init__([energy.reference], rate)
        self.reference = energy.reference

    def forward(self, batch: Batch) -> Tensor:
        return -self.reference.log_prob(batch.x)


def with_reference(energy: Energy, terms: Mapping[str, Term]) -> Mapping[str, Term]:
    """The terms, preceded by one that fits the reference if it has parameters."""
    has_parameters = any(True for _ in energy.reference.parameters())
    return {"reference": ReferenceTerm(energy), **terms} if has_parameters else terms
