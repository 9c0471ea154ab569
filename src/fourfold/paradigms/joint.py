"""Joint diffusion of rows: masks are the noise of categories, Gaussian noise that of numbers, in one process.

A code is ``(k, z)``: tokens and reals. At the time ``t`` in [0, 1] each token is masked with the probability ``m_t =
max(t, 0.01)``, and ``z_t = alpha_t z + sigma_t eps`` with ``lambda_t = log(alpha_t / sigma_t)``. The noises are
independent, so the bounds of both processes add up to one bound:

    log p(k, z) >= E_t [ sum_{i masked} log p(k_i | k_S, z_t) / m_t + lambda'_t e^(2 lambda_t) ||z - D(k_S, z_t)||^2 ]
                   + E log p(z | z_0) - KL(q(z_1 | z) || p(z_1)),     t ~ U[0, 1].

Masks of the last hundredth of the time stay to the end and are then drawn, which keeps the variance finite. The tokens'
part is that of Sahoo et al. 2024 (https://arxiv.org/abs/2406.07524), the reals' part that of Kingma et al. 2021
(https://arxiv.org/abs/2107.00630); both together model tables in Shi et al. 2024 (https://arxiv.org/abs/2410.20626),
after Kotelnikov et al. 2022 (https://arxiv.org/abs/2209.15421), who noise categories by a multinomial process.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Batch, Estimand, LogProb, Noise, Objective, Sampler, SingleLoss, forgetful
from fourfold.distributions.times import quantiles, watched_by_noise
from fourfold.distributions.tokens import grouped_tokens
from fourfold.estimands import MixedDenoiser
from fourfold.likelihoods.bound import DrawnBound, ends, standard_integral
from fourfold.likelihoods.ode import log_snr_range
from fourfold.maths.categorical import categorical
from fourfold.maths.paths import Path, broadcast
from fourfold.nn.columns import CodeEmbedding
from fourfold.nn.embedding import with_detail
from fourfold.nn.time_mlp import TimeMLP
from fourfold.vocabulary import Cost, Kind, Principle

__all__ = ["JointBound", "JointDenoising", "JointSteps", "RowDenoiser"]

LAST = 0.01
"""The part of the time in which no token loses its mask, before the last ones are drawn."""


@final
class RowDenoiser(MixedDenoiser):
    """One network of all tokens, all reals and the time. ``D = alpha_t z_t - sigma_t F``, as for standard normals.

    Args:
        net: ``F``, and logits of all tokens, from their embeddings and the reals.
        sizes: tokens of each discrete value.
        reals: how many there are.
        embedding: length of a token's vector.
        path: variance preserving, with times in [0, 1].
    """

    def __init__(self, net: TimeMLP, sizes: tuple[int, ...], reals: int, embedding: int, path: Path) -> None:
        super().__init__()
        self.net, self.sizes, self.reals, self.path = net, tuple(sizes), reals, path
        self.code_embedding = CodeEmbedding(self.sizes, embedding)
        self.event = (len(self.sizes) + reals,)
        self.groups = grouped_tokens(self.sizes).groups

    def forward(
        self, k: Tensor, observed_mask: Tensor, z_t: Tensor, t: Tensor, cond: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        embedded = (self.code_embedding(k) * observed_mask.unsqueeze(2)).flatten(1)
        out = self.net(torch.cat([embedded, with_detail(z_t)], 1), 2 * t - 1, cond)
        logits, f = out.split((out.shape[1] - self.reals, self.reals), 1)
        alpha, sigma = broadcast(self.path.alpha(t), z_t), broadcast(self.path.sigma(t), z_t)
        return grouped_tokens(self.sizes).log_softmax(logits), alpha * z_t - sigma * f


def masked_at(t: Tensor) -> Tensor:
    """``m_t``: the probability that a token is masked."""
    return t.clamp(min=LAST)


def parts(
    estimand: MixedDenoiser, x: Tensor, t: Tensor, u: Tensor, eps: Tensor, cond: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of the bound at a time, ``(B,)`` each.

    Args:
        estimand: the denoiser of tokens and reals.
        x: codes ``(B, K + R)``.
        t: times ``(B,)``.
        u: uniform numbers that decide which tokens are masked, ``(B, K)``.
        eps: the noise of the reals, ``(B, R)``.
        cond: labels.

    Returns:
        ``-sum_{i masked} log p(k_i | k_S, z_t) / m_t``; ``e^(2 lambda) ||z - D||^2``; and the same with the denoiser of
        ``N(0, I)`` in the place of ``D``.
    """
    k, z = x[:, : len(estimand.sizes)].round().long(), x[:, len(estimand.sizes) :]
    m = masked_at(t)
    observed_mask, z_t = u >= m[:, None], estimand.path.noised(z, eps, t)
    log_p, denoised = estimand(k, observed_mask, z_t, t, cond)
    nats = torch.zeros_like(m)
    for group, part in zip(estimand.groups, log_p, strict=True):
        tokens_of_group = k[:, group]
        nats = nats + (part.gather(2, tokens_of_group.unsqueeze(2))[:, :, 0] * ~observed_mask[:, group]).sum(1)
    tokens = -nats / m
    root = broadcast(estimand.path.log_snr(t).exp(), z)
    standard = (z - root * eps) / (1 + root.square())
    return tokens, (root * (z - denoised)).square().sum(1), (root * standard).square().sum(1)


# --- the two answers --------------------------------------------------------------------------------------------------


@final
class JointDenoising(SingleLoss):
    """``min_theta`` of the negative bound per value of the code, at one time for each example. Times are stratified.

    Training watches the loss at low and at high noise.
    """

    learns: ClassVar[type[Estimand]] = MixedDenoiser
    principle = Principle.BOUND
    summary = (
        "mask categories and noise numbers to one time, maximise the log-likelihood of each masked category, and "
        "regress the numbers"
    )
    formula = "min_θ E_t,S,ε −(1/m_t)·Σ_{i∉S} log p_θ(k_i | k_S, z_t) − λ'_t·e^(2λ_t)·‖z − D_θ(k_S, z_t)‖²"
    term, judges = "joint", True

    def loss(self, estimand: MixedDenoiser, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        x, (low, high) = batch.x, log_snr_range(estimand.path)
        t, u = quantiles(len(x), x.device), torch.rand(len(x), len(estimand.sizes), device=x.device)
        eps = torch.randn(len(x), estimand.reals, device=x.device)
        cond = forgetful(batch.cond, self.label_dropout)
        tokens, squared, _ = parts(estimand, x, t, u, eps, cond)
        loss = (tokens + (high - low) * squared) / x.shape[1]
        return loss.float(), watched_by_noise(loss)


@final
@dataclass(frozen=True)
class JointSteps(Sampler):
    """Ancestral sampling of both: ``z_s ~ q(z_s | z_t, D)``, and each masked token is drawn at a time of its own.

    The time of a token is uniform on [0, 1]. Tokens of one step are drawn as if they were independent, so that fewer
    steps are a coarser approximation, as they are for the numbers.

    Attributes:
        steps: from noise to data.

    Raises:
        ValueError: for fewer than one step.
    """

    needs: ClassVar[type[Estimand]] = MixedDenoiser
    formula = "k_i ~ p_θ(· | k_S, z_t) at t_i ~ U[0, 1],  z_s ~ q(z_s | z_t, D_θ(k_S, z_t))"
    cost = Cost.STEPS
    steps: int = 100

    @property
    def summary(self) -> str:
        return f"draw noise and masks, then remove both in {self.steps} steps, each category at a random time"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, estimand: MixedDenoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        kinds, reals, path = len(estimand.sizes), estimand.reals, estimand.path
        at, u = noise.uniform(kinds), noise.uniform(kinds)
        grid = torch.linspace(1, 0, self.steps + 1, device=u.device)
        k, z = torch.zeros_like(u, dtype=torch.long), noise.normal(reals) * path.sigma(grid[0])
        for t, s in itertools.pairwise(grid):
            log_p, denoised = estimand(k, at >= t, z, t.expand(len(k)), cond)
            due = (at < t) & (at >= s)
            for group, part in zip(estimand.groups, log_p, strict=True):
                row, place = due[:, group].nonzero(as_tuple=True)
                column = torch.tensor(group, device=row.device)[place]
                k[row, column] = categorical(part[row, place], u[row, column])
            z = _earlier(path, z, denoised, t, s, noise.normal(reals)) if s > 0 else denoised
        return torch.cat([k.to(z.dtype), z], 1)


def _earlier(path: Path, z_t: Tensor, denoised: Tensor, t: Tensor, s: Tensor, eps: Tensor) -> Tensor:
    """A draw of ``q(z_s | z_t, z = D)`` for ``s < t`` (Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239)."""
    alpha = path.alpha(t) / path.alpha(s)
    added = path.sigma(t).square() - (alpha * path.sigma(s)).square()  # the variance of z_t given z_s
    share = added / path.sigma(t).square()
    mean = alpha * (path.sigma(s) / path.sigma(t)).square() * z_t + path.alpha(s) * share * denoised
    return mean + path.sigma(s) * share.sqrt() * eps


@final
@dataclass(frozen=True)
class JointBound(DrawnBound):
    """The bound of both processes at stratified times, with the same control variate as that of Gaussian diffusion.

    The error is taken from the spread of the draws, which is wider than that of their stratified mean.

    Attributes:
        draws: times of each example.
    """

    needs: ClassVar[type[Estimand]] = MixedDenoiser
    draws: int = 32

    @property
    def summary(self) -> str:
        return f"the variational bound of masks and Gaussian noise together, estimated at {self.draws} random times"

    @torch.no_grad()
    def __call__(self, estimand: MixedDenoiser, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        kinds, (low, high) = len(estimand.sizes), log_snr_range(estimand.path)
        z, costs = batch.x[:, kinds:], []
        for i in range(self.draws):
            t = (i + noise.uniform()) / self.draws
            randomness = (noise.uniform(kinds), noise.normal(estimand.reals))
            tokens, squared, standard = parts(estimand, batch.x, t, *randomness, batch.cond)
            costs.append(tokens.double() + (high - low) * (squared.double() - standard.double()))
        fixed = ends(z, low, high) - standard_integral(z, low, high) if estimand.reals else 0.0
        note = f"variational bound, {self.draws} times of masks and noise"
        return LogProb.of_draws((fixed - torch.stack(costs)).float(), Kind.LOWER_BOUND, note)
