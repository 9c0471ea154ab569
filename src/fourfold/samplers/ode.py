"""Deterministic samplers: solvers of the probability-flow ODE, from noise to data.

All of them walk the grid of the estimand's own path and end without noise, unless a setting asks for the steps of a
published scheduler. The end is the last evaluation's ``E[x_0 | x_t]``, with an error of second order. Solvers above
first order take its limit instead (:func:`settled`). A solver's ``order`` is that of its formula. On a path it is
:func:`order_on`, at most that of the path's grid, :attr:`fourfold.maths.paths.Path.highest_order`.

:class:`Euler` and :class:`Heun` solve ``dx/dt = v`` for any vector field (see :func:`clean` for its end). The others
are exponential integrators, which solve the linear part of that equation exactly and approximate the rest by a
polynomial: of the denoiser in ``lambda = log(alpha / sigma)`` (:class:`DDIM`, :class:`DPMSolver`,
:class:`DPMSolver3`, :class:`UniPC`), or of the noise in ``rho = sigma / alpha`` (:class:`DEIS`):

    x_s = (sigma_s / sigma_t) x_t + sigma_s integral of e^lambda D d lambda
        = (alpha_s / alpha_t) x_t + alpha_s integral of eps_hat d rho
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Estimand, Noise, Sampler
from fourfold.estimands import Denoiser, VectorField
from fourfold.maths.paths import Path
from fourfold.vocabulary import Cost

__all__ = [
    "DDIM",
    "DEIS",
    "DPMSolver",
    "DPMSolver3",
    "Euler",
    "Heun",
    "Knot",
    "Solver",
    "UniPC",
    "clean",
    "end",
    "evaluate",
    "knots",
    "order_on",
    "settled",
    "start",
    "towards",
    "trajectory",
]


class Knot(NamedTuple):
    """A time of the grid with its coefficients."""

    t: float
    alpha: float
    sigma: float

    @property
    def log_snr(self) -> float:
        """``lambda = log(alpha / sigma)``, ``-inf`` where there is no signal."""
        return math.log(self.alpha / self.sigma) if self.alpha > 0 else -math.inf

    @property
    def relative(self) -> float:
        """``rho = sigma / alpha``, ``inf`` where there is no signal."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf


_Past = deque[tuple[Knot, Tensor]]
"""The latest values of the denoiser or of the noise with their times, oldest first."""

_CLEAN = Knot(0.0, 1.0, 0.0)
"""The clean end, where there is no noise. Its time has no meaning."""


def knots(path: Path, steps: int) -> list[Knot]:
    """The ``steps`` decreasing times at which an estimand is evaluated: the path's grid without its clean end.

    Raises:
        ValueError: for fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    t = path.grid(steps)[:-1]
    return [Knot(*row) for row in torch.stack([t, path.alpha(t), path.sigma(t)], 1).tolist()]


def start(estimand: Estimand, noise: Noise, first: Knot) -> Tensor:
    """``x_T = sigma_T eps``, ``(n, *event)``."""
    return noise.normal(*estimand.event) * first.sigma


def end(path: Path, clean: bool) -> Knot:
    """Where the last step leads: to the clean end, or to the first time of the path."""
    t = torch.tensor(path.t_min, dtype=torch.float64)
    return _CLEAN if clean else Knot(path.t_min, float(path.alpha(t)), float(path.sigma(t)))


def evaluate(estimand: Denoiser | VectorField, x_t: Tensor, t: float, cond: Tensor | None) -> Tensor:
    """The estimand at one time for all examples, ``(B, *event)``."""
    return estimand(x_t, torch.full((len(x_t),), t, device=x_t.device), cond)


def clean(path: Path, x_t: Tensor, v: Tensor, t: Knot) -> Tensor:
    """The clean end ``x_0 = (sigma' x_t - sigma v) / (alpha sigma' - alpha' sigma)`` of a straight step from ``x_t``.

    The line ``alpha x_0 + sigma eps`` passes ``x_t`` with the velocity ``v``. On straight paths it is ``x_t - t v``, a
    plain last step. For a :class:`~fourfold.estimands.Velocity` it is ``E[x_0 | x_t]``.
    """
    at = torch.tensor(t.t, dtype=torch.float64)
    d_alpha, d_sigma = float(path.d_alpha(at)), float(path.d_sigma(at))
    return (d_sigma * x_t - t.sigma * v) / (t.alpha * d_sigma - d_alpha * t.sigma)


class Solver(Sampler):
    """A sampler that integrates the ODE of a vector field from noise to data in ``steps`` steps."""

    formula = "x_T ~ N(0, σ_T² I),  dx = v_θ(x, t) dt  from T to 0"
    cost = Cost.STEPS

    @property
    def summary(self) -> str:
        return f"draw noise and integrate the ODE of the velocity from noise to data, {stepped(self)}"

    def summary_of(self, estimand: Denoiser | VectorField) -> str:
        order = order_on(self, estimand.path)
        return self.summary if order is None else f"{self.summary}, of order {order}"


def order_on(sampler: Sampler, path: Path) -> int | None:
    """The order of a solver on a path: what it declares, and at most that of the path's grid.

    Multistep solvers reach the second order of a grid that is even in time slowly: from 32 to 2048 steps the slope of
    :class:`DPMSolver` rises from 1.4 to 1.9 on :class:`~fourfold.maths.paths.Cosine`, and from 1.7 to 1.9 on
    :class:`~fourfold.maths.paths.RectifiedFlow`.
    """
    order: int | None = getattr(sampler, "order", None)
    return None if order is None else min(order, path.highest_order)


def stepped(sampler: Sampler) -> str:
    """The number of steps and the solver in words: ``in 20 steps of DPMSolver``."""
    return f"in {getattr(sampler, 'steps', 'some')} steps of {type(sampler).__name__}"


def settled(values: Sequence[tuple[Knot, Tensor]]) -> Tensor:
    """The limit of ``x_0(t)`` where the noise ends, by the line through its last two values in ``rho^2``.

        x_0 = x_0(t) + (x_0(t) - x_0(r)) / (rho_r^2 / rho_t^2 - 1)

    Along a trajectory of a density the denoised example is smooth in ``rho^2``, the time of the heat equation. So the
    error is of the order ``rho^4``, and not ``rho^2`` as that of the last value alone. For data without spread there is
    none.
    """
    (t, x_0), (r, before) = values[-1], values[max(len(values) - 2, 0)]
    return x_0 if r.t == t.t or r.alpha == 0 else x_0 + (x_0 - before) / ((r.relative / t.relative) ** 2 - 1)


@final
@dataclass(frozen=True)
class Euler(Solver):
    """``x_s = x_t + (s - t) v(x_t, t)``.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = VectorField
    order: ClassVar[int] = 1
    steps: int = 20

    def __call__(self, estimand: VectorField, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise(grid):
            x = x + (s.t - t.t) * evaluate(estimand, x, t.t, cond)
        return clean(estimand.path, x, evaluate(estimand, x, grid[-1].t, cond), grid[-1])


@final
@dataclass(frozen=True)
class Heun(Solver):
    """The trapezoidal rule with Euler's guess: ``x_s = x_t + (s - t) (v(x_t, t) + v(x~_s, s)) / 2``.

    Karras et al. 2022, algorithm 1 (https://arxiv.org/abs/2206.00364).

    Attributes:
        steps: times of the grid. There are ``2 steps - 1`` network evaluations.
    """

    needs: ClassVar[type[Estimand]] = VectorField
    order: ClassVar[int] = 2
    steps: int = 18

    def __call__(self, estimand: VectorField, noise: Noise, cond: Tensor | None = None) -> Tensor:
        path, grid = estimand.path, knots(estimand.path, self.steps)
        x, past = start(estimand, noise, grid[0]), _Past(maxlen=2)
        for t, s in itertools.pairwise(grid):
            v = evaluate(estimand, x, t.t, cond)
            past.append((t, clean(path, x, v, t)))
            v_s = evaluate(estimand, x + (s.t - t.t) * v, s.t, cond)
            x = x + (s.t - t.t) / 2 * (v + v_s)
        past.append((grid[-1], clean(path, x, evaluate(estimand, x, grid[-1].t, cond), grid[-1])))
        return settled(past)


@final
@dataclass(frozen=True)
class DDIM(Solver):
    """``x_s = alpha_s D + sigma_s eps_hat`` with ``eps_hat = (x_t - alpha_t D) / sigma_t``.

    Song, Meng, Ermon 2021 (https://arxiv.org/abs/2010.02502), without added noise. With ``clip``, the example is cut to
    ``[-clip, clip]`` and the noise is not, as published schedulers of pixels do.

    Attributes:
        steps: network evaluations.
        clip: the largest absolute value of the denoised example. ``None``: it is as the network says.
        clean: whether the last step removes all noise. Otherwise it ends at the first time of the path.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    order: ClassVar[int] = 1
    steps: int = 20
    clip: float | None = None
    clean: bool = True

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        for t, s in itertools.pairwise([*grid, end(estimand.path, self.clean)]):
            x_0 = evaluate(estimand, x, t.t, cond)
            x = towards(x_0, x, t, s)
            if self.clip is not None:
                x = x + s.alpha * (x_0.clamp(-self.clip, self.clip) - x_0)
        return x


@final
@dataclass(frozen=True)
class DPMSolver(Solver):
    """DPM-Solver++(2M): the denoiser is extrapolated linearly in ``lambda = log(alpha / sigma)``.

        x_s = (sigma_s / sigma_t) x_t + (alpha_s - alpha_t sigma_s / sigma_t) (D_t + (h / 2 h_last) (D_t - D_last))

    with ``h = lambda_s - lambda_t``. The first step is of first order. Lu et al. 2022
    (https://arxiv.org/abs/2211.01095). The last step to the clean end has infinite ``h``: it takes the limit of the
    denoiser (:func:`settled`), or with ``final_order = 1`` its last value, as the authors do.

    Attributes:
        steps: network evaluations.
        final_order: order of the last step, 2 or 1.
        clean: whether the last step removes all noise. Otherwise it ends at the first time of the path.

    Raises:
        ValueError: for another order of the last step than 1 or 2.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    order: ClassVar[int] = 2
    steps: int = 20
    final_order: int = 2
    clean: bool = True

    def __post_init__(self) -> None:
        """Refuse an order that the last step cannot have."""
        if self.final_order not in (1, 2):
            raise ValueError(f"final_order must be 1 or 2 for DPM-Solver++(2M), got {self.final_order}")

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        x_0 = last = evaluate(estimand, x, grid[0].t, cond)
        for i, (t, s) in enumerate(itertools.pairwise(grid)):
            x = towards(extrapolated(x_0, last, grid[max(i - 1, 0)], t, s), x, t, s)
            x_0, last = evaluate(estimand, x, s.t, cond), x_0
        t, before, final = grid[-1], grid[max(self.steps - 2, 0)], end(estimand.path, self.clean)
        if self.final_order == 2:
            x_0 = settled([(before, last), (t, x_0)]) if self.clean else extrapolated(x_0, last, before, t, final)
        return towards(x_0, x, t, final)


def extrapolated(x_0: Tensor, last: Tensor, r: Knot, t: Knot, s: Knot) -> Tensor:
    """``D_t + (h / 2 h_last) (D_t - D_r)``: the denoiser halfway from ``t`` to ``s``, by its line through ``r, t``."""
    ratio = 0.0 if r.t == t.t else (s.log_snr - t.log_snr) / (t.log_snr - r.log_snr)
    return x_0 + ratio / 2 * (x_0 - last)


@final
@dataclass(frozen=True)
class DPMSolver3(Solver):
    """DPM-Solver++(3M): the denoiser is a parabola in ``lambda`` through its last three values, integrated exactly.

        x_s = (sigma_s / sigma_t) x_t + alpha_s integral from lambda_t to lambda_s of e^(l - lambda_s) P(l) dl

    The first two steps are of first and second order. Lu et al. 2022 (https://arxiv.org/abs/2211.01095), section 4.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    order: ClassVar[int] = 3
    steps: int = 20

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return _multistep(estimand, noise, cond, self.steps, 3, corrects=False)


@final
@dataclass(frozen=True)
class UniPC(Solver):
    """A predictor of order ``p`` and a corrector of order ``p + 1`` with one evaluation a step.

    The predictor integrates the polynomial of the denoiser in ``lambda`` through its last ``p`` values. The corrector
    repeats the step with the value at the predicted ``x_s`` as one more node. The next step reuses that value, so
    nothing is evaluated twice. The order conditions of the paper are met exactly, so its function ``B(h)`` drops out.
    Zhao et al. 2023 (https://arxiv.org/abs/2302.04867).

    Attributes:
        steps: network evaluations.
        predictor: ``p``, 1 to 3.

    Raises:
        ValueError: for a predictor of another order than 1, 2 or 3.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    steps: int = 20
    predictor: int = 2

    def __post_init__(self) -> None:
        """Refuse orders at which extrapolation is unstable."""
        if not 1 <= self.predictor <= 3:
            raise ValueError(f"predictor must be 1, 2 or 3, got {self.predictor}")

    @property
    def order(self) -> int:
        """The order of the corrected step: ``p + 1``."""
        return self.predictor + 1

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return _multistep(estimand, noise, cond, self.steps, self.predictor, corrects=True)


@final
@dataclass(frozen=True)
class DEIS(Solver):
    """The noise is a polynomial in ``rho = sigma / alpha`` through its last values, integrated exactly.

        x_s = (alpha_s / alpha_t) x_t + alpha_s integral over (rho_t, rho_s) of P(rho) d rho

    This is the rule of Adams and Bashforth on an arbitrary grid. Zhang, Chen 2023, rho-AB-DEIS
    (https://arxiv.org/abs/2204.13902).

    Attributes:
        steps: network evaluations.
        order: number of values that the polynomial goes through, 1 (:class:`DDIM`) to 4. The first steps have fewer.

    Raises:
        ValueError: for another order than 1 to 4.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    steps: int = 20
    order: int = 3

    def __post_init__(self) -> None:
        """Refuse orders at which extrapolation is unstable."""
        if not 1 <= self.order <= 4:
            raise ValueError(f"order must be 1 to 4 for DEIS, got {self.order}")

    def __call__(self, estimand: Denoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        grid = knots(estimand.path, self.steps)
        x = start(estimand, noise, grid[0])
        past = _Past(maxlen=self.order)
        for t, s in itertools.pairwise([*grid, _CLEAN]):
            x_0 = evaluate(estimand, x, t.t, cond)
            past.append((t, (x - t.alpha * x_0) / t.sigma))
            x = towards(x_0, x, t, s) if len(past) == 1 or t.alpha == 0 else _along_rho(past, x, t, s)
        return x


def towards(x_0: Tensor, x_t: Tensor, t: Knot, s: Knot) -> Tensor:
    """``x_s = (sigma_s / sigma_t) x_t + (alpha_s - alpha_t sigma_s / sigma_t) x_0``: exact for a constant denoiser."""
    ratio = s.sigma / t.sigma
    return ratio * x_t + (s.alpha - t.alpha * ratio) * x_0


@torch.no_grad()
def trajectory(denoiser: Denoiser, x: Tensor, times: Tensor, cond: Tensor | None = None) -> Tensor:
    """The states of the probability-flow ODE at decreasing times, by DPM-Solver++(2M), ``(len(times), B, *event)``.

    The last step leads to the clean end, as in the samplers.

    Args:
        denoiser: the denoiser whose ODE is solved.
        x: states at the first time, ``(B, *event)``.
        times: decreasing, ``(K + 1,)``.
        cond: labels.
    """
    path, t64 = denoiser.path, times.double()
    grid = [Knot(*row) for row in torch.stack([t64, path.alpha(t64), path.sigma(t64)], 1).tolist()]
    states, before, last = [x], grid[0], x
    for i, (t, s) in enumerate(itertools.pairwise(grid)):
        x_0 = evaluate(denoiser, states[-1], t.t, cond)
        if i == len(grid) - 2:
            ahead = settled([(before, last), (t, x_0)])
        else:
            ahead = extrapolated(x_0, last, before, t, s) if i else x_0
        states.append(towards(ahead, states[-1], t, s))
        before, last = t, x_0
    return torch.stack(states)


def _multistep(estimand: Denoiser, noise: Noise, cond: Tensor | None, steps: int, order: int, corrects: bool) -> Tensor:
    """Steps by the polynomial through the last ``order`` values. If it ``corrects``, each twice, by its end's value."""
    grid = knots(estimand.path, steps)
    x = start(estimand, noise, grid[0])
    past = _Past([(grid[0], evaluate(estimand, x, grid[0].t, cond))], maxlen=max(order, 2))
    for t, s in itertools.pairwise(grid):
        latest = [*past][-order:]
        guess = _along_log_snr(latest, x, t, s)
        past.append((s, evaluate(estimand, guess, s.t, cond)))
        x = _along_log_snr([*latest, past[-1]], x, t, s) if corrects else guess
    return settled(past)


def _along_log_snr(values: Sequence[tuple[Knot, Tensor]], x: Tensor, t: Knot, s: Knot) -> Tensor:
    """``t -> s`` with the denoiser a polynomial in ``lambda``. Values at ``lambda = -inf`` have no part in it."""
    finite = [value for value in values if value[0].alpha > 0] or [values[-1]]
    if len(finite) == 1:
        return towards(finite[0][1], x, t, s)
    nodes = [knot.log_snr for knot, _ in finite]
    weights = _integrals(nodes, t.log_snr, s.log_snr, lambda u: np.exp(u - s.log_snr))
    return s.sigma / t.sigma * x + _sum(weights, finite, s.alpha)


def _along_rho(values: Sequence[tuple[Knot, Tensor]], x: Tensor, t: Knot, s: Knot) -> Tensor:
    """``t -> s`` with the noise a polynomial in ``rho``. Values at ``rho = inf`` have no part in it."""
    finite = [value for value in values if value[0].alpha > 0]
    weights = _integrals([knot.relative for knot, _ in finite], t.relative, s.relative, np.ones_like)
    return s.alpha / t.alpha * x + _sum(weights, finite, s.alpha)


def _sum(weights: Sequence[float], values: Sequence[tuple[Knot, Tensor]], scale: float) -> Tensor:
    """``scale sum_i w_i value_i``."""
    parts = [scale * w * value for w, (_, value) in zip(weights, values, strict=True)]
    return torch.stack(parts).sum(0)


GAUSS = np.polynomial.legendre.leggauss(24)
"""Places in (-1, 1) and weights of Gauss' rule."""


def _integrals(
    nodes: Sequence[float], low: float, high: float, weight: Callable[[np.ndarray], np.ndarray]
) -> list[float]:
    """``integral of weight(u) l_i(u) du`` over ``(low, high)`` for each Lagrange polynomial ``l_i``, by Gauss' rule.

    Exact to rounding for a weight of ``e^u`` over a few units of ``u``.
    """
    half = (high - low) / 2
    u = (low + high) / 2 + half * GAUSS[0]
    w = half * GAUSS[1] * weight(u)
    return [float((w * _lagrange(nodes, i, u)).sum()) for i in range(len(nodes))]


def _lagrange(nodes: Sequence[float], i: int, u: np.ndarray) -> np.ndarray:
    """The polynomial that is 1 at node ``i`` and 0 at the others."""
    factors = [(u - node) / (nodes[i] - node) for j, node in enumerate(nodes) if j != i]
    return np.prod(factors, axis=0)
