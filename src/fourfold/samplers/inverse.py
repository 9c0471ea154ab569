"""Inverse problems: samples of ``p(x | y)`` for a measurement ``y = H x + sigma_y n``, by any diffusion model.

The model is not trained for the task. Its denoiser ``D`` is the mean of ``p(x_0 | x_t)``, and its derivative gives the
covariance (Tweedie's second formula). So under the Gaussian with these two moments

    C_t = Cov[x_0 | x_t] = (sigma_t^2 / alpha_t) dD/dx_t
    D_y = E[x_0 | x_t, y] = D + C_t H^T (sigma_y^2 I + H C_t H^T)^-1 (y - H D)

which is a denoiser of the posterior: any sampler of :mod:`fourfold.samplers` runs on it. For Gaussian data the samples
are those of the exact posterior up to the solver's error. For other data ``p(x_0 | x_t)`` is approximated by a
Gaussian, which is more accurate the lower the noise. Rozet, Andry, Lanusse, Louppe 2024, Learning Diffusion Priors from
Observations by Expectation Maximization (https://arxiv.org/abs/2405.13712); Boys et al. 2023, Tweedie Moment Projected
Diffusions (https://arxiv.org/abs/2310.06721). With ``C_t`` a multiple of the identity it would be the method of Song et
al. 2023, Pseudoinverse-Guided Diffusion Models (https://openreview.net/forum?id=9_gsMA8MRKQ).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler, view
from fourfold.estimands import SMALLEST, Denoiser
from fourfold.paths import broadcast
from fourfold.samplers.ode import DPMSolver
from fourfold.vocabulary import Cost

__all__ = ["Blur", "Conditioned", "Inpainting", "Matrix", "Operator", "Posterior", "SuperResolution"]


# --- operators --------------------------------------------------------------------------------------------------------


class Operator(ABC):
    """A linear measurement ``H`` of encoded examples, with its adjoint: a frozen dataclass.

    Examples are encoded by the model's codec: images in [-1, 1], vectors standardised. ``model.encode(x).x`` encodes
    raw examples.
    """

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """``H x`` of examples ``(B, *event)``: ``(B, *measurement)``."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y`` of measurements ``(B, *measurement)``: ``(B, *event)``."""


@final
@dataclass(frozen=True, eq=False)
class Inpainting(Operator):
    """The known part of an example; the rest is always measured as 0.

    Attributes:
        mask: 1 where known, 0 elsewhere, of a shape that broadcasts to ``event``.
    """

    mask: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.mask.to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self.mask.to(y)


@final
@dataclass(frozen=True)
class SuperResolution(Operator):
    """Means of ``factor x factor`` pixels: ``(B, C, H, W)`` to ``(B, C, H / factor, W / factor)``.

    Attributes:
        factor: number of pixels along each side of a block; it must divide height and width.
    """

    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            raise ValueError(f"{self.factor} does not divide images of {x.shape[-2]} x {x.shape[-1]} pixels")
        return F.avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        pixels = y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
        return pixels / self.factor**2


@final
@dataclass(frozen=True)
class Blur(Operator):
    """Convolution with a Gaussian, which is its own adjoint; outside the image values are 0.

    Attributes:
        width: standard deviation in pixels; the kernel is cut at three of them.
    """

    width: float

    def __call__(self, x: Tensor) -> Tensor:
        reach = math.ceil(3 * self.width)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(x) / self.width) ** 2)
        kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
        rows = F.conv2d(x, kernel, padding=(0, reach), groups=x.shape[1])
        return F.conv2d(rows, kernel.mT, padding=(reach, 0), groups=x.shape[1])

    def adjoint(self, y: Tensor) -> Tensor:
        return self(y)


@final
@dataclass(frozen=True, eq=False)
class Matrix(Operator):
    """Any linear measurement of vectors: ``(B, D)`` to ``(B, M)``.

    Attributes:
        matrix: ``H``, ``(M, D)``.
    """

    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.matrix.to(x).T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix.to(y)


# --- the posterior ----------------------------------------------------------------------------------------------------


@final
class Conditioned(Denoiser):
    """``D_y = D + C_t H^T (sigma_y^2 I + H C_t H^T)^-1 (y - H D)``: a denoiser of ``p(x | y)``.

    The system is solved by conjugate gradients, whose products with ``C_t`` are gradients through the denoiser: one
    evaluation and ``iterations + 1`` gradients. The derivative of a network is not an exact covariance; directions in
    which it is negative are left unchanged.

    Args:
        denoiser: of the prior ``p(x)``.
        operator: ``H``.
        y: the measurement of each row, ``(B, *measurement)``.
        sigma_y: standard deviation of its noise.
        iterations: number of iterations of conjugate gradients.
    """

    def __init__(self, denoiser: Denoiser, operator: Operator, y: Tensor, sigma_y: float, iterations: int) -> None:
        super().__init__()
        self.denoiser, self.path, self.event = denoiser, denoiser.path, denoiser.event
        self.operator, self.y, self.sigma_y, self.iterations = operator, y, sigma_y, iterations

    @torch.enable_grad()
    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        x_t = x_t.detach().requires_grad_()
        x_0 = self.denoiser(x_t, t, cond)
        ratio = broadcast(self.path.sigma(t) ** 2 / self.path.alpha(t).clamp(min=SMALLEST), x_t)

        def covariance(v: Tensor) -> Tensor:
            return ratio * torch.autograd.grad(x_0, x_t, v.to(x_0), retain_graph=True)[0]

        def system(u: Tensor) -> Tensor:
            return self.sigma_y**2 * u + self.operator(covariance(self.operator.adjoint(u)))

        residual = self.y.to(x_0) - self.operator(x_0.detach())
        solution = _conjugate_gradients(system, residual, self.sigma_y**2, self.iterations)
        return (x_0 + covariance(self.operator.adjoint(solution))).detach()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows, ``(B,)``."""
    return (a * b).flatten(1).sum(1)


def _conjugate_gradients(system: Callable[[Tensor], Tensor], b: Tensor, least: float, iterations: int) -> Tensor:
    """``u`` with ``system(u) = b`` for each row, of a symmetric system whose eigenvalues are at least ``least``.

    A row stops when it has converged, or when the system shows an eigenvalue smaller than ``least``.
    """
    u, r, p = torch.zeros_like(b), b, b
    rr = _dot(r, r)
    enough = 1e-10 * rr
    for _ in range(iterations):
        q = system(p)
        curvature = _dot(p, q)
        going = (rr > enough) & (curvature >= 0.5 * least * _dot(p, p)) & (curvature > 0)
        step = torch.where(going, rr / curvature.where(going, torch.ones_like(rr)), 0.0)
        u, r = u + broadcast(step, b) * p, r - broadcast(step, b) * q
        rr, before = _dot(r, r), rr
        p = r + broadcast(torch.where(going, rr / before.clamp(min=1e-30), 0.0), b) * p
    return u


@final
@dataclass(frozen=True, eq=False)
class Posterior(Sampler):
    """Draws samples of ``p(x | y)``; sample ``i`` belongs to measurement ``i mod len(y)``.

    Use it like any sampler: ``model.with_parts(sampler=Posterior(operator, y, sigma_y)).sample(n)``. The measurement is
    of encoded examples, see :class:`Operator`.

    Attributes:
        operator: ``H``.
        y: measurements, ``(m, *measurement)``.
        sigma_y: standard deviation of their noise, in encoded units; positive.
        sampler: runs on the denoiser of the posterior: a solver of the ODE (:mod:`~fourfold.samplers.ode`) or with
            noise (:mod:`~fourfold.samplers.sde`), which forgets the errors of the noisiest levels.
        iterations: number of iterations of conjugate gradients; with more, samples follow ``y`` more closely.

    Raises:
        ValueError: for a noise level that is not positive.
    """

    operator: Operator
    y: Tensor
    sigma_y: float = 0.05
    sampler: Sampler = field(default_factory=lambda: DPMSolver(50))
    iterations: int = 4

    needs: ClassVar[type[Estimand]] = Denoiser
    formula = "x ~ p_θ(x | y),  y = H x + σ_y ε"

    @property
    def summary(self) -> str:
        return f"given a measurement y, {self.sampler.summary}"

    @property
    def cost(self) -> Cost | None:
        return self.sampler.cost

    def __post_init__(self) -> None:
        """Refuse a measurement without noise: the system would have no lower bound."""
        if self.sigma_y <= 0 or self.iterations < 1:
            raise ValueError(f"sigma_y is {self.sigma_y}, iterations {self.iterations}: both must be positive")

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        rows = torch.arange(noise.start, noise.stop) % len(self.y)
        y = self.y[rows.to(self.y.device)].to(noise.device)
        posterior = Conditioned(estimand, self.operator, y, self.sigma_y, self.iterations)
        return self.sampler(view(posterior, self.sampler.needs), noise, cond)
