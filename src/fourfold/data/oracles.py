"""Exact estimands: put in a network's seat, they show whether samplers, objectives and likelihoods are right.

For ``x_0 ~ sum_k w_k N(mu_k, S_k)`` and ``x_t = alpha x_0 + sigma eps`` everything is in closed form: with
``S_k = U_k diag(l_k) U_k^T`` and ``C_k = alpha^2 S_k + sigma^2 I``,

    p_t(x)         = sum_k w_k N(x; alpha mu_k, C_k)
    E[x_0 | x, k]  = mu_k + alpha S_k C_k^-1 (x - alpha mu_k)
    E[x_0 | x]     = sum_k p(k | x) E[x_0 | x, k]

For one Gaussian the probability-flow ODE is solved too: ``x_s = alpha_s mu + U diag((c_s / c_t)^(1/2)) U^T (x_t -
alpha_t mu)`` with ``c_t = alpha_t^2 l + sigma_t^2``.

All of these couple ``x_0`` with independent noise. :class:`GaussianTransport` couples it with the nearest noise
instead: its vector field leads to the same data, and is not the velocity of a noise process.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from fourfold.core import Noise
from fourfold.data.densities import GaussianMixture
from fourfold.distributions.references import Normal
from fourfold.estimands import (
    AverageVelocity,
    Bijection,
    Conditionals,
    ContinuousEnergy,
    Denoiser,
    NoisedEnergy,
    VectorField,
)
from fourfold.machine.libraries import scipy
from fourfold.maths.normal import log_phi
from fourfold.maths.paths import Path, broadcast

__all__ = [
    "GaussianAverage",
    "GaussianConditionals",
    "GaussianDenoiser",
    "GaussianEnergy",
    "GaussianFlow",
    "GaussianNoisedEnergy",
    "GaussianTransport",
    "MixtureDenoiser",
    "SolvedDenoiser",
]


class _Posterior(nn.Module):
    """The closed forms of a mixture, in float64. It stands where a network would."""

    log_weights: Tensor
    means: Tensor
    values: Tensor
    vectors: Tensor

    def __init__(self, mixture: GaussianMixture) -> None:
        super().__init__()
        values, vectors = torch.linalg.eigh(mixture.covariances)
        self.register_buffer("log_weights", mixture.weights.log())
        self.register_buffer("means", mixture.means)
        self.register_buffer("values", values)
        self.register_buffer("vectors", vectors)

    def components(self, x_t: Tensor, alpha: Tensor, sigma: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """``log w_k N(x_t; alpha mu_k, C_k)``, ``(B, K)``, and ``E[x_0 | x_t, k]``, ``(B, K, D)``."""
        a, s = alpha.double()[:, None, None], sigma.double()[:, None, None]
        variance = a**2 * self.values + s**2
        y = torch.einsum("bkd,kde->bke", x_t.double()[:, None] - a * self.means, self.vectors)
        log_norm = -0.5 * (y**2 / variance + variance.log() + math.log(2 * math.pi)).sum(-1)
        mean = self.means + torch.einsum("bke,kde->bkd", y * a * self.values / variance, self.vectors)
        return log_norm + self._log_prior(cond), mean

    def _log_prior(self, cond: Tensor | None) -> Tensor:
        """``log p(k | cond)``: all of it on the component asked for."""
        if cond is None:
            return self.log_weights
        mask = torch.arange(len(self.log_weights), device=cond.device) == cond[:, None]
        certain = torch.where(mask, 0.0, -math.inf).double()
        return torch.where(cond[:, None] < 0, self.log_weights, certain)

    def forward(self, x_t: Tensor, alpha: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
        if len(self.means) == 1:  # it needs no weights, and half the operations
            a, s = alpha.double()[:, None], sigma.double()[:, None]
            mean, values, U = self.means[0], self.values[0], self.vectors[0]
            return mean + ((x_t.double() - a * mean) @ U * (a * values / (a**2 * values + s**2))) @ U.T
        log_joint, means = self.components(x_t, alpha, sigma, cond)
        return (log_joint.softmax(1)[:, :, None] * means).sum(1)


class SolvedDenoiser(Denoiser):
    """An exact denoiser whose probability-flow ODE is solved by other means than the samplers'."""

    @abstractmethod
    def solved(self, x_T: Tensor) -> Tensor:
        """Where the ODE through ``x_T`` at the path's last time ends without noise, ``(B, D)`` float64."""


@final
class MixtureDenoiser(SolvedDenoiser):
    """``E[x_0 | x_t]`` of a Gaussian mixture along any path, exactly. Labels choose a component.

    Args:
        path: the noise process.
        weights, means, covariances: as of :class:`~fourfold.data.densities.GaussianMixture`, as plain numbers.
    """

    def __init__(
        self,
        path: Path,
        weights: Sequence[float],
        means: Sequence[Sequence[float]],
        covariances: Sequence[Sequence[Sequence[float]]],
    ) -> None:
        super().__init__()
        self.path, self.event = path, (len(means[0]),)
        self.net = _Posterior(GaussianMixture(weights, means, covariances))

    @classmethod
    def of(cls, path: Path, mixture: GaussianMixture) -> MixtureDenoiser:
        """The denoiser of a known density."""
        return cls(path, mixture.weights.tolist(), mixture.means.tolist(), mixture.covariances.tolist())

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x_t, self.path.alpha(t), self.path.sigma(t), cond).to(x_t.dtype)

    def log_prob(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p_t(x_t)``, ``(B,)`` float64: its gradient is the score."""
        log_joint, _ = self.net.components(x_t, self.path.alpha(t), self.path.sigma(t), cond)
        return torch.logsumexp(log_joint, 1)

    def solved(self, x_T: Tensor) -> Tensor:
        """By the Runge-Kutta rule of order 8 of Dormand and Prince, to 1e-11, in an angle that is regular at both ends.

        Every path is a scaling of ``alpha = cos a, sigma = sin a``, along which ``dz/da = (z - cos a D) / tan a - sin a
        D``.
        """
        alpha, sigma = _last(self.path)

        def slope(angle: float, z: np.ndarray) -> np.ndarray:
            z_t = torch.from_numpy(z).reshape(x_T.shape)
            at = torch.full((len(x_T),), angle, dtype=torch.float64)
            x_0 = self.net(z_t, at.cos(), at.sin(), None)
            return ((z_t - math.cos(angle) * x_0) / math.tan(angle) - math.sin(angle) * x_0).flatten().numpy()

        z_T = (x_T.double() / math.hypot(alpha, sigma)).flatten().numpy()
        ends = scipy.integrate.solve_ivp(
            slope, (math.atan2(sigma, alpha), 1e-6), z_T, "DOP853", rtol=1e-11, atol=1e-12
        ).y[:, -1]
        return torch.from_numpy(ends).reshape(x_T.shape)


def _last(path: Path) -> tuple[float, float]:
    """``alpha`` and ``sigma`` at a path's last time."""
    t = torch.tensor(path.t_max, dtype=torch.float64)
    return float(path.alpha(t)), float(path.sigma(t))


@final
class GaussianDenoiser(SolvedDenoiser):
    """``E[x_0 | x_t]`` of one Gaussian with a full covariance along any path. Labels are ignored.

    Args:
        path: the noise process.
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    def __init__(self, path: Path, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.path, self.event = path, (len(mean),)
        self.net = _Posterior(GaussianMixture([1.0], [mean], [covariance]))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x_t, self.path.alpha(t), self.path.sigma(t), None).to(x_t.dtype)

    def log_prob(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p_t(x_t)``, ``(B,)`` float64."""
        log_joint, _ = self.net.components(x_t, self.path.alpha(t), self.path.sigma(t), None)
        return torch.logsumexp(log_joint, 1)

    def solved(self, x_T: Tensor) -> Tensor:
        """``mu + U diag((l / (alpha_T^2 l + sigma_T^2))^(1/2)) U^T (x_T - alpha_T mu)``."""
        (alpha, sigma), mean, values, U = _last(self.path), self.net.means[0], self.net.values[0], self.net.vectors[0]
        ratio = (values / (alpha**2 * values + sigma**2)).sqrt()
        return mean + ((x_T.double() - alpha * mean) @ U * ratio) @ U.T


class _Transport(nn.Module):
    """The solved ODE of one Gaussian, in float64. It stands where a network would."""

    mean: Tensor
    values: Tensor
    vectors: Tensor

    def __init__(self, mixture: GaussianMixture) -> None:
        super().__init__()
        values, vectors = torch.linalg.eigh(mixture.covariances[0])
        self.register_buffer("mean", mixture.means[0])
        self.register_buffer("values", values)
        self.register_buffer("vectors", vectors)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, path: Path) -> Tensor:
        """``x_s``, ``(B, D)``, for times ``(B, 1)``."""
        ratio = torch.sqrt(self._variance(path, s) / self._variance(path, t))
        return path.alpha(s) * self.mean + (self._centred(x_t, t, path) * ratio) @ self.vectors.T

    def velocity(self, x_t: Tensor, t: Tensor, path: Path) -> Tensor:
        """``d x_s / d s`` at ``s = t``, ``(B, D)``."""
        growth = path.alpha(t) * path.d_alpha(t) * self.values + path.sigma(t) * path.d_sigma(t)
        y = self._centred(x_t, t, path) * growth / self._variance(path, t)
        return path.d_alpha(t) * self.mean + y @ self.vectors.T

    def coupled(self, x_t: Tensor, t: Tensor, path: Path) -> Tensor:
        """``dx_t/dt`` where each example keeps its nearest noise, ``(B, D)``."""
        root = self.values.sqrt()
        growth = (path.d_alpha(t) * root + path.d_sigma(t)) / (path.alpha(t) * root + path.sigma(t))
        return path.d_alpha(t) * self.mean + (self._centred(x_t, t, path) * growth) @ self.vectors.T

    def _variance(self, path: Path, t: Tensor) -> Tensor:
        return path.alpha(t) ** 2 * self.values + path.sigma(t) ** 2

    def _centred(self, x_t: Tensor, t: Tensor, path: Path) -> Tensor:
        return (x_t - path.alpha(t) * self.mean) @ self.vectors


@final
class GaussianAverage(AverageVelocity):
    """The average velocity of one Gaussian with a full covariance along any path. Labels are ignored.

    Args:
        path: the noise process.
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    def __init__(self, path: Path, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.path, self.event = path, (len(mean),)
        self.net = _Transport(GaussianMixture([1.0], [mean], [covariance]))

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        x, at, to = x_t.double(), broadcast(t.double(), x_t.double()), broadcast(s.double(), x_t.double())
        same = at == to
        average = (self.net(x, at, to, self.path) - x) / torch.where(same, 1, to - at)
        return torch.where(same, self.net.velocity(x, at, self.path), average).to(x_t.dtype)


@final
class GaussianTransport(VectorField):
    """The field of optimal transport between noise and one Gaussian with a full covariance. Labels are ignored.

    The noise of an example is ``eps = S^(-1/2) (x_0 - mu)``, so that ``x_t = alpha mu + (alpha S^(1/2) + sigma I) eps``
    and

        v(x, t) = alpha' mu + (alpha' S^(1/2) + sigma' I) (alpha S^(1/2) + sigma I)^-1 (x - alpha mu)

    Args:
        path: the time axis. Noise has no mean left where ``alpha`` is 0 at its last time.
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    def __init__(self, path: Path, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.path, self.event = path, (len(mean),)
        self.net = _Transport(GaussianMixture([1.0], [mean], [covariance]))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net.coupled(x_t.double(), broadcast(t.double(), x_t.double()), self.path).to(x_t.dtype)


class _Affine(nn.Module):
    """``x = mean + factor z`` with a lower triangular factor. It stands where a network would."""

    mean: Tensor
    factor: Tensor

    def __init__(self, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("factor", torch.linalg.cholesky(torch.tensor(covariance, dtype=torch.float64)))

    def forward(self, z: Tensor) -> Tensor:
        """``x`` of noise ``(B, D)``."""
        return (self.mean + z.double() @ self.factor.T).to(z.dtype)

    def back(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z``, ``(B, D)``, and ``log p(x_i | x_<i)``, ``(B, D)``, in float64."""
        z = torch.linalg.solve_triangular(self.factor, (x.double() - self.mean).T, upper=False).T
        return z, log_phi(z) - self.factor.diagonal().log()


@final
class GaussianFlow(Bijection):
    """The affine map from noise to one Gaussian with a full covariance. Labels are ignored.

    Args:
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    def __init__(self, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.event = self.latent = (len(mean),)
        self.net = _Affine(mean, covariance)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(z)

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = -self.net.factor.diagonal().log().sum()
        return self.net.back(x)[0].to(x.dtype), log_det.to(x.dtype).expand(len(x))


@final
class GaussianConditionals(Conditionals):
    """``p(x_i | x_<i)`` of one Gaussian with a full covariance. Labels are ignored.

    Args:
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    def __init__(self, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.event = (len(mean),)
        self.net = _Affine(mean, covariance)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net.back(x)[1].to(x.dtype)

    def begin(self, batch: int, cond: Tensor | None = None) -> list[Tensor]:
        return []

    def draw(self, state: list[Tensor], noise: Noise, temperature: float = 1.0) -> tuple[Tensor, list[Tensor]]:
        state = [*state, temperature * noise.normal()]
        missing = [torch.zeros_like(state[0])] * (self.event[0] - len(state))
        x: Tensor = self.net(torch.stack([*state, *missing], 1))
        return x[:, len(state) - 1], state


@final
class GaussianEnergy(ContinuousEnergy):
    """``-log p(x)`` of one Gaussian with a full covariance, of normaliser 1. Labels are ignored.

    Args:
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    net: _Affine

    def __init__(self, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.event, self.reference = (len(mean),), Normal((len(mean),), 2.0)
        self.net = _Affine(mean, covariance)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return -self.net.back(x)[1].sum(1).to(x.dtype)


@final
class GaussianNoisedEnergy(NoisedEnergy):
    """``-log p_t(x_t)`` of one Gaussian with a full covariance along any path. Labels are ignored.

    Args:
        path: the noise process.
        mean: ``(D,)`` numbers.
        covariance: ``(D, D)`` numbers, positive definite.
    """

    def __init__(self, path: Path, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.path, self.event, self.reference = path, (len(mean),), Normal((len(mean),), 2.0)
        self.oracle = GaussianDenoiser(path, mean, covariance)

    def at(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return -self.oracle.log_prob(x_t, t).to(x_t.dtype)
