"""Few steps: a network that jumps along the probability-flow ODE, over any distance by one evaluation.

The sampler of a diffusion model follows ``dx/dt = v(x, t)`` in small steps. Here the network learns the path itself:
the average velocity ``u(x_t, t, s)`` between any two of its times, or its end, the consistency function ``f(x_t, t)``.

Three objectives learn them. :class:`MeanFlow` needs no other model: it holds ``u`` to the identity that its definition
implies (Geng et al. 2025, https://arxiv.org/abs/2505.13447). :class:`ConsistencyDistillation` makes two neighbouring
points of a teacher's path predict one end (Song et al. 2023, https://arxiv.org/abs/2303.01469).
:class:`TrajectoryDistillation` solves the teacher's ODE, keeps the paths, and regresses any jump along them (Luhman and
Luhman 2021, https://arxiv.org/abs/2101.02388; Zheng et al. 2023, https://arxiv.org/abs/2211.13449).

The price is the likelihood. The ODE of ``u(x_t, t, t)`` still has a density, but jumps draw samples from another
distribution, so these models have no likelihood.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from fourfold.core import (
    Batch,
    Estimand,
    GenerativeModel,
    Noise,
    Sampler,
    SingleLoss,
    Stage,
    Staged,
    forgetful,
    unknown_like,
    view,
)
from fourfold.distributions.times import LogitNormal, quantiles, watched_by_noise
from fourfold.estimands import AverageVelocity, ConsistencyFunction, Denoiser, Velocity
from fourfold.estimands.preconditioned import ConsistencyNetwork, NetworkAverage, Preconditioned, total_scale
from fourfold.maths.paths import Path, broadcast, time_at
from fourfold.samplers.ode import trajectory
from fourfold.vocabulary import Cost, Principle

__all__ = [
    "ConsistencyDistillation",
    "Jumps",
    "MeanFlow",
    "Renoised",
    "TrajectoryDistillation",
]


# --- MeanFlow ---------------------------------------------------------------------------------------------------------


@final
class MeanFlow(SingleLoss):
    """``E ||u(x_t, t, s) - sg(v + (s - t) (v · grad_x u + du/dt))||^2 / dims`` with ``v = alpha' x + sigma' eps``.

    The derivative of ``(s - t) u = integral of v from t to s`` in ``t`` gives the identity that the loss
    enforces. The total derivative is one Jacobian-vector product, and ``sg`` stops the gradient. Where ``s = t``
    this is flow matching. Geng et al. 2025 (https://arxiv.org/abs/2505.13447), equations 8 to 11.

    The paper (section 4.3) also divides the loss of each example by a power of its own value, ``(loss + 10^-3)^power``,
    held constant. The noise of the target is part of that value, so the minimum is not a conditional mean: it is drawn
    towards the more frequent of two modes. By default the power is 0.

    Args:
        mean, std: mean and standard deviation of the logit of a time.
        apart: share of examples with ``s < t``.
        power: power of the adaptive weight. Only 0, the plain mean square, is unbiased.
        label_dropout: share of labels that training hides.
    """

    learns: ClassVar[type[Estimand]] = AverageVelocity
    principle = Principle.DENOISING
    formula = "min_θ E ‖u_θ(x_t, t, s) − sg(v + (s − t)·d/dt u_θ(x_t, t, s))‖²,  v = α′_t x + σ′_t ε"
    term = "mean-flow"

    @property
    def summary(self) -> str:
        weighted = ", each example weighted by a power of its own loss, which biases the minimum" if self.power else ""
        return f"hold the average velocity to the identity that defines it, without a teacher{weighted}"

    def __init__(
        self, mean: float = -0.4, std: float = 1.0, apart: float = 0.5, power: float = 0.0, label_dropout: float = 0.1
    ) -> None:
        super().__init__(label_dropout)
        self.mean, self.std, self.apart, self.power = mean, std, apart, power

    def loss(self, estimand: AverageVelocity, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        path = estimand.path
        t, s = self._times(path, len(batch.x), batch.x.device)
        eps = torch.randn_like(batch.x)
        x_t = path.noised(batch.x, eps, t)
        v = broadcast(path.d_alpha(t), eps) * batch.x + broadcast(path.d_sigma(t), eps) * eps
        u, target = _sides(estimand, x_t, t, s, v, forgetful(batch.cond, self.label_dropout))
        error = (u - target).float().square().flatten(1).mean(1)
        return error / (error.detach() + 1e-3) ** self.power, watched_by_noise(error)

    def _times(self, path: Path, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``t >= s``, each ``(n,)``: the larger and the smaller of two logit-normal draws, or twice the same draw."""
        law = LogitNormal(self.mean, self.std)
        t, s = law(path, n, device), law(path, n, device)
        s = torch.where(torch.rand(n, device=device) < self.apart, s[torch.randperm(n, device=device)], t)
        return torch.maximum(t, s), torch.minimum(t, s)


def _sides(
    estimand: AverageVelocity, x_t: Tensor, t: Tensor, s: Tensor, v: Tensor, cond: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``u`` and, without a gradient, ``v + (s - t) du/dt`` with ``d/dt`` along the path: ``(v, 1, 0)``."""
    with sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():  # fused attention has no such derivative
        x, at = _dual(x_t, v), _dual(t, torch.ones_like(t))
        u, change = forward_ad.unpack_dual(estimand(x, at, s, cond))  # type: ignore[no-untyped-call]
    return u, v if change is None else v + broadcast(s - t, v) * change.detach()


def _dual(primal: Tensor, tangent: Tensor) -> Tensor:
    """A dual number, without the warning of torch about its own deprecated function when it makes the first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]


# --- distillation -----------------------------------------------------------------------------------------------------


def _jittered(path: Path, steps: int) -> Tensor:
    """``steps + 1`` decreasing times from the path's last to its first, those between shifted by a random amount."""
    fine, parts = path.grid(64 * steps), 64
    shift = int(torch.randint(-parts // 2, parts // 2, ()))
    inner = fine[parts + shift : parts * (steps - 1) + shift + 1 : parts]
    return torch.cat([fine[:1], inner, fine[-1:]])


class _Student(SingleLoss, Staged):
    """An objective of a student, whose teacher is trained first and gives it its weights."""

    principle = Principle.DENOISING
    teacher: GenerativeModel
    share: float

    def stages(self) -> Sequence[Stage]:
        """The teacher."""
        return [Stage("teacher", self.teacher, self.share)]

    def ready(self, estimand: Estimand) -> None:
        """Start the student with the teacher's weights, if both have the same preconditioning and path.

        The student's second time, which the teacher does not know, has zero weight at first.
        """
        source = self.teacher.estimand
        if not (isinstance(source, Preconditioned) and isinstance(estimand, (NetworkAverage, ConsistencyNetwork))):
            return
        if (source.path, source.sigma_data) == (estimand.path, estimand.sigma_data):
            estimand.net.load_state_dict(source.net.state_dict(), strict=False)


@final
class TrajectoryDistillation(_Student):
    """``E w(t, s) ||x_t + (s - t) u(x_t, t, s) - x_s||`` over pairs of times of a teacher's solved paths.

    A few sets of paths are kept, each solved from noise to its end by ``steps`` evaluations of the teacher. Every
    ``every`` steps of training the oldest set is replaced, from other noise at other times. A step draws its pairs from
    all sets, so each evaluation of the teacher is used many times. The targets are those of the solver, not the
    student's own predictions. Luhman, Luhman 2021 (https://arxiv.org/abs/2101.02388) for the whole path; Zheng et al.
    2023 (https://arxiv.org/abs/2211.13449) and Kim et al. 2024 (https://arxiv.org/abs/2310.02279) for its parts.

    The norm is pseudo-Huber, ``sqrt(error + c^2) - c`` (Song and Dhariwal 2024, https://arxiv.org/abs/2310.14189).

    Args:
        teacher: a diffusion model, which is trained first.
        share: the teacher's share of the whole budget.
        steps: number of steps of the teacher's solver.
        paths: number of paths in one set.
        sets: number of sets in memory.
        every: steps of training after which one set is replaced.
        whole: share of pairs whose jump goes to the end of the path.
        sigma_data: root mean square of the data.
        huber: ``c``.
        label_dropout: share of labels that training hides.

    Raises:
        ValueError: for fewer than 3 steps.
    """

    learns: ClassVar[type[Estimand]] = AverageVelocity
    states: Tensor
    """``(sets, steps + 1, paths, *event)``."""
    times: Tensor
    """``(sets, steps + 1)``."""
    cond: Tensor
    count: Tensor
    summary = "regress jumps between any two points of paths that a solver of the teacher's ODE has drawn"
    formula = "min_θ E_t,s  w(t, s)·‖x_t + (s − t)·u_θ(x_t, t, s) − x_s‖"
    term = "distillation"

    def __init__(
        self,
        teacher: GenerativeModel,
        share: float = 0.5,
        steps: int = 20,
        paths: int = 128,
        sets: int = 6,
        every: int = 40,
        whole: float = 0.3,
        sigma_data: float = 0.5,
        huber: float = 0.01,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__(label_dropout)
        if steps < 3:
            raise ValueError(f"steps must be at least 3 for a teacher's path, got {steps}")
        self.teacher, self.share, self.steps, self.paths, self.sets = teacher, share, steps, paths, sets
        self.every, self.whole, self.sigma_data, self.huber = every, whole, sigma_data, huber
        space, event = teacher.space, teacher.estimand.event
        self.conditional = space.conditional
        unknown = torch.zeros(1) if space.given is None else space.given.unknown(1)
        self.register_buffer("states", torch.zeros(sets, steps + 1, paths, *event), persistent=False)
        self.register_buffer("times", torch.zeros(sets, steps + 1), persistent=False)
        self.register_buffer("cond", unknown.expand(sets, paths, *unknown.shape[1:]).clone(), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.long), persistent=False)

    def loss(self, estimand: AverageVelocity, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        self.advance(batch)
        x_t, x_s, t, s, cond = self.jumps(len(batch.x))
        jump = broadcast(s - t, x_t) * estimand(x_t, t, s, cond)
        error = (x_t + jump - x_s).float().square().flatten(1).mean(1) * self._weight(estimand.path, t, s)
        return torch.sqrt(error + self.huber**2) - self.huber, watched_by_noise(error)

    def _weight(self, path: Path, t: Tensor, s: Tensor) -> Tensor:
        """Turns the error of a jump into that of the network's output of order one, ``(B,)``.

        ``1 / (c_out (alpha_s - alpha_t sigma_s / sigma_t))^2`` with ``c_out = sigma sigma_data / r``.
        """
        t, s = t.double(), s.double()
        reach = path.alpha(s) - path.alpha(t) * path.sigma(s) / path.sigma(t)
        c_out = path.sigma(t) * self.sigma_data / total_scale(path, t, self.sigma_data)
        return (1 / (c_out * reach) ** 2).float()

    @torch.no_grad()
    def advance(self, batch: Batch) -> None:
        """Count a step, and replace a set of paths when it is due. Labels are drawn from those of the batch."""
        set_index, rest = divmod(int(self.count), self.every)
        self.count += 1
        if rest:
            return
        cond = forgetful(batch.cond, self.label_dropout)
        rows = torch.randint(len(batch.x), (self.paths,), device=batch.x.device)
        cond = None if cond is None or not self.conditional else cond[rows]
        denoiser, slot = view(self.teacher.estimand, Denoiser), set_index % self.sets
        times = _jittered(denoiser.path, self.steps)
        noise = torch.randn(self.states[slot, 0].shape, device=batch.x.device).to(batch.x)
        start = _as_batch(noise * float(denoiser.path.sigma(times[0])))
        self.states[slot].copy_(trajectory(denoiser, start, times, cond))
        self.times[slot].copy_(times)
        if self.conditional:
            self.cond[slot].copy_(unknown_like(self.cond[slot]) if cond is None else cond)

    def jumps(self, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """``x_t, x_s, t, s, cond`` of ``n`` pairs from all sets, in order of ``t``.

        ``s`` is the last time of its path, or uniform over its times. ``t`` comes before it, and is more often near the
        noise: jumps from there are the hardest and the most used.
        """
        device, count = self.states.device, min(1 + (int(self.count) - 1) // self.every, self.sets)
        draw = [torch.rand(n, device=device) for _ in range(3)]
        to = torch.where(draw[0] < self.whole, self.steps, 1 + (draw[1] * self.steps).long())
        start = (draw[2] ** 2 * to).long()
        slot, row = (torch.randint(top, (n,), device=device) for top in (count, self.paths))
        order = self.times[slot, start].argsort()
        slot, row, start, to = slot[order], row[order], start[order], to[order]
        x_t, x_s = (_as_batch(self.states[slot, at, row]) for at in (start, to))
        cond = self.cond[slot, row] if self.conditional else None
        return x_t, x_s, self.times[slot, start], self.times[slot, to], cond


def _as_batch(x: Tensor) -> Tensor:
    """Images in channels-last memory. Other tensors unchanged."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


@final
class ConsistencyDistillation(_Student):
    """``E ||f(x_t, t) - sg f(x_s, s)||`` for neighbouring times ``t > s`` of one path of a teacher's ODE.

    ``x_t`` is a noised example, and ``x_s`` is one step of Heun's rule from it. The estimand holds the boundary
    ``f(x_0, 0) = x_0`` exactly. Training carries it from neighbour to neighbour to the noise. Song et al. 2023
    (https://arxiv.org/abs/2303.01469), algorithm 2, with the weights themselves as target network and the pseudo-Huber
    norm ``sqrt(error + c^2) - c`` of Song and Dhariwal 2024 (https://arxiv.org/abs/2310.14189).

    Args:
        teacher: a diffusion model, which is trained first.
        share: the teacher's share of the whole budget.
        steps: number of steps of the grid.
        huber: ``c``.
        label_dropout: share of labels that training hides.
    """

    learns: ClassVar[type[Estimand]] = ConsistencyFunction
    summary = "make two neighbouring points of one path of the teacher's ODE predict the same end"
    formula = "min_θ E_t,x,ε ‖f_θ(x_t, t) − sg(f_θ(x_s, s))‖,  x_s: one step of the teacher from x_t"
    term = "consistency"

    def __init__(
        self,
        teacher: GenerativeModel,
        share: float = 0.5,
        steps: int = 18,
        huber: float = 0.01,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__(label_dropout)
        self.teacher, self.share, self.steps, self.huber = teacher, share, steps, huber

    def loss(self, estimand: ConsistencyFunction, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        path, cond = estimand.path, forgetful(batch.cond, self.label_dropout)
        t, s = (times.to(batch.x.device) for times in self._times(path, len(batch.x)))
        x_t = path.noised(batch.x, torch.randn_like(batch.x), t)
        target = self._target(estimand, x_t, t, s, cond)
        error = (estimand(x_t, t, cond) - target).float().square().flatten(1).mean(1)
        return torch.sqrt(error + self.huber**2) - self.huber, watched_by_noise(error)

    def _times(self, path: Path, n: int) -> tuple[Tensor, Tensor]:
        """Neighbours ``t > s`` on the path's grid, in order of ``t``, each ``(n,)`` float32."""
        grid = _jittered(path, self.steps).float()
        number = (self.steps * (1 - quantiles(n, grid.device))).long().clamp(max=self.steps - 1)
        return grid[number], grid[number + 1]

    @torch.no_grad()
    def _target(self, estimand: ConsistencyFunction, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None) -> Tensor:
        """``f(x_s, s)`` with ``x_s`` from the teacher by the trapezoidal rule."""
        velocity = view(self.teacher.estimand, Velocity)
        h, v = broadcast(s - t, x_t), velocity(x_t, t, cond)
        x_s = x_t + h / 2 * (v + velocity(x_t + h * v, s, cond))
        return estimand(x_s, s, cond)


# --- samplers and likelihood ------------------------------------------------------------------------------------------


def _jumps(steps: int) -> str:
    return f"{steps} jump{'s' * (steps != 1)} in all"


def _stops(path: Path, steps: int) -> list[float]:
    """Decreasing times, the path's last and first among them, between which ``sigma / (alpha + sigma)`` is even.

    Raises:
        ValueError: for fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    even = torch.arange(steps - 1, 0, -1, dtype=torch.float64) / steps
    inner: list[float] = time_at(path, torch.log((1 - even) / even)).tolist()
    return [path.t_max, *inner, path.t_min]


def _from_noise(estimand: AverageVelocity | ConsistencyFunction, noise: Noise) -> Tensor:
    """``sigma_T eps``, ``(n, *event)``."""
    last = torch.tensor(estimand.path.t_max, dtype=torch.float64)
    return noise.normal(*estimand.event) * float(estimand.path.sigma(last))


@final
@dataclass(frozen=True)
class Jumps(Sampler):
    """``x_s = x_t + (s - t) u(x_t, t, s)``, from the noise to the end in ``steps`` jumps.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = AverageVelocity
    formula = "x_T ~ N(0, σ_T² I),  x_s = x_t + (s − t)·u_θ(x_t, t, s)"
    cost = Cost.STEPS
    steps: int = 4

    @property
    def summary(self) -> str:
        return f"draw noise and jump along the probability-flow ODE to the data, {_jumps(self.steps)}"

    def __call__(self, estimand: AverageVelocity, noise: Noise, cond: Tensor | None = None) -> Tensor:
        x = _from_noise(estimand, noise)
        for t, s in itertools.pairwise(_stops(estimand.path, self.steps)):
            at, to = (torch.full((len(x),), time, device=x.device) for time in (t, s))
            x = x + (s - t) * estimand(x, at, to, cond)
        return x


@final
@dataclass(frozen=True)
class Renoised(Sampler):
    """``x = f(x_t, t)``, then ``x_s = alpha_s x + sigma_s eps`` at a lower noise level, repeatedly.

    Song et al. 2023 (https://arxiv.org/abs/2303.01469), algorithm 1.

    Attributes:
        steps: network evaluations.
    """

    needs: ClassVar[type[Estimand]] = ConsistencyFunction
    formula = "x_T ~ N(0, σ_T² I),  x = f_θ(x_t, t),  x_s = α_s x + σ_s ε"
    cost = Cost.STEPS
    steps: int = 4

    @property
    def summary(self) -> str:
        again = "go back to a lower noise level by fresh noise and jump again"
        return f"draw noise, jump to the data, {again}, {_jumps(self.steps)}"

    def __call__(self, estimand: ConsistencyFunction, noise: Noise, cond: Tensor | None = None) -> Tensor:
        path, x_t, x = estimand.path, _from_noise(estimand, noise), torch.empty(0)
        for i, time in enumerate(_stops(path, self.steps)[:-1]):
            t = torch.full((len(noise),), time, device=x_t.device)
            x_t = path.noised(x, noise.normal(*estimand.event), t) if i else x_t
            x = estimand(x_t, t, cond)
        return x


NO_DENSITY = "few-step samples have no tractable density; the density of the many-step ODE is that of a different model"
"""The reason why these models have no likelihood."""
