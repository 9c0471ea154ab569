"""Diffusion: a denoiser for every noise level, and an ODE or SDE that follows it from noise to data.

Several objectives learn the same function in different coordinates. :class:`Denoising` regresses the clean example
(Karras et al. 2022, https://arxiv.org/abs/2206.00364), :class:`FlowMatching` the velocity of straight lines between
data and noise (Lipman et al. 2023, https://arxiv.org/abs/2210.02747; Liu, Gong, Liu 2023,
https://arxiv.org/abs/2209.03003), and :class:`NoisePrediction` the noise (Ho, Jain, Abbeel 2020,
https://arxiv.org/abs/2006.11239). :class:`DenoisingScoreMatching` regresses the score (Vincent 2011);
:class:`ExplicitScoreMatching` (Hyvarinen 2005) and :class:`SlicedScoreMatching` (Song et al. 2019) learn it without a
target.

Through the views of :mod:`fourfold.estimands` every sampler runs on each of them, on any path: the VP, sub-VP and VE
equations of Song et al. 2021 (https://arxiv.org/abs/2011.13456) are recipes. The exception is
:class:`CoupledFlowMatching`, whose vector field does not determine a score. Two likelihoods are in
:mod:`fourfold.likelihoods`: ``ProbabilityFlow``, an estimate along the ODE, and ``DiffusionBound``, a lower bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Estimand, SingleLoss, forgetful
from fourfold.distributions.times import LogitNormal, Times, Uniform, log_normal, watched_by_noise
from fourfold.estimands import Denoiser, NoisePredictor, Score, VectorField, Velocity
from fourfold.machine.libraries import scipy
from fourfold.maths.paths import broadcast
from fourfold.vocabulary import Principle

__all__ = [
    "CoupledFlowMatching",
    "Coupling",
    "Denoising",
    "DenoisingScoreMatching",
    "ExplicitScoreMatching",
    "FlowMatching",
    "Independent",
    "NoisePrediction",
    "OptimalTransport",
    "SlicedScoreMatching",
]


UNIFORM = Uniform()


# --- the clean example ------------------------------------------------------------------------------------------------


@final
class Denoising(SingleLoss):
    """``E w(s) ||D(alpha x + sigma eps, t) - x||^2 / dims`` with ``s = sigma / alpha``, ``log s ~ N(mean, std^2)``.

    ``w(s) = 1 / s^2 + 1 / sigma_data^2`` makes the loss of an untrained
    :class:`~fourfold.estimands.preconditioned.Preconditioned` network 1 at every noise level (Karras et al. 2022,
    https://arxiv.org/abs/2206.00364).

    Args:
        mean, std: mean and standard deviation of the logarithm of the relative noise level, which is stratified over
            the batch.
        sigma_data: root mean square of the data.
        label_dropout: share of labels that training hides, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Denoiser
    principle = Principle.DENOISING
    summary = "regress the clean example from a noised one, at every noise level"
    formula = "min_θ E_t,x,ε  w(t)·‖D_θ(α_t x + σ_t ε, t) − x‖²,  w = (α_t/σ_t)² + 1/σ_data²"
    term, judges = "denoising", True

    def __init__(
        self, mean: float = -1.2, std: float = 1.2, sigma_data: float = 0.5, label_dropout: float = 0.1
    ) -> None:
        super().__init__(label_dropout)
        self.mean, self.std, self.sigma_data = mean, std, sigma_data

    def loss(self, estimand: Denoiser, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        log_sigma, t = log_normal(estimand.path, self.mean, self.std, len(batch.x), batch.x.device)
        x_t = estimand.path.noised(batch.x, torch.randn_like(batch.x), t)
        error = estimand(x_t, t, forgetful(batch.cond, self.label_dropout)) - batch.x
        weight = self.sigma_data**-2 + torch.exp(-2 * log_sigma)
        loss = weight * error.float().square().flatten(1).mean(1)
        return loss, watched_by_noise(loss)


# --- the velocity -----------------------------------------------------------------------------------------------------


class MatchingFlow(SingleLoss):
    """``E ||v(x_t, t) - (alpha'_t x + sigma'_t eps)||^2 / dims``. A subclass says which times and which noise.

    Attributes:
        times: the law of the times.
        coupling: pairs the examples and the noise of a batch.
    """

    principle = Principle.DENOISING
    term, judges = "flow-matching", True
    times: Times
    coupling: Coupling

    def loss(self, estimand: VectorField, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        path = estimand.path
        t = self.times(path, len(batch.x), batch.x.device)
        eps = self.coupling(batch.x, torch.randn_like(batch.x), batch.cond)
        x_t = path.noised(batch.x, eps, t)
        target = broadcast(path.d_alpha(t), eps) * batch.x + broadcast(path.d_sigma(t), eps) * eps
        error = estimand(x_t, t, forgetful(batch.cond, self.label_dropout)) - target
        loss = error.float().square().flatten(1).mean(1)
        return loss, watched_by_noise(loss)


@final
class FlowMatching(MatchingFlow):
    """``E ||v(x_t, t) - (alpha'_t x + sigma'_t eps)||^2 / dims``, with logit-normal times.

    On :class:`~fourfold.maths.paths.RectifiedFlow` the target is ``eps - x``. Lipman et al. 2023
    (https://arxiv.org/abs/2210.02747); times of Esser et al. 2024 (https://arxiv.org/abs/2403.03206).

    Args:
        mean, std: mean and standard deviation of the logit of the time, which is stratified over the batch.
        label_dropout: share of labels that training hides, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Velocity
    summary = "regress the velocity of the path from data to noise, at every noise level (flow matching)"
    formula = "min_θ E_t,x,ε ‖v_θ(x_t, t) − (α′_t x + σ′_t ε)‖²,  x_t = α_t x + σ_t ε"

    def __init__(self, mean: float = 0.0, std: float = 1.0, label_dropout: float = 0.1) -> None:
        super().__init__(label_dropout)
        self.times, self.coupling = LogitNormal(mean, std), Independent()


class Coupling(ABC):
    """A rule that pairs the examples of a batch with noise: a frozen dataclass."""

    summary: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, x: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
        """The rows of ``eps`` in another order, ``(B, *event)``, for examples ``x`` with labels ``cond``."""


@final
@dataclass(frozen=True)
class Independent(Coupling):
    """Any noise goes with any example."""

    summary: ClassVar[str] = "noise drawn independently"

    def __call__(self, x: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
        return eps


@final
@dataclass(frozen=True)
class OptimalTransport(Coupling):
    """The permutation ``pi`` of the noise with the least ``sum_i ||x_i - eps_pi(i)||^2``, exactly.

    Lines between data and noise then hardly cross, so the field bends less and a solver needs fewer steps. Examples are
    assigned within their label, so that the noise is ``N(0, I)`` given the label too. Pooladian et al. 2023
    (https://arxiv.org/abs/2304.14772); Tong et al. 2024 (https://arxiv.org/abs/2302.00482).

    Attributes:
        minibatch: the largest number of examples that are assigned at once. The time grows with its cube.
    """

    summary: ClassVar[str] = "the noise that optimal transport assigns to them within a batch"
    minibatch: int = 128

    @torch.no_grad()
    def __call__(self, x: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
        label = torch.zeros(len(x)) if cond is None else torch.unique(cond, dim=0, return_inverse=True)[1]
        coupled = eps.clone()
        for k in label.unique():
            for rows in (label == k).nonzero()[:, 0].split(self.minibatch):
                cost = torch.cdist(x[rows].flatten(1).double(), eps[rows].flatten(1).double()).square()
                _, nearest = scipy.optimize.linear_sum_assignment(cost.cpu().numpy())
                coupled[rows] = eps[rows[torch.from_numpy(nearest).to(rows.device)]]
        return coupled


@final
class CoupledFlowMatching(MatchingFlow):
    """``E ||v(x_t, t) - (alpha'_t x + sigma'_t eps)||^2 / dims`` over pairs ``(x, eps)`` of a coupling.

    ``v`` is the mean velocity of the lines through ``x_t``. Like the velocity of :class:`FlowMatching` it carries noise
    to data. But where the noise depends on the data it does not determine the score, so the objective learns a vector
    field only.

    Args:
        coupling: pairs the examples and the noise of a batch.
        times: the law of the times.
        label_dropout: share of labels that training hides, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = VectorField
    formula = "min_θ E_t,(x,ε)~π ‖v_θ(x_t, t) − (α′_t x + σ′_t ε)‖²,  x_t = α_t x + σ_t ε"

    def __init__(
        self, coupling: Coupling = OptimalTransport(), times: Times = UNIFORM, label_dropout: float = 0.1
    ) -> None:
        super().__init__(label_dropout)
        self.coupling, self.times = coupling, times

    @property
    def summary(self) -> str:
        return f"regress the velocity of lines from examples to {self.coupling.summary}"


# --- the noise --------------------------------------------------------------------------------------------------------


@final
class NoisePrediction(SingleLoss):
    """``E ||eps_hat(x_t, t) - eps||^2 / dims`` over times uniform on the path.

    Ho, Jain, Abbeel 2020, eq. 14 (https://arxiv.org/abs/2006.11239).
    """

    learns: ClassVar[type[Estimand]] = NoisePredictor
    principle = Principle.DENOISING
    summary = "regress the noise from a noised example, at every noise level"
    formula = "min_θ E_t,x,ε ‖ε_θ(α_t x + σ_t ε, t) − ε‖²"
    term, judges = "noise", True

    def loss(self, estimand: NoisePredictor, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        t = UNIFORM(estimand.path, len(batch.x), batch.x.device)
        eps = torch.randn_like(batch.x)
        x_t = estimand.path.noised(batch.x, eps, t)
        error = estimand(x_t, t, forgetful(batch.cond, self.label_dropout)) - eps
        loss = error.float().square().flatten(1).mean(1)
        return loss, watched_by_noise(loss)


# --- the score --------------------------------------------------------------------------------------------------------


class MatchingScore(SingleLoss):
    """``sigma_t^2 excess(s, x_t, eps / sigma_t) / dims`` at times uniform on the path."""

    learns: ClassVar[type[Estimand]] = Score
    judges = True

    @abstractmethod
    def excess(self, s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
        """A number ``(B,)`` whose mean is that of ``||s - grad log p_t||^2`` plus a constant.

        Args:
            s: ``s(x_t)``.
            x_t: the noised examples.
            relative: ``eps / sigma_t``.
        """

    @torch.enable_grad()
    def loss(self, estimand: Score, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        t = UNIFORM(estimand.path, len(batch.x), batch.x.device)
        eps, sigma = torch.randn_like(batch.x), estimand.path.sigma(t)
        x_t = estimand.path.noised(batch.x, eps, t).detach().requires_grad_()
        s = estimand(x_t, t, forgetful(batch.cond, self.label_dropout))
        loss = sigma**2 * self.excess(s, x_t, eps / broadcast(sigma, eps)) / batch.x[0].numel()
        return loss.float(), watched_by_noise(loss)


@final
class DenoisingScoreMatching(MatchingScore):
    """``E sigma_t^2 ||s(x_t, t) + eps / sigma_t||^2 / dims`` over times uniform on the path.

    Vincent 2011, A Connection Between Score Matching and Denoising Autoencoders
    (https://doi.org/10.1162/NECO_a_00142); weights of Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """

    principle = Principle.DENOISING
    summary = "regress the score of the added noise from a noised example (denoising score matching)"
    formula = "min_θ E_t,x,ε  σ_t²·‖s_θ(α_t x + σ_t ε, t) + ε/σ_t‖²"
    term = "denoising-score"

    def excess(self, s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
        """``||s + eps / sigma||^2``, ``(B,)``."""
        return (s + relative).square().flatten(1).sum(1)


@final
class ExplicitScoreMatching(MatchingScore):
    """``E sigma_t^2 (||s||^2 + 2 tr ds/dx) / dims``: the error of the score, by partial integration.

    It takes one gradient per dimension and step, so it suits few dimensions. Hyvarinen 2005, Estimation of
    Non-Normalized Statistical Models by Score Matching (https://www.jmlr.org/papers/v6/hyvarinen05a.html), at every
    noise level.
    """

    principle = Principle.SCORE_MATCHING
    summary = (
        "fit the score of the noised data without a target, by its norm and its divergence (explicit score matching)"
    )
    formula = "min_θ E_t,x,ε  σ_t²·(‖s_θ(x_t, t)‖² + 2·tr ∂s_θ/∂x)"
    term = "explicit-score"

    def excess(self, s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
        """``||s||^2 + 2 tr ds/dx``, ``(B,)``, by one gradient per dimension."""
        parts = s.flatten(1).unbind(1)
        diagonal = [
            torch.autograd.grad(part.sum(), x_t, create_graph=True)[0].flatten(1)[:, i] for i, part in enumerate(parts)
        ]
        return s.square().flatten(1).sum(1) + 2 * torch.stack(diagonal, 1).sum(1)


@final
class SlicedScoreMatching(MatchingScore):
    """``E sigma_t^2 (||s||^2 + 2 v^T (ds/dx) v) / dims`` with random signs ``v``: one gradient for any dimension.

    Without ``reduced`` the first part is sliced too, ``(v^T s)^2``, which has the same mean and more variance. Song,
    Garg, Shi, Ermon 2019, eq. 8 and 9 (https://arxiv.org/abs/1905.07088), at every noise level.

    Args:
        reduced: whether to take the form with less variance.
        label_dropout: share of labels that training hides, for classifier-free guidance.
    """

    principle = Principle.SCORE_MATCHING
    summary = "fit the score of the noised data without a target, along random directions (sliced score matching)"
    formula = "min_θ E_t,x,ε,v  σ_t²·(‖s_θ(x_t, t)‖² + 2·vᵀ(∂s_θ/∂x)v)"
    term = "sliced-score"

    def __init__(self, reduced: bool = True, label_dropout: float = 0.1) -> None:
        super().__init__(label_dropout)
        self.reduced = reduced

    def excess(self, s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
        """``||s||^2 + 2 v^T (ds/dx) v`` for random signs ``v``, ``(B,)``. Not reduced: ``(v^T s)^2`` comes first."""
        v = torch.randint_like(s, 2) * 2 - 1
        along = (v * s).flatten(1).sum(1)
        (gradient,) = torch.autograd.grad(along.sum(), x_t, create_graph=True)
        square = s.square().flatten(1).sum(1) if self.reduced else along.square()
        return square + 2 * (v * gradient).flatten(1).sum(1)
