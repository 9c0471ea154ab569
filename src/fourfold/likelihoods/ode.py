"""Likelihood along an ODE, for every paradigm that has a vector field."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Estimand, Likelihood, LogProb, Noise, Objective
from fourfold.estimands import VectorField, Velocity
from fourfold.paths import Path, time_at
from fourfold.vocabulary import Kind

__all__ = ["ProbabilityFlow", "log_snr_range"]

_CLEANEST, _NOISIEST = 7.0, -10.0
"""The range of log-SNR that stands for a path's noiseless or dataless end."""


def log_snr_range(path: Path) -> tuple[float, float]:
    """Lowest and highest log-SNR of a path, finite."""
    ends = torch.tensor([path.t_max, path.t_min], dtype=torch.float64)
    low, high = path.log_snr(ends).clamp(_NOISIEST, _CLEANEST).tolist()
    return low, high


def _log_normal(x: Tensor, sigma: float) -> Tensor:
    """``log N(x; 0, sigma^2 I)``, ``(B,)``."""
    flat = x.flatten(1)
    return -0.5 * (flat / sigma).square().sum(1) - flat.shape[1] * (math.log(sigma) + 0.5 * math.log(2 * math.pi))


@final
@dataclass(frozen=True)
class ProbabilityFlow(Likelihood):
    """``log p(x) = log p_T(x_T) + integral of div v(x_t, t) dt`` along ``dx/dt = v``, by the classical Runge-Kutta rule.

    The divergence is ``E_e[e^T (dv/dx) e]`` over random signs ``e``, drawn once for a trajectory (Grathwohl et al. 2019,
    https://arxiv.org/abs/1810.01367); its variance is over the probes. The solver's own error is told by the same estimate at
    half the steps, for the first ``FEW`` examples of a batch: of a rule of order four it is a fifteenth of the difference
    (Richardson 1911, https://doi.org/10.1098/rsta.1911.0009), which with too few steps falls short.
    Of a :class:`~fourfold.estimands.Velocity` the density is that of the data with the noise of the path's first level, and
    steps are even in log-SNR. Of another field it is that of the data, and steps are those of the path's grid.

    Attributes:
        steps: solver steps, of four network evaluations each.
        probes: random sign vectors, at least 2; ``None`` takes the exact trace, with one gradient per dimension.
    """

    needs: ClassVar[type[Estimand]] = VectorField
    kind = Kind.ESTIMATE
    FEW: ClassVar[int] = 8
    steps: int = 24
    probes: int | None = 4

    @property
    def summary(self) -> str:
        trace = "the exact trace" if self.probes is None else f"a trace estimated by {self.probes} random probes"
        return f"the change of variables along the ODE, in {self.steps} solver steps with {trace}"

    def __post_init__(self) -> None:
        """Refuse settings that give no standard error."""
        if self.steps < 1 or (self.probes is not None and self.probes < 2):
            raise ValueError("give at least 1 step and 2 probes (or probes=None for the exact trace)")

    def __call__(self, estimand: VectorField, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        signs = self._signs(batch.x, noise)
        nats = self._nats(estimand, batch, signs, self.steps)
        few = Batch(batch.x[: self.FEW], None if batch.cond is None else batch.cond[: self.FEW])
        halved = self._nats(estimand, few, signs[:, : self.FEW], self.steps // 2) if self.steps > 1 else math.nan
        half = float((halved - nats[:, : self.FEW]).mean())
        if self.probes is None:
            result = LogProb(nats[0], Kind.ESTIMATE, note=f"ODE, {self.steps} steps, exact trace")
        else:
            result = LogProb.of_draws(nats, Kind.ESTIMATE, f"ODE, {self.steps} steps, {self.probes} probes")
        return replace(result, solver_error=half / 15, half_steps=half)

    def _signs(self, x: Tensor, noise: Noise) -> Tensor:
        """Probes ``(k, B, *)``: random signs, or the unit vectors of which the sum is the trace."""
        if self.probes is None:
            return torch.eye(x[0].numel(), device=x.device).reshape(-1, 1, *x.shape[1:]).expand(-1, *x.shape)
        return torch.stack([(noise.uniform(*x.shape[1:]) < 0.5) * 2.0 - 1 for _ in range(self.probes)])

    def _nats(self, estimand: VectorField, batch: Batch, signs: Tensor, steps: int) -> Tensor:
        """The log-density by each probe, ``(k, B)``; by the exact trace, ``(1, B)``."""
        grid, alpha = _grid(estimand, steps)
        x, integral = alpha * batch.x, torch.zeros(len(batch.x), len(signs), device=batch.x.device)
        for t, s in itertools.pairwise(grid):
            x, change = _runge_kutta(estimand, x, t, s, batch.cond, signs)
            integral = integral + change
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


def _runge_kutta(
    v: VectorField, x: Tensor, t: float, s: float, cond: Tensor | None, signs: Tensor
) -> tuple[Tensor, Tensor]:
    """One step ``t -> s`` of the state and of each probe's integral of the divergence, ``(B, k)``."""
    h = s - t
    v_1, d_1 = _flow(v, x, t, cond, signs)
    v_2, d_2 = _flow(v, x + h / 2 * v_1, t + h / 2, cond, signs)
    v_3, d_3 = _flow(v, x + h / 2 * v_2, t + h / 2, cond, signs)
    v_4, d_4 = _flow(v, x + h * v_3, s, cond, signs)
    return x + h / 6 * (v_1 + 2 * v_2 + 2 * v_3 + v_4), h / 6 * (d_1 + 2 * d_2 + 2 * d_3 + d_4)


@torch.enable_grad()
def _flow(v: VectorField, x: Tensor, t: float, cond: Tensor | None, signs: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity, ``(B, *)``, and ``e^T (dv/dx) e`` of each probe, ``(B, k)``, without a graph."""
    x = x.detach().requires_grad_()
    out = v(x, torch.full((len(x),), t, device=x.device), cond)
    products = [torch.autograd.grad(out, x, e, retain_graph=True)[0] * e for e in signs]
    return out.detach(), torch.stack([p.flatten(1).sum(1) for p in products], 1)
