"""Networks as estimands of noised examples: inputs and targets of order one at every noise level.

For ``x_t = alpha_t x_0 + sigma_t eps`` and data of root mean square ``sigma_data``, the inputs of the network ``F`` are
``x_t / r``, with ``r^2 = alpha^2 sigma_data^2 + sigma^2``, and ``c_noise = log(sigma / alpha) / 4``. Its output is
scaled so that its target is of order one too (Karras et al. 2022, https://arxiv.org/abs/2206.00364, table 1, here for
any path).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Estimand
from fourfold.estimands.base import (
    AverageVelocity,
    ConsistencyFunction,
    Denoiser,
    NoisePredictor,
    Score,
    VectorField,
    Velocity,
)
from fourfold.maths.paths import Path, broadcast

__all__ = [
    "ConsistencyNetwork",
    "NetworkAverage",
    "NetworkEstimand",
    "NetworkField",
    "NetworkNoise",
    "NetworkScore",
    "NetworkVelocity",
    "Preconditioned",
    "SteppedNoise",
    "SteppedVelocity",
    "noise_level",
    "preconditioned",
    "total_scale",
]


def noise_level(path: Path, t: Tensor) -> Tensor:
    """``c_noise = log(sigma_t / alpha_t) / 4``: the time as an input of networks, of order one, ``(B,)``."""
    return -path.log_snr(t).clamp(-10, 10) / 4


def total_scale(path: Path, t: Tensor, sigma_data: float) -> Tensor:
    """``r = sqrt(alpha_t^2 sigma_data^2 + sigma_t^2)``: the root mean square of ``x_t``, ``(B,)``."""
    return _scale(path.alpha(t), path.sigma(t), sigma_data)


def _scale(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    return torch.sqrt((alpha * sigma_data) ** 2 + sigma**2)


def preconditioned(
    net: nn.Module, path: Path, sigma_data: float, x_t: Tensor, t: Tensor, tau: Tensor, cond: Tensor | None
) -> Tensor:
    """``c_skip x_t + c_out F(x_t / r, tau)``, ``(B, *event)``.

    ``c_skip = alpha sigma_data^2 / r^2`` and ``c_out = sigma sigma_data / r``.

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        path: the noise process.
        sigma_data: root mean square of the data.
        x_t: noised examples, ``(B, *event)``.
        t: their times, ``(B,)``.
        tau: the times as the network's input, ``(B,)`` or ``(B, times)``.
        cond: labels or captions.
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    r = _scale(alpha, sigma, sigma_data)
    c_skip, c_out = alpha * sigma_data**2 / r**2, sigma * sigma_data / r
    return broadcast(c_skip, x_t) * x_t + broadcast(c_out, x_t) * net(x_t * broadcast(1 / r, x_t), tau, cond)


class NetworkEstimand(Estimand):
    """An estimand along a path by a network ``F`` whose inputs and targets are of order one.

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process, or the time axis of an ODE.
        sigma_data: root mean square of the data.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data


@final
class Preconditioned(NetworkEstimand, Denoiser):
    """``D(x_t, t) = c_skip x_t + c_out F(x_t / r, c_noise)``: see :func:`preconditioned`."""

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return preconditioned(self.net, self.path, self.sigma_data, x_t, t, noise_level(self.path, t), cond)


@final
class NetworkVelocity(NetworkEstimand, Velocity):
    """``v(x_t, t) = F(x_t / r, c_noise)``, with ``c_noise`` at most :data:`LOUDEST`."""

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        r = total_scale(self.path, t, self.sigma_data)
        return self.net(x_t * broadcast(1 / r, x_t), noise_level(self.path, t).clamp(max=LOUDEST), cond)


@final
class NetworkField(NetworkEstimand, VectorField):
    """``v(x_t, t) = F(x_t / r, tau)`` with the time ``tau`` in [-1, 1]."""

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        r = total_scale(self.path, t, self.sigma_data)
        tau = 2 * (t - self.path.t_min) / (self.path.t_max - self.path.t_min) - 1
        return self.net(x_t * broadcast(1 / r, x_t), tau, cond)


@final
class NetworkNoise(NetworkEstimand, NoisePredictor):
    """``eps_hat(x_t, t) = (sigma / r^2) x_t + (alpha sigma_data / r) F(x_t / r, c_noise)``.

    The first part is the best linear guess, and the second has the size of its error. It is the noise of a
    :class:`Preconditioned` denoiser, up to the sign of ``F``.
    """

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return _noise(self.net, self.path, self.sigma_data, x_t, t, cond)


@final
class NetworkScore(NetworkEstimand, Score):
    """``s(x_t, t) = -eps_hat / sigma`` with the noise of :class:`NetworkNoise`."""

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        eps = _noise(self.net, self.path, self.sigma_data, x_t, t, cond)
        return -eps / broadcast(self.path.sigma(t), x_t)


LOUDEST = 1.0
"""``c_noise`` of noise that is 55 times the example: samples begin beyond, where logit-normal times hardly ever lie."""
STEPS = 1000
"""Steps in which published networks count the time of a path on [0, 1]."""


@final
class SteppedNoise(NoisePredictor):
    """``eps_hat(x_t, t) = F(x_t, 1000 t - 1)``: the noise by a network that is told the number of a step, 0 to 999.

    Nothing is scaled, as in Ho, Jain, Abbeel 2020 (https://arxiv.org/abs/2006.11239), so that libraries that have the
    network can draw from it. Times between steps are trained and used as well.

    Args:
        net: ``F(x, step, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process, on [0, 1].
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path) -> None:
        super().__init__()
        self.net, self.event, self.path = net, tuple(event), path

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return torch.as_tensor(self.net(x_t, STEPS * t - 1, cond))


@final
class SteppedVelocity(Velocity):
    """``v(x_t, t) = F(x_t, 1000 t)``: the velocity by a network that is told thousandths of the time.

    Args:
        net: ``F(x, step, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process, on [0, 1].
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path) -> None:
        super().__init__()
        self.net, self.event, self.path = net, tuple(event), path

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return torch.as_tensor(self.net(x_t, STEPS * t, cond))


def _noise(net: nn.Module, path: Path, sigma_data: float, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    """The formula of :class:`NetworkNoise`, ``(B, *event)``."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    r = _scale(alpha, sigma, sigma_data)
    f = net(x_t * broadcast(1 / r, x_t), noise_level(path, t), cond)
    return broadcast(sigma / r**2, x_t) * x_t + broadcast(alpha * sigma_data / r, x_t) * f


# --- jumps ------------------------------------------------------------------------------------------------------------


def _slope(value: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor], t: Tensor, s: Tensor) -> Tensor:
    """``(value(s) - value(t)) / (s - t)``, and its limit ``derivative(t)`` where ``s = t``, ``(B,)``."""
    same = s == t
    difference = (value(s) - value(t)) / torch.where(same, 1, s - t)
    return torch.where(same, derivative(t), difference)


@final
class NetworkAverage(NetworkEstimand, AverageVelocity):
    """``x_s = (sigma_s / sigma_t) x_t + (alpha_s - alpha_t sigma_s / sigma_t) G``, and ``G`` averages the denoiser.

    ``G = c_skip x_t + c_out F(c_in x_t, c_noise(t), c_noise(s))`` has the preconditioning of :class:`Preconditioned`,
    so it can start from the weights of such a denoiser. With a network that ignores its second time, ``G`` is a
    denoiser and one jump is a step of DDIM. In terms of ``u``, with the divided difference ``sigma[t, s] = (sigma_s -
    sigma_t) / (s - t)`` and likewise ``alpha[t, s]``:

        u = (sigma[t, s] / sigma_t) x_t + (alpha[t, s] - alpha_t sigma[t, s] / sigma_t) G

    The network reads two times, ``tau`` of shape ``(B, 2)``.
    """

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        path, t64, s64 = self.path, t.double(), s.double()
        of_x = _slope(path.sigma, path.d_sigma, t64, s64) / path.sigma(t64).clamp(min=1e-6)
        of_mean = _slope(path.alpha, path.d_alpha, t64, s64) - path.alpha(t64) * of_x
        return broadcast(of_x, x_t) * x_t + broadcast(of_mean, x_t) * self.averaged(x_t, t, s, cond)

    def averaged(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        """``G(x_t, t, s)``, ``(B, *event)``."""
        tau = torch.stack([noise_level(self.path, t), noise_level(self.path, s)], 1)
        return preconditioned(self.net, self.path, self.sigma_data, x_t, t, tau, cond)


@final
class ConsistencyNetwork(NetworkEstimand, ConsistencyFunction):
    """``f = (sigma_0 / sigma_t) x_t + (alpha_0 - alpha_t sigma_0 / sigma_t) G(x_t, t)``, 0 being the path's first time.

    ``f(x_0, 0) = x_0`` holds exactly, and ``G`` has the preconditioning and the weights of
    :class:`Preconditioned`.
    """

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        path, end = self.path, torch.full_like(t, self.path.t_min)
        ratio = path.sigma(end).clamp(min=1e-6) / path.sigma(t).clamp(min=1e-6)
        x_0 = preconditioned(self.net, path, self.sigma_data, x_t, t, noise_level(path, t), cond)
        return broadcast(ratio, x_t) * x_t + broadcast(path.alpha(end) - path.alpha(t) * ratio, x_t) * x_0
