"""Inverse problems: samples of ``p(x | y)`` for a measurement ``y = H x + sigma_y n``, by any diffusion model.

The model is not trained for the task. Its denoiser ``D`` is the mean of ``p(x_0 | x_t)``, and its derivative gives the
covariance (Tweedie's second formula). So under the Gaussian with these two moments

    C_t = Cov[x_0 | x_t] = (sigma_t^2 / alpha_t) dD/dx_t
    D_y = E[x_0 | x_t, y] = D + C_t H^T (sigma_y^2 I + H C_t H^T)^-1 (y - H D)

which is a denoiser of the posterior: any sampler of :mod:`fourfold.samplers` runs on it (:class:`Posterior`). For
Gaussian data the samples are those of the exact posterior up to the solver's error. For other data ``p(x_0 | x_t)`` is
approximated by a Gaussian, which is more accurate the lower the noise. At high noise, where modes are chosen, it is
not: the modes are right and their weights are not, whatever the number of steps. :class:`ParticlePosterior` weighs the
same steps and has the right weights.

Rozet, Andry, Lanusse, Louppe 2024, Learning Diffusion Priors from Observations by Expectation Maximization
(https://arxiv.org/abs/2405.13712); Boys et al. 2023, Tweedie Moment Projected Diffusions
(https://arxiv.org/abs/2310.06721). With ``C_t`` a multiple of the identity it would be the method of Song et al. 2023,
Pseudoinverse-Guided Diffusion Models (https://openreview.net/forum?id=9_gsMA8MRKQ).
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler, view
from fourfold.estimands import SMALLEST, Denoiser
from fourfold.maths.categorical import categorical
from fourfold.maths.paths import broadcast
from fourfold.samplers.ode import DPMSolver, Knot, extrapolated, knots
from fourfold.samplers.sde import bridge
from fourfold.vocabulary import Cost

__all__ = [
    "Blur",
    "Conditioned",
    "Decoded",
    "Explained",
    "ForwardMap",
    "Inpainting",
    "Matrix",
    "Operator",
    "ParticlePosterior",
    "Posterior",
    "SuperResolution",
]


# --- operators --------------------------------------------------------------------------------------------------------


class ForwardMap(ABC):
    """A differentiable measurement of encoded examples: a frozen dataclass.

    Examples are encoded by the model's codec: images in [-1, 1], vectors standardised. ``model.encode(x).x`` encodes
    raw examples.
    """

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """``H x`` of examples ``(B, *event)``: ``(B, *measurement)``."""

    @abstractmethod
    def near(self, x: Tensor) -> Operator:
        """Its derivative at examples ``(B, *event)``, which is itself where it is linear."""


class Operator(ForwardMap):
    """A linear measurement ``H`` of encoded examples, with its adjoint."""

    def near(self, x: Tensor) -> Operator:
        return self

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y`` of measurements ``(B, *measurement)``: ``(B, *event)``."""


@final
@dataclass(frozen=True, eq=False)
class Inpainting(Operator):
    """The known part of an example. The rest is always measured as 0.

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
        factor: number of pixels along each side of a block. It must divide height and width.
    """

    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            raise ValueError(f"factor must divide images of {x.shape[-2]} x {x.shape[-1]} pixels, got {self.factor}")
        return F.avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        pixels = y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
        return pixels / self.factor**2


@final
@dataclass(frozen=True)
class Blur(Operator):
    """Convolution with a Gaussian, which is its own adjoint. Outside the image values are 0.

    Attributes:
        width: standard deviation in pixels. The kernel is cut at three of them.
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


@final
@dataclass(frozen=True, eq=False)
class Decoded(ForwardMap):
    """A linear measurement of what codes are decoded to, ``H g(z)``, such as the known pixels of a latent model.

    At each evaluation ``g`` is replaced by its tangent at ``E[z | z_t]``, which is the step of Gauss and Newton.

    Attributes:
        operator: ``H``.
        decode: ``g``, differentiable twice, row by row.
    """

    operator: Operator
    decode: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        return self.operator(self.decode(x))

    @torch.enable_grad()
    def near(self, x: Tensor) -> Operator:
        z = x.detach().requires_grad_()
        decoded = self.decode(z)
        cotangent = torch.zeros_like(decoded, requires_grad=True)
        pulled = torch.autograd.grad(decoded, z, cotangent, create_graph=True)[0]
        return _Tangent(self.operator, z, decoded, cotangent, pulled)


@final
@dataclass(frozen=True, eq=False)
class _Tangent(Operator):
    """``H J`` for the derivative ``J`` of a decoder at ``z``, by two graphs: ``J^T u``, and its derivative in ``u``."""

    operator: Operator
    z: Tensor
    decoded: Tensor
    cotangent: Tensor
    pulled: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        (tangent,) = torch.autograd.grad(self.pulled, self.cotangent, x, retain_graph=True)
        return self.operator(tangent)

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.autograd.grad(self.decoded, self.z, self.operator.adjoint(y), retain_graph=True)[0]


# --- the posterior ----------------------------------------------------------------------------------------------------


class Explained(NamedTuple):
    """The evidence of a noised example on the measurement.

    Attributes:
        prior: ``D``, ``(B, *event)``.
        posterior: ``D_y``, ``(B, *event)``.
        fit: ``-r^T (sigma_y^2 I + H C_t H^T)^-1 r / 2`` with ``r = y - H D``, ``(B,)`` float64: about ``log p(y |
            x_t)``, without its determinant.
    """

    prior: Tensor
    posterior: Tensor
    fit: Tensor


@final
class Conditioned(Denoiser):
    """``D_y = D + C_t H^T (sigma_y^2 I + H C_t H^T)^-1 (y - H D)``: a denoiser of ``p(x | y)``.

    The system is solved by conjugate gradients, whose products with ``C_t`` are gradients through the denoiser: one
    evaluation and ``iterations + 1`` gradients. The derivative of a network is not an exact covariance. Directions in
    which it is negative are left unchanged.

    Args:
        denoiser: of the prior ``p(x)``.
        operator: ``H``. One that is not linear is replaced by its derivative at ``D``.
        y: the measurement of each row, ``(B, *measurement)``.
        sigma_y: standard deviation of its noise.
        iterations: number of iterations of conjugate gradients.
    """

    def __init__(self, denoiser: Denoiser, operator: ForwardMap, y: Tensor, sigma_y: float, iterations: int) -> None:
        super().__init__()
        self.denoiser, self.path, self.event = denoiser, denoiser.path, denoiser.event
        self.operator, self.y, self.sigma_y, self.iterations = operator, y, sigma_y, iterations

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.explain(x_t, t, cond).posterior

    def part(self, rows: slice) -> Conditioned:
        """The denoiser of some of the rows."""
        return Conditioned(self.denoiser, self.operator, self.y[rows], self.sigma_y, self.iterations)

    @torch.enable_grad()
    def explain(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Explained:
        """Both denoisers and the fit of the measurement, by one evaluation.

        Where the system shows no positive curvature at all, ``D`` stays and the fit is that of ``C_t = 0``.
        """
        x_t = x_t.detach().requires_grad_()
        x_0 = self.denoiser(x_t, t, cond)
        ratio = broadcast(self.path.sigma(t) ** 2 / self.path.alpha(t).clamp(min=SMALLEST), x_t)

        operator = self.operator.near(x_0)

        def covariance(v: Tensor) -> Tensor:
            return ratio * torch.autograd.grad(x_0, x_t, v.to(x_0), retain_graph=True)[0]

        def system(u: Tensor) -> Tensor:
            return self.sigma_y**2 * u + operator(covariance(operator.adjoint(u)))

        residual = self.y.to(x_0) - self.operator(x_0.detach())
        solution = _conjugate_gradients(system, residual, self.sigma_y**2, self.iterations)
        posterior = (x_0 + covariance(operator.adjoint(solution))).detach()
        square = _dot(residual.double(), solution.double())
        fit = torch.where(square > 0, square, residual.double().square().flatten(1).sum(1) / self.sigma_y**2) / -2
        return Explained(x_0.detach(), posterior, fit)


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


@dataclass(frozen=True, eq=False)
class _Measured(Sampler):
    """A sampler of ``p(x | y)`` of given measurements.

    Attributes:
        operator: ``H``.
        y: measurements, ``(m, *measurement)``.
        sigma_y: standard deviation of their noise, in encoded units. Positive.

    Raises:
        ValueError: for a noise level that is not positive: the system would have no lower bound.
    """

    operator: ForwardMap
    y: Tensor
    sigma_y: float = 0.05

    needs: ClassVar[type[Estimand]] = Denoiser
    formula = "x ~ p_θ(x | y),  y = H x + σ_y ε"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")

    def conditioned(self, denoiser: Denoiser, noise: Noise, iterations: int, copies: int = 1) -> Conditioned:
        """The denoiser of the posterior for ``copies`` rows of each of the noise's samples."""
        rows = (torch.arange(noise.start, noise.stop) % len(self.y)).repeat_interleave(copies)
        y = self.y[rows.to(self.y.device)].to(noise.device)
        return Conditioned(denoiser, self.operator, y, self.sigma_y, iterations)


@final
@dataclass(frozen=True, eq=False)
class Posterior(_Measured):
    """Draws samples of ``p(x | y)`` at the cost of one sampler. Sample ``i`` belongs to measurement ``i mod len(y)``.

    Use it like any sampler: ``model.with_parts(sampler=Posterior(operator, y, sigma_y)).sample(n)``. The measurement is
    of encoded examples, see :class:`Operator`.

    The weights of separate modes are not kept, with any sampler and any number of steps: of a mixture whose upper mode
    has .68 of the posterior, .53 to .55 of the samples are of it. :class:`ParticlePosterior` keeps them.

    Attributes:
        operator: ``H``.
        y: measurements, ``(m, *measurement)``.
        sigma_y: standard deviation of their noise, in encoded units. Positive.
        sampler: runs on the denoiser of the posterior: a solver of the ODE (:mod:`~fourfold.samplers.ode`) or with
            noise (:mod:`~fourfold.samplers.sde`), which forgets the errors of the highest noise levels.
        iterations: number of iterations of conjugate gradients. With more, samples follow ``y`` more closely.

    Raises:
        ValueError: for a setting that is not positive.
    """

    sampler: Sampler = field(default_factory=lambda: DPMSolver(50))
    iterations: int = 4

    @property
    def summary(self) -> str:
        return f"given a measurement y, {self.sampler.summary}"

    @property
    def cost(self) -> Cost | None:
        return self.sampler.cost

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        posterior = self.conditioned(estimand, noise, self.iterations)
        return self.sampler(view(posterior, self.sampler.needs), noise, cond)


# --- particles --------------------------------------------------------------------------------------------------------


class _Swarm(NamedTuple):
    """The particles of every sample at a noise level: ``(B, K, *event)`` and log-weights ``(B, K)``.

    Attributes:
        x: the particles.
        now: what they say about the measurement, its parts in the shapes of the particles.
        last: the same at the noise level before, along their own lines.
        weight: the log-weights, float64.
    """

    x: Tensor
    now: Explained
    last: Explained
    weight: Tensor


@final
@dataclass(frozen=True, eq=False)
class ParticlePosterior(_Measured):
    """Draws samples of ``p(x | y)`` with the right weights of modes, by twisted sequential Monte Carlo.

    Each sample has ``K`` particles of its own. They take the steps of
    :class:`~fourfold.samplers.sde.SDEDPMSolver` with the denoiser of the posterior ``D_y``, and are weighed by what a
    step of the model itself, with ``D``, would have been:

        x_s ~ q = N(m_q, d^2 I),   p = N(m_p, d^2 I),   w <- w (p(x_s) / q(x_s)) psi_s(x_s) / psi_t(x_t)

    where ``psi_t = exp(fit)`` (:class:`Explained`), and ``N(y; H x_0, sigma_y^2 I)`` at the clean end. Where the
    effective number of a sample's particles falls below ``K / 2`` they are drawn anew by their weights, systematically.
    One particle is the sample, drawn by the weights at the end. As ``K`` grows, the samples are those of the model,
    weighted by the likelihood of the measurement, whatever ``psi_t`` is. With few particles they lie between those and
    the samples of :class:`Posterior`. The more numbers are measured, the more particles are needed. Wu, Trippe,
    Naesseth, Blei, Cunningham 2023, Practical and Asymptotically Exact Conditional Sampling in Diffusion Models
    (https://arxiv.org/abs/2306.17775), with the Gaussian of two moments for the twist.

    Sample ``i`` depends on the seed and on ``i`` alone, since no particles are shared.

    Attributes:
        operator: ``H``.
        y: measurements, ``(m, *measurement)``. Sample ``i`` belongs to measurement ``i mod m``.
        sigma_y: standard deviation of their noise, in encoded units. Positive.
        particles: ``K``.
        steps: network evaluations of each particle.
        iterations: number of iterations of conjugate gradients. With more, particles follow ``y`` more closely.

    Raises:
        ValueError: for a setting that is not positive.
    """

    particles: int = 16
    steps: int = 50
    iterations: int = 4

    cost = Cost.STEPS

    @property
    def summary(self) -> str:
        return (
            f"given a measurement y, run the noising process backwards {self.particles} times in {self.steps} steps, "
            "weigh each run by how it explains y, and take one by the weights"
        )

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        posterior = self.conditioned(estimand, noise, self.iterations, self.particles)
        labels = None if cond is None else cond.repeat_interleave(self.particles, 0)
        grid = knots(estimand.path, self.steps)
        x = noise.normal(self.particles, *estimand.event) * grid[0].sigma
        first = _explain(posterior, x, grid[0].t, labels)
        swarm = _Swarm(x, first, first, first.fit)
        for i, (t, s) in enumerate(itertools.pairwise(grid)):
            x, weight, swarm = _step(swarm, grid[max(i - 1, 0)], t, s, noise)
            now = _explain(posterior, x, s.t, labels)
            swarm = _Swarm(x, now, swarm.now, weight + now.fit - swarm.now.fit)
        x_0 = swarm.now.prior
        residual = (posterior.y.to(x_0) - self.operator(x_0.flatten(0, 1))).double().square().flatten(1).sum(1)
        weight = swarm.weight - swarm.now.fit - residual.view_as(swarm.weight) / (2 * self.sigma_y**2)
        return _choose(x_0, categorical(weight, noise.uniform()[:, None]))[:, 0]


def _explain(posterior: Conditioned, x: Tensor, t: float, cond: Tensor | None) -> Explained:
    """:meth:`Conditioned.explain` of all particles, in batches of the size of the samples."""
    flat, rows = x.flatten(0, 1), max(len(x), Noise.BLOCK)
    at = torch.full((len(flat),), t, device=x.device)
    cuts = [slice(low, low + rows) for low in range(0, len(flat), rows)]
    parts = [posterior.part(c).explain(flat[c], at[c], None if cond is None else cond[c]) for c in cuts]
    prior, mean, fit = (
        torch.cat(values).reshape(*x.shape[:2], *values[0].shape[1:]) for values in zip(*parts, strict=True)
    )
    return Explained(prior, mean, fit)


def _step(swarm: _Swarm, r: Knot, t: Knot, s: Knot, noise: Noise) -> tuple[Tensor, Tensor, _Swarm]:
    """Resample at ``t`` and move to ``s``: new particles, their weights by ``p / q``, and the swarm they came from."""
    swarm = _resampled(swarm, noise)
    of_x, of_x_0, deviation = bridge(t, s)
    mean = of_x * swarm.x + of_x_0 * extrapolated(swarm.now.posterior, swarm.last.posterior, r, t, s)
    ahead = of_x * swarm.x + of_x_0 * extrapolated(swarm.now.prior, swarm.last.prior, r, t, s)
    z = noise.normal(*swarm.x.shape[1:])
    shift = ((mean - ahead) / deviation).double()
    ratio = -(shift * (z + shift / 2)).flatten(2).sum(2)
    return mean + deviation * z, swarm.weight + ratio, swarm


def _resampled(swarm: _Swarm, noise: Noise) -> _Swarm:
    """The particles of each sample, drawn anew by their weights where those are too unequal."""
    share = swarm.weight.softmax(1)
    count = share.shape[1]
    unequal = (1 / share.square().sum(1) < count / 2)[:, None]
    order = torch.arange(count, device=share.device)
    places = categorical(swarm.weight, (order + noise.uniform()[:, None]) / count)
    places = torch.where(unequal, places, order)
    x, now, last = _choose(swarm.x, places), *(Explained(*(_choose(v, places) for v in e)) for e in swarm[1:3])
    return _Swarm(x, now, last, torch.where(unequal, 0.0, swarm.weight))


def _choose(values: Tensor, places: Tensor) -> Tensor:
    """Gather the values ``(B, K, *)`` at ``places`` ``(B, n)``, ``(B, n, *)``."""
    return values[torch.arange(len(values), device=values.device)[:, None], places]
