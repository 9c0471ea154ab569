"""Masked diffusion: the noise masks tokens, and the model draws them given the others.

    log p(x) >= E_n E_S [ L / n · sum_{i not in S} log p(x_i | x_S) ],   |S| = L - n,   n uniform on 1 .. L

(Sahoo et al. 2024, https://arxiv.org/abs/2406.07524, for masks of a linear schedule; in this form, with the number of
masked tokens in place of a time, Hoogeboom et al. 2021, https://arxiv.org/abs/2110.02037). To sample, all tokens
are masked at first, and drawn in a random order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import (
    Batch,
    Estimand,
    JointConditionals,
    LogProb,
    Noise,
    Objective,
    Sampler,
    SingleLoss,
    forgetful,
)
from fourfold.distributions.times import quantiles, watched_by_noise
from fourfold.estimands import TokenDenoiser, TokenwiseDenoiser
from fourfold.likelihoods.bound import DrawnBound
from fourfold.maths.categorical import categorical
from fourfold.nn.columns import ColumnNetwork
from fourfold.nn.transformer import MaskedTransformer
from fourfold.vocabulary import Cost, Kind, Principle

__all__ = ["ColumnDenoiser", "MaskedBound", "MaskedDenoising", "TextDenoiser", "Unmasking"]


@final
class ColumnDenoiser(JointConditionals, TokenwiseDenoiser):
    """``p(x_i | x_S, c)`` of the columns of a table.

    Args:
        net: gives the log-masses of each column's tokens, given those that it sees.
        columns: how many there are.
    """

    def __init__(self, net: ColumnNetwork, columns: int) -> None:
        super().__init__()
        self.net, self.event = net, (columns,)

    def forward(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(x, observed_mask, cond)

    def log_masses(
        self, x: Tensor, observed_mask: Tensor, positions: Sequence[int], cond: Tensor | None = None
    ) -> Sequence[Tensor]:
        return [self.net(x, observed_mask, cond, i) for i in positions]

    def draw(
        self, x: Tensor, observed_mask: Tensor, target_mask: Tensor, u: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        z = x.clone()
        for i in target_mask.any(0).nonzero().flatten().tolist():
            rows = target_mask[:, i].nonzero().flatten()
            log_p = self.conditional(x[rows], observed_mask[rows], i, None if cond is None else cond[rows])
            z[rows, i] = categorical(log_p, u[rows, i])
        return z

    def log_joint(self, x: Tensor, place: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x | sigma, c)`` in the order in which tokens are unmasked one at a time, ``(B,)``."""
        parts = [self.conditional(x, place < place[:, [i]], i, cond).gather(1, x[:, [i]]) for i in range(x.shape[1])]
        return torch.cat(parts, 1).sum(1)


@final
class TextDenoiser(TokenwiseDenoiser):
    """``p(x_i | x_S, c)`` of the tokens of a text, all of them in one evaluation.

    Args:
        net: gives logits of every token, given those that are not masks.
        length: tokens of one window.
        begin: the token in front of every text, for a network that sees no places: texts with an end have a first
            token. ``None``: windows of a longer text.
    """

    def __init__(self, net: MaskedTransformer, length: int, begin: int | None = None) -> None:
        super().__init__()
        self.net, self.event, self.begin = net, (length,), begin

    def _log_p(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None) -> Tensor:
        """``log p(x_i | x_S, c)`` of every token at every place, ``(B, L, V)``."""
        x = x.masked_fill(~observed_mask, self.net.tokens)
        if self.begin is None:
            return self.net(x, cond).log_softmax(-1)
        return self.net(torch.nn.functional.pad(x, (1, 0), value=self.begin), cond)[:, 1:].log_softmax(-1)

    def forward(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        return self._log_p(x, observed_mask, cond).gather(2, x.unsqueeze(2)).squeeze(2)

    def log_masses(
        self, x: Tensor, observed_mask: Tensor, positions: Sequence[int], cond: Tensor | None = None
    ) -> Sequence[Tensor]:
        return self._log_p(x, observed_mask, cond)[:, list(positions)].unbind(1)

    def draw(
        self, x: Tensor, observed_mask: Tensor, target_mask: Tensor, u: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        z = x.clone()
        z[target_mask] = categorical(self._log_p(x, observed_mask, cond)[target_mask], u[target_mask])
        return z


# --- the two answers --------------------------------------------------------------------------------------------------


@final
class MaskedDenoising(SingleLoss):
    """``min_theta -E_n E_S sum_{i not in S} log p_theta(x_i | x_S, c) / n``: the bound, in nats per token.

    The number ``n`` of masked tokens is stratified over the batch. Training watches the loss at low and at high noise.
    """

    learns: ClassVar[type[Estimand]] = TokenDenoiser
    principle = Principle.BOUND
    summary = "mask any number of tokens and maximise the log-likelihood of each given the others (masked diffusion)"
    formula = "min_θ −E_n,S (1/n)·Σ_{i∉S} log p_θ(x_i | x_S),  n ~ U{1 … L}"
    term, judges = "masked", True

    def loss(self, estimand: TokenDenoiser, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        share, places = quantiles(len(batch.x), batch.x.device), torch.rand(batch.x.shape, device=batch.x.device)
        hidden, n = hide(share, places)
        nats = estimand(batch.x, ~hidden, forgetful(batch.cond, self.label_dropout))
        loss = -(nats * hidden).sum(1) / n
        return loss, watched_by_noise(loss)


def hide(share: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Draw which tokens are masked, bool ``(B, L)``, and how many, ``(B,)``.

    Uniform numbers ``share`` in (0, 1) choose how many, ``n = 1 .. L``, and ``places``, ``(B, L)``, choose which.
    """
    length = places.shape[1]
    n = (share * length).ceil().clamp(1, length)
    return places.argsort(1).argsort(1) < n[:, None], n


@final
@dataclass(frozen=True)
class Unmasking(Sampler):
    """Draw the tokens in a random order, given those drawn before: one at a time, or several at once.

    Tokens drawn at once are drawn as if they were independent, so that fewer steps are an approximation.

    Attributes:
        steps: in how many steps all tokens are drawn. 0, or more than there are tokens: one at a time.
        block: tokens of a block. Blocks are drawn one after the other, and the order is random within each. 0: all
            tokens are one block.

    Raises:
        ValueError: for a negative number of steps or tokens.

    Reference of blocks: Arriola et al. 2025, Block Diffusion, https://arxiv.org/abs/2503.09573
    """

    needs: ClassVar[type[Estimand]] = TokenDenoiser
    formula = "x_σ(k) ~ p_θ(· | x_σ(<k)),  σ a random order"
    cost = Cost.LENGTH
    steps: int = 0
    block: int = 0

    @property
    def summary(self) -> str:
        how = f"in {self.steps} steps, those of one step independently" if self.steps else "one at a time"
        order = f"in blocks of {self.block}, in a random order within each," if self.block else "in a random order"
        return f"mask all tokens, then draw the tokens {order} given those drawn before, {how}"

    @property
    def faithful(self) -> bool:
        return self.steps == 0 and self.block == 0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must be at least 1, or 0 for one token at a time, got {self.steps}")
        if self.block < 0:
            raise ValueError(f"block must be at least 1, or 0 for a random order of all tokens, got {self.block}")

    def __call__(self, estimand: TokenDenoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        (length,) = estimand.event
        place = noise.uniform(length)
        if self.block:
            place = place + torch.arange(length, device=place.device) // self.block
        rank, u = place.argsort(1).argsort(1), noise.uniform(length)
        steps = min(self.steps or length, length)
        step = rank * steps // length  # at which a token is drawn
        x = torch.zeros_like(rank)
        for k in range(steps):
            x = estimand.draw(x, step < k, step == k, u, cond)
        return x


@final
@dataclass(frozen=True)
class MaskedBound(DrawnBound):
    """``log p(x) >= E_n E_S [L / n · sum_{i not in S} log p(x_i | x_S)]``, by draws of the masked set ``S``.

    It bounds the distribution of tokens drawn one at a time. The numbers of masked tokens are stratified over the
    draws, so that the error, which is taken from their spread, is at most what is said.

    Attributes:
        draws: masked sets of each example.
    """

    needs: ClassVar[type[Estimand]] = TokenDenoiser
    draws: int = 16

    @property
    def summary(self) -> str:
        return f"the variational bound of the masking process, estimated with {self.draws} random sets of masked tokens"

    @torch.no_grad()
    def __call__(self, estimand: TokenDenoiser, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        length, bounds = batch.x.shape[1], []
        for k in range(self.draws):
            share = (k + noise.uniform().clamp(1e-6, 1)) / self.draws
            hidden, n = hide(share, noise.uniform(length))
            nats = estimand(batch.x, ~hidden, batch.cond)
            bounds.append((nats.double() * hidden).sum(1) * length / n)
        note = f"variational bound, {self.draws} sets of masked tokens"
        return LogProb.of_draws(torch.stack(bounds).float(), Kind.LOWER_BOUND, note)
