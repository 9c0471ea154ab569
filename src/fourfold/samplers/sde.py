"""Stochastic samplers of the reverse process, on any path.

The process ``dx = f_t x dt + g_t dw`` runs backwards as (Anderson 1982; Song et al. 2021,
https://arxiv.org/abs/2011.13456)

    dx = (f_t x - g_t^2 grad log p_t(x)) dt + g_t dw = (v(x, t) - g_t^2 / 2 grad log p_t(x)) dt + g_t dw

and for any ``g`` it has the marginals of the probability-flow ODE ``dx = v dt``. A sampler declares
``weak_order``: the power of the step size with which the mean and the covariance of its samples approach their limit,
which :func:`fourfold.checks.check_order` measures without chance. Samplers that keep a bias declare none. Every sampler
ends clean: the last evaluation's ``E[x_0 | x_t]`` is the sample.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler
from fourfold.estimands import Denoiser, Velocity
from fourfold.maths.paths import Path, time_at
from fourfold.samplers.ode import Knot, clean, evaluate, extrapolated, knots, start, stepped
from fourfold.vocabulary import Cost

__all__ = [
    "DDPM",
    "AnnealedLangevin",
    "EulerMaruyama",
    "PredictorCorrector",
    "SDEDPMSolver",
    "StochasticHeun",
    "StochasticSolver",
]


class StochasticSolver(Sampler):
    """A sampler that runs the noising process backwards and adds noise in each of its ``steps``."""

    formula = "x_T ~ N(0, σ_T² I),  dx = (v_θ − g_t²/2·s_θ) dt + g_t dw  from T to 0"
    cost = Cost.STEPS

    @property
    def summary(self) -> str:
        return f"draw noise and run the noising process backwards, with fresh noise, {stepped(self)}"


@final
@dataclass(frozen=True)
class DDPM(StochasticSolver):
    """Ancestral sampling: ``x_s ~ q(x_s | x_t, x_0 = D(x_t, t))``, a Gaussian in closed form.

    Ho, Jain, Abbeel 2020 (https://arxiv.org/abs/2006.11239), for any path (Kingma et al. 2021, appendix A,
    https://arxiv.org/abs/2107.00630). The last evaluation's denoised example is the sample.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    weak_order: ClassVar[int] = 1
    steps: int = 100

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            x_0 = evaluate(estimand, x, t.t, cond)
            x = _ancestor(x_0, x, t, s, noise)
        return evaluate(estimand, x, grid[-1].t, cond)


@final
@dataclass(frozen=True)
class SDEDPMSolver(StochasticSolver):
    """SDE-DPM-Solver++(2M): :class:`DDPM` with the denoiser extrapolated in ``lambda``, as in :class:`DPMSolver`.

        x_s ~ q(x_s | x_t, x_0 = D_t + (h / 2 h_last) (D_t - D_last))

    Lu et al. 2022, section 5 (https://arxiv.org/abs/2211.01095).

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    weak_order: ClassVar[int] = 2
    steps: int = 40

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        x_0 = last = evaluate(estimand, x, grid[0].t, cond)
        for i, (t, s) in enumerate(itertools.pairwise(grid)):
            x = _ancestor(extrapolated(x_0, last, grid[max(i - 1, 0)], t, s), x, t, s, noise)
            x_0, last = evaluate(estimand, x, s.t, cond), x_0
        return x_0


def _ancestor(x_0: Tensor, x_t: Tensor, t: Knot, s: Knot, noise: Noise) -> Tensor:
    """A draw of ``q(x_s | x_t, x_0)``."""
    of_x, of_x_0, deviation = bridge(t, s)
    return of_x * x_t + of_x_0 * x_0 + deviation * noise.normal(*x_t.shape[1:])


def bridge(t: Knot, s: Knot) -> tuple[float, float, float]:
    """Coefficients of ``x_t`` and ``x_0`` and the standard deviation of ``q(x_s | x_t, x_0)``.

    With ``a = alpha_t / alpha_s`` and ``sigma_t|s^2 = sigma_t^2 - a^2 sigma_s^2``: ``a sigma_s^2 / sigma_t^2``,
    ``alpha_s sigma_t|s^2 / sigma_t^2``, ``sigma_s sigma_t|s / sigma_t``.
    """
    a, step = _forward(t, s)
    return a * (s.sigma / t.sigma) ** 2, s.alpha * step / t.sigma**2, s.sigma * math.sqrt(step) / t.sigma


def _forward(t: Knot, s: Knot) -> tuple[float, float]:
    """``a`` and ``sigma_t|s^2 = sigma_t^2 - a^2 sigma_s^2`` of ``q(x_t | x_s) = N(a x_s, sigma_t|s^2)``."""
    a = t.alpha / s.alpha
    return a, max(t.sigma**2 - (a * s.sigma) ** 2, 0.0)


@final
@dataclass(frozen=True)
class EulerMaruyama(StochasticSolver):
    """Euler's rule for the reverse equation, with ``h = t - s``:

        x_s = x_t - h v - (h g^2 / 2) eps_hat / sigma_t + sqrt(h) g z

    The marginals are the same for any ``g``. So ``h g^2`` is at most ``sigma_t^2``, where a step would otherwise add
    more noise than there is, as at the start of a path whose ``alpha`` begins at 0 and whose ``g`` is infinite there.

    Attributes:
        steps: network evaluations.
    """  # noqa: D415

    needs: ClassVar[type[Estimand]] = Denoiser
    weak_order: ClassVar[int] = 1
    steps: int = 200

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            v, eps = _velocity_and_noise(estimand, x, t, cond)
            added = min((t.t - s.t) * _rate(estimand.path, t), t.sigma**2)
            x = x - (t.t - s.t) * v - added / (2 * t.sigma) * eps + math.sqrt(added) * noise.normal(*estimand.event)
        return evaluate(estimand, x, grid[-1].t, cond)


def _rate(path: Path, t: Knot) -> float:
    """``g_t^2``. ``inf`` where there is no signal."""
    return float(path.diffusion(torch.tensor(t.t, dtype=torch.float64))) ** 2 if t.alpha > 0 else math.inf


def _velocity_and_noise(estimand: Denoiser, x: Tensor, t: Knot, cond: Tensor | None) -> tuple[Tensor, Tensor]:
    """``v = alpha' D + sigma' eps_hat`` and ``eps_hat = (x - alpha D) / sigma`` by one evaluation."""
    at = torch.tensor(t.t, dtype=torch.float64)
    x_0 = evaluate(estimand, x, t.t, cond)
    eps = (x - t.alpha * x_0) / t.sigma
    return float(estimand.path.d_alpha(at)) * x_0 + float(estimand.path.d_sigma(at)) * eps, eps


@final
@dataclass(frozen=True)
class PredictorCorrector(StochasticSolver):
    """A step of reverse diffusion, then Langevin steps at the new noise level.

        x_s = (2 - a) x_t + sigma_t|s^2 s(x_t, t) + sigma_t|s z,  then  x_s <- x_s + e s(x_s, s) + sqrt(2 e) z

    with ``a = alpha_t / alpha_s``. The rule for the step, ``e = 2 (r |z| / |s|)^2``, is applied with the average norms
    of both in pure noise, ``sqrt(d)`` and ``sqrt(d) / sigma``: ``e = 2 (r sigma)^2``. A step that depended on the state
    would bias the chain more, and one that depended on the batch would make samples depend on each other. Song et al.
    2021, algorithms 2 to 5 (https://arxiv.org/abs/2011.13456).

    Attributes:
        steps: noise levels. Each takes ``1 + corrections`` network evaluations.
        corrections: Langevin steps at each noise level. They leave a bias of relative size ``r^2``, which no number of
            steps removes.
        ratio: ``r``, the signal-to-noise ratio of a Langevin step.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    steps: int = 100
    corrections: int = 1
    ratio: float = 0.16

    @property
    def weak_order(self) -> int | None:
        """1 for the predictor alone."""
        return None if self.corrections else 1

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            x = _reverse_diffusion(evaluate(estimand, x, t.t, cond), x, t, s, noise)
            for _ in range(self.corrections):
                x = _langevin(estimand, x, s, cond, 2 * self.ratio**2, noise)
        return evaluate(estimand, x, grid[-1].t, cond)


def _reverse_diffusion(x_0: Tensor, x: Tensor, t: Knot, s: Knot, noise: Noise) -> Tensor:
    """``(2 - a) x_t + sigma_t|s^2 s + sigma_t|s z``. From no signal at all, a draw of ``q(x_s | x_0)``."""
    if t.alpha == 0:
        return _ancestor(x_0, x, t, s, noise)
    a, step = _forward(t, s)
    score = (t.alpha * x_0 - x) / t.sigma**2
    return (2 - a) * x + step * score + math.sqrt(step) * noise.normal(*x.shape[1:])


def _langevin(estimand: Denoiser, x: Tensor, t: Knot, cond: Tensor | None, share: float, noise: Noise) -> Tensor:
    """``x + e s(x) + sqrt(2 e) z`` with ``e = share sigma_t^2``."""
    x_0 = evaluate(estimand, x, t.t, cond)
    return x + share * (t.alpha * x_0 - x) + math.sqrt(2 * share) * t.sigma * noise.normal(*x.shape[1:])


@final
@dataclass(frozen=True)
class AnnealedLangevin(StochasticSolver):
    """Langevin steps at each level of a falling series of noise levels.

        x <- x + (delta sigma_t^2 / 2) s(x, t) + sqrt(delta) sigma_t z

    ``x / alpha`` is the same at two neighbouring noise levels. Where the noise is small beside the data a few moves no
    longer carry the chain to its distribution, so samples are a little too wide for any number of noise levels. Song,
    Ermon 2019, algorithm 1 (https://arxiv.org/abs/1907.05600); the clean end is that of Jolicoeur-Martineau et al. 2021
    (https://arxiv.org/abs/2009.05475).

    Attributes:
        steps: noise levels.
        moves: Langevin steps at each level, of one network evaluation each.
        delta: the step relative to the variance of the noise. It leaves a bias of relative size ``delta / 4``.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    steps: int = 40
    moves: int = 10
    delta: float = 0.3

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for last, t in itertools.pairwise([grid[0], *grid]):
            x = x * (t.alpha / last.alpha) if last.alpha > 0 else x
            for _ in range(self.moves):
                x = _langevin(estimand, x, t, cond, self.delta / 2, noise)
        return evaluate(estimand, x, grid[-1].t, cond)


@final
@dataclass(frozen=True)
class StochasticHeun(StochasticSolver):
    """Noise is added, then more than that is removed by a step of Heun's rule.

        rho^ = (1 + gamma) rho_t,  x^ = (alpha^ / alpha_t) x_t + alpha^ sqrt(rho^2 - rho_t^2) z,  Heun: x^ -> x_s

    with ``rho = sigma / alpha`` and ``gamma = min(churn / steps, sqrt(2) - 1)`` for ``low <= rho_t <= high``, else 0.
    Adding noise makes no error, so the weak order is Heun's. Karras et al. 2022, algorithm 2
    (https://arxiv.org/abs/2206.00364), for any path.

    Attributes:
        steps: times of the grid. There are ``2 steps - 1`` network evaluations.
        churn: total amount of noise that is renewed. 0 gives :class:`~fourfold.samplers.ode.Heun`.
        low, high: the relative noise levels between which noise is renewed.
        inflation: factor of the added noise, slightly above 1 against denoisers that remove too much.
    """

    needs: ClassVar[type[Estimand]] = Velocity
    weak_order: ClassVar[int] = 2
    steps: int = 18
    churn: float = 10.0
    low: float = 0.05
    high: float = 50.0
    inflation: float = 1.0

    def __call__(self, estimand: Velocity, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            x, r = self._churned(x, estimand.path, t, noise)
            v = evaluate(estimand, x, r.t, cond)
            v_s = evaluate(estimand, x + (s.t - r.t) * v, s.t, cond)
            x = x + (s.t - r.t) / 2 * (v + v_s)
        return clean(estimand.path, x, evaluate(estimand, x, grid[-1].t, cond), grid[-1])

    def _churned(self, x: Tensor, path: Path, t: Knot, noise: Noise) -> tuple[Tensor, Knot]:
        """``x^`` and its time. The noise is drawn even where none is added, so that settings share it."""
        z = noise.normal(*x.shape[1:])
        if not self.low <= t.relative <= self.high:
            return x, t
        gamma = min(self.churn / self.steps, math.sqrt(2) - 1)
        r = _knot(path, time_at(path, torch.tensor(t.log_snr - math.log1p(gamma), dtype=torch.float64)))
        added = max(r.sigma**2 - (r.alpha * t.relative) ** 2, 0.0)
        return r.alpha / t.alpha * x + self.inflation * math.sqrt(added) * z, r


def _knot(path: Path, t: Tensor) -> Knot:
    """A time that need not be on the grid, a scalar in float64."""
    return Knot(float(t), float(path.alpha(t)), float(path.sigma(t)))
