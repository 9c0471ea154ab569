"""Paths from data to noise: ``x_t = alpha_t x_0 + sigma_t eps`` with ``eps ~ N(0, I)``.

A path gives ``alpha_t``, ``sigma_t``, their derivatives in ``t`` and a grid of times from noise to data. Samplers and
objectives get everything about a noise process from its path, so they know no schedule.

A stochastic differential equation and an ordinary one have the same marginals,

    dx = f_t x dt + g_t dw        dx = (f_t x - g_t^2 / 2 grad log p_t(x)) dt

with ``f = alpha' / alpha`` and ``g^2 = 2 sigma (sigma' - f sigma)``: VP, sub-VP and VE of Song et al. 2021
are the paths of those names, and every other path is such an equation too (:meth:`Path.drift`,
:meth:`Path.diffusion`).

Time runs from ``t_min`` (almost data) to ``t_max`` (noise). References: Song et al. 2021
(https://arxiv.org/abs/2011.13456); Karras et al. 2022 (https://arxiv.org/abs/2206.00364); Lipman et al. 2023
(https://arxiv.org/abs/2210.02747); Nichol and Dhariwal 2021 (https://arxiv.org/abs/2102.09672); Liu, Gong, Liu 2023
(https://arxiv.org/abs/2209.03003).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["EDM", "VE", "VP", "Cosine", "LinearLogSNR", "Path", "RectifiedFlow", "SubVP", "broadcast", "time_at"]


class Path(ABC):
    """``alpha_t`` and ``sigma_t`` as functions of time. Concrete paths are frozen dataclasses.

    ``highest_order`` bounds the order of a solver on the path's grid. Solvers above second order take a polynomial in
    ``lambda`` or ``rho``. On a grid that is even in ``t`` their steps in these do not shrink with the number of steps:
    near the ends ``lambda`` grows by about ``log 2`` a step for any number of steps. Their error there is of second
    order.
    """

    highest_order: ClassVar[int] = 2
    t_min: float
    t_max: float

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The coefficient of the signal, in the shape of ``t``."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The coefficient of the noise, in the shape of ``t``."""

    @abstractmethod
    def d_alpha(self, t: Tensor) -> Tensor:
        """``d alpha / d t``."""

    @abstractmethod
    def d_sigma(self, t: Tensor) -> Tensor:
        """``d sigma / d t``."""

    def log_snr(self, t: Tensor) -> Tensor:
        """``lambda_t = log(alpha_t / sigma_t)``, half the log signal-to-noise ratio, as in DPM-Solver."""
        return torch.log(self.alpha(t)) - torch.log(self.sigma(t))

    def time(self, log_snr: Tensor) -> Tensor:
        """The times at which ``lambda_t`` has the given values, in their shape. Here by bisection, in float64.

        A path overrides it where ``lambda_t`` has an inverse in closed form, which may leave ``[t_min, t_max]``.
        """
        low = torch.full_like(log_snr, self.t_min, dtype=torch.float64)
        high = torch.full_like(log_snr, self.t_max, dtype=torch.float64)
        for _ in range(52):
            middle = (low + high) / 2
            noisier = self.log_snr(middle) < log_snr
            low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
        return (low + high) / 2

    def drift(self, t: Tensor) -> Tensor:
        """``f_t = d log alpha / dt`` of the forward equation ``dx = f x dt + g dw``. ``-inf`` where ``alpha`` is 0."""
        return self.d_alpha(t) / self.alpha(t)

    def diffusion(self, t: Tensor) -> Tensor:
        """``g_t = sqrt(d sigma^2 / dt - 2 f sigma^2)`` of the forward equation. ``inf`` where ``alpha`` is 0."""
        return (2 * self.sigma(t) * (self.d_sigma(t) - self.drift(t) * self.sigma(t))).clamp(min=0).sqrt()

    def noised(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """``x_t = alpha_t x_0 + sigma_t eps`` for ``x_0, eps`` of shape ``(B, *)`` and ``t`` of shape ``(B,)``."""
        return broadcast(self.alpha(t), x_0) * x_0 + broadcast(self.sigma(t), x_0) * eps

    def grid(self, steps: int) -> Tensor:
        """``steps + 1`` decreasing times from ``t_max`` to ``t_min`` (float64), evenly spaced in ``t``."""
        return torch.linspace(self.t_max, self.t_min, steps + 1, dtype=torch.float64)


def broadcast(t: Tensor, like: Tensor) -> Tensor:
    """View ``(B,)`` as ``(B, 1, ..., 1)`` in the dtype of ``like``."""
    return t.to(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


def time_at(path: Path, log_snr: Tensor) -> Tensor:
    """The times at which ``lambda_t`` has the given values (float64, same shape). Clamped to the path."""
    return path.time(log_snr.double().clamp(-100, 100)).clamp(path.t_min, path.t_max)


@dataclass(frozen=True)
class RectifiedFlow(Path):
    """Straight lines: ``alpha_t = 1 - t``, ``sigma_t = t``, on [0, 1]."""

    t_min: float = 0.0
    t_max: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def d_alpha(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr)


@dataclass(frozen=True)
class EDM(Path):
    """Noise level as time: ``alpha_t = 1``, ``sigma_t = t``, dense near the data (Karras et al. 2022, eq. 5)."""

    highest_order: ClassVar[int] = 4
    t_min: float = 0.002
    t_max: float = 80.0
    rho: float = 7.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr)

    def grid(self, steps: int) -> Tensor:
        """``t_i = (t_max^(1/rho) + i/steps (t_min^(1/rho) - t_max^(1/rho)))^rho``, float64."""
        ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        high, low = self.t_max ** (1 / self.rho), self.t_min ** (1 / self.rho)
        return (high + ramp * (low - high)) ** self.rho


@dataclass(frozen=True)
class VE(Path):
    """Variance exploding: ``alpha_t = 1``, ``sigma_t = sigma_min (sigma_max / sigma_min)^t`` on [0, 1]."""

    highest_order: ClassVar[int] = 4
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    t_min: float = 0.0
    t_max: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return self.sigma(t) * math.log(self.sigma_max / self.sigma_min)

    def time(self, log_snr: Tensor) -> Tensor:
        return -(log_snr + math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class VP(Path):
    """Variance preserving with linear ``beta``: ``alpha_t = exp(-B(t)/2)``, ``sigma_t^2 = 1 - alpha_t^2``.

    ``B(t) = beta_min t + (beta_max - beta_min) t^2 / 2``.
    """

    highest_order: ClassVar[int] = 3
    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-4
    t_max: float = 1.0

    def _integral(self, t: Tensor) -> Tensor:
        return self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self._integral(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self._integral(t)))

    def d_alpha(self, t: Tensor) -> Tensor:
        return -self._beta(t) / 2 * self.alpha(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return self._beta(t) / 2 * self.alpha(t) ** 2 / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.time_of(softplus(-2 * log_snr))

    def time_of(self, integral: Tensor) -> Tensor:
        """The times at which ``B`` has the given values: ``2 B / (beta_min + sqrt(beta_min^2 + 2 beta' B))``."""
        rise = 2 * (self.beta_max - self.beta_min)
        return 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + rise * integral))

    def grid(self, steps: int) -> Tensor:
        """``steps + 1`` times whose square roots are evenly spaced: dense near the data, float64."""
        high, low = math.sqrt(self.t_max), math.sqrt(self.t_min)
        return torch.linspace(high, low, steps + 1, dtype=torch.float64) ** 2


@dataclass(frozen=True)
class SubVP(Path):
    """Sub-VP: the mean of :class:`VP`, with ``sigma_t = 1 - alpha_t^2``."""

    highest_order: ClassVar[int] = 4
    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    @property
    def _vp(self) -> VP:
        return VP(self.beta_min, self.beta_max, self.t_min, self.t_max)

    def alpha(self, t: Tensor) -> Tensor:
        return self._vp.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self._vp.sigma(t) ** 2

    def d_alpha(self, t: Tensor) -> Tensor:
        return self._vp.d_alpha(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return -2 * self.alpha(t) * self.d_alpha(t)

    def time(self, log_snr: Tensor) -> Tensor:
        """``1 / alpha - alpha = e^-lambda`` gives ``B = -2 log alpha = 2 asinh(e^-lambda / 2)``."""
        return self._vp.time_of(2 * torch.asinh(torch.exp(-log_snr) / 2))

    def grid(self, steps: int) -> Tensor:
        """Like :meth:`VP.grid`."""
        return self._vp.grid(steps)


@dataclass(frozen=True)
class Cosine(Path):
    """``alpha_t = cos(pi t / 2)``, ``sigma_t = sin(pi t / 2)`` (Nichol and Dhariwal 2021, in continuous time)."""

    t_min: float = 1e-3
    t_max: float = 0.9999

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t * math.pi / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t * math.pi / 2)

    def d_alpha(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * torch.sin(t * math.pi / 2)

    def d_sigma(self, t: Tensor) -> Tensor:
        return math.pi / 2 * torch.cos(t * math.pi / 2)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr)) * 2 / math.pi


@dataclass(frozen=True)
class LinearLogSNR(Path):
    """``lambda_t = high + (low - high) t`` on [0, 1], variance preserving: ``alpha_t^2 = 1 / (1 + exp(-2 lambda_t))``.

    Times drawn evenly are then noise levels drawn evenly in ``lambda``, in which the diffusion bound is an integral
    (Kingma et al. 2021, https://arxiv.org/abs/2107.00630).
    """

    highest_order: ClassVar[int] = 4
    high: float = 7.0
    low: float = -5.0
    t_min: float = 0.0
    t_max: float = 1.0

    def _lambda(self, t: Tensor) -> Tensor:
        return self.high + (self.low - self.high) * t

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sigmoid(2 * self._lambda(t)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sigmoid(-2 * self._lambda(t)).sqrt()

    def d_alpha(self, t: Tensor) -> Tensor:
        return (self.low - self.high) * self.alpha(t) * self.sigma(t) ** 2

    def d_sigma(self, t: Tensor) -> Tensor:
        return (self.high - self.low) * self.sigma(t) * self.alpha(t) ** 2

    def time(self, log_snr: Tensor) -> Tensor:
        return (log_snr - self.high) / (self.low - self.high)
