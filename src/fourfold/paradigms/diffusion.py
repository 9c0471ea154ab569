"""Diffusion: a denoiser of every noise level, and an ODE or SDE from noise to data that follows it.

Several objectives learn the same thing in other coordinates: :class:`Denoising` regresses the clean example with the
preconditioning of Karras et al. 2022 (https://arxiv.org/abs/2206.00364), :class:`FlowMatching` the velocity of straight
lines between data and noise (Lipman et al. 2023, https://arxiv.org/abs/2210.02747; Liu, Gong, Liu 2023,
https://arxiv.org/abs/2209.03003), :class:`NoisePrediction` the noise (Ho, Jain, Abbeel 2020,
https://arxiv.org/abs/2006.11239). The score is learned by :class:`DenoisingScoreMatching` (Vincent 2011), or without a
target by :class:`ExplicitScoreMatching` (Hyvarinen 2005) and :class:`SlicedScoreMatching` (Song et al. 2019). Any sampler
runs on each, through the views of :mod:`fourfold.estimands`, and on any path: the VP, sub-VP and VE equations of Song et
al. 2021 are recipes.

There are two likelihoods: :class:`ProbabilityFlow`, an estimate by the change of variables along the ODE (Song et al.
2021, https://arxiv.org/abs/2011.13456), and :class:`DiffusionBound` (Kingma et al. 2021,
https://arxiv.org/abs/2107.00630).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import (
    Batch,
    Estimand,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Term,
    forgetful,
)
from fourfold.estimands import Denoiser, NoisePredictor, Score, VectorField, Velocity
from fourfold.likelihoods.ode import ProbabilityFlow, log_snr_range
from fourfold.paths import Path, broadcast, time_at
from fourfold.vocabulary import Kind, Principle

__all__ = [
    "CoupledFlowMatching",
    "Coupling",
    "Denoising",
    "DenoisingScoreMatching",
    "DiffusionBound",
    "ExplicitScoreMatching",
    "FlowMatching",
    "Independent",
    "LogitNormal",
    "NetworkField",
    "NetworkNoise",
    "NetworkScore",
    "NetworkVelocity",
    "NoisePrediction",
    "OptimalTransport",
    "Preconditioned",
    "ProbabilityFlow",
    "SlicedScoreMatching",
    "Times",
    "Uniform",
    "noise_level",
    "normal_quantile",
    "quantiles",
    "total_scale",
    "watched_by_noise",
]


# --- estimands --------------------------------------------------------------------------------------------------------


def noise_level(path: Path, t: Tensor) -> Tensor:
    """``log(sigma_t / alpha_t) / 4``: what networks take for the time, of order one, ``(B,)``."""
    return -path.log_snr(t).clamp(-10, 10) / 4


def total_scale(path: Path, t: Tensor, sigma_data: float) -> Tensor:
    """``sqrt(alpha_t^2 sigma_data^2 + sigma_t^2)``: the root mean square of ``x_t``, ``(B,)``."""
    return torch.sqrt((path.alpha(t) * sigma_data) ** 2 + path.sigma(t) ** 2)


@final
class Preconditioned(Denoiser):
    """``D(x_t, t) = c_skip x_t + c_out F(c_in x_t, c_noise)`` for a network ``F`` with inputs and targets of order one.

    With ``r^2 = alpha^2 sigma_data^2 + sigma^2``: ``c_in = 1 / r``, ``c_skip = alpha sigma_data^2 / r^2``,
    ``c_out = sigma sigma_data / r``, ``c_noise = log(sigma / alpha) / 4`` (Karras et al. 2022, table 1, for any path).

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process.
        sigma_data: root mean square of the data.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        r = total_scale(self.path, t, self.sigma_data)
        c_skip = self.path.alpha(t) * self.sigma_data**2 / r**2
        c_out = self.path.sigma(t) * self.sigma_data / r
        f = self.net(x_t * broadcast(1 / r, x_t), noise_level(self.path, t), cond)
        return broadcast(c_skip, x_t) * x_t + broadcast(c_out, x_t) * f


@final
class NetworkVelocity(Velocity):
    """``v(x_t, t) = F(x_t / r, c_noise)`` with ``r`` the root mean square of ``x_t``.

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process.
        sigma_data: root mean square of the data.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        r = total_scale(self.path, t, self.sigma_data)
        return self.net(x_t * broadcast(1 / r, x_t), noise_level(self.path, t), cond)


@final
class NetworkField(VectorField):
    """``v(x_t, t) = F(x_t / r, tau)`` with ``r`` the root mean square of ``x_t`` and ``tau`` the time in [-1, 1].

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the time axis.
        sigma_data: root mean square of the data.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        r = total_scale(self.path, t, self.sigma_data)
        tau = 2 * (t - self.path.t_min) / (self.path.t_max - self.path.t_min) - 1
        return self.net(x_t * broadcast(1 / r, x_t), tau, cond)


@final
class NetworkNoise(NoisePredictor):
    """``eps_hat(x_t, t) = (sigma / r^2) x_t + (alpha sigma_data / r) F(x_t / r, c_noise)``.

    With ``r^2 = alpha^2 sigma_data^2 + sigma^2`` the first part is the best linear guess and the second of the size of
    what it leaves: the noise of a :class:`Preconditioned` denoiser, up to the sign of ``F``.

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process.
        sigma_data: root mean square of the data.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return _network_noise(self.net, self.path, self.sigma_data, x_t, t, cond)


@final
class NetworkScore(Score):
    """``s(x_t, t) = -eps_hat / sigma`` with the noise of :class:`NetworkNoise`.

    Args:
        net: ``F(x, tau, cond)``, float32 in and out.
        event: shape of one encoded example.
        path: the noise process.
        sigma_data: root mean square of the data.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...], path: Path, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.event, self.path, self.sigma_data = net, tuple(event), path, sigma_data

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        eps = _network_noise(self.net, self.path, self.sigma_data, x_t, t, cond)
        return -eps / broadcast(self.path.sigma(t), x_t)


def _network_noise(
    net: nn.Module, path: Path, sigma_data: float, x_t: Tensor, t: Tensor, cond: Tensor | None
) -> Tensor:
    """The formula of :class:`NetworkNoise`, ``(B, *event)``."""
    r = total_scale(path, t, sigma_data)
    f = net(x_t * broadcast(1 / r, x_t), noise_level(path, t), cond)
    return broadcast(path.sigma(t) / r**2, x_t) * x_t + broadcast(path.alpha(t) * sigma_data / r, x_t) * f


# --- objectives: laws of time and couplings ---------------------------------------------------------------------------


def quantiles(n: int, device: torch.device) -> Tensor:
    """One uniform draw in each of ``n`` equal parts of (0, 1), in order: less variance than ``n`` free draws."""
    parts = torch.arange(n, device=device, dtype=torch.float32)
    return ((parts + torch.rand(n, device=device)) / n).clamp(1e-6, 1 - 1e-6)


def normal_quantile(u: Tensor) -> Tensor:
    """The inverse of the standard normal distribution function."""
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


class Times(ABC):
    """The law of the times that training draws: a frozen dataclass."""

    @abstractmethod
    def __call__(self, path: Path, n: int, device: torch.device) -> Tensor:
        """``n`` times of a path, rising and stratified, ``(n,)`` float32."""


@final
@dataclass(frozen=True)
class Uniform(Times):
    """Uniform over the path."""

    def __call__(self, path: Path, n: int, device: torch.device) -> Tensor:
        return path.t_min + (path.t_max - path.t_min) * quantiles(n, device)


@final
@dataclass(frozen=True)
class LogitNormal(Times):
    """``logit t ~ N(mean, std^2)`` with ``t`` scaled to [0, 1]: more times in the middle (Esser et al. 2024).

    Paper: https://arxiv.org/abs/2403.03206
    """

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, path: Path, n: int, device: torch.device) -> Tensor:
        share = torch.sigmoid(self.mean + self.std * normal_quantile(quantiles(n, device)))
        return path.t_min + (path.t_max - path.t_min) * share


class Coupling(ABC):
    """Which noise goes with which example of a batch: a frozen dataclass."""

    summary: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, x: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
        """The rows of ``eps`` in another order, ``(B, *event)``, for examples ``x`` with labels ``cond``."""


@final
@dataclass(frozen=True)
class Independent(Coupling):
    """Any noise with any example."""

    summary: ClassVar[str] = "noise drawn independently"

    def __call__(self, x: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
        return eps


@final
@dataclass(frozen=True)
class OptimalTransport(Coupling):
    """The permutation of the noise that is nearest to the examples: least ``sum_i ||x_i - eps_pi(i)||^2``, exactly.

    Lines between data and noise then hardly cross, so the field bends less and few steps follow it. Examples are assigned
    among those of their own label, so that the noise is ``N(0, I)`` given the label too. Pooladian et al. 2023
    (https://arxiv.org/abs/2304.14772); Tong et al. 2024 (https://arxiv.org/abs/2302.00482).

    Attributes:
        minibatch: how many examples are assigned at once at most; the time grows with its cube.
    """

    summary: ClassVar[str] = "the noise that optimal transport assigns to them within a batch"
    minibatch: int = 128

    @torch.no_grad()
    def __call__(self, x: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
        from scipy.optimize import linear_sum_assignment

        label = torch.zeros(len(x)) if cond is None else torch.unique(cond, dim=0, return_inverse=True)[1]
        coupled = eps.clone()
        for k in label.unique():
            for rows in (label == k).nonzero()[:, 0].split(self.minibatch):
                cost = torch.cdist(x[rows].flatten(1).double(), eps[rows].flatten(1).double()).square()
                _, nearest = linear_sum_assignment(cost.cpu().numpy())
                coupled[rows] = eps[rows[torch.from_numpy(nearest).to(rows.device)]]
        return coupled


# --- objectives -------------------------------------------------------------------------------------------------------


def watched_by_noise(loss: Tensor) -> dict[str, Tensor]:
    """The mean loss of the lower and of the upper half of the noise levels, of losses in order of noise."""
    low, high = loss.detach().tensor_split(2)
    return {"loss_low_noise": low.mean(), "loss_high_noise": high.mean()} if len(loss) > 1 else {}


@final
class DenoisingTerm(Term):
    """See :class:`Denoising`."""

    judges: ClassVar[bool] = True

    def __init__(self, estimand: Denoiser, mean: float, std: float, sigma_data: float, label_dropout: float) -> None:
        super().__init__([estimand])
        self.estimand, self.mean, self.std = estimand, mean, std
        self.sigma_data, self.label_dropout = sigma_data, label_dropout

    def forward(self, batch: Batch) -> Tensor:
        path: Path = self.estimand.path
        log_sigma = self.mean + self.std * normal_quantile(quantiles(len(batch.x), batch.x.device))
        t = time_at(path, -log_sigma).float()
        x_t = path.noised(batch.x, torch.randn_like(batch.x), t)
        error = self.estimand(x_t, t, forgetful(batch.cond, self.label_dropout)) - batch.x
        weight = self.sigma_data**-2 + torch.exp(-2 * log_sigma)
        loss = weight * error.float().square().flatten(1).mean(1)
        self.watched = watched_by_noise(loss)
        return loss


@final
class Denoising(Objective):
    """``E w(s) ||D(alpha x + sigma eps, t) - x||^2 / dims`` with ``s = sigma / alpha``, ``log s ~ N(mean, std^2)``.

    ``w(s) = 1 / s^2 + 1 / sigma_data^2`` makes the loss of an untrained :class:`Preconditioned` network one at every level.

    Args:
        mean, std: of the logarithm of the relative noise level; its draws are stratified over the batch.
        sigma_data: root mean square of the data.
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Denoiser
    principle = Principle.DENOISING
    summary = "regress the clean example from a noised one, at every noise level"
    formula = "min_θ E_t,x,ε  w(t)·‖D_θ(α_t x + σ_t ε, t) − x‖²,  w = (α_t/σ_t)² + 1/σ_data²"

    def __init__(
        self, mean: float = -1.2, std: float = 1.2, sigma_data: float = 0.5, label_dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.mean, self.std, self.sigma_data, self.label_dropout = mean, std, sigma_data, label_dropout

    def terms(self, estimand: Denoiser) -> Mapping[str, Term]:
        return {"denoising": DenoisingTerm(estimand, self.mean, self.std, self.sigma_data, self.label_dropout)}


@final
class FlowMatchingTerm(Term):
    """See :class:`FlowMatching` and :class:`CoupledFlowMatching`."""

    judges: ClassVar[bool] = True

    def __init__(self, estimand: VectorField, times: Times, coupling: Coupling, label_dropout: float) -> None:
        super().__init__([estimand])
        self.estimand, self.times, self.coupling, self.label_dropout = estimand, times, coupling, label_dropout

    def forward(self, batch: Batch) -> Tensor:
        path: Path = self.estimand.path
        t = self.times(path, len(batch.x), batch.x.device)
        eps = self.coupling(batch.x, torch.randn_like(batch.x), batch.cond)
        x_t = path.noised(batch.x, eps, t)
        target = broadcast(path.d_alpha(t), eps) * batch.x + broadcast(path.d_sigma(t), eps) * eps
        error = self.estimand(x_t, t, forgetful(batch.cond, self.label_dropout)) - target
        loss = error.float().square().flatten(1).mean(1)
        self.watched = watched_by_noise(loss)
        return loss


@final
class FlowMatching(Objective):
    """``E ||v(x_t, t) - (alpha'_t x + sigma'_t eps)||^2 / dims``, with logit-normal times.

    On :class:`~fourfold.paths.RectifiedFlow` the target is ``eps - x``. Times: Esser et al. 2024
    (https://arxiv.org/abs/2403.03206).

    Args:
        mean, std: of the logit of the time; its draws are stratified over the batch.
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Velocity
    principle = Principle.DENOISING
    summary = "regress the velocity of the path from data to noise, at every noise level (flow matching)"
    formula = "min_θ E_t,x,ε ‖v_θ(x_t, t) − (α′_t x + σ′_t ε)‖²,  x_t = α_t x + σ_t ε"

    def __init__(self, mean: float = 0.0, std: float = 1.0, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.mean, self.std, self.label_dropout = mean, std, label_dropout

    def terms(self, estimand: Velocity) -> Mapping[str, Term]:
        times = LogitNormal(self.mean, self.std)
        return {"flow-matching": FlowMatchingTerm(estimand, times, Independent(), self.label_dropout)}


@final
class CoupledFlowMatching(Objective):
    """``E ||v(x_t, t) - (alpha'_t x + sigma'_t eps)||^2 / dims`` over pairs ``(x, eps)`` of a coupling.

    ``v`` is the mean velocity of the lines through ``x_t``. It carries noise to data as the one of :class:`FlowMatching` does,
    but with noise that depends on the data it tells no score, so what is learned is a vector field and no more.

    Args:
        coupling: of the examples and the noise of a batch.
        times: their law.
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = VectorField
    principle = Principle.DENOISING
    formula = "min_θ E_t,(x,ε)~π ‖v_θ(x_t, t) − (α′_t x + σ′_t ε)‖²,  x_t = α_t x + σ_t ε"

    def __init__(
        self, coupling: Coupling = OptimalTransport(), times: Times = Uniform(), label_dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.coupling, self.times, self.label_dropout = coupling, times, label_dropout

    @property
    def summary(self) -> str:
        return f"regress the velocity of lines from examples to {self.coupling.summary}"

    def terms(self, estimand: VectorField) -> Mapping[str, Term]:
        return {"flow-matching": FlowMatchingTerm(estimand, self.times, self.coupling, self.label_dropout)}


@final
class NoisePredictionTerm(Term):
    """See :class:`NoisePrediction`."""

    judges: ClassVar[bool] = True

    def __init__(self, estimand: NoisePredictor, label_dropout: float) -> None:
        super().__init__([estimand])
        self.estimand, self.label_dropout = estimand, label_dropout

    def forward(self, batch: Batch) -> Tensor:
        t = Uniform()(self.estimand.path, len(batch.x), batch.x.device)
        eps = torch.randn_like(batch.x)
        x_t = self.estimand.path.noised(batch.x, eps, t)
        error = self.estimand(x_t, t, forgetful(batch.cond, self.label_dropout)) - eps
        loss = error.float().square().flatten(1).mean(1)
        self.watched = watched_by_noise(loss)
        return loss


@final
class NoisePrediction(Objective):
    """``E ||eps_hat(x_t, t) - eps||^2 / dims`` over times uniform on the path.

    Ho, Jain, Abbeel 2020, eq. 14 (https://arxiv.org/abs/2006.11239).

    Args:
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = NoisePredictor
    principle = Principle.DENOISING
    summary = "regress the noise from a noised example, at every noise level"
    formula = "min_θ E_t,x,ε ‖ε_θ(α_t x + σ_t ε, t) − ε‖²"

    def __init__(self, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.label_dropout = label_dropout

    def terms(self, estimand: NoisePredictor) -> Mapping[str, Term]:
        return {"noise": NoisePredictionTerm(estimand, self.label_dropout)}


_Excess = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps the score at ``x_t``, ``x_t`` and ``eps / sigma_t`` to ``||s - grad log p_t||^2`` of each, up to a constant, ``(B,)``."""


@final
class ScoreTerm(Term):
    """``sigma_t^2 excess(s, x_t, eps / sigma_t) / dims`` at times uniform on the path: see the objectives that learn scores.

    Args:
        estimand: the score that is learned.
        label_dropout: share of labels hidden.
        excess: what is minimised in expectation by the true score.
    """

    judges: ClassVar[bool] = True

    def __init__(self, estimand: Score, label_dropout: float, excess: _Excess) -> None:
        super().__init__([estimand])
        self.estimand, self.label_dropout, self.excess = estimand, label_dropout, excess

    @torch.enable_grad()
    def forward(self, batch: Batch) -> Tensor:
        t = Uniform()(self.estimand.path, len(batch.x), batch.x.device)
        eps, sigma = torch.randn_like(batch.x), self.estimand.path.sigma(t)
        x_t = self.estimand.path.noised(batch.x, eps, t).detach().requires_grad_()
        s = self.estimand(x_t, t, forgetful(batch.cond, self.label_dropout))
        loss = sigma**2 * self.excess(s, x_t, eps / broadcast(sigma, eps)) / batch.x[0].numel()
        self.watched = watched_by_noise(loss)
        return loss.float()


def _from_noise(s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
    """``||s + eps / sigma||^2``, ``(B,)``."""
    return (s + relative).square().flatten(1).sum(1)


def _from_trace(s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
    """``||s||^2 + 2 tr ds/dx``, ``(B,)``, by one gradient per dimension."""
    parts = s.flatten(1).unbind(1)
    diagonal = [
        torch.autograd.grad(part.sum(), x_t, create_graph=True)[0].flatten(1)[:, i] for i, part in enumerate(parts)
    ]
    return s.square().flatten(1).sum(1) + 2 * torch.stack(diagonal, 1).sum(1)


def _along(s: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
    """``v^T s`` and ``v^T (ds/dx) v`` for random signs ``v``, ``(B,)`` each."""
    v = torch.randint_like(s, 2) * 2 - 1
    along = (v * s).flatten(1).sum(1)
    (gradient,) = torch.autograd.grad(along.sum(), x_t, create_graph=True)
    return along, (v * gradient).flatten(1).sum(1)


def _from_slices(s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
    """``(v^T s)^2 + 2 v^T (ds/dx) v``, ``(B,)``."""
    along, curvature = _along(s, x_t)
    return along.square() + 2 * curvature


def _from_slices_reduced(s: Tensor, x_t: Tensor, relative: Tensor) -> Tensor:
    """``||s||^2 + 2 v^T (ds/dx) v``, ``(B,)``."""
    return s.square().flatten(1).sum(1) + 2 * _along(s, x_t)[1]


@final
class DenoisingScoreMatching(Objective):
    """``E sigma_t^2 ||s(x_t, t) + eps / sigma_t||^2 / dims``.

    Vincent 2011, A Connection Between Score Matching and Denoising Autoencoders
    (https://doi.org/10.1162/NECO_a_00142); weights of Song et al. 2021 (https://arxiv.org/abs/2011.13456).

    Args:
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Score
    principle = Principle.DENOISING
    summary = "regress the score of the added noise from a noised example (denoising score matching)"
    formula = "min_θ E_t,x,ε  σ_t²·‖s_θ(α_t x + σ_t ε, t) + ε/σ_t‖²"

    def __init__(self, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.label_dropout = label_dropout

    def terms(self, estimand: Score) -> Mapping[str, Term]:
        return {"denoising-score": ScoreTerm(estimand, self.label_dropout, _from_noise)}


@final
class ExplicitScoreMatching(Objective):
    """``E sigma_t^2 (||s||^2 + 2 tr ds/dx) / dims``: the squared error of the score by parts, without its target.

    One gradient per dimension and step, so for few dimensions. Hyvarinen 2005, Estimation of Non-Normalized Statistical
    Models by Score Matching (https://www.jmlr.org/papers/v6/hyvarinen05a.html), at every noise level.

    Args:
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Score
    principle = Principle.SCORE_MATCHING
    summary = (
        "fit the score of the noised data without a target, by its norm and its divergence (explicit score matching)"
    )
    formula = "min_θ E_t,x,ε  σ_t²·(‖s_θ(x_t, t)‖² + 2·tr ∂s_θ/∂x)"

    def __init__(self, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.label_dropout = label_dropout

    def terms(self, estimand: Score) -> Mapping[str, Term]:
        return {"explicit-score": ScoreTerm(estimand, self.label_dropout, _from_trace)}


@final
class SlicedScoreMatching(Objective):
    """``E sigma_t^2 (||s||^2 + 2 v^T (ds/dx) v) / dims`` with random signs ``v``: one gradient for any dimension.

    Without ``reduced`` the first part is sliced too, ``(v^T s)^2``, which has the same mean and more variance. Song, Garg,
    Shi, Ermon 2019, eq. 8 and 9 (https://arxiv.org/abs/1905.07088), at every noise level.

    Args:
        reduced: the form with less variance.
        label_dropout: share of labels hidden in training, for classifier-free guidance.
    """

    learns: ClassVar[type[Estimand]] = Score
    principle = Principle.SCORE_MATCHING
    summary = "fit the score of the noised data without a target, along random directions (sliced score matching)"
    formula = "min_θ E_t,x,ε,v  σ_t²·(‖s_θ(x_t, t)‖² + 2·vᵀ(∂s_θ/∂x)v)"

    def __init__(self, reduced: bool = True, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.reduced, self.label_dropout = reduced, label_dropout

    def terms(self, estimand: Score) -> Mapping[str, Term]:
        excess = _from_slices_reduced if self.reduced else _from_slices
        return {"sliced-score": ScoreTerm(estimand, self.label_dropout, excess)}


# --- likelihoods ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class DiffusionBound(Likelihood):
    """``log p(x) >= E[log p(x | x_0)] - KL(q(x_T | x) || p(x_T)) - integral of e^(2 lambda) ||x - D||^2 d lambda``.

    The continuous-time bound of Kingma et al. 2021 (eq. 11 to 13) in half log-SNR ``lambda``: ``p(x | x_0)`` is Gaussian
    with the noise of the first level, ``p(x_T)`` is the sampler's ``N(0, sigma_T^2 I)``, and the integral is drawn at
    stratified levels, two draws in each, from whose differences the variance follows, with the degrees of freedom of a sum
    of unequal parts (Satterthwaite 1946, https://doi.org/10.2307/3002019).

    Each draw is taken less the same draw of the denoiser of ``N(0, I)``, ``D_1 = (s x + s^(1/2) eps) / (1 + s)`` with
    ``s = e^(2 lambda)``, whose integral is known (a control variate): the mean stays, and where data are scaled to variance 1
    the spread is a third.

    Attributes:
        draws: noise levels drawn per example, an even number.
    """

    needs: ClassVar[type[Estimand]] = Denoiser
    kind = Kind.LOWER_BOUND
    draws: int = 32

    @property
    def summary(self) -> str:
        return f"the variational bound of the noising process, estimated at {self.draws} random noise levels"

    def __post_init__(self) -> None:
        """Refuse an odd number of draws."""
        if self.draws < 2 or self.draws % 2:
            raise ValueError(f"draws must be even and at least 2, not {self.draws}")

    @torch.no_grad()
    def __call__(self, estimand: Denoiser, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        low, high = log_snr_range(estimand.path)
        strata = self.draws // 2
        excess = [self._excess(estimand, batch, noise, low, high, i // 2 / strata) for i in range(self.draws)]
        pairs = torch.stack(excess, 1).reshape(-1, strata, 2) * (high - low)
        integral = pairs.mean((1, 2)) + _standard_integral(batch.x, low, high)
        nats = _reconstruction(batch.x, high) - _prior_gap(batch.x, low) - integral
        spread = (pairs[..., 0] - pairs[..., 1]).square() / (4 * strata**2)
        parts = spread.double().mean(0)
        return LogProb(
            nats.float(),
            Kind.LOWER_BOUND,
            variance=spread.sum(1).float(),
            draws=self.draws,
            note=f"variational bound, {self.draws} noise levels",
            freedom=_freedom(parts),
        )

    def _excess(self, estimand: Denoiser, batch: Batch, noise: Noise, low: float, high: float, share: float) -> Tensor:
        """``s (||x - D||^2 - ||x - D_1||^2)`` at one level per example within a stratum, ``(B,)``."""
        x = batch.x
        u = share + noise.uniform().double() * 2 / self.draws
        log_snr = low + (high - low) * u
        t, root = time_at(estimand.path, log_snr).to(x.dtype), broadcast(log_snr.exp().to(x.dtype), x)
        eps = noise.normal(*x.shape[1:])
        error = estimand(estimand.path.noised(x, eps, t), t, batch.cond) - x
        standard = (x - root * eps) / (1 + root.square())
        return ((root * error).square() - (root * standard).square()).flatten(1).double().sum(1)


def _freedom(parts: Tensor) -> float:
    """Degrees of freedom of a sum of variances of one each: ``(sum v)^2 / sum v^2``."""
    return float(parts.sum().square() / parts.square().sum()) if bool(parts.sum() > 0) else float(len(parts))


def _standard_integral(x: Tensor, low: float, high: float) -> Tensor:
    """The integral of ``E[s ||x - D_1||^2] = (s ||x||^2 + d s^2) / (1 + s)^2`` over ``lambda``, ``(B,)``."""
    a, b = 1 / (1 + math.exp(2 * low)), 1 / (1 + math.exp(2 * high))
    return (x.flatten(1).square().sum(1) * (a - b) + x[0].numel() * (math.log(a / b) + b - a)) / 2


def _reconstruction(x: Tensor, log_snr: float) -> Tensor:
    """``E log N(x; x_0 / alpha, (sigma / alpha)^2)``: ``-d/2 (log(2 pi) + 1) + d lambda``, ``(B,)``."""
    return x.new_full((len(x),), x[0].numel() * (log_snr - 0.5 * (math.log(2 * math.pi) + 1)))


def _prior_gap(x: Tensor, log_snr: float) -> Tensor:
    """``KL(N(alpha x, sigma^2 I) || N(0, sigma^2 I)) = e^(2 lambda) ||x||^2 / 2``, ``(B,)``."""
    return 0.5 * math.exp(2 * log_snr) * x.flatten(1).square().sum(1)
