"""Block diffusion: an autoregression over blocks, and masked diffusion within each block.

    log p(x) >= E_sigma sum_k log p(x_sigma(k) | x_sigma(1), ..., x_sigma(k-1))

The order ``sigma`` takes one block after the other, and the tokens of a block in a random order, that of a masking
process in reverse (Arriola et al. 2025, https://arxiv.org/abs/2503.09573; Hoogeboom et al. 2021,
https://arxiv.org/abs/2110.02037). Blocks of one token make an autoregressive model, and one block makes masked
diffusion.

The masking process may mask later tokens of a block sooner, so that earlier ones are more often unmasked first. The
model and its bound are then nearer to those of an autoregressive one (Wu et al. 2023, https://arxiv.org/abs/2305.09515,
noise later words more; Shi et al. 2024, https://arxiv.org/abs/2406.04329, have a schedule for each token).

The network sees the unmasked tokens in the order in which they were revealed, and the position of the next one
(Pannatier, Courdier, Fleuret 2024, https://arxiv.org/abs/2404.09562; Sahoo et al. 2025,
https://arxiv.org/abs/2506.01928). Training then needs one causal pass for all tokens, and sampling uses a KV cache. The
model cannot condition on later blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import (
    Batch,
    Estimand,
    LogProb,
    Measure,
    Noise,
    Objective,
    Sampler,
    SingleLoss,
    forgetful,
    register_paradigm,
)
from fourfold.likelihoods.bound import DrawnBound
from fourfold.maths.categorical import categorical
from fourfold.nn.orders import OrderedTransformer
from fourfold.vocabulary import Cost, Kind, Paradigm, Principle

__all__ = ["BlockBound", "BlockDenoiser", "BlockDenoising", "BlockUnmasking"]


@final
class BlockDenoiser(Estimand):
    """``p(x_i | x_S)`` of each masked token of a block, given the blocks before and the unmasked tokens of its own.

    Args:
        net: maps tokens and the target positions to logits.
        length: tokens of one example.
        lean: the odds that a masked token is unmasked before its right neighbour. 1 is a uniform order.

    Raises:
        ValueError: for a ``lean`` below 1.
    """

    measure = Measure.COUNTING
    summary = "the distribution of each masked token given the blocks before and the unmasked tokens of its own"

    def __init__(self, net: OrderedTransformer, length: int, lean: float = 1.0) -> None:
        super().__init__()
        if lean < 1:
            raise ValueError(f"lean must be at least 1, got {lean}")
        self.net, self.event, self.lean = net, (length,), lean

    def order(self, u: Tensor, observed_mask: Tensor | None = None) -> Tensor:
        """Draw an order of the positions, ``(B, L)``: block by block, observed ones first, the others at random.

        Token ``k`` of a block is unmasked at the time ``-log(1 - u_k) lean^k``: the reverse of masking at the rate
        ``lean^-k``.

        Args:
            u: uniform numbers ``(B, L)`` in (0, 1).
            observed_mask: true at the positions that are observed in all examples, ``(L,)``.
        """
        place = torch.arange(u.shape[1], device=u.device)
        log_time = (-torch.log1p(-u)).log() + place % self.net.block * math.log(self.lean)
        later = 1 if observed_mask is None else (~observed_mask).long()
        return ((2 * (place // self.net.block) + later) * len(place) + log_time.argsort(1).argsort(1)).argsort(1)

    def forward(self, x: Tensor, order: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_sigma(k) | x_sigma(<k), c)`` of tokens ``(B, L)``, in nats, ``(B, L)`` in the order ``sigma``."""
        tokens, count = x.gather(1, order), torch.arange(x.shape[1], device=x.device)
        ids = torch.cat([torch.full_like(tokens[:, :1], self.net.tokens), tokens[:, :-1]], 1)
        sides = self._sides(x, order.argsort(1), order, count)
        at, shares = F.pad(order[:, :-1] + 1, (1, 0)), self.net.read(cond, len(x))
        logits = self.net(ids, at, order + 1, sides, shares=shares)
        return -F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view(x.shape)

    def _sides(self, x: Tensor, rank: Tensor, targets: Tensor, count: Tensor) -> Tensor:
        """Gather the left and right neighbours of the target positions, ``(2, B, T)``. A mask where they are masked.

        Args:
            x: tokens ``(B, L)``.
            rank: rank of each position in the order, ``(B, L)``.
            targets: positions ``(B, T)``.
            count: number of unmasked tokens at each target, ``(T,)``.
        """
        tokens = F.pad(x, (1, 1), value=self.net.tokens)
        when = F.pad(F.pad(rank, (1, 0), value=-1), (0, 1), value=x.shape[1])
        beside = torch.cat([targets, targets + 2], 1)
        visible = when.gather(1, beside) < count.repeat(2)
        return torch.where(visible, tokens.gather(1, beside), self.net.tokens + 1).view(len(x), 2, -1).transpose(0, 1)

    def complete(
        self, x: Tensor, observed_mask: Tensor, noise: Noise, steps: int = 0, cond: Tensor | None = None
    ) -> Tensor:
        """Draw the tokens that are not observed, block by block, each block in ``steps`` steps.

        A block is conditioned on the blocks before and on its own observed tokens, but not on later blocks.

        Args:
            x: tokens ``(B, L)``. Any where they are not observed.
            observed_mask: true at the positions that are observed in all examples, ``(L,)``.
            noise: the stream of these examples.
            steps: steps of a block, whose tokens are drawn independently within a step. 0: one token at a time.
            cond: the conditions, ``(B, *)``.
        """
        x, length, shares = x.clone(), x.shape[1], self.net.read(cond, len(x))
        order, u = self.order(noise.uniform(length), observed_mask), noise.uniform(length)
        cache, rank, before = self.net.cache(len(x)), order.argsort(1), 0
        ids, at = torch.full_like(order[:, :1], self.net.tokens), torch.zeros_like(order[:, :1])  # not in the cache yet
        for block in torch.split(order, self.net.block, 1):
            observed = int(observed_mask[block[0]].sum())
            block, hidden = block[:, :observed], block[:, observed:]
            before += observed
            ids, at = torch.cat([ids, x.gather(1, block)], 1), torch.cat([at, block + 1], 1)
            size = hidden.shape[1]
            for k in range(parts := min(steps or size, size)):
                positions = hidden[:, size * k // parts : size * (k + 1) // parts]
                last = positions.shape[1]
                newest = [torch.cat([part, part[:, -1:].expand(-1, last - 1)], 1) for part in (ids, at)]
                targets = torch.cat([at[:, 1:] - 1, positions], 1)
                count = torch.arange(before + 1 - ids.shape[1], before + last, device=x.device).clamp(max=before)
                logits = self.net(*newest, targets + 1, self._sides(x, rank, targets, count), cache, last, shares)
                ids = categorical(logits.flatten(0, 1), u.gather(1, positions).flatten()).view(positions.shape)
                x.scatter_(1, positions, ids)
                at, before = positions + 1, before + last
        return x


register_paradigm(BlockDenoiser, Principle.BOUND, Paradigm.DIFFUSION)


# --- the two answers --------------------------------------------------------------------------------------------------


@final
class BlockDenoising(SingleLoss):
    """``min_theta -E_sigma sum_k log p_theta(x_sigma(k) | x_sigma(<k), c) / L``: the bound, in nats per token.

    Training watches the loss of the first token of a block and that of the last.
    """

    learns: ClassVar[type[Estimand]] = BlockDenoiser
    principle = Principle.BOUND
    summary = "mask the tokens of each block in a random order and maximise the log-likelihood of each given the others"
    formula = "min_θ −E_σ Σ_k log p_θ(x_σ(k) | x_σ(<k)),  σ: block after block, a random order within each"
    term, judges = "masked", True

    def loss(self, estimand: BlockDenoiser, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        u, block = torch.rand(batch.x.shape, device=batch.x.device), estimand.net.block
        cond = forgetful(batch.cond, self.label_dropout)
        nats = -estimand(batch.x, estimand.order(u), cond)
        last = min(block, nats.shape[1]) - 1
        low, high = nats[:, last::block].mean().detach(), nats[:, ::block].mean().detach()
        return nats.mean(1), {"loss_low_noise": low, "loss_high_noise": high}


@final
@dataclass(frozen=True)
class BlockUnmasking(Sampler):
    """Draw block after block, and the tokens of a block in a random order: one at a time, or several at once.

    Tokens drawn at once are drawn as if they were independent, so that fewer steps are an approximation.

    Attributes:
        steps: in how many steps each block is drawn. 0, or more than it has tokens: one token at a time.

    Raises:
        ValueError: for a negative number of steps.
    """

    needs: ClassVar[type[Estimand]] = BlockDenoiser
    formula = "x_σ(k) ~ p_θ(· | x_σ(<k)),  σ: block after block, a random order within each"
    cost = Cost.LENGTH
    steps: int = 0

    @property
    def summary(self) -> str:
        how = f"in {self.steps} steps, those of one step independently" if self.steps else "one at a time"
        return f"draw block after block, the tokens of each in a random order, {how}, given all those drawn before"

    @property
    def faithful(self) -> bool:
        return self.steps == 0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must be at least 1, or 0 for one token at a time, got {self.steps}")

    def __call__(self, estimand: BlockDenoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        observed_mask = torch.zeros(estimand.event, dtype=torch.bool, device=noise.device)
        x = observed_mask.new_zeros(len(noise), *estimand.event, dtype=torch.long)
        return estimand.complete(x, observed_mask, noise, self.steps, cond)


@final
@dataclass(frozen=True)
class BlockBound(DrawnBound):
    """``log p(x) >= E_sigma sum_k log p(x_sigma(k) | x_sigma(<k))``, by draws of the order ``sigma``.

    It bounds the distribution of tokens drawn one at a time, and is exact for blocks of one token.

    Attributes:
        draws: orders of each example.
    """

    needs: ClassVar[type[Estimand]] = BlockDenoiser
    draws: int = 8

    @property
    def summary(self) -> str:
        return f"the variational bound of the masking process, estimated with {self.draws} random orders"

    @torch.no_grad()
    def __call__(self, estimand: BlockDenoiser, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        orders = (estimand.order(noise.uniform(batch.x.shape[1])) for _ in range(self.draws))
        bounds = [estimand(batch.x, order, batch.cond).double().sum(1) for order in orders]
        return LogProb.of_draws(
            torch.stack(bounds).float(), Kind.LOWER_BOUND, f"variational bound, {self.draws} orders"
        )
