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

from fourfold.core import Part, Reading
from fourfold.distributions.mixtures import NormalMixture
from fourfold.maths.categorical import categorical
from fourfold.maths.normal import standard_log_prob
from fourfold.nn.entry import Maps, Offset, Passed, read

__all__ = ["CodeMixture", "IndependentCodes", "IndependentGaussians", "Mixture", "Prior"]


class Prior(Part, nn.Module, ABC):
    """``u = f(z, c)`` for ``z ~ N(0, I)`` of shape ``noise``, and ``log p(u | c)``."""

    noise: tuple[int, ...]
    summary: str
    """The distribution, as a noun phrase."""
    fitted: ClassVar[bool] = False
    """Whether it is fitted to the codes, which training draws to ``N(0, I)``, and no gradient reaches it."""

    @abstractmethod
    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The codes ``(B, *codes)`` of noise ``(B, *noise)``."""

    @abstractmethod
    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(u | c)``, ``(B,)`` in nats, float32."""


@final
class _Table(nn.Module):
    """A learned tensor ``b + W r(c)`` for each condition. It starts at ``start``, and Muon leaves it alone."""

    def __init__(self, reading: Reading | None, shape: tuple[int, ...], start: float = 0.0) -> None:
        super().__init__()
        self.shape, self.rows = shape, Offset(reading, math.prod(shape), 0.0, start)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The tensors of ``batch`` conditions, ``(batch, *shape)``."""
        return self.rows(cond, batch).float().view(batch, *self.shape)


@final
class IndependentGaussians(Prior):
    """``u_i ~ N(m_i, exp(s_i)^2)`` with means and scales learned for each place and each label.

    Args:
        shape: shape of the codes.
        reading: reads the condition, or ``None``.
    """

    summary = "independent Gaussians"

    def __init__(self, shape: tuple[int, ...], reading: Reading | None = None) -> None:
        super().__init__()
        self.noise = tuple(shape)
        self.reading = reading
        self.mean, self.log_scale = (_Table(Passed.of(reading), self.noise) for _ in range(2))
        self.maps = Maps(reading if len(shape) == 3 else None, 2 * shape[0], gain=0.0)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        m, s = self._moments(cond, len(z))
        return m + s.exp() * z

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        m, s = self._moments(cond, len(u))
        return standard_log_prob((u - m) * (-s).exp()) - s.flatten(1).sum(1)

    def _moments(self, cond: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        """Means, and the logarithms of scales, ``(batch, *shape)``."""
        c, share = read(self.reading, cond, batch), self.maps.share(cond, batch, self.noise[1:])
        m, s = self.mean(c, batch), self.log_scale(c, batch)
        if share is None:
            return m, s
        shift, stretch = share.float().chunk(2, 1)
        return m + shift, s + stretch


@final
class Mixture(Prior):
    """``p(u) = sum_k w_k N(u; m_k, diag exp(s_k)^2)``: noise of one more coordinate, whose ``Phi(z_0)`` chooses ``k``.

    Mixtures as priors: Tomczak, Welling 2018, VAE with a VampPrior (https://arxiv.org/abs/1705.07120), whose components
    are those of the encoder at learned inputs. Here they are free, so that the model needs no encoder to draw.

    Args:
        dim: length of the codes.
        components: number of components. They start at random places with scale ``spread``.
        reading: reads the condition, which changes the weights, or ``None``.
        spread: scale of every component at the start.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("mean", "log_scale")
    summary = "a mixture of Gaussians"

    def __init__(self, dim: int, components: int = 64, reading: Reading | None = None, spread: float = 0.5) -> None:
        super().__init__()
        self.dim, self.components, self.noise = dim, components, (dim + 1,)
        self.logits = _Table(reading, (components,))
        self.mean = nn.Parameter(math.sqrt(max(1 - spread**2, 0.01)) * torch.randn(components, dim))
        self.log_scale = nn.Parameter(torch.full((components, dim), math.log(spread)))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self._mixture(cond, len(z)).draw(torch.special.ndtr(z[:, 0]), z[:, 1:])

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        return self._mixture(cond, len(u)).log_prob(u)

    def _mixture(self, cond: Tensor | None, batch: int) -> NormalMixture:
        log_weights = F.log_softmax(self.logits(cond, batch), 1)
        return NormalMixture(log_weights, self.mean.float(), (-self.log_scale.float()).exp())


@final
class CodeMixture(Prior):
    """``p(u | c) = sum_k w_ck N(u; m_k, S_k)``, fitted to the codes of training by expectation maximisation.

    In training, codes are drawn to ``N(0, I)``, whose density :meth:`log_prob` then gives, and every batch moves the
    statistics ``s`` of the mixture by a step of stochastic EM,

        s <- s + g_n (E_batch[r_k (1, u, u u^T)] - s),   g_n = 5 / (n + 5),   r = the shares of the components in u.

    No gradient reaches it. Codes move early in training and leave components behind: one with less than a tenth of an
    equal share starts again at a code of the batch, and the largest one divides its share with it. A covariance is
    shrunk to the mean one, as if each component had a twentieth of an equal share more of it. After training the
    mixture is the prior.

    References: Ghosh, Sajjadi, Vergari, Black, Schoelkopf 2020, From Variational to Deterministic Autoencoders
    (https://arxiv.org/abs/1903.12436), who fit the prior after training; Cappe, Moulines 2009, On-line
    Expectation-Maximization Algorithm for Latent Data Models (https://arxiv.org/abs/0712.4273).

    Args:
        dim: length of the codes.
        components: number of components. They start at random places of equal distance from the origin.
        reading: reads the condition, which changes the weights, or ``None``.
    """

    LAG: ClassVar[float] = 5.0
    SHRINKING: ClassVar[float] = 0.05
    RIDGE: ClassVar[float] = 1e-4
    DEAD: ClassVar[float] = 0.1

    fitted = True
    summary = "a mixture of Gaussians, fitted to codes that training draws to N(0, I)"
    steps: Tensor
    share: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, dim: int, components: int = 24, reading: Reading | None = None) -> None:
        super().__init__()
        self.dim, self.components, self.noise = dim, components, (dim + 1,)
        places = math.sqrt(dim) / 2 * F.normalize(torch.randn(components, dim), dim=1)
        weight = 1 / components
        self.register_buffer("steps", torch.zeros(()))
        labels = 0 if reading is None else reading.labels
        self.register_buffer("share", torch.full((labels + 1, components), weight))
        self.register_buffer("first", weight * places)
        self.register_buffer("second", weight * (torch.eye(dim) + places.unsqueeze(2) * places.unsqueeze(1)))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self._mixture(cond, len(z)).draw(torch.special.ndtr(z[:, 0]), z[:, 1:])

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        u = u.float()
        if self.training:
            self._learn(u.detach(), cond)
            return standard_log_prob(u)
        return self._mixture(cond, len(u)).log_prob(u)

    def _mixture(self, cond: Tensor | None, batch: int) -> NormalMixture:
        mean, scatter = self._moments()
        return NormalMixture.of_covariances(self._log_weights(cond, batch), mean, self._covariances(scatter))

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Means ``(K, D)``, and covariances times shares ``(K, D, D)``."""
        mean = self.first / self.share[0, :, None].clamp(min=1e-8)
        return mean, self.second - self.first.unsqueeze(2) * mean.unsqueeze(1)

    def _covariances(self, scatter: Tensor) -> Tensor:
        """The covariances, shrunk to the mean one, ``(K, D, D)``."""
        more, spread = self.SHRINKING / self.components, scatter.sum(0)
        shrunk = (scatter + more * spread) / (self.share[0, :, None, None] + more)
        ridge = self.RIDGE * spread.diagonal().mean() + 1e-8
        return shrunk + ridge * torch.eye(self.dim, device=shrunk.device)

    def _log_weights(self, cond: Tensor | None, batch: int) -> Tensor:
        """``log w_ck``, ``(B, K)``. A label's weights are smoothed by one thousandth of all examples."""
        share = self.share if len(self.share) == 1 else self.share + 1e-3 * self.share[0]
        rows = share[:1].expand(batch, -1) if cond is None or len(share) == 1 else share[(cond + 1).clamp(min=0)]
        return rows.clamp(min=1e-12).log().log_softmax(1)

    @torch.no_grad()
    def _learn(self, u: Tensor, cond: Tensor | None) -> None:
        """A step of stochastic EM."""
        r = self._mixture(cond, len(u)).joint(u).softmax(1)
        g = self.LAG / (self.steps + self.LAG)
        members = r.new_ones(1, len(r))
        if cond is not None and len(self.share) > 1:
            labels = torch.arange(len(self.share) - 1, device=u.device)
            members = torch.cat([members, (cond == labels[:, None]).float()])
        with torch.autocast(u.device.type, enabled=False):
            self.share.lerp_(members @ r / len(u), g)
            self.first.lerp_(r.T @ u / len(u), g)
            self.second.lerp_(torch.bmm((r.T.unsqueeze(2) * u).mT, u.expand(self.components, -1, -1)) / len(u), g)
        self.steps += 1
        self._revive(u)

    def _revive(self, u: Tensor) -> None:
        """Let the largest component share with dead ones, which start at codes with the mean covariance."""
        old, spread = self.share[0], self._moments()[1].sum(0)
        dead, largest = old < self.DEAD / self.components, F.one_hot(old.argmax(), self.components).bool()
        sharing = dead | largest
        share = (self.share * sharing).sum(1, keepdim=True) / sharing.sum()
        place = u[torch.randint(len(u), (self.components,), device=u.device)]
        scale, each = torch.where(largest, share[0] / old, 1.0), share[0, 0]
        self.first.copy_(torch.where(dead[:, None], each * place, self.first * scale[:, None]))
        moment = spread + place.unsqueeze(2) * place.unsqueeze(1)
        self.second.copy_(torch.where(dead[:, None, None], each * moment, self.second * scale[:, None, None]))
        self.share.copy_(torch.where(sharing, share, self.share))


@final
class IndependentCodes(Prior):
    """``P(k) = prod_i p_i(k_i)``: whole numbers, with probabilities learned for each place and each label.

    All numbers have the same probability at the start. ``k_i`` is the quantile ``Phi(z_i)`` of ``p_i``.

    Args:
        shape: ``(h, w)`` of a map of codes.
        size: number of different codes.
        reading: reads the condition, or ``None``.
    """

    summary = "independent categories"

    def __init__(self, shape: tuple[int, ...], size: int, reading: Reading | None = None) -> None:
        super().__init__()
        self.noise, self.size = tuple(shape), size
        self.logits = _Table(reading, (*self.noise, size))
        self.maps = Maps(reading, size, gain=0.0)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return categorical(self._logits(cond, len(z)), torch.special.ndtr(z))

    def _logits(self, cond: Tensor | None, batch: int) -> Tensor:
        logits, share = self.logits(cond, batch), self.maps.share(cond, batch, self.noise)
        return logits if share is None else logits + share.float().permute(0, 2, 3, 1)

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        logits = F.log_softmax(self._logits(cond, len(u)), -1)
        return logits.gather(-1, u[..., None]).flatten(1).sum(1)
