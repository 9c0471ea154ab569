"""Continuous flows: a vector field that carries data to noise, trained by the likelihood along its own ODE.

    dx/dt = v(x, t),     log p(x_0) = log N(x_1; 0, I) + integral of tr dv/dx dt

(Chen, Rubanova, Bettencourt, Duvenaud 2018, https://arxiv.org/abs/1806.07366). :class:`ContinuousLikelihood` estimates
the trace by random vectors (Grathwohl et al. 2019, FFJORD, https://arxiv.org/abs/1810.01367).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Batch, Estimand, Objective, Occasional, Term, forgetful
from fourfold.estimands import VectorField
from fourfold.likelihoods.ode import State, runge_kutta
from fourfold.maths.normal import standard_log_prob
from fourfold.maths.paths import RectifiedFlow
from fourfold.vocabulary import Cost, Principle

__all__ = ["ContinuousLikelihood", "FreeVelocity"]


@final
class FreeVelocity(VectorField):
    """``dx/dt = net(x, t)`` without a noise process: from data at ``t = 0`` to ``N(0, I)`` at ``t = 1``.

    The likelihood does not make it a conditional mean, so it does not determine a score (Chen et al. 2018,
    https://arxiv.org/abs/1806.07366).

    Args:
        net: ``v(x, t, cond)``, float32 in and out.
        event: shape of one encoded example.
    """

    cost: ClassVar[Cost | None] = Cost.STEPS

    def __init__(self, net: nn.Module, event: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.event, self.path = net, tuple(event), RectifiedFlow()

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x_t, 2 * t - 1, cond)


@final
class ContinuousTerm(Term):
    """The term of :class:`ContinuousLikelihood`. It watches ``inverse_error`` and ``kinetic``."""

    judges = True

    def __init__(self, estimand: VectorField, objective: ContinuousLikelihood) -> None:
        super().__init__([estimand])
        self.estimand, self.objective = estimand, objective
        self.inverse_error = Occasional(self._inverse_error)

    @torch.enable_grad()
    def forward(self, batch: Batch) -> Tensor:
        settings, cond = self.objective, forgetful(batch.cond, self.objective.label_dropout)
        signs = (torch.rand_like(batch.x) < 0.5) * 2.0 - 1
        z, log_det, energy = self._solved(batch.x, cond, signs)
        nats = log_det + standard_log_prob(z)
        error = self.inverse_error.latest(batch.x[:4], None if cond is None else cond[:4])
        self.watched = {"inverse_error": error, "kinetic": energy.detach().mean()}
        return (settings.kinetic * energy - nats) / math.prod(self.estimand.event)

    def _solved(self, x: Tensor, cond: Tensor | None, signs: Tensor) -> State:
        """``x_1`` and the integrals of the divergence and of ``||v||^2`` from ``x_0 = x``. Differentiable."""

        def slope(t: float, state: State) -> State:
            v = self.estimand(state[0], torch.full((len(x),), t, device=x.device), cond)
            (product,) = torch.autograd.grad(v, state[0], signs, create_graph=True)
            return v, (product * signs).flatten(1).sum(1), v.square().flatten(1).sum(1)

        zero, steps = x.new_zeros(len(x)), self.objective.steps
        state: State = (x.detach().requires_grad_(), zero, zero)
        for i in range(steps):
            state = runge_kutta(slope, state, i / steps, (i + 1) / steps)
        return state

    @torch.no_grad()
    def _inverse_error(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """The root mean square error of ``x`` after the way to noise and back, a scalar."""

        def slope(t: float, state: State) -> State:
            return (self.estimand(state[0], torch.full((len(x),), t, device=x.device), cond),)

        state: State = (x,)
        for t, s in itertools.pairwise([*range(self.objective.steps), *range(self.objective.steps, -1, -1)]):
            state = runge_kutta(slope, state, t / self.objective.steps, s / self.objective.steps)
        return (state[0] - x).square().mean().sqrt()


@final
class ContinuousLikelihood(Objective):
    """``min -E [log N(x_1) + integral of e^T (dv/dx) e dt] + kinetic · E integral of ||v||^2 dt``, along ``dx/dt = v``.

    One random sign vector ``e`` for each example and step of training makes the trace unbiased (Grathwohl et al. 2019,
    FFJORD, https://arxiv.org/abs/1810.01367). Gradients go through the Runge-Kutta steps. The kinetic term keeps
    trajectories straight enough for few steps (Finlay et al. 2020, https://arxiv.org/abs/2002.02798).

    Args:
        steps: solver steps, of four network evaluations each.
        kinetic: weight of the kinetic energy.
        label_dropout: share of labels that training hides.
    """

    learns: ClassVar[type[Estimand]] = VectorField
    principle = Principle.LIKELIHOOD
    summary = (
        "maximise the log-likelihood along the field's own ODE, with a random estimate of the trace and a penalty on"
        " the kinetic energy"
    )

    @property
    def formula(self) -> str:
        return f"min_θ −log N(x₁; 0, I) − ∫ tr ∂v_θ/∂x dt + {self.kinetic:g}·∫ ‖v_θ‖² dt,  dx/dt = v_θ(x, t)"

    def __init__(self, steps: int = 6, kinetic: float = 0.01, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.steps, self.kinetic, self.label_dropout = steps, kinetic, label_dropout

    def terms(self, estimand: VectorField) -> Mapping[str, Term]:
        return {"likelihood": ContinuousTerm(estimand, self)}
