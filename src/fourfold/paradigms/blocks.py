"""Masked diffusion in blocks: an autoregression over blocks, and within each block pieces that are hidden and found.

    log p(x) >= E_sigma sum_k log p(x_sigma(k) | x_sigma(1), ..., x_sigma(k-1))

The order ``sigma`` takes one block after the other, and the pieces of a block in a random order, which is that of a
masking process seen backwards (Arriola et al. 2025, https://arxiv.org/abs/2503.09573; Hoogeboom et al. 2021,
https://arxiv.org/abs/2110.02037). Blocks of one piece make an autoregressive model, and one block makes masked
diffusion.

The masking process may hide later pieces of a block sooner, so that earlier ones are found first more often. Then the
model is nearer to an autoregressive one, and its bound too (Wu et al. 2023, https://arxiv.org/abs/2305.09515, noise
later words more; Shi et al. 2024, https://arxiv.org/abs/2406.04329, have a schedule for each token).

The network reads the known pieces in the order in which they were found, and is told which place is asked for
(Pannatier, Courdier, Fleuret 2024, https://arxiv.org/abs/2404.09562; Sahoo et al. 2025,
https://arxiv.org/abs/2506.01928). So each evaluation teaches all pieces, while a network that reads masks learns from
the hidden half, and what was found stays in a cache.
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
    Likelihood,
    LogProb,
    Measure,
    Noise,
    Objective,
    Sampler,
    Term,
    register_paradigm,
)
from fourfold.maths.categorical import categorical
from fourfold.nn.orders import OrderedTransformer
from fourfold.vocabulary import Cost, Kind, Paradigm, Principle

__all__ = ["BlockBound", "BlockDenoiser", "BlockDenoising", "BlockUnmasking"]


@final
class BlockDenoiser(Estimand):
    """``p(x_i | x_S)`` of each hidden piece of a block, given the blocks before and what is known of its own.

    Args:
        net: gives the logits of the piece at the place that is asked for.
        length: pieces of one example.
        lean: how many times as likely a hidden piece is found next as the one to its right; 1: all alike.

    Raises:
        ValueError: for a ``lean`` below 1.
    """

    measure = Measure.COUNTING
    summary = "the distribution of each hidden piece given the blocks before and the pieces of its own that are known"

    def __init__(self, net: OrderedTransformer, length: int, lean: float = 1.0) -> None:
        super().__init__()
        if lean < 1:
            raise ValueError(f"lean must be at least 1, not {lean}")
        self.net, self.event, self.lean = net, (length,), lean

    def order(self, u: Tensor, known: Tensor | None = None) -> Tensor:
        """Places ``(B, L)`` in the order in which they are found: by block, known ones first, then by chance.

        Piece ``k`` of a block is found at the time ``-log(1 - u_k) lean^k``, as hidden by a process of rate
        ``lean^-k`` that is seen backwards.

        Args:
            u: uniform numbers ``(B, L)`` in (0, 1).
            known: which pieces are known in all examples, ``(L,)``.
        """
        place = torch.arange(u.shape[1], device=u.device)
        log_time = (-torch.log1p(-u)).log() + place % self.net.block * math.log(self.lean)
        later = 1 if known is None else (~known).long()
        return ((2 * (place // self.net.block) + later) * len(place) + log_time.argsort(1).argsort(1)).argsort(1)

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        """``log p(x_sigma(k) | x_sigma(<k))`` of pieces ``(B, L)``, in nats, ``(B, L)`` in their order."""
        found, count = x.gather(1, order), torch.arange(x.shape[1], device=x.device)
        ids = torch.cat([torch.full_like(found[:, :1], self.net.tokens), found[:, :-1]], 1)
        sides = self._sides(x, order.argsort(1), order, count)
        logits = self.net(ids, F.pad(order[:, :-1] + 1, (1, 0)), order + 1, sides)
        return -F.cross_entropy(logits.flatten(0, 1), found.flatten(), reduction="none").view(x.shape)

    def _sides(self, x: Tensor, rank: Tensor, asked: Tensor, count: Tensor) -> Tensor:
        """Tokens to the left and to the right of the places asked for, ``(2, B, T)``; a mask where one is not known.

        ``rank``, ``(B, L)``, is the number of each place in the order; ``count``, ``(T,)``, tells how many are known.
        """
        tokens = F.pad(x, (1, 1), value=self.net.tokens)
        when = F.pad(F.pad(rank, (1, 0), value=-1), (0, 1), value=x.shape[1])
        beside = torch.cat([asked, asked + 2], 1)
        known = when.gather(1, beside) < count.repeat(2)
        return torch.where(known, tokens.gather(1, beside), self.net.tokens + 1).view(len(x), 2, -1).transpose(0, 1)

    def complete(self, x: Tensor, known: Tensor, noise: Noise, steps: int = 0) -> Tensor:
        """Draw the pieces that are not known, block by block, each block in some steps.

        A block is drawn given the blocks before and its own known pieces; pieces of later blocks are not seen.

        Args:
            x: pieces ``(B, L)``; those that are not known may be any.
            known: which pieces are known in all examples, ``(L,)``.
            noise: the stream of these examples.
            steps: of a block, those of one step drawn independently; 0: one piece at a time.
        """
        x, length = x.clone(), x.shape[1]
        order, u = self.order(noise.uniform(length), known), noise.uniform(length)
        cache, rank, before = self.net.cache(len(x)), order.argsort(1), 0
        ids, at = torch.full_like(order[:, :1], self.net.tokens), torch.zeros_like(order[:, :1])  # not in the cache yet
        for block in torch.split(order, self.net.block, 1):
            given = int(known[block[0]].sum())
            block, hidden = block[:, :given], block[:, given:]
            before += given
            ids, at = torch.cat([ids, x.gather(1, block)], 1), torch.cat([at, block + 1], 1)
            size = hidden.shape[1]
            for k in range(parts := min(steps or size, size)):
                wanted = hidden[:, size * k // parts : size * (k + 1) // parts]
                last = wanted.shape[1]
                newest = [torch.cat([part, part[:, -1:].expand(-1, last - 1)], 1) for part in (ids, at)]
                asked = torch.cat([at[:, 1:] - 1, wanted], 1)
                count = torch.arange(before + 1 - ids.shape[1], before + last, device=x.device).clamp(max=before)
                logits = self.net(*newest, asked + 1, self._sides(x, rank, asked, count), cache, last)
                ids = categorical(logits.flatten(0, 1), u.gather(1, wanted).flatten()).view(wanted.shape)
                x.scatter_(1, wanted, ids)
                at, before = wanted + 1, before + last
        return x


register_paradigm(BlockDenoiser, Principle.BOUND, Paradigm.DIFFUSION)


# --- the two answers --------------------------------------------------------------------------------------------------


@final
class BlockDenoising(Objective):
    """``min_theta -E_sigma sum_k log p_theta(x_sigma(k) | x_sigma(<k)) / L``: the bound, in nats per piece."""

    learns: ClassVar[type[Estimand]] = BlockDenoiser
    principle = Principle.BOUND
    summary = "hide the pieces of each block in a random order and maximise the log-likelihood of each given those left"
    formula = "min_θ −E_σ Σ_k log p_θ(x_σ(k) | x_σ(<k)),  σ: block after block, a random order within each"

    def terms(self, estimand: BlockDenoiser) -> Mapping[str, Term]:
        return {"masked": BlockTerm(estimand)}


@final
class BlockTerm(Term):
    """The term of :class:`BlockDenoising`; it watches the loss of the first piece of a block and that of the last."""

    judges: ClassVar[bool] = True

    def __init__(self, estimand: BlockDenoiser) -> None:
        super().__init__([estimand])
        self.estimand = estimand

    def forward(self, batch: Batch) -> Tensor:
        u, block = torch.rand(batch.x.shape, device=batch.x.device), self.estimand.net.block
        nats = -self.estimand(batch.x, self.estimand.order(u))
        last = min(block, nats.shape[1]) - 1
        self.watched = {
            "loss_low_noise": nats[:, last::block].mean().detach(),
            "loss_high_noise": nats[:, ::block].mean().detach(),
        }
        return nats.mean(1)


@final
@dataclass(frozen=True)
class BlockUnmasking(Sampler):
    """Draw block after block, and the pieces of a block in a random order: one at a time, or several at once.

    Pieces drawn at once are drawn as if they were independent, so that fewer steps are an approximation.

    Attributes:
        steps: in how many steps each block is drawn; 0, or more than it has pieces: one piece at a time.

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
        return f"draw block after block, the pieces of each in a random order, {how}, given all those drawn before"

    @property
    def faithful(self) -> bool:
        return self.steps == 0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must be at least 1, or 0 for one piece at a time, not {self.steps}")

    def __call__(self, estimand: BlockDenoiser, noise: Noise, cond: Tensor | None = None) -> Tensor:
        known = torch.zeros(estimand.event, dtype=torch.bool, device=noise.device)
        return estimand.complete(
            known.new_zeros(len(noise), *estimand.event, dtype=torch.long), known, noise, self.steps
        )


@final
@dataclass(frozen=True)
class BlockBound(Likelihood):
    """``log p(x) >= E_sigma sum_k log p(x_sigma(k) | x_sigma(<k))``, by draws of the order ``sigma``.

    It bounds the distribution of pieces drawn one at a time, and is exact for blocks of one piece.

    Attributes:
        draws: orders of each example.

    Raises:
        ValueError: for fewer than two draws.
    """

    needs: ClassVar[type[Estimand]] = BlockDenoiser
    kind = Kind.LOWER_BOUND
    draws: int = 8

    @property
    def summary(self) -> str:
        return f"the variational bound of the masking process, estimated with {self.draws} random orders"

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError(f"draws must be at least 2, not {self.draws}")

    @torch.no_grad()
    def __call__(self, estimand: BlockDenoiser, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        orders = (estimand.order(noise.uniform(batch.x.shape[1])) for _ in range(self.draws))
        found = [estimand(batch.x, order).double().sum(1) for order in orders]
        return LogProb.of_draws(torch.stack(found).float(), Kind.LOWER_BOUND, f"variational bound, {self.draws} orders")
