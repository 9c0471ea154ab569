"""Priors of codes: images of standard normal noise with a density (or a mass) of their own.

A prior is sampled like every pushforward, from ``z ~ N(0, I)``: a flow moves the noise, a mixture takes one more
coordinate to choose its component, and a table of probabilities reads ``Phi(z)`` as a uniform number. So samplers need
not know the kind of prior.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["IndependentCodes", "IndependentGaussians", "Mixture", "Prior"]


class Prior(Part, nn.Module, ABC):
    """``u = f(z, c)`` for ``z ~ N(0, I)`` of shape ``noise``, and ``log p(u | c)``."""

    noise: tuple[int, ...]
    summary: str
    """The distribution, as a noun phrase."""

    @abstractmethod
    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The codes ``(B, *codes)`` of noise ``(B, *noise)``."""

    @abstractmethod
    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(u | c)``, ``(B,)`` in nats, float32."""


def standard_log_prob(u: Tensor) -> Tensor:
    """``log N(u; 0, I)``, ``(B,)``."""
    return -(u.square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2


@final
class _Table(nn.Module):
    """A learned tensor for each label and one for "unknown"; it starts at ``start``, and Muon leaves it alone."""

    for_adamw: ClassVar[tuple[str, ...]] = ("rows",)

    def __init__(self, classes: int | None, shape: tuple[int, ...], start: float = 0.0) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.full(((classes or 0) + 1, *shape), start))

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The tensors of ``batch`` labels, ``(batch, *shape)``; without labels one row, expanded."""
        if cond is None or len(self.rows) == 1:
            return self.rows[:1].float().expand(batch, *self.rows.shape[1:])
        return self.rows[cond + 1].float()


@final
class IndependentGaussians(Prior):
    """``u_i ~ N(m_i, exp(s_i)^2)`` with means and scales learned for each place and each label.

    Args:
        shape: shape of the codes.
        classes: number of labels, or ``None``.
    """

    summary = "independent Gaussians"

    def __init__(self, shape: tuple[int, ...], classes: int | None = None) -> None:
        super().__init__()
        self.noise = tuple(shape)
        self.mean, self.log_scale = _Table(classes, self.noise), _Table(classes, self.noise)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.mean(cond, len(z)) + self.log_scale(cond, len(z)).exp() * z

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        s = self.log_scale(cond, len(u))
        return standard_log_prob((u - self.mean(cond, len(u))) * (-s).exp()) - s.flatten(1).sum(1)


@final
class Mixture(Prior):
    """``p(u) = sum_k w_k N(u; m_k, diag exp(s_k)^2)``: noise of one more coordinate, whose ``Phi(z_0)`` chooses ``k``.

    Mixtures as priors: Tomczak, Welling 2018, VAE with a VampPrior (https://arxiv.org/abs/1705.07120), whose components
    are those of the encoder at learned inputs; here they are free, so that the model needs no encoder to draw.

    Args:
        dim: length of the codes.
        components: number of components; they start at random places with scale ``spread``.
        classes: number of labels, or ``None``; a label changes the weights.
        spread: scale of every component at the start.
    """

    summary = "a mixture of Gaussians"

    def __init__(self, dim: int, components: int = 64, classes: int | None = None, spread: float = 0.5) -> None:
        super().__init__()
        self.dim, self.components, self.noise = dim, components, (dim + 1,)
        self.logits = _Table(classes, (components,))
        self.mean, self.log_scale = (
            _Table(None, (components, dim)),
            _Table(None, (components, dim), math.log(spread)),
        )
        nn.init.normal_(self.mean.rows, std=math.sqrt(max(1 - spread**2, 0.01)))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        k = _chosen(self.logits(cond, len(z)), z[:, 0])
        m, s = self.mean.rows[0].float(), self.log_scale.rows[0].float()
        return m[k] + s[k].exp() * z[:, 1:]

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        m, s = self.mean.rows[0].float(), self.log_scale.rows[0].float()
        precision = (-2 * s).exp()
        square = u.square() @ precision.T - 2 * u @ (m * precision).T + (m.square() * precision).sum(1)
        parts = -square / 2 - s.sum(1) - self.dim / 2 * math.log(2 * math.pi)
        return torch.logsumexp(F.log_softmax(self.logits(cond, len(u)), 1) + parts, 1)


@final
class IndependentCodes(Prior):
    """``P(k) = prod_i p_i(k_i)``: whole numbers, with probabilities learned for each place and each label.

    All numbers have the same probability at the start; ``k_i`` is the quantile ``Phi(z_i)`` of ``p_i``.

    Args:
        shape: ``(h, w)`` of a map of codes.
        size: number of different codes.
        classes: number of labels, or ``None``.
    """

    summary = "independent categories"

    def __init__(self, shape: tuple[int, ...], size: int, classes: int | None = None) -> None:
        super().__init__()
        self.noise, self.size = tuple(shape), size
        self.logits = _Table(classes, (*self.noise, size))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return _chosen(self.logits(cond, len(z)), z)

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        logits = F.log_softmax(self.logits(cond, len(u)), -1)
        return logits.gather(-1, u[..., None]).flatten(1).sum(1)


def _chosen(logits: Tensor, z: Tensor) -> Tensor:
    """The category at the quantile ``Phi(z)`` of each distribution; ``logits`` has one more axis than ``z``."""
    distribution = logits.softmax(-1).cumsum(-1)
    u = torch.special.ndtr(z)[..., None]
    return torch.searchsorted(distribution, u)[..., 0].clamp(max=logits.shape[-1] - 1)
