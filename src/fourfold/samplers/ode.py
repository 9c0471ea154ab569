"""Deterministic samplers: solvers of the probability-flow ODE, from noise to data.

All of them walk the grid of the estimand's own path and end clean: the last evaluation's ``E[x_0 | x_t]`` is the sample,
so that no noise of the last level remains in it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler, view
from fourfold.estimands import Denoiser, Velocity
from fourfold.paths import Path

__all__ = ["DDIM", "DPMSolver", "Euler", "Heun", "Knot", "evaluate", "knots", "start"]


class Knot(NamedTuple):
    """A time of the grid with its coefficients."""

    t: float
    alpha: float
    sigma: float


def knots(path: Path, steps: int) -> list[Knot]:
    """The ``steps`` decreasing times at which an estimand is evaluated: the path's grid without its clean end.

    Raises:
        ValueError: for fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"a sampler takes at least 1 step, not {steps}")
    t = path.grid(steps)[:-1]
    return [Knot(*row) for row in torch.stack([t, path.alpha(t), path.sigma(t)], 1).tolist()]


def start(estimand: Estimand, noise: Noise, first: Knot) -> Tensor:
    """``x_T = sigma_T eps``, ``(n, *event)``."""
    return noise.normal(*estimand.event) * first.sigma


def evaluate(estimand: Denoiser | Velocity, x_t: Tensor, t: float, cond: Tensor | None) -> Tensor:
    """The estimand at one time for all examples, ``(B, *event)``."""
    return estimand(x_t, torch.full((len(x_t),), t, device=x_t.device), cond)


@final
@dataclass(frozen=True)
class Euler(Sampler):
    """``x_s = x_t + (s - t) v(x_t, t)``.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Velocity
    order: ClassVar[int] = 1
    steps: int = 20

    def __call__(self, estimand: Velocity, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            x = x + (s.t - t.t) * evaluate(estimand, x, t.t, cond)
        return evaluate(view(estimand, Denoiser), x, grid[-1].t, cond)  # type: ignore[type-abstract]


@final
@dataclass(frozen=True)
class Heun(Sampler):
    """The trapezoidal rule with Euler's guess: ``x_s = x_t + (s - t) (v(x_t, t) + v(x~_s, s)) / 2``.

    Karras et al. 2022, algorithm 1 (https://arxiv.org/abs/2206.00364).

    Attributes:
        steps: times of the grid; there are ``2 steps - 1`` network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Velocity
    order: ClassVar[int] = 2
    steps: int = 18

    def __call__(self, estimand: Velocity, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            v = evaluate(estimand, x, t.t, cond)
            v_s = evaluate(estimand, x + (s.t - t.t) * v, s.t, cond)
            x = x + (s.t - t.t) / 2 * (v + v_s)
        return evaluate(view(estimand, Denoiser), x, grid[-1].t, cond)  # type: ignore[type-abstract]


@final
@dataclass(frozen=True)
class DDIM(Sampler):
    """``x_s = alpha_s D + sigma_s eps_hat`` with ``eps_hat = (x_t - alpha_t D) / sigma_t``.

    Song, Meng, Ermon 2021 (https://arxiv.org/abs/2010.02502), without added noise.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    order: ClassVar[int] = 1
    steps: int = 20

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            x = _towards(evaluate(estimand, x, t.t, cond), x, t, s)
        return evaluate(estimand, x, grid[-1].t, cond)


@final
@dataclass(frozen=True)
class DPMSolver(Sampler):
    """DPM-Solver++(2M): the denoiser is extrapolated linearly in ``lambda = log(alpha / sigma)``.

        x_s = (sigma_s / sigma_t) x_t + (alpha_s - alpha_t sigma_s / sigma_t) (D_t + (h / 2 h_last) (D_t - D_last))

    with ``h = lambda_s - lambda_t``; the first step is of first order. Lu et al. 2022 (https://arxiv.org/abs/2211.01095).

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    order: ClassVar[int] = 2
    steps: int = 20

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        log_snr = estimand.path.log_snr(torch.tensor([k.t for k in grid], dtype=torch.float64)).tolist()
        x = start(estimand, noise, grid[0])
        x_0 = last = evaluate(estimand, x, grid[0].t, cond)
        for i in range(len(grid) - 1):
            ratio = 0.0 if i == 0 else (log_snr[i + 1] - log_snr[i]) / (log_snr[i] - log_snr[i - 1])
            x = _towards(x_0 + ratio / 2 * (x_0 - last), x, grid[i], grid[i + 1])
            x_0, last = evaluate(estimand, x, grid[i + 1].t, cond), x_0
        return x_0


def _towards(x_0: Tensor, x_t: Tensor, t: Knot, s: Knot) -> Tensor:
    """``x_s`` on the ray from ``x_t`` to ``x_0``: the exact solution for a constant denoiser."""
    ratio = s.sigma / t.sigma
    return ratio * x_t + (s.alpha - t.alpha * ratio) * x_0
