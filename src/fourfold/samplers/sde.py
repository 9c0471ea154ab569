"""Stochastic samplers of the reverse process."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler
from fourfold.estimands import Denoiser
from fourfold.samplers.ode import Knot, evaluate, knots, start

__all__ = ["DDPM"]


@final
@dataclass(frozen=True)
class DDPM(Sampler):
    """Ancestral sampling: ``x_s ~ q(x_s | x_t, x_0 = D(x_t, t))``, a Gaussian in closed form.

    Ho, Jain, Abbeel 2020 (https://arxiv.org/abs/2006.11239), for any path (Kingma et al. 2021, appendix A,
    https://arxiv.org/abs/2107.00630). The last evaluation's denoised example is the sample.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    steps: int = 100

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            of_x, of_x_0, deviation = _posterior(t, s)
            x_0 = evaluate(estimand, x, t.t, cond)
            x = of_x * x + of_x_0 * x_0 + deviation * noise.normal(*estimand.event)
        return evaluate(estimand, x, grid[-1].t, cond)


def _posterior(t: Knot, s: Knot) -> tuple[float, float, float]:
    """Coefficients of ``x_t`` and ``x_0`` and the standard deviation of ``q(x_s | x_t, x_0)``.

    With ``a = alpha_t / alpha_s`` and ``sigma_t|s^2 = sigma_t^2 - a^2 sigma_s^2``:
    ``a sigma_s^2 / sigma_t^2``, ``alpha_s sigma_t|s^2 / sigma_t^2``, ``sigma_s sigma_t|s / sigma_t``.
    """
    a = t.alpha / s.alpha
    step = max(t.sigma**2 - (a * s.sigma) ** 2, 0.0)
    return a * (s.sigma / t.sigma) ** 2, s.alpha * step / t.sigma**2, s.sigma * math.sqrt(step) / t.sigma
