"""Likelihood along an ODE, for every paradigm that has a vector field."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Estimand, Likelihood, LogProb, Noise, Objective
from fourfold.estimands import VectorField, Velocity
from fourfold.maths.paths import Path, time_at
from fourfold.vocabulary import Kind

__all__ = ["ProbabilityFlow", "State", "log_snr_range", "runge_kutta"]

_CLEANEST, _NOISIEST = 7.0, -10.0
"""The highest and the lowest log-SNR that are used where a path ends without noise or without data."""


def log_snr_range(path: Path) -> tuple[float, float]:
    """Lowest and highest log-SNR of a path, finite."""
    ends = torch.tensor([path.t_max, path.t_min], dtype=torch.float64)
    low, high = path.log_snr(ends).clamp(_NOISIEST, _CLEANEST).tolist()
    return low, high


def _log_normal(x: Tensor, sigma: float) -> Tensor:
    """``log N(x; 0, sigma^2 I)``, ``(B,)``."""
    flat = x.flatten(1)
    return -0.5 * (flat / sigma).square().sum(1) - flat.shape[1] * (math.log(sigma) + 0.5 * math.log(2 * math.pi))


State = tuple[Tensor, ...]
"""The state of an ODE and integrals along its path, which are solved together."""


def runge_kutta(slope: Callable[[float, State], State], state: State, t: float, s: float) -> State:
    """One step ``t -> s`` of the classical rule: ``x_s = x_t + (s - t) (k_1 + 2 k_2 + 2 k_3 + k_4) / 6``.

    Kutta 1901, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen (Zeitschrift für Mathematik und
    Physik 46, 435-453).

    Args:
        slope: the derivatives at a time and a state.
        state: at ``t``.
        t: the time to start from.
        s: the time to end at.
    """
    h = s - t

    def moved(k: State, by: float) -> State:
        return tuple(x + by * dx for x, dx in zip(state, k, strict=True))

    k_1 = slope(t, state)
    k_2 = slope(t + h / 2, moved(k_1, h / 2))
    k_3 = slope(t + h / 2, moved(k_2, h / 2))
    k_4 = slope(s, moved(k_3, h))
    parts = zip(state, k_1, k_2, k_3, k_4, strict=True)
    return tuple(x + h / 6 * (a + 2 * b + 2 * c + d) for x, a, b, c, d in parts)


@final
@dataclass(frozen=True)
class ProbabilityFlow(Likelihood):
    """``log p(x) = log p_T(x_T) + integral of div v(x_t, t) dt`` along ``dx/dt = v``, by a Runge-Kutta rule.

    The divergence is ``E_e[e^T (dv/dx) e]`` over random signs ``e``, drawn once for a trajectory (Grathwohl et al.
    2019, https://arxiv.org/abs/1810.01367); the variance is that over the probes. The error of the solver is
    estimated on the first ``FEW`` examples of a batch, by solving again in half and in a quarter of the steps. If the
    second change ``d_2`` is ``r`` times the first, ``d_1``, in the mean and in absolute value, the error is ``d_1 / (r
    - 1)``, with ``r`` at most that of a rule of order four, 16 (Richardson 1911,
    https://doi.org/10.1098/rsta.1911.0009). Where ``r`` is below 2, or there are fewer than ``LEAST`` steps, the solver
    has not converged: the error is of unknown sign, and its size is reported as that of ``d_1``, which it may exceed.
    Changes below ``SMALL`` nats per value are small enough.

    For a :class:`~fourfold.estimands.Velocity` the density is that of the data with the noise of the path's first
    level, and steps are even in log-SNR. For another field it is that of the data, and steps are those of the path's
    grid.

    Attributes:
        steps: solver steps, of four network evaluations each.
        probes: random sign vectors, at least 2. ``None`` takes the exact trace, with one gradient per dimension.

    Raises:
        ValueError: for settings that give no standard error.
    """

    needs: ClassVar[type[Estimand]] = VectorField
    kind = Kind.ESTIMATE
    FEW: ClassVar[int] = 8
    LEAST: ClassVar[int] = 8
    SMALL: ClassVar[float] = 1e-3
    steps: int = 24
    probes: int | None = 4

    @property
    def summary(self) -> str:
        trace = "the exact trace" if self.probes is None else f"a trace estimated by {self.probes} random probes"
        return f"the change of variables along the ODE, in {self.steps} solver steps with {trace}"

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.probes is not None and self.probes < 2):
            raise ValueError(
                f"steps must be at least 1 and probes at least 2, got {self.steps} and {self.probes}: "
                "probes=None takes the exact trace"
            )

    def __call__(self, estimand: VectorField, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        signs = self._signs(batch.x, noise)
        nats = self._nats(estimand, batch, signs, self.steps)
        if self.probes is None:
            result = LogProb(nats[0], Kind.ESTIMATE, note=f"ODE, {self.steps} steps, exact trace")
        else:
            result = LogProb.of_draws(nats, Kind.ESTIMATE, f"ODE, {self.steps} steps, {self.probes} probes")
        few = Batch(batch.x[: self.FEW], None if batch.cond is None else batch.cond[: self.FEW])
        finest = nats[:, : self.FEW].mean(0)
        error, half, converged = self._solver_error(estimand, few, signs[:, : self.FEW], finest)
        return replace(result, solver_error=error, half_steps=half, converged=converged)

    def _solver_error(
        self, estimand: VectorField, few: Batch, signs: Tensor, finest: Tensor
    ) -> tuple[float, float, bool]:
        """The error of the mean of ``finest``, ``(FEW,)``, its change at half the steps, and whether that is sure."""
        if self.steps < 2:
            return math.nan, math.nan, False
        halved = self._nats(estimand, few, signs, self.steps // 2).mean(0)
        quarter = self._nats(estimand, few, signs, self.steps // 4).mean(0) if self.steps >= self.LEAST else halved
        first, second = (halved - finest).double(), (quarter - halved).double()
        half, size = float(first.mean()), float(first.abs().mean())
        ratio = min(float(second.mean()) / (half or 1e-12), float(second.abs().mean()) / (size or 1e-12), 16.0)
        if ratio >= 2 and self.steps >= self.LEAST:
            return half / (ratio - 1), half, True
        return size, half, size <= self.SMALL * few.x[0].numel() and self.steps >= self.LEAST

    def _signs(self, x: Tensor, noise: Noise) -> Tensor:
        """Probes ``(k, B, *)``: random signs, or the unit vectors of which the sum is the trace."""
        if self.probes is None:
            return torch.eye(x[0].numel(), device=x.device).reshape(-1, 1, *x.shape[1:]).expand(-1, *x.shape)
        return torch.stack([(noise.uniform(*x.shape[1:]) < 0.5) * 2.0 - 1 for _ in range(self.probes)])

    def _nats(self, estimand: VectorField, batch: Batch, signs: Tensor, steps: int) -> Tensor:
        """The log-density estimated by each probe, ``(k, B)``, or from the exact trace, ``(1, B)``."""
        grid, alpha = _grid(estimand, steps)

        def slope(t: float, state: State) -> State:
            return _flow(estimand, state[0], t, batch.cond, signs)

        state: State = (alpha * batch.x, torch.zeros(len(batch.x), len(signs), device=batch.x.device))
        for t, s in itertools.pairwise(grid):
            state = runge_kutta(slope, state, t, s)
        x, integral = state
        ends = _log_normal(x, float(estimand.path.sigma(torch.tensor(grid[-1])))) + x[0].numel() * math.log(alpha)
        return ends + (integral.sum(1)[None] if self.probes is None else integral.T)


def _grid(estimand: VectorField, steps: int) -> tuple[list[float], float]:
    """Rising times that end at the path's last, and the factor of the data at the first of them."""
    path = estimand.path
    if not isinstance(estimand, Velocity):
        return path.grid(steps).flip(0).tolist(), 1.0
    low, high = log_snr_range(path)
    times = time_at(path, torch.linspace(high, low, steps + 1, dtype=torch.float64))
    return [*times[:-1].tolist(), path.t_max], float(path.alpha(times[0]))


@torch.enable_grad()
def _flow(v: VectorField, x: Tensor, t: float, cond: Tensor | None, signs: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity, ``(B, *)``, and ``e^T (dv/dx) e`` of each probe, ``(B, k)``, without a graph."""
    x = x.detach().requires_grad_()
    out = v(x, torch.full((len(x),), t, device=x.device), cond)
    products = [torch.autograd.grad(out, x, e, retain_graph=True)[0] * e for e in signs]
    return out.detach(), torch.stack([p.flatten(1).sum(1) for p in products], 1)
