"""The variational bound of a noising process, for every paradigm that has a denoiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Estimand, Likelihood, LogProb, Noise, Objective
from fourfold.estimands import Denoiser
from fourfold.likelihoods.ode import log_snr_range
from fourfold.maths.paths import broadcast, time_at
from fourfold.vocabulary import Kind

__all__ = ["DiffusionBound", "DrawnBound", "ends", "standard_integral"]


@dataclass(frozen=True)
class DrawnBound(Likelihood):
    """A lower bound that is a mean over random draws, whose spread is its error.

    Attributes:
        draws: of each example.

    Raises:
        ValueError: for fewer than two draws.
    """

    kind = Kind.LOWER_BOUND
    draws: int = 2

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError(f"draws must be at least 2, got {self.draws}")


@final
@dataclass(frozen=True)
class DiffusionBound(Likelihood):
    """``log p(x) >= E log p(x | x_0) - KL(q(x_T | x) || p(x_T)) - integral of e^(2 lambda) ||x - D||^2 d lambda``.

    The continuous-time bound of Kingma et al. 2021 (https://arxiv.org/abs/2107.00630, eq. 11 to 13) in half the log-SNR
    ``lambda``: ``p(x | x_0)`` is Gaussian with the noise of the first noise level, and ``p(x_T)`` is the sampler's
    ``N(0, sigma_T^2 I)``. The integral is drawn at stratified noise levels, two in each stratum. Their differences give
    the variance, with the degrees of freedom of a sum of unequal parts (Satterthwaite 1946,
    https://doi.org/10.2307/3002019).

    A control variate reduces the variance: from each draw, the same draw with the denoiser of ``N(0, I)``, ``D_1 = (s x
    + s^(1/2) eps) / (1 + s)``, is subtracted, whose integral is known. This keeps the mean, and for data of variance 1
    a third of the spread remains.

    Attributes:
        draws: noise levels drawn for each example, an even number.

    Raises:
        ValueError: for an odd number of draws, or none.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    kind = Kind.LOWER_BOUND
    draws: int = 32

    @property
    def summary(self) -> str:
        return f"the variational bound of the noising process, estimated at {self.draws} random noise levels"

    def __post_init__(self) -> None:
        if self.draws < 2 or self.draws % 2:
            raise ValueError(f"draws must be even and at least 2, got {self.draws}")

    @torch.no_grad()
    def __call__(self, estimand: Denoiser, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        low, high = log_snr_range(estimand.path)
        strata = self.draws // 2
        excess = [self._excess(estimand, batch, noise, low, high, i // 2 / strata) for i in range(self.draws)]
        pairs = torch.stack(excess, 1).reshape(-1, strata, 2) * (high - low)
        integral = pairs.mean((1, 2)) + standard_integral(batch.x, low, high)
        spread = (pairs[..., 0] - pairs[..., 1]).square() / (4 * strata**2)
        parts = spread.double().mean(0)
        freedom = float(parts.sum().square() / parts.square().sum()) if bool(parts.sum() > 0) else float(strata)
        return LogProb(
            (ends(batch.x, low, high) - integral).float(),
            Kind.LOWER_BOUND,
            variance=spread.sum(1).float(),
            draws=self.draws,
            note=f"variational bound, {self.draws} noise levels",
            freedom=freedom,
        )

    def _excess(self, estimand: Denoiser, batch: Batch, noise: Noise, low: float, high: float, share: float) -> Tensor:
        """``s (||x - D||^2 - ||x - D_1||^2)`` at one noise level per example within a stratum, ``(B,)``."""
        x = batch.x
        u = share + noise.uniform().double() * 2 / self.draws
        log_snr = low + (high - low) * u
        t, root = time_at(estimand.path, log_snr).to(x.dtype), broadcast(log_snr.exp().to(x.dtype), x)
        eps = noise.normal(*x.shape[1:])
        error = estimand(estimand.path.noised(x, eps, t), t, batch.cond) - x
        standard = (x - root * eps) / (1 + root.square())
        return ((root * error).square() - (root * standard).square()).flatten(1).double().sum(1)


def ends(x: Tensor, low: float, high: float) -> Tensor:
    """``E log p(x | x_0) - KL(q(x_T | x) || p(x_T))``, ``(B,)``.

    With the highest and the lowest ``lambda``: ``-d/2 (log(2 pi) + 1) + d lambda_0`` and ``e^(2 lambda_T) ||x||^2 /
    2``.
    """
    reconstruction = x.new_full((len(x),), x[0].numel() * (high - 0.5 * (math.log(2 * math.pi) + 1)))
    return reconstruction - 0.5 * math.exp(2 * low) * x.flatten(1).square().sum(1)


def standard_integral(x: Tensor, low: float, high: float) -> Tensor:
    """The integral of ``E[s ||x - D_1||^2] = (s ||x||^2 + d s^2) / (1 + s)^2`` over ``lambda``, ``(B,)``."""
    a, b = 1 / (1 + math.exp(2 * low)), 1 / (1 + math.exp(2 * high))
    return (x.flatten(1).square().sum(1) * (a - b) + x[0].numel() * (math.log(a / b) + b - a)) / 2
